//! One configuration of the search over few values, and which of them to keep.
//!
//! A kind of unknown operation is a bit of a word: that of the new value's byte whose number is the old value, and for
//! a write, which needs none, the new value again (a cas from a value to itself changes nothing, and need not be known).

use super::open::Open;
use super::{COMPARED, VALUES};
use crate::history::ABSENT;

/// The first bit of each byte.
const FIRSTS: u64 = 0x0101_0101_0101_0101;
/// The bits of unknown writes.
const WRITES: u64 = 0x8040_2010_0804_0201;

/// One way the world may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct World {
    /// Open operations that are done.
    pub(super) done: u64,
    /// Operations that were open at the anchor.
    pub(super) behind: u64,
    /// Kinds of unknown operations of which some are left.
    pub(super) left: u64,
    /// How many unknown writes had begun at the anchor.
    pub(super) epoch: u32,
    /// How many unknown operations were used.
    pub(super) total: u32,
    /// What the cell holds.
    pub(super) value: u8,
    /// What was placed last was not taken yet: a cas must follow.
    pub(super) idle: bool,
    /// How many unknown operations were used, by kind.
    pub(super) used: [u8; VALUES * VALUES],
}

/// Whether an unknown operation from `old` to `new` is left; a write, where both are the same.
pub(super) fn is_left(left: u64, new: u8, old: u8) -> bool {
    left >> (new * 8 + old) & 1 != 0
}

/// The first bit of each byte whose value an unknown cas could put in the place of `old`.
pub(super) fn takers(left: u64, old: u8) -> u64 {
    (left & !WRITES) >> old & FIRSTS
}

/// The values, as bits, from which an unknown cas leads to `new`.
pub(super) fn givers(left: u64, new: u8) -> u64 {
    (left & !WRITES) >> (new * 8) & 0xff
}

/// The values, as bits, that some unknown operation that is left produces.
pub(super) fn supplied(left: u64) -> u64 {
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let some = (((left & !TOPS) + !TOPS) | left) & TOPS;
    // One bit a byte, gathered into the top byte.
    (some >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The values of a set of bits, ascending.
pub(super) fn bits(mut set: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let first = set.trailing_zeros() as u8;
        if set == 0 {
            return None;
        }
        set &= set - 1;
        Some(first)
    })
}

impl World {
    pub(super) fn first() -> Self {
        Self {
            done: 0,
            behind: 0,
            left: 0,
            epoch: 0,
            total: 0,
            value: ABSENT as u8,
            idle: false,
            used: [0; VALUES * VALUES],
        }
    }

    /// Whether this world can do all that `other` can: same value, no more used, no less read. A write that is not done
    /// but can hide is worth more than one that is done.
    pub(super) fn dominates(&self, other: &Self, reads: u64, writes: u64) -> bool {
        if self.value != other.value || self.total > other.total {
            return false;
        }
        let unread = other.done & reads & !self.done;
        let further = self.done & !reads & !other.done;
        let ahead = other.done & !reads & !self.done;
        let exposed = ahead & !(writes & self.behind);
        let nearer = other.behind & !self.done & !self.behind;
        if unread | further | exposed | nearer != 0 {
            return false;
        }
        if self.epoch < other.epoch || (self.idle && !other.idle) {
            return false;
        }
        let more = |more: u8, (mine, theirs): (&u8, &u8)| more | mine.saturating_sub(*theirs);
        self.used.iter().zip(&other.used).fold(0, more) == 0
    }

    /// The lower the better: operations that still need a place of their own, writes that were used up, and unknown
    /// operations, which are used up for ever.
    fn rank(&self, open: &Open) -> u32 {
        let settled = self.done | (self.behind & open.writes);
        let urgent = (open.all() & !settled).count_ones();
        let used = (self.done & open.writes).count_ones();
        urgent + used + 4 * self.total
    }
}

/// Drops the worlds that others dominate; gives how many comparisons that took.
pub(super) fn keep_best(worlds: &mut Vec<World>, spare: &mut Vec<World>, open: &Open) -> u64 {
    if worlds.len() < 2 {
        return 0;
    }
    let mut compared = 0;
    let (reads, writes) = (open.reads, open.writes);
    worlds.sort_unstable_by_key(|w| (w.value, w.total, (reads & !w.done).count_ones()));
    spare.clear();
    let mut group = 0;
    for world in worlds.iter() {
        if spare.last().is_some_and(|last| last.value != world.value) {
            group = spare.len();
        }
        let better = |other: &World| {
            compared += 1;
            other.dominates(world, reads, writes)
        };
        if !spare[group..].iter().take(COMPARED).any(better) {
            spare.push(*world);
        }
    }
    std::mem::swap(worlds, spare);
    compared
}

/// Keeps `width` worlds: the best, but not only those of one value.
pub(super) fn narrow(worlds: &mut Vec<World>, open: &Open, width: usize) {
    /// What each further world of a value counts more than the one before.
    const ALIKE: u32 = 8;
    let mut ranked: Vec<(u32, u32)> = (0..)
        .zip(worlds.iter())
        .map(|(i, w)| (w.rank(open), i))
        .collect();
    ranked.sort_unstable();
    let mut alike = [0; VALUES];
    for (rank, i) in &mut ranked {
        let alike = &mut alike[worlds[*i as usize].value as usize];
        *rank += *alike;
        *alike += ALIKE;
    }
    ranked.sort_unstable();
    ranked.truncate(width);
    *worlds = ranked
        .into_iter()
        .map(|(_, i)| worlds[i as usize])
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_supplied_where_its_byte_has_a_bit() {
        let mut left = 0x1234_5678_9abc_def0_u64;
        for _ in 0..10_000 {
            left = left.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let sparse = left & left.rotate_left(17) & left.rotate_left(31) & left.rotate_left(43);
            let byte = |value: &u8| sparse >> (value * 8) & 0xff != 0;
            let expected: Vec<u8> = (0..8).filter(byte).collect();
            assert_eq!(
                bits(supplied(sparse)).collect::<Vec<_>>(),
                expected,
                "{sparse:x}"
            );
        }
    }
}
