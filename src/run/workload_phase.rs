//! The part of a run in which clients ask, the plan acts and a person breaks things.

use std::time::Duration;

use checkers::verdict::Counterexample;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::Setup;
use super::clients::{DEADLINE, Gate, LONGEST};
use super::command::Command;
use super::context::{Bell, RunContext};
use super::drill::When;
use super::fates::fates;
use super::stage::Stage;
use crate::journal::{Event, Part, Phase, ResultFold};
use crate::nemesis::Order;
use crate::proxy::Guard;

/// How often the verdict so far and the nodes' states are told, where they changed.
const TELL_EVERY: Duration = Duration::from_millis(50);
/// A run without an end ends after this.
const FOR_EVER: Duration = Duration::from_secs(366 * 86_400);

/// Why the workload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its time was over, or somebody asked for an end in order.
    Over,
    /// The judge found a violation, or another oracle a finding that leaves nothing to go on with.
    Alarm,
    /// Somebody asked for an end at once.
    Stopped,
}

/// The workload, the plan and whatever is asked for, until one of them ends it.
pub(super) struct WorkloadPhase<'a> {
    setup: &'a Setup,
    context: &'a RunContext,
    stage: &'a mut Stage,
    clients: JoinSet<()>,
    gate: watch::Sender<Gate>,
    over: Instant,
    /// What a violation holds.
    held: Option<Guard>,
    /// Since when nothing is asked: the run's time stands meanwhile.
    quiet_since: Option<Instant>,
    workload_held: bool,
    /// Whether the judge has called, and whether another oracle has: each is answered once.
    alarmed: bool,
    found: bool,
}

impl<'a> WorkloadPhase<'a> {
    /// The clients ask from now on, and the plan's time runs.
    pub(super) async fn begin(
        setup: &'a Setup,
        context: &'a RunContext,
        stage: &'a mut Stage,
    ) -> WorkloadPhase<'a> {
        let (gate, clients_gate) = watch::channel(Gate::Open);
        let clients = stage.fleet.start(&clients_gate);
        let begun = Instant::now();
        stage.order(Order::Begin).await;
        context.phase(Phase::Running);
        let span = match setup.resolved.scenario.seconds {
            0 => FOR_EVER,
            seconds => Duration::from_secs(seconds),
        };
        WorkloadPhase {
            setup,
            context,
            stage,
            clients,
            gate,
            over: begun + span,
            held: None,
            quiet_since: None,
            workload_held: false,
            alarmed: false,
            found: false,
        }
    }

    /// Goes on until the time is over, somebody asks for an end, or an oracle speaks and nobody wants to look.
    pub(super) async fn until_the_end(
        mut self,
        mut bell: Bell,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Why {
        let mut steps_over = self.stage.steps_over.clone();
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let why = loop {
            let end = tokio::select! {
                biased;
                command = commands.recv() => self.obey(command.unwrap_or(Command::Stop)).await,
                Ok(counterexample) = &mut bell, if !self.alarmed => self.alarm(counterexample).await,
                () = tokio::time::sleep_until(self.over), if self.quiet_since.is_none() => Some(Why::Over),
                Ok(_) = steps_over.wait_for(|over| *over), if self.quiet_since.is_none() => Some(Why::Over),
                _ = tick.tick() => self.look().await,
            };
            if let Some(why) = end {
                break why;
            }
        };
        self.end(why).await;
        why
    }

    /// Does what somebody asked for; gives why the workload ends, where that was it.
    async fn obey(&mut self, command: Command) -> Option<Why> {
        if let Some(part) = command.part() {
            self.by_hand(part);
        }
        match command {
            Command::Stop => return Some(Why::Stopped),
            Command::Finish => return Some(Why::Over),
            Command::HoldWorkload(held) => self.hold_workload(held),
            Command::GoOn => self.go_on().await,
            Command::Load(load) => {
                let load = self.stage.fleet.now.ask_for(load);
                self.context.recorder.mark(format!("workload: {load}"));
                self.context.log.log(Event::Load { load });
            }
            Command::Inject(episodes) => self.stage.order(Order::Inject(episodes)).await,
            Command::Heal(id) => self.stage.order(Order::Heal(id)).await,
            Command::HealAll => self.stage.order(Order::HealAll).await,
            Command::Nemesis(on) => self.stage.order(Order::Plan(on)).await,
        }
        None
    }

    /// A person has a part in this run, and perhaps in another part of it than before.
    fn by_hand(&self, part: Part) {
        let log = &self.context.log;
        if log.so_far(|fold| fold.is_by_hand(part)) {
            return;
        }
        let again = match part {
            Part::Faults => self.setup.again_as_it_went(&self.context.dir),
            Part::Load => log.so_far(ResultFold::again),
        };
        log.log(Event::ByHand { part, again });
    }

    fn hold_workload(&mut self, held: bool) {
        self.workload_held = held;
        if self.held.is_none() {
            self.open_gate();
        }
        self.count_time();
        let words = if held {
            "workload held"
        } else {
            "workload goes on"
        };
        self.context.recorder.mark(words.to_owned());
        self.context.log.log(Event::Workload { paused: held });
    }

    fn open_gate(&self) {
        self.gate.send_replace(if self.workload_held {
            Gate::Held
        } else {
            Gate::Open
        });
    }

    /// The judge has found a violation.
    async fn alarm(&mut self, counterexample: Box<Counterexample>) -> Option<Why> {
        self.alarmed = true;
        let (key, event) = (&counterexample.key, counterexample.event);
        self.context
            .recorder
            .mark(format!("alarm: {key} at #{event}"));
        self.context.log.log(Event::Alarm { counterexample });
        self.hold_or_end().await
    }

    /// Tells what has changed, and asks the other oracles.
    async fn look(&mut self) -> Option<Why> {
        self.context.tell_progress();
        self.context.watch.look(&self.stage.cluster);
        let decided = self.stage.network.take_decisions();
        self.context.log.messages(fates(&decided.made));
        self.stage.note_losses(self.context);
        if let Some(drill) = self.setup.drill
            && self.context.judge.so_far().proven_to > 0
        {
            drill.in_the_run(When::Proven).await;
        }
        if let Some(finding) = self.stage.inspector.states.found() {
            self.context.found(finding);
        }
        if self.found || self.context.log.so_far(|fold| fold.findings().is_empty()) {
            return None;
        }
        self.found = true;
        self.hold_or_end().await
    }

    /// Stops everything but the nodes, so that a person can look at them; without a person the run ends.
    async fn hold_or_end(&mut self) -> Option<Why> {
        if let Some(drill) = self.setup.drill {
            drill.in_the_run(When::Found).await;
        }
        if !self.setup.hold {
            return Some(Why::Alarm);
        }
        if self.held.is_none() {
            let network = self.stage.network.hold();
            self.gate.send_replace(Gate::Held);
            self.stage.held.send_replace(true);
            self.stage.order(Order::Hold(true)).await;
            self.held = Some(network);
            self.count_time();
            self.tell_held(true);
        }
        None
    }

    /// Takes back what [`hold_or_end`](Self::hold_or_end) did; the run's time goes on from there.
    async fn go_on(&mut self) {
        if let Some(network) = self.held.take() {
            network.heal();
            self.count_time();
            self.open_gate();
            self.stage.held.send_replace(false);
            self.stage.order(Order::Hold(false)).await;
            self.tell_held(false);
        }
    }

    /// While the workload is held, by a person or by a violation, its time does not pass.
    fn count_time(&mut self) {
        let quiet = self.workload_held || self.held.is_some();
        match (quiet, self.quiet_since) {
            (true, None) => self.quiet_since = Some(Instant::now()),
            (false, Some(since)) => {
                self.over += since.elapsed();
                self.quiet_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn tell_held(&self, held: bool) {
        let words = if held {
            "a violation holds the network"
        } else {
            "the network goes on"
        };
        self.context.recorder.mark(words.to_owned());
        self.context
            .log
            .log(Event::PausedByViolation { paused: held });
    }

    /// The clients end: each its operation, where there is time for that.
    async fn end(mut self, why: Why) {
        // Nobody can be asked anything while the network is held.
        if self.held.take().is_some() {
            self.stage.held.send_replace(false);
            self.tell_held(false);
        }
        self.context.log.log(Event::WorkloadEnded);
        self.gate.send_replace(Gate::Closed);
        if why == Why::Over {
            // Each operation ends within its deadline; what does not is a bug of ours, and stays open in the history.
            let all = async { while self.clients.join_next().await.is_some() {} };
            let heart = self.context.host.heart();
            if heart.within(LONGEST + DEADLINE * 2, all).await.is_none() {
                let text = "a client did not end its operation within its deadline";
                self.context.bench_error(text.to_owned());
            }
        }
        self.clients.shutdown().await;
        self.stage.asks.end().await;
    }
}
