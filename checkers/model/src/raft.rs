//! The model: nodes that elect, replicate, read, crash and come back, over facts instead of messages.
//!
//! [`Raft::actions`] lists what may happen next, [`Raft::step`] does it, and [`super::invariant`] looks at what came of
//! it. A restart stands for a crash at any time before; a node that is down is one that takes no step. Once an
//! invariant is broken nothing happens any more.

use std::cmp::Ordering;

pub use super::action::{Action, seen};
use super::check::{Configuration, Votes};
pub use super::invariant::Invariant;
use super::invariant::floor;
use super::mutants::Mutant;
use super::rules::{Answer, Order, Received, Rules};
use super::state::{
    ACTIVE, LEASE, Lid, NODES, Node, PENDING, PackedLog, Read, Slot, State, lid, op, owner_of,
    term_of,
};

/// How leader ids of the packed model compare.
#[derive(Clone, Copy, Debug)]
pub struct PackedOrder {
    /// Which of openraft's two modes.
    pub votes: Votes,
}

impl Order for PackedOrder {
    type Leader = Lid;

    #[inline(always)]
    fn compare(&self, a: Lid, b: Lid) -> Option<Ordering> {
        match self.votes {
            Votes::ByTermAndNode => Some(a.cmp(&b)),
            Votes::ByTerm if a == b => Some(Ordering::Equal),
            Votes::ByTerm => Some(term_of(a).cmp(&term_of(b))).filter(|o| o.is_ne()),
        }
    }

    #[inline(always)]
    fn compare_in_log(&self, a: Lid, b: Lid) -> Ordering {
        match self.votes {
            Votes::ByTermAndNode => a.cmp(&b),
            Votes::ByTerm => term_of(a).cmp(&term_of(b)),
        }
    }

    #[inline(always)]
    fn term(&self, a: Lid) -> u64 {
        term_of(a)
    }
}

/// What a slice of a leader's log does to a node's.
pub(super) struct Slice {
    /// The log after it.
    pub(super) log: PackedLog,
    /// How much is acknowledged.
    pub(super) ack: u8,
    /// The entry before the slice is there.
    pub(super) fits: bool,
    /// Something was cut away.
    pub(super) cuts: bool,
}

/// The model of one configuration. `SLOTS` is three times its terms.
#[derive(Clone, Debug)]
pub struct Raft<const SLOTS: usize> {
    /// Bounds, switches and rules.
    pub configuration: Configuration,
    pub(super) order: PackedOrder,
    pub(super) rules: Rules,
}

impl<const SLOTS: usize> Raft<SLOTS> {
    /// The model of `configuration`. Nothing is forgotten where its broken rule makes forgetting unsound
    /// ([`Mutant::breaks_reduction`]): that is seen to here, so that every search of the model has it.
    ///
    /// # Panics
    /// If `SLOTS` is not three times its terms, or it has more than four entries.
    #[must_use]
    pub fn new(mut configuration: Configuration) -> Self {
        let broken = configuration.rules.broken;
        configuration.reduce &= !broken.is_some_and(Mutant::breaks_reduction);
        assert_eq!(SLOTS, configuration.terms as usize * NODES);
        assert!(configuration.entries <= 4);
        let order = PackedOrder {
            votes: configuration.votes,
        };
        let rules = configuration.rules;
        Raft {
            configuration,
            order,
            rules,
        }
    }

    #[inline(always)]
    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.rules.has(mutant)
    }

    /// The voter sets in force for a node with this log: those of its last membership entry.
    #[inline(always)]
    pub(super) fn voters(&self, log: PackedLog) -> (u64, Option<u64>) {
        let Some((old, new)) = self.configuration.change else {
            return (0b111, None);
        };
        for position in (1..=log.len()).rev() {
            match log.entry(position) >> 4 {
                op::JOINT => return (old, Some(new)),
                op::FINAL => return (new, None),
                _ => {}
            }
        }
        (old, None)
    }

    #[inline(always)]
    pub(super) fn votes_in(&self, node: usize, log: PackedLog) -> bool {
        let (old, new) = self.voters(log);
        (old | new.unwrap_or(0)) >> node & 1 == 1
    }

    #[inline(always)]
    pub(super) fn quorum(&self, members: u8, log: PackedLog) -> bool {
        self.rules.quorum(u64::from(members), self.voters(log))
    }

    /// The first position that the leader itself proposed; 0 when none is there.
    #[inline(always)]
    pub(super) fn own_first(&self, node: &Node) -> u8 {
        (1..=node.log.len())
            .find(|&p| node.log.entry(p) & 15 == node.lid())
            .unwrap_or(0)
    }

    /// The index that a read begun now by the leader waits for.
    #[inline(always)]
    pub(super) fn read_index(&self, leader: &Node) -> u8 {
        let own_first = u64::from(self.own_first(leader));
        self.rules.read_index(own_first, u64::from(leader.commit)) as u8
    }

    /// Whether the leader's lease holds.
    #[inline(always)]
    pub(super) fn leased_leader(&self, node: usize, n: &Node) -> bool {
        n.leads() && self.quorum(n.payers() | 1 << node, n.log)
    }

    /// Does `action`. `None` when it changes nothing. What it met on its way is added to `met`, bits of [`seen`].
    #[inline]
    pub fn step(&self, s: &State<SLOTS>, action: Action, met: &mut u32) -> Option<State<SLOTS>> {
        let mut t = *s;
        match action {
            Action::Elect(i) => self.elect(&mut t, i as usize),
            Action::Vote(j, l) => self.vote(&mut t, j as usize, l, met),
            Action::Lead(i) => self.lead(&mut t, i as usize, met),
            Action::Write(i) => self.offer(&mut t, i as usize, op::WRITE),
            Action::Change(i) => {
                let op = self.next_membership(&t.nodes[i as usize])?;
                self.offer(&mut t, i as usize, op);
            }
            Action::Append {
                to,
                from,
                prev,
                end,
                announced,
            } => self.append(&mut t, to as usize, from, (prev, end, announced), met),
            Action::Install { to, from, end } => self.install(&mut t, to as usize, from, end, met),
            Action::Advance(i, position) => {
                let leader = t.nodes[i as usize].lid();
                t.nodes[i as usize].commit = position;
                t.slot_mut(leader).raise_commit(position);
                self.commit(&mut t, i as usize, leader, met);
            }
            Action::Learn(i, l) => {
                let committed = self.has(Mutant::LearnCommitted) && t.slot(l).led();
                t.nodes[i as usize].vote = l << 1 | u8::from(committed);
                t.nodes[i as usize].bits = 0;
            }
            Action::Restart(i) => self.restart(&mut t, i as usize, met),
            Action::Flush(i) => self.flush(&mut t, i as usize),
            _ => self.read_step(&mut t, action, met),
        }
        if !matches!(action, Action::Restart(_))
            && self.configuration.watched & Invariant::VoteMonotone.bit() != 0
        {
            let fell = s.nodes.iter().zip(&t.nodes).any(|(b, a)| {
                b.vote != a.vote && !self.rules.at_least(&self.order, a.ballot(), b.ballot())
            });
            if fell {
                self.violate(&mut t, Invariant::VoteMonotone);
            }
        }
        if t.read.lid != 0 {
            // A read dies with the leadership that it waits for.
            let leader = &t.nodes[owner_of(t.read.lid)];
            if !leader.leads() || leader.lid() != t.read.lid {
                t.read.end();
            }
        }
        if self.configuration.reduce {
            self.reduce(&mut t);
        }
        (t != *s).then_some(t)
    }

    /// The steps of reads, promises and leases.
    #[inline]
    fn read_step(&self, t: &mut State<SLOTS>, action: Action, met: &mut u32) {
        match action {
            Action::ReadStart(i) => {
                let n = &t.nodes[i as usize];
                t.read = Read {
                    begun: t.read.begun + 1,
                    lid: n.lid(),
                    at: floor(t.committed) << 4 | self.read_index(n),
                    acks: 1 << i,
                };
            }
            Action::ReadConfirm(j) => {
                t.read.acks |= 1 << j;
                self.follow(t, j as usize, t.read.lid);
            }
            Action::ReadDone => {
                *met |= seen::READ;
                let leader = t.read.lid;
                if (leader + 1..=SLOTS as u8).any(|l| t.slot(l).led()) {
                    *met |= seen::READ_REPLACED;
                }
                // The client is shown what its leader has applied by now.
                if t.nodes[owner_of(leader)].commit < t.read.at >> 4 {
                    self.violate(t, Invariant::ReadFresh);
                }
                t.read.end();
            }
            Action::Promise(i, j) => {
                let leader = t.nodes[i as usize].lid();
                self.follow(t, j as usize, leader);
                t.nodes[j as usize].bits |= LEASE;
                t.nodes[i as usize].bits |= 16 << j;
            }
            Action::LeaseEnds(i, j) => t.nodes[i as usize].bits &= !(16 << j),
            Action::PromiseEnds(j) => t.nodes[j as usize].bits &= !LEASE,
            Action::LeaseRead(i) => {
                *met |= seen::LEASE_READ;
                if t.nodes[i as usize].commit < floor(t.committed) {
                    self.violate(t, Invariant::LeaseReadFresh);
                }
            }
            _ => unreachable!("{action:?} is no step of a read"),
        }
    }

    fn elect(&self, s: &mut State<SLOTS>, i: usize) {
        let n = &mut s.nodes[i];
        let new = lid(term_of(n.lid()) + 1, i);
        n.vote = new << 1;
        n.bits = ACTIVE;
        if self.configuration.flush {
            n.bits |= PENDING;
        } else {
            let last = n.log.last_id();
            s.slot_mut(new).ask(last);
            s.slot_mut(new).grant(i);
        }
    }

    /// What node `j` says to the vote request of `l`.
    #[inline]
    pub(super) fn answer(&self, s: &State<SLOTS>, j: usize, l: Lid) -> Answer {
        let n = &s.nodes[j];
        let last = match n.log.last_id() {
            (_, 0) => None,
            (leader, index) => Some((leader, u64::from(index))),
        };
        let leased = n.bits & LEASE != 0 || self.configuration.lease && self.leased_leader(j, n);
        self.rules
            .answer(&self.order, (l, s.slot(l).last()), n.ballot(), last, leased)
    }

    fn vote(&self, s: &mut State<SLOTS>, j: usize, l: Lid, met: &mut u32) {
        match self.answer(s, j, l) {
            Answer::Granted { saves } => {
                let node = &mut s.nodes[j];
                if saves {
                    node.vote = l << 1;
                    node.bits = 0;
                } else {
                    *met |= seen::GRANTED_AGAIN;
                }
                if self.configuration.flush && node.disk_vote != node.vote {
                    node.bits |= PENDING;
                } else {
                    s.slot_mut(l).grant(j);
                }
            }
            Answer::RefusedByLog => *met |= seen::REFUSED_LOG,
            Answer::RefusedByLease => *met |= seen::REFUSED_LEASE,
            Answer::RefusedByVote => {}
        }
    }

    /// The candidate becomes the leader under its vote and offers a blank entry.
    fn lead(&self, s: &mut State<SLOTS>, i: usize, met: &mut u32) {
        let l = s.nodes[i].lid();
        *met |= seen::LED;
        if term_of(l) > 1 && s.slots.iter().any(|o| o.led()) {
            *met |= seen::REPLACED;
        }
        if s.nodes.iter().any(Node::leads) {
            *met |= seen::TWO_LEADERS;
        }
        let twice = match self.configuration.votes {
            Votes::ByTermAndNode => s.slot(l).led(),
            Votes::ByTerm => (1..=SLOTS as u8).any(|o| term_of(o) == term_of(l) && s.slot(o).led()),
        };
        if twice {
            self.violate(s, Invariant::ElectionSafety);
        }
        s.nodes[i].vote |= 1;
        s.nodes[i].bits = ACTIVE;
        s.slot_mut(l).lead();
        self.offer(s, i, op::BLANK);
        self.check_leaders(s);
    }

    /// The leader appends an entry; others may hear of it at once.
    fn offer(&self, s: &mut State<SLOTS>, i: usize, op: u8) {
        let l = s.nodes[i].lid();
        let log = s.nodes[i].log.push(l | op << 4);
        s.nodes[i].log = log;
        let slot = s.slot_mut(l);
        let offered = slot.log();
        slot.set_log(log);
        if !self.configuration.flush {
            slot.raise_ack(i, log.len());
        }
        if offered != log.prefix(offered.len()) {
            self.violate(s, Invariant::LeaderAppendOnly);
        }
        self.check_logs(s);
    }

    /// The node accepts `l` as its leader.
    #[inline(always)]
    fn follow(&self, s: &mut State<SLOTS>, j: usize, l: Lid) {
        let n = &mut s.nodes[j];
        let mine = (n.vote != 0).then(|| n.ballot());
        if self.rules.adopts(&self.order, l, mine) {
            n.vote = l << 1 | 1;
            n.bits = 0;
        }
    }

    /// What the entries after `prev` up to `end` of a leader's log do to a node's.
    #[inline(always)]
    pub(super) fn slice(&self, mine: PackedLog, leaders: PackedLog, prev: u8, end: u8) -> Slice {
        match self
            .rules
            .receive(&mine, &leaders, u64::from(prev), u64::from(end))
        {
            Received::Conflict { keep } => Slice {
                log: mine.prefix(keep as u8),
                ack: if self.has(Mutant::ConflictAsSuccess) {
                    end
                } else {
                    0
                },
                fits: false,
                cuts: (keep as u8) < mine.len(),
            },
            Received::Fits {
                keep,
                from,
                matched,
            } => Slice {
                log: mine.splice(keep as u8, leaders, from as u8, end),
                ack: if !self.configuration.flush || self.has(Mutant::AckBeforeFlush) {
                    matched as u8
                } else {
                    0
                },
                fits: true,
                cuts: (keep as u8) < mine.len(),
            },
        }
    }

    /// How far a node commits whose log is now `log` and equals the leader's up to `end`.
    #[inline(always)]
    pub(super) fn follower_commit(&self, announced: u8, end: u8, log: PackedLog) -> u8 {
        self.rules
            .follower_commit(u64::from(announced), u64::from(end), log.len().into()) as u8
    }

    fn append(
        &self,
        s: &mut State<SLOTS>,
        j: usize,
        l: Lid,
        (prev, end, announced): (u8, u8, u8),
        met: &mut u32,
    ) {
        self.follow(s, j, l);
        let mine = s.nodes[j].log;
        let slice = self.slice(mine, s.slot(l).log(), prev, end);
        s.nodes[j].log = slice.log;
        s.slot_mut(l).raise_ack(j, slice.ack);
        if !slice.fits {
            *met |= seen::PREV_MISMATCH;
        } else {
            if slice.cuts {
                *met |= seen::CUT;
            }
            let commit = self.follower_commit(announced, end, slice.log);
            if commit > s.nodes[j].commit {
                s.nodes[j].commit = commit;
                self.commit(s, j, l, met);
            }
        }
        if slice.log != mine {
            self.check_logs(s);
        }
    }

    fn install(&self, s: &mut State<SLOTS>, j: usize, l: Lid, end: u8, met: &mut u32) {
        self.follow(s, j, l);
        let leaders = s.slot(l).log();
        let mine = s.nodes[j].log;
        // A log that agrees with the snapshot's last entry keeps what follows it.
        let conflict = mine.entry(end) != leaders.entry(end);
        let base = leaders.prefix(end);
        if conflict && mine.len() >= end {
            *met |= seen::SNAPSHOT_CUTS;
        }
        s.nodes[j].log = if conflict || self.has(Mutant::SnapshotDropsTail) {
            base
        } else {
            base.splice(end, mine, end, mine.len().max(end))
        };
        s.nodes[j].commit = end;
        s.slot_mut(l).raise_ack(j, end);
        self.commit(s, j, l, met);
        self.check_logs(s);
    }

    fn restart(&self, s: &mut State<SLOTS>, i: usize, met: &mut u32) {
        let c = &self.configuration;
        let n = &mut s.nodes[i];
        if c.flush {
            if n.log != n.disk {
                *met |= seen::LOST;
            }
            n.log = n.disk;
            n.vote = n.disk_vote;
        }
        if self.has(Mutant::NoVotePersist) {
            n.vote = 0;
        }
        n.commit = 0;
        let promised = if self.has(Mutant::LeaseForgotten) {
            0
        } else {
            n.bits & LEASE
        };
        n.bits = promised;
        let own = n.lid() != 0 && owner_of(n.lid()) == i;
        let restores = c.restore || self.has(Mutant::RestoreVolatileCommit);
        if own && n.vote & 1 == 1 && restores {
            n.bits = ACTIVE;
            *met |= seen::RESTORED;
            if s.read.lid == s.nodes[i].lid() {
                s.read.end();
            }
            if self.own_first(&s.nodes[i]) == 0 && s.nodes[i].log.len() < c.entries {
                self.offer(s, i, op::BLANK);
            }
        } else if own && n.vote & 1 == 1 {
            n.vote &= !1;
        } else if own && self.has(Mutant::RestoreUncommitted) && n.log.len() < c.entries {
            self.lead(s, i, met);
        }
    }

    fn flush(&self, s: &mut State<SLOTS>, i: usize) {
        let n = &mut s.nodes[i];
        n.disk = n.log;
        n.disk_vote = n.vote;
        let pending = n.bits & PENDING != 0;
        n.bits &= !PENDING;
        let n = *n;
        if n.vote & 1 == 0 && pending {
            if n.campaigns() {
                s.slot_mut(n.lid()).ask(n.log.last_id());
            }
            s.slot_mut(n.lid()).grant(i);
        } else if n.vote & 1 == 1 && s.slot(n.lid()).led() {
            let same = n.disk.common(s.slot(n.lid()).log());
            s.slot_mut(n.lid()).raise_ack(i, same);
        }
        self.check_disks(s);
    }

    /// Forgets the facts that nobody can use any more. Sound because votes only rise: a leader id below every vote is
    /// never heard again; grants serve the candidate only, acknowledgements the leader only. Checked by a test
    /// against the model without it.
    #[inline]
    pub fn reduce(&self, s: &mut State<SLOTS>) {
        let used: [(Lid, u64); NODES] = std::array::from_fn(|i| {
            let n = &s.nodes[i];
            let l = n.lid();
            if n.bits & ACTIVE == 0 || owner_of(l) != i {
                return (1, 0);
            }
            let counts = if n.leads() { Slot::ACKS } else { Slot::GRANTS };
            (l, s.slot(l).0 & counts)
        });
        for slot in &mut s.slots {
            slot.0 &= !(Slot::ACKS | Slot::GRANTS);
        }
        for (l, counted) in used {
            s.slot_mut(l).0 |= counted;
        }
        let flush = self.configuration.flush;
        let lowest = s
            .nodes
            .iter()
            .map(|n| (n.vote >> 1).min(if flush { n.disk_vote >> 1 } else { Lid::MAX }))
            .min()
            .unwrap_or(0);
        // The first leader id that is not below every vote, committed or not.
        let alive = match self.order.votes {
            Votes::ByTermAndNode => lowest.max(1),
            Votes::ByTerm => lid(term_of(lowest).max(1), 0),
        };
        for dead in 0..usize::from(alive) - 1 {
            s.slots[dead] = Slot::default();
        }
    }
}
