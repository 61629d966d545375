//! A recipe: cluster, workload, plan, length, seed. No action.
//!
//! The built-in scenarios are the files in `src/scenarios/`, embedded; an argument with a `/` or ending in `.toml` is a
//! file of the same form. [`Scenario::resolve`] draws what the seed leaves open, and what it gives is enough to run
//! again: it is what `scenario.toml` in a run's folder holds, and [`Given`] takes that, too.

mod given;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::defects::{self, Place};
use crate::fault::plan::{Aim, CALM_MS, Draw, EPISODE_MS, Episode, Plan, Wish};
use crate::fault::{KINDS, MEMBERSHIP, NodeId, OUTSIDE};
use crate::workload::{Keys, Mix};

pub use given::Given;

const BUILT_IN: &[&str] = &[
    include_str!("scenarios/rapids.toml"),
    include_str!("scenarios/calm.toml"),
    include_str!("scenarios/pause-and-return.toml"),
    include_str!("scenarios/rolling-crash.toml"),
    include_str!("scenarios/power-loss.toml"),
    include_str!("scenarios/changing-members.toml"),
    include_str!("scenarios/lease-restart.toml"),
    include_str!("scenarios/partitions.toml"),
    include_str!("scenarios/figure-8.toml"),
    include_str!("scenarios/late-heir.toml"),
    include_str!("scenarios/kill-on-append.toml"),
    include_str!("scenarios/flapping.toml"),
    include_str!("scenarios/sweep.toml"),
    include_str!("scenarios/old-votes.toml"),
    include_str!("scenarios/slow-clock.toml"),
    include_str!("scenarios/bad-disks.toml"),
    include_str!("scenarios/lying-disk.toml"),
    include_str!("scenarios/flipped-bits.toml"),
    include_str!("scenarios/power-loss-on-sync.toml"),
    include_str!("scenarios/kill-in-snapshot.toml"),
    include_str!("scenarios/stand-still.toml"),
    include_str!("scenarios/by-hand.toml"),
];

/// So many nodes there can be.
const MOST_NODES: NodeId = 9;

/// How nodes can be told to answer reads.
pub const READ_MODES: &[&str] = &["read-index", "lease", "leader-local", "follower-local"];

/// How a leader can be told to replicate: over one stream for each peer, or with a call for each append.
pub const APPEND_MODES: &[&str] = &["stream", "unary"];

/// How often the decoy `restless-leader` hands the leadership on.
const HAND_ON_EVERY_MS: u64 = 1_200;

/// The scenario that runs when none is named.
pub const DEFAULT: &str = "rapids";

/// A scenario as written in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One word.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// Nodes at the start: 1, 3 or 5, or any number to 9.
    pub nodes: u64,
    /// Nodes that have a vote at the start, the first of them; the others run and are no members. Absent: all. At the
    /// end of a run every node gets a vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voters: Option<u64>,
    /// How long the workload runs; 0: until somebody ends it.
    pub seconds: u64,
    /// Logical clients at any time.
    pub clients: u32,
    /// Operations a second, over all clients together.
    pub rate: u32,
    /// The keys.
    pub keys: Keys,
    /// The operations.
    pub mix: Mix,
    /// Other operations from some instant on.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// How nodes answer reads, where the command line does not say: read-index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<String>,
    /// How the leader replicates, where the command line does not say: stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// Whether a node that has just started neither votes nor campaigns for an election timeout. Absent: the node's
    /// own default, which is on with lease reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_guard: Option<bool>,
    /// The nodes' Raft timings, where they are not the defaults.
    #[serde(default)]
    pub timings: Timings,
    /// Episodes that come first, whatever the seed.
    #[serde(default)]
    pub opening: Vec<Episode>,
    /// What the seed draws after them.
    #[serde(default)]
    pub random: Random,
    /// What a run must have exercised to prove anything.
    #[serde(default)]
    pub promises: Promises,
}

/// From an instant on, another mix of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// When, after the workload began.
    pub at_ms: u64,
    /// What is drawn from then on.
    pub mix: Mix,
}

/// A node's Raft timings: what is absent has the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Between two heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u64>,
    /// The least election timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election_min_ms: Option<u64>,
    /// The greatest election timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election_max_ms: Option<u64>,
    /// Log entries between two snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_every: Option<u64>,
    /// Log entries kept behind a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_logs: Option<u64>,
    /// Log entries that a follower may lag before it is sent a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Bytes of a snapshot that one message holds: a small one makes a small state travel in many pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_chunk: Option<u64>,
}

/// What random episodes are drawn from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// Names of kinds of faults; none: no random episode.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Swarm testing (Groce et al., ISSTA 2012): each seed leaves about half of the kinds out, and what is left comes
    /// together oftener than it would among all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub swarm: bool,
    /// How long an episode lasts, from and to; absent: from half a failover to three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode_ms: Option<[u64; 2]>,
    /// How long it is calm between two episodes, from and to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calm_ms: Option<[u64; 2]>,
}

/// A run that did not reach these is vacuous: it held, and proves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promises {
    /// Different (term, leader) pairs that were seen to lead, the first included.
    #[serde(default)]
    pub elections: u64,
    /// Different kinds of fault that took effect.
    #[serde(default)]
    pub kinds: u64,
    /// Snapshots that one node sent another and had answered.
    #[serde(default, skip_serializing_if = "is_none")]
    pub snapshots: u64,
    /// Faults of a node that led.
    #[serde(default, skip_serializing_if = "is_none")]
    pub leaders_hit: u64,
    /// Leaders that were left without a majority that hears them and is heard.
    #[serde(default, skip_serializing_if = "is_none")]
    pub leaders_in_minority: u64,
    /// Leaders that were killed with entries that were not committed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub tails: u64,
    /// Changes of the membership that took effect.
    #[serde(default, skip_serializing_if = "is_none")]
    pub changes: u64,
    /// Power losses.
    #[serde(default, skip_serializing_if = "is_none")]
    pub crashes: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Promises {
    /// What is left of them where the plan is not the whole one: no more than it still holds. What cannot be counted
    /// in a plan is not promised any more. `seconds`: how long it is now, and how long it was.
    fn of_a_part(self, plan: &Plan, seconds: [u64; 2]) -> Promises {
        let wishes = || plan.episodes.iter().flat_map(|episode| &episode.faults);
        let planned = |kinds: &[&str]| {
            let counted = wishes().filter(|wish| kinds.contains(&wish.kind()));
            counted.count() as u64
        };
        // Of so many drawn ones one or the other finds its node still on its way back.
        let crashes = planned(&["crash"]) * 9 / 10;
        let [now, before] = seconds;
        let elections = (self.elections * now / before.max(1)).max(2);
        Promises {
            elections: self.elections.min(elections),
            kinds: self.kinds.min(plan.kinds().len() as u64),
            snapshots: 0,
            leaders_hit: 0,
            leaders_in_minority: 0,
            tails: 0,
            changes: self.changes.min(planned(MEMBERSHIP)),
            crashes: self.crashes.min(crashes),
        }
    }
}

/// What the command line changes in a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// `--nodes`.
    pub nodes: Option<u64>,
    /// `--time`, in seconds.
    pub seconds: Option<u64>,
    /// `--rate`, in operations a second.
    pub rate: Option<u32>,
    /// `--clients`.
    pub clients: Option<u32>,
    /// `--keys`: contended keys.
    pub keys: Option<u32>,
    /// `--faults`: kinds, or an empty list for none.
    pub faults: Option<Vec<String>>,
    /// `--reads`.
    pub reads: Option<String>,
    /// `--append`.
    pub append: Option<String>,
    /// `--vote-guard`.
    pub vote_guard: Option<bool>,
}

/// A scenario with nothing left open: what a run's folder keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The run's seed.
    pub seed: u64,
    /// The planted defect, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
    /// The scenario, with the command line's changes.
    pub scenario: Scenario,
    /// What will go wrong, and when.
    pub plan: Plan,
}

/// Why a scenario cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No built-in scenario has that name.
    #[error("there is no scenario {name:?}; there are {known}")]
    NoSuch {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("could not read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a scenario.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A number or name makes no sense.
    #[error("{0}")]
    Senseless(String),
}

impl Scenario {
    /// The embedded scenarios, in the order in which they are listed.
    ///
    /// # Panics
    /// If one of them is malformed, which a test excludes.
    #[must_use]
    pub fn built_in() -> Vec<Scenario> {
        BUILT_IN
            .iter()
            .map(|text| toml::from_str(text).expect("an embedded scenario is well formed"))
            .collect()
    }

    /// The embedded scenario of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(name: &str) -> Result<Scenario, Error> {
        let all = Scenario::built_in();
        let known = all
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        all.into_iter()
            .find(|s| s.name == name)
            .ok_or_else(|| Error::NoSuch {
                name: name.to_owned(),
                known,
            })
    }

    /// Applies the command line's changes and draws what the seed leaves open.
    ///
    /// # Errors
    /// Where a number or a name makes no sense.
    pub fn resolve(
        mut self,
        changes: &Changes,
        seed: u64,
        defect: Option<String>,
    ) -> Result<Resolved, Error> {
        // A run that was made shorter, smaller or milder promises what its plan still holds.
        let is_part = changes
            .seconds
            .is_some_and(|seconds| seconds < self.seconds)
            || changes.nodes.is_some_and(|nodes| nodes != self.nodes)
            || changes.faults.is_some();
        let whole = self.seconds;
        self.nodes = changes.nodes.unwrap_or(self.nodes);
        self.voters = self.voters.filter(|&voters| voters < self.nodes);
        self.seconds = changes.seconds.unwrap_or(self.seconds);
        self.change_beside_the_plan(changes);
        if let Some(kinds) = &changes.faults {
            let opens = |kind: &String| {
                let mut wishes = self.opening.iter().flat_map(|episode| &episode.faults);
                wishes.any(|wish| wish.kind() == kind)
            };
            // What is outside of the model and stands in the opening is there already: it is not for drawing.
            let drawn = kinds
                .iter()
                .filter(|kind| !OUTSIDE.contains(&kind.as_str()) || !opens(kind));
            self.random.kinds = drawn.cloned().collect();
            // Whoever names kinds wants each of them, and not only behind what is left of the opening.
            self.random.swarm = false;
            // The opening keeps what is still allowed of it; promises that rest on the rest are dropped.
            for episode in &mut self.opening {
                episode
                    .faults
                    .retain(|wish| kinds.iter().any(|kind| kind == wish.kind()));
            }
            self.opening.retain(|episode| !episode.faults.is_empty());
            self.promises.kinds = self.promises.kinds.min(kinds.len() as u64);
            if kinds.is_empty() {
                self.promises.elections = 0;
            }
        }
        if self.voters.is_none() && changes.faults.is_none() {
            self.random.kinds.retain(|kind| kind != "grow");
        }
        if self.reads() == "lease" && changes.faults.is_none() {
            // A lease may be wrong under a wrong clock: whoever wants to see that has to ask for it.
            self.random.kinds.retain(|kind| kind != "clock");
        }
        self.check()?;
        let mut plan = self.plan(seed, changes.faults.is_some());
        if let Some(name) = &defect {
            let known = defects::find(name).ok_or_else(|| {
                Error::Senseless(format!(
                    "there is no defect {name:?}: see whitewater list defects"
                ))
            })?;
            if known.place == Place::Plan {
                plan.episodes.extend(self.transfers());
            }
        }
        // What is outside of the model is only ever put in where somebody has written it down.
        let named = changes.faults.iter().flatten();
        let mut outside = named.filter(|kind| OUTSIDE.contains(&kind.as_str()));
        if let Some(kind) = outside.find(|kind| !plan.kinds().contains(&kind.as_str())) {
            return Err(Error::Senseless(format!(
                "{kind} is outside of the fault model and is never drawn: write it into a scenario"
            )));
        }
        if is_part {
            self.promises = self.promises.of_a_part(&plan, [self.seconds, whole]);
        }
        Ok(Resolved {
            seed,
            defect,
            scenario: self,
            plan,
        })
    }

    /// Applies those of the command line's changes that no plan depends on.
    fn change_beside_the_plan(&mut self, changes: &Changes) {
        self.rate = changes.rate.unwrap_or(self.rate);
        self.clients = changes.clients.unwrap_or(self.clients);
        self.keys.contended = changes.keys.unwrap_or(self.keys.contended);
        for (own, change) in [
            (&mut self.reads, &changes.reads),
            (&mut self.append, &changes.append),
        ] {
            if let Some(change) = change {
                *own = Some(change.clone());
            }
        }
        self.vote_guard = changes.vote_guard.or(self.vote_guard);
    }

    /// How nodes answer reads.
    #[must_use]
    pub fn reads(&self) -> &str {
        self.reads.as_deref().unwrap_or("read-index")
    }

    /// How the leader replicates.
    #[must_use]
    pub fn append(&self) -> &str {
        self.append.as_deref().unwrap_or("stream")
    }

    /// What is drawn that long after the workload began.
    #[must_use]
    pub fn mix_at(&self, since_begin: Duration) -> Mix {
        let begun = |phase: &&Phase| Duration::from_millis(phase.at_ms) <= since_begin;
        self.phases
            .iter()
            .rev()
            .find(begun)
            .map_or(self.mix, |phase| phase.mix)
    }

    /// Ids of the nodes, from 1.
    #[must_use]
    pub fn node_ids(&self) -> Vec<NodeId> {
        (1..=self.nodes).collect()
    }

    /// Ids of those that have a vote at the start.
    #[must_use]
    pub fn voter_ids(&self) -> Vec<NodeId> {
        (1..=self.voters.unwrap_or(self.nodes)).collect()
    }

    /// The opening, and what the seed draws behind it; `between`: and between its episodes, where there is room.
    fn plan(&self, seed: u64, between: bool) -> Plan {
        let until_ms = if self.seconds == 0 {
            u64::MAX / 2
        } else {
            self.seconds * 1_000
        };
        let mut episodes: Vec<Episode> = self
            .opening
            .iter()
            .filter(|e| e.ends_by_ms() <= until_ms)
            .cloned()
            .collect();
        // A run without an end draws an hour of plan; nobody watches longer.
        let drawn_until = until_ms.min(3_600_000);
        let mut free = Vec::new();
        let mut from_ms = 500;
        for episode in &episodes {
            if between && episode.at_ms > from_ms {
                free.push((from_ms, episode.at_ms));
            }
            from_ms = from_ms.max(episode.ends_by_ms());
        }
        free.push((from_ms, drawn_until));
        let nodes = usize::try_from(self.nodes).expect("a node count is small");
        for (stretch, (from_ms, until_ms)) in (0..).zip(free) {
            let draw = Draw {
                seed: seed ^ (stretch << 48),
                nodes,
                from_ms,
                until_ms,
                kinds: &self.random.kinds,
                swarm: self.random.swarm,
                episode_ms: self.random.episode_ms.map_or(EPISODE_MS, range),
                calm_ms: self.random.calm_ms.map_or(CALM_MS, range),
            };
            episodes.extend(Plan::draw(&draw).episodes);
        }
        episodes.sort_by_key(|episode| episode.at_ms);
        Plan { episodes }
    }

    /// The leadership is handed on, again and again: the decoy of the plan.
    fn transfers(&self) -> impl Iterator<Item = Episode> {
        let until_ms = self.seconds.min(3_600) * 1_000;
        let every = usize::try_from(HAND_ON_EVERY_MS).expect("a second is small");
        (HAND_ON_EVERY_MS..until_ms).step_by(every).map(|at_ms| {
            let to = Aim::Follower(0);
            Episode::at(at_ms, 0, vec![Wish::Transfer { to }])
        })
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Senseless(text));
        if !(1..=9).contains(&self.nodes) {
            return wrong(format!("{} nodes: there can be 1 to 9", self.nodes));
        }
        if let Some(voters) = self.voters.filter(|v| !(1..=self.nodes).contains(v)) {
            return wrong(format!(
                "{voters} voters: there can be 1 to {}, the number of nodes",
                self.nodes
            ));
        }
        if !(1..=1_000).contains(&self.clients) {
            return wrong(format!("{} clients: there can be 1 to 1000", self.clients));
        }
        if !(1..=1_000_000).contains(&self.rate) {
            return wrong(format!(
                "a rate of {}: there can be 1 to 1000000 operations a second",
                self.rate
            ));
        }
        if self.keys.contended + self.keys.wide == 0 {
            return wrong("no key: there must be one".to_owned());
        }
        if self.mix.read + self.mix.write + self.mix.cas + self.mix.delete == 0 {
            return wrong("every weight of the mix is 0".to_owned());
        }
        for (what, bounds) in [
            ("episode_ms", self.random.episode_ms),
            ("calm_ms", self.random.calm_ms),
        ] {
            if bounds.is_some_and(|[least, most]| least == 0 || least > most) {
                return wrong(format!("{what}: two numbers from 1, the lesser first"));
            }
        }
        for kind in &self.random.kinds {
            if !KINDS.iter().any(|known| known.name == kind) {
                let known = KINDS
                    .iter()
                    .map(|kind| kind.name)
                    .collect::<Vec<_>>()
                    .join(", ");
                return wrong(format!(
                    "there is no kind of fault {kind:?}; there are {known}"
                ));
            }
        }
        for outside in OUTSIDE {
            if self.random.kinds.iter().any(|kind| kind == outside) {
                return wrong(format!(
                    "{outside} is outside of the fault model and never drawn: write it into the opening"
                ));
            }
        }
        if self.voters.is_none() && self.random.kinds.iter().any(|kind| kind == "grow") {
            return wrong(
                "grow: every node has a vote already; voters says how many have".to_owned(),
            );
        }
        for (what, mode, modes) in [
            ("reads", self.reads(), READ_MODES),
            ("append", self.append(), APPEND_MODES),
        ] {
            if !modes.contains(&mode) {
                return wrong(format!("{what} = {mode:?}: there are {}", modes.join(", ")));
            }
        }
        if !self.phases.is_sorted_by_key(|phase| phase.at_ms) {
            return wrong("the phases are not in the order of their beginnings".to_owned());
        }
        let mut free_from = 0;
        for episode in &self.opening {
            if let Err(why) = episode.check(MOST_NODES) {
                return wrong(format!("the opening {why}"));
            }
            if episode.at_ms < free_from {
                return wrong(format!(
                    "the opening at {} ms begins before the one before it",
                    episode.at_ms
                ));
            }
            free_from = episode.at_ms;
        }
        Ok(())
    }
}

fn range([least, most]: [u64; 2]) -> std::ops::RangeInclusive<u64> {
    least..=most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::plan::When;
    use crate::fault::{DiskHarm, WireHarm};

    fn resolve(changes: &Changes) -> Result<Resolved, Error> {
        Scenario::find(DEFAULT).unwrap().resolve(changes, 1, None)
    }

    #[test]
    fn every_built_in_scenario_makes_sense_and_survives_toml() {
        for scenario in Scenario::built_in() {
            scenario
                .check()
                .unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
            let resolved = scenario.resolve(&Changes::default(), 3, None).unwrap();
            let text = toml::to_string(&resolved).unwrap();
            assert_eq!(
                toml::from_str::<Resolved>(&text).unwrap(),
                resolved,
                "{text}"
            );
        }
    }

    #[test]
    fn the_page_names_every_word_that_a_scenario_may_hold() {
        let page = include_str!("scenarios/README.md");
        let words = KINDS.iter().map(|kind| kind.name);
        let words = words.chain(READ_MODES.iter().copied());
        let words = words.chain(WireHarm::ALL.map(WireHarm::name));
        let words = words.map(str::to_owned);
        let written = toml::to_string(&Scenario {
            voters: Some(1),
            phases: vec![Phase {
                at_ms: 1,
                mix: Scenario::find("calm").unwrap().mix,
            }],
            reads: Some("lease".to_owned()),
            append: Some("unary".to_owned()),
            vote_guard: Some(true),
            timings: Timings {
                heartbeat_ms: Some(1),
                election_min_ms: Some(1),
                election_max_ms: Some(1),
                snapshot_every: Some(1),
                keep_logs: Some(1),
                lag: Some(1),
                snapshot_chunk: Some(1),
            },
            opening: vec![Episode {
                when: Some(When::LeaderChange),
                after_ms: 1,
                within_ms: Some(1),
                ..Episode::at(1, 1, DiskHarm::ALL.map(disk).to_vec())
            }],
            random: Random {
                kinds: Vec::new(),
                swarm: true,
                episode_ms: Some([1, 1]),
                calm_ms: Some([1, 1]),
            },
            promises: Promises {
                elections: 1,
                kinds: 1,
                snapshots: 1,
                leaders_hit: 1,
                leaders_in_minority: 1,
                tails: 1,
                changes: 1,
                crashes: 1,
            },
            ..Scenario::find("calm").unwrap()
        })
        .unwrap();
        let fields = written.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        let fields = fields.filter(|word| word.len() > 2 && word.parse::<u64>().is_err());
        let said = ["calm", "true", "fault"];
        let about = Scenario::find("calm").unwrap().about;
        let fields = fields.filter(|word| !said.contains(word) && !about.contains(word));
        for word in words.chain(fields.map(str::to_owned)) {
            assert!(page.contains(&word), "{word} is not on the page");
        }
    }

    fn disk(harm: DiskHarm) -> Wish {
        let (who, ms) = (Aim::Leader, 1);
        Wish::Disk { who, harm, ms }
    }

    #[test]
    fn the_default_is_the_one_that_the_design_settles() {
        let Resolved { scenario, plan, .. } = resolve(&Changes::default()).unwrap();
        assert_eq!(
            (
                scenario.nodes,
                scenario.seconds,
                scenario.clients,
                scenario.rate
            ),
            (3, 30, 8, 200)
        );
        assert_eq!((scenario.keys.contended, scenario.keys.wide), (5, 200));
        assert!(plan.kinds().len() >= 3, "{:?}", plan.kinds());
    }

    #[test]
    fn what_is_outside_of_the_model_may_be_named_where_the_opening_has_it_and_is_never_drawn() {
        let changes = |names: &[&str]| Changes {
            faults: Some(names.iter().map(|&name| name.to_owned()).collect()),
            ..Changes::default()
        };
        let scenario = Scenario::find("lying-disk").unwrap();
        let named = scenario.resolve(&changes(&["lying-disk", "crash"]), 1, None);
        let Resolved { scenario, plan, .. } = named.unwrap();
        assert!(plan.kinds().contains(&"lying-disk"), "{:?}", plan.kinds());
        assert_eq!(scenario.random.kinds, ["crash"]);
        let refused = resolve(&changes(&["lying-disk"])).unwrap_err().to_string();
        assert!(refused.contains("outside of the fault model"), "{refused}");
    }

    #[test]
    fn faults_none_leaves_no_fault_and_no_promise_of_one() {
        let calm = resolve(&Changes {
            faults: Some(Vec::new()),
            ..Changes::default()
        })
        .unwrap();
        assert!(calm.plan.episodes.is_empty());
        assert_eq!(calm.scenario.promises, Promises::default());
    }

    #[test]
    fn a_recipe_promises_what_it_is_for_and_a_part_of_it_only_what_it_holds() {
        let promises = |name: &str, seconds| {
            let changes = Changes {
                seconds,
                ..Changes::default()
            };
            let scenario = Scenario::find(name).unwrap();
            scenario
                .resolve(&changes, 1, None)
                .unwrap()
                .scenario
                .promises
        };
        assert_eq!(promises("figure-8", None).tails, 2);
        assert_eq!(promises("late-heir", None).snapshots, 1);
        assert_eq!(promises("kill-on-append", None).leaders_hit, 3);
        assert_eq!(promises("power-loss", None).crashes, 90);
        assert_eq!(promises("changing-members", None).changes, 3);
        assert_eq!(promises("partitions", None).leaders_in_minority, 1);
        assert_eq!(promises("late-heir", Some(3)).snapshots, 0);
        let some = promises("power-loss", Some(20));
        assert!((4..20).contains(&some.crashes), "{some:?}");
        assert_eq!(some.elections, 2, "of 20 in 225 s");
        assert_eq!(promises("changing-members", Some(1)).changes, 0);
    }

    #[test]
    fn a_recipe_without_newcomers_does_not_let_them_grow() {
        let faults = |kinds: &[&str]| Changes {
            faults: Some(kinds.iter().map(|&kind| kind.to_owned()).collect()),
            ..Changes::default()
        };
        let refused = resolve(&faults(&["grow"])).unwrap_err().to_string();
        assert!(refused.contains("voters"), "{refused}");
        let refused = resolve(&faults(&["wipe"])).unwrap_err().to_string();
        assert!(refused.contains("outside"), "{refused}");
        // As many nodes as voters: the recipe goes without.
        let three = Changes {
            nodes: Some(3),
            ..Changes::default()
        };
        let scenario = Scenario::find("changing-members").unwrap();
        let resolved = scenario.resolve(&three, 1, None).unwrap();
        assert_eq!(resolved.scenario.voter_ids(), [1, 2, 3]);
        assert!(!resolved.scenario.random.kinds.contains(&"grow".to_owned()));
    }

    #[test]
    fn kinds_that_are_named_are_all_drawn_and_from_the_beginning() {
        for seed in 0..20 {
            let changes = Changes {
                faults: Some(vec!["kill".to_owned(), "pause".to_owned()]),
                ..Changes::default()
            };
            let scenario = Scenario::find(DEFAULT).unwrap();
            let Resolved { plan, .. } = scenario.resolve(&changes, seed, None).unwrap();
            assert_eq!(plan.kinds(), ["kill", "pause"], "seed {seed}");
            assert!(plan.episodes[0].at_ms < 3_000, "seed {seed}: {plan:?}");
            assert!(plan.episodes.len() >= 5, "seed {seed}: {plan:?}");
            let mut free_from = 0;
            for episode in &plan.episodes {
                assert!(episode.at_ms >= free_from, "seed {seed}: {plan:?}");
                free_from = episode.ends_by_ms();
            }
        }
    }

    #[test]
    fn a_plan_ends_with_the_workload() {
        let short = resolve(&Changes {
            seconds: Some(5),
            ..Changes::default()
        })
        .unwrap();
        assert!(!short.plan.episodes.is_empty());
        assert!(
            short
                .plan
                .episodes
                .iter()
                .all(|e| e.at_ms + e.for_ms <= 5_000)
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let refused = |changes: Changes, part: &str| {
            let text = resolve(&changes).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        };
        refused(
            Changes {
                nodes: Some(0),
                ..Changes::default()
            },
            "0 nodes",
        );
        refused(
            Changes {
                nodes: Some(10),
                ..Changes::default()
            },
            "10 nodes",
        );
        refused(
            Changes {
                rate: Some(0),
                ..Changes::default()
            },
            "rate of 0",
        );
        refused(
            Changes {
                faults: Some(vec!["lying-disk".to_owned()]),
                ..Changes::default()
            },
            "outside of the fault model",
        );
        refused(
            Changes {
                faults: Some(vec!["flood".to_owned()]),
                ..Changes::default()
            },
            "\"flood\"",
        );
        assert!(
            Scenario::find("nosuch")
                .unwrap_err()
                .to_string()
                .contains("rapids")
        );
    }
}
