//! Honest statistics of small numbers: what is printed beside every count.

use serde::{Deserialize, Serialize};

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// In so many runs it happened.
    pub hits: u64,
    /// Of so many.
    pub of: u64,
}

/// The standard normal quantile of 97.5 %.
const Z: f64 = 1.959_963_984_540_054;

impl Rate {
    /// The share; 0 of 0 is none.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.of == 0 {
            return 0.0;
        }
        self.hits as f64 / self.of as f64
    }

    /// The 95 % interval of the true rate (Wilson, "Probable inference, the law of succession, and statistical
    /// inference", JASA 1927): it is right for few runs, and for none and all of them. Of no runs it is everything.
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        if self.of == 0 {
            return (0.0, 1.0);
        }
        let (n, p, zz) = (self.of as f64, self.share(), Z * Z);
        let middle = (p + zz / (2.0 * n)) / (1.0 + zz / n);
        let half = Z / (1.0 + zz / n) * (p * (1.0 - p) / n + zz / (4.0 * n * n)).sqrt();
        // Rounding must not leave a rest at the two ends, where there is none.
        let low = if self.hits == 0 { 0.0 } else { middle - half };
        let high = if self.hits == self.of {
            1.0
        } else {
            middle + half
        };
        (low, high)
    }
}

/// The least of the times by which a share `q` of all had happened (nearest rank). Those that never happened, so many
/// as `missed`, count as later than any: `None` where that is the answer, or where there are none at all.
#[must_use]
pub(super) fn quantile(times: &[f64], missed: usize, q: f64) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let all = times.len() + missed;
    let rank = ((q * all as f64).ceil() as usize).max(1);
    times.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From R's `prop.test(hits, of, correct = FALSE)` and from tables.
    #[test]
    fn the_interval_is_wilsons() {
        for (hits, of, low, high) in [
            (20, 20, 0.8389, 1.0),
            (0, 20, 0.0, 0.1611),
            (0, 300, 0.0, 0.0126),
            (19, 20, 0.7639, 0.9911),
            (1, 2, 0.0945, 0.9055),
            (15, 148, 0.0624, 0.1605),
            (81, 263, 0.2553, 0.3662),
        ] {
            let (a, b) = Rate { hits, of }.interval();
            let near = (a - low).abs() < 1e-4 && (b - high).abs() < 1e-4;
            assert!(near, "{hits}/{of}: {a} to {b}");
        }
        assert_eq!(Rate { hits: 0, of: 0 }.interval(), (0.0, 1.0));
    }

    #[test]
    fn a_quantile_is_a_time_that_was_seen_and_misses_come_after_all_of_them() {
        let times = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&times, 0, 0.5), Some(2.0));
        assert_eq!(quantile(&times, 0, 0.9), Some(4.0));
        assert_eq!(quantile(&times, 4, 0.5), Some(4.0));
        assert_eq!(quantile(&times, 5, 0.5), None);
        assert_eq!(quantile(&[], 0, 0.5), None);
        assert_eq!(quantile(&[7.0], 0, 0.9), Some(7.0));
    }
}
