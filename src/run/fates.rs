//! What became of single messages, as the journal keeps it.

use std::time::Duration;

use crate::journal::MessageFate;
use crate::proxy::{Action, Decision, Half};

/// Each with how long ago it was decided.
pub(super) fn fates(made: &[Decision]) -> impl Iterator<Item = (Duration, MessageFate)> {
    made.iter()
        .map(|decision| (decision.at.elapsed(), fate(decision)))
}

fn fate(decision: &Decision) -> MessageFate {
    MessageFate {
        message: decision.action.name().to_owned(),
        lost: matches!(
            decision.action,
            Action::DropRequest | Action::DropResponse | Action::Fail(_)
        ),
        link: decision.route.to_string(),
        method: match &decision.kind {
            Some(kind) => kind.clone(),
            None => decision.method.name().to_owned(),
        },
        half: match decision.half {
            Half::Request => "request",
            Half::Response => "response",
        }
        .to_owned(),
        ordinal: decision.ordinal,
        term: decision.summary.term,
        entries: decision.summary.entries,
        index: decision.summary.index,
        late_us: u64::try_from(decision.late.as_micros()).unwrap_or(u64::MAX),
    }
}
