//! *Assertion*: what a node's log says of a broken assertion, a sanitizer's report or a runtime's fatal error, in whatever
//! language the node is written. A node may live on after it, with what is not so.
//!
//! | what is broken | as it stands in a log |
//! | --- | --- |
//! | `assert` of C and C++ | `file.c:7: f: Assertion 'x > 0' failed.` |
//! | a sanitizer | `==4242==ERROR: AddressSanitizer: heap-use-after-free on ...`, `WARNING: ThreadSanitizer: data race (pid=7)` |
//! | undefined behaviour | `file.c:7:3: runtime error: signed integer overflow: ...` |
//! | the Go runtime | `panic: ...`, `fatal error: ...`, `WARNING: DATA RACE`, with a goroutine's trace behind it |
//! | the C library | `double free or corruption (out)`, `*** stack smashing detected ***: terminated` |
//!
//! A line accuses by its form, never by a word: a node may log what a client has written.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Evidence;
use crate::fault::NodeId;

/// A goroutine's trace stands within so many lines of what it is of.
const TRACE_WITHIN: usize = 12;

/// A broken assertion, by the line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Which node.
    pub node: NodeId,
    /// Of what.
    pub of: Of,
    /// The line.
    pub line: String,
}

/// Who has said that it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// `assert` of C and C++.
    Assertion,
    /// AddressSanitizer and its kin.
    Sanitizer,
    /// Go's.
    GoRuntime,
    /// The C library.
    CLibrary,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Assertion => "a broken assertion",
            Of::Sanitizer => "a sanitizer's report",
            Of::GoRuntime => "an error of the Go runtime",
            Of::CLibrary => "an error of the C library",
        };
        write!(f, "n{}: {of}: {}", self.node, self.line)
    }
}

/// The first of a log.
#[must_use]
pub fn in_log(node: NodeId, text: &str) -> Option<Evidence> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let found = (0..lines.len()).find_map(|at| Some((lines[at], of(&lines[at..])?)));
    let (line, of) = found?;
    let line = line.to_owned();
    Some(Evidence::Assertion(Broken { node, of, line }))
}

/// What the first of these lines accuses of.
fn of(lines: &[&str]) -> Option<Of> {
    let line = *lines.first()?;
    let c_library = [
        "double free or corruption (",
        "*** stack smashing detected ***",
    ];
    if is_assertion(line) {
        Some(Of::Assertion)
    } else if is_of_a_sanitizer(line) || is_undefined(line) {
        Some(Of::Sanitizer)
    } else if c_library.iter().any(|begin| line.starts_with(begin)) {
        Some(Of::CLibrary)
    } else {
        is_of_go(lines).then_some(Of::GoRuntime)
    }
}

/// `file.c:7: f: Assertion 'x > 0' failed.`
fn is_assertion(line: &str) -> bool {
    let Some((place, claim)) = line.split_once(": Assertion ") else {
        return false;
    };
    let is_number = |part: &str| part.trim().parse::<u32>().is_ok();
    place.split(':').skip(1).any(is_number) && claim.trim_end_matches('.').ends_with(" failed")
}

/// `==4242==ERROR: AddressSanitizer: ...`, `WARNING: ThreadSanitizer: ...`
fn is_of_a_sanitizer(line: &str) -> bool {
    let tools = ["Address", "Thread", "Memory", "Leak", "UndefinedBehavior"];
    let begins = ["==", "ERROR: ", "WARNING: ", "SUMMARY: "];
    let named = line.split_once("Sanitizer: ");
    let named = named.is_some_and(|(before, _)| tools.iter().any(|tool| before.ends_with(tool)));
    named && begins.iter().any(|begin| line.starts_with(begin))
}

/// `file.c:7:3: runtime error: signed integer overflow: ...`
fn is_undefined(line: &str) -> bool {
    let Some((place, _)) = line.split_once(": runtime error: ") else {
        return false;
    };
    let numbers: Vec<&str> = place.rsplitn(3, ':').collect();
    let is_number = |part: &&str| part.parse::<u32>().is_ok();
    numbers.len() == 3 && numbers[..2].iter().all(is_number) && !place.contains(' ')
}

/// What the Go runtime says before a goroutine's trace; but what the machine did not give, it says in this form, too.
fn is_of_go(lines: &[&str]) -> bool {
    let line = lines[0];
    let begins = ["panic: ", "fatal error: ", "WARNING: DATA RACE"];
    let is_trace = |line: &&str| {
        let goroutine = ["goroutine ", "Goroutine ", "Read at 0x", "Write at 0x"];
        goroutine.iter().any(|begin| line.starts_with(begin))
    };
    begins.iter().any(|begin| line.starts_with(begin))
        && lines.iter().take(TRACE_WITHIN).any(is_trace)
        && !["out of memory", "cannot allocate memory"]
            .iter()
            .any(|starved| line.contains(starved))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a log of these lines accuses of.
    fn check(log: &str) -> Option<Of> {
        let text = format!("INFO it is up\n{log}\nINFO it goes on\n");
        in_log(3, &text).map(|found| match found {
            Evidence::Assertion(broken) => {
                assert_eq!(broken.node, 3);
                broken.of
            }
            other => panic!("{other}"),
        })
    }

    #[test]
    fn what_is_broken_accuses_in_whatever_language_it_says_so() {
        for log in [
            "server: log.c:812: truncate: Assertion `index > committed' failed.",
            "store.cc:7: void f(int): Assertion 'x > 0' failed",
        ] {
            assert_eq!(check(log), Some(Of::Assertion), "{log}");
        }
        for log in [
            "==4242==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010",
            "WARNING: ThreadSanitizer: data race (pid=7)",
            "  raft.c:7:3: runtime error: signed integer overflow: 2147483647 + 1",
        ] {
            assert_eq!(check(log), Some(Of::Sanitizer), "{log}");
        }
        for log in [
            "panic: tocommit(107) is out of range [lastIndex(92)]\n\ngoroutine 163 [running]:",
            "fatal error: concurrent map writes\n\ngoroutine 9 [running]:",
            "WARNING: DATA RACE\nWrite at 0x00c000124080 by goroutine 8:",
        ] {
            assert_eq!(check(log), Some(Of::GoRuntime), "{log}");
        }
        for log in [
            "double free or corruption (out)",
            "*** stack smashing detected ***: terminated",
        ] {
            assert_eq!(check(log), Some(Of::CLibrary), "{log}");
        }
    }

    #[test]
    fn what_only_sounds_like_it_accuses_nobody() {
        for log in [
            "INFO Assertion 'x > 0' failed, said a client",
            "INFO set k1 to \"panic: at the disco\"",
            "panic: is the name of a key",
            "WARN peer says: Assertion failed.",
            "INFO AddressSanitizer is on",
            "WARN 12:03:07: runtime error: none of ours",
            "fatal error: runtime: out of memory\n\ngoroutine 1 [running]:",
            "thread 'raft' panicked at src/x.rs:1:2:",
        ] {
            assert_eq!(check(log), None, "{log}");
        }
    }

    #[test]
    fn the_first_one_is_told_with_its_line() {
        let log = "a.c:1: f: Assertion `one' failed.\na.c:2: f: Assertion `two' failed.\n";
        let found = in_log(1, log).expect("it is broken");
        assert_eq!(
            found.to_string(),
            "n1: a broken assertion: a.c:1: f: Assertion `one' failed."
        );
    }
}
