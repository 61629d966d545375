//! How a run ended: the verdict with its evidence, what was exercised, and the exit code that follows.

use std::path::PathBuf;

use checkers::anomaly::Anomaly;
use checkers::history::Call;
use checkers::verdict::Verdict;

use super::coverage::Counts;
use super::inspect::DefectCounts;
use super::notice::{Finding, VerdictWord};
use crate::fault::Fault;
use crate::nemesis::Remains;
use crate::scenario::Resolved;

/// A fault and when it was in, on the recorder's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpan {
    /// What.
    pub fault: Fault,
    /// From here.
    pub in_ns: u64,
    /// To here; `None`: to the end.
    pub out_ns: Option<u64>,
    /// What may be left of it since.
    pub remains: Remains,
}

/// How long a fault that is over may still be to blame: a failover and a lease.
const RECENT_NS: u64 = 3_000_000_000;

/// Everything that a report says.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What was run; absent when the run could not even begin.
    pub resolved: Resolved,
    /// How to run it again, as a command.
    pub again: String,
    /// What the history proves; absent when there is none.
    pub verdict: Option<Verdict>,
    /// What a violation is called.
    pub anomaly: Option<Anomaly>,
    /// What whoever answered the culprit of a violation was then, as far as anybody knows: see `Watch::stood_as`.
    pub answered_as: Option<&'static str>,
    /// What other oracles prove.
    pub findings: Vec<Finding>,
    /// What went wrong with the bench itself.
    pub bench_errors: Vec<String>,
    /// What the scenario promised and the run did not do.
    pub broken_promises: Vec<String>,
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
    /// Whether a violation was told while the run went on.
    pub(super) alarmed: bool,
    /// Whether somebody ended it before its time, at once.
    pub interrupted: bool,
    /// Whether somebody's hands broke, healed, held or changed something: no command repeats that.
    pub faults_by_hand: bool,
    /// Whether one had a part in what was asked of the cluster, which [`again`](Ending::again) does not repeat.
    pub load_by_hand: bool,
    /// How many events of the nodes' traces the model's rules explained; absent when they did not explain all.
    pub trace_events: Option<u64>,
    /// How long the rules took for one of them, in microseconds.
    pub trace_us: f64,
    /// What the log ids of the answers prove: `holds`, `contradiction` or `silent`; absent where nobody asked.
    pub certificate: Option<&'static str>,
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

impl Ending {
    /// A run that has not begun.
    #[must_use]
    pub(super) fn of(resolved: Resolved, again: String) -> Ending {
        Ending {
            resolved,
            again,
            verdict: None,
            anomaly: None,
            answered_as: None,
            findings: Vec::new(),
            bench_errors: Vec::new(),
            broken_promises: Vec::new(),
            counts: Counts::default(),
            faults: Vec::new(),
            beliefs: Vec::new(),
            seconds: 0.0,
            alarm_seconds: None,
            alarmed: false,
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

    /// The faults outside of the fault model that may be to blame for what was found: those that were in before it. No
    /// quorum protocol need survive them, so what is found after them accuses nobody.
    ///
    /// However long ago: what a disk has lost or a bit has changed may show when its node leads next, or never, and the
    /// bench cannot tell which acknowledged entry it was. Only of a lie that was made true while the same process went on
    /// it is certain that nothing is left. Nothing was lost then, neither while the disk lied nor later, so that it
    /// excuses nothing; one that a process died under excuses what is found to the end of the run.
    #[must_use]
    pub fn outside_the_model(&self) -> Vec<&FaultSpan> {
        let culprit = match &self.verdict {
            Some(Verdict::Violation(found)) if self.findings.is_empty() => found.culprit(),
            _ => None,
        };
        let until = culprit.map_or(u64::MAX, |op| op.completed_ns.unwrap_or(op.invoked_ns));
        let spans = self.faults.iter();
        spans
            .filter(|span| {
                let outside = !span.fault.is_inside_the_model()
                    && span.in_ns <= until
                    && span.remains == Remains::Perhaps;
                outside || self.may_have_broken_a_lease(span)
            })
            .collect()
    }

    /// Whether this fault's clock may have made the culprit a stale read, and legally so: leases trust clocks (Raft,
    /// section 6.4), nothing else does, and a clock that has run right for a while breaks none. A stale read that shows
    /// in its log id only, which says of no instant when that was, is the certificate's finding.
    fn may_have_broken_a_lease(&self, span: &FaultSpan) -> bool {
        let trusted = self.resolved.scenario.reads() == "lease";
        if !trusted || !matches!(span.fault, Fault::Clock { .. }) {
            return false;
        }
        let mut findings = self.findings.iter();
        if findings.any(|finding| finding.oracle != "certificate") {
            return false;
        }
        let Some(Verdict::Violation(found)) = &self.verdict else {
            return !self.findings.is_empty();
        };
        let read = found.culprit().filter(|op| op.call == Call::Read);
        read.is_some_and(|read| {
            let at = read.completed_ns.unwrap_or(read.invoked_ns);
            let gone = span.out_ns.map_or(0, |out| at.saturating_sub(out));
            span.in_ns <= at && gone < RECENT_NS
        })
    }

    /// The exit code of DESIGN's table.
    #[must_use]
    pub fn exit(&self) -> u8 {
        let violation = matches!(self.verdict, Some(Verdict::Violation(_)));
        if violation || !self.findings.is_empty() {
            1
        } else if !self.bench_errors.is_empty() {
            70
        } else if self.interrupted {
            // Also before the first operation has ended: that somebody stops it is no failure of ours.
            130
        } else if self.verdict.is_none() {
            70
        } else if matches!(self.verdict, Some(Verdict::Unknown(_))) {
            2
        } else if self.broken_promises.is_empty() {
            0
        } else {
            3
        }
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
            .filter(|span| span.in_ns <= time_ns && span.out_ns.is_none_or(|out| time_ns < out))
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
    use checkers::history::{Operation, Outcome};
    use checkers::verdict::{Counterexample, Exhausted, Reason};

    use super::*;
    use crate::fault::DiskHarm;
    use crate::run::after::finding;
    use crate::scenario::{Changes, Scenario};

    fn ending(verdict: Option<Verdict>) -> Ending {
        let scenario = Scenario::find("calm").unwrap();
        let resolved = scenario.resolve(&Changes::default(), 1, None).unwrap();
        Ending {
            verdict,
            ..Ending::of(resolved, String::new())
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
            Ending {
                broken_promises: vec!["no election".into()],
                ..holds()
            }
            .exit(),
            3
        );
        assert_eq!(
            Ending {
                interrupted: true,
                ..holds()
            }
            .exit(),
            130
        );
        assert_eq!(
            Ending {
                bench_errors: vec!["disk full".into()],
                ..holds()
            }
            .exit(),
            70
        );
        assert_eq!(ending(None).exit(), 70);
        assert_eq!(
            Ending {
                interrupted: true,
                ..ending(None)
            }
            .exit(),
            130
        );
        let found = Ending {
            findings: vec![finding("exit", "n1".into())],
            interrupted: true,
            ..holds()
        };
        assert_eq!(found.exit(), 1);
        assert_eq!(
            Ending {
                bench_errors: vec!["disk full".into()],
                ..found
            }
            .exit(),
            1
        );
    }

    /// A run with this fault in from 5 to 6 ns, whose culprit was answered at `at`.
    fn violated(fault: Fault, call: Call, at: u64, reads: &str) -> Ending {
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
        found.findings = vec![finding("state-hash", "they differ".into())];
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
        let labelled = |oracles: &[&str], reads: &str, rate_percent| {
            let fault = match rate_percent {
                100 => Fault::Kill { who: 1 },
                rate_percent => clock(rate_percent),
            };
            let oracles = oracles.iter();
            let ending = Ending {
                verdict: Some(Verdict::Linearizable),
                findings: oracles.map(|o| finding(o, String::new())).collect(),
                ..violated(fault, Call::Read, 9, reads)
            };
            assert_eq!(ending.exit(), 1);
            ending.summary().contains("outside of the model")
        };
        assert!(labelled(&["certificate"], "lease", 50));
        assert!(!labelled(&["certificate"], "read-index", 50));
        assert!(!labelled(&["certificate"], "lease", 100));
        assert!(!labelled(&["certificate", "state-hash"], "lease", 50));
        let mut also = Ending {
            findings: vec![finding("certificate", String::new())],
            ..violated(clock(50), Call::Read, 9, "lease")
        };
        assert!(also.summary().contains("outside of the model"));
        also.findings.push(finding("state-hash", String::new()));
        assert!(!also.summary().contains("outside of the model"));
    }

    #[test]
    fn a_fault_that_went_out_within_three_seconds_is_recent() {
        let span = |in_ns, out_ns| FaultSpan {
            fault: Fault::Kill { who: 1 },
            in_ns,
            out_ns,
            remains: Remains::Perhaps,
        };
        let ending = Ending {
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
            fault,
            in_ns: 5,
            out_ns: Some(6),
            remains: Remains::Perhaps,
        };
        let found = |faults| Ending {
            findings: vec![finding("state-hash", "they differ".into())],
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
        let held = Ending {
            findings: Vec::new(),
            ..wiped
        };
        assert!(!held.summary().contains("outside"), "{}", held.summary());
    }

    #[test]
    fn a_fault_is_active_from_its_mark_in_to_its_mark_out() {
        let span = |in_ns, out_ns| FaultSpan {
            fault: Fault::Kill { who: 1 },
            in_ns,
            out_ns,
            remains: Remains::Perhaps,
        };
        let ending = Ending {
            faults: vec![span(5, Some(10)), span(8, None)],
            ..ending(None)
        };
        let active = |at| ending.faults_at(at).len();
        assert_eq!([active(4), active(5), active(9), active(10)], [0, 1, 2, 1]);
    }
}
