//! How each directed link between two nodes is, from the faults that are in.

use std::collections::BTreeMap;

use super::event::Event;
use super::node::LinkState;
use crate::fault::{Fault, FaultId, NodeId};

/// The faults that are in, and what follows for the links.
#[derive(Debug)]
pub struct Links {
    nodes: Vec<NodeId>,
    active: BTreeMap<FaultId, Fault>,
    told: BTreeMap<(NodeId, NodeId), LinkState>,
}

impl Links {
    /// All links between these nodes, open.
    pub fn new(nodes: Vec<NodeId>) -> Links {
        Links {
            nodes,
            active: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Gives the links that changed by what happened.
    pub fn after(&mut self, event: &Event) -> Vec<Event> {
        match event {
            Event::FaultIn { id, fault, .. } => self.inject(*id, fault.clone()),
            Event::FaultOut { id, .. } => self.heal(*id),
            _ => Vec::new(),
        }
    }

    /// A fault is in; gives the links that changed by it.
    fn inject(&mut self, id: FaultId, fault: Fault) -> Vec<Event> {
        self.active.insert(id, fault);
        self.changes()
    }

    /// A fault is out; gives the links that changed by it.
    fn heal(&mut self, id: FaultId) -> Vec<Event> {
        self.active.remove(&id);
        self.changes()
    }

    fn changes(&mut self) -> Vec<Event> {
        let mut now: BTreeMap<(NodeId, NodeId), LinkState> = BTreeMap::new();
        for fault in self.active.values() {
            for link in fault.links(&self.nodes) {
                let state = now.entry(link).or_insert(LinkState::Slow);
                // A harmed wire still carries something, if only what goes the other way.
                if fault.cuts() {
                    *state = LinkState::Cut;
                }
            }
        }
        let state_in =
            |map: &BTreeMap<_, _>, link| map.get(&link).copied().unwrap_or(LinkState::Open);
        let all = self
            .nodes
            .iter()
            .flat_map(|&from| self.nodes.iter().map(move |&to| (from, to)));
        let changed = all
            .filter(|&link| state_in(&now, link) != state_in(&self.told, link))
            .map(|(from, to)| Event::Link {
                from,
                to,
                state: state_in(&now, (from, to)),
            })
            .collect();
        self.told = now;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_open_again_only_when_no_fault_holds_it() {
        let mut links = Links::new(vec![1, 2, 3]);
        let state = |from, to, state| Event::Link { from, to, state };
        let slow = Fault::Slow {
            from: 1,
            to: 2,
            delay_ms: 5,
            jitter_ms: 0,
        };
        assert_eq!(links.inject(1, slow), [state(1, 2, LinkState::Slow)]);
        assert_eq!(
            links.inject(2, Fault::Cut { from: 1, to: 2 }),
            [state(1, 2, LinkState::Cut)]
        );
        assert_eq!(links.inject(3, Fault::Cut { from: 1, to: 2 }), []);
        assert_eq!(links.heal(2), []);
        assert_eq!(links.heal(3), [state(1, 2, LinkState::Slow)]);
        assert_eq!(links.heal(1), [state(1, 2, LinkState::Open)]);
    }
}
