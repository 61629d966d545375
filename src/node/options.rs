//! The command line of one node, and what it means to openraft.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use openraft::{Config, SnapshotPolicy};

use super::{defect::Defect, types::NodeId};

/// What is told beside the flags.
const ENVIRONMENT: &str = "\
Environment:
  WHITEWATER_TOKEN  A secret that this node and its peers share. With it the node answers only calls whose metadata
                    has it as kiwi-token and this node's id as kiwi-receiver-id, and Redis clients after AUTH. Without
                    it the node answers everybody. It is no flag, because every user of the machine can read those.";

/// One node of the store: a Raft member with its own listener and its own data directory.
#[derive(Args, Clone, Debug)]
#[command(after_help = ENVIRONMENT)]
pub struct NodeArgs {
    /// This node's number, 1 or more; it belongs to the data directory for ever.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub id: u64,
    /// Where the gRPC services listen; port 0 takes a free one, which the READY line names.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The address that the membership and redirects name; the listener's own by default.
    #[arg(long, value_name = "ADDR")]
    pub advertise: Option<String>,
    /// Where to dial a peer, whatever the membership says; may be given for nodes that are not members yet.
    #[arg(long = "peer", value_name = "ID=ADDR")]
    pub peers: Vec<Peer>,
    /// Where the log, the state and the snapshots live; made if absent.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where the Redis protocol is served; absent: it is not.
    #[arg(long, value_name = "ADDR")]
    pub resp: Option<SocketAddr>,
    /// How reads are answered, and so what they promise.
    #[arg(long, value_enum, default_value_t)]
    pub reads: ReadMode,
    /// How entries travel to followers; heartbeats are unary calls either way.
    #[arg(long, value_enum, default_value_t)]
    pub append: AppendMode,
    /// Whether one sync takes all writes that wait; off shows what that is worth.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "on",
        hide = true
    )]
    pub group_commit: Switch,
    /// Where the bench's own service listens; absent: it is not served.
    #[arg(long, value_name = "ADDR")]
    pub chaos_listen: Option<SocketAddr>,
    /// End when the parent dies or standard input is closed.
    #[arg(long)]
    pub parent_watch: bool,
    /// Write the node's Raft events to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Plant one deliberate bug.
    #[arg(long, value_enum, value_name = "NAME")]
    pub defect: Option<Defect>,
    /// Time between heartbeats; also the time that a heartbeat has to be answered in.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub heartbeat_ms: u64,
    /// Shortest election timeout.
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub election_min_ms: u64,
    /// Longest election timeout; also the leader's lease.
    #[arg(long, value_name = "MS", default_value_t = 600)]
    pub election_max_ms: u64,
    /// Take a snapshot every so many entries.
    #[arg(long, value_name = "ENTRIES", default_value_t = 300)]
    pub snapshot_every: u64,
    /// Keep so many entries that a snapshot already covers.
    #[arg(long, value_name = "ENTRIES", default_value_t = 50)]
    pub keep_logs: u64,
    /// Send a snapshot to a follower that is more than this behind.
    #[arg(long, value_name = "ENTRIES", default_value_t = 100)]
    pub lag: u64,
    /// Time that one chunk of a snapshot may take.
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub snapshot_chunk_ms: u64,
    /// Bytes of a snapshot that one chunk holds, at most.
    #[arg(long, value_name = "BYTES", default_value_t = super::snapshot::CHUNK_BYTES as u64,
        value_parser = clap::value_parser!(u64).range(1..=super::snapshot::CHUNK_BYTES as u64))]
    pub snapshot_chunk: u64,
    /// Time after which a client's request is answered "unknown".
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    pub request_ms: u64,
    /// Time that connecting to a peer may take; keep it under the election timeout.
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub connect_ms: u64,
    /// Ask for votes without raising the term first.
    #[arg(long)]
    pub pre_vote: bool,
    /// After a start, neither vote nor campaign for the longest election timeout: an older leader may hold a lease that
    /// this node's last acknowledgement paid for. On by default with `--reads lease`.
    #[arg(long, value_enum, value_name = "WHEN")]
    pub vote_guard: Option<Switch>,
    /// Let a restarted leader go on leading without an election.
    #[arg(long)]
    pub leader_restore: bool,
}

impl NodeArgs {
    /// The dial map.
    pub(crate) fn dial(&self) -> BTreeMap<NodeId, String> {
        let entry = |peer: &Peer| (peer.id, peer.address.clone());
        self.peers.iter().map(entry).collect()
    }

    /// How long a quorum's acknowledgement vouches for a leader: openraft's leader lease.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }

    /// How long after a restart this node keeps out of elections. (A node that has never voted has promised nothing.)
    pub(crate) fn vote_guard(&self) -> Option<Duration> {
        let guarded = match self.vote_guard {
            Some(switch) => switch == Switch::On,
            None => self.reads == ReadMode::Lease,
        };
        guarded.then_some(self.lease())
    }

    /// openraft's configuration; without `elect` the node does not campaign until it is told to.
    ///
    /// # Errors
    /// When openraft refuses the timings, for example an election timeout that is no longer than a heartbeat.
    pub(crate) fn raft_config(&self, elect: bool) -> Result<Config, openraft::ConfigError> {
        Config {
            cluster_name: "kiwi".to_owned(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            install_snapshot_timeout: self.snapshot_chunk_ms,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_logs,
            replication_lag_threshold: self.lag,
            snapshot_max_chunk_size: self.snapshot_chunk,
            enable_elect: elect,
            enable_pre_vote: Some(self.pre_vote),
            enable_leader_restore: Some(self.leader_restore),
            ..Config::default()
        }
        .validate()
    }
}

/// One entry of the dial map, `ID=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's number.
    pub id: u64,
    /// `host:port`.
    pub address: String,
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Peer, PeerError> {
        let (id, address) = text.split_once('=').ok_or(PeerError::Shape)?;
        let id = id.parse().map_err(|_| PeerError::Id)?;
        if id == 0 {
            return Err(PeerError::Id);
        }
        if !is_host_port(address) {
            return Err(PeerError::Address);
        }
        let address = address.to_owned();
        Ok(Peer { id, address })
    }
}

/// Whether it is `host:port`: a host without spaces, and a number.
pub(crate) fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let dialled = |byte: u8| byte.is_ascii_graphic() && !b"/?#@".contains(&byte);
        !host.is_empty() && host.bytes().all(dialled) && port.parse::<u16>().is_ok()
    })
}

/// Why a `--peer` is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeerError {
    /// No equals sign.
    #[error("expected ID=HOST:PORT")]
    Shape,
    /// Not a number, or 0.
    #[error("the id is a whole number from 1")]
    Id,
    /// No port.
    #[error("the address is HOST:PORT")]
    Address,
}

/// How a node answers reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReadMode {
    /// Linearizable: the leader asks a quorum whether it still leads, then waits until it has applied enough.
    #[default]
    ReadIndex,
    /// Linearizable as long as clocks keep time: a leader with a live lease answers at once.
    Lease,
    /// Unsafe: whoever believes to lead answers from its own state; stale in a partition.
    LeaderLocal,
    /// Unsafe: every node answers from its own state; stale at any time.
    FollowerLocal,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// How entries travel to followers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AppendMode {
    /// One long bidirectional stream for each peer, many requests in flight.
    #[default]
    Stream,
    /// One call for each batch of entries, one at a time.
    Unary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_the_variable_that_a_token_is_told_by() {
        assert!(ENVIRONMENT.contains(crate::wire::metadata::TOKEN_VARIABLE));
        let help = NodeArgs::augment_args(clap::Command::new("node")).render_help();
        assert!(help.to_string().contains(ENVIRONMENT));
    }

    #[test]
    fn a_peer_is_an_id_and_an_address() {
        let peer: Peer = "2=127.0.0.1:41002".parse().expect("valid");
        assert_eq!((peer.id, peer.address.as_str()), (2, "127.0.0.1:41002"));
        for (text, error) in [
            ("2", PeerError::Shape),
            ("0=a:1", PeerError::Id),
            ("x=a:1", PeerError::Id),
            ("2=a", PeerError::Address),
            ("2=a:b", PeerError::Address),
            ("2=:1", PeerError::Address),
            ("2=a b:1", PeerError::Address),
            ("2=a/b:1", PeerError::Address),
        ] {
            assert_eq!(text.parse::<Peer>(), Err(error), "{text}");
        }
    }
}
