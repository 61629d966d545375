//! What clients saw, as data: the language that every room and every format shares.
//!
//! A history is a sequence of [`Event`]s in the order in which one recorder stamped them. An operation is an
//! invocation and, perhaps, the completion that answers it. [`Builder`] pairs them; nothing else does.
//!
//! ```text
//!  client 1   ├── write x=1 ──┤ok
//!  client 2          ├── read x ──┤ok 1
//!  client 3             ├── cas x 1→2 ┄┄┄┄┄┄ unknown: it may take effect at any time from its start, or never
//! ```
//!
//! A [`History`] keeps an operation twice, each time small: 24 bytes beside the other operations of its key
//! ([`Op`], all that an algorithm reads), and one row of what only people want (clocks, node, log id).

mod builder;
mod lint;
mod little;
mod names;
mod start;
mod values;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub(crate) use builder::repeats;
pub use builder::{Answer, Builder, Malformed, Nil};
pub use lint::Lint;
pub use little::Little;
pub use names::Names;
pub(crate) use names::{Named, is_datum, is_kept, kept, quoted, written};
pub(crate) use start::{ANY, initial_of, quotes_needed};
pub use start::{Initial, Start};
pub use values::Values;

/// A register's value. Formats whose values are not integers intern them, and keep their names in [`History::names`]:
/// the 2^32 integers from `i64::MIN / 2` on are theirs, and no file may use one as a value.
pub type Value = i64;

/// One logical client: it has at most one operation open, and never acts again after an unknown outcome.
pub type ClientId = u64;

/// What a client asks of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Read the key.
    Read,
    /// Set the key, whatever it held.
    Write(Value),
    /// Set the key to `new` if it holds `old`.
    Cas {
        /// The value that must be there.
        old: Value,
        /// The value that replaces it.
        new: Value,
    },
    /// Remove the key; a read then finds it absent.
    Delete,
    /// Add an element, or each of a list's, at the end of the key's list. Only list-append histories have this.
    Append(Value),
}

impl Call {
    /// Its kind.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Read => Kind::Read,
            Self::Write(_) => Kind::Write,
            Self::Cas { .. } => Kind::Cas,
            Self::Delete => Kind::Delete,
            Self::Append(_) => Kind::Append,
        }
    }
}

/// How an operation ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect, once, between its invocation and its completion. A read carries what it found (`None`: absent).
    Ok(Option<Value>),
    /// It is proven that it never took effect and never will. Of a cas whose answer has a log id, also that it compared:
    /// something else than what it expected was there.
    Failed,
    /// A cas compared, found this instead of what it expected (`None`: absent), and changed nothing: as good as a read.
    Differed(Option<Value>),
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
}

impl Outcome {
    /// Whether it is proven that the operation never took effect and never will.
    #[must_use]
    pub fn is_failed(self) -> bool {
        matches!(self, Self::Failed | Self::Differed(_))
    }
}

/// Where an answer stands in the replicated log, as the node that answered said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct At {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A client is about to send `call` on `key`.
    Invoke {
        /// The key's name.
        key: String,
        /// What is asked.
        call: Call,
    },
    /// The client's open operation ended.
    Complete {
        /// How it ended.
        outcome: Outcome,
        /// The log id of the answer, where one was given.
        at: Option<At>,
        /// Why it failed or is unknown, in the client's words.
        error: Option<String>,
    },
    /// What a client of another data type asks, or is answered: see [`crate::types`].
    Typed(Box<crate::types::operation::Event>),
    /// Not an operation: a fault was put in or taken out, or a phase began.
    Mark(String),
    /// Not an operation: the events from this index on could not be recorded. See [`Gap`].
    Gap {
        /// How many: at least one.
        lost: u64,
    },
}

/// What an event is to whoever only counts operations, of whichever data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// An operation of this name begins.
    Begins(&'a str),
    /// One ends.
    Ends(How, Option<&'a str>),
    /// It is none of an operation.
    Aside,
}

/// How an operation ended, without its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With an answer.
    Ok,
    /// Proven not to have happened.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl EventKind {
    /// What it is to whoever only counts.
    #[must_use]
    pub fn step(&self) -> Step<'_> {
        use crate::types::operation::Phase;
        match self {
            Self::Invoke { call, .. } => Step::Begins(call.kind().name()),
            Self::Complete { outcome, error, .. } => {
                Step::Ends((*outcome).into(), error.as_deref())
            }
            Self::Typed(event) => match event.phase {
                Phase::Invoke => Step::Begins(&event.f),
                Phase::Ok => Step::Ends(How::Ok, event.error.as_deref()),
                Phase::Fail => Step::Ends(How::Failed, event.error.as_deref()),
                Phase::Info => Step::Ends(How::Unknown, event.error.as_deref()),
            },
            Self::Mark(_) | Self::Gap { .. } => Step::Aside,
        }
    }
}

impl From<Outcome> for How {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok(_) => Self::Ok,
            Outcome::Failed | Outcome::Differed(_) => Self::Failed,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the recorder's total order, from 0 and strictly increasing.
    pub index: u64,
    /// The recorder's monotonic clock. For people: order is decided by `index`.
    pub time_ns: u64,
    /// Who did it; `None` for a mark and for a gap.
    pub client: Option<ClientId>,
    /// The node that was asked, where the recorder knows.
    pub node: Option<u64>,
    /// What happened.
    pub kind: EventKind,
}

/// An invocation and the completion that answers it, if one came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The event index of the invocation.
    pub id: u64,
    /// Who asked.
    pub client: ClientId,
    /// The key's name.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// How it ended; [`Outcome::Unknown`] also while it is open.
    pub outcome: Outcome,
    /// The event index of the invocation.
    pub invoked: u64,
    /// The event index of the completion; `None` while it is open.
    pub completed: Option<u64>,
    /// The recorder's clock at the invocation.
    pub invoked_ns: u64,
    /// The recorder's clock at the completion.
    pub completed_ns: Option<u64>,
    /// The node that was asked or that answered, where the recorder knows.
    pub node: Option<u64>,
    /// The log id of the answer, where one was given.
    pub at: Option<At>,
    /// Why it failed or is unknown, in the client's words.
    pub error: Option<String>,
}

/// What the first line of a history file says about the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format: 1.
    pub whitewater: u32,
    /// The sequential machine: `register` or `list-append`.
    #[serde(default = "Header::default_spec")]
    pub spec: String,
    /// The seed of the run or of the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// `unique` where the writer promises that no two operations on one key write the same value, be they on record or
    /// lost: only then a violation behind a gap is proof. Deletes do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// What each key holds before the first event, as a value of the format; null, or nothing, is absent. The string
    /// `any` says that nobody knows: whatever explains the most. The string itself is said in quotes, `"\"any\""`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<serde_json::Value>,
    /// The budget in configurations under which this file is to be checked, where it is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Anything else that a writer wants to keep (scenario, nodes, note); never read by a checker.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// The promise that no value is written twice.
const UNIQUE: &str = "unique";

/// The name of the spec in which each key is a list.
pub const LIST_APPEND: &str = "list-append";

impl Default for Header {
    fn default() -> Self {
        Self {
            whitewater: 1,
            spec: Self::default_spec(),
            seed: None,
            values: None,
            initial: None,
            budget: None,
            extra: BTreeMap::new(),
        }
    }
}

impl Header {
    /// A header for a register history made from `seed`.
    #[must_use]
    pub fn register(seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..Self::default()
        }
    }

    /// The same with the promise that no value is written twice.
    #[must_use]
    pub fn with_unique_values(self) -> Self {
        Self {
            values: Some(UNIQUE.to_owned()),
            ..self
        }
    }

    /// Whether that is promised.
    #[must_use]
    pub fn has_unique_values(&self) -> bool {
        self.values.as_deref() == Some(UNIQUE)
    }

    fn default_spec() -> String {
        "register".to_owned()
    }

    /// Whether the keys are lists that are appended to, and not registers.
    #[must_use]
    pub fn is_lists(&self) -> bool {
        self.spec == LIST_APPEND
    }
}

/// Something that a nemesis did, or a phase that began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its position among the events.
    pub index: u64,
    /// The recorder's clock.
    pub time_ns: u64,
    /// What it says.
    pub text: String,
}

/// Events that happened and that nobody has on record, because they could not be written.
///
/// What was open when the gap began is unknown from there on, and a client may complete behind it what it began within.
/// Behind it a key may hold anything, and what was begun within may still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The index of the first event that is lost.
    pub index: u64,
    /// The recorder's clock.
    pub time_ns: u64,
    /// How many events are lost: the next one on record has the index `index + lost`, or a higher one.
    pub lost: u64,
}

/// The kind of an [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Found `value`.
    Read,
    /// Set `value`.
    Write,
    /// Set `value` where `old` was.
    Cas,
    /// Set absent.
    Delete,
    /// Added `value` at the end.
    Append,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::Cas,
        Self::Delete,
        Self::Append,
    ];

    /// Its name in files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Cas => "cas",
            Self::Delete => "delete",
            Self::Append => "append",
        }
    }
}

/// How an [`Op`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum End {
    /// It took effect once, before `ret`.
    Ok,
    /// It never took effect.
    Failed,
    /// It may take effect at any time after `call`, or never; `ret` is [`NEVER`].
    Unknown,
}

/// The `ret` of an operation that has not ended, or of which nobody knows whether it has.
pub const NEVER: u32 = u32::MAX;

/// The dense number of "absent", in every key's [`Values`].
pub const ABSENT: u32 = 0;

/// An operation as the algorithms see it: 24 bytes, times and values numbered densely within its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Position of the invocation among the events of this key.
    pub call: u32,
    /// Position of the completion, or [`NEVER`].
    pub ret: u32,
    /// What was read or written, as a number of [`Values`].
    pub value: u32,
    /// What a cas expects.
    pub old: u32,
    /// The operation's row in the history.
    pub row: u32,
    /// What was asked.
    pub kind: Kind,
    /// How it ended.
    pub end: End,
}

/// The operations of one key, in order of invocation.
#[derive(Clone, Debug, Default)]
pub struct KeyHistory {
    /// The key's name.
    pub name: String,
    /// Its operations, in order of invocation.
    pub ops: Vec<Op>,
    /// How many events it has: positions are below this.
    pub events: u32,
    /// Where events of this key may be lost, in order.
    pub gaps: Vec<KeyGap>,
    /// Whether the header promises that no value is written twice. It matters only behind a gap.
    pub unique: bool,
    /// Its values by number.
    pub values: Values,
    /// In a list-append history, the elements of those values that are lists, by number.
    pub lists: Option<Lists>,
    /// How many of `ops` are looks: reads with the row of a failed cas, right behind it, of what that one found.
    pub looks: u32,
    /// What it holds before the first event.
    pub start: Start,
    /// The rows, in order, of failed cas that compared and did not say what they found.
    pub compared: Vec<u32>,
}

/// A [`Gap`], as the algorithms see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGap {
    /// The position of the key's first event behind it.
    pub at: u32,
    /// How many events are lost, of this key and of others.
    pub events: u64,
}

/// The elements of values that are lists, by the number of the value within its key.
pub type Lists = FxHashMap<u32, Box<[Value]>>;

impl KeyHistory {
    /// How many bytes it holds.
    fn bytes(&self) -> usize {
        let ops = self.ops.len() * size_of::<Op>() + self.compared.len() * 4;
        // Its name is kept a second time, to find it.
        size_of::<Self>() + self.name.len() * 2 + 48 + ops + self.values.bytes()
    }
}

/// What only people want to know of an operation, in 48 bytes.
#[derive(Clone, Copy, Debug)]
struct Row {
    invoked_ns: u64,
    completed_ns: u64,
    at: LogId,
    invoked: u32,
    completed: u32,
    client: u32,
    node: u32,
    key: u32,
    op: u32,
}

/// A node that is not known, in a [`Row`].
const NOWHERE: u32 = u32::MAX;

/// A log id in a [`Row`]: eight bytes for those that logs really have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LogId {
    term: u32,
    index: u32,
}

impl LogId {
    /// None was given.
    const NONE: Self = Self {
        term: u32::MAX,
        index: u32::MAX,
    };
    /// It does not fit, and stands in [`History::far`].
    const FAR: Self = Self {
        term: u32::MAX,
        index: 0,
    };

    /// The log id in short, where it fits.
    fn of(at: At) -> Self {
        match (u32::try_from(at.term), u32::try_from(at.index)) {
            (Ok(term), Ok(index)) if term < u32::MAX => Self { term, index },
            _ => Self::FAR,
        }
    }
}

/// Events paired into operations, split by key, values numbered. Made by a [`Builder`].
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the file's first line said, or what was assumed.
    pub header: Header,
    /// The names of values that are not integers.
    pub names: Names,
    /// What is odd, though not malformed.
    pub lints: Vec<Lint>,
    /// Faults and phases.
    pub marks: Vec<Mark>,
    /// Where events are lost.
    pub gaps: Vec<Gap>,
    /// The operations of each key, keys in order of appearance.
    pub keys: Vec<KeyHistory>,
    rows: Vec<Row>,
    clients: Vec<ClientId>,
    /// Clients' words by row, as places in `error_texts`: most runs have few different ones.
    errors: FxHashMap<u32, u32>,
    error_texts: Vec<Box<str>>,
    /// Bytes of marks and of clients' words.
    text_bytes: usize,
    /// Log ids that do not fit into a row.
    far: FxHashMap<u32, At>,
    /// What failed cas found, by row, as numbers of their keys' values.
    found: FxHashMap<u32, u32>,
    events: u64,
}

impl History {
    /// Pairs `events` into a register history.
    ///
    /// # Errors
    /// When they are no history: see [`Malformed`].
    pub fn from_events<'a>(
        header: Header,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Self, Malformed> {
        let mut builder = Builder::new(header);
        for event in events {
            builder.event(event)?;
        }
        Ok(builder.finish())
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many bytes the history holds, as far as they grow with it: what a reader's limit is about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let of_keys: usize = self.keys.iter().map(KeyHistory::bytes).sum();
        let rows = self.rows.len() * size_of::<Row>();
        let marks = self.marks.len() * size_of::<Mark>();
        let lints = self.lints.len() * size_of::<Lint>();
        let errors = self.errors.len() * 16 + self.error_texts.len() * 64 + self.found.len() * 48;
        let texts = self.text_bytes + self.names.bytes();
        (of_keys + rows + errors + marks + lints + texts + self.clients.len() * 24) as u64
    }

    /// How many events were read, marks included.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many operations ended ok, failed and unknown, in this order.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let mut counts = (0, 0, 0);
        for op in self.keys.iter().flat_map(|key| &key.ops) {
            match op.end {
                End::Ok => counts.0 += 1,
                End::Failed => counts.1 += 1,
                End::Unknown => counts.2 += 1,
            }
        }
        counts.0 -= self
            .keys
            .iter()
            .map(|key| u64::from(key.looks))
            .sum::<u64>();
        counts
    }

    /// The operation in `row`, for people.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn operation(&self, row: u32) -> Operation {
        let facts = self.rows[row as usize];
        let key = &self.keys[facts.key as usize];
        let op = key.ops[facts.op as usize];
        let value = key.values.value(op.value);
        let call = self.call(row);
        let outcome = match op.end {
            End::Ok if op.kind == Kind::Read => Outcome::Ok(value),
            End::Ok => Outcome::Ok(None),
            End::Failed => match self.found.get(&row) {
                Some(found) => Outcome::Differed(key.values.value(*found)),
                None => Outcome::Failed,
            },
            End::Unknown => Outcome::Unknown,
        };
        let ended = facts.completed != NEVER;
        Operation {
            id: u64::from(facts.invoked),
            client: self.clients[facts.client as usize],
            key: key.name.clone(),
            call,
            outcome,
            invoked: u64::from(facts.invoked),
            completed: ended.then_some(u64::from(facts.completed)),
            invoked_ns: facts.invoked_ns,
            completed_ns: ended.then_some(facts.completed_ns),
            node: (facts.node != NOWHERE).then_some(u64::from(facts.node)),
            at: self.log_id(row),
            error: self
                .errors
                .get(&row)
                .map(|text| self.error_texts[*text as usize].to_string()),
        }
    }

    /// What the operation in `row` asked.
    #[must_use]
    pub(crate) fn call(&self, row: u32) -> Call {
        let facts = self.rows[row as usize];
        let key = &self.keys[facts.key as usize];
        let op = key.ops[facts.op as usize];
        let value = || key.values.value(op.value).unwrap_or_default();
        match op.kind {
            Kind::Read => Call::Read,
            Kind::Write => Call::Write(value()),
            Kind::Cas => Call::Cas {
                old: key.values.value(op.old).unwrap_or_default(),
                new: value(),
            },
            Kind::Delete => Call::Delete,
            Kind::Append => Call::Append(value()),
        }
    }

    /// Every operation, in order of invocation. Each is built anew: for people and tests, not for algorithms.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        (0..self.rows.len() as u32).map(|row| self.operation(row))
    }

    /// The event index of an operation's completion, where it has one.
    #[must_use]
    pub fn completed(&self, row: u32) -> Option<u64> {
        let completed = self.rows[row as usize].completed;
        (completed != NEVER).then_some(u64::from(completed))
    }

    /// The event index of an operation's invocation.
    #[must_use]
    pub fn invoked(&self, row: u32) -> u64 {
        u64::from(self.rows[row as usize].invoked)
    }

    /// Who asked for an operation.
    #[must_use]
    pub fn client(&self, row: u32) -> ClientId {
        self.clients[self.rows[row as usize].client as usize]
    }

    /// Whether a failed cas said what it found.
    pub(crate) fn is_look(&self, row: u32) -> bool {
        self.found.contains_key(&row)
    }

    /// The log id that an operation was answered with.
    #[must_use]
    pub fn log_id(&self, row: u32) -> Option<At> {
        match self.rows[row as usize].at {
            LogId::NONE => None,
            LogId::FAR => self.far.get(&row).copied(),
            LogId { term, index } => Some(At {
                term: u64::from(term),
                index: u64::from(index),
            }),
        }
    }

    /// The events again, in order: what a writer of another format needs, and what the online checker is tested with.
    #[must_use]
    pub fn to_events(&self) -> Vec<Event> {
        let mut events = Vec::with_capacity(self.rows.len() * 2 + self.marks.len());
        self.replay(|event| events.push(event));
        events
    }

    /// The events again, one by one in order, holding only those that are open.
    pub fn replay(&self, mut take: impl FnMut(Event)) {
        // Ends that are still to come, the next one first.
        let mut ends: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
        let marks = self.marks.iter().map(Self::mark_event);
        let mut marks: Vec<Event> = marks.chain(self.gaps.iter().map(Self::gap_event)).collect();
        marks.sort_by_key(|event| event.index);
        let mut marks = marks.into_iter().peekable();
        for row in 0..=self.rows.len() as u32 {
            let next = self.rows.get(row as usize);
            let begin = next.map_or(u64::MAX, |next| u64::from(next.invoked));
            loop {
                let end = ends.peek().map_or(u64::MAX, |end| u64::from(end.0.0));
                let mark = marks.peek().map_or(u64::MAX, |mark| mark.index);
                if begin <= end.min(mark) {
                    break;
                }
                if mark < end {
                    marks
                        .next()
                        .map_or_else(|| unreachable!("it was peeked at"), &mut take);
                } else if let Some(Reverse((_, row))) = ends.pop() {
                    take(self.end_event(row));
                }
            }
            if let Some(next) = next {
                take(self.begin_event(row));
                if next.completed != NEVER {
                    ends.push(Reverse((next.completed, row)));
                }
            }
        }
    }

    fn begin_event(&self, row: u32) -> Event {
        let operation = self.operation(row);
        Event {
            index: operation.invoked,
            time_ns: operation.invoked_ns,
            client: Some(operation.client),
            node: operation.node,
            kind: EventKind::Invoke {
                key: operation.key,
                call: operation.call,
            },
        }
    }

    fn end_event(&self, row: u32) -> Event {
        let operation = self.operation(row);
        Event {
            index: operation.completed.unwrap_or_default(),
            time_ns: operation.completed_ns.unwrap_or_default(),
            client: Some(operation.client),
            node: operation.node,
            kind: EventKind::Complete {
                outcome: operation.outcome,
                at: operation.at,
                error: operation.error,
            },
        }
    }

    fn mark_event(mark: &Mark) -> Event {
        Event {
            index: mark.index,
            time_ns: mark.time_ns,
            client: None,
            node: None,
            kind: EventKind::Mark(mark.text.clone()),
        }
    }

    fn gap_event(gap: &Gap) -> Event {
        Event {
            index: gap.index,
            time_ns: gap.time_ns,
            client: None,
            node: None,
            kind: EventKind::Gap { lost: gap.lost },
        }
    }
}
