//! What a frontier needs that follows a history without end: events that are tried and taken back, and forgetting.
//!
//! *Trying.* Only what the events touched is put back, so that it costs what is open, however many values there were.
//!
//! *Forgetting.* A value's number is only a name. Where no world holds the value and no operation that is open or
//! unknown names it, nothing tells it from a value that never was: whoever finds it finds nobody who wrote it, under
//! any number. So its number is free. And an unknown operation that every world has used did happen, and can't again:
//! it is like one that ended. All others stay, since they may take effect at any time to come.

use rustc_hash::FxHashMap;

#[cfg(test)]
use super::Here;
use super::world::{Bits, World};
use super::{Chance, Frontier, NONE, Slot};
use crate::history::ABSENT;

/// No number: a value that is forgotten.
pub(in crate::linear) const GONE: u32 = u32::MAX;

/// How a frontier stood, but for what is known of each value.
struct Stood<const W: usize> {
    worlds: Vec<World<W>>,
    truncated: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    slot_of: FxHashMap<u32, u32>,
    reads: Bits<W>,
    writes: Bits<W>,
    cas: Bits<W>,
    chances: usize,
    ends: u32,
}

impl<const W: usize> Frontier<W> {
    /// Takes back all events that `run` feeds. They must not be known beforehand ([`Self::begin_known`]).
    pub(in crate::linear) fn rehearse<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let stood = Stood {
            worlds: self.worlds.clone(),
            truncated: self.truncated,
            slots: self.slots.clone(),
            free: self.free.clone(),
            slot_of: self.slot_of.clone(),
            reads: self.reads,
            writes: self.writes,
            cas: self.cas,
            chances: self.chances.len(),
            ends: self.ends,
        };
        self.tried = Some(Vec::new());
        let result = run(self);
        self.mark_open(false);
        let tried = self.tried.take().unwrap_or_default();
        self.take_back(&tried, stood.chances);
        self.worlds = stood.worlds;
        self.truncated = stood.truncated;
        self.slots = stood.slots;
        self.free = stood.free;
        self.slot_of = stood.slot_of;
        self.reads = stood.reads;
        self.writes = stood.writes;
        self.cas = stood.cas;
        self.ends = stood.ends;
        self.mark_open(true);
        result
    }

    /// Enters each open operation with its values, or strikes it there.
    fn mark_open(&mut self, enter: bool) {
        for &slot in self.slot_of.values() {
            let mark = |bits: &mut Bits<W>| match enter {
                true => bits.set(slot),
                false => bits.clear(slot),
            };
            let Slot { value, old, .. } = self.slots[slot as usize];
            if self.reads.has(slot) {
                mark(&mut self.here[value as usize].reads);
            } else if self.writes.has(slot) {
                mark(&mut self.here[value as usize].writes);
            } else {
                mark(&mut self.here[old as usize].cas_from);
                mark(&mut self.here[value as usize].cas_to);
            }
        }
    }

    /// Takes back unknown operations, one of each kind in the list; the first `before` kinds were there before.
    fn take_back(&mut self, tried: &[u32], before: usize) {
        for kind in tried {
            self.chances[*kind as usize].available -= 1;
        }
        for chance in self.chances.drain(before..).rev() {
            self.kinds.remove(&(chance.old, chance.new));
            match chance.old {
                Some(old) => {
                    self.here[old as usize].chances_from.pop();
                    self.here[chance.new as usize].chances_to.pop();
                }
                None => self.here[chance.new as usize].chance = NONE,
            }
        }
    }

    /// Gives new numbers, from [`ABSENT`] on and in the old order, to the values that something here names or that are
    /// `held`, all below `values`; gives the new number of each, or [`GONE`]. Ends count from `earlier` later on.
    pub(in crate::linear) fn renumber(
        &mut self,
        held: impl Iterator<Item = u32>,
        values: usize,
        earlier: u32,
    ) -> Vec<u32> {
        self.forget_used();
        for free in &self.free {
            let slot = &mut self.slots[*free as usize];
            (slot.value, slot.old) = (ABSENT, ABSENT);
        }
        let mut numbers = vec![GONE; values.max(self.here.len()).max(1)];
        let named = held
            .chain([ABSENT])
            .chain(self.worlds.iter().map(|world| world.value))
            .chain(self.slots.iter().flat_map(|slot| [slot.value, slot.old]))
            .chain(self.chances.iter().map(|chance| chance.new))
            .chain(self.chances.iter().filter_map(|chance| chance.old));
        for value in named {
            numbers[value as usize] = 0;
        }
        let mut next = 0;
        for number in numbers.iter_mut().filter(|number| **number != GONE) {
            *number = next;
            next += 1;
        }
        let name = |value: u32| numbers[value as usize];
        for world in &mut self.worlds {
            world.value = name(world.value);
        }
        for slot in &mut self.slots {
            (slot.value, slot.old) = (name(slot.value), name(slot.old));
            slot.ret = slot.ret.saturating_sub(earlier);
        }
        let mut old = 0..;
        self.here
            .retain(|_| old.next().is_some_and(|value: u32| name(value) != GONE));
        for here in &mut self.here {
            here.chance = NONE;
            here.chances_from.clear();
            here.chances_to.clear();
        }
        self.kinds.clear();
        for (kind, chance) in (0..).zip(std::mem::take(&mut self.chances)) {
            let (old, new) = (chance.old.map(name), name(chance.new));
            self.kinds.insert((old, new), kind);
            self.place_chance(Chance { old, new, ..chance });
        }
        self.here.shrink_to(next as usize * 2);
        numbers
    }

    /// Forgets unknown operations that every world has used, and kinds of which none is left.
    fn forget_used(&mut self) {
        let Some(first) = self.worlds.first() else {
            return;
        };
        let kinds: Vec<u32> = first.spent_kinds().collect();
        for kind in kinds {
            let worlds = self.worlds.iter();
            let used = worlds.map(|world| world.spent(kind)).min().unwrap_or(0);
            if used > 0 {
                self.chances[kind as usize].available -= used;
                for world in &mut self.worlds {
                    world.give_back(kind, used);
                }
            }
        }
        let mut next = 0;
        let mut numbers = Vec::with_capacity(self.chances.len());
        self.chances.retain(|chance| {
            let left = chance.available > 0;
            numbers.push(if left { next } else { NONE });
            next += u32::from(left);
            left
        });
        for world in &mut self.worlds {
            world.rename_spent(&numbers);
        }
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(in crate::linear) fn bytes(&self) -> usize {
        let here = self.here.capacity() * size_of::<Here<W>>();
        let kinds = self.here.iter().map(|here| {
            (here.chances_from.capacity() + here.chances_to.capacity()) * size_of::<u32>()
        });
        let worlds = self.worlds.iter().map(World::bytes);
        let chances = self.chances.capacity() * size_of::<Chance>();
        let numbers = self.kinds.capacity() * size_of::<((Option<u32>, u32), u32)>();
        let slots = self.slots.capacity() * size_of::<Slot>();
        here + kinds.sum::<usize>() + worlds.sum::<usize>() + chances + numbers + slots
    }
}
