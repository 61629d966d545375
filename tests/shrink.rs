//! `whitewater shrink` on real runs: what is left is less, still fails, and is a scenario that anybody can run.

mod support;

use std::fs;
use std::time::Duration;

use support::{assert_nothing_left, machine, said};

/// Cuts the leader off, which shows the planted bug, among what has nothing to do with it.
const SCENARIO: &str = r#"
name = "crowded"
about = "a cut leader among what does not matter"
nodes = 3
seconds = 7
clients = 8
rate = 200
keys = { contended = 2, wide = 2 }
mix = { read = 60, write = 40 }

[[opening]]
at_ms = 200
for_ms = 300
faults = [{ fault = "slow", from = "follower 0", to = "follower 1", delay_ms = 20, jitter_ms = 5 }]

[[opening]]
at_ms = 1000
for_ms = 4000
faults = [{ fault = "isolate", who = "leader" }]

[[opening]]
at_ms = 5500
for_ms = 200
faults = [{ fault = "slow", from = "follower 1", to = "follower 0", delay_ms = 20, jitter_ms = 5 }]
"#;

#[test]
fn what_does_not_matter_is_left_out_and_what_is_left_fails_again() {
    let _turn = machine();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::write(dir.path().join("crowded.toml"), SCENARIO).unwrap();
    let (file, runs, out) = (at("crowded.toml"), at("runs"), at("shrunk"));
    let run = [
        "run",
        &file,
        "--seed",
        "4",
        "--defect",
        "stale-read",
        "--out",
        &runs,
    ];
    let (code, text, err) = said(&run);
    assert_eq!(code, 1, "{text}\n{err}");
    let failed = support::only_folder(&dir.path().join("runs"));
    let failed = failed.display().to_string();

    let asked = [
        "shrink",
        &failed,
        "--any",
        "--confirm",
        "4",
        "--budget",
        "40s",
        "--out",
        &out,
    ];
    let (code, text, err) = said(&asked);
    assert_eq!(code, 0, "{text}\n{err}");
    let shrunk = at("shrunk/shrunk.toml");
    let left = fs::read_to_string(&shrunk).unwrap();
    assert!(
        !left.contains("\"slow\""),
        "what does not matter is left out:\n{left}\n{err}"
    );
    assert!(
        left.contains("isolate leader"),
        "its story is told:\n{left}"
    );
    // It is a scenario, and fails as it says.
    let fails = (0..5).any(|_| said(&["run", &shrunk, "--out", &runs]).0 == 1);
    assert!(fails, "{left}\n{err}");
    assert_nothing_left(dir.path(), Duration::from_secs(10));
}

#[test]
fn a_run_that_held_has_nothing_to_be_made_smaller() {
    let _turn = machine();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let runs = at("runs");
    let (code, text, err) = said(&["run", "calm", "--time", "2", "--out", &runs]);
    assert_eq!(code, 0, "{text}\n{err}");
    let held = support::only_folder(&dir.path().join("runs"))
        .display()
        .to_string();
    let (code, _, err) = said(&["shrink", &held, "--out", &at("shrunk")]);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("nothing failed in that run"), "{err}");
    // A scenario whose failure does not come: that is said, with how often it was tried.
    let short = SCENARIO.replace("seconds = 7", "seconds = 2");
    let short = &short[..short.find("[[opening]]").expect("it has faults")];
    fs::write(dir.path().join("short.toml"), short).unwrap();
    let (short, out) = (at("short.toml"), at("short"));
    let asked = [
        "shrink",
        &short,
        "--seed",
        "3",
        "--confirm",
        "2",
        "--out",
        &out,
    ];
    let (code, text, err) = said(&asked);
    assert_eq!(code, 2, "{text}\n{err}");
    assert!(
        text.contains("did not come again: it was in 0 of 3 runs"),
        "{text}"
    );
}
