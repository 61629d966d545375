//! A history as Jepsen's EDN.

use std::io::Write;

use super::{BEGINS, CLAIM};
use crate::history::{
    ANY, Call, EventKind, History, LIST_APPEND, Named, Names, Outcome, Value, is_datum, quoted,
};

/// A value as EDN.
fn edn_text(names: &Names, value: Value) -> String {
    match names.what(value) {
        Some(Named::List(list)) => {
            let items: Vec<String> = list.iter().map(|item| edn_text(names, *item)).collect();
            format!("[{}]", items.join(" "))
        }
        Some(Named::Text(text)) => quoted(&text),
        Some(Named::Datum(datum)) => bare(datum).to_owned(),
        None => value.to_string(),
    }
}

/// A datum as EDN: a symbol has no quote before it there.
fn bare(datum: &str) -> &str {
    datum.strip_prefix('\'').unwrap_or(datum)
}

/// A key as EDN: as the datum whose name it is, or else as a string.
fn edn_key(key: &str) -> String {
    let is_integer = |number: i64| number.to_string() == key;
    match is_datum(key) || key.parse().is_ok_and(is_integer) {
        true => bare(key).to_owned(),
        false => quoted(key),
    }
}

/// Writes a history as Jepsen's EDN, one map a line, each key as an independent one. A comment before them says which
/// spec it is and that a read of nil found the key absent: readers of ours then judge it as they judge this history, but
/// for failed cas, which say nothing there.
///
/// # Errors
/// When `out` does, and where events are lost: EDN has no word for a gap, and whoever read it without one would accuse.
pub fn write_edn(out: &mut impl Write, history: &History) -> std::io::Result<()> {
    if let Some(gap) = history.gaps.first() {
        let (index, lost) = (gap.index, gap.lost);
        return Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!(
                "{lost} events are lost in a gap at #{index}, which EDN has no word for; jsonl and binary do"
            ),
        ));
    }
    let text = |value: Value| edn_text(&history.names, value);
    let mut open = std::collections::BTreeMap::new();
    let spec = if history.header.is_lists() {
        LIST_APPEND
    } else {
        "register"
    };
    write!(out, "{CLAIM}{spec}, nil is absent")?;
    if let Some(start) = history.start() {
        write!(out, "{BEGINS}{}", start.map_or(ANY.to_owned(), text))?;
    }
    writeln!(out)?;
    for event in history.to_events() {
        let head = format!("{{:index {}, :time {}, ", event.index, event.time_ns);
        let client = event.client.unwrap_or_default();
        // EDN's integers have a sign; reading takes it back.
        let process = client.cast_signed();
        match event.kind {
            EventKind::Mark(mark) => writeln!(
                out,
                "{head}:type :info, :process :nemesis, :f :mark, :value {}}}",
                quoted(&mark)
            )?,
            // A history of registers or lists has none of another type.
            EventKind::Gap { .. } | EventKind::Typed(_) => {}
            EventKind::Invoke { key, call } => {
                let key = edn_key(&key);
                let (f, value) = match call {
                    Call::Read => ("read", "nil".to_owned()),
                    Call::Write(value) => ("write", text(value)),
                    Call::Append(value) => ("append", text(value)),
                    Call::Delete => ("delete", "nil".to_owned()),
                    Call::Cas { old, new } => ("cas", format!("[{} {}]", text(old), text(new))),
                };
                writeln!(
                    out,
                    "{head}:type :invoke, :process {process}, :f :{f}, :value [{key} {value}]}}"
                )?;
                open.insert(client, (f, key, value));
            }
            EventKind::Complete { outcome, .. } => {
                let Some((f, key, asked)) = open.remove(&client) else {
                    continue;
                };
                let (kind, value) = match outcome {
                    Outcome::Ok(found) if f == "read" => {
                        ("ok", found.map_or("nil".to_owned(), text))
                    }
                    Outcome::Ok(_) => ("ok", asked),
                    Outcome::Failed | Outcome::Differed(_) => ("fail", asked),
                    Outcome::Unknown => ("info", asked),
                };
                writeln!(
                    out,
                    "{head}:type :{kind}, :process {process}, :f :{f}, :value [{key} {value}]}}"
                )?;
            }
        }
    }
    Ok(())
}
