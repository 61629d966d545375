//! How late this program's timers are: what the machine bears, seen from where the bench stands. And its load average.
//!
//! A thread sleeps for a few milliseconds again and again, and writes down by how much it overslept, for each stretch
//! that somebody watches. Threads that wake too late are what a run on a machine that is too busy suffers from: its
//! elections, leases and faults come at other times than they should.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Between two looks.
const NAP: Duration = Duration::from_millis(5);
/// The longest that is told apart.
const LONGEST_US: u64 = 60_000_000;

/// By stretch, how late timers were in it, in microseconds.
type Stretches = Arc<Mutex<BTreeMap<u64, Histogram<u32>>>>;

/// The watching thread. It ends with the last one who may watch.
#[derive(Debug)]
pub(super) struct Timers {
    stretches: Stretches,
}

impl Timers {
    /// Starts to watch.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start() -> std::io::Result<Timers> {
        let stretches = Stretches::default();
        let weak = Arc::downgrade(&stretches);
        thread::Builder::new()
            .name("timers".to_owned())
            .spawn(move || {
                loop {
                    let began = Instant::now();
                    thread::sleep(NAP);
                    let late = began.elapsed().saturating_sub(NAP);
                    let Some(stretches) = weak.upgrade() else {
                        return;
                    };
                    let late = u64::try_from(late.as_micros()).unwrap_or(LONGEST_US);
                    let mut stretches = stretches.lock().expect("nobody panics while counting");
                    for stretch in stretches.values_mut() {
                        stretch.saturating_record(late);
                    }
                }
            })?;
        Ok(Timers { stretches })
    }

    /// A stretch begins; its number names it.
    ///
    /// # Panics
    /// If the thread panicked.
    pub(super) fn begin(&self, stretch: u64) {
        let none = Histogram::new_with_bounds(1, LONGEST_US, 2).expect("the bounds are in order");
        let mut stretches = self.stretches.lock().expect("nobody panics while counting");
        stretches.insert(stretch, none);
    }

    /// It ends: by so many milliseconds timers were late in it, in 99 of 100 cases at most.
    ///
    /// # Panics
    /// If the thread panicked.
    #[must_use]
    pub(super) fn end(&self, stretch: u64) -> f64 {
        let mut stretches = self.stretches.lock().expect("nobody panics while counting");
        let late = stretches.remove(&stretch);
        late.map_or(0.0, |late| late.value_at_quantile(0.99) as f64 / 1e3)
    }
}

/// The machine's load average over the last minute; 0 where the kernel does not say.
#[must_use]
pub(super) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_counts_from_its_begin_to_its_end() {
        let timers = Timers::start().unwrap();
        timers.begin(7);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let seen = timers.stretches.lock().unwrap()[&7].len();
            if seen >= 20 {
                break;
            }
            assert!(Instant::now() < deadline, "{seen} looks in a minute");
            thread::yield_now();
        }
        assert!(timers.end(7) < 60_000.0);
        assert!(timers.end(7) == 0.0, "it is over");
    }
}
