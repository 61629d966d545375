//! The moves within one step: what may be placed so that the operation that ends now is done, and what need not be tried.

use rustc_hash::FxHashSet;

use super::world::World;
use super::{Frontier, Future, NONE, Slot, Supply, produced};
use crate::history::{Kind, Op};
use crate::linear::Budget;

/// A world within a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Draft<const W: usize> {
    world: World<W>,
    /// What was placed last was neither read nor taken yet: a cas must follow.
    idle: bool,
}

/// The operation that ends now, and what the step needs to know of the moment.
pub(super) struct Goal<'a> {
    pub(super) slot: u32,
    pub(super) op: &'a Op,
    pub(super) future: Option<&'a Future>,
}
impl<const W: usize> Frontier<W> {
    /// Every way to get the goal done from the worlds given.
    pub(super) fn expand(
        &self,
        worlds: Vec<World<W>>,
        goal: &Goal<'_>,
        after: &mut Vec<World<W>>,
        budget: &mut Budget,
    ) -> Reach {
        let mut seen: FxHashSet<Draft<W>> = FxHashSet::default();
        let mut reach = Reach::All;
        let mut todo = Vec::new();
        let mut moves = Vec::new();
        // A beam bounds the steps, too: each world has its share of them, the best world first.
        let share = self.width.saturating_mul(16).div_ceil(worlds.len()).max(32);
        for world in worlds {
            let mut steps = 0;
            todo.clear();
            todo.push(Draft { world, idle: false });
            while let Some(draft) = todo.pop() {
                moves.clear();
                self.cas_moves(&draft, &mut moves);
                if !draft.idle {
                    self.write_moves(&draft, goal, &mut moves);
                }
                for next in moves.drain(..) {
                    if self.doomed(&next.world, goal) {
                        continue;
                    }
                    if next.world.done.has(goal.slot) {
                        after.push(next.world);
                    } else if !seen.contains(&next) {
                        if !budget.spend(0) {
                            return Reach::Exhausted;
                        }
                        steps += 1;
                        seen.insert(next.clone());
                        todo.push(next);
                    }
                }
                if steps > share {
                    reach = Reach::Some;
                    break;
                }
            }
        }
        reach
    }

    /// Whether somebody can certainly not find what it found any more: nobody is left to write it in time.
    fn doomed(&self, world: &World<W>, goal: &Goal<'_>) -> bool {
        let Some(future) = goal.future else {
            return false;
        };
        let lost = |value: u32| value != world.value && !self.may_come(world, value);
        if self.demanded.iter().any(|value| lost(*value)) {
            return true;
        }
        let mut reads = self.reads.without(&world.done);
        while let Some(slot) = reads.first() {
            let value = self.slots[slot as usize].value;
            reads = reads.without(&self.here[value as usize].reads);
            // Of these, the one that ends first is not known: the one at hand stands for all.
            let end = self.slots[slot as usize].ret;
            if lost(value) && !future.demands[value as usize].written(goal.op.ret, end) {
                return true;
            }
        }
        let cas = self.cas.without(&world.done);
        cas.ones().any(|slot| {
            let Slot { old, ret, .. } = self.slots[slot as usize];
            lost(old) && !future.demands[old as usize].written(goal.op.ret, ret)
        })
    }

    /// Whether an operation that has begun can still write `value`.
    fn may_come(&self, world: &World<W>, value: u32) -> bool {
        let Some(here) = self.here.get(value as usize) else {
            return false;
        };
        !here.writes.without(&world.done).is_empty()
            || !here.cas_to.without(&world.done).is_empty()
            || (here.chance != NONE && self.has_chance(world, here.chance))
            || here
                .chances_to
                .iter()
                .any(|kind| self.has_chance(world, *kind))
    }

    /// The cell's value is taken by a cas.
    fn cas_moves(&self, draft: &Draft<W>, moves: &mut Vec<Draft<W>>) {
        let Some(here) = self.here.get(draft.world.value as usize) else {
            return;
        };
        let open = here.cas_from.without(&draft.world.done);
        let mut tried = Vec::new();
        for slot in open.ones() {
            let new = self.slots[slot as usize].value;
            if tried.contains(&new) {
                continue;
            }
            tried.push(new);
            let same = |s: &u32| self.slots[*s as usize].value == new;
            let first = open
                .ones()
                .filter(same)
                .min_by_key(|s| self.slots[*s as usize].ret);
            let mut next = draft.clone();
            next.idle = false;
            next.world.done.set(first.unwrap_or(slot));
            self.settle(&mut next.world, new);
            moves.push(next);
        }
        for &kind in &here.chances_from {
            let new = self.chances[kind as usize].new;
            if !self.has_chance(&draft.world, kind) || new == draft.world.value {
                continue;
            }
            let mut next = draft.clone();
            self.spend_chance(&mut next.world, kind);
            next.idle = !self.settle(&mut next.world, new);
            if !next.idle || self.wanted(&next.world, new) {
                moves.push(next);
            }
        }
    }

    /// The cell is written: what must go first goes first, then each write that helps, or the goal itself.
    fn write_moves(&self, draft: &Draft<W>, goal: &Goal<'_>, moves: &mut Vec<Draft<W>>) {
        let mut base = draft.clone();
        if let Some(future) = goal.future {
            self.absorb(&mut base.world, future, goal.op.ret);
            if base.world.done.has(goal.slot) {
                moves.push(base);
                return;
            }
        }
        let mut values = Vec::new();
        self.wanted_values(&base.world, &mut values);
        for value in values {
            // Also where the cell holds it already: a cas may then take the later of two equal writes.
            if !self.may_pass(value, goal) {
                continue;
            }
            let Some(source) = self.source(&base.world, value) else {
                continue;
            };
            let mut next = base.clone();
            self.place_write(&mut next.world, source);
            next.idle = !self.settle(&mut next.world, value);
            moves.push(next);
        }
        if self.writes.has(goal.slot) {
            let mut next = base;
            self.place_write(&mut next.world, Source::Slot(goal.slot));
            self.settle(&mut next.world, produced(goal.op) as u32);
            moves.push(next);
        }
    }

    /// Values with one writer, whose readers are all open: written and read right before the next write, for free.
    fn absorb(&self, world: &mut World<W>, future: &Future, now: u32) {
        let mut reads = self.reads.without(&world.done);
        while let Some(slot) = reads.first() {
            let value = self.slots[slot as usize].value;
            let here = &self.here[value as usize];
            reads = reads.without(&here.reads);
            let prospect = &future.of_value[value as usize];
            let forced = prospect.writers == 1 && prospect.last_begin <= now && !prospect.cas;
            if forced && let Some(source) = self.source(world, value) {
                self.place_write(world, source);
                self.settle(world, value);
            }
        }
    }

    /// Whether a value may be written and then be overwritten within this step: not if its only writer is then
    /// missing to somebody who has not begun.
    fn may_pass(&self, value: u32, goal: &Goal<'_>) -> bool {
        let Some(future) = goal.future else {
            return true;
        };
        let prospect = &future.of_value[value as usize];
        let last = match goal.op.kind {
            Kind::Read | Kind::Cas => true,
            Kind::Write | Kind::Delete | Kind::Append => false,
        };
        last || prospect.writers > 1 || prospect.last_begin <= goal.op.ret
    }

    /// Values that somebody open would read or take.
    fn wanted_values(&self, world: &World<W>, values: &mut Vec<u32>) {
        let mut add = |value: u32| {
            if !values.contains(&value) {
                values.push(value);
            }
        };
        for slot in self.reads.without(&world.done).ones() {
            add(self.slots[slot as usize].value);
        }
        for slot in self.cas.without(&world.done).ones() {
            add(self.slots[slot as usize].old);
        }
        // Through unknown cas, backwards.
        let mut i = 0;
        while i < values.len() {
            for &kind in &self.here[values[i] as usize].chances_to {
                if self.has_chance(world, kind)
                    && let Some(old) = self.chances[kind as usize].old
                    && !values.contains(&old)
                {
                    values.push(old);
                }
            }
            i += 1;
        }
    }

    fn wanted(&self, world: &World<W>, value: u32) -> bool {
        let mut values = Vec::new();
        self.wanted_values(world, &mut values);
        values.contains(&value)
    }

    /// Who can write `value`: of the open writes the one that ends first, else an unknown one.
    fn source(&self, world: &World<W>, value: u32) -> Option<Source> {
        let here = &self.here[value as usize];
        let open = here.writes.without(&world.done);
        if let Some(slot) = open.ones().min_by_key(|s| self.slots[*s as usize].ret) {
            return Some(Source::Slot(slot));
        }
        (here.chance != NONE && self.has_chance(world, here.chance))
            .then_some(Source::Chance(here.chance))
    }

    /// A write is placed: everything open that is not done could have been slipped in before it.
    fn place_write(&self, world: &mut World<W>, source: Source) {
        match source {
            Source::Slot(slot) => world.done.set(slot),
            Source::Chance(kind) => self.spend_chance(world, kind),
        }
        world.hidden = self.writes.without(&world.done);
    }

    /// The cell now holds `value`: whoever reads it is done. Whether anybody was.
    fn settle(&self, world: &mut World<W>, value: u32) -> bool {
        world.value = value;
        world.done.join(&self.here[value as usize].reads)
    }

    fn has_chance(&self, world: &World<W>, kind: u32) -> bool {
        let available = self.chances[kind as usize].available;
        match self.supply {
            Supply::Endless => available > 0,
            Supply::Counted => available > world.spent(kind),
        }
    }

    fn spend_chance(&self, world: &mut World<W>, kind: u32) {
        if self.supply == Supply::Counted {
            world.spend(kind);
        }
    }
}

/// How far an expansion went.
pub(super) enum Reach {
    /// Every way was tried.
    All,
    /// The beam was too narrow for all of them.
    Some,
    /// The budget ran out.
    Exhausted,
}

/// Where a write comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Slot(u32),
    Chance(u32),
}
