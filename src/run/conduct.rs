//! One run, from the first child to the last: the only place where the rooms meet.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use checkers::verdict::{Counterexample, Verdict};
use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use super::drill::{self, Drill};
use super::ending::Ending;
use super::folder::Teller;
use super::notice::{Command, Load, Notice, Phase, Told};
use super::play::{Play, Why};
use super::stage::Stage;
use super::traces::{self, Said};
use super::{Setup, after, certify};
use crate::scenario::Resolved;

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

/// Asks the log ids of the answers for their opinion. Reads that promise nothing are not held to it.
fn certified(
    dir: &Path,
    resolved: &Resolved,
    verdict: &Verdict,
    teller: &Teller,
    ending: &mut Ending,
) {
    match certify::certify(dir) {
        Ok(Some(certificate)) => {
            let found = certify::disagreement(&certificate, verdict)
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
        let accuse = |asked: Result<(), super::Finding>| match asked {
            Err(finding) if unhealed && ["convergence", "service"].contains(&&*finding.oracle) => {
                self.teller.say(finding.evidence);
                Ok(())
            }
            asked => asked,
        };
        let nodes = &stage.nodes;
        let (scenario, keys) = (&stage.fleet.scenario, stage.fleet.now.keys());
        let mut client = stage.fleet.client(scenario.clients);
        let asked = async {
            accuse(after::converge(&stage.cluster, nodes).await)?;
            accuse(after::serve(&mut client, &self.recorder, keys).await)?;
            self.phase(Phase::FinalReads);
            let say = |text| self.teller.say(text);
            let (cluster, recorder) = (&stage.cluster, &self.recorder);
            accuse(after::rotate_and_read(cluster, nodes, &mut client, recorder, keys, say).await)?;
            accuse(after::compare_states(&stage.cluster, nodes).await)
        };
        let found = asked.await;
        self.watch.look(&stage.cluster);
        let found = found.err().or_else(|| stage.inspector.found());
        if let Some(finding) = found {
            self.found(ending, finding);
        }
    }

    /// Ends every child, and reads what the nodes' logs say.
    async fn strike(&self, mut stage: Stage, ending: &mut Ending) {
        stage.heal().await;
        stage.note_losses(self, ending);
        stage.inspector.ask(&stage.cluster, stage.defect).await;
        ending.defect = stage.defect.then(|| stage.inspector.counts());
        ending.compared = stage.inspector.compared();
        self.teller.decided(&stage.network.take_decisions());
        self.coverage
            .lock()
            .expect("nobody panics while counting")
            .snapshots(stage.network.snapshots_between_nodes());
        stage.inspecting.abort();
        stage.cluster.end().await;
        stage.note_losses(self, ending);
        self.watch.look(&stage.cluster);
        match traces::replay(&self.dir, &stage.nodes) {
            Said::Explained(events, us) => {
                ending.trace_us = us;
                ending.trace_events = Some(events);
                self.teller
                    .say(format!("consensus: {events} events explained"));
            }
            Said::Found(finding) => self.found(ending, finding),
            Said::Failed(why) => ending.bench_errors.push(why),
        }
        for &node in &stage.nodes {
            let log = self.dir.join("nodes").join(node.to_string()).join("log");
            if let Some(finding) = after::panic_in_log(node, &log) {
                self.found(ending, finding);
            }
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
            ..
        } = self;
        let verdict = judge.verdict();
        certified(&dir, resolved, &verdict, &teller, ending);
        if let Verdict::Violation(counterexample) = &verdict {
            if !ending.alarmed {
                // Found by the final reads, when nobody waited for an alarm any more.
                let counterexample = counterexample.clone();
                teller.tell(Notice::Alarm { counterexample });
            }
            ending.beliefs = watch.beliefs_at(culprit_answered_ns(counterexample));
        }
        // Where the cluster never came up nothing happened, and an empty history proves nothing.
        ending.counts = coverage
            .lock()
            .expect("nobody panics while counting")
            .counts();
        let ops = ending.counts.ops;
        ending.verdict = (ops.ok + ops.failed + ops.unknown > 0).then_some(verdict);
        if ending.verdict.as_ref().is_some_and(Verdict::holds) && !ending.interrupted {
            ending.broken_promises = ending.counts.broken_promises(&resolved.scenario.promises);
        }
        ending.faults = spans
            .lock()
            .expect("nobody panics while listing")
            .values()
            .cloned()
            .collect();
        for failure in recorder.failure().into_iter().chain(teller.failure()) {
            ending
                .bench_errors
                .push(format!("could not write in {}: {failure}", dir.display()));
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
