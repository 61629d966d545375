//! The network between the nodes, and between clients and nodes: every byte passes here and may come to harm.
//!
//! [`Network`] has one listener for each [`Route`]: each ordered pair of nodes and each (client group, node). A node
//! dials its peer's listener, so the listener knows who speaks. Bytes enter at a listener and leave to the node's
//! upstream address, which the owner tells after each start of the node.
//!
//! There are two notions of "one way", and both are offered:
//!
//! ```text
//!                 route n1→n2 (n1 dialled)          route n2→n1 (n2 dialled)
//!   n1 ══ request leg ══▶ n2                n2 ══ request leg ══▶ n1
//!   n1 ◀══ response leg ═ n2                n2 ◀══ response leg ═ n1
//!
//!   packets n1⇒n2  =  request leg of n1→n2  +  response leg of n2→n1
//! ```
//!
//! A [`Direction`] is what a cable or a firewall knows (packets); a [`Leg`] is what an RPC knows. A byte inside a
//! stream that goes on is never dropped: it waits, comes late, or its connection is reset. Whatever is put in place
//! gives a [`Guard`] that takes it out again; faults on one leg stack, and a leg is whole when no guard holds it.
//!
//! The network runs on threads of its own. Every call here returns at once and works from any thread, inside or
//! outside of an async runtime; only [`Network::verify`] waits.

mod dialled;
mod effect;
mod gate;
mod lines;
mod listener;
mod messages;
mod network;
mod rule;

use std::fmt;

pub use effect::{ByteFault, ConnectFault, Delay, HeldBack, LetOut};
pub use lines::{Fate, Line};
pub use network::{
    Guard, LinkSnapshot, LinkState, Network, NetworkConfig, NetworkSnapshot, Probe, ProxyError,
};
pub use rule::{
    Action, Decision, Decisions, Match, MessageCounters, MessageRule, Method, Methods, Summary,
};

/// The highest node id that has listeners; ids begin at 1.
pub const MAX_NODE: u64 = 9;

/// Who can send and receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A node, by its id, 1 to [`MAX_NODE`].
    Node(u64),
    /// A group of clients that share their links.
    Clients(u32),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Node(id) => write!(f, "n{id}"),
            Endpoint::Clients(group) => write!(f, "clients{group}"),
        }
    }
}

/// Who dials whom: one listener. Only nodes are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Who dials.
    pub from: Endpoint,
    /// The node that is dialled.
    pub to: u64,
}

impl Route {
    /// The route on which one node dials another.
    #[must_use]
    pub fn nodes(from: u64, to: u64) -> Route {
        Route {
            from: Endpoint::Node(from),
            to,
        }
    }

    /// The route on which a group of clients dials a node.
    #[must_use]
    pub fn clients(group: u32, to: u64) -> Route {
        Route {
            from: Endpoint::Clients(group),
            to,
        }
    }
}

impl Route {
    /// A number of its own, for what is drawn from a seed.
    fn number(self) -> u64 {
        match self.from {
            Endpoint::Node(from) => (from << 32) | self.to,
            Endpoint::Clients(group) => (1 << 63) | (u64::from(group) << 16) | self.to,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→n{}", self.from, self.to)
    }
}

/// Which half of a route's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Half {
    /// From who dialled to the node.
    Request,
    /// From the node back to who dialled.
    Response,
}

/// One half of one route: the finest thing that a byte-level fault is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Leg {
    /// Who dialled whom.
    pub route: Route,
    /// Which of its halves.
    pub half: Half,
}

/// Packets from one party to another, whoever dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Direction {
    /// Who sends.
    pub from: Endpoint,
    /// Who receives.
    pub to: Endpoint,
}

impl Direction {
    /// Packets from one node to another.
    #[must_use]
    pub fn nodes(from: u64, to: u64) -> Direction {
        Direction {
            from: Endpoint::Node(from),
            to: Endpoint::Node(to),
        }
    }

    /// The direction of the packets of one leg.
    #[must_use]
    pub fn of(leg: Leg) -> Direction {
        let node = Endpoint::Node(leg.route.to);
        match leg.half {
            Half::Request => Direction {
                from: leg.route.from,
                to: node,
            },
            Half::Response => Direction {
                from: node,
                to: leg.route.from,
            },
        }
    }

    /// The legs that carry packets this way: two between nodes, one where clients are a party.
    #[must_use]
    pub fn legs(self) -> Vec<Leg> {
        let mut legs = Vec::with_capacity(2);
        if let Endpoint::Node(to) = self.to {
            legs.push(Leg {
                route: Route {
                    from: self.from,
                    to,
                },
                half: Half::Request,
            });
        }
        if let Endpoint::Node(from) = self.from {
            legs.push(Leg {
                route: Route {
                    from: self.to,
                    to: from,
                },
                half: Half::Response,
            });
        }
        legs
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}⇒{}", self.from, self.to)
    }
}

/// What a route's connections are made of. A change holds for connections accepted after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// A stream of bytes, of any protocol.
    #[default]
    Bytes,
    /// gRPC messages over HTTP/2, each with a fate of its own.
    Messages,
}

/// A seed and some words to one number, the same on every machine: splitmix64's finisher over each word in turn.
fn mix(seed: u64, words: &[u64]) -> u64 {
    words.iter().fold(seed, |state, &word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod dialled_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod stranger_tests;
#[cfg(test)]
mod tests;
