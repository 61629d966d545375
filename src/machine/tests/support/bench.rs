//! Keeper and starter for the tests of this crate; with `doctor`, what this host allows; with `condvar` and `futex`, waits;
//! with `hold`, a bench with three etcd that waits to be killed; by itself, one with three shells.

#[path = "forward.rs"]
mod forward;
#[path = "held.rs"]
mod held;
#[path = "../databases/wire.rs"]
mod wire;

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::atomic::AtomicU32;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use machine::launch::{Launch, Program};
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::{ClockId, Timespec, clock_gettime};

fn main() -> ExitCode {
    if let Some(ended) = machine::main(std::env::args_os()) {
        return ended;
    }
    if std::env::args().nth(1).as_deref() == Some("doctor") {
        for probe in machine::doctor::examine("/proc/self/exe") {
            println!("{probe}");
        }
        return ExitCode::SUCCESS;
    }
    match std::env::args().nth(1).as_deref() {
        Some("hold") => {
            let folder = std::env::args_os().nth(2).expect("a folder for its nodes");
            let ask = |at| {
                wire::post(at, "/v3/kv/put", &wire::put("k"), Duration::from_secs(2)).is_some()
            };
            held::hold(
                folder.as_ref(),
                |network| forward::Forward::new(network),
                ask,
            );
            return ExitCode::FAILURE;
        }
        Some("condvar") => return wait_by_condvar(),
        Some("futex") => {
            return wait_by_futexes(std::env::args().nth(2).as_deref() == Some("look"));
        }
        _ => {}
    }
    let shell = |script: &str| -> Program {
        Launch::new("sh")
            .args(["-c", script])
            .start()
            .expect("a shell starts")
    };
    let plain = shell("sleep 1000 & sleep 1000; true");
    let paused = shell("sleep 1000; true");
    let daemon = shell("setsid sh -c 'sleep 1000 & exec sleep 1000' & exit 0");
    paused.pause().expect("it can be paused");
    while daemon.exit().is_none() || daemon.processes().len() < 2 || plain.processes().len() < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let all: Vec<String> = [&plain, &paused, &daemon]
        .iter()
        .flat_map(|program| program.processes())
        .map(|pid| pid.to_string())
        .collect();
    println!("{}", all.join(" "));
    std::thread::sleep(Duration::from_secs(1000));
    ExitCode::FAILURE
}

/// Waits 1.5 s for what nobody says, at three times the speed of the host.
fn wait_by_condvar() -> ExitCode {
    let uptime = || -> f64 {
        let text =
            std::fs::read_to_string("/proc/uptime").expect("the host says how long it is up");
        let first = text.split(' ').next().expect("a number");
        first.parse().expect("a number")
    };
    let (real, bent) = (uptime(), Instant::now());
    let (never, said) = (Mutex::new(()), Condvar::new());
    let guard = never.lock().expect("nobody panicked");
    let (_guard, waited) = said
        .wait_timeout_while(guard, Duration::from_millis(1500), |()| true)
        .expect("nobody panicked");
    let (real, bent) = (uptime() - real, bent.elapsed());
    if waited.timed_out() && (0.45..1.0).contains(&real) && bent >= Duration::from_millis(1500) {
        println!("waited 1.5 s by its own clock");
    } else {
        println!("waited {real} s, by its own clock {bent:?}");
    }
    ExitCode::SUCCESS
}

/// Waits that end before they begin, each followed at once by one until an instant close by: nobody may take the time of the
/// one for the other's. With a look, nobody may leave another time in the memory of this program, either.
fn wait_by_futexes(looks: bool) -> ExitCode {
    const ROUNDS: u32 = 3000;
    let word = AtomicU32::new(1);
    let any = NonZeroU32::MAX;
    let wait = |value, until: &Timespec| {
        let asked = *until;
        let waited = futex::wait_bitset(&word, futex::Flags::PRIVATE, value, Some(until), any);
        let same = !looks || *std::hint::black_box(until) == asked;
        (waited, same)
    };
    for round in 0..ROUNDS {
        let mut until = clock_gettime(ClockId::Monotonic);
        until.tv_nsec += 50_000;
        if until.tv_nsec >= 1_000_000_000 {
            (until.tv_sec, until.tv_nsec) = (until.tv_sec + 1, until.tv_nsec - 1_000_000_000);
        }
        // The same time for both, and for the first a few times.
        for value in [0, 0, 0, 1] {
            let expected = [Errno::AGAIN, Errno::TIMEDOUT][value as usize];
            let (waited, same) = wait(value, &until);
            if waited != Err(expected) || !same {
                println!("round {round}: {waited:?}, its own time kept: {same}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{ROUNDS} waits");
    ExitCode::SUCCESS
}
