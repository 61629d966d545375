//! Keys that are lists: judged by depth-first search, explained by what can be left out of them.
//!
//! In: the operations of one key of a list-append history. Out: a judgement, and where it fails the few operations
//! that prove it.

use super::evidence::{Effort, First, Ground, brief, event_at, first_bad_by, said_unshrunk};
use super::starts::Each;
use super::{Budget, Judgement, Options, dfs, prefix};
use crate::history::{
    ABSENT, End, History, KeyHistory, Kind, Lists, Op, Operation, Start, Value, Values,
};
use crate::spec::List;
use crate::verdict::Counterexample;

/// Judges operations of one list: what it came to, and configurations visited.
pub(super) fn judge(
    ops: &[Op],
    start: Start,
    values: &Values,
    lists: &Lists,
    options: &Options,
) -> (Judgement, u64) {
    let (mut list, timed, _) = List::timed(ops, start, values, lists);
    if start != Start::Any {
        return dfs::judge(&list, &timed, options);
    }
    let starts = list.starts(&timed);
    let mut each = Each::new(starts.len(), options);
    for start in starts {
        list.begin(start);
        let (judgement, spent) = dfs::judge(&list, &timed, &each.options());
        if each.came(judgement, spent, 0) {
            return (judgement, each.spent);
        }
    }
    (each.judgement, each.spent)
}

/// What a list must have begun as for these operations to have an order, if the budget finds that.
pub(super) fn start(
    ops: &[Op],
    values: &Values,
    lists: &Lists,
    options: &Options,
) -> Option<Vec<Value>> {
    let (mut list, timed, _) = List::timed(ops, Start::Any, values, lists);
    let mut starts = list.starts(&timed).into_iter();
    let start = starts.find(|start| {
        list.begin(*start);
        dfs::judge(&list, &timed, options).0 == Judgement::Holds
    })?;
    list.elements(start)
}

/// An order of operations of a list, as indices into `ops`, if the budget finds one.
pub(super) fn order(
    ops: &[Op],
    start: Start,
    values: &Values,
    lists: &Lists,
    options: &Options,
) -> Option<Vec<usize>> {
    let (mut list, timed, indices) = List::timed(ops, start, values, lists);
    let places = match start {
        Start::Any => list.starts(&timed).into_iter().map(Some).collect(),
        Start::Absent | Start::Value(_) => vec![None],
    };
    for place in places {
        if let Some(place) = place {
            list.begin(place);
        }
        let found = dfs::search(&list, &timed, &mut Budget::new(options));
        if let dfs::Found::Order(order) = found {
            return Some(order.into_iter().map(|i| indices[i]).collect());
        }
    }
    None
}

/// The position with which a list stops being linearizable.
pub(super) fn first_bad(key: &KeyHistory, lists: &Lists, options: &Options) -> First {
    let all = (0, key.events - 1);
    first_bad_by(all, key.events, options, |last, options| {
        let ops = prefix(&key.ops, last);
        judge(&ops, key.start, &key.values, lists, options)
    })
}

/// The evidence that a list fails, at its earliest event, which has this position.
pub(super) fn explain(
    history: &History,
    key: &KeyHistory,
    lists: &Lists,
    last: u32,
    options: &Options,
) -> Counterexample {
    let effort = Effort::new(options);
    let fails = |ops: &[Op]| {
        effort.ask(ops.len(), |options| {
            judge(ops, key.start, &key.values, lists, options)
        })
    };
    let mut ops = prefix(&key.ops, last);
    ops.retain(super::frontier::matters);
    shrink(
        &mut ops,
        &|op| elements(op, &key.values, lists),
        &fails,
        &effort,
    );
    let unshrunk = effort.is_spent();
    let culprit = ops
        .iter()
        .filter(|op| op.end == End::Ok)
        .max_by_key(|op| op.ret)
        .or(ops.last())
        .copied();
    let rest: Vec<Op> = ops
        .iter()
        .filter(|op| culprit.is_none_or(|culprit| culprit.row != op.row))
        .copied()
        .collect();
    let order = order(&rest, key.start, &key.values, lists, &brief(options));
    let operations: Vec<Operation> = ops.iter().map(|op| history.operation(op.row)).collect();
    let culprit = culprit.map(|op| history.operation(op.row));
    let began = Ground {
        start: key.start,
        values: &key.values,
    }
    .began();
    let mut why = crate::explain::why(&operations, culprit.as_ref(), began, Some(&history.names));
    why.extend(unshrunk.then(said_unshrunk));
    Counterexample {
        key: key.name.clone(),
        why,
        order: order
            .into_iter()
            .flatten()
            .map(|i| history.invoked(rest[i].row))
            .collect(),
        culprit: culprit.map_or(0, |op| op.id),
        operations,
        event: event_at(history, key, last),
        at_the_latest: false,
        unshrunk,
        staleness: None,
        typed: None,
    }
}

/// What an operation found, set or added.
fn elements(op: &Op, values: &Values, lists: &Lists) -> Vec<Value> {
    match lists.get(&op.value) {
        Some(list) => list.to_vec(),
        None if op.value == ABSENT => Vec::new(),
        None => values.value(op.value).into_iter().collect(),
    }
}

/// Leaves out, while what remains is a violation, what can't make a legal history illegal: any read; an append of
/// elements that nobody read; a set of a list with which nothing that was read begins.
fn shrink(
    ops: &mut Vec<Op>,
    elements: &dyn Fn(&Op) -> Vec<Value>,
    fails: &dyn Fn(&[Op]) -> bool,
    effort: &Effort<'_>,
) {
    let mut piece = ops.len().div_ceil(2).max(1);
    loop {
        let before = ops.len();
        let mut end = ops.len();
        while end > 0 {
            let start = end.saturating_sub(piece);
            let rest = without_reads(ops, start, end);
            if rest.len() < ops.len() && fails(&rest) {
                *ops = rest;
            }
            end = start.min(ops.len());
        }
        if piece > 1 {
            piece = piece.div_ceil(2);
        } else if ops.len() == before {
            break;
        }
        if effort.is_empty() {
            return;
        }
    }
    let found: Vec<Vec<Value>> = ops
        .iter()
        .filter(|op| op.kind == Kind::Read)
        .map(elements)
        .collect();
    let seen = |op: &Op| match op.kind {
        Kind::Read | Kind::Cas => true,
        Kind::Append => {
            let added = elements(op);
            added.is_empty()
                || found
                    .iter()
                    .any(|list| list.windows(added.len()).any(|part| part == added))
        }
        Kind::Write | Kind::Delete => {
            let set = elements(op);
            found.iter().any(|list| list.starts_with(&set))
        }
    };
    // With a cas every list counts that it compares; those are left alone.
    if ops.iter().all(|op| op.kind != Kind::Cas) {
        let rest: Vec<Op> = ops.iter().copied().filter(seen).collect();
        if fails(&rest) {
            *ops = rest;
        }
    }
}

/// All but the reads in a range.
fn without_reads(ops: &[Op], start: usize, end: usize) -> Vec<Op> {
    let kept = |(i, op): (usize, &Op)| {
        (!(start..end).contains(&i) || op.kind != Kind::Read).then_some(*op)
    };
    ops.iter().enumerate().filter_map(kept).collect()
}
