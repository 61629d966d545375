//! What the bench's own sockets and files were refused, by cause and place: written by whoever was refused, read by the
//! run. Sentences about it wait to be told; their number is bounded, and so is that of the places.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shortage::Shortage;

/// Sentences that wait to be told; the run tells them twenty times a second.
const MOST_SAID: usize = 64;

/// What became of whatever was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// It was tried again, and came late at most.
    Delay,
    /// It did not come about: somebody who should have been heard was not.
    Loss,
}

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Shortages(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    met: BTreeMap<(Shortage, &'static str), Met>,
    said: Vec<String>,
}

/// One shortage at one place.
#[derive(Clone, Debug)]
struct Met {
    times: u64,
    losses: u64,
    last: Instant,
    /// What was seen the first time.
    detail: String,
}

impl Shortages {
    /// Notes the shortage that the error names, if it names one, and gives it. `place` is one of a few, fit for "{place}
    /// could not be had"; `detail` says which it was.
    pub fn note(
        &self,
        place: &'static str,
        cost: Cost,
        detail: impl FnOnce() -> String,
        error: &(dyn Error + 'static),
    ) -> Option<Shortage> {
        let shortage = Shortage::of(error)?;
        self.add(shortage, place, cost, detail);
        Some(shortage)
    }

    /// Notes one that is known.
    pub fn add(
        &self,
        shortage: Shortage,
        place: &'static str,
        cost: Cost,
        detail: impl FnOnce() -> String,
    ) {
        let mut inner = self.lock();
        let now = Instant::now();
        let first = !inner.met.contains_key(&(shortage, place));
        let met = inner.met.entry((shortage, place)).or_insert_with(|| Met {
            times: 0,
            losses: 0,
            last: now,
            detail: detail(),
        });
        met.times += 1;
        met.losses += u64::from(cost == Cost::Loss);
        met.last = now;
        let text = format!("{place}: the host has {shortage} ({})", met.detail);
        if first {
            inner.say(text);
        }
    }

    /// A sentence about it, for whoever watches the run.
    pub fn say(&self, text: String) {
        self.lock().say(text);
    }

    /// What has been said since this was asked last.
    #[must_use]
    pub fn take_said(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().said)
    }

    /// What was met in the last so long, with what was seen.
    #[must_use]
    pub fn within(&self, time: Duration) -> Vec<(Shortage, String)> {
        let inner = self.lock();
        let recent = inner
            .met
            .iter()
            .filter(|(_, met)| met.last.elapsed() <= time);
        let words = recent.map(|((shortage, place), met)| (*shortage, met.words(place)));
        words.collect()
    }

    /// What did not come about over the whole run, a sentence each: each is an error of the bench.
    #[must_use]
    pub fn losses(&self) -> Vec<String> {
        let inner = self.lock();
        let lost = inner.met.iter().filter(|(_, met)| met.losses > 0);
        let words = lost.map(|((shortage, place), met)| {
            format!("the host had {shortage} ({})", met.words(place))
        });
        words.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A note is whole or was not taken.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn say(&mut self, text: String) {
        if self.said.len() < MOST_SAID {
            self.said.push(text);
        }
    }
}

impl Met {
    fn words(&self, place: &str) -> String {
        let Met {
            times,
            losses,
            detail,
            ..
        } = self;
        let plural = if *times == 1 { "" } else { "s" };
        format!("{place}: {times} time{plural}, {losses} of them in vain; first {detail}")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_shortage_is_said_once_and_counted_every_time() {
        let shortages = Shortages::default();
        let full = io::Error::from_raw_os_error(24);
        for n in 0..3 {
            let met = shortages.note("a door", Cost::Delay, || format!("n{n}"), &full);
            assert_eq!(met, Some(Shortage::OpenFiles));
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let other = shortages.note("a door", Cost::Loss, String::new, &refused);
        assert_eq!(other, None);
        assert_eq!(shortages.take_said().len(), 1);
        assert!(shortages.take_said().is_empty());
        let seen = shortages.within(Duration::from_secs(60));
        let [(Shortage::OpenFiles, seen)] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert!(
            seen.contains("3 times, 0 of them in vain; first n0"),
            "{seen}"
        );
        assert!(shortages.losses().is_empty(), "nothing was lost");
        shortages.add(Shortage::Ports, "a call", Cost::Loss, || "n1".into());
        let lost = shortages.losses();
        assert!(
            lost.len() == 1 && lost[0].contains("no free port"),
            "{lost:?}"
        );
    }

    #[test]
    fn what_nobody_reads_does_not_grow() {
        let shortages = Shortages::default();
        for n in 0..1_000 {
            shortages.say(n.to_string());
        }
        assert_eq!(shortages.take_said().len(), MOST_SAID);
    }
}
