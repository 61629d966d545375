//! What the nodes say of themselves while the run goes on: a hash of their state at an applied log id, for the oracle
//! [`state_hash`], and how often a planted defect was reached. Asked directly, never through the proxy, never in the
//! history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;

use crate::cluster::{ChildState, Cluster};
use crate::journal::DefectCounts;
use crate::oracle::state_hash;
use crate::target::States;

/// How often the nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What was seen so far; clones share it.
#[derive(Clone, Default)]
pub(super) struct Inspector {
    /// Their states.
    pub(super) states: state_hash::Seen,
    /// By child: a node that starts again counts from nothing.
    counters: Arc<Mutex<BTreeMap<u32, DefectCounts>>>,
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
        // What is not of one instant is looked at when everything is over.
        let states = cluster.target().states();
        let exact = states.is_some_and(States::is_exact);
        let asked = up.map(|view| async move {
            if exact && let Ok(state) = cluster.state_hash(view.id).await {
                self.states.state(view.id, state);
            }
            if defect
                && let Some(pid) = view.pid
                && let Ok(said) = cluster.defect_counters(view.id).await
            {
                let counts = DefectCounts {
                    reached: said.reached,
                    triggered: said.triggered,
                };
                self.counters().insert(pid, counts);
            }
        });
        join_all(asked).await;
        self.states.explain(cluster).await;
    }

    /// The defect's counters, summed over all children.
    pub(super) fn counts(&self) -> DefectCounts {
        let counters = self.counters();
        counters
            .values()
            .fold(DefectCounts::default(), |sum, one| DefectCounts {
                reached: sum.reached + one.reached,
                triggered: sum.triggered + one.triggered,
            })
    }

    fn counters(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, DefectCounts>> {
        self.counters.lock().expect("nobody panics while counting")
    }
}
