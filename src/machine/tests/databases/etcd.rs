//! An etcd of one node whose power is lost while clients write.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use machine::disk::harm::{Harms, SyncHarm};
use machine::disk::undo::PowerLoss;
use machine::launch::Program;
use rustix::process::Signal;

use super::free_port;
use super::wire::{base64, keys, post, put};
use crate::node::Node;
use crate::support::{PATIENCE, until};

pub(crate) struct Etcd {
    pub(crate) program: Program,
    port: u16,
}

impl Etcd {
    pub(crate) fn start(node: &Node) -> Self {
        let (port, peer) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(node.outside().join("log")).expect("it can be made");
        let args = [
            "--name=a".to_owned(),
            "--data-dir=etcd".to_owned(),
            format!("--listen-client-urls={}", url(port)),
            format!("--advertise-client-urls={}", url(port)),
            format!("--listen-peer-urls={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
            format!("--initial-cluster=a={}", url(peer)),
        ];
        let errors = log.try_clone().expect("a descriptor");
        let program = node
            .launch("etcd")
            .args(args)
            .stdout(log)
            .stderr(errors)
            .start()
            .expect("etcd starts");
        let etcd = Self { program, port };
        until("etcd", || etcd.put("start", Duration::from_secs(2)));
        etcd
    }

    pub(crate) fn put(&self, key: &str, patience: Duration) -> bool {
        post(self.address(), "/v3/kv/put", &put(key), patience).is_some()
    }

    pub(crate) fn keys(&self) -> BTreeSet<String> {
        keys(self.address(), PATIENCE).expect("it lists its keys")
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// Three clients write while the power goes, whatever etcd is at; how many acknowledged keys are lost in all rounds.
pub(crate) fn loses(rounds: u64, sync: SyncHarm) -> usize {
    let node = Node::new();
    let mut acknowledged = BTreeSet::new();
    let mut etcd = Etcd::start(&node);
    for round in 0..rounds {
        node.disk.harm(Harms {
            sync,
            ..Harms::default()
        });
        let dark = AtomicBool::new(false);
        let promised = thread::scope(|scope| {
            let (asked, dark) = (&etcd, &dark);
            let write = move |client: u32| {
                let keys = (0..).map(|n| format!("{round}-{client}-{n}"));
                let lit = keys.take_while(|_| !dark.load(Ordering::Relaxed));
                lit.filter(|key| asked.put(key, PATIENCE))
                    .collect::<Vec<_>>()
            };
            let clients: Vec<_> = (0..3)
                .map(|client| scope.spawn(move || write(client)))
                .collect();
            let before = node.disk.state().syncs;
            until("some syncs", || {
                node.disk.state().syncs > before + 40 + round * 3
            });
            etcd.program.signal(Signal::KILL).expect("it can be killed");
            dark.store(true, Ordering::Relaxed);
            clients
                .into_iter()
                .flat_map(|client| client.join().expect("it asks"))
                .collect::<Vec<_>>()
        });
        etcd.program.kill().expect("all of it is gone");
        acknowledged.extend(promised);
        let how = match round % 3 {
            0 => PowerLoss::Strict,
            1 => PowerLoss::Subset(round),
            _ => PowerLoss::Torn(round),
        };
        node.disk.power_loss(how).expect("the power can be lost");
        node.disk.harm(Harms::default());
        etcd = Etcd::start(&node);
    }
    let there = etcd.keys();
    etcd.program.kill().expect("it can be killed");
    assert!(
        acknowledged.len() > 20 * rounds as usize,
        "too few writes: {}",
        acknowledged.len()
    );
    acknowledged
        .iter()
        .filter(|key| !there.contains(&base64(key)))
        .count()
}
