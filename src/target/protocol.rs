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

use checkers::history::{At, Call, Outcome};
use futures::future::BoxFuture;
use tokio::time::Instant;

/// What a node answered.
#[derive(Debug)]
pub struct Reply {
    /// How the operation ended: ok with what was read, failed where a cas met another value, or `Differed`.
    pub outcome: Outcome,
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

    /// Forgets what it knows of every connection, as a new process would.
    fn reset(&mut self);
}
