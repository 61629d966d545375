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
/// When `out` does.
pub fn write_edn(out: &mut impl Write, history: &History) -> std::io::Result<()> {
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
mod tests {
    use super::*;
    use crate::format::{self, Format};
    use crate::linear::{Options, check};

    fn load(text: &str, format: Format) -> Result<Loaded, String> {
        format::read(text.as_bytes(), "h", Some(format), None).map_err(|error| error.to_string())
    }

    /// A write and a read of something else, each by a process.
    fn two(writer: &str, reader: &str) -> String {
        format!(
            "[{{\"type\":\"invoke\",\"f\":\"write\",\"process\":{writer},\"value\":1}},
              {{\"type\":\"ok\",\"f\":\"write\",\"process\":{writer},\"value\":1}},
              {{\"type\":\"invoke\",\"f\":\"read\",\"process\":{reader},\"value\":null}},
              {{\"type\":\"ok\",\"f\":\"read\",\"process\":{reader},\"value\":2}}]"
        )
    }

    #[test]
    fn a_process_is_a_number_or_a_mark_or_malformed() {
        for (writer, reader) in [("0", "1"), ("\"0\"", "\"1\""), ("0", "\"0\"")] {
            let history = load(&two(writer, reader), Format::Json)
                .expect(writer)
                .history;
            assert_eq!(history.len(), 2, "{writer} {reader}");
            let verdict = check(&history, &Options::default()).verdict;
            assert_eq!(verdict.name(), "violation", "{writer} {reader}");
        }
        for process in [
            "null", "1.0", "true", "\"01\"", "\"a\"", "[1]", "{}", "\"\"",
        ] {
            let error = load(&two("0", process), Format::Json).expect_err(process);
            assert!(error.contains("the process must be a number"), "{error}");
        }
        let history = load(&two("0", "\"nemesis\""), Format::Json)
            .expect("a mark")
            .history;
        assert_eq!((history.len(), history.marks.len()), (1, 2));
    }

    #[test]
    fn a_log_line_that_may_be_an_event_is_not_dropped_silently() {
        let good = "0 :invoke :write 1\n0 :ok :write 1\nnothing of ours\n";
        assert_eq!(load(good, Format::JepsenTxt).expect("a log").notes.len(), 0);
        let error = load(&format!("{good}w1 :invoke :read nil\n"), Format::JepsenTxt);
        let error = error.expect_err("no process");
        assert!(
            error.starts_with("h:4: the process must be a number"),
            "{error}"
        );
        let odd = format!("{good}{{:process 1, :type :invoke, :f :read}}\nworker 1 :ok :read 2\n");
        let notes = load(&odd, Format::JepsenTxt).expect("a log").notes;
        let note = "h: 2 lines with :invoke, :ok, :fail or :info in them are no events and were skipped, line 4 first";
        assert_eq!(notes, [note]);
    }

    #[test]
    fn the_error_that_ends_a_log_line_may_be_any_text() {
        for error in [r#""C:\data" not found"#, ":timed-out", r#"#"\d+""#, "}"] {
            let text = format!("0 :invoke :write 1\n0 :info :write 1 {error}\n");
            let history = load(&text, Format::JepsenTxt).expect(error).history;
            assert_eq!(history.len(), 1, "{error}");
        }
        let error = load("0 :invoke :write \"\\d\"\n", Format::JepsenTxt);
        error.expect_err("a value is judged");
    }

    #[test]
    fn what_looks_alike_is_told_apart_and_stays_so_in_every_format() {
        let values = [
            "1", "\"1\"", "1.5", "\"1.5\"", ":a", "\":a\"", "true", "\"true\"", "[1]",
        ];
        let values =
            values
                .into_iter()
                .chain(["\"[1]\"", "[\"1\"]", "\"\"", "\"a b\"", "\"\\u0007\""]);
        let values: Vec<&str> = values.collect();
        for wrote in &values {
            for found in &values {
                let text = format!(
                    "{{:process 0, :type :invoke, :f :write, :value [:k {wrote}]}}
                     {{:process 0, :type :ok, :f :write, :value [:k {wrote}]}}
                     {{:process 0, :type :invoke, :f :read, :value [:k nil]}}
                     {{:process 0, :type :ok, :f :read, :value [:k {found}]}}"
                );
                let mut history = load(&text, Format::Edn).expect("well formed").history;
                let expected = if wrote == found {
                    "linearizable"
                } else {
                    "violation"
                };
                for format in [Format::Jsonl, Format::Binary, Format::Edn, Format::Jsonl] {
                    let verdict = check(&history, &Options::default()).verdict;
                    assert_eq!(verdict.name(), expected, "{wrote} {found}");
                    let mut bytes = Vec::new();
                    format::write(&mut bytes, &history, format).expect("a vector");
                    let again = format::read(bytes.as_slice(), "h", Some(format), None);
                    let again = again.unwrap_or_else(|error| panic!("{wrote} {found}: {error}"));
                    let texts = |history: &History| {
                        let values = history.operations().map(|op| match op.outcome {
                            Outcome::Ok(Some(value)) => history.names.text(value).into_owned(),
                            _ => String::new(),
                        });
                        (values.collect::<Vec<_>>(), history.keys[0].name.clone())
                    };
                    let (values, key) = texts(&history);
                    assert_eq!(texts(&again.history), (values, key), "{wrote} {found}");
                    history = again.history;
                }
            }
        }
    }

    #[test]
    fn keys_that_look_alike_are_apart() {
        let keys = [
            "1", "\"1\"", ":k", "\":k\"", "[1]", "[\"1\"]", "\"[1]\"", "true", "\"true\"",
        ];
        let mut text = String::new();
        for (value, key) in keys.iter().enumerate() {
            for kind in [":invoke", ":ok"] {
                text.push_str(&format!(
                    "{{:process 0, :type {kind}, :f :write, :value [{key} {value}]}}\n"
                ));
            }
        }
        let mut history = load(&text, Format::Edn).expect("well formed").history;
        for format in [Format::Edn, Format::Jsonl, Format::Edn, Format::Binary] {
            assert_eq!(history.keys.len(), keys.len(), "{:?}", history.keys);
            let mut bytes = Vec::new();
            format::write(&mut bytes, &history, format).expect("a vector");
            let again = format::read(bytes.as_slice(), "h", Some(format), None);
            history = again.expect("a history").history;
        }
    }

    #[test]
    fn a_completion_must_be_of_what_was_asked() {
        let with = |f: &str, value: &str| {
            let text = format!(
                "{{:process 0, :type :invoke, :f :write, :value [:x 1]}}
                 {{:process 0, :type :info, :f {f}, :value {value}}}"
            );
            load(&text, Format::Edn).map(|loaded| loaded.history.len())
        };
        for (f, value) in [
            (":write", "[:x 1]"),
            (":w", "nil"),
            (":write", ":timed-out"),
        ] {
            assert_eq!(with(f, value), Ok(1), "{f} {value}");
        }
        for (f, value, expected) in [
            (
                ":read",
                "[:x 1]",
                "of a read, but client 0 asked for a write",
            ),
            (
                ":write",
                "[:y 1]",
                "of key :y, but client 0 asked for key :x",
            ),
        ] {
            let error = with(f, value).expect_err("it contradicts");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_ok_read_of_nil_is_the_empty_list_whenever_the_lists_are_known() {
        let read = "{:process 1, :type :invoke, :f :read, :value [:k nil]}
            {:process 1, :type :ok, :f :read, :value [:k nil]}
            {:process 1, :type :ok, :f :read, :value [:k nil]}\n";
        let append = "{:process 0, :type :invoke, :f :append, :value [:k 1]}
            {:process 0, :type :ok, :f :append, :value [:k 1]}\n";
        for (text, expected) in [
            (format!("{read}{append}"), "linearizable"),
            (format!("{append}{read}"), "violation"),
            (format!("{read}{append}{read}"), "violation"),
        ] {
            let history = load(&text, Format::Edn).expect("well formed").history;
            let ignored =
                |lint: &crate::history::Lint| lint.to_string().contains("ignored (Knossos");
            assert!(!history.lints.iter().any(ignored), "{:?}", history.lints);
            let verdict = check(&history, &Options::default()).verdict;
            assert_eq!(verdict.name(), expected, "{text}");
        }
    }

    #[test]
    fn a_read_of_a_list_that_found_nil_and_failed_is_left_out_whatever_came_first() {
        let event = |process: u64, kind: &str, f: &str, value: &str| {
            format!("{{:process {process}, :type :{kind}, :f :{f}, :value [:k {value}]}}\n")
        };
        // An empty list after an append that ended would be a violation.
        let append = event(0, "invoke", "append", "1") + &event(0, "ok", "append", "1");
        let invoke = event(1, "invoke", "read", "nil");
        let (nil, fail) = (
            event(1, "ok", "read", "nil"),
            event(1, "fail", "read", "nil"),
        );
        for (answers, expected, doubts) in [
            ([&nil, &fail], "linearizable", 1),
            ([&fail, &nil], "linearizable", 1),
            ([&fail, &fail], "linearizable", 0),
            ([&nil, &nil], "violation", 0),
        ] {
            let [first, second] = answers;
            let text = [&append, &invoke, first, second]
                .map(String::as_str)
                .concat();
            let history = load(&text, Format::Edn).expect("well formed").history;
            let in_doubt = |lint: &&crate::history::Lint| {
                lint.to_string()
                    == "client 1 completes its read #2 both with nil, the empty list, and as failed: it is left out"
            };
            assert_eq!(
                history.lints.iter().filter(in_doubt).count(),
                doubts,
                "{text}"
            );
            let verdict = check(&history, &Options::default()).verdict;
            assert_eq!(verdict.name(), expected, "{text}");
        }
    }

    /// What comes of a history in our own format that is written as EDN and found out what it is.
    fn through_edn(text: &str) -> [(History, &'static str); 2] {
        let history = load(text, Format::Jsonl).expect("well formed").history;
        let mut bytes = Vec::new();
        write_edn(&mut bytes, &history).expect("a vector");
        let again = format::read(bytes.as_slice(), "h", None, None).expect("well formed");
        assert_eq!(again.notes[0], "h: read as edn");
        [history, again.history].map(|history| {
            let verdict = check(&history, &Options::default()).verdict;
            (history, verdict.name())
        })
    }

    #[test]
    fn edn_of_ours_says_what_nil_means_and_which_spec_it_is() {
        let line = |index: u64, rest: &str| {
            format!("{{\"index\":{index},\"client\":1,\"type\":{rest}}}\n")
        };
        let read = |index: u64, found: &str| {
            line(index, "\"invoke\",\"f\":\"read\",\"key\":\"k\"")
                + &line(index + 1, &format!("\"ok\",\"value\":{found}"))
        };
        let write = |index: u64, value: &str| {
            let invoke = "\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":";
            line(index, &format!("{invoke}{value}")) + &line(index + 1, "\"ok\"")
        };
        for (spec, events, expected) in [
            ("register", read(0, "null") + &write(2, "1"), "linearizable"),
            ("register", write(0, "1") + &read(2, "null"), "violation"),
            (
                "list-append",
                read(0, "null") + &read(2, "[]"),
                "linearizable",
            ),
            (
                "list-append",
                write(0, "[1,2]") + &read(2, "null"),
                "violation",
            ),
            (
                "list-append",
                write(0, "[]") + &read(2, "null"),
                "linearizable",
            ),
            (
                "list-append",
                write(0, "[1,2]") + &read(2, "[1,2]"),
                "linearizable",
            ),
            ("list-append", String::new(), "linearizable"),
        ] {
            let text = format!("{{\"whitewater\":1,\"spec\":\"{spec}\"}}\n{events}");
            for (history, verdict) in through_edn(&text) {
                assert_eq!(history.header.spec, spec);
                assert_eq!(verdict, expected, "{text}");
            }
        }
    }

    #[test]
    fn a_process_of_any_number_is_read_back() {
        for client in [0, 1 << 62, 1 << 63, u64::MAX] {
            let text = format!(
                "{{\"whitewater\":1}}\n{{\"index\":0,\"client\":{client},\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k\"}}\n{{\"index\":1,\"client\":{client},\"type\":\"ok\",\"value\":null}}\n"
            );
            for (history, _) in through_edn(&text) {
                assert_eq!(history.client(0), client);
            }
        }
    }

    #[test]
    fn only_a_first_line_of_ours_says_anything_and_a_caller_says_more() {
        let events = "{:process 0, :type :invoke, :f :write, :value 1}
            {:process 0, :type :ok, :f :write, :value 1}
            {:process 0, :type :invoke, :f :read, :value nil}
            {:process 0, :type :ok, :f :read, :value nil}\n";
        let ours = "; whitewater: spec register, nil is absent\n";
        for (before, nil, expected) in [
            ("", None, "linearizable"),
            ("; spec register, nil is absent\n", None, "linearizable"),
            ("; whitewater: nil is absent\n", None, "linearizable"),
            (&format!("\n{ours}"), None, "linearizable"),
            (ours, None, "violation"),
            (&ours.replace('\n', "\r\n"), None, "violation"),
            (ours, Some(Nil::Any), "linearizable"),
            ("", Some(Nil::Absent), "violation"),
        ] {
            let text = format!("{before}{events}");
            let loaded = format::read(text.as_bytes(), "h", None, nil).expect("well formed");
            let verdict = check(&loaded.history, &Options::default()).verdict;
            assert_eq!(verdict.name(), expected, "{before:?} {nil:?}");
        }
        for (claim, reason) in [
            (
                "queue, nil is absent",
                "h:1: the first line claims a spec that is not known: queue, nil is absent",
            ),
            (
                "register",
                "h:1: the first line claims a spec that is not known: register",
            ),
        ] {
            let text = format!("; whitewater: spec {claim}\n{events}");
            assert_eq!(load(&text, Format::Edn).expect_err(claim), reason);
        }
        let append = format!("{ours}{}", events.replace(":write", ":append"));
        let error = load(&append, Format::Edn).expect_err("it said register");
        assert_eq!(error, "h:2: a register has no append");
    }
}
