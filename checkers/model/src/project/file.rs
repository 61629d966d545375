//! One node's trace in the making, and the disk that it tells of.

use super::vote_of;
use crate::raft::Raft;
use crate::state::{Lid, NODES, Node, PackedLog, lid, op, owner_of, term_of};
use crate::trace::{Entry, Kind, Line, LogId, Vote};

/// What a storage is asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Save a vote.
    Vote(Vote),
    /// Cut the log after so many entries.
    Truncate {
        /// The log before the cut.
        log: PackedLog,
        /// How many stay.
        keep: u8,
    },
    /// Append what the log has after so many entries.
    Append {
        /// The log after it.
        log: PackedLog,
        /// How many there were.
        keep: u8,
    },
    /// Apply entries.
    Apply {
        /// The log.
        log: PackedLog,
        /// How many were applied before.
        from: u8,
        /// How many are then.
        to: u8,
    },
    /// Build a snapshot up to an entry.
    Snapshot(LogId),
    /// Install a snapshot up to an entry.
    Install(LogId),
    /// Purge up to an entry, after which the log's file holds this log.
    Purge(LogId, PackedLog),
}

impl Effect {
    /// The kind of its line.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Effect::Vote(_) => Kind::Vote,
            Effect::Truncate { .. } => Kind::Truncate,
            Effect::Append { .. } => Kind::Append,
            Effect::Apply { .. } => Kind::Apply,
            Effect::Snapshot(_) => Kind::Snapshot,
            Effect::Install(_) => Kind::Install,
            Effect::Purge(..) => Kind::Purge,
        }
    }

    /// Which of the two files it changes: the log's, 0, or the state machine's, 1. Each is written in order.
    fn store(&self) -> usize {
        usize::from(matches!(
            self.kind(),
            Kind::Apply | Kind::Snapshot | Kind::Install
        ))
    }
}

/// What becomes of an effect that began, as the node is killed over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is on the disk, and nobody was told.
    Kept,
    /// It is not.
    Lost,
    /// It is not, and it was said to be: no store that keeps its word does that.
    DoneAndLost,
}

/// What a disk holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Disk {
    pub(super) vote: Option<Vote>,
    /// The whole log, with what is purged.
    pub(super) log: PackedLog,
    purged: Option<LogId>,
    /// What the state machine's file surely holds.
    pub(super) applied: Option<LogId>,
    pub(super) snapshot: Option<LogId>,
}

impl Disk {
    fn take(&mut self, effect: &Effect) {
        match *effect {
            Effect::Vote(vote) => self.vote = Some(vote),
            Effect::Truncate { log, keep } => self.log = log.prefix(keep),
            Effect::Append { log, .. } => self.log = log,
            // Applied entries are not synced one by one.
            Effect::Apply { .. } => {}
            Effect::Snapshot(last) | Effect::Install(last) => {
                self.snapshot = Some(last);
                self.applied = self.applied.max(Some(last));
            }
            Effect::Purge(upto, log) => {
                self.purged = Some(upto);
                self.log = log;
            }
        }
    }
}

/// One node's file in the making.
#[derive(Clone, Default)]
pub(super) struct File {
    pub(super) lines: Vec<Line>,
    node: u64,
    seq: u64,
    /// How much it applied in this life.
    pub(super) applied: u8,
    /// What began and is not done, in order, with the begin's number.
    open: Vec<(u64, Effect)>,
    /// What is surely on its disk.
    pub(super) disk: Disk,
}

impl File {
    pub(super) fn new(i: usize) -> File {
        let mut file = File {
            node: i as u64 + 1,
            ..File::default()
        };
        let line = file.line(Kind::Start);
        file.lines.push(line);
        file
    }

    fn line(&mut self, kind: Kind) -> Line {
        self.seq = if kind == Kind::Start { 1 } else { self.seq + 1 };
        Line::new(self.seq, 0, self.node, kind)
    }

    /// Writes an effect's begin; gives its number.
    pub(super) fn begin<const SLOTS: usize>(
        &mut self,
        model: &Raft<SLOTS>,
        effect: &Effect,
    ) -> u64 {
        let mut line = self.line(effect.kind());
        match *effect {
            Effect::Vote(vote) => line.vote = Some(vote),
            Effect::Truncate { log, keep } => {
                line.after = keep.checked_sub(1).map(|_| id(log, keep))
            }
            Effect::Append { log, keep } => {
                line.entries = (keep + 1..=log.len()).map(|p| entry(log, p)).collect();
                line.members = members(model, log, keep);
            }
            Effect::Apply { log, from, to } => {
                line.entries = (from + 1..=to).map(|p| entry(log, p)).collect();
                self.applied = to;
            }
            Effect::Snapshot(last) | Effect::Install(last) => {
                line.last = Some(last);
                self.applied = self.applied.max(last.index as u8 + 1);
            }
            Effect::Purge(upto, _) => line.upto = Some(upto),
        }
        self.open.push((line.seq, *effect));
        self.lines.push(line);
        self.seq
    }

    /// The effect of line `of` is done.
    pub(super) fn end(&mut self, of: u64) {
        if let Some(at) = self.open.iter().position(|(seq, _)| *seq == of) {
            let (_, effect) = self.open.remove(at);
            self.disk.take(&effect);
        }
        let mut line = self.line(Kind::Done);
        line.of = Some(of);
        self.lines.push(line);
    }

    pub(super) fn end_all(&mut self) {
        for (of, _) in self.open.clone() {
            self.end(of);
        }
    }

    pub(super) fn open_counts(&self) -> [usize; 2] {
        [0, 1].map(|store| self.open.iter().filter(|(_, e)| e.store() == store).count())
    }

    /// Whether there is more to build a snapshot of than the last one holds, and the log's file has all of it.
    pub(super) fn may_snapshot(&self, committed: PackedLog) -> bool {
        let built = |(_, e): &(u64, Effect)| matches!(e, Effect::Snapshot(_) | Effect::Install(_));
        position(self.disk.snapshot) < self.applied
            && self.applied <= self.disk.log.common(committed)
            && !self.open.iter().any(built)
    }

    pub(super) fn may_purge(&self) -> bool {
        let purges = |(_, e): &(u64, Effect)| matches!(e, Effect::Purge(..));
        self.disk.snapshot > self.disk.purged && !self.open.iter().any(purges)
    }

    /// Does the effects up to the one at `at`, each done before the next, and is killed over that one.
    pub(super) fn cut_short<const SLOTS: usize>(
        &mut self,
        model: &Raft<SLOTS>,
        effects: &[Effect],
        at: usize,
        fate: Fate,
    ) {
        for effect in &effects[..at] {
            let of = self.begin(model, effect);
            self.end(of);
        }
        self.begin(model, &effects[at]);
        let open = self.open_counts();
        match fate {
            Fate::Kept => self.cut(open, [0, 0]),
            Fate::Lost => self.cut([0, 0], [0, 0]),
            Fate::DoneAndLost => self.cut([0, 0], open),
        }
    }

    /// The process dies. See [`super::Walk::kill`].
    pub(super) fn cut(&mut self, survive: [usize; 2], done: [usize; 2]) {
        let mut seen = [0, 0];
        for (of, effect) in std::mem::take(&mut self.open) {
            let store = effect.store();
            if seen[store] < survive[store] {
                self.disk.take(&effect);
            }
            if seen[store] < done[store] {
                let mut line = self.line(Kind::Done);
                line.of = Some(of);
                self.lines.push(line);
            }
            seen[store] += 1;
        }
    }

    /// The start of a node whose state machine holds `applied` entries.
    pub(super) fn start_again(&mut self, committed: PackedLog, applied: u8) {
        self.open.clear();
        let mut line = self.start(self.disk.vote, self.disk.log);
        line.applied = applied.checked_sub(1).map(|_| id(committed, applied));
        self.applied = applied;
        self.disk.applied = line.applied;
        self.lines.push(line);
    }

    /// What openraft does as it starts: it installs a snapshot that is newer than the state, and purges a log that ends
    /// before the state.
    pub(super) fn recovery(&self, committed: PackedLog) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(last) = self.disk.snapshot else {
            return effects;
        };
        let upto = position(Some(last));
        if upto > self.applied {
            effects.push(Effect::Install(last));
        }
        if self.disk.log.common(committed) < upto {
            effects.push(Effect::Purge(last, committed.prefix(upto)));
        }
        effects
    }

    fn start(&mut self, vote: Option<Vote>, log: PackedLog) -> Line {
        let mut line = self.line(Kind::Start);
        line.vote = vote;
        line.log = runs(log, position(self.disk.purged));
        line.purged = self.disk.purged;
        line.snapshot = self.disk.snapshot;
        line
    }

    /// The start of a node as the model has it after a restart, whatever rule is broken in it.
    pub(super) fn restart<const SLOTS: usize>(&mut self, model: &Raft<SLOTS>, n: &Node) {
        let flush = model.configuration.flush;
        let (byte, log) = if flush {
            (n.disk_vote, n.disk)
        } else {
            (n.vote, n.log)
        };
        self.open.clear();
        let was = self.disk.vote;
        let now = vote(byte);
        // A leader that restarts steps back in memory only.
        let of = |committed| now.map(|v| Vote { committed, ..v });
        let only_in_memory = now.is_some() && was == of(true);
        // A mutant may lead already: then it led only after its start.
        let leads = now.is_some_and(|v| v.committed) && was == of(false);
        let held = match leads {
            true => log.prefix(log.len() - 1),
            false => log,
        };
        let saved = if only_in_memory || leads { was } else { now };
        let line = self.start(saved, held);
        self.disk.vote = saved;
        self.disk.log = held;
        self.applied = position(line.snapshot);
        self.lines.push(line);
        if leads {
            let effects = [
                Effect::Vote(now.expect("it leads")),
                Effect::Append {
                    log,
                    keep: held.len(),
                },
            ];
            for effect in effects {
                let of = self.begin(model, &effect);
                if !flush {
                    self.end(of);
                }
            }
        }
    }
}

/// What a node that was `a` and is `b` made its storage do.
pub(super) fn effects(a: &Node, b: &Node, applied: u8, installs: bool) -> Vec<Effect> {
    let mut effects = Vec::new();
    if a.vote != b.vote {
        let vote = vote_of(b).expect("a vote that changed is one");
        effects.push(Effect::Vote(vote));
    }
    if installs && b.commit <= applied {
        // Nothing that it does not have: openraft does not install it.
        return effects;
    }
    let mut keep = a.log.common(b.log);
    if installs && keep < b.commit && keep < a.log.len() {
        keep = keep.min(a.commit.max(applied));
    }
    if a.log.len() > keep && !(installs && b.log.prefix(b.commit) == a.log.prefix(b.commit)) {
        effects.push(Effect::Truncate { log: a.log, keep });
    }
    if installs {
        let last = id(b.log, b.commit);
        effects.push(Effect::Install(last));
        effects.push(Effect::Purge(last, b.log));
        return effects;
    }
    if b.log.len() > keep {
        effects.push(Effect::Append { log: b.log, keep });
    }
    if b.commit > applied {
        effects.push(Effect::Apply {
            log: b.log,
            from: applied,
            to: b.commit,
        });
    }
    effects
}

fn position(id: Option<LogId>) -> u8 {
    id.map_or(0, |id| id.index as u8 + 1)
}

/// The memberships among the entries after `keep`.
fn members<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    log: PackedLog,
    keep: u8,
) -> Vec<(u64, Vec<Vec<u64>>)> {
    let Some((old, new)) = model.configuration.change else {
        return Vec::new();
    };
    let nodes = |set: u64| -> Vec<u64> {
        let voters = (0..NODES as u64).filter(|n| set >> n & 1 == 1);
        voters.map(|n| n + 1).collect()
    };
    let sets = |position: u8| match log.entry(position) >> 4 {
        op::JOINT => Some(vec![nodes(old), nodes(new)]),
        op::FINAL => Some(vec![nodes(new)]),
        _ => None,
    };
    (keep + 1..=log.len())
        .filter_map(|p| Some((u64::from(p) - 1, sets(p)?)))
        .collect()
}

pub(super) fn vote(byte: u8) -> Option<Vote> {
    let l = byte >> 1;
    (l != 0).then(|| Vote {
        term: term_of(l),
        node: owner_of(l) as u64 + 1,
        committed: byte & 1 == 1,
    })
}

pub(super) fn vote_byte(vote: Vote) -> u8 {
    let l: Lid = lid(vote.term, vote.node as usize - 1);
    l << 1 | u8::from(vote.committed)
}

pub(super) fn id(log: PackedLog, position: u8) -> LogId {
    let l = log.entry(position) & 15;
    LogId {
        term: term_of(l),
        node: owner_of(l) as u64 + 1,
        index: u64::from(position) - 1,
    }
}

fn entry(log: PackedLog, position: u8) -> Entry {
    Entry {
        id: id(log, position),
        payload: u64::from(log.entry(position) >> 4),
    }
}

/// The runs of the entries after the first `purged`.
fn runs(log: PackedLog, purged: u8) -> Vec<(u64, u64, u64, u64)> {
    let mut runs: Vec<(u64, u64, u64, u64)> = Vec::new();
    for position in purged + 1..=log.len() {
        let at = id(log, position);
        match runs.last_mut() {
            Some(run) if (run.0, run.1) == (at.term, at.node) => run.3 = at.index,
            _ => runs.push((at.term, at.node, at.index, at.index)),
        }
    }
    runs
}
