//! Maelstrom's messages: JSON objects, one a line, with `src`, `dest` and a `body`; its `lin-kv` bodies, with `delete` beside
//! them, and what its error codes prove.
//!
//! | code | | proves |
//! | --- | --- | --- |
//! | 0, 13, and every one that is not in this table | timeout, crash | nothing |
//! | 1, 10, 11, 12, 14, 30 | node not found, not supported, temporarily unavailable, malformed request, abort, txn conflict | not applied |
//! | 20 | key does not exist | not applied; a read has found nothing, a cas has compared with nothing |
//! | 21 | key already exists | not applied |
//! | 22 | precondition failed | not applied; a cas has compared with something else |

use std::net::SocketAddr;

use checkers::history::{Call, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::{Refusal, Reply, SHOWN, no_such};

/// The errors that prove that a request was not carried out.
pub const DEFINITE: [u64; 9] = [1, 10, 11, 12, 14, 20, 21, 22, 30];
/// A key does not exist.
const NO_KEY: u64 = 20;
/// A cas found another value.
const OTHER_VALUE: u64 = 22;

/// One message: what a line is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it: `n1`, `c7`.
    pub src: String,
    /// Whom it is for.
    pub dest: String,
    /// Where that is, for a client program that dials it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<SocketAddr>,
    /// What it says: `type`, and `msg_id` or `in_reply_to` beside the rest.
    pub body: Map<String, serde_json::Value>,
}

/// Why a line is no message.
#[derive(Debug, thiserror::Error)]
#[error("{line:?} is no message: {why}")]
pub struct NoMessage {
    line: String,
    why: serde_json::Error,
}

impl Message {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Message, NoMessage> {
        serde_json::from_str(line).map_err(|why| NoMessage {
            line: line.chars().take(SHOWN).collect(),
            why,
        })
    }

    /// The message as a line, with its end.
    ///
    /// # Panics
    /// Never: every message is JSON.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a message is JSON") + "\n"
    }

    /// Its type; empty if it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        kind(&self.body)
    }

    /// The message that it answers.
    #[must_use]
    pub fn in_reply_to(&self) -> Option<u64> {
        self.body.get("in_reply_to")?.as_u64()
    }
}

fn kind(body: &Map<String, serde_json::Value>) -> &str {
    body.get("type")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}

/// A body of these fields.
fn body(fields: serde_json::Value) -> Map<String, serde_json::Value> {
    match fields {
        serde_json::Value::Object(fields) => fields,
        other => unreachable!("{other} is no body"),
    }
}

/// The first message to a node or a client program: who it is, and who the nodes are.
#[must_use]
pub fn init(msg_id: u64, myself: &str, nodes: &[String]) -> Map<String, serde_json::Value> {
    body(json!({ "type": "init", "msg_id": msg_id, "node_id": myself, "node_ids": nodes }))
}

/// Who are neighbours: everybody of everybody.
#[must_use]
pub fn topology(msg_id: u64, nodes: &[String]) -> Map<String, serde_json::Value> {
    let neighbours = |node: &String| -> Vec<&String> {
        let others = nodes.iter().filter(|other| *other != node);
        others.collect()
    };
    let all: std::collections::BTreeMap<&String, Vec<&String>> =
        nodes.iter().map(|node| (node, neighbours(node))).collect();
    body(json!({ "type": "topology", "msg_id": msg_id, "topology": all }))
}

/// What an operation is asked by.
///
/// # Errors
/// If there is no such request.
pub fn request(
    msg_id: u64,
    key: &str,
    call: Call,
) -> Result<Map<String, serde_json::Value>, Refusal> {
    Ok(body(match call {
        Call::Read => json!({ "type": "read", "msg_id": msg_id, "key": key }),
        Call::Write(value) => {
            json!({ "type": "write", "msg_id": msg_id, "key": key, "value": value })
        }
        Call::Cas { old, new } => {
            json!({ "type": "cas", "msg_id": msg_id, "key": key, "from": old, "to": new })
        }
        Call::Delete => json!({ "type": "delete", "msg_id": msg_id, "key": key }),
        Call::Append(_) => return Err(no_such(call)),
    }))
}

/// What the answer to an operation means.
///
/// # Errors
/// If it is refused, or proves nothing.
pub fn answer(
    node: u64,
    call: Call,
    body: &Map<String, serde_json::Value>,
) -> Result<Reply, Refusal> {
    let expected = match call {
        Call::Read => "read_ok",
        Call::Write(_) => "write_ok",
        Call::Cas { .. } => "cas_ok",
        Call::Delete => "delete_ok",
        Call::Append(_) => return Err(no_such(call)),
    };
    match kind(body) {
        "error" => error(node, call, body),
        said if said == expected && call == Call::Read => {
            Ok(Reply::read(node, value(body.get("value"))))
        }
        said if said == expected => Ok(Reply::ok(None)),
        said => Err(Refusal::unknown(format!("n{node} answered {said:?}"))),
    }
}

fn error(node: u64, call: Call, body: &Map<String, serde_json::Value>) -> Result<Reply, Refusal> {
    let code = body.get("code").and_then(serde_json::Value::as_u64);
    let text = body
        .get("text")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    let why = match code {
        Some(code) => format!("n{node}: error {code}: {text}"),
        None => format!("n{node}: an error without a code: {text}"),
    };
    let Some(code) = code.filter(|code| DEFINITE.contains(code)) else {
        return Err(Refusal::Unknown { why });
    };
    match (code, call) {
        (NO_KEY, Call::Read) => Ok(Reply::ok(None)),
        (NO_KEY, Call::Cas { .. }) => Ok(Reply::differed(None)),
        // A client program may say what was there.
        (OTHER_VALUE, Call::Cas { .. }) => Ok(match body.get("value") {
            Some(found) => Reply::compared(node, value(Some(found))),
            None => Reply::refused(why),
        }),
        _ => {
            let leader = body.get("leader").and_then(serde_json::Value::as_str);
            let leader = leader.and_then(|leader| leader.strip_prefix('n')?.parse().ok());
            Err(Refusal::NotApplied { leader, why })
        }
    }
}

fn value(said: Option<&serde_json::Value>) -> Result<Option<Value>, String> {
    match said {
        Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::Number(number)) if number.is_i64() => Ok(number.as_i64()),
        Some(serde_json::Value::String(text)) => super::decode(text.as_bytes()).map(Some),
        Some(other) => Err(format!("{other} is no number")),
        None => Err("it has no value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use checkers::history::Outcome;

    use super::*;

    fn outcome(call: Call, fields: serde_json::Value) -> Option<Outcome> {
        answer(1, call, &body(fields))
            .ok()
            .map(|reply| reply.outcome)
    }

    #[test]
    fn an_error_is_definite_by_its_code_and_only_by_that() {
        let (write, cas) = (Call::Write(1), Call::Cas { old: 1, new: 2 });
        for code in 0..40_u64 {
            let refused = answer(1, write, &body(json!({ "type": "error", "code": code })));
            let definite = matches!(refused, Err(Refusal::NotApplied { .. }));
            assert_eq!(definite, DEFINITE.contains(&code), "{code}");
        }
        let error = |code: u64| json!({ "type": "error", "code": code, "text": "no" });
        assert_eq!(outcome(Call::Read, error(20)), Some(Outcome::Ok(None)));
        assert_eq!(outcome(Call::Read, error(11)), None);
        assert_eq!(outcome(cas, error(20)), Some(Outcome::Differed(None)));
        assert_eq!(outcome(cas, error(22)), Some(Outcome::Failed));
        let found = json!({ "type": "error", "code": 22, "value": 9 });
        assert_eq!(outcome(cas, found), Some(Outcome::Differed(Some(9))));
        assert_eq!(outcome(write, json!({ "type": "error" })), None);
        assert_eq!(
            outcome(write, json!({ "type": "error", "code": "11" })),
            None
        );
    }

    #[test]
    fn an_answer_of_another_type_proves_nothing() {
        let write = Call::Write(1);
        assert_eq!(
            outcome(write, json!({ "type": "write_ok" })),
            Some(Outcome::Ok(None))
        );
        assert_eq!(
            outcome(write, json!({ "type": "read_ok", "value": 1 })),
            None
        );
        assert_eq!(outcome(write, json!({})), None);
        let read = |value: serde_json::Value| {
            outcome(Call::Read, json!({ "type": "read_ok", "value": value }))
        };
        assert_eq!(read(json!(-3)), Some(Outcome::Ok(Some(-3))));
        assert_eq!(read(json!("17")), Some(Outcome::Ok(Some(17))));
        assert_eq!(read(json!(null)), Some(Outcome::Ok(None)));
        assert_eq!(read(json!(1.5)), Some(Outcome::Failed));
        assert_eq!(
            outcome(Call::Read, json!({ "type": "read_ok" })),
            Some(Outcome::Failed)
        );
    }

    #[test]
    fn a_message_is_a_line() {
        let message = Message {
            src: "c7".to_owned(),
            dest: "n2".to_owned(),
            addr: Some("127.9.4.2:4102".parse().unwrap()),
            body: request(9, "k3", Call::Cas { old: 5, new: 11 }).unwrap(),
        };
        let line = message.line();
        assert_eq!(
            line,
            "{\"src\":\"c7\",\"dest\":\"n2\",\"addr\":\"127.9.4.2:4102\",\"body\":{\"from\":5,\"key\":\"k3\",\"msg_id\":9,\"to\":11,\"type\":\"cas\"}}\n"
        );
        assert_eq!(Message::parse(&line).unwrap(), message);
        assert!(Message::parse("ready").is_err());
    }
}
