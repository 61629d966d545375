//! The recent operations of one key, for evidence: a ring with a bound.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::tail::Pace;
use crate::format::sink::Moment;
use crate::history::{
    ABSENT, At, Call, ClientId, End, Initial, KeyHistory, Kind, NEVER, Op, Operation, Outcome,
    Start, Value, Values,
};
use crate::linear::evidence::{Ground, prove};
use crate::linear::{Judgement, Options, gaps, judge_key, starts, strict};
use crate::verdict::Counterexample;

/// Operations that each key remembers in any case.
const FEW: usize = 16;

/// Configurations that may be visited to see whether what is on record proves a violation: somebody waits for the alarm.
const PROOF: u64 = 200_000;

/// Operations that each of so many keys remembers: 16 MB together, less where memory is short.
pub(super) fn room(memory: u64, keys: usize) -> usize {
    let bytes = (memory / 8).min(16 << 20) as usize;
    (bytes / size_of::<Entry>() / keys.max(1)).max(FEW)
}

/// Bytes that the rings take at most where there are few keys.
pub(in crate::linear) fn bytes(memory: u64) -> u64 {
    (room(memory, 1) * size_of::<Entry>()) as u64
}

/// How long an operation took, where it is still open.
const OPEN: u32 = u32::MAX;

/// An absent log index, node, or one that does not fit.
const NOT_KNOWN: u32 = u32::MAX;

/// One operation, without its words, in 64 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    invoked: u64,
    invoked_ns: u64,
    took_ns: u64,
    client: ClientId,
    /// What is written or was found.
    value: Value,
    /// What a cas expects.
    old: Value,
    /// Events from its begin to its end.
    took: u32,
    term: u32,
    index: u32,
    node: u16,
    kind: Kind,
    ended: Ended,
}

/// How an operation ended, in a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Found,
    Ok,
    Failed,
    /// What it found stands in [`Record::found`].
    Differed,
    Unknown,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Record {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    base: u64,
    /// What failed cas found, by number.
    found: FxHashMap<u64, Option<Value>>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            base: 0,
            found: FxHashMap::default(),
        }
    }

    /// An operation begins; gives its number. The oldest are forgotten where there are more than `room`.
    pub(super) fn begin(&mut self, from: &Moment, call: Call, room: usize) -> u64 {
        if self.entries.len() >= room {
            self.forget(room);
        }
        let (kind, value, old) = match call {
            Call::Read => (Kind::Read, 0, 0),
            Call::Write(value) => (Kind::Write, value, 0),
            Call::Cas { old, new } => (Kind::Cas, new, old),
            Call::Delete => (Kind::Delete, 0, 0),
            Call::Append(value) => (Kind::Append, value, 0),
        };
        self.entries.push_back(Entry {
            invoked: from.index,
            invoked_ns: from.time_ns,
            took_ns: 0,
            client: from.client,
            value,
            old,
            took: OPEN,
            term: NOT_KNOWN,
            index: NOT_KNOWN,
            node: short(from.node),
            kind,
            ended: Ended::Unknown,
        });
        self.base + self.entries.len() as u64 - 1
    }

    #[cold]
    fn forget(&mut self, room: usize) {
        while self.entries.len() >= room {
            self.entries.pop_front();
            self.found.remove(&self.base);
            self.base += 1;
        }
        // Other keys came, and this one's share is smaller now.
        if self.entries.capacity() > room * 4 {
            self.entries.shrink_to(room);
        }
    }

    /// An operation ends.
    pub(super) fn complete(
        &mut self,
        number: u64,
        from: &Moment,
        outcome: Outcome,
        at: Option<At>,
    ) {
        let Some(i) = number.checked_sub(self.base) else {
            return;
        };
        let entry = &mut self.entries[i as usize];
        let took = from.index.saturating_sub(entry.invoked);
        entry.took = u32::try_from(took).unwrap_or(OPEN).min(OPEN - 1);
        entry.took_ns = from.time_ns.wrapping_sub(entry.invoked_ns);
        entry.ended = match outcome {
            Outcome::Ok(Some(found)) => {
                if entry.kind == Kind::Read {
                    entry.value = found;
                }
                Ended::Found
            }
            Outcome::Ok(None) => Ended::Ok,
            Outcome::Failed => Ended::Failed,
            Outcome::Differed(found) => {
                self.found.insert(number, found);
                Ended::Differed
            }
            Outcome::Unknown => Ended::Unknown,
        };
        if let Some(at) = at
            && let (Ok(term), Ok(index)) = (u32::try_from(at.term), u32::try_from(at.index))
        {
            (entry.term, entry.index) = (term, index);
        }
        if from.node.is_some() {
            entry.node = short(from.node);
        }
    }

    /// An operation for people, if it is still on record.
    pub(super) fn operation(&self, number: u64, key: &str) -> Option<Operation> {
        let i = number.checked_sub(self.base)?;
        let operation = self.entries.get(i as usize)?.operation(key);
        let found = self.found.get(&number).copied();
        Some(match found.filter(|_| operation.outcome.is_failed()) {
            Some(found) => Operation {
                outcome: Outcome::Differed(found),
                ..operation
            },
            None => operation,
        })
    }

    /// The evidence for a violation that came with `event`, of what began at event `behind` or later: before that, events
    /// are lost. Where what proves it was forgotten, that is said, and the operation that brought it to light stands alone.
    pub(super) fn evidence(
        &self,
        key: &str,
        event: u64,
        behind: u64,
        initial: Initial,
        pace: Pace,
        options: &Options,
    ) -> Counterexample {
        let mut values = Values::default();
        let skipped = self.entries.partition_point(|entry| entry.invoked < behind);
        let entries: Vec<&Entry> = self
            .entries
            .range(skipped..)
            .take_while(|entry| entry.invoked <= event)
            .collect();
        let number = |row: u32| self.base + skipped as u64 + u64::from(row);
        let mut ops: Vec<Op> = (0..)
            .zip(&entries)
            .map(|(row, entry)| {
                let found = self.found.get(&number(row)).copied();
                entry.op(row, event, found, &mut values)
            })
            .collect();
        // Who found what it compared with, and failed, contradicts itself: nothing else is needed to see that.
        let itself = (0..).zip(&entries).find(|(row, entry)| {
            let same = self.found.get(&number(*row)) == Some(&Some(entry.old));
            entry.ends_at(event) && entry.ended == Ended::Differed && same
        });
        let mut all = self.base == 0 && behind == 0;
        if let Some((row, _)) = itself {
            ops = vec![ops[row as usize]];
            all = true;
        } else if behind == 0 && !all {
            drop_orphans(&mut ops);
        }
        let mut events = number_positions(&mut ops, &entries, event);
        if itself.is_none() && behind > 0 {
            (ops, events) = gaps::alone(&ops, &values, events);
        }
        // What is forgotten, or lost, has come after it.
        let start = match initial {
            Initial::Value(value) if all => Start::Value(values.number(value)),
            Initial::Any if all => Start::Any,
            Initial::Absent | Initial::Value(_) | Initial::Any => Start::Absent,
        };
        let on_record = KeyHistory {
            name: key.to_owned(),
            start,
            compared: match behind {
                0 => (0..)
                    .zip(&entries)
                    .filter(|(_, entry)| entry.compared(event))
                    .map(|(row, _)| row)
                    .collect(),
                _ => Vec::new(),
            },
            ops,
            events,
            values,
            ..KeyHistory::default()
        };
        let describe = |row| {
            self.operation(number(row), key)
                .unwrap_or_else(|| entries[row as usize].operation(key))
        };
        if all && on_record.compared.is_empty() {
            let values = &on_record.values;
            let ground = Ground { start, values };
            let mut found = prove(on_record.ops.clone(), &ground, event, options, &describe);
            // Who reads a file may not know how it began; who watches a run does.
            if pace == Pace::InTheEnd && itself.is_none() {
                let text = |value: Value| value.to_string();
                let said = starts::said(&on_record, events.saturating_sub(1), options, &text);
                found.why.extend(said);
            }
            return found;
        }
        let brief = Options {
            budget: options.budget.min(PROOF),
            ..*options
        };
        let proves =
            |on_record: &KeyHistory| judge_key(on_record, &brief).judgement == Judgement::Fails;
        let without = KeyHistory {
            compared: Vec::new(),
            ..on_record.clone()
        };
        if proves(&without) {
            let values = &without.values;
            let ground = Ground { start, values };
            return prove(without.ops, &ground, event, options, &describe);
        }
        if on_record.compared.is_empty() || !proves(&on_record) {
            return self.forgotten(key, event);
        }
        let teller = strict::Teller {
            describe: &describe,
            names: None,
        };
        let word = strict::Word::Compared;
        Counterexample {
            event,
            ..strict::explain(&on_record, events - 1, word, options, &teller)
        }
    }

    /// What is left to say where the evidence is no longer on record.
    fn forgotten(&self, key: &str, event: u64) -> Counterexample {
        let ended = self.entries.iter().position(|entry| entry.ends_at(event));
        let ended = ended.and_then(|i| self.operation(self.base + i as u64, key));
        let operations: Vec<Operation> = ended.into_iter().collect();
        let first = self.entries.front().map_or(0, |entry| entry.invoked);
        Counterexample {
            key: key.to_owned(),
            why: vec![format!(
                "what ended with event {event} fits nowhere any more, but the operations that prove it began before \
                 event {first} and were forgotten while the history went by, or are too many: check the whole history to see \
                 them"
            )],
            order: Vec::new(),
            staleness: None,
            typed: None,
            culprit: operations.first().map_or(0, |op| op.id),
            operations,
            event,
            at_the_latest: false,
            unshrunk: false,
        }
    }
}

/// A node in short; one that does not fit is forgotten rather than mistaken for another.
fn short(node: Option<u64>) -> u16 {
    node.and_then(|node| u16::try_from(node).ok())
        .unwrap_or(u16::MAX)
}

impl Entry {
    /// The event of its end; the last there is while it is open.
    fn completed(&self) -> u64 {
        match self.took {
            OPEN => u64::MAX,
            took => self.invoked + u64::from(took),
        }
    }

    /// Whether it ended by `event`.
    fn ended(&self, event: u64) -> bool {
        self.completed() <= event
    }

    /// Whether it is a cas that failed by `event`, not because it was refused, and does not say what it found.
    fn compared(&self, event: u64) -> bool {
        let failed = self.kind == Kind::Cas && self.ended == Ended::Failed;
        failed && self.index != NOT_KNOWN && self.ended(event)
    }

    fn ends_at(&self, event: u64) -> bool {
        self.completed() == event
    }

    /// As the algorithms see it, right after `event`; positions are given later.
    fn op(&self, row: u32, event: u64, found: Option<Option<Value>>, values: &mut Values) -> Op {
        let ended = self.ended(event);
        if let (true, Ended::Differed, Some(found)) = (ended, self.ended, found) {
            // It found that, as a read does.
            let value = match found {
                None => ABSENT,
                Some(found) if found == self.old => values.another(found),
                Some(found) => values.number(found),
            };
            return Op {
                call: 0,
                ret: NEVER,
                value,
                old: ABSENT,
                row,
                kind: Kind::Read,
                end: End::Ok,
            };
        }
        let (value, old) = match self.kind {
            Kind::Read if ended && self.ended == Ended::Found => {
                (values.number(self.value), ABSENT)
            }
            Kind::Read | Kind::Delete => (ABSENT, ABSENT),
            Kind::Write | Kind::Append => (values.number(self.value), ABSENT),
            Kind::Cas => (values.number(self.value), values.number(self.old)),
        };
        let end = match self.ended {
            _ if !ended => End::Unknown,
            Ended::Ok | Ended::Found => End::Ok,
            Ended::Failed | Ended::Differed => End::Failed,
            Ended::Unknown => End::Unknown,
        };
        Op {
            call: 0,
            ret: NEVER,
            value,
            old,
            row,
            kind: self.kind,
            end,
        }
    }

    fn operation(&self, key: &str) -> Operation {
        let ended = self.took != OPEN;
        let call = match self.kind {
            Kind::Read => Call::Read,
            Kind::Write => Call::Write(self.value),
            Kind::Cas => Call::Cas {
                old: self.old,
                new: self.value,
            },
            Kind::Delete => Call::Delete,
            Kind::Append => Call::Append(self.value),
        };
        Operation {
            id: self.invoked,
            client: self.client,
            key: key.to_owned(),
            call,
            outcome: match self.ended {
                Ended::Found => Outcome::Ok(Some(self.value)),
                Ended::Ok => Outcome::Ok(None),
                Ended::Failed | Ended::Differed => Outcome::Failed,
                Ended::Unknown => Outcome::Unknown,
            },
            invoked: self.invoked,
            completed: ended.then(|| self.completed()),
            invoked_ns: self.invoked_ns,
            completed_ns: ended.then(|| self.invoked_ns.wrapping_add(self.took_ns)),
            node: (self.node != u16::MAX).then_some(u64::from(self.node)),
            at: (self.index != NOT_KNOWN).then_some(At {
                term: u64::from(self.term),
                index: u64::from(self.index),
            }),
            error: None,
        }
    }
}

/// Gives positions to begins and ends, in order of their events; gives how many there are.
fn number_positions(ops: &mut [Op], entries: &[&Entry], last: u64) -> u32 {
    let mut moments: Vec<(u64, u32, bool)> = Vec::with_capacity(ops.len() * 2);
    for (i, op) in ops.iter().enumerate() {
        let entry = entries[op.row as usize];
        moments.push((entry.invoked, i as u32, false));
        if op.end != End::Unknown && entry.ended(last) {
            moments.push((entry.completed(), i as u32, true));
        }
    }
    moments.sort_unstable();
    let events = moments.len() as u32;
    for (position, (_, i, ends)) in moments.into_iter().enumerate() {
        let op = &mut ops[i as usize];
        *if ends { &mut op.ret } else { &mut op.call } = position as u32;
    }
    events
}

/// Where the beginning was dropped, answers about it prove nothing: reads of it go, cas on it become writes.
fn drop_orphans(ops: &mut Vec<Op>) {
    let written: FxHashSet<u32> = ops
        .iter()
        .filter(|op| op.kind != Kind::Read)
        .map(|op| op.value)
        .collect();
    ops.retain(|op| op.kind != Kind::Read || (op.value != ABSENT && written.contains(&op.value)));
    for op in ops {
        if op.kind == Kind::Cas && !written.contains(&op.old) {
            op.kind = Kind::Write;
        }
    }
}
