//! What a machine may have run out of, told by the kernel's own error numbers: the one table that the bench and the
//! node share.
//!
//! An error of the kernel comes in, as an [`io::Error`] somewhere below another error, or as the text that is left of
//! one; the [`Shortage`] that it names goes out, with the exit code by which a node says so. It is data: nothing here
//! acts, and it knows neither nodes nor the bench.
//!
//! A shortage says *why*, not who: what the host did not give proves nothing against the system under test.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// Something that the host has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// ENOSPC.
    Space,
    /// EDQUOT.
    Quota,
    /// EMFILE: of this process alone.
    OpenFiles,
    /// ENFILE: of the whole host.
    OpenFilesOfHost,
    /// EADDRINUSE, EADDRNOTAVAIL.
    Ports,
    /// ENOMEM, ENOBUFS.
    Memory,
    /// EAGAIN where a thread or a process was to be started.
    Threads,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What there is none of.
    pub shortage: Shortage,
    /// The word by which a node's metrics count it.
    pub name: &'static str,
    /// The error numbers that say so wherever they come up.
    pub errnos: &'static [Errno],
    /// The code that a node exits with when it ends by this, before or after it was ready.
    pub exit: u8,
    /// Fit for "the host has no {words}".
    pub words: &'static str,
}

/// Every shortage that there is. The exit codes are those of nobody else: beyond sysexits', below the shell's.
pub const TABLE: &[Row] = &[
    Row {
        shortage: Shortage::Space,
        name: "space",
        errnos: &[Errno::NOSPC],
        exit: 80,
        words: "space left on the disk",
    },
    Row {
        shortage: Shortage::Quota,
        name: "quota",
        errnos: &[Errno::DQUOT],
        exit: 81,
        words: "quota left on the disk",
    },
    Row {
        shortage: Shortage::OpenFiles,
        name: "open-files",
        errnos: &[Errno::MFILE],
        exit: 82,
        words: "file descriptor left for this process",
    },
    Row {
        shortage: Shortage::OpenFilesOfHost,
        name: "open-files-of-host",
        errnos: &[Errno::NFILE],
        exit: 83,
        words: "file descriptor left for anybody",
    },
    Row {
        shortage: Shortage::Ports,
        name: "ports",
        errnos: &[Errno::ADDRINUSE, Errno::ADDRNOTAVAIL],
        exit: 84,
        words: "free port",
    },
    Row {
        shortage: Shortage::Memory,
        name: "memory",
        errnos: &[Errno::NOMEM, Errno::NOBUFS],
        exit: 85,
        words: "memory left",
    },
    Row {
        shortage: Shortage::Threads,
        name: "threads",
        // EAGAIN means something else nearly everywhere: `of_spawn` knows where it means this.
        errnos: &[],
        exit: 86,
        words: "thread or process left",
    },
];

impl Shortage {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        let found = TABLE.iter().find(|row| row.shortage == self);
        found.expect("every shortage has its row")
    }

    /// What the error, or any error below it, says that there is none of.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Shortage> {
        let mut next = Some(error);
        while let Some(error) = next {
            let io = error.downcast_ref::<io::Error>();
            if let Some(found) = io.and_then(Shortage::of_io) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// The same for an error of the kernel, or one that wraps another.
    fn of_io(error: &io::Error) -> Option<Shortage> {
        match (error.raw_os_error(), error.get_ref()) {
            (Some(number), _) => Shortage::of_number(number),
            // What is wrapped in an `io::Error` is not its source: that is the wrapped one's.
            (None, Some(inner)) => Shortage::of(inner),
            (None, None) => None,
        }
    }

    fn of_number(number: i32) -> Option<Shortage> {
        let names = |row: &&Row| {
            row.errnos
                .iter()
                .any(|errno| errno.raw_os_error() == number)
        };
        TABLE.iter().find(names).map(|row| row.shortage)
    }

    /// What an error of starting a thread or a process says: there EAGAIN is a limit that is reached.
    #[must_use]
    pub fn of_spawn(error: &io::Error) -> Option<Shortage> {
        let limit = error.raw_os_error() == Some(Errno::AGAIN.raw_os_error());
        let threads = limit.then_some(Shortage::Threads);
        threads.or_else(|| Shortage::of_io(error))
    }

    /// What the text that is left of an error says: the number that Rust prints with every error of the kernel. Of
    /// several the first one counts.
    #[must_use]
    pub fn in_text(text: &str) -> Option<Shortage> {
        // The words before the number, as `Display` and as `Debug` have them.
        let numbers = ["os error ", "Os { code: "].into_iter().flat_map(|before| {
            text.match_indices(before).filter_map(move |(at, _)| {
                let digits = text[at + before.len()..].split(|c: char| !c.is_ascii_digit());
                Some((at, digits.into_iter().next()?.parse().ok()?))
            })
        });
        let starting = ["spawn", "thread", "fork"];
        let starts = starting.iter().any(|word| text.contains(word));
        let named = numbers.filter_map(|(at, number)| {
            let threads = starts && number == Errno::AGAIN.raw_os_error();
            let shortage = threads.then_some(Shortage::Threads);
            Some((at, shortage.or_else(|| Shortage::of_number(number))?))
        });
        let first = named.min_by_key(|(at, _)| *at).map(|(_, found)| found);
        // What Rust's allocator says before it aborts.
        let refused = text.contains("memory allocation of ") && text.contains(" bytes failed");
        first.or(refused.then_some(Shortage::Memory))
    }

    /// What an error says, or where libraries have left only its words, what they say.
    #[must_use]
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Shortage> {
        if let Some(found) = Shortage::of(error) {
            return Some(found);
        }
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = Shortage::in_text(&error.to_string()) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Shortage> {
        let found = TABLE.iter().find(|row| row.name == name);
        found.map(|row| row.shortage)
    }

    /// What a node says that ended with this code.
    #[must_use]
    pub fn of_exit(code: i32) -> Option<Shortage> {
        let found = TABLE.iter().find(|row| i32::from(row.exit) == code);
        found.map(|row| row.shortage)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}", self.row().words)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Two errors deep, as a library hands them on.
    #[derive(Debug, thiserror::Error)]
    #[error("it did not work")]
    struct Wrapped(#[source] io::Error);

    /// As a library that keeps nothing but the words.
    #[derive(Debug, thiserror::Error)]
    #[error("I/O error: {0}")]
    struct Told(String);

    fn kernel(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn every_error_number_of_the_table_is_recognised_however_deep_it_lies() {
        for row in TABLE {
            for &errno in row.errnos {
                let wanted = Some(row.shortage);
                assert_eq!(Shortage::of(&kernel(errno)), wanted, "{errno:?}");
                assert_eq!(Shortage::of(&Wrapped(kernel(errno))), wanted, "{errno:?}");
                let other = io::Error::other(Wrapped(kernel(errno)));
                assert_eq!(Shortage::of(&other), wanted, "{errno:?}");
                let told = io::Error::other(Told(kernel(errno).to_string()));
                assert_eq!(Shortage::of(&told), None, "{errno:?}");
                assert_eq!(Shortage::behind(&told), wanted, "{errno:?}");
                let text = format!("the log: {}; {:?}", other, kernel(errno));
                assert_eq!(Shortage::in_text(&text), wanted, "{text}");
                let shown = format!("the log cannot be written: {}", kernel(errno));
                assert_eq!(Shortage::in_text(&shown), wanted, "{shown}");
            }
        }
    }

    #[test]
    fn what_is_no_shortage_is_none() {
        for errno in [
            Errno::IO,
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::FBIG,
            Errno::AGAIN,
            Errno::PERM,
        ] {
            assert_eq!(Shortage::of(&kernel(errno)), None, "{errno:?}");
            let text = format!("the log cannot be written: {}", kernel(errno));
            assert_eq!(Shortage::in_text(&text), None, "{text}");
        }
        // A disk that only a fault calls full has no number of the kernel.
        let planned = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Shortage::of(&planned), None);
        assert_eq!(Shortage::in_text(&format!("{planned} {planned:?}")), None);
        assert_eq!(
            Shortage::in_text("thread 'raft' panicked: log hole 28"),
            None
        );
        assert_eq!(Shortage::in_text("os error "), None);
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_told_from_a_socket_that_would_block() {
        let again = kernel(Errno::AGAIN);
        assert_eq!(Shortage::of_spawn(&again), Some(Shortage::Threads));
        let full = kernel(Errno::NOMEM);
        assert_eq!(Shortage::of_spawn(&full), Some(Shortage::Memory));
        let said = format!("OS can't spawn worker thread: {again}");
        assert_eq!(Shortage::in_text(&said), Some(Shortage::Threads));
        let said = "memory allocation of 4096 bytes failed";
        assert_eq!(Shortage::in_text(said), Some(Shortage::Memory));
    }

    #[test]
    fn every_shortage_has_one_row_and_an_exit_code_of_its_own() {
        let codes: BTreeSet<u8> = TABLE.iter().map(|row| row.exit).collect();
        assert_eq!(codes.len(), TABLE.len());
        for row in TABLE {
            assert_eq!(row.shortage.row().exit, row.exit);
            assert_eq!(Shortage::named(row.name), Some(row.shortage));
            assert_eq!(Shortage::of_exit(i32::from(row.exit)), Some(row.shortage));
            // Sysexits' and the shell's are somebody else's; 101 is a panic.
            assert!((79..100).contains(&row.exit), "{row:?}");
        }
        assert_eq!(Shortage::of_exit(70), None);
        assert_eq!(Shortage::of_exit(101), None);
    }
}
