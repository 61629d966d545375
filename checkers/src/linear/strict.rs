//! Failed cas taken at their word: "the value was not a" is an answer, too.
//!
//! Clients call many things failed, and one that was refused says nothing. But a failure that is known to be one of the
//! comparison ([`KeyHistory::compared`]), or all of them where the caller says so, rules out one value at every moment of
//! its interval but one:
//!
//! ```text
//!   ├─ write 1 ─┤                      ├─ read 1 ─┤
//!                  ├ cas 1 -> 2 failed ┤               there was 1 all the time: the cas must have succeeded
//! ```
//!
//! The key is judged without them first. Where it holds, three things decide before anything is searched: a value that
//! was certainly there all the time breaks it; a witness that has a moment for each failed cas proves it, be it the one of
//! the zones or the log's own order, where the answers have log ids. Only then the depth-first search decides, with the
//! failed cas among the operations. A read that found something is worth as much as before.
//!
//! Precondition: a register. Cost: that of the witnesses, O(n log n) more; the search where a failed cas does not fit.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::certificate::{Certificate, certificate_of_key};
use super::{Judgement, Options, dfs, evidence, frontier, judge_key_of, prefix, starts, witness};
use crate::history::{ABSENT, End, History, KeyHistory, Kind, NEVER, Names, Op, Operation, Start};
use crate::spec::{Register, RegisterOp, Spec, Timed};
use crate::verdict::{Counterexample, Verdict};

/// Whose word is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Of those that are known to have compared.
    Compared,
    /// Of all.
    All,
}

impl Word {
    /// Whether there is anything to take.
    pub(super) fn given(self, key: &KeyHistory) -> bool {
        match self {
            Self::Compared => !key.compared.is_empty(),
            Self::All => key.ops.iter().any(|op| self.is_given(key, op)),
        }
    }

    /// Whether this is a failed cas that counts.
    fn is_given(self, key: &KeyHistory, op: &Op) -> bool {
        let failed = op.kind == Kind::Cas && op.end == End::Failed;
        failed && (self == Self::All || key.compared.binary_search(&op.row).is_ok())
    }
}

/// What is left of a yes when all failed cas are taken at their word. Of several violations, the one whose completing
/// event is earliest is reported.
#[must_use]
pub fn check(history: &History, options: &Options) -> Verdict {
    let judged: Vec<(&KeyHistory, Judgement)> = history
        .keys
        .par_iter()
        .map(|key| (key, judge(history, key, options)))
        .collect();
    let describe = |row| history.operation(row);
    let teller = Teller {
        describe: &describe,
        names: Some(&history.names),
    };
    let first = judged
        .iter()
        .filter(|(_, judgement)| *judgement == Judgement::Fails)
        .map(|(key, _)| {
            let first = first_bad(key, Word::All, options);
            let event = evidence::event_at(history, key, first.position);
            let found = explain(key, first.position, Word::All, options, &teller);
            found.since(event, first.exact)
        })
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

/// Judges a key whose failed cas are all answers.
#[must_use]
pub fn judge(history: &History, key: &KeyHistory, options: &Options) -> Judgement {
    judge_by(key, Word::All, Some(history), options).0
}

/// Judges a key, with some of its failed cas as answers; also gives the configurations that were visited for them.
fn judge_by(
    key: &KeyHistory,
    word: Word,
    history: Option<&History>,
    options: &Options,
) -> (Judgement, u64) {
    let told = key.gaps.is_empty() && key.lists.is_none();
    if key.start == Start::Any && told && word.given(key) {
        return judge_each_by(key, word, history, options);
    }
    let report = judge_key_of(history, key, options);
    let (without, spent) = (report.judgement, report.configurations);
    if without != Judgement::Holds || !key.gaps.is_empty() || !word.given(key) {
        return (without, spent);
    }
    let (judgement, further) = judge_further(key, word, history, options);
    (judgement, spent + further)
}

/// As [`judge_by`], where nobody knows what the key began as: from each start that it may have had.
fn judge_each_by(
    key: &KeyHistory,
    word: Word,
    history: Option<&History>,
    options: &Options,
) -> (Judgement, u64) {
    let keys = starts::each(key);
    let mut each = starts::Each::new(keys.len(), options);
    for started in keys {
        let (judgement, spent) = judge_by(&started, word, history, &each.options());
        if each.came(judgement, spent, 0) {
            return (judgement, each.spent);
        }
    }
    (each.judgement, each.spent)
}

/// Judges a key that holds without its failed cas. With the history, the order of the log is asked, too.
pub(super) fn judge_further(
    key: &KeyHistory,
    word: Word,
    history: Option<&History>,
    options: &Options,
) -> (Judgement, u64) {
    if key.lists.is_some() {
        return (Judgement::Holds, 0);
    }
    let case = Case { key, word };
    if case.any_held() {
        return (Judgement::Fails, 0);
    }
    let of_zones = || witness::by_zones(key);
    let of_log = || of_log(history?, key);
    let fits = |order: Vec<u32>| case.all_fit(&order);
    if of_zones().is_some_and(fits) || of_log().is_some_and(fits) {
        return (Judgement::Holds, 0);
    }
    dfs::judge(&Register::starting(key.start), &case.timed(), options)
}

/// The order of the log, as rows of the key, where it explains everything. Nodes are not believed: it is played through.
fn of_log(history: &History, key: &KeyHistory) -> Option<Vec<u32>> {
    let Certificate::Holds { witness: ids } = certificate_of_key(history, key) else {
        return None;
    };
    let rows: FxHashMap<u64, u32> = key
        .ops
        .iter()
        .filter(|op| frontier::matters(op))
        .map(|op| (history.invoked(op.row), op.row))
        .collect();
    let order: Option<Vec<u32>> = ids.iter().map(|id| rows.get(id).copied()).collect();
    order.filter(|order| witness::explains(key.start, &by_row(key, order)))
}

/// The operations that take part in a verdict, by their rows.
fn by_row(key: &KeyHistory, rows: &[u32]) -> Vec<Op> {
    let ops = key.ops.iter().filter(|op| frontier::matters(op));
    let ops: FxHashMap<u32, &Op> = ops.map(|op| (op.row, op)).collect();
    rows.iter().map(|row| *ops[row]).collect()
}

/// The position with which a key stops being linearizable, with failed cas as answers.
pub(super) fn first_bad(key: &KeyHistory, word: Word, options: &Options) -> evidence::First {
    let all = (0, key.events - 1);
    evidence::first_bad_by(all, key.events, options, |last, options| {
        let ops = prefix(&key.ops, last);
        judge_by(&KeyHistory { ops, ..key.clone() }, word, None, options)
    })
}

/// Who tells of operations by their rows, and how their values are called.
pub(super) struct Teller<'a> {
    pub(super) describe: &'a dyn Fn(u32) -> Operation,
    pub(super) names: Option<&'a Names>,
}

impl<'a> Teller<'a> {
    fn text(&self, key: &KeyHistory, value: u32) -> String {
        match (key.values.value(value), self.names) {
            (None, _) => "absent".to_owned(),
            (Some(value), None) => value.to_string(),
            (Some(value), Some(names)) => names.text(value).into_owned(),
        }
    }
}

/// The evidence that a key fails at position `last`, though it holds where failed cas say nothing. Which event that is, is
/// the caller's business.
pub(super) fn explain(
    key: &KeyHistory,
    last: u32,
    word: Word,
    options: &Options,
    teller: &Teller<'_>,
) -> Counterexample {
    let counts = |op: &Op| frontier::matters(op) || word.is_given(key, op);
    let mut ops: Vec<Op> = prefix(&key.ops, last).into_iter().filter(counts).collect();
    let effort = evidence::Effort::new(options);
    shrink(key, word, &mut ops, &effort);
    let at_end = |op: &&Op| op.ret == last;
    let culprit = ops.iter().copied().filter(|op| word.is_given(key, op));
    let culprit = culprit
        .max_by_key(|op| (op.ret == last, op.ret))
        .or(ops.iter().find(at_end).copied());
    let few = culprit.and_then(|cas| held(&ops, &cas));
    let unshrunk = few.is_none() && (effort.is_spent() || ops.len() > SHRUNK);
    let mut ops = few.unwrap_or(ops);
    ops.sort_unstable_by_key(|op| op.call);
    let id = |row: u32| (teller.describe)(row).id;
    let why = culprit.map(|cas| {
        format!(
            "#{} compared with {} and failed, so something else was there at some moment between its begin and its end; \
             in no order of the others is there such a moment",
            id(cas.row),
            teller.text(key, cas.old)
        )
    });
    let others = KeyHistory {
        ops: ops.iter().copied().filter(frontier::matters).collect(),
        ..key.clone()
    };
    let order = witness::rows(&others, &evidence::brief(options)).unwrap_or_default();
    Counterexample {
        key: key.name.clone(),
        operations: ops.iter().map(|op| (teller.describe)(op.row)).collect(),
        order: order.into_iter().map(id).collect(),
        culprit: culprit.map_or(0, |op| id(op.row)),
        why: why
            .into_iter()
            .chain(unshrunk.then(evidence::said_unshrunk))
            .collect(),
        unshrunk,
        ..Counterexample::default()
    }
}

/// Leaves out who only looks, while what remains fails. A write can't be: it may be what was there instead.
fn shrink(key: &KeyHistory, word: Word, ops: &mut Vec<Op>, effort: &evidence::Effort<'_>) {
    let fails = |ops: &[Op]| {
        let key = KeyHistory {
            ops: ops.to_vec(),
            ..key.clone()
        };
        effort.ask(ops.len(), |options| judge_by(&key, word, None, options))
    };
    let mut i = ops.len();
    while i > 0 && ops.len() <= SHRUNK {
        i -= 1;
        if ops[i].kind == Kind::Read || word.is_given(key, &ops[i]) {
            let mut rest = ops.clone();
            rest.remove(i);
            if fails(&rest) {
                *ops = rest;
            }
        }
    }
}

/// The most operations that are dropped one by one.
const SHRUNK: usize = 400;

/// Where what the cas compared with was written once and certainly there all the time: the operations that say so.
fn held(ops: &[Op], cas: &Op) -> Option<Vec<Op>> {
    let mut writers = ops
        .iter()
        .filter(|op| op.kind != Kind::Read && frontier::matters(op) && op.value == cas.old);
    let (writer, another) = (writers.next()?, writers.next());
    if another.is_some() || cas.old == ABSENT || writer.kind != Kind::Write {
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

/// A key, and whose word is taken.
struct Case<'a> {
    key: &'a KeyHistory,
    word: Word,
}

impl Case<'_> {
    fn failed_cas(&self) -> impl Iterator<Item = &Op> {
        let given = |op: &&Op| self.word.is_given(self.key, op);
        self.key.ops.iter().filter(given)
    }

    /// Whether what a failed cas compared with was written once, and seen both before it began and after it ended.
    fn any_held(&self) -> bool {
        #[derive(Clone, Copy)]
        struct Seen {
            writers: u32,
            first_end: u32,
            last_begin: u32,
        }
        let nothing = Seen {
            writers: 0,
            first_end: NEVER,
            last_begin: 0,
        };
        let mut seen = vec![nothing; self.key.values.len() + 1];
        if let Start::Value(start) = self.key.start {
            (seen[start as usize].writers, seen[start as usize].first_end) = (1, 0);
        }
        for op in self.key.ops.iter().filter(|op| frontier::matters(op)) {
            let seen = &mut seen[op.value as usize];
            seen.writers += u32::from(op.kind != Kind::Read);
            if op.end == End::Ok {
                seen.first_end = seen.first_end.min(op.ret);
                seen.last_begin = seen.last_begin.max(op.call);
            }
        }
        self.failed_cas().any(|cas| {
            let old = seen[cas.old as usize];
            let before = old.first_end < cas.call || Start::Value(cas.old) == self.key.start;
            old.writers == 1 && before && cas.ret < old.last_begin
        })
    }

    /// The operations that may have taken effect, and the failed cas.
    fn timed(&self) -> Vec<Timed<RegisterOp>> {
        let one = |op: &Op| {
            if self.word.is_given(self.key, op) {
                return Some(Timed {
                    call: op.call,
                    ret: op.ret,
                    op: RegisterOp::Differs(op.old),
                });
            }
            Register::timed(std::slice::from_ref(op)).pop()
        };
        self.key.ops.iter().filter_map(one).collect()
    }

    /// Whether each failed cas has a place in `order`, rows of this key, at which something else was there: behind all
    /// that had ended when it began, before all that began when it had ended. The earliest such place, one after the
    /// other by end, leaves most room to those that come later.
    fn all_fit(&self, order: &[u32]) -> bool {
        let order = by_row(self.key, order);
        // What is there behind each of them, and behind none.
        let register = Register::starting(self.key.start);
        let mut states = vec![register.initial()];
        for timed in Register::timed(&order) {
            let state = states[states.len() - 1];
            states.push(register.step(&state, &timed.op).unwrap_or(state));
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
        let mut failed: Vec<&Op> = self.failed_cas().collect();
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
}
