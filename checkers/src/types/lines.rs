//! Events of a data type as lines of our own format: written by a run and by the generator, read back with the marks
//! between them.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Datum;
use super::operation::{Event, Phase};
use crate::history::{self, EventKind};

/// Writes one event as one line.
///
/// # Errors
/// When `out` does.
pub fn write_event(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let mut line = json!({
        "index": event.index,
        "time_ns": event.time_ns,
        "client": event.client,
        "type": event.phase.name(),
        "f": event.f,
        "value": event.value.json(),
    });
    if let Some(key) = &event.key {
        line["key"] = key.json();
    }
    if let Some(node) = event.node {
        line["node"] = json!(node);
    }
    if let Some(error) = &event.error {
        line["error"] = json!(error);
    }
    writeln!(out, "{line}")
}

/// Reads a line as a run has written it.
///
/// # Errors
/// When it is none, in words.
pub fn read_event(line: &[u8]) -> Result<history::Event, String> {
    let line: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let number = |name: &str| line.get(name).and_then(Value::as_u64);
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let index = number("index").ok_or("an event without an index")?;
    let time_ns = number("time_ns").unwrap_or_default();
    let aside = |kind| history::Event {
        index,
        time_ns,
        client: None,
        node: None,
        kind,
    };
    let phase = match text("type") {
        Some("mark") => {
            let mark = text("value").ok_or("a mark without a text")?;
            return Ok(aside(EventKind::Mark(mark.to_owned())));
        }
        Some("gap") => {
            let lost = number("lost").ok_or("a gap that does not say how many events are lost")?;
            return Ok(aside(EventKind::Gap { lost }));
        }
        Some("invoke") => Phase::Invoke,
        Some("ok") => Phase::Ok,
        Some("fail") => Phase::Fail,
        Some("info") => Phase::Info,
        other => return Err(format!("{other:?} is no type of an event")),
    };
    let event = Event {
        index,
        time_ns,
        client: number("client").ok_or("an operation without a client")?,
        phase,
        f: text("f").unwrap_or_default().to_owned(),
        key: line
            .get("key")
            .filter(|key| !key.is_null())
            .map(Datum::of_json),
        value: line.get("value").map_or(Datum::Nil, Datum::of_json),
        node: number("node"),
        error: text("error").map(str::to_owned),
    };
    Ok(event.into())
}

/// A run's history without what is no operation, byte for byte in its place: marks become blanks, and so does a last line
/// that was cut off. Gives also the first event that is lost in a gap; what comes after it is left out.
#[must_use]
pub(crate) fn operations_only(bytes: &[u8]) -> (Vec<u8>, Option<u64>) {
    let mut kept = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let aside = |kind: &str| {
            let said = format!("\"type\":\"{kind}\"");
            let at = line
                .windows(said.len())
                .position(|part| part == said.as_bytes());
            at.and_then(|_| serde_json::from_slice::<Value>(line).ok())
                .filter(|line| line.get("type").and_then(Value::as_str) == Some(kind))
        };
        let cut_off = || {
            let ends = line.ends_with(b"\n") || line.ends_with(b"}");
            !ends && line.trim_ascii_start().starts_with(b"{")
        };
        if let Some(gap) = aside("gap") {
            return (kept, gap.get("index").and_then(Value::as_u64));
        }
        match aside("mark").is_some() || cut_off() {
            true => kept.extend(
                line.iter()
                    .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }),
            ),
            false => kept.extend_from_slice(line),
        }
    }
    (kept, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_has_written_is_read_back_with_its_marks() {
        let event = Event {
            index: 3,
            time_ns: 7,
            client: 2,
            phase: Phase::Ok,
            f: "read".to_owned(),
            key: Some(Datum::Text("k1".to_owned())),
            value: Datum::List(vec![Datum::Int(1), Datum::Nil, Datum::Edn(":a".to_owned())]),
            node: Some(2),
            error: Some("late".to_owned()),
        };
        let mut line = Vec::new();
        write_event(&mut line, &event).unwrap();
        assert_eq!(read_event(&line), Ok(event.into()));
        let mark = br#"{"index":4,"time_ns":8,"type":"mark","value":"phase running"}"#;
        let mark = read_event(mark).unwrap();
        assert_eq!(mark.kind, EventKind::Mark("phase running".to_owned()));
        assert!(read_event(b"{}").is_err());
    }

    #[test]
    fn what_is_no_operation_is_blank_and_what_is_behind_a_gap_is_left_out() {
        let text = "{\"index\":0,\"type\":\"mark\",\"value\":\"x\"}\n{\"index\":1}\n{\"ind";
        let (kept, gap) = operations_only(text.as_bytes());
        let kept = String::from_utf8(kept).unwrap();
        assert_eq!(
            (kept.len(), kept.trim(), gap),
            (text.len(), "{\"index\":1}", None)
        );
        let text = "{\"index\":1}\n{\"index\":2,\"type\":\"gap\",\"lost\":2}\n{\"index\":4}\n";
        let (kept, gap) = operations_only(text.as_bytes());
        assert_eq!((kept.as_slice(), gap), (&b"{\"index\":1}\n"[..], Some(2)));
    }
}
