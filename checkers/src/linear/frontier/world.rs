//! One configuration of the frontier search, and the bit sets that it is made of.

use smallvec::SmallVec;

use crate::history::ABSENT;

/// A set of slots, `W` words of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bits<const W: usize>([u64; W]);

impl<const W: usize> Bits<W> {
    pub(super) const EMPTY: Self = Self([0; W]);

    pub(super) fn set(&mut self, slot: u32) {
        self.0[slot as usize / 64] |= 1 << (slot % 64);
    }

    pub(super) fn clear(&mut self, slot: u32) {
        self.0[slot as usize / 64] &= !(1 << (slot % 64));
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        self.0[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(super) fn first(&self) -> Option<u32> {
        self.ones().next()
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Adds another set; whether that added anything.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let mut added = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            added |= theirs & !*mine != 0;
            *mine |= theirs;
        }
        added
    }

    /// The slots in it, ascending.
    pub(super) fn ones(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros();
                left &= left - 1;
                Some(i as u32 * 64 + bit)
            })
        })
    }
}

/// One way the world may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World<const W: usize> {
    /// What the cell holds.
    pub(super) value: u32,
    /// Open operations that are done.
    pub(super) done: Bits<W>,
    /// Open writes that are not done and could have been slipped in before a write that was placed since they began.
    pub(super) hidden: Bits<W>,
    /// How many unknown operations were used, by kind, ascending.
    spent: SmallVec<[(u32, u32); 4]>,
}

impl<const W: usize> World<W> {
    /// The world before the first event.
    pub(super) fn first() -> Self {
        Self {
            value: ABSENT,
            done: Bits::EMPTY,
            hidden: Bits::EMPTY,
            spent: SmallVec::new(),
        }
    }

    /// Whether this world can do all that `other` can: same value, no more used, no less done. A write that is not
    /// done but can hide is worth more than one that is done: it still may be used, and need not be.
    pub(super) fn dominates(&self, other: &Self, reads: &Bits<W>, writes: &Bits<W>) -> bool {
        if self.value != other.value {
            return false;
        }
        if !other.done.and(reads).without(&self.done).is_empty() {
            return false;
        }
        if !self.done.without(reads).without(&other.done).is_empty() {
            return false;
        }
        let ahead = other.done.without(reads).without(&self.done);
        if !ahead.without(writes).is_empty() || !ahead.without(&self.hidden).is_empty() {
            return false;
        }
        // Last, because it costs most where many kinds were used.
        other.hidden.without(&self.hidden).is_empty() && self.spent_within(other)
    }

    pub(super) fn spent(&self, kind: u32) -> u32 {
        match self.spent.binary_search_by_key(&kind, |entry| entry.0) {
            Ok(i) => self.spent[i].1,
            Err(_) => 0,
        }
    }

    pub(super) fn spend(&mut self, kind: u32) {
        match self.spent.binary_search_by_key(&kind, |entry| entry.0) {
            Ok(i) => self.spent[i].1 += 1,
            Err(i) => self.spent.insert(i, (kind, 1)),
        }
    }

    pub(super) fn total_spent(&self) -> u32 {
        self.spent.iter().map(|entry| entry.1).sum()
    }

    pub(super) fn retain_spent(&mut self, keep: impl Fn(u32) -> bool) {
        self.spent.retain(|entry| keep(entry.0));
    }

    /// The kinds of which something was used.
    pub(super) fn spent_kinds(&self) -> impl Iterator<Item = u32> + '_ {
        self.spent.iter().map(|entry| entry.0)
    }

    /// So many of a kind, all of which were used, do not count any more.
    pub(super) fn give_back(&mut self, kind: u32, used: u32) {
        if let Ok(i) = self.spent.binary_search_by_key(&kind, |entry| entry.0) {
            self.spent[i].1 -= used;
            if self.spent[i].1 == 0 {
                self.spent.remove(i);
            }
        }
    }

    /// Kinds have new numbers, in the same order.
    pub(super) fn rename_spent(&mut self, numbers: &[u32]) {
        for entry in &mut self.spent {
            entry.0 = numbers[entry.0 as usize];
        }
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.spent.capacity() * size_of::<(u32, u32)>()
    }

    fn spent_within(&self, other: &Self) -> bool {
        // Both ascend by kind, so one pass over both is enough.
        let mut theirs = other.spent.iter();
        self.spent.iter().all(|&(kind, used)| {
            let theirs = theirs.find(|entry| entry.0 >= kind);
            theirs.is_some_and(|&(same, others)| same == kind && used <= others)
        })
    }
}
