//! A client program of the user's own: Maelstrom's messages as lines, to its input and from its output.
//!
//! ```text
//!  bench ─▶ {"src":"bench","dest":"c7","body":{"type":"init","msg_id":0,"node_id":"c7","node_ids":["n1",..],
//!                                              "addresses":{"n1":"127.9.4.1:6379",..}}}
//!        ◀─ {"body":{"type":"init_ok","in_reply_to":0}}
//!        ─▶ {"src":"c7","dest":"n2","addr":"127.9.4.2:6379","body":{"type":"cas","msg_id":9,"key":"k3","from":5,"to":11}}
//!        ◀─ {"body":{"type":"cas_ok","in_reply_to":9}}
//! ```
//!
//! The bench stamps before it writes and after it has read: intervals only widen. A program that ends, stays silent or
//! answers something else than it was asked leaves a write unknown, and is not spoken to again.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use checkers::history::Call;
use checkers::types::{self, Asked};
use futures::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout_at};

use super::maelstrom::{self, Message};
use super::typed::{self, Workload};
use super::{Protocol, Refusal, Reply, SHOWN};

/// A program that has not answered its first line by then is started anew.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a line: a longer one is none.
const MOST_LINE: u64 = 1 << 20;

/// Input and output of a program.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Starts the program anew and gives its input and output; whoever dropped the old ones is done with the old program.
pub type Start = Box<dyn FnMut() -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send>;

/// A client by a program of the user's own.
pub struct Lines {
    name: String,
    nodes: BTreeMap<u64, SocketAddr>,
    start: Start,
    program: Option<Lively>,
    /// It goes on from operation to operation: an interpreter may take longer to start than one of them may.
    starting: Option<BoxFuture<'static, Result<Lively, String>>>,
    next: u64,
}

/// A program that has answered its first line.
type Lively = BufReader<Box<dyn Stream>>;

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({}, {:?})", self.name, self.nodes)
    }
}

/// Why there is no answer.
enum Silent {
    /// Not a byte of the request was written.
    Unsent(String),
    /// It may have been read, and carried out.
    Lost(String),
}

impl Lines {
    /// The client `c{number}`; its program is started when it is needed and told that node `id` is at `nodes[id]`.
    #[must_use]
    pub fn new(number: u64, nodes: BTreeMap<u64, SocketAddr>, start: Start) -> Lines {
        Lines {
            name: format!("c{number}"),
            nodes,
            start,
            program: None,
            starting: None,
            next: 0,
        }
    }

    /// A program that has answered its first line.
    async fn started(&mut self, deadline: Instant) -> Result<Lively, Refusal> {
        if let Some(program) = self.program.take() {
            return Ok(program);
        }
        let never = |why: &str| Refusal::not_applied(format!("the client program {why}"));
        let starting = match &mut self.starting {
            Some(starting) => starting,
            None => {
                let init = self.init();
                let started = (self.start)();
                let first = async move {
                    let started = started.await;
                    let started = started.map_err(|error| format!("could not be started: {error}"));
                    introduced(BufReader::new(started?), &init).await
                };
                let within = async move {
                    let late = "did not answer init in time".to_owned();
                    let first = tokio::time::timeout(START_WITHIN, first).await;
                    first.unwrap_or(Err(late))
                };
                self.starting.insert(Box::pin(within))
            }
        };
        let Ok(started) = timeout_at(deadline, starting).await else {
            return Err(never("is still starting"));
        };
        self.starting = None;
        self.next = 1;
        started.map_err(|why| never(&why))
    }

    /// The first message: who the client is, and who and where the nodes are.
    fn init(&self) -> Message {
        let names: Vec<String> = self.nodes.keys().map(|id| format!("n{id}")).collect();
        let nodes = self.nodes.iter();
        let addresses: BTreeMap<String, String> = nodes
            .map(|(id, at)| (format!("n{id}"), at.to_string()))
            .collect();
        let mut body = maelstrom::init(0, &self.name, &names);
        body.insert("addresses".to_owned(), json!(addresses));
        Message {
            src: "bench".to_owned(),
            dest: self.name.clone(),
            addr: None,
            body,
        }
    }

    /// Has the program ask a node for what `body` makes of the message's number, and gives its answer.
    async fn have_asked(
        &mut self,
        node: u64,
        body: impl FnOnce(u64) -> Result<Body, Refusal>,
        deadline: Instant,
    ) -> Result<Body, Refusal> {
        let mut program = self.started(deadline).await?;
        let id = self.next;
        self.next += 1;
        let message = Message {
            src: self.name.clone(),
            dest: format!("n{node}"),
            addr: self.nodes.get(&node).copied(),
            body: body(id)?,
        };
        match timeout_at(deadline, exchange(&mut program, &message, id)).await {
            Err(_) => Err(Refusal::unknown(
                "the client program did not answer in time",
            )),
            Ok(Err(Silent::Unsent(why))) => {
                Err(Refusal::not_applied(format!("the client program {why}")))
            }
            Ok(Err(Silent::Lost(why))) => {
                Err(Refusal::unknown(format!("the client program {why}")))
            }
            Ok(Ok(answer)) => {
                self.program = Some(program);
                Ok(answer)
            }
        }
    }
}

impl Protocol for Lines {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        Box::pin(async move {
            let body = |id| maelstrom::request(id, key, call);
            let answer = self.have_asked(node, body, deadline).await?;
            maelstrom::answer(node, call, &answer)
        })
    }

    fn ask_typed<'a>(
        &'a mut self,
        node: u64,
        asked: &'a Asked,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<types::Outcome>, Refusal>> {
        Box::pin(async move {
            let body = |id| Ok(typed::request(Workload::Plain, id, asked));
            let answer = self.have_asked(node, body, deadline).await?;
            typed::answer(Workload::Plain, node, asked, &answer)
        })
    }

    fn reset(&mut self) {
        self.program = None;
        self.starting = None;
    }
}

/// Tells a program who it is, and hears that it knows.
async fn introduced(mut program: Lively, init: &Message) -> Result<Lively, String> {
    match exchange(&mut program, init, 0).await {
        Err(Silent::Unsent(why) | Silent::Lost(why)) => Err(why),
        Ok(answer) if kind(&answer) == "init_ok" => Ok(program),
        Ok(answer) => Err(format!("answered init by {:?}", kind(&answer))),
    }
}

type Body = serde_json::Map<String, serde_json::Value>;

fn kind(body: &Body) -> &str {
    body.get("type")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}

/// Writes a message and reads the answer to it.
async fn exchange(
    program: &mut BufReader<Box<dyn Stream>>,
    message: &Message,
    id: u64,
) -> Result<Body, Silent> {
    let line = message.line();
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        let begun = rest.len() < line.len();
        match program.get_mut().write(rest).await {
            Ok(0) => return Err(not_written(begun, "takes no more")),
            Ok(written) => rest = &rest[written..],
            Err(error) => return Err(not_written(begun, &format!("is gone: {error}"))),
        }
    }
    let lost = |why: String| Silent::Lost(why);
    let flushed = program.get_mut().flush().await;
    flushed.map_err(|error| lost(format!("is gone: {error}")))?;
    let mut answer = String::new();
    let read = program.take(MOST_LINE).read_line(&mut answer).await;
    match read {
        Err(error) => return Err(lost(format!("cannot be read: {error}"))),
        Ok(_) if answer.ends_with('\n') => {}
        Ok(0) => return Err(lost("has ended".to_owned())),
        Ok(_) => return Err(lost("has ended, or its line does not end".to_owned())),
    }
    // Only the body is wanted of it.
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&answer);
    let body = parsed.ok().and_then(|mut answer| {
        match answer.get_mut("body").map(serde_json::Value::take) {
            Some(serde_json::Value::Object(body)) => Some(body),
            _ => None,
        }
    });
    let start: String = answer.trim_end().chars().take(SHOWN).collect();
    let body = body.ok_or_else(|| lost(format!("said {start:?}, which is no message")))?;
    if body.get("in_reply_to").and_then(serde_json::Value::as_u64) != Some(id) {
        return Err(lost(format!("said {start:?}, which is no answer to {id}")));
    }
    Ok(body)
}

fn not_written(begun: bool, why: &str) -> Silent {
    let why = why.to_owned();
    if begun {
        Silent::Lost(why)
    } else {
        Silent::Unsent(why)
    }
}

#[cfg(test)]
mod tests {
    use checkers::history::Outcome;
    use tokio::io::DuplexStream;

    use super::*;

    /// A client whose program is a task that answers each line with what `answers` makes of it; `None` ends it.
    fn client(answers: fn(&Message) -> Option<String>) -> Lines {
        let start: Start = Box::new(move || {
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(program(theirs, answers));
            Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) })
        });
        let nodes = BTreeMap::from([
            (1, "127.9.0.1:1".parse().unwrap()),
            (2, "127.9.0.2:1".parse().unwrap()),
        ]);
        Lines::new(7, nodes, start)
    }

    async fn program(stream: DuplexStream, answers: fn(&Message) -> Option<String>) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            let message = Message::parse(&line).expect("the bench speaks JSON");
            line.clear();
            let answer = if message.kind() == "init" {
                assert_eq!(message.body["addresses"]["n2"], "127.9.0.2:1");
                Some("{\"body\":{\"type\":\"init_ok\",\"in_reply_to\":0}}".to_owned())
            } else {
                answers(&message)
            };
            let Some(answer) = answer else { return };
            if stream
                .write_all(format!("{answer}\n").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn ask(client: &mut Lines, call: Call) -> Result<Outcome, Refusal> {
        let deadline = Instant::now() + Duration::from_secs(5);
        client
            .ask(2, "k3", call, deadline)
            .await
            .map(|reply| reply.outcome)
    }

    fn is_unknown(refused: &Result<Outcome, Refusal>) -> bool {
        matches!(refused, Err(Refusal::Unknown { .. }))
    }

    #[tokio::test]
    async fn a_program_is_asked_by_lines_and_its_answer_is_the_outcome() {
        let mut client = client(|message| {
            assert_eq!((message.src.as_str(), message.dest.as_str()), ("c7", "n2"));
            assert_eq!(message.addr, Some("127.9.0.2:1".parse().unwrap()));
            let id = message.body["msg_id"].as_u64().unwrap();
            Some(match message.kind() {
                "read" => format!(
                    "{{\"body\":{{\"type\":\"read_ok\",\"in_reply_to\":{id},\"value\":17}}}}"
                ),
                "cas" => format!(
                    "{{\"body\":{{\"type\":\"error\",\"in_reply_to\":{id},\"code\":22,\"text\":\"no\"}}}}"
                ),
                kind => format!("{{\"body\":{{\"type\":\"{kind}_ok\",\"in_reply_to\":{id}}}}}"),
            })
        });
        for (call, expected) in [
            (Call::Write(17), Outcome::Ok(None)),
            (Call::Read, Outcome::Ok(Some(17))),
            (Call::Cas { old: 1, new: 2 }, Outcome::Failed),
            (Call::Delete, Outcome::Ok(None)),
        ] {
            assert_eq!(ask(&mut client, call).await.unwrap(), expected, "{call:?}");
        }
    }

    #[tokio::test]
    async fn a_program_that_ends_or_says_something_else_leaves_a_write_unknown() {
        for answers in [
            (|_: &Message| None) as fn(&Message) -> Option<String>,
            |_| Some("Traceback (most recent call last):".to_owned()),
            |_| Some("{\"body\":{\"type\":\"write_ok\",\"in_reply_to\":99}}".to_owned()),
            |_| Some("{\"type\":\"write_ok\",\"in_reply_to\":1}".to_owned()),
        ] {
            let mut client = client(answers);
            assert!(is_unknown(&ask(&mut client, Call::Write(1)).await));
            // It is started anew, and not asked for what it still owes.
            assert!(is_unknown(&ask(&mut client, Call::Write(2)).await));
        }
    }

    #[tokio::test]
    async fn a_program_that_stays_silent_leaves_a_write_unknown_at_the_deadline() {
        let mut client = client(|_| Some(String::new()));
        client.next = 0;
        let start: Start = Box::new(|| {
            let (ours, theirs) = tokio::io::duplex(4096);
            // It answers init, and reads on in silence.
            tokio::spawn(async move {
                let mut stream = BufReader::new(theirs);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let answer = b"{\"body\":{\"type\":\"init_ok\",\"in_reply_to\":0}}\n";
                stream.write_all(answer).await.unwrap();
                tokio::io::copy(&mut stream, &mut tokio::io::sink())
                    .await
                    .unwrap();
            });
            Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) })
        });
        client.start = start;
        let deadline = Instant::now() + Duration::from_millis(200);
        let refused = client.ask(1, "k", Call::Write(1), deadline).await;
        assert!(
            matches!(refused, Err(Refusal::Unknown { .. })),
            "{refused:?}"
        );
        assert!(Instant::now() >= deadline);
    }

    #[tokio::test]
    async fn a_program_that_is_slow_to_start_is_waited_for_by_several_operations() {
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let mut gate = Some(gate);
        let start: Start = Box::new(move || {
            let gate = gate.take().expect("it is started once");
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                gate.await.expect("it is let go");
                program(theirs, |_| None).await;
            });
            Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) })
        });
        let two = "127.9.0.2:1".parse().unwrap();
        let mut client = Lines::new(7, BTreeMap::from([(2, two)]), start);
        for _ in 0..2 {
            let deadline = Instant::now() + Duration::from_millis(20);
            let refused = client.ask(2, "k", Call::Write(1), deadline).await;
            assert!(
                matches!(refused, Err(Refusal::NotApplied { .. })),
                "{refused:?}"
            );
        }
        go.send(()).unwrap();
        // It is there, and ends at what it is asked.
        assert!(is_unknown(&ask(&mut client, Call::Write(2)).await));
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_was_asked_nothing() {
        let start: Start = Box::new(|| Box::pin(async { Err(io::ErrorKind::NotFound.into()) }));
        let mut client = Lines::new(1, BTreeMap::new(), start);
        let refused = ask(&mut client, Call::Write(1)).await;
        assert!(
            matches!(refused, Err(Refusal::NotApplied { .. })),
            "{refused:?}"
        );
    }
}
