//! What may happen, one step at a time, and what is sometimes met on the way.

use super::state::Lid;

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
    pub const NAMES: [&str; 19] = [
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
        "a read is answered by a leader that has been replaced",
        "a joint membership is committed",
        "a new membership is committed",
        "a snapshot replaces a conflicting log",
        "a crash loses what was not on the disk",
    ];
    macro_rules! bits { ($($name:ident $bit:expr),*) => { $(#[allow(missing_docs)] pub const $name: u32 = 1 << $bit;)* } }
    bits!(LED 0, COMMITTED 1, WRITE_COMMITTED 2, REPLACED 3, TWO_LEADERS 4, CUT 5, PREV_MISMATCH 6, TWO_COMMITTERS 7,
          GRANTED_AGAIN 8, REFUSED_LOG 9, REFUSED_LEASE 10, RESTORED 11, READ 12, LEASE_READ 13,
          READ_REPLACED 14, JOINT_COMMITTED 15, FINAL_COMMITTED 16, SNAPSHOT_CUTS 17, LOST 18);
}
