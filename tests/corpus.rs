//! The corpus: each folder's name is its files' verdict, each file has a line that says what it shows, and a file in
//! the wrong folder is noticed.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::said;

const VERDICTS: [&str; 4] = ["linearizable", "violating", "unknown", "malformed"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

fn files(verdict: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(verdict)).expect("the corpus has this folder");
    entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect()
}

#[test]
fn every_file_of_the_corpus_gets_the_verdict_of_its_folder() {
    let (code, out, err) = said(&["check", corpus().to_str().unwrap()]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(
        VERDICTS
            .iter()
            .map(|verdict| files(verdict).len())
            .sum::<usize>()
            >= 25
    );
}

#[test]
fn a_file_in_the_wrong_folder_is_a_mismatch() {
    let copy = tempfile::tempdir().unwrap();
    for verdict in VERDICTS {
        fs::create_dir(copy.path().join(verdict)).unwrap();
    }
    let legal = corpus().join("linearizable/cas-chain.jsonl");
    fs::copy(&legal, copy.path().join("linearizable/cas-chain.jsonl")).unwrap();
    let code = || said(&["check", copy.path().to_str().unwrap()]).0;
    assert_eq!(code(), 0);
    fs::copy(&legal, copy.path().join("violating/cas-chain.jsonl")).unwrap();
    assert_eq!(code(), 1);
    let plain = said(&["check", "--no-expect", copy.path().to_str().unwrap()]).0;
    assert_eq!(plain, 0, "without expectations, both copies hold");
}

#[test]
fn what_keys_held_at_first_can_be_told_and_is_asked_for() {
    let path = corpus().join("violating/begins-otherwise-than-it-says.jsonl");
    let path = path.to_str().unwrap();
    let (code, out, _) = said(&["check", path]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("--initial 0 ") && out.contains("--initial any "),
        "{out}"
    );
    for (initial, expected) in [("0", 0), ("any", 0), ("-1", 1), ("nil", 1), ("[1", 64)] {
        let (code, out, err) = said(&["check", path, "--initial", initial]);
        assert_eq!(code, expected, "{initial}: {out}\n{err}");
    }
    let lists = corpus().join("linearizable/begins-with-elements.jsonl");
    let (code, out, err) = said(&["check", lists.to_str().unwrap(), "--initial", "3"]);
    assert_eq!(code, 64, "{out}\n{err}");
    let (_, made, _) = said(&["gen", "--initial", "any", "--ops", "40"]);
    assert!(
        made.lines().next().unwrap().contains("\"initial\":\"any\""),
        "{made}"
    );
}

#[test]
fn a_history_that_does_not_show_what_it_must_is_vacuous() {
    for (file, require, expected) in [
        ("everything-failed.txt", "success", 3),
        ("begins-with-the-word-any.jsonl", "success", 0),
        ("begins-with-the-word-any.jsonl", "overlap", 3),
        ("begins-with-the-word-any.jsonl", "all", 3),
        ("begins-at-a-value.jsonl", "success,reads,overlap", 0),
        ("begins-at-a-value.jsonl", "luck", 64),
    ] {
        let path = corpus().join("linearizable").join(file);
        let (code, out, err) = said(&["check", path.to_str().unwrap(), "--require", require]);
        assert_eq!(code, expected, "{file} {require}: {out}\n{err}");
    }
}

#[test]
fn every_file_has_a_line_in_the_readme() {
    let readme = fs::read_to_string(corpus().join("README.md")).unwrap();
    for path in VERDICTS.iter().flat_map(|verdict| files(verdict)) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            readme.contains(&format!("| `{name}` | ")),
            "{name} has no line"
        );
    }
}

#[test]
fn malformed_input_is_65_and_names_file_line_and_reason() {
    for path in files("malformed") {
        let (code, out, err) = said(&["check", path.to_str().unwrap()]);
        assert_eq!(code, 65, "{out}{err}");
        let message = format!("{out}{err}");
        let after = message
            .split(&format!("{}:", path.display()))
            .nth(1)
            .unwrap_or_else(|| panic!("{message}"));
        let line: String = after.chars().take_while(char::is_ascii_digit).collect();
        assert!(line.parse::<u64>().is_ok_and(|line| line > 0), "{message}");
    }
}

#[test]
fn a_missing_file_and_an_empty_command_line_are_told_apart_from_malformed_input() {
    assert_eq!(said(&["check"]).0, 64);
    let (code, out, err) = said(&["check", "no/such/file.jsonl"]);
    assert!(code != 0 && code != 1, "{code}");
    assert!(format!("{out}{err}").contains("no/such/file.jsonl"));
}

#[test]
fn what_gen_makes_has_the_verdict_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.jsonl");
    let path = path.to_str().unwrap();
    let make = |more: &[&str]| {
        let args = [
            "gen",
            "--ops",
            "500",
            "--clients",
            "10",
            "--pending",
            "0.05",
            "--seed",
            "3",
            "-o",
            path,
        ];
        let args: Vec<&str> = args.into_iter().chain(more.iter().copied()).collect();
        assert_eq!(said(&args).0, 0, "{more:?}");
        said(&["check", path]).0
    };
    assert_eq!(make(&[]), 0);
    assert_eq!(
        make(&["--cas", "0.2", "--delete", "0.1", "--failed", "0.1"]),
        0
    );
    for kind in [
        "stale-read",
        "lost-write",
        "future-read",
        "aborted-read",
        "double-cas",
        "resurrected-delete",
    ] {
        assert_eq!(make(&["--violate", kind]), 1, "{kind}");
    }
}

#[test]
fn a_failed_cas_is_an_answer_only_where_it_is_taken_at_its_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h.jsonl");
    let file = path.to_str().unwrap();
    // 1 is there from #0 to #6. While it is, a cas fails; the write of 2 is open on one of the keys.
    let history = |expected: u8, other: &str| {
        format!(
            r#"{{"whitewater":1,"spec":"register"}}
{{"index":0,"time_ns":0,"client":1,"type":"invoke","f":"write","key":"k","value":1}}
{{"index":1,"time_ns":1,"client":1,"type":"ok"}}
{{"index":2,"time_ns":2,"client":2,"type":"invoke","f":"write","key":"{other}","value":2}}
{{"index":3,"time_ns":3,"client":1,"type":"invoke","f":"cas","key":"k","value":[{expected},3]}}
{{"index":4,"time_ns":4,"client":1,"type":"fail"}}
{{"index":5,"time_ns":5,"client":1,"type":"invoke","f":"read","key":"k"}}
{{"index":6,"time_ns":6,"client":1,"type":"ok","value":1}}
{{"index":7,"time_ns":7,"client":2,"type":"ok"}}
"#
        )
    };
    // Where it is another key's, the cas fails for nothing at once; else only the read says that 2 was not there yet.
    for (other, expected, event) in [("other", &[0, 3][..], 4), ("k", &[0, 3, 5], 6)] {
        fs::write(&path, history(1, other)).unwrap();
        let (code, out, _) = said(&["check", file]);
        assert_eq!(code, 0, "failed operations never happened: {out}");
        let (code, out, err) = said(&["check", "--strict", "--explain", file]);
        assert_eq!(code, 1, "{out}{err}");
        assert!(out.contains("#3 compared with 1 and failed"), "{out}");
        let (_, out, _) = said(&["check", "--strict", "--json", file]);
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        let operations = found["counterexample"].as_array().unwrap();
        let ids: Vec<&serde_json::Value> = operations.iter().map(|op| &op["id"]).collect();
        assert_eq!(ids, expected, "{out}");
        assert_eq!(
            (&found["culprit"], &found["event"]),
            (&3.into(), &event.into())
        );
        fs::write(&path, history(2, other)).unwrap();
        let (code, out, _) = said(&["check", "--strict", file]);
        assert_eq!(code, 0, "2 was not there: {out}");
    }
}

#[test]
fn machine_output_has_the_values_of_the_file_and_a_refusal_says_what_it_was_read_as() {
    let file = corpus().join("violating/symbol-and-string.edn");
    let (code, out, err) = said(&["check", "--json", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{err}");
    assert!(out.contains(r#"{"ok":"fig"}"#), "{out}");
    let file = corpus().join("malformed/no-colon.json");
    let (code, out, _) = said(&["check", file.to_str().unwrap()]);
    assert_eq!(code, 65);
    assert!(out.contains("no-colon.json:2:2: "), "{out}");
    assert!(out.contains("note: read as json"), "{out}");
}

#[test]
fn a_data_type_is_told_by_its_operations_or_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let taken = file(
        "taken.txt",
        "4\t:invoke\t:acquire\tnil\n4\t:ok\t:acquire\tnil\n",
    );
    let (code, out, err) = said(&["check", &taken]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("judged as mutex (--spec mutex)"), "{out}");
    let (code, out, _) = said(&["check", "--spec", "set", &taken]);
    assert_eq!(code, 65, "an acquire is none of a set: {out}");

    // A set or a counter: nothing was found that would tell.
    let added = file("added.txt", "4\t:invoke\t:add\t9\n4\t:ok\t:add\t9\n");
    let (code, out, err) = said(&["check", &added]);
    assert_eq!(code, 64, "{out}\n{err}");
    assert!(err.contains("--spec set or --spec counter"), "{out}\n{err}");
    for spec in ["set", "counter"] {
        let (code, out, err) = said(&["check", "--spec", spec, &added]);
        assert_eq!(code, 0, "{spec}: {out}\n{err}");
    }
    let queue = corpus().join("violating/queue-unexpected.jsonl");
    for spec in ["register", "lock"] {
        let (code, _, err) = said(&["check", "--spec", spec, queue.to_str().unwrap()]);
        assert_eq!(code, 64, "{err}");
        assert!(err.contains("it is a history of queue"), "{err}");
    }
}

#[test]
fn what_gen_plants_in_a_data_type_is_found_and_told_in_the_values_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lost.jsonl");
    let path = path.to_str().unwrap();
    for format in ["jsonl", "edn"] {
        let made = [
            "gen",
            "--spec",
            "set",
            "--ops",
            "60",
            "--violate",
            "lost",
            "--format",
            format,
        ];
        let (code, out, err) = said(&[&made[..], &["-o", path]].concat());
        assert_eq!(code, 0, "{out}\n{err}");
        let (code, out, _) = said(&["check", "--json", path]);
        assert_eq!(code, 1, "{out}");
        let object: serde_json::Value = serde_json::from_str(&out).expect("one object");
        assert_eq!(object["verdict"], "violation", "{out}");
        assert_eq!(object["anomaly"], "lost", "{out}");
        let shown = object["counterexample"].as_array().expect("operations");
        let culprit = shown.iter().find(|op| op["id"] == object["culprit"]);
        let found = &culprit.expect("it is shown")["outcome"]["ok"];
        let added = &shown[0]["call"]["add"];
        assert!(!found.as_array().expect("a list").contains(added), "{out}");
    }
    let (code, _, err) = said(&["gen", "--spec", "set", "--violate", "stale-read"]);
    assert_eq!(code, 64, "{err}");
    assert!(
        err.contains("lost, stale, from-nowhere, duplicate"),
        "{err}"
    );
}
