//! What a result says of itself: exit code, blame, and the faults around an instant.

use checkers::history::{Call, EventKind, Operation, Outcome};
use checkers::verdict::{Counterexample, Exhausted, Reason};

use super::*;
use crate::fault::{By, DiskHarm, Fault, Kind, Remains};
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

/// A counterexample whose culprit was answered at `at`.
fn counterexample(call: Call, at: u64) -> Counterexample {
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
    Counterexample {
        key: "k".into(),
        operations: vec![culprit],
        order: vec![],
        culprit: 1,
        why: vec![],
        event: 2,
        at_the_latest: false,
        unshrunk: false,
        typed: None,
        staleness: None,
    }
}

/// A run with this fault in from 5 to 6 ns, whose culprit was answered at `at`.
fn violated(fault: Fault, call: Call, at: u64, reads: &str) -> RunResult {
    let found = Box::new(counterexample(call, at));
    let mut ending = ending(Some(Verdict::Violation(found)));
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
        ending.summary().contains("outside of what is promised")
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
        ending.unpromised().len()
    };
    // While it was in, just after, and much later.
    for at in [5, 7, u64::MAX] {
        assert_eq!(disk(Remains::Nothing, at), 0, "{at}");
        assert_eq!(disk(Remains::Perhaps, at), 1, "{at}");
    }
    let mut found = violated(Fault::Wipe { who: 2 }, Call::Delete, 9, "read-index");
    found.findings = vec![some(Oracle::StateHash)];
    assert_eq!(found.unpromised().len(), 1);
}

#[test]
fn a_wrong_clock_excuses_a_stale_read_of_a_trusted_lease_and_nothing_else() {
    let clock = |call, at, reads| {
        let fault = Fault::Clock {
            who: 1,
            rate_percent: 50,
            step_ms: 0,
        };
        !violated(fault, call, at, reads).unpromised().is_empty()
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
        ending.summary().contains("outside of what is promised")
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
    assert!(also.summary().contains("outside of what is promised"));
    also.findings.push(some(Oracle::StateHash));
    assert!(!also.summary().contains("outside of what is promised"));
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
        wiped.summary().contains("outside of what is promised"),
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
fn what_is_found_after_a_fault_that_a_mode_does_not_promise_to_survive_says_so() {
    let said = |promises: Option<&[Kind]>, at| {
        let mut ending = violated(Fault::Kill { who: 1 }, Call::Delete, at, "read-index");
        ending.resolved.tested = Some(Tested {
            promises: promises.map(<[Kind]>::to_vec),
            ..tested(&[])
        });
        assert_eq!(ending.exit(), 1, "it is a violation all the same");
        ending.summary().contains("outside of what is promised")
    };
    assert!(said(Some(&[Kind::Pause]), 9));
    assert!(!said(Some(&[Kind::Pause]), 4), "it was not in yet");
    assert!(!said(Some(&[Kind::Pause, Kind::Kill]), 9));
    assert!(!said(None, 9), "all that is within the fault model");
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

#[test]
fn a_weak_mode_that_shows_nothing_has_exercised_nothing() {
    let mut resolved = ending(None).resolved;
    resolved.tested = Some(tested(&[Anomaly::StaleRead, Anomaly::LostWrite]));
    resolved.scenario.promises = Default::default();
    let mut fold = ResultFold::of(resolved);
    let mut take = |event| fold.take(&Entry { time_ns: 1, event });
    let event = |index, kind| {
        Event::History(checkers::history::Event {
            index,
            time_ns: index,
            client: Some(1),
            node: None,
            kind,
        })
    };
    take(event(
        0,
        EventKind::Invoke {
            key: "k".into(),
            call: Call::Read,
        },
    ));
    let outcome = Outcome::Ok(None);
    take(event(
        1,
        EventKind::Complete {
            outcome,
            at: None,
            error: None,
        },
    ));
    take(Event::Judged {
        verdict: Verdict::Linearizable,
        anomaly: None,
        certificate: None,
    });
    let held = fold.result();
    assert_eq!(held.exit(), 3);
    let words = "store in mode weak is documented to show stale-read or lost-write, and did not";
    assert_eq!(held.unmet_goals, [words]);
}

/// A mode of somebody's system that is documented to show these.
fn tested(expect: &[Anomaly]) -> Tested {
    Tested {
        target: "store".into(),
        mode: "weak".into(),
        version: None,
        program: "store".into(),
        named: false,
        expect: expect.to_vec(),
        promises: None,
        spec: None,
        description: String::new(),
    }
}

#[test]
fn a_weak_mode_that_shows_what_is_documented_exits_0_and_with_anything_else_1() {
    let shows = |anomaly| {
        let mut result = RunResult {
            anomaly: Some(anomaly),
            ..ending(Some(Verdict::Violation(Box::new(counterexample(
                Call::Read,
                1,
            )))))
        };
        result.resolved.tested = Some(tested(&[Anomaly::StaleRead]));
        result
    };
    let documented = shows(Anomaly::StaleRead);
    assert_eq!(documented.exit(), 0);
    assert_eq!(documented.word(), VerdictWord::Violation);
    assert!(
        documented.summary().contains("AS DOCUMENTED"),
        "{}",
        documented.summary()
    );
    let interrupted = RunResult {
        interrupted: true,
        ..documented.clone()
    };
    assert_eq!(interrupted.exit(), 0, "it was shown before");
    let failed = RunResult {
        bench_errors: vec!["disk full".into()],
        ..documented.clone()
    };
    assert_eq!(failed.exit(), 70);
    let beside = RunResult {
        findings: vec![some(Oracle::Exit)],
        ..documented
    };
    assert_eq!(beside.exit(), 1, "nobody has documented an exit");
    let other = shows(Anomaly::LostWrite);
    assert_eq!(other.exit(), 1);
    assert!(other.summary().starts_with("✗ NOT LINEARIZABLE"));
    let mut strong = shows(Anomaly::StaleRead);
    strong.resolved.tested = Some(tested(&[]));
    assert_eq!(strong.exit(), 1, "it promises to hold");
    let mut unnamed = shows(Anomaly::StaleRead);
    unnamed.anomaly = None;
    assert_eq!(unnamed.exit(), 1);
}
