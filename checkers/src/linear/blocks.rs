//! Blocks as lists of operations: what zones knows as two numbers each, for those who need an order.
//!
//! Where each value is written once, its writer and its readers stand together in every order that explains the
//! answers, and a cas ties its value right behind the one that it took. In: the operations of one key. Out: what stands
//! together, in the order in which it must.

use super::frontier::matters;
use crate::history::{ABSENT, End, Kind, NEVER, Op};

/// Operations that stand together, in order: a writer, its readers by begin, the cas that took the value, its readers...
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The operations, and the place of their value in the chain.
    pub(super) ops: Vec<(Op, u32)>,
    /// Whether it is the initial value's, which comes before all others.
    pub(super) initial: bool,
}

/// What a key's operations come to.
#[derive(Clone, Debug)]
pub(super) enum Blocks {
    /// A value is written twice, or a key is deleted.
    NotUnique,
    /// A value from nowhere, two cas from one value, or a circle: no order of any kind explains the answers.
    Broken,
    /// Those that certainly happened.
    Found(Vec<Block>),
}

/// No value.
const NONE: u32 = u32::MAX;

/// The blocks of one key whose values are numbered below `values`.
pub(super) fn blocks(ops: &[Op], values: usize) -> Blocks {
    let mut clusters: Vec<Vec<Op>> = vec![Vec::new(); values];
    let mut writers: Vec<Option<Op>> = vec![None; values];
    for op in ops.iter().filter(|op| matters(op)) {
        let value = op.value as usize;
        match op.kind {
            Kind::Read => clusters[value].push(*op),
            Kind::Delete => return Blocks::NotUnique,
            Kind::Cas if op.old == op.value => return Blocks::NotUnique,
            Kind::Write | Kind::Cas | Kind::Append => {
                if writers[value].replace(*op).is_some() || op.value == ABSENT {
                    return Blocks::NotUnique;
                }
            }
        }
    }
    let Some(next) = links(&clusters, &writers) else {
        return Blocks::Broken;
    };
    let mut reached = 0;
    let mut found = Vec::new();
    let observed = |value: u32| {
        let writer = writers[value as usize];
        !clusters[value as usize].is_empty()
            || next[value as usize] != NONE
            || writer.is_some_and(|op| op.end == End::Ok)
    };
    let all = (0..values as u32).filter(|value| observed(*value)).count();
    for head in 0..values as u32 {
        let writer = writers[head as usize];
        let is_head = head == ABSENT || writer.is_some_and(|op| op.kind != Kind::Cas);
        if !is_head || !observed(head) {
            continue;
        }
        let mut block = Block {
            ops: Vec::new(),
            initial: head == ABSENT,
        };
        let (mut at, mut place) = (head, 0);
        while at != NONE {
            reached += 1;
            let reads = clusters[at as usize].iter();
            block
                .ops
                .extend(writers[at as usize].iter().map(|op| (*op, place)));
            block.ops.extend(reads.map(|op| (*op, place)));
            at = next[at as usize];
            place += 1;
        }
        found.push(block);
    }
    // What no head reaches was written by nobody, or goes round in a circle.
    if reached == all {
        Blocks::Found(found)
    } else {
        Blocks::Broken
    }
}

/// By value, the value that a cas which happened put in its place: it ended, or its value was seen. `None` where two
/// took one value.
fn links(clusters: &[Vec<Op>], writers: &[Option<Op>]) -> Option<Vec<u32>> {
    let mut next = vec![NONE; clusters.len()];
    let mut open: Vec<Op> = writers
        .iter()
        .flatten()
        .filter(|op| op.kind == Kind::Cas)
        .filter(|op| op.ret != NEVER || !clusters[op.value as usize].is_empty())
        .copied()
        .collect();
    while let Some(op) = open.pop() {
        let taken = &mut next[op.old as usize];
        if *taken == op.value {
            continue;
        }
        if *taken != NONE {
            return None;
        }
        *taken = op.value;
        // Whoever left the value that was taken happened, too.
        open.extend(writers[op.old as usize].filter(|op| op.kind == Kind::Cas));
    }
    Some(next)
}
