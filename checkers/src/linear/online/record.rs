//! The recent operations of one key, for evidence and for a replay: a ring with a bound.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::prove;
use crate::history::{
    ABSENT, At, Call, ClientId, End, Event, EventKind, Kind, NEVER, Op, Operation, Outcome, Value,
    Values,
};
use crate::linear::Options;
use crate::verdict::Counterexample;

/// Operations that one key remembers: about 100 MB of them.
const MOST: usize = 1 << 20;

/// Operations that each key remembers in any case.
const FEW: usize = 64;

/// Operations that all keys together remember within a quarter of this memory.
pub(super) fn room(memory: u64) -> usize {
    (memory / 4) as usize / size_of::<Entry>()
}

/// Still open.
const OPEN: u64 = u64::MAX;

/// One operation, without its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) invoked: u64,
    /// [`u64::MAX`] while it is open.
    pub(super) completed: u64,
    pub(super) call: Call,
    pub(super) outcome: Outcome,
    client: ClientId,
    invoked_ns: u64,
    completed_ns: u64,
    node: Option<u32>,
    at: Option<At>,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Record {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    base: u64,
    last_event: u64,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            base: 0,
            last_event: 0,
        }
    }

    /// How many operations it remembers.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// An operation begins; gives its number. Without `room`, another one is forgotten for it.
    pub(super) fn begin(&mut self, event: &Event, client: ClientId, call: Call, room: bool) -> u64 {
        if self.entries.len() == MOST || (!room && self.entries.len() > FEW) {
            self.entries.pop_front();
            self.base += 1;
        }
        self.last_event = event.index;
        self.entries.push_back(Entry {
            invoked: event.index,
            completed: OPEN,
            call,
            outcome: Outcome::Unknown,
            client,
            invoked_ns: event.time_ns,
            completed_ns: 0,
            node: event.node.and_then(|node| u32::try_from(node).ok()),
            at: None,
        });
        self.base + self.entries.len() as u64 - 1
    }

    /// An operation ends.
    pub(super) fn complete(&mut self, number: u64, event: &Event) {
        self.last_event = event.index;
        let Some(i) = number.checked_sub(self.base) else {
            return;
        };
        let entry = &mut self.entries[i as usize];
        entry.completed = event.index;
        entry.completed_ns = event.time_ns;
        if let EventKind::Complete { outcome, at, .. } = &event.kind {
            entry.outcome = *outcome;
            entry.at = *at;
        }
        if let Some(node) = event.node {
            entry.node = u32::try_from(node).ok();
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        let i = number.checked_sub(self.base)?;
        self.entries.get(i as usize)
    }

    /// Whether nothing has been dropped yet.
    pub(super) fn is_whole(&self) -> bool {
        self.base == 0
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.entries.len() * size_of::<Entry>()) as u64
    }

    pub(super) fn last_event(&self) -> u64 {
        self.last_event
    }

    /// Numbers of the operations that are remembered.
    pub(super) fn numbers(&self) -> std::ops::Range<u64> {
        self.base..self.base + self.entries.len() as u64
    }

    /// How many remembered operations had ended by an event, with those that were dropped.
    pub(super) fn ended_by(&self, event: Option<u64>) -> u64 {
        let Some(event) = event else { return 0 };
        let ended = self.entries.iter().filter(|entry| entry.completed <= event);
        self.base + ended.count() as u64
    }

    /// Some operations that are open now, for people.
    pub(super) fn open_operations(&self, key: &str, most: usize) -> Vec<Operation> {
        self.entries
            .iter()
            .rev()
            .filter(|entry| entry.completed == OPEN)
            .take(most)
            .map(|entry| entry.operation(key))
            .collect()
    }

    /// The evidence for a violation that came with `event`.
    pub(super) fn evidence(&self, key: &str, event: u64, options: &Options) -> Counterexample {
        let mut values = Values::default();
        let entries: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.invoked <= event)
            .collect();
        let mut ops: Vec<Op> = entries
            .iter()
            .enumerate()
            .map(|(row, entry)| entry.op(row as u32, event, &mut values))
            .collect();
        number_positions(&mut ops, &entries, event);
        if !self.is_whole() {
            drop_orphans(&mut ops);
        }
        prove(ops, &values, event, options, &|row| {
            entries[row as usize].operation(key)
        })
    }
}

impl Entry {
    /// Whether it ended by `event`.
    pub(super) fn ended(&self, event: u64) -> bool {
        self.completed <= event
    }

    /// As the algorithms see it, right after `event`; positions are given later.
    pub(super) fn op(&self, row: u32, event: u64, values: &mut Values) -> Op {
        let mut number = |value: Value| values.number(value);
        let (kind, value, old) = match self.call {
            Call::Read => match self.outcome {
                Outcome::Ok(Some(found)) if self.ended(event) => {
                    (Kind::Read, number(found), ABSENT)
                }
                _ => (Kind::Read, ABSENT, ABSENT),
            },
            Call::Write(value) => (Kind::Write, number(value), ABSENT),
            Call::Append(value) => (Kind::Append, number(value), ABSENT),
            Call::Delete => (Kind::Delete, ABSENT, ABSENT),
            Call::Cas { old, new } => (Kind::Cas, number(new), number(old)),
        };
        let end = match self.outcome {
            _ if !self.ended(event) => End::Unknown,
            Outcome::Ok(_) => End::Ok,
            Outcome::Failed => End::Failed,
            Outcome::Unknown => End::Unknown,
        };
        Op {
            call: 0,
            ret: NEVER,
            value,
            old,
            row,
            kind,
            end,
        }
    }

    fn operation(&self, key: &str) -> Operation {
        let ended = self.completed != OPEN;
        Operation {
            id: self.invoked,
            client: self.client,
            key: key.to_owned(),
            call: self.call,
            outcome: self.outcome,
            invoked: self.invoked,
            completed: ended.then_some(self.completed),
            invoked_ns: self.invoked_ns,
            completed_ns: ended.then_some(self.completed_ns),
            node: self.node.map(u64::from),
            at: self.at,
            error: None,
        }
    }
}

/// Gives positions to begins and ends, in order of their events.
fn number_positions(ops: &mut [Op], entries: &[&Entry], last: u64) {
    let mut moments: Vec<(u64, u32, bool)> = Vec::with_capacity(ops.len() * 2);
    for (i, (op, entry)) in ops.iter().zip(entries).enumerate() {
        moments.push((entry.invoked, i as u32, false));
        if op.end != End::Unknown && entry.ended(last) {
            moments.push((entry.completed, i as u32, true));
        }
    }
    moments.sort_unstable();
    for (position, (_, i, ends)) in moments.into_iter().enumerate() {
        let op = &mut ops[i as usize];
        *if ends { &mut op.ret } else { &mut op.call } = position as u32;
    }
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
