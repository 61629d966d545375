//! The Redis protocol (RESP2): Redis, Valkey, KeyDB, Kvrocks, and whoever speaks it.
//!
//! | operation | command |
//! | --- | --- |
//! | read | `GET`; with `read = "primary"` `GETEX`, which a replica refuses as if it wrote |
//! | write | `SET` |
//! | delete | `DEL`, whether there was anything or not |
//! | cas | a script (`EVAL`) that compares and sets, and says what it found; it compares with what a read would find |
//!
//! Of other data types: a set is `SADD` and `SMEMBERS`, a counter `INCRBY` and `GET`, a queue `LPUSH` and `RPOP`, a log
//! `RPUSH` and `LINDEX`.
//!
//! Definite failures are the errors in [`DEFINITE`]: the server refuses the command before it carries it out. Every other
//! error, and no answer, leaves a write unknown.

use std::collections::BTreeMap;

use bytes::Bytes;
use checkers::history::{Call, Value};
use checkers::types::{self, Asked, Datum};
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use redis_protocol::codec::Resp2;
use redis_protocol::resp2::types::BytesFrame;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Framed;

use super::dial::{Dial, is_spent, unanswered};
use super::{Protocol, Refusal, Reply, decode, encode, no_such, no_such_act, typed};

/// The errors that prove that a command was not carried out: the first word of the answer.
pub const DEFINITE: [&str; 8] = [
    // Another node has the slot, or will have it.
    "MOVED",
    "ASK",
    // A replica does not write.
    "READONLY",
    // The cluster is down, or lacks slots.
    "CLUSTERDOWN",
    // It reads its data set into memory.
    "LOADING",
    // Too few replicas are there (min-replicas-to-write).
    "NOREPLICAS",
    // A replica has lost its primary and may not answer (replica-serve-stale-data no).
    "MASTERDOWN",
    // Nobody has said who asks; no command is looked at before that.
    "NOAUTH",
];

/// Compares and sets: `ARGV[3]` is the command that reads. A script that finds another value writes nothing, so a replica
/// would carry it out and compare with what it has, unless the read itself is one that only a primary answers. An error of
/// either command is given as it is, whatever the server's version would put around it.
const CAS: &str = "\
local found = redis.pcall(ARGV[3], KEYS[1])
if type(found) == 'table' and found.err then return found end
if found ~= ARGV[1] then return {0, found} end
local set = redis.pcall('SET', KEYS[1], ARGV[2])
if type(set) == 'table' and set.err then return set end
return {1}";

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RespReads {
    /// GET, which every node answers, a replica from what it has.
    Any,
    /// GETEX (Redis 6.2), which only a primary answers.
    Primary,
}

impl RespReads {
    /// Every one; the first is meant where nothing is said.
    pub const ALL: [Self; 2] = [Self::Any, Self::Primary];

    /// As files name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Primary => "primary",
        }
    }

    /// The command that reads so.
    fn command(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Any => b"GET",
            Self::Primary => b"GETEX",
        })
    }
}

/// Which commands operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Register,
    Set,
    Counter,
    Queue,
    Log,
}

/// A client of the Redis protocol.
#[derive(Debug)]
pub struct Resp {
    dial: Dial,
    reads: RespReads,
    auth: Option<(Option<String>, String)>,
    of: Of,
    connections: BTreeMap<u64, Framed<TcpStream, Resp2>>,
}

impl Resp {
    /// A client without a password.
    #[must_use]
    pub fn new(dial: Dial, reads: RespReads) -> Resp {
        Resp {
            dial,
            reads,
            auth: None,
            of: Of::Register,
            connections: BTreeMap::new(),
        }
    }

    /// The same for operations of this type.
    #[must_use]
    pub fn of(mut self, of: &dyn types::DataType) -> Resp {
        self.of = match of.name() {
            "set" | "eventual-set" => Of::Set,
            "counter" => Of::Counter,
            "queue" | "fifo-queue" => Of::Queue,
            "log" => Of::Log,
            _ => Of::Register,
        };
        self
    }

    /// The same, which says who it is on every connection.
    #[must_use]
    pub fn with_password(mut self, user: Option<String>, password: String) -> Resp {
        self.auth = Some((user, password));
        self
    }

    /// A connection that has answered: the kept one, if nothing came on it since, or a new one.
    async fn connection(
        &mut self,
        node: u64,
        deadline: Instant,
    ) -> Result<Framed<TcpStream, Resp2>, Refusal> {
        if let Some(mut kept) = self.connections.remove(&node) {
            let quiet = kept.read_buffer().is_empty() && kept.next().now_or_never().is_none();
            if quiet && !is_spent(kept.get_ref()) {
                return Ok(kept);
            }
        }
        let due = self.dial.due(deadline);
        let stream = self.dial.connect(node, due).await?;
        let mut framed = Framed::new(stream, Resp2::default());
        if let Some((user, password)) = &self.auth {
            let mut words = vec!["AUTH"];
            words.extend(user.as_deref());
            words.push(password);
            greet(&mut framed, node, &words, due).await?;
        }
        if self.dial.asks_first() {
            greet(&mut framed, node, &["PING"], due).await?;
        }
        Ok(framed)
    }

    fn command(&self, key: &str, call: Call) -> Result<Vec<Bytes>, Refusal> {
        let word = Bytes::from_static;
        let key = Bytes::copy_from_slice(key.as_bytes());
        Ok(match call {
            Call::Read => vec![self.reads.command(), key],
            Call::Write(value) => vec![word(b"SET"), key, encode(value)],
            Call::Delete => vec![word(b"DEL"), key],
            Call::Cas { old, new } => {
                let script = Bytes::from_static(CAS.as_bytes());
                vec![
                    word(b"EVAL"),
                    script,
                    word(b"1"),
                    key,
                    encode(old),
                    encode(new),
                    self.reads.command(),
                ]
            }
            Call::Append(_) => return Err(no_such(call)),
        })
    }

    /// The data types whose operations there are commands for, beside the register.
    pub const ASKS_FOR: [&'static str; 6] = [
        "set",
        "eventual-set",
        "counter",
        "queue",
        "fifo-queue",
        "log",
    ];

    /// The command for an operation of another data type.
    fn command_typed(&self, asked: &Asked) -> Result<Vec<Bytes>, Refusal> {
        let word = Bytes::from_static;
        let text = |datum: &Datum| Bytes::from(datum.to_string());
        let key = asked.key.as_ref().map(text).unwrap_or_default();
        let name = match (self.of, asked.act) {
            (Of::Set, "add") => "SADD",
            (Of::Set, "read" | "final") => "SMEMBERS",
            (Of::Counter, "add") => "INCRBY",
            (Of::Counter, "read") if self.reads == RespReads::Primary => "GETEX",
            (Of::Counter, "read") => "GET",
            (Of::Queue, "enqueue") => "LPUSH",
            (Of::Queue, "dequeue") => "RPOP",
            (Of::Log, "append") => "RPUSH",
            (Of::Log, "read") => "LINDEX",
            _ => return Err(no_such_act(asked.act)),
        };
        let with = Some(&asked.with).filter(|with| !with.is_nil()).map(text);
        Ok([word(name.as_bytes()), key]
            .into_iter()
            .chain(with)
            .collect())
    }

    /// Sends a command and gives what came back.
    async fn exchanged(
        &mut self,
        node: u64,
        command: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<BytesFrame, Refusal> {
        let mut connection = self.connection(node, deadline).await?;
        let answer = timeout_at(deadline, exchange(&mut connection, command)).await;
        match answer {
            Err(_) => Err(Refusal::unknown(format!("n{node} did not answer in time"))),
            Ok(Err(why)) => Err(Refusal::unknown(format!("n{node}: {why}"))),
            Ok(Ok(answer)) => {
                self.connections.insert(node, connection);
                Ok(answer)
            }
        }
    }
}

impl Protocol for Resp {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        Box::pin(async move {
            let command = self.command(key, call)?;
            let answer = self.exchanged(node, command, deadline).await?;
            understood(&self.dial, node, call, answer)
        })
    }

    fn ask_typed<'a>(
        &'a mut self,
        node: u64,
        asked: &'a Asked,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<types::Outcome>, Refusal>> {
        Box::pin(async move {
            let command = self.command_typed(asked)?;
            let answer = self.exchanged(node, command, deadline).await?;
            told(&self.dial, node, asked, answer)
        })
    }

    fn reset(&mut self) {
        self.connections.clear();
    }
}

/// One command on a connection of its own, to `host:port`; the answer as JSON, a list as a list.
///
/// # Errors
/// In words, if there is no answer, or an error is one.
pub(in crate::target) async fn once(
    at: &str,
    words: Vec<String>,
) -> Result<serde_json::Value, String> {
    let stream = TcpStream::connect(at).await;
    let stream = stream.map_err(|error| format!("no connection to {at}: {error}"))?;
    let mut connection = Framed::new(stream, Resp2::default());
    let words = words.into_iter().map(Bytes::from).collect();
    match exchange(&mut connection, words).await {
        Ok(BytesFrame::Error(error)) => Err(format!("{at}: {error}")),
        Ok(answer) => Ok(json(answer)),
        Err(why) => Err(format!("{at}: {why}")),
    }
}

fn json(answer: BytesFrame) -> serde_json::Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into();
    match answer {
        BytesFrame::Null => serde_json::Value::Null,
        BytesFrame::Integer(number) => number.into(),
        BytesFrame::SimpleString(bytes) | BytesFrame::BulkString(bytes) => text(&bytes),
        BytesFrame::Error(error) => text(error.as_bytes()),
        BytesFrame::Array(items) => items.into_iter().map(json).collect(),
    }
}

/// Asks something without effect; it must be answered, and not by an error.
async fn greet(
    connection: &mut Framed<TcpStream, Resp2>,
    node: u64,
    words: &[&str],
    due: Instant,
) -> Result<(), Refusal> {
    let words = words
        .iter()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()));
    match timeout_at(due, exchange(connection, words.collect())).await {
        Err(_) => Err(unanswered(node)),
        Ok(Err(why)) => Err(Refusal::not_applied(format!(
            "no connection to n{node}: {why}"
        ))),
        Ok(Ok(BytesFrame::Error(error))) => Err(Refusal::not_applied(format!("n{node}: {error}"))),
        Ok(Ok(_)) => Ok(()),
    }
}

/// Sends a command and gives its answer.
async fn exchange(
    connection: &mut Framed<TcpStream, Resp2>,
    words: Vec<Bytes>,
) -> Result<BytesFrame, String> {
    let words = words.into_iter().map(BytesFrame::BulkString).collect();
    let sent = connection.send(BytesFrame::Array(words)).await;
    sent.map_err(|error| error.to_string())?;
    match connection.next().await {
        None => Err("the connection ended".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(answer)) => Ok(answer),
    }
}

fn understood(dial: &Dial, node: u64, call: Call, answer: BytesFrame) -> Result<Reply, Refusal> {
    let what = match (call, answer) {
        (_, BytesFrame::Error(error)) => return Err(refusal(dial, node, &error)),
        (Call::Read, answer) => return Ok(Reply::read(node, value(&answer))),
        (Call::Write(_), BytesFrame::SimpleString(ok)) if ok.as_ref() == b"OK" => {
            return Ok(Reply::ok(None));
        }
        (Call::Delete, BytesFrame::Integer(_)) => return Ok(Reply::ok(None)),
        (Call::Cas { .. }, BytesFrame::Array(parts)) => match parts.as_slice() {
            [BytesFrame::Integer(1)] => return Ok(Reply::ok(None)),
            [BytesFrame::Integer(0), found] => return Ok(Reply::compared(node, value(found))),
            parts => format!("{parts:?}"),
        },
        (_, answer) => format!("{answer:?}"),
    };
    Err(Refusal::unknown(format!("n{node} answered {what}")))
}

/// What the answer to an operation of another data type means.
fn told(
    dial: &Dial,
    node: u64,
    asked: &Asked,
    answer: BytesFrame,
) -> Result<Reply<types::Outcome>, Refusal> {
    if let BytesFrame::Error(error) = &answer {
        return Err(refusal(dial, node, error));
    }
    let found = typed::decimal(Datum::of_json(&json(answer)));
    let answer = match (asked.act, found) {
        // The length of the list is one more than the number of its last.
        ("append", Datum::Int(length)) => typed::found(asked, Datum::Int(length - 1)),
        ("add" | "enqueue", Datum::Int(_)) => Datum::Nil,
        ("append" | "add" | "enqueue", other) => {
            return Err(Refusal::unknown(format!("n{node} answered {other}")));
        }
        // A counter that nobody has added to is not there.
        ("read", Datum::Nil) if asked.with.is_nil() => Datum::Int(0),
        (_, found) => typed::found(asked, found),
    };
    Ok(Reply::answered(answer))
}

fn value(answer: &BytesFrame) -> Result<Option<Value>, String> {
    match answer {
        BytesFrame::Null => Ok(None),
        BytesFrame::BulkString(text) | BytesFrame::SimpleString(text) => decode(text).map(Some),
        BytesFrame::Integer(value) => Ok(Some(*value)),
        other => Err(format!("{other:?} is no value")),
    }
}

fn refusal(dial: &Dial, node: u64, error: &str) -> Refusal {
    let mut words = error.split_whitespace();
    let first = words.next().unwrap_or_default();
    let why = format!("n{node}: {error}");
    if !DEFINITE.contains(&first) {
        return Refusal::Unknown { why };
    }
    // `MOVED slot host:port`. An ASK is for a client that says ASKING, which this one does not.
    let leader = words.nth(1).filter(|_| first == "MOVED");
    let leader = leader.and_then(|address| dial.node_at(address));
    Refusal::NotApplied { leader, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial() -> Dial {
        Dial::new(BTreeMap::new()).knowing("127.9.0.2:6379", 2)
    }

    #[test]
    fn an_error_proves_something_only_by_its_first_word() {
        let definite = |error: &str| match refusal(&dial(), 1, error) {
            Refusal::NotApplied { leader, .. } => Some(leader),
            Refusal::Unknown { .. } => None,
        };
        for (error, expected) in [
            ("MOVED 3999 127.9.0.2:6379", Some(Some(2))),
            ("MOVED 3999 10.0.0.1:6379", Some(None)),
            ("ASK 3999 127.9.0.2:6379", Some(None)),
            (
                "READONLY You can't write against a read only replica.",
                Some(None),
            ),
            ("NOREPLICAS Not enough good replicas to write.", Some(None)),
            ("ERR READONLY is only quoted here", None),
            ("UNKNOWN the node was asked to stop", None),
            ("EXECABORT", None),
            ("readonly", None),
            ("", None),
        ] {
            assert_eq!(definite(error), expected, "{error}");
        }
    }

    #[test]
    fn answers_mean_what_they_say_and_nothing_more() {
        use checkers::history::Outcome;
        let bulk = |text: &'static str| BytesFrame::BulkString(Bytes::from_static(text.as_bytes()));
        let ok = || BytesFrame::SimpleString(Bytes::from_static(b"OK"));
        let (write, cas) = (Call::Write(1), Call::Cas { old: 1, new: 2 });
        let no = BytesFrame::Integer(0);
        for (call, answer, expected) in [
            (Call::Read, bulk("-17"), Some(Outcome::Ok(Some(-17)))),
            (Call::Read, BytesFrame::Null, Some(Outcome::Ok(None))),
            (Call::Read, bulk("seventeen"), Some(Outcome::Failed)),
            (Call::Read, bulk(""), Some(Outcome::Failed)),
            (write, ok(), Some(Outcome::Ok(None))),
            (write, BytesFrame::Null, None),
            (Call::Delete, no.clone(), Some(Outcome::Ok(None))),
            (Call::Delete, ok(), None),
            (
                cas,
                BytesFrame::Array(vec![BytesFrame::Integer(1)]),
                Some(Outcome::Ok(None)),
            ),
            (
                cas,
                BytesFrame::Array(vec![no.clone(), BytesFrame::Null]),
                Some(Outcome::Differed(None)),
            ),
            (
                cas,
                BytesFrame::Array(vec![no.clone(), bulk("9")]),
                Some(Outcome::Differed(Some(9))),
            ),
            (
                cas,
                BytesFrame::Array(vec![no.clone(), bulk("x")]),
                Some(Outcome::Failed),
            ),
            (cas, no.clone(), None),
            (cas, ok(), None),
        ] {
            let reply = understood(&dial(), 1, call, answer.clone()).ok();
            let outcome = reply.as_ref().map(|reply| reply.outcome);
            assert_eq!(outcome, expected, "{call:?}: {answer:?}");
            let unusable = reply
                .and_then(|reply| reply.error)
                .is_some_and(|error| error.starts_with(super::super::UNUSABLE));
            assert_eq!(
                unusable,
                outcome == Some(Outcome::Failed),
                "{call:?}: {answer:?}"
            );
        }
    }
}
