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

use super::{Budget, Judgement, Options, dfs, frontier, judge_key, witness};
use crate::history::{End, History, KeyHistory, Kind, NEVER, Op};
use crate::spec::{Register, RegisterOp, Spec, Timed};

/// Judges a key whose failed cas are all answers.
#[must_use]
pub fn judge(history: &History, key: &KeyHistory, options: &Options) -> Judgement {
    let without = judge_key(key, options).judgement;
    if without != Judgement::Holds || key.lists.is_some() {
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
