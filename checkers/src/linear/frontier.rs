//! Frontier search: any values, cas, deletes, unknown outcomes, on one register.
//!
//! Breadth first over the events (Lowe, *Testing for linearizability*, 2016: just-in-time linearization). A
//! *configuration* is one way the world may be: the cell's value, which of the operations open *now* are done, and how
//! many unknown operations of each kind were used. Nothing that is as long as the history is ever stored. Each rule
//! below is a proof that there is no need to branch:
//!
//! 1. Act only when an operation ends that is not done yet.
//! 2. A read is done as soon as the cell holds its value: it changes nothing.
//! 3. *Hiding.* A write that nobody reads can be slipped in right before any write that was placed since it began.
//! 4. Of several open writes of one value, use the one that ends first; unknown ones, which never end, last.
//! 5. A write that another write follows at once must have been read by somebody or fed a cas: else it is better hidden.
//! 6. *Dominance.* A configuration that can do all that another can is kept alone.
//! 7. A value with one writer, whose readers are all open: writer and readers go together before the next write.
//!
//! Before any of it, [who wrote what was found](sources) is narrowed down as far as that goes without a search.
//!
//! Precondition: at most 65,536 operations that end are open at once; with more, and where the search is needed, the
//! outcome is [`Outcome::Exhausted`] at once. Cost: linear in the events times the configurations alive, few in practice,
//! exponential at worst.

mod climb;
mod demand;
mod dense;
mod future;
mod growing;
mod moves;
mod sources;
mod trail;
mod world;

use rustc_hash::FxHashMap;

use super::Budget;
use crate::history::{ABSENT, End, Kind, NEVER, Op};
use crate::verdict::Exhausted;
use climb::{Climb, Climbed, Course};
pub(super) use future::Future;
pub(super) use growing::GONE;
use moves::{Goal, Reach};
use sources::Sources;
use world::{Bits, World};

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An order exists.
    Holds,
    /// None exists, though everything before this position has one.
    Fails(u32),
    /// The budget ran out at this position: everything before it has an order.
    Exhausted(u32),
}

/// Decides `ops`, whose values are numbered below `values` and whose positions are below `events`.
#[must_use]
pub fn check(ops: &[Op], values: usize, events: u32, budget: &mut Budget) -> Outcome {
    match sources::decide(ops, values, events) {
        Sources::Holds => return Outcome::Holds,
        // How early it shows is not known.
        Sources::Fails => return Outcome::Fails(0),
        Sources::Several => {}
    }
    search(ops, values, events, budget)
}

/// Where it shows without a search that `ops` fail: the first position with which that is so.
pub(super) fn plainly_fails_at(ops: &[Op], values: usize, events: u32) -> Option<u32> {
    let fails = |last: u32| {
        let ops = super::prefix(ops, last);
        sources::decide(&ops, values, events) == Sources::Fails
    };
    let mut bad = events.checked_sub(1)?;
    if !fails(bad) {
        return None;
    }
    let mut good = 0;
    while good < bad {
        let middle = good + (bad - good) / 2;
        if fails(middle) {
            bad = middle;
        } else {
            good = middle + 1;
        }
    }
    Some(bad)
}

/// Operations that end and are open at once, at most, where a search is tried: a bit each.
const MOST_OPEN: usize = 1024 * 64;

/// Decides by search alone.
fn search(ops: &[Op], values: usize, events: u32, budget: &mut Budget) -> Outcome {
    match most_open(ops, events) {
        0..=64 => sandwich::<1>(ops, values, events, budget),
        65..=128 => sandwich::<2>(ops, values, events, budget),
        129..=512 => sandwich::<8>(ops, values, events, budget),
        513..=4096 => sandwich::<64>(ops, values, events, budget),
        4097..=MOST_OPEN => sandwich::<1024>(ops, values, events, budget),
        _ => {
            budget.give_up(Exhausted::Open {
                most: MOST_OPEN as u64,
            });
            Outcome::Exhausted(0)
        }
    }
}

/// A narrow beam first: if it gets through, that is real. Then unknown operations that never run out: if even they
/// don't help, the violation is real. Then the beam again, with more patience, and so on until the budget ends.
fn sandwich<const W: usize>(
    ops: &[Op],
    values: usize,
    events: u32,
    budget: &mut Budget,
) -> Outcome {
    let course = Course {
        ops,
        schedule: &schedule(ops, events),
        future: &Future::of(ops, values),
    };
    let mut proven = 0;
    if W == 1 {
        // Where it gets lost among many worlds, the other one may not.
        let mut half = budget.half();
        let outcome = dense::decide(&course, values, &mut half);
        budget.charge(half.spent());
        match outcome {
            Some(Outcome::Exhausted(at)) => proven = at,
            Some(outcome) => return outcome,
            None => {}
        }
    }
    let mut climb = Climb::<W>::new(course.future);
    let patience = 32 * ops.len() as u64 + 1_000;
    for (times, width) in [(1, 64), (16, 2048), (u64::MAX, 0)] {
        match climb.go(&course, patience.saturating_mul(times), budget) {
            Climbed::Decided(outcome) => return outcome,
            Climbed::Exhausted => break,
            Climbed::Tired => {}
        }
        let mut endless = Frontier::<W>::before(course.future, Supply::Endless, width);
        match run(&mut endless, &course, budget) {
            Outcome::Fails(_) if !endless.truncated => return Outcome::Fails(climb.proven_to()),
            Outcome::Exhausted(_) => break,
            Outcome::Fails(_) | Outcome::Holds => {}
        }
    }
    Outcome::Exhausted(climb.proven_to().max(proven))
}

/// Feeds the whole history.
fn run<const W: usize>(
    frontier: &mut Frontier<W>,
    course: &Course<'_>,
    budget: &mut Budget,
) -> Outcome {
    for (position, entry) in course.schedule.iter().enumerate() {
        if *entry == NEVER {
            continue;
        }
        let op = &course.ops[(entry >> 1) as usize];
        let position = position as u32;
        if entry & 1 == 0 {
            frontier.begin_known(op, course.future);
            continue;
        }
        match frontier.end(op, Some(course.future), budget) {
            Step::Alive => {}
            Step::Dead => return Outcome::Fails(position),
            Step::Exhausted => return Outcome::Exhausted(position),
        }
    }
    Outcome::Holds
}

/// What happens at each position: an operation's number, doubled, plus one where it ends. Only what matters.
fn schedule(ops: &[Op], events: u32) -> Vec<u32> {
    let mut schedule = vec![NEVER; events as usize];
    for (i, op) in ops.iter().enumerate() {
        if matters(op) {
            schedule[op.call as usize] = (i as u32) << 1;
            if op.end == End::Ok {
                schedule[op.ret as usize] = (i as u32) << 1 | 1;
            }
        }
    }
    schedule
}

/// Whether an operation can matter to a verdict at all.
pub(super) fn matters(op: &Op) -> bool {
    op.end == End::Ok || (op.end == End::Unknown && op.kind != Kind::Read)
}

/// How many operations that end are open at once, at most.
fn most_open(ops: &[Op], events: u32) -> usize {
    let mut changes = vec![0i8; events as usize + 1];
    for op in ops.iter().filter(|op| op.end == End::Ok) {
        changes[op.call as usize] = 1;
        changes[op.ret as usize] = -1;
    }
    let mut open = 0i64;
    changes
        .iter()
        .map(|change| {
            open += i64::from(*change);
            open
        })
        .max()
        .unwrap_or(0) as usize
}

/// What an operation sets, where it sets anything.
fn produces(op: &Op) -> Option<u32> {
    match op.kind {
        Kind::Read => None,
        Kind::Delete => Some(ABSENT),
        Kind::Write | Kind::Append | Kind::Cas => Some(op.value),
    }
}

/// Whether unknown operations of a kind run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supply {
    /// As many as were invoked.
    Counted,
    /// One stands for any number: a relaxation, whose "fails" is real.
    Endless,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Some configuration is left.
    Alive,
    /// None is.
    Dead,
    /// The budget ran out within the step.
    Exhausted,
}

/// No operation, no kind.
const NONE: u32 = u32::MAX;

/// An operation that is open and will end.
#[derive(Clone, Copy, Debug)]
struct Slot {
    ret: u32,
    value: u32,
    old: u32,
}

/// Unknown operations that do the same: from `old` (a cas) or from anything (a write) to `new`.
#[derive(Clone, Copy, Debug)]
struct Chance {
    old: Option<u32>,
    new: u32,
    available: u32,
}

/// What of one value is open now.
#[derive(Clone, Debug)]
struct Here<const W: usize> {
    reads: Bits<W>,
    writes: Bits<W>,
    cas_from: Bits<W>,
    cas_to: Bits<W>,
    /// The kind of the unknown writes of it, or [`NONE`].
    chance: u32,
    /// Kinds of unknown cas that take it away.
    chances_from: Vec<u32>,
    /// Kinds of unknown cas that produce it.
    chances_to: Vec<u32>,
}

/// All that the world may be after the events fed so far.
#[derive(Clone, Debug)]
pub(super) struct Frontier<const W: usize> {
    worlds: Vec<World<W>>,
    supply: Supply,
    width: usize,
    /// Whether configurations were dropped because there were more than `width`.
    truncated: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    slot_of: FxHashMap<u32, u32>,
    reads: Bits<W>,
    writes: Bits<W>,
    cas: Bits<W>,
    here: Vec<Here<W>>,
    chances: Vec<Chance>,
    kinds: FxHashMap<(Option<u32>, u32), u32>,
    ends: u32,
    /// The kinds of the unknown operations that are only tried.
    tried: Option<Vec<u32>>,
    /// Values that somebody who has not begun can find only if they are there now, or an open operation writes them.
    demanded: Vec<u32>,
}

impl<const W: usize> Frontier<W> {
    /// Before the first event: the key is absent.
    pub(super) fn new(supply: Supply, width: usize) -> Self {
        Self {
            worlds: vec![World::first()],
            supply,
            width,
            truncated: false,
            slots: Vec::new(),
            free: Vec::new(),
            slot_of: FxHashMap::default(),
            reads: Bits::EMPTY,
            writes: Bits::EMPTY,
            cas: Bits::EMPTY,
            here: Vec::new(),
            chances: Vec::new(),
            kinds: FxHashMap::default(),
            ends: 0,
            tried: None,
            demanded: Vec::new(),
        }
    }

    /// Before the first event of a history that is known.
    pub(super) fn before(future: &Future, supply: Supply, width: usize) -> Self {
        let mut frontier = Self::new(supply, width);
        frontier.demanded = demand::at_first(&future.demands);
        frontier
    }

    /// How many configurations are alive.
    pub(super) fn worlds(&self) -> usize {
        self.worlds.len()
    }

    /// Whether configurations had to be dropped.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// How many operations that end are open now.
    pub(super) fn open_ends(&self) -> usize {
        self.slot_of.len()
    }

    /// How many operations that end can be open at once.
    pub(super) const fn room() -> usize {
        W * 64
    }

    /// An operation begins. How it ends must be known: `op.end` and, for a read, `op.value`.
    pub(super) fn begin(&mut self, op: &Op) {
        self.reach(op.value.max(op.old));
        if op.end == End::Unknown {
            self.add_chance(op);
            return;
        }
        let slot = self.take_slot(op);
        let here = &mut self.here[op.value as usize];
        match op.kind {
            Kind::Read => {
                here.reads.set(slot);
                self.reads.set(slot);
                for world in &mut self.worlds {
                    if world.value == op.value {
                        world.done.set(slot);
                    }
                }
            }
            Kind::Write | Kind::Delete | Kind::Append => {
                self.here[produces(op).unwrap_or(ABSENT) as usize]
                    .writes
                    .set(slot);
                self.writes.set(slot);
            }
            Kind::Cas => {
                self.here[op.old as usize].cas_from.set(slot);
                self.here[op.value as usize].cas_to.set(slot);
                self.cas.set(slot);
            }
        }
    }

    /// As [`Self::begin`], where it is known what follows.
    pub(super) fn begin_known(&mut self, op: &Op, future: &Future) {
        self.begin(op);
        for value in [op.value, op.old] {
            let demanded = future.demands[value as usize].after(op.call);
            let at = self.demanded.iter().position(|other| *other == value);
            match (demanded, at) {
                (true, None) => self.demanded.push(value),
                (false, Some(at)) => {
                    self.demanded.swap_remove(at);
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    /// An operation ends that began before.
    pub(super) fn end(&mut self, op: &Op, future: Option<&Future>, budget: &mut Budget) -> Step {
        let slot = self.slot_of[&op.row];
        let goal = Goal { slot, op, future };
        let mut after = Vec::with_capacity(self.worlds.len());
        let mut expand = Vec::new();
        for world in std::mem::take(&mut self.worlds) {
            if world.done.has(slot) {
                after.push(world);
            } else if world.hidden.has(slot) {
                let needed =
                    future.is_none_or(|future| future.of_value[produced(op)].last_need > op.ret);
                if needed {
                    expand.push(world.clone());
                }
                after.push(world);
            } else {
                expand.push(world);
            }
        }
        if !expand.is_empty() {
            match self.expand(expand, &goal, &mut after, budget) {
                Reach::All => {}
                Reach::Some => self.truncated = true,
                Reach::Exhausted => return Step::Exhausted,
            }
        }
        // What survives is work, too.
        if !(0..after.len()).all(|_| budget.spend(0)) {
            return Step::Exhausted;
        }
        self.release(slot, op);
        for world in &mut after {
            world.done.clear(slot);
            world.hidden.clear(slot);
        }
        self.ends = self.ends.wrapping_add(1);
        if let Some(future) = future
            && self.ends.is_multiple_of(64)
        {
            self.forget(&mut after, future, op.ret);
        }
        self.keep_best(after);
        if self.worlds.is_empty() {
            Step::Dead
        } else {
            Step::Alive
        }
    }

    /// Unknown operations that nobody can need any more are all alike: used or not.
    fn forget(&self, worlds: &mut [World<W>], future: &Future, now: u32) {
        for world in worlds {
            world.retain_spent(|kind| {
                let new = self.chances[kind as usize].new;
                future.of_value[new as usize].last_need > now
            });
        }
    }

    /// Drops what others dominate, and what is too much.
    fn keep_best(&mut self, mut worlds: Vec<World<W>>) {
        if worlds.len() > 1 {
            // The best first: fewest unknown operations used, most done.
            worlds
                .sort_by_cached_key(|world| (world.value, world.total_spent(), self.urgent(world)));
            let mut kept: Vec<World<W>> = Vec::with_capacity(worlds.len());
            let mut group = 0;
            for world in worlds {
                if kept.last().is_some_and(|last| last.value != world.value) {
                    group = kept.len();
                }
                let beaten = kept[group..]
                    .iter()
                    .take(64)
                    .any(|other| other.dominates(&world, &self.reads, &self.writes));
                if !beaten {
                    kept.push(world);
                }
            }
            worlds = kept;
        }
        if worlds.len() > self.width {
            worlds.sort_by_cached_key(|world| self.urgent(world) + self.used(world));
            worlds.truncate(self.width);
            self.truncated = true;
        }
        self.worlds = worlds;
    }

    /// How many open operations still need a place of their own: the fewer the better.
    fn urgent(&self, world: &World<W>) -> u32 {
        let settled = world.done.count() + world.hidden.count();
        self.slot_of.len() as u32 - settled.min(self.slot_of.len() as u32)
    }

    /// How many open writes were used up: one that is hidden is done just as well, and may still be used.
    fn used(&self, world: &World<W>) -> u32 {
        world.done.and(&self.writes).count()
    }

    fn reach(&mut self, value: u32) {
        if self.here.len() <= value as usize {
            self.here.resize_with(value as usize + 1, Here::new);
        }
    }

    fn add_chance(&mut self, op: &Op) {
        let old = (op.kind == Kind::Cas).then_some(op.old);
        let new = produced(op) as u32;
        let next = self.chances.len() as u32;
        let kind = *self.kinds.entry((old, new)).or_insert(next);
        if kind == next {
            self.place_chance(Chance {
                old,
                new,
                available: 0,
            });
        }
        self.chances[kind as usize].available += 1;
        if let Some(tried) = &mut self.tried {
            tried.push(kind);
        }
    }

    /// Adds a kind, and enters it with its values.
    fn place_chance(&mut self, chance: Chance) {
        let kind = self.chances.len() as u32;
        match chance.old {
            Some(old) => {
                self.here[old as usize].chances_from.push(kind);
                self.here[chance.new as usize].chances_to.push(kind);
            }
            None => self.here[chance.new as usize].chance = kind,
        }
        self.chances.push(chance);
    }

    fn take_slot(&mut self, op: &Op) -> u32 {
        let slot = Slot {
            ret: op.ret,
            value: op.value,
            old: op.old,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.slot_of.insert(op.row, number);
        number
    }

    fn release(&mut self, slot: u32, op: &Op) {
        self.slot_of.remove(&op.row);
        self.free.push(slot);
        self.reads.clear(slot);
        self.writes.clear(slot);
        self.cas.clear(slot);
        self.here[op.value as usize].reads.clear(slot);
        self.here[produced(op)].writes.clear(slot);
        self.here[produced(op)].cas_to.clear(slot);
        self.here[op.old as usize].cas_from.clear(slot);
    }
}

impl<const W: usize> Here<W> {
    fn new() -> Self {
        Self {
            reads: Bits::EMPTY,
            writes: Bits::EMPTY,
            cas_from: Bits::EMPTY,
            cas_to: Bits::EMPTY,
            chance: NONE,
            chances_from: Vec::new(),
            chances_to: Vec::new(),
        }
    }
}

fn produced(op: &Op) -> usize {
    produces(op).unwrap_or(ABSENT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::Options;

    /// So many writes of two values at once, and then a read of each value.
    fn all_at_once(writes: u32) -> (Vec<Op>, u32) {
        let op = |row, call, ret, kind, value| Op {
            call,
            ret,
            value,
            old: ABSENT,
            row,
            kind,
            end: End::Ok,
        };
        let write = |i| op(i, i, writes + i, Kind::Write, 1 + i % 2);
        let mut ops: Vec<Op> = (0..writes).map(write).collect();
        let events = writes * 2;
        ops.push(op(writes, events, events + 1, Kind::Read, 1));
        ops.push(op(writes + 1, events + 2, events + 3, Kind::Read, 2));
        (ops, events + 4)
    }

    #[test]
    fn more_operations_at_once_than_there_are_bits_are_unknown() {
        let (ops, events) = all_at_once(MOST_OPEN as u32 + 1);
        let mut budget = Budget::new(&Options::default());
        let outcome = search(&ops, 3, events, &mut budget);
        assert_eq!(outcome, Outcome::Exhausted(0));
        let most = MOST_OPEN as u64;
        assert_eq!(budget.reason(), Exhausted::Open { most });
        // Few enough are searched.
        let (ops, events) = all_at_once(5);
        let outcome = search(&ops, 3, events, &mut budget);
        assert_eq!(outcome, Outcome::Fails(events - 1));
    }
}
