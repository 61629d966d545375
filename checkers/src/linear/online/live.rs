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
//!
//! *Handing over.* All that is to come sees of the past is the first end and the last begin of each cluster, so a few
//! operations with those ends and begins stand for all that went before ([`Live::stand_ins`]). That holds where
//! values repeat later, too: each choice of whom a read saw renames the values into a history in which none does.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};

use super::open::Open;
use super::sets;
use crate::history::{Call, End, Outcome, Value};

/// What an event did to the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Fine,
    Violation,
    /// Zones can't tell any more.
    NotUnique,
}

/// Whether a failed cas that does not say what it found can be answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Differs {
    /// Every order so far has a moment for it, and what may break that later will be noticed.
    Decided,
    /// Some may not have one.
    Undecided,
}

/// Not yet.
const NEVER: u64 = u64::MAX;

/// So many blocks are kept before any is forgotten: looking less often costs less.
const FORGET_AT: usize = 32;

/// No cluster.
const NONE: u32 = u32::MAX;

/// Zones of one key. Times are event indices plus one.
#[derive(Debug)]
pub(super) struct Live {
    /// The clusters of values, by their place in `clusters`.
    values: FxHashMap<Value, u32>,
    /// The cluster of the initial value.
    absent: u32,
    clusters: Table<Cluster>,
    blocks: Table<Block>,
    /// Blocks with a first end, by first end.
    order: VecDeque<(u64, u32)>,
    forget_at: usize,
    behind: Option<Behind>,
}

/// Behind a gap, a value that is found and that nobody has begun to write is one of those that are lost: it was there
/// before, or may be written at any time. So it must be known of each value whether it was heard of, also of those that
/// are forgotten.
#[derive(Debug)]
struct Behind {
    /// The time of the gap.
    gap: u64,
    heard_of: FxHashSet<Value>,
    /// How many events are lost, and how many operations may have been among them that somebody found the effect of.
    lost: u64,
    outside: u64,
}

/// One value.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    value: Option<Value>,
    block: u32,
    first_end: u64,
    last_begin: u64,
    /// The value that its writer takes away, where that is a cas.
    takes: Option<Value>,
    /// The value that a cas which happened put in its place.
    next: Option<Value>,
    /// The first end of those who found, without saying what, that it had been replaced.
    gone_by: u64,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    first_end: u64,
    last_begin: u64,
    /// The cluster of the first value of the chain that is not forgotten.
    head: u32,
}

/// An operation that stands for forgotten ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandIn {
    pub(super) what: What,
    /// Ok, or unknown.
    pub(super) end: End,
    /// Event indices.
    pub(super) invoked: u64,
    pub(super) completed: u64,
}

/// What a [`StandIn`] does.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Read(Option<Value>),
    Write(Value),
    Cas(Value, Value),
    /// A write of a value that occurs nowhere else.
    Ghost,
    /// A cas of the ghost before it.
    CasOfGhost(Value),
}

/// Things in places that are used again.
#[derive(Debug)]
struct Table<T> {
    places: Vec<T>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    fn new() -> Self {
        let (places, free) = (Vec::new(), Vec::new());
        Self { places, free }
    }

    fn add(&mut self, thing: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.places[at as usize] = thing;
            return at;
        }
        self.places.push(thing);
        self.places.len() as u32 - 1
    }

    fn remove(&mut self, at: u32) {
        self.free.push(at);
    }
}

impl<T> std::ops::Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.places[at as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.places[at as usize]
    }
}

impl Cluster {
    /// Whether its writer certainly happened.
    fn is_seen(&self) -> bool {
        self.first_end != NEVER || self.next.is_some()
    }
}

impl Live {
    pub(super) fn new() -> Self {
        let mut live = Self {
            values: FxHashMap::default(),
            absent: NONE,
            clusters: Table::new(),
            blocks: Table::new(),
            order: VecDeque::new(),
            forget_at: FORGET_AT,
            behind: None,
        };
        // The initial value was written and seen before everything.
        live.absent = add(&mut live.clusters, &mut live.blocks, None, 0, None);
        live.see(None, 0, 0);
        live
    }

    /// Of a key that held this at first.
    pub(super) fn starting(value: Value) -> Self {
        let mut live = Self::new();
        let cluster = live.absent;
        live.clusters[cluster].value = Some(value);
        live.values.insert(value, cluster);
        live.absent = NONE;
        live
    }

    /// Behind a gap, of which `event` is the first event on record; so many events were lost by then.
    pub(super) fn behind(event: u64, lost: u64) -> Self {
        let mut live = Self::new();
        live.absent = NONE;
        live.clusters = Table::new();
        live.blocks = Table::new();
        live.order.clear();
        live.behind = Some(Behind {
            gap: event,
            heard_of: FxHashSet::default(),
            lost,
            outside: 0,
        });
        live
    }

    /// Whether more was found than can have been lost: what that means is not followed.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.behind
            .as_ref()
            .is_some_and(|behind| behind.outside > behind.lost)
    }

    /// How many values the key may hold now, as far as zones tell them apart.
    pub(super) fn worlds(&self) -> u64 {
        let last_begin = self.order.iter().map(|(_, b)| self.blocks[*b].last_begin);
        let last = last_begin.max().unwrap_or(0);
        let held = |b: &&(u64, u32)| b.0 >= last;
        (self.order.iter().filter(held).count() as u64).max(1)
    }

    /// An operation begins. Where zones can't tell any more, it was not taken.
    pub(super) fn begin(&mut self, event: u64, call: Call) -> Seen {
        let takes = match call {
            Call::Read => return Seen::Fine,
            Call::Delete if self.behind.is_some() => return Seen::Fine,
            Call::Delete => return Seen::NotUnique,
            Call::Cas { old, new } if old == new => return Seen::NotUnique,
            Call::Cas { old, .. } => Some(old),
            Call::Write(_) | Call::Append(_) => None,
        };
        let Some(value) = sets(call) else {
            return Seen::NotUnique;
        };
        if let Some(behind) = &mut self.behind
            && !behind.heard_of.insert(value)
        {
            return Seen::NotUnique;
        }
        match self.values.entry(value) {
            Entry::Occupied(_) => Seen::NotUnique,
            Entry::Vacant(entry) => {
                let (clusters, blocks) = (&mut self.clusters, &mut self.blocks);
                entry.insert(add(clusters, blocks, Some(value), event + 1, takes));
                Seen::Fine
            }
        }
    }

    /// An operation that began at event `invoked` ends at event `completed`; `open` are those that go on.
    pub(super) fn end(
        &mut self,
        invoked: u64,
        completed: u64,
        call: Call,
        outcome: Outcome,
        open: &Open,
    ) -> Seen {
        let seen = self.judge(invoked + 1, completed + 1, call, outcome);
        self.forget_some(open);
        seen
    }

    /// A cas that compared with `old` failed, and does not say what was there instead: something else was, at some moment
    /// between its begin and its end.
    ///
    /// If `old` was there before it began, `old` is gone when it ends, and who begins later can't find it. That decides,
    /// if a value that certainly came later had been seen by then: all orders have it so. Likewise if `old` need not have
    /// been there yet. Else there is a choice which zones do not follow.
    pub(super) fn differs(
        &mut self,
        invoked: u64,
        completed: u64,
        old: Value,
        open: &Open,
    ) -> Differs {
        let (begin, end) = (invoked + 1, completed + 1);
        let decided = self.differ(begin, end, old);
        self.forget_some(open);
        decided
    }

    fn differ(&mut self, begin: u64, end: u64, old: Value) -> Differs {
        // A value that is forgotten was replaced before anything that is open began, and others were not there yet.
        let Some(at) = self.find(Some(old)) else {
            return Differs::Decided;
        };
        let cluster = &mut self.clusters[at];
        if cluster.first_end >= begin {
            return match cluster.last_begin >= begin {
                true => Differs::Decided,
                false => Differs::Undecided,
            };
        }
        cluster.gone_by = cluster.gone_by.min(end);
        let (own, next) = (cluster.block, cluster.next);
        let next = next.and_then(|next| self.find(Some(next)));
        let replaced = next.is_some_and(|next| self.clusters[next].first_end <= end);
        let first_end = self.blocks[own].first_end;
        let after =
            |&(_, other): &(u64, u32)| other != own && first_end < self.blocks[other].last_begin;
        match replaced || self.order.iter().any(after) {
            true => Differs::Decided,
            false => Differs::Undecided,
        }
    }

    /// Whether an operation to come may find what a failed cas found to be gone.
    pub(super) fn follows_comparisons(&self) -> bool {
        let mut clusters = self.values.values().map(|at| &self.clusters[*at]);
        clusters.any(|cluster| cluster.gone_by != NEVER)
    }

    fn forget_some(&mut self, open: &Open) {
        if self.order.len() >= self.forget_at {
            self.forget(open.oldest().map_or(NEVER, |event| event + 1));
        }
    }

    fn judge(&mut self, begin: u64, end: u64, call: Call, outcome: Outcome) -> Seen {
        match (call, outcome) {
            (Call::Read, Outcome::Ok(found)) => self.see(found, begin, end),
            (Call::Read, _) | (_, Outcome::Unknown) => Seen::Fine,
            (Call::Delete, Outcome::Ok(_)) if self.behind.is_some() => self.see_absent(begin, end),
            (_, Outcome::Ok(_)) => self.see(sets(call), begin, end),
            (Call::Cas { old, .. }, Outcome::Differed(found)) => {
                match self.take_back(sets(call)) {
                    // It can't have found that and failed.
                    Seen::Fine if found == Some(old) => Seen::Violation,
                    Seen::Fine => self.see(found, begin, end),
                    seen => seen,
                }
            }
            (_, Outcome::Failed | Outcome::Differed(_)) => self.take_back(sets(call)),
        }
    }

    /// As [`Self::find`]; behind a gap, somebody lost may have written what nobody has heard of.
    fn find_or_lost(&mut self, value: Option<Value>) -> Option<u32> {
        let known = self.find(value);
        if let (None, Some(value), Some(behind)) = (known, value, &mut self.behind)
            && behind.heard_of.insert(value)
        {
            behind.outside += 1;
            let (clusters, blocks) = (&mut self.clusters, &mut self.blocks);
            let at = add(clusters, blocks, Some(value), behind.gap, None);
            self.values.insert(value, at);
            return Some(at);
        }
        known
    }

    /// Behind a gap, absent is nobody's in particular: a delete that is lost may have come right before whoever found it,
    /// and one that is on record need not be found. Either wants a moment at which no other value was certainly there.
    fn see_absent(&mut self, begin: u64, end: u64) -> Seen {
        let (clusters, blocks) = (&mut self.clusters, &mut self.blocks);
        let at = add(clusters, blocks, None, begin, None);
        let block = self.clusters[at].block;
        self.raise(block, begin, end)
    }

    /// What was to write this value failed.
    fn take_back(&mut self, value: Option<Value>) -> Seen {
        match self.find(value) {
            // Somebody found what was never written.
            Some(at) if self.clusters[at].is_seen() => Seen::Violation,
            Some(at) => {
                self.blocks.remove(self.clusters[at].block);
                self.drop_cluster(at);
                Seen::Fine
            }
            None => Seen::Fine,
        }
    }

    fn find(&self, value: Option<Value>) -> Option<u32> {
        match value {
            Some(value) => self.values.get(&value).copied(),
            None => (self.absent != NONE).then_some(self.absent),
        }
    }

    fn drop_cluster(&mut self, at: u32) {
        match self.clusters[at].value {
            Some(value) => drop(self.values.remove(&value)),
            None => self.absent = NONE,
        }
        self.clusters.remove(at);
    }

    /// An operation of this value has ended: it was certainly there.
    fn see(&mut self, value: Option<Value>, begin: u64, end: u64) -> Seen {
        if let (None, Some(behind)) = (value, &mut self.behind) {
            behind.outside += 1;
            return self.see_absent(begin, end);
        }
        let Some(at) = self.find_or_lost(value) else {
            return Seen::Violation;
        };
        let cluster = &self.clusters[at];
        if cluster.gone_by < begin {
            return Seen::Violation;
        }
        if cluster.takes.is_some() && !cluster.is_seen() && self.link(value) != Seen::Fine {
            return Seen::Violation;
        }
        let cluster = &mut self.clusters[at];
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(begin);
        let (block, mut next) = (cluster.block, cluster.next);
        // A cas that took the value away must not have been seen before this operation began.
        while let Some(later) = next.and_then(|value| self.find(Some(value))) {
            let later = &self.clusters[later];
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
            let Some(cluster) = self.find_or_lost(at).map(|at| self.clusters[at]) else {
                return Seen::Violation;
            };
            let (Some(old), Some(new), false) = (cluster.takes, at, cluster.is_seen()) else {
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
            let (Some(before), Some(after)) = (self.find(Some(old)), self.find(Some(new))) else {
                return Seen::Violation;
            };
            let before = &mut self.clusters[before];
            if before.next.is_some() {
                return Seen::Violation;
            }
            before.next = Some(new);
            let target = before.block;
            let cluster = &mut self.clusters[after];
            let alone = std::mem::replace(&mut cluster.block, target);
            let begin = cluster.last_begin;
            self.blocks.remove(alone);
            if self.raise(target, begin, NEVER) != Seen::Fine {
                return Seen::Violation;
            }
        }
        Seen::Fine
    }

    /// An operation of the block began at `begin` and ended at `end`.
    fn raise(&mut self, number: u32, begin: u64, end: u64) -> Seen {
        let block = &mut self.blocks[number];
        let from = block.last_begin;
        block.last_begin = from.max(begin);
        if block.first_end == NEVER {
            // Nobody's last begin lies after this first end, which is now.
            if end != NEVER {
                block.first_end = end;
                self.order.push_back((end, number));
            }
            return Seen::Fine;
        }
        if begin <= from {
            return Seen::Fine;
        }
        let (first_end, last_begin) = (block.first_end, begin);
        for &(beside_first_end, other) in self.order.iter().rev() {
            if beside_first_end < from {
                break;
            }
            let clash = beside_first_end < last_begin
                && other != number
                && first_end < self.blocks[other].last_begin;
            if clash {
                return Seen::Violation;
            }
        }
        Seen::Fine
    }

    /// Forgets what can't matter any more, where the oldest open operation began at `oldest`.
    fn forget(&mut self, oldest: u64) {
        let (mut s1, mut s2, mut w1) = (0, 0, NONE);
        for &(first_end, number) in &self.order {
            if first_end >= oldest {
                break;
            }
            let last_begin = self.blocks[number].last_begin;
            if last_begin >= s1 {
                (s2, s1, w1) = (s1, last_begin, number);
            } else if last_begin > s2 {
                s2 = last_begin;
            }
        }
        let mut order = std::mem::take(&mut self.order);
        order.retain(|&(first_end, number)| {
            let bound = if number == w1 { s2 } else { s1 };
            let gone = first_end < oldest && first_end < bound;
            self.forget_links(number, oldest, gone);
            if gone {
                self.blocks.remove(number);
            }
            !gone
        });
        self.order = order;
        self.forget_at = (self.order.len() * 2).max(FORGET_AT);
    }

    /// Forgets the links of a block: all of them, or those that a later link has certainly replaced.
    fn forget_links(&mut self, number: u32, oldest: u64, all: bool) {
        let mut head = self.blocks[number].head;
        loop {
            let next = self.clusters[head].next;
            if next.is_none() && !all {
                break;
            }
            let next = next.and_then(|next| self.find(Some(next)));
            let replaced = next.is_some_and(|next| self.clusters[next].first_end < oldest);
            if !all && !replaced {
                break;
            }
            self.drop_cluster(head);
            let Some(next) = next else {
                break;
            };
            head = next;
        }
        self.blocks[number].head = head;
    }

    /// Operations that stand for everything that has ended: whatever comes, the verdict is the same with them.
    /// `is_open` says of a value whether its writer is still open; such writers go on and have no stand-in.
    pub(super) fn stand_ins(&self, is_open: impl Fn(Value) -> bool) -> Vec<StandIn> {
        let mut all = Vec::new();
        // A chain whose begin is forgotten: its first link took something that was there by the block's first end.
        for &(first_end, number) in &self.order {
            let block = &self.blocks[number];
            let head = &self.clusters[block.head];
            if let (Some(value), true) = (head.value, head.takes.is_some()) {
                all.push(stand_in(What::Ghost, block.last_begin, first_end));
                let writes = What::CasOfGhost(value);
                self.stand_in_for(value, block.head, is_open(value), writes, &mut all);
            }
        }
        if self.absent != NONE && self.clusters[self.absent].last_begin > 0 {
            let begin = self.clusters[self.absent].last_begin;
            all.push(stand_in(What::Read(None), begin, begin));
        }
        let mut values: Vec<(Value, u32)> = self.values.iter().map(|(v, at)| (*v, *at)).collect();
        values.sort_unstable();
        for (value, at) in values {
            let cluster = &self.clusters[at];
            let heads = self.blocks[cluster.block].head == at;
            let writes = match cluster.takes {
                None => What::Write(value),
                // It stands in the list already, behind its ghost.
                Some(_) if heads && self.blocks[cluster.block].first_end != NEVER => continue,
                Some(old) => What::Cas(old, value),
            };
            self.stand_in_for(value, at, is_open(value), writes, &mut all);
        }
        // What was there at first ended before anything began, though the events have no number for that.
        all.sort_by_key(|one| one.completed > 0 || one.end != End::Ok);
        all
    }

    /// The stand-ins of one cluster.
    fn stand_in_for(
        &self,
        value: Value,
        at: u32,
        writer_is_open: bool,
        writes: What,
        all: &mut Vec<StandIn>,
    ) {
        let Cluster {
            first_end,
            last_begin,
            ..
        } = self.clusters[at];
        let found = What::Read(Some(value));
        match (writer_is_open, first_end) {
            (true, NEVER) => {}
            (true, end) => all.push(stand_in(found, last_begin, end)),
            (false, end) => all.push(stand_in(writes, last_begin, end)),
        }
        if first_end < last_begin {
            all.push(stand_in(found, last_begin, last_begin));
        }
    }
}

/// A cluster with a block of its own.
fn add(
    clusters: &mut Table<Cluster>,
    blocks: &mut Table<Block>,
    value: Option<Value>,
    begin: u64,
    takes: Option<Value>,
) -> u32 {
    let cluster = clusters.add(Cluster {
        value,
        block: 0,
        first_end: NEVER,
        last_begin: begin,
        takes,
        next: None,
        gone_by: NEVER,
    });
    clusters[cluster].block = blocks.add(Block {
        first_end: NEVER,
        last_begin: begin,
        head: cluster,
    });
    cluster
}

/// One operation that ends at `end`, or is unknown, and begins at `begin` or, if it ends before, when it ends.
fn stand_in(what: What, begin: u64, end: u64) -> StandIn {
    let event = |time: u64| time.saturating_sub(1);
    StandIn {
        what,
        end: if end == NEVER { End::Unknown } else { End::Ok },
        invoked: event(begin.min(end)),
        completed: if end == NEVER {
            event(begin)
        } else {
            event(end)
        },
    }
}
