//! `whitewater hunt` as a user and as CI meet it: real runs as its children, killed and resumed, told to end, and nothing
//! left behind. What a table is made of is tested on recorded lines, in `src/campaign/tests.rs`.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{PROGRAM, Running, machine, said, wait_until};

/// A loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// A scenario that ends soon and the same on any machine: it promises nothing, and one node never fails over.
const SHORT: &str = r#"
    name = "short"
    about = "one node and little work"
    nodes = 1
    seconds = 1
    clients = 2
    rate = 40
    keys = { contended = 2, wide = 3 }
    mix = { read = 50, write = 50 }
"#;

fn short(dir: &Path) -> String {
    let file = dir.join("short.toml");
    std::fs::write(&file, SHORT).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The objects on stdout: the runs, and the table.
fn objects(out: &str) -> (Vec<Value>, Value) {
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    let table = lines.pop().expect("the table is the last");
    (lines, table)
}

/// What must be the same however often the campaign was killed: all but times, folders and the machine's load.
fn comparable(campaign: &Path, table: &Value) -> (Vec<[Value; 6]>, Value, Value, Value) {
    let text = std::fs::read_to_string(campaign.join("campaign.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut runs: Vec<[Value; 6]> = lines
        .filter(|line: &Value| line["run"].is_object())
        .map(|line| {
            let member = |name: &str| line["run"][name].clone();
            ["run", "seed", "class", "scenario", "exit", "again"].map(member)
        })
        .collect();
    runs.sort_by_key(|run| run[0].as_u64());
    let of = |name: &str| table["table"][name].clone();
    (runs, of("runs"), of("classes"), of("failures"))
}

/// Kills the hunt as `kill -9` does, once it has said so many lines on stdout.
fn kill_after(lines: usize, hunt: &mut Child) {
    let out = hunt.stdout.take().expect("it is a pipe");
    let said: Vec<String> = BufReader::new(out)
        .lines()
        .map_while(Result::ok)
        .take(lines)
        .collect();
    assert_eq!(said.len(), lines, "{said:?}");
    hunt.kill().unwrap();
    hunt.wait().unwrap();
}

#[test]
fn a_hunt_that_is_killed_goes_on_where_it_was_and_ends_with_the_same_table() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let scenario = short(dir.path());
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let args = |out: &Path| -> Vec<String> {
        let words = [
            "hunt", &scenario, "--runs", "6", "--seed", "5", "--jobs", "1",
        ];
        let words = words.iter().chain(&["--json", "--out"]);
        let mut words: Vec<String> = words.map(|word| (*word).to_owned()).collect();
        words.push(out.to_str().unwrap().to_owned());
        words
    };
    let run = |out: &Path| {
        let args = args(out);
        said(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (code, out, err) = run(&whole);
    assert_eq!(code, 0, "{out}\n{err}");
    let (lines, table) = objects(&out);
    assert_eq!(lines.len(), 6, "{out}");
    assert_eq!(
        (&table["exit"], &table["complete"]),
        (&0.into(), &true.into())
    );
    assert_eq!(table["table"]["classes"]["held"], 6, "{table:#}");
    let expected = comparable(&whole, &table);
    assert!(
        expected.0[3][5].as_str().unwrap().ends_with("--seed 8"),
        "{expected:?}"
    );

    let mut hunt = Command::new(PROGRAM)
        .args(args(&parts))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    kill_after(3, &mut hunt);
    nothing_left(&parts);
    let (code, out, err) = run(&parts);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(err.contains("3 runs are over already"), "{err}");
    let (lines, table) = objects(&out);
    assert_eq!(lines.len(), 3, "the three others: {out}");
    assert_eq!(comparable(&parts, &table), expected);
    // Runs that held are their lines, and what the kill left of the fourth is gone.
    let left = std::fs::read_dir(parts.join("runs")).unwrap().count();
    assert_eq!(left, 0);

    // Once more there is nothing to do, and other runs in the same folder are refused.
    let (code, out, _) = run(&parts);
    assert_eq!((code, objects(&out).0.len()), (0, 0), "{out}");
    let other = ["hunt", &scenario, "--runs", "7", "--seed", "5", "--out"];
    let other: Vec<&str> = other.into_iter().chain([parts.to_str().unwrap()]).collect();
    let (code, _, err) = said(&other);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("--runs: it was 6, and is 7"), "{err}");
    nothing_left(dir.path());
}

/// Waits until no process speaks of this folder on its command line: no hunt, no run of one, and no node of such a run.
fn nothing_left(dir: &Path) {
    let speaks_of_it = |process: std::io::Result<std::fs::DirEntry>| {
        let path = process.ok()?.path();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(dir.to_str()?).then_some(line)
    };
    let look = || -> Vec<String> {
        let processes = std::fs::read_dir("/proc").expect("this is Linux");
        processes.filter_map(speaks_of_it).collect()
    };
    let gone = wait_until(PATIENCE, || look().is_empty().then_some(()));
    assert!(gone.is_some(), "these are left: {:#?}", look());
}

/// A hunt whose first run is at work, and its folder.
fn at_work(dir: &Path) -> Running {
    let out = dir.join("hunt");
    let args = [
        "hunt", "calm", "--time", "600", "--runs", "2", "--jobs", "2",
    ];
    let more = ["--seed", "1", "--json", "--out", out.to_str().unwrap()];
    let args: Vec<&str> = args.into_iter().chain(more).collect();
    let hunt = Running::start(&args);
    let told = || {
        let progress = |run: &str| {
            let file = out.join("runs").join(run).join("progress.txt");
            std::fs::read_to_string(file).is_ok_and(|text| text.contains("the workload begins"))
        };
        (progress("0") && progress("1")).then_some(())
    };
    assert!(wait_until(PATIENCE, told).is_some(), "no run is at work");
    hunt
}

fn signal(hunt: &Running, name: &str) {
    let pid = hunt.child.id().to_string();
    let killed = Command::new("kill").args([name, &pid]).status();
    assert!(killed.expect("kill is everywhere").success());
}

#[test]
fn an_interrupted_hunt_ends_in_order_with_its_table_and_leaves_nothing() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let mut hunt = at_work(dir.path());
    signal(&hunt, "-INT");
    let status = hunt.end(PATIENCE);
    assert_eq!(status.code(), Some(130));
    let mut out = String::new();
    let mut stdout = hunt.child.stdout.take().unwrap();
    std::io::Read::read_to_string(&mut stdout, &mut out).unwrap();
    let (lines, table) = objects(&out);
    assert_eq!(
        (lines.len(), &table["complete"]),
        (0, &false.into()),
        "{out}"
    );
    nothing_left(dir.path());
    let left = std::fs::read_dir(dir.path().join("hunt/runs"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "runs that were told to end do not count");
}

#[test]
fn a_second_signal_ends_a_hunt_at_once_and_leaves_no_child() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let mut hunt = at_work(dir.path());
    signal(&hunt, "-INT");
    // The same wish to stop is not a second one; how much later this comes does not matter.
    let later = Instant::now() + Duration::from_millis(400);
    wait_until(PATIENCE, || (Instant::now() > later).then_some(()));
    signal(&hunt, "-TERM");
    let status = hunt.end(PATIENCE);
    assert_eq!(status.code(), Some(130));
    nothing_left(dir.path());
}

#[test]
fn a_planted_bug_is_found_and_has_a_signature_a_folder_and_a_way_to_run_it_again() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("hunt");
    let args = [
        "hunt",
        "--defects",
        "stale-read",
        "--until-found",
        "1",
        "--runs",
        "4",
    ];
    let more = [
        "--seed",
        "3",
        "--jobs",
        "1",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ];
    let args: Vec<&str> = args.into_iter().chain(more).collect();
    let (code, text, err) = said(&args);
    assert_eq!(code, 0, "{text}\n{err}");
    let (_, table) = objects(&text);
    let defect = &table["table"]["defects"][0];
    assert_eq!(
        (&defect["defect"], &defect["rate"]["hits"]),
        (&"stale-read".into(), &1.into())
    );
    assert!(defect["triggered"]["hits"].as_u64() >= Some(1), "{table:#}");
    let row = &table["table"]["failures"][0];
    assert_eq!(row["signature"]["oracle"], "history", "{row:#}");
    assert!(row["signature"]["anomaly"].is_string(), "{row:#}");
    assert!(
        row["signature"]["operations"]
            .as_array()
            .is_some_and(|kinds| !kinds.is_empty())
    );
    let folder = out.join(row["dir"].as_str().unwrap());
    for file in [
        "history.jsonl",
        "counterexample.txt",
        "scenario.toml",
        "verdict.json",
    ] {
        assert!(
            folder.join(file).is_file(),
            "{file} is missing in {}",
            folder.display()
        );
    }
    let again = row["again"].as_str().unwrap();
    assert!(again.starts_with("whitewater run rapids") && again.contains("--defect stale-read"));
    nothing_left(dir.path());
}

#[test]
fn a_run_that_panics_is_a_bench_error_and_harms_no_other() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let scenario = short(dir.path());
    let out = dir.path().join("hunt");
    let args = [
        "hunt", &scenario, "--runs", "2", "--jobs", "1", "--drill", "task",
    ];
    let more = ["--json", "--out", out.to_str().unwrap()];
    let args: Vec<&str> = args.into_iter().chain(more).collect();
    let (code, text, err) = said(&args);
    assert_eq!(code, 70, "{text}\n{err}");
    let (lines, table) = objects(&text);
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(table["table"]["classes"]["bench error"], 2, "{table:#}");
    assert!(
        lines[0]["note"]
            .as_str()
            .is_some_and(|note| note.contains("a drill")),
        "{:#}",
        lines[0]
    );
    nothing_left(dir.path());
}

#[test]
fn where_nobody_says_how_many_at_once_the_machine_is_asked_and_its_answer_is_kept() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let scenario = short(dir.path());
    let out = dir.path().join("hunt");
    let args = ["hunt", &scenario, "--runs", "2", "--json", "--out"];
    let args: Vec<&str> = args.into_iter().chain([out.to_str().unwrap()]).collect();
    let (code, text, err) = said(&args);
    assert_eq!(code, 0, "{text}\n{err}");
    let (_, table) = objects(&text);
    let jobs = &table["jobs"];
    assert_eq!(jobs["how"], "calibrated", "{jobs:#}");
    let (tried, chosen) = (jobs["tried"].as_array().unwrap(), jobs["jobs"].as_u64());
    let bearable = table["asked"]["bearable_ms"].as_f64().unwrap();
    let late = |tried: &Value| tried[1].as_f64().unwrap() > bearable;
    assert!((1..=2).contains(&tried.len()), "{jobs:#}");
    assert_eq!(
        chosen == Some(2),
        tried.len() == 2 && !tried.iter().any(late),
        "{jobs:#}"
    );
    assert!(table["table"]["load"][0].is_f64(), "{table:#}");
    assert!(
        !out.join("trial").exists(),
        "what was only tried is taken away"
    );
    nothing_left(dir.path());
}

#[test]
fn what_cannot_be_hunted_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("hunt");
    let out = out.to_str().unwrap();
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "name = 3\n").unwrap();
    for (args, expected) in [
        (&["by-hand"][..], 64),
        (&["no-such-scenario"], 64),
        (&["--defects", "no-such-defect"], 64),
        (&["--defects", "slow-read"], 64),
        (&["--for", "soon"], 64),
        (&["--runs", "0"], 64),
        (&["--faults", "no-such-fault"], 64),
        (&[broken.to_str().unwrap()], 65),
    ] {
        let all = ["hunt", "--out", out];
        let all: Vec<&str> = all.into_iter().chain(args.iter().copied()).collect();
        let (code, _, err) = said(&all);
        assert_eq!(code, expected, "{args:?}: {err}");
        assert!(!Path::new(out).exists(), "{args:?} left a folder");
    }
}
