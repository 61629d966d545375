//! The exit code at every front door, whatever becomes of what the door prints and saves: it is the verdict's, and what
//! fails beside it makes it worse, never better.

mod support;

use std::fs::{self, File};
use std::io::{Read, pipe};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{PROGRAM, Running, assert_nothing_left, machine, only_folder, said};

/// Where stdout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdout {
    /// Somebody reads it all.
    Read,
    /// A pipe whose reader has gone.
    Closed,
    /// A disk without any room left.
    Full,
}

const SINKS: [Stdout; 3] = [Stdout::Read, Stdout::Closed, Stdout::Full];

impl Stdout {
    fn open(self) -> Stdio {
        match self {
            Stdout::Read => Stdio::piped(),
            Stdout::Closed => {
                let (reader, writer) = pipe().unwrap();
                drop(reader);
                writer.into()
            }
            Stdout::Full => File::options()
                .write(true)
                .open("/dev/full")
                .unwrap()
                .into(),
        }
    }

    /// What the exit code of a door becomes that had this one to print.
    fn code(self, decided: i32) -> i32 {
        match (self, decided) {
            (Stdout::Full, 0 | 2 | 3) => 70,
            (_, decided) => decided,
        }
    }
}

/// Runs the program with its stdout there; gives exit code, stdout and stderr.
fn ended(args: &[&str], stdout: Stdout) -> (i32, String, String) {
    let output = Command::new(PROGRAM)
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout.open())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program speaks UTF-8");
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}

/// A door that decides `decided` and prints ends so at every stdout; it says once what could not be printed.
#[track_caller]
fn check(args: &[&str], decided: i32) {
    for stdout in SINKS {
        let (code, out, err) = ended(args, stdout);
        assert_eq!(
            code,
            stdout.code(decided),
            "{args:?} to {stdout:?}:\n{out}\n{err}"
        );
        let said = err.matches("could not print").count();
        let expected = usize::from(stdout == Stdout::Full);
        assert_eq!(said, expected, "{args:?} to {stdout:?}: {err}");
        assert!(!err.contains("panicked"), "{args:?} to {stdout:?}: {err}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn history(path: &str) -> String {
    root().join("histories").join(path).display().to_string()
}

/// Histories by the exit code of `check`.
fn histories() -> [(String, i32); 5] {
    [
        (history("linearizable/cas-chain.jsonl"), 0),
        (history("violating/stale-read.jsonl"), 1),
        (history("unknown/too-small-a-budget.jsonl"), 2),
        (history("linearizable/empty.jsonl"), 0),
        (history("malformed/no-header.jsonl"), 65),
    ]
}

#[test]
fn check_ends_with_its_verdict_wherever_it_prints() {
    for (path, code) in &histories() {
        for flags in [&[][..], &["--json"], &["--explain"]] {
            check(&[&["check", path], flags].concat(), *code);
        }
    }
}

#[test]
fn check_ends_with_its_verdict_and_prints_it_where_a_file_beside_it_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    for (path, code) in &histories() {
        for junit in ["/dev/full", &folder, &format!("{folder}/none/x.xml")] {
            let args = ["check", path, "--junit", junit];
            let (ended, out, err) = said(&args);
            assert_eq!(ended, Stdout::Full.code(*code), "{args:?}: {out}\n{err}");
            assert!(out.contains(path.as_str()), "{args:?}: {out}");
            assert_eq!(err.matches("could not write").count(), 1, "{err}");
        }
    }
}

#[test]
fn doors_without_a_verdict_end_well_at_a_reader_that_has_seen_enough_and_not_on_a_full_disk() {
    let shown = root().join("tests/shown/stale-read").display().to_string();
    for args in [
        &["gen", "--ops", "20000"][..],
        &["gen", "--ops", "20000", "--format", "edn"],
        &["list", "scenarios"],
        &["list", "keys"],
        &["model", "explain", "LeaseForgotten"],
        &["model", "explain", "LeaseForgotten", "--json"],
        &["replay", &shown, "--print", "verdict"],
        &["--help"],
        &["check", "--help"],
        &["--version"],
    ] {
        let expected = [0, 0, 70];
        for (stdout, expected) in SINKS.into_iter().zip(expected) {
            let (code, _, err) = ended(args, stdout);
            assert_eq!(code, expected, "{args:?} to {stdout:?}: {err}");
        }
    }
    let (code, _, err) = said(&["gen", "-o", "/dev/full"]);
    assert_eq!(code, 70, "{err}");
}

#[test]
fn wrong_usage_stays_wrong_usage_wherever_it_would_print() {
    for args in [
        &["check", "no/such.jsonl"][..],
        &["replay", "no/such"],
        &["model", "explain", "nosuch"],
        &["run", "nosuch"],
        &["nosuch"],
    ] {
        for stdout in SINKS {
            let (code, out, err) = ended(args, stdout);
            assert_eq!((code, out.as_str()), (64, ""), "{args:?}: {err}");
        }
    }
}

#[test]
fn the_model_ends_with_what_it_found_wherever_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let start = r#"{"seq":1,"t_us":9,"node":1,"e":"start"}"#;
    let forgot = r#"{"seq":1,"t_us":9,"node":1,"e":"start","vote":[2,1,false]}"#;
    let trace = |name: &str, text: String| {
        let dir = folder.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("1.jsonl"), text).unwrap();
        dir.display().to_string()
    };
    let held = trace("held", format!("{start}\n"));
    let rejected = trace("rejected", format!("{start}\n{forgot}\n"));
    let malformed = trace("malformed", "nothing\n".to_owned());
    for flags in [&[][..], &["--json"]] {
        check(&[&["model", "trace", &held], flags].concat(), 0);
        check(&[&["model", "trace", &rejected], flags].concat(), 1);
    }
    for stdout in SINKS {
        let (code, _, err) = ended(&["model", "trace", &malformed], stdout);
        assert_eq!(code, 65, "{err}");
    }
    // It goes on without a reader, because its code is still to be known.
    let (code, _, err) = ended(&["model", "mutants"], Stdout::Closed);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_stderr_that_takes_nothing_changes_no_code() {
    let [held, violating] =
        ["linearizable/cas-chain.jsonl", "violating/stale-read.jsonl"].map(history);
    for (args, code) in [
        (&["check", "nosuch", &held][..], 64),
        (&["check", "nosuch", &violating], 1),
        (&["model", "explain", "nosuch"], 64),
        (&["model", "trace", "tests"], 64),
        (
            &["gen", "--values", "small:1", "--violate", "stale-read"],
            0,
        ),
        (&["replay", "nosuch"], 64),
        (&["nosuch"], 64),
    ] {
        for stderr in [Stdout::Closed, Stdout::Full] {
            let mut command = Command::new(PROGRAM);
            command
                .args(args)
                .stdout(Stdio::null())
                .stderr(stderr.open());
            let status = command.current_dir(root()).status().unwrap();
            assert_eq!(status.code(), Some(code), "{args:?} with stderr {stderr:?}");
        }
    }
}

/// A scenario in which a leader is alone from its first half second on: with the defect stale-read a violation is a
/// matter of a second or two.
const ALONE: &str = r#"
name = "alone"
about = "the leader is alone"
nodes = 3
seconds = 60
clients = 8
rate = 200
keys = { contended = 2, wide = 2 }
mix = { read = 60, write = 40 }
[[opening]]
at_ms = 500
for_ms = 59000
faults = [{ fault = "isolate", who = "leader" }]
"#;

/// One that holds at once; with a promise it is vacuous.
fn short(promises: &str) -> String {
    format!(
        r#"
        name = "short"
        about = "a node, for a second"
        nodes = 1
        seconds = 1
        clients = 4
        rate = 100
        keys = {{ contended = 5, wide = 10 }}
        mix = {{ read = 50, write = 50 }}
        {promises}
        "#
    )
}

/// A folder with a scenario, in which runs are made.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn of(scenario: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("s.toml"), scenario).unwrap();
        Bench { folder }
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// The arguments of a run of it.
    fn args(&self, more: &[&str]) -> Vec<String> {
        let scenario = self.folder.path().join("s.toml").display().to_string();
        let runs = self.runs().display().to_string();
        let own = ["run", &scenario, "--seed", "3", "--out", &runs];
        let all = own.iter().chain(more);
        all.map(|&word| word.to_owned()).collect()
    }

    /// `verdict.json` of its only run.
    fn verdict(&self) -> Value {
        let path = only_folder(&self.runs()).join("verdict.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Not where a test fails already: one panic is enough.
        if !std::thread::panicking() {
            assert_nothing_left(self.folder.path(), Duration::from_secs(10));
        }
    }
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn a_run_ends_with_its_verdict_wherever_it_prints_and_its_folder_says_the_same() {
    let _machine = machine();
    let vacuous = short("promises = { elections = 7 }");
    for (scenario, more, decided) in [
        (short(""), &[][..], 0),
        (vacuous, &["--json"], 3),
        (ALONE.to_owned(), &["--defect", "stale-read"], 1),
        (ALONE.to_owned(), &["--defect", "stale-read", "--json"], 1),
    ] {
        for stdout in [Stdout::Closed, Stdout::Full] {
            let bench = Bench::of(&scenario);
            let (code, _, err) = ended(&words(&bench.args(more)), stdout);
            assert_eq!(code, stdout.code(decided), "{more:?} {stdout:?}: {err}");
            let verdict = bench.verdict();
            assert_eq!(verdict["exit"], code, "{verdict:#}");
            let told = verdict["bench_errors"].to_string();
            let full = stdout == Stdout::Full;
            assert_eq!(told.contains("could not print"), full, "{told}");
            assert_eq!(
                err.matches("whitewater: could not print").count(),
                usize::from(full)
            );
        }
    }
}

#[test]
fn without_a_terminal_the_screen_ends_as_run_does() {
    let _machine = machine();
    let bench = Bench::of(&short("promises = { elections = 7 }"));
    let args = bench.args(&[]);
    let (code, _, err) = ended(&words(&args)[1..], Stdout::Closed);
    assert_eq!(code, 3, "{err}");
    let bench = Bench::of(ALONE);
    let args = bench.args(&["--defect", "stale-read"]);
    let (code, _, err) = ended(&words(&args)[1..], Stdout::Full);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn a_verdict_that_cannot_be_saved_is_printed_and_decides_the_code() {
    let _machine = machine();
    for (scenario, more, decided, words_of_it) in [
        (
            ALONE.to_owned(),
            &["--defect", "stale-read"][..],
            1,
            "NOT LINEARIZABLE",
        ),
        (short(""), &[], 70, "✓ LINEARIZABLE"),
    ] {
        let bench = Bench::of(&scenario);
        let args = bench.args(more);
        let mut running = Running::start(&words(&args));
        let line = running.wait_for(", seed 3, ", Duration::from_secs(60));
        let dir = PathBuf::from(line.rsplit("; ").next().unwrap());
        fs::create_dir(dir.join("verdict.json")).unwrap();
        fs::create_dir(dir.join("counterexample.txt")).unwrap();
        let status = running.end(Duration::from_secs(120));
        let mut out = String::new();
        let stdout = running.child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        assert_eq!(status.code(), Some(decided), "{out}");
        assert!(
            out.starts_with(words_of_it) || out.contains(words_of_it),
            "{out}"
        );
        assert!(out.contains("bench error: could not write"), "{out}");
        running.wait_for("whitewater: could not write", Duration::from_secs(10));
    }
}

#[test]
fn a_run_that_cannot_have_a_folder_says_so_in_one_line_and_nothing_else() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("runs").display().to_string();
    let (code, out, err) = said(&["run", "--time", "1", "--out", &below]);
    assert_eq!((code, err.as_str()), (70, ""), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(
        out.contains("could not make a folder") && out.contains(&below),
        "{out}"
    );
}

fn signal(running: &Running, name: &str) {
    let pid = running.child.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_second_signal_says_what_was_found_and_a_hangup_is_none() {
    let _machine = machine();
    for (more, until, code) in [
        (&["--drill", "stuck"][..], "the workload begins", 130),
        (
            &["--drill", "stuck", "--defect", "stale-read"],
            "NOT LINEARIZABLE",
            1,
        ),
    ] {
        let bench = Bench::of(ALONE);
        let args = bench.args(more);
        let mut running = Running::start(&words(&args));
        running.wait_for(until, Duration::from_secs(60));
        signal(&running, "-TERM");
        // Whatever comes within a moment is the same wish; this is what has to pass, not a state to wait for.
        std::thread::sleep(Duration::from_millis(600));
        signal(&running, "-HUP");
        std::thread::sleep(Duration::from_millis(600));
        assert!(running.child.try_wait().unwrap().is_none(), "it goes on");
        signal(&running, "-INT");
        let status = running.end(Duration::from_secs(30));
        assert_eq!(status.code(), Some(code), "{more:?}");
        if code == 1 {
            let found = "found before it ended: NOT LINEARIZABLE";
            running.wait_for(found, Duration::from_secs(10));
        }
    }
}

#[test]
fn a_panic_after_something_was_found_says_what_and_is_no_bench_error() {
    let _machine = machine();
    for drill in ["run-found", "task-found", "thread-found"] {
        let bench = Bench::of(ALONE);
        let args = bench.args(&["--defect", "stale-read", "--drill", drill]);
        let (code, _, err) = said(&words(&args));
        assert_eq!(code, 1, "{drill}: {err}");
        let found = "whitewater: found before it ended: NOT LINEARIZABLE";
        assert!(
            err.contains("a drill") && err.contains(found),
            "{drill}: {err}"
        );
        assert!(only_folder(&bench.runs()).join("journal.jsonl").is_file());
    }
    let bench = Bench::of(ALONE);
    let (code, _, err) = said(&words(&bench.args(&["--drill", "run"])));
    assert_eq!(code, 70, "{err}");
    assert!(!err.contains("found before"), "{err}");
}

#[test]
fn the_demo_is_done_when_its_bug_was_seen() {
    let _turn = machine();
    let runs = tempfile::tempdir().unwrap();
    let out = runs.path().display().to_string();
    let (code, out, err) = said(&["demo", "--headless", "--out", &out]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("NOT LINEARIZABLE"), "{out}");
    assert!(out.contains("What to type next"), "{out}");
    assert_nothing_left(runs.path(), Duration::from_secs(10));
}

#[test]
fn a_run_is_told_of_as_junit_and_on_github_and_a_dry_run_starts_nothing() {
    let _turn = machine();
    let runs = tempfile::tempdir().unwrap();
    let at = |name: &str| runs.path().join(name).display().to_string();
    let (out, junit, summary, plan) = (at("out"), at("run.xml"), at("summary.md"), at("plan.toml"));
    let planned = ["run", "calm", "--time", "2", "--seed", "7", "--out", &out];
    let (code, dry, err) = said(&[&planned[..], &["--dry-run"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{dry}");
    assert!(
        !runs.path().join("out").exists(),
        "a dry run starts nothing"
    );
    // What it prints is a scenario, and running it is what would have been done.
    fs::write(&plan, dry).unwrap();
    let again = ["run", &plan, "--out", &out, "--quiet", "--junit", &junit];
    let output = Command::new(PROGRAM)
        .args(again)
        .env("GITHUB_STEP_SUMMARY", &summary)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "quiet");
    assert!(text.contains("✓ LINEARIZABLE"), "{text}");
    let xml = fs::read_to_string(&junit).unwrap();
    assert!(
        xml.contains(r#"tests="1" skipped="0" failures="0" errors="0""#),
        "{xml}"
    );
    assert!(xml.contains(r#"name="calm, seed 7""#), "{xml}");
    let summary = fs::read_to_string(&summary).unwrap();
    assert!(summary.starts_with("### ✓ LINEARIZABLE"), "{summary}");
    let kept = fs::read_to_string(only_folder(&runs.path().join("out")).join("verdict.json"));
    let verdict: Value = serde_json::from_str(&kept.unwrap()).unwrap();
    assert_eq!(verdict["schema"], 1);
}
