//! What clients saw, as data: the language that every room and every format shares.
//!
//! A history is a sequence of [`Event`]s in the order in which one recorder stamped them. An operation is an
//! invocation and, perhaps, the completion that answers it. [`History::operations`] pairs them; nothing else does.
//!
//! ```text
//!  client 1   ├── write x=1 ──┤ok
//!  client 2          ├── read x ──┤ok 1
//!  client 3             ├── cas x 1→2 ┄┄┄┄┄┄ unknown: it may take effect at any time from its start, or never
//! ```

use serde::{Deserialize, Serialize};

/// A register's value. Formats whose values are not integers intern them, and keep their names in [`History::names`].
pub type Value = i64;

/// One logical client: it has at most one operation open, and never acts again after an unknown outcome.
pub type ClientId = u64;

/// What a client asks of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Read the key.
    Read,
    /// Set the key, whatever it held.
    Write(Value),
    /// Set the key to `new` if it holds `old`.
    Cas {
        /// The value that must be there.
        old: Value,
        /// The value that replaces it.
        new: Value,
    },
    /// Remove the key; a read then finds it absent.
    Delete,
}

/// How an operation ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It took effect, once, between its invocation and its completion. A read carries what it found (`None`: absent).
    Ok(Option<Value>),
    /// It is proven that it never took effect and never will.
    Failed,
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
}

/// Where an answer stands in the replicated log, as the node that answered said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct At {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A client is about to send `call` on `key`.
    Invoke {
        /// The key's name.
        key: String,
        /// What is asked.
        call: Call,
    },
    /// The client's open operation ended.
    Complete {
        /// How it ended.
        outcome: Outcome,
        /// The log id of the answer, where one was given.
        at: Option<At>,
        /// Why it failed or is unknown, in the client's words.
        error: Option<String>,
    },
    /// Not an operation: a fault was put in or taken out, or a phase began.
    Mark(String),
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the recorder's total order, dense from 0.
    pub index: u64,
    /// The recorder's monotonic clock. For people: order is decided by `index`.
    pub time_ns: u64,
    /// Who did it; `None` for a mark.
    pub client: Option<ClientId>,
    /// The node that was asked, where the recorder knows.
    pub node: Option<u64>,
    /// What happened.
    pub kind: EventKind,
}
