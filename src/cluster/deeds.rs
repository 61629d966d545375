//! What is done to children, on the cluster's own thread, and what is known of them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ask::Status;
use super::child::{self, Child};
use super::{
    ChildState, ClusterConfig, ClusterError, Ended, EndedBy, ExitByItself, Limit, NodeView,
};
use crate::host::Cost;
use crate::target::{ClockSeen, Departure, Ready};

/// How long a child may take to vanish after SIGKILL, or to stop or go on after SIGSTOP or SIGCONT.
pub(super) const SIGNAL_DEADLINE: Duration = Duration::from_secs(5);

/// Between the tries of a start that the host has not room for.
const START_AGAIN: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_600),
];

/// How long a child's last words may take through its pipe, and its end after that of its stdout.
const LAST_WORDS: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ClusterConfig,
    pub(super) nodes: Mutex<BTreeMap<u64, Node>>,
    pub(super) exits: Mutex<Vec<ExitByItself>>,
    /// Counts what changed in `nodes` and `exits`.
    pub(super) changes: watch::Sender<u64>,
}

/// One node over all its lives.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Held during a deed.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    pub(super) child: Option<Arc<Child>>,
    pub(super) ready: Option<Ready>,
    pub(super) paused: bool,
    /// Whether a limit or a full disk of the plan keeps something from it in this life.
    pub(super) limited: bool,
    pub(super) starts: u32,
    pub(super) status: Option<Status>,
}

impl Node {
    pub(super) fn state(&self) -> ChildState {
        match (&self.child, self.ready) {
            (Some(child), _) if child.ended().is_some() => ChildState::Dead,
            (None, _) => ChildState::Dead,
            (Some(_), None) => ChildState::Starting,
            (Some(_), Some(_)) if self.paused => ChildState::Paused,
            (Some(_), Some(_)) => ChildState::Up,
        }
    }
}

pub(super) fn view(id: u64, node: &Node) -> NodeView {
    let state = node.state();
    let child = node.child.as_ref().filter(|_| state != ChildState::Dead);
    NodeView {
        id,
        state,
        pid: child.map(|child| child.pid),
        ready: child.and(node.ready),
        restarts: node.starts.saturating_sub(1),
        status: node.status.clone(),
    }
}

/// Runs every task of the cluster, and so spawns every child, on one thread until the cluster is dropped.
pub(super) fn own_thread(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    started: &mpsc::SyncSender<io::Result<tokio::runtime::Handle>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    if started.send(Ok(runtime.handle().clone())).is_err() {
        return;
    }
    runtime.block_on(async {
        stop.cancelled().await;
        let children: Vec<Arc<Child>> = {
            let nodes = shared.nodes.lock().unwrap();
            nodes.values().filter_map(|n| n.child.clone()).collect()
        };
        for child in &children {
            child.kill_group();
        }
        for child in &children {
            // A killed child ends, unless the kernel holds it in a disk wait; it dies after that.
            let _ = tokio::time::timeout(SIGNAL_DEADLINE, child.wait()).await;
        }
    });
    runtime.shutdown_background();
}

impl Shared {
    pub(super) fn new(config: ClusterConfig) -> Shared {
        Shared {
            config,
            nodes: Mutex::default(),
            exits: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn log(&self, id: u64) -> PathBuf {
        self.config.wiring.folder(id).join("log")
    }

    pub(super) async fn turn(&self, id: u64) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self
            .nodes
            .lock()
            .unwrap()
            .entry(id)
            .or_default()
            .turn
            .clone();
        turn.lock_owned().await
    }

    pub(super) fn edit<T>(&self, id: u64, edit: impl FnOnce(&mut Node) -> T) -> T {
        let value = edit(self.nodes.lock().unwrap().entry(id).or_default());
        self.changed();
        value
    }

    /// The child of a node in one of these states.
    fn child(
        &self,
        deed: &'static str,
        id: u64,
        states: &[ChildState],
    ) -> Result<Arc<Child>, ClusterError> {
        let nodes = self.nodes.lock().unwrap();
        let node = nodes.get(&id);
        let state = node.map_or(ChildState::Dead, Node::state);
        match node.and_then(|node| node.child.clone()) {
            Some(child) if states.contains(&state) => Ok(child),
            _ => Err(ClusterError::State { deed, id, state }),
        }
    }

    /// Starts a child; where the host does not give what that needs, again, a little later each time.
    pub(super) async fn start(self: &Arc<Self>, id: u64) -> Result<Ready, ClusterError> {
        let mut pauses = START_AGAIN.into_iter();
        loop {
            let started = self.start_once(id).await;
            let Err(error) = &started else {
                return started;
            };
            let (Some(shortage), Some(pause)) = (error.shortage(), pauses.next()) else {
                return started;
            };
            let which = || format!("n{id}");
            let shortages = &self.config.shortages;
            shortages.add(shortage, "a node's start", Cost::Delay, which);
            tokio::time::sleep(pause).await;
        }
    }

    async fn start_once(self: &Arc<Self>, id: u64) -> Result<Ready, ClusterError> {
        let state = self.nodes.lock().unwrap().get(&id).map(Node::state);
        if let Some(state) = state.filter(|&state| state != ChildState::Dead) {
            let deed = "start";
            return Err(ClusterError::State { deed, id, state });
        }
        let launches = self.config.target.launches(id, &self.config.wiring);
        let (child, heard) = child::spawn(&self.config, id, &launches)?;
        let child = Arc::new(child);
        self.edit(id, |node| {
            node.child = Some(child.clone());
            node.ready = None;
            node.paused = false;
            node.limited = false;
            // What it said in an earlier life is not what it is now.
            node.status = None;
            node.starts += 1;
        });
        let ready = self.first_word(id, &child, heard).await;
        match ready {
            Ok(ready) => {
                child.publish(launches[0].host.unwrap_or(ready.at.peers));
                self.edit(id, |node| node.ready = Some(ready));
                tokio::spawn(self.clone().watch(ready, child.clone()));
                tokio::spawn(self.clone().poll(ready, child));
                Ok(ready)
            }
            Err(error) => {
                child.kill_group();
                let _ = tokio::time::timeout(SIGNAL_DEADLINE, child.wait()).await;
                self.changed();
                Err(error)
            }
        }
    }

    /// Waits for the ready line. A child that says it and ends in the same moment was ready: its end is a finding.
    async fn first_word(
        &self,
        id: u64,
        child: &Child,
        mut heard: child::Heard,
    ) -> Result<Ready, ClusterError> {
        let waited = self.config.ready_deadline;
        let told = async {
            tokio::select! {
                biased;
                told = &mut heard => told.ok(),
                // Its last words may still be in the pipe; their end is heard too, unless somebody else holds it.
                _ = child.wait() => tokio::time::timeout(LAST_WORDS, heard).await.ok()?.ok(),
            }
        };
        let mut told = std::pin::pin!(told);
        let mut heard = tokio::time::timeout(waited, &mut told).await;
        if heard.is_err() {
            // A bench that stood still meanwhile finds the word in the pipe, and its time up.
            heard = tokio::time::timeout(LAST_WORDS, told).await;
        }
        if let Ok(Some(listening)) = heard {
            return Ok(Ready {
                id,
                pid: child.pid,
                at: listening,
            });
        }
        // Either time is up, or stdout ended, and then the child's end follows.
        let ended = tokio::time::timeout(LAST_WORDS, child.wait()).await;
        let log = child::log_tail(&self.log(id));
        Err(match ended {
            Ok(status) => ClusterError::DiedAtStart { id, status, log },
            Err(_) => ClusterError::NotReady {
                id,
                waited,
                seen: self.config.target.why_not_ready(id),
                log,
            },
        })
    }

    /// Sees a ready child's end.
    async fn watch(self: Arc<Self>, ready: Ready, child: Arc<Child>) {
        let status = child.wait().await;
        if !child.end_is_expected() {
            let log = child::log_tail(&self.log(ready.id));
            self.exits.lock().unwrap().push(ExitByItself {
                id: ready.id,
                pid: ready.pid,
                status,
                by: EndedBy::of(status, &log),
                at: Instant::now(),
                log,
            });
        }
        self.changed();
    }

    pub(super) async fn kill(&self, id: u64) -> Result<ExitStatus, ClusterError> {
        use ChildState::{Paused, Starting, Up};
        let child = self.child("kill", id, &[Starting, Up, Paused])?;
        sent("kill", id, child.kill())?;
        let ended = tokio::time::timeout(SIGNAL_DEADLINE, child.wait()).await;
        self.changed();
        ended.map_err(|_| ClusterError::Signal {
            deed: "kill",
            id,
            seen: format!("it still lives after {SIGNAL_DEADLINE:?}"),
        })
    }

    pub(super) async fn stand(&self, id: u64, still: Duration) -> Result<(), ClusterError> {
        let child = self.child("throttle", id, &[ChildState::Up])?;
        sent("throttle", id, child.pause())?;
        let stopped = child.reaches("throttle", id, |state| state == 'T').await;
        if stopped.is_ok() {
            tokio::time::sleep(still).await;
        }
        sent("throttle", id, child.resume())?;
        stopped?;
        child.reaches("throttle", id, |state| state != 'T').await
    }

    pub(super) async fn pause(&self, id: u64) -> Result<(), ClusterError> {
        let child = self.child("pause", id, &[ChildState::Up])?;
        sent("pause", id, child.pause())?;
        let reached = child.reaches("pause", id, |state| state == 'T').await;
        if reached.is_err() {
            // A pause without effect must not begin later.
            let _ = child.resume();
        }
        reached?;
        self.edit(id, |node| node.paused = true);
        Ok(())
    }

    pub(super) fn limit(&self, id: u64, of: Limit) -> Result<(), ClusterError> {
        let child = self.child("limit", id, &[ChildState::Up])?;
        let resource = match of {
            Limit::FileSize => Resource::Fsize,
            Limit::OpenFiles => Resource::Nofile,
        };
        let failed = |seen: String| ClusterError::Signal {
            deed: "limit",
            id,
            seen,
        };
        // The cluster reaps its children itself: as long as it calls this one up, the number is nobody else's.
        let set = |pid: u32, limit| {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            prlimit(pid, resource, limit).map_err(|error| failed(error.to_string()))
        };
        // The hard limit stays as the child has it from the bench.
        let none = Rlimit {
            current: Some(0),
            maximum: getrlimit(resource).maximum,
        };
        // Before it can meet the limit.
        self.edit(id, |node| node.limited = true);
        for pid in child.pids() {
            set(pid, none)?;
            let seen = set(pid, none)?;
            if seen.current != Some(0) {
                return Err(failed(format!("the kernel says {seen:?}")));
            }
        }
        Ok(())
    }

    pub(super) async fn resume(&self, id: u64) -> Result<(), ClusterError> {
        let child = self.child("resume", id, &[ChildState::Paused])?;
        sent("resume", id, child.resume())?;
        child.reaches("resume", id, |state| state != 'T').await?;
        self.edit(id, |node| node.paused = false);
        Ok(())
    }

    pub(super) async fn stop(&self, id: u64) -> Result<Ended, ClusterError> {
        use ChildState::{Paused, Starting, Up};
        let child = self.child("stop", id, &[Starting, Up, Paused])?;
        // In this order: a paused child meets its SIGTERM as the first thing when it goes on.
        sent("stop", id, child.terminate())?;
        sent("stop", id, child.resume())?;
        if let Ok(status) = tokio::time::timeout(self.config.grace, child.wait()).await {
            self.changed();
            let graceful = true;
            return Ok(Ended { status, graceful });
        }
        let status = self.kill(id).await?;
        let graceful = false;
        Ok(Ended { status, graceful })
    }

    /// Its programs may be stopped for a moment, and go on then: nobody else may let them stand meanwhile.
    pub(super) async fn set_clock(
        &self,
        id: u64,
        rate: f64,
        step: Duration,
    ) -> Result<ClockSeen, ClusterError> {
        let deed = "set the clock of";
        self.child(deed, id, &[ChildState::Up])?;
        let ready = self.ready(deed, id)?;
        Ok(self.switches()?.set_clock(&ready, rate, step).await?)
    }

    pub(super) fn wipe(&self, id: u64) -> Result<(), ClusterError> {
        let state = self.nodes.lock().unwrap().get(&id).map(Node::state);
        if let Some(state) = state.filter(|&state| state != ChildState::Dead) {
            let deed = "wipe";
            return Err(ClusterError::State { deed, id, state });
        }
        let path = self.config.wiring.data(id);
        self.config.spawner.wiped(id);
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ClusterError::File { path, source })
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn power_fails(&self, id: u64) -> Result<(), ClusterError> {
        let state = self.nodes.lock().unwrap().get(&id).map(Node::state);
        if let Some(state) = state.filter(|&state| state != ChildState::Dead) {
            let deed = "cut the power of";
            return Err(ClusterError::State { deed, id, state });
        }
        let spawner = self.config.spawner.clone();
        let undone = tokio::task::spawn_blocking(move || spawner.power_fails(id)).await;
        let path = self.config.wiring.data(id);
        undone
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map_err(|source| ClusterError::File { path, source })
    }

    pub(super) fn replace(&self, left: &Departure) -> Result<(), ClusterError> {
        self.wipe(left.node)?;
        let wiring = &self.config.wiring;
        let noted = self.admin("one to leave")?.replaced(wiring, left);
        noted.map_err(|source| ClusterError::File {
            path: wiring.trace(left.node),
            source,
        })
    }
}

/// What became of a signal.
fn sent(deed: &'static str, id: u64, sent: io::Result<()>) -> Result<(), ClusterError> {
    sent.map_err(|error| ClusterError::Signal {
        deed,
        id,
        seen: error.to_string(),
    })
}
