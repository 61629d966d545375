//! The deliberate bugs of `--defect`: which one this node carries, and the two counters that explain a miss.
//!
//! A hook is one named function in [`hooks`]; the healthy code asks [`Planted::is`] first, so that no hook is called
//! without `--defect`. Every hook counts that it was *reached*, and that its bad fact was *triggered*; both are read
//! through `whitewater.chaos.v1`. What each defect is, where it is known from and what should catch it is written in the
//! bench's catalogue (`fault::defects`); a test holds the names together.

pub(super) mod hooks;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use clap::ValueEnum;

/// A planted bug. Never on by default, never two at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Defect {
    /// Reads are answered from the leader's own state without asking a quorum.
    StaleRead,
    /// Reads are answered from any node's own state.
    FollowerRead,
    /// Writes are answered when they are proposed, not when they are committed.
    EarlyAck,
    /// A write that ran out of time is answered as done.
    OptimisticTimeout,
    /// A write that ran out of time is answered as "not applied".
    FalseFailure,
    /// A condition is checked when the write is proposed, not when it is applied.
    StaleCompare,
    /// Log entries are acknowledged before they are on disk.
    EarlyLogAck,
    /// The applied index is made durable before the data that it speaks of.
    EarlyApplied,
    /// Snapshots miss one key in sixteen.
    HoleySnapshot,
    /// A peer that does not answer counts as one that said yes.
    PhantomAck,
    /// The vote is never written to the disk.
    ForgetfulVote,
    /// The last entries of the log are dropped at every start.
    DroppedTail,
    /// A request that comes again in its session is carried out again.
    RepeatedRequest,
    /// Snapshots leave the sessions out.
    ForgottenSessions,
    /// Decoy, legal: a read waits after its quorum has confirmed the leader.
    SlowRead,
}

impl Defect {
    /// The name on the command line.
    ///
    /// # Panics
    /// Never: no variant is hidden from the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no variant is hidden");
        value.get_name().to_owned()
    }
}

/// Which defect this node carries, and what became of it; clones share the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planted {
    defect: Option<Defect>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    reached: AtomicU64,
    triggered: AtomicU64,
}

impl Planted {
    pub(crate) fn new(defect: Option<Defect>) -> Planted {
        Planted {
            defect,
            ..Planted::default()
        }
    }

    /// The defect, where there is one.
    pub(crate) fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Whether this one is planted here.
    pub(crate) fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Counts that a hook runs: every hook's first line.
    fn reach(&self) {
        self.counters.reached.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts that the bad fact was true.
    fn trigger(&self) {
        self.counters.triggered.fetch_add(1, Ordering::Relaxed);
    }

    /// (reached, triggered).
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.counters.reached), read(&self.counters.triggered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_defect_carries_none_of_them() {
        let clean = Planted::default();
        for defect in Defect::value_variants() {
            assert!(!clean.is(*defect), "{defect:?}");
        }
        assert_eq!(clean.counts(), (0, 0));
    }

    #[test]
    fn clones_share_what_they_count() {
        let planted = Planted::new(Some(Defect::StaleRead));
        let clone = planted.clone();
        clone.reach();
        clone.reach();
        clone.trigger();
        assert_eq!(planted.counts(), (2, 1));
    }
}
