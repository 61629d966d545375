//! HTTP/1.1 by templates: what an operation asks for, and what its answer means, is said by the target's file.
//!
//! ```text
//!  status in `not_applied`, or the body matches `not_applied_match`    definite: nothing was applied
//!  read   `absent`, `absent_match`                                     absent
//!         2xx, and a number where `value` points                       that value; null is absent
//!  cas    `differed`, `differed_match`                                 compared, and something else was there
//!  any    2xx (and `ok_match` where there is one)                      done
//!  else                                                                unknown; of a read, failed
//! ```
//!
//! One request at a time on a connection of hyper's, which neither follows redirects nor asks twice. A connection that
//! the server has closed while nobody used it is made anew before anything is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use checkers::history::{Call, Value};
use checkers::types::{self, Datum};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::dial::{Dial, unanswered};
use super::{Protocol, Refusal, Reply, SHOWN, UNUSABLE, decode, no_such, no_such_act, typed};
use crate::target::described::question::{Pattern, Request};
use crate::target::template::{Template, Words};

/// Bytes of an answer: more is none.
const MOST_ANSWER: usize = 1 << 20;

/// `[client]` with `protocol = "http"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpOptions {
    /// Where a node listens, as `http://{ip}:8080`; a path in it comes before those of the operations.
    pub base: Template,
    /// Statuses that prove that nothing was applied, and never will be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_applied: Vec<u16>,
    /// Bodies that prove it, whatever the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_applied_match: Option<Pattern>,
    /// A JSON pointer to the id of the leader in such an answer. (The address in `Location` is understood without.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// What every request carries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
    /// How to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<HttpOperation>,
    /// How to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<HttpOperation>,
    /// How to compare and set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cas: Option<HttpOperation>,
    /// How to delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<HttpOperation>,
    /// How to ask for the operations of another data type, by name.
    #[serde(flatten)]
    pub others: BTreeMap<String, HttpOperation>,
}

/// One operation: what it asks for, and what the answer means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpOperation {
    /// Method and path.
    #[serde(flatten)]
    pub request: Request,
    /// What is sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// Where a read's value is: a JSON pointer; empty is the whole answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Statuses that say that there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<u16>,
    /// Bodies that say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent_match: Option<Pattern>,
    /// What the body of a success must have in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_match: Option<Pattern>,
    /// Statuses that say that a cas compared, and that something else was there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differed: Vec<u16>,
    /// Bodies that say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differed_match: Option<Pattern>,
    /// Where that answer says what was there: a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl HttpOptions {
    /// The operations that have no request.
    #[must_use]
    pub fn lacks(&self) -> Vec<&'static str> {
        if !self.others.is_empty() {
            return Vec::new();
        }
        let all = [
            ("read", &self.read),
            ("write", &self.write),
            ("cas", &self.cas),
            ("delete", &self.delete),
        ];
        all.into_iter()
            .filter(|(_, one)| one.is_none())
            .map(|(name, _)| name)
            .collect()
    }

    fn operation(&self, call: Call) -> Option<&HttpOperation> {
        match call {
            Call::Read => self.read.as_ref(),
            Call::Write(_) => self.write.as_ref(),
            Call::Cas { .. } => self.cas.as_ref(),
            Call::Delete => self.delete.as_ref(),
            Call::Append(_) => None,
        }
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Where else to ask, if it says so.
    pub location: Option<String>,
    /// What it says.
    pub body: Bytes,
}

/// A request, whole.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    body: String,
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// A client of HTTP.
#[derive(Debug)]
pub struct Http {
    dial: Dial,
    options: HttpOptions,
    /// What the file's words mean at each node.
    words: BTreeMap<u64, Words>,
    connections: BTreeMap<u64, Sender>,
}

impl Http {
    /// A client; `words` are what the words of the file mean at each node.
    #[must_use]
    pub fn new(dial: Dial, options: HttpOptions, words: BTreeMap<u64, Words>) -> Http {
        Http {
            dial,
            options,
            words,
            connections: BTreeMap::new(),
        }
    }

    fn asked(&self, node: u64, key: &str, call: Call) -> Result<(Asked, HttpOperation), Refusal> {
        let operation = self.options.operation(call).ok_or_else(|| no_such(call))?;
        let (value, old, new) = match call {
            Call::Write(value) => (Some(value), None, Some(value)),
            Call::Cas { old, new } => (Some(new), Some(old), Some(new)),
            Call::Read | Call::Delete | Call::Append(_) => (None, None, None),
        };
        let text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
        let texts = [key.to_owned(), text(value), text(old), text(new)];
        Ok((self.filled(node, texts, operation), operation.clone()))
    }

    /// The same of another data type.
    fn asked_typed(
        &self,
        node: u64,
        asked: &types::Asked,
    ) -> Result<(Asked, HttpOperation), Refusal> {
        let options = &self.options;
        let operation = match asked.reads() {
            true => options.read.as_ref(),
            false => options.others.get(asked.act),
        };
        let operation = operation.ok_or_else(|| no_such_act(asked.act))?;
        let text = |datum: &Datum| match datum {
            Datum::Nil => String::new(),
            datum => datum.to_string(),
        };
        let key = asked.key.as_ref().map(text).unwrap_or_default();
        let texts = [key, text(&asked.with), String::new(), String::new()];
        Ok((self.filled(node, texts, operation), operation.clone()))
    }

    /// A request with key, value, old and new in the places of these words.
    fn filled(
        &self,
        node: u64,
        [key, value, old, new]: [String; 4],
        operation: &HttpOperation,
    ) -> Asked {
        let words = self.words.get(&node).cloned().unwrap_or_default();
        let words = words
            .with("key", key)
            .with("value", value)
            .with("old", old)
            .with("new", new);
        let base = self.options.base.fill(&words);
        let whole = base.strip_prefix("http://").unwrap_or(&base);
        let (host, prefix) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
        let path = operation.request.to().fill(&words);
        let headers = self.options.headers.iter();
        Asked {
            method: operation.request.method(),
            path: format!(
                "{}/{}",
                prefix.trim_end_matches('/'),
                path.trim_start_matches('/')
            ),
            host: host.to_owned(),
            headers: headers
                .map(|(name, text)| (name.clone(), text.fill(&words)))
                .collect(),
            body: operation
                .body
                .as_ref()
                .map(|body| body.fill(&words))
                .unwrap_or_default(),
        }
    }

    async fn connection(&mut self, node: u64, deadline: Instant) -> Result<Sender, Refusal> {
        if let Some(mut kept) = self.connections.remove(&node) {
            // Its driver says that the server has closed it, if it has.
            let due = self.dial.due(deadline);
            if matches!(timeout_at(due, kept.ready()).await, Ok(Ok(()))) {
                return Ok(kept);
            }
        }
        let due = self.dial.due(deadline);
        let stream = self.dial.connect(node, due).await?;
        match timeout_at(due, http1::handshake(TokioIo::new(stream))).await {
            Err(_) => Err(unanswered(node)),
            Ok(Err(error)) => Err(Refusal::not_applied(format!(
                "no connection to n{node}: {error}"
            ))),
            Ok(Ok((sender, driver))) => {
                // It ends with the sender, or with an error that whoever waits for an answer is told.
                tokio::spawn(async move { drop(driver.await) });
                Ok(sender)
            }
        }
    }

    /// Sends a request and gives its answer.
    async fn exchanged(
        &mut self,
        node: u64,
        asked: Asked,
        deadline: Instant,
    ) -> Result<Answered, Refusal> {
        let request =
            request(asked).map_err(|why| Refusal::not_applied(format!("no request: {why}")))?;
        let mut sender = self.connection(node, deadline).await?;
        match timeout_at(
            deadline,
            exchange(&format!("n{node}"), &mut sender, request),
        )
        .await
        {
            Err(_) => Err(Refusal::unknown(format!("n{node} did not answer in time"))),
            Ok(Err(refusal)) => Err(refusal),
            Ok(Ok(answer)) => {
                self.connections.insert(node, sender);
                Ok(answer)
            }
        }
    }
}

impl Protocol for Http {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        Box::pin(async move {
            let (asked, operation) = self.asked(node, key, call)?;
            let answer = self.exchanged(node, asked, deadline).await?;
            understood(&self.options, &self.dial, &operation, node, call, &answer)
        })
    }

    fn ask_typed<'a>(
        &'a mut self,
        node: u64,
        asked: &'a types::Asked,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<types::Outcome>, Refusal>> {
        Box::pin(async move {
            let (request, operation) = self.asked_typed(node, asked)?;
            let answer = self.exchanged(node, request, deadline).await?;
            let seen = Seen::of(&self.options, &self.dial, &operation, node, &answer);
            told(seen?, asked, &answer, &operation)
        })
    }

    fn reset(&mut self) {
        self.connections.clear();
    }
}

/// One request on a connection of its own, to a URL that begins with `http://` and names its host.
///
/// # Errors
/// In words, if there is no answer.
pub(in crate::target) async fn once(
    method: &'static str,
    url: &str,
    headers: Vec<(String, String)>,
    body: String,
) -> Result<Answered, String> {
    let whole = url.strip_prefix("http://");
    let whole = whole.ok_or_else(|| format!("{url} does not begin with http://"))?;
    let (host, path) = whole.split_at(whole.find('/').unwrap_or(whole.len()));
    let asked = Asked {
        method,
        path: if path.is_empty() { "/" } else { path }.to_owned(),
        host: host.to_owned(),
        headers,
        body,
    };
    let request = request(asked).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(host).await;
    let stream = stream.map_err(|error| format!("no connection to {host}: {error}"))?;
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, driver) = made.map_err(|error| format!("{host}: {error}"))?;
    let mut answer = std::pin::pin!(exchange(host, &mut sender, request));
    // The connection is driven only as long as the answer is waited for.
    let ended = tokio::select! {
        answer = &mut answer => return answer.map_err(|refusal| refusal.why().to_owned()),
        ended = driver => ended,
    };
    // A server that closes the connection behind its answer has answered.
    answer.await.map_err(|refusal| match ended {
        Ok(()) => refusal.why().to_owned(),
        Err(error) => format!("{host}: {error}"),
    })
}

fn request(asked: Asked) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut request = http::Request::builder()
        .method(asked.method)
        .uri(&asked.path)
        .header(http::header::HOST, &asked.host);
    for (name, text) in &asked.headers {
        request = request.header(name, text);
    }
    request.body(Full::from(asked.body))
}

/// Sends one request and gives its answer, whole.
async fn exchange(
    whom: &str,
    sender: &mut Sender,
    request: http::Request<Full<Bytes>>,
) -> Result<Answered, Refusal> {
    let lost = |error: &dyn std::error::Error| Refusal::unknown(format!("{whom}: {error}"));
    let answer = sender
        .try_send_request(request)
        .await
        .map_err(|mut error| {
            // It gives back what it has not begun to write.
            match error.take_message() {
                Some(_) => Refusal::not_applied(format!("{whom} has closed the connection")),
                None => lost(error.error()),
            }
        })?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(http::header::LOCATION);
    let location = location
        .and_then(|location| location.to_str().ok())
        .map(str::to_owned);
    let body = Limited::new(answer.into_body(), MOST_ANSWER)
        .collect()
        .await;
    let body = body.map_err(|error| lost(error.as_ref()))?.to_bytes();
    Ok(Answered {
        status,
        location,
        body,
    })
}

/// What an answer says, whatever was asked.
struct Seen {
    absent: bool,
    differed: bool,
    accepted: bool,
    /// The answer, in words.
    why: String,
}

impl Seen {
    /// Reads an answer.
    ///
    /// # Errors
    /// If it says that nothing was applied.
    fn of(
        options: &HttpOptions,
        dial: &Dial,
        operation: &HttpOperation,
        node: u64,
        answer: &Answered,
    ) -> Result<Seen, Refusal> {
        let text = String::from_utf8_lossy(&answer.body);
        let is = |statuses: &[u16], pattern: &Option<Pattern>| {
            statuses.contains(&answer.status)
                || pattern.as_ref().is_some_and(|pattern| pattern.is_in(&text))
        };
        let shown: String = text.chars().take(SHOWN).collect();
        let why = format!("n{node} answered {} {shown:?}", answer.status);
        if is(&options.not_applied, &options.not_applied_match) {
            let leader = hint(options, dial, answer);
            return Err(Refusal::NotApplied { leader, why });
        }
        let ok = &operation.ok_match;
        let matches = ok.as_ref().is_none_or(|pattern| pattern.is_in(&text));
        Ok(Seen {
            absent: is(&operation.absent, &operation.absent_match),
            differed: is(&operation.differed, &operation.differed_match),
            accepted: (200..300).contains(&answer.status) && matches,
            why,
        })
    }
}

/// What the answer to an operation of another data type means.
fn told(
    seen: Seen,
    asked: &types::Asked,
    answer: &Answered,
    operation: &HttpOperation,
) -> Result<Reply<types::Outcome>, Refusal> {
    let Seen {
        absent,
        differed,
        accepted,
        why,
    } = seen;
    let tells = asked.reads() || typed::TELLING.contains(&asked.act);
    if absent && tells {
        return Ok(Reply::answered(typed::found(asked, Datum::Nil)));
    }
    if differed && !asked.reads() {
        return Ok(Reply::declined(why));
    }
    if !accepted {
        return Err(Refusal::Unknown { why });
    }
    if !tells {
        return Ok(Reply::answered(Datum::Nil));
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let found = match (&body, operation.value.as_str()) {
        (None, "") => {
            let text = String::from_utf8_lossy(&answer.body);
            Some(Datum::Text(text.trim().to_owned()))
        }
        (None, _) => None,
        (Some(body), pointer) => body.pointer(pointer).map(Datum::of_json),
    };
    match found {
        Some(found) => Ok(Reply::answered(typed::found(asked, typed::decimal(found)))),
        None => Err(Refusal::unknown(format!(
            "{UNUSABLE}: {why}, and has nothing at {:?}",
            operation.value
        ))),
    }
}

fn understood(
    options: &HttpOptions,
    dial: &Dial,
    operation: &HttpOperation,
    node: u64,
    call: Call,
    answer: &Answered,
) -> Result<Reply, Refusal> {
    let Seen {
        absent,
        differed,
        accepted,
        why,
    } = Seen::of(options, dial, operation, node, answer)?;
    let is_read = call == Call::Read;
    if is_read && absent {
        return Ok(Reply::ok(None));
    }
    if matches!(call, Call::Cas { .. }) && differed {
        return Ok(match &operation.found {
            Some(pointer) => Reply::compared(node, value(&answer.body, pointer)),
            None => Reply::refused(why),
        });
    }
    if !accepted {
        return Err(Refusal::Unknown { why });
    }
    if is_read {
        return Ok(Reply::read(node, value(&answer.body, &operation.value)));
    }
    Ok(Reply::ok(None))
}

/// Who leads, as a refusal says.
fn hint(options: &HttpOptions, dial: &Dial, answer: &Answered) -> Option<u64> {
    let by_pointer = || {
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let leader = answer.pointer(options.leader.as_deref()?)?;
        let text = leader.as_str().map(|text| text.trim_start_matches('n'));
        leader.as_u64().or_else(|| text?.parse().ok())
    };
    let by_location = || {
        let location = answer.location.as_deref()?;
        let host = location.split_once("://")?.1;
        dial.node_at(host.split('/').next()?)
    };
    by_pointer().or_else(by_location)
}

/// The value at a place of an answer.
fn value(body: &[u8], pointer: &str) -> Result<Option<Value>, String> {
    if pointer.is_empty()
        && std::str::from_utf8(body).is_ok_and(|text| text.trim().parse::<Value>().is_ok())
    {
        return decode(body).map(Some);
    }
    let start = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Err(format!("{start:?} is no number, and no JSON"));
    };
    match answer.pointer(pointer) {
        Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::Number(number)) if number.is_i64() => Ok(number.as_i64()),
        Some(serde_json::Value::String(text)) => decode(text.as_bytes()).map(Some),
        Some(other) => Err(format!("{other} is no number")),
        None => Err(format!("{start:?} has nothing at {pointer:?}")),
    }
}
