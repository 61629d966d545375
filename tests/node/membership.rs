//! Membership under load: a learner is added, promoted, and the old leader removed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tonic::Code;
use whitewater::wire::kiwi::{
    AddLearnerRequest, ChangeMembershipRequest, GetNodeCapabilitiesRequest, MembersRequest,
    RemoveNodeRequest, TransferLeadershipRequest,
    raft_metrics_service_client::RaftMetricsServiceClient,
};

use crate::nodes::{Nodes, put};

/// Writes 1, 2, 3, ... to one key through whichever node takes it, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(nodes: &Nodes, ids: std::ops::RangeInclusive<u64>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut clients: Vec<_> = ids.map(|id| nodes.client(id)).collect();
        let (stopped, count) = (stop.clone(), acknowledged.clone());
        let task = tokio::spawn(async move {
            let mut number = 1;
            while !stopped.load(Ordering::Relaxed) {
                for client in &mut clients {
                    if client.write(put("load", &number.to_string())).await.is_ok() {
                        count.store(number, Ordering::Relaxed);
                        number += 1;
                    }
                }
            }
        });
        Load {
            stop,
            acknowledged,
            task,
        }
    }

    /// Waits until the load has gone on by a few writes: the cluster serves.
    async fn goes_on(&self) {
        let from = self.acknowledged.load(Ordering::Relaxed);
        let began = std::time::Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) < from + 5 {
            let now = self.acknowledged.load(Ordering::Relaxed);
            assert!(began.elapsed() < Duration::from_secs(15), "stuck at {now}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load");
        self.acknowledged.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_is_promoted_and_the_old_leader_removed_under_load() {
    let mut nodes = Nodes::start(
        3,
        &[
            "--snapshot-every",
            "100",
            "--keep-logs",
            "10",
            "--lag",
            "50",
        ],
    )
    .await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    nodes.spawn(4);
    let load = Load::start(&nodes, 1..=4);
    load.goes_on().await;

    let request = AddLearnerRequest {
        node_id: 4,
        node: Some(nodes.config(4)),
    };
    nodes
        .admin(leader)
        .add_learner(request)
        .await
        .expect("a learner");
    let mut metrics = RaftMetricsServiceClient::new(nodes.channel(nodes.address(leader)));
    let members = metrics
        .members(MembersRequest {})
        .await
        .expect("members")
        .into_inner();
    assert_eq!((members.members.len(), members.learners), (4, vec![4]));

    let voters = (1..=4).map(|id| nodes.config(id)).collect();
    let request = ChangeMembershipRequest {
        members: voters,
        retain: false,
    };
    nodes
        .admin(leader)
        .change_membership(request)
        .await
        .expect("promoted");
    load.goes_on().await;

    let request = RemoveNodeRequest { node_id: leader };
    nodes
        .admin(leader)
        .remove_node(request)
        .await
        .expect("removed");
    let next = nodes.leader_other_than(leader).await;
    load.goes_on().await;
    let membership = nodes.metrics(next).await.membership.expect("membership");
    assert!(
        !membership.node_ids.contains(&leader) && membership.node_ids.len() == 3,
        "{membership:?}"
    );

    let last = load.end().await;
    nodes.kill(leader);
    let found = nodes.read("load").await;
    let value: u64 = String::from_utf8_lossy(&found.value)
        .parse()
        .expect("a number");
    assert!(
        value >= last,
        "{value} is older than the acknowledged {last}"
    );
    nodes.equal_hashes(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_to_the_node_that_is_named() {
    let nodes = Nodes::start(3, &[]).await;
    nodes.initialize().await;
    let leader = nodes.leader().await;
    let heir = (1..=3).find(|id| *id != leader).expect("another node");
    let request = TransferLeadershipRequest { to_node_id: heir };
    nodes
        .admin(leader)
        .transfer_leadership(request)
        .await
        .expect("asked");
    assert_eq!(nodes.leader_other_than(leader).await, heir);
    nodes.write(put("k", "v")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_changes_are_refused_with_a_reason() {
    let nodes = Nodes::start(1, &[]).await;
    nodes.initialize().await;
    nodes.leader().await;
    let mut admin = nodes.admin(1);
    let config = |id: u64, address: &str| whitewater::wire::kiwi::NodeConfig {
        node_id: id,
        raft_addr: address.to_owned(),
        resp_addr: String::new(),
    };
    let learner = |id, node| AddLearnerRequest { node_id: id, node };
    for (request, reason) in [
        (learner(2, None), "missing"),
        (learner(0, Some(config(0, "a:1"))), "node id 0"),
        (learner(2, Some(config(3, "a:1"))), "differ"),
        (learner(2, Some(config(2, ""))), "no address"),
    ] {
        let status = admin.add_learner(request).await.expect_err(reason);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(reason), "{status}");
    }
    let twice = ChangeMembershipRequest {
        members: vec![config(1, "a:1"), config(1, "a:1")],
        retain: false,
    };
    let status = admin.change_membership(twice).await.expect_err("twice");
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = admin
        .remove_node(RemoveNodeRequest { node_id: 5 })
        .await
        .expect_err("absent");
    assert_eq!(status.code(), Code::NotFound);
    let status = admin
        .transfer_leadership(TransferLeadershipRequest { to_node_id: 5 })
        .await;
    assert_eq!(status.expect_err("absent").code(), Code::NotFound);
    let said = admin
        .get_node_capabilities(GetNodeCapabilitiesRequest {})
        .await
        .expect("said")
        .into_inner();
    assert_eq!(said.node_id, 1);
    assert!(said.capabilities.contains(&"stream-append".to_owned()));
}
