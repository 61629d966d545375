//! Looks at the nodes without waiting for any of them, and logs what changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::cluster::{self, Cluster};
use crate::fault::NodeId;
use crate::journal::{ChildState, Event, EventLog, NodeView, RpcView};
use crate::recorder::Recorder;

/// What was seen of the nodes over the run.
#[derive(Clone)]
pub(super) struct Watch {
    log: EventLog,
    recorder: Arc<Recorder>,
    /// The nodes as they were at the last look.
    seen: Arc<Mutex<BTreeMap<NodeId, NodeView>>>,
    /// What was told of each node's calls last, and when.
    rpcs: Arc<Mutex<BTreeMap<NodeId, ToldRpcs>>>,
}

/// What was told of a node's calls, and when.
type ToldRpcs = (u64, Vec<RpcView>);

/// Calls change all the time; a person reads them once a second.
const TELL_RPCS_NS: u64 = 1_000_000_000;

impl Watch {
    pub(super) fn new(log: EventLog, recorder: Arc<Recorder>) -> Watch {
        Watch {
            log,
            recorder,
            seen: Arc::default(),
            rpcs: Arc::default(),
        }
    }

    /// Logs every node that changed since the last look.
    pub(super) fn look(&self, cluster: &Cluster) {
        for view in cluster.views() {
            let node = translate(&view);
            self.tell_rpcs(&view);
            let mut seen = self.seen.lock().expect("nobody panics while looking");
            let before = seen.insert(node.id, node.clone());
            drop(seen);
            if before.as_ref() != Some(&node) {
                self.log.log(Event::Node { node });
            }
        }
    }

    fn tell_rpcs(&self, view: &cluster::NodeView) {
        let Some(status) = &view.status else {
            return;
        };
        let (node, now_ns) = (view.id, self.recorder.now_ns());
        let mut told = self.rpcs.lock().expect("nobody panics while looking");
        let before = told.get(&node);
        if before.is_some_and(|(at, _)| now_ns < at + TELL_RPCS_NS) {
            return;
        }
        let rpcs = status.says.rpcs.clone();
        if before.is_none_or(|(_, before)| *before != rpcs) {
            told.insert(node, (now_ns, rpcs.clone()));
            drop(told);
            self.log.log(Event::Rpcs { node, rpcs });
        }
    }
}

fn translate(view: &cluster::NodeView) -> NodeView {
    let mut node = NodeView {
        id: view.id,
        child: match view.state {
            cluster::ChildState::Starting => ChildState::Starting,
            cluster::ChildState::Up => ChildState::Up,
            cluster::ChildState::Paused => ChildState::Paused,
            cluster::ChildState::Dead => ChildState::Dead,
        },
        pid: view.pid,
        restarts: view.restarts,
        grpc: view.ready.map(|ready| ready.at.clients),
        redis: view.ready.and_then(|ready| ready.at.redis),
        ..NodeView::default()
    };
    if let Some(status) = &view.status {
        node.hear(&status.says);
    }
    node
}
