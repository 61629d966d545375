//! What `check` and `replay` make of evidence that is not as it should be: cut off, damaged, in the wrong place, not there,
//! not to be read. No file hides another one's verdict, and nothing is passed over in silence.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Write, pipe};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use support::{PROGRAM, said};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn history(path: &str) -> String {
    root().join("histories").join(path).display().to_string()
}

/// Bytes of a gzip file of that text, in which the text stands as it is.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn no_bad_file_hides_the_verdict_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let legal = fs::read(history("linearizable/cas-chain.jsonl")).unwrap();
    let cut = gzip(&legal);
    fs::create_dir(at("in")).unwrap();
    fs::write(at("b-cut.jsonl.gz"), &cut[..cut.len() - 60]).unwrap();
    symlink("nothing", at("c-dangling")).unwrap();
    symlink("/proc/self/mem", at("d-disk-error")).unwrap();
    symlink("..", at("in/loop")).unwrap();
    let made = Command::new("mkfifo").arg(at("e-pipe")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", at("f-device")).unwrap();
    let path = folder.path().display().to_string();
    let bad = [
        ("b-cut.jsonl.gz", "malformed", 65),
        ("c-dangling", "refused", 65),
        ("d-disk-error", "refused", 70),
        ("e-pipe", "refused", 65),
        ("f-device", "refused", 65),
        ("in/loop", "refused", 65),
    ];
    let verdicts = || -> (i32, Vec<(String, String, i64)>) {
        let (code, out, _) = said(&["check", "--json", &path]);
        let row = |line: &str| {
            let object: Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| object[name].as_str().unwrap().to_owned();
            let short = word("path").replace(&format!("{path}/"), "");
            (short, word("verdict"), object["exit"].as_i64().unwrap())
        };
        (code, out.lines().map(row).collect())
    };
    let rows = |more: &[(&str, &str, i64)]| {
        let mut rows: Vec<_> = [&bad[..], more].concat();
        rows.sort_unstable();
        let owned = rows.into_iter();
        let owned = owned.map(|(path, verdict, exit)| (path.to_owned(), verdict.to_owned(), exit));
        owned.collect::<Vec<_>>()
    };
    assert_eq!(verdicts(), (65, rows(&[])));
    fs::write(at("a-legal.jsonl"), &legal).unwrap();
    assert_eq!(
        verdicts(),
        (65, rows(&[("a-legal.jsonl", "linearizable", 0)]))
    );
    fs::copy(history("violating/stale-read.jsonl"), at("z.jsonl")).unwrap();
    let all = rows(&[
        ("a-legal.jsonl", "linearizable", 0),
        ("z.jsonl", "violation", 1),
    ]);
    assert_eq!(verdicts(), (1, all));
    // Each is named with its reason for a person, too.
    let (_, out, _) = said(&["check", &path]);
    for reason in [
        "b-cut.jsonl.gz:9: the compressed text is cut off here",
        "c-dangling: nothing is there",
        "d-disk-error: could not be read: Input/output error",
        "e-pipe: a named pipe",
        "f-device: a device",
        "in/loop: a link back",
        "z.jsonl",
        "8 files: 1 linearizable, 1 violation, 0 unknown, 1 malformed, 5 refused",
    ] {
        assert!(out.contains(reason), "{reason} is not in\n{out}");
    }
}

#[test]
fn a_path_that_is_not_there_or_of_another_spec_is_wrong_usage_and_the_others_are_judged() {
    let [held, violating, lists] = [
        "linearizable/cas-chain.jsonl",
        "violating/stale-read.jsonl",
        "linearizable/appends-in-order.jsonl",
    ]
    .map(history);
    for (args, code, rows) in [
        (&["nosuch", &held][..], 64, 1),
        (&["nosuch", &violating], 1, 1),
        (&[&held, "--spec", "list-append", &lists], 64, 1),
        (&[&violating, "--spec", "register", &lists], 1, 1),
    ] {
        let (ended, out, err) = said(&[&["check"], args].concat());
        assert_eq!(ended, code, "{args:?}: {out}\n{err}");
        let verdicts = ["linearizable ", "violation "];
        let row = |line: &&str| verdicts.iter().any(|verdict| line.starts_with(verdict));
        assert_eq!(out.lines().filter(row).count(), rows, "{args:?}: {out}");
        assert!(err.contains("no such file") || err.contains("it is a history of"));
    }
}

#[test]
fn a_folder_that_may_not_be_entered_and_a_file_that_may_not_be_read_hide_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::copy(history("violating/stale-read.jsonl"), at("z.jsonl")).unwrap();
    fs::create_dir(at("closed")).unwrap();
    fs::write(at("shut.jsonl"), "").unwrap();
    // For root nothing is closed: somebody else has to look.
    let program = folder.path().join("whitewater");
    // By a child: what this process has open for writing, another test's child may hold for a moment, and then nobody
    // may execute it.
    let copied = Command::new("cp").arg(PROGRAM).arg(&program).status();
    assert!(copied.unwrap().success());
    let mode = |path: &Path, mode: u32| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, permissions).unwrap();
    };
    mode(folder.path(), 0o755);
    mode(&program, 0o755);
    mode(&at("closed"), 0);
    mode(&at("shut.jsonl"), 0);
    let look = |paths: &[&Path]| {
        let root = rustix::process::geteuid().is_root();
        let mut command = match root {
            true => Command::new("setpriv"),
            false => Command::new(&program),
        };
        if root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.arg(&program);
        }
        let output = command.arg("check").args(paths).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), out)
    };
    let both = [at("closed"), at("shut.jsonl")];
    let (code, out) = look(&[&both[0], &both[1]]);
    assert_eq!(code, Some(70), "{out}");
    assert_eq!(out.matches("Permission denied").count(), 2, "{out}");
    let z = at("z.jsonl");
    let (code, out) = look(&[&both[0], &both[1], &z]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("violation"), "{out}");
    mode(&at("closed"), 0o755);
}

#[test]
fn a_gzip_that_a_crash_cut_off_is_judged_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.jsonl.gz");
    let file = path.to_str().unwrap();
    let more = "{\"index\":6,\"time_ns\":9,\"client\":1,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"x\"}\n";
    let judged = |name: &str, code: i32, words: &str| {
        let text = fs::read_to_string(history(name)).unwrap() + more;
        let whole = gzip(text.as_bytes());
        let mut wrong = whole.clone();
        wrong[whole.len() - 5] ^= 1;
        let behind = [whole.clone(), b"something else, a line of it".to_vec()].concat();
        for (bytes, why) in [
            (whole[..whole.len() - 30].to_vec(), "cut off here"),
            (wrong, "damaged here"),
            (behind, "something else"),
        ] {
            fs::write(&path, bytes).unwrap();
            let (ended, out, err) = said(&["check", file]);
            assert_eq!(ended, code, "{name}, {why}: {out}\n{err}");
            assert!(out.contains(why) && out.contains(words), "{why}: {out}");
        }
    };
    judged("violating/stale-read.jsonl", 1, "violation");
    judged(
        "linearizable/stale-read-that-is-none.jsonl",
        65,
        "before that are linearizable",
    );
}

#[test]
fn a_run_whose_history_was_compressed_and_cut_off_is_shown_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    let shown = root().join("tests/shown/stale-read");
    for name in ["journal.jsonl", "scenario.toml"] {
        fs::copy(shown.join(name), run.join(name)).unwrap();
    }
    let whole = gzip(&fs::read(shown.join("history.jsonl")).unwrap());
    let (packed, dir) = (run.join("history.jsonl.gz"), run.to_str().unwrap());
    fs::write(&packed, &whole).unwrap();
    let replay = ["replay", dir, "--print", "verdict"];
    let (code, picture, err) = said(&replay);
    assert_eq!(code, 0, "{err}");
    assert!(picture.contains("NOT LINEARIZABLE"), "{picture}");
    assert_eq!(said(&["check", dir]).0, 1);
    fs::write(&packed, &whole[..whole.len() - 100]).unwrap();
    let (code, picture, err) = said(&replay);
    assert_eq!(code, 65, "{err}");
    assert!(picture.contains("NOT LINEARIZABLE"), "{picture}");
    assert!(
        err.contains("history.jsonl.gz:") && err.contains("cut off here"),
        "{err}"
    );
    fs::write(&packed, &whole[..20]).unwrap();
    assert_eq!(said(&replay).0, 65);
    fs::remove_file(&packed).unwrap();
    assert_eq!(said(&replay).0, 64);
}

#[test]
fn a_history_in_the_wrong_place_of_a_corpus_is_judged_or_refused_and_never_outside_of_it() {
    let corpus = tempfile::tempdir().unwrap();
    let at = |name: &str| corpus.path().join(name);
    let path = corpus.path().to_str().unwrap();
    fs::create_dir(at("linearizable")).unwrap();
    fs::create_dir(at("violating")).unwrap();
    let legal = history("linearizable/cas-chain.jsonl");
    let violating = history("violating/stale-read.jsonl");
    fs::copy(&legal, at("linearizable/legal.jsonl")).unwrap();
    fs::copy(&violating, at("violating/stale.jsonl")).unwrap();
    fs::write(at("README.md"), "What lies here.").unwrap();
    let (code, out, err) = said(&["check", path]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    // A file beside the folders.
    fs::copy(&legal, at("beside.jsonl")).unwrap();
    let (code, out, _) = said(&["check", path]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("beside the folders of a corpus"), "{out}");
    fs::copy(&violating, at("beside.jsonl")).unwrap();
    assert_eq!(said(&["check", path]).0, 1);
    fs::remove_file(at("beside.jsonl")).unwrap();
    // A folder beside them does not take the promises away, and is no place for a history.
    fs::create_dir(at("wrong")).unwrap();
    fs::copy(&legal, at("wrong/legal.jsonl")).unwrap();
    let (code, out, err) = said(&["check", path]);
    assert_eq!(code, 64, "{out}\n{err}");
    assert!(
        out.contains("wrong/legal.jsonl") && err.contains("name of no verdict"),
        "{err}"
    );
    fs::copy(&legal, at("violating/legal.jsonl")).unwrap();
    let (code, out, _) = said(&["check", path]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("EXPECTED violation"), "{out}");
    fs::remove_file(at("violating/legal.jsonl")).unwrap();
    fs::remove_dir_all(at("wrong")).unwrap();
    // What is hidden is no evidence, and that is said.
    fs::copy(&violating, at("linearizable/.swap.jsonl")).unwrap();
    let (code, out, err) = said(&["check", path]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(
        err.contains("hidden") && err.contains(".swap.jsonl"),
        "{err}"
    );
}

/// The lines of a pipe as they come.
fn lines_of(pipe: PipeReader) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    told
}

#[test]
fn a_signal_ends_check_as_ever_but_not_after_a_violation() {
    for (first, ends) in [
        ("linearizable/cas-chain.jsonl", None),
        ("violating/stale-read.jsonl", Some(1)),
    ] {
        let first = history(first);
        // The second file never ends; what came of the first one is told before it.
        let (never, writer) = pipe().unwrap();
        let (told, out) = pipe().unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["check", &first, "-"])
            .stdin(never)
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines_of(told);
        let line = lines.recv_timeout(Duration::from_secs(60));
        let sent = Command::new("kill").arg(child.id().to_string()).status();
        let status = child.wait().unwrap();
        drop(writer);
        assert!(
            line.as_ref().is_ok_and(|line| line.contains(&first)),
            "{line:?}"
        );
        assert!(sent.unwrap().success());
        assert_eq!(status.code(), ends, "{first}");
    }
}
