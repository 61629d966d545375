//! What a watched disk costs, and what a virtual one gains: `cargo run --release -p machine --example disk_cost [ROUNDS
//! [CLIENTS]]`.
//!
//! Writes a second of Redis (`appendfsync always`) and of an etcd, three ways in each round: unwatched on the machine's own
//! disk; watched, with that disk's syncs; watched, with syncs that take a millisecond and touch no disk. The order moves on
//! from round to round, so that neither what a host does beside nor what comes first is taken for the cost. A ratio is of
//! two rates of the same round; what is said at the end is the median of the rounds, and between which two values half of
//! them lie. With one client each write waits for a sync of its own; with more, several share one. Needs `redis-server`,
//! `redis-benchmark` and `etcd`.

#[path = "../databases/wire.rs"]
mod wire;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use machine::disk::{Disk, Settings, Syncs};
use machine::launch::{Launch, Program};

const REQUESTS: &str = "4000";
/// How long an etcd is written to before the writes are counted, and while they are.
const WARM: Duration = Duration::from_millis(500);
const COUNTED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);

/// How a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Unwatched,
    Watched,
    Virtual,
}

const WAYS: [Way; 3] = [Way::Unwatched, Way::Watched, Way::Virtual];

type Rate = Result<f64, Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    let number = |at: usize, usual: usize| {
        std::env::args()
            .nth(at)
            .map_or(Ok(usual), |text| text.parse())
    };
    let (Ok(rounds @ 1..), Ok(clients @ 1..)) = (number(1, 5), number(2, 8)) else {
        eprintln!("disk_cost: rounds and clients are numbers from 1 on");
        return ExitCode::FAILURE;
    };
    for (name, rate) in [
        ("redis", redis as fn(&Path, Way, usize) -> Rate),
        ("etcd", etcd),
    ] {
        if let Err(error) = measure(name, rounds, |place, way| rate(place, way, clients)) {
            eprintln!("disk_cost: {name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Prints the rates of each round, and what the ratios come to.
fn measure(
    name: &str,
    rounds: usize,
    rate: impl Fn(&Path, Way) -> Rate,
) -> Result<(), Box<dyn Error>> {
    let place = std::env::current_dir()?.join(format!("disk-cost-{}", std::process::id()));
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let mut rates = [0.0; 3];
        for turn in 0..3 {
            let way = WAYS[(round + turn) % 3];
            std::fs::create_dir_all(place.join("data"))?;
            let measured = rate(&place, way);
            std::fs::remove_dir_all(&place)?;
            rates[way as usize] = measured?;
        }
        let [plain, watched, virtually] = rates;
        println!(
            "{name} {}: unwatched {plain:.0}/s, watched {watched:.0}/s, on a virtual disk {virtually:.0}/s",
            round + 1
        );
        ratios[0].push(watched / plain);
        ratios[1].push(virtually / plain);
    }
    let [watched, virtually] = ratios.map(spread);
    println!("{name}: watched to unwatched {watched}; on a virtual disk to unwatched {virtually}");
    Ok(())
}

/// The median, and the quartiles.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| ratios[(part * (ratios.len() - 1) as f64).round() as usize];
    format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.25), at(0.75))
}

fn start(launch: Launch, place: &Path, way: Way) -> Result<Program, Box<dyn Error>> {
    let folder = place.join("data");
    let launch = launch.folder(&folder);
    let syncs = match way {
        Way::Unwatched => return Ok(launch.start()?),
        Way::Watched => Syncs::Real,
        Way::Virtual => Syncs::default(),
    };
    let store = place.join("store");
    let disk = Disk::new(Settings {
        folder,
        store,
        syncs,
        ..Settings::default()
    })?;
    Ok(launch.watch(disk).start()?)
}

fn free_port() -> Result<u16, Box<dyn Error>> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn until(what: &str, holds: impl Fn() -> bool) -> Result<(), Box<dyn Error>> {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > end {
            return Err(what.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn redis(place: &Path, way: Way, clients: usize) -> Rate {
    let port = free_port()?;
    let number = port.to_string();
    let args = [
        "--port",
        &number,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
    ];
    let launch = Launch::new("redis-server").args(args);
    let _program = start(launch.args(["--appendfsync", "always"]), place, way)?;
    until("Redis does not listen", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    let args = [
        "-p",
        &number,
        "-t",
        "set",
        "-c",
        &clients.to_string(),
        "-n",
        REQUESTS,
        "-r",
        "1000",
        "--csv",
    ];
    let said = Command::new("redis-benchmark").args(args).output()?;
    let said = String::from_utf8(said.stdout)?;
    let row = said
        .lines()
        .find(|line| line.starts_with("\"SET\""))
        .ok_or("redis-benchmark said nothing of SET")?;
    let rate = row.split(',').nth(1).ok_or("a row without a rate")?;
    Ok(rate.trim_matches('"').parse()?)
}

fn etcd(place: &Path, way: Way, clients: usize) -> Rate {
    let (port, peer) = (free_port()?, free_port()?);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let launch = Launch::new("etcd").args([
        "--name=a".to_owned(),
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={}", url(port)),
        format!("--advertise-client-urls={}", url(port)),
        format!("--listen-peer-urls={}", url(peer)),
        format!("--initial-advertise-peer-urls={}", url(peer)),
        format!("--initial-cluster=a={}", url(peer)),
    ]);
    let _program = start(launch, place, way)?;
    let at: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let put = |key: &str| wire::post(at, "/v3/kv/put", &wire::put(key), PATIENCE).is_some();
    until("etcd does not serve", || put("first"))?;
    let (counts, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let write = |client: usize| -> Option<u32> {
        let mut connection = wire::Connection::open(at, PATIENCE)?;
        let mut counted = 0;
        for n in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            connection.post("/v3/kv/put", &wire::put(&format!("{client}-{}", n % 1000)))?;
            counted += u32::from(counts.load(Ordering::Relaxed));
        }
        Some(counted)
    };
    std::thread::scope(|scope| {
        let write = &write;
        let clients: Vec<_> = (0..clients)
            .map(|client| scope.spawn(move || write(client)))
            .collect();
        std::thread::sleep(WARM);
        counts.store(true, Ordering::Relaxed);
        let began = Instant::now();
        std::thread::sleep(COUNTED);
        counts.store(false, Ordering::Relaxed);
        let took = began.elapsed();
        over.store(true, Ordering::Relaxed);
        let counted = clients.into_iter().map(|one| one.join().ok().flatten());
        let counted: Option<u32> = counted.sum();
        let counted = counted.ok_or("a write was not acknowledged")?;
        Ok(f64::from(counted) / took.as_secs_f64())
    })
}
