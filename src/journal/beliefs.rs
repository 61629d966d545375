//! What each node took itself for over the run: a fold over what was heard of the nodes.

use std::collections::{BTreeMap, VecDeque};

use checkers::verdict::Counterexample;

use super::node::{ChildState, NodeView, Role};
use crate::fault::NodeId;

/// Changes of what nodes take themselves for that are kept: some hours of a cluster that never comes to rest.
const MOST_BELIEFS: usize = 100_000;

/// What a node took itself for is heard by then: whoever has just become the leader is still heard as something else.
const HEARD_WITHIN_NS: u64 = 200_000_000;

/// What nodes took themselves for. A view changes with each entry of the log, a belief with each election: only beliefs
/// are kept, and of them the newest.
#[derive(Clone, Debug, Default)]
pub(super) struct Beliefs {
    last: BTreeMap<NodeId, Belief>,
    /// When which node began to believe what, in order.
    changes: VecDeque<(u64, NodeId, Belief)>,
    /// What each node believed when the first of `changes` began, of those that are not kept any more.
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

impl Beliefs {
    /// Takes note of a node as it is now.
    pub(super) fn see(&mut self, now_ns: u64, node: &NodeView) {
        let belief = Belief::of(node);
        if self.last.insert(node.id, belief) == Some(belief) {
            return;
        }
        self.changes.push_back((now_ns, node.id, belief));
        if self.changes.len() > MOST_BELIEFS
            && let Some((_, id, oldest)) = self.changes.pop_front()
        {
            self.before.insert(id, oldest);
            self.forgotten_to_ns = self.changes.front().map_or(now_ns, |(at, ..)| *at);
        }
    }

    /// What each node took itself for at that instant; nothing where that is too long ago to be known.
    fn seen_by(&self, time_ns: u64) -> BTreeMap<NodeId, Belief> {
        if time_ns < self.forgotten_to_ns {
            return BTreeMap::new();
        }
        let mut last = self.before.clone();
        for (_, node, belief) in self.changes.iter().take_while(|(at, ..)| *at <= time_ns) {
            last.insert(*node, *belief);
        }
        last
    }

    /// The same, a sentence each: as last heard, at most a poll's time ago.
    pub(super) fn at(&self, time_ns: u64) -> Vec<String> {
        let beliefs = self.seen_by(time_ns).into_iter();
        beliefs
            .filter_map(|(id, belief)| belief.of_node(id))
            .collect()
    }

    /// In a word, what the node that answered the culprit was then; `None` where nobody knows. Its log id tells more
    /// than what was last heard of it: whoever led the term of its answer, and others answered in a later one, was an old
    /// leader, whatever it took itself for a moment later.
    pub(super) fn stood_as(&self, found: &Counterexample) -> Option<&'static str> {
        let culprit = found.answered()?;
        let answered_ns = culprit.answered_ns;
        let others = found.operations.iter().filter_map(|op| op.at);
        let newest = others.map(|at| at.term).max();
        let (node, answered_in) = (culprit.node?, culprit.at.map(|at| at.term));
        let behind = answered_in.is_some() && newest > answered_in;
        let led = self.changes.iter().any(|(_, id, belief)| {
            *id == node && belief.role == Role::Leader && Some(belief.term) == answered_in
        });
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
            (_, _, None) => format!("n{id} named no leader in term {term}."),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "n2 named no leader in term 3."
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

    #[test]
    fn a_longer_log_is_no_other_belief() {
        let mut seen = Beliefs::default();
        for entry in 0..1_000 {
            seen.see(entry, &leads(1, 1, entry));
        }
        seen.see(2_000, &leads(1, 2, 999));
        assert_eq!(seen.changes.len(), 2);
        let term = |at, term| {
            let said = format!("n1 took itself for the leader of term {term}.");
            assert_eq!(seen.at(at), [said], "at {at}");
        };
        term(0, 1);
        term(1_999, 1);
        term(2_000, 2);
        term(u64::MAX, 2);
    }

    #[test]
    fn what_is_not_kept_is_not_made_up() {
        let mut seen = Beliefs::default();
        seen.see(5, &leads(3, 7, 0));
        let changes = 2 * MOST_BELIEFS as u64;
        for at in 10..10 + changes {
            seen.see(at, &leads(1, at, 0));
        }
        assert_eq!(seen.changes.len(), MOST_BELIEFS);
        let oldest = 10 + changes - MOST_BELIEFS as u64;
        assert_eq!(seen.at(oldest - 1), Vec::<String>::new());
        // n3 has believed the same since long ago.
        let first = format!("n1 took itself for the leader of term {oldest}.");
        let third = "n3 took itself for the leader of term 7.";
        assert_eq!(seen.at(oldest), [first.as_str(), third]);
    }
}
