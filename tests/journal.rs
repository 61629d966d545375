//! What a run leaves behind: its folder alone gives the result that the run gave itself, field by field.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{machine, only_folder, said};
use whitewater::{journal, report};

/// Ten runs that end in different ways: they hold, exercise too little, are stopped, find something, and fail.
const RUNS: &[&[&str]] = &[
    &["rapids", "--seed", "1"],
    &["rapids", "--seed", "2", "--nodes", "5"],
    &["rapids", "--seed", "3", "--append", "unary"],
    &["calm", "--seed", "4"],
    &["calm", "--seed", "5", "--faults", "kill,cut"],
    &["calm", "--seed", "6", "--nodes", "1"],
    &["rapids", "--seed", "7", "--faults", "drop,kill"],
    &[
        "calm",
        "--seed",
        "8",
        "--defect",
        "stale-read",
        "--time",
        "6",
    ],
    &[
        "calm",
        "--seed",
        "9",
        "--reads",
        "follower-local",
        "--faults",
        "pause",
    ],
    &["rapids", "--seed", "10", "--rate", "50", "--clients", "4"],
];

/// The object that a run said, and the folder that it left.
fn run(dir: &Path, args: &[&str]) -> (Value, std::path::PathBuf) {
    let folder = dir.to_str().expect("a temporary folder has a plain name");
    let mut words = vec!["run", "--json", "--out", folder];
    if !args.contains(&"--time") {
        words.extend(["--time", "3"]);
    }
    words.extend(args);
    let (code, out, err) = said(&words);
    let object: Value =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: exit {code}\n{out}\n{err}"));
    assert_eq!(object["exit"].as_i64(), Some(code.into()), "{object:#}");
    (object, only_folder(dir))
}

#[test]
fn a_finished_folder_gives_the_same_result_as_the_run_that_wrote_it() {
    let _machine = machine();
    let mut ends = std::collections::BTreeSet::new();
    for args in RUNS {
        let dir = tempfile::tempdir().expect("a folder");
        let (said, folder) = run(dir.path(), args);
        let result = journal::read_result(&folder).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        // As text, as it was said: a reader may be off by the last bit of a number, and then twice.
        let again = report::json(&result).to_string();
        let again: Value = serde_json::from_str(&again).expect("it is JSON");
        let fields = said.as_object().expect("an object");
        for (field, value) in fields {
            assert_eq!(&again[field], value, "{field} of {args:?}");
        }
        assert_eq!(
            again.as_object().map(serde_json::Map::len),
            Some(fields.len())
        );
        ends.insert(said["exit"].as_i64());
    }
    assert!(ends.len() > 1, "they all ended alike: {ends:?}");
}

#[test]
fn a_folder_that_another_version_recorded_gets_a_sentence_and_its_history_is_judged() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shown/stale-read");
    for name in ["history.jsonl", "scenario.toml", "journal.jsonl"] {
        fs::copy(shown.join(name), dir.path().join(name)).expect("it is there");
    }
    let folder = dir.path().to_str().expect("a plain name");
    let replay = ["replay", folder, "--print", "verdict"];
    assert_eq!(said(&replay).0, 0);
    let journal = dir.path().join("journal.jsonl");
    fs::rename(&journal, dir.path().join("notices.jsonl")).expect("it is ours");
    let older = said(&replay);
    fs::write(&journal, "{\"journal\":7}\n").expect("it is ours");
    let newer = said(&replay);
    for ((code, _, err), what) in [(older, "notices.jsonl"), (newer, "format 7")] {
        assert_eq!(code, 65, "{err}");
        let told = err.contains("another version of whitewater") && err.contains(what);
        assert!(told && !err.contains("panicked"), "{err}");
    }
    assert_eq!(said(&["check", folder]).0, 1);
}
