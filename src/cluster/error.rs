//! What can go wrong with children, and who is to blame for the end of one.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ChildState;
use crate::shortage::Shortage;
use crate::target::TargetError;

/// What ended a child that nobody of the bench had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Its own doing.
    Itself,
    /// The host had no more of something, as it says itself.
    Shortage(Shortage),
    /// A SIGKILL that the bench did not send: of the kernel, for want of memory, or of somebody else.
    Kill,
}

impl EndedBy {
    /// By how it ended and what it said last.
    pub(super) fn of(status: ExitStatus, log: &str) -> EndedBy {
        let says = status.code().and_then(Shortage::of_exit);
        let signal = status.signal();
        // Rust's allocator aborts when it gets nothing.
        let aborted = signal == Some(Signal::ABORT.as_raw());
        let last = log.lines().last().filter(|_| aborted);
        match says.or_else(|| Shortage::in_text(last?)) {
            Some(shortage) => EndedBy::Shortage(shortage),
            None if signal == Some(Signal::KILL.as_raw()) => EndedBy::Kill,
            None => EndedBy::Itself,
        }
    }
}

/// A child that ended though nobody ended it, after it had been ready: a finding against the system under test where
/// it was [`EndedBy::Itself`].
#[derive(Clone, Debug)]
pub struct ExitByItself {
    /// Which node.
    pub id: u64,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What ended it.
    pub by: EndedBy,
    /// When that was seen.
    pub at: Instant,
    /// The last lines of its log.
    pub log: String,
}

/// What went wrong with a child or in asking it. Each is the bench's error, not a verdict on the node.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The cluster's own thread could not be started, or has ended.
    #[error("run the cluster's own thread: {0}")]
    Thread(#[source] io::Error),
    /// A file or folder of the run.
    #[error("use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("start n{id}: {source}")]
    Spawn {
        /// Which node.
        id: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// A child ended before it was ready.
    #[error("start n{id}: it ended before it was ready ({status}); the end of its log:\n{log}")]
    DiedAtStart {
        /// Which node.
        id: u64,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A child did not say that it is ready.
    #[error("start n{id}: not ready within {waited:?}{}; the end of its log:\n{log}", because(.seen))]
    NotReady {
        /// Which node.
        id: u64,
        /// How long it was waited for.
        waited: Duration,
        /// What was seen instead, where somebody has asked it.
        seen: Option<String>,
        /// The last lines of its log.
        log: String,
    },
    /// The node is not in the state that the deed needs.
    #[error("{deed} n{id}: it is {state:?}")]
    State {
        /// What was asked for.
        deed: &'static str,
        /// Which node.
        id: u64,
        /// What its child is doing; [`ChildState::Dead`] also where it never was started.
        state: ChildState,
    },
    /// A signal could not be sent or had no effect.
    #[error("{deed} n{id}: {seen}")]
    Signal {
        /// What was asked for.
        deed: &'static str,
        /// Which node.
        id: u64,
        /// What was seen last.
        seen: String,
    },
    /// A node did not answer, or answered with an error.
    #[error(transparent)]
    Ask(#[from] TargetError),
    /// No leader that a majority agrees on.
    #[error("wait for a leader: none within {waited:?}; last seen:\n{seen}")]
    NoLeader {
        /// How long it was waited for.
        waited: Duration,
        /// What each node said last, and the last lines of its log.
        seen: String,
    },
}

fn because(seen: &Option<String>) -> String {
    let seen = seen.iter();
    seen.map(|seen| format!(" ({seen})")).collect()
}

impl ClusterError {
    /// What the host did not give, where it was that: another try may go well.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        match self {
            ClusterError::Thread(source)
            | ClusterError::File { source, .. }
            | ClusterError::Spawn { source, .. } => Shortage::of_spawn(source),
            ClusterError::DiedAtStart { status, log, .. } => match EndedBy::of(*status, log) {
                EndedBy::Shortage(shortage) => Some(shortage),
                EndedBy::Itself | EndedBy::Kill => None,
            },
            _ => None,
        }
    }

    /// Whether the node is to blame: it ended by itself on the disk that it was given, for no want of the host's.
    #[must_use]
    pub fn accuses(&self) -> bool {
        match self {
            ClusterError::DiedAtStart { status, log, .. } => {
                EndedBy::of(*status, log) == EndedBy::Itself
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status as wait(2) has it: an exit code in the second byte, or a signal in the first.
    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn died(status: ExitStatus, log: &str) -> ClusterError {
        ClusterError::DiedAtStart {
            id: 1,
            status,
            log: log.to_owned(),
        }
    }

    #[test]
    fn a_node_is_to_blame_for_its_end_unless_the_host_or_somebody_else_ended_it() {
        let killed = ExitStatus::from_raw(Signal::KILL.as_raw());
        let aborted = ExitStatus::from_raw(Signal::ABORT.as_raw());
        for row in crate::shortage::TABLE {
            let status = exit(i32::from(row.exit));
            assert_eq!(EndedBy::of(status, ""), EndedBy::Shortage(row.shortage));
            let error = died(status, "");
            assert_eq!(
                (error.shortage(), error.accuses()),
                (Some(row.shortage), false)
            );
        }
        assert_eq!(EndedBy::of(killed, ""), EndedBy::Kill);
        assert!(!died(killed, "").accuses());
        let refused = "a line\nmemory allocation of 4096 bytes failed";
        assert_eq!(
            EndedBy::of(aborted, refused),
            EndedBy::Shortage(Shortage::Memory)
        );
        for status in [exit(0), exit(7), exit(70), exit(101), aborted] {
            // What it met earlier, and outlived, is not what it ended by.
            let log = "a call failed: Too many open files (os error 24)\nthe log has a hole";
            assert_eq!(EndedBy::of(status, log), EndedBy::Itself, "{status}");
            assert!(died(status, log).accuses(), "{status}");
        }
    }

    #[test]
    fn what_the_bench_itself_could_not_have_is_no_accusation() {
        for (number, shortage) in [(24, Shortage::OpenFiles), (11, Shortage::Threads)] {
            let source = io::Error::from_raw_os_error(number);
            let error = ClusterError::Spawn { id: 1, source };
            assert_eq!((error.shortage(), error.accuses()), (Some(shortage), false));
        }
        let late = ClusterError::NotReady {
            id: 1,
            waited: Duration::from_secs(10),
            seen: None,
            log: String::new(),
        };
        assert_eq!((late.shortage(), late.accuses()), (None, false));
    }
}
