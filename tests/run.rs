//! `whitewater run` as a user and as CI meet it: real children, real faults, exit codes, and nothing left behind.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{Running, assert_nothing_left, machine, nodes_below, only_folder, said, wait_until};
use whitewater::journal::Event;

/// Runs headless with `--json` in a folder of its own; gives the exit code and the object.
fn run_json(dir: &Path, args: &[&str]) -> (i32, Value) {
    let dir = dir.to_str().expect("a temporary folder has a plain name");
    let args: Vec<&str> = ["run"]
        .into_iter()
        .chain(args.iter().copied())
        .chain(["--json", "--out", dir])
        .collect();
    let (code, out, err) = said(&args);
    let object =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: exit {code}\n{out}\n{err}"));
    (code, object)
}

#[test]
fn a_clean_cluster_holds_under_faults_and_leaves_nothing_behind() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = run_json(dir.path(), &["--nodes", "3", "--time", "12", "--seed", "1"]);
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(said["verdict"], "linearizable");
    assert_eq!(said["exit"], 0);
    assert_eq!(said["findings"].as_array().map(Vec::len), Some(0));
    assert!(said["elections"].as_u64() >= Some(2), "{said:#}");
    assert!(
        said["coverage"]["fault_kinds"].as_u64() >= Some(3),
        "{said:#}"
    );
    assert!(said["ops"]["ok"].as_u64() > Some(500), "{said:#}");
    assert_nothing_left(dir.path(), Duration::ZERO);

    let folder = only_folder(dir.path());
    for file in [
        "scenario.toml",
        "history.jsonl",
        "journal.jsonl",
        "verdict.json",
    ] {
        assert!(folder.join(file).is_file(), "{file} is missing");
    }
    let (code, out, err) =
        support::said(&["check", folder.join("history.jsonl").to_str().unwrap()]);
    assert_eq!(
        code, 0,
        "what was judged while it happened is judged the same afterwards:\n{out}\n{err}"
    );
}

#[test]
fn the_stale_read_defect_is_found_and_shown_with_who_answered_and_what_was_cut() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--nodes",
        "3",
        "--time",
        "60",
        "--defect",
        "stale-read",
        "--seed",
        "3",
    ];
    let (code, said) = run_json(dir.path(), &args);
    assert_eq!(code, 1, "{said:#}");
    assert_eq!(said["verdict"], "violation");
    assert!(
        said["defect_counts"]["triggered"].as_u64() > Some(0),
        "{said:#}"
    );
    let found = &said["counterexample"];
    let operations = found["operations"]
        .as_array()
        .expect("there are operations");
    assert!((1..=6).contains(&operations.len()), "{found:#}");
    assert!(found["answered_by"].is_u64(), "{found:#}");
    assert!(
        found["faults_active"]
            .as_array()
            .is_some_and(|faults| !faults.is_empty()),
        "{found:#}"
    );
    assert_nothing_left(dir.path(), Duration::ZERO);

    let folder = only_folder(dir.path());
    let text = std::fs::read_to_string(folder.join("counterexample.txt")).unwrap();
    assert!(text.contains("answered #"), "{text}");
    let (code, out, _) = support::said(&["check", folder.join("history.jsonl").to_str().unwrap()]);
    assert_eq!(code, 1, "{out}");
}

#[test]
fn a_run_without_faults_is_calm() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = run_json(
        dir.path(),
        &["calm", "--nodes", "1", "--time", "3", "--seed", "2"],
    );
    assert_eq!(code, 0, "{said:#}");
    let calm = &said["coverage"]["calm"];
    let (operations, known) = (
        calm["operations"].as_u64().unwrap(),
        calm["known"].as_u64().unwrap(),
    );
    assert!(operations > 200 && known * 100 >= operations * 95, "{calm}");
}

/// The recipe that a run kept, and what it said of how to run it again.
fn recipe(dir: &Path, args: &[&str]) -> (String, String) {
    let (code, said) = run_json(dir, args);
    assert!([0, 3].contains(&code), "{said:#}");
    let folder = only_folder(dir);
    let entries = whitewater::journal::read_folder(&folder).unwrap().entries;
    let again = entries.iter().find_map(|entry| match &entry.event {
        Event::Started { again, .. } => Some(again.clone()),
        _ => None,
    });
    let again = again.unwrap();
    let text = std::fs::read_to_string(folder.join("scenario.toml")).unwrap();
    (text, again)
}

#[test]
fn what_a_run_says_of_how_to_run_it_again_gives_the_same_plan_and_so_does_its_own_recipe() {
    let _machine = machine();
    let dirs = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let args = [
        "--time",
        "7",
        "--seed",
        "77",
        "--faults",
        "kill,slow",
        "--rate",
        "50",
        "--keys",
        "3",
        "--append",
        "unary",
    ];
    let (first, again) = recipe(dirs[0].path(), &args);
    let drawn: toml::Table = first.parse().unwrap();
    assert!(
        !drawn["plan"]["episodes"].as_array().unwrap().is_empty(),
        "nothing was drawn: {first}"
    );
    let words: Vec<&str> = again.split(' ').collect();
    assert_eq!(words[..2], ["whitewater", "run"]);
    let (second, same) = recipe(dirs[1].path(), &words[2..]);
    assert_eq!((&second, &same), (&first, &again));
    let kept = only_folder(dirs[0].path()).join("scenario.toml");
    let (third, _) = recipe(dirs[2].path(), &[kept.to_str().unwrap()]);
    assert_eq!(third, first);
}

/// Of every (link, method, half, fate) in the journal the ordinals that met it, each with how late it came.
fn fates(folder: &Path) -> BTreeMap<String, BTreeMap<u64, u64>> {
    let mut fates: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    for entry in whitewater::journal::read_folder(folder).unwrap().entries {
        let Event::Message(fate) = entry.event else {
            continue;
        };
        let words = [fate.link, fate.method, fate.half, fate.message];
        let met = fates.entry(words.join(" ")).or_default();
        met.insert(fate.ordinal, fate.late_us);
    }
    fates
}

#[test]
fn the_same_seed_deals_the_same_fate_to_the_same_message() {
    let _machine = machine();
    let recipe = r#"
        name = "lossy"
        about = "a third of the heartbeats is lost, and a third is late"
        nodes = 3
        seconds = 5
        clients = 8
        rate = 100
        keys = { contended = 5, wide = 10 }
        mix = { read = 50, write = 50 }
        [[opening]]
        at_ms = 1
        for_ms = 4900
        faults = [
            { fault = "message", act = "drop", of = "heartbeats", per_mille = 300 },
            { fault = "message", act = "delay-request", of = "heartbeats", per_mille = 300, ms = 20 },
        ]
    "#;
    let run = |dir: &Path| {
        let file = dir.join("lossy.toml");
        std::fs::write(&file, recipe).unwrap();
        let out = dir.join("runs");
        let (code, said) = run_json(&out, &[file.to_str().unwrap(), "--seed", "5"]);
        assert_eq!(code, 0, "{said:#}");
        fates(&only_folder(&out))
    };
    let [first, second] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let (first, second) = (run(first.path()), run(second.path()));
    let mut same = 0;
    for (what, ordinals) in &first {
        let Some(others) = second.get(what) else {
            continue;
        };
        // A rule is put in at another message of each run; in between both decided every message.
        let bounds =
            |of: &BTreeMap<u64, u64>| (*of.keys().next().unwrap(), *of.keys().last().unwrap());
        let ((a, b), (c, d)) = (bounds(ordinals), bounds(others));
        let both = |of: &BTreeMap<u64, u64>| -> Vec<(u64, u64)> {
            let both = of
                .iter()
                .filter(|(o, _)| (a.max(c)..=b.min(d)).contains(*o));
            both.map(|(o, late)| (*o, *late)).collect()
        };
        assert_eq!(both(ordinals), both(others), "{what}");
        same += both(ordinals).len();
    }
    assert!(
        same > 15,
        "{same} fates were dealt in both runs: {first:?} {second:?}"
    );
}

#[test]
fn what_the_bench_itself_asks_does_not_keep_a_run_from_being_vacuous() {
    let _machine = machine();
    let recipe = r#"
        name = "hidden"
        about = "no client reaches anybody for the whole workload"
        nodes = 3
        seconds = 3
        clients = 4
        rate = 100
        keys = { contended = 3, wide = 10 }
        mix = { read = 50, write = 40, cas = 10 }
        [[opening]]
        at_ms = 1
        for_ms = 2990
        faults = [{ fault = "isolate-clients", who = "n1" }, { fault = "isolate-clients", who = "n2" }, { fault = "isolate-clients", who = "n3" }]
    "#;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hidden.toml");
    std::fs::write(&file, recipe).unwrap();
    let (code, said) = run_json(&dir.path().join("runs"), &[file.to_str().unwrap()]);
    assert_eq!(code, 3, "{said:#}");
    assert_eq!(said["ops"]["ok"], 0, "{said:#}");
    assert!(said["own_ops"]["ok"].as_u64() > Some(30), "{said:#}");
    let broken = &said["coverage"]["broken_promises"];
    assert_eq!(
        broken[0], "no operation of the workload succeeded",
        "{said:#}"
    );
}

#[test]
fn a_scenario_that_would_do_nothing_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("still.toml");
    let runs = dir.path().join("runs");
    let recipe = |more: &str| {
        format!(
            "name = \"still\"\nabout = \"it does nothing\"\nnodes = 3\nseconds = 4\nclients = 4\nrate = 100\n\
             keys = {{ contended = 3, wide = 10 }}\nmix = {{ read = 50, write = 40 }}\n{more}"
        )
    };
    let slow = "[[opening]]\nat_ms = 500\nfor_ms = 1000\n\
                faults = [{ fault = \"slow\", from = \"leader\", to = \"follower 0\", delay_ms = 0, jitter_ms = 0 }]\n";
    for (more, words) in [
        (slow, "line 12: the opening at 500 ms: slow: without effect"),
        ("[timings]\nheartbeat_ms = 0\n", "line 10: heartbeat_ms = 0"),
        (
            "[[phases]]\nat_ms = 1000\nmix = { read = 0, write = 0 }\n",
            "line 11: every weight of the mix is 0",
        ),
    ] {
        std::fs::write(&file, recipe(more)).unwrap();
        let (file, runs) = (file.to_str().unwrap(), runs.to_str().unwrap());
        let (code, out, err) = said(&["run", file, "--out", runs]);
        assert_eq!((code, out.as_str()), (65, ""), "{err}");
        assert!(err.contains("still.toml: ") && err.contains(words), "{err}");
    }
    assert!(!runs.exists(), "no folder was made");
}

#[test]
fn a_promise_that_is_not_kept_makes_a_run_vacuous() {
    let _machine = machine();
    let recipe = |promises: &str| {
        format!(
            r#"
            name = "promising"
            about = "it promises what it may not do"
            nodes = 1
            seconds = 2
            clients = 4
            rate = 100
            keys = {{ contended = 5, wide = 10 }}
            mix = {{ read = 50, write = 50 }}
            promises = {{ {promises} }}
            "#
        )
    };
    for (promises, code, words) in [
        ("elections = 1", 0, None),
        (
            "elections = 1, snapshots = 2",
            3,
            Some("0 snapshots were installed, promised 2"),
        ),
        ("elections = 7", 3, Some("1 elections, promised 7")),
        (
            "changes = 1",
            3,
            Some("0 changes of the membership took effect, promised 1"),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("promising.toml");
        std::fs::write(&file, recipe(promises)).unwrap();
        let args = [file.to_str().unwrap(), "--seed", "5"];
        let (exit, said) = run_json(&dir.path().join("runs"), &args);
        assert_eq!(exit, code, "{promises}: {said:#}");
        assert_eq!(said["verdict"], "linearizable");
        let broken = said["coverage"]["broken_promises"].as_array().unwrap();
        let broken: Vec<&str> = broken.iter().filter_map(Value::as_str).collect();
        assert_eq!(broken, words.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_is_found_after_a_wiped_voter_is_labelled_as_outside_of_the_model() {
    let _machine = machine();
    let recipe = r#"
        name = "wiped"
        about = "a voter forgets its vote and what it acknowledged"
        nodes = 3
        seconds = 6
        clients = 4
        rate = 100
        keys = { contended = 5, wide = 10 }
        mix = { read = 50, write = 50 }
        [[opening]]
        at_ms = 1000
        for_ms = 100
        faults = [{ fault = "wipe", who = "follower 0" }]
    "#;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wiped.toml");
    std::fs::write(&file, recipe).unwrap();
    let out = dir.path().join("runs");
    let (code, said) = run_json(&out, &[file.to_str().unwrap(), "--seed", "5"]);
    assert_eq!(code, 1, "{said:#}");
    let findings = said["findings"].as_array().unwrap();
    let forgot = |finding: &Value| {
        finding["oracle"] == "trace"
            && finding["evidence"]
                .as_str()
                .is_some_and(|e| e.contains("its vote was saved as"))
    };
    assert!(findings.iter().any(forgot), "{said:#}");
    let outside = said["unpromised"].as_array().unwrap();
    assert_eq!(outside.len(), 1, "{said:#}");
    assert_nothing_left(dir.path(), Duration::ZERO);
}

#[test]
fn decoys_are_never_reported() {
    let _machine = machine();
    let decoys = [
        "slow-read",
        "doubled-messages",
        "hasty-snapshots",
        "impatient-clients",
        "restless-leader",
    ];
    for decoy in decoys {
        let dir = tempfile::tempdir().unwrap();
        let args = ["--time", "5", "--seed", "2", "--decoy", decoy];
        let (code, said) = run_json(dir.path(), &args);
        assert_eq!(said["verdict"], "linearizable", "{decoy}: {said:#}");
        assert_eq!(
            said["findings"].as_array().map(Vec::len),
            Some(0),
            "{decoy}: {said:#}"
        );
        // On a machine that is busy the old leader may not be replaced in time: that is vacuous, and no alarm.
        assert!(matches!(code, 0 | 3), "{decoy}: {said:#}");
    }
}

#[test]
fn a_snapshot_with_holes_is_found_by_the_nodes_states() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let args = ["--time", "60", "--seed", "2", "--defect", "holey-snapshot"];
    let (code, said) = run_json(dir.path(), &args);
    assert_eq!(code, 1, "{said:#}");
    let violation = said["verdict"] == "violation";
    let oracle = &said["findings"][0]["oracle"];
    assert!(violation || oracle == "state-hash", "{said:#}");
}

#[test]
fn a_request_that_is_asked_again_is_carried_out_once_and_it_shows_where_it_is_not() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let args = ["lost-answers", "--seed", "3"];
    let (code, said) = run_json(dir.path(), &args);
    assert_eq!(
        (code, &said["verdict"]),
        (0, &"linearizable".into()),
        "{said:#}"
    );
    let sessions = &said["coverage"]["sessions"];
    let count = |name: &str| sessions[name].as_u64().unwrap();
    assert!(count("writes") > count("repeated"), "{sessions}");
    assert!(
        count("repeated") >= count("settled") && count("settled") > 0,
        "{sessions}"
    );

    let args = [
        "lost-answers",
        "--time",
        "60",
        "--seed",
        "3",
        "--defect",
        "repeated-request",
    ];
    let (code, said) = run_json(dir.path(), &args);
    assert_eq!(
        (code, &said["verdict"]),
        (1, &"violation".into()),
        "{said:#}"
    );
    assert!(
        said["defect_counts"]["triggered"].as_u64() > Some(0),
        "{said:#}"
    );
}

#[test]
fn a_snapshot_that_forgets_whom_it_has_answered_makes_states_that_differ() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let args = ["lost-sessions", "--seed", "3"];
    let (code, said) = run_json(dir.path(), &args);
    assert_eq!(
        (code, &said["verdict"]),
        (0, &"linearizable".into()),
        "{said:#}"
    );
    let args = [&args[..], &["--defect", "forgotten-sessions"]].concat();
    let (code, said) = run_json(dir.path(), &args);
    assert_eq!(code, 1, "{said:#}");
    assert_eq!(said["findings"][0]["oracle"], "state-hash", "{said:#}");
    // What is not wrong yet: nobody was answered twice.
    assert_eq!(said["verdict"], "linearizable", "{said:#}");
}

#[test]
fn killing_the_bench_with_a_paused_node_leaves_no_child_and_a_history_that_can_be_checked() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let mut running = Running::start(&[
        "run",
        "pause-and-return",
        "--time",
        "60",
        "--seed",
        "4",
        "--out",
        out,
    ]);
    running.wait_for("pause n", Duration::from_secs(30));
    let stopped = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('T'))
    };
    let nodes = nodes_below(dir.path());
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().any(stopped), "one node is under SIGSTOP");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_nothing_left(dir.path(), Duration::from_secs(2));

    let history = only_folder(dir.path()).join("history.jsonl");
    let (code, out, err) = said(&["check", history.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}\n{err}");
}

#[test]
fn an_interrupt_ends_the_run_in_order() {
    let _machine = machine();
    for signal in ["-INT", "-TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().to_str().unwrap();
        let mut running = Running::start(&["run", "--time", "60", "--seed", "5", "--out", out]);
        running.wait_for("the workload begins", Duration::from_secs(30));
        let pid = running.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = running.end(Duration::from_secs(10));
        assert_eq!(status.code(), Some(130), "{signal}");
        assert_nothing_left(dir.path(), Duration::ZERO);
    }
}

#[test]
fn an_interrupt_during_the_start_ends_it_too() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(&[
        "run",
        "--time",
        "60",
        "--seed",
        "6",
        "--out",
        dir.path().to_str().unwrap(),
    ]);
    running.wait_for("rapids, seed 6", Duration::from_secs(30));
    let pid = running.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let status = running.end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(130));
    assert_nothing_left(dir.path(), Duration::ZERO);
}

#[test]
fn two_signals_at_once_are_one_wish_and_the_verdict_is_kept() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let args = ["run", "calm", "--time", "60", "--seed", "6", "--out", out];
    let mut running = Running::start(&args);
    running.wait_for("the workload begins", Duration::from_secs(30));
    let pid = running.child.id().to_string();
    // As timeout(1) does: the child, and then its group.
    let kill = Command::new("kill").args(["-TERM", &pid, &pid]).status();
    assert!(kill.unwrap().success());
    let status = running.end(Duration::from_secs(30));
    assert_eq!(status.code(), Some(130));
    let verdict = std::fs::read_to_string(only_folder(dir.path()).join("verdict.json"));
    assert!(verdict.unwrap().contains("\"verdict\""));
    assert_nothing_left(dir.path(), Duration::ZERO);
}

#[test]
fn nonsense_on_the_command_line_is_64_and_says_what_there_is() {
    let refused = |args: &[&str], part: &str| {
        let (code, out, err) = said(args);
        assert_eq!(code, 64, "{args:?}: {err}");
        assert!(out.is_empty() && err.contains(part), "{args:?}: {err}");
    };
    refused(&["run", "--nosuch"], "--nosuch");
    refused(&["run", "nosuch"], "rapids");
    refused(&["run", "no/such.toml"], "no/such.toml");
    refused(&["run", "--nodes", "12"], "1 to 9");
    refused(&["run", "--defect", "nosuch"], "stale-read");
    refused(&["run", "--decoy", "stale-read"], "slow-read");
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    refused(&["check", empty], "no file to check");
    refused(&["model", "trace", empty], "no trace");
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "name = \n").unwrap();
    let (code, _, error) = said(&["run", broken.to_str().unwrap()]);
    assert!(code == 65 && error.contains("line 1"), "{code}: {error}");
    refused(&["run", "--reads", "nosuch"], "read-index");
    refused(&["run", "--faults", "flood"], "isolate");
    refused(&["reckon"], "reckon");
    refused(&["--tui"], "terminal");
}

#[test]
fn a_run_that_cannot_write_its_folder_is_a_bench_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, out, err) = said(&["run", "--time", "1", "--out", file.path().to_str().unwrap()]);
    assert_eq!(code, 70, "{out}\n{err}");
    assert!(out.contains("could not make a folder"), "{out}\n{err}");
}

#[test]
fn without_a_terminal_the_program_says_so_and_runs_headless() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let (code, out, err) = said(&["calm", "--time", "2", "--seed", "1", "--out", out]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(
        err.contains("no terminal") && out.contains("LINEARIZABLE"),
        "{out}\n{err}"
    );
    let quiet = wait_until(Duration::from_secs(1), || {
        nodes_below(dir.path()).is_empty().then_some(())
    });
    assert!(quiet.is_some());
}

#[test]
fn every_way_to_part_five_nodes_takes_effect_and_hurts_nobody() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = run_json(dir.path(), &["partitions", "--seed", "1"]);
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(said["coverage"]["fault_kinds"], 7, "{said:#}");
    assert_nothing_left(dir.path(), Duration::ZERO);
}
