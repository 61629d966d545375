//! What the network costs: unary gRPC echoes direct, through a link of bytes and through a link of messages, with 1
//! and 32 calls in flight, and 64 KiB messages; and how long a change of a link takes to act. Prints one line a case;
//! `cargo run --release --example overhead`.
//!
//! The three ways take turns in short rounds, so that whatever else the machine does meets all of them. Where `socat`
//! is installed, it is measured too, as the peer for bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use whitewater::proxy::{ByteFault, Half, Leg, Level, Network, NetworkConfig, Route};
use whitewater::wire::kiwi::raft_client_service_client::RaftClientServiceClient;
use whitewater::wire::kiwi::raft_client_service_server::{
    RaftClientService, RaftClientServiceServer,
};
use whitewater::wire::kiwi::{ReadRequest, ReadResponse, WriteRequest, WriteResponse};

/// A case is measured in so many rounds for each way.
const ROUNDS: usize = 5;

/// How long one round of one way takes.
const ROUND: Duration = Duration::from_millis(1000);

/// A link is held and let go so many times,
const CHANGES: usize = 200;

/// for so long each time: far longer than it may take to act.
const HELD: Duration = Duration::from_millis(20);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

struct Echo;

#[tonic::async_trait]
impl RaftClientService for Echo {
    async fn write(&self, _: Request<WriteRequest>) -> Result<Response<WriteResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>, Status> {
        Ok(Response::new(ReadResponse {
            value: request.into_inner().key,
            ..ReadResponse::default()
        }))
    }
}

/// One way to the server, with the connection that stays open on it.
struct Way {
    name: &'static str,
    client: RaftClientServiceClient<Channel>,
}

async fn measure() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port");
    let server = listener.local_addr().expect("an address");
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(RaftClientServiceServer::new(Echo))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
    );
    let network = |level| {
        let network = Network::start(NetworkConfig {
            nodes: 2,
            node_level: level,
            ..NetworkConfig::default()
        });
        let network = network.expect("a network");
        network.set_upstream(2, Some(server));
        network
    };
    let (bytes, messages) = (network(Level::Bytes), network(Level::Messages));
    let route = Route::nodes(1, 2);
    let mut ways = vec![
        way("direct", server).await,
        way("bytes", bytes.address(route)).await,
        way("messages", messages.address(route)).await,
    ];
    let socat = Socat::start(server);
    match &socat {
        Some(socat) => ways.push(way("socat", socat.address).await),
        None => println!("socat is not installed: no peer for bytes"),
    }
    for (size, in_flight) in [(256, 1), (256, 32), (64 << 10, 1), (64 << 10, 8)] {
        case(&ways, size, in_flight).await;
    }
    for (way, network) in ways[1..].iter().zip([&bytes, &messages]) {
        changes(way, network, route).await;
    }
}

/// Holds a link and lets it go again and again under calls one after the other. A hold acts when the last call ends
/// that it did not catch; letting go acts when the caught call ends.
async fn changes(way: &Way, network: &Network, route: Route) {
    let over = Arc::new(AtomicBool::new(false));
    let (mut client, stop) = (way.client.clone(), over.clone());
    let (tell, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let caller = tokio::spawn(async move {
        let key = bytes::Bytes::from(vec![7; 256]);
        while !stop.load(Ordering::Relaxed) {
            let answer = client.read(ReadRequest { key: key.clone() }).await;
            answer.expect("an echo");
            if tell.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let legs = [Half::Request, Half::Response].map(|half| Leg { route, half });
    let (mut to_hold, mut to_go_on) = (Vec::new(), Vec::new());
    for _ in 0..CHANGES {
        ended.recv().await.expect("calls go on");
        while ended.try_recv().is_ok() {}
        let put_in = Instant::now();
        let guard = network.put(&legs, ByteFault::Hold);
        tokio::time::sleep(HELD).await;
        let mut last = put_in;
        while let Ok(at) = ended.try_recv() {
            last = last.max(at);
        }
        to_hold.push((last - put_in).as_micros());
        let taken_out = Instant::now();
        guard.heal();
        let first = ended.recv().await.expect("calls go on");
        to_go_on.push(first.saturating_duration_since(taken_out).as_micros());
    }
    over.store(true, Ordering::Relaxed);
    caller.await.expect("the caller");
    for (what, mut micros) in [("hold", to_hold), ("go on", to_go_on)] {
        micros.sort_unstable();
        let at = |share: usize| micros[(micros.len() - 1) * share / 100];
        println!(
            "change     {what:<12} {:<9} p50 {:>6} us  p99 {:>6} us  most {:>6} us  (target: under 5000 us)",
            way.name,
            at(50),
            at(99),
            at(100),
        );
    }
}

async fn way(name: &'static str, address: SocketAddr) -> Way {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URI");
    let endpoint = endpoint.tcp_nodelay(true);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match endpoint.connect().await {
            Ok(channel) => {
                let client = RaftClientServiceClient::new(channel);
                return Way { name, client };
            }
            Err(error) => assert!(Instant::now() < deadline, "dial {name}: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

async fn case(ways: &[Way], size: usize, in_flight: usize) {
    let mut micros: Vec<Vec<u64>> = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for (way, micros) in ways.iter().zip(&mut micros) {
            let measured = round_of(way, size, in_flight).await;
            // The first round warms up.
            if round > 0 {
                micros.extend(measured);
            }
        }
    }
    let mut direct = None;
    for (way, micros) in ways.iter().zip(&mut micros) {
        micros.sort_unstable();
        let at = |share: usize| micros[(micros.len() - 1) * share / 100];
        let calls = micros.len() as f64 / (ROUND * ROUNDS as u32).as_secs_f64();
        let (p50, direct_calls) = *direct.get_or_insert((at(50), calls));
        println!(
            "{size:>6} B  {in_flight:>2} in flight  {:<9} p50 {:>6} us  p99 {:>6} us  {calls:>7.0} calls/s  \
             added p50 {:>5} us  {:>4.0} % of direct",
            way.name,
            at(50),
            at(99),
            at(50) as i64 - p50 as i64,
            100.0 * calls / direct_calls,
        );
    }
}

/// How long each call took, in microseconds.
async fn round_of(way: &Way, size: usize, in_flight: usize) -> Vec<u64> {
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (mut client, over) = (way.client.clone(), over.clone());
            let key = bytes::Bytes::from(vec![7; size]);
            tokio::spawn(async move {
                let mut micros = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = client.read(ReadRequest { key: key.clone() }).await;
                    assert_eq!(answer.expect("an echo").into_inner().value.len(), size);
                    micros.push(began.elapsed().as_micros() as u64);
                }
                micros
            })
        })
        .collect();
    tokio::time::sleep(ROUND).await;
    over.store(true, Ordering::Relaxed);
    let mut micros = Vec::new();
    for caller in callers {
        micros.extend(caller.await.expect("a caller"));
    }
    micros
}

/// A `socat` between a port of its own and the server.
struct Socat {
    child: Child,
    address: SocketAddr,
}

impl Socat {
    fn start(server: SocketAddr) -> Option<Socat> {
        // socat cannot be asked for any free port, so one is found and given back first.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let address = listener.local_addr().ok()?;
        drop(listener);
        let child = Command::new("socat")
            .arg(format!(
                "TCP-LISTEN:{},bind=127.0.0.1,fork,nodelay",
                address.port()
            ))
            .arg(format!("TCP:{server},nodelay"))
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        Some(Socat { child, address })
    }
}

impl Drop for Socat {
    fn drop(&mut self) {
        // Its forked child ends with the connection.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
