//! Partitions drawn without replacement: where there are few enough ways to part the nodes, all of them are written
//! down, shuffled and dealt one after the other, so that a long plan has tried each before it tries one twice.
//!
//! Positions are relative to the leader: 0 leads, k is the k-th node after it. So three nodes have nine isolations and
//! three bridges, five have fifteen splits, thirty-five bridges and twelve rings.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Way;
use super::plan::{Aim, Wish};

/// Rings of more nodes than this are too many to be written down.
const MOST_IN_A_RING: usize = 5;

/// What is left to deal, by kind.
#[derive(Debug, Default)]
pub(super) struct Decks(BTreeMap<&'static str, Vec<Wish>>);

impl Decks {
    /// The next one of a kind; `None` where a cluster of this size has none.
    pub(super) fn deal(
        &mut self,
        rng: &mut ChaCha8Rng,
        kind: &'static str,
        nodes: usize,
    ) -> Option<Wish> {
        let deck = self.0.entry(kind).or_default();
        if deck.is_empty() {
            *deck = every(kind, nodes);
            deck.shuffle(rng);
        }
        deck.pop()
    }

    /// Puts one that could not be used under the others.
    pub(super) fn put_back(&mut self, wish: Wish) {
        if let Some(deck) = self.0.get_mut(wish.kind()) {
            deck.insert(0, wish);
        }
    }
}

/// Whether a kind is dealt, in a cluster of this size.
pub(super) fn is_dealt(kind: &str, nodes: usize) -> bool {
    match kind {
        "isolate" | "split" | "bridge" => true,
        "ring" => nodes <= MOST_IN_A_RING,
        _ => false,
    }
}

/// The node at a position relative to the leader.
pub(super) fn aim(position: usize) -> Aim {
    match position {
        0 => Aim::Leader,
        k => Aim::Follower(k - 1),
    }
}

/// Every way to part so many nodes in this kind of way, each once.
fn every(kind: &str, nodes: usize) -> Vec<Wish> {
    match kind {
        "isolate" => {
            let ways = [Way::Both, Way::In, Way::Out];
            let whom = (0..nodes).map(aim);
            whom.flat_map(|who| ways.map(|way| Wish::Isolate { who, way }))
                .collect()
        }
        // The side with the leader: everybody else is the other, which must not be empty.
        "split" => sides(&(0..nodes).collect::<Vec<_>>())
            .into_iter()
            .map(|side| Wish::Split { side })
            .collect(),
        "bridge" => {
            let over = |over: usize| {
                let rest: Vec<usize> = (0..nodes).filter(|&other| other != over).collect();
                let sides = sides(&rest).into_iter();
                sides.map(move |side| Wish::Bridge {
                    over: aim(over),
                    side,
                })
            };
            (0..nodes).flat_map(over).collect()
        }
        "ring" if nodes >= 4 => rings(nodes)
            .into_iter()
            .map(|order| Wish::Ring {
                order: order.into_iter().map(aim).collect(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Every way to part these into two sides, as the side with the first of them.
fn sides(all: &[usize]) -> Vec<Vec<Aim>> {
    let Some((first, others)) = all.split_first() else {
        return Vec::new();
    };
    // Each bit takes one of the others along; with all of them nobody would be left.
    let every_side = (0..(1_usize << others.len()) - 1).map(|taken| {
        let along = others.iter().enumerate();
        let along = along.filter(move |(bit, _)| taken & (1 << bit) != 0);
        let along = along.map(|(_, &position)| aim(position));
        std::iter::once(aim(*first)).chain(along).collect()
    });
    every_side.collect()
}

/// Every ring, whichever way round it is read, as an order that begins with 0.
fn rings(nodes: usize) -> Vec<Vec<usize>> {
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
    orders
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_way_is_there_once() {
        let check = |kind, nodes, expected: usize| {
            let mut all: Vec<String> = every(kind, nodes)
                .iter()
                .map(|wish| format!("{wish:?}"))
                .collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), expected, "{kind} of {nodes}");
        };
        check("isolate", 3, 9);
        check("split", 3, 3);
        check("bridge", 3, 3);
        check("ring", 3, 0);
        check("split", 5, 15);
        check("bridge", 5, 35);
        check("ring", 5, 12);
        check("split", 1, 0);
        check("bridge", 2, 0);
    }

    #[test]
    fn nothing_is_dealt_twice_before_everything_was_dealt_once() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut decks = Decks::default();
        let mut deal = || decks.deal(&mut rng, "isolate", 3).expect("there are nine");
        let first: Vec<Wish> = (0..9).map(|_| deal()).collect();
        for (at, wish) in first.iter().enumerate() {
            assert!(!first[..at].contains(wish), "{wish:?} twice in {first:?}");
        }
        assert!(first.contains(&deal()), "then they come again");
    }
}
