//! Votes: a campaign, a grant or something learned, a new leadership, or a leader met.

use super::{
    Answer, Awaited, Ballot, Effect, Ever, Leader, Line, Log, Missing, Node, Replay, TraceOrder,
    Yet, ballot, id, show,
};

impl Replay {
    /// `save_vote`: a campaign, a grant or something learned, a new leadership, or a leader met.
    pub(super) fn vote(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let vote = line.vote.expect("the reader checked it");
        let leader = (vote.term, vote.node);
        let mine = ballot(node.vote);
        let new = Ballot {
            leader,
            committed: vote.committed,
        };
        if !self.rules.above(&TraceOrder, new, mine) {
            return Err(Ever(format!(
                "its vote goes back from {} to {}",
                show(node.vote),
                show(Some(vote))
            )));
        }
        let mut grants = false;
        match (vote.node == node.id, vote.committed) {
            (true, false) => {
                if vote.term != mine.leader.0 + 1 {
                    return Err(Ever(format!(
                        "it campaigns in term {} after term {}",
                        vote.term, mine.leader.0
                    )));
                }
                grants = true;
                self.said.entry(leader).or_default().campaign = Some(line.clone());
            }
            (false, false) => {
                let said = self.said.get(&leader);
                if !said.is_some_and(|s| s.asked.is_some() || s.told) {
                    let why = format!("n{} never asked for votes in term {}", vote.node, vote.term);
                    return Err(Yet(Awaited::Campaign(leader), why));
                }
                // Otherwise it learned of the vote from an answer; that is no grant.
                grants = self.would_grant(node, leader);
            }
            (true, true) => {
                if mine.leader != leader {
                    return Err(Ever(format!(
                        "it leads term {} without a campaign in it",
                        vote.term
                    )));
                }
                self.lead(node, leader)?;
            }
            (false, true) => {
                if !self.said.get(&leader).is_some_and(|s| s.led) {
                    let why = format!("n{} never led term {}", vote.node, vote.term);
                    return Err(Yet(Awaited::Leadership(leader), why));
                }
            }
        }
        node.vote = Some(vote);
        node.matched = 0;
        let last = node.log.last();
        let effect = Effect::Vote { vote, grants, last };
        node.pending.insert(line.seq, effect);
        Ok(())
    }

    /// Whether the node, as it is now, grants the vote that the candidate asked for. Not where nobody was asked.
    fn would_grant(&self, node: &Node, candidate: Leader) -> bool {
        let Some(asked) = self.said.get(&candidate).and_then(|s| s.asked) else {
            return false;
        };
        let (mine, last) = (ballot(node.vote), node.log.last());
        let answer = self
            .rules
            .answer(&TraceOrder, (candidate, asked), mine, last, false);
        matches!(answer, Answer::Granted { .. })
    }

    /// What the vote that a start shows lets this life tell. Its own: whoever it refuses hears of it. Another's: the
    /// request for it may come again, or only now, and an equal vote is granted without a line. The log may be shorter
    /// than it was when the vote was saved, so what was learned of then may be granted now.
    pub(super) fn stand_by(&mut self, node: &Node) {
        let Some(vote) = node.vote.filter(|v| !v.committed) else {
            return;
        };
        let leader = (vote.term, vote.node);
        if vote.node == node.id {
            self.said.entry(leader).or_default().told = true;
        } else if self.would_grant(node, leader) {
            self.said.entry(leader).or_default().granted |= 1 << node.id;
        }
    }

    /// The node becomes the leader under `leader`: a quorum must have granted its vote.
    fn lead(&mut self, node: &Node, leader: Leader) -> Result<(), Missing> {
        let sets = self
            .in_force(&node.log)
            .ok_or_else(|| Ever("it knows of no voters".into()))?;
        let said = self.said.entry(leader).or_default();
        if said.led {
            return Err(Ever(format!("it leads term {} a second time", leader.0)));
        }
        if !self.rules.quorum(said.granted, sets) {
            let n = said.granted.count_ones();
            let grants = if n == 1 {
                "1 grant is".into()
            } else {
                format!("{n} grants are")
            };
            let why = format!("{grants} no quorum");
            return Err(Yet(Awaited::Grants(leader, sets), why));
        }
        for (entry, &by) in self.committed.all.iter().zip(&self.committers) {
            if by < leader && node.log.at(entry.id.index + 1) != Some(entry) {
                return Err(Ever(format!(
                    "it leads term {} without {}, which n{} committed in term {}",
                    leader.0,
                    id(entry.id),
                    by.1,
                    by.0
                )));
            }
        }
        said.led = true;
        said.log = node.log.clone();
        Ok(())
    }
}
