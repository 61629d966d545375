//! The tour of `whitewater demo`: one sentence at a time, about what is on the screen at that moment.
//!
//! It is a pure function of what is known of the run, so that it can neither run ahead of what happens nor fall behind.

use crate::fault::Fault;
use crate::journal::{Phase, RunView};

/// What the demo has to say now, and what comes next.
#[must_use]
pub(super) fn sentence(run: &RunView) -> String {
    if run.end.is_some() || run.alarm.is_some() {
        return proven(run);
    }
    match run.phase {
        None | Some(Phase::Starting) => {
            "Three nodes of a replicated store start, each a real process. All carry a planted bug."
                .to_owned()
        }
        Some(Phase::Running) => running(run),
        Some(_) => "The clients have stopped and everything heals. The bug did not show this time."
            .to_owned(),
    }
}

/// Nothing is proven yet.
fn running(run: &RunView) -> String {
    let cut = run.active().find_map(|span| match span.fault {
        Fault::Isolate { who, .. } => Some((who, span.in_ns)),
        _ => None,
    });
    let Some((old, since_ns)) = cut else {
        return match run.faults.is_empty() {
            true => {
                "Clients read and write, each bar is one operation. Top right: the verdict, made while it happens. \
                 Soon the leader is cut off."
                    .to_owned()
            }
            false => "The cut is healed, and what was lost is caught up with.".to_owned(),
        };
    };
    let elected = run
        .elections
        .iter()
        .find(|election| election.time_ns > since_ns && election.node != old);
    match elected {
        None => format!(
            "n{old}, the leader, is cut off from its peers, and does not know it. The others will elect another one."
        ),
        Some(new) => format!(
            "n{} leads term {} now. n{old} still answers reads without asking anybody whether it still leads: that is the bug.",
            new.node, new.term
        ),
    }
}

/// It is proven, or over.
fn proven(run: &RunView) -> String {
    match (&run.alarm, run.paused_by_violation) {
        (Some(_), true) => {
            "Caught, and everything is held as it was. Above: the operations that prove it, and why no order explains them. \
             1 and enter: the node. u: go on. q: leave."
                .to_owned()
        }
        (Some(_), false) => "Caught. 3 shows the operations that prove it. q leaves.".to_owned(),
        (None, _) => "It is over, and the bug did not show. q leaves; run it again.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::sentence;
    use crate::journal::{self, RunView};

    #[test]
    fn the_tour_speaks_of_what_is_on_the_screen() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shown/stale-read");
        let read = journal::read_folder(&dir).expect("it is a run's folder");
        let mut run = RunView::default();
        let mut said = vec![sentence(&run)];
        for entry in read.entries {
            run.take(entry);
            let now = sentence(&run);
            if said.last() != Some(&now) {
                said.push(now);
            }
        }
        let begins = [
            "Three nodes",
            "Clients read and write",
            "n1, the leader, is cut off",
            "n2 leads term 2 now. n1 still answers reads",
            "Caught",
        ];
        let mut left = said.iter();
        for begin in begins {
            assert!(
                left.any(|sentence| sentence.starts_with(begin)),
                "{begin:?} is not said, or not in this order: {said:#?}"
            );
        }
    }
}
