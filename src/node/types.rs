//! The types that openraft is instantiated with, and the commands of the replicated store.
//!
//! A command comes in through `client`, is proposed, travels in entries (`convert`), is stored by `log_store`
//! and is carried out by `state_machine`, which answers with [`Applied`].

use std::fmt;

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// openraft's parameters: everything that is not named here is its default, so a leader id is `(term, node)`.
    pub(crate) Types:
        D = Command,
        R = Applied,
        Node = Address,
);

/// A node's number, 1 or more; 0 is refused at the wire and on the command line.
pub(crate) type NodeId = u64;
pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
pub(crate) type LogId = openraft::LogId<LeaderId>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type Entry = openraft::Entry<LeaderId, openraft::EntryPayload<Command, NodeId, Address>>;
pub(crate) type Membership = openraft::Membership<NodeId, Address>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type Raft = openraft::Raft<Types, super::state_machine::StateMachine>;

/// Where a node says that it is reached; the dial map of a node goes before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// gRPC, `host:port`.
    pub(crate) raft: String,
    /// Redis protocol, `host:port`; empty: not served.
    pub(crate) resp: String,
}

/// One entry of the replicated log: what to change, who asked, and under which condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) binlog: Binlog,
    /// 0: no session, a repeated request applies again.
    pub(crate) client_id: u64,
    pub(crate) sequence: u64,
    pub(crate) condition: Option<Condition>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} entries", self.binlog.entries.len())
    }
}

/// What must hold of the command's first key when the command is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Value(Vec<u8>),
    Absent,
    Present,
}

impl Condition {
    /// Whether it holds of a key that holds `value`, or is absent.
    pub(crate) fn holds(&self, value: Option<&[u8]>) -> bool {
        match self {
            Condition::Value(expected) => value == Some(expected.as_slice()),
            Condition::Absent => value.is_none(),
            Condition::Present => value.is_some(),
        }
    }
}

/// Kiwi's binlog. The order of its fields and variants is a wire format: see `codec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binlog {
    pub(crate) db_id: u32,
    pub(crate) slot_idx: u32,
    pub(crate) entries: Vec<BinlogEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BinlogEntry {
    pub(crate) cf_idx: u32,
    pub(crate) op: Operation,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    NoOp,
    Put,
    Delete,
}

/// What the state machine answers for one applied entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Applied {
    /// A blank or a membership entry.
    #[default]
    Nothing,
    /// The command was carried out at `log_id`.
    Done {
        log_id: LogId,
        prior: Option<Vec<u8>>,
    },
    /// The command was decided at `log_id`: its condition did not hold, nothing changed.
    ConditionFailed {
        log_id: LogId,
        prior: Option<Vec<u8>>,
    },
    /// The session has gone on: what this sequence number did is no longer known.
    Superseded { last: u64 },
}
