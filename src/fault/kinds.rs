//! The kinds of faults: the only place where their names are written, which is what people type and read, and all that
//! is known of a kind whoever it meets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::draw::Hat;
use super::drawn::{
    add_voter, bridge, clock, cut, disk, flap, freeze, graph, hold_back, isolate, isolate_clients,
    kill, kill_loop, kill_several, message, pause, power_loss, remove_voter, replace, restart,
    ring, rlimit, slow, split, throttle, transfer, wire,
};
use super::{Act, Fault, Role, Who};

/// What a fault acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Children of the bench.
    Process,
    /// The links between nodes, or between a node and its clients.
    Network,
    /// Single messages.
    Messages,
    /// What a node reads and writes.
    Disk,
    /// A node's own time.
    Clock,
    /// Who has a vote.
    Members,
    /// Who leads.
    Leadership,
}

/// What a fault needs of the target, and of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A process of its own for each node.
    Child,
    /// A disk that forgets with its node what was not synced.
    UnsyncedDisk,
    /// Links that go through the proxy.
    Links,
    /// Single messages that the proxy can tell apart, and requests from answers.
    Letters,
    /// Calls whose protocol the proxy understands.
    Calls,
    /// A disk that goes wrong at a word.
    Disk,
    /// A clock that does.
    Clock,
    /// A node that defects can be planted in.
    Defects,
    /// Somebody to ask for other members, or for another leader.
    Admin,
    /// Nodes that say who leads: what is for a role, whatever its kind.
    Leader,
}

impl Need {
    /// All that there are.
    pub const ALL: [Need; 10] = [
        Need::Child,
        Need::UnsyncedDisk,
        Need::Links,
        Need::Letters,
        Need::Calls,
        Need::Disk,
        Need::Clock,
        Need::Defects,
        Need::Admin,
        Need::Leader,
    ];
}

/// How the screen marks what a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is dead.
    Dead,
    /// It stands.
    Paused,
    /// It goes on, worse than it should.
    Slow,
    /// Nothing passes.
    Cut,
}

/// What else is true of some kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    /// Its nodes die by it, as they stand.
    Ends,
    /// Its nodes stand, and hear nothing, until it is taken out.
    Stops,
    /// It is over as soon as it is done: an event, not a state.
    Once,
}

/// Draws one, for roles; `None` where a cluster has none like that.
type Draw = fn(&mut Hat<'_>) -> Option<Fault<Role>>;

/// A plan never draws what no quorum protocol need survive.
const OUTSIDE: Option<Draw> = None;

/// What is known of a kind.
struct Row {
    name: &'static str,
    about: &'static str,
    class: Class,
    least_nodes: usize,
    mark: Mark,
    is: &'static [Is],
    need: Need,
    draw: Option<Draw>,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $class:ident $least:literal $mark:ident $is:tt $need:ident $draw:tt $about:literal;)+) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Kind {
            $(#[doc = $about] $kind,)+
        }

        impl Kind {
            /// Every kind, in the order in which people meet them.
            pub const ALL: &[Kind] = &[$(Kind::$kind),+];

            fn row(self) -> &'static Row {
                match self {
                    $(Kind::$kind => &Row {
                        name: $name,
                        about: $about,
                        class: Class::$class,
                        least_nodes: $least,
                        mark: Mark::$mark,
                        is: &$is,
                        need: Need::$need,
                        draw: $draw,
                    },)+
                }
            }
        }
    };
}

// Its name; what it acts on; among fewer nodes than this it would do nothing, or nothing that another kind does not do;
// how the screen marks it; what else it is; what it needs; how it is drawn; what it does, for `whitewater list faults`.
#[rustfmt::skip]
kinds! {
    Isolate     "isolate"      Network    2 Cut    [] Links (Some(isolate))
        "cut a node off from its peers, both ways or one way; its clients still reach it";
    Kill        "kill"         Process    1 Dead   [Is::Ends] Child (Some(kill))
        "SIGKILL a node, start it again on its own disk";
    Pause       "pause"        Process    1 Paused [Is::Stops] Child (Some(pause))
        "SIGSTOP a node, SIGCONT it later; it does not notice";
    Restart     "restart"      Process    1 Dead   [Is::Once] Child (Some(restart))
        "end a node, gracefully or not, and start it again at once";
    KillSeveral "kill-several" Process    3 Dead   [Is::Ends] Child (Some(kill_several))
        "SIGKILL a minority, a majority, all followers or all nodes at once";
    Freeze      "freeze"       Process    3 Paused [Is::Stops] Child (Some(freeze))
        "SIGSTOP a minority, a majority, all followers or all nodes at once, SIGCONT one after the other";
    Rlimit       "rlimit"        Process    1 Slow   [] Child (Some(rlimit))
        "let a node write no file (EFBIG) or open none (EMFILE): it stops or refuses";
    Split       "split"        Network    2 Cut    [] Links (Some(split))
        "part the nodes into two sides that do not hear each other";
    Bridge      "bridge"       Network    3 Cut    [] Links (Some(bridge))
        "part the nodes into two sides that hear each other only through one node between them";
    Ring        "ring"         Network    4 Cut    [] Links (Some(ring))
        "let only neighbours in a ring hear each other: majorities everywhere, no two the same";
    Graph       "graph"        Network    2 Cut    [] Links (Some(graph))
        "stop a random set of directed links";
    IsolateClients        "isolate-clients"         Network    1 Cut    [] Links (Some(isolate_clients))
        "cut a node off from its clients; its peers still hear it";
    KillLoop   "kill-loop"   Process    1 Dead   [Is::Ends] Child (Some(kill_loop))
        "SIGKILL a node again and again, soon after each start";
    Throttle    "throttle"     Process    1 Paused [] Child (Some(throttle))
        "let a node run and stand in turns of some milliseconds: a slow processor";
    Cut         "cut"          Network    2 Cut    [] Links (Some(cut))
        "stop the packets from one node to another; the other way flows";
    Slow        "slow"         Network    2 Slow   [] Links (Some(slow))
        "delay the packets from one node to another, in order";
    Wire        "wire"         Network    2 Slow   [] Links (Some(wire))
        "throttle, slice, delay at random, cut off, half close, reset or refuse the connections from one node to another";
    PowerLoss       "power-loss"        Process    1 Dead   [Is::Ends] UnsyncedDisk (Some(power_loss))
        "cut the power of one node, a minority, a majority or all: what was not synced is lost";
    Drop        "drop"         Messages   2 Slow   [] Letters (Some(|hat| message(hat, Act::Drop)))
        "lose requests: votes, appends, heartbeats, or clients' own";
    DropResponse     "drop-response"      Messages   2 Slow   [] Letters (Some(|hat| message(hat, Act::DropResponse)))
        "lose answers: the request does its work, and nobody hears of it";
    DelayRequest        "delay-request"         Messages   2 Slow   [] Letters (Some(|hat| message(hat, Act::DelayRequest)))
        "deliver requests late, also those that their sender has given up";
    DelayResponse  "delay-response"  Messages   2 Slow   [] Letters (Some(|hat| message(hat, Act::DelayResponse)))
        "deliver answers late: the request did its work in time";
    Duplicate      "duplicate"       Messages   2 Slow   [] Letters (Some(|hat| message(hat, Act::Duplicate)))
        "deliver requests twice";
    Reorder     "reorder"      Messages   2 Slow   [] Letters (Some(|hat| message(hat, Act::Reorder)))
        "let requests overtake one another";
    Refuse      "refuse"       Messages   2 Slow   [] Calls (Some(|hat| message(hat, Act::Refuse)))
        "answer requests with an error, without delivering them";
    Disk        "disk"         Disk       1 Slow   [] Disk (Some(disk))
        "slow, held or failing syncs (EIO), failing reads (EIO), a full disk (ENOSPC), random or torn write-back under a node";
    LyingDisk   "lying-disk"   Disk       1 Slow   [] Disk (OUTSIDE)
        "syncs say that they are done and are not; OUTSIDE of the fault model, never drawn: no store can keep its word";
    BitFlip     "bit-flip"     Disk       1 Slow   [] Disk (OUTSIDE)
        "what is read from the disk has one bit wrong; OUTSIDE of the fault model, never drawn: the node has to notice";
    Clock       "clock"        Clock      1 Slow   [] Clock (Some(clock))
        "let a node's own clock run fast or slow, stand still or step forward; leases may break";
    RemoveVoter      "remove-voter"       Members    2 Slow   [] Admin (Some(remove_voter))
        "take a node's vote away by a change of the membership, give it back later";
    Transfer    "transfer"     Leadership 2 Slow   [Is::Once] Admin (Some(transfer))
        "hand the leadership to another node";
    Replay      "replay"       Messages   2 Slow   [] Calls (Some(|hat| message(hat, Act::Replay)))
        "deliver an old request between nodes again, before a new one";
    CutStream   "cut-stream"   Messages   2 Slow   [] Calls (Some(|hat| message(hat, Act::CutStream)))
        "reset streams of appends or snapshots after their first request";
    Stall       "stall"        Messages   2 Slow   [] Calls (Some(|hat| message(hat, Act::Stall)))
        "let streams of appends or snapshots stand after their first request";
    Corrupt     "corrupt"      Messages   2 Slow   [] Calls (OUTSIDE)
        "flip a bit of each request; OUTSIDE of the fault model, never drawn: TCP does not do that";
    Replace     "replace"      Members    2 Dead   [Is::Ends] Admin (Some(replace))
        "take a voter out of the membership, end it and empty its disk; later it joins as a new one";
    AddVoter        "add-voter"         Members    2 Slow   [] Admin (Some(add_voter))
        "let a node that is no member join and vote; later it leaves again";
    Wipe        "wipe"         Process    1 Dead   [Is::Ends, Is::Once] Child (OUTSIDE)
        "start a voter again on an empty disk; OUTSIDE of the fault model, never drawn: it forgets its vote";
    Flap            "flap"            Network    2 Slow   [] Links (Some(flap))
        "stop the packets from one node to another and let them flow, in turns";
    HoldBack        "hold-back"       Network    2 Slow   [] Links (Some(hold_back))
        "let what one node says to another wait, on the connections that one of them dialled; new ones are made as ever";
}

impl Kind {
    /// One word, as in `--faults kill,pause`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it does, in a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.row().about
    }

    /// What it acts on.
    #[must_use]
    pub fn class(self) -> Class {
        self.row().class
    }

    /// What it needs.
    #[must_use]
    pub fn need(self) -> Need {
        self.row().need
    }

    /// How the screen marks what it meets.
    #[must_use]
    pub fn mark(self) -> Mark {
        self.row().mark
    }

    /// Among fewer nodes than this it would do nothing, or nothing that another kind does not do.
    #[must_use]
    pub fn least_nodes(self) -> usize {
        self.row().least_nodes
    }

    /// Whether a correct cluster need not survive it. A plan never draws it; whoever writes it down gets what is found
    /// labelled.
    #[must_use]
    pub fn is_outside_the_model(self) -> bool {
        self.row().draw.is_none()
    }

    /// Draws one.
    pub(super) fn draw(self, hat: &mut Hat<'_>) -> Option<Fault<Role>> {
        let possible = hat.nodes >= self.least_nodes();
        self.row().draw.filter(|_| possible)?(hat)
    }

    pub(super) fn ends(self) -> bool {
        self.row().is.contains(&Is::Ends)
    }

    pub(super) fn stops(self) -> bool {
        self.row().is.contains(&Is::Stops)
    }

    pub(super) fn is_once(self) -> bool {
        self.row().is.contains(&Is::Once)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> &'static str {
        kind.name()
    }
}

/// A word that names no kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind of fault {0:?}; there are {known}", known = names())]
pub struct UnknownKind(String);

fn names() -> String {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    names.join(", ")
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let known = Kind::ALL.iter().find(|kind| kind.name() == name);
        known.copied().ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

impl TryFrom<String> for Kind {
    type Error = UnknownKind;

    fn try_from(name: String) -> Result<Kind, UnknownKind> {
        name.parse()
    }
}

impl<W: Who> Fault<W> {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Kill { .. } => Kind::Kill,
            Fault::Pause { .. } => Kind::Pause,
            Fault::Restart { .. } => Kind::Restart,
            Fault::KillSeveral { .. } => Kind::KillSeveral,
            Fault::Freeze { .. } => Kind::Freeze,
            Fault::Rlimit { .. } => Kind::Rlimit,
            Fault::Isolate { .. } => Kind::Isolate,
            Fault::Split { .. } => Kind::Split,
            Fault::Bridge { .. } => Kind::Bridge,
            Fault::Ring { .. } => Kind::Ring,
            Fault::Graph { .. } => Kind::Graph,
            Fault::IsolateClients { .. } => Kind::IsolateClients,
            Fault::KillLoop { .. } => Kind::KillLoop,
            Fault::Throttle { .. } => Kind::Throttle,
            Fault::Cut { .. } => Kind::Cut,
            Fault::Slow { .. } => Kind::Slow,
            Fault::Wire { .. } => Kind::Wire,
            Fault::PowerLoss { .. } => Kind::PowerLoss,
            Fault::Message { act, .. } => act.kind(),
            Fault::Disk { harm, .. } => harm.kind(),
            Fault::Clock { .. } => Kind::Clock,
            Fault::RemoveVoter { .. } => Kind::RemoveVoter,
            Fault::Transfer { .. } => Kind::Transfer,
            Fault::Replace { .. } => Kind::Replace,
            Fault::AddVoter { .. } => Kind::AddVoter,
            Fault::Wipe { .. } => Kind::Wipe,
            Fault::Flap { .. } => Kind::Flap,
            Fault::HoldBack { .. } => Kind::HoldBack,
        }
    }
}
