//! From "it fails" to the few operations that prove it.
//!
//! First the event with which the history stopped being linearizable: a prefix of a linearizable history is
//! linearizable, so bisection finds it. Then the operations of the values that clash, then fewer and fewer of them,
//! while a violation remains. Dropping is safe where it can't make a legal history illegal: a write only together with
//! everybody who may have found its value ([`super::sources`]).

use rustc_hash::FxHashSet;

use super::sources::{Closed, Sources, written};
use super::{Judgement, Options, dfs, frontier, judge, prefix, zones};
use crate::history::{End, History, KeyHistory, Kind, NEVER, Names, Op, Operation, Values};
use crate::spec::Register;
use crate::verdict::{Counterexample, Exhausted, Reason, Staleness};

/// The evidence that `key` fails, at its earliest event: the one at the position that [`first_bad`] gave.
pub(super) fn explain(
    history: &History,
    key: &KeyHistory,
    last: u32,
    options: &Options,
) -> Counterexample {
    if let Some(of_key) = &key.lists {
        return super::lists::explain(history, key, of_key, last, options);
    }
    let ops = prefix(&key.ops, last);
    let event = event_at(history, key, last);
    let describe = |row| history.operation(row);
    prove_named(
        ops,
        &key.values,
        event,
        options,
        &describe,
        Some(&history.names),
    )
}

/// The evidence that `ops` fail, of which the last event is `event`.
pub(super) fn prove(
    all: Vec<Op>,
    values: &Values,
    event: u64,
    options: &Options,
    describe: &dyn Fn(u32) -> Operation,
) -> Counterexample {
    prove_named(all, values, event, options, describe, None)
}

/// As [`prove`], where values may have names.
fn prove_named(
    all: Vec<Op>,
    values: &Values,
    event: u64,
    options: &Options,
    describe: &dyn Fn(u32) -> Operation,
    names: Option<&Names>,
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
    let matter: Vec<Op> = all
        .iter()
        .copied()
        .filter(super::frontier::matters)
        .collect();
    let sources = Sources::of(&matter);
    let mut ops = case.few(&matter, &sources);
    let closed = Closed::of(&ops, &sources);
    case.shrink(&mut ops, &closed);
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
        why: crate::explain::why(&operations, culprit.as_ref().map(|(_, op)| op), names),
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
pub(super) fn first_bad(key: &KeyHistory, options: &Options) -> u32 {
    if let Some(gap) = key.gaps.first() {
        let before = KeyHistory {
            ops: super::gaps::before(key, *gap),
            events: *gap,
            gaps: Vec::new(),
            ..key.clone()
        };
        return first_bad(&before, options);
    }
    if let Some(of_key) = &key.lists {
        return super::lists::first_bad(key, of_key, options);
    }
    // A search that dies at a position knows that everything before it has an order; it mostly shows right there.
    let (_, _, _, first) = judge(&key.ops, key.values.len(), key.events, options);
    let (mut good, mut bad) = (first, key.events - 1);
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
    let step = if first > 0 { 1 } else { key.events };
    first_bad_by(good, bad, step, |last| {
        let ops = prefix(&key.ops, last);
        judge(&ops, key.values.len(), key.events, options).0 == Judgement::Fails
    })
}

/// The first position up to which a key fails, from `good` to `bad`, of which the last fails; looked for in steps that
/// double.
pub(super) fn first_bad_by(
    mut good: u32,
    mut bad: u32,
    mut step: u32,
    fails: impl Fn(u32) -> bool,
) -> u32 {
    while good < bad {
        let middle = (good + (bad - good) / 2).min(good + step - 1);
        step = step.saturating_mul(2);
        if fails(middle) {
            bad = middle;
        } else {
            good = middle + 1;
        }
    }
    bad
}

/// The event index of a position of this key.
pub(super) fn event_at(history: &History, key: &KeyHistory, position: u32) -> u64 {
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

    /// Some operations that fail by themselves: the clashing ones, or else the last ones with all their sources.
    fn few(&self, ops: &[Op], sources: &Sources<'_>) -> Vec<Op> {
        if let Some(few) = self.clashing(ops) {
            return few;
        }
        let mut last = 8;
        while last < ops.len() {
            let few = sources.close(ops.len() - last..ops.len());
            if self.fails(&few) {
                return few;
            }
            last *= 4;
        }
        ops.to_vec()
    }

    /// Where zones know which values clash: their extreme operations, if these fail by themselves.
    fn clashing(&self, ops: &[Op]) -> Option<Vec<Op>> {
        let zones::Zones::Fails(values) = zones::check(ops, self.values, self.events) else {
            return None;
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
        self.fails(&few).then_some(few)
    }

    /// Drops operations, in ever smaller pieces, while what remains is a violation.
    fn shrink(&self, ops: &mut Vec<Op>, closed: &Closed) {
        let mut values: Vec<u32> = ops.iter().filter_map(written).collect();
        values.sort_unstable();
        values.dedup();
        if values.len() <= 64 {
            for value in values {
                self.try_without(ops, closed, |op| written(op) == Some(value));
            }
        }
        let mut piece = ops.len().div_ceil(2).max(1);
        loop {
            let before = ops.len();
            let mut end = ops.len();
            while end > 0 {
                let start = end.saturating_sub(piece);
                let rows: FxHashSet<u32> = ops[start..end].iter().map(|op| op.row).collect();
                self.try_without(ops, closed, |op| rows.contains(&op.row));
                end = start.min(ops.len());
            }
            if piece > 1 {
                piece = piece.div_ceil(2);
            } else if ops.len() == before {
                break;
            }
        }
    }

    /// Drops what `drop` says: with everybody who needs it, or else without those whom somebody needs.
    fn try_without(&self, ops: &mut Vec<Op>, closed: &Closed, drop: impl Fn(&Op) -> bool) {
        let kept: Vec<Op> = ops.iter().filter(|op| !drop(op)).copied().collect();
        if kept.len() == ops.len() {
            return;
        }
        for rest in [
            closed.with_needed(ops, &kept),
            closed.without_needy(kept.clone()),
        ] {
            if rest.len() < ops.len() && self.fails(&rest) {
                *ops = rest;
                return;
            }
        }
    }
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
