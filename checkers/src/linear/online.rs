//! The verdict while the history grows: push events, get an alarm at the completion that breaks it.
//!
//! Each key begins with zones, which forget what can't matter any more (`live`); where a value is written twice or a
//! key is deleted, its events so far are replayed into a frontier (`tail`), which goes on from there. Memory is the
//! open operations, the live values, and a bounded record of recent operations for the evidence.

mod live;
mod record;
mod tail;

use rustc_hash::FxHashMap;

use super::Options;
use super::evidence::prove;
use crate::history::{Call, ClientId, Event, EventKind, Malformed, Outcome};
use crate::verdict::{Counterexample, Exhausted, Reason, Verdict};
use live::{Live, Seen};
use record::Record;
use tail::{Found, Tail};

/// Checks a history event by event.
#[derive(Debug)]
pub struct Online {
    options: Options,
    keys: Vec<Key>,
    numbers: FxHashMap<String, usize>,
    clients: FxHashMap<ClientId, Doing>,
    open: u64,
    /// Operations on record, over all keys.
    on_record: usize,
    alarm: Option<Box<Counterexample>>,
    malformed: Vec<(u64, Malformed)>,
    last_event: Option<u64>,
}

/// What a client is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// An operation: its key, and its number in the key's record.
    Open(usize, u64),
    Idle,
    Unknown,
}

/// One key.
#[derive(Debug)]
struct Key {
    name: String,
    record: Record,
    judge: Judge,
    ops: u64,
    open: u64,
}

/// What judges a key.
#[derive(Debug)]
enum Judge {
    Zones(Box<Live>),
    Frontier(Box<Tail>),
    GaveUp(Box<Reason>),
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
            clients: FxHashMap::default(),
            open: 0,
            on_record: 0,
            alarm: None,
            malformed: Vec::new(),
            last_event: None,
        }
    }

    /// Takes the next event; gives the counterexample when a violation comes to light, and its `event` names the
    /// completion that made it one: this event, or one shortly before where values repeat. After the first alarm it
    /// only counts.
    pub fn push(&mut self, event: &Event) -> Option<Box<Counterexample>> {
        self.last_event = Some(event.index);
        match (&event.kind, event.client) {
            (EventKind::Mark(_), _) => return None,
            (_, None) => self.malformed.push((event.index, Malformed::NoClient)),
            (EventKind::Invoke { key, call }, Some(client)) => {
                if let Some(Doing::Open(key, number)) = self.clients.get(&client) {
                    let open = self.keys[*key]
                        .record
                        .get(*number)
                        .map_or(0, |op| op.invoked);
                    let twice = Malformed::AlreadyOpen { client, open };
                    self.malformed.push((event.index, twice));
                    return None;
                }
                if matches!(call, Call::Append(_)) {
                    let append = Malformed::AppendToRegister;
                    self.malformed.push((event.index, append));
                    return None;
                }
                let key = self.key(key);
                let room = self.on_record < record::room(self.options.memory);
                let before = self.keys[key].record.len();
                let number = self.keys[key].begin(event, client, *call, room);
                self.on_record += self.keys[key].record.len() - before;
                self.clients.insert(client, Doing::Open(key, number));
                self.open += 1;
            }
            (EventKind::Complete { outcome, .. }, Some(client)) => {
                let (key, number) = match self.clients.get(&client) {
                    Some(Doing::Open(key, number)) => (*key, *number),
                    // A late answer of an unknown operation changes nothing.
                    Some(Doing::Unknown) => return None,
                    Some(Doing::Idle) | None => {
                        let nothing = Malformed::NothingOpen { client };
                        self.malformed.push((event.index, nothing));
                        return None;
                    }
                };
                let after = match outcome {
                    Outcome::Unknown => Doing::Unknown,
                    Outcome::Ok(_) | Outcome::Failed => Doing::Idle,
                };
                self.clients.insert(client, after);
                self.open -= 1;
                self.keys[key].open -= 1;
                self.keys[key].record.complete(number, event);
                if self.alarm.is_none() {
                    let found = self.keys[key].end(number, *outcome, &self.options);
                    self.raise(key, found);
                    return self.alarm.clone();
                }
            }
        }
        None
    }

    /// Looks at what was put off (only where values repeat): for a quiet moment, so that an alarm never waits for the
    /// next event.
    pub fn settle(&mut self) -> Option<Box<Counterexample>> {
        if self.alarm.is_some() {
            return None;
        }
        for key in 0..self.keys.len() {
            let found = self.keys[key].settle(&self.options);
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
            match &key.judge {
                Judge::Zones(_) => {}
                Judge::GaveUp(reason) => proven_to = proven_to.min(reason.proven_to),
                Judge::Frontier(tail) => {
                    if let Some(first) = tail.first_unsettled() {
                        proven_to = proven_to.min(first.checked_sub(1));
                    }
                }
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
        self.settle();
        if let Some(alarm) = self.alarm {
            return Verdict::Violation(alarm);
        }
        let gave_up = self.keys.into_iter().find_map(|key| match key.judge {
            Judge::GaveUp(reason) => Some(*reason),
            Judge::Zones(_) | Judge::Frontier(_) => None,
        });
        gave_up.map_or(Verdict::Linearizable, Verdict::Unknown)
    }

    fn raise(&mut self, key: usize, found: Option<u64>) {
        if let Some(event) = found {
            let key = &self.keys[key];
            self.alarm = Some(Box::new(key.record.evidence(
                &key.name,
                event,
                &self.options,
            )));
        }
    }

    fn key(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.keys.push(Key {
            name: name.to_owned(),
            record: Record::new(),
            judge: Judge::Zones(Box::new(Live::new())),
            ops: 0,
            open: 0,
        });
        self.numbers.insert(name.to_owned(), self.keys.len() - 1);
        self.keys.len() - 1
    }
}

impl Key {
    /// An operation begins; gives its number.
    fn begin(&mut self, event: &Event, client: ClientId, call: Call, room: bool) -> u64 {
        self.ops += 1;
        self.open += 1;
        let number = self.record.begin(event, client, call, room);
        match &mut self.judge {
            Judge::Zones(live) => {
                if live.begin(event.index, call) == Seen::NotUnique {
                    self.fall_back();
                }
            }
            Judge::Frontier(tail) => tail.begin(number),
            Judge::GaveUp(_) => {}
        }
        number
    }

    /// An operation ended; gives the event with which the key stopped being linearizable, if it did.
    fn end(&mut self, number: u64, outcome: Outcome, options: &Options) -> Option<u64> {
        match &mut self.judge {
            Judge::Zones(live) => {
                let Some(op) = self.record.get(number) else {
                    // It was open for so long that its begin is no longer on record.
                    let bytes = self.record.bytes();
                    let proven_to = self.record.last_event().checked_sub(1);
                    self.give_up(Exhausted::Memory { bytes }, proven_to);
                    return None;
                };
                let seen = live.end(op.invoked, op.completed, op.call, outcome);
                match seen {
                    Seen::Fine => None,
                    Seen::Violation => Some(op.completed),
                    Seen::NotUnique => {
                        self.fall_back();
                        self.settle(options)
                    }
                }
            }
            Judge::Frontier(tail) => {
                tail.end(number);
                let found = tail.advance(&self.record, options);
                self.take(found)
            }
            Judge::GaveUp(_) => None,
        }
    }

    fn settle(&mut self, options: &Options) -> Option<u64> {
        let Judge::Frontier(tail) = &mut self.judge else {
            return None;
        };
        let found = tail.settle(&self.record, options);
        self.take(found)
    }

    fn take(&mut self, found: Found) -> Option<u64> {
        match found {
            Found::Nothing => None,
            Found::Violation(event) => Some(event),
            Found::Exhausted(exhausted, proven_to) => {
                self.give_up(exhausted, proven_to);
                None
            }
        }
    }

    /// Zones can't go on: the events so far are replayed into a frontier.
    fn fall_back(&mut self) {
        if self.record.is_whole() {
            self.judge = Judge::Frontier(Box::new(Tail::replay(&self.record)));
        } else {
            let bytes = self.record.bytes();
            let proven_to = self.record.last_event().checked_sub(1);
            self.give_up(Exhausted::Memory { bytes }, proven_to);
        }
    }

    fn give_up(&mut self, exhausted: Exhausted, proven_to: Option<u64>) {
        self.judge = Judge::GaveUp(Box::new(Reason {
            exhausted,
            key: self.name.clone(),
            proven_to,
            blocking: self.record.open_operations(&self.name, 20),
        }));
    }

    fn progress(&self, alarm: Option<&Counterexample>) -> KeyProgress {
        let ended = self.ops - self.open;
        let (proven, worlds, unknown) = match &self.judge {
            Judge::Zones(live) => (ended, live.worlds(), false),
            Judge::Frontier(tail) => (ended - tail.unsettled_ends(), tail.worlds(), false),
            Judge::GaveUp(reason) => {
                let proven = self.record.ended_by(reason.proven_to);
                (proven.min(ended), 0, true)
            }
        };
        let state = match alarm {
            Some(alarm) if alarm.key == self.name => KeyState::Violation,
            _ if unknown => KeyState::Unknown,
            _ => KeyState::Holds,
        };
        KeyProgress {
            key: self.name.clone(),
            ops: self.ops,
            proven: proven.saturating_sub(u64::from(state == KeyState::Violation)),
            open: self.open,
            worlds,
            state,
        }
    }
}

/// What a call sets, by value; `None` is absent.
fn sets(call: Call) -> Option<crate::history::Value> {
    match call {
        Call::Write(value) | Call::Append(value) | Call::Cas { new: value, .. } => Some(value),
        Call::Read | Call::Delete => None,
    }
}
