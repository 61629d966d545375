//! Depth-first search, for any [`Spec`]: Wing & Gong, *Testing and Verifying Concurrent Objects* (1993), with the memo
//! of Lowe, *Testing for linearizability* (2016).
//!
//! Try each operation that may come next, remember every (set of operations done, state) that was seen, go back when
//! an operation's end comes up that was not done. Exact; exponential in the number of operations open at once. The
//! memo holds 128-bit fingerprints: two sets that collide are one chance in 2^64 even after 2^32 of them.

use rustc_hash::FxHashSet;

use super::{Budget, Judgement, Options};
use crate::history::NEVER;
use crate::spec::{Spec, Timed};

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An order that explains every answer: indices into the operations given. Operations without an end may be missing.
    Order(Vec<usize>),
    /// There is none.
    Nothing,
    /// The budget ran out. Everything before position `proven_to` can be explained.
    Exhausted {
        /// All operations that ended before this position have an order.
        proven_to: u32,
    },
}

/// Looks for an order of `ops` that `spec` explains. Every operation with an end must be in it.
///
/// # Panics
/// When an operation ends before it begins: a bug of the caller.
pub fn search<S: Spec>(spec: &S, ops: &[Timed<S::Op>], budget: &mut Budget) -> Found {
    let mut list = EventList::new(ops);
    let mut memo: FxHashSet<(u128, S::State)> = FxHashSet::default();
    let mut state = spec.initial();
    let mut stack: Vec<(usize, S::State)> = Vec::new();
    let mut hash = 0u128;
    let mut proven_to = 0;
    let mut at = list.first();
    while list.ends_left > 0 {
        match list.entry(at) {
            Entry::Call(op) => {
                let next = spec.step(&state, &ops[op].op);
                let next_hash = hash ^ fingerprint(op);
                match next {
                    Some(next) if memo.insert((next_hash, next.clone())) => {
                        if !budget.spend(std::mem::size_of::<(u128, S::State)>()) {
                            return Found::Exhausted { proven_to };
                        }
                        stack.push((op, std::mem::replace(&mut state, next)));
                        hash = next_hash;
                        list.lift(op);
                        at = list.first();
                    }
                    _ => at = list.after(at),
                }
            }
            Entry::End(position) => {
                proven_to = proven_to.max(position);
                let Some((op, before)) = stack.pop() else {
                    return Found::Nothing;
                };
                state = before;
                hash ^= fingerprint(op);
                list.put_back(op);
                at = list.after(list.call_of(op));
            }
        }
    }
    Found::Order(stack.into_iter().map(|(op, _)| op).collect())
}

/// The verdict of a search on a budget of its own, and how many configurations it took.
pub(super) fn judge<S: Spec>(
    spec: &S,
    ops: &[Timed<S::Op>],
    options: &Options,
) -> (Judgement, u64) {
    let mut budget = Budget::new(options);
    let judgement = match search(spec, ops, &mut budget) {
        Found::Order(_) => Judgement::Holds,
        Found::Nothing => Judgement::Fails,
        Found::Exhausted { proven_to } => Judgement::Unknown {
            proven_to,
            exhausted: budget.reason(),
        },
    };
    (judgement, budget.spent())
}

/// What stands at a place of the list.
enum Entry {
    Call(usize),
    /// The end of an operation that is not done yet, at this position.
    End(u32),
}

/// Calls and ends in order of time, as a doubly linked list from which an operation can be lifted and put back.
struct EventList {
    /// Per entry: the operation, and the position where it is an end.
    entries: Vec<(usize, Option<u32>)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    calls: Vec<usize>,
    ends: Vec<Option<usize>>,
    ends_left: usize,
}

impl EventList {
    fn new<O>(ops: &[Timed<O>]) -> Self {
        let mut order: Vec<(u32, usize, Option<u32>)> = Vec::with_capacity(ops.len() * 2);
        for (i, op) in ops.iter().enumerate() {
            assert!(op.call < op.ret, "an operation ends before it begins");
            order.push((op.call, i, None));
            if op.ret != NEVER {
                order.push((op.ret, i, Some(op.ret)));
            }
        }
        order.sort_unstable();
        let mut calls = vec![0; ops.len()];
        let mut ends = vec![None; ops.len()];
        // Entry 0 is the head; entry n + 1, past the last, is never looked at while an end is left.
        let mut entries = vec![(usize::MAX, None)];
        for (_, op, end) in order {
            match end {
                None => calls[op] = entries.len(),
                Some(_) => ends[op] = Some(entries.len()),
            }
            entries.push((op, end));
        }
        let n = entries.len();
        Self {
            entries,
            next: (1..=n).collect(),
            previous: (0..=n).map(|i| i.saturating_sub(1)).collect(),
            calls,
            ends_left: ends.iter().flatten().count(),
            ends,
        }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn after(&self, at: usize) -> usize {
        self.next[at]
    }

    fn call_of(&self, op: usize) -> usize {
        self.calls[op]
    }

    fn entry(&self, at: usize) -> Entry {
        match self.entries[at] {
            (op, None) => Entry::Call(op),
            (_, Some(position)) => Entry::End(position),
        }
    }

    fn lift(&mut self, op: usize) {
        self.unlink(self.calls[op]);
        if let Some(end) = self.ends[op] {
            self.unlink(end);
            self.ends_left -= 1;
        }
    }

    fn put_back(&mut self, op: usize) {
        if let Some(end) = self.ends[op] {
            self.relink(end);
            self.ends_left += 1;
        }
        self.relink(self.calls[op]);
    }

    fn unlink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn relink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = at;
        self.previous[next] = at;
    }
}

/// The fingerprint of one operation; a set's is the exclusive or of its members' (Zobrist).
fn fingerprint(op: usize) -> u128 {
    let low = mix(op as u64 + 1);
    let high = mix(!(op as u64) ^ 0x9e37_79b9_7f4a_7c15);
    u128::from(high) << 64 | u128::from(low)
}

/// SplitMix64's finalizer (Steele, Lea & Flood, 2014).
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
