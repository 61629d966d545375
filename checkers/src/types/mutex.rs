//! Mutual exclusion by a mutex that anybody may release.

use std::collections::BTreeSet;

use super::generate::{Asking, Machine, Planted, Step};
use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation};
use crate::linear::Options;

pub(super) const ACQUIRE: &str = "acquire";
pub(super) const RELEASE: &str = "release";

/// Its operations, and what people call them.
pub(super) const OPERATIONS: &[&[&str]] = &[&[ACQUIRE, "lock"], &[RELEASE, "unlock"]];

/// A mutex that anybody may release.
pub(super) struct Mutex;

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

    fn kinds(&self) -> &'static [&'static str] {
        &["two-holders", "released-free"]
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

/// Who holds it.
pub(super) struct Held {
    pub(super) by: Option<u64>,
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
