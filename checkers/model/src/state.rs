//! The model's state: a few machine words, copied and hashed without a pointer.
//!
//! Three nodes. What was ever *said* is kept instead of messages, per leader id that ever campaigned ([`Slot`]): these
//! facts only grow, and anybody may hear of any of them at any time, or never, or twice. So loss, delay, duplication,
//! reordering and partitions need neither a step nor a bit.

use std::hash::{Hash, Hasher};

use super::rules::{Ballot, Log};

/// How many nodes the model has.
pub const NODES: usize = 3;

/// A leader id, dense from 1 in openraft's order: `(term - 1) * NODES + node + 1`; 0 is nobody.
pub type Lid = u8;

/// The leader id of `node` (from 0) in `term` (from 1).
#[inline]
pub const fn lid(term: u64, node: usize) -> Lid {
    (term as u8 - 1) * NODES as u8 + node as u8 + 1
}

/// The term of a leader id; 0 for nobody.
#[inline]
pub const fn term_of(lid: Lid) -> u64 {
    (lid as u64).div_ceil(NODES as u64)
}

/// The node of a leader id, from 0.
#[inline]
pub const fn owner_of(lid: Lid) -> usize {
    (lid as usize - 1) % NODES
}

/// At most four entries of one byte: the first in the low byte, `lid | op << 4`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PackedLog(pub u32);

impl PackedLog {
    /// How many entries there are.
    #[inline(always)]
    pub fn len(self) -> u8 {
        (39 - self.0.leading_zeros() as u8) / 8
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The byte at `position` (from 1), 0 past the end.
    #[inline(always)]
    pub fn entry(self, position: u8) -> u8 {
        if position == 0 || position > 4 {
            0
        } else {
            (self.0 >> (8 * (position - 1))) as u8
        }
    }

    /// The first `keep` entries.
    #[inline(always)]
    pub fn prefix(self, keep: u8) -> PackedLog {
        if keep >= 4 {
            self
        } else {
            PackedLog(self.0 & ((1 << (8 * keep)) - 1))
        }
    }

    /// With one entry more.
    #[inline(always)]
    pub fn push(self, entry: u8) -> PackedLog {
        PackedLog(self.0 | u32::from(entry) << (8 * self.len()))
    }

    /// The first `keep` entries, then those of `other` at positions `from + 1 ..= to`.
    #[inline]
    pub fn splice(self, keep: u8, other: PackedLog, from: u8, to: u8) -> PackedLog {
        let mut log = self.prefix(keep);
        for position in from + 1..=to {
            if log.len() < 4 {
                log = log.push(other.entry(position));
            }
        }
        log
    }

    /// How many leading entries both have in common.
    #[inline(always)]
    pub fn common(self, other: PackedLog) -> u8 {
        let same = ((self.0 ^ other.0).trailing_zeros() / 8) as u8;
        same.min(self.len()).min(other.len())
    }

    /// The leader of the last entry and its position, `(0, 0)` for an empty log.
    #[inline(always)]
    pub fn last_id(self) -> (Lid, u8) {
        let len = self.len();
        (self.entry(len) & 15, len)
    }
}

impl Log<Lid> for PackedLog {
    #[inline(always)]
    fn length(&self) -> u64 {
        u64::from(self.len())
    }

    #[inline(always)]
    fn leader_at(&self, position: u64) -> Option<Lid> {
        let entry = self.entry(position as u8);
        (entry != 0).then_some(entry & 15)
    }
}

/// What an entry carries.
pub mod op {
    /// A new leader's blank entry.
    pub const BLANK: u8 = 0;
    /// A client's write.
    pub const WRITE: u8 = 1;
    /// The joint membership.
    pub const JOINT: u8 = 2;
    /// The new membership.
    pub const FINAL: u8 = 3;
}

/// One node.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Node {
    /// Its log as it sees it.
    pub log: PackedLog,
    /// Its log on disk; unused where no flush is modelled.
    pub disk: PackedLog,
    /// Its vote as it sees it: `lid * 2 + committed`.
    pub vote: u8,
    /// Its vote on disk; unused likewise.
    pub disk_vote: u8,
    /// How far it knows the log to be committed; forgotten by a restart.
    pub commit: u8,
    /// [`ACTIVE`], [`LEASE`], [`PENDING`], and from bit 4 on, as a leader: whose acknowledgements pay for its lease.
    pub bits: u8,
}

/// The node is a candidate (vote not committed) or a leader (vote committed) under its own vote.
pub const ACTIVE: u8 = 1;
/// The node promised its leader not to vote for another yet.
pub const LEASE: u8 = 2;
/// Its vote was granted to a candidate (not learned), and is not on disk yet.
pub const PENDING: u8 = 4;

impl Node {
    /// Its vote.
    #[inline(always)]
    pub fn ballot(&self) -> Ballot<Lid> {
        unpack(self.vote)
    }

    /// Whether it leads.
    #[inline(always)]
    pub fn leads(&self) -> bool {
        self.bits & ACTIVE != 0 && self.vote & 1 == 1
    }

    /// Whether it campaigns.
    #[inline(always)]
    pub fn campaigns(&self) -> bool {
        self.bits & ACTIVE != 0 && self.vote & 1 == 0
    }

    /// The leader id in its vote.
    #[inline(always)]
    pub fn lid(&self) -> Lid {
        self.vote >> 1
    }

    /// As a leader: the followers whose acknowledgements pay for its lease.
    #[inline(always)]
    pub fn payers(&self) -> u8 {
        self.bits >> 4
    }
}

/// A vote byte as a vote.
#[inline(always)]
pub fn unpack(vote: u8) -> Ballot<Lid> {
    Ballot {
        leader: vote >> 1,
        committed: vote & 1 == 1,
    }
}

/// What one leader id ever said, in one word: `log:32 | acks:12 | last:7 | asked:1 | granted:3 | led:1 | commit:3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Slot(pub u64);

impl Slot {
    /// The bits of the acknowledgements.
    pub const ACKS: u64 = 0xfff << 32;
    /// The bits of the grants.
    pub const GRANTS: u64 = 7 << 52;

    /// The log that this leader offers to others: it only grows.
    #[inline(always)]
    pub fn log(self) -> PackedLog {
        PackedLog(self.0 as u32)
    }
    /// Sets the log.
    #[inline(always)]
    pub fn set_log(&mut self, log: PackedLog) {
        self.0 = self.0 & !0xffff_ffff | u64::from(log.0);
    }
    /// How much `node` acknowledged.
    #[inline(always)]
    pub fn ack(self, node: usize) -> u8 {
        (self.0 >> (32 + 4 * node)) as u8 & 15
    }
    /// Raises what `node` acknowledged.
    #[inline(always)]
    pub fn raise_ack(&mut self, node: usize, to: u8) {
        if to > self.ack(node) {
            let shift = 32 + 4 * node;
            self.0 = self.0 & !(15 << shift) | u64::from(to) << shift;
        }
    }
    /// The id of the candidate's last entry.
    #[inline(always)]
    pub fn last(self) -> Option<(Lid, u64)> {
        let leader = (self.0 >> 44) as u8 & 15;
        (leader != 0).then_some((leader, self.0 >> 48 & 7))
    }
    /// Whether a vote was requested.
    #[inline(always)]
    pub fn asked(self) -> bool {
        self.0 >> 51 & 1 == 1
    }
    /// Records the request.
    #[inline(always)]
    pub fn ask(&mut self, (leader, index): (Lid, u8)) {
        self.0 =
            self.0 & !(0xff << 44) | u64::from(leader) << 44 | u64::from(index) << 48 | 1 << 51;
    }
    /// Who granted it.
    #[inline(always)]
    pub fn granted(self) -> u8 {
        (self.0 >> 52) as u8 & 7
    }
    /// `node` granted it.
    #[inline(always)]
    pub fn grant(&mut self, node: usize) {
        self.0 |= 1 << (52 + node);
    }
    /// Whether this leader was established.
    #[inline(always)]
    pub fn led(self) -> bool {
        self.0 >> 55 & 1 == 1
    }
    /// Establishes it.
    #[inline(always)]
    pub fn lead(&mut self) {
        self.0 |= 1 << 55;
    }
    /// The highest commit it announced.
    #[inline(always)]
    pub fn commit(self) -> u8 {
        (self.0 >> 56) as u8 & 7
    }
    /// Raises the commit that it announced.
    #[inline(always)]
    pub fn raise_commit(&mut self, to: u8) {
        if to > self.commit() {
            self.0 = self.0 & !(7 << 56) | u64::from(to) << 56;
        }
    }
}

/// The one linearizable read of a configuration, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Read {
    /// How many reads were begun.
    pub begun: u8,
    /// The leader id that serves the open one; 0 when none is open.
    pub lid: Lid,
    /// `floor << 4 | index`: what any client may have seen committed as it began, and the index it waits for.
    pub at: u8,
    /// Who confirmed the leadership since it began.
    pub acks: u8,
}

impl Read {
    /// The open read is answered, or given up.
    #[inline(always)]
    pub fn end(&mut self) {
        *self = Read {
            begun: self.begun,
            ..Read::default()
        };
    }
}

/// A whole state: `SLOTS` is the number of leader ids, 3 a term.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State<const SLOTS: usize> {
    /// The nodes.
    pub nodes: [Node; NODES],
    /// What each leader id said; leader id `l` at `l - 1`.
    pub slots: [Slot; SLOTS],
    /// Ghost: the entries that anybody ever committed.
    pub committed: PackedLog,
    /// Ghost: which leader committed the entry at each position, 4 bits each.
    pub committers: u16,
    /// Ghost: the invariants that the last step broke, as bits of [`super::raft::Invariant`].
    pub violated: u16,
    /// The read.
    pub read: Read,
}

impl<const SLOTS: usize> Default for State<SLOTS> {
    fn default() -> Self {
        State {
            nodes: [Node::default(); NODES],
            slots: [Slot::default(); SLOTS],
            committed: PackedLog::default(),
            committers: 0,
            violated: 0,
            read: Read::default(),
        }
    }
}

impl<const SLOTS: usize> State<SLOTS> {
    /// The slot of a leader id.
    #[inline(always)]
    pub fn slot(&self, lid: Lid) -> Slot {
        self.slots[usize::from(lid) - 1]
    }

    /// The slot of a leader id, to change.
    #[inline(always)]
    pub fn slot_mut(&mut self, lid: Lid) -> &mut Slot {
        &mut self.slots[usize::from(lid) - 1]
    }

    /// Who committed the entry at `position` first.
    #[inline(always)]
    pub fn committer(&self, position: u8) -> Lid {
        (self.committers >> (4 * (position - 1))) as u8 & 15
    }

    /// Calls `f` with every word of the state, in order: what is hashed is all there is.
    #[inline(always)]
    fn words(&self, mut f: impl FnMut(u64)) {
        for n in &self.nodes {
            f(u64::from(n.log.0) | u64::from(n.disk.0) << 32);
            f(u64::from(n.vote)
                | u64::from(n.disk_vote) << 8
                | u64::from(n.commit) << 16
                | u64::from(n.bits) << 24);
        }
        for s in &self.slots {
            f(s.0);
        }
        f(u64::from(self.committed.0)
            | u64::from(self.committers) << 32
            | u64::from(self.violated) << 48);
        f(u64::from(self.read.begun)
            | u64::from(self.read.lid) << 8
            | u64::from(self.read.at) << 16
            | u64::from(self.read.acks) << 24);
    }

    /// A 64-bit fingerprint, never 0. Two states share one with odds of about n²/2⁶⁵.
    #[inline]
    pub fn fingerprint(&self) -> u64 {
        // As wyhash and XXH3 do: two words and two random constants a 128-bit product, folded; the products wait for
        // nobody, so that they overlap.
        let (mut sum, mut held, mut at) = (0u64, 0u64, 0usize);
        self.words(|w| {
            let w = w ^ SECRETS[at];
            if at % 2 == 0 {
                held = w;
            } else {
                sum ^= fold(held, w);
            }
            at += 1;
        });
        if at % 2 == 1 {
            sum ^= fold(held, SECRETS[at]);
        }
        fold(sum ^ SECRETS[0], SECRETS[1]).max(1)
    }
}

/// A 128-bit product, its halves added without carry.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Constants for the fingerprint, from SplitMix64: one a word, and one to spare.
const SECRETS: [u64; 24] = {
    let (mut secrets, mut at, mut seed) = ([0; 24], 0, 0x7768_6974_6577_6174_u64);
    while at < 24 {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        secrets[at] = z ^ z >> 31;
        at += 1;
    }
    secrets
};

impl<const SLOTS: usize> Hash for State<SLOTS> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.words(|w| state.write_u64(w));
    }
}
