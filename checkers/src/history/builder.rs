//! Pairs events into operations, in one pass and in the order of the events.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    ABSENT, At, Call, ClientId, End, Event, EventKind, Gap, Header, History, KeyGap, KeyHistory,
    Kind, Lint, LogId, Mark, NEVER, NOWHERE, Names, Op, Outcome, Row, Value,
};

/// Why events are no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A completion came from a client that has nothing open.
    #[error("client {client} completes an operation but has none open")]
    NothingOpen {
        /// The client.
        client: ClientId,
    },
    /// A client began an operation while another of its own was open.
    #[error("client {client} begins an operation while its operation #{open} is open")]
    AlreadyOpen {
        /// The client.
        client: ClientId,
        /// The event index of the open operation's invocation.
        open: u64,
    },
    /// Event indices must rise.
    #[error("event index {index} does not come after {last}")]
    IndexNotRising {
        /// The index of this event.
        index: u64,
        /// The index of the event before.
        last: u64,
    },
    /// An invocation or completion that does not say whose it is.
    #[error("an operation without a client")]
    NoClient,
    /// An ok cas, write or delete that claims to have found something else than it wrote.
    #[error("the completion says {found}, but client {client} wrote {wrote}")]
    AnswerIsNotTheCall {
        /// The client.
        client: ClientId,
        /// The value in the completion.
        found: Value,
        /// The value in the invocation.
        wrote: Value,
    },
    /// A second completion of an operation that says something else than the first.
    #[error(
        "client {client} completes its operation #{operation} a second time, with another outcome"
    )]
    CompletedTwice {
        /// The client.
        client: ClientId,
        /// The event index of the operation's invocation.
        operation: u64,
    },
    /// An append: only a history of lists has it, and its header says so.
    #[error("a register has no append")]
    AppendToRegister,
    /// An operation of another data type.
    #[error("an operation of another data type than register and list")]
    OtherType,
    /// A gap in which nothing is lost.
    #[error("a gap must say how many events are lost, at least one")]
    EmptyGap,
    /// More events than fit: 2^32 - 2.
    #[error("event index {index} is too large: at most 4294967294 events fit in one history")]
    TooLong {
        /// The index.
        index: u64,
    },
    /// The two largest indices there are can't be followed.
    #[error("event index {index} is too large: 2^64 - 3 is the largest")]
    IndexTooLarge {
        /// The index.
        index: u64,
    },
}

/// What a client is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Open(u32),
    Idle,
    /// Idle, and this was its last operation.
    Done(u32),
    Unknown,
}

/// Client ids below this have a place in a table.
const FEW_CLIENTS: usize = 1 << 20;

/// Takes events in order and makes a [`History`].
#[derive(Debug)]
pub struct Builder {
    history: History,
    keys: FxHashMap<String, u32>,
    clients: FxHashMap<ClientId, u32>,
    /// The numbers of clients with small ids, plus one: a table instead of hashing.
    few_clients: Vec<u32>,
    errors: FxHashMap<Box<str>, u32>,
    doing: Vec<Doing>,
    last_index: Option<u64>,
    last_key: u32,
    nil_reads: Nil,
    /// The rows of reads that said nothing.
    nil_ignored: Vec<u32>,
    /// The rows of reads that were completed again, with nil (or else as failed), where both say nothing.
    nil_again: Vec<(u32, bool)>,
    /// What failed cas found, as reads; each with the number of its key.
    looks: Vec<(u32, Op)>,
}

/// What an ok read without a value means. In a history of lists it is the empty list, whatever is said here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Nil {
    /// The key was absent, and this is checked.
    #[default]
    Absent,
    /// Nothing: such a read is always legal (Knossos).
    Any,
}

impl Builder {
    /// An empty history with this header.
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self {
            history: History {
                header,
                ..History::default()
            },
            keys: FxHashMap::default(),
            clients: FxHashMap::default(),
            few_clients: Vec::new(),
            errors: FxHashMap::default(),
            doing: Vec::new(),
            last_index: None,
            last_key: 0,
            nil_reads: Nil::Absent,
            nil_ignored: Vec::new(),
            nil_again: Vec::new(),
            looks: Vec::new(),
        }
    }

    /// What an ok read without a value means from here on.
    pub fn nil(&mut self, nil: Nil) {
        self.nil_reads = nil;
    }

    /// The header, for a reader that learns more on its way.
    pub fn header(&mut self) -> &mut Header {
        &mut self.history.header
    }

    /// The names of values that are not integers.
    pub fn names(&mut self) -> &mut Names {
        &mut self.history.names
    }

    /// What the client's open operation asks, or, where none is open, what its last one asked whose end is known: a
    /// second completion is about that one.
    #[must_use]
    pub fn open_call(&self, client: ClientId) -> Option<Kind> {
        let facts = self.open_row(client)?;
        Some(self.history.keys[facts.key as usize].ops[facts.op as usize].kind)
    }

    /// The key of the operation that [`Builder::open_call`] is about.
    #[must_use]
    pub fn open_key(&self, client: ClientId) -> Option<&str> {
        let facts = self.open_row(client)?;
        Some(&self.history.keys[facts.key as usize].name)
    }

    /// What that operation asks, in full.
    pub(crate) fn asked(&self, client: ClientId) -> Option<Call> {
        let row = self.last_row(client)?;
        Some(self.history.call(row))
    }

    fn open_row(&self, client: ClientId) -> Option<Row> {
        let row = self.last_row(client)?;
        Some(self.history.rows[row as usize])
    }

    fn last_row(&self, client: ClientId) -> Option<u32> {
        let number = self.known_client(client)?;
        match self.doing[number as usize] {
            Doing::Open(row) | Doing::Done(row) => Some(row),
            Doing::Idle | Doing::Unknown => None,
        }
    }

    /// The clients whose last operation has an outcome that nobody knows.
    pub(crate) fn unknown_clients(&self) -> Vec<ClientId> {
        let doing = self.history.clients.iter().zip(&self.doing);
        let unknown = doing.filter(|(_, doing)| matches!(doing, Doing::Unknown));
        unknown.map(|(client, _)| *client).collect()
    }

    /// The index of the last event, whatever came of it.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.last_index
    }

    /// Takes one event.
    ///
    /// # Errors
    /// When it can't follow what came before.
    pub fn event(&mut self, event: &Event) -> Result<(), Malformed> {
        match &event.kind {
            EventKind::Mark(text) => self.mark(event.index, event.time_ns, text),
            EventKind::Gap { lost } => self.gap(event.index, event.time_ns, *lost),
            EventKind::Typed(_) => Err(Malformed::OtherType),
            EventKind::Invoke { key, call } => {
                let client = event.client.ok_or(Malformed::NoClient)?;
                self.invoke(event.index, event.time_ns, client, event.node, key, *call)
            }
            EventKind::Complete { outcome, at, error } => {
                let client = event.client.ok_or(Malformed::NoClient)?;
                let answer = Answer {
                    outcome: *outcome,
                    at: *at,
                    node: event.node,
                };
                self.complete(event.index, event.time_ns, client, answer, error.as_deref())
            }
        }
    }

    /// Takes a mark.
    ///
    /// # Errors
    /// When the index does not rise.
    pub fn mark(&mut self, index: u64, time_ns: u64, text: &str) -> Result<(), Malformed> {
        self.advance(index)?;
        self.history.text_bytes += text.len();
        self.history.marks.push(Mark {
            index,
            time_ns,
            text: text.to_owned(),
        });
        Ok(())
    }

    /// Takes a gap: `lost` events, of which `index` is the first, are missing here.
    ///
    /// # Errors
    /// When the index does not rise, or nothing is lost.
    pub fn gap(&mut self, index: u64, time_ns: u64, lost: u64) -> Result<(), Malformed> {
        let more = lost.checked_sub(1).ok_or(Malformed::EmptyGap)?;
        self.advance(index)?;
        let last = index.saturating_add(more);
        if last >= u64::from(NEVER) {
            return Err(Malformed::TooLong { index: last });
        }
        self.last_index = Some(last);
        self.history.gaps.push(Gap {
            index,
            time_ns,
            lost,
        });
        // What is open may have ended in the gap, in whatever way; its client may have begun something else since.
        self.doing.fill(Doing::Idle);
        for key in &mut self.history.keys {
            key.gaps.push(KeyGap {
                at: key.events,
                events: lost,
            });
        }
        Ok(())
    }

    /// Takes an invocation.
    ///
    /// # Errors
    /// When the index does not rise or the client has an operation open.
    pub fn invoke(
        &mut self,
        index: u64,
        time_ns: u64,
        client: ClientId,
        node: Option<u64>,
        key: &str,
        call: Call,
    ) -> Result<(), Malformed> {
        let invoked = self.advance(index)?;
        if matches!(call, Call::Append(_)) && !self.history.header.is_lists() {
            return Err(Malformed::AppendToRegister);
        }
        let number = self.client_number(client);
        match self.doing[number as usize] {
            Doing::Open(row) => {
                let open = self.history.invoked(row);
                return Err(Malformed::AlreadyOpen { client, open });
            }
            Doing::Unknown => self.history.lints.push(Lint::ClientAfterUnknown {
                client,
                event: index,
            }),
            Doing::Idle | Doing::Done(_) => {}
        }
        let row = self.history.rows.len() as u32;
        let key = self.key_number(key);
        let of_key = &mut self.history.keys[key as usize];
        let (kind, value, old) = match call {
            Call::Read => (Kind::Read, ABSENT, ABSENT),
            Call::Write(value) => (Kind::Write, of_key.values.number(value), ABSENT),
            Call::Cas { old, new } => {
                let old = of_key.values.number(old);
                (Kind::Cas, of_key.values.number(new), old)
            }
            Call::Delete => (Kind::Delete, ABSENT, ABSENT),
            Call::Append(value) => (Kind::Append, of_key.values.number(value), ABSENT),
        };
        let op = of_key.ops.len() as u32;
        of_key.ops.push(Op {
            call: of_key.events,
            ret: NEVER,
            value,
            old,
            row,
            kind,
            end: End::Unknown,
        });
        of_key.events += 1;
        self.history.rows.push(Row {
            invoked_ns: time_ns,
            completed_ns: 0,
            at: LogId::NONE,
            invoked,
            completed: NEVER,
            client: number,
            node: small(node),
            key,
            op,
        });
        self.doing[number as usize] = Doing::Open(row);
        Ok(())
    }

    /// Takes a completion.
    ///
    /// # Errors
    /// When the index does not rise, the client has nothing open, or the answer contradicts the call.
    pub fn complete(
        &mut self,
        index: u64,
        time_ns: u64,
        client: ClientId,
        answer: Answer,
        error: Option<&str>,
    ) -> Result<(), Malformed> {
        let completed = self.advance(index)?;
        let number = self.client_number(client);
        let answer = match answer.outcome {
            // Of a list it is not known what was there instead.
            Outcome::Differed(_) if self.history.header.is_lists() => Answer {
                outcome: Outcome::Failed,
                ..answer
            },
            _ => answer,
        };
        let row = match self.doing[number as usize] {
            Doing::Open(row) => row,
            // It was begun in a gap, or before it: nobody can tell.
            Doing::Idle if !self.history.gaps.is_empty() => return Ok(()),
            Doing::Idle => return Err(Malformed::NothingOpen { client }),
            Doing::Done(row) => return self.again(index, client, row, answer.outcome),
            Doing::Unknown => {
                self.history.lints.push(Lint::LateCompletion {
                    client,
                    event: index,
                });
                return Ok(());
            }
        };
        let facts = &mut self.history.rows[row as usize];
        facts.completed = completed;
        facts.completed_ns = time_ns;
        if let Some(at) = answer.at {
            facts.at = LogId::of(at);
            if facts.at == LogId::FAR {
                self.history.far.insert(row, at);
            }
        }
        if answer.node.is_some() {
            facts.node = small(answer.node);
        }
        if let Some(error) = error {
            self.put_error(row, error);
        }
        let facts = &self.history.rows[row as usize];
        let of_key = &mut self.history.keys[facts.key as usize];
        let op = &mut of_key.ops[facts.op as usize];
        self.doing[number as usize] = match answer.outcome {
            Outcome::Unknown => Doing::Unknown,
            Outcome::Ok(_) | Outcome::Failed | Outcome::Differed(_) => Doing::Done(row),
        };
        match answer.outcome {
            Outcome::Ok(found) => {
                op.end = End::Ok;
                match (op.kind, found) {
                    (Kind::Read, Some(value)) => op.value = of_key.values.number(value),
                    (Kind::Read, None) if self.nil_reads == Nil::Any => {
                        op.end = End::Failed;
                        self.nil_ignored.push(row);
                    }
                    (_, Some(found)) => {
                        let wrote = of_key.values.value(op.value);
                        if wrote != Some(found) {
                            let wrote = wrote.unwrap_or_default();
                            return Err(Malformed::AnswerIsNotTheCall {
                                client,
                                found,
                                wrote,
                            });
                        }
                    }
                    (_, None) => {}
                }
            }
            // A read without an answer had no effect: as if it had failed.
            Outcome::Unknown if op.kind != Kind::Read => return Ok(()),
            Outcome::Failed | Outcome::Differed(_) | Outcome::Unknown => op.end = End::Failed,
        }
        op.ret = of_key.events;
        of_key.events += 1;
        if op.kind == Kind::Cas && op.end == End::Failed {
            self.compared(row, answer);
        }
        Ok(())
    }

    /// Takes what a failed cas says of the value that was there. One that was refused says nothing.
    #[cold]
    fn compared(&mut self, row: u32, answer: Answer) {
        if self.history.header.is_lists() {
            return;
        }
        let key = self.history.rows[row as usize].key;
        let of_key = &mut self.history.keys[key as usize];
        let op = of_key.ops[self.history.rows[row as usize].op as usize];
        let found = match answer.outcome {
            Outcome::Differed(found) => found,
            _ => {
                if answer.at.is_some() {
                    of_key.compared.push(row);
                }
                return;
            }
        };
        let value = match found {
            None => ABSENT,
            // It can't have found that and failed: there is no write that explains such an answer.
            Some(found) if of_key.values.value(op.old) == Some(found) => {
                of_key.values.another(found)
            }
            Some(found) => of_key.values.number(found),
        };
        self.history.found.insert(row, value);
        let look = Op {
            value,
            old: ABSENT,
            kind: Kind::Read,
            end: End::Ok,
            ..op
        };
        self.looks.push((key, look));
    }

    /// Puts a client's words for an error beside the row of its operation; equal ones are kept once.
    #[cold]
    fn put_error(&mut self, row: u32, error: &str) {
        let text = match self.errors.get(error) {
            Some(text) => *text,
            None => {
                let text = self.history.error_texts.len() as u32;
                self.history.error_texts.push(error.into());
                self.history.text_bytes += error.len() * 2;
                self.errors.insert(error.into(), text);
                text
            }
        };
        self.history.errors.insert(row, text);
    }

    /// Takes a second completion of one operation: odd if it repeats the first, malformed if it contradicts it.
    #[cold]
    fn again(
        &mut self,
        event: u64,
        client: ClientId,
        row: u32,
        outcome: Outcome,
    ) -> Result<(), Malformed> {
        let first = self.history.operation(row);
        let operation = first.id;
        let is_read = first.call == Call::Read;
        if !repeats(is_read, self.nil_reads, first.outcome, outcome) {
            return Err(Malformed::CompletedTwice { client, operation });
        }
        if is_read
            && self.nil_reads == Nil::Any
            && matches!(outcome, Outcome::Ok(None) | Outcome::Failed)
        {
            // In a history of lists they say different things, and that these are lists may be known later only.
            self.nil_again.push((row, outcome == Outcome::Ok(None)));
        }
        self.history.lints.push(Lint::CompletedTwice {
            client,
            operation,
            event,
        });
        Ok(())
    }

    /// The history so far; what is open stays unknown.
    #[must_use]
    pub fn finish(mut self) -> History {
        let lists = self.history.header.is_lists();
        if lists {
            // Not before all is read it is known for sure that these are lists: then nil is the empty one.
            let in_doubt = self.reads_in_doubt();
            for row in std::mem::take(&mut self.nil_ignored) {
                if in_doubt.contains(&row) {
                    continue;
                }
                let facts = self.history.rows[row as usize];
                self.history.keys[facts.key as usize].ops[facts.op as usize].end = End::Ok;
            }
            for row in in_doubt {
                self.history.lints.push(Lint::ReadInDoubt {
                    client: self.history.client(row),
                    operation: self.history.invoked(row),
                });
            }
            self.number_lists();
        }
        self.place_looks();
        if let Some(initial) = self.history.header.initial.take() {
            // Readers have refused what is none.
            drop(self.history.begin_at(initial));
        }
        let unique = self.history.header.has_unique_values();
        for key in &mut self.history.keys {
            key.unique = unique;
        }
        if !self.nil_ignored.is_empty() {
            self.history.lints.push(Lint::NilReadsIgnored {
                reads: self.nil_ignored.len() as u64,
            });
        }
        self.history
    }

    /// The reads that were answered both with nil and as failed: neither is to be believed, whichever came first.
    fn reads_in_doubt(&mut self) -> BTreeSet<u32> {
        let again = std::mem::take(&mut self.nil_again);
        let nil: FxHashSet<u32> = self.nil_ignored.iter().copied().collect();
        let other = again
            .into_iter()
            .filter(|(row, says_nil)| *says_nil != nil.contains(row));
        other.map(|(row, _)| row).collect()
    }

    /// Puts what failed cas found among the operations, each right behind its cas.
    fn place_looks(&mut self) {
        for (key, look) in std::mem::take(&mut self.looks) {
            let of_key = &mut self.history.keys[key as usize];
            of_key.ops.push(look);
            of_key.looks += 1;
        }
        for key in &mut self.history.keys {
            key.compared.sort_unstable();
            if key.looks == 0 {
                continue;
            }
            key.ops.sort_by_key(|op| (op.call, op.kind == Kind::Read));
            // From behind: of two with one row, the cas comes first.
            for (i, op) in key.ops.iter().enumerate().rev() {
                self.history.rows[op.row as usize].op = i as u32;
            }
        }
    }

    /// Puts the elements of each key's lists beside its values.
    fn number_lists(&mut self) {
        let names = &self.history.names;
        for key in &mut self.history.keys {
            let list = |number: u32| Some((number, names.list(key.values.value(number)?)?));
            let lists = (0..key.values.len() as u32).filter_map(list);
            key.lists = Some(lists.map(|(number, list)| (number, list.into())).collect());
        }
    }

    fn advance(&mut self, index: u64) -> Result<u32, Malformed> {
        if let Some(last) = self.last_index
            && index <= last
        {
            return Err(Malformed::IndexNotRising { index, last });
        }
        if index >= u64::from(NEVER) {
            return Err(Malformed::TooLong { index });
        }
        self.last_index = Some(index);
        self.history.events += 1;
        Ok(index as u32)
    }

    #[inline]
    fn client_number(&mut self, client: ClientId) -> u32 {
        match self.known_client(client) {
            Some(number) => number,
            None => self.new_client(client),
        }
    }

    #[cold]
    fn new_client(&mut self, client: ClientId) -> u32 {
        let number = self.doing.len() as u32;
        self.history.clients.push(client);
        self.doing.push(Doing::Idle);
        match usize::try_from(client) {
            Ok(id) if id < FEW_CLIENTS => {
                if id >= self.few_clients.len() {
                    self.few_clients.resize((id + 1).next_power_of_two(), 0);
                }
                self.few_clients[id] = number + 1;
            }
            _ => {
                self.clients.insert(client, number);
            }
        }
        number
    }

    #[inline]
    fn known_client(&self, client: ClientId) -> Option<u32> {
        if client < FEW_CLIENTS as u64 {
            let number = self.few_clients.get(client as usize).copied();
            return number.unwrap_or(0).checked_sub(1);
        }
        self.clients.get(&client).copied()
    }

    /// How many bytes the history holds so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.history.bytes()
    }

    /// How many events were taken.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.history.events
    }

    fn key_number(&mut self, key: &str) -> u32 {
        if let Some(last) = self.history.keys.get(self.last_key as usize)
            && last.name == key
        {
            return self.last_key;
        }
        self.last_key = match self.keys.get(key) {
            Some(number) => *number,
            None => {
                let number = self.history.keys.len() as u32;
                let gaps = self.history.gaps.iter().map(|gap| gap.lost);
                self.keys.insert(key.to_owned(), number);
                self.history.keys.push(KeyHistory {
                    name: key.to_owned(),
                    // It may have been used within each gap.
                    gaps: gaps.map(|events| KeyGap { at: 0, events }).collect(),
                    ..KeyHistory::default()
                });
                number
            }
        };
        self.last_key
    }
}

/// Whether a second completion says the same as the first.
pub(crate) fn repeats(is_read: bool, nil: Nil, first: Outcome, second: Outcome) -> bool {
    let plain = |outcome| match outcome {
        // A write may be answered with what it wrote, or with nothing.
        Outcome::Ok(_) if !is_read => Outcome::Ok(None),
        // A read that says nothing was taken as a failed one.
        Outcome::Ok(None) if nil == Nil::Any => Outcome::Failed,
        other => other,
    };
    plain(first) == plain(second)
}

/// What a completion says.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How the operation ended.
    pub outcome: Outcome,
    /// The log id of the answer.
    pub at: Option<At>,
    /// Who answered, where the recorder knows.
    pub node: Option<u64>,
}

/// Node ids are small; one that is not is forgotten rather than mistaken for another.
fn small(node: Option<u64>) -> u32 {
    node.and_then(|node| u32::try_from(node).ok())
        .unwrap_or(NOWHERE)
}
