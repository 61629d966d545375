//! Which child of a node it was: whether nothing is left of a disk's lie depends on it.

use super::injector::Injector;
use crate::cluster::ChildState;
use crate::fault::{DiskHarm, Fault, NodeId};

/// One life of a node: no other child of it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) node: NodeId,
    pid: u32,
    restarts: u32,
}

impl Injector {
    /// The child whose syncs lie by this fault, which is in.
    pub(super) fn liar(&self, fault: &Fault) -> Option<Life> {
        match fault {
            Fault::Disk {
                who: node,
                harm: DiskHarm::LyingSync,
                ..
            } => self.life(*node),
            _ => None,
        }
    }

    /// Whether that child is the one that is up. If its disk lied and has just been made whole, all that its syncs ever
    /// said is true by now, and nothing was lost in between, since only a power loss loses what was not synced, and the
    /// child with it. A node that was ended meanwhile may have lost what nobody can name.
    pub(super) fn lives_on(&self, child: Life) -> bool {
        self.life(child.node) == Some(child)
    }

    /// The child that is up.
    pub(super) fn life(&self, node: NodeId) -> Option<Life> {
        let view = self.cluster.view(node)?;
        let up = view.state == ChildState::Up;
        Some(Life {
            node,
            pid: view.pid.filter(|_| up)?,
            restarts: view.restarts,
        })
    }
}
