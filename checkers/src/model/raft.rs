//! The model: nodes that elect, replicate, read, crash and come back, over facts instead of messages.
//!
//! [`Raft::actions`] lists what may happen next, [`Raft::step`] does it. A restart stands for a crash at any time
//! before; a node that is down is one that takes no step. Once an invariant is broken nothing happens any more.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::check::{Configuration, Votes};
use super::mutants::Mutant;
use super::rules::{Answer, Ballot, Order, Received, Rules};
use super::state::{
    ACTIVE, LEASE, Lid, NODES, Node, PENDING, PackedLog, Read, Slot, State, lid, op, owner_of,
    term_of, unpack,
};

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[repr(u8)]
pub enum Invariant {
    /// A leader id is established at most once; with one leader a term, a term has one leader (Raft, 5.2).
    ElectionSafety,
    /// What a leader offers under its id only grows (Raft, 5.3).
    LeaderAppendOnly,
    /// Two logs with the same entry at an index are equal up to it (Raft, 5.3).
    LogMatching,
    /// A later leader has every entry committed by an earlier one (Raft, 5.4).
    LeaderCompleteness,
    /// No two nodes commit different entries at one index (Raft, 5.4.3).
    StateMachineSafety,
    /// A committed entry is on the disks of a quorum.
    CommittedOnQuorum,
    /// No step but a restart lowers a node's vote.
    VoteMonotone,
    /// A read waits for everything that anybody had committed when it began.
    ReadFresh,
    /// So does a read under a lease.
    LeaseReadFresh,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 9] = [
        Invariant::ElectionSafety,
        Invariant::LeaderAppendOnly,
        Invariant::LogMatching,
        Invariant::LeaderCompleteness,
        Invariant::StateMachineSafety,
        Invariant::CommittedOnQuorum,
        Invariant::VoteMonotone,
        Invariant::ReadFresh,
        Invariant::LeaseReadFresh,
    ];

    /// Its bit in [`State::violated`].
    #[must_use]
    pub const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// The broken invariants of a state, the first of the page first.
    #[must_use]
    pub fn broken(bits: u16) -> Option<Invariant> {
        Invariant::ALL.into_iter().find(|i| bits & i.bit() != 0)
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Invariant::ElectionSafety => "Election Safety",
            Invariant::LeaderAppendOnly => "Leader Append-Only",
            Invariant::LogMatching => "Log Matching",
            Invariant::LeaderCompleteness => "Leader Completeness",
            Invariant::StateMachineSafety => "State Machine Safety",
            Invariant::CommittedOnQuorum => "Committed On a Quorum",
            Invariant::VoteMonotone => "Vote Monotone",
            Invariant::ReadFresh => "Read Freshness",
            Invariant::LeaseReadFresh => "Lease Read Freshness",
        })
    }
}

/// One step. Nodes count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The node campaigns in the next term.
    Elect(u8),
    /// The node receives the vote request of a leader id.
    Vote(u8, Lid),
    /// The candidate has a quorum and becomes the leader, with a blank entry.
    Lead(u8),
    /// The leader appends a client's write.
    Write(u8),
    /// The leader appends the next membership.
    Change(u8),
    /// The node receives a slice of a leader's log.
    Append {
        /// Who receives it.
        to: u8,
        /// The leader.
        from: Lid,
        /// The position before the slice.
        prev: u8,
        /// The last position of the slice.
        end: u8,
        /// The commit that the message announces.
        announced: u8,
    },
    /// The node receives a snapshot of the leader's log up to a committed position.
    Install {
        /// Who receives it.
        to: u8,
        /// The leader.
        from: Lid,
        /// The last position in the snapshot.
        end: u8,
    },
    /// The leader commits up to a position.
    Advance(u8, u8),
    /// The candidate or leader hears of a higher vote and steps back.
    Learn(u8, Lid),
    /// The node crashed, and is back with what its disk holds.
    Restart(u8),
    /// What the node did so far reaches its disk; acknowledgements go out.
    Flush(u8),
    /// The leader begins a linearizable read.
    ReadStart(u8),
    /// The node confirms the leader, by a heartbeat sent after the read began.
    ReadConfirm(u8),
    /// The leader answers the read.
    ReadDone,
    /// The second node answers the first one's heartbeat and promises not to vote; the leader's lease is paid by it.
    Promise(u8, u8),
    /// The part of the leader's lease that the second node paid for runs out.
    LeaseEnds(u8, u8),
    /// The node's promise runs out.
    PromiseEnds(u8),
    /// The leader answers a read under its lease.
    LeaseRead(u8),
}

impl Action {
    /// The kinds of actions, by [`Action::kind`].
    pub const KINDS: [&'static str; 18] = [
        "elect",
        "vote",
        "lead",
        "write",
        "change",
        "append",
        "install",
        "advance",
        "learn",
        "restart",
        "flush",
        "read start",
        "read confirm",
        "read done",
        "promise",
        "lease ends",
        "promise ends",
        "lease read",
    ];

    /// Which of [`Action::KINDS`] it is.
    #[inline]
    #[must_use]
    pub fn kind(self) -> usize {
        match self {
            Action::Elect(_) => 0,
            Action::Vote(..) => 1,
            Action::Lead(_) => 2,
            Action::Write(_) => 3,
            Action::Change(_) => 4,
            Action::Append { .. } => 5,
            Action::Install { .. } => 6,
            Action::Advance(..) => 7,
            Action::Learn(..) => 8,
            Action::Restart(_) => 9,
            Action::Flush(_) => 10,
            Action::ReadStart(_) => 11,
            Action::ReadConfirm(_) => 12,
            Action::ReadDone => 13,
            Action::Promise(..) => 14,
            Action::LeaseEnds(..) => 15,
            Action::PromiseEnds(_) => 16,
            Action::LeaseRead(_) => 17,
        }
    }
}

/// What is sometimes reached, as bits: counted outside the state, so that it does not multiply it.
pub mod seen {
    /// The names, by bit.
    pub const NAMES: [&str; 14] = [
        "a leader is elected",
        "an entry is committed",
        "a client's entry is committed",
        "a leader is replaced",
        "two leaders at once",
        "a conflict is cut away",
        "a previous entry does not match",
        "committed by two different leaders",
        "the same vote is granted again",
        "a vote is refused for the log",
        "a vote is refused for a promise",
        "a restarted leader leads on",
        "a read is answered",
        "a read under a lease is answered",
    ];
    macro_rules! bits { ($($name:ident $bit:expr),*) => { $(#[allow(missing_docs)] pub const $name: u32 = 1 << $bit;)* } }
    bits!(LED 0, COMMITTED 1, WRITE_COMMITTED 2, REPLACED 3, TWO_LEADERS 4, CUT 5, PREV_MISMATCH 6, TWO_COMMITTERS 7,
          GRANTED_AGAIN 8, REFUSED_LOG 9, REFUSED_LEASE 10, RESTORED 11, READ 12, LEASE_READ 13);
}

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

/// The model of one configuration. `SLOTS` is three times its terms.
#[derive(Clone, Debug)]
pub struct Raft<const SLOTS: usize> {
    /// Bounds, switches and rules.
    pub configuration: Configuration,
    order: PackedOrder,
    rules: Rules,
}

impl<const SLOTS: usize> Raft<SLOTS> {
    /// The model of `configuration`.
    ///
    /// # Panics
    /// If `SLOTS` is not three times its terms, or it has more than four entries.
    #[must_use]
    pub fn new(configuration: Configuration) -> Self {
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
    fn has(&self, mutant: Mutant) -> bool {
        self.rules.has(mutant)
    }

    /// The voter sets in force for a node with this log: those of its last membership entry.
    #[inline(always)]
    fn voters(&self, log: PackedLog) -> (u64, Option<u64>) {
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
    fn votes_in(&self, node: usize, log: PackedLog) -> bool {
        let (old, new) = self.voters(log);
        (old | new.unwrap_or(0)) >> node & 1 == 1
    }

    #[inline(always)]
    fn quorum(&self, members: u8, log: PackedLog) -> bool {
        self.rules.quorum(u64::from(members), self.voters(log))
    }

    /// The first position that the leader itself proposed; 0 when none is there.
    #[inline(always)]
    fn own_first(&self, node: &Node) -> u8 {
        (1..=node.log.len())
            .find(|&p| node.log.entry(p) & 15 == node.lid())
            .unwrap_or(0)
    }

    /// Whether the leader's lease holds.
    #[inline(always)]
    fn leased_leader(&self, node: usize, n: &Node) -> bool {
        n.leads() && self.quorum(n.payers() | 1 << node, n.log)
    }

    /// What may happen in `s`; some of it may turn out to change nothing, see [`Raft::step`].
    pub fn actions(&self, s: &State<SLOTS>, out: &mut Vec<Action>) {
        if s.violated != 0 {
            return;
        }
        let c = &self.configuration;
        for i in 0..NODES {
            let n = &s.nodes[i];
            let me = i as u8;
            if !n.leads() {
                if term_of(n.lid()) < c.terms
                    && (n.bits & LEASE == 0 || self.has(Mutant::ElectIgnoresLease))
                    && self.votes_in(i, n.log)
                {
                    out.push(Action::Elect(me));
                }
                if n.campaigns() && n.log.len() < c.entries && self.wins(s, i) {
                    out.push(Action::Lead(me));
                }
            } else {
                if n.log.len() < c.entries {
                    out.push(Action::Write(me));
                    if c.change.is_some() && self.next_membership(n).is_some() {
                        out.push(Action::Change(me));
                    }
                }
                for position in n.commit + 1..=n.log.len() {
                    if self.may_commit(s, i, position) {
                        out.push(Action::Advance(me, position));
                    }
                }
                self.read_actions(s, i, out);
            }
            if n.bits & ACTIVE != 0
                || n.vote & 1 == 1 && n.lid() != 0
                || n.commit != 0
                || c.flush
                || c.lease
                || self.rules.broken.is_some()
            {
                out.push(Action::Restart(me));
            }
            if c.flush && (n.log != n.disk || n.vote != n.disk_vote || n.bits & PENDING != 0) {
                out.push(Action::Flush(me));
            }
            if n.bits & LEASE != 0
                && (self.has(Mutant::ClockDrift)
                    || s.nodes.iter().all(|l| l.payers() >> i & 1 == 0))
            {
                out.push(Action::PromiseEnds(me));
            }
            self.deliveries(s, i, out);
        }
        if s.read.lid != 0 {
            for j in 0..NODES {
                if s.read.acks >> j & 1 == 0
                    && (self.has(Mutant::ReadAckNoTermCheck)
                        || self
                            .rules
                            .accepts(&self.order, s.read.lid, s.nodes[j].ballot()))
                {
                    out.push(Action::ReadConfirm(j as u8));
                }
            }
            let leader = &s.nodes[owner_of(s.read.lid)];
            if self.has(Mutant::LocalRead) || self.quorum(s.read.acks, leader.log) {
                out.push(Action::ReadDone);
            }
        }
    }

    /// Reads and leases of the leader `i`.
    #[inline]
    fn read_actions(&self, s: &State<SLOTS>, i: usize, out: &mut Vec<Action>) {
        let (c, n, me) = (&self.configuration, &s.nodes[i], i as u8);
        if s.read.begun < c.reads && s.read.lid == 0 {
            out.push(Action::ReadStart(me));
        }
        if !c.lease {
            return;
        }
        for j in (0..NODES).filter(|&j| j != i) {
            let f = &s.nodes[j];
            if n.payers() >> j & 1 == 1 {
                out.push(Action::LeaseEnds(me, j as u8));
            }
            if self.rules.accepts(&self.order, n.lid(), f.ballot()) {
                out.push(Action::Promise(me, j as u8));
            }
        }
        if self.leased_leader(i, n) {
            out.push(Action::LeaseRead(me));
        }
    }

    /// What node `j` may hear from others.
    #[inline]
    fn deliveries(&self, s: &State<SLOTS>, j: usize, out: &mut Vec<Action>) {
        let n = &s.nodes[j];
        let to = j as u8;
        for l in 1..=SLOTS as u8 {
            let slot = s.slot(l);
            if slot == Slot::default() || owner_of(l) == j {
                continue;
            }
            if slot.asked() {
                let request = Ballot {
                    leader: l,
                    committed: false,
                };
                out.push(Action::Vote(to, l));
                if n.bits & ACTIVE != 0 && self.rules.above(&self.order, request, n.ballot()) {
                    out.push(Action::Learn(to, l));
                }
            }
            if !slot.led() || !self.rules.accepts(&self.order, l, n.ballot()) {
                continue;
            }
            let log = slot.log();
            let (length, known) = (log.len(), slot.commit());
            let same = n.log.common(log);
            // What is already so cannot change again: the same vote, a slice that is there, nothing to acknowledge.
            let settled = n.vote == l << 1 | 1 && self.rules.broken.is_none();
            for end in 0..=length {
                if settled
                    && end <= same
                    && (end <= slot.ack(j) || !self.acknowledged(s, l))
                    && n.commit >= known.min(end)
                {
                    continue;
                }
                for prev in 0..=end {
                    let most = if self.has(Mutant::CommitBeyondMatch) {
                        known
                    } else {
                        known.min(end)
                    };
                    out.push(Action::Append {
                        to,
                        from: l,
                        prev,
                        end,
                        announced: 0,
                    });
                    for announced in n.commit + 1..=most {
                        out.push(Action::Append {
                            to,
                            from: l,
                            prev,
                            end,
                            announced,
                        });
                    }
                }
            }
            if self.configuration.snapshots {
                for end in n.commit + 1..=known {
                    out.push(Action::Install { to, from: l, end });
                }
            }
        }
    }

    /// Whether anybody still counts the acknowledgements of `l`.
    #[inline(always)]
    fn acknowledged(&self, s: &State<SLOTS>, l: Lid) -> bool {
        let leader = &s.nodes[owner_of(l)];
        !self.configuration.reduce || leader.leads() && leader.lid() == l
    }

    /// Whether the candidate `i` has a quorum of grants.
    #[inline]
    fn wins(&self, s: &State<SLOTS>, i: usize) -> bool {
        let n = &s.nodes[i];
        let mut granted = s.slot(n.lid()).granted();
        if self.has(Mutant::CountStaleVotes) {
            for l in (1..n.lid()).filter(|&l| owner_of(l) == i) {
                granted |= s.slot(l).granted();
            }
        }
        self.votes_in(i, n.log) && self.quorum(granted, n.log)
    }

    /// Whether the leader `i` may commit up to `position`: its own entry, acknowledged by a quorum.
    #[inline]
    fn may_commit(&self, s: &State<SLOTS>, i: usize, position: u8) -> bool {
        let n = &s.nodes[i];
        if !self.rules.countable(n.log.entry(position) & 15, n.lid()) {
            return false;
        }
        let slot = s.slot(n.lid());
        let mut holders = 0;
        for j in 0..NODES {
            holders |= u8::from(slot.ack(j) >= position) << j;
        }
        self.quorum(holders, n.log)
    }

    /// The membership entry that the leader may append: the joint one once its own first entry is committed, the
    /// final one once the joint one is.
    fn next_membership(&self, n: &Node) -> Option<u8> {
        let first = self.own_first(n);
        if first == 0 || n.commit < first {
            return None;
        }
        let last = (1..=n.log.len())
            .rev()
            .find(|&p| n.log.entry(p) >> 4 >= op::JOINT);
        match last.map(|p| (p, n.log.entry(p) >> 4)) {
            None if self.has(Mutant::SkipJoint) => Some(op::FINAL),
            None => Some(op::JOINT),
            Some((p, op::JOINT)) if n.commit >= p => Some(op::FINAL),
            _ => None,
        }
    }

    /// Does `action`. `None` when it changes nothing. What it met on its way is added to `met`, bits of [`seen`].
    #[inline]
    pub fn step(&self, s: &State<SLOTS>, action: Action, met: &mut u32) -> Option<State<SLOTS>> {
        let mut t = *s;
        let before = *s;
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
            } => {
                self.append(&mut t, to as usize, from, (prev, end, announced), met);
            }
            Action::Install { to, from, end } => self.install(&mut t, to as usize, from, end),
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
            Action::ReadStart(i) => {
                let n = &t.nodes[i as usize];
                let index = self
                    .rules
                    .read_index(u64::from(self.own_first(n)), u64::from(n.commit))
                    as u8;
                t.read = Read {
                    begun: t.read.begun + 1,
                    lid: n.lid(),
                    at: t.committed.len() << 4 | index,
                    acks: 1 << i,
                };
            }
            Action::ReadConfirm(j) => {
                t.read.acks |= 1 << j;
                self.follow(&mut t, j as usize, before.read.lid);
            }
            Action::ReadDone => {
                *met |= seen::READ;
                if t.read.at & 15 < t.read.at >> 4 {
                    self.violate(&mut t, Invariant::ReadFresh);
                }
                t.read = Read {
                    begun: t.read.begun,
                    ..Read::default()
                };
            }
            Action::Promise(i, j) => {
                let leader = t.nodes[i as usize].lid();
                self.follow(&mut t, j as usize, leader);
                t.nodes[j as usize].bits |= LEASE;
                t.nodes[i as usize].bits |= 16 << j;
            }
            Action::LeaseEnds(i, j) => t.nodes[i as usize].bits &= !(16 << j),
            Action::PromiseEnds(j) => t.nodes[j as usize].bits &= !LEASE,
            Action::LeaseRead(i) => {
                *met |= seen::LEASE_READ;
                let n = &t.nodes[i as usize];
                if (self
                    .rules
                    .read_index(u64::from(self.own_first(n)), u64::from(n.commit))
                    as u8)
                    < t.committed.len()
                {
                    self.violate(&mut t, Invariant::LeaseReadFresh);
                }
            }
        }
        if !matches!(action, Action::Restart(_))
            && self.configuration.watched & Invariant::VoteMonotone.bit() != 0
        {
            let fell = before.nodes.iter().zip(&t.nodes).any(|(b, a)| {
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
                t.read = Read {
                    begun: t.read.begun,
                    ..Read::default()
                };
            }
        }
        if self.configuration.reduce {
            self.reduce(&mut t);
        }
        (t != before).then_some(t)
    }

    #[inline(always)]
    fn violate(&self, s: &mut State<SLOTS>, invariant: Invariant) {
        s.violated |= invariant.bit() & self.configuration.watched;
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

    fn vote(&self, s: &mut State<SLOTS>, j: usize, l: Lid, met: &mut u32) {
        let n = s.nodes[j];
        let last = match n.log.last_id() {
            (_, 0) => None,
            (leader, index) => Some((leader, u64::from(index))),
        };
        let leased = n.bits & LEASE != 0 || self.configuration.lease && self.leased_leader(j, &n);
        match self
            .rules
            .answer(&self.order, (l, s.slot(l).last()), n.ballot(), last, leased)
        {
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
        let vote = l << 1 | 1;
        if n.vote == vote || !self.rules.at_least(&self.order, unpack(vote), n.ballot()) {
            return;
        }
        if self.has(Mutant::MissingVoteAsDefault) && n.vote == 0 {
            return;
        }
        n.vote = vote;
        n.bits = 0;
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
        let leaders = s.slot(l).log();
        let mine = s.nodes[j].log;
        let immediate = !self.configuration.flush || self.has(Mutant::AckBeforeFlush);
        match self
            .rules
            .receive(&mine, &leaders, u64::from(prev), u64::from(end))
        {
            Received::Conflict { keep } => {
                *met |= seen::PREV_MISMATCH;
                s.nodes[j].log = mine.prefix(keep as u8);
                if self.has(Mutant::ConflictAsSuccess) {
                    s.slot_mut(l).raise_ack(j, end);
                }
            }
            Received::Fits {
                keep,
                from,
                matched,
            } => {
                let log = mine.splice(keep as u8, leaders, from as u8, end);
                if (keep as u8) < mine.len() {
                    *met |= seen::CUT;
                }
                s.nodes[j].log = log;
                if immediate {
                    s.slot_mut(l).raise_ack(j, matched as u8);
                }
                let commit = self.rules.follower_commit(
                    u64::from(announced),
                    u64::from(end),
                    log.len().into(),
                ) as u8;
                if commit > s.nodes[j].commit {
                    s.nodes[j].commit = commit;
                    self.commit(s, j, l, met);
                }
            }
        }
        if s.nodes[j].log != mine {
            self.check_logs(s);
        }
    }

    fn install(&self, s: &mut State<SLOTS>, j: usize, l: Lid, end: u8) {
        self.follow(s, j, l);
        let leaders = s.slot(l).log();
        let mine = s.nodes[j].log;
        // A log that agrees with the snapshot's last entry keeps what follows it.
        let conflict = mine.entry(end) != leaders.entry(end);
        let base = leaders.prefix(end);
        s.nodes[j].log = if conflict || self.has(Mutant::SnapshotDropsTail) {
            base
        } else {
            base.splice(end, mine, end, mine.len().max(end))
        };
        s.nodes[j].commit = end;
        s.slot_mut(l).raise_ack(j, end);
        self.commit(s, j, l, &mut 0);
        self.check_logs(s);
    }

    fn restart(&self, s: &mut State<SLOTS>, i: usize, met: &mut u32) {
        let c = &self.configuration;
        let n = &mut s.nodes[i];
        if c.flush {
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
            s.read = if s.read.lid == s.nodes[i].lid() {
                Read {
                    begun: s.read.begun,
                    ..Read::default()
                }
            } else {
                s.read
            };
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

    /// Node `i` raised its commit, told by the leader `by`: State Machine Safety, and the ghost log grows.
    #[inline]
    fn commit(&self, s: &mut State<SLOTS>, i: usize, by: Lid, met: &mut u32) {
        *met |= seen::COMMITTED;
        let n = s.nodes[i];
        let known = s.committed.len();
        let upto = n.commit.min(n.log.len());
        if s.committed.common(n.log) < upto.min(known) {
            self.violate(s, Invariant::StateMachineSafety);
        }
        if upto <= known {
            return;
        }
        for position in known + 1..=upto {
            let entry = n.log.entry(position);
            if entry >> 4 == op::WRITE {
                *met |= seen::WRITE_COMMITTED;
            }
            s.committed = s.committed.push(entry);
            s.committers |= u16::from(by) << (4 * (position - 1));
        }
        if s.committer(1) != by {
            *met |= seen::TWO_COMMITTERS;
        }
        self.check_disks(s);
        self.check_leaders(s);
    }

    /// Log Matching, and what [`Raft::check_disks`] holds.
    #[inline]
    fn check_logs(&self, s: &mut State<SLOTS>) {
        let [a, b, c] = &s.nodes;
        let matching = self.matching(a.log, b.log)
            && self.matching(b.log, c.log)
            && self.matching(a.log, c.log);
        if !matching {
            self.violate(s, Invariant::LogMatching);
        }
        if !self.configuration.flush {
            self.check_disks(s);
        }
    }

    #[inline(always)]
    fn matching(&self, a: PackedLog, b: PackedLog) -> bool {
        let same = a.common(b);
        (same + 1..=a.len().min(b.len())).all(|p| {
            self.order
                .compare_in_log(a.entry(p) & 15, b.entry(p) & 15)
                .is_ne()
        })
    }

    /// Every committed entry is on a majority's disks. Not held where the voters change: a majority of whom?
    #[inline]
    fn check_disks(&self, s: &mut State<SLOTS>) {
        if s.committed.is_empty() || self.configuration.change.is_some() {
            return;
        }
        let want = s.committed.len();
        let mut holders = 0;
        for n in &s.nodes {
            let disk = if self.configuration.flush {
                n.disk
            } else {
                n.log
            };
            holders += u8::from(disk.common(s.committed) >= want);
        }
        if holders < 2 {
            self.violate(s, Invariant::CommittedOnQuorum);
        }
    }

    /// Leader Completeness: a leader offers everything that an earlier one committed.
    #[inline]
    fn check_leaders(&self, s: &mut State<SLOTS>) {
        for l in 1..=SLOTS as u8 {
            let slot = s.slot(l);
            if !slot.led() {
                continue;
            }
            let same = slot.log().common(s.committed);
            for position in same + 1..=s.committed.len() {
                if self.order.compare_in_log(l, s.committer(position)).is_gt() {
                    self.violate(s, Invariant::LeaderCompleteness);
                }
            }
        }
    }

    /// Forgets the facts that nobody can use any more. Sound because votes only rise: a leader id below every vote is
    /// never heard again; grants serve the candidate only, acknowledgements the leader only. Checked by a test
    /// against the model without it.
    #[inline]
    pub fn reduce(&self, s: &mut State<SLOTS>) {
        for l in 1..=SLOTS as u8 {
            if s.slot(l) == Slot::default() {
                continue;
            }
            let last = Ballot {
                leader: l,
                committed: true,
            };
            let flush = self.configuration.flush;
            let dead = s.nodes.iter().all(|n| {
                self.rules.above(&self.order, n.ballot(), last)
                    && (!flush || self.rules.above(&self.order, unpack(n.disk_vote), last))
            });
            if dead {
                *s.slot_mut(l) = Slot::default();
                continue;
            }
            let owner = s.nodes[owner_of(l)];
            if owner.lid() != l || !owner.campaigns() {
                s.slot_mut(l).clear_grants();
            }
            if owner.lid() != l || !owner.leads() {
                s.slot_mut(l).clear_acks();
            }
        }
    }
}
