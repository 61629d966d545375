//! A frontier that follows a growing history.
//!
//! The frontier wants to know how an operation ends when it begins. So events are *committed* up to the begin of the
//! oldest open operation: before it, all ends are known. What comes after is the *tail*: it is rehearsed on the
//! frontier, with what is open taken as unknown, and taken back. Short tails are run at each completion, long ones (an
//! operation is stuck) each time they have grown by a sixteenth.
//!
//! Values that nothing names any more are forgotten, so what an event costs and what is held follow from what is open
//! and from the *unknown* operations nobody has seen the effect of: those are kept for ever, since each may still take
//! effect. An operation that neither ends nor becomes unknown keeps all that came after it.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::history::{ABSENT, Call, End, Kind, NEVER, Op, Outcome, Value};
use crate::linear::frontier::{Frontier, GONE, Step, Supply, matters};
use crate::linear::{Budget, Options};
use crate::verdict::Exhausted;

use super::live::{StandIn, What};
use super::open::Open;

/// Words of the bit sets: 256 operations may be open at once on one key.
const WORDS: usize = 4;

/// Configurations that are kept at most.
const WIDTH: usize = 4096;

/// So many values have a number before any is forgotten: looking less often costs less.
const FORGET_AT: u32 = 64;

/// With so many ends they are counted anew, from those that are committed on: they must fit in 32 bits. Tests must get
/// there, too.
const FAR: u64 = if cfg!(test) { 48 } else { 1 << 31 };

/// A key whose values repeat.
#[derive(Debug)]
pub(super) struct Tail {
    frontier: Frontier<WORDS>,
    values: Names,
    /// The operations of events that are not committed, and perhaps some others.
    ops: VecDeque<Followed>,
    /// The number of the first of them.
    base: u64,
    /// Events that are not committed: an operation's number, and whether it ends.
    events: VecDeque<(u64, bool)>,
    last_event: u64,
    /// How many ends there have been, and how many of them are committed.
    ends: u64,
    committed_ends: u64,
    /// The end from which the frontier counts: those before it are committed.
    origin: u64,
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

/// An operation of the tail.
#[derive(Clone, Copy, Debug)]
struct Followed {
    op: Op,
    invoked: u64,
    /// [`u64::MAX`] while it is open.
    completed: u64,
    /// How many ends came before its own, where it has ended.
    rank: u64,
    committed: bool,
}

/// The numbers of the values that are named now.
#[derive(Debug)]
struct Names {
    numbers: FxHashMap<Value, u32>,
    /// How many numbers were given, absent and nameless values included.
    given: u32,
    /// With how many it is looked which of them are still needed.
    forget_at: u32,
}

impl Names {
    fn new() -> Self {
        Self {
            numbers: FxHashMap::default(),
            given: ABSENT + 1,
            forget_at: FORGET_AT,
        }
    }

    fn number(&mut self, value: Value) -> u32 {
        *self.numbers.entry(value).or_insert_with(|| {
            self.given += 1;
            self.given - 1
        })
    }

    /// The number of a value that nobody can find.
    fn nameless(&mut self) -> u32 {
        self.given += 1;
        self.given - 1
    }

    /// Values have new numbers, those that have none are forgotten.
    fn renumber(&mut self, numbers: &[u32]) {
        self.numbers.retain(|_, number| {
            *number = numbers[*number as usize];
            *number != GONE
        });
        self.given = numbers.iter().filter(|number| **number != GONE).count() as u32;
        self.forget_at = (self.given * 2).max(FORGET_AT);
        self.numbers.shrink_to(self.forget_at as usize);
    }
}

/// Still open.
const OPEN: u64 = u64::MAX;

impl Tail {
    /// Takes over from zones: their stand-ins, and what is open.
    pub(super) fn take_over(stand_ins: &[StandIn], open: &mut Open) -> Self {
        let mut tail = Self {
            frontier: Frontier::new(Supply::Counted, WIDTH),
            values: Names::new(),
            ops: VecDeque::new(),
            base: 0,
            unsettled: 0,
            unsettled_ends: 0,
            first_unsettled: None,
            events: VecDeque::new(),
            last_event: 0,
            ends: 0,
            committed_ends: 0,
            origin: 0,
            worlds: 1,
        };
        let mut ghost = ABSENT;
        for stand_in in stand_ins {
            let (kind, value, old) = match stand_in.what {
                What::Read(None) => (Kind::Read, ABSENT, ABSENT),
                What::Read(Some(value)) => (Kind::Read, tail.values.number(value), ABSENT),
                What::Write(value) => (Kind::Write, tail.values.number(value), ABSENT),
                What::Cas(old, new) => {
                    let old = tail.values.number(old);
                    (Kind::Cas, tail.values.number(new), old)
                }
                What::Ghost => {
                    ghost = tail.values.nameless();
                    (Kind::Write, ghost, ABSENT)
                }
                What::CasOfGhost(new) => (Kind::Cas, tail.values.number(new), ghost),
            };
            let number = tail.follow(stand_in.invoked, kind, value, old);
            let followed = tail.at(number);
            followed.op.end = stand_in.end;
            followed.completed = stand_in.completed;
        }
        open.for_each(|op| op.in_tail = tail.follow_call(op.invoked, op.call));
        let mut moments = Vec::new();
        for (number, op) in (0..).zip(&tail.ops) {
            moments.push((op.invoked, number, false));
            if op.completed != OPEN {
                moments.push((op.completed, number, true));
            }
        }
        moments.sort_unstable();
        for (_, number, _) in moments.iter().filter(|moment| moment.2) {
            tail.count_end(*number);
        }
        tail.last_event = moments.last().map_or(0, |moment| moment.0);
        tail.events = moments.into_iter().map(|(_, n, ends)| (n, ends)).collect();
        tail.unsettled = tail.events.len();
        tail
    }

    fn follow(&mut self, invoked: u64, kind: Kind, value: u32, old: u32) -> u64 {
        let number = self.base + self.ops.len() as u64;
        self.ops.push_back(Followed {
            op: Op {
                call: 0,
                ret: NEVER,
                value,
                old,
                row: number as u32,
                kind,
                end: End::Unknown,
            },
            invoked,
            completed: OPEN,
            rank: 0,
            committed: false,
        });
        number
    }

    fn follow_call(&mut self, invoked: u64, call: Call) -> u64 {
        let mut number = |value: Value| self.values.number(value);
        let (kind, value, old) = match call {
            Call::Read => (Kind::Read, ABSENT, ABSENT),
            Call::Write(value) => (Kind::Write, number(value), ABSENT),
            Call::Append(value) => (Kind::Append, number(value), ABSENT),
            Call::Delete => (Kind::Delete, ABSENT, ABSENT),
            Call::Cas { old, new } => (Kind::Cas, number(new), number(old)),
        };
        self.follow(invoked, kind, value, old)
    }

    /// How many values have a number now.
    #[cfg(test)]
    pub(super) fn numbers(&self) -> u32 {
        self.values.given
    }

    /// How many ends were counted and are no longer.
    #[cfg(test)]
    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let names = self.values.numbers.capacity() * (size_of::<(Value, u32)>() + 1);
        let ops = self.ops.capacity() * size_of::<Followed>();
        let events = self.events.capacity() * size_of::<(u64, bool)>();
        names + ops + events + self.frontier.bytes()
    }

    /// It has ended, as the next one.
    fn count_end(&mut self, number: u64) {
        self.at(number).rank = self.ends;
        self.ends += 1;
    }

    fn at(&mut self, number: u64) -> &mut Followed {
        &mut self.ops[(number - self.base) as usize]
    }

    /// How many operations ended after an event.
    pub(super) fn ended_after(&self, event: Option<u64>) -> u64 {
        let after = |op: &&Followed| op.completed != OPEN && Some(op.completed) > event;
        self.ops.iter().filter(after).count() as u64
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

    /// An operation begins; gives its number.
    pub(super) fn begin(&mut self, event: u64, call: Call) -> u64 {
        self.last_event = event;
        let number = self.follow_call(event, call);
        self.events.push_back((number, false));
        self.unsettled += 1;
        number
    }

    pub(super) fn end(&mut self, number: u64, event: u64, outcome: Outcome) {
        self.last_event = event;
        let found = match outcome {
            Outcome::Ok(Some(found)) => self.values.number(found),
            _ => ABSENT,
        };
        let followed = self.at(number);
        followed.completed = event;
        if followed.op.kind == Kind::Read {
            followed.op.value = found;
        }
        followed.op.end = match outcome {
            Outcome::Ok(_) => End::Ok,
            Outcome::Failed => End::Failed,
            Outcome::Unknown => End::Unknown,
        };
        self.count_end(number);
        self.events.push_back((number, true));
        self.unsettled += 1;
        self.unsettled_ends += 1;
    }

    /// After an end: looks, if enough has come.
    pub(super) fn advance(&mut self, options: &Options) -> Found {
        if self.first_unsettled.is_none() {
            self.first_unsettled = Some(self.last_event);
        }
        if self.events.len() < 64 || self.unsettled * 16 >= self.events.len() {
            self.settle(options)
        } else {
            Found::Nothing
        }
    }

    /// Looks at everything that has come.
    pub(super) fn settle(&mut self, options: &Options) -> Found {
        if self.unsettled == 0 {
            return Found::Nothing;
        }
        let last = self.last_event;
        let mut found = self.look(last, options);
        match found {
            Found::Nothing => found = self.commit(last, options),
            // Before anything is committed that only this event made known.
            Found::Violation(_) => found = self.first_bad(last, options),
            Found::Exhausted(..) => {}
        }
        self.unsettled = 0;
        self.unsettled_ends = 0;
        self.first_unsettled = None;
        let many = self.values.given >= self.values.forget_at;
        if many || self.ends - self.origin > FAR {
            self.forget();
        }
        found
    }

    /// Forgets the values that nothing names any more, and counts ends from what is not committed on.
    fn forget(&mut self) {
        let earlier = (self.committed_ends - self.origin).min(u64::from(NEVER)) as u32;
        self.origin += u64::from(earlier);
        let held = self.ops.iter().flat_map(|f| [f.op.value, f.op.old]);
        let numbers = self
            .frontier
            .renumber(held, self.values.given as usize, earlier);
        for Followed { op, .. } in &mut self.ops {
            op.value = numbers[op.value as usize];
            op.old = numbers[op.old as usize];
        }
        self.values.renumber(&numbers);
    }

    /// Moves the frontier up to the begin of the oldest open operation: a copy has just got through there.
    fn commit(&mut self, last: u64, options: &Options) -> Found {
        let mut before = None;
        while let Some(&(number, ends)) = self.events.front() {
            let followed = *self.at(number);
            if followed.completed > last {
                break;
            }
            let op = followed.as_of(last, self.origin);
            let mut budget = Budget::new(options);
            if let Err(found) = feed(
                &mut self.frontier,
                &op,
                followed.moment(ends),
                ends,
                before,
                &mut budget,
            ) {
                return found;
            }
            before = Some(followed.moment(ends));
            self.events.pop_front();
            self.committed_ends += u64::from(ends);
            self.at(number).committed = ends;
            while self.ops.front().is_some_and(|op| op.committed) {
                self.ops.pop_front();
                self.base += 1;
            }
        }
        Found::Nothing
    }

    /// Rehearses the tail, as it stood right after event `last`.
    fn look(&mut self, last: u64, options: &Options) -> Found {
        let (events, ops, base, origin) = (&self.events, &self.ops, self.base, self.origin);
        let looked = self.frontier.rehearse(|frontier| {
            let mut budget = Budget::new(options);
            let mut before = None;
            for &(number, ends) in events {
                let followed = ops[(number - base) as usize];
                let at = followed.moment(ends);
                if at > last {
                    break;
                }
                let op = followed.as_of(last, origin);
                feed(frontier, &op, at, ends, before, &mut budget)?;
                before = Some(at);
            }
            Ok(frontier.worlds() as u64)
        });
        match looked {
            Ok(worlds) => {
                self.worlds = worlds;
                Found::Nothing
            }
            Err(found) => found,
        }
    }

    /// The first event with which the tail fails, by bisection.
    fn first_bad(&mut self, last: u64, options: &Options) -> Found {
        let moments: Vec<u64> = self
            .events
            .iter()
            .map(|&(number, ends)| self.ops[(number - self.base) as usize].moment(ends))
            .filter(|at| *at <= last)
            .collect();
        let (mut good, mut bad) = (0, moments.len().saturating_sub(1));
        while good < bad {
            let middle = good + (bad - good) / 2;
            match self.look(moments[middle], options) {
                Found::Violation(_) => bad = middle,
                Found::Nothing | Found::Exhausted(..) => good = middle + 1,
            }
        }
        Found::Violation(moments.get(bad).copied().unwrap_or(last))
    }
}

impl Followed {
    /// The event of its begin or end.
    fn moment(&self, ends: bool) -> u64 {
        if ends { self.completed } else { self.invoked }
    }

    /// As the frontier wants it, as it stood right after event `last`; ends count from the end `origin`.
    ///
    /// # Panics
    /// With 2^32 ends that are not committed, for which no memory suffices: two would count as one.
    fn as_of(&self, last: u64, origin: u64) -> Op {
        let mut op = self.op;
        if self.completed > last {
            op.end = End::Unknown;
            if op.kind == Kind::Read {
                op.value = ABSENT;
            }
        } else if op.end != End::Unknown {
            // Only the order of ends matters to the frontier: counting keeps it, however far apart their events are.
            let rank = self.rank - origin;
            assert!(rank < u64::from(NEVER), "{rank} ends are not committed");
            op.ret = rank as u32;
        }
        op
    }
}

/// Feeds the begin or the end of an operation, which is event `at`; what came to light if it can't go on. All up to
/// event `before` is proven.
fn feed(
    frontier: &mut Frontier<WORDS>,
    op: &Op,
    at: u64,
    ends: bool,
    before: Option<u64>,
    budget: &mut Budget,
) -> Result<(), Found> {
    let gave_up = |what| Err(Found::Exhausted(what, before));
    if !matters(op) || (ends && op.end != End::Ok) {
        return Ok(());
    }
    if !ends {
        let most = Frontier::<WORDS>::room();
        if op.end == End::Ok && frontier.open_ends() >= most {
            return gave_up(Exhausted::Open { most: most as u64 });
        }
        frontier.begin(op);
        return Ok(());
    }
    match frontier.end(op, None, budget) {
        Step::Alive => Ok(()),
        Step::Dead if frontier.truncated() => gave_up(Exhausted::Worlds { most: WIDTH as u64 }),
        Step::Dead => Err(Found::Violation(at)),
        Step::Exhausted => gave_up(budget.reason()),
    }
}
