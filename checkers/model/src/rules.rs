//! The rules of election and replication as openraft follows them: pure functions over small traits.
//!
//! The packed model ([`super::raft`]) and the checker of real traces ([`super::conform`]) call the same functions, so
//! that neither can drift from the other. Facts come in (votes, log ids, logs), a decision goes out; nothing is stored.
//! Each rule names the [`Mutant`] that breaks it, beside the line that it breaks: [`Rules::broken`] is `None` but in
//! the model's mutants.
//!
//! Source: openraft 0.10.0-alpha.37, `engine/engine_impl.rs` and `engine/handler/*`. It differs from the Raft paper:
//! a vote orders by (term, node, committed), a log id by (term, node, index), several leaders may follow each other in
//! one term, an equal vote is granted again, and a follower truncates already at a mismatch of the previous entry.

use std::cmp::Ordering;

use super::mutants::Mutant;

/// A vote: who leads or wants to, and whether a quorum agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ballot<L> {
    /// The leader id: term and node.
    pub leader: L,
    /// A quorum granted it.
    pub committed: bool,
}

/// How leader ids compare. openraft's default orders them totally by (term, node); with one leader a term
/// (`single-term-leader`) two nodes in one term are incomparable.
pub trait Order {
    /// A leader id.
    type Leader: Copy + Eq;
    /// The order of two leader ids as votes compare them.
    fn compare(&self, a: Self::Leader, b: Self::Leader) -> Option<Ordering>;
    /// The order of two leader ids as log ids compare them: total in either mode.
    fn compare_in_log(&self, a: Self::Leader, b: Self::Leader) -> Ordering;
    /// The term alone.
    fn term(&self, a: Self::Leader) -> u64;
}

/// A log: entries at positions 1, 2, 3, ..., each with the id of the leader that proposed it.
pub trait Log<L> {
    /// How many positions it has.
    fn length(&self) -> u64;
    /// Who proposed the entry at `position` (from 1); `None` past the end.
    fn leader_at(&self, position: u64) -> Option<L>;

    /// The id of the last entry: its leader and position.
    fn last(&self) -> Option<(L, u64)> {
        let length = self.length();
        self.leader_at(length).map(|leader| (leader, length))
    }
}

/// What a node does with a vote request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Grants it; `saves` when its own vote changes.
    Granted {
        /// The vote was not its own already.
        saves: bool,
    },
    /// It promised a leader not to, for a time.
    RefusedByLease,
    /// Its own log is ahead of the candidate's.
    RefusedByLog,
    /// Its own vote is above the candidate's.
    RefusedByVote,
}

/// What a follower does with a slice of a leader's log, once it accepted the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The entry before the slice is not there: cut the log to `keep` entries and report a conflict.
    Conflict {
        /// How many entries stay.
        keep: u64,
    },
    /// The slice fits: keep `keep` entries, then append the leader's from position `from + 1` to the slice's end.
    Fits {
        /// How many entries stay.
        keep: u64,
        /// Where the entries to append begin, less one; the slice's end when there is nothing to append.
        from: u64,
        /// How much of the log now equals the leader's, for the acknowledgement.
        matched: u64,
    },
}

/// The rules, one of which may be broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The deliberate bug, if any.
    pub broken: Option<Mutant>,
}

impl Rules {
    /// Whether this deliberate bug is in.
    #[inline(always)]
    pub fn has(&self, mutant: Mutant) -> bool {
        self.broken == Some(mutant)
    }

    /// Vote `a` >= vote `b`: by leader id, then committed; a committed vote is above an incomparable one.
    #[inline]
    pub fn at_least<O: Order>(
        &self,
        order: &O,
        a: Ballot<O::Leader>,
        b: Ballot<O::Leader>,
    ) -> bool {
        match order.compare(a.leader, b.leader) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Less) => false,
            Some(Ordering::Equal) => a.committed >= b.committed,
            None => a.committed && !b.committed,
        }
    }

    /// Vote `a` > vote `b`.
    #[inline]
    pub fn above<O: Order>(&self, order: &O, a: Ballot<O::Leader>, b: Ballot<O::Leader>) -> bool {
        a != b && self.at_least(order, a, b)
    }

    /// Whether a log that ends in `a` is at least as new as one that ends in `b`: by leader, then by index.
    #[inline]
    pub fn log_at_least<O: Order>(
        &self,
        order: &O,
        a: Option<(O::Leader, u64)>,
        b: Option<(O::Leader, u64)>,
    ) -> bool {
        match (a, b) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some((la, ia)), Some((lb, ib))) => {
                order.compare_in_log(la, lb).then(ia.cmp(&ib)).is_ge()
            }
        }
    }

    /// `handle_vote_req`: the lease first, then the log, then the vote; `>=`, so the same vote is granted again.
    /// A candidate with an older log is refused and its higher vote is not adopted.
    #[inline]
    pub fn answer<O: Order>(
        &self,
        order: &O,
        asked: (O::Leader, Option<(O::Leader, u64)>),
        mine: Ballot<O::Leader>,
        my_last: Option<(O::Leader, u64)>,
        leased: bool,
    ) -> Answer {
        let (candidate, candidate_last) = asked;
        let vote = Ballot {
            leader: candidate,
            committed: false,
        };
        if leased && !self.has(Mutant::VoteIgnoresLease) {
            return Answer::RefusedByLease;
        }
        if !self.has(Mutant::NoLogCheck) && !self.log_at_least(order, candidate_last, my_last) {
            return Answer::RefusedByLog;
        }
        let high_enough = if self.has(Mutant::GrantTwice) {
            order.term(candidate) >= order.term(mine.leader)
        } else {
            self.at_least(order, vote, mine)
        };
        if high_enough {
            Answer::Granted {
                saves: vote != mine,
            }
        } else {
            Answer::RefusedByVote
        }
    }

    /// Whether a message of the established leader `from` is accepted by a node whose vote is `mine`.
    #[inline]
    pub fn accepts<O: Order>(&self, order: &O, from: O::Leader, mine: Ballot<O::Leader>) -> bool {
        self.has(Mutant::StaleAppend)
            || self.at_least(
                order,
                Ballot {
                    leader: from,
                    committed: true,
                },
                mine,
            )
    }

    /// Whether a node whose vote is `mine` takes over, and saves, the vote of the established leader `from` whose
    /// message it accepted. `None` is a node that never had a vote.
    #[inline]
    pub fn adopts<O: Order>(
        &self,
        order: &O,
        from: O::Leader,
        mine: Option<Ballot<O::Leader>>,
    ) -> bool {
        let Some(mine) = mine else {
            return !self.has(Mutant::MissingVoteAsDefault);
        };
        let vote = Ballot {
            leader: from,
            committed: true,
        };
        self.above(order, vote, mine)
    }

    /// `ensure_log_consecutive` and `append_entries`: the entries after `prev` up to `end` of a leader's log arrive.
    /// Matching entries are never deleted; the first conflicting one goes, with all that follow it.
    #[inline]
    pub fn receive<L: Copy + Eq>(
        &self,
        mine: &impl Log<L>,
        leaders: &impl Log<L>,
        prev: u64,
        end: u64,
    ) -> Received {
        let length = mine.length();
        let fits = prev == 0
            || mine
                .leader_at(prev)
                .is_some_and(|l| leaders.leader_at(prev) == Some(l));
        if !fits && (!self.has(Mutant::SkipPrevCheck) || length < prev) {
            let keep = if self.has(Mutant::NoPrevTruncate) {
                length
            } else {
                length.min(prev - 1)
            };
            return Received::Conflict { keep };
        }
        let mut keep = prev;
        while keep < end && keep < length && mine.leader_at(keep + 1) == leaders.leader_at(keep + 1)
        {
            keep += 1;
        }
        let mut from = keep;
        if self.has(Mutant::TruncateAlways) {
            (keep, from) = (prev, prev);
        } else if keep == end {
            // Everything is there already: what follows it stays.
            keep = length;
        } else if self.has(Mutant::NoConflictTruncate) {
            (keep, from) = (length, length.min(end));
        }
        let matched = if self.has(Mutant::AckWholeLog) {
            length.max(end)
        } else {
            end
        };
        Received::Fits {
            keep,
            from,
            matched,
        }
    }

    /// How far a follower may commit when its log equals the leader's up to `matched` and the leader announced `announced`.
    #[inline]
    pub fn follower_commit(&self, announced: u64, matched: u64, length: u64) -> u64 {
        announced.min(if self.has(Mutant::CommitBeyondMatch) {
            length
        } else {
            matched
        })
    }

    /// Whether the leader `own` may count copies of an entry proposed by `proposer`: only of its own leadership.
    #[inline]
    pub fn countable<L: Eq>(&self, proposer: L, own: L) -> bool {
        proposer == own || self.has(Mutant::CommitOldTerm)
    }

    /// Whether `members` holds a quorum of every voter set (one, or two while the membership is joint). Bit sets.
    #[inline]
    pub fn quorum(&self, members: u64, voters: (u64, Option<u64>)) -> bool {
        let majority = |set: u64| {
            let needed = if self.has(Mutant::MinorityQuorum) {
                set.count_ones() / 2
            } else {
                set.count_ones() / 2 + 1
            };
            (members & set).count_ones() >= needed
        };
        match voters {
            (old, None) => majority(old),
            (old, Some(new)) if self.has(Mutant::JointAsUnion) => majority(old | new),
            (old, Some(new)) => majority(old) && majority(new),
        }
    }

    /// The index that a linearizable read must wait for: the leader's own first entry or its commit, whichever is later.
    #[inline]
    pub fn read_index(&self, own_first: u64, commit: u64) -> u64 {
        if self.has(Mutant::ReadNoNoop) {
            commit
        } else {
            own_first.max(commit)
        }
    }

    /// Whether a leader that knows `commit` entries committed, and has applied them, may answer a read that waits for
    /// `index`.
    #[inline]
    pub fn readable(&self, commit: u64, index: u64) -> bool {
        commit >= index
    }
}
