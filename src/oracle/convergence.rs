//! *Convergence*: a healed cluster agrees on one leader within a bound, and its nodes come to one applied log.
//!
//! The bound is of the time in which the bench was awake ([`Heart`]): a bench that stood still has heard nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::{Evidence, Finding};
use crate::cluster::Cluster;
use crate::fault::NodeId;
use crate::host::Heart;

/// A healed cluster must agree on a leader within this: about ten failovers.
const CONVERGE_WITHIN: Duration = Duration::from_secs(12);
/// A node may take so long to say whom it follows: more than one that is well needs, less than the bound.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often a state is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How the nodes are apart, each as it was heard last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Apart {
    /// They agree on no leader.
    Leader {
        /// The bound, in seconds.
        within_s: u64,
        /// Node by node.
        nodes: Vec<Believes>,
    },
    /// They have not applied one log.
    Log {
        /// The bound, in seconds.
        within_s: u64,
        /// Node by node.
        nodes: Vec<Applied>,
    },
}

/// Whom a node takes for the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Believes {
    /// Which node.
    pub node: NodeId,
    /// Its term; `None`: it does not answer.
    pub term: Option<u64>,
    /// The leader that it knows.
    pub leader: Option<NodeId>,
}

/// What a node has applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Which node.
    pub node: NodeId,
    /// Whether it answers.
    pub answers: bool,
    /// Term and index of the last log entry that it has applied.
    pub applied: Option<(u64, u64)>,
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Apart::Leader { within_s, nodes } => {
                write!(
                    f,
                    "no agreed leader {within_s} s after everything was healed: "
                )?;
                joined(f, nodes)
            }
            Apart::Log { within_s, nodes } => {
                write!(f, "the nodes did not apply one log within {within_s} s: ")?;
                joined(f, nodes)
            }
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, nodes: &[impl fmt::Display]) -> fmt::Result {
    for (place, node) in nodes.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        write!(f, "{comma}{node}")?;
    }
    Ok(())
}

impl fmt::Display for Believes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Believes { node, term, leader } = self;
        match (term, leader) {
            (Some(term), Some(leader)) => write!(f, "n{node} says n{leader} leads term {term}"),
            (Some(term), None) => write!(f, "n{node} knows no leader in term {term}"),
            (None, _) => write!(f, "n{node} does not answer"),
        }
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node;
        match (self.answers, self.applied) {
            (true, Some((term, index))) => write!(f, "n{node} applied {term}/{index}"),
            (true, None) => write!(f, "n{node} applied nothing"),
            (false, _) => write!(f, "n{node} does not answer"),
        }
    }
}

/// Waits until every node agrees on one leader, with one term.
///
/// # Errors
/// The finding, where they do not within the bound.
pub async fn converge(cluster: &Cluster, nodes: &[NodeId], heart: &Heart) -> Result<(), Finding> {
    let deadline = heart.deadline(CONVERGE_WITHIN);
    loop {
        let asked = nodes.iter().map(|&node| async move {
            let status = cluster.status_within(node, ANSWER_WITHIN).await.ok()?;
            Some((node, (status.term, status.leader)))
        });
        let heard = join_all(asked).await;
        let heard: BTreeMap<NodeId, _> = heard.into_iter().flatten().collect();
        let mut beliefs = heard.values();
        let first = beliefs.next().copied();
        let agreed =
            matches!(first, Some((_, Some(_)))) && beliefs.all(|other| Some(*other) == first);
        if agreed && heard.len() == nodes.len() {
            return Ok(());
        }
        if deadline.is_over() {
            let believes = |&node: &NodeId| {
                let heard = heard.get(&node);
                Believes {
                    node,
                    term: heard.and_then(|(term, _)| *term),
                    leader: heard.and_then(|(_, leader)| *leader),
                }
            };
            return Err(Finding::from(Evidence::Convergence(Apart::Leader {
                within_s: CONVERGE_WITHIN.as_secs(),
                nodes: nodes.iter().map(believes).collect(),
            })));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn nobody_answers() -> Apart {
        let silent = |node| Believes {
            node,
            term: None,
            leader: None,
        };
        Apart::Leader {
            within_s: 12,
            nodes: vec![silent(1), silent(2)],
        }
    }

    #[test]
    fn it_is_said_node_by_node_what_each_holds() {
        assert_eq!(
            nobody_answers().to_string(),
            "no agreed leader 12 s after everything was healed: n1 does not answer, n2 does not answer"
        );
        let applied = |node, answers, applied| Applied {
            node,
            answers,
            applied,
        };
        let nodes = vec![
            applied(1, true, Some((2, 7))),
            applied(2, true, None),
            applied(3, false, None),
        ];
        assert_eq!(
            Apart::Log { within_s: 8, nodes }.to_string(),
            "the nodes did not apply one log within 8 s: n1 applied 2/7, n2 applied nothing, n3 does not answer"
        );
    }
}
