//! Who may have written what an operation found: the ground on which a counterexample is made smaller.
//!
//! Leave some operations out of a linearizable history, and what remains is linearizable as long as nobody who stays
//! can have found what somebody who left had written. A write can't be what a read found where another came between:
//!
//! ```text
//!   ├─ write 1 ─┤   ├─ write 2 ─┤   ├─ read ─┤      whatever the order, the first write is not the last before the read
//! ```
//!
//! So a few operations that contain all possible sources of all that they found, and fail, prove that the whole fails.

use std::cell::Cell;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::history::{End, Kind, Op};

/// The writes of a history, by value and by time.
pub(super) struct Sources<'a> {
    ops: &'a [Op],
    /// By value: the operations that leave it, as indices.
    writers: FxHashMap<u32, Vec<usize>>,
    /// Writes that took effect, by begin: the begin, and the one that ends first among it and all later ones.
    covers: Vec<(u32, usize)>,
    rows: FxHashMap<u32, usize>,
    /// How many writers were looked at.
    looked: Cell<u64>,
}

/// What must be there for an operation to have its answer.
pub(super) fn needed(op: &Op) -> Option<u32> {
    match op.kind {
        Kind::Read => Some(op.value),
        Kind::Cas => Some(op.old),
        Kind::Write | Kind::Delete | Kind::Append => None,
    }
}

/// What it leaves behind: a delete's value is absent, number 0, as it stands in the operation.
pub(super) fn written(op: &Op) -> Option<u32> {
    (op.kind != Kind::Read).then_some(op.value)
}

impl<'a> Sources<'a> {
    /// Of operations that may matter to a verdict, in order of their begins.
    pub(super) fn of(ops: &'a [Op]) -> Self {
        let mut writers: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        let mut covers: Vec<(u32, usize)> = Vec::new();
        for (i, op) in ops.iter().enumerate() {
            if let Some(value) = written(op) {
                writers.entry(value).or_default().push(i);
                if op.end == End::Ok {
                    covers.push((op.call, i));
                }
            }
        }
        let mut first = None;
        for (_, i) in covers.iter_mut().rev() {
            if let Some(earlier) = first.filter(|first: &usize| ops[*first].ret < ops[*i].ret) {
                *i = earlier;
            }
            first = Some(*i);
        }
        Self {
            ops,
            writers,
            covers,
            rows: ops.iter().enumerate().map(|(i, op)| (op.row, i)).collect(),
            looked: Cell::new(0),
        }
    }

    /// How many writers were looked at since this was last asked.
    pub(super) fn looked(&self) -> u64 {
        self.looked.take()
    }

    /// The write that certainly came between `writer` and `finder`, where one did.
    fn cover(&self, writer: &Op, finder: &Op) -> Option<usize> {
        let at = self.covers.partition_point(|(call, _)| *call <= writer.ret);
        let (_, first) = self.covers.get(at)?;
        (self.ops[*first].ret < finder.call).then_some(*first)
    }

    /// The rows of those who may have written what `finder` found. Where nobody can have, the last one who wrote it
    /// and what came over that: a person wants to see them.
    pub(super) fn rows(&self, finder: &Op) -> Vec<u32> {
        let writers = needed(finder).and_then(|value| self.writers.get(&value));
        let looked = writers.map_or(0, |writers| writers.len() as u64);
        self.looked.set(self.looked.get() + looked + 1);
        let before =
            |i: &&usize| self.ops[**i].call < finder.ret && self.ops[**i].row != finder.row;
        let writers = writers.into_iter().flatten().filter(before);
        let row = |i: &usize| self.ops[*i].row;
        let may_be: Vec<u32> = writers
            .clone()
            .filter(|i| self.cover(&self.ops[**i], finder).is_none())
            .map(row)
            .collect();
        if !may_be.is_empty() {
            return may_be;
        }
        // Best are plain writes, which need nothing themselves.
        let plain = |i: usize| self.ops[i].kind != Kind::Cas;
        let last = writers.max_by_key(|i| (plain(**i), self.ops[**i].ret));
        let over = last.and_then(|last| {
            let (from, to) = (self.ops[*last].ret, finder.call);
            let between = |i: &usize| {
                let op = &self.ops[*i];
                written(op).is_some() && op.end == End::Ok && op.call > from && op.ret < to
            };
            let all = (0..self.ops.len()).filter(between);
            all.max_by_key(|i| (plain(*i), self.ops[*i].call))
        });
        last.into_iter()
            .map(row)
            .chain(over.as_ref().map(row))
            .collect()
    }

    /// The operations in `wanted` with all their sources, and the sources of these.
    pub(super) fn close(&self, wanted: impl IntoIterator<Item = usize>) -> Vec<Op> {
        let mut open: Vec<usize> = wanted.into_iter().collect();
        let mut closed: FxHashSet<usize> = open.iter().copied().collect();
        while let Some(i) = open.pop() {
            for row in self.rows(&self.ops[i]) {
                if closed.insert(self.rows[&row]) {
                    open.push(self.rows[&row]);
                }
            }
        }
        let mut closed: Vec<usize> = closed.into_iter().collect();
        closed.sort_unstable();
        closed.into_iter().map(|i| self.ops[i]).collect()
    }
}

/// After so many glances it is asked whether to go on.
const SOME: u64 = 4096;

/// A set of operations that is closed under sources, and its subsets that are.
pub(super) struct Closed {
    sources: FxHashMap<u32, Vec<u32>>,
    size: u64,
}

impl Closed {
    /// Of `ops`: only sources among them count. `None` where `charge` says, of the writers that are looked at on the way,
    /// that they are too many.
    pub(super) fn of(ops: &[Op], all: &Sources<'_>, charge: &dyn Fn(u64) -> bool) -> Option<Self> {
        let rows: FxHashSet<u32> = ops.iter().map(|op| op.row).collect();
        let mut closed = Self {
            sources: FxHashMap::default(),
            size: 0,
        };
        let mut glances = 0;
        for op in ops {
            let mut sources = all.rows(op);
            glances += all.looked();
            if glances > SOME && !charge(std::mem::take(&mut glances)) {
                return None;
            }
            sources.retain(|row| rows.contains(row));
            closed.size += 1 + sources.len() as u64;
            closed.sources.insert(op.row, sources);
        }
        Some(closed)
    }

    /// How many operations and sources there are: what it costs to close a subset.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Drops also everybody of whom a source was dropped.
    pub(super) fn without_needy(&self, mut rest: Vec<Op>) -> Vec<Op> {
        loop {
            let rows: FxHashSet<u32> = rest.iter().map(|op| op.row).collect();
            let before = rest.len();
            rest.retain(|op| self.sources[&op.row].iter().all(|row| rows.contains(row)));
            if rest.len() == before {
                return rest;
            }
        }
    }

    /// Puts back every source of what remains.
    pub(super) fn with_needed(&self, all: &[Op], rest: &[Op]) -> Vec<Op> {
        let mut open: Vec<u32> = rest.iter().map(|op| op.row).collect();
        let mut rows: FxHashSet<u32> = open.iter().copied().collect();
        while let Some(row) = open.pop() {
            for source in &self.sources[&row] {
                if rows.insert(*source) {
                    open.push(*source);
                }
            }
        }
        all.iter()
            .filter(|op| rows.contains(&op.row))
            .copied()
            .collect()
    }
}
