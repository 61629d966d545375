//! What can go wrong, as data: one [`Fault`] is one thing wrong, named by the nodes that it touches.
//!
//! Nothing here acts. The nemesis puts a fault in; a plan ([`plan`]) says which and when; the screen and the
//! command line name the kinds from [`KINDS`], which is the only place where they are written.

pub mod plan;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's id, 1 to 9.
pub type NodeId = u64;

/// Numbers the faults of one run, from 1.
pub type FaultId = u64;

/// Who put a fault in, or took it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A person, by a command.
    You,
    /// The plan.
    Plan,
    /// The end of the run, which heals everything.
    End,
}

/// Which way the packets of a cut node or link stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Nothing passes.
    Both,
    /// What others send to the node stops; what it sends flows.
    In,
    /// What the node sends stops; what others send to it flows.
    Out,
}

/// How a child that starts again is ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// SIGTERM: gracefully.
    #[default]
    Term,
    /// SIGKILL: as it stands.
    Kill,
}

/// One thing wrong, with its nodes resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL; taken out by starting the node again on its own disk.
    Kill {
        /// The node that dies.
        node: NodeId,
    },
    /// SIGSTOP; taken out by SIGCONT. The node does not notice.
    Pause {
        /// The node that stops.
        node: NodeId,
    },
    /// An end, and a start at once. It is out as soon as the node is ready again.
    Restart {
        /// The node that starts again.
        node: NodeId,
        /// How it ends.
        #[serde(default)]
        signal: Signal,
    },
    /// A node without its peers. Its clients still reach it.
    Isolate {
        /// The node that is alone.
        node: NodeId,
        /// Which of its packets stop.
        way: Way,
    },
    /// Two sides that do not hear each other; clients reach both.
    Split {
        /// One side, in the order of the ids; everybody else is the other.
        side: Vec<NodeId>,
    },
    /// Packets from one node to another stop; the other way flows.
    Cut {
        /// Who sends in vain.
        from: NodeId,
        /// Who hears nothing.
        to: NodeId,
    },
    /// Packets from one node to another come late, in order.
    Slow {
        /// Who sends.
        from: NodeId,
        /// Who hears it late.
        to: NodeId,
        /// The delay's middle.
        delay_ms: u64,
        /// At most this much more or less.
        jitter_ms: u64,
    },
}

/// A kind of fault: its name wherever a name is typed or shown, and what it does, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// One word, as in `--faults kill,pause`.
    pub name: &'static str,
    /// For `whitewater list faults` and the fault menu.
    pub about: &'static str,
}

/// Every kind of fault, in the order in which people meet them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "isolate",
        about: "cut a node off from its peers, both ways or one way; its clients still reach it",
    },
    Kind {
        name: "kill",
        about: "SIGKILL a node, start it again on its own disk",
    },
    Kind {
        name: "pause",
        about: "SIGSTOP a node, SIGCONT it later; it does not notice",
    },
    Kind {
        name: "restart",
        about: "end a node, gracefully or not, and start it again at once",
    },
    Kind {
        name: "split",
        about: "part the nodes into two sides that do not hear each other",
    },
    Kind {
        name: "cut",
        about: "stop the packets from one node to another; the other way flows",
    },
    Kind {
        name: "slow",
        about: "delay the packets from one node to another, in order",
    },
];

impl Fault {
    /// The name of this fault's kind in [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::Pause { .. } => "pause",
            Fault::Restart { .. } => "restart",
            Fault::Isolate { .. } => "isolate",
            Fault::Split { .. } => "split",
            Fault::Cut { .. } => "cut",
            Fault::Slow { .. } => "slow",
        }
    }

    /// The nodes that this fault names.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Fault::Kill { node }
            | Fault::Pause { node }
            | Fault::Restart { node, .. }
            | Fault::Isolate { node, .. } => {
                vec![*node]
            }
            Fault::Split { side } => side.clone(),
            Fault::Cut { from, to } | Fault::Slow { from, to, .. } => vec![*from, *to],
        }
    }

    /// The node whose child this fault acts on; `None` for a fault of the network.
    #[must_use]
    pub fn child(&self) -> Option<NodeId> {
        match self {
            Fault::Kill { node } | Fault::Pause { node } | Fault::Restart { node, .. } => {
                Some(*node)
            }
            _ => None,
        }
    }

    /// The directed links between `nodes` that this fault stops or slows, in order; none for a fault of a child.
    #[must_use]
    pub fn links(&self, nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
        let pairs = || {
            nodes
                .iter()
                .flat_map(|&from| nodes.iter().map(move |&to| (from, to)))
                .filter(|(a, b)| a != b)
        };
        match self {
            Fault::Kill { .. } | Fault::Pause { .. } | Fault::Restart { .. } => Vec::new(),
            Fault::Isolate { node, way } => pairs()
                .filter(|(from, to)| match way {
                    Way::Both => from == node || to == node,
                    Way::In => to == node,
                    Way::Out => from == node,
                })
                .collect(),
            Fault::Split { side } => pairs()
                .filter(|(from, to)| side.contains(from) != side.contains(to))
                .collect(),
            Fault::Cut { from, to } | Fault::Slow { from, to, .. } => vec![(*from, *to)],
        }
    }
}

impl fmt::Display for Fault {
    /// As on the screen and in the history's marks: `cut n1 → n3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill { node } => write!(f, "kill n{node}"),
            Fault::Pause { node } => write!(f, "pause n{node}"),
            Fault::Restart {
                node,
                signal: Signal::Term,
            } => write!(f, "restart n{node}"),
            Fault::Restart {
                node,
                signal: Signal::Kill,
            } => write!(f, "crash and restart n{node}"),
            Fault::Isolate {
                node,
                way: Way::Both,
            } => write!(f, "isolate n{node}"),
            Fault::Isolate { node, way: Way::In } => write!(f, "isolate n{node} (hears nobody)"),
            Fault::Isolate {
                node,
                way: Way::Out,
            } => write!(f, "isolate n{node} (nobody hears it)"),
            Fault::Split { side } => {
                write!(f, "split ")?;
                for (i, node) in side.iter().enumerate() {
                    write!(f, "{}n{node}", if i == 0 { "" } else { "," })?;
                }
                write!(f, " from the rest")
            }
            Fault::Cut { from, to } => write!(f, "cut n{from} → n{to}"),
            Fault::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                write!(f, "slow n{from} → n{to} {delay_ms} ms ±{jitter_ms}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(fault: Fault, expected: &[(NodeId, NodeId)]) {
        assert_eq!(fault.links(&[1, 2, 3]), expected, "{fault}");
    }

    #[test]
    fn a_network_fault_names_exactly_its_directed_links() {
        links(Fault::Cut { from: 1, to: 3 }, &[(1, 3)]);
        links(
            Fault::Isolate {
                node: 2,
                way: Way::Both,
            },
            &[(1, 2), (2, 1), (2, 3), (3, 2)],
        );
        links(
            Fault::Isolate {
                node: 2,
                way: Way::In,
            },
            &[(1, 2), (3, 2)],
        );
        links(
            Fault::Isolate {
                node: 2,
                way: Way::Out,
            },
            &[(2, 1), (2, 3)],
        );
        links(
            Fault::Split { side: vec![1] },
            &[(1, 2), (1, 3), (2, 1), (3, 1)],
        );
        links(Fault::Kill { node: 1 }, &[]);
    }

    #[test]
    fn every_fault_is_of_a_listed_kind() {
        let all = [
            Fault::Kill { node: 1 },
            Fault::Pause { node: 1 },
            Fault::Restart {
                node: 1,
                signal: Signal::Term,
            },
            Fault::Isolate {
                node: 1,
                way: Way::Both,
            },
            Fault::Split { side: vec![1] },
            Fault::Cut { from: 1, to: 2 },
            Fault::Slow {
                from: 1,
                to: 2,
                delay_ms: 20,
                jitter_ms: 5,
            },
        ];
        assert_eq!(all.len(), KINDS.len());
        for fault in all {
            assert!(
                KINDS.iter().any(|kind| kind.name == fault.kind()),
                "{fault}"
            );
        }
    }
}
