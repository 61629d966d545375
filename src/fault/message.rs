//! Faults of single messages: what becomes of them, and which they are.

use serde::{Deserialize, Serialize};

/// What becomes of single messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The request never arrives and is never answered.
    Drop,
    /// The request arrives and does its work; its answer is never delivered.
    Swallow,
    /// The request comes late, also when its sender has given up.
    Late,
    /// The request is done in time, and its answer comes late.
    LateAnswer,
    /// The request arrives twice.
    Double,
    /// The request waits while others overtake it.
    Reorder,
    /// The request never arrives and is answered with an error at once.
    Refuse,
    /// An old request of the same kind arrives again, before the new one.
    Replay,
    /// A stream is reset after its first request.
    CutStream,
    /// After a stream's first request the others wait until the fault is out.
    Stall,
    /// One bit of the request is flipped. Outside of the fault model: TCP does not let that happen.
    Corrupt,
}

impl Act {
    /// Every one of them.
    pub const ALL: [Act; 11] = [
        Act::Drop,
        Act::Swallow,
        Act::Late,
        Act::LateAnswer,
        Act::Double,
        Act::Reorder,
        Act::Refuse,
        Act::Replay,
        Act::CutStream,
        Act::Stall,
        Act::Corrupt,
    ];

    /// The name of its kind in [`KINDS`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Act::Drop => "drop",
            Act::Swallow => "swallow",
            Act::Late => "late",
            Act::LateAnswer => "late-answer",
            Act::Double => "double",
            Act::Reorder => "reorder",
            Act::Refuse => "refuse",
            Act::Replay => "replay",
            Act::CutStream => "cut-stream",
            Act::Stall => "stall",
            Act::Corrupt => "corrupt",
        }
    }

    /// Whether a request arrives more than once by it.
    #[must_use]
    pub fn repeats(self) -> bool {
        matches!(self, Act::Double | Act::Replay)
    }
}

/// Which messages, by what they say and by their number. All that is said must hold; both bounds are meant.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// Of these terms of their senders; what has no term is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<[u64; 2]>,
    /// With so many entries; what has no entries is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<[u64; 2]>,
    /// Of those that fit on one link, these, counted from 1 since the fault went in: `[1, 3]` are the first three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<[u64; 2]>,
}

impl Only {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Only::default()
    }
}

/// Which messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// All between nodes.
    Peers,
    /// Votes and pre-votes.
    Votes,
    /// AppendEntries, heartbeats included. In a stream of them only lateness acts.
    Appends,
    /// AppendEntries without entries.
    Heartbeats,
    /// Snapshots; only lateness acts on them.
    Snapshots,
    /// Clients' reads and writes.
    Clients,
    /// Clients' writes.
    Writes,
    /// Clients' reads.
    Reads,
}

impl Of {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Of::Peers => "messages between nodes",
            Of::Votes => "votes",
            Of::Appends => "appends",
            Of::Heartbeats => "heartbeats",
            Of::Snapshots => "snapshots",
            Of::Clients => "clients' requests",
            Of::Writes => "clients' writes",
            Of::Reads => "clients' reads",
        }
    }

    /// Whether clients send them.
    #[must_use]
    pub fn is_of_clients(self) -> bool {
        matches!(self, Of::Clients | Of::Writes | Of::Reads)
    }
}
