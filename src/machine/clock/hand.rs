//! The arithmetic of a clock that runs wrong. Pure: real time in, bent time out, in nanoseconds.

use rustix::time::ClockId;

/// One of a node's two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// The time of day.
    Wall,
    /// The time since some start, which never goes back.
    Monotonic,
}

impl Hand {
    /// Which hand a clock of clock_gettime(2) is, and that clock; `None` for what measures a processor's time, and TAI.
    pub(super) fn of(clock: i32) -> Option<(Self, ClockId)> {
        Some(match clock {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_ALARM => (Hand::Wall, ClockId::Realtime),
            libc::CLOCK_REALTIME_COARSE => (Hand::Wall, ClockId::RealtimeCoarse),
            libc::CLOCK_MONOTONIC => (Hand::Monotonic, ClockId::Monotonic),
            libc::CLOCK_MONOTONIC_RAW => (Hand::Monotonic, ClockId::MonotonicRaw),
            libc::CLOCK_MONOTONIC_COARSE => (Hand::Monotonic, ClockId::MonotonicCoarse),
            libc::CLOCK_BOOTTIME | libc::CLOCK_BOOTTIME_ALARM => {
                (Hand::Monotonic, ClockId::Boottime)
            }
            _ => return None,
        })
    }

    /// The real clock that its bends are measured by.
    pub(super) fn clock(self) -> ClockId {
        match self {
            Hand::Wall => ClockId::Realtime,
            Hand::Monotonic => ClockId::Monotonic,
        }
    }
}

/// The slowest rate at which a wait is translated: what stands still would wait for ever, also after it runs again.
const SLOWEST: f64 = 0.1;

/// How a clock differs from the real one: by this much at that instant, and since then by its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bend {
    since: i128,
    ahead: i128,
    rate: f64,
}

impl Default for Bend {
    fn default() -> Self {
        Self {
            since: 0,
            ahead: 0,
            rate: 1.0,
        }
    }
}

impl Bend {
    /// How far it is ahead of the real clock.
    pub(super) fn shift(&self, now: i128) -> i128 {
        let since = (now - self.since) as f64;
        self.ahead + (since * (self.rate - 1.0)).round() as i128
    }

    pub(super) fn straight(&self) -> bool {
        self.ahead == 0 && self.rate == 1.0
    }

    pub(super) fn run(&mut self, now: i128, rate: f64) {
        *self = Self {
            since: now,
            ahead: self.shift(now),
            rate,
        };
    }

    pub(super) fn step(&mut self, now: i128, by: i64) {
        self.run(now, self.rate);
        self.ahead += i128::from(by);
    }

    /// How long it really takes until this clock shows `deadline`, from now on, at its present rate.
    pub(super) fn until(&self, now: i128, deadline: i128) -> i128 {
        let left = deadline - (now + self.shift(now));
        (left as f64 / self.rate.max(SLOWEST)).round() as i128
    }
}

pub(super) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// Seconds and nanoseconds; never negative, as no clock is.
pub(super) fn parts(time: i128) -> (i64, i64) {
    let time = time.max(0);
    let seconds = i64::try_from(time / 1_000_000_000).unwrap_or(i64::MAX);
    (seconds, (time % 1_000_000_000) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_runs_differently_keeps_what_it_has_gained() {
        let mut bend = Bend::default();
        assert!(bend.straight());
        bend.run(1_000, 3.0);
        assert_eq!(bend.shift(1_000), 0);
        assert_eq!(bend.shift(1_100), 200);
        assert_eq!(bend.until(1_100, 1_300 + 300), 100);
        bend.run(1_100, 0.0);
        assert_eq!(bend.shift(1_400), 200 - 300);
        assert_eq!(1_400 + bend.shift(1_400), 1_300, "it stands still");
        assert_eq!(bend.until(1_400, 1_310), 100, "at a tenth, not for ever");
        bend.run(1_400, 1.0);
        assert_eq!(bend.shift(9_000), -100);
        assert!(!bend.straight());
        bend.step(9_000, 100);
        assert!(bend.straight());
    }

    #[test]
    fn a_time_is_put_together_from_its_parts() {
        assert_eq!(parts(nanoseconds(7, 999_999_999)), (7, 999_999_999));
        assert_eq!(parts(-5), (0, 0));
    }
}
