//! A mutant's shortest counterexample, told: one sentence a step, and the same as data for a screen.
//!
//! Nodes are n1, n2, n3. An entry is written `term.node` after the leader that proposed it, with what it carries:
//! `1.2 blank`, `1.2 write`.

use std::fmt;

use serde::Serialize;

use super::check::{Configuration, find};
use super::invariant::floor;
use super::mutants::{Mutant, search};
use super::raft::{Action, Invariant, Raft};
use super::rules::Order;
use super::state::{LEASE, NODES, Node, PackedLog, State, owner_of, term_of};
pub use super::tell::tell;
use super::tell::{entry, names};

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
    let (actions, invariant) = (&violation.actions, violation.invariant);
    let (steps, conclusion) = match configuration.terms {
        1 => story(&Raft::<3>::new(configuration), actions, invariant),
        2 => story(&Raft::<6>::new(configuration), actions, invariant),
        3 => story(&Raft::<9>::new(configuration), actions, invariant),
        _ => story(&Raft::<12>::new(configuration), actions, invariant),
    };
    Explanation {
        mutant,
        bug: pinned.sentence,
        configuration: pinned.configuration,
        invariant: Some(invariant),
        steps,
        conclusion,
    }
}

/// The last step of a configuration's shortest counterexample, and what it breaks, as sentences; empty when there is
/// none.
#[must_use]
pub fn ending(configuration: &Configuration) -> String {
    let Some(violation) = find(configuration).violation else {
        return String::new();
    };
    let (c, actions, invariant) = (*configuration, &violation.actions, violation.invariant);
    let (steps, conclusion) = match c.terms {
        1 => story(&Raft::<3>::new(c), actions, invariant),
        2 => story(&Raft::<6>::new(c), actions, invariant),
        3 => story(&Raft::<9>::new(c), actions, invariant),
        _ => story(&Raft::<12>::new(c), actions, invariant),
    };
    let last = steps.last().map_or("", |s| s.sentence.as_str());
    format!("{last} {conclusion}")
}

/// What the last state shows, as a sentence.
fn conclusion<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    invariant: Invariant,
    s: &State<SLOTS>,
) -> String {
    match invariant {
        Invariant::ElectionSafety => {
            "One leader id is established twice: it no longer says who proposed an entry.".into()
        }
        Invariant::LeaderAppendOnly => {
            "A leader takes back what it offered under its own id.".into()
        }
        Invariant::LogMatching => "Two logs hold the same entry and differ before it.".into(),
        Invariant::LeaderCompleteness => lacking(model, s),
        Invariant::StateMachineSafety => {
            let other = s.nodes.iter().enumerate().find_map(|(i, n)| {
                let at = n.log.common(s.committed) + 1;
                (at <= n.commit.min(s.committed.len())).then(|| (i, at, n.log.entry(at)))
            });
            match other {
                Some((i, at, mine)) => format!(
                    "n{} takes {} for committed at {at}, where {} is.",
                    i + 1,
                    entry(mine),
                    entry(s.committed.entry(at))
                ),
                None => "Two nodes commit different entries at one index.".into(),
            }
        }
        Invariant::CommittedOnQuorum => {
            let flush = model.configuration.flush;
            let held = |at: u8| {
                (0..NODES).fold(0u8, |set, i| {
                    let n = &s.nodes[i];
                    let disk = if flush { n.disk } else { n.log };
                    set | u8::from(disk.common(s.committed) >= at) << i
                })
            };
            let at = (1..=s.committed.len())
                .find(|&at| held(at).count_ones() < 2)
                .unwrap_or(1);
            format!(
                "Entry {at} ({}) is committed, and on the disk of {}.",
                entry(s.committed.entry(at)),
                names(held(at))
            )
        }
        Invariant::VoteMonotone => "A node's vote went back.".into(),
        Invariant::ReadFresh | Invariant::LeaseReadFresh => {
            let at = floor(s.committed).max(1);
            format!(
                "The client is not shown the write at {at}, which n{} had committed before: whoever asked n{} saw it, and now it is gone.",
                owner_of(s.committer(at)) + 1,
                owner_of(s.committer(at)) + 1
            )
        }
    }
}

/// Which later leader lacks which committed entry.
fn lacking<const SLOTS: usize>(model: &Raft<SLOTS>, s: &State<SLOTS>) -> String {
    for l in (1..=SLOTS as u8).filter(|&l| s.slot(l).led()) {
        let same = s.slot(l).log().common(s.committed);
        for at in same + 1..=s.committed.len() {
            let by = s.committer(at);
            if model.order.compare_in_log(l, by).is_gt() {
                return format!(
                    "n{} leads term {} without entry {at} ({}), which n{} committed in term {}.",
                    owner_of(l) + 1,
                    term_of(l),
                    entry(s.committed.entry(at)),
                    owner_of(by) + 1,
                    term_of(by)
                );
            }
        }
    }
    "A later leader lacks an entry that was committed.".into()
}

/// The steps told, and how it ends.
fn story<const SLOTS: usize>(
    model: &Raft<SLOTS>,
    actions: &[Action],
    invariant: Invariant,
) -> (Vec<Step>, String) {
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
    let end = conclusion(model, invariant, &state);
    (told, end)
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
