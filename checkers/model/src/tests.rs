//! The model held against itself: every mutant dies as pinned, both searches agree, both reductions lose nothing.

use std::cmp::Ordering;
use std::collections::HashSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::check::{Configuration, ROWS, run_row, search};
use super::mutants::{self, Mutant};
use super::raft::{Invariant, Raft};
use super::rules::{Answer, Ballot, Log, Order, Received, Rules};
use super::search::{Fingerprints, Trail};
use super::state::State;

fn named(name: &str) -> Configuration {
    Configuration::named(name).unwrap()
}

#[test]
fn every_small_row_has_its_pinned_count_and_fires_every_action() {
    for row in ROWS
        .iter()
        .filter(|r| r.depth != super::check::Depth::Full && r.unique < 200_000)
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
fn only_those_that_survive_are_spared_and_one_of_them_is_not_equivalent() {
    for pinned in mutants::all() {
        assert_eq!(pinned.spared.is_none(), pinned.killer.is_some());
    }
    let why = |mutant: Mutant| mutant.pinned().spared.unwrap();
    assert!(why(Mutant::NoPrevTruncate).contains("equivalent"));
    assert!(!why(Mutant::MissingVoteAsDefault).contains("equivalent"));
}

#[test]
fn a_snapshot_reaches_no_other_state_by_steps_of_its_own() {
    // Nothing is purged, so an installation does what the slice from the log's beginning does: see the module's page.
    let without = named("2x2");
    let with = Configuration {
        snapshots: true,
        ..without
    };
    let all = |c| reachable(&Raft::<6>::new(c), |s| *s);
    assert!(all(with) == all(without));
    let steps = |c| search(c, Trail::Forget).generated;
    assert!(steps(&with) > steps(&without));
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

/// The invariants that stateright's search finds violated in a model made as `model explore --mutant` makes it.
fn discovered<const SLOTS: usize>(c: Configuration) -> Vec<&'static str> {
    let found = Raft::<SLOTS>::new(c)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut names: Vec<_> = found.discoveries().into_keys().collect();
    names.sort_unstable();
    names
}

#[test]
fn the_explorer_serves_each_mutant_that_forgetting_would_hide() {
    let hidden = mutants::all()
        .iter()
        .filter(|p| p.mutant.breaks_reduction());
    let mut tried = 0;
    for pinned in hidden {
        let mut c = named("2x2");
        c.rules.broken = Some(pinned.mutant);
        let ours = search(&c, Trail::Forget).violation.expect("it is killed");
        let theirs = discovered::<6>(c);
        let want = format!("{:?}", ours.invariant);
        assert!(
            theirs.contains(&want.as_str()),
            "{:?}: {theirs:?}, not {want}",
            pinned.mutant
        );
        tried += 1;
    }
    assert_eq!(tried, 5);
    assert_eq!(discovered::<3>(named("1x2")), Vec::<&str>::new());
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

/// One of five nodes, for a schedule by hand over the same rules.
#[derive(Clone, Default)]
struct Replica {
    log: Vec<(u64, u64)>,
    vote: Option<Ballot<(u64, u64)>>,
}

impl Log<(u64, u64)> for Vec<(u64, u64)> {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn leader_at(&self, position: u64) -> Option<(u64, u64)> {
        self.get(usize::try_from(position).ok()?.checked_sub(1)?)
            .copied()
    }
}

struct TermAndNode;

impl Order for TermAndNode {
    type Leader = (u64, u64);
    fn compare(&self, a: (u64, u64), b: (u64, u64)) -> Option<Ordering> {
        Some(a.cmp(&b))
    }
    fn compare_in_log(&self, a: (u64, u64), b: (u64, u64)) -> Ordering {
        a.cmp(&b)
    }
    fn term(&self, a: (u64, u64)) -> u64 {
        a.0
    }
}

const NO_VOTE: Ballot<(u64, u64)> = Ballot {
    leader: (0, 0),
    committed: false,
};

/// Whether the node grants its vote to a candidate with this log.
fn asks(rules: Rules, to: &mut Replica, candidate: (u64, u64), log: &Vec<(u64, u64)>) -> bool {
    let mine = to.vote.unwrap_or(NO_VOTE);
    let answer = rules.answer(
        &TermAndNode,
        (candidate, log.last()),
        mine,
        to.log.last(),
        false,
    );
    let granted = matches!(answer, Answer::Granted { .. });
    if granted {
        to.vote = Some(Ballot {
            leader: candidate,
            committed: false,
        });
    }
    granted
}

/// Whether the node acknowledges the whole log of a leader.
fn sends(rules: Rules, to: &mut Replica, from: (u64, u64), log: &Vec<(u64, u64)>) -> bool {
    if !rules.accepts(&TermAndNode, from, to.vote.unwrap_or(NO_VOTE)) {
        return false;
    }
    if rules.adopts(&TermAndNode, from, to.vote) {
        to.vote = Some(Ballot {
            leader: from,
            committed: true,
        });
    }
    let Received::Fits { keep, from, .. } = rules.receive(&to.log, log, 0, log.length()) else {
        return false;
    };
    to.log.truncate(keep as usize);
    to.log.extend(&log[from as usize..]);
    true
}

/// How many of five nodes hold what was committed on three of them, once an old leader's message arrives late.
fn copies_after_a_late_message(rules: Rules) -> usize {
    let mut nodes: Vec<Replica> = vec![Replica::default(); 6];
    // n2 leads term 1 by the votes of n3 and n4, and its entries are under way.
    let (old, old_log) = ((1, 2), vec![(1, 2), (1, 2)]);
    assert!(
        [3, 4]
            .iter()
            .all(|&j| asks(rules, &mut nodes[j], old, &vec![]))
    );
    // n3 leads term 2 by the votes of n4 and n5, and commits on n1 and n4. n1 never voted.
    let (new, new_log) = ((2, 3), vec![(2, 3)]);
    assert!(
        [4, 5]
            .iter()
            .all(|&j| asks(rules, &mut nodes[j], new, &vec![]))
    );
    nodes[3].log = new_log.clone();
    assert!(
        [1, 4]
            .iter()
            .all(|&j| sends(rules, &mut nodes[j], new, &new_log))
    );
    assert!(rules.quorum(1 << 1 | 1 << 3 | 1 << 4, (0b11_1110, None)));
    // Now n2's old message reaches n1.
    sends(rules, &mut nodes[1], old, &old_log);
    nodes.iter().filter(|n| n.log == new_log).count()
}

#[test]
fn a_missing_vote_read_as_the_default_needs_five_nodes_to_do_harm() {
    assert_eq!(copies_after_a_late_message(Rules::default()), 3);
    let broken = Some(Mutant::MissingVoteAsDefault);
    assert_eq!(copies_after_a_late_message(Rules { broken }), 2);
}

#[test]
fn what_never_happens_is_named() {
    let reports: Vec<_> = ROWS
        .iter()
        .filter(|r| ["1x2", "2x1"].contains(&r.configuration.name))
        .map(run_row)
        .collect();
    let never = super::check::never(&reports);
    assert!(
        never
            .iter()
            .any(|n| n.contains("the action \"install\" never happens"))
    );
    assert!(never.iter().any(|n| n.ends_with("a read is answered")));
    assert!(!never.iter().any(|n| n.contains("\"elect\"")));
}
