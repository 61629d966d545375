//! Judges a history while it grows.
//!
//! What a type can follow in linear time ([`Follow`]) it does, operation by operation: a violation is known with the event
//! that makes it one. What it cannot is judged again when it has grown by a part of itself, so that all that work stays
//! within a few times that of one judgement. A violation is what the judge of the whole says of what there is by then,
//! whoever has called for it; and the whole is judged once more at the end.

use std::collections::BTreeMap;

use super::check::{Counterexample, Report, check, counterexample, evidence};
use super::operation::{Event, Pairing, Phase};
use super::{DataType, Datum, Judged, Operation};
use crate::linear::Options;

/// Follows the operations of one object. Operations are places among all those of the history.
pub trait Follow: Send {
    /// One begins.
    fn begins(&mut self, ops: &[Operation], at: usize);

    /// One has ended, whichever way.
    fn ends(&mut self, ops: &[Operation], at: usize) -> Followed;
}

/// What is known once an operation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// All of it holds so far.
    Holds,
    /// It does not.
    Violated,
    /// This history is not of the kind that can be followed, from here on.
    Lost,
}

/// It is judged anew when so large a part of it is new, and in quiet moments already when this one is.
const PART: usize = 8;
const PART_IN_QUIET: usize = 64;

/// A judgement in between takes so many configurations at most.
const IN_BETWEEN: u64 = 200_000;

/// One object, while it is looked at.
struct Object {
    /// Its operations.
    ops: Vec<usize>,
    /// Who follows it.
    follow: Option<Box<dyn Follow>>,
    /// Completions since it was judged.
    fresh: usize,
    /// Everything up to this event is known to hold.
    holds_to: u64,
    gave_up: bool,
}

/// Since when a violation is one.
#[derive(Clone, Copy)]
enum Since {
    /// Since the last event, and not before.
    ThisEvent,
    /// Since that one or one before it.
    Whenever,
}

/// How far a growing history is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Operations that have ended and hold together.
    pub proven: u64,
    /// Everything up to this event holds.
    pub proven_to: u64,
    /// Operations begun and not ended.
    pub open: u64,
    /// An object of which a judgement in between took too long.
    pub gave_up: Option<String>,
}

/// Judges a history while it grows.
pub struct Online {
    of: &'static dyn DataType,
    options: Options,
    pairing: Pairing,
    objects: BTreeMap<Option<Datum>, Object>,
    found: Option<Box<Counterexample>>,
    last_event: u64,
    open: u64,
    ended: u64,
}

impl Online {
    /// Of this type.
    #[must_use]
    pub fn new(of: &'static dyn DataType, options: Options) -> Self {
        Self {
            of,
            options,
            pairing: Pairing::new(of),
            objects: BTreeMap::new(),
            found: None,
            last_event: 0,
            open: 0,
            ended: 0,
        }
    }

    /// Takes the next event, and gives the violation if one is found.
    ///
    /// # Errors
    /// When the event cannot follow those before it, in words.
    pub fn take(&mut self, event: Event) -> Result<Option<&Counterexample>, String> {
        let (index, begins) = (event.index, event.phase == Phase::Invoke);
        let at = self.pairing.take(event)?;
        self.last_event = index;
        let ops = self.pairing.ops();
        let key = &ops[at].key;
        if !self.objects.contains_key(key) {
            self.objects.insert(key.clone(), Object::new(self.of));
        }
        let object = self.objects.get_mut(key).expect("it was put in");
        if begins {
            self.open += 1;
            object.ops.push(at);
            if let Some(follow) = &mut object.follow {
                follow.begins(ops, at);
            }
            return Ok(self.found.as_deref());
        }
        self.open -= 1;
        self.ended += 1;
        if self.found.is_some() {
            return Ok(self.found.as_deref());
        }
        object.fresh += 1;
        let followed = object.follow.as_mut().map(|follow| follow.ends(ops, at));
        let due = match followed {
            Some(Followed::Holds) => {
                object.fresh = 0;
                false
            }
            Some(Followed::Violated | Followed::Lost) => {
                object.follow = None;
                true
            }
            None => object.fresh * PART > object.ops.len(),
        };
        if due {
            let since = match followed {
                Some(Followed::Violated) => Since::ThisEvent,
                _ => Since::Whenever,
            };
            self.found = object.look(self.of, ops, &self.options, (index, since));
        }
        Ok(self.found.as_deref())
    }

    /// Looks at what was put off, in a moment in which nothing else comes.
    pub fn settle(&mut self) -> Option<&Counterexample> {
        let ops = self.pairing.ops();
        for object in self.objects.values_mut() {
            if self.found.is_none() && object.fresh * PART_IN_QUIET > object.ops.len() {
                let last = (self.last_event, Since::Whenever);
                self.found = object.look(self.of, ops, &self.options, last);
            }
        }
        self.found.as_deref()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let behind = || self.objects.values().filter(|object| object.fresh > 0);
        let proven_to = behind().map(|object| object.holds_to).min();
        let fresh: usize = behind().map(|object| object.fresh).sum();
        let gave_up = self.objects.iter().find(|(_, object)| object.gave_up);
        Progress {
            proven: self.ended - fresh as u64,
            proven_to: proven_to.unwrap_or(self.last_event),
            open: self.open,
            gave_up: gave_up.map(|(key, _)| match key {
                Some(key) => key.to_string(),
                None => self.of.name().to_owned(),
            }),
        }
    }

    /// The verdict on all of it: no more will come.
    #[must_use]
    pub fn finish(self) -> Report {
        check(self.of, self.pairing.ops(), &self.options)
    }
}

impl Object {
    fn new(of: &dyn DataType) -> Self {
        Self {
            ops: Vec::new(),
            follow: of.follow(),
            fresh: 0,
            holds_to: 0,
            gave_up: false,
        }
    }

    /// Judges what there is of it.
    fn look(
        &mut self,
        of: &dyn DataType,
        ops: &[Operation],
        options: &Options,
        (event, since): (u64, Since),
    ) -> Option<Box<Counterexample>> {
        self.fresh = 0;
        let options = Options {
            budget: options.budget.min(IN_BETWEEN),
            ..*options
        };
        let ops: Vec<&Operation> = self.ops.iter().map(|at| &ops[*at]).collect();
        match of.judge(&ops, &options, false) {
            Judged::Holds => {
                (self.holds_to, self.gave_up) = (event, false);
                None
            }
            Judged::Unknown { .. } => {
                self.gave_up = true;
                // It counts as new until a judgement says more.
                self.fresh = 1;
                None
            }
            Judged::Violated(fault) => {
                let found = match since {
                    // Everything was looked at when it came: nothing has to be searched for.
                    Since::ThisEvent => {
                        let all: Vec<Operation> = ops.iter().map(|op| (*op).clone()).collect();
                        counterexample(of, &all, fault, event, &options)
                    }
                    Since::Whenever => evidence(of, &ops, fault, &options),
                };
                let key = ops.first().and_then(|op| op.key.clone());
                Some(Box::new(Counterexample { key, ..found }))
            }
        }
    }
}
