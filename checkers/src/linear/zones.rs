//! Zones and chains: values that are written once each. Gibbons & Korach, *Testing Shared Memories* (1997).
//!
//! The writer of a value and the reads that found it form a *cluster*; a cas from a to b ties b's cluster right behind
//! a's, and clusters tied so form a *block*, which stands together in every linearization. Let F be the first end and
//! S the last begin in a block.
//!
//! ```text
//!   F < S   forward zone: the value certainly held from F to S      ├─w─┤F            S├─r─┤
//!   S < F   backward zone: it held at some moment between S and F   ├────w──S────F┤
//! ```
//!
//! A must come before B exactly when F(A) < S(B). In a shortest cycle of such edges longer than two, F would fall
//! strictly all the way round; so only pairs matter, and the history is linearizable exactly when the links of each
//! block are in order, no two forward zones overlap, and no backward zone lies inside a forward one. An operation of
//! which nobody knows whether it happened simply never ends. Time and memory are linear in the operations.

mod plain;

use crate::history::{ABSENT, End, Kind, NEVER, Op};

/// What the zones of a key say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zones {
    /// An order exists.
    Holds,
    /// None exists; the values whose clusters prove it.
    Fails(Vec<u32>),
    /// A value is written twice, or a key is deleted: this algorithm can't tell.
    NotUnique,
}

/// No value.
const NONE: u32 = u32::MAX;

/// What is known of one value. Times are positions plus one: the initial value was written at 0.
#[derive(Clone, Copy)]
struct Cluster {
    /// The first end among its operations.
    first_end: u32,
    /// The last begin among its operations.
    last_begin: u32,
    /// The begin of its writer; [`NONE`] while there is none.
    written: u32,
    /// The value that its writer, a cas that happened, took away.
    previous: u32,
    /// The value that a cas that happened put in its place.
    next: u32,
}

const EMPTY: Cluster = Cluster {
    first_end: NEVER,
    last_begin: 0,
    written: NONE,
    previous: NONE,
    next: NONE,
};

/// Checks the operations of one key, whose values are numbered below `values` and whose positions are below `events`.
#[must_use]
pub fn check(ops: &[Op], values: usize, events: u32) -> Zones {
    if plain::holds(ops, values, events) {
        return Zones::Holds;
    }
    general(ops, values, events)
}

/// As [`check`], and with the evidence where it fails.
fn general(ops: &[Op], values: usize, events: u32) -> Zones {
    let mut clusters = vec![EMPTY; values];
    clusters[ABSENT as usize] = Cluster {
        first_end: 0,
        written: 0,
        ..EMPTY
    };
    let mut unknown_cas = Vec::new();
    match gather(ops, &mut clusters, &mut unknown_cas) {
        Ok(()) => {}
        Err(found) => return found,
    }
    if let Err(found) = link_unknown(&mut clusters, unknown_cas) {
        return found;
    }
    let blocks = match walk_chains(&clusters) {
        Ok(blocks) => blocks,
        Err(found) => return found,
    };
    sweep(&blocks, events)
}

/// First ends, last begins, writers and the links of the cas that certainly happened.
fn gather(
    ops: &[Op],
    clusters: &mut [Cluster],
    unknown_cas: &mut Vec<(u32, u32)>,
) -> Result<(), Zones> {
    for op in ops {
        if op.end == End::Failed {
            continue;
        }
        let begin = op.call + 1;
        let end = if op.end == End::Ok { op.ret + 1 } else { NEVER };
        if op.kind == Kind::Read {
            if op.end == End::Ok {
                let cluster = &mut clusters[op.value as usize];
                cluster.first_end = cluster.first_end.min(end);
                cluster.last_begin = cluster.last_begin.max(begin);
            }
            continue;
        }
        if op.kind == Kind::Delete || (op.kind == Kind::Cas && op.old == op.value) {
            return Err(Zones::NotUnique);
        }
        let cluster = &mut clusters[op.value as usize];
        if cluster.written != NONE {
            return Err(Zones::NotUnique);
        }
        cluster.written = begin;
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(begin);
        if op.kind == Kind::Cas {
            unknown_cas.push((op.old, op.value));
        }
    }
    Ok(())
}

/// Ties b behind a for each cas from a to b that happened: its value was seen, or it ended, or a cas took b away.
fn link_unknown(clusters: &mut [Cluster], mut cas: Vec<(u32, u32)>) -> Result<(), Zones> {
    loop {
        let mut linked = false;
        let mut failed = None;
        cas.retain(|&(old, new)| {
            let of_new = clusters[new as usize];
            if of_new.first_end == NEVER && of_new.next == NONE {
                return true;
            }
            let taken = clusters[old as usize].next;
            if taken != NONE {
                failed.get_or_insert(Zones::Fails(vec![old, taken, new]));
            }
            clusters[old as usize].next = new;
            clusters[new as usize].previous = old;
            linked = true;
            false
        });
        match failed {
            Some(found) => return Err(found),
            None if linked => {}
            None => return Ok(()),
        }
    }
}

/// A block: the first value of its chain, and the zone.
struct Block {
    head: u32,
    first_end: u32,
    last_begin: u32,
}

/// Checks each chain from its head, and gives the blocks that were certainly there.
fn walk_chains(clusters: &[Cluster]) -> Result<Vec<Block>, Zones> {
    let mut blocks = Vec::new();
    let mut reached = 0;
    let mut observed = 0;
    for (value, cluster) in clusters.iter().enumerate() {
        let value = value as u32;
        if cluster.first_end == NEVER && cluster.next == NONE {
            continue;
        }
        observed += 1;
        if cluster.written == NONE {
            return Err(Zones::Fails(vec![value]));
        }
        if cluster.first_end < cluster.written {
            return Err(Zones::Fails(vec![value]));
        }
        if cluster.previous != NONE {
            continue;
        }
        let mut block = Block {
            head: value,
            first_end: NEVER,
            last_begin: 0,
        };
        let mut chain = Vec::new();
        let mut at = value;
        while at != NONE {
            let link = &clusters[at as usize];
            reached += 1;
            chain.push(at);
            if link.first_end < block.last_begin {
                return Err(Zones::Fails(chain));
            }
            block.first_end = block.first_end.min(link.first_end);
            block.last_begin = block.last_begin.max(link.last_begin);
            at = link.next;
        }
        blocks.push(block);
    }
    if reached < observed {
        // What no head reaches goes round in a circle.
        let circle = clusters
            .iter()
            .enumerate()
            .filter(|(_, cluster)| cluster.previous != NONE)
            .map(|(value, _)| value as u32);
        return Err(Zones::Fails(circle.collect()));
    }
    Ok(blocks)
}

/// Looks for two zones that can't be apart, in order of their left ends: each event is the left end of one block at
/// most, so no sorting is needed.
fn sweep(blocks: &[Block], events: u32) -> Zones {
    let mut slots = vec![NONE; events as usize + 2];
    for (i, block) in blocks.iter().enumerate() {
        if block.first_end != NEVER {
            slots[block.first_end.min(block.last_begin) as usize] = i as u32;
        }
    }
    let (mut last_begin, mut last) = (0, NONE);
    for slot in slots {
        if slot == NONE {
            continue;
        }
        let block = &blocks[slot as usize];
        if block.first_end < last_begin {
            return Zones::Fails(vec![blocks[last as usize].head, block.head]);
        }
        if block.first_end < block.last_begin {
            last_begin = block.last_begin;
            last = slot;
        }
    }
    Zones::Holds
}
