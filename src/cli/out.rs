//! How a front door is left: its exit code, and its words beside it.
//!
//! A door decides its code from what it knows, never from whether it could say so. What it prints goes through
//! [`Out::print`], what it saves is reported to [`Out::failed`], and a door cannot see how the printing went. Only when it
//! is done the two are put together, by [`Out::leave`]: what failed is a bench error beside the verdict, said once on
//! stderr, and makes a code worse, never better. A reader that has seen enough and closed its end is no failure.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use super::{BENCH_ERROR, FOUND};
pub(crate) use crate::exit::worst;
use crate::run::Found;

/// Where the words of a door go.
pub(crate) type Stdout = BufWriter<Box<dyn Write>>;

/// The words of a front door, and what became of them.
pub(crate) struct Out {
    /// `None` once it takes no more.
    to: Option<Stdout>,
    /// Whether they went to a terminal, which may be gone by now.
    terminal: bool,
    unprinted: Option<String>,
    failures: Vec<String>,
    found: Found,
}

impl Out {
    /// To stdout.
    pub(crate) fn stdout(found: Found) -> Out {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Out {
            terminal,
            ..Out::to(Box::new(stdout), found)
        }
    }

    fn to(writer: Box<dyn Write>, found: Found) -> Out {
        Out {
            to: Some(BufWriter::new(writer)),
            terminal: false,
            unprinted: None,
            failures: Vec::new(),
            found,
        }
    }

    /// Where it is noted that something was found.
    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// Prints; what cannot be printed is let go, and all that comes after it.
    pub(crate) fn print(&mut self, words: impl FnOnce(&mut Stdout) -> io::Result<()>) {
        if let Some(to) = &mut self.to
            && let Err(error) = words(to)
        {
            self.stop(&error);
        }
    }

    /// Has what was printed so far leave this program.
    pub(crate) fn flush(&mut self) {
        self.print(Write::flush);
    }

    fn stop(&mut self, error: &io::Error) {
        // What is still in the buffer must not come out later, behind a gap.
        let buffer = self.to.take().map(BufWriter::into_parts);
        drop(buffer);
        if !self.was_enough(error) {
            self.unprinted = Some(format!("could not print: {error}"));
        }
    }

    /// Whether whoever read us has gone: it has seen enough, or the terminal was closed.
    fn was_enough(&self, error: &io::Error) -> bool {
        let hung_up = rustix::io::Errno::IO.raw_os_error();
        error.kind() == io::ErrorKind::BrokenPipe
            || (self.terminal && error.raw_os_error() == Some(hung_up))
    }

    /// Why something could not be printed, if so.
    pub(crate) fn unprinted(&self) -> Option<&str> {
        self.unprinted.as_deref()
    }

    /// Something beside the verdict failed: a bench error.
    pub(crate) fn failed(&mut self, what: impl Display) {
        self.failures.push(what.to_string());
    }

    /// A line on stderr. Nobody has to hear it.
    pub(crate) fn note(&self, line: impl Display) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// The exit code of a door that has decided this one, after all that became of its words.
    pub(crate) fn leave(self, decided: u8) -> u8 {
        let (code, lines) = self.weigh(decided);
        for line in lines {
            // Nobody has to hear it.
            let _ = writeln!(io::stderr(), "whitewater: {line}");
        }
        code
    }

    /// That code, and what is to be said of it.
    fn weigh(mut self, decided: u8) -> (u8, Vec<String>) {
        self.flush();
        let mut lines: Vec<String> = self.unprinted.take().into_iter().collect();
        lines.append(&mut self.failures);
        let mut code = match lines.is_empty() {
            true => decided,
            false => worst(decided, BENCH_ERROR),
        };
        if let Some(what) = self.found.what()
            && worst(code, FOUND) != code
        {
            lines.push(format!("found before: {what}"));
            code = FOUND;
        }
        (code, lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stdout that fails so, from the first byte on.
    struct Fails(i32);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    const EPIPE: i32 = 32;
    const ALL: [u8; 9] = [0, 1, 2, 3, 64, 65, 69, 70, 130];

    /// How a door is left that has decided this and prints to what fails so: its code, and how many lines say why.
    fn left(error: i32, terminal: bool, decided: u8) -> (u8, usize) {
        let mut out = Out {
            terminal,
            ..Out::to(Box::new(Fails(error)), Found::default())
        };
        out.print(|out| writeln!(out, "a verdict"));
        out.flush();
        out.print(|out| writeln!(out, "its reasons"));
        let (code, lines) = out.weigh(decided);
        (code, lines.len())
    }

    #[test]
    fn a_reader_that_has_seen_enough_changes_no_code_and_neither_does_a_terminal_that_is_gone() {
        for code in ALL {
            assert_eq!(left(EPIPE, false, code), (code, 0));
            assert_eq!(left(EIO, true, code), (code, 0));
        }
    }

    #[test]
    fn what_cannot_be_printed_or_saved_is_a_bench_error_that_is_said_once_and_hides_nothing_worse()
    {
        let expected = [70, 1, 70, 70, 64, 65, 69, 70, 70];
        for (code, expected) in ALL.into_iter().zip(expected) {
            assert_eq!(left(ENOSPC, false, code), (expected, 1), "{code}");
            assert_eq!(left(EIO, false, code), (expected, 1), "{code}");
            let mut out = Out::to(Box::new(Vec::new()), Found::default());
            out.failed("could not write a file");
            assert_eq!(out.weigh(code).0, expected, "{code}");
        }
    }

    #[test]
    fn what_was_found_is_not_left_as_anything_else() {
        for code in ALL {
            let found = Found::default();
            found.note(|| "a violation".to_owned());
            let (left, lines) = Out::to(Box::new(Fails(ENOSPC)), found).weigh(code);
            assert_eq!(left, 1);
            let said = lines == ["found before: a violation"];
            assert_eq!(said, code != 1, "{code}: {lines:?}");
        }
    }

    #[test]
    fn the_worst_code_wins_in_whatever_order_they_come() {
        let order = [1, 64, 69, 65, 70, 130, 2, 3, 0];
        for (i, one) in order.into_iter().enumerate() {
            for other in &order[i..] {
                assert_eq!((worst(one, *other), worst(*other, one)), (one, one));
            }
        }
        assert_eq!(worst(0, 101), 101);
    }
}
