//! What Jepsen writes and what reads like it: EDN, the same as JSON (elle-cli), `history.txt`, Porcupine's logs.
//!
//! `:fail` never happened; `:info` is open to the end; a keyword as process or the text `nemesis` is no client but a
//! mark, and any other process must be a number. A completion must be of what was asked: the same f, the same key.
//! Keys are sniffed: where values look like `[k v]` (and a cas like `[k [old new]]`), each k is a key of its own
//! (`jepsen.independent`); what was assumed is said.

use std::io::{BufRead, Write};

use super::sink::answers;
use super::tree::{Reader, Syntax, Tree, Trouble};
use super::{Error, Loaded};
use crate::history::{
    Answer, Builder, Call, ClientId, EventKind, Header, History, Kind, LIST_APPEND, Malformed,
    Named, Names, Nil, Outcome, Value, is_datum, is_kept, kept, quoted,
};

/// With this begins the first line of the EDN that [`write_edn`] writes: a comment that says what EDN has no place for.
pub(super) const CLAIM: &str = "; whitewater: spec ";

/// Reads EDN: one vector or list of maps, or a stream of maps. What an ok read of nil means is what `nil` says, else
/// what the first line says where [`write_edn`] wrote it, else nothing.
///
/// # Errors
/// When a datum can't be read or can't follow those before it; its line is named.
pub fn read_edn(input: impl BufRead, name: &str, nil: Option<Nil>) -> Result<Loaded, Error> {
    let mut reader = Reader::new(input, Syntax::Edn);
    let comment = match reader.first_comment() {
        Ok(comment) => comment.unwrap_or_default(),
        Err(found) => return Err(trouble(name, 1, found)),
    };
    let mut feed = Feed::new(nil.unwrap_or(Nil::Any));
    if let Some(claim) = comment.strip_prefix(CLAIM) {
        let spec = claim.trim_end().strip_suffix(", nil is absent");
        let spec = spec.filter(|spec| ["register", LIST_APPEND].contains(spec));
        let Some(spec) = spec else {
            let claim = shorten(claim);
            let reason = format!("the first line claims a spec that is not known: {claim}");
            return Err(malformed(name, 1, reason));
        };
        spec.clone_into(&mut feed.builder.header().spec);
        feed.spec_is_known = true;
        feed.builder.nil(nil.unwrap_or(Nil::Absent));
    }
    read_trees(reader, name, feed)
}

/// Reads the same as JSON: an array of objects, or one after the other.
///
/// # Errors
/// When a datum can't be read or can't follow those before it; its line is named.
pub fn read_json(input: impl BufRead, name: &str, nil: Nil) -> Result<Loaded, Error> {
    let feed = Feed::new(nil);
    read_trees(Reader::new(input, Syntax::Json), name, feed)
}

fn read_trees<R: BufRead>(
    mut reader: Reader<R>,
    name: &str,
    mut feed: Feed,
) -> Result<Loaded, Error> {
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
/// separated by tabs or spaces. Log lines about something else are skipped; those of them that may be more are counted.
///
/// # Errors
/// As [`read_edn`].
pub fn read_log(input: impl BufRead, name: &str, nil: Nil) -> Result<Loaded, Error> {
    let mut feed = Feed::new(nil);
    // How many, and the first.
    let mut unclear = (0, u64::MAX);
    for (i, line) in input.lines().enumerate() {
        let line = line.map_err(|source| Error::Io {
            name: name.to_owned(),
            source,
        })?;
        let text = match said(&line) {
            Said::Event(text) => text,
            Said::Unclear => {
                unclear = (unclear.0 + 1, unclear.1.min(i as u64 + 1));
                continue;
            }
            Said::Nothing => continue,
        };
        parse_log_line(text)
            .and_then(|line| feed.take(&line))
            .map_err(|reason| malformed(name, i as u64 + 1, reason))?;
    }
    if feed.events == 0 {
        let reason = "no line of it is a Jepsen event".to_owned();
        return Err(malformed(name, 1, reason));
    }
    let mut loaded = feed.finish(name);
    if let (lines @ 1.., first) = unclear {
        loaded.notes.push(format!(
            "{name}: {lines} lines with :invoke, :ok, :fail or :info in them are no events and were skipped, line {first} first"
        ));
    }
    Ok(loaded)
}

/// What a log line says.
enum Said<'a> {
    /// This is an event.
    Event(&'a str),
    /// It has the word for a type of event, elsewhere than in an event.
    Unclear,
    /// Something else.
    Nothing,
}

fn said(line: &str) -> Said<'_> {
    let text = match line.find("jepsen.util - ") {
        Some(at) => &line[at + "jepsen.util - ".len()..],
        None => line,
    };
    let text = text.trim();
    let known = |word: &str| matches!(word, ":invoke" | ":ok" | ":fail" | ":info");
    if text.split_ascii_whitespace().nth(1).is_some_and(known) {
        return Said::Event(text);
    }
    let mut words = line.split(|c: char| c.is_whitespace() || "()[]{},\"".contains(c));
    match words.any(known) {
        true => Said::Unclear,
        false => Said::Nothing,
    }
}

fn parse_log_line(text: &str) -> Result<Line, String> {
    let mut reader = Reader::new(text.as_bytes(), Syntax::Edn);
    let mut items = Vec::new();
    while items.len() < 5 {
        match reader.next(false) {
            Ok(Some(tree)) => items.push(tree),
            Ok(None) => break,
            // The error that ends a line may be any text.
            Err(Trouble::Syntax(_)) if items.len() == 4 => break,
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
    /// Whether the header has the spec from the file, and not from a first guess.
    spec_is_known: bool,
}

impl Feed {
    fn new(nil: Nil) -> Self {
        let mut builder = Builder::new(Header::default());
        builder.nil(nil);
        Self {
            builder,
            events: 0,
            independent: None,
            spec_is_known: false,
        }
    }

    fn take(&mut self, line: &Line) -> Result<(), String> {
        let index = self.events;
        self.events += 1;
        let say = |error: Malformed| error.to_string();
        let Some(client) = client(&line.process)? else {
            let text = format!("{} {} {}", line.process.text(), line.f, line.value.text());
            return self.builder.mark(index, line.time_ns, &text).map_err(say);
        };
        if line.kind == "invoke" {
            let (key, value) = self.split(line)?;
            let call = self.call(&line.f, &value)?;
            return self
                .builder
                .invoke(index, line.time_ns, client, None, &key, call)
                .map_err(say);
        }
        let kind = kind(&line.f).ok_or_else(|| unknown_f(&line.f))?;
        let key = match (&line.key, &line.value) {
            (Some(key), _) => Some(key.name()),
            (None, Tree::List(pair)) if self.independent == Some(true) && pair.len() == 2 => {
                Some(pair[0].name())
            }
            _ => None,
        };
        answers(&self.builder, client, Some(kind), key.as_deref())?;
        let outcome = match line.kind.as_str() {
            "ok" if kind == Kind::Read => {
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
            return Ok((key.name(), line.value.clone()));
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
            (Some(true), Some((key, value))) => Ok((key.name(), value.clone())),
            (Some(true), None) => Err(format!(
                "the value {} is not [key value], as those before it",
                shorten(&line.value.text())
            )),
            _ => Ok(("register".to_owned(), line.value.clone())),
        }
    }

    fn call(&mut self, f: &str, value: &Tree) -> Result<Call, String> {
        if f == "append" && !self.spec_is_known {
            LIST_APPEND.clone_into(&mut self.builder.header().spec);
        }
        let some = |value: Option<Value>| value.ok_or_else(|| format!("a {f} of nil"));
        match kind(f).ok_or_else(|| unknown_f(f))? {
            Kind::Read => Ok(Call::Read),
            Kind::Write => Ok(Call::Write(some(self.value(value)?)?)),
            Kind::Append => Ok(Call::Append(some(self.value(value)?)?)),
            Kind::Delete => Ok(Call::Delete),
            Kind::Cas => match value {
                Tree::List(items) if items.len() == 2 => Ok(Call::Cas {
                    old: some(self.value(&items[0])?)?,
                    new: some(self.value(&items[1])?)?,
                }),
                other => Err(format!(
                    "the value of a cas must be [old new], not {}",
                    shorten(&other.text())
                )),
            },
        }
    }

    fn value(&mut self, value: &Tree) -> Result<Option<Value>, String> {
        match value {
            Tree::Nil => Ok(None),
            Tree::Int(value) if is_kept(*value) => Err(kept(*value)),
            Tree::Int(value) => Ok(Some(*value)),
            Tree::Map(_) => Err(format!("the value {} is a map", shorten(&value.text()))),
            Tree::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(self.value(item)?.ok_or("a list with nil in it")?);
                }
                Ok(Some(self.builder.names().intern_list(&list)))
            }
            Tree::Text(text) => Ok(Some(self.builder.names().intern(text))),
            other => Ok(Some(self.builder.names().intern_datum(&other.text()))),
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

/// Who did it; `None` for what is no client.
fn client(process: &Tree) -> Result<Option<ClientId>, String> {
    let number = match process {
        Tree::Int(process) => Some(*process),
        Tree::Keyword(_) => return Ok(None),
        Tree::Text(text) if text == "nemesis" => return Ok(None),
        // Two ways to write one number would be two processes somewhere else.
        Tree::Text(text) => text.parse().ok().filter(|n: &i64| n.to_string() == *text),
        _ => None,
    };
    let number = number.ok_or_else(|| {
        let process = shorten(&process.name());
        format!("the process must be a number (or a keyword, such as :nemesis), not {process}")
    })?;
    Ok(Some(number as ClientId))
}

/// What an `f` asks.
fn kind(f: &str) -> Option<Kind> {
    Some(match f {
        "read" | "r" | "get" => Kind::Read,
        "write" | "w" | "put" => Kind::Write,
        "append" => Kind::Append,
        "delete" => Kind::Delete,
        "cas" => Kind::Cas,
        _ => return None,
    })
}

fn unknown_f(f: &str) -> String {
    format!("the f {f:?} is not known; read, write, cas, delete and append are")
}

/// A text that fits into a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A value as EDN.
fn edn_text(names: &Names, value: Value) -> String {
    match names.what(value) {
        Some(Named::List(list)) => {
            let items: Vec<String> = list.iter().map(|item| edn_text(names, *item)).collect();
            format!("[{}]", items.join(" "))
        }
        Some(Named::Text(text)) => quoted(&text),
        Some(Named::Datum(datum)) => datum.to_owned(),
        None => value.to_string(),
    }
}

/// A key as EDN: as the datum whose name it is, or else as a string.
fn edn_key(key: &str) -> String {
    let is_integer = |number: i64| number.to_string() == key;
    match is_datum(key) || key.parse().is_ok_and(is_integer) {
        true => key.to_owned(),
        false => quoted(key),
    }
}

/// Writes a history as Jepsen's EDN, one map a line, each key as an independent one. A comment before them says which
/// spec it is and that a read of nil found the key absent: readers of ours then judge it as they judge this history.
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
    writeln!(out, "{CLAIM}{spec}, nil is absent")?;
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
            EventKind::Gap { .. } => {}
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
                    Outcome::Failed => ("fail", asked),
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

#[cfg(test)]
mod tests;
