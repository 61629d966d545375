//! Whether a fault can do anything at all: what would be without effect is refused when it is read, and never counts as
//! one that took effect.
//!
//! What its own numbers say is [`Fault::check`]; what it needs of the nodes and of how they replicate is
//! [`Fault::check_among`].

use super::{Act, DiskHarm, Fault, NodeId, Of, Only, WireHarm};

/// Why a fault makes no sense, or would do nothing, and which of its words says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Senseless {
    /// The word in a plan that is wrong; `fault` where it is the whole.
    pub field: &'static str,
    /// What is wrong with it, and what could stand there.
    pub why: String,
}

impl Senseless {
    pub(super) fn of(field: &'static str, why: impl Into<String>) -> Senseless {
        let why = why.into();
        Senseless { field, why }
    }

    /// Something that would change nothing.
    fn without_effect(field: &'static str, why: impl std::fmt::Display) -> Senseless {
        Senseless::of(field, format!("without effect: {why}"))
    }
}

/// What a fault may meet: who there is, and how entries travel between them.
#[derive(Clone, Copy, Debug)]
pub struct Among<'a> {
    /// The nodes, in the order of their ids.
    pub nodes: &'a [NodeId],
    /// Whether entries travel in streams; else each append is a call of its own.
    pub streams: bool,
}

/// Nothing comes later than this, and nothing stands longer: a minute is longer than any timeout of a node.
const MOST_MS: u64 = 60_000;
/// A clock steps no further than a day.
const MOST_STEP_MS: u64 = 86_400_000;
/// A clock runs no faster than this; a node refuses more.
const FASTEST_PERCENT: u32 = 10_000;

/// Whether so many milliseconds are more than nothing, and not too many.
fn some_ms(field: &'static str, ms: u64, what: &str) -> Result<(), Senseless> {
    match ms {
        0 => Err(Senseless::without_effect(field, what)),
        ms => at_most(field, ms, MOST_MS),
    }
}

fn at_most(field: &'static str, ms: u64, most: u64) -> Result<(), Senseless> {
    if ms <= most {
        return Ok(());
    }
    Err(Senseless::of(
        field,
        format!("{field} = {ms}: there can be {most} at most"),
    ))
}

impl Fault {
    /// Whether it can do anything at all, as far as its own words tell, and what it says can be had.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Senseless> {
        match self {
            Fault::Message { .. } => self.check_message(),
            Fault::Wire { harm, amount, .. } => harm.check(*amount),
            Fault::Slow {
                delay_ms,
                jitter_ms,
                ..
            } => {
                if (*delay_ms, *jitter_ms) == (0, 0) {
                    let why = "delay_ms and jitter_ms are 0";
                    return Err(Senseless::without_effect("delay_ms", why));
                }
                at_most("delay_ms", *delay_ms, MOST_MS)?;
                at_most("jitter_ms", *jitter_ms, MOST_MS)
            }
            Fault::Throttle {
                run_ms, stand_ms, ..
            } => {
                some_ms("stand_ms", *stand_ms, "stand_ms = 0: it would never stand")?;
                if *run_ms == 0 {
                    let why = "run_ms = 0: it would never run, and pause is a fault of its own";
                    return Err(Senseless::of("run_ms", why));
                }
                at_most("run_ms", *run_ms, MOST_MS)
            }
            Fault::CrashLoop { up_ms, .. } => at_most("up_ms", *up_ms, MOST_MS),
            Fault::Freeze { nodes, stagger_ms } => {
                somebody(nodes)?;
                at_most("stagger_ms", *stagger_ms, MOST_MS)
            }
            Fault::KillSeveral { nodes } | Fault::Crash { nodes } => somebody(nodes),
            Fault::Disk { harm, ms, .. } => check_disk(*harm, *ms),
            Fault::Clock {
                rate_percent,
                step_ms,
                ..
            } => check_clock(*rate_percent, *step_ms),
            Fault::Split { side } if side.is_empty() => {
                Err(Senseless::without_effect("side", "nobody is on that side"))
            }
            Fault::Bridge { over, side } => check_bridge(*over, side),
            Fault::Ring { order } => check_order(order),
            Fault::Graph { cut } if cut.is_empty() => {
                Err(Senseless::without_effect("cut", "no link is named"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it can do anything among these nodes.
    ///
    /// # Errors
    /// Why not.
    pub fn check_among(&self, among: Among<'_>) -> Result<(), Senseless> {
        self.check()?;
        match self {
            Fault::Isolate { .. }
            | Fault::Split { .. }
            | Fault::Bridge { .. }
            | Fault::Ring { .. }
            | Fault::Graph { .. }
            | Fault::Cut { .. } => self.check_links(among.nodes),
            Fault::Message { act, of, only, .. } => {
                if !of.is_of_clients() && among.nodes.len() < 2 {
                    let why = "one node alone has no peer to exchange messages with";
                    return Err(Senseless::without_effect("of", why));
                }
                check_travel(*act, *of, *only, among.streams)
            }
            _ => Ok(()),
        }
    }

    fn check_links(&self, nodes: &[NodeId]) -> Result<(), Senseless> {
        if let Fault::Ring { order } = self
            && let Some(left_out) = nodes.iter().find(|node| !order.contains(node))
        {
            let why = format!("order names all nodes, and n{left_out} is not in it");
            return Err(Senseless::of("order", why));
        }
        if !self.links(nodes).is_empty() {
            return Ok(());
        }
        let count = nodes.len();
        let (field, why) = match self {
            Fault::Ring { .. } => (
                "order",
                format!("in a ring of {count} every node is a neighbour of every other"),
            ),
            Fault::Split { .. } => ("side", "all nodes are on one side".to_owned()),
            Fault::Bridge { .. } => ("side", "nobody is left for the other side".to_owned()),
            _ => ("fault", format!("it cuts no link among {count} nodes")),
        };
        Err(Senseless::without_effect(field, why))
    }

    fn check_message(&self) -> Result<(), Senseless> {
        let Fault::Message {
            act,
            of,
            per_mille,
            ms,
            to,
            only,
            ..
        } = self
        else {
            return Ok(());
        };
        if !(1..=1_000).contains(per_mille) {
            let why = format!("per_mille = {per_mille}: there can be 1 to 1000");
            return Err(Senseless::of("per_mille", why));
        }
        let name = act.name();
        match act {
            Act::Late | Act::LateAnswer | Act::Reorder if *ms == 0 => {
                let why = format!("{name} of 0 ms: ms says by how much");
                return Err(Senseless::without_effect("ms", why));
            }
            Act::Late | Act::LateAnswer | Act::Reorder | Act::Double => {
                at_most("ms", *ms, MOST_MS)?;
            }
            _ if *ms > 0 => {
                let why = format!("ms = {ms}: {name} takes no time");
                return Err(Senseless::without_effect("ms", why));
            }
            _ => {}
        }
        check_act(*act, *of, to.is_some())?;
        only.check(*act, *of)
    }
}

fn somebody(nodes: &[NodeId]) -> Result<(), Senseless> {
    match nodes.is_empty() {
        true => Err(Senseless::without_effect("who", "it meets nobody")),
        false => Ok(()),
    }
}

fn check_bridge(over: NodeId, side: &[NodeId]) -> Result<(), Senseless> {
    if side.is_empty() {
        return Err(Senseless::without_effect("side", "nobody is on that side"));
    }
    if side.contains(&over) {
        let why = format!("n{over} is the bridge and on no side of it");
        return Err(Senseless::of("side", why));
    }
    Ok(())
}

fn check_order(order: &[NodeId]) -> Result<(), Senseless> {
    let mut seen = std::collections::BTreeSet::new();
    match order.iter().find(|node| !seen.insert(**node)) {
        Some(twice) => Err(Senseless::of(
            "order",
            format!("n{twice} stands in the ring twice"),
        )),
        None => Ok(()),
    }
}

fn check_disk(harm: DiskHarm, ms: u64) -> Result<(), Senseless> {
    match harm {
        DiskHarm::SlowSync => some_ms("ms", ms, "syncs that take 0 ms more"),
        _ if ms > 0 => {
            let why = format!("ms = {ms}: only slow-sync takes a time");
            Err(Senseless::without_effect("ms", why))
        }
        _ => Ok(()),
    }
}

fn check_clock(rate_percent: u32, step_ms: u64) -> Result<(), Senseless> {
    if (rate_percent, step_ms) == (100, 0) {
        let why = "a clock at 100 % that steps 0 ms is as it should be";
        return Err(Senseless::without_effect("rate_percent", why));
    }
    if rate_percent > FASTEST_PERCENT {
        let why = format!("rate_percent = {rate_percent}: there can be {FASTEST_PERCENT} at most");
        return Err(Senseless::of("rate_percent", why));
    }
    at_most("step_ms", step_ms, MOST_STEP_MS)
}

/// Whether such messages can suffer this.
fn check_act(act: Act, of: Of, has_receiver: bool) -> Result<(), Senseless> {
    if act.repeats() && of.is_of_clients() {
        let why = format!(
            "{} have no numbers of their own: two of them would be two writes",
            of.name()
        );
        return Err(Senseless::of("of", why));
    }
    if act == Act::LateAnswer && of == Of::Heartbeats {
        let why = "an answer does not say that it is a heartbeat's: name appends";
        return Err(Senseless::of("of", why));
    }
    if has_receiver && of.is_of_clients() {
        let why = format!(
            "{} go to one node anyway: it is named without a receiver",
            of.name()
        );
        return Err(Senseless::of("to", why));
    }
    if of == Of::Snapshots && act.needs_calls() {
        let why = format!(
            "{} snapshots: they travel in streams, whose order is kept: late, late-answer, cut-stream and stall meet them",
            act.name()
        );
        return Err(Senseless::without_effect("act", why));
    }
    let has_streams = matches!(of, Of::Peers | Of::Appends | Of::Snapshots);
    if act.needs_streams() && !has_streams {
        let why = format!("{} {}: they are no stream", act.name(), of.name());
        return Err(Senseless::without_effect("of", why));
    }
    Ok(())
}

/// Whether messages that can suffer this are sent at all where entries travel in streams, or do not.
fn check_travel(act: Act, of: Of, only: Only, streams: bool) -> Result<(), Senseless> {
    if act.needs_streams() && of == Of::Appends && !streams {
        let why = format!(
            "{} appends: with append = \"unary\" there is no stream of them",
            act.name()
        );
        return Err(Senseless::without_effect("act", why));
    }
    let entries = only.entries.is_some_and(|[least, _]| least > 0);
    if act.needs_calls() && entries && streams {
        let why = format!(
            "{} {} with entries: entries travel in streams, whose order is kept; append = \"unary\" sends them in calls",
            act.name(),
            of.name()
        );
        return Err(Senseless::without_effect("only", why));
    }
    Ok(())
}

impl Act {
    /// Whether it acts on calls alone, which have one request and one answer.
    fn needs_calls(self) -> bool {
        !self.needs_streams() && !matches!(self, Act::Late | Act::LateAnswer)
    }

    /// Whether it acts on streams alone.
    fn needs_streams(self) -> bool {
        matches!(self, Act::CutStream | Act::Stall)
    }
}

impl Only {
    /// Whether some message can fit, as far as can be told: `act` and `of` as in [`Fault::Message`].
    fn check(self, act: Act, of: Of) -> Result<(), Senseless> {
        for (name, bounds) in [
            ("terms", self.terms),
            ("entries", self.entries),
            ("nth", self.nth),
        ] {
            if let Some([least, most]) = bounds.filter(|[least, most]| least > most) {
                let why = format!("{name} = [{least}, {most}]: the lesser comes first");
                return Err(Senseless::of("only", why));
            }
        }
        let why = if self.nth.is_some_and(|[first, _]| first == 0) {
            "they are counted from 1"
        } else if self.nth.is_some() && act.needs_streams() {
            "streams are not met by number"
        } else if self.terms.is_some() && of.is_of_clients() {
            "clients know no term"
        } else if self.entries.is_some_and(|[least, _]| match of {
            Of::Peers | Of::Appends => false,
            Of::Heartbeats => least > 0,
            _ => true,
        }) {
            "they carry no entries"
        } else if (self.terms.is_some() || self.entries.is_some()) && act == Act::LateAnswer {
            "answers have neither term nor entries to be known by"
        } else {
            return Ok(());
        };
        let why = format!("{} {}: {why}", act.name(), of.name());
        Err(Senseless::of("only", why))
    }
}

impl WireHarm {
    /// Whether it can count so much.
    fn check(self, amount: u64) -> Result<(), Senseless> {
        let (unit, most) = match self {
            WireHarm::Narrow => ("bytes a second", 1_000_000),
            WireHarm::Sliced | WireHarm::CutShort => ("bytes", 1_000_000),
            WireHarm::Spikes | WireHarm::LongTail | WireHarm::SlowClose => ("ms", 10_000),
            WireHarm::HalfClose | WireHarm::Reset | WireHarm::Refuse | WireHarm::Unanswered => {
                return match amount {
                    0 => Ok(()),
                    _ => Err(Senseless::without_effect(
                        "amount",
                        format!("amount = {amount}: {} counts nothing", self.name()),
                    )),
                };
            }
        };
        match (1..=most).contains(&amount) {
            true => Ok(()),
            false => Err(Senseless::of(
                "amount",
                format!(
                    "{} of {amount}: there can be 1 to {most} {unit}",
                    self.name()
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Way;

    /// What is without effect, a fault each; every kind that has a number or a list stands here.
    fn without_effect() -> Vec<Fault> {
        let slow = |delay_ms, jitter_ms| Fault::Slow {
            from: 1,
            to: 2,
            delay_ms,
            jitter_ms,
        };
        let throttle = |run_ms, stand_ms| Fault::Throttle {
            node: 1,
            run_ms,
            stand_ms,
        };
        let disk = |harm, ms| Fault::Disk { node: 1, harm, ms };
        let clock = |rate_percent, step_ms| Fault::Clock {
            node: 1,
            rate_percent,
            step_ms,
        };
        let mut all = vec![
            slow(0, 0),
            throttle(1_000, 0),
            clock(100, 0),
            disk(DiskHarm::SlowSync, 0),
            disk(DiskHarm::Full, 30),
            Fault::Split { side: vec![] },
            Fault::Split {
                side: vec![1, 2, 3],
            },
            Fault::Bridge {
                over: 1,
                side: vec![],
            },
            Fault::Bridge {
                over: 1,
                side: vec![2, 3],
            },
            Fault::Ring {
                order: vec![1, 2, 3],
            },
            Fault::Graph { cut: vec![] },
            Fault::Crash { nodes: vec![] },
            Fault::KillSeveral { nodes: vec![] },
            Fault::Freeze {
                nodes: vec![],
                stagger_ms: 9,
            },
        ];
        for harm in WireHarm::ALL {
            let nothing = match harm.check(0) {
                Ok(()) => 7,
                Err(_) => 0,
            };
            all.push(Fault::Wire {
                from: 1,
                to: 2,
                harm,
                amount: nothing,
            });
        }
        let message = |act, of, per_mille, ms, only| Fault::Message {
            act,
            of,
            node: None,
            per_mille,
            ms,
            to: None,
            only,
        };
        let any = Only::default();
        let entries = Only {
            entries: Some([1, 9]),
            ..any
        };
        for act in Act::ALL {
            let of = match act.needs_streams() {
                true => Of::Appends,
                false => Of::Votes,
            };
            let time = match act {
                Act::Late | Act::LateAnswer | Act::Reorder => 0,
                Act::Double => u64::MAX,
                _ => 30,
            };
            all.push(message(act, of, 1_000, time, any));
            let ms = if time == 0 { 30 } else { 0 };
            all.push(message(act, of, 0, ms, any));
            if act.needs_streams() {
                all.extend(
                    [Of::Votes, Of::Heartbeats, Of::Reads].map(|of| message(act, of, 9, 0, any)),
                );
            } else if act.needs_calls() {
                all.push(message(act, Of::Snapshots, 9, ms, any));
                all.push(message(act, Of::Peers, 9, ms, entries));
            }
        }
        all
    }

    #[test]
    fn what_would_change_nothing_is_refused_whatever_its_kind() {
        let among = Among {
            nodes: &[1, 2, 3],
            streams: true,
        };
        for fault in without_effect() {
            let why = fault.check_among(among);
            assert!(why.is_err(), "{fault}: {fault:?}");
        }
        let alone = Among {
            nodes: &[1],
            streams: true,
        };
        let way = Way::Both;
        assert!(Fault::Isolate { node: 1, way }.check_among(alone).is_err());
        for act in Act::ALL.into_iter().filter(|act| act.needs_streams()) {
            let fault = Fault::Message {
                act,
                of: Of::Appends,
                node: None,
                per_mille: 1_000,
                ms: 0,
                to: None,
                only: Only::default(),
            };
            assert_eq!(fault.check_among(among), Ok(()));
            assert!(fault.check_among(alone).is_err());
            let calls = Among {
                streams: false,
                ..among
            };
            assert!(fault.check_among(calls).is_err(), "{fault}");
        }
    }

    #[test]
    fn a_number_that_nothing_can_be_as_large_as_is_refused() {
        for fault in [
            Fault::Slow {
                from: 1,
                to: 2,
                delay_ms: u64::MAX,
                jitter_ms: 0,
            },
            Fault::Slow {
                from: 1,
                to: 2,
                delay_ms: 1,
                jitter_ms: u64::MAX,
            },
            Fault::Throttle {
                node: 1,
                run_ms: 9,
                stand_ms: u64::MAX,
            },
            Fault::Freeze {
                nodes: vec![1],
                stagger_ms: u64::MAX,
            },
            Fault::CrashLoop {
                node: 1,
                up_ms: u64::MAX,
            },
            Fault::Disk {
                node: 1,
                harm: DiskHarm::SlowSync,
                ms: u64::MAX,
            },
            Fault::Clock {
                node: 1,
                rate_percent: u32::MAX,
                step_ms: 0,
            },
            Fault::Clock {
                node: 1,
                rate_percent: 0,
                step_ms: u64::MAX,
            },
        ] {
            let why = fault.check().expect_err("too much").to_string();
            assert!(why.contains("at most"), "{fault}: {why}");
        }
    }

    #[test]
    fn a_ring_names_every_node_once() {
        let ring = |order: &[NodeId]| Fault::Ring {
            order: order.to_vec(),
        };
        let nodes = [1, 2, 3, 4, 5];
        let among = Among {
            nodes: &nodes,
            streams: true,
        };
        assert_eq!(ring(&nodes).check_among(among), Ok(()));
        let short = ring(&[1, 2, 4, 5]).check_among(among).unwrap_err();
        assert!(short.why.contains("n3 is not in it"), "{short}");
        let twice = ring(&[1, 2, 3, 4, 4, 5]).check_among(among).unwrap_err();
        assert!(twice.why.contains("n4 stands in the ring twice"), "{twice}");
    }
}
