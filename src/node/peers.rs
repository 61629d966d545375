//! The other nodes, as this one sees them: two shared channels each, their health, and statistics of each method.
//!
//! A `Channel` is cheap to clone and reconnects by itself, so there is one for control (heartbeats, votes, leadership)
//! and one for bulk (entries, snapshots): a heartbeat never queues behind a batch of entries.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{
    shortages::Shortages,
    types::{Address, NodeId},
};
use crate::wire::{
    kiwi,
    metadata::{AuthorizedChannel, Credentials, Token},
};

/// Bytes of one message, both ways: a batch of entries (1 MiB), its largest entry, and their framing.
pub(crate) const MESSAGE_BYTES: usize = 16 << 20;
/// HTTP/2 pings, both sides: a peer that answers none for so long is gone.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(1);

/// Finds peers by number; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    dial: Arc<BTreeMap<NodeId, String>>,
    known: Arc<Mutex<BTreeMap<NodeId, Arc<Peer>>>>,
    connect_timeout: Duration,
    shortages: Shortages,
    token: Option<Token>,
}

impl Peers {
    pub(crate) fn new(
        dial: BTreeMap<NodeId, String>,
        connect_timeout: Duration,
        token: Option<Token>,
    ) -> Peers {
        Peers {
            dial: Arc::new(dial),
            known: Arc::default(),
            connect_timeout,
            shortages: Shortages::default(),
            token,
        }
    }

    /// What the host does not give for the calls to them is counted there.
    pub(crate) fn noting(mut self, shortages: Shortages) -> Peers {
        self.shortages = shortages;
        self
    }

    /// The peer, dialled where the dial map says, else where the membership says. Connects when first used.
    pub(crate) fn get(&self, id: NodeId, node: &Address) -> Arc<Peer> {
        let address = self.dial.get(&id).unwrap_or(&node.raft);
        let mut known = self.known.lock().expect("no holder panics");
        if let Some(peer) = known.get(&id)
            && peer.address == *address
        {
            return peer.clone();
        }
        let credentials = Credentials::new(self.token.clone(), id);
        let mut peer = Peer::new(id, address.clone(), self.connect_timeout, credentials);
        peer.shortages = self.shortages.clone();
        let peer = Arc::new(peer);
        known.insert(id, peer.clone());
        peer
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        let known = self.known.lock().expect("no holder panics");
        known.values().cloned().collect()
    }
}

/// One other node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    address: String,
    /// Absent: the address is no URI, so the peer cannot be reached.
    channels: Option<Channels>,
    credentials: Credentials,
    /// The peer answered UNIMPLEMENTED to StreamAppend: it is an old one, entries go by unary calls.
    pub(crate) unary_only: AtomicBool,
    state: Mutex<PeerState>,
    shortages: Shortages,
}

#[derive(Clone, Debug)]
struct Channels {
    control: Channel,
    bulk: Channel,
}

#[derive(Debug, Default)]
struct PeerState {
    answered: Option<Instant>,
    failing_since: Option<Instant>,
    methods: BTreeMap<&'static str, Method>,
}

/// What is known of one method of one peer.
#[derive(Debug)]
struct Method {
    calls: u64,
    in_flight: u64,
    errors: BTreeMap<&'static str, u64>,
    bytes_sent: u64,
    bytes_received: u64,
    latency_us: Histogram<u64>,
}

impl Default for Method {
    fn default() -> Method {
        Method {
            calls: 0,
            in_flight: 0,
            errors: BTreeMap::new(),
            bytes_sent: 0,
            bytes_received: 0,
            // Up to a minute, two digits: 20 KiB or so for each method and peer.
            latency_us: Histogram::new_with_max(60_000_000, 2).expect("valid bounds"),
        }
    }
}

impl Peer {
    fn new(
        id: NodeId,
        address: String,
        connect_timeout: Duration,
        credentials: Credentials,
    ) -> Peer {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let channels = match endpoint {
            Ok(endpoint) => {
                let endpoint = endpoint
                    .connect_timeout(connect_timeout)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(KEEPALIVE)
                    .keep_alive_timeout(KEEPALIVE)
                    .keep_alive_while_idle(true);
                Some(Channels {
                    control: endpoint.connect_lazy(),
                    bulk: endpoint.connect_lazy(),
                })
            }
            Err(error) => {
                tracing::error!("node {id} cannot be dialled at {address:?}: {error}");
                None
            }
        };
        Peer {
            id,
            address,
            channels,
            credentials,
            unary_only: AtomicBool::new(false),
            state: Mutex::default(),
            shortages: Shortages::default(),
        }
    }

    /// For heartbeats, votes and leadership.
    pub(crate) fn control(&self) -> Option<AuthorizedChannel> {
        let channels = self.channels.as_ref()?;
        Some(self.credentials.clone().on(channels.control.clone()))
    }

    /// For entries and snapshots.
    pub(crate) fn bulk(&self) -> Option<AuthorizedChannel> {
        let channels = self.channels.as_ref()?;
        Some(self.credentials.clone().on(channels.bulk.clone()))
    }

    /// Counts a call that begins; the guard counts how it ends.
    pub(crate) fn begin(self: &Arc<Peer>, method: &'static str, bytes_sent: usize) -> Call {
        let mut state = self.state.lock().expect("no holder panics");
        let counts = state.methods.entry(method).or_default();
        counts.calls += 1;
        counts.in_flight += 1;
        counts.bytes_sent += bytes_sent as u64;
        Call {
            peer: self.clone(),
            method,
            begun: Instant::now(),
            ended: false,
        }
    }

    /// What `Metrics` says of this peer; openraft's part is filled in by the caller.
    pub(crate) fn health(&self) -> kiwi::PeerReplication {
        let state = self.state.lock().expect("no holder panics");
        let millis =
            |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let health = match (state.answered, state.failing_since) {
            (_, Some(_)) => "failing",
            (None, None) => "connecting",
            (Some(_), None) => "healthy",
        };
        kiwi::PeerReplication {
            node_id: self.id,
            matching: None,
            silent_ms: state.answered.map(millis),
            health: health.to_owned(),
            failing_ms: state.failing_since.map(millis),
        }
    }

    pub(crate) fn statistics(&self) -> Vec<kiwi::RpcStatistics> {
        let state = self.state.lock().expect("no holder panics");
        let row = |(name, method): (&&'static str, &Method)| kiwi::RpcStatistics {
            peer: self.id,
            method: (*name).to_owned(),
            calls: method.calls,
            in_flight: method.in_flight,
            errors: method
                .errors
                .iter()
                .map(|(code, count)| ((*code).to_owned(), *count))
                .collect(),
            bytes_sent: method.bytes_sent,
            bytes_received: method.bytes_received,
            p50_us: method.latency_us.value_at_quantile(0.5),
            p99_us: method.latency_us.value_at_quantile(0.99),
            max_us: method.latency_us.max(),
            latency: buckets(&method.latency_us),
        };
        state.methods.iter().map(row).collect()
    }

    pub(crate) fn is_unary_only(&self) -> bool {
        self.unary_only.load(Ordering::Relaxed)
    }
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct Call {
    peer: Arc<Peer>,
    method: &'static str,
    begun: Instant,
    ended: bool,
}

impl Call {
    /// The peer answered.
    pub(crate) fn answered(mut self, bytes_received: usize) {
        self.end(|method, latency_us| {
            method.bytes_received += bytes_received as u64;
            method.latency_us.saturating_record(latency_us);
        });
        let mut state = self.peer.state.lock().expect("no holder panics");
        state.answered = Some(Instant::now());
        state.failing_since = None;
    }

    /// The call failed. A refusal is an answer, too: the peer is there; unless it says that it is somebody else.
    pub(crate) fn failed(mut self, status: &Status) {
        // Without a descriptor or a port of its own a node reaches nobody, and that is nobody's fault.
        self.peer.shortages.note("calling a peer", status);
        self.end(|method, _| *method.errors.entry(code_name(status.code())).or_default() += 1);
        let unreached = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        ) || is_somebody_else(status);
        let mut state = self.peer.state.lock().expect("no holder panics");
        if unreached {
            state.failing_since.get_or_insert_with(Instant::now);
        } else {
            state.answered = Some(Instant::now());
            state.failing_since = None;
        }
    }

    fn end(&mut self, count: impl FnOnce(&mut Method, u64)) {
        self.ended = true;
        let latency = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut state = self.peer.state.lock().expect("no holder panics");
        let method = state.methods.entry(self.method).or_default();
        method.in_flight -= 1;
        count(method, latency);
    }
}

/// openraft drops calls that it no longer needs.
impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.end(|method, _| *method.errors.entry("DROPPED").or_default() += 1);
        }
    }
}

/// The histogram by powers of two.
fn buckets(latency_us: &Histogram<u64>) -> Vec<kiwi::LatencyBucket> {
    let buckets = latency_us
        .iter_log(1, 2.0)
        .map(|bucket| kiwi::LatencyBucket {
            up_to_us: bucket.value_iterated_to(),
            calls: bucket.count_since_last_iteration(),
        });
    buckets.filter(|bucket| bucket.calls > 0).collect()
}

/// Whether it was not the peer that answered, but who listens at its address now: see [`crate::wire::metadata`]. (No
/// Raft RPC of a peer ends with these codes otherwise.)
pub(super) fn is_somebody_else(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated | Code::FailedPrecondition
    )
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        net::{TcpListener, TcpSocket, TcpStream},
        time::timeout,
    };

    use super::*;
    use crate::wire::kiwi::raft_core_service_client::RaftCoreServiceClient;

    /// Much longer than any limit here, much shorter than what the system waits by itself.
    const LATE: Duration = Duration::from_secs(20);

    /// Asks for a vote there, without a limit of the call's own.
    async fn ask(address: std::net::SocketAddr, connect_timeout: Duration) -> Status {
        let peers = Peers::new([(2, address.to_string())].into(), connect_timeout, None);
        let peer = peers.get(2, &Address::default());
        let mut client = RaftCoreServiceClient::new(peer.control().expect("an address"));
        let asked = client.vote(kiwi::VoteRequest::default());
        let answer = timeout(LATE, asked).await.expect("it is given up in time");
        answer.expect_err("nobody answers")
    }

    #[tokio::test]
    async fn a_peer_that_takes_the_connection_and_says_nothing_is_given_up_by_its_pings() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let silent = tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                taken.push(stream);
            }
        });
        let began = Instant::now();
        let status = ask(address, LATE).await;
        assert!(began.elapsed() >= KEEPALIVE, "{status}");
        silent.abort();
    }

    #[tokio::test]
    async fn a_peer_that_takes_no_connection_is_given_up_after_the_connect_timeout() {
        let socket = TcpSocket::new_v4().expect("a socket");
        let nowhere = "127.0.0.1:0".parse().expect("an address");
        socket.bind(nowhere).expect("bound");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("bound");
        // Nobody accepts: when the queue is full, the system answers no more.
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(KEEPALIVE / 2, TcpStream::connect(address)).await {
            queued.push(stream.expect("connected"));
            assert!(queued.len() < 100, "the queue takes any number");
        }
        let status = ask(address, Duration::from_millis(200)).await;
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }

    #[test]
    fn every_latency_is_in_the_bucket_that_reaches_up_to_it() {
        let mut latency = Method::default().latency_us;
        for (micros, calls) in [
            (0, 1),
            (1, 2),
            (2, 3),
            (3, 4),
            (100, 5),
            (128, 6),
            (5000, 7),
        ] {
            latency.record_n(micros, calls).expect("within bounds");
        }
        let found: Vec<_> = buckets(&latency)
            .iter()
            .map(|bucket| (bucket.up_to_us, bucket.calls))
            .collect();
        assert_eq!(found.iter().map(|(_, calls)| calls).sum::<u64>(), 28);
        let within = |micros: u64| {
            let bucket = found.iter().find(|(up_to, _)| micros <= *up_to);
            bucket.map(|(up_to, _)| *up_to)
        };
        // Two digits of precision: a bucket's end may be off by as much.
        for micros in [100, 5000] {
            let up_to = within(micros).expect("a bucket");
            assert!(up_to < 2 * micros + micros / 10, "{micros}: {found:?}");
        }
        assert!(found.is_sorted(), "{found:?}");
    }
}
