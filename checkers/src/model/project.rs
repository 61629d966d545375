//! A walk of the model as the traces that real nodes would write: what ties the two together in tests.

use super::raft::{Action, Raft};
use super::state::{NODES, PackedLog, State, op, owner_of, term_of};
use super::trace::{Entry, Kind, Line, LogId, Vote};

/// One node's file in the making.
#[derive(Clone, Default)]
struct File {
    lines: Vec<Line>,
    node: u64,
    seq: u64,
    /// The vote that it saved last; memory may be behind (a leader that restarts steps back in memory only).
    saved: Option<Vote>,
    /// The vote that is surely on its disk.
    durable: Option<Vote>,
    applied: u8,
    /// Begins without a done, where a flush is modelled.
    open: Vec<u64>,
}

impl File {
    fn line(&mut self, kind: Kind) -> Line {
        self.seq = if kind == Kind::Start { 1 } else { self.seq + 1 };
        Line::new(self.seq, 0, self.node, kind)
    }

    /// Writes an effect; its done follows at once, or with the next flush.
    fn effect(&mut self, line: Line, flushes: bool) {
        let of = line.seq;
        self.lines.push(line);
        if flushes {
            self.open.push(of);
        } else {
            self.done(of);
        }
    }

    fn done(&mut self, of: u64) {
        let mut line = self.line(Kind::Done);
        line.of = Some(of);
        self.lines.push(line);
        if self.open.is_empty() {
            self.durable = self.saved;
        }
    }
}

/// The traces of the nodes along `actions`. All nodes restart at the end, so that what is on their disks shows.
#[must_use]
pub fn project<const SLOTS: usize>(model: &Raft<SLOTS>, actions: &[Action]) -> Vec<Vec<Line>> {
    let mut files: [File; NODES] = Default::default();
    for (i, file) in files.iter_mut().enumerate() {
        file.node = i as u64 + 1;
        let line = file.line(Kind::Start);
        file.lines.push(line);
    }
    let mut state = State::<SLOTS>::default();
    for &action in actions {
        let Some(next) = model.step(&state, action, &mut 0) else {
            continue;
        };
        for (i, file) in files.iter_mut().enumerate() {
            match action {
                Action::Restart(node) if usize::from(node) == i => restart(model, file, &next, i),
                Action::Flush(node) if usize::from(node) == i => {
                    for of in std::mem::take(&mut file.open) {
                        file.done(of);
                    }
                }
                _ => changes(model, file, (&state, &next), i, action),
            }
        }
        state = next;
    }
    for (i, file) in files.iter_mut().enumerate() {
        restart(model, file, &state, i);
    }
    files.into_iter().map(|f| f.lines).collect()
}

/// The start of a node after `next` came to be.
fn restart<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    file: &mut File,
    next: &State<SLOTS>,
    i: usize,
) {
    let flush = model.configuration.flush;
    let n = &next.nodes[i];
    let (byte, log) = if flush {
        (n.disk_vote, n.disk)
    } else {
        (n.vote, n.log)
    };
    let was = file.durable;
    let now = vote(byte);
    let only_in_memory = now.is_some_and(|v| {
        was == Some(Vote {
            committed: true,
            ..v
        })
    });
    file.open.clear();
    let mut line = file.line(Kind::Start);
    line.vote = if only_in_memory { was } else { now };
    // A mutant may lead already: then it led only after its start.
    let leads = now.is_some_and(|v| {
        v.committed
            && was
                == Some(Vote {
                    committed: false,
                    ..v
                })
    });
    let mut held = log;
    if leads {
        line.vote = was;
        held = log.prefix(log.len() - 1);
    }
    line.log = runs(held);
    file.saved = line.vote;
    file.durable = line.vote;
    file.applied = 0;
    file.lines.push(line);
    if leads {
        save(file, now.expect("it leads"), flush);
        append(model, file, log, held.len(), flush);
    }
}

fn changes<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    file: &mut File,
    (before, after): (&State<SLOTS>, &State<SLOTS>),
    i: usize,
    action: Action,
) {
    let flush = model.configuration.flush;
    let (a, b) = (&before.nodes[i], &after.nodes[i]);
    if a.vote != b.vote {
        save(
            file,
            vote(b.vote).expect("a vote that changed is one"),
            flush,
        );
    }
    let installs = matches!(action, Action::Install { to, .. } if usize::from(to) == i);
    let mut keep = a.log.common(b.log);
    if installs && keep < b.commit && keep < a.log.len() {
        keep = keep.min(a.commit);
    }
    if a.log.len() > keep && !(installs && b.log.prefix(b.commit) == a.log.prefix(b.commit)) {
        let mut line = file.line(Kind::Truncate);
        line.after = keep.checked_sub(1).map(|_| id(a.log, keep));
        file.effect(line, flush);
    }
    if installs {
        let mut line = file.line(Kind::Install);
        line.last = Some(id(b.log, b.commit));
        file.effect(line, flush);
        file.applied = file.applied.max(b.commit);
    } else if b.log.len() > keep {
        append(model, file, b.log, keep, flush);
    }
    if b.commit > file.applied {
        let mut line = file.line(Kind::Apply);
        line.entries = (file.applied + 1..=b.commit)
            .map(|p| entry(b.log, p))
            .collect();
        file.applied = b.commit;
        file.effect(line, false);
    }
}

fn save(file: &mut File, vote: Vote, flush: bool) {
    let mut line = file.line(Kind::Vote);
    line.vote = Some(vote);
    file.saved = Some(vote);
    file.effect(line, flush);
}

fn append<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    file: &mut File,
    log: PackedLog,
    keep: u8,
    flush: bool,
) {
    let mut line = file.line(Kind::Append);
    for position in keep + 1..=log.len() {
        line.entries.push(entry(log, position));
        if let Some((old, new)) = model.configuration.change {
            let nodes = |set: u64| {
                (0..NODES as u64)
                    .filter(|n| set >> n & 1 == 1)
                    .map(|n| n + 1)
                    .collect()
            };
            let sets = match log.entry(position) >> 4 {
                op::JOINT => vec![nodes(old), nodes(new)],
                op::FINAL => vec![nodes(new)],
                _ => continue,
            };
            line.members.push((u64::from(position) - 1, sets));
        }
    }
    file.effect(line, flush);
}

fn vote(byte: u8) -> Option<Vote> {
    let l = byte >> 1;
    (l != 0).then(|| Vote {
        term: term_of(l),
        node: owner_of(l) as u64 + 1,
        committed: byte & 1 == 1,
    })
}

fn id(log: PackedLog, position: u8) -> LogId {
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

fn runs(log: PackedLog) -> Vec<(u64, u64, u64, u64)> {
    let mut runs: Vec<(u64, u64, u64, u64)> = Vec::new();
    for position in 1..=log.len() {
        let at = id(log, position);
        match runs.last_mut() {
            Some(run) if (run.0, run.1) == (at.term, at.node) => run.3 = at.index,
            _ => runs.push((at.term, at.node, at.index, at.index)),
        }
    }
    runs
}
