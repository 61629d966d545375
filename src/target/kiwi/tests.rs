//! How our own node is started and asked: its command line, its ready line, its token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tonic::{Request, Response, Status};

use super::*;
use crate::wire::kiwi::raft_metrics_service_server::{
    RaftMetricsService, RaftMetricsServiceServer,
};
use crate::wire::kiwi::{
    LeaderRequest, LeaderResponse, MembersRequest, MembersResponse, MetricsRequest,
    MetricsResponse, Role,
};
use crate::wire::metadata::Authenticator;

/// Longer than an answer takes on a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn only_a_whole_ready_line_is_one() {
    let good = "READY raft=127.0.0.1:41001 chaos=127.0.0.1:41002";
    for (more, resp) in [("", None), (" resp=127.0.0.1:41003", Some(41003))] {
        let listening = ready(&format!("{good}{more}")).expect("a ready line");
        let chaos = listening.chaos.map(|address| address.port());
        assert_eq!((listening.peers.port(), chaos), (41001, Some(41002)));
        assert_eq!(listening.clients, listening.peers);
        assert_eq!(listening.redis.map(|address| address.port()), resp);
    }
    for bad in [
        "",
        "READY",
        "READY raft=127.0.0.1:41001",
        "READY chaos=127.0.0.1:1 raft=127.0.0.1:2",
        "READY raft=localhost chaos=127.0.0.1:2",
        "READY raft=127.0.0.1:1 chaos=127.0.0.1:2 resp=",
        "ready raft=127.0.0.1:1 chaos=127.0.0.1:2",
    ] {
        assert_eq!(ready(bad), None, "{bad}");
    }
}

fn token(text: &str) -> Option<Token> {
    Some(Token::new(text).unwrap())
}

/// The one launch of n2.
fn launch(config: KiwiConfig) -> Launch {
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let wiring = Wiring {
        dir: PathBuf::from("/run"),
        advertise: BTreeMap::from([(2, address(9))]),
        peers: BTreeMap::from([(2, BTreeMap::from([(1, address(11)), (3, address(13))]))]),
        ..Wiring::default()
    };
    let mut launches = Kiwi::new(config).launches(2, &wiring);
    assert_eq!(launches.len(), 1);
    launches.remove(0)
}

#[test]
fn a_node_is_started_with_the_flags_of_the_contract() {
    let launch = launch(KiwiConfig {
        defect: Some("stale-read".into()),
        more_flags: vec!["--more".into()],
        ..KiwiConfig::default()
    });
    let words = launch.arguments.iter().map(|word| word.to_string_lossy());
    assert_eq!(
        words.collect::<Vec<_>>().join(" "),
        "node --id 2 --listen 127.0.0.1:0 --advertise 127.0.0.1:9 --peer 1=127.0.0.1:11 \
         --peer 3=127.0.0.1:13 --data /run/nodes/2/data --reads read-index --append stream \
         --chaos-listen 127.0.0.1:0 --resp 127.0.0.1:0 --trace /run/trace/2.jsonl --defect stale-read \
         --heartbeat-ms 100 --election-min-ms 300 --election-max-ms 600 \
         --snapshot-every 300 --keep-logs 50 --lag 100 --parent-watch --more"
    );
    let folders = ["/run/nodes/2/data", "/run/trace"].map(PathBuf::from);
    assert_eq!(launch.folders, folders);
}

#[test]
fn a_node_is_told_the_token_in_its_environment_and_nowhere_else() {
    let told = |token| {
        let launch = launch(KiwiConfig {
            token,
            ..KiwiConfig::default()
        });
        let shown = format!("{launch:?} {:?}", launch.arguments);
        assert!(!shown.contains("secret"), "{shown}");
        launch.environment
    };
    let secret = Some("secret".into());
    assert_eq!(
        told(token("secret")),
        [("WHITEWATER_TOKEN".to_owned(), secret)]
    );
    // Not the one that the bench itself may have been given, either.
    assert_eq!(told(None), [("WHITEWATER_TOKEN".to_owned(), None)]);
    let kiwi = Kiwi::new(KiwiConfig {
        token: token("secret"),
        ..KiwiConfig::default()
    });
    assert!(!format!("{kiwi:?}").contains("secret"));
}

/// Counts how often it was asked.
struct Says(Arc<AtomicU64>);

#[tonic::async_trait]
impl RaftMetricsService for Says {
    async fn metrics(
        &self,
        _: Request<MetricsRequest>,
    ) -> Result<Response<MetricsResponse>, Status> {
        let term = 1 + self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(MetricsResponse {
            node_id: 1,
            role: Role::Leader.into(),
            current_leader: 1,
            term,
            ..MetricsResponse::default()
        }))
    }

    async fn leader(&self, _: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn members(
        &self,
        _: Request<MembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

/// A server that takes itself for this node and lets in who knows the token; gives where, and how often it answered.
async fn says(node: u64, token: Option<Token>) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let authenticator = Authenticator::new(token, node);
    let service = RaftMetricsServiceServer::with_interceptor(Says(asked.clone()), authenticator);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
    );
    (address, asked)
}

#[tokio::test]
async fn what_another_node_or_another_runs_node_says_is_no_status_of_this_one() {
    for (node, theirs, code) in [
        (2, token("ours"), "FailedPrecondition"),
        (1, token("theirs"), "Unauthenticated"),
        (1, token("ours"), ""),
    ] {
        let (address, asked) = says(node, theirs).await;
        let kiwi = Kiwi::new(KiwiConfig {
            token: token("ours"),
            ..KiwiConfig::default()
        });
        let ready = Ready {
            id: 1,
            pid: 1,
            at: ready(&format!("READY raft={address} chaos={address}")).unwrap(),
        };
        let mut statuses = kiwi.statuses(&ready);
        match statuses.ask(SOON).await {
            Ok(says) => {
                assert_eq!((says.leads(), says.term, code), (true, Some(1), ""));
                // It goes on as long as the node does.
                assert_eq!(statuses.ask(SOON).await.unwrap().term, Some(2));
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!code.is_empty() && said.contains(code), "{said}");
                assert_eq!(asked.load(Ordering::SeqCst), 0);
            }
        }
    }
}
