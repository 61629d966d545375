//! A proxy that has no descriptor left: doors that cannot open and connections that cannot be taken come about later by
//! themselves, and each is noted. In a file of its own, because it takes the descriptors of every test in its program.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use whitewater::host::Shortages;
use whitewater::proxy::{Level, Network, NetworkConfig, Route};
use whitewater::shortage::Shortage;

const SOON: Duration = Duration::from_secs(60);

/// No file can be opened until this is dropped.
struct Starved(Rlimit);

impl Starved {
    fn begin() -> Starved {
        let before = getrlimit(Resource::Nofile);
        let none = Rlimit {
            current: Some(0),
            ..before
        };
        setrlimit(Resource::Nofile, none).expect("it may be lowered");
        Starved(before)
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).expect("it may be raised again");
    }
}

/// Looks until it is so.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < SOON, "waited until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether what is said there comes back.
async fn echoes(mut stream: TcpStream) -> bool {
    let mut heard = [0; 4];
    let said = async {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut heard).await
    };
    let said = tokio::time::timeout(SOON, said).await;
    said.is_ok_and(|said| said.is_ok()) && heard == *b"ping"
}

async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_opens_and_a_connection_is_taken_as_soon_as_there_is_a_descriptor() {
    let shortages = Shortages::default();
    let network = Network::start(NetworkConfig {
        nodes: 2,
        client_level: Level::Bytes,
        shortages: shortages.clone(),
        ..NetworkConfig::default()
    })
    .expect("a network");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("it has one");
    tokio::spawn(echo(listener));
    let door = network.address(Route::clients(0, 1));
    let lacks = |times: u64| {
        let met = shortages.within(SOON);
        let open_files = met.iter().filter(|(what, _)| *what == Shortage::OpenFiles);
        open_files.count() as u64 >= times
    };

    let starved = Starved::begin();
    network.set_upstream(1, Some(server));
    until("a door is missed", || lacks(1)).await;
    drop(starved);
    let began = Instant::now();
    let opened = loop {
        match TcpStream::connect(door).await {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < SOON, "the door stays shut: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(echoes(opened).await, "nobody had to ask for it again");
    let lost = shortages.losses();
    assert!(lost.len() == 1 && lost[0].contains("a door"), "{lost:?}");
    let said = || shortages.take_said().join("; ");
    let mut all = said();
    until("it is said that the door moves again", || {
        all += &said();
        all.contains("moves again")
    })
    .await;
    assert!(all.contains("no file descriptor left"), "{all}");

    // A connection that the kernel has completed waits for its descriptor.
    let socket = TcpSocket::new_v4().expect("a socket");
    let starved = Starved::begin();
    let waiting = socket.connect(door).await.expect("the kernel completes it");
    until("it cannot be taken", || lacks(2)).await;
    drop(starved);
    assert!(echoes(waiting).await, "it was taken later");
}
