//! Feeds events to the online checker on a thread of its own, and publishes the verdict so far.
//!
//! The recorder hands events over and goes on; the queue between the two is as long as the run's history at most, so
//! a search that takes its time delays the verdict and nothing else, and what it may take is bounded. The first violation
//! is published once, with the operations that prove it; events after it are let go, because nothing takes a violation
//! back. A key that is too hard to be followed is given up: the whole history decides when the run is over.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use checkers::history::{Event, EventKind};
use checkers::linear::Options;
use checkers::linear::online::{KeyState, Online};
use checkers::types::{self, DataType};
use checkers::verdict::{Counterexample, Verdict};

/// How far the judge is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Operations that are proven to have a legal order.
    pub proven: u64,
    /// Everything up to this event is proven.
    pub proven_to: u64,
    /// Operations begun and not ended.
    pub open: u64,
    /// Configurations held, over all keys.
    pub worlds: u64,
    /// A key on which a budget ran out.
    pub gave_up: Option<String>,
    /// Events taken in so far.
    pub events: u64,
}

/// Called with the first violation, from the judge's thread.
pub type Alarm = Box<dyn FnOnce(&Counterexample) + Send>;

/// A running judge.
pub struct Judge {
    so_far: Arc<Mutex<SoFar>>,
    thread: JoinHandle<Judged>,
}

/// Hands events to a judge, in order. When the last one is dropped, the judge makes its verdict.
#[derive(Clone)]
pub struct Feed(Sender<Event>);

impl Feed {
    /// Hands one event over. Nothing happens if the judge is gone, which its verdict will tell.
    pub fn push(&self, event: &Event) {
        let _ = self.0.send(event.clone());
    }
}

impl Judge {
    /// Starts a judge of histories of this data type; `None` is a register.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn start(of: Option<&'static dyn DataType>, alarm: Alarm) -> (Judge, Feed) {
        let (feed, events) = channel();
        let so_far = Arc::new(Mutex::new(SoFar::default()));
        let shared = so_far.clone();
        let thread = std::thread::Builder::new()
            .name("judge".to_owned())
            .spawn(move || judge(Growing::of(of), &events, &shared, alarm))
            .expect("the system has a thread left");
        (Judge { so_far, thread }, Feed(feed))
    }

    /// How far it is.
    ///
    /// # Panics
    /// If the judge's thread panicked while it published.
    #[must_use]
    pub fn so_far(&self) -> SoFar {
        self.so_far
            .lock()
            .expect("the judge publishes whole values")
            .clone()
    }

    /// Waits until every event is judged: all feeds must have been dropped.
    ///
    /// # Panics
    /// If the judge's thread panicked: a bug of ours, never a verdict.
    #[must_use]
    pub fn finish(self) -> Judged {
        self.thread.join().expect("the judge does not panic")
    }
}

/// What came of a history while it grew.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The verdict. Where it is unknown, the whole history may tell more: a growing one is followed with less.
    pub verdict: Verdict,
    /// How many events there were.
    pub events: u64,
}

/// What is published is at most this old while events come in.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// A history that grows, of whichever data type.
enum Growing {
    Register(Box<Online>),
    Other {
        online: Box<types::Online>,
        /// Events that cannot follow those before them.
        malformed: Vec<String>,
    },
}

impl Growing {
    fn of(of: Option<&'static dyn DataType>) -> Growing {
        let options = Options::default();
        match of {
            None => Growing::Register(Box::new(Online::new(options))),
            Some(of) => Growing::Other {
                online: Box::new(types::Online::new(of, options)),
                malformed: Vec::new(),
            },
        }
    }

    /// Takes an event; gives the violation that comes to light with it.
    fn push(&mut self, event: &Event) -> Option<Box<Counterexample>> {
        match (self, &event.kind) {
            (Growing::Register(online), _) => online.push(event),
            (Growing::Other { online, malformed }, EventKind::Typed(event)) => {
                let found = online.take((**event).clone());
                let found = found.unwrap_or_else(|why| {
                    malformed.push(format!("#{}: {why}", event.index));
                    None
                });
                found.map(|found| Box::new(found.clone().into()))
            }
            (Growing::Other { .. }, _) => None,
        }
    }

    /// Looks at what was put off.
    fn settle(&mut self) -> Option<Box<Counterexample>> {
        match self {
            Growing::Register(online) => online.settle(),
            Growing::Other { online, .. } => {
                let found = online.settle();
                found.map(|found| Box::new(found.clone().into()))
            }
        }
    }

    fn look(&self, events: u64) -> SoFar {
        match self {
            Growing::Register(online) => look(online, events),
            Growing::Other { online, .. } => {
                let progress = online.progress();
                SoFar {
                    proven: progress.proven,
                    proven_to: progress.proven_to,
                    open: progress.open,
                    worlds: 1,
                    gave_up: progress.gave_up,
                    events,
                }
            }
        }
    }

    /// The verdict, unless a violation was found already.
    fn finish(self, found: Option<Box<Counterexample>>) -> Verdict {
        let malformed = match &self {
            Growing::Register(online) => format!("{:?}", online.malformed()),
            Growing::Other { malformed, .. } => format!("{malformed:?}"),
        };
        assert!(
            malformed == "[]",
            "the recorder wrote what cannot be: {malformed}"
        );
        match (found, self) {
            (Some(found), _) => Verdict::Violation(found),
            (None, Growing::Register(online)) => online.finish(),
            (None, Growing::Other { online, .. }) => online.finish().verdict.into(),
        }
    }
}

fn judge(
    mut online: Growing,
    events: &Receiver<Event>,
    so_far: &Mutex<SoFar>,
    alarm: Alarm,
) -> Judged {
    let mut alarm = Some(alarm);
    let mut found = None;
    let mut seen = 0;
    let mut published = Instant::now();
    loop {
        let first = match events.recv_timeout(PUBLISH_EVERY) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let quiet = first.is_none();
        // Whatever has come by now is taken in before anything is published.
        for event in first.into_iter().chain(events.try_iter()) {
            seen += 1;
            found = found.or_else(|| online.push(&event));
        }
        let due = quiet || published.elapsed() >= PUBLISH_EVERY;
        if due {
            // What the checker put off is looked at now, so that no alarm waits for a batch to fill.
            found = found.or_else(|| online.settle());
        }
        if let Some(counterexample) = &found
            && let Some(alarm) = alarm.take()
        {
            alarm(counterexample);
        }
        if due {
            *so_far.lock().expect("readers do not panic") = online.look(seen);
            published = Instant::now();
        }
    }
    Judged {
        verdict: online.finish(found),
        events: seen,
    }
}

fn look(online: &Online, events: u64) -> SoFar {
    let progress = online.progress();
    let mut keys = progress.keys.into_iter();
    SoFar {
        proven: progress.ops_proven,
        proven_to: progress.proven_to.unwrap_or(0),
        open: progress.open,
        worlds: progress.worlds,
        gave_up: keys
            .find(|key| key.state == KeyState::Unknown)
            .map(|key| key.key),
        events,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use checkers::history::{At, Call, EventKind, Outcome};

    use super::*;

    fn feed(events: &[(u64, EventKind)]) -> (Verdict, Option<u64>) {
        let (rang, alarms) = mpsc::channel();
        let (judge, feed) = Judge::start(
            None,
            Box::new(move |found| rang.send(found.culprit).unwrap()),
        );
        for (index, (client, kind)) in (0..).zip(events) {
            let (client, kind) = (Some(*client), kind.clone());
            feed.push(&Event {
                index,
                time_ns: index,
                client,
                node: None,
                kind,
            });
        }
        drop(feed);
        let Judged { verdict, .. } = judge.finish();
        (verdict, alarms.try_recv().ok())
    }

    fn invoke(client: u64, call: Call) -> (u64, EventKind) {
        (
            client,
            EventKind::Invoke {
                key: "k1".to_owned(),
                call,
            },
        )
    }

    fn ok(client: u64, value: Option<i64>) -> (u64, EventKind) {
        (
            client,
            EventKind::Complete {
                outcome: Outcome::Ok(value),
                at: None,
                error: None,
            },
        )
    }

    #[test]
    fn a_stale_read_rings_once_and_a_read_of_the_newest_does_not() {
        let history = |seen| {
            let write = |value| [invoke(1, Call::Write(value)), ok(1, None)];
            let read = [invoke(2, Call::Read), ok(2, Some(seen))];
            [write(1), write(2), read].concat()
        };
        let (verdict, alarm) = feed(&history(1));
        assert_eq!((verdict.name(), alarm), ("violation", Some(4)));
        let (verdict, alarm) = feed(&history(2));
        assert_eq!((verdict.name(), alarm), ("linearizable", None));
    }

    #[test]
    fn a_cas_that_failed_by_its_comparison_rings_where_it_must_have_succeeded() {
        let history = |outcome, at| {
            let failed = EventKind::Complete {
                outcome,
                at,
                error: None,
            };
            let write = [invoke(1, Call::Write(1)), ok(1, None)];
            let cas = [invoke(2, Call::Cas { old: 1, new: 2 }), (2, failed)];
            let read = [invoke(1, Call::Read), ok(1, Some(1))];
            [write, cas, read].concat()
        };
        let at = Some(At { term: 1, index: 2 });
        for outcome in [
            Outcome::Failed,
            Outcome::Differed(Some(1)),
            Outcome::Differed(None),
        ] {
            let (verdict, alarm) = feed(&history(outcome, at));
            assert_eq!(
                (verdict.name(), alarm),
                ("violation", Some(2)),
                "{outcome:?}"
            );
        }
        // It was refused: nobody compared anything.
        let (verdict, alarm) = feed(&history(Outcome::Failed, None));
        assert_eq!((verdict.name(), alarm), ("linearizable", None));
    }
}
