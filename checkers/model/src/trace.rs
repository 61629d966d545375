//! What a node's storage did, as lines of JSON: the format, its types and its reader.
//!
//! A node writes one file, `trace/<node>.jsonl`. Every process that runs as that node appends to it. A line is one
//! object, written with one `write` and ended by `\n`; the file need not be synced, since only a process is ever killed,
//! never the machine. A process that finds a last line without its `\n` truncates the file to the last `\n` first.
//!
//! # Order is the whole point
//! A line that names an effect is the effect's **begin**: it is written *before* the store is touched. Its **done** is
//! written *after* the effect is durable and *before* anybody is told: before the trait's method returns, or before
//! the `IOFlushed` callback is called. With only the first, a kill would leave effects that never happened; with only
//! the second, a kill between the effect and its line would accuse a healthy node. An effect with a begin and no done
//! when the next `start` comes may have happened, in part or not at all: the `start` says which. The log's file (votes,
//! appends, truncations, purges) is written in the order of the begins, so that a start shows it as of one moment; the
//! state machine's (applications, snapshots, installations) likewise, at a moment of its own. An effect that fails with
//! an error gets no done.
//!
//! ```text
//!   append called ── begin line ── write, sync ── done line ── callback ── (the leader hears the acknowledgement)
//! ```
//!
//! Only a node's own order matters. Clocks are not compared; files of different nodes are never merged by time.
//!
//! # Lines
//! Every line has `seq` (1, 2, 3, ... within one life of the node: a `start` is always 1), `t_us` (microseconds since
//! that process started; for people only), `node`, and `e`, the kind. Ids are arrays: a log id is
//! `[term, node, index]`, a vote is `[term, node, committed]`, an entry is `[term, node, index, payload]`, where
//! `payload` is any stable 64-bit hash of the entry's payload as stored, the same on every node (0 for a blank entry).
//! `members` is given when entries carry a membership: `[[index, [[1,2,3]]]]`, each index with its voter sets (two
//! sets while the membership is joint; learners are left out).
//!
//! ```text
//! {"seq":1,"t_us":9,"node":1,"e":"start"}
//! {"seq":1,"t_us":9,"node":1,"e":"start","vote":[3,2,true],"purged":[1,1,4],"log":[[1,1,5,9],[3,2,10,12]],"snapshot":[1,1,7],"applied":[1,1,9]}
//! {"seq":2,"t_us":80,"node":1,"e":"append","entries":[[0,0,0,77]],"members":[[0,[[1,2,3]]]]}
//! {"seq":3,"t_us":95,"node":1,"e":"done","of":2}
//! {"seq":4,"t_us":99,"node":1,"e":"vote","vote":[4,1,false]}
//! {"seq":6,"t_us":130,"node":1,"e":"append","entries":[[4,1,13,0],[4,1,14,6612]]}
//! {"seq":9,"t_us":190,"node":1,"e":"truncate","after":[1,1,9]}
//! {"seq":11,"t_us":230,"node":1,"e":"apply","entries":[[4,1,13,0],[4,1,14,6612]]}
//! {"seq":13,"t_us":300,"node":1,"e":"snapshot","last":[4,1,14]}
//! {"seq":15,"t_us":400,"node":1,"e":"install","members":[[38,[[1,2,3]]]],"last":[5,3,40]}
//! {"seq":17,"t_us":450,"node":1,"e":"purge","upto":[4,1,14]}
//! {"seq":19,"t_us":0,"node":1,"e":"replaced","last":[5,3,44]}
//! ```
//!
//! * `start`: what the store holds as the process opens it, before openraft sees it. `vote`: the saved vote. `purged`:
//!   the last purged id. `log`: runs `[term, node, first index, last index]` of the entries that are there, ascending
//!   and without gaps. `snapshot`: the last id in the current snapshot. `applied`: the last id in the state machine.
//!   Each may be left out when there is nothing. It has no done.
//! * `vote`: `save_vote`. `append`: one call of `append`; its done precedes the callback. `truncate`:
//!   `truncate_after`, `after` left out when everything goes. `purge`: as the trait's.
//! * Initialization has no line of its own: the first membership is an ordinary `append` of index 0 by term 0.
//! * `apply`: the entries of one batch, begin before the first is applied, done after the last and before the first
//!   responder is answered. A batch may be split; a re-application after a start is written like any other.
//! * `snapshot`: a snapshot was built and is current, and stays so until a newer one is; `last` left out when it holds
//!   nothing. `install`: a received one replaces the state and is current likewise, the log's file is not touched;
//!   `members` carries the membership in it, under its own log index.
//! * `replaced`: not the node's own line but its owner's, written while no process runs as the node: it has left the
//!   cluster by the membership entry `last`, which was committed, and its store was emptied. The `start` after it is that
//!   of a new member that happens to have the old one's id: it must hold nothing. A store that is emptied in any
//!   other way has forgotten its vote, and is rejected. It has no done.
//! * `done`: the effect of the line whose `seq` is `of` is durable. Effects may overlap; each has its own done.
//!
//! The reader refuses unknown kinds, unknown fields, node ids above 63 and gaps in `seq`; it forgives a last line that was cut short.

use serde::{Deserialize, Serialize};

/// A log id as openraft orders it: by term, then node, then index. Written `[term, node, index]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The node that led that term.
    pub node: u64,
    /// The entry's index, from 0.
    pub index: u64,
}

impl From<(u64, u64, u64)> for LogId {
    fn from((term, node, index): (u64, u64, u64)) -> LogId {
        LogId { term, node, index }
    }
}

impl From<LogId> for (u64, u64, u64) {
    fn from(id: LogId) -> Self {
        (id.term, id.node, id.index)
    }
}

/// A vote as saved. Written `[term, node, committed]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u64, bool)", into = "(u64, u64, bool)")]
pub struct Vote {
    /// The candidate's term.
    pub term: u64,
    /// The candidate.
    pub node: u64,
    /// Whether a quorum granted it, as far as this node knows.
    pub committed: bool,
}

impl From<(u64, u64, bool)> for Vote {
    fn from((term, node, committed): (u64, u64, bool)) -> Vote {
        Vote {
            term,
            node,
            committed,
        }
    }
}

impl From<Vote> for (u64, u64, bool) {
    fn from(vote: Vote) -> Self {
        (vote.term, vote.node, vote.committed)
    }
}

/// One log entry. Written `[term, node, index, payload]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64, u64)", into = "(u64, u64, u64, u64)")]
pub struct Entry {
    /// Its log id.
    pub id: LogId,
    /// A stable hash of its payload, the same on every node.
    pub payload: u64,
}

impl From<(u64, u64, u64, u64)> for Entry {
    fn from((term, node, index, payload): (u64, u64, u64, u64)) -> Entry {
        Entry {
            id: LogId { term, node, index },
            payload,
        }
    }
}

impl From<Entry> for (u64, u64, u64, u64) {
    fn from(entry: Entry) -> Self {
        (entry.id.term, entry.id.node, entry.id.index, entry.payload)
    }
}

/// The highest id that a node of a trace may have: sets of nodes are the bits of a word.
pub const LAST_NODE: u64 = 63;

/// A run of entries of one leader: `[term, node, first index, last index]`.
pub type Run = (u64, u64, u64, u64);

/// The voter sets in force from a log index on: one set, or two while the membership is joint.
pub type Members = (u64, Vec<Vec<u64>>);

/// One line, as it is written: common fields, then those of its kind. See the module's page for which kind has which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Position in this life of the node, dense from 1.
    pub seq: u64,
    /// Microseconds since this process started. For people.
    pub t_us: u64,
    /// Who wrote it.
    pub node: u64,
    /// What happened.
    pub e: Kind,
    /// `start`, `vote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<Vote>,
    /// `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<LogId>,
    /// `start`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Run>,
    /// `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<LogId>,
    /// `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<LogId>,
    /// `append`, `apply`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    /// `append`, `install`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Members>,
    /// `truncate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<LogId>,
    /// `snapshot`, `install`, `replaced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LogId>,
    /// `purge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<LogId>,
    /// `done`: the `seq` of the begin that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// The kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A process opened the store.
    Start,
    /// Begin of `save_vote`.
    Vote,
    /// Begin of `append`.
    Append,
    /// Begin of `truncate_after`.
    Truncate,
    /// Begin of `purge`.
    Purge,
    /// Begin of the application of a batch.
    Apply,
    /// Begin of the build of a snapshot, recorded when its content is fixed.
    Snapshot,
    /// Begin of the installation of a received snapshot.
    Install,
    /// The node had left, and its store was emptied.
    Replaced,
    /// The effect that line `of` began is durable.
    Done,
}

impl Line {
    /// A line with the common fields only.
    #[must_use]
    pub fn new(seq: u64, t_us: u64, node: u64, e: Kind) -> Line {
        Line {
            seq,
            t_us,
            node,
            e,
            vote: None,
            purged: None,
            log: Vec::new(),
            snapshot: None,
            applied: None,
            entries: Vec::new(),
            members: Vec::new(),
            after: None,
            last: None,
            upto: None,
            of: None,
        }
    }
}

/// Why a file is no trace.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads one node's file. A last line without its `\n` is left out.
///
/// # Errors
/// A line that is no object of this format, that misses its kind's field, belongs to another node, breaks `seq`, or
/// names a node above [`LAST_NODE`].
pub fn read(text: &str) -> Result<Vec<Line>, Malformed> {
    let mut lines: Vec<Line> = Vec::new();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    for (at, line) in text[..whole].lines().enumerate() {
        let bad = |reason: String| Malformed {
            line: at + 1,
            reason,
        };
        let line: Line = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
        if let Some(first) = lines.first()
            && first.node != line.node
        {
            return Err(bad(format!(
                "node {} writes in the file of node {}",
                line.node, first.node
            )));
        }
        let expected = match line.e {
            Kind::Start => 1,
            _ => lines.last().map_or(1, |last| last.seq + 1),
        };
        if line.seq != expected {
            return Err(bad(format!("seq is {}, {expected} was expected", line.seq)));
        }
        if let Some(id) = beyond(&line) {
            return Err(bad(format!(
                "node ids go up to {LAST_NODE}, and this is {id}"
            )));
        }
        complete(&line)
            .map_err(|missing| bad(format!("{:?} needs {missing}", line.e).to_lowercase()))?;
        lines.push(line);
    }
    Ok(lines)
}

/// An id in the line, its writer's or that of a voter, which is beyond [`LAST_NODE`].
pub(super) fn beyond(line: &Line) -> Option<u64> {
    let voters = line.members.iter().flat_map(|(_, sets)| sets).flatten();
    voters
        .chain([&line.node])
        .copied()
        .find(|&id| id > LAST_NODE)
}

/// Whether the line has the fields that its kind cannot do without.
fn complete(line: &Line) -> Result<(), &'static str> {
    match line.e {
        Kind::Vote if line.vote.is_none() => Err("`vote`"),
        Kind::Append | Kind::Apply if line.entries.is_empty() => Err("`entries`"),
        Kind::Purge if line.upto.is_none() => Err("`upto`"),
        Kind::Install | Kind::Replaced if line.last.is_none() => Err("`last`"),
        Kind::Done if line.of.is_none() => Err("`of`"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The module's own examples, each on its own, and as one file where their numbers allow it.
    const EXAMPLES: &str = include_str!("trace.rs");

    fn examples() -> Vec<&'static str> {
        EXAMPLES
            .lines()
            .filter_map(|l| l.strip_prefix("//! "))
            .filter(|l| l.starts_with('{'))
            .collect()
    }

    #[test]
    fn every_example_on_the_page_round_trips() {
        assert_eq!(examples().len(), 12);
        for text in examples() {
            let line: Line = serde_json::from_str(text).unwrap();
            assert_eq!(complete(&line), Ok(()), "{text}");
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
        }
    }

    #[test]
    fn a_torn_last_line_is_forgiven_and_a_torn_inner_line_is_not() {
        let start = r#"{"seq":1,"t_us":9,"node":1,"e":"start"}"#;
        assert_eq!(read(&format!("{start}\n{{\"seq\":2,")).unwrap().len(), 1);
        assert_eq!(
            read(&format!("{{\"seq\":2,\n{start}\n")).unwrap_err().line,
            1
        );
        assert_eq!(read("").unwrap(), Vec::new());
    }

    #[test]
    fn a_gap_another_node_an_unknown_kind_and_a_missing_field_are_refused() {
        let start = r#"{"seq":1,"t_us":9,"node":1,"e":"start"}"#;
        for (line, reason) in [
            (
                r#"{"seq":3,"t_us":9,"node":1,"e":"done","of":2}"#,
                "seq is 3, 2 was expected",
            ),
            (
                r#"{"seq":2,"t_us":9,"node":2,"e":"done","of":2}"#,
                "node 2 writes in the file of node 1",
            ),
            (
                r#"{"seq":2,"t_us":9,"node":1,"e":"dance"}"#,
                "unknown variant",
            ),
            (
                r#"{"seq":2,"t_us":9,"node":1,"e":"append"}"#,
                "append needs `entries`",
            ),
            (
                r#"{"seq":2,"t_us":9,"node":1,"e":"done","of":1,"x":1}"#,
                "unknown field",
            ),
            (
                r#"{"seq":2,"t_us":9,"node":1,"e":"append","entries":[[0,1,0,7]],"members":[[0,[[1,64]]]]}"#,
                "node ids go up to 63, and this is 64",
            ),
        ] {
            let error = read(&format!("{start}\n{line}\n")).unwrap_err();
            assert_eq!(error.line, 2);
            assert!(error.reason.contains(reason), "{error}");
        }
    }
}
