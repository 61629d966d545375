//! The sending half of the Raft RPCs: openraft's requests out, the peer's answers in, each mapped to itself.
//!
//! An answer is an answer, also when it says no: conflict and higher vote go to openraft as such. Only what brought no
//! answer is an error, and its kind decides how openraft goes on: it backs off at once on `Unreachable`, later on the
//! rest. Nothing is retried in here.

use std::{future::Future, sync::Arc, sync::atomic::Ordering, time::Duration};

use openraft::{
    OptionalSend, RPCTypes,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
};
use prost::Message;
use tonic::{Code, Status};

use super::{
    convert::{self, Span},
    defect::{Defect, Planted, hooks},
    options::AppendMode,
    peers::{MESSAGE_BYTES, Peer, Peers, is_somebody_else},
    pipeline, snapshot,
    snapshot::{NodeSnapshot, SnapshotFile},
    types::{Address, NodeId, Types, Vote},
};
use crate::wire::{
    kiwi::{self, raft_core_service_client::RaftCoreServiceClient},
    metadata::AuthorizedChannel,
};

pub(super) type Client = RaftCoreServiceClient<AuthorizedChannel>;

/// Makes one [`Network`] for each purpose and peer.
#[derive(Clone, Debug)]
pub(crate) struct NetworkFactory {
    pub(crate) me: NodeId,
    pub(crate) peers: Peers,
    pub(crate) append: AppendMode,
    /// How long a stream with requests in flight may bring no answer.
    pub(crate) stall: Duration,
    /// Bytes of a snapshot in one message.
    pub(crate) snapshot_chunk: u64,
    pub(crate) planted: Planted,
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Replication,
    Heartbeat,
    Snapshot,
}

impl NetworkFactory {
    fn network(&self, target: NodeId, node: &Address, purpose: Purpose) -> Network {
        Network {
            me: self.me,
            peer: self.peers.get(target, node),
            append: self.append,
            stall: if self.planted.is(Defect::PhantomAck) {
                hooks::PHANTOM_STALL
            } else {
                self.stall
            },
            snapshot_chunk: self.snapshot_chunk,
            purpose,
            planted: self.planted.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, node: &Address) -> Network {
        self.network(target, node, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Address) -> Network {
        self.network(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Address) -> Network {
        self.network(target, node, Purpose::Snapshot)
    }
}

/// One peer, for one purpose.
#[derive(Debug)]
pub(crate) struct Network {
    pub(super) me: NodeId,
    pub(super) peer: Arc<Peer>,
    append: AppendMode,
    pub(super) stall: Duration,
    snapshot_chunk: u64,
    purpose: Purpose,
    pub(super) planted: Planted,
}

type Answer<T> = Result<T, RPCError<Types>>;

impl Network {
    fn client(&self, channel: Option<AuthorizedChannel>) -> Answer<Client> {
        let channel =
            channel.ok_or_else(|| Unreachable::from_string("the address is no address"))?;
        Ok(RaftCoreServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES))
    }

    fn control(&self) -> Answer<Client> {
        self.client(self.peer.control())
    }

    pub(super) fn bulk(&self) -> Answer<Client> {
        self.client(self.peer.bulk())
    }

    /// One unary call within `ttl`, counted.
    async fn call<Q: Message, R: Message>(
        &self,
        (name, kind): (&'static str, RPCTypes),
        ttl: Duration,
        request: Q,
        run: impl AsyncFnOnce(Q) -> Result<tonic::Response<R>, Status>,
    ) -> Answer<R> {
        let call = self.peer.begin(name, request.encoded_len());
        let result = tokio::time::timeout(ttl, run(request)).await;
        let result = result.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        match result {
            Ok(response) => {
                let response = response.into_inner();
                call.answered(response.encoded_len());
                Ok(response)
            }
            Err(status) => {
                let error = self.error(kind, ttl, &status);
                call.failed(&status);
                Err(error)
            }
        }
    }

    /// What a status means to openraft.
    pub(super) fn error(
        &self,
        action: RPCTypes,
        timeout: Duration,
        status: &Status,
    ) -> RPCError<Types> {
        match status.code() {
            Code::DeadlineExceeded => RPCError::Timeout(Timeout {
                action,
                id: self.me,
                target: self.peer.id,
                timeout,
            }),
            // Refused, unresolved, connect timed out, keepalive unanswered.
            Code::Unavailable => Unreachable::new(status).into(),
            _ if is_somebody_else(status) => {
                let target = self.peer.id;
                tracing::warn!(target, %action, "who answers is not the peer: {status}");
                Unreachable::new(status).into()
            }
            Code::InvalidArgument | Code::Unimplemented => {
                let target = self.peer.id;
                tracing::error!(target, %action, "the peer refuses what this node sends: {status}");
                Unreachable::new(status).into()
            }
            _ => NetworkError::new(status).into(),
        }
    }

    /// What an answer that cannot be understood means to openraft.
    pub(super) fn malformed(
        &self,
        action: RPCTypes,
        error: &convert::Malformed,
    ) -> RPCError<Types> {
        let target = self.peer.id;
        tracing::error!(target, %action, "the peer's answer is malformed: {error}");
        NetworkError::new(error).into()
    }

    async fn send_vote(
        &self,
        rpc: VoteRequest<Types>,
        option: &RPCOption,
        pre_vote: bool,
    ) -> Answer<VoteResponse<Types>> {
        let mut client = self.control()?;
        let name = if pre_vote { "PreVote" } else { "Vote" };
        let request = convert::vote_request_out(&rpc, pre_vote);
        let run = async move |request| client.vote(request).await;
        let kind = RPCTypes::Vote;
        let response = self
            .call((name, kind), option.soft_ttl(), request, run)
            .await?;
        response
            .try_into()
            .map_err(|error| self.malformed(kind, &error))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Answer<AppendEntriesResponse<Types>> {
        let (mut client, name, ttl) = match self.purpose {
            Purpose::Heartbeat => (self.control()?, "Heartbeat", option.soft_ttl()),
            _ => (self.bulk()?, "AppendEntries", self.stall),
        };
        let span = Span::of(&rpc);
        let request = kiwi::AppendEntriesRequest::from(&rpc);
        let run = async move |request| client.append_entries(request).await;
        let kind = RPCTypes::AppendEntries;
        let response = match self.call((name, kind), ttl, request, run).await {
            Err(error) if self.planted.is(Defect::PhantomAck) => {
                let yes = AppendEntriesResponse::Success;
                return Ok(hooks::phantom_ack(&self.planted, &error, yes));
            }
            answer => answer?,
        };
        convert::append_response(response, span).map_err(|error| self.malformed(kind, &error))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Answer<BoxStream<'s, Answer<StreamAppendResult<Types>>>>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let unary = self.purpose == Purpose::Heartbeat || self.append == AppendMode::Unary;
        if unary || self.peer.is_unary_only() {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(pipeline::open(self, input))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Answer<VoteResponse<Types>> {
        self.send_vote(rpc, &option, false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Answer<VoteResponse<Types>> {
        self.send_vote(rpc, &option, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: NodeSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let client = self.bulk()?;
        let call = self.peer.begin(
            "InstallSnapshot",
            usize::try_from(snapshot.snapshot.length()).unwrap_or(usize::MAX),
        );
        let sent = tokio::select! {
            closed = cancel => return Err(closed.into()),
            sent = snapshot::transfer::send(client, vote, snapshot, self.snapshot_chunk, option.hard_ttl()) => sent,
        };
        match sent {
            Ok(response) => {
                call.answered(response.encoded_len());
                let kind = RPCTypes::InstallSnapshot;
                let theirs =
                    convert::vote(response.vote).map_err(|error| self.malformed(kind, &error))?;
                if !response.success && theirs <= vote {
                    let error = NetworkError::from_string("the peer did not take the snapshot");
                    return Err(RPCError::from(error).into());
                }
                Ok(SnapshotResponse::new(theirs))
            }
            Err(status) => {
                let error = self.error(RPCTypes::InstallSnapshot, option.hard_ttl(), &status);
                call.failed(&status);
                Err(error.into())
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Answer<TransferLeaderResponse<Types>> {
        let mut client = self.control()?;
        let request = kiwi::TransferLeaderRequest::from(&req);
        let run = async move |request| client.transfer_leader(request).await;
        let method = ("TransferLeader", RPCTypes::TransferLeader);
        let response = self.call(method, option.soft_ttl(), request, run).await?;
        let accepted = response.response.is_some_and(|response| response.success);
        if accepted {
            return Ok(Ok(()));
        }
        Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: req.last_log_id().copied(),
            actual: None,
        }))
    }
}

/// Remembers that the peer has no StreamAppend.
pub(super) fn note_unimplemented(peer: &Peer, status: &Status) {
    if status.code() == Code::Unimplemented && !peer.unary_only.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            peer = peer.id,
            "the peer has no StreamAppend: entries go by unary calls"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::peers::Peers;

    #[tokio::test]
    async fn a_status_means_to_openraft_what_it_is() {
        let mut factory = NetworkFactory {
            me: 1,
            peers: Peers::new(
                [(2, "127.0.0.1:1".to_owned())].into(),
                Duration::from_secs(1),
                None,
            ),
            append: AppendMode::Stream,
            stall: Duration::from_secs(1),
            snapshot_chunk: 1_024,
            planted: Planted::default(),
        };
        let network = factory.new_client(2, &Address::default()).await;
        let kind = |code| {
            let status = Status::new(code, "said so");
            let limit = Duration::from_millis(70);
            match network.error(RPCTypes::AppendEntries, limit, &status) {
                RPCError::Timeout(late) => {
                    assert_eq!((late.id, late.target, late.timeout), (1, 2, limit));
                    "timeout"
                }
                RPCError::Unreachable(_) => "unreachable",
                RPCError::Network(_) => "network",
                other => panic!("{other}"),
            }
        };
        for (code, expected) in [
            (Code::DeadlineExceeded, "timeout"),
            (Code::Unavailable, "unreachable"),
            // It would be refused again at once: openraft is to back off.
            (Code::InvalidArgument, "unreachable"),
            (Code::Unimplemented, "unreachable"),
            // Somebody else answers, and will again.
            (Code::FailedPrecondition, "unreachable"),
            (Code::Unauthenticated, "unreachable"),
            (Code::Internal, "network"),
            (Code::ResourceExhausted, "network"),
            (Code::Cancelled, "network"),
            (Code::DataLoss, "network"),
        ] {
            assert_eq!(kind(code), expected, "{code:?}");
        }
        // Nobody listens on port 1: a refused connection is unreachable, at once.
        let refused = network.control().expect("a channel");
        let request = kiwi::VoteRequest::default();
        let status = { refused }
            .vote(request)
            .await
            .expect_err("nobody is there");
        assert_eq!(kind(status.code()), "unreachable", "{status}");
    }
}
