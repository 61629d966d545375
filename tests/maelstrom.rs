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
