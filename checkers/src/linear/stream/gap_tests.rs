//! Histories out of which events are lost, judged on their way: never an accusation that the whole does not make, and
//! never a yes where the whole says no.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::generate::{Domain, Generator, Recipe, Violation};
use crate::history::Event;
use crate::linear::check;

/// The events without a random stretch of them, which a gap stands for; perhaps two of them.
fn cut(mut events: Vec<Event>, rng: &mut ChaCha8Rng) -> Vec<Event> {
    for _ in 0..rng.random_range(1..3) {
        let from = rng.random_range(0..events.len());
        let to = (from + rng.random_range(1..20)).min(events.len());
        let index = events[from].index;
        let next = events
            .get(to)
            .map_or(events[to - 1].index + 1, |next| next.index);
        let gap = Event {
            client: None,
            node: None,
            kind: EventKind::Gap { lost: next - index },
            ..events[from].clone()
        };
        events.splice(from..to, [gap]);
    }
    events
}

fn recipe(seed: u64) -> Recipe {
    let pick = |choices: [f64; 3], by: u64| choices[(seed / by % 3) as usize];
    Recipe {
        ops: 80,
        clients: 1 + seed % 6,
        keys: 1 + seed % 2,
        pending: pick([0.0, 0.05, 0.2], 3),
        failed: pick([0.0, 0.05, 0.2], 9),
        cas: pick([0.0, 0.2, 0.4], 2),
        delete: pick([0.0, 0.1, 0.2], 5),
        violate: match seed % 5 {
            0 => Some(Violation::StaleRead),
            1 => Some(Violation::LostWrite),
            2 => Some(Violation::AbortedRead),
            _ => None,
        },
        seed,
        ..Recipe::default()
    }
}

/// The verdict of whoever keeps nothing.
fn on_its_way(header: &Header, events: &[Event]) -> Verdict {
    let mut passing = Passing::new(Options::default(), Nil::Absent, header, Initial::Absent);
    for event in events {
        let from = Moment {
            index: event.index,
            time_ns: event.time_ns,
            client: event.client.unwrap_or_default(),
            node: event.node,
        };
        let taken = match &event.kind {
            EventKind::Mark(_) => Ok(()),
            EventKind::Gap { lost } => passing.gap(event.index, *lost),
            EventKind::Invoke { key, call } => passing.invoke(from, key, *call),
            EventKind::Complete { outcome, at, .. } => passing.complete(from, *outcome, *at),
            EventKind::Typed(_) => unreachable!("it is a history of registers"),
        };
        taken.expect("what is cut is well formed");
    }
    passing.finish(Vec::new(), None).verdict
}

#[test]
fn what_is_judged_on_its_way_says_nothing_that_the_whole_does_not_say() {
    let (mut decided, mut violations) = (0, 0);
    for seed in 0..3_000 {
        let recipe = recipe(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let events = cut(Generator::new(recipe.clone()).collect(), &mut rng);
        let header = match seed % 8 {
            7 => recipe.header(),
            _ => recipe.header().with_unique_values(),
        };
        let history = History::from_events(header.clone(), &events).expect("well formed");
        let whole = check(&history, &Options::default()).verdict;
        let streamed = on_its_way(&header, &events);
        match (&whole, &streamed) {
            (Verdict::Violation(whole), Verdict::Violation(streamed)) => {
                assert!(streamed.event >= whole.event, "seed {seed}: too early");
                violations += 1;
                decided += 1;
            }
            (Verdict::Linearizable, Verdict::Linearizable) => decided += 1,
            (_, Verdict::Unknown(_)) => {}
            other => panic!("seed {seed}: {other:#?}\n{events:#?}"),
        }
    }
    assert!(decided > 2_000, "{decided} decided");
    assert!(violations > 500, "{violations} violations");
}

#[test]
fn a_correct_run_with_a_gap_is_never_accused_whatever_was_written_in_it() {
    for seed in 0..2_000 {
        let recipe = Recipe {
            violate: None,
            values: match seed % 2 {
                0 => Domain::Unique,
                _ => Domain::Small(3),
            },
            ..recipe(seed)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let events = cut(Generator::new(recipe.clone()).collect(), &mut rng);
        let header = match recipe.values {
            Domain::Unique => recipe.header().with_unique_values(),
            Domain::Small(_) => recipe.header(),
        };
        let history = History::from_events(header.clone(), &events).expect("well formed");
        for verdict in [
            check(&history, &Options::default()).verdict,
            on_its_way(&header, &events),
        ] {
            assert_ne!(
                verdict.name(),
                "violation",
                "seed {seed}: {verdict:#?}\n{events:#?}"
            );
        }
    }
}
