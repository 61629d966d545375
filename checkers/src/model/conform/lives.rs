//! A life of a node: what its store must hold as it opens, and what has become durable.

use super::{
    Effect, Entries, Ever, Line, Log, LogId, Missing, Node, Replay, id, index, position, show,
};

impl Replay {
    /// The store opens: it must hold what its effects left there.
    pub(super) fn start(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let pending = std::mem::take(&mut node.pending);
        let mut vote_ok = line.vote == node.disk_vote;
        let mut purged_ok = line.purged == node.purged;
        let purged = position(line.purged);
        let mut log = node.disk.clone();
        let mut log_ok = holds(line, purged, &log);
        for effect in pending.values() {
            // Each effect that was not done may have happened, and all before it then have.
            match effect {
                Effect::Vote { vote, .. } => vote_ok |= line.vote == Some(*vote),
                Effect::Purge { upto } => {
                    purged_ok |= line.purged == Some(*upto);
                    self.cover(&mut log, *upto);
                }
                Effect::Append { keep, entries } if !log_ok => {
                    log.truncate(*keep);
                    for entry in entries {
                        if log_ok {
                            break;
                        }
                        log.extend(std::slice::from_ref(entry), &self.voters);
                        log_ok = holds(line, purged, &log);
                    }
                }
                Effect::Truncate { keep } if !log_ok => log.truncate(*keep),
                Effect::Install { last } if !log_ok => self.cover(&mut log, *last),
                _ => {}
            }
            log_ok = log_ok || holds(line, purged, &log);
        }
        let fail = |why: String| {
            Err(Ever(if node.started {
                why
            } else {
                format!("{why} (this is the node's first start)")
            }))
        };
        if !vote_ok {
            return fail(format!(
                "its vote was saved as {}, and now it is {}",
                show(node.disk_vote),
                show(line.vote)
            ));
        }
        if !purged_ok {
            return fail("what is purged is not what was".into());
        }
        if !log_ok {
            let there = line
                .log
                .last()
                .map_or("empty".into(), |r| format!("up to {}.{}-{}", r.0, r.1, r.3));
            let was = node
                .disk
                .all
                .last()
                .map_or("empty".into(), |e| format!("up to {}", id(e.id)));
            return fail(format!(
                "its log was {was} on disk, and now it is {there}: entries are lost or changed"
            ));
        }
        let applied = position(line.applied);
        if applied > node.ever_applied {
            return fail(format!(
                "its state machine was never about to apply {}",
                index(applied)
            ));
        }
        self.same_as_committed(line.applied, "the state machine")?;
        let snapshot = position(line.snapshot);
        if snapshot > node.snapshots {
            return fail(format!("it never had a snapshot up to {}", index(snapshot)));
        }
        self.same_as_committed(line.snapshot, "the snapshot")?;
        if purged > snapshot.max(applied) {
            return fail(format!(
                "its log is purged up to {}, and nothing it holds covers that",
                index(purged)
            ));
        }
        node.vote = line.vote;
        node.disk_vote = line.vote;
        node.purged = line.purged;
        node.disk = log.clone();
        node.log = log;
        node.applied = applied.max(snapshot);
        node.matched = 0;
        node.started = true;
        self.starts += 1;
        Ok(())
    }

    /// A member has left and its store was emptied: whoever starts next under its id is a new one, and owes nobody
    /// anything. That is sound only where no quorum counts on what is gone, so the membership that it left by must be
    /// committed, simple, and without its vote; and by what the node itself had of the committed log, nothing later may
    /// have given the vote back. Everything up to that membership is committed by then, and what comes after does not
    /// count the old life: its acknowledgements go without loss. Its grants stay, for a candidate may have heard them.
    pub(super) fn replaced(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let left = line.last.expect("the reader checked it");
        self.same_as_committed(Some(left), "the log up to its departure")?;
        let Some(&(voters, joint)) = self.voters.get(&left) else {
            return Err(Ever(format!("{} is no membership to leave by", id(left))));
        };
        let votes = |(voters, joint): (u64, Option<u64>)| {
            (voters | joint.unwrap_or_default()) & (1 << node.id) != 0
        };
        if joint.is_some() {
            return Err(Ever(format!(
                "membership {} is joint: its old voters still count",
                id(left)
            )));
        }
        if votes((voters, joint)) {
            return Err(Ever(format!(
                "its store was emptied while it had a vote, by membership {}",
                id(left)
            )));
        }
        let later = node.log.members.iter().filter(|&&p| p > left.index + 1);
        for &position in later {
            let Some(entry) = node.log.at(position) else {
                continue;
            };
            let committed = self.committed.at(position) == Some(entry);
            if committed && self.voters.get(&entry.id).copied().is_some_and(votes) {
                return Err(Ever(format!(
                    "its store was emptied after membership {} gave the vote back",
                    id(entry.id)
                )));
            }
        }
        for said in self.said.values_mut() {
            said.acks.remove(&node.id);
        }
        *node = Node {
            id: node.id,
            lines: std::mem::take(&mut node.lines),
            before: std::mem::take(&mut node.before),
            started: true,
            ..Node::default()
        };
        Ok(())
    }

    /// An effect is durable.
    pub(super) fn done(&mut self, node: &mut Node, effect: Effect) {
        match effect {
            Effect::Vote { vote, grants } => {
                let leader = (vote.term, vote.node);
                if vote.node == node.id && !vote.committed {
                    self.said.entry(leader).or_default().asked = Some(node.log.last());
                }
                if grants {
                    self.said.entry(leader).or_default().granted |= 1 << node.id;
                }
                node.disk_vote = Some(vote);
            }
            Effect::Append { keep, entries } => {
                // Later effects may have begun; the disk is as of this one.
                let end = keep + entries.len() as u64;
                if node.disk.at(end).is_none_or(|e| Some(e) != entries.last()) {
                    if node.disk.length() < keep {
                        // A store may report a later append first; what precedes it is then there too.
                        node.disk = node.log.clone();
                    }
                    node.disk.truncate(keep);
                    node.disk.extend(&entries, &self.voters);
                }
            }
            Effect::Truncate { keep } => node.disk.truncate(keep),
            Effect::Purge { upto } => {
                node.purged = Some(upto);
                let mut disk = std::mem::take(&mut node.disk);
                self.cover(&mut disk, upto);
                node.disk = disk;
            }
            Effect::Install { last } => {
                let mut disk = std::mem::take(&mut node.disk);
                self.cover(&mut disk, last);
                node.disk = disk;
            }
            Effect::Apply | Effect::Snapshot => {}
        }
    }
}

/// Whether a start's runs are this log after what is purged.
fn holds(line: &Line, purged: u64, log: &Entries) -> bool {
    let mut at = purged;
    for &(term, node, first, last) in &line.log {
        if first != at || last < first {
            return false;
        }
        for index in first..=last {
            if log
                .at(index + 1)
                .is_none_or(|e| e.id != LogId { term, node, index })
            {
                return false;
            }
        }
        at = last + 1;
    }
    at == log.length() || line.log.is_empty() && log.length() <= purged
}
