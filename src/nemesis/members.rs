//! What the injector does to the membership: it takes votes away and gives them back, lets nodes join and leave, replaces one by an empty
//! one.
//!
//! What every change goes by is who is to have a vote as far as the faults go that are in ([`Votes`]), so that two of
//! them at a time do not undo one another. At the end of a run everybody is given one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::injector::{Injector, NotIn, ended_and_not_started};
use crate::cluster::ClusterError;
use crate::fault::NodeId;

/// A change of the membership is taken within this, or it did not take effect.
const MEMBERS_WITHIN: Duration = Duration::from_millis(2_000);
/// A member has left within this, a leader after an election at the latest, or it is not replaced.
const LEAVE_WITHIN: Duration = Duration::from_millis(4_000);
/// Who is to have a vote, as far as the faults go that are in.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// Whether the membership was ever touched.
    changed: AtomicBool,
    /// Those that are to have none now.
    away: Mutex<BTreeSet<NodeId>>,
}

impl Votes {
    /// At the start of a run some nodes may have none.
    pub(super) fn begin(nodes: &[NodeId], voters: &[NodeId]) -> Votes {
        let away = nodes.iter().filter(|node| !voters.contains(node));
        let away: BTreeSet<NodeId> = away.copied().collect();
        Votes {
            changed: AtomicBool::new(!away.is_empty()),
            away: Mutex::new(away),
        }
    }

    /// The first node that has none.
    pub(super) fn newcomer(&self) -> Option<NodeId> {
        self.away().first().copied()
    }

    fn away(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.away.lock().expect("nobody panics while listing")
    }

    fn take(&self, node: NodeId) {
        self.changed.store(true, Ordering::Relaxed);
        self.away().insert(node);
    }

    fn give(&self, node: NodeId) {
        self.changed.store(true, Ordering::Relaxed);
        self.away().remove(&node);
    }
}

impl Injector {
    /// Takes a vote away; its node learns on.
    pub(super) async fn remove_voter(&self, node: NodeId) -> Result<(), NotIn> {
        let others = self.voters_without(node)?;
        self.votes.take(node);
        match self.cluster.set_voters(&others, MEMBERS_WITHIN).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.votes.give(node);
                Err(self.untaken(&error).await)
            }
        }
    }

    /// Lets a node without a vote join and gives it one.
    pub(super) async fn add_voter(&self, node: NodeId) -> Result<(), NotIn> {
        if !self.votes.away().contains(&node) {
            return Err(format!("n{node} has a vote already").into());
        }
        self.votes.give(node);
        match self.set_voters(MEMBERS_WITHIN).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.votes.take(node);
                Err(self.untaken(&error).await)
            }
        }
    }

    /// What a change of the membership has come to that nobody has confirmed: where somebody was asked, it may still
    /// come about. Those who were to have a vote before it are asked for again, for what that is worth.
    async fn untaken(&self, error: &ClusterError) -> NotIn {
        if is_unasked(error) {
            return NotIn::Skipped(error.to_string());
        }
        let again = match self.set_voters(MEMBERS_WITHIN).await {
            Ok(()) => "the voters are those that were".to_owned(),
            Err(error) => format!("and the voters that were are not taken either: {error}"),
        };
        NotIn::Indeterminate(format!("{error}; {again}"))
    }

    /// Gives a vote back that a fault took. What a majority does not take now is taken at the end of the run.
    pub(super) async fn give_back(&self, node: NodeId) {
        self.votes.give(node);
        let _ = self.set_voters(MEMBERS_WITHIN).await;
    }

    /// Lets a node leave that a fault let join. Where it does not leave now it stays a member.
    pub(super) async fn let_go(&self, node: NodeId) {
        self.votes.take(node);
        let _ = self.cluster.leave(node, MEMBERS_WITHIN).await;
    }

    /// Starts a voter from nothing, and tells nobody.
    pub(super) async fn wipe(&self, node: NodeId) -> Result<(), NotIn> {
        let ended = self.cluster.kill(node).await;
        ended.map_err(|error| ended_and_not_started(node, error))?;
        let wiped = self.cluster.wipe(node).await;
        for (node, started) in self.start(&[node]).await {
            started.map_err(|error| NotIn::Lost(node, error))?;
        }
        // It may have forgotten a part: who reads a violation after that shall know.
        wiped.map_err(|error| {
            NotIn::Indeterminate(format!("{error}; it was started again as it is"))
        })
    }

    /// The voters but for this one, which must be one of several.
    fn voters_without(&self, node: NodeId) -> Result<Vec<NodeId>, String> {
        let away = self.votes.away();
        if away.contains(&node) {
            return Err(format!("n{node} has no vote"));
        }
        let voters = self.nodes.iter().filter(|other| !away.contains(other));
        let others: Vec<NodeId> = voters.copied().filter(|&other| other != node).collect();
        if others.is_empty() {
            return Err("the last vote cannot be taken away".to_owned());
        }
        Ok(others)
    }

    /// A voter leaves, is ended, and its disk is emptied: in this order, or what it promised would be forgotten by one
    /// on whom a quorum counts. Where it does not leave in time nothing is done to it.
    pub(super) async fn replace(&self, node: NodeId) -> Result<(), NotIn> {
        self.voters_without(node)?;
        self.votes.take(node);
        let left = match self.cluster.leave(node, LEAVE_WITHIN).await {
            Ok(left) => left,
            Err(error) => {
                self.votes.give(node);
                return Err(self.untaken(&error).await);
            }
        };
        if let Err(error) = self.cluster.kill(node).await {
            // It has left, and goes on as it was: it is given its vote now, or at the end.
            self.give_back(node).await;
            return Err(NotIn::Indeterminate(format!(
                "it has left, and lives: {error}"
            )));
        }
        // Half emptied, or emptied and not known to be, it must not come back.
        let emptied = self.cluster.replace(left).await;
        emptied.map_err(|error| NotIn::Lost(node, error))
    }

    /// Gives every node a vote, if any was ever asked for or any has none: also one whose loss came about after it was
    /// given up. A cluster that does not take it now is not accused: it may lack its quorum.
    ///
    /// # Errors
    /// What was seen last.
    pub(super) async fn restore_votes(&self, within: Duration) -> Result<(), String> {
        self.votes.away().clear();
        if !self.votes.changed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let given = self.set_voters(within).await;
        given.map_err(|error| error.to_string())
    }

    /// Makes those the voters that no fault keeps away.
    async fn set_voters(&self, within: Duration) -> Result<(), ClusterError> {
        let voters: Vec<NodeId> = {
            let away = self.votes.away();
            let voters = self.nodes.iter().filter(|node| !away.contains(node));
            voters.copied().collect()
        };
        self.cluster.set_voters(&voters, within).await
    }
}

/// Whether nobody was there to be asked for other members.
fn is_unasked(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Ask(error) if error.is_unasked())
}
