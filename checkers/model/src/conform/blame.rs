//! Who is to blame where the replay is stuck: the root, not the first that waits for it.
//!
//! A stuck node waits for a fact. Another stuck node *could* supply it when one of its lines to come would, were they
//! explained. So there is a graph of who waits for whom, and a node is a root when whoever it waits for, directly or
//! through others, waits for it in turn: alone, or as part of a circle.
//!
//! ```text
//!   n1 ── never led ──► n4 ── 1 grant is no quorum        n4 is the root: no line of n1's is a grant
//! ```
//!
//! Each root, or one node at least of each circle, did what the rules forbid. For suppose that all of a circle kept to
//! the rules. Their stuck events happened at some times; take the earliest. What it needed had been supplied by then:
//! not by an event that is explained, or it would not be stuck; so by one to come of a stuck node that it waits for,
//! which is in the circle, and whose event to come is later than that node's stuck event, which is later than the
//! earliest. The argument holds as long as no supplier is missed; one too many only makes a circle of two roots.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{
    Awaited, Effect, Kind, Leader, Line, Log, LogId, Missing, Node, Rejected, Replay, Unexplained,
    Vote, ballot, text,
};

impl Replay {
    /// The roots of the stuck nodes, given by their places in `nodes`. At least one is stuck.
    pub(super) fn blame(&self, nodes: &[Node], stuck: &BTreeMap<usize, Missing>) -> Rejected {
        let waits = waits(nodes, stuck);
        let waits_for = |a: usize, b: usize| waits[a] >> b & 1 == 1;
        let mut roots: Vec<usize> = stuck
            .keys()
            .copied()
            .filter(|&a| stuck.keys().all(|&b| !waits_for(a, b) || waits_for(b, a)))
            .collect();
        // What nothing can explain comes first; then what most wait for; in a circle, whoever leads it.
        roots.sort_by_key(|&a| {
            let waiting = stuck.keys().filter(|&&b| waits_for(b, a)).count();
            let leads = nodes[a]
                .vote
                .is_some_and(|v| v.committed && v.node == nodes[a].id);
            let open = matches!(stuck[&a], Missing::Yet(..));
            (open, Reverse(waiting), !leads, nodes[a].id)
        });
        let mut also: Vec<Unexplained> = Vec::new();
        for a in roots {
            let circle: Vec<u64> = stuck
                .keys()
                .filter(|&&b| b != a && waits_for(a, b))
                .map(|&b| nodes[b].id)
                .collect();
            let unexplained = self.unexplained(&nodes[a], &stuck[&a], &circle);
            if !also.contains(&unexplained) {
                also.push(unexplained);
            }
        }
        let Unexplained {
            node,
            event,
            missing,
        } = also.remove(0);
        let before = nodes.iter().filter(|n| n.id == node);
        Rejected {
            node,
            event,
            before: before.flat_map(|n| n.before.iter().map(text)).collect(),
            missing,
            explained: self.explained,
            also,
        }
    }

    /// What is wrong with a root, and whose fault that is.
    fn unexplained(&self, node: &Node, missing: &Missing, circle: &[u64]) -> Unexplained {
        let event = || node.lines.front().map(text).unwrap_or_default();
        match missing {
            Missing::Led(leader, why) => Unexplained {
                node: leader.1,
                event: format!("n{} leads term {}", leader.1, leader.0),
                missing: why.clone(),
            },
            Missing::Yet(Awaited::Campaign(candidate), _) if self.lost(*candidate).is_some() => {
                let lost = self.lost(*candidate).map(text).unwrap_or_default();
                let why = format!(
                    "n{} has heard of this vote, which was never on the disk of n{}: it told of it too early",
                    node.id, candidate.1
                );
                Unexplained {
                    node: candidate.1,
                    event: lost,
                    missing: why,
                }
            }
            Missing::Ever(why) => Unexplained {
                node: node.id,
                event: event(),
                missing: why.clone(),
            },
            Missing::Yet(_, why) => Unexplained {
                node: node.id,
                event: event(),
                missing: in_turn(why, circle),
            },
        }
    }

    /// The line of a campaign whose vote began, and is not known ever to have been on the candidate's disk.
    fn lost(&self, candidate: Leader) -> Option<&Line> {
        let said = self.said.get(&candidate)?;
        let unknown = said.asked.is_none() && !said.told;
        said.campaign.as_ref().filter(|_| unknown)
    }
}

/// The reason, and the nodes that could supply what is missing, but wait for this one.
fn in_turn(why: &str, circle: &[u64]) -> String {
    let names: Vec<String> = circle.iter().map(|n| format!("n{n}")).collect();
    let wait = match circle.len() {
        0 => return why.to_owned(),
        1 => "waits",
        _ => "wait",
    };
    let names = names.join(" and ");
    format!(
        "{why}; {names}, which could supply it, {wait} for this in turn, so one of them is wrong"
    )
}

/// Whom each node waits for, directly or through others, as bits.
fn waits(nodes: &[Node], stuck: &BTreeMap<usize, Missing>) -> Vec<u64> {
    let mut waits = vec![0u64; nodes.len()];
    for (&a, missing) in stuck {
        let Missing::Yet(awaited, _) = missing else {
            continue;
        };
        for &b in stuck.keys().filter(|&&b| b != a) {
            if supplies(&nodes[b], &nodes[a], *awaited) {
                waits[a] |= 1 << b;
            }
        }
    }
    for through in 0..nodes.len() {
        for a in 0..nodes.len() {
            if waits[a] >> through & 1 == 1 {
                waits[a] |= waits[through];
            }
        }
    }
    waits
}

/// Whether what `node` has yet to do could supply what `waiting` waits for.
fn supplies(node: &Node, waiting: &Node, awaited: Awaited) -> bool {
    let saves = |leader: Leader, committed: bool| {
        let vote = Vote {
            term: leader.0,
            node: leader.1,
            committed,
        };
        let begun = |e: &Effect| matches!(e, Effect::Vote { vote: v, .. } if *v == vote);
        node.pending.values().any(begun) || node.lines.iter().any(|l| l.vote == Some(vote))
    };
    match awaited {
        Awaited::Campaign(leader) => node.id == leader.1 && saves(leader, false),
        Awaited::Leadership(leader) => node.id == leader.1 && saves(leader, true),
        Awaited::Grants(leader, (voters, joint)) => {
            (voters | joint.unwrap_or(0)) >> node.id & 1 == 1 && saves(leader, false)
        }
        Awaited::Offer(leader, position) => {
            let reaches = |l: &Line| l.entries.last().is_some_and(|e| e.id.index + 1 >= position);
            node.id == leader.1
                && (saves(leader, true)
                    || node.lines.iter().any(|l| l.e == Kind::Append && reaches(l)))
        }
        Awaited::Commit(entry) => {
            told_of_commit(node, waiting) || acknowledges(node, waiting, entry)
        }
    }
}

/// Whether `waiting` follows `node`: it acts on a commit of which its leader told it.
fn told_of_commit(node: &Node, waiting: &Node) -> bool {
    waiting
        .vote
        .is_some_and(|v| v.committed && v.node == node.id && waiting.id != node.id)
}

/// Whether `node` has yet to do what may acknowledge that entry to a leader that `waiting` may have heard from: none
/// is above the vote of the latter.
fn acknowledges(node: &Node, waiting: &Node, entry: LogId) -> bool {
    let most = ballot(waiting.vote).leader;
    let heard = |v: Option<Vote>| ballot(v).leader <= most;
    // What it took before it knew of a higher vote is acknowledged as it reaches the disk, late or not.
    let flushes = |e: &Effect| matches!(e, Effect::Append { entries, .. } if entries.last().is_some_and(|l| l.id.index >= entry.index));
    if node.pending.values().any(flushes) {
        return true;
    }
    let saving = node.pending.values();
    let saving = saving.filter(|e| matches!(e, Effect::Vote { .. })).count() > 0;
    let holds = node.log.length() > entry.index;
    let mut vote = node.vote;
    node.lines.iter().any(|l| {
        if matches!(l.e, Kind::Vote | Kind::Start) {
            vote = l.vote;
        }
        heard(vote)
            && match l.e {
                Kind::Append => l.entries.last().is_some_and(|e| e.id.index >= entry.index),
                Kind::Install => l.last.is_some_and(|last| last.index >= entry.index),
                Kind::Vote | Kind::Start => holds,
                Kind::Done => holds && saving,
                _ => false,
            }
    })
}
