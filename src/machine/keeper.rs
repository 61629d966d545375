//! The keeper: a small process between the bench and one program. Whatever the program leaves behind (daemons, orphans)
//! falls to the keeper and not to init, so the keeper's descendants are that program, no more and no less; when the
//! bench is gone, in whatever way, it ends them all.
//!
//! In: descriptor 0, the bench's socket, which says nothing and whose end is the order to end; descriptor 1, what the
//! starter is to get as its own descriptor 0. Out: a line a message on descriptor 0, see [`Word`].
//!
//! One keeper a program, because a daemon's ancestry ends at its subreaper: a shared one could not say whose it is.
//!
//! ```text
//!  bench ── guard ── keeper ── program ── its children
//! ```
//!
//! A keeper can be killed itself (where memory is short, by somebody's mistake), and what its program has forked would
//! then fall to init. So above it is a second one, the *guard*, which does nothing else: what a dead keeper leaves falls
//! to the guard, and is ended. A guard that is killed tells its keeper so by its death, and that ends the rest as for a
//! bench that is gone. Only where both are killed at once can what the program has forked outlive them.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, set_child_subreaper,
    set_parent_process_death_signal, setsid, wait,
};

use crate::processes::descendants;
use crate::program::Exit;
use crate::sys;

/// The first argument that makes a guard of this program.
pub(crate) const GUARD: &str = "machine-guard";
/// The first argument that makes a keeper of it; the guard's process number follows.
pub(crate) const KEEPER: &str = "machine-keeper";
/// The first argument that makes a starter of it.
pub(crate) const STARTER: &str = "machine-starter";

/// What a keeper tells the bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Process numbers, before the program runs.
    Started {
        /// The keeper's: the processes of the program are its descendants.
        keeper: u32,
        /// The program's own.
        program: u32,
    },
    /// No process could be made.
    Failed(i32),
    /// The program's own process has ended so. Others of it may live on.
    Ended(Exit),
}

impl Word {
    fn encode(&self) -> String {
        match self {
            Word::Started { keeper, program } => format!("started {keeper} {program}"),
            Word::Failed(errno) => format!("failed {errno}"),
            Word::Ended(Exit::Code(code)) => format!("code {code}"),
            Word::Ended(Exit::Signal(signal)) => format!("signal {signal}"),
        }
    }

    /// Reads what [`Word::encode`] wrote.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let (what, number) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(match what {
            "started" => {
                let (keeper, program) = number.split_once(' ')?;
                Word::Started {
                    keeper: keeper.parse().ok()?,
                    program: program.parse().ok()?,
                }
            }
            "failed" => Word::Failed(number.parse().ok()?),
            "code" => Word::Ended(Exit::Code(number.parse().ok()?)),
            "signal" => Word::Ended(Exit::Signal(number.parse().ok()?)),
            _ => return None,
        })
    }
}

/// A guard's life: it starts the keeper, and ends what that leaves behind.
pub(crate) fn guard() -> ExitCode {
    let stdin = io::stdin();
    let bench = stdin.as_fd();
    let me = getpid();
    let started = begin().and_then(|signals| {
        let to_bench = Stdio::from(bench.try_clone_to_owned()?);
        let arguments = [KEEPER.to_owned(), me.to_string()];
        Ok((signals, start(&arguments, to_bench, Wire::AsOutput)?))
    });
    match started {
        // That the bench is gone is the keeper's affair, which has to say how the program ended. Here its own end is the
        // order: after a good one nothing is left anyhow.
        Ok((signals, keeper)) => {
            let ended = |pid, _| match pid == keeper {
                true => Then::End,
                false => Then::GoOn,
            };
            watch(signals.as_fd(), None, ended)
        }
        Err(error) => failed(bench, &error),
    }
}

/// A keeper's life; it is given its guard's number.
pub(crate) fn keep(guard: Option<OsString>) -> ExitCode {
    let stdin = io::stdin();
    let bench = stdin.as_fd();
    let started = begin().and_then(|signals| {
        // Without its guard it ends, as it would without its bench; a guard that is gone by now sends no signal.
        set_parent_process_death_signal(Some(Signal::TERM))?;
        let guard = guard.and_then(|guard| Pid::from_raw(guard.to_str()?.parse().ok()?));
        if guard.is_none() || getppid() != guard {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok((
            signals,
            start(&[STARTER.to_owned()], Stdio::null(), Wire::AsInput)?,
        ))
    });
    match started {
        Ok((signals, program)) => {
            let keeper = number(getpid());
            tell(bench, &Word::Started { keeper, program });
            let ended = |pid, status: WaitStatus| {
                let exit = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Some(Exit::Code(code)),
                    (None, Some(signal)) => Some(Exit::Signal(signal)),
                    (None, None) => None,
                };
                if let Some(exit) = exit.filter(|_| pid == program) {
                    tell(bench, &Word::Ended(exit));
                }
                Then::GoOn
            };
            watch(signals.as_fd(), Some(bench), ended)
        }
        Err(error) => failed(bench, &error),
    }
}

/// What guard and keeper begin with: all that descends from them falls to them, and their signals are read.
fn begin() -> io::Result<OwnedFd> {
    // A session of its own: an interrupt typed at the bench's terminal is the bench's affair.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    sys::signals(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])
}

/// Where a child finds the starter's socket, which is descriptor 1 here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// As descriptor 0: it is the starter.
    AsInput,
    /// As descriptor 1: it hands it on.
    AsOutput,
}

/// Starts this program once more, as what its arguments say, and hands the starter's socket over. Gives its number.
fn start(arguments: &[String], other: Stdio, wire: Wire) -> io::Result<u32> {
    let socket = Stdio::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    // The bench sees the starter's end of that socket close; nobody else may hold it.
    rustix::stdio::dup2_stdout(&null)?;
    let (stdin, stdout) = match wire {
        Wire::AsInput => (socket, other),
        Wire::AsOutput => (other, socket),
    };
    let child = Command::new("/proc/self/exe")
        .arg0(&arguments[0])
        .args(arguments)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child.id())
}

fn failed(bench: BorrowedFd<'_>, error: &io::Error) -> ExitCode {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    tell(bench, &Word::Failed(errno));
    ExitCode::FAILURE
}

/// What the end of a child is to those that are left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    GoOn,
    /// The order to end.
    End,
}

/// Reaps until no child is left, or until there is an order to end (a signal, the end of the bench where that is
/// watched, the word of `ended` on a child), and then sees to it that none is.
fn watch(
    signals: BorrowedFd<'_>,
    bench: Option<BorrowedFd<'_>>,
    mut ended: impl FnMut(u32, WaitStatus) -> Then,
) -> ExitCode {
    let me = number(getpid());
    let mut ending = false;
    loop {
        let Some(then) = reap(&mut ended) else {
            return ExitCode::SUCCESS;
        };
        ending |= then == Then::End;
        if ending {
            for process in descendants(me).iter().filter(|process| !process.dead()) {
                // A process that may not be killed cannot be: nothing here gains rights. The next look tells.
                let _ = process.signal(Signal::KILL);
            }
        }
        // While ending, a look every few milliseconds: a child's child that was forked meanwhile sends no signal.
        let patience = ending.then_some(Timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        });
        let mut waited = vec![PollFd::from_borrowed_fd(signals, PollFlags::IN)];
        if let Some(bench) = bench.filter(|_| !ending) {
            waited.push(PollFd::from_borrowed_fd(bench, PollFlags::RDHUP));
        }
        let _ = poll(&mut waited, patience.as_ref());
        ending |= waited
            .get(1)
            .is_some_and(|bench| !bench.revents().is_empty());
        ending |= told_to_end(signals);
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Empties the descriptor of signals. Children are reaped anyhow; any other one is the order to end.
fn told_to_end(signals: BorrowedFd<'_>) -> bool {
    const SIZE: usize = 128;
    let mut told = false;
    let mut info = [0; SIZE];
    while let Ok(SIZE) = rustix::io::read(signals, &mut info) {
        let signal = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
        told |= signal != libc::SIGCHLD.unsigned_abs();
    }
    told
}

/// Reaps what has ended, the program's orphans too, and gives what is to be done. `None` where no child is left: a
/// subreaper without a child has no descendant either.
fn reap(ended: &mut impl FnMut(u32, WaitStatus) -> Then) -> Option<Then> {
    let mut then = Then::GoOn;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => return Some(then),
            Ok(Some((pid, status))) => {
                if ended(number(pid), status) == Then::End {
                    then = Then::End;
                }
            }
            Err(_) => return None,
        }
    }
}

/// A bench that no longer listens is gone, which is seen elsewhere.
fn tell(bench: BorrowedFd<'_>, word: &Word) {
    let _ = send(bench, word.encode().as_bytes(), SendFlags::NOSIGNAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_was_written() {
        for word in [
            Word::Started {
                keeper: 6,
                program: 7,
            },
            Word::Failed(11),
            Word::Ended(Exit::Code(3)),
            Word::Ended(Exit::Signal(9)),
        ] {
            assert_eq!(Word::decode(word.encode().as_bytes()), Some(word));
        }
        assert_eq!(Word::decode(b"code"), None);
    }
}
