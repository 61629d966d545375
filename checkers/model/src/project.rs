//! A walk of the model as the traces that real nodes would write: what ties the two together in tests.
//!
//! [`project`] takes a list of actions. A [`Walk`] takes them one by one, and more than the model has: snapshots of a
//! node's own with the purges that follow, votes that a node hears of without having been asked, and kills at any point
//! between the *begin* and the *done* of an effect, after which the node goes on with what its disk holds.

mod file;

use rand::{Rng, RngExt};

pub use self::file::{Effect, Fate};
use self::file::{File, id, vote, vote_byte};
use super::raft::{Action, Raft};
use super::state::{ACTIVE, NODES, Node, PackedLog, State, owner_of};
use super::trace::{Line, Vote};

/// The traces of the nodes along `actions`. All nodes restart at the end, so that what is on their disks shows.
#[must_use]
pub fn project<const SLOTS: usize>(model: &Raft<SLOTS>, actions: &[Action]) -> Vec<Vec<Line>> {
    let mut walk = Walk::new(model);
    for &action in actions {
        walk.step(action);
    }
    walk.restarted()
}

/// What happens next in a walk. Nodes count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A step of the model.
    Step(Action),
    /// The node builds a snapshot of what it has applied.
    Snapshot(usize),
    /// The node purges what its snapshot covers.
    Purge(usize),
    /// The candidate or leader hears of a vote that is above its own, and saves it; nobody asked it for one.
    Hear(usize, Vote),
}

/// A walk so far: the model's state, and the traces.
#[derive(Clone)]
pub struct Walk<'m, const SLOTS: usize> {
    model: &'m Raft<SLOTS>,
    state: State<SLOTS>,
    files: [File; NODES],
}

impl<'m, const SLOTS: usize> Walk<'m, SLOTS> {
    /// The nodes have just started for the first time.
    #[must_use]
    pub fn new(model: &'m Raft<SLOTS>) -> Self {
        Walk {
            model,
            state: State::default(),
            files: std::array::from_fn(File::new),
        }
    }

    /// The model's state by now.
    #[must_use]
    pub fn state(&self) -> &State<SLOTS> {
        &self.state
    }

    /// What may happen next, but for restarts and flushes: those are [`Walk::kill`] and [`Walk::flush`] here.
    pub fn doings(&self, out: &mut Vec<Doing>) {
        let mut actions = Vec::new();
        self.model.actions(&self.state, &mut actions);
        let own = |a: &Action| !matches!(a, Action::Restart(_) | Action::Flush(_));
        out.extend(actions.into_iter().filter(own).map(Doing::Step));
        for (i, file) in self.files.iter().enumerate() {
            let node = &self.state.nodes[i];
            if file.may_snapshot(self.state.committed) {
                out.push(Doing::Snapshot(i));
            }
            if file.may_purge() {
                out.push(Doing::Purge(i));
            }
            // What a node tells of its vote is on its disk, and never that it is committed.
            let told = self.files.iter().filter_map(|f| f.disk.vote);
            let above = told.filter(|v| node.bits & ACTIVE != 0 && vote_byte(*v) >> 1 > node.lid());
            let heard = |v| {
                Doing::Hear(
                    i,
                    Vote {
                        committed: false,
                        ..v
                    },
                )
            };
            out.extend(above.map(heard));
        }
    }

    /// Does one step of the model, restarts and flushes included. Nothing where the model has no such step.
    pub fn step(&mut self, action: Action) {
        let Some(next) = self.model.step(&self.state, action, &mut 0) else {
            return;
        };
        match action {
            Action::Restart(i) => {
                let n = &next.nodes[usize::from(i)];
                self.files[usize::from(i)].restart(self.model, n);
            }
            Action::Flush(i) => self.files[usize::from(i)].end_all(),
            _ => {
                for i in 0..NODES {
                    for effect in self.effects_of(i, action, &next) {
                        self.write(i, effect);
                    }
                }
            }
        }
        self.state = next;
    }

    /// Does it, whole.
    pub fn run(&mut self, doing: Doing) {
        if let Doing::Step(action) = doing {
            return self.step(action);
        }
        for i in 0..NODES {
            for effect in self.effects(i, doing) {
                self.write(i, effect);
            }
        }
        self.state = self.after(doing);
    }

    /// What `doing` makes the node's storage do, in order.
    #[must_use]
    pub fn effects(&self, i: usize, doing: Doing) -> Vec<Effect> {
        let file = &self.files[i];
        let applied = || id(self.state.nodes[i].log, file.applied);
        match doing {
            Doing::Step(action) => match self.model.step(&self.state, action, &mut 0) {
                Some(next) => self.effects_of(i, action, &next),
                None => Vec::new(),
            },
            Doing::Snapshot(j) if j == i => vec![Effect::Snapshot(applied())],
            Doing::Purge(j) if j == i => {
                let upto = file.disk.snapshot.expect("there is one to purge up to");
                vec![Effect::Purge(upto, self.state.nodes[i].log)]
            }
            Doing::Hear(j, vote) if j == i => vec![Effect::Vote(vote)],
            _ => Vec::new(),
        }
    }

    /// Does the node's part up to the effect `at`, kills the node over that one, and starts it again.
    pub fn run_and_kill(
        &mut self,
        doing: Doing,
        i: usize,
        (at, fate): (usize, Fate),
        rng: &mut impl Rng,
    ) {
        let effects = self.effects(i, doing);
        // A leader's entries may be on their way to others as they are written, and an entry is committed before it is
        // applied. Anything else is told when it is done.
        let told = match (doing, &effects[at]) {
            (Doing::Step(action), Effect::Append { .. }) => {
                matches!(
                    action,
                    Action::Write(_) | Action::Change(_) | Action::Lead(_)
                )
            }
            (Doing::Step(action), Effect::Apply { .. }) => matches!(action, Action::Advance(..)),
            _ => false,
        };
        if told {
            self.state = self.after(doing);
        }
        self.files[i].cut_short(self.model, &effects, at, fate);
        self.come_back(i, fate, rng);
    }

    /// Everything that the node began is done, and told.
    pub fn flush(&mut self, i: usize) {
        self.files[i].end_all();
        let flush = Action::Flush(i as u8);
        if let Some(next) = self.model.step(&self.state, flush, &mut 0) {
            self.state = next;
        }
    }

    /// How many effects of the node's log, and of its state machine, began and are not done.
    #[must_use]
    pub fn open(&self, i: usize) -> [usize; 2] {
        self.files[i].open_counts()
    }

    /// Kills the node: of its log's effects that began the first `survive[0]` are on the disk, and the first `done[0]`
    /// of them have their done; of its state machine's likewise. Where more are done than survive, the disk lies. The
    /// node starts again.
    pub fn kill(&mut self, i: usize, survive: [usize; 2], done: [usize; 2], rng: &mut impl Rng) {
        self.files[i].cut(survive, done);
        self.come_back(i, Fate::Kept, rng);
    }

    /// The traces, after a restart of all nodes with what the model says is on their disks.
    #[must_use]
    pub fn restarted(mut self) -> Vec<Vec<Line>> {
        for i in 0..NODES {
            self.files[i].restart(self.model, &self.state.nodes[i]);
        }
        self.lines()
    }

    /// The traces so far.
    #[must_use]
    pub fn lines(self) -> Vec<Vec<Line>> {
        self.files.into_iter().map(|f| f.lines).collect()
    }

    fn write(&mut self, i: usize, effect: Effect) {
        let of = self.files[i].begin(self.model, &effect);
        if !self.model.configuration.flush {
            self.files[i].end(of);
        }
    }

    /// The state after `doing`, of which nothing is cut short.
    fn after(&self, doing: Doing) -> State<SLOTS> {
        let mut next = self.state;
        match doing {
            Doing::Step(action) => {
                if let Some(stepped) = self.model.step(&self.state, action, &mut 0) {
                    next = stepped;
                }
            }
            Doing::Hear(i, vote) => {
                next.nodes[i].vote = vote_byte(vote);
                next.nodes[i].bits = 0;
            }
            Doing::Snapshot(_) | Doing::Purge(_) => {}
        }
        next
    }

    fn effects_of(&self, i: usize, action: Action, next: &State<SLOTS>) -> Vec<Effect> {
        let installs = matches!(action, Action::Install { to, .. } if usize::from(to) == i);
        let (a, b) = (&self.state.nodes[i], &next.nodes[i]);
        file::effects(a, b, self.files[i].applied, installs)
    }

    /// The node starts with what its disk holds, does what openraft does then, and may be killed again over it.
    fn come_back(&mut self, i: usize, fate: Fate, rng: &mut impl Rng) {
        let committed = self.state.committed;
        loop {
            let file = &mut self.files[i];
            // What was applied need not be on the disk yet, but for what a snapshot covers.
            let least = file.disk.applied.map_or(0, |id| id.index as u8 + 1);
            let most = match fate {
                Fate::DoneAndLost => least,
                Fate::Kept | Fate::Lost => file.applied.min(file.disk.log.common(committed)),
            };
            let most = most.max(least);
            file.start_again(committed, rng.random_range(least..=most));
            let effects = file.recovery(committed);
            if !effects.is_empty() && rng.random_range(0..3) == 0 {
                let at = rng.random_range(0..effects.len());
                let fates = [Fate::Kept, Fate::Lost];
                file.cut_short(self.model, &effects, at, fates[rng.random_range(0..2)]);
                continue;
            }
            for effect in effects {
                let of = file.begin(self.model, &effect);
                file.end(of);
            }
            break;
        }
        let disk = self.files[i].disk;
        let byte = disk.vote.map_or(0, vote_byte);
        let leads = byte & 1 == 1 && owner_of(byte >> 1) == i;
        let flush = self.model.configuration.flush;
        self.state.nodes[i] = Node {
            log: disk.log,
            disk: if flush {
                disk.log
            } else {
                PackedLog::default()
            },
            // A leader that was steps back, in memory.
            vote: byte & !u8::from(leads),
            disk_vote: if flush { byte } else { 0 },
            ..Node::default()
        };
    }
}

/// The vote of a node of the model.
fn vote_of(node: &Node) -> Option<Vote> {
    vote(node.vote)
}
