//! The Raft RPCs' requests and answers, both ways.

use std::cmp::Ordering;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};

use super::{Checked, Malformed, entry, log_id, log_id_out, need, node_id, vote};
use crate::{
    node::types::{LogId, Membership, SnapshotMeta, StoredMembership, Types, Vote},
    wire::kiwi,
};

/// The vote of a sender that claims to lead: it must have been granted by a quorum.
fn leader_vote(wire: Option<kiwi::Vote>) -> Checked<Vote> {
    let vote = vote(wire)?;
    if !vote.committed {
        return Err(Malformed::Sequence("the sender's vote is not a leader's"));
    }
    Ok(vote)
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
    // openraft takes the lesser id of the two as committed, and would read entries that are not there.
    let mut ids = request.entries.iter().map(|entry| entry.log_id);
    let commit = request.leader_commit;
    if !ids.all(|id| in_one_log(Some(id), commit)) || !in_one_log(request.prev_log_id, commit) {
        return Err(Malformed::Sequence(
            "what is committed contradicts the entries",
        ));
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

/// Whether one log can hold both: it has one entry at an index, and none of an earlier leader after one of a later.
fn in_one_log(a: Option<LogId>, b: Option<LogId>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return true;
    };
    match a.index.cmp(&b.index) {
        Ordering::Less => a.leader_id <= b.leader_id,
        Ordering::Equal => a == b,
        Ordering::Greater => a.leader_id >= b.leader_id,
    }
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
        // What says that it is partial and names nothing acknowledges nothing.
        if matching == span.last || (matching.is_none() && !wire.partial) {
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
    let vote = leader_vote(wire.vote)?;
    let last = need(log_id(wire.last_log_id)?, "the snapshot's last log id")?;
    let membership: Membership =
        need(wire.last_membership.clone(), "the membership")?.try_into()?;
    if membership.get_joint_config().is_empty() {
        return Err(Malformed::Membership("a snapshot has voters".to_owned()));
    }
    let at = log_id(wire.last_membership_log_id)?;
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
    if !in_one_log(at, Some(last)) {
        return Err(Malformed::Sequence(
            "the membership's log id contradicts the snapshot's",
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
