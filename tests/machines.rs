//! Unmodified programs whose machines lose power and whose disks go wrong: what they have synced is there afterwards, and
//! what they have not is not. etcd and Redis have to be installed.

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{machine, only_folder, said, wait_until};

/// One Redis server, which promises as much as its `appendfsync`.
const REDIS: &str = r#"
name = "one-redis"
about = "one Redis server, whose promise is its appendfsync"
nodes = 1
spec = "register"

[set]
appendfsync = "always"

[find]
program = ["redis-server"]
install = "apt install redis-server"

[[process]]
run = [
    "{program}", "--bind", "{ip}", "--port", "6379", "--dir", "{dir}", "--protected-mode", "no", "--save", "",
    "--appendonly", "yes", "--appendfsync", "{appendfsync}",
]

[ready]
resp = { at = "{ip}:6379", command = ["PING"], match = "PONG" }

[client]
protocol = "resp"
read = "primary"

[modes.always]
about = "what it has acknowledged is on its disk"
expect = "holds"
survives = ["kill", "power-loss"]

[modes.no]
about = "what it has acknowledged is with the kernel"
expect = "holds"
survives = ["kill", "power-loss"]
set = { appendfsync = "no" }
"#;

/// Six seconds of reads and writes, with these episodes.
fn scenario(nodes: u64, episodes: &str) -> String {
    format!(
        r#"
name = "once"
about = "each fault once"
nodes = {nodes}
seconds = 6
clients = 4
rate = 100

[keys]
contended = 3
wide = 20

[mix]
read = 50
write = 50
{episodes}"#
    )
}

/// One fault, put in while all goes well.
fn episode(at_ms: u64, for_ms: u64, faults: &str) -> String {
    format!("\n[[opening]]\nat_ms = {at_ms}\nfor_ms = {for_ms}\nfaults = [{faults}]\n")
}

/// Runs this against a target, in a folder of its own, of which nothing works afterwards. Gives the exit code, the last
/// line of `--json` and what was said meanwhile.
fn run(scenario: &str, target: &str, more: &[&str]) -> (i32, Value, String) {
    let _turn = machine();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("once.toml");
    fs::write(&file, scenario).unwrap();
    let redis = dir.path().join("redis.toml");
    fs::write(&redis, REDIS).unwrap();
    let target = match target {
        "redis" => redis.to_str().unwrap(),
        target => target,
    };
    let (file, runs) = (file.to_str().unwrap(), dir.path().join("runs"));
    let out = runs.to_str().unwrap();
    let begin = ["run", file, "--target", target, "--out", out, "--json"];
    let (code, said, err) = said(&[&begin, more].concat());
    let last = said.lines().last().unwrap_or_else(|| panic!("{err}"));
    let result = serde_json::from_str(last).unwrap_or_else(|_| panic!("{last}\n{err}"));
    let gone = wait_until(Duration::from_secs(10), || {
        working_in(&runs).is_empty().then_some(())
    });
    assert!(gone.is_some(), "{:?} are left", working_in(&runs));
    let node = only_folder(&runs).join("nodes/1");
    let mut left: Vec<_> = fs::read_dir(node)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["data", "log"],
        "the machine leaves nothing beside them"
    );
    (code, result, err)
}

/// The processes that work in a folder, or below it.
fn working_in(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let works = |process: &fs::DirEntry| {
        let folder = fs::read_link(process.path().join("cwd"));
        folder.is_ok_and(|folder| folder.starts_with(dir))
    };
    let processes = processes.filter(works);
    processes
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

const ALL: &str = r#"{ fault = "power-loss", who = "all" }"#;

#[test]
fn redis_keeps_over_a_power_loss_what_it_has_synced_and_nothing_else() {
    if !crate::support::installed::here(&["redis-server"]) {
        return;
    }
    let lost = scenario(1, &episode(2_500, 300, ALL));
    let (code, result, err) = run(&lost, "redis", &["--mode", "always"]);
    assert_eq!(
        (code, &result["faults"]["power-loss"]),
        (0, &1.into()),
        "{result}\n{err}"
    );
    let (code, result, err) = run(&lost, "redis", &["--mode", "no"]);
    assert_eq!(
        (code, &result["verdict"]),
        (1, &"violation".into()),
        "{result}\n{err}"
    );
    assert_eq!(result["unpromised"], Value::Array(Vec::new()), "{result}");
    // A kill is no power loss: what was written is the kernel's.
    let killed = scenario(1, &episode(2_500, 300, r#"{ fault = "kill", who = "n1" }"#));
    let (code, result, err) = run(&killed, "redis", &["--mode", "no"]);
    assert_eq!(
        (code, &result["faults"]["kill"]),
        (0, &1.into()),
        "{result}\n{err}"
    );
}

#[test]
fn etcd_loses_nothing_when_everybody_loses_power_after_slow_and_torn_writes() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let slow = r#"{ fault = "disk", who = "leader", harm = "slow-sync", ms = 60 }"#;
    let torn = r#"{ fault = "disk", who = "follower 0", harm = "torn-writes" }"#;
    let episodes = [
        episode(500, 1_000, slow),
        episode(2_000, 500, torn),
        episode(4_000, 300, ALL),
    ];
    let (code, result, err) = run(&scenario(3, &episodes.concat()), "etcd", &[]);
    assert_eq!(code, 0, "{result}\n{err}");
    let faults = &result["faults"];
    assert_eq!(
        (&faults["power-loss"], &faults["disk"]),
        (&1.into(), &2.into()),
        "{result}\n{err}"
    );
}

#[test]
fn an_etcd_whose_syncs_fail_does_right_to_end_and_is_started_again() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let fails = episode(
        1_500,
        1_000,
        r#"{ fault = "disk", who = "leader", harm = "sync-fails" }"#,
    );
    let (code, result, err) = run(&scenario(3, &fails), "etcd", &[]);
    assert_eq!(
        (code, &result["faults"]["disk"]),
        (0, &1.into()),
        "{result}\n{err}"
    );
    assert_eq!(result["findings"], Value::Array(Vec::new()), "{result}");
}

#[test]
fn an_etcd_whose_disks_lie_loses_what_it_has_acknowledged_and_is_not_accused() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let lie = |who| format!(r#"{{ fault = "disk", who = "{who}", harm = "lying-sync" }}"#);
    let all = [lie("n1"), lie("n2"), lie("n3")].join(", ");
    let lies = [episode(1_000, 4_000, &all), episode(3_000, 300, ALL)];
    let (code, result, err) = run(&scenario(3, &lies.concat()), "etcd", &[]);
    assert_eq!(code, 1, "{result}\n{err}");
    let outside = result["unpromised"].as_array().unwrap();
    assert!(!outside.is_empty(), "{result}");
}
