//! Recipes that wait for an instant: the instant comes, what they do then is done, and the outcome says what it proves.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{assert_nothing_left, machine, only_folder, said};

/// Runs a scenario; gives its exit code, its object and the lines of its faults.
fn run(scenario: &str, dir: &Path) -> (i32, Value, Vec<Value>) {
    let _machine = machine();
    let folder = dir.to_str().expect("a temporary folder has a plain name");
    let (code, out, err) = said(&["run", scenario, "--seed", "1", "--json", "--out", folder]);
    let object =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: exit {code}\n{out}\n{err}"));
    assert_nothing_left(dir, Duration::ZERO);
    let faults = std::fs::read_to_string(only_folder(dir).join("journal.jsonl")).unwrap();
    let faults = faults
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (code, object, faults.collect())
}

/// When something was told of the first fault of this kind.
fn at(faults: &[Value], event: &str, kind: &str) -> u64 {
    let found = faults
        .iter()
        .find(|line| line["event"] == event && line["fault"]["fault"] == kind);
    let found = found.unwrap_or_else(|| panic!("no {event} of {kind} in {faults:#?}"));
    found["time_ns"].as_u64().expect("a time")
}

/// When each anchor came.
fn anchors(faults: &[Value]) -> Vec<u64> {
    let anchors = faults.iter().filter(|line| line["event"] == "anchor");
    anchors
        .filter_map(|line| line["time_ns"].as_u64())
        .collect()
}

#[test]
fn the_power_fails_while_a_sync_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said, faults) = run("power-loss-on-sync", dir.path());
    assert_eq!(code, 0, "{said:#}");
    let anchors = anchors(&faults);
    assert_eq!(anchors.len(), 3, "{faults:#?}");
    // The sync is held from before the anchor until after the power has gone.
    let (held, power) = (
        at(&faults, "fault-in", "disk"),
        at(&faults, "fault-in", "power-loss"),
    );
    let healed = at(&faults, "fault-out", "disk");
    assert!(held < anchors[0] && anchors[0] < power && power < healed);
}

#[test]
fn a_follower_dies_half_way_through_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said, faults) = run("kill-in-snapshot", dir.path());
    assert_eq!(code, 0, "{said:#}");
    let [anchor] = anchors(&faults)[..] else {
        panic!("{faults:#?}");
    };
    let (cut, kill) = (
        at(&faults, "fault-in", "cut"),
        at(&faults, "fault-in", "kill"),
    );
    assert!(anchor < cut && cut < kill);
    // Each piece goes on when it is due, and not before the one before it.
    let pieces = faults
        .iter()
        .filter(|line| line["method"] == "install-snapshot" && line["message"] == "delay-request");
    let number = |line: &Value, name: &str| line[name].as_u64().expect("a number");
    let mut due = 0;
    let due: Vec<u64> = pieces
        .map(|line| {
            due = due.max(number(line, "time_ns") + number(line, "late_us") * 1_000);
            due
        })
        .collect();
    let gone = due.iter().filter(|&&due| due <= anchor).count();
    assert!(gone >= 2, "{gone} pieces had gone on, of {due:?}");
}

#[test]
fn what_a_lying_disk_has_lost_is_a_violation_that_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said, _) = run("lying-disk", dir.path());
    assert_eq!(code, 1, "{said:#}");
    let outside = said["unpromised"].as_array().expect("a list");
    let lies = |fault: &Value| {
        fault
            .as_str()
            .is_some_and(|words| words.contains("syncs that lie"))
    };
    assert!(outside.len() == 2 && outside.iter().all(lies), "{said:#}");
}
