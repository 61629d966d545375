//! Judges a history while it is read, so that its length costs no memory.
//!
//! A history that fits into the limit is kept whole: then a verdict comes with all that the whole can tell. With the
//! event that exceeds it, what was kept is fed to the [online](super::online) checker and let go, and everything after
//! goes the same way: memory is then the open operations, the live values, what each client did last, and a bounded
//! record for the evidence. Only registers can be judged so: a history of lists is kept whole, however long it is.
//!
//! What is kept counts with its marks, the names of its keys and the texts of its values. Two things stay and grow, even
//! after a history is let go: each key that ever occurred, some kilobyte of it, and each different value that is no
//! integer, whose number must stay its own. The limit does not bound these.

use std::io::BufRead;

use super::Options;
use super::online::{Online, record};
use crate::format::sink::{Moment, Sink};
use crate::format::{self, Came, Error, Format, Loaded};
use rustc_hash::FxHashMap;

use crate::history::{
    At, Builder, Call, ClientId, EventKind, Header, History, Kind, Malformed, Names, Nil, Outcome,
    repeats,
};
use crate::verdict::Verdict;

/// What came of a file.
#[derive(Debug)]
pub enum Read {
    /// It fits: the history, to be checked.
    Whole(Box<Loaded>),
    /// It was judged on its way.
    Judged(Box<Streamed>),
}

/// A history that was judged and not kept.
#[derive(Debug)]
pub struct Streamed {
    /// The verdict.
    pub verdict: Verdict,
    /// Operations.
    pub ops: u64,
    /// Keys.
    pub keys: u64,
    /// The sequential machine, as the header names it.
    pub spec: String,
    /// The names of values that are not integers.
    pub names: Names,
    /// What was tolerated or assumed, as sentences: shown beside the verdict.
    pub notes: Vec<String>,
}

/// Reads a history, and judges it on its way where it would hold more than `options.memory` bytes. The options' budget
/// gives way to the one that the header pins, unless `pinned` says that the caller insists. Formats that are not ours
/// and histories of lists are always kept whole; the latter with a note where they are longer.
///
/// # Errors
/// As [`format::read`].
pub fn read(
    input: impl BufRead,
    name: &str,
    format: Option<Format>,
    nil: Option<Nil>,
    options: &Options,
    pinned: bool,
) -> Result<Read, Error> {
    let begin = |header: Header, nil| {
        let budget = header.budget.filter(|_| !pinned);
        let options = Options {
            budget: budget.unwrap_or(options.budget),
            ..*options
        };
        let mut builder = Builder::new(header);
        builder.nil(nil);
        Gauge {
            options,
            nil,
            taking: Taking::Whole(Box::new(builder)),
            kept_for_its_lists: false,
        }
    };
    match format::read_into(input, name, format, nil, begin)? {
        Came::Whole(loaded) => Ok(Read::Whole(loaded)),
        Came::Through(gauge, mut notes) => Ok(match gauge.taking {
            Taking::Whole(builder) => {
                if gauge.kept_for_its_lists {
                    notes.push(format!(
                        "{name}: longer than {} MB of memory hold; kept whole all the same, since only registers can be judged on their way",
                        options.memory >> 20
                    ));
                }
                Read::Whole(Box::new(Loaded {
                    history: builder.finish(),
                    notes,
                }))
            }
            Taking::Passing(passing) => {
                notes.push(format!(
                    "{name}: longer than {} MB of memory hold; judged on its way, with recent operations as evidence; lints were not looked for",
                    options.memory >> 20
                ));
                Read::Judged(Box::new(passing.finish(notes)))
            }
        }),
    }
}

/// Keeps a history until it is too large.
struct Gauge {
    options: Options,
    nil: Nil,
    taking: Taking,
    /// It was too large, and could not be let go.
    kept_for_its_lists: bool,
}

enum Taking {
    Whole(Box<Builder>),
    Passing(Box<Passing>),
}

/// Events on their way to the online checker.
struct Passing {
    online: Online,
    nil: Nil,
    spec: String,
    names: Names,
    clients: Clients,
    last_index: Option<u64>,
    ops: u64,
    /// Whether events were lost.
    gap: bool,
}

/// What each client did last: so that a second completion is known as one.
#[derive(Default)]
struct Clients {
    few: Vec<Client>,
    others: FxHashMap<ClientId, Client>,
}

/// One client.
#[derive(Clone, Default)]
struct Client {
    doing: Doing,
    /// The key of its last operation.
    key: String,
}

/// What a client is doing.
#[derive(Clone, Copy, Default)]
enum Doing {
    #[default]
    Idle,
    /// The event index of the invocation, and what it asks.
    Open(u64, Kind),
    /// The same, and how it ended.
    Done(u64, Kind, Outcome),
    Unknown,
}

impl Clients {
    /// Ids below this have a place in the table.
    const FEW: u64 = 1 << 16;

    fn of(&mut self, client: ClientId) -> &mut Client {
        if client >= Self::FEW {
            return self.others.entry(client).or_default();
        }
        let at = client as usize;
        if at >= self.few.len() {
            let table = (at + 1).next_power_of_two();
            self.few.resize(table, Client::default());
        }
        &mut self.few[at]
    }

    fn known(&self, client: ClientId) -> Option<&Client> {
        match usize::try_from(client) {
            Ok(at) if client < Self::FEW => self.few.get(at),
            _ => self.others.get(&client),
        }
    }
}

impl Gauge {
    /// The history was too large: it is replayed, and let go.
    fn let_go(&mut self) -> Result<(), Malformed> {
        let Taking::Whole(builder) = &mut self.taking else {
            return Ok(());
        };
        let builder = std::mem::replace(&mut **builder, Builder::new(Header::default()));
        let unknown = builder.unknown_clients();
        let last_index = builder.last_index();
        let history = builder.finish();
        let mut passing = Passing::new(self.options, self.nil, history.header.spec.clone());
        passing.replay(&history)?;
        // Marks and second completions are not replayed, and count all the same.
        passing.last_index = last_index;
        // A read without an answer counts as failed, but its client does not know.
        for client in unknown {
            passing.clients.of(client).doing = Doing::Unknown;
        }
        passing.names = history.names;
        self.taking = Taking::Passing(Box::new(passing));
        Ok(())
    }
}

impl Sink for Gauge {
    fn names(&mut self) -> &mut Names {
        match &mut self.taking {
            Taking::Whole(builder) => builder.names(),
            Taking::Passing(passing) => &mut passing.names,
        }
    }

    fn open_call(&self, client: ClientId) -> Option<Kind> {
        match &self.taking {
            Taking::Whole(builder) => builder.open_call(client),
            Taking::Passing(passing) => {
                let ended = || passing.last(client).map(|(kind, _)| kind);
                passing.online.open_call(client).or_else(ended)
            }
        }
    }

    fn open_key(&self, client: ClientId) -> Option<&str> {
        match &self.taking {
            Taking::Whole(builder) => builder.open_key(client),
            Taking::Passing(passing) => passing.last(client).map(|(_, key)| key),
        }
    }

    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => Sink::invoke(&mut **builder, from, key, call),
            Taking::Passing(passing) => passing.invoke(from, key, call),
        }
    }

    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
        error: Option<&str>,
    ) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => Sink::complete(&mut **builder, from, outcome, at, error),
            Taking::Passing(passing) => passing.complete(from, outcome, at),
        }
    }

    fn mark(&mut self, index: u64, time_ns: u64, text: &str) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => builder.mark(index, time_ns, text),
            Taking::Passing(passing) => passing.rises(index),
        }
    }

    fn gap(&mut self, index: u64, time_ns: u64, lost: u64) -> Result<(), Malformed> {
        match &mut self.taking {
            Taking::Whole(builder) => builder.gap(index, time_ns, lost),
            Taking::Passing(passing) => passing.gap(index, lost),
        }
    }

    fn pause(&mut self) -> Result<(), Malformed> {
        let Taking::Whole(builder) = &mut self.taking else {
            return Ok(());
        };
        if builder.bytes() + record::bytes(self.options.memory) <= self.options.memory {
            return Ok(());
        }
        if builder.header().is_lists() {
            self.kept_for_its_lists = true;
            return Ok(());
        }
        self.let_go()
    }
}

impl Passing {
    fn new(options: Options, nil: Nil, spec: String) -> Self {
        Self {
            online: Online::new(options),
            nil,
            spec,
            names: Names::default(),
            clients: Clients::default(),
            last_index: None,
            ops: 0,
            gap: false,
        }
    }

    /// What a client asked last, and of which key, where that is open or its end is known.
    fn last(&self, client: ClientId) -> Option<(Kind, &str)> {
        let client = self.clients.known(client)?;
        match client.doing {
            Doing::Open(_, kind) | Doing::Done(_, kind, _) => Some((kind, &client.key)),
            Doing::Idle | Doing::Unknown => None,
        }
    }

    fn replay(&mut self, history: &History) -> Result<(), Malformed> {
        let mut taken = Ok(());
        history.replay(|event| {
            if taken.is_err() {
                return;
            }
            // What a builder took is well formed, and nil reads that say nothing have become failed ones.
            let moment = Moment {
                index: event.index,
                time_ns: event.time_ns,
                client: event.client.unwrap_or_default(),
                node: event.node,
            };
            taken = match &event.kind {
                EventKind::Mark(_) => Ok(()),
                EventKind::Gap { lost } => self.gap(event.index, *lost),
                EventKind::Invoke { key, call } => self.invoke(moment, key, *call),
                EventKind::Complete { outcome, at, .. } => self.complete(moment, *outcome, *at),
            };
        });
        taken
    }

    fn invoke(&mut self, from: Moment, key: &str, call: Call) -> Result<(), Malformed> {
        self.rises(from.index)?;
        self.online.invoke(&from, key, call)?;
        self.ops += 1;
        let kind = match call {
            Call::Read => Kind::Read,
            Call::Write(_) => Kind::Write,
            Call::Cas { .. } => Kind::Cas,
            Call::Delete => Kind::Delete,
            Call::Append(_) => Kind::Append,
        };
        let client = self.clients.of(from.client);
        client.doing = Doing::Open(from.index, kind);
        key.clone_into(&mut client.key);
        Ok(())
    }

    fn complete(
        &mut self,
        from: Moment,
        outcome: Outcome,
        at: Option<At>,
    ) -> Result<(), Malformed> {
        self.rises(from.index)?;
        let client = from.client;
        let doing = &mut self.clients.of(client).doing;
        let (operation, kind) = match *doing {
            Doing::Open(operation, kind) => (operation, kind),
            Doing::Done(operation, kind, first) => {
                return match repeats(kind == Kind::Read, self.nil, first, outcome) {
                    true => Ok(()),
                    false => Err(Malformed::CompletedTwice { client, operation }),
                };
            }
            // Unknown is the weaker claim, and of a lost operation nobody knows what it says.
            Doing::Unknown => return Ok(()),
            Doing::Idle if self.gap => return Ok(()),
            Doing::Idle => return Err(Malformed::NothingOpen { client }),
        };
        *doing = match outcome {
            Outcome::Unknown => Doing::Unknown,
            Outcome::Ok(_) | Outcome::Failed => Doing::Done(operation, kind, outcome),
        };
        let says_nothing =
            self.nil == Nil::Any && outcome == Outcome::Ok(None) && kind == Kind::Read;
        let outcome = if says_nothing {
            Outcome::Failed
        } else {
            outcome
        };
        // An alarm stays with the checker, which only counts from there on.
        self.online.complete(&from, outcome, at)?;
        Ok(())
    }

    fn gap(&mut self, index: u64, lost: u64) -> Result<(), Malformed> {
        self.rises(index)?;
        self.online.gap(index, lost)?;
        self.last_index = Some(index.saturating_add(lost - 1));
        self.gap = true;
        self.clients = Clients::default();
        Ok(())
    }

    fn rises(&mut self, index: u64) -> Result<(), Malformed> {
        if let Some(last) = self.last_index
            && index <= last
        {
            return Err(Malformed::IndexNotRising { index, last });
        }
        self.last_index = Some(index);
        Ok(())
    }

    fn finish(self, notes: Vec<String>) -> Streamed {
        Streamed {
            ops: self.ops,
            keys: self.online.progress().keys.len() as u64,
            verdict: self.online.finish(),
            spec: self.spec,
            names: self.names,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::jsonl;
    use crate::generate::{Generator, Recipe, Violation};
    use crate::linear::check;

    fn text(violate: Option<Violation>, seed: u64) -> Vec<u8> {
        let recipe = Recipe {
            ops: 20_000,
            clients: 8,
            keys: 3,
            pending: 0.02,
            failed: 0.02,
            violate,
            seed,
            ..Recipe::default()
        };
        let mut text = Vec::new();
        jsonl::write_header(&mut text, &recipe.header()).expect("a vector takes everything");
        for event in Generator::new(recipe) {
            jsonl::write_event(&mut text, &event).expect("a vector takes everything");
        }
        text
    }

    /// Reads within a memory that the history exceeds on its way.
    fn streamed(text: &[u8], memory: u64) -> Result<Streamed, Error> {
        let options = Options {
            memory,
            ..Options::default()
        };
        match read(text, "h", None, None, &options, false)? {
            Read::Judged(streamed) => Ok(*streamed),
            Read::Whole(_) => panic!("it was to be too large"),
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_whole() {
        for (seed, violate) in [
            (1, None),
            (2, Some(Violation::StaleRead)),
            (3, Some(Violation::FutureRead)),
            (4, Some(Violation::AbortedRead)),
        ] {
            let text = text(violate, seed);
            let loaded = format::read(text.as_slice(), "h", None, None).expect("a history");
            let whole = check(&loaded.history, &Options::default());
            let streamed = streamed(&text, 1 << 20).expect("a history");
            assert_eq!(streamed.ops, whole.ops);
            assert_eq!(streamed.keys, 3);
            match (&streamed.verdict, &whole.verdict) {
                (Verdict::Linearizable, Verdict::Linearizable) => assert!(violate.is_none()),
                (Verdict::Violation(streamed), Verdict::Violation(whole)) => {
                    assert_eq!(streamed.event, whole.event);
                }
                other => panic!("{violate:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_long_history_of_lists_is_kept_whole_and_holds() {
        let mut text = b"{\"whitewater\":1,\"spec\":\"list-append\"}\n".to_vec();
        let mut index = 0;
        let mut event = |rest: String| {
            let line = format!("{{\"index\":{index},\"client\":1,{rest}}}\n");
            text.extend_from_slice(line.as_bytes());
            index += 1;
        };
        for i in 0..20_000 {
            let key = i / 2;
            if i % 2 == 0 {
                event(format!(
                    "\"type\":\"invoke\",\"f\":\"append\",\"key\":\"k{key}\",\"value\":{i}"
                ));
                event("\"type\":\"ok\"".to_owned());
            } else {
                event(format!(
                    "\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k{key}\""
                ));
                event(format!("\"type\":\"ok\",\"value\":[{}]", i - 1));
            }
        }
        let options = Options {
            memory: 1 << 20,
            ..Options::default()
        };
        let came = read(text.as_slice(), "h", None, None, &options, false).expect("a history");
        let Read::Whole(loaded) = came else {
            panic!("lists can't be judged on their way");
        };
        assert!(loaded.notes[0].contains("kept whole"), "{:?}", loaded.notes);
        assert_eq!(loaded.history.len(), 20_000);
        assert!(check(&loaded.history, &options).verdict.holds());
    }

    /// What whoever reads the whole says of a text, and what is said on its way.
    fn both(text: &[u8]) -> [String; 2] {
        let whole = format::read(text, "h", None, None).map(|loaded| loaded.history);
        let whole = whole.map(|history| check(&history, &Options::default()).verdict);
        let streamed = streamed(text, 1 << 20).map(|streamed| {
            let note = streamed.notes.last().expect("a note");
            assert!(note.contains("lints were not looked for"), "{note}");
            streamed.verdict
        });
        [whole, streamed].map(|came| match came {
            Ok(verdict) => verdict.name().to_owned(),
            Err(error) => error.to_string(),
        })
    }

    #[test]
    fn a_second_completion_is_taken_as_in_the_whole() {
        let plain = text(None, 6);
        let events = plain.iter().filter(|byte| **byte == b'\n').count() - 1;
        let write = "\"type\":\"invoke\",\"f\":\"write\",\"key\":\"new\",\"value\":1";
        let read = "\"type\":\"invoke\",\"f\":\"read\",\"key\":\"new\"";
        let cases: [(&[&str], &str); 6] = [
            (
                &[write, "\"type\":\"ok\"", "\"type\":\"ok\""],
                "linearizable",
            ),
            (
                &[write, "\"type\":\"info\"", "\"type\":\"ok\""],
                "linearizable",
            ),
            (
                &[read, "\"type\":\"info\"", "\"type\":\"fail\""],
                "linearizable",
            ),
            (
                &[
                    read,
                    "\"type\":\"ok\",\"value\":null",
                    "\"type\":\"ok\",\"value\":null",
                ],
                "linearizable",
            ),
            (
                &[
                    read,
                    "\"type\":\"ok\",\"value\":null",
                    "\"type\":\"ok\",\"value\":7",
                ],
                "with another outcome",
            ),
            (
                &[write, "\"type\":\"ok\"", "\"type\":\"fail\""],
                "with another outcome",
            ),
        ];
        for (lines, expected) in cases {
            // At the end, and between what is kept and what passes.
            for at_once in [false, true] {
                let client = 900_000;
                let mut text = Vec::new();
                let mut plain = plain.split_inclusive(|byte| *byte == b'\n');
                text.extend_from_slice(plain.next().expect("a header"));
                let mut index = 0;
                let mut add = |text: &mut Vec<u8>, line: &str| {
                    let line = format!("{{\"index\":{index},\"client\":{client},{line}}}\n");
                    index += 1;
                    text.extend_from_slice(line.as_bytes());
                };
                if at_once {
                    for line in &lines[..2] {
                        add(&mut text, line);
                    }
                }
                for line in plain {
                    let line = String::from_utf8_lossy(line);
                    let (_, rest) = line.split_once(",\"client\":").expect("an event");
                    let (id, rest) = rest.split_once(',').expect("an event");
                    let line = format!("{{\"index\":{index},\"client\":{id},{rest}");
                    index += 1;
                    text.extend_from_slice(line.as_bytes());
                }
                let left = if at_once { 2 } else { 0 };
                for line in &lines[left..] {
                    let line = format!("{{\"index\":{index},\"client\":{client},{line}}}\n");
                    index += 1;
                    text.extend_from_slice(line.as_bytes());
                }
                assert_eq!(index, events + lines.len());
                let [whole, streamed] = both(&text);
                assert_eq!(whole, streamed, "{lines:?} {at_once}");
                assert!(whole.contains(expected), "{lines:?}: {whole}");
            }
        }
    }

    #[test]
    fn an_index_must_rise_past_what_is_not_replayed() {
        let mut online = Gauge {
            options: Options::default(),
            nil: Nil::Absent,
            taking: Taking::Whole(Box::new(Builder::new(Header::default()))),
            kept_for_its_lists: false,
        };
        let from = |index| Moment {
            index,
            time_ns: 0,
            client: 1,
            node: None,
        };
        let failed =
            |gauge: &mut Gauge, index| gauge.complete(from(index), Outcome::Failed, None, None);
        online
            .invoke(from(1), "k", Call::Write(1))
            .expect("it rises");
        for index in [5, 9] {
            failed(&mut online, index).expect("it rises");
        }
        online.mark(12, 0, "phase").expect("it rises");
        online.let_go().expect("well formed");
        for index in [6, 10, 12] {
            let expected = Err(Malformed::IndexNotRising { index, last: 12 });
            assert_eq!(failed(&mut online, index), expected);
        }
        failed(&mut online, 13).expect("it rises");
    }

    #[test]
    fn what_is_kept_counts_with_its_texts() {
        let long = "x".repeat(30_000);
        let write = |key: &str, value: &str| {
            format!("\"invoke\",\"f\":\"write\",\"key\":\"{key}\",\"value\":{value}")
        };
        let (mut marks, mut names, mut keys, mut errors) = (vec![], vec![], vec![], vec![]);
        for i in 0..100 {
            let text = format!("{long}{i}");
            marks.push([format!("\"mark\",\"value\":\"{text}\""), String::new()]);
            names.push([write("k", &format!("\"{text}\"")), "\"ok\"".to_owned()]);
            keys.push([write(&text, "1"), "\"ok\"".to_owned()]);
            let failed = format!("\"fail\",\"error\":\"{text}\"");
            errors.push([write("k", &i.to_string()), failed]);
        }
        for lines in [marks, names, keys, errors] {
            let mut text = "{\"whitewater\":1}\n".to_owned();
            // Three million bytes and more, in few operations.
            let ends = (0..1_000).map(|_| {
                let read = "\"invoke\",\"f\":\"read\",\"key\":\"end\"".to_owned();
                [read, "\"ok\",\"value\":null".to_owned()]
            });
            let all = lines.into_iter().chain(ends).flatten();
            for (index, line) in (0..).zip(all.filter(|line| !line.is_empty())) {
                let line = format!("{{\"index\":{index},\"client\":1,\"type\":{line}}}\n");
                text.push_str(&line);
            }
            let streamed = streamed(text.as_bytes(), 2 << 20);
            assert!(streamed.expect("a history").verdict.holds());
        }
    }

    #[test]
    fn a_bad_line_is_named_after_the_history_was_let_go() {
        let mut text = text(None, 5);
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        text.extend_from_slice(b"{\"index\":7,\"type\":\"mark\",\"value\":\"late\"}\n");
        let error = streamed(&text, 1 << 20).expect_err("an index that falls");
        let expected = format!("h:{}: event index 7 does not come after ", lines + 1);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
