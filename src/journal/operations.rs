//! The operations that were seen, paired from the history's events, and their tallies over time.
//!
//! Events go in one by one ([`Operations::event`]); windows of operations and of tallies come out. Everything here is
//! append-only and ordered by time, so that a window is two binary searches away, however long the run was.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use checkers::history::{At, Call, ClientId, Event, EventKind, Outcome};
use checkers::types::Datum;
use checkers::types::operation::{self, Phase};

/// How much time one [`Tally`] covers.
pub const TALLY_NS: u64 = 100_000_000;

/// Latency classes: four to an octave from 0.1 ms.
const CLASSES: usize = 72;

/// One operation: an invocation and, when it is over, its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Index of its invocation among the history's events.
    pub invoked: u64,
    /// Index of its completion, when it has one.
    pub completed: Option<u64>,
    /// Who asked.
    pub client: ClientId,
    /// Its key, as a number of [`Operations::key_name`].
    pub key: u32,
    /// The node that was asked, or that answered when the completion names one.
    pub node: Option<u64>,
    /// What was asked.
    pub asked: Asked,
    /// How it ended; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// When it began.
    pub start_ns: u64,
    /// When it ended; for an open one, `u64::MAX`. An unknown one ended for its client, never for the register.
    pub end_ns: u64,
    /// The answer's log id.
    pub at: Option<At>,
    /// Why it failed or is unknown.
    pub error: Option<Box<str>>,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Of a register or a list.
    Call(Call),
    /// Of another data type: by which name, and in a few words with what, and what came of it.
    Typed {
        /// The operation's name.
        name: Box<str>,
        /// With what it was asked, or what was answered.
        with: Box<str>,
    },
}

impl Asked {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Asked::Call(call) => call.kind().name(),
            Asked::Typed { name, .. } => name,
        }
    }
}

/// A value in a few words.
fn shortly(value: &Datum) -> Box<str> {
    match value.items() {
        Some(items) if items.len() > 3 => format!("{} elements", items.len()).into(),
        _ if value.is_nil() => "".into(),
        _ => value.to_string().into(),
    }
}

impl Op {
    /// Whether it stays possible for ever: open, or ended without anybody knowing how.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        matches!(self.outcome, None | Some(Outcome::Unknown))
    }

    /// How long its client waited; `None` while it is open.
    #[must_use]
    pub fn latency_ns(&self) -> Option<u64> {
        (self.end_ns != u64::MAX).then(|| self.end_ns.saturating_sub(self.start_ns))
    }
}

/// What ended in one stretch of [`TALLY_NS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Ended ok.
    pub ok: u32,
    /// Failed.
    pub failed: u32,
    /// Unknown.
    pub unknown: u32,
    /// Latencies of those that ended ok, by class.
    latencies: [u16; CLASSES],
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            ok: 0,
            failed: 0,
            unknown: 0,
            latencies: [0; CLASSES],
        }
    }
}

impl Tally {
    /// All that ended.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.ok + self.failed + self.unknown
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Tally) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.unknown += other.unknown;
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// The latency that `share` of the ok operations did not exceed, within a tenth; `None` when none ended ok.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        let count: u64 = self.latencies.iter().map(|&n| u64::from(n)).sum();
        let wanted = ((count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        self.latencies.iter().enumerate().find_map(|(class, &n)| {
            seen += u64::from(n);
            (seen >= wanted).then(|| (100_000.0 * 2f64.powf((class as f64 + 0.5) / 4.0)) as u64)
        })
    }

    fn class(latency_ns: u64) -> usize {
        let octaves = (latency_ns as f64 / 100_000.0).max(1.0).log2();
        ((octaves * 4.0) as usize).min(CLASSES - 1)
    }
}

/// Everything that clients did, in the order in which it began.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    ops: Vec<Op>,
    open: BTreeMap<ClientId, usize>,
    /// Began before, not yet over: positions in `ops`.
    running: BTreeSet<usize>,
    names: Vec<Box<str>>,
    keys: Vec<String>,
    key_ids: HashMap<String, u32>,
    /// For each key, the positions of its operations.
    by_key: Vec<Vec<u32>>,
    /// For each key, how many of its operations ended unknown.
    unknowns: Vec<u32>,
    tallies: Vec<Tally>,
    longest_ns: u64,
    sums: [u64; 3],
}

impl Operations {
    /// Takes the next event of the history. A completion that answers nothing is ignored: the recorder never writes one.
    pub fn event(&mut self, event: &Event) {
        let Some(client) = event.client else { return };
        match &event.kind {
            EventKind::Invoke { key, call } => {
                self.invoke(event, client, key, Asked::Call(*call));
            }
            EventKind::Complete { outcome, at, error } => {
                if let Some(op) = self.complete(event, client, *outcome, error.as_deref()) {
                    op.at = *at;
                }
            }
            EventKind::Typed(typed) => self.typed(event, client, typed),
            EventKind::Mark(_) | EventKind::Gap { .. } => {}
        }
    }

    fn typed(&mut self, event: &Event, client: ClientId, typed: &operation::Event) {
        let asked = |with| Asked::Typed {
            name: typed.f.as_str().into(),
            with,
        };
        let outcome = match typed.phase {
            Phase::Invoke => {
                let key = typed
                    .key
                    .as_ref()
                    .map_or_else(String::new, Datum::to_string);
                return self.invoke(event, client, &key, asked(shortly(&typed.value)));
            }
            Phase::Ok => Outcome::Ok(None),
            Phase::Fail => Outcome::Failed,
            Phase::Info => Outcome::Unknown,
        };
        if let Some(op) = self.complete(event, client, outcome, typed.error.as_deref()) {
            op.asked = asked(shortly(&typed.value));
        }
    }

    fn complete(
        &mut self,
        event: &Event,
        client: ClientId,
        outcome: Outcome,
        error: Option<&str>,
    ) -> Option<&mut Op> {
        let position = self.open.remove(&client)?;
        self.running.remove(&position);
        let op = &mut self.ops[position];
        op.completed = Some(event.index);
        op.outcome = Some(outcome);
        op.end_ns = event.time_ns;
        op.node = event.node.or(op.node);
        op.error = error.map(Box::from);
        self.unknowns[op.key as usize] += u32::from(outcome == Outcome::Unknown);
        let latency_ns = event.time_ns.saturating_sub(op.start_ns);
        self.longest_ns = self.longest_ns.max(latency_ns);
        self.tally(event.time_ns, outcome, latency_ns);
        self.ops.get_mut(position)
    }

    fn invoke(&mut self, event: &Event, client: ClientId, key: &str, asked: Asked) {
        if !self.names.iter().any(|name| **name == *asked.name()) {
            self.names.push(asked.name().into());
        }
        let key = match self.key_ids.get(key) {
            Some(&id) => id,
            None => {
                let id = self.keys.len() as u32;
                self.keys.push(key.to_owned());
                self.key_ids.insert(key.to_owned(), id);
                self.by_key.push(Vec::new());
                self.unknowns.push(0);
                id
            }
        };
        let position = self.ops.len();
        self.by_key[key as usize].push(position as u32);
        self.open.insert(client, position);
        self.running.insert(position);
        self.ops.push(Op {
            invoked: event.index,
            completed: None,
            client,
            key,
            node: event.node,
            asked,
            outcome: None,
            start_ns: event.time_ns,
            end_ns: u64::MAX,
            at: None,
            error: None,
        });
    }

    fn tally(&mut self, end_ns: u64, outcome: Outcome, latency_ns: u64) {
        let slot = (end_ns / TALLY_NS) as usize;
        if self.tallies.len() <= slot {
            self.tallies.resize_with(slot + 1, Tally::default);
        }
        let tally = &mut self.tallies[slot];
        match outcome {
            Outcome::Ok(_) => {
                tally.ok += 1;
                let class = Tally::class(latency_ns);
                tally.latencies[class] = tally.latencies[class].saturating_add(1);
                self.sums[0] += 1;
            }
            Outcome::Failed | Outcome::Differed(_) => {
                tally.failed += 1;
                self.sums[1] += 1;
            }
            Outcome::Unknown => {
                tally.unknown += 1;
                self.sums[2] += 1;
            }
        }
    }

    /// All operations, by their beginning.
    #[must_use]
    pub fn all(&self) -> &[Op] {
        &self.ops
    }

    /// How many ended ok, failed, unknown.
    #[must_use]
    pub fn sums(&self) -> [u64; 3] {
        self.sums
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether they are of another data type than register and list.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        matches!(self.ops.first(), Some(op) if matches!(op.asked, Asked::Typed { .. }))
    }

    /// What was asked for so far, by name.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// A key's name.
    #[must_use]
    pub fn key_name(&self, key: u32) -> &str {
        self.keys.get(key as usize).map_or("?", String::as_str)
    }

    /// How many keys were used.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The number of a key, when it was used.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<u32> {
        self.key_ids.get(name).copied()
    }

    /// The positions of a key's operations.
    #[must_use]
    pub fn of_key(&self, key: u32) -> &[u32] {
        self.by_key.get(key as usize).map_or(&[], Vec::as_slice)
    }

    /// How many of a key's operations ended unknown.
    #[must_use]
    pub fn unknown_of(&self, key: u32) -> u32 {
        self.unknowns.get(key as usize).copied().unwrap_or(0)
    }

    /// The operations that are open.
    pub fn running(&self) -> impl Iterator<Item = &Op> {
        self.running.iter().map(|&at| &self.ops[at])
    }

    /// Position of the operation whose invocation or completion has this index among the history's events.
    #[must_use]
    pub fn by_event(&self, index: u64) -> Option<usize> {
        if let Ok(position) = self.ops.binary_search_by_key(&index, |op| op.invoked) {
            return Some(position);
        }
        let before = self.ops.partition_point(|op| op.invoked < index);
        self.ops[..before]
            .iter()
            .rposition(|op| op.completed == Some(index))
    }

    /// Position of the first operation that began at or after `time_ns`.
    #[must_use]
    pub fn first_from(&self, time_ns: u64) -> usize {
        self.ops.partition_point(|op| op.start_ns < time_ns)
    }

    /// Positions of the operations that a window shows, in order: those that overlap it. An unknown one is shown until
    /// the window has passed its beginning, an open one always.
    #[must_use]
    pub fn window(&self, from_ns: u64, to_ns: u64) -> Vec<usize> {
        let reach = self.first_from(from_ns.saturating_sub(self.longest_ns));
        let (first, last) = (
            self.first_from(from_ns),
            self.first_from(to_ns.saturating_add(1)),
        );
        let mut positions: Vec<usize> = self
            .running
            .iter()
            .copied()
            .take_while(|&at| at < reach)
            .collect();
        positions.extend((reach..first).filter(|&at| {
            let op = &self.ops[at];
            op.end_ns >= from_ns && op.outcome != Some(Outcome::Unknown)
        }));
        positions.extend(first..last.max(first));
        positions
    }

    /// The tallies of `count` stretches of `step` tallies each, the last one ending with the stretch that holds
    /// `until_ns`. A stretch before the run is empty.
    #[must_use]
    pub fn tallies(&self, until_ns: u64, step: usize, count: usize) -> Vec<Tally> {
        let step = step.max(1);
        // Stretches are aligned to multiples of `step`, so that a value does not change as time goes by.
        let last = (until_ns / TALLY_NS) as usize / step;
        (0..count)
            .map(|back| {
                let mut sum = Tally::default();
                if let Some(slot) = (last + back + 1).checked_sub(count) {
                    for tally in self.tallies.iter().skip(slot * step).take(step) {
                        sum.add(tally);
                    }
                }
                sum
            })
            .collect()
    }

    /// What ended in the `span_ns` before `until_ns`.
    #[must_use]
    pub fn recent(&self, until_ns: u64, span_ns: u64) -> Tally {
        let (from, to) = (
            until_ns.saturating_sub(span_ns) / TALLY_NS,
            until_ns / TALLY_NS,
        );
        let mut sum = Tally::default();
        for tally in self
            .tallies
            .iter()
            .skip(from as usize)
            .take((to - from).max(1) as usize)
        {
            sum.add(tally);
        }
        sum
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn invoke(index: u64, time_ms: u64, client: u64, key: &str, call: Call) -> Event {
        let kind = EventKind::Invoke {
            key: key.into(),
            call,
        };
        Event {
            index,
            time_ns: time_ms * 1_000_000,
            client: Some(client),
            node: Some(1),
            kind,
        }
    }

    pub(crate) fn complete(index: u64, time_ms: u64, client: u64, outcome: Outcome) -> Event {
        let error = match outcome {
            Outcome::Ok(_) => None,
            Outcome::Failed | Outcome::Differed(_) => Some("not leader".to_owned()),
            Outcome::Unknown => Some("timeout".to_owned()),
        };
        let kind = EventKind::Complete {
            outcome,
            at: None,
            error,
        };
        Event {
            index,
            time_ns: time_ms * 1_000_000,
            client: Some(client),
            node: None,
            kind,
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_window_shows_what_overlaps_it_and_an_unknown_one_until_its_beginning_has_passed() {
        let mut operations = Operations::default();
        for event in [
            invoke(0, 0, 1, "a", Call::Read),
            invoke(1, 10, 2, "a", Call::Write(1)),
            invoke(2, 20, 3, "b", Call::Delete),
            complete(3, 30, 1, Outcome::Ok(None)),
            complete(4, 40, 2, Outcome::Unknown),
            invoke(5, 50, 1, "a", Call::Read),
        ] {
            operations.event(&event);
        }
        assert_eq!(operations.window(0, 100 * MS), [0, 1, 2, 3]);
        assert_eq!(operations.window(5 * MS, 45 * MS), [0, 1, 2]);
        assert_eq!(
            operations.window(25 * MS, 45 * MS),
            [0, 2],
            "the unknown write began before the window"
        );
        assert_eq!(
            operations.window(35 * MS, 45 * MS),
            [2],
            "the open delete is shown for ever"
        );
        assert_eq!(operations.by_event(4), Some(1));
        assert_eq!(operations.by_event(5), Some(3));
        assert_eq!(operations.by_event(99), None);
    }

    #[test]
    fn quantiles_are_within_a_tenth() {
        let mut operations = Operations::default();
        for i in 0..100 {
            operations.event(&invoke(2 * i, i * 1000, 1, "a", Call::Read));
            operations.event(&complete(2 * i + 1, i * 1000 + i + 1, 1, Outcome::Ok(None)));
        }
        let all = operations.recent(100_000 * MS, 100_000 * MS);
        for (share, expected_ms) in [(0.5, 50.0), (0.99, 99.0), (0.1, 10.0)] {
            let found_ms = all.quantile_ns(share).unwrap() as f64 / MS as f64;
            assert!(
                (found_ms / expected_ms - 1.0).abs() < 0.13,
                "p{share}: {found_ms} ms, expected {expected_ms} ms"
            );
        }
        assert_eq!(Tally::default().quantile_ns(0.5), None);
    }

    #[test]
    fn tallies_are_aligned_and_empty_before_the_run() {
        let mut operations = Operations::default();
        operations.event(&invoke(0, 0, 1, "a", Call::Read));
        operations.event(&complete(1, 50, 1, Outcome::Ok(None)));
        operations.event(&invoke(2, 60, 1, "a", Call::Read));
        operations.event(&complete(3, 250, 1, Outcome::Failed));
        let totals = |until_ms: u64, step, count| -> Vec<u32> {
            operations
                .tallies(until_ms * MS, step, count)
                .iter()
                .map(Tally::total)
                .collect()
        };
        assert_eq!(totals(299, 1, 5), [0, 0, 1, 0, 1]);
        assert_eq!(totals(399, 2, 3), [0, 1, 1]);
    }
}
