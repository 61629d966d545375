//! Looks at the nodes without waiting for any of them, and logs what changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::cluster::{self, Cluster};
use crate::fault::NodeId;
use crate::journal::{ChildState, Event, EventLog, NodeView, Role, RpcView, Vote};
use crate::recorder::Recorder;
use crate::wire::kiwi;

/// What was seen of the nodes over the run.
#[derive(Clone)]
pub(super) struct Watch {
    log: EventLog,
    recorder: Arc<Recorder>,
    /// The nodes as they were at the last look.
    seen: Arc<Mutex<BTreeMap<NodeId, NodeView>>>,
    /// What was told of each node's calls last, and when.
    rpcs: Arc<Mutex<BTreeMap<NodeId, ToldRpcs>>>,
}

/// What was told of a node's calls, and when.
type ToldRpcs = (u64, Vec<RpcView>);

/// Calls change all the time; a person reads them once a second.
const TELL_RPCS_NS: u64 = 1_000_000_000;

impl Watch {
    pub(super) fn new(log: EventLog, recorder: Arc<Recorder>) -> Watch {
        Watch {
            log,
            recorder,
            seen: Arc::default(),
            rpcs: Arc::default(),
        }
    }

    /// Logs every node that changed since the last look.
    pub(super) fn look(&self, cluster: &Cluster) {
        for view in cluster.views() {
            let node = translate(&view);
            self.tell_rpcs(&view);
            let mut seen = self.seen.lock().expect("nobody panics while looking");
            let before = seen.insert(node.id, node.clone());
            drop(seen);
            if before.as_ref() != Some(&node) {
                self.log.log(Event::Node { node });
            }
        }
    }

    fn tell_rpcs(&self, view: &cluster::NodeView) {
        let Some(status) = &view.status else {
            return;
        };
        let (node, now_ns) = (view.id, self.recorder.now_ns());
        let mut told = self.rpcs.lock().expect("nobody panics while looking");
        let before = told.get(&node);
        if before.is_some_and(|(at, _)| now_ns < at + TELL_RPCS_NS) {
            return;
        }
        let rpcs = by_method(&status.metrics.rpcs);
        if before.is_none_or(|(_, before)| *before != rpcs) {
            told.insert(node, (now_ns, rpcs.clone()));
            drop(told);
            self.log.log(Event::Rpcs { node, rpcs });
        }
    }
}

/// A row a method, over all peers; its latencies are those of the slowest.
fn by_method(rows: &[kiwi::RpcStatistics]) -> Vec<RpcView> {
    let mut methods: BTreeMap<&str, RpcView> = BTreeMap::new();
    for row in rows {
        let all = methods.entry(&row.method).or_default();
        all.method.clone_from(&row.method);
        all.calls += row.calls;
        all.in_flight += row.in_flight;
        all.errors += row.errors.values().sum::<u64>();
        all.bytes += row.bytes_sent + row.bytes_received;
        all.p50_us = all.p50_us.max(row.p50_us);
        all.p99_us = all.p99_us.max(row.p99_us);
    }
    methods.into_values().collect()
}

fn vote(vote: &kiwi::Vote) -> Option<Vote> {
    let leader = vote.leader_id.as_ref()?;
    Some(Vote {
        term: leader.term,
        node: leader.node_id.as_ref()?.id,
        committed: vote.committed,
    })
}

fn translate(view: &cluster::NodeView) -> NodeView {
    let index = |id: &Option<kiwi::LogId>| id.as_ref().map_or(0, |id| id.index);
    let mut node = NodeView {
        id: view.id,
        child: match view.state {
            cluster::ChildState::Starting => ChildState::Starting,
            cluster::ChildState::Up => ChildState::Up,
            cluster::ChildState::Paused => ChildState::Paused,
            cluster::ChildState::Dead => ChildState::Dead,
        },
        pid: view.pid,
        restarts: view.restarts,
        grpc: view.ready.map(|ready| ready.raft),
        redis: view.ready.and_then(|ready| ready.resp),
        ..NodeView::default()
    };
    if let Some(status) = &view.status {
        let metrics = &status.metrics;
        node.role = match metrics.role() {
            kiwi::Role::Unspecified => Role::Unheard,
            kiwi::Role::Follower => Role::Follower,
            kiwi::Role::Candidate => Role::Candidate,
            kiwi::Role::Leader => Role::Leader,
            kiwi::Role::Learner => Role::Learner,
            kiwi::Role::Shutdown => Role::Shutdown,
        };
        node.term = metrics.term;
        node.vote = metrics.vote.as_ref().and_then(vote);
        node.leader = Some(metrics.current_leader).filter(|&leader| leader != 0);
        node.last_log = metrics.last_log_index;
        node.committed = index(&metrics.committed);
        node.applied = index(&metrics.applied);
        node.snapshot = index(&metrics.snapshot);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_added_up_over_the_peers_and_the_slowest_one_counts() {
        let row = |peer, calls, p99_us| kiwi::RpcStatistics {
            peer,
            method: "Vote".to_owned(),
            calls,
            errors: [("UNAVAILABLE".to_owned(), 1)].into(),
            p99_us,
            ..kiwi::RpcStatistics::default()
        };
        let rows = by_method(&[row(2, 3, 50), row(3, 4, 70)]);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].calls, rows[0].errors, rows[0].p99_us), (7, 2, 70));
    }
}
