//! The verdict while the history grows: push events, get an alarm at the completion that breaks it.

use super::{Judgement, Options, evidence, judge_key};
use crate::history::{Builder, ClientId, Event, EventKind, Header, History, Malformed};
use crate::verdict::{Counterexample, Verdict};
use rustc_hash::FxHashMap;

/// Checks a history event by event.
#[derive(Debug)]
pub struct Online {
    options: Options,
    keys: Vec<Key>,
    numbers: FxHashMap<String, usize>,
    open: FxHashMap<ClientId, usize>,
    alarm: Option<Box<Counterexample>>,
    malformed: Vec<(u64, Malformed)>,
    last_event: Option<u64>,
}

/// One key's events so far.
#[derive(Debug)]
struct Key {
    name: String,
    builder: Vec<Event>,
    ops: u64,
    open: u64,
    proven: u64,
    unknown: Option<crate::verdict::Reason>,
}

/// How far the verdict has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Operations that are in the proven part, over all keys.
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
    /// Those of them that are proven.
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
            open: FxHashMap::default(),
            alarm: None,
            malformed: Vec::new(),
            last_event: None,
        }
    }

    /// Takes the next event; gives the counterexample when this event completes the first violation. After that it
    /// only counts.
    pub fn push(&mut self, event: &Event) -> Option<Box<Counterexample>> {
        self.last_event = Some(event.index);
        let (number, check) = match (&event.kind, event.client) {
            (EventKind::Mark(_), _) | (_, None) => return None,
            (EventKind::Invoke { key, .. }, Some(client)) => {
                let number = self.key(key);
                self.open.insert(client, number);
                self.keys[number].ops += 1;
                self.keys[number].open += 1;
                (number, false)
            }
            (EventKind::Complete { .. }, Some(client)) => {
                let Some(number) = self.open.remove(&client) else {
                    self.malformed
                        .push((event.index, Malformed::NothingOpen { client }));
                    return None;
                };
                self.keys[number].open -= 1;
                (number, true)
            }
        };
        let key = &mut self.keys[number];
        key.builder.push(event.clone());
        if !check || self.alarm.is_some() || key.unknown.is_some() {
            return None;
        }
        let history = key.history();
        let report = judge_key(&history.keys[0], &self.options);
        match report.judgement {
            Judgement::Holds => key.proven = key.ops - key.open,
            Judgement::Fails => {
                let found = evidence::explain(&history, &history.keys[0], &self.options);
                self.alarm = Some(Box::new(found));
                return self.alarm.clone();
            }
            Judgement::Unknown {
                proven_to,
                exhausted,
            } => {
                let of_key = &history.keys[0];
                key.unknown = Some(evidence::reason(&history, of_key, proven_to, exhausted));
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
            .map(|key| KeyProgress {
                key: key.name.clone(),
                ops: key.ops,
                proven: key.proven,
                open: key.open,
                worlds: 1,
                state: match (&self.alarm, &key.unknown) {
                    (Some(alarm), _) if alarm.key == key.name => KeyState::Violation,
                    (_, Some(_)) => KeyState::Unknown,
                    _ => KeyState::Holds,
                },
            })
            .collect();
        let before_alarm = self.alarm.as_ref().map(|alarm| alarm.event.checked_sub(1));
        let before_unknown = self
            .keys
            .iter()
            .filter_map(|key| key.unknown.as_ref())
            .map(|reason| reason.proven_to)
            .min();
        let proven_to = match (before_alarm, before_unknown) {
            (Some(a), Some(b)) => a.min(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => self.last_event,
        };
        Progress {
            ops_proven: keys.iter().map(|key| key.proven).sum(),
            proven_to,
            open: self.open.len() as u64,
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
    pub fn finish(self) -> Verdict {
        if let Some(alarm) = self.alarm {
            return Verdict::Violation(alarm);
        }
        match self.keys.into_iter().find_map(|key| key.unknown) {
            Some(reason) => Verdict::Unknown(reason),
            None => Verdict::Linearizable,
        }
    }

    fn key(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.keys.push(Key {
            name: name.to_owned(),
            builder: Vec::new(),
            ops: 0,
            open: 0,
            proven: 0,
            unknown: None,
        });
        self.numbers.insert(name.to_owned(), self.keys.len() - 1);
        self.keys.len() - 1
    }
}

impl Key {
    fn history(&self) -> History {
        let mut builder = Builder::new(Header::default());
        for event in &self.builder {
            // What can't follow was already said by the builder of the whole; here it is left out.
            let _ = builder.event(event);
        }
        builder.finish()
    }
}
