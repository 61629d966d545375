//! Partitions drawn without replacement: where there are few enough ways to part the nodes, all of them are written
//! down, shuffled and dealt one after the other, so that a long plan has tried each before it tries one twice.
//!
//! Positions are relative to the leader: 0 leads, k is the k-th node after it. So three nodes have nine isolations and
//! three bridges, five have fifteen splits, thirty-five bridges and twelve rings.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Fault, Kind, NodeSelector, Role, Way};

/// Rings of more nodes than this are too many to be written down.
pub(super) const MOST_IN_A_RING: usize = 5;

/// What is left to deal, by kind.
#[derive(Debug, Default)]
pub(super) struct Decks(BTreeMap<Kind, Vec<Fault<Role>>>);

impl Decks {
    /// The next one of a kind; `None` where there is none. `every`: all of them.
    pub(super) fn deal(
        &mut self,
        rng: &mut ChaCha8Rng,
        kind: Kind,
        every: impl FnOnce() -> Vec<Fault<Role>>,
    ) -> Option<Fault<Role>> {
        let deck = self.0.entry(kind).or_default();
        if deck.is_empty() {
            *deck = every();
            deck.shuffle(rng);
        }
        deck.pop()
    }

    /// Puts one that could not be used under the others of its kind, where they are dealt.
    pub(super) fn put_back(&mut self, fault: Fault<Role>) {
        if let Some(deck) = self.0.get_mut(&fault.kind()) {
            deck.insert(0, fault);
        }
    }
}

/// The node at a position relative to the leader.
pub(super) fn position(position: usize) -> NodeSelector {
    match position {
        0 => NodeSelector::Leader,
        k => NodeSelector::Follower(k - 1),
    }
}

/// Each node alone, in each way.
pub(super) fn isolations(nodes: usize) -> Vec<Fault<Role>> {
    let ways = [Way::Both, Way::In, Way::Out];
    let whom = (0..nodes).map(position);
    whom.flat_map(|who| ways.map(|way| Fault::Isolate { who, way }))
        .collect()
}

/// Every side with the leader: everybody else is the other, which must not be empty.
pub(super) fn splits(nodes: usize) -> Vec<Fault<Role>> {
    let sides = sides(&(0..nodes).collect::<Vec<_>>()).into_iter();
    sides.map(|side| Fault::Split { side }).collect()
}

/// Every node as a bridge, between every two sides of the others.
pub(super) fn bridges(nodes: usize) -> Vec<Fault<Role>> {
    let over = |over: usize| {
        let rest: Vec<usize> = (0..nodes).filter(|&other| other != over).collect();
        let sides = sides(&rest).into_iter();
        sides.map(move |side| Fault::Bridge {
            over: position(over),
            side,
        })
    };
    (0..nodes).flat_map(over).collect()
}

/// Every way to part these into two sides, as the side with the first of them.
fn sides(all: &[usize]) -> Vec<Vec<NodeSelector>> {
    let Some((first, others)) = all.split_first() else {
        return Vec::new();
    };
    // Each bit takes one of the others along; with all of them nobody would be left.
    let every_side = (0..(1_usize << others.len()) - 1).map(|taken| {
        let along = others.iter().enumerate();
        let along = along.filter(move |(bit, _)| taken & (1 << bit) != 0);
        let along = along.map(|(_, &other)| position(other));
        std::iter::once(position(*first)).chain(along).collect()
    });
    every_side.collect()
}

/// Every ring, whichever way round it is read, as an order that begins with the leader; none of fewer than four, in which
/// all are neighbours.
pub(super) fn rings(nodes: usize) -> Vec<Fault<Role>> {
    if nodes < 4 {
        return Vec::new();
    }
    let mut orders = vec![vec![0]];
    for _ in 1..nodes {
        let longer = orders.into_iter().flat_map(|order| {
            let left: Vec<usize> = (1..nodes).filter(|next| !order.contains(next)).collect();
            left.into_iter().map(move |next| {
                let mut order = order.clone();
                order.push(next);
                order
            })
        });
        orders = longer.collect();
    }
    orders.retain(|order| order[1] <= order[nodes - 1]);
    let orders = orders.into_iter().map(|order| Fault::Ring {
        order: order.into_iter().map(position).collect(),
    });
    orders.collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_way_is_there_once() {
        let check = |every: fn(usize) -> Vec<Fault<Role>>, nodes, expected: usize| {
            let mut all = every(nodes);
            all.sort();
            all.dedup();
            assert_eq!(all.len(), expected, "of {nodes}: {all:?}");
        };
        check(isolations, 3, 9);
        check(splits, 3, 3);
        check(bridges, 3, 3);
        check(rings, 3, 0);
        check(splits, 5, 15);
        check(bridges, 5, 35);
        check(rings, 5, 12);
        check(splits, 1, 0);
        check(bridges, 2, 0);
    }

    #[test]
    fn nothing_is_dealt_twice_before_everything_was_dealt_once() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut decks = Decks::default();
        let mut deal = || {
            let dealt = decks.deal(&mut rng, Kind::Isolate, || isolations(3));
            dealt.expect("there are nine")
        };
        let first: Vec<Fault<Role>> = (0..9).map(|_| deal()).collect();
        for (at, fault) in first.iter().enumerate() {
            assert!(!first[..at].contains(fault), "{fault:?} twice in {first:?}");
        }
        assert!(first.contains(&deal()), "then they come again");
    }
}
