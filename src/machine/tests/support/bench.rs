//! Keeper and starter for the tests of this crate; with `doctor`, what this host allows; with `condvar`, a wait; by
//! itself, a bench with three programs that waits to be killed.

use std::process::ExitCode;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use machine::launch::{Launch, Program};

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
    if std::env::args().nth(1).as_deref() == Some("condvar") {
        return wait_by_condvar();
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
