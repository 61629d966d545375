//! Nodes that speak by lines, as a user of Maelstrom meets them: the program unchanged, the bench its network.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{assert_nothing_left, machine, said};

/// Runs a target headless; gives the exit code, the object and what was said besides.
fn run(dir: &Path, args: &[&str]) -> (i32, Value, String) {
    let dir = dir.to_str().expect("a temporary folder has a plain name");
    let args = [&["run", "--target"], args, &["--json", "--out", dir]].concat();
    let (code, out, err) = said(&args);
    let object = serde_json::from_str(&out);
    let object = object.unwrap_or_else(|e| panic!("{e}: exit {code}\n{out}\n{err}"));
    (code, object, err)
}

#[test]
fn a_raft_in_python_holds_while_its_lines_are_lost_and_late() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let args = ["maelstrom-lin-kv", "--time", "12", "--seed", "5"];
    let (code, object, err) = run(dir.path(), &args);
    assert_eq!(code, 0, "{object:#}\n{err}");
    assert_eq!(object["verdict"], "linearizable");
    assert!(object["ops"]["ok"].as_u64() > Some(200), "{object:#}");
    let faults = object["faults"].as_object().expect("there were faults");
    assert!(!faults.is_empty(), "{object:#}");
    assert!(!err.contains("no message to anybody"), "{err}");
    assert_nothing_left(dir.path(), Duration::ZERO);
}

#[test]
fn reads_from_a_nodes_own_state_are_found_as_documented() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let args = ["maelstrom-lin-kv", "--mode", "weak", "--time", "30"];
    let (code, object, err) = run(dir.path(), &args);
    assert_eq!(code, 0, "{object:#}\n{err}");
    assert_eq!(object["verdict"], "violation", "{object:#}");
    assert_nothing_left(dir.path(), Duration::ZERO);
}

#[test]
fn a_killed_node_is_told_again_who_it_is_and_its_rubbish_is_counted() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("tests/protocols/targets/durable-lin-kv.toml");
    let file = file.display().to_string();
    let args = [file.as_str(), "--time", "10", "--seed", "2"];
    let (code, object, err) = run(dir.path(), &args);
    assert_eq!(code, 0, "{object:#}\n{err}");
    assert_eq!(object["verdict"], "linearizable");
    assert_eq!(object["findings"].as_array().map(Vec::len), Some(0));
    assert!(object["faults"]["kill"].as_u64() > Some(0), "{object:#}");
    assert!(
        object["own_ops"]["ok"].as_u64() > Some(0),
        "it is back: {object:#}"
    );
    let said: Vec<&str> = err
        .lines()
        .filter(|line| line.contains("n1 printed what is no message to anybody"))
        .collect();
    assert!(
        matches!(said[..], [line] if line.ends_with("\"starting up\"")),
        "{err}"
    );
    assert_nothing_left(dir.path(), Duration::ZERO);
}

/// The verdict of `check` on a run's history, read by itself.
fn checked(object: &Value) -> (i32, Value) {
    let dir = object["dir"].as_str().expect("the run has a folder");
    let history = format!("{dir}/history.jsonl");
    let (code, out, err) = said(&["check", "--json", &history]);
    let checked = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    (code, checked)
}

/// Runs a target of another data type in both of its modes: one holds, the other is caught; and the history says the same
/// by itself.
fn holds_and_is_caught(target: &str, spec: &str, weak: &[&str], anomalies: &[&str]) {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let (code, object, err) = run(dir.path(), &[target, "--time", "10", "--seed", "5"]);
    assert_eq!(code, 0, "{object:#}\n{err}");
    assert_eq!(object["verdict"], "linearizable");
    assert_eq!(object["spec"], spec);
    assert!(object["ops"]["ok"].as_u64() > Some(100), "{object:#}");
    let by_name = object["ops_by_name"].as_object().expect("they have names");
    assert!(!by_name.contains_key("write"), "{object:#}");
    let (code, held) = checked(&object);
    assert_eq!(
        (code, &held["verdict"]),
        (0, &object["verdict"]),
        "{held:#}"
    );
    assert_eq!(held["spec"], spec);
    assert_nothing_left(dir.path(), Duration::ZERO);

    let dir = tempfile::tempdir().unwrap();
    let args = [&[target, "--mode", "weak", "--seed", "3"], weak].concat();
    let (code, object, err) = run(dir.path(), &args);
    assert_eq!(code, 0, "as documented: {object:#}\n{err}");
    assert_eq!(object["verdict"], "violation", "{object:#}");
    let anomaly = object["anomaly"].as_str().expect("it has a name");
    assert!(anomalies.contains(&anomaly), "{anomaly}");
    let proof = object["counterexample"]["operations"].as_array();
    assert!(proof.is_some_and(|proof| !proof.is_empty()), "{object:#}");
    let (code, violated) = checked(&object);
    assert_eq!(
        (code, violated["verdict"].as_str()),
        (1, Some("violation")),
        "{violated:#}"
    );
    assert_eq!(violated["anomaly"], object["anomaly"]);
    assert_eq!(violated["culprit"], object["counterexample"]["culprit"]);
    let text = std::fs::read_to_string(dir_of(&object).join("counterexample.txt")).unwrap();
    assert!(text.starts_with(anomaly), "{text}");
    assert_nothing_left(dir.path(), Duration::ZERO);
}

fn dir_of(object: &Value) -> std::path::PathBuf {
    object["dir"].as_str().expect("it has a folder").into()
}

#[test]
fn unique_ids_hold_and_ids_that_each_node_counts_for_itself_are_caught() {
    holds_and_is_caught(
        "maelstrom-unique-ids",
        "ids",
        &["--time", "20"],
        &["duplicate"],
    );
}

#[test]
fn a_broadcast_that_is_passed_on_again_holds_and_one_that_is_not_loses() {
    holds_and_is_caught(
        "maelstrom-broadcast",
        "eventual-set",
        &["--time", "20"],
        &["lost"],
    );
}

#[test]
fn a_set_by_majorities_holds_and_one_of_each_nodes_own_state_is_caught() {
    let anomalies = ["stale", "lost", "neither-holds-the-other"];
    holds_and_is_caught("maelstrom-g-set", "set", &["--time", "30"], &anomalies);
}
