//! Health and reflection, as `grpcurl` and load balancers use them.

use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::nodes::Nodes;

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
