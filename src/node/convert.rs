//! Between the wire and openraft's types, both ways, losing nothing.
//!
//! What comes in is checked: a missing field, node id 0, a number that does not fit or a sequence that no leader sends
//! fails the whole message. Nothing is defaulted, nothing is filtered out.

mod messages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use openraft::{EntryPayload, Vote as RaftVote};
use tonic::Status;

use super::{
    codec,
    types::{
        Address, Binlog, BinlogEntry, Command, Condition, Entry, LeaderId, LogId, Membership,
        NodeId, Operation, Vote,
    },
};
use crate::wire::kiwi;

pub(crate) use self::messages::{
    Span, append_response, append_response_out, append_result_out, snapshot_meta,
    snapshot_meta_out, vote_request_out,
};

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("node id 0 is no node")]
    NodeZero,
    #[error("{field} is {value}, which does not fit")]
    TooLarge { field: &'static str, value: u64 },
    #[error("the operation {0:?} is neither Put nor Delete")]
    Operation(String),
    #[error("a Delete carries a value")]
    DeleteWithValue,
    #[error("the binlog does not decode: {0}")]
    Binlog(String),
    #[error("membership: {0}")]
    Membership(String),
    #[error("{0}")]
    Sequence(&'static str),
    #[error("the answer {0} is not known")]
    Result(i32),
}

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Status {
        Status::invalid_argument(error.to_string())
    }
}

type Checked<T> = Result<T, Malformed>;

fn need<T>(field: Option<T>, name: &'static str) -> Checked<T> {
    field.ok_or(Malformed::Missing(name))
}

/// A node's number from the wire.
pub(crate) fn node_id(id: u64) -> Checked<NodeId> {
    if id == 0 {
        return Err(Malformed::NodeZero);
    }
    Ok(id)
}

/// Terms and indexes above this are nonsense, and would overflow when openraft counts on.
const MAX_COUNT: u64 = 1 << 56;

fn countable(field: &'static str, value: u64) -> Checked<u64> {
    if value > MAX_COUNT {
        return Err(Malformed::TooLarge { field, value });
    }
    Ok(value)
}

fn fits(field: &'static str, value: u64) -> Checked<u32> {
    u32::try_from(value).map_err(|_| Malformed::TooLarge { field, value })
}

impl TryFrom<kiwi::LeaderId> for LeaderId {
    type Error = Malformed;

    fn try_from(wire: kiwi::LeaderId) -> Checked<LeaderId> {
        let node = need(wire.node_id, "the leader's node id")?;
        Ok(LeaderId {
            term: countable("the term", wire.term)?,
            node_id: node_id(node.id)?,
        })
    }
}

impl From<LeaderId> for kiwi::LeaderId {
    fn from(id: LeaderId) -> kiwi::LeaderId {
        kiwi::LeaderId {
            term: id.term,
            node_id: Some(kiwi::NodeId { id: id.node_id }),
        }
    }
}

impl TryFrom<kiwi::LogId> for LogId {
    type Error = Malformed;

    fn try_from(wire: kiwi::LogId) -> Checked<LogId> {
        let leader = need(wire.leader_id, "the log id's leader")?;
        let index = countable("the log index", wire.index)?;
        Ok(LogId::new(leader.try_into()?, index))
    }
}

impl From<LogId> for kiwi::LogId {
    fn from(id: LogId) -> kiwi::LogId {
        kiwi::LogId {
            leader_id: Some(id.leader_id.into()),
            index: id.index,
        }
    }
}

/// An absent log id is the empty log; a present one has to be whole.
pub(crate) fn log_id(wire: Option<kiwi::LogId>) -> Checked<Option<LogId>> {
    wire.map(LogId::try_from).transpose()
}

pub(crate) fn log_id_out(id: Option<LogId>) -> Option<kiwi::LogId> {
    id.map(kiwi::LogId::from)
}

impl TryFrom<kiwi::Vote> for Vote {
    type Error = Malformed;

    fn try_from(wire: kiwi::Vote) -> Checked<Vote> {
        let leader = need(wire.leader_id, "the vote's leader")?;
        Ok(RaftVote {
            leader_id: leader.try_into()?,
            committed: wire.committed,
        })
    }
}

impl From<Vote> for kiwi::Vote {
    fn from(vote: Vote) -> kiwi::Vote {
        kiwi::Vote {
            leader_id: Some(vote.leader_id.into()),
            committed: vote.committed,
        }
    }
}

pub(crate) fn vote(wire: Option<kiwi::Vote>) -> Checked<Vote> {
    need(wire, "the vote")?.try_into()
}

/// A node with its addresses.
pub(crate) fn node(wire: kiwi::NodeConfig) -> Checked<(NodeId, Address)> {
    let address = Address {
        raft: wire.raft_addr,
        resp: wire.resp_addr,
    };
    Ok((node_id(wire.node_id)?, address))
}

pub(crate) fn node_out(id: NodeId, address: &Address) -> kiwi::NodeConfig {
    kiwi::NodeConfig {
        node_id: id,
        raft_addr: address.raft.clone(),
        resp_addr: address.resp.clone(),
    }
}

/// Nodes by number; a number that comes twice is refused.
pub(crate) fn nodes(wire: Vec<kiwi::NodeConfig>) -> Checked<BTreeMap<NodeId, Address>> {
    let mut nodes = BTreeMap::new();
    for config in wire {
        let (id, address) = node(config)?;
        if nodes.insert(id, address).is_some() {
            return Err(Malformed::Membership(format!("node {id} comes twice")));
        }
    }
    Ok(nodes)
}

fn voters(wire: Vec<u64>) -> Checked<BTreeSet<NodeId>> {
    let mut set = BTreeSet::new();
    for id in wire {
        if !set.insert(node_id(id)?) {
            return Err(Malformed::Membership(format!("voter {id} comes twice")));
        }
    }
    Ok(set)
}

impl TryFrom<kiwi::Membership> for Membership {
    type Error = Malformed;

    fn try_from(wire: kiwi::Membership) -> Checked<Membership> {
        let nodes = nodes(wire.nodes)?;
        let union = voters(wire.node_ids)?;
        // An old peer has no joint configurations: its voters are the one set.
        let configs = if wire.configs.is_empty() && !union.is_empty() {
            vec![union]
        } else {
            let sets = wire.configs.into_iter().map(|set| voters(set.node_ids));
            let sets: Vec<_> = sets.collect::<Checked<_>>()?;
            if sets.iter().flatten().copied().collect::<BTreeSet<_>>() != union {
                let reason = "the voters are not the union of the configurations";
                return Err(Malformed::Membership(reason.to_owned()));
            }
            sets
        };
        if configs.len() > 2 {
            let reason = "more than two configurations";
            return Err(Malformed::Membership(reason.to_owned()));
        }
        Membership::new(configs, nodes).map_err(|error| Malformed::Membership(error.to_string()))
    }
}

impl From<&Membership> for kiwi::Membership {
    fn from(membership: &Membership) -> kiwi::Membership {
        let sets = membership.get_joint_config().iter();
        kiwi::Membership {
            node_ids: membership.voter_ids().collect(),
            nodes: membership
                .nodes()
                .map(|(id, address)| node_out(*id, address))
                .collect(),
            configs: sets
                .map(|set| kiwi::NodeIdSet {
                    node_ids: set.iter().copied().collect(),
                })
                .collect(),
        }
    }
}

impl TryFrom<kiwi::Condition> for Condition {
    type Error = Malformed;

    fn try_from(wire: kiwi::Condition) -> Checked<Condition> {
        use kiwi::condition::Expected;
        match need(wire.expected, "what the condition expects")? {
            Expected::Value(value) => Ok(Condition::Value(value.into())),
            Expected::Absent(true) => Ok(Condition::Absent),
            Expected::Present(true) => Ok(Condition::Present),
            Expected::Absent(false) | Expected::Present(false) => {
                Err(Malformed::Missing("what the condition expects"))
            }
        }
    }
}

impl From<Condition> for kiwi::Condition {
    fn from(condition: Condition) -> kiwi::Condition {
        use kiwi::condition::Expected;
        let expected = match condition {
            Condition::Value(value) => Expected::Value(value.into()),
            Condition::Absent => Expected::Absent(true),
            Condition::Present => Expected::Present(true),
        };
        kiwi::Condition {
            expected: Some(expected),
        }
    }
}

impl TryFrom<kiwi::Binlog> for Binlog {
    type Error = Malformed;

    fn try_from(wire: kiwi::Binlog) -> Checked<Binlog> {
        let entries = wire.entries.into_iter().map(BinlogEntry::try_from);
        Ok(Binlog {
            db_id: fits("the database", wire.db_id)?,
            slot_idx: fits("the slot", wire.slot_idx)?,
            entries: entries.collect::<Checked<_>>()?,
        })
    }
}

impl TryFrom<kiwi::BinlogEntry> for BinlogEntry {
    type Error = Malformed;

    fn try_from(wire: kiwi::BinlogEntry) -> Checked<BinlogEntry> {
        let (op, value) = match wire.op_type.as_str() {
            "Put" => (Operation::Put, Some(wire.value.into())),
            "Delete" if wire.value.is_empty() => (Operation::Delete, None),
            "Delete" => return Err(Malformed::DeleteWithValue),
            other => return Err(Malformed::Operation(other.chars().take(32).collect())),
        };
        Ok(BinlogEntry {
            cf_idx: wire.cf_idx,
            op,
            key: wire.key.into(),
            value,
        })
    }
}

/// A log entry from the wire. (A function: for this type the compiler takes a `TryFrom` for ambiguous.)
pub(crate) fn entry(wire: kiwi::Entry) -> Checked<Entry> {
    use kiwi::entry_payload::Payload;
    let log_id = need(wire.log_id, "the entry's log id")?.try_into()?;
    let payload = need(wire.payload, "the entry's payload")?;
    let payload = match need(payload.payload, "the entry's payload")? {
        Payload::Blank(kiwi::BlankPayload {}) => EntryPayload::Blank,
        Payload::Normal(normal) => EntryPayload::Normal(normal.try_into()?),
        Payload::Membership(membership) => EntryPayload::Membership(membership.try_into()?),
    };
    Ok(Entry { log_id, payload })
}

impl From<&Entry> for kiwi::Entry {
    fn from(entry: &Entry) -> kiwi::Entry {
        use kiwi::entry_payload::Payload;
        let payload = match &entry.payload {
            EntryPayload::Blank => Payload::Blank(kiwi::BlankPayload {}),
            EntryPayload::Normal(command) => Payload::Normal(command.into()),
            EntryPayload::Membership(membership) => Payload::Membership(membership.into()),
        };
        kiwi::Entry {
            log_id: Some(entry.log_id.into()),
            payload: Some(kiwi::EntryPayload {
                payload: Some(payload),
            }),
        }
    }
}

impl TryFrom<kiwi::NormalPayload> for Command {
    type Error = Malformed;

    fn try_from(wire: kiwi::NormalPayload) -> Checked<Command> {
        let binlog = codec::decode(&wire.data);
        Ok(Command {
            binlog: binlog.map_err(|error| Malformed::Binlog(error.to_string()))?,
            client_id: wire.client_id,
            sequence: wire.sequence,
            condition: wire.condition.map(Condition::try_from).transpose()?,
        })
    }
}

impl From<&Command> for kiwi::NormalPayload {
    fn from(command: &Command) -> kiwi::NormalPayload {
        kiwi::NormalPayload {
            data: codec::encode(&command.binlog).into(),
            client_id: command.client_id,
            sequence: command.sequence,
            condition: command.condition.clone().map(kiwi::Condition::from),
        }
    }
}
