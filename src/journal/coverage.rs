//! What really happened in a run, counted, so that a run that exercised nothing cannot pass for a proof.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use checkers::history::{self, ClientId, How, Step};
use serde::{Deserialize, Serialize};

use super::event::{Event, MessageFate, Phase};
use super::node::{ChildState, LinkState, NodeView, Role};
use super::unexplained::{self, Unexplained};
use crate::fault::{By, Class, Fault, Kind, NodeId};
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
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// How many clients the workload has at a time; the bench's own has the slot behind theirs, and steps those behind it.
    clients: u32,
    slots: u32,
    outcomes: Outcomes,
    /// The same by what was asked for, in the order in which that was first.
    names: Vec<(String, Outcomes)>,
    /// Those of the bench's own operations: what it asks when everything is healed proves nothing about the workload.
    own: Outcomes,
    own_open: BTreeSet<ClientId>,
    /// The bench hands the leadership round now: who leads by that was not elected by anything that went wrong.
    rotates: bool,
    calm: Share,
    unexplained: unexplained::Calm,
    leaders: BTreeSet<(u64, NodeId)>,
    leader_hit: u64,
    leader_in_minority: u64,
    /// Of the nodes that led when it was last looked, those that no majority heard.
    lonely: BTreeSet<NodeId>,
    cut: BTreeSet<(NodeId, NodeId)>,
    snapshots: u64,
    sessions: Sessions,
    faults: BTreeMap<Kind, u64>,
    messages: BTreeMap<String, u64>,
    dropped: BTreeMap<String, u64>,
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

/// Writes that were asked for in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// All of them.
    pub writes: u64,
    /// Those that were asked for again, since nobody knew whether they had been applied.
    pub repeated: u64,
    /// Those of them that were answered then.
    pub settled: u64,
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

/// Whether an operation began in calm, how many fault edges there had been by then, and what it is.
#[derive(Clone, Copy, Debug)]
struct Calm {
    calm: bool,
    edges: u64,
    /// Which operation it is, among [`Coverage::names`].
    name: usize,
}

/// The counts of a finished run, as printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// How the workload's operations ended.
    pub ops: Outcomes,
    /// The same for each name of an operation.
    pub ops_by_name: BTreeMap<String, Outcomes>,
    /// How the bench's own ended: the writes that try the healed cluster, and the final reads.
    pub own_ops: Outcomes,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<Kind, u64>,
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
    /// Writes of clients that keep a session.
    pub sessions: Sessions,
    /// Operations that began and ended with no fault in, at least 2 s after the last.
    pub calm: Share,
    /// What happened though no fault explains it.
    pub unexplained: Unexplained,
}

impl Outcomes {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ok + self.failed + self.unknown
    }

    fn count(&mut self, how: How) {
        *match how {
            How::Ok => &mut self.ok,
            How::Failed => &mut self.failed,
            How::Unknown => &mut self.unknown,
        } += 1;
    }
}

impl Coverage {
    /// Of a run whose workload has so many clients at a time.
    pub(super) fn of(clients: u32) -> Coverage {
        Coverage {
            clients,
            slots: clients + 1,
            ..Coverage::default()
        }
    }

    /// Of a run that has so many slots of clients, those of its steps among them.
    pub(super) fn with_slots(mut self, slots: u32) -> Coverage {
        self.slots = slots;
        self
    }

    /// Whether this is the bench's own client, or one of its successors.
    fn is_own(&self, client: ClientId) -> bool {
        // Clients are numbered from 1 in each slot, and their successors a whole round of slots later.
        client.saturating_sub(1) % ClientId::from(self.slots.max(1)) == ClientId::from(self.clients)
    }

    fn own_event(&mut self, client: ClientId, step: Step<'_>) {
        match step {
            Step::Begins(_) => {
                self.own_open.insert(client);
            }
            Step::Ends(how, _) => {
                self.own_open.remove(&client);
                self.own.count(how);
            }
            Step::Aside => {}
        }
    }

    /// The place of an operation's name among those that were asked for.
    fn number_of(&mut self, name: &str) -> usize {
        let known = self.names.iter().position(|(known, _)| known == name);
        known.unwrap_or_else(|| {
            self.names.push((name.to_owned(), Outcomes::default()));
            self.names.len() - 1
        })
    }

    /// Counts an event of the history.
    fn history(&mut self, event: &history::Event) {
        self.unexplained.history(event);
        let Some(client) = event.client else { return };
        if self.is_own(client) {
            self.own_event(client, event.kind.step());
            return;
        }
        match event.kind.step() {
            Step::Begins(name) => {
                let calm = self.active == 0
                    && self
                        .last_out_ns
                        .is_none_or(|out| event.time_ns.saturating_sub(out) > CALM_AFTER_NS);
                let number = self.number_of(name);
                self.open.insert(
                    client,
                    Calm {
                        calm,
                        edges: self.edges,
                        name: number,
                    },
                );
            }
            Step::Ends(how, _) => {
                self.outcomes.count(how);
                let Some(began) = self.open.remove(&client) else {
                    return;
                };
                self.names[began.name].1.count(how);
                if began.calm && began.edges == self.edges {
                    self.calm.operations += 1;
                    self.calm.known += u64::from(how != How::Unknown);
                }
            }
            Step::Aside => {}
        }
    }

    /// Counts an event.
    pub(super) fn event(&mut self, time_ns: u64, event: &Event) {
        self.unexplained.event(time_ns, event);
        match event {
            Event::History(event) => self.history(event),
            Event::Message(fate) => self.message(fate),
            Event::Counted {
                snapshots,
                sessions,
                ..
            } => {
                self.snapshots = *snapshots;
                self.sessions = *sessions;
            }
            Event::Phase { phase } => self.rotates = *phase >= Phase::FinalReads,
            Event::Node { node } => {
                self.node(time_ns, node);
                self.look_for_lonely_leaders();
            }
            Event::Link { from, to, state } => {
                if *state == LinkState::Cut {
                    self.cut.insert((*from, *to));
                } else {
                    self.cut.remove(&(*from, *to));
                }
                self.look_for_lonely_leaders();
            }
            Event::FaultIn { fault, .. } => {
                *self.faults.entry(fault.kind()).or_default() += 1;
                self.active += 1;
                self.edge();
                let hit = match fault {
                    Fault::Isolate { who: node, .. } => vec![*node],
                    other => other.children(),
                };
                for node in hit {
                    self.strike(time_ns, node, fault);
                }
            }
            Event::FaultOut { by, .. } => {
                self.active = self.active.saturating_sub(1);
                self.last_out_ns = Some(time_ns);
                if *by != By::End {
                    self.edge();
                }
            }
            Event::FaultSkipped { .. } => self.skipped += 1,
            Event::FaultIndeterminate { id, fault, .. } => {
                self.indeterminate += 1;
                // What was never told to be in was not counted.
                let counted = id.and_then(|_| self.faults.get_mut(&fault.kind()));
                if let Some(count) = counted {
                    *count -= 1;
                }
                self.faults.retain(|_, count| *count > 0);
            }
            _ => {}
        }
    }

    /// Counts what became of a single message.
    fn message(&mut self, fate: &MessageFate) {
        *self.messages.entry(fate.message.clone()).or_default() += 1;
        if fate.lost {
            *self.dropped.entry(fate.method.clone()).or_default() += 1;
        }
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
            if node.role == Role::Leader && !self.rotates {
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
        let mut ops_by_name: BTreeMap<String, Outcomes> = self.names.iter().cloned().collect();
        for open in self.open.values() {
            let name = &self.names[open.name].0;
            ops_by_name.entry(name.clone()).or_default().unknown += 1;
        }
        let mut own_ops = self.own;
        own_ops.unknown += self.own_open.len() as u64;
        Counts {
            ops,
            ops_by_name,
            own_ops,
            faults: self.faults.clone(),
            messages: self.messages.clone(),
            dropped: self.dropped.clone(),
            tails: self.tails,
            skipped: self.skipped,
            indeterminate: self.indeterminate,
            elections: self.leaders.len() as u64,
            in_flight_at_edges: self.in_flight_at_edges,
            leader_hit: self.leader_hit,
            leader_in_minority: self.leader_in_minority,
            snapshots: self.snapshots,
            sessions: self.sessions,
            calm: self.calm,
            unexplained: self.unexplained.counts(),
        }
    }
}

impl Counts {
    /// What the run did not exercise although its scenario promises it: the coverage goals that are not met, a sentence
    /// each.
    #[must_use]
    pub fn unmet_goals(&self, promises: &Promises) -> Vec<String> {
        let mut unmet = Vec::new();
        if self.ops.ok == 0 {
            unmet.push("no operation of the workload succeeded".to_owned());
        }
        if self.elections < promises.elections {
            unmet.push(format!(
                "{} elections, promised {}",
                self.elections, promises.elections
            ));
        }
        let took_effect = |counts: fn(Kind) -> bool| -> u64 {
            let counted = self.faults.iter().filter(|(kind, _)| counts(**kind));
            counted.map(|(_, times)| times).sum()
        };
        let Promises {
            kinds,
            snapshots,
            leaders_hit,
            leaders_in_minority,
            tails,
            changes,
            power_losses,
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
                took_effect(|kind| kind.class() == Class::Members),
                changes,
                "changes of the membership took effect",
            ),
            (
                took_effect(|kind| kind == Kind::PowerLoss),
                power_losses,
                "power losses took effect",
            ),
        ] {
            if done < promised {
                unmet.push(format!("{done} {what}, promised {promised}"));
            }
        }
        unmet
    }

    /// Of the workload's operations the share of those whose outcome nobody knows: the more, the less is proven.
    #[must_use]
    pub fn unknown_share(&self) -> f64 {
        self.ops.unknown as f64 / self.ops.total().max(1) as f64
    }

    /// All operations of the history, the bench's own among them.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.ops.total() + self.own_ops.total()
    }
}

#[cfg(test)]
mod tests;
