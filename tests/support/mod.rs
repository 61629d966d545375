//! What tests of the whole program share: starting it, waiting for what it says, and seeing that nothing is left.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod bench;
pub mod installed;

use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Held by a test while a cluster of its own works.
#[derive(Debug)]
pub struct Turn(());

/// How many clusters work now, and who waits to be told that there is one less.
static CLUSTERS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Waits for a turn: there are as many as the machine has cores, since clusters that share one would starve each
/// other's elections.
pub fn machine() -> Turn {
    let turns = std::thread::available_parallelism().map_or(1, NonZero::get);
    let working = CLUSTERS.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut working = CLUSTERS
        .1
        .wait_while(working, |working| *working >= turns)
        .unwrap_or_else(PoisonError::into_inner);
    *working += 1;
    Turn(())
}

impl Drop for Turn {
    // A test that failed has ended its cluster, too.
    fn drop(&mut self) {
        *CLUSTERS.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        CLUSTERS.1.notify_one();
    }
}

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_whitewater");

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// The exit code, stdout and stderr of the program run with these arguments.
pub fn said(args: &[&str]) -> (i32, String, String) {
    let output = run(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program speaks UTF-8");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A running program whose stderr is read line by line. Dropping it kills it.
pub struct Running {
    pub child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts the program.
    pub fn start(args: &[&str]) -> Running {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = child.stderr.take().expect("it is a pipe");
        let (say, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        Running {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits until a line on stderr contains this text.
    pub fn wait_for(&mut self, text: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => self.seen.push(line),
                Err(why) => panic!(
                    "no line with {text:?} ({why}); seen:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Waits for its end.
    pub fn end(&mut self, within: Duration) -> ExitStatus {
        let status = wait_until(within, || {
            self.child.try_wait().expect("it can be waited for")
        });
        status.unwrap_or_else(|| {
            panic!(
                "the program did not end within {within:?}; seen:\n{}",
                self.seen.join("\n")
            )
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something to see, at most so long.
pub fn wait_until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Process ids of the nodes whose data lies below this folder, from their command lines.
pub fn nodes_below(dir: &Path) -> Vec<u32> {
    let wanted = dir.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("this is Linux").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("\0node\0") && line.contains(&wanted) {
            found.push(pid);
        }
    }
    found
}

/// Waits until no node works below this folder.
pub fn assert_nothing_left(dir: &Path, within: Duration) {
    let gone = wait_until(within, || nodes_below(dir).is_empty().then_some(()));
    assert!(gone.is_some(), "nodes are left: {:?}", nodes_below(dir));
}

/// The only folder in this folder.
pub fn only_folder(parent: &Path) -> PathBuf {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(parent)
        .expect("it can be listed")
        .map(|entry| entry.expect("it can be").path())
        .collect();
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    dirs.remove(0)
}
