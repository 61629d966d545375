//! A breadth-first search of our own: complete, one thread, and the first violation that it meets is a shortest one.
//!
//! stateright's search reports the *last* counterexample that it met, and pays for paths it seldom needs. This one
//! keeps 8 bytes a state (an open table of fingerprints) and two levels of states; with a trail asked for, 12 more.
//! `tests` hold its counts against stateright's, so that neither is believed alone.

use serde::Serialize;

use super::raft::{Action, Invariant, Raft, seen};
use super::state::State;

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many different states were reached.
    pub unique: u64,
    /// How many steps led to a state, new or not; steps that change nothing are not counted.
    pub generated: u64,
    /// The depth of the deepest state.
    pub depth: u32,
    /// The most bytes that the search held at a time.
    pub bytes: u64,
    /// How often each kind of action changed a state, by [`Action::KINDS`].
    pub fired: [u64; Action::KINDS.len()],
    /// What was sometimes met: for each of [`seen::NAMES`], the least depth, if any.
    pub seen: [Option<u32>; seen::NAMES.len()],
    /// The first violation.
    pub violation: Option<Violation>,
}

/// A broken invariant and the shortest way to it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which invariant.
    pub invariant: Invariant,
    /// The steps from the initial state.
    pub actions: Vec<Action>,
}

/// Whether a search keeps the way to each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Trail {
    /// Only counts: a violation is found but not told.
    Forget,
    /// A parent and an action a state.
    Keep,
}

/// A set of fingerprints: open addressing, never more than 5/8 full.
#[derive(Debug)]
pub struct Fingerprints {
    table: Vec<u64>,
    used: usize,
}

impl Default for Fingerprints {
    fn default() -> Self {
        Fingerprints {
            table: vec![0; 1 << 12],
            used: 0,
        }
    }
}

impl Fingerprints {
    /// Whether it is where it would be in an uncrowded table: then it is surely known.
    #[inline(always)]
    fn at_home(&self, fingerprint: u64) -> bool {
        self.table[fingerprint as usize & (self.table.len() - 1)] == fingerprint
    }

    /// Adds one; whether it is new.
    #[inline]
    pub fn insert(&mut self, fingerprint: u64) -> bool {
        let mask = self.table.len() - 1;
        let mut at = fingerprint as usize & mask;
        loop {
            match self.table[at] {
                0 => break,
                there if there == fingerprint => return false,
                _ => at = (at + 1) & mask,
            }
        }
        self.table[at] = fingerprint;
        self.used += 1;
        if self.used * 8 > self.table.len() * 5 {
            self.grow();
        }
        true
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.table);
        self.table = vec![0; old.len() * 2];
        let mask = self.table.len() - 1;
        for fingerprint in old.into_iter().filter(|&f| f != 0) {
            let mut at = fingerprint as usize & mask;
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = fingerprint;
        }
    }

    fn bytes(&self) -> usize {
        self.table.len() * 8
    }
}

/// Who wants to know, after each depth, what was found so far.
pub type Tell<'a> = &'a mut dyn FnMut(&Outcome);

/// Searches the whole space, or up to the first violation.
#[must_use]
pub fn breadth_first<const SLOTS: usize>(model: &Raft<SLOTS>, trail: Trail) -> Outcome {
    breadth_first_telling(model, trail, &mut |_| {})
}

/// As [`breadth_first`], and says after each depth how far it is.
pub fn breadth_first_telling<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    trail: Trail,
    tell: Tell<'_>,
) -> Outcome {
    let mut out = Outcome::default();
    let mut known = Fingerprints::default();
    let mut level = vec![State::<SLOTS>::default()];
    let mut next: Vec<State<SLOTS>> = Vec::new();
    // For each state in the order of discovery: its parent's number and the action.
    let mut parents: Vec<(u32, Action)> = Vec::new();
    let mut first_of_level = 0u32;
    let mut met_so_far = 0u32;
    let mut actions = Vec::with_capacity(256);
    known.insert(level[0].fingerprint());
    out.unique = 1;
    if trail == Trail::Keep {
        parents.push((0, Action::ReadDone));
    }
    // A state's successors are hashed, then looked for, so that the table's cache misses overlap.
    let mut batch: Vec<(u64, State<SLOTS>, Action)> = Vec::with_capacity(256);
    let mut unknown: Vec<u16> = Vec::with_capacity(256);
    while !level.is_empty() {
        for (at, state) in level.iter().enumerate() {
            actions.clear();
            model.actions(state, &mut actions);
            batch.clear();
            let mut met = 0;
            for &action in &actions {
                let successor = model.step(state, action, &mut met);
                // A read under a lease changes nothing, and is carried out all the same.
                let happened = successor.is_some() || matches!(action, Action::LeaseRead(_));
                out.fired[action.kind()] += u64::from(happened);
                if let Some(successor) = successor {
                    batch.push((successor.fingerprint(), successor, action));
                }
            }
            out.generated += batch.len() as u64;
            if met & !met_so_far != 0 {
                for (bit, least) in out.seen.iter_mut().enumerate() {
                    if met >> bit & 1 == 1 && least.is_none() {
                        *least = Some(out.depth + 1);
                    }
                }
                met_so_far |= met;
            }
            unknown.clear();
            unknown.extend(
                (0u16..)
                    .zip(&batch)
                    .filter(|(_, (fingerprint, ..))| !known.at_home(*fingerprint))
                    .map(|(at, _)| at),
            );
            for &which in &unknown {
                let (fingerprint, successor, action) = batch[usize::from(which)];
                if !known.insert(fingerprint) {
                    continue;
                }
                out.unique += 1;
                next.push(successor);
                if trail == Trail::Keep {
                    parents.push((first_of_level + at as u32, action));
                }
                if successor.violated != 0 {
                    let invariant = Invariant::broken(successor.violated).expect("a bit is set");
                    out.depth += 1;
                    out.violation = Some(Violation {
                        invariant,
                        actions: way(&parents),
                    });
                    return out;
                }
            }
        }
        let held = (level.capacity() + next.capacity()) * size_of::<State<SLOTS>>();
        let bytes = held + known.bytes() + parents.capacity() * size_of::<(u32, Action)>();
        out.bytes = out.bytes.max(bytes as u64);
        first_of_level += level.len() as u32;
        level.clear();
        std::mem::swap(&mut level, &mut next);
        if !level.is_empty() {
            out.depth += 1;
        }
        tell(&out);
    }
    out
}

/// The actions from the initial state to the last one recorded.
fn way(parents: &[(u32, Action)]) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut at = parents.len().saturating_sub(1);
    while at != 0 {
        let (parent, action) = parents[at];
        actions.push(action);
        at = parent as usize;
    }
    actions.reverse();
    actions
}
