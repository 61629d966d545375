//! Byte-level faults as data, and what several of them on one leg come to.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// How late bytes come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Always the same.
    Constant(Duration),
    /// Evenly between two bounds.
    Uniform {
        /// At least this.
        least: Duration,
        /// At most this.
        most: Duration,
    },
    /// Mostly short, now and then long: exponentially distributed, cut off at eight times the mean.
    Exponential {
        /// The mean before the cut-off.
        mean: Duration,
    },
    /// A base, and now and then a spike.
    Spikes {
        /// The usual delay.
        base: Duration,
        /// The delay of a spike, instead of the base.
        spike: Duration,
        /// How many of a thousand chunks are spikes.
        per_mille: u32,
    },
}

impl Delay {
    /// `middle` more or less `jitter`.
    #[must_use]
    pub fn around(middle: Duration, jitter: Duration) -> Delay {
        if jitter.is_zero() {
            return Delay::Constant(middle);
        }
        Delay::Uniform {
            least: middle.saturating_sub(jitter),
            most: middle + jitter,
        }
    }

    /// The mean, for the screen.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match *self {
            Delay::Constant(delay) => delay,
            Delay::Uniform { least, most } => (least + most) / 2,
            Delay::Exponential { mean } => mean,
            Delay::Spikes {
                base,
                spike,
                per_mille,
            } => {
                let share = f64::from(per_mille.min(1000)) / 1000.0;
                base.mul_f64(1.0 - share) + spike.mul_f64(share)
            }
        }
    }

    pub(crate) fn sample(&self, rng: &mut impl Rng) -> Duration {
        match *self {
            Delay::Constant(delay) => delay,
            Delay::Uniform { least, most } => {
                let width = most.saturating_sub(least);
                least + width.mul_f64(rng.random::<f64>())
            }
            Delay::Exponential { mean } => {
                let unit: f64 = rng.random();
                mean.mul_f64((-(1.0 - unit).ln()).min(8.0))
            }
            Delay::Spikes {
                base,
                spike,
                per_mille,
            } => {
                if rng.random_range(0..1000) < per_mille {
                    spike
                } else {
                    base
                }
            }
        }
    }
}

/// One thing wrong with the bytes of one leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ByteFault {
    /// Nothing passes; what is sent waits and arrives, whole and in order, after the fault is taken out.
    Hold,
    /// Nothing that comes from now on passes but what is let out; it is taken chunk by chunk, and waits in its order.
    HoldBack(HeldBack),
    /// Everything comes late, in order. Delays on one leg add.
    Delay(Delay),
    /// At most so many bytes a second; the least of several counts.
    Bandwidth {
        /// Never 0: that would be [`ByteFault::Hold`].
        bytes_per_second: u64,
    },
    /// Bytes come in slices, with a pause after each.
    Slice {
        /// Bytes of a slice, at least 1.
        at_most: usize,
        /// The pause.
        pause: Duration,
    },
    /// After so many bytes on a connection, counted from now or from its start, both its sides are reset: a cut in
    /// mid-frame.
    Limit {
        /// Bytes that still pass.
        bytes: u64,
    },
    /// The end of the stream arrives so much later than its last byte.
    SlowClose(Duration),
    /// The receiver sees the end of the stream now; what is sent after that is never read. The other leg goes on.
    HalfClose,
    /// The end of the stream, or its reset, is not delivered: the sender's machine is gone, not only its program.
    /// When the fault is taken out, connections whose sender is gone are reset, as a restarted machine would.
    Vanish,
}

/// What a leg that is held back has let out so far.
///
/// A chunk is what one read of the sender's socket gave. Those of a leg are counted over all of its connections, in the
/// order in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// How many chunks had come before: the network notes it when the fault goes in.
    pub(crate) since: u64,
    chunks: u64,
    before: Option<Instant>,
}

/// What a leg that is held back lets out; everything behind it is held as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetOut {
    /// So many of the chunks that have come since it is held back, the first ones of those that are not out yet.
    Chunks(u64),
    /// Whatever came before this instant.
    Before(Instant),
}

impl HeldBack {
    /// Lets out more than before.
    pub(crate) fn let_out(&mut self, more: LetOut) {
        match more {
            LetOut::Chunks(chunks) => self.chunks = self.chunks.saturating_add(chunks),
            LetOut::Before(instant) => self.before = self.before.max(Some(instant)),
        }
    }

    /// Whether it lets a chunk out: the how manieth of its leg, from 0, and when it came.
    fn passes(&self, chunk: u64, came: Instant) -> bool {
        chunk < self.since.saturating_add(self.chunks)
            || self.before.is_some_and(|before| came < before)
    }
}

/// One thing wrong with new connections of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectFault {
    /// Accepted, then reset at once.
    Reset,
    /// Refused by the kernel: nobody listens.
    Refuse,
    /// Neither accepted nor refused: the dialler's kernel sends its SYN again and again.
    Unanswered,
}

/// All faults of one leg, folded: what a gate does with the next byte.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    pub(crate) held: bool,
    held_back: Vec<HeldBack>,
    pub(crate) delays: Vec<Delay>,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) slice: Option<(usize, Duration)>,
    /// The fault that limits, and its bytes.
    pub(crate) limit: Option<(u64, u64)>,
    pub(crate) slow_close: Duration,
    pub(crate) half_close: bool,
    pub(crate) vanish: bool,
}

impl Effect {
    /// Folds the faults of a leg, each with its number.
    pub(crate) fn of<'a>(faults: impl Iterator<Item = (u64, &'a ByteFault)>) -> Effect {
        let mut effect = Effect::default();
        for (id, fault) in faults {
            match *fault {
                ByteFault::Hold => effect.held = true,
                ByteFault::HoldBack(held_back) => effect.held_back.push(held_back),
                ByteFault::Delay(delay) => effect.delays.push(delay),
                ByteFault::Bandwidth { bytes_per_second } => {
                    let least = effect.bytes_per_second.unwrap_or(u64::MAX);
                    effect.bytes_per_second = Some(least.min(bytes_per_second.max(1)));
                }
                ByteFault::Slice { at_most, pause } => {
                    let (size, gap) = effect.slice.unwrap_or((usize::MAX, Duration::ZERO));
                    effect.slice = Some((size.min(at_most.max(1)), gap.max(pause)));
                }
                ByteFault::Limit { bytes } => {
                    if effect.limit.is_none_or(|(_, least)| bytes < least) {
                        effect.limit = Some((id, bytes));
                    }
                }
                ByteFault::SlowClose(late) => effect.slow_close = effect.slow_close.max(late),
                ByteFault::HalfClose => effect.half_close = true,
                ByteFault::Vanish => effect.vanish = true,
            }
        }
        effect
    }

    /// Whether bytes pass as they come, without a look at the clock.
    pub(crate) fn passes_at_once(&self) -> bool {
        !self.held
            && self.held_back.is_empty()
            && self.delays.is_empty()
            && self.bytes_per_second.is_none()
            && self.slice.is_none()
            && self.limit.is_none()
            && !self.half_close
    }

    /// Whether nothing holds a chunk back: the how manieth of its leg, from 0, and when it came.
    pub(crate) fn lets_out(&self, chunk: u64, came: Instant) -> bool {
        let mut held_back = self.held_back.iter();
        held_back.all(|held_back| held_back.passes(chunk, came))
    }

    /// Whether anything is held back that is not let out.
    pub(crate) fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    pub(crate) fn sample_delay(&self, rng: &mut impl Rng) -> Duration {
        self.delays.iter().map(|delay| delay.sample(rng)).sum()
    }

    pub(crate) fn mean_delay(&self) -> Duration {
        self.delays.iter().map(Delay::mean).sum()
    }

    /// How many bytes to take at a time, so that bandwidth and slices are smooth.
    pub(crate) fn chunk(&self, most: usize) -> usize {
        let mut chunk = most;
        if let Some(rate) = self.bytes_per_second {
            // A hundredth of a second's worth.
            chunk = chunk.min(usize::try_from(rate / 100).unwrap_or(most).max(1));
        }
        if let Some((size, _)) = self.slice {
            chunk = chunk.min(size);
        }
        chunk
    }

    /// How long the link is busy with so many bytes.
    pub(crate) fn busy_for(&self, bytes: usize) -> Duration {
        let sending = self.bytes_per_second.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(bytes as f64 / rate as f64)
        });
        sending + self.slice.map_or(Duration::ZERO, |(_, pause)| pause)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_delay_stays_within_its_bounds_and_near_its_mean() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for (delay, least, most) in [
            (Delay::Constant(20 * MS), 20 * MS, 20 * MS),
            (Delay::around(20 * MS, 5 * MS), 15 * MS, 25 * MS),
            (
                Delay::Exponential { mean: 20 * MS },
                Duration::ZERO,
                160 * MS,
            ),
            (
                Delay::Spikes {
                    base: 2 * MS,
                    spike: 50 * MS,
                    per_mille: 100,
                },
                2 * MS,
                50 * MS,
            ),
        ] {
            let samples: Vec<Duration> = (0..10_000).map(|_| delay.sample(&mut rng)).collect();
            assert!(
                samples.iter().all(|s| (least..=most).contains(s)),
                "{delay:?}"
            );
            let mean = samples.iter().sum::<Duration>() / 10_000;
            let off = mean.abs_diff(delay.mean());
            assert!(off <= delay.mean() / 10, "{delay:?}: mean {mean:?}");
        }
    }

    #[test]
    fn what_is_held_back_lets_out_its_first_chunks_and_what_came_before_an_instant() {
        let came = Instant::now();
        let mut one = HeldBack {
            since: 7,
            ..HeldBack::default()
        };
        let effect = |one| Effect::of(std::iter::once((1, &ByteFault::HoldBack(one))));
        assert!(!effect(one).passes_at_once());
        let out = |one, chunk| effect(one).lets_out(chunk, came);
        // What had come before goes on its way.
        assert!(out(one, 6) && !out(one, 7));
        one.let_out(LetOut::Chunks(1));
        assert!(out(one, 7) && !out(one, 8));
        one.let_out(LetOut::Chunks(2));
        assert!(out(one, 9) && !out(one, 10));
        one.let_out(LetOut::Before(came));
        assert!(!out(one, 10));
        one.let_out(LetOut::Before(came + MS));
        assert!(out(one, 10));
        // What one lets out another may hold.
        let both = [one, HeldBack::default()].map(ByteFault::HoldBack);
        assert!(!Effect::of((1..).zip(&both)).lets_out(10, came));
    }

    #[test]
    fn faults_on_one_leg_fold_into_the_worst_of_each_and_the_sum_of_delays() {
        let faults = [
            ByteFault::Delay(Delay::Constant(3 * MS)),
            ByteFault::Delay(Delay::Constant(4 * MS)),
            ByteFault::Bandwidth {
                bytes_per_second: 500,
            },
            ByteFault::Bandwidth {
                bytes_per_second: 1000,
            },
            ByteFault::Limit { bytes: 9 },
            ByteFault::Limit { bytes: 8 },
        ];
        let effect = Effect::of((1..).zip(&faults));
        assert_eq!(effect.mean_delay(), 7 * MS);
        assert_eq!(effect.bytes_per_second, Some(500));
        assert_eq!(effect.limit, Some((6, 8)));
        assert_eq!(effect.chunk(65_536), 5);
        assert!(!effect.held && !effect.passes_at_once());
        assert!(Effect::of(std::iter::empty()).passes_at_once());
    }
}
