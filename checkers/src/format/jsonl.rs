//! Our own format: one JSON object a line, the first one a header.
//!
//! ```text
//! {"whitewater":1,"spec":"register","seed":7}
//! {"index":0,"time_ns":1200,"client":3,"type":"invoke","f":"write","key":"k1","value":17,"node":2}
//! {"index":1,"time_ns":5100,"client":3,"type":"ok","value":null,"node":2,"at":{"term":1,"index":9}}
//! {"index":2,"time_ns":5200,"type":"mark","value":"kill node 2"}
//! {"index":3,"time_ns":5300,"type":"gap","lost":120}
//! ```
//!
//! `type` is invoke, ok, fail, info (unknown), mark or gap; `f` is read, write, cas, delete or, where the spec is
//! list-append, append; a cas' value is `[old, new]`. `null` is absent. Completions need not repeat `f`, `key` and, but
//! for a read's, `value`, and must not contradict them.
//!
//! A cas that failed with an `at` was not refused: it compared, and something else was there. That is judged as an answer
//! like any other, and where the completion has a `value`, it is what was there. A failure without `at` says nothing.
//!
//! What each key holds before the first event is absent, or what the header's `initial` says: a value as below, or
//! `"any"` where nobody knows; then a key is accused only if it breaks whatever was there. The text itself is `"\"any\""`.
//!
//! A line that was cut off by a crash of its writer is tolerated at the end of the file, and
//! nowhere else.
//!
//! A gap stands for `lost` events that could not be written, of which `index` is the first; the next index is that of
//! the event after them. See [`Gap`](crate::history::Gap).
//!
//! A value is an integer, a string, a list of values, or `{"edn":":a"}`: a keyword, a boolean or a number that is no
//! 64-bit integer, out of a format that has them. All these are different values, however they look. The 2^32 integers
//! from -2^62 on stand for those that are no integers, and are refused.

mod blocks;
mod line;

use std::io::{self, BufRead, Read, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::sink::{Again, Moment, Sink, answers, repeats_call};
use super::{Error, Loaded};
use crate::history::{
    At, Builder, Call, Event, EventKind, Header, Kind, Malformed, Named, Names, Nil, Outcome,
    Value, initial_of,
};
use blocks::Blocks;
use line::{Ended, Line, What};

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
    if let EventKind::Typed(event) = &event.kind {
        return crate::types::lines::write_event(out, event);
    }
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
            Outcome::Differed(None) => out.write_all(br#","type":"fail","value":null"#)?,
            Outcome::Differed(Some(value)) => {
                out.write_all(br#","type":"fail","value":"#)?;
                write_value(out, *value, names)?;
            }
            Outcome::Unknown => out.write_all(br#","type":"info""#)?,
        },
        EventKind::Mark(text) => {
            out.write_all(br#","type":"mark","value":"#)?;
            serde_json::to_writer(&mut *out, text)?;
        }
        EventKind::Gap { lost } => write!(out, r#","type":"gap","lost":{lost}"#)?,
        EventKind::Typed(_) => unreachable!("it is written above"),
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
    match names.what(value) {
        Some(Named::List(list)) => {
            out.write_all(b"[")?;
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.write_all(b",")?;
                }
                write_value(out, *item, Some(names))?;
            }
            out.write_all(b"]")
        }
        Some(Named::Text(text)) => Ok(serde_json::to_writer(&mut *out, &text)?),
        Some(Named::Datum(datum)) => {
            out.write_all(br#"{"edn":"#)?;
            serde_json::to_writer(&mut *out, datum)?;
            out.write_all(b"}")
        }
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
    let (builder, notes) = read_into(input, name, |header| {
        let mut builder = Builder::new(header);
        builder.nil(nil);
        builder
    })?;
    Ok(Loaded {
        history: builder.finish(),
        notes,
        early: None,
    })
}

/// Reads events into what `begin` makes of the header, and gives it back with what is to be said.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_into<S: Sink>(
    input: impl Read,
    name: &str,
    begin: impl FnOnce(Header) -> S,
) -> Result<(S, Vec<String>), Error> {
    let malformed = |Bad { line, reason }| Error::Malformed {
        name: name.to_owned(),
        line,
        column: None,
        reason,
        advice: None,
    };
    let mut blocks = Blocks::new(input, name);
    let Some(mut block) = blocks.next(Vec::new())? else {
        return Err(malformed(Bad {
            line: 1,
            reason: parse_header(b"").err().unwrap_or_default(),
        }));
    };
    let end = block.bytes.iter().position(|byte| *byte == b'\n');
    let end = end.map_or(block.bytes.len(), |newline| newline + 1);
    let header =
        parse_header(&block.bytes[..end]).map_err(|reason| malformed(Bad { line: 1, reason }))?;
    let mut sink = begin(header);
    block.from = end;
    block.first_line = 2;
    let taken = if block.last {
        block.parse();
        block.give(&mut sink).map(|cut| (sink, cut))
    } else {
        blocks::pump(&mut blocks, block, sink)?
    };
    let (sink, cut) = taken.map_err(malformed)?;
    let note = |line| format!("{name}:{line}: the last line is only half written; it was ignored");
    Ok((sink, cut.map(note).into_iter().collect()))
}

/// A line that can't be taken.
pub(crate) struct Bad {
    line: u64,
    reason: String,
}

/// Why a line can't be taken.
struct Refused {
    reason: String,
    /// Whether it is the beginning of a line: what is there is right, and its end is missing.
    cut: bool,
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self { reason, cut: false }
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

/// Reads the first line.
pub(super) fn parse_header(line: &[u8]) -> Result<Header, String> {
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
    initial_of(&header, &mut Names::default()).map_err(|reason| format!("initial: {reason}"))?;
    Ok(header)
}

/// A line, in whatever order its members stand.
#[derive(Deserialize)]
struct General<'a> {
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
    lost: Option<u64>,
}

/// A member that is there, `null` included: a missing `value` is not a `value` of null.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Takes a line that has our own shape.
fn take_ours(sink: &mut impl Sink, text: &[u8], line: &Line) -> Result<(), String> {
    let from = Moment {
        index: line.index,
        time_ns: line.time_ns,
        client: line.client,
        node: line.node,
    };
    let taken = match line.what {
        What::Invoke { key, call } => sink.invoke(from, key.of(text), call),
        What::Complete { end, at, error } => {
            let outcome = match end {
                Ended::Differed(found)
                    if at.is_some() && sink.open_call(line.client) == Some(Kind::Cas) =>
                {
                    Outcome::Differed(found)
                }
                Ended::Failed | Ended::Differed(_) => Outcome::Failed,
                Ended::Unknown => Outcome::Unknown,
                Ended::Ok | Ended::Found(_) => match (sink.open_call(line.client), end) {
                    (Some(Kind::Read), Ended::Found(found)) => Outcome::Ok(found),
                    (Some(Kind::Read), _) => return Err(NO_VALUE.to_owned()),
                    (Some(_), Ended::Found(Some(value))) => {
                        repeats_call(sink, line.client, Again::Value(value))?;
                        Outcome::Ok(None)
                    }
                    _ => Outcome::Ok(None),
                },
            };
            sink.complete(from, outcome, at, error.map(|error| error.of(text)))
        }
    };
    taken.map_err(|error| error.to_string())
}

/// Why an ok read is malformed that does not say what it found.
const NO_VALUE: &str = "an ok read without a value (null is absent)";

/// Takes one line, whatever its shape.
fn take_any(sink: &mut impl Sink, line: &[u8]) -> Result<(), Refused> {
    let text = line.trim_ascii_end();
    let line: General<'_> = serde_json::from_slice(text).map_err(|error| Refused {
        reason: plain(&error),
        cut: error.is_eof() || is_cut_number(text),
    })?;
    let malformed = |error: Malformed| Refused::from(error.to_string());
    if line.kind == "mark" {
        let text = match line.value {
            Some(raw) => serde_json::from_str::<String>(raw.get())
                .map_err(|_| "a mark's value must be a string".to_owned())?,
            None => return Err("a mark without a value".into()),
        };
        return sink
            .mark(line.index, line.time_ns, &text)
            .map_err(malformed);
    }
    if line.kind == "gap" {
        let lost = line.lost.ok_or("a gap without lost")?;
        return sink.gap(line.index, line.time_ns, lost).map_err(malformed);
    }
    let client = line
        .client
        .ok_or_else(|| format!("an event of type {:?} without a client", line.kind))?;
    let from = Moment {
        index: line.index,
        time_ns: line.time_ns,
        client,
        node: line.node,
    };
    if line.kind != "invoke" {
        let f = line.f.map(parse_kind).transpose()?;
        answers(sink, client, f, line.key.as_deref())?;
    }
    let outcome = match line.kind {
        "invoke" => {
            let key = line.key.ok_or("an invocation without a key")?;
            let f = line.f.ok_or("an invocation without an f")?;
            let call = parse_call(sink.names(), f, line.value)?;
            return sink.invoke(from, &key, call).map_err(malformed);
        }
        "ok" => match (sink.open_call(client), line.value) {
            (Some(Kind::Read), None) => return Err(NO_VALUE.into()),
            (Some(Kind::Read), Some(raw)) => Outcome::Ok(sink.names().intern_json(raw.get())?),
            (Some(kind), Some(raw)) => {
                if let Some(again) = parse_again(sink.names(), kind, raw)? {
                    repeats_call(sink, client, again)?;
                }
                Outcome::Ok(None)
            }
            _ => Outcome::Ok(None),
        },
        "fail" => match (sink.asked(client), line.value) {
            (Some(Call::Cas { old, new }), Some(raw)) if line.at.is_some() => {
                match parse_again(sink.names(), Kind::Cas, raw)? {
                    Some(Again::Pair(from, to)) if (from, to) == (old, new) => Outcome::Failed,
                    _ => Outcome::Differed(sink.names().intern_json(raw.get())?),
                }
            }
            _ => Outcome::Failed,
        },
        "info" => Outcome::Unknown,
        other => {
            let known = "invoke, ok, fail, info, mark and gap are";
            return Err(format!("the type {other:?} is not known; {known}").into());
        }
    };
    sink.complete(from, outcome, line.at, line.error.as_deref())
        .map_err(malformed)
}

/// Whether a line ends right after the minus sign of a number, which is no end of file to the parser.
#[cold]
fn is_cut_number(text: &[u8]) -> bool {
    text.ends_with(b"-") && {
        let longer = [text, b"1"].concat();
        serde_json::from_slice::<General<'_>>(&longer).is_err_and(|error| error.is_eof())
    }
}

/// The kind of operation that an `f` names.
fn parse_kind(f: &str) -> Result<Kind, String> {
    let named = Kind::ALL.into_iter().find(|kind| kind.name() == f);
    named.ok_or_else(|| unknown_f(f))
}

fn unknown_f(f: &str) -> String {
    format!("the f {f:?} is not known; read, write, cas, delete and append are")
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
        "write" => Ok(Call::Write(some(names.intern_json(need()?)?)?)),
        "append" => Ok(Call::Append(some(names.intern_json(need()?)?)?)),
        "cas" => {
            let [old, new]: [&RawValue; 2] = serde_json::from_str(need()?)
                .map_err(|_| "a cas' value must be [old, new]".to_owned())?;
            Ok(Call::Cas {
                old: some(names.intern_json(old.get())?)?,
                new: some(names.intern_json(new.get())?)?,
            })
        }
        other => Err(unknown_f(other)),
    }
}

/// What a completion of anything but a read says of its call; null says nothing.
fn parse_again(names: &mut Names, kind: Kind, raw: &RawValue) -> Result<Option<Again>, String> {
    if kind == Kind::Cas
        && let Ok([old, new]) = serde_json::from_str::<[&RawValue; 2]>(raw.get())
        && let (Some(old), Some(new)) =
            (names.intern_json(old.get())?, names.intern_json(new.get())?)
    {
        return Ok(Some(Again::Pair(old, new)));
    }
    Ok(names.intern_json(raw.get())?.map(Again::Value))
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
        let differed = "{\"index\":4,\"time_ns\":9,\"client\":4,\"type\":\"fail\",\"value\":7,\"at\":{\"term\":1,\"index\":9},\"error\":\"no\"}\n";
        let text = [HEADER, INVOKE, ok, mark, cas, differed].concat();
        check(&text, &text);
        let found = |value: &str| differed.replace(":7", &format!(":{value}"));
        for value in ["null", "\"b\"", "[1,\"c\"]"] {
            let text = [HEADER, INVOKE, ok, mark, cas, &found(value)].concat();
            check(&text, &text);
        }
        // It says its call again, or was refused: then it found nothing.
        let plain = differed.replace("\"value\":7,", "");
        check(
            &[HEADER, INVOKE, ok, mark, cas, &found("[1,\"b\"]")].concat(),
            &[HEADER, INVOKE, ok, mark, cas, &plain].concat(),
        );
        let refused = |line: &str| line.replace(",\"at\":{\"term\":1,\"index\":9}", "");
        check(
            &[HEADER, INVOKE, ok, mark, cas, &refused(differed)].concat(),
            &[HEADER, INVOKE, ok, mark, cas, &refused(&plain)].concat(),
        );
    }

    /// Three events are lost: client 3 ends behind the gap what it began before it, or within, and so does client 9.
    const GAP: &str = "{\"index\":1,\"time_ns\":9,\"type\":\"gap\",\"lost\":3}\n";

    #[test]
    fn a_gap_is_written_and_read_back_and_what_was_begun_within_may_end_behind_it() {
        let end = |index: u64, client: u64| {
            format!(
                "{{\"index\":{index},\"time_ns\":9,\"client\":{client},\"type\":\"ok\",\"value\":7}}\n"
            )
        };
        let again = INVOKE.replace("\"index\":0", "\"index\":6");
        let text = [HEADER, INVOKE, GAP, &end(4, 3), &end(5, 9), &again].concat();
        // Ends that answer nothing which is on record say nothing.
        check(&text, &[HEADER, INVOKE, GAP, &again].concat());
        for (line, expected) in [
            (
                GAP.replace(":3}", ":0}"),
                "a gap must say how many events are lost, at least one",
            ),
            (GAP.replace(",\"lost\":3", ""), "a gap without lost"),
            (
                GAP.replace(":3}", ":-3}"),
                "invalid value: integer `-3`, expected u64 (column 45)",
            ),
            (
                GAP.replace(":3}", ":4294967295}"),
                "event index 4294967295 is too large: at most 4294967294 events fit in one history",
            ),
            (
                [GAP, &end(3, 3)].concat(),
                "event index 3 does not come after 3",
            ),
        ] {
            let text = [HEADER, INVOKE, &line].concat();
            let line = text.lines().count();
            check(&text, &format!("h.jsonl:{line}: {expected}"));
        }
    }

    #[test]
    fn a_half_written_last_line_is_tolerated_and_said() {
        let text = [HEADER, INVOKE, "{\"index\":1,\"time"].concat();
        let note = "h.jsonl:3: the last line is only half written; it was ignored";
        check(&text, &[note, HEADER, INVOKE].concat());
    }

    #[test]
    fn a_last_line_that_is_wrong_and_not_cut_is_malformed() {
        for (line, expected) in [
            (
                "{\"index\":1,\"client\":3,\"type\":\"ok\"}",
                "an ok read without a value (null is absent)",
            ),
            (
                "{\"index\":0,\"client\":3,\"type\":\"fail\"}",
                "event index 0 does not come after 0",
            ),
            (
                "{\"index\":1,\"client\":3,\"type\":\"fail\"}-",
                "trailing characters (column 37)",
            ),
            (
                "{\"index\":1,\"client\":\"3\",\"ty",
                "invalid type: string \"3\", expected u64 (column 23)",
            ),
        ] {
            let text = [HEADER, INVOKE, line].concat();
            check(&text, &format!("h.jsonl:3: {expected}"));
        }
    }

    #[test]
    fn whatever_is_cut_off_the_last_line_is_forgiven() {
        let ok = "{\"index\":1,\"time_ns\":9,\"client\":3,\"type\":\"ok\",\"value\":[-1,\"\u{e9}\\u00e9\",-27],\"at\":{\"term\":1,\"index\":9}}";
        let whole = [HEADER, INVOKE, ok].concat().into_bytes();
        let from = HEADER.len() + INVOKE.len();
        for end in from..whole.len() {
            let loaded = read(&whole[..end], "h", Nil::Absent).expect("a cut line");
            assert_eq!(loaded.history.events(), 1, "{end}");
            assert_eq!(loaded.notes.is_empty(), end == from, "{end}");
        }
        let loaded = read(whole.as_slice(), "h", Nil::Absent).expect("a history");
        assert_eq!((loaded.history.events(), loaded.notes.len()), (2, 0));
    }

    #[test]
    fn a_read_that_is_completed_twice_must_be_answered_alike() {
        let answer = |index: u64, value: &str| {
            format!("{{\"index\":{index},\"client\":3,\"type\":\"ok\",\"value\":{value}}}\n")
        };
        for (first, second) in [("null", "null"), ("7", "7"), ("null", "7"), ("7", "null")] {
            let text = [HEADER, INVOKE, &answer(1, first), &answer(2, second)].concat();
            match read(text.as_bytes(), "h", Nil::Absent) {
                Ok(loaded) => {
                    assert_eq!(first, second);
                    assert_eq!(loaded.history.lints.len(), 1, "{first}");
                }
                Err(error) => {
                    assert_ne!(first, second, "{error}");
                    let expected = "h:4: client 3 completes its operation #0 a second time, with another outcome";
                    assert_eq!(error.to_string(), expected);
                }
            }
        }
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

    /// As [`read`], with the general parser alone.
    fn read_in_general(text: &[u8]) -> Result<Loaded, String> {
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let bad = |line: usize, reason: String| format!("h:{line}: {reason}");
        let header = parse_header(lines.next().unwrap_or_default()).map_err(|e| bad(1, e))?;
        let mut builder = Builder::new(header);
        let mut notes = Vec::new();
        for (i, line) in lines.enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let Err(Refused { reason, cut }) = take_any(&mut builder, line) else {
                continue;
            };
            let number = i + 2;
            if !cut || line.last() == Some(&b'\n') {
                return Err(bad(number, reason));
            }
            notes.push(format!(
                "h:{number}: the last line is only half written; it was ignored"
            ));
        }
        Ok(Loaded {
            history: builder.finish(),
            notes,
            early: None,
        })
    }

    /// A small file with each kind of line in our own shape, and some others.
    fn a_file(seed: u64) -> Vec<u8> {
        use crate::generate::{Generator, Recipe};
        let recipe = Recipe {
            ops: 12,
            clients: 3,
            keys: 2,
            pending: 0.2,
            failed: 0.2,
            cas: 0.2,
            delete: 0.1,
            seed,
            ..Recipe::default()
        };
        let mut text = Vec::new();
        write_header(&mut text, &recipe.header()).expect("a vector takes everything");
        for mut event in Generator::new(recipe) {
            event.node = event.index.is_multiple_of(2).then_some(event.index);
            write_event(&mut text, &event).expect("a vector takes everything");
        }
        text
    }

    /// Changes the bytes somewhere after the header, mostly into something that also stands in such files.
    fn damage(text: &mut Vec<u8>, rng: &mut impl rand::Rng) {
        use rand::RngExt;
        const PIECES: [&[u8]; 16] = [
            b"0",
            b"-",
            b"9",
            b"\"",
            b",",
            b"{",
            b"}",
            b"\n",
            b" ",
            b"null",
            b"\\u0041",
            b".5",
            b"\xff",
            b"99999999999999999999",
            b",\"node\":3",
            b"\"value\":7,",
        ];
        let header = text.iter().position(|byte| *byte == b'\n').unwrap_or(0) + 1;
        let at = rng.random_range(header..=text.len());
        match rng.random_range(0..5) {
            0 => drop(text.drain(at..(at + rng.random_range(1..30)).min(text.len()))),
            1 => text.truncate(at),
            2 if at < text.len() => text[at] = rng.random_range(b' '..b'~'),
            _ => {
                let piece = PIECES[rng.random_range(0..PIECES.len())];
                text.splice(at..at, piece.iter().copied());
            }
        }
    }

    #[test]
    fn our_own_shape_is_understood_as_the_general_parser_does() {
        use rand::{RngExt, SeedableRng};
        let (mut good, mut bad) = (0, 0);
        for seed in 0..20_000 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let mut text = a_file(seed % 50);
            for _ in 0..rng.random_range(0..3) {
                damage(&mut text, &mut rng);
            }
            let ours = read(text.as_slice(), "h", Nil::Absent).map_err(|e| e.to_string());
            match (ours, read_in_general(&text)) {
                (Ok(ours), Ok(general)) => {
                    good += 1;
                    assert_eq!(ours.notes, general.notes, "seed {seed}");
                    let events = ours.history.to_events();
                    assert_eq!(events, general.history.to_events(), "seed {seed}");
                    assert_eq!(ours.history.lints, general.history.lints, "seed {seed}");
                }
                (Err(ours), Err(general)) => {
                    bad += 1;
                    assert_eq!(ours, general, "seed {seed}");
                }
                (ours, general) => panic!(
                    "seed {seed}: {:?} against {:?}",
                    ours.map(|loaded| loaded.notes),
                    general.map(|loaded| loaded.notes)
                ),
            }
        }
        assert!(good > 5_000 && bad > 5_000, "{good} good, {bad} bad");
    }

    #[test]
    fn what_gen_writes_has_our_own_shape() {
        let text = a_file(3);
        let mut lines = text.split(|byte| *byte == b'\n').skip(1);
        assert!(lines.all(|line| line.is_empty() || line::parse(line).is_some()));
    }

    #[test]
    fn a_file_of_many_blocks_is_read_whole_and_names_its_bad_line() {
        let mut text = HEADER.as_bytes().to_vec();
        let lines: u64 = 20_000;
        for index in 0..lines {
            let kind = [
                "\"invoke\",\"f\":\"read\",\"key\":\"k\"",
                "\"ok\",\"value\":null",
            ];
            let kind = kind[index as usize % 2];
            let line =
                format!("{{\"index\":{index},\"time_ns\":5,\"client\":1,\"type\":{kind}}}\n");
            text.extend_from_slice(line.as_bytes());
        }
        let loaded = read(text.as_slice(), "h", Nil::Absent).expect("a history");
        assert_eq!(loaded.history.events(), lines);
        // One long line, and then one that can't follow.
        text.extend_from_slice(" ".repeat(3 << 20).as_bytes());
        text.extend_from_slice(b"\n{\"index\":0,\"type\":\"mark\",\"value\":\"\"}\n");
        let error = read(text.as_slice(), "h", Nil::Absent).expect_err("an index that falls");
        let expected = "h:20003: event index 0 does not come after 19999";
        assert_eq!(error.to_string(), expected);
    }
}
