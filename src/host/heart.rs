//! A thread that does nothing but wake up in time, and notices when it was late.
//!
//! Whoever is stopped (SIGSTOP, a debugger, a container that is frozen) or gets no processor does not see it: every
//! timer of it that is overdue fires at once, as if a node had had all that time to answer. So bounds that accuse
//! somebody are measured on a clock that goes on by no more than a beat at a time: while the bench stands, it stands.
//!
//! ```text
//!   wall   |--|--|--|-----------------|--|--|      a stop in the middle
//!   awake  |--|--|--|---              |--|--|      counts as one late beat
//! ```
//!
//! A machine that is suspended needs no care: the monotonic clock stands with it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two beats.
const BEAT: Duration = Duration::from_millis(10);
/// A beat that is later than this is late: the scheduler of a machine that is merely busy does better.
const LATE: Duration = Duration::from_millis(30);
/// Late beats that are remembered: those of half a minute, all of them late.
const KEPT: usize = 1_024;
/// One stop of so long is grave for whoever had to be heard: elections, pings and answers are overdue then,
const GRAVE_STOP: Duration = Duration::from_millis(750);
/// and a cluster needs so long afterwards to find itself again.
const FELT_FOR: Duration = Duration::from_secs(5);
/// And so is one part in so many of the time, in many small stops,
const GRAVE_SHARE: u32 = 5;
/// over as much time as a healed cluster has to agree.
const STARVED_OVER: Duration = Duration::from_secs(12);

/// Beats until it is dropped.
#[derive(Debug)]
pub struct Heart {
    beats: Arc<Mutex<Beats>>,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Beats {
    began: Instant,
    last: Instant,
    awake: Duration,
    worst: Duration,
    /// When a late beat came, and how late; the newest last.
    late: VecDeque<(Instant, Duration)>,
}

/// How late the bench's own timers were over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strain {
    /// Over how long that was.
    pub over: Duration,
    /// All late beats together: the bench did nothing for so long.
    pub stalled: Duration,
    /// The latest one.
    pub worst: Duration,
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the bench itself was stopped or starved for {:.1} of the last {:.0} s, up to {} ms at a time",
            self.stalled.as_secs_f64(),
            self.over.as_secs_f64(),
            self.worst.as_millis()
        )
    }
}

impl Beats {
    fn begin(now: Instant) -> Beats {
        Beats {
            began: now,
            last: now,
            awake: Duration::ZERO,
            worst: Duration::ZERO,
            late: VecDeque::new(),
        }
    }

    fn beat(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.last);
        let late = passed.saturating_sub(BEAT);
        self.worst = self.worst.max(late);
        if late > LATE {
            self.late.push_back((now, late));
            if self.late.len() > KEPT {
                self.late.pop_front();
            }
        }
        self.awake += passed.min(BEAT + LATE);
        self.last = now;
    }

    /// Whoever asks may wake up before the heart does: what has passed since the last beat counts as one, too.
    fn awake(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.last);
        self.awake + passed.min(BEAT + LATE)
    }

    fn grave_strain(&self, now: Instant) -> Option<Strain> {
        let stop = self.strain(now, FELT_FOR);
        let starved = self.strain(now, STARVED_OVER);
        // Of less time than a stop is felt nothing can be said.
        let is_starved = starved.stalled * GRAVE_SHARE >= starved.over.max(FELT_FOR);
        match stop.worst >= GRAVE_STOP {
            true => Some(stop),
            false => is_starved.then_some(starved),
        }
    }

    fn strain(&self, now: Instant, over: Duration) -> Strain {
        let over = over.min(now.saturating_duration_since(self.began));
        let since_last = now.saturating_duration_since(self.last);
        let overdue = since_last.saturating_sub(BEAT);
        let recent = self.late.iter().rev();
        let recent = recent.take_while(|(at, _)| now.saturating_duration_since(*at) <= over);
        let late = recent.map(|(_, late)| *late);
        let late = late.chain((overdue > LATE).then_some(overdue));
        late.fold(
            Strain {
                over,
                ..Strain::default()
            },
            |sum, late| Strain {
                stalled: sum.stalled + late,
                worst: sum.worst.max(late),
                ..sum
            },
        )
    }
}

impl Heart {
    /// Begins to beat.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start() -> io::Result<Heart> {
        let beats = Arc::new(Mutex::new(Beats::begin(Instant::now())));
        let (stop, stopped) = channel::<()>();
        let shared = beats.clone();
        let thread = std::thread::Builder::new()
            .name("heart".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                    lock(&shared).beat(Instant::now());
                }
            })?;
        Ok(Heart {
            beats,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// For how long the bench has been awake.
    #[must_use]
    pub fn awake(&self) -> Duration {
        lock(&self.beats).awake(Instant::now())
    }

    /// An instant so far from now, on that clock.
    #[must_use]
    pub fn deadline(&self, within: Duration) -> Deadline<'_> {
        Deadline {
            heart: self,
            at: self.awake() + within,
        }
    }

    /// The work's end, or nothing where it has not ended when the bench has been awake for so long.
    pub async fn within<T>(&self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        let deadline = self.deadline(time);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                // What woke up late with everybody else has its turn first.
                () = tokio::time::sleep(BEAT + LATE) => if deadline.is_over() {
                    return None;
                }
            }
        }
    }

    /// How late its beats were, where that is so grave that somebody who was not heard may have been there.
    #[must_use]
    pub fn grave_strain(&self) -> Option<Strain> {
        lock(&self.beats).grave_strain(Instant::now())
    }

    /// The latest beat of all.
    #[must_use]
    pub fn worst(&self) -> Duration {
        lock(&self.beats).worst
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic; and one that did has nothing to give back.
            let _ = thread.join();
        }
    }
}

fn lock(beats: &Mutex<Beats>) -> MutexGuard<'_, Beats> {
    // A beat is whole or has not begun.
    beats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An instant that is not reached while the bench stands still.
#[derive(Clone, Copy, Debug)]
pub struct Deadline<'a> {
    heart: &'a Heart,
    at: Duration,
}

impl Deadline<'_> {
    /// Whether it has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.heart.awake() > self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Beats at these instants, in milliseconds since the beginning.
    fn beats(at: &[u32]) -> (Beats, Instant) {
        let start = Instant::now();
        let mut beats = Beats::begin(start);
        for &at in at {
            beats.beat(start + at * MS);
        }
        (beats, start)
    }

    #[test]
    fn the_clock_stands_while_the_bench_does() {
        // On time, then stopped for ten seconds, then on time.
        let (beats, start) = beats(&[10, 20, 10_020, 10_030]);
        assert_eq!(beats.awake(start + 10_030 * MS), 70 * MS);
        assert_eq!(beats.worst, 9_990 * MS);
        // Who asks first after another stop hears no more than a late beat of it either.
        assert_eq!(beats.awake(start + 99_000 * MS), 110 * MS);
    }

    #[test]
    fn a_stop_is_grave_and_a_busy_scheduler_is_not() {
        let grave = |at: &[u32], now: u32| {
            let (beats, start) = beats(at);
            beats.grave_strain(start + now * MS)
        };
        let on_time: Vec<u32> = (1..200).map(|beat| beat * 12).collect();
        assert_eq!(grave(&on_time, 2_400), None);
        let stopped = grave(&[10, 20, 10_020, 10_030], 10_030).expect("it is grave");
        assert_eq!(stopped.worst, 9_990 * MS, "{stopped}");
        // Stopped now, and the heart has not beaten since.
        assert!(grave(&[10, 20], 10_020).is_some());
        // Small stops, for most of the time.
        let starved: Vec<u32> = (1..100).map(|beat| beat * 60).collect();
        assert!(grave(&starved, 6_000).is_some());
        assert_eq!(grave(&starved[..5], 300), None, "it has only begun");
        // One small stop in two seconds.
        let mut once = on_time;
        once.retain(|at| !(1_000..1_100).contains(at));
        assert_eq!(grave(&once, 2_400), None);
    }

    #[test]
    fn a_stop_is_forgotten_when_a_cluster_has_had_the_time_to_get_over_it() {
        let (mut beats, start) = beats(&[10, 1_510]);
        assert!(beats.grave_strain(start + 1_520 * MS).is_some());
        let mut forgotten = None;
        for beat in 0..1_200 {
            let now = 1_520 + beat * 10;
            beats.beat(start + now * MS);
            let over = beats.grave_strain(start + now * MS).is_none();
            forgotten = forgotten.or(over.then_some(now));
        }
        // A fifth of the time until then.
        assert_eq!(forgotten, Some(7_460));
    }

    #[tokio::test]
    async fn work_that_ends_in_time_is_done_and_other_work_is_given_up() {
        let heart = Heart::start().expect("a thread");
        let minute = Duration::from_secs(60);
        assert_eq!(heart.within(minute, async { 7 }).await, Some(7));
        let never = std::future::pending::<()>();
        assert_eq!(heart.within(30 * MS, never).await, None);
    }

    #[test]
    fn a_deadline_is_over_when_the_bench_was_awake_for_so_long() {
        let heart = Heart::start().expect("a thread");
        let deadline = heart.deadline(20 * MS);
        assert!(!heart.deadline(Duration::from_secs(60)).is_over());
        let began = Instant::now();
        while !deadline.is_over() {
            assert!(began.elapsed() < Duration::from_secs(60), "it beats");
            std::thread::park_timeout(MS);
        }
        assert!(began.elapsed() >= 20 * MS);
    }
}
