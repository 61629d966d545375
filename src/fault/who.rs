//! Whom a fault meets: roles while it is planned, nodes when it goes in.

use std::fmt::Debug;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{NodeId, NodeSelector, NodeSet};

/// What stands for a node, or for several, in a fault.
pub trait Who: Copy + Debug + Ord + Hash {
    /// One node.
    type One: Clone + Debug + Ord + Hash + Serialize + DeserializeOwned;
    /// Several nodes at a time.
    type Many: Clone + Debug + Ord + Hash + Serialize + DeserializeOwned;

    /// How one is shown.
    fn name(one: &Self::One) -> String;

    /// How several are shown.
    fn names(many: &Self::Many) -> String;
}

/// In a plan: nodes by what they are when the fault goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role;

/// When it goes in: nodes by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node;

impl Who for Role {
    type One = NodeSelector;
    type Many = NodeSet;

    fn name(one: &NodeSelector) -> String {
        one.to_string()
    }

    fn names(many: &NodeSet) -> String {
        many.to_string()
    }
}

impl Who for Node {
    type One = NodeId;
    type Many = Vec<NodeId>;

    fn name(one: &NodeId) -> String {
        format!("n{one}")
    }

    fn names(many: &Vec<NodeId>) -> String {
        many.iter().map(Self::name).collect::<Vec<_>>().join(",")
    }
}

/// Who sends, and who hears it.
type Link<W> = (<W as Who>::One, <W as Who>::One);

/// Says for whom a fault is instead of those whom it names.
pub(super) trait Translate<W: Who, V: Who> {
    /// Why somebody cannot be said.
    type Error;

    /// Who one node is.
    fn one(&mut self, who: &W::One) -> Result<V::One, Self::Error>;

    /// Who several are.
    fn many(&mut self, who: &W::Many) -> Result<V::Many, Self::Error>;

    /// Who the ends of these links are: in order, each link once.
    fn links(&mut self, links: &[Link<W>]) -> Result<Vec<Link<V>>, Self::Error> {
        let links = links.iter().map(|(a, b)| Ok((self.one(a)?, self.one(b)?)));
        let mut links = links.collect::<Result<Vec<_>, _>>()?;
        links.sort_unstable();
        links.dedup();
        Ok(links)
    }

    /// Who those on one side are, in their order, each once.
    fn side(&mut self, side: &[W::One]) -> Result<Vec<V::One>, Self::Error> {
        let mut side = self.each(side)?;
        side.sort_unstable();
        side.dedup();
        Ok(side)
    }

    /// Who these are, in the order in which they stand.
    fn each(&mut self, all: &[W::One]) -> Result<Vec<V::One>, Self::Error> {
        all.iter().map(|who| self.one(who)).collect()
    }

    /// Who this is, where somebody is named.
    fn any(&mut self, who: &Option<W::One>) -> Result<Option<V::One>, Self::Error> {
        who.as_ref().map(|who| self.one(who)).transpose()
    }
}
