//! Programs that dial their peers' own addresses and are led through a route: what they meet is what the peer has for
//! them, and what the route's faults make of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;

/// Longer than anything that should happen; a test that waits so long fails.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for an answer on the loopback to come many times over.
const QUIET: Duration = Duration::from_millis(60);

/// Hosts of two nodes, each with an address that no other test uses.
struct Hosts {
    network: Arc<Network>,
    one: IpAddr,
    two: IpAddr,
}

impl Hosts {
    /// `test` is a number of its own for each test of this file.
    fn new(test: u8) -> Hosts {
        let network = Network::start(NetworkConfig {
            nodes: 2,
            node_level: Level::Bytes,
            ..NetworkConfig::default()
        });
        let network = Arc::new(network.expect("a network"));
        let host = |node| IpAddr::from(Ipv4Addr::new(127, 211, test, node));
        let (one, two) = (host(1), host(2));
        network.set_upstream(1, Some(SocketAddr::new(one, 0)));
        network.set_upstream(2, Some(SocketAddr::new(two, 0)));
        Hosts { network, one, two }
    }

    /// Where the first node's program dials the second's `port`, as the bench does it for a program: bind, ask, connect.
    async fn dial(&self, port: u16) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.one, 0))?;
        let (source, to) = (socket.local_addr()?, SocketAddr::new(self.two, port));
        let network = self.network.clone();
        let led = move || network.lead(Route::nodes(1, 2), source, to);
        let led = tokio::task::spawn_blocking(led).await.expect("no panic");
        socket.connect(led?).await
    }
}

/// Listens at that host; gives each connection back the address that it came from, then what it sends.
async fn server(host: IpAddr) -> u16 {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = write
                    .write_all(format!("{port} {}\n", from.ip()).as_bytes())
                    .await;
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    port
}

async fn line(stream: &mut TcpStream) -> String {
    let mut line = String::new();
    while !line.ends_with('\n') {
        let byte = timeout(SOON, stream.read_u8()).await;
        line.push(char::from(byte.expect("in time").expect("a byte")));
    }
    line
}

#[tokio::test]
async fn each_port_of_a_peer_is_reached_through_one_route_and_sees_who_dials() {
    let hosts = Hosts::new(1);
    let ports = [server(hosts.two).await, server(hosts.two).await];
    for port in ports {
        let mut stream = hosts.dial(port).await.unwrap();
        assert_eq!(line(&mut stream).await, format!("{port} {}\n", hosts.one));
        stream.write_all(b"and back\n").await.unwrap();
        assert_eq!(line(&mut stream).await, "and back\n");
    }
    let route = Direction::nodes(1, 2);
    assert_eq!(hosts.network.snapshot().links[&route].accepted, 2);
}

#[tokio::test]
async fn a_peer_that_does_not_listen_refuses_whoever_dials() {
    let hosts = Hosts::new(2);
    let port = server(hosts.two).await;
    hosts.dial(port).await.expect("it listens there");
    let free = TcpListener::bind((hosts.two, 0)).await.unwrap();
    let nobody = free.local_addr().unwrap().port();
    drop(free);
    let refused = hosts.dial(nobody).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    // A node that is known to be dead is not even dialled.
    hosts.network.set_upstream(2, None);
    let refused = hosts.dial(port).await.expect_err("it is dead");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_cut_is_silence_and_what_was_dialled_meanwhile_comes_in_when_it_heals() {
    let hosts = Hosts::new(3);
    let port = server(hosts.two).await;
    let cut = hosts.network.cut(Direction::nodes(2, 1));
    assert!(hosts.network.verify(&cut).await.effective);
    let mut dialling = Box::pin(hosts.dial(port));
    assert!(
        timeout(QUIET, &mut dialling).await.is_err(),
        "nobody answers"
    );
    cut.heal();
    // The kernel asks again after a second.
    let mut stream = timeout(SOON, dialling).await.expect("in time").unwrap();
    assert_eq!(line(&mut stream).await, format!("{port} {}\n", hosts.one));
}

#[tokio::test]
async fn a_live_connection_is_held_by_a_cut_and_reset_by_a_reset() {
    let hosts = Hosts::new(4);
    let port = server(hosts.two).await;
    let mut stream = hosts.dial(port).await.unwrap();
    line(&mut stream).await;
    let cut = hosts.network.cut(Direction::nodes(1, 2));
    stream.write_all(b"held\n").await.unwrap();
    assert!(timeout(QUIET, stream.read_u8()).await.is_err());
    cut.heal();
    assert_eq!(line(&mut stream).await, "held\n");
    assert_eq!(hosts.network.reset(Route::nodes(1, 2)), 1);
    let end = timeout(SOON, stream.read_u8()).await.expect("in time");
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
