//! Snapshots on the wire and on the disk: damaged, cancelled, killed in the middle. The leader and its chunks are real;
//! relays between the nodes damage, hold and cut.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tonic::Code;
use whitewater::wire::kiwi::{self, MetricsResponse, RemoveNodeRequest};

use crate::{
    nodes::{Nodes, put},
    relay::{Relays, Tamper},
};

/// What does not come in this time never comes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Frequent snapshots, a purge soon after, and time enough for large chunks in a debug build on a busy machine.
const FLAGS: [&str; 17] = [
    "--snapshot-every",
    "10",
    "--keep-logs",
    "2",
    "--lag",
    "5",
    "--snapshot-chunk-ms",
    "2000",
    "--request-ms",
    "15000",
    "--connect-ms",
    "1000",
    "--election-min-ms",
    "1000",
    "--election-max-ms",
    "2000",
    "--pre-vote",
];

struct Cluster {
    nodes: Nodes,
    relays: Relays,
    /// The follower that is left behind.
    late: u64,
}

impl Cluster {
    /// Three nodes behind relays; one follower is killed.
    async fn start() -> Cluster {
        let relays = Relays::start(3).await;
        let dial = relays.flags();
        let flags: Vec<&str> = FLAGS
            .into_iter()
            .chain(dial.iter().map(String::as_str))
            .collect();
        let mut nodes = Nodes::start(3, &flags).await;
        relays.connect(&nodes);
        nodes.initialize().await;
        nodes.write(put("small", "0")).await;
        let leader = nodes.leader().await;
        let late = (1..=3).find(|id| *id != leader).expect("another node");
        nodes.equal_hashes(DEADLINE).await;
        nodes.kill(late);
        Cluster {
            nodes,
            relays,
            late,
        }
    }

    /// Writes a generation: three large values, so that a snapshot has three chunks at least, then a mark. The leader has
    /// then purged what the late node would need, and its snapshot holds the whole generation.
    async fn write_generation(&self, generation: u8) {
        let value = char::from(b'a' + generation).to_string();
        for key in ["big0", "big1", "big2"] {
            self.nodes.write(put(key, &value.repeat(900 << 10))).await;
        }
        let mark = self.nodes.write(put("small", &value)).await;
        let whole = mark.log_id.expect("a log id").index;
        for _ in 0..25 {
            self.nodes.write(put("small", &value)).await;
        }
        let leader = self.nodes.leader_other_than(self.late).await;
        let purged = |metrics: &MetricsResponse| {
            let purged = metrics.purged.as_ref().map_or(0, |purged| purged.index);
            purged > whole
        };
        self.nodes.wait_metrics(leader, purged).await;
    }

    /// Lets nothing reach the late node: a snapshot for a node that is not there would use up its tampering.
    fn block(&self) {
        let blocked = &self.relays.plan.blocked;
        blocked.store(self.late, Ordering::SeqCst);
    }

    fn unblock(&self) {
        self.relays.plan.blocked.store(0, Ordering::SeqCst);
    }

    /// Starts the late node again; the next snapshots for it are tampered with.
    async fn come_back(&mut self, tampers: impl IntoIterator<Item = Tamper>) {
        self.block();
        self.nodes.restart(self.late).await;
        let mut queue = self.relays.plan.tampers.lock().expect("whole");
        queue.extend(tampers);
        drop(queue);
        self.unblock();
    }

    async fn until_held(&self) {
        let plan = &self.relays.plan;
        let held = tokio::time::timeout(DEADLINE, plan.held.notified()).await;
        let ended = plan.ended.lock().expect("whole");
        assert!(held.is_ok(), "no snapshot came so far; ended: {ended:#?}");
    }

    /// The generations of the late node's values: of the large ones, and of the mark; '-' where there is none.
    async fn generations(&self) -> String {
        let rows = self.nodes.dump(self.late).await;
        let first = |key: &str| {
            let found = rows.iter().find(|(name, _)| name == key.as_bytes());
            found.map_or('-', |(_, value)| char::from(value[0]))
        };
        ["big0", "big1", "big2", "small"]
            .map(first)
            .iter()
            .collect()
    }

    /// What of snapshots lies in the late node's folder half-done.
    fn leftovers(&self) -> Vec<String> {
        let folder = self.nodes.folder().join(self.late.to_string());
        let files = std::fs::read_dir(folder.join("snapshots")).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !name.ends_with(".snapshot")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_chunks_are_refused_and_a_whole_snapshot_is_taken_afterwards() {
    let mut cluster = Cluster::start().await;
    cluster.write_generation(0).await;
    let expected = [
        (Tamper::Offset, Code::InvalidArgument, "belongs at"),
        (Tamper::Crc, Code::DataLoss, "checksum"),
        (Tamper::Data, Code::InvalidArgument, "damaged"),
        (Tamper::Shorter, Code::InvalidArgument, "belongs at"),
        (Tamper::Longer, Code::InvalidArgument, "too large"),
        (Tamper::OtherId, Code::InvalidArgument, "another snapshot"),
        (Tamper::NoMeta, Code::InvalidArgument, "membership"),
        (Tamper::OtherVote, Code::InvalidArgument, "contradict"),
        (Tamper::EndsEarly, Code::InvalidArgument, "ends early"),
    ];
    let tampers = expected.map(|(tamper, ..)| tamper);
    cluster.come_back(tampers).await;
    let began = Instant::now();
    let ended = loop {
        let ended = cluster.relays.plan.ended.lock().expect("whole").clone();
        if ended.len() == expected.len() {
            break ended;
        }
        assert!(began.elapsed() < 2 * DEADLINE, "so far: {ended:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for ((tamper, answer), (_, code, reason)) in ended.iter().zip(expected) {
        let status = answer.as_ref().expect_err("a refusal");
        let said = (status.code(), status.message().contains(reason));
        assert_eq!(said, (code, true), "{tamper:?}: {status}");
    }
    cluster.nodes.equal_hashes(DEADLINE).await;
    assert_eq!(cluster.generations().await, "aaaa");
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_for_a_node_that_is_removed_is_cancelled_and_leaves_nothing() {
    let mut cluster = Cluster::start().await;
    cluster.write_generation(0).await;
    cluster.come_back([Tamper::HoldAfter(2)]).await;
    cluster.until_held().await;
    let began = Instant::now();
    while cluster.leftovers().len() != 1 {
        let left = cluster.leftovers();
        assert!(
            began.elapsed() < DEADLINE,
            "it is not being received: {left:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let leader = cluster.nodes.leader_other_than(cluster.late).await;
    let request = RemoveNodeRequest {
        node_id: cluster.late,
    };
    let mut admin = cluster.nodes.admin(leader);
    admin.remove_node(request).await.expect("removed");
    let began = Instant::now();
    loop {
        let metrics = cluster.nodes.metrics(leader).await;
        let call = metrics
            .rpcs
            .into_iter()
            .find(|rpc| (rpc.peer, rpc.method.as_str()) == (cluster.late, "InstallSnapshot"));
        let counted = call.as_ref().is_some_and(|call| {
            call.in_flight == 0 && call.errors.get("DROPPED").copied() == Some(1)
        });
        let given_up = cluster.relays.plan.given_up.load(Ordering::SeqCst);
        let leftovers = cluster.leftovers();
        if counted && given_up == 1 && leftovers.is_empty() {
            break;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "given up: {given_up}, left: {leftovers:?}, {call:#?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cluster.generations().await, "---0", "the old state");
    // It goes on without the snapshot, and without the node.
    cluster.nodes.write(put("k", "v")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_snapshot_leaves_the_old_state_or_the_new_one() {
    let mut cluster = Cluster::start().await;
    let late = cluster.late;
    let mut seen = Vec::new();
    let points = [
        (Tamper::HoldAfter(1), 0),
        (Tamper::HoldAfter(2), 0),
        // From here on the node checks, renames and installs.
        (Tamper::TellWhenSent, 0),
        (Tamper::TellWhenSent, 10),
        (Tamper::TellWhenSent, 40),
        (Tamper::TellWhenSent, 120),
    ];
    for (generation, (tamper, delay_ms)) in (0..).zip(points) {
        cluster.write_generation(generation).await;
        cluster.come_back([tamper]).await;
        cluster.until_held().await;
        // Not a wait for a state: the kill is to hit different moments of the installation.
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        cluster.block();
        cluster.nodes.kill(late);
        cluster.nodes.restart(late).await;

        let found = cluster.generations().await;
        let new = char::from(b'a' + generation);
        let is_new = found.chars().all(|value| value == new);
        let is_old = !found.contains(new);
        assert!(is_new || is_old, "{tamper:?} + {delay_ms} ms: {found}");
        if matches!(tamper, Tamper::HoldAfter(_)) {
            assert!(is_old, "{tamper:?}: {found}");
        }
        assert_eq!(cluster.leftovers(), Vec::<String>::new());
        seen.push((tamper, delay_ms, if is_new { "new" } else { "old" }));

        cluster.unblock();
        cluster.nodes.equal_hashes(DEADLINE).await;
        let all_new: String = [new; 4].iter().collect();
        assert_eq!(cluster.generations().await, all_new);
        cluster.nodes.kill(late);
    }
    eprintln!("killed at, left: {seen:?}");
}

/// The first chunk of a snapshot that node 2 sends as the leader of this term.
fn first_chunk(term: u64, last_index: u64) -> kiwi::InstallSnapshotRequest {
    let leader = kiwi::LeaderId {
        term,
        node_id: Some(kiwi::NodeId { id: 2 }),
    };
    let node = kiwi::NodeConfig {
        node_id: 2,
        raft_addr: "127.0.0.1:1".to_owned(),
        resp_addr: String::new(),
    };
    let log_id = kiwi::LogId {
        leader_id: Some(leader),
        index: last_index,
    };
    kiwi::InstallSnapshotRequest {
        term,
        leader_id: 2,
        last_included_index: last_index,
        last_included_term: term,
        vote: Some(kiwi::Vote {
            leader_id: Some(leader),
            committed: true,
        }),
        last_log_id: Some(log_id),
        last_membership: Some(kiwi::Membership {
            node_ids: vec![2],
            nodes: vec![node],
            configs: vec![kiwi::NodeIdSet { node_ids: vec![2] }],
        }),
        snapshot_id: "odd".to_owned(),
        ..Default::default()
    }
}

/// Sends one chunk and no end: the answer must not wait for more.
async fn send_first(
    nodes: &Nodes,
    chunk: kiwi::InstallSnapshotRequest,
) -> Result<kiwi::InstallSnapshotResponse, tonic::Status> {
    let channel = nodes.channel(nodes.address(1));
    let mut client = kiwi::raft_core_service_client::RaftCoreServiceClient::new(channel);
    let chunks = futures::StreamExt::chain(tokio_stream::iter([chunk]), futures::stream::pending());
    let answer = tokio::time::timeout(DEADLINE, client.install_snapshot(chunks)).await;
    Ok(answer.expect("an answer to the first chunk")?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_sender_of_a_snapshot_is_answered_with_the_newer_vote() {
    let nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let answer = send_first(&nodes, first_chunk(0, 9)).await;
    let answer = answer.expect("an answer");
    assert!(!answer.success);
    let vote = answer.vote.expect("a vote");
    assert!(vote.leader_id.expect("a leader").term > 0);
    assert_eq!(nodes.read("k").await.value.as_ref(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_contradicts_what_is_committed_is_refused_and_the_node_goes_on() {
    let nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    let written = nodes.write(put("k", "v")).await.log_id.expect("a log id");
    // A later leader's, at an index where this node has committed an earlier one's entry.
    for index in [1, written.index] {
        let refused = send_first(&nodes, first_chunk(1_000, index)).await;
        let refused = refused.expect_err("no leader sends it");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let says = "contradicts what is committed";
        assert!(refused.message().contains(says), "{refused}");
    }
    nodes.write(put("k", "w")).await;
    assert_eq!(nodes.read("k").await.value.as_ref(), b"w");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_go_by_unary_calls_to_peers_that_have_no_stream() {
    let relays = Relays::start(3).await;
    relays.plan.no_stream.store(true, Ordering::SeqCst);
    let dial = relays.flags();
    let flags: Vec<&str> = dial.iter().map(String::as_str).collect();
    let nodes = Nodes::start(3, &flags).await;
    relays.connect(&nodes);
    nodes.initialize().await;
    for number in 0..50 {
        nodes.write(put("k", &number.to_string())).await;
    }
    nodes.equal_hashes(DEADLINE).await;
    let leader = nodes.leader().await;
    let rpcs = nodes.metrics(leader).await.rpcs;
    for peer in (1..=3).filter(|id| *id != leader) {
        let calls = |method: &str| {
            let mut of_peer = rpcs.iter().filter(|rpc| rpc.peer == peer);
            of_peer.find(|rpc| rpc.method == method)
        };
        let unary = calls("AppendEntries").expect("unary calls");
        assert!(unary.calls > 0 && unary.errors.is_empty(), "{unary:?}");
        let stream = calls("StreamAppend").expect("it was tried");
        assert_eq!(stream.errors.get("UNIMPLEMENTED"), Some(&stream.calls));
    }
    // Asked once, a peer is not asked again: no more streams than (node, peer) pairs that ever replicated.
    let streams = relays.plan.streams.load(Ordering::SeqCst);
    assert!((2..=6).contains(&streams), "{streams} streams");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_on_while_replication_is_stuck() {
    let relays = Relays::start(3).await;
    relays.plan.stuck_streams.store(true, Ordering::SeqCst);
    let dial = relays.flags();
    let flags: Vec<&str> = FLAGS
        .into_iter()
        .chain(dial.iter().map(String::as_str))
        .collect();
    let nodes = Nodes::start(3, &flags).await;
    relays.connect(&nodes);
    nodes.initialize().await;
    let leader = nodes.leader().await;
    let term = nodes.metrics(leader).await.term;
    // Three seconds of heartbeats: longer than the longest election timeout.
    let metrics = nodes
        .wait_metrics(leader, |metrics| {
            let heartbeats = metrics.rpcs.iter().filter(|rpc| rpc.method == "Heartbeat");
            let mut answered = heartbeats.map(|rpc| {
                let buckets = rpc.latency.iter();
                buckets.map(|bucket| bucket.calls).sum::<u64>()
            });
            answered.clone().count() == 2 && answered.all(|calls| calls > 30)
        })
        .await;
    assert_eq!((metrics.is_leader, metrics.term), (true, term));
    let is_stream = |rpc: &&kiwi::RpcStatistics| rpc.method == "StreamAppend";
    let stuck = metrics.rpcs.iter().filter(is_stream);
    assert!(stuck.clone().count() == 2, "{:?}", metrics.rpcs);
    let answered = stuck.flat_map(|rpc| &rpc.latency).count();
    assert_eq!(answered, 0, "nothing was replicated meanwhile");
}
