//! What the injector does to the network but for plain cuts: single messages, the bytes of a link, clients' links.

use std::time::Duration;

use super::injector::{Injector, NotIn};
use crate::fault::{Fault, NodeId, Of, WireHarm};
use crate::proxy::{
    ByteFault, ConnectFault, Delay, Direction, Endpoint, Guard, LinkSnapshot, Route,
};

/// Between two slices.
const SLICE_PAUSE: Duration = Duration::from_millis(1);
/// Of a thousand pieces so many are late in spikes.
const SPIKES_PER_MILLE: u32 = 50;

impl Injector {
    /// Cuts a node's links with every group of clients, both ways.
    pub(super) fn isolate_clients(&self, node: NodeId) -> Guard {
        let node = Endpoint::Node(node);
        let directions = self.groups.iter().flat_map(|&group| {
            let clients = Endpoint::Clients(group);
            let [from, to] = [clients, node];
            [Direction { from, to }, Direction { from: to, to: from }]
        });
        Guard::join(directions.map(|direction| self.network.cut(direction)))
    }

    /// Holds back what a node says to another, on the connections that one of them dialled or on all of theirs.
    pub(super) fn hold_back(&self, from: NodeId, to: NodeId, dialled_by: Option<NodeId>) -> Guard {
        let mut legs = Direction::nodes(from, to).legs();
        legs.retain(|leg| dialled_by.is_none_or(|node| leg.route.from == Endpoint::Node(node)));
        self.network.hold_back(&legs)
    }

    /// The routes on which such messages meet a fault, at one node or everywhere, and whoever receives them or one node.
    pub(super) fn routes(&self, of: Of, at: Option<NodeId>, to: Option<NodeId>) -> Vec<Route> {
        if of.is_of_clients() {
            let nodes = self
                .nodes
                .iter()
                .filter(|&&id| at.is_none_or(|at| at == id));
            let links =
                nodes.flat_map(|&to| self.groups.iter().map(move |&g| Route::clients(g, to)));
            links.collect()
        } else {
            let pairs = self
                .nodes
                .iter()
                .flat_map(|&from| self.nodes.iter().map(move |&to| (from, to)));
            let receiver = to;
            let meant = |from: NodeId, to: NodeId| match (at, receiver) {
                (Some(sender), Some(receiver)) => (from, to) == (sender, receiver),
                (None, Some(receiver)) => to == receiver,
                (at, None) => at.is_none_or(|at| at == from || at == to),
            };
            let links = pairs.filter(|&(from, to)| from != to && meant(from, to));
            links.map(|(from, to)| Route::nodes(from, to)).collect()
        }
    }

    /// What the link of a fault that harms its bytes has carried by now.
    pub(super) fn carried(&self, fault: &Fault) -> Option<LinkSnapshot> {
        let (from, to) = match *fault {
            Fault::Slow { from, to, .. } | Fault::HoldBack { from, to, .. } => (from, to),
            Fault::Wire { from, to, harm, .. } => {
                matches!(wire_fault(harm, 1), Wire::Bytes(_)).then_some((from, to))?
            }
            _ => return None,
        };
        Some(self.network.snapshot().between(from, to))
    }

    /// Why a harmed link may as well have been whole: nothing has come over it since, or none of its connections ended.
    pub(super) fn unharmed(&self, fault: &Fault, before: &LinkSnapshot) -> Option<String> {
        let now = self.carried(fault)?;
        let ended = now.accepted > before.accepted || now.connections < before.connections;
        match fault {
            Fault::Wire { harm, .. } if shows_at_ends(*harm) => {
                (!ended).then(|| "no connection ended under it".to_owned())
            }
            _ => (now.bytes_in == before.bytes_in).then(|| "no byte met it".to_owned()),
        }
    }

    /// Harms the bytes from one node to another on all their connections, or who dials from one to the other: then their
    /// live connections are reset once the listener does what it should, or nobody would have to dial.
    ///
    /// # Errors
    /// Where a listener was not seen to change.
    pub(super) async fn harm_wire(
        &self,
        from: NodeId,
        to: NodeId,
        harm: WireHarm,
        amount: u64,
    ) -> Result<Guard, NotIn> {
        let bytes = match wire_fault(harm, amount) {
            Wire::Bytes(fault) => fault,
            Wire::Dials(fault) => {
                let route = Route::nodes(from, to);
                let guard = self.network.on_connect(route, fault);
                self.is_seen(&guard).await?;
                self.network.reset(route);
                return Ok(guard);
            }
        };
        Ok(self.network.put(&Direction::nodes(from, to).legs(), bytes))
    }
}

/// Whether a harm shows where connections end, and not in each byte.
fn shows_at_ends(harm: WireHarm) -> bool {
    matches!(
        harm,
        WireHarm::LimitData | WireHarm::SlowClose | WireHarm::HalfClose
    )
}

/// What a harm is to the network.
enum Wire {
    /// Of the bytes.
    Bytes(ByteFault),
    /// Of new connections.
    Dials(ConnectFault),
}

fn wire_fault(harm: WireHarm, amount: u64) -> Wire {
    let time = Duration::from_millis(amount);
    let bytes = match harm {
        WireHarm::Bandwidth => ByteFault::Bandwidth {
            bytes_per_second: amount,
        },
        WireHarm::Slicer => ByteFault::Slice {
            at_most: usize::try_from(amount).unwrap_or(usize::MAX),
            pause: SLICE_PAUSE,
        },
        WireHarm::Spikes => ByteFault::Delay(Delay::Spikes {
            base: Duration::ZERO,
            spike: time,
            per_mille: SPIKES_PER_MILLE,
        }),
        WireHarm::LongTail => ByteFault::Delay(Delay::Exponential { mean: time }),
        WireHarm::LimitData => ByteFault::Limit { bytes: amount },
        WireHarm::SlowClose => ByteFault::SlowClose(time),
        WireHarm::HalfClose => ByteFault::HalfClose,
        WireHarm::ResetPeer => return Wire::Dials(ConnectFault::Reset),
        WireHarm::Refuse => return Wire::Dials(ConnectFault::Refuse),
        WireHarm::Unanswered => return Wire::Dials(ConnectFault::Unanswered),
    };
    Wire::Bytes(bytes)
}
