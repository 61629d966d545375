//! An operation, and its answer as an outcome: ok, failed or unknown. Who is asked, and who next.
//!
//! ```text
//!  write, delete, cas                                   read
//!  ok        the node says: applied                     ok       the node says: this value
//!  failed    proven never applied                       failed   no answer: it had no effect
//!  unknown   everything else
//! ```
//!
//! A client never retries what might have been applied and never judges. It may go on to another node within one
//! operation only where the refusal proves that nothing was proposed ([`Refusal::NotApplied`]) and names a leader; after
//! [`Refusal::Unknown`] it never does. One exception, where a system keeps sessions ([`super::kiwi`]): a write may be
//! asked for again, under the same number, recorded as one operation.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use checkers::history::{At, Call, Outcome};
use checkers::types::{self, Asked};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::protocol::{Protocol, Refusal, Reply};

/// How many nodes one operation may be refused by before it has failed.
const MOST_HOPS: usize = 4;
/// An operation takes so many of the client's deadlines at most, also where it is asked for again in a session: one for
/// each request, and pauses between.
pub const MOST_DEADLINES: u32 = 3;

/// How a client finds its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It asks this node and no other, whoever leads: that is how a deposed leader is caught.
    Pinned(u64),
    /// It asks whoever it believes to lead, and follows redirects.
    Leader,
}

/// An operation's end, as the client saw it.
#[derive(Debug)]
pub struct Answer<O = Outcome> {
    /// How it ended.
    pub outcome: O,
    /// The log id that the node named.
    pub at: Option<At>,
    /// The node that answered, or was asked last.
    pub node: u64,
    /// Why it failed or is unknown.
    pub error: Option<String>,
    /// How often it was asked for again, after it may have been applied already: in a session only.
    pub repeats: u32,
}

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where it reaches each node: never at the address that a redirect names.
    pub dial: BTreeMap<u64, SocketAddr>,
    /// The group of clients whose links it shares.
    pub group: u32,
    /// How it finds its node.
    pub follow: Follow,
    /// With whom it begins, where it follows a leader that it does not know: clients of other turns begin elsewhere.
    pub turn: usize,
    /// Every operation has at most so long, in a session each request of it.
    pub deadline: Duration,
    /// Whether a connection may take all of that: on a starved machine one is slow to come about, and its node is there
    /// all the same. Else it is given up sooner than an election takes.
    pub patient: bool,
    /// Whether its operations are aimed at a node that may stand: a new connection is then not asked first whether it is
    /// answered, and the node finds the request when it goes on.
    pub aimed: bool,
    /// As which session its writes are numbered and asked for again, where the system keeps sessions.
    pub session: Option<u64>,
}

/// A client of a target: one logical client after the other, one operation at a time.
pub trait Client: fmt::Debug + Send {
    /// The node that the next operation asks first.
    fn first_node(&self) -> u64;

    /// Carries one operation out. It ends within the deadline, a write of a session within [`MOST_DEADLINES`] of them,
    /// and what was not answered by then was not answered.
    fn perform<'a>(&'a mut self, key: &'a str, call: Call) -> BoxFuture<'a, Answer>;

    /// Carries out an operation of another data type than register and list, in the same way.
    fn ask<'a>(&'a mut self, asked: &'a Asked) -> BoxFuture<'a, Answer<types::Outcome>> {
        let why = format!("the client of this target cannot {}", asked.act);
        let node = self.first_node();
        Box::pin(async move {
            Answer {
                outcome: types::Outcome::Failed,
                at: None,
                node,
                error: Some(why),
                repeats: 0,
            }
        })
    }

    /// A new logical client takes over, since nobody will ever know how the last operation of the one before ended.
    fn succeed(&mut self, id: u64);

    /// Whether its writes are numbered, and asked for again.
    fn has_session(&self) -> bool {
        false
    }
}

/// What a node is asked, whichever data type it is of.
trait Question<P>: Sync {
    /// How it may end.
    type Outcome: Send;
    /// It was never carried out.
    const FAILED: Self::Outcome;

    /// Asks one node.
    fn ask<'a>(
        &'a self,
        protocol: &'a mut P,
        node: u64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<Self::Outcome>, Refusal>>;

    /// How it ends where nobody knows whether it was carried out.
    fn unanswered(&self) -> Self::Outcome;
}

/// An operation on a register or a list.
struct OfRegister<'k> {
    key: &'k str,
    call: Call,
}

impl<P: Protocol> Question<P> for OfRegister<'_> {
    type Outcome = Outcome;
    const FAILED: Outcome = Outcome::Failed;

    fn ask<'a>(
        &'a self,
        protocol: &'a mut P,
        node: u64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        protocol.ask(node, self.key, self.call, deadline)
    }

    fn unanswered(&self) -> Outcome {
        match self.call {
            Call::Read => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }
}

impl<P: Protocol> Question<P> for Asked {
    type Outcome = types::Outcome;
    const FAILED: types::Outcome = types::Outcome::Failed;

    fn ask<'a>(
        &'a self,
        protocol: &'a mut P,
        node: u64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<types::Outcome>, Refusal>> {
        protocol.ask_typed(node, self, deadline)
    }

    fn unanswered(&self) -> types::Outcome {
        match self.reads() {
            true => types::Outcome::Failed,
            false => types::Outcome::Unknown,
        }
    }
}

/// Asks nodes by a protocol, one after the other.
#[derive(Debug)]
pub struct Routed<P> {
    /// How one node is asked.
    pub protocol: P,
    nodes: Vec<u64>,
    follow: Follow,
    deadline: Duration,
    leader: Option<u64>,
    turn: usize,
}

impl<P: Protocol> Routed<P> {
    /// A client of these nodes.
    ///
    /// # Panics
    /// If there is no node to dial, or the pinned one is not among them.
    #[must_use]
    pub fn new(protocol: P, config: &ClientConfig) -> Routed<P> {
        let nodes: Vec<u64> = config.dial.keys().copied().collect();
        assert!(!nodes.is_empty(), "a client needs a node");
        if let Follow::Pinned(node) = config.follow {
            assert!(nodes.contains(&node), "n{node} cannot be dialled");
        }
        Routed {
            protocol,
            nodes,
            follow: config.follow,
            deadline: config.deadline,
            leader: None,
            turn: config.turn,
        }
    }

    /// The node that the next operation asks first.
    #[must_use]
    pub fn first_node(&self) -> u64 {
        match self.follow {
            Follow::Pinned(node) => node,
            Follow::Leader => self
                .leader
                .unwrap_or_else(|| self.nodes[self.turn % self.nodes.len()]),
        }
    }

    /// Asks for an operation until it is refused for good, answered, or may have been applied. It ends by the deadline,
    /// and what was not answered by then was not answered.
    pub async fn attempt(&mut self, key: &str, call: Call, deadline: Instant) -> Answer {
        self.put(&OfRegister { key, call }, deadline).await
    }

    async fn put<Q: Question<P>>(&mut self, question: &Q, deadline: Instant) -> Answer<Q::Outcome> {
        let mut node = self.first_node();
        let answered = |node, outcome, at, error| Answer {
            outcome,
            at,
            node,
            error,
            repeats: 0,
        };
        let mut refused = String::new();
        for _ in 0..MOST_HOPS {
            match question.ask(&mut self.protocol, node, deadline).await {
                Ok(Reply { outcome, at, error }) => {
                    self.leader = Some(node);
                    return answered(node, outcome, at, error);
                }
                Err(Refusal::Unknown { why }) => {
                    self.forget(node);
                    return answered(node, question.unanswered(), None, Some(why));
                }
                Err(Refusal::NotApplied { leader, why }) => {
                    refused = why;
                    self.forget(node);
                    let hint = leader.filter(|hint| self.nodes.contains(hint) && *hint != node);
                    match (self.follow, hint) {
                        (Follow::Leader, Some(hint)) if Instant::now() < deadline => {
                            self.leader = Some(hint);
                            node = hint;
                        }
                        _ => break,
                    }
                }
            }
        }
        answered(node, Q::FAILED, None, Some(refused))
    }

    /// The leader that this client believed in was not it: the next operation tries the next node.
    fn forget(&mut self, node: u64) {
        if self.leader == Some(node) {
            self.leader = None;
        }
        self.turn += 1;
    }
}

impl<P: Protocol + fmt::Debug> Client for Routed<P> {
    fn first_node(&self) -> u64 {
        Routed::first_node(self)
    }

    fn perform<'a>(&'a mut self, key: &'a str, call: Call) -> BoxFuture<'a, Answer> {
        let deadline = Instant::now() + self.deadline;
        Box::pin(self.attempt(key, call, deadline))
    }

    fn ask<'a>(&'a mut self, asked: &'a Asked) -> BoxFuture<'a, Answer<types::Outcome>> {
        let deadline = Instant::now() + self.deadline;
        Box::pin(self.put(asked, deadline))
    }

    fn succeed(&mut self, _id: u64) {
        self.protocol.reset();
    }
}

#[cfg(test)]
mod tests;
