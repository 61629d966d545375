//! A finished run as a feed: everything that happened in it, at any speed, at any instant, without a cluster.

use std::sync::Arc;

use crate::journal::RunView;
use crate::journal::{Entry, Event};

/// Where a replay stands.
#[derive(Clone, Debug)]
pub struct Replay {
    entries: Arc<[Entry]>,
    /// How many were taken.
    next: usize,
    /// The instant that is shown.
    pub at_ns: u64,
    /// Whether time goes by.
    pub playing: bool,
    /// How many times faster than it happened.
    pub speed: f64,
}

impl Replay {
    /// At the beginning, playing at the speed of life. Sorts by instant; what has one instant keeps its order.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.time_ns);
        Replay {
            entries: entries.into(),
            next: 0,
            at_ns: 0,
            playing: true,
            speed: 1.0,
        }
    }

    /// The last instant.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.time_ns)
    }

    /// When the alarm was raised, if it was.
    #[must_use]
    pub fn alarm_ns(&self) -> Option<u64> {
        let mut entries = self.entries.iter();
        let alarm = entries.find(|entry| matches!(entry.event, Event::Alarm { .. }));
        alarm.map(|entry| entry.time_ns)
    }

    /// Lets so much of the session's time go by.
    pub fn advance(&mut self, passed_ns: u64, picture: &mut RunView) {
        let to_ns = self
            .at_ns
            .saturating_add((passed_ns as f64 * self.speed) as u64)
            .min(self.length_ns());
        self.feed(to_ns, picture);
        if self.at_ns >= self.length_ns() {
            self.playing = false;
        }
    }

    /// Goes to an instant: forward from here, backward from the start.
    pub fn seek(&mut self, to_ns: u64, picture: &mut RunView) {
        let to_ns = to_ns.min(self.length_ns());
        if to_ns < self.at_ns {
            *picture = RunView::default();
            self.next = 0;
        }
        self.feed(to_ns, picture);
    }

    fn feed(&mut self, to_ns: u64, picture: &mut RunView) {
        while let Some(entry) = self
            .entries
            .get(self.next)
            .filter(|entry| entry.time_ns <= to_ns)
        {
            picture.take(entry.clone());
            self.next += 1;
        }
        self.at_ns = to_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(ms: u64) -> Entry {
        Entry {
            time_ns: ms * 1_000_000,
            event: Event::Say {
                text: format!("at {ms}"),
            },
        }
    }

    #[test]
    fn a_replay_shows_at_an_instant_what_had_happened_by_then_in_both_directions() {
        let mut replay = Replay::new(vec![say(30), say(10), say(20)]);
        let mut picture = RunView::default();
        let lines = |picture: &RunView| picture.lines.len();
        replay.seek(20_000_000, &mut picture);
        assert_eq!(lines(&picture), 2);
        replay.seek(10_000_000, &mut picture);
        assert_eq!(lines(&picture), 1);
        replay.speed = 2.0;
        replay.advance(5_000_000, &mut picture);
        assert_eq!(
            (lines(&picture), replay.at_ns, replay.playing),
            (2, 20_000_000, true)
        );
        replay.advance(1_000_000_000, &mut picture);
        assert_eq!(
            (lines(&picture), replay.at_ns, replay.playing),
            (3, 30_000_000, false)
        );
    }
}
