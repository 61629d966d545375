//! What no trace shows and must be inferred: acknowledgements, commits, and the voters in force.

use super::{
    Awaited, Entries, Ever, Led, Log, LogId, Missing, Node, Replay, Said, Sets, TraceOrder, Vote,
    Yet, ballot, bits, id,
};

impl Replay {
    /// What a follower or leader may have acknowledged by now: what is on its disk, in the log or in a snapshot, and
    /// equal to the leader's log.
    pub(super) fn acknowledge(&mut self, node: &mut Node) {
        let Some(vote) = node
            .disk_vote
            .filter(|v| v.committed && node.vote == Some(*v))
        else {
            return;
        };
        let Some(said) = self.said.get_mut(&(vote.term, vote.node)) else {
            return;
        };
        node.matched = node.matched.min(node.disk.length().max(node.covered));
        loop {
            let next = node.matched + 1;
            let held = match next <= node.covered {
                true => self.committed.at(next),
                false => node.disk.at(next),
            };
            if held.is_none() || held != said.log.at(next) {
                break;
            }
            node.matched = next;
        }
        if node.matched > 0 {
            let ack = said.acks.entry(node.id).or_insert(0);
            *ack = node.matched.max(*ack);
        }
    }

    /// Entries that were taken from a leader, and reach the disk when the node has moved on to a higher vote: the
    /// answer that waited for the disk still goes out. Whoever was granted that vote had these entries, since the
    /// granting log held them already.
    pub(super) fn acknowledge_late(&mut self, node: &Node, under: Vote, upto: u64) {
        let saved = ballot(node.disk_vote);
        if node.vote == Some(under) || !self.rules.at_least(&TraceOrder, saved, ballot(Some(under)))
        {
            return;
        }
        let Some(said) = self.said.get_mut(&(under.term, under.node)) else {
            return;
        };
        let same = |p: &u64| node.disk.at(*p).is_some() && node.disk.at(*p) == said.log.at(*p);
        let matched = (1..=upto).take_while(same).count() as u64;
        if matched > 0 {
            let ack = said.acks.entry(node.id).or_insert(0);
            *ack = matched.max(*ack);
        }
    }

    /// Extends the committed log by what some leader may have committed: an entry of its own on a quorum.
    pub(super) fn advance(&mut self) -> Result<(), Missing> {
        let known = self.committed.length();
        // The newest leader first: what it commits includes what those before it did.
        let found = self
            .said
            .iter()
            .rev()
            .filter(|(_, s)| s.led)
            .find_map(|(&leader, said)| {
                let mut acks: Vec<u64> =
                    said.acks.values().copied().filter(|&a| a > known).collect();
                acks.sort_unstable_by(|a, b| b.cmp(a));
                let upto = acks.into_iter().find(|&upto| {
                    let own = said
                        .log
                        .leader_at(upto)
                        .is_some_and(|l| self.rules.countable(l, leader));
                    own && self.on_quorum(said, upto)
                })?;
                Some((leader, upto))
            });
        let Some((leader, upto)) = found else {
            return Ok(());
        };
        let log = &self.said[&leader].log;
        if known > 0 && log.at(known) != self.committed.at(known) {
            let entry = self.committed.all[known as usize - 1].id;
            let why = format!(
                "n{} leads term {} without {}, which was committed",
                leader.1,
                leader.0,
                id(entry)
            );
            return Err(Led(leader, why));
        }
        let new = log.all[known as usize..upto as usize].to_vec();
        for (&later, said) in self.said.range(leader..).skip(1).filter(|(_, s)| s.led) {
            if let Some(entry) = new.iter().find(|e| said.log.at(e.id.index + 1) != Some(e)) {
                let why = format!(
                    "n{} led term {} without {}, which n{} committed in term {}",
                    later.1,
                    later.0,
                    id(entry.id),
                    leader.1,
                    leader.0
                );
                return Err(Led(later, why));
            }
        }
        self.committers.resize(upto as usize, leader);
        self.committed.extend(&new, &self.voters);
        Ok(())
    }

    /// Whether a quorum acknowledged `upto`, by any membership that was in force since that entry.
    pub(super) fn on_quorum(&self, said: &Said, upto: u64) -> bool {
        let holders = said
            .acks
            .iter()
            .filter(|&(_, &a)| a >= upto)
            .fold(0, |set, (&n, _)| set | 1 << n);
        let since = said.log.members.iter().rposition(|&p| p <= upto);
        let mut sets = said.log.members[since.unwrap_or(0)..]
            .iter()
            .map(|&p| self.voters[&said.log.all[p as usize - 1].id]);
        match since.is_none() {
            true => self
                .first_voters
                .is_some_and(|s| self.rules.quorum(holders, s)),
            false => sets.any(|s| self.rules.quorum(holders, s)),
        }
    }

    /// The voters in force for a log: those of its last membership entry.
    pub(super) fn in_force(&self, log: &Entries) -> Option<Sets> {
        match log.members.last() {
            Some(&position) => self.voters.get(&log.at(position)?.id).copied(),
            None => self.first_voters,
        }
    }

    pub(super) fn know_voters(&mut self, entry: LogId, sets: &[Vec<u64>]) -> Result<(), Missing> {
        let sets = match sets {
            [one] => (bits(one), None),
            [old, new] => (bits(old), Some(bits(new))),
            _ => {
                return Err(Ever(format!(
                    "{} voter sets: a membership has one or two",
                    sets.len()
                )));
            }
        };
        match self.voters.insert(entry, sets) {
            Some(known) if known != sets => Err(Ever(format!(
                "membership {} has other voters elsewhere",
                id(entry)
            ))),
            _ => Ok(()),
        }
    }

    /// Whether an id, if any, is the committed one at its index.
    pub(super) fn same_as_committed(
        &mut self,
        what: Option<LogId>,
        name: &str,
    ) -> Result<(), Missing> {
        let Some(what) = what else { return Ok(()) };
        if what.index >= self.committed.length() {
            self.advance()?;
        }
        match self.committed.at(what.index + 1) {
            None => {
                let why = format!(
                    "{name} ends in {}, which is not known to be committed",
                    id(what)
                );
                Err(Yet(Awaited::Commit(what), why))
            }
            Some(e) if e.id != what => Err(Ever(format!(
                "{name} ends in {}, and {} is committed there",
                id(what),
                id(e.id)
            ))),
            Some(_) => Ok(()),
        }
    }

    /// Makes a log hold the committed entries up to `last`; what agrees with it beyond stays.
    pub(super) fn cover(&self, log: &mut Entries, last: LogId) {
        let position = last.index + 1;
        if log.at(position).is_none_or(|e| e.id != last) {
            *log = self.committed.clone();
            log.truncate(position);
        }
    }

    pub(super) fn cover_log(&self, node: &mut Node, last: LogId) {
        let mut log = std::mem::take(&mut node.log);
        self.cover(&mut log, last);
        node.log = log;
    }
}
