//! The second look at a finished history, as it stands on disk.
//!
//! Where the judge gave a key up while the history grew, the whole decides: it holds what comes after each operation, and
//! a search among what is known goes farther. And the log ids that the nodes answered with are a second opinion. Its words
//! never change the verdict: where the two cannot both be right, a node has said something that is not so (or a checker
//! of ours is wrong), and that is a finding in itself.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use checkers::format::jsonl;
use checkers::history::{History, Nil};
use checkers::linear::certificate::Certificate;
use checkers::linear::{self, Options, certificate};
use checkers::types::DataType;
use checkers::verdict::Verdict;

use crate::judge::Judged;

/// A larger history is not read again for this; its verdict was made while it grew.
pub(super) const AT_MOST_BYTES: u64 = 1 << 30;

/// What a run's history proves, all in all, and what its log ids do; `None`: these were not asked. Where the history cannot
/// be read back, the verdict that was made while it grew stands, and it is said why.
pub(super) fn look_again(
    dir: &Path,
    judged: Judged,
    of: Option<&'static dyn DataType>,
) -> (Verdict, Result<Option<Certificate>, String>) {
    if of.is_some() {
        // It has judged the whole, and no log id stands beside it.
        return (judged.verdict, Ok(None));
    }
    match load(dir) {
        Ok(Some(history)) => (decided(&history, judged), Ok(Some(certificate(&history)))),
        Ok(None) => (judged.verdict, Ok(None)),
        Err(why) => (judged.verdict, Err(why)),
    }
}

fn load(dir: &Path) -> Result<Option<History>, String> {
    let path = dir.join("history.jsonl");
    let unread = |e: String| format!("could not read {} again: {e}", path.display());
    let file = File::open(&path).map_err(|e| unread(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| unread(e.to_string()))?.len();
    if bytes > AT_MOST_BYTES {
        return Ok(None);
    }
    let name = path.display().to_string();
    let loaded = jsonl::read(BufReader::new(file), &name, Nil::Absent);
    Ok(Some(loaded.map_err(|e| unread(e.to_string()))?.history))
}

/// The verdict, and where it is unknown, that of the whole. What is on disk is a violation by itself if it is one; that it
/// holds says only something if it is all there.
fn decided(history: &History, judged: Judged) -> Verdict {
    let Verdict::Unknown(reason) = judged.verdict else {
        return judged.verdict;
    };
    let all = history.gaps.is_empty() && history.events() >= judged.events;
    match linear::check(history, &Options::default()).verdict {
        Verdict::Linearizable if !all => Verdict::Unknown(reason),
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use checkers::history::Header;
    use checkers::verdict::{Exhausted, Reason};

    use super::*;
    use crate::oracle::certificate::disagreement;
    use crate::oracle::{Finding, Oracle};

    fn judged(events: &str) -> Option<Finding> {
        let history = history(events);
        let report = checkers::linear::check(&history, &Default::default());
        disagreement(&certificate(&history), &report.verdict)
    }

    fn history(events: &str) -> History {
        let header = r#"{"whitewater":1,"spec":"register"}"#;
        let text = format!("{header}\n{events}\n");
        let loaded = jsonl::read(text.as_bytes(), "a test", Nil::Absent);
        loaded.unwrap().history
    }

    const WRITE: &str = concat!(
        r#"{"index":0,"time_ns":0,"client":1,"type":"invoke","f":"write","key":"a","value":1}"#,
        "\n",
        r#"{"index":1,"time_ns":1,"client":1,"type":"ok","f":"write","key":"a","value":1,"at":{"term":1,"index":7}}"#,
        "\n",
    );

    fn read_at(index: u64) -> String {
        let invoke = r#"{"index":2,"time_ns":2,"client":2,"type":"invoke","f":"read","key":"b"}"#;
        let ok = r#"{"index":3,"time_ns":3,"client":2,"type":"ok","f":"read","key":"b","value":null,"at":"#;
        format!("{WRITE}{invoke}\n{ok}{{\"term\":1,\"index\":{index}}}}}")
    }

    #[test]
    fn a_read_of_another_key_from_before_a_finished_write_is_a_finding_though_no_value_shows_it() {
        assert_eq!(judged(&read_at(7)), None);
        let found = judged(&read_at(6)).expect("the log's order is not that of time");
        assert_eq!(found.oracle(), Oracle::Certificate);
    }

    #[test]
    fn a_contradiction_is_a_finding_also_where_the_verdict_is_unknown() {
        let contradicted = certificate(&history(&read_at(6)));
        let unknown = Verdict::Unknown(Reason {
            exhausted: Exhausted::Configurations { budget: 1 },
            key: "a".to_owned(),
            proven_to: None,
            blocking: vec![],
        });
        let found = disagreement(&contradicted, &unknown).expect("it needs no verdict beside it");
        assert_eq!(found.oracle(), Oracle::Certificate);
        let holds = certificate(&history(&read_at(7)));
        assert_eq!(disagreement(&holds, &unknown), None);
    }
    /// A delete, 300 clients at once, and then a plain stale read, or a right one.
    fn crowded(read: u64) -> String {
        let mut text = String::new();
        let mut index = 0;
        let mut event = |client: u64, rest: &str| {
            let head = format!("{{\"index\":{index},\"time_ns\":{index},\"client\":{client}");
            writeln!(text, "{head},\"type\":{rest}}}").unwrap();
            index += 1;
        };
        let write = |value| format!("\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":{value}");
        let ok = "\"ok\",\"value\":null";
        event(1, "\"invoke\",\"f\":\"delete\",\"key\":\"k\"");
        event(1, ok);
        (0..300).for_each(|i| event(10 + i, &write(100 + i)));
        (0..300).for_each(|i| event(10 + i, ok));
        for value in [1, 2] {
            event(1, &write(value));
            event(1, ok);
        }
        event(1, "\"invoke\",\"f\":\"read\",\"key\":\"k\"");
        event(1, &format!("\"ok\",\"value\":{read}"));
        text
    }

    /// The verdict of a run that left this on disk and that its judge gave up, having seen so many events more.
    fn given_up(text: &str, more: u64) -> Verdict {
        let events = text.lines().count() as u64 + more;
        let dir = tempfile::tempdir().unwrap();
        let header = serde_json::to_string(&Header::register(1)).unwrap();
        let path = dir.path().join("history.jsonl");
        std::fs::write(path, format!("{header}\n{text}")).unwrap();
        let reason = Reason {
            exhausted: Exhausted::Open { most: 256 },
            key: "k".to_owned(),
            proven_to: None,
            blocking: vec![],
        };
        let verdict = Verdict::Unknown(reason);
        look_again(dir.path(), Judged { verdict, events }, None).0
    }

    #[test]
    fn what_the_judge_gave_up_is_decided_by_the_whole_history_on_disk() {
        let text = crowded(1);
        let (judge, feed) = crate::judge::Judge::start(None, Box::new(|_| {}));
        for event in history(&text).to_events() {
            feed.push(&event);
        }
        drop(feed);
        assert_eq!(
            judge.finish().verdict.name(),
            "unknown",
            "it is too crowded to follow"
        );
        let Verdict::Violation(found) = given_up(&text, 0) else {
            panic!("the whole decides");
        };
        assert_eq!(found.operations.len(), 3);
        assert_eq!(given_up(&crowded(2), 0).name(), "linearizable");
        // A violation on disk is one whatever is missing; that it holds says nothing then.
        assert_eq!(given_up(&text, 1).name(), "violation");
        assert_eq!(given_up(&crowded(2), 1).name(), "unknown");
    }
}
