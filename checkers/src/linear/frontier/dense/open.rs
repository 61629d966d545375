//! What is open at a moment of the search over few values.

use super::super::{Course, Future, demand, produces};
use super::VALUES;
use super::world::{World, bits, givers, is_left, supplied};
use crate::history::{ABSENT, End, Kind, NEVER, Op};

/// Of each kind of unknown write, how many unknown writes of any kind began before each of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    epochs: [Vec<u32>; VALUES],
}

impl Plan {
    /// Nothing where some kind has more operations than a byte counts.
    pub(super) fn of(course: &Course<'_>) -> Option<Self> {
        let mut epochs: [Vec<u32>; VALUES] = Default::default();
        let mut kinds = [0u8; VALUES * VALUES];
        let mut epoch = 0;
        for entry in course.schedule.iter().filter(|entry| **entry != NEVER) {
            let op = &course.ops[(entry >> 1) as usize];
            if entry & 1 == 1 || op.end != End::Unknown {
                continue;
            }
            let kind = &mut kinds[kind_of(op)];
            *kind = kind.checked_add(1)?;
            if op.kind != Kind::Cas {
                epochs[produces(op).unwrap_or(ABSENT) as usize].push(epoch);
                epoch += 1;
            }
        }
        Some(Self { epochs })
    }
}

/// The kind of an unknown operation.
fn kind_of(op: &Op) -> usize {
    let new = produces(op).unwrap_or(ABSENT);
    let old = if op.kind == Kind::Cas { op.old } else { new };
    (new * 8 + old) as usize
}

/// The operations that are open now, in slots.
#[derive(Clone, Debug)]
pub(super) struct Open {
    free: u64,
    rets: [u32; 64],
    /// What the operation in each slot sets, or finds.
    pub(super) news: [u8; 64],
    olds: [u8; 64],
    pub(super) reads: u64,
    pub(super) writes: u64,
    cas: u64,
    pub(super) reads_of: [u64; VALUES],
    pub(super) writes_of: [u64; VALUES],
    pub(super) cas_from: [u64; VALUES],
    pub(super) cas_to: [u64; VALUES],
    /// Values that an open read found, and that an open cas takes, as bits.
    read_values: u64,
    cas_values: u64,
    /// How many unknown operations of each kind have begun.
    available: [u8; VALUES * VALUES],
    /// How many unknown writes have begun.
    epoch: u32,
    /// By value, how many that may write it have begun, and how many that end and found it.
    begun: [(usize, usize); VALUES],
    /// By value, the next begin of somebody who may write it.
    next_writer: [u32; VALUES],
    /// Values that somebody who has not begun can find only if they are there now, or an open operation writes them.
    demanded: u8,
}

impl Open {
    /// Before the first event.
    pub(super) fn first(future: &Future) -> Self {
        let mut open = Self {
            free: u64::MAX,
            rets: [NEVER; 64],
            news: [0; 64],
            olds: [0; 64],
            reads: 0,
            writes: 0,
            cas: 0,
            reads_of: [0; VALUES],
            writes_of: [0; VALUES],
            cas_from: [0; VALUES],
            cas_to: [0; VALUES],
            read_values: 0,
            cas_values: 0,
            available: [0; VALUES * VALUES],
            epoch: 0,
            begun: [(0, 0); VALUES],
            next_writer: [NEVER; VALUES],
            demanded: 0,
        };
        for value in demand::at_first(&future.demands) {
            open.demanded |= 1 << value;
        }
        for (value, demand) in future.demands.iter().enumerate() {
            open.next_writer[value] = demand.writer(0);
        }
        open
    }

    pub(super) fn all(&self) -> u64 {
        self.reads | self.writes | self.cas
    }

    /// An unknown operation begins.
    pub(super) fn add_chance(&mut self, op: &Op, worlds: &mut [World]) {
        if op.kind == Kind::Cas && op.old == op.value {
            return;
        }
        let kind = kind_of(op);
        self.available[kind] += 1;
        self.epoch += u32::from(op.kind != Kind::Cas);
        for world in worlds {
            world.left |= 1 << kind;
        }
    }

    /// An operation begins that ends: its slot, where one is left.
    pub(super) fn begin(&mut self, op: &Op, worlds: &mut [World]) -> Option<u8> {
        if self.free == 0 {
            return None;
        }
        let slot = self.free.trailing_zeros() as usize;
        let mask = 1 << slot;
        self.free &= !mask;
        let new = produces(op).unwrap_or(op.value) as usize;
        self.rets[slot] = op.ret;
        self.news[slot] = new as u8;
        self.olds[slot] = op.old as u8;
        match op.kind {
            Kind::Read => {
                self.reads |= mask;
                self.reads_of[new] |= mask;
                self.read_values |= 1 << new;
                for world in worlds.iter_mut().filter(|w| w.value as usize == new) {
                    world.done |= mask;
                }
            }
            Kind::Write | Kind::Delete | Kind::Append => {
                self.writes |= mask;
                self.writes_of[new] |= mask;
            }
            Kind::Cas => {
                self.cas |= mask;
                self.cas_from[op.old as usize] |= mask;
                self.cas_values |= 1 << op.old;
                self.cas_to[new] |= mask;
            }
        }
        Some(slot as u8)
    }

    /// What is demanded from here on, where `op` has just begun.
    pub(super) fn note(&mut self, op: &Op, future: &Future) {
        if let Some(value) = produces(op) {
            let value = value as usize;
            self.begun[value].0 += 1;
            self.next_writer[value] = future.demands[value].writer(self.begun[value].0);
            self.note_demand(value, future);
        }
        let found = match op.kind {
            Kind::Read => op.value as usize,
            Kind::Cas => op.old as usize,
            Kind::Write | Kind::Delete | Kind::Append => return,
        };
        if op.end == End::Ok {
            self.begun[found].1 += 1;
            self.note_demand(found, future);
        }
    }

    fn note_demand(&mut self, value: usize, future: &Future) {
        let (writers, finders) = self.begun[value];
        self.demanded &= !(1 << value);
        self.demanded |= u8::from(future.demands[value].demanded(writers, finders)) << value;
    }

    /// An operation has ended.
    pub(super) fn release(&mut self, slot: u32, worlds: &mut [World]) {
        let mask = !(1 << slot);
        let slot = slot as usize;
        let (new, old) = (self.news[slot] as usize, self.olds[slot] as usize);
        self.free |= !mask;
        self.reads &= mask;
        self.writes &= mask;
        self.cas &= mask;
        self.reads_of[new] &= mask;
        self.writes_of[new] &= mask;
        self.cas_to[new] &= mask;
        self.cas_from[old] &= mask;
        self.read_values &= !(u64::from(self.reads_of[new] == 0) << new);
        self.cas_values &= !(u64::from(self.cas_from[old] == 0) << old);
        for world in worlds {
            world.done &= mask;
            world.behind &= mask;
        }
    }

    /// The one of a set, not empty, that ends first.
    pub(super) fn first_to_end(&self, mut set: u64) -> u64 {
        let mut first = set.trailing_zeros();
        set &= set - 1;
        while set != 0 {
            let slot = set.trailing_zeros();
            set &= set - 1;
            if self.rets[slot as usize] < self.rets[first as usize] {
                first = slot;
            }
        }
        1 << first
    }

    /// The cell now holds `value`: whoever reads it is done. Whether anybody was.
    pub(super) fn settle(&self, world: &mut World, value: u8) -> bool {
        world.value = value;
        let found = self.reads_of[value as usize] & !world.done;
        world.done |= found;
        found != 0
    }

    /// A write is placed: what is open now could have been slipped in before it.
    pub(super) fn anchor(&self, world: &mut World) {
        world.behind = self.all();
        world.epoch = self.epoch;
    }

    /// An unknown operation from `old` to `new`, or a write of `new`, is used.
    pub(super) fn spend(&self, world: &mut World, new: u8, old: u8) {
        let kind = (new * 8 + old) as usize;
        world.used[kind] += 1;
        world.total += 1;
        if world.used[kind] == self.available[kind] {
            world.left &= !(1 << kind);
        }
    }

    /// A read of `value` was done at the anchor, by a write that was open then; false where there is none.
    pub(super) fn read_behind(&self, world: &mut World, value: u8, plan: &Plan) -> bool {
        let hidden = self.writes_of[value as usize] & world.behind & !world.done;
        if hidden != 0 {
            world.done |= self.first_to_end(hidden);
        } else {
            if !is_left(world.left, value, value) {
                return false;
            }
            let used = world.used[value as usize * 9];
            if plan.epochs[value as usize][used as usize] >= world.epoch {
                return false;
            }
            self.spend(world, value, value);
        }
        world.done |= self.reads_of[value as usize] & world.behind;
        true
    }

    /// Values, as bits, that a cas would take: an open one, or an unknown one that leads to what somebody open found.
    pub(super) fn taken(&self, world: &World) -> u64 {
        let of = |values: u64, slots: &[u64; VALUES]| {
            let undone = |value: &u8| slots[*value as usize] & !world.done != 0;
            bits(values)
                .filter(undone)
                .fold(0u64, |set, value| set | 1 << value)
        };
        let mut taken = of(self.cas_values, &self.cas_from);
        let read = of(self.read_values, &self.reads_of);
        let mut todo = taken | read;
        let mut seen = todo;
        while todo != 0 {
            let old = givers(world.left, todo.trailing_zeros() as u8);
            todo &= todo - 1;
            taken |= old;
            todo |= old & !seen;
            seen |= old;
        }
        taken
    }

    /// Whether somebody can certainly not find what it found any more: nobody is left to write it in time.
    pub(super) fn doomed(&self, world: &World) -> bool {
        let found_or_taken = self.read_values | self.cas_values | u64::from(self.demanded);
        let suspects = found_or_taken & !supplied(world.left) & !(1 << world.value);
        for value in bits(suspects) {
            let value = value as usize;
            let found = (self.reads_of[value] | self.cas_from[value]) & !world.done;
            let demanded = self.demanded >> value & 1 != 0;
            let writers = (self.writes_of[value] | self.cas_to[value]) & !world.done;
            if (found == 0 && !demanded) || writers != 0 {
                continue;
            }
            if demanded {
                return true;
            }
            let first = self.rets[self.first_to_end(found).trailing_zeros() as usize];
            if first < self.next_writer[value] {
                return true;
            }
        }
        false
    }
}
