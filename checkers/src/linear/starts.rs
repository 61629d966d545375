//! Keys that did not begin absent.
//!
//! A value that a key began as is one that was written, and the write ended, before anything else began:
//!
//! ```text
//!   ├ write 0 ┤  ┊  ├── read 0 ──┤   ├── write 1 ──┤        what is on record is what stands to the right
//! ```
//!
//! Where nobody knows what was there ([`Start::Any`]), some value must explain everything, and few can: what takes effect
//! first was begun before anything had ended. If it writes, the start is nobody's business, and a value that nobody finds
//! is as good as any; if it found something, that was the start. So only that one and what those have found that began
//! before the first end need be tried; and where somebody found a value that nobody had begun to write by then, only it.

use rustc_hash::FxHashMap;

use super::evidence::brief;
use super::frontier::matters;
use super::sources::needed;
use super::{Judgement, Options, judge_absent, prefix};
use crate::history::{ABSENT, End, KeyHistory, Kind, NEVER, Op, Start, Value, Values};
use crate::verdict::Algorithm;

/// The row of the write that stands for what was there.
const BEFORE: u32 = u32::MAX;

/// How many positions it takes.
const TAKES: u32 = 2;

/// The operations of a register behind a write of what was there.
fn behind(start: u32, ops: &[Op]) -> Vec<Op> {
    let write = Op {
        call: 0,
        ret: 1,
        value: start,
        old: ABSENT,
        row: BEFORE,
        kind: Kind::Write,
        end: End::Ok,
    };
    let moved = |op: &Op| Op {
        call: op.call + TAKES,
        ret: match op.ret {
            NEVER => NEVER,
            ret => ret + TAKES,
        },
        ..*op
    };
    std::iter::once(write)
        .chain(ops.iter().map(moved))
        .collect()
}

/// As [`judge_absent`], of a register that began as this number of its values.
pub(super) fn judge_from(
    start: u32,
    ops: &[Op],
    values: usize,
    events: u32,
    options: &Options,
) -> (Judgement, Algorithm, u64, u32) {
    // One more is the value that nobody finds.
    let values = values + 1;
    if start == ABSENT {
        return judge_absent(ops, values, events, options);
    }
    let ops = behind(start, ops);
    let (judgement, algorithm, spent, first) = judge_absent(&ops, values, events + TAKES, options);
    let judgement = match judgement {
        Judgement::Unknown {
            proven_to,
            exhausted,
        } => Judgement::Unknown {
            proven_to: proven_to.saturating_sub(TAKES),
            exhausted,
        },
        decided => decided,
    };
    (judgement, algorithm, spent, first.saturating_sub(TAKES))
}

/// As [`judge_from`], of a register that began as nobody knows what: it holds if it does from any start.
pub(super) fn judge_any(
    ops: &[Op],
    values: &Values,
    events: u32,
    options: &Options,
) -> (Judgement, Algorithm, u64, u32) {
    let Some(starts) = candidates(ops, values) else {
        return (Judgement::Fails, Algorithm::Zones, 0, 0);
    };
    let mut each = Each::new(starts.len(), options);
    for start in starts {
        let options = each.options();
        let (judgement, algorithm, spent, first) =
            judge_from(start, ops, values.len(), events, &options);
        if each.came(judgement, spent, first) {
            return (judgement, algorithm, each.spent, 0);
        }
        each.algorithm = each.algorithm.max(algorithm);
    }
    (each.judgement, each.algorithm, each.spent, each.first)
}

/// What came of each start that may have been, one after the other.
pub(super) struct Each {
    left: u64,
    budget: u64,
    options: Options,
    /// As long as none holds.
    pub(super) judgement: Judgement,
    pub(super) algorithm: Algorithm,
    pub(super) spent: u64,
    /// A position before which none of those that fail does.
    pub(super) first: u32,
}

impl Each {
    /// So many will be tried.
    pub(super) fn new(starts: usize, options: &Options) -> Self {
        Self {
            left: starts as u64,
            budget: options.budget,
            options: *options,
            judgement: Judgement::Fails,
            algorithm: Algorithm::Zones,
            spent: 0,
            first: 0,
        }
    }

    /// What the next one may spend: its share of what is left.
    pub(super) fn options(&self) -> Options {
        Options {
            budget: self.budget.saturating_sub(self.spent) / self.left.max(1),
            ..self.options
        }
    }

    /// Takes what came of it; whether that decides.
    pub(super) fn came(&mut self, judgement: Judgement, spent: u64, first: u32) -> bool {
        self.left = self.left.saturating_sub(1);
        self.spent += spent;
        match (judgement, self.judgement) {
            (Judgement::Holds, _) => return true,
            (Judgement::Fails, _) => self.first = self.first.max(first),
            (
                Judgement::Unknown { proven_to, .. },
                Judgement::Unknown {
                    proven_to: best, ..
                },
            ) if proven_to <= best => {}
            (Judgement::Unknown { .. }, _) => self.judgement = judgement,
        }
        false
    }
}

/// The numbers of values from one of which a register must have begun, if there is an order at all: the one behind the
/// last stands for all that nobody finds. `None` where there is no order from any start.
pub(super) fn candidates(ops: &[Op], values: &Values) -> Option<Vec<u32>> {
    let fresh = values.len() as u32;
    let mut found = forced(ops, values);
    match found.len() {
        0 => {}
        1 => return Some(found),
        _ => return None,
    }
    let happened = ops.iter().filter(|op| op.end == End::Ok);
    let first_end = happened.map(|op| op.ret).min().unwrap_or(NEVER);
    found.push(fresh);
    let first = ops.iter().filter(|op| matters(op));
    let first = first.take_while(|op| op.call < first_end);
    found.extend(
        first
            .filter_map(needed)
            .filter(|value| !values.is_another(*value)),
    );
    found[1..].sort_unstable();
    found.dedup();
    Some(found)
}

/// Values that somebody found, though nobody had begun to write them by then: two at most, one of each.
fn forced(ops: &[Op], values: &Values) -> Vec<u32> {
    // By value, the first two writers.
    let mut writers: FxHashMap<u32, [(u32, u32); 2]> = FxHashMap::default();
    for op in ops.iter().filter(|op| matters(op) && op.kind != Kind::Read) {
        let nobody = (NEVER, BEFORE);
        let first = writers.entry(op.value).or_insert([nobody; 2]);
        if let Some(place) = first.iter_mut().find(|place| **place == nobody) {
            *place = (op.call, op.row);
        }
    }
    let mut forced = Vec::new();
    for op in ops.iter().filter(|op| op.end == End::Ok) {
        let Some(value) = needed(op).filter(|value| !values.is_another(*value)) else {
            continue;
        };
        // One that compares with what it writes is no source of its own.
        let mut others = writers.get(&value).into_iter().flatten();
        let begun = others.any(|(call, row)| *call < op.ret && *row != op.row);
        if !begun && !forced.contains(&value) {
            forced.push(value);
            if forced.len() == 2 {
                break;
            }
        }
    }
    forced
}

/// The key with each start that it may have had: itself, where that is known.
pub(super) fn each(key: &KeyHistory) -> Vec<KeyHistory> {
    let with = |start: u32| KeyHistory {
        start: match start {
            ABSENT => Start::Absent,
            number => Start::Value(number),
        },
        ..key.clone()
    };
    match (key.start, &key.lists) {
        (Start::Any, None) => {
            let starts = candidates(&key.ops, &key.values).unwrap_or_default();
            starts.into_iter().map(with).collect()
        }
        _ => vec![key.clone()],
    }
}

/// What a reader is told whose key is accused up to position `last`, though it would hold if it had begun otherwise than
/// absent: as what, and which flags say so. `text` says a value.
pub(super) fn said(
    key: &KeyHistory,
    last: u32,
    options: &Options,
    text: &dyn Fn(Value) -> String,
) -> Option<String> {
    if key.start != Start::Absent {
        return None;
    }
    let ops = prefix(&key.ops, last);
    let options = brief(options);
    let start = match &key.lists {
        Some(lists) => {
            let list = super::lists::start(&ops, &key.values, lists, &options)?;
            let items: Vec<String> = list.into_iter().map(text).collect();
            format!("[{}]", items.join(" "))
        }
        None => {
            let starts = candidates(&ops, &key.values)?.into_iter();
            let mut starts = starts.filter(|start| *start != ABSENT);
            let holds = |start: &u32| {
                let judged = judge_from(*start, &ops, key.values.len(), key.events, &options);
                judged.0 == Judgement::Holds
            };
            let start = starts.find(holds)?;
            // What nobody finds explains nothing that absent does not.
            text(key.values.known(start)?)
        }
    };
    let plain = |c: char| c.is_alphanumeric() || "-_:.".contains(c);
    let flag = match start.chars().all(plain) {
        true => start.clone(),
        false => format!("'{start}'"),
    };
    Some(format!(
        "It would hold up to there if {start} had been there before the first event: --initial {flag} says so of each key, \
         --initial any that nobody knows what was there."
    ))
}

/// The operations of a register as if it had begun absent: absent and the start change places, whoever finds or writes
/// them. Rows and positions stay.
pub(super) fn from_absent(key: &KeyHistory) -> Vec<Op> {
    let Start::Value(start) = key.start else {
        return key.ops.clone();
    };
    let other = |value: u32| match value {
        ABSENT => start,
        value if value == start => ABSENT,
        value => value,
    };
    let swapped = |op: &Op| {
        let value = other(op.value);
        Op {
            value,
            old: match op.kind {
                Kind::Cas => other(op.old),
                _ => op.old,
            },
            kind: match op.kind {
                Kind::Write if value == ABSENT => Kind::Delete,
                Kind::Delete => Kind::Write,
                kind => kind,
            },
            ..*op
        }
    };
    key.ops.iter().map(swapped).collect()
}
