//! The fates of lines: each is a message of its own, which says its type and whether it is an answer.
//!
//! A rule meets a line on the route from its sender to its receiver. An answer is on its way back, and is met by the rules
//! for answers of the route on which it was asked for. Whoever asks is not told: a line that is dropped never was.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Action, Decision, Delay, HeldPlace, Match, Method, Methods, Rules, Summary, mix};
use crate::proxy::Half;

/// What is to be done with a line.
#[derive(Debug, Default)]
pub(crate) struct LineFate {
    pub(crate) dropped: bool,
    pub(crate) late: Duration,
    pub(crate) copies: u32,
    pub(crate) gap: Duration,
    /// Gives the place among the held ones back when it is dropped.
    pub(crate) held: Vec<HeldPlace>,
}

impl Rules {
    /// Numbers a line of this type and adds what its rules have for it to its fate: those for answers where `half` is the
    /// response's.
    pub(crate) fn decide_line(&self, kind: &str, half: Half, fate: &mut LineFate) {
        let method = Method::Other;
        let ordinal = self.number(method, half);
        let active = self.active.lock().unwrap().clone();
        for one in active.iter() {
            let action = one.rule.action;
            if !acts(action, half) || !fits(&one.rule.matching, kind) {
                continue;
            }
            let Some(draw) = self.draw(one, method, half, ordinal) else {
                continue;
            };
            let mut rng = ChaCha8Rng::seed_from_u64(mix(draw, &[1]));
            let before = fate.late;
            match action {
                Action::DropRequest | Action::DropResponse => fate.dropped = true,
                Action::DelayRequest(delay) | Action::DelayResponse(delay) => {
                    fate.late += delay.sample(&mut rng);
                }
                Action::Duplicate { copies, gap } => {
                    fate.copies += copies;
                    fate.gap = fate.gap.max(gap);
                }
                Action::Reorder { window, most_held } => {
                    let waiting = one.held.fetch_add(1, Ordering::SeqCst);
                    let place = HeldPlace(one.held.clone());
                    if waiting >= u64::from(most_held) {
                        continue;
                    }
                    let (least, most) = (Duration::ZERO, window);
                    fate.late += Delay::Uniform { least, most }.sample(&mut rng);
                    fate.held.push(place);
                }
                _ => continue,
            }
            self.journal.write(Decision {
                at: Instant::now(),
                route: self.route,
                method,
                kind: Some(kind.to_owned()),
                half,
                ordinal,
                summary: Summary::default(),
                action,
                late: fate.late.saturating_sub(before),
            });
            one.met.fetch_add(1, Ordering::SeqCst);
            let at = action.number() as usize - 1;
            self.counters.lock().unwrap().by_action[at] += 1;
        }
    }
}

/// Whether an action is one of lines, on this half.
fn acts(action: Action, half: Half) -> bool {
    match action {
        Action::DropRequest
        | Action::DelayRequest(_)
        | Action::Duplicate { .. }
        | Action::Reorder { .. } => half == Half::Request,
        Action::DropResponse | Action::DelayResponse(_) => half == Half::Response,
        _ => false,
    }
}

fn fits(matching: &Match, kind: &str) -> bool {
    // An answer names its question's type, and `_ok`.
    let asked = kind.strip_suffix("_ok").unwrap_or(kind);
    let meant = match matching.methods {
        Methods::All | Methods::Clients => true,
        Methods::Only(Method::Read) => asked == "read",
        Methods::Only(Method::Write) => matches!(asked, "write" | "cas" | "delete"),
        _ => false,
    };
    let named = matching.kind.as_deref().is_none_or(|named| named == kind);
    meant && named && matching.terms.is_none() && matching.entries.is_none()
}
