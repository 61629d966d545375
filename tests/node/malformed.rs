//! Ten thousand mutated messages over all methods: each is answered, and the node goes on.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_request::MessageRequest,
};
use whitewater::wire::kiwi;

use crate::nodes::{Nodes, put};

/// Bytes as they are: the message need not be one.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length)))
    }
}

/// A valid message of each method; none of them, if it arrived whole, would change what the test relies on.
pub(crate) fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let leader = |term, id| kiwi::LeaderId {
        term,
        node_id: Some(kiwi::NodeId { id }),
    };
    let log_id = |term, index| kiwi::LogId {
        leader_id: Some(leader(term, 2)),
        index,
    };
    let vote = |committed| kiwi::Vote {
        leader_id: Some(leader(1, 2)),
        committed,
    };
    let node = |id| kiwi::NodeConfig {
        node_id: id,
        raft_addr: "127.0.0.1:1".to_owned(),
        resp_addr: String::new(),
    };
    let membership = kiwi::Membership {
        node_ids: vec![2],
        nodes: vec![node(2)],
        configs: vec![kiwi::NodeIdSet { node_ids: vec![2] }],
    };
    let blank = kiwi::entry_payload::Payload::Blank(kiwi::BlankPayload {});
    let append = kiwi::AppendEntriesRequest {
        vote: Some(vote(true)),
        prev_log_id: Some(log_id(1, 1_000_000)),
        entries: vec![kiwi::Entry {
            log_id: Some(log_id(1, 1_000_001)),
            payload: Some(kiwi::EntryPayload {
                payload: Some(blank),
            }),
        }],
        // Nothing: a leader never commits what its follower cannot have, and openraft asserts that it has it.
        leader_commit: None,
    };
    let chunk = kiwi::InstallSnapshotRequest {
        term: 1,
        leader_id: 2,
        last_included_index: 9,
        last_included_term: 1,
        data: Bytes::from_static(b"no snapshot"),
        done: true,
        vote: Some(vote(true)),
        last_log_id: Some(log_id(1, 9)),
        last_membership_log_id: Some(log_id(1, 3)),
        last_membership: Some(membership),
        snapshot_id: "s".to_owned(),
        offset: 0,
        crc: 7,
    };
    let ballot = kiwi::VoteRequest {
        vote: Some(vote(false)),
        last_log_id: Some(log_id(1, 5)),
        ..Default::default()
    };
    let transfer = kiwi::TransferLeaderRequest {
        from_leader: Some(vote(true)),
        to_node_id: 1,
        last_log_id: Some(log_id(1, 5)),
    };
    let learner = kiwi::AddLearnerRequest {
        node_id: 0,
        node: Some(node(0)),
    };
    let change = kiwi::ChangeMembershipRequest {
        members: vec![node(0)],
        retain: true,
    };
    let read = kiwi::ReadRequest { key: "k".into() };
    let removal = kiwi::RemoveNodeRequest { node_id: 90 };
    let handover = kiwi::TransferLeadershipRequest { to_node_id: 90 };
    let first = kiwi::InitializeRequest {
        nodes: vec![node(2)],
    };
    let health = tonic_health::pb::HealthCheckRequest {
        service: "kiwi.raft.v1.RaftCoreService".to_owned(),
    };
    let of_symbol = MessageRequest::FileContainingSymbol("kiwi.raft.v1.Vote".to_owned());
    let reflection = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(of_symbol),
    };
    vec![
        ("RaftCoreService/Vote", ballot.encode_to_vec()),
        ("RaftCoreService/AppendEntries", append.encode_to_vec()),
        ("RaftCoreService/StreamAppend", append.encode_to_vec()),
        ("RaftCoreService/InstallSnapshot", chunk.encode_to_vec()),
        ("RaftCoreService/TransferLeader", transfer.encode_to_vec()),
        ("RaftAdminService/Initialize", first.encode_to_vec()),
        ("RaftAdminService/AddLearner", learner.encode_to_vec()),
        ("RaftAdminService/ChangeMembership", change.encode_to_vec()),
        ("RaftAdminService/RemoveNode", removal.encode_to_vec()),
        ("RaftAdminService/GetNodeCapabilities", Vec::new()),
        (
            "RaftAdminService/TransferLeadership",
            handover.encode_to_vec(),
        ),
        (
            "RaftClientService/Write",
            put("fuzz", "value").encode_to_vec(),
        ),
        ("RaftClientService/Read", read.encode_to_vec()),
        ("RaftMetricsService/Metrics", Vec::new()),
        ("RaftMetricsService/Leader", Vec::new()),
        ("RaftMetricsService/Members", Vec::new()),
        (HEALTH_CHECK, health.encode_to_vec()),
        (HEALTH_WATCH, health.encode_to_vec()),
        (REFLECTION, reflection.encode_to_vec()),
    ]
}

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Methods that take more than one message.
const STREAMING: [&str; 3] = [
    "RaftCoreService/StreamAppend",
    "RaftCoreService/InstallSnapshot",
    REFLECTION,
];
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn mutate(message: &[u8], random: &mut ChaCha8Rng) -> Bytes {
    let mut bytes = message.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..16) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let mut more = vec![0; random.random_range(0..16)];
                random.fill_bytes(&mut more);
                bytes.extend(more);
            }
            4..=9 if at < bytes.len() => bytes[at] = random.random_range(0..4),
            _ if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            _ => {}
        }
    }
    bytes.into()
}

/// Sends the messages as one call, whatever the method takes, and gives the status of its end.
async fn send(channel: &Channel, method: &str, messages: Vec<Bytes>) -> Code {
    let sent = send_with(channel, &[], method, messages).await;
    sent.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// The same, with these names and values in the call's metadata.
pub(crate) async fn send_with(
    channel: &Channel,
    metadata: &[(&'static str, &str)],
    method: &str,
    messages: Vec<Bytes>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("the node is there");
    let path = match method.starts_with('/') {
        true => method.to_owned(),
        false => format!("/kiwi.raft.v1.{method}"),
    };
    let path: PathAndQuery = path.parse().expect("a path");
    let mut request = Request::new(tokio_stream::iter(messages));
    request.set_timeout(std::time::Duration::from_secs(20));
    for (name, value) in metadata {
        let value = value.parse().expect("printable");
        request.metadata_mut().insert(*name, value);
    }
    let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
    // Whoever watches is told more only when something changes.
    while answers.message().await?.is_some() && method != HEALTH_WATCH {}
    Ok(())
}

/// The methods that the four files of the protocol define, as `Service/Method`.
fn defined_methods() -> Vec<String> {
    let mut all = Vec::new();
    for file in ["raft", "admin", "client"] {
        let path = format!("{}/proto/{file}.proto", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a file");
        let mut service = "";
        for line in text.lines() {
            let mut words = line.split([' ', '(']).filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) => service = name,
                (Some("rpc"), Some(name)) => all.push(format!("{service}/{name}")),
                _ => {}
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_mutated_messages_are_answered_and_the_node_goes_on() {
    let nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    nodes.leader().await;
    let channel = nodes.channel(nodes.address(1));
    let messages = messages();
    let defined = defined_methods();
    assert_eq!(defined.len(), 16, "{defined:?}");
    for method in defined {
        let sent = messages.iter().any(|(sent, _)| *sent == method);
        assert!(sent, "no message for {method}");
    }
    // Another seed may be tried by hand.
    let seed = std::env::var("MALFORMED_SEED").map_or(5, |seed| seed.parse().expect("a number"));
    eprintln!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut codes = std::collections::BTreeMap::new();
    for number in 0..10_000 {
        let (method, message) = &messages[number % messages.len()];
        let count = match STREAMING.contains(method) {
            true => random.random_range(1..5),
            false => 1,
        };
        let mutated: Vec<Bytes> = (0..count).map(|_| mutate(message, &mut random)).collect();
        let code = send(&channel, method, mutated.clone()).await;
        let lost = matches!(code, Code::Unknown | Code::Cancelled);
        assert!(!lost, "call {number}, {method} {mutated:?}: {code:?}");
        *codes.entry(format!("{code:?}")).or_insert(0) += 1;
    }
    // Internal is gRPC's word for a message that does not decode at all.
    assert!(
        codes["InvalidArgument"] > 500 && codes["Internal"] > 500,
        "{codes:?}"
    );
    // Some mutated votes and heartbeats come from a later term: the node may have to win it back.
    nodes.write(put("after", "all")).await;
    assert_eq!(nodes.read("after").await.value.as_ref(), b"all");
}
