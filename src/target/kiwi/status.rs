//! A node's metrics, in nobody's protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Kiwi;
use super::ask::{noting, within};
use crate::host::Shortages;
use crate::journal::{Membership, NodeStatus, Role, RpcView, Vote};
use crate::target::{Asked, Ready, Statuses};
use crate::wire::kiwi::raft_metrics_service_client::RaftMetricsServiceClient;
use crate::wire::kiwi::{self, MetricsRequest, MetricsResponse};
use crate::wire::metadata::AuthorizedChannel;

/// Asks one life of a node, on one connection.
pub(super) struct Metrics {
    node: u64,
    client: RaftMetricsServiceClient<AuthorizedChannel>,
    shortages: Shortages,
}

impl Metrics {
    pub(super) fn of(kiwi: &Kiwi, node: &Ready) -> Metrics {
        let channel = kiwi.channel(node.id, node.at.clients);
        Metrics {
            node: node.id,
            client: RaftMetricsServiceClient::new(channel),
            shortages: kiwi.config.shortages.clone(),
        }
    }
}

impl Statuses for Metrics {
    fn ask(&mut self, deadline: Duration) -> Asked<'_, NodeStatus> {
        Box::pin(async move {
            let call = self.client.metrics(MetricsRequest {});
            let call = noting(&self.shortages, self.node, call);
            let metrics = within(self.node, "its status", deadline, call).await?;
            Ok(status(metrics))
        })
    }
}

fn status(metrics: MetricsResponse) -> NodeStatus {
    let index = |id: &Option<kiwi::LogId>| id.as_ref().map(|id| id.index);
    NodeStatus {
        role: match metrics.role() {
            kiwi::Role::Unspecified => Role::Unheard,
            kiwi::Role::Follower => Role::Follower,
            kiwi::Role::Candidate => Role::Candidate,
            kiwi::Role::Leader => Role::Leader,
            kiwi::Role::Learner => Role::Learner,
            kiwi::Role::Shutdown => Role::Shutdown,
        },
        term: Some(metrics.term),
        vote: metrics.vote.as_ref().and_then(vote),
        leader: Some(metrics.current_leader).filter(|&leader| leader != 0),
        last: Some(metrics.last_log_index),
        committed: index(&metrics.committed),
        applied: index(&metrics.applied),
        snapshot: index(&metrics.snapshot),
        membership: metrics
            .membership
            .map(|membership| members(membership, metrics.membership_log_id.as_ref())),
        rpcs: by_method(&metrics.rpcs),
        shortages: metrics.shortages.into_iter().collect(),
    }
}

fn vote(vote: &kiwi::Vote) -> Option<Vote> {
    let leader = vote.leader_id.as_ref()?;
    Some(Vote {
        term: leader.term,
        node: leader.node_id.as_ref()?.id,
        committed: vote.committed,
    })
}

fn members(membership: kiwi::Membership, at: Option<&kiwi::LogId>) -> Membership {
    let sets = membership.configs.into_iter();
    let nodes = membership.nodes.into_iter();
    Membership {
        voters: sets.map(|set| set.node_ids).collect(),
        nodes: nodes.map(|node| node.node_id).collect(),
        at: at.map(|at| {
            let by = at.leader_id.as_ref();
            let term = by.map_or(0, |by| by.term);
            let who = by.and_then(|by| by.node_id.as_ref()).map_or(0, |id| id.id);
            (term, who, at.index)
        }),
    }
}

/// A row a method, over all peers; its latencies are those of the slowest.
fn by_method(rows: &[kiwi::RpcStatistics]) -> Vec<RpcView> {
    let mut methods: BTreeMap<&str, RpcView> = BTreeMap::new();
    for row in rows {
        let all = methods.entry(&row.method).or_default();
        all.method.clone_from(&row.method);
        all.calls += row.calls;
        all.in_flight += row.in_flight;
        all.errors += row.errors.values().sum::<u64>();
        all.bytes += row.bytes_sent + row.bytes_received;
        all.p50_us = all.p50_us.max(row.p50_us);
        all.p99_us = all.p99_us.max(row.p99_us);
    }
    methods.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_added_up_over_the_peers_and_the_slowest_one_counts() {
        let row = |peer, calls, p99_us| kiwi::RpcStatistics {
            peer,
            method: "Vote".to_owned(),
            calls,
            errors: [("UNAVAILABLE".to_owned(), 1)].into(),
            p99_us,
            ..kiwi::RpcStatistics::default()
        };
        let rows = by_method(&[row(2, 3, 50), row(3, 4, 70)]);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].calls, rows[0].errors, rows[0].p99_us), (7, 2, 70));
    }

    #[test]
    fn what_a_node_does_not_know_is_absent_and_not_zero() {
        let id = |index| {
            let node_id = Some(kiwi::NodeId { id: 2 });
            let leader_id = Some(kiwi::LeaderId { term: 3, node_id });
            kiwi::LogId { leader_id, index }
        };
        let says = status(MetricsResponse {
            role: kiwi::Role::Leader.into(),
            term: 3,
            applied: Some(id(7)),
            membership: Some(kiwi::Membership::default()),
            membership_log_id: Some(id(1)),
            ..MetricsResponse::default()
        });
        assert!(says.leads());
        assert_eq!((says.term, says.leader), (Some(3), None));
        assert_eq!((says.committed, says.applied), (None, Some(7)));
        assert_eq!(says.membership.unwrap().at, Some((3, 2, 1)));
    }
}
