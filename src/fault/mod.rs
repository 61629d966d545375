//! What can go wrong, as data: one [`Fault`] is one thing wrong, named by the nodes that it touches.
//!
//! Nothing here acts. The nemesis puts a fault in; a plan ([`plan`]) says which and when; the screen and the
//! command line name the kinds from [`KINDS`], which is the only place where they are written.

mod deck;
pub mod defects;
mod draw;
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
}

/// What becomes of single messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// The request never arrives and is never answered.
    Drop,
    /// The request arrives and does its work; its answer is never delivered.
    Swallow,
    /// The request comes late, also when its sender has given up.
    Late,
    /// The request arrives twice.
    Double,
    /// The request waits while others overtake it.
    Reorder,
    /// The request never arrives and is answered with an error at once.
    Refuse,
}

impl Act {
    /// Every one of them.
    pub const ALL: [Act; 6] = [
        Act::Drop,
        Act::Swallow,
        Act::Late,
        Act::Double,
        Act::Reorder,
        Act::Refuse,
    ];

    /// The name of its kind in [`KINDS`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Act::Drop => "drop",
            Act::Swallow => "swallow",
            Act::Late => "late",
            Act::Double => "double",
            Act::Reorder => "reorder",
            Act::Refuse => "refuse",
        }
    }
}

/// Which messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// All between nodes.
    Peers,
    /// Votes and pre-votes.
    Votes,
    /// AppendEntries, heartbeats included. In a stream of them only lateness acts.
    Appends,
    /// AppendEntries without entries.
    Heartbeats,
    /// Snapshots; only lateness acts on them.
    Snapshots,
    /// Clients' reads and writes.
    Clients,
    /// Clients' writes.
    Writes,
    /// Clients' reads.
    Reads,
}

impl Of {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Of::Peers => "messages between nodes",
            Of::Votes => "votes",
            Of::Appends => "appends",
            Of::Heartbeats => "heartbeats",
            Of::Snapshots => "snapshots",
            Of::Clients => "clients' requests",
            Of::Writes => "clients' writes",
            Of::Reads => "clients' reads",
        }
    }

    /// Whether clients send them.
    #[must_use]
    pub fn is_of_clients(self) -> bool {
        matches!(self, Of::Clients | Of::Writes | Of::Reads)
    }
}

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskHarm {
    /// Every sync takes so much longer.
    SlowSync,
    /// Every sync fails with EIO, and what was to be synced is lost. The node may stop; it is started again.
    SyncFails,
    /// No file grows. The node may stop; it is started again.
    Full,
}

impl DiskHarm {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DiskHarm::SlowSync => "slow syncs",
            DiskHarm::SyncFails => "failing syncs",
            DiskHarm::Full => "full",
        }
    }

    /// Whether a node may end by itself under it, and be no finding.
    #[must_use]
    pub fn excuses_an_end(self) -> bool {
        !matches!(self, DiskHarm::SlowSync)
    }
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
        name: "bridge",
        about: "part the nodes into two sides that hear each other only through one node between them",
    },
    Kind {
        name: "ring",
        about: "let only neighbours in a ring hear each other: majorities everywhere, no two the same",
    },
    Kind {
        name: "graph",
        about: "stop a random set of directed links",
    },
    Kind {
        name: "hide",
        about: "cut a node off from its clients; its peers still hear it",
    },
    Kind {
        name: "crash-loop",
        about: "SIGKILL a node again and again, soon after each start",
    },
    Kind {
        name: "throttle",
        about: "let a node run and stand in turns of some milliseconds: a slow processor",
    },
    Kind {
        name: "cut",
        about: "stop the packets from one node to another; the other way flows",
    },
    Kind {
        name: "slow",
        about: "delay the packets from one node to another, in order",
    },
    Kind {
        name: "crash",
        about: "cut the power of one node, a minority, a majority or all: what was not synced is lost",
    },
    Kind {
        name: "drop",
        about: "lose requests: votes, appends, heartbeats, or clients' own",
    },
    Kind {
        name: "swallow",
        about: "lose answers: the request does its work, and nobody hears of it",
    },
    Kind {
        name: "late",
        about: "deliver requests late, also those that their sender has given up",
    },
    Kind {
        name: "double",
        about: "deliver requests twice",
    },
    Kind {
        name: "reorder",
        about: "let requests overtake one another",
    },
    Kind {
        name: "refuse",
        about: "answer requests with an error, without delivering them",
    },
    Kind {
        name: "disk",
        about: "slow syncs, failing syncs (EIO) or a full disk (ENOSPC) under a node",
    },
    Kind {
        name: "clock",
        about: "let a node's own clock run fast or slow, stand still or step forward; leases may break",
    },
    Kind {
        name: "shrink",
        about: "take a node's vote away by a change of the membership, give it back later",
    },
    Kind {
        name: "transfer",
        about: "hand the leadership to another node",
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
            Fault::Bridge { .. } => "bridge",
            Fault::Ring { .. } => "ring",
            Fault::Graph { .. } => "graph",
            Fault::Hide { .. } => "hide",
            Fault::CrashLoop { .. } => "crash-loop",
            Fault::Throttle { .. } => "throttle",
            Fault::Cut { .. } => "cut",
            Fault::Slow { .. } => "slow",
            Fault::Crash { .. } => "crash",
            Fault::Message { act, .. } => act.name(),
            Fault::Disk { .. } => "disk",
            Fault::Clock { .. } => "clock",
            Fault::Shrink { .. } => "shrink",
            Fault::Transfer { .. } => "transfer",
        }
    }

    /// The nodes that this fault names.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Fault::Kill { node }
            | Fault::Pause { node }
            | Fault::Restart { node, .. }
            | Fault::Isolate { node, .. }
            | Fault::Hide { node }
            | Fault::CrashLoop { node, .. }
            | Fault::Throttle { node, .. }
            | Fault::Disk { node, .. }
            | Fault::Clock { node, .. }
            | Fault::Shrink { node }
            | Fault::Transfer { to: node } => {
                vec![*node]
            }
            Fault::Split { side: nodes }
            | Fault::Ring { order: nodes }
            | Fault::Crash { nodes } => nodes.clone(),
            Fault::Bridge { over, side } => {
                std::iter::once(*over).chain(side.iter().copied()).collect()
            }
            Fault::Graph { cut } => {
                let ends: std::collections::BTreeSet<NodeId> =
                    cut.iter().flat_map(|&(from, to)| [from, to]).collect();
                ends.into_iter().collect()
            }
            Fault::Message { node, .. } => node.iter().copied().collect(),
            Fault::Cut { from, to } | Fault::Slow { from, to, .. } => vec![*from, *to],
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
            | Fault::Disk { node, .. }
            | Fault::Clock { node, .. } => vec![*node],
            Fault::Crash { nodes } => nodes.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether it is over as soon as it is done: an event, not a state.
    #[must_use]
    pub fn is_over_at_once(&self) -> bool {
        matches!(self, Fault::Restart { .. } | Fault::Transfer { .. })
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
            | Fault::Crash { .. }
            | Fault::CrashLoop { .. }
            | Fault::Throttle { .. }
            | Fault::Hide { .. }
            | Fault::Message { .. }
            | Fault::Disk { .. }
            | Fault::Clock { .. }
            | Fault::Shrink { .. }
            | Fault::Transfer { .. } => Vec::new(),
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
            Fault::Cut { from, to } | Fault::Slow { from, to, .. } => vec![(*from, *to)],
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

/// `n1,n2,n3`.
fn list(f: &mut fmt::Formatter<'_>, nodes: &[NodeId]) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        write!(f, "{}n{node}", if i == 0 { "" } else { "," })?;
    }
    Ok(())
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
                list(f, side)?;
                write!(f, " from the rest")
            }
            Fault::Bridge { over, side } => {
                write!(f, "split ")?;
                list(f, side)?;
                write!(f, " from the rest but for n{over}")
            }
            Fault::Ring { order } => {
                write!(f, "ring ")?;
                list(f, order)
            }
            Fault::Graph { cut } => {
                write!(f, "cut")?;
                for (i, (from, to)) in cut.iter().enumerate() {
                    write!(f, "{} n{from} → n{to}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Fault::Hide { node } => write!(f, "hide n{node} from its clients"),
            Fault::CrashLoop { node, up_ms } => write!(f, "kill n{node} every {up_ms} ms"),
            Fault::Throttle {
                node,
                run_ms,
                stand_ms,
            } => write!(f, "throttle n{node}: {run_ms} ms on, {stand_ms} ms off"),
            Fault::Cut { from, to } => write!(f, "cut n{from} → n{to}"),
            Fault::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                write!(f, "slow n{from} → n{to} {delay_ms} ms ±{jitter_ms}")
            }
            Fault::Crash { nodes } => {
                write!(f, "power loss of ")?;
                list(f, nodes)
            }
            Fault::Message {
                act,
                of,
                node,
                per_mille,
                ms,
            } => {
                let answers = if *act == Act::Swallow {
                    "answers to "
                } else {
                    ""
                };
                write!(f, "{} {answers}{}", act.name(), of.name())?;
                if *ms > 0 {
                    write!(f, " {ms} ms")?;
                }
                if let Some(node) = node {
                    write!(f, " at n{node}")?;
                }
                if *per_mille < 1000 {
                    write!(f, " ({}.{} %)", per_mille / 10, per_mille % 10)?;
                }
                Ok(())
            }
            Fault::Disk { node, harm, ms: 0 } => write!(f, "disk of n{node}: {}", harm.name()),
            Fault::Disk { node, harm, ms } => {
                write!(f, "disk of n{node}: {} of {ms} ms", harm.name())
            }
            Fault::Clock {
                node,
                rate_percent,
                step_ms,
            } => {
                write!(f, "clock of n{node} ")?;
                match (rate_percent, step_ms) {
                    (100, step) => write!(f, "steps {step} ms"),
                    (0, 0) => write!(f, "stands still"),
                    (0, step) => write!(f, "steps {step} ms and stands still"),
                    (rate, 0) => write!(f, "at {rate} %"),
                    (rate, step) => write!(f, "steps {step} ms, then at {rate} %"),
                }
            }
            Fault::Shrink { node } => write!(f, "take n{node}'s vote away"),
            Fault::Transfer { to } => write!(f, "hand the leadership to n{to}"),
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
        let cut = vec![(1, 2), (3, 1)];
        links(Fault::Graph { cut: cut.clone() }, &cut);
        let bridge = Fault::Bridge {
            over: 3,
            side: vec![1],
        };
        links(bridge, &[(1, 2), (2, 1)]);
    }

    #[test]
    fn in_a_ring_everybody_hears_a_majority_and_no_two_the_same() {
        for size in 4..=9 {
            let order: Vec<NodeId> = (1..=size).rev().collect();
            let cut = Fault::Ring {
                order: order.clone(),
            }
            .links(&order);
            assert!(!cut.is_empty() || size < 4, "{size} nodes");
            let heard = |node: NodeId| -> Vec<NodeId> {
                let mut from = order.clone();
                from.retain(|&other| other == node || !cut.contains(&(other, node)));
                from
            };
            for &node in &order {
                assert!(heard(node).len() as u64 * 2 > size, "{size}: n{node}");
                for &other in order.iter().filter(|&&other| other != node) {
                    assert_ne!(heard(node), heard(other), "{size} nodes");
                }
            }
        }
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
            Fault::Bridge {
                over: 1,
                side: vec![2],
            },
            Fault::Ring { order: vec![1, 2] },
            Fault::Graph { cut: vec![(1, 2)] },
            Fault::Hide { node: 1 },
            Fault::CrashLoop { node: 1, up_ms: 9 },
            Fault::Throttle {
                node: 1,
                run_ms: 9,
                stand_ms: 9,
            },
            Fault::Cut { from: 1, to: 2 },
            Fault::Slow {
                from: 1,
                to: 2,
                delay_ms: 20,
                jitter_ms: 5,
            },
            Fault::Crash { nodes: vec![1, 2] },
            Fault::Disk {
                node: 1,
                harm: DiskHarm::SlowSync,
                ms: 50,
            },
            Fault::Clock {
                node: 1,
                rate_percent: 300,
                step_ms: 0,
            },
            Fault::Shrink { node: 1 },
            Fault::Transfer { to: 1 },
        ];
        let messages = Act::ALL.map(|act| Fault::Message {
            act,
            of: Of::Votes,
            node: None,
            per_mille: 500,
            ms: 0,
        });
        assert_eq!(all.len() + messages.len(), KINDS.len());
        for fault in all.into_iter().chain(messages) {
            assert!(
                KINDS.iter().any(|kind| kind.name == fault.kind()),
                "{fault}"
            );
        }
    }
}
