//! What can go wrong, as data: one [`Fault`] is one thing wrong, for whomever it meets.
//!
//! Whom is a type parameter. A plan ([`plan`]) says it in roles, a [`Fault<Role>`](Role): the leader, a follower, a
//! majority. [`Fault::resolve`] turns that into nodes at the instant at which the nemesis acts, and a [`Fault`] of
//! nodes is what goes in. Nothing here acts.
//!
//! A new kind of fault is a variant here, with its words and its bounds, and a row of the table in [`kinds`], with how
//! it is drawn; then the injector says what it does.

mod check;
mod deck;
pub mod defects;
mod draw;
mod drawn;
mod harm;
mod kinds;
mod lack;
mod links;
mod message;
pub mod plan;
mod select;
mod span;
pub mod step;
mod together;
mod who;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use check::{Among, Senseless};
use check::{
    MOST_MS, at_most, check_bridge, check_clock, check_disk, check_order, some_ms, somebody,
};
pub use harm::{DiskHarm, LimitOf, Signal, Way, WireHarm};
pub use kinds::{Class, Kind, Mark, Need, UnknownKind};
pub use lack::Lacks;
pub use message::{Act, Of, Only, TypeName};
pub use select::{Impossible, NodeSelector, NodeSet, NotASelector, Roles};
pub use span::{FaultSpan, Remains};
use who::Translate;
pub use who::{Node, Role, Who};

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

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    tag = "fault",
    rename_all = "kebab-case",
    deny_unknown_fields,
    bound = ""
)]
pub enum Fault<W: Who = Node> {
    /// SIGKILL; taken out by starting the node again on its own disk.
    Kill {
        /// The node that dies.
        who: W::One,
    },
    /// SIGSTOP; taken out by SIGCONT. The node does not notice.
    Pause {
        /// The node that stops.
        who: W::One,
    },
    /// An end, and a start at once. It is out as soon as the node is ready again.
    Restart {
        /// The node that starts again.
        who: W::One,
        /// How it ends.
        #[serde(default)]
        signal: Signal,
    },
    /// SIGKILL for all of them at the same time. Taken out by starting them again on their own disks.
    KillSeveral {
        /// The nodes, in the order of their ids.
        who: W::Many,
    },
    /// SIGSTOP for all of them at the same time. Taken out by SIGCONT, for one after the other.
    Freeze {
        /// The nodes, in the order of their ids, which is that in which they go on.
        who: W::Many,
        /// How long after one the next one goes on.
        #[serde(default)]
        stagger_ms: u64,
    },
    /// A limit of the system, at nothing, for the child: setrlimit(2). The node may stop; it is started again.
    Rlimit {
        /// The node that has no more.
        who: W::One,
        /// Of what.
        of: LimitOf,
    },
    /// SIGKILL, a start, and so again and again. Taken out by leaving it alone once it is up.
    KillLoop {
        /// The node that does not get going.
        who: W::One,
        /// How long it is up between a start and the next SIGKILL.
        up_ms: u64,
    },
    /// SIGSTOP and SIGCONT in turns: a node with little of its processor.
    Throttle {
        /// The node that is slow.
        who: W::One,
        /// It runs so long,
        run_ms: u64,
        /// then stands so long, and so on.
        stand_ms: u64,
    },
    /// A node without its peers. Its clients still reach it.
    Isolate {
        /// The node that is alone.
        who: W::One,
        /// Which of its packets stop.
        #[serde(default)]
        way: Way,
    },
    /// Two sides that do not hear each other; clients reach both.
    Split {
        /// One side, in the order of the ids; everybody else is the other.
        side: Vec<W::One>,
    },
    /// Two sides that hear each other only through what one node between them passes on.
    Bridge {
        /// The node that hears both sides.
        over: W::One,
        /// One side, in the order of the ids; everybody else but the bridge is the other.
        side: Vec<W::One>,
    },
    /// Every node hears a majority, and no two of them the same one: only neighbours in a ring hear each other.
    Ring {
        /// The nodes as they stand in the ring.
        order: Vec<W::One>,
    },
    /// Some directed links stop, the others flow: any directed graph.
    Graph {
        /// From whom to whom nothing passes, in order.
        cut: Vec<(W::One, W::One)>,
    },
    /// A node without its clients. Its peers still hear it.
    IsolateClients {
        /// The node that no client reaches.
        who: W::One,
    },
    /// Packets from one node to another stop; the other way flows.
    Cut {
        /// Who sends in vain.
        from: W::One,
        /// Who hears nothing.
        to: W::One,
    },
    /// Packets from one node to another stop, then flow, in turns. Taken out by letting them flow.
    Flap {
        /// Who sends, now and then in vain.
        from: W::One,
        /// Who hears nothing now and then.
        to: W::One,
        /// They stop for so long,
        cut_ms: u64,
        /// then flow for so long, and so on.
        open_ms: u64,
    },
    /// What one node says to another waits, as it comes, while new connections are made as ever; a step may let some of
    /// it out. Taken out by letting all of it go.
    HoldBack {
        /// Who speaks.
        from: W::One,
        /// Who is to hear it.
        to: W::One,
        /// Which of the two dialled the connections that are meant; absent: either.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dialled_by: Option<W::One>,
    },
    /// Packets from one node to another come late, in order.
    Slow {
        /// Who sends.
        from: W::One,
        /// Who hears it late.
        to: W::One,
        /// The delay's middle.
        delay_ms: u64,
        /// At most this much more or less.
        jitter_ms: u64,
    },
    /// The bytes from one node to another pass as TCP allows and hardly anybody tries, on live and on new connections.
    Wire {
        /// Who sends; who dials, where it is dialling that is harmed.
        from: W::One,
        /// Who hears it; who is dialled.
        to: W::One,
        /// What becomes of them.
        harm: WireHarm,
        /// What the harm counts: bytes or milliseconds; 0 where it counts nothing.
        #[serde(default)]
        amount: u64,
    },
    /// The machines of these nodes lose power: SIGKILL, their links fall silent, and what was not synced is lost. Taken
    /// out by starting them again on their own disks.
    PowerLoss {
        /// The nodes, in the order of their ids.
        who: W::Many,
    },
    /// Single messages meet this, each by its own hash.
    Message {
        /// What becomes of them.
        act: Act,
        /// Which messages.
        of: Of,
        /// Only on the links of this node; absent: everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<W::One>,
        /// Of so many in a thousand.
        #[serde(default = "every_one")]
        per_mille: u32,
        /// How late, or how far apart; 0 where the act has no time.
        #[serde(default)]
        ms: u64,
        /// Of those that the named node sends, or else of all, only what is for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<W::One>,
        /// Which of them, by what they say and by their number.
        #[serde(default, skip_serializing_if = "Only::is_all")]
        only: Only,
    },
    /// The disk under a node's log and state does this.
    Disk {
        /// Whose.
        who: W::One,
        /// What.
        harm: DiskHarm,
        /// How slow; 0 where the harm has no time.
        #[serde(default)]
        ms: u64,
    },
    /// A node's vote is taken away; it learns on. Taken out by giving the vote back.
    RemoveVoter {
        /// Whose.
        who: W::One,
    },
    /// A node's own clock, monotonic included, runs at another pace. Taken out by letting it run as it should; what it
    /// is ahead or behind by then it stays. Leases may break under it, and legally so; nothing else may.
    Clock {
        /// Whose.
        who: W::One,
        /// How fast, in percent: 100 is as it should, 0 stands still.
        #[serde(default = "as_it_should")]
        rate_percent: u32,
        /// How far it steps forward at the beginning.
        #[serde(default)]
        step_ms: u64,
    },
    /// The leadership is handed to a node. It is over when that node leads.
    Transfer {
        /// The heir.
        to: W::One,
    },
    /// A voter leaves the membership; when that is committed it is ended and its disk emptied. Taken out by starting it
    /// from nothing, letting it learn, and giving it a vote: a new member that has the old one's id.
    Replace {
        /// The voter that goes.
        who: W::One,
    },
    /// A node that is no member joins, learns and gets a vote. Taken out by letting it leave.
    AddVoter {
        /// The newcomer.
        who: W::One,
    },
    /// A voter is ended and starts again from nothing, and nobody is told: it has forgotten its vote and what it
    /// acknowledged. Outside of the fault model. It is over as soon as the node is ready again.
    Wipe {
        /// The voter that forgets.
        who: W::One,
    },
}

fn every_one() -> u32 {
    1_000
}

fn as_it_should() -> u32 {
    100
}

/// A fault for others: of each kind whom it names, with how that is said, and what stays as it is.
macro_rules! translated {
    ($fault:expr, $to:ident; $($kind:ident { $($who:ident: $how:ident),+ $(; $($same:ident),+)? })+) => {
        match $fault {
            $(Fault::$kind { $($who,)+ $($($same),+)? } => Fault::$kind {
                $($who: $to.$how($who)?,)+
                $($($same: *$same),+)?
            },)+
        }
    };
}

impl<W: Who> Fault<W> {
    /// The same fault for others.
    fn translate<V: Who, T: Translate<W, V>>(&self, with: &mut T) -> Result<Fault<V>, T::Error> {
        Ok(translated! { self, with;
            Kill { who: one }
            Pause { who: one }
            Restart { who: one; signal }
            KillSeveral { who: many }
            Freeze { who: many; stagger_ms }
            Rlimit { who: one; of }
            KillLoop { who: one; up_ms }
            Throttle { who: one; run_ms, stand_ms }
            Isolate { who: one; way }
            Split { side: side }
            Bridge { over: one, side: side }
            Ring { order: each }
            Graph { cut: links }
            IsolateClients { who: one }
            Cut { from: one, to: one }
            Flap { from: one, to: one; cut_ms, open_ms }
            HoldBack { from: one, to: one, dialled_by: any }
            Slow { from: one, to: one; delay_ms, jitter_ms }
            Wire { from: one, to: one; harm, amount }
            PowerLoss { who: many }
            Message { who: any, to: any; act, of, per_mille, ms, only }
            Disk { who: one; harm, ms }
            Clock { who: one; rate_percent, step_ms }
            RemoveVoter { who: one }
            Transfer { to: one }
            Replace { who: one }
            AddVoter { who: one }
            Wipe { who: one }
        })
    }

    /// The links that it names by their two ends, in order.
    fn ends(&self) -> Vec<(&W::One, &W::One)> {
        match self {
            Fault::Cut { from, to }
            | Fault::Flap { from, to, .. }
            | Fault::HoldBack { from, to, .. }
            | Fault::Slow { from, to, .. }
            | Fault::Wire { from, to, .. } => {
                vec![(from, to)]
            }
            Fault::Message {
                who: Some(from),
                to: Some(to),
                ..
            } => vec![(from, to)],
            Fault::Graph { cut } => cut.iter().map(|(from, to)| (from, to)).collect(),
            _ => Vec::new(),
        }
    }
}

impl Fault {
    /// Whether it can do anything at all, as far as its own words tell, and what it says can be had.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Senseless> {
        match self {
            Fault::Message { .. } => self.check_message(),
            Fault::Wire { harm, amount, .. } => harm.check(*amount),
            Fault::Slow {
                delay_ms,
                jitter_ms,
                ..
            } => {
                if (*delay_ms, *jitter_ms) == (0, 0) {
                    let why = "delay_ms and jitter_ms are 0";
                    return Err(Senseless::without_effect("delay_ms", why));
                }
                at_most("delay_ms", *delay_ms, MOST_MS)?;
                at_most("jitter_ms", *jitter_ms, MOST_MS)
            }
            Fault::Flap {
                cut_ms, open_ms, ..
            } => {
                some_ms("cut_ms", *cut_ms, "cut_ms = 0: it would never be cut")?;
                if *open_ms == 0 {
                    let why = "open_ms = 0: it would never be open, and cut is a fault of its own";
                    return Err(Senseless::of("open_ms", why));
                }
                at_most("open_ms", *open_ms, MOST_MS)
            }
            Fault::HoldBack {
                from,
                to,
                dialled_by: Some(dialler),
            } if dialler != from && dialler != to => {
                let why = format!("n{dialler} is neither n{from} nor n{to}");
                Err(Senseless::of("dialled_by", why))
            }
            Fault::Throttle {
                run_ms, stand_ms, ..
            } => {
                some_ms("stand_ms", *stand_ms, "stand_ms = 0: it would never stand")?;
                if *run_ms == 0 {
                    let why = "run_ms = 0: it would never run, and pause is a fault of its own";
                    return Err(Senseless::of("run_ms", why));
                }
                at_most("run_ms", *run_ms, MOST_MS)
            }
            Fault::KillLoop { up_ms, .. } => at_most("up_ms", *up_ms, MOST_MS),
            Fault::Freeze { who, stagger_ms } => {
                somebody(who)?;
                at_most("stagger_ms", *stagger_ms, MOST_MS)
            }
            Fault::KillSeveral { who } | Fault::PowerLoss { who } => somebody(who),
            Fault::Disk { harm, ms, .. } => check_disk(*harm, *ms),
            Fault::Clock {
                rate_percent,
                step_ms,
                ..
            } => check_clock(*rate_percent, *step_ms),
            Fault::Split { side } if side.is_empty() => {
                Err(Senseless::without_effect("side", "nobody is on that side"))
            }
            Fault::Bridge { over, side } => check_bridge(*over, side),
            Fault::Ring { order } => check_order(order),
            Fault::Graph { cut } if cut.is_empty() => {
                Err(Senseless::without_effect("cut", "no link is named"))
            }
            _ => Ok(()),
        }
    }
}

impl<W: Who> fmt::Display for Fault<W> {
    /// As on the screen and in the history's marks: `cut n1 → n3`; in a plan: `cut leader → n3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, many) = (W::name, W::names);
        let each = |all: &[W::One]| all.iter().map(one).collect::<Vec<_>>().join(",");
        match self {
            Fault::Kill { who } => write!(f, "kill {}", one(who)),
            Fault::Pause { who } => write!(f, "pause {}", one(who)),
            Fault::Restart { who, signal } => match signal {
                Signal::Term => write!(f, "restart {}", one(who)),
                Signal::Kill => write!(f, "kill and restart {}", one(who)),
            },
            Fault::KillSeveral { who } => write!(f, "kill {}", many(who)),
            Fault::Freeze { who, stagger_ms } => {
                write!(f, "pause {} at once", many(who))?;
                match stagger_ms {
                    0 => Ok(()),
                    ms => write!(f, ", resume {ms} ms apart"),
                }
            }
            Fault::Rlimit { who, of } => match of {
                LimitOf::FileSize => write!(f, "let {} write no file", one(who)),
                LimitOf::OpenFiles => write!(f, "let {} open no file", one(who)),
            },
            Fault::KillLoop { who, up_ms } => write!(f, "kill {} every {up_ms} ms", one(who)),
            Fault::Throttle {
                who,
                run_ms,
                stand_ms,
            } => write!(
                f,
                "throttle {}: {run_ms} ms on, {stand_ms} ms off",
                one(who)
            ),
            Fault::Isolate { who, way } => {
                let which = match way {
                    Way::Both => "",
                    Way::In => " (hears nobody)",
                    Way::Out => " (nobody hears it)",
                };
                write!(f, "isolate {}{which}", one(who))
            }
            Fault::Split { side } => write!(f, "split {} from the rest", each(side)),
            Fault::Bridge { over, side } => {
                let side = each(side);
                write!(f, "split {side} from the rest but for {}", one(over))
            }
            Fault::Ring { order } => write!(f, "ring {}", each(order)),
            Fault::Graph { cut } => {
                let link = |(from, to): &(W::One, W::One)| format!("{} → {}", one(from), one(to));
                let links: Vec<String> = cut.iter().map(link).collect();
                write!(f, "cut {}", links.join(", "))
            }
            Fault::IsolateClients { who } => write!(f, "isolate {} from its clients", one(who)),
            Fault::Cut { from, to } => write!(f, "cut {} → {}", one(from), one(to)),
            Fault::Flap {
                from,
                to,
                cut_ms,
                open_ms,
            } => {
                let link = format!("{} → {}", one(from), one(to));
                write!(f, "flap {link}: {cut_ms} ms off, {open_ms} ms on")
            }
            Fault::HoldBack {
                from,
                to,
                dialled_by,
            } => {
                write!(f, "hold back {} → {}", one(from), one(to))?;
                match dialled_by {
                    Some(dialler) => write!(f, " where {} dialled", one(dialler)),
                    None => Ok(()),
                }
            }
            Fault::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                let link = format!("{} → {}", one(from), one(to));
                write!(f, "slow {link} {delay_ms} ms ±{jitter_ms}")
            }
            Fault::Wire {
                from,
                to,
                harm,
                amount,
            } => write!(f, "{} → {} {}", one(from), one(to), harm.words(*amount)),
            Fault::PowerLoss { who } => write!(f, "power loss of {}", many(who)),
            Fault::Message {
                act,
                of,
                who,
                per_mille,
                ms,
                to,
                only,
            } => {
                let ends = [who, to].map(|who| who.as_ref().map(one));
                message::words(f, *act, *of, *ms, ends)?;
                write!(f, "{only}")?;
                match per_mille {
                    1_000 => Ok(()),
                    part => write!(f, " ({}.{} %)", part / 10, part % 10),
                }
            }
            Fault::Disk { who, harm, ms } => {
                write!(f, "disk of {}: {}", one(who), harm.name())?;
                match ms {
                    0 => Ok(()),
                    ms => write!(f, " of {ms} ms"),
                }
            }
            Fault::Clock {
                who,
                rate_percent,
                step_ms,
            } => {
                let clock = format!("clock of {}", one(who));
                match (rate_percent, step_ms) {
                    (100, step) => write!(f, "{clock} steps {step} ms"),
                    (0, 0) => write!(f, "{clock} stands still"),
                    (0, step) => write!(f, "{clock} steps {step} ms and stands still"),
                    (rate, 0) => write!(f, "{clock} at {rate} %"),
                    (rate, step) => write!(f, "{clock} steps {step} ms, then at {rate} %"),
                }
            }
            Fault::RemoveVoter { who } => write!(f, "take {}'s vote away", one(who)),
            Fault::Transfer { to } => write!(f, "hand the leadership to {}", one(to)),
            Fault::Replace { who } => write!(f, "replace {} by a new member", one(who)),
            Fault::AddVoter { who } => write!(f, "let {} join", one(who)),
            Fault::Wipe { who } => write!(f, "wipe {}", one(who)),
        }
    }
}

#[cfg(test)]
mod tests;
