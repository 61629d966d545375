//! A node's clocks, which can run fast or slow, stand still, and jump: wall and monotonic apart.
//!
//! Programs read clocks from a page that the kernel puts into every process (the vDSO), which nobody sees. So that page's
//! address is struck out of the auxiliary vector at every `exec`, and libc, Go and Rust ask the kernel instead: that is
//! a call, and it is answered here. Where a clock is only wanted [on demand](Clock::on_demand), that begins when it is: in
//! processes that run already the functions of that page are changed. A deadline that a program computes from such a clock
//! is given back to the kernel, as an absolute time; it is translated into the kernel's own.
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
//! memory for some microseconds after its call. A clock that is heard costs a notification a read, bent or not; on
//! demand, only those waits cost one that have an absolute deadline.

mod deadline;
mod hand;
mod tracing;
mod vdso;

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
use crate::launch::Program;
use crate::supervisor::lock;
use crate::watcher::{Answer, Want, Watcher};

/// Ops of futex(2) that take an absolute time have this bit: `FUTEX_WAIT_BITSET`, which libc, Rust and Java use.
const FUTEX_ABSOLUTE: u32 = 8;

/// So often a program is stopped to be made to ask the kernel, with a moment in between.
const TRIES: usize = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// One node's clocks.
#[derive(Default)]
pub struct Clock {
    /// Whether programs read them unheard until they are [reached](Clock::reach).
    on_demand: bool,
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

    /// The same, and programs that were started before a clock went wrong read it unheard until they are
    /// [reached](Clock::reach).
    #[must_use]
    pub fn on_demand() -> Arc<Self> {
        Arc::new(Self {
            on_demand: true,
            ..Self::default()
        })
    }

    /// Sees to it that a program which runs under watch of this clock is heard when it reads it: to be done whenever a clock
    /// is about to go wrong. It is stopped for some milliseconds, and goes on even if it stood before.
    ///
    /// # Errors
    /// It could not be stopped or looked into: its clocks may be real.
    pub fn reach(&self, program: &Program) -> io::Result<()> {
        for _ in 0..TRIES {
            program.pause().map_err(io::Error::other)?;
            let mut processes = program.processes().into_iter();
            let reached = processes.try_fold(true, |all, pid| {
                vdso::ask_the_kernel(pid).map(|reached| all && reached)
            });
            program.resume();
            if reached? {
                return Ok(());
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        Err(io::Error::other("it reads its clocks all the time"))
    }

    /// From now on this clock runs at `rate`: 1 as the real one, 0 not at all.
    ///
    /// # Panics
    /// With a rate that is negative or no number.
    pub fn run(&self, hand: Hand, rate: f64) {
        assert!(rate >= 0.0 && rate.is_finite(), "a clock at rate {rate}");
        self.change(hand, |bend, now| bend.run(now, rate));
    }

    /// The wall clock jumps, forward or (negative) back, in nanoseconds, and the monotonic one does not.
    pub fn step(&self, by_ns: i64) {
        self.change(Hand::Wall, |bend, now| bend.step(now, by_ns));
    }

    /// Both jump forward by `skip`, as in a program whose machine has been asleep, and run at `rate` from now on. Gives what
    /// the wall clock shows at that instant.
    ///
    /// # Panics
    /// With a rate that is negative or no number.
    pub fn set(&self, rate: f64, skip: Duration) -> Duration {
        assert!(rate >= 0.0 && rate.is_finite(), "a clock at rate {rate}");
        let skip = i64::try_from(skip.as_nanos()).unwrap_or(i64::MAX);
        let mut bends = lock(&self.bends);
        let shown = [Hand::Monotonic, Hand::Wall].map(|hand| {
            let (bend, now) = (&mut bends[hand as usize], now(hand.clock()));
            bend.step(now, skip);
            bend.run(now, rate);
            now + bend.shift(now)
        });
        drop(bends);
        self.changed.notify_all();
        Duration::from_nanos(u64::try_from(shown[1]).unwrap_or_default())
    }

    /// Both run as they should. The wall clock is right again; the monotonic one goes on from where it is, unless that
    /// would be back.
    pub fn straighten(&self) {
        self.change(Hand::Wall, |bend, _| *bend = Bend::default());
        self.change(Hand::Monotonic, |bend, now| bend.run(now, 1.0));
    }

    /// Both show the real time, as on a machine that was started again: none of its programs runs any more.
    pub fn restart(&self) {
        *lock(&self.bends) = Default::default();
        self.changed.notify_all();
    }

    /// How far the clock is from the real one now, in nanoseconds; positive where it is ahead.
    #[must_use]
    pub fn ahead_ns(&self, hand: Hand) -> i64 {
        let shift = lock(&self.bends)[hand as usize].shift(now(hand.clock()));
        i64::try_from(shift).unwrap_or(i64::MAX)
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
        if self.on_demand && lock(&self.bends).iter().all(Bend::straight) {
            return Answer::Pass;
        }
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
