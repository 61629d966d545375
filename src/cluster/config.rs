//! What a cluster is made of: program, folder, addresses, and the times that its nodes run with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::UpstreamHook;
use crate::host::Shortages;
use crate::wire::metadata::Token;

/// The times and counts that a node runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// The least election timeout.
    pub election_min: Duration,
    /// The greatest election timeout.
    pub election_max: Duration,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot.
    pub keep_logs: u64,
    /// Log entries that a follower may lag before it is sent a snapshot.
    pub lag: u64,
}

impl Default for Timings {
    /// Failover in about a second, and snapshots within any run that does some work.
    fn default() -> Timings {
        Timings {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            snapshot_every: 300,
            keep_logs: 50,
            lag: 100,
        }
    }
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The program and its first arguments; the node's own flags follow.
    pub command: Vec<OsString>,
    /// The run's folder: `nodes/<id>/data`, `nodes/<id>/log` and `trace/<id>.jsonl` are made in it.
    pub dir: PathBuf,
    /// For each node its entry in the membership.
    pub advertise: BTreeMap<u64, SocketAddr>,
    /// For each node where it dials each of its peers.
    pub peers: BTreeMap<u64, BTreeMap<u64, SocketAddr>>,
    /// What the nodes ask of whoever calls them; `None`: nothing.
    pub token: Option<Token>,
    /// Who is told where each node listens.
    pub upstream: UpstreamHook,
    /// `--reads`.
    pub reads: String,
    /// `--append`.
    pub append: String,
    /// `--defect`, where one is planted.
    pub defect: Option<String>,
    /// `--power-loss`: whether a SIGKILL loses what was not synced.
    pub power_loss: bool,
    /// Heartbeats, elections, snapshots.
    pub timings: Timings,
    /// Flags that are passed on as they are, after all others.
    pub more_flags: Vec<OsString>,
    /// How long a child may take to say that it is ready.
    pub ready_deadline: Duration,
    /// How long a child may take to end after SIGTERM before it is killed.
    pub grace: Duration,
    /// How often each node is asked for its status.
    pub poll_every: Duration,
    /// Where it is noted what the host does not give, to the nodes or to whoever asks them.
    pub shortages: Shortages,
}

impl ClusterConfig {
    /// This program's own nodes, in this folder, with default timings; addresses are still to be told.
    #[must_use]
    pub fn new(dir: PathBuf) -> ClusterConfig {
        ClusterConfig {
            command: vec!["/proc/self/exe".into(), "node".into()],
            dir,
            advertise: BTreeMap::new(),
            peers: BTreeMap::new(),
            token: None,
            upstream: UpstreamHook::default(),
            reads: "read-index".into(),
            append: "stream".into(),
            defect: None,
            power_loss: false,
            timings: Timings::default(),
            more_flags: Vec::new(),
            ready_deadline: Duration::from_secs(10),
            grace: Duration::from_secs(1),
            poll_every: Duration::from_millis(100),
            shortages: Shortages::default(),
        }
    }
}
