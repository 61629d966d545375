//! The children: one operating-system process for each node, started, hurt, asked and ended here.
//!
//! [`Cluster`] owns one long-lived thread; every child is spawned from it, because the parent-death signal that a
//! node sets is tied to the thread that spawned it (prctl(2)). What is started, how it says that it is ready, and what it
//! says of itself is the target's; it is asked directly, never through the proxy. What a child writes to stderr goes to
//! `nodes/<id>/log` in the run's folder.
//!
//! No child outlives its cluster: dropping it kills and reaps them; [`end_all_children`] does so from a panic hook
//! or a signal; and if this program is killed, the nodes see their parent's death and their stdin's end.

mod ask;
mod child;
mod config;
mod deeds;
mod error;
mod spawn;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use ask::Status;
pub use child::end_all_children;
pub use config::{ClusterConfig, Equipment};
pub use error::{ClusterError, EndedBy, ExitByItself};
pub use spawn::{DirectChild, Pids, SignalAll, Spawned, Spawner};
pub use upstream::UpstreamHook;

use deeds::{Shared, own_thread, view};

use crate::journal::NodeStatus;
use crate::target::admin::{self, STATUS_DEADLINE};
use crate::target::{
    ClockSeen, DefectCounters, Departure, DiskProof, DiskSeen, DiskSwitches, LeaderSeen, Ready,
    StateDump, StateHash, Target,
};

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Spawned, not yet ready.
    Starting,
    /// Ready.
    Up,
    /// Under SIGSTOP, confirmed by the kernel.
    Paused,
    /// Ended and reaped.
    Dead,
}

/// A node as it is known without asking it now.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Which node.
    pub id: u64,
    /// What its child is doing.
    pub state: ChildState,
    /// Its child's process id, while it lives.
    pub pid: Option<u32>,
    /// Where it listens, once it is ready and as long as it lives.
    pub ready: Option<Ready>,
    /// How often its child was started, less one.
    pub restarts: u32,
    /// The last status that it gave in this life, or in its last one while it is dead.
    pub status: Option<Status>,
}

/// The children. Every deed may be asked for from any runtime; deeds on one node happen one after the other.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// A cluster without children yet.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn new(config: ClusterConfig) -> Result<Cluster, ClusterError> {
        let shared = Arc::new(Shared::new(config));
        let stop = CancellationToken::new();
        let (started, wait) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("cluster".into())
            .spawn({
                let (shared, stop) = (shared.clone(), stop.clone());
                move || own_thread(&shared, &stop, &started)
            })
            .map_err(ClusterError::Thread)?;
        let runtime = wait
            .recv()
            .map_err(|_| gone())?
            .map_err(ClusterError::Thread)?;
        Ok(Cluster {
            shared,
            runtime,
            stop,
            thread: Some(thread),
        })
    }

    /// What runs in it.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        self.shared.config.target.as_ref()
    }

    /// Starts one node's child on whatever its data folder holds, and waits until it is ready.
    ///
    /// # Errors
    /// When it already lives, cannot be spawned, ends before it is ready, or is not ready in time; in the last case it
    /// is killed.
    pub async fn start(&self, id: u64) -> Result<Ready, ClusterError> {
        self.on_thread(|shared| async move {
            let _turn = shared.turn(id).await;
            shared.start(id).await
        })
        .await
    }

    /// Starts several nodes at once; gives them in the order of the ids.
    ///
    /// # Errors
    /// The first error of any; the others stay as they are.
    pub async fn start_all(&self, ids: &[u64]) -> Result<Vec<Ready>, ClusterError> {
        futures::future::try_join_all(ids.iter().map(|&id| self.start(id))).await
    }

    /// Makes these nodes a cluster, through the first of them, with the addresses that were configured to be
    /// advertised.
    ///
    /// # Errors
    /// When that node refuses or does not answer.
    pub async fn initialize(&self, ids: &[u64]) -> Result<(), ClusterError> {
        let ids = ids.to_vec();
        self.on_thread(|shared| async move { shared.initialize(&ids).await })
            .await
    }

    /// Waits until a majority of these nodes names one leader in one term, and it agrees.
    ///
    /// # Errors
    /// At the deadline, with what each node said last and the end of its log.
    pub async fn wait_for_leader(
        &self,
        ids: &[u64],
        deadline: Duration,
    ) -> Result<LeaderSeen, ClusterError> {
        let ids = ids.to_vec();
        self.on_thread(move |shared| async move { shared.wait_for_leader(&ids, deadline).await })
            .await
    }

    /// SIGKILL, then reaped: when this returns, the child is gone.
    ///
    /// # Errors
    /// When there is no child.
    pub async fn kill(&self, id: u64) -> Result<ExitStatus, ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.kill(id).await
        })
        .await
    }

    /// SIGSTOP; when this returns, the kernel says that the child is stopped.
    ///
    /// # Errors
    /// When the child is not up, or does not stop.
    pub async fn pause(&self, id: u64) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.pause(id).await
        })
        .await
    }

    /// SIGSTOP, so long, SIGCONT: the child stood still, and goes on when this returns. To whoever looks it was up.
    ///
    /// # Errors
    /// When the child is not up, or does not stop or go on.
    pub async fn stand(&self, id: u64, still: Duration) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.stand(id, still).await
        })
        .await
    }

    /// Lets a child have no more of something than nothing, until it ends; when this returns, the kernel says so.
    ///
    /// # Errors
    /// When the child is not up, or the kernel does not take the limit.
    pub async fn limit(&self, id: u64, of: Limit) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.limit(id, of)
        })
        .await
    }

    /// SIGCONT; when this returns, the kernel says that the child runs or sleeps.
    ///
    /// # Errors
    /// When the child is not paused, or does not go on.
    pub async fn resume(&self, id: u64) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.resume(id).await
        })
        .await
    }

    /// A graceful end: SIGCONT if paused, SIGTERM or what else asks its programs to end, and after the grace SIGKILL. Reaped when this returns.
    ///
    /// # Errors
    /// When there is no child.
    pub async fn stop(&self, id: u64) -> Result<Ended, ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.stop(id).await
        })
        .await
    }

    /// [`Cluster::stop`], then [`Cluster::start`], with nothing in between.
    ///
    /// # Errors
    /// As those two.
    pub async fn restart(&self, id: u64) -> Result<Ready, ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.stop(id).await?;
            shared.start(id).await
        })
        .await
    }

    /// Why the power of a node cannot be lost; `None`: it can.
    #[must_use]
    pub fn keeps_power(&self, id: u64) -> Option<String> {
        self.shared.config.spawner.keeps_power(id)
    }

    /// The power of a dead node has failed: its disk goes back to what was synced.
    ///
    /// # Errors
    /// When its child lives, its disk is no machine's, or could not be set back: then the node must not be started on it.
    pub async fn power_fails(&self, id: u64) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.power_fails(id).await
        })
        .await
    }

    /// Empties a dead node's data folder.
    ///
    /// # Errors
    /// When its child lives, or the folder cannot be removed.
    pub async fn wipe(&self, id: u64) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.wipe(id)
        })
        .await
    }

    /// Ends every child gracefully and at the same time: SIGCONT, SIGTERM, the grace, SIGKILL, reap. Gives how each
    /// that was alive ended.
    pub async fn end(&self) -> BTreeMap<u64, Result<Ended, ClusterError>> {
        let alive = self.views().into_iter();
        let alive = alive.filter(|view| view.state != ChildState::Dead);
        let ends = alive.map(|view| async move { (view.id, self.stop(view.id).await) });
        futures::future::join_all(ends).await.into_iter().collect()
    }

    /// Asks a node for its status now, directly. The answer also becomes the node's latest status.
    ///
    /// # Errors
    /// When it does not answer within a quarter of a second.
    pub async fn status(&self, id: u64) -> Result<NodeStatus, ClusterError> {
        self.status_within(id, STATUS_DEADLINE).await
    }

    /// The same by whoever can wait: a starved node needs longer than one that is well, and is there all the same.
    ///
    /// # Errors
    /// When it does not answer within that time.
    pub async fn status_within(
        &self,
        id: u64,
        within: Duration,
    ) -> Result<NodeStatus, ClusterError> {
        self.on_thread(move |shared| async move { shared.ask_status(id, within).await })
            .await
    }

    /// Asks a node for the hash of its state and the applied log id at which it was taken.
    ///
    /// # Errors
    /// Where it is not ready, does not answer in time, or the target has nobody to ask; likewise below.
    pub async fn state_hash(&self, id: u64) -> Result<StateHash, ClusterError> {
        self.on_thread(move |shared| async move {
            let ready = shared.ready("ask", id)?;
            Ok(shared.states()?.hash(&ready).await?)
        })
        .await
    }

    /// Asks a node for everything that it holds.
    ///
    /// # Errors
    /// As [`Cluster::state_hash`].
    pub async fn state_dump(&self, id: u64) -> Result<StateDump, ClusterError> {
        self.on_thread(move |shared| async move {
            let ready = shared.ready("ask", id)?;
            Ok(shared.states()?.dump(&ready).await?)
        })
        .await
    }

    /// Asks a node how often its planted defect was reached and triggered in this life.
    ///
    /// # Errors
    /// As [`Cluster::state_hash`].
    pub async fn defect_counters(&self, id: u64) -> Result<DefectCounters, ClusterError> {
        self.on_thread(move |shared| async move {
            let ready = shared.ready("ask", id)?;
            Ok(shared.defects()?.counters(&ready).await?)
        })
        .await
    }

    /// Harms a node's disk, or makes it whole, and gives what was seen of that.
    ///
    /// # Errors
    /// As [`Cluster::state_hash`].
    pub async fn set_disk(
        &self,
        id: u64,
        switches: DiskSwitches,
    ) -> Result<DiskProof, ClusterError> {
        self.on_thread(move |shared| async move {
            let ready = shared.ready("ask", id)?;
            let hardware = shared.switches()?;
            // Before it can meet that there is no room.
            shared.edit(id, |node| node.limited |= switches.full);
            Ok(hardware.set_disk(&ready, switches).await?)
        })
        .await
    }

    /// Looks at a node's disk.
    ///
    /// # Errors
    /// As [`Cluster::state_hash`].
    pub async fn disk(&self, id: u64) -> Result<DiskSeen, ClusterError> {
        self.on_thread(move |shared| async move {
            let ready = shared.ready("ask", id)?;
            Ok(shared.switches()?.disk(&ready).await?)
        })
        .await
    }

    /// Steps a node's clocks forward and lets them run at `rate` from now on: 1 is as they should, 0 stands still, 100 is
    /// the most. Gives what they show then; with the rate that they have and no step it only does that.
    ///
    /// # Errors
    /// When the rate is none, the child is not up, or as [`Cluster::state_hash`].
    pub async fn set_clock(
        &self,
        id: u64,
        rate: f64,
        step: Duration,
    ) -> Result<ClockSeen, ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(id).await;
            shared.set_clock(id, rate, step).await
        })
        .await
    }

    /// Hands the leadership to a node and waits until it leads; at once where it does already.
    ///
    /// # Errors
    /// When nobody leads, the leader refuses, or the heir does not lead within `deadline`.
    pub async fn transfer(&self, to: u64, deadline: Duration) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let admin = shared.admin("the leadership")?;
            Ok(admin::transfer(&*shared, admin, to, deadline).await?)
        })
        .await
    }

    /// Makes exactly these nodes the voters; who was one and is none of them learns on. Asks whoever leads, again and
    /// again, until a majority has taken the change.
    ///
    /// # Errors
    /// At the deadline, with who was asked last, 0 for nobody, and what was seen last. Where somebody was asked the change
    /// may come about later.
    pub async fn set_voters(&self, ids: &[u64], deadline: Duration) -> Result<(), ClusterError> {
        let ids = ids.to_vec();
        self.on_thread(move |shared| async move {
            let admin = shared.admin("other voters")?;
            Ok(admin::set_voters(&*shared, admin, &ids, deadline).await?)
        })
        .await
    }

    /// Lets a node leave the membership, and waits until that is committed and a leader whose voters follow it says so.
    ///
    /// # Errors
    /// At the deadline, with what was seen last. It may leave later.
    pub async fn leave(&self, id: u64, deadline: Duration) -> Result<Departure, ClusterError> {
        self.on_thread(move |shared| async move {
            let admin = shared.admin("one to leave")?;
            Ok(admin::leave(&*shared, admin, id, deadline).await?)
        })
        .await
    }

    /// Empties the data folder of a dead node that has left, and notes that for whoever reads its trace: who starts there
    /// is a new member.
    ///
    /// # Errors
    /// When its child lives, or a file cannot be removed or written.
    pub async fn replace(&self, left: Departure) -> Result<(), ClusterError> {
        self.on_thread(move |shared| async move {
            let _turn = shared.turn(left.node).await;
            shared.replace(&left)
        })
        .await
    }

    /// From now on the end of this child, in this life, is nobody's finding: something is done to it that may end it.
    pub fn excuse(&self, id: u64) {
        let nodes = self.shared.nodes.lock().unwrap();
        if let Some(child) = nodes.get(&id).and_then(|node| node.child.as_ref()) {
            child.expect_end();
        }
    }

    /// Takes that back: nothing was done to it.
    pub fn accuse_again(&self, id: u64) {
        let nodes = self.shared.nodes.lock().unwrap();
        if let Some(child) = nodes.get(&id).and_then(|node| node.child.as_ref()) {
            child.expect_life();
        }
    }

    /// Every node that was ever started, as known now, without waiting for anybody.
    #[must_use]
    pub fn views(&self) -> Vec<NodeView> {
        let nodes = self.shared.nodes.lock().unwrap();
        nodes.iter().map(|(&id, node)| view(id, node)).collect()
    }

    /// One node as known now; `None` where it never was started.
    #[must_use]
    pub fn view(&self, id: u64) -> Option<NodeView> {
        let nodes = self.shared.nodes.lock().unwrap();
        nodes.get(&id).map(|node| view(id, node))
    }

    /// Children that ended by themselves after they had been ready, in the order in which that was seen.
    #[must_use]
    pub fn exits(&self) -> Vec<ExitByItself> {
        self.shared.exits.lock().unwrap().clone()
    }

    /// Changes whenever a view or an exit does, so that nobody needs to look again and again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The last lines of a node's log.
    #[must_use]
    pub fn log_tail(&self, id: u64) -> String {
        child::log_tail(&self.shared.log(id))
    }

    async fn on_thread<T, F>(&self, deed: impl FnOnce(Arc<Shared>) -> F) -> Result<T, ClusterError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ClusterError>> + Send + 'static,
    {
        let task = self.runtime.spawn(deed(self.shared.clone()));
        task.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Cluster {
    /// Kills and reaps every child before it returns.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It only fails if that thread panicked; the children are killed all the same.
            if thread.join().is_err() {
                for node in self.shared.nodes.lock().unwrap().values() {
                    if let Some(child) = &node.child {
                        child.kill_group();
                    }
                }
            }
        }
    }
}

/// What a child can be without: setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Writes to files fail with EFBIG.
    FileSize,
    /// Whatever opens a file or takes a connection fails with EMFILE.
    OpenFiles,
}

/// How a child ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What it exited with.
    pub status: ExitStatus,
    /// Whether SIGTERM was enough.
    pub graceful: bool,
}

fn gone() -> ClusterError {
    ClusterError::Thread(io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests;
