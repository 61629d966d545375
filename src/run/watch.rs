//! Looks at the nodes without waiting for any of them, tells what changed, and remembers what each took itself for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use checkers::verdict::Counterexample;

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
    seen: Arc<Mutex<Seen>>,
    /// What was told of each node's calls last, and when.
    rpcs: Arc<Mutex<BTreeMap<NodeId, ToldRpcs>>>,
}

/// Changes of what nodes take themselves for that are kept: some hours of a cluster that never comes to rest.
const MOST_BELIEFS: usize = 100_000;

/// The nodes as they were at the last look, and what they took themselves for before. A view changes with each entry
/// of the log, a belief with each election: only beliefs are kept, and of them the newest.
#[derive(Default)]
struct Seen {
    last: BTreeMap<NodeId, NodeView>,
    /// When which node began to believe what, in order.
    beliefs: VecDeque<(u64, NodeId, Belief)>,
    /// What each node believed when the first of `beliefs` began, of those that are not kept any more.
    before: BTreeMap<NodeId, Belief>,
    /// Of what was believed until then nothing is known any more.
    forgotten_to_ns: u64,
}

/// What a node takes itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belief {
    child: ChildState,
    role: Role,
    leader: Option<u64>,
    term: u64,
}

/// What was told of a node's calls, and when.
type ToldRpcs = (u64, Vec<RpcView>);

/// What a node took itself for is heard by then: whoever has just become the leader is still heard as something else.
const HEARD_WITHIN_NS: u64 = 200_000_000;

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
            let changed = seen.see(self.recorder.now_ns(), &node);
            drop(seen);
            if changed {
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
    /// Nothing where that is too long ago to be known.
    pub(super) fn beliefs_at(&self, time_ns: u64) -> Vec<String> {
        let beliefs = self.seen_by(time_ns).into_iter();
        beliefs
            .filter_map(|(id, belief)| belief.of_node(id))
            .collect()
    }

    /// In a word, what the node that answered the culprit was then; `None` where nobody knows. Its log id tells more
    /// than what was last heard of it: whoever led the term of its answer, and others answered in a later one, was an old
    /// leader, whatever it took itself for a moment later.
    pub(super) fn stood_as(&self, found: &Counterexample) -> Option<&'static str> {
        let culprit = found.culprit()?;
        let answered_ns = culprit.completed_ns.unwrap_or(culprit.invoked_ns);
        let others = found.operations.iter().filter_map(|op| op.at);
        let newest = others.map(|at| at.term).max();
        let (node, answered_in) = (culprit.node?, culprit.at.map(|at| at.term));
        let behind = answered_in.is_some() && newest > answered_in;
        let seen = self.seen.lock().expect("nobody panics while looking");
        let led = seen.beliefs.iter().any(|(_, id, belief)| {
            *id == node && belief.role == Role::Leader && Some(belief.term) == answered_in
        });
        drop(seen);
        if behind && led {
            return Some("old leader");
        }
        let looks = [answered_ns, answered_ns.saturating_add(HEARD_WITHIN_NS)];
        let stood = looks.map(|time_ns| standing(&self.seen_by(time_ns), node));
        let mut leads = stood
            .iter()
            .flatten()
            .filter(|word| word.ends_with("leader"));
        leads.next().copied().or(stood[0]).or(stood[1])
    }

    /// What each node took itself for, as last heard by that instant.
    fn seen_by(&self, time_ns: u64) -> BTreeMap<NodeId, Belief> {
        let seen = self.seen.lock().expect("nobody panics while looking");
        seen.at(time_ns)
    }
}

impl Seen {
    /// Takes note of a node as it is now; gives whether anything about it has changed.
    fn see(&mut self, now_ns: u64, node: &NodeView) -> bool {
        let before = self.last.get(&node.id);
        if before == Some(node) {
            return false;
        }
        let belief = Belief::of(node);
        if before.map(Belief::of) != Some(belief) {
            self.beliefs.push_back((now_ns, node.id, belief));
        }
        self.last.insert(node.id, node.clone());
        if self.beliefs.len() > MOST_BELIEFS
            && let Some((_, id, oldest)) = self.beliefs.pop_front()
        {
            self.before.insert(id, oldest);
            self.forgotten_to_ns = self.beliefs.front().map_or(now_ns, |(at, ..)| *at);
        }
        true
    }

    /// What each node took itself for at that instant; nothing where that is too long ago to be known.
    fn at(&self, time_ns: u64) -> BTreeMap<NodeId, Belief> {
        if time_ns < self.forgotten_to_ns {
            return BTreeMap::new();
        }
        let mut last = self.before.clone();
        for (_, node, belief) in self.beliefs.iter().take_while(|(at, ..)| *at <= time_ns) {
            last.insert(*node, *belief);
        }
        last
    }
}

/// What a node was among the others: a leader is an old one where another leads a later term.
fn standing(beliefs: &BTreeMap<NodeId, Belief>, node: NodeId) -> Option<&'static str> {
    let belief = beliefs.get(&node)?;
    let newer = |other: &Belief| other.role == Role::Leader && other.term > belief.term;
    Some(match belief.role {
        Role::Leader if beliefs.values().any(newer) => "old leader",
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Unheard | Role::Shutdown => return None,
    })
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

impl Belief {
    fn of(node: &NodeView) -> Belief {
        Belief {
            child: node.child,
            role: node.role,
            leader: node.leader,
            term: node.term,
        }
    }

    fn of_node(&self, id: NodeId) -> Option<String> {
        let Belief { term, .. } = self;
        Some(match (self.child, self.role, self.leader) {
            (ChildState::Dead, ..) => format!("n{id} was dead."),
            (ChildState::Paused, ..) => format!("n{id} was paused."),
            (_, Role::Unheard, _) => return None,
            (_, Role::Leader, _) => format!("n{id} took itself for the leader of term {term}."),
            (_, _, Some(leader)) => format!("n{id} took n{leader} for the leader of term {term}."),
            (_, _, None) => format!("n{id} knew no leader in term {term}."),
        })
    }
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

    #[test]
    fn a_leader_beside_a_later_term_is_an_old_one() {
        let node = |id, role, term| {
            let node = NodeView {
                role,
                term,
                ..NodeView::default()
            };
            (id, Belief::of(&node))
        };
        let all = BTreeMap::from([
            node(1, Role::Leader, 1),
            node(2, Role::Leader, 2),
            node(3, Role::Follower, 2),
        ]);
        assert_eq!(standing(&all, 1), Some("old leader"));
        assert_eq!(standing(&all, 2), Some("leader"));
        assert_eq!(standing(&all, 3), Some("follower"));
        assert_eq!(standing(&all, 4), None);
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
        let said = |node: NodeView| Belief::of(&node).of_node(2).unwrap_or_default();
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

    fn leads(id: NodeId, term: u64, last_log: u64) -> NodeView {
        NodeView {
            id,
            child: ChildState::Up,
            role: Role::Leader,
            term,
            last_log,
            ..NodeView::default()
        }
    }

    fn said_at(seen: &Seen, time_ns: u64) -> Vec<String> {
        let beliefs = seen.at(time_ns).into_iter();
        beliefs
            .filter_map(|(id, belief)| belief.of_node(id))
            .collect()
    }

    #[test]
    fn a_longer_log_is_told_and_not_kept() {
        let mut seen = Seen::default();
        for entry in 0..1_000 {
            assert!(seen.see(entry, &leads(1, 1, entry)), "it has changed");
        }
        assert!(!seen.see(1_000, &leads(1, 1, 999)), "it has not");
        seen.see(2_000, &leads(1, 2, 999));
        assert_eq!(seen.beliefs.len(), 2);
        let term = |at, term| {
            let said = format!("n1 took itself for the leader of term {term}.");
            assert_eq!(said_at(&seen, at), [said], "at {at}");
        };
        term(0, 1);
        term(1_999, 1);
        term(2_000, 2);
        term(u64::MAX, 2);
    }

    #[test]
    fn what_is_not_kept_is_not_made_up() {
        let mut seen = Seen::default();
        seen.see(5, &leads(3, 7, 0));
        let changes = 2 * MOST_BELIEFS as u64;
        for at in 10..10 + changes {
            seen.see(at, &leads(1, at, 0));
        }
        assert_eq!(seen.beliefs.len(), MOST_BELIEFS);
        let oldest = 10 + changes - MOST_BELIEFS as u64;
        assert_eq!(said_at(&seen, oldest - 1), Vec::<String>::new());
        // n3 has believed the same since long ago.
        let first = format!("n1 took itself for the leader of term {oldest}.");
        let third = "n3 took itself for the leader of term 7.";
        assert_eq!(said_at(&seen, oldest), [first.as_str(), third]);
    }
}
