//! Whom a fault meets, once they are nodes: their ids, their children, the links between them.

use std::convert::Infallible;

use super::who::Translate;
use super::{Class, Fault, Kind, Mark, Node, NodeId, Signal, Way};

/// Collects the nodes that a fault names.
struct Nodes(Vec<NodeId>);

impl Translate<Node, Node> for Nodes {
    type Error = Infallible;

    fn one(&mut self, who: &NodeId) -> Result<NodeId, Infallible> {
        self.0.push(*who);
        Ok(*who)
    }

    fn many(&mut self, who: &Vec<NodeId>) -> Result<Vec<NodeId>, Infallible> {
        self.0.extend(who);
        Ok(who.clone())
    }
}

impl Kind {
    /// Whether it acts on the children of its nodes, of which each bears one such fault at a time.
    pub(super) fn acts_on_children(self) -> bool {
        matches!(self.class(), Class::Process | Class::Disk | Class::Clock) || self.ends()
    }

    /// Whether nothing passes where it is.
    pub(super) fn cuts(self) -> bool {
        self.class() == Class::Network && self.mark() == Mark::Cut
    }
}

impl Fault {
    /// Whether its nodes die by it, as they stand.
    #[must_use]
    pub fn kills(&self) -> bool {
        let by_a_signal = matches!(
            self,
            Fault::Restart {
                signal: Signal::Kill,
                ..
            }
        );
        // One that starts from nothing dies before it.
        self.kind().ends() || by_a_signal
    }

    /// Whether its nodes stand, and hear nothing, until it is taken out.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.kind().stops()
    }

    /// Whether it is over as soon as it is done: an event, not a state.
    #[must_use]
    pub fn is_over_at_once(&self) -> bool {
        self.kind().is_once()
    }

    /// The nodes that this fault names, each once, in the order in which it does.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut named = Nodes(Vec::new());
        let Ok(_) = self.translate(&mut named);
        let mut seen = std::collections::BTreeSet::new();
        named.0.retain(|node| seen.insert(*node));
        named.0
    }

    /// The node whose membership this fault changes.
    #[must_use]
    pub fn member(&self) -> Option<NodeId> {
        let changes = self.kind().class() == Class::Members;
        self.nodes().into_iter().next().filter(|_| changes)
    }

    /// The nodes whose children this fault acts on; none for a fault of the network.
    #[must_use]
    pub fn children(&self) -> Vec<NodeId> {
        match self.kind().acts_on_children() {
            true => self.nodes(),
            false => Vec::new(),
        }
    }

    /// Whether nothing passes where it is, and not only less or later.
    #[must_use]
    pub fn cuts(&self) -> bool {
        self.kind().cuts()
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
            Fault::Isolate { who, way } => pairs()
                .filter(|(from, to)| match way {
                    Way::Both => from == who || to == who,
                    Way::In => to == who,
                    Way::Out => from == who,
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
            _ if self.kind().class() != Class::Network => Vec::new(),
            // Those that it names by their ends.
            _ => self.ends().iter().map(|&(&from, &to)| (from, to)).collect(),
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
