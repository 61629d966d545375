//! Real systems on hosts of their own: default ports side by side, clusters whose every connection goes by the links.

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::clock::{Clock, Hand};
use machine::launch::{Exit, Launch, Program};
use machine::net::{Host, Network, NodeId, Way};
use rustix::process::Signal;
use support::forward::Forward;
use support::hobbled::{Refused, hobbled};
use support::{PATIENCE, launch, state, until};

/// Three nodes and what lies between them.
struct Three {
    network: Arc<Network>,
    links: Arc<Forward>,
    hosts: Vec<Arc<Host>>,
    folder: tempfile::TempDir,
}

impl Three {
    fn new() -> Self {
        Self::by(Way::here())
    }

    fn by(way: Way) -> Self {
        let network = Network::claim().expect("addresses are free");
        let links = Forward::new(&network);
        let hosts = (1..=3)
            .map(|node| Host::by(way, &network, node, links.clone()))
            .collect();
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self {
            network,
            links,
            hosts,
            folder,
        }
    }

    fn on(&self, node: NodeId, program: &str) -> Launch {
        let folder = self.folder.path().join(node.to_string());
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("a log can be written");
        launch(program)
            .stdout(log.try_clone().expect("it can be copied"))
            .stderr(log)
            .folder(folder)
            .watch(Arc::new(Arc::clone(&self.hosts[usize::from(node) - 1])))
    }

    fn at(&self, node: NodeId, port: u16) -> SocketAddr {
        (self.network.address(node), port).into()
    }

    /// The end of every log, for a failure's sake.
    fn logs(&self) -> String {
        let log = |node| std::fs::read(self.folder.path().join(format!("{node}/log")));
        let end = |text: Vec<u8>| {
            let end = &text[text.len().saturating_sub(2000)..];
            String::from_utf8_lossy(end).into_owned()
        };
        (1..=3)
            .map(|node| format!("--- {node}\n{}\n", log(node).map(end).unwrap_or_default()))
            .collect()
    }
}

/// Sends some bytes, and gives all that comes back until `whole` is content or the other side closes.
fn ask(to: SocketAddr, question: &str, whole: impl Fn(&str) -> bool) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(question.as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
        if whole(&String::from_utf8_lossy(&answer)) {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn post(to: SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let length = body.len();
    let question = format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
    ask(to, &question, |_| false)
}

fn etcd(three: &Three, node: NodeId) -> Program {
    let cluster: Vec<String> = (1..=3)
        .map(|node| format!("n{node}=http://{}", three.at(node, 2380)))
        .collect();
    three
        .on(node, "etcd")
        .args(["--name", &format!("n{node}"), "--data-dir", "data"])
        .args(["--initial-cluster", &cluster.join(",")])
        .args([
            "--initial-advertise-peer-urls",
            &format!("http://{}", three.at(node, 2380)),
        ])
        .start()
        .expect("etcd starts (Debian: apt-get install etcd-server)")
}

#[test]
fn three_etcd_on_their_default_ports_form_a_cluster_by_the_links_alone() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    etcd_forms_a_cluster(&Three::new());
}

#[test]
fn three_etcd_form_one_where_sockets_have_to_be_replaced() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    etcd_forms_a_cluster(&Three::by(Way::Replace));
}

fn etcd_forms_a_cluster(three: &Three) {
    let began = Instant::now();
    let mut nodes: Vec<Program> = (1..=3).map(|node| etcd(three, node)).collect();
    let put = r#"{"key":"Zm9v","value":"YmFy"}"#;
    let written = |node| {
        post(three.at(node, 2379), "/v3/kv/put", put).is_ok_and(|it| it.contains("revision"))
    };
    let end = Instant::now() + PATIENCE;
    while !(1..=3).all(written) {
        assert!(
            Instant::now() < end,
            "no cluster has formed\n{}",
            three.logs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "etcd: formed and written by each node in {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let read = post(three.at(3, 2379), "/v3/kv/range", r#"{"key":"Zm9v"}"#).expect("it answers");
    assert!(read.contains("YmFy"), "{read}");

    // A node that is killed and started again finds its port and its peers again.
    nodes.remove(0).kill().expect("it can be killed");
    nodes.push(etcd(three, 1));
    until("the first node's return", || written(1));

    let pairs: BTreeSet<_> = three.links.seen().into_keys().collect();
    let all = (1..=3)
        .flat_map(|from| (1..=3).map(move |to| (from, to, 2380)))
        .filter(|(from, to, _)| from != to);
    assert_eq!(pairs, all.collect(), "{}", three.logs());
    for host in &three.hosts {
        assert_eq!(host.noticed(), machine::net::Noticed::default());
    }
    for node in &nodes {
        assert_eq!(node.broken(), 0);
    }
}

/// The same, without any right that the tests may have. Where they have none anyhow, this is the same once more.
#[test]
fn three_etcd_need_no_rights() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let test = std::env::current_exe().expect("it has a path");
    let name = "three_etcd_on_their_default_ports_form_a_cluster_by_the_links_alone";
    let output = if rustix::process::getuid().is_root() {
        Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--bounding-set=-all",
            ])
            .arg(test)
            .args(["--exact", name, "--nocapture"])
            .current_dir("/")
            .env("TMPDIR", "/tmp")
            .process_group(0)
            .output()
    } else {
        Command::new(test)
            .args(["--exact", name, "--nocapture"])
            .output()
    };
    let output = output.expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
    println!(
        "without rights: {}",
        text.lines()
            .find(|line| line.contains("etcd: "))
            .unwrap_or_default()
    );
}

/// Go interrupts its own threads every 10 ms, and an older kernel lets it; a container may also refuse to copy descriptors.
#[test]
fn three_etcd_form_one_where_less_is_allowed() {
    if !crate::support::installed::here(&["etcd", "python3"]) {
        return;
    }
    let test = std::env::current_exe().expect("it has a path");
    let withheld = || Refused {
        nr: libc::SYS_seccomp,
        bits: Some((1, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32)),
        errno: libc::EINVAL,
    };
    let copies = || Refused::always(libc::SYS_pidfd_getfd);
    for refused in [vec![withheld()], vec![withheld(), copies()]] {
        let output = hobbled(&refused, test.to_str().expect("a path of text"))
            .args([
                "--exact",
                "three_etcd_on_their_default_ports_form_a_cluster_by_the_links_alone",
            ])
            .output()
            .expect("python3 runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
}

#[test]
fn a_lease_of_etcd_runs_out_by_its_nodes_clock() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let three = Three::new();
    let clock = Clock::new();
    clock.run(Hand::Monotonic, 3.0);
    clock.run(Hand::Wall, 3.0);
    let etcd = three
        .on(1, "etcd")
        .args(["--data-dir", "data"])
        .watch(Arc::new(Arc::clone(&clock)))
        .start()
        .expect("etcd starts (Debian: apt-get install etcd-server)");
    let at = three.at(1, 2379);
    let grant = r#"{"TTL":30,"ID":7}"#;
    until("a lease", || {
        post(at, "/v3/lease/grant", grant).is_ok_and(|it| it.contains("\"TTL\":\"30\""))
    });
    let began = Instant::now();
    let left = || -> Option<i64> {
        let text = post(at, "/v3/lease/timetolive", r#"{"ID":7}"#).ok()?;
        let (_, rest) = text.split_once("\"TTL\":\"")?;
        rest.split('"').next()?.parse().ok()
    };
    until("two thirds of it", || left().is_some_and(|left| left <= 9));
    // 21 s or 20 of its clock's, after at most one that passed before the lease was seen; by the real clock it is 20 at least.
    let took = began.elapsed().as_secs_f64();
    assert!((6.0..18.0).contains(&took), "{took} s\n{}", three.logs());
    assert_eq!((etcd.broken(), clock.missed()), (0, 0));
}

#[test]
fn a_redis_replica_follows_its_master_by_the_link() {
    if !crate::support::installed::here(&["redis-server"]) {
        return;
    }
    let three = Three::new();
    let redis = |node: NodeId| {
        three.on(node, "redis-server").args([
            "--save",
            "",
            "--protected-mode",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ])
    };
    let mut master = redis(1)
        .start()
        .expect("redis-server starts (Debian: apt-get install redis-server)");
    let address = three.network.address(1).to_string();
    let _replica = redis(2)
        .args(["--replicaof", &address, "6379"])
        .start()
        .expect("it starts");
    let said = |node, question: &str, end: &str| {
        ask(three.at(node, 6379), question, |text| {
            text.ends_with(end) || text == "$-1\r\n"
        })
        .unwrap_or_default()
    };
    until("the master", || said(1, "SET k v\r\n", "\r\n") == "+OK\r\n");
    until("the replica's copy", || {
        said(2, "GET k\r\n", "v\r\n") == "$1\r\nv\r\n"
    });
    assert_eq!(
        three.links.seen().into_keys().collect::<Vec<_>>(),
        [(2, 1, 6379)]
    );
    let info = said(2, "INFO replication\r\n", "\r\n\r\n");
    assert!(info.contains(&format!("master_host:{address}")), "{info}");
    let info = said(1, "INFO replication\r\n", "\r\n\r\n");
    assert!(
        info.contains(&format!("slave0:ip={},", three.network.address(2))),
        "{info}"
    );

    master.pause().expect("it can be paused");
    assert_eq!(state(master.pid()), Some('T'));
    master.resume();
    assert_eq!(said(1, "GET k\r\n", "v\r\n"), "$1\r\nv\r\n");
    master.signal(Signal::TERM).expect("it can be told");
    assert_eq!(master.wait(PATIENCE), Some(Exit::Code(0)));
    assert_eq!(master.kill().expect("nothing is left"), Some(Exit::Code(0)));
}
