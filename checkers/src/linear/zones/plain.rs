//! The common case without a branch that depends on the data: no cas, no delete, and it holds.
//!
//! A processor guesses branches, and whether an operation is a read or a write can't be guessed: a wrong guess costs
//! more than all the arithmetic here. So each operation updates its value's cluster in one way, what does not count
//! updates a cluster that nobody looks at, and faults are collected in flags. This proves only that a history holds;
//! whatever else it meets, the general algorithm beside it decides.
//!
//! ```text
//!  slots   0   1   2   3   4   5   6     each event is the left end of one zone at most, so zones need no sorting:
//!              →5      ←4                a slot has the zone's other end, and whether it is forward
//! ```

use crate::history::{ABSENT, End, Kind, NEVER, Op};

/// What is known of one value: 12 bytes. Times are positions plus one.
#[derive(Clone, Copy)]
struct Cluster {
    first_end: u32,
    last_begin: u32,
    /// The begin of its writer; [`UNWRITTEN`] while there is none.
    written: u32,
}

const UNWRITTEN: u32 = u32::MAX;

/// In a slot: the zone is a forward one, and the rest is its right end.
const FORWARD: u32 = 1 << 31;

/// A slot without a zone: like a backward zone that ends after everything.
const EMPTY: u32 = FORWARD - 1;

/// Whether the operations certainly hold. False means nothing.
pub(super) fn holds(ops: &[Op], values: usize, events: u32) -> bool {
    // The last value, and everything that is not an end, must be told from `EMPTY`.
    if events >= EMPTY - 2 || values >= u32::MAX as usize - 1 {
        return false;
    }
    let Some(mut clusters) = gather(ops, values) else {
        return false;
    };
    // What does not count, or was not seen, has a cluster and a slot that nobody looks at.
    clusters.truncate(values);
    let nowhere = events as usize + 1;
    let mut slots = vec![EMPTY; nowhere + 1];
    let mut bad = false;
    for cluster in &clusters {
        let seen = cluster.first_end != NEVER;
        // Found but never written, or found before it was written.
        bad |= seen & (cluster.first_end < cluster.written);
        let forward = cluster.first_end < cluster.last_begin;
        let left = cluster.first_end.min(cluster.last_begin);
        let right = cluster.first_end.max(cluster.last_begin);
        let at = if seen { left as usize } else { nowhere };
        slots[at.min(nowhere)] = right | if forward { FORWARD } else { 0 };
    }
    slots.truncate(nowhere);
    !bad && apart(&slots)
}

/// One pass over the operations; nothing where zones of single values can't decide.
fn gather(ops: &[Op], values: usize) -> Option<Vec<Cluster>> {
    let empty = Cluster {
        first_end: NEVER,
        last_begin: 0,
        written: UNWRITTEN,
    };
    let mut clusters = vec![empty; values + 1];
    clusters[ABSENT as usize] = Cluster {
        first_end: 0,
        written: 0,
        ..empty
    };
    let mut twice = false;
    for op in ops {
        if matches!(op.kind, Kind::Cas | Kind::Delete | Kind::Append) {
            return None;
        }
        let read = op.kind == Kind::Read;
        let counts = (op.end == End::Ok) | (!read & (op.end == End::Unknown));
        let at = if counts { op.value as usize } else { values };
        let cluster = &mut clusters[at];
        let begin = op.call + 1;
        let ok = op.end == End::Ok;
        let end = if ok { op.ret.saturating_add(1) } else { NEVER };
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(begin);
        twice |= counts & !read & (cluster.written != UNWRITTEN);
        cluster.written = if read { cluster.written } else { begin };
    }
    (!twice).then_some(clusters)
}

/// Whether no zone clashes with a forward zone before it, in order of their left ends.
fn apart(slots: &[u32]) -> bool {
    let mut bad = false;
    // The right end of the last forward zone.
    let mut last = 0;
    for (at, slot) in slots.iter().enumerate() {
        let forward = slot & FORWARD != 0;
        let right = slot & !FORWARD;
        let first_end = if forward { at as u32 } else { right };
        bad |= first_end < last;
        last = last.max(if forward { right } else { 0 });
    }
    !bad
}
