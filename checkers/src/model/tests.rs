//! The model held against itself: every mutant dies as pinned, both searches agree, both reductions lose nothing.

use std::collections::HashSet;

use stateright::{Checker, Model};

use super::check::{Configuration, ROWS, run_row, search};
use super::mutants::{self, Mutant};
use super::raft::{Invariant, Raft};
use super::search::{Fingerprints, Trail};
use super::state::State;

fn named(name: &str) -> Configuration {
    Configuration::named(name).unwrap()
}

#[test]
fn every_small_row_has_its_pinned_count_and_fires_every_action() {
    for row in ROWS
        .iter()
        .filter(|r| r.depth != super::check::Depth::Full && r.unique < 150_000)
    {
        assert_eq!(run_row(row).failures, Vec::<String>::new());
    }
}

#[test]
fn every_mutant_dies_as_pinned_or_survives_as_expected() {
    for pinned in mutants::all() {
        assert_eq!(mutants::run(pinned.mutant).surprise, None);
    }
}

#[test]
fn a_changed_count_says_so() {
    let mut row = *ROWS.iter().find(|r| r.configuration.name == "1x1").unwrap();
    row.unique += 1;
    assert!(run_row(&row).failures[0].contains("a rule or the model changed"));
}

#[test]
fn a_broken_rule_fails_its_row() {
    let mut row = ROWS[0];
    row.configuration.rules.broken = Some(Mutant::NoLogCheck);
    assert!(
        run_row(&row).failures[0].contains("Leader Completeness is violated in 2x2 at depth 8")
    );
}

#[test]
fn each_guard_kills_a_mutant_too() {
    let kill = |mutant, invariant: Invariant, by_term| {
        let mut c = named("2x2");
        c.rules.broken = Some(mutant);
        c.watched = invariant.bit();
        if by_term {
            c.votes = super::check::Votes::ByTerm;
        }
        let found = search(&c, Trail::Keep)
            .violation
            .expect("the guard sees it");
        (found.invariant, found.actions.len())
    };
    assert_eq!(
        kill(Mutant::GrantTwice, Invariant::VoteMonotone, false),
        (Invariant::VoteMonotone, 3)
    );
    assert_eq!(
        kill(Mutant::NoVotePersist, Invariant::LeaderAppendOnly, false),
        (Invariant::LeaderAppendOnly, 10)
    );
    assert_eq!(
        kill(Mutant::NoVotePersist, Invariant::LogMatching, true),
        (Invariant::LogMatching, 7)
    );
    assert_eq!(
        kill(Mutant::MinorityQuorum, Invariant::ElectionSafety, true),
        (Invariant::ElectionSafety, 4)
    );
    assert_eq!(
        kill(Mutant::SkipPrevCheck, Invariant::LogMatching, false),
        (Invariant::LogMatching, 8)
    );
}

#[test]
fn stateright_counts_the_same_states() {
    for name in ["1x1", "1x2", "2x1", "2x2", "2x2 by term", "2x3 grow"] {
        let c = named(name);
        let row = ROWS.iter().find(|r| r.configuration.name == name).unwrap();
        let unique = if c.terms == 1 {
            Raft::<3>::new(c)
                .checker()
                .spawn_dfs()
                .join()
                .unique_state_count()
        } else {
            Raft::<6>::new(c)
                .checker()
                .spawn_dfs()
                .join()
                .unique_state_count()
        };
        assert_eq!(unique as u64, row.unique, "{name}");
    }
}

/// Every state that is reachable, each mapped by `project`.
fn reachable<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    project: impl Fn(&State<SLOTS>) -> State<SLOTS>,
) -> HashSet<State<SLOTS>> {
    let mut known = Fingerprints::default();
    let mut projected = HashSet::new();
    let mut todo = vec![State::default()];
    let mut actions = Vec::new();
    known.insert(todo[0].fingerprint());
    while let Some(state) = todo.pop() {
        projected.insert(project(&state));
        actions.clear();
        model.actions(&state, &mut actions);
        for &action in &actions {
            if let Some(next) = model.step(&state, action, &mut 0)
                && known.insert(next.fingerprint())
            {
                todo.push(next);
            }
        }
    }
    projected
}

#[test]
fn forgetting_dead_leader_ids_loses_no_state() {
    fn check<const SLOTS: usize>(c: Configuration) {
        let model = Raft::<SLOTS>::new(c);
        let with = reachable(&model, |s| *s);
        let without = reachable(
            &Raft::<SLOTS>::new(Configuration { reduce: false, ..c }),
            |s| {
                let mut s = *s;
                model.reduce(&mut s);
                s
            },
        );
        assert!(
            with == without,
            "{}: {} and {}",
            c.name,
            with.len(),
            without.len()
        );
    }
    check::<3>(named("1x1"));
    check::<3>(named("1x2"));
    check::<6>(named("2x1"));
    check::<6>(Configuration {
        restore: true,
        ..named("2x1")
    });
    check::<6>(Configuration {
        votes: super::check::Votes::ByTerm,
        ..named("2x1")
    });
    check::<3>(Configuration {
        reads: 1,
        ..named("1x2")
    });
    check::<3>(Configuration {
        lease: true,
        ..named("1x2")
    });
    check::<3>(Configuration {
        flush: true,
        ..named("1x1")
    });
}

#[test]
fn an_explanation_ends_in_the_pinned_invariant() {
    for mutant in [
        Mutant::NoLogCheck,
        Mutant::LeaseForgotten,
        Mutant::RestoreVolatileCommit,
    ] {
        let told = super::explain(mutant);
        let (invariant, depth) = mutant.pinned().killer.unwrap();
        assert_eq!(
            (told.invariant, told.steps.len() as u32),
            (Some(invariant), depth)
        );
        assert!(told.to_string().contains(&invariant.to_string()));
    }
}
