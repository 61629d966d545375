//! `RaftMetricsService`: what this node knows of the cluster and of its own calls.

use std::{collections::BTreeMap, sync::Arc};

use openraft::{RaftMetrics, ServerState, async_runtime::WatchReceiver};
use tonic::{Request, Response, Status};

use super::{
    client::ok,
    convert,
    core::Received,
    peers::Peers,
    shortages::Shortages,
    types::{NodeId, Raft, Types},
};
use crate::wire::kiwi::{self, raft_metrics_service_server::RaftMetricsService};

/// Answers from openraft's metrics and the peers' statistics; nothing here asks another node.
pub(crate) struct Metrics {
    pub(crate) raft: Raft,
    pub(crate) peers: Peers,
    pub(crate) received: Arc<Received>,
    pub(crate) shortages: Shortages,
}

impl Metrics {
    fn now(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    fn replication(&self, metrics: &RaftMetrics<Types>) -> Vec<kiwi::PeerReplication> {
        let health = self
            .peers
            .all()
            .into_iter()
            .map(|peer| (peer.id, peer.health()));
        let mut rows: BTreeMap<NodeId, kiwi::PeerReplication> = health.collect();
        for (id, matching) in metrics.replication.iter().flatten() {
            if *id != metrics.id {
                let row = rows.entry(*id).or_insert_with(|| kiwi::PeerReplication {
                    node_id: *id,
                    health: "connecting".to_owned(),
                    ..Default::default()
                });
                row.matching = convert::log_id_out(*matching);
            }
        }
        rows.into_values().collect()
    }
}

#[tonic::async_trait]
impl RaftMetricsService for Metrics {
    async fn metrics(
        &self,
        _: Request<kiwi::MetricsRequest>,
    ) -> Result<Response<kiwi::MetricsResponse>, Status> {
        let now = self.now();
        let peers = self.replication(&now);
        let rpcs = self
            .peers
            .all()
            .into_iter()
            .flat_map(|peer| peer.statistics())
            .collect();
        let running = match &now.running_state {
            Ok(()) => ok(),
            Err(fatal) => kiwi::Response {
                success: false,
                message: fatal.to_string(),
            },
        };
        Ok(Response::new(kiwi::MetricsResponse {
            response: Some(running),
            is_leader: now.state == ServerState::Leader,
            replication_lag: lag(&now),
            current_leader: now.current_leader.unwrap_or(0),
            node_id: now.id,
            term: now.current_term,
            role: role(now.state) as i32,
            vote: Some(now.vote.into()),
            last_log_index: now.last_log_index.unwrap_or(0),
            committed: convert::log_id_out(now.local_committed),
            applied: convert::log_id_out(now.last_applied),
            snapshot: convert::log_id_out(now.snapshot),
            purged: convert::log_id_out(now.purged),
            membership: Some(now.membership_config.membership().into()),
            peers,
            rpcs,
            received: self.received.counts(),
            membership_log_id: convert::log_id_out(*now.membership_config.log_id()),
            shortages: self.shortages.counts(),
        }))
    }

    async fn leader(
        &self,
        _: Request<kiwi::LeaderRequest>,
    ) -> Result<Response<kiwi::LeaderResponse>, Status> {
        let now = self.now();
        let nodes = now.membership_config.membership();
        let node = now.current_leader.and_then(|id| {
            let address = nodes.get_node(&id)?;
            Some(convert::node_out(id, address))
        });
        Ok(Response::new(kiwi::LeaderResponse {
            response: Some(ok()),
            leader_id: now.current_leader.unwrap_or(0),
            leader_node: node,
        }))
    }

    async fn members(
        &self,
        _: Request<kiwi::MembersRequest>,
    ) -> Result<Response<kiwi::MembersResponse>, Status> {
        let now = self.now();
        let membership = now.membership_config.membership();
        let nodes = membership.nodes();
        Ok(Response::new(kiwi::MembersResponse {
            response: Some(ok()),
            members: nodes
                .map(|(id, address)| convert::node_out(*id, address))
                .collect(),
            learners: membership.learner_ids().collect(),
        }))
    }
}

fn role(state: ServerState) -> kiwi::Role {
    match state {
        ServerState::Learner => kiwi::Role::Learner,
        ServerState::Follower => kiwi::Role::Follower,
        ServerState::Candidate => kiwi::Role::Candidate,
        ServerState::Leader => kiwi::Role::Leader,
        ServerState::Shutdown => kiwi::Role::Shutdown,
    }
}

/// How far the follower that is furthest behind is behind; only a leader knows.
fn lag(metrics: &RaftMetrics<Types>) -> Option<u64> {
    let last = metrics.last_log_index.map_or(0, |index| index + 1);
    let replication = metrics.replication.as_ref()?;
    let next = |matching: &Option<super::types::LogId>| matching.map_or(0, |id| id.index + 1);
    replication
        .values()
        .map(|matching| last.saturating_sub(next(matching)))
        .max()
}
