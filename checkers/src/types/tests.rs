//! Each type's judge against brute force: all orders that time allows, on many small histories.

mod online;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::check::{Verdict, check};
use super::generate::{Recipe, events};
use super::operation::{Event, OPEN, Pairing, Phase};
use super::{ALL, DataType, Datum, Judged, Online, Operation, Outcome, by_name};
use crate::anomaly::Anomaly;
use crate::linear::Options;

/// What one copy of a type holds, whichever it is.
#[derive(Clone, Debug, Default)]
struct Copy {
    items: Vec<Datum>,
    sum: i64,
    holder: Option<u64>,
    version: Option<i64>,
}

/// What a copy is after an operation with its answer; `None` where it is none of its answers. An operation of which
/// nobody knows the answer may have had any.
fn after(of: &str, copy: &Copy, op: &Operation) -> Option<Copy> {
    let mut next = copy.clone();
    let amount = op.asked.int().unwrap_or(1);
    let answer = op.answer();
    match (of, op.act) {
        ("mutex", "acquire") => {
            next.holder = copy.holder.is_none().then_some(0);
            next.holder?;
        }
        ("mutex", _) => {
            copy.holder?;
            next.holder = None;
        }
        ("lock", "acquire") => {
            if copy.holder.is_some() {
                return None;
            }
            next.holder = Some(op.client);
        }
        ("lock", _) => {
            if copy.holder != Some(op.client) {
                return None;
            }
            next.holder = None;
        }
        ("set", "add") => {
            if !copy.items.contains(&op.asked) {
                next.items.push(op.asked.clone());
            }
        }
        ("set", _) => {
            let mut found = answer?.items()?.to_vec();
            let mut here = copy.items.clone();
            found.sort();
            here.sort();
            if found != here {
                return None;
            }
        }
        ("eventual-set", "add") => next.items.push(op.asked.clone()),
        ("eventual-set", "final") => {
            let found = answer?.items()?;
            if !copy.items.iter().all(|item| found.contains(item)) {
                return None;
            }
        }
        ("eventual-set", _) => {
            let mut found = answer?.items()?.to_vec();
            found.sort();
            let twice = found.windows(2).any(|two| two[0] == two[1]);
            if twice || !found.iter().all(|item| copy.items.contains(item)) {
                return None;
            }
        }
        ("counter", "add") => next.sum += amount,
        ("counter", "subtract") => next.sum -= amount,
        ("counter", _) => {
            if answer?.int() != Some(copy.sum) {
                return None;
            }
        }
        ("ids", _) => {
            let id = answer?.clone();
            if copy.items.contains(&id) {
                return None;
            }
            next.items.push(id);
        }
        ("increasing-ids", _) => {
            let id = answer?.clone();
            if copy.items.last() >= Some(&id) {
                return None;
            }
            next.items.push(id);
        }
        ("queue" | "fifo-queue", "enqueue") => next.items.push(op.asked.clone()),
        ("queue", _) => match answer {
            Some(Datum::List(all)) => {
                for item in all {
                    let at = next.items.iter().position(|other| other == item)?;
                    next.items.remove(at);
                }
            }
            Some(item) => {
                let at = next.items.iter().position(|other| other == item)?;
                next.items.remove(at);
            }
            None => {}
        },
        ("fifo-queue", _) => match answer {
            Some(Datum::Nil) if copy.items.is_empty() => {}
            Some(item) if copy.items.first() == Some(item) => next.items = copy.items[1..].to_vec(),
            Some(_) => return None,
            None if copy.items.is_empty() => {}
            None => next.items = copy.items[1..].to_vec(),
        },
        _ => return after_numbered(of, copy, op),
    }
    Some(next)
}

/// The numbers that are tried for what nobody knows are smaller than this, and larger than its negative.
const TRIED: i64 = 12;

fn after_numbered(of: &str, copy: &Copy, op: &Operation) -> Option<Copy> {
    let mut next = copy.clone();
    let answer = op.answer().and_then(Datum::pair);
    match (of, op.act) {
        // The items are [number value], in order.
        ("log", "append") => {
            let (number, value) = answer?;
            if copy
                .items
                .last()
                .and_then(|last| last.pair())
                .is_some_and(|(last, _)| last >= number)
            {
                return None;
            }
            next.items
                .push(Datum::List(vec![number.clone(), value.clone()]));
        }
        ("log", _) => {
            let (number, value) = answer?;
            let here = copy.items.iter().filter_map(Datum::pair);
            let here = here
                .filter(|(other, _)| *other == number)
                .map(|(_, value)| value.clone())
                .next();
            if here.unwrap_or(Datum::Nil) != *value {
                return None;
            }
        }
        (_, "read") => {
            let (version, value) = answer?;
            let current = copy.version.unwrap_or(-TRIED);
            if version.int().is_some_and(|version| version != current) {
                return None;
            }
            if !value.is_nil() && copy.items.first() != Some(value) {
                return None;
            }
        }
        (_, act) => {
            let (_, value) = op.asked.pair()?;
            let (old, new) = match (act, value.pair()) {
                ("cas", Some((old, new))) => (Some(old), new),
                _ => (None, value),
            };
            if old.is_some_and(|old| copy.items.first() != Some(old)) {
                return None;
            }
            let version = answer.and_then(|(version, _)| version.int())?;
            if version <= copy.version.unwrap_or(-TRIED) {
                return None;
            }
            next.version = Some(version);
            next.items = vec![new.clone()];
        }
    }
    Some(next)
}

/// What an operation may have answered, where it has to be known.
fn guesses(of: &str, op: &Operation) -> Vec<Operation> {
    let numbered = matches!(of, "log" | "versioned-register") && op.act != "read";
    let nothing = op
        .answer()
        .is_some_and(|answer| answer.pair().is_none_or(|(version, _)| version.is_nil()));
    if !numbered || (op.answer().is_some() && !nothing) {
        return vec![op.clone()];
    }
    let guess = |number| {
        let value = match of {
            "log" => op.asked.clone(),
            _ => Datum::Nil,
        };
        Operation {
            outcome: Outcome::Ok(Datum::List(vec![Datum::Int(number), value])),
            ..op.clone()
        }
    };
    (1 - TRIED..TRIED).map(guess).collect()
}

/// Whether any order of them explains all answers.
fn has_order(of: &str, copy: &Copy, ops: &[&Operation], left: u32) -> bool {
    let open = |at: usize| left & (1 << at) != 0;
    if (0..ops.len()).all(|at| !open(at) || ops[at].end() == OPEN) {
        return true;
    }
    let first_end = (0..ops.len())
        .filter(|at| open(*at))
        .map(|at| ops[at].end())
        .min();
    (0..ops.len())
        .filter(|at| open(*at) && Some(ops[*at].id) < first_end)
        .any(|at| {
            guesses(of, ops[at]).iter().any(|op| {
                after(of, copy, op).is_some_and(|next| has_order(of, &next, ops, left & !(1 << at)))
            })
        })
}

/// The same for any type: the reads of a set that everybody has in the end have no order among themselves, and a final
/// one is no moment: at one nothing is there that it has not found, and at one all is there that it has.
fn is_explained(of: &str, ops: &[&Operation]) -> bool {
    let has_order = |ops: &[&Operation]| {
        let all = (1 << ops.len()) - 1;
        has_order(of, &Copy::default(), ops, all)
    };
    if of != "eventual-set" {
        return has_order(ops);
    }
    let (adds, reads): (Vec<&Operation>, Vec<&Operation>) =
        ops.iter().partition(|op| op.act == "add");
    reads.iter().all(|read| {
        let plain = Operation {
            act: "read",
            ..(*read).clone()
        };
        [*read, &plain].into_iter().all(|read| {
            let mut ops = [adds.as_slice(), &[read]].concat();
            ops.sort_by_key(|op| op.id);
            has_order(&ops)
        })
    })
}

/// What a small history of a type may ask and be answered.
fn draw(of: &str, rng: &mut ChaCha8Rng) -> (&'static str, Datum, Datum) {
    let small = |rng: &mut ChaCha8Rng, to: i64| Datum::Int(rng.random_range(1..=to));
    let pair = |a: Datum, b: Datum| Datum::List(vec![a, b]);
    match of {
        "mutex" | "lock" => {
            let act = ["acquire", "release"][rng.random_range(0..2)];
            (act, Datum::Nil, Datum::Nil)
        }
        "set" => match rng.random_bool(0.5) {
            true => ("add", small(rng, 3), Datum::Nil),
            false => {
                let some = (1..=3).filter(|_| rng.random_bool(0.5)).map(Datum::Int);
                ("read", Datum::Nil, Datum::List(some.collect()))
            }
        },
        "eventual-set" => match rng.random_range(0..10) {
            0..5 => ("add", small(rng, 3), Datum::Nil),
            dice => {
                let some = (1..=3).filter(|_| rng.random_bool(0.6));
                let mut some: Vec<Datum> = some.map(Datum::Int).collect();
                if dice == 9 && rng.random_bool(0.1) {
                    some.extend(some.first().cloned());
                }
                let act = if dice < 8 { "final" } else { "read" };
                (act, Datum::Nil, Datum::List(some))
            }
        },
        "counter" => match rng.random_range(0..7) {
            0..3 => (
                "add",
                Datum::Int(if rng.random_bool(0.8) { 1 } else { 2 }),
                Datum::Nil,
            ),
            3 if rng.random_bool(0.2) => ("subtract", small(rng, 2), Datum::Nil),
            _ => ("read", Datum::Nil, Datum::Int(rng.random_range(0..4))),
        },
        "ids" | "increasing-ids" => ("generate", Datum::Nil, small(rng, 9)),
        "queue" | "fifo-queue" => match rng.random_bool(0.5) {
            true => ("enqueue", small(rng, 4), Datum::Nil),
            false => ("dequeue", Datum::Nil, small(rng, 4)),
        },
        "log" => {
            let (number, value) = (small(rng, 4), small(rng, 3));
            match rng.random_bool(0.5) {
                true => ("append", value.clone(), pair(number, value)),
                false => {
                    let found = if rng.random_bool(0.3) {
                        Datum::Nil
                    } else {
                        value
                    };
                    ("read", number.clone(), pair(number, found))
                }
            }
        }
        _ => {
            let (value, version) = (small(rng, 2), small(rng, 5));
            let version = if rng.random_bool(0.1) {
                Datum::Nil
            } else {
                version
            };
            match rng.random_range(0..5) {
                0 | 1 => (
                    "write",
                    pair(Datum::Nil, value.clone()),
                    pair(version, value),
                ),
                2 => {
                    let both = pair(small(rng, 2), value);
                    ("cas", pair(Datum::Nil, both.clone()), pair(version, both))
                }
                _ => ("read", pair(Datum::Nil, Datum::Nil), pair(version, value)),
            }
        }
    }
}

/// A history of few operations with answers that may be anything.
fn small_history(of: &'static dyn DataType, rng: &mut ChaCha8Rng, unique: bool) -> Vec<Event> {
    let mut events = Vec::new();
    let mut asked_before = Vec::new();
    let clients = rng.random_range(1..=3);
    let mut open: Vec<Option<(&'static str, Datum)>> = vec![None; clients];
    let mut ids: Vec<u64> = (0..clients as u64).collect();
    let many = rng.random_range(2..=6);
    let (mut begun, mut index) = (0, 0);
    let unknown = [0.0, 0.3][rng.random_range(0..2)];
    while begun < many || open.iter().any(Option::is_some) {
        let at = rng.random_range(0..clients);
        let event = |phase, f: &str, value| Event {
            index,
            time_ns: 0,
            client: ids[at],
            phase,
            f: f.to_owned(),
            key: None,
            value,
            node: None,
            error: None,
        };
        let event = match open[at].take() {
            None if begun == many => continue,
            None => {
                begun += 1;
                let mut drawn = draw(of.name(), rng);
                let repeats = |(f, asked, _): &(&str, Datum, Datum)| {
                    matches!(*f, "add" | "append") && asked_before.contains(asked)
                };
                while unique && repeats(&drawn) {
                    drawn = draw(of.name(), rng);
                }
                let (f, asked, answer) = drawn;
                asked_before.push(asked.clone());
                open[at] = Some((f, answer));
                event(Phase::Invoke, f, asked)
            }
            Some((f, _)) if rng.random_bool(unknown) => {
                let event = event(Phase::Info, f, Datum::Nil);
                // In some files the client goes on.
                if rng.random_bool(0.5) {
                    ids[at] += 10;
                }
                event
            }
            Some((f, _)) if rng.random_bool(0.05) => event(Phase::Fail, f, Datum::Nil),
            Some((f, answer)) => event(Phase::Ok, f, answer),
        };
        index += 1;
        events.push(event);
    }
    events
}

fn paired(of: &'static dyn DataType, events: &[Event]) -> Vec<Operation> {
    let mut pairing = Pairing::new(of);
    for event in events {
        pairing.take(event.clone()).expect("it can follow");
    }
    pairing.finish()
}

/// How many histories are judged twice.
const HISTORIES: u64 = 3_000;

#[test]
fn every_judge_agrees_with_brute_force() {
    std::thread::scope(|scope| {
        for of in ALL {
            scope.spawn(move || agrees(of));
        }
    });
}

fn agrees(of: &'static dyn DataType) {
    {
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        let (mut held, mut violated) = (0, 0);
        for _ in 0..HISTORIES {
            let history = paired(of, &small_history(of, &mut rng, false));
            let ops: Vec<&Operation> = history.iter().collect();
            let lives: Vec<&Operation> = ops.iter().copied().filter(|op| !op.is_failed()).collect();
            let expected = is_explained(of.name(), &lives);
            let judged = of.judge(&ops, &Options::default(), false);
            match (&judged, expected) {
                (Judged::Holds, true) => held += 1,
                (Judged::Violated(fault), false) if of.kinds().contains(&fault.kind) => {
                    violated += 1;
                }
                _ => panic!(
                    "{}: {judged:?}, but brute force says {expected}: {history:#?}",
                    of.name()
                ),
            }
            if !expected {
                evidence_is_one(of, &history);
            }
        }
        assert!(
            held > 150 && violated > 150,
            "{}: {held} hold, {violated} do not",
            of.name()
        );
    }
}

/// The evidence is a violation when all that is not in it may have happened or not.
fn evidence_is_one(of: &'static dyn DataType, history: &[Operation]) {
    let Verdict::Violation(found) = check(of, history, &Options::default()).verdict else {
        panic!("{}: {history:#?}", of.name());
    };
    assert!(!found.operations.is_empty() && !found.why.is_empty());
    assert!(found.operations.iter().any(|op| op.id == found.culprit));
    let kept = |op: &&Operation| found.operations.iter().any(|shown| shown.id == op.id);
    let open = |op: &Operation| match kept(&op) {
        true => op.as_of(found.event),
        false if of.is_pure(op.act) || op.is_failed() => None,
        false => Some(Operation {
            outcome: Outcome::Unknown,
            ..op.clone()
        }),
    };
    let alone: Vec<Operation> = history.iter().filter_map(open).collect();
    let ops: Vec<&Operation> = alone.iter().collect();
    // What a mutex, a queue or a counter has come to, words say; and which of several appends of one value a read found
    // in a log can be had from the whole only.
    let mut appended: Vec<&Datum> = history
        .iter()
        .filter(|op| op.act == "append")
        .map(|op| &op.asked)
        .collect();
    appended.sort();
    let repeats = appended.windows(2).any(|two| two[0] == two[1]);
    if !repeats && !matches!(of.name(), "mutex" | "lock" | "queue" | "counter") {
        let judged = of.judge(&ops, &Options::default(), false);
        assert!(
            matches!(judged, Judged::Violated(_)),
            "{}: {found:#?} in {history:#?}",
            of.name()
        );
    }
}

fn recipe(of: &dyn DataType, violate: Option<&str>, seed: u64) -> Recipe {
    Recipe {
        // Each order of what goes into a queue is a state of its own.
        ops: if of.name() == "fifo-queue" { 20 } else { 80 },
        clients: 4,
        keys: 1 + seed % 2,
        pending: [0.0, 0.02][seed as usize % 2],
        failed: 0.05,
        violate: violate.map(str::to_owned),
        seed,
    }
}

fn judged(of: &'static dyn DataType, events: Vec<Event>) -> (Verdict, Verdict) {
    let mut pairing = Pairing::new(of);
    let mut online = Online::new(of, Options::default());
    for event in events {
        pairing.take(event.clone()).expect("it can follow");
        online.take(event).expect("it can follow");
    }
    let ops = pairing.finish();
    (
        check(of, &ops, &Options::default()).verdict,
        online.finish().verdict,
    )
}

#[test]
fn what_is_made_holds_and_what_is_planted_is_found() {
    for of in ALL {
        for seed in 0..6 {
            let (offline, online) = judged(of, events(of, &recipe(of, None, seed)));
            let what = format!("{} with seed {seed}: {offline:?}", of.name());
            assert_eq!(
                (offline.name(), online.name()),
                ("linearizable", "linearizable"),
                "{what}"
            );
            for kind in of.violations() {
                let (offline, online) = judged(of, events(of, &recipe(of, Some(kind), seed)));
                let what = format!("{kind} of {} with seed {seed}", of.name());
                assert_eq!(
                    (offline.name(), online.name()),
                    ("violation", "violation"),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn names_and_words_are_told_apart() {
    let mut names: Vec<&str> = ALL
        .iter()
        .flat_map(|of| [&[of.name()], of.aliases()].concat())
        .collect();
    names.sort_unstable();
    let many = names.len();
    names.dedup();
    assert_eq!(names.len(), many, "{names:?}");
    assert!(names.iter().all(|name| by_name(name).is_some()));
    for of in ALL {
        assert!(!of.about().is_empty() && !of.violations().is_empty());
        for kind in of.kinds() {
            assert!(Anomaly::named(kind).is_some(), "{kind} has no name");
        }
    }
}
