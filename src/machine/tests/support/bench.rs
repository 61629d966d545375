//! Keeper and starter for the tests of this crate; with `doctor`, what this host allows; by itself, a bench with three
//! programs that waits to be killed.

use std::process::ExitCode;
use std::time::Duration;

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
