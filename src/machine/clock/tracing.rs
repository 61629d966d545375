//! The two things that need a tracer, each for a moment: a program that begins, and a thread that hands over a time.
//!
//! A thread that waits for the bench's answer is seized, and told to stop as soon as it comes back from the kernel; then
//! its call goes on. So it stops at the end of that very call, before it can run an instruction of its own. Only the
//! thread that seizes may do the rest, and its end would end the tracing: nothing stays traced.
//!
//! Before Linux 5.19 to tell it so early would interrupt its call, so it is told afterwards, and it may be in its next call
//! when it stops. That one is interrupted, made again, and gets a tracer of its own when the one before has let go.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::caller::Caller;
use crate::supervisor::lock;
use crate::sys::{self, Stop};

/// `AT_SYSINFO_EHDR` and `AT_IGNORE` of getauxval(3).
const VDSO: u64 = 33;
const IGNORE: u64 = 1;

/// A stack's head (arguments, environment, auxiliary vector as pointers) is far smaller.
const HEAD: usize = 1 << 20;

/// A time in a thread's memory, seconds and nanoseconds.
pub(super) type Pair = (i64, i64);

/// A time that stands in a thread's memory in the place of its own, for the kernel to read.
struct Lent {
    at: u64,
    own: Pair,
    other: Pair,
}

/// Who is traced at the moment, and what could not be.
#[derive(Default)]
pub(super) struct Tracers {
    /// Threads, each from before it is seized until it has stopped.
    traced: Mutex<HashSet<u32>>,
    stopped: Condvar,
    missed: AtomicU64,
}

impl Tracers {
    /// How many calls could not be traced that needed it.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Lets the caller's `exec` go on, and strikes the vDSO out of what the new program is told of itself.
    pub(super) fn exec_without_vdso(&self, caller: &Caller) {
        self.count(self.trace(caller, || Ok(None)));
    }

    /// Lets the caller's call go on with another time at `at` in its memory, where the program's own is again when it looks.
    /// `other` gives it for the own one, or nothing where that will do.
    pub(super) fn with_other_time(
        &self,
        caller: &Caller,
        at: u64,
        other: impl FnOnce(Pair) -> Option<Pair>,
    ) {
        let lend = || {
            let own = super::read_pair(caller, at)?;
            let Some(other) = other(own) else {
                return Ok(None);
            };
            super::write_pair(caller, at, other)?;
            Ok(Some(Lent { at, own, other }))
        };
        self.count(self.trace(caller, lend));
    }

    /// A thread that is gone has missed nothing.
    fn count(&self, traced: io::Result<()>) {
        if traced.is_err_and(|error| error.raw_os_error() != Some(libc::ESRCH)) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The call goes on, traced, after `lend` was done; what that has lent is put back.
    fn trace(
        &self,
        caller: &Caller,
        lend: impl FnOnce() -> io::Result<Option<Lent>>,
    ) -> io::Result<()> {
        let tid = caller.call().tid;
        // Whoever traces the thread still has told it to stop, so this does not last.
        let mut traced = lock(&self.traced);
        while !traced.insert(tid) {
            let woken = self.stopped.wait(traced);
            traced = woken.unwrap_or_else(PoisonError::into_inner);
        }
        drop(traced);
        // It may have been interrupted, and is about to call again.
        let seized = match caller.waits_again() {
            true => sys::seize(tid, sys::EXECS),
            false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        };
        if let Err(error) = seized {
            self.let_go(tid);
            caller.go_on();
            return Err(error);
        }
        let lent = lend();
        if caller.is_interruptible() {
            caller.go_on();
            sys::interrupt(tid);
        } else {
            sys::interrupt(tid);
            caller.go_on();
        }
        let stop = sys::stop();
        let ended = match stop {
            // Its memory is another program's by now.
            Ok(Stop::Exec(pid)) => strike_vdso(pid),
            // The kernel has its copy, and goes on with that: it restarts such a wait without a look at the memory.
            Ok(Stop::Other { tid, .. }) => {
                if let Ok(Some(Lent { at, own, other })) = &lent
                    && read_pair(tid, *at).is_ok_and(|now| now == *other)
                {
                    write_pair(tid, *at, *own)
                } else {
                    Ok(())
                }
            }
            Ok(Stop::Ended) => Ok(()),
            Err(ref error) => Err(io::Error::from(error.kind())),
        };
        // While it stands still: from the next instruction on it can need another tracer.
        self.let_go(tid);
        match stop {
            Ok(Stop::Exec(tid)) => sys::detach(tid, 0),
            Ok(Stop::Other { tid, signal }) => sys::detach(tid, signal),
            Ok(Stop::Ended) | Err(_) => {}
        }
        ended.and(lent.map(drop))
    }

    fn let_go(&self, tid: u32) {
        lock(&self.traced).remove(&tid);
        self.stopped.notify_all();
    }
}

/// The auxiliary vector lies above arguments and environment, where the stack of a new program begins.
fn strike_vdso(pid: u32) -> io::Result<()> {
    let bottom = stack(pid)?;
    let mut head = vec![0; HEAD];
    let read = sys::read_memory(pid, bottom, &mut head)?;
    let words: Vec<u64> = head[..read]
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
        .collect();
    let Some(at) = vdso(&words) else {
        return Ok(());
    };
    sys::write_memory(pid, bottom + 8 * at as u64, &IGNORE.to_ne_bytes())?;
    Ok(())
}

/// Where the vDSO's key is among the words of a new stack: a count, the arguments, zero, the environment, zero, pairs.
fn vdso(words: &[u64]) -> Option<usize> {
    let arguments = usize::try_from(*words.first()?).ok()?;
    let environment = arguments.checked_add(2)?;
    let length = words
        .get(environment..)?
        .iter()
        .position(|word| *word == 0)?;
    let pairs = environment + length + 1;
    let vector = words.get(pairs..)?.chunks_exact(2);
    let found = vector
        .take_while(|pair| pair[0] != 0)
        .position(|pair| pair[0] == VDSO);
    found.map(|pair| pairs + 2 * pair)
}

/// Where a process's stack begins: field 28 of `/proc/PID/stat`.
fn stack(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    fields
        .and_then(|fields| fields.split_whitespace().nth(25)?.parse().ok())
        .filter(|bottom| *bottom != 0)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_pair(tid: u32, at: u64) -> io::Result<Pair> {
    let mut bytes = [0; 16];
    if sys::read_memory(tid, at, &mut bytes)? < 16 {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    let number = |part: &[u8]| i64::from_ne_bytes(part.try_into().expect("eight bytes"));
    Ok((number(&bytes[..8]), number(&bytes[8..])))
}

fn write_pair(tid: u32, at: u64, (first, second): Pair) -> io::Result<()> {
    let bytes = [first.to_ne_bytes(), second.to_ne_bytes()].concat();
    sys::write_memory(tid, at, &bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vdso_is_found_behind_arguments_and_environment() {
        assert_eq!(
            vdso(&[2, 8, 8, 0, 9, 9, 9, 0, 3, 33, VDSO, 7, 0, 0]),
            Some(10)
        );
        assert_eq!(vdso(&[0, 0, 0, VDSO, 7, 0, 0]), Some(3));
        assert_eq!(vdso(&[0, 0, 0, 3, 7, 0, 0, VDSO, 1]), None);
        assert_eq!(vdso(&[9, 0, 0]), None);
    }
}
