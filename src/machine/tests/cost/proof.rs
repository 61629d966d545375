//! What the tests show a few times, as often as it is told: `cargo run --release -p machine --example proof -- WHAT TIMES`.
//!
//! ```text
//!  etcd 50         three nodes lose power 50 times, one, two or all at once, while six clients write
//!  etcd-lies 20    the same where all their syncs lie
//!  redis 20        fifty keys a time, by policy of its syncs
//!  sqlite 50       a writer loses power in the middle, with full syncs and with none
//!  zookeeper 20    Java
//!  kill 20         a bench with three etcd is killed, one paused and one forked away
//! ```

#[path = "../databases/mod.rs"]
mod databases;
#[path = "../disk/node.rs"]
mod node;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use databases::{cluster, redis, sqlite, wire, zookeeper};
use machine::disk::harm::SyncHarm;
use machine::disk::undo::PowerLoss;
use support::{forward::Forward, held};

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["hold", folder] = args[..] {
        hold(folder.into());
        return ExitCode::SUCCESS;
    }
    let (what, times) = match args[..] {
        [what, times] => (what, times.parse().ok()),
        _ => ("", None),
    };
    let Some(times) = times else {
        eprintln!("proof: say what, and how often: etcd 50");
        return ExitCode::FAILURE;
    };
    let began = Instant::now();
    let good = match what {
        "etcd" => etcd(times, SyncHarm::None),
        "etcd-lies" => etcd(times, SyncHarm::Lie),
        "redis" => redis(times),
        "sqlite" => sqlite(times),
        "zookeeper" => zookeeper(times),
        "kill" => kill(times),
        _ => {
            eprintln!("proof: nobody knows {what:?}");
            return ExitCode::FAILURE;
        }
    };
    println!("in {:.0} s", began.elapsed().as_secs_f64());
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn etcd(losses: u64, sync: SyncHarm) -> bool {
    let seen = cluster::lose_power(losses, sync);
    println!(
        "etcd: {} power losses, {} acknowledged writes, {} of them lost, {} nodes that did not serve again",
        seen.losses, seen.acknowledged, seen.lost, seen.dead
    );
    let found = seen.lost > 0 || seen.dead > 0;
    found == (sync == SyncHarm::Lie)
}

fn redis(times: u64) -> bool {
    let mut good = true;
    let mut check = |what: &str, keep: &dyn Fn() -> String, expected: &str| {
        let kept: Vec<String> = (0..times).map(|_| keep()).collect();
        let right = kept.iter().filter(|kept| *kept == expected).count();
        println!("redis, appendfsync {what}: {right} of {times} times {expected} keys are left");
        good &= right as u64 == times;
    };
    check("always", &|| redis::keeps("always", SyncHarm::None), ":50");
    check("no", &|| redis::keeps("no", SyncHarm::None), ":0");
    check(
        "everysec, 50 of 100 synced",
        &redis::keeps_what_a_second_has_synced,
        ":50",
    );
    check(
        "always with syncs that lie",
        &|| redis::keeps("always", SyncHarm::Lie),
        ":0",
    );
    good
}

fn sqlite(rounds: u64) -> bool {
    let mut good = true;
    for what in ["all of it", "some pages", "torn"] {
        let lost = sqlite::loses("full", rounds, |round| match what {
            "all of it" => PowerLoss::Strict,
            "some pages" => PowerLoss::Subset(round),
            _ => PowerLoss::Torn(round),
        });
        println!("sqlite, synchronous=full, {what}: {lost} of {rounds} times something is lost");
        good &= lost == 0;
    }
    let lost = sqlite::loses("off", rounds, |_| PowerLoss::Strict);
    println!("sqlite, synchronous=off: {lost} of {rounds} times something is lost");
    good && lost > 0
}

fn zookeeper(rounds: u64) -> bool {
    let (acknowledged, lost) = zookeeper::loses(rounds, SyncHarm::None);
    println!(
        "zookeeper: {rounds} power losses, {acknowledged} acknowledged nodes, {lost} of them lost"
    );
    lost == 0
}

fn kill(times: u64) -> bool {
    let this = std::env::current_exe().expect("it has a path");
    let mut took: Vec<Duration> = (0..times)
        .map(|time| {
            let folder = support::place();
            let mut bench = Command::new(&this);
            bench.arg("hold").arg(folder.path());
            held::kill(bench, &format!("{}-{time}", std::process::id()))
        })
        .collect();
    took.sort_unstable();
    let good = took
        .iter()
        .filter(|took| **took < Duration::from_secs(2))
        .count();
    println!(
        "a bench with three etcd, killed: nothing left within 2 s {good} of {times} times; median {:?}, longest {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    good as u64 == times
}

fn hold(folder: PathBuf) {
    let ask = |at| wire::post(at, "/v3/kv/put", &wire::put("k"), Duration::from_secs(2)).is_some();
    held::hold(&folder, |network| Forward::new(network), ask);
}
