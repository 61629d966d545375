//! The receiving half of the Raft RPCs: `RaftCoreService`.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::{Stream, StreamExt, future, stream};
use openraft::{
    base::BoxStream,
    errors::RaftError,
    raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{self, Span},
    snapshot::transfer,
    types::{Raft, Types},
};
use crate::wire::kiwi::{self, raft_core_service_server::RaftCoreService};

/// Hands the other nodes' requests to openraft.
pub(crate) struct Core {
    pub(crate) raft: Raft,
    /// Where snapshots that come in are kept.
    pub(crate) snapshots: PathBuf,
    /// Until then this node takes no part in elections: see `--vote-guard`.
    pub(crate) guarded_until: Option<Instant>,
    /// Counts what arrives.
    pub(crate) received: Arc<Received>,
}

/// How many requests arrived from other nodes, by kind, whatever became of them.
#[derive(Debug, Default)]
pub(crate) struct Received([AtomicU64; KINDS.len()]);

/// The kinds, as `Metrics` names them.
const KINDS: [&str; 6] = [
    "Vote",
    "PreVote",
    "AppendEntries",
    "StreamAppend",
    "InstallSnapshot",
    "TransferLeader",
];

impl Received {
    fn count(&self, kind: &str) {
        let at = KINDS.iter().position(|known| *known == kind);
        let at = at.expect("the kinds are written above");
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that came at all.
    pub(crate) fn counts(&self) -> HashMap<String, u64> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let named = KINDS.iter().map(|&kind| kind.to_owned()).zip(counts);
        named.filter(|(_, count)| *count > 0).collect()
    }
}

impl Core {
    fn check_guard(&self) -> Result<(), Status> {
        match self.guarded_until {
            Some(end) if Instant::now() < end => {
                Err(Status::unavailable("too soon after the start to vote"))
            }
            _ => Ok(()),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// Raft has stopped: this node answers nobody any more.
fn stopped(fatal: impl std::fmt::Display) -> Status {
    Status::unavailable(fatal.to_string())
}

#[tonic::async_trait]
impl RaftCoreService for Core {
    async fn vote(&self, request: Request<kiwi::VoteRequest>) -> Answer<kiwi::VoteResponse> {
        let wire = request.into_inner();
        let pre_vote = wire.pre_vote;
        self.received
            .count(if pre_vote { "PreVote" } else { "Vote" });
        let request = VoteRequest::try_from(wire)?;
        self.check_guard()?;
        let answer: Result<_, RaftError<Types>> = if pre_vote {
            self.raft.pre_vote(request).await
        } else {
            self.raft.vote(request).await
        };
        Ok(Response::new(answer.map_err(stopped)?.into()))
    }

    async fn append_entries(
        &self,
        request: Request<kiwi::AppendEntriesRequest>,
    ) -> Answer<kiwi::AppendEntriesResponse> {
        self.received.count("AppendEntries");
        let request = AppendEntriesRequest::try_from(request.into_inner())?;
        let span = Span::of(&request);
        let answer = self.raft.append_entries(request).await.map_err(stopped)?;
        Ok(Response::new(convert::append_response_out(answer, span)))
    }

    type StreamAppendStream = BoxStream<'static, Result<kiwi::AppendEntriesResponse, Status>>;

    /// Requests go to openraft as they come, up to its buffer; answers come back in their order.
    async fn stream_append(
        &self,
        request: Request<Streaming<kiwi::AppendEntriesRequest>>,
    ) -> Answer<Self::StreamAppendStream> {
        let received = self.received.clone();
        let (refused, requests) = until_refused(request.into_inner());
        let requests = requests.inspect(move |_| received.count("StreamAppend"));
        let answers = self.raft.stream_append(requests).map(|answer| {
            let answer = answer.map_err(stopped)?;
            Ok(convert::append_result_out(answer))
        });
        // What was accepted is answered first, then why the rest was not.
        let refusal =
            stream::once(refused).filter_map(|refused| future::ready(refused.ok().map(Err)));
        Ok(Response::new(Box::pin(answers.chain(refusal))))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<kiwi::InstallSnapshotRequest>>,
    ) -> Answer<kiwi::InstallSnapshotResponse> {
        self.received.count("InstallSnapshot");
        let answer = transfer::receive(&self.raft, &self.snapshots, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn transfer_leader(
        &self,
        request: Request<kiwi::TransferLeaderRequest>,
    ) -> Answer<kiwi::TransferLeaderResponse> {
        self.received.count("TransferLeader");
        let request = TransferLeaderRequest::try_from(request.into_inner())?;
        self.check_guard()?;
        // Every voter is told, not only the heir: the others let go of the old leader's lease.
        let answer = self
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(stopped)?;
        let (success, message) = match answer {
            Ok(()) => (true, String::new()),
            Err(reason) => (false, reason.to_string()),
        };
        Ok(Response::new(kiwi::TransferLeaderResponse {
            response: Some(kiwi::Response { success, message }),
        }))
    }
}

/// The requests up to the first that cannot be read, and the status of that one if there is one.
fn until_refused(
    wire: Streaming<kiwi::AppendEntriesRequest>,
) -> (
    impl Future<Output = Result<Status, tokio::sync::oneshot::error::RecvError>> + Send,
    impl Stream<Item = AppendEntriesRequest<Types>> + Send + 'static,
) {
    let (refuse, refused) = tokio::sync::oneshot::channel();
    let requests = stream::unfold((wire, Some(refuse)), |(mut wire, mut refuse)| async move {
        let next = wire.next().await?;
        let request = next.and_then(|request| Ok(AppendEntriesRequest::try_from(request)?));
        match request {
            Ok(request) => Some((request, (wire, refuse))),
            Err(status) => {
                // The answering half may be gone with the call.
                let _ = refuse.take().map(|refuse| refuse.send(status));
                None
            }
        }
    });
    (refused, requests)
}
