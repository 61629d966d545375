//! What a watched `connect` costs: `cargo run --release -p machine --example connects`.
//!
//! A client of its own process connects, over and over: plainly; watched, to an address that is let through;
//! watched, to a peer, whose link gives the address at once. Three rounds, in turn, so that a busy host is seen.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::launch::{Launch, Stream};
use machine::net::{Host, Links, Network, NodeId};

const CONNECTS: u32 = 2000;

/// Node 2's port is wherever the listener is.
struct Straight(SocketAddr);

impl Links for Straight {
    fn connect(&self, _: NodeId, _: SocketAddr, _: NodeId, _: u16) -> Result<SocketAddr, i32> {
        Ok(self.0)
    }
}

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    if let Some(address) = std::env::args().nth(1) {
        client(address.parse().expect("an address"));
        return ExitCode::SUCCESS;
    }
    let network = Network::claim().expect("addresses are free");
    let listener = TcpListener::bind("127.1.2.3:0").expect("it is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let host = Host::new(&network, 1, Arc::new(Straight(address)));
    let peer = SocketAddr::from((network.address(2), 1));
    let watched = |to: SocketAddr| {
        let mut program = Launch::new("/proc/self/exe")
            .args([to.to_string()])
            .watch(Arc::new(host.clone()))
            .stdout(Stream::Pipe)
            .start()
            .expect("it starts");
        let mut text = String::new();
        let output = program.stdout.as_mut().expect("a pipe was asked for");
        output.read_to_string(&mut text).expect("it says a number");
        text.trim().to_owned()
    };
    for _ in 0..3 {
        let plain = Command::new("/proc/self/exe")
            .arg(address.to_string())
            .output()
            .expect("it starts");
        println!(
            "a connect (median): plain {} us, let through {} us, by a link {} us",
            String::from_utf8_lossy(&plain.stdout).trim(),
            watched(address),
            watched(peer)
        );
    }
    ExitCode::SUCCESS
}

/// The median, so that what else the host does is not counted. Each waits until the listener has closed: a queue that is
/// full would be measured otherwise.
fn client(address: SocketAddr) {
    let mut took: Vec<Duration> = (0..CONNECTS)
        .map(|_| {
            let began = Instant::now();
            let mut stream = TcpStream::connect(address).expect("somebody listens");
            let took = began.elapsed();
            let _ = stream.read(&mut [0]);
            took
        })
        .collect();
    took.sort_unstable();
    println!("{:.1}", took[took.len() / 2].as_secs_f64() * 1e6);
}
