//! What is at work in a hunt: its runs, the signals that end it, and the timers that are watched meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::child::{self, Errand, Wish};
use super::keep;
use super::line::{Came, End};
use super::timers::{self, Timers};
use crate::journal;

/// Signals that come so soon after the first one are the same wish to stop.
const ONE_SIGNAL: Duration = Duration::from_millis(300);

/// What wakes the loop.
pub(super) enum Wake {
    Back(Back),
    Signal,
    /// Nobody is left to come back.
    Nothing,
}

/// A run that has come back.
pub(super) struct Back {
    pub(super) run: u64,
    pub(super) end: End,
    pub(super) began: Instant,
}

/// Signals that ask for an end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Absent where it was ignored when this program began (nohup(1)): a hunt may outlive its terminal.
    hangup: Option<Signal>,
    first: Option<Instant>,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match is_ignored(SignalKind::hangup()) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            first: None,
        })
    }

    async fn any(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }

    /// What this signal asks for.
    fn wish(&mut self) -> Wish {
        match self.first {
            None => {
                self.first = Some(Instant::now());
                Wish::End
            }
            // timeout(1) and others signal a child and then its group.
            Some(at) if at.elapsed() < ONE_SIGNAL => Wish::End,
            Some(_) => Wish::Gone,
        }
    }
}

/// Whether whoever started this program has it ignore a signal.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

/// What is at work.
pub(super) struct Field {
    /// The campaign's folder.
    pub(super) dir: PathBuf,
    /// This program.
    program: PathBuf,
    /// What each run is told besides.
    more: Vec<String>,
    pub(super) timers: Timers,
    signals: Signals,
    wish: watch::Sender<Wish>,
    running: JoinSet<Back>,
}

impl Field {
    /// Nothing is at work yet.
    pub(super) fn new(dir: PathBuf, program: PathBuf, more: Vec<String>) -> io::Result<Field> {
        Ok(Field {
            dir,
            program,
            more,
            timers: Timers::start()?,
            signals: Signals::new()?,
            wish: watch::channel(Wish::GoOn).0,
            running: JoinSet::new(),
        })
    }

    /// What runs are told now.
    pub(super) fn wish(&self) -> Wish {
        *self.wish.borrow()
    }

    /// Whether runs are told to end before their time.
    pub(super) fn stopping(&self) -> bool {
        self.wish() != Wish::GoOn
    }

    /// Tells runs to end in order.
    pub(super) fn end(&self) {
        self.wish.send_replace(Wish::End);
    }

    /// How many runs are under way.
    pub(super) fn running(&self) -> u64 {
        self.running.len() as u64
    }

    /// Starts a run at `place`, which is called `run` until it comes back.
    pub(super) fn start(
        &mut self,
        run: u64,
        place: PathBuf,
        mut arguments: Vec<String>,
        given: Duration,
    ) -> io::Result<()> {
        let out = place.to_string_lossy().into_owned();
        arguments.extend(["--json", "--parent-watch", "--out"].map(str::to_owned));
        arguments.push(out);
        arguments.extend(self.more.iter().cloned());
        let child = child::spawn(&Errand {
            program: &self.program,
            arguments,
            place,
        })?;
        self.timers.begin(run);
        let (began, wish) = (Instant::now(), self.wish.subscribe());
        self.running.spawn(async move {
            let end = child::until_its_end(child, given, wish).await;
            Back { run, end, began }
        });
        Ok(())
    }

    /// Waits for a run that comes back, or for a signal.
    pub(super) async fn wake(&mut self) -> Wake {
        tokio::select! {
            back = self.running.join_next() => match back {
                Some(Ok(back)) => Wake::Back(back),
                // A task of ours panicked: the panic hook has ended the program by now.
                Some(Err(_)) | None => Wake::Nothing,
            },
            () = self.signals.any() => Wake::Signal,
        }
    }

    /// What came of a run that has come back, by what it said and left; `why` it could not even be started, if so.
    pub(super) fn came(
        &self,
        back: &Back,
        why: Option<String>,
        place: &Path,
        spent: Duration,
    ) -> Came {
        let dir = keep::made_by_the_run(place);
        let said = child::said(place);
        let found = match (&said, &dir) {
            (None, Some(dir)) => journal::found_in(dir),
            _ => Vec::new(),
        };
        let within = |dir: &Path| dir.strip_prefix(&self.dir).unwrap_or(dir).to_owned();
        Came {
            end: back.end,
            interrupted: self.stopping(),
            said,
            found,
            last_words: why.unwrap_or_else(|| child::last_words(place)),
            took: back.began.elapsed(),
            load: timers::load(),
            late_ms: self.timers.end(back.run),
            spent,
            dir: dir.as_deref().map(within),
        }
    }

    /// A signal came: the first one asks for an end in order, the second one for an end at once.
    pub(super) fn obey_signal(&mut self) {
        let wish = self.signals.wish();
        self.wish.send_replace(wish);
    }
}
