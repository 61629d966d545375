//! What is tested: its command line, its protocol and its status, one file for each target.
//!
//! ```text
//!   launches ──▶ cluster: a process a launch, and how each says that it is ready
//!   status ────▶ cluster, oracles, screen: what a node says of itself, in nobody's protocol
//!   client ────▶ the clients: an operation, and what is proven by its answer
//! ```
//!
//! A [`Target`] knows nothing of the run: it is asked with a node that is ready, and answers. What a system lacks its
//! target does not have, and [`Target::offers`] says so in a sentence: it is then not drawn, not shown and not promised.
//! A [`protocol::Protocol`] asks one node for one operation and says what came of it; who is asked, and who next, is the
//! same for all of them ([`client`]). [`described`] is a target by a TOML file: whatever a command line can start.

pub mod admin;
pub mod client;
pub mod described;
mod error;
pub mod kiwi;
mod launch;
mod lines;
mod mode;
pub mod protocol;
mod state;
mod switches;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::time::Duration;

use checkers::types::DataType;
use futures::future::BoxFuture;

use crate::fault::{Kind, Lacks, Need};
use crate::journal::NodeStatus;
use crate::wire::metadata::Token;

pub use admin::{Admin, Departure, LeaderSeen, Member};
pub use client::{Answer, Client, ClientConfig, Follow};
pub use error::TargetError;
pub use launch::{
    AskReady, ClientHosts, Launch, Listening, Machines, Readiness, Ready, SaysReady, Wiring,
};
pub use lines::{Post, Transport};
pub use mode::{Expect, Mode};
pub use state::{StateDump, StateHash, States};
pub use switches::{
    ClockSeen, DefectCounters, Defects, DiskProof, DiskSeen, DiskSwitches, Switches,
};

/// An answer that is waited for.
pub type Asked<'a, T> = BoxFuture<'a, Result<T, TargetError>>;

/// How the messages of a system can be told apart on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// gRPC calls of Kiwi's services, over HTTP/2: each is understood.
    Kiwi,
    /// Lines that the bench carries: each says its type, and whether it is an answer.
    Lines,
}

/// What one life of one node says of itself.
pub trait Statuses: Send {
    /// What it says now.
    fn ask(&mut self, within: Duration) -> Asked<'_, NodeStatus>;
}

/// Which operations clients ask for, where it is not a register's.
#[derive(Clone, Copy)]
pub struct Asks {
    /// Of which type.
    pub of: &'static dyn DataType,
    /// Whether there are several objects, each with a key.
    pub keys: bool,
}

/// A system whose nodes say nothing of themselves.
struct NoStatus(String);

impl Statuses for NoStatus {
    fn ask(&mut self, _within: Duration) -> Asked<'_, NodeStatus> {
        let (target, what) = (self.0.clone(), "a node's status");
        Box::pin(async move { Err(TargetError::NotOffered { target, what }) })
    }
}

/// A system under test.
pub trait Target: fmt::Debug + Send + Sync {
    /// Its name, as in `--target`.
    fn name(&self) -> &str;

    /// What every call at one of its nodes carries; `None`: its protocol has no place for it, or nobody asks for one.
    fn token(&self) -> Option<&Token> {
        None
    }

    /// What is started for a node, one a process.
    fn launches(&self, node: u64, wiring: &Wiring) -> Vec<Launch>;

    /// On what each of its nodes runs.
    fn machines(&self) -> Machines {
        Machines::None
    }

    /// By what its nodes speak with one another and with their clients.
    fn transport(&self) -> Transport {
        Transport::Sockets
    }

    /// How long a node may take to be ready; `None`: as long as anybody.
    fn ready_within(&self) -> Option<Duration> {
        None
    }

    /// Why a node that is not ready is not, as far as it was seen when it was asked last.
    fn why_not_ready(&self, _node: u64) -> Option<String> {
        None
    }

    /// Makes these nodes a cluster, once, when all of them are ready.
    fn bootstrap<'a>(&'a self, members: &'a [Member]) -> Asked<'a, ()>;

    /// Whom to ask, again and again, for what a node says of itself.
    fn statuses(&self, _node: &Ready) -> Box<dyn Statuses> {
        Box::new(NoStatus(self.name().to_owned()))
    }

    /// A client, for one logical client after the other.
    fn client(&self, config: ClientConfig) -> Box<dyn Client>;

    /// How single messages are told apart, so that each can have a fate.
    fn messages(&self) -> Option<Messages> {
        (self.transport() == Transport::Lines).then_some(Messages::Lines)
    }

    /// Whether its nodes say who leads.
    fn tells_leader(&self) -> bool {
        false
    }

    /// Whether each of its nodes also says whom it takes for the leader, so that it can be seen that they agree.
    fn names_leader(&self) -> bool {
        self.tells_leader()
    }

    /// Who can be asked for other members, and for another leader.
    fn admin(&self) -> Option<&dyn Admin> {
        None
    }

    /// Who can be asked for a node's whole state at an applied index.
    fn states(&self) -> Option<&dyn States> {
        None
    }

    /// Who can be asked what the defects do that are planted in its nodes.
    fn defects(&self) -> Option<&dyn Defects> {
        None
    }

    /// Whether its nodes write down what their Raft does, in the checkers' format.
    fn traces(&self) -> bool {
        false
    }

    /// The ways to use it, the first one unless another is named.
    fn modes(&self) -> Vec<Mode>;

    /// The mode that it is used in.
    fn mode(&self) -> Option<Mode> {
        self.modes().into_iter().next()
    }

    /// The data type whose operations its clients ask for; `None` is a register.
    fn asks_for(&self) -> Option<Asks> {
        None
    }

    /// The operations that its clients cannot ask for, by name.
    fn cannot(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Why this host does not let it have what needs this; `None`: it does.
    fn lacking(&self, _need: Need) -> Option<String> {
        None
    }

    /// Whether what needs this can be had.
    ///
    /// # Errors
    /// Why not, as a sentence for whoever asked for it.
    fn offers(&self, need: Need) -> Result<(), String> {
        if let Some(why) = self.lacking(need) {
            return Err(why);
        }
        let name = self.name();
        let (offered, why) = match need {
            Need::Child | Need::Links => return Ok(()),
            Need::Letters => (
                self.messages().is_some(),
                format!("single messages of {name} cannot be told apart"),
            ),
            Need::Calls => (
                self.messages() == Some(Messages::Kiwi),
                format!("what the nodes of {name} say to one another is not understood"),
            ),
            Need::UnsyncedDisk => (
                self.machines() != Machines::None,
                format!("what {name} has not synced outlives its process"),
            ),
            Need::Disk => (
                self.machines() != Machines::None,
                format!("{name} does not run on a disk of its own, which could go wrong"),
            ),
            Need::Clock => (
                self.machines() != Machines::None,
                format!("{name} does not run by a clock of its own, which could go wrong"),
            ),
            Need::Defects => (
                self.defects().is_some(),
                format!("no defect can be planted in {name}"),
            ),
            Need::Admin => (
                self.admin().is_some(),
                format!("{name} has nobody to ask for other members or another leader"),
            ),
            Need::Leader => (
                self.tells_leader(),
                format!("no node of {name} says who leads"),
            ),
        };
        match offered {
            true => Ok(()),
            false => Err(why),
        }
    }

    /// All that it does not offer, promise or do: none of it is drawn.
    fn lacks(&self) -> Lacks {
        let name = self.name();
        let mut lacks = Lacks::of(|need| self.offers(need));
        for operation in self.cannot() {
            lacks.operation(
                operation,
                format!("the clients of {name} cannot {operation}"),
            );
        }
        let mode = self.mode();
        let Some((mode, drawn)) = mode.as_ref().and_then(|mode| Some((mode, mode.drawn()?))) else {
            return lacks;
        };
        let promised = mode.promised().unwrap_or_default();
        for &kind in Kind::ALL.iter().filter(|kind| !drawn.contains(kind)) {
            let mode = &mode.name;
            match promised.contains(&kind) {
                true => lacks.undrawn(
                    kind,
                    format!("mode {mode} of {name} shows by other faults what it is to show"),
                ),
                false => lacks.promise(
                    kind,
                    format!("{name} in mode {mode} does not promise to survive that"),
                ),
            }
        }
        lacks
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Plain;
    use super::*;
    use crate::fault::{Fault, NodeSelector};

    #[test]
    fn a_target_offers_what_it_has_and_says_of_the_rest_why_not() {
        let plain = Plain::default();
        for need in Need::ALL {
            let offered = plain.offers(need);
            match need {
                Need::Child | Need::Links => assert_eq!(offered, Ok(())),
                need => assert!(offered.unwrap_err().contains("plain"), "{need:?}"),
            }
        }
        assert_eq!(plain.lacks().why_undrawn(Kind::Kill), None);
        let weak = Plain {
            survives: Some(vec![Kind::Pause]),
            cannot: vec!["cas"],
            ..Plain::default()
        };
        let lacks = weak.lacks();
        let why = |kind| lacks.why_undrawn(kind).unwrap_or_default();
        assert_eq!(why(Kind::Pause), "");
        assert_eq!(
            why(Kind::Kill),
            "plain in mode weak does not promise to survive that"
        );
        let there = Fault::Kill {
            who: NodeSelector::Node(1),
        };
        assert_eq!(lacks.why_not(&there), None, "by hand it can be had");
        let cas = lacks.why_not_ask("cas");
        assert_eq!(cas, Some("the clients of plain cannot cas"));
        let leads = Plain {
            asked: Some(Default::default()),
            ..Plain::default()
        };
        assert_eq!(leads.offers(Need::Leader), Ok(()));
        let kiwi = kiwi::Kiwi::new(kiwi::KiwiConfig::default());
        assert_eq!(kiwi.lacks(), Lacks::default(), "our own node has it all");
    }
}
