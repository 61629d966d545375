//! How a node is started, and where it listens then.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use machine::watcher::Watcher;
use rustix::process::Signal;

use super::lines::Post;

/// One process of a node.
#[derive(Clone)]
pub struct Launch {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What is set in its environment (`Some`) or taken from it (`None`), beside what the bench has.
    pub environment: Vec<(String, Option<OsString>)>,
    /// Where it works; the bench's own folder if unsaid.
    pub folder: Option<PathBuf>,
    /// Folders that are made before it starts, with those above them.
    pub folders: Vec<PathBuf>,
    /// Files that are written before it starts, each in one of these folders.
    pub files: Vec<(PathBuf, String)>,
    /// Files of its node's data, with `*`, that it makes anew after a crash: on a host of its own, they are removed at a
    /// power loss.
    pub volatile: Vec<String>,
    /// What asks it to end.
    pub stop_signal: Signal,
    /// How it says that it is ready.
    pub readiness: Readiness,
    /// On a host of its own: where its clients will dial it, known before it listens. Others are led to that host from its
    /// first moment on, and meet there what it has for them.
    pub host: Option<SocketAddr>,
    /// What it hears first, where its nodes speak by lines ([`Transport::Lines`](super::Transport::Lines)): it is ready
    /// when it has answered that.
    pub first_line: Option<String>,
}

impl fmt::Debug for Launch {
    /// Without what is in its environment: there may be a secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Launch {
            program,
            arguments,
            readiness,
            ..
        } = self;
        write!(f, "Launch({program:?} {arguments:?}, {readiness:?})")
    }
}

/// On what the nodes of a target run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machines {
    /// Each is a child on the bench's own machine.
    None,
    /// Each has a disk and clocks of its own, where the run wants some of these to go wrong. They are told whom to dial, by
    /// the addresses of the proxy's links.
    Hardware,
    /// Each has an address of its own, too, because its programs cannot be told whom to dial: they are unmodified, and dial
    /// their peers.
    Whole,
}

/// How a process says that it is ready, and where it listens.
#[derive(Clone)]
pub enum Readiness {
    /// By a line on its stdout.
    Says(Arc<SaysReady>),
    /// It is asked again and again, until it answers.
    Asked(Arc<AskReady>),
}

/// Reads a line: where the process listens, if it says that it is ready.
pub type SaysReady = dyn Fn(&str) -> Option<Listening> + Send + Sync;
/// Asks once: where the process listens, if it is ready.
pub type AskReady = dyn Fn() -> BoxFuture<'static, Option<Listening>> + Send + Sync;

impl Readiness {
    /// Ready is who takes a connection where its clients will dial it.
    #[must_use]
    pub fn accepts(listening: Listening) -> Readiness {
        Readiness::Asked(Arc::new(move || {
            Box::pin(async move {
                let made = tokio::net::TcpStream::connect(listening.clients).await;
                made.ok().map(|_| listening)
            })
        }))
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Readiness::Says(_) => "Says",
            Readiness::Asked(_) => "Asked",
        })
    }
}

/// Where a node listens, by its own addresses: past the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For its peers.
    pub peers: SocketAddr,
    /// For its clients; may be the same.
    pub clients: SocketAddr,
    /// For who turns its disk and clock wrong, and looks at its state.
    pub chaos: Option<SocketAddr>,
    /// For who wants to look at it with `redis-cli`.
    pub redis: Option<SocketAddr>,
}

/// A node that is ready. It may have new ports after each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which node.
    pub id: u64,
    /// Its child's process id.
    pub pid: u32,
    /// Where it listens.
    pub at: Listening,
}

/// What surrounds the nodes: the run's folder, and the addresses by which they are to know each other.
#[derive(Clone, Debug, Default)]
pub struct Wiring {
    /// The run's folder: a node's files are in `nodes/<id>/`, its trace is `trace/<id>.jsonl`.
    pub dir: PathBuf,
    /// For each node its entry in the membership.
    pub advertise: BTreeMap<u64, SocketAddr>,
    /// For each node where it dials each of its peers.
    pub peers: BTreeMap<u64, BTreeMap<u64, SocketAddr>>,
    /// For each node the address of its own host, where each has one; its peers dial it there, on whatever port.
    pub hosts: BTreeMap<u64, Ipv4Addr>,
    /// What carries the nodes' lines, where they speak by those.
    pub post: Option<Arc<dyn Post>>,
    /// Hosts of their own for client programs, where the nodes have them.
    pub clients: Option<Arc<dyn ClientHosts>>,
}

/// Hosts of their own for programs that are clients: what they dial, whatever told them its address, goes by the links of
/// their group.
pub trait ClientHosts: fmt::Debug + Send + Sync {
    /// Who answers the system calls of a client program of this group; `None`: the group has no links.
    fn host(&self, group: u32) -> Option<Arc<dyn Watcher>>;
}

impl Wiring {
    /// What a node has of its own.
    #[must_use]
    pub fn folder(&self, node: u64) -> PathBuf {
        self.dir.join("nodes").join(node.to_string())
    }

    /// Its disk.
    #[must_use]
    pub fn data(&self, node: u64) -> PathBuf {
        self.folder(node).join("data")
    }

    /// Where its trace is written.
    #[must_use]
    pub fn trace(&self, node: u64) -> PathBuf {
        self.dir.join("trace").join(format!("{node}.jsonl"))
    }
}
