//! Who may call a node: without a token everybody, with one only who knows it and says which node is meant.

use bytes::Bytes;
use tonic::{Code, Status};
use whitewater::wire::kiwi::MetricsResponse;

use crate::{
    malformed::{messages, send_with},
    nodes::{Nodes, put},
};

const TOKEN: &str = "kiwi-token";
const RECEIVER: &str = "kiwi-receiver-id";

/// Every method of a node and of its chaos service, with a message that means something to it.
fn methods() -> Vec<(&'static str, Vec<u8>)> {
    let chaos = [
        "/whitewater.chaos.v1.ChaosService/StateHash",
        "/whitewater.chaos.v1.ChaosService/StateDump",
        "/whitewater.chaos.v1.ChaosService/DefectCounters",
    ];
    let mut all = messages();
    all.extend(chaos.map(|method| (method, Vec::new())));
    all.push(("/no.such.Service/Method", Vec::new()));
    all
}

/// Calls every method of node 1 and gives what it says, by method.
async fn call_all(
    nodes: &Nodes,
    metadata: &[(&'static str, &str)],
) -> Vec<(&'static str, Result<(), Status>)> {
    let raft = nodes.channel(nodes.address(1));
    let chaos = nodes.channel(nodes.chaos(1));
    let mut said = Vec::new();
    for (method, message) in methods() {
        let channel = if method.contains("chaos") {
            &chaos
        } else {
            &raft
        };
        let message = vec![Bytes::from(message)];
        said.push((method, send_with(channel, metadata, method, message).await));
    }
    said
}

/// What a call could have changed, or counted.
fn trail(metrics: &MetricsResponse) -> impl PartialEq + std::fmt::Debug + use<> {
    let MetricsResponse {
        term,
        vote,
        last_log_index,
        membership,
        received,
        ..
    } = metrics.clone();
    (term, vote, last_log_index, membership, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_asks_for_the_token_and_for_this_nodes_number_and_does_nothing_without() {
    let nodes = Nodes::start_with_token(1, &[], Some("ours")).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let before = trail(&nodes.metrics(1).await);
    let wrong: [(&[(&'static str, &str)], Code); 6] = [
        (&[], Code::Unauthenticated),
        (&[(RECEIVER, "1")], Code::Unauthenticated),
        (&[(TOKEN, "theirs"), (RECEIVER, "1")], Code::Unauthenticated),
        (&[(TOKEN, "our"), (RECEIVER, "1")], Code::Unauthenticated),
        (&[(TOKEN, "ours")], Code::FailedPrecondition),
        (
            &[(TOKEN, "ours"), (RECEIVER, "2")],
            Code::FailedPrecondition,
        ),
    ];
    for (metadata, code) in wrong {
        for (method, said) in call_all(&nodes, metadata).await {
            let status = said.expect_err(method);
            assert_eq!(status.code(), code, "{method} {metadata:?}: {status:?}");
            let outcome = status.metadata().get("kiwi-outcome");
            assert_eq!(outcome.expect("it is said"), "not-applied", "{method}");
        }
    }
    assert_eq!(trail(&nodes.metrics(1).await), before);
    assert_eq!(nodes.dump(1).await, [(b"k".to_vec(), b"v".to_vec())]);
    // Who knows it is heard by every method, whatever it says.
    for (method, said) in call_all(&nodes, &[(TOKEN, "ours"), (RECEIVER, "1")]).await {
        let code = said.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_ne!(code, Code::Unauthenticated, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_started_by_hand_asks_for_nothing_but_that_it_is_meant() {
    let nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    for metadata in [&[][..], &[(TOKEN, "any")], &[(RECEIVER, "1")]] {
        for (method, said) in call_all(&nodes, metadata).await {
            let code = said.map_or_else(|status| status.code(), |()| Code::Ok);
            assert_ne!(code, Code::Unauthenticated, "{method} {metadata:?}");
        }
    }
    let before = trail(&nodes.metrics(1).await);
    for (method, said) in call_all(&nodes, &[(RECEIVER, "2")]).await {
        let status = said.expect_err(method);
        assert_eq!(
            status.code(),
            Code::FailedPrecondition,
            "{method}: {status:?}"
        );
    }
    assert_eq!(trail(&nodes.metrics(1).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_one_token_make_a_cluster_and_one_with_another_is_no_part_of_it() {
    let mut nodes = Nodes::start_with_token(2, &[], Some("ours")).await;
    nodes.set_token("theirs");
    nodes.spawn(3);
    let stranger_before = nodes.metrics(3).await.received;
    nodes.set_token("ours");
    // All three are members; the other run's node does not know the token, and cannot be heard or told anything.
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let leader = nodes.metrics(1).await.current_leader;
    let failing = |metrics: &MetricsResponse| {
        let rpcs = metrics.rpcs.iter().filter(|rpc| rpc.peer == 3);
        let refused = rpcs.filter_map(|rpc| rpc.errors.get("UNAUTHENTICATED"));
        let peer = metrics.peers.iter().find(|peer| peer.node_id == 3);
        refused.sum::<u64>() > 0 && peer.is_some_and(|peer| peer.health == "failing")
    };
    nodes.wait_metrics(leader, failing).await;
    nodes.set_token("theirs");
    let stranger = nodes.metrics(3).await;
    assert_eq!((stranger.received, stranger.term), (stranger_before, 0));
}

#[test]
fn an_empty_token_keeps_a_node_from_starting() {
    let dir = tempfile::tempdir().expect("a folder");
    let started = std::process::Command::new(env!("CARGO_BIN_EXE_whitewater"))
        .args(["node", "--id", "1", "--parent-watch", "--data"])
        .arg(dir.path())
        .env("WHITEWATER_TOKEN", "")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&started.stderr);
    assert_ne!(started.status.code(), Some(0), "{said}");
    assert!(
        said.contains("WHITEWATER_TOKEN: the token is empty"),
        "{said}"
    );
}
