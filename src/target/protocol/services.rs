//! Maelstrom's services: stores and a clock that a node may ask by name, as it asks another node.
//!
//! | name | answers |
//! | --- | --- |
//! | `lin-kv`, `seq-kv`, `lww-kv` | `read`, `write`, `cas` (with `create_if_not_exists`): error 20 where there is no such key, 22 where it holds another value |
//! | `lin-tso` | `ts`: a number that is larger than every one before |
//!
//! All of them answer at once and in one order: what `seq-kv` and `lww-kv` promise less, they do not use. No fault meets
//! them, and they outlive every node.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::maelstrom::Message;

/// The stores' names.
const STORES: [&str; 3] = ["lin-kv", "seq-kv", "lww-kv"];
/// The clock's.
const CLOCK: &str = "lin-tso";

/// What the services of one run hold.
#[derive(Debug, Default)]
pub struct Services {
    /// By service and key; keys are whatever JSON they are.
    held: BTreeMap<(String, String), Value>,
    last: u64,
}

impl Services {
    /// What a service says to a message; `None` where it is for no service, or asks for no answer.
    pub fn answer(&mut self, message: &Message) -> Option<Message> {
        let name = message.dest.as_str();
        if !STORES.contains(&name) && name != CLOCK {
            return None;
        }
        let asked = message.body.get("msg_id")?.clone();
        let mut body = match name {
            CLOCK => self.time(message.kind()),
            store => self.stored(store, &message.body, message.kind()),
        };
        body.insert("in_reply_to".to_owned(), asked);
        Some(Message {
            src: name.to_owned(),
            dest: message.src.clone(),
            addr: None,
            body,
        })
    }

    /// Whether a name is a service's.
    #[must_use]
    pub fn has(name: &str) -> bool {
        STORES.contains(&name) || name == CLOCK
    }

    fn time(&mut self, kind: &str) -> Map<String, Value> {
        match kind {
            "ts" => {
                self.last += 1;
                fields(json!({ "type": "ts_ok", "ts": self.last }))
            }
            other => unsupported(CLOCK, other),
        }
    }

    fn stored(&mut self, store: &str, body: &Map<String, Value>, kind: &str) -> Map<String, Value> {
        let field = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
        let at = (store.to_owned(), field("key").to_string());
        let held = self.held.get(&at);
        match kind {
            "read" => match held {
                Some(value) => fields(json!({ "type": "read_ok", "value": value })),
                None => no_key(),
            },
            "write" => {
                self.held.insert(at, field("value"));
                fields(json!({ "type": "write_ok" }))
            }
            "cas" => {
                let creates = body.get("create_if_not_exists") == Some(&Value::Bool(true));
                match held {
                    None if !creates => return no_key(),
                    Some(value) if *value != field("from") => {
                        let text = format!("expected {}, but had {value}", field("from"));
                        return fields(json!({ "type": "error", "code": 22, "text": text }));
                    }
                    _ => {}
                }
                self.held.insert(at, field("to"));
                fields(json!({ "type": "cas_ok" }))
            }
            other => unsupported(store, other),
        }
    }
}

fn no_key() -> Map<String, Value> {
    fields(json!({ "type": "error", "code": 20, "text": "key does not exist" }))
}

fn unsupported(service: &str, kind: &str) -> Map<String, Value> {
    let text = format!("{service} has no {kind:?}");
    fields(json!({ "type": "error", "code": 10, "text": text }))
}

fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        other => unreachable!("{other} has no fields"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(services: &mut Services, to: &str, body: Value) -> Value {
        let mut body = fields(body);
        body.insert("msg_id".to_owned(), json!(7));
        let message = Message {
            src: "n2".to_owned(),
            dest: to.to_owned(),
            addr: None,
            body,
        };
        let answer = services.answer(&message).expect("it answers");
        assert_eq!((answer.src.as_str(), answer.dest.as_str()), (to, "n2"));
        assert_eq!(answer.in_reply_to(), Some(7));
        let mut body = answer.body;
        body.remove("in_reply_to");
        body.remove("text");
        Value::Object(body)
    }

    #[test]
    fn a_store_reads_what_was_written_and_compares_before_it_sets() {
        let mut services = Services::default();
        for store in STORES {
            let mut ask = |body| ask(&mut services, store, body);
            let error = |code: u64| json!({ "type": "error", "code": code });
            let read = || json!({ "type": "read", "key": ["a", 1] });
            let cas = |from: u64, creates: bool| json!({ "type": "cas", "key": ["a", 1], "from": from, "to": 2, "create_if_not_exists": creates });
            assert_eq!(ask(read()), error(20));
            assert_eq!(ask(cas(1, false)), error(20));
            assert_eq!(ask(cas(1, true)), json!({ "type": "cas_ok" }));
            assert_eq!(ask(read()), json!({ "type": "read_ok", "value": 2 }));
            assert_eq!(ask(cas(1, true)), error(22));
            let write = json!({ "type": "write", "key": ["a", 1], "value": { "x": 1 } });
            assert_eq!(ask(write), json!({ "type": "write_ok" }));
            assert_eq!(
                ask(read()),
                json!({ "type": "read_ok", "value": { "x": 1 } })
            );
            assert_eq!(ask(json!({ "type": "read", "key": "a" })), error(20));
            assert_eq!(ask(json!({ "type": "ts" })), error(10));
        }
    }

    #[test]
    fn a_clock_only_rises_and_nobody_else_is_a_service() {
        let mut services = Services::default();
        let mut ts = || ask(&mut services, "lin-tso", json!({ "type": "ts" }))["ts"].as_u64();
        assert!(ts() < ts());
        assert!(Services::has("seq-kv") && !Services::has("n1") && !Services::has("c0"));
    }
}
