//! Which steps are enabled in a state: only such as may change it, each effect once, without an allocation.

use super::action::Action;
use super::mutants::Mutant;
use super::raft::Raft;
use super::rules::{Answer, Ballot};
use super::state::{
    ACTIVE, LEASE, Lid, NODES, Node, PENDING, PackedLog, Slot, State, op, owner_of, term_of,
};

impl<const SLOTS: usize> Raft<SLOTS> {
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
                    && self.may_campaign(i, n)
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
        self.open_read(s, out);
    }

    /// The confirmations of the open read, and its answer.
    #[inline]
    fn open_read(&self, s: &State<SLOTS>, out: &mut Vec<Action>) {
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
            let applied = self
                .rules
                .readable(u64::from(leader.commit), u64::from(s.read.at & 15));
            if applied && (self.has(Mutant::LocalRead) || self.quorum(s.read.acks, leader.log)) {
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
        let index = u64::from(self.read_index(n));
        if self.leased_leader(i, n) && self.rules.readable(u64::from(n.commit), index) {
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
                if self.answer(s, j, l) != Answer::RefusedByVote {
                    out.push(Action::Vote(to, l));
                }
                if n.bits & ACTIVE != 0 && self.rules.above(&self.order, request, n.ballot()) {
                    out.push(Action::Learn(to, l));
                }
            }
            if !slot.led() || !self.rules.accepts(&self.order, l, n.ballot()) {
                continue;
            }
            self.slices(s, j, l, out);
            if self.configuration.snapshots {
                for end in n.commit + 1..=slot.commit() {
                    out.push(Action::Install { to, from: l, end });
                }
            }
        }
    }

    /// The slices of the log of `l` that node `j` may receive: one for each effect that some slice has. What a slice
    /// does is asked of the rules, not assumed, so this holds for broken rules too.
    #[inline]
    fn slices(&self, s: &State<SLOTS>, j: usize, l: Lid, out: &mut Vec<Action>) {
        let n = &s.nodes[j];
        let slot = s.slot(l);
        let (leaders, known, acked) = (slot.log(), slot.commit(), slot.ack(j));
        let leader = &s.nodes[owner_of(l)];
        // Whether anybody still counts the acknowledgements.
        let counted = !self.configuration.reduce || leader.leads() && leader.lid() == l;
        let effect = |log: PackedLog, ack: u8, commit: u8| {
            let ack = if counted { ack.max(acked) } else { acked };
            u64::from(log.0) | u64::from(ack) << 32 | u64::from(commit) << 40
        };
        let (mut met, mut many) = ([0; 16], 0);
        let mine = (n.vote != 0).then(|| n.ballot());
        if !self.rules.adopts(&self.order, l, mine) {
            met[0] = effect(n.log, 0, n.commit);
            many = 1;
        }
        for end in 0..=leaders.len() {
            for prev in (0..=end).rev() {
                let slice = self.slice(n.log, leaders, prev, end);
                let most = if slice.fits {
                    known.max(n.commit)
                } else {
                    n.commit
                };
                for announced in n.commit..=most {
                    let commit = self
                        .follower_commit(announced, end, slice.log)
                        .max(n.commit);
                    let effect = effect(slice.log, slice.ack, commit);
                    if met[..many].contains(&effect) {
                        continue;
                    }
                    if many < met.len() {
                        met[many] = effect;
                        many += 1;
                    }
                    out.push(Action::Append {
                        to: j as u8,
                        from: l,
                        prev,
                        end,
                        announced,
                    });
                }
            }
        }
    }

    /// Whether the node is a voter of its last membership, or of the last one that it knows to be committed:
    /// `is_voter_in_effective_or_committed`. Only the former's voters make a quorum.
    #[inline]
    fn may_campaign(&self, i: usize, n: &Node) -> bool {
        self.votes_in(i, n.log) || self.votes_in(i, n.log.prefix(n.commit))
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
        self.quorum(granted, n.log)
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

    /// The membership entry that the leader may append: the joint one, and once that is committed the final one.
    /// openraft's `ensure_committed` asks only whether the last membership is committed, not whether an entry of the
    /// leader's own term is, as the paper's correction for changes without a joint step wants. The first membership
    /// is in no log of the model and counts as committed; openraft makes a leader that has not heard so wait.
    pub(super) fn next_membership(&self, n: &Node) -> Option<u8> {
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
}
