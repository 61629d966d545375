//! Who decides when: carries out a plan, or what a person asks for, on the cluster and on the network between.
//!
//! It is the only hand on both. Every fault that it puts in is probed; what a probe does not confirm is *skipped*,
//! never installed. Every put-in and take-out is a mark in the history, on the recorder's clock, and an [`Event`]
//! for whoever listens. A fault of the network is held by guards and heals when they go; a fault of a child is taken out
//! by starting or resuming it.

mod agenda;
mod anchor;
mod hand;
mod life;
mod members;
mod terms;
mod wires;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::cluster::{ChildState, Cluster, ClusterError};
use crate::fault::plan::{Episode, Plan};
use crate::fault::{By, Fault, FaultId, NodeId, Remains};
use crate::journal::Event;
use crate::proxy::Network;
use crate::recorder::Recorder;
use agenda::{Agenda, Edge, Turn};
use anchor::Watched;
use hand::{Active, Hand, NotIn};
use members::Votes;

/// What the nemesis is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Put a fault in.
    Inject(Fault),
    /// Take one out.
    Heal(FaultId),
    /// Take every fault out.
    HealAll,
    /// Let the plan go on, or hold it.
    Plan(bool),
    /// The workload has begun: the plan's clock starts.
    Begin,
    /// Take every fault out and end.
    End,
}

/// Called with each event, in order. It must not block.
pub type Listener = Box<dyn Fn(Event) + Send + Sync>;

/// A plan's edge that needs a leader waits this long for one.
const LEADER_WITHIN: Duration = Duration::from_millis(1_500);
/// At the end every node has its vote back within this: everything else is healed by then.
const VOTES_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks whether what an episode waits for has happened.
const LOOK_AT_ANCHORS_EVERY: Duration = Duration::from_millis(5);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Who there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The nodes that run.
    pub nodes: Vec<NodeId>,
    /// Those of them that have a vote at the start; at the end all have one.
    pub voters: Vec<NodeId>,
    /// The groups of clients.
    pub groups: Vec<u32>,
}

/// Carries out one plan, and orders in between.
pub struct Nemesis {
    hand: Hand,
    active: BTreeMap<FaultId, Active>,
    /// Faults that are to be healed when their nodes go on, and by whom.
    waiting: Vec<(FaultId, By)>,
    next_id: FaultId,
    clock: PlanClock,
    agenda: Agenda,
    /// The episode whose faults go in now: who led when it began, and how many of its faults were seen to.
    under_way: Option<(Option<NodeId>, usize)>,
    watched: Vec<Watched>,
    listener: Listener,
}

/// Time on the plan: it stands while the plan is held.
#[derive(Debug, Default)]
struct PlanClock {
    passed: Duration,
    running_since: Option<Instant>,
}

impl PlanClock {
    fn at(&self, now: Instant) -> Duration {
        let since = |since| now.saturating_duration_since(since);
        self.passed + self.running_since.map_or(Duration::ZERO, since)
    }

    fn set(&mut self, running: bool, now: Instant) {
        self.passed = self.at(now);
        self.running_since = running.then_some(now);
    }

    /// When the plan will be at `at`; never while it stands.
    fn instant_of(&self, at: Duration, now: Instant) -> Option<Instant> {
        self.running_since
            .map(|_| now + at.saturating_sub(self.at(now)))
    }
}

impl Nemesis {
    /// A nemesis for these parties, whose plan stands until [`Order::Begin`].
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        network: Arc<Network>,
        recorder: Arc<Recorder>,
        parties: Parties,
        plan: &Plan,
        listener: Listener,
    ) -> Nemesis {
        let Parties {
            nodes,
            voters,
            groups,
        } = parties;
        let votes = Arc::new(Votes::begin(&nodes, &voters));
        Nemesis {
            hand: Hand {
                cluster,
                network,
                recorder,
                nodes,
                groups,
                votes,
                // Nobody holds it, and nobody will.
                held: watch::channel(false).1,
            },
            active: BTreeMap::new(),
            waiting: Vec::new(),
            next_id: 1,
            clock: PlanClock::default(),
            agenda: Agenda::of(plan),
            under_way: None,
            watched: Vec::new(),
            listener,
        }
    }

    /// While this is true nothing of the plan goes in, and what is done to a child again and again waits.
    #[must_use]
    pub fn held_by(mut self, held: watch::Receiver<bool>) -> Nemesis {
        self.hand.held = held;
        self
    }

    /// Works until it is told to end, or until nobody can tell it any more; everything is out by then.
    pub async fn work(mut self, plan: Plan, mut orders: mpsc::Receiver<Order>) {
        let mut put_in: Vec<Vec<FaultId>> = vec![Vec::new(); plan.episodes.len()];
        loop {
            let wake = self.wake(Instant::now());
            let order = tokio::select! {
                biased;
                order = orders.recv() => Some(order.unwrap_or(Order::End)),
                () = sleep_until(wake) => None,
            };
            match order {
                Some(Order::Inject(fault)) => {
                    self.inject(fault, By::You).await;
                }
                Some(Order::Heal(id)) => self.heal(id, By::You).await,
                Some(Order::HealAll) => self.heal_all(By::You).await,
                Some(Order::Plan(on)) => {
                    self.clock.set(on, Instant::now());
                    (self.listener)(Event::Nemesis { on });
                }
                Some(Order::Begin) => self.clock.set(true, Instant::now()),
                Some(Order::End) => {
                    self.heal_all(By::End).await;
                    if let Err(why) = self.hand.restore_votes(VOTES_WITHIN).await {
                        self.say(format!("not every vote was given back: {why}"));
                    }
                    return;
                }
                None => {
                    self.look_at_anchors(&plan);
                    let now = self.clock.at(Instant::now());
                    if let Some(edge) = self.agenda.next().filter(|edge| edge.at <= now) {
                        self.edge(edge, &plan, &mut put_in).await;
                    }
                }
            }
        }
    }

    /// When the plan wants something next.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let edge = self.agenda.next();
        let edge = edge.and_then(|edge| self.clock.instant_of(edge.at, now));
        let look = !self.watched.is_empty() && self.clock.running_since.is_some();
        edge.into_iter()
            .chain(look.then(|| now + LOOK_AT_ANCHORS_EVERY))
            .min()
    }

    /// Gives the episodes whose anchor has come their place in the plan, and skips those that waited for too long.
    fn look_at_anchors(&mut self, plan: &Plan) {
        let now = self.clock.at(Instant::now());
        for mut watched in std::mem::take(&mut self.watched) {
            let planned = &plan.episodes[watched.episode];
            if watched.is_there(&self.hand) {
                if let Some(when) = planned.when {
                    self.hand.recorder.mark(format!("anchor {when}"));
                    let text = when.to_string();
                    (self.listener)(Event::Anchor { text });
                }
                let at = now + Duration::from_millis(planned.after_ms);
                let (episode, turn) = (watched.episode, Turn::In);
                self.agenda.insert(Edge { at, episode, turn });
            } else if now < watched.until {
                self.watched.push(watched);
            } else if let Some(when) = planned.when {
                let within = planned.within_ms();
                self.say(format!(
                    "an episode of the plan was skipped: it waited {within} ms for {when}"
                ));
            }
        }
    }

    /// Does the next edge of the plan, or a part of it.
    async fn edge(&mut self, edge: Edge, plan: &Plan, put_in: &mut [Vec<FaultId>]) {
        let Edge { at, episode, turn } = edge;
        match (turn, plan.episodes[episode].when) {
            (Turn::Out, _) => {
                for id in std::mem::take(&mut put_in[episode]) {
                    self.heal(id, By::Plan).await;
                }
                self.agenda.pass();
            }
            (Turn::Watch, Some(when)) => {
                let until = at + Duration::from_millis(plan.episodes[episode].within_ms());
                let watched = Watched::begin(&self.hand, episode, when, until);
                self.watched.push(watched);
                self.agenda.pass();
            }
            _ => self.next_fault(edge, plan, &mut put_in[episode]).await,
        }
    }

    /// Puts the next fault of an episode in, so that an order is heard between two of them; behind the last one it
    /// writes down when they go out.
    async fn next_fault(&mut self, edge: Edge, plan: &Plan, put_in: &mut Vec<FaultId>) {
        if self.hand.is_held() {
            // The order that lets the plan stand is on its way.
            tokio::time::sleep(LOOK_EVERY).await;
            return;
        }
        let planned = &plan.episodes[edge.episode];
        let (leader, done) = match self.under_way.take() {
            Some(under_way) => under_way,
            None if self.agenda.puts_off(plan) => return,
            None => {
                let leader = self.hand.leader();
                // Between two leaders: the edge waits, and what comes after it does, too.
                if leader.is_none()
                    && self.needs_a_leader(planned)
                    && self.clock.at(Instant::now()) < edge.at + LEADER_WITHIN
                {
                    tokio::time::sleep(LOOK_EVERY).await;
                    return;
                }
                (leader, 0)
            }
        };
        let Some(wish) = planned.faults.get(done) else {
            self.agenda.pass();
            let lasts = Duration::from_millis(planned.for_ms);
            self.agenda.insert(Edge {
                at: self.clock.at(Instant::now()) + lasts,
                turn: Turn::Out,
                ..edge
            });
            return;
        };
        self.under_way = Some((leader, done + 1));
        match wish.resolve(&self.hand.nodes, leader, self.hand.votes.newcomer()) {
            Ok(fault) => put_in.extend(self.inject(fault, By::Plan).await),
            Err(why) => self.say(format!(
                "the plan's {} fault was skipped: {why}",
                wish.kind()
            )),
        }
    }

    /// Whether one of its faults aims at the leader, or at somebody beside it.
    fn needs_a_leader(&self, planned: &Episode) -> bool {
        // Who joins does not depend on a leader; whether anybody can is said when it does.
        let nodes = &self.hand.nodes;
        let newcomer = Some(nodes[0]);
        let mut faults = planned.faults.iter();
        faults.any(|wish| wish.resolve(nodes, None, newcomer).is_err())
    }

    /// Puts a fault in; gives its number if it took effect and lasts.
    async fn inject(&mut self, fault: Fault, by: By) -> Option<FaultId> {
        if let Some(why) = self.in_the_way(&fault) {
            (self.listener)(Event::FaultSkipped { fault, by, why });
            return None;
        }
        match self.hand.put_in(&fault).await {
            Ok(active) => {
                let id = self.is_in(&fault, by);
                if fault.is_over_at_once() {
                    self.is_out(id, fault, by, Remains::Perhaps);
                    return None;
                }
                self.active.insert(id, active);
                Some(id)
            }
            Err(NotIn::Skipped(why)) => {
                self.hand.recorder.mark(format!("skipped {fault}: {why}"));
                (self.listener)(Event::FaultSkipped { fault, by, why });
                None
            }
            Err(NotIn::Unsure(why)) => {
                self.hand
                    .recorder
                    .mark(format!("indeterminate {fault}: {why}"));
                let id = None;
                (self.listener)(Event::FaultIndeterminate { id, fault, by, why });
                None
            }
            Err(NotIn::Lost(node, error)) => {
                // It has happened, and it is over.
                let id = self.is_in(&fault, by);
                self.is_out(id, fault, by, Remains::Perhaps);
                self.tell_loss(node, &error);
                None
            }
        }
    }

    fn is_in(&mut self, fault: &Fault, by: By) -> FaultId {
        let id = self.next_id;
        self.next_id += 1;
        self.hand.recorder.mark(format!("in #{id} {fault}"));
        let fault = fault.clone();
        (self.listener)(Event::FaultIn { id, fault, by });
        id
    }

    fn is_out(&self, id: FaultId, fault: Fault, by: By, remains: Remains) {
        self.hand.recorder.mark(format!("out #{id} {fault}"));
        if remains == Remains::Nothing {
            self.hand.recorder.mark(format!("nothing is left of #{id}"));
        }
        (self.listener)(Event::FaultOut {
            id,
            fault,
            by,
            remains,
        });
    }

    /// Only a node that ends by itself on the disk that it has left is to blame for that. A bench that is slow, a node that
    /// does not answer in time, or a host that has no port or no space for it, accuse nobody.
    fn tell_loss(&self, node: NodeId, error: &ClusterError) {
        let text = error.to_string();
        self.hand.recorder.mark(format!("lost n{node}: {text}"));
        (self.listener)(match error.shortage() {
            _ if error.accuses() => Event::NodeLost { node, why: text },
            Some(shortage) => Event::BenchError {
                text: format!("n{node} was not brought back: the host has {shortage}: {text}"),
            },
            None => Event::BenchError {
                text: format!("n{node} was not brought back: {text}"),
            },
        });
    }

    /// A sentence for a person.
    fn say(&self, text: String) {
        (self.listener)(Event::Say { text });
    }

    /// Why a fault makes no sense on top of what is in.
    fn in_the_way(&self, fault: &Fault) -> Option<String> {
        if let Some(unknown) = fault
            .nodes()
            .into_iter()
            .find(|node| !self.hand.nodes.contains(node))
        {
            return Some(format!("there is no n{unknown}"));
        }
        if let Fault::Transfer { to } = fault
            && self.hand.leader() == Some(*to)
        {
            return Some(format!("n{to} leads already"));
        }
        let mut active = self.active.values();
        active.find_map(|active| fault.refused_by(&active.fault))
    }

    /// Takes a fault out, and those that waited for that.
    async fn heal(&mut self, id: FaultId, by: By) {
        let mut next = vec![(id, by)];
        while let Some((id, by)) = next.pop() {
            if self.heal_one(id, by).await {
                next.append(&mut self.waiting);
            }
        }
    }

    /// Takes one out; gives whether others may have waited for that. What its node must be told to undo waits until the
    /// node can hear it.
    async fn heal_one(&mut self, id: FaultId, by: By) -> bool {
        let Some(active) = self.active.get(&id) else {
            return false;
        };
        let fault = active.fault.clone();
        if let Some(node) = self.stands(&fault) {
            let known = self.waiting.iter().any(|(waiting, _)| *waiting == id);
            if !known {
                self.waiting.push((id, by));
                let text = format!("“{fault}” will be healed when n{node} goes on: it is paused");
                (self.listener)(Event::Say { text });
            }
            return false;
        }
        let Some(active) = self.active.remove(&id) else {
            return false;
        };
        let unproven = self.hand.unproven(&active);
        let liar = active.liar;
        let lost = self.hand.take_out(active).await;
        let remains = match liar.is_some_and(|liar| self.hand.lives_on(liar)) {
            true => Remains::Nothing,
            false => Remains::Perhaps,
        };
        self.is_out(id, fault.clone(), by, remains);
        for (node, error) in lost {
            self.tell_loss(node, &error);
        }
        let stopped = fault.stops();
        if let Some(why) = unproven {
            self.hand
                .recorder
                .mark(format!("indeterminate #{id} {fault}: {why}"));
            let id = Some(id);
            (self.listener)(Event::FaultIndeterminate { id, fault, by, why });
        }
        stopped
    }

    /// The node that would have to undo this fault itself, where another one lets it stand.
    fn stands(&self, fault: &Fault) -> Option<NodeId> {
        let children = fault.children();
        let node = *children.first().filter(|_| fault.is_a_switch())?;
        let view = self.hand.cluster.view(node)?;
        (view.state == ChildState::Paused).then_some(node)
    }

    async fn heal_all(&mut self, by: By) {
        // The network first: it is at once, and a child that starts again finds its peers.
        let mut ids: Vec<FaultId> = self.active.keys().copied().collect();
        ids.sort_by_key(|id| {
            let fault = &self.active[id].fault;
            // Who stands goes on before it is told anything.
            let told = !fault.children().is_empty() && !fault.stops();
            (fault.member().is_some(), !fault.children().is_empty(), told)
        });
        for id in ids {
            self.heal(id, by).await;
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_clock_stands_while_the_plan_is_held() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut clock = PlanClock::default();
        assert_eq!(clock.at(after(5)), Duration::ZERO);
        assert_eq!(clock.instant_of(Duration::from_secs(1), after(5)), None);
        clock.set(true, after(5));
        clock.set(false, after(7));
        assert_eq!(clock.at(after(16)), Duration::from_secs(2));
        clock.set(true, after(16));
        let due = clock.instant_of(Duration::from_secs(3), after(16));
        assert_eq!(due, Some(after(17)));
    }
}
