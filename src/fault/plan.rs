//! Faults over time, as data: a [`Plan`] is a list of episodes, and the same seed always draws the same one.
//!
//! A plan does not name nodes where it means roles: it says *the leader*, *the first follower*, and [`Wish::resolve`]
//! turns that into a [`Fault`] at the instant at which the nemesis acts. Episodes come one after the other, with calm
//! between them, because a cluster that never recovers proves little.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::deck::Decks;
use super::draw::distinct_faults;
use super::{Act, DiskHarm, Fault, KINDS, NodeId, Of, Signal, Way};

/// Whom a planned fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Aim {
    /// Whoever leads when the fault is put in.
    Leader,
    /// The k-th other node, counted from 0, in the order of the ids after the leader's.
    Follower(usize),
    /// That node.
    Node(NodeId),
}

/// How many a planned crash is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crowd {
    /// The leader alone.
    Leader,
    /// One follower.
    Follower,
    /// Fewer than half, the leader among them.
    Minority,
    /// More than half, the leader among them.
    Majority,
    /// Every node.
    All,
}

/// A fault that a plan wants, its nodes still to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Wish {
    /// See [`Fault::Kill`].
    Kill {
        /// Whom.
        who: Aim,
    },
    /// See [`Fault::Pause`].
    Pause {
        /// Whom.
        who: Aim,
    },
    /// See [`Fault::Restart`].
    Restart {
        /// Whom.
        who: Aim,
        /// How it ends.
        #[serde(default)]
        signal: Signal,
    },
    /// See [`Fault::Isolate`].
    Isolate {
        /// Whom.
        who: Aim,
        /// Which packets stop.
        #[serde(default = "both_ways")]
        way: Way,
    },
    /// See [`Fault::Split`].
    Split {
        /// One side.
        side: Vec<Aim>,
    },
    /// See [`Fault::Bridge`].
    Bridge {
        /// Who hears both sides.
        over: Aim,
        /// One side.
        side: Vec<Aim>,
    },
    /// See [`Fault::Ring`].
    Ring {
        /// All nodes, as they stand in the ring.
        order: Vec<Aim>,
    },
    /// See [`Fault::Graph`].
    Graph {
        /// From whom to whom nothing passes.
        cut: Vec<(Aim, Aim)>,
    },
    /// See [`Fault::Hide`].
    Hide {
        /// Whom.
        who: Aim,
    },
    /// See [`Fault::CrashLoop`].
    CrashLoop {
        /// Whom.
        who: Aim,
        /// How long it is up each time.
        up_ms: u64,
    },
    /// See [`Fault::Throttle`].
    Throttle {
        /// Whom.
        who: Aim,
        /// It runs so long,
        run_ms: u64,
        /// then stands so long.
        stand_ms: u64,
    },
    /// See [`Fault::Cut`].
    Cut {
        /// Who sends in vain.
        from: Aim,
        /// Who hears nothing.
        to: Aim,
    },
    /// See [`Fault::Slow`].
    Slow {
        /// Who sends.
        from: Aim,
        /// Who hears it late.
        to: Aim,
        /// The delay's middle.
        delay_ms: u64,
        /// At most this much more or less.
        jitter_ms: u64,
    },
    /// See [`Fault::Crash`].
    Crash {
        /// How many.
        who: Crowd,
    },
    /// See [`Fault::Message`].
    Message {
        /// What becomes of them.
        act: Act,
        /// Which messages.
        of: Of,
        /// Only on the links of this one; absent: everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<Aim>,
        /// Of so many in a thousand.
        #[serde(default = "every_one")]
        per_mille: u32,
        /// How late, or how far apart.
        #[serde(default)]
        ms: u64,
    },
    /// See [`Fault::Disk`].
    Disk {
        /// Whose.
        who: Aim,
        /// What.
        harm: DiskHarm,
        /// How slow.
        #[serde(default)]
        ms: u64,
    },
    /// See [`Fault::Clock`].
    Clock {
        /// Whose.
        who: Aim,
        /// How fast, in percent.
        #[serde(default = "as_it_should")]
        rate_percent: u32,
        /// How far it steps forward.
        #[serde(default)]
        step_ms: u64,
    },
    /// See [`Fault::Shrink`].
    Shrink {
        /// Whose vote.
        who: Aim,
    },
    /// See [`Fault::Transfer`].
    Transfer {
        /// The heir.
        to: Aim,
    },
}

fn every_one() -> u32 {
    1000
}

fn as_it_should() -> u32 {
    100
}

fn both_ways() -> Way {
    Way::Both
}

/// What an episode can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Somebody leads in a later term than whoever led when the wait began.
    LeaderChange,
    /// A leader has entries that stay uncommitted from one status to the next.
    UncommittedTail,
    /// The k-th message of a kind since the wait began, between any two nodes.
    #[serde(untagged)]
    Message {
        /// Of which kind.
        message: Seen,
        /// The k.
        count: u64,
    },
}

/// Messages that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// AppendEntries, heartbeats among them.
    Append,
    /// Votes and pre-votes.
    Vote,
    /// Pieces of snapshots: the third of many is half way.
    Snapshot,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::LeaderChange => write!(f, "another leader"),
            When::UncommittedTail => write!(f, "a tail that nobody commits"),
            When::Message { message, count } => {
                let name = match message {
                    Seen::Append => "appends",
                    Seen::Vote => "votes",
                    Seen::Snapshot => "pieces of snapshots",
                };
                write!(f, "{count} {name}")
            }
        }
    }
}

/// Faults that are in at the same time: all put in at the start, all taken out at the end.
///
/// ```text
///   at_ms        the anchor            begins                ends
///     ├── waits ────┤──── after_ms ──────┤────── for_ms ───────┤
///     └── at most within_ms, else the episode is skipped
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// When, after the workload began. With an anchor: from when on that is waited for.
    pub at_ms: u64,
    /// Its anchor; absent: it begins at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// How long after its anchor it begins.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub after_ms: u64,
    /// How long its anchor may take; absent: 5 s. An episode whose anchor does not come is skipped, and that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// For how long.
    pub for_ms: u64,
    /// What.
    pub faults: Vec<Wish>,
}

impl Episode {
    /// One without an anchor.
    #[must_use]
    pub fn at(at_ms: u64, for_ms: u64, faults: Vec<Wish>) -> Episode {
        Episode {
            at_ms,
            when: None,
            after_ms: 0,
            within_ms: None,
            for_ms,
            faults,
        }
    }

    /// How long its anchor may take.
    #[must_use]
    pub fn within_ms(&self) -> u64 {
        self.within_ms.unwrap_or(ANCHOR_WITHIN_MS)
    }

    /// Its end, or the latest one that it can have.
    #[must_use]
    pub fn ends_by_ms(&self) -> u64 {
        let waits = self.when.map_or(0, |_| self.within_ms());
        self.at_ms + waits + self.after_ms + self.for_ms
    }
}

/// How long an anchor may take where the episode does not say.
const ANCHOR_WITHIN_MS: u64 = 5_000;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_nothing(ms: &u64) -> bool {
    *ms == 0
}

/// Faults over time, in the order of their beginnings. Drawn episodes do not overlap; written ones may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// One after the other.
    #[serde(default)]
    pub episodes: Vec<Episode>,
}

/// Why a wish cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The wish aims at the leader or relative to it.
    #[error("no node is known to lead")]
    NoLeader,
    /// The cluster is too small.
    #[error("there is no {0}")]
    NoSuchNode(Aim),
    /// Both ends of a link are one node.
    #[error("a node has no link to itself")]
    SameNode,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::Leader => write!(f, "leader"),
            Aim::Follower(k) => write!(f, "follower {k}"),
            Aim::Node(node) => write!(f, "n{node}"),
        }
    }
}

impl From<Aim> for String {
    fn from(aim: Aim) -> String {
        aim.to_string()
    }
}

/// An aim that is neither `leader`, `follower K` nor `nID`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no aim: write leader, follower 0, follower 1, ... or n1 to n9")]
pub struct NotAnAim(String);

impl FromStr for Aim {
    type Err = NotAnAim;

    fn from_str(text: &str) -> Result<Aim, NotAnAim> {
        let wrong = || NotAnAim(text.to_owned());
        if text == "leader" {
            Ok(Aim::Leader)
        } else if let Some(k) = text.strip_prefix("follower ") {
            k.parse().map(Aim::Follower).map_err(|_| wrong())
        } else {
            let id = text
                .strip_prefix('n')
                .and_then(|id| id.parse().ok())
                .ok_or_else(wrong)?;
            if (1..=9).contains(&id) {
                Ok(Aim::Node(id))
            } else {
                Err(wrong())
            }
        }
    }
}

impl TryFrom<String> for Aim {
    type Error = NotAnAim;

    fn try_from(text: String) -> Result<Aim, NotAnAim> {
        text.parse()
    }
}

impl Aim {
    /// The node that is meant, among `nodes` in the order of their ids.
    fn resolve(self, nodes: &[NodeId], leader: Option<NodeId>) -> Result<NodeId, Impossible> {
        match self {
            Aim::Leader => leader.ok_or(Impossible::NoLeader),
            Aim::Node(node) => nodes
                .contains(&node)
                .then_some(node)
                .ok_or(Impossible::NoSuchNode(self)),
            Aim::Follower(k) => {
                let leader = leader.ok_or(Impossible::NoLeader)?;
                let after = nodes.iter().filter(|&&node| node > leader);
                let before = nodes.iter().filter(|&&node| node < leader);
                after
                    .chain(before)
                    .nth(k)
                    .copied()
                    .ok_or(Impossible::NoSuchNode(self))
            }
        }
    }
}

impl Crowd {
    /// The nodes that are meant, in the order of their ids.
    fn resolve(self, nodes: &[NodeId], leader: Option<NodeId>) -> Result<Vec<NodeId>, Impossible> {
        let count = match self {
            Crowd::All => return Ok(nodes.to_vec()),
            Crowd::Follower => return Ok(vec![Aim::Follower(0).resolve(nodes, leader)?]),
            Crowd::Leader => 1,
            Crowd::Minority => nodes.len().saturating_sub(1) / 2,
            Crowd::Majority => nodes.len() / 2 + 1,
        };
        let followers = (0..count.saturating_sub(1)).map(Aim::Follower);
        let aims = std::iter::once(Aim::Leader).chain(followers);
        let mut meant = aims
            .map(|aim| aim.resolve(nodes, leader))
            .collect::<Result<Vec<_>, _>>()?;
        meant.sort_unstable();
        Ok(meant)
    }
}

impl Wish {
    /// The name of the kind in [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Wish::Kill { .. } => "kill",
            Wish::Pause { .. } => "pause",
            Wish::Restart { .. } => "restart",
            Wish::Isolate { .. } => "isolate",
            Wish::Split { .. } => "split",
            Wish::Bridge { .. } => "bridge",
            Wish::Ring { .. } => "ring",
            Wish::Graph { .. } => "graph",
            Wish::Hide { .. } => "hide",
            Wish::CrashLoop { .. } => "crash-loop",
            Wish::Throttle { .. } => "throttle",
            Wish::Cut { .. } => "cut",
            Wish::Slow { .. } => "slow",
            Wish::Crash { .. } => "crash",
            Wish::Message { act, .. } => act.name(),
            Wish::Disk { .. } => "disk",
            Wish::Clock { .. } => "clock",
            Wish::Shrink { .. } => "shrink",
            Wish::Transfer { .. } => "transfer",
        }
    }

    /// This wish as a fault, now, with `leader` leading `nodes`.
    ///
    /// # Errors
    /// Where nobody leads, a named node is no member, or a link would have one end.
    pub fn resolve(&self, nodes: &[NodeId], leader: Option<NodeId>) -> Result<Fault, Impossible> {
        let node = |aim: &Aim| aim.resolve(nodes, leader);
        let several = |aims: &[Aim]| {
            let mut nodes = aims.iter().map(node).collect::<Result<Vec<_>, _>>()?;
            nodes.sort_unstable();
            nodes.dedup();
            Ok(nodes)
        };
        let link = |from: &Aim, to: &Aim| match (node(from)?, node(to)?) {
            (from, to) if from == to => Err(Impossible::SameNode),
            ends => Ok(ends),
        };
        Ok(match self {
            Wish::Kill { who } => Fault::Kill { node: node(who)? },
            Wish::Pause { who } => Fault::Pause { node: node(who)? },
            Wish::Restart { who, signal } => Fault::Restart {
                node: node(who)?,
                signal: *signal,
            },
            Wish::Isolate { who, way } => Fault::Isolate {
                node: node(who)?,
                way: *way,
            },
            Wish::Split { side } => Fault::Split {
                side: several(side)?,
            },
            Wish::Bridge { over, side } => Fault::Bridge {
                over: node(over)?,
                side: several(side)?,
            },
            Wish::Ring { order } => Fault::Ring {
                order: order.iter().map(node).collect::<Result<_, _>>()?,
            },
            Wish::Graph { cut } => {
                let links = cut.iter().map(|(from, to)| link(from, to));
                let mut cut = links.collect::<Result<Vec<_>, _>>()?;
                cut.sort_unstable();
                cut.dedup();
                Fault::Graph { cut }
            }
            Wish::Hide { who } => Fault::Hide { node: node(who)? },
            Wish::CrashLoop { who, up_ms } => Fault::CrashLoop {
                node: node(who)?,
                up_ms: *up_ms,
            },
            Wish::Throttle {
                who,
                run_ms,
                stand_ms,
            } => Fault::Throttle {
                node: node(who)?,
                run_ms: *run_ms,
                stand_ms: *stand_ms,
            },
            Wish::Cut { from, to } => {
                let (from, to) = link(from, to)?;
                Fault::Cut { from, to }
            }
            Wish::Slow {
                from,
                to,
                delay_ms,
                jitter_ms,
            } => {
                let (from, to) = link(from, to)?;
                Fault::Slow {
                    from,
                    to,
                    delay_ms: *delay_ms,
                    jitter_ms: *jitter_ms,
                }
            }
            Wish::Crash { who } => Fault::Crash {
                nodes: who.resolve(nodes, leader)?,
            },
            Wish::Message {
                act,
                of,
                who,
                per_mille,
                ms,
            } => Fault::Message {
                act: *act,
                of: *of,
                node: who.as_ref().map(node).transpose()?,
                per_mille: *per_mille,
                ms: *ms,
            },
            Wish::Disk { who, harm, ms } => Fault::Disk {
                node: node(who)?,
                harm: *harm,
                ms: *ms,
            },
            Wish::Clock {
                who,
                rate_percent,
                step_ms,
            } => Fault::Clock {
                node: node(who)?,
                rate_percent: *rate_percent,
                step_ms: *step_ms,
            },
            Wish::Shrink { who } => Fault::Shrink { node: node(who)? },
            Wish::Transfer { to } => Fault::Transfer { to: node(to)? },
        })
    }
}

/// What a random plan is drawn from.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    /// The run's seed.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// From here on.
    pub from_ms: u64,
    /// No episode lasts beyond this.
    pub until_ms: u64,
    /// The kinds that may be drawn; an empty list draws nothing.
    pub kinds: &'a [String],
    /// How long an episode lasts.
    pub episode_ms: RangeInclusive<u64>,
    /// How long it is calm between two.
    pub calm_ms: RangeInclusive<u64>,
}

/// Calm between two episodes, drawn evenly from this range, where a scenario does not say.
pub const CALM_MS: RangeInclusive<u64> = 900..=1_600;
/// How long an episode lasts: from shorter than a failover (about 1.2 s) to three times as long.
pub const EPISODE_MS: RangeInclusive<u64> = 600..=3_600;

impl Plan {
    /// Random episodes, each of one, two or three faults (weights 0.4, 0.4, 0.2), drawn from the seed alone.
    #[must_use]
    pub fn draw(draw: &Draw<'_>) -> Plan {
        let mut rng = ChaCha8Rng::seed_from_u64(draw.seed ^ 0x706c_616e);
        let mut decks = Decks::default();
        let kinds: Vec<&'static str> = KINDS
            .iter()
            .map(|kind| kind.name)
            .filter(|name| draw.kinds.iter().any(|k| k == name))
            .collect();
        let mut episodes = Vec::new();
        let mut at_ms = draw.from_ms + rng.random_range(draw.calm_ms.clone());
        while !kinds.is_empty() {
            // Log-uniform: short flaps are as likely as long outages.
            let (least, most) = (
                *draw.episode_ms.start() as f64,
                *draw.episode_ms.end() as f64,
            );
            let for_ms = (least * (most / least).powf(rng.random::<f64>())) as u64;
            let depth = *[1, 1, 2, 2, 3]
                .choose(&mut rng)
                .expect("the list is not empty");
            let faults = distinct_faults(&mut rng, &mut decks, &kinds, draw.nodes, depth);
            if at_ms + for_ms > draw.until_ms {
                break;
            }
            episodes.push(Episode::at(at_ms, for_ms, faults));
            at_ms += for_ms + rng.random_range(draw.calm_ms.clone());
        }
        Plan { episodes }
    }

    /// The kinds of fault that this plan puts in, in the order of [`KINDS`].
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let planned = |name: &str| {
            self.episodes
                .iter()
                .flat_map(|e| &e.faults)
                .any(|wish| wish.kind() == name)
        };
        KINDS
            .iter()
            .map(|kind| kind.name)
            .filter(|name| planned(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<String> {
        KINDS.iter().map(|kind| kind.name.to_owned()).collect()
    }

    fn draw(seed: u64, nodes: usize) -> Plan {
        Plan::draw(&Draw {
            seed,
            nodes,
            from_ms: 1_000,
            until_ms: 60_000,
            kinds: &kinds(),
            episode_ms: EPISODE_MS,
            calm_ms: CALM_MS,
        })
    }

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_seed_another() {
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(8, 3));
    }

    #[test]
    fn every_drawn_plan_can_be_resolved_and_never_overlaps() {
        for (seed, size) in (0..300).flat_map(|seed| [1, 3, 5].map(|size| (seed, size))) {
            let nodes: Vec<NodeId> = (1..=size as u64).collect();
            let mut free_from = 1_000;
            for episode in draw(seed, size).episodes {
                assert!(episode.at_ms > free_from && episode.at_ms + episode.for_ms <= 60_000);
                free_from = episode.at_ms + episode.for_ms;
                for wish in &episode.faults {
                    let fault = wish
                        .resolve(&nodes, Some(1))
                        .unwrap_or_else(|why| panic!("{wish:?}: {why}"));
                    if let Fault::Split { side } = fault {
                        assert!(
                            !side.is_empty() && side.len() < size,
                            "seed {seed}: {side:?} of {size}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_plan_holds_every_kind_and_only_those_that_were_asked_for() {
        let every: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let long = |kinds: &[String]| {
            Plan::draw(&Draw {
                seed: 3,
                nodes: 5,
                from_ms: 0,
                until_ms: 600_000,
                kinds,
                episode_ms: EPISODE_MS,
                calm_ms: CALM_MS,
            })
            .kinds()
        };
        assert_eq!(long(&kinds()), every);
        assert_eq!(long(&["pause".to_owned()]), ["pause"]);
        assert!(long(&[]).is_empty());
    }

    #[test]
    fn followers_are_counted_round_from_the_leader() {
        let at = |aim: Aim| aim.resolve(&[1, 2, 3], Some(2));
        assert_eq!(
            [at(Aim::Leader), at(Aim::Follower(0)), at(Aim::Follower(1))],
            [Ok(2), Ok(3), Ok(1)]
        );
        assert_eq!(
            at(Aim::Follower(2)),
            Err(Impossible::NoSuchNode(Aim::Follower(2)))
        );
        assert_eq!(
            Aim::Leader.resolve(&[1, 2, 3], None),
            Err(Impossible::NoLeader)
        );
    }

    #[test]
    fn an_aim_is_read_as_it_is_written() {
        for aim in [Aim::Leader, Aim::Follower(3), Aim::Node(9)] {
            assert_eq!(aim.to_string().parse::<Aim>().unwrap(), aim);
        }
        for wrong in ["", "n0", "n10", "follower", "follower x", "boss"] {
            assert!(wrong.parse::<Aim>().is_err(), "{wrong}");
        }
    }
}
