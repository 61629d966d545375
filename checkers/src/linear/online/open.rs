//! The open operations of one key, in order of their begins: a list within a table, so that each change is constant
//! work and the memory is that of the most that were ever open at once.

use crate::history::Call;

/// No place.
const NONE: u32 = u32::MAX;

/// The list.
#[derive(Debug)]
pub(super) struct Open {
    places: Vec<Place>,
    free: Vec<u32>,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    op: OpenOp,
    before: u32,
    after: u32,
}

/// An operation that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenOp {
    /// The event index of its begin.
    pub(super) invoked: u64,
    pub(super) call: Call,
    /// Its number in the record.
    pub(super) number: u64,
    /// Its number in the tail, where there is one.
    pub(super) in_tail: u64,
}

impl Open {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }

    pub(super) fn len(&self) -> u64 {
        (self.places.len() - self.free.len()) as u64
    }

    /// The event index of the oldest begin.
    pub(super) fn oldest(&self) -> Option<u64> {
        let first = self.places.get(self.first as usize)?;
        Some(first.op.invoked)
    }

    /// Adds the newest; gives its place.
    pub(super) fn push(&mut self, op: OpenOp) -> u32 {
        let place = Place {
            op,
            before: self.last,
            after: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.places[at as usize] = place;
                at
            }
            None => {
                self.places.push(place);
                self.places.len() as u32 - 1
            }
        };
        match self.places.get_mut(self.last as usize) {
            Some(last) => last.after = at,
            None => self.first = at,
        }
        self.last = at;
        at
    }

    pub(super) fn get(&self, at: u32) -> OpenOp {
        self.places[at as usize].op
    }

    /// Takes out the operation at a place.
    pub(super) fn remove(&mut self, at: u32) -> OpenOp {
        let place = self.places[at as usize];
        match self.places.get_mut(place.before as usize) {
            Some(before) => before.after = place.after,
            None => self.first = place.after,
        }
        match self.places.get_mut(place.after as usize) {
            Some(after) => after.before = place.before,
            None => self.last = place.before,
        }
        self.free.push(at);
        place.op
    }

    /// Goes through them, the oldest first.
    pub(super) fn for_each(&mut self, mut take: impl FnMut(&mut OpenOp)) {
        let mut at = self.first;
        while let Some(place) = self.places.get_mut(at as usize) {
            take(&mut place.op);
            at = place.after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_known_whatever_ends() {
        let mut open = Open::new();
        let at = |invoked| OpenOp {
            invoked,
            call: Call::Read,
            number: invoked,
            in_tail: 0,
        };
        let places: Vec<u32> = (0..5).map(|n| open.push(at(n))).collect();
        for (ends, oldest, left) in [(1, Some(0), 4), (0, Some(2), 3), (4, Some(2), 2)] {
            assert_eq!(open.remove(places[ends]).invoked, ends as u64);
            assert_eq!((open.oldest(), open.len()), (oldest, left));
        }
        open.push(at(9));
        let mut seen = Vec::new();
        open.for_each(|op| seen.push(op.invoked));
        assert_eq!(seen, [2, 3, 9]);
        assert_eq!(open.places.len(), 5);
    }
}
