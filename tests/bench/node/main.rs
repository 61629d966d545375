//! What the node does in a second: `cargo run --release --example node_bench [-- --quick] [--data DIR] [SECTION...]`.
//!
//! Sections, all of them by default: `sizes` (writes with 1, 8 and 64 clients on 1, 3 and 5 nodes), `append`
//! (StreamAppend against unary AppendEntries), `group` (group commit on against off), `watched` (three nodes on disks that
//! could lose power, whose syncs are this machine's or virtual ones, against three on no such disk), `etcd` (three nodes
//! against three of etcd, if `etcd` is on PATH: writes and linearizable reads).
//!
//! Whatever is compared takes turns in short rounds, A B A B, so that what else the machine does meets both; the first
//! round warms up. Every write is on the disk of a majority before it is answered. All clients ask the leader, each one
//! operation at a time. Beside writes per second stands the CPU time of the nodes' processes for one operation, which a
//! busy machine blurs less.
//!
//! The program is its own node: `node_bench node ...` is `whitewater node ...`.

mod client;
mod round;
mod system;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::disk::Syncs;
use round::{Op, Tally, round};
use system::{Etcd, Kiwi, System};

/// Every value that is written has so many bytes, every key 16.
const VALUE_BYTES: usize = 256;

/// Keys that writes and reads pick from.
const KEYS: usize = 10_000;

/// How many clients ask at a time.
const CLIENTS: [usize; 3] = [1, 8, 64];

/// How long and how often a case is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    rounds: usize,
    round: Duration,
}

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "node") {
        return ExitCode::from(whitewater::cli::main());
    }
    let quick = take(&mut arguments, "--quick");
    let data = take_value(&mut arguments, "--data").unwrap_or_else(std::env::temp_dir);
    let known = ["sizes", "append", "group", "watched", "etcd"];
    if let Some(wrong) = arguments
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        eprintln!("unknown section {wrong:?}; there are {known:?}");
        return ExitCode::from(64);
    }
    let plan = match quick {
        true => Plan {
            rounds: 2,
            round: Duration::from_millis(500),
        },
        false => Plan {
            rounds: 5,
            round: Duration::from_secs(1),
        },
    };
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|asked| asked == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // Interrupted, the guards still end what was started.
        tokio::select! {
            () = measure(plan, &data, wanted) => ExitCode::SUCCESS,
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

fn take(arguments: &mut Vec<String>, flag: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|argument| argument != flag);
    arguments.len() < before
}

fn take_value(arguments: &mut Vec<String>, flag: &str) -> Option<std::path::PathBuf> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    let value = arguments.get(at + 1)?.into();
    arguments.drain(at..=at + 1);
    Some(value)
}

async fn measure(plan: Plan, data: &std::path::Path, wanted: impl Fn(&str) -> bool) {
    println!(
        "{} cores; load {}; data in {}; {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        load(),
        data.display(),
        disk(data)
    );
    println!(
        "values of {VALUE_BYTES} bytes, {KEYS} keys of 16; {} rounds of {:?} a case after one to warm up; fsync on",
        plan.rounds, plan.round
    );
    if wanted("sizes") {
        println!("\nwrites by nodes and clients");
        for nodes in [1, 3, 5] {
            let kiwi = [Kiwi::start(&format!("{nodes} nodes"), nodes, data, &[]).await];
            cases(&kiwi, Op::Write, plan).await;
        }
    }
    if wanted("append") {
        println!("\nStreamAppend against unary AppendEntries, 3 nodes");
        let both = [
            Kiwi::start("stream", 3, data, &["--append", "stream"]).await,
            Kiwi::start("unary", 3, data, &["--append", "unary"]).await,
        ];
        cases(&both, Op::Write, plan).await;
    }
    if wanted("group") {
        println!("\ngroup commit on against off, 3 nodes");
        let both = [
            Kiwi::start("group on", 3, data, &["--group-commit", "on"]).await,
            Kiwi::start("group off", 3, data, &["--group-commit", "off"]).await,
        ];
        cases(&both, Op::Write, plan).await;
    }
    if wanted("watched") {
        println!("\nwatched disks against none, 3 nodes");
        let all = [
            Kiwi::start_on(Some(Syncs::Virtual(Duration::from_millis(1))), data).await,
            Kiwi::start_on(Some(Syncs::Real), data).await,
            Kiwi::start_on(None, data).await,
        ];
        cases(&all, Op::Write, plan).await;
        cases(&all, Op::Read, plan).await;
    }
    if wanted("etcd") {
        println!("\nagainst etcd, 3 nodes each");
        let Some(etcd) = Etcd::start("etcd", data).await else {
            println!("etcd is not on PATH: not compared");
            return;
        };
        let both = [Kiwi::start("kiwi", 3, data, &[]).await, etcd];
        cases(&both, Op::Write, plan).await;
        cases(&both, Op::Read, plan).await;
    }
    println!("\nload at the end: {}", load());
}

/// Measures the systems in turns, with each number of clients, and prints a line for each.
async fn cases(systems: &[System], op: Op, plan: Plan) {
    for clients in CLIENTS {
        let mut tallies = vec![Tally::default(); systems.len()];
        for number in 0..=plan.rounds {
            for (system, tally) in systems.iter().zip(&mut tallies) {
                let measured = round(system, op, clients, plan.round).await;
                if number > 0 {
                    tally.add(&measured);
                }
            }
        }
        let last = tallies.last().expect("a system").per_second();
        for (place, (system, tally)) in systems.iter().zip(&tallies).enumerate() {
            let ratio = match place + 1 < systems.len() {
                true => format!("  {:.2} of the last one's", tally.per_second() / last),
                false => String::new(),
            };
            println!("{clients:>3} clients  {:<10} {tally}{ratio}", system.name());
        }
    }
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What one sync costs here: the least that a write can cost.
fn disk(data: &std::path::Path) -> String {
    use std::os::unix::fs::FileExt;
    let file = tempfile::tempfile_in(data).expect("the data folder can be written");
    let mut micros: Vec<u128> = (0..200)
        .map(|number| {
            let block = [number as u8; 4096];
            file.write_all_at(&block, number % 16 * 4096)
                .expect("written");
            let began = Instant::now();
            file.sync_data().expect("synced");
            began.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    format!(
        "fdatasync of 4 KiB p50 {} us, p99 {} us",
        micros[100], micros[197]
    )
}
