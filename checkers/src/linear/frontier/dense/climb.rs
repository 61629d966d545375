//! A narrow beam over few values that goes back to where it still had the right world; see [the other](super::super::climb).

use super::super::trail::Trail;
use super::{Beam, Dense, Place, Step};
use crate::linear::Budget;

/// How wide the beam is where nothing is wrong: for a quick try, and for a patient one.
pub(super) const NARROWEST: usize = 2;
pub(super) const NARROW: usize = 8;
/// How wide it becomes at most.
const WIDEST: usize = 1 << 13;
/// What a climb came to.
pub(super) enum Climbed {
    /// An order exists.
    Holds,
    /// It was allowed no more.
    Tired,
    /// The budget ran out.
    Exhausted,
}

/// A beam, and where it was before.
pub(super) struct Climb {
    place: Place,
    /// How wide it is where nothing is wrong.
    narrow: usize,
    trail: Trail<Place>,
}

impl Climb {
    /// Begins where nothing was dropped.
    pub(super) fn new(from: &Place, narrow: usize) -> Self {
        Self {
            narrow,
            place: from.clone(),
            trail: Trail::from(from.at),
        }
    }

    pub(super) fn narrow(&self) -> usize {
        self.narrow
    }

    /// Everything before this position has an order.
    pub(super) fn proven_to(&self) -> u32 {
        self.trail.proven_to().max(self.place.at)
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
            if self.trail.mark(self.place.at, &self.place) {
                beam = self.beam();
            }
            match search.step(&mut self.place, &beam, budget)? {
                Step::Alive => {}
                Step::Over => return Some(Climbed::Holds),
                Step::Exhausted => return Some(Climbed::Exhausted),
                Step::Dead | Step::TooWide => {
                    if let Some((_, place)) = self.trail.back_from(self.place.at) {
                        self.place = place;
                    }
                    beam = self.beam();
                }
            }
        }
    }

    fn beam(&self) -> Beam {
        let level = self.trail.level();
        let width = (self.narrow << (level * 2).min(32)).min(WIDEST);
        let (steps, slack) = if level == 0 && self.narrow == NARROWEST {
            (8 * width, 1)
        } else {
            (4 * width, usize::MAX)
        };
        Beam {
            width,
            steps,
            slack,
            exact: false,
        }
    }
}
