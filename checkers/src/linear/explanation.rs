//! More than the verdict: for a yes an order, for a no which edge breaks, what would have been legal, how old the
//! oldest answer was, and what was kept all the same.
//!
//! In: a history and its [`Report`]. Out: an [`Explanation`], as data that serializes; [`crate::explain::more`] makes
//! sentences of it. All of it is asked for by hand: none of it is paid for where only a verdict is wanted.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::weaker::{Weaker, weaker};
use super::witness::witness;
use super::{Judgement, Options, Report, judge_key, prefix};
use crate::history::{
    ABSENT, Call, ClientId, End, History, KeyHistory, Kind, NEVER, Op, Operation, Outcome, Start,
    Value,
};
use crate::verdict::{Counterexample, Staleness, Verdict};

/// Why a history is what it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// For a linearizable history: each key's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<Order>,
    /// For a violation: what there is to say about the key on which it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// An order of a key's operations that explains every answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The key's name.
    pub key: String,
    /// Its operations that took effect, by id; `None` where a budget ran out before one was found.
    pub order: Option<Vec<u64>>,
}

/// About a key that is not linearizable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The key's name.
    pub key: String,
    /// Of the counterexample: two operations of which the first had ended when the second began; but for that, there
    /// would be an order. `None` where no single pair decides.
    pub edge: Option<(u64, u64)>,
    /// What the culprit, a read, could have answered instead: values, `None` for absent. The nearest, which was
    /// begun last, comes first.
    pub legal: Vec<Option<Value>>,
    /// The stalest read of the key.
    pub stalest: Option<Stalest>,
    /// What the key kept of weaker promises.
    pub weaker: Weaker,
}

/// A read of something that had certainly been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalest {
    /// The read, by id.
    pub read: u64,
    /// Who was told so.
    pub client: ClientId,
    /// How old the answer was.
    pub staleness: Staleness,
}

/// Explains a report of `history`.
#[must_use]
pub fn explanation(history: &History, report: &Report, options: &Options) -> Explanation {
    match &report.verdict {
        Verdict::Linearizable => Explanation {
            witness: history
                .keys
                .iter()
                .map(|key| Order {
                    key: key.name.clone(),
                    order: witness(history, key, options),
                })
                .collect(),
            failure: None,
        },
        Verdict::Violation(found) => Explanation {
            witness: Vec::new(),
            failure: history
                .keys
                .iter()
                .find(|key| key.name == found.key)
                .map(|key| failure(history, key, found, options)),
        },
        Verdict::Unknown(_) => Explanation::default(),
    }
}

fn failure(
    history: &History,
    key: &KeyHistory,
    found: &Counterexample,
    options: &Options,
) -> Failure {
    Failure {
        key: key.name.clone(),
        edge: breaking_edge(key, &found.operations),
        legal: legal_answers(history, key, found, options),
        stalest: stalest(history, key),
        weaker: weaker(history, key),
    }
}

/// The most operations among which an edge is looked for.
const FEW: usize = 9;

/// The real-time edge without which the operations would have an order.
fn breaking_edge(key: &KeyHistory, operations: &[Operation]) -> Option<(u64, u64)> {
    let start = match key.start {
        Start::Absent => None,
        Start::Value(number) => key.values.known(number),
        Start::Any => return None,
    };
    let happened: Vec<&Operation> = operations
        .iter()
        .filter(|op| op.outcome != Outcome::Failed)
        .collect();
    let lists = happened.iter().any(|op| matches!(op.call, Call::Append(_)));
    // Where one failed, that it did is what they show.
    if happened.len() > FEW || happened.len() < operations.len() || lists {
        return None;
    }
    let ended = |op: &Operation| op.completed.filter(|_| op.outcome != Outcome::Unknown);
    let before =
        |a: usize, b: usize| ended(happened[a]).is_some_and(|end| end < happened[b].invoked);
    let all: Vec<(usize, usize)> = (0..happened.len())
        .flat_map(|a| (0..happened.len()).map(move |b| (a, b)))
        .filter(|(a, b)| before(*a, *b))
        .collect();
    // Of several, the one whose two ends are nearest: it takes the least to imagine it away.
    let breaks = |edge: &&(usize, usize)| {
        let rest = |a: usize, b: usize| (a, b) != **edge && before(a, b);
        ordered(&happened, &rest, &mut vec![false; happened.len()], start)
    };
    let gap =
        |(a, b): &&(usize, usize)| happened[*b].invoked - ended(happened[*a]).unwrap_or_default();
    let edge = all.iter().filter(breaks).min_by_key(gap)?;
    Some((happened[edge.0].id, happened[edge.1].id))
}

/// Whether what is left of a few operations on a register can follow `cell`.
fn ordered(
    ops: &[&Operation],
    before: &dyn Fn(usize, usize) -> bool,
    done: &mut Vec<bool>,
    cell: Option<Value>,
) -> bool {
    if (0..ops.len()).all(|i| done[i] || ops[i].outcome == Outcome::Unknown) {
        return true;
    }
    for i in 0..ops.len() {
        let waits = |j: usize| j != i && !done[j] && before(j, i);
        if done[i] || (0..ops.len()).any(waits) {
            continue;
        }
        let next = match (ops[i].call, ops[i].outcome) {
            (Call::Read, Outcome::Ok(found)) if found == cell => cell,
            (Call::Cas { old, .. }, Outcome::Differed(found)) => {
                if found != cell || found == Some(old) {
                    continue;
                }
                cell
            }
            (Call::Cas { old, new }, _) if cell == Some(old) => Some(new),
            (Call::Write(value), _) => Some(value),
            (Call::Delete, _) => None,
            _ => continue,
        };
        done[i] = true;
        if ordered(ops, before, done, next) {
            return true;
        }
        done[i] = false;
    }
    false
}

/// The most values that are tried as answers.
const CANDIDATES: usize = 24;

/// Configurations that may be visited for one of them.
const CANDIDATE: u64 = 100_000;

/// What the culprit, a read on a register, could have answered, so that all up to there would be linearizable.
fn legal_answers(
    history: &History,
    key: &KeyHistory,
    found: &Counterexample,
    options: &Options,
) -> Vec<Option<Value>> {
    let culprit = key
        .ops
        .iter()
        .find(|op| history.invoked(op.row) == found.culprit);
    let Some(culprit) = culprit.filter(|op| op.kind == Kind::Read && key.lists.is_none()) else {
        return Vec::new();
    };
    let ops = prefix(&key.ops, culprit.ret);
    let Some(at) = ops.iter().position(|op| op.row == culprit.row) else {
        return Vec::new();
    };
    let start = match key.start {
        Start::Value(number) if key.values.known(number).is_some() => number,
        Start::Absent | Start::Value(_) | Start::Any => ABSENT,
    };
    let mut candidates = vec![(0, start)];
    let may_have = |op: &&Op| op.kind != Kind::Read && op.end != End::Failed;
    candidates.extend(
        ops.iter()
            .filter(may_have)
            .map(|op| (op.call + 1, op.value)),
    );
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    let mut seen = Vec::new();
    for (_, value) in candidates {
        if !seen.contains(&value) {
            seen.push(value);
        }
        if seen.len() == CANDIDATES {
            break;
        }
    }
    let mut ops = ops;
    let mut legal = Vec::new();
    // Whoever asks for it waits.
    let options = &Options {
        budget: options.budget.min(CANDIDATE),
        ..*options
    };
    for value in seen {
        ops[at].value = value;
        let answered = KeyHistory {
            ops: ops.clone(),
            ..key.clone()
        };
        if judge_key(&answered, options).judgement == Judgement::Holds {
            legal.push(key.values.value(value));
        }
    }
    legal
}

/// The read of the key whose value had certainly been replaced for the longest time when it began.
#[must_use]
pub fn stalest(history: &History, key: &KeyHistory) -> Option<Stalest> {
    if key.lists.is_some() || !key.gaps.is_empty() {
        return None;
    }
    let changes: Vec<&Op> = key
        .ops
        .iter()
        .filter(|op| op.kind != Kind::Read && op.end == End::Ok)
        .collect();
    // By begin: the one that ends first among each and all later ones.
    let mut first_end: Vec<&Op> = changes.clone();
    for i in (1..first_end.len()).rev() {
        if first_end[i].ret < first_end[i - 1].ret {
            first_end[i - 1] = first_end[i];
        }
    }
    let last = last_moments(key);
    let mut worst: Option<(u64, &Op, u32)> = None;
    for read in key
        .ops
        .iter()
        .filter(|op| op.kind == Kind::Read && op.end == End::Ok)
    {
        let Some(moment) = last.get(&read.value).filter(|moment| **moment != NEVER) else {
            continue;
        };
        let after = changes.partition_point(|op| op.call <= *moment);
        let Some(replaced) = first_end.get(after).filter(|op| op.ret < read.call) else {
            continue;
        };
        let replaced_ns = history
            .operation(replaced.row)
            .completed_ns
            .unwrap_or_default();
        let age = history
            .operation(read.row)
            .invoked_ns
            .saturating_sub(replaced_ns);
        if worst.is_none_or(|(most, _, _)| age > most) {
            worst = Some((age, read, *moment));
        }
    }
    let (nanoseconds, read, moment) = worst?;
    let newer = |op: &&&Op| op.call > moment && op.ret < read.call;
    Some(Stalest {
        read: history.invoked(read.row),
        client: history.client(read.row),
        staleness: Staleness {
            nanoseconds,
            versions: changes.iter().filter(newer).count() as u64,
        },
    })
}

/// By value, a moment by which it had certainly been written for the last time: the end of its last writer, or where
/// it has one only, whenever it was first seen. [`NEVER`] where a write of it is open.
fn last_moments(key: &KeyHistory) -> FxHashMap<u32, u32> {
    let mut writers: FxHashMap<u32, (u32, u32)> = FxHashMap::default();
    let mut seen: FxHashMap<u32, u32> = FxHashMap::default();
    for op in key.ops.iter().filter(|op| super::frontier::matters(op)) {
        if op.kind != Kind::Read {
            let (count, last) = writers.entry(op.value).or_default();
            *count += 1;
            *last = (*last).max(op.ret);
        }
        if op.end == End::Ok {
            let first = seen.entry(op.value).or_insert(op.ret);
            *first = (*first).min(op.ret);
        }
    }
    let start = match key.start {
        Start::Absent => Some(ABSENT),
        Start::Value(number) => Some(number),
        Start::Any => None,
    };
    // The first value of all was there at the beginning, and a value from nowhere never was.
    let moment = |(value, (count, last)): (u32, (u32, u32))| {
        let once = count == 1 && start.is_some_and(|start| value != start);
        let first = seen.get(&value).copied().filter(|_| once);
        (value, first.unwrap_or(last))
    };
    let mut moments: FxHashMap<u32, u32> = writers.into_iter().map(moment).collect();
    if let Some(start) = start {
        moments.entry(start).or_insert(0);
    }
    moments
}
