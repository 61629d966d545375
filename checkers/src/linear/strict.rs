//! Failed cas taken at their word: "the value was not a" is an answer, too.
//!
//! By default a failed cas never happened, as in Jepsen: clients call many things failed. Where a failure can only mean
//! that the comparison did not hold, it says something of every moment of its interval but one:
//!
//! ```text
//!   ├─ write 1 ─┤                      ├─ read 1 ─┤
//!                  ├ cas 1 -> 2 failed ┤               there was 1 all the time: the cas must have succeeded
//! ```
//!
//! The key is judged without them first. Where it holds, its witness mostly has a moment for each failed cas at which
//! something else was there; only if one finds none does the depth-first search decide, with the failed cas among the
//! operations. A read that found something is worth as much as before.
//!
//! Precondition: a register whose failed cas all failed by comparison. Cost: that of the witness, O(n log n) more; the
//! search where a failed cas does not fit.

use rayon::prelude::*;

use super::{Budget, Judgement, Options, dfs, evidence, frontier, judge_key, prefix, witness};
use crate::history::{End, History, KeyHistory, Kind, NEVER, Op};
use crate::spec::{Register, RegisterOp, Spec, Timed};
use crate::verdict::{Counterexample, Verdict};

/// What is left of a yes when failed cas are taken at their word. Of several violations, the one whose completing event
/// is earliest is reported.
#[must_use]
pub fn check(history: &History, options: &Options) -> Verdict {
    let judged: Vec<(&KeyHistory, Judgement)> = history
        .keys
        .par_iter()
        .map(|key| (key, judge(history, key, options)))
        .collect();
    let first = judged
        .iter()
        .filter(|(_, judgement)| *judgement == Judgement::Fails)
        .map(|(key, _)| explain(history, key, options))
        .min_by_key(|found| found.event);
    if let Some(found) = first {
        return Verdict::Violation(Box::new(found));
    }
    let unknown = judged.iter().find_map(|(key, judgement)| match judgement {
        Judgement::Unknown {
            proven_to,
            exhausted,
        } => Some(evidence::reason(history, key, *proven_to, *exhausted)),
        Judgement::Holds | Judgement::Fails => None,
    });
    unknown.map_or(Verdict::Linearizable, Verdict::Unknown)
}

/// The evidence that a key fails, though it holds where failed cas say nothing.
fn explain(history: &History, key: &KeyHistory, options: &Options) -> Counterexample {
    let fails = |ops: Vec<Op>| {
        let key = KeyHistory { ops, ..key.clone() };
        judge(history, &key, options) == Judgement::Fails
    };
    let until = |last| prefix(&key.ops, last);
    let last = evidence::first_bad_by(0, key.events - 1, key.events, |last| fails(until(last)));
    let counts = |op: &Op| frontier::matters(op) || failed_cas(op);
    let mut ops: Vec<Op> = until(last).into_iter().filter(counts).collect();
    // Who only looks can be left out. A write can't: it may be what was there instead.
    let mut i = ops.len();
    while i > 0 && ops.len() <= SHRUNK {
        i -= 1;
        if ops[i].kind == Kind::Read || failed_cas(&ops[i]) {
            let mut rest = ops.clone();
            rest.remove(i);
            if fails(rest.clone()) {
                ops = rest;
            }
        }
    }
    let at_end = |op: &&Op| op.ret == last;
    let culprit = ops.iter().copied().filter(failed_cas);
    let culprit = culprit
        .max_by_key(|op| (op.ret == last, op.ret))
        .or(ops.iter().find(at_end).copied());
    let mut ops = match culprit {
        Some(cas) => held(&ops, &cas).unwrap_or(ops),
        None => ops,
    };
    ops.sort_unstable_by_key(|op| op.call);
    let id = |op: &Op| history.invoked(op.row);
    let name = |value| {
        key.values
            .value(value)
            .map_or("absent".to_owned(), |value| value.to_string())
    };
    let why = culprit.map(|cas| {
        format!(
            "#{} compared with {} and failed, so something else was there at some moment between its begin and its end; \
             in no order of the others is there such a moment",
            id(&cas),
            name(cas.old)
        )
    });
    let others = KeyHistory {
        ops: ops.iter().copied().filter(|op| !failed_cas(op)).collect(),
        ..key.clone()
    };
    Counterexample {
        key: key.name.clone(),
        operations: ops.iter().map(|op| history.operation(op.row)).collect(),
        order: witness::witness(history, &others, options).unwrap_or_default(),
        culprit: culprit.map_or(0, |op| id(&op)),
        why: why.into_iter().collect(),
        event: evidence::event_at(history, key, last),
        staleness: None,
    }
}

/// The most operations that are dropped one by one.
const SHRUNK: usize = 400;

/// Where what the cas compared with was written once and certainly there all the time: the operations that say so.
fn held(ops: &[Op], cas: &Op) -> Option<Vec<Op>> {
    let mut writers = ops
        .iter()
        .filter(|op| op.kind != Kind::Read && !failed_cas(op) && op.value == cas.old);
    let (writer, another) = (writers.next()?, writers.next());
    if another.is_some() || cas.old == crate::history::ABSENT || writer.kind != Kind::Write {
        return None;
    }
    let found = |op: &&Op| {
        let reads = op.kind == Kind::Read && op.value == cas.old;
        op.end == End::Ok && (reads || op.row == writer.row)
    };
    let first = ops.iter().filter(found).min_by_key(|op| op.ret)?;
    let last = ops.iter().filter(found).max_by_key(|op| op.call)?;
    if first.ret > cas.call || last.call < cas.ret {
        return None;
    }
    let mut few = vec![*writer, *first, *last, *cas];
    few.sort_unstable_by_key(|op| op.call);
    few.dedup_by_key(|op| op.row);
    Some(few)
}

/// Judges a key whose failed cas are all answers.
#[must_use]
pub fn judge(history: &History, key: &KeyHistory, options: &Options) -> Judgement {
    let without = judge_key(key, options).judgement;
    if without != Judgement::Holds || key.lists.is_some() || !key.gaps.is_empty() {
        return without;
    }
    if let Some(order) = witness::rows(key, options)
        && all_fit(history, key, &order)
    {
        return Judgement::Holds;
    }
    let mut budget = Budget::new(options);
    match dfs::search(&Register, &timed(&key.ops), &mut budget) {
        dfs::Found::Order(_) => Judgement::Holds,
        dfs::Found::Nothing => Judgement::Fails,
        dfs::Found::Exhausted { proven_to } => Judgement::Unknown {
            proven_to,
            exhausted: budget.reason(),
        },
    }
}

fn failed_cas(op: &Op) -> bool {
    op.kind == Kind::Cas && op.end == End::Failed
}

/// The operations that may have taken effect, and the failed cas.
fn timed(ops: &[Op]) -> Vec<Timed<RegisterOp>> {
    let counts = |op: &&Op| frontier::matters(op) || failed_cas(op);
    let one = |op: &Op| {
        if failed_cas(op) {
            return Timed {
                call: op.call,
                ret: op.ret,
                op: RegisterOp::Differs(op.old),
            };
        }
        let mut timed = Register::timed(std::slice::from_ref(op));
        timed.remove(0)
    };
    ops.iter().filter(counts).map(one).collect()
}

/// Whether each failed cas has a place in `order`, rows of this key, at which something else was there: behind all
/// that had ended when it began, before all that began when it had ended. The earliest such place, one after the
/// other by end, leaves most room to those that come later.
fn all_fit(history: &History, key: &KeyHistory, order: &[u32]) -> bool {
    let by_row = |row: &u32| {
        let at = key
            .ops
            .partition_point(|op| history.invoked(op.row) < history.invoked(*row));
        key.ops[at]
    };
    let order: Vec<Op> = order.iter().map(by_row).collect();
    // What is there behind each of them, and behind none.
    let mut states = vec![crate::history::ABSENT];
    for timed in Register::timed(&order) {
        let state = states[states.len() - 1];
        states.push(Register.step(&state, &timed.op).unwrap_or(state));
    }
    // By end, the last place of what had ended by then; by place, the last begin before it.
    let mut ends: Vec<(u32, usize)> = order
        .iter()
        .enumerate()
        .filter(|(_, op)| op.ret != NEVER)
        .map(|(i, op)| (op.ret, i + 1))
        .collect();
    ends.sort_unstable();
    let mut latest = 0;
    for (_, place) in &mut ends {
        latest = latest.max(*place);
        *place = latest;
    }
    let mut last_begin = vec![0; order.len() + 1];
    for i in 0..order.len() {
        last_begin[i + 1] = last_begin[i].max(order[i].call);
    }
    let mut failed: Vec<&Op> = key.ops.iter().filter(|op| failed_cas(op)).collect();
    failed.sort_unstable_by_key(|op| op.ret);
    let mut placed: Vec<(u32, usize)> = Vec::with_capacity(failed.len());
    for cas in failed {
        let after = |ends: &[(u32, usize)]| {
            let before = ends.partition_point(|(end, _)| *end < cas.call);
            before.checked_sub(1).map_or(0, |i| ends[i].1)
        };
        // Places rise along `placed`, as each is no earlier than those that had ended before it; the highest counts.
        let from = after(&ends).max(after(&placed));
        let place = (from..states.len())
            .take_while(|place| last_begin[*place] <= cas.ret)
            .find(|place| states[*place] != cas.old);
        let Some(place) = place else {
            return false;
        };
        let highest = placed
            .last()
            .map_or(place, |(_, highest)| place.max(*highest));
        placed.push((cas.ret, highest));
    }
    true
}
