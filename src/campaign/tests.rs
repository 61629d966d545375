//! The way from what a run said to a table and an exit code, on recorded objects.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::keep::{Keep, keep};
use super::ledger::NAME;
use super::line::{Came, End, Named};
use super::*;
use crate::journal::{self, Event};
use crate::scenario::{Changes, Given};

fn asked(defects: &[&str], decoys: bool) -> Asked {
    Asked {
        scenarios: vec!["calm".to_owned()],
        contents: vec![content(&Given::find("calm").unwrap())],
        seed: 10,
        runs: Some(4),
        for_seconds: None,
        until_found: None,
        defects: defects.iter().map(|name| (*name).to_owned()).collect(),
        decoys,
        changes: words(&Changes::default()),
        bearable_ms: 30.0,
    }
}

fn runs(asked: Asked) -> Runs {
    let given = Given::find("calm").unwrap();
    Runs::new(asked, &[given], &Changes::default()).unwrap()
}

fn named(run: u64, planted: Option<&str>) -> Named {
    Named {
        run,
        scenario: "calm".to_owned(),
        seed: 10 + run,
        planted: planted.map(str::to_owned),
        again: format!("whitewater run calm --seed {}", 10 + run),
    }
}

fn came(end: End, said: Option<Value>) -> Came {
    Came {
        end,
        interrupted: false,
        said,
        found: Vec::new(),
        last_words: "the last words".to_owned(),
        took: Duration::from_secs(40),
        load: 1.5,
        late_ms: 2.0,
        spent: Duration::from_secs(40),
        dir: Some(PathBuf::from("runs/0/x")),
    }
}

/// What a run that held says.
fn held() -> Value {
    json!({"verdict": "linearizable", "exit": 0, "seconds": 30.0,
           "ops": {"ok": 90, "failed": 4, "unknown": 1}, "findings": [], "bench_errors": []})
}

/// What a run says that found a stale read.
fn stale(alarm: f64) -> Value {
    json!({"verdict": "violation", "exit": 1, "anomaly": "stale-read", "seconds": alarm,
           "alarm_seconds": alarm, "unpromised": [], "findings": [],
           "counterexample": {"key": "k1", "answered_as": "old leader", "operations": [
               {"call": {"write": 5}}, {"call": {"write": 6}}, {"call": "read"}]}})
}

/// What a run says whose mode is documented to show what it has shown.
fn documented() -> Value {
    let mut said = stale(2.0);
    (said["exit"], said["target"]) = (json!(0), json!("etcd"));
    said["expected"] = json!(["stale-read"]);
    said
}

fn found(oracles: &[&str]) -> Value {
    let findings = oracles.iter();
    let findings: Vec<Value> = findings
        .map(|oracle| json!({"oracle": oracle, "evidence": "they differ"}))
        .collect();
    json!({"verdict": "linearizable", "exit": 1, "seconds": 30.0, "findings": findings})
}

fn line(run: u64, planted: Option<&str>, code: i32, said: Value) -> Line {
    let came = came(End::Exit(code), Some(said));
    Line::of(&named(run, planted), &came).expect("it counts")
}

fn vacuous() -> Value {
    json!({"verdict": "linearizable", "exit": 3,
           "coverage": {"broken_promises": ["1 election, and 2 were promised"]}})
}

#[test]
fn each_way_in_which_a_run_ends_has_its_class() {
    let class = |code: i32, said: Value| line(0, None, code, said).class;
    assert_eq!(class(0, held()), Class::Held);
    assert_eq!(class(1, stale(4.0)), Class::Violation);
    assert_eq!(class(1, found(&["state-hash"])), Class::Finding);
    assert_eq!(
        class(2, json!({"verdict": "unknown", "exit": 2})),
        Class::Unknown
    );
    assert_eq!(class(3, vacuous()), Class::Vacuous);
    let full = json!({"verdict": "linearizable", "exit": 70, "bench_errors": ["disk full"]});
    let broken = line(0, None, 70, full);
    assert_eq!(
        (broken.class, broken.note.as_deref()),
        (Class::BenchError, Some("disk full"))
    );
    let shown = line(0, None, 0, documented());
    assert_eq!(
        (shown.class, shown.alarm_seconds),
        (Class::Documented, Some(2.0))
    );
    let signature = shown.signature.expect("it is counted");
    assert_eq!(
        (signature.target.as_str(), signature.documented),
        ("etcd", true)
    );
    // It could not be printed: the bench has failed, and nobody is accused.
    assert_eq!(class(70, documented()), Class::BenchError);
    // Something else was found besides: that is no longer what is documented.
    let mut worse = documented();
    worse["findings"] = json!([{"oracle": "panic", "evidence": "n1 panicked"}]);
    worse["exit"] = json!(1);
    assert_eq!(class(1, worse), Class::Violation);
    // Where the code and the object do not agree, what was found stays found.
    assert_eq!(class(70, stale(4.0)), Class::Violation);
    assert_eq!(class(0, found(&["exit"])), Class::Finding);
    assert_eq!(class(1, held()), Class::Finding);
}

#[test]
fn a_run_that_said_nothing_is_a_bench_error_unless_it_had_told_of_something_before() {
    let of = |came: Came| Line::of(&named(0, None), &came);
    for (end, note) in [
        (End::Exit(70), "it ended with 70: the last words"),
        (End::Exit(0), "it ended with 0: the last words"),
        (End::Exit(130), "it ended with 130: the last words"),
        (End::Signal(11), "signal 11 ended it"),
        (
            End::Hung(Duration::from_secs(270)),
            "it did not end within 270 s, and was ended",
        ),
    ] {
        let line = of(came(end, None)).expect("it counts");
        assert_eq!(
            (line.class, line.note.as_deref()),
            (Class::BenchError, Some(note))
        );
    }
    let silent = of(came(End::Exit(1), None)).expect("it counts");
    assert_eq!(silent.class, Class::Finding);
    let shown = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/shown/stale-read");
    let found = journal::found_in(&shown);
    assert!(matches!(found[..], [Event::Alarm { .. }]), "{found:?}");
    let panicked = Came {
        found,
        ..came(End::Exit(70), None)
    };
    let line = of(panicked).expect("it counts");
    assert_eq!(line.class, Class::Violation);
    let signature = line.signature.expect("it failed");
    assert_eq!(signature.anomaly.as_deref(), Some("unclassified"));
    assert_eq!(signature.operations, ["read", "write"]);
}

#[test]
fn a_run_that_was_told_to_end_counts_only_if_it_had_found_something() {
    let interrupted = |end, said| {
        let came = Came {
            interrupted: true,
            ..came(end, said)
        };
        Line::of(&named(0, None), &came).map(|line| line.class)
    };
    assert_eq!(interrupted(End::Exit(130), Some(held())), None);
    assert_eq!(interrupted(End::Stopped, None), None);
    assert_eq!(interrupted(End::Exit(70), None), None);
    assert_eq!(
        interrupted(End::Exit(1), Some(stale(2.0))),
        Some(Class::Violation)
    );
}

#[test]
fn failures_are_grouped_by_what_they_are_and_never_by_values_seeds_or_times() {
    let mut later = stale(9.0);
    later["seed"] = json!(77);
    later["counterexample"]["operations"] = json!([{"call": {"write": 50}}, {"call": "read"}, {"call": {"write": 60}}, {"call": "read"}]);
    let mut cas = stale(1.0);
    cas["counterexample"]["operations"] = json!([{"call": {"cas": {"old": 1, "new": 2}}}]);
    let mut follower = stale(1.0);
    follower["counterexample"]["answered_as"] = json!("follower");
    let mut lied = stale(1.0);
    lied["unpromised"] = json!(["lying sync"]);
    let lines = [
        line(0, None, 1, stale(4.0)),
        line(1, None, 1, later),
        line(2, None, 1, cas),
        line(3, None, 1, follower),
        line(4, None, 1, lied),
        line(5, None, 1, found(&["state-hash", "trace"])),
        line(6, None, 0, held()),
        line(7, None, 70, json!({"exit": 70})),
    ];
    let table = Table::of(&asked(&[], false), &lines);
    assert_eq!(table.failures.len(), 5, "{:#?}", table.failures);
    let first = &table.failures[0];
    // The bench error says nothing about the system: it is not among those that the rate is of.
    assert_eq!(first.rate, Rate { hits: 2, of: 7 });
    assert_eq!(first.median_seconds, Some(4.0));
    assert_eq!(first.p90_seconds, Some(9.0));
    assert_eq!(
        (first.shortest, first.again.as_str()),
        (0, "whitewater run calm --seed 10")
    );
    assert_eq!(
        first.signature.to_string(),
        "history: stale-read of read, write, answered by old leader"
    );
    let hash = table
        .failures
        .iter()
        .find(|row| row.signature.oracle == "state-hash");
    let hash = hash.expect("it is a row");
    assert_eq!(hash.beside.get("trace"), Some(&1));
    // It came after the workload: within the whole time that the run took.
    assert_eq!(hash.median_seconds, Some(40.0));
}

#[test]
fn a_table_is_the_same_in_whatever_order_its_lines_came_and_a_run_counts_once() {
    let mut lines = vec![
        line(0, None, 0, held()),
        line(1, None, 1, stale(4.0)),
        line(2, None, 3, vacuous()),
        line(3, None, 1, stale(3.0)),
    ];
    let asked = asked(&[], false);
    let table = Table::of(&asked, &lines);
    lines.reverse();
    assert_eq!(Table::of(&asked, &lines), table);
    lines.push(line(0, None, 0, held()));
    assert_eq!(Table::of(&asked, &lines), table);
}

#[track_caller]
fn code(lines: &[Line], asked: &Asked, ended: Ended, expected: u8) {
    assert_eq!(Table::of(asked, lines).exit(ended), expected);
}

#[test]
fn a_hunt_exits_with_the_worst_of_its_runs() {
    let asked = asked(&[], false);
    let unknown = || json!({"verdict": "unknown", "exit": 2});
    let of = |said: &[(i32, Value)]| -> Vec<Line> {
        let said = (0..).zip(said.iter().cloned());
        said.map(|(run, (code, said))| line(run, None, code, said))
            .collect()
    };
    use Ended::{Complete, Interrupted};
    let full = || json!({"exit": 70, "bench_errors": ["disk full"]});
    code(&of(&[(0, held()), (0, held())]), &asked, Complete, 0);
    code(&of(&[(0, held()), (3, vacuous())]), &asked, Complete, 0);
    code(&of(&[(3, vacuous()), (3, vacuous())]), &asked, Complete, 3);
    code(&[], &asked, Complete, 3);
    code(
        &of(&[(0, documented()), (3, vacuous())]),
        &asked,
        Complete,
        0,
    );
    code(
        &of(&[(0, documented()), (1, stale(1.0))]),
        &asked,
        Complete,
        1,
    );
    code(&of(&[(0, held()), (2, unknown())]), &asked, Complete, 2);
    code(&of(&[(2, unknown()), (70, full())]), &asked, Complete, 70);
    code(&of(&[(70, full()), (1, stale(1.0))]), &asked, Complete, 1);
    code(&of(&[(1, found(&["exit"]))]), &asked, Complete, 1);
    code(
        &of(&[(0, held()), (2, unknown())]),
        &asked,
        Interrupted,
        130,
    );
    code(&[], &asked, Interrupted, 130);
    code(&of(&[(1, stale(1.0))]), &asked, Interrupted, 1);
}

#[test]
fn where_defects_are_measured_finding_one_is_no_failure_and_an_alarm_elsewhere_is() {
    let asked = asked(&["stale-read", "early-ack"], true);
    let (stale_read, early_ack) = (Some("stale-read"), Some("early-ack"));
    let met = |reached: u64, triggered: u64| {
        let mut said = held();
        said["defect_counts"] = json!({"reached": reached, "triggered": triggered});
        said
    };
    let mut lines = vec![
        line(0, stale_read, 1, stale(4.0)),
        line(1, early_ack, 0, met(7, 0)),
        line(2, stale_read, 0, met(3, 1)),
        line(3, early_ack, 1, found(&["trace"])),
        line(4, Some("slow-read"), 0, held()),
        line(5, None, 0, held()),
        line(6, None, 3, vacuous()),
    ];
    let table = Table::of(&asked, &lines);
    assert_eq!(table.exit(Ended::Complete), 0);
    assert!(!lines.iter().any(|line| asked.is_failure(line)));
    for planted in [Some("slow-read"), None] {
        let alarm = line(7, planted, 1, found(&["history"]));
        assert!(asked.is_failure(&alarm), "{planted:?}");
    }
    let [first, second] = &table.defects[..] else {
        panic!("two defects were asked for");
    };
    assert_eq!((first.rate, first.tier), (Rate { hits: 1, of: 2 }, "T1"));
    // Half of two runs had found it by then; what missed it counts as later than any.
    assert_eq!((first.median_seconds, first.p90_seconds), (Some(4.0), None));
    assert_eq!(first.oracles.get("history"), Some(&1));
    assert_eq!(second.reached, Some(Rate { hits: 1, of: 1 }));
    assert_eq!(second.triggered, Some(Rate { hits: 0, of: 1 }));
    assert_eq!(table.controls.len(), 6, "five decoys, and plain nodes");
    let plain = table.controls.last().expect("they are the last");
    assert_eq!(
        (&plain.decoy, plain.alarms),
        (&None, Rate { hits: 0, of: 2 })
    );

    let never: Vec<Line> = lines.iter().filter(|line| line.run != 3).cloned().collect();
    code(&never, &asked, Ended::Complete, 3);
    code(&never, &asked, Ended::Interrupted, 130);
    let with = |line: Line| lines.iter().cloned().chain([line]).collect::<Vec<_>>();
    code(
        &with(line(7, Some("slow-read"), 1, stale(2.0))),
        &asked,
        Ended::Complete,
        1,
    );
    code(
        &with(line(7, None, 1, found(&["exit"]))),
        &asked,
        Ended::Complete,
        1,
    );
    let unknown = json!({"verdict": "unknown", "exit": 2});
    code(
        &with(line(7, None, 2, unknown.clone())),
        &asked,
        Ended::Complete,
        2,
    );
    // A run of a defect without a verdict has missed it, and that is all.
    code(
        &with(line(7, early_ack, 2, unknown)),
        &asked,
        Ended::Complete,
        0,
    );
    lines.push(line(7, early_ack, 70, json!({"exit": 70})));
    code(&lines, &asked, Ended::Complete, 70);
    assert_eq!(
        Table::of(&asked, &lines).defects[1].rate,
        Rate { hits: 1, of: 2 }
    );
}

#[test]
fn runs_are_counted_through_so_that_each_can_be_named() {
    let runs = runs(asked(&["stale-read", "early-ack"], false));
    assert_eq!(runs.total(), Some(8));
    let of = |run| {
        let setup = runs.setup(run).unwrap();
        let named = runs.named(run, &setup);
        (named.planted.unwrap(), named.seed, named.again)
    };
    assert_eq!(
        of(0),
        (
            "stale-read".to_owned(),
            10,
            "whitewater run calm --nodes 3 --time 20 --seed 10 --defect stale-read".to_owned()
        )
    );
    assert_eq!((of(1).0.as_str(), of(1).1), ("early-ack", 10));
    assert_eq!((of(6).0.as_str(), of(6).1), ("stale-read", 13));
    assert_eq!((runs.next(7, &[]), runs.next(8, &[])), (Some(7), None));
}

#[test]
fn enough_of_one_defect_does_not_end_the_others() {
    let runs = runs(Asked {
        runs: Some(3),
        until_found: Some(1),
        ..asked(&["stale-read", "early-ack"], false)
    });
    let found = [line(0, Some("stale-read"), 1, stale(4.0))];
    assert_eq!(
        runs.next(2, &found),
        Some(3),
        "run 2 is of the one that was found"
    );
    assert!(!runs.is_complete(&found) && !runs.is_enough(&found));
    let both = [found[0].clone(), line(3, Some("early-ack"), 1, stale(4.0))];
    assert!(runs.is_complete(&both) && runs.is_enough(&both));
    assert_eq!(runs.next(4, &both), None);
    // The last of a round is found already; the other one is still under way.
    assert_eq!(runs.next(5, &[both[1].clone()]), None);
    assert!(!runs.is_enough(&[both[1].clone()]));
}

#[test]
fn a_scenario_without_an_end_is_no_campaign() {
    let given = Given::find("by-hand").unwrap();
    let asked = Asked {
        scenarios: vec!["by-hand".to_owned()],
        ..asked(&[], false)
    };
    let error = Runs::new(asked, &[given], &Changes::default()).unwrap_err();
    assert!(error.to_string().contains("--time"), "{error}");
}

#[test]
fn the_first_five_of_a_kind_are_kept_whole_and_so_is_the_shortest() {
    let mut lines: Vec<Line> = (0..8)
        .map(|run| line(run, None, 1, stale(20.0 - run as f64)))
        .collect();
    lines.push(line(8, None, 0, held()));
    lines.push(line(9, None, 3, vacuous()));
    lines.push(line(10, None, 1, found(&["exit"])));
    lines.push(line(11, None, 70, json!({"exit": 70})));
    let kept = keep(&lines);
    let of = |run: u64| kept[&run];
    for run in [0, 1, 2, 3, 4, 7, 10, 11] {
        assert_eq!(of(run), Keep::Whole, "{run}");
    }
    assert_eq!((of(5), of(6)), (Keep::Evidence, Keep::Evidence));
    assert_eq!((of(8), of(9)), (Keep::Line, Keep::Line));
}

/// A campaign's folder after these runs.
fn campaign(dir: &std::path::Path, lines: &[Line]) -> Ledger {
    let mut ledger = Ledger::open(dir, &mut asked(&[], false), Seed::Given).unwrap();
    for line in lines {
        ledger.add(line.clone()).unwrap();
    }
    ledger
}

#[test]
fn a_campaign_goes_on_where_it_was_also_behind_half_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [line(0, None, 0, held()), line(1, None, 1, stale(4.0))];
    drop(campaign(dir.path(), &lines));
    let file = dir.path().join(NAME);
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{whole}{{\"run\":{{\"run\":2,\"sce")).unwrap();
    let mut again = asked(&[], false);
    again.seed = 999;
    let mut ledger = Ledger::open(dir.path(), &mut again, Seed::Drawn).unwrap();
    assert_eq!((ledger.lines(), again.seed), (&lines[..], 10));
    ledger.add(line(2, None, 0, held())).unwrap();
    drop(ledger);
    let ledger = Ledger::open(dir.path(), &mut again, Seed::Given).unwrap();
    assert_eq!(
        ledger.lines().len(),
        3,
        "nothing was lost behind the half line"
    );
}

#[test]
fn a_campaign_of_something_else_is_refused_with_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    drop(campaign(dir.path(), &[]));
    let refused = |other: Asked| {
        let mut other = other;
        let opened = Ledger::open(dir.path(), &mut other, Seed::Given);
        opened.unwrap_err().to_string()
    };
    let own = || asked(&[], false);
    for (other, word) in [
        (Asked { seed: 11, ..own() }, "--seed: it was 10, and is 11"),
        (
            Asked {
                runs: None,
                ..own()
            },
            "--runs: it was 4, and is not given",
        ),
        (
            Asked {
                decoys: true,
                ..own()
            },
            "--decoys",
        ),
        (
            asked(&["early-ack"], false),
            "--defects: it was none, and is early-ack",
        ),
        (
            Asked {
                contents: vec![1],
                ..own()
            },
            "what is in calm has changed",
        ),
        (
            Asked {
                changes: [("--rate".to_owned(), "9".to_owned())].into(),
                ..own()
            },
            "--rate 9",
        ),
    ] {
        let said = refused(other);
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_folder_of_something_else_one_in_use_and_a_file_that_is_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |dir: &std::path::Path| {
        let opened = Ledger::open(dir, &mut asked(&[], false), Seed::Given);
        opened.map_err(|error| error.to_string())
    };
    let busy = dir.path().join("busy");
    let first = open(&busy).unwrap();
    assert!(open(&busy).unwrap_err().contains("another hunt"));
    drop(first);
    open(&busy).unwrap();
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "x").unwrap();
    assert!(open(&foreign).unwrap_err().contains("not empty"));
    let broken = dir.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join(NAME), "{\"run\":{}}\n").unwrap();
    assert!(open(&broken).unwrap_err().contains("campaign.jsonl:1:"));
}

#[test]
fn folders_are_reduced_to_what_is_worth_keeping_and_what_never_ended_goes() {
    let dir = tempfile::tempdir().unwrap();
    let run = |number: u64| keep::place(dir.path(), number).join("20261123-141503-calm-1");
    for number in 0..10 {
        std::fs::create_dir_all(run(number).join("nodes/1")).unwrap();
        for name in [
            "scenario.toml",
            "verdict.json",
            "counterexample.txt",
            "history.jsonl",
        ] {
            std::fs::write(run(number).join(name), "x").unwrap();
        }
    }
    let mut lines: Vec<Line> = (0..8)
        .map(|run| line(run, None, 1, stale(4.0 + run as f64)))
        .collect();
    lines.push(line(8, None, 0, held()));
    keep::forget_unfinished(dir.path(), &lines).unwrap();
    keep::tidy(dir.path(), &lines, &mut Default::default()).unwrap();
    assert!(run(0).join("history.jsonl").exists() && run(4).join("nodes/1").exists());
    assert!(!run(5).join("history.jsonl").exists() && !run(5).join("nodes").exists());
    for name in ["scenario.toml", "verdict.json", "counterexample.txt"] {
        assert!(run(7).join(name).exists(), "{name}");
    }
    assert!(!keep::place(dir.path(), 8).exists(), "it held");
    assert!(!keep::place(dir.path(), 9).exists(), "it never ended");
}
