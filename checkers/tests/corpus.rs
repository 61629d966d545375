//! The teaching corpus: the folder is the verdict, and the README has a line for each file.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use checkers::format::{self, Error};
use checkers::linear::stream::{self, Read, Reading};
use checkers::linear::{Options, check};
use checkers::types;
use checkers::verdict::Verdict;

#[test]
fn every_history_has_the_verdict_of_its_folder_and_a_line_in_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../histories");
    let readme = fs::read_to_string(root.join("README.md")).expect("the corpus has a README");
    let mut files = 0;
    for (folder, expected) in [
        ("linearizable", "linearizable"),
        ("violating", "violation"),
        ("unknown", "unknown"),
        ("malformed", "malformed"),
    ] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            assert_eq!(judge(&path), expected, "{}", path.display());
            assert!(readme.contains(&format!("`{name}`")), "{name} has no line");
            files += 1;
        }
    }
    assert!(files >= 25, "{files} files");
}

/// The verdict's name; a counterexample must be one when it stands alone.
fn judge(path: &Path) -> &'static str {
    let file = BufReader::new(File::open(path).expect("it can be opened"));
    let name = path.display().to_string();
    let options = Options::default();
    let history = match stream::read(file, &name, &Reading::default(), &options) {
        Ok(Read::Whole(loaded)) if loaded.early.is_none() => loaded.history,
        Ok(Read::Typed(loaded)) => return judge_typed(&loaded),
        Ok(_) => return "malformed",
        Err(error @ Error::Malformed { .. }) => {
            assert!(error.to_string().starts_with(&name), "{error}");
            return "malformed";
        }
        Err(error) => panic!("{error}"),
    };
    let default = Options::default();
    let options = Options {
        budget: history.header.budget.unwrap_or(default.budget),
        ..default
    };
    let verdict = check(&history, &options).verdict;
    if let Verdict::Violation(found) = &verdict {
        assert!(found.operations.len() <= 6, "{name}: {found:#?}");
    }
    verdict.name()
}

/// The same of a data type beside the register and the list.
fn judge_typed(loaded: &types::Loaded) -> &'static str {
    let verdict = types::check(loaded.of, &loaded.ops, &Options::default()).verdict;
    if let types::check::Verdict::Violation(found) = &verdict {
        assert!((1..=6).contains(&found.operations.len()), "{found:#?}");
        assert!(!found.why.is_empty());
    }
    verdict.name()
}

/// As few as possible, and never fewer than a person needs: whoever wrote what was read, and what came over it.
#[test]
fn a_counterexample_keeps_the_writer_of_what_was_read_and_only_one() {
    let shown = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../histories/violating")
            .join(name);
        let file = BufReader::new(File::open(&path).expect("it can be opened"));
        let history = format::read(file, name, None, None)
            .expect("it is well formed")
            .history;
        match check(&history, &Options::default()).verdict {
            Verdict::Violation(found) => found.operations.len(),
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(shown("stale-read.jsonl"), 3, "write 1, write 2, read 1");
    assert_eq!(
        shown("absent-after-many-deletes.jsonl"),
        3,
        "the last delete, the write, the read"
    );
}
