//! Operations of data types beside the register as bodies of messages: those of Maelstrom's workloads, and plain ones for a
//! client program of one's own.
//!
//! | workload | asked | answered |
//! | --- | --- | --- |
//! | `unique-ids` | `generate` | `generate_ok` with `id` |
//! | `lin-tso` | `ts` | `ts_ok` with `ts` |
//! | `broadcast` | `broadcast` with `message`; `read` | `read_ok` with `messages` |
//! | `g-set` | `add` with `element`; `read` | `read_ok` with `value` |
//! | `counter` | `add` with `delta`; `read` | `read_ok` with `value` |
//! | `kafka` | `send` with `key` and `msg`; `poll` with `offsets` | `send_ok` with `offset`; `poll_ok` with `msgs` |
//! | `plain` | the operation's own name, with `key` and `value` | `NAME_ok` with `value` |
//!
//! Errors are those of [`maelstrom`](super::maelstrom): one of a definite code says that nothing was done.

use checkers::types::{Asked, DataType, Datum, Outcome};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::maelstrom::DEFINITE;
use super::{Refusal, Reply};

/// By which messages operations are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Reads, writes and compare-and-sets of keys.
    LinKv,
    /// Ids that nobody else is given.
    UniqueIds,
    /// Timestamps that rise.
    LinTso,
    /// Messages that everybody has in the end.
    Broadcast,
    /// A set that only grows.
    GSet,
    /// A counter.
    Counter,
    /// Logs whose entries have offsets.
    Kafka,
    /// Whatever the type's operations are called.
    Plain,
}

impl Workload {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::LinKv,
        Self::UniqueIds,
        Self::LinTso,
        Self::Broadcast,
        Self::GSet,
        Self::Counter,
        Self::Kafka,
        Self::Plain,
    ];

    /// As files name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LinKv => "lin-kv",
            Self::UniqueIds => "unique-ids",
            Self::LinTso => "lin-tso",
            Self::Broadcast => "broadcast",
            Self::GSet => "g-set",
            Self::Counter => "counter",
            Self::Kafka => "kafka",
            Self::Plain => "plain",
        }
    }

    /// The one that is meant where a file does not say; `None` is a register.
    #[must_use]
    pub fn of(of: Option<&dyn DataType>) -> Self {
        match of.map(DataType::name) {
            None => Self::LinKv,
            Some("ids") => Self::UniqueIds,
            Some("increasing-ids") => Self::LinTso,
            Some("set") => Self::GSet,
            Some("eventual-set") => Self::Broadcast,
            Some("counter") => Self::Counter,
            Some("log") => Self::Kafka,
            Some(_) => Self::Plain,
        }
    }

    /// Whether its operations can be those of this type.
    #[must_use]
    pub fn fits(self, of: Option<&dyn DataType>) -> bool {
        let name = of.map(DataType::name);
        match self {
            Self::LinKv => name.is_none(),
            Self::UniqueIds | Self::LinTso => matches!(name, Some("ids" | "increasing-ids")),
            Self::Broadcast | Self::GSet => matches!(name, Some("set" | "eventual-set")),
            Self::Counter => name == Some("counter"),
            Self::Kafka => name == Some("log"),
            Self::Plain => name.is_some(),
        }
    }

    /// Whether it has several objects, each with a key.
    #[must_use]
    pub fn has_keys(self) -> bool {
        matches!(self, Self::LinKv | Self::Kafka | Self::Plain)
    }
}

/// Operations whose answer says more than that they were done, beside reads.
pub const TELLING: [&str; 4] = ["append", "generate", "dequeue", "drain"];

type Body = Map<String, Value>;

fn body(fields: Value) -> Body {
    match fields {
        Value::Object(fields) => fields,
        other => unreachable!("{other} is no body"),
    }
}

fn key(asked: &Asked) -> String {
    asked
        .key
        .as_ref()
        .map_or_else(String::new, Datum::to_string)
}

/// What an operation is asked by.
#[must_use]
pub fn request(workload: Workload, msg_id: u64, asked: &Asked) -> Body {
    let with = asked.with.json();
    let mut body = body(match (workload, asked.act) {
        (Workload::LinTso, _) => json!({ "type": "ts" }),
        (Workload::Broadcast, "add") => json!({ "type": "broadcast", "message": with }),
        (Workload::GSet, "add") => json!({ "type": "add", "element": with }),
        (Workload::Counter, "add") => json!({ "type": "add", "delta": with }),
        (Workload::Kafka, "append") => json!({ "type": "send", "key": key(asked), "msg": with }),
        (Workload::Kafka, _) => json!({ "type": "poll", "offsets": { (key(asked)): with } }),
        (Workload::Plain, act) => {
            let mut fields = json!({ "type": act });
            if let Some(key) = &asked.key {
                fields["key"] = key.json();
            }
            if !asked.with.is_nil() {
                fields["value"] = with;
            }
            fields
        }
        // Whether a read is the last one is nobody's business but the judge's.
        (_, act) if asked.reads() && act != "read" => json!({ "type": "read" }),
        (_, act) => json!({ "type": act }),
    });
    body.insert("msg_id".to_owned(), json!(msg_id));
    body
}

/// What the answer to an operation means.
///
/// # Errors
/// If it is refused, proves nothing, or cannot be an answer.
pub fn answer(
    workload: Workload,
    node: u64,
    asked: &Asked,
    body: &Body,
) -> Result<Reply<Outcome>, Refusal> {
    let said = body.get("type").and_then(Value::as_str).unwrap_or_default();
    if said == "error" {
        return error(node, asked, body);
    }
    let request = request(workload, 0, asked);
    let wanted = request["type"].as_str().unwrap_or_default();
    if said.strip_suffix("_ok") != Some(wanted) {
        return Err(Refusal::unknown(format!("n{node} answered {said:?}")));
    }
    let told = |name: &str| {
        body.get(name)
            .map(Datum::of_json)
            .ok_or_else(|| unusable(node, &format!("{said} has no {name:?}")))
    };
    let answer = match (workload, asked.act) {
        (Workload::UniqueIds, _) => told("id")?,
        (Workload::LinTso, _) => told("ts")?,
        (Workload::Broadcast, "read" | "final") => told("messages")?,
        (Workload::GSet | Workload::Counter, "read" | "final") => told("value")?,
        (Workload::Kafka, "append") => found(asked, told("offset")?),
        (Workload::Kafka, _) => polled(node, asked, body)?,
        (Workload::Plain, act) if asked.reads() || TELLING.contains(&act) => {
            found(asked, told("value")?)
        }
        _ => Datum::Nil,
    };
    Ok(Reply::answered(answer))
}

/// What was found, as the answer to what was asked: in a log with its number.
#[must_use]
pub fn found(asked: &Asked, found: Datum) -> Datum {
    match asked.act {
        "append" => numbered(found, asked.with.clone()),
        "read" if !asked.with.is_nil() => numbered(asked.with.clone(), found),
        _ => found,
    }
}

/// The same with numbers for texts that are decimal numbers: that is how values travel where all is text.
#[must_use]
pub fn decimal(datum: Datum) -> Datum {
    match datum {
        Datum::Text(text) => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Datum::Int(number),
            _ => Datum::Text(text),
        },
        Datum::List(items) => Datum::List(items.into_iter().map(decimal).collect()),
        other => other,
    }
}

fn numbered(number: Datum, value: Datum) -> Datum {
    Datum::List(vec![number, value])
}

/// What a poll has found at the number that was asked for. A node may give as few entries as it likes: that nothing is
/// there is said by one that is behind it only.
fn polled(node: u64, asked: &Asked, body: &Body) -> Result<Datum, Refusal> {
    let entries = body.get("msgs").and_then(|all| all.get(key(asked)));
    let entries = entries.and_then(Value::as_array).map(Vec::as_slice);
    let Some(first) = entries.unwrap_or_default().first().map(Datum::of_json) else {
        return Err(Refusal::not_applied(format!("n{node} told nothing")));
    };
    match first.pair() {
        Some((number, _)) if *number == asked.with => Ok(first.clone()),
        Some((number, _)) if *number > asked.with => Ok(numbered(asked.with.clone(), Datum::Nil)),
        _ => Err(unusable(
            node,
            &format!("{first} is no entry from {} on", asked.with),
        )),
    }
}

/// An answer that cannot be one: nobody knows what was done.
fn unusable(node: u64, what: &str) -> Refusal {
    let why = format!("{} of n{node}: {what}", super::UNUSABLE);
    tracing::error!("{why}");
    Refusal::unknown(why)
}

fn error(node: u64, asked: &Asked, body: &Body) -> Result<Reply<Outcome>, Refusal> {
    let code = body.get("code").and_then(Value::as_u64);
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    let why = match code {
        Some(code) => format!("n{node}: error {code}: {text}"),
        None => format!("n{node}: an error without a code: {text}"),
    };
    match code {
        // Precondition failed: it was looked at.
        Some(22) if !asked.reads() => Ok(Reply::declined(why)),
        Some(code) if DEFINITE.contains(&code) => {
            let leader = body.get("leader").and_then(Value::as_str);
            let leader = leader.and_then(|leader| leader.strip_prefix('n')?.parse().ok());
            Err(Refusal::NotApplied { leader, why })
        }
        _ => Err(Refusal::Unknown { why }),
    }
}

#[cfg(test)]
mod tests {
    use checkers::types::{ALL, by_name};

    use super::*;

    fn asked(act: &'static str, with: Datum) -> Asked {
        let key = Some(Datum::Text("k1".to_owned()));
        Asked { key, act, with }
    }

    fn told(workload: Workload, asked: &Asked, fields: Value) -> Option<Outcome> {
        answer(workload, 1, asked, &body(fields))
            .ok()
            .map(|reply| reply.outcome)
    }

    #[test]
    fn maelstroms_workloads_are_asked_and_answered_in_its_words() {
        let id = asked("generate", Datum::Nil);
        let ids = Workload::UniqueIds;
        assert_eq!(
            Value::from(request(ids, 3, &id)),
            json!({"type": "generate", "msg_id": 3})
        );
        let given = told(ids, &id, json!({"type": "generate_ok", "id": "n1-4"}));
        assert_eq!(given, Some(Outcome::Ok(Datum::Text("n1-4".to_owned()))));
        assert_eq!(told(ids, &id, json!({"type": "generate_ok"})), None);
        assert_eq!(told(ids, &id, json!({"type": "read_ok", "id": 4})), None);

        let add = asked("add", Datum::Int(7));
        let all = Workload::Broadcast;
        let request_of = |workload, asked: &Asked| Value::from(request(workload, 1, asked));
        assert_eq!(
            request_of(all, &add),
            json!({"type": "broadcast", "message": 7, "msg_id": 1})
        );
        assert_eq!(
            told(all, &add, json!({"type": "broadcast_ok"})),
            Some(Outcome::Ok(Datum::Nil))
        );
        for act in ["read", "final"] {
            let read = asked(act, Datum::Nil);
            assert_eq!(request_of(all, &read), json!({"type": "read", "msg_id": 1}));
            let found = told(all, &read, json!({"type": "read_ok", "messages": [7]}));
            assert_eq!(found, Some(Outcome::Ok(Datum::List(vec![Datum::Int(7)]))));
        }
        assert_eq!(
            request_of(Workload::GSet, &add),
            json!({"type": "add", "element": 7, "msg_id": 1})
        );
    }

    #[test]
    fn a_poll_tells_of_a_number_what_it_has_and_nothing_where_it_has_nothing_behind_it() {
        let (log, poll) = (Workload::Kafka, asked("read", Datum::Int(4)));
        assert_eq!(
            Value::from(request(log, 1, &poll)),
            json!({"type": "poll", "offsets": {"k1": 4}, "msg_id": 1})
        );
        let told = |entries: Value| {
            told(
                log,
                &poll,
                json!({"type": "poll_ok", "msgs": {"k1": entries}}),
            )
        };
        let pair = |value| Outcome::Ok(numbered(Datum::Int(4), value));
        assert_eq!(told(json!([[4, 9], [5, 8]])), Some(pair(Datum::Int(9))));
        assert_eq!(told(json!([[6, 9]])), Some(pair(Datum::Nil)));
        assert_eq!(told(json!([])), None);
        assert_eq!(told(json!([[2, 9]])), None);
    }

    #[test]
    fn errors_are_definite_by_their_code() {
        let acquire = asked("acquire", Datum::Nil);
        let error = |code: u64| {
            let fields = json!({"type": "error", "code": code, "text": "no"});
            answer(Workload::Plain, 1, &acquire, &body(fields))
        };
        assert!(matches!(error(11), Err(Refusal::NotApplied { .. })));
        assert!(matches!(error(13), Err(Refusal::Unknown { .. })));
        assert!(error(22).is_ok_and(|reply| reply.outcome == Outcome::Failed));
    }

    #[test]
    fn each_type_has_a_workload_that_fits_it() {
        for of in ALL {
            let workload = Workload::of(Some(of));
            assert!(workload.fits(Some(of)), "{}", of.name());
            assert!(!Workload::LinKv.fits(Some(of)));
        }
        assert!(Workload::of(None).fits(None) && !Workload::GSet.fits(None));
        let set = by_name("set");
        assert!(Workload::Broadcast.fits(set) && !Workload::UniqueIds.fits(set));
    }
}
