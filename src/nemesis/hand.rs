//! The hand itself: puts one fault in, sees that it is, and takes it out.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{ChildState, Cluster};
use crate::fault::{Fault, NodeId, Signal};
use crate::proxy::{Delay, Direction, Guard, Network};
use crate::recorder::Recorder;

/// What is needed to act.
pub(super) struct Hand {
    pub(super) cluster: Arc<Cluster>,
    pub(super) network: Arc<Network>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) nodes: Vec<NodeId>,
}

/// A fault that is in.
pub(super) struct Active {
    pub(super) fault: Fault,
    /// Holds a fault of the network; dropping it heals.
    guard: Option<Guard>,
}

impl Hand {
    /// The node that leads as far as the nodes' last words tell: of those that say so, the one with the highest term.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let views = self.cluster.views().into_iter();
        let leads = views
            .filter(|view| view.state == ChildState::Up)
            .filter_map(|view| {
                let metrics = view.status?.metrics;
                metrics.is_leader.then_some((metrics.term, view.id))
            });
        leads.max().map(|(_, id)| id)
    }

    /// Puts a fault in and probes it.
    ///
    /// # Errors
    /// Why it is not in; nothing of it is then left.
    pub(super) async fn put_in(&self, fault: &Fault) -> Result<Active, String> {
        let words = |error: crate::cluster::ClusterError| error.to_string();
        let guard = match fault {
            Fault::Kill { node } => {
                self.cluster.kill(*node).await.map_err(words)?;
                self.network.set_upstream(*node, None);
                None
            }
            Fault::Pause { node } => {
                self.cluster.pause(*node).await.map_err(words)?;
                None
            }
            Fault::Restart { node, signal } => {
                let ready = match signal {
                    Signal::Term => self.cluster.restart(*node).await,
                    Signal::Kill => match self.cluster.kill(*node).await {
                        Ok(_) => self.cluster.start(*node).await,
                        Err(error) => Err(error),
                    },
                };
                let ready = ready.map_err(words)?;
                self.network.set_upstream(*node, Some(ready.raft));
                None
            }
            Fault::Isolate { .. } | Fault::Split { .. } | Fault::Cut { .. } => {
                let links = fault.links(&self.nodes).into_iter();
                Some(Guard::join(links.map(|(from, to)| {
                    self.network.cut(Direction::nodes(from, to))
                })))
            }
            Fault::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                let delay = Delay::around(
                    Duration::from_millis(*delay_ms),
                    Duration::from_millis(*jitter_ms),
                );
                Some(self.network.slow(Direction::nodes(*from, *to), delay))
            }
        };
        if let Some(guard) = &guard {
            let probe = self.network.verify(guard).await;
            if !probe.effective {
                return Err(format!("the probe did not see it: {}", probe.seen));
            }
        }
        Ok(Active {
            fault: fault.clone(),
            guard,
        })
    }

    /// Takes a fault out.
    ///
    /// # Errors
    /// Where a child does not come back, with the last lines of its log.
    pub(super) async fn take_out(&self, active: Active) -> Result<(), String> {
        let Active { fault, guard } = active;
        drop(guard);
        match fault {
            Fault::Kill { node } => {
                let ready = self
                    .cluster
                    .start(node)
                    .await
                    .map_err(|error| error.to_string())?;
                self.network.set_upstream(node, Some(ready.raft));
            }
            Fault::Pause { node } => self
                .cluster
                .resume(node)
                .await
                .map_err(|error| error.to_string())?,
            _ => {}
        }
        Ok(())
    }
}
