//! Three real nodes as children behind the network, for the tests that hurt them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use whitewater::cluster::{ChildState, Cluster, ClusterConfig, Equipment};
use whitewater::proxy::{Direction, Guard, Level, Network, NetworkConfig, Route};
use whitewater::target::kiwi::{Kiwi, KiwiConfig};
use whitewater::target::{LeaderSeen, StateHash};
use whitewater::testbed::Testbed;
use whitewater::wire::kiwi::raft_client_service_client::RaftClientServiceClient;
use whitewater::wire::kiwi::{Binlog, BinlogEntry, WriteRequest};

pub const NODES: [u64; 3] = [1, 2, 3];
pub const SOON: Duration = Duration::from_secs(20);
pub const MS: Duration = Duration::from_millis(1);

/// A client waits so long for its answer.
pub const ANSWER: Duration = Duration::from_secs(2);

/// Three nodes with a leader. The cluster is dropped before its network.
pub struct Bench {
    kiwi: Arc<Kiwi>,
    pub cluster: Arc<Cluster>,
    pub network: Arc<Network>,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub async fn start(level: Level) -> Bench {
        Bench::start_with(level, |_| ()).await
    }

    pub async fn start_with(level: Level, change: impl FnOnce(&mut KiwiConfig)) -> Bench {
        Bench::start_on(Equipment::default(), level, change).await
    }

    /// On hosts of which this is watched.
    pub async fn start_on(
        equipment: Equipment,
        level: Level,
        change: impl FnOnce(&mut KiwiConfig),
    ) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let network = NetworkConfig {
            node_level: level,
            client_level: level,
            seed: 1,
            ..NetworkConfig::default()
        };
        let mut config = KiwiConfig::guarded().unwrap();
        let program = env!("CARGO_BIN_EXE_whitewater");
        config.command = vec![program.into(), "node".into()];
        change(&mut config);
        let kiwi = Arc::new(Kiwi::new(config));
        let mut cluster = ClusterConfig::new(dir.path().into(), kiwi.clone());
        cluster.equipment = equipment;
        cluster.keeper = program.into();
        let testbed = Testbed::new(network, cluster).unwrap();
        testbed.start(&NODES, &NODES, SOON).await.unwrap();
        let Testbed {
            cluster, network, ..
        } = testbed;
        Bench {
            kiwi,
            cluster,
            network,
            _dir: dir,
        }
    }

    pub async fn leader(&self) -> LeaderSeen {
        let found = self.cluster.wait_for_leader(&NODES, SOON).await;
        found.unwrap_or_else(|error| panic!("could not {error}"))
    }

    /// A leader that two of three agree on, other than this one.
    pub async fn another_leader(&self, than: u64) -> LeaderSeen {
        let began = Instant::now();
        loop {
            let seen = self.leader().await;
            if seen.leader != than {
                return seen;
            }
            assert!(
                began.elapsed() < SOON,
                "n{than} still leads: {:?}",
                self.cluster.views()
            );
            tokio::time::sleep(20 * MS).await;
        }
    }

    pub async fn write(&self, to: u64, key: &str) -> Result<(), tonic::Status> {
        self.write_value(to, key, "1".into()).await
    }

    pub async fn write_value(&self, to: u64, key: &str, value: Bytes) -> Result<(), tonic::Status> {
        let address = self.network.address(Route::clients(1, to));
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .timeout(ANSWER)
            .connect_timeout(Duration::from_millis(200))
            .connect_lazy();
        let entry = BinlogEntry {
            cf_idx: 0,
            op_type: "Put".into(),
            key: key.to_owned().into(),
            value,
        };
        let request = WriteRequest {
            binlog: Some(Binlog {
                entries: vec![entry],
                ..Binlog::default()
            }),
            ..WriteRequest::default()
        };
        let channel = self.kiwi.credentials(to).on(channel);
        let mut client = RaftClientServiceClient::new(channel);
        client.write(request).await.map(|_| ())
    }

    /// Writes through whoever leads until one is acknowledged.
    pub async fn write_somewhere(&self, key: &str) {
        let began = Instant::now();
        loop {
            let leader = self.leader().await.leader;
            match self.write(leader, key).await {
                Ok(()) => return,
                Err(status) => assert!(began.elapsed() < SOON, "write {key}: {status}"),
            }
        }
    }

    /// Waits until all three have one state at one applied log id.
    pub async fn agree(&self) -> StateHash {
        let began = Instant::now();
        loop {
            let mut hashes = BTreeMap::new();
            for id in NODES {
                hashes.insert(id, self.cluster.state_hash(id).await);
            }
            let all: Vec<&StateHash> = hashes.values().filter_map(|h| h.as_ref().ok()).collect();
            if all.len() == NODES.len() && all.iter().all(|hash| *hash == all[0]) {
                return all[0].clone();
            }
            assert!(began.elapsed() < SOON, "{hashes:?}");
            tokio::time::sleep(20 * MS).await;
        }
    }

    /// SIGKILL for these at the same time, what they had not synced is gone, then all of them again.
    pub async fn power_loss(&self, nodes: &[u64]) {
        for killed in join_all(nodes.iter().map(|&id| self.cluster.kill(id))).await {
            killed.unwrap();
        }
        for &id in nodes {
            self.cluster.power_fails(id).await.unwrap();
        }
        self.cluster.start_all(nodes).await.unwrap();
    }

    pub async fn isolate(&self, node: u64) -> Guard {
        let others = NODES.iter().filter(|&&other| other != node);
        let guard = Guard::join(others.flat_map(|&other| {
            [
                self.network.cut(Direction::nodes(node, other)),
                self.network.cut(Direction::nodes(other, node)),
            ]
        }));
        let probe = self.network.verify(&guard).await;
        assert!(probe.effective, "{probe:?}");
        guard
    }

    /// Starts a node that is down on its own disk.
    pub async fn start_again(&self, node: u64) {
        self.cluster.start(node).await.unwrap();
    }

    /// Fails where a child ended and nobody had ended it.
    pub fn nobody_ended_by_itself(&self) {
        let exits = self.cluster.exits();
        assert!(exits.is_empty(), "{exits:?}");
    }

    /// Waits until a child has ended by itself.
    pub async fn ended(&self, node: u64) {
        let began = Instant::now();
        while self.cluster.view(node).unwrap().state != ChildState::Dead {
            assert!(
                began.elapsed() < SOON,
                "n{node} goes on: {}",
                self.cluster.log_tail(node)
            );
            tokio::time::sleep(20 * MS).await;
        }
    }
}

/// A node other than this one.
pub fn other_than(node: u64) -> u64 {
    let found = NODES.into_iter().find(|&id| id != node);
    found.expect("there are three")
}
