//! Histories out of which events are lost, in the parts between the gaps.
//!
//! ```text
//!   ├ write 1 ┤   ├┄ write 2 ┄┄┄┄┄┄┄┄ ✂ ┄ lost ┄ ✂      ├ read 7 ┤   ├ read 2 ┤
//!   judged as ever; what is open is unknown             from any value on; 7 and 2 may be written at any time
//! ```
//!
//! *Before the first gap* nothing is lost: what is open there never ends, as if the history did.
//!
//! *Behind a gap* the key holds a value that nobody knows, and operations that were begun before it or within may still
//! take effect. All of these are known by what the part finds: each value that it finds and that nobody in it writes is
//! written by somebody unknown, once and at any time; and there are as many unknown deletes as reads of absent. If the
//! part has no order even so, the history has none, provided that no value is written twice: else a lost operation may
//! have written once more whatever was found. So there a failure is proof only where the header promises unique values
//! and no two writes belie it; where it does not, or more is found than can have been lost, nothing is known.
//!
//! What breaks only across a gap is never found, nor is a failed cas that does not say what it found taken at its word
//! behind one, nor a list judged there. Nobody is accused for want of what is lost.

use rustc_hash::FxHashMap;

use super::frontier::matters;
use crate::history::{ABSENT, End, History, KeyHistory, Kind, NEVER, Op, Start, Values};
use crate::verdict::Counterexample;

/// Operations of nobody on record have rows from here on.
const NOBODY: u32 = 1 << 31;

/// Whether the row of an operation stands for one that nobody has on record.
pub(super) fn is_nobody(row: u32) -> bool {
    row >= NOBODY
}

/// The operations of a key that were begun between two gaps, as a key of its own.
pub(super) struct Part {
    /// The part, with what may be lost before it. It has no gap.
    pub(super) key: KeyHistory,
    /// The position of its first event in the whole key, and how many were put before that.
    first: u32,
    added: u32,
    /// What a verdict on the part means for the history.
    pub(super) worth: Worth,
}

/// Which verdicts on a part are verdicts on the history. Else they may come from what is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worth {
    pub(super) holds: bool,
    pub(super) fails: bool,
}

impl Worth {
    /// Whether it is worth while to judge the part.
    pub(super) fn any(self) -> bool {
        self.holds || self.fails
    }
}

impl Part {
    /// The position in the whole key.
    pub(super) fn whole(&self, position: u32) -> u32 {
        self.first + position.saturating_sub(self.added)
    }

    /// Says in a counterexample what is not known, where something is not.
    pub(super) fn say(&self, history: &History, found: &mut Counterexample) {
        if self.first == 0 && self.added == 0 {
            return;
        }
        let ids = found.operations.iter().map(|op| op.id);
        let begun = ids.min().unwrap_or(0);
        let gap = history.gaps.iter().rfind(|gap| gap.index < begun);
        found.why.extend(gap.map(|gap| {
            format!(
                "What was there before #{}, behind the gap at #{} in which {} events are lost, may have been anything: this breaks behind it.",
                gap.index.saturating_add(gap.lost),
                gap.index,
                gap.lost
            )
        }));
    }

    /// The position in the part, where it lies within.
    pub(super) fn own(&self, whole: u32) -> Option<u32> {
        let own = whole.checked_sub(self.first)? + self.added;
        (own < self.key.events).then_some(own)
    }
}

/// The parts of a key, in order; those without operations are left out.
pub(super) fn parts(key: &KeyHistory) -> Vec<Part> {
    let ends = key.gaps.iter().map(|gap| gap.at).chain([key.events]);
    let mut parts = Vec::new();
    let (mut first, mut begun) = (0, 0);
    for (number, end) in ends.enumerate() {
        let until = key.ops.partition_point(|op| op.call < end);
        let ops = &key.ops[begun..until];
        if !ops.is_empty() {
            parts.push(match number {
                0 => before(key, ops, end),
                _ => {
                    let lost = key.gaps[..number].iter().map(|gap| gap.events);
                    let lost = lost.fold(0, u64::saturating_add);
                    let open = key.ops[..begun].iter().filter(|op| may_come(op)).count();
                    behind(key, ops, first..end, lost.saturating_add(open as u64))
                }
            });
        }
        (first, begun) = (end, until);
    }
    parts
}

fn may_come(op: &Op) -> bool {
    op.end == End::Unknown && op.kind != Kind::Read
}

fn before(key: &KeyHistory, ops: &[Op], end: u32) -> Part {
    Part {
        key: KeyHistory {
            ops: ops.to_vec(),
            events: end,
            gaps: Vec::new(),
            ..key.clone()
        },
        first: 0,
        added: 0,
        worth: Worth {
            holds: true,
            fails: true,
        },
    }
}

/// A part behind a gap, into which at most `may_come` operations from outside may reach.
fn behind(key: &KeyHistory, ops: &[Op], span: std::ops::Range<u32>, may_come: u64) -> Part {
    let unique = key.unique && writes_are_unique(&key.ops);
    let (added, nobody) = from_outside(key, ops, unique, may_come);
    let shift = |op: &Op| {
        let moved = |position: u32| position - span.start + added.len() as u32;
        Op {
            call: moved(op.call),
            ret: match op.ret {
                NEVER => NEVER,
                ret => moved(ret),
            },
            ..*op
        }
    };
    let count = added.len() as u32;
    let all = added.iter().copied().chain(ops.iter().map(shift)).collect();
    let told = key.lists.is_none();
    let worth = Worth {
        // What was there in the beginning is one more.
        holds: told && nobody <= may_come.saturating_add(1),
        fails: told && unique,
    };
    Part {
        key: KeyHistory {
            ops: all,
            events: span.end - span.start + count,
            gaps: Vec::new(),
            compared: Vec::new(),
            // Whatever it began as, it may be anything now.
            start: Start::Absent,
            ..key.clone()
        },
        first: span.start,
        added: count,
        worth,
    }
}

/// Whether no two operations write one value, those that failed included.
fn writes_are_unique(ops: &[Op]) -> bool {
    let mut written = rustc_hash::FxHashSet::default();
    ops.iter().all(|op| match op.kind {
        Kind::Read | Kind::Delete => true,
        Kind::Write | Kind::Append => written.insert(op.value),
        // Where one found what it left, somebody else wrote that.
        Kind::Cas => (op.end != End::Ok || op.old != op.value) && written.insert(op.value),
    })
}

/// What operations that nobody has on record must have written for `ops` to find it: as operations that never end, one
/// after the other; and how many values that are.
fn from_outside(key: &KeyHistory, ops: &[Op], unique: bool, may_come: u64) -> (Vec<Op>, u64) {
    let mut written = rustc_hash::FxHashSet::default();
    if unique {
        let writers = ops.iter().filter(|op| op.kind != Kind::Read);
        written.extend(writers.map(|op| op.value).filter(|value| *value != ABSENT));
    }
    let mut found: FxHashMap<u32, u64> = FxHashMap::default();
    for op in ops.iter().filter(|op| matters(op)) {
        let value = match op.kind {
            Kind::Read => op.value,
            Kind::Cas => op.old,
            Kind::Write | Kind::Delete | Kind::Append => continue,
        };
        if !written.contains(&value) && !key.values.is_another(value) {
            *found.entry(value).or_default() += 1;
        }
    }
    let absent = found.remove(&ABSENT).unwrap_or(0).min(may_come);
    let mut values: Vec<u32> = found.into_keys().collect();
    values.sort_unstable();
    let nobody = values.len() as u64;
    let deletes = (0..absent).map(|_| (Kind::Delete, ABSENT));
    let writes = values.into_iter().map(|value| (Kind::Write, value));
    let one = |(at, (kind, value))| Op {
        call: at,
        ret: NEVER,
        value,
        old: ABSENT,
        row: NOBODY + at,
        kind,
        end: End::Unknown,
    };
    ((0..).zip(deletes.chain(writes)).map(one).collect(), nobody)
}

/// As a part behind a gap of which nothing else is known, for operations whose positions are given: them with what may
/// have been written by others, and how many positions there are then. Values are promised to be unique.
pub(super) fn alone(ops: &[Op], values: &Values, events: u32) -> (Vec<Op>, u32) {
    let key = KeyHistory {
        unique: true,
        values: values.clone(),
        ..KeyHistory::default()
    };
    let part = behind(&key, ops, 0..events, u64::MAX);
    (part.key.ops, part.key.events)
}
