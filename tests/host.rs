//! What the machine does not give, and the bench's own standstill, accuse nobody: real runs with too few descriptors, too
//! little disk, too few ports, a bench that is stopped, a node that somebody else kills. None of them ends as a finding,
//! and each says what was missing.
//!
//! Small disks and small ranges of ports are those of a namespace of its own, which is gone with its last process.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use support::{
    PROGRAM, Running, assert_nothing_left, machine, nodes_below, only_folder, wait_until,
};

/// A run of a few seconds has ended by then, also on a machine that is very busy.
const LONG: Duration = Duration::from_secs(180);

/// A shell in namespaces of its own.
#[derive(Clone, Copy)]
enum Alone {
    /// Its mounts are its own.
    Mounts,
    /// Its network is its own.
    Network,
}

impl Alone {
    /// The flags of unshare(1), without which and with which a user who is not root gets them, and what must work then.
    fn ways(self) -> ([&'static [&'static str]; 2], &'static str) {
        match self {
            Alone::Mounts => {
                let ways: [&[&str]; 2] = [&["-m"], &["-r", "-m"]];
                (ways, "mount -t tmpfs -o size=64k tmpfs /tmp")
            }
            Alone::Network => {
                let ways: [&[&str]; 2] = [&["-n"], &["-r", "-n"]];
                (ways, "ip link set lo up")
            }
        }
    }

    /// A command that runs this script there, as `$0` and `$@` what is added to it; `None` where this machine allows no
    /// namespace, which CI must.
    fn command(self, script: &str) -> Option<Command> {
        let (ways, trial) = self.ways();
        let shell = |flags: &[&str], script: &str| {
            let mut command = Command::new("unshare");
            command.args(flags).args(["sh", "-c", script]);
            command
        };
        let works = |flags: &&&[&str]| {
            let mut tried = shell(flags, trial);
            let ended = tried.stderr(Stdio::null()).status();
            ended.is_ok_and(|status| status.success())
        };
        let Some(flags) = ways.iter().find(works) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs namespaces: unshare(1) as root, or as any user"
            );
            eprintln!("no namespace on this machine ({trial}): this is not tested");
            return None;
        };
        Some(shell(flags, script))
    }
}

/// A run that was started, whose output goes to files: it is killed when the test fails.
struct Bench {
    child: Alive,
    dir: tempfile::TempDir,
}

impl Bench {
    /// Starts the program, in place of the command's shell, with these arguments; its runs go to `out` in a folder of
    /// its own.
    fn start(command: &mut Command, out: &Path, dir: tempfile::TempDir, args: &[&str]) -> Bench {
        let to = |name: &str| File::create(dir.path().join(name)).expect("a file");
        let child = command
            .arg(PROGRAM)
            .arg("run")
            .args(args)
            .arg("--out")
            .arg(out)
            .stdin(Stdio::null())
            .stdout(to("stdout"))
            .stderr(to("stderr"))
            .spawn()
            .expect("it starts");
        Bench {
            child: Alive(child),
            dir,
        }
    }

    /// The same with a script that ends in `exec "$0" "$@"`.
    fn by_script(script: &str, args: &[&str]) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let out = dir.path().join("runs");
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        Bench::start(&mut shell, &out, dir, args)
    }

    /// The same on a disk of its own of so many KiB.
    fn on_disk(kib: u32, args: &[&str]) -> Option<Bench> {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).expect("a folder");
        let script = format!(
            "mount -t tmpfs -o size={kib}k tmpfs '{}' && exec \"$0\" \"$@\"",
            disk.display()
        );
        let mut shell = Alone::Mounts.command(&script)?;
        Some(Bench::start(&mut shell, &disk, dir, args))
    }

    /// The same where connections have so many ports.
    fn with_ports(count: u32, args: &[&str]) -> Option<Bench> {
        let dir = tempfile::tempdir().expect("a folder");
        let out = dir.path().join("runs");
        let script = format!(
            "ip link set lo up && echo 20000 {} > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" \"$@\"",
            19_999 + count
        );
        let mut shell = Alone::Network.command(&script)?;
        Some(Bench::start(&mut shell, &out, dir, args))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child.0)
    }

    /// Its own view of a path: it may have mounts of its own.
    fn its(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.0.id()));
        root.join(path.strip_prefix("/").expect("it is absolute"))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("it is text")
    }

    /// Waits until it has said so on stderr.
    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let said = wait_until(LONG, || {
            let ended = self.child.0.try_wait().expect("it can be waited for");
            let said = self.text("stderr").contains(words);
            (said || ended.is_some()).then_some(said)
        });
        assert!(
            said == Some(true),
            "it never said {words:?}:\n{}",
            self.text("stderr")
        );
    }

    /// Waits until one of its three nodes has ended.
    #[track_caller]
    fn wait_for_a_node_to_end(&mut self) {
        let fewer = || nodes_below(self.dir.path()).len() < 3;
        let ended = wait_until(LONG, || fewer().then_some(()));
        assert!(
            ended.is_some(),
            "three nodes still work:\n{}",
            self.text("stderr")
        );
    }

    /// Waits for its end; gives the exit code and all that it said.
    #[track_caller]
    fn end(&mut self) -> (i32, String) {
        let ended = wait_until(LONG, || {
            self.child.0.try_wait().expect("it can be waited for")
        });
        let said = self.text("stderr") + &self.text("stdout");
        let code = ended.and_then(|status| status.code());
        (
            code.unwrap_or_else(|| panic!("it does not end:\n{said}")),
            said,
        )
    }
}

/// Changes how many files a process may open from now on.
fn allow_files(pid: Pid, count: u64) {
    let limit = Rlimit {
        current: Some(count),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(Some(pid), Resource::Nofile, limit).expect("it may be lowered, and raised again");
}

#[test]
fn too_few_open_files_are_said_in_a_sentence_before_anything_begins() {
    for limit in [200, 220] {
        let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
        let mut bench = Bench::by_script(&script, &["calm", "--time", "3", "--seed", "1"]);
        let (code, said) = bench.end();
        assert_eq!(code, 70, "{said}");
        let named = said.contains("open files") && said.contains(&limit.to_string());
        assert!(named && said.contains("8 clients"), "{said}");
        assert!(!bench.dir.path().join("runs").exists(), "nothing was made");
    }
}

#[test]
fn a_disk_that_is_too_small_is_said_in_a_sentence_before_anything_begins() {
    for kib in [200, 600, 1_000] {
        let Some(mut bench) = Bench::on_disk(kib, &["rapids", "--seed", "3", "--time", "12"])
        else {
            return;
        };
        let (code, said) = bench.end();
        assert_eq!(code, 70, "{said}");
        assert!(said.contains(&format!("{kib} KiB are free")), "{said}");
    }
}

#[test]
fn a_moment_without_space_accuses_nobody_and_loses_nothing_of_the_history() {
    let _machine = machine();
    let args = ["calm", "--seed", "3", "--time", "8"];
    let Some(mut bench) = Bench::on_disk(64 << 10, &args) else {
        return;
    };
    bench.wait_for("the workload begins");
    let disk = bench.its(&bench.dir.path().join("disk"));
    let filler = disk.join("filler");
    let mut file = File::create(&filler).expect("the bench's disk can be reached");
    while file.write_all(&[0; 4_096]).is_ok() {}
    bench.wait_for("the history cannot be written");
    bench.wait_for_a_node_to_end();
    fs::remove_file(&filler).expect("it is there");
    drop(file);
    bench.wait_for("the history is written again, and nothing of it is lost");
    // Before its disk is gone with it.
    bench.wait_for("the last verdict is made");
    let (code, said) = bench.end();
    assert_eq!(code, 70, "nodes have ended by it: {said}");
    assert!(said.contains("LINEARIZABLE"), "{said}");
    assert!(said.contains("no space left on the disk"), "{said}");
    assert!(!said.contains("finding ("), "{said}");
}

#[test]
fn what_waited_for_room_is_read_back_whole() {
    let _machine = machine();
    // The shell outlives the bench, and with it the disk.
    let dir = tempfile::tempdir().expect("a folder");
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let script = format!(
        r#"disk='{}'; mount -t tmpfs -o size=64m tmpfs "$disk" || exit 9
        "$0" "$@" & bench=$!
        trap 'kill -KILL $bench' TERM EXIT
        until grep -q 'the workload begins' "$disk/../stderr"; do sleep 0.1; done
        dd if=/dev/zero of="$disk/filler" bs=4k 2>&-
        until [ -e "$disk/../enough" ] || ! kill -0 $bench; do sleep 0.1; done
        rm "$disk/filler"; wait $bench; echo "the bench: $?" >&2; trap - TERM EXIT
        "$0" replay "$disk"/*-calm-4 --print live > /dev/null || exit 8
        exec "$0" check "$disk"/*-calm-4/history.jsonl"#,
        disk.display()
    );
    let Some(mut shell) = Alone::Mounts.command(&script) else {
        return;
    };
    let args = ["calm", "--seed", "4", "--time", "6"];
    let mut bench = Bench::start(&mut shell, &disk, dir, &args);
    bench.wait_for("the history cannot be written");
    bench.wait_for_a_node_to_end();
    fs::write(bench.dir.path().join("enough"), []).expect("it can be said");
    let (code, said) = bench.end();
    assert!(said.contains("the bench: 70"), "{said}");
    assert!(
        code == 0 && said.contains("linearizable  "),
        "{code}: {said}"
    );
}

#[test]
fn a_bench_that_is_stopped_for_ten_seconds_at_the_final_reads_accuses_nobody() {
    let _machine = machine();
    let mut bench = Bench::by_script(
        "exec \"$0\" \"$@\"",
        &["calm", "--seed", "4", "--time", "3", "--json"],
    );
    bench.wait_for("final reads");
    // By a shell, which lets it go on also where this test is killed meanwhile.
    let pid = bench.child.0.id();
    let script = format!("kill -STOP {pid} && sleep 10; kill -CONT {pid}");
    let stopped = Command::new("sh").args(["-c", &script]).status();
    assert!(
        stopped.expect("a shell").success(),
        "it was there all the time"
    );
    let (code, said) = bench.end();
    assert_ne!(code, 1, "{said}");
    let object: Value = serde_json::from_str(&bench.text("stdout")).expect("one object");
    assert_eq!(
        object["findings"].as_array().map(Vec::len),
        Some(0),
        "{said}"
    );
    let late = object["coverage"]["late_ms"].as_u64();
    assert!(late >= Some(9_000), "it noticed: {late:?}");
}

#[test]
fn a_run_with_few_ports_holds() {
    let _machine = machine();
    let args = ["rolling-crash", "--seed", "6", "--time", "8", "--json"];
    let Some(mut bench) = Bench::with_ports(200, &args) else {
        return;
    };
    let (code, said) = bench.end();
    assert!([0, 3, 70].contains(&code), "{code}: {said}");
    let object: Value = serde_json::from_str(&bench.text("stdout")).expect("one object");
    assert_eq!(object["verdict"], "linearizable", "{said}");
    assert_eq!(
        object["findings"].as_array().map(Vec::len),
        Some(0),
        "{said}"
    );
}

#[test]
fn a_run_with_no_port_at_all_names_the_reason() {
    let _machine = machine();
    let args = ["calm", "--seed", "6", "--time", "3"];
    let Some(mut bench) = Bench::with_ports(8, &args) else {
        return;
    };
    let (code, said) = bench.end();
    assert_eq!(code, 70, "{said}");
    assert!(said.contains("no free port"), "{said}");
}

#[test]
fn descriptors_that_run_out_while_nodes_crash_accuse_nobody() {
    let _machine = machine();
    let mut bench = Bench::by_script(
        "exec \"$0\" \"$@\"",
        &["rolling-crash", "--seed", "5", "--time", "10", "--json"],
    );
    bench.wait_for("the workload begins");
    let open = fs::read_dir(format!("/proc/{}/fd", bench.child.0.id())).expect("it runs");
    let before = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    allow_files(bench.pid(), open.count() as u64 - 5);
    bench.wait_for("no file descriptor left for this process");
    bench.wait_for("kill n");
    // Somebody's crash is met without a descriptor; then they come back.
    bench.wait_for("out");
    allow_files(bench.pid(), before.min(4_096));
    let (code, said) = bench.end();
    assert!([0, 3, 70].contains(&code), "{code}: {said}");
    let object: Value = serde_json::from_str(&bench.text("stdout")).expect("one object");
    assert_eq!(
        object["findings"].as_array().map(Vec::len),
        Some(0),
        "{said}"
    );
    assert_nothing_left(bench.dir.path(), Duration::from_secs(2));
}

#[test]
fn a_node_that_somebody_else_kills_accuses_nobody() {
    let _machine = machine();
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().to_str().expect("a plain name");
    let args = ["run", "calm", "--seed", "8", "--time", "4", "--out", out];
    let mut running = Running::start(&args);
    running.wait_for("the workload begins", LONG);
    let nodes = nodes_below(dir.path());
    let victim = Pid::from_raw(i32::try_from(nodes[1]).expect("a pid")).expect("a pid");
    kill_process(victim, Signal::KILL).expect("it lives");
    running.wait_for("not by the bench", LONG);
    assert_eq!(running.end(LONG).code(), Some(70));
    let verdict = fs::read_to_string(only_folder(dir.path()).join("verdict.json"));
    let verdict: Value = serde_json::from_str(&verdict.expect("it was saved")).expect("JSON");
    assert_eq!(verdict["verdict"], "linearizable", "{verdict:#}");
    assert_eq!(
        verdict["findings"].as_array().map(Vec::len),
        Some(0),
        "{verdict:#}"
    );
}

#[test]
fn nine_nodes_and_three_hundred_clients_have_a_descriptor_for_every_connection() {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if hard < 4_096 {
        assert!(std::env::var_os("CI").is_none(), "CI needs 4096 open files");
        eprintln!("this machine allows {hard} open files: this is not tested");
        return;
    }
    let _machine = machine();
    let mut bench = Bench::by_script(
        "ulimit -Sn 1024 && exec \"$0\" \"$@\"",
        &[
            "calm",
            "--nodes",
            "9",
            "--clients",
            "300",
            "--seed",
            "2",
            "--time",
            "3",
        ],
    );
    let (code, said) = bench.end();
    assert_ne!(code, 1, "{said}");
    let folder = only_folder(&bench.dir.path().join("runs"));
    let history = fs::read_to_string(folder.join("history.jsonl")).expect("it is text");
    // On a busy machine one may be late; none fails.
    for words in ["transport error", "the host has no"] {
        assert!(!history.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("the host ha"), "{said}");
}

/// How a node of its own ends that is started by this script; what it says goes to a file in `dir`.
#[track_caller]
fn node(shell: &mut Command, dir: &Path, data: &Path, listen: &str) -> (Option<i32>, String) {
    let said = dir.join("said");
    let child = shell
        .args([PROGRAM, "node", "--id", "1", "--listen", listen, "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("a file"))
        .spawn()
        .expect("it starts");
    // One that goes on is killed.
    let mut node = Alive(child);
    let ended = wait_until(LONG, || node.0.try_wait().expect("it can be waited for"));
    drop(node);
    let said = fs::read_to_string(said).expect("it is text");
    (ended.and_then(|status| status.code()), said)
}

/// A child that is killed when nobody looks after it any more.
struct Alive(Child);

impl Drop for Alive {
    fn drop(&mut self) {
        // A stopped one dies, too; its nodes see its end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_says_by_its_exit_code_what_its_host_did_not_give() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\""]);
    let (code, said) = node(&mut shell, dir.path(), &data, &address);
    assert_eq!(code, Some(84), "a port that is taken: {said}");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 12 && exec \"$0\" \"$@\""]);
    let (code, said) = node(&mut shell, dir.path(), &data, "127.0.0.1:0");
    assert_eq!(code, Some(82), "no descriptor: {said}");
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=16k tmpfs '{}' && exec \"$0\" \"$@\"",
        disk.display()
    );
    let Some(mut shell) = Alone::Mounts.command(&script) else {
        return;
    };
    let data = disk.join("data");
    let (code, said) = node(&mut shell, dir.path(), &data, "127.0.0.1:0");
    assert_eq!(code, Some(80), "no space: {said}");
}

#[test]
fn a_node_that_cannot_even_log_ends_by_what_ended_it_and_not_by_a_panic() {
    let dir = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2> /dev/full"]);
    let data = dir.path().join("data");
    let (code, _) = node(&mut shell, dir.path(), &data, &address);
    assert_eq!(code, Some(84));
}
