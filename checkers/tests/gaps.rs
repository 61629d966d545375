//! Events that could not be written: what is lost accuses nobody, and what is there still does.

mod support;

use checkers::generate::{Domain, Generator, Recipe, Violation};
use checkers::history::{Call, Event, EventKind, Header, History, Operation, Outcome};
use checkers::linear::online::Online;
use checkers::linear::{Options, check};
use checkers::verdict::Verdict;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{oracle, random};

/// The events without those from `from` on, up to `to`, which a gap stands for.
fn cut(events: &[Event], from: usize, to: usize) -> Vec<Event> {
    let gap = Event {
        client: None,
        node: None,
        kind: EventKind::Gap {
            lost: (to - from) as u64,
        },
        ..events[from].clone()
    };
    [&events[..from], &[gap], &events[to..]].concat()
}

fn unique() -> Header {
    Header::default().with_unique_values()
}

fn judge(header: Header, events: &[Event]) -> Verdict {
    let history = History::from_events(header, events).expect("what is cut is well formed");
    check(&history, &Options::default()).verdict
}

/// The verdict of whoever follows the events; nobody promises unique values there.
fn follow(events: &[Event]) -> Verdict {
    let mut online = Online::new(Options::default());
    for event in events {
        online.push(event);
    }
    assert_eq!(online.malformed(), []);
    online.finish()
}

/// Whether the operations that began before the first event lost, or after the last one, have an order by definition.
/// Behind the gap, whatever is found and written by nobody there was written by somebody, and deletes come as they must.
fn by_definition(events: &[Event], from: u64, to: u64, promised: bool) -> (bool, bool) {
    let history = History::from_events(Header::default(), events).expect("well formed");
    let all: Vec<Operation> = history.operations().collect();
    let (before, mut behind): (Vec<_>, Vec<_>) = all.into_iter().partition(|op| op.id < from);
    let found = |op: &Operation| match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(found)) | (_, Outcome::Differed(found)) => Some(found),
        (Call::Cas { old, .. }, Outcome::Ok(_) | Outcome::Unknown) => Some(Some(old)),
        _ => None,
    };
    let written = |value: i64| {
        behind.iter().any(|op| match op.call {
            Call::Write(new) | Call::Cas { new, .. } => new == value,
            _ => false,
        })
    };
    let mut from_outside: Vec<Option<i64>> = behind.iter().filter_map(found).collect();
    from_outside.sort_unstable();
    let absent = from_outside.iter().filter(|value| value.is_none()).count() as u64;
    from_outside.dedup();
    from_outside.retain(|value| value.is_some_and(|value| !promised || !written(value)));
    let lost = to - from
        + before
            .iter()
            .filter(|op| op.outcome == Outcome::Unknown)
            .count() as u64;
    let outside = from_outside
        .into_iter()
        .map(|value| Call::Write(value.unwrap_or_default()))
        .chain((0..absent.min(lost)).map(|_| Call::Delete));
    let nobody: Vec<Operation> = outside
        .map(|call| Operation {
            id: from,
            client: 0,
            key: "k".to_owned(),
            call,
            outcome: Outcome::Unknown,
            invoked: from,
            completed: None,
            invoked_ns: 0,
            completed_ns: None,
            node: None,
            at: None,
            error: None,
        })
        .collect();
    // A failed cas that does not say what it found says nothing here.
    behind.retain(|op| op.outcome != Outcome::Failed);
    let behind = [nobody, behind].concat();
    (oracle::linearizable(&before), oracle::linearizable(&behind))
}

#[test]
fn small_histories_with_a_gap_agree_with_the_definition() {
    let (mut before_it, mut behind_it, mut holds) = (0, 0, 0);
    // Values are seldom unique in so small a history, and only then anything is found behind a gap.
    for seed in 0..60_000 {
        let events = random::history(seed, 9);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let from = rng.random_range(0..events.len());
        let to = (from + rng.random_range(1..=4)).min(events.len());
        let cut = cut(&events, from, to);
        let values: Vec<i64> = events
            .iter()
            .filter_map(|event| match event.kind {
                EventKind::Invoke {
                    call: Call::Write(value) | Call::Cas { new: value, .. },
                    ..
                } => Some(value),
                _ => None,
            })
            .collect();
        let mut different = values.clone();
        different.sort_unstable();
        different.dedup();
        // Whoever leaves what he found writes what somebody else has written.
        let itself = |event: &Event| match event.kind {
            EventKind::Invoke {
                call: Call::Cas { old, new },
                ..
            } => old == new,
            _ => false,
        };
        let promised = different.len() == values.len() && !cut.iter().any(itself);
        let (before, behind) = by_definition(&cut, from as u64, to as u64, promised);
        let header = if promised {
            unique()
        } else {
            Header::default()
        };
        let verdict = judge(header, &cut);
        let said = format!("seed {seed}, {from}..{to}: {verdict:#?}\n{cut:#?}");
        match verdict {
            Verdict::Violation(found) => {
                assert!(!before || (promised && !behind), "{said}");
                assert_eq!(found.event < from as u64, !before, "{said}");
                assert!(
                    !oracle::linearizable(&found.operations),
                    "no evidence, {said}"
                );
                before_it += usize::from(!before);
                behind_it += usize::from(before);
            }
            Verdict::Linearizable => {
                assert!(before && behind, "{said}");
                holds += 1;
            }
            Verdict::Unknown(_) => assert!(before && (!promised || behind), "{said}"),
        }
        // Online nothing is promised: what lies before the gap is found, and behind it nobody is accused.
        let followed = follow(&cut);
        match &followed {
            Verdict::Violation(found) => assert!(!before && found.event < from as u64, "{said}"),
            Verdict::Linearizable => assert!(before && behind, "{said}"),
            Verdict::Unknown(_) => {}
        }
    }
    assert!(
        before_it > 5_000 && behind_it > 100,
        "{before_it} before, {behind_it} behind"
    );
    assert!(holds > 15_000, "{holds} hold");
}

/// A history of unique values with a violation half way.
fn violating(seed: u64) -> Vec<Event> {
    let kinds = [
        Violation::StaleRead,
        Violation::LostWrite,
        Violation::AbortedRead,
        Violation::FutureRead,
    ];
    let recipe = Recipe {
        ops: 300,
        clients: 2 + seed % 7,
        pending: [0.0, 0.05][seed as usize % 2],
        failed: 0.02,
        cas: 0.2,
        values: Domain::Unique,
        violate: Some(kinds[seed as usize % kinds.len()]),
        seed,
        ..Recipe::default()
    };
    Generator::new(recipe).collect()
}

#[test]
fn a_violation_wholly_on_one_side_of_a_gap_is_found() {
    for seed in 0..200 {
        let events = violating(seed);
        let Verdict::Violation(whole) = judge(unique(), &events) else {
            panic!("seed {seed}: a violation was planted");
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ids = || whole.operations.iter().map(|op| op.id as usize);
        let ends = whole.operations.iter().filter_map(|op| op.completed);
        let (first, last) = (ids().min().unwrap(), ids().max().unwrap());
        let last = last.max(ends.max().unwrap_or(0) as usize);
        let lost = rng.random_range(1..60);
        if first > lost {
            let from = rng.random_range(0..first - lost);
            let found = whole.culprit().map(|op| op.outcome);
            let wrote_it = |event: &Event| match event.kind {
                EventKind::Invoke {
                    call: Call::Write(value) | Call::Cas { new: value, .. },
                    ..
                } => found == Some(Outcome::Ok(Some(value))),
                _ => false,
            };
            // Where the write that failed is lost nobody knows that it failed.
            if events[from..from + lost].iter().any(wrote_it) {
                continue;
            }
            let verdict = judge(unique(), &cut(&events, from, from + lost));
            // What wrote a value that was found may have been lost: then it is somebody else's.
            let own = |op: &Operation| op.id as usize >= from + lost;
            let Verdict::Violation(found) = verdict else {
                panic!("seed {seed}: behind {from}+{lost}: {verdict:#?} {whole:#?}");
            };
            assert!(found.operations.iter().all(own), "seed {seed}: {found:#?}");
        }
        if last + 1 < events.len() {
            let from = rng.random_range(last + 1..events.len());
            let to = (from + lost).min(events.len());
            let cut = cut(&events, from, to);
            for verdict in [
                judge(unique(), &cut),
                judge(Header::default(), &cut),
                follow(&cut),
            ] {
                let Verdict::Violation(found) = verdict else {
                    panic!("seed {seed}: before {from}: {verdict:#?}");
                };
                assert_eq!(found.event, whole.event, "seed {seed}");
            }
        }
    }
}

#[test]
fn values_that_may_repeat_accuse_nobody_behind_a_gap_and_what_holds_there_holds() {
    let mut unknown = 0;
    for seed in 0..100 {
        let events = violating(seed);
        let verdict = judge(Header::default(), &cut(&events, 10, 40));
        assert_ne!(verdict.name(), "violation", "seed {seed}: {verdict:#?}");
        unknown += usize::from(verdict.name() == "unknown");
    }
    assert!(unknown > 60, "{unknown}");
}
