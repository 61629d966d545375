//! Relays: between the nodes and each node's listener stands a service of the test's own, which can do what an old,
//! a slow or a broken peer does. What is real stays real: the messages are the nodes' own.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server, server::TcpIncoming},
};
use whitewater::wire::kiwi::{
    self,
    raft_core_service_client::RaftCoreServiceClient,
    raft_core_service_server::{RaftCoreService, RaftCoreServiceServer},
};

use crate::nodes::Nodes;

const LIMIT: usize = 16 << 20;

/// What is done to the chunks of one snapshot on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tamper {
    Offset,
    Crc,
    /// A byte of the data, with a checksum that fits.
    Data,
    /// The last byte of a chunk that is not the last, with a checksum that fits.
    Shorter,
    Longer,
    OtherId,
    NoMeta,
    /// The vote is not the one that the older fields speak of.
    OtherVote,
    /// The stream ends before the chunk that says that it is done.
    EndsEarly,
    /// So many chunks pass, then nothing: neither a chunk nor the end.
    HoldAfter(usize),
    /// All pass; the test is told when the last one has.
    TellWhenSent,
}

/// What the relays of one cluster do, and what they saw.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// StreamAppend is answered as a peer answers that does not have it.
    pub(crate) no_stream: AtomicBool,
    /// StreamAppend is taken and never answered.
    pub(crate) stuck_streams: AtomicBool,
    /// Nothing passes to this node, if not 0.
    pub(crate) blocked: AtomicU64,
    /// One for each snapshot to come; those after the last pass untouched.
    pub(crate) tampers: Mutex<VecDeque<Tamper>>,
    /// How each tampered snapshot ended, as its receiver said.
    pub(crate) ended: Mutex<Vec<(Tamper, Result<kiwi::InstallSnapshotResponse, Status>)>>,
    /// Signalled when a snapshot has got as far as its tampering lets it.
    pub(crate) held: Notify,
    /// Snapshots that were held and whose sender has given up.
    pub(crate) given_up: AtomicU64,
    /// StreamAppend calls that came.
    pub(crate) streams: AtomicU64,
}

/// One relay for each node; they end with this.
pub(crate) struct Relays {
    pub(crate) plan: Arc<Plan>,
    pub(crate) addresses: Vec<SocketAddr>,
    upstreams: Vec<Arc<Mutex<Option<Channel>>>>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Relays {
    /// Relays for nodes 1 to `count`, which do not lead anywhere yet.
    pub(crate) async fn start(count: u64) -> Relays {
        let mut relays = Relays {
            plan: Arc::default(),
            addresses: Vec::new(),
            upstreams: Vec::new(),
            servers: Vec::new(),
        };
        for id in 1..=count {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            relays
                .addresses
                .push(listener.local_addr().expect("an address"));
            let upstream = Arc::new(Mutex::new(None));
            relays.upstreams.push(upstream.clone());
            let relay = Relay {
                id,
                plan: relays.plan.clone(),
                upstream,
            };
            let service = RaftCoreServiceServer::new(relay).max_decoding_message_size(LIMIT);
            let serving = Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
            relays.servers.push(tokio::spawn(async {
                serving.await.expect("the relay serves");
            }));
        }
        relays
    }

    /// The flags that send every node's calls to a peer through that peer's relay.
    pub(crate) fn flags(&self) -> Vec<String> {
        let peers = (1..).zip(&self.addresses);
        peers
            .flat_map(|(id, address)| ["--peer".to_owned(), format!("{id}={address}")])
            .collect()
    }

    /// Where the relays lead.
    pub(crate) fn connect(&self, nodes: &Nodes) {
        for (id, upstream) in (1..).zip(&self.upstreams) {
            let channel = nodes.channel(nodes.address(id));
            *upstream.lock().expect("no holder panics") = Some(channel);
        }
    }
}

struct Relay {
    id: u64,
    plan: Arc<Plan>,
    upstream: Arc<Mutex<Option<Channel>>>,
}

impl Relay {
    fn client(&self) -> Result<RaftCoreServiceClient<Channel>, Status> {
        if self.plan.blocked.load(Ordering::SeqCst) == self.id {
            return Err(Status::unavailable("nothing passes"));
        }
        let upstream = self.upstream.lock().expect("no holder panics").clone();
        let upstream = upstream.ok_or_else(|| Status::unavailable("not connected yet"))?;
        Ok(RaftCoreServiceClient::new(upstream).max_encoding_message_size(LIMIT))
    }
}

type Answers = futures::stream::BoxStream<'static, Result<kiwi::AppendEntriesResponse, Status>>;

#[tonic::async_trait]
impl RaftCoreService for Relay {
    async fn vote(
        &self,
        request: Request<kiwi::VoteRequest>,
    ) -> Result<Response<kiwi::VoteResponse>, Status> {
        self.client()?.vote(request.into_inner()).await
    }

    async fn append_entries(
        &self,
        request: Request<kiwi::AppendEntriesRequest>,
    ) -> Result<Response<kiwi::AppendEntriesResponse>, Status> {
        self.client()?.append_entries(request.into_inner()).await
    }

    type StreamAppendStream = Answers;

    async fn stream_append(
        &self,
        request: Request<Streaming<kiwi::AppendEntriesRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.plan.streams.fetch_add(1, Ordering::SeqCst);
        if self.plan.no_stream.load(Ordering::SeqCst) {
            return Err(Status::unimplemented("an old peer"));
        }
        if self.plan.stuck_streams.load(Ordering::SeqCst) {
            // The requests are held: the sender sees an open stream that does not move.
            let held = request.into_inner();
            let answers = futures::stream::once(async move {
                let _held = held;
                std::future::pending().await
            });
            return Ok(Response::new(answers.boxed()));
        }
        let requests = readable(request.into_inner());
        let answers = self.client()?.stream_append(requests).await?;
        Ok(Response::new(answers.into_inner().boxed()))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<kiwi::InstallSnapshotRequest>>,
    ) -> Result<Response<kiwi::InstallSnapshotResponse>, Status> {
        let mut client = self.client()?;
        let chunks = readable(request.into_inner());
        let tamper = self.plan.tampers.lock().expect("whole").pop_front();
        let Some(tamper) = tamper else {
            return client.install_snapshot(chunks).await;
        };
        // Dropped when the sender gives up: the server then drops this call.
        let giving_up = GivesUp(self.plan.clone());
        let tampered = tampered(tamper, self.plan.clone(), chunks);
        let answer = client.install_snapshot(tampered).await;
        std::mem::forget(giving_up);
        let answer = answer.map(Response::into_inner);
        let mut ended = self.plan.ended.lock().expect("whole");
        ended.push((tamper, answer.clone()));
        // The sender must not believe that this snapshot was installed.
        answer.and(Err(Status::unavailable("tampered with")))
    }

    async fn transfer_leader(
        &self,
        request: Request<kiwi::TransferLeaderRequest>,
    ) -> Result<Response<kiwi::TransferLeaderResponse>, Status> {
        self.client()?.transfer_leader(request.into_inner()).await
    }
}

/// Counts when it is dropped: the call was cancelled.
struct GivesUp(Arc<Plan>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

fn readable<T: Send + 'static>(stream: Streaming<T>) -> impl Stream<Item = T> + Send + 'static {
    tokio_stream::StreamExt::map_while(stream, Result::ok)
}

/// The chunks, changed as `tamper` says.
fn tampered(
    tamper: Tamper,
    plan: Arc<Plan>,
    chunks: impl Stream<Item = kiwi::InstallSnapshotRequest> + Send + 'static,
) -> impl Stream<Item = kiwi::InstallSnapshotRequest> + Send + 'static {
    let state = (Box::pin(chunks), 0_usize, plan);
    futures::stream::unfold(state, move |(mut chunks, number, plan)| async move {
        if tamper == Tamper::HoldAfter(number) {
            plan.held.notify_one();
            std::future::pending::<()>().await;
        }
        let Some(mut chunk) = chunks.next().await else {
            if tamper == Tamper::TellWhenSent {
                plan.held.notify_one();
            }
            return None;
        };
        let second = number == 1;
        match tamper {
            Tamper::Offset if second => chunk.offset += 1,
            Tamper::Crc if second => chunk.crc ^= 1,
            Tamper::Data if second => change(&mut chunk, |data| data[0] ^= 1),
            Tamper::Shorter if second => change(&mut chunk, |data| data.truncate(data.len() - 1)),
            Tamper::Longer if second => change(&mut chunk, |data| data.push(0)),
            Tamper::OtherId if second => chunk.snapshot_id.push('x'),
            Tamper::NoMeta if number == 0 => chunk.last_membership = None,
            Tamper::OtherVote if number == 0 => {
                let vote = chunk.vote.as_mut().expect("a vote");
                vote.leader_id.as_mut().expect("a leader").term += 1;
            }
            Tamper::EndsEarly if chunk.done => return None,
            _ => {}
        }
        Some((chunk, (chunks, number + 1, plan)))
    })
}

fn change(chunk: &mut kiwi::InstallSnapshotRequest, how: impl FnOnce(&mut Vec<u8>)) {
    let mut data = chunk.data.to_vec();
    how(&mut data);
    chunk.crc = crc32fast::hash(&data);
    chunk.data = data.into();
}
