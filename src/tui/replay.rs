//! A finished run as a feed: everything that it told, at any speed, at any instant, without a cluster.

use std::sync::Arc;

use super::picture::Picture;
use crate::run::{Notice, Told};

/// Where a replay stands.
#[derive(Clone, Debug)]
pub struct Replay {
    told: Arc<[Told]>,
    /// How many were told.
    next: usize,
    /// The instant that is shown.
    pub at_ns: u64,
    /// Whether time goes by.
    pub playing: bool,
    /// How many times faster than it happened.
    pub speed: f64,
}

/// The instant of a fact.
#[must_use]
pub fn time_of(told: &Told) -> u64 {
    match told {
        Told::Notice { time_ns, .. } => *time_ns,
        Told::Event(event) => event.time_ns,
    }
}

impl Replay {
    /// At the beginning, playing at the speed of life. Sorts by instant; what has one instant keeps its order.
    #[must_use]
    pub fn new(mut told: Vec<Told>) -> Self {
        told.sort_by_key(time_of);
        Replay {
            told: told.into(),
            next: 0,
            at_ns: 0,
            playing: true,
            speed: 1.0,
        }
    }

    /// The last instant.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.told.last().map_or(0, time_of)
    }

    /// When the alarm was raised, if it was.
    #[must_use]
    pub fn alarm_ns(&self) -> Option<u64> {
        self.told
            .iter()
            .find(|told| {
                matches!(
                    told,
                    Told::Notice {
                        notice: Notice::Alarm { .. },
                        ..
                    }
                )
            })
            .map(time_of)
    }

    /// Lets so much of the session's time go by.
    pub fn advance(&mut self, passed_ns: u64, picture: &mut Picture) {
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
    pub fn seek(&mut self, to_ns: u64, picture: &mut Picture) {
        let to_ns = to_ns.min(self.length_ns());
        if to_ns < self.at_ns {
            *picture = Picture::default();
            self.next = 0;
        }
        self.feed(to_ns, picture);
    }

    fn feed(&mut self, to_ns: u64, picture: &mut Picture) {
        while let Some(told) = self
            .told
            .get(self.next)
            .filter(|told| time_of(told) <= to_ns)
        {
            picture.told(told.clone());
            self.next += 1;
        }
        self.at_ns = to_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(ms: u64) -> Told {
        Told::Notice {
            time_ns: ms * 1_000_000,
            notice: Notice::Say {
                text: format!("at {ms}"),
            },
        }
    }

    #[test]
    fn a_replay_shows_at_an_instant_what_had_been_told_by_then_in_both_directions() {
        let mut replay = Replay::new(vec![say(30), say(10), say(20)]);
        let mut picture = Picture::default();
        let lines = |picture: &Picture| picture.lines.len();
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
