//! A cluster serves: writes, compare-and-set, reads, redirects, failover, snapshots, graceful ends.

use std::time::{Duration, Instant};

use crate::nodes::{Nodes, put};
use tonic::Code;
use whitewater::wire::kiwi::{
    Condition, MetricsResponse, ReadRequest, WriteRequest, condition::Expected,
};

fn condition(value: &str) -> Condition {
    let value = value.to_owned().into_bytes().into();
    Condition {
        expected: Some(Expected::Value(value)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_serve_and_survive_their_leader() {
    let mut nodes = Nodes::start(3, &[]).await;
    nodes.initialize().await;
    let written = nodes.write(put("k", "1")).await;
    assert!(written.response.expect("response").success);
    let first = written.log_id.expect("log id");

    // Compare-and-set is decided when it is applied.
    let swap = |from: &str, to: &str| WriteRequest {
        condition: Some(condition(from)),
        ..put("k", to)
    };
    let swapped = nodes.write(swap("1", "2")).await;
    assert!(swapped.response.expect("response").success);
    assert_eq!(swapped.prior.as_deref(), Some(b"1".as_slice()));
    let refused = nodes.write(swap("1", "3")).await;
    assert!(!refused.response.expect("response").success);
    assert_eq!(refused.prior.as_deref(), Some(b"2".as_slice()));

    let found = nodes.read("k").await;
    assert_eq!((found.found, found.value.as_ref()), (true, b"2".as_slice()));
    assert!(found.read_log_id.expect("read at").index > first.index);
    assert!(!nodes.read("absent").await.found);

    // A follower refuses, proves that nothing was applied, and names the leader.
    let leader = nodes.leader().await;
    let follower = (1..=3).find(|id| *id != leader).expect("another node");
    let status = nodes
        .client(follower)
        .write(put("k", "9"))
        .await
        .expect_err("no leader");
    let text = |key: &str| {
        status
            .metadata()
            .get(key)
            .map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(text("kiwi-outcome").as_deref(), Some("not-applied"));
    assert_eq!(text("kiwi-leader-id"), Some(leader.to_string()));
    assert_eq!(
        text("kiwi-leader-addr").as_deref(),
        Some(nodes.address(leader))
    );

    nodes.kill(leader);
    let found = nodes.read("k").await;
    assert_eq!(found.value.as_ref(), b"2", "an acknowledged write survives");
    nodes.write(put("k", "4")).await;

    // The killed one comes back with its data and catches up; then all states are equal.
    nodes.restart(leader).await;
    let hash = nodes.equal_hashes(Duration::from_secs(10)).await;
    assert_eq!(hash.keys, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_behind_the_purge_point_catches_up_by_snapshot() {
    let mut nodes = Nodes::start(
        3,
        &["--snapshot-every", "50", "--keep-logs", "10", "--lag", "20"],
    )
    .await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    let late = (1..=3).find(|id| *id != leader).expect("another node");
    nodes.kill(late);
    for number in 0..200 {
        let key = format!("k{}", number % 40);
        nodes.write(put(&key, &number.to_string())).await;
    }
    let purged =
        |metrics: &MetricsResponse| metrics.purged.as_ref().is_some_and(|at| at.index > 50);
    let leader = nodes.leader_other_than(late).await;
    nodes.wait_metrics(leader, purged).await;
    nodes.restart(late).await;
    let hash = nodes.equal_hashes(Duration::from_secs(10)).await;
    assert_eq!(hash.keys, 40);
    assert!(
        nodes
            .metrics(late)
            .await
            .snapshot
            .is_some_and(|snapshot| snapshot.index > 50)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_node_gracefully() {
    let mut nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    assert_eq!(nodes.terminate(1).await, Some(0));
    nodes.restart(1).await;
    let found = nodes.read("k").await;
    assert_eq!(found.value.as_ref(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_when_its_standard_input_is_closed() {
    let mut nodes = Nodes::start(1, &["--parent-watch"]).await;
    assert_eq!(nodes.close_stdin(1).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_as_the_first_one_was() {
    let mut nodes = Nodes::start(3, &["--snapshot-every", "20", "--keep-logs", "5"]).await;
    nodes.initialize().await;
    let ask = |value: &str, sequence| WriteRequest {
        client_id: 77,
        sequence,
        ..put("k", value)
    };
    let first = nodes.write(ask("1", 1)).await;
    let again = nodes.write(ask("other", 1)).await;
    assert_eq!(first, again);
    assert_eq!(
        nodes.read("k").await.value.as_ref(),
        b"1",
        "the repetition changed nothing"
    );
    for number in 0..60 {
        nodes.write(put("noise", &number.to_string())).await;
    }
    // The session is in the snapshot, too: it outlives the log that made it, and the leader.
    let leader = nodes.leader().await;
    nodes.kill(leader);
    let again = nodes.write(ask("other", 1)).await;
    assert_eq!(first, again);
    nodes.write(ask("2", 2)).await;
    let leader = nodes.leader().await;
    let old = nodes
        .client(leader)
        .write(ask("other", 1))
        .await
        .expect_err("gone on");
    let outcome = old
        .metadata()
        .get("kiwi-outcome")
        .map(|value| value.as_bytes().to_vec());
    let expected = (Code::FailedPrecondition, Some(b"unknown".as_slice()));
    assert_eq!((old.code(), outcome.as_deref()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_travel_by_unary_calls_where_told() {
    let nodes = Nodes::start(3, &["--append", "unary"]).await;
    nodes.initialize().await;
    for number in 0..20 {
        nodes.write(put("k", &number.to_string())).await;
    }
    nodes.equal_hashes(Duration::from_secs(10)).await;
    let leader = nodes.leader().await;
    let rpcs = nodes.metrics(leader).await.rpcs;
    let calls = |method: &str| {
        rpcs.iter()
            .filter(|rpc| rpc.method == method)
            .map(|rpc| rpc.calls)
            .sum::<u64>()
    };
    assert!(
        calls("AppendEntries") > 0 && calls("Heartbeat") > 0,
        "{rpcs:?}"
    );
    assert_eq!(calls("StreamAppend"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_node_neither_votes_nor_campaigns_until_an_old_lease_is_over() {
    let flags = [
        "--reads",
        "lease",
        "--election-min-ms",
        "1000",
        "--election-max-ms",
        "2000",
    ];
    let mut nodes = Nodes::start(1, &flags).await;
    nodes.initialize().await;
    nodes.leader().await;
    nodes.kill(1);
    let began = std::time::Instant::now();
    nodes.restart(1).await;
    nodes.leader().await;
    assert!(
        began.elapsed() > Duration::from_millis(1900),
        "{:?}",
        began.elapsed()
    );
    nodes.write(put("k", "v")).await;
    let found = nodes.read("k").await;
    assert_eq!(found.value.as_ref(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_values_travel_by_entries_and_by_a_snapshot_of_many_chunks() {
    // Eight large values in a debug build on a busy machine: time is not what is tested here.
    let mut flags = vec!["--snapshot-every", "10", "--keep-logs", "2", "--lag", "5"];
    flags.extend(["--request-ms", "15000", "--snapshot-chunk-ms", "1000"]);
    flags.extend(["--election-min-ms", "1000", "--election-max-ms", "2000"]);
    let mut nodes = Nodes::start(3, &flags).await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    let late = (1..=3).find(|id| *id != leader).expect("another node");
    nodes.kill(late);
    let value = "v".repeat(1 << 20);
    for number in 0..8 {
        nodes.write(put(&format!("k{number}"), &value)).await;
    }
    for number in 0..20 {
        nodes.write(put("small", &number.to_string())).await;
    }
    let purged =
        |metrics: &MetricsResponse| metrics.purged.as_ref().is_some_and(|at| at.index > 12);
    let leader = nodes.leader_other_than(late).await;
    nodes.wait_metrics(leader, purged).await;
    nodes.restart(late).await;
    let hash = nodes.equal_hashes(Duration::from_secs(20)).await;
    assert_eq!(hash.keys, 9);
    assert_eq!(nodes.read("k7").await.value.len(), 1 << 20);

    let leader = nodes.leader().await;
    for (request, reason) in [
        (put("k", &"v".repeat((1 << 20) + 1)), "1048576 are allowed"),
        (put(&"k".repeat((64 << 10) + 1), "v"), "65536 are allowed"),
        (put("", "v"), "empty"),
        (WriteRequest::default(), "binlog"),
    ] {
        let status = nodes.client(leader).write(request).await.expect_err(reason);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(reason), "{status}");
        assert!(
            status
                .metadata()
                .get("kiwi-outcome")
                .is_some_and(|outcome| outcome == "not-applied")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_is_counted_and_reads_need_no_quorum_any_more() {
    let mut nodes = Nodes::start(3, &["--defect", "stale-read"]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let leader = nodes.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        nodes.kill(id);
    }
    // A leader without followers answers on, also when its lease has run out, where a healthy node would refuse.
    let began = Instant::now();
    for reads in 1.. {
        let read = ReadRequest { key: "k".into() };
        let answered = nodes.client(leader).read(read).await;
        let found = answered.expect("answered alone").into_inner();
        assert_eq!(found.value.as_ref(), b"v");
        let counts = nodes.defect_counters(leader).await;
        assert_eq!(
            (counts.defect.as_str(), counts.reached),
            ("stale-read", reads)
        );
        if counts.triggered > 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_quorum_answers_no_read_and_says_what_is_known() {
    let mut nodes = Nodes::start(3, &["--request-ms", "1000"]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let leader = nodes.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        nodes.kill(id);
    }
    let read = ReadRequest { key: "k".into() };
    let status = nodes
        .client(leader)
        .read(read)
        .await
        .expect_err("no quorum");
    let outcome = |status: &tonic::Status| status.metadata().get("kiwi-outcome").cloned();
    assert_eq!(outcome(&status).expect("said"), "not-applied");
    let status = nodes
        .client(leader)
        .write(put("k", "w"))
        .await
        .expect_err("no quorum");
    let expected = match status.code() {
        Code::DeadlineExceeded => "unknown",
        _ => "not-applied",
    };
    assert_eq!(outcome(&status).expect("said"), expected, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_answers_reads_where_told_so() {
    let nodes = Nodes::start(3, &["--reads", "follower-local"]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    nodes.equal_hashes(Duration::from_secs(10)).await;
    for id in 1..=3 {
        let read = ReadRequest { key: "k".into() };
        let found = nodes
            .client(id)
            .read(read)
            .await
            .expect("local")
            .into_inner();
        assert_eq!(found.value.as_ref(), b"v");
    }
}
