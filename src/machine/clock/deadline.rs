//! Deadlines: a program hands the kernel "the bent now, and so much"; the kernel must get its own time instead.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::hand::{Hand, nanoseconds, parts};
use super::tracing::Pair;
use super::{Clock, LOOK, both, now, read_pair};
use crate::call::Reply;
use crate::caller::Caller;
use crate::supervisor::lock;
use crate::watcher::Answer;

impl Clock {
    /// `clock_nanosleep(clock, TIMER_ABSTIME, deadline, _)`: the bench waits instead, and so heeds what the clock does
    /// meanwhile.
    pub(super) fn nanosleep(self: &Arc<Self>, caller: &Caller) -> io::Result<Answer> {
        let [clock, _, at, ..] = caller.call().args;
        let Some((hand, clock)) = Hand::of(clock as i32) else {
            return Ok(Answer::Pass);
        };
        if self.bend(hand).straight() {
            return Ok(Answer::Pass);
        }
        let (seconds, rest) = read_pair(caller, at)?;
        if seconds < 0 || !(0..1_000_000_000).contains(&rest) {
            return Ok(Answer::Pass);
        }
        // The same instant by the clock that bends are measured by.
        let (shown, main) = both(clock, hand.clock());
        let deadline = nanoseconds(seconds, rest) - shown + main;
        let (this, caller) = (Arc::clone(self), caller.clone());
        Ok(Answer::later(move || this.wait(&caller, hand, deadline)))
    }

    fn wait(&self, caller: &Caller, hand: Hand, deadline: i128) -> Reply {
        let mut waited = false;
        let mut bends = lock(&self.bends);
        loop {
            let left = bends[hand as usize].until(now(hand.clock()), deadline);
            let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else {
                return Reply::Value(0);
            };
            if !caller.waits() {
                return Reply::Continue;
            }
            // One that still waits at a second look is this thread's to take, and no other's.
            let waits = signal_waits(caller);
            if waits && waited {
                return Reply::Errno(libc::EINTR);
            }
            waited = waits;
            let patience = Duration::from_nanos(left).min(LOOK);
            let woken = self.changed.wait_timeout(bends, patience);
            bends = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// `futex(word, op, value, deadline, ...)`, for the ops whose time is absolute.
    pub(super) fn futex(self: &Arc<Self>, caller: &Caller) -> Answer {
        let [_, op, _, at, ..] = caller.call().args;
        let op = op as i32;
        if op & libc::FUTEX_CMD_MASK != libc::FUTEX_WAIT_BITSET {
            return Answer::Pass;
        }
        let hand = match op & libc::FUTEX_CLOCK_REALTIME {
            0 => Hand::Monotonic,
            _ => Hand::Wall,
        };
        self.translated(caller, at, hand)
    }

    /// `timerfd_settime(fd, TFD_TIMER_ABSTIME, new, old)`. An interval stays real.
    pub(super) fn timerfd(self: &Arc<Self>, caller: &Caller) -> Answer {
        let at = caller.call().args[2] + 16;
        let hand = match caller.field(caller.int(0), "clockid:").as_deref() {
            Ok("0" | "8") => Hand::Wall,
            _ => Hand::Monotonic,
        };
        self.translated(caller, at, hand)
    }

    /// The call, with a time of the kernel's where the program's own is.
    fn translated(self: &Arc<Self>, caller: &Caller, at: u64, hand: Hand) -> Answer {
        if self.bend(hand).straight() {
            return Answer::Pass;
        }
        let (this, caller) = (Arc::clone(self), caller.clone());
        Answer::later(move || {
            // Where the thread cannot be held, the deadline stays as it is: late or early, as without a clock.
            this.tracers
                .with_other_time(&caller, at, |own| this.translate(hand, own));
            Reply::Gone
        })
    }

    /// When it really is what the clock calls so; `None` where that is the same, or no time: no time at all takes a timer
    /// back.
    fn translate(&self, hand: Hand, (seconds, rest): Pair) -> Option<Pair> {
        let bend = self.bend(hand);
        let is_time = seconds >= 0 && (0..1_000_000_000).contains(&rest);
        if bend.straight() || !is_time || (seconds, rest) == (0, 0) {
            return None;
        }
        let now = now(hand.clock());
        let real = now + bend.until(now, nanoseconds(seconds, rest));
        // The earliest instant that the kernel takes as one.
        Some(parts(real.max(1)))
    }
}

/// Signals that stop a program or let it go on: a wait in the kernel outlasts them.
const JOB_CONTROL: u64 = 1 << (libc::SIGSTOP - 1)
    | 1 << (libc::SIGCONT - 1)
    | 1 << (libc::SIGTSTP - 1)
    | 1 << (libc::SIGTTIN - 1)
    | 1 << (libc::SIGTTOU - 1);

/// Whether a signal waits for this thread that it does not withhold: it is then to return, as the kernel's own wait would.
/// One that the program ignores never waits.
fn signal_waits(caller: &Caller) -> bool {
    let Ok(status) = std::fs::read_to_string(caller.proc("status")) else {
        return false;
    };
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    };
    (mask("SigPnd:") | mask("ShdPnd:")) & !mask("SigBlk:") & !JOB_CONTROL != 0
}
