//! A node's clock, as programs read it and wait by it.

#[path = "databases/mod.rs"]
mod databases;
#[path = "disk/node.rs"]
mod node;
mod support;

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use databases::zookeeper;
use machine::clock::{Clock, Hand};
use machine::launch::{Exit, Launch, Stream};
use rustix::time::{ClockId, clock_gettime};
use support::hobbled::{Refused, once_more};
use support::{PATIENCE, launch, python, said, until, until_within};

const SECOND: i64 = 1_000_000_000;

/// What a script says with a clock that is bent so before it starts.
fn check(bend: impl FnOnce(&Clock), launch: impl FnOnce(&Arc<Clock>) -> Launch, expected: &str) {
    let clock = Clock::new();
    bend(&clock);
    let began = Instant::now();
    let mut program = launch(&clock).start().expect("it starts");
    let text = said(&mut program);
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)), "{text}");
    assert_eq!(text.trim_end(), expected, "after {:?}", began.elapsed());
    assert_eq!((program.broken(), clock.missed()), (0, 0));
}

fn script(text: &str) -> impl FnOnce(&Arc<Clock>) -> Launch {
    let real = "
import os, select, sys, threading, time
def real():
    # The kernel's own clock, which nobody bends: time of the host since it started.
    return float(open('/proc/uptime').read().split()[0])
def took(do, *args):
    began, bent, wall = real(), time.monotonic(), time.time()
    do(*args)
    return real() - began, time.monotonic() - bent, time.time() - wall
def near(value, wanted, by=0.4):
    return wanted - 0.05 <= value <= wanted + by or value
";
    let text = format!("{real}{text}");
    move |clock| {
        launch(python())
            .args(["-c", &text])
            .stdout(Stream::Pipe)
            .watch(Arc::new(clock.clone()))
    }
}

#[test]
fn the_wall_clock_can_be_wrong_without_the_other() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let real = std::time::UNIX_EPOCH
        .elapsed()
        .expect("it is later")
        .as_secs();
    check(
        |clock| clock.step(-3600 * SECOND),
        script(&format!(
            "
print(near(time.time() + 3600, {real}, 30), near(time.clock_gettime(5) + 3600, {real}, 30))
import ctypes
print(near(ctypes.CDLL(None).time(None) + 3600, {real}, 30))
print(near(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME), 1e9), time.process_time() < 30)"
        )),
        "True True\nTrue\nTrue True",
    );
}

#[test]
fn a_fast_clock_makes_waits_end_early_and_a_slow_one_late() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let text = "
event, queue = threading.Event(), threading.Condition()
def woken():
    with queue: queue.wait(0.6)
for do in (time.sleep, 0.6), (event.wait, 0.6), (woken,):
    a_real, a_bent, a_wall = took(*do)
    print(near(a_real, 0.6 / RATE), near(a_bent, 0.6, 0.4 * RATE), near(a_wall, 0.6, 0.4 * RATE))";
    let all = ["True True True"; 3].join("\n");
    let both = |rate: f64| {
        move |clock: &Clock| {
            // Far from the real one: a deadline that is not translated would take half a minute.
            clock.run(Hand::Monotonic, 10_000.0);
            std::thread::sleep(Duration::from_millis(3));
            clock.run(Hand::Monotonic, rate);
            clock.run(Hand::Wall, rate);
            assert!(clock.ahead_ns(Hand::Monotonic) > 25 * SECOND);
        }
    };
    check(both(3.0), script(&text.replace("RATE", "3")), &all);
    check(both(0.5), script(&text.replace("RATE", "0.5")), &all);
    check(both(1.0), script(&text.replace("RATE", "1")), &all);
}

#[test]
fn both_clocks_of_a_machine_that_was_asleep_have_gone_on() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let [since_start, of_day] = [ClockId::Monotonic, ClockId::Realtime].map(clock_gettime);
    let text = format!(
        "
print(near(time.monotonic(), {} + 100_000, 60))
print(near(time.time(), {} + 100_000, 60))",
        since_start.tv_sec, of_day.tv_sec
    );
    let asleep = Duration::from_secs(100_000);
    check(
        |clock| {
            clock.set(1.0, asleep);
        },
        script(&text),
        "True\nTrue",
    );
}

#[test]
fn relative_waits_stay_real() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        |clock| clock.run(Hand::Monotonic, 3.0),
        script(
            "
a_real, a_bent, _ = took(select.select, [], [], [], 0.5)
print(near(a_real, 0.5), near(a_bent, 1.5, 1.2))",
        ),
        "True True",
    );
}

#[test]
fn programs_that_others_start_are_followed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let inner = "import time; print(int(time.time()))";
    let real = std::time::UNIX_EPOCH
        .elapsed()
        .expect("it is later")
        .as_secs();
    let shell = format!(
        "exec {0} -c '
import subprocess, sys
code = \"\"\"{inner}\"\"\"
for n in range(3):
    text = subprocess.run([sys.executable, \"-c\", code], capture_output=True, text=True).stdout
    print(abs(int(text) - {real} - 100000) < 60)
try: subprocess.run([\"/nowhere\"])
except FileNotFoundError: print(\"missing\")'",
        python()
    );
    check(
        |clock| clock.step(100_000 * SECOND),
        |clock| support::shell(&shell).watch(Arc::new(clock.clone())),
        "True\nTrue\nTrue\nmissing",
    );
}

#[test]
fn a_program_that_runs_already_is_reached_and_so_is_what_it_starts() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let clock = Clock::on_demand();
    let mut program = launch(python())
        .args([
            "-c",
            "
import subprocess, sys, threading, time
def spin():
    # Somebody is always about to read a clock.
    while True: time.time()
threading.Thread(target=spin, daemon=True).start()
inner = 'import time; print(time.monotonic(), time.time())'
for line in sys.stdin:
    if line == 'child\\n': print(subprocess.run([sys.executable, '-c', inner], capture_output=True, text=True).stdout, end='', flush=True)
    else: print(time.monotonic(), time.time(), flush=True)",
        ])
        .stdin(Stream::Pipe)
        .stdout(Stream::Pipe)
        .watch(Arc::new(clock.clone()))
        .start()
        .expect("it starts");
    let mut tell = program.stdin.take().expect("a pipe was asked for");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe was asked for")).lines();
    let mut ahead = |from: &str| {
        tell.write_all(format!("{from}\n").as_bytes())
            .expect("it reads");
        let line = lines.next().expect("it says more").expect("it says text");
        let shown = line.split(' ').map(|n| n.parse::<f64>().expect("a number"));
        let real = [ClockId::Monotonic, ClockId::Realtime].map(clock_gettime);
        let ahead = shown
            .zip(real)
            .map(|(shown, real)| shown - real.tv_sec as f64);
        ahead
            .map(|seconds| (seconds / 1_000.0).round() as i64)
            .collect::<Vec<_>>()
    };
    for from in ["own", "child"] {
        assert_eq!(ahead(from), [0, 0]);
    }
    clock.reach(&program).expect("it can be looked into");
    assert_eq!(ahead("own"), [0, 0]);
    clock.set(1.0, Duration::from_secs(100_000));
    for from in ["own", "child"] {
        assert_eq!(ahead(from), [100, 100]);
    }
    // Once more: it goes on as it was.
    clock.reach(&program).expect("it can be looked into");
    clock.straighten();
    assert_eq!(ahead("own"), [100, 0], "what is monotonic does not go back");
    assert_eq!((program.broken(), clock.missed()), (0, 0));
}

#[test]
fn a_condition_variable_of_rust_waits_by_its_clock() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        |clock| {
            clock.run(Hand::Monotonic, 10_000.0);
            std::thread::sleep(Duration::from_millis(3));
            clock.run(Hand::Monotonic, 3.0);
        },
        |clock| {
            launch(env!("CARGO_BIN_EXE_machine-bench"))
                .args(["condvar"])
                .stdout(Stream::Pipe)
                .watch(Arc::new(clock.clone()))
        },
        "waited 1.5 s by its own clock",
    );
}

/// Waits whose time is translated, one right after the other. An hour ahead: one that is not lasts an hour.
fn waits_in_a_row(args: &[&str], way: impl Fn(Launch) -> Launch) {
    check(
        |clock| {
            clock.run(Hand::Monotonic, 1_000_000.0);
            std::thread::sleep(Duration::from_millis(4));
            clock.run(Hand::Monotonic, 1.0);
            assert!(clock.ahead_ns(Hand::Monotonic) > 3600 * SECOND);
        },
        |clock| {
            let launch = launch(env!("CARGO_BIN_EXE_machine-bench"))
                .args(args)
                .stdout(Stream::Pipe)
                .watch(Arc::new(clock.clone()));
            way(launch)
        },
        "3000 waits",
    );
}

#[test]
fn waits_in_a_row_have_each_its_own_time() {
    waits_in_a_row(&["futex", "look"], |launch| launch);
}

#[test]
fn waits_in_a_row_have_each_its_own_time_on_an_older_kernel_too() {
    // There the time may stand in its memory for some microseconds after the call.
    waits_in_a_row(&["futex"], Launch::let_signals_interrupt);
}

#[test]
fn a_clock_that_stands_still_goes_on_when_it_is_let() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let clock = Clock::new();
    clock.run(Hand::Monotonic, 0.0);
    clock.run(Hand::Wall, 0.0);
    let mut program = launch(python())
        .args([
            "-c",
            "
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: print('hit', flush=True))
for line in sys.stdin:
    if line == 'read\\n': print(time.monotonic(), time.time(), flush=True)
    else:
        print('sleeps', flush=True)
        time.sleep(0.3)
        print('slept', flush=True)",
        ])
        .stdin(Stream::Pipe)
        .stdout(Stream::Pipe)
        .watch(Arc::new(clock.clone()))
        .start()
        .expect("it starts");
    let mut tell = program.stdin.take().expect("a pipe was asked for");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe was asked for")).lines();
    let mut line = || lines.next().expect("it says more").expect("it says text");
    tell.write_all(b"read\nread\n").expect("it reads");
    assert_eq!(line(), line());
    tell.write_all(b"sleep\n").expect("it reads");
    assert_eq!(line(), "sleeps");
    // A signal comes through to one that sleeps by a clock that stands. (Python runs its handler only then.)
    let call = format!("/proc/{}/syscall", program.pid());
    let sleeps = format!("{} ", libc::SYS_clock_nanosleep);
    until("its sleep", || {
        std::fs::read_to_string(&call).is_ok_and(|text| text.starts_with(&sleeps))
    });
    program
        .signal(rustix::process::Signal::USR1)
        .expect("it can be told");
    assert_eq!(line(), "hit");
    clock.straighten();
    assert_eq!(line(), "slept");
    drop(tell);
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)));
}

/// Java, whose waits are the C library's: a session that is silent is over when its time is, by the clock of the server.
#[test]
fn a_session_of_zookeeper_ends_by_its_servers_clock() {
    if !crate::support::installed::here(&["java", zookeeper::JAR]) {
        return;
    }
    let clock = Clock::new();
    // Far from the real one: a deadline that is not translated would take half a minute.
    clock.run(Hand::Monotonic, 10_000.0);
    std::thread::sleep(Duration::from_millis(3));
    clock.run(Hand::Monotonic, 3.0);
    clock.run(Hand::Wall, 3.0);
    let folder = support::place();
    let port = databases::free_port();
    let mut server = zookeeper::java(launch("java"), folder.path(), port)
        .watch(Arc::new(clock.clone()))
        .start()
        .expect("Java starts");
    let at = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let session = |timeout| zookeeper::Session::open(at, timeout);
    let mut silent = None;
    until_within(zookeeper::PATIENCE, "a ZooKeeper that serves", || {
        silent = session(Duration::from_secs(24));
        silent.is_some()
    });
    let began = Instant::now();
    let made = silent
        .expect("it serves")
        .create("/e", zookeeper::EPHEMERAL);
    assert!(made);
    let mut looker = session(Duration::from_secs(40)).expect("it serves");
    until("the end of the session", || !looker.exists("/e"));
    // 24 s of its clock, what it rounds up to, and a host that has other work.
    let took = began.elapsed().as_secs_f64();
    assert!((6.0..22.0).contains(&took), "{took} s");
    assert!(clock.bent() > 0);
    assert_eq!(clock.missed(), 0);
    server.kill().expect("it can be killed");
}

#[test]
fn a_program_that_cannot_be_traced_has_the_real_time_and_is_counted() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    let name = "a_program_that_cannot_be_traced_has_the_real_time_and_is_counted";
    if once_more(&[Refused::always(libc::SYS_ptrace)], name) {
        return;
    }
    let clock = Clock::new();
    clock.step(-3600 * SECOND);
    let real = std::time::UNIX_EPOCH.elapsed();
    let real = real.expect("it is later").as_secs();
    let mut program = launch(python())
        .args(["-c", "import time; print(int(time.time()))"])
        .stdout(Stream::Pipe)
        .watch(Arc::new(clock.clone()))
        .start()
        .expect("it starts");
    let shown: u64 = said(&mut program).trim().parse().expect("a number");
    assert!(shown.abs_diff(real) < 60, "{shown}");
    assert!(clock.missed() > 0);
}

#[test]
fn timers_of_a_descriptor_are_translated() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    check(
        |clock| {
            clock.run(Hand::Monotonic, 10_000.0);
            std::thread::sleep(Duration::from_millis(3));
            clock.run(Hand::Monotonic, 3.0);
        },
        script(
            "
import ctypes, struct
libc = ctypes.CDLL(None)
fd = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
def timer():
    at = time.monotonic() + 1.5
    new = struct.pack('qqqq', 0, 0, int(at), int(at % 1 * 1e9))
    assert libc.timerfd_settime(fd, 1, new, None) == 0
    assert os.read(fd, 8) == struct.pack('q', 1)
a_real, a_bent, _ = took(timer)
print(near(a_real, 0.5), near(a_bent, 1.5, 1.2))",
        ),
        "True True",
    );
}
