//! Whether what real nodes' storages did is a behaviour of the rules: one greedy pass over their traces.
//!
//! Every guard below asks what is local to the node and what has ever been said, and what has ever been said only
//! grows. So an event of one node never disables an event of another: firing whatever can be fired, in any order,
//! loses nothing, and a trace that gets stuck has no explanation at all. No search, linear time, no clock.
//!
//! Elections, requests, acknowledgements and commits are not in a trace; they are inferred with the same
//! [`Rules`] that the model is proved with. What cannot be seen here: reads, real time, and who granted a vote where
//! it could as well have learned of it. Histories and their judge are for those.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::rules::{Answer, Ballot, Log, Order, Received, Rules};
use super::trace::{Entry, Kind, Line, LogId, Vote};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "conformance")]
pub enum Conformance {
    /// Every event is explained.
    Accepted(Accepted),
    /// One is not.
    Rejected(Rejected),
}

/// What an accepted trace showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// How many events were explained.
    pub events: u64,
    /// How many nodes wrote them.
    pub nodes: u64,
    /// How many starts there were.
    pub starts: u64,
    /// How many leaders were established.
    pub leaders: u64,
    /// The highest term.
    pub term: u64,
    /// How many entries are known to be committed.
    pub committed: u64,
}

/// The first event without an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The node that it happened on.
    pub node: u64,
    /// The event, as its line, or what is missing from the files.
    pub event: String,
    /// The node's last events before it, oldest first, at most six.
    pub before: Vec<String>,
    /// The missing fact, in words.
    pub missing: String,
    /// How many events of all nodes were explained before everything was stuck.
    pub explained: u64,
}

/// A leader id: term and node. Ordered as openraft orders it by default.
type Leader = (u64, u64);

struct TraceOrder;

impl Order for TraceOrder {
    type Leader = Leader;
    fn compare(&self, a: Leader, b: Leader) -> Option<Ordering> {
        Some(a.cmp(&b))
    }
    fn compare_in_log(&self, a: Leader, b: Leader) -> Ordering {
        a.cmp(&b)
    }
    fn term(&self, a: Leader) -> u64 {
        a.0
    }
}

/// A log from index 0, whatever was purged, with the positions of its membership entries. Position = index + 1.
#[derive(Clone, Debug, Default)]
struct Entries {
    all: Vec<Entry>,
    members: Vec<u64>,
}

impl Log<Leader> for Entries {
    fn length(&self) -> u64 {
        self.all.len() as u64
    }
    fn leader_at(&self, position: u64) -> Option<Leader> {
        self.at(position).map(|e| (e.id.term, e.id.node))
    }
}

impl Entries {
    fn at(&self, position: u64) -> Option<&Entry> {
        self.all
            .get(usize::try_from(position.checked_sub(1)?).ok()?)
    }

    fn truncate(&mut self, keep: u64) {
        self.all.truncate(keep as usize);
        while self.members.last().is_some_and(|&p| p > keep) {
            self.members.pop();
        }
    }

    fn extend(&mut self, entries: &[Entry], voters: &HashMap<LogId, Sets>) {
        for entry in entries {
            self.all.push(*entry);
            if voters.contains_key(&entry.id) {
                self.members.push(self.all.len() as u64);
            }
        }
    }
}

/// The voter sets of a membership, as bits.
type Sets = (u64, Option<u64>);

/// What one leader id ever said.
#[derive(Default)]
struct Said {
    /// The last entry of the candidate, once it asked.
    asked: Option<Option<(Leader, u64)>>,
    granted: u64,
    led: bool,
    log: Entries,
    acks: BTreeMap<u64, u64>,
}

/// An effect that began and is not known to be done.
#[derive(Clone)]
enum Effect {
    Vote { vote: Vote, grants: bool },
    Append { keep: u64, entries: Vec<Entry> },
    Truncate { keep: u64 },
    Purge { upto: LogId },
    Apply,
    Snapshot,
    Install { last: LogId },
}

/// One node, as the lines replayed so far have it.
#[derive(Default)]
struct Node {
    id: u64,
    lines: VecDeque<Line>,
    before: VecDeque<Line>,
    started: bool,
    /// The vote as the node sees it: saved, or being saved.
    vote: Option<Vote>,
    /// The vote that is surely on disk.
    disk_vote: Option<Vote>,
    /// The log as the node sees it.
    log: Entries,
    /// The log that is surely on disk: as of the oldest effect that is not done.
    disk: Entries,
    purged: Option<LogId>,
    /// How much the state machine holds in this life.
    applied: u64,
    /// The most it ever held or was about to.
    ever_applied: u64,
    snapshots: u64,
    pending: BTreeMap<u64, Effect>,
    /// How much of the log equals that of the leader in `vote`.
    matched: u64,
}

/// Why an event cannot be fired.
enum Missing {
    /// Another node's event may supply the fact.
    Yet(String),
    /// Nothing can.
    Ever(String),
}

use Missing::{Ever, Yet};

struct Replay {
    rules: Rules,
    said: BTreeMap<Leader, Said>,
    voters: HashMap<LogId, Sets>,
    /// The voters before any membership is in a log, for traces without an initialization.
    first_voters: Option<Sets>,
    committed: Entries,
    /// Who committed each of them.
    committers: Vec<Leader>,
    explained: u64,
    starts: u64,
}

/// Replays the nodes' traces, one file a node. `first_voters` are in force where a log has no membership entry: `None`
/// for real nodes, whose first entry is one.
#[must_use]
pub fn conform(files: Vec<Vec<Line>>, first_voters: Option<&[u64]>) -> Conformance {
    let replay = Replay {
        rules: Rules::default(),
        said: BTreeMap::new(),
        voters: HashMap::new(),
        first_voters: first_voters.map(|v| (bits(v), None)),
        committed: Entries::default(),
        committers: Vec::new(),
        explained: 0,
        starts: 0,
    };
    let reject = |node, event: &str, missing: &str| {
        Conformance::Rejected(Rejected {
            node,
            event: event.into(),
            before: Vec::new(),
            missing: missing.into(),
            explained: 0,
        })
    };
    if files.is_empty() {
        return reject(
            0,
            "no trace",
            "there is no file: nothing was recorded, so nothing is shown",
        );
    }
    let mut nodes = Vec::new();
    for lines in files {
        let Some(first) = lines.first() else {
            return reject(
                0,
                "an empty trace",
                "a file holds no event: nothing was recorded, so nothing is shown",
            );
        };
        if first.e != Kind::Start {
            return reject(
                first.node,
                &text(first),
                "the node has no start: its trace is cut off at the front",
            );
        }
        if let Some(far) = lines.iter().find(|l| l.node >= 64) {
            return reject(far.node, &text(far), "node ids go up to 63");
        }
        if nodes.iter().any(|n: &Node| n.id == first.node) {
            return reject(first.node, &text(first), "two files are of one node");
        }
        nodes.push(Node {
            id: first.node,
            lines: lines.into(),
            ..Node::default()
        });
    }
    nodes.sort_by_key(|n| n.id);
    replay.run(&mut nodes)
}

fn text(line: &Line) -> String {
    serde_json::to_string(line).expect("a line is plain data")
}

fn bits(nodes: &[u64]) -> u64 {
    nodes.iter().fold(0, |set, n| set | 1 << n)
}

fn ballot(vote: Option<Vote>) -> Ballot<Leader> {
    match vote {
        Some(v) => Ballot {
            leader: (v.term, v.node),
            committed: v.committed,
        },
        None => Ballot {
            leader: (0, 0),
            committed: false,
        },
    }
}

fn leader_of(id: LogId) -> Leader {
    (id.term, id.node)
}

impl Replay {
    fn run(mut self, nodes: &mut [Node]) -> Conformance {
        loop {
            let mut progress = false;
            let mut stuck: Option<(usize, String)> = None;
            for (at, node) in nodes.iter_mut().enumerate() {
                while let Some(line) = node.lines.pop_front() {
                    match self.fire(node, &line) {
                        Ok(()) => {
                            progress = true;
                            self.explained += 1;
                            self.acknowledge(node);
                            node.before.push_back(line);
                            if node.before.len() > 6 {
                                node.before.pop_front();
                            }
                        }
                        Err(missing) => {
                            node.lines.push_front(line);
                            match missing {
                                Ever(why) => return self.rejected(node, why),
                                Yet(why) => stuck = stuck.or(Some((at, why))),
                            }
                            break;
                        }
                    }
                }
            }
            match stuck {
                None => break,
                Some((at, why)) if !progress => return self.rejected(&nodes[at], why),
                Some(_) => {}
            }
        }
        Conformance::Accepted(Accepted {
            events: self.explained,
            nodes: nodes.len() as u64,
            starts: self.starts,
            leaders: self.said.values().filter(|s| s.led).count() as u64,
            term: self.said.keys().map(|l| l.0).max().unwrap_or(0),
            committed: self.committed.length(),
        })
    }

    fn rejected(&self, node: &Node, missing: String) -> Conformance {
        Conformance::Rejected(Rejected {
            node: node.id,
            event: node.lines.front().map(text).unwrap_or_default(),
            before: node.before.iter().map(text).collect(),
            missing,
            explained: self.explained,
        })
    }

    /// Does one event, if what it needs is there. Nothing is changed when it is not.
    fn fire(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
        match line.e {
            Kind::Start => self.start(node, line),
            Kind::Vote => self.vote(node, line),
            Kind::Append => self.append(node, line),
            Kind::Truncate => self.truncate(node, line),
            Kind::Apply => self.apply(node, line),
            Kind::Purge => self.purge(node, line),
            Kind::Snapshot => {
                let position = position(line.last);
                self.same_as_committed(line.last, "the snapshot")?;
                if position > node.applied {
                    return Err(Ever(format!(
                        "the state machine has only applied up to {}",
                        index(node.applied)
                    )));
                }
                node.snapshots = node.snapshots.max(position);
                node.pending.insert(line.seq, Effect::Snapshot);
                Ok(())
            }
            Kind::Install => self.install(node, line),
            Kind::Done => {
                let of = line.of.unwrap_or(0);
                match node.pending.remove(&of) {
                    Some(effect) => {
                        self.done(node, effect);
                        Ok(())
                    }
                    None => Err(Ever(format!(
                        "line {of} began nothing that could be done, or it was done before"
                    ))),
                }
            }
        }
    }

    /// The store opens: it must hold what its effects left there.
    fn start(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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

    /// `save_vote`: a campaign, a grant or something learned, a new leadership, or a leader met.
    fn vote(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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

    /// `append`: an initialization, a leader's own entries, or a slice of the log of the leader that it follows.
    fn append(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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
            },
        );
        Ok(())
    }

    /// A leader's own entries. They may reach others before they are on its disk.
    fn offer(&mut self, node: &mut Node, entries: &[Entry]) -> Result<(), Missing> {
        let leader = leader_of(entries[0].id);
        if !self.said.get(&leader).is_some_and(|s| s.led) {
            // The committed vote of a new leader may be saved after its first entry.
            self.lead(node, leader)?;
        }
        let said = self.said.get_mut(&leader).expect("it leads");
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
    fn receive(&self, node: &Node, entries: &[Entry]) -> Result<(), Missing> {
        let vote = node.vote.filter(|v| v.committed && v.node != node.id);
        let Some(vote) = vote else {
            return Err(Ever(format!(
                "it follows no leader that could have sent {}",
                id(entries[0].id)
            )));
        };
        let leader = (vote.term, vote.node);
        let said = self
            .said
            .get(&leader)
            .ok_or_else(|| Yet(format!("n{} never led", vote.node)))?;
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
                    return Err(Yet(why));
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
    fn truncate(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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
        let said = self
            .said
            .get(&(vote.term, vote.node))
            .ok_or_else(|| Yet(format!("n{} never led", vote.node)))?;
        let differs = |position: u64| match (node.log.at(position), said.log.at(position)) {
            (Some(mine), Some(theirs)) => mine != theirs,
            _ => false,
        };
        // A snapshot that conflicts with the log makes openraft cut everything that is not committed.
        let installs = node
            .lines
            .iter()
            .find(|l| l.e != Kind::Done)
            .is_some_and(|l| l.e == Kind::Install);
        let conflicts =
            differs(keep + 1) || installs && (keep + 1..=node.log.length()).any(differs);
        if !conflicts {
            let why = format!(
                "entry {} does not conflict with n{}'s log in term {}",
                index(keep + 1),
                vote.node,
                vote.term
            );
            return Err(if said.log.at(keep + 1).is_none() {
                Yet(why)
            } else {
                Ever(why)
            });
        }
        node.log.truncate(keep);
        node.matched = node.matched.min(keep);
        node.pending.insert(line.seq, Effect::Truncate { keep });
        Ok(())
    }

    /// The state machine applies: each entry committed, in order, the one that is in the log.
    fn apply(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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
                    return Err(Yet(format!(
                        "entry {} is not known to be on a quorum under its leader",
                        id(entry.id)
                    )));
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

    fn purge(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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

    fn install(&mut self, node: &mut Node, line: &Line) -> Result<(), Missing> {
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
        node.pending.insert(line.seq, Effect::Install { last });
        Ok(())
    }

    /// An effect is durable.
    fn done(&mut self, node: &mut Node, effect: Effect) {
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

    /// What a follower or leader may have acknowledged by now: what is on its disk and equal to the leader's log.
    fn acknowledge(&mut self, node: &mut Node) {
        let Some(vote) = node
            .disk_vote
            .filter(|v| v.committed && node.vote == Some(*v))
        else {
            return;
        };
        let Some(said) = self.said.get_mut(&(vote.term, vote.node)) else {
            return;
        };
        node.matched = node.matched.min(node.disk.length());
        while node
            .disk
            .at(node.matched + 1)
            .is_some_and(|e| said.log.at(node.matched + 1) == Some(e))
        {
            node.matched += 1;
        }
        if node.matched > 0 {
            let ack = said.acks.entry(node.id).or_insert(0);
            *ack = node.matched.max(*ack);
        }
    }

    /// Extends the committed log by what some leader may have committed: an entry of its own on a quorum.
    fn advance(&mut self) -> Result<(), Missing> {
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
            return Err(Ever(format!(
                "n{} leads term {} without {}, which was committed",
                leader.1,
                leader.0,
                id(entry)
            )));
        }
        let new = log.all[known as usize..upto as usize].to_vec();
        for (&later, said) in self.said.range(leader..).skip(1).filter(|(_, s)| s.led) {
            if let Some(entry) = new.iter().find(|e| said.log.at(e.id.index + 1) != Some(e)) {
                return Err(Ever(format!(
                    "n{} led term {} without {}, which n{} committed in term {}",
                    later.1,
                    later.0,
                    id(entry.id),
                    leader.1,
                    leader.0
                )));
            }
        }
        self.committers.resize(upto as usize, leader);
        self.committed.extend(&new, &self.voters);
        Ok(())
    }

    /// Whether a quorum acknowledged `upto`, by any membership that was in force since that entry.
    fn on_quorum(&self, said: &Said, upto: u64) -> bool {
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
    fn in_force(&self, log: &Entries) -> Option<Sets> {
        match log.members.last() {
            Some(&position) => self.voters.get(&log.at(position)?.id).copied(),
            None => self.first_voters,
        }
    }

    fn know_voters(&mut self, entry: LogId, sets: &[Vec<u64>]) -> Result<(), Missing> {
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
    fn same_as_committed(&mut self, what: Option<LogId>, name: &str) -> Result<(), Missing> {
        let Some(what) = what else { return Ok(()) };
        if what.index >= self.committed.length() {
            self.advance()?;
        }
        match self.committed.at(what.index + 1) {
            None => Err(Yet(format!(
                "{name} ends in {}, which is not known to be committed",
                id(what)
            ))),
            Some(e) if e.id != what => Err(Ever(format!(
                "{name} ends in {}, and {} is committed there",
                id(what),
                id(e.id)
            ))),
            Some(_) => Ok(()),
        }
    }

    /// Makes a log hold the committed entries up to `last`; what agrees with it beyond stays.
    fn cover(&self, log: &mut Entries, last: LogId) {
        let position = last.index + 1;
        if log.at(position).is_none_or(|e| e.id != last) {
            *log = self.committed.clone();
            log.truncate(position);
        }
    }

    fn cover_log(&self, node: &mut Node, last: LogId) {
        let mut log = std::mem::take(&mut node.log);
        self.cover(&mut log, last);
        node.log = log;
    }
}

fn position(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

/// A position, for people.
fn index(position: u64) -> String {
    position
        .checked_sub(1)
        .map_or("nothing".into(), |i| format!("index {i}"))
}

fn id(id: LogId) -> String {
    format!("{}.{}-{}", id.term, id.node, id.index)
}

fn show(vote: Option<Vote>) -> String {
    match vote {
        None => "none".into(),
        Some(v) => format!(
            "{}.{}{}",
            v.term,
            v.node,
            if v.committed { " committed" } else { "" }
        ),
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
