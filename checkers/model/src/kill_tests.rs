//! Kills at every point between the *begin* and the *done* of an effect: what a node does then is explained, whether the
//! effect was on its disk or not; and a store that loses what it said to be done is named.

use std::collections::BTreeMap;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::check::Configuration;
use super::conform::{Conformance, conform};
use super::project::{Doing, Effect, Fate, Walk};
use super::raft::{Action, Raft};
use super::state::{NODES, lid};
use super::trace::{Kind, Line};

const VOTERS: Option<&[u64]> = Some(&[1, 2, 3]);

/// Three terms of three entries. Nothing is forgotten: a node that was killed may say again what it said.
fn model(flush: bool, snapshots: bool) -> Raft<9> {
    Raft::new(Configuration {
        entries: 3,
        reduce: false,
        flush,
        snapshots,
        ..Configuration::named("3x2").unwrap()
    })
}

/// One of what may happen next, campaigns only once in so many: they use up the terms.
fn next(walk: &Walk<9>, campaigns: u32, rng: &mut impl Rng) -> Option<Doing> {
    let mut doings = Vec::new();
    walk.doings(&mut doings);
    // Conflicts are rare, so one that can be met is met half of the time.
    let cuts = |d: &&Doing| {
        (0..NODES).any(|i| {
            let effects = walk.effects(i, **d);
            effects.iter().any(|e| e.kind() == Kind::Truncate)
        })
    };
    if rng.random_range(0..2) == 0 {
        let cutting: Vec<_> = doings.iter().filter(cuts).collect();
        if !cutting.is_empty() {
            return Some(*cutting[rng.random_range(0..cutting.len())]);
        }
    }
    let seldom = |d: &Doing| {
        matches!(
            d,
            Doing::Step(Action::Elect(_) | Action::Learn(..)) | Doing::Hear(..)
        )
    };
    if rng.random_range(0..campaigns) != 0 && doings.iter().any(|d| !seldom(d)) {
        doings.retain(|d| !seldom(d));
    }
    (!doings.is_empty()).then(|| doings[rng.random_range(0..doings.len())])
}

/// Goes on for so many steps, with a kill or a flush now and then, and ends all nodes.
fn go_on(mut walk: Walk<9>, steps: usize, rng: &mut impl Rng) -> Vec<Vec<Line>> {
    for _ in 0..steps {
        let i = rng.random_range(0..NODES);
        match rng.random_range(0..8) {
            0 => kill_anyhow(&mut walk, i, rng),
            1 | 2 => walk.flush(i),
            _ => {
                if let Some(doing) = next(&walk, 8, rng) {
                    walk.run(doing);
                }
            }
        }
    }
    assert_eq!(
        walk.state().violated,
        0,
        "the walk itself breaks an invariant"
    );
    for i in 0..NODES {
        kill_anyhow(&mut walk, i, rng);
    }
    walk.lines()
}

fn kill_anyhow(walk: &mut Walk<9>, i: usize, rng: &mut impl Rng) {
    let survive = walk.open(i).map(|n| rng.random_range(0..=n));
    let done = survive.map(|n| rng.random_range(0..=n));
    walk.kill(i, survive, done, rng);
}

/// What one of the node's effects is, for counting: votes by what they mean, cuts by what they are for.
fn name(effects: &[Effect], at: usize, node: usize) -> &'static str {
    let installs = effects.iter().any(|e| e.kind() == Kind::Install);
    match &effects[at] {
        Effect::Vote(v) => match (v.node == node as u64 + 1, v.committed) {
            (true, false) => "campaign",
            (true, true) => "lead",
            (false, false) => "grant",
            (false, true) => "follow",
        },
        other => match other.kind() {
            Kind::Append => "append",
            Kind::Truncate if installs => "cut for a snapshot",
            Kind::Truncate => "truncate",
            Kind::Apply => "apply",
            Kind::Snapshot => "snapshot",
            Kind::Install => "install",
            _ => "purge",
        },
    }
}

const NAMES: [&str; 11] = [
    "append",
    "apply",
    "campaign",
    "cut for a snapshot",
    "follow",
    "grant",
    "install",
    "lead",
    "purge",
    "snapshot",
    "truncate",
];

/// n1's log conflicts with that of n2, which leads after it and has committed: what only n1 has goes, by a slice or by a
/// snapshot.
fn conflict() -> Vec<Action> {
    let (first, second) = (lid(1, 0), lid(2, 1));
    let append = |to, from, end| Action::Append {
        to,
        from,
        prev: 0,
        end,
        announced: 0,
    };
    vec![
        Action::Elect(0),
        Action::Vote(1, first),
        Action::Lead(0),
        Action::Write(0),
        append(1, first, 1),
        Action::Elect(1),
        Action::Vote(2, second),
        Action::Lead(1),
        append(2, second, 2),
        Action::Advance(1, 2),
    ]
}

/// Walks the model, and gives each point at which a node begins an effect: the walk before it, what happens, to which
/// node, and which of its effects it is.
fn each_begin(
    walks: usize,
    rng: &mut ChaCha8Rng,
    mut visit: impl FnMut(&Walk<9>, (Doing, usize, usize), &[Effect], &mut ChaCha8Rng),
) {
    let model = model(false, true);
    for nth in 0..walks {
        let mut walk = Walk::new(&model);
        if nth % 2 == 0 {
            conflict().into_iter().for_each(|action| walk.step(action));
        }
        for _ in 0..60 {
            if rng.random_range(0..16) == 0 {
                kill_anyhow(&mut walk, rng.random_range(0..NODES), rng);
            }
            // Leaders that follow each other quickly leave conflicts; one that stays has its entries committed.
            let campaigns = if nth % 3 == 0 { 8 } else { 3 };
            let Some(doing) = next(&walk, campaigns, rng) else {
                break;
            };
            for i in 0..NODES {
                let effects = walk.effects(i, doing);
                for at in 0..effects.len() {
                    visit(&walk, (doing, i, at), &effects, rng);
                }
            }
            walk.run(doing);
        }
    }
}

#[test]
fn a_kill_between_begin_and_done_accuses_nobody() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut tried: BTreeMap<(&str, Fate), u32> = BTreeMap::new();
    each_begin(160, &mut rng, |walk, (doing, i, at), effects, rng| {
        let effect = &effects[at];
        for fate in [Fate::Kept, Fate::Lost] {
            let mut killed = walk.clone();
            killed.run_and_kill(doing, i, (at, fate), rng);
            let files = go_on(killed, 15, rng);
            if let Conformance::Rejected(rejected) = conform(files.clone(), VOTERS) {
                panic!(
                    "{doing:?} of n{}, {effect:?} {fate:?}\n{rejected:#?}\n{}",
                    i + 1,
                    show(&files)
                );
            }
            *tried.entry((name(effects, at, i), fate)).or_default() += 1;
        }
    });
    for name in NAMES {
        for fate in [Fate::Kept, Fate::Lost] {
            let n = tried.get(&(name, fate)).copied().unwrap_or(0);
            assert!(n >= 12, "{name} {fate:?}: only {n}; {tried:?}");
        }
    }
}

#[test]
fn a_kill_while_effects_overlap_accuses_nobody() {
    let model = model(true, false);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut tried, mut many) = (0, 0);
    for _ in 0..60 {
        let mut walk = Walk::new(&model);
        for _ in 0..60 {
            for i in 0..NODES {
                let [log, state] = walk.open(i);
                for survive in 0..=log {
                    let state = rng.random_range(0..=state);
                    for done in [0, survive] {
                        let mut killed = walk.clone();
                        killed.kill(i, [survive, state], [done, 0], &mut rng);
                        let files = go_on(killed, 15, &mut rng);
                        if let Conformance::Rejected(rejected) = conform(files.clone(), VOTERS) {
                            panic!(
                                "n{} {survive} {done}\n{rejected:#?}\n{}",
                                i + 1,
                                show(&files)
                            );
                        }
                        tried += 1;
                        many += u32::from(log > 1);
                    }
                }
            }
            match rng.random_range(0..4) {
                0 => walk.flush(rng.random_range(0..NODES)),
                _ => match next(&walk, 8, &mut rng) {
                    Some(doing) => walk.run(doing),
                    None => break,
                },
            }
        }
    }
    assert!(
        tried > 5_000 && many > 1_000,
        "{tried}, {many} with several open"
    );
}

#[test]
fn a_store_that_loses_what_was_done_is_named_whatever_it_was() {
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    let mut tried: BTreeMap<&str, u32> = BTreeMap::new();
    each_begin(160, &mut rng, |walk, (doing, i, at), effects, rng| {
        let effect = &effects[at];
        // A state machine may go back: what is committed is applied again.
        if effect.kind() == Kind::Apply {
            return;
        }
        let mut killed = walk.clone();
        killed.run_and_kill(doing, i, (at, Fate::DoneAndLost), rng);
        let files = go_on(killed, 15, rng);
        match conform(files.clone(), VOTERS) {
            Conformance::Rejected(r) if r.node == i as u64 + 1 && r.event.contains("start") => {}
            other => panic!(
                "{doing:?} of n{}, {effect:?}\n{other:#?}\n{}",
                i + 1,
                show(&files)
            ),
        }
        *tried.entry(name(effects, at, i)).or_default() += 1;
    });
    for name in NAMES.iter().filter(|&&name| name != "apply") {
        let n = tried.get(name).copied().unwrap_or(0);
        assert!(n >= 12, "{name}: only {n}; {tried:?}");
    }
}

fn show(files: &[Vec<Line>]) -> String {
    let lines = files.iter().flatten();
    let text: Vec<String> = lines.map(|l| serde_json::to_string(l).unwrap()).collect();
    text.join("\n")
}
