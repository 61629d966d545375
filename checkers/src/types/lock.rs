//! Mutual exclusion by a lock that only its holder may release.
//!
//! ```text
//!  client 1   ├─ acquire ─┤ held for certain ├─ release ─┤
//!  client 2                   ├─ acquire ─┤ held, too
//! ```

use rustc_hash::{FxHashMap, FxHashSet};

use super::generate::Machine;
use super::mutex::{ACQUIRE, Held, OPERATIONS};
use super::online::{Follow, Followed};
use super::operation::OPEN;
use super::{DataType, Fault, Judged, Operation, Outcome, search};
use crate::history::ClientId;
use crate::linear::Options;
use crate::spec::Spec;

/// A lock that only its holder may release.
pub(super) struct Lock;

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

    fn follow(&self) -> Option<Box<dyn Follow>> {
        Some(Box::new(Holding::default()))
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["two-holders", "released-by-another", search::NO_ORDER]
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

/// Who holds it for certain while operations come: from the end of an acquire to the begin of its release.
#[derive(Default)]
struct Holding {
    holder: Option<ClientId>,
    /// Clients that have acquired it and not begun to release it, or whose release is open, and how often it had been
    /// acquired when that began.
    releasing: FxHashMap<ClientId, u64>,
    acquired: u64,
    /// Clients of which nobody knows what became of their last operation.
    gone: FxHashSet<ClientId>,
    lost: bool,
}

impl Follow for Holding {
    fn begins(&mut self, ops: &[Operation], at: usize) {
        let op = &ops[at];
        self.lost |= self.gone.contains(&op.client);
        if op.act != ACQUIRE && self.holder == Some(op.client) {
            self.holder = None;
            self.releasing.insert(op.client, self.acquired);
        }
    }

    fn ends(&mut self, ops: &[Operation], at: usize) -> Followed {
        let op = &ops[at];
        if self.lost {
            return Followed::Lost;
        }
        if op.outcome == Outcome::Unknown {
            self.gone.insert(op.client);
        }
        let known = matches!(op.outcome, Outcome::Ok(_));
        if op.act == ACQUIRE {
            if known && self.holder.replace(op.client).is_some() {
                return Followed::Violated;
            }
            self.acquired += u64::from(known);
            return Followed::Holds;
        }
        let held = self.releasing.remove(&op.client);
        match (&op.outcome, held) {
            (Outcome::Ok(_), None) => Followed::Violated,
            // It holds it still, and did so all the time.
            (Outcome::Failed, Some(acquired)) => {
                let alone = self.acquired == acquired;
                self.holder = Some(op.client);
                if alone {
                    Followed::Holds
                } else {
                    Followed::Violated
                }
            }
            _ => Followed::Holds,
        }
    }
}
