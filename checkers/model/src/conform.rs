//! Whether what real nodes' storages did is a behaviour of the rules: one greedy pass over their traces.
//!
//! Every guard below asks what is local to the node and what has ever been said, and what has ever been said only
//! grows. So an event of one node never disables an event of another: firing whatever can be fired, in any order,
//! loses nothing, and a trace that gets stuck has no explanation at all. No search, linear time, no clock.
//!
//! Elections, requests, acknowledgements and commits are not in a trace; they are inferred with the same
//! [`Rules`] that the model is proved with. What cannot be seen here: reads, real time, and who granted a vote where
//! it could as well have learned of it. Histories and their judge are for those.
//!
//! A node that is killed between an effect and its *done* has told nobody of it. What its next start shows is on its
//! disk all the same, so that its next life may tell: such a start is credited with all that follows from what it shows
//! ([`lives`]). Where the replay is stuck, the node that is named is one whose event no other node's next step could
//! explain, not the first that waits ([`blame`]).

mod blame;
mod commits;
mod elections;
mod lives;
mod logs;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::Serialize;

use super::rules::{Answer, Ballot, Log, Order, Received, Rules};
use super::trace::{self, Entry, Kind, LAST_NODE, Line, LogId, Vote};

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

/// The event without an explanation that is the root of the others without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The node that is to blame for it.
    pub node: u64,
    /// The event, as its line, or what is missing from the files.
    pub event: String,
    /// The node's last events before it, oldest first, at most six.
    pub before: Vec<String>,
    /// The missing fact, in words.
    pub missing: String,
    /// How many events of all nodes were explained before everything was stuck.
    pub explained: u64,
    /// Other roots: independent of this one, or in a circle with it, where each waits for what another does next and at
    /// least one is wrong. An event that only waits for a root is not here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Unexplained>,
}

/// An event without an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unexplained {
    /// The node that is to blame for it.
    pub node: u64,
    /// The event, as its line, or in words where it left none.
    pub event: String,
    /// The missing fact, in words.
    pub missing: String,
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
    /// The line by which the candidate's vote began.
    campaign: Option<Line>,
    /// The last entry of the candidate, once it asked.
    asked: Option<Option<(Leader, u64)>>,
    /// The candidate's vote was on its disk as a life of it began, whether or not it had asked: others may hear of the
    /// vote from it, which is no request that they could grant.
    told: bool,
    granted: u64,
    led: bool,
    log: Entries,
    acks: BTreeMap<u64, u64>,
}

/// An effect that began and is not known to be done.
#[derive(Clone)]
enum Effect {
    Vote {
        vote: Vote,
        grants: bool,
        /// The node's last entry as this began: what a candidate asks with.
        last: Option<(Leader, u64)>,
    },
    Append {
        keep: u64,
        entries: Vec<Entry>,
        /// The leader that the node followed, or was, as this began.
        under: Option<Vote>,
    },
    Truncate {
        keep: u64,
    },
    Purge {
        upto: LogId,
    },
    Apply,
    /// A snapshot of its own, or one that it received, up to that position.
    Snapshot {
        upto: u64,
    },
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
    /// The most it holds, or was about to, since the last start.
    ever_applied: u64,
    /// How far a snapshot reaches that it has, or was about to have, since the last start.
    snapshots: u64,
    /// How far a snapshot reaches that is surely on disk.
    kept: u64,
    /// How much of the committed log is surely on disk as a state, whatever the log's file holds of it.
    covered: u64,
    pending: BTreeMap<u64, Effect>,
    /// How much of the log equals that of the leader in `vote`.
    matched: u64,
}

/// Why an event cannot be fired.
enum Missing {
    /// Another node's event may supply the fact.
    Yet(Awaited, String),
    /// Nothing can.
    Ever(String),
    /// Nothing can, and what that leader did is why.
    Led(Leader, String),
}

/// A fact that other nodes may supply.
#[derive(Clone, Copy)]
enum Awaited {
    /// The candidate asks for votes, or what it saved becomes known.
    Campaign(Leader),
    /// These voters grant the candidate's vote.
    Grants(Leader, Sets),
    /// The candidate leads.
    Leadership(Leader),
    /// The leader's log reaches that position.
    Offer(Leader, u64),
    /// The entry is committed.
    Commit(LogId),
}

use Missing::{Ever, Led, Yet};

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
///
/// A voter that a membership names, committed or not, must have a file: what it did would otherwise be taken on trust.
/// A learner need not, nor a node that no membership ever named.
#[must_use]
pub fn conform(files: Vec<Vec<Line>>, first_voters: Option<&[u64]>) -> Conformance {
    if let Some(rejected) = unusable(&files, first_voters.unwrap_or_default()) {
        return Conformance::Rejected(rejected);
    }
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
    let mut nodes: Vec<Node> = files
        .into_iter()
        .map(|lines| Node {
            id: lines[0].node,
            lines: lines.into(),
            ..Node::default()
        })
        .collect();
    nodes.sort_by_key(|n| n.id);
    replay.run(&mut nodes)
}

/// Why these files show nothing, whatever is in their lines: one is missing, empty, cut off at its front or there
/// twice, or an id fits in no set.
fn unusable(files: &[Vec<Line>], first_voters: &[u64]) -> Option<Rejected> {
    let reject = |node, event: String, missing: String| {
        Some(Rejected {
            node,
            event,
            before: Vec::new(),
            missing,
            explained: 0,
            also: Vec::new(),
        })
    };
    if files.is_empty() {
        return reject(
            0,
            "no trace".into(),
            "there is no file: nothing was recorded, so nothing is shown".into(),
        );
    }
    let mut there = BTreeSet::new();
    for lines in files {
        let Some(first) = lines.first() else {
            return reject(
                0,
                "an empty trace".into(),
                "a file holds no event: nothing was recorded, so nothing is shown".into(),
            );
        };
        if first.e != Kind::Start {
            let missing = "the node has no start: its trace is cut off at the front";
            return reject(first.node, text(first), missing.into());
        }
        if let Some((line, far)) = lines.iter().find_map(|l| Some((l, trace::beyond(l)?))) {
            let missing = format!("node ids go up to {LAST_NODE}, and this is {far}");
            return reject(first.node, text(line), missing);
        }
        if !there.insert(first.node) {
            return reject(first.node, text(first), "two files are of one node".into());
        }
    }
    if let Some(far) = first_voters.iter().find(|&&id| id > LAST_NODE) {
        let missing = format!("node ids go up to {LAST_NODE}, and the first voters have {far}");
        return reject(*far, "no trace".into(), missing);
    }
    // What a voter without a file did may be anything: the quorums that the others need of it prove nothing.
    let absent = first_voters.iter().find(|id| !there.contains(id));
    if let Some(&id) = absent {
        let missing = format!("n{id} is a voter from the beginning, and there is no file of it");
        return reject(id, "no trace".into(), missing);
    }
    for line in files.iter().flatten() {
        let mut voters = line.members.iter().flat_map(|(_, sets)| sets).flatten();
        if let Some(&id) = voters.find(|id| !there.contains(id)) {
            let missing = format!(
                "the trace of n{} names n{id} as a voter, and there is no file of it",
                line.node
            );
            return reject(id, "no trace".into(), missing);
        }
    }
    None
}

fn text(line: &Line) -> String {
    serde_json::to_string(line).expect("a line is plain data")
}

/// Nodes as bits; their ids are [`LAST_NODE`] at most, as [`unusable`] sees to.
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
            let (before, mut stuck) = (self.explained, BTreeMap::new());
            for (at, node) in nodes.iter_mut().enumerate() {
                if let Err(missing) = self.go_on(node) {
                    stuck.insert(at, missing);
                }
            }
            if self.explained > before {
                continue;
            }
            if stuck.is_empty() {
                break;
            }
            return Conformance::Rejected(self.blame(nodes, &stuck));
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

    /// Does the node's events up to the first that cannot be done.
    fn go_on(&mut self, node: &mut Node) -> Result<(), Missing> {
        while let Some(line) = node.lines.pop_front() {
            if let Err(missing) = self.fire(node, &line) {
                node.lines.push_front(line);
                return Err(missing);
            }
            self.explained += 1;
            self.acknowledge(node);
            node.before.push_back(line);
            if node.before.len() > 6 {
                node.before.pop_front();
            }
        }
        Ok(())
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
                let effect = Effect::Snapshot { upto: position };
                node.pending.insert(line.seq, effect);
                Ok(())
            }
            Kind::Install => self.install(node, line),
            Kind::Replaced => self.replaced(node, line),
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
