//! What happened though no fault explains it: elections of a leader that nothing had harmed, and operations that ran out
//! of time in calm. On a machine with time for everybody there are none; on a starved one they are its doing, and a
//! report says how many there were beside how late the bench's own timers were.

use std::collections::HashMap;

use checkers::history::{self, ClientId, Step};
use serde::Serialize;

use super::event::{Event, Phase};
use super::node::Role;

/// A fault that is out may be felt for so long: a failover, and a client that finds the new leader.
const FELT_NS: u64 = 3_000_000_000;

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unexplained {
    /// Elections while the workload ran, with no fault in and none shortly before.
    pub elections: u64,
    /// Operations that had no answer or no connection in time, in such calm.
    pub timeouts: u64,
}

/// Counts them.
#[derive(Clone, Debug, Default)]
pub(super) struct Calm {
    counts: Unexplained,
    running: bool,
    /// Faults that are in, and whether somebody holds the network.
    active: u64,
    held: bool,
    last_out_ns: Option<u64>,
    /// How often that has changed.
    edges: u64,
    last_term: u64,
    /// For each open operation that began in calm how many edges there had been.
    open: HashMap<ClientId, u64>,
}

impl Calm {
    /// What was counted so far.
    pub(super) fn counts(&self) -> Unexplained {
        self.counts
    }

    fn is_calm(&self, now_ns: u64) -> bool {
        let felt = |out: u64| now_ns.saturating_sub(out) < FELT_NS;
        self.running && self.active == 0 && !self.held && !self.last_out_ns.is_some_and(felt)
    }

    /// Something of a fault changed.
    fn edge(&mut self, now_ns: u64) {
        self.edges += 1;
        self.last_out_ns = Some(now_ns);
    }

    /// Takes an event in.
    pub(super) fn event(&mut self, now_ns: u64, event: &Event) {
        match event {
            Event::Phase { phase } => self.running = *phase == Phase::Running,
            Event::FaultIn { .. } => {
                self.active += 1;
                self.edge(now_ns);
            }
            Event::FaultOut { .. } => {
                self.active = self.active.saturating_sub(1);
                self.edge(now_ns);
            }
            // It may have had an effect all the same.
            Event::FaultSkipped { .. }
            | Event::FaultUnresolved { .. }
            | Event::FaultIndeterminate { .. } => self.edge(now_ns),
            Event::PausedByViolation { paused } => {
                self.held = *paused;
                self.edge(now_ns);
            }
            Event::Node { node } if node.role == Role::Leader && node.term > self.last_term => {
                let first = self.last_term == 0;
                self.last_term = node.term;
                self.counts.elections += u64::from(!first && self.is_calm(now_ns));
            }
            _ => {}
        }
    }

    /// Takes an event of the history in.
    pub(super) fn history(&mut self, event: &history::Event) {
        let Some(client) = event.client else { return };
        match event.kind.step() {
            Step::Begins(_) if self.is_calm(event.time_ns) => {
                self.open.insert(client, self.edges);
            }
            Step::Ends(_, error) => {
                let began = self.open.remove(&client);
                let late = error.is_some_and(is_late);
                let calm = began == Some(self.edges);
                self.counts.timeouts += u64::from(calm && late);
            }
            _ => {}
        }
    }
}

/// Whether an operation ended so for want of time, in its client's words.
fn is_late(error: &str) -> bool {
    error.starts_with("no answer within ")
        || (error.starts_with("no connection to ") && error.contains(" within "))
}

#[cfg(test)]
mod tests {
    use checkers::history::{Call, EventKind, Outcome};

    use super::*;
    use crate::fault::{By, Fault};
    use crate::journal::NodeView;

    const SECOND: u64 = 1_000_000_000;

    fn calm() -> Calm {
        let mut calm = Calm::default();
        calm.event(0, &leads(1));
        let phase = Phase::Running;
        calm.event(0, &Event::Phase { phase });
        calm
    }

    fn leads(term: u64) -> Event {
        let (id, role) = (1, Role::Leader);
        let node = NodeView {
            id,
            role,
            term,
            ..NodeView::default()
        };
        Event::Node { node }
    }

    fn fault(goes_in: bool) -> Event {
        let (id, fault, by) = (1, Fault::Kill { who: 1 }, By::Plan);
        match goes_in {
            true => Event::FaultIn {
                id,
                fault,
                by,
                unpromised: false,
            },
            false => Event::FaultOut {
                id,
                fault,
                by,
                remains: crate::fault::Remains::Perhaps,
            },
        }
    }

    #[test]
    fn an_election_counts_where_no_fault_is_in_or_was_a_moment_ago() {
        let mut calm = calm();
        calm.event(SECOND, &leads(1));
        assert_eq!(calm.counts().elections, 0, "it leads as it did");
        calm.event(2 * SECOND, &leads(2));
        assert_eq!(calm.counts().elections, 1);
        calm.event(3 * SECOND, &fault(true));
        calm.event(9 * SECOND, &leads(3));
        calm.event(10 * SECOND, &fault(false));
        calm.event(12 * SECOND, &leads(4));
        assert_eq!(calm.counts().elections, 1, "the kill explains both");
        calm.event(14 * SECOND, &leads(5));
        assert_eq!(calm.counts().elections, 2);
        // The final reads hand the leadership round.
        let phase = Phase::FinalReads;
        calm.event(15 * SECOND, &Event::Phase { phase });
        calm.event(20 * SECOND, &leads(6));
        assert_eq!(calm.counts().elections, 2);
    }

    #[test]
    fn a_timeout_counts_where_it_began_and_ended_in_calm() {
        let mut calm = calm();
        let operation = |calm: &mut Calm, at: u64, error: &str, between: Option<Event>| {
            let event = |time_ns, kind| history::Event {
                index: 0,
                time_ns,
                client: Some(1),
                node: None,
                kind,
            };
            let call = Call::Read;
            let key = "k".to_owned();
            calm.history(&event(at * SECOND, EventKind::Invoke { key, call }));
            if let Some(fault) = between {
                calm.event(at * SECOND + 1, &fault);
            }
            let (outcome, at_id) = (Outcome::Failed, None);
            let error = (!error.is_empty()).then(|| error.to_owned());
            let end = EventKind::Complete {
                outcome,
                at: at_id,
                error,
            };
            calm.history(&event(at * SECOND + 2, end));
            calm.counts().timeouts
        };
        assert_eq!(operation(&mut calm, 1, "", None), 0);
        assert_eq!(operation(&mut calm, 2, "node 2 leads", None), 0);
        assert_eq!(operation(&mut calm, 3, "no answer within 1000 ms", None), 1);
        let dial = "no connection to n1 within 250 ms";
        assert_eq!(operation(&mut calm, 4, dial, None), 2);
        assert_eq!(operation(&mut calm, 5, dial, Some(fault(true))), 2);
        assert_eq!(operation(&mut calm, 6, dial, None), 2);
    }
}
