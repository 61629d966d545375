//! A recipe: cluster, workload, plan, length, seed. No action.
//!
//! The built-in scenarios are the files in `src/scenarios/`, embedded; an argument with a `/` or ending in `.toml` is a
//! file of the same form. [`Scenario::resolve`] draws what the seed leaves open, and what it gives is enough to run
//! again: it is what `scenario.toml` in a run's folder holds, and [`Given`] takes that, too.

mod about;
mod builtin;
mod check;
mod fit;
mod given;
mod tested;
mod wrong;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::defects::{self, Place};
use crate::fault::plan::{CALM_MS, Draw, EPISODE_MS, Episode, Plan};
use crate::fault::step::Step;
use crate::fault::{Class, Fault, Kind, Lacks, Need, NodeId, NodeSelector};
use crate::workload::{Keys, Mix};

pub use about::{Subject, Twin, Versions};
#[cfg(test)]
pub(crate) use check::{ELECTION_MAX_MS, ELECTION_MIN_MS, HEARTBEAT_MS};
pub use given::Given;
pub use tested::{ForTarget, Tested};
use wrong::Wrong;

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
    /// Whose system it is about, where it is not for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Subject>,
    /// The same without what it shows: it must stay clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<Twin>,
    /// What is done one after the other, each when something has been seen. The run ends with the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
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
    /// Kinds of faults; none: no random episode.
    #[serde(default)]
    pub kinds: Vec<Kind>,
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
    pub power_losses: u64,
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
        let planned = |counts: fn(Kind) -> bool| {
            let counted = plan.faults().filter(|fault| counts(fault.kind()));
            counted.count() as u64
        };
        // Of so many drawn ones one or the other finds its node still on its way back.
        let power_losses = planned(|kind| kind == Kind::PowerLoss) * 9 / 10;
        let [now, before] = seconds;
        let share = u128::from(self.elections) * u128::from(now) / u128::from(before.max(1));
        let elections = u64::try_from(share).unwrap_or(u64::MAX).max(2);
        Promises {
            elections: self.elections.min(elections),
            kinds: self.kinds.min(plan.kinds().len() as u64),
            snapshots: 0,
            leaders_hit: 0,
            leaders_in_minority: 0,
            tails: 0,
            changes: self
                .changes
                .min(planned(|kind| kind.class() == Class::Members)),
            power_losses: self.power_losses.min(power_losses),
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
    pub faults: Option<Vec<Kind>>,
    /// `--reads`.
    pub reads: Option<String>,
    /// `--append`.
    pub append: Option<String>,
    /// `--vote-guard`.
    pub vote_guard: Option<bool>,
    /// What the target lacks, which is then left out.
    pub lacks: Lacks,
    /// `--target`, `--mode` and `--program`: whose system, where it is not the program's own.
    pub target: Option<ForTarget>,
}

/// What is known of the nodes while a run goes on.
#[derive(Clone, Copy, Debug)]
struct Understood {
    /// Who leads.
    roles: bool,
    /// What their calls are.
    calls: bool,
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
    /// Of what goes wrong the kinds that what is tested does not promise to survive: what is found after one of them accuses
    /// nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpromised: Vec<Kind>,
    /// What is tested, where it is not the program's own node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// The scenario, with the command line's changes.
    pub scenario: Scenario,
    /// What will go wrong, and when.
    pub plan: Plan,
    /// What the scenario asks for and the target lacks, a sentence each: it is neither planned nor promised.
    #[serde(skip)]
    pub left_out: Vec<String>,
}

impl Resolved {
    /// Whether it can be run, as a file of its own: its numbers make sense, and its plan fits them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        toml::to_string(self).is_ok_and(|text| Given::parse(&text).is_ok())
    }

    /// The same run as it went: with the plan as it was carried out, for as long as it lasted, and no longer where it is
    /// `over`.
    #[must_use]
    pub fn as_it_went(mut self, plan: Plan, lasted: Duration, over: bool) -> Resolved {
        let lasted = u64::try_from(lasted.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
        let planned = if over { 0 } else { self.scenario.seconds };
        self.scenario.seconds = planned.max(lasted).max(1);
        self.plan = plan;
        self.labelled()
    }

    /// Says which of its plan's kinds nobody promises to survive.
    fn labelled(mut self) -> Resolved {
        let kinds = self.plan.kinds().into_iter();
        self.unpromised = kinds.filter(|&kind| !self.promises(kind)).collect();
        self
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Error {
        Error::Senseless(wrong.to_string())
    }
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
        let mut is_part = changes
            .seconds
            .is_some_and(|seconds| seconds < self.seconds)
            || changes.nodes.is_some_and(|nodes| nodes != self.nodes)
            || changes.faults.is_some();
        fit::refuse(changes, defect.as_deref())?;
        self.refuse_steps(changes)?;
        let opening = self.opening.len();
        let unfit = match &changes.target {
            Some(target) => self.fit(target, changes)?,
            None => None,
        };
        let mut left_out: Vec<String> = unfit.into_iter().collect();
        left_out.extend(self.leave_out(&changes.lacks));
        is_part |= self.opening.len() < opening || changes.target.is_some();
        let whole = self.seconds;
        self.nodes = changes.nodes.unwrap_or(self.nodes);
        self.voters = self.voters.filter(|&voters| voters < self.nodes);
        self.seconds = changes.seconds.unwrap_or(self.seconds);
        self.change_beside_the_plan(changes);
        if let Some(kinds) = &changes.faults {
            self.draw_only(kinds);
        }
        if self.voters.is_none() && changes.faults.is_none() {
            self.random.kinds.retain(|&kind| kind != Kind::AddVoter);
        }
        if self.reads() == "lease" && changes.faults.is_none() {
            // A lease may be wrong under a wrong clock: whoever wants to see that has to ask for it.
            self.random.kinds.retain(|&kind| kind != Kind::Clock);
        }
        self.check()?;
        for kind in changes.faults.iter().flatten() {
            let least = kind.least_nodes();
            if (self.nodes as usize) < least {
                return Err(Error::Senseless(format!(
                    "--faults {kind}: without effect among {} nodes, it needs {least}",
                    self.nodes
                )));
            }
        }
        let roles = changes.lacks.why(Need::Leader).is_none();
        let calls = changes.lacks.why(Need::Calls).is_none();
        let told = Understood { roles, calls };
        let mut plan = self.plan(seed, changes.faults.is_some(), told);
        if !left_out.is_empty() {
            self.promises.kinds = self.promises.kinds.min(plan.kinds().len() as u64);
        }
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
        let mut outside = named.filter(|kind| kind.is_outside_the_model());
        if let Some(kind) = outside.find(|kind| !plan.kinds().contains(kind)) {
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
            unpromised: Vec::new(),
            tested: changes.target.clone().map(|target| target.tested),
            scenario: self,
            plan,
            left_out,
        }
        .labelled())
    }

    /// Draws these kinds, and no others.
    fn draw_only(&mut self, kinds: &[Kind]) {
        let opens = |kind: Kind| {
            let mut faults = self.opening.iter().flat_map(|episode| &episode.faults);
            faults.any(|fault| fault.kind() == kind)
        };
        // What is outside of the model and stands in the opening is there already: it is not for drawing.
        let drawn = kinds.iter().copied();
        let drawn = drawn.filter(|&kind| !kind.is_outside_the_model() || !opens(kind));
        self.random.kinds = drawn.collect();
        // Whoever names kinds wants each of them, and not only behind what is left of the opening.
        self.random.swarm = false;
        // The opening keeps what is still allowed of it; promises that rest on the rest are dropped.
        for episode in &mut self.opening {
            episode.faults.retain(|fault| kinds.contains(&fault.kind()));
        }
        self.opening.retain(|episode| !episode.faults.is_empty());
        self.promises.kinds = self.promises.kinds.min(kinds.len() as u64);
        if kinds.is_empty() {
            self.promises.elections = 0;
        }
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

    /// So many clients are numbered side by side: those of the workload, the bench's own, and one for each step.
    #[must_use]
    pub fn slots(&self) -> u32 {
        let steps = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.clients.saturating_add(1).saturating_add(steps)
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

    /// The opening, and what the seed draws behind it; `between`: and between its episodes, where there is room; `roles`:
    /// for roles.
    fn plan(&self, seed: u64, between: bool, told: Understood) -> Plan {
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
                streams: self.append() == "stream",
                roles: told.roles,
                calls: told.calls,
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
        let steps = self.steps.clone();
        Plan { episodes, steps }
    }

    /// The leadership is handed on, again and again: the decoy of the plan.
    fn transfers(&self) -> impl Iterator<Item = Episode> {
        // As the random plan: an hour of a run without an end.
        let until_ms = match self.seconds {
            0 => 3_600_000,
            seconds => seconds.min(3_600) * 1_000,
        };
        let every = usize::try_from(HAND_ON_EVERY_MS).expect("a second is small");
        (HAND_ON_EVERY_MS..until_ms).step_by(every).map(|at_ms| {
            let to = NodeSelector::Follower(0);
            Episode::at(at_ms, 0, vec![Fault::Transfer { to }])
        })
    }
}

fn range([least, most]: [u64; 2]) -> std::ops::RangeInclusive<u64> {
    least..=most
}

#[cfg(test)]
mod number_tests;
#[cfg(test)]
mod tests;
