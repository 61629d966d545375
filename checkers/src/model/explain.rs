//! A mutant's shortest counterexample, told: one sentence a step, and the same as data for a screen.
//!
//! Nodes are n1, n2, n3. An entry is written `term.node` after the leader that proposed it, with what it carries:
//! `1.2 blank`, `1.2 write`.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::check::Configuration;
use super::mutants::{Mutant, search};
use super::raft::{Action, Invariant, Raft};
use super::rules::{Answer, Received};
use super::state::{LEASE, Lid, NODES, Node, PackedLog, State, op, owner_of, term_of};

/// A counterexample told.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The mutant.
    pub mutant: Mutant,
    /// The bug, as a sentence.
    pub bug: &'static str,
    /// The configuration.
    pub configuration: &'static str,
    /// What is broken at the end; `None` for an expected survivor.
    pub invariant: Option<Invariant>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The end, as a sentence.
    pub conclusion: String,
}

/// One step of it.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Which node acts, from 1.
    pub node: usize,
    /// What happens, as a sentence.
    pub sentence: String,
    /// The nodes after it.
    pub nodes: Vec<NodeView>,
    /// The entries that somebody has committed by then.
    pub committed: Vec<String>,
}

/// One node, for a screen.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    /// Its number, from 1.
    pub node: usize,
    /// `leader`, `candidate` or `follower`.
    pub role: &'static str,
    /// The term and node of its vote; `None` before it has one.
    pub vote: Option<(u64, usize)>,
    /// Whether the vote is committed.
    pub vote_committed: bool,
    /// Its log.
    pub log: Vec<String>,
    /// How far it knows it to be committed.
    pub commit: u8,
    /// Whether it promised its leader not to vote.
    pub promised: bool,
}

/// Tells a mutant's shortest counterexample.
#[must_use]
pub fn explain(mutant: Mutant) -> Explanation {
    let pinned = mutant.pinned();
    let found = search(pinned);
    let mut configuration =
        Configuration::named(pinned.configuration).expect("a pinned configuration exists");
    configuration.rules.broken = Some(mutant);
    let Some(violation) = found.violation else {
        return Explanation {
            mutant,
            bug: pinned.sentence,
            configuration: pinned.configuration,
            invariant: None,
            steps: Vec::new(),
            conclusion: format!(
                "None of the {} states breaks an invariant: within these bounds the bug does no harm.",
                found.unique
            ),
        };
    };
    configuration.reduce = false;
    let steps = match configuration.terms {
        1 => steps(&Raft::<3>::new(configuration), &violation.actions),
        2 => steps(&Raft::<6>::new(configuration), &violation.actions),
        3 => steps(&Raft::<9>::new(configuration), &violation.actions),
        _ => steps(&Raft::<12>::new(configuration), &violation.actions),
    };
    Explanation {
        mutant,
        bug: pinned.sentence,
        configuration: pinned.configuration,
        invariant: Some(violation.invariant),
        steps,
        conclusion: conclusion(violation.invariant).to_string(),
    }
}

fn conclusion(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::ElectionSafety => "One leadership is established twice.",
        Invariant::LeaderAppendOnly => "A leader takes back what it offered under its id.",
        Invariant::LogMatching => "Two logs hold the same entry and differ before it.",
        Invariant::LeaderCompleteness => "A later leader lacks an entry that was committed.",
        Invariant::StateMachineSafety => "Two nodes commit different entries at one index.",
        Invariant::CommittedOnQuorum => "A committed entry is no longer on the disks of a quorum.",
        Invariant::VoteMonotone => "A node's vote went back.",
        Invariant::ReadFresh => {
            "The read may miss a write that was acknowledged before the read began."
        }
        Invariant::LeaseReadFresh => {
            "The read under the lease misses a write that was acknowledged before it."
        }
    }
}

fn steps<const SLOTS: usize>(model: &Raft<SLOTS>, actions: &[Action]) -> Vec<Step> {
    let mut state = State::<SLOTS>::default();
    let mut told = Vec::new();
    for &action in actions {
        let next = model.step(&state, action, &mut 0).unwrap_or(state);
        let (node, sentence) = tell(model, &state, &next, action);
        told.push(Step {
            node,
            sentence,
            nodes: (0..NODES).map(|i| view(i, &next.nodes[i])).collect(),
            committed: entries(next.committed),
        });
        state = next;
    }
    told
}

fn view(i: usize, n: &Node) -> NodeView {
    NodeView {
        node: i + 1,
        role: if n.leads() {
            "leader"
        } else if n.campaigns() {
            "candidate"
        } else {
            "follower"
        },
        vote: (n.vote != 0).then(|| (term_of(n.lid()), owner_of(n.lid()) + 1)),
        vote_committed: n.vote & 1 == 1,
        log: entries(n.log),
        commit: n.commit,
        promised: n.bits & LEASE != 0,
    }
}

fn entries(log: PackedLog) -> Vec<String> {
    (1..=log.len()).map(|p| entry(log.entry(p))).collect()
}

fn entry(byte: u8) -> String {
    let what = match byte >> 4 {
        op::BLANK => "blank",
        op::WRITE => "write",
        op::JOINT => "joint membership",
        _ => "new membership",
    };
    format!("{} {what}", id(byte & 15))
}

/// A leader id as `term.node`.
fn id(l: Lid) -> String {
    format!("{}.{}", term_of(l), owner_of(l) + 1)
}

fn span(first: u8, last: u8) -> String {
    if first == last {
        format!("entry {first}")
    } else {
        format!("entries {first} to {last}")
    }
}

/// The step from `s` to `t`, as the acting node (from 1) and a sentence.
#[must_use]
pub fn tell<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    s: &State<SLOTS>,
    t: &State<SLOTS>,
    action: Action,
) -> (usize, String) {
    let n = |i: u8| format!("n{}", i + 1);
    let lead = |l: Lid| format!("n{}", owner_of(l) + 1);
    match action {
        Action::Elect(i) => {
            let l = t.nodes[i as usize].lid();
            (
                i as usize + 1,
                format!(
                    "{} campaigns in term {} with a log of {}.",
                    n(i),
                    term_of(l),
                    count(s.nodes[i as usize].log)
                ),
            )
        }
        Action::Vote(j, l) => {
            let (a, b) = (&s.nodes[j as usize], &t.nodes[j as usize]);
            let way = if a.vote == b.vote {
                "again grants"
            } else {
                "grants"
            };
            (
                j as usize + 1,
                format!(
                    "{} {way} its vote to {} for term {}.",
                    n(j),
                    lead(l),
                    term_of(l)
                ),
            )
        }
        Action::Lead(i) => {
            let l = t.nodes[i as usize].lid();
            let at = t.nodes[i as usize].log.len();
            (
                i as usize + 1,
                format!(
                    "{} leads term {} and appends a blank entry at {at}.",
                    n(i),
                    term_of(l)
                ),
            )
        }
        Action::Write(i) => (
            i as usize + 1,
            format!(
                "{} appends a client's write at {}.",
                n(i),
                t.nodes[i as usize].log.len()
            ),
        ),
        Action::Change(i) => {
            let log = t.nodes[i as usize].log;
            (
                i as usize + 1,
                format!(
                    "{} appends the {} at {}.",
                    n(i),
                    entry(log.entry(log.len())),
                    log.len()
                ),
            )
        }
        Action::Append {
            to,
            from,
            prev,
            end,
            announced,
        } => (
            to as usize + 1,
            tell_append(model, s, t, (to, from, prev, end, announced)),
        ),
        Action::Install { to, from, end } => (
            to as usize + 1,
            format!(
                "{} installs {}'s snapshot of {}.",
                n(to),
                lead(from),
                span(1, end)
            ),
        ),
        Action::Advance(i, p) => {
            let position = s.nodes[i as usize].commit + 1;
            (
                i as usize + 1,
                format!(
                    "{} commits {}: a quorum acknowledged.",
                    n(i),
                    span(position, p)
                ),
            )
        }
        Action::Learn(i, l) => (
            i as usize + 1,
            format!(
                "{} hears of {}'s vote for term {} and steps back.",
                n(i),
                lead(l),
                term_of(l)
            ),
        ),
        Action::Restart(i) => (
            i as usize + 1,
            tell_restart(&s.nodes[i as usize], &t.nodes[i as usize], i),
        ),
        Action::Flush(i) => (
            i as usize + 1,
            format!("{}'s vote and log reach its disk; it answers.", n(i)),
        ),
        Action::ReadStart(i) => {
            let (floor, index) = (t.read.at >> 4, t.read.at & 15);
            (
                i as usize + 1,
                format!(
                    "{} begins a read at index {index}; {floor} committed so far, by anybody.",
                    n(i)
                ),
            )
        }
        Action::ReadConfirm(j) => (
            j as usize + 1,
            format!("{} confirms to {} that it leads.", n(j), lead(s.read.lid)),
        ),
        Action::ReadDone => {
            let (floor, index) = (s.read.at >> 4, s.read.at & 15);
            let node = owner_of(s.read.lid);
            (
                node + 1,
                format!(
                    "n{} answers the read with the state at {index}, though {floor} had been committed.",
                    node + 1
                ),
            )
        }
        Action::Promise(i, j) => (
            j as usize + 1,
            format!(
                "{} answers {}'s heartbeat: it promises not to vote, and pays for {}'s lease.",
                n(j),
                n(i),
                n(i)
            ),
        ),
        Action::LeaseEnds(i, j) => (
            i as usize + 1,
            format!(
                "the part of {}'s lease that {} paid for runs out.",
                n(i),
                n(j)
            ),
        ),
        Action::PromiseEnds(j) => (
            j as usize + 1,
            format!("{}'s promise not to vote runs out.", n(j)),
        ),
        Action::LeaseRead(i) => {
            let node = &s.nodes[i as usize];
            (
                i as usize + 1,
                format!(
                    "{} answers a read under its lease: it knows {} committed, {} are.",
                    n(i),
                    node.commit,
                    s.committed.len()
                ),
            )
        }
    }
}

fn count(log: PackedLog) -> String {
    match log.len() {
        0 => "no entries".into(),
        1 => format!("one entry ({})", entry(log.entry(1))),
        n => format!("{n} entries (last {})", entry(log.entry(n))),
    }
}

fn tell_append<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    s: &State<SLOTS>,
    t: &State<SLOTS>,
    (to, from, prev, end, announced): (u8, Lid, u8, u8, u8),
) -> String {
    let (a, b) = (&s.nodes[to as usize], &t.nodes[to as usize]);
    let mut text = format!("n{} receives ", to + 1);
    let leader = format!("n{} (term {})", owner_of(from) + 1, term_of(from));
    if prev == end {
        let _ = write!(text, "a heartbeat after {prev} from {leader}");
    } else {
        let _ = write!(text, "{} from {leader}", span(prev + 1, end));
    }
    let rules = model.configuration.rules;
    match rules.receive(&a.log, &s.slot(from).log(), u64::from(prev), u64::from(end)) {
        Received::Conflict { .. } => {
            let _ = write!(text, ", has not the entry before, and reports a conflict");
            if b.log.len() < a.log.len() {
                let _ = write!(text, "; its log is cut to {}", b.log.len());
            }
        }
        Received::Fits { keep, matched, .. } => {
            if (keep as u8) < a.log.len() {
                let _ = write!(text, ", cuts its own log after {keep}");
            }
            let _ = write!(text, ", acknowledges {matched}");
        }
    }
    if announced > 0 && b.commit > a.commit {
        let _ = write!(text, " and commits up to {}", b.commit);
    }
    text.push('.');
    text
}

fn tell_restart(a: &Node, b: &Node, i: u8) -> String {
    let mut text = format!("n{} crashes and comes back", i + 1);
    let mut lost: Vec<String> = Vec::new();
    if b.log.len() < a.log.len() {
        lost.push(format!(
            "what was not on its disk of its log (now {} long)",
            b.log.len()
        ));
    }
    if b.vote >> 1 != a.vote >> 1 {
        lost.push("its vote".into());
    }
    if a.bits & LEASE != 0 && b.bits & LEASE == 0 {
        lost.push("its promise not to vote".into());
    }
    if a.commit > 0 {
        lost.push("what it knew to be committed".into());
    }
    if !lost.is_empty() {
        let _ = write!(text, " without {}", lost.join(" and without "));
    }
    if b.leads() {
        text.push_str(", as the leader of the same term");
    }
    text.push('.');
    text
}

/// Why a node answers a vote request as it does, for a sentence.
#[must_use]
pub fn why(answer: Answer) -> &'static str {
    match answer {
        Answer::Granted { .. } => "it grants it",
        Answer::RefusedByLease => "it promised its leader not to",
        Answer::RefusedByLog => "its own log is ahead",
        Answer::RefusedByVote => "its own vote is higher",
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}.", self.mutant.name(), self.bug)?;
        writeln!(f, "Configuration {}.", self.configuration)?;
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {}", at + 1, step.sentence)?;
        }
        match self.invariant {
            Some(invariant) => write!(f, "{invariant} is broken. {}", self.conclusion),
            None => write!(f, "{}", self.conclusion),
        }
    }
}
