//! Keys that last: values are forgotten and their numbers used again, and neither verdict nor memory tells.

use std::collections::HashSet;

use super::{Judge, Online};
use crate::generate::{Domain, Generator, Recipe, Violation};
use crate::history::{Call, Event, EventKind, History, Initial, Outcome, Value};
use crate::linear::{Options, check};
use crate::verdict::{Exhausted, Verdict};

fn event(index: u64, client: u64, kind: EventKind) -> Event {
    Event {
        index,
        time_ns: index,
        client: Some(client),
        node: None,
        kind,
    }
}

fn invoke(call: Call) -> EventKind {
    let key = "k0".to_owned();
    EventKind::Invoke { key, call }
}

fn ok(found: Option<Value>) -> EventKind {
    EventKind::Complete {
        outcome: Outcome::Ok(found),
        at: None,
        error: None,
    }
}

/// The event with which a history stops being linearizable, if the online checker finds one, and how many values have
/// a number in the end.
fn online(events: &[Event], seed: u64) -> (Option<u64>, u32) {
    let mut online = Online::new(Options::default());
    for event in events {
        online.push(event);
    }
    assert_eq!(online.malformed(), [], "seed {seed}");
    online.settle();
    let Judge::Frontier(tail) = &online.keys[0].judge else {
        panic!("seed {seed}: {:?}", online.keys[0].judge);
    };
    let numbers = tail.numbers();
    match online.finish() {
        Verdict::Linearizable => (None, numbers),
        Verdict::Violation(found) => (Some(found.event), numbers),
        Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
    }
}

/// A history of hundreds of operations in which values are deleted and come again; in two of three, a read of the last
/// third finds another value than it did: one of any time, mostly forgotten.
fn lasting(seed: u64) -> (Recipe, Vec<Event>, usize) {
    let pick = |choices: [f64; 3], by: u64| choices[(seed / by % 3) as usize];
    let recipe = Recipe {
        ops: 700,
        clients: 3 + seed % 5,
        pending: pick([0.0, 0.01, 0.03], 3),
        failed: pick([0.0, 0.02, 0.1], 9),
        cas: pick([0.0, 0.1, 0.3], 2),
        delete: pick([0.05, 0.1, 0.02], 5),
        read: 0.4,
        values: match seed % 4 {
            0 | 1 => Domain::Unique,
            2 => Domain::Small(300),
            _ => Domain::Small(1_000),
        },
        seed,
        ..Recipe::default()
    };
    let mut events: Vec<Event> = Generator::new(recipe.clone()).collect();
    let mut written: Vec<Value> = Vec::new();
    for event in &events {
        if let EventKind::Invoke { call, .. } = &event.kind
            && let Call::Write(value) | Call::Cas { new: value, .. } = call
        {
            written.push(*value);
        }
    }
    if !seed.is_multiple_of(3) {
        let late = events.len() * 2 / 3 + (seed % 97) as usize;
        let other = written[(seed * 31) as usize % (written.len() / 2)];
        for event in &mut events[late..] {
            if let EventKind::Complete {
                outcome: Outcome::Ok(Some(found)),
                ..
            } = &mut event.kind
            {
                *found = other;
                break;
            }
        }
    }
    let distinct: HashSet<Value> = written.into_iter().collect();
    (recipe, events, distinct.len())
}

#[test]
fn a_key_that_lasts_is_judged_as_if_nothing_was_forgotten() {
    let (mut violations, mut forgot) = (0, 0);
    for seed in 0..240 {
        let (recipe, events, distinct) = lasting(seed);
        let history = History::from_events(recipe.header(), &events).expect("well formed");
        // The first event with which it fails says what every prefix is.
        let whole = match check(&history, &Options::default()).verdict {
            Verdict::Linearizable => None,
            Verdict::Violation(found) => Some(found.event),
            Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
        };
        let (event, numbers) = online(&events, seed);
        assert_eq!(event, whole, "seed {seed}: online against offline");
        violations += usize::from(event.is_some());
        forgot += usize::from((numbers as usize) < distinct * 3 / 4);
    }
    assert!((60..180).contains(&violations), "{violations} violations");
    assert!(forgot >= 100, "{forgot} forgot a quarter of their values");
}

#[test]
fn events_of_any_index_are_judged_alike() {
    for seed in 0..24 {
        let (_, mut events, _) = lasting(seed);
        let (near, _) = online(&events, seed);
        let far = u64::from(u32::MAX) - 500;
        for event in &mut events {
            event.index += far;
        }
        assert_eq!(online(&events, seed).0, near.map(|event| event + far));
    }
}

/// A history in which ends far apart are told apart: 2^33 events lie between its halves, and the read that begins before
/// them never ends.
#[test]
fn ends_far_behind_an_open_operation_keep_their_order() {
    let far = 1 << 33;
    for gap in [6, far] {
        let (a, b, c, d) = (1, 2, 3, 4);
        let write = |value| invoke(Call::Write(value));
        let read = || invoke(Call::Read);
        let script = [
            (0, a, invoke(Call::Delete)),
            (1, a, ok(None)),
            (2, a, write(7)),
            (3, b, write(8)),
            (4, a, ok(None)),
            (5, b, ok(None)),
            (6, d, read()),
            (gap + 1, a, write(1)),
            (gap + 2, b, write(1)),
            (gap + 3, c, read()),
            (gap + 4, c, ok(Some(1))),
            (gap + 5, c, write(2)),
            (gap + 6, c, ok(None)),
            (gap + 7, c, read()),
            (gap + 8, c, ok(Some(2))),
            (gap + 9, a, ok(None)),
            (gap + 10, c, read()),
            (gap + 11, c, ok(Some(2))),
            (gap + 12, c, read()),
            (gap + 13, c, ok(Some(1))),
            (gap + 14, b, ok(None)),
        ];
        let mut online = Online::new(Options::default());
        for (index, client, kind) in script {
            online.push(&event(index, client, kind));
        }
        assert_eq!(online.malformed(), []);
        assert!(matches!(online.keys[0].judge, Judge::Frontier(_)));
        assert_eq!(online.finish(), Verdict::Linearizable, "gap {gap}");
    }
}

/// Each gap between two events is long, mostly, and the verdict is that of the same history without gaps.
#[test]
fn gaps_between_events_change_nothing() {
    for seed in 0..48 {
        let (_, mut events, _) = lasting(seed);
        let (near, _) = online(&events, seed);
        let mut indices = Vec::new();
        let mut at = 0;
        for (i, event) in (0u64..).zip(&mut events) {
            at += 1 + [0, 1 << 31, (1 << 32) - 1, 1 << 33][((i * 7 + seed) % 4) as usize];
            event.index = at;
            indices.push(at);
        }
        let expected = near.map(|event| indices[event as usize]);
        assert_eq!(online(&events, seed).0, expected, "seed {seed}");
    }
}

#[test]
fn ends_are_counted_anew_now_and_then() {
    let mut counted_anew = 0;
    for seed in 0..48 {
        let (_, events, _) = lasting(seed);
        let mut online = Online::new(Options::default());
        for event in &events {
            online.push(event);
        }
        if let Judge::Frontier(tail) = &online.keys[0].judge {
            counted_anew += u64::from(tail.origin() > 48);
        }
    }
    assert!(counted_anew >= 24, "{counted_anew}");
}

/// Of writes of one value the one that ends first goes first: a wrong count of ends would choose another.
#[test]
fn writes_of_one_value_keep_their_order_where_ends_are_counted_anew() {
    let mut violations = 0;
    for seed in 0..200 {
        let recipe = Recipe {
            ops: 400,
            clients: 4 + seed % 9,
            values: Domain::Small(2 + seed as u32 % 3),
            read: 0.3,
            delete: 0.02,
            violate: seed.is_multiple_of(4).then_some(Violation::StaleRead),
            seed,
            ..Recipe::default()
        };
        let events: Vec<Event> = Generator::new(recipe.clone()).collect();
        let history = History::from_events(recipe.header(), &events).expect("well formed");
        let whole = match check(&history, &Options::default()).verdict {
            Verdict::Linearizable => None,
            Verdict::Violation(found) => Some(found.event),
            Verdict::Unknown(reason) => panic!("seed {seed}: {reason}"),
        };
        assert_eq!(online(&events, seed).0, whole, "seed {seed}");
        violations += usize::from(whole.is_some());
    }
    assert!((10..60).contains(&violations), "{violations} violations");
}

/// What a judge holds for a key of so many operations.
fn held_after(ops: u64, pending: f64) -> usize {
    let recipe = Recipe {
        ops,
        clients: 10,
        pending,
        cas: 0.1,
        delete: 0.05,
        seed: 7,
        ..Recipe::default()
    };
    let mut online = Online::new(Options::default());
    for event in Generator::new(recipe) {
        assert!(online.push(&event).is_none(), "#{}", event.index);
    }
    match &online.keys[0].judge {
        Judge::Frontier(tail) => tail.bytes(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_held_does_not_grow_with_the_history() {
    let (few, many) = (held_after(5_000, 0.0), held_after(20_000, 0.0));
    assert!(many < few + (32 << 10), "{few} bytes, then {many}");
    assert!(many < 256 << 10, "{many} bytes");
    // Unknown operations are kept; there are 30 and 120 of them, more or less.
    let (few, many) = (held_after(5_000, 0.01), held_after(20_000, 0.01));
    assert!(many < few + (256 << 10), "{few} bytes, then {many}");
}

/// A delete, then so many reads that begin and only then end.
fn reads_at_once(reads: u64) -> Verdict {
    let mut events = vec![event(0, 0, invoke(Call::Delete)), event(1, 0, ok(None))];
    for client in 1..=reads {
        events.push(event(events.len() as u64, client, invoke(Call::Read)));
    }
    for client in 1..=reads {
        events.push(event(events.len() as u64, client, ok(None)));
    }
    let mut online = Online::new(Options::default());
    for event in &events {
        online.push(event);
    }
    online.finish()
}

#[test]
fn as_many_operations_as_there_are_places_may_be_open() {
    assert_eq!(reads_at_once(256), Verdict::Linearizable);
    let Verdict::Unknown(reason) = reads_at_once(257) else {
        panic!("one too many");
    };
    assert_eq!(reason.exhausted, Exhausted::Open { most: 256 });
    let said = reason.to_string();
    assert!(said.contains("256 operations were open at once"), "{said}");
}

/// Who is not in a hurry finds the same, and says so where it does not know since when.
#[test]
fn a_violation_that_is_only_looked_for_in_the_end_is_the_same() {
    let (mut violations, mut exact) = (0, 0);
    for seed in 0..240 {
        let (recipe, events, _) = lasting(seed);
        let history = History::from_events(recipe.header(), &events).expect("well formed");
        let whole = check(&history, &Options::default()).verdict;
        let mut online = Online::in_the_end(Options::default(), &recipe.header(), Initial::Absent);
        for event in &events {
            online.push(event);
        }
        match (online.finish(), whole) {
            (Verdict::Linearizable, Verdict::Linearizable) => {}
            (Verdict::Violation(found), Verdict::Violation(whole)) => {
                assert!(found.event >= whole.event, "seed {seed}: too early");
                let same = found.event == whole.event;
                assert!(same || found.at_the_latest, "seed {seed}: not since then");
                violations += 1;
                exact += usize::from(!found.at_the_latest);
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(
        violations > 60 && exact > 0,
        "{violations} violations, {exact} exact"
    );
}

/// Thirty clients at once and five values: each look is cheap enough, and all of them together are not.
#[test]
fn a_key_has_one_budget_and_not_one_for_each_look() {
    let recipe = Recipe {
        ops: 3_000,
        clients: 30,
        cas: 0.2,
        values: Domain::Small(5),
        ..Recipe::default()
    };
    let options = Options {
        budget: 50_000,
        ..Options::default()
    };
    for mut online in [
        Online::new(options),
        Online::in_the_end(options, &recipe.header(), Initial::Absent),
    ] {
        let mut last = 0;
        for event in Generator::new(recipe.clone()) {
            online.push(&event);
            if let Judge::Frontier(tail) = &online.keys[0].judge {
                last = tail.spent();
            }
        }
        let all = options.budget + 64 * 6_000 + 200_000 + 256 * 6_000;
        assert!(last <= all + all / 4, "{last} of {all}");
        let Verdict::Unknown(reason) = online.finish() else {
            panic!("it is too hard to follow with so little");
        };
        let budget = options.budget;
        assert_eq!(reason.exhausted, Exhausted::Configurations { budget });
    }
}
