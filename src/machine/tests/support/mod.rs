//! What the tests of this crate share.
#![allow(dead_code)]

pub(crate) mod forward;
pub(crate) mod held;
pub(crate) mod hobbled;
#[path = "../../../../tests/support/installed.rs"]
pub(crate) mod installed;

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use machine::launch::{Launch, Program, Stream};
use tempfile::TempDir;

/// Nothing that is waited for here takes so long, also on a machine that has much other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A launch by an executable that knows how to be a keeper: this crate's for its tests, for others the one that runs.
pub(crate) fn launch(program: impl Into<PathBuf>) -> Launch {
    match option_env!("CARGO_BIN_EXE_machine-bench") {
        Some(bench) => Launch::new(program).by(bench),
        None => Launch::new(program),
    }
}

/// A folder on a disk's own file system: what is in memory lacks some of the calls. Whoever may not write where the tests of
/// this crate do has another one.
pub(crate) fn place() -> TempDir {
    let own = option_env!("CARGO_TARGET_TMPDIR").unwrap_or(".");
    let made = [own, "/var/tmp"].map(tempfile::tempdir_in);
    let made = made.into_iter().find_map(Result::ok);
    made.expect("a folder can be made")
}

/// The system's own interpreter where there is one: what comes first in `PATH` may be a script that looks for another.
pub(crate) fn python() -> &'static str {
    let own = "/usr/bin/python3";
    if std::path::Path::new(own).exists() {
        own
    } else {
        "python3"
    }
}

/// A shell script, its output and errors in one pipe.
pub(crate) fn shell(script: &str) -> Launch {
    launch("/bin/sh").args(["-c", script]).stdout(Stream::Pipe)
}

/// All that a program says until its output is closed.
pub(crate) fn said(program: &mut Program) -> String {
    let mut text = String::new();
    let mut from = program.stdout.take().expect("its output is a pipe");
    from.read_to_string(&mut text).expect("it says text");
    text
}

/// Waits for something to become true.
///
/// # Panics
/// Where it does not.
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds);
}

/// The same for what may take longer.
///
/// # Panics
/// Where it does not become true.
pub(crate) fn until_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "{what} never came about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The kernel's letter for a process; `None` where there is no such process.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// Whether there is such a process, and it is not merely waiting to be reaped.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}
