//! Traces as data: those under `traces/explained` must be explained; each of those under `traces/rejected` must be
//! rejected for what its `expected.txt` says.
//!
//! A line of `expected.txt` is a node and a piece of the reason: first the one that is to blame, then, each with `also`
//! before it, all others that nothing explains.

use std::fs;
use std::path::{Path, PathBuf};

use model::conform::{Conformance, conform};
use model::trace;

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/traces")
        .join(kind);
    let entries = fs::read_dir(&folder).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 5, "{} has next to nothing", folder.display());
    cases
}

fn replay(case: &Path) -> Conformance {
    let files = (1..=3).map(|node| {
        let text = fs::read_to_string(case.join(format!("{node}.jsonl"))).unwrap();
        trace::read(&text).unwrap_or_else(|e| panic!("{}, n{node}: {e}", case.display()))
    });
    conform(files.collect(), None)
}

#[test]
fn what_a_kill_leaves_is_explained() {
    for case in cases("explained") {
        if let Conformance::Rejected(rejected) = replay(&case) {
            panic!("{}: {rejected:#?}", case.display());
        }
    }
}

#[test]
fn what_no_rule_allows_is_rejected_and_the_root_is_named() {
    for case in cases("rejected") {
        let rejected = match replay(&case) {
            Conformance::Rejected(rejected) => rejected,
            Conformance::Accepted(accepted) => panic!("{}: {accepted:?}", case.display()),
        };
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap();
        let first = (rejected.node, &rejected.missing);
        let all = [first]
            .into_iter()
            .chain(rejected.also.iter().map(|u| (u.node, &u.missing)));
        assert_eq!(
            expected.lines().count(),
            all.clone().count(),
            "{}: {rejected:#?}",
            case.display()
        );
        for (nth, (line, (node, missing))) in expected.lines().zip(all).enumerate() {
            let also = if nth == 0 { "" } else { "also " };
            let (who, why) = line
                .strip_prefix(also)
                .and_then(|l| l.split_once(' '))
                .unwrap_or_else(|| panic!("{}: what does {line:?} say?", case.display()));
            assert!(
                who == format!("n{node}") && missing.contains(why),
                "{}: {line:?} was expected of {rejected:#?}",
                case.display()
            );
        }
    }
}
