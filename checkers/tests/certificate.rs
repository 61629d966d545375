//! The certificate against what it must reject, and against runs of real clusters.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use checkers::format;
use checkers::history::History;
use checkers::linear::certificate::{Certificate, Rule, certificate, certificate_of_key};
use checkers::linear::{Options, check};

/// One operation a word: `w1@3` writes 1 at entry 3, `r1@3` reads it there, `c1>2@4`, `d@5`; `?` is unknown. `a..b`
/// overlap: the second begins before the first ends. `j:` before it is another key.
fn history(words: &str) -> History {
    let mut lines = vec!["{\"whitewater\":1,\"spec\":\"register\"}".to_owned()];
    let mut open: Vec<String> = Vec::new();
    for (client, word) in words.split_whitespace().enumerate() {
        let (word, overlaps) = match word.strip_suffix("..") {
            Some(word) => (word, true),
            None => (word, false),
        };
        // `f1>2@4` is a cas that failed, and `f1>2=3@4` one that says that it found 3.
        let (word, differed) = match word.split_once('=') {
            Some((what, rest)) => {
                let (found, at) = rest.split_once('@').expect("an entry");
                (format!("{what}@{at}"), format!(",\"value\":{found}"))
            }
            None => (word.to_owned(), String::new()),
        };
        let word = word.as_str();
        let (what, at) = match word.strip_suffix('?') {
            Some(what) => (what, "?"),
            None => word.split_once('@').expect("an entry"),
        };
        let (key, what) = what.split_once(':').unwrap_or(("k", what));
        let (f, rest) = what.split_at(1);
        let failed = f == "f";
        let (f, asked, found) = match f {
            "w" => ("write", rest.to_owned(), "null".to_owned()),
            "r" => ("read", "null".to_owned(), rest.replace('-', "null")),
            "c" | "f" => (
                "cas",
                format!("[{}]", rest.replace('>', ",")),
                "null".to_owned(),
            ),
            _ => ("delete", "null".to_owned(), "null".to_owned()),
        };
        let head = |index: usize| format!("{{\"index\":{index},\"client\":{client}");
        let index = lines.len();
        lines.push(format!(
            "{},\"type\":\"invoke\",\"f\":\"{f}\",\"key\":\"{key}\",\"value\":{asked}}}",
            head(index)
        ));
        let (term, entry) = at.split_once('.').unwrap_or(("1", at));
        let answer = match failed {
            true => format!("\"fail\"{differed}"),
            false => format!("\"ok\",\"value\":{found}"),
        };
        let end = match at {
            "?" => ",\"type\":\"info\"}".to_owned(),
            _ => format!(",\"type\":{answer},\"at\":{{\"term\":{term},\"index\":{entry}}}}}"),
        };
        open.push(format!("\"client\":{client}{end}"));
        if !overlaps {
            for end in open.drain(..) {
                lines.push(format!("{{\"index\":{},{end}", lines.len()));
            }
        }
    }
    let text = lines.join("\n") + "\n";
    let loaded = format::read(text.as_bytes(), "h", None, None).expect("well formed");
    loaded.history
}

fn rule(words: &str) -> Option<Rule> {
    match certificate(&history(words)) {
        Certificate::Contradiction(found) => Some(found.rule),
        Certificate::Holds { .. } => None,
        Certificate::Silent { why } => panic!("{words}: {why}"),
    }
}

#[test]
fn what_the_log_explains_holds() {
    for words in [
        "r-@0 w1@1 r1@1 w2@3 r2@4",
        "w1@1 c1>2@2 r2@2 d@3 r-@3",
        "w1@2.. w2@1 r1@2",
        "w1@1 w2? r1@1 r2@2",
        "w1@1 w2? r2@2 w3@3 r3@3",
        "d? w1@1 r-@2",
        // A failed cas has an entry of its own.
        "w1@1 f2>3@2 r1@2",
        "w1@1 f2>3=1@2 r1@2",
        "w1@1 w2? f3>4@3 r2@3",
        "w1@1 w2? f1>3=2@3 r2@3",
        // Two unknown writes, and two entries for them.
        "w1@1 w2? j:w3? j:r3@3 r2@3",
        "j:w3? w2? w4? j:r3@1 r2@2 r4@3",
        // As far as indices go.
        "w1@9223372036854775807 r1@9223372036854775807 w2@9223372036854775808 r2@9223372036854775808",
        "w1@18446744073709551612 w2? r2@18446744073709551613 w3@18446744073709551614 r3@18446744073709551614",
    ] {
        assert_eq!(rule(words), None, "{words}");
    }
}

#[test]
fn what_the_log_contradicts_is_rejected() {
    for (words, expected) in [
        ("w1@1 w2@1", Rule::OneLog),
        ("w1@2.1 w2@1.2", Rule::OneLog),
        ("w1@1.1 r1@2.1", Rule::OneLog),
        ("w1@2 w2@1", Rule::RealTime),
        ("w1@1 w2@2 r1@1", Rule::RealTime),
        ("w1@1 r1@2 w2@2", Rule::RealTime),
        (
            "w1@9223372036854775809 w2@9223372036854775808",
            Rule::RealTime,
        ),
        ("w1@1 w2@2 r1@2", Rule::Prefix),
        ("r1@0 w1@1", Rule::Prefix),
        ("w1@1 c2>3@2", Rule::Prefix),
        ("w1@1 f1>2@2 r1@2", Rule::Prefix),
        ("w1@1 f1>2=1@2 r1@2", Rule::Prefix),
        ("w1@1 f2>3=4@2 r1@2", Rule::Prefix),
        ("w1@1 f2>3@1", Rule::OneLog),
        ("w1@1 f2>3=1@1", Rule::OneLog),
        ("f2>3@3 w1@2", Rule::RealTime),
        // The unknown write of 2 can't be an entry at or before 1: that is taken, and nothing is before it.
        ("w1@1 w2? r2@1", Rule::Prefix),
        // It began after a read that names entry 2 had ended.
        ("w1@1 r1@2 w2? r2@2", Rule::Prefix),
        // One unknown write can't take effect twice.
        ("w1@1 w2? r2@2 w3@3 r2@4", Rule::Prefix),
        // Only entry 2 is free, and two unknown writes of different keys must both be it.
        ("w1@1 w2? j:w3? j:r3@2 r2@2", Rule::OneLog),
        // Three for the entries 2 and 3.
        ("w1@1 w2? j:w3? i:w4? j:r3@3 i:r4@3 r2@3", Rule::OneLog),
        // Entries 1 and 2 are free; who began behind 1 and who is found at 2 are two for the second of them.
        ("r-@1 w2? j:w3? r2@2 j:r3@2", Rule::OneLog),
        // Between two reads of entry 3 there is no entry.
        ("w1@1 w2? r1@3 r2@3", Rule::Prefix),
    ] {
        assert_eq!(rule(words), Some(expected), "{words}");
    }
}

#[test]
fn an_index_that_nothing_can_follow_leaves_it_silent() {
    let found = certificate(&history("w1@18446744073709551615 r1@18446744073709551615"));
    assert_eq!(found.name(), "silent");
}

#[test]
fn a_linearizable_history_in_another_order_than_its_log_is_a_disagreement() {
    let history = history("w1@2.. w2@1 r2@2");
    let found = certificate(&history);
    let verdict = check(&history, &Options::default()).verdict;
    assert!(verdict.holds());
    let why = found.disagreement(&verdict).expect("they disagree");
    assert!(why.contains("not in the log's order"), "{why}");
    assert_eq!(found, certificate_of_key(&history, &history.keys[0]));
}

#[test]
fn an_answer_without_a_log_id_leaves_it_silent() {
    let text = "{\"whitewater\":1}\n{\"index\":0,\"client\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":1}\n{\"index\":1,\"client\":1,\"type\":\"ok\"}\n";
    let loaded = format::read(text.as_bytes(), "h", None, None).expect("well formed");
    let found = certificate(&loaded.history);
    assert!(matches!(found, Certificate::Silent { .. }), "{found:?}");
}

#[test]
fn real_clusters_tell_the_truth_unless_they_break() {
    for (name, expected) in [
        ("linearizable/recorded-rapids.jsonl.gz", "holds"),
        ("violating/recorded-stale-read-1.jsonl", "contradiction"),
        ("violating/recorded-stale-read-3.jsonl", "contradiction"),
        ("violating/recorded-lease-restart.jsonl.gz", "contradiction"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../histories")
            .join(name);
        let file = BufReader::new(File::open(path).expect("it can be opened"));
        let history = format::read(file, name, None, None)
            .expect("well formed")
            .history;
        let found = certificate(&history);
        assert_eq!(found.name(), expected, "{name}: {found:?}");
        let verdict = check(&history, &Options::default()).verdict;
        assert_eq!(found.disagreement(&verdict), None, "{name}");
    }
}
