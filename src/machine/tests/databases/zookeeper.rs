//! A ZooKeeper (Java) whose power is lost while a client writes, and its sessions, which end by its clock.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use machine::disk::harm::{Harms, SyncHarm};
use machine::disk::undo::PowerLoss;
use machine::launch::{Launch, Program};

use super::free_port;
use crate::node::Node;
use crate::support::until_within;

/// Debian's, of the package `zookeeper`; it names what it needs itself.
pub(crate) const JAR: &str = "/usr/share/java/zookeeper.jar";

/// Java takes its time to begin, and several times that on a host that has other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The types of requests (ZooKeeper's `OpCode`).
const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const CHILDREN: i32 = 8;

/// The kinds of nodes that `create` makes.
pub(crate) const LASTING: i32 = 0;
pub(crate) const EPHEMERAL: i32 = 1;

/// Makes of a launch of `java` one of a ZooKeeper that listens there, with its data in `folder`.
pub(crate) fn java(launch: Launch, folder: &std::path::Path, port: u16) -> Launch {
    let config = folder.join("zoo.cfg");
    let data = folder.display();
    let text = format!(
        "tickTime=2000\ndataDir={data}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    );
    std::fs::write(&config, text).expect("it can be written");
    launch
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        // It does not sync its first, empty snapshot, and without that takes its log for broken.
        .args(["-Dzookeeper.snapshot.trust.empty=true"])
        .args([
            "-cp",
            &format!("{JAR}:/usr/share/java/slf4j-simple.jar"),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        ])
        .args([config])
}

/// A session.
pub(crate) struct Session {
    stream: TcpStream,
    asked: i32,
}

impl Session {
    /// A new session, whose server takes it for gone when it has said nothing for so long.
    pub(crate) fn open(at: SocketAddr, timeout: Duration) -> Option<Self> {
        let stream = TcpStream::connect(at).ok()?;
        // One that still begins takes connections, and may never answer them.
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let mut session = Self { stream, asked: 0 };
        let mut hello = Vec::new();
        hello.extend(0_i32.to_be_bytes());
        hello.extend(0_i64.to_be_bytes());
        hello.extend(i32::try_from(timeout.as_millis()).ok()?.to_be_bytes());
        hello.extend(0_i64.to_be_bytes());
        text(&mut hello, &[0; 16]);
        session.ask(&hello)?;
        session.stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(session)
    }

    /// Makes a node; whether that was acknowledged.
    pub(crate) fn create(&mut self, path: &str, kind: i32) -> bool {
        let mut body = Vec::new();
        text(&mut body, path.as_bytes());
        text(&mut body, b"value");
        // All rights for everybody.
        body.extend(1_i32.to_be_bytes());
        body.extend(31_i32.to_be_bytes());
        text(&mut body, b"world");
        text(&mut body, b"anyone");
        body.extend(kind.to_be_bytes());
        self.request(CREATE, &body).is_some()
    }

    pub(crate) fn exists(&mut self, path: &str) -> bool {
        let mut body = Vec::new();
        text(&mut body, path.as_bytes());
        body.push(0);
        self.request(EXISTS, &body).is_some()
    }

    /// The names of the nodes below this one.
    fn children(&mut self, path: &str) -> Option<BTreeSet<String>> {
        let mut body = Vec::new();
        text(&mut body, path.as_bytes());
        body.push(0);
        let answer = self.request(CHILDREN, &body)?;
        let mut rest = answer.get(4..)?;
        let mut names = BTreeSet::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (name, after) = after.split_at_checked(i32::from_be_bytes(*length) as usize)?;
            names.insert(String::from_utf8_lossy(name).into_owned());
            rest = after;
        }
        Some(names)
    }

    /// The body of an answer without an error.
    fn request(&mut self, kind: i32, body: &[u8]) -> Option<Vec<u8>> {
        self.asked += 1;
        let mut asked = self.asked.to_be_bytes().to_vec();
        asked.extend(kind.to_be_bytes());
        asked.extend(body);
        let answer = self.ask(&asked)?;
        // Its number, the number of the last transaction, the error.
        let error = answer.get(12..16)?;
        (error == [0; 4]).then(|| answer[16..].to_vec())
    }

    fn ask(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let mut asked = Vec::new();
        text(&mut asked, body);
        self.stream.write_all(&asked).ok()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}

/// Bytes with their length before them.
fn text(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as i32).to_be_bytes());
    to.extend(bytes);
}

struct ZooKeeper {
    program: Program,
    at: SocketAddr,
}

impl ZooKeeper {
    fn start(node: &Node) -> Self {
        let port = free_port();
        let log = std::fs::File::create(node.outside().join("log")).expect("it can be made");
        let errors = log.try_clone().expect("a descriptor");
        let launch = java(node.launch("java"), &node.folder(), port);
        let started = launch.stdout(log).stderr(errors).start();
        Self {
            program: started.expect("Java starts"),
            at: (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    /// A session, or nothing where the server has given up.
    fn session(&self) -> Option<Session> {
        let mut session = None;
        until_within(PATIENCE, "a ZooKeeper that serves or ends", || {
            session = Session::open(self.at, Duration::from_secs(30));
            session.is_some() || self.program.exit().is_some()
        });
        session
    }
}

/// Writes, and cuts the power in the middle; how many nodes were acknowledged, and how many of them are gone: all of them,
/// where it does not serve again.
pub(crate) fn loses(rounds: u64, sync: SyncHarm) -> (usize, usize) {
    let node = Node::new();
    let mut acknowledged = BTreeSet::new();
    let mut zookeeper = ZooKeeper::start(&node);
    let mut first = zookeeper.session().expect("it serves");
    assert!(first.create("/all", LASTING));
    for round in 0..rounds {
        let Some(mut session) = zookeeper.session() else {
            break;
        };
        node.disk.harm(Harms {
            sync,
            ..Harms::default()
        });
        for n in 0..30 + round % 5 * 7 {
            let name = format!("{round}-{n}");
            assert!(session.create(&format!("/all/{name}"), LASTING));
            acknowledged.insert(name);
        }
        zookeeper.program.kill().expect("it can be killed");
        let how = match round % 3 {
            0 => PowerLoss::Strict,
            1 => PowerLoss::Subset(round),
            _ => PowerLoss::Torn(round),
        };
        node.disk.power_loss(how).expect("the power can be lost");
        node.disk.harm(Harms::default());
        zookeeper = ZooKeeper::start(&node);
    }
    let there = zookeeper.session().and_then(|mut it| it.children("/all"));
    let there = there.unwrap_or_default();
    zookeeper.program.kill().expect("it can be killed");
    let lost = acknowledged.difference(&there).count();
    (acknowledged.len(), lost)
}
