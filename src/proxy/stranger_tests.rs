//! What a listener does with a caller that does not belong here, and with a port that is somebody else's by now.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::message_tests::{append, node, vote};
use super::*;
use crate::wire::kiwi::raft_core_service_client::RaftCoreServiceClient;
use crate::wire::metadata::{AuthorizedChannel, Credentials, Token};

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(20);
const ROUTE: Route = Route {
    from: super::Endpoint::Node(1),
    to: 2,
};

fn token(text: &str) -> Option<Token> {
    Some(Token::new(text).unwrap())
}

async fn dial(network: &Network) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", network.address(ROUTE))).unwrap();
    let began = Instant::now();
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(began.elapsed() < SOON, "{error}"),
        }
        tokio::time::sleep(MS).await;
    }
}

#[tokio::test]
async fn a_stranger_at_a_listener_is_refused_and_counts_for_nothing() {
    let network = Network::start(NetworkConfig {
        nodes: 2,
        node_level: Level::Messages,
        token: token("ours"),
        ..NetworkConfig::default()
    })
    .unwrap();
    let (address, seen) = node().await;
    network.set_upstream(2, Some(address));
    let channel = dial(&network).await;
    type Client = RaftCoreServiceClient<AuthorizedChannel>;
    let client = |token, receiver| -> Client {
        RaftCoreServiceClient::new(Credentials::new(token, receiver).on(channel.clone()))
    };
    let before = network.snapshot().messages[&ROUTE];
    for (mut stranger, code) in [
        (client(None, 2), Code::Unauthenticated),
        (client(token("theirs"), 2), Code::Unauthenticated),
        (client(token("ours"), 1), Code::FailedPrecondition),
    ] {
        let refused = stranger.vote(vote(9)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert_eq!(
            refused.metadata().get("kiwi-outcome").unwrap(),
            "not-applied"
        );
        let stream = tokio_stream::iter([append(9, 1)]);
        let refused = stranger.stream_append(stream).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    assert_eq!(network.snapshot().messages[&ROUTE], before);
    client(token("ours"), 2).vote(vote(1)).await.unwrap();
    assert_eq!(seen.numbers(Method::Vote), [1], "and nothing else came");
    assert!(seen.numbers(Method::StreamAppend).is_empty());
}

/// A listener that takes no further connection before somebody takes those that wait; and how many wait.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(100 * MS, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 100, "the queue takes any number");
    }
    (listener, queued)
}

/// Dials the route to n2, whose port answers only when it is another child's; gives whether it answered in time.
async fn late(network: &Network, new: SocketAddr) -> bool {
    let (listener, queued) = full().await;
    network.set_upstream(2, Some(listener.local_addr().unwrap()));
    let mut dialler = loop {
        // The door needs a moment after a change.
        if let Ok(stream) = TcpStream::connect(network.address(ROUTE)).await {
            break stream;
        }
        tokio::task::yield_now().await;
    };
    dialler.write_all(b"for n2 only").await.unwrap();
    // The proxy is connecting now, and is not answered; meanwhile n2 is ended and started again.
    tokio::time::sleep(50 * MS).await;
    network.set_upstream(2, None);
    network.set_upstream(2, Some(new));
    for _ in &queued {
        listener.accept().await.unwrap();
    }
    // The kernel tries again a second after it tried first; the proxy gives up after two.
    let Ok(taken) = timeout(Duration::from_secs(3), listener.accept()).await else {
        return false;
    };
    let (mut other, _) = taken.unwrap();
    let mut heard = Vec::new();
    // A reset is an end, too.
    let _ = timeout(SOON, other.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), "", "it was not meant");
    let told = timeout(SOON, dialler.read(&mut [0; 1])).await.unwrap();
    let told = told.expect_err("the dialler has to dial again");
    assert_eq!(told.kind(), std::io::ErrorKind::ConnectionReset);
    true
}

#[tokio::test]
async fn a_port_that_is_another_childs_by_the_time_it_answers_hears_nothing_for_the_old_one() {
    let network = Network::start(NetworkConfig {
        nodes: 2,
        node_level: Level::Bytes,
        ..NetworkConfig::default()
    })
    .unwrap();
    let new = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let began = Instant::now();
    // On a busy machine the port may have answered too late, and then nothing was tried.
    while !late(&network, new.local_addr().unwrap()).await {
        assert!(began.elapsed() < SOON, "the port never answered in time");
    }
}
