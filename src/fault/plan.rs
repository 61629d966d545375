//! Faults over time, as data: a [`Plan`] is a list of episodes, and the same seed always draws the same one.
//!
//! A plan does not name nodes where it means roles: it says *the leader*, *the first follower*, and [`Fault::resolve`]
//! turns that into a [`Fault`](super::Fault) at the instant at which the nemesis acts. Episodes come one after the other, with calm
//! between them, because a cluster that never recovers proves little.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::draw::Hat;
use super::step::Step;
use super::{Fault, Kind, NodeId, Role, Senseless};

/// What an episode can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Somebody leads in a later term than whoever led when the wait began.
    LeaderChange,
    /// The leader's disk has a sync under way.
    SyncPending,
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
    /// Pieces of snapshots that went on to the receiver: the third of many is half way.
    Snapshot,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::LeaderChange => write!(f, "another leader"),
            When::SyncPending => write!(f, "a sync that is under way at the leader"),
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
#[serde(deny_unknown_fields)]
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
    pub faults: Vec<Fault<Role>>,
}

impl Episode {
    /// One without an anchor.
    #[must_use]
    pub fn at(at_ms: u64, for_ms: u64, faults: Vec<Fault<Role>>) -> Episode {
        Episode {
            at_ms,
            when: None,
            after_ms: 0,
            within_ms: None,
            for_ms,
            faults,
        }
    }

    /// One that begins at once and goes on until somebody takes its faults out.
    #[must_use]
    pub fn until_healed(faults: Vec<Fault<Role>>) -> Episode {
        Episode::at(0, UNTIL_HEALED_MS, faults)
    }

    /// Whether it can be had among so many nodes, and does anything, whoever leads: as far as its own words tell.
    ///
    /// # Errors
    /// What is wrong first, and where in it.
    pub fn check(&self, nodes: NodeId) -> Result<(), Unfit> {
        self.check_times()?;
        self.check_each(|fault| fault.check_for(nodes))
    }

    /// Whether each of its faults does anything among exactly so many nodes that replicate like this.
    ///
    /// # Errors
    /// What is wrong first, and where in it.
    pub fn check_among(&self, nodes: NodeId, streams: bool) -> Result<(), Unfit> {
        self.check_each(|fault| fault.check_for_just(nodes, streams))
    }

    fn check_each(
        &self,
        check: impl Fn(&Fault<Role>) -> Result<(), Senseless>,
    ) -> Result<(), Unfit> {
        for (at, fault) in self.faults.iter().enumerate() {
            check(fault).map_err(|Senseless { field, why }| Unfit {
                fault: Some(at),
                field,
                why: format!("{}: {why}", fault.kind()),
            })?;
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), Unfit> {
        let unfit = |field, why: String| {
            Err(Unfit {
                fault: None,
                field,
                why,
            })
        };
        for (field, ms) in [
            ("at_ms", self.at_ms),
            ("after_ms", self.after_ms),
            ("within_ms", self.within_ms.unwrap_or(1)),
            ("for_ms", self.for_ms),
        ] {
            if ms > MOST_PLANNED_MS {
                let why = format!("{field} = {ms}: there can be {MOST_PLANNED_MS} at most");
                return unfit(field, why);
            }
        }
        if self.faults.is_empty() {
            return unfit("faults", "without effect: it has no fault".to_owned());
        }
        if let Some(fault) = self.faults.iter().find(|fault| !fault.needs_no_time())
            && self.for_ms == 0
        {
            let why = format!(
                "without effect: for_ms = 0, and {} is out as soon as it is in",
                fault.kind()
            );
            return unfit("for_ms", why);
        }
        match self.when {
            None if self.within_ms.is_some() => {
                let why =
                    "without effect: within_ms, and nothing is waited for: when says for what";
                unfit("within_ms", why.to_owned())
            }
            None if self.after_ms > 0 => {
                let why = "without effect: after_ms, and nothing is waited for: when says for what";
                unfit("after_ms", why.to_owned())
            }
            Some(_) if self.within_ms == Some(0) => {
                let why = "within_ms = 0: it would be skipped always";
                unfit("within_ms", why.to_owned())
            }
            Some(When::Message { count: 0, .. }) => {
                let why = "count = 0: they are counted from 1";
                unfit("when", why.to_owned())
            }
            _ => Ok(()),
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
        let parts = [waits, self.after_ms, self.for_ms];
        parts.into_iter().fold(self.at_ms, u64::saturating_add)
    }
}

/// What is wrong with an episode, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unfit {
    /// Which of its faults, counted from 0; `None`: the episode itself.
    pub fault: Option<usize>,
    /// Which of its words, or of the fault's.
    pub field: &'static str,
    /// What is wrong.
    pub why: String,
}

/// Nothing is planned for later than this, and nothing lasts longer: a year.
pub const MOST_PLANNED_MS: u64 = 366 * 86_400_000;

/// An episode that somebody asks for lasts as long as this, or until it is healed.
pub const UNTIL_HEALED_MS: u64 = MOST_PLANNED_MS;

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
    /// What is done beside them; it stands in the scenario.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

/// What a random plan is drawn from.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    /// The run's seed.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// Whether entries travel in streams.
    pub streams: bool,
    /// From here on.
    pub from_ms: u64,
    /// No episode lasts beyond this.
    pub until_ms: u64,
    /// Whether anybody says who leads; else faults are for nodes by their numbers, and for no role.
    pub roles: bool,
    /// Whether the nodes' own protocol is understood; else their messages are only told apart by whom they are between.
    pub calls: bool,
    /// The kinds that may be drawn, in any order; an empty list draws nothing.
    pub kinds: &'a [Kind],
    /// Whether a random half of the kinds is drawn from, or all.
    pub swarm: bool,
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
        let all = Kind::ALL.iter().copied();
        let may_be_drawn = |kind: &Kind| draw.kinds.contains(kind) && !kind.is_outside_the_model();
        let mut kinds: Vec<Kind> = all.filter(may_be_drawn).collect();
        if draw.swarm {
            kinds = swarm(draw.seed, kinds);
        }
        let mut episodes = Vec::new();
        let mut at_ms = draw.from_ms + rng.random_range(draw.calm_ms.clone());
        let mut hat = Hat::new(rng, &kinds, draw);
        while !kinds.is_empty() {
            // Log-uniform: short flaps are as likely as long outages.
            let (least, most) = (
                *draw.episode_ms.start() as f64,
                *draw.episode_ms.end() as f64,
            );
            let for_ms = hat.log_uniform(least, most / least);
            let depth = hat.pick(&[1, 1, 2, 2, 3]);
            let faults = hat.distinct_faults(depth);
            if at_ms + for_ms > draw.until_ms {
                break;
            }
            // Where none of the kinds can be had among so few nodes, or all collide, it stays calm.
            if !faults.is_empty() {
                episodes.push(Episode::at(at_ms, for_ms, faults));
            }
            at_ms += for_ms + hat.rng.random_range(draw.calm_ms.clone());
        }
        let steps = Vec::new();
        Plan { episodes, steps }
    }

    /// The kinds of fault that this plan puts in, in their order.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let planned: BTreeSet<Kind> = self.faults().map(Fault::kind).collect();
        planned.into_iter().collect()
    }

    /// Its faults, one episode's after another's, and those of its steps.
    pub fn faults(&self) -> impl Iterator<Item = &Fault<Role>> {
        let episodes = self.episodes.iter().flat_map(|one| &one.faults);
        episodes.chain(self.steps.iter().flat_map(|step| &step.put))
    }
}

/// Each kind stays with an even chance of its own. Where none would, all do.
fn swarm(seed: u64, kinds: Vec<Kind>) -> Vec<Kind> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0073_7761_726d);
    let mut stay: Vec<Kind> = kinds.clone();
    stay.retain(|_| rng.random_bool(0.5));
    match stay.is_empty() {
        true => kinds,
        false => stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{
        Act, DiskHarm, LimitOf, NodeId, NodeSelector, NodeSet, Of, Only, Roles, WireHarm,
    };

    fn roles(nodes: &[NodeId]) -> Roles<'_> {
        Roles {
            nodes,
            leader: Some(1),
            newcomer: Some(1),
        }
    }

    fn inside() -> Vec<Kind> {
        let all = Kind::ALL.iter().copied();
        all.filter(|kind| !kind.is_outside_the_model()).collect()
    }

    fn draw(seed: u64, nodes: usize) -> Plan {
        Plan::draw(&Draw {
            seed,
            nodes,
            streams: true,
            roles: true,
            calls: true,
            from_ms: 1_000,
            until_ms: 60_000,
            kinds: Kind::ALL,
            swarm: false,
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
    fn a_swarm_leaves_out_about_half_of_the_kinds_and_another_half_for_each_seed() {
        let drawn = |seed, kinds: &[Kind]| {
            let plan = Plan::draw(&Draw {
                seed,
                nodes: 5,
                streams: true,
                roles: true,
                calls: true,
                from_ms: 0,
                until_ms: 2_000_000,
                kinds,
                swarm: true,
                episode_ms: EPISODE_MS,
                calm_ms: CALM_MS,
            });
            plan.kinds()
        };
        let possible = inside().len();
        let mut times: std::collections::BTreeMap<Kind, u32> = std::collections::BTreeMap::new();
        for seed in 0..40 {
            let kinds = drawn(seed, Kind::ALL);
            assert!(
                (possible / 5..possible * 4 / 5).contains(&kinds.len()),
                "{kinds:?}"
            );
            for kind in kinds {
                *times.entry(kind).or_default() += 1;
            }
        }
        assert_eq!(times.len(), possible, "{times:?}");
        assert!(times.values().all(|n| (8..=32).contains(n)), "{times:?}");
        // One kind that may be drawn always is.
        for seed in 0..10 {
            assert_eq!(drawn(seed, &[Kind::Pause]), [Kind::Pause]);
        }
    }

    #[test]
    fn every_drawn_plan_can_be_resolved_and_never_overlaps() {
        for (seed, size) in (0..300).flat_map(|seed| [1, 3, 5].map(|size| (seed, size))) {
            let nodes: Vec<NodeId> = (1..=size as u64).collect();
            let mut free_from = 1_000;
            for episode in draw(seed, size).episodes {
                assert!(episode.at_ms > free_from && episode.at_ms + episode.for_ms <= 60_000);
                free_from = episode.at_ms + episode.for_ms;
                assert_eq!(episode.check(size as u64), Ok(()), "{episode:?}");
                assert_eq!(episode.check_among(size as u64, true), Ok(()));
                for planned in &episode.faults {
                    let fault = planned
                        .resolve(roles(&nodes))
                        .unwrap_or_else(|why| panic!("{planned:?}: {why}"));
                    let links = fault.links(&nodes);
                    let others = episode.faults.iter().filter(|other| *other != planned);
                    for other in others {
                        let other = other.resolve(roles(&nodes)).unwrap();
                        let cut = other.links(&nodes);
                        let hidden = !links.is_empty() && links.iter().all(|l| cut.contains(l));
                        assert!(
                            !other.cuts() || !hidden,
                            "{other} leaves nothing for {fault}"
                        );
                    }
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
    fn faults_and_anchors_are_read_as_they_are_written() {
        let disks = DiskHarm::ALL.map(|harm| Fault::Disk {
            who: NodeSelector::Follower(1),
            harm,
            ms: 7,
        });
        let limits = [LimitOf::FileSize, LimitOf::OpenFiles].map(|of| Fault::Rlimit {
            who: NodeSelector::Leader,
            of,
        });
        use NodeSet::{All, Follower, Followers, Leader, Majority, Minority};
        let some = NodeSet::Nodes(vec![NodeSelector::Node(1), NodeSelector::Leader]);
        let sets = [All, Follower, Followers, Leader, Majority, Minority, some];
        let sets = sets.into_iter().flat_map(|who| {
            let stagger_ms = 100;
            let several = Fault::KillSeveral { who: who.clone() };
            let power_loss = Fault::PowerLoss { who: who.clone() };
            [Fault::Freeze { who, stagger_ms }, several, power_loss]
        });
        let wires = WireHarm::ALL.map(|harm| Fault::Wire {
            from: NodeSelector::Leader,
            to: NodeSelector::Node(2),
            harm,
            amount: 9,
        });
        let message = Fault::Message {
            act: Act::DelayResponse,
            of: Of::Appends,
            who: Some(NodeSelector::Leader),
            per_mille: 500,
            ms: 60,
            to: Some(NodeSelector::Follower(0)),
            only: Only {
                terms: Some([2, 9]),
                entries: Some([1, 100]),
                nth: Some([1, 3]),
                ..Only::default()
            },
        };
        let mut episode = Episode::at(
            1,
            2,
            disks
                .into_iter()
                .chain(limits)
                .chain(sets)
                .chain(wires)
                .chain([message])
                .collect(),
        );
        let message = When::Message {
            message: Seen::Snapshot,
            count: 3,
        };
        for when in [
            When::SyncPending,
            When::LeaderChange,
            When::UncommittedTail,
            message,
        ] {
            episode.when = Some(when);
            let text = toml::to_string(&episode).unwrap();
            assert_eq!(toml::from_str::<Episode>(&text).unwrap(), episode, "{text}");
        }
        let text = r#"{ fault = "disk", who = "leader", harm = "lying-sync" }"#;
        let read: Episode = toml::from_str(&format!(
            "at_ms = 1\nfor_ms = 2\nwhen = \"sync-pending\"\nfaults = [{text}]"
        ))
        .unwrap();
        assert_eq!(
            (read.when, read.faults[0].kind()),
            (Some(When::SyncPending), Kind::LyingDisk)
        );
    }

    #[test]
    fn small_spaces_are_enumerated_before_anything_comes_twice() {
        // All that a long plan has of one kind, in its order.
        let dealt = |kind: Kind, nodes| -> Vec<String> {
            let plan = Plan::draw(&Draw {
                seed: 11,
                nodes,
                streams: true,
                roles: true,
                calls: true,
                from_ms: 0,
                until_ms: 600_000,
                kinds: &[kind],
                swarm: false,
                episode_ms: EPISODE_MS,
                calm_ms: CALM_MS,
            });
            plan.faults().map(|fault| format!("{fault:?}")).collect()
        };
        // Three isolations, each both ways, in and out; the sides with the leader; one of five between two sides; and
        // every ring, whichever way round.
        for (kind, nodes, space) in [
            (Kind::Isolate, 3, 3 * 3),
            (Kind::Split, 3, 3),
            (Kind::Split, 5, 15),
            (Kind::Bridge, 5, 5 * 7),
            (Kind::Ring, 5, 12),
        ] {
            let dealt = dealt(kind, nodes);
            assert!(
                dealt.len() > 2 * space,
                "{kind} of {nodes}: {}",
                dealt.len()
            );
            for round in dealt.chunks_exact(space) {
                let different: std::collections::BTreeSet<_> = round.iter().collect();
                assert_eq!(different.len(), space, "{kind} of {nodes}: {round:#?}");
            }
        }
    }

    #[test]
    fn a_long_plan_holds_every_kind_and_only_those_that_were_asked_for() {
        let long = |kinds: &[Kind]| {
            Plan::draw(&Draw {
                seed: 3,
                nodes: 5,
                streams: true,
                roles: true,
                calls: true,
                from_ms: 0,
                until_ms: 600_000,
                kinds,
                swarm: false,
                episode_ms: EPISODE_MS,
                calm_ms: CALM_MS,
            })
            .kinds()
        };
        assert_eq!(long(Kind::ALL), inside());
        assert_eq!(long(&[Kind::Pause]), [Kind::Pause]);
        assert!(long(&[]).is_empty());
        let outside = Kind::ALL.iter().copied();
        let outside: Vec<Kind> = outside.filter(|kind| kind.is_outside_the_model()).collect();
        assert!(
            long(&outside).is_empty(),
            "what is outside of the model is never drawn"
        );
    }
}
