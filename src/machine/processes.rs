//! Processes as `/proc` shows them: who descends from whom, and in what state. Signals go to the process that was seen,
//! never to another one that has its number since.

use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process, at the moment of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    /// The kernel's letter: `R` runs, `S` sleeps, `D` sleeps undisturbed, `T` is stopped, `Z` is dead and not reaped.
    state: char,
    /// When it began, in ticks since the host did: pid and this together are never used twice.
    started: u64,
}

impl Process {
    /// What `/proc/PID/stat` says; `None` where there is no such process.
    pub(crate) fn look(pid: u32) -> Option<Self> {
        parse(
            pid,
            &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?,
        )
    }

    /// Whether that is the same process, seen at another time.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }

    pub(crate) fn dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether no thread of it can run an instruction of its own: each is stopped, dead, or deep in the kernel with the
    /// stop already pending (a call that waits for the bench's answer is, and stops as it is answered).
    pub(crate) fn stopped(&self) -> bool {
        if self.dead() {
            return true;
        }
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return true;
        };
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat"));
            stat.ok()
                .and_then(|stat| parse(self.pid, &stat))
                .is_none_or(|thread| matches!(thread.state, 'T' | 't' | 'D' | 'Z' | 'X'))
        })
    }

    /// Sends a signal to this very process. One that is gone is none the worse.
    ///
    /// # Errors
    /// `EPERM`.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid.cast_signed()) else {
            return Ok(());
        };
        let gone = |error: rustix::io::Errno| match error {
            rustix::io::Errno::SRCH => Ok(()),
            error => Err(io::Error::from(error)),
        };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(error) => return gone(error),
        };
        // The descriptor is of whoever has the number now; only then is it asked who that is.
        if Self::look(self.pid).is_none_or(|now| now.started != self.started) {
            return Ok(());
        }
        pidfd_send_signal(process, signal).or_else(gone)
    }
}

/// Everything that descends from `ancestor`, itself excepted, parents before their children. A process whose parent ends
/// during the look can be missed: whoever needs all of them looks again, or has another proof that none is left.
pub(crate) fn descendants(ancestor: u32) -> Vec<Process> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut others: Vec<Process> = all
        .flatten()
        .filter_map(|entry| Process::look(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut family: Vec<Process> = Vec::new();
    loop {
        let (found, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|process| {
            process.parent == ancestor || family.iter().any(|known| known.pid == process.parent)
        });
        if found.is_empty() {
            return family;
        }
        family.extend(found);
        others = rest;
    }
}

/// The second field, a name in parentheses, can hold anything, parentheses too: what follows its last one is read.
fn parse(pid: u32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    Some(Process {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_stepped_over() {
        let stat = "77 (a) b (c) T 12 77 77 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3";
        assert_eq!(
            parse(77, stat),
            Some(Process {
                pid: 77,
                parent: 12,
                state: 'T',
                started: 4711
            })
        );
        assert_eq!(parse(77, ""), None);
    }

    #[test]
    fn this_process_is_seen_and_runs() {
        let me = Process::look(std::process::id()).expect("it is there");
        assert!(!me.dead());
        assert!(!me.stopped());
        assert!(descendants(me.parent).iter().any(|one| one.pid == me.pid));
    }
}
