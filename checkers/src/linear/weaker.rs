//! What is left when a key is not linearizable: weaker promises that it may still have kept.
//!
//! | promise | what it says | how it is told |
//! | --- | --- | --- |
//! | sequential consistency (Lamport 1979) | one order explains every answer, and keeps each client's own | unique values: blocks and each client's order have no circle, O(n) |
//! | monotonic reads (Terry et al. 1994) | no client finds a value after a newer one | one pass |
//! | read your writes (Terry et al. 1994) | no client finds a value older than one that it wrote | one pass |
//!
//! *Older* is what nobody can deny: a value is older than another if somebody had written or found it before anybody
//! began to write the other. Where values repeat, nothing is told. Each key is looked at by itself: sequential
//! consistency of every key does not yet make that of all together.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::blocks::{Block, Blocks, blocks};
use super::frontier::matters;
use super::{rename, starts};
use crate::history::{ABSENT, ClientId, End, History, KeyHistory, Kind, Op, Start};

/// What a key kept of the weaker promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weaker {
    /// Whether one order explains this key's answers and keeps each client's own; `None` where values repeat.
    pub sequential: Option<bool>,
    /// Whether no client found an older value after a newer one.
    pub monotonic_reads: Session,
    /// Whether no client found a value older than one that it wrote.
    pub read_your_writes: Session,
}

/// A promise to each client by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// It was kept.
    Kept,
    /// It was not.
    Broken {
        /// To whom.
        client: ClientId,
        /// The operation that found or wrote the newer value, by id.
        newer: u64,
        /// The read that found the older one after that.
        read: u64,
    },
    /// Values repeat, or events are lost: which is older can't be told.
    NotTold,
}

/// What `key` kept.
#[must_use]
pub fn weaker(history: &History, key: &KeyHistory) -> Weaker {
    let own = starts::from_absent(key);
    let renamed = rename::deletes(&own, key.values.len() + 1);
    let (ops, values) = match &renamed {
        Some(renamed) => (renamed.ops.as_slice(), renamed.values),
        None => (own.as_slice(), key.values.len() + 1),
    };
    // Where events are lost, or what was there at first, nobody knows which value is older either.
    let unknown = !key.gaps.is_empty() || key.start == Start::Any;
    let found = if key.lists.is_some() || unknown {
        Blocks::NotUnique
    } else {
        blocks(ops, values)
    };
    if matches!(found, Blocks::NotUnique) {
        return Weaker {
            sequential: None,
            monotonic_reads: Session::NotTold,
            read_your_writes: Session::NotTold,
        };
    }
    let ages = Ages::of(ops, values);
    Weaker {
        // A delete may have been what a read of absent found in another order than time's.
        sequential: match found {
            _ if renamed.is_some() => None,
            Blocks::Found(blocks) => Some(sequential(history, &blocks)),
            Blocks::Broken | Blocks::NotUnique => Some(false),
        },
        monotonic_reads: session(history, ops, &ages, Kind::Read),
        read_your_writes: session(history, ops, &ages, Kind::Write),
    }
}

/// Whether blocks and each client's own order have no circle.
fn sequential(history: &History, blocks: &[Block]) -> bool {
    let mut by_client: FxHashMap<ClientId, Vec<(Op, u32, usize)>> = FxHashMap::default();
    for (number, block) in blocks.iter().enumerate() {
        for (op, place) in &block.ops {
            let own = by_client.entry(history.client(op.row)).or_default();
            own.push((*op, *place, number));
        }
    }
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for own in by_client.values_mut() {
        own.sort_unstable_by_key(|(op, _, _)| op.call);
        let mut previous: Option<(Op, u32, usize)> = None;
        for now in own {
            if let Some(before) = previous {
                let key = |(op, place, _): &(Op, u32, usize)| (*place, op.kind == Kind::Read);
                if before.2 != now.2 {
                    edges.push((before.2, now.2));
                } else if key(&before) > key(now) {
                    return false;
                }
            }
            // What is unknown may still take effect after what its client did next.
            if now.0.end == End::Ok {
                previous = Some(*now);
            }
        }
    }
    let initial = blocks.iter().position(|block| block.initial);
    let others = (0..blocks.len()).filter(|number| Some(*number) != initial);
    edges.extend(
        initial
            .into_iter()
            .flat_map(|initial| others.clone().map(move |number| (initial, number))),
    );
    no_circle(blocks.len(), &edges)
}

/// Kahn's algorithm.
fn no_circle(nodes: usize, edges: &[(usize, usize)]) -> bool {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut before = vec![0; nodes];
    for (a, b) in edges {
        after[*a].push(*b);
        before[*b] += 1;
    }
    let mut free: Vec<usize> = (0..nodes).filter(|node| before[*node] == 0).collect();
    let mut done = 0;
    while let Some(node) = free.pop() {
        done += 1;
        for next in &after[node] {
            before[*next] -= 1;
            if before[*next] == 0 {
                free.push(*next);
            }
        }
    }
    done == nodes
}

/// When each value was first certainly there, and when its write began, plus one; the initial value was there at 0.
struct Ages {
    there: Vec<u64>,
    begun: Vec<u64>,
}

impl Ages {
    fn of(ops: &[Op], values: usize) -> Self {
        let mut ages = Self {
            there: vec![u64::MAX; values],
            begun: vec![u64::MAX; values],
        };
        ages.there[ABSENT as usize] = 0;
        ages.begun[ABSENT as usize] = 0;
        for op in ops.iter().filter(|op| matters(op)) {
            let value = op.value as usize;
            if op.end == End::Ok {
                ages.there[value] = ages.there[value].min(u64::from(op.ret) + 1);
            }
            if op.kind != Kind::Read {
                ages.begun[value] = u64::from(op.call) + 1;
            }
        }
        ages
    }
}

/// Whether each client, having found (or written, where `newer` is a write) a value, never read an older one after it.
fn session(history: &History, ops: &[Op], ages: &Ages, newer: Kind) -> Session {
    let begun = |op: &Op| ages.begun[op.value as usize];
    // By client, the operations with the two newest values so far, the newest first.
    let mut newest: FxHashMap<ClientId, Vec<Op>> = FxHashMap::default();
    for op in ops.iter().filter(|op| op.end == End::Ok) {
        let client = history.client(op.row);
        let before = newest.entry(client).or_default();
        if op.kind == Kind::Read {
            let other = before.iter().find(|before| before.value != op.value);
            if let Some(other) = other.filter(|other| ages.there[op.value as usize] < begun(other))
            {
                return Session::Broken {
                    client,
                    newer: history.invoked(other.row),
                    read: history.invoked(op.row),
                };
            }
        }
        // A value that nobody wrote is neither old nor new.
        let counts = (op.kind == Kind::Read) == (newer == Kind::Read);
        if counts && begun(op) != u64::MAX && before.iter().all(|before| before.value != op.value) {
            before.push(*op);
            before.sort_by_key(|op| std::cmp::Reverse(begun(op)));
            before.truncate(2);
        }
    }
    Session::Kept
}
