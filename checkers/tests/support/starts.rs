//! Random small histories of keys that did not begin absent, through every algorithm and through the definition.

use checkers::history::{
    Builder, Event, EventKind, Header, History, Initial, LIST_APPEND, Names, Operation, Outcome,
};
use checkers::linear::explanation::explanation;
use checkers::linear::{Judgement, Options, check, judge_key, online::Online, strict};
use checkers::verdict::{Algorithm, Verdict};
use serde_json::json;

use super::{oracle, random};

/// The value that nobody finds.
const NOBODYS: i64 = 1_000;

/// What a seed says of the start: one that explains what was found, another one, or that nobody knows.
fn start_of(seed: u64, true_start: Option<i64>) -> Initial {
    let told = |value: Option<i64>| value.map_or(Initial::Absent, Initial::Value);
    match seed % 4 {
        0 => Initial::Value((seed / 4 % 3) as i64),
        1 => told(true_start),
        _ => Initial::Any,
    }
}

fn header(start: Initial) -> Header {
    Header {
        initial: match start {
            Initial::Absent => None,
            Initial::Value(value) => Some(json!(value)),
            Initial::Any => Some(json!("any")),
        },
        ..Header::default()
    }
}

/// Whether any order explains operations, from the start that is known or from one that may have been.
fn by_definition(start: Initial, operations: &[Operation], strictly: bool) -> bool {
    let from = |start| match strictly {
        true => oracle::linearizable_strictly_from(start, operations),
        false => oracle::linearizable_from(start, operations),
    };
    match start {
        Initial::Absent => from(None),
        Initial::Value(value) => from(Some(value)),
        Initial::Any => {
            // No value of a random history lies outside of these.
            let mut values = (0..40).chain([NOBODYS]);
            from(None) || values.any(|value| from(Some(value)))
        }
    }
}

/// The operations as they stood right after an event.
fn until(history: &History, last_event: u64) -> Vec<Operation> {
    let begun = history
        .operations()
        .filter(|op| op.invoked <= last_event)
        .map(|mut op| {
            if op.completed.is_none_or(|completed| completed > last_event) {
                op.outcome = Outcome::Unknown;
            }
            op
        });
    begun.collect()
}

/// Checks the register history of `seed`; gives whether it is a violation.
///
/// # Panics
/// On any disagreement, with the seed and the events.
pub(crate) fn check_started(seed: u64, most_ops: usize) -> bool {
    let (events, true_start) = random::started(seed, most_ops);
    let start = start_of(seed, true_start);
    let history = History::from_events(header(start), &events).expect("well formed");
    let operations: Vec<Operation> = history.operations().collect();
    let expected = by_definition(start, &operations, false);
    for algorithm in [None, Some(Algorithm::Frontier), Some(Algorithm::DepthFirst)] {
        let options = Options {
            algorithm,
            ..Options::default()
        };
        let judged = judge_key(&history.keys[0], &options);
        assert_eq!(
            judged.judgement == Judgement::Holds,
            expected,
            "seed {seed}, {start:?}, {algorithm:?}: {judged:?}\n{events:#?}"
        );
    }
    let report = check(&history, &Options::default());
    let found = match &report.verdict {
        Verdict::Linearizable => None,
        Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
        Verdict::Violation(found) => Some(found),
    };
    assert_eq!(found.is_none(), expected, "seed {seed}");
    if let Some(found) = found {
        let at = |event: u64| by_definition(start, &until(&history, event), false);
        let said = format!("seed {seed}, {start:?}: {found:#?}\n{events:#?}");
        assert!(!at(found.event), "not yet: {said}");
        assert!(found.event == 0 || at(found.event - 1), "earlier: {said}");
        let proof = by_definition(start, &found.operations, false);
        assert!(!proof, "no evidence: {said}");
    }
    let strictly = strict::judge(&history, &history.keys[0], &Options::default());
    assert_eq!(
        strictly == Judgement::Holds,
        by_definition(start, &operations, true),
        "seed {seed}, {start:?}: failed cas at their word: {events:#?}"
    );
    check_witness(seed, start, &history, &operations);
    check_online(
        seed,
        start,
        &events,
        found.map(|found| found.event),
        &history,
    );
    !expected
}

/// The witness is an order of all from the start, and explaining takes no notice of where it was.
fn check_witness(seed: u64, start: Initial, history: &History, operations: &[Operation]) {
    let report = check(history, &Options::default());
    let explained = explanation(history, &report, &Options::default());
    for order in &explained.witness {
        let order = order.order.as_ref().expect("a small history has a witness");
        let mut starts: Vec<Option<i64>> = match start {
            Initial::Absent => vec![None],
            Initial::Value(value) => vec![Some(value)],
            Initial::Any => (0..40).chain([NOBODYS]).map(Some).collect(),
        };
        if start == Initial::Any {
            starts.push(None);
        }
        let explains = |from: &Option<i64>| oracle::explains_from(*from, order, operations).is_ok();
        assert!(
            starts.iter().any(explains),
            "seed {seed}, {start:?}: {order:?} {operations:#?}"
        );
    }
}

/// The online checker says the same, and names the same event.
fn check_online(
    seed: u64,
    start: Initial,
    events: &[Event],
    expected: Option<u64>,
    history: &History,
) {
    let mut online = Online::starting(Options::default(), start);
    let mut alarm = None;
    for event in events {
        if let Some(found) = online.push(event) {
            assert!(alarm.is_none(), "one alarm is enough");
            alarm = Some(found);
        }
    }
    let finished = online.finish();
    if let Verdict::Violation(found) = &finished {
        alarm.get_or_insert(found.clone());
    }
    let said = format!("seed {seed}, {start:?}: {finished:#?}\n{events:#?}");
    // What a failed cas found is all that a growing history can be judged by.
    if !history.keys[0].compared.is_empty() {
        assert!(alarm.is_none() || expected.is_some(), "{said}");
        return;
    }
    assert_ne!(finished.name(), "unknown", "{said}");
    assert_eq!(alarm.as_ref().map(|found| found.event), expected, "{said}");
    if let Some(found) = alarm {
        assert!(!by_definition(start, &found.operations, false), "{said}");
    }
}

/// Checks the list history of `seed`; gives whether it is a violation.
///
/// # Panics
/// On any disagreement, with the seed and the events.
pub(crate) fn check_started_list(seed: u64, most_ops: usize) -> bool {
    let (events, names) = random::list(seed, most_ops);
    // Without its first operations, it begins as nobody knows what.
    let cut = (seed / 3 % 5) as usize;
    let events = without_first(&events, cut);
    let start: Option<Vec<i64>> = match seed % 3 {
        0 => None,
        1 => Some(vec![1]),
        _ => Some(vec![1, 2]),
    };
    let mut builder = Builder::new(Header {
        spec: LIST_APPEND.to_owned(),
        initial: Some(start.as_ref().map_or(json!("any"), |list| json!(list))),
        ..Header::default()
    });
    builder.names().clone_from(&names);
    for event in &events {
        builder.event(event).expect("random events are well formed");
    }
    let history = builder.finish();
    if history.is_empty() {
        return false;
    }
    let by_definition = |operations: &[Operation]| match &start {
        Some(start) => oracle::linearizable_list_from(start.clone(), operations, &names),
        None => starts(&events, &names)
            .into_iter()
            .any(|start| oracle::linearizable_list_from(start, operations, &names)),
    };
    let operations: Vec<Operation> = history.operations().collect();
    let expected = by_definition(&operations);
    match check(&history, &Options::default()).verdict {
        Verdict::Linearizable => assert!(expected, "seed {seed}: {start:?} {events:#?}"),
        Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
        Verdict::Violation(found) => {
            assert!(!expected, "seed {seed}: {start:?} {found:#?}");
            let proof = by_definition(&found.operations);
            assert!(!proof, "seed {seed}: no evidence {start:?} {found:#?}");
        }
    }
    !expected
}

/// Every list that may have been there and that anybody could notice: beginnings of what was found, and another one.
fn starts(events: &[Event], names: &Names) -> Vec<Vec<i64>> {
    let mut starts = vec![vec![], vec![NOBODYS]];
    for event in events {
        if let EventKind::Complete {
            outcome: Outcome::Ok(Some(found)),
            ..
        } = &event.kind
        {
            let list = names.list(*found).map_or(vec![*found], <[i64]>::to_vec);
            starts.extend((1..=list.len()).map(|end| list[..end].to_vec()));
        }
    }
    starts.sort();
    starts.dedup();
    starts
}

/// The events without those of the first operations.
fn without_first(events: &[Event], cut: usize) -> Vec<Event> {
    let mut gone = Vec::new();
    let mut begun = 0;
    let mut left = Vec::new();
    for event in events {
        let client = event.client;
        if matches!(event.kind, EventKind::Invoke { .. }) {
            begun += 1;
            if begun <= cut {
                gone.push(client);
                continue;
            }
        } else if let Some(at) = gone.iter().position(|one| *one == client) {
            gone.swap_remove(at);
            continue;
        }
        left.push(event.clone());
    }
    left
}
