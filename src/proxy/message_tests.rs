//! Each fault of a message on calls to a small gRPC server: it does what its name says, and healing undoes it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::*;
use crate::wire::kiwi::raft_core_service_client::RaftCoreServiceClient;
use crate::wire::kiwi::raft_core_service_server::{RaftCoreService, RaftCoreServiceServer};
use crate::wire::kiwi::{
    AppendEntriesRequest, AppendEntriesResponse, Entry, InstallSnapshotRequest,
    InstallSnapshotResponse, LeaderId, LogId, TransferLeaderRequest, TransferLeaderResponse, Vote,
    VoteRequest, VoteResponse,
};

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(60);
const ROUTE: Route = Route {
    from: super::Endpoint::Node(1),
    to: 2,
};

/// What a node was asked, in the order of arrival: votes by term, appends by the index before them.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<(Method, u64)>>>);

impl Seen {
    fn add(&self, method: Method, number: u64) {
        self.0.lock().unwrap().push((method, number));
    }

    pub(super) fn numbers(&self, method: Method) -> Vec<u64> {
        let seen = self.0.lock().unwrap();
        seen.iter()
            .filter(|(m, _)| *m == method)
            .map(|&(_, n)| n)
            .collect()
    }

    async fn until(&self, method: Method, what: impl Fn(&[u64]) -> bool) {
        let began = Instant::now();
        while !what(&self.numbers(method)) {
            assert!(began.elapsed() < SOON, "{:?}", self.numbers(method));
            tokio::time::sleep(MS).await;
        }
    }
}

fn term_of(vote: Option<Vote>) -> u64 {
    vote.and_then(|vote| vote.leader_id)
        .map_or(0, |leader| leader.term)
}

#[tonic::async_trait]
impl RaftCoreService for Seen {
    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteResponse>, Status> {
        let vote = request.into_inner().vote;
        self.add(Method::Vote, term_of(vote));
        let vote_granted = true;
        Ok(Response::new(VoteResponse {
            vote,
            vote_granted,
            last_log_id: None,
        }))
    }

    async fn append_entries(
        &self,
        request: Request<AppendEntriesRequest>,
    ) -> Result<Response<AppendEntriesResponse>, Status> {
        let index = request.into_inner().prev_log_id.map_or(0, |id| id.index);
        self.add(Method::AppendEntries, index);
        if index == 404 {
            return Err(Status::not_found("as asked"));
        }
        Ok(Response::new(AppendEntriesResponse::default()))
    }

    type StreamAppendStream =
        Pin<Box<dyn Stream<Item = Result<AppendEntriesResponse, Status>> + Send>>;

    async fn stream_append(
        &self,
        request: Request<Streaming<AppendEntriesRequest>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let seen = self.clone();
        let answers = request.into_inner().map(move |message| {
            let prev = message?.prev_log_id;
            seen.add(Method::StreamAppend, prev.as_ref().map_or(0, |id| id.index));
            Ok(AppendEntriesResponse {
                matching: prev,
                ..AppendEntriesResponse::default()
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<InstallSnapshotRequest>>,
    ) -> Result<Response<InstallSnapshotResponse>, Status> {
        let mut chunks = request.into_inner();
        while let Some(chunk) = chunks.message().await? {
            self.add(Method::InstallSnapshot, chunk.data.len() as u64);
        }
        Ok(Response::new(InstallSnapshotResponse::default()))
    }

    async fn transfer_leader(
        &self,
        _: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

pub(super) async fn node() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = RaftCoreServiceServer::new(seen.clone()).max_decoding_message_size(32 << 20);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, seen)
}

type Client = RaftCoreServiceClient<Channel>;

/// n1's way to n2 at the message level.
async fn network_with(seed: u64) -> (Network, Seen, Client) {
    let network = Network::start(NetworkConfig {
        nodes: 2,
        node_level: Level::Messages,
        seed,
        ..NetworkConfig::default()
    })
    .unwrap();
    let (address, seen) = node().await;
    network.set_upstream(2, Some(address));
    let client = client(&network).await;
    (network, seen, client)
}

async fn network() -> (Network, Seen, Client) {
    network_with(7).await
}

async fn client(network: &Network) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", network.address(ROUTE))).unwrap();
    let began = Instant::now();
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Client::new(channel),
            Err(error) => assert!(began.elapsed() < SOON, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

pub(super) fn vote(term: u64) -> VoteRequest {
    let leader_id = Some(LeaderId {
        term,
        node_id: None,
    });
    let committed = false;
    VoteRequest {
        vote: Some(Vote {
            leader_id,
            committed,
        }),
        ..VoteRequest::default()
    }
}

pub(super) fn append(index: u64, entries: usize) -> AppendEntriesRequest {
    let leader_id = None;
    AppendEntriesRequest {
        prev_log_id: Some(LogId { leader_id, index }),
        entries: vec![Entry::default(); entries],
        ..AppendEntriesRequest::default()
    }
}

fn rule(methods: Methods, action: Action) -> MessageRule {
    let matching = Match::every(methods);
    MessageRule { matching, action }
}

async fn asks(client: &mut Client, term: u64) -> Result<u64, Code> {
    let call = timeout(SOON, client.vote(vote(term))).await;
    let answer = call
        .expect("an answer in time")
        .map_err(|status| status.code())?;
    Ok(term_of(answer.into_inner().vote))
}

/// The call gets no answer before this deadline, and is given up.
async fn unanswered(client: &mut Client, term: u64, deadline: Duration) {
    let call = timeout(deadline, client.vote(vote(term))).await;
    assert!(call.is_err(), "{call:?}");
}

#[tokio::test]
async fn without_rules_messages_pass_and_are_counted() {
    let (network, seen, mut client) = network().await;
    for term in 1..=3 {
        assert_eq!(asks(&mut client, term).await, Ok(term));
    }
    let status = client.append_entries(append(404, 0)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "as asked")
    );
    assert_eq!(seen.numbers(Method::Vote), [1, 2, 3]);
    let counters = network.snapshot().messages[&ROUTE];
    assert_eq!((counters.requests, counters.responses), (4, 4));
    assert_eq!(counters.by_action, [0; Action::COUNT]);
    assert_eq!(network.take_decisions(), Decisions::default());
}

#[tokio::test]
async fn large_messages_pass_whole_both_ways_of_calling() {
    let (_network, seen, mut client) = network().await;
    let data = vec![7; 9 << 20];
    let chunk = |length: usize| InstallSnapshotRequest {
        data: data[..length].to_vec().into(),
        ..InstallSnapshotRequest::default()
    };
    let lengths = [0, 1, 65_536, 1 << 20, 9 << 20];
    let chunks = futures::stream::iter(lengths.map(chunk));
    let call = timeout(SOON, client.install_snapshot(chunks)).await;
    call.expect("in time").unwrap();
    assert_eq!(
        seen.numbers(Method::InstallSnapshot),
        lengths.map(|n| n as u64)
    );
    let call = timeout(SOON, client.append_entries(append(1, 100_000))).await;
    call.expect("in time").unwrap();
}

#[tokio::test]
async fn a_stream_both_ways_answers_while_it_goes_on() {
    let (_network, seen, mut client) = network().await;
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let answers = timeout(SOON, client.stream_append(requests)).await;
    let mut answers = answers.expect("in time").unwrap().into_inner();
    for index in 1..=50 {
        send.send(append(index, 1)).await.unwrap();
        let answer = timeout(SOON, answers.message()).await.expect("in time");
        let matching = answer.unwrap().expect("an answer").matching;
        assert_eq!(matching.map(|id| id.index), Some(index));
    }
    drop(send);
    assert!(
        timeout(SOON, answers.message())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
    assert_eq!(seen.numbers(Method::StreamAppend).len(), 50);
}

/// FAULTS.md, fact 2: 200 ms delay, 50 ms deadline, 20 unary requests: 20 arrive.
#[tokio::test]
async fn late_requests_arrive_although_their_senders_have_given_up() {
    let (network, seen, client) = network().await;
    let late = Delay::Constant(200 * MS);
    let by_rule = network.put_rule(&[ROUTE], &rule(Methods::Votes, Action::DelayRequest(late)));
    let give_up = |terms: std::ops::Range<u64>| {
        let calls = terms.map(|term| {
            let mut client = client.clone();
            async move { unanswered(&mut client, term, 50 * MS).await }
        });
        futures::future::join_all(calls)
    };
    give_up(0..20).await;
    assert!(
        seen.numbers(Method::Vote).is_empty(),
        "nothing arrives early"
    );
    seen.until(Method::Vote, |terms| terms.len() == 20).await;
    by_rule.heal();

    // The same where the link itself is slow.
    let by_link = network.slow(Direction::nodes(1, 2), late);
    give_up(20..40).await;
    seen.until(Method::Vote, |terms| terms.len() == 40).await;
    by_link.heal();
    let all: BTreeSet<u64> = seen.numbers(Method::Vote).into_iter().collect();
    assert_eq!(all, (0..40).collect());
}

#[tokio::test]
async fn requests_given_up_during_a_hold_arrive_after_it() {
    let (network, seen, mut client) = network().await;
    asks(&mut client, 1).await.unwrap();
    let guard = network.cut(Direction::nodes(1, 2));
    assert!(network.verify(&guard).await.effective);
    unanswered(&mut client, 2, QUIET).await;
    assert_eq!(seen.numbers(Method::Vote), [1]);
    guard.heal();
    seen.until(Method::Vote, |terms| terms == [1, 2]).await;
    assert_eq!(asks(&mut client, 3).await, Ok(3), "the connection goes on");
}

#[tokio::test]
async fn a_cut_of_answers_lets_requests_arrive() {
    let (network, seen, mut client) = network().await;
    asks(&mut client, 1).await.unwrap();
    let guard = network.cut(Direction::nodes(2, 1));
    assert!(network.verify(&guard).await.effective);
    unanswered(&mut client, 2, QUIET).await;
    seen.until(Method::Vote, |terms| terms == [1, 2]).await;
    guard.heal();
    assert_eq!(asks(&mut client, 3).await, Ok(3));
}

#[tokio::test]
async fn a_dropped_request_never_arrives_and_a_dropped_response_was_applied() {
    let (network, seen, mut client) = network().await;
    let guard = network.put_rule(&[ROUTE], &rule(Methods::Votes, Action::DropRequest));
    unanswered(&mut client, 1, QUIET).await;
    // Only the named method is hit.
    client.append_entries(append(1, 0)).await.unwrap();
    guard.heal();
    let guard = network.put_rule(&[ROUTE], &rule(Methods::Votes, Action::DropResponse));
    unanswered(&mut client, 2, QUIET).await;
    seen.until(Method::Vote, |terms| terms == [2]).await;
    guard.heal();
    assert_eq!(asks(&mut client, 3).await, Ok(3));
    assert_eq!(seen.numbers(Method::Vote), [2, 3]);
    let decisions = network.take_decisions().made;
    let made: Vec<_> = decisions
        .iter()
        .map(|d| (d.ordinal, d.action, d.summary.term))
        .collect();
    assert_eq!(
        made,
        [
            (1, Action::DropRequest, Some(1)),
            (2, Action::DropResponse, Some(2)),
        ]
    );
    assert_eq!(network.snapshot().messages[&ROUTE].by_action[..2], [1, 1]);
}

#[tokio::test]
async fn a_delayed_response_comes_late_and_the_request_does_not() {
    let (network, seen, mut client) = network().await;
    let late = Action::DelayResponse(Delay::Constant(80 * MS));
    let guard = network.put_rule(&[ROUTE], &rule(Methods::Votes, late));
    let began = Instant::now();
    let (answer, arrived) = tokio::join!(asks(&mut client, 1), async {
        seen.until(Method::Vote, |terms| terms == [1]).await;
        began.elapsed()
    });
    assert_eq!(answer, Ok(1));
    assert!(began.elapsed() >= 80 * MS && arrived < began.elapsed());
    guard.heal();
    let began = Instant::now();
    asks(&mut client, 2).await.unwrap();
    assert!(began.elapsed() < 80 * MS, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_duplicated_vote_really_arrives_again_and_is_answered_once() {
    let (network, seen, mut client) = network().await;
    let (copies, gap) = (2, 5 * MS);
    let twice = rule(Methods::Votes, Action::Duplicate { copies, gap });
    let guard = network.put_rule(&[ROUTE], &twice);
    assert_eq!(asks(&mut client, 1).await, Ok(1));
    seen.until(Method::Vote, |terms| terms == [1, 1, 1]).await;
    guard.heal();
    asks(&mut client, 2).await.unwrap();
    tokio::time::sleep(4 * gap).await;
    assert_eq!(seen.numbers(Method::Vote), [1, 1, 1, 2]);
}

#[tokio::test]
async fn reordered_requests_all_arrive_and_some_overtake_others() {
    let (network, seen, client) = network().await;
    let (window, most_held) = (100 * MS, 8);
    let mut shuffle = rule(Methods::Votes, Action::Reorder { window, most_held });
    shuffle.matching.per_mille = 500;
    let guard = network.put_rule(&[ROUTE], &shuffle);
    let calls = (1..=20).map(|term| {
        let mut client = client.clone();
        async move {
            // One after the other leaves; only the network can change their order.
            tokio::time::sleep(u32::try_from(term).unwrap() * 2 * MS).await;
            asks(&mut client, term).await
        }
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers, (1..=20).map(Ok).collect::<Vec<_>>());
    let order = seen.numbers(Method::Vote);
    let sorted: Vec<u64> = (1..=20).collect();
    assert_ne!(order, sorted);
    let mut all = order.clone();
    all.sort_unstable();
    assert_eq!(all, sorted, "none is lost or doubled");
    guard.heal();
}

#[tokio::test]
async fn a_failed_request_is_answered_with_its_status_and_never_arrives() {
    let (network, seen, mut client) = network().await;
    let fail = Action::Fail(Code::Unavailable as u8);
    let guard = network.put_rule(&[ROUTE], &rule(Methods::All, fail));
    assert_eq!(asks(&mut client, 1).await, Err(Code::Unavailable));
    guard.heal();
    assert_eq!(asks(&mut client, 2).await, Ok(2));
    assert_eq!(seen.numbers(Method::Vote), [2]);
}

#[tokio::test]
async fn an_old_request_is_replayed_before_a_new_one() {
    let (network, seen, mut client) = network().await;
    let guard = network.put_rule(&[ROUTE], &rule(Methods::Votes, Action::Replay));
    // The first has nothing before it.
    assert_eq!(asks(&mut client, 1).await, Ok(1));
    assert_eq!(asks(&mut client, 2).await, Ok(2));
    seen.until(Method::Vote, |terms| terms.len() == 3).await;
    let mut terms = seen.numbers(Method::Vote);
    terms.sort_unstable();
    assert_eq!(terms, [1, 1, 2]);
    assert_eq!(network.take_decisions().made.len(), 1);
    guard.heal();
}

#[tokio::test]
async fn a_corrupt_request_differs_in_one_bit_and_is_outside_of_the_model() {
    let (network, seen, mut client) = network().await;
    assert!(!Action::Corrupt.is_inside_the_model());
    assert!(Action::DropRequest.is_inside_the_model());
    let guard = network.put_rule(&[ROUTE], &rule(Methods::Votes, Action::Corrupt));
    let mut odd = 0;
    for term in 1..=20 {
        // The flipped bit may sit in the term or make the message malformed.
        odd += u32::from(asks(&mut client, term).await != Ok(term));
    }
    assert!(odd > 0);
    guard.heal();
    assert_eq!(asks(&mut client, 99).await, Ok(99));
    assert_eq!(seen.numbers(Method::Vote).last(), Some(&99));
    assert_eq!(flips(), 1);
}

/// The number of bits that a flip flips.
fn flips() -> u32 {
    let message = bytes::Bytes::from_static(b"\0\0\0\0\x03abc");
    let flipped = super::messages::flipped(&message, 21);
    let pairs = message.iter().zip(&flipped);
    pairs.map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[tokio::test]
async fn a_stream_is_cut_after_so_many_messages_and_the_next_is_whole_after_healing() {
    let (network, seen, mut client) = network().await;
    let cut = rule(Methods::Snapshots, Action::CutStream { after: 2 });
    let guard = network.put_rule(&[ROUTE], &cut);
    let chunks = || {
        futures::stream::iter((1..=4).map(|length| InstallSnapshotRequest {
            data: vec![0; length].into(),
            ..InstallSnapshotRequest::default()
        }))
    };
    let call = timeout(SOON, client.install_snapshot(chunks()))
        .await
        .expect("in time");
    call.expect_err("the stream was cut");
    let arrived = seen.numbers(Method::InstallSnapshot);
    assert!(arrived.len() <= 2, "{arrived:?}");
    guard.heal();
    client.install_snapshot(chunks()).await.unwrap();
    let arrived = seen.numbers(Method::InstallSnapshot);
    assert_eq!(arrived[arrived.len() - 4..], [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_rule_knows_how_many_messages_met_it() {
    let (network, _seen, mut client) = network().await;
    let appends = network.put_rule(&[ROUTE], &rule(Methods::Appends, Action::Fail(14)));
    let votes = network.put_rule(&[ROUTE], &rule(Methods::Votes, Action::Fail(14)));
    let both = |a: &Guard, b: &Guard| (network.met(a), network.met(b));
    assert_eq!(both(&appends, &votes), (0, 0));
    for term in 1..=3 {
        asks(&mut client, term).await.unwrap_err();
    }
    assert_eq!(both(&appends, &votes), (0, 3));
    assert_eq!(network.met(&Guard::join([appends, votes])), 3);
}

#[tokio::test]
async fn pieces_of_a_snapshot_count_when_they_go_on_and_not_when_they_come() {
    let (network, seen, mut client) = network().await;
    let late = 300 * MS;
    let slow = Action::DelayRequest(Delay::Uniform {
        least: late,
        most: late,
    });
    let _guard = network.put_rule(&[ROUTE], &rule(Methods::Snapshots, slow));
    let chunks = futures::stream::iter((1..=4).map(|length| InstallSnapshotRequest {
        data: vec![0; length].into(),
        ..InstallSnapshotRequest::default()
    }));
    let came = || network.requests_between_nodes(&[Method::InstallSnapshot]);
    let gone_on = || network.snapshot_pieces_between_nodes();
    let began = Instant::now();
    let call = tokio::spawn(async move { client.install_snapshot(chunks).await });
    while came() < 4 {
        assert_eq!(gone_on(), 0, "none of them is due");
        assert!(began.elapsed() < SOON, "{} pieces came", came());
        tokio::task::yield_now().await;
    }
    timeout(SOON, call)
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    assert!(began.elapsed() >= late);
    assert_eq!((came(), gone_on()), (4, 4));
    assert_eq!(seen.numbers(Method::InstallSnapshot), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stalled_stream_stays_open_and_goes_on_where_it_stood_after_healing() {
    let (network, seen, mut client) = network().await;
    let stall = rule(Methods::Appends, Action::Stall { after: 2 });
    let guard = network.put_rule(&[ROUTE], &stall);
    let (send, requests) = tokio::sync::mpsc::channel(8);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    for index in 1..=5 {
        send.send(append(index, 1)).await.unwrap();
    }
    let answers = timeout(SOON, client.stream_append(requests)).await;
    let mut answers = answers.expect("in time").unwrap().into_inner();
    for _ in 1..=2 {
        let answer = timeout(SOON, answers.message()).await.expect("in time");
        answer.unwrap().expect("an answer");
    }
    let third = timeout(QUIET, answers.message()).await;
    assert!(third.is_err(), "{third:?}");
    assert_eq!(seen.numbers(Method::StreamAppend), [1, 2]);
    // Only this stream stands: what is unary passes, on the same connection.
    client.append_entries(append(9, 0)).await.unwrap();
    assert_eq!(asks(&mut client, 1).await, Ok(1));
    let made = network.take_decisions().made;
    assert!(made.iter().all(|decision| decision.ordinal > 2), "{made:?}");

    guard.heal();
    seen.until(Method::StreamAppend, |indexes| indexes == [1, 2, 3, 4, 5])
        .await;
    drop(send);
    let rest: Vec<_> = timeout(SOON, answers.collect()).await.expect("in time");
    assert_eq!(rest.len(), 3);
}

#[tokio::test]
async fn messages_of_a_stream_come_late_and_in_order() {
    let (network, seen, mut client) = network().await;
    let slow = Action::DelayRequest(Delay::Uniform {
        least: Duration::ZERO,
        most: 40 * MS,
    });
    let guard = network.put_rule(&[ROUTE], &rule(Methods::Appends, slow));
    let requests = futures::stream::iter((1..=20).map(|index| append(index, 1)));
    let began = Instant::now();
    let answers = client.stream_append(requests).await.unwrap().into_inner();
    let answers: Vec<_> = timeout(SOON, answers.collect()).await.expect("in time");
    assert_eq!(answers.len(), 20);
    assert!(began.elapsed() > 10 * MS, "{:?}", began.elapsed());
    assert_eq!(
        seen.numbers(Method::StreamAppend),
        (1..=20).collect::<Vec<_>>()
    );
    guard.heal();
}

#[tokio::test]
async fn rules_pick_messages_by_kind_content_and_count() {
    let (network, seen, mut client) = network().await;
    let mut second_heartbeat = rule(Methods::Heartbeats, Action::Fail(14));
    second_heartbeat.matching.nth = Some(2..=2);
    let mut big_appends = rule(Methods::Appends, Action::Fail(8));
    big_appends.matching.entries = Some(3..=u64::MAX);
    let mut old_votes = rule(Methods::Votes, Action::Fail(9));
    old_votes.matching.terms = Some(0..=4);
    let rules = [second_heartbeat, big_appends, old_votes];
    let guards = rules.map(|rule| network.put_rule(&[ROUTE], &rule));
    let mut codes = Vec::new();
    for (index, entries) in [(1, 0), (2, 1), (3, 0), (4, 3), (5, 0)] {
        let call = client.append_entries(append(index, entries)).await;
        codes.push(call.err().map(|status| status.code() as u8));
    }
    assert_eq!(codes, [None, None, Some(14), Some(8), None]);
    assert_eq!(asks(&mut client, 4).await, Err(Code::FailedPrecondition));
    assert_eq!(asks(&mut client, 5).await, Ok(5));
    assert_eq!(seen.numbers(Method::AppendEntries), [1, 2, 5]);
    drop(guards);
    client.append_entries(append(6, 9)).await.unwrap();
}

#[tokio::test]
async fn the_same_seed_deals_the_same_fates_and_another_seed_others() {
    let fates = |seed| async move {
        let (network, _seen, mut client) = network_with(seed).await;
        let mut some = rule(Methods::Votes, Action::Fail(14));
        some.matching.per_mille = 500;
        let _guard = network.put_rule(&[ROUTE], &some);
        for term in 0..64 {
            let _ = asks(&mut client, term).await;
        }
        let decisions = network.take_decisions().made;
        decisions.iter().map(|d| d.ordinal).collect::<Vec<u64>>()
    };
    let (one, again, other) = tokio::join!(fates(1), fates(1), fates(2));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!((16..48).contains(&one.len()), "{one:?}");
}

#[tokio::test]
async fn a_reset_or_a_dead_node_is_heard_by_the_dialler_at_once() {
    let (network, _seen, mut client) = network().await;
    asks(&mut client, 1).await.unwrap();
    let rule = rule(Methods::Votes, Action::DropRequest);
    let _guard = network.put_rule(&[ROUTE], &rule);
    // The dropped request would wait for ever; the reset of its connection ends it.
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.vote(vote(2)).await });
    tokio::time::sleep(20 * MS).await;
    assert_eq!(network.reset(ROUTE), 1);
    let answer = timeout(SOON, waiting).await.expect("in time").unwrap();
    assert!(answer.is_err());
    // The door closes a moment later; a call that comes before meets a reset instead.
    network.set_upstream(2, None);
    let began = Instant::now();
    loop {
        let call = timeout(SOON, client.append_entries(append(1, 0))).await;
        let status = call.expect("in time").expect_err("nobody is there");
        if status.code() == Code::Unavailable {
            break;
        }
        assert!(began.elapsed() < SOON, "{status}");
    }
}

#[tokio::test]
async fn the_death_of_a_node_is_not_heard_through_a_cut() {
    // A second network stands for the node's machine: its connections can be reset.
    let machine = Network::start(NetworkConfig {
        nodes: 2,
        node_level: Level::Bytes,
        ..NetworkConfig::default()
    })
    .unwrap();
    let (network, seen, _) = network().await;
    let (address, other_seen) = node().await;
    machine.set_upstream(2, Some(address));
    network.reset(ROUTE);
    network.set_upstream(2, Some(machine.address(ROUTE)));
    let mut client = client(&network).await;
    while asks(&mut client, 1).await.is_err() {}
    assert!(seen.numbers(Method::Vote).is_empty());
    assert_eq!(other_seen.numbers(Method::Vote), [1]);

    let guard = network.cut(Direction::nodes(2, 1));
    assert!(network.verify(&guard).await.effective);
    assert_eq!(machine.reset(ROUTE), 1);
    let mut waiting = std::pin::pin!(client.vote(vote(2)));
    let early = timeout(QUIET, &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    guard.heal();
    let answer = timeout(SOON, waiting).await.expect("in time");
    answer.expect_err("its connection was reset");
}

#[test]
fn a_fate_is_the_same_number_in_every_version() {
    assert_eq!(mix(7, &[]), 7);
    assert_eq!(mix(7, &[1, 2, 3]), 14_399_070_211_437_574_479);
    assert_ne!(mix(7, &[1, 2]), mix(7, &[2, 1]));
}
