//! The conductor: it owns cluster, proxy, workload, clients, recorder, judge and nemesis, and the run's folder.
//!
//! ```text
//!   Command ──▶ conduct ──▶ the journal's entries
//!                 │
//!                 ├─ nemesis ──▶ cluster, proxy       (its deeds become events and marks)
//!                 ├─ clients ──▶ recorder ──▶ judge   (the history; the verdict so far)
//!                 └─ after the faults: convergence, service, final reads, state hashes
//! ```
//!
//! [`start`] returns at once; the run works on threads of its own until its time is over, a violation stops it, or
//! a [`Command`] does. [`Handle::join`] gives the [`RunResult`] when no child is left.

mod again;
mod asks;
mod certify;
mod clients;
mod command;
mod conduct;
mod context;
mod decoy;
mod drill;
mod fates;
mod fitness;
mod found;
mod inspect;
mod lacking;
mod last_reads;
mod name;
mod sessions;
mod stage;
mod target;
mod trial;
mod watch;
mod workload_phase;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::journal::{Entry, RunResult};

pub use crate::cluster::end_all_children;
pub use crate::fault::defects::{DEFECTS, Defect, Place as DefectPlace};
pub use crate::fault::{Kind, Lacks};
pub use crate::scenario::{
    APPEND_MODES, Changes, DEFAULT as DEFAULT_SCENARIO, Error as ScenarioError, ForTarget, Given,
    READ_MODES, Resolved, Scenario,
};
pub use again::{NotPicked, Picked, flags};
pub use command::Command;
pub use drill::Drill;
pub use found::Found;
pub use target::{NoTarget, Offered, choose, lacks, offered};
pub use trial::{Came, Line, Trial, Tried, try_one};

/// Everything that a run is given.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What was named: an embedded scenario, or a file.
    pub given: String,
    /// What to do.
    pub resolved: Resolved,
    /// What the command line changed in the scenario: it changes the next one, too, that is picked on the screen.
    pub changes: Changes,
    /// Where the run's folder is made.
    pub out: PathBuf,
    /// Whether a violation holds network, workload and plan until [`Command::GoOn`], instead of ending the run.
    pub hold: bool,
    /// A panic on purpose, for the tests of the way out.
    pub drill: Option<Drill>,
    /// Where it is noted that something was found.
    pub found: Found,
    /// Whether clients dial nodes directly, for the benchmark of the proxy only.
    pub direct: bool,
}

/// Signals that come so soon after the first one are the same wish to stop: timeout(1) and others signal a child and then
/// its group, and a shell that goes passes the hangup on that the kernel has sent already.
pub const ONE_WISH: Duration = Duration::from_millis(300);

/// The least election timeout of a scenario's nodes, in milliseconds: what the bench's own timers are measured by.
#[must_use]
pub fn election_ms(given: &Given) -> u64 {
    let timings = match given {
        Given::Scenario(scenario) => &scenario.timings,
        Given::Resolved(resolved) => &resolved.scenario.timings,
    };
    let own = crate::target::kiwi::Timings::default()
        .election_min
        .as_millis();
    let own = u64::try_from(own).unwrap_or(u64::MAX);
    timings.election_min_ms.unwrap_or(own)
}

/// What the screen may be behind before it loses events: some seconds of a fast run.
const SCREEN_QUEUE: usize = 1 << 16;
/// Commands wait here while the conductor is busy; a person is slower.
const COMMAND_QUEUE: usize = 64;

/// A run that goes on.
pub struct Handle {
    /// What happens in the run. Nobody has to read it: what does not fit is counted in [`Handle::behind`].
    pub entries: mpsc::Receiver<Entry>,
    commands: mpsc::Sender<Command>,
    behind: Arc<AtomicU64>,
    thread: JoinHandle<RunResult>,
}

impl Handle {
    /// Asks the run for something; the answer is an event. It never waits; what a run that is over is asked for is
    /// let go.
    pub fn send(&self, command: Command) {
        let _ = self.commands.try_send(command);
    }

    /// A sender of commands, for a signal handler or a screen.
    #[must_use]
    pub fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// How many entries were not handed over because the queue was full.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// Waits for the end: everything is written and no child is left.
    ///
    /// # Panics
    /// If the run panicked, with its words.
    #[must_use]
    pub fn join(self) -> RunResult {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Starts a run, and returns at once. What cannot be started is told as a bench error.
///
/// # Panics
/// If the system has no thread left.
#[must_use]
pub fn start(setup: Setup) -> Handle {
    let (screen, entries) = mpsc::channel(SCREEN_QUEUE);
    let (commands, asked) = mpsc::channel(COMMAND_QUEUE);
    let behind = Arc::new(AtomicU64::new(0));
    let counter = behind.clone();
    let thread = std::thread::Builder::new()
        .name("run".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("run-worker")
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(conduct::conduct(setup, screen, counter, asked)),
                Err(error) => {
                    let why = format!("could not start the run's threads: {error}");
                    conduct::not_begun(&setup, why)
                }
            }
        })
        .expect("the system has a thread left");
    Handle {
        entries,
        commands,
        behind,
        thread,
    }
}

#[cfg(test)]
mod lack_tests;
#[cfg(test)]
mod step_tests;
