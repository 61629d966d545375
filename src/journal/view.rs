//! The view of a run: what is known of it, folded from its entries, one after the other ([`RunView::take`]).
//!
//! It is the same for a live run and for a replay, and it can be folded again from the start. Nothing here knows what is
//! selected, focused or frozen: that is the screen's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use checkers::verdict::Counterexample;

use super::event::{Entry, Event, Load, Part, Phase, Progress, VerdictWord};
use super::node::{ChildState, LinkState, NodeView, Role, RpcView};
use super::operations::Operations;
use super::result::again_in_words;
use crate::fault::{By, Fault, FaultSpan, NodeId, Remains, Who};
use crate::oracle::Finding;

/// The most lines that the Events panel keeps: the oldest half goes when it is full.
const EVENTS_KEPT: usize = 20_000;

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

/// What the nodes of a run have ever told of themselves: what their protocol does not tell is no 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What they take themselves for.
    pub roles: bool,
    /// Whom they take for the leader, beside themselves.
    pub leaders: bool,
    /// Their terms.
    pub terms: bool,
    /// How far their logs go.
    pub logs: bool,
}

impl Told {
    fn hear(&mut self, node: &NodeView) {
        self.roles |= node.role != Role::Unheard;
        self.leaders |= node.leader.is_some_and(|leader| leader != node.id);
        self.terms |= node.term > 0;
        self.logs |= [node.last_log, node.committed, node.applied] != [0; 3];
    }
}

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub struct RunView {
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
    /// What they have ever told of themselves.
    pub told: Told,
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
    pub workload_paused: bool,
    /// Operations a second that the workload asks for.
    pub load: Load,
    /// How many clients the run began with.
    pub clients: u32,
    /// Whether a violation holds the network, the workload and the plan, until somebody lets them go on.
    pub paused_by_violation: bool,
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
    pub paused_since_ns: Option<u64>,
    /// How it ended.
    pub end: Option<End>,
    /// What the bench or its host failed in so far.
    pub bench_errors: Vec<String>,
    /// We failed, and it is over.
    pub bench_error: Option<String>,
}

impl RunView {
    /// The same without operations and lines: enough to decide what a command is.
    pub fn bare(&mut self) -> RunView {
        let operations = std::mem::take(&mut self.operations);
        let lines = std::mem::take(&mut self.lines);
        let bare = self.clone();
        (self.operations, self.lines) = (operations, lines);
        bare
    }

    /// Takes the next fact.
    pub fn take(&mut self, entry: Entry) {
        let Entry { time_ns, event } = entry;
        self.time_ns = self.time_ns.max(time_ns);
        match event {
            Event::History(event) => self.operations.event(&event),
            event @ Event::Started { .. } => self.started(event),
            Event::Phase { phase } => {
                self.phase = Some(phase);
                self.line(time_ns, Tone::Dim, phase_sentence(phase));
            }
            Event::Node { node } => self.node(time_ns, node),
            Event::Rpcs { node, rpcs } => {
                self.rpcs.insert(node, rpcs);
            }
            Event::Link {
                from,
                to,
                state: LinkState::Open,
            } => {
                self.links.remove(&(from, to));
            }
            Event::Link { from, to, state } => {
                self.links.insert((from, to), state);
            }
            event @ (Event::FaultIn { .. }
            | Event::FaultOut { .. }
            | Event::FaultSkipped { .. }
            | Event::FaultUnresolved { .. }
            | Event::FaultIndeterminate { .. }) => self.fault(time_ns, event),
            event @ (Event::Nemesis { .. }
            | Event::Workload { .. }
            | Event::Load { .. }
            | Event::PausedByViolation { .. }) => self.paused(time_ns, event),
            Event::Say { text } => self.line(time_ns, Tone::Plain, text),
            Event::Anchor { text } => {
                self.line(time_ns, Tone::Plain, format!("the plan saw {text}"))
            }
            event @ (Event::Step { .. } | Event::StepsOver { .. }) => {
                let text = event.of_steps().unwrap_or_default();
                self.line(time_ns, Tone::Plain, text);
            }
            Event::Progress { progress } => self.progress = progress,
            Event::Alarm { counterexample } => self.alarm(time_ns, counterexample),
            Event::ByHand { part, again } => {
                self.load_by_hand |= part == Part::Load;
                self.again = again;
            }
            Event::Found { finding } => {
                if self.findings.iter().any(|known| known.is_same(&finding)) {
                    return;
                }
                self.line(
                    time_ns,
                    Tone::Loud,
                    format!("finding, {}: {}", finding.oracle(), finding.evidence),
                );
                self.findings.push(finding);
            }
            Event::Ended {
                verdict,
                exit,
                summary,
            } => {
                self.phase = Some(Phase::Ended);
                self.bench_error = self.bench_errors.last().cloned();
                self.paused_by_violation = false;
                self.line(time_ns, Tone::Plain, summary.clone());
                self.end = Some(End {
                    verdict,
                    exit,
                    summary,
                });
            }
            Event::BenchError { text } => self.failed(time_ns, text),
            Event::Explained { events, .. } => {
                let text = format!("consensus: {events} events explained");
                self.line(time_ns, Tone::Plain, text);
            }
            Event::Message(_)
            | Event::NodeLost { .. }
            | Event::WorkloadEnded
            | Event::Interrupted
            | Event::Counted { .. }
            | Event::Machine { .. }
            | Event::Judged { .. } => {}
        }
    }

    /// The first fact.
    fn started(&mut self, event: Event) {
        let Event::Started {
            scenario,
            seed,
            nodes,
            seconds,
            load,
            defect,
            dir,
            again,
        } = event
        else {
            return;
        };
        (self.scenario, self.load, self.clients) = (scenario, load, load.clients);
        (self.seed, self.seconds, self.defect, self.dir) = (seed, seconds, defect, dir);
        self.again = again;
        self.phase = Some(Phase::Starting);
        self.nemesis = true;
        let unheard = |id| NodeView {
            id,
            ..NodeView::default()
        };
        self.nodes = nodes.into_iter().map(|id| (id, unheard(id))).collect();
    }

    /// A fault went in or out, or did not.
    fn fault(&mut self, time_ns: u64, event: Event) {
        match event {
            Event::FaultIn {
                id,
                fault,
                by,
                unpromised,
            } => {
                let label = if unpromised { UNPROMISED } else { "" };
                self.line(time_ns, Tone::Fault, format!("{}{fault}{label}", who(by)));
                self.faults.push(FaultSpan {
                    id,
                    fault,
                    by,
                    in_ns: time_ns,
                    out_ns: None,
                    remains: Remains::Perhaps,
                });
            }
            Event::FaultOut {
                id,
                fault,
                by,
                remains,
            } => {
                if let Some(span) = self.faults.iter_mut().rev().find(|span| span.id == id) {
                    span.out_ns = Some(time_ns);
                    span.remains = remains;
                }
                self.line(
                    time_ns,
                    Tone::Plain,
                    format!("{}{}", who(by), undone(&fault)),
                );
            }
            Event::FaultSkipped { fault, by, why } => {
                self.line(time_ns, Tone::Dim, not_done(&fault, by, &why));
            }
            Event::FaultUnresolved { fault, by, why } => {
                self.line(time_ns, Tone::Dim, not_done(&fault, by, &why));
            }
            Event::FaultIndeterminate { fault, why, .. } => {
                self.line(time_ns, Tone::Dim, format!("{fault}: {why}"));
            }
            _ => {}
        }
    }

    /// The plan, the workload or all of it is paused, goes on, or is another one.
    fn paused(&mut self, time_ns: u64, event: Event) {
        match event {
            Event::Nemesis { on } => {
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
            Event::Workload { paused } => {
                if self.workload_paused != paused {
                    self.line(
                        time_ns,
                        Tone::Plain,
                        if paused {
                            "the workload is held"
                        } else {
                            "the workload goes on"
                        },
                    );
                }
                self.workload_paused = paused;
            }
            Event::Load { load } => {
                self.line(time_ns, Tone::Plain, format!("the workload: {load}"));
                self.load = load;
            }
            Event::PausedByViolation { paused } => {
                let text = if paused {
                    "the network is held as it was: look at the nodes"
                } else {
                    "the network goes on"
                };
                self.line(time_ns, Tone::Loud, text);
                self.paused_by_violation = paused;
                self.paused_since_ns = paused.then_some(time_ns);
            }
            _ => {}
        }
    }

    /// What a run that goes on failed in is a line; it is shown when the run has ended.
    fn failed(&mut self, time_ns: u64, text: String) {
        self.line(time_ns, Tone::Loud, format!("bench error: {text}"));
        let goes_on = matches!(self.phase, Some(phase) if phase < Phase::Judging);
        self.bench_errors.push(text);
        if !goes_on {
            self.bench_error = self.bench_errors.last().cloned();
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
        self.told.hear(&node);
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
                let text = match node.term {
                    0 => format!("n{id} leads"),
                    term => format!("n{id} leads term {term}"),
                };
                self.line(time_ns, Tone::Plain, text);
            }
        }
        if before.leader.is_some() && node.leader.is_none() && node.child == ChildState::Up {
            // Who names nobody else has only ceased to lead.
            let text = match self.told.leaders {
                true => format!("n{id} lost its leader"),
                false => format!("n{id} leads no more"),
            };
            self.line(time_ns, Tone::Plain, text);
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
        self.faults
            .iter()
            .filter(move |span| span.is_active_at(time_ns))
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
        self.again.clone()
    }

    /// Whether children may be alive and a person may break them.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.end.is_none() && self.bench_error.is_none()
    }
}

/// What is said of a fault that nobody promises to survive.
pub const UNPROMISED: &str = " (outside of what is promised)";

/// How a sentence about a fault begins.
fn who(by: By) -> &'static str {
    match by {
        By::You => "you: ",
        By::Plan => "",
        By::End => "at the end: ",
    }
}

/// A fault that was asked for or planned, and is not in.
#[must_use]
pub fn not_done<W: Who>(fault: &Fault<W>, by: By, why: &str) -> String {
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
