//! The node as the bench and an operator meet it: real processes, real sockets.

mod nodes;

use std::time::Duration;

use nodes::{Nodes, put};
use tonic::Code;
use whitewater::wire::kiwi::{Condition, ReadRequest, WriteRequest, condition::Expected};

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
    let leader = nodes.leader().await;

    let mut client = nodes.client(leader);
    let written = client
        .write(put("k", "1"))
        .await
        .expect("write")
        .into_inner();
    assert!(written.response.expect("response").success);
    let first = written.log_id.expect("log id");

    // Compare-and-set is decided when it is applied.
    let swap = |from: &str, to: &str| WriteRequest {
        condition: Some(condition(from)),
        ..put("k", to)
    };
    let swapped = client
        .write(swap("1", "2"))
        .await
        .expect("swap")
        .into_inner();
    assert!(swapped.response.expect("response").success);
    assert_eq!(swapped.prior.as_deref(), Some(b"1".as_slice()));
    let refused = client
        .write(swap("1", "3"))
        .await
        .expect("swap")
        .into_inner();
    assert!(!refused.response.expect("response").success);
    assert_eq!(refused.prior.as_deref(), Some(b"2".as_slice()));

    let read = |key: &'static str| ReadRequest { key: key.into() };
    let found = client.read(read("k")).await.expect("read").into_inner();
    assert_eq!((found.found, found.value.as_ref()), (true, b"2".as_slice()));
    assert!(found.read_log_id.expect("read at").index > first.index);
    let absent = client
        .read(read("absent"))
        .await
        .expect("read")
        .into_inner();
    assert!(!absent.found);

    // A follower refuses, proves that nothing was applied, and names the leader.
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
    let next = nodes.leader_other_than(leader).await;
    let mut client = nodes.client(next);
    let found = client.read(read("k")).await.expect("read").into_inner();
    assert_eq!(found.value.as_ref(), b"2", "an acknowledged write survives");
    client.write(put("k", "4")).await.expect("write");

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
    let mut client = nodes.client(leader);
    for number in 0..200 {
        let key = format!("k{}", number % 40);
        client
            .write(put(&key, &number.to_string()))
            .await
            .expect("write");
    }
    let purged = nodes
        .metrics(leader)
        .await
        .purged
        .expect("a purged log")
        .index;
    assert!(purged > 50, "the log was purged to {purged}");
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
    let leader = nodes.leader().await;
    nodes
        .client(leader)
        .write(put("k", "v"))
        .await
        .expect("write");
    assert_eq!(nodes.terminate(1).await, Some(0));
    nodes.restart(1).await;
    nodes.leader().await;
    let read = ReadRequest { key: "k".into() };
    let found = nodes.client(1).read(read).await.expect("read").into_inner();
    assert_eq!(found.value.as_ref(), b"v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_when_its_standard_input_is_closed() {
    let mut nodes = Nodes::start(1, &["--parent-watch"]).await;
    assert_eq!(nodes.close_stdin(1).await, Some(0));
}
