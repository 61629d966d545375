//! The judge of a growing history against the judge of the whole.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::check::{Verdict, check};
use super::super::generate::events;
use super::super::operation::{Event, Phase};
use super::super::{ALL, DataType, Judged, Online, Operation};
use super::{HISTORIES, paired, recipe, small_history};
use crate::linear::Options;

/// What the judge of the whole says of each beginning that ends with a completion: whether it is a violation.
fn by_beginning(of: &'static dyn DataType, events: &[Event]) -> Vec<(u64, bool)> {
    let ends = (0..events.len()).filter(|at| events[*at].phase != Phase::Invoke);
    ends.map(|at| {
        let ops = paired(of, &events[..=at]);
        let ops: Vec<&Operation> = ops.iter().collect();
        let judged = of.judge(&ops, &Options::default(), false);
        (events[at].index, matches!(judged, Judged::Violated(_)))
    })
    .collect()
}

/// The event with which the online judge knew of a violation, and what it called it.
fn alarm(of: &'static dyn DataType, events: &[Event]) -> Option<(u64, String)> {
    let mut online = Online::new(of, Options::default());
    let mut found = None;
    for event in events {
        let index = event.index;
        let alarm = online.take(event.clone()).expect("it can follow");
        found = found.or_else(|| alarm.map(|alarm| (index, alarm.kind.clone())));
    }
    found
}

#[test]
fn a_violation_is_known_with_the_event_that_makes_it_one() {
    std::thread::scope(|scope| {
        for of in ALL {
            scope.spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(23);
                let mut violated = 0;
                for turn in 0..HISTORIES {
                    // A set and a log are followed where nothing is put in twice.
                    let events = small_history(of, &mut rng, turn % 3 > 0);
                    let beginnings = by_beginning(of, &events);
                    let expected = beginnings.iter().find(|(_, violated)| *violated);
                    let found = alarm(of, &events);
                    assert_eq!(
                        found.as_ref().map(|(event, _)| *event),
                        expected.map(|(event, _)| *event),
                        "{}: {found:?} in {events:#?}",
                        of.name()
                    );
                    violated += u64::from(found.is_some());
                }
                assert!(violated > 150, "{}: {violated}", of.name());
            });
        }
    });
}

/// Answers of a history that holds, some of them exchanged, or given to another operation.
fn damaged(events: &mut [Event], rng: &mut ChaCha8Rng) {
    let ok: Vec<usize> = (0..events.len())
        .filter(|at| events[*at].phase == Phase::Ok)
        .collect();
    for _ in 0..rng.random_range(0..3) {
        let (one, other) = (
            ok[rng.random_range(0..ok.len())],
            ok[rng.random_range(0..ok.len())],
        );
        if events[one].f == events[other].f
            && matches!(&*events[one].f, "read" | "generate" | "dequeue")
        {
            let value = events[one].value.clone();
            events[one].value = std::mem::replace(&mut events[other].value, value);
        }
    }
}

#[test]
fn what_is_followed_in_long_histories_is_found_where_the_whole_has_it_first() {
    let followed = ALL.into_iter().filter(|of| of.follow().is_some());
    let followed: Vec<&'static dyn DataType> = followed.collect();
    assert!(followed.len() >= 6);
    std::thread::scope(|scope| {
        for of in followed {
            scope.spawn(move || {
                let (mut held, mut violated) = (0, 0);
                let mut rng = ChaCha8Rng::seed_from_u64(29);
                for seed in 0..600 {
                    let kinds = of.violations();
                    let violate = kinds[seed as usize % kinds.len()];
                    let violate = (seed % 2 == 0).then_some(violate);
                    let mut events = events(of, &recipe(of, violate, seed));
                    if of.name() != "log" {
                        damaged(&mut events, &mut rng);
                    }
                    let ops = paired(of, &events);
                    let found = alarm(of, &events);
                    let Verdict::Violation(whole) = check(of, &ops, &Options::default()).verdict
                    else {
                        assert_eq!(found, None, "{} with seed {seed}", of.name());
                        held += 1;
                        continue;
                    };
                    violated += 1;
                    let (event, _) = found.expect("it is found while it grows");
                    assert_eq!(event, whole.event, "{} with seed {seed}", of.name());
                }
                assert!(
                    held > 50 && violated > 200,
                    "{}: {held}, {violated}",
                    of.name()
                );
            });
        }
    });
}
