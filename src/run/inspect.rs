//! What the nodes say of themselves while the run goes on: a hash of their state at an applied log id, and how often a
//! planted defect was reached. Asked directly, never through the proxy, never in the history.
//!
//! The store is deterministic, so two states at one applied log id are equal, whichever node holds them and in
//! whichever life. Two that differ prove that one node applied something else, or not all of it: *state-hash*.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use super::after::states_differ;
use super::differ;
use super::notice::Finding;
use crate::cluster::{ChildState, Cluster, StateHash};
use crate::fault::NodeId;

/// How often the nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Applied log ids whose hashes are kept, for a node that comes to one later.
const MOST_KEPT: usize = 20_000;

/// How often a planted defect's line ran, and how often its bad fact was true: over all nodes and all their lives, as
/// far as they lived long enough to say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DefectCounts {
    /// The planted line ran.
    pub reached: u64,
    /// The bad fact was true.
    pub triggered: u64,
}

/// What was seen so far; clones share it.
#[derive(Clone, Default)]
pub(super) struct Inspector(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    hashes: BTreeMap<(u64, u64), (NodeId, String)>,
    /// By child: a node that starts again counts from nothing.
    counters: BTreeMap<u32, DefectCounts>,
    compared: u64,
    /// The first two states at one log id that differ, until it is told what differs.
    suspicion: Option<Suspicion>,
    found: Option<Finding>,
    /// Whether states that differ were told of: more of them are no news.
    told: bool,
}

/// Two states at one log id that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suspicion {
    at: (u64, u64),
    first: (NodeId, String),
    second: (NodeId, String),
}

impl Inspector {
    /// Asks again and again, until the task is dropped.
    pub(super) async fn work(self, cluster: Arc<Cluster>, defect: bool) {
        let mut tick = tokio::time::interval(ASK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.ask(&cluster, defect).await;
        }
    }

    /// Asks every node that is up, once.
    pub(super) async fn ask(&self, cluster: &Cluster, defect: bool) {
        let up = cluster.views().into_iter();
        let up = up.filter(|view| view.state == ChildState::Up);
        let asked = up.map(|view| async move {
            if let Ok(state) = cluster.state_hash(view.id).await {
                self.state(view.id, state);
            }
            if defect
                && let Some(pid) = view.pid
                && let Ok(said) = cluster.defect_counters(view.id).await
            {
                let counts = DefectCounts {
                    reached: said.reached,
                    triggered: said.triggered,
                };
                self.seen().counters.insert(pid, counts);
            }
        });
        join_all(asked).await;
        let suspicion = self.seen().suspicion.clone();
        if let Some(suspicion) = suspicion {
            let suspects = [suspicion.first.0, suspicion.second.0];
            let what = differ::explain(cluster, &suspects).await;
            self.conclude(&suspicion, &what);
        }
    }

    fn conclude(&self, suspicion: &Suspicion, what: &str) {
        let Suspicion { at, first, second } = suspicion;
        let (term, index) = at;
        // The hashes are all that is left of a state that is gone.
        let who = match (first, second) {
            ((a, before), (b, after)) if a == b => format!(
                "n{a} holds another state at applied log id {term}/{index} than in an earlier life ({before}, {after})"
            ),
            ((a, one), (b, other)) => format!(
                "states of n{a} and n{b} differ at applied log id {term}/{index} ({one}, {other})"
            ),
        };
        let mut seen = self.seen();
        seen.suspicion = None;
        seen.told = true;
        seen.found = Some(states_differ(format!("{who}: {what}")));
    }

    /// The first two states at one log id that differ, if there were any that were not told of yet.
    pub(super) fn found(&self) -> Option<Finding> {
        self.seen().found.take()
    }

    /// How often two nodes, or two lives of one, were seen at one log id.
    pub(super) fn compared(&self) -> u64 {
        self.seen().compared
    }

    /// The defect's counters, summed over all children.
    pub(super) fn counts(&self) -> DefectCounts {
        let seen = self.seen();
        seen.counters
            .values()
            .fold(DefectCounts::default(), |sum, one| DefectCounts {
                reached: sum.reached + one.reached,
                triggered: sum.triggered + one.triggered,
            })
    }

    fn state(&self, node: NodeId, state: StateHash) {
        let Some(at) = state.applied else { return };
        let mut seen = self.seen();
        match seen.hashes.get(&at) {
            None => {
                seen.hashes.insert(at, (node, state.hash));
                if seen.hashes.len() > MOST_KEPT {
                    seen.hashes.pop_first();
                }
            }
            Some((_, hash)) if *hash == state.hash => seen.compared += 1,
            Some(first) if !seen.told => {
                let (first, second) = (first.clone(), (node, state.hash));
                seen.suspicion
                    .get_or_insert(Suspicion { at, first, second });
            }
            Some(_) => {}
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().expect("nobody panics while comparing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(at: (u64, u64), hash: &str) -> StateHash {
        StateHash {
            applied: Some(at),
            hash: hash.to_owned(),
            keys: 1,
        }
    }

    #[test]
    fn only_states_at_one_log_id_are_compared() {
        let inspector = Inspector::default();
        inspector.state(1, state((2, 7), "aa"));
        inspector.state(2, state((2, 8), "bb"));
        inspector.state(3, state((3, 7), "cc"));
        let suspicion = |inspector: &Inspector| inspector.seen().suspicion.clone();
        assert_eq!((inspector.compared(), suspicion(&inspector)), (0, None));
        inspector.state(2, state((2, 7), "aa"));
        assert_eq!((inspector.compared(), suspicion(&inspector)), (1, None));
        inspector.state(3, state((2, 7), "ab"));
        let found = suspicion(&inspector).expect("they differ");
        assert_eq!((found.at, found.second.0), ((2, 7), 3));
    }

    #[test]
    fn states_that_differ_are_found_once_with_what_differs_however_often_they_are_seen() {
        let inspector = Inspector::default();
        let mut told = Vec::new();
        for look in 0..40 {
            inspector.state(1, state((2, 7 + look), "aa"));
            inspector.state(3, state((2, 7 + look), "ab"));
            // The lock must be free again before it is concluded.
            let suspicion = inspector.seen().suspicion.clone();
            if let Some(suspicion) = suspicion {
                inspector.conclude(&suspicion, "w3 is 1 at n1 and absent at n3");
            }
            told.extend(inspector.found());
        }
        assert_eq!(told.len(), 1, "{told:?}");
        let Finding {
            oracle, evidence, ..
        } = &told[0];
        assert_eq!(oracle, "state-hash");
        let words = "n1 and n3 differ at applied log id 2/7 (aa, ab): w3 is 1 at n1 and absent";
        assert!(evidence.contains(words), "{evidence}");
    }
}
