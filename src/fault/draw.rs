//! What a random plan draws from: the seed's numbers, and what is left of the decks.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::deck::{Decks, position};
use super::plan::Draw;
use super::who::Translate;
use super::{Fault, Kind, NodeId, NodeSelector, NodeSet, Role, Roles};

/// What single faults are drawn from.
pub(super) struct Hat<'a> {
    /// The seed's numbers, in their order.
    pub(super) rng: ChaCha8Rng,
    /// How many nodes there are.
    pub(super) nodes: usize,
    /// Whether entries travel in streams.
    pub(super) streams: bool,
    /// Whether the nodes' own protocol is understood.
    pub(super) calls: bool,
    /// Whether anybody says who leads.
    roles: bool,
    kinds: &'a [Kind],
    decks: Decks,
}

impl Hat<'_> {
    pub(super) fn new<'a>(rng: ChaCha8Rng, kinds: &'a [Kind], draw: &Draw<'_>) -> Hat<'a> {
        Hat {
            rng,
            nodes: draw.nodes,
            streams: draw.streams,
            calls: draw.calls,
            roles: draw.roles,
            kinds,
            decks: Decks::default(),
        }
    }

    /// Draws `depth` faults, or fewer where the kinds do not allow so many that differ.
    pub(super) fn distinct_faults(&mut self, depth: usize) -> Vec<Fault<Role>> {
        let mut faults: Vec<Fault<Role>> = Vec::new();
        for _ in 0..depth {
            let kind = self.pick(self.kinds);
            match kind.draw(self) {
                Some(fault)
                    if faults
                        .iter()
                        .any(|other| collide(other, &fault, self.nodes)) =>
                {
                    self.decks.put_back(fault);
                }
                Some(fault) => faults.push(fault),
                None => {}
            }
        }
        if self.roles {
            return faults;
        }
        // Nobody knows who leads: each position is a node, another one for each episode.
        let mut places = ByNumber {
            nodes: self.nodes,
            first: self.rng.random_range(0..self.nodes.max(1)),
        };
        let by_number = faults.iter().map(|fault| {
            let Ok(fault) = fault.translate(&mut places);
            fault
        });
        by_number.collect()
    }

    /// One of these.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let picked = from.choose(&mut self.rng);
        picked.expect("there is something to pick from").clone()
    }

    /// Any node, relative to the leader.
    pub(super) fn any(&mut self) -> NodeSelector {
        let followers = self.nodes.saturating_sub(1);
        position(self.rng.random_range(0..=followers))
    }

    /// Any directed link.
    pub(super) fn link(&mut self) -> (NodeSelector, NodeSelector) {
        let from = self.rng.random_range(0..self.nodes);
        let to = (from + self.rng.random_range(1..self.nodes)) % self.nodes;
        (position(from), position(to))
    }

    /// A number from `least` to so many times as much: small ones are as likely as large ones.
    pub(super) fn log_uniform(&mut self, least: f64, times: f64) -> u64 {
        (least * times.powf(self.rng.random::<f64>())) as u64
    }

    /// The next one of those that are dealt; `None` where a cluster of this size has none.
    pub(super) fn deal(
        &mut self,
        kind: Kind,
        every: fn(usize) -> Vec<Fault<Role>>,
    ) -> Option<Fault<Role>> {
        self.decks.deal(&mut self.rng, kind, || every(self.nodes))
    }
}

/// Means nodes by their numbers, where nobody says who leads: the first one stands where the leader would.
struct ByNumber {
    nodes: usize,
    first: usize,
}

impl Translate<Role, Role> for ByNumber {
    type Error = std::convert::Infallible;

    fn one(&mut self, who: &NodeSelector) -> Result<NodeSelector, Self::Error> {
        let place = match who {
            NodeSelector::Leader => 0,
            NodeSelector::Follower(k) => k + 1,
            other => return Ok(*other),
        };
        let number = (self.first + place) % self.nodes.max(1) + 1;
        Ok(NodeSelector::Node(number as NodeId))
    }

    fn many(&mut self, who: &NodeSet) -> Result<NodeSet, Self::Error> {
        let places = match who {
            NodeSet::All => return Ok(NodeSet::All),
            NodeSet::Nodes(these) => return Ok(NodeSet::Nodes(self.each(these)?)),
            NodeSet::Leader => 0..1,
            NodeSet::Follower => 1..2,
            NodeSet::Followers => 1..self.nodes,
            NodeSet::Minority => 0..self.nodes.saturating_sub(1) / 2,
            NodeSet::Majority => 0..self.nodes / 2 + 1,
        };
        let places: Vec<NodeSelector> = places.map(position).collect();
        Ok(NodeSet::Nodes(self.each(&places)?))
    }
}

/// Collects whom a fault names.
#[derive(Default)]
pub(super) struct Named {
    pub(super) ones: Vec<NodeSelector>,
    pub(super) sets: Vec<NodeSet>,
}

impl Named {
    /// Whom this one names.
    pub(super) fn by(fault: &Fault<Role>) -> Named {
        let mut named = Named::default();
        let Ok(_) = fault.translate(&mut named);
        named
    }
}

impl Translate<Role, Role> for Named {
    type Error = std::convert::Infallible;

    fn one(&mut self, who: &NodeSelector) -> Result<NodeSelector, Self::Error> {
        self.ones.push(*who);
        Ok(*who)
    }

    fn many(&mut self, who: &NodeSet) -> Result<NodeSet, Self::Error> {
        self.sets.push(who.clone());
        Ok(who.clone())
    }
}

impl Fault<Role> {
    /// Whose children it acts on.
    fn children(&self) -> Named {
        match self.kind().acts_on_children() {
            true => Named::by(self),
            false => Named::default(),
        }
    }
}

/// Whether two faults act on one child, are the same, or one would do nothing beside the other.
fn collide(a: &Fault<Role>, b: &Fault<Role>, nodes: usize) -> bool {
    let (ours, theirs) = (a.children(), b.children());
    let touches = |named: &Named| !named.ones.is_empty() || !named.sets.is_empty();
    a == b
        || (!ours.ones.is_empty() && ours.ones == theirs.ones)
        || (!ours.sets.is_empty() && touches(&theirs))
        || (!theirs.sets.is_empty() && touches(&ours))
        || hides(a, b, nodes)
        || hides(b, a, nodes)
}

/// Whether one fault cuts every link that the other acts on.
fn hides(a: &Fault<Role>, b: &Fault<Role>, nodes: usize) -> bool {
    if !a.kind().cuts() {
        return false;
    }
    let ids: Vec<NodeId> = (1..=nodes as NodeId).collect();
    let links = |fault: &Fault<Role>| {
        let fault = fault.resolve(Roles {
            nodes: &ids,
            leader: ids.first().copied(),
            newcomer: None,
        });
        fault.map_or_else(|_| Vec::new(), |fault| fault.links(&ids))
    };
    let (cut, met) = (links(a), links(b));
    !met.is_empty() && met.iter().all(|link| cut.contains(link))
}
