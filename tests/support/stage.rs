//! A real cluster behind the network with a nemesis of its own, for tests that put single faults in and look at the
//! nodes: children, links and hand are those of a run.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkers::history::Header;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use whitewater::cluster::{Cluster, ClusterConfig, Equipment, NodeView};
use whitewater::fault::plan::{Episode, Plan};
use whitewater::fault::{Fault, FaultId};
use whitewater::journal::Event;
use whitewater::nemesis::{Nemesis, Order, Parties, Went};
use whitewater::proxy::{Endpoint, Level, Network, NetworkConfig, Route};
use whitewater::recorder::Recorder;
use whitewater::target::StateHash;
use whitewater::target::kiwi::{Kiwi, KiwiConfig};
use whitewater::testbed::Testbed;
use whitewater::wire::kiwi::raft_client_service_client::RaftClientServiceClient;
use whitewater::wire::kiwi::raft_metrics_service_client::RaftMetricsServiceClient;
use whitewater::wire::kiwi::{Binlog, BinlogEntry, MetricsRequest, MetricsResponse, WriteRequest};

pub const MS: Duration = Duration::from_millis(1);
/// Longer than anything that should happen.
pub const SOON: Duration = Duration::from_secs(20);
/// Several heartbeats: what is cut is seen to be, what flows is seen to flow.
pub const WHILE: Duration = Duration::from_millis(450);

/// Nodes with a leader, and who hurts them. The nemesis goes first, then the children, then the network.
pub struct Stage {
    pub nodes: Vec<u64>,
    orders: mpsc::Sender<Order>,
    deeds: mpsc::UnboundedReceiver<Event>,
    held: watch::Sender<bool>,
    /// The plan as it has gone, where somebody had a part in it.
    went: watch::Receiver<Went>,
    kiwi: Arc<Kiwi>,
    pub cluster: Arc<Cluster>,
    pub network: Arc<Network>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// So many nodes, all of them voters.
    pub async fn of(nodes: u64) -> Stage {
        Stage::start(nodes, nodes, |_| ()).await
    }

    /// So many nodes, the first of them voters.
    pub async fn start(nodes: u64, voters: u64, change: impl FnOnce(&mut KiwiConfig)) -> Stage {
        Stage::playing(nodes, voters, change, Plan::default()).await
    }

    /// So many voters, on hosts with disks and clocks that can go wrong.
    pub async fn on_hosts(nodes: u64) -> Stage {
        let equipment = Equipment {
            disk: true,
            clock: true,
            ..Equipment::default()
        };
        Stage::set(equipment, [nodes, nodes], |_| (), Plan::default()).await
    }

    /// As [`Stage::start`], with a plan that stands until it is ordered to go.
    pub async fn playing(
        nodes: u64,
        voters: u64,
        change: impl FnOnce(&mut KiwiConfig),
        plan: Plan,
    ) -> Stage {
        Stage::set(Equipment::default(), [nodes, voters], change, plan).await
    }

    async fn set(
        equipment: Equipment,
        [nodes, voters]: [u64; 2],
        change: impl FnOnce(&mut KiwiConfig),
        plan: Plan,
    ) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let nodes: Vec<u64> = (1..=nodes).collect();
        let groups: Vec<u32> = vec![0, 1];
        let network = NetworkConfig {
            client_groups: groups.iter().copied().collect(),
            client_level: Level::Messages,
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
        let voters: Vec<u64> = (1..=voters).collect();
        testbed.start(&nodes, &voters, SOON).await.unwrap();
        let Testbed {
            cluster, network, ..
        } = testbed;
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path, &Header::register(1), Vec::new()).unwrap();
        let (tell, deeds) = mpsc::unbounded_channel();
        let (keep, went) = watch::channel(Went::default());
        let nemesis = Nemesis::new(
            cluster.clone(),
            network.clone(),
            Arc::new(recorder),
            Parties {
                nodes: nodes.clone(),
                voters,
                groups,
            },
            plan,
            Box::new(move |event| {
                // A test that has ended does not listen.
                let _ = tell.send(event);
            }),
        );
        let nemesis = nemesis.kept_by(Box::new(move |went| drop(keep.send_replace(went))));
        let (orders, asked) = mpsc::channel(8);
        let (held, is_held) = watch::channel(false);
        tokio::spawn(nemesis.held_by(is_held).work(asked));
        Stage {
            nodes,
            orders,
            deeds,
            held,
            went,
            kiwi,
            cluster,
            network,
            dir,
        }
    }

    /// The workload begins, and the plan with it.
    pub async fn begin(&self) {
        self.order(Order::Begin).await;
    }

    /// The plan as it went, once everything is over.
    pub async fn went(mut self) -> Plan {
        self.order(Order::End).await;
        let over = tokio::time::timeout(SOON, self.went.wait_for(|went| went.over)).await;
        let went = over.expect("it ends").expect("it says how it went").clone();
        went.plan
    }

    /// Holds the nemesis, as somebody who looks at a violation does.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// What the nemesis did next.
    pub async fn deed(&mut self) -> Event {
        let deed = tokio::time::timeout(SOON, self.deeds.recv()).await;
        deed.expect("it does something").expect("it lives")
    }

    /// Puts a fault in; it must take effect.
    pub async fn inject(&mut self, fault: Fault) -> FaultId {
        let episode = Episode::until_healed(vec![fault.by_id()]);
        self.order(Order::Inject(vec![episode])).await;
        match self.deeds.recv().await {
            Some(Event::FaultIn { id, .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Puts a fault in while the key "work" is written again and again: one of a disk is believed once a call has met it.
    pub async fn inject_at_work(&mut self, fault: Fault) -> FaultId {
        let episode = Episode::until_healed(vec![fault.by_id()]);
        self.order(Order::Inject(vec![episode])).await;
        loop {
            match self.deeds.try_recv() {
                Ok(Event::FaultIn { id, .. }) => return id,
                Ok(other) => panic!("{other:?}"),
                Err(mpsc::error::TryRecvError::Empty) => self.serves("work").await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asks for a fault that is not to be had; gives why.
    pub async fn is_refused(&mut self, fault: Fault) -> String {
        let episode = Episode::until_healed(vec![fault.by_id()]);
        self.order(Order::Inject(vec![episode])).await;
        match self.deeds.recv().await {
            Some(Event::FaultSkipped { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Puts a fault in that is over at once.
    pub async fn do_once(&mut self, fault: Fault) {
        let id = self.inject(fault).await;
        match self.deeds.recv().await {
            Some(Event::FaultOut { id: out, .. }) => assert_eq!(out, id),
            other => panic!("{other:?}"),
        }
    }

    pub async fn heal(&mut self, id: FaultId) {
        self.orders.send(Order::Heal(id)).await.unwrap();
        match self.deeds.recv().await {
            Some(Event::FaultOut { id: out, .. }) => assert_eq!(out, id),
            other => panic!("{other:?}"),
        }
    }

    pub async fn leader(&self) -> u64 {
        let found = self.cluster.wait_for_leader(&self.nodes, SOON).await;
        found
            .unwrap_or_else(|error| panic!("could not {error}"))
            .leader
    }

    /// A leader and the others, in the order of their ids.
    pub async fn roles(&self) -> (u64, Vec<u64>) {
        let leader = self.leader().await;
        let others = self.nodes.iter().copied().filter(|&id| id != leader);
        (leader, others.collect())
    }

    /// All that a node says of itself, in its own protocol.
    pub async fn status(&self, id: u64) -> MetricsResponse {
        let began = Instant::now();
        loop {
            match self.metrics(id).await {
                Ok(metrics) => return metrics,
                Err(seen) => assert!(began.elapsed() < SOON, "n{id}: {seen}"),
            }
        }
    }

    async fn metrics(&self, id: u64) -> Result<MetricsResponse, String> {
        let ready = self.view(id).ready.ok_or("it is not ready")?;
        let uri = format!("http://{}", ready.at.clients);
        let endpoint = tonic::transport::Endpoint::from_shared(uri).unwrap();
        let channel = self.kiwi.credentials(id).on(endpoint.connect_lazy());
        let mut client = RaftMetricsServiceClient::new(channel);
        let asked = tokio::time::timeout(250 * MS, client.metrics(MetricsRequest {})).await;
        let answer = asked.map_err(|_| "no answer within 250 ms".to_owned())?;
        let answer = answer.map_err(|status| status.to_string())?;
        Ok(answer.into_inner())
    }

    pub fn view(&self, id: u64) -> NodeView {
        self.cluster.view(id).expect("it was started")
    }

    /// Those that have a vote, as the leader says.
    pub async fn voters(&self) -> BTreeSet<u64> {
        let leader = self.leader().await;
        let membership = self.status(leader).await.membership;
        let sets = membership.into_iter().flat_map(|m| m.configs);
        sets.flat_map(|set| set.node_ids).collect()
    }

    /// Requests of these kinds that have arrived at a node from others.
    pub async fn arrived(&self, id: u64, kinds: &[&str]) -> u64 {
        let received = self.status(id).await.received;
        let counted = kinds.iter().filter_map(|&kind| received.get(kind));
        counted.sum()
    }

    /// Requests of these kinds that have arrived at any node from others.
    pub async fn arrived_anywhere(&self, kinds: &[&str]) -> u64 {
        let mut arrived = 0;
        for &id in &self.nodes {
            arrived += self.arrived(id, kinds).await;
        }
        arrived
    }

    /// All requests that have arrived at a node.
    pub async fn heard(&self, id: u64) -> u64 {
        self.status(id).await.received.values().sum()
    }

    /// The directed links between these nodes on which bytes arrived within a while.
    pub async fn flowing(&self) -> BTreeSet<(u64, u64)> {
        let before = self.network.snapshot();
        tokio::time::sleep(WHILE).await;
        let after = self.network.snapshot();
        let pairs = self
            .nodes
            .iter()
            .flat_map(|&from| self.nodes.iter().map(move |&to| (from, to)));
        pairs
            .filter(|&(from, to)| {
                from != to && after.between(from, to).bytes_out > before.between(from, to).bytes_out
            })
            .collect()
    }

    /// Writes a key through the clients' link to a node.
    pub async fn write(&self, to: u64, key: &str, deadline: Duration) -> Result<(), Status> {
        let from = Endpoint::Clients(1);
        let address = self.network.address(Route { from, to });
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_timeout(Duration::from_millis(500))
            .connect_lazy();
        let entry = BinlogEntry {
            cf_idx: 0,
            op_type: "Put".into(),
            key: key.to_owned().into(),
            value: "1".into(),
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
        let call = tokio::time::timeout(deadline, client.write(request)).await;
        call.map_err(|_| Status::deadline_exceeded("no answer"))?
            .map(drop)
    }

    /// Writes through whoever leads until one is acknowledged.
    pub async fn serves(&self, key: &str) {
        let began = Instant::now();
        loop {
            let leader = self.leader().await;
            match self.write(leader, key, Duration::from_secs(2)).await {
                Ok(()) => return,
                Err(status) => assert!(began.elapsed() < SOON, "write {key}: {status}"),
            }
        }
    }

    /// How many keys a node holds now.
    pub async fn keys(&self, id: u64) -> u64 {
        self.cluster.state_hash(id).await.unwrap().keys
    }

    /// Waits until these have one state, at one applied log id.
    pub async fn agree(&self) -> StateHash {
        self.until("one state", async || {
            let mut all = Vec::new();
            for &id in &self.nodes {
                all.push(
                    self.cluster
                        .state_hash(id)
                        .await
                        .map_err(|e| e.to_string())?,
                );
            }
            match all.iter().all(|hash| *hash == all[0]) {
                true => Ok(all.swap_remove(0)),
                false => Err(format!("{all:?}")),
            }
        })
        .await
    }

    /// Waits for something, and says what it saw last when it does not come.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
        let began = Instant::now();
        loop {
            match look().await {
                Ok(there) => return there,
                Err(seen) => assert!(began.elapsed() < SOON, "wait for {what}: {seen}"),
            }
            tokio::time::sleep(10 * MS).await;
        }
    }

    pub fn trace(&self, id: u64) -> PathBuf {
        self.dir.path().join("trace").join(format!("{id}.jsonl"))
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}
