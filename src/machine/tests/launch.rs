//! A program's life under watch: how it starts, how it ends, and that nothing of it is left.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use machine::launch::{Exit, LaunchError, Limit, Stream};
use support::{PATIENCE, held, launch, lives, said, shell, state, until};

#[test]
fn a_program_says_what_it_says_and_ends_as_it_ends() {
    let mut program = shell("read line; echo \"$line $WORD $(pwd)\"; exit 7")
        .env("WORD", "there")
        .folder("/tmp")
        .stdin(Stream::Pipe)
        .start()
        .expect("a shell starts");
    let mut input = program.stdin.take().expect("a pipe was asked for");
    input.write_all(b"hello\n").expect("it reads");
    assert_eq!(said(&mut program), "hello there /tmp\n");
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(7)));
    assert!(program.wait_gone(PATIENCE));
}

#[test]
fn a_program_that_dies_at_once_has_started_and_ended() {
    let program = launch("/bin/false").start().expect("it starts");
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(1)));
    let killed = shell("kill -KILL $$").start().expect("it starts");
    assert_eq!(killed.wait(PATIENCE), Some(Exit::Signal(9)));
}

#[test]
fn a_program_that_is_not_there_is_said_to_be_missing() {
    for name in ["/nowhere/at/all", "a-name-that-no-program-has"] {
        let error = launch(name).start().err().expect("it is not there");
        assert!(matches!(error, LaunchError::NotFound(_)), "{error:?}");
        assert_eq!(error.to_string(), format!("there is no program {name}"));
    }
}

#[test]
fn a_name_is_not_said_to_be_forbidden_because_a_folder_is() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("a folder can be made");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o0)).expect("its mode can be set");
    // What the kernel says of the folder is another word for those who may look into it; both must end alike.
    let path = format!("{}:/usr/bin:/bin", closed.display());
    let missing = launch("a-name-that-no-program-has")
        .env("PATH", &path)
        .start();
    let error = missing.err().expect("it is not there");
    assert!(matches!(error, LaunchError::NotFound(_)), "{error:?}");
    let there = launch("true")
        .env("PATH", &path)
        .start()
        .expect("it is there");
    assert_eq!(there.wait(PATIENCE), Some(Exit::Code(0)));
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o755))
        .expect("its mode can be set");
}

#[test]
fn a_program_that_cannot_be_run_is_told_from_one_that_is_missing() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("plain.txt");
    std::fs::write(&file, "no program").expect("it can be written");
    let error = launch(&file).start().err().expect("it is not executable");
    assert!(matches!(error, LaunchError::NotRun { .. }), "{error:?}");
    assert!(error.to_string().contains("ermission denied"), "{error}");

    std::fs::write(&file, "#!/no/such/interpreter\n").expect("it can be written");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("its mode can be set");
    let error = launch(&file).start().err().expect("nothing can run it");
    assert!(matches!(error, LaunchError::NotRun { .. }), "{error:?}");
}

#[test]
fn a_folder_that_is_not_there_is_not_the_programs_fault() {
    let launched = shell("true").folder("/no/such/folder").start();
    let error = launched.err().expect("it cannot start there");
    assert!(
        matches!(error, LaunchError::Surroundings { .. }),
        "{error:?}"
    );
}

#[test]
fn a_setuid_program_runs_without_what_it_would_gain() {
    let mut program = shell("grep NoNewPrivs /proc/self/status; su --version | head -c 3")
        .start()
        .expect("it starts");
    assert_eq!(said(&mut program), "NoNewPrivs:\t1\nsu ");
}

#[test]
fn a_program_that_execs_another_is_still_the_same_one() {
    let mut program = shell("exec sh -c 'exec echo $PPID $$; exit 3'")
        .start()
        .expect("it starts");
    let pid = program.pid();
    let text = said(&mut program);
    assert!(text.trim_end().ends_with(&format!(" {pid}")), "{text}");
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)));
}

#[test]
fn a_program_starts_with_no_signal_withheld_or_ignored() {
    let mut program = launch("grep")
        .args(["-E", "Sig(Blk|Ign)", "/proc/self/status"])
        .stdout(Stream::Pipe)
        .start()
        .expect("it starts");
    let text = said(&mut program);
    let masks: Vec<&str> = text.split_whitespace().collect();
    let ["SigBlk:", withheld, "SigIgn:", ignored] = masks[..] else {
        panic!("{text}");
    };
    assert_eq!(withheld, "0000000000000000");
    // Above the standard ones are those that the C library keeps for itself.
    let ignored = u64::from_str_radix(ignored, 16).expect("a mask is a number");
    assert_eq!(ignored & 0x7fff_ffff, 0, "{text}");
}

#[test]
fn a_limit_holds_for_the_program() {
    let mut program = shell("ulimit -n; ulimit -c")
        .limit(Limit::OpenFiles(77))
        .limit(Limit::CoreDump(0))
        .start()
        .expect("it starts");
    assert_eq!(said(&mut program), "77\n0\n");
}

#[test]
fn what_daemonises_still_belongs_to_its_program() {
    let mut program = shell("setsid sh -c 'sleep 1000 & exec sleep 1000' >/dev/null & exit 0")
        .start()
        .expect("it starts");
    assert_eq!(program.wait(PATIENCE), Some(Exit::Code(0)));
    until("two daemons", || program.processes().len() == 2);
    let daemons = program.processes();
    assert!(!program.gone());

    program.pause().expect("daemons can be paused");
    assert!(daemons.iter().all(|pid| state(*pid) == Some('T')));
    program.resume();
    until("their going on", || {
        daemons.iter().all(|pid| state(*pid) == Some('S'))
    });

    let began = Instant::now();
    assert_eq!(
        program.kill().expect("they can be killed"),
        Some(Exit::Code(0))
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(daemons.iter().all(|pid| !lives(*pid)), "{daemons:?}");
}

#[test]
fn a_pause_stops_threads_and_children_while_they_fork() {
    if !support::installed::here(&["python3"]) {
        return;
    }
    let mut program = shell(
        "while :; do (echo a; (echo b)); done | python3 -c '
import sys, threading
def spin():
    while True: pass
for _ in range(3): threading.Thread(target=spin, daemon=True).start()
for line in sys.stdin: pass'",
    )
    .start()
    .expect("it starts");
    until("its children", || program.processes().len() >= 3);
    for _ in 0..5 {
        program.pause().expect("it can be paused");
        let paused = program.processes();
        let stopped = |pid: &u32| state(*pid).is_some_and(|state| state == 'T' || state == 'D');
        assert!(paused.iter().all(stopped), "{paused:?}");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(program.processes(), paused);
        program.resume();
        until("their going on", || program.processes() != paused);
    }
    program.pause().expect("it can be paused");
    assert_eq!(
        program.kill().expect("it can be killed"),
        Some(Exit::Signal(9))
    );
}

#[test]
fn a_program_ends_with_what_holds_it() {
    let program = shell("sleep 1000; true").start().expect("it starts");
    until("its child", || program.processes().len() == 2);
    let both = program.processes();
    drop(program);
    assert!(both.iter().all(|pid| !lives(*pid)), "{both:?}");
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let mut fields = stat[stat.rfind(')').expect("a name") + 1..].split_whitespace();
    let parent = fields.nth(1).and_then(|pid| pid.parse().ok());
    parent.expect("a parent")
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
}

/// A program with children, one of them a daemon's; one of those that hold it is killed. How it is said to have ended.
fn ends_with(holder: impl FnOnce(u32) -> u32) -> Option<Exit> {
    let script = "setsid sh -c 'sleep 1000 & exec sleep 1000' & sleep 1000 & sleep 1000; true";
    let program = shell(script).start().expect("it starts");
    until("its children", || program.processes().len() == 5);
    let all = program.processes();
    kill(holder(program.pid()));
    assert!(program.wait_gone(PATIENCE));
    assert!(all.iter().all(|pid| !lives(*pid)), "{all:?}");
    program.exit()
}

#[test]
fn nothing_of_a_program_outlives_its_keeper() {
    // Nobody is left who could say how it ended.
    assert_eq!(ends_with(parent), None);
}

#[test]
fn nothing_of_a_program_outlives_the_guard_of_its_keeper() {
    let guard = |pid| parent(parent(pid));
    assert_eq!(ends_with(guard), Some(Exit::Signal(9)));
}

#[test]
fn nothing_outlives_a_bench_that_was_killed() {
    let bench = Command::new(env!("CARGO_BIN_EXE_machine-bench"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a bench starts");
    let mut bench = held::Killed(bench);
    let mut line = String::new();
    let output = bench.0.stdout.take().expect("its output is a pipe");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("it says text");
    let pids: Vec<u32> = line
        .split_whitespace()
        .map(|pid| pid.parse().expect("a number"))
        .collect();
    assert!(pids.len() >= 7, "{line}");
    assert!(pids.iter().all(|pid| lives(*pid)));
    assert!(pids.iter().any(|pid| state(*pid) == Some('T')));

    drop(bench);
    let killed = Instant::now();
    until("the end of all its programs", || {
        pids.iter().all(|pid| !lives(*pid))
    });
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "{:?}",
        killed.elapsed()
    );
}

/// Two benches side by side, each with three etcd on the same ports.
#[test]
fn nothing_of_three_etcd_outlives_a_bench_that_was_killed() {
    if !support::installed::here(&["etcd"]) {
        return;
    }
    let kill = |bench: u32| {
        let folder = support::place();
        let mut command = Command::new(env!("CARGO_BIN_EXE_machine-bench"));
        command.arg("hold").arg(folder.path());
        held::kill(command, &format!("launch-{}-{bench}", std::process::id()))
    };
    std::thread::scope(|threads| {
        let kill = &kill;
        let benches = [1, 2].map(|bench| threads.spawn(move || kill(bench)));
        for bench in benches {
            let took = bench.join().expect("it was killed");
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    });
}
