//! Whom a planned fault is for, by role: resolved to nodes at the instant at which the nemesis acts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::who::Translate;
use super::{Fault, Node, NodeId, Role, Senseless};

/// Whom a planned fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NodeSelector {
    /// Whoever leads when the fault is put in.
    Leader,
    /// The k-th other node, counted from 0, in the order of the ids after the leader's.
    Follower(usize),
    /// The first node that has no vote.
    Newcomer,
    /// That node.
    Node(NodeId),
}

/// Whom a planned fault of several nodes is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "WordOrNodes", into = "WordOrNodes")]
pub enum NodeSet {
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
    /// These.
    Nodes(Vec<NodeSelector>),
}

/// A set as it is written: `"majority"` or `["leader", "n3"]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum WordOrNodes {
    Word(String),
    Nodes(Vec<String>),
}

impl TryFrom<WordOrNodes> for NodeSet {
    type Error = NotASelector;

    fn try_from(written: WordOrNodes) -> Result<NodeSet, NotASelector> {
        match written {
            WordOrNodes::Word(word) => Ok(match word.as_str() {
                "leader" => NodeSet::Leader,
                "follower" => NodeSet::Follower,
                "followers" => NodeSet::Followers,
                "minority" => NodeSet::Minority,
                "majority" => NodeSet::Majority,
                "all" => NodeSet::All,
                _ => return Err(NotASelector::Set(word)),
            }),
            WordOrNodes::Nodes(nodes) => {
                let nodes = nodes.iter().map(|who| who.parse());
                Ok(NodeSet::Nodes(nodes.collect::<Result<_, _>>()?))
            }
        }
    }
}

impl From<NodeSet> for WordOrNodes {
    fn from(set: NodeSet) -> WordOrNodes {
        match set {
            NodeSet::Nodes(nodes) => {
                WordOrNodes::Nodes(nodes.iter().map(ToString::to_string).collect())
            }
            set => WordOrNodes::Word(set.to_string()),
        }
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeSet::Leader => "leader",
            NodeSet::Follower => "follower",
            NodeSet::Followers => "followers",
            NodeSet::Minority => "minority",
            NodeSet::Majority => "majority",
            NodeSet::All => "all",
            NodeSet::Nodes(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                return f.write_str(&nodes.join(","));
            }
        })
    }
}

/// Why nobody plays a role now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The leader is meant, or somebody relative to it.
    #[error("no node is known to lead")]
    NoLeader,
    /// The cluster is too small.
    #[error("there is no {0}")]
    NoSuchNode(NodeSelector),
    /// Every node has a vote.
    #[error("every node has a vote")]
    NoNewcomer,
    /// Both ends of a link are one node, whoever leads.
    #[error("a node has no link to itself")]
    SameNode,
    /// Both ends of a link are one node as long as this one leads.
    #[error("a node has no link to itself")]
    SameNodeNow,
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeSelector::Leader => write!(f, "leader"),
            NodeSelector::Follower(k) => write!(f, "follower {k}"),
            NodeSelector::Newcomer => write!(f, "newcomer"),
            NodeSelector::Node(node) => write!(f, "n{node}"),
        }
    }
}

impl From<NodeSelector> for String {
    fn from(who: NodeSelector) -> String {
        who.to_string()
    }
}

/// A word that stands for nobody.
#[derive(Debug, thiserror::Error)]
pub enum NotASelector {
    /// It is neither `leader`, `follower K`, `newcomer` nor `nID`.
    #[error("{0:?} names no node: write leader, follower 0, follower 1, ..., newcomer or n1 to n9")]
    Node(String),
    /// It is the word of no set.
    #[error(
        "{0:?} names no nodes: write leader, follower, followers, minority, majority, all, or a list of nodes"
    )]
    Set(String),
}

impl FromStr for NodeSelector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<NodeSelector, NotASelector> {
        let wrong = || NotASelector::Node(text.to_owned());
        if text == "leader" {
            Ok(NodeSelector::Leader)
        } else if text == "newcomer" {
            Ok(NodeSelector::Newcomer)
        } else if let Some(k) = text.strip_prefix("follower ") {
            k.parse().map(NodeSelector::Follower).map_err(|_| wrong())
        } else {
            let id = text
                .strip_prefix('n')
                .and_then(|id| id.parse().ok())
                .ok_or_else(wrong)?;
            if (1..=9).contains(&id) {
                Ok(NodeSelector::Node(id))
            } else {
                Err(wrong())
            }
        }
    }
}

impl TryFrom<String> for NodeSelector {
    type Error = NotASelector;

    fn try_from(text: String) -> Result<NodeSelector, NotASelector> {
        text.parse()
    }
}

/// Who is there, and who plays which role now.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'a> {
    /// The nodes, in the order of their ids.
    pub nodes: &'a [NodeId],
    /// Who leads, if anybody does.
    pub leader: Option<NodeId>,
    /// The first node that has no vote, if there is one.
    pub newcomer: Option<NodeId>,
}

impl Translate<Role, Node> for Roles<'_> {
    type Error = Impossible;

    fn one(&mut self, who: &NodeSelector) -> Result<NodeId, Impossible> {
        let absent = Impossible::NoSuchNode(*who);
        match *who {
            NodeSelector::Leader => self.leader.ok_or(Impossible::NoLeader),
            NodeSelector::Newcomer => self.newcomer.ok_or(Impossible::NoNewcomer),
            NodeSelector::Node(node) => self.nodes.contains(&node).then_some(node).ok_or(absent),
            NodeSelector::Follower(k) => {
                let leader = self.leader.ok_or(Impossible::NoLeader)?;
                let after = self.nodes.iter().filter(|&&node| node > leader);
                let before = self.nodes.iter().filter(|&&node| node < leader);
                after.chain(before).nth(k).copied().ok_or(absent)
            }
        }
    }

    /// The nodes that are meant, in the order of their ids.
    fn many(&mut self, who: &NodeSet) -> Result<Vec<NodeId>, Impossible> {
        let all = self.nodes.len();
        let count = match who {
            NodeSet::Followers => {
                let leader = self.leader.ok_or(Impossible::NoLeader)?;
                let others = self.nodes.iter().copied().filter(|&node| node != leader);
                return Ok(others.collect());
            }
            NodeSet::All => return Ok(self.nodes.to_vec()),
            NodeSet::Nodes(these) => return self.side(these),
            NodeSet::Follower => return Ok(vec![self.one(&NodeSelector::Follower(0))?]),
            NodeSet::Leader => 1,
            NodeSet::Minority => all.saturating_sub(1) / 2,
            NodeSet::Majority => all / 2 + 1,
        };
        let followers = (0..count.saturating_sub(1)).map(NodeSelector::Follower);
        let meant = std::iter::once(NodeSelector::Leader).chain(followers);
        let mut meant = meant
            .map(|who| self.one(&who))
            .collect::<Result<Vec<_>, _>>()?;
        meant.sort_unstable();
        Ok(meant)
    }
}

/// Means each node by its id.
struct ById;

impl Translate<Node, Role> for ById {
    type Error = std::convert::Infallible;

    fn one(&mut self, who: &NodeId) -> Result<NodeSelector, Self::Error> {
        Ok(NodeSelector::Node(*who))
    }

    fn many(&mut self, who: &Vec<NodeId>) -> Result<NodeSet, Self::Error> {
        let who = who.iter().copied().map(NodeSelector::Node);
        Ok(NodeSet::Nodes(who.collect()))
    }
}

impl Fault {
    /// This fault for a plan that means just these nodes, whatever they are when it goes in.
    #[must_use]
    pub fn by_id(&self) -> Fault<Role> {
        let Ok(fault) = self.translate(&mut ById);
        fault
    }
}

impl Fault<Role> {
    /// This fault for the nodes that play its roles now.
    ///
    /// # Errors
    /// Where nobody leads, a named node is not there, or a link would have one end.
    pub fn resolve(&self, mut roles: Roles<'_>) -> Result<Fault, Impossible> {
        let fault = self.translate(&mut roles)?;
        let is_node = |who: &NodeSelector| matches!(who, NodeSelector::Node(_));
        for ((from, to), (a, b)) in fault.ends().into_iter().zip(self.ends()) {
            if from == to {
                // Who plays a role is somebody else when another one leads.
                let now = is_node(a) != is_node(b);
                return Err(match now {
                    true => Impossible::SameNodeNow,
                    false => Impossible::SameNode,
                });
            }
        }
        Ok(fault)
    }
}

impl NodeSet {
    /// Whether so many nodes have such a set.
    pub(super) fn check(&self, nodes: usize) -> Result<(), Senseless> {
        let least = match self {
            NodeSet::Leader | NodeSet::Majority | NodeSet::All | NodeSet::Nodes(_) => 1,
            NodeSet::Follower | NodeSet::Followers => 2,
            NodeSet::Minority => 3,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_are_counted_round_from_the_leader() {
        let mut roles = Roles {
            nodes: &[1, 2, 3],
            leader: Some(2),
            newcomer: None,
        };
        let mut at = |who: NodeSelector| roles.one(&who);
        assert_eq!(
            [
                at(NodeSelector::Leader),
                at(NodeSelector::Follower(0)),
                at(NodeSelector::Follower(1))
            ],
            [Ok(2), Ok(3), Ok(1)]
        );
        assert_eq!(
            at(NodeSelector::Follower(2)),
            Err(Impossible::NoSuchNode(NodeSelector::Follower(2)))
        );
        roles.leader = None;
        assert_eq!(roles.one(&NodeSelector::Leader), Err(Impossible::NoLeader));
        assert_eq!(
            roles.one(&NodeSelector::Newcomer),
            Err(Impossible::NoNewcomer)
        );
    }

    #[test]
    fn a_selector_is_read_as_it_is_written() {
        for who in [
            NodeSelector::Leader,
            NodeSelector::Follower(3),
            NodeSelector::Newcomer,
            NodeSelector::Node(9),
        ] {
            assert_eq!(who.to_string().parse::<NodeSelector>().unwrap(), who);
        }
        for wrong in ["", "n0", "n10", "follower", "follower x", "boss"] {
            assert!(wrong.parse::<NodeSelector>().is_err(), "{wrong}");
        }
    }
}
