//! Three etcd on hosts of their own, of which one, two or all lose power at once while six clients write.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use machine::disk::harm::{Harms, SyncHarm};
use machine::disk::undo::PowerLoss;
use machine::disk::{Disk, Settings};
use machine::launch::{Launch, Program};
use machine::net::{Host, Network, NodeId};
use rustix::process::Signal;
use tempfile::TempDir;

use super::wire::{Connection, base64, keys, post, put};
use crate::support::forward::Forward;
use crate::support::{PATIENCE, launch, place, until};

const CLIENTS: u64 = 6;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often a node lost its power.
    pub(crate) losses: u64,
    /// Writes that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Of those the ones that are gone.
    pub(crate) lost: usize,
    /// Nodes that did not serve again.
    pub(crate) dead: usize,
}

/// Three nodes, and what they run on.
pub(crate) struct Three {
    network: Arc<Network>,
    place: TempDir,
    hosts: Vec<Arc<Host>>,
    disks: Vec<Arc<Disk>>,
}

impl Three {
    pub(crate) fn new() -> Self {
        let network = Network::claim().expect("addresses are free");
        let links = Forward::new(&network);
        let place = place();
        let host = |node| Host::new(&network, node, links.clone());
        let disk = |node: NodeId| {
            let folder = place.path().join(format!("{node}/data"));
            std::fs::create_dir_all(&folder).expect("a folder can be made");
            let store = place.path().join(format!("{node}/store"));
            Disk::new(Settings {
                folder,
                store,
                ..Settings::default()
            })
            .expect("a disk")
        };
        Self {
            hosts: (1..=3).map(host).collect(),
            disks: (1..=3).map(disk).collect(),
            network,
            place,
        }
    }

    pub(crate) fn at(&self, node: NodeId) -> SocketAddr {
        (self.network.address(node), 2379).into()
    }

    /// An etcd, by `sh` with this script or by itself.
    pub(crate) fn etcd(&self, node: NodeId, script: Option<&str>) -> Program {
        let url = |node, port| format!("http://{}:{port}", self.network.address(node));
        let cluster: Vec<_> = (1..=3)
            .map(|node| format!("n{node}={}", url(node, 2380)))
            .collect();
        let args = [
            format!("--name=n{node}"),
            "--data-dir=etcd".to_owned(),
            format!("--initial-cluster={}", cluster.join(",")),
            format!("--initial-advertise-peer-urls={}", url(node, 2380)),
        ];
        let folder = self.place.path().join(node.to_string());
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("a log can be written");
        let start: Launch = match script {
            None => launch("etcd"),
            Some(script) => launch("sh").args(["-c", script, "sh", "etcd"]),
        };
        let index = usize::from(node) - 1;
        start
            .args(args)
            .folder(folder.join("data"))
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .watch(Arc::new(self.hosts[index].clone()))
            .watch(self.disks[index].clone())
            .start()
            .expect("etcd starts (Debian: apt-get install etcd-server)")
    }

    /// Whether a node serves within `patience`.
    pub(crate) fn serves(&self, node: NodeId, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let ask = || post(self.at(node), "/v3/kv/put", &put("served"), patience).is_some();
        loop {
            if ask() {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn harm(&self, sync: SyncHarm) {
        for disk in &self.disks {
            disk.harm(Harms {
                sync,
                ..Harms::default()
            });
        }
    }

    /// Six clients write until so many writes are acknowledged and `then` was done; gives the keys that were.
    fn write(&self, round: u64, enough: u64, then: impl FnOnce()) -> Vec<String> {
        let (dark, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let write = |client: u64| {
            let mut connection = None;
            let mut done = Vec::new();
            for n in 0.. {
                if dark.load(Ordering::Relaxed) {
                    break;
                }
                let at = self.at((client % 3) as NodeId + 1);
                connection = connection.or_else(|| Connection::open(at, PATIENCE));
                let key = format!("{round}-{client}-{n}");
                let ask = |it: &mut Connection| it.post("/v3/kv/put", &put(&key));
                if connection.as_mut().and_then(ask).is_none() {
                    connection = None;
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                done.push(key);
            }
            done
        };
        thread::scope(|scope| {
            let write = &write;
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| scope.spawn(move || write(client)))
                .collect();
            until("enough writes", || count.load(Ordering::Relaxed) >= enough);
            then();
            dark.store(true, Ordering::Relaxed);
            let done = clients.into_iter().map(|one| one.join().expect("it asks"));
            done.flatten().collect()
        })
    }
}

/// Cuts the power until nodes have lost it this often, with such syncs.
pub(crate) fn lose_power(losses: u64, sync: SyncHarm) -> Seen {
    let three = Three::new();
    let mut nodes: Vec<Program> = (1..=3).map(|node| three.etcd(node, None)).collect();
    for node in 1..=3 {
        assert!(three.serves(node, PATIENCE), "no cluster has formed");
    }
    let mut seen = Seen::default();
    let mut acknowledged = BTreeSet::new();
    for round in 0.. {
        if seen.losses >= losses || seen.dead > 0 {
            break;
        }
        three.harm(sync);
        // What a liar has not written a majority that does not lie may still have: all of them are to lose it.
        let several = match sync {
            SyncHarm::Lie => 3,
            _ => 1 + round % 3,
        };
        let victims: Vec<usize> = (0..several).map(|n| ((round + n) % 3) as usize).collect();
        acknowledged.extend(three.write(round, 40 + round * 7 % 40, || {
            for victim in &victims {
                let killed = nodes[*victim].signal_all(Signal::KILL);
                killed.expect("it can be killed");
            }
        }));
        for victim in &victims {
            nodes[*victim].kill().expect("all of it is gone");
            let how = match (round + *victim as u64) % 3 {
                0 => PowerLoss::Strict,
                1 => PowerLoss::Subset(round),
                _ => PowerLoss::Torn(round),
            };
            let lost = three.disks[*victim].power_loss(how);
            lost.expect("the power can be lost");
            seen.losses += 1;
        }
        three.harm(SyncHarm::None);
        for victim in &victims {
            nodes[*victim] = three.etcd(*victim as NodeId + 1, None);
        }
        seen.dead = (1..=3)
            .filter(|node| !three.serves(*node, PATIENCE))
            .count();
    }
    seen.acknowledged = acknowledged.len();
    if seen.dead == 0 {
        let there = keys(three.at(1), PATIENCE).expect("it lists its keys");
        let gone = |key: &&String| !there.contains(&base64(key));
        seen.lost = acknowledged.iter().filter(gone).count();
    }
    for mut node in nodes {
        node.kill().expect("it can be killed");
    }
    seen
}
