//! A fault as a plan wants it: for roles, not for nodes.

use serde::{Deserialize, Serialize};

use super::aim::{Aim, Crowd, Impossible};
use super::{
    Act, Among, DiskHarm, Fault, LimitOf, NodeId, Of, Only, Senseless, Signal, Way, WireHarm,
};

/// A fault that a plan wants, its nodes still to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
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
    /// See [`Fault::KillSeveral`].
    KillSeveral {
        /// Whom.
        who: Crowd,
    },
    /// See [`Fault::Freeze`].
    Freeze {
        /// Whom.
        who: Crowd,
        /// How long after one the next one goes on.
        #[serde(default)]
        stagger_ms: u64,
    },
    /// See [`Fault::Limit`].
    Limit {
        /// Whom.
        who: Aim,
        /// Of what.
        of: LimitOf,
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
    /// See [`Fault::Wire`].
    Wire {
        /// Who sends, or dials.
        from: Aim,
        /// Who hears it, or is dialled.
        to: Aim,
        /// What becomes of the bytes.
        harm: WireHarm,
        /// What the harm counts.
        #[serde(default)]
        amount: u64,
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
        /// Only what is for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Aim>,
        /// Which of them.
        #[serde(default, skip_serializing_if = "Only::is_all")]
        only: Only,
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
    /// See [`Fault::Replace`].
    Replace {
        /// Whom.
        who: Aim,
    },
    /// See [`Fault::Grow`].
    Grow {
        /// Whom; absent: the first node that is no member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<Aim>,
    },
    /// See [`Fault::Wipe`].
    Wipe {
        /// Whom.
        who: Aim,
    },
}

/// A plan can name nodes up to this one.
const MOST_NAMED: NodeId = 9;

fn every_one() -> u32 {
    1000
}

fn as_it_should() -> u32 {
    100
}

fn both_ways() -> Way {
    Way::Both
}

impl Wish {
    /// The name of the kind in [`KINDS`](super::KINDS).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Wish::Kill { .. } => "kill",
            Wish::Pause { .. } => "pause",
            Wish::Restart { .. } => "restart",
            Wish::KillSeveral { .. } => "kill-several",
            Wish::Freeze { .. } => "freeze",
            Wish::Limit { .. } => "limit",
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
            Wish::Wire { .. } => "wire",
            Wish::Crash { .. } => "crash",
            Wish::Message { act, .. } => act.name(),
            Wish::Disk { harm, .. } => harm.kind(),
            Wish::Clock { .. } => "clock",
            Wish::Shrink { .. } => "shrink",
            Wish::Transfer { .. } => "transfer",
            Wish::Replace { .. } => "replace",
            Wish::Grow { .. } => "grow",
            Wish::Wipe { .. } => "wipe",
        }
    }

    /// Whether it can be had among so many nodes, and does anything, whoever leads: as far as its own words tell.
    ///
    /// # Errors
    /// Why it can't.
    pub fn check(&self, nodes: NodeId) -> Result<(), Senseless> {
        self.checked(nodes, |_, fault| fault.check())
    }

    /// Whether it does anything among exactly so many nodes, and in a cluster that replicates like this.
    ///
    /// # Errors
    /// Why it doesn't.
    pub fn check_among(&self, nodes: NodeId, streams: bool) -> Result<(), Senseless> {
        self.checked(nodes, |nodes, fault| {
            fault.check_among(Among { nodes, streams })
        })
    }

    fn checked(
        &self,
        nodes: NodeId,
        check: impl Fn(&[NodeId], &Fault) -> Result<(), Senseless>,
    ) -> Result<(), Senseless> {
        let all: Vec<NodeId> = (1..=nodes).collect();
        match self {
            Wish::Transfer { to: Aim::Leader } => {
                let why = "without effect: the leader leads already";
                return Err(Senseless::of("to", why));
            }
            Wish::Grow {
                who: Some(Aim::Leader),
            } => {
                let why = "without effect: the leader has a vote";
                return Err(Senseless::of("who", why));
            }
            Wish::KillSeveral { who } | Wish::Freeze { who, .. } | Wish::Crash { who } => {
                who.check(all.len())?;
            }
            _ => {}
        }
        match self.resolve(&all, Some(1), Some(1)) {
            Ok(fault) => check(&all, &fault),
            // Who is the same node now, is not when another one leads.
            Err(Impossible::SameNode) if self.names_nodes() => Ok(()),
            Err(why) => Err(Senseless::of("fault", why.to_string())),
        }
    }

    /// Whether it does something although it is taken out as soon as it is in.
    #[must_use]
    pub fn needs_no_time(&self) -> bool {
        let nodes: Vec<NodeId> = (1..=MOST_NAMED).collect();
        let fault = self.resolve(&nodes, Some(1), Some(2));
        fault.is_ok_and(|fault| fault.is_over_at_once() || fault.kills())
    }

    /// Whether it names nodes by their ids beside those that it names by their roles.
    fn names_nodes(&self) -> bool {
        let is_node = |aim: &Aim| matches!(aim, Aim::Node(_));
        let ends = |from: &Aim, to: &Aim| is_node(from) != is_node(to);
        match self {
            Wish::Cut { from, to } | Wish::Slow { from, to, .. } | Wish::Wire { from, to, .. } => {
                ends(from, to)
            }
            Wish::Message {
                who: Some(from),
                to: Some(to),
                ..
            } => ends(from, to),
            Wish::Graph { cut } => cut.iter().any(|(from, to)| ends(from, to)),
            _ => false,
        }
    }

    /// This wish as a fault, now, with `leader` leading `nodes`, of which `newcomer` has no vote yet.
    ///
    /// # Errors
    /// Where nobody leads, a named node is no member, or a link would have one end.
    pub fn resolve(
        &self,
        nodes: &[NodeId],
        leader: Option<NodeId>,
        newcomer: Option<NodeId>,
    ) -> Result<Fault, Impossible> {
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
            Wish::KillSeveral { who } => Fault::KillSeveral {
                nodes: who.resolve(nodes, leader)?,
            },
            Wish::Freeze { who, stagger_ms } => Fault::Freeze {
                nodes: who.resolve(nodes, leader)?,
                stagger_ms: *stagger_ms,
            },
            Wish::Limit { who, of } => Fault::Limit {
                node: node(who)?,
                of: *of,
            },
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
            Wish::Wire {
                from,
                to,
                harm,
                amount,
            } => {
                let (from, to) = link(from, to)?;
                Fault::Wire {
                    from,
                    to,
                    harm: *harm,
                    amount: *amount,
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
                to,
                only,
            } => {
                let (node, to) = match (who, to) {
                    (Some(from), Some(to)) => {
                        let (from, to) = link(from, to)?;
                        (Some(from), Some(to))
                    }
                    (from, to) => (
                        from.as_ref().map(node).transpose()?,
                        to.as_ref().map(node).transpose()?,
                    ),
                };
                Fault::Message {
                    act: *act,
                    of: *of,
                    node,
                    per_mille: *per_mille,
                    ms: *ms,
                    to,
                    only: *only,
                }
            }
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
            Wish::Replace { who } => Fault::Replace { node: node(who)? },
            Wish::Grow { who: Some(who) } => Fault::Grow { node: node(who)? },
            Wish::Grow { who: None } => Fault::Grow {
                node: newcomer.ok_or(Impossible::NoNewcomer)?,
            },
            Wish::Wipe { who } => Fault::Wipe { node: node(who)? },
        })
    }
}
