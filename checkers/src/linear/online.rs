//! The verdict while the history grows: push events, get an alarm at the completion that breaks it.
//!
//! Each key begins with zones, which forget what can't matter any more (`live`); where a value is written twice or a
//! key is deleted, a few operations that stand for its past go into a frontier (`tail`), which goes on from there.
//! Memory is the open operations, the live values, and a bounded record of recent operations for the evidence, 16 MB
//! over all keys (`record`): no verdict needs it.
//!
//! Two things do grow, because they may matter at any time to come: each *unknown* operation that nobody has seen the
//! effect of, some 100 bytes, may still take effect; and an operation without any completion (a client that vanished
//! and of whom nobody recorded that the outcome is unknown) keeps all that came on its key since it began, and makes
//! each event there cost more, since how it ends is part of every verdict. Record `Unknown` for it, and it is settled.

#[cfg(test)]
mod lasting_tests;
mod live;
mod open;
pub(super) mod record;
mod several;
mod tail;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Options;
use crate::format::sink::Moment;
use crate::history::{
    At, Call, ClientId, Event, EventKind, Header, Initial, Malformed, Outcome, Value,
};
use crate::verdict::{Counterexample, Exhausted, Reason, Verdict};
use live::{Differs, Live, Seen};
use open::{Open, OpenOp};
use record::Record;
use several::Several;
use tail::{Found, Pace, Tail};

/// Checks a history event by event.
#[derive(Debug)]
pub struct Online {
    options: Options,
    keys: Vec<Key>,
    numbers: FxHashMap<String, u32>,
    last_key: u32,
    clients: Clients,
    open: u64,
    /// Operations that each key remembers at most.
    room: usize,
    alarm: Option<Box<Counterexample>>,
    malformed: Vec<(u64, Malformed)>,
    last_event: Option<u64>,
    pace: Pace,
    /// Whether the values are promised to be unique.
    unique: bool,
    /// The event behind the last gap.
    gap: Option<u64>,
    /// How many events are lost.
    lost: u64,
    /// What each key held at first.
    initial: Initial,
}

/// What a client is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// An operation: its key, and its place among the open ones of the key.
    Open(u32, u32),
    Idle,
    Unknown,
}

/// What each client is doing: a table for small ids, and hashing for others.
#[derive(Debug, Default)]
struct Clients {
    few: Vec<Doing>,
    others: FxHashMap<ClientId, Doing>,
}

impl Clients {
    /// Ids below this have a place in the table.
    const FEW: u64 = 1 << 16;

    fn of(&mut self, client: ClientId) -> &mut Doing {
        if client >= Self::FEW {
            return self.others.entry(client).or_insert(Doing::Idle);
        }
        let at = client as usize;
        if at >= self.few.len() {
            self.few.resize((at + 1).next_power_of_two(), Doing::Idle);
        }
        &mut self.few[at]
    }
}

/// One key.
#[derive(Debug)]
struct Key {
    name: String,
    record: Record,
    judge: Judge,
    ops: u64,
    open: Open,
    /// The first event from which on it is not sure that each failed cas which compared has its moment.
    undecided: Option<u64>,
    /// The event behind the last gap, or 0.
    behind: u64,
    /// Whether values may be written twice: then nothing can be told of what comes behind a gap.
    repeats: bool,
}

/// The event with which a key stopped being linearizable, or did so at the latest where that is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken {
    event: u64,
    exact: bool,
}

/// What judges a key.
#[derive(Debug)]
enum Judge {
    Zones(Box<Live>),
    /// The same, behind a gap.
    Behind(Box<Live>),
    Frontier(Box<Tail>),
    /// Nobody knows what it held at first.
    Several(Box<Several>),
    /// With how many operations had been proven.
    GaveUp(Box<Reason>, u64),
}

/// How far the verdict has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Operations that have ended and are in the proven part, over all keys.
    pub ops_proven: u64,
    /// Everything up to this event is proven; `None` before the first.
    pub proven_to: Option<u64>,
    /// Operations that are open now.
    pub open: u64,
    /// Possible states of the world that are still told apart, over all keys: one each when all is certain.
    pub worlds: u64,
    /// Each key, in order of appearance.
    pub keys: Vec<KeyProgress>,
}

/// How far one key has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProgress {
    /// The key's name.
    pub key: String,
    /// Its operations so far.
    pub ops: u64,
    /// Those of them that have ended and are proven.
    pub proven: u64,
    /// Those that are open.
    pub open: u64,
    /// Possible states that are still told apart.
    pub worlds: u64,
    /// How it stands.
    pub state: KeyState,
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Linearizable so far.
    Holds,
    /// Not linearizable.
    Violation,
    /// A budget ran out.
    Unknown,
}

impl Online {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            keys: Vec::new(),
            numbers: FxHashMap::default(),
            last_key: 0,
            clients: Clients::default(),
            open: 0,
            room: 0,
            alarm: None,
            malformed: Vec::new(),
            last_event: None,
            pace: Pace::AtOnce,
            unique: false,
            gap: None,
            lost: 0,
            initial: Initial::Absent,
        }
    }

    /// Nothing seen yet, of keys that all began so.
    #[must_use]
    pub fn starting(options: Options, initial: Initial) -> Self {
        Self {
            initial,
            ..Self::new(options)
        }
    }

    /// For a history that is all there: a violation is found, but not before it must be.
    pub(super) fn in_the_end(options: Options, header: &Header, initial: Initial) -> Self {
        Self {
            pace: Pace::InTheEnd,
            unique: header.has_unique_values(),
            ..Self::starting(options, initial)
        }
    }

    /// Takes the next event; gives the counterexample when a violation comes to light, and its `event` names the
    /// completion that made it one: this event, or one shortly before where values repeat. After the first alarm it
    /// only counts.
    pub fn push(&mut self, event: &Event) -> Option<Box<Counterexample>> {
        let from = Moment {
            index: event.index,
            time_ns: event.time_ns,
            client: event.client.unwrap_or_default(),
            node: event.node,
        };
        let taken = match &event.kind {
            EventKind::Mark(_) => self.rises(event.index).map(|()| false),
            EventKind::Gap { lost } => self.gap(event.index, *lost),
            EventKind::Typed(_) => Err(Malformed::OtherType),
            _ if event.client.is_none() => Err(Malformed::NoClient),
            EventKind::Invoke { key, call } => self.invoke(&from, key, *call).map(|()| false),
            EventKind::Complete { outcome, at, .. } => self.complete(&from, *outcome, *at),
        };
        match taken {
            Ok(false) => None,
            Ok(true) => self.alarm.clone(),
            Err(malformed) => {
                self.malformed.push((event.index, malformed));
                None
            }
        }
    }

    /// Takes an invocation.
    pub(crate) fn invoke(&mut self, from: &Moment, key: &str, call: Call) -> Result<(), Malformed> {
        self.rises(from.index)?;
        let client = from.client;
        if let Doing::Open(key, at) = *self.clients.of(client) {
            let open = self.keys[key as usize].open.get(at).invoked;
            return Err(Malformed::AlreadyOpen { client, open });
        }
        if matches!(call, Call::Append(_)) {
            return Err(Malformed::AppendToRegister);
        }
        let number = self.key(key);
        let at = self.keys[number as usize].begin(from, call, self.room);
        *self.clients.of(client) = Doing::Open(number, at);
        self.open += 1;
        Ok(())
    }

    /// Takes a completion; gives whether it raised the alarm.
    pub(crate) fn complete(
        &mut self,
        from: &Moment,
        outcome: Outcome,
        log_id: Option<At>,
    ) -> Result<bool, Malformed> {
        self.rises(from.index)?;
        let client = from.client;
        let doing = self.clients.of(client);
        let (number, at) = match *doing {
            Doing::Open(key, at) => (key, at),
            // A late answer of an unknown operation changes nothing, and of a lost one nobody knows what it says.
            Doing::Unknown => return Ok(false),
            Doing::Idle if self.gap.is_some() => return Ok(false),
            Doing::Idle => return Err(Malformed::NothingOpen { client }),
        };
        *doing = match outcome {
            Outcome::Unknown => Doing::Unknown,
            Outcome::Ok(_) | Outcome::Failed | Outcome::Differed(_) => Doing::Idle,
        };
        self.open -= 1;
        let key = &mut self.keys[number as usize];
        let op = key.open.remove(at);
        key.record.complete(op.number, from, outcome, log_id);
        if self.alarm.is_some() {
            return Ok(false);
        }
        let end = (from.index, outcome, log_id);
        let found = key.end(&op, end, self.pace, &self.options);
        if found.is_some() {
            self.raise(number as usize, found);
        }
        Ok(self.alarm.is_some())
    }

    /// Takes a gap: so many events, of which `index` is the first, are missing. Gives whether that raised the alarm, which
    /// may have been due.
    pub(crate) fn gap(&mut self, index: u64, lost: u64) -> Result<bool, Malformed> {
        let more = lost.checked_sub(1).ok_or(Malformed::EmptyGap)?;
        self.rises(index)?;
        let last = index.saturating_add(more);
        if last >= u64::MAX - 1 {
            return Err(Malformed::IndexTooLarge { index: last });
        }
        self.last_event = Some(last);
        self.gap = Some(last + 1);
        self.lost = self.lost.saturating_add(lost);
        // What is open may have ended in the gap, in whatever way; its client may have begun something else since.
        self.clients = Clients::default();
        self.open = 0;
        let silent = self.alarm.is_none();
        self.conclude();
        for key in &mut self.keys {
            key.go_on_behind(last + 1, self.lost, self.unique);
        }
        Ok(silent && self.alarm.is_some())
    }

    /// Takes the index of an event: both judges count on times that rise, and have uses for the two largest numbers.
    fn rises(&mut self, index: u64) -> Result<(), Malformed> {
        if let Some(last) = self.last_event
            && index <= last
        {
            return Err(Malformed::IndexNotRising { index, last });
        }
        if index >= u64::MAX - 1 {
            return Err(Malformed::IndexTooLarge { index });
        }
        self.last_event = Some(index);
        Ok(())
    }

    /// Looks at what was put off (only where values repeat): for a quiet moment, so that an alarm never waits for the
    /// next event.
    pub fn settle(&mut self) -> Option<Box<Counterexample>> {
        self.ask_all(Key::settle)
    }

    /// Looks at everything as at what nothing follows.
    fn conclude(&mut self) {
        self.ask_all(Key::finish);
    }

    fn ask_all(
        &mut self,
        ask: impl Fn(&mut Key, &Options) -> Option<Broken>,
    ) -> Option<Box<Counterexample>> {
        if self.alarm.is_some() {
            return None;
        }
        for key in 0..self.keys.len() {
            let found = ask(&mut self.keys[key], &self.options);
            self.raise(key, found);
            if self.alarm.is_some() {
                return self.alarm.clone();
            }
        }
        None
    }

    /// How far the verdict has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let keys: Vec<KeyProgress> = self
            .keys
            .iter()
            .map(|key| key.progress(self.alarm.as_deref()))
            .collect();
        let mut proven_to = self.last_event;
        if let Some(alarm) = &self.alarm {
            proven_to = proven_to.min(alarm.event.checked_sub(1));
        }
        for key in &self.keys {
            if let Some(event) = key.undecided {
                proven_to = proven_to.min(event.checked_sub(1));
            }
            if let Judge::GaveUp(reason, _) = &key.judge {
                proven_to = proven_to.min(reason.proven_to);
            } else if let Some(first) = key.first_unsettled() {
                proven_to = proven_to.min(first.checked_sub(1));
            }
        }
        Progress {
            ops_proven: keys.iter().map(|key| key.proven).sum(),
            proven_to,
            open: self.open,
            worlds: keys.iter().map(|key| key.worlds).sum(),
            keys,
        }
    }

    /// Events that could not follow those before them, with their indices; they were left out.
    #[must_use]
    pub fn malformed(&self) -> &[(u64, Malformed)] {
        &self.malformed
    }

    /// The verdict on everything that was pushed.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        self.conclude();
        if let Some(alarm) = self.alarm {
            return Verdict::Violation(alarm);
        }
        let gave_up = self.keys.iter().find_map(Key::unknown);
        gave_up.map_or(Verdict::Linearizable, Verdict::Unknown)
    }

    fn raise(&mut self, key: usize, found: Option<Broken>) {
        if let Some(Broken { event, exact }) = found {
            let key = &self.keys[key];
            let record = &key.record;
            let evidence = record.evidence(
                &key.name,
                event,
                key.behind,
                self.initial,
                self.pace,
                &self.options,
            );
            self.alarm = Some(Box::new(evidence.since(event, exact)));
        }
    }

    fn key(&mut self, name: &str) -> u32 {
        if let Some(key) = self.keys.get(self.last_key as usize)
            && key.name == name
        {
            return self.last_key;
        }
        if let Some(number) = self.numbers.get(name) {
            self.last_key = *number;
            return *number;
        }
        let judge = match self.initial {
            Initial::Absent => Judge::Zones(Box::new(Live::new())),
            Initial::Value(value) => Judge::Zones(Box::new(Live::starting(value))),
            Initial::Any => Judge::Several(Box::new(Several::new())),
        };
        self.keys.push(Key::new(name.to_owned(), judge));
        if let (Some(behind), Some(key)) = (self.gap, self.keys.last_mut()) {
            key.go_on_behind(behind, self.lost, self.unique);
        }
        self.room = record::room(self.options.memory, self.keys.len());
        self.last_key = self.keys.len() as u32 - 1;
        self.numbers.insert(name.to_owned(), self.last_key);
        self.last_key
    }
}

impl Key {
    fn new(name: String, judge: Judge) -> Self {
        Self {
            name,
            record: Record::new(),
            judge,
            ops: 0,
            open: Open::new(),
            undecided: None,
            behind: 0,
            repeats: false,
        }
    }

    /// Why nothing is known of it, where that is so.
    fn unknown(&self) -> Option<Reason> {
        let reason = match &self.judge {
            Judge::GaveUp(reason, _) => return Some((**reason).clone()),
            Judge::Several(several) => several.unknown(),
            Judge::Zones(_) | Judge::Behind(_) | Judge::Frontier(_) => None,
        };
        let compared = || {
            self.undecided.map(|event| Reason {
                exhausted: Exhausted::Compared,
                key: String::new(),
                proven_to: event.checked_sub(1),
                blocking: Vec::new(),
            })
        };
        let key = self.name.clone();
        reason
            .or_else(compared)
            .map(|reason| Reason { key, ..reason })
    }

    /// The first event that is not proven.
    fn first_unsettled(&self) -> Option<u64> {
        match &self.judge {
            Judge::Frontier(tail) => tail.first_unsettled(),
            Judge::Several(several) => several.first_unsettled(),
            Judge::Zones(_) | Judge::Behind(_) | Judge::GaveUp(..) => None,
        }
    }

    /// An operation begins; gives its place among the open ones.
    fn begin(&mut self, from: &Moment, call: Call, room: usize) -> u32 {
        self.ops += 1;
        let number = self.record.begin(from, call, room);
        if let Judge::Zones(live) = &mut self.judge
            && live.begin(from.index, call) == Seen::NotUnique
        {
            if live.follows_comparisons() {
                // What zones have noted of failed cas does not go along.
                self.undecided.get_or_insert(from.index);
            }
            self.repeats |= call != Call::Delete;
            self.judge = Judge::Frontier(Box::new(hand_over(live, &mut self.open)));
        } else if let Judge::Behind(live) = &mut self.judge
            && (self.repeats || live.begin(from.index, call) == Seen::NotUnique)
        {
            // What is lost may have written anything, once more.
            self.give_up(Exhausted::Lost, self.behind.checked_sub(1));
        }
        let in_tail = match &mut self.judge {
            Judge::Frontier(tail) => tail.begin(from.index, call),
            Judge::Several(several) => several.begin(from, call),
            Judge::Zones(_) | Judge::Behind(_) | Judge::GaveUp(..) => 0,
        };
        self.open.push(OpenOp {
            invoked: from.index,
            call,
            number,
            in_tail,
        })
    }

    /// An operation ended; gives the event with which the key stopped being linearizable, if it did.
    fn end(
        &mut self,
        op: &OpenOp,
        (event, outcome, log_id): (u64, Outcome, Option<At>),
        pace: Pace,
        options: &Options,
    ) -> Option<Broken> {
        // A failed cas that was not refused compared.
        if let (Call::Cas { old, .. }, Outcome::Failed, Some(_)) = (op.call, outcome, log_id)
            && !matches!(self.judge, Judge::Several(_))
        {
            self.differs(op, event, old);
        }
        match &mut self.judge {
            Judge::Zones(live) | Judge::Behind(live) => {
                let seen = live.end(op.invoked, event, op.call, outcome, &self.open);
                let exact = true;
                (seen == Seen::Violation).then_some(Broken { event, exact })
            }
            Judge::Frontier(tail) => {
                tail.end(op.in_tail, event, outcome);
                let found = tail.advance(options, pace);
                self.take(found, options)
            }
            Judge::Several(several) => {
                several.end(op.in_tail, (event, outcome, log_id), pace, options)
            }
            Judge::GaveUp(..) => None,
        }
    }

    /// Something else than `old` was there, and the operation does not say what.
    fn differs(&mut self, op: &OpenOp, event: u64, old: Value) {
        let decided = match &mut self.judge {
            Judge::Zones(live) => live.differs(op.invoked, event, old, &self.open),
            // Whatever is lost may have been there.
            Judge::Behind(_) => Differs::Decided,
            Judge::Frontier(_) | Judge::Several(_) | Judge::GaveUp(..) => Differs::Undecided,
        };
        if decided == Differs::Undecided {
            self.undecided.get_or_insert(event);
        }
    }

    /// Looks at what was put off.
    fn settle(&mut self, options: &Options) -> Option<Broken> {
        if let Judge::Several(several) = &mut self.judge {
            return several.settle(options);
        }
        let Judge::Frontier(tail) = &mut self.judge else {
            return None;
        };
        let found = tail.settle(options);
        self.take(found, options)
    }

    /// Looks at everything as at what nothing follows.
    fn finish(&mut self, options: &Options) -> Option<Broken> {
        if let Judge::Behind(live) = &self.judge
            && live.is_overdrawn()
        {
            self.give_up(Exhausted::Lost, self.behind.checked_sub(1));
        }
        if let Judge::Several(several) = &mut self.judge {
            return several.finish(options);
        }
        let Judge::Frontier(tail) = &mut self.judge else {
            return None;
        };
        let found = tail.finish(options);
        self.take(found, options)
    }

    /// What is lost is over: what was open never ends, and what was there may be anything, at event `behind` and later.
    fn go_on_behind(&mut self, behind: u64, lost: u64, unique: bool) {
        self.behind = behind;
        self.repeats |= !unique;
        self.open = Open::new();
        if let Judge::Several(several) = &self.judge
            && let Some(reason) = several.unknown()
        {
            let key = self.name.clone();
            self.judge = Judge::GaveUp(Box::new(Reason { key, ..reason }), 0);
        }
        if !matches!(self.judge, Judge::GaveUp(..)) {
            self.judge = Judge::Behind(Box::new(Live::behind(behind, lost)));
        }
    }

    fn take(&mut self, found: Found, options: &Options) -> Option<Broken> {
        match found {
            Found::Nothing => None,
            Found::Violation { event, exact } => Some(Broken { event, exact }),
            Found::Exhausted(exhausted, proven_to) => {
                // What a key may spend is its budget and what its events pay; the caller knows of the former.
                let exhausted = match exhausted {
                    Exhausted::Configurations { .. } => Exhausted::Configurations {
                        budget: options.budget,
                    },
                    other => other,
                };
                self.give_up(exhausted, proven_to);
                None
            }
        }
    }

    fn give_up(&mut self, exhausted: Exhausted, proven_to: Option<u64>) {
        let mut blocking = Vec::new();
        let record = &self.record;
        self.open
            .for_each(|op| blocking.extend(record.operation(op.number, &self.name)));
        blocking.reverse();
        blocking.truncate(20);
        let after = match &self.judge {
            Judge::Frontier(tail) => tail.ended_after(proven_to),
            _ => 0,
        };
        let proven = (self.ops - self.open.len()).saturating_sub(after);
        let reason = Reason {
            exhausted,
            key: self.name.clone(),
            proven_to,
            blocking,
        };
        self.judge = Judge::GaveUp(Box::new(reason), proven);
    }

    fn progress(&self, alarm: Option<&Counterexample>) -> KeyProgress {
        let ended = self.ops - self.open.len();
        let (proven, worlds, unknown) = match &self.judge {
            Judge::Zones(live) | Judge::Behind(live) => (ended, live.worlds(), false),
            Judge::Frontier(tail) => (ended - tail.unsettled_ends(), tail.worlds(), false),
            Judge::Several(several) => several.progress(ended),
            Judge::GaveUp(_, proven) => (*proven, 0, true),
        };
        let unknown = unknown || self.undecided.is_some();
        let state = match alarm {
            Some(alarm) if alarm.key == self.name => KeyState::Violation,
            _ if unknown => KeyState::Unknown,
            _ => KeyState::Holds,
        };
        KeyProgress {
            key: self.name.clone(),
            ops: self.ops,
            proven: proven.saturating_sub(u64::from(state == KeyState::Violation)),
            open: self.open.len(),
            worlds,
            state,
        }
    }
}

/// Zones can't go on: what stands for the past, and what is open, begins a tail.
fn hand_over(live: &Live, open: &mut Open) -> Tail {
    let mut written = FxHashSet::default();
    open.for_each(|op| written.extend(sets(op.call)));
    Tail::take_over(&live.stand_ins(|value| written.contains(&value)), open)
}

/// What a call sets, by value; `None` is absent.
fn sets(call: Call) -> Option<Value> {
    match call {
        Call::Write(value) | Call::Append(value) | Call::Cas { new: value, .. } => Some(value),
        Call::Read | Call::Delete => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Domain, Generator, Recipe, Violation};
    use crate::history::{History, Operation};
    use crate::linear::check;

    fn step(index: u64, client: u64, kind: EventKind) -> Event {
        Event {
            index,
            time_ns: index,
            client: Some(client),
            node: None,
            kind,
        }
    }

    fn invoke(key: &str, call: Call) -> EventKind {
        let key = key.to_owned();
        EventKind::Invoke { key, call }
    }

    fn ok(found: Option<i64>) -> EventKind {
        EventKind::Complete {
            outcome: Outcome::Ok(found),
            at: None,
            error: None,
        }
    }

    /// What comes after a long history of unique values in which nearly all is forgotten: a delete, and values that repeat.
    fn then(seed: u64, values: Domain, violate: Option<Violation>) -> (Recipe, Vec<Event>) {
        let first = Recipe {
            ops: 3_000,
            clients: 6,
            pending: 0.002,
            failed: 0.02,
            cas: if seed.is_multiple_of(2) { 0.3 } else { 0.0 },
            seed,
            ..Recipe::default()
        };
        let second = Recipe {
            ops: 150,
            clients: 6,
            cas: 0.2,
            delete: 0.1,
            pending: 0.02,
            values,
            violate,
            seed,
            ..Recipe::default()
        };
        let mut events: Vec<Event> = Generator::new(first.clone()).collect();
        let (index, clients) = (events.len() as u64, 1_000_000);
        // A delete makes absent what the second history begins with; its values lie apart.
        let apart = |value: i64| value + 1_000_000;
        events.extend(Generator::new(second).map(|mut event| {
            event.index += index + 2;
            event.client = event.client.map(|client| client + clients);
            match &mut event.kind {
                EventKind::Invoke { call, .. } => {
                    *call = match *call {
                        Call::Write(value) => Call::Write(apart(value)),
                        Call::Cas { old, new } => Call::Cas {
                            old: apart(old),
                            new: apart(new),
                        },
                        other => other,
                    }
                }
                EventKind::Complete {
                    outcome: Outcome::Ok(Some(found)),
                    ..
                } => *found = apart(*found),
                EventKind::Complete { .. }
                | EventKind::Typed(_)
                | EventKind::Mark(_)
                | EventKind::Gap { .. } => {}
            }
            event
        }));
        let delete = [invoke("k0", Call::Delete), ok(None)];
        for (at, kind) in (index..).zip(delete) {
            events.push(step(at, 999_999, kind));
        }
        events.sort_by_key(|event| event.index);
        (first, events)
    }

    #[test]
    fn stand_ins_for_a_long_past_change_no_verdict_and_no_event() {
        let mut violations = 0;
        for seed in 0..60 {
            let violate = [None, Some(Violation::StaleRead), Some(Violation::LostWrite)];
            let (recipe, events) = then(seed, Domain::Small(6), violate[seed as usize % 3]);
            let history = History::from_events(recipe.header(), &events).expect("well formed");
            let whole = check(&history, &Options::default()).verdict;
            // So little memory that the record forgets most of the past.
            let mut online = Online::new(Options {
                memory: 1 << 20,
                ..Options::default()
            });
            for event in &events {
                online.push(event);
            }
            assert_eq!(online.malformed(), [], "seed {seed}");
            let tail = matches!(online.keys[0].judge, Judge::Frontier(_));
            match (online.finish(), whole) {
                (Verdict::Linearizable, Verdict::Linearizable) => assert!(tail, "seed {seed}"),
                (Verdict::Violation(online), Verdict::Violation(whole)) => {
                    assert_eq!(online.event, whole.event, "seed {seed}");
                    violations += 1;
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(violations >= 20, "{violations}");
    }

    #[test]
    fn an_index_must_rise_and_leave_room_behind_it() {
        let unique = [Call::Write(1), Call::Write(2)];
        let repeated = [Call::Delete, Call::Write(1)];
        for [first, second] in [unique, repeated] {
            let mut online = Online::new(Options::default());
            let last = u64::MAX - 2;
            online.push(&step(5, 1, invoke("k", first)));
            for index in [5, 4] {
                online.push(&step(index, 1, ok(None)));
                let mark = Event {
                    client: None,
                    ..step(index, 1, EventKind::Mark("phase".to_owned()))
                };
                online.push(&mark);
            }
            online.push(&step(6, 1, ok(None)));
            online.push(&step(last - 1, 2, invoke("k", second)));
            for index in [u64::MAX, u64::MAX - 1] {
                online.push(&step(index, 2, ok(None)));
                online.push(&step(index, 3, invoke("k", Call::Read)));
            }
            online.push(&step(last, 2, ok(None)));
            let expected: Vec<(u64, Malformed)> = [5, 5, 4, 4]
                .map(|index| (index, Malformed::IndexNotRising { index, last: 5 }))
                .into_iter()
                .chain(
                    [u64::MAX, u64::MAX, u64::MAX - 1, u64::MAX - 1]
                        .map(|index| (index, Malformed::IndexTooLarge { index })),
                )
                .collect();
            assert_eq!(online.malformed(), expected);
            let progress = online.progress();
            assert_eq!((progress.open, progress.ops_proven), (0, 2));
            assert!(online.finish().holds());
        }
    }

    /// A write of 1, a cas from 1 that fails so, and a read of 1: what the online checker says of it.
    fn failed_cas(delete: bool, outcome: Outcome, at: Option<At>) -> Verdict {
        let failed = EventKind::Complete {
            outcome,
            at,
            error: None,
        };
        let mut kinds = vec![
            invoke("k", Call::Write(1)),
            ok(None),
            invoke("k", Call::Cas { old: 1, new: 2 }),
            failed,
            invoke("k", Call::Read),
            ok(Some(1)),
        ];
        if delete {
            kinds.splice(0..0, [invoke("k", Call::Delete), ok(None)]);
        }
        let mut online = Online::new(Options::default());
        for (index, kind) in (0..).zip(kinds) {
            online.push(&step(index, 1, kind));
        }
        assert_eq!(online.malformed(), []);
        online.finish()
    }

    #[test]
    fn a_cas_that_compared_and_failed_is_an_answer() {
        let at = Some(At { term: 1, index: 2 });
        let found = |value| Outcome::Differed(value);
        for (outcome, at, expected) in [
            (Outcome::Failed, None, ["linearizable"; 2]),
            // Where values may repeat only the whole tells.
            (Outcome::Failed, at, ["violation", "unknown"]),
            (found(Some(1)), at, ["violation"; 2]),
            (found(Some(3)), at, ["violation"; 2]),
            (found(None), at, ["violation"; 2]),
        ] {
            for (delete, expected) in [false, true].into_iter().zip(expected) {
                let verdict = failed_cas(delete, outcome, at);
                assert_eq!(verdict.name(), expected, "{outcome:?} {at:?}: {verdict:#?}");
                if let Verdict::Violation(shown) = verdict {
                    let cas = |op: &Operation| matches!(op.call, Call::Cas { .. });
                    let shown = &shown.operations;
                    assert!(shown.iter().any(cas), "{shown:#?}");
                }
            }
        }
    }

    #[test]
    fn an_alarm_whose_evidence_was_forgotten_says_so() {
        let mut events = Vec::new();
        let mut run = |client, call, found| {
            let index = events.len() as u64;
            events.push(step(index, client, invoke("k", call)));
            events.push(step(index + 1, client, ok(found)));
        };
        for value in 0..5_000 {
            run(1, Call::Write(value), None);
        }
        run(2, Call::Read, Some(3));
        let options = Options {
            memory: 1 << 20,
            ..Options::default()
        };
        let mut online = Online::new(options);
        let found = events.iter().find_map(|event| online.push(event));
        let found = found.expect("an alarm");
        assert_eq!((found.event, found.culprit), (10_001, 10_000));
        assert_eq!(found.operations.len(), 1);
        assert!(found.why[0].contains("were forgotten"), "{:?}", found.why);
        assert!(online.keys[0].record.operation(4_999, "k").is_some());
        assert!(online.keys[0].record.operation(2_500, "k").is_none());
    }
}
