//! What is odd in a history without making it malformed: said by name, beside the verdict.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{End, History, KeyHistory, Kind};

/// An oddity: usually a bug of whoever wrote the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "lint", rename_all = "kebab-case")]
pub enum Lint {
    /// A client acted again after an outcome that nobody knows: its id must not be used again, since the old
    /// operation may still be under way.
    ClientAfterUnknown {
        /// The client.
        client: u64,
        /// The event index of the invocation.
        event: u64,
    },
    /// A completion came for an operation that was already unknown. It is ignored: unknown is the weaker claim.
    LateCompletion {
        /// The client.
        client: u64,
        /// The event index of the completion.
        event: u64,
    },
    /// A value that only failed writes wrote was read: a client probably took a timeout for a failure.
    FailedWriteWasRead {
        /// The failed operation.
        write: u64,
        /// The read that found its value.
        read: u64,
        /// The key.
        key: String,
    },
    /// A fault was put in and never taken out.
    FaultNeverTakenOut {
        /// The event index of the mark.
        event: u64,
        /// What the mark says.
        text: String,
    },
    /// Reads that found nothing were taken as saying nothing (Knossos' rule), not as "absent".
    NilReadsIgnored {
        /// How many.
        reads: u64,
    },
}

impl std::fmt::Display for Lint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientAfterUnknown { client, event } => write!(
                f,
                "client {client} acts again at #{event} after an unknown outcome: its id should not be used again"
            ),
            Self::LateCompletion { client, event } => write!(
                f,
                "client {client} completes at #{event} an operation that was already unknown: ignored"
            ),
            Self::FailedWriteWasRead { write, read, key } => write!(
                f,
                "#{read} read from {key} what only the failed write #{write} wrote: a client probably took a timeout for a failure"
            ),
            Self::FaultNeverTakenOut { event, text } => {
                write!(
                    f,
                    "the fault put in at #{event} was never taken out: {text}"
                )
            }
            Self::NilReadsIgnored { reads } => write!(
                f,
                "{reads} ok reads of nil were ignored (Knossos' rule); --nil absent checks them"
            ),
        }
    }
}

impl History {
    /// What is odd: what its builder noticed, and what only the whole shows.
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        let mut lints = self.lints.clone();
        for key in &self.keys {
            lints.extend(self.failed_writes_that_were_read(key));
        }
        lints
    }

    /// Values that were read although every write of them failed: one lint a value.
    fn failed_writes_that_were_read(&self, key: &KeyHistory) -> Vec<Lint> {
        let mut failed: FxHashMap<u32, u32> = FxHashMap::default();
        let writes = key
            .ops
            .iter()
            .filter(|op| matches!(op.kind, Kind::Write | Kind::Cas));
        for op in writes.clone().filter(|op| op.end == End::Failed) {
            failed.entry(op.value).or_insert(op.row);
        }
        if failed.is_empty() {
            return Vec::new();
        }
        for op in writes.filter(|op| op.end != End::Failed) {
            failed.remove(&op.value);
        }
        let reads = key
            .ops
            .iter()
            .filter(|op| op.kind == Kind::Read && op.end == End::Ok);
        let mut lints = Vec::new();
        for read in reads {
            if let Some(write) = failed.remove(&read.value) {
                lints.push(Lint::FailedWriteWasRead {
                    write: self.invoked(write),
                    read: self.invoked(read.row),
                    key: key.name.clone(),
                });
            }
        }
        lints
    }
}
