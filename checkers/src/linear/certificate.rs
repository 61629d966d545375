//! The second opinion: nodes that answer with a log id have told in which order they did everything, so nothing need
//! be searched, only compared.
//!
//! A write names its own entry, a read the last entry that was applied when it looked, and a cas that failed by its
//! comparison names its own, which changed nothing. Three things must hold:
//!
//! ```text
//!   log      1:w k=1   2:w j=7   3:w k=2   4:-   5:w k=3
//!   a read that names 4 stands here ────────────┘  and must find k=2
//! ```
//!
//! 1. *One log*: an index has one term, terms rise with indices, and an entry belongs to one operation.
//! 2. *Real time*: what had ended before another operation began stands before it in the log, over all keys.
//! 3. *Prefix*: a read, or a cas that took effect, finds what the entries before it left in its key; a cas that failed
//!    finds anything but what it expected, and what it said, where it said so.
//!
//! An operation with an unknown outcome has no log id. It is put where a read asks for it, if an entry is free there
//! and it had begun by then; one that nobody asks for need not have happened. An entry is free for one of them only,
//! over all keys.
//!
//! Precondition: registers, and a log id with every ok answer; else it is [`Certificate::Silent`]. Cost: O(n log n).
//! Where it holds, its witness is an order of all operations: whoever claims a violation then is wrong. Where it is
//! contradicted, the history may be linearizable all the same, in an order that is not the log's; either way a node
//! has told something untrue, and a disagreement with the verdict is a finding in itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};

use crate::history::{ABSENT, At, End, History, KeyHistory, Kind, NEVER, Op, Start};
use crate::verdict::Verdict;

/// What the log ids of a history's answers prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "certificate", rename_all = "lowercase")]
pub enum Certificate {
    /// The log's order explains every answer, and agrees with real time.
    Holds {
        /// All operations that took effect, by id, in that order.
        witness: Vec<u64>,
    },
    /// It does not.
    Contradiction(Contradiction),
    /// The answers do not say enough.
    Silent {
        /// What is missing.
        why: String,
    },
}

impl Certificate {
    /// Its name in files and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Holds { .. } => "holds",
            Self::Contradiction(_) => "contradiction",
            Self::Silent { .. } => "silent",
        }
    }

    /// Why it and the verdict can't both be right, or what a node said that is not so, which needs no verdict beside it;
    /// `None` where they agree, and where it has nothing to say. This is the evidence of a finding.
    #[must_use]
    pub fn disagreement(&self, verdict: &Verdict) -> Option<String> {
        match (self, verdict) {
            (Self::Holds { .. }, Verdict::Violation(found)) => Some(format!(
                "the log's order explains every answer, but the verdict is a violation on {}",
                found.key
            )),
            (Self::Contradiction(found), Verdict::Linearizable) => Some(format!(
                "the history is linearizable, but not in the log's order: {}",
                found.why
            )),
            (Self::Contradiction(found), Verdict::Unknown(_)) => Some(format!(
                "whether the history is linearizable is not known, but it is not in the log's order: {}",
                found.why
            )),
            // A contradiction beside a violation says the same once more.
            (Self::Contradiction(_), Verdict::Violation(_))
            | (Self::Holds { .. }, Verdict::Linearizable | Verdict::Unknown(_))
            | (Self::Silent { .. }, _) => None,
        }
    }
}

/// Why the log ids can't be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// Which rule is broken.
    pub rule: Rule,
    /// The operations that show it, by id.
    pub operations: Vec<u64>,
    /// A sentence.
    pub why: String,
}

/// A rule that log ids must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// There is one log.
    OneLog,
    /// What ended first stands first.
    RealTime,
    /// A read finds what the entries before it left.
    Prefix,
}

/// Checks a whole history: one log for all its keys.
#[must_use]
pub fn certificate(history: &History) -> Certificate {
    let keys: Vec<&KeyHistory> = history.keys.iter().collect();
    check(history, &keys)
}

/// Checks one key of a history by itself.
#[must_use]
pub fn certificate_of_key(history: &History, key: &KeyHistory) -> Certificate {
    check(history, &[key])
}

/// An operation and its place.
#[derive(Clone, Copy)]
struct Placed {
    op: Op,
    place: Place,
    at: At,
    role: Role,
}

/// What an operation is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It looked, right behind the entry that it names.
    Looked,
    /// The entry that it names is its own.
    Took,
    /// Likewise, but it failed: what it found is known, and it left everything as it was.
    Found,
    /// Likewise, and it only said that it found something else than it expected.
    Differed,
}

/// A place in the log: an index, and whether it is right behind that entry, where who only looked stands.
type Place = (u64, bool);

fn check(history: &History, keys: &[&KeyHistory]) -> Certificate {
    if history.header.is_lists() {
        return Certificate::Silent {
            why: "only registers have a certificate".to_owned(),
        };
    }
    let mut placed = Vec::with_capacity(keys.len());
    let mut silent = 0;
    for key in keys {
        let mut of_key = Vec::new();
        for op in &key.ops {
            let role = match (op.end, op.kind) {
                (End::Ok, Kind::Read) if history.is_look(op.row) => Role::Found,
                (End::Ok, Kind::Read) => Role::Looked,
                (End::Ok, _) => Role::Took,
                (End::Failed, Kind::Cas) if key.compared.binary_search(&op.row).is_ok() => {
                    Role::Differed
                }
                (End::Failed | End::Unknown, _) => continue,
            };
            match history.log_id(op.row) {
                // Behind the last index there is, nothing could stand.
                Some(at) if at.index < u64::MAX => of_key.push(Placed {
                    op: *op,
                    place: (at.index, role == Role::Looked),
                    at,
                    role,
                }),
                Some(_) | None => silent += 1,
            }
        }
        of_key.sort_by_key(|placed| (placed.place, placed.op.call));
        placed.push(of_key);
    }
    let found = one_log(history, &placed).and_then(|()| real_time(history, &placed));
    if let Err(contradiction) = found {
        return Certificate::Contradiction(contradiction);
    }
    if let Some(gap) = history.gaps.first() {
        return Certificate::Silent {
            why: format!("{} events are lost at #{}", gap.lost, gap.index),
        };
    }
    if keys.iter().any(|key| key.start == Start::Any) {
        return Certificate::Silent {
            why: "nobody knows what was there before the first entry".to_owned(),
        };
    }
    if silent > 0 {
        return Certificate::Silent {
            why: format!("{silent} ok answers have no log id that an entry can have"),
        };
    }
    prefixes(history, keys, &placed)
}

/// Rule 1.
fn one_log(history: &History, placed: &[Vec<Placed>]) -> Result<(), Contradiction> {
    let id = |placed: &Placed| history.invoked(placed.op.row);
    let mut all: Vec<&Placed> = placed.iter().flatten().collect();
    all.sort_by_key(|placed| (placed.place, placed.op.row));
    for pair in all.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let terms = if a.at.index == b.at.index {
            a.at.term == b.at.term
        } else {
            a.at.term <= b.at.term
        };
        let entries = a.place != b.place || a.role == Role::Looked;
        if !terms || !entries {
            let why = format!(
                "#{} and #{} name the entries {}.{} and {}.{}: {}.",
                id(a),
                id(b),
                a.at.term,
                a.at.index,
                b.at.term,
                b.at.index,
                if terms {
                    "an entry belongs to one operation"
                } else {
                    "terms never fall along a log"
                }
            );
            return Err(Contradiction {
                rule: Rule::OneLog,
                operations: vec![id(a), id(b)],
                why,
            });
        }
    }
    Ok(())
}

/// Rule 2: one pass over the events, with the highest place among the operations that have ended.
fn real_time(history: &History, placed: &[Vec<Placed>]) -> Result<(), Contradiction> {
    let mut events: Vec<(u64, bool, &Placed)> = Vec::new();
    for placed in placed.iter().flatten() {
        events.push((history.invoked(placed.op.row), false, placed));
        if let Some(completed) = history.completed(placed.op.row) {
            events.push((completed, true, placed));
        }
    }
    events.sort_unstable_by_key(|(event, ends, _)| (*event, *ends));
    let mut highest: Option<&Placed> = None;
    for (event, ends, placed) in events {
        if ends {
            if highest.is_none_or(|highest| highest.place < placed.place) {
                highest = Some(placed);
            }
            continue;
        }
        if let Some(before) = highest.filter(|before| before.place > placed.place) {
            let first = history.invoked(before.op.row);
            return Err(Contradiction {
                rule: Rule::RealTime,
                operations: vec![first, event],
                why: format!(
                    "#{first} ended before #{event} began, but stands behind it in the log: {} after {}.",
                    before.at.index, placed.at.index
                ),
            });
        }
    }
    Ok(())
}

/// Rule 3, and the witness.
fn prefixes(history: &History, keys: &[&KeyHistory], placed: &[Vec<Placed>]) -> Certificate {
    let entries = placed.iter().flatten();
    let taken: Vec<u64> = {
        let mut taken: Vec<u64> = entries
            .filter(|placed| placed.role != Role::Looked)
            .map(|placed| placed.at.index)
            .collect();
        taken.sort_unstable();
        taken
    };
    let ended = Ended::of(history, placed);
    // Place, whether it is a known one, begin, id: an unknown operation stands right before who asked for it.
    let mut witness: Vec<(Place, bool, u64, u64)> = Vec::new();
    let mut guessed = false;
    let mut needs = Vec::new();
    for (key, of_key) in keys.iter().zip(placed) {
        let mut replay = Replay {
            history,
            key,
            taken: &taken,
            unknown: Unknown::of(history, key, &ended),
            cell: match key.start {
                Start::Value(start) => start,
                Start::Absent | Start::Any => ABSENT,
            },
            last_entry: 0,
            differed: Vec::new(),
        };
        guessed |= replay.unknown.ambiguous;
        for placed in of_key {
            match replay.take(placed, &mut witness) {
                Ok(need) => needs.extend(need),
                Err(_) if guessed || replay.unknown.ambiguous => {
                    return Certificate::Silent {
                        why: format!(
                            "operations with unknown outcomes on {} may explain what #{} found",
                            key.name,
                            history.invoked(placed.op.row)
                        ),
                    };
                }
                Err(contradiction) => return Certificate::Contradiction(contradiction),
            }
        }
    }
    if let Some(need) = without_entry(needs, &taken) {
        let (unknown, asker) = (history.invoked(need.unknown), history.invoked(need.asker));
        if guessed {
            return Certificate::Silent {
                why: format!(
                    "unknown cas may take other entries than those that #{asker} leaves to #{unknown}"
                ),
            };
        }
        return Certificate::Contradiction(Contradiction {
            rule: Rule::OneLog,
            operations: vec![unknown, asker],
            why: format!(
                "#{asker} found what #{unknown} must have left at one of the entries {} to {}, but others need all that are free there.",
                need.first, need.last
            ),
        });
    }
    witness.sort_unstable();
    Certificate::Holds {
        witness: witness.into_iter().map(|(_, _, _, id)| id).collect(),
    }
}

/// An unknown operation that somebody found to have taken effect: it is one of these entries. Both ends count.
#[derive(Clone, Copy, Debug)]
struct Need {
    first: u64,
    last: u64,
    /// Its row, and that of who found it.
    unknown: u32,
    asker: u32,
}

/// Gives each its own entry, where that is possible; else one that is left without. The next free entry always goes to
/// whose last one comes first, which is as good as any choice. `taken` is in order.
fn without_entry(mut needs: Vec<Need>, taken: &[u64]) -> Option<Need> {
    needs.sort_unstable_by_key(|need| (need.first, need.unknown));
    let mut taken = taken.iter().copied().peekable();
    let mut waiting = BinaryHeap::new();
    let (mut next, mut entry) = (0, 0u64);
    while next < needs.len() || !waiting.is_empty() {
        if waiting.is_empty() {
            entry = entry.max(needs[next].first);
        }
        while let Some(other) = taken.next_if(|other| *other <= entry) {
            if other == entry {
                entry = entry.saturating_add(1);
            }
        }
        while let Some(need) = needs.get(next).filter(|need| need.first <= entry) {
            waiting.push(Reverse((need.last, next)));
            next += 1;
        }
        let Some(Reverse((last, at))) = waiting.pop() else {
            continue;
        };
        if last < entry {
            return Some(needs[at]);
        }
        entry = entry.saturating_add(1);
    }
    None
}

/// The highest place among the operations that had ended by each event.
struct Ended(Vec<(u64, Place)>);

impl Ended {
    fn of(history: &History, placed: &[Vec<Placed>]) -> Self {
        let mut ends: Vec<(u64, Place)> = placed
            .iter()
            .flatten()
            .filter_map(|placed| Some((history.completed(placed.op.row)?, placed.place)))
            .collect();
        ends.sort_unstable();
        let mut highest = (0, false);
        for (_, place) in &mut ends {
            highest = highest.max(*place);
            *place = highest;
        }
        Self(ends)
    }

    /// The highest place of what ended before `event`, where anything did.
    fn before(&self, event: u64) -> Option<Place> {
        let after = self.0.partition_point(|(end, _)| *end < event);
        after.checked_sub(1).map(|i| self.0[i].1)
    }
}

/// Operations of which nobody knows whether they took effect.
struct Unknown {
    /// By what they leave: those that set it whatever was there, as (the first entry that they may be, row).
    sets: BTreeMap<u32, BTreeSet<(u64, u32)>>,
    /// By what they leave: cas, as (expected, the first entry, row).
    cas: BTreeMap<u32, BTreeSet<(u32, u64, u32)>>,
    /// Whether there are cas among them, so that what explains a read may be a matter of choice.
    ambiguous: bool,
}

impl Unknown {
    fn of(history: &History, key: &KeyHistory, ended: &Ended) -> Self {
        let mut unknown = Self {
            sets: BTreeMap::new(),
            cas: BTreeMap::new(),
            ambiguous: false,
        };
        let open = |op: &&Op| op.ret == NEVER && op.kind != Kind::Read;
        for op in key.ops.iter().filter(open) {
            // Behind everything that had ended when it began: from this entry on.
            let from = ended
                .before(history.invoked(op.row))
                .map_or(0, |(index, _)| index + 1);
            if op.kind == Kind::Cas {
                unknown.ambiguous = true;
                let cas = unknown.cas.entry(op.value).or_default();
                cas.insert((op.old, from, op.row));
            } else {
                let sets = unknown.sets.entry(op.value).or_default();
                sets.insert((from, op.row));
            }
        }
        unknown
    }

    /// Whether one that may be an entry up to `last` leaves something else than `cell`.
    fn any_but(&self, cell: u32, last: u64) -> bool {
        let sets = self.sets.iter().filter(|(value, _)| **value != cell);
        let mut first = sets.filter_map(|(_, sets)| sets.first());
        first.any(|(from, _)| *from <= last) || !self.cas.is_empty()
    }

    /// Takes out one that may be an entry up to `last`, and leaves `value` where `cell` was: the first entry that it may
    /// be, and its row.
    fn take(&mut self, value: u32, cell: u32, last: u64) -> Option<(u64, u32)> {
        if let Some(sets) = self.sets.get_mut(&value)
            && let Some(first) = sets.first().copied().filter(|(from, _)| *from <= last)
        {
            sets.remove(&first);
            return Some(first);
        }
        let cas = self.cas.get_mut(&value)?;
        let first = *cas.range((cell, 0, 0)..).next()?;
        let fits = first.0 == cell && first.1 <= last;
        fits.then(|| {
            cas.remove(&first);
            (first.1, first.2)
        })
    }
}

/// One key, entry by entry.
struct Replay<'a> {
    history: &'a History,
    key: &'a KeyHistory,
    /// The indices of all entries that are known, in order.
    taken: &'a [u64],
    unknown: Unknown,
    cell: u32,
    /// The last entry up to which the key is settled: one of its own, or one that a read names.
    last_entry: u64,
    /// The entries since then at which something else than a value was there, and that value.
    differed: Vec<(u64, u32)>,
}

impl Replay<'_> {
    /// Takes the next operation in the log's order; gives what must have taken effect before it without a place of its
    /// own.
    fn take(
        &mut self,
        placed: &Placed,
        witness: &mut Vec<(Place, bool, u64, u64)>,
    ) -> Result<Option<Need>, Contradiction> {
        let mut need = None;
        let op = placed.op;
        let id = self.history.invoked(op.row);
        if placed.role == Role::Differed {
            return self.differs(placed);
        }
        let needs = match op.kind {
            Kind::Read => Some(op.value),
            Kind::Cas => Some(op.old),
            Kind::Write | Kind::Delete | Kind::Append => None,
        };
        if let Some(value) = needs.filter(|value| *value != self.cell) {
            // A read stands behind the entry that it names, so that may be the missing one; a cas names its own.
            let below = placed
                .at
                .index
                .saturating_add(u64::from(placed.role == Role::Looked));
            // Not before anybody who found something else.
            let differed = self.differed.iter().filter(|(_, other)| *other == value);
            let after = differed.map(|(entry, _)| *entry).max();
            let after = after.unwrap_or(self.last_entry);
            let row = (self.free(after, below) > 0)
                .then(|| self.unknown.take(value, self.cell, below - 1))
                .flatten();
            let Some((from, row)) = row else {
                return Err(self.not_there(placed, value));
            };
            need = Some(Need {
                first: from.max(after.saturating_add(1)),
                last: below - 1,
                unknown: row,
                asker: op.row,
            });
            let row_id = self.history.invoked(row);
            witness.push((placed.place, false, 0, row_id));
            self.cell = value;
        }
        if op.kind != Kind::Read {
            self.cell = op.value;
        }
        self.last_entry = placed.at.index;
        self.differed.clear();
        witness.push((placed.place, true, id, id));
        Ok(need)
    }

    /// A cas that failed finds anything but what it expected. Where that is what the entries leave, an operation with an
    /// unknown outcome may have come between: which one, and what else it explains then, is not followed.
    fn differs(&mut self, placed: &Placed) -> Result<Option<Need>, Contradiction> {
        if placed.op.old == self.cell {
            let may_be = self.free(self.last_entry, placed.at.index) > 0
                && self.unknown.any_but(self.cell, placed.at.index - 1);
            let id = self.history.invoked(placed.op.row);
            self.unknown.ambiguous |= may_be;
            return Err(Contradiction {
                rule: Rule::Prefix,
                operations: vec![id],
                why: format!(
                    "#{id} compared with {} at entry {} and failed, but that is what the entries up to there leave in {}.",
                    self.name(placed.op.old),
                    placed.at.index,
                    self.key.name
                ),
            });
        }
        self.differed.push((placed.at.index, placed.op.old));
        Ok(None)
    }

    fn name(&self, value: u32) -> String {
        match self.key.values.known(value) {
            Some(value) => self.history.names.text(value).into_owned(),
            None => "absent".to_owned(),
        }
    }

    /// How many entries behind one and below another are nobody's.
    fn free(&self, after: u64, below: u64) -> u64 {
        let between = below.saturating_sub(after.saturating_add(1));
        let from = self.taken.partition_point(|index| *index <= after);
        let to = self.taken.partition_point(|index| *index < below);
        between.saturating_sub(to.saturating_sub(from) as u64)
    }

    fn not_there(&self, placed: &Placed, value: u32) -> Contradiction {
        let id = self.history.invoked(placed.op.row);
        Contradiction {
            rule: Rule::Prefix,
            operations: vec![id],
            why: format!(
                "#{id} found {} at entry {}, but the entries up to there leave {} in {}.",
                self.name(value),
                placed.at.index,
                self.name(self.cell),
                self.key.name
            ),
        }
    }
}
