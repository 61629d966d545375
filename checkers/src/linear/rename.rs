//! Tombstones: where each delete can be told from the others, its absence is a value like any other, and zones apply.
//!
//! ```text
//!   ├─ delete ─┤ ├─ read absent ─┤ ├─ write 2 ─┤ ├─ delete ─┤ ├─ read absent ─┤
//!        †1              †1              2              †2             †2
//! ```
//!
//! A read of absent can mean a delete, or the initial state, only if that had begun when the read ended, and nothing
//! else certainly came between. Where one is left, the read means it. So the renamed operations
//! have an order exactly if the ones before have. Where two are left, nothing is renamed.
//!
//! Precondition: one possible meaning for each read of absent. Cost: O(n log n).

use crate::history::{ABSENT, End, Kind, NEVER, Op};

/// Operations without deletes.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// The same operations: each delete writes a tombstone, each read of absent finds one or the initial state.
    pub ops: Vec<Op>,
    /// The number of values, tombstones included.
    pub values: usize,
}

/// Renames each delete to its own tombstone; `None` where there is none, or a read may mean several.
#[must_use]
pub fn deletes(ops: &[Op], values: usize) -> Option<Renamed> {
    let matters = |op: &&Op| super::frontier::matters(op);
    if !ops.iter().any(|op| op.kind == Kind::Delete) {
        return None;
    }
    // Deletes by begin, and which tombstone each is.
    let deletes: Vec<&Op> = ops
        .iter()
        .filter(matters)
        .filter(|op| op.kind == Kind::Delete)
        .collect();
    let mut latest = 0;
    let last_end: Vec<u32> = deletes
        .iter()
        .map(|delete| {
            latest = latest.max(delete.ret);
            latest
        })
        .collect();
    let covers = Covers::of(ops);
    let mut renamed = ops.to_vec();
    let mut next = values as u32;
    let mut tombstones = Vec::with_capacity(deletes.len());
    for op in renamed.iter_mut().filter(|op| op.kind == Kind::Delete) {
        op.kind = Kind::Write;
        op.value = next;
        next += 1;
        if super::frontier::matters(op) {
            tombstones.push(op.value);
        }
    }
    for read in &mut renamed {
        if read.kind != Kind::Read || read.value != ABSENT || read.end != End::Ok {
            continue;
        }
        // Those that had begun when the read ended; of these, those that nothing certainly hid when it began.
        let begun = deletes.partition_point(|delete| delete.call < read.ret);
        let mut may_mean = None;
        if !covers.hides(0, read.call) {
            may_mean = Some(ABSENT);
        }
        for (i, delete) in deletes[..begun].iter().enumerate().rev() {
            if delete.ret == NEVER || !covers.hides(delete.ret + 1, read.call) {
                if may_mean.replace(tombstones[i]).is_some() {
                    return None;
                }
            } else if last_end[i] != NEVER && covers.hides(last_end[i] + 1, read.call) {
                // All earlier ones ended before that, and are hidden, too.
                break;
            }
        }
        // A read that can mean nothing means a value that nobody wrote.
        read.value = may_mean.unwrap_or(next);
    }
    Some(Renamed {
        ops: renamed,
        values: next as usize + 1,
    })
}

/// Which moments something was certainly written over.
struct Covers {
    /// Writes that took effect by begin, and the first end among each and all later ones.
    by_begin: Vec<(u32, u32)>,
}

impl Covers {
    fn of(ops: &[Op]) -> Self {
        let mut by_begin: Vec<(u32, u32)> = ops
            .iter()
            .filter(|op| op.end == End::Ok && op.kind != Kind::Read)
            .map(|op| (op.call, op.ret))
            .collect();
        by_begin.sort_unstable();
        let mut first = NEVER;
        for (_, ret) in by_begin.iter_mut().rev() {
            first = first.min(*ret);
            *ret = first;
        }
        Self { by_begin }
    }

    /// Whether something was written that began at `from` or later and had ended by `to`.
    fn hides(&self, from: u32, to: u32) -> bool {
        let at = self.by_begin.partition_point(|(begin, _)| *begin < from);
        self.by_begin.get(at).is_some_and(|(_, end)| *end < to)
    }
}
