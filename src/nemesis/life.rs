//! Which child of a node it was: whether nothing is left of a disk's lie depends on it.

use super::injector::Injector;
use crate::cluster::ChildState;
use crate::fault::{DiskHarm, Fault, NodeId};

/// One life of a node: no other child of it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    node: NodeId,
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

    /// Whether that child, whose disk has just been made whole, is the one that is up. Then all that its syncs ever said
    /// is true by now, and nothing was lost in between, since only the end of a child loses what it had not synced. A
    /// node that was ended meanwhile has lost what nobody can name.
    pub(super) fn lives_on(&self, liar: Life) -> bool {
        self.life(liar.node) == Some(liar)
    }

    /// The child that is up.
    fn life(&self, node: NodeId) -> Option<Life> {
        let view = self.cluster.view(node)?;
        let up = view.state == ChildState::Up;
        Some(Life {
            node,
            pid: view.pid.filter(|_| up)?,
            restarts: view.restarts,
        })
    }
}
