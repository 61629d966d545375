//! One run, from the first child to the last: the only place where the rooms meet.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use checkers::linear::certificate::Certificate;
use checkers::verdict::Verdict;
use tokio::sync::mpsc;

use super::command::Command;
use super::context::{Bell, RunContext};
use super::drill::{self, Drill};
use super::fates::fates;
use super::fitness::{self, Upkeep};
use super::last_reads::Own;
use super::stage::Stage;
use super::workload_phase::{Why, WorkloadPhase};
use super::{Setup, certify, name};
use crate::cluster::Cluster;
use crate::fault::Need;
use crate::journal::{Entry, Event, EventLog, Load, Phase, ResultFold, RunResult};
use crate::oracle::blame::{self, Around};
use crate::oracle::service::Asks;
use crate::oracle::trace::{self, Replayed};
use crate::oracle::{self, Finding, certificate, convergence, state_hash};
use crate::recorder::Missing;
use crate::scenario::{Resolved, Tested};
use crate::target::Transport;
use crate::workload::Generator;

/// Conducts one run. Every path out of here ends the children first.
pub(super) async fn conduct(
    setup: Setup,
    screen: mpsc::Sender<Entry>,
    behind: Arc<AtomicU64>,
    commands: mpsc::Receiver<Command>,
) -> RunResult {
    match RunContext::open(&setup, screen, behind) {
        Ok((context, bell)) => context.conduct(&setup, bell, commands).await,
        Err(error) => not_begun(&setup, error),
    }
}

/// A run that could not begin.
pub(super) fn not_begun(setup: &Setup, error: String) -> RunResult {
    let mut result = RunResult::of(setup.resolved.clone(), setup.again());
    result.bench_errors.push(error);
    result
}

/// Asks the log ids of the answers for their opinion; gives its name. Reads that promise nothing are not held to it.
fn certified(
    asked: Result<Option<Certificate>, String>,
    resolved: &Resolved,
    verdict: &Verdict,
    log: &EventLog,
) -> Option<String> {
    match asked {
        Ok(Some(certificate)) => {
            let found = certificate::disagreement(&certificate, verdict)
                .filter(|_| resolved.scenario.reads() != "follower-local");
            if let Some(finding) = found {
                log.log(Event::Found { finding });
            }
            Some(certificate.name().to_owned())
        }
        Ok(None) => None,
        Err(text) => {
            log.log(Event::BenchError { text });
            None
        }
    }
}

impl RunContext {
    /// The run from its first child to its last word.
    async fn conduct(
        self,
        setup: &Setup,
        bell: Bell,
        mut commands: mpsc::Receiver<Command>,
    ) -> RunResult {
        let resolved = &setup.resolved;
        self.log.log(Event::Started {
            scenario: resolved.scenario.name.clone(),
            seed: resolved.seed,
            nodes: resolved.scenario.node_ids(),
            seconds: resolved.scenario.seconds,
            load: Load {
                rate: resolved.scenario.rate,
                clients: resolved.scenario.clients,
                contended: resolved.scenario.keys.contended,
            },
            defect: resolved.defect.clone(),
            dir: self.dir.clone(),
            again: setup.again(),
        });
        self.phase(Phase::Starting);
        let upkeep = tokio::spawn(fitness::upkeep(Upkeep::of(&self)));
        let set = tokio::select! {
            biased;
            () = stopped(&mut commands) => {
                self.log.log(Event::Interrupted);
                None
            }
            set = Stage::set(setup, &self) => Some(set),
        };
        match set {
            Some(Ok(mut stage)) => {
                let why = WorkloadPhase::begin(setup, &self, &mut stage)
                    .await
                    .until_the_end(bell, &mut commands)
                    .await;
                match why {
                    Why::Stopped => self.log.log(Event::Interrupted),
                    Why::Alarm => {}
                    Why::Over => tokio::select! {
                        biased;
                        () = stopped(&mut commands) => self.log.log(Event::Interrupted),
                        () = self.recover(&mut stage) => {}
                    },
                }
                if setup.drill.is_some_and(Drill::is_stuck) {
                    tokio::time::sleep(drill::STUCK).await;
                }
                self.teardown(stage).await;
            }
            Some(Err(error)) => self.bench_error(error),
            None => {}
        }
        upkeep.abort();
        self.judge(resolved)
    }

    /// Heals everything, and asks the oracles other than the history's.
    async fn recover(&self, stage: &mut Stage) {
        self.phase(Phase::Healing);
        stage.heal().await;
        stage.note_losses(self);
        if self.log.so_far(|fold| !fold.findings().is_empty()) {
            return;
        }
        if stage.unhealed {
            let text = "not everything could be healed: what the nodes hold is compared, and nobody is blamed for not serving";
            self.log.say(text);
        }
        let unhealed = stage.unhealed;
        // Whoever the host has ended says nothing, and stands for nobody.
        let alive = |node: &&u64| !unhealed || stage.is_alive(**node);
        let nodes: Vec<_> = stage.nodes.iter().filter(alive).copied().collect();
        let mut found: Vec<Finding> = self.serves(stage, &nodes).await.err().into_iter().collect();
        // What does not serve because it could not be healed is compared all the same.
        if found.is_empty() || unhealed {
            found.extend(self.compare(&stage.cluster, &nodes).await.err());
        }
        self.watch.look(&stage.cluster);
        // Who has ended meanwhile may be the reason, and not to blame for it.
        stage.note_losses(self);
        found.extend(stage.inspector.states.found());
        let around = Around {
            unhealed: stage.unhealed,
            hindered: blame::hindered(&stage.cluster),
            ..self.around()
        };
        for finding in found {
            self.found_after(finding, &around);
        }
    }

    /// Whether the healed nodes hold the same, where they can be asked for it.
    async fn compare(&self, cluster: &Cluster, nodes: &[u64]) -> Result<(), Finding> {
        let (name, heart) = (cluster.target().name(), self.host.heart());
        let why = match cluster.target().states() {
            Some(states) if states.is_exact() => {
                return state_hash::compare(cluster, nodes, heart).await;
            }
            Some(_) if state_hash::compare_settled(cluster, nodes, heart).await? => return Ok(()),
            Some(_) => format!("the nodes of {name} did not settle at one applied index"),
            None => format!("nobody can be asked for what a node of {name} holds"),
        };
        self.log.say(format!("states are not compared: {why}"));
        Ok(())
    }

    /// Whether the healed cluster agrees on a leader and serves, through every node in its turn.
    async fn serves(&self, stage: &Stage, nodes: &[u64]) -> Result<(), Finding> {
        let heart = self.host.heart();
        let scenario = &stage.fleet.scenario;
        let target = stage.cluster.target();
        match target.offers(Need::Leader) {
            Ok(()) if target.names_leader() => {
                convergence::converge(&stage.cluster, nodes, heart).await?;
            }
            Ok(()) => {
                let name = target.name();
                self.log.say(format!(
                    "nobody looks whether the nodes agree: a node of {name} does not say whom it follows"
                ));
            }
            Err(why) => self
                .log
                .say(format!("nobody looks whether the nodes agree: {why}")),
        }
        let mut asks = Asks {
            client: Own {
                client: stage.fleet.client(scenario.clients),
                recorder: &self.recorder,
                keys: Generator::keys(stage.fleet.now.keys()),
            },
            reads: Vec::new(),
            heart,
        };
        asks.writes().await?;
        asks.reads = asks.client.last_reads();
        self.phase(Phase::FinalReads);
        match (target.asks_for(), target.transport()) {
            (None, _) => self.rotate_and_read(&stage.cluster, nodes, &mut asks).await,
            // Each of them answers clients.
            (Some(_), Transport::Lines) => self.read_of_each(stage, nodes, asks.reads).await,
            (Some(_), Transport::Sockets) => asks.reads().await.map(|_| ()),
        }
    }

    /// Ends every child, and reads what the nodes' logs say.
    async fn teardown(&self, mut stage: Stage) {
        stage.heal().await;
        stage.note_losses(self);
        stage.inspecting.abort();
        stage.inspector.ask(&stage.cluster, stage.defect).await;
        if let Some(finding) = stage.inspector.states.found() {
            self.found(finding);
        }
        self.log
            .messages(fates(&stage.network.take_decisions().made));
        self.log.log(Event::Counted {
            snapshots: stage.network.snapshots_between_nodes(),
            states_compared: stage.inspector.states.compared(),
            sessions: stage.fleet.tally.so_far(),
            defect: stage.defect.then(|| stage.inspector.counts()),
        });
        for text in stage.testbed.unharmed() {
            self.log.say(text);
        }
        stage.cluster.end().await;
        stage.note_losses(self);
        self.watch.look(&stage.cluster);
        self.replay_traces(&stage);
        for finding in oracle::in_logs(&self.dir, &stage.nodes) {
            self.found(finding);
        }
    }

    /// Looks whether what the nodes' Raft did is a behaviour of the model, where they write it down.
    fn replay_traces(&self, stage: &Stage) {
        let target = stage.cluster.target();
        if !target.traces() {
            let name = target.name();
            self.log.say(format!(
                "nothing is compared with the model: {name} writes no trace of its Raft"
            ));
            return;
        }
        match trace::replay(&self.dir, &stage.nodes) {
            Replayed::Explained { events, took } => {
                let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                self.log.log(Event::Explained { events, took_ns });
            }
            Replayed::Found(finding) => self.found(finding),
            Replayed::Failed(why) => self.bench_error(why),
        }
    }

    /// The last verdict, and everything that follows from it.
    fn judge(self, resolved: &Resolved) -> RunResult {
        self.phase(Phase::Judging);
        self.tell_progress();
        self.recorder.close();
        let RunContext {
            dir,
            log,
            recorder,
            judge,
            host,
            kept,
            ..
        } = self;
        recorder.flush();
        let failed = |text| log.log(Event::BenchError { text });
        let of = resolved.tested.as_ref().and_then(Tested::of);
        let (verdict, asked) = certify::look_again(&dir, judge.finish(), of);
        let certificate = match recorder.missing() {
            // The log ids of what is lost are lost, too.
            Some(Missing { waiting, lost, why }) => {
                failed(format!(
                    "history.jsonl lacks {lost} events, and {waiting} bytes more at its end: {why}"
                ));
                None
            }
            None => certified(asked, resolved, &verdict, &log),
        };
        if let Verdict::Violation(counterexample) = &verdict
            && !log.so_far(ResultFold::is_alarmed)
        {
            // Found by the final reads, when nobody waited for an alarm any more.
            let counterexample = counterexample.clone();
            log.log(Event::Alarm { counterexample });
        }
        log.log(Event::Machine {
            late_ms: u64::try_from(host.heart().worst().as_millis()).unwrap_or(u64::MAX),
            waited_per_cent: host.processors().waited_per_cent(),
        });
        log.log(Event::Judged {
            anomaly: name::anomaly(&dir, &verdict),
            verdict,
            certificate,
        });
        host.shortages().losses().into_iter().for_each(failed);
        if let Some(missing) = log.missing() {
            let dir = dir.display();
            failed(format!("could not write all in {dir}: {missing}"));
        }
        let mut result = log.so_far(ResultFold::result);
        // As it went, where somebody had a hand in it.
        result.resolved = kept.last();
        log.log(Event::Ended {
            verdict: result.word(),
            exit: result.exit(),
            summary: result.summary(),
        });
        log.log(Event::Phase {
            phase: Phase::Ended,
        });
        result
    }
}

/// Ends when somebody asks for an end at once; what else is asked for has no effect in this phase.
async fn stopped(commands: &mut mpsc::Receiver<Command>) {
    while !matches!(commands.recv().await, Some(Command::Stop) | None) {}
}
