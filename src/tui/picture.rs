//! What is known of a run, folded from what was told: one fact after the other ([`Picture::told`]).
//!
//! It is the same for a live run and for a replay, and it can be folded again from the start. Nothing here knows what is
//! selected, focused or frozen: that is the [`App`](super::App)'s.

use std::collections::BTreeMap;
use std::path::PathBuf;

use checkers::verdict::Counterexample;

use super::operations::Operations;
use crate::fault::{Fault, NodeId, Who};
use crate::run::{
    By, ChildState, FaultId, Finding, LinkState, Load, NodeView, Notice, Part, Phase, Progress,
    Role, RpcView, Told, VerdictWord, again_in_words,
};

/// The most lines that the Events panel keeps: the oldest half goes when it is full.
const EVENTS_KEPT: usize = 20_000;

/// A fault, from when it was in to when it was out.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpan {
    /// Its number.
    pub id: FaultId,
    /// What.
    pub fault: Fault,
    /// Whose doing.
    pub by: By,
    /// When it took effect.
    pub in_ns: u64,
    /// When it was taken out; `None` while it is in.
    pub out_ns: Option<u64>,
}

/// A line of the Events panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When.
    pub time_ns: u64,
    /// What happened.
    pub text: String,
    /// How it is to be shown.
    pub tone: Tone,
}

/// How a line is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it comes.
    Plain,
    /// Something that we did.
    Fault,
    /// A violation.
    Violation,
    /// A finding, a bench error.
    Loud,
    /// Nothing much.
    Dim,
}

/// A leader that was elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// When it was first heard of.
    pub time_ns: u64,
    /// Who leads.
    pub node: NodeId,
    /// Its term.
    pub term: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The verdict on the whole history.
    pub verdict: VerdictWord,
    /// The exit code.
    pub exit: u8,
    /// One line for a person.
    pub summary: String,
}

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The scenario's name; empty until the run has started.
    pub scenario: String,
    /// The run's seed.
    pub seed: u64,
    /// How long the workload shall run; 0: until somebody stops it.
    pub seconds: u64,
    /// The planted defect.
    pub defect: Option<String>,
    /// The run's folder.
    pub dir: PathBuf,
    /// How to run it again, as a command.
    pub again: String,
    /// Where the run stands; `None` until it has started.
    pub phase: Option<Phase>,
    /// The instant of the newest fact.
    pub time_ns: u64,
    /// The nodes, by id.
    pub nodes: BTreeMap<NodeId, NodeView>,
    /// What each node's calls at its peers have come to, a row a method.
    pub rpcs: BTreeMap<NodeId, Vec<RpcView>>,
    /// When each child that is up was seen to come up.
    pub up_since_ns: BTreeMap<NodeId, u64>,
    /// The links that are not open.
    pub links: BTreeMap<(NodeId, NodeId), LinkState>,
    /// Every fault that took effect, in order.
    pub faults: Vec<FaultSpan>,
    /// The leaders, in order.
    pub elections: Vec<Election>,
    /// Whether the plan goes on.
    pub nemesis: bool,
    /// Whether the workload is held.
    pub held: bool,
    /// Operations a second that the workload asks for.
    pub load: Load,
    /// How many clients the run began with.
    pub clients: u32,
    /// Whether a violation holds the network, the workload and the plan, until somebody lets them go on.
    pub stands: bool,
    /// The operations.
    pub operations: Operations,
    /// The Events panel's lines.
    pub lines: Vec<Line>,
    /// The verdict so far.
    pub progress: Progress,
    /// The violation, once there is one: it never goes away.
    pub alarm: Option<Box<Counterexample>>,
    /// When the alarm was raised.
    pub alarm_ns: u64,
    /// What other oracles found, each once.
    pub findings: Vec<Finding>,
    /// Whether somebody's hands had a part in what was asked of the cluster.
    pub load_by_hand: bool,
    /// Since when a violation or a finding holds everything: nothing happens on the timeline after that.
    pub stands_since_ns: Option<u64>,
    /// How it ended.
    pub end: Option<End>,
    /// We failed.
    pub bench_error: Option<String>,
}

impl Picture {
    /// The same without operations and lines: enough to decide what a command is.
    pub(super) fn bare(&mut self) -> Picture {
        let operations = std::mem::take(&mut self.operations);
        let lines = std::mem::take(&mut self.lines);
        let bare = self.clone();
        (self.operations, self.lines) = (operations, lines);
        bare
    }

    /// Takes the next fact.
    pub fn told(&mut self, told: Told) {
        match told {
            Told::Event(event) => {
                self.time_ns = self.time_ns.max(event.time_ns);
                self.operations.event(&event);
            }
            Told::Notice { time_ns, notice } => {
                self.time_ns = self.time_ns.max(time_ns);
                self.notice(time_ns, notice);
            }
        }
    }

    fn notice(&mut self, time_ns: u64, notice: Notice) {
        match notice {
            Notice::Started {
                scenario,
                seed,
                nodes,
                seconds,
                load,
                defect,
                dir,
                again,
            } => {
                (self.scenario, self.load, self.clients) = (scenario, load, load.clients);
                (self.seed, self.seconds, self.defect, self.dir) = (seed, seconds, defect, dir);
                self.again = again;
                self.phase = Some(Phase::Starting);
                self.nemesis = true;
                self.nodes = nodes
                    .into_iter()
                    .map(|id| {
                        (
                            id,
                            NodeView {
                                id,
                                ..NodeView::default()
                            },
                        )
                    })
                    .collect();
            }
            Notice::Phase { phase } => {
                self.phase = Some(phase);
                self.line(time_ns, Tone::Dim, phase_sentence(phase));
            }
            Notice::Node { node } => self.node(time_ns, node),
            Notice::Rpcs { node, rpcs } => {
                self.rpcs.insert(node, rpcs);
            }
            Notice::Link {
                from,
                to,
                state: LinkState::Open,
            } => {
                self.links.remove(&(from, to));
            }
            Notice::Link { from, to, state } => {
                self.links.insert((from, to), state);
            }
            Notice::FaultIn { id, fault, by } => {
                self.line(time_ns, Tone::Fault, format!("{}{fault}", who(by)));
                self.faults.push(FaultSpan {
                    id,
                    fault,
                    by,
                    in_ns: time_ns,
                    out_ns: None,
                });
            }
            Notice::FaultOut { id, fault, by } => {
                if let Some(span) = self.faults.iter_mut().rev().find(|span| span.id == id) {
                    span.out_ns = Some(time_ns);
                }
                self.line(
                    time_ns,
                    Tone::Plain,
                    format!("{}{}", who(by), undone(&fault)),
                );
            }
            Notice::FaultSkipped { fault, by, why } => {
                self.line(time_ns, Tone::Dim, not_done(&fault, by, &why));
            }
            Notice::FaultUnresolved { fault, by, why } => {
                self.line(time_ns, Tone::Dim, not_done(&fault, by, &why));
            }
            Notice::FaultIndeterminate { fault, why, .. } => {
                self.line(time_ns, Tone::Dim, format!("{fault}: {why}"));
            }
            Notice::Nemesis { on } => {
                if self.nemesis != on {
                    self.line(
                        time_ns,
                        Tone::Plain,
                        if on {
                            "the nemesis goes on"
                        } else {
                            "the nemesis is off"
                        },
                    );
                }
                self.nemesis = on;
            }
            Notice::Workload { held } => {
                if self.held != held {
                    self.line(
                        time_ns,
                        Tone::Plain,
                        if held {
                            "the workload is held"
                        } else {
                            "the workload goes on"
                        },
                    );
                }
                self.held = held;
            }
            Notice::Load { load } => {
                self.line(time_ns, Tone::Plain, format!("the workload: {load}"));
                self.load = load;
            }
            Notice::Held { held } => {
                let text = if held {
                    "the network is held as it was: look at the nodes"
                } else {
                    "the network goes on"
                };
                self.line(time_ns, Tone::Loud, text);
                self.stands = held;
                self.stands_since_ns = held.then_some(time_ns);
            }
            Notice::Say { text } => self.line(time_ns, Tone::Plain, text),
            Notice::Anchor { text } => {
                self.line(time_ns, Tone::Plain, format!("the plan saw {text}"))
            }
            Notice::Progress { progress } => self.progress = progress,
            Notice::Alarm { counterexample } => self.alarm(time_ns, counterexample),
            Notice::ByHand { part, again } => {
                self.load_by_hand |= part == Part::Load;
                self.again = again;
            }
            Notice::Found { finding } => {
                // What was recorded before runs told each of them once may say it hundreds of times.
                if self.findings.iter().any(|known| known.is_same(&finding)) {
                    return;
                }
                self.line(
                    time_ns,
                    Tone::Loud,
                    format!("finding, {}: {}", finding.oracle, finding.evidence),
                );
                self.findings.push(finding);
            }
            Notice::Ended {
                verdict,
                exit,
                summary,
            } => {
                self.phase = Some(Phase::Ended);
                self.stands = false;
                self.line(time_ns, Tone::Plain, summary.clone());
                self.end = Some(End {
                    verdict,
                    exit,
                    summary,
                });
            }
            Notice::BenchError { text } => {
                self.line(time_ns, Tone::Loud, format!("bench error: {text}"));
                self.bench_error = Some(text);
            }
        }
    }

    /// Raises the alarm: also while the picture is frozen, for the verdict is always on screen. Twice is once.
    pub fn alarm(&mut self, time_ns: u64, counterexample: Box<Counterexample>) {
        if self.alarm.is_none() {
            let text = format!(
                "NOT LINEARIZABLE: {} at #{}",
                counterexample.key, counterexample.culprit
            );
            self.line(time_ns, Tone::Violation, text);
            self.alarm = Some(counterexample);
            self.alarm_ns = time_ns;
        }
    }

    fn node(&mut self, time_ns: u64, node: NodeView) {
        let id = node.id;
        let before = self.nodes.insert(id, node.clone()).unwrap_or_default();
        if node.role == Role::Leader && node.child != ChildState::Dead {
            let election = Election {
                time_ns,
                node: id,
                term: node.term,
            };
            let known = self
                .elections
                .iter()
                .rev()
                .any(|e| (e.node, e.term) == (id, node.term));
            if !known {
                self.elections.push(election);
                self.line(
                    time_ns,
                    Tone::Plain,
                    format!("n{id} leads term {}", node.term),
                );
            }
        }
        if before.leader.is_some() && node.leader.is_none() && node.child == ChildState::Up {
            self.line(time_ns, Tone::Plain, format!("n{id} lost its leader"));
        }
        if before.child != node.child {
            match node.child {
                ChildState::Up if before.child != ChildState::Paused => {
                    self.up_since_ns.insert(id, time_ns);
                    if node.restarts > 0 {
                        self.line(time_ns, Tone::Plain, format!("n{id} is up again"));
                    }
                }
                ChildState::Dead if !self.is_killed(id) => {
                    self.line(time_ns, Tone::Plain, format!("n{id} has ended"));
                }
                _ => {}
            }
        }
    }

    fn is_killed(&self, id: NodeId) -> bool {
        self.active().any(|span| match &span.fault {
            Fault::Kill { who: node }
            | Fault::Restart { who: node, .. }
            | Fault::KillLoop { who: node, .. } => *node == id,
            Fault::PowerLoss { who: nodes } | Fault::KillSeveral { who: nodes } => {
                nodes.contains(&id)
            }
            _ => false,
        })
    }

    fn line(&mut self, time_ns: u64, tone: Tone, text: impl Into<String>) {
        if self.lines.len() >= EVENTS_KEPT {
            self.lines.drain(..EVENTS_KEPT / 2);
        }
        self.lines.push(Line {
            time_ns,
            text: text.into(),
            tone,
        });
    }

    /// The faults that are in, oldest first.
    pub fn active(&self) -> impl Iterator<Item = &FaultSpan> {
        self.faults.iter().filter(|span| span.out_ns.is_none())
    }

    /// The faults that were in at `time_ns`.
    pub fn active_at(&self, time_ns: u64) -> impl Iterator<Item = &FaultSpan> {
        self.faults.iter().filter(move |span| {
            span.in_ns <= time_ns && span.out_ns.is_none_or(|out| out > time_ns)
        })
    }

    /// Ids of the nodes, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// The node that leads the highest term, as far as is known. A dead one does not lead; a paused one does not know.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let leads = |node: &&NodeView| node.role == Role::Leader && node.child != ChildState::Dead;
        self.nodes
            .values()
            .filter(leads)
            .max_by_key(|node| node.term)
            .map(|node| node.id)
    }

    /// The node that led the highest term at `time_ns`.
    #[must_use]
    pub fn leader_at(&self, time_ns: u64) -> Option<Election> {
        self.elections
            .iter()
            .filter(|election| election.time_ns <= time_ns)
            .max_by_key(|election| election.term)
            .copied()
    }

    /// The directed link's state.
    #[must_use]
    pub fn link(&self, from: NodeId, to: NodeId) -> LinkState {
        self.links
            .get(&(from, to))
            .copied()
            .unwrap_or(LinkState::Open)
    }

    /// How to run it again, in a sentence.
    #[must_use]
    pub fn again_in_words(&self) -> String {
        again_in_words(&self.again_command(), self.load_by_hand)
    }

    /// The command that runs it again.
    #[must_use]
    pub fn again_command(&self) -> String {
        match self.again.as_str() {
            // A run recorded before runs said this themselves.
            "" => format!("whitewater run {} --seed {}", self.scenario, self.seed),
            again => again.to_owned(),
        }
    }

    /// Whether children may be alive and a person may break them.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.end.is_none() && self.bench_error.is_none()
    }
}

/// How a sentence about a fault begins.
fn who(by: By) -> &'static str {
    match by {
        By::You => "you: ",
        By::Plan => "",
        By::End => "at the end: ",
    }
}

/// A fault that was asked for or planned, and is not in.
pub(super) fn not_done<W: Who>(fault: &Fault<W>, by: By, why: &str) -> String {
    match by {
        By::You => format!("refused: {fault}: {why}"),
        By::Plan | By::End => format!("no {fault}: {why}"),
    }
}

/// What taking a fault out is called.
fn undone(fault: &Fault) -> String {
    match fault {
        Fault::Kill { who: node } => format!("started n{node} again"),
        Fault::Pause { who: node } => format!("resumed n{node}"),
        Fault::Freeze { .. } => format!("resumed after {fault}"),
        Fault::Restart { who: node, .. } => format!("restarted n{node}"),
        _ => format!("healed: {fault}"),
    }
}

fn phase_sentence(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "the nodes start",
        Phase::Running => "the workload runs",
        Phase::Healing => "everything is healed; the cluster must agree and serve again",
        Phase::FinalReads => "every key is read through the leader",
        Phase::Judging => "the last verdict is being made",
        Phase::Ended => "the run is over",
    }
}
