//! What really happened in a run, counted, so that a run that exercised nothing cannot pass for a proof.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use checkers::history::{ClientId, Event, EventKind, Outcome};
use serde::Serialize;

use super::notice::{By, ChildState, LinkState, NodeView, Notice, Role};
use crate::fault::{Fault, MEMBERSHIP, NodeId};
use crate::proxy::{Action, Decisions};
use crate::scenario::Promises;

/// After the last fault went out, operations count as calm again: a failover takes 0.9 to 1.2 s.
const CALM_AFTER_NS: u64 = 2_000_000_000;

/// What a node said before a fault is told by then: it is asked ten times a second, and looked at twenty times.
const TOLD_WITHIN_NS: u64 = 150_000_000;

/// A node that a fault hit: when, whether that ended it, and whether as it stood.
#[derive(Clone, Copy, Debug)]
struct Struck {
    time_ns: u64,
    ends: bool,
    kills: bool,
}

/// A leader whose child is gone, while no fault that would explain it has been told.
#[derive(Clone, Copy, Debug)]
struct Fallen {
    /// Whether it had entries which were not committed.
    tail: bool,
    /// When its next life was heard first.
    back_ns: Option<u64>,
}

/// Counts what the clients saw and what was done to the cluster.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    outcomes: Outcomes,
    calm: Share,
    leaders: BTreeSet<(u64, NodeId)>,
    leader_hit: u64,
    leader_in_minority: u64,
    /// Of the nodes that led when it was last looked, those that no majority heard.
    lonely: BTreeSet<NodeId>,
    cut: BTreeSet<(NodeId, NodeId)>,
    snapshots: u64,
    faults: BTreeMap<&'static str, u64>,
    messages: BTreeMap<&'static str, u64>,
    dropped: BTreeMap<&'static str, u64>,
    /// Leaders that, as they said last, had more in their log than was committed.
    with_tail: BTreeSet<NodeId>,
    tails: u64,
    /// Whom a fault hit that was not seen to lead then.
    struck: BTreeMap<NodeId, Struck>,
    skipped: u64,
    indeterminate: u64,
    in_flight_at_edges: u64,
    open: HashMap<ClientId, Calm>,
    active: u64,
    edges: u64,
    last_out_ns: Option<u64>,
    /// What each said last that it is, of the dead too.
    roles: BTreeMap<NodeId, Role>,
    /// Those that are dead, or have said nothing yet in this life: none of them leads.
    down: BTreeSet<NodeId>,
    fallen: BTreeMap<NodeId, Fallen>,
}

/// How the operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// With an answer.
    pub ok: u64,
    /// Proven not to have happened, among them every compare-and-set whose condition did not hold.
    pub failed: u64,
    /// Nobody knows; also what was still open at the end.
    pub unknown: u64,
}

/// Of how many operations how many had a known outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Operations counted.
    pub operations: u64,
    /// Those that ended ok or failed.
    pub known: u64,
}

/// Whether an operation began in calm, and how many fault edges there had been by then.
#[derive(Clone, Copy, Debug)]
struct Calm {
    calm: bool,
    edges: u64,
}

/// The counts of a finished run, as printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// How the operations ended.
    pub ops: Outcomes,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Single messages that met a fate, by the fate.
    pub messages: BTreeMap<String, u64>,
    /// Single messages that were lost, requests, answers and refused ones together, by the method.
    pub dropped: BTreeMap<String, u64>,
    /// Faults that did not.
    pub skipped: u64,
    /// Faults of which nobody can say it.
    pub indeterminate: u64,
    /// Different (term, node) pairs that were seen to lead.
    pub elections: u64,
    /// Operations that were open when a fault went in or out, summed over all edges.
    pub in_flight_at_edges: u64,
    /// How often the node that was isolated, paused or killed led at that moment.
    pub leader_hit: u64,
    /// How often a leader came to be where no majority heard it and was heard by it.
    pub leader_in_minority: u64,
    /// How often a leader was killed that had entries which were not committed.
    pub tails: u64,
    /// Snapshots that one node sent another and had answered.
    pub snapshots: u64,
    /// Operations that began and ended with no fault in, at least 2 s after the last.
    pub calm: Share,
}

impl Coverage {
    /// Counts an event of the history.
    pub(super) fn event(&mut self, event: &Event) {
        let Some(client) = event.client else { return };
        match &event.kind {
            EventKind::Invoke { .. } => {
                let calm = self.active == 0
                    && self
                        .last_out_ns
                        .is_none_or(|out| event.time_ns.saturating_sub(out) > CALM_AFTER_NS);
                self.open.insert(
                    client,
                    Calm {
                        calm,
                        edges: self.edges,
                    },
                );
            }
            EventKind::Complete { outcome, .. } => {
                match outcome {
                    Outcome::Ok(_) => self.outcomes.ok += 1,
                    Outcome::Failed => self.outcomes.failed += 1,
                    Outcome::Unknown => self.outcomes.unknown += 1,
                }
                if let Some(Calm { calm: true, edges }) = self.open.remove(&client)
                    && edges == self.edges
                {
                    self.calm.operations += 1;
                    self.calm.known += u64::from(*outcome != Outcome::Unknown);
                }
            }
            EventKind::Mark(_) => {}
        }
    }

    /// Counts a notice.
    pub(super) fn notice(&mut self, time_ns: u64, notice: &Notice) {
        match notice {
            Notice::Node { node } => {
                self.node(time_ns, node);
                self.look_for_lonely_leaders();
            }
            Notice::Link { from, to, state } => {
                if *state == LinkState::Cut {
                    self.cut.insert((*from, *to));
                } else {
                    self.cut.remove(&(*from, *to));
                }
                self.look_for_lonely_leaders();
            }
            Notice::FaultIn { fault, .. } => {
                *self.faults.entry(fault.kind()).or_default() += 1;
                self.active += 1;
                self.edge();
                let hit = match fault {
                    Fault::Isolate { node, .. } => vec![*node],
                    other => other.children(),
                };
                for node in hit {
                    self.strike(time_ns, node, fault);
                }
            }
            Notice::FaultOut { by, .. } => {
                self.active = self.active.saturating_sub(1);
                self.last_out_ns = Some(time_ns);
                if *by != By::End {
                    self.edge();
                }
            }
            Notice::FaultSkipped { .. } => self.skipped += 1,
            Notice::FaultIndeterminate { id, fault, .. } => {
                self.indeterminate += 1;
                // What was never told to be in was not counted.
                let counted = id.and_then(|_| self.faults.get_mut(fault.kind()));
                if let Some(count) = counted {
                    *count -= 1;
                }
                self.faults.retain(|_, count| *count > 0);
            }
            _ => {}
        }
    }

    /// Counts what became of single messages.
    pub(super) fn messages(&mut self, decisions: &Decisions) {
        for decision in &decisions.made {
            *self.messages.entry(decision.action.name()).or_default() += 1;
            if matches!(
                decision.action,
                Action::DropRequest | Action::DropResponse | Action::Fail(_)
            ) {
                *self.dropped.entry(decision.method.name()).or_default() += 1;
            }
        }
    }

    /// How many snapshots went from node to node, over the whole run.
    pub(super) fn snapshots(&mut self, sent: u64) {
        self.snapshots = sent;
    }

    /// What a node says. A dead one's last words may be told after its end; they hold for its life, not for it.
    fn node(&mut self, time_ns: u64, node: &NodeView) {
        let gone = matches!(node.child, ChildState::Dead | ChildState::Starting);
        let silent = node.role == Role::Unheard;
        let was_down = self.down.contains(&node.id);
        let late = gone && was_down;
        if !silent && !late {
            self.roles.insert(node.id, node.role);
            if node.role == Role::Leader && node.last_log > node.committed {
                self.with_tail.insert(node.id);
            } else {
                self.with_tail.remove(&node.id);
            }
            if node.role == Role::Leader {
                self.leaders.insert((node.term, node.id));
            }
            if was_down {
                self.down.remove(&node.id);
            }
            self.look_at_struck(time_ns, node.id);
        }
        if !gone && !silent {
            if let Some(fallen) = self.fallen.get_mut(&node.id) {
                fallen.back_ns.get_or_insert(time_ns);
            }
        } else if self.down.insert(node.id) && self.roles.get(&node.id) == Some(&Role::Leader) {
            let (tail, back_ns) = (self.with_tail.contains(&node.id), None);
            self.fallen.insert(node.id, Fallen { tail, back_ns });
        }
    }

    /// A fault hits a node. One that ends it may be told after its end was, or after its next life began.
    fn strike(&mut self, time_ns: u64, node: NodeId, fault: &Fault) {
        let kills = fault.kills();
        let ends = kills || matches!(fault, Fault::Restart { .. });
        let fallen = ends.then(|| self.fallen.remove(&node)).flatten();
        let fresh = |back: u64| time_ns.saturating_sub(back) <= TOLD_WITHIN_NS;
        if let Some(fallen) = fallen.filter(|fallen| fallen.back_ns.is_none_or(fresh)) {
            self.leader_hit += 1;
            self.tails += u64::from(kills && fallen.tail);
            return;
        }
        if self.down.contains(&node) {
            return;
        }
        let struck = Struck {
            time_ns,
            ends,
            kills,
        };
        self.struck.insert(node, struck);
        self.look_at_struck(time_ns, node);
    }

    /// Counts a node that was hit while it led. What it said last may be told after the fault: it still counts.
    fn look_at_struck(&mut self, time_ns: u64, node: NodeId) {
        let Some(&Struck {
            time_ns: since,
            ends,
            kills,
        }) = self.struck.get(&node)
        else {
            return;
        };
        let late = time_ns.saturating_sub(since) > TOLD_WITHIN_NS;
        let led = !late && self.roles.get(&node) == Some(&Role::Leader);
        if led {
            self.leader_hit += 1;
            self.tails += u64::from(kills && self.with_tail.contains(&node));
            if ends {
                // It is dead, or begins its next life: what it said is over.
                self.down.insert(node);
            }
        }
        if led || late {
            self.struck.remove(&node);
        }
    }

    /// Counts the leaders that have just lost their majority; those that have lost it before count once.
    fn look_for_lonely_leaders(&mut self) {
        let hears = |a, b| !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        let lonely = |leader: NodeId| {
            // A learner's ear is none of a majority's.
            let voters = self
                .roles
                .iter()
                .filter(|(_, role)| **role != Role::Learner);
            let voters: Vec<NodeId> = voters.map(|(&id, _)| id).collect();
            let heard = voters.iter().filter(|&&other| hears(leader, other));
            heard.count() * 2 <= voters.len()
        };
        let leaders = self.roles.iter();
        let leaders =
            leaders.filter(|(id, role)| **role == Role::Leader && !self.down.contains(id));
        let now: BTreeSet<NodeId> = leaders
            .map(|(&id, _)| id)
            .filter(|&id| lonely(id))
            .collect();
        self.leader_in_minority += now.difference(&self.lonely).count() as u64;
        self.lonely = now;
    }

    fn edge(&mut self) {
        self.edges += 1;
        self.in_flight_at_edges += self.open.len() as u64;
    }

    /// The counts so far; what is open is unknown.
    pub(super) fn counts(&self) -> Counts {
        let mut ops = self.outcomes;
        ops.unknown += self.open.len() as u64;
        let named = |counts: &BTreeMap<&'static str, u64>| {
            let counts = counts.iter();
            counts.map(|(name, n)| ((*name).to_owned(), *n)).collect()
        };
        Counts {
            ops,
            faults: named(&self.faults),
            messages: named(&self.messages),
            dropped: named(&self.dropped),
            tails: self.tails,
            skipped: self.skipped,
            indeterminate: self.indeterminate,
            elections: self.leaders.len() as u64,
            in_flight_at_edges: self.in_flight_at_edges,
            leader_hit: self.leader_hit,
            leader_in_minority: self.leader_in_minority,
            snapshots: self.snapshots,
            calm: self.calm,
        }
    }
}

impl Counts {
    /// What the run did not exercise although its scenario promises it, a sentence each.
    #[must_use]
    pub fn broken_promises(&self, promises: &Promises) -> Vec<String> {
        let mut broken = Vec::new();
        if self.ops.ok == 0 {
            broken.push("no operation succeeded".to_owned());
        }
        if self.elections < promises.elections {
            broken.push(format!(
                "{} elections, promised {}",
                self.elections, promises.elections
            ));
        }
        let took_effect = |kinds: &[&str]| -> u64 {
            kinds.iter().filter_map(|&kind| self.faults.get(kind)).sum()
        };
        let Promises {
            kinds,
            snapshots,
            leaders_hit,
            leaders_in_minority,
            tails,
            changes,
            crashes,
            ..
        } = *promises;
        for (done, promised, what) in [
            (
                self.faults.len() as u64,
                kinds,
                "kinds of fault took effect",
            ),
            (self.snapshots, snapshots, "snapshots were installed"),
            (self.leader_hit, leaders_hit, "faults hit the node that led"),
            (
                self.leader_in_minority,
                leaders_in_minority,
                "leaders were left without a majority",
            ),
            (
                self.tails,
                tails,
                "leaders were killed with entries that were not committed",
            ),
            (
                took_effect(MEMBERSHIP),
                changes,
                "changes of the membership took effect",
            ),
            (took_effect(&["crash"]), crashes, "power losses took effect"),
        ] {
            if done < promised {
                broken.push(format!("{done} {what}, promised {promised}"));
            }
        }
        broken
    }

    /// Of all operations the share of those whose outcome nobody knows: the more there are, the less is proven.
    #[must_use]
    pub fn unknown_share(&self) -> f64 {
        let Outcomes {
            ok,
            failed,
            unknown,
        } = self.ops;
        unknown as f64 / (ok + failed + unknown).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use checkers::history::Call;

    use super::*;

    fn up() -> NodeView {
        NodeView {
            child: ChildState::Up,
            ..NodeView::default()
        }
    }

    fn invoke(time_ns: u64, client: u64) -> Event {
        let kind = EventKind::Invoke {
            key: "k1".to_owned(),
            call: Call::Read,
        };
        Event {
            index: 0,
            time_ns,
            client: Some(client),
            node: None,
            kind,
        }
    }

    fn complete(time_ns: u64, client: u64, outcome: Outcome) -> Event {
        let kind = EventKind::Complete {
            outcome,
            at: None,
            error: None,
        };
        Event {
            index: 0,
            time_ns,
            client: Some(client),
            node: None,
            kind,
        }
    }

    #[test]
    fn an_operation_that_met_a_fault_is_not_calm_and_an_open_one_is_unknown() {
        let mut coverage = Coverage::default();
        coverage.event(&invoke(0, 1));
        coverage.event(&complete(1, 1, Outcome::Ok(None)));
        coverage.event(&invoke(2, 2));
        let fault = Fault::Kill { node: 1 };
        coverage.notice(
            3,
            &Notice::FaultIn {
                id: 1,
                fault: fault.clone(),
                by: By::Plan,
            },
        );
        coverage.event(&complete(4, 2, Outcome::Unknown));
        coverage.notice(
            5,
            &Notice::FaultOut {
                id: 1,
                fault,
                by: By::Plan,
            },
        );
        coverage.event(&invoke(6, 3));
        coverage.event(&complete(7, 3, Outcome::Failed));
        coverage.event(&invoke(8, 4));
        let counts = coverage.counts();
        assert_eq!(
            counts.calm,
            Share {
                operations: 1,
                known: 1
            }
        );
        assert_eq!(
            counts.ops,
            Outcomes {
                ok: 1,
                failed: 1,
                unknown: 2
            }
        );
        assert_eq!(counts.in_flight_at_edges, 1);
    }

    #[test]
    fn an_election_is_a_term_and_its_leader_however_often_it_is_seen() {
        let mut coverage = Coverage::default();
        for (term, id) in [(1, 1), (1, 1), (2, 3), (2, 3), (3, 1)] {
            let node = NodeView {
                id,
                term,
                role: Role::Leader,
                ..up()
            };
            coverage.notice(0, &Notice::Node { node });
        }
        assert_eq!(coverage.counts().elections, 3);
    }

    #[test]
    fn a_leader_without_its_majority_counts_once_for_each_time() {
        let mut coverage = Coverage::default();
        for (id, role) in [(1, Role::Leader), (2, Role::Follower), (3, Role::Follower)] {
            let node = NodeView { id, role, ..up() };
            coverage.notice(0, &Notice::Node { node });
        }
        let before = coverage.counts().leader_in_minority;
        let mut link = |from, to, state| coverage.notice(0, &Notice::Link { from, to, state });
        link(1, 2, LinkState::Cut);
        link(3, 1, LinkState::Cut);
        link(1, 3, LinkState::Cut);
        link(3, 1, LinkState::Open);
        link(1, 3, LinkState::Open);
        link(2, 3, LinkState::Cut);
        assert_eq!(coverage.counts().leader_in_minority - before, 1);
    }

    #[test]
    fn a_fault_that_nothing_met_does_not_count_as_one_that_took_effect() {
        let mut coverage = Coverage::default();
        let fault = || Fault::Message {
            act: crate::fault::Act::Drop,
            of: crate::fault::Of::Votes,
            node: None,
            per_mille: 1_000,
            ms: 0,
        };
        for id in [1, 2] {
            let (fault, by) = (fault(), By::Plan);
            coverage.notice(id, &Notice::FaultIn { id, fault, by });
        }
        let unproven = |coverage: &mut Coverage| {
            let (fault, by, why) = (fault(), By::Plan, String::new());
            let notice = Notice::FaultIndeterminate {
                id: Some(1),
                fault,
                by,
                why,
            };
            coverage.notice(3, &notice);
            let counts = coverage.counts();
            (counts.indeterminate, counts.faults.get("drop").copied())
        };
        assert_eq!(unproven(&mut coverage), (1, Some(1)));
        assert_eq!(unproven(&mut coverage), (2, None));
    }

    #[test]
    fn a_leader_that_dies_with_a_tail_is_counted_and_one_without_is_not() {
        let mut coverage = Coverage::default();
        let mut now_ns = 0;
        let mut kill = |id, role, last_log, fault: Fault| {
            now_ns += 1_000_000_000;
            let node = NodeView {
                id,
                role,
                last_log,
                committed: 7,
                ..up()
            };
            coverage.notice(now_ns, &Notice::Node { node });
            let by = By::Plan;
            coverage.notice(now_ns, &Notice::FaultIn { id: 1, fault, by });
            coverage.counts().tails
        };
        let killed = |node| Fault::Kill { node };
        assert_eq!(kill(1, Role::Leader, 7, killed(1)), 0, "all is committed");
        assert_eq!(kill(2, Role::Follower, 9, killed(2)), 0, "it does not lead");
        assert_eq!(kill(3, Role::Leader, 9, Fault::Pause { node: 3 }), 0);
        assert_eq!(kill(3, Role::Leader, 9, killed(3)), 1);
        let nodes = vec![1, 4];
        assert_eq!(kill(4, Role::Leader, 8, Fault::Crash { nodes }), 2);
    }

    #[test]
    fn a_leader_whose_last_word_is_told_after_the_fault_was_hit_and_a_later_one_was_not() {
        for (told_ns, hits) in [(100_000_000, 1), (2_000_000_000, 0)] {
            let mut coverage = Coverage::default();
            let fault = Fault::Pause { node: 1 };
            let by = By::Plan;
            coverage.notice(0, &Notice::FaultIn { id: 1, fault, by });
            let node = NodeView {
                id: 1,
                role: Role::Leader,
                ..up()
            };
            coverage.notice(told_ns, &Notice::Node { node });
            assert_eq!(coverage.counts().leader_hit, hits, "{told_ns}");
        }
    }

    /// Says what a node is after `ms`.
    fn says(coverage: &mut Coverage, ms: u64, child: ChildState, role: Role) {
        let (id, last_log) = (1, 9);
        let node = NodeView {
            id,
            child,
            role,
            last_log,
            ..NodeView::default()
        };
        coverage.notice(ms * 1_000_000, &Notice::Node { node });
    }

    fn hit(coverage: &mut Coverage, ms: u64, fault: Fault) -> (u64, u64) {
        let (id, by) = (1, By::Plan);
        coverage.notice(ms * 1_000_000, &Notice::FaultIn { id, fault, by });
        let counts = coverage.counts();
        (counts.leader_hit, counts.tails)
    }

    #[test]
    fn a_corpse_leads_nobody_and_neither_does_its_next_life_before_it_says_so() {
        use ChildState::{Dead, Starting, Up};
        let isolate = || Fault::Isolate {
            node: 1,
            way: crate::fault::Way::Both,
        };
        let mut coverage = Coverage::default();
        says(&mut coverage, 0, Up, Role::Leader);
        assert_eq!(hit(&mut coverage, 10, Fault::Kill { node: 1 }), (1, 1));
        says(&mut coverage, 20, Dead, Role::Leader);
        assert_eq!(hit(&mut coverage, 30, isolate()), (1, 1));
        says(&mut coverage, 40, Dead, Role::Leader);
        says(&mut coverage, 50, Starting, Role::Unheard);
        assert_eq!(hit(&mut coverage, 60, isolate()), (1, 1));
        says(&mut coverage, 70, Up, Role::Unheard);
        assert_eq!(hit(&mut coverage, 80, Fault::Pause { node: 1 }), (1, 1));
        for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1)] {
            let state = LinkState::Cut;
            coverage.notice(90_000_000, &Notice::Link { from, to, state });
        }
        assert_eq!(coverage.counts().leader_in_minority, 0);
        says(&mut coverage, 500, Up, Role::Leader);
        assert_eq!(hit(&mut coverage, 510, isolate()), (2, 1));
    }

    #[test]
    fn a_leader_that_was_seen_dead_before_its_fault_was_told_was_hit_once() {
        use ChildState::{Dead, Starting, Up};
        for early in [Dead, Starting] {
            let mut coverage = Coverage::default();
            let several = || Fault::KillSeveral { nodes: vec![1] };
            says(&mut coverage, 0, Up, Role::Leader);
            says(&mut coverage, 50, early, Role::Leader);
            assert_eq!(hit(&mut coverage, 60, several()), (1, 1), "{early:?}");
            assert_eq!(hit(&mut coverage, 70, several()), (1, 1), "{early:?}");
            // Its next life follows, and is hit as such.
            says(&mut coverage, 1_000, Up, Role::Follower);
            assert_eq!(hit(&mut coverage, 2_000, several()), (1, 1), "{early:?}");
        }
        // Restarted: its next life has spoken before the fault is told, just so or long ago.
        for (told, hits) in [(180, (1, 1)), (900, (0, 0))] {
            let mut coverage = Coverage::default();
            let signal = crate::fault::Signal::Kill;
            says(&mut coverage, 0, Up, Role::Leader);
            says(&mut coverage, 50, Up, Role::Unheard);
            says(&mut coverage, 100, Up, Role::Follower);
            let restart = Fault::Restart { node: 1, signal };
            assert_eq!(hit(&mut coverage, told, restart), hits, "{told}");
        }
    }

    #[test]
    fn what_was_never_seen_to_be_in_takes_nothing_from_what_was() {
        let mut coverage = Coverage::default();
        let (fault, by) = (Fault::Shrink { node: 1 }, By::Plan);
        let (id, why) = (None, String::new());
        let notice = Notice::FaultIndeterminate {
            id,
            fault: fault.clone(),
            by,
            why,
        };
        coverage.notice(0, &Notice::FaultIn { id: 1, fault, by });
        coverage.notice(1, &notice);
        let counts = coverage.counts();
        assert_eq!(
            (counts.indeterminate, counts.faults.get("shrink").copied()),
            (1, Some(1))
        );
    }

    #[test]
    fn what_was_promised_and_not_done_is_named() {
        let counts = Counts {
            elections: 1,
            ..Counts::default()
        };
        let broken = counts.broken_promises(&Promises {
            elections: 2,
            kinds: 3,
            snapshots: 1,
            leaders_hit: 1,
            leaders_in_minority: 1,
            tails: 1,
            changes: 1,
            crashes: 1,
        });
        assert_eq!(broken.len(), 9, "{broken:?}");
        let kept = Counts {
            ops: Outcomes {
                ok: 1,
                ..Outcomes::default()
            },
            ..Counts::default()
        };
        assert!(kept.broken_promises(&Promises::default()).is_empty());
    }
}
