//! Health and reflection, as `grpcurl` and load balancers use them.

use std::time::{Duration, Instant};

use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use whitewater::wire::kiwi::{
    LeaderRequest, MetricsResponse, Role, RpcStatistics,
    raft_metrics_service_client::RaftMetricsServiceClient,
};

use crate::nodes::{Nodes, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_that_it_is_well_and_what_it_serves() {
    let nodes = Nodes::start(1, &[]).await;
    let channel = nodes.channel(nodes.address(1));
    let mut health = HealthClient::new(channel.clone());
    let service = "kiwi.raft.v1.RaftCoreService".to_owned();
    let answer = health
        .check(HealthCheckRequest { service })
        .await
        .expect("health")
        .into_inner();
    assert_eq!(answer.status, 1, "serving");
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let requests = tokio_stream::iter([request]);
    let mut answers = reflection
        .server_reflection_info(requests)
        .await
        .expect("reflection")
        .into_inner();
    let answer = answers
        .message()
        .await
        .expect("an answer")
        .expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    for expected in [
        "RaftAdminService",
        "RaftClientService",
        "RaftCoreService",
        "RaftMetricsService",
    ] {
        assert!(
            names.contains(&format!("kiwi.raft.v1.{expected}")),
            "{names:?}"
        );
    }
    assert!(
        names.contains(&"grpc.health.v1.Health".to_owned()),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_and_its_calls_are_shown() {
    let mut nodes = Nodes::start(3, &[]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let leader = nodes.leader().await;
    let mut client = RaftMetricsServiceClient::new(nodes.channel(nodes.address(leader)));
    let said = client
        .leader(LeaderRequest {})
        .await
        .expect("leader")
        .into_inner();
    assert_eq!(said.leader_id, leader);
    assert_eq!(
        said.leader_node.expect("its address").raft_addr,
        nodes.address(leader)
    );
    let healthy = |metrics: &MetricsResponse| {
        metrics.peers.len() == 2 && metrics.peers.iter().all(|peer| peer.health == "healthy")
    };
    let metrics = nodes.wait_metrics(leader, healthy).await;
    assert!(
        metrics.is_leader && metrics.role() == Role::Leader && metrics.replication_lag.is_some()
    );
    let stream = metrics
        .rpcs
        .iter()
        .find(|rpc| rpc.method == "StreamAppend")
        .expect("replication");
    assert!(
        stream.calls > 0
            && stream.bytes_sent > 0
            && stream.p50_us > 0
            && stream.p99_us >= stream.p50_us
    );
    let counted: u64 = stream.latency.iter().map(|bucket| bucket.calls).sum();
    let failed: u64 = stream.errors.values().sum();
    assert_eq!(
        counted + failed + stream.in_flight,
        stream.calls,
        "{stream:?}"
    );

    let gone = (1..=3).find(|id| *id != leader).expect("another node");
    nodes.kill(gone);
    let failing = |metrics: &MetricsResponse| {
        let peer = metrics.peers.iter().find(|peer| peer.node_id == gone);
        let counted =
            |rpc: &RpcStatistics| rpc.peer == gone && rpc.errors.contains_key("UNAVAILABLE");
        peer.is_some_and(|peer| peer.health == "failing" && peer.failing_ms.is_some())
            && metrics.rpcs.iter().any(counted)
    };
    nodes.wait_metrics(leader, failing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_peer_is_noticed_and_so_is_its_return() {
    let nodes = Nodes::start(3, &[]).await;
    nodes.initialize().await;
    nodes.write(put("k", "v")).await;
    let leader = nodes.leader().await;
    let paused = (1..=3).find(|id| *id != leader).expect("another node");
    let is = |metrics: &MetricsResponse, health: &str| {
        let peer = metrics.peers.iter().find(|peer| peer.node_id == paused);
        peer.is_some_and(|peer| peer.health == health)
    };
    // Its kernel takes every connection and every byte; only pings and limits tell.
    let resume = nodes.pause(paused);
    let began = Instant::now();
    let seen = nodes
        .wait_metrics(leader, |metrics| is(metrics, "failing"))
        .await;
    assert!(seen.is_leader, "the other two go on");
    assert!(began.elapsed() < Duration::from_secs(10), "too late");
    nodes.write(put("k", "w")).await;
    drop(resume);
    nodes
        .wait_metrics(leader, |metrics| is(metrics, "healthy"))
        .await;
    nodes.equal_hashes(Duration::from_secs(10)).await;
}
