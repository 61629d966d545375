//! Kiwi's gRPC protocol of clients, and what its answers prove.
//!
//! Nothing but the node's own word proves that a request was never applied (`kiwi-outcome: not-applied`), or that it
//! never left, because the connection could not be made or did not answer a question that was asked before it. A status
//! without that word, or with `kiwi-outcome: unknown`, leaves a write unknown, whatever its code: servers, proxies and
//! libraries use the same codes for requests that were carried out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use checkers::history::{At, Call, Outcome, Value};
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::session::Numbered;
use crate::host::{Cost, Shortages};
use crate::shortage::Shortage;
use crate::target::client::ClientConfig;
use crate::target::protocol::{Protocol, Refusal, Reply};
use crate::wire::kiwi;
use crate::wire::metadata::{AuthorizedChannel, Credentials, NOT_APPLIED, OUTCOME, Token};
use kiwi::raft_client_service_client::RaftClientServiceClient;
use kiwi::raft_metrics_service_client::RaftMetricsServiceClient;

/// A connection that is not made in this time is given up: less than an election.
const CONNECT_WITHIN: Duration = Duration::from_millis(250);
/// Between two tries of a connection that the host has no port or descriptor for.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// Asks one node at a time.
#[derive(Debug)]
pub(super) struct KiwiProtocol {
    dial: BTreeMap<u64, SocketAddr>,
    token: Option<Token>,
    deadline: Duration,
    connections: BTreeMap<u64, AuthorizedChannel>,
    connect_within: Duration,
    shortages: Shortages,
    /// Under which number the next request goes out.
    pub(super) as_of: Numbered,
}

impl KiwiProtocol {
    /// For calls that carry this token. It is noted where the host has no descriptor or port for a connection.
    pub(super) fn new(
        config: &ClientConfig,
        token: Option<Token>,
        shortages: Shortages,
    ) -> KiwiProtocol {
        KiwiProtocol {
            dial: config.dial.clone(),
            token,
            deadline: config.deadline,
            connections: BTreeMap::new(),
            connect_within: match config.patient {
                true => config.deadline,
                false => CONNECT_WITHIN,
            },
            shortages,
            as_of: Numbered::default(),
        }
    }

    async fn ask_node(
        &mut self,
        node: u64,
        key: &str,
        call: Call,
        deadline: Instant,
    ) -> Result<Reply, Refusal> {
        let as_of = self.as_of;
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

impl Protocol for KiwiProtocol {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        Box::pin(self.ask_node(node, key, call, deadline))
    }

    fn reset(&mut self) {
        self.connections.clear();
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
}
