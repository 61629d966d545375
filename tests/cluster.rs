//! Real nodes as children behind the network: a cut leader is replaced, a late vote hurts nobody, a killed or paused
//! node comes back, and after healing all states agree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use whitewater::cluster::{
    ChildState, Cluster, ClusterConfig, DiskSwitches, LeaderSeen, StateHash,
};
use whitewater::proxy::{
    Action, Delay, Direction, Guard, Level, Match, MessageRule, Methods, Network, NetworkConfig,
    Route,
};
use whitewater::wire::kiwi::raft_client_service_client::RaftClientServiceClient;
use whitewater::wire::kiwi::{Binlog, BinlogEntry, WriteRequest};

const NODES: [u64; 3] = [1, 2, 3];
const SOON: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);

/// Three nodes with a leader. The cluster is dropped before its network.
struct Bench {
    cluster: Cluster,
    network: Arc<Network>,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn start(level: Level) -> Bench {
        Bench::start_with(level, |_| ()).await
    }

    async fn start_with(level: Level, change: impl FnOnce(&mut ClusterConfig)) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::start(NetworkConfig {
            node_level: level,
            client_level: level,
            seed: 1,
            ..NetworkConfig::default()
        });
        let network = Arc::new(network.unwrap());
        let mut config = ClusterConfig::new(dir.path().into());
        let program = env!("CARGO_BIN_EXE_whitewater");
        config.command = vec![program.into(), "node".into()];
        for id in NODES {
            let address = network.address(Route::clients(0, id));
            config.advertise.insert(id, address);
            let others = (1..=9).filter(|&to| to != id);
            let peers = others.map(|to| (to, network.address(Route::nodes(id, to))));
            config.peers.insert(id, peers.collect());
        }
        change(&mut config);
        let cluster = Cluster::new(config).unwrap();
        for ready in cluster.start_all(&NODES).await.unwrap() {
            network.set_upstream(ready.id, Some(ready.raft));
        }
        cluster.initialize(&NODES).await.unwrap();
        Bench {
            cluster,
            network,
            _dir: dir,
        }
    }

    async fn leader(&self) -> LeaderSeen {
        let found = self.cluster.wait_for_leader(&NODES, SOON).await;
        found.unwrap_or_else(|error| panic!("could not {error}"))
    }

    /// A leader that two of three agree on, other than this one.
    async fn another_leader(&self, than: u64) -> LeaderSeen {
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

    async fn write(&self, to: u64, key: &str) -> Result<(), tonic::Status> {
        let address = self.network.address(Route::clients(1, to));
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .timeout(Duration::from_secs(2))
            .connect_timeout(Duration::from_millis(200))
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
        let mut client = RaftClientServiceClient::new(channel);
        client.write(request).await.map(|_| ())
    }

    /// Writes through whoever leads until one is acknowledged.
    async fn write_somewhere(&self, key: &str) {
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
    async fn agree(&self) -> StateHash {
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

    /// SIGKILL for these at the same time, then all of them again.
    async fn power_loss(&self, nodes: &[u64]) {
        for killed in join_all(nodes.iter().map(|&id| self.cluster.kill(id))).await {
            killed.unwrap();
        }
        for ready in self.cluster.start_all(nodes).await.unwrap() {
            self.network.set_upstream(ready.id, Some(ready.raft));
        }
    }

    async fn isolate(&self, node: u64) -> Guard {
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
}

async fn a_cut_leader_is_replaced(level: Level) {
    let bench = Bench::start(level).await;
    bench.write_somewhere("before").await;
    let old = bench.leader().await;
    let guard = bench.isolate(old.leader).await;
    let new = bench.another_leader(old.leader).await;
    assert!(new.term > old.term, "{old:?} {new:?}");
    bench.write_somewhere("during").await;
    let alone = bench.cluster.state_hash(old.leader).await.unwrap();
    assert_eq!(alone.keys, 1, "what it does not hear it cannot know");
    guard.heal();
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 3);
    assert!(
        bench.cluster.exits().is_empty(),
        "{:?}",
        bench.cluster.exits()
    );
}

#[tokio::test]
async fn a_cut_leader_is_replaced_behind_links_of_messages() {
    a_cut_leader_is_replaced(Level::Messages).await;
}

#[tokio::test]
async fn a_cut_leader_is_replaced_behind_links_of_bytes() {
    a_cut_leader_is_replaced(Level::Bytes).await;
}

#[tokio::test]
async fn late_and_doubled_votes_and_lost_answers_are_survived() {
    let bench = Bench::start(Level::Messages).await;
    let old = bench.leader().await;
    let routes: Vec<Route> = NODES
        .iter()
        .flat_map(|&from| NODES.iter().map(move |&to| (from, to)))
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Route::nodes(from, to))
        .collect();
    let put = |methods, per_mille, action| {
        let mut matching = Match::every(methods);
        matching.per_mille = per_mille;
        bench
            .network
            .put_rule(&routes, &MessageRule { matching, action })
    };
    let guards = [
        put(
            Methods::Votes,
            1000,
            Action::Duplicate {
                copies: 2,
                gap: 30 * MS,
            },
        ),
        put(
            Methods::Votes,
            300,
            Action::DelayRequest(Delay::Uniform {
                least: 50 * MS,
                most: 400 * MS,
            }),
        ),
        put(Methods::Heartbeats, 100, Action::DropResponse),
        put(Methods::Heartbeats, 100, Action::Replay),
    ];
    bench.cluster.kill(old.leader).await.unwrap();
    bench.network.set_upstream(old.leader, None);
    bench.another_leader(old.leader).await;
    bench.write_somewhere("one").await;
    let ready = bench.cluster.start(old.leader).await.unwrap();
    bench.network.set_upstream(old.leader, Some(ready.raft));
    // The heartbeats go on; it is over when each kind of fault has acted.
    let began = Instant::now();
    let (mut doubled, mut unanswered, mut replayed) = (0, 0, 0);
    while doubled == 0 || unanswered == 0 || replayed == 0 {
        for decision in bench.network.take_decisions().made {
            match decision.action {
                Action::Duplicate { .. } => doubled += 1,
                Action::DropResponse => unanswered += 1,
                Action::Replay => replayed += 1,
                _ => {}
            }
        }
        assert!(began.elapsed() < SOON, "{doubled} {unanswered} {replayed}");
        tokio::time::sleep(20 * MS).await;
    }
    drop(guards);
    bench.write_somewhere("two").await;
    assert_eq!(bench.agree().await.keys, 2);
}

#[tokio::test]
async fn a_paused_leader_comes_back_as_a_follower_and_a_restarted_node_keeps_its_data() {
    let bench = Bench::start(Level::Messages).await;
    bench.write_somewhere("one").await;
    let old = bench.leader().await;
    bench.cluster.pause(old.leader).await.unwrap();
    let new = bench.another_leader(old.leader).await;
    bench.cluster.resume(old.leader).await.unwrap();
    bench.write_somewhere("two").await;
    assert_eq!(bench.agree().await.keys, 2);

    // A graceful restart of a follower keeps its data.
    let follower = NODES
        .into_iter()
        .find(|&id| id != new.leader && id != old.leader)
        .unwrap();
    let ready = bench.cluster.restart(follower).await.unwrap();
    bench.network.set_upstream(follower, Some(ready.raft));
    assert_eq!(bench.agree().await.keys, 2);
    let view = bench.cluster.view(follower).unwrap();
    assert_eq!((view.state, view.restarts), (ChildState::Up, 1));
    assert!(
        bench.cluster.exits().is_empty(),
        "{:?}",
        bench.cluster.exits()
    );
}

#[tokio::test]
async fn without_a_defect_no_hook_is_called() {
    let bench = Bench::start(Level::Messages).await;
    for n in 0..20 {
        bench.write_somewhere(&format!("k{n}")).await;
    }
    bench.agree().await;
    for id in NODES {
        let said = bench.cluster.defect_counters(id).await.unwrap();
        assert_eq!(
            (said.defect.as_str(), said.reached, said.triggered),
            ("", 0, 0),
            "n{id}"
        );
    }
}

#[tokio::test]
async fn a_planted_defect_counts_that_its_hook_was_reached() {
    let planted = |config: &mut ClusterConfig| config.defect = Some("early-log-ack".to_owned());
    let bench = Bench::start_with(Level::Messages, planted).await;
    bench.write_somewhere("k").await;
    let leader = bench.leader().await.leader;
    let said = bench.cluster.defect_counters(leader).await.unwrap();
    assert_eq!(said.defect, "early-log-ack");
    assert!(said.reached > 0 && said.triggered > 0, "{said:?}");
}

/// Writes one key after the other and cuts everybody's power; gives how many of them are left.
async fn left_after_power_losses(change: impl FnOnce(&mut ClusterConfig)) -> (u64, u64) {
    let bench = Bench::start_with(Level::Messages, change).await;
    let mut written = 0;
    for _ in 0..2 {
        for _ in 0..10 {
            bench.write_somewhere(&format!("k{written}")).await;
            written += 1;
        }
        bench.power_loss(&NODES).await;
    }
    bench.write_somewhere("after").await;
    (bench.agree().await.keys - 1, written)
}

#[tokio::test]
async fn a_power_loss_of_all_loses_nothing_that_was_acknowledged() {
    let (left, written) = left_after_power_losses(|config| config.power_loss = true).await;
    assert_eq!(left, written);
}

#[tokio::test]
async fn a_power_loss_with_writes_half_written_back_loses_nothing_that_was_acknowledged() {
    let bench = Bench::start_with(Level::Messages, |config| config.power_loss = true).await;
    let mut written = 0;
    for _ in 0..2 {
        for id in NODES {
            let some = DiskSwitches {
                write_back_per_mille: 600,
                ..DiskSwitches::default()
            };
            bench.cluster.set_disk(id, some).await.unwrap();
        }
        for _ in 0..10 {
            bench.write_somewhere(&format!("k{written}")).await;
            written += 1;
        }
        bench.power_loss(&NODES).await;
    }
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys - 1, written);
}

#[tokio::test]
async fn a_power_loss_of_all_loses_what_was_acknowledged_before_it_was_synced() {
    let (left, written) = left_after_power_losses(|config| {
        config.power_loss = true;
        config.defect = Some("early-log-ack".to_owned());
    })
    .await;
    assert!(left < written, "{left} of {written} keys are left");
}

#[tokio::test]
async fn a_disk_whose_syncs_fail_acknowledges_nothing_and_is_whole_after_a_new_start() {
    let bench = Bench::start_with(Level::Messages, |config| config.power_loss = true).await;
    bench.write_somewhere("before").await;
    let failing = DiskSwitches {
        sync_fails: true,
        ..DiskSwitches::default()
    };
    for id in NODES {
        bench.cluster.excuse(id);
        bench.cluster.set_disk(id, failing).await.unwrap();
    }
    for id in NODES {
        let refused = bench.write(id, "during").await;
        assert!(refused.is_err(), "n{id} acknowledged what no disk holds");
    }
    for id in NODES {
        // Whoever stopped by itself is gone already.
        let _ = bench.cluster.kill(id).await;
    }
    for ready in bench.cluster.start_all(&NODES).await.unwrap() {
        bench.network.set_upstream(ready.id, Some(ready.raft));
    }
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 2);
    assert!(
        bench.cluster.exits().is_empty(),
        "{:?}",
        bench.cluster.exits()
    );
}

#[tokio::test]
async fn slow_syncs_make_writes_slow_until_they_are_taken_out() {
    let bench = Bench::start(Level::Messages).await;
    bench.write_somewhere("one").await;
    let slow = DiskSwitches {
        slow_sync: 60 * MS,
        ..DiskSwitches::default()
    };
    for id in NODES {
        bench.cluster.set_disk(id, slow).await.unwrap();
    }
    let timed = async |key: &str| {
        let began = Instant::now();
        bench.write_somewhere(key).await;
        began.elapsed()
    };
    assert!(timed("two").await >= 60 * MS);
    for id in NODES {
        let whole = DiskSwitches::default();
        bench.cluster.set_disk(id, whole).await.unwrap();
    }
    let began = Instant::now();
    let mut n = 0;
    while timed(&format!("after {n}")).await >= 60 * MS {
        n += 1;
        assert!(began.elapsed() < SOON, "every write still takes 60 ms");
    }
}

#[tokio::test]
async fn the_leadership_goes_to_every_node_that_is_named() {
    let bench = Bench::start(Level::Messages).await;
    bench.leader().await;
    for id in NODES {
        bench.cluster.transfer(id, SOON).await.unwrap();
        assert!(bench.cluster.status(id).await.unwrap().is_leader);
    }
}

fn other_than(node: u64) -> u64 {
    let found = NODES.into_iter().find(|&id| id != node);
    found.expect("there are three")
}

#[tokio::test]
async fn a_fast_clock_makes_a_follower_campaign_until_it_runs_right_again() {
    let bench = Bench::start(Level::Messages).await;
    let leader = bench.leader().await.leader;
    let follower = other_than(leader);
    let others = NODES.iter().filter(|&&id| id != follower);
    let routes: Vec<Route> = others.map(|&to| Route::nodes(follower, to)).collect();
    // No vote of it arrives: the leader stays, however often it tries.
    let seen = MessageRule {
        matching: Match::every(Methods::Votes),
        action: Action::DropRequest,
    };
    let guard = bench.network.put_rule(&routes, &seen);
    let asked = || !bench.network.take_decisions().made.is_empty();
    // Heartbeats are 100 ms apart, and a campaign begins after 900 ms at most: what comes is no leader's silence.
    let calm = Instant::now() + 1_500 * MS;
    while Instant::now() < calm {
        assert!(!asked(), "with a right clock it hears its leader in time");
        tokio::time::sleep(20 * MS).await;
    }

    let set = |rate| bench.cluster.set_clock(follower, rate, Duration::ZERO);
    let begun = set(10.0).await.unwrap();
    let began = Instant::now();
    while !asked() {
        assert!(began.elapsed() < SOON, "n{follower} does not campaign");
        tokio::time::sleep(20 * MS).await;
    }
    let later = set(10.0).await.unwrap();
    assert!(begun.leads_to(&later, 10.0, Duration::ZERO));
    assert!(!begun.leads_to(&later, 1.0, Duration::ZERO));

    set(1.0).await.unwrap();
    guard.heal();
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 1);
}

#[tokio::test]
async fn a_leader_whose_clock_stands_still_sends_no_heartbeats_and_follows_when_it_goes_on() {
    let bench = Bench::start(Level::Messages).await;
    bench.write_somewhere("before").await;
    let old = bench.leader().await;
    let clock = |rate, step| bench.cluster.set_clock(old.leader, rate, step);
    let begun = clock(0.0, Duration::ZERO).await.unwrap();
    let new = bench.another_leader(old.leader).await;
    assert!(new.term > old.term, "{old:?} {new:?}");
    let still = clock(0.0, Duration::ZERO).await.unwrap();
    assert_eq!(still.shows, begun.shows, "no time went by");
    let hour = Duration::from_secs(3_600);
    let stepped = clock(1.0, hour).await.unwrap();
    assert!(still.leads_to(&stepped, 0.0, hour), "{still:?} {stepped:?}");
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 2);
}

#[tokio::test]
async fn no_clock_runs_backwards() {
    let bench = Bench::start(Level::Messages).await;
    for wrong in [-1.0, f64::NAN, 1_000.0] {
        let refused = bench.cluster.set_clock(1, wrong, Duration::ZERO).await;
        assert!(refused.is_err(), "{wrong}: {refused:?}");
    }
}
