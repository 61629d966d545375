//! Between the wire and openraft's types, both ways, losing nothing.
//!
//! What comes in is checked: a missing field, node id 0, a number that does not fit or a sequence that no leader sends
//! fails the whole message. Nothing is defaulted, nothing is filtered out.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{
    EntryPayload, Vote as RaftVote,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderRequest, VoteRequest, VoteResponse,
    },
};
use tonic::Status;

use super::{
    codec,
    types::{
        Address, Binlog, BinlogEntry, Command, Condition, Entry, LeaderId, LogId, Membership,
        NodeId, Operation, SnapshotMeta, StoredMembership, Types, Vote,
    },
};
use crate::wire::kiwi;

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

/// The vote of a sender that claims to lead: it must have been granted by a quorum.
fn leader_vote(wire: Option<kiwi::Vote>) -> Checked<Vote> {
    let vote = vote(wire)?;
    if !vote.committed {
        return Err(Malformed::Sequence("the sender's vote is not a leader's"));
    }
    Ok(vote)
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

impl TryFrom<kiwi::AppendEntriesRequest> for AppendEntriesRequest<Types> {
    type Error = Malformed;

    fn try_from(wire: kiwi::AppendEntriesRequest) -> Checked<AppendEntriesRequest<Types>> {
        let entries = wire.entries.into_iter().map(entry);
        let request = AppendEntriesRequest {
            vote: leader_vote(wire.vote)?,
            prev_log_id: log_id(wire.prev_log_id)?,
            entries: entries.collect::<Checked<_>>()?,
            leader_commit: log_id(wire.leader_commit)?,
        };
        check_sequence(&request)?;
        Ok(request)
    }
}

/// What every leader sends: one entry after the other, none from a later leader than the sender.
fn check_sequence(request: &AppendEntriesRequest<Types>) -> Checked<()> {
    let mut prev = request.prev_log_id;
    for entry in &request.entries {
        let next = prev.map_or(0, |prev| prev.index + 1);
        if entry.log_id.index != next {
            return Err(Malformed::Sequence("the entries leave a gap"));
        }
        if prev.is_some_and(|prev| prev.leader_id > entry.log_id.leader_id) {
            return Err(Malformed::Sequence(
                "an entry is older than the one before it",
            ));
        }
        prev = Some(entry.log_id);
    }
    if [prev, request.leader_commit]
        .iter()
        .flatten()
        .any(|id| id.leader_id > request.vote.leader_id)
    {
        return Err(Malformed::Sequence(
            "a log id is newer than the sender's vote",
        ));
    }
    Ok(())
}

impl From<&AppendEntriesRequest<Types>> for kiwi::AppendEntriesRequest {
    fn from(request: &AppendEntriesRequest<Types>) -> kiwi::AppendEntriesRequest {
        kiwi::AppendEntriesRequest {
            vote: Some(request.vote.into()),
            prev_log_id: log_id_out(request.prev_log_id),
            entries: request.entries.iter().map(kiwi::Entry::from).collect(),
            leader_commit: log_id_out(request.leader_commit),
        }
    }
}

/// The range of a request, `(prev, last]`: what its answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) prev: Option<LogId>,
    pub(crate) last: Option<LogId>,
}

impl Span {
    pub(crate) fn of(request: &AppendEntriesRequest<Types>) -> Span {
        let last = request.entries.last().map(|entry| entry.log_id);
        Span {
            prev: request.prev_log_id,
            last: last.or(request.prev_log_id),
        }
    }
}

/// A unary answer to the wire.
pub(crate) fn append_response_out(
    response: AppendEntriesResponse<Types>,
    span: Span,
) -> kiwi::AppendEntriesResponse {
    match response {
        AppendEntriesResponse::Success => append_result_out(Ok(span.last)),
        AppendEntriesResponse::PartialSuccess(matching) => kiwi::AppendEntriesResponse {
            partial: true,
            ..append_result_out(Ok(matching))
        },
        AppendEntriesResponse::Conflict => kiwi::AppendEntriesResponse {
            result: kiwi::AppendEntriesResult::Conflict as i32,
            conflict: log_id_out(span.prev),
            ..Default::default()
        },
        AppendEntriesResponse::HigherVote(vote) => {
            append_result_out(Err(StreamAppendError::HigherVote(vote)))
        }
    }
}

/// An answer of the stream to the wire.
pub(crate) fn append_result_out(result: StreamAppendResult<Types>) -> kiwi::AppendEntriesResponse {
    use kiwi::AppendEntriesResult as Kind;
    let of = |success, kind: Kind| kiwi::AppendEntriesResponse {
        success,
        result: kind as i32,
        ..Default::default()
    };
    match result {
        Ok(matching) => kiwi::AppendEntriesResponse {
            matching: log_id_out(matching),
            ..of(true, Kind::Success)
        },
        Err(StreamAppendError::Conflict(at)) => kiwi::AppendEntriesResponse {
            conflict: Some(at.into()),
            ..of(false, Kind::Conflict)
        },
        Err(StreamAppendError::HigherVote(vote)) => kiwi::AppendEntriesResponse {
            higher_vote: Some(vote.into()),
            ..of(false, Kind::HigherVote)
        },
    }
}

/// An answer from the wire, to the request of `span`.
///
/// # Errors
/// When it is no answer to that request: an acknowledgement outside of it, a conflict with the empty log.
pub(crate) fn append_response(
    wire: kiwi::AppendEntriesResponse,
    span: Span,
) -> Checked<AppendEntriesResponse<Types>> {
    use kiwi::AppendEntriesResult as Kind;
    let kind = Kind::try_from(wire.result).map_err(|_| Malformed::Result(wire.result))?;
    let success = match kind {
        Kind::Success => true,
        Kind::Conflict | Kind::HigherVote => false,
        // An old peer.
        Kind::Unspecified => wire.success,
    };
    if success {
        let matching = log_id(wire.matching)?;
        if matching.is_none() || matching == span.last {
            return Ok(AppendEntriesResponse::Success);
        }
        if !wire.partial || matching < span.prev || matching > span.last {
            return Err(Malformed::Sequence(
                "the answer acknowledges what was not sent",
            ));
        }
        return Ok(AppendEntriesResponse::PartialSuccess(matching));
    }
    if kind == Kind::HigherVote || wire.higher_vote.is_some() {
        return Ok(AppendEntriesResponse::HigherVote(vote(wire.higher_vote)?));
    }
    if span.prev.is_none() {
        return Err(Malformed::Sequence("the empty log never conflicts"));
    }
    Ok(AppendEntriesResponse::Conflict)
}

impl TryFrom<kiwi::VoteRequest> for VoteRequest<Types> {
    type Error = Malformed;

    fn try_from(wire: kiwi::VoteRequest) -> Checked<VoteRequest<Types>> {
        let mut request = VoteRequest::<Types>::new(vote(wire.vote)?, log_id(wire.last_log_id)?);
        request.leadership_transfer = wire.leadership_transfer;
        if request.vote.committed {
            return Err(Malformed::Sequence("a candidate's vote is not committed"));
        }
        if request
            .last_log_id
            .is_some_and(|last| last.leader_id > request.vote.leader_id)
        {
            return Err(Malformed::Sequence(
                "the last log id is newer than the vote",
            ));
        }
        Ok(request)
    }
}

pub(crate) fn vote_request_out(request: &VoteRequest<Types>, pre_vote: bool) -> kiwi::VoteRequest {
    kiwi::VoteRequest {
        vote: Some(request.vote.into()),
        last_log_id: log_id_out(request.last_log_id),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

impl TryFrom<kiwi::VoteResponse> for VoteResponse<Types> {
    type Error = Malformed;

    fn try_from(wire: kiwi::VoteResponse) -> Checked<VoteResponse<Types>> {
        Ok(VoteResponse {
            vote: vote(wire.vote)?,
            vote_granted: wire.vote_granted,
            last_log_id: log_id(wire.last_log_id)?,
        })
    }
}

impl From<VoteResponse<Types>> for kiwi::VoteResponse {
    fn from(response: VoteResponse<Types>) -> kiwi::VoteResponse {
        kiwi::VoteResponse {
            vote: Some(response.vote.into()),
            vote_granted: response.vote_granted,
            last_log_id: log_id_out(response.last_log_id),
        }
    }
}

impl TryFrom<kiwi::TransferLeaderRequest> for TransferLeaderRequest<Types> {
    type Error = Malformed;

    fn try_from(wire: kiwi::TransferLeaderRequest) -> Checked<TransferLeaderRequest<Types>> {
        let from = leader_vote(wire.from_leader)?;
        let to = node_id(wire.to_node_id)?;
        Ok(TransferLeaderRequest::new(
            from,
            to,
            log_id(wire.last_log_id)?,
        ))
    }
}

impl From<&TransferLeaderRequest<Types>> for kiwi::TransferLeaderRequest {
    fn from(request: &TransferLeaderRequest<Types>) -> kiwi::TransferLeaderRequest {
        kiwi::TransferLeaderRequest {
            from_leader: Some((*request.from_leader()).into()),
            to_node_id: *request.to_node_id(),
            last_log_id: log_id_out(request.last_log_id().copied()),
        }
    }
}

/// The announcement of a snapshot, from its first chunk.
///
/// # Errors
/// When a field is missing, or contradicts another.
pub(crate) fn snapshot_meta(wire: &kiwi::InstallSnapshotRequest) -> Checked<(Vote, SnapshotMeta)> {
    let vote = leader_vote(wire.vote.clone())?;
    let last = need(
        log_id(wire.last_log_id.clone())?,
        "the snapshot's last log id",
    )?;
    let membership: Membership =
        need(wire.last_membership.clone(), "the membership")?.try_into()?;
    if membership.get_joint_config().is_empty() {
        return Err(Malformed::Membership("a snapshot has voters".to_owned()));
    }
    let at = log_id(wire.last_membership_log_id.clone())?;
    let old = (
        wire.term,
        wire.leader_id,
        wire.last_included_index,
        wire.last_included_term,
    );
    let new = (
        vote.leader_id.term,
        vote.leader_id.node_id,
        last.index,
        last.leader_id.term,
    );
    if old != new {
        return Err(Malformed::Sequence(
            "the first four fields contradict the rest",
        ));
    }
    if last.leader_id > vote.leader_id || at > Some(last) {
        return Err(Malformed::Sequence(
            "a log id is newer than the sender's vote",
        ));
    }
    if wire.snapshot_id.is_empty() {
        return Err(Malformed::Missing("the snapshot's id"));
    }
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(at, membership),
    };
    Ok((vote, meta))
}

/// The first chunk's announcement; `data`, `offset`, `crc` and `done` are still to be filled in.
pub(crate) fn snapshot_meta_out(
    vote: Vote,
    meta: &SnapshotMeta,
    id: &str,
) -> kiwi::InstallSnapshotRequest {
    let last = meta.last_log_id;
    kiwi::InstallSnapshotRequest {
        term: vote.leader_id.term,
        leader_id: vote.leader_id.node_id,
        last_included_index: last.map_or(0, |last| last.index),
        last_included_term: last.map_or(0, |last| last.leader_id.term),
        vote: Some(vote.into()),
        last_log_id: log_id_out(last),
        last_membership_log_id: log_id_out(*meta.last_membership.log_id()),
        last_membership: Some(meta.last_membership.membership().into()),
        snapshot_id: id.to_owned(),
        ..Default::default()
    }
}
