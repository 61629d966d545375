//! Violations are called by their names: whatever `gen --violate` plants by its kind, and the corpus file by file.

use checkers::anomaly::{self, Anomaly};
use checkers::generate::{Domain, Generator, Recipe, Violation};
use checkers::history::{Event, EventKind, History, Outcome};
use checkers::linear::online::Online;
use checkers::linear::stream::{self, Read, Reading};
use checkers::linear::{Options, check};
use checkers::verdict::{Counterexample, Verdict};

fn violation(history: &History) -> Option<Counterexample> {
    match check(history, &Options::default()).verdict {
        Verdict::Violation(found) => Some(*found),
        Verdict::Linearizable => None,
        Verdict::Unknown(reason) => panic!("{reason}"),
    }
}

/// Small histories of every roughness.
fn recipe(seed: u64, kind: Violation) -> Recipe {
    let values = [Domain::Unique, Domain::Small(5), Domain::Small(2)];
    Recipe {
        ops: 60,
        clients: [1, 3, 8][seed as usize % 3],
        keys: 1 + seed / 4 % 2,
        pending: [0.0, 0.05, 0.2][seed as usize / 8 % 3],
        failed: [0.0, 0.05][seed as usize / 3 % 2],
        cas: [0.0, 0.2][seed as usize / 5 % 2],
        delete: [0.0, 0.1][seed as usize / 7 % 2],
        values: values[seed as usize / 2 % 3],
        violate: Some(kind),
        seed,
        ..Recipe::default()
    }
}

fn without_log_ids(events: &mut [Event]) {
    for event in events {
        if let EventKind::Complete { at, .. } = &mut event.kind {
            *at = None;
        }
    }
}

#[test]
fn whatever_is_planted_is_called_by_its_kind_with_log_ids_and_without() {
    let mut wrong = Vec::new();
    for kind in Violation::ALL {
        for seed in 0..400 {
            let recipe = recipe(seed, kind);
            let mut events: Vec<Event> = Generator::new(recipe.clone()).collect();
            for log_ids in [true, false] {
                if !log_ids {
                    without_log_ids(&mut events);
                }
                let history = History::from_events(recipe.header(), &events).expect("well formed");
                let found = violation(&history).expect("it is found");
                let name = anomaly::of(&found, Some(&history)).name();
                if name != kind.name() {
                    wrong.push(format!(
                        "{} is called {name}: {log_ids} {recipe:?}",
                        kind.name()
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of 4,800 have another name:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
}

/// The alarm comes while the history grows; the name is given when all of it is there.
#[test]
fn what_is_found_while_the_history_grows_has_the_same_name() {
    for kind in Violation::ALL {
        for seed in 0..100 {
            let recipe = recipe(seed, kind);
            let events: Vec<Event> = Generator::new(recipe.clone()).collect();
            let mut online = Online::new(Options::default());
            for event in &events {
                online.push(event);
            }
            let Verdict::Violation(found) = online.finish() else {
                panic!("{} is not found: {recipe:?}", kind.name());
            };
            let history = History::from_events(recipe.header(), &events).expect("well formed");
            let name = anomaly::of(&found, Some(&history)).name();
            assert_eq!(name, kind.name(), "{recipe:?}: {found:#?}");
        }
    }
}

/// Answers that are changed at random are violations of every kind, also of those that nobody would plant.
#[test]
fn no_violation_of_a_register_is_left_without_a_name() {
    let mut counted = std::collections::BTreeMap::<&str, u32>::new();
    for seed in 0..1_500u64 {
        let recipe = Recipe {
            violate: None,
            ..recipe(seed, Violation::StaleRead)
        };
        let mut events: Vec<Event> = Generator::new(recipe.clone()).collect();
        let completions = events.iter_mut().filter_map(|event| match &mut event.kind {
            EventKind::Complete { outcome, .. } => Some(outcome),
            EventKind::Invoke { .. }
            | EventKind::Mark(_)
            | EventKind::Gap { .. }
            | EventKind::Typed(_) => None,
        });
        for (i, outcome) in completions.enumerate() {
            // Which, and into what: arbitrary, and the same each time.
            let dice = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) + i as u64 * 7;
            match outcome {
                Outcome::Ok(Some(found)) if dice.is_multiple_of(13) => {
                    *found = 1 + (dice % 31) as i64
                }
                Outcome::Ok(found @ Some(_)) if dice.is_multiple_of(17) => *found = None,
                Outcome::Failed if dice.is_multiple_of(11) => *outcome = Outcome::Ok(None),
                Outcome::Ok(None) if dice.is_multiple_of(41) => *outcome = Outcome::Failed,
                _ => {}
            }
        }
        if seed.is_multiple_of(2) {
            without_log_ids(&mut events);
        }
        let history = History::from_events(recipe.header(), &events).expect("well formed");
        if let Some(found) = violation(&history) {
            let anomaly = anomaly::of(&found, Some(&history));
            assert_ne!(anomaly, Anomaly::Unclassified, "{recipe:?}: {found:#?}");
            *counted.entry(anomaly.name()).or_default() += 1;
        }
    }
    assert!(
        counted.values().sum::<u32>() > 1_000 && counted.len() >= 7,
        "{counted:?}"
    );
}

#[test]
fn every_violation_of_the_corpus_has_the_name_that_a_reader_would_give_it() {
    let names: &[(&str, Anomaly)] = &[
        ("absent-after-many-deletes.jsonl", Anomaly::StaleRead),
        ("append-twice.jsonl", Anomaly::DuplicateAppend),
        ("appends-in-two-orders.jsonl", Anomaly::WrongOrder),
        ("back-and-forth.jsonl", Anomaly::StaleRead),
        ("begins-as-another-keyword.edn", Anomaly::ValueFromNowhere),
        (
            "begins-at-a-value-that-comes-back.jsonl",
            Anomaly::StaleRead,
        ),
        ("begins-at-two-values.jsonl", Anomaly::ValueFromNowhere),
        (
            "begins-otherwise-than-it-says.jsonl",
            Anomaly::ValueFromNowhere,
        ),
        ("begins-somehow-and-comes-back.jsonl", Anomaly::StaleRead),
        ("begins-with-two-beginnings.jsonl", Anomaly::Unclassified),
        ("cas-from-nowhere.jsonl", Anomaly::ValueFromNowhere),
        ("chain-of-unknown-cas-broken.jsonl", Anomaly::StaleRead),
        ("circle-of-cas.jsonl", Anomaly::ValueFromNowhere),
        ("dirty-read.jsonl", Anomaly::AbortedRead),
        ("double-cas.jsonl", Anomaly::DoubleCas),
        ("future-read.jsonl", Anomaly::FutureRead),
        ("initial-value-comes-back.jsonl", Anomaly::StaleRead),
        ("jepsen-append-lost-to-nil.edn", Anomaly::LostAppend),
        ("jepsen-appends.edn", Anomaly::LostAppend),
        ("jepsen.edn", Anomaly::StaleRead),
        ("lost-append.jsonl", Anomaly::LostAppend),
        ("lost-update.jsonl", Anomaly::StaleCas),
        ("lost-write.jsonl", Anomaly::LostWrite),
        ("needle-among-repeated-values.jsonl", Anomaly::LostWrite),
        ("needle.jsonl", Anomaly::StaleRead),
        ("nil-is-absent.edn", Anomaly::StaleRead),
        ("porcupine-kv.txt", Anomaly::LostAppend),
        ("read-of-what-looks-alike.jsonl", Anomaly::ValueFromNowhere),
        ("reads-disagree-on-order.jsonl", Anomaly::StaleRead),
        ("recorded-lease-restart.jsonl.gz", Anomaly::StaleRead),
        ("recorded-stale-read-1.jsonl", Anomaly::StaleRead),
        ("recorded-stale-read-3.jsonl", Anomaly::StaleRead),
        ("register.edn", Anomaly::StaleRead),
        ("resurrected-delete.jsonl", Anomaly::ResurrectedDelete),
        ("stale-read.jsonl", Anomaly::StaleRead),
        ("surrogate-pairs.json", Anomaly::ValueFromNowhere),
        ("unknown-write-flickers.jsonl", Anomaly::StaleRead),
        ("value-comes-back.jsonl", Anomaly::StaleRead),
        ("value-from-nowhere.jsonl", Anomaly::ValueFromNowhere),
        ("violation-out-of-reach.jsonl", Anomaly::ResurrectedDelete),
        ("checker-agrees.log", Anomaly::StaleRead),
        ("clients-and-operations.jsonl", Anomaly::StaleRead),
        ("elle-without-f.json", Anomaly::ValueFromNowhere),
        ("etcd-operations.json", Anomaly::StaleRead),
        ("failed-cas-found-a-stale-value.jsonl", Anomaly::LostWrite),
        (
            "failed-cas-found-what-it-expected.jsonl",
            Anomaly::RefusedCas,
        ),
        ("failed-cas-that-compared.jsonl", Anomaly::RefusedCas),
        ("failed-write-after-the-read.txt", Anomaly::FutureRead),
        ("fenced.txt", Anomaly::StaleRead),
        ("indented.json", Anomaly::StaleRead),
        ("intervals.csv", Anomaly::StaleRead),
        ("intervals.json", Anomaly::DoubleCas),
        ("jepsen-2016.log", Anomaly::StaleRead),
        ("jepsen-2023.log", Anomaly::StaleRead),
        ("marked.edn", Anomaly::StaleRead),
        ("numbers-of-its-own.edn", Anomaly::StaleRead),
        ("porcupine-operations.json", Anomaly::LostAppend),
        ("process-that-is-a-word.edn", Anomaly::ValueFromNowhere),
        ("processes-of-words.jsonl", Anomaly::StaleRead),
        ("symbol-and-string.edn", Anomaly::ValueFromNowhere),
        ("time-of-its-own.jsonl", Anomaly::StaleRead),
        ("transactions-of-one.txt", Anomaly::LostAppend),
        ("tuples.json", Anomaly::StaleRead),
        ("two-numbers-alike.json", Anomaly::ValueFromNowhere),
        ("upper-case.json", Anomaly::StaleRead),
        ("versioned.json", Anomaly::StaleRead),
        ("violation-before-a-gap.jsonl", Anomaly::StaleRead),
        ("violation-behind-a-gap.jsonl", Anomaly::Unclassified),
        ("wrapped.json", Anomaly::StaleRead),
    ];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../histories/violating");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("it can be listed").path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        if file.starts_with("README") {
            continue;
        }
        let input = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let loaded = stream::read(input, &file, &Reading::default(), &Options::default());
        let history = match loaded.expect("it is well formed") {
            Read::Whole(loaded) => loaded.history,
            // Other data types than registers and lists have names of their own.
            Read::Typed(_) => continue,
            Read::Judged(_) => panic!("{file} is larger than memory"),
        };
        let Some(found) = violation(&history) else {
            continue;
        };
        let name = anomaly::of(&found, Some(&history));
        let expected = names.iter().find(|(known, _)| *known == file);
        if expected.map(|(_, name)| *name) != Some(name) {
            wrong.push(format!(
                "(\"{file}\", Anomaly::{name:?}), // {}",
                checkers::explain::text(&found, Some(&history.names))
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
