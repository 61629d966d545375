//! A life of a node: what its store must hold as it opens, what that proves, and what has become durable.
//!
//! A life that was killed leaves effects that began and are not known to be done. Those of the log's file, votes among
//! them, are on it up to some point in the order in which they began, the last one perhaps in part: what the next start
//! shows must be one such moment, whole. The state machine has its own file and its own such point. What the start
//! shows is durable from then on, and counts as if its *done* had been there, with one difference: nobody was told. So
//! a campaign that a start shows is no request for votes, only a vote that others may hear of; a grant is one that
//! this life may give again ([`Replay::stand_by`]), entries are acknowledged again ([`Replay::acknowledge`]), and a
//! snapshot covers what it covers, though the log's file still lacks or holds other entries.

use super::{
    Effect, Entries, Ever, Line, Log, LogId, Missing, Node, Replay, Vote, id, index, position, show,
};

/// What a store holds at one moment, but for its state.
struct Moment {
    vote: Option<Vote>,
    purged: Option<LogId>,
    log: Entries,
}

/// What of a start some moment had.
#[derive(Default)]
struct Seen {
    vote: bool,
    purged: bool,
    log: bool,
}

impl Seen {
    /// Whether the start shows this very moment.
    fn shows(&mut self, line: &Line, moment: &Moment) -> bool {
        let vote = line.vote == moment.vote;
        let purged = line.purged == moment.purged;
        let log = holds(line, &moment.log);
        self.vote |= vote;
        self.purged |= purged;
        self.log |= log;
        vote && purged && log
    }
}

impl Replay {
    /// The store opens: it must hold what its effects left there.
    pub(super) fn start(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        let fail = |why: String| {
            Ever(if node.started {
                why
            } else {
                format!("{why} (this is the node's first start)")
            })
        };
        let log = self.survived(node, line).map_err(fail)?;
        let applied = position(line.applied);
        if applied > node.ever_applied {
            return Err(fail(format!(
                "its state machine was never about to apply {}",
                index(applied)
            )));
        }
        let snapshot = position(line.snapshot);
        if snapshot > node.snapshots {
            return Err(fail(format!(
                "it never had a snapshot up to {}",
                index(snapshot)
            )));
        }
        let state = applied.max(snapshot);
        let purged = position(line.purged);
        if purged > state {
            return Err(fail(format!(
                "its log is purged up to {}, and nothing it holds covers that",
                index(purged)
            )));
        }
        if snapshot < node.kept {
            return Err(fail(format!(
                "its snapshot was up to {} on disk, and now it is up to {}",
                index(node.kept),
                index(snapshot)
            )));
        }
        self.same_as_committed(line.applied, "the state machine")?;
        self.same_as_committed(line.snapshot, "the snapshot")?;
        node.pending.clear();
        node.vote = line.vote;
        node.disk_vote = line.vote;
        node.purged = line.purged;
        node.disk = log.clone();
        node.log = log;
        (node.applied, node.ever_applied, node.covered) = (state, state, state);
        (node.snapshots, node.kept) = (snapshot, snapshot);
        node.matched = 0;
        node.started = true;
        self.starts += 1;
        self.stand_by(node);
        Ok(())
    }

    /// The log that the start shows: that of the first moment, of those at which the node can have been killed, that is
    /// like the start.
    ///
    /// # Errors
    /// When there is none, in words.
    fn survived(&self, node: &Node, line: &Line) -> Result<Entries, String> {
        let mut seen = Seen::default();
        let mut now = Moment {
            vote: node.disk_vote,
            purged: node.purged,
            log: node.disk.clone(),
        };
        if seen.shows(line, &now) {
            return Ok(now.log);
        }
        for effect in node.pending.values() {
            match effect {
                Effect::Vote { vote, .. } => now.vote = Some(*vote),
                Effect::Append { keep, entries, .. } => {
                    now.log.truncate(*keep);
                    for entry in entries {
                        now.log.extend(std::slice::from_ref(entry), &self.voters);
                        if seen.shows(line, &now) {
                            return Ok(now.log);
                        }
                    }
                }
                Effect::Truncate { keep } => now.log.truncate(*keep),
                Effect::Purge { upto } => {
                    now.purged = Some(*upto);
                    self.cover(&mut now.log, *upto);
                }
                Effect::Apply | Effect::Snapshot { .. } => continue,
            }
            if seen.shows(line, &now) {
                return Ok(now.log);
            }
        }
        Err(self.no_such_moment(node, line, &seen))
    }

    fn no_such_moment(&self, node: &Node, line: &Line, seen: &Seen) -> String {
        if !seen.vote {
            return format!(
                "its vote was saved as {}, and now it is {}",
                show(node.disk_vote),
                show(line.vote)
            );
        }
        if !seen.purged {
            return "what is purged is not what was".into();
        }
        if seen.log {
            return "its vote, its log and what is purged were never so at one moment: \
                    something is there that began later than what is not"
                .into();
        }
        let there = line
            .log
            .last()
            .map_or("empty".into(), |r| format!("up to {}.{}-{}", r.0, r.1, r.3));
        let was = node
            .disk
            .all
            .last()
            .map_or("empty".into(), |e| format!("up to {}", id(e.id)));
        format!("its log was {was} on disk, and now it is {there}: entries are lost or changed")
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

    /// An effect is durable, and may be told.
    pub(super) fn done(&mut self, node: &mut Node, effect: Effect) {
        match effect {
            Effect::Vote { vote, grants, last } => {
                let leader = (vote.term, vote.node);
                if vote.node == node.id && !vote.committed {
                    self.said.entry(leader).or_default().asked = Some(last);
                }
                if grants {
                    self.said.entry(leader).or_default().granted |= 1 << node.id;
                }
                node.disk_vote = Some(vote);
            }
            Effect::Append {
                keep,
                entries,
                under,
            } => {
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
                if let Some(under) = under {
                    self.acknowledge_late(node, under, end);
                }
            }
            Effect::Truncate { keep } => node.disk.truncate(keep),
            Effect::Purge { upto } => {
                node.purged = Some(upto);
                let mut disk = std::mem::take(&mut node.disk);
                self.cover(&mut disk, upto);
                node.disk = disk;
            }
            Effect::Snapshot { upto } => {
                node.kept = node.kept.max(upto);
                node.covered = node.covered.max(upto);
            }
            Effect::Apply => {}
        }
    }
}

/// Whether a start's runs are this log after what is purged.
fn holds(line: &Line, log: &Entries) -> bool {
    let purged = position(line.purged);
    let end = line.log.last().map_or(purged, |&(_, _, _, last)| last + 1);
    if end != log.length() && !(line.log.is_empty() && log.length() <= purged) {
        return false;
    }
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
    true
}
