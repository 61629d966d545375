//! What can go wrong, as data: one [`Fault`] is one thing wrong, named by the nodes that it touches.
//!
//! Nothing here acts. The nemesis puts a fault in; a plan ([`plan`]) says which and when; the screen and the
//! command line name the kinds from [`KINDS`], which is the only place where they are written.

mod aim;
mod deck;
pub mod defects;
mod draw;
mod kinds;
pub mod plan;
mod show;
mod wish;

use serde::{Deserialize, Serialize};

pub use kinds::{KINDS, Kind, MEMBERSHIP, OUTSIDE};

/// A node's id, 1 to 9.
pub type NodeId = u64;

/// Numbers the faults of one run, from 1.
pub type FaultId = u64;

/// Who put a fault in, or took it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A person, by a command.
    You,
    /// The plan.
    Plan,
    /// The end of the run, which heals everything.
    End,
}

/// Which way the packets of a cut node or link stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Nothing passes.
    Both,
    /// What others send to the node stops; what it sends flows.
    In,
    /// What the node sends stops; what others send to it flows.
    Out,
}

/// How a child that starts again is ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// SIGTERM: gracefully.
    #[default]
    Term,
    /// SIGKILL: as it stands.
    Kill,
}

/// One thing wrong, with its nodes resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL; taken out by starting the node again on its own disk.
    Kill {
        /// The node that dies.
        node: NodeId,
    },
    /// SIGSTOP; taken out by SIGCONT. The node does not notice.
    Pause {
        /// The node that stops.
        node: NodeId,
    },
    /// An end, and a start at once. It is out as soon as the node is ready again.
    Restart {
        /// The node that starts again.
        node: NodeId,
        /// How it ends.
        #[serde(default)]
        signal: Signal,
    },
    /// SIGKILL for all of them at the same time. Taken out by starting them again on their own disks.
    KillSeveral {
        /// The nodes, in the order of their ids.
        nodes: Vec<NodeId>,
    },
    /// SIGSTOP for all of them at the same time. Taken out by SIGCONT, for one after the other.
    Freeze {
        /// The nodes, in the order of their ids, which is that in which they go on.
        nodes: Vec<NodeId>,
        /// How long after one the next one goes on.
        stagger_ms: u64,
    },
    /// A limit of the system, at nothing, for the child: setrlimit(2). The node may stop; it is started again.
    Limit {
        /// The node that has no more.
        node: NodeId,
        /// Of what.
        of: LimitOf,
    },
    /// SIGKILL, a start, and so again and again. Taken out by leaving it alone once it is up.
    CrashLoop {
        /// The node that does not get going.
        node: NodeId,
        /// How long it is up between a start and the next SIGKILL.
        up_ms: u64,
    },
    /// SIGSTOP and SIGCONT in turns: a node with little of its processor.
    Throttle {
        /// The node that is slow.
        node: NodeId,
        /// It runs so long,
        run_ms: u64,
        /// then stands so long, and so on.
        stand_ms: u64,
    },
    /// A node without its peers. Its clients still reach it.
    Isolate {
        /// The node that is alone.
        node: NodeId,
        /// Which of its packets stop.
        way: Way,
    },
    /// Two sides that do not hear each other; clients reach both.
    Split {
        /// One side, in the order of the ids; everybody else is the other.
        side: Vec<NodeId>,
    },
    /// Two sides that hear each other only through what one node between them passes on.
    Bridge {
        /// The node that hears both sides.
        over: NodeId,
        /// One side, in the order of the ids; everybody else but the bridge is the other.
        side: Vec<NodeId>,
    },
    /// Every node hears a majority, and no two of them the same one: only neighbours in a ring hear each other.
    Ring {
        /// The nodes as they stand in the ring.
        order: Vec<NodeId>,
    },
    /// Some directed links stop, the others flow: any directed graph.
    Graph {
        /// From whom to whom nothing passes, in order.
        cut: Vec<(NodeId, NodeId)>,
    },
    /// A node without its clients. Its peers still hear it.
    Hide {
        /// The node that no client reaches.
        node: NodeId,
    },
    /// Packets from one node to another stop; the other way flows.
    Cut {
        /// Who sends in vain.
        from: NodeId,
        /// Who hears nothing.
        to: NodeId,
    },
    /// Packets from one node to another come late, in order.
    Slow {
        /// Who sends.
        from: NodeId,
        /// Who hears it late.
        to: NodeId,
        /// The delay's middle.
        delay_ms: u64,
        /// At most this much more or less.
        jitter_ms: u64,
    },
    /// The bytes from one node to another pass as TCP allows and hardly anybody tries, on live and on new connections.
    Wire {
        /// Who sends; who dials, where it is dialling that is harmed.
        from: NodeId,
        /// Who hears it; who is dialled.
        to: NodeId,
        /// What becomes of them.
        harm: WireHarm,
        /// What the harm counts: bytes or milliseconds; 0 where it counts nothing.
        amount: u64,
    },
    /// The machines of these nodes lose power: SIGKILL, their links fall silent, and what was not synced is lost. Taken
    /// out by starting them again on their own disks.
    Crash {
        /// The nodes, in the order of their ids.
        nodes: Vec<NodeId>,
    },
    /// Single messages meet this, each by its own hash.
    Message {
        /// What becomes of them.
        act: Act,
        /// Which messages.
        of: Of,
        /// Only on the links of this node; absent: everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// Of so many in a thousand.
        per_mille: u32,
        /// How late, or how far apart; 0 where the act has no time.
        ms: u64,
        /// Of those that the named node sends, or else of all, only what is for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<NodeId>,
        /// Which of them, by what they say and by their number.
        #[serde(default, skip_serializing_if = "Only::is_all")]
        only: Only,
    },
    /// The disk under a node's log and state does this.
    Disk {
        /// Whose.
        node: NodeId,
        /// What.
        harm: DiskHarm,
        /// How slow; 0 where the harm has no time.
        ms: u64,
    },
    /// A node's vote is taken away; it learns on. Taken out by giving the vote back.
    Shrink {
        /// Whose.
        node: NodeId,
    },
    /// A node's own clock, monotonic included, runs at another pace. Taken out by letting it run as it should; what it
    /// is ahead or behind by then it stays. Leases may break under it, and legally so; nothing else may.
    Clock {
        /// Whose.
        node: NodeId,
        /// How fast, in percent: 100 is as it should, 0 stands still.
        rate_percent: u32,
        /// How far it steps forward at the beginning.
        step_ms: u64,
    },
    /// The leadership is handed to a node. It is over when that node leads.
    Transfer {
        /// The heir.
        to: NodeId,
    },
    /// A voter leaves the membership; when that is committed it is ended and its disk emptied. Taken out by starting it
    /// from nothing, letting it learn, and giving it a vote: a new member that has the old one's id.
    Replace {
        /// The voter that goes.
        node: NodeId,
    },
    /// A node that is no member joins, learns and gets a vote. Taken out by letting it leave.
    Grow {
        /// The newcomer.
        node: NodeId,
    },
    /// A voter is ended and starts again from nothing, and nobody is told: it has forgotten its vote and what it
    /// acknowledged. Outside of the fault model. It is over as soon as the node is ready again.
    Wipe {
        /// The voter that forgets.
        node: NodeId,
    },
}

/// What becomes of single messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The request never arrives and is never answered.
    Drop,
    /// The request arrives and does its work; its answer is never delivered.
    Swallow,
    /// The request comes late, also when its sender has given up.
    Late,
    /// The request is done in time, and its answer comes late.
    LateAnswer,
    /// The request arrives twice.
    Double,
    /// The request waits while others overtake it.
    Reorder,
    /// The request never arrives and is answered with an error at once.
    Refuse,
    /// An old request of the same kind arrives again, before the new one.
    Replay,
    /// A stream is reset after its first request.
    CutStream,
    /// After a stream's first request the others wait until the fault is out.
    Stall,
    /// One bit of the request is flipped. Outside of the fault model: TCP does not let that happen.
    Corrupt,
}

impl Act {
    /// Every one of them.
    pub const ALL: [Act; 11] = [
        Act::Drop,
        Act::Swallow,
        Act::Late,
        Act::LateAnswer,
        Act::Double,
        Act::Reorder,
        Act::Refuse,
        Act::Replay,
        Act::CutStream,
        Act::Stall,
        Act::Corrupt,
    ];

    /// The name of its kind in [`KINDS`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Act::Drop => "drop",
            Act::Swallow => "swallow",
            Act::Late => "late",
            Act::LateAnswer => "late-answer",
            Act::Double => "double",
            Act::Reorder => "reorder",
            Act::Refuse => "refuse",
            Act::Replay => "replay",
            Act::CutStream => "cut-stream",
            Act::Stall => "stall",
            Act::Corrupt => "corrupt",
        }
    }

    /// Whether a request arrives more than once by it.
    #[must_use]
    pub fn repeats(self) -> bool {
        matches!(self, Act::Double | Act::Replay)
    }
}

/// Which messages, by what they say and by their number. All that is said must hold; both bounds are meant.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// Of these terms of their senders; what has no term is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<[u64; 2]>,
    /// With so many entries; what has no entries is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<[u64; 2]>,
    /// Of those that fit on one link, these, counted from 1 since the fault went in: `[1, 3]` are the first three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<[u64; 2]>,
}

impl Only {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Only::default()
    }

    /// Whether some message can fit, as far as can be told: `act` and `of` as in [`Fault::Message`].
    ///
    /// # Errors
    /// Why none can.
    fn check(&self, act: Act, of: Of) -> Result<(), String> {
        for (name, bounds) in [
            ("terms", self.terms),
            ("entries", self.entries),
            ("nth", self.nth),
        ] {
            if let Some([least, most]) = bounds.filter(|[least, most]| least > most) {
                return Err(format!(
                    "{name} = [{least}, {most}]: the lesser comes first"
                ));
            }
        }
        let is_of_streams = matches!(act, Act::CutStream | Act::Stall);
        let why = if self.nth.is_some_and(|[first, _]| first == 0) {
            "they are counted from 1"
        } else if self.nth.is_some() && is_of_streams {
            "streams are not met by number"
        } else if self.terms.is_some() && of.is_of_clients() {
            "clients know no term"
        } else if self.entries.is_some_and(|[least, _]| match of {
            Of::Peers | Of::Appends => false,
            Of::Heartbeats => least > 0,
            _ => true,
        }) {
            "they carry no entries"
        } else if (self.terms.is_some() || self.entries.is_some()) && act == Act::LateAnswer {
            "answers have neither term nor entries to be known by"
        } else {
            return Ok(());
        };
        Err(format!("{} {}: {why}", act.name(), of.name()))
    }
}

/// Whether a fault of single messages makes sense.
fn check_message(act: Act, of: Of, has_receiver: bool, only: Only) -> Result<(), String> {
    if act.repeats() && of.is_of_clients() {
        return Err(format!(
            "{} have no numbers of their own: two of them would be two writes",
            of.name()
        ));
    }
    if act == Act::LateAnswer && of == Of::Heartbeats {
        return Err("an answer does not say that it is a heartbeat's: name appends".to_owned());
    }
    if has_receiver && of.is_of_clients() {
        return Err(format!(
            "{} go to one node anyway: it is named without a receiver",
            of.name()
        ));
    }
    only.check(act, of)
}

/// Which messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// All between nodes.
    Peers,
    /// Votes and pre-votes.
    Votes,
    /// AppendEntries, heartbeats included. In a stream of them only lateness acts.
    Appends,
    /// AppendEntries without entries.
    Heartbeats,
    /// Snapshots; only lateness acts on them.
    Snapshots,
    /// Clients' reads and writes.
    Clients,
    /// Clients' writes.
    Writes,
    /// Clients' reads.
    Reads,
}

impl Of {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Of::Peers => "messages between nodes",
            Of::Votes => "votes",
            Of::Appends => "appends",
            Of::Heartbeats => "heartbeats",
            Of::Snapshots => "snapshots",
            Of::Clients => "clients' requests",
            Of::Writes => "clients' writes",
            Of::Reads => "clients' reads",
        }
    }

    /// Whether clients send them.
    #[must_use]
    pub fn is_of_clients(self) -> bool {
        matches!(self, Of::Clients | Of::Writes | Of::Reads)
    }
}

/// What becomes of bytes on their way, or of those who dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireHarm {
    /// At most so many bytes pass in a second.
    Narrow,
    /// They come in slices of so many bytes, a millisecond apart.
    Sliced,
    /// Now and then some are so many milliseconds late, and all behind them.
    Spikes,
    /// They are late, mostly less and seldom much more than so many milliseconds: an exponential distribution.
    LongTail,
    /// Each connection is reset after so many bytes, in the middle of whatever it carries.
    CutShort,
    /// The end of a connection arrives so many milliseconds after its last byte.
    SlowClose,
    /// The receiver is told that there will be no more bytes; what it sends back flows.
    HalfClose,
    /// Connections are reset, and so is every new one as soon as it is there.
    Reset,
    /// Connections are reset, and new ones are refused.
    Refuse,
    /// Connections are reset, and nobody answers who dials.
    Unanswered,
}

impl WireHarm {
    /// Every one of them.
    pub const ALL: [WireHarm; 10] = [
        WireHarm::Narrow,
        WireHarm::Sliced,
        WireHarm::Spikes,
        WireHarm::LongTail,
        WireHarm::CutShort,
        WireHarm::SlowClose,
        WireHarm::HalfClose,
        WireHarm::Reset,
        WireHarm::Refuse,
        WireHarm::Unanswered,
    ];

    /// Its name in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WireHarm::Narrow => "narrow",
            WireHarm::Sliced => "sliced",
            WireHarm::Spikes => "spikes",
            WireHarm::LongTail => "long-tail",
            WireHarm::CutShort => "cut-short",
            WireHarm::SlowClose => "slow-close",
            WireHarm::HalfClose => "half-close",
            WireHarm::Reset => "reset",
            WireHarm::Refuse => "refuse",
            WireHarm::Unanswered => "unanswered",
        }
    }

    /// Whether it can count so much.
    ///
    /// # Errors
    /// What it counts instead.
    fn check(self, amount: u64) -> Result<(), String> {
        let (unit, most) = match self {
            WireHarm::Narrow => ("bytes a second", 1_000_000),
            WireHarm::Sliced | WireHarm::CutShort => ("bytes", 1_000_000),
            WireHarm::Spikes | WireHarm::LongTail | WireHarm::SlowClose => ("ms", 10_000),
            WireHarm::HalfClose | WireHarm::Reset | WireHarm::Refuse | WireHarm::Unanswered => {
                return match amount {
                    0 => Ok(()),
                    _ => Err(format!("{} counts nothing: no amount", self.name())),
                };
            }
        };
        match (1..=most).contains(&amount) {
            true => Ok(()),
            false => Err(format!(
                "{} of {amount}: there can be 1 to {most} {unit}",
                self.name()
            )),
        }
    }
}

/// What a child has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitOf {
    /// No file may be written: EFBIG.
    FileSize,
    /// No file, and no connection, may be opened: EMFILE.
    OpenFiles,
}

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskHarm {
    /// Every sync takes so much longer.
    SlowSync,
    /// Every sync fails with EIO, and what was to be synced is lost. The node may stop; it is started again.
    SyncFails,
    /// No file grows. The node may stop; it is started again.
    Full,
    /// Every read fails with EIO. The node stops; it is started again.
    ReadFails,
    /// A sync that begins does not end. Taken out by letting it go on.
    HoldSync,
    /// Half of what is not synced reaches the file at once, whole or in part, as from a page cache. It ends with the
    /// power: what is neither synced nor written back is lost.
    WriteBack,
    /// All of what is not synced reaches the file at once, but for its last sectors. It ends with the power.
    TornWrites,
    /// Every sync says that it is done, and does nothing. Taken out by making it true. Outside of the fault model.
    LyingSync,
    /// Every read gives one bit that was not written. The node stops; it is started again. Outside of the fault model.
    FlippedBits,
}

impl DiskHarm {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DiskHarm::SlowSync => "slow syncs",
            DiskHarm::SyncFails => "failing syncs",
            DiskHarm::Full => "full",
            DiskHarm::ReadFails => "failing reads",
            DiskHarm::HoldSync => "no sync ends",
            DiskHarm::WriteBack => "writes back at random, then loses power",
            DiskHarm::TornWrites => "writes back in part, then loses power",
            DiskHarm::LyingSync => "syncs that lie",
            DiskHarm::FlippedBits => "reads with a flipped bit",
        }
    }

    /// Every one of them.
    pub const ALL: [DiskHarm; 9] = [
        DiskHarm::SlowSync,
        DiskHarm::SyncFails,
        DiskHarm::Full,
        DiskHarm::ReadFails,
        DiskHarm::HoldSync,
        DiskHarm::WriteBack,
        DiskHarm::TornWrites,
        DiskHarm::LyingSync,
        DiskHarm::FlippedBits,
    ];

    /// The name of its kind in [`KINDS`]: what is outside of the fault model has a kind of its own, so that nobody
    /// draws it who has not named it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            DiskHarm::LyingSync => "lying-disk",
            DiskHarm::FlippedBits => "bit-flip",
            _ => "disk",
        }
    }

    /// Whether a node may end by itself under it, and be no finding.
    #[must_use]
    pub fn excuses_an_end(self) -> bool {
        matches!(
            self,
            DiskHarm::SyncFails | DiskHarm::Full | DiskHarm::ReadFails | DiskHarm::FlippedBits
        )
    }

    /// Whether it ends with the power of its node.
    #[must_use]
    pub fn ends_in_a_power_loss(self) -> bool {
        matches!(self, DiskHarm::WriteBack | DiskHarm::TornWrites)
    }
}

impl Fault {
    /// The name of this fault's kind in [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::Pause { .. } => "pause",
            Fault::Restart { .. } => "restart",
            Fault::KillSeveral { .. } => "kill-several",
            Fault::Freeze { .. } => "freeze",
            Fault::Limit { .. } => "limit",
            Fault::Isolate { .. } => "isolate",
            Fault::Split { .. } => "split",
            Fault::Bridge { .. } => "bridge",
            Fault::Ring { .. } => "ring",
            Fault::Graph { .. } => "graph",
            Fault::Hide { .. } => "hide",
            Fault::CrashLoop { .. } => "crash-loop",
            Fault::Throttle { .. } => "throttle",
            Fault::Cut { .. } => "cut",
            Fault::Slow { .. } => "slow",
            Fault::Wire { .. } => "wire",
            Fault::Crash { .. } => "crash",
            Fault::Message { act, .. } => act.name(),
            Fault::Disk { harm, .. } => harm.kind(),
            Fault::Clock { .. } => "clock",
            Fault::Shrink { .. } => "shrink",
            Fault::Transfer { .. } => "transfer",
            Fault::Replace { .. } => "replace",
            Fault::Grow { .. } => "grow",
            Fault::Wipe { .. } => "wipe",
        }
    }

    /// Whether what it says can be had at all, by whatever nodes.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Fault::Message {
                per_mille: share @ (0 | 1_001..),
                ..
            } => Err(format!("per_mille = {share}: there can be 1 to 1000")),
            Fault::Message {
                act: act @ (Act::Late | Act::LateAnswer | Act::Reorder),
                ms: 0,
                ..
            } => Err(format!("{}: ms says by how much", act.name())),
            Fault::Message {
                act, of, to, only, ..
            } => check_message(*act, *of, to.is_some(), *only),
            Fault::Wire { harm, amount, .. } => harm.check(*amount),
            _ => Ok(()),
        }
    }

    /// Whether a correct cluster must survive it: what is found after any other accuses nobody.
    #[must_use]
    pub fn is_inside_the_model(&self) -> bool {
        !OUTSIDE.contains(&self.kind())
    }

    /// Whether its nodes die by it, as they stand.
    #[must_use]
    pub fn kills(&self) -> bool {
        match self {
            Fault::Kill { .. }
            | Fault::KillSeveral { .. }
            | Fault::Crash { .. }
            | Fault::CrashLoop { .. }
            | Fault::Replace { .. }
            | Fault::Wipe { .. } => true,
            Fault::Restart { signal, .. } => *signal == Signal::Kill,
            _ => false,
        }
    }

    /// The node whose membership this fault changes.
    #[must_use]
    pub fn member(&self) -> Option<NodeId> {
        match self {
            Fault::Shrink { node } | Fault::Replace { node } | Fault::Grow { node } => Some(*node),
            _ => None,
        }
    }

    /// The nodes that this fault names.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Fault::Kill { node }
            | Fault::Pause { node }
            | Fault::Restart { node, .. }
            | Fault::Limit { node, .. }
            | Fault::Isolate { node, .. }
            | Fault::Hide { node }
            | Fault::CrashLoop { node, .. }
            | Fault::Throttle { node, .. }
            | Fault::Disk { node, .. }
            | Fault::Clock { node, .. }
            | Fault::Shrink { node }
            | Fault::Transfer { to: node }
            | Fault::Replace { node }
            | Fault::Grow { node }
            | Fault::Wipe { node } => {
                vec![*node]
            }
            Fault::Split { side: nodes }
            | Fault::Ring { order: nodes }
            | Fault::KillSeveral { nodes }
            | Fault::Freeze { nodes, .. }
            | Fault::Crash { nodes } => nodes.clone(),
            Fault::Bridge { over, side } => {
                std::iter::once(*over).chain(side.iter().copied()).collect()
            }
            Fault::Graph { cut } => {
                let ends: std::collections::BTreeSet<NodeId> =
                    cut.iter().flat_map(|&(from, to)| [from, to]).collect();
                ends.into_iter().collect()
            }
            Fault::Message { node, to, .. } => node.iter().chain(to).copied().collect(),
            Fault::Cut { from, to }
            | Fault::Slow { from, to, .. }
            | Fault::Wire { from, to, .. } => {
                vec![*from, *to]
            }
        }
    }

    /// The nodes whose children this fault acts on; none for a fault of the network.
    #[must_use]
    pub fn children(&self) -> Vec<NodeId> {
        match self {
            Fault::Kill { node }
            | Fault::Pause { node }
            | Fault::Restart { node, .. }
            | Fault::CrashLoop { node, .. }
            | Fault::Throttle { node, .. }
            | Fault::Limit { node, .. }
            | Fault::Disk { node, .. }
            | Fault::Clock { node, .. }
            | Fault::Replace { node }
            | Fault::Wipe { node } => vec![*node],
            Fault::Crash { nodes } | Fault::KillSeveral { nodes } | Fault::Freeze { nodes, .. } => {
                nodes.clone()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a node under this fault may be ended by another one on top of it: the harm then ends with its child.
    #[must_use]
    pub fn lets_be_ended_by(&self, other: &Fault) -> bool {
        let stays = matches!(
            self,
            Fault::Disk {
                harm: DiskHarm::SlowSync | DiskHarm::HoldSync | DiskHarm::LyingSync,
                ..
            }
        );
        let ends = matches!(
            other,
            Fault::Kill { .. }
                | Fault::KillSeveral { .. }
                | Fault::Restart { .. }
                | Fault::Crash { .. }
        );
        stays && ends
    }

    /// Whether it is over as soon as it is done: an event, not a state.
    #[must_use]
    pub fn is_over_at_once(&self) -> bool {
        matches!(
            self,
            Fault::Restart { .. } | Fault::Transfer { .. } | Fault::Wipe { .. }
        )
    }

    /// The directed links between `nodes` that this fault stops or slows, in order; none for a fault of a child.
    #[must_use]
    pub fn links(&self, nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
        let pairs = || {
            nodes
                .iter()
                .flat_map(|&from| nodes.iter().map(move |&to| (from, to)))
                .filter(|(a, b)| a != b)
        };
        match self {
            Fault::Kill { .. }
            | Fault::Pause { .. }
            | Fault::Restart { .. }
            | Fault::KillSeveral { .. }
            | Fault::Freeze { .. }
            | Fault::Limit { .. }
            | Fault::Crash { .. }
            | Fault::CrashLoop { .. }
            | Fault::Throttle { .. }
            | Fault::Hide { .. }
            | Fault::Message { .. }
            | Fault::Disk { .. }
            | Fault::Clock { .. }
            | Fault::Shrink { .. }
            | Fault::Transfer { .. }
            | Fault::Replace { .. }
            | Fault::Grow { .. }
            | Fault::Wipe { .. } => Vec::new(),
            Fault::Isolate { node, way } => pairs()
                .filter(|(from, to)| match way {
                    Way::Both => from == node || to == node,
                    Way::In => to == node,
                    Way::Out => from == node,
                })
                .collect(),
            Fault::Split { side } => pairs()
                .filter(|(from, to)| side.contains(from) != side.contains(to))
                .collect(),
            Fault::Bridge { over, side } => pairs()
                .filter(|(from, to)| from != over && to != over)
                .filter(|(from, to)| side.contains(from) != side.contains(to))
                .collect(),
            Fault::Ring { order } => pairs()
                .filter(|(from, to)| !are_neighbours(order, *from, *to))
                .collect(),
            Fault::Graph { cut } => pairs().filter(|link| cut.contains(link)).collect(),
            Fault::Cut { from, to }
            | Fault::Slow { from, to, .. }
            | Fault::Wire { from, to, .. } => {
                vec![(*from, *to)]
            }
        }
    }
}

/// Whether two nodes of a ring are near enough to hear each other: with as many to each side as make a majority.
fn are_neighbours(order: &[NodeId], a: NodeId, b: NodeId) -> bool {
    let place = |node| order.iter().position(|&other| other == node);
    let (Some(a), Some(b)) = (place(a), place(b)) else {
        return false;
    };
    let apart = a.abs_diff(b);
    let others_in_a_majority = order.len() / 2;
    apart.min(order.len() - apart) <= others_in_a_majority.div_ceil(2)
}

#[cfg(test)]
mod tests;
