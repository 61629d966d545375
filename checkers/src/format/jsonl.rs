//! Our own format: one JSON object a line, the first one a header.
//!
//! ```text
//! {"whitewater":1,"spec":"register","seed":7}
//! {"index":0,"time_ns":1200,"client":3,"type":"invoke","f":"write","key":"k1","value":17,"node":2}
//! {"index":1,"time_ns":5100,"client":3,"type":"ok","value":null,"node":2,"at":{"term":1,"index":9}}
//! {"index":2,"time_ns":5200,"type":"mark","value":"kill node 2"}
//! ```
//!
//! `type` is invoke, ok, fail, info (unknown) or mark; `f` is read, write, cas, delete or, where the spec is
//! list-append, append; a cas' value is `[old, new]`. `null` is absent. Completions need not repeat `f` and `key`. A line that was cut off by a crash of
//! its writer is tolerated at the end of the file, and nowhere else.

use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Error, Loaded};
use crate::history::{
    Answer, At, Builder, Call, Event, EventKind, Header, Kind, Names, Nil, Outcome, Value,
};

/// Writes the first line.
///
/// # Errors
/// When `out` does.
pub fn write_header(out: &mut impl Write, header: &Header) -> io::Result<()> {
    serde_json::to_writer(&mut *out, header)?;
    out.write_all(b"\n")
}

/// Writes one event as one line, without allocating. Values are written as integers.
///
/// # Errors
/// When `out` does.
pub fn write_event(out: &mut impl Write, event: &Event) -> io::Result<()> {
    write_named_event(out, event, None)
}

/// Writes one event as one line; values that have a name in `names` are written as that name.
///
/// # Errors
/// When `out` does.
pub fn write_named_event(
    out: &mut impl Write,
    event: &Event,
    names: Option<&Names>,
) -> io::Result<()> {
    write!(
        out,
        r#"{{"index":{},"time_ns":{}"#,
        event.index, event.time_ns
    )?;
    if let Some(client) = event.client {
        write!(out, r#","client":{client}"#)?;
    }
    match &event.kind {
        EventKind::Invoke { key, call } => {
            let f = match call {
                Call::Read => "read",
                Call::Write(_) => "write",
                Call::Cas { .. } => "cas",
                Call::Delete => "delete",
                Call::Append(_) => "append",
            };
            write!(out, r#","type":"invoke","f":"{f}","key":"#)?;
            serde_json::to_writer(&mut *out, key)?;
            match call {
                Call::Read | Call::Delete => {}
                Call::Write(value) | Call::Append(value) => {
                    out.write_all(br#","value":"#)?;
                    write_value(out, *value, names)?;
                }
                Call::Cas { old, new } => {
                    out.write_all(br#","value":["#)?;
                    write_value(out, *old, names)?;
                    out.write_all(b",")?;
                    write_value(out, *new, names)?;
                    out.write_all(b"]")?;
                }
            }
        }
        EventKind::Complete { outcome, .. } => match outcome {
            Outcome::Ok(None) => out.write_all(br#","type":"ok","value":null"#)?,
            Outcome::Ok(Some(value)) => {
                out.write_all(br#","type":"ok","value":"#)?;
                write_value(out, *value, names)?;
            }
            Outcome::Failed => out.write_all(br#","type":"fail""#)?,
            Outcome::Unknown => out.write_all(br#","type":"info""#)?,
        },
        EventKind::Mark(text) => {
            out.write_all(br#","type":"mark","value":"#)?;
            serde_json::to_writer(&mut *out, text)?;
        }
    }
    if let Some(node) = event.node {
        write!(out, r#","node":{node}"#)?;
    }
    if let EventKind::Complete { at, error, .. } = &event.kind {
        if let Some(at) = at {
            write!(out, r#","at":{{"term":{},"index":{}}}"#, at.term, at.index)?;
        }
        if let Some(error) = error {
            out.write_all(br#","error":"#)?;
            serde_json::to_writer(&mut *out, error)?;
        }
    }
    out.write_all(b"}\n")
}

fn write_value(out: &mut impl Write, value: Value, names: Option<&Names>) -> io::Result<()> {
    let Some(names) = names else {
        return write!(out, "{value}");
    };
    if let Some(list) = names.list(value) {
        out.write_all(b"[")?;
        for (i, item) in list.iter().enumerate() {
            if i > 0 {
                out.write_all(b",")?;
            }
            write_value(out, *item, Some(names))?;
        }
        return out.write_all(b"]");
    }
    match names.get(value) {
        Some(name) => Ok(serde_json::to_writer(&mut *out, name)?),
        None => write!(out, "{value}"),
    }
}

/// Writes a whole history: its header and its events.
///
/// # Errors
/// When `out` does.
pub fn write(out: &mut impl Write, history: &crate::history::History) -> io::Result<()> {
    write_header(out, &history.header)?;
    for event in history.to_events() {
        write_named_event(out, &event, Some(&history.names))?;
    }
    Ok(())
}

/// Reads a history. `name` is what messages call the file.
///
/// # Errors
/// At the first line that is malformed, with its number and the reason; a half-written last line is noted instead.
pub fn read(input: impl BufRead, name: &str, nil: Nil) -> Result<Loaded, Error> {
    let mut lines = Lines::new(input, name);
    let first = lines.next()?.unwrap_or_default();
    let header = match parse_header(first) {
        Ok(header) => header,
        Err(reason) => return Err(lines.malformed(reason)),
    };
    let mut builder = Builder::new(header);
    builder.nil(nil);
    let mut notes = Vec::new();
    while let Some(line) = lines.next()? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Err(reason) = take_line(&mut builder, line) else {
            continue;
        };
        if lines.last_was_cut() {
            notes.push(format!(
                "{name}:{}: the last line is only half written; it was ignored",
                lines.number
            ));
            break;
        }
        return Err(lines.malformed(reason));
    }
    Ok(Loaded {
        history: builder.finish(),
        notes,
    })
}

/// Lines with their numbers, in one buffer.
struct Lines<'a, R> {
    input: R,
    name: &'a str,
    buffer: Vec<u8>,
    number: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    fn new(input: R, name: &'a str) -> Self {
        Self {
            input,
            name,
            buffer: Vec::new(),
            number: 0,
        }
    }

    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.buffer.clear();
        let read = self
            .input
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| Error::Io {
                name: self.name.to_owned(),
                source,
            })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(&self.buffer))
    }

    /// Whether the line at hand lacks its end: its writer was stopped while writing it.
    fn last_was_cut(&self) -> bool {
        self.buffer.last() != Some(&b'\n')
    }

    fn malformed(&self, reason: String) -> Error {
        Error::Malformed {
            name: self.name.to_owned(),
            line: self.number.max(1),
            reason,
        }
    }
}

/// Reads the first line.
fn parse_header(line: &[u8]) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(line).map_err(|error| {
        let error = plain(&error);
        format!("the first line is not a whitewater header: {error}")
    })?;
    if header.whitewater != 1 {
        return Err(format!(
            "version {} of the format is not known; 1 is",
            header.whitewater
        ));
    }
    if header.spec != "register" && !header.is_lists() {
        return Err(format!(
            "the spec {:?} is not known; register and list-append are",
            header.spec
        ));
    }
    Ok(header)
}

/// A line, in whatever order its members stand.
#[derive(Deserialize)]
struct Line<'a> {
    index: u64,
    #[serde(default)]
    time_ns: u64,
    client: Option<u64>,
    #[serde(rename = "type")]
    kind: &'a str,
    f: Option<&'a str>,
    #[serde(borrow)]
    key: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    node: Option<u64>,
    at: Option<At>,
    #[serde(borrow)]
    error: Option<std::borrow::Cow<'a, str>>,
}

/// A member that is there, `null` included: a missing `value` is not a `value` of null.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Takes one line into the history.
fn take_line(builder: &mut Builder, line: &[u8]) -> Result<(), String> {
    let line: Line<'_> =
        serde_json::from_slice(line.trim_ascii_end()).map_err(|error| plain(&error))?;
    let malformed = |error: crate::history::Malformed| error.to_string();
    if line.kind == "mark" {
        let text = match line.value {
            Some(raw) => serde_json::from_str::<String>(raw.get())
                .map_err(|_| "a mark's value must be a string".to_owned())?,
            None => return Err("a mark without a value".to_owned()),
        };
        return builder
            .mark(line.index, line.time_ns, &text)
            .map_err(malformed);
    }
    let client = line
        .client
        .ok_or_else(|| format!("an event of type {:?} without a client", line.kind))?;
    let outcome = match line.kind {
        "invoke" => {
            let key = line.key.ok_or("an invocation without a key")?;
            let f = line.f.ok_or("an invocation without an f")?;
            let call = parse_call(builder.names(), f, line.value)?;
            return builder
                .invoke(line.index, line.time_ns, client, line.node, &key, call)
                .map_err(malformed);
        }
        "ok" => match (builder.open_call(client), line.value) {
            (Some(Kind::Read), None) => {
                return Err("an ok read without a value (null is absent)".to_owned());
            }
            (Some(Kind::Read), Some(raw)) => Outcome::Ok(parse_value(builder.names(), raw.get())?),
            _ => Outcome::Ok(None),
        },
        "fail" => Outcome::Failed,
        "info" => Outcome::Unknown,
        other => {
            return Err(format!(
                "the type {other:?} is not known; invoke, ok, fail, info and mark are"
            ));
        }
    };
    let answer = Answer {
        outcome,
        at: line.at,
        node: line.node,
    };
    builder
        .complete(
            line.index,
            line.time_ns,
            client,
            answer,
            line.error.as_deref(),
        )
        .map_err(malformed)
}

/// What is asked.
fn parse_call(names: &mut Names, f: &str, value: Option<&RawValue>) -> Result<Call, String> {
    let need = || {
        value
            .map(RawValue::get)
            .ok_or(format!("a {f} without a value"))
    };
    let some = |value: Option<Value>| value.ok_or(format!("a {f} of null; use delete"));
    match f {
        "read" => Ok(Call::Read),
        "delete" => Ok(Call::Delete),
        "write" => Ok(Call::Write(some(parse_value(names, need()?)?)?)),
        "append" => Ok(Call::Append(some(parse_value(names, need()?)?)?)),
        "cas" => {
            let [old, new]: [&RawValue; 2] = serde_json::from_str(need()?)
                .map_err(|_| "a cas' value must be [old, new]".to_owned())?;
            Ok(Call::Cas {
                old: some(parse_value(names, old.get())?)?,
                new: some(parse_value(names, new.get())?)?,
            })
        }
        other => Err(format!(
            "the f {other:?} is not known; read, write, cas, delete and append are"
        )),
    }
}

/// A value: an integer as itself, a string or a list by its name, null as absent.
fn parse_value(names: &mut Names, raw: &str) -> Result<Option<Value>, String> {
    if let Ok(value) = raw.parse::<Value>() {
        return Ok(Some(value));
    }
    match serde_json::from_str::<serde_json::Value>(raw) {
        Ok(serde_json::Value::Null) => Ok(None),
        Ok(serde_json::Value::String(text)) => Ok(Some(names.intern(&text))),
        Ok(serde_json::Value::Array(items)) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                let item = parse_value(names, &item.to_string())?;
                list.push(item.ok_or("a list with null in it")?);
            }
            Ok(Some(names.intern_list(&list)))
        }
        _ => Err(format!(
            "the value {raw} is neither an integer, a string, a list nor null"
        )),
    }
}

/// What serde_json says, without its line number: it saw one line only.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" at line ").unwrap_or(text.len());
    format!("{} (column {})", &text[..cut], error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = match read(text.as_bytes(), "h.jsonl", Nil::Absent) {
            Ok(loaded) => {
                let mut out = Vec::new();
                write(&mut out, &loaded.history).expect("a vector takes everything");
                format!(
                    "{}{}",
                    loaded.notes.join("\n"),
                    String::from_utf8_lossy(&out)
                )
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{text}");
    }

    const HEADER: &str = "{\"whitewater\":1,\"spec\":\"register\",\"seed\":7}\n";
    const INVOKE: &str = "{\"index\":0,\"time_ns\":5,\"client\":3,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k\",\"node\":2}\n";

    #[test]
    fn what_is_written_is_read_back() {
        let ok = "{\"index\":1,\"time_ns\":9,\"client\":3,\"type\":\"ok\",\"value\":null,\"node\":2,\"at\":{\"term\":1,\"index\":9}}\n";
        let mark = "{\"index\":2,\"time_ns\":9,\"type\":\"mark\",\"value\":\"kill \\\"2\\\"\"}\n";
        let cas = "{\"index\":3,\"time_ns\":9,\"client\":4,\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"k\",\"value\":[1,\"b\"]}\n";
        let text = [HEADER, INVOKE, ok, mark, cas].concat();
        check(&text, &text);
    }

    #[test]
    fn a_half_written_last_line_is_tolerated_and_said() {
        let text = [HEADER, INVOKE, "{\"index\":1,\"time"].concat();
        let note = "h.jsonl:3: the last line is only half written; it was ignored";
        check(&text, &[note, HEADER, INVOKE].concat());
    }

    #[test]
    fn a_half_written_line_in_the_middle_is_malformed() {
        let text = [HEADER, "{\"index\":1,\"time\n", INVOKE].concat();
        check(&text, "h.jsonl:2: EOF while parsing a string (column 16)");
    }

    #[test]
    fn an_ok_read_without_a_value_is_malformed() {
        let text = [
            HEADER,
            INVOKE,
            "{\"index\":1,\"client\":3,\"type\":\"ok\"}\n",
        ]
        .concat();
        check(
            &text,
            "h.jsonl:3: an ok read without a value (null is absent)",
        );
    }
}
