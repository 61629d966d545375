//! How many runs at once: as many as the machine bears without changing what they measure.
//!
//! Where nobody says, short runs without faults are tried, one, two, three at once and so on, until this program's own
//! timers come later than a tenth of the election timeout, or 30 ms. What was the most before that is chosen.

use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// How many runs there are at once, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    /// So many.
    pub jobs: u64,
    /// Whose choice it was.
    pub how: How,
    /// So many at once were tried, and by so many milliseconds timers were late then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<(u64, f64)>,
    /// The machine's load average before the first run.
    pub load: f64,
}

/// Whose choice it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// `--jobs` said so.
    Given,
    /// There was one run only.
    Only,
    /// It was tried.
    Calibrated,
}

impl Jobs {
    /// In a sentence.
    #[must_use]
    pub fn sentence(&self, bearable_ms: f64) -> String {
        let at_once = match self.jobs {
            1 => "1 run at a time".to_owned(),
            jobs => format!("{jobs} runs at once"),
        };
        let why = match self.how {
            How::Given => "as told".to_owned(),
            How::Only => "there is no other".to_owned(),
            How::Calibrated => {
                let tried = self.tried.iter();
                let tried = tried.map(|(jobs, late)| format!("{late:.1} ms late with {jobs}"));
                let tried: Vec<String> = tried.collect();
                format!(
                    "timers were {}; {bearable_ms:.0} ms is bearable",
                    tried.join(", ")
                )
            }
        };
        format!("{at_once} ({why}); load average {:.2}", self.load)
    }
}

/// What to try, one after the other, up to `most`: each number at first, then ever larger steps.
#[must_use]
pub(super) fn ladder(most: u64) -> Vec<u64> {
    let mut steps = Vec::new();
    let mut next = 1;
    while next <= most {
        steps.push(next);
        next += (next / 3).max(1);
    }
    steps
}

/// More than this is never tried: twice as many as there are cores.
#[must_use]
pub(super) fn most(total: Option<u64>) -> u64 {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    total.unwrap_or(u64::MAX).min(cores * 2)
}

/// The most that was bearable, of what was tried in rising order; one where not even that was.
#[must_use]
pub(super) fn chosen(tried: &[(u64, f64)], bearable_ms: f64) -> u64 {
    let bearable = tried.iter().take_while(|(_, late)| *late <= bearable_ms);
    bearable.last().map_or(1, |(jobs, _)| *jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_were_bearable_are_chosen_and_one_at_least() {
        assert_eq!(chosen(&[(1, 2.0), (2, 9.0), (3, 31.0)], 30.0), 2);
        assert_eq!(chosen(&[(1, 2.0), (2, 40.0), (3, 3.0)], 30.0), 1);
        assert_eq!(chosen(&[(1, 31.0)], 30.0), 1);
        assert_eq!(chosen(&[], 30.0), 1);
    }

    #[test]
    fn the_ladder_begins_with_one_and_rises_to_what_is_allowed() {
        assert_eq!(ladder(1), [1]);
        assert_eq!(ladder(6), [1, 2, 3, 4, 5, 6]);
        assert_eq!(ladder(0), [0; 0]);
        let long = ladder(128);
        assert!(long.len() < 20 && long.last() <= Some(&128), "{long:?}");
    }
}
