//! Logs and state machines: what is appended, cut, applied, purged and installed.

use super::{
    Awaited, Effect, Entry, Ever, Kind, Line, Log, Missing, Node, Received, Replay, Yet, id, index,
    leader_of, position,
};

impl Replay {
    /// `append`: an initialization, a leader's own entries, or a slice of the log of the leader that it follows.
    pub(super) fn append(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let entries = &line.entries;
        for (index, sets) in &line.members {
            if let Some(entry) = entries.iter().find(|e| e.id.index == *index) {
                self.know_voters(entry.id, sets)?;
            }
        }
        let length = node.log.length();
        for (at, entry) in entries.iter().enumerate() {
            if entry.id.index != length + at as u64 {
                let want = length + at as u64;
                return Err(Ever(format!(
                    "entry {} leaves a gap: index {want} comes next",
                    id(entry.id)
                )));
            }
        }
        let first = entries[0].id;
        // The entry that initializes one node reaches the others like any other, from a leader that they follow.
        let follows = node.vote.is_some_and(|v| v.committed && v.node != node.id);
        if first.term == 0 && !follows {
            if length != 0 || entries.len() != 1 || node.vote.is_some() {
                return Err(Ever(
                    "only an empty node is initialized, with one entry".into(),
                ));
            }
            if first.node != node.id {
                return Err(Ever(format!(
                    "the first membership is n{}'s, and no leader sent it",
                    first.node
                )));
            }
        } else {
            let own = entries.iter().all(|e| {
                node.vote
                    .is_some_and(|v| v.node == node.id && leader_of(e.id) == (v.term, v.node))
            });
            if own {
                self.offer(node, entries)?;
            } else {
                self.receive(node, entries)?;
            }
        }
        node.log.extend(entries, &self.voters);
        node.pending.insert(
            line.seq,
            Effect::Append {
                keep: length,
                entries: entries.clone(),
                under: node.vote.filter(|v| v.committed),
            },
        );
        Ok(())
    }

    /// A leader's own entries. They may reach others before they are on its disk.
    ///
    /// The committed vote comes first: openraft's `establish_leader` saves it, and appends the leader's blank entry
    /// only after that (`SaveVote`, then `AppendEntries`, carried out one after the other).
    fn offer(&mut self, node: &Node, entries: &[Entry]) -> Result<(), Missing> {
        let leader = leader_of(entries[0].id);
        let leads = node.vote.is_some_and(|v| v.committed);
        let Some(said) = self.said.get_mut(&leader).filter(|s| s.led && leads) else {
            return Err(Ever(format!(
                "it offers {} before it has saved that it leads term {}",
                id(entries[0].id),
                leader.0
            )));
        };
        if said.log.length() != node.log.length() {
            return Err(Ever(format!(
                "it offered {} entries in term {} and goes on after {}",
                said.log.length(),
                leader.0,
                node.log.length()
            )));
        }
        said.log.extend(entries, &self.voters);
        Ok(())
    }

    /// A slice of the log of the leader that it follows.
    pub(super) fn receive(&self, node: &Node, entries: &[Entry]) -> Result<(), Missing> {
        let vote = node.vote.filter(|v| v.committed && v.node != node.id);
        let Some(vote) = vote else {
            return Err(Ever(format!(
                "it follows no leader that could have sent {}",
                id(entries[0].id)
            )));
        };
        let leader = (vote.term, vote.node);
        let said = self.said.get(&leader).ok_or_else(|| {
            let why = format!("n{} never led", vote.node);
            Yet(Awaited::Leadership(leader), why)
        })?;
        let prev = node.log.length();
        let end = prev + entries.len() as u64;
        for (at, entry) in entries.iter().enumerate() {
            let position = prev + 1 + at as u64;
            match said.log.at(position) {
                None => {
                    let why = format!(
                        "n{} never had entry {} in term {}",
                        vote.node,
                        id(entry.id),
                        vote.term
                    );
                    return Err(Yet(Awaited::Offer(leader, position), why));
                }
                Some(theirs) if theirs != entry => {
                    return Err(Ever(format!(
                        "n{} had {} (payload {}) there in term {}, not {} (payload {})",
                        vote.node,
                        id(theirs.id),
                        theirs.payload,
                        vote.term,
                        id(entry.id),
                        entry.payload
                    )));
                }
                Some(_) => {}
            }
        }
        match self.rules.receive(&node.log, &said.log, prev, end) {
            Received::Fits { keep, .. } if keep == prev => Ok(()),
            _ => Err(Ever(format!(
                "the entry before {} is not the leader's",
                id(entries[0].id)
            ))),
        }
    }

    /// `truncate_after`: only at a conflict with the leader that it follows.
    pub(super) fn truncate(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let keep = position(line.after);
        if let Some(after) = line.after
            && node.log.at(keep).is_none_or(|e| e.id != after)
        {
            return Err(Ever(format!("it has no entry {} to cut after", id(after))));
        }
        if keep < node.applied {
            return Err(Ever(format!(
                "it applied up to {}, and cuts that away",
                index(node.applied)
            )));
        }
        let vote = node.vote.filter(|v| v.committed && v.node != node.id);
        let Some(vote) = vote else {
            return Err(Ever("it follows no leader to conflict with".into()));
        };
        let leader = (vote.term, vote.node);
        let said = self.said.get(&leader).ok_or_else(|| {
            let why = format!("n{} never led", vote.node);
            Yet(Awaited::Leadership(leader), why)
        })?;
        let differs = |position: u64| match (node.log.at(position), said.log.at(position)) {
            (Some(mine), Some(theirs)) => mine != theirs,
            _ => false,
        };
        let length = node.log.length();
        // Of what the node cuts, and how far the leader's log must be known to tell.
        let cut = match for_a_snapshot(node) {
            true => keep + 1..=length,
            false => keep + 1..=keep + 1,
        };
        let reach = *cut.end();
        if !cut.into_iter().any(differs) {
            let why = format!(
                "entry {} does not conflict with n{}'s log in term {}",
                index(keep + 1),
                vote.node,
                vote.term
            );
            return Err(match said.log.length() < reach {
                true => Yet(Awaited::Offer(leader, reach), why),
                false => Ever(why),
            });
        }
        node.log.truncate(keep);
        node.matched = node.matched.min(keep);
        node.pending.insert(line.seq, Effect::Truncate { keep });
        Ok(())
    }

    /// The state machine applies: each entry committed, in order, the one that is in the log.
    pub(super) fn apply(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let mut applied = node.applied;
        for entry in &line.entries {
            if entry.id.index != applied {
                return Err(Ever(format!(
                    "it applies {} after {}",
                    id(entry.id),
                    index(applied)
                )));
            }
            applied += 1;
            match node.log.at(applied) {
                Some(mine) if mine == entry => {}
                Some(mine) if mine.id == entry.id => {
                    return Err(Ever(format!(
                        "it applies another payload than its log has at {}",
                        id(entry.id)
                    )));
                }
                Some(mine) => {
                    return Err(Ever(format!(
                        "it applies {}, and its log has {}",
                        id(entry.id),
                        id(mine.id)
                    )));
                }
                None => {
                    return Err(Ever(format!(
                        "it applies {}, which is not in its log",
                        id(entry.id)
                    )));
                }
            }
        }
        if applied > self.committed.length() {
            self.advance()?;
        }
        for entry in &line.entries {
            match self.committed.at(entry.id.index + 1) {
                None => {
                    let why = format!(
                        "entry {} is not known to be on a quorum under its leader",
                        id(entry.id)
                    );
                    return Err(Yet(Awaited::Commit(entry.id), why));
                }
                Some(theirs) if theirs != entry => {
                    return Err(Ever(format!(
                        "{} is committed there, and it applies {}",
                        id(theirs.id),
                        id(entry.id)
                    )));
                }
                Some(_) => {}
            }
        }
        node.applied = applied;
        node.ever_applied = node.ever_applied.max(applied);
        node.pending.insert(line.seq, Effect::Apply);
        Ok(())
    }

    pub(super) fn purge(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let upto = line.upto.expect("the reader checked it");
        self.same_as_committed(Some(upto), "what is purged")?;
        if upto.index >= node.snapshots.max(node.applied) {
            return Err(Ever(format!(
                "nothing it holds covers the log up to {}",
                id(upto)
            )));
        }
        self.cover_log(node, upto);
        node.pending.insert(line.seq, Effect::Purge { upto });
        Ok(())
    }

    pub(super) fn install(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let last = line.last.expect("the reader checked it");
        self.same_as_committed(Some(last), "the snapshot")?;
        for (at, sets) in &line.members {
            if let Some(entry) = self.committed.at(at + 1).copied() {
                self.know_voters(entry.id, sets)?;
            }
        }
        self.cover_log(node, last);
        let position = last.index + 1;
        node.applied = node.applied.max(position);
        node.ever_applied = node.ever_applied.max(position);
        node.snapshots = node.snapshots.max(position);
        let effect = Effect::Snapshot { upto: position };
        node.pending.insert(line.seq, effect);
        Ok(())
    }
}

/// Whether the cut that the node begins may be for a snapshot that conflicts with its log: openraft then cuts everything
/// that is not committed. The installation is what it does to its storage next, if it is not killed before; its state
/// machine may go on meanwhile.
fn for_a_snapshot(node: &Node) -> bool {
    let meanwhile = |kind: Kind| matches!(kind, Kind::Done | Kind::Apply | Kind::Snapshot);
    let next = node.lines.iter().map(|l| l.e).find(|&e| !meanwhile(e));
    matches!(
        next,
        None | Some(Kind::Install | Kind::Start | Kind::Replaced)
    )
}
