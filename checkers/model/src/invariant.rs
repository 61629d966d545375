//! What must always hold, and where it is checked: after each step that could break it.
//!
//! A broken invariant is a bit in the state, and nothing happens any more after it.

use std::fmt;

use serde::Serialize;

use super::action::seen;
use super::raft::Raft;
use super::rules::Order;
use super::state::{Lid, PackedLog, State, op};

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
    /// A read shows every client's write that anybody had committed when it began.
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

/// How many of the committed entries a read must show: up to the last client's write. What follows it is a leader's
/// blank entry or a membership, which no client can miss.
#[inline]
#[must_use]
pub fn floor(committed: PackedLog) -> u8 {
    (1..=committed.len())
        .rev()
        .find(|&p| committed.entry(p) >> 4 == op::WRITE)
        .unwrap_or(0)
}

impl<const SLOTS: usize> Raft<SLOTS> {
    #[inline(always)]
    pub(super) fn violate(&self, s: &mut State<SLOTS>, invariant: Invariant) {
        s.violated |= invariant.bit() & self.configuration.watched;
    }

    /// Node `i` raised its commit, told by the leader `by`: State Machine Safety, and the ghost log grows.
    #[inline]
    pub(super) fn commit(&self, s: &mut State<SLOTS>, i: usize, by: Lid, met: &mut u32) {
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
            *met |= match entry >> 4 {
                op::WRITE => seen::WRITE_COMMITTED,
                op::JOINT => seen::JOINT_COMMITTED,
                op::FINAL => seen::FINAL_COMMITTED,
                _ => 0,
            };
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
    pub(super) fn check_logs(&self, s: &mut State<SLOTS>) {
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
    pub(super) fn check_disks(&self, s: &mut State<SLOTS>) {
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
    pub(super) fn check_leaders(&self, s: &mut State<SLOTS>) {
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
}
