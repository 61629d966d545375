//! One random history through every algorithm that applies, and through the definition.

use checkers::history::{Builder, Call, Event, Header, History, LIST_APPEND, Operation, Outcome};
use checkers::linear::certificate::{Certificate, certificate};
use checkers::linear::explanation::explanation;
use checkers::linear::strict;
use checkers::linear::weaker::{Session, weaker};
use checkers::linear::{Judgement, Options, check, judge_key, online::Online};
use checkers::verdict::{Algorithm, Verdict};

use super::{oracle, random};

/// What the definition says of the first events of a history.
fn by_definition(history: &History, last_event: u64) -> bool {
    let operations: Vec<Operation> = history
        .operations()
        .filter(|op| op.invoked <= last_event)
        .map(|mut op| {
            if op.completed.is_none_or(|completed| completed > last_event) {
                op.outcome = Outcome::Unknown;
            }
            op
        })
        .collect();
    oracle::linearizable(&operations)
}

fn history_of(events: &[Event]) -> History {
    History::from_events(Header::default(), events).expect("random events are well formed")
}

/// Checks the history of `seed`; gives whether it is a violation.
///
/// # Panics
/// On any disagreement, with the seed and the events.
pub(crate) fn check_one(seed: u64, most_ops: usize) -> bool {
    let events = random::history(seed, most_ops);
    let history = history_of(&events);
    let last = events.len() as u64 - 1;
    let expected = by_definition(&history, last);

    for algorithm in [
        None,
        Some(Algorithm::Zones),
        Some(Algorithm::Frontier),
        Some(Algorithm::DepthFirst),
    ] {
        let options = Options {
            algorithm,
            ..Options::default()
        };
        let judged = judge_key(&history.keys[0], &options);
        let holds = judged.judgement == Judgement::Holds;
        assert_eq!(
            holds, expected,
            "seed {seed}, {algorithm:?}: {judged:?}\n{events:#?}"
        );
    }
    let report = check(&history, &Options::default());
    let (alarm, finished) = alarm_of(&events);
    // What a failed cas found is all that a growing history can be judged by: else it may not be decided.
    let silent = !history.keys[0].compared.is_empty();
    assert!(
        silent || finished != "unknown",
        "seed {seed}: undecided {events:#?}"
    );
    match report.verdict {
        Verdict::Linearizable => {
            assert!(expected, "seed {seed}");
            assert_eq!(alarm, None, "seed {seed}: online against offline");
        }
        Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
        Verdict::Violation(found) => {
            assert!(!expected, "seed {seed}");
            assert!(
                !by_definition(&history, found.event),
                "seed {seed}: not yet at {}",
                found.event
            );
            assert!(
                found.event == 0 || by_definition(&history, found.event - 1),
                "seed {seed}: earlier than {}",
                found.event
            );
            assert!(
                !oracle::linearizable(&found.operations),
                "seed {seed}: no evidence {found:?}"
            );
            assert!(!found.at_the_latest && !found.unshrunk, "seed {seed}");
            assert_ne!(finished, "linearizable", "seed {seed}: {events:#?}");
            if silent {
                let late = alarm.is_none_or(|alarm| alarm >= found.event);
                assert!(late, "seed {seed}: online before it was so");
            } else {
                assert_eq!(
                    alarm,
                    Some(found.event),
                    "seed {seed}: online against offline"
                );
            }
        }
    }
    !expected
}

/// Checks the list history of `seed`; gives whether it is a violation.
///
/// # Panics
/// On any disagreement, with the seed and the events.
pub(crate) fn check_list(seed: u64, most_ops: usize) -> bool {
    let (events, names) = random::list(seed, most_ops);
    let mut builder = Builder::new(Header {
        spec: LIST_APPEND.to_owned(),
        ..Header::default()
    });
    builder.names().clone_from(&names);
    for event in &events {
        builder.event(event).expect("random events are well formed");
    }
    let history = builder.finish();
    let operations: Vec<Operation> = history.operations().collect();
    let expected = oracle::linearizable_list(&operations, &names);
    match check(&history, &Options::default()).verdict {
        Verdict::Linearizable => assert!(expected, "seed {seed}: {events:#?}"),
        Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
        Verdict::Violation(found) => {
            assert!(!expected, "seed {seed}: {found:#?}");
            assert!(
                !oracle::linearizable_list(&found.operations, &names),
                "seed {seed}: no evidence {found:#?}"
            );
        }
    }
    !expected
}

/// Checks the certificate of the history of `seed`: one with true log ids holds, one that holds has an order, and its
/// witness is one. Gives whether it holds.
///
/// # Panics
/// On any disagreement, with the seed and the events.
pub(crate) fn check_certificate(seed: u64, most_ops: usize) -> bool {
    let honest = seed.is_multiple_of(2);
    let events = if honest {
        random::honest(seed, most_ops)
    } else {
        random::history(seed, most_ops)
    };
    let history = history_of(&events);
    let found = certificate(&history);
    let operations: Vec<Operation> = history.operations().collect();
    if let Certificate::Holds { witness } = &found
        && let Err(why) = oracle::explains(witness, &operations)
    {
        panic!("seed {seed}: {why}: {witness:?}\n{events:#?}");
    }
    let contradicted = matches!(found, Certificate::Contradiction(_));
    assert!(
        !(honest && contradicted),
        "seed {seed}: {found:?}\n{events:#?}"
    );
    matches!(found, Certificate::Holds { .. })
}

/// Explains the history of `seed`: the witness is an order of all, the legal answers are legal, and the weaker promises
/// are kept or broken as their definitions say. Gives whether something weaker was told apart.
///
/// # Panics
/// On any disagreement, with the seed and the events.
pub(crate) fn check_explanation(seed: u64, most_ops: usize) -> bool {
    let events = random::history(seed, most_ops);
    let history = history_of(&events);
    let operations: Vec<Operation> = history.operations().collect();
    let report = check(&history, &Options::default());
    let explained = explanation(&history, &report, &Options::default());
    for order in &explained.witness {
        let order = order.order.as_ref().expect("a small history has a witness");
        if let Err(why) = oracle::explains(order, &operations) {
            panic!("seed {seed}: {why}: {order:?}\n{events:#?}");
        }
    }
    if let (Some(failure), Verdict::Violation(found)) = (&explained.failure, &report.verdict) {
        let mut until: Vec<Operation> = operations.clone();
        let culprit = found.culprit().expect("the culprit is shown");
        let end = culprit.completed.expect("it has ended");
        until.retain(|op| op.invoked <= end);
        for op in &mut until {
            if op.completed.is_none_or(|completed| completed > end) {
                op.outcome = Outcome::Unknown;
            }
        }
        for legal in &failure.legal {
            let at = until.iter().position(|op| op.id == culprit.id).unwrap();
            until[at].outcome = Outcome::Ok(*legal);
            assert!(
                oracle::linearizable(&until),
                "seed {seed}: {legal:?} is not legal"
            );
        }
        if let Some((before, after)) = failure.edge {
            let but_one = |a: &Operation, b: &Operation| {
                (a.id, b.id) != (before, after) && oracle::in_real_time(a, b)
            };
            let step = &oracle::register;
            assert!(
                oracle::some_order(&found.operations, None, step, &but_one),
                "seed {seed}: #{before} before #{after} is not the edge"
            );
        }
    }
    let strictly = strict::judge(&history, &history.keys[0], &Options::default());
    assert_eq!(
        strictly == Judgement::Holds,
        oracle::linearizable_strictly(&operations),
        "seed {seed}: failed cas at their word: {events:#?}"
    );
    if report.verdict.holds() {
        match strict::check(&history, &Options::default()) {
            Verdict::Linearizable => assert_eq!(strictly, Judgement::Holds, "seed {seed}"),
            Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
            Verdict::Violation(found) => {
                assert_eq!(strictly, Judgement::Fails, "seed {seed}");
                assert!(
                    !oracle::linearizable_strictly(&found.operations),
                    "seed {seed}: no evidence {found:?}"
                );
            }
        }
    }
    let told = weaker(&history, &history.keys[0]);
    if let Some(sequential) = told.sequential {
        assert_eq!(
            sequential,
            oracle::sequentially_consistent(&operations),
            "seed {seed}: {events:#?}"
        );
    }
    let deletes = operations.iter().any(|op| op.call == Call::Delete);
    for (told, newer_is_read) in [(told.monotonic_reads, true), (told.read_your_writes, false)] {
        if deletes {
            continue;
        }
        let broken = match told {
            Session::NotTold => continue,
            Session::Kept => false,
            Session::Broken { .. } => true,
        };
        assert_eq!(
            broken,
            oracle::goes_back(&operations, newer_is_read),
            "seed {seed}, reads {newer_is_read}: {told:?} {events:#?}"
        );
    }
    told.sequential.is_some() && told.sequential != Some(report.verdict.holds())
}

/// The event with which the online checker raises its alarm, and its verdict; its proof must stand by itself.
fn alarm_of(events: &[Event]) -> (Option<u64>, &'static str) {
    let mut online = Online::new(Options::default());
    let mut alarm = None;
    for event in events {
        if let Some(found) = online.push(event) {
            assert!(alarm.is_none(), "one alarm is enough");
            assert!(
                !oracle::linearizable(&found.operations),
                "no evidence: {found:?}"
            );
            assert_eq!(
                found.event, event.index,
                "the alarm names the event that was pushed: {events:#?}"
            );
            alarm = Some(found.event);
        }
    }
    let finished = online.finish();
    assert_eq!(
        matches!(finished, Verdict::Violation(_)),
        alarm.is_some(),
        "{finished:?}"
    );
    (alarm, finished.name())
}

/// Checks a longer history of `seed`, where the online checker forgets, and the definition can't be asked: all
/// algorithms and the online checker against each other. Gives whether it is a violation.
///
/// # Panics
/// On any disagreement, with the seed.
pub(crate) fn check_long(seed: u64) -> bool {
    let events = random::long(seed);
    let history = history_of(&events);
    let report = check(&history, &Options::default());
    for algorithm in [Algorithm::Frontier, Algorithm::DepthFirst] {
        let options = Options {
            algorithm: Some(algorithm),
            budget: 2_000_000,
            ..Options::default()
        };
        let judged = judge_key(&history.keys[0], &options);
        let holds = match judged.judgement {
            Judgement::Holds => true,
            Judgement::Fails => false,
            // Depth first may give up where the others don't.
            Judgement::Unknown { .. } => continue,
        };
        assert_eq!(holds, report.verdict.holds(), "seed {seed}: {judged:?}");
    }
    let event = match &report.verdict {
        Verdict::Violation(found) => Some(found.event),
        Verdict::Linearizable => None,
        Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
    };
    if history.keys[0].compared.is_empty() {
        assert_eq!(
            alarm_somewhere(&events),
            event,
            "seed {seed}: online against offline"
        );
    }
    event.is_some()
}

/// The event that the online checker names, whenever it does.
fn alarm_somewhere(events: &[Event]) -> Option<u64> {
    let mut online = Online::new(Options::default());
    for event in events {
        if let Some(found) = online.push(event) {
            return Some(found.event);
        }
    }
    match online.finish() {
        Verdict::Violation(found) => Some(found.event),
        Verdict::Linearizable => None,
        Verdict::Unknown(reason) => panic!("{reason}"),
    }
}
