//! From "it fails" to the few operations that prove it.
//!
//! First the event with which the history stopped being linearizable: a prefix of a linearizable history is
//! linearizable, so bisection finds it. Then the operations of the values that clash, then fewer and fewer of them,
//! while a violation remains. Dropping is safe where it can't make a legal history illegal: a read always, a write
//! together with everybody who found its value.

use rustc_hash::FxHashSet;

use super::{Judgement, Options, dfs, frontier, judge, prefix, zones};
use crate::history::{End, History, KeyHistory, Kind, NEVER, Op, Operation, Values};
use crate::spec::Register;
use crate::verdict::{Counterexample, Exhausted, Reason, Staleness};

/// The evidence that `key` fails, at its earliest event.
pub(super) fn explain(history: &History, key: &KeyHistory, options: &Options) -> Counterexample {
    let last = first_bad(key, options);
    let ops = prefix(&key.ops, last);
    let event = event_at(history, key, last);
    let describe = |row| history.operation(row);
    prove(ops, &key.values, event, options, &describe)
}

/// The evidence that `ops` fail, of which the last event is `event`.
pub(super) fn prove(
    all: Vec<Op>,
    values: &Values,
    event: u64,
    options: &Options,
    describe: &dyn Fn(u32) -> Operation,
) -> Counterexample {
    let events = all.last().map_or(0, |op| op.call + 1);
    let events = all
        .iter()
        .filter(|op| op.ret != NEVER)
        .map(|op| op.ret + 1)
        .fold(events, u32::max);
    let case = Case {
        values: values.len(),
        events,
        options,
    };
    let mut ops: Vec<Op> = all
        .iter()
        .copied()
        .filter(super::frontier::matters)
        .collect();
    case.narrow(&mut ops);
    case.shrink(&mut ops);
    let culprit = ops
        .iter()
        .filter(|op| op.end == End::Ok)
        .max_by_key(|op| op.ret)
        .or(ops.last())
        .copied();
    let row = culprit.map_or(0, |op| op.row);
    let order = order_without(&ops, row);
    let operations: Vec<Operation> = ops.iter().map(|op| describe(op.row)).collect();
    let culprit = culprit.map(|op| (op, describe(row)));
    Counterexample {
        key: operations
            .first()
            .map(|op| op.key.clone())
            .unwrap_or_default(),
        why: crate::explain::why(&operations, culprit.as_ref().map(|(_, op)| op)),
        order: order.into_iter().map(|row| describe(row).id).collect(),
        staleness: culprit
            .as_ref()
            .and_then(|(op, _)| staleness(&all, op, describe)),
        culprit: culprit.map_or(0, |(_, op)| op.id),
        operations,
        event,
    }
}

/// The reason for an unknown, with what was open where the search stopped.
pub(super) fn reason(
    history: &History,
    key: &KeyHistory,
    proven_to: u32,
    exhausted: Exhausted,
) -> Reason {
    let blocking = key
        .ops
        .iter()
        .filter(|op| op.call <= proven_to && op.ret >= proven_to && op.ret != NEVER)
        .take(20)
        .map(|op| history.operation(op.row))
        .collect();
    let proven = proven_to.checked_sub(1);
    Reason {
        exhausted,
        key: key.name.clone(),
        proven_to: proven.map(|position| event_at(history, key, position)),
        blocking,
    }
}

/// The position with which the key's prefix stops being linearizable.
fn first_bad(key: &KeyHistory, options: &Options) -> u32 {
    // A search that dies at a position knows that everything before it has an order; it mostly shows right there.
    let (_, _, _, first) = judge(&key.ops, key.values.len(), key.events, options);
    let (mut good, mut bad) = (first, key.events - 1);
    let mut step = if first > 0 { 1 } else { key.events };
    if first == 0
        && let Some(at) = frontier::plainly_fails_at(&key.ops, key.values.len(), key.events)
    {
        // Rarely anything is wrong before it shows so plainly: then one search says so instead of many.
        bad = at;
        if at > 0 {
            good = at - 1;
            let ops = prefix(&key.ops, good);
            if judge(&ops, key.values.len(), key.events, options).0 == Judgement::Fails {
                (good, bad) = (0, at - 1);
            } else {
                good = at;
            }
        }
    }
    while good < bad {
        let middle = (good + (bad - good) / 2).min(good + step - 1);
        step = step.saturating_mul(2);
        let ops = prefix(&key.ops, middle);
        match judge(&ops, key.values.len(), key.events, options).0 {
            Judgement::Fails => bad = middle,
            Judgement::Holds | Judgement::Unknown { .. } => good = middle + 1,
        }
    }
    bad
}

/// The event index of a position of this key.
fn event_at(history: &History, key: &KeyHistory, position: u32) -> u64 {
    let found = key.ops.iter().find_map(|op| {
        if op.call == position {
            Some(history.invoked(op.row))
        } else if op.ret == position {
            history.completed(op.row)
        } else {
            None
        }
    });
    found.unwrap_or_default()
}

/// How to ask whether operations fail.
struct Case<'a> {
    values: usize,
    events: u32,
    options: &'a Options,
}

impl Case<'_> {
    fn fails(&self, ops: &[Op]) -> bool {
        judge(ops, self.values, self.events, self.options).0 == Judgement::Fails
    }

    /// Where zones know which values clash: their extreme operations, if these fail by themselves.
    fn narrow(&self, ops: &mut Vec<Op>) {
        let zones::Zones::Fails(values) = zones::check(ops, self.values, self.events) else {
            return;
        };
        let mut wanted: FxHashSet<u32> = values.into_iter().collect();
        loop {
            let before = wanted.len();
            for op in ops.iter().filter(|op| op.kind == Kind::Cas) {
                if wanted.contains(&op.old) || wanted.contains(&op.value) {
                    wanted.extend([op.old, op.value]);
                }
            }
            if wanted.len() == before {
                break;
            }
        }
        let mut keep: FxHashSet<u32> = FxHashSet::default();
        for value in wanted {
            let reads = || {
                ops.iter()
                    .filter(move |op| op.kind == Kind::Read && op.value == value)
            };
            keep.extend(reads().min_by_key(|op| op.ret).map(|op| op.row));
            keep.extend(reads().max_by_key(|op| op.call).map(|op| op.row));
            let writers = ops
                .iter()
                .filter(|op| op.kind != Kind::Read && op.value == value);
            keep.extend(writers.map(|op| op.row));
        }
        let few: Vec<Op> = ops
            .iter()
            .copied()
            .filter(|op| keep.contains(&op.row))
            .collect();
        if self.fails(&few) {
            *ops = few;
        }
    }

    /// Drops operations, in ever smaller pieces, while what remains is a violation.
    fn shrink(&self, ops: &mut Vec<Op>) {
        let mut values: Vec<u32> = ops.iter().map(written).collect();
        values.sort_unstable();
        values.dedup();
        if values.len() <= 64 {
            for value in values {
                let drop = |op: &Op| op.kind != Kind::Read && written(op) == value;
                self.try_without(ops, drop);
            }
        }
        let mut piece = ops.len().div_ceil(2).max(1);
        loop {
            let before = ops.len();
            let mut end = ops.len();
            while end > 0 {
                let start = end.saturating_sub(piece);
                let rows: FxHashSet<u32> = ops[start..end].iter().map(|op| op.row).collect();
                self.try_without(ops, |op| rows.contains(&op.row));
                end = start.min(ops.len());
            }
            if piece > 1 {
                piece = piece.div_ceil(2);
            } else if ops.len() == before {
                break;
            }
        }
        self.drop_covered(ops);
    }

    /// Drops writes that nobody can have seen although their value is found: whoever found it began after something
    /// else had been written over it. In no order is such a write the last one before anybody who looked, so an order
    /// of all operations stays one without it, and what still fails proves as much as before. It matters where a value
    /// has many writers, as absent has.
    fn drop_covered(&self, ops: &mut Vec<Op>) {
        let is_write = |op: &Op| matches!(op.kind, Kind::Write | Kind::Delete) && op.ret != NEVER;
        let mut at = 0;
        while at < ops.len() {
            let op = ops[at];
            let over_it = |other: &&Op| {
                is_write(other) && written(other) != written(&op) && op.ret < other.call
            };
            let covered = |finder: &Op| {
                let mut over = ops.iter().filter(over_it);
                over.any(|over| over.ret < finder.call)
            };
            // The last writer of a value stays: without it the value would seem to come from nowhere.
            let writes_it = |other: &Op| other.kind != Kind::Read && written(other) == written(&op);
            let another = ops.iter().filter(|other| writes_it(other)).count() > 1;
            let finds_it = |finder: &&Op| needed(finder) == Some(written(&op));
            let found = ops.iter().any(|finder| finds_it(&finder));
            if is_write(&op) && another && found && ops.iter().filter(finds_it).all(covered) {
                let mut rest = ops.clone();
                rest.remove(at);
                if self.fails(&rest) {
                    *ops = rest;
                    continue;
                }
            }
            at += 1;
        }
    }

    /// Drops what `drop` says: with everybody who needs it, or else without those whom somebody needs.
    fn try_without(&self, ops: &mut Vec<Op>, drop: impl Fn(&Op) -> bool) {
        let kept = |op: &&Op| !drop(op);
        for rest in [
            without_needy(ops, ops.iter().filter(kept).copied().collect()),
            with_needed(ops, ops.iter().filter(kept).copied().collect()),
        ] {
            if rest.len() < ops.len() && self.fails(&rest) {
                *ops = rest;
                return;
            }
        }
    }
}

/// Drops also everybody who found a value of which a writer was dropped.
fn without_needy(all: &[Op], mut rest: Vec<Op>) -> Vec<Op> {
    loop {
        let rows: FxHashSet<u32> = rest.iter().map(|op| op.row).collect();
        let gone: FxHashSet<u32> = all
            .iter()
            .filter(|op| op.kind != Kind::Read && !rows.contains(&op.row))
            .map(written)
            .collect();
        let before = rest.len();
        rest.retain(|op| needed(op).is_none_or(|value| !gone.contains(&value)));
        if rest.len() == before {
            return rest;
        }
    }
}

/// Puts back every write whose value is still found by somebody.
fn with_needed(all: &[Op], mut rest: Vec<Op>) -> Vec<Op> {
    loop {
        let found: FxHashSet<u32> = rest.iter().filter_map(needed).collect();
        let rows: FxHashSet<u32> = rest.iter().map(|op| op.row).collect();
        let before = rest.len();
        rest = all
            .iter()
            .copied()
            .filter(|op| {
                rows.contains(&op.row) || (op.kind != Kind::Read && found.contains(&written(op)))
            })
            .collect();
        if rest.len() == before {
            return rest;
        }
    }
}

/// What must be there for this operation to have its answer.
fn needed(op: &Op) -> Option<u32> {
    match op.kind {
        Kind::Read => Some(op.value),
        Kind::Cas => Some(op.old),
        Kind::Write | Kind::Delete | Kind::Append => None,
    }
}

/// What it leaves behind: a delete's value is absent, number 0, as it stands in the operation.
fn written(op: &Op) -> u32 {
    op.value
}

/// An order of all but the culprit, as rows.
fn order_without(ops: &[Op], culprit: u32) -> Vec<u32> {
    let rest: Vec<Op> = ops
        .iter()
        .filter(|op| op.row != culprit || op.kind != Kind::Read)
        .map(|op| {
            if op.row != culprit {
                return *op;
            }
            // A write that fits nowhere may still have been seen: it is left open.
            Op {
                ret: NEVER,
                end: End::Unknown,
                ..*op
            }
        })
        .collect();
    let mut budget = super::Budget::new(&Options {
        budget: 10_000,
        ..Options::default()
    });
    match dfs::search(&Register, &Register::timed(&rest), &mut budget) {
        dfs::Found::Order(order) => order.into_iter().map(|i| rest[i].row).collect(),
        dfs::Found::Nothing | dfs::Found::Exhausted { .. } => Vec::new(),
    }
}

/// How old the value was that a read found: how many values had certainly followed it before the read began, and how
/// long ago the first of them. `None` where that is not certain.
fn staleness(all: &[Op], read: &Op, describe: &dyn Fn(u32) -> Operation) -> Option<Staleness> {
    if read.kind != Kind::Read {
        return None;
    }
    let of_value = |op: &&Op| op.value == read.value && op.end == End::Ok;
    let mut writers = all
        .iter()
        .filter(|op| op.kind != Kind::Read && op.value == read.value && op.end != End::Failed);
    let (writer, another) = (writers.next()?, writers.next());
    if another.is_some() {
        return None;
    }
    let seen = all
        .iter()
        .filter(of_value)
        .filter(|op| op.row != read.row)
        .map(|op| op.ret)
        .min()?;
    let newer = all.iter().filter(|op| {
        matches!(op.kind, Kind::Write | Kind::Delete | Kind::Cas)
            && op.end == End::Ok
            && op.row != writer.row
            && op.call > seen
            && op.ret < read.call
    });
    let first = newer.clone().min_by_key(|op| op.ret)?;
    let replaced_ns = describe(first.row).completed_ns?;
    Some(Staleness {
        nanoseconds: describe(read.row).invoked_ns.saturating_sub(replaced_ns),
        versions: newer.count() as u64,
    })
}
