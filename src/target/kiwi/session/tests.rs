//! Against a node by hand: what is asked again, under which number, and what comes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::host::Shortages;
use crate::target::Follow;
use crate::wire::kiwi;
use kiwi::raft_client_service_server::{RaftClientService, RaftClientServiceServer};
use kiwi::raft_metrics_service_server::{RaftMetricsService, RaftMetricsServiceServer};

/// What the node does with the next write.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It never answers.
    Silence,
    /// It says that nobody knows.
    Unknown,
    /// It says that it has not proposed it.
    NotApplied,
    /// It has applied it.
    Done,
    /// Its condition did not hold.
    ConditionFailed,
}

/// A node that does with its writes what it was told, in order, and remembers their numbers.
#[derive(Clone, Default)]
struct ByHand {
    fates: Arc<Mutex<Vec<Fate>>>,
    asked: Arc<Mutex<Vec<(u64, u64)>>>,
}

fn refusal(code: Code, outcome: &'static str) -> Status {
    let mut status = Status::new(code, outcome);
    let metadata = status.metadata_mut();
    metadata.insert("kiwi-outcome", outcome.parse().unwrap());
    status
}

#[tonic::async_trait]
impl RaftClientService for ByHand {
    async fn write(
        &self,
        request: Request<kiwi::WriteRequest>,
    ) -> Result<Response<kiwi::WriteResponse>, Status> {
        let request = request.into_inner();
        let number = (request.client_id, request.sequence);
        self.asked.lock().unwrap().push(number);
        let fate = self.next();
        let success = match fate {
            Fate::Silence => return std::future::pending().await,
            Fate::Unknown => return Err(refusal(Code::Aborted, "unknown")),
            Fate::NotApplied => return Err(refusal(Code::Unavailable, "not-applied")),
            Fate::Done => true,
            Fate::ConditionFailed => false,
        };
        let leader_id = Some(kiwi::LeaderId {
            term: 2,
            node_id: None,
        });
        Ok(Response::new(kiwi::WriteResponse {
            response: Some(kiwi::Response {
                success,
                message: String::new(),
            }),
            log_id: Some(kiwi::LogId {
                leader_id,
                index: 41,
            }),
            prior: None,
        }))
    }

    async fn read(
        &self,
        _: Request<kiwi::ReadRequest>,
    ) -> Result<Response<kiwi::ReadResponse>, Status> {
        Err(refusal(Code::Unavailable, "unknown"))
    }
}

#[tonic::async_trait]
impl RaftMetricsService for ByHand {
    async fn metrics(
        &self,
        _: Request<kiwi::MetricsRequest>,
    ) -> Result<Response<kiwi::MetricsResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn leader(
        &self,
        _: Request<kiwi::LeaderRequest>,
    ) -> Result<Response<kiwi::LeaderResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn members(
        &self,
        _: Request<kiwi::MembersRequest>,
    ) -> Result<Response<kiwi::MembersResponse>, Status> {
        Ok(Response::new(Default::default()))
    }
}

impl ByHand {
    /// What it does with the next write: it is done where nothing was told.
    fn next(&self) -> Fate {
        let mut fates = self.fates.lock().unwrap();
        match fates.is_empty() {
            true => Fate::Done,
            false => fates.remove(0),
        }
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Server::builder()
            .add_service(RaftClientServiceServer::new(self.clone()))
            .add_service(RaftMetricsServiceServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        address
    }

    /// A client of this node alone, connected, in a session or in none, which waits for so long.
    async fn client(&self, session: Option<u64>, deadline: Duration) -> KiwiClient {
        let mut client = client_of(self.serve().await, session, deadline);
        answered(&mut client, Call::Write(0)).await;
        self.asked();
        client
    }

    fn tell(&self, fates: &[Fate]) {
        *self.fates.lock().unwrap() = fates.to_vec();
    }

    /// The numbers of the writes since it was last asked.
    fn asked(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A client of the node at this address, not connected.
fn client_of(address: SocketAddr, session: Option<u64>, deadline: Duration) -> KiwiClient {
    let config = ClientConfig {
        dial: BTreeMap::from([(1, address)]),
        group: 0,
        follow: Follow::Leader,
        turn: 0,
        deadline,
        patient: false,
        aimed: false,
        session,
    };
    let protocol = KiwiProtocol::new(&config, None, Shortages::default());
    KiwiClient::new(protocol, &config)
}

/// Asks until the node hears it: on a machine that is busy a connection may take too long to be made.
async fn answered(client: &mut KiwiClient, call: Call) -> Answer {
    loop {
        let answer = client.perform("k", call).await;
        let not_sent = |why: &String| why.starts_with("no connection");
        if !answer.error.as_ref().is_some_and(not_sent) {
            return answer;
        }
    }
}

/// Long enough for any answer, also on a machine that is busy.
const LONG: Duration = Duration::from_secs(20);
/// Too short for what is never answered.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_may_have_been_applied_is_asked_again_under_its_number_in_a_session_only() {
    let node = ByHand::default();
    let mut client = node.client(Some(7), LONG).await;
    node.tell(&[Fate::Unknown, Fate::NotApplied, Fate::Unknown, Fate::Done]);
    let answer = client.perform("k", Call::Write(5)).await;
    assert_eq!(answer.outcome, Outcome::Ok(None));
    assert_eq!(answer.at.map(|at| at.index), Some(41));
    let asked = node.asked();
    assert!(
        answer.repeats >= 3 && asked.len() == 4,
        "{answer:?} {asked:?}"
    );
    let (session, number) = asked[0];
    assert!(session == 7 && asked.iter().all(|other| *other == asked[0]));
    // The next one has a higher number, whatever it is; a read has none.
    client.perform("k", Call::Read).await;
    let cas = Call::Cas { old: 5, new: 6 };
    assert_eq!(answered(&mut client, cas).await.outcome, Outcome::Ok(None));
    let asked = node.asked();
    assert!(asked.len() == 1 && asked[0].1 > number, "{asked:?}");
    client.succeed(8);
    answered(&mut client, Call::Delete).await;
    let asked = node.asked();
    assert!(asked.len() == 1 && asked[0].0 == 8, "{asked:?}");

    let mut without = node.client(None, LONG).await;
    node.tell(&[Fate::Unknown]);
    let answer = without.perform("k", Call::Write(9)).await;
    assert_eq!((answer.outcome, answer.repeats), (Outcome::Unknown, 0));
    assert_eq!(node.asked(), [(0, 0)]);
}

#[tokio::test]
async fn a_refusal_is_a_failure_only_where_nothing_was_asked_before_that_may_be_applied() {
    let node = ByHand::default();
    let mut client = node.client(Some(7), LONG).await;
    node.tell(&[Fate::NotApplied]);
    let answer = client.perform("k", Call::Write(1)).await;
    assert_eq!((answer.outcome, answer.repeats), (Outcome::Failed, 0));
    assert_eq!(node.asked().len(), 1);
    // A comparison that was made is an answer, to the first request or to a repetition.
    node.tell(&[Fate::Unknown, Fate::ConditionFailed]);
    let answer = answered(&mut client, Call::Cas { old: 1, new: 2 }).await;
    assert!(
        answer.outcome == Outcome::Differed(None) && answer.repeats > 0,
        "{answer:?}"
    );
    assert!(answer.at.is_some());
    assert_eq!(node.asked().len(), 2);

    let mut hasty = node.client(Some(9), SHORT).await;
    let mut fates = vec![Fate::NotApplied; 100];
    fates[0] = Fate::Unknown;
    node.tell(&fates);
    let answer = hasty.perform("k", Call::Write(3)).await;
    assert_eq!(answer.outcome, Outcome::Unknown, "{answer:?}");
    assert!(answer.at.is_none(), "{answer:?}");
}

#[tokio::test]
async fn a_write_that_nobody_answers_is_unknown_in_the_end() {
    let node = ByHand::default();
    let mut client = node.client(Some(7), SHORT).await;
    node.tell(&[Fate::Silence; 10]);
    let answer = client.perform("k", Call::Write(1)).await;
    assert_eq!(answer.outcome, Outcome::Unknown, "{answer:?}");
    let asked = node.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|number| *number == asked[0]),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_write_that_never_left_has_failed_and_is_not_unknown() {
    // Nobody listens on a port that was bound and let go.
    let gone = std::net::TcpListener::bind("127.0.0.1:0");
    let gone = gone.unwrap().local_addr().unwrap();
    let mut client = client_of(gone, None, Duration::from_millis(500));
    let answer = client.perform("k1", Call::Write(1)).await;
    assert_eq!(answer.outcome, Outcome::Failed, "{answer:?}");
}
