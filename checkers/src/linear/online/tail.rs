//! A frontier that follows a growing history.
//!
//! The frontier wants to know how an operation ends when it begins. So events are *committed* up to the begin of the
//! oldest open operation: before it, all ends are known. What comes after is the *tail*: it is rehearsed on the
//! frontier, with what is open taken as unknown, and taken back. Short tails are run at each completion, long ones (an
//! operation is stuck) each time they have grown by a sixteenth.
//!
//! Committing is what the verdict needs; a rehearsal only makes an alarm come sooner. Both have a purse of their own for
//! the whole key, into which each event puts something: with an empty one a rehearsal is left out, until the events in
//! question are committed or it has been filled again, and what can't be committed is given up.
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

/// Configurations that each event pays for, beside the budget of the key: what an event may cost on the average where a
/// key is hard all the time.
const PAID_BY_EVENT: u64 = 64;

/// With more worlds than that a copy of a frontier is cheaper than to try events first.
const MANY: usize = 64;

/// Configurations that rehearsals may visit before the events have paid for them.
const REHEARSALS: u64 = 200_000;

/// What each event pays for rehearsals.
const REHEARSED_BY_EVENT: u64 = 256;

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
    /// How many of the last events were not looked at yet.
    unsettled: usize,
    /// The last event whose coming was known when events were committed: what was true before it can't be told any more.
    known: u64,
    /// The last event up to which everything is proven, by a look.
    proven: u64,
    /// How many events came, and the configurations that were visited to commit them and to rehearse them.
    came: u64,
    spent: u64,
    rehearsed: u64,
    /// What a rehearsal needs, as far as the last one tells.
    rehearsal: u64,
    worlds: u64,
}

/// What came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// The key stopped being linearizable with this event, or, where that is not exact, with it at the latest.
    Violation {
        event: u64,
        exact: bool,
    },
    /// A budget ran out; proven up to this event.
    Exhausted(Exhausted, Option<u64>),
}

/// How soon a violation shall be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linear) enum Pace {
    /// With the event that makes it one, wherever that can be afforded.
    AtOnce,
    /// Before the end: who reads a file loses nothing by that.
    InTheEnd,
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
    /// What it found, where it is a cas that failed and says so: it was a read, as it turned out.
    found: Option<u32>,
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
            known: 0,
            proven: 0,
            came: 0,
            spent: 0,
            rehearsed: 0,
            rehearsal: 0,
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
        tail.came = tail.events.len() as u64;
        // Zones have proven what they took.
        (tail.known, tail.proven) = (tail.last_event, tail.last_event);
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
            found: None,
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

    /// How many configurations were visited.
    #[cfg(test)]
    pub(super) fn spent(&self) -> u64 {
        self.spent + self.rehearsed
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

    /// How many ends were not looked at yet.
    pub(super) fn unsettled_ends(&self) -> u64 {
        self.unsettled().filter(|(_, ends)| *ends).count() as u64
    }

    /// The first end that was not looked at yet.
    pub(super) fn first_unsettled(&self) -> Option<u64> {
        let (number, _) = self.unsettled().find(|(_, ends)| *ends)?;
        Some(self.ops[(number - self.base) as usize].completed)
    }

    fn unsettled(&self) -> impl Iterator<Item = (u64, bool)> {
        self.events
            .range(self.events.len() - self.unsettled..)
            .copied()
    }

    /// An operation begins; gives its number.
    pub(super) fn begin(&mut self, event: u64, call: Call) -> u64 {
        self.last_event = event;
        let number = self.follow_call(event, call);
        self.came(number, false);
        number
    }

    fn came(&mut self, number: u64, ends: bool) {
        self.events.push_back((number, ends));
        self.unsettled += 1;
        self.came += 1;
    }

    pub(super) fn end(&mut self, number: u64, event: u64, outcome: Outcome) {
        self.last_event = event;
        let Op { kind, old, .. } = self.at(number).op;
        let found = match outcome {
            Outcome::Ok(Some(found)) => self.values.number(found),
            Outcome::Differed(Some(found)) => match self.values.number(found) {
                // It can't have found that and failed: nobody wrote what explains such an answer.
                same if same == old => self.values.nameless(),
                other => other,
            },
            _ => ABSENT,
        };
        let followed = self.at(number);
        if kind == Kind::Cas && matches!(outcome, Outcome::Differed(_)) {
            followed.found = Some(found);
        }
        followed.completed = event;
        if followed.op.kind == Kind::Read {
            followed.op.value = found;
        }
        followed.op.end = match outcome {
            Outcome::Ok(_) => End::Ok,
            Outcome::Failed | Outcome::Differed(_) => End::Failed,
            Outcome::Unknown => End::Unknown,
        };
        self.count_end(number);
        self.came(number, true);
    }

    /// After an end: looks, if that is wanted and enough has come, and commits what can be.
    pub(super) fn advance(&mut self, options: &Options, pace: Pace) -> Found {
        if pace == Pace::AtOnce {
            let due = self.events.len() < 64 || self.unsettled * 16 >= self.events.len();
            if !due {
                return Found::Nothing;
            }
            // Before anything is committed that only this event made known.
            let found = self.settle(options);
            if found != Found::Nothing {
                return found;
            }
        }
        self.commit(options)
    }

    /// Looks at everything that has come, if the purse for that is full enough.
    pub(super) fn settle(&mut self, options: &Options) -> Found {
        let earned = REHEARSALS.saturating_add(self.came.saturating_mul(REHEARSED_BY_EVENT));
        let left = earned.saturating_sub(self.rehearsed);
        if self.unsettled == 0 || left < self.rehearsal {
            return Found::Nothing;
        }
        let budget = options.budget.min(left);
        let (found, spent) = self.look(self.last_event, &Options { budget, ..*options });
        self.rehearsed += spent;
        self.rehearsal = spent;
        match found {
            Found::Nothing => {
                self.unsettled = 0;
                self.proven = self.last_event;
                Found::Nothing
            }
            Found::Violation { .. } => self.first_bad(options),
            // It will be told when it is committed, if not before.
            Found::Exhausted(..) => {
                self.rehearsal = spent.saturating_mul(2);
                Found::Nothing
            }
        }
    }

    /// The last look at everything, after which nothing comes.
    pub(super) fn finish(&mut self, options: &Options) -> Found {
        if self.unsettled == 0 {
            return Found::Nothing;
        }
        let found = self.commit(options);
        if found != Found::Nothing || self.events.is_empty() {
            return found;
        }
        let (found, spent) = self.look(self.last_event, &self.left(options));
        self.spent += spent;
        match found {
            Found::Nothing => self.unsettled = 0,
            Found::Violation { .. } => return self.first_bad(options),
            Found::Exhausted(..) => {}
        }
        found
    }

    /// What may still be spent on what must be done.
    fn left(&self, options: &Options) -> Options {
        let paid = self.came.saturating_mul(PAID_BY_EVENT);
        let all = options.budget.saturating_add(paid);
        Options {
            budget: all.saturating_sub(self.spent),
            ..*options
        }
    }

    /// Forgets what it can where there is enough of it.
    fn tidy(&mut self) {
        let many = self.values.given >= self.values.forget_at;
        if many || self.ends - self.origin > FAR {
            self.forget();
        }
    }

    /// Forgets the values that nothing names any more, and counts ends from what is not committed on.
    fn forget(&mut self) {
        let earlier = (self.committed_ends - self.origin).min(u64::from(NEVER)) as u32;
        self.origin += u64::from(earlier);
        let held = self.ops.iter().flat_map(|followed| {
            let op = followed.op;
            [op.value, op.old].into_iter().chain(followed.found)
        });
        let numbers = self
            .frontier
            .renumber(held, self.values.given as usize, earlier);
        for Followed { op, found, .. } in &mut self.ops {
            op.value = numbers[op.value as usize];
            op.old = numbers[op.old as usize];
            *found = found.map(|found| numbers[found as usize]);
        }
        self.values.renumber(&numbers);
    }

    /// Moves the frontier up to the begin of the oldest open operation, if it gets through there.
    fn commit(&mut self, options: &Options) -> Found {
        let last = self.last_event;
        let ended =
            |(number, _): &&(u64, bool)| self.ops[(*number - self.base) as usize].completed <= last;
        let ready = self.events.iter().take_while(ended).count();
        if ready == 0 {
            return Found::Nothing;
        }
        // If nothing is left in the end, the frontier is needed as it was. Where there are few worlds, to try it first costs
        // less than a copy, in which all values are.
        let copy = (self.frontier.worlds() > MANY).then(|| self.frontier.clone());
        if copy.is_none() {
            let mut budget = Budget::new(&self.left(options));
            let tried = self.rehearse(ready, last, &mut budget);
            self.spent += budget.spent();
            match tried {
                Ok(_) => {}
                Err(Found::Violation { .. }) => return self.first_bad(options),
                Err(found) => return found,
            }
        }
        let mut budget = Budget::new(&self.left(options));
        let fed = self.feed_first(ready, &mut budget);
        self.spent += budget.spent();
        match (fed, copy) {
            (Ok(()), _) => {}
            (Err(Found::Violation { .. }), Some(copy)) => {
                self.frontier = copy;
                return self.first_bad(options);
            }
            (Err(found), _) => return found,
        }
        for _ in 0..ready {
            let Some((number, ends)) = self.events.pop_front() else {
                break;
            };
            self.committed_ends += u64::from(ends);
            self.at(number).committed = ends;
            while self.ops.front().is_some_and(|op| op.committed) {
                self.ops.pop_front();
                self.base += 1;
            }
        }
        self.known = last;
        self.unsettled = self.unsettled.min(self.events.len());
        self.tidy();
        Found::Nothing
    }

    /// Feeds the first so many events for good.
    fn feed_first(&mut self, ready: usize, budget: &mut Budget) -> Result<(), Found> {
        let mut before = None;
        for &(number, ends) in self.events.iter().take(ready) {
            let followed = self.ops[(number - self.base) as usize];
            let at = followed.moment(ends);
            let op = followed.as_of(self.last_event, self.origin);
            feed(&mut self.frontier, &op, at, ends, before, budget)?;
            before = Some(at);
        }
        Ok(())
    }

    /// Rehearses the first so many events, as they stood right after event `last`; gives how many worlds there are then.
    fn rehearse(&mut self, most: usize, last: u64, budget: &mut Budget) -> Result<u64, Found> {
        let (events, ops, base, origin) = (&self.events, &self.ops, self.base, self.origin);
        self.frontier.rehearse(|frontier| {
            let mut before = None;
            for &(number, ends) in events.iter().take(most) {
                let followed = ops[(number - base) as usize];
                let at = followed.moment(ends);
                if at > last {
                    break;
                }
                let op = followed.as_of(last, origin);
                feed(frontier, &op, at, ends, before, budget)?;
                before = Some(at);
            }
            Ok(frontier.worlds() as u64)
        })
    }

    /// Rehearses the tail, as it stood right after event `last`; also gives the configurations visited.
    fn look(&mut self, last: u64, options: &Options) -> (Found, u64) {
        let mut budget = Budget::new(options);
        let looked = self.rehearse(self.events.len(), last, &mut budget);
        let found = match looked {
            Ok(worlds) => {
                self.worlds = worlds;
                Found::Nothing
            }
            Err(found) => found,
        };
        (found, budget.spent() + self.frontier.worlds() as u64)
    }

    /// The first event with which the tail fails, by bisection; it fails with the last one. Before the last commit nothing
    /// can be asked: where it failed by then, it is not known since when.
    fn first_bad(&mut self, options: &Options) -> Found {
        let moments: Vec<u64> = self
            .events
            .iter()
            .map(|&(number, ends)| self.ops[(number - self.base) as usize].moment(ends))
            .filter(|at| *at >= self.known)
            .collect();
        let mut left = options.budget.saturating_add(REHEARSALS);
        let (mut good, mut bad) = (0, moments.len().saturating_sub(1));
        let mut exact = self.proven >= self.known;
        while good < bad {
            let middle = good + (bad - good) / 2;
            let budget = options.budget.min(left);
            let (found, spent) = self.look(moments[middle], &Options { budget, ..*options });
            left = left.saturating_sub(spent);
            if matches!(found, Found::Violation { .. }) {
                bad = middle;
            } else {
                good = middle + 1;
                exact = found == Found::Nothing;
            }
        }
        Found::Violation {
            event: moments.get(bad).copied().unwrap_or(self.last_event),
            exact,
        }
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
            return op;
        }
        if let Some(found) = self.found {
            (op.kind, op.end) = (Kind::Read, End::Ok);
            (op.value, op.old) = (found, ABSENT);
        }
        if op.end != End::Unknown {
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
        Step::Dead => Err(Found::Violation {
            event: at,
            exact: false,
        }),
        Step::Exhausted => gave_up(budget.reason()),
    }
}
