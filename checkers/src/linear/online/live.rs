//! Zones and chains as they grow, with forgetting.
//!
//! A block's first end is set once and never falls, since ends come in order; so blocks stand in a queue by first end.
//! Only its last begin rises, and a block whose last begin rises from s to t can newly clash only with blocks whose
//! first end lies between: one to four of them, as a rule.
//!
//! *Forgetting.* Let T be the begin of the oldest open operation. Whoever ends later began at T or later. Among the
//! blocks with a first end before T, let the largest last begin be s1, of w1, and the second largest s2. A block with
//! F < s1 must come before w1; an operation that ends later and finds its value would have to come after w1: that is
//! a violation, whatever else happens. So the block itself is forgotten, and a value that nobody knows is a violation.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::sets;
use crate::history::{Call, Outcome, Value};

/// What an event did to the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Fine,
    Violation,
    /// Zones can't tell any more.
    NotUnique,
}

/// Not yet.
const NEVER: u64 = u64::MAX;

/// Zones of one key. Times are event indices plus one.
#[derive(Debug)]
pub(super) struct Live {
    clusters: FxHashMap<Option<Value>, Cluster>,
    /// Blocks by the number in their clusters.
    blocks: FxHashMap<u64, Block>,
    /// Blocks with a first end, by first end.
    order: VecDeque<u64>,
    next_block: u64,
    /// Begins of open operations, in order; ended ones are taken out when they reach the front.
    open: VecDeque<(u64, bool)>,
    forget_at: usize,
}

/// One value.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    block: u64,
    first_end: u64,
    last_begin: u64,
    /// The value that its writer takes away, where that is a cas.
    takes: Option<Value>,
    /// The value that a cas which happened put in its place.
    next: Option<Value>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    first_end: u64,
    last_begin: u64,
    /// The first value of the chain that is not forgotten.
    head: Option<Value>,
}

impl Live {
    pub(super) fn new() -> Self {
        let mut live = Self {
            clusters: FxHashMap::default(),
            blocks: FxHashMap::default(),
            order: VecDeque::new(),
            next_block: 0,
            open: VecDeque::new(),
            forget_at: 4,
        };
        // The initial value was written and seen before everything.
        live.add(None, 0, None);
        live.see(None, 0, 0);
        live
    }

    /// How many values the key may hold now, as far as zones tell them apart.
    pub(super) fn worlds(&self) -> u64 {
        let last_begin = self.order.iter().map(|b| self.blocks[b].last_begin).max();
        let last = last_begin.unwrap_or(0);
        let held = |b: &&u64| self.blocks[b].first_end >= last;
        (self.order.iter().filter(held).count() as u64).max(1)
    }

    /// An operation begins.
    pub(super) fn begin(&mut self, event: u64, call: Call) -> Seen {
        let begin = event + 1;
        self.open.push_back((begin, true));
        let takes = match call {
            Call::Read => return Seen::Fine,
            Call::Delete => return Seen::NotUnique,
            Call::Cas { old, new } if old == new => return Seen::NotUnique,
            Call::Cas { old, .. } => Some(old),
            Call::Write(_) | Call::Append(_) => None,
        };
        let value = sets(call);
        if self.clusters.contains_key(&value) {
            return Seen::NotUnique;
        }
        self.add(value, begin, takes);
        Seen::Fine
    }

    /// An operation that began at event `invoked` ends at event `completed`.
    pub(super) fn end(
        &mut self,
        invoked: u64,
        completed: u64,
        call: Call,
        outcome: Outcome,
    ) -> Seen {
        let seen = self.judge(invoked + 1, completed + 1, call, outcome);
        self.close(invoked + 1);
        if self.order.len() >= self.forget_at {
            self.forget();
        }
        seen
    }

    fn judge(&mut self, begin: u64, end: u64, call: Call, outcome: Outcome) -> Seen {
        match (call, outcome) {
            (Call::Read, Outcome::Ok(found)) => self.see(found, begin, end),
            (Call::Read, _) | (_, Outcome::Unknown) => Seen::Fine,
            (_, Outcome::Ok(_)) => self.see(sets(call), begin, end),
            (_, Outcome::Failed) => match self.clusters.get(&sets(call)) {
                // Somebody found what was never written.
                Some(cluster) if cluster.first_end != NEVER || cluster.next.is_some() => {
                    Seen::Violation
                }
                Some(cluster) => {
                    self.blocks.remove(&cluster.block);
                    self.clusters.remove(&sets(call));
                    Seen::Fine
                }
                None => Seen::Fine,
            },
        }
    }

    fn add(&mut self, value: Option<Value>, begin: u64, takes: Option<Value>) {
        let block = self.next_block;
        self.next_block += 1;
        self.clusters.insert(
            value,
            Cluster {
                block,
                first_end: NEVER,
                last_begin: begin,
                takes,
                next: None,
            },
        );
        self.blocks.insert(
            block,
            Block {
                first_end: NEVER,
                last_begin: begin,
                head: value,
            },
        );
    }

    /// An operation of this value has ended: it was certainly there.
    fn see(&mut self, value: Option<Value>, begin: u64, end: u64) -> Seen {
        if self.link(value) != Seen::Fine {
            return Seen::Violation;
        }
        let Some(cluster) = self.clusters.get_mut(&value) else {
            return Seen::Violation;
        };
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(begin);
        let (block, mut next) = (cluster.block, cluster.next);
        // A cas that took the value away must not have been seen before this operation began.
        while let Some(value) = next {
            let Some(later) = self.clusters.get(&Some(value)) else {
                break;
            };
            if later.first_end < begin {
                return Seen::Violation;
            }
            next = later.next;
        }
        self.raise(block, begin, end)
    }

    /// If the writer of `value` is a cas, it happened: its chain joins that of the value that it took. Where that was
    /// put there by a cas that nobody had seen, that one happened too, and so on back.
    fn link(&mut self, value: Option<Value>) -> Seen {
        let mut path: Vec<(Value, Value)> = Vec::new();
        let mut at = value;
        loop {
            let Some(cluster) = self.clusters.get(&at) else {
                return Seen::Violation;
            };
            let seen = cluster.first_end != NEVER || cluster.next.is_some();
            let (Some(old), Some(new), false) = (cluster.takes, at, seen) else {
                break;
            };
            if path.iter().any(|link| link.0 == old) {
                // Round in a circle: none of them can have been first.
                return Seen::Violation;
            }
            path.push((old, new));
            at = Some(old);
        }
        for (old, new) in path.into_iter().rev() {
            let Some(before) = self.clusters.get_mut(&Some(old)) else {
                return Seen::Violation;
            };
            if before.next.is_some() {
                return Seen::Violation;
            }
            before.next = Some(new);
            let target = before.block;
            let Some(cluster) = self.clusters.get_mut(&Some(new)) else {
                return Seen::Violation;
            };
            let alone = std::mem::replace(&mut cluster.block, target);
            let begin = cluster.last_begin;
            self.blocks.remove(&alone);
            if self.raise(target, begin, NEVER) != Seen::Fine {
                return Seen::Violation;
            }
        }
        Seen::Fine
    }

    /// An operation of the block began at `begin` and ended at `end`.
    fn raise(&mut self, number: u64, begin: u64, end: u64) -> Seen {
        let Some(block) = self.blocks.get_mut(&number) else {
            return Seen::Violation;
        };
        let from = block.last_begin;
        block.last_begin = block.last_begin.max(begin);
        if block.first_end == NEVER {
            // Nobody's last begin lies after this first end, which is now.
            if end != NEVER {
                block.first_end = end;
                self.order.push_back(number);
            }
            return Seen::Fine;
        }
        let block = *block;
        for other in self.order.iter().rev() {
            let beside = &self.blocks[other];
            if beside.first_end < from {
                break;
            }
            let clash = *other != number
                && beside.first_end < block.last_begin
                && block.first_end < beside.last_begin;
            if clash {
                return Seen::Violation;
            }
        }
        Seen::Fine
    }

    fn close(&mut self, begin: u64) {
        if let Ok(i) = self.open.binary_search_by_key(&begin, |entry| entry.0) {
            self.open[i].1 = false;
        }
        while self.open.front().is_some_and(|entry| !entry.1) {
            self.open.pop_front();
        }
    }

    /// Forgets what can't matter any more.
    fn forget(&mut self) {
        let oldest = self.open.front().map_or(NEVER, |entry| entry.0);
        let (mut s1, mut s2, mut w1) = (0, 0, u64::MAX);
        for number in &self.order {
            let block = &self.blocks[number];
            if block.first_end >= oldest {
                break;
            }
            if block.last_begin >= s1 {
                (s2, s1, w1) = (s1, block.last_begin, *number);
            } else if block.last_begin > s2 {
                s2 = block.last_begin;
            }
        }
        let mut order = std::mem::take(&mut self.order);
        order.retain(|number| {
            let block = self.blocks[number];
            let bound = if *number == w1 { s2 } else { s1 };
            let gone = block.first_end < oldest && block.first_end < bound;
            self.forget_links(*number, oldest, gone);
            if gone {
                self.blocks.remove(number);
            }
            !gone
        });
        self.order = order;
        self.forget_at = (self.order.len() * 2).max(8);
    }

    /// Forgets the links of a block: all of them, or those that a later link has certainly replaced.
    fn forget_links(&mut self, number: u64, oldest: u64, all: bool) {
        let Some(mut head) = self.blocks.get(&number).map(|block| block.head) else {
            return;
        };
        while let Some(cluster) = self.clusters.get(&head) {
            let replaced = cluster
                .next
                .and_then(|next| self.clusters.get(&Some(next)))
                .is_some_and(|next| next.first_end < oldest);
            if !all && !replaced {
                break;
            }
            let next = cluster.next;
            self.clusters.remove(&head);
            let Some(next) = next else {
                break;
            };
            head = Some(next);
        }
        if let Some(block) = self.blocks.get_mut(&number) {
            block.head = head;
        }
    }
}
