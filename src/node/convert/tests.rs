//! Every conversion loses nothing: from openraft's types to bytes on the wire and back.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use proptest::{collection, option, prelude::*};
use prost::Message;

use super::*;
use crate::node::types::{SnapshotMeta, StoredMembership, Types};

fn leader_id() -> impl Strategy<Value = LeaderId> {
    (0..1000u64, 1..10u64).prop_map(|(term, node_id)| LeaderId { term, node_id })
}

fn any_log_id() -> impl Strategy<Value = LogId> {
    (leader_id(), 0..1_000_000u64).prop_map(|(leader, index)| LogId::new(leader, index))
}

fn any_vote() -> impl Strategy<Value = Vote> {
    (leader_id(), any::<bool>()).prop_map(|(leader_id, committed)| Vote {
        leader_id,
        committed,
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    collection::vec(any::<u8>(), 0..20)
}

/// Uniform and joint ones, with learners and without.
fn membership() -> impl Strategy<Value = Membership> {
    let set = collection::btree_set(1..10u64, 1..5);
    let learners = collection::btree_set(1..10u64, 0..3);
    let sets = (
        collection::vec(set, 1..3),
        learners,
        "[a-z]{0,9}:[0-9]{1,5}",
        "[a-z:0-9]{0,9}",
    );
    sets.prop_map(|(sets, learners, raft, resp)| {
        let all: BTreeSet<u64> = sets.iter().flatten().chain(&learners).copied().collect();
        let address = |id: u64| Address {
            raft: format!("{raft}{id}"),
            resp: resp.clone(),
        };
        let nodes: BTreeMap<_, _> = all.into_iter().map(|id| (id, address(id))).collect();
        Membership::new(sets, nodes).expect("every voter has a node")
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        bytes().prop_map(Condition::Value),
        Just(Condition::Absent),
        Just(Condition::Present),
    ]
}

fn binlog() -> impl Strategy<Value = Binlog> {
    let op = prop_oneof![
        (bytes(), bytes()).prop_map(|(key, value)| (Operation::Put, key, Some(value))),
        bytes().prop_map(|key| (Operation::Delete, key, None)),
        bytes().prop_map(|key| (Operation::NoOp, key, None)),
    ];
    let entry = (any::<u32>(), op).prop_map(|(cf_idx, (op, key, value))| BinlogEntry {
        cf_idx,
        op,
        key,
        value,
    });
    let entries = collection::vec(entry, 0..4);
    (any::<u32>(), any::<u32>(), entries).prop_map(|(db_id, slot_idx, entries)| Binlog {
        db_id,
        slot_idx,
        entries,
    })
}

fn payload() -> impl Strategy<Value = EntryPayload<Command, NodeId, Address>> {
    let command = (
        binlog(),
        any::<u64>(),
        any::<u64>(),
        option::of(condition()),
    );
    let command = command.prop_map(|(binlog, client_id, sequence, condition)| Command {
        binlog,
        client_id,
        sequence,
        condition,
    });
    prop_oneof![
        Just(EntryPayload::Blank),
        command.prop_map(EntryPayload::Normal),
        membership().prop_map(EntryPayload::Membership),
    ]
}

/// What one leader may send: consecutive entries of leaders up to itself.
fn append_request() -> impl Strategy<Value = AppendEntriesRequest<Types>> {
    let parts = (
        leader_id(),
        option::of(any_log_id()),
        collection::vec(payload(), 0..5),
        0..4,
    );
    parts.prop_map(|(leader, prev, payloads, commit)| {
        let prev = prev.map(|prev| LogId::new(prev.leader_id.min(leader), prev.index));
        let first = prev.map_or(0, |prev| prev.index + 1);
        let entries = (first..).zip(payloads).map(|(index, payload)| Entry {
            log_id: LogId::new(leader, index),
            payload,
        });
        let entries: Vec<Entry> = entries.collect();
        let last = entries.last().map(|entry| entry.log_id);
        AppendEntriesRequest {
            vote: Vote {
                leader_id: leader,
                committed: true,
            },
            prev_log_id: prev,
            // Nothing, what the receiver has, what is sent, or what will be.
            leader_commit: match commit {
                0 => None,
                1 => prev,
                2 => last,
                _ => Some(LogId::new(leader, first + 1_000)),
            },
            entries,
        }
    })
}

/// Over the wire: encoded, decoded.
fn wire<T: Message + Default>(message: T) -> T {
    T::decode(message.encode_to_vec().as_slice()).expect("just encoded")
}

proptest! {
    #[test]
    fn a_log_id_survives_the_wire(id in any_log_id()) {
        prop_assert_eq!(LogId::try_from(wire(kiwi::LogId::from(id))), Ok(id));
    }

    #[test]
    fn a_vote_survives_the_wire(vote in any_vote()) {
        prop_assert_eq!(Vote::try_from(wire(kiwi::Vote::from(vote))), Ok(vote));
    }

    #[test]
    fn a_membership_survives_the_wire_joint_or_not(membership in membership()) {
        let back = Membership::try_from(wire(kiwi::Membership::from(&membership)));
        prop_assert_eq!(back, Ok(membership));
    }

    #[test]
    fn an_append_request_survives_the_wire(request in append_request()) {
        let back = AppendEntriesRequest::try_from(wire(kiwi::AppendEntriesRequest::from(&request)));
        let back = back.expect("what a leader sends");
        prop_assert_eq!(back.vote, request.vote);
        prop_assert_eq!(back.prev_log_id, request.prev_log_id);
        prop_assert_eq!(back.leader_commit, request.leader_commit);
        prop_assert_eq!(back.entries, request.entries);
    }

    #[test]
    fn an_append_answer_survives_the_wire(request in append_request(), higher in any_vote(), kind in 0..4) {
        let span = Span::of(&request);
        let answer = match kind {
            0 => AppendEntriesResponse::Success,
            1 if span.prev.is_some() => AppendEntriesResponse::Conflict,
            2 => AppendEntriesResponse::HigherVote(higher),
            _ if span.prev < span.last => AppendEntriesResponse::PartialSuccess(span.prev),
            _ => AppendEntriesResponse::Success,
        };
        let back = append_response(wire(append_response_out(answer.clone(), span)), span);
        prop_assert_eq!(back, Ok(answer));
    }

    #[test]
    fn an_answer_of_the_stream_survives_the_wire(request in append_request(), higher in any_vote(), kind in 0..3) {
        let span = Span::of(&request);
        let result = match (kind, span.prev) {
            (0, Some(prev)) => Err(StreamAppendError::Conflict(prev)),
            (1, _) => Err(StreamAppendError::HigherVote(higher)),
            _ => Ok(span.last),
        };
        let back = append_response(wire(append_result_out(result.clone())), span);
        prop_assert_eq!(back.map(|back| back.into_stream_result(span.prev, span.last)), Ok(result));
    }

    #[test]
    fn a_transfer_of_leadership_survives_the_wire(from in leader_id(), to in 1..10u64, last in option::of(any_log_id())) {
        let from = Vote { leader_id: from, committed: true };
        let request = TransferLeaderRequest::<Types>::new(from, to, last);
        let back = TransferLeaderRequest::try_from(wire(kiwi::TransferLeaderRequest::from(&request)));
        prop_assert_eq!(back, Ok(request));
    }

    #[test]
    fn a_vote_request_survives_the_wire(vote in any_vote(), last in option::of(any_log_id()), transfer: bool, pre: bool) {
        let vote = Vote { committed: false, ..vote };
        let last = last.map(|last| LogId::new(last.leader_id.min(vote.leader_id), last.index));
        let mut request = VoteRequest::<Types>::new(vote, last);
        request.leadership_transfer = transfer;
        let sent = wire(vote_request_out(&request, pre));
        prop_assert_eq!(sent.pre_vote, pre);
        prop_assert_eq!(VoteRequest::try_from(sent), Ok(request));
    }

    #[test]
    fn a_vote_answer_survives_the_wire(vote in any_vote(), last in option::of(any_log_id()), granted: bool) {
        let answer = VoteResponse::<Types>::new(vote, last, granted);
        let back = VoteResponse::try_from(wire(kiwi::VoteResponse::from(answer.clone())));
        prop_assert_eq!(back, Ok(answer));
    }

    #[test]
    fn a_snapshots_announcement_survives_the_wire(leader in leader_id(), last in any_log_id(), at in 0..1_000_000u64, membership in membership()) {
        let vote = Vote { leader_id: leader, committed: true };
        let last = LogId::new(last.leader_id.min(leader), last.index);
        let at = LogId::new(last.leader_id, at.min(last.index));
        let meta = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: StoredMembership::new(Some(at), membership),
        };
        let sent = wire(snapshot_meta_out(vote, &meta, "id"));
        prop_assert_eq!(snapshot_meta(&sent), Ok((vote, meta)));
    }
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 1 }, index)
}

fn request(prev: Option<LogId>, entries: &[LogId]) -> kiwi::AppendEntriesRequest {
    let entry = |log_id: &LogId| Entry {
        log_id: *log_id,
        payload: EntryPayload::Blank,
    };
    let vote = Vote {
        leader_id: LeaderId {
            term: 5,
            node_id: 1,
        },
        committed: true,
    };
    kiwi::AppendEntriesRequest::from(&AppendEntriesRequest::<Types> {
        vote,
        prev_log_id: prev,
        entries: entries.iter().map(entry).collect(),
        leader_commit: None,
    })
}

#[test]
fn what_no_leader_sends_is_refused_as_a_whole() {
    let whole = request(Some(id(4, 6)), &[id(4, 7), id(5, 8)]);
    assert!(AppendEntriesRequest::try_from(whole.clone()).is_ok());
    let refuse = |change: fn(&mut kiwi::AppendEntriesRequest)| {
        let mut wire = whole.clone();
        change(&mut wire);
        AppendEntriesRequest::try_from(wire)
            .map(|request| request.entries)
            .expect_err("refused")
    };
    assert_eq!(
        refuse(|wire| wire.vote = None),
        Malformed::Missing("the vote")
    );
    assert_eq!(
        refuse(|wire| wire.entries[1].payload = None),
        Malformed::Missing("the entry's payload")
    );
    assert_eq!(
        refuse(|wire| wire.entries[0].log_id = None),
        Malformed::Missing("the entry's log id")
    );
    let mut committed = whole.clone();
    for commit in [id(3, 5), id(4, 6), id(5, 8), id(5, 90)] {
        committed.leader_commit = Some(commit.into());
        assert!(AppendEntriesRequest::try_from(committed.clone()).is_ok());
    }
    let sequence = [
        refuse(|wire| wire.prev_log_id = None),
        refuse(|wire| drop(wire.entries.remove(0))),
        refuse(|wire| wire.entries.swap(0, 1)),
        refuse(|wire| wire.vote.as_mut().expect("vote").committed = false),
        // An earlier leader's entry after a later one's, and another leader's at one index.
        refuse(|wire| wire.leader_commit = Some(id(4, 1_000_000).into())),
        refuse(|wire| wire.leader_commit = Some(id(5, 7).into())),
        refuse(|wire| wire.leader_commit = Some(id(5, 3).into())),
        refuse(|wire| {
            wire.vote
                .as_mut()
                .expect("vote")
                .leader_id
                .as_mut()
                .expect("leader")
                .term = 4
        }),
    ];
    assert!(
        sequence
            .iter()
            .all(|error| matches!(error, Malformed::Sequence(_))),
        "{sequence:?}"
    );
    let zero = |wire: &mut kiwi::AppendEntriesRequest| {
        let leader = wire.vote.as_mut().expect("vote").leader_id.as_mut();
        leader.expect("leader").node_id = Some(kiwi::NodeId { id: 0 });
    };
    assert_eq!(refuse(zero), Malformed::NodeZero);
}

#[test]
fn an_acknowledgement_of_more_than_was_sent_is_refused() {
    let span = Span {
        prev: Some(id(4, 6)),
        last: Some(id(4, 8)),
    };
    let wire = append_result_out(Ok(Some(id(4, 20))));
    assert!(matches!(
        append_response(wire, span),
        Err(Malformed::Sequence(_))
    ));
    let partial = kiwi::AppendEntriesResponse {
        partial: true,
        ..append_result_out(Ok(Some(id(4, 5))))
    };
    assert!(matches!(
        append_response(partial, span),
        Err(Malformed::Sequence(_))
    ));
    // Nothing is less than what the request builds on, and is no acknowledgement of all of it.
    let nothing = kiwi::AppendEntriesResponse {
        partial: true,
        ..append_result_out(Ok(None))
    };
    assert!(matches!(
        append_response(nothing, span),
        Err(Malformed::Sequence(_))
    ));
    let first = Span { prev: None, ..span };
    assert_eq!(
        append_response(nothing, first),
        Ok(AppendEntriesResponse::PartialSuccess(None))
    );
}

#[test]
fn an_old_peers_answer_is_read_by_its_success() {
    let span = Span {
        prev: Some(id(4, 6)),
        last: Some(id(4, 8)),
    };
    let old = |success| kiwi::AppendEntriesResponse {
        success,
        ..Default::default()
    };
    assert_eq!(
        append_response(old(true), span),
        Ok(AppendEntriesResponse::Success)
    );
    assert_eq!(
        append_response(old(false), span),
        Ok(AppendEntriesResponse::Conflict)
    );
    let unknown = kiwi::AppendEntriesResponse {
        result: 9,
        ..old(true)
    };
    assert_eq!(append_response(unknown, span), Err(Malformed::Result(9)));
}

#[test]
fn a_joint_membership_never_becomes_a_union() {
    let nodes: BTreeMap<_, _> = (1..=4).map(|id| (id, Address::default())).collect();
    let sets = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4])];
    let joint = Membership::new(sets.clone(), nodes).expect("valid");
    let wire = kiwi::Membership::from(&joint);
    assert_eq!(wire.node_ids, vec![1, 2, 3, 4], "what an old peer reads");
    let back = Membership::try_from(wire.clone()).expect("valid");
    assert_eq!(back.get_joint_config(), &sets);
    let mut lie = wire;
    lie.node_ids.pop();
    assert!(matches!(
        Membership::try_from(lie),
        Err(Malformed::Membership(_))
    ));
}
