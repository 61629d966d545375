//! A node's clocks, which can run fast or slow, stand still, and jump: wall and monotonic apart.
//!
//! Programs read clocks from a page that the kernel puts into every process (the vDSO), which nobody sees. So that page's
//! address is struck out of the auxiliary vector at every `exec`, and libc, Go and Rust ask the kernel instead: that is
//! a call, and it is answered here. A deadline that a program computes from such a clock is given back to the kernel, as
//! an absolute time; it is translated into the kernel's own.
//!
//! ```text
//!  clock_gettime, gettimeofday, time   ──▶  the bent time
//!  clock_nanosleep to an instant       ──▶  a wait in the bench, which heeds changes of the clock
//!  futex until an instant              ──▶  the kernel's futex, until the translated instant
//!  timerfd_settime to an instant       ──▶  the same, translated
//!  exec                                ──▶  the same, and no vDSO
//! ```
//!
//! What cannot be bent: relative timeouts (`epoll_wait`, `poll`, `nanosleep`) stay real, so a slow clock makes timers late
//! as it should, and a fast one cannot make them early; a processor's own counter (`rdtsc`); time stamps of files; timers
//! of `timer_settime` and priority-inheriting futexes. Before Linux 5.19 the translated time may stand in a program's
//! memory for some microseconds after its call. A clock costs a notification a read, bent or not: it is only put
//! on a program that a plan may want it for.

mod deadline;
mod hand;
mod tracing;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub use hand::Hand;
use hand::{Bend, nanoseconds, parts};
use tracing::Tracers;

use crate::call::Reply;
use crate::caller::Caller;
use crate::supervisor::lock;
use crate::watcher::{Answer, Want, Watcher};

/// Ops of futex(2) that take an absolute time have this bit: `FUTEX_WAIT_BITSET`, which libc, Rust and Java use.
const FUTEX_ABSOLUTE: u32 = 8;

/// One node's clocks.
#[derive(Default)]
pub struct Clock {
    bends: Mutex<[Bend; 2]>,
    changed: Condvar,
    /// How many of a program's reads were answered with another time than the real one.
    bent: AtomicU64,
    tracers: Tracers,
}

impl Clock {
    /// Clocks that show the real time.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// From now on this clock runs at `rate`: 1 as the real one, 0 not at all.
    ///
    /// # Panics
    /// With a rate that is negative or no number.
    pub fn run(&self, hand: Hand, rate: f64) {
        assert!(rate >= 0.0 && rate.is_finite(), "a clock at rate {rate}");
        self.change(hand, |bend, now| bend.run(now, rate));
    }

    /// The wall clock jumps, forward or (negative) back, in nanoseconds. The monotonic one never does.
    pub fn step(&self, by_ns: i64) {
        self.change(Hand::Wall, |bend, now| bend.step(now, by_ns));
    }

    /// Both run as they should. The wall clock is right again; the monotonic one goes on from where it is, unless that
    /// would be back.
    pub fn straighten(&self) {
        self.change(Hand::Wall, |bend, _| *bend = Bend::default());
        self.change(Hand::Monotonic, |bend, now| bend.run(now, 1.0));
    }

    /// How far the clock is from the real one now, in nanoseconds; positive where it is ahead.
    #[must_use]
    pub fn ahead_ns(&self, hand: Hand) -> i64 {
        let shift = lock(&self.bends)[hand as usize].shift(now(hand.clock()));
        i64::try_from(shift).unwrap_or(i64::MAX)
    }

    /// What the clock shows now: the time of day since 1970, or since some start.
    #[must_use]
    pub fn shows(&self, hand: Hand) -> Duration {
        let bends = lock(&self.bends);
        let now = now(hand.clock());
        let shown = now + bends[hand as usize].shift(now);
        Duration::from_nanos(u64::try_from(shown).unwrap_or_default())
    }

    /// How often something of a program stayed real because a thread could not be traced: the clocks of one that was
    /// started, or a deadline.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.tracers.missed()
    }

    /// How many reads of these clocks were answered with a time that is not the real one. A program whose reads do not
    /// count here, while its clocks are wrong, reads them in a way that nobody hears (a processor's own counter), or not
    /// at all.
    #[must_use]
    pub fn bent(&self) -> u64 {
        self.bent.load(Ordering::Relaxed)
    }

    fn change(&self, hand: Hand, change: impl FnOnce(&mut Bend, i128)) {
        change(&mut lock(&self.bends)[hand as usize], now(hand.clock()));
        self.changed.notify_all();
    }

    fn bend(&self, hand: Hand) -> Bend {
        lock(&self.bends)[hand as usize]
    }

    /// `clock_gettime(clock, time)`.
    fn gettime(&self, caller: &Caller) -> io::Result<Answer> {
        let [clock, at, ..] = caller.call().args;
        let Some((hand, clock)) = Hand::of(clock as i32) else {
            return Ok(Answer::Pass);
        };
        let Some(time) = self.time(hand, clock) else {
            return Ok(Answer::Pass);
        };
        write_pair(caller, at, parts(time))?;
        Ok(Reply::Value(0).into())
    }

    /// `gettimeofday(time, zone)`.
    fn gettimeofday(&self, caller: &Caller) -> io::Result<Answer> {
        let [at, zone, ..] = caller.call().args;
        let Some(time) = self.time(Hand::Wall, ClockId::Realtime) else {
            return Ok(Answer::Pass);
        };
        let (seconds, nanoseconds) = parts(time);
        if at != 0 {
            write_pair(caller, at, (seconds, nanoseconds / 1000))?;
        }
        if zone != 0 {
            // The kernel's zone is UTC wherever anybody has looked since the nineties.
            caller.write(zone, &[0; 8])?;
        }
        Ok(Reply::Value(0).into())
    }

    /// `time(time)`, which aarch64 does not have.
    #[cfg(target_arch = "x86_64")]
    fn seconds(&self, caller: &Caller) -> io::Result<Answer> {
        let at = caller.call().args[0];
        let Some(time) = self.time(Hand::Wall, ClockId::Realtime) else {
            return Ok(Answer::Pass);
        };
        let (seconds, _) = parts(time);
        if at != 0 {
            caller.write(at, &seconds.to_ne_bytes())?;
        }
        Ok(Reply::Value(seconds).into())
    }

    /// What a clock shows; `None` where that is the real time.
    fn time(&self, hand: Hand, clock: ClockId) -> Option<i128> {
        let bend = self.bend(hand);
        (!bend.straight()).then(|| {
            self.bent.fetch_add(1, Ordering::Relaxed);
            let (shown, main) = both(clock, hand.clock());
            shown + bend.shift(main)
        })
    }

    /// `execve` and `execveat`: watched through, and the vDSO struck out.
    fn exec(self: &Arc<Self>, caller: &Caller) -> Answer {
        let (this, caller) = (Arc::clone(self), caller.clone());
        Answer::later(move || {
            this.tracers.exec_without_vdso(&caller);
            Reply::Gone
        })
    }
}

/// The watcher of a [`Clock`].
impl Watcher for Arc<Clock> {
    fn wants(&self) -> Vec<Want> {
        let absolute = |nr| Want::Bits {
            nr,
            arg: 1,
            mask: 1,
        };
        vec![
            Want::Always(libc::SYS_clock_gettime),
            Want::Always(libc::SYS_gettimeofday),
            #[cfg(target_arch = "x86_64")]
            Want::Always(libc::SYS_time),
            absolute(libc::SYS_clock_nanosleep),
            absolute(libc::SYS_timerfd_settime),
            Want::BothBits {
                nr: libc::SYS_futex,
                bits: [(1, FUTEX_ABSOLUTE), (3, u32::MAX)],
            },
            Want::Always(libc::SYS_execve),
            Want::Always(libc::SYS_execveat),
        ]
    }

    fn answer(&self, caller: &Caller) -> Answer {
        let answer = match caller.call().nr {
            libc::SYS_clock_gettime => self.gettime(caller),
            libc::SYS_gettimeofday => self.gettimeofday(caller),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_time => self.seconds(caller),
            libc::SYS_clock_nanosleep => self.nanosleep(caller),
            libc::SYS_timerfd_settime => Ok(self.timerfd(caller)),
            libc::SYS_futex => Ok(self.futex(caller)),
            libc::SYS_execve | libc::SYS_execveat => Ok(self.exec(caller)),
            _ => Ok(Answer::Pass),
        };
        match answer {
            Ok(answer) => answer,
            // No memory there, no descriptor: the kernel says so better. Nor is it the program's fault where the bench may
            // not look.
            Err(_) => Answer::Pass,
        }
    }
}

/// A real clock, in nanoseconds.
fn now(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    nanoseconds(time.tv_sec, time.tv_nsec)
}

/// Two clocks at one instant: were they read apart, a clock that runs fast would be seen to go back.
fn both(clock: ClockId, main: ClockId) -> (i128, i128) {
    const APART_NS: i128 = 20_000;
    if clock == main {
        let now = now(main);
        return (now, now);
    }
    let mut tries = 0;
    loop {
        let before = now(main);
        let shown = now(clock);
        tries += 1;
        // A host that is that busy is no reason to wait for ever.
        if now(main) - before < APART_NS || tries == 10 {
            return (shown, before);
        }
    }
}

/// Two numbers of 64 bits, as `timespec` and `timeval` are on both architectures.
fn write_pair(caller: &Caller, at: u64, (first, second): (i64, i64)) -> io::Result<()> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_ne_bytes());
    bytes[8..].copy_from_slice(&second.to_ne_bytes());
    caller.write(at, &bytes)
}

fn read_pair(caller: &Caller, at: u64) -> io::Result<(i64, i64)> {
    let bytes = caller.bytes(at, 16)?;
    let number = |from: usize| {
        let bytes = bytes[from..from + 8].try_into().expect("eight bytes");
        i64::from_ne_bytes(bytes)
    };
    Ok((number(0), number(8)))
}

/// How often a wait in the bench looks whether a signal has come for the waiting thread.
const LOOK: Duration = Duration::from_millis(5);
