//! The keeper: a small process between the bench and one program. Whatever the program leaves behind (daemons, orphans)
//! falls to the keeper and not to init, so the keeper's descendants are that program, no more and no less; when the
//! bench is gone, in whatever way, it ends them all.
//!
//! In: descriptor 0, the bench's socket, which says nothing and whose end is the order to end; descriptor 1, what the
//! starter is to get as its own descriptor 0. Out: a line a message on descriptor 0, see [`Word`].
//!
//! One keeper a program, because a daemon's ancestry ends at its subreaper: a shared one could not say whose it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};
use rustix::process::{Signal, WaitOptions, getpid, set_child_subreaper, setsid, wait};

use crate::processes::descendants;
use crate::program::Exit;
use crate::sys;

/// The first argument that makes a keeper of this program.
pub(crate) const KEEPER: &str = "machine-keeper";
/// The first argument that makes a starter of it.
pub(crate) const STARTER: &str = "machine-starter";

/// What a keeper tells the bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The program's process number, before it runs.
    Started(u32),
    /// No process could be made.
    Failed(i32),
    /// The program's own process has ended so. Others of it may live on.
    Ended(Exit),
}

impl Word {
    fn encode(&self) -> String {
        match self {
            Word::Started(pid) => format!("started {pid}"),
            Word::Failed(errno) => format!("failed {errno}"),
            Word::Ended(Exit::Code(code)) => format!("code {code}"),
            Word::Ended(Exit::Signal(signal)) => format!("signal {signal}"),
        }
    }

    /// Reads what [`Word::encode`] wrote.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        let (what, number) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(match what {
            "started" => Word::Started(number.parse().ok()?),
            "failed" => Word::Failed(number.parse().ok()?),
            "code" => Word::Ended(Exit::Code(number.parse().ok()?)),
            "signal" => Word::Ended(Exit::Signal(number.parse().ok()?)),
            _ => return None,
        })
    }
}

/// A keeper's life.
pub(crate) fn keep() -> ExitCode {
    let stdin = io::stdin();
    let bench = stdin.as_fd();
    match started(bench) {
        Ok((signals, pid)) => watch(bench, signals.as_fd(), pid),
        Err(error) => {
            tell(
                bench,
                &Word::Failed(error.raw_os_error().unwrap_or(libc::EIO)),
            );
            ExitCode::FAILURE
        }
    }
}

fn started(bench: BorrowedFd<'_>) -> io::Result<(std::os::fd::OwnedFd, u32)> {
    // A session of its own: an interrupt typed at the bench's terminal is the bench's affair.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    let signals = sys::signals(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
    let for_starter = io::stdout().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    // The bench sees the starter's end of that socket close; nobody else may hold it.
    rustix::stdio::dup2_stdout(&null)?;
    let starter = Command::new("/proc/self/exe")
        .arg0(STARTER)
        .arg(STARTER)
        .stdin(Stdio::from(for_starter))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    tell(bench, &Word::Started(starter.id()));
    Ok((signals, starter.id()))
}

/// Reaps until no child is left, or until the bench is gone, and then sees to it that none is.
fn watch(bench: BorrowedFd<'_>, signals: BorrowedFd<'_>, program: u32) -> ExitCode {
    let me = getpid().as_raw_nonzero().get().unsigned_abs();
    let mut ending = false;
    loop {
        if !reap(bench, program) {
            return ExitCode::SUCCESS;
        }
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
        let mut waited = [
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(bench, PollFlags::RDHUP),
        ];
        let watched = if ending { 1 } else { 2 };
        let _ = poll(&mut waited[..watched], patience.as_ref());
        ending |= told_to_end(signals) || !waited[1].revents().is_empty();
    }
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

/// Reaps what has ended, the program's orphans too. False where no child is left: a subreaper without a child has no
/// descendant either.
fn reap(bench: BorrowedFd<'_>, program: u32) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => return true,
            Ok(Some((pid, status))) => {
                if pid.as_raw_nonzero().get().unsigned_abs() != program {
                    continue;
                }
                let exit = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => continue,
                };
                tell(bench, &Word::Ended(exit));
            }
            Err(_) => return false,
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
            Word::Started(7),
            Word::Failed(11),
            Word::Ended(Exit::Code(3)),
            Word::Ended(Exit::Signal(9)),
        ] {
            assert_eq!(Word::decode(word.encode().as_bytes()), Some(word));
        }
        assert_eq!(Word::decode(b"code"), None);
    }
}
