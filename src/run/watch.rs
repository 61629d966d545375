//! Looks at the nodes without waiting for any of them, tells what changed, and remembers what each took itself for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::folder::Teller;
use super::notice::{ChildState, NodeView, Notice, Role, RpcView, Vote};
use crate::cluster::{self, Cluster};
use crate::fault::NodeId;
use crate::recorder::Recorder;
use crate::wire::kiwi;

/// What was seen of the nodes over the run.
#[derive(Clone)]
pub(super) struct Watch {
    teller: Teller,
    recorder: Arc<Recorder>,
    seen: Arc<Mutex<Vec<(u64, NodeView)>>>,
    /// What was told of each node's calls last, and when.
    rpcs: Arc<Mutex<BTreeMap<NodeId, ToldRpcs>>>,
}

/// What was told of a node's calls, and when.
type ToldRpcs = (u64, Vec<RpcView>);

/// Calls change all the time; a person reads them once a second.
const TELL_RPCS_NS: u64 = 1_000_000_000;

impl Watch {
    pub(super) fn new(teller: Teller, recorder: Arc<Recorder>) -> Watch {
        Watch {
            teller,
            recorder,
            seen: Arc::default(),
            rpcs: Arc::default(),
        }
    }

    /// Tells every node that changed since the last look.
    pub(super) fn look(&self, cluster: &Cluster) {
        for view in cluster.views() {
            let node = translate(&view);
            self.tell_rpcs(&view);
            let mut seen = self.seen.lock().expect("nobody panics while looking");
            let before = seen.iter().rev().find(|(_, before)| before.id == node.id);
            if before.is_none_or(|(_, before)| *before != node) {
                seen.push((self.recorder.now_ns(), node.clone()));
                drop(seen);
                self.teller.tell(Notice::Node { node });
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
            self.teller.tell(Notice::Rpcs { node, rpcs });
        }
    }

    /// What each node took itself for at that instant, a sentence each: as last heard, at most a poll's time ago.
    pub(super) fn beliefs_at(&self, time_ns: u64) -> Vec<String> {
        let seen = self.seen.lock().expect("nobody panics while looking");
        let mut last: BTreeMap<NodeId, &NodeView> = BTreeMap::new();
        for (_, node) in seen.iter().take_while(|(at, _)| *at <= time_ns) {
            last.insert(node.id, node);
        }
        last.into_values().filter_map(belief).collect()
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

fn belief(node: &NodeView) -> Option<String> {
    let NodeView { id, term, .. } = node;
    Some(match (node.child, node.role, node.leader) {
        (ChildState::Dead, ..) => format!("n{id} was dead."),
        (ChildState::Paused, ..) => format!("n{id} was paused."),
        (_, Role::Unheard, _) => return None,
        (_, Role::Leader, _) => format!("n{id} took itself for the leader of term {term}."),
        (_, _, Some(leader)) => format!("n{id} took n{leader} for the leader of term {term}."),
        (_, _, None) => format!("n{id} knew no leader in term {term}."),
    })
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

    #[test]
    fn a_belief_is_what_the_node_says_unless_it_cannot_say_anything() {
        let node = |child, role, leader| NodeView {
            id: 2,
            child,
            role,
            leader,
            term: 3,
            ..NodeView::default()
        };
        let said = |node: NodeView| belief(&node).unwrap_or_default();
        assert_eq!(
            said(node(ChildState::Up, Role::Leader, Some(2))),
            "n2 took itself for the leader of term 3."
        );
        assert_eq!(
            said(node(ChildState::Up, Role::Follower, Some(1))),
            "n2 took n1 for the leader of term 3."
        );
        assert_eq!(
            said(node(ChildState::Up, Role::Candidate, None)),
            "n2 knew no leader in term 3."
        );
        assert_eq!(
            said(node(ChildState::Paused, Role::Leader, None)),
            "n2 was paused."
        );
        assert_eq!(said(node(ChildState::Starting, Role::Unheard, None)), "");
    }
}
