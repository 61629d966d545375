//! What can go wrong, as data: one [`Fault`] is one thing wrong, named by the nodes that it touches.
//!
//! Nothing here acts. The nemesis puts a fault in; a plan ([`plan`]) says which and when; the screen and the
//! command line name the kinds from [`KINDS`], which is the only place where they are written.

mod aim;
mod check;
mod deck;
pub mod defects;
mod draw;
mod harm;
mod kinds;
mod message;
pub mod plan;
mod show;
mod span;
mod together;
mod wish;

use serde::{Deserialize, Serialize};

pub use check::{Among, Senseless};
pub use harm::{DiskHarm, LimitOf, WireHarm};
pub use kinds::{KINDS, Kind, MEMBERSHIP, OUTSIDE, least_nodes};
pub use message::{Act, Of, Only};
pub use span::{FaultSpan, Remains};

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
    /// SIGKILL for all of them at the same time. Taken out by starting them again on their own disks.
    KillSeveral {
        /// The nodes, in the order of their ids.
        nodes: Vec<NodeId>,
    },
    /// SIGSTOP for all of them at the same time. Taken out by SIGCONT, for one after the other.
    Freeze {
        /// The nodes, in the order of their ids, which is that in which they go on.
        nodes: Vec<NodeId>,
        /// How long after one the next one goes on.
        stagger_ms: u64,
    },
    /// A limit of the system, at nothing, for the child: setrlimit(2). The node may stop; it is started again.
    Limit {
        /// The node that has no more.
        node: NodeId,
        /// Of what.
        of: LimitOf,
    },
    /// SIGKILL, a start, and so again and again. Taken out by leaving it alone once it is up.
    CrashLoop {
        /// The node that does not get going.
        node: NodeId,
        /// How long it is up between a start and the next SIGKILL.
        up_ms: u64,
    },
    /// SIGSTOP and SIGCONT in turns: a node with little of its processor.
    Throttle {
        /// The node that is slow.
        node: NodeId,
        /// It runs so long,
        run_ms: u64,
        /// then stands so long, and so on.
        stand_ms: u64,
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
    /// Two sides that hear each other only through what one node between them passes on.
    Bridge {
        /// The node that hears both sides.
        over: NodeId,
        /// One side, in the order of the ids; everybody else but the bridge is the other.
        side: Vec<NodeId>,
    },
    /// Every node hears a majority, and no two of them the same one: only neighbours in a ring hear each other.
    Ring {
        /// The nodes as they stand in the ring.
        order: Vec<NodeId>,
    },
    /// Some directed links stop, the others flow: any directed graph.
    Graph {
        /// From whom to whom nothing passes, in order.
        cut: Vec<(NodeId, NodeId)>,
    },
    /// A node without its clients. Its peers still hear it.
    Hide {
        /// The node that no client reaches.
        node: NodeId,
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
    /// The bytes from one node to another pass as TCP allows and hardly anybody tries, on live and on new connections.
    Wire {
        /// Who sends; who dials, where it is dialling that is harmed.
        from: NodeId,
        /// Who hears it; who is dialled.
        to: NodeId,
        /// What becomes of them.
        harm: WireHarm,
        /// What the harm counts: bytes or milliseconds; 0 where it counts nothing.
        amount: u64,
    },
    /// The machines of these nodes lose power: SIGKILL, their links fall silent, and what was not synced is lost. Taken
    /// out by starting them again on their own disks.
    Crash {
        /// The nodes, in the order of their ids.
        nodes: Vec<NodeId>,
    },
    /// Single messages meet this, each by its own hash.
    Message {
        /// What becomes of them.
        act: Act,
        /// Which messages.
        of: Of,
        /// Only on the links of this node; absent: everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// Of so many in a thousand.
        per_mille: u32,
        /// How late, or how far apart; 0 where the act has no time.
        ms: u64,
        /// Of those that the named node sends, or else of all, only what is for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<NodeId>,
        /// Which of them, by what they say and by their number.
        #[serde(default, skip_serializing_if = "Only::is_all")]
        only: Only,
    },
    /// The disk under a node's log and state does this.
    Disk {
        /// Whose.
        node: NodeId,
        /// What.
        harm: DiskHarm,
        /// How slow; 0 where the harm has no time.
        ms: u64,
    },
    /// A node's vote is taken away; it learns on. Taken out by giving the vote back.
    Shrink {
        /// Whose.
        node: NodeId,
    },
    /// A node's own clock, monotonic included, runs at another pace. Taken out by letting it run as it should; what it
    /// is ahead or behind by then it stays. Leases may break under it, and legally so; nothing else may.
    Clock {
        /// Whose.
        node: NodeId,
        /// How fast, in percent: 100 is as it should, 0 stands still.
        rate_percent: u32,
        /// How far it steps forward at the beginning.
        step_ms: u64,
    },
    /// The leadership is handed to a node. It is over when that node leads.
    Transfer {
        /// The heir.
        to: NodeId,
    },
    /// A voter leaves the membership; when that is committed it is ended and its disk emptied. Taken out by starting it
    /// from nothing, letting it learn, and giving it a vote: a new member that has the old one's id.
    Replace {
        /// The voter that goes.
        node: NodeId,
    },
    /// A node that is no member joins, learns and gets a vote. Taken out by letting it leave.
    Grow {
        /// The newcomer.
        node: NodeId,
    },
    /// A voter is ended and starts again from nothing, and nobody is told: it has forgotten its vote and what it
    /// acknowledged. Outside of the fault model. It is over as soon as the node is ready again.
    Wipe {
        /// The voter that forgets.
        node: NodeId,
    },
}

impl Fault {
    /// The name of this fault's kind in [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::Pause { .. } => "pause",
            Fault::Restart { .. } => "restart",
            Fault::KillSeveral { .. } => "kill-several",
            Fault::Freeze { .. } => "freeze",
            Fault::Limit { .. } => "limit",
            Fault::Isolate { .. } => "isolate",
            Fault::Split { .. } => "split",
            Fault::Bridge { .. } => "bridge",
            Fault::Ring { .. } => "ring",
            Fault::Graph { .. } => "graph",
            Fault::Hide { .. } => "hide",
            Fault::CrashLoop { .. } => "crash-loop",
            Fault::Throttle { .. } => "throttle",
            Fault::Cut { .. } => "cut",
            Fault::Slow { .. } => "slow",
            Fault::Wire { .. } => "wire",
            Fault::Crash { .. } => "crash",
            Fault::Message { act, .. } => act.name(),
            Fault::Disk { harm, .. } => harm.kind(),
            Fault::Clock { .. } => "clock",
            Fault::Shrink { .. } => "shrink",
            Fault::Transfer { .. } => "transfer",
            Fault::Replace { .. } => "replace",
            Fault::Grow { .. } => "grow",
            Fault::Wipe { .. } => "wipe",
        }
    }

    /// Whether a correct cluster must survive it: what is found after any other accuses nobody.
    #[must_use]
    pub fn is_inside_the_model(&self) -> bool {
        !OUTSIDE.contains(&self.kind())
    }

    /// Whether its nodes die by it, as they stand.
    #[must_use]
    pub fn kills(&self) -> bool {
        match self {
            Fault::Kill { .. }
            | Fault::KillSeveral { .. }
            | Fault::Crash { .. }
            | Fault::CrashLoop { .. }
            | Fault::Replace { .. }
            | Fault::Wipe { .. } => true,
            Fault::Restart { signal, .. } => *signal == Signal::Kill,
            _ => false,
        }
    }

    /// The node whose membership this fault changes.
    #[must_use]
    pub fn member(&self) -> Option<NodeId> {
        match self {
            Fault::Shrink { node } | Fault::Replace { node } | Fault::Grow { node } => Some(*node),
            _ => None,
        }
    }

    /// The nodes that this fault names.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Fault::Kill { node }
            | Fault::Pause { node }
            | Fault::Restart { node, .. }
            | Fault::Limit { node, .. }
            | Fault::Isolate { node, .. }
            | Fault::Hide { node }
            | Fault::CrashLoop { node, .. }
            | Fault::Throttle { node, .. }
            | Fault::Disk { node, .. }
            | Fault::Clock { node, .. }
            | Fault::Shrink { node }
            | Fault::Transfer { to: node }
            | Fault::Replace { node }
            | Fault::Grow { node }
            | Fault::Wipe { node } => {
                vec![*node]
            }
            Fault::Split { side: nodes }
            | Fault::Ring { order: nodes }
            | Fault::KillSeveral { nodes }
            | Fault::Freeze { nodes, .. }
            | Fault::Crash { nodes } => nodes.clone(),
            Fault::Bridge { over, side } => {
                std::iter::once(*over).chain(side.iter().copied()).collect()
            }
            Fault::Graph { cut } => {
                let ends: std::collections::BTreeSet<NodeId> =
                    cut.iter().flat_map(|&(from, to)| [from, to]).collect();
                ends.into_iter().collect()
            }
            Fault::Message { node, to, .. } => node.iter().chain(to).copied().collect(),
            Fault::Cut { from, to }
            | Fault::Slow { from, to, .. }
            | Fault::Wire { from, to, .. } => {
                vec![*from, *to]
            }
        }
    }

    /// The nodes whose children this fault acts on; none for a fault of the network.
    #[must_use]
    pub fn children(&self) -> Vec<NodeId> {
        match self {
            Fault::Kill { node }
            | Fault::Pause { node }
            | Fault::Restart { node, .. }
            | Fault::CrashLoop { node, .. }
            | Fault::Throttle { node, .. }
            | Fault::Limit { node, .. }
            | Fault::Disk { node, .. }
            | Fault::Clock { node, .. }
            | Fault::Replace { node }
            | Fault::Wipe { node } => vec![*node],
            Fault::Crash { nodes } | Fault::KillSeveral { nodes } | Fault::Freeze { nodes, .. } => {
                nodes.clone()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is over as soon as it is done: an event, not a state.
    #[must_use]
    pub fn is_over_at_once(&self) -> bool {
        matches!(
            self,
            Fault::Restart { .. } | Fault::Transfer { .. } | Fault::Wipe { .. }
        )
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
            Fault::Kill { .. }
            | Fault::Pause { .. }
            | Fault::Restart { .. }
            | Fault::KillSeveral { .. }
            | Fault::Freeze { .. }
            | Fault::Limit { .. }
            | Fault::Crash { .. }
            | Fault::CrashLoop { .. }
            | Fault::Throttle { .. }
            | Fault::Hide { .. }
            | Fault::Message { .. }
            | Fault::Disk { .. }
            | Fault::Clock { .. }
            | Fault::Shrink { .. }
            | Fault::Transfer { .. }
            | Fault::Replace { .. }
            | Fault::Grow { .. }
            | Fault::Wipe { .. } => Vec::new(),
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
            Fault::Bridge { over, side } => pairs()
                .filter(|(from, to)| from != over && to != over)
                .filter(|(from, to)| side.contains(from) != side.contains(to))
                .collect(),
            Fault::Ring { order } => pairs()
                .filter(|(from, to)| !are_neighbours(order, *from, *to))
                .collect(),
            Fault::Graph { cut } => pairs().filter(|link| cut.contains(link)).collect(),
            Fault::Cut { from, to }
            | Fault::Slow { from, to, .. }
            | Fault::Wire { from, to, .. } => {
                vec![(*from, *to)]
            }
        }
    }
}

/// Whether two nodes of a ring are near enough to hear each other: with as many to each side as make a majority.
fn are_neighbours(order: &[NodeId], a: NodeId, b: NodeId) -> bool {
    let place = |node| order.iter().position(|&other| other == node);
    let (Some(a), Some(b)) = (place(a), place(b)) else {
        return false;
    };
    let apart = a.abs_diff(b);
    let others_in_a_majority = order.len() / 2;
    apart.min(order.len() - apart) <= others_in_a_majority.div_ceil(2)
}

#[cfg(test)]
mod tests;
