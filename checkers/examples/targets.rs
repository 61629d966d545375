//! Measures the judge: `cargo run --release -p checkers --example targets`. Operations a second, by algorithm.

use std::time::Instant;

use checkers::format::{Format, jsonl};
use checkers::generate::{Domain, Generator, Recipe, Violation};
use checkers::history::{Event, History};
use checkers::linear::{Judgement, Options, judge_key, online::Online, zones};
use checkers::verdict::Algorithm;

fn main() {
    zones_in_memory();
    reading();
    online();
    where_others_give_up();
}

fn make(recipe: &Recipe) -> (Vec<Event>, History) {
    let events: Vec<Event> = Generator::new(recipe.clone()).collect();
    let history = History::from_events(recipe.header(), &events).expect("a history");
    (events, history)
}

fn million() -> Recipe {
    Recipe {
        ops: 1_000_000,
        clients: 100,
        pending: 0.05,
        seed: 1,
        ..Recipe::default()
    }
}

fn row(what: &str, ops: u64, seconds: f64, rest: &str) {
    println!(
        "{what:<62} {:>9.3} ms {:>8.1} ns/op {:>8.2} Mops/s  {rest}",
        seconds * 1e3,
        seconds * 1e9 / ops as f64,
        ops as f64 / seconds / 1e6
    );
}

fn zones_in_memory() {
    let (_, history) = make(&million());
    let key = &history.keys[0];
    let best = (0..5)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(
                zones::check(&key.ops, key.values.len(), key.events),
                zones::Zones::Holds
            );
            started.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min);
    row(
        "zones, 1,000,000 ops, 1 key, 100 clients, 5 % unknown",
        1_000_000,
        best,
        "",
    );
}

fn reading() {
    let (_, history) = make(&million());
    let mut text = Vec::new();
    jsonl::write(&mut text, &history).expect("a vector takes everything");
    let started = Instant::now();
    let read = checkers::format::read(text.as_slice(), "h", Some(Format::Jsonl), None);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(read.expect("a history").history.len(), history.len());
    row(
        "reading the same as JSONL",
        1_000_000,
        seconds,
        &format!("{} MB", text.len() >> 20),
    );
}

fn online() {
    let recipe = Recipe {
        clients: 50,
        keys: 5,
        pending: 0.001,
        cas: 0.1,
        ..million()
    };
    let (events, _) = make(&recipe);
    let mut judge = Online::new(Options::default());
    let started = Instant::now();
    for event in &events {
        assert!(judge.push(event).is_none());
    }
    row(
        "online, unique values, 5 keys, 50 clients, cas",
        recipe.ops,
        started.elapsed().as_secs_f64(),
        "",
    );
    let recipe = Recipe {
        ops: 20_000,
        values: Domain::Small(5),
        cas: 0.0,
        ..recipe
    };
    let (events, _) = make(&recipe);
    let mut judge = Online::new(Options::default());
    let started = Instant::now();
    for event in &events {
        assert!(judge.push(event).is_none());
    }
    row(
        "online, values 1..5, 5 keys, 50 clients",
        recipe.ops,
        started.elapsed().as_secs_f64(),
        "",
    );
}

/// Rows in which Porcupine gives up (CHECKERS.md): unique and repeated values, many clients, unknown outcomes.
fn where_others_give_up() {
    for clients in [20, 50, 100] {
        for pending in [0.0, 0.05, 0.2] {
            for (values, cas, violate) in [
                (Domain::Unique, 0.0, None),
                (Domain::Unique, 0.3, None),
                (Domain::Unique, 0.0, Some(Violation::StaleRead)),
                (Domain::Small(5), 0.0, None),
                (Domain::Small(5), 0.0, Some(Violation::StaleRead)),
                (Domain::Small(5), 0.3, None),
            ] {
                let recipe = Recipe {
                    ops: 10_000,
                    clients,
                    pending,
                    values,
                    cas,
                    violate,
                    seed: 2,
                    ..Recipe::default()
                };
                let (_, history) = make(&recipe);
                for algorithm in [None, Some(Algorithm::Frontier)] {
                    if algorithm.is_some() && values != Domain::Unique {
                        continue;
                    }
                    let options = Options {
                        algorithm,
                        ..Options::default()
                    };
                    let started = Instant::now();
                    let judged = judge_key(&history.keys[0], &options);
                    let seconds = started.elapsed().as_secs_f64();
                    let verdict = match judged.judgement {
                        Judgement::Holds => "holds".to_owned(),
                        Judgement::Fails => "violation".to_owned(),
                        Judgement::Unknown { proven_to, .. } => {
                            format!(
                                "unknown, proven to {proven_to} of {}",
                                history.keys[0].events
                            )
                        }
                    };
                    let what = format!(
                        "{clients} clients, {pending} unknown, {values}, cas {cas}{}, {}",
                        if violate.is_some() {
                            ", stale read"
                        } else {
                            ""
                        },
                        judged.algorithm.name()
                    );
                    row(
                        &what,
                        recipe.ops,
                        seconds,
                        &format!("{} configurations, {verdict}", judged.configurations),
                    );
                }
            }
        }
    }
}
