//! The systems that are measured, as real processes on the loopback interface; guards end them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use machine::disk::{Disk, Settings, Syncs};
use machine::launch::{Launch, Program, Stream};
use tempfile::TempDir;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use whitewater::wire::kiwi::{
    InitializeRequest, MetricsRequest, NodeConfig,
    raft_admin_service_client::RaftAdminServiceClient,
    raft_client_service_client::RaftClientServiceClient,
    raft_metrics_service_client::RaftMetricsServiceClient,
};
use whitewater::wire::metadata::TOKEN_VARIABLE;

use crate::client::{Client, etcd_status};

/// What does not come in this time never comes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Clients share so many connections, on either system.
const CONNECTIONS: usize = 8;

/// The same leases and snapshots on either system, so that neither does what the other need not: etcd's defaults.
const TIMINGS: [&str; 10] = [
    "--heartbeat-ms",
    "100",
    "--election-min-ms",
    "1000",
    "--election-max-ms",
    "2000",
    "--snapshot-every",
    "100000",
    "--keep-logs",
    "5000",
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Kiwi,
    Etcd,
}

/// A process of a system.
enum Process {
    Child(Child),
    /// On a disk that is watched. It ends when it is dropped.
    Watched(Program),
}

impl Process {
    fn id(&self) -> u32 {
        match self {
            Process::Child(child) => child.id(),
            Process::Watched(program) => program.pid(),
        }
    }
}

/// A running cluster.
pub(crate) struct System {
    name: String,
    kind: Kind,
    children: Vec<Process>,
    /// Where clients ask, by node.
    addresses: Vec<String>,
    _folder: TempDir,
}

impl Drop for System {
    fn drop(&mut self) {
        for child in &mut self.children {
            let Process::Child(child) = child else {
                continue;
            };
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts our node.
pub(crate) struct Kiwi;

impl Kiwi {
    /// Starts a cluster of `count` nodes of this program and waits until one leads.
    pub(crate) async fn start(name: &str, count: u64, data: &Path, flags: &[&str]) -> System {
        Kiwi::set(name, count, data, flags, None).await
    }

    /// Starts three nodes, on disks that are watched and whose syncs do this, or on none.
    pub(crate) async fn start_on(syncs: Option<Syncs>, data: &Path) -> System {
        let name = match syncs {
            Some(Syncs::Virtual(_)) => "virtual",
            Some(Syncs::Real) => "watched",
            None => "unwatched",
        };
        Kiwi::set(name, 3, data, &[], syncs).await
    }

    async fn set(
        name: &str,
        count: u64,
        data: &Path,
        flags: &[&str],
        syncs: Option<Syncs>,
    ) -> System {
        let folder = tempfile::tempdir_in(data).expect("a folder");
        let addresses: BTreeMap<u64, String> = (1..=count).zip(free_addresses(count)).collect();
        let me = std::env::current_exe().expect("this program");
        let mut system = System::new(name, Kind::Kiwi, addresses.values().cloned(), folder);
        for (id, address) in &addresses {
            let mut command = Command::new(&me);
            command.env_remove(TOKEN_VARIABLE);
            command.args(["node", "--parent-watch", "--id", &id.to_string()]);
            command
                .args(["--listen", address])
                .args(TIMINGS)
                .args(flags);
            for (peer, address) in &addresses {
                command.args(["--peer", &format!("{peer}={address}")]);
            }
            match syncs {
                Some(syncs) => system.spawn_watched(&command, &id.to_string(), syncs),
                None => system.spawn(command, &id.to_string(), "--data"),
            }
        }
        let nodes = addresses.iter().map(|(id, address)| NodeConfig {
            node_id: *id,
            raft_addr: address.clone(),
            resp_addr: String::new(),
        });
        let request = InitializeRequest {
            nodes: nodes.collect(),
        };
        let began = Instant::now();
        loop {
            let mut admin = RaftAdminServiceClient::new(channel(&system.addresses[0]));
            match admin.initialize(request.clone()).await {
                Ok(_) => break,
                Err(status) => assert!(began.elapsed() < DEADLINE, "initialize: {status}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        system
    }
}

/// Starts etcd.
pub(crate) struct Etcd;

impl Etcd {
    /// Starts three members with etcd's own defaults; `None` where there is no etcd.
    pub(crate) async fn start(name: &str, data: &Path) -> Option<System> {
        let known = Command::new("etcd").arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&known.stdout);
        println!("{}", version.lines().next().unwrap_or_default());
        let folder = tempfile::tempdir_in(data).expect("a folder");
        let addresses = free_addresses(6);
        let (clients, peers) = addresses.split_at(3);
        let members: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(number, address)| format!("m{number}=http://{address}"))
            .collect();
        let mut system = System::new(name, Kind::Etcd, clients.iter().cloned(), folder);
        for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let mut command = Command::new("etcd");
            command.args(["--name", &format!("m{number}")]);
            for flag in ["--listen-client-urls", "--advertise-client-urls"] {
                command.args([flag, &format!("http://{client}")]);
            }
            for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
                command.args([flag, &format!("http://{peer}")]);
            }
            command.args(["--initial-cluster", &members.join(",")]);
            command.args(["--initial-cluster-state", "new"]);
            command.args(["--logger", "zap", "--log-level", "error"]);
            system.spawn(command, &format!("m{number}"), "--data-dir");
        }
        Some(system)
    }
}

impl System {
    fn new(
        name: &str,
        kind: Kind,
        addresses: impl Iterator<Item = String>,
        folder: TempDir,
    ) -> System {
        System {
            name: name.to_owned(),
            kind,
            children: Vec::new(),
            addresses: addresses.collect(),
            _folder: folder,
        }
    }

    /// Starts one member, with its data and its output in the system's folder.
    fn spawn(&mut self, mut command: Command, member: &str, data_flag: &str) {
        let folder = self._folder.path();
        let output = File::create(folder.join(format!("{member}.log"))).expect("a file");
        command
            .arg(data_flag)
            .arg(folder.join(member))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(output);
        let child = command.spawn().expect("it starts");
        self.children.push(Process::Child(child));
    }

    /// The same of our own node, on a disk that is watched.
    fn spawn_watched(&mut self, command: &Command, member: &str, syncs: Syncs) {
        let folder = self._folder.path();
        let data = folder.join(member);
        std::fs::create_dir(&data).expect("a folder");
        let disk = Disk::new(Settings {
            folder: data.clone(),
            store: folder.join(format!("{member}.unsynced")),
            syncs,
            ..Settings::default()
        });
        let output = File::create(folder.join(format!("{member}.log"))).expect("a file");
        let launch = Launch::new(command.get_program())
            .args(command.get_args())
            .args([OsStr::new("--data"), data.as_os_str()])
            .without(TOKEN_VARIABLE)
            .stdin(Stream::Pipe)
            .stderr(output)
            .watch(disk.expect("a disk"));
        let program = launch.start().expect("it starts");
        self.children.push(Process::Watched(program));
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Connects so many clients to the leader.
    pub(crate) async fn connect(&self, clients: usize) -> Vec<Client> {
        let leader = self.leader().await;
        let channels: Vec<Channel> = (0..clients.min(CONNECTIONS))
            .map(|_| channel(leader))
            .collect();
        let client = |channel: &Channel| match self.kind {
            Kind::Kiwi => Client::Kiwi(RaftClientServiceClient::new(channel.clone())),
            Kind::Etcd => Client::Etcd(Grpc::new(channel.clone())),
        };
        channels.iter().cycle().take(clients).map(client).collect()
    }

    /// Where the leader is asked.
    async fn leader(&self) -> &str {
        let began = Instant::now();
        loop {
            for address in &self.addresses {
                let leads = match self.kind {
                    Kind::Kiwi => kiwi_leads(address).await,
                    Kind::Etcd => etcd_leads(address).await,
                };
                if leads {
                    return address;
                }
            }
            assert!(began.elapsed() < DEADLINE, "nobody leads {}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// CPU time that its processes have used, of user and kernel. What the bench does for one that is watched is not in it.
    pub(crate) fn cpu(&self) -> Duration {
        let ticks: u64 = self.children.iter().map(|child| ticks(child.id())).sum();
        // USER_HZ is 100 on every Linux that runs this.
        Duration::from_millis(ticks * 10)
    }
}

async fn kiwi_leads(address: &str) -> bool {
    let mut client = RaftMetricsServiceClient::new(channel(address));
    let metrics = client.metrics(MetricsRequest {}).await;
    metrics.is_ok_and(|metrics| metrics.into_inner().is_leader)
}

async fn etcd_leads(address: &str) -> bool {
    let Ok(status) = etcd_status(channel(address)).await else {
        return false;
    };
    status
        .header
        .is_some_and(|header| header.member_id == status.leader)
}

fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URI");
    endpoint
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(1))
        .timeout(Duration::from_secs(10))
        .connect_lazy()
}

/// User and kernel time of a process, in clock ticks: fields 14 and 15 of its `stat`.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn free_addresses(count: u64) -> Vec<String> {
    // Bound together, so that no address comes twice.
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners: Vec<_> = (0..count).map(bind).collect();
    let address = |listener: &TcpListener| listener.local_addr().expect("bound").to_string();
    listeners.iter().map(address).collect()
}
