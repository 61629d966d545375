//! What a cluster is made of: what runs in it, and the times in which that has to come about.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{DirectChild, Spawner, UpstreamHook};
use crate::host::Shortages;
use crate::target::{Target, Wiring};

/// What is watched on a host of a node's own: each costs a notification a call, and is left out where nobody wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equipment {
    /// Writes and syncs: a disk that can lose power and go wrong.
    pub disk: bool,
    /// Reads, too, so that they can fail.
    pub reads: bool,
    /// Clocks.
    pub clock: bool,
    /// What of an unsynced write is kept where some is, and which bit is flipped.
    pub seed: u64,
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// What runs in it.
    pub target: Arc<dyn Target>,
    /// How its processes are started.
    pub spawner: Arc<dyn Spawner>,
    /// What hosts of the nodes' own are to be able to do, where the target wants hosts.
    pub equipment: Equipment,
    /// Keeper and starter of what runs on those: an executable whose `main` begins with [`machine::main`].
    pub keeper: PathBuf,
    /// The run's folder, and how the nodes are to know each other.
    pub wiring: Wiring,
    /// Who is told where each node listens.
    pub upstream: UpstreamHook,
    /// How long a child may take to say that it is ready.
    pub ready_deadline: Duration,
    /// How long a child may take to end after SIGTERM before it is killed.
    pub grace: Duration,
    /// How often each node is asked for its status.
    pub poll_every: Duration,
    /// Where it is noted what the host does not give to the nodes.
    pub shortages: Shortages,
}

impl ClusterConfig {
    /// Nodes of this target, in this folder; addresses are still to be told.
    #[must_use]
    pub fn new(dir: PathBuf, target: Arc<dyn Target>) -> ClusterConfig {
        ClusterConfig {
            target,
            spawner: Arc::new(DirectChild),
            equipment: Equipment::default(),
            keeper: "/proc/self/exe".into(),
            wiring: Wiring {
                dir,
                ..Wiring::default()
            },
            upstream: UpstreamHook::default(),
            ready_deadline: Duration::from_secs(10),
            grace: Duration::from_secs(1),
            poll_every: Duration::from_millis(100),
            shortages: Shortages::default(),
        }
    }
}
