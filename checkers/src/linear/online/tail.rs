//! A frontier that follows a growing history.
//!
//! The frontier wants to know how an operation ends when it begins. So events are *committed* up to the begin of the
//! oldest open operation: before it, all ends are known. What comes after is the *tail*: it is run through a copy of
//! the frontier, with what is open taken as unknown. Short tails are run at each completion, long ones (an operation
//! is stuck) each time they have grown by a sixteenth, so that the cost of an event stays bounded.

use std::collections::VecDeque;

use crate::history::{End, NEVER, Op, Outcome, Values};
use crate::linear::frontier::{Frontier, Step, Supply, matters};
use crate::linear::{Budget, Options};
use crate::verdict::Exhausted;

use super::record::Record;

/// Words of the bit sets: 256 operations may be open at once on one key.
const WORDS: usize = 4;

/// Configurations that are kept at most.
const WIDTH: usize = 4096;

/// A key whose values repeat.
#[derive(Debug)]
pub(super) struct Tail {
    frontier: Frontier<WORDS>,
    values: Values,
    /// Events that are not committed: an operation's number, and whether it ends.
    events: VecDeque<(u64, bool)>,
    /// How many events were not looked at yet, and how many of them are ends.
    unsettled: usize,
    unsettled_ends: u64,
    /// The event index of the first of them that is an end.
    first_unsettled: Option<u64>,
    worlds: u64,
}

/// What came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// The key stopped being linearizable with this event.
    Violation(u64),
    /// A budget ran out; proven up to this event.
    Exhausted(Exhausted, Option<u64>),
}

impl Tail {
    /// Takes over from zones: everything so far stands in the record.
    pub(super) fn replay(record: &Record) -> Self {
        let mut moments = Vec::new();
        for number in record.numbers() {
            if let Some(entry) = record.get(number) {
                moments.push((entry.invoked, number, false));
                if entry.ended(record.last_event()) {
                    moments.push((entry.completed, number, true));
                }
            }
        }
        moments.sort_unstable();
        let events: VecDeque<_> = moments.into_iter().map(|(_, n, ends)| (n, ends)).collect();
        Self {
            frontier: Frontier::new(Supply::Counted, WIDTH),
            values: Values::default(),
            unsettled: events.len(),
            unsettled_ends: 0,
            first_unsettled: None,
            events,
            worlds: 1,
        }
    }

    pub(super) fn worlds(&self) -> u64 {
        self.worlds
    }

    pub(super) fn unsettled_ends(&self) -> u64 {
        self.unsettled_ends
    }

    /// The first end that was not looked at yet.
    pub(super) fn first_unsettled(&self) -> Option<u64> {
        self.first_unsettled
    }

    pub(super) fn begin(&mut self, number: u64) {
        self.events.push_back((number, false));
        self.unsettled += 1;
    }

    pub(super) fn end(&mut self, number: u64) {
        self.events.push_back((number, true));
        self.unsettled += 1;
        self.unsettled_ends += 1;
    }

    /// After an end: looks, if enough has come.
    pub(super) fn advance(&mut self, record: &Record, options: &Options) -> Found {
        if self.first_unsettled.is_none() {
            self.first_unsettled = Some(record.last_event());
        }
        if self.events.len() < 64 || self.unsettled * 16 >= self.events.len() {
            self.settle(record, options)
        } else {
            Found::Nothing
        }
    }

    /// Looks at everything that has come.
    pub(super) fn settle(&mut self, record: &Record, options: &Options) -> Found {
        if self.unsettled == 0 {
            return Found::Nothing;
        }
        let last = record.last_event();
        let mut found = self.look(record, last, options);
        match found {
            Found::Nothing => found = self.commit(record, last, options),
            // Before anything is committed that only this event made known.
            Found::Violation(_) => found = self.first_bad(record, last, options),
            Found::Exhausted(..) => {}
        }
        self.unsettled = 0;
        self.unsettled_ends = 0;
        self.first_unsettled = None;
        found
    }

    /// Moves the frontier up to the begin of the oldest open operation: a copy has just got through there.
    fn commit(&mut self, record: &Record, last: u64, options: &Options) -> Found {
        let mut before = None;
        while let Some(&(number, ends)) = self.events.front() {
            let Some(entry) = record.get(number) else {
                return Found::Exhausted(
                    Exhausted::Memory {
                        bytes: record.bytes(),
                    },
                    before,
                );
            };
            if !entry.ended(last) {
                break;
            }
            let op = op_of(record, number, last, &mut self.values);
            if self.frontier.open_ends() >= Frontier::<WORDS>::room() {
                return too_many(options, before);
            }
            if ends && matters(&op) && op.end == End::Ok {
                let mut budget = Budget::new(options);
                match self.frontier.end(&op, None, &mut budget) {
                    Step::Alive => {}
                    Step::Dead | Step::Exhausted => return too_many(options, before),
                }
            } else if !ends && matters(&op) {
                self.frontier.begin(&op);
            }
            before = Some(if ends { entry.completed } else { entry.invoked });
            self.events.pop_front();
        }
        Found::Nothing
    }

    /// Runs the tail through a copy of the frontier, as it stood right after event `last`.
    fn look(&mut self, record: &Record, last: u64, options: &Options) -> Found {
        let mut frontier = self.frontier.clone();
        let mut budget = Budget::new(options);
        let mut before = None;
        for &(number, ends) in &self.events {
            let Some(entry) = record.get(number) else {
                let bytes = record.bytes();
                return Found::Exhausted(Exhausted::Memory { bytes }, before);
            };
            let at = if ends { entry.completed } else { entry.invoked };
            if at > last {
                break;
            }
            let op = op_of(record, number, last, &mut self.values);
            if !matters(&op) {
                continue;
            }
            if !ends {
                if op.end == End::Ok && frontier.open_ends() >= Frontier::<WORDS>::room() {
                    return too_many(options, before);
                }
                frontier.begin(&op);
            } else if op.end == End::Ok {
                match frontier.end(&op, None, &mut budget) {
                    Step::Alive => {}
                    Step::Dead if frontier.truncated() => return too_many(options, before),
                    Step::Dead => return Found::Violation(at),
                    Step::Exhausted => return too_many(options, before),
                }
            }
            before = Some(at);
        }
        self.worlds = frontier.worlds() as u64;
        Found::Nothing
    }

    /// The first event with which the tail fails, by bisection.
    fn first_bad(&mut self, record: &Record, last: u64, options: &Options) -> Found {
        let moments: Vec<u64> = self
            .events
            .iter()
            .filter_map(|&(number, ends)| {
                let entry = record.get(number)?;
                Some(if ends { entry.completed } else { entry.invoked })
            })
            .filter(|at| *at <= last)
            .collect();
        let (mut good, mut bad) = (0, moments.len().saturating_sub(1));
        while good < bad {
            let middle = good + (bad - good) / 2;
            match self.look(record, moments[middle], options) {
                Found::Violation(_) => bad = middle,
                Found::Nothing | Found::Exhausted(..) => good = middle + 1,
            }
        }
        Found::Violation(moments.get(bad).copied().unwrap_or(last))
    }
}

/// An operation as the frontier wants it, as it stood right after event `last`.
fn op_of(record: &Record, number: u64, last: u64, values: &mut Values) -> Op {
    let Some(entry) = record.get(number) else {
        unreachable!("the caller has just looked it up");
    };
    let mut op = entry.op(number as u32, last, values);
    if op.end != End::Unknown && entry.outcome != Outcome::Unknown {
        // Only the order of ends matters to the frontier; event indices keep it.
        op.ret = entry.completed.min(u64::from(NEVER - 1)) as u32;
    }
    op
}

fn too_many(options: &Options, proven_to: Option<u64>) -> Found {
    Found::Exhausted(
        Exhausted::Configurations {
            budget: options.budget,
        },
        proven_to,
    )
}
