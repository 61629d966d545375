//! The system under test: Kiwi's Raft RPC layer over openraft, one process.
//!
//! ```text
//!   clients ─► client ──┐                        ┌─► log_store ─► log.redb     (fsync before every answer)
//!   operators ─► admin ─┼─► openraft (RaftCore) ─┼─► state_machine ─► state.redb, snapshots/
//!   peers ─► core ──────┘                        └─► network, pipeline, snapshot::transfer ─► peers
//! ```
//!
//! A request comes in through one of the four services, is converted and checked (`convert`), becomes a proposal, an
//! entry in the log, a message to the peers, a row of the store, and an answer. The node does not know that it is
//! tested, but for `--defect` and for `chaos`, which only answers questions: its disk, its clock and its links go wrong
//! outside of it.
//!
//! # What works, and the test that shows it
//! Tests are those of `tests/node/`, of the other files of `tests/` (`cluster`, `disks`, `run`) and of the modules here (`...::tests`).
//! `documented::every_row_names_a_test_that_there_is` reads these tables.
//!
//! | RPC | test |
//! | --- | --- |
//! | RaftCoreService.Vote | `serving::three_nodes_serve_and_survive_their_leader` |
//! | RaftCoreService.AppendEntries | `serving::entries_travel_by_unary_calls_where_told`, `snapshots::entries_go_by_unary_calls_to_peers_that_have_no_stream` |
//! | RaftCoreService.StreamAppend | `services::the_leader_and_its_calls_are_shown` (the default) |
//! | RaftCoreService.InstallSnapshot | `serving::a_follower_behind_the_purge_point_catches_up_by_snapshot` |
//! | RaftCoreService.TransferLeader | `membership::leadership_is_handed_to_the_node_that_is_named` |
//! | RaftAdminService.Initialize | `serving::three_nodes_serve_and_survive_their_leader` |
//! | RaftAdminService.AddLearner | `membership::a_learner_is_promoted_and_the_old_leader_removed_under_load` |
//! | RaftAdminService.ChangeMembership | `membership::a_learner_is_promoted_and_the_old_leader_removed_under_load` |
//! | RaftAdminService.RemoveNode | `membership::a_learner_is_promoted_and_the_old_leader_removed_under_load` |
//! | RaftAdminService.GetNodeCapabilities | `membership::senseless_changes_are_refused_with_a_reason` |
//! | RaftAdminService.TransferLeadership | `membership::leadership_is_handed_to_the_node_that_is_named` |
//! | RaftClientService.Write | `serving::three_nodes_serve_and_survive_their_leader` |
//! | RaftClientService.Read | `serving::three_nodes_serve_and_survive_their_leader` |
//! | RaftMetricsService.Metrics | `services::the_leader_and_its_calls_are_shown` |
//! | RaftMetricsService.Leader | `services::the_leader_and_its_calls_are_shown` |
//! | RaftMetricsService.Members | `membership::a_learner_is_promoted_and_the_old_leader_removed_under_load` |
//! | grpc.health.v1, reflection | `services::a_node_says_that_it_is_well_and_what_it_serves` |
//! | Redis protocol | `redis::redis_clients_set_get_delete_and_are_redirected`, `redis::a_pipeline_of_commands_is_answered_in_its_order`, `redis::redis_cli_and_redis_benchmark_work_where_they_are_installed` |
//!
//! | section 8.2 of the reference document | how | test |
//! | --- | --- | --- |
//! | StreamAppend: pipelined replication | `pipeline` | `pipeline::tests::a_window_of_requests_is_in_flight_and_answers_are_matched_in_their_order`, `pipeline::tests::a_stream_that_is_given_up_takes_no_more_requests`, `convert::tests::an_answer_of_the_stream_survives_the_wire` |
//! | InstallSnapshot: streamed, for large snapshots | `snapshot`, `snapshot::transfer` | `serving::the_largest_values_travel_by_entries_and_by_a_snapshot_of_many_chunks`, `snapshots::damaged_chunks_are_refused_and_a_whole_snapshot_is_taken_afterwards` |
//! | connection pool with health checks | `peers`: two channels for each peer, keepalive, health | `snapshots::heartbeats_go_on_while_replication_is_stuck`, `peers::tests::a_peer_that_takes_the_connection_and_says_nothing_is_given_up_by_its_pings`, `services::a_paused_peer_is_noticed_and_so_is_its_return` |
//! | latency and error statistics for each RPC | `peers`, in `Metrics` | `services::the_leader_and_its_calls_are_shown`, `peers::tests::every_latency_is_in_the_bucket_that_reaches_up_to_it` |
//!
//! | what the reference document or Kiwi gets wrong | here | test |
//! | --- | --- | --- |
//! | a non-success AppendEntries becomes a network error | each answer is mapped to itself | `convert::tests::an_append_answer_survives_the_wire`, `cluster::a_cut_leader_is_replaced_behind_links_of_messages` |
//! | Read asks only "am I leader?" | read-index by default; the document's way on demand, and the bench catches it | `serving::a_leader_without_a_quorum_answers_no_read_and_says_what_is_known`, `run::the_stale_read_defect_is_found_and_shown_with_who_answered_and_what_was_cut` |
//! | a missing field becomes a default | it is refused, so is node id 0 | `convert::tests::what_no_leader_sends_is_refused_as_a_whole` |
//! | entries that do not convert are left out | the whole message fails | `convert::tests::what_no_leader_sends_is_refused_as_a_whole` |
//! | a joint membership becomes a union | it travels as one | `convert::tests::a_joint_membership_never_becomes_a_union`, `convert::tests::a_membership_survives_the_wire_joint_or_not` |
//! | ChangeMembership swaps only the node map | voters are added, removed, replaced | `membership::a_learner_is_promoted_and_the_old_leader_removed_under_load` |
//! | StreamAppend and InstallSnapshot are stubs | real ones, checked, cancelled, killed | `snapshots::damaged_chunks_are_refused_and_a_whole_snapshot_is_taken_afterwards`, `snapshots::a_snapshot_for_a_node_that_is_removed_is_cancelled_and_leaves_nothing`, `snapshots::a_kill_in_the_middle_of_a_snapshot_leaves_the_old_state_or_the_new_one`, `snapshots::a_deposed_sender_of_a_snapshot_is_answered_with_the_newer_vote` |
//! | one mutex around each peer's client | two shared channels for each peer | `snapshots::heartbeats_go_on_while_replication_is_stuck` |
//! | every error is `Network` | four kinds; a call ends with its own TTL, but for entries and snapshots (below) | `network::tests::a_status_means_to_openraft_what_it_is` |
//! | no connect timeout, no keepalive | both | `peers::tests::a_peer_that_takes_no_connection_is_given_up_after_the_connect_timeout`, `peers::tests::a_peer_that_takes_the_connection_and_says_nothing_is_given_up_by_its_pings` |
//! | 4 MiB a message | the limits are set, commands and batches are bounded | `client::tests::a_command_is_refused_by_what_its_entry_costs`, `log_store::tests::a_batch_is_bounded_by_its_bytes_and_has_one_entry_at_least`, `serving::the_largest_values_travel_by_entries_and_by_a_snapshot_of_many_chunks` |
//! | errors of Write are INTERNAL with text | status, leader hint, "not-applied" or "unknown" | `serving::three_nodes_serve_and_survive_their_leader`, `serving::a_leader_without_a_quorum_answers_no_read_and_says_what_is_known` |
//! | nothing is fsynced | vote and log are synced before the answer | `disks::a_power_loss_of_all_loses_nothing_that_was_acknowledged`, `disks::a_power_loss_of_all_loses_what_was_acknowledged_before_it_was_synced` (a planted defect), `disks::a_vote_outlasts_a_power_loss_once_it_is_answered` |
//! | applied index in memory, data on disk | one transaction | `snapshots::a_kill_in_the_middle_of_a_snapshot_leaves_the_old_state_or_the_new_one` |
//! | retried writes apply twice | sessions, in snapshots too | `serving::a_repeated_request_is_answered_as_the_first_one_was`, `run::a_request_that_is_asked_again_is_carried_out_once_and_it_shows_where_it_is_not` |
//! | the server binds the advertised address | a dial map goes before the membership | `snapshots::entries_go_by_unary_calls_to_peers_that_have_no_stream` (through relays) |
//! | SIGTERM is abrupt | graceful, and a dead parent ends the node | `serving::sigterm_ends_a_node_gracefully`, `serving::a_node_ends_when_its_standard_input_is_closed` |
//!
//! openraft gives every call a time to live. Heartbeats, votes and transfers end with theirs. Entries, streamed or not,
//! may stay unanswered for twice the longest election timeout: their time to live follows the heartbeat interval, a large
//! batch on a slow disk takes longer, and giving up early would send it again. A snapshot's is for each of its chunks.
//!
//! A node that is given a token ([`TOKEN_VARIABLE`]) answers only calls that carry it and name this node as their
//! receiver, and its own calls at peers do both; started by hand without one, it answers everybody, but no call that is
//! meant for another node (`token::every_method_asks_for_the_token_and_for_this_nodes_number_and_does_nothing_without`,
//! `token::a_node_that_was_started_by_hand_asks_for_nothing_but_that_it_is_meant`, and over Redis
//! `redis::a_node_with_a_token_asks_redis_clients_for_it_as_their_password`).
//!
//! No malformed request ends the node (`malformed::ten_thousand_mutated_messages_are_answered_and_the_node_goes_on`). A
//! well-formed message of Raft that no peer would send, say entries that contradict what is committed, may well end it:
//! Raft trusts its peers, which is why the nodes of a run ask for a token.

mod admin;
mod chaos;
mod client;
mod codec;
mod convert;
mod core;
mod data_dir;
mod defect;
mod disk;
mod log_store;
mod metrics;
mod network;
mod options;
mod peers;
mod pipeline;
mod resp;
mod shortages;
mod snapshot;
mod state_machine;
mod trace;
mod types;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, stream};
use openraft::async_runtime::WatchReceiver;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tonic::{service::InterceptorLayer, transport::Server};

use self::{
    data_dir::DataDir, defect::Planted, disk::Disk, log_store::LogStore, network::NetworkFactory,
    peers::Peers, shortages::Shortages, state_machine::StateMachine, trace::Trace, types::Raft,
};
pub use self::{
    defect::Defect,
    options::{AppendMode, NodeArgs, Peer, PeerError, ReadMode, Switch},
};
use crate::shortage::Shortage;
pub use crate::wire::metadata::{TOKEN_VARIABLE, Token};
use crate::wire::{
    DESCRIPTORS,
    chaos::chaos_service_server::ChaosServiceServer,
    kiwi::{
        raft_admin_service_server::RaftAdminServiceServer,
        raft_client_service_server::RaftClientServiceServer,
        raft_core_service_server::RaftCoreServiceServer,
        raft_metrics_service_server::RaftMetricsServiceServer,
    },
    metadata::Authenticator,
};

/// Why a node does not start, or ends by itself.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct NodeError {
    doing: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl NodeError {
    /// What the host did not give, where it was that.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        Shortage::behind(self.source.as_ref())
    }

    fn at<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        doing: impl Into<String>,
    ) -> impl FnOnce(E) -> NodeError {
        let doing = doing.into();
        move |error| NodeError {
            doing,
            source: error.into(),
        }
    }
}

/// Why a node that has started is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// What the host did not give, where it was that.
    pub shortage: Option<Shortage>,
}

/// Bytes that a sender may have on its way in one HTTP/2 stream, and in one connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Replication may bring no answer for so many of the longest election timeouts: a large batch on a slow disk takes its
/// time, and giving up early would send it again. (Heartbeats have their own, short limit; a dead connection is noticed
/// by its pings.)
const STALL_ELECTIONS: u64 = 2;

/// How often a little of the disk is read again.
const SCRUB_EVERY: Duration = Duration::from_millis(100);

/// A connection that could not be taken waits for so long: descriptors come back.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);
/// Ports that are tried by number where the kernel has none to choose.
const PORTS_TRIED: usize = 64;

/// A running node.
#[derive(Debug)]
pub struct Node {
    raft: Raft,
    state: StateMachine,
    stop: watch::Sender<bool>,
    /// What the scrub of the disk ended with: nothing that is read there can be believed any more.
    scrub: JoinHandle<io::Error>,
    shortages: Shortages,
    servers: Vec<JoinHandle<Result<(), tonic::transport::Error>>>,
    /// Where the gRPC services listen.
    pub raft_addr: SocketAddr,
    /// Where the bench's service listens, if it is served.
    pub chaos_addr: Option<SocketAddr>,
    /// Where the Redis protocol is served, if it is.
    pub resp_addr: Option<SocketAddr>,
}

impl Node {
    /// Opens the storage, binds the listeners, starts Raft and serves. With a token it answers only who knows it, and
    /// shows it to its peers.
    ///
    /// # Errors
    /// When the data directory is another's, a file or listener cannot be opened, or openraft refuses the settings.
    pub async fn start(args: NodeArgs, token: Option<Token>) -> Result<Node, NodeError> {
        let data =
            DataDir::open(&args.data, args.id).map_err(NodeError::at("the data directory"))?;
        let (listener, raft_addr) = bind(args.listen).await?;
        let chaos_listener = match args.chaos_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let resp_listener = match args.resp {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let resp_addr = resp_listener.as_ref().map(|(_, address)| *address);
        let chaos_addr = chaos_listener.as_ref().map(|(_, address)| *address);
        let planted = Planted::new(args.defect);
        let shortages = Shortages::default();
        let disk = Disk::new(shortages.clone());
        let (log, state) = open_storage(&args, &data, &planted, &disk, &shortages)?;
        data.sync().map_err(NodeError::at("the data directory"))?;
        let guard = log.has_voted().then(|| args.vote_guard()).flatten();
        let config = args.raft_config(guard.is_none());
        let config = config.map_err(NodeError::at("the timings"))?;
        let connect_timeout = Duration::from_millis(args.connect_ms);
        let peers = Peers::new(args.dial(), connect_timeout, token.clone());
        let peers = peers.noting(shortages.clone());
        let authenticator = Authenticator::new(token.clone(), args.id);
        let network = NetworkFactory {
            me: args.id,
            peers: peers.clone(),
            append: args.append,
            stall: Duration::from_millis(args.election_max_ms * STALL_ELECTIONS),
            snapshot_chunk: args.snapshot_chunk,
            planted: planted.clone(),
        };
        let raft = Raft::new(args.id, Arc::new(config), network, log, state.clone()).await;
        let raft = raft.map_err(NodeError::at("raft"))?;
        if let Some(guard) = guard {
            tokio::spawn(campaign_after(guard, raft.clone()));
        }
        let (stop, stopping) = watch::channel(false);
        let mut node = Node {
            raft: raft.clone(),
            state: state.clone(),
            stop,
            scrub: tokio::spawn(scrub(disk)),
            shortages: shortages.clone(),
            servers: Vec::new(),
            raft_addr,
            chaos_addr,
            resp_addr,
        };
        let advertised = args
            .advertise
            .clone()
            .unwrap_or_else(|| raft_addr.to_string());
        let received = Arc::<core::Received>::default();
        let services = Services {
            core: core::Core {
                raft: raft.clone(),
                snapshots: data.snapshots(),
                guarded_until: guard.map(|guard| Instant::now() + guard),
                received: received.clone(),
            },
            admin: admin::Admin {
                me: args.id,
                advertised: types::Address {
                    raft: advertised,
                    resp: resp_addr
                        .map(|address| address.to_string())
                        .unwrap_or_default(),
                },
                raft: raft.clone(),
                capabilities: capabilities(&args),
            },
            client: client::Client {
                me: args.id,
                raft: raft.clone(),
                state: state.clone(),
                reads: args.reads,
                timeout: Duration::from_millis(args.request_ms),
                lease: args.lease(),
                planted: planted.clone(),
            },
            metrics: metrics::Metrics {
                raft,
                peers,
                received,
                shortages: shortages.clone(),
            },
        };
        if let Some((listener, _)) = resp_listener {
            let serving = resp::serve(listener, services.client.clone(), token, stopping.clone());
            node.servers.push(tokio::spawn(async {
                serving.await;
                Ok(())
            }));
        }
        node.servers.push(
            services
                .serve(
                    incoming(listener, shortages.clone()),
                    &authenticator,
                    stopping.clone(),
                )
                .await?,
        );
        if let Some((listener, _)) = chaos_listener {
            let chaos = chaos::Chaos { state, planted };
            let incoming = incoming(listener, shortages);
            node.servers
                .push(serve_chaos(chaos, incoming, authenticator, stopping));
        }
        Ok(node)
    }

    /// Resolves when Raft has stopped by itself, or the disk gives what was not written there, with the reason: the
    /// node is then of no more use.
    pub async fn failed(&mut self) -> Failure {
        let raft = raft_failed(&self.raft);
        let reason = tokio::select! {
            reason = raft => reason,
            found = &mut self.scrub => match found {
                Ok(error) => format!("the disk cannot be believed: {error}"),
                Err(error) => format!("the scrub of the disk ended: {error}"),
            },
        };
        // What the disk met first may have reached Raft by another call, in other words.
        let shortage = Shortage::in_text(&reason).or_else(|| self.shortages.on_disk());
        Failure { reason, shortage }
    }

    /// Stops Raft, then the listeners, then syncs the store. Takes a few hundred milliseconds.
    pub async fn shutdown(self) {
        self.scrub.abort();
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!("raft did not end well: {error}");
        }
        let _ = self.stop.send(true);
        for server in self.servers {
            // Streams of peers may stay open; the connections end with the process.
            let _ = tokio::time::timeout(Duration::from_millis(200), server).await;
        }
        let state = self.state;
        let synced = tokio::task::spawn_blocking(move || state.store.sync()).await;
        match synced {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the state could not be synced: {error}"),
            Err(error) => tracing::error!("the state could not be synced: {error}"),
        }
    }
}

/// Resolves when Raft has stopped by itself, with the reason.
async fn raft_failed(raft: &Raft) -> String {
    let mut metrics = raft.metrics();
    loop {
        if let Err(fatal) = &metrics.borrow_watched().running_state {
            return fatal.to_string();
        }
        if metrics.changed().await.is_err() {
            return "raft has ended".to_owned();
        }
    }
}

/// Reads what was written again and again, a little at a time; gives the first error.
async fn scrub(disk: Disk) -> io::Error {
    let mut tick = tokio::time::interval(SCRUB_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let disk = disk.clone();
        match tokio::task::spawn_blocking(move || disk.scrub()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(error) => return io::Error::other(error),
        }
    }
}

/// The four services of `kiwi.raft.v1`.
struct Services {
    core: core::Core,
    admin: admin::Admin,
    client: client::Client,
    metrics: metrics::Metrics,
}

impl Services {
    async fn serve(
        self,
        incoming: impl Stream<Item = io::Result<TcpStream>> + Send + 'static,
        authenticator: &Authenticator,
        stopping: watch::Receiver<bool>,
    ) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, NodeError> {
        let limit = peers::MESSAGE_BYTES;
        let core = RaftCoreServiceServer::new(self.core)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let client = RaftClientServiceServer::new(self.client)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_serving::<RaftCoreServiceServer<core::Core>>()
            .await;
        reporter
            .set_serving::<RaftAdminServiceServer<admin::Admin>>()
            .await;
        reporter
            .set_serving::<RaftClientServiceServer<client::Client>>()
            .await;
        reporter
            .set_serving::<RaftMetricsServiceServer<metrics::Metrics>>()
            .await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(NodeError::at("reflection"))?;
        let router = server()
            .layer(InterceptorLayer::new(authenticator.clone()))
            .add_service(core)
            .add_service(client)
            .add_service(RaftAdminServiceServer::new(self.admin))
            .add_service(RaftMetricsServiceServer::new(self.metrics))
            .add_service(health)
            .add_service(reflection);
        let serving = router.serve_with_incoming_shutdown(incoming, stopped(stopping));
        Ok(tokio::spawn(serving))
    }
}

/// Serves what the bench asks, on a listener of its own.
fn serve_chaos(
    chaos: chaos::Chaos,
    incoming: impl Stream<Item = io::Result<TcpStream>> + Send + 'static,
    authenticator: Authenticator,
    stopping: watch::Receiver<bool>,
) -> JoinHandle<Result<(), tonic::transport::Error>> {
    let router = server()
        .layer(InterceptorLayer::new(authenticator))
        .add_service(ChaosServiceServer::new(chaos));
    tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped(stopping)))
}

/// Opens log and state, and tells the trace what they hold.
fn open_storage(
    args: &NodeArgs,
    data: &DataDir,
    planted: &Planted,
    disk: &Disk,
    shortages: &Shortages,
) -> Result<(LogStore, StateMachine), NodeError> {
    let trace = match &args.trace {
        Some(path) => {
            Trace::open(path, args.id, shortages.clone()).map_err(NodeError::at("the trace"))?
        }
        None => Trace::default(),
    };
    let log = LogStore::open(&data.log(), trace.clone(), planted, disk)
        .map_err(NodeError::at("the log"))?;
    let log = match args.group_commit {
        Switch::On => log,
        Switch::Off => log.without_group_commit(),
    };
    let state = StateMachine::open(
        &data.state(),
        &data.snapshots(),
        trace.clone(),
        planted,
        disk,
    );
    let state = state.map_err(NodeError::at("the state"))?;
    if trace.is_on() {
        let told = || -> io::Result<()> {
            let mut stored = log.stored()?;
            (stored.applied, stored.snapshot) = state.stored()?;
            trace.start(&stored)
        };
        told().map_err(NodeError::at("the trace"))?;
    }
    Ok((log, state))
}

/// Ends the vote guard's second half: openraft was started without elections.
async fn campaign_after(guard: Duration, raft: Raft) {
    tokio::time::sleep(guard).await;
    raft.runtime_config().elect(true);
}

/// Listens there. Where any port will do and the kernel has none to choose, because connections take up its whole range,
/// others are tried by number: most lie outside of that range.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let bound = async {
        let mut bound = TcpListener::bind(address).await;
        for _ in 0..PORTS_TRIED {
            match &bound {
                Err(error) if address.port() == 0 && is_taken(error) => {
                    let port = rand::random_range(1_024..=u16::MAX);
                    bound = TcpListener::bind((address.ip(), port)).await;
                }
                _ => break,
            }
        }
        let listener = bound?;
        let address = listener.local_addr()?;
        io::Result::Ok((listener, address))
    };
    bound
        .await
        .map_err(NodeError::at(format!("listening on {address}")))
}

fn is_taken(error: &io::Error) -> bool {
    Shortage::of(error) == Some(Shortage::Ports)
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(peers::KEEPALIVE))
        .http2_keepalive_timeout(Some(peers::KEEPALIVE))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// The connections that come. One that cannot be taken now, for want of a descriptor, is taken later: tonic would never
/// take another.
fn incoming(
    listener: TcpListener,
    shortages: Shortages,
) -> impl Stream<Item = io::Result<TcpStream>> + Send + 'static {
    stream::unfold((listener, shortages), |(listener, shortages)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // A connection that is gone already has no options.
                    let _ = stream.set_nodelay(true);
                    return Some((Ok(stream), (listener, shortages)));
                }
                Err(error) => {
                    shortages.note("taking a connection", &error);
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    })
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone has stopped, too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// What this node can do beside the reference document, for `GetNodeCapabilities`.
fn capabilities(args: &NodeArgs) -> Vec<String> {
    let mut all = vec![
        "stream-append".to_owned(),
        "stream-snapshot".to_owned(),
        "joint-membership".to_owned(),
        "pre-vote-rpc".to_owned(),
        "leader-transfer".to_owned(),
        "conditions".to_owned(),
        "sessions".to_owned(),
    ];
    if args.resp.is_some() {
        all.push("resp".to_owned());
    }
    all
}
