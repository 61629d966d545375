//! A bench that holds three etcd and is killed: one of them runs, one is paused, one has forked away.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::launch::{Launch, Program};
use machine::net::{Host, Links, Network, NodeId};

/// In the environment of all that the bench starts.
const MARK: &str = "MACHINE_MARK";

/// It takes some seconds until three etcd serve on a host that has other work.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bench's life until it is killed: it says `ready` when its three nodes are as they should be.
pub(crate) fn hold(
    folder: &Path,
    links: impl FnOnce(&Arc<Network>) -> Arc<dyn Links>,
    serves: impl Fn(SocketAddr) -> bool,
) {
    let network = Network::claim().expect("addresses are free");
    let links = links(&network);
    let start = |node: NodeId, how: &str| -> Program {
        let url = |node| format!("http://{}:2380", network.address(node));
        let cluster: Vec<_> = (1..=3)
            .map(|node| format!("n{node}={}", url(node)))
            .collect();
        let host = Host::new(&network, node, links.clone());
        let launch = Launch::new("sh").args(["-c", how, "sh", "etcd", "--data-dir"]);
        launch
            .args([folder.join(node.to_string())])
            .args([
                format!("--name=n{node}"),
                format!("--initial-cluster={}", cluster.join(",")),
            ])
            .args(["--initial-advertise-peer-urls".to_owned(), url(node)])
            .watch(Arc::new(host))
            .start()
            .expect("a shell starts")
    };
    let plain = start(1, "exec \"$@\"");
    let paused = start(2, "\"$@\"; true");
    let away = start(3, "setsid sh -c '\"$@\" & exit' sh \"$@\" & exit 0");
    let end = Instant::now() + PATIENCE;
    let at = |node| (network.address(node), 2379).into();
    while away.exit().is_none() || !(1..=3).all(|node| serves(at(node))) {
        assert!(Instant::now() < end, "no cluster has formed");
        std::thread::sleep(Duration::from_millis(10));
    }
    paused.pause().expect("it can be paused");
    let all = [&plain, &paused, &away].map(|program| program.processes().len());
    assert_eq!(all, [1, 2, 1], "processes of each");
    println!("ready");
    // Until it is killed.
    std::thread::sleep(10 * PATIENCE);
}

/// Kills a bench that says `ready`, and gives how long something of it was there after that: itself, guards, keepers, nodes.
///
/// # Panics
/// Where it does not say so, or something is left after half a minute.
pub(crate) fn kill(mut bench: Command, mark: &str) -> Duration {
    let bench = bench.env(MARK, mark).stdout(Stdio::piped()).spawn();
    let mut bench = Killed(bench.expect("a bench starts"));
    let mut line = String::new();
    let output = bench.0.stdout.take().expect("its output is a pipe");
    let read = BufReader::new(output).read_line(&mut line);
    read.expect("it says text");
    assert_eq!(line.trim_end(), "ready");
    let wanted = format!("{MARK}={mark}");
    // Itself, three guards, three keepers, three etcd, and the shell that waits for one of them.
    assert!(marked(&wanted).len() >= 11, "{:?}", marked(&wanted));
    drop(bench);
    let killed = Instant::now();
    loop {
        let left = marked(&wanted);
        if left.is_empty() {
            return killed.elapsed();
        }
        assert!(killed.elapsed() < Duration::from_secs(30), "left: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that live and have this in their environment.
fn marked(wanted: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("there is a /proc");
    let numbers = all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|one| one == wanted.as_bytes())
    };
    numbers.filter(has).collect()
}

/// A bench that is killed, and has ended, when this is dropped.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
