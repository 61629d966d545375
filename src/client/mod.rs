//! An operation, in the target's protocol, and its answer as an outcome: ok, failed or unknown.
//!
//! ```text
//!  write, delete, cas                                   read
//!  ok        the node says: applied at this log id      ok       the node says: this value
//!  failed    proven never applied                       failed   no answer: it had no effect
//!  unknown   everything else
//! ```
//!
//! A client never retries what might have been applied and never judges. It may go on to another node within one
//! operation only where the refusal proves that nothing was proposed: either the node said so (`kiwi-outcome:
//! not-applied`), or the request never left, because the connection could not be made or did not answer a question
//! that was asked before it. One exception: a client with a [`session`] may ask for a write again, under the same number.
//!
//! Nothing but that word proves it. A status without it, or with `kiwi-outcome: unknown`, leaves a write unknown,
//! whatever its code: servers, proxies and libraries use the same codes for requests that were carried out.

mod session;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use checkers::history::{At, Call, Outcome, Value};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::host::{Cost, Shortages};
use crate::shortage::Shortage;
use crate::wire::kiwi;
use crate::wire::metadata::{AuthorizedChannel, Credentials, NOT_APPLIED, OUTCOME, Token};
use kiwi::raft_client_service_client::RaftClientServiceClient;
use kiwi::raft_metrics_service_client::RaftMetricsServiceClient;
use session::{Numbered, Session};

pub use session::MOST_DEADLINES;

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
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// The log id that the node named.
    pub at: Option<At>,
    /// The node that answered, or was asked last.
    pub node: u64,
    /// Why it failed or is unknown.
    pub error: Option<String>,
    /// How often it was asked for again, after it may have been applied already: in a session only.
    pub repeats: u32,
}

/// How many nodes one operation may be refused by before it has failed.
const MOST_HOPS: usize = 4;
/// A connection that is not made in this time is given up: less than an election.
const CONNECT_WITHIN: Duration = Duration::from_millis(250);
/// Between two tries of a connection that the host has no port or descriptor for.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// A client of the Kiwi protocol: one logical client after the other, one operation at a time.
#[derive(Debug)]
pub struct KiwiClient {
    dial: BTreeMap<u64, SocketAddr>,
    token: Option<Token>,
    follow: Follow,
    deadline: Duration,
    connections: BTreeMap<u64, AuthorizedChannel>,
    leader: Option<u64>,
    turn: usize,
    connect_within: Duration,
    shortages: Shortages,
    session: Option<Session>,
}

/// Why a node did not do what it was asked.
enum Refusal {
    /// Proven never applied. The leader as far as that node knows.
    NotApplied { leader: Option<u64>, why: String },
    /// It may have been applied, or may be later.
    Unknown { why: String },
}

/// What a node answered.
struct Reply {
    outcome: Outcome,
    at: Option<At>,
    error: Option<String>,
}

impl KiwiClient {
    /// A client that reaches node `id` at `dial[id]`, never at the address that a redirect names, and gives every
    /// operation at most `deadline`.
    ///
    /// # Panics
    /// If there is no node to dial, or the pinned one is not among them.
    #[must_use]
    pub fn new(
        dial: BTreeMap<u64, SocketAddr>,
        follow: Follow,
        turn: usize,
        deadline: Duration,
    ) -> KiwiClient {
        assert!(!dial.is_empty(), "a client needs a node");
        if let Follow::Pinned(node) = follow {
            assert!(dial.contains_key(&node), "n{node} cannot be dialled");
        }
        KiwiClient {
            dial,
            token: None,
            follow,
            deadline,
            connections: BTreeMap::new(),
            leader: None,
            turn,
            connect_within: CONNECT_WITHIN,
            shortages: Shortages::default(),
            session: None,
        }
    }

    /// The same client, whose calls carry the token that the nodes ask for.
    #[must_use]
    pub fn with_token(self, token: Option<Token>) -> KiwiClient {
        KiwiClient { token, ..self }
    }

    /// Where it is noted that the host has no descriptor or port for a connection.
    #[must_use]
    pub fn noting(mut self, shortages: Shortages) -> KiwiClient {
        self.shortages = shortages;
        self
    }

    /// From now on a connection has an operation's whole time: on a starved machine one is slow to come about, and its
    /// node is there all the same.
    #[must_use]
    pub fn patient(mut self) -> KiwiClient {
        self.connect_within = self.deadline;
        self
    }

    /// The node that the next operation asks first.
    #[must_use]
    pub fn first_node(&self) -> u64 {
        match self.follow {
            Follow::Pinned(node) => node,
            Follow::Leader => self.leader.unwrap_or_else(|| {
                *self
                    .dial
                    .keys()
                    .nth(self.turn % self.dial.len())
                    .expect("the index is within the length")
            }),
        }
    }

    /// Asks for an operation until it is refused for good, answered, or may have been applied. It ends by the deadline,
    /// and what was not answered by then was not answered.
    async fn attempt(
        &mut self,
        key: &str,
        call: Call,
        as_of: Numbered,
        deadline: Instant,
    ) -> Answer {
        let mut node = self.first_node();
        let mut refused = String::new();
        for _ in 0..MOST_HOPS {
            match self.ask(node, key, call, as_of, deadline).await {
                Ok(Reply { outcome, at, error }) => {
                    self.leader = Some(node);
                    return Answer {
                        outcome,
                        at,
                        node,
                        error,
                        repeats: 0,
                    };
                }
                Err(Refusal::Unknown { why }) => {
                    self.forget(node);
                    let outcome = if call == Call::Read {
                        Outcome::Failed
                    } else {
                        Outcome::Unknown
                    };
                    return Answer {
                        outcome,
                        at: None,
                        node,
                        error: Some(why),
                        repeats: 0,
                    };
                }
                Err(Refusal::NotApplied { leader, why }) => {
                    refused = why;
                    self.forget(node);
                    let hint = leader.filter(|hint| self.dial.contains_key(hint) && *hint != node);
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
        Answer {
            outcome: Outcome::Failed,
            at: None,
            node,
            error: Some(refused),
            repeats: 0,
        }
    }

    /// The leader that this client believed in was not it: the next operation tries the next node.
    fn forget(&mut self, node: u64) {
        if self.leader == Some(node) {
            self.leader = None;
        }
        self.turn += 1;
    }

    async fn ask(
        &mut self,
        node: u64,
        key: &str,
        call: Call,
        as_of: Numbered,
        deadline: Instant,
    ) -> Result<Reply, Refusal> {
        if let Call::Append(_) = call {
            return Err(Refusal::NotApplied {
                leader: None,
                why: "the store has no append".to_owned(),
            });
        }
        let channel = self.connection(node, deadline).await?;
        let mut service = RaftClientServiceClient::new(channel);
        let asked = timeout_at(deadline, async {
            match call {
                Call::Read => service
                    .read(read_request(key))
                    .await
                    .map(|r| read_reply(r.into_inner())),
                _ => service
                    .write(write_request(key, call, as_of))
                    .await
                    .map(|r| write_reply(call, r.into_inner())),
            }
        });
        let refusal = match asked.await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(status)) => refusal(&status),
            Err(_) => Refusal::Unknown {
                why: format!("no answer within {} ms", self.deadline.as_millis()),
            },
        };
        if matches!(refusal, Refusal::Unknown { .. }) {
            // The next operation proves its connection anew.
            self.connections.remove(&node);
        }
        Err(refusal)
    }

    /// A connection to that node that has answered a question, so that a dead one cannot make a write ambiguous.
    async fn connection(
        &mut self,
        node: u64,
        deadline: Instant,
    ) -> Result<AuthorizedChannel, Refusal> {
        if let Some(channel) = self.connections.get(&node) {
            return Ok(channel.clone());
        }
        let connect_within = self.connect_within;
        let within = deadline.min(Instant::now() + connect_within);
        let nothing_left = |why: String| Refusal::NotApplied { leader: None, why };
        let endpoint = Endpoint::from_shared(format!("http://{}", self.dial[&node]))
            .expect("a socket address is an authority")
            .tcp_nodelay(true)
            .connect_timeout(connect_within);
        let credentials = Credentials::new(self.token.clone(), node);
        let made = timeout_at(within, async {
            let channel = self.reach(&endpoint, node, within).await;
            let channel = channel.map_err(|error| match Shortage::of(&error) {
                Some(shortage) => format!("the host has {shortage}"),
                None => error.to_string(),
            })?;
            let channel = credentials.on(channel);
            let leader = RaftMetricsServiceClient::new(channel.clone())
                .leader(kiwi::LeaderRequest {})
                .await;
            leader.map_err(|status| status.message().to_owned())?;
            Ok::<AuthorizedChannel, String>(channel)
        });
        match made.await {
            Ok(Ok(channel)) => {
                self.connections.insert(node, channel.clone());
                Ok(channel)
            }
            Ok(Err(why)) => Err(nothing_left(format!("no connection to n{node}: {why}"))),
            Err(_) => Err(nothing_left(format!(
                "no connection to n{node} within {} ms",
                connect_within.as_millis()
            ))),
        }
    }

    /// Dials until it is answered; what the host has no room for is tried again, as long as there is time.
    async fn reach(
        &self,
        endpoint: &Endpoint,
        node: u64,
        within: Instant,
    ) -> Result<Channel, tonic::transport::Error> {
        loop {
            let error = match endpoint.connect().await {
                Ok(channel) => return Ok(channel),
                Err(error) => error,
            };
            let over = Instant::now() + CONNECT_AGAIN >= within;
            let cost = if over { Cost::Loss } else { Cost::Delay };
            let which = || format!("to n{node}");
            let short = self
                .shortages
                .note("a client's connection", cost, which, &error);
            if short.is_none() || over {
                return Err(error);
            }
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
    }
}

fn read_request(key: &str) -> kiwi::ReadRequest {
    kiwi::ReadRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

fn write_request(key: &str, call: Call, as_of: Numbered) -> kiwi::WriteRequest {
    use kiwi::condition::Expected;
    let (op_type, value, expected) = match call {
        Call::Write(value) => ("Put", encode(value), None),
        Call::Cas { old, new } => ("Put", encode(new), Some(Expected::Value(encode(old)))),
        Call::Delete => ("Delete", Bytes::new(), None),
        Call::Read | Call::Append(_) => unreachable!("neither is a write of the store"),
    };
    let entry = kiwi::BinlogEntry {
        cf_idx: 0,
        op_type: op_type.to_owned(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        value,
    };
    kiwi::WriteRequest {
        binlog: Some(kiwi::Binlog {
            db_id: 0,
            slot_idx: 0,
            entries: vec![entry],
        }),
        condition: expected.map(|expected| kiwi::Condition {
            expected: Some(expected),
        }),
        client_id: as_of.session,
        sequence: as_of.sequence,
    }
}

fn read_reply(response: kiwi::ReadResponse) -> Result<Reply, Refusal> {
    let verdict = response.response.ok_or_else(no_response)?;
    if !verdict.success {
        let why = why_not(verdict, "the node did not say why");
        return Err(Refusal::Unknown { why });
    }
    let value = match response.found.then(|| decode(&response.value)) {
        None => None,
        Some(Some(value)) => Some(value),
        // Nobody wrote that: the checker shall see a value that has no writer, not a failed read.
        Some(None) => Some(Value::MIN),
    };
    let error =
        (value == Some(Value::MIN)).then(|| format!("the node answered {:?}", response.value));
    Ok(Reply {
        outcome: Outcome::Ok(value),
        at: response.read_log_id.and_then(log_id),
        error,
    })
}

fn write_reply(call: Call, response: kiwi::WriteResponse) -> Result<Reply, Refusal> {
    let at = response.log_id.and_then(log_id);
    let verdict = response.response.ok_or_else(no_response)?;
    match (verdict.success, call, at) {
        (true, ..) => Ok(Reply {
            outcome: Outcome::Ok(None),
            at,
            error: None,
        }),
        // Committed, but its condition did not hold when it was applied: it changed nothing and never will.
        (false, Call::Cas { .. }, Some(_)) => Ok(Reply {
            // What it compared with is as good as a read. Bytes that nobody wrote are a value without a writer, as there.
            outcome: Outcome::Differed(
                response
                    .prior
                    .map(|prior| decode(&prior).unwrap_or(Value::MIN)),
            ),
            at,
            error: Some(why_not(verdict, "the condition did not hold")),
        }),
        // Without a condition or a place in the log it is no documented answer: it may have been carried out.
        (false, ..) => Err(Refusal::Unknown {
            why: why_not(verdict, "the node did not say why"),
        }),
    }
}

fn no_response() -> Refusal {
    Refusal::Unknown {
        why: "the node's answer has no response".to_owned(),
    }
}

fn why_not(verdict: kiwi::Response, otherwise: &str) -> String {
    if verdict.message.is_empty() {
        return otherwise.to_owned();
    }
    verdict.message
}

fn refusal(status: &Status) -> Refusal {
    let metadata = |name: &str| {
        status
            .metadata()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let why = match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    };
    if metadata(OUTCOME) == Some(NOT_APPLIED) {
        let leader = metadata("kiwi-leader-id")
            .and_then(|id| id.parse().ok())
            .filter(|&id| id != 0);
        return Refusal::NotApplied { leader, why };
    }
    Refusal::Unknown { why }
}

fn log_id(id: kiwi::LogId) -> Option<At> {
    Some(At {
        term: id.leader_id?.term,
        index: id.index,
    })
}

/// Values travel as decimal text, so that other clients of the store can read them.
fn encode(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn decode(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn status(code: Code, metadata: &[(&'static str, &str)]) -> Status {
        let mut status = Status::new(code, "no");
        for (name, value) in metadata {
            status.metadata_mut().insert(*name, value.parse().unwrap());
        }
        status
    }

    #[test]
    fn only_the_word_of_the_node_proves_that_a_write_was_not_applied_and_no_code_does() {
        let not_applied = |status: &Status| matches!(refusal(status), Refusal::NotApplied { .. });
        for code in (0..=16).map(Code::from_i32) {
            let word = |word| status(code, &[("kiwi-outcome", word)]);
            assert!(not_applied(&word("not-applied")), "{code:?}");
            assert!(!not_applied(&word("unknown")), "{code:?}");
            assert!(!not_applied(&word("nonsense")), "{code:?}");
            assert!(!not_applied(&status(code, &[])), "{code:?}");
        }
    }

    #[test]
    fn a_hint_of_no_leader_is_no_hint() {
        let hint = |id: &str| match refusal(&status(
            Code::Unavailable,
            &[("kiwi-outcome", "not-applied"), ("kiwi-leader-id", id)],
        )) {
            Refusal::NotApplied { leader, .. } => leader,
            Refusal::Unknown { .. } => panic!("the status proves that nothing was applied"),
        };
        assert_eq!((hint("2"), hint("0"), hint("x")), (Some(2), None, None));
    }

    #[test]
    fn an_answer_that_is_no_number_becomes_a_value_that_nobody_wrote() {
        let reply = |value: &'static str, found| {
            let response = kiwi::ReadResponse {
                response: said(true),
                value: Bytes::from(value),
                found,
                ..Default::default()
            };
            read_reply(response).ok().map(|reply| reply.outcome)
        };
        assert_eq!(reply("17", true), Some(Outcome::Ok(Some(17))));
        assert_eq!(reply("", false), Some(Outcome::Ok(None)));
        assert_eq!(
            reply("seventeen", true),
            Some(Outcome::Ok(Some(Value::MIN)))
        );
    }

    fn said(success: bool) -> Option<kiwi::Response> {
        Some(kiwi::Response {
            success,
            message: String::new(),
        })
    }

    #[test]
    fn only_a_condition_that_is_in_the_log_has_failed_where_the_node_says_no() {
        let place = kiwi::LogId {
            leader_id: Some(kiwi::LeaderId {
                term: 3,
                node_id: None,
            }),
            index: 9,
        };
        let at = Some(At { term: 3, index: 9 });
        let (write, cas) = (Call::Write(1), Call::Cas { old: 1, new: 2 });
        let (no, done) = (said(false), said(true));
        let differed = |found| Some((Outcome::Differed(found), at));
        for (call, response, log_id, prior, expected) in [
            (cas, &no, Some(place), None, differed(None)),
            (cas, &no, Some(place), Some("17"), differed(Some(17))),
            (cas, &no, Some(place), Some("x"), differed(Some(Value::MIN))),
            (cas, &no, None, None, None),
            (write, &no, Some(place), None, None),
            (Call::Delete, &no, Some(place), None, None),
            (cas, &None, Some(place), None, None),
            (cas, &done, Some(place), None, Some((Outcome::Ok(None), at))),
            (write, &done, None, None, Some((Outcome::Ok(None), None))),
        ] {
            let response = kiwi::WriteResponse {
                response: response.clone(),
                log_id,
                prior: prior.map(Bytes::from),
            };
            let reply = write_reply(call, response.clone()).ok();
            let reply = reply.map(|reply| (reply.outcome, reply.at));
            assert_eq!(reply, expected, "{call:?}: {response:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_answer_says_nothing_of_the_key() {
        for response in [None, said(false)] {
            let response = kiwi::ReadResponse {
                response,
                ..kiwi::ReadResponse::default()
            };
            assert!(read_reply(response.clone()).is_err(), "{response:?}");
        }
    }

    #[tokio::test]
    async fn a_write_that_never_left_has_failed_and_is_not_unknown() {
        // Nobody listens on a port that was bound and let go.
        let gone = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut client = KiwiClient::new(
            BTreeMap::from([(1, gone)]),
            Follow::Pinned(1),
            0,
            Duration::from_millis(500),
        );
        let answer = client.perform("k1", Call::Write(1)).await;
        assert_eq!(answer.outcome, Outcome::Failed, "{answer:?}");
    }
}
