//! What this node's storage does, as lines of JSON, for the conformance check against the model.
//!
//! A line that names an effect is written before the effect, its `done` after the effect is durable and before anybody
//! is told, so that a kill in between accuses nobody. The format is the checker's (its module `model::trace`); a test
//! holds writer and reader together. A line is one `write`; the file is not synced, for only processes are killed. A line
//! that could not be written whole is cut off again, and the trace takes none after it: the node ends by that.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use openraft::EntryPayload;
use serde::Serialize;

use super::{
    codec,
    shortages::Shortages,
    types::{Entry, LogId, Membership, NodeId, StoredMembership, Vote},
};

/// Where the lines go; off by default, then every method does nothing. Clones share the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Option<Arc<Writer>>);

#[derive(Debug)]
struct Writer {
    node: NodeId,
    began: Instant,
    lines: Mutex<Lines>,
    shortages: Shortages,
}

/// The file, which always ends with a whole line.
#[derive(Debug)]
struct Lines {
    file: File,
    length: u64,
    /// The number of the last line.
    seq: u64,
    /// A line is missing: what came after it would be no trace.
    broken: bool,
}

impl Lines {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("a line before it could not be written"));
        }
        let written = self.file.write_all(line);
        if written.is_err() {
            self.broken = true;
            // Where that fails, too, the next life cuts it off.
            let _ = self.file.set_len(self.length);
        } else {
            self.length += line.len() as u64;
        }
        written
    }
}

/// A begun effect: `done` of it is still to be written.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub(crate) struct Begun(Option<u64>);

type WireId = (u64, u64, u64);
type WireEntry = (u64, u64, u64, u64);
type WireMembers = (u64, Vec<Vec<u64>>);

/// One line; absent fields are left out.
#[derive(Serialize, Default)]
struct Line {
    seq: u64,
    t_us: u64,
    node: u64,
    e: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<(u64, u64, bool)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purged: Option<WireId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<(u64, u64, u64, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<WireId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<WireId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<WireEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<WireMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<WireId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<WireId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upto: Option<WireId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
}

/// What the storage holds when a process opens it.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    /// The log's ids, ascending.
    pub(crate) log: Vec<LogId>,
    pub(crate) snapshot: Option<LogId>,
    pub(crate) applied: Option<LogId>,
}

impl Trace {
    /// Opens the file to append to it; a line that an earlier life left half-written is cut off.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: &Path, node: NodeId, shortages: Shortages) -> io::Result<Trace> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let length = cut_torn_line(&mut file)?;
        Ok(Trace(Some(Arc::new(Writer {
            node,
            began: Instant::now(),
            lines: Mutex::new(Lines {
                file,
                length,
                seq: 0,
                broken: false,
            }),
            shortages,
        }))))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn start(&self, stored: &Stored) -> io::Result<()> {
        let line = || Line {
            e: "start",
            vote: stored.vote.map(wire_vote),
            purged: stored.purged.map(wire_id),
            log: runs(&stored.log),
            snapshot: stored.snapshot.map(wire_id),
            applied: stored.applied.map(wire_id),
            ..Line::default()
        };
        self.write(line).map(drop)
    }

    pub(crate) fn vote(&self, vote: Vote) -> io::Result<Begun> {
        self.write(|| Line {
            e: "vote",
            vote: Some(wire_vote(vote)),
            ..Line::default()
        })
    }

    pub(crate) fn append(&self, entries: &[Entry]) -> io::Result<Begun> {
        self.entries("append", entries)
    }

    pub(crate) fn apply(&self, entries: &[Entry]) -> io::Result<Begun> {
        self.entries("apply", entries)
    }

    fn entries(&self, e: &'static str, entries: &[Entry]) -> io::Result<Begun> {
        if entries.is_empty() {
            return Ok(Begun::default());
        }
        let members = |entry: &Entry| match &entry.payload {
            EntryPayload::Membership(membership) => {
                Some((entry.log_id.index, voter_sets(membership)))
            }
            _ => None,
        };
        self.write(|| Line {
            e,
            entries: entries.iter().map(wire_entry).collect(),
            members: match e {
                "append" => entries.iter().filter_map(members).collect(),
                _ => Vec::new(),
            },
            ..Line::default()
        })
    }

    pub(crate) fn truncate(&self, after: Option<LogId>) -> io::Result<Begun> {
        self.write(|| Line {
            e: "truncate",
            after: after.map(wire_id),
            ..Line::default()
        })
    }

    pub(crate) fn purge(&self, upto: LogId) -> io::Result<Begun> {
        self.write(|| Line {
            e: "purge",
            upto: Some(wire_id(upto)),
            ..Line::default()
        })
    }

    pub(crate) fn snapshot(&self, last: Option<LogId>) -> io::Result<Begun> {
        self.write(|| Line {
            e: "snapshot",
            last: last.map(wire_id),
            ..Line::default()
        })
    }

    pub(crate) fn install(
        &self,
        last: Option<LogId>,
        membership: &StoredMembership,
    ) -> io::Result<Begun> {
        let members = |at: &LogId| (at.index, voter_sets(membership.membership()));
        self.write(|| Line {
            e: "install",
            members: membership
                .log_id()
                .as_ref()
                .map(members)
                .into_iter()
                .collect(),
            last: last.map(wire_id),
            ..Line::default()
        })
    }

    /// The effect is durable.
    pub(crate) fn done(&self, begun: Begun) -> io::Result<()> {
        let Some(of) = begun.0 else { return Ok(()) };
        let line = || Line {
            e: "done",
            of: Some(of),
            ..Line::default()
        };
        self.write(line).map(drop)
    }

    fn write(&self, line: impl FnOnce() -> Line) -> io::Result<Begun> {
        let Some(writer) = &self.0 else {
            return Ok(Begun::default());
        };
        let mut line = line();
        line.node = writer.node;
        line.t_us = u64::try_from(writer.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut lines = writer.lines.lock().expect("no holder panics");
        lines.seq += 1;
        line.seq = lines.seq;
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let written = lines.append(&text);
        written.inspect_err(|error| writer.shortages.note_on_disk(error))?;
        Ok(Begun(Some(line.seq)))
    }
}

fn wire_id(id: LogId) -> WireId {
    (id.leader_id.term, id.leader_id.node_id, id.index)
}

fn wire_vote(vote: Vote) -> (u64, u64, bool) {
    (vote.leader_id.term, vote.leader_id.node_id, vote.committed)
}

fn wire_entry(entry: &Entry) -> WireEntry {
    let (term, node, index) = wire_id(entry.log_id);
    let payload = match &entry.payload {
        EntryPayload::Blank => 0,
        payload => hash(&codec::encode(payload)),
    };
    (term, node, index, payload)
}

fn voter_sets(membership: &Membership) -> Vec<Vec<u64>> {
    let sets = membership.get_joint_config().iter();
    sets.map(|set| set.iter().copied().collect()).collect()
}

/// FNV-1a of 64 bits, never the 0 that stands for a blank entry.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step).max(1)
}

/// Neighbours of one leader as one run.
fn runs(log: &[LogId]) -> Vec<(u64, u64, u64, u64)> {
    let mut runs: Vec<(u64, u64, u64, u64)> = Vec::new();
    for id in log {
        let (term, node, index) = wire_id(*id);
        match runs.last_mut() {
            Some(run) if (run.0, run.1) == (term, node) => run.3 = index,
            _ => runs.push((term, node, index, index)),
        }
    }
    runs
}

/// Gives the length of what is left.
fn cut_torn_line(file: &mut File) -> io::Result<u64> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(whole as u64)?;
    }
    Ok(whole as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_before_the_next_life_writes() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("trace");
        std::fs::write(&path, "{\"whole\":1}\n{\"torn\":").expect("write");
        let trace = Trace::open(&path, 3, Shortages::default()).expect("open");
        trace.start(&Stored::default()).expect("start");
        let text = std::fs::read_to_string(&path).expect("read");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "{\"whole\":1}");
        assert!(lines[1].starts_with("{\"seq\":1,\"t_us\":"), "{text}");
        assert!(lines[1].ends_with(",\"node\":3,\"e\":\"start\"}"), "{text}");
    }

    #[test]
    fn a_log_is_told_in_runs_of_one_leader() {
        let id = |term, index| LogId {
            leader_id: super::super::types::LeaderId { term, node_id: 2 },
            index,
        };
        let log = [id(1, 4), id(1, 5), id(3, 6)];
        assert_eq!(runs(&log), vec![(1, 2, 4, 5), (3, 2, 6, 6)]);
    }

    #[test]
    fn a_trace_that_is_off_writes_nothing() {
        let off = Trace::default();
        let begun = off.purge(LogId::new(
            super::super::types::LeaderId {
                term: 1,
                node_id: 1,
            },
            1,
        ));
        off.done(begun.expect("off")).expect("off");
        assert!(!off.is_on());
    }
}
