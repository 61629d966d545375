//! One typed event for everything that happens in a run.
//!
//! An [`Event`] is a fact; an [`Entry`] is one with its instant on the recorder's clock. What clients see is an event, too
//! ([`Event::History`]): it stands in `history.jsonl`, the judge's file, and all the others in `journal.jsonl`. Whatever is
//! known of a run is a fold over its entries, live or from a finished run's folder.

use std::fmt;
use std::path::PathBuf;

use checkers::anomaly::Anomaly;
use checkers::history;
use checkers::verdict::{Counterexample, Verdict};
use serde::{Deserialize, Serialize};

use super::coverage::Sessions;
use super::node::{LinkState, NodeView, RpcView};
use crate::fault::{self, By, Fault, FaultId, NodeId, Remains};
use crate::oracle::Finding;

/// In what a person has a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// In what went wrong: that is in the run's plan, and comes again with it.
    Faults,
    /// In what was asked of the cluster: that does not.
    Load,
}

/// How much the workload asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Operations a second, over all clients.
    pub rate: u32,
    /// So many clients ask at the same time: at most as many as the run began with.
    pub clients: u32,
    /// So many keys are contended.
    pub contended: u32,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load {
            rate,
            clients,
            contended,
        } = self;
        let plural = |count: &u32| if *count == 1 { "" } else { "s" };
        write!(
            f,
            "{rate} operations/s, {clients} client{}, {contended} contended key{}",
            plural(clients),
            plural(contended)
        )
    }
}

/// Where a run stands, in the order in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Children start and elect their first leader.
    Starting,
    /// The workload runs and the plan goes on.
    Running,
    /// Everything is taken out; the cluster must agree and serve again.
    Healing,
    /// Every key is read through the leader; states are compared.
    FinalReads,
    /// The last verdict is being made.
    Judging,
    /// It is over.
    Ended,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Healing => "healing",
            Phase::FinalReads => "final-reads",
            Phase::Judging => "judging",
            Phase::Ended => "ended",
        })
    }
}

/// The verdict while the run goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything up to the event of this number is proven to have a legal order: "linearizable to #N".
    pub proven_to: u64,
    /// Operations begun and not ended.
    pub open: u64,
    /// Configurations (possible worlds) that the judge still holds, over all keys.
    pub configurations: u64,
    /// Set when the judge gave up on a key, with its name.
    pub gave_up: Option<String>,
}

/// The words that a verdict is printed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictWord {
    /// Some legal order exists.
    Linearizable,
    /// None exists.
    Violation,
    /// A budget ended first.
    Unknown,
}

impl Event {
    /// In a sentence what was found, where this tells of something that was.
    #[must_use]
    pub fn what_was_found(&self) -> Option<String> {
        match self {
            Event::Alarm { counterexample } => Some(not_linearizable(counterexample)),
            Event::Found { finding } => Some(format!(
                "finding ({}): {}",
                finding.oracle(),
                finding.evidence
            )),
            _ => None,
        }
    }
}

impl Event {
    /// In a sentence how far the plan's steps are, where this tells of that.
    #[must_use]
    pub fn of_steps(&self) -> Option<String> {
        match self {
            Event::Step { step, of, text } => Some(format!("step {step} of {of}, {text}")),
            Event::StepsOver { why: None, .. } => Some("every step was done".to_owned()),
            Event::StepsOver {
                done,
                of,
                why: Some(why),
            } => Some(format!("{done} of {of} steps were done: {why}")),
            _ => None,
        }
    }
}

/// A violation in a sentence.
#[must_use]
pub fn not_linearizable(counterexample: &Counterexample) -> String {
    let Counterexample { key, culprit, .. } = counterexample;
    match &counterexample.typed {
        Some(typed) => format!("VIOLATION ({}): {key} at #{culprit}", typed.kind),
        None => format!("NOT LINEARIZABLE: {key} at #{culprit}"),
    }
}

/// One fact. In `journal.jsonl` its name is the member `event`: see `docs/formats.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first one.
    Started {
        /// The scenario's name.
        scenario: String,
        /// The run's seed.
        seed: u64,
        /// Ids of the nodes.
        nodes: Vec<NodeId>,
        /// How long the workload shall run; 0: until somebody stops it.
        seconds: u64,
        /// What the workload asks for.
        load: Load,
        /// The planted defect, if any.
        defect: Option<String>,
        /// The run's folder.
        dir: PathBuf,
        /// How to run it again, as a command.
        again: String,
    },
    /// The run goes on to its next phase.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A node changed, or was heard again.
    Node {
        /// As it is now.
        node: NodeView,
    },
    /// What a node's calls at its peers have come to: about once a second.
    Rpcs {
        /// Which node.
        node: NodeId,
        /// A row a method, over all peers.
        rpcs: Vec<RpcView>,
    },
    /// A directed link changed.
    Link {
        /// Who sends.
        from: NodeId,
        /// Who hears.
        to: NodeId,
        /// As it is now.
        state: LinkState,
    },
    /// A fault is in, and a probe has seen that it took effect.
    FaultIn {
        /// Its number.
        id: FaultId,
        /// What.
        fault: Fault,
        /// Whose doing.
        by: By,
        /// Whether what is tested does not promise to survive it: what is found after it accuses nobody.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unpromised: bool,
    },
    /// A fault is out.
    FaultOut {
        /// Its number.
        id: FaultId,
        /// What.
        fault: Fault,
        /// Whose doing.
        by: By,
        /// What may be left of it.
        #[serde(default)]
        remains: Remains,
    },
    /// A fault that did not take effect, and why. It never counts as installed.
    FaultSkipped {
        /// What.
        fault: Fault,
        /// Whose doing.
        by: By,
        /// Why not.
        why: String,
    },
    /// A fault for whose roles there was nobody, and why. It never counts as installed.
    FaultUnresolved {
        /// What.
        fault: Fault<fault::Role>,
        /// Whose doing.
        by: By,
        /// Why not.
        why: String,
    },
    /// A fault of which nobody can say whether it had any effect. It does not count as one that had.
    FaultIndeterminate {
        /// The number under which it was in; absent where it was never seen to be.
        #[serde(default)]
        id: Option<FaultId>,
        /// What.
        fault: Fault,
        /// Whose doing.
        by: By,
        /// Why not.
        why: String,
    },
    /// A node ended when it was started on the disk that it had left.
    NodeLost {
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// What became of a single message that met a fault.
    Message(MessageFate),
    /// The plan goes on, or is held.
    Nemesis {
        /// Whether it goes on.
        on: bool,
    },
    /// Somebody pauses the workload, or lets it go on.
    Workload {
        /// Whether it is paused.
        paused: bool,
    },
    /// From now on somebody's hands have a part in what happens.
    ByHand {
        /// In what.
        part: Part,
        /// How to run it again from here on, as a command.
        again: String,
    },
    /// The workload asks for so much from now on.
    Load {
        /// How much.
        load: Load,
    },
    /// A violation pauses the network, the workload and the plan, so that a person can look; or they go on.
    PausedByViolation {
        /// Whether they are paused.
        paused: bool,
    },
    /// What an episode of the plan waited for has happened.
    Anchor {
        /// What.
        text: String,
    },
    /// A step of the plan was done.
    Step {
        /// Its number, from 1.
        step: u64,
        /// How many there are.
        of: u64,
        /// What it did.
        text: String,
    },
    /// No step of the plan will be done any more.
    StepsOver {
        /// How many were done; of those that are done again and again each counts once.
        done: u64,
        /// How many there are.
        of: u64,
        /// Why not all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A sentence for a person, that nothing else says. Nobody reads it back.
    Say {
        /// The sentence.
        text: String,
    },
    /// The verdict so far.
    Progress {
        /// How far.
        progress: Progress,
    },
    /// The judge has found a violation: it will not go away.
    Alarm {
        /// The operations that prove it.
        counterexample: Box<Counterexample>,
    },
    /// An oracle other than the history's has found something.
    Found {
        /// What.
        finding: Finding,
    },
    /// The workload is over: no operation of it begins any more.
    WorkloadEnded,
    /// Somebody ended the run before its time, at once.
    Interrupted,
    /// What the nodes' storages did was explained by the model's rules, all of it.
    Explained {
        /// How many events that were.
        events: u64,
        /// How long the rules took for all of them.
        took_ns: u64,
    },
    /// What was counted elsewhere over the whole run.
    Counted {
        /// Snapshots that one node sent another and had answered.
        snapshots: u64,
        /// How often two states at one applied log id were compared.
        states_compared: u64,
        /// What became of the writes in sessions.
        sessions: Sessions,
        /// How often the planted defect was met; absent where none is planted in the nodes.
        defect: Option<DefectCounts>,
    },
    /// How the machine was over the whole run.
    Machine {
        /// By how much the latest of the bench's own timers was late, in milliseconds.
        late_ms: u64,
        /// Of the time in which the bench and its nodes wanted a processor, the share in which they had none, in percent.
        waited_per_cent: u64,
    },
    /// The last verdict is made.
    Judged {
        /// What the whole history proves.
        verdict: Verdict,
        /// What a violation is called.
        anomaly: Option<Anomaly>,
        /// What the log ids of the answers prove: `holds`, `contradiction` or `silent`; absent where nobody asked.
        certificate: Option<String>,
    },
    /// The bench or its host has failed in something; never a verdict.
    BenchError {
        /// What went wrong.
        text: String,
    },
    /// What a script and a person will see at the end.
    Ended {
        /// The verdict on the whole history.
        verdict: VerdictWord,
        /// The exit code.
        exit: u8,
        /// One line for a person.
        summary: String,
    },
    /// What a client saw, or a mark: it is in the history, and not in the journal.
    #[serde(skip)]
    History(history::Event),
}

/// What became of a single message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFate {
    /// The fate.
    pub message: String,
    /// Whether it, or its answer, never arrived.
    pub lost: bool,
    /// On which link.
    pub link: String,
    /// Of which method.
    pub method: String,
    /// `request` or `response`: they are counted apart.
    pub half: String,
    /// The how manieth message of this method on this half of the link, from 1.
    pub ordinal: u64,
    /// Its term, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// How many entries it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The log index that it names.
    pub index: u64,
    /// By how much it comes late, as drawn.
    pub late_us: u64,
}

/// How often a planted defect's line ran, and how often its bad fact was true: over all nodes and all their lives, as
/// far as they lived long enough to say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefectCounts {
    /// The planted line ran.
    pub reached: u64,
    /// The bad fact was true.
    pub triggered: u64,
}

/// An event and its instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// On the recorder's clock.
    pub time_ns: u64,
    /// The fact.
    pub event: Event,
}

impl From<history::Event> for Entry {
    fn from(event: history::Event) -> Entry {
        Entry {
            time_ns: event.time_ns,
            event: Event::History(event),
        }
    }
}
