//! What `run` tells whoever watches, and what whoever watches may ask of it.
//!
//! A [`Notice`] is a fact with its instant on the recorder's clock. The stream of notices together with the events of
//! the history is all that a screen needs, live or from a finished run's folder (`notices.jsonl`, `history.jsonl`).

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use checkers::history::Event;
use checkers::verdict::Counterexample;
use serde::{Deserialize, Serialize};

use crate::fault::plan::Episode;
use crate::fault::{self, Fault, NodeId};
pub use crate::fault::{By, FaultId};

/// What a person or a script may ask of a live run. The answer is a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin these episodes now: their instants count from here on.
    Inject(Vec<Episode>),
    /// Take one fault out.
    Heal(FaultId),
    /// Take every fault out, start what is dead, resume what is paused.
    HealAll,
    /// Let the plan go on, or hold it. Faults that are in stay in.
    Nemesis(bool),
    /// Hold the workload: no new operation begins.
    HoldWorkload(bool),
    /// Ask for so much from now on.
    Load(Load),
    /// Let the network, the workload and the plan go on after a violation held them.
    GoOn,
    /// End the run in order: heal, converge, final reads, verdict.
    Finish,
    /// End the run at once: stop the workload, heal, reap, verdict of what was recorded.
    Stop,
}

impl Command {
    /// In what a person has a part by it, if in anything.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        match self {
            Command::Inject(_) | Command::Heal(_) | Command::HealAll | Command::Nemesis(_) => {
                Some(Part::Faults)
            }
            Command::HoldWorkload(_) | Command::Load(_) => Some(Part::Load),
            Command::GoOn | Command::Finish | Command::Stop => None,
        }
    }
}

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

/// What a node's child is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildState {
    /// Spawned, not yet ready.
    #[default]
    Starting,
    /// Ready.
    Up,
    /// Under SIGSTOP.
    Paused,
    /// Killed, or ended by itself.
    Dead,
}

/// What a node believes it is. It may be wrong: two may believe that they lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Nobody has heard from it.
    #[default]
    Unheard,
    /// Follows.
    Follower,
    /// Campaigns.
    Candidate,
    /// Leads, or thinks so.
    Leader,
    /// Replicates without a vote.
    Learner,
    /// Its Raft core has stopped.
    Shutdown,
}

/// A node as last heard, by a call that does not go through the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which node.
    pub id: NodeId,
    /// Its child's state.
    pub child: ChildState,
    /// Its child's process id; absent when dead.
    pub pid: Option<u32>,
    /// How often its child was started again.
    pub restarts: u32,
    /// What it believes it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Whom it has voted for, and whether that vote is a leader's (committed).
    #[serde(default)]
    pub vote: Option<Vote>,
    /// Whom it believes to lead.
    pub leader: Option<NodeId>,
    /// Index of its last log entry.
    pub last_log: u64,
    /// Index up to which it knows the log to be committed.
    pub committed: u64,
    /// Index up to which its state machine has applied.
    pub applied: u64,
    /// Index of its newest snapshot.
    pub snapshot: u64,
    /// Where its child serves gRPC, past the proxy.
    #[serde(default)]
    pub grpc: Option<SocketAddr>,
    /// Where its child serves the Redis protocol.
    #[serde(default)]
    pub redis: Option<SocketAddr>,
}

/// A vote, in openraft's sense: a term and a node, and whether a quorum has granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The candidate or the leader.
    pub node: NodeId,
    /// Whether it is a leader's.
    pub committed: bool,
}

impl std::fmt::Display for Vote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Vote { term, node, .. } = self;
        let what = if self.committed {
            "leader"
        } else {
            "candidate"
        };
        write!(f, "n{node} as {what} of term {term}")
    }
}

/// What a node's calls of one method at its peers have come to, since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcView {
    /// The method's name.
    pub method: String,
    /// Calls begun.
    pub calls: u64,
    /// Calls without an answer yet.
    pub in_flight: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Bytes sent and received.
    pub bytes: u64,
    /// The median latency at the slowest peer, in microseconds.
    pub p50_us: u64,
    /// The 99th percentile at the slowest peer, in microseconds.
    pub p99_us: u64,
}

/// How one directed link between two nodes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Bytes flow.
    Open,
    /// Bytes wait.
    Cut,
    /// Bytes come late.
    Slow,
}

/// The verdict while the run goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything up to the event of this number is proven to have a legal order: "linearizable to #N".
    pub proven_to: u64,
    /// Operations begun and not ended.
    pub open: u64,
    /// Possible worlds (configurations) that the judge still holds, over all keys.
    pub worlds: u64,
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

/// What an oracle other than the history's proves against the system under test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which oracle: `convergence`, `service`, `state-hash`, `panic`, `exit`, `trace`, `certificate`.
    pub oracle: String,
    /// What it saw, in a sentence.
    pub evidence: String,
    /// What it is about, where its sentence would be another one at another instant; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

impl Finding {
    /// Whether the other one says the same again: of one oracle, and about one thing.
    #[must_use]
    pub fn is_same(&self, other: &Finding) -> bool {
        let about = match self.subject.as_str() {
            "" => self.evidence == other.evidence,
            subject => subject == other.subject,
        };
        about && self.oracle == other.oracle
    }
}

impl Notice {
    /// In a sentence what was found, where this tells of something that was.
    #[must_use]
    pub fn what_was_found(&self) -> Option<String> {
        match self {
            Notice::Alarm { counterexample } => Some(not_linearizable(counterexample)),
            Notice::Found { finding } => Some(format!(
                "finding ({}): {}",
                finding.oracle, finding.evidence
            )),
            _ => None,
        }
    }
}

/// A violation in a sentence.
pub(super) fn not_linearizable(counterexample: &Counterexample) -> String {
    let Counterexample { key, culprit, .. } = counterexample;
    format!("NOT LINEARIZABLE: {key} at #{culprit}")
}

/// One fact, as told to the screen and to `notices.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
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
        #[serde(default)]
        load: Load,
        /// The planted defect, if any.
        defect: Option<String>,
        /// The run's folder.
        dir: PathBuf,
        /// How to run it again, as a command; empty in what was recorded before runs said this.
        #[serde(default)]
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
    },
    /// A fault is out.
    FaultOut {
        /// Its number.
        id: FaultId,
        /// What.
        fault: Fault,
        /// Whose doing.
        by: By,
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
    /// The plan goes on, or is held.
    Nemesis {
        /// Whether it goes on.
        on: bool,
    },
    /// The workload goes on, or is held.
    Workload {
        /// Whether it is held.
        held: bool,
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
    /// A violation holds the network, the workload and the plan, so that a person can look; or they go on.
    Held {
        /// Whether they are held.
        held: bool,
    },
    /// What an episode of the plan waited for has happened.
    Anchor {
        /// What.
        text: String,
    },
    /// A sentence for the Events panel that no other notice says.
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
    /// The last one.
    Ended {
        /// The verdict on the whole history.
        verdict: VerdictWord,
        /// The exit code that a script will see.
        exit: u8,
        /// One line for a person.
        summary: String,
    },
    /// We failed; never a verdict.
    BenchError {
        /// What went wrong.
        text: String,
    },
}

/// A notice or an operation's event, with its instant.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A fact of the run.
    Notice {
        /// On the recorder's clock.
        time_ns: u64,
        /// The fact.
        notice: Notice,
    },
    /// An event of the history, as recorded.
    Event(Event),
}
