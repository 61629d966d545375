//! One run, from the first child to the last: the only place where the rooms meet.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use checkers::history::{Call, Outcome};
use checkers::linear::certificate::Certificate;
use checkers::verdict::{Counterexample, Verdict};
use tokio::sync::{mpsc, oneshot};

use super::clients::Client;
use super::desk::Desk;
use super::drill::{self, Drill};
use super::ending::Ending;
use super::fitness::{self, Upkeep};
use super::folder::Teller;
use super::notice::{Command, Load, Notice, Phase, Told};
use super::play::{Play, Why};
use super::stage::Stage;
use super::{Setup, certify, name};
use crate::cluster::Cluster;
use crate::oracle::blame::{self, Around};
use crate::oracle::service::{self, Asks};
use crate::oracle::trace::{self, Replayed};
use crate::oracle::{self, Finding, certificate, convergence, state_hash};
use crate::recorder::{Missing, Recorder};
use crate::scenario::Resolved;
use crate::workload::Generator;

/// The leadership is handed to a node within this, or the next one has its turn.
const ROTATE_WITHIN: Duration = Duration::from_secs(4);

/// The bench's own client, which asks when everything is healed.
struct Own<'a> {
    client: Client,
    recorder: &'a Recorder,
}

impl service::Client for Own<'_> {
    fn fresh_write(&mut self) -> Call {
        self.client.fresh_write()
    }

    async fn perform(&mut self, key: &str, call: Call) -> Outcome {
        self.client.perform(self.recorder, key, call).await
    }
}

/// Conducts one run. Every path out of here ends the children first.
pub(super) async fn conduct(
    setup: Setup,
    screen: mpsc::Sender<Told>,
    behind: Arc<AtomicU64>,
    commands: mpsc::Receiver<Command>,
) -> Ending {
    let mut ending = Ending::of(setup.resolved.clone(), setup.again());
    match Desk::open(&setup, screen, behind) {
        Ok((desk, alarm)) => desk.conduct(&setup, alarm, commands, &mut ending).await,
        Err(error) => ending.bench_errors.push(error),
    }
    ending
}

/// A run that has not even a thread.
pub(super) fn not_begun(setup: &Setup, error: &std::io::Error) -> Ending {
    let mut ending = Ending::of(setup.resolved.clone(), setup.again());
    let text = format!("could not start the run's threads: {error}");
    ending.bench_errors.push(text);
    ending
}

/// Asks the log ids of the answers for their opinion. Reads that promise nothing are not held to it.
fn certified(
    asked: Result<Option<Certificate>, String>,
    resolved: &Resolved,
    verdict: &Verdict,
    teller: &Teller,
    ending: &mut Ending,
) {
    match asked {
        Ok(Some(certificate)) => {
            let found = certificate::disagreement(&certificate, verdict)
                .filter(|_| resolved.scenario.reads() != "follower-local");
            if let Some(finding) = found {
                teller.tell(Notice::Found {
                    finding: finding.clone(),
                });
                ending.findings.push(finding);
            }
            ending.certificate = Some(certificate.name());
        }
        Ok(None) => {}
        Err(why) => ending.bench_errors.push(why),
    }
}

/// When the operation that fits nowhere was answered.
fn culprit_answered_ns(counterexample: &Counterexample) -> u64 {
    counterexample
        .culprit()
        .map_or(0, |op| op.completed_ns.unwrap_or(op.invoked_ns))
}

impl Desk {
    /// The run from its first child to its last word.
    async fn conduct(
        self,
        setup: &Setup,
        alarm: oneshot::Receiver<Box<Counterexample>>,
        mut commands: mpsc::Receiver<Command>,
        ending: &mut Ending,
    ) {
        let resolved = &setup.resolved;
        ending.dir = Some(self.dir.clone());
        self.teller.tell(Notice::Started {
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
            again: ending.again.clone(),
        });
        self.phase(Phase::Starting);
        let upkeep = tokio::spawn(fitness::upkeep(Upkeep::of(&self)));
        let set = tokio::select! {
            biased;
            () = stopped(&mut commands) => {
                ending.interrupted = true;
                None
            }
            set = Stage::set(setup, &self) => Some(set),
        };
        match set {
            Some(Ok(mut stage)) => {
                let why = Play::begin(setup, &self, &mut stage, ending)
                    .await
                    .until_the_end(alarm, &mut commands)
                    .await;
                ending.interrupted = why == Why::Stopped;
                if why == Why::Over {
                    tokio::select! {
                        biased;
                        () = stopped(&mut commands) => ending.interrupted = true,
                        () = self.settle(&mut stage, ending) => {}
                    }
                }
                if setup.drill.is_some_and(Drill::is_stuck) {
                    tokio::time::sleep(drill::STUCK).await;
                }
                self.strike(stage, ending).await;
            }
            Some(Err(error)) => ending.bench_errors.push(error),
            None => {}
        }
        upkeep.abort();
        self.judge(resolved, ending);
    }

    /// Heals everything, and asks the oracles other than the history's.
    async fn settle(&self, stage: &mut Stage, ending: &mut Ending) {
        self.phase(Phase::Healing);
        stage.heal().await;
        stage.note_losses(self, ending);
        if !ending.findings.is_empty() {
            return;
        }
        if stage.unhealed {
            let text = "not everything could be healed: what the nodes hold is compared, and nobody is blamed for not serving";
            self.teller.say(text.to_owned());
        }
        let unhealed = stage.unhealed;
        // Whoever the host has ended says nothing, and stands for nobody.
        let alive = |node: &&u64| !unhealed || stage.is_alive(**node);
        let nodes: Vec<_> = stage.nodes.iter().filter(alive).copied().collect();
        let mut found: Vec<Finding> = self.serves(stage, &nodes).await.err().into_iter().collect();
        // What does not serve because it could not be healed is compared all the same.
        if found.is_empty() || unhealed {
            let heart = self.host.heart();
            let compared = state_hash::compare(&stage.cluster, &nodes, heart).await;
            found.extend(compared.err());
        }
        self.watch.look(&stage.cluster);
        // Who has ended meanwhile may be the reason, and not to blame for it.
        stage.note_losses(self, ending);
        found.extend(stage.inspector.states.found());
        let around = Around {
            unhealed: stage.unhealed,
            hindered: blame::hindered(&stage.cluster),
        };
        for finding in found {
            self.found_after(ending, finding, &around);
        }
    }

    /// Whether the healed cluster agrees on a leader and serves, through every node in its turn.
    async fn serves(&self, stage: &Stage, nodes: &[u64]) -> Result<(), Finding> {
        let heart = self.host.heart();
        let scenario = &stage.fleet.scenario;
        convergence::converge(&stage.cluster, nodes, heart).await?;
        let mut asks = Asks {
            client: Own {
                client: stage.fleet.client(scenario.clients),
                recorder: &self.recorder,
            },
            keys: Generator::keys(stage.fleet.now.keys()),
            heart,
        };
        asks.writes().await?;
        self.phase(Phase::FinalReads);
        self.rotate_and_read(&stage.cluster, nodes, &mut asks).await
    }

    /// Makes every node the leader in turn and reads every key through it, so that what one node alone holds, or lacks, is
    /// seen by clients. A node that does not take the leadership over is no finding: it is said, and the next one has its
    /// turn; at least once everything is read.
    async fn rotate_and_read(
        &self,
        cluster: &Cluster,
        nodes: &[u64],
        asks: &mut Asks<'_, Own<'_>>,
    ) -> Result<(), Finding> {
        let mut read = false;
        for &node in nodes {
            match cluster.transfer(node, ROTATE_WITHIN).await {
                Ok(()) => {
                    self.recorder.mark(format!("final reads through n{node}"));
                    let left = asks.reads().await?;
                    if left > 0 {
                        self.teller.say(format!(
                            "{left} keys were not read through n{node}: it took too long"
                        ));
                    }
                    read = true;
                }
                Err(error) => self
                    .teller
                    .say(format!("no final reads through n{node}: {error}")),
            }
        }
        if !read {
            asks.reads().await?;
        }
        Ok(())
    }

    /// Ends every child, and reads what the nodes' logs say.
    async fn strike(&self, mut stage: Stage, ending: &mut Ending) {
        stage.heal().await;
        stage.note_losses(self, ending);
        stage.inspecting.abort();
        stage.inspector.ask(&stage.cluster, stage.defect).await;
        if let Some(finding) = stage.inspector.states.found() {
            self.found(ending, finding);
        }
        ending.defect = stage.defect.then(|| stage.inspector.counts());
        ending.compared = stage.inspector.states.compared();
        self.teller.decided(&stage.network.take_decisions());
        {
            let mut coverage = self.coverage.lock().expect("nobody panics while counting");
            coverage.snapshots(stage.network.snapshots_between_nodes());
            coverage.sessions(stage.fleet.tally.so_far());
        }
        stage.cluster.end().await;
        stage.note_losses(self, ending);
        self.watch.look(&stage.cluster);
        match trace::replay(&self.dir, &stage.nodes) {
            Replayed::Explained { events, us } => {
                ending.trace_us = us;
                ending.trace_events = Some(events);
                self.teller
                    .say(format!("consensus: {events} events explained"));
            }
            Replayed::Found(finding) => self.found(ending, finding),
            Replayed::Failed(why) => ending.bench_errors.push(why),
        }
        for finding in oracle::in_logs(&self.dir, &stage.nodes) {
            self.found(ending, finding);
        }
    }

    /// The last verdict, and everything that follows from it.
    fn judge(self, resolved: &Resolved, ending: &mut Ending) {
        self.phase(Phase::Judging);
        self.tell_progress();
        self.recorder.close();
        let Desk {
            dir,
            teller,
            recorder,
            coverage,
            judge,
            spans,
            watch,
            host,
            ..
        } = self;
        recorder.flush();
        let (verdict, asked) = certify::look_again(&dir, judge.finish());
        match recorder.missing() {
            // The log ids of what is lost are lost, too.
            Some(Missing { waiting, lost, why }) => ending.bench_errors.push(format!(
                "history.jsonl lacks {lost} events, and {waiting} bytes more at its end: {why}"
            )),
            None => certified(asked, resolved, &verdict, &teller, ending),
        }
        if let Verdict::Violation(counterexample) = &verdict {
            if !ending.alarmed {
                // Found by the final reads, when nobody waited for an alarm any more.
                let counterexample = counterexample.clone();
                teller.tell(Notice::Alarm { counterexample });
            }
            ending.beliefs = watch.beliefs_at(culprit_answered_ns(counterexample));
            ending.answered_as = watch.stood_as(counterexample);
            ending.anomaly = name::anomaly(&dir, &verdict);
        }
        // Where the cluster never came up nothing happened, and an empty history proves nothing.
        ending.counts = coverage
            .lock()
            .expect("nobody panics while counting")
            .counts();
        ending.verdict = (ending.counts.operations() > 0).then_some(verdict);
        if ending.verdict.as_ref().is_some_and(Verdict::holds) && !ending.interrupted {
            ending.broken_promises = ending.counts.broken_promises(&resolved.scenario.promises);
        }
        ending.faults = spans
            .lock()
            .expect("nobody panics while listing")
            .values()
            .cloned()
            .collect();
        ending.late_ms = u64::try_from(host.heart().worst().as_millis()).unwrap_or(u64::MAX);
        ending.waited_per_cent = host.processors().waited_per_cent();
        ending.bench_errors.extend(host.shortages().losses());
        for missing in teller.missing() {
            let text = format!("could not write all in {}: {missing}", dir.display());
            ending.bench_errors.push(text);
        }
        for text in &ending.bench_errors {
            teller.tell(Notice::BenchError { text: text.clone() });
        }
        teller.tell(Notice::Ended {
            verdict: ending.word(),
            exit: ending.exit(),
            summary: ending.summary(),
        });
        teller.tell(Notice::Phase {
            phase: Phase::Ended,
        });
    }
}

/// Ends when somebody asks for an end at once; what else is asked for has no effect in this phase.
async fn stopped(commands: &mut mpsc::Receiver<Command>) {
    while !matches!(commands.recv().await, Some(Command::Stop) | None) {}
}
