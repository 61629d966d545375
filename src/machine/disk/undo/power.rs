//! How the power fails: which of the unsynced changes had made it to the disk.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::file::{Choice, FileLog};

/// How much is lost of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// All of it.
    Strict,
    /// Some pages of each file had been written back, each as it was at some time since the last sync; of the changed
    /// names the oldest, as a journal would have them. Drawn from the seed.
    Subset(u64),
    /// Each file had been written back up to one write, and of that one some sectors; names as above.
    Torn(u64),
}

/// Draws what stays.
pub(super) struct Draw {
    how: PowerLoss,
    rng: ChaCha8Rng,
}

impl Draw {
    pub(super) fn new(how: PowerLoss) -> Self {
        let seed = match how {
            PowerLoss::Strict => 0,
            PowerLoss::Subset(seed) | PowerLoss::Torn(seed) => seed,
        };
        Self {
            how,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// How many of the changes of names stay.
    pub(super) fn names(&mut self, changes: usize) -> usize {
        if self.how == PowerLoss::Strict {
            0
        } else {
            self.rng.random_range(0..=changes)
        }
    }

    /// Which changes of a file stay.
    pub(super) fn file(&mut self, file: &FileLog) -> Choice {
        match self.how {
            PowerLoss::Strict => Choice::default(),
            PowerLoss::Subset(_) => self.subset(file),
            PowerLoss::Torn(_) => self.torn(file),
        }
    }

    fn subset(&mut self, file: &FileLog) -> Choice {
        let stretches = file.stretches();
        let (first, last) = stretches[self.rng.random_range(0..stretches.len())];
        let pages = file.pages_touched(first, last);
        // Often all of a page or nothing, sometimes a state between.
        let pages = pages
            .into_iter()
            .filter_map(|page| match self.rng.random_range(0..5) {
                0 | 1 => None,
                2 | 3 => Some((page, first)),
                _ => Some((page, self.rng.random_range(first..=last))),
            });
        let pages = pages.collect();
        Choice {
            stay: last,
            size_after: self.rng.random_range(first..=last),
            pages,
            lost_sectors: Vec::new(),
        }
    }

    fn torn(&mut self, file: &FileLog) -> Choice {
        let last = file.stretches().last().map_or(0, |(_, last)| *last);
        let stay = self.rng.random_range(0..=last);
        let sectors = if stay == 0 {
            Vec::new()
        } else {
            file.sectors_written(stay - 1)
        };
        // A disk writes from front to back, but it need not.
        let lost_sectors = if self.rng.random_bool(0.5) {
            let written = self.rng.random_range(0..=sectors.len());
            sectors[written..].to_vec()
        } else {
            sectors
                .into_iter()
                .filter(|_| self.rng.random_bool(0.5))
                .collect()
        };
        Choice {
            stay,
            size_after: stay,
            pages: Vec::new(),
            lost_sectors,
        }
    }
}
