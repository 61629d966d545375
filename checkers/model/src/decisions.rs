//! Every rule on its own, on every small case, against what it should say in one line.
//!
//! The search shows that the rules together keep the invariants; it says which invariant fell, and at which step. This
//! says which *rule* decides otherwise than it should, and on what: the first thing to read when a row fails.

use std::cmp::Ordering;

use super::rules::{Answer, Ballot, Log, Order, Received, Rules};

/// Leader ids (term, node), ordered as openraft does by default.
struct TermAndNode;

type Leader = (u64, u64);

impl Order for TermAndNode {
    type Leader = Leader;
    fn compare(&self, a: Leader, b: Leader) -> Option<Ordering> {
        Some(a.cmp(&b))
    }
    fn compare_in_log(&self, a: Leader, b: Leader) -> Ordering {
        a.cmp(&b)
    }
    fn term(&self, a: Leader) -> u64 {
        a.0
    }
}

/// A log as the leaders of its entries.
struct Entries(Vec<Leader>);

impl Log<Leader> for Entries {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }
    fn leader_at(&self, position: u64) -> Option<Leader> {
        let at = usize::try_from(position).ok()?.checked_sub(1)?;
        self.0.get(at).copied()
    }
}

const LEADERS: [Leader; 4] = [(1, 1), (1, 2), (2, 1), (2, 3)];

/// Tries one rule on every case; gives the first that it decides otherwise than it should.
type Check = fn(Rules) -> Option<String>;

/// The rules that decide otherwise than they should, each with the first case, as sentences. Empty when all are right.
#[must_use]
pub fn wrong(rules: Rules) -> Vec<String> {
    let checks: [(&str, Check); 5] = [
        ("who gets a vote (`answer`)", answer),
        ("whose messages are taken (`accepts`, `adopts`)", accepts),
        ("what a slice does to a log (`receive`)", receive),
        ("what is a quorum (`quorum`)", quorum),
        (
            "what is committed and read (`countable`, `follower_commit`, `read_index`, `readable`)",
            commit,
        ),
    ];
    checks
        .into_iter()
        .filter_map(|(rule, check)| Some(format!("the rule {rule} is broken: {}", check(rules)?)))
        .collect()
}

/// A leader id as `term.node`.
fn id((term, node): Leader) -> String {
    format!("{term}.{node}")
}

fn vote(v: Ballot<Leader>) -> String {
    let committed = if v.committed { " (committed)" } else { "" };
    format!("{}{committed}", id(v.leader))
}

/// A last entry, as its leader and index.
fn last(entry: Option<(Leader, u64)>) -> String {
    entry.map_or("no entry".into(), |(l, at)| {
        format!("last entry {}-{at}", id(l))
    })
}

fn ballots() -> impl Iterator<Item = Ballot<Leader>> {
    LEADERS
        .into_iter()
        .flat_map(|leader| [false, true].map(|committed| Ballot { leader, committed }))
}

/// Granted exactly when nothing was promised, the candidate's log is not older, and its vote is not lower.
fn answer(rules: Rules) -> Option<String> {
    let lasts = || {
        LEADERS
            .into_iter()
            .flat_map(|l| [Some((l, 1)), Some((l, 2))])
            .chain([None])
    };
    for (candidate, mine) in LEADERS
        .into_iter()
        .flat_map(|l| ballots().map(move |b| (l, b)))
    {
        for (theirs, my_last) in lasts().flat_map(|t| lasts().map(move |m| (t, m))) {
            for leased in [false, true] {
                let said = rules.answer(&TermAndNode, (candidate, theirs), mine, my_last, leased);
                let granted = matches!(said, Answer::Granted { .. });
                let should = !leased
                    && theirs >= my_last
                    && (candidate, false) >= (mine.leader, mine.committed);
                if granted != should {
                    let verb = if granted { "grants" } else { "refuses" };
                    let promised = if leased {
                        ", having promised not to"
                    } else {
                        ""
                    };
                    return Some(format!(
                        "a node with vote {} and {} {verb} its vote to {} with {}{promised}",
                        vote(mine),
                        last(my_last),
                        id(candidate),
                        last(theirs)
                    ));
                }
            }
        }
    }
    None
}

/// Exactly when the leader's committed vote is not below the node's; saved exactly when it is above.
fn accepts(rules: Rules) -> Option<String> {
    for from in LEADERS {
        for mine in ballots() {
            let theirs = (from, true);
            let own = (mine.leader, mine.committed);
            if rules.accepts(&TermAndNode, from, mine) != (theirs >= own) {
                return Some(format!(
                    "a node with vote {} decides wrongly about leader {}",
                    vote(mine),
                    id(from)
                ));
            }
            if rules.adopts(&TermAndNode, from, Some(mine)) != (theirs > own) {
                return Some(format!(
                    "a node with vote {} saves the wrong vote, led by {}",
                    vote(mine),
                    id(from)
                ));
            }
        }
        if !rules.adopts(&TermAndNode, from, None) {
            return Some(format!(
                "a node without a vote does not save that of its leader {}",
                id(from)
            ));
        }
    }
    None
}

/// The entry before the slice must match, or the log is cut to before it; then what conflicts goes, what matches stays.
fn receive(rules: Rules) -> Option<String> {
    let logs = || {
        let two = LEADERS
            .into_iter()
            .flat_map(|a| LEADERS.map(|b| vec![a, b]));
        LEADERS
            .into_iter()
            .map(|a| vec![a])
            .chain(two)
            .chain([vec![]])
    };
    for (mine, leaders) in logs().flat_map(|m| logs().map(move |l| (m.clone(), l))) {
        let same = mine
            .iter()
            .zip(&leaders)
            .take_while(|(a, b)| a == b)
            .count();
        for (prev, end) in (0..=leaders.len()).flat_map(|e| (0..=e).map(move |p| (p, e))) {
            // Log Matching: an entry that matches is preceded by entries that match.
            let fits = prev == 0 || mine.get(prev - 1) == Some(&leaders[prev - 1]);
            if fits && prev > same {
                continue;
            }
            let (mut want, mut acknowledged) = (mine.clone(), None);
            if !fits {
                want.truncate(prev - 1);
            } else {
                if end > same {
                    want = leaders[..end].to_vec();
                }
                acknowledged = Some(end as u64);
            }
            let (own, theirs) = (Entries(mine.clone()), Entries(leaders.clone()));
            let mut got = mine.clone();
            let said = match rules.receive(&own, &theirs, prev as u64, end as u64) {
                Received::Conflict { keep } => {
                    got.truncate(keep as usize);
                    None
                }
                Received::Fits {
                    keep,
                    from,
                    matched,
                } => {
                    got.truncate(keep as usize);
                    got.extend(leaders.get(from as usize..end).unwrap_or_default());
                    Some(matched)
                }
            };
            if (&got, said) != (&want, acknowledged) {
                return Some(format!(
                    "a log of {mine:?} that gets the entries after {prev} up to {end} of {leaders:?} becomes {got:?} and acknowledges {said:?}; it should be {want:?} and {acknowledged:?}"
                ));
            }
        }
    }
    None
}

/// More than half of every voter set.
fn quorum(rules: Rules) -> Option<String> {
    let sets = [0b001u64, 0b011, 0b111, 0b110, 0b1_1110];
    let pairs = sets.into_iter().flat_map(|old| {
        sets.map(Some)
            .into_iter()
            .chain([None])
            .map(move |new| (old, new))
    });
    for voters in pairs {
        for members in 0..32u64 {
            let majority = |set: u64| 2 * (members & set).count_ones() > set.count_ones();
            let should = majority(voters.0) && voters.1.is_none_or(majority);
            if rules.quorum(members, voters) != should {
                let verb = if should {
                    "is not taken for"
                } else {
                    "is taken for"
                };
                let joint = voters
                    .1
                    .map_or(String::new(), |new| format!(" and {new:05b}"));
                return Some(format!(
                    "{members:05b} {verb} a quorum of {:05b}{joint}",
                    voters.0
                ));
            }
        }
    }
    None
}

/// A leader counts copies of its own entries only; a follower commits what matched; a read waits for the leader's own
/// first entry and for its commit.
fn commit(rules: Rules) -> Option<String> {
    for (a, b) in LEADERS.into_iter().flat_map(|a| LEADERS.map(|b| (a, b))) {
        if rules.countable(a, b) != (a == b) {
            return Some(format!(
                "leader {b:?} decides wrongly about copies of an entry of {a:?}"
            ));
        }
    }
    for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
        if rules.follower_commit(a, b, 4) != a.min(b) {
            return Some(format!(
                "a follower that matches up to {b} is told {a} and commits more or less"
            ));
        }
        if rules.read_index(a, b) != a.max(b) {
            return Some(format!(
                "a leader with its first entry at {a} and commit {b} reads at another index"
            ));
        }
        if rules.readable(a, b) != (a >= b) {
            return Some(format!(
                "a read that waits for {b} is decided wrongly at commit {a}"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Mutant;

    #[test]
    fn true_rules_are_right_and_each_broken_one_is_named() {
        assert_eq!(wrong(Rules::default()), Vec::<String>::new());
        for (mutant, rule) in [
            (Mutant::NoLogCheck, "who gets a vote"),
            (Mutant::GrantTwice, "who gets a vote"),
            (Mutant::VoteIgnoresLease, "who gets a vote"),
            (Mutant::StaleAppend, "whose messages are taken"),
            (Mutant::MissingVoteAsDefault, "whose messages are taken"),
            (Mutant::SkipPrevCheck, "what a slice does"),
            (Mutant::TruncateAlways, "what a slice does"),
            (Mutant::NoConflictTruncate, "what a slice does"),
            (Mutant::AckWholeLog, "what a slice does"),
            (Mutant::NoPrevTruncate, "what a slice does"),
            (Mutant::MinorityQuorum, "what is a quorum"),
            (Mutant::JointAsUnion, "what is a quorum"),
            (Mutant::CommitOldTerm, "what is committed"),
            (Mutant::CommitBeyondMatch, "what is committed"),
            (Mutant::ReadNoNoop, "what is committed and read"),
        ] {
            let broken = Some(mutant);
            let said = wrong(Rules { broken });
            assert!(
                said.len() == 1 && said[0].contains(rule),
                "{mutant:?}: {said:?}"
            );
        }
    }
}
