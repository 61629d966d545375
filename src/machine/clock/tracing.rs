//! The two things that need a tracer, each for a moment: a program that begins, and a thread that hands over a time.
//!
//! A thread that waits for the bench's answer is seized first, and let go on; it is then stopped as soon as the kernel
//! has taken its call up. Only the thread that seizes may do the rest, and its end would end the tracing: nothing stays
//! traced.

use std::io;

use crate::caller::Caller;
use crate::sys::{self, Stop};

/// `AT_SYSINFO_EHDR` and `AT_IGNORE` of getauxval(3).
const VDSO: u64 = 33;
const IGNORE: u64 = 1;

/// A stack's head (arguments, environment, auxiliary vector as pointers) is far smaller.
const HEAD: usize = 1 << 20;

/// Lets the caller's `exec` go on, and strikes the vDSO out of what the new program is told of itself. `stopped` is called
/// once: when the thread has stopped and not gone on yet, or is not traced.
///
/// # Errors
/// It cannot be traced: the exec goes on as it is.
pub(super) fn exec_without_vdso(caller: &Caller, stopped: impl FnOnce()) -> io::Result<()> {
    let tid = caller.call().tid;
    if let Err(error) = sys::seize(tid, sys::EXECS) {
        stopped();
        return Err(error);
    }
    caller.go_on();
    // Whether the exec succeeds or not, there is one stop: at its success, or where the thread comes back from it.
    sys::interrupt(tid);
    let stop = sys::stop();
    stopped();
    match stop? {
        Stop::Exec(pid) => {
            let struck = strike_vdso(pid);
            sys::detach(pid, 0);
            struck
        }
        Stop::Other { tid, signal } => {
            sys::detach(tid, signal);
            Ok(())
        }
        Stop::Ended => Ok(()),
    }
}

/// Lets the caller's call go on with another time at `at`, which is what it was again when the program looks.
///
/// # Errors
/// It cannot be traced, or its memory not be written: the call is still to go on.
pub(super) fn with_other_time(
    caller: &Caller,
    at: u64,
    asked: (i64, i64),
    real: (i64, i64),
) -> io::Result<()> {
    let tid = caller.call().tid;
    sys::seize(tid, 0)?;
    let written = super::write_pair(caller, at, real);
    caller.go_on();
    sys::interrupt(tid);
    match sys::stop()? {
        Stop::Exec(tid) => sys::detach(tid, 0),
        Stop::Other { tid, signal } => {
            // The kernel has its copy, and goes on with that one: it restarts such a wait without a look at the memory.
            if written.is_ok() && read_pair(tid, at).is_ok_and(|now| now == real) {
                let _ = write_pair(tid, at, asked);
            }
            sys::detach(tid, signal);
        }
        Stop::Ended => {}
    }
    written
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

fn read_pair(tid: u32, at: u64) -> io::Result<(i64, i64)> {
    let mut bytes = [0; 16];
    if sys::read_memory(tid, at, &mut bytes)? < 16 {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    let number = |part: &[u8]| i64::from_ne_bytes(part.try_into().expect("eight bytes"));
    Ok((number(&bytes[..8]), number(&bytes[8..])))
}

fn write_pair(tid: u32, at: u64, (first, second): (i64, i64)) -> io::Result<()> {
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
