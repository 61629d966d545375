//! etcd's protocol, version 3, over gRPC: Range, Put, DeleteRange, and Txn for a cas.
//!
//! No failure of etcd's proves that a write was not applied but a Txn that says that its condition did not hold: it gives
//! the same codes to what it has proposed and to what it has not. What proves it otherwise is that the request never
//! left: a connection that was not made, or did not answer the question that it is asked first.
//!
//! The connection is one of hyper's, without the layer that connects again and buffers: it asks once.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use checkers::history::{Call, Value};
use futures::future::BoxFuture;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::dial::{Dial, unanswered};
use super::{Protocol, Refusal, Reply, decode, encode, no_such};
use crate::wire::etcd::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::wire::etcd::kv_client::KvClient;
use crate::wire::etcd::{self, request_op, response_op};

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EtcdReads {
    /// What etcd does unless told otherwise.
    Linearizable,
    /// The member's own state, which may be old.
    Serializable,
}

impl EtcdReads {
    /// Every one; the first is meant where nothing is said.
    pub const ALL: [Self; 2] = [Self::Linearizable, Self::Serializable];

    /// As files name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Serializable => "serializable",
        }
    }
}

/// A client of etcd.
#[derive(Debug)]
pub struct Etcd {
    dial: Dial,
    reads: EtcdReads,
    connections: BTreeMap<u64, Connection>,
}

/// One connection of HTTP/2, as a service that gRPC can be spoken to.
#[derive(Clone, Debug)]
struct Connection {
    sender: http2::SendRequest<Body>,
    origin: http::Uri,
}

impl Connection {
    fn client(&self) -> KvClient<Connection> {
        KvClient::with_origin(self.clone(), self.origin.clone())
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

impl Etcd {
    /// A client of members that ask for no password.
    #[must_use]
    pub fn new(dial: Dial, reads: EtcdReads) -> Etcd {
        Etcd {
            dial,
            reads,
            connections: BTreeMap::new(),
        }
    }

    /// A connection that has answered: the kept one, if it is still there, or a new one.
    async fn connection(&mut self, node: u64, deadline: Instant) -> Result<Connection, Refusal> {
        if let Some(kept) = self
            .connections
            .remove(&node)
            .filter(|kept| !kept.sender.is_closed())
        {
            return Ok(kept);
        }
        let due = self.dial.due(deadline);
        let stream = self.dial.connect(node, due).await?;
        let never = |why: String| Refusal::not_applied(format!("no connection to n{node}: {why}"));
        let origin = match stream.peer_addr() {
            Ok(peer) => format!("http://{peer}").parse::<http::Uri>(),
            Err(error) => return Err(never(error.to_string())),
        };
        let origin = origin.map_err(|error| never(error.to_string()))?;
        let shake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, driver) = match timeout_at(due, shake).await {
            Err(_) => return Err(unanswered(node)),
            Ok(Err(error)) => return Err(never(error.to_string())),
            Ok(Ok(made)) => made,
        };
        // It ends with the last sender, or with an error that whoever waits for an answer is told.
        tokio::spawn(async move { drop(driver.await) });
        let connection = Connection { sender, origin };
        if !self.dial.asks_first() {
            return Ok(connection);
        }
        // Answered from the member's own state: whether it has a leader does not matter.
        let question = etcd::RangeRequest {
            key: Bytes::from_static(b"\0"),
            serializable: true,
        };
        match timeout_at(due, connection.client().range(question)).await {
            Err(_) => Err(unanswered(node)),
            Ok(Err(status)) => Err(never(words(&status))),
            Ok(Ok(_)) => Ok(connection),
        }
    }

    async fn perform(
        &mut self,
        node: u64,
        key: &str,
        call: Call,
        deadline: Instant,
    ) -> Result<Reply, Refusal> {
        if matches!(call, Call::Append(_)) {
            return Err(no_such(call));
        }
        let connection = self.connection(node, deadline).await?;
        let key = Bytes::copy_from_slice(key.as_bytes());
        let asked = ask(connection.client(), node, key, call, self.reads);
        match timeout_at(deadline, asked).await {
            Err(_) => Err(Refusal::unknown(format!("n{node} did not answer in time"))),
            Ok(Err(status)) => {
                let why = words(&status);
                Err(Refusal::unknown(format!("n{node}: {why}")))
            }
            Ok(Ok(reply)) => {
                self.connections.insert(node, connection);
                reply
            }
        }
    }
}

impl Protocol for Etcd {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        Box::pin(self.perform(node, key, call, deadline))
    }

    fn reset(&mut self) {
        self.connections.clear();
    }
}

/// Asks for an operation that etcd has a request for.
async fn ask(
    mut client: KvClient<Connection>,
    node: u64,
    key: Bytes,
    call: Call,
    reads: EtcdReads,
) -> Result<Result<Reply, Refusal>, Status> {
    let done = Ok(Ok(Reply::ok(None)));
    match call {
        Call::Read => {
            let serializable = reads == EtcdReads::Serializable;
            let answer = client
                .range(etcd::RangeRequest { key, serializable })
                .await?;
            Ok(Ok(Reply::read(node, value(&answer.into_inner()))))
        }
        Call::Write(value) => {
            let value = encode(value);
            client.put(etcd::PutRequest { key, value }).await?;
            done
        }
        Call::Delete => {
            client
                .delete_range(etcd::DeleteRangeRequest { key })
                .await?;
            done
        }
        Call::Cas { old, new } => {
            let answer = client.txn(compare_and_set(key, old, new)).await?;
            Ok(compared(node, answer.into_inner()))
        }
        Call::Append(_) => unreachable!("etcd has no such request"),
    }
}

fn compare_and_set(key: Bytes, old: Value, new: Value) -> etcd::TxnRequest {
    let step = |request| {
        vec![etcd::RequestOp {
            request: Some(request),
        }]
    };
    etcd::TxnRequest {
        compare: vec![etcd::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Value.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::Value(encode(old))),
        }],
        success: step(request_op::Request::RequestPut(etcd::PutRequest {
            key: key.clone(),
            value: encode(new),
        })),
        // What it compared with, at the same revision. Within a transaction it is as linearizable as that is.
        failure: step(request_op::Request::RequestRange(etcd::RangeRequest {
            key,
            serializable: false,
        })),
    }
}

fn compared(node: u64, answer: etcd::TxnResponse) -> Result<Reply, Refusal> {
    if answer.succeeded {
        return Ok(Reply::ok(None));
    }
    let step = answer
        .responses
        .into_iter()
        .next()
        .and_then(|step| step.response);
    match step {
        Some(response_op::Response::ResponseRange(found)) => {
            Ok(Reply::compared(node, value(&found)))
        }
        other => Err(Refusal::unknown(format!(
            "n{node} answered a cas by {other:?}"
        ))),
    }
}

fn value(answer: &etcd::RangeResponse) -> Result<Option<Value>, String> {
    match answer.kvs.as_slice() {
        [] => Ok(None),
        [one] => decode(&one.value).map(Some),
        several => Err(format!("{} values for one key", several.len())),
    }
}

fn words(status: &Status) -> String {
    match (status.message(), status.code()) {
        ("", code) => code.to_string(),
        (message, Code::Unknown) => message.to_owned(),
        (message, code) => format!("{message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use checkers::history::Outcome;

    use super::*;

    fn found(values: &[&'static str]) -> etcd::RangeResponse {
        let pair = |value: &&'static str| etcd::KeyValue {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(value.as_bytes()),
        };
        etcd::RangeResponse {
            kvs: values.iter().map(pair).collect(),
            ..etcd::RangeResponse::default()
        }
    }

    #[test]
    fn a_value_is_a_number_or_nothing_and_never_guessed() {
        assert_eq!(value(&found(&[])), Ok(None));
        assert_eq!(value(&found(&["-7"])), Ok(Some(-7)));
        assert!(value(&found(&["seven"])).is_err());
        assert!(value(&found(&["1", "2"])).is_err());
    }

    #[test]
    fn a_transaction_says_whether_its_condition_held_and_what_was_there() {
        let answer = |succeeded, step: Option<etcd::RangeResponse>| etcd::TxnResponse {
            succeeded,
            responses: step
                .map(|found| etcd::ResponseOp {
                    response: Some(response_op::Response::ResponseRange(found)),
                })
                .into_iter()
                .collect(),
            ..etcd::TxnResponse::default()
        };
        for (succeeded, step, expected) in [
            (true, None, Some(Outcome::Ok(None))),
            (false, Some(found(&["9"])), Some(Outcome::Differed(Some(9)))),
            (false, Some(found(&[])), Some(Outcome::Differed(None))),
            (false, Some(found(&["x"])), Some(Outcome::Failed)),
            (false, None, None),
        ] {
            let reply = compared(1, answer(succeeded, step.clone())).ok();
            assert_eq!(
                reply.map(|reply| reply.outcome),
                expected,
                "{succeeded} {step:?}"
            );
        }
    }
}
