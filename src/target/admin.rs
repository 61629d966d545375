//! Who leads, and who belongs: what a system's operators ask for, and how the bench goes about it.
//!
//! A target says how one question is put to one node ([`Admin`]). Whom to ask, when to ask again, and whether it has come
//! about, is the same for all of them: whoever says that it leads is asked, until what was asked for is seen.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::{Asked, Ready, TargetError, Wiring};
use crate::journal::NodeStatus;

/// A status is asked for often and must not pile up on a node that is paused.
pub const STATUS_DEADLINE: Duration = Duration::from_millis(250);

/// The other questions.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Between two tries to hand the leadership over: time for an election.
const TRANSFER_PAUSE: Duration = Duration::from_millis(400);

/// Between two rounds of looking for a leader.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How one node is asked for another leader, or for other members.
pub trait Admin: Send + Sync {
    /// Asks the leader to hand the leadership to another node. That it did is seen by the other one's status.
    fn transfer<'a>(&'a self, leader: &'a Ready, to: u64, within: Duration) -> Asked<'a, ()>;

    /// Asks the leader to make exactly these nodes the voters; who was one and is none of them learns on.
    fn set_voters<'a>(
        &'a self,
        leader: &'a Ready,
        voters: &'a [Member],
        within: Duration,
    ) -> Asked<'a, ()>;

    /// Asks the leader to let a node leave. That it did is seen by the leader's membership.
    fn remove<'a>(&'a self, leader: &'a Ready, node: u64, within: Duration) -> Asked<'a, ()>;

    /// Notes, where a system keeps such notes, that a node which has left has lost its disk: who starts there is a new
    /// member.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    fn replaced(&self, _wiring: &Wiring, _left: &Departure) -> io::Result<()> {
        Ok(())
    }
}

/// A node as a member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which node.
    pub id: u64,
    /// By which address the others are to know it.
    pub advertised: Option<SocketAddr>,
    /// Where it listens, while it is ready.
    pub ready: Option<Ready>,
}

/// A leader that a majority agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSeen {
    /// Who leads.
    pub leader: u64,
    /// In which term.
    pub term: u64,
}

/// A node that has left the membership, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Who left.
    pub node: u64,
    /// The log id of the committed membership that it is no part of: term, leader, index.
    pub by: (u64, u64, u64),
}

/// The nodes, as whoever keeps their children knows them.
pub trait Nodes: Sync {
    /// All that there may be.
    fn ids(&self) -> Vec<u64>;

    /// One of them as a member.
    fn member(&self, id: u64) -> Member;

    /// What it says of itself now; `None`: it does not answer.
    fn status(&self, id: u64) -> BoxFuture<'_, Option<NodeStatus>>;
}

/// Hands the leadership to a node and waits until it leads; at once where it does already.
///
/// # Errors
/// When nobody leads, the leader refuses, or the heir does not lead within `deadline`.
pub async fn transfer(
    nodes: &dyn Nodes,
    admin: &dyn Admin,
    to: u64,
    deadline: Duration,
) -> Result<(), TargetError> {
    let began = Instant::now();
    let mut seen = "nobody leads".to_owned();
    let leads = |status: &Option<NodeStatus>| status.as_ref().is_some_and(NodeStatus::leads);
    loop {
        let asked = nodes.status(to).await;
        if leads(&asked) {
            return Ok(());
        }
        if began.elapsed() >= deadline {
            let what = "the leadership";
            return Err(TargetError::Ask { id: to, what, seen });
        }
        if let Some(leader) = asked.and_then(|status| status.leader)
            && let Some(ready) = nodes.member(leader).ready
        {
            match admin.transfer(&ready, to, STATUS_DEADLINE).await {
                Ok(()) => seen = format!("n{leader} handed it over, and n{to} does not lead"),
                Err(error) => seen = error.to_string(),
            }
        }
        // An heir that was told campaigns at once; it is asked again before the next try.
        let settled = Instant::now() + TRANSFER_PAUSE;
        while Instant::now() < settled.min(began + deadline) {
            if leads(&nodes.status(to).await) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Makes exactly these nodes the voters. Asks whoever leads, again and again, until a majority has taken the change.
///
/// # Errors
/// At the deadline, with who was asked last, 0 for nobody, and what was seen last. Where somebody was asked the change
/// may come about later.
pub async fn set_voters(
    nodes: &dyn Nodes,
    admin: &dyn Admin,
    voters: &[u64],
    deadline: Duration,
) -> Result<(), TargetError> {
    let began = Instant::now();
    // Whoever was ever asked may still do it.
    let mut asked = 0;
    loop {
        let mut seen = "nobody leads".to_owned();
        for id in nodes.ids() {
            // A deposed leader may not know it yet: whoever says that it leads is asked.
            if !nodes.status(id).await.is_some_and(|says| says.leads()) {
                continue;
            }
            let Some(ready) = nodes.member(id).ready else {
                continue;
            };
            asked = id;
            let voters: Vec<Member> = voters.iter().map(|&id| nodes.member(id)).collect();
            let left = time_left(began, deadline);
            match admin.set_voters(&ready, &voters, left).await {
                Ok(()) => return Ok(()),
                Err(error) => seen = error.to_string(),
            }
        }
        if began.elapsed() >= deadline {
            let (id, what) = (asked, "other voters");
            return Err(TargetError::Ask { id, what, seen });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Lets a node leave the membership, and waits until that is committed and a leader whose voters follow it says so.
///
/// # Errors
/// At the deadline, with what was seen last. It may leave later.
pub async fn leave(
    nodes: &dyn Nodes,
    admin: &dyn Admin,
    node: u64,
    deadline: Duration,
) -> Result<Departure, TargetError> {
    let began = Instant::now();
    let mut seen = "nobody leads".to_owned();
    // Whoever was ever asked may still do it.
    let mut asked = 0;
    loop {
        let mut heard: BTreeMap<u64, NodeStatus> = BTreeMap::new();
        for id in nodes.ids() {
            if let Some(status) = nodes.status(id).await {
                heard.insert(id, status);
            }
        }
        let leaders = heard.iter().filter(|(_, status)| status.leads());
        if let Some((&leader, says)) = leaders.max_by_key(|(_, status)| status.term) {
            match departed(leader, &heard, node) {
                Ok(by) => return Ok(Departure { node, by }),
                Err(why) => seen = why.to_owned(),
            }
            if let Some(ready) = nodes.member(leader).ready
                && !is_no_member(says, node)
            {
                asked = leader;
                let left = time_left(began, deadline);
                if let Err(error) = admin.remove(&ready, node, left).await {
                    seen = error.to_string();
                }
            }
        }
        if began.elapsed() >= deadline {
            return Err(TargetError::Ask {
                id: asked,
                what: "one to leave",
                seen: format!("n{node} stays: {seen}"),
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// For one question of several that have to be over by a deadline.
fn time_left(began: Instant, deadline: Duration) -> Duration {
    let left = deadline.saturating_sub(began.elapsed());
    left.min(ANSWER_DEADLINE)
}

/// Whether a node's membership does not know `node` at all.
fn is_no_member(says: &NodeStatus, node: u64) -> bool {
    let membership = says.membership.as_ref();
    membership.is_some_and(|membership| !membership.knows(node))
}

/// The committed membership by which `node` is no member any more, as its leader says, as long as a majority of that
/// leader's voters follow it: a deposed leader may not know that the node is back.
fn departed(
    leader: u64,
    heard: &BTreeMap<u64, NodeStatus>,
    node: u64,
) -> Result<(u64, u64, u64), &'static str> {
    let Some(says) = heard.get(&leader) else {
        return Err("nobody leads");
    };
    if leader == node || !is_no_member(says, node) {
        return Err("the leader counts it as a member");
    }
    let membership = says.membership.as_ref();
    let sets = membership.map_or(&[][..], |membership| &membership.voters);
    let [voters] = sets else {
        return Err("the membership is joint");
    };
    let follow = |id: &&u64| {
        let status = heard.get(id);
        status.is_some_and(|status| (status.term, status.leader) == (says.term, Some(leader)))
    };
    if voters.iter().filter(follow).count() * 2 <= voters.len() {
        return Err("no majority follows the leader");
    }
    let at = membership.and_then(|membership| membership.at);
    let (Some(at), Some(committed)) = (at, says.committed) else {
        return Err("the leader has committed nothing");
    };
    if committed < at.2 {
        return Err("its departure is not committed");
    }
    Ok(at)
}

/// The leader that a majority of `members` nodes names in one term, itself included.
#[must_use]
pub fn agreed(heard: &BTreeMap<u64, NodeStatus>, members: usize) -> Option<LeaderSeen> {
    let leaders = heard
        .iter()
        .filter(|(id, says)| says.leads() && says.leader == Some(**id));
    let mut seen = leaders.filter_map(|(&leader, says)| {
        let follow = heard
            .values()
            .filter(|other| (other.term, other.leader) == (says.term, says.leader));
        let term = says.term.unwrap_or_default();
        (follow.count() * 2 > members).then_some(LeaderSeen { leader, term })
    });
    seen.next()
}

/// Who leads, by its own word alone: of several the one of the highest term.
#[must_use]
pub fn leads(heard: &BTreeMap<u64, NodeStatus>) -> Option<LeaderSeen> {
    let leaders = heard.iter().filter(|(_, says)| says.leads());
    let seen = leaders.map(|(&leader, says)| LeaderSeen {
        leader,
        term: says.term.unwrap_or_default(),
    });
    seen.max_by_key(|seen| seen.term)
}

#[cfg(test)]
mod tests;
