//! Does the plan's steps, one after the other: waits for what a step wants to see, then for its time, then does it.
//!
//! ```text
//!   the step before is done ── within_ms: its condition ──▶ seen ── after_ms ──▶ done
//! ```
//!
//! They go on the plan's clock: while the plan is held no step is done. One that waits in vain, or whose fault does not
//! take effect, ends all of them, since those behind it would mean something else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::order::{Asked, Asks};
use super::track::PlanClock;
use super::{Came, Nemesis};
use crate::fault::step::{self, Condition, Step};
use crate::fault::{By, FaultId, NodeId, NodeSet, Roles};
use crate::journal::Event;
use crate::proxy::LetOut;

/// How often it looks whether what a step waits for has happened.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where the steps are.
pub(super) struct Steps {
    steps: Vec<Step>,
    pub(super) asks: Option<Arc<dyn Asks>>,
    next: usize,
    /// Since when the next one is due, and when what it waits for was seen: on the plan's clock.
    since: Option<Duration>,
    seen: Option<Duration>,
    /// Term and node of whoever led when it was last looked.
    led: Option<(u64, NodeId)>,
    /// The faults that each step put in, by its name.
    put: BTreeMap<String, Vec<FaultId>>,
    /// When each step began.
    began: BTreeMap<String, std::time::Instant>,
    asked: BTreeMap<String, Arc<dyn Asked>>,
    /// How often each way back was gone.
    rounds: BTreeMap<usize, u32>,
    /// What each node had acknowledged when the step before was done.
    acknowledged: BTreeMap<NodeId, u64>,
    over: bool,
}

impl Steps {
    pub(super) fn of(steps: &[Step]) -> Steps {
        Steps {
            steps: steps.to_vec(),
            asks: None,
            next: 0,
            since: None,
            seen: None,
            led: None,
            put: BTreeMap::new(),
            began: BTreeMap::new(),
            asked: BTreeMap::new(),
            rounds: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            over: steps.is_empty(),
        }
    }

    /// When they want to be looked at next.
    pub(super) fn wake(&self, clock: &PlanClock, now: Instant) -> Option<Instant> {
        if self.over || !clock.is_running() {
            return None;
        }
        match (self.since, self.seen) {
            (None, _) => Some(now),
            (Some(_), None) => Some(now + LOOK_EVERY),
            (Some(_), Some(seen)) => {
                let after = Duration::from_millis(self.steps[self.next].after_ms);
                clock.instant_of(seen + after, now)
            }
        }
    }

    fn asked(&self, name: &str, is: impl Fn(&dyn Asked) -> bool) -> bool {
        self.asked.get(name).is_some_and(|asked| is(&**asked))
    }

    /// One is done, and this one is next.
    fn go_to(&mut self, next: usize, nodes: &[NodeId]) {
        (self.next, self.since, self.seen) = (next, None, None);
        if let Some(asks) = &self.asks {
            let acknowledged = nodes.iter().map(|&node| (node, asks.acknowledged(node)));
            self.acknowledged = acknowledged.collect();
        }
    }
}

impl Nemesis {
    /// Does the next step, if its time has come.
    pub(super) async fn take_a_step(&mut self) {
        let clock = &self.planned.clock;
        if self.steps.over || !clock.is_running() || self.injector.is_held() {
            return;
        }
        let now = clock.at(Instant::now());
        let step = self.steps.steps[self.steps.next].clone();
        let since = *self.steps.since.get_or_insert(now);
        let seen = match self.steps.seen {
            Some(seen) => seen,
            None => {
                if !self.is_seen(&step) {
                    return self.waits_on(&step, now - since);
                }
                *self.steps.seen.insert(now)
            }
        };
        if now < seen + Duration::from_millis(step.after_ms) {
            return;
        }
        if let Some(name) = &step.name {
            let began = std::time::Instant::now();
            self.steps.began.insert(name.clone(), began);
        }
        match self.do_step(&step).await {
            Ok(next) => {
                let (at, of) = (self.steps.next + 1, self.steps.steps.len());
                let text = step.to_string();
                self.injector.recorder.mark(format!("step {at} {text}"));
                let [step, of] = [at, of].map(|count| count as u64);
                (self.listener)(Event::Step { step, of, text });
                let nodes = self.injector.nodes.clone();
                self.steps.go_to(next, &nodes);
                if self.steps.next == self.steps.steps.len() {
                    self.steps_are_over(None);
                }
            }
            Err(why) => self.steps_are_over(Some(format!("“{step}” was not done: {why}"))),
        }
    }

    /// A step has waited so long for what it wants to see; too long is the end of all of them.
    fn waits_on(&mut self, step: &Step, waited: Duration) {
        let within_ms = step.within_ms();
        if waited >= Duration::from_millis(within_ms) {
            let when = step.when.as_ref().map(ToString::to_string);
            let what = when.unwrap_or_else(|| "a leader".to_owned());
            let why = format!("“{step}” waited {within_ms} ms for {what}");
            self.steps_are_over(Some(why));
        }
    }

    /// The run is over, and with it the steps that were still to come.
    pub(super) fn steps_end(&mut self) {
        if !self.steps.over {
            let step = &self.steps.steps[self.steps.next];
            self.steps_are_over(Some(format!("the run was over before “{step}”")));
        }
    }

    fn steps_are_over(&mut self, why: Option<String>) {
        self.steps.over = true;
        let [done, of] = [self.steps.next, self.steps.steps.len()].map(|count| count as u64);
        (self.listener)(Event::StepsOver { done, of, why });
    }

    /// Whether what a step waits for has happened. Where it is for a role, somebody must play it.
    fn is_seen(&mut self, step: &Step) -> bool {
        let leads = self.injector.leads();
        if step.is_for_a_role() && self.steps.led.is_none() {
            self.steps.led = leads;
        }
        let has_roles = match (step.look, step.is_for_a_role()) {
            (true, _) => leads.is_some(),
            (false, true) => self.steps.led.is_some(),
            (false, false) => true,
        };
        let steps = &self.steps;
        has_roles
            && match &step.when {
                None => true,
                Some(Condition::LeaderChange) => {
                    leads.is_some_and(|now| is_another(now, steps.led))
                }
                Some(Condition::Leads(set)) => {
                    let meant = self.meant(set).unwrap_or_default();
                    leads.is_some_and(|(_, node)| meant.contains(&node))
                }
                Some(Condition::Acknowledged(set)) => {
                    let meant = self.meant(set).unwrap_or_default();
                    let more = |node: &NodeId| {
                        let before = steps.acknowledged.get(node).copied().unwrap_or_default();
                        let asks = steps.asks.as_ref();
                        asks.is_some_and(|asks| asks.acknowledged(*node) > before)
                    };
                    meant.iter().any(more)
                }
                Some(Condition::Ok(name)) => steps.asked(name, |asked| asked.is_ok()),
                Some(Condition::Ended(name)) => steps.asked(name, |asked| asked.has_ended()),
                Some(Condition::Sent(name)) => steps.asked(name, |asked| asked.is_sent()),
            }
    }

    /// The nodes that a set means by the roles of the steps.
    fn meant(&self, set: &NodeSet) -> Result<Vec<NodeId>, String> {
        let leader = self.steps.led.map(|(_, node)| node);
        let meant = step::resolve(set, &self.injector.nodes, leader);
        meant.map_err(|why| why.to_string())
    }

    /// Does a step, and gives which one is next.
    async fn do_step(&mut self, step: &Step) -> Result<usize, String> {
        let next = self.steps.next + 1;
        if step.look {
            self.steps.led = self.injector.leads();
        }
        if !step.put.is_empty() {
            let ids = self.put_in(step).await?;
            if let Some(name) = &step.name {
                self.steps.put.insert(name.clone(), ids);
            }
        }
        if let Some(name) = &step.take {
            for id in self.steps.put.remove(name).unwrap_or_default() {
                self.heal(id, By::Plan).await;
            }
        }
        if let Some(out) = &step.let_out {
            let before = out.before.as_ref();
            let before = before.and_then(|name| self.steps.began.get(name).copied());
            let more = match (out.chunks, before) {
                (Some(chunks), _) => LetOut::Chunks(chunks),
                (None, Some(before)) => LetOut::Before(before),
                (None, None) => return Err("the step that it names was not done".to_owned()),
            };
            let ids = self.steps.put.get(&out.of).cloned().unwrap_or_default();
            for active in ids.iter().filter_map(|id| self.active.get(id)) {
                self.injector.let_out(active, more);
            }
        }
        if let Some(ask) = &step.ask {
            let nodes = self.meant(&ask.at)?;
            let asks = self.steps.asks.as_ref().ok_or("nobody can be asked")?;
            let asked = asks.ask(self.steps.next, ask, &nodes);
            if let Some(name) = &step.name {
                self.steps.asked.insert(name.clone(), asked);
            }
        }
        if let Some(again) = &step.again {
            let gone = self.steps.rounds.entry(self.steps.next).or_default();
            *gone += 1;
            if *gone <= again.times {
                let named = |step: &Step| step.name.as_ref() == Some(&again.from);
                let back = self.steps.steps.iter().position(named);
                return back.ok_or_else(|| format!("there is no step {:?}", again.from));
            }
        }
        Ok(next)
    }

    /// Puts the faults of a step in; one that does not take effect takes the step with it.
    async fn put_in(&mut self, step: &Step) -> Result<Vec<FaultId>, String> {
        let mut ids = Vec::new();
        for fault in &step.put {
            let roles = Roles {
                nodes: &self.injector.nodes,
                leader: self.steps.led.map(|(_, node)| node),
                newcomer: self.injector.votes.newcomer(),
            };
            let fault = fault.resolve(roles).map_err(|why| why.to_string())?;
            let words = fault.to_string();
            match self.inject(fault, By::Plan).await {
                Came::Lasts(id) => ids.push(id),
                Came::Over => {}
                Came::Nothing => return Err(format!("{words} did not take effect")),
            }
        }
        Ok(ids)
    }
}

/// Whether somebody leads who did not before: in a later term where terms are numbered.
fn is_another(now: (u64, NodeId), before: Option<(u64, NodeId)>) -> bool {
    match before {
        None => true,
        // Nobody numbers terms.
        Some((0, node)) => now.1 != node,
        Some(before) => now.0 > before.0,
    }
}
