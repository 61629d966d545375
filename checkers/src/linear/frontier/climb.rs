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

use super::{Frontier, Future, Outcome, Step, Supply};
use crate::history::{NEVER, Op};
use crate::linear::Budget;

/// How wide the beam is where nothing is wrong.
const NARROW: usize = 8;
/// How wide it becomes at most.
const WIDEST: usize = 1 << 16;
/// Events between checkpoints, while there are few.
const STRIDE: usize = 32;
/// Checkpoints at most: of more, every second one is dropped.
const CHECKPOINTS: usize = 512;

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

/// A beam, where it was before, and how it fared.
pub(super) struct Climb<const W: usize> {
    frontier: Frontier<W>,
    at: usize,
    checkpoints: Vec<(usize, Frontier<W>)>,
    stride: usize,
    /// How often it died since it got past the place where it died.
    level: u32,
    /// The farthest place where it died: all before has an order.
    farthest: usize,
}

impl<const W: usize> Climb<W> {
    pub(super) fn new(future: &Future) -> Self {
        Self {
            frontier: Frontier::before(future, Supply::Counted, NARROW),
            at: 0,
            checkpoints: Vec::new(),
            stride: STRIDE,
            level: 0,
            farthest: 0,
        }
    }

    /// Everything before this position has an order.
    pub(super) fn proven_to(&self) -> u32 {
        self.farthest.max(self.at) as u32
    }

    /// Goes on for `allowed` configurations.
    pub(super) fn go(&mut self, course: &Course<'_>, allowed: u64, budget: &mut Budget) -> Climbed {
        let until = budget.spent().saturating_add(allowed);
        while self.at < course.schedule.len() {
            if budget.spent() > until {
                return Climbed::Tired;
            }
            self.mark();
            let entry = course.schedule[self.at];
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
                    return Climbed::Decided(Outcome::Fails(self.at as u32));
                }
                Step::Dead => self.go_back(),
            }
        }
        Climbed::Decided(Outcome::Holds)
    }

    /// Keeps a checkpoint where one is due, and grows narrow again past the last death.
    fn mark(&mut self) {
        if self.level > 0 && self.at > self.farthest + 4 * STRIDE {
            self.level = 0;
            self.frontier.width = NARROW;
        }
        let due = self
            .checkpoints
            .last()
            .is_none_or(|(at, _)| self.at >= at + self.stride);
        if !due {
            return;
        }
        if self.checkpoints.len() >= CHECKPOINTS {
            let mut number = 0;
            self.checkpoints.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.stride *= 2;
        }
        self.checkpoints.push((self.at, self.frontier.clone()));
    }

    /// Back to a checkpoint: the farther and the wider, the oftener it died.
    fn go_back(&mut self) {
        if self.at > self.farthest + 4 * STRIDE {
            self.level = 0;
        }
        self.farthest = self.farthest.max(self.at);
        self.level += 1;
        let distance = STRIDE << self.level.min(32);
        let target = self.farthest.saturating_sub(distance);
        while self.checkpoints.len() > 1
            && self.checkpoints.last().is_some_and(|(at, _)| *at > target)
        {
            self.checkpoints.pop();
        }
        if let Some((at, frontier)) = self.checkpoints.last() {
            self.at = *at;
            self.frontier = frontier.clone();
        }
        self.frontier.width = (NARROW << (self.level * 2).min(32)).min(WIDEST);
        if self.at == 0 && self.frontier.width == WIDEST {
            self.frontier.width = usize::MAX;
        }
    }
}
