//! A key of which nobody knows what it began as: one judge for each value that it may have been.
//!
//! Which these are is known when everything has ended that began before the first end ([`super::super::starts`]): until
//! then events are kept. The key is broken when the last of the judges says so.

use rustc_hash::{FxHashMap, FxHashSet};

use super::live::Live;
use super::{Broken, Judge, Key, KeyState, Pace};
use crate::format::sink::Moment;
use crate::history::{At, Call, Initial, Outcome, Value};
use crate::linear::Options;
use crate::verdict::{Exhausted, Reason};

/// The judges, or what they will be told.
#[derive(Debug)]
pub(super) struct Several {
    keys: Vec<Key>,
    /// Events that are kept until it is known which judges there are.
    held: Vec<Held>,
    /// How many operations began.
    begun: u64,
    /// The places of those that are open, by number.
    places: FxHashMap<u64, u32>,
    /// What was found or compared with by those that began before the first end, and the numbers of those that are open.
    starts: Vec<Initial>,
    early: FxHashMap<u64, Call>,
    /// Whether something has ended.
    ended: bool,
    is_held: bool,
    pace: Pace,
    /// What came to light last of those that are broken.
    broken: Option<Broken>,
}

/// A kept event.
#[derive(Clone, Copy, Debug)]
enum Held {
    Begin(Moment, Call),
    End(u64, End),
}

/// An end: its event, how, and its log id.
type End = (u64, Outcome, Option<At>);

/// A value that nobody finds: the last of those that stand for names, which no file has.
const FRESH: Value = Value::MIN / 2 + (1 << 32) - 1;

impl Several {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::new(),
            held: Vec::new(),
            begun: 0,
            places: FxHashMap::default(),
            starts: Vec::new(),
            early: FxHashMap::default(),
            ended: false,
            is_held: true,
            pace: Pace::InTheEnd,
            broken: None,
        }
    }

    /// An operation begins; gives its number.
    pub(super) fn begin(&mut self, from: &Moment, call: Call) -> u64 {
        let number = self.begun;
        self.begun += 1;
        if !self.ended {
            if let Call::Cas { old, .. } = call {
                self.starts.push(Initial::Value(old));
            }
            // What these found is known when they end.
            if matches!(call, Call::Read | Call::Cas { .. }) {
                self.early.insert(number, call);
            }
        }
        match self.is_held {
            true => self.held.push(Held::Begin(*from, call)),
            false => self.tell_begin(number, from, call),
        }
        number
    }

    fn tell_begin(&mut self, number: u64, from: &Moment, call: Call) {
        for key in &mut self.keys {
            let at = key.begin(from, call, 1);
            self.places.insert(number, at);
        }
    }

    /// An operation ends; gives what that breaks.
    pub(super) fn end(
        &mut self,
        number: u64,
        end: End,
        pace: Pace,
        options: &Options,
    ) -> Option<Broken> {
        if !self.is_held {
            return self.tell_end(number, end, pace, options);
        }
        self.pace = pace;
        self.held.push(Held::End(number, end));
        self.ended |= matches!(end.1, Outcome::Ok(_));
        if let Some(call) = self.early.remove(&number) {
            match (call, end.1) {
                (Call::Read, Outcome::Ok(found)) | (Call::Cas { .. }, Outcome::Differed(found)) => {
                    self.starts
                        .push(found.map_or(Initial::Absent, Initial::Value));
                }
                _ => {}
            }
        }
        if self.ended && self.early.is_empty() {
            return self.resolve(pace, options);
        }
        let held = (self.held.len() * size_of::<Held>()) as u64;
        if held > options.memory / 8 {
            let exhausted = Exhausted::Memory {
                bytes: options.memory,
            };
            self.keys = vec![Self::key(Initial::Absent)];
            self.keys[0].give_up(exhausted, None);
            (self.is_held, self.held) = (false, Vec::new());
        }
        None
    }

    fn tell_end(&mut self, number: u64, end: End, pace: Pace, options: &Options) -> Option<Broken> {
        let at = self.places.remove(&number)?;
        self.ask(|key| {
            let op = key.open.remove(at);
            key.end(&op, end, pace, options)
        })
    }

    /// Asks each judge; those that are broken go. Gives what that breaks, when none is left.
    fn ask(&mut self, mut ask: impl FnMut(&mut Key) -> Option<Broken>) -> Option<Broken> {
        let mut left = Vec::with_capacity(self.keys.len());
        for mut key in std::mem::take(&mut self.keys) {
            match ask(&mut key) {
                None => left.push(key),
                Some(found) => {
                    let last = self.broken.map_or(found, |last| Broken {
                        event: last.event.max(found.event),
                        exact: last.exact && found.exact,
                    });
                    self.broken = Some(last);
                }
            }
        }
        self.keys = left;
        self.broken.filter(|_| self.keys.is_empty())
    }

    fn key(initial: Initial) -> Key {
        let live = match initial {
            Initial::Value(value) => Live::starting(value),
            Initial::Absent | Initial::Any => Live::new(),
        };
        Key::new(String::new(), Judge::Zones(Box::new(live)))
    }

    /// It is known which values it may have begun as, or will never be: what was kept is told.
    pub(super) fn resolve(&mut self, pace: Pace, options: &Options) -> Option<Broken> {
        if !self.is_held {
            return None;
        }
        self.is_held = false;
        let mut starts: FxHashSet<Initial> = self.starts.drain(..).collect();
        starts.insert(Initial::Value(FRESH));
        let mut starts: Vec<Initial> = starts.into_iter().collect();
        starts.sort_unstable();
        self.keys = starts.into_iter().map(Self::key).collect();
        self.early.clear();
        let mut begun = 0;
        for event in std::mem::take(&mut self.held) {
            match event {
                Held::Begin(from, call) => {
                    self.tell_begin(begun, &from, call);
                    begun += 1;
                }
                Held::End(number, end) => {
                    let found = self.tell_end(number, end, pace, options);
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    /// Looks at what was put off.
    pub(super) fn settle(&mut self, options: &Options) -> Option<Broken> {
        self.ask(|key| key.settle(options))
    }

    /// Looks at everything as at what nothing follows.
    pub(super) fn finish(&mut self, options: &Options) -> Option<Broken> {
        self.resolve(self.pace, options)
            .or_else(|| match self.keys.is_empty() {
                true => None,
                false => self.ask(|key| key.finish(options)),
            })
    }

    /// Why nothing is known, where that is so: no judge says that it holds.
    pub(super) fn unknown(&self) -> Option<Reason> {
        let mut reasons = Vec::new();
        for key in &self.keys {
            reasons.push(key.unknown()?);
        }
        reasons.into_iter().max_by_key(|reason| reason.proven_to)
    }

    /// How many states are possible, and how many operations are proven, of so many that have ended.
    pub(super) fn progress(&self, ended: u64) -> (u64, u64, bool) {
        if self.is_held {
            let held = self
                .held
                .iter()
                .filter(|event| matches!(event, Held::End(..)));
            return (ended - held.count() as u64, 1, false);
        }
        let each: Vec<_> = self.keys.iter().map(|key| key.progress(None)).collect();
        let proven = each.iter().map(|one| one.proven).max().unwrap_or(0);
        let worlds = each.iter().map(|one| one.worlds).sum();
        (
            proven,
            worlds,
            each.iter().all(|one| one.state == KeyState::Unknown),
        )
    }

    /// The first event that is not proven.
    pub(super) fn first_unsettled(&self) -> Option<u64> {
        if self.is_held {
            return self.held.first().map(|event| match event {
                Held::Begin(from, _) => from.index,
                Held::End(_, (event, ..)) => *event,
            });
        }
        let mut latest = None;
        for key in &self.keys {
            latest = latest.max(Some(key.first_unsettled()?));
        }
        latest
    }
}
