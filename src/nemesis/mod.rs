//! Who decides when: carries out a plan, or what a person asks for, on the cluster and on the network between.
//!
//! It is the only hand on both. Every fault that it puts in is probed; what a probe does not confirm is *skipped*,
//! never installed. Every put-in and take-out is a mark in the history, on the recorder's clock, and an [`Event`]
//! for whoever listens. A fault of the network is held by guards and heals when they go; a fault of a child is taken out
//! by starting or resuming it.

mod agenda;
mod anchor;
mod children;
mod injector;
mod life;
mod members;
mod order;
mod steps;
mod terms;
mod track;
mod wires;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::cluster::{ChildState, Cluster, ClusterError};
use crate::fault::plan::Plan;
use crate::fault::{By, Fault, FaultId, Kind, NodeId, Remains, Roles};
use crate::journal::Event;
use crate::proxy::Network;
use crate::recorder::Recorder;
use agenda::{Edge, Turn};
use anchor::Watched;
use injector::{Active, Injector, NotIn};
use members::Votes;
pub use order::{Asked, Asks, Keeper, Listener, Order, Parties, Went};
use steps::Steps;
use track::Track;

/// A plan's edge that needs a leader waits this long for one.
const LEADER_WITHIN: Duration = Duration::from_millis(1_500);
/// At the end every node has its vote back within this: everything else is healed by then.
const VOTES_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks whether what an episode waits for has happened.
const LOOK_AT_ANCHORS_EVERY: Duration = Duration::from_millis(5);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Carries out one plan, and orders in between.
pub struct Nemesis {
    injector: Injector,
    active: BTreeMap<FaultId, Active>,
    /// Faults that are to be healed when their nodes go on, and by whom.
    waiting: Vec<(FaultId, By)>,
    next_id: FaultId,
    /// What the run planned.
    planned: Track,
    /// What somebody asked for. Its clock is the run's: it runs while the plan is held, too.
    asked: Track,
    /// What the plan does one after the other.
    steps: Steps,
    /// Whether the plan is to go on, and whether everything is held.
    plan_on: bool,
    all_held: bool,
    begun: bool,
    /// The kinds that what is tested promises to survive; `None`: all.
    promised: Option<Vec<Kind>>,
    /// Whether a person had a part in what happened.
    by_hand: bool,
    listener: Listener,
    keeper: Keeper,
}

/// What came of a fault that was to be put in.
enum Came {
    /// Nothing.
    Nothing,
    /// It has happened and is over, or nobody can say.
    Over,
    /// It is in.
    Lasts(FaultId),
}

impl Nemesis {
    /// A nemesis for these parties, whose plan stands until [`Order::Begin`].
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        network: Arc<Network>,
        recorder: Arc<Recorder>,
        parties: Parties,
        plan: Plan,
        listener: Listener,
    ) -> Nemesis {
        let Parties {
            nodes,
            voters,
            groups,
        } = parties;
        let votes = Arc::new(Votes::begin(&nodes, &voters));
        Nemesis {
            injector: Injector {
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
            steps: Steps::of(&plan.steps),
            planned: Track::of(By::Plan, plan),
            asked: Track::of(By::You, Plan::default()),
            plan_on: true,
            all_held: false,
            begun: false,
            promised: None,
            by_hand: false,
            listener,
            keeper: Box::new(|_| ()),
        }
    }

    /// While this is true nothing of the plan goes in, and what is done to a child again and again waits.
    #[must_use]
    pub fn held_by(mut self, held: watch::Receiver<bool>) -> Nemesis {
        self.injector.held = held;
        self
    }

    /// What is tested promises to survive faults of these kinds; others are labelled.
    #[must_use]
    pub fn promised(mut self, kinds: Vec<Kind>) -> Nemesis {
        self.promised = Some(kinds);
        self
    }

    /// Whom its steps ask for operations.
    #[must_use]
    pub fn asking(mut self, asks: Arc<dyn Asks>) -> Nemesis {
        self.steps.asks = Some(asks);
        self
    }

    /// Whom it tells how the plan went, where somebody had a part in it.
    #[must_use]
    pub fn kept_by(mut self, keeper: Keeper) -> Nemesis {
        self.keeper = keeper;
        self
    }

    /// Works until it is told to end, or until nobody can tell it any more; everything is out by then.
    pub async fn work(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let wake = self.wake(Instant::now());
            let order = tokio::select! {
                biased;
                order = orders.recv() => Some(order.unwrap_or(Order::End)),
                () = sleep_until(wake) => None,
            };
            match order {
                Some(Order::End) => return self.end().await,
                Some(order) => self.obey(order).await,
                None => {
                    self.look_at_anchors(By::You);
                    self.look_at_anchors(By::Plan);
                    self.do_what_is_asked().await;
                    self.take_a_step().await;
                    if let Some(edge) = self.planned.due(Instant::now()) {
                        self.edge(By::Plan, edge).await;
                    }
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Inject(episodes) => {
                self.by_hand = true;
                self.asked.add(episodes, now);
                self.do_what_is_asked().await;
            }
            Order::Heal(id) => {
                self.by_hand = true;
                self.note_healed(id);
                self.heal(id, By::You).await;
            }
            Order::HealAll => {
                self.by_hand = true;
                self.asked.cancel();
                let all: Vec<FaultId> = self.active.keys().copied().collect();
                all.into_iter().for_each(|id| self.note_healed(id));
                self.heal_all(By::You).await;
            }
            Order::Plan(on) => {
                self.by_hand = true;
                self.plan_on = on;
                self.set_clocks(now);
                let on = on && !self.all_held;
                (self.listener)(Event::Nemesis { on });
            }
            Order::Hold(held) => {
                self.all_held = held;
                self.set_clocks(now);
                let on = self.plan_on && !held;
                (self.listener)(Event::Nemesis { on });
                return;
            }
            Order::Begin => {
                self.begun = true;
                self.set_clocks(now);
                return;
            }
            Order::End => {}
        }
        self.tell_what_is_done(true);
    }

    /// A person takes a fault out.
    fn note_healed(&mut self, id: FaultId) {
        if self.active.contains_key(&id) {
            let run = self.run_time();
            self.planned.healed(id, run);
            self.asked.healed(id, run);
        }
    }

    async fn end(mut self) {
        self.steps_end();
        self.heal_all(By::End).await;
        self.tell_what_is_done(false);
        if let Err(why) = self.injector.restore_votes(VOTES_WITHIN).await {
            self.say(format!("not every vote was given back: {why}"));
        }
    }

    fn set_clocks(&mut self, now: Instant) {
        let goes_on = self.begun && !self.all_held;
        self.asked.clock.set(goes_on, now);
        self.planned.clock.set(goes_on && self.plan_on, now);
    }

    fn track(&mut self, by: By) -> &mut Track {
        match by {
            By::You => &mut self.asked,
            By::Plan | By::End => &mut self.planned,
        }
    }

    /// How long the run goes on already, but for when everything was held.
    fn run_time(&self) -> Duration {
        self.asked.clock.at(Instant::now())
    }

    /// Where a person had a part in it: the plan by which the same would happen again. `still_to_come`: with what is
    /// planned from here on.
    fn tell_what_is_done(&self, still_to_come: bool) {
        if !self.by_hand {
            return;
        }
        let run = self.run_time();
        let tracks = [&self.planned, &self.asked];
        let episodes = tracks.map(|track| track.as_done(run, still_to_come));
        let mut episodes = episodes.concat();
        episodes.sort_by_key(|episode| episode.at_ms);
        (self.keeper)(Went {
            plan: Plan {
                episodes,
                steps: self.planned.plan.steps.clone(),
            },
            lasted: run,
            over: !still_to_come,
        });
    }

    /// When a track wants something next.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let tracks = [&self.planned, &self.asked].into_iter();
        tracks
            .filter_map(|track| track.wake(now, LOOK_AT_ANCHORS_EVERY))
            .chain(self.steps.wake(&self.planned.clock, now))
            .min()
    }

    /// What somebody asked for is done before anything else.
    async fn do_what_is_asked(&mut self) {
        while let Some(edge) = self.asked.due(Instant::now()) {
            self.edge(By::You, edge).await;
        }
    }

    /// Gives the episodes whose anchor has come their place in their track, and skips those that waited for too long.
    fn look_at_anchors(&mut self, by: By) {
        let track = self.track(by);
        let now = track.clock.at(Instant::now());
        for mut watched in std::mem::take(&mut track.watched) {
            let planned = self.track(by).plan.episodes[watched.episode].clone();
            if watched.is_there(&self.injector) {
                if let Some(when) = planned.when {
                    self.injector.recorder.mark(format!("anchor {when}"));
                    let text = when.to_string();
                    (self.listener)(Event::Anchor { text });
                }
                let at = now + Duration::from_millis(planned.after_ms);
                let (episode, turn) = (watched.episode, Turn::In);
                self.track(by).agenda.insert(Edge { at, episode, turn });
            } else if now < watched.until {
                self.track(by).watched.push(watched);
            } else if let Some(when) = planned.when {
                let within = planned.within_ms();
                self.say(format!(
                    "an episode of the plan was skipped: it waited {within} ms for {when}"
                ));
            }
        }
    }

    /// Does the next edge of a track, or a part of it.
    async fn edge(&mut self, by: By, edge: Edge) {
        let run = self.run_time();
        let Edge { at, episode, turn } = edge;
        let planned = &self.track(by).plan.episodes[episode];
        match (turn, planned.when) {
            (Turn::Out, _) => {
                for id in self.track(by).lasting(episode) {
                    self.heal(id, by).await;
                }
                self.track(by).ends(episode, run);
                self.track(by).agenda.pass();
            }
            (Turn::Watch, Some(when)) => {
                let until = at + Duration::from_millis(planned.within_ms());
                let watched = Watched::begin(&self.injector, episode, when, until);
                let track = self.track(by);
                track.begins(episode, run);
                track.watched.push(watched);
                track.agenda.pass();
            }
            _ => self.next_fault(by, edge).await,
        }
    }

    /// Puts the next fault of an episode in, so that an order is heard between two of them; behind the last one it
    /// writes down when they go out.
    async fn next_fault(&mut self, by: By, edge: Edge) {
        let planned = by == By::Plan;
        if planned && self.injector.is_held() {
            // The order that lets the plan stand is on its way.
            tokio::time::sleep(LOOK_EVERY).await;
            return;
        }
        let leader = self.injector.leader();
        let (leader, done) = match self.track(by).under_way.take() {
            Some(under_way) => under_way,
            None if planned && self.planned.puts_off() => return,
            // Between two leaders: the edge waits, and what comes after it does, too.
            None if planned && leader.is_none() && self.waits_for_a_leader(edge) => {
                tokio::time::sleep(LOOK_EVERY).await;
                return;
            }
            None => (leader, 0),
        };
        let run = self.run_time();
        let track = self.track(by);
        track.begins(edge.episode, run);
        let episode = &track.plan.episodes[edge.episode];
        let Some(fault) = episode.faults.get(done).cloned() else {
            let lasts = Duration::from_millis(episode.for_ms);
            let at = track.clock.at(Instant::now()) + lasts;
            let turn = Turn::Out;
            track.agenda.pass();
            track.agenda.insert(Edge { at, turn, ..edge });
            return;
        };
        track.under_way = Some((leader, done + 1));
        let roles = Roles {
            nodes: &self.injector.nodes,
            leader,
            newcomer: self.injector.votes.newcomer(),
        };
        match fault.resolve(roles) {
            Ok(fault) => {
                let (run, came) = (self.run_time(), self.inject(fault, by).await);
                let id = match came {
                    Came::Nothing => return,
                    Came::Over => None,
                    Came::Lasts(id) => Some(id),
                };
                self.track(by).takes(edge.episode, done, id, run);
            }
            Err(why) => {
                let why = why.to_string();
                (self.listener)(Event::FaultUnresolved { fault, by, why });
            }
        }
    }

    /// Whether one of an episode's faults is for the leader, or for somebody beside it, and there is time to wait for one.
    fn waits_for_a_leader(&self, edge: Edge) -> bool {
        // Who joins does not depend on a leader; whether anybody can is said when it does.
        let nodes = &self.injector.nodes;
        let nobody = Roles {
            nodes,
            leader: None,
            newcomer: nodes.first().copied(),
        };
        let mut faults = self.planned.plan.episodes[edge.episode].faults.iter();
        let now = self.planned.clock.at(Instant::now());
        now < edge.at + LEADER_WITHIN && faults.any(|fault| fault.resolve(nobody).is_err())
    }

    /// Puts a fault in, and gives what came of it.
    async fn inject(&mut self, fault: Fault, by: By) -> Came {
        if let Some(why) = self.in_the_way(&fault) {
            (self.listener)(Event::FaultSkipped { fault, by, why });
            return Came::Nothing;
        }
        match self.injector.inject(&fault).await {
            Ok(active) => {
                let id = self.is_in(&fault, by);
                if fault.is_over_at_once() {
                    self.is_out(id, fault, by, Remains::Perhaps);
                    return Came::Over;
                }
                self.active.insert(id, active);
                Came::Lasts(id)
            }
            Err(NotIn::Skipped(why)) => {
                self.injector
                    .recorder
                    .mark(format!("skipped {fault}: {why}"));
                (self.listener)(Event::FaultSkipped { fault, by, why });
                Came::Nothing
            }
            Err(NotIn::Indeterminate(why)) => {
                self.injector
                    .recorder
                    .mark(format!("indeterminate {fault}: {why}"));
                let id = None;
                (self.listener)(Event::FaultIndeterminate { id, fault, by, why });
                Came::Over
            }
            Err(NotIn::Lost(node, error)) => {
                // It has happened, and it is over.
                let id = self.is_in(&fault, by);
                self.is_out(id, fault, by, Remains::Perhaps);
                self.tell_loss(node, &error);
                Came::Over
            }
        }
    }

    fn is_in(&mut self, fault: &Fault, by: By) -> FaultId {
        let id = self.next_id;
        self.next_id += 1;
        self.injector.recorder.mark(format!("in #{id} {fault}"));
        let promised = self.promised.as_ref();
        (self.listener)(Event::FaultIn {
            id,
            unpromised: promised.is_some_and(|kinds| !kinds.contains(&fault.kind())),
            fault: fault.clone(),
            by,
        });
        id
    }

    fn is_out(&self, id: FaultId, fault: Fault, by: By, remains: Remains) {
        self.injector.recorder.mark(format!("out #{id} {fault}"));
        if remains == Remains::Nothing {
            self.injector
                .recorder
                .mark(format!("nothing is left of #{id}"));
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
        self.injector.recorder.mark(format!("lost n{node}: {text}"));
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
        if let Fault::Transfer { to } = fault
            && self.injector.leader() == Some(*to)
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
        let unproven = self.injector.unproven(&active).await;
        let liar = active.liar;
        let lost = self.injector.heal(active).await;
        let remains = match liar.is_some_and(|liar| self.injector.lives_on(liar)) {
            true => Remains::Nothing,
            false => Remains::Perhaps,
        };
        self.is_out(id, fault.clone(), by, remains);
        for (node, error) in lost {
            self.tell_loss(node, &error);
        }
        let stopped = fault.stops();
        if let Some(why) = unproven {
            self.injector
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
        let view = self.injector.cluster.view(node)?;
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
