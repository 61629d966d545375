//! Deliberate bugs in the rules, each with the smallest configuration that kills it and the invariant that does.
//!
//! A model that cannot say no is no model: every mutant here must die, by the invariant and at the depth pinned. The
//! two that are equivalent to the true rules, and the one that three nodes cannot tell from them, must survive their
//! whole space.

use serde::Serialize;

use super::check::{self, Configuration};
use super::raft::Invariant;
use super::search::{Outcome, Tell, Trail};

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[repr(u8)]
#[allow(missing_docs)] // `sentence` says what each does.
pub enum Mutant {
    NoVotePersist,
    NoLogCheck,
    CommitOldTerm,
    SkipPrevCheck,
    TruncateAlways,
    MinorityQuorum,
    GrantTwice,
    CommitBeyondMatch,
    NoConflictTruncate,
    AckBeforeFlush,
    StaleAppend,
    RestoreUncommitted,
    CountStaleVotes,
    AckWholeLog,
    LocalRead,
    ReadNoNoop,
    ReadAckNoTermCheck,
    LeaseForgotten,
    ClockDrift,
    VoteIgnoresLease,
    ElectIgnoresLease,
    NoPrevTruncate,
    LearnCommitted,
    JointAsUnion,
    SkipJoint,
    ConflictAsSuccess,
    /// Survives with three nodes, and must: a node without a vote has granted none, so until it does every quorum is
    /// the other two. Each of their leaders was granted by both, so its log holds the whole log of the one before it,
    /// and a late message of an older leader is a prefix of what the third node has: nothing that it acknowledged is
    /// cut. With its first vote it obeys like the others. With five nodes two quorums may have one node in common, and
    /// a schedule over the same rules loses a committed entry (a test of this module plays it).
    MissingVoteAsDefault,
    SnapshotDropsTail,
    RestoreVolatileCommit,
}

/// What is known about a mutant: where it dies, or that it does not.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    /// The mutant.
    pub mutant: Mutant,
    /// The rule that it breaks, as a sentence about the bug.
    pub sentence: &'static str,
    /// The smallest configuration that kills it; for a survivor, the one that it survives.
    pub configuration: &'static str,
    /// The invariant and the depth of its first violation; `None` for an expected survivor.
    pub killer: Option<(Invariant, u32)>,
    /// Why nothing kills it, as the end of a sentence about it; `None` for one that dies.
    pub spared: Option<&'static str>,
}

/// Of a mutant that decides as the rule does wherever it matters.
const EQUIVALENT: &str = "it is equivalent to the rule";

const fn kills(
    mutant: Mutant,
    configuration: &'static str,
    by: Invariant,
    depth: u32,
    sentence: &'static str,
) -> Pinned {
    Pinned {
        mutant,
        sentence,
        configuration,
        killer: Some((by, depth)),
        spared: None,
    }
}

const fn survives(
    mutant: Mutant,
    configuration: &'static str,
    spared: &'static str,
    sentence: &'static str,
) -> Pinned {
    Pinned {
        mutant,
        sentence,
        configuration,
        killer: None,
        spared: Some(spared),
    }
}

/// All mutants, with what is pinned about each.
#[rustfmt::skip]
pub const ALL: &[Pinned] = {
    use Invariant as I;
    use Mutant as M;
    &[
        kills(M::NoVotePersist, "2x2", I::ElectionSafety, 6, "a restarted node has forgotten its vote"),
        kills(M::NoLogCheck, "2x2", I::LeaderCompleteness, 8, "a vote is granted without a look at the candidate's log"),
        kills(M::CommitOldTerm, "2x2", I::LeaderCompleteness, 16, "a leader counts the copies of an older leader's entry (Figure 8 of the Raft paper)"),
        kills(M::SkipPrevCheck, "2x2", I::CommittedOnQuorum, 8, "a follower does not check the entry before the ones it receives"),
        kills(M::TruncateAlways, "2x2", I::CommittedOnQuorum, 6, "a follower cuts its log after the previous entry even where what follows matches"),
        kills(M::MinorityQuorum, "2x2", I::CommittedOnQuorum, 3, "half of the nodes, rounded down, counts as a quorum"),
        kills(M::GrantTwice, "2x2", I::LeaderCompleteness, 8, "a node grants its vote to several candidates of one term"),
        kills(M::CommitBeyondMatch, "2x2", I::StateMachineSafety, 9, "a follower commits what the leader announced, whether its log matches there or not"),
        kills(M::NoConflictTruncate, "2x2", I::CommittedOnQuorum, 8, "a follower keeps its own entries where they conflict with the leader's"),
        kills(M::AckBeforeFlush, "1x2 flush", I::CommittedOnQuorum, 8, "a follower acknowledges entries that are not on its disk yet"),
        kills(M::StaleAppend, "2x2", I::LeaderAppendOnly, 8, "a follower takes entries from a leader older than its vote"),
        kills(M::RestoreUncommitted, "2x2", I::ElectionSafety, 4, "a candidate that restarts takes itself for the leader"),
        kills(M::CountStaleVotes, "2x2", I::LeaderCompleteness, 9, "a candidate counts votes granted to its earlier candidacies"),
        kills(M::AckWholeLog, "2x2", I::CommittedOnQuorum, 8, "the answer to a heartbeat acknowledges the follower's whole log"),
        kills(M::LocalRead, "2x3 read", I::ReadFresh, 13, "a leader answers a read without asking a quorum whether it still leads"),
        kills(M::ReadNoNoop, "2x3 read", I::ReadFresh, 12, "a new leader reads at its known commit, without an entry of its own committed"),
        kills(M::ReadAckNoTermCheck, "2x3 read", I::ReadFresh, 14, "a node that follows a newer leader confirms the old one's read"),
        kills(M::LeaseForgotten, "2x3 lease", I::LeaseReadFresh, 14, "a follower that restarts forgets that it promised its leader not to vote (openraft 0.10.0-alpha.37)"),
        kills(M::ClockDrift, "2x3 lease", I::LeaseReadFresh, 14, "a follower's promise may end before the leader's lease that it paid for"),
        kills(M::VoteIgnoresLease, "2x3 lease", I::LeaseReadFresh, 13, "a node grants a vote although it promised its leader not to"),
        kills(M::ElectIgnoresLease, "2x3 lease", I::LeaseReadFresh, 13, "a node campaigns although it promised its leader not to"),
        survives(M::NoPrevTruncate, "2x2", EQUIVALENT, "a follower only reports a mismatch of the previous entry and cuts nothing (the paper's rule)"),
        survives(M::LearnCommitted, "2x2", EQUIVALENT, "a node that hears of a newer established vote takes it over as established"),
        kills(M::JointAsUnion, "2x3 shrink", I::LeaderCompleteness, 11, "a joint membership is flattened to one set: a majority of the union counts (Kiwi's wire format)"),
        kills(M::SkipJoint, "2x2 shrink", I::LeaderCompleteness, 8, "a membership change goes from the old voters to the new without the joint step"),
        kills(M::ConflictAsSuccess, "2x2", I::CommittedOnQuorum, 5, "a follower's conflict is read as success: it acknowledges what it refused (Kiwi's result mapping)"),
        survives(M::MissingVoteAsDefault, "2x2", "three nodes do not tell it from the rule, and with five it loses a committed entry", "a leader's vote is lost on the wire and read as the default, which a node without a vote accepts and does not save (Kiwi's conversion; harmless with three nodes, see its page)"),
        kills(M::SnapshotDropsTail, "2x3 snapshot", I::CommittedOnQuorum, 7, "a snapshot replaces a log that goes beyond it, and the matching entries behind it are lost"),
        kills(M::RestoreVolatileCommit, "2x2 read", I::ReadFresh, 11, "a leader restarts as the leader of the same term and forgets what was committed (openraft 0.9.25)"),
    ]
};

/// Mutants that need a large configuration too: with one leader a term, nothing below four terms tells Figure 8 from
/// the rule.
pub const FULL: &[Pinned] = &[kills(
    Mutant::CommitOldTerm,
    "4x2 by term",
    Invariant::LeaderCompleteness,
    16,
    "a leader counts the copies of an older leader's entry (Figure 8 of the Raft paper)",
)];

/// What running a mutant showed.
#[derive(Clone, Debug, Serialize)]
pub struct MutantReport {
    /// Its name.
    pub mutant: Mutant,
    /// What it breaks.
    pub sentence: &'static str,
    /// The configuration.
    pub configuration: &'static str,
    /// The invariant that was violated first, and at which depth.
    pub killer: Option<(Invariant, u32)>,
    /// How many states were seen.
    pub states: u64,
    /// Why this is not what is pinned, as a sentence.
    pub surprise: Option<String>,
}

/// The mutants, in the order of the page.
#[must_use]
pub fn all() -> &'static [Pinned] {
    ALL
}

impl Mutant {
    /// The name, as commands take it.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The mutant of that name; case, dashes and underscores do not matter.
    #[must_use]
    pub fn named(name: &str) -> Option<Mutant> {
        let plain = |s: &str| s.to_lowercase().replace(['-', '_'], "");
        ALL.iter()
            .map(|p| p.mutant)
            .find(|m| plain(&m.name()) == plain(name))
    }

    /// What is pinned about it.
    #[must_use]
    pub fn pinned(self) -> Pinned {
        *ALL.iter()
            .find(|p| p.mutant == self)
            .expect("every mutant is on the page")
    }

    /// Whether votes may fall, so that a leader id above which every vote once stood may matter again: the reduction
    /// of dead leader ids, and the clearing of grants that nobody counts, are then unsound.
    #[must_use]
    pub fn breaks_reduction(self) -> bool {
        matches!(
            self,
            Mutant::NoVotePersist
                | Mutant::GrantTwice
                | Mutant::StaleAppend
                | Mutant::CountStaleVotes
                | Mutant::RestoreUncommitted
        )
    }
}

/// Runs one mutant in its configuration and compares with what is pinned.
#[must_use]
pub fn run(mutant: Mutant) -> MutantReport {
    run_pinned(mutant.pinned())
}

/// As [`run`], and says after each depth how far it is.
pub fn run_telling(mutant: Mutant, tell: Tell<'_>) -> MutantReport {
    let pinned = mutant.pinned();
    report(pinned, &search_telling(pinned, tell))
}

/// Runs what is pinned about a mutant, on its page or among [`FULL`].
#[must_use]
pub fn run_pinned(pinned: Pinned) -> MutantReport {
    report(pinned, &search(pinned))
}

fn report(pinned: Pinned, found: &Outcome) -> MutantReport {
    let mutant = pinned.mutant;
    let killer = found
        .violation
        .as_ref()
        .map(|v| (v.invariant, v.actions.len() as u32));
    let name = mutant.name();
    let surprise = match (killer, pinned.killer) {
        (k, p) if k == p => None,
        (None, Some((by, depth))) => Some(format!(
            "{name} ({}) survives: {by} should kill it at depth {depth}; the model no longer tells this bug from the rule",
            pinned.sentence
        )),
        (Some((by, depth)), None) => Some(format!(
            "{name} ({}) should survive, since {}; but {by} kills it at depth {depth}",
            pinned.sentence,
            pinned.spared.unwrap_or("it is pinned so")
        )),
        (Some((by, depth)), Some((want, at))) => Some(format!(
            "{name} ({}) is killed by {by} at depth {depth}; pinned are {want} and depth {at}: the rules changed",
            pinned.sentence
        )),
        (None, None) => None,
    };
    MutantReport {
        mutant,
        sentence: pinned.sentence,
        configuration: pinned.configuration,
        killer,
        states: found.unique,
        surprise,
    }
}

/// The search behind [`run`]: every invariant is watched but Vote Monotone, which is a guard for the model itself.
#[must_use]
pub fn search(pinned: Pinned) -> Outcome {
    search_telling(pinned, &mut |_| {})
}

fn search_telling(pinned: Pinned, tell: Tell<'_>) -> Outcome {
    let mut configuration =
        Configuration::named(pinned.configuration).expect("a pinned configuration exists");
    configuration.rules.broken = Some(pinned.mutant);
    configuration.watched &= !Invariant::VoteMonotone.bit();
    check::search_telling(&configuration, Trail::Keep, tell)
}
