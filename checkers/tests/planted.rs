//! What `gen --violate` plants is found, shown by few operations that are a violation by themselves, and contradicts
//! the log ids; what it makes without is linearizable, and its log ids say so.

use checkers::generate::{Domain, Generator, Planted, Recipe, Violation};
use checkers::history::{Event, EventKind, Header, History, Operation};
use checkers::linear::certificate::{Certificate, certificate};
use checkers::linear::{Options, check};
use checkers::verdict::{Counterexample, Verdict};

fn make(recipe: &Recipe) -> History {
    let events: Vec<Event> = Generator::new(recipe.clone()).collect();
    History::from_events(recipe.header(), &events).expect("what is generated is well formed")
}

fn violation(history: &History) -> Option<Counterexample> {
    match check(history, &Options::default()).verdict {
        Verdict::Violation(found) => Some(*found),
        Verdict::Linearizable => None,
        Verdict::Unknown(reason) => panic!("{reason}"),
    }
}

/// The operations as a history of their own.
fn alone(operations: &[Operation]) -> History {
    let mut events = Vec::new();
    for op in operations {
        let event = |index, kind| Event {
            index,
            time_ns: index,
            client: Some(op.client),
            node: op.node,
            kind,
        };
        let key = op.key.clone();
        let call = op.call;
        events.push(event(op.invoked, EventKind::Invoke { key, call }));
        if let Some(completed) = op.completed {
            let kind = EventKind::Complete {
                outcome: op.outcome,
                at: op.at,
                error: op.error.clone(),
            };
            events.push(event(completed, kind));
        }
    }
    events.sort_by_key(|event| event.index);
    History::from_events(Header::default(), &events).expect("operations are a history")
}

/// Recipes of every roughness for `seed`.
fn recipe(seed: u64, kind: Violation) -> Recipe {
    let values = [
        Domain::Unique,
        Domain::Small(5),
        Domain::Small(2),
        Domain::Small(1),
    ];
    Recipe {
        ops: 120,
        clients: [1, 3, 8, 20][seed as usize % 4],
        keys: 1 + seed / 4 % 2,
        pending: [0.0, 0.05, 0.2][seed as usize / 8 % 3],
        failed: [0.0, 0.05][seed as usize / 3 % 2],
        cas: [0.0, 0.2][seed as usize / 5 % 2],
        delete: [0.0, 0.1][seed as usize / 7 % 2],
        values: values[seed as usize / 2 % 4],
        violate: Some(kind),
        seed,
        ..Recipe::default()
    }
}

fn each_seed(kind: Violation) {
    let (mut among, mut most) = (0, 0);
    for seed in 0..240 {
        let recipe = recipe(seed, kind);
        let history = make(&recipe);
        let found = violation(&history)
            .unwrap_or_else(|| panic!("{} is not found: {recipe:?}", kind.name()));
        most = most.max(found.operations.len());
        assert!(most <= 6, "{recipe:?}: {found:#?}");
        let proof = violation(&alone(&found.operations));
        assert!(proof.is_some(), "{recipe:?}: alone it is none: {found:#?}");
        assert!(
            !matches!(certificate(&history), Certificate::Holds { .. }),
            "{recipe:?}"
        );
        among += u32::from(recipe.planted() == Planted::Among);
    }
    assert!(among >= 100, "{among} with repeated values");
}

#[test]
fn a_stale_read_is_shown_by_six_operations_at_most() {
    each_seed(Violation::StaleRead);
}

#[test]
fn a_lost_write_is_shown_by_six_operations_at_most() {
    each_seed(Violation::LostWrite);
}

#[test]
fn a_read_from_the_future_is_shown_by_six_operations_at_most() {
    each_seed(Violation::FutureRead);
}

#[test]
fn an_aborted_read_is_shown_by_six_operations_at_most() {
    each_seed(Violation::AbortedRead);
}

#[test]
fn two_cas_from_one_value_are_shown_by_six_operations_at_most() {
    each_seed(Violation::DoubleCas);
}

#[test]
fn a_resurrected_delete_is_shown_by_six_operations_at_most() {
    each_seed(Violation::ResurrectedDelete);
}

/// A planted violation is the only one: what comes before it and what others see is true.
#[test]
fn without_a_violation_the_same_recipes_hold_and_their_log_ids_agree() {
    let mut proven = 0;
    for seed in 0..120 {
        let recipe = Recipe {
            violate: None,
            ..recipe(seed, Violation::StaleRead)
        };
        let history = make(&recipe);
        assert_eq!(violation(&history), None, "{recipe:?}");
        match certificate(&history) {
            Certificate::Holds { .. } => proven += 1,
            Certificate::Contradiction(found) => panic!("{recipe:?}: {found:?}"),
            Certificate::Silent { .. } => {}
        }
    }
    assert!(proven > 60, "{proven} are proven by their log ids");
}
