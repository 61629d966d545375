//! What watched calls cost: `cargo run --release -p machine --example calls`.
//!
//! A client of its own process connects, over and over: plainly; watched, to an address that is let through;
//! watched, to a peer, whose link gives the address at once. Another reads its clock: plainly, and where that can run
//! wrong. Three rounds, in turn, so that a busy host is seen.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::clock::Clock;
use machine::launch::{Launch, Stream};
use machine::net::{Host, Links, Network, NodeId};
use machine::watcher::Watcher;

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
        match address.parse() {
            Ok(address) => client(address),
            Err(_) => clock_reads(),
        }
        return ExitCode::SUCCESS;
    }
    let network = Network::claim().expect("addresses are free");
    let listener = TcpListener::bind("127.1.2.3:0").expect("it is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let host = Host::new(&network, 1, Arc::new(Straight(address)));
    let peer = SocketAddr::from((network.address(2), 1));
    let clock = Clock::new();
    let watched = |what: &str, watcher: Arc<dyn Watcher>| {
        let mut program = Launch::new("/proc/self/exe")
            .args([what])
            .watch(watcher)
            .stdout(Stream::Pipe)
            .start()
            .expect("it starts");
        let mut text = String::new();
        let output = program.stdout.as_mut().expect("a pipe was asked for");
        output.read_to_string(&mut text).expect("it says a number");
        text.trim().to_owned()
    };
    let (address, peer) = (address.to_string(), peer.to_string());
    let by_host = |what: &str| watched(what, Arc::new(host.clone()));
    for _ in 0..3 {
        println!(
            "a connect (median): plain {} us, let through {} us, by a link {} us; a clock read: plain {} us, watched {} us",
            plain(&address),
            by_host(&address),
            by_host(&peer),
            plain("clock"),
            watched("clock", Arc::new(clock.clone())),
        );
    }
    ExitCode::SUCCESS
}

fn plain(what: &str) -> String {
    let output = Command::new("/proc/self/exe").arg(what).output();
    let text = output.expect("it starts").stdout;
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn clock_reads() {
    const READS: u32 = 20_000;
    let began = Instant::now();
    for _ in 0..READS {
        std::hint::black_box(Instant::now());
    }
    let each = began.elapsed() / READS;
    println!("{:.2}", each.as_secs_f64() * 1e6);
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
