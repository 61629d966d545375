//! Faults of single messages: what becomes of them, and which they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Kind;

/// What becomes of single messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The request never arrives and is never answered.
    Drop,
    /// The request arrives and does its work; its answer is never delivered.
    DropResponse,
    /// The request comes late, also when its sender has given up.
    DelayRequest,
    /// The request is done in time, and its answer comes late.
    DelayResponse,
    /// The request arrives twice.
    Duplicate,
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
        Act::DropResponse,
        Act::DelayRequest,
        Act::DelayResponse,
        Act::Duplicate,
        Act::Reorder,
        Act::Refuse,
        Act::Replay,
        Act::CutStream,
        Act::Stall,
        Act::Corrupt,
    ];

    /// Its kind.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Act::Drop => Kind::Drop,
            Act::DropResponse => Kind::DropResponse,
            Act::DelayRequest => Kind::DelayRequest,
            Act::DelayResponse => Kind::DelayResponse,
            Act::Duplicate => Kind::Duplicate,
            Act::Reorder => Kind::Reorder,
            Act::Refuse => Kind::Refuse,
            Act::Replay => Kind::Replay,
            Act::CutStream => Kind::CutStream,
            Act::Stall => Kind::Stall,
            Act::Corrupt => Kind::Corrupt,
        }
    }

    /// Its name, in a plan and as a kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.kind().name()
    }

    /// Whether answers meet it, and not requests.
    fn is_of_answers(self) -> bool {
        matches!(self, Act::DropResponse | Act::DelayResponse)
    }

    /// Whether a request arrives more than once by it.
    #[must_use]
    pub fn repeats(self) -> bool {
        matches!(self, Act::Duplicate | Act::Replay)
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
    /// Of this type, where messages name theirs: `append_entries` in a Maelstrom node's `body.type`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<TypeName>,
    /// Of those that fit on one link, these, counted from 1 since the fault went in: `[1, 3]` are the first three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<[u64; 2]>,
}

/// So long is the name of a type at most.
const LONGEST: usize = 39;

/// What messages of one type call themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypeName {
    length: u8,
    bytes: [u8; LONGEST],
}

/// A text that is no name of a type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no type of messages: 1 to 39 letters, digits, _, - and .")]
pub struct NoType(String);

impl TypeName {
    /// As the messages have it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.length)];
        std::str::from_utf8(bytes).expect("it was made of a text")
    }
}

impl TryFrom<String> for TypeName {
    type Error = NoType;

    fn try_from(name: String) -> Result<TypeName, NoType> {
        let is_of_a_type = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(is_of_a_type) {
            return Err(NoType(name));
        }
        let mut bytes = [0; LONGEST];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let length = u8::try_from(name.len()).expect("it is short");
        Ok(TypeName { length, bytes })
    }
}

impl From<TypeName> for String {
    fn from(name: TypeName) -> String {
        name.as_str().to_owned()
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Only {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Only::default()
    }
}

impl fmt::Display for Only {
    /// ` of type append_entries of terms 3-5 with 1-9 entries, number 1-3 of each link`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.kind {
            write!(f, " of type {}", kind.as_str())?;
        }
        if let Some([least, most]) = self.terms {
            write!(f, " of terms {least}-{most}")?;
        }
        if let Some([least, most]) = self.entries {
            write!(f, " with {least}-{most} entries")?;
        }
        if let Some([first, last]) = self.nth {
            write!(f, ", number {first}-{last} of each link")?;
        }
        Ok(())
    }
}

/// `delay-response answers to appends 60 ms n1 → n2`: between whom, where it is said.
pub(super) fn words(
    f: &mut fmt::Formatter<'_>,
    act: Act,
    of: Of,
    ms: u64,
    ends: [Option<String>; 2],
) -> fmt::Result {
    let answers = match act.is_of_answers() {
        true => "answers to ",
        false => "",
    };
    write!(f, "{} {answers}{}", act.name(), of.name())?;
    if ms > 0 {
        write!(f, " {ms} ms")?;
    }
    match ends {
        [Some(from), Some(to)] => write!(f, " {from} → {to}"),
        [Some(who), None] => write!(f, " at {who}"),
        [None, Some(to)] => write!(f, " to {to}"),
        [None, None] => Ok(()),
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

    /// Whether one has to understand the nodes' own protocol to know them.
    #[must_use]
    pub fn is_of_calls(self) -> bool {
        matches!(
            self,
            Of::Votes | Of::Appends | Of::Heartbeats | Of::Snapshots
        )
    }

    /// Whether clients send them.
    #[must_use]
    pub fn is_of_clients(self) -> bool {
        matches!(self, Of::Clients | Of::Writes | Of::Reads)
    }
}
