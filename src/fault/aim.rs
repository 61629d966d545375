//! Whom a planned fault is for, by role: resolved to nodes at the instant at which the nemesis acts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{NodeId, Senseless};

/// Whom a planned fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Aim {
    /// Whoever leads when the fault is put in.
    Leader,
    /// The k-th other node, counted from 0, in the order of the ids after the leader's.
    Follower(usize),
    /// That node.
    Node(NodeId),
}

/// How many a planned crash, kill or pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crowd {
    /// The leader alone.
    Leader,
    /// One follower.
    Follower,
    /// Everybody but the leader.
    Followers,
    /// Fewer than half, the leader among them.
    Minority,
    /// More than half, the leader among them.
    Majority,
    /// Every node.
    All,
}

/// Why a wish cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The wish aims at the leader or relative to it.
    #[error("no node is known to lead")]
    NoLeader,
    /// The cluster is too small.
    #[error("there is no {0}")]
    NoSuchNode(Aim),
    /// Every node has a vote.
    #[error("every node has a vote")]
    NoNewcomer,
    /// Both ends of a link are one node.
    #[error("a node has no link to itself")]
    SameNode,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::Leader => write!(f, "leader"),
            Aim::Follower(k) => write!(f, "follower {k}"),
            Aim::Node(node) => write!(f, "n{node}"),
        }
    }
}

impl From<Aim> for String {
    fn from(aim: Aim) -> String {
        aim.to_string()
    }
}

/// An aim that is neither `leader`, `follower K` nor `nID`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no aim: write leader, follower 0, follower 1, ... or n1 to n9")]
pub struct NotAnAim(String);

impl FromStr for Aim {
    type Err = NotAnAim;

    fn from_str(text: &str) -> Result<Aim, NotAnAim> {
        let wrong = || NotAnAim(text.to_owned());
        if text == "leader" {
            Ok(Aim::Leader)
        } else if let Some(k) = text.strip_prefix("follower ") {
            k.parse().map(Aim::Follower).map_err(|_| wrong())
        } else {
            let id = text
                .strip_prefix('n')
                .and_then(|id| id.parse().ok())
                .ok_or_else(wrong)?;
            if (1..=9).contains(&id) {
                Ok(Aim::Node(id))
            } else {
                Err(wrong())
            }
        }
    }
}

impl TryFrom<String> for Aim {
    type Error = NotAnAim;

    fn try_from(text: String) -> Result<Aim, NotAnAim> {
        text.parse()
    }
}

impl Aim {
    /// The node that is meant, among `nodes` in the order of their ids.
    pub(super) fn resolve(
        self,
        nodes: &[NodeId],
        leader: Option<NodeId>,
    ) -> Result<NodeId, Impossible> {
        match self {
            Aim::Leader => leader.ok_or(Impossible::NoLeader),
            Aim::Node(node) => nodes
                .contains(&node)
                .then_some(node)
                .ok_or(Impossible::NoSuchNode(self)),
            Aim::Follower(k) => {
                let leader = leader.ok_or(Impossible::NoLeader)?;
                let after = nodes.iter().filter(|&&node| node > leader);
                let before = nodes.iter().filter(|&&node| node < leader);
                after
                    .chain(before)
                    .nth(k)
                    .copied()
                    .ok_or(Impossible::NoSuchNode(self))
            }
        }
    }
}

impl Crowd {
    /// Whether so many nodes have such a crowd.
    pub(super) fn check(self, nodes: usize) -> Result<(), Senseless> {
        let least = match self {
            Crowd::Leader | Crowd::Majority | Crowd::All => 1,
            Crowd::Follower | Crowd::Followers => 2,
            Crowd::Minority => 3,
        };
        if nodes >= least {
            return Ok(());
        }
        let plural = if nodes == 1 { "" } else { "s" };
        let why = format!(
            "it needs {least} nodes, and there {} {nodes} node{plural}",
            if nodes == 1 { "is" } else { "are" }
        );
        Err(Senseless::of("who", why))
    }

    /// The nodes that are meant, in the order of their ids.
    pub(super) fn resolve(
        self,
        nodes: &[NodeId],
        leader: Option<NodeId>,
    ) -> Result<Vec<NodeId>, Impossible> {
        let count = match self {
            Crowd::Followers => {
                let leader = leader.ok_or(Impossible::NoLeader)?;
                let others = nodes.iter().copied().filter(|&node| node != leader);
                return Ok(others.collect());
            }
            Crowd::All => return Ok(nodes.to_vec()),
            Crowd::Follower => return Ok(vec![Aim::Follower(0).resolve(nodes, leader)?]),
            Crowd::Leader => 1,
            Crowd::Minority => nodes.len().saturating_sub(1) / 2,
            Crowd::Majority => nodes.len() / 2 + 1,
        };
        let followers = (0..count.saturating_sub(1)).map(Aim::Follower);
        let aims = std::iter::once(Aim::Leader).chain(followers);
        let mut meant = aims
            .map(|aim| aim.resolve(nodes, leader))
            .collect::<Result<Vec<_>, _>>()?;
        meant.sort_unstable();
        Ok(meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_are_counted_round_from_the_leader() {
        let at = |aim: Aim| aim.resolve(&[1, 2, 3], Some(2));
        assert_eq!(
            [at(Aim::Leader), at(Aim::Follower(0)), at(Aim::Follower(1))],
            [Ok(2), Ok(3), Ok(1)]
        );
        assert_eq!(
            at(Aim::Follower(2)),
            Err(Impossible::NoSuchNode(Aim::Follower(2)))
        );
        assert_eq!(
            Aim::Leader.resolve(&[1, 2, 3], None),
            Err(Impossible::NoLeader)
        );
    }

    #[test]
    fn an_aim_is_read_as_it_is_written() {
        for aim in [Aim::Leader, Aim::Follower(3), Aim::Node(9)] {
            assert_eq!(aim.to_string().parse::<Aim>().unwrap(), aim);
        }
        for wrong in ["", "n0", "n10", "follower", "follower x", "boss"] {
            assert!(wrong.parse::<Aim>().is_err(), "{wrong}");
        }
    }
}
