//! What is known of other people's systems, shown again: the bug where it is, its twin clean, and no run of a version that
//! cannot show it.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::{assert_nothing_left, installed, machine, said};

/// Runs a scenario headless; gives the exit code, the object and what was said besides.
fn run(dir: &Path, args: &[&str]) -> (i32, Value, String) {
    let dir = dir.to_str().expect("a temporary folder has a plain name");
    let (code, out, err) = said(&[&["run"], args, &["--json", "--out", dir]].concat());
    let object = serde_json::from_str(&out);
    let object = object.unwrap_or_else(|e| panic!("{e}: exit {code}\n{out}\n{err}"));
    (code, object, err)
}

/// The first of some runs that ends with this code: a machine that is too slow for a step's times proves nothing. Where it
/// should hold, no run may find anything.
fn one_of(runs: u32, args: &[&str], code: i32) -> Value {
    let mut seen = Vec::new();
    for _ in 0..runs {
        let dir = tempfile::tempdir().unwrap();
        let (ended, object, err) = run(dir.path(), args);
        assert_nothing_left(dir.path(), Duration::ZERO);
        if ended == code {
            return object;
        }
        assert!(ended != 1, "{args:?} found something: {object:#}");
        seen.push(format!("exit {ended}: {}\n{err}", object["coverage"]));
    }
    panic!("no run of {args:?} ended with {code}:\n{}", seen.join("\n"));
}

#[test]
fn a_leader_of_etcd_that_was_replaced_as_it_stood_answers_with_the_old_value() {
    if !installed::here(&["etcd"]) {
        return;
    }
    let _machine = machine();
    let object = one_of(3, &["etcd-20418"], 1);
    assert_eq!(object["verdict"], "violation", "{object:#}");
    assert_eq!(object["anomaly"], "stale-read", "{object:#}");
    assert_eq!(object["issue"], "etcd-io/etcd#20418");
    let operations = object["counterexample"]["operations"].as_array();
    assert!(operations.is_some_and(|all| all.len() >= 3), "{object:#}");
}

#[test]
fn without_its_second_question_etcd_holds() {
    if !installed::here(&["etcd"]) {
        return;
    }
    let _machine = machine();
    let object = one_of(3, &["etcd-20418-twin"], 0);
    assert_eq!(object["verdict"], "linearizable", "{object:#}");
    assert_eq!(object["issue"], Value::Null);
}

#[test]
fn a_version_that_cannot_show_it_is_refused_with_those_that_can_and_what_installs_one() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("etcd");
    let script = "#!/bin/sh\necho etcd Version: 3.6.99\n";
    std::fs::write(&program, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let program = program.to_str().unwrap();
    let (code, _, err) = said(&["run", "etcd-20418", "--program", program]);
    assert_eq!(code, 69, "{err}");
    for part in [
        "is 3.6.99, which cannot show it",
        "3.4.23 to before",
        "to install it: ",
    ] {
        assert!(err.contains(part), "no {part:?}: {err}");
    }
    let (code, _, err) = said(&["run", "pysyncobj-84", "--program", "/nonexistent/python3"]);
    assert_eq!(code, 69, "{err}");
    assert!(
        err.contains("to install it: pip install pysyncobj==0.3.15"),
        "{err}"
    );
    let (code, _, err) = said(&["run", "etcd-20418", "--target", "redis"]);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("the scenario is about etcd"), "{err}");
    let (code, _, err) = said(&["run", "etcd-20418", "--faults", "kill"]);
    assert!(code == 64 || code == 69, "{err}");
    let (code, _, err) = said(&["run", "calm", "--program", program]);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("--program: it is a target's"), "{err}");
}

/// A Python that has this version of PySyncObj: in the folder that `.ci/run` makes, or where the environment says.
fn pysyncobj(version: &str) -> Option<String> {
    let folder = std::env::var_os("WHITEWATER_VENVS").map(PathBuf::from);
    let python = folder?.join(format!("pysyncobj-{version}/bin/python"));
    python.is_file().then(|| python.display().to_string())
}

#[test]
fn an_old_pysyncobj_loses_what_it_acknowledged_and_a_newer_one_does_not() {
    let versions = ["0.3.15", "0.3.17"].map(pysyncobj);
    let [Some(old), Some(new)] = versions else {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI needs PySyncObj in virtual environments, see .ci/run"
        );
        eprintln!("WHITEWATER_VENVS names no folder with PySyncObj: passed over");
        return;
    };
    let _machine = machine();
    let object = one_of(3, &["pysyncobj-84", "--program", &old], 1);
    assert_eq!(object["verdict"], "violation", "{object:#}");
    assert_eq!(object["issue"], "bakwc/PySyncObj#84");
    let object = one_of(3, &["pysyncobj-84-twin", "--program", &new], 0);
    assert_eq!(object["verdict"], "linearizable", "{object:#}");
}
