//! The conductor: it owns cluster, proxy, workload, clients, recorder, judge and nemesis, and the run's folder.
//!
//! ```text
//!   Command ──▶ conduct ──▶ Told (notices, and the history's events)
//!                 │
//!                 ├─ nemesis ──▶ cluster, proxy       (its deeds become notices and marks)
//!                 ├─ clients ──▶ recorder ──▶ judge   (the history; the verdict so far)
//!                 └─ after the faults: convergence, service, final reads, state hashes
//! ```
//!
//! [`start`] returns at once; the run works on threads of its own until its time is over, a violation stops it, or
//! a [`Command`] does. [`Handle::join`] gives the [`Ending`] when no child is left.

mod after;
mod again;
mod certify;
mod clients;
mod conduct;
mod coverage;
mod decoy;
mod desk;
mod differ;
mod drill;
mod ending;
mod fitness;
mod folder;
mod found;
mod inspect;
mod links;
mod name;
mod notice;
mod play;
mod stage;
mod traces;
mod unexplained;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

pub use crate::cluster::end_all_children;
pub use crate::fault::Kind;
pub use crate::fault::defects::{DEFECTS, Defect, Place as DefectPlace};
pub use crate::scenario::{
    APPEND_MODES, Changes, DEFAULT as DEFAULT_SCENARIO, Error as ScenarioError, Given, READ_MODES,
    Resolved, Scenario,
};
pub use again::{Picked, again_in_words, flags};
pub use coverage::{Counts, Outcomes, Share};
pub use drill::Drill;
pub use ending::{Ending, FaultSpan};
pub use folder::{FolderError, ReadBack, TOKEN_FILE, history_in, read_folder, utc_stamp};
pub use found::Found;
pub use inspect::DefectCounts;
pub use notice::{
    By, ChildState, Command, FaultId, Finding, LinkState, Load, NodeView, Notice, Part, Phase,
    Progress, Role, RpcView, Told, VerdictWord, Vote,
};
pub use unexplained::Unexplained;

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
    let own = crate::cluster::Timings::default().election_min.as_millis();
    let own = u64::try_from(own).unwrap_or(u64::MAX);
    timings.election_min_ms.unwrap_or(own)
}

/// What the screen may be behind before it loses events: some seconds of a fast run.
const SCREEN_QUEUE: usize = 1 << 16;
/// Commands wait here while the conductor is busy; a person is slower.
const COMMAND_QUEUE: usize = 64;

/// A run that goes on.
pub struct Handle {
    /// What the run tells. Nobody has to read it: what does not fit is counted in [`Handle::behind`].
    pub told: mpsc::Receiver<Told>,
    commands: mpsc::Sender<Command>,
    behind: Arc<AtomicU64>,
    thread: JoinHandle<Ending>,
}

impl Handle {
    /// Asks the run for something; the answer is a notice. It never waits; what a run that is over is asked for is
    /// let go.
    pub fn send(&self, command: Command) {
        let _ = self.commands.try_send(command);
    }

    /// A sender of commands, for a signal handler or a screen.
    #[must_use]
    pub fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    /// How many events and notices were not told because the queue was full.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// Waits for the end: everything is written and no child is left.
    ///
    /// # Panics
    /// If the run panicked, with its words.
    #[must_use]
    pub fn join(self) -> Ending {
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
    let (tell, told) = mpsc::channel(SCREEN_QUEUE);
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
                Ok(runtime) => runtime.block_on(conduct::conduct(setup, tell, counter, asked)),
                Err(error) => conduct::not_begun(&setup, &error),
            }
        })
        .expect("the system has a thread left");
    Handle {
        told,
        commands,
        behind,
        thread,
    }
}
