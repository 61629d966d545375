//! A narrow beam over few values that goes back to where it still had the right world; see [the other](super::super::climb).

use super::{Beam, Dense, Place, Step};
use crate::linear::Budget;

/// How wide the beam is where nothing is wrong: for a quick try, and for a patient one.
pub(super) const NARROWEST: usize = 2;
pub(super) const NARROW: usize = 8;
/// How wide it becomes at most.
const WIDEST: usize = 1 << 13;
/// Events between checkpoints, while there are few.
const STRIDE: u32 = 32;
/// Checkpoints at most: of more, every second one is dropped.
const CHECKPOINTS: usize = 512;

/// What a climb came to.
pub(super) enum Climbed {
    /// An order exists.
    Holds,
    /// It was allowed no more.
    Tired,
    /// The budget ran out.
    Exhausted,
}

/// A beam, where it was before, and how it fared.
pub(super) struct Climb {
    place: Place,
    /// How wide it is where nothing is wrong.
    narrow: usize,
    checkpoints: Vec<Place>,
    stride: u32,
    /// How often it died since it got past the place where it died.
    level: u32,
    /// The farthest place where it died: all before has an order.
    farthest: u32,
}

impl Climb {
    /// Begins where nothing was dropped.
    pub(super) fn new(from: &Place, narrow: usize) -> Self {
        Self {
            narrow,
            place: from.clone(),
            checkpoints: Vec::new(),
            stride: STRIDE,
            level: 0,
            farthest: from.at,
        }
    }

    pub(super) fn narrow(&self) -> usize {
        self.narrow
    }

    /// Everything before this position has an order.
    pub(super) fn proven_to(&self) -> u32 {
        self.farthest.max(self.place.at)
    }

    /// Goes on for `allowed` configurations; nothing where there are too many clients.
    pub(super) fn go(
        &mut self,
        search: &mut Dense<'_>,
        allowed: u64,
        budget: &mut Budget,
    ) -> Option<Climbed> {
        let until = budget.spent().saturating_add(allowed);
        let mut beam = self.beam();
        loop {
            if budget.spent() > until {
                return Some(Climbed::Tired);
            }
            if self.level > 0 && self.place.at > self.farthest + 4 * STRIDE {
                self.level = 0;
                beam = self.beam();
            }
            self.mark();
            match search.step(&mut self.place, &beam, budget)? {
                Step::Alive => {}
                Step::Over => return Some(Climbed::Holds),
                Step::Exhausted => return Some(Climbed::Exhausted),
                Step::Dead | Step::TooWide => {
                    self.go_back();
                    beam = self.beam();
                }
            }
        }
    }

    fn beam(&self) -> Beam {
        let width = (self.narrow << (self.level * 2).min(32)).min(WIDEST);
        if self.level == 0 && self.narrow == NARROWEST {
            return Beam {
                width,
                steps: 8 * width,
                slack: 1,
                exact: false,
            };
        }
        Beam {
            width,
            steps: 4 * width,
            slack: usize::MAX,
            exact: false,
        }
    }

    /// Keeps a checkpoint where one is due.
    fn mark(&mut self) {
        let last = self.checkpoints.last();
        if last.is_some_and(|last| self.place.at < last.at + self.stride) {
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
        self.checkpoints.push(self.place.clone());
    }

    /// Back to a checkpoint: the farther and the wider, the oftener it died.
    fn go_back(&mut self) {
        if self.place.at > self.farthest + 4 * STRIDE {
            self.level = 0;
        }
        self.farthest = self.farthest.max(self.place.at);
        self.level += 1;
        let distance = STRIDE << self.level.min(20);
        let target = self.farthest.saturating_sub(distance);
        while self.checkpoints.len() > 1 && self.checkpoints.last().is_some_and(|c| c.at > target) {
            self.checkpoints.pop();
        }
        if let Some(checkpoint) = self.checkpoints.last() {
            self.place.clone_from(checkpoint);
        }
    }
}
