//! One run as a child process: this program again, in a process group of its own.
//!
//! A panic, a hang or a leak stays in it. It ends with this process, however that ends: the kernel kills it when the
//! thread that spawned it is gone, and so it goes on with its nodes; whoever spawns must therefore live as long as the
//! hunt. What it says goes into files at its place, which nobody has to empty.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::line::End;
use crate::report::GITHUB_SUMMARY;

/// Whether runs shall go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    /// They shall.
    #[default]
    GoOn,
    /// They shall end in order, soon.
    End,
    /// They shall be gone.
    Gone,
}

/// A run that is told to end in order has so long for it.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub(super) struct Errand<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its words go: a folder, which is made.
    pub place: PathBuf,
}

const SAID: &str = "said.json";
const PROGRESS: &str = "progress.txt";

/// Starts a run from the calling thread.
///
/// # Errors
/// Where its place cannot be made, or the system has no process left.
pub(super) fn spawn(what: &Errand<'_>) -> io::Result<Child> {
    fs::create_dir_all(&what.place)?;
    Command::new(what.program)
        .arg0("whitewater")
        .args(&what.arguments)
        // The campaign has a summary, and its runs have none.
        .env_remove(GITHUB_SUMMARY)
        .stdin(Stdio::piped())
        .stdout(File::create(what.place.join(SAID))?)
        .stderr(File::create(what.place.join(PROGRESS))?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Waits for a run's end; one that takes longer than `given` is ended, and so is one that does not do as it is told.
pub(super) async fn until_its_end(
    mut child: Child,
    given: Duration,
    mut wish: watch::Receiver<Wish>,
) -> End {
    // Held open: its end tells the run that the hunt is gone.
    let _stdin = child.stdin.take();
    let mut deadline = Instant::now() + given;
    let mut told = false;
    loop {
        tokio::select! {
            status = child.wait() => return ended(status),
            () = tokio::time::sleep_until(deadline) => {
                kill(&mut child).await;
                return if told { End::Stopped } else { End::Hung(given) };
            }
            Ok(()) = wish.changed() => {
                let wished = *wish.borrow_and_update();
                if wished == Wish::Gone {
                    kill(&mut child).await;
                    return End::Stopped;
                }
                if wished == Wish::End && !told {
                    interrupt(&child);
                    told = true;
                    deadline = deadline.min(Instant::now() + ENDS_WITHIN);
                }
            }
        }
    }
}

fn ended(status: io::Result<ExitStatus>) -> End {
    match status.map(|status| (status.code(), status.signal())) {
        Ok((Some(code), _)) => End::Exit(code),
        Ok((None, signal)) => End::Signal(signal.unwrap_or(0)),
        // Nobody else waits for our children.
        Err(_) => End::Signal(0),
    }
}

/// Tells a run to end in order. It is not reaped yet, so its id is its own.
fn interrupt(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = id.and_then(Pid::from_raw) {
        // It fails only where the run has ended.
        let _ = kill_process(pid, Signal::INT);
    }
}

async fn kill(child: &mut Child) {
    // It fails only where the run has ended.
    let _ = child.start_kill();
    let _ = child.wait().await;
}

/// The object that a run said; `None` where it said none.
#[must_use]
pub(super) fn said(place: &Path) -> Option<serde_json::Value> {
    let text = fs::read_to_string(place.join(SAID)).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}

/// The last of what a run said on stderr.
#[must_use]
pub(super) fn last_words(place: &Path) -> String {
    let text = fs::read(place.join(PROGRESS)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    crate::last_words::last_words(&text, 3).join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(seconds: &str) -> (tempfile::TempDir, Child) {
        let dir = tempfile::tempdir().unwrap();
        // A shell that starts these tests in the background has its children ignore the signal.
        let command = Errand {
            program: Path::new("env"),
            arguments: ["--default-signal=INT", "sleep", seconds]
                .map(str::to_owned)
                .to_vec(),
            place: dir.path().join("place"),
        };
        let child = spawn(&command).unwrap();
        let pid = child.id().unwrap();
        let sleeps = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n";
        while !sleeps() {
            std::thread::yield_now();
        }
        (dir, child)
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_by_its_id_and_reaped() {
        let (_dir, child) = sleeper("600");
        let pid = child.id().unwrap();
        let (_keep, wish) = watch::channel(Wish::GoOn);
        let given = Duration::from_millis(50);
        let end = until_its_end(child, given, wish).await;
        assert_eq!(end, End::Hung(given));
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is left");
    }

    #[tokio::test]
    async fn one_that_is_told_to_end_does_and_one_that_shall_be_gone_is() {
        for wished in [Wish::End, Wish::Gone] {
            let (_dir, child) = sleeper("600");
            let (tell, wish) = watch::channel(Wish::GoOn);
            let ending = until_its_end(child, Duration::from_secs(600), wish);
            let (end, ()) = tokio::join!(ending, async {
                tell.send_replace(wished);
            });
            let expected = match wished {
                Wish::End => End::Signal(Signal::INT.as_raw()),
                _ => End::Stopped,
            };
            assert_eq!(end, expected);
        }
    }
}
