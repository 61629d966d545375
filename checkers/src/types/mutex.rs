//! Mutual exclusion: a mutex that anybody may release, and a lock that only its holder may.
//!
//! ```text
//!  client 1   ├─ acquire ─┤ held for certain ├─ release ─┤
//!  client 2                   ├─ acquire ─┤ held, too
//! ```

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use super::generate::{Asking, Machine, Planted, Step};
use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation, search};
use crate::linear::Options;
use crate::spec::Spec;

const ACQUIRE: &str = "acquire";
const RELEASE: &str = "release";

/// Its operations, and what people call them.
const OPERATIONS: &[&[&str]] = &[&[ACQUIRE, "lock"], &[RELEASE, "unlock"]];

/// A mutex that anybody may release.
pub(super) struct Mutex;

/// A lock that only its holder may release.
pub(super) struct Lock;

impl DataType for Mutex {
    fn name(&self) -> &'static str {
        "mutex"
    }

    fn about(&self) -> &'static str {
        "linearizability of Knossos' mutex: acquire and release take turns, whoever does them (--spec lock asks also that who releases holds it)"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        OPERATIONS
    }

    fn is_pure(&self, _: &str) -> bool {
        false
    }

    /// Lowe's just-in-time order, which needs no search here: an operation is placed only when its end comes up. If
    /// the mutex is not as it must be for it, one of the other kind has to come first, and of those that are open the
    /// one with the earliest end does: they are alike but for that, and a pair of them changes nothing, so that it can
    /// wait.
    fn judge(&self, ops: &[&Operation], _: &Options, _: bool) -> Judged {
        let mut calls = (0..ops.len()).filter(|at| !ops[*at].is_failed()).peekable();
        let mut ends: Vec<usize> = (0..ops.len()).filter(|at| ops[*at].end() != OPEN).collect();
        ends.sort_unstable_by_key(|at| ops[*at].end());
        // Those that have begun and are not placed, by what they make of it.
        let mut open: [BTreeSet<(u64, usize)>; 2] = Default::default();
        let (mut locked, mut last) = (false, None);
        for at in ends {
            while let Some(call) = calls.next_if(|call| ops[*call].id < ops[at].end()) {
                open[usize::from(ops[call].act == ACQUIRE)].insert((ops[call].end(), call));
            }
            let locks = ops[at].act == ACQUIRE;
            if !open[usize::from(locks)].contains(&(ops[at].end(), at)) {
                continue;
            }
            if locked == locks && open[usize::from(!locks)].pop_first().is_none() {
                return out_of_turn(ops, at, last);
            }
            open[usize::from(locks)].remove(&(ops[at].end(), at));
            (locked, last) = (locks, Some(at));
        }
        Judged::Holds
    }

    fn violations(&self) -> &'static [&'static str] {
        &["two-holders", "released-free"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Held { by: None })
    }
}

/// An operation that has ended, and for which the mutex is not as it must be.
fn out_of_turn(ops: &[&Operation], at: usize, last: Option<usize>) -> Judged {
    let op = ops[at];
    let (id, end) = (op.id, op.end());
    let both: Vec<usize> = last.into_iter().chain([at]).collect();
    if op.act == ACQUIRE {
        let held = last.map_or(0, |last| ops[last].id);
        let releases = ops
            .iter()
            .filter(|op| op.act == RELEASE && op.id < end && !op.is_failed());
        let spent = match releases.count() {
            0 => "and no release had begun".to_owned(),
            n => {
                format!(
                    "and of the {n} releases that had begun none is left: each ended an earlier hold"
                )
            }
        };
        let why = format!(
            "#{id} had acquired it when #{end} came, but #{held} held it already, {spent}: two hold it at once."
        );
        return Fault::found("two-holders", &both, at, why);
    }
    let why = format!(
        "#{id} had released it when #{end} came, but nobody held it: no acquire had begun that an earlier release did not end."
    );
    Fault::found("released-free", &both, at, why)
}

impl DataType for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["owned-mutex", "owner-mutex"]
    }

    fn about(&self) -> &'static str {
        "linearizability of a lock that one client holds at a time, and that only its holder releases (mutual exclusion by interval; Gibbons & Korach's zones)"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        OPERATIONS
    }

    fn is_sniffed(&self) -> bool {
        false
    }

    fn is_pure(&self, _: &str) -> bool {
        false
    }

    /// An acquire and the release of the same client stand side by side in every order, so each hold is a zone: no
    /// two may overlap. An acquire that nobody knows of and that no release followed need not have happened.
    fn judge(&self, ops: &[&Operation], options: &Options, _: bool) -> Judged {
        if goes_on(ops) {
            let step = |_, op: &Operation| Some((op.act == ACQUIRE, op.client));
            return search::judge(&Holder, ops, options, step);
        }
        let mut holds = match holds(ops) {
            Ok(holds) => holds,
            Err(fault) => return fault,
        };
        holds.sort_unstable_by_key(|hold| hold.first.min(hold.last));
        // Of the holds that certainly lasted for a while, the latest.
        let mut before: Option<Hold> = None;
        for hold in holds {
            if let Some(before) = before
                && hold.first < before.last
            {
                return overlap(ops, &before, &hold);
            }
            if hold.first < hold.last {
                before = Some(hold);
            }
        }
        Judged::Holds
    }

    fn violations(&self) -> &'static [&'static str] {
        &["two-holders", "released-by-another"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Held { by: None })
    }
}

/// What a client did between it got the lock and gave it back.
#[derive(Clone, Copy)]
struct Hold {
    acquire: usize,
    release: Option<usize>,
    /// When the first of the two had ended, and when the last of them began.
    first: u64,
    last: u64,
}

impl Hold {
    fn new(ops: &[&Operation], acquire: usize, release: Option<usize>) -> Self {
        let end = release.map_or(OPEN, |at| ops[at].end());
        Self {
            acquire,
            release,
            first: ops[acquire].end().min(end),
            last: release.map_or(OPEN, |at| ops[at].id),
        }
    }

    fn ops(&self) -> Vec<usize> {
        std::iter::once(self.acquire).chain(self.release).collect()
    }
}

/// The holds of all clients; or a client that released what it did not hold, or acquired what it held. A client whose
/// outcome is unknown does nothing after that: an acquire of it need not have happened, and a release may have.
fn holds(ops: &[&Operation]) -> Result<Vec<Hold>, Judged> {
    let mut begun: FxHashMap<u64, usize> = FxHashMap::default();
    let mut holds = Vec::new();
    for (at, op) in ops.iter().enumerate().filter(|(_, op)| !op.is_failed()) {
        let known = op.end() != OPEN;
        if op.act == ACQUIRE {
            if known && let Some(first) = begun.insert(op.client, at) {
                return Err(twice(ops, first, at));
            }
            continue;
        }
        match begun.remove(&op.client) {
            Some(acquire) => holds.push(Hold::new(ops, acquire, Some(at))),
            None if known => {
                let (id, client) = (op.id, op.client);
                let why =
                    format!("client {client} released the lock (#{id}), but did not hold it.");
                return Err(Fault::found("released-by-another", &[at], at, why));
            }
            None => {}
        }
    }
    holds.extend(
        begun
            .into_values()
            .map(|acquire| Hold::new(ops, acquire, None)),
    );
    Ok(holds)
}

/// Whether a client goes on though nobody knows what came of its last operation, which then may come at any time: some
/// files have that.
fn goes_on(ops: &[&Operation]) -> bool {
    let mut unknown = FxHashSet::default();
    ops.iter()
        .filter(|op| !op.is_failed())
        .any(|op| unknown.contains(&op.client) || op.end() == OPEN && !unknown.insert(op.client))
}

/// The lock as a machine: who holds it.
struct Holder;

impl Spec for Holder {
    type State = Option<u64>;
    type Op = (bool, u64);

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(&self, holder: &Option<u64>, (acquires, client): &(bool, u64)) -> Option<Option<u64>> {
        match (acquires, holder) {
            (true, None) => Some(Some(*client)),
            (false, Some(holder)) if holder == client => Some(None),
            _ => None,
        }
    }
}

fn twice(ops: &[&Operation], first: usize, again: usize) -> Judged {
    let why = format!(
        "client {} acquired the lock again (#{}) while it held it (#{}) and had not begun to release it.",
        ops[again].client, ops[again].id, ops[first].id
    );
    Fault::found("two-holders", &[first, again], again, why)
}

fn overlap(ops: &[&Operation], one: &Hold, other: &Hold) -> Judged {
    let held = |hold: &Hold| {
        let acquire = ops[hold.acquire];
        let (client, id) = (acquire.client, acquire.id);
        match (hold.first < hold.last, hold.release.map(|at| ops[at].id)) {
            (true, Some(release)) => format!(
                "client {client} (#{id}) held the lock at least from #{} to #{release}, when its release began",
                hold.first
            ),
            (true, None) => format!(
                "client {client} (#{id}) held the lock from #{} on and never began to release it",
                hold.first
            ),
            (false, _) => format!(
                "client {client} (#{id}) held the lock at some time between #{} and #{}",
                hold.last, hold.first
            ),
        }
    };
    let both = [one.ops(), other.ops()].concat();
    let culprit = both.iter().copied().max_by_key(|at| match ops[*at].end() {
        OPEN => 0,
        end => end,
    });
    let why = format!("{}; {}: two hold it at once.", held(one), held(other));
    Fault::found("two-holders", &both, culprit.unwrap_or_default(), why)
}

/// Who holds it.
struct Held {
    by: Option<u64>,
}

impl Machine for Held {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        let holds = self.by == Some(asking.client);
        (if holds { RELEASE } else { ACQUIRE }, Datum::Nil)
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        match (step.act, self.by) {
            (ACQUIRE, None) => self.by = Some(step.client),
            (RELEASE, Some(holder)) if holder == step.client => self.by = None,
            _ => return None,
        }
        Some(Datum::Nil)
    }

    /// Whoever goes away does not hold it.
    fn vanishes(&self, act: &'static str, _: bool) -> bool {
        act == RELEASE
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        let (one, other) = (asking.client, asking.client + 1);
        let step = |client, act| (client, act, Datum::Nil, Datum::Nil);
        let mut steps = Vec::from_iter(self.by.map(|holder| step(holder, RELEASE)));
        steps.push(step(one, ACQUIRE));
        // Each that nobody knows of explains one.
        let again = asking.unknown as u64 + 1;
        match kind {
            "two-holders" => steps.extend((0..again).map(|n| step(other + n, ACQUIRE))),
            "released-free" => steps.extend((0..=again).map(|_| step(one, RELEASE))),
            _ => steps.push(step(other, RELEASE)),
        }
        steps
    }
}
