//! A node and a link as they were last heard, in nobody's protocol.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::fault::NodeId;

/// What a node's child is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildState {
    /// Spawned, not yet ready.
    #[default]
    Starting,
    /// Ready.
    Up,
    /// Under SIGSTOP.
    Paused,
    /// Killed, or ended by itself.
    Dead,
}

/// What a node believes it is. It may be wrong: two may believe that they lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Nobody has heard from it.
    #[default]
    Unheard,
    /// Follows.
    Follower,
    /// Campaigns.
    Candidate,
    /// Leads, or thinks so.
    Leader,
    /// Replicates without a vote.
    Learner,
    /// Its Raft core has stopped.
    Shutdown,
}

/// A node as last heard, by a call that does not go through the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which node.
    pub id: NodeId,
    /// Its child's state.
    pub child: ChildState,
    /// Its child's process id; absent when dead.
    pub pid: Option<u32>,
    /// How often its child was started again.
    pub restarts: u32,
    /// What it believes it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Whom it has voted for, and whether that vote is a leader's (committed).
    #[serde(default)]
    pub vote: Option<Vote>,
    /// Whom it believes to lead.
    pub leader: Option<NodeId>,
    /// Index of its last log entry.
    pub last_log: u64,
    /// Index up to which it knows the log to be committed.
    pub committed: u64,
    /// Index up to which its state machine has applied.
    pub applied: u64,
    /// Index of its newest snapshot.
    pub snapshot: u64,
    /// Where its child serves gRPC, past the proxy.
    #[serde(default)]
    pub grpc: Option<SocketAddr>,
    /// Where its child serves the Redis protocol.
    #[serde(default)]
    pub redis: Option<SocketAddr>,
}

/// A vote, in openraft's sense: a term and a node, and whether a quorum has granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The candidate or the leader.
    pub node: NodeId,
    /// Whether it is a leader's.
    pub committed: bool,
}

impl std::fmt::Display for Vote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Vote { term, node, .. } = self;
        let what = if self.committed {
            "leader"
        } else {
            "candidate"
        };
        write!(f, "n{node} as {what} of term {term}")
    }
}

/// What a node's calls of one method at its peers have come to, since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcView {
    /// The method's name.
    pub method: String,
    /// Calls begun.
    pub calls: u64,
    /// Calls without an answer yet.
    pub in_flight: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Bytes sent and received.
    pub bytes: u64,
    /// The median latency at the slowest peer, in microseconds.
    pub p50_us: u64,
    /// The 99th percentile at the slowest peer, in microseconds.
    pub p99_us: u64,
}

/// How one directed link between two nodes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Bytes flow.
    Open,
    /// Bytes wait.
    Cut,
    /// Bytes come late.
    Slow,
}
