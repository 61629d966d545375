//! Membership under load: a learner is added, promoted, and the old leader removed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use checkers::{
    history::{Call, Event, EventKind, Header, History, Outcome},
    linear,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::Code;
use whitewater::wire::kiwi::{
    AddLearnerRequest, ChangeMembershipRequest, GetNodeCapabilitiesRequest, MembersRequest,
    MetricsResponse, RemoveNodeRequest, TransferLeadershipRequest,
    raft_metrics_service_client::RaftMetricsServiceClient,
};
use whitewater::{
    recorder::{Listener, Recorder},
    target::kiwi::{Kiwi, KiwiConfig},
    target::{Client, ClientConfig, Follow, Target},
};

use crate::nodes::{Nodes, put};

/// The seed of what the clients ask.
const SEED: u64 = 20;
/// Clients that go where the leader is.
const FOLLOWING: u64 = 5;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// Clients that read, write and swap a few keys until they are told to stop; every operation is recorded.
struct Load {
    stop: Arc<AtomicBool>,
    events: Arc<Mutex<Vec<Event>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// One client is pinned to `pinned`, the others follow the leader among nodes 1 to `last`.
    fn start(nodes: &Nodes, pinned: u64, last: u64) -> Load {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let heard = events.clone();
        let listener: Listener =
            Box::new(move |event| heard.lock().expect("whole").push(event.clone()));
        let path = nodes.folder().join("history.jsonl");
        let header = Header::register(SEED);
        let recorder = Recorder::create(&path, &header, vec![listener]).expect("a file");
        let recorder = Arc::new(recorder);
        let dial: BTreeMap<u64, SocketAddr> = (1..=last)
            .map(|id| (id, nodes.address(id).parse().expect("an address")))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let names = Arc::new(AtomicU64::new(0));
        let follow = [Follow::Pinned(pinned)].into_iter();
        let follow = follow.chain((0..FOLLOWING).map(|_| Follow::Leader));
        let clients = follow.zip(0..).map(|(follow, turn)| {
            let deadline = Duration::from_secs(2);
            let config = ClientConfig {
                dial: dial.clone(),
                group: 0,
                follow,
                turn,
                deadline,
                patient: false,
                aimed: false,
                session: None,
            };
            let asking = Asking {
                client: Kiwi::new(KiwiConfig::default()).client(config),
                recorder: recorder.clone(),
                names: names.clone(),
                random: ChaCha8Rng::seed_from_u64(SEED + turn as u64),
                value: turn as i64 * 1_000_000,
            };
            tokio::spawn(asking.run(stop.clone()))
        });
        Load {
            clients: clients.collect(),
            stop,
            events,
        }
    }

    fn written(&self) -> usize {
        let events = self.events.lock().expect("whole");
        let done = |event: &&Event| {
            let kind = &event.kind;
            matches!(
                kind,
                EventKind::Complete {
                    outcome: Outcome::Ok(_),
                    ..
                }
            )
        };
        events.iter().filter(done).count()
    }

    /// Waits until the load has gone on by a few operations: the cluster serves.
    async fn goes_on(&self) {
        let from = self.written();
        let began = std::time::Instant::now();
        while self.written() < from + 50 {
            let now = self.written();
            assert!(began.elapsed() < Duration::from_secs(20), "stuck at {now}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the clients and gives the history.
    async fn end(self) -> Vec<Event> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client");
        }
        std::mem::take(&mut self.events.lock().expect("whole"))
    }
}

/// One client of the load.
struct Asking {
    client: Box<dyn Client>,
    recorder: Arc<Recorder>,
    /// The next logical client's number: after an unknown outcome this one asks no more.
    names: Arc<AtomicU64>,
    random: ChaCha8Rng,
    /// The last value that was written by this client; none is written twice.
    value: i64,
}

impl Asking {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        let mut name = self.names.fetch_add(1, Ordering::Relaxed);
        let mut seen = BTreeMap::new();
        while !stop.load(Ordering::Relaxed) {
            let key = KEYS[self.random.random_range(0..KEYS.len())];
            let call = match self.random.random_range(0..10) {
                0..5 => Call::Read,
                5..9 => Call::Write(self.next_value()),
                _ => match seen.get(key) {
                    Some(old) => Call::Cas {
                        old: *old,
                        new: self.next_value(),
                    },
                    None => Call::Read,
                },
            };
            let first = self.client.first_node();
            let ticket = self.recorder.invoke(name, Some(first), key, call);
            let answer = self.client.perform(key, call).await;
            if let (Call::Read, Outcome::Ok(Some(value))) = (call, answer.outcome) {
                seen.insert(key, value);
            }
            if answer.outcome == Outcome::Unknown {
                name = self.names.fetch_add(1, Ordering::Relaxed);
            }
            let refused = answer.outcome == Outcome::Failed;
            let node = Some(answer.node);
            self.recorder
                .complete(ticket, node, answer.outcome, answer.at, answer.error);
            if refused {
                // Nobody leads, or the pinned node does not: asking at once again would only fill the history.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn next_value(&mut self) -> i64 {
        self.value += 1;
        self.value
    }
}

/// Judges a history; and shows that the judge says no to the same history with one read of a value that
/// nobody wrote.
fn assert_linearizable(events: &[Event]) {
    let judged = |events: &[Event]| {
        let history = History::from_events(Header::register(SEED), events).expect("a history");
        let report = linear::check(&history, &linear::Options::default());
        (report.verdict, history.counts())
    };
    let (verdict, (ok, failed, unknown)) = judged(events);
    eprintln!("{ok} ok, {failed} failed, {unknown} unknown");
    assert!(verdict.holds(), "{verdict:#?}");
    assert!(ok > 150, "only {ok} operations were carried out");
    let mut stale = events.to_vec();
    let found = |event: &&mut Event| {
        let outcome = match &event.kind {
            EventKind::Complete { outcome, .. } => Some(*outcome),
            _ => None,
        };
        matches!(outcome, Some(Outcome::Ok(Some(_))))
    };
    let last = stale.iter_mut().rev().find(found).expect("a read");
    if let EventKind::Complete { outcome, .. } = &mut last.kind {
        *outcome = Outcome::Ok(Some(-1));
    }
    assert!(!judged(&stale).0.holds(), "nobody wrote -1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_is_promoted_and_the_old_leader_removed_under_load() {
    let flags = [
        "--snapshot-every",
        "100",
        "--keep-logs",
        "10",
        "--lag",
        "50",
        // Only the removal is to change the leader.
        "--election-min-ms",
        "1000",
        "--election-max-ms",
        "2000",
    ];
    let mut nodes = Nodes::start(3, &flags).await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    nodes.spawn(4);
    // The pinned client stays with the leader after that has been removed.
    let load = Load::start(&nodes, leader, 4);
    load.goes_on().await;
    // The log's beginning is gone: a brand-new learner can only catch up by a snapshot.
    let purged =
        |metrics: &MetricsResponse| metrics.purged.as_ref().is_some_and(|at| at.index > 50);
    nodes.wait_metrics(leader, purged).await;

    let request = AddLearnerRequest {
        node_id: 4,
        node: Some(nodes.config(4)),
    };
    nodes
        .admin(leader)
        .add_learner(request)
        .await
        .expect("a learner");
    let mut metrics = RaftMetricsServiceClient::new(nodes.channel(nodes.address(leader)));
    let members = metrics
        .members(MembersRequest {})
        .await
        .expect("members")
        .into_inner();
    assert_eq!((members.members.len(), members.learners), (4, vec![4]));
    let snapshot = nodes.metrics(4).await.snapshot.expect("a snapshot");
    assert!(snapshot.index > 50, "{snapshot:?}");
    load.goes_on().await;

    let voters = (1..=4).map(|id| nodes.config(id)).collect();
    let request = ChangeMembershipRequest {
        members: voters,
        retain: false,
    };
    nodes
        .admin(leader)
        .change_membership(request)
        .await
        .expect("promoted");
    load.goes_on().await;

    let request = RemoveNodeRequest { node_id: leader };
    nodes
        .admin(leader)
        .remove_node(request)
        .await
        .expect("removed");
    let next = nodes.leader_other_than(leader).await;
    load.goes_on().await;
    let membership = nodes.metrics(next).await.membership.expect("membership");
    assert!(
        !membership.node_ids.contains(&leader) && membership.node_ids.len() == 3,
        "{membership:?}"
    );

    let events = load.end().await;
    assert_linearizable(&events);
    nodes.kill(leader);
    nodes.equal_hashes(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_to_the_node_that_is_named() {
    let nodes = Nodes::start(3, &[]).await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    let heir = (1..=3).find(|id| *id != leader).expect("another node");
    let request = TransferLeadershipRequest { to_node_id: heir };
    nodes
        .admin(leader)
        .transfer_leadership(request)
        .await
        .expect("asked");
    assert_eq!(nodes.leader_other_than(leader).await, heir);
    nodes.write(put("k", "v")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_changes_are_refused_with_a_reason() {
    let nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    nodes.leader().await;
    let mut admin = nodes.admin(1);
    let config = |id: u64, address: &str| whitewater::wire::kiwi::NodeConfig {
        node_id: id,
        raft_addr: address.to_owned(),
        resp_addr: String::new(),
    };
    let resp = |address: &str| whitewater::wire::kiwi::NodeConfig {
        resp_addr: address.to_owned(),
        ..config(2, "a:1")
    };
    let long = format!("{}:1", "a".repeat(259));
    let learner = |id, node| AddLearnerRequest { node_id: id, node };
    for (request, reason) in [
        (learner(2, None), "missing"),
        (learner(0, Some(config(0, "a:1"))), "node id 0"),
        (learner(2, Some(config(3, "a:1"))), "differ"),
        (learner(2, Some(config(2, ""))), "no address"),
        (learner(2, Some(config(2, "nowhere"))), "not HOST:PORT"),
        (learner(2, Some(config(2, "a:65536"))), "not HOST:PORT"),
        (learner(2, Some(config(2, "a b:1"))), "not HOST:PORT"),
        (learner(2, Some(config(2, &long))), "261 bytes"),
        (learner(2, Some(resp("nowhere"))), "not HOST:PORT"),
    ] {
        let status = admin.add_learner(request).await.expect_err(reason);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(reason), "{status}");
    }
    let twice = ChangeMembershipRequest {
        members: vec![config(1, "a:1"), config(1, "a:1")],
        retain: false,
    };
    let status = admin.change_membership(twice).await.expect_err("twice");
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = admin
        .remove_node(RemoveNodeRequest { node_id: 5 })
        .await
        .expect_err("absent");
    assert_eq!(status.code(), Code::NotFound);
    let status = admin
        .transfer_leadership(TransferLeadershipRequest { to_node_id: 5 })
        .await;
    assert_eq!(status.expect_err("absent").code(), Code::NotFound);
    let said = admin
        .get_node_capabilities(GetNodeCapabilitiesRequest {})
        .await
        .expect("said")
        .into_inner();
    assert_eq!(said.node_id, 1);
    assert!(said.capabilities.contains(&"stream-append".to_owned()));
}
