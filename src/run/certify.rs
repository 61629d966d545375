//! The second opinion on a finished history: the log ids that the nodes answered with.
//!
//! Its words never change the verdict. Where the two cannot both be right, a node has said something that is not so (or
//! a checker of ours is wrong), and that is a finding in itself.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use checkers::format::jsonl;
use checkers::history::Nil;
use checkers::linear::certificate;
use checkers::linear::certificate::Certificate;
use checkers::verdict::Verdict;

use super::after::finding;
use super::notice::Finding;

/// A larger history is not read again for this; its verdict was made while it grew.
pub(super) const AT_MOST_BYTES: u64 = 1 << 30;

/// What the log ids in a run's history prove; `None`: it was not asked.
///
/// # Errors
/// Where the history cannot be read back.
pub(super) fn certify(dir: &Path) -> Result<Option<Certificate>, String> {
    let path = dir.join("history.jsonl");
    let unread = |e: String| format!("could not read {} again: {e}", path.display());
    let file = File::open(&path).map_err(|e| unread(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| unread(e.to_string()))?.len();
    if bytes > AT_MOST_BYTES {
        return Ok(None);
    }
    let name = path.display().to_string();
    let loaded = jsonl::read(BufReader::new(file), &name, Nil::Absent);
    let loaded = loaded.map_err(|e| unread(e.to_string()))?;
    Ok(Some(certificate(&loaded.history)))
}

/// Where certificate and verdict cannot both be right.
pub(super) fn disagreement(certificate: &Certificate, verdict: &Verdict) -> Option<Finding> {
    let evidence = certificate.disagreement(verdict)?;
    Some(finding("certificate", evidence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(events: &str) -> Option<Finding> {
        let header = r#"{"whitewater":1,"spec":"register"}"#;
        let text = format!("{header}\n{events}\n");
        let loaded = jsonl::read(text.as_bytes(), "a test", Nil::Absent).unwrap();
        let report = checkers::linear::check(&loaded.history, &Default::default());
        disagreement(&certificate(&loaded.history), &report.verdict)
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
        assert_eq!(found.oracle, "certificate");
    }
}
