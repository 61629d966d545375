//! A narrow beam that goes back to where it still had the right world.
//!
//! A beam that dies has dropped the right world somewhere before. Most often that was a little before: so it goes back
//! to a checkpoint there, grows wider until it is past the place where it died, and is narrow again. Each time that it
//! dies at the same place, it goes back farther and grows wider:
//!
//! ```text
//!   checkpoints  ●────●────●────●────●────●  dies here
//!   narrow       ├──────────────────────────┼
//!   wider                            ├──────┼
//!   wider still                 ├───────────┼─────  past it: narrow again
//! ```
//!
//! What it finds is exact: a beam that gets through has an order; one that dies and had never dropped a world has none.

use super::trail::Trail;
use super::{Frontier, Future, Outcome, Step, Supply};
use crate::history::{NEVER, Op};
use crate::linear::Budget;

/// How wide the beam is where nothing is wrong.
const NARROW: usize = 8;
/// How wide it becomes at most.
const WIDEST: usize = 1 << 16;
/// The history, as every run over it needs it.
pub(super) struct Course<'a> {
    pub(super) ops: &'a [Op],
    pub(super) schedule: &'a [u32],
    pub(super) future: &'a Future,
}

/// What a climb came to.
pub(super) enum Climbed {
    /// An order exists, or none does.
    Decided(Outcome),
    /// It was allowed no more.
    Tired,
    /// The budget ran out.
    Exhausted,
}

/// A beam, and where it was before.
pub(super) struct Climb<const W: usize> {
    frontier: Frontier<W>,
    at: u32,
    trail: Trail<Frontier<W>>,
}

impl<const W: usize> Climb<W> {
    pub(super) fn new(future: &Future) -> Self {
        Self {
            frontier: Frontier::before(future, Supply::Counted, NARROW),
            at: 0,
            trail: Trail::from(0),
        }
    }

    /// Everything before this position has an order.
    pub(super) fn proven_to(&self) -> u32 {
        self.trail.proven_to().max(self.at)
    }

    /// Goes on for `allowed` configurations.
    pub(super) fn go(&mut self, course: &Course<'_>, allowed: u64, budget: &mut Budget) -> Climbed {
        let until = budget.spent().saturating_add(allowed);
        while let Some(&entry) = course.schedule.get(self.at as usize) {
            if budget.spent() > until {
                return Climbed::Tired;
            }
            if self.trail.mark(self.at, &self.frontier) {
                self.frontier.width = NARROW;
            }
            if entry == NEVER {
                self.at += 1;
                continue;
            }
            let op = &course.ops[(entry >> 1) as usize];
            if entry & 1 == 0 {
                self.frontier.begin_known(op, course.future);
                self.at += 1;
                continue;
            }
            match self.frontier.end(op, Some(course.future), budget) {
                Step::Alive => self.at += 1,
                Step::Exhausted => return Climbed::Exhausted,
                Step::Dead if !self.frontier.truncated => {
                    return Climbed::Decided(Outcome::Fails(self.at));
                }
                Step::Dead => self.go_back(),
            }
        }
        Climbed::Decided(Outcome::Holds)
    }

    /// Back to a checkpoint, and wider from there.
    fn go_back(&mut self) {
        if let Some((at, frontier)) = self.trail.back_from(self.at) {
            (self.at, self.frontier) = (at, frontier);
        }
        self.frontier.width = (NARROW << (self.trail.level() * 2).min(32)).min(WIDEST);
        if self.at == 0 && self.frontier.width == WIDEST {
            self.frontier.width = usize::MAX;
        }
    }
}
