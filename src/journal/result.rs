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
use crate::scenario::Resolved;

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
}

impl ResultFold {
    /// Of a run of this scenario, of which nothing has happened yet.
    #[must_use]
    pub fn of(resolved: Resolved) -> ResultFold {
        ResultFold {
            coverage: Coverage::of(resolved.scenario.clients),
            result: RunResult::of(resolved, String::new()),
            beliefs: Beliefs::default(),
            faults: BTreeMap::new(),
            running_since_ns: None,
            alarmed: false,
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
            Event::FaultIn { id, fault, by } => {
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
            let answered = found.culprit();
            let at = answered.map_or(0, |op| op.completed_ns.unwrap_or(op.invoked_ns));
            self.result.beliefs = self.beliefs.at(at);
            self.result.answered_as = self.beliefs.stood_as(found);
        }
        // Where the cluster never came up nothing happened, and an empty history proves nothing.
        let proven = counts.operations() > 0;
        if proven && verdict.holds() && !self.result.interrupted {
            let goals = &self.result.resolved.scenario.promises;
            self.result.unmet_goals = counts.unmet_goals(goals);
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
                format!("✓ LINEARIZABLE · {total} operations, {:.1} s", self.seconds)
            }
            Some(Verdict::Violation(found)) => {
                format!("✗ NOT LINEARIZABLE · {} at #{}", found.key, found.culprit)
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
        if self.exit() == 1 && !self.outside_the_model().is_empty() {
            text += " · after a fault outside of the model";
        }
        if self.exit() == 3 {
            text += " · vacuous";
        }
        if self.interrupted {
            text += " · interrupted";
        }
        text
    }

    /// The faults outside of the fault model that may be to blame for what was found: see
    /// [`blame::outside_the_model`].
    #[must_use]
    pub fn outside_the_model(&self) -> Vec<&FaultSpan> {
        blame::outside_the_model(&blame::Found {
            verdict: self.verdict.as_ref(),
            findings: &self.findings,
            faults: &self.faults,
            reads: self.resolved.scenario.reads(),
        })
    }

    /// The exit code: see [`Exit::of`].
    #[must_use]
    pub fn exit(&self) -> u8 {
        let verdict = self.verdict.as_ref();
        let found = matches!(verdict, Some(Verdict::Violation(_))) || !self.findings.is_empty();
        let ended = Ended {
            found,
            failed: !self.bench_errors.is_empty(),
            interrupted: self.interrupted,
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
mod tests {
    use checkers::history::{Call, Operation, Outcome};
    use checkers::verdict::{Counterexample, Exhausted, Reason};

    use super::*;
    use crate::fault::{By, DiskHarm, Fault, Remains};
    use crate::oracle::Oracle;
    use crate::oracle::tests::some;
    use crate::scenario::{Changes, Scenario};

    fn ending(verdict: Option<Verdict>) -> RunResult {
        let scenario = Scenario::find("calm").unwrap();
        let resolved = scenario.resolve(&Changes::default(), 1, None).unwrap();
        RunResult {
            verdict,
            ..RunResult::of(resolved, String::new())
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let holds = || ending(Some(Verdict::Linearizable));
        let reason = Reason {
            exhausted: Exhausted::Configurations { budget: 1 },
            key: "k".into(),
            proven_to: None,
            blocking: vec![],
        };
        assert_eq!(holds().exit(), 0);
        assert_eq!(ending(Some(Verdict::Unknown(reason))).exit(), 2);
        assert_eq!(
            RunResult {
                unmet_goals: vec!["no election".into()],
                ..holds()
            }
            .exit(),
            3
        );
        assert_eq!(
            RunResult {
                interrupted: true,
                ..holds()
            }
            .exit(),
            130
        );
        assert_eq!(
            RunResult {
                bench_errors: vec!["disk full".into()],
                ..holds()
            }
            .exit(),
            70
        );
        assert_eq!(ending(None).exit(), 70);
        assert_eq!(
            RunResult {
                interrupted: true,
                ..ending(None)
            }
            .exit(),
            130
        );
        let found = RunResult {
            findings: vec![some(Oracle::Exit)],
            interrupted: true,
            ..holds()
        };
        assert_eq!(found.exit(), 1);
        assert_eq!(
            RunResult {
                bench_errors: vec!["disk full".into()],
                ..found
            }
            .exit(),
            1
        );
    }

    /// A run with this fault in from 5 to 6 ns, whose culprit was answered at `at`.
    fn violated(fault: Fault, call: Call, at: u64, reads: &str) -> RunResult {
        let culprit = Operation {
            id: 1,
            client: 1,
            key: "k".into(),
            call,
            outcome: Outcome::Ok(None),
            invoked: 1,
            completed: Some(2),
            invoked_ns: at,
            completed_ns: Some(at),
            node: None,
            at: None,
            error: None,
        };
        let found = Counterexample {
            key: "k".into(),
            operations: vec![culprit],
            order: vec![],
            culprit: 1,
            why: vec![],
            event: 2,
            at_the_latest: false,
            unshrunk: false,
            staleness: None,
        };
        let mut ending = ending(Some(Verdict::Violation(Box::new(found))));
        ending.resolved.scenario.reads = Some(reads.to_owned());
        ending.faults = vec![FaultSpan {
            id: 1,
            by: By::Plan,
            fault,
            in_ns: 5,
            out_ns: Some(6),
            remains: Remains::Perhaps,
        }];
        ending
    }

    #[test]
    fn a_violation_after_a_disk_has_lied_says_so_and_one_before_it_does_not() {
        let disk = |harm, at| {
            let fault = Fault::Disk {
                who: 1,
                harm,
                ms: 0,
            };
            let ending = violated(fault, Call::Delete, at, "read-index");
            assert_eq!(ending.exit(), 1);
            ending.summary().contains("outside of the model")
        };
        assert!(disk(DiskHarm::LyingSync, u64::MAX));
        assert!(!disk(DiskHarm::LyingSync, 4));
        assert!(!disk(DiskHarm::SyncFails, u64::MAX));
    }

    #[test]
    fn a_lie_that_was_made_true_excuses_nothing_and_one_that_somebody_died_under_does_for_ever() {
        let disk = |remains, at| {
            let fault = Fault::Disk {
                who: 1,
                harm: DiskHarm::LyingSync,
                ms: 0,
            };
            let mut ending = violated(fault, Call::Delete, at, "read-index");
            ending.faults[0].remains = remains;
            ending.outside_the_model().len()
        };
        // While it was in, just after, and much later.
        for at in [5, 7, u64::MAX] {
            assert_eq!(disk(Remains::Nothing, at), 0, "{at}");
            assert_eq!(disk(Remains::Perhaps, at), 1, "{at}");
        }
        let mut found = violated(Fault::Wipe { who: 2 }, Call::Delete, 9, "read-index");
        found.findings = vec![some(Oracle::StateHash)];
        assert_eq!(found.outside_the_model().len(), 1);
    }

    #[test]
    fn a_wrong_clock_excuses_a_stale_read_of_a_trusted_lease_and_nothing_else() {
        let clock = |call, at, reads| {
            let fault = Fault::Clock {
                who: 1,
                rate_percent: 50,
                step_ms: 0,
            };
            !violated(fault, call, at, reads)
                .outside_the_model()
                .is_empty()
        };
        assert!(clock(Call::Read, 9, "lease"));
        assert!(!clock(Call::Delete, 9, "lease"));
        assert!(!clock(Call::Read, 9, "read-index"));
        assert!(!clock(Call::Read, 4, "lease"));
        assert!(!clock(Call::Read, 6 + RECENT_NS, "lease"));
    }

    #[test]
    fn what_the_certificate_alone_finds_under_a_trusted_lease_and_a_wrong_clock_is_labelled() {
        let clock = |rate_percent| Fault::Clock {
            who: 1,
            rate_percent,
            step_ms: 0,
        };
        let labelled = |oracles: &[Oracle], reads: &str, rate_percent| {
            let fault = match rate_percent {
                100 => Fault::Kill { who: 1 },
                rate_percent => clock(rate_percent),
            };
            let oracles = oracles.iter();
            let ending = RunResult {
                verdict: Some(Verdict::Linearizable),
                findings: oracles.map(|&oracle| some(oracle)).collect(),
                ..violated(fault, Call::Read, 9, reads)
            };
            assert_eq!(ending.exit(), 1);
            ending.summary().contains("outside of the model")
        };
        assert!(labelled(&[Oracle::Certificate], "lease", 50));
        assert!(!labelled(&[Oracle::Certificate], "read-index", 50));
        assert!(!labelled(&[Oracle::Certificate], "lease", 100));
        assert!(!labelled(
            &[Oracle::Certificate, Oracle::StateHash],
            "lease",
            50
        ));
        let mut also = RunResult {
            findings: vec![some(Oracle::Certificate)],
            ..violated(clock(50), Call::Read, 9, "lease")
        };
        assert!(also.summary().contains("outside of the model"));
        also.findings.push(some(Oracle::StateHash));
        assert!(!also.summary().contains("outside of the model"));
    }

    #[test]
    fn a_fault_that_went_out_within_three_seconds_is_recent() {
        let span = |in_ns, out_ns| FaultSpan {
            id: 1,
            by: By::Plan,
            fault: Fault::Kill { who: 1 },
            in_ns,
            out_ns,
            remains: Remains::Perhaps,
        };
        let ending = RunResult {
            faults: vec![span(5, Some(10)), span(8, None)],
            ..ending(None)
        };
        let recent = |at| ending.faults_before(at).len();
        assert_eq!(
            [
                recent(9),
                recent(10),
                recent(RECENT_NS + 9),
                recent(RECENT_NS + 10)
            ],
            [0, 1, 1, 0]
        );
    }

    #[test]
    fn what_is_found_after_a_fault_outside_of_the_model_says_so() {
        let span = |fault| FaultSpan {
            id: 1,
            by: By::Plan,
            fault,
            in_ns: 5,
            out_ns: Some(6),
            remains: Remains::Perhaps,
        };
        let found = |faults| RunResult {
            findings: vec![some(Oracle::StateHash)],
            faults,
            ..ending(Some(Verdict::Linearizable))
        };
        let wiped = found(vec![span(Fault::Wipe { who: 2 })]);
        assert_eq!(wiped.exit(), 1);
        assert!(
            wiped.summary().contains("outside of the model"),
            "{}",
            wiped.summary()
        );
        let killed = found(vec![span(Fault::Kill { who: 2 })]);
        assert!(
            !killed.summary().contains("outside"),
            "{}",
            killed.summary()
        );
        // Where nothing was found there is nothing to excuse.
        let held = RunResult {
            findings: Vec::new(),
            ..wiped
        };
        assert!(!held.summary().contains("outside"), "{}", held.summary());
    }

    #[test]
    fn a_fault_is_active_from_its_mark_in_to_its_mark_out() {
        let span = |in_ns, out_ns| FaultSpan {
            id: 1,
            by: By::Plan,
            fault: Fault::Kill { who: 1 },
            in_ns,
            out_ns,
            remains: Remains::Perhaps,
        };
        let ending = RunResult {
            faults: vec![span(5, Some(10)), span(8, None)],
            ..ending(None)
        };
        let active = |at| ending.faults_at(at).len();
        assert_eq!([active(4), active(5), active(9), active(10)], [0, 1, 2, 1]);
    }
}
