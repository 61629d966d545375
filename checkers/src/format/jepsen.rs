//! What Jepsen writes and what reads like it: EDN, the same as JSON (elle-cli), `history.txt`, logs.
//!
//! `:fail` never happened; `:info` is open to the end; who only tells what it does is no client but a mark. A
//! completion must be of what was asked: the same f, the same key, and where it is ok and no read, the same value.
//! Keys are sniffed: where values look like `[k v]` (and a cas like `[k [old new]]`), each k is a key of its own
//! (`jepsen.independent`); what was assumed is said.

mod clients;
mod line;
pub(super) mod log;
pub(super) mod typed;
mod write;

use super::sink::{Again, answers, repeats_call};
use super::text::Text;
use super::tree::{Reader, Syntax, Tree, Trouble};
use super::{Error, Loaded};
use crate::history::{
    Answer, Builder, Call, ClientId, Header, Kind, LIST_APPEND, Malformed, NEVER, Nil, Outcome,
    Value, is_datum, is_kept, kept,
};
use clients::Clients;
use line::Line;
pub(super) use line::{kind, type_of, unknown_f};
use rustc_hash::FxHashMap;
pub use write::write_edn;

/// With this begins the first line of the EDN that [`write_edn`] writes: a comment that says what EDN has no place for.
pub(crate) const CLAIM: &str = "; whitewater: spec ";

/// With this goes on what it says of what each key held before.
pub(super) const BEGINS: &str = ", initial ";

/// Reads EDN: one vector or list of events, or a stream of them. What an ok read of nil means is what `nil` says, else
/// what the first line says where [`write_edn`] wrote it, else nothing.
///
/// # Errors
/// When a datum can't be read or can't follow those before it; its place is named.
pub(super) fn read_edn(text: &Text<'_>, nil: Option<Nil>) -> Result<Loaded, Error> {
    let comment = Reader::new(text.bytes, Syntax::Edn).first_comment();
    let (mut spec, mut start) = (None, None);
    if let Some(claim) = comment
        .as_deref()
        .and_then(|comment| comment.strip_prefix(CLAIM))
    {
        let claim = claim.trim_end();
        let (named, begins) = match claim.split_once(BEGINS) {
            Some((named, text)) => (named, Some(super::initial(text))),
            None => (claim, None),
        };
        let named = named.strip_suffix(", nil is absent");
        spec = named.filter(|spec| ["register", LIST_APPEND].contains(spec));
        start = begins
            .transpose()
            .map_err(|reason| text.malformed(0, reason))?;
        if spec.is_none() {
            let claim = shorten(claim);
            let reason = format!("the first line claims a spec that is not known: {claim}");
            return Err(text.malformed(0, reason));
        }
    }
    read_trees(text, Syntax::Edn, |numbering| {
        let mut feed = Feed::new(nil.unwrap_or(Nil::Any), numbering);
        if let Some(spec) = spec {
            spec.clone_into(&mut feed.builder.header().spec);
            feed.builder.header().initial.clone_from(&start);
            feed.spec_is_known = true;
            feed.builder.nil(nil.unwrap_or(Nil::Absent));
        }
        feed
    })
}

/// Reads the same as JSON: an array of objects, or one after the other.
///
/// # Errors
/// When a datum can't be read or can't follow those before it; its place is named.
pub(super) fn read_json(text: &Text<'_>, nil: Nil) -> Result<Loaded, Error> {
    read_trees(text, Syntax::Json, |numbering| Feed::new(nil, numbering))
}

/// Reads events with their own numbers, or where these are none, with those of their places.
fn read_trees(
    text: &Text<'_>,
    syntax: Syntax,
    feed: impl Fn(Numbering) -> Feed,
) -> Result<Loaded, Error> {
    let wrapping = Wrapping::of(text, syntax)?;
    match read_once(text, syntax, &wrapping, feed(Numbering::Own))? {
        Some(loaded) => Ok(loaded),
        None => {
            let read = read_once(text, syntax, &wrapping, feed(Numbering::Place))?;
            Ok(read.unwrap_or_default())
        }
    }
}

/// The history, or `None` where the events' own numbers are none.
fn read_once(
    text: &Text<'_>,
    syntax: Syntax,
    wrapping: &Wrapping,
    mut feed: Feed,
) -> Result<Option<Loaded>, Error> {
    let skipped = match walk(text, syntax, wrapping, &mut |line| feed.take(line)) {
        Err(_) if feed.numbers_fail => return Ok(None),
        walked => walked?,
    };
    if skipped.0 > 0 && feed.events == 0 {
        let reason = "nothing in it is an event, which has a process, a type, an f and a value";
        return Err(text.malformed(skipped.1, reason));
    }
    let mut loaded = feed.finish(text.name);
    if skipped.0 > 0 {
        let (name, line) = (text.name, text.line(skipped.1));
        loaded.notes.push(format!(
            "{name}: {} records say nothing of an operation and were skipped, line {line} first",
            skipped.0
        ));
    }
    Ok(Some(loaded))
}

/// Gives each event to `take`; then how many records are none, and where the first of them stands.
fn walk(
    text: &Text<'_>,
    syntax: Syntax,
    wrapping: &Wrapping,
    take: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<(usize, usize), Error> {
    let mut reader = Reader::from(text.bytes, wrapping.at, syntax);
    let say = |reader: &Reader<'_>, found: Trouble| trouble(text, reader.began(), found);
    let mut inside = reader.open_list().map_err(|found| say(&reader, found))?;
    let list = reader.began();
    // `[0 :invoke :read nil]` is one event, and no list of them.
    let first = reader.ahead().map_err(|found| say(&reader, found))?;
    if inside
        && !matches!(
            first,
            None | Some(b'{' | b'[' | b'(' | b'#' | b']' | b')' | b':')
        )
    {
        reader = Reader::from(text.bytes, wrapping.at, syntax);
        inside = false;
    }
    let mut skipped = (0, 0);
    loop {
        let tree = match reader.next(inside) {
            Ok(Some(tree)) => tree,
            Ok(None) => break,
            Err(found)
                if found.reason == "the list is not closed" && reader.at() == text.bytes.len() =>
            {
                return Err(trouble(text, list, found));
            }
            Err(found) => return Err(say(&reader, found)),
        };
        match Line::of(&tree) {
            Ok(Some(line)) => {
                take(line).map_err(|reason| text.malformed(reader.began(), reason))?;
            }
            Ok(None) => {
                skipped = match skipped {
                    (0, _) => (1, reader.began()),
                    (skipped, first) => (skipped + 1, first),
                };
            }
            Err(reason) => return Err(text.malformed(reader.began(), reason)),
        }
    }
    wrapping.close(text, &mut reader, inside)?;
    Ok(skipped)
}

/// Where in a text the events stand.
struct Wrapping {
    /// The list of events, or the first of them.
    at: usize,
    /// How many maps are around it.
    depth: u32,
}

/// Members that hold the events of a history, where it is wrapped.
const WRAPPERS: [&str; 7] = [
    "history",
    "events",
    "ops",
    "operations",
    "log",
    "entries",
    "records",
];

impl Wrapping {
    /// The text itself, or the one list of events within the map that it is.
    fn of(text: &Text<'_>, syntax: Syntax) -> Result<Self, Error> {
        let bare = Self { at: 0, depth: 0 };
        let mut reader = Reader::new(text.bytes, syntax);
        Ok(Self::within(&mut reader, text.bytes, syntax, 1).unwrap_or(bare))
    }

    /// The list of events in the next map, if that is where they are.
    fn within(reader: &mut Reader<'_>, bytes: &[u8], syntax: Syntax, depth: u32) -> Option<Self> {
        if !reader.open_map().ok()? {
            return None;
        }
        while let Some(key) = reader.next_key().ok()? {
            let next = reader.ahead().ok()?;
            let known = key
                .word()
                .is_some_and(|word| WRAPPERS.contains(&&*word.to_lowercase()));
            let at = reader.at();
            match next {
                Some(b'[' | b'(') if known => return Some(Self { at, depth }),
                Some(b'{') if depth < 4 => {
                    let mut inner = Reader::from(bytes, at, syntax);
                    if let Some(found) = Self::within(&mut inner, bytes, syntax, depth + 1) {
                        return Some(found);
                    }
                }
                _ => {}
            }
            reader.next(false).ok()?;
        }
        None
    }

    /// Reads what stands behind the events, which must not be more of them.
    fn close(&self, text: &Text<'_>, reader: &mut Reader<'_>, inside: bool) -> Result<(), Error> {
        let say = |reader: &Reader<'_>, found: Trouble| trouble(text, reader.at(), found);
        for _ in 0..self.depth {
            while let Some(key) = reader.next_key().map_err(|found| say(reader, found))? {
                let rest = reader.next(false).map_err(|found| say(reader, found))?;
                let known = key
                    .word()
                    .is_some_and(|word| WRAPPERS.contains(&&*word.to_lowercase()));
                let lists = matches!(&rest, Some(Tree::List(items)) if !items.is_empty());
                if known && lists {
                    return Err(text.malformed(
                        reader.began(),
                        "a second list of events: only one can be judged at a time",
                    ));
                }
            }
        }
        match inside {
            true => reader
                .end()
                .map_err(|found| trouble(text, reader.began(), found)),
            false => Ok(()),
        }
    }
}

/// The error of what could not be read: where it begins, and where that was noticed.
pub(super) fn trouble(text: &Text<'_>, began: usize, found: Trouble) -> Error {
    let (line, noticed) = (text.line(began), text.line(found.at));
    let reason = match noticed {
        _ if noticed == line => found.reason,
        noticed => format!("{} (seen at line {noticed})", found.reason),
    };
    text.malformed(began, reason)
}

/// Where the numbers of events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbering {
    /// Their own index, which rises.
    Own,
    /// Their place in the file.
    Place,
}

/// Takes lines into a history.
struct Feed {
    builder: Builder,
    events: u64,
    /// Whether values carry their key; `None` while nothing has told.
    independent: Option<bool>,
    /// Whether the header has the spec from the file, and not from a first guess.
    spec_is_known: bool,
    clients: Clients,
    numbering: Numbering,
    /// The numbering was [`Numbering::Own`], and the numbers are none.
    numbers_fail: bool,
    order: Order,
    versioned: Versioned,
}

/// Whether values carry a version that the system gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versioned {
    /// Nothing has told yet.
    Unclear,
    No,
    /// `[version value]`.
    Bare,
    /// `[key [version value]]`.
    Keyed,
}

impl Versioned {
    /// What the first operation tells that asks for a value.
    fn of(line: &Line) -> Self {
        let is_cas = kind(&line.f) == Some(Kind::Cas);
        // A cas from nil is no versioned value: that one is `[nil [old new]]`.
        let versioned = |tree: &Tree| {
            matches!(tree, Tree::List(pair) if pair.len() == 2 && pair[0] == Tree::Nil
                && (!is_cas || matches!(&pair[1], Tree::List(both) if both.len() == 2)))
        };
        match &line.value {
            Tree::Nil => Self::Unclear,
            value if versioned(value) => Self::Bare,
            Tree::List(pair) if line.key.is_none() && pair.len() == 2 => match &pair[1] {
                Tree::Nil => Self::Unclear,
                inner if versioned(inner) => Self::Keyed,
                _ => Self::No,
            },
            _ => Self::No,
        }
    }
}

/// What the indices of events say of their order, where events have the numbers of their places.
#[derive(Default)]
struct Order {
    /// The index of each process' open operation.
    open: FxHashMap<String, u64>,
    /// The highest index of an event that does not repeat that of its operation.
    highest: Option<u64>,
    given: bool,
}

impl Feed {
    fn new(nil: Nil, numbering: Numbering) -> Self {
        let mut builder = Builder::new(Header::default());
        builder.nil(nil);
        Self {
            builder,
            events: 0,
            independent: None,
            spec_is_known: false,
            clients: Clients::default(),
            numbering,
            numbers_fail: false,
            order: Order::default(),
            versioned: Versioned::Unclear,
        }
    }

    fn take(&mut self, mut line: Line) -> Result<(), String> {
        let index = self.number(&line)?;
        self.events += 1;
        let say = |error: Malformed| error.to_string();
        let Some(client) = self.clients.of(&line)? else {
            let text = format!("{} {} {}", line.process.text(), line.f, line.value.text());
            return self
                .builder
                .mark(index, line.time_ns, text.trim())
                .map_err(say);
        };
        self.take_off_version(&mut line)?;
        let line = &line;
        if line.kind == "invoke" {
            let (key, value) = self.split(line)?;
            let call = self.call(&line.f, &value)?;
            return self
                .builder
                .invoke(index, line.time_ns, client, None, &key, call)
                .map_err(say);
        }
        let kind = match line.f.as_str() {
            // What answers nothing is refused below.
            "" => self.builder.open_call(client).unwrap_or(Kind::Write),
            f => kind(f).ok_or_else(|| unknown_f(f))?,
        };
        let key = match (&line.key, &line.value) {
            (Some(key), _) => Some(key.name()),
            (None, Tree::List(pair)) if self.independent == Some(true) && pair.len() == 2 => {
                Some(pair[0].name())
            }
            _ => None,
        };
        answers(&self.builder, client, Some(kind), key.as_deref())?;
        let outcome = match line.kind {
            "ok" if kind == Kind::Read => {
                let (_, value) = self.split(line)?;
                Outcome::Ok(self.value(&value)?)
            }
            "ok" => {
                self.repeats(client, kind, line)?;
                Outcome::Ok(None)
            }
            // Some clients call a read that timed out failed, which it is: it had no effect.
            "fail" => Outcome::Failed,
            _ => Outcome::Unknown,
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

    /// Refuses what an ok completion of anything but a read says else than its invocation. Nil says nothing, and what a
    /// delete says is what was there, if anything.
    fn repeats(&mut self, client: ClientId, kind: Kind, line: &Line) -> Result<(), String> {
        let value = match (&line.key, &line.value) {
            (None, Tree::List(pair)) if self.independent == Some(true) && pair.len() == 2 => {
                pair[1].clone()
            }
            (_, value) => value.clone(),
        };
        let again = match &value {
            _ if kind == Kind::Delete => None,
            Tree::List(items) if kind == Kind::Cas && items.len() == 2 => {
                let (old, new) = (self.value(&items[0])?, self.value(&items[1])?);
                old.zip(new).map(|(old, new)| Again::Pair(old, new))
            }
            other => self.value(other)?.map(Again::Value),
        };
        match again {
            Some(again) => repeats_call(&mut self.builder, client, again),
            None => Ok(()),
        }
    }

    /// The key and the value proper.
    fn split(&mut self, line: &Line) -> Result<(String, Tree), String> {
        if let Some(key) = &line.key {
            self.independent.get_or_insert(false);
            return Ok((key.name(), line.value.clone()));
        }
        let pair = match &line.value {
            Tree::List(items) if items.len() == 2 => Some((&items[0], &items[1])),
            _ => None,
        };
        if self.independent.is_none() {
            let cas = kind(&line.f) == Some(Kind::Cas);
            self.independent = Some(match pair {
                // Nothing has nil for its key.
                Some((Tree::Nil, _)) => false,
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
        if kind(f) == Some(Kind::Append) && !self.spec_is_known {
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
            Tree::Set(_) => Err(format!("the value {} is a set", shorten(&value.text()))),
            other => {
                let name = other.name();
                if !is_datum(&name) {
                    return Err(format!("the value {} can't be judged", shorten(&name)));
                }
                Ok(Some(self.builder.names().intern_datum(&name)))
            }
        }
    }

    /// The number of an event.
    fn number(&mut self, line: &Line) -> Result<u64, String> {
        if self.numbering == Numbering::Own {
            let rises = |index: &u64| self.order.highest.is_none_or(|last| *index > last);
            match line.index.filter(|index| *index < u64::from(NEVER)) {
                Some(index) if rises(&index) => {
                    self.order.highest = Some(index);
                    return Ok(index);
                }
                None if self.events == 0 => self.numbering = Numbering::Place,
                _ => {
                    self.numbers_fail = true;
                    return Err("the events' own numbers are none".to_owned());
                }
            }
        }
        if let Some(index) = line.index {
            self.order.take(line, index)?;
        }
        Ok(self.events)
    }

    /// The value without the version that the system gave it, where values are `[version value]`: nobody knows one
    /// before the answer, so the first operation asks for nil and a value.
    fn take_off_version(&mut self, line: &mut Line) -> Result<(), String> {
        let asks = line.kind == "invoke";
        if self.versioned == Versioned::Unclear && asks {
            self.versioned = Versioned::of(line);
        }
        let value = match (self.versioned, &mut line.value) {
            (Versioned::Keyed, Tree::List(pair)) if pair.len() == 2 => &mut pair[1],
            (Versioned::Bare, value) => value,
            _ => return Ok(()),
        };
        let Tree::List(pair) = value else {
            return Ok(());
        };
        match pair.as_mut_slice() {
            [Tree::Int(version), _] if asks => Err(format!(
                "a {} that names version {version}: only values are judged, and no condition on their version",
                line.f
            )),
            [Tree::Nil | Tree::Int(_), inner] => {
                *value = std::mem::replace(inner, Tree::Nil);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(self, name: &str) -> Loaded {
        let mut notes = Vec::new();
        notes.extend(self.clients.note().map(|note| format!("{name}: {note}")));
        if matches!(self.versioned, Versioned::Bare | Versioned::Keyed) {
            notes.push(format!(
                "{name}: values look like [version value]; only the values are judged, and not the versions"
            ));
        }
        if self.order.given && self.numbering == Numbering::Place {
            notes.push(format!(
                "{name}: the indices do not rise from event to event; #N is the Nth event, from 0"
            ));
        }
        if self.independent == Some(true) {
            notes.push(format!(
                "{name}: values look like [key value]; each key is taken as a register of its own"
            ));
        }
        Loaded {
            history: self.builder.finish(),
            notes,
            early: None,
        }
    }
}

impl Order {
    /// Refuses an index that stands behind a higher one. One operation's index may be that of both its events.
    fn take(&mut self, line: &Line, index: u64) -> Result<(), String> {
        self.given = true;
        let process = line.process.name();
        if line.kind != "invoke" && self.open.get(&process) == Some(&index) {
            return Ok(());
        }
        match self.highest {
            Some(highest) if highest > index => Err(format!(
                "index {index} stands behind {highest}: the events are not in order"
            )),
            _ => {
                self.highest = Some(index);
                if line.kind == "invoke" {
                    self.open.insert(process, index);
                }
                Ok(())
            }
        }
    }
}

/// A text that fits into a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
