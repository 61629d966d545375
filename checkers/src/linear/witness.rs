//! A witness: an order of the operations that explains every answer, for whoever does not take a yes on trust.
//!
//! Where zones apply, each block has one moment: a forward zone its first end, a backward zone its last begin, put off
//! to the end of the forward zone that it falls into. Otherwise the depth-first search finds an order, if its budget
//! lasts. Either way the order is played through before it is given.
//!
//! Cost: O(n log n) where zones apply, also after the renaming of [`super::rename`]; else as the search.

use super::blocks::{Block, Blocks, blocks};
use super::{Budget, Options, dfs, rename, starts};
use crate::history::{End, History, KeyHistory, Kind, NEVER, Op, Start};
use crate::spec::{Register, Spec};

/// An order of the operations of a key that took effect, by id: `None` where there is none, where events are lost, or
/// where a budget ran out first.
#[must_use]
pub fn witness(history: &History, key: &KeyHistory, options: &Options) -> Option<Vec<u64>> {
    let order = rows(key, options)?;
    Some(order.iter().map(|row| history.invoked(*row)).collect())
}

/// As [`witness`], by row.
pub(super) fn rows(key: &KeyHistory, options: &Options) -> Option<Vec<u32>> {
    if !key.gaps.is_empty() {
        return None;
    }
    match &key.lists {
        Some(_) => of_list(key, options),
        None if key.start == Start::Any => {
            let keys = starts::each(key).into_iter();
            let mut orders = keys.filter_map(|started| rows(&started, options));
            orders.next()
        }
        None => by_zones(key).or_else(|| by_search(key, options)),
    }
}

fn of_list(key: &KeyHistory, options: &Options) -> Option<Vec<u32>> {
    let lists = key.lists.as_ref()?;
    let order = super::lists::order(&key.ops, key.start, &key.values, lists, options)?;
    Some(order.iter().map(|i| key.ops[*i].row).collect())
}

fn by_search(key: &KeyHistory, options: &Options) -> Option<Vec<u32>> {
    let ops: Vec<Op> = key
        .ops
        .iter()
        .filter(|op| super::frontier::matters(op))
        .copied()
        .collect();
    let register = Register::starting(key.start);
    match dfs::search(&register, &Register::timed(&ops), &mut Budget::new(options)) {
        dfs::Found::Order(order) => Some(order.iter().map(|i| ops[*i].row).collect()),
        dfs::Found::Nothing | dfs::Found::Exhausted { .. } => None,
    }
}

/// Begin and end of a block: its first end and its last begin, plus one; the initial value was there at 0.
fn zone(block: &Block) -> (u64, u64) {
    let ends = block
        .ops
        .iter()
        .filter(|(op, _)| op.end == End::Ok)
        .map(|(op, _)| op.ret);
    let begins = block.ops.iter().map(|(op, _)| op.call);
    let first_end = ends.min().map_or(u64::MAX, |end| u64::from(end) + 1);
    let last_begin = begins.max().map_or(0, |begin| u64::from(begin) + 1);
    if block.initial {
        return (0, last_begin);
    }
    (first_end, last_begin)
}

pub(super) fn by_zones(key: &KeyHistory) -> Option<Vec<u32>> {
    let own = starts::from_absent(key);
    let renamed = rename::deletes(&own, key.values.len() + 1);
    let (ops, values) = match &renamed {
        Some(renamed) => (renamed.ops.as_slice(), renamed.values),
        None => (own.as_slice(), key.values.len() + 1),
    };
    let Blocks::Found(mut found) = blocks(ops, values) else {
        return None;
    };
    let mut forward: Vec<(u64, u64)> = found
        .iter()
        .map(zone)
        .filter(|(first_end, last_begin)| first_end < last_begin)
        .collect();
    forward.sort_unstable();
    let moment = |block: &Block| {
        let (first_end, last_begin) = zone(block);
        if first_end < last_begin || block.initial {
            return first_end;
        }
        let after = forward.partition_point(|(begin, _)| *begin < last_begin);
        match after.checked_sub(1).map(|i| forward[i]) {
            Some((_, end)) if last_begin < end => end,
            _ => last_begin,
        }
    };
    found.sort_by_cached_key(moment);
    let order: Vec<Op> = found
        .into_iter()
        .flat_map(|block| block.ops)
        .map(|(op, _)| op)
        .collect();
    explains(Start::Absent, &order).then(|| order.iter().map(|op| op.row).collect())
}

/// Whether a register that is asked in this order gives these answers, and nothing comes after what it had ended before.
pub(super) fn explains(start: Start, order: &[Op]) -> bool {
    let register = Register::starting(start);
    let mut state = register.initial();
    for timed in Register::timed(order) {
        match register.step(&state, &timed.op) {
            Some(next) => state = next,
            None => return false,
        }
    }
    let mut first_end = NEVER;
    order.iter().rev().all(|op| {
        let in_time = op.call < first_end;
        if op.end == End::Ok || op.kind == Kind::Read {
            first_end = first_end.min(op.ret);
        }
        in_time
    })
}
