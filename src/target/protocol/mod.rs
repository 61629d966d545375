//! One operation, asked of one node in its own protocol, and what is proven by what came back.
//!
//! ```text
//!  write, delete, cas                                   read
//!  ok        the node says: applied                     ok       the node says: this value
//!  failed    proven never applied                       failed   no answer: it had no effect
//!  unknown   everything else
//! ```
//!
//! Each protocol has a table of *definite* failures: answers that prove that nothing was applied, or ever will be.
//! Everything else on a write is unknown, whatever it is called: servers, proxies and libraries use the same codes for
//! requests that were carried out. No protocol asks twice for what may have been applied.
//!
//! A new connection is asked a question without any effect first, where the protocol has one: that it was not answered
//! proves that the operation never left, also where somebody between accepts connections for a node that is dead.

pub mod dial;
pub mod etcd;
pub mod http;
pub mod lines;
pub mod maelstrom;
pub mod posted;
pub mod resp;
pub mod services;
pub mod typed;

use bytes::Bytes;
use checkers::history::{At, Call, Outcome, Value};
use checkers::types::{self, Asked, Datum};
use futures::future::BoxFuture;
use tokio::time::Instant;

/// What a node answered.
#[derive(Debug)]
pub struct Reply<O = Outcome> {
    /// How the operation ended: ok with what was read, failed where a cas met another value, or `Differed`.
    pub outcome: O,
    /// The log id that the node named, where its protocol tells it.
    pub at: Option<At>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why a node did not do what it was asked.
#[derive(Debug)]
pub enum Refusal {
    /// Proven never applied: no connection could be made, or the answer is in the table of definite failures.
    NotApplied {
        /// The leader as far as that node knows.
        leader: Option<u64>,
        /// In words.
        why: String,
    },
    /// It may have been applied, or may be later.
    Unknown {
        /// In words.
        why: String,
    },
}

/// A client side of one protocol, for one logical client: it keeps what connections it needs.
pub trait Protocol: Send {
    /// Asks this node for an operation and waits for its answer, until the deadline at the latest. A connection on which
    /// an answer is still owed is never used again.
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>>;

    /// The same for an operation of another data type than register and list.
    fn ask_typed<'a>(
        &'a mut self,
        _node: u64,
        asked: &'a Asked,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<types::Outcome>, Refusal>> {
        let refusal = no_such_act(asked.act);
        Box::pin(async move { Err(refusal) })
    }

    /// Forgets what it knows of every connection, as a new process would.
    fn reset(&mut self);
}

/// How an error begins of a read whose answer cannot be a value: the target, or the file that describes it, is not what
/// it is believed to be, and somebody should look.
pub const UNUSABLE: &str = "unusable answer";

impl Reply<types::Outcome> {
    /// It was done, and this was the answer.
    #[must_use]
    pub fn answered(answer: Datum) -> Self {
        let outcome = types::Outcome::Ok(answer);
        Reply {
            outcome,
            at: None,
            error: None,
        }
    }

    /// It was looked at, and not done: the lock is taken, the queue is empty.
    #[must_use]
    pub fn declined(why: impl Into<String>) -> Self {
        Reply {
            outcome: types::Outcome::Failed,
            at: None,
            error: Some(why.into()),
        }
    }
}

impl Reply {
    /// It was done, and found this.
    #[must_use]
    pub fn ok(found: Option<Value>) -> Reply {
        Reply::of(Outcome::Ok(found), None)
    }

    /// A cas compared, and found this.
    #[must_use]
    pub fn differed(found: Option<Value>) -> Reply {
        let why = Some("the condition did not hold".to_owned());
        Reply::of(Outcome::Differed(found), why)
    }

    /// A cas compared, and found something else than it expected; the answer does not say what.
    #[must_use]
    pub fn refused(why: impl Into<String>) -> Reply {
        Reply::of(Outcome::Failed, Some(why.into()))
    }

    /// A read was answered with what is no value. It had no effect; what it found is not guessed.
    #[must_use]
    pub fn unusable(node: u64, what: &str) -> Reply {
        let why = format!("{UNUSABLE} of n{node}: {what}");
        tracing::error!("{why}");
        Reply::of(Outcome::Failed, Some(why))
    }

    /// What a read found, if it is a value.
    fn read(node: u64, found: Result<Option<Value>, String>) -> Reply {
        match found {
            Ok(found) => Reply::ok(found),
            Err(what) => Reply::unusable(node, &what),
        }
    }

    /// What a cas compared with. That it differed is certain, whatever was found.
    fn compared(node: u64, found: Result<Option<Value>, String>) -> Reply {
        match found {
            Ok(found) => Reply::differed(found),
            Err(what) => Reply::unusable(node, &what),
        }
    }

    fn of(outcome: Outcome, error: Option<String>) -> Reply {
        let at = None;
        Reply { outcome, at, error }
    }
}

impl Refusal {
    /// Proven never applied; nobody knows who leads.
    #[must_use]
    pub fn not_applied(why: impl Into<String>) -> Refusal {
        let (leader, why) = (None, why.into());
        Refusal::NotApplied { leader, why }
    }

    /// It may have been applied, or may be later.
    #[must_use]
    pub fn unknown(why: impl Into<String>) -> Refusal {
        Refusal::Unknown { why: why.into() }
    }

    /// In words.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Refusal::NotApplied { why, .. } | Refusal::Unknown { why } => why,
        }
    }
}

/// An operation that this protocol has no request for: none was sent.
fn no_such(call: Call) -> Refusal {
    let name = match call {
        Call::Read => "read",
        Call::Write(_) => "write",
        Call::Cas { .. } => "cas",
        Call::Delete => "delete",
        Call::Append(_) => "append",
    };
    no_such_act(name)
}

fn no_such_act(name: &str) -> Refusal {
    Refusal::not_applied(format!("the client of this target cannot {name}"))
}

/// Values travel as decimal text, so that other clients of the store can read them.
fn encode(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// The value that a text is, or what came instead.
fn decode(text: &[u8]) -> Result<Value, String> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        let start = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
        format!("{start:?} is no number")
    })
}

/// So much of an answer is shown.
const SHOWN: usize = 120;
