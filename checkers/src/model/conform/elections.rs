//! Votes: a campaign, a grant or something learned, a new leadership, or a leader met.

use super::{
    Answer, Ballot, Effect, Ever, Leader, Line, Log, Missing, Node, Replay, TraceOrder, Yet,
    ballot, id, show,
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
            }
            (false, false) => {
                let Some(asked) = self.said.get(&leader).and_then(|s| s.asked) else {
                    return Err(Yet(format!(
                        "n{} never asked for votes in term {}",
                        vote.node, vote.term
                    )));
                };
                let answer =
                    self.rules
                        .answer(&TraceOrder, (leader, asked), mine, node.log.last(), false);
                // Otherwise it learned of the vote from an answer; that is no grant.
                grants = matches!(answer, Answer::Granted { .. });
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
                    return Err(Yet(format!("n{} never led term {}", vote.node, vote.term)));
                }
            }
        }
        node.vote = Some(vote);
        node.matched = 0;
        node.pending.insert(line.seq, Effect::Vote { vote, grants });
        Ok(())
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
            return Err(Yet(format!("{grants} no quorum")));
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
