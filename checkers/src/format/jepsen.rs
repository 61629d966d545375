//! What Jepsen writes and what reads like it: EDN, the same as JSON (elle-cli), `history.txt`, Porcupine's logs.
//!
//! `:fail` never happened; `:info` is open to the end; a keyword as process (the nemesis) is no client but a mark.
//! Keys are sniffed: where values look like `[k v]` (and a cas like `[k [old new]]`), each k is a key of its own
//! (`jepsen.independent`); what was assumed is said.

use std::io::{BufRead, Write};

use super::tree::{Reader, Syntax, Tree, Trouble};
use super::{Error, Loaded};
use crate::history::{
    Answer, Builder, Call, EventKind, Header, History, LIST_APPEND, Malformed, Names, Nil, Outcome,
    Value,
};

/// Reads EDN: one vector or list of maps, or a stream of maps.
///
/// # Errors
/// When a datum can't be read or can't follow those before it; its line is named.
pub fn read_edn(input: impl BufRead, name: &str, nil: Nil) -> Result<Loaded, Error> {
    read_trees(Reader::new(input, Syntax::Edn), name, nil)
}

/// Reads the same as JSON: an array of objects, or one after the other.
///
/// # Errors
/// As [`read_edn`].
pub fn read_json(input: impl BufRead, name: &str, nil: Nil) -> Result<Loaded, Error> {
    read_trees(Reader::new(input, Syntax::Json), name, nil)
}

fn read_trees<R: BufRead>(mut reader: Reader<R>, name: &str, nil: Nil) -> Result<Loaded, Error> {
    let mut feed = Feed::new(nil);
    let inside = match reader.open_list() {
        Ok(inside) => inside,
        Err(found) => return Err(trouble(name, reader.line(), found)),
    };
    loop {
        let tree = match reader.next(inside) {
            Ok(Some(tree)) => tree,
            Ok(None) => return Ok(feed.finish(name)),
            Err(found) => return Err(trouble(name, reader.line(), found)),
        };
        let line = Line::of_map(&tree);
        line.and_then(|line| feed.take(&line))
            .map_err(|reason| malformed(name, reader.line(), reason))?;
    }
}

/// Reads `history.txt` and the logs that Porcupine ships: `P :type :f value` after `jepsen.util - ` or by itself,
/// separated by tabs or spaces. Log lines about something else are skipped.
///
/// # Errors
/// As [`read_edn`].
pub fn read_log(input: impl BufRead, name: &str, nil: Nil) -> Result<Loaded, Error> {
    let mut feed = Feed::new(nil);
    for (i, line) in input.lines().enumerate() {
        let line = line.map_err(|source| Error::Io {
            name: name.to_owned(),
            source,
        })?;
        let Some(text) = event_text(&line) else {
            continue;
        };
        parse_log_line(text)
            .and_then(|line| feed.take(&line))
            .map_err(|reason| malformed(name, i as u64 + 1, reason))?;
    }
    if feed.events == 0 {
        let reason = "no line of it is a Jepsen event".to_owned();
        return Err(malformed(name, 1, reason));
    }
    Ok(feed.finish(name))
}

/// The part of a log line that is an event.
fn event_text(line: &str) -> Option<&str> {
    let text = match line.find("jepsen.util - ") {
        Some(at) => &line[at + "jepsen.util - ".len()..],
        None => line,
    };
    let text = text.trim();
    let mut words = text.split_ascii_whitespace();
    let (process, kind) = (words.next()?, words.next()?);
    let known = matches!(kind, ":invoke" | ":ok" | ":fail" | ":info");
    (known && (process.starts_with(':') || process.parse::<i64>().is_ok())).then_some(text)
}

fn parse_log_line(text: &str) -> Result<Line, String> {
    let mut reader = Reader::new(text.as_bytes(), Syntax::Edn);
    let mut items = Vec::new();
    while items.len() < 5 {
        match reader.next(false) {
            Ok(Some(tree)) => items.push(tree),
            Ok(None) => break,
            Err(Trouble::Syntax(reason)) => return Err(reason),
            Err(Trouble::Io(error)) => return Err(error.to_string()),
        }
    }
    let mut items = items.into_iter();
    let (Some(process), Some(kind), Some(f)) = (items.next(), items.next(), items.next()) else {
        return Err("an event needs a process, a type and an f".to_owned());
    };
    Ok(Line {
        process,
        kind: kind.word().unwrap_or_default().to_owned(),
        f: f.word().unwrap_or_default().to_owned(),
        value: items.next().unwrap_or(Tree::Nil),
        key: None,
        time_ns: 0,
        error: items.next().map(|tree| tree.text()),
    })
}

pub(super) fn trouble(name: &str, line: u64, trouble: Trouble) -> Error {
    match trouble {
        Trouble::Io(source) => Error::Io {
            name: name.to_owned(),
            source,
        },
        Trouble::Syntax(reason) => malformed(name, line, reason),
    }
}

pub(super) fn malformed(name: &str, line: u64, reason: String) -> Error {
    Error::Malformed {
        name: name.to_owned(),
        line,
        reason,
    }
}

/// One event as it was written.
struct Line {
    process: Tree,
    kind: String,
    f: String,
    value: Tree,
    key: Option<Tree>,
    time_ns: u64,
    error: Option<String>,
}

impl Line {
    fn of_map(tree: &Tree) -> Result<Self, String> {
        if !matches!(tree, Tree::Map(_)) {
            return Err(format!(
                "an event must be a map, not {}",
                shorten(&tree.text())
            ));
        }
        let word = |name: &str| {
            tree.get(name)
                .and_then(Tree::word)
                .map(str::to_owned)
                .ok_or_else(|| format!("an event without :{name}"))
        };
        let mut line = Self {
            process: tree
                .get("process")
                .cloned()
                .ok_or("an event without :process")?,
            kind: word("type")?,
            f: word("f")?,
            value: tree.get("value").cloned().unwrap_or(Tree::Nil),
            key: tree.get("key").cloned(),
            time_ns: match tree.get("time") {
                Some(Tree::Int(time)) => u64::try_from(*time).unwrap_or(0),
                _ => 0,
            },
            error: tree.get("error").map(Tree::text),
        };
        line.unwrap_transaction()?;
        Ok(line)
    }

    /// Jepsen's list-append workload asks in transactions, `[[:append k v] [:r k nil]]`: one of one operation is it.
    fn unwrap_transaction(&mut self) -> Result<(), String> {
        if self.f != "txn" {
            return Ok(());
        }
        let Tree::List(parts) = &self.value else {
            return Err("a transaction that is no list of operations".to_owned());
        };
        let [Tree::List(part)] = parts.as_slice() else {
            return Err(format!(
                "a transaction of {} operations: only single operations are judged",
                parts.len()
            ));
        };
        let [f, key, value] = part.as_slice() else {
            return Err("an operation of a transaction must be [f key value]".to_owned());
        };
        self.f = f.word().unwrap_or_default().to_owned();
        self.key = Some(key.clone());
        self.value = value.clone();
        Ok(())
    }
}

/// Takes lines into a history.
struct Feed {
    builder: Builder,
    events: u64,
    /// Whether values carry their key; `None` while nothing has told.
    independent: Option<bool>,
}

impl Feed {
    fn new(nil: Nil) -> Self {
        let mut builder = Builder::new(Header::default());
        builder.nil(nil);
        Self {
            builder,
            events: 0,
            independent: None,
        }
    }

    fn take(&mut self, line: &Line) -> Result<(), String> {
        let index = self.events;
        self.events += 1;
        let say = |error: Malformed| error.to_string();
        let client = match &line.process {
            Tree::Int(process) => *process as u64,
            other => {
                let text = format!("{} {} {}", other.text(), line.f, line.value.text());
                return self.builder.mark(index, line.time_ns, &text).map_err(say);
            }
        };
        if line.kind == "invoke" {
            let (key, value) = self.split(line)?;
            let call = self.call(&line.f, &value)?;
            return self
                .builder
                .invoke(index, line.time_ns, client, None, &key, call)
                .map_err(say);
        }
        let outcome = match line.kind.as_str() {
            "ok" if reads(&line.f) => {
                let (_, value) = self.split(line)?;
                Outcome::Ok(self.value(&value)?)
            }
            "ok" => Outcome::Ok(None),
            // Some clients call a read that timed out failed, which it is: it had no effect.
            "fail" => Outcome::Failed,
            "info" => Outcome::Unknown,
            other => {
                return Err(format!(
                    "the type {other:?} is not known; invoke, ok, fail and info are"
                ));
            }
        };
        let answer = Answer {
            outcome,
            at: None,
            node: None,
        };
        self.builder
            .complete(index, line.time_ns, client, answer, line.error.as_deref())
            .map_err(say)
    }

    /// The key and the value proper.
    fn split(&mut self, line: &Line) -> Result<(String, Tree), String> {
        if let Some(key) = &line.key {
            return Ok((key.text(), line.value.clone()));
        }
        let pair = match &line.value {
            Tree::List(items) if items.len() == 2 => Some((&items[0], &items[1])),
            _ => None,
        };
        if self.independent.is_none() {
            let cas = line.f == "cas";
            self.independent = Some(match pair {
                Some((_, Tree::List(_))) => true,
                Some(_) => !cas,
                None => false,
            });
        }
        match (self.independent, pair) {
            (Some(true), Some((key, value))) => Ok((key.text(), value.clone())),
            (Some(true), None) => Err(format!(
                "the value {} is not [key value], as those before it",
                shorten(&line.value.text())
            )),
            _ => Ok(("register".to_owned(), line.value.clone())),
        }
    }

    fn call(&mut self, f: &str, value: &Tree) -> Result<Call, String> {
        if f == "append" {
            LIST_APPEND.clone_into(&mut self.builder.header().spec);
        }
        let some = |value: Option<Value>| value.ok_or_else(|| format!("a {f} of nil"));
        match f {
            _ if reads(f) => Ok(Call::Read),
            "write" | "w" | "put" => Ok(Call::Write(some(self.value(value)?)?)),
            "append" => Ok(Call::Append(some(self.value(value)?)?)),
            "delete" => Ok(Call::Delete),
            "cas" => match value {
                Tree::List(items) if items.len() == 2 => Ok(Call::Cas {
                    old: some(self.value(&items[0])?)?,
                    new: some(self.value(&items[1])?)?,
                }),
                other => Err(format!(
                    "the value of a cas must be [old new], not {}",
                    shorten(&other.text())
                )),
            },
            other => Err(format!(
                "the f {other:?} is not known; read, write, cas, delete and append are"
            )),
        }
    }

    fn value(&mut self, value: &Tree) -> Result<Option<Value>, String> {
        match value {
            Tree::Nil => Ok(None),
            Tree::Int(value) => Ok(Some(*value)),
            Tree::Map(_) => Err(format!("the value {} is a map", shorten(&value.text()))),
            Tree::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(self.value(item)?.ok_or("a list with nil in it")?);
                }
                Ok(Some(self.builder.names().intern_list(&list)))
            }
            other => Ok(Some(self.builder.names().intern(&other.text()))),
        }
    }

    fn finish(self, name: &str) -> Loaded {
        let mut notes = Vec::new();
        if self.independent == Some(true) {
            notes.push(format!(
                "{name}: values look like [key value]; each key is taken as a register of its own"
            ));
        }
        Loaded {
            history: self.builder.finish(),
            notes,
        }
    }
}

fn reads(f: &str) -> bool {
    matches!(f, "read" | "r" | "get")
}

/// A text that fits into a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A value as EDN: a list of its elements, a string for a name, or the integer.
fn edn_text(names: &Names, value: Value) -> String {
    if let Some(list) = names.list(value) {
        let items: Vec<String> = list.iter().map(|item| edn_text(names, *item)).collect();
        return format!("[{}]", items.join(" "));
    }
    match names.get(value) {
        Some(name) => format!("{name:?}"),
        None => value.to_string(),
    }
}

/// Writes a history as Jepsen's EDN, one map a line, each key as an independent one.
///
/// # Errors
/// When `out` does.
pub fn write_edn(out: &mut impl Write, history: &History) -> std::io::Result<()> {
    let text = |value: Value| edn_text(&history.names, value);
    let mut open = std::collections::BTreeMap::new();
    for event in history.to_events() {
        let head = format!("{{:index {}, :time {}, ", event.index, event.time_ns);
        let client = event.client.unwrap_or_default();
        match event.kind {
            EventKind::Mark(mark) => writeln!(
                out,
                "{head}:type :info, :process :nemesis, :f :mark, :value {mark:?}}}"
            )?,
            EventKind::Invoke { key, call } => {
                let (f, value) = match call {
                    Call::Read => ("read", "nil".to_owned()),
                    Call::Write(value) => ("write", text(value)),
                    Call::Append(value) => ("append", text(value)),
                    Call::Delete => ("delete", "nil".to_owned()),
                    Call::Cas { old, new } => ("cas", format!("[{} {}]", text(old), text(new))),
                };
                writeln!(
                    out,
                    "{head}:type :invoke, :process {client}, :f :{f}, :value [{key:?} {value}]}}"
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
                    Outcome::Failed => ("fail", asked),
                    Outcome::Unknown => ("info", asked),
                };
                writeln!(
                    out,
                    "{head}:type :{kind}, :process {client}, :f :{f}, :value [{key:?} {value}]}}"
                )?;
            }
        }
    }
    Ok(())
}
