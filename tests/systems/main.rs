//! Other people's systems under `whitewater run --target`: real servers and a store of somebody's own, each started
//! unmodified on hosts of its own; exit codes, and nothing left behind.

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{assert_nothing_left, machine, only_folder, said};

/// The file of the store beside this one.
const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systems/store.toml");

/// Runs headless with `--json` in a folder of its own; gives the exit code and the object. Nothing is left of it.
fn tested(args: &[&str]) -> (i32, Value, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().to_str().expect("a plain name");
    let args: Vec<&str> = ["run"]
        .into_iter()
        .chain(args.iter().copied())
        .chain(["--json", "--out", out])
        .collect();
    let (code, text, err) = said(&args);
    let object = serde_json::from_str(&text);
    let object: Value = object.unwrap_or_else(|e| panic!("{e}: exit {code}\n{text}\n{err}"));
    assert_nothing_left(dir.path(), Duration::ZERO);
    (code, object, dir)
}

/// It held under these faults, for long enough to say something.
fn held(code: i32, run: &Value, faults: &[&str]) {
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["verdict"], "linearizable", "{run:#}");
    assert!(run["ops"]["ok"].as_u64() > Some(100), "{run:#}");
    for fault in faults {
        assert!(run["faults"][fault].as_u64() > Some(0), "{fault}: {run:#}");
    }
}

/// It shows one of the anomalies that its mode is documented to show.
fn documented(code: i32, run: &Value) {
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["verdict"], "violation", "{run:#}");
    let expected = run["expected"].as_array().expect("a list");
    assert!(expected.contains(&run["anomaly"]), "{run:#}");
    assert!(!run["counterexample"].is_null(), "{run:#}");
}

#[test]
fn etcd_holds_when_it_is_cut_paused_and_killed() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let _machine = machine();
    let faults = "kill,pause,isolate";
    let args = [
        "--target", "etcd", "--faults", faults, "--time", "15", "--seed", "2",
    ];
    let (code, run, dir) = tested(&args);
    held(code, &run, &["kill", "pause", "isolate"]);
    assert_eq!(run["target"], "etcd");
    assert_eq!(run["mode"], "strong");
    assert!(run["target_version"].as_str() > Some("3."), "{run:#}");
    assert!(run["elections"].as_u64() >= Some(1), "{run:#}");
    // What is kept is enough to run it again, and to judge it again.
    let folder = only_folder(dir.path());
    let kept = std::fs::read_to_string(folder.join("scenario.toml")).unwrap();
    assert!(
        kept.contains("[tested]") && kept.contains("--initial-cluster"),
        "{kept}"
    );
    let history = folder.join("history.jsonl");
    let (code, out, err) = said(&["check", history.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}\n{err}");
}

#[test]
fn etcds_serializable_reads_are_found_as_documented() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let _machine = machine();
    let args = [
        "--target", "etcd", "--mode", "weak", "--time", "40", "--seed", "4",
    ];
    let (code, run, dir) = tested(&args);
    documented(code, &run);
    let folder = only_folder(dir.path());
    let text = std::fs::read_to_string(folder.join("counterexample.txt")).unwrap();
    assert!(text.contains("etcd in mode weak"), "{text}");
}

#[test]
fn redis_with_a_sentinel_beside_each_server_holds_without_a_failover() {
    if !crate::support::installed::here(&["redis-server"]) {
        return;
    }
    let _machine = machine();
    let args = [
        "--target",
        "redis",
        "--faults",
        "kill,pause",
        "--time",
        "10",
        "--seed",
        "3",
    ];
    let (code, run, _dir) = tested(&args);
    held(code, &run, &["kill", "pause"]);
}

#[test]
fn a_system_of_ones_own_needs_its_file_and_nothing_else() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let faults = "cut";
    let args = [
        "--target", STORE, "--faults", faults, "--time", "10", "--seed", "5",
    ];
    let (code, run, _dir) = tested(&args);
    held(code, &run, &["cut"]);
    let args = [
        "--target", STORE, "--mode", "weak", "--time", "30", "--seed", "5",
    ];
    let (code, run, _dir) = tested(&args);
    documented(code, &run);
}

/// What `target new openraft` prints, for a store with that interface: only its program is another one.
fn began_as_openraft(dir: &Path) -> String {
    let (code, text, err) = said(&["target", "new", "openraft"]);
    assert_eq!(code, 0, "{err}");
    let script = Path::new(STORE).with_file_name("openraft.py");
    let run = format!("run = [\"{{program}}\", \"{}\", ", script.display());
    let mine = text
        .replace("[\"raft-key-value\", \"raft-kv\"]", "[\"python3\"]")
        .replace("run = [\"{program}\", ", &run)
        // Of this store it is a proof.
        .replace("# not_applied_match = ", "not_applied_match = ")
        .replace("# leader = \"/Err", "leader = \"/Err");
    for part in ["openraft.py", "\nnot_applied_match = ", "\nleader = \"/Err"] {
        assert!(mine.contains(part), "no {part:?}: {text}");
    }
    let path = dir.join("mine.toml");
    std::fs::write(&path, mine).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_began_as_openrafts_example_is_tested_by_the_file_for_it() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let file = began_as_openraft(dir.path());
    let (code, text, err) = said(&["target", "check", &file]);
    assert_eq!(code, 0, "{text}\n{err}");
    for line in [
        "✓ form       every step of [form] succeeds",
        "✓ leader     it says that it leads, in term 1",
        "✓ write      is acknowledged, and is read",
    ] {
        assert!(text.contains(line), "no {line:?}: {text}");
    }
    // Its first node leads for good: no other election can be promised.
    let args = [
        "calm",
        "--target",
        &file,
        "--faults",
        "pause,isolate",
        "--time",
        "8",
        "--seed",
        "5",
    ];
    let (code, run, _dir) = tested(&args);
    held(code, &run, &["pause"]);
    let args = [
        "--target", &file, "--mode", "weak", "--time", "30", "--seed", "5",
    ];
    let (code, run, _dir) = tested(&args);
    documented(code, &run);
}

#[test]
fn what_cannot_be_tested_is_refused_before_anything_starts() {
    if !crate::support::installed::here(&["etcd", "python3"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let store = std::fs::read_to_string(STORE).unwrap();
    let python = std::fs::read_to_string(Path::new(STORE).with_file_name("store.py")).unwrap();
    file("store.py", &python);
    let broken = file("broken.toml", &store.replace("[ready]", "[redy]"));
    let missing = file(
        "missing.toml",
        &store.replace("\"python3\"]", "\"no-such-program\"]"),
    );
    let out = dir.path().join("runs");
    let out = out.to_str().unwrap();
    for (args, code, words) in [
        (vec!["--target", "no-such"], 64, "there is no target"),
        (
            vec!["--target", STORE, "--mode", "no-such"],
            64,
            "strong, weak",
        ),
        (vec!["--target", "etcd", "--reads", "lease"], 64, "--reads"),
        (
            vec!["--target", "etcd", "--defect", "stale-read"],
            64,
            "stale-read",
        ),
        (vec!["--mode", "weak"], 64, "--target"),
        (vec!["--target", &broken], 65, "redy"),
        (vec!["--target", &missing], 69, "apt install python3"),
        (
            vec!["--target", "etcd", "--program", "/no/such/etcd"],
            69,
            "apt install etcd-server",
        ),
    ] {
        let args: Vec<&str> = ["run"]
            .into_iter()
            .chain(args)
            .chain(["--out", out])
            .collect();
        let (exit, text, err) = said(&args);
        assert_eq!(exit, code, "{args:?}\n{text}\n{err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
    assert!(!Path::new(out).exists(), "nothing was begun");
}

#[test]
fn a_node_that_is_not_ready_in_time_is_no_finding() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let store = std::fs::read_to_string(STORE).unwrap();
    let slow = store.replace(
        "from = \"store.py\"",
        "text = \"import sys; print('I will not', flush=True); sys.stdin.read(); sys.exit(3)\"",
    );
    let path = dir.path().join("slow.toml");
    std::fs::write(&path, slow).unwrap();
    let (code, run, _out) = tested(&["--target", path.to_str().unwrap(), "--time", "5"]);
    assert_eq!(code, 70, "{run:#}");
    assert_eq!(run["findings"].as_array().map(Vec::len), Some(0), "{run:#}");
    let errors = run["bench_errors"].to_string();
    assert!(
        errors.contains("I will not"),
        "its last words are said: {errors}"
    );
}

#[test]
fn the_doctor_says_of_each_thing_that_a_machine_needs_whether_it_works() {
    let (code, text, err) = said(&["doctor"]);
    let works = text.lines().filter(|line| line.ends_with(": works"));
    let fails = text.lines().filter(|line| line.contains("does not work ("));
    let (works, fails) = (works.count(), fails.count());
    assert_eq!(works + fails, text.lines().count(), "{text}\n{err}");
    assert!(
        works > 0,
        "other tests here start programs on hosts: {text}"
    );
    assert_eq!(code, if fails == 0 { 0 } else { 69 }, "{text}");
}
