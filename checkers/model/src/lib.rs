//! The model of election and replication as openraft does them: proven, mutated, and tied to real runs.
//!
//! # The story
//!
//! Three nodes. Each has a log and a vote, which survive a crash, and a role and a commit, which do not. A node whose
//! patience ends campaigns in the next term; with the votes of a quorum it leads and appends a blank entry of its own;
//! it appends what clients write, sends slices of its log, and commits an entry *of its own* once a quorum has it on
//! disk. A follower takes a slice if the leader's vote is not below its own, cuts what conflicts, and never what
//! matches. Any node may crash between any two steps.
//!
//! ```text
//!    nodes, 16 bytes each                said, 8 bytes a leader id (term.node)
//!   ┌─────────────────────────┐         ┌──────────────────────────────────┐
//!   │ n1  log 1.1 1.1 2.2     │  says   │ 1.1  asked; granted by n1 n3     │   what was said only grows:
//!   │     vote 2.2, committed ├────────►│      led; log 1.1 1.1            │   anybody may hear of any part
//!   │     follows, commit 2   │         │      acknowledged 2 0 2; commit 2│   of it, twice, late, or never
//!   ├─────────────────────────┤         ├──────────────────────────────────┤
//!   │ n2  leads ...           │◄────────┤ 2.2  asked; led; ...             │   so loss, delay, doubling and
//!   │ n3  ...                 │  hears  │                                  │   partitions need no step, no bit
//!   └─────────────────────────┘         └──────────────────────────────────┘
//!    ghosts, which no rule reads: what anybody ever committed, under which leader, and what is broken
//! ```
//!
//! **State** ([`state`]). There are no messages in it. What a candidate asked, who granted it, what a leader offered
//! and announced and who acknowledged how much are *facts*; a step that would receive a message reads a fact. That
//! makes the smallest configuration some 270 times smaller than the same rules over a set of messages, and a test holds
//! that the nodes go through exactly the same states in both. A second reduction forgets leader ids that every vote is
//! above, and a third delivers one slice for each effect that some slice has; a test compares the reached states with
//! and without forgetting.
//!
//! **Actions** ([`action`]): elect, vote, lead, write, append (a slice arrives), advance (a commit), learn (of a higher
//! vote), restart; where a configuration has them also flush, install (a snapshot), change (the membership), a read
//! with its confirmation, a lease with its promises. Each asks [`rules`], pure functions that the checker of real
//! traces asks too ([`mod@conform`]), so that the proof and the check of a run cannot drift apart. They are openraft's
//! rules, read in its source; where they differ from the paper's, the rule says so.
//!
//! **Invariants** ([`invariant`]) are looked at after each step that could break them: Election Safety, Leader
//! Append-Only, Log Matching, Leader Completeness, State Machine Safety, a committed entry on a quorum's disks, votes
//! that only rise, and reads that show every write that anybody had committed when they began. That last one is a
//! comparison of two numbers; a test compares it with stateright's linearizability tester and with the judges of the
//! crate `checkers`, history by history. Nothing is asserted here that has not been seen to fail: each of the [`mutants`] breaks
//! one rule, and is pinned to the invariant that kills it, the depth and the smallest configuration; and what is
//! sometimes met is counted, so that a rule that nothing reaches is a failure too ([`check::never`]).
//!
//! # What is left out, and why that is sound
//!
//! * *More than the bounds.* The proofs are complete for three nodes and up to four terms, four entries, one read and
//!   one change of membership, and say nothing beyond. Bounds decide kills: with one leader a term, Figure 8 is only
//!   told from the rule at four terms. One mutant needs five nodes, which the packed state does not have.
//! * *Messages of other shapes.* A slice carries any part of what a leader ever offered, with any commit that it
//!   announced: a superset of what openraft's replication streams send. What they never send costs states, no truth.
//! * *Pre-vote, leadership transfer, learners.* Pre-vote only removes campaigns. A transfer is a campaign that
//!   bypasses promises; `ElectIgnoresLease` shows what that means for lease reads. Learners have no vote.
//! * *Purged logs.* A snapshot reaches a follower here while the leader's log still holds all that it covers, so an
//!   installation leads where the slice from the log's beginning leads: "2x3 snapshot" has exactly the states of
//!   "2x3", and a test holds that. What the row adds are the installations themselves, steps of their own after which
//!   every invariant is looked at: one that cuts a conflicting log must be met, and the mutant `SnapshotDropsTail`,
//!   which differs from the rule in them alone, dies there. A log that begins after a snapshot is in no proof; the
//!   replay of real traces knows purges, and lets a node purge only what is committed and what it holds elsewhere.
//! * *The first membership's commit.* It is in no log here and counts as committed, so that a leader may change it at
//!   once; openraft makes a leader that has not heard of its commit wait, which only removes behaviours.
//! * *Time.* A lease and a promise end by steps of their own; the one thing that clocks must give, that a promise ends
//!   after the part of a lease that it paid for, is a guard, and `ClockDrift` is what happens without it.
//! * *Reads after the leadership.* An open read is given up when its leader steps back. Had it been confirmed before,
//!   answering it would show no less than what was committed when it began.
//! * *Torn writes.* A flush is atomic: an entry is on the disk or not. A trace whose start does not hold what was done
//!   is rejected, however it came to that.
//! * *Liveness.* Nothing is proven to happen eventually: with restarts the graph has cycles, and stateright's
//!   `eventually` is unsound on them.
//!
//! # Real runs
//!
//! Nodes record what their storage does ([`trace`]); [`conform()`](conform::conform) replays the files against the
//! same rules. Storage tells the story of votes and logs, not of reads: those are for the judge of histories
//! (the crate `checkers`). Each sees what the other cannot.
//!
//! # Reading order
//!
//! [`rules`], [`state`], [`action`], [`raft`], [`invariant`], [`search`], [`check`], [`mutants`], [`mod@explain`];
//! then [`trace`], [`mod@conform`], [`project`].

pub mod action;
pub mod check;
pub mod conform;
pub mod decisions;
mod enabled;
pub mod explain;
pub mod explore;
pub mod invariant;
pub mod mutants;
pub mod project;
pub mod raft;
pub mod rules;
pub mod search;
pub mod state;
mod tell;
pub mod trace;

#[cfg(test)]
mod conform_tests;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;

pub use explain::{Explanation, explain};
