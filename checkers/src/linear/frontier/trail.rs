//! Where a beam was before: checkpoints to go back to, and how far back.

/// Events between checkpoints, while there are few; as far beyond its death, four times over, a beam is past it.
const STRIDE: u64 = 32;
/// Checkpoints at most: of more, every second one is dropped.
const CHECKPOINTS: usize = 512;

/// Checkpoints, and how often the beam died.
pub(super) struct Trail<T> {
    checkpoints: Vec<(u32, T)>,
    stride: u64,
    /// How often it died since it got past the place where it died.
    level: u32,
    /// The farthest place where it died: all before has an order.
    farthest: u32,
}

impl<T: Clone> Trail<T> {
    /// A trail whose beam has dropped nothing up to there.
    pub(super) fn from(at: u32) -> Self {
        Self {
            checkpoints: Vec::new(),
            stride: STRIDE,
            level: 0,
            farthest: at,
        }
    }

    /// How often the beam died since it got past the place where it died.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Everything before this position has an order.
    pub(super) fn proven_to(&self) -> u32 {
        self.farthest
    }

    /// Keeps a checkpoint where one is due; whether the beam has just got past the place where it died.
    pub(super) fn mark(&mut self, at: u32, place: &T) -> bool {
        let past = self.level > 0 && self.is_past(at);
        if past {
            self.level = 0;
        }
        let last = self.checkpoints.last();
        if last.is_none_or(|(last, _)| u64::from(at) >= u64::from(*last) + self.stride) {
            if self.checkpoints.len() >= CHECKPOINTS {
                let mut number = 0;
                self.checkpoints.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.stride *= 2;
            }
            self.checkpoints.push((at, place.clone()));
        }
        past
    }

    /// The beam died at `at`: the checkpoint to go back to, the farther the oftener it died.
    pub(super) fn back_from(&mut self, at: u32) -> Option<(u32, T)> {
        if self.is_past(at) {
            self.level = 0;
        }
        self.farthest = self.farthest.max(at);
        self.level += 1;
        let distance = STRIDE << self.level.min(32);
        let target = u64::from(self.farthest).saturating_sub(distance);
        while self.checkpoints.len() > 1
            && self
                .checkpoints
                .last()
                .is_some_and(|(at, _)| u64::from(*at) > target)
        {
            self.checkpoints.pop();
        }
        self.checkpoints.last().cloned()
    }

    fn is_past(&self, at: u32) -> bool {
        u64::from(at) > u64::from(self.farthest) + 4 * STRIDE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oftener_it_dies_the_farther_it_goes_back_until_it_is_past() {
        let mut trail = Trail::from(0);
        let walk = |trail: &mut Trail<u32>, range: std::ops::Range<u32>| {
            range.filter(|at| trail.mark(*at, at)).count()
        };
        assert_eq!(walk(&mut trail, 0..1_000), 0);
        let back = |trail: &mut Trail<u32>| trail.back_from(1_000);
        assert_eq!(back(&mut trail), Some((928, 928)));
        assert_eq!(back(&mut trail), Some((864, 864)));
        assert_eq!((trail.level(), trail.proven_to()), (2, 1_000));
        assert_eq!(walk(&mut trail, 864..1_200), 1, "it is past, once");
        assert_eq!(trail.level(), 0);
        for _ in 0..40 {
            trail.back_from(1_200);
        }
        assert_eq!(trail.back_from(1_200), Some((0, 0)));
    }

    #[test]
    fn a_long_trail_keeps_few_checkpoints_and_the_first() {
        let mut trail = Trail::from(0);
        (0..1_000_000).for_each(|at| {
            trail.mark(at, &());
        });
        assert!(trail.checkpoints.len() <= CHECKPOINTS);
        assert_eq!(trail.checkpoints[0].0, 0);
    }
}
