//! The result of a run: data, folded from its entries. It is the same when it is folded from a finished folder.
//!
//! Who is to blame for what was found is decided in [`blame`], the exit code in [`Exit::of`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use checkers::anomaly::Anomaly;
use checkers::verdict::Verdict;

use super::beliefs::Beliefs;
use super::coverage::{Counts, Coverage};
use super::event::{DefectCounts, Entry, Event, Part, Phase, VerdictWord};
use crate::exit::{Ended, Exit};
use crate::fault::{FaultId, FaultSpan, Remains};
use crate::oracle::Finding;
use crate::oracle::blame::{self, RECENT_NS};
use crate::scenario::{Resolved, Tested};

/// How to run a run again, in a sentence: by its command; `load_by_hand`: but for what somebody asked of the workload.
#[must_use]
pub fn again_in_words(command: &str, load_by_hand: bool) -> String {
    match load_by_hand {
        true => format!(
            "again, but for what was asked of the workload by hand, which no command repeats: {command}"
        ),
        false => format!("again: {command}"),
    }
}

/// Everything that a report says.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// What was run.
    pub resolved: Resolved,
    /// How to run it again, as a command.
    pub again: String,
    /// What the history proves; absent when there is none.
    pub verdict: Option<Verdict>,
    /// What a violation is called.
    pub anomaly: Option<Anomaly>,
    /// What whoever answered the culprit of a violation was then, as far as anybody knows.
    pub answered_as: Option<&'static str>,
    /// What other oracles prove, each once.
    pub findings: Vec<Finding>,
    /// What went wrong with the bench itself.
    pub bench_errors: Vec<String>,
    /// The coverage goals of the scenario that the run did not meet.
    pub unmet_goals: Vec<String>,
    /// What really happened.
    pub counts: Counts,
    /// Every fault that took effect.
    pub faults: Vec<FaultSpan>,
    /// What each node took itself for when the culprit of a violation was answered, a sentence each.
    pub beliefs: Vec<String>,
    /// How long the workload ran, in seconds.
    pub seconds: f64,
    /// From the workload's begin to the alarm, in seconds.
    pub alarm_seconds: Option<f64>,
    /// Whether somebody ended it before its time, at once.
    pub interrupted: bool,
    /// Whether somebody's hands broke, healed, held or changed something: no command repeats that.
    pub faults_by_hand: bool,
    /// Whether one had a part in what was asked of the cluster, which [`again`](RunResult::again) does not repeat.
    pub load_by_hand: bool,
    /// How many events of the nodes' traces the model's rules explained; absent when they did not explain all.
    pub trace_events: Option<u64>,
    /// How long the rules took for one of them, in microseconds.
    pub trace_us: f64,
    /// What the log ids of the answers prove: `holds`, `contradiction` or `silent`; absent where nobody asked.
    pub certificate: Option<String>,
    /// How often the planted defect was reached and triggered; absent where none is planted in the nodes.
    pub defect: Option<DefectCounts>,
    /// How often two states at one applied log id were compared while the run went on.
    pub compared: u64,
    /// By how much the latest of the bench's own timers was late, in milliseconds.
    pub late_ms: u64,
    /// Of the time in which the bench and its nodes wanted a processor, the share in which they had none, in percent.
    pub waited_per_cent: u64,
    /// The run's folder; absent when it could not be made.
    pub dir: Option<PathBuf>,
}

/// The result of a run as far as it has come.
#[derive(Clone, Debug)]
pub struct ResultFold {
    result: RunResult,
    coverage: Coverage,
    beliefs: Beliefs,
    faults: BTreeMap<FaultId, FaultSpan>,
    /// Since when the workload runs; `None` before and after.
    running_since_ns: Option<u64>,
    alarmed: bool,
    /// Why not all of the plan's steps were done, in a sentence.
    steps_undone: Option<String>,
}

impl ResultFold {
    /// Of a run of this scenario, of which nothing has happened yet.
    #[must_use]
    pub fn of(resolved: Resolved) -> ResultFold {
        ResultFold {
            coverage: Coverage::of(resolved.scenario.clients).with_slots(resolved.scenario.slots()),
            result: RunResult::of(resolved, String::new()),
            beliefs: Beliefs::default(),
            faults: BTreeMap::new(),
            running_since_ns: None,
            alarmed: false,
            steps_undone: None,
        }
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) {
        let Entry { time_ns, event } = entry;
        let time_ns = *time_ns;
        self.coverage.event(time_ns, event);
        let result = &mut self.result;
        match event {
            Event::Started { dir, again, .. } => {
                result.dir = Some(dir.clone());
                result.again.clone_from(again);
            }
            Event::Phase {
                phase: Phase::Running,
            } => self.running_since_ns = Some(time_ns),
            Event::WorkloadEnded => {
                self.result.seconds = self.running_for(time_ns).unwrap_or_default();
                self.running_since_ns = None;
            }
            Event::Node { node } => self.beliefs.see(time_ns, node),
            Event::FaultIn { .. } | Event::FaultOut { .. } | Event::FaultIndeterminate { .. } => {
                self.fault(time_ns, event);
            }
            Event::Alarm { .. } => {
                self.alarmed = true;
                self.ring(time_ns);
            }
            Event::Found { finding } => {
                if !result.findings.iter().any(|known| known.is_same(finding)) {
                    result.findings.push(finding.clone());
                }
                self.ring(time_ns);
            }
            Event::BenchError { text } if !result.bench_errors.contains(text) => {
                result.bench_errors.push(text.clone());
            }
            Event::StepsOver { why: Some(_), .. } => self.steps_undone = event.of_steps(),
            Event::Interrupted => result.interrupted = true,
            Event::ByHand { part, again } => {
                result.again.clone_from(again);
                match part {
                    Part::Faults => result.faults_by_hand = true,
                    Part::Load => result.load_by_hand = true,
                }
            }
            Event::Explained { events, took_ns } => {
                result.trace_events = Some(*events);
                result.trace_us = *took_ns as f64 / 1e3 / (*events).max(1) as f64;
            }
            Event::Counted {
                states_compared,
                defect,
                ..
            } => (result.compared, result.defect) = (*states_compared, *defect),
            Event::Machine {
                late_ms,
                waited_per_cent,
            } => (result.late_ms, result.waited_per_cent) = (*late_ms, *waited_per_cent),
            Event::Judged {
                verdict,
                anomaly,
                certificate,
            } => {
                (result.anomaly, result.certificate) = (*anomaly, certificate.clone());
                self.judged(verdict.clone());
            }
            _ => {}
        }
    }

    /// How long the workload has run by then, in seconds.
    fn running_for(&self, time_ns: u64) -> Option<f64> {
        let since = self.running_since_ns?;
        Some(time_ns.saturating_sub(since) as f64 / 1e9)
    }

    /// Something was found: while the workload runs that is an alarm.
    fn ring(&mut self, time_ns: u64) {
        let at = self.running_for(time_ns);
        self.result.alarm_seconds = self.result.alarm_seconds.or(at);
    }

    fn fault(&mut self, time_ns: u64, event: &Event) {
        match event {
            Event::FaultIn { id, fault, by, .. } => {
                let span = FaultSpan {
                    id: *id,
                    fault: fault.clone(),
                    by: *by,
                    in_ns: time_ns,
                    out_ns: None,
                    remains: Remains::Perhaps,
                };
                self.faults.insert(*id, span);
            }
            Event::FaultOut { id, remains, .. } => {
                if let Some(span) = self.faults.get_mut(id) {
                    span.out_ns = Some(time_ns);
                    span.remains = *remains;
                }
            }
            // What had no effect was not in, as far as the report goes.
            Event::FaultIndeterminate { id: Some(id), .. } => {
                self.faults.remove(id);
            }
            _ => {}
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        let counts = self.coverage.counts();
        if let Verdict::Violation(found) = &verdict {
            let at = found.answered().map_or(0, |culprit| culprit.answered_ns);
            self.result.beliefs = self.beliefs.at(at);
            self.result.answered_as = self.beliefs.stood_as(found);
        }
        // Where the cluster never came up nothing happened, and an empty history proves nothing.
        let proven = counts.operations() > 0;
        if proven && verdict.holds() && !self.result.interrupted {
            let resolved = &self.result.resolved;
            let mut unmet = counts.unmet_goals(&resolved.scenario.promises);
            unmet.extend(resolved.tested.as_ref().and_then(Tested::not_shown));
            unmet.extend(self.steps_undone.clone());
            self.result.unmet_goals = unmet;
        }
        self.result.verdict = proven.then_some(verdict);
    }

    /// What other oracles have found so far.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.result.findings
    }

    /// The faults that took effect so far.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultSpan> {
        self.faults.values().cloned().collect()
    }

    /// Whether a violation was told.
    #[must_use]
    pub fn is_alarmed(&self) -> bool {
        self.alarmed
    }

    /// Whether this failure is known.
    #[must_use]
    pub fn has_failed_in(&self, text: &str) -> bool {
        self.result.bench_errors.iter().any(|known| known == text)
    }

    /// Whether somebody's hands had a part in it so far, and in that part of it.
    #[must_use]
    pub fn is_by_hand(&self, part: Part) -> bool {
        match part {
            Part::Faults => self.result.faults_by_hand,
            Part::Load => self.result.load_by_hand,
        }
    }

    /// How to run it again, as far as it has gone.
    #[must_use]
    pub fn again(&self) -> String {
        self.result.again.clone()
    }

    /// The result.
    #[must_use]
    pub fn result(&self) -> RunResult {
        RunResult {
            counts: self.coverage.counts(),
            faults: self.faults(),
            ..self.result.clone()
        }
    }
}

impl RunResult {
    /// A run that has not begun.
    #[must_use]
    pub fn of(resolved: Resolved, again: String) -> RunResult {
        RunResult {
            resolved,
            again,
            verdict: None,
            anomaly: None,
            answered_as: None,
            findings: Vec::new(),
            bench_errors: Vec::new(),
            unmet_goals: Vec::new(),
            counts: Counts::default(),
            faults: Vec::new(),
            beliefs: Vec::new(),
            seconds: 0.0,
            alarm_seconds: None,
            interrupted: false,
            faults_by_hand: false,
            load_by_hand: false,
            trace_events: None,
            trace_us: 0.0,
            certificate: None,
            defect: None,
            compared: 0,
            late_ms: 0,
            waited_per_cent: 0,
            dir: None,
        }
    }

    /// The verdict in one line, with what stands beside it.
    #[must_use]
    pub fn summary(&self) -> String {
        let total = self.counts.operations();
        let mut text = match &self.verdict {
            Some(Verdict::Linearizable) => {
                // What the other data types promise is not always that.
                let of = self.resolved.tested.as_ref().and_then(Tested::of);
                let holds = of.map_or("LINEARIZABLE".to_owned(), |of| {
                    format!("HOLDS as {}", of.name())
                });
                format!("✓ {holds} · {total} operations, {:.1} s", self.seconds)
            }
            Some(Verdict::Violation(found)) => {
                let (key, culprit) = (&found.key, found.culprit);
                match (&self.resolved.tested, self.anomaly) {
                    (Some(tested), Some(anomaly)) if self.is_documented() => {
                        let Tested { target, mode, .. } = tested;
                        format!(
                            "◆ AS DOCUMENTED · {target} in mode {mode} shows {anomaly} · {key} at #{culprit}"
                        )
                    }
                    _ => match &found.typed {
                        Some(typed) => {
                            format!("✗ VIOLATION · {} · {key} at #{culprit}", typed.kind)
                        }
                        None => format!("✗ NOT LINEARIZABLE · {key} at #{culprit}"),
                    },
                }
            }
            Some(Verdict::Unknown(reason)) => format!("? UNKNOWN · {reason}"),
            None => "no verdict: nothing was recorded".to_owned(),
        };
        if !self.findings.is_empty() {
            text += &format!(
                " · {} finding{}",
                self.findings.len(),
                if self.findings.len() == 1 { "" } else { "s" }
            );
        }
        if let Some(issue) = self.issue().filter(|_| self.exit() == 1) {
            text += &format!(" · {issue}");
        }
        if self.exit() == 1 && !self.unpromised().is_empty() {
            text += " · after a fault outside of what is promised";
        }
        if self.exit() == 3 {
            text += " · vacuous";
        }
        if self.interrupted {
            text += " · interrupted";
        }
        text
    }

    /// The faults that nobody promises to survive and that may be to blame for what was found: see [`blame::unpromised`].
    #[must_use]
    pub fn unpromised(&self) -> Vec<&FaultSpan> {
        let found = blame::Found {
            verdict: self.verdict.as_ref(),
            findings: &self.findings,
            faults: &self.faults,
            reads: self.resolved.scenario.reads(),
        };
        blame::unpromised(&found, &self.resolved.promised())
    }

    /// Whether its violation is one that the mode of what is tested is documented to show.
    #[must_use]
    pub fn is_documented(&self) -> bool {
        let violated = matches!(self.verdict, Some(Verdict::Violation(_)));
        let tested = self.resolved.tested.as_ref();
        violated && tested.is_some_and(|tested| tested.documents(self.anomaly))
    }

    /// The public report of what its scenario shows, where it is about one.
    #[must_use]
    pub fn issue(&self) -> Option<&str> {
        let system = self.resolved.scenario.system.as_ref();
        system?.issue.as_deref()
    }

    /// The exit code: see [`Exit::of`].
    #[must_use]
    pub fn exit(&self) -> u8 {
        let verdict = self.verdict.as_ref();
        let documented = self.is_documented();
        let violated = matches!(verdict, Some(Verdict::Violation(_))) && !documented;
        let found = violated || !self.findings.is_empty();
        let ended = Ended {
            found,
            failed: !self.bench_errors.is_empty(),
            // What had to be shown was shown before.
            interrupted: self.interrupted && !documented,
            judged: verdict.is_some(),
            unknown: matches!(verdict, Some(Verdict::Unknown(_))),
            vacuous: !self.unmet_goals.is_empty(),
        };
        Exit::of(&ended).code()
    }

    /// The verdict's word; a run without a history has proven nothing.
    #[must_use]
    pub fn word(&self) -> VerdictWord {
        match self.verdict {
            Some(Verdict::Linearizable) => VerdictWord::Linearizable,
            Some(Verdict::Violation(_)) => VerdictWord::Violation,
            Some(Verdict::Unknown(_)) | None => VerdictWord::Unknown,
        }
    }

    /// The faults that were in at that instant.
    #[must_use]
    pub fn faults_at(&self, time_ns: u64) -> Vec<&FaultSpan> {
        self.faults
            .iter()
            .filter(|span| span.is_active_at(time_ns))
            .collect()
    }

    /// The faults that went out shortly before that instant: a restart is over at once, and is felt afterwards.
    #[must_use]
    pub fn faults_before(&self, time_ns: u64) -> Vec<&FaultSpan> {
        let recent = |out: u64| out <= time_ns && time_ns - out < RECENT_NS;
        let spans = self.faults.iter();
        spans
            .filter(|span| span.out_ns.is_some_and(recent))
            .collect()
    }
}

#[cfg(test)]
mod tests;
