//! A node and a link as they were last heard, in nobody's protocol.

use std::collections::BTreeMap;
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

impl NodeView {
    /// Takes in what the node says of itself. What it does not tell is 0 here, or nobody.
    pub fn hear(&mut self, says: &NodeStatus) {
        self.role = says.role;
        self.term = says.term.unwrap_or_default();
        self.vote = says.vote;
        self.leader = says.leader;
        self.last_log = says.last.unwrap_or_default();
        self.committed = says.committed.unwrap_or_default();
        self.applied = says.applied.unwrap_or_default();
        self.snapshot = says.snapshot.unwrap_or_default();
    }
}

/// What a node says of itself, in nobody's protocol. What a system's protocol does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// What it believes it is; [`Role::Unheard`] where it does not tell.
    pub role: Role,
    /// Its term.
    pub term: Option<u64>,
    /// Whom it has voted for.
    pub vote: Option<Vote>,
    /// Whom it believes to lead; `None` also where it knows nobody.
    pub leader: Option<NodeId>,
    /// Index of its last log entry; `None` also where its log is empty, and likewise below.
    pub last: Option<u64>,
    /// Index up to which it knows the log to be committed.
    pub committed: Option<u64>,
    /// Index up to which its state machine has applied.
    pub applied: Option<u64>,
    /// Index of its newest snapshot.
    pub snapshot: Option<u64>,
    /// The members, as far as it knows.
    pub membership: Option<Membership>,
    /// What its calls at its peers have come to, a row a method.
    pub rpcs: Vec<RpcView>,
    /// What its host did not give it since it started, by name, as often as it met that.
    pub shortages: BTreeMap<String, u64>,
}

impl NodeStatus {
    /// Whether it believes that it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }
}

/// Who belongs to the cluster, as one node has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Those whose majority decides; two sets while it changes from one to the other.
    pub voters: Vec<Vec<NodeId>>,
    /// All that are members, with a vote or without.
    pub nodes: Vec<NodeId>,
    /// The log entry that says so: term, leader, index.
    pub at: Option<(u64, NodeId, u64)>,
}

impl Membership {
    /// Whether that node is in it at all.
    #[must_use]
    pub fn knows(&self, node: NodeId) -> bool {
        let voters = self.voters.iter().flatten();
        voters.chain(&self.nodes).any(|&other| other == node)
    }
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
