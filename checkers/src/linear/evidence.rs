//! From "it fails" to the few operations that prove it.
//!
//! First the event with which the history stopped being linearizable, by bisection: a prefix of a linearizable
//! history is linearizable. Then operations are dropped while a violation remains. Dropping is safe where it can't
//! turn a legal history into an illegal one: a read always, a write once nobody is left who found its value.

use super::{Judgement, Options, dfs, judge, prefix};
use crate::history::{ABSENT, End, History, KeyHistory, Kind, NEVER, Op};
use crate::spec::Register;
use crate::verdict::{Counterexample, Exhausted, Reason};

/// The evidence that `key` fails, at its earliest event.
pub(super) fn explain(history: &History, key: &KeyHistory, options: &Options) -> Counterexample {
    let last = first_bad(key, options);
    let mut ops = prefix(&key.ops, last);
    ops.retain(matters);
    shrink(&mut ops, key, options);
    let culprit = ops
        .iter()
        .filter(|op| op.end == End::Ok)
        .max_by_key(|op| op.ret)
        .or(ops.last())
        .map_or(0, |op| op.row);
    let event = event_at(history, key, last);
    let order = order_without(&ops, culprit);
    let operations: Vec<_> = ops.iter().map(|op| history.operation(op.row)).collect();
    Counterexample {
        key: key.name.clone(),
        why: vec![format!(
            "no order of these operations gives operation #{} the answer that it got",
            history.invoked(culprit)
        )],
        order: order.iter().map(|row| history.invoked(*row)).collect(),
        operations,
        culprit: history.invoked(culprit),
        event,
        staleness: None,
    }
}

/// The reason for an unknown, with what was open where the search stopped.
pub(super) fn reason(
    history: &History,
    key: &KeyHistory,
    proven_to: u32,
    exhausted: Exhausted,
) -> Reason {
    let proven = proven_to.checked_sub(1);
    let blocking = key
        .ops
        .iter()
        .filter(|op| op.call <= proven_to && op.ret >= proven_to && matters(op))
        .filter(|op| op.ret != NEVER)
        .take(20)
        .map(|op| history.operation(op.row))
        .collect();
    Reason {
        exhausted,
        key: key.name.clone(),
        proven_to: proven.map(|position| event_at(history, key, position)),
        blocking,
    }
}

/// The position with which the key's prefix stops being linearizable.
fn first_bad(key: &KeyHistory, options: &Options) -> u32 {
    let (mut good, mut bad) = (0, key.events - 1);
    while good < bad {
        let middle = good + (bad - good) / 2;
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
    key.ops
        .iter()
        .find_map(|op| {
            if op.call == position {
                Some(history.invoked(op.row))
            } else if op.ret == position {
                history.completed(op.row)
            } else {
                None
            }
        })
        .unwrap_or_default()
}

/// Whether an operation can matter to a verdict at all.
fn matters(op: &Op) -> bool {
    op.end != End::Failed && (op.kind != Kind::Read || op.end == End::Ok)
}

/// Drops operations, in ever smaller pieces, while what remains is a violation.
fn shrink(ops: &mut Vec<Op>, key: &KeyHistory, options: &Options) {
    let fails =
        |ops: &[Op]| judge(ops, key.values.len(), key.events, options).0 == Judgement::Fails;
    let mut piece = ops.len().div_ceil(2).max(1);
    loop {
        let mut dropped = false;
        let mut end = ops.len();
        while end > 0 {
            let start = end.saturating_sub(piece);
            let rest: Vec<Op> = [&ops[..start], &ops[end..]].concat();
            let rest = without_orphans(ops, rest);
            if rest.len() < ops.len() && fails(&rest) {
                dropped = true;
                *ops = rest;
            }
            end = start.min(ops.len());
        }
        if piece > 1 {
            piece = piece.div_ceil(2);
        } else if !dropped {
            return;
        }
    }
}

/// Puts back every write whose value is still found by somebody, so that nothing looks like a read from nowhere.
fn without_orphans(all: &[Op], mut rest: Vec<Op>) -> Vec<Op> {
    loop {
        let found = |value: u32| {
            rest.iter().any(|op| match op.kind {
                Kind::Read => op.value == value,
                Kind::Cas => op.old == value,
                Kind::Write | Kind::Delete | Kind::Append => false,
            })
        };
        let missing: Vec<Op> = all
            .iter()
            .filter(|op| op.kind != Kind::Read && found(written(op)))
            .filter(|op| !rest.iter().any(|other| other.row == op.row))
            .copied()
            .collect();
        if missing.is_empty() {
            rest.sort_by_key(|op| op.call);
            return rest;
        }
        rest.extend(missing);
    }
}

fn written(op: &Op) -> u32 {
    if op.kind == Kind::Delete {
        ABSENT
    } else {
        op.value
    }
}

/// An order of all but the culprit, as rows.
fn order_without(ops: &[Op], culprit: u32) -> Vec<u32> {
    let rest: Vec<Op> = ops
        .iter()
        .filter(|op| op.row != culprit || op.kind != Kind::Read)
        .map(|op| {
            if op.row == culprit {
                // A write that fits nowhere may still have been seen: it is left open.
                Op {
                    ret: NEVER,
                    end: End::Unknown,
                    ..*op
                }
            } else {
                *op
            }
        })
        .collect();
    let mut budget = super::Budget::new(&Options {
        budget: 100_000,
        ..Options::default()
    });
    match dfs::search(&Register, &Register::timed(&rest), &mut budget) {
        dfs::Found::Order(order) => order.into_iter().map(|i| rest[i].row).collect(),
        dfs::Found::Nothing | dfs::Found::Exhausted { .. } => Vec::new(),
    }
}
