//! What a run is to break: a target, as its scenario asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Setup;
use super::decoy::planted;
use super::lacking::lacking;
use crate::cluster::Equipment;
use crate::fault::defects::Place;
use crate::fault::plan::{Episode, When};
use crate::fault::{DiskHarm, Fault, Lacks, Need, NodeId, Role};
use crate::host::Shortages;
use crate::scenario::{ForTarget, Subject, Tested, Versions};
use crate::target::Target;
use crate::target::described::{
    self, DataType, Description, Expect, Malformed, Missing, System, builtin, find,
};
use crate::target::kiwi::{Kiwi, KiwiConfig};
use crate::workload;

/// What a run's target lacks, before there is one: plans are drawn by it.
#[must_use]
pub fn lacks() -> Lacks {
    Kiwi::new(KiwiConfig {
        lacking: lacking(),
        ..KiwiConfig::default()
    })
    .lacks()
}

/// The target of this run, whose nodes nobody else can call.
///
/// # Errors
/// When the system has no random numbers.
pub(super) fn of(setup: &Setup, shortages: &Shortages) -> Result<Arc<dyn Target>, String> {
    if let Some(tested) = &setup.resolved.tested {
        let members = setup.resolved.scenario.node_ids();
        return Ok(Arc::new(somebodys(tested, members, shortages)?));
    }
    let guarded = KiwiConfig::guarded().map_err(|error| format!("could not {error}"))?;
    let config = KiwiConfig {
        shortages: shortages.clone(),
        lacking: lacking(),
        ..guarded
    };
    Ok(Arc::new(Kiwi::new(as_asked(setup, config))))
}

/// Somebody else's system, by the description that the run keeps.
fn somebodys(
    tested: &Tested,
    members: Vec<NodeId>,
    shortages: &Shortages,
) -> Result<System, String> {
    let read = Description::read(&tested.description, &tested.target, Path::new("."));
    let (description, _) = read.map_err(|wrong| wrong.to_string())?;
    let mode = description.mode(Some(&tested.mode)).cloned();
    let mode = mode.ok_or_else(|| format!("{} has no mode {}", tested.target, tested.mode))?;
    let program = tested.program.clone();
    Ok(System::new(
        description,
        mode,
        program,
        members,
        shortages.clone(),
    ))
}

/// A target by name or file, found and asked for its version, for scenarios to be fitted to; and what it lacks.
///
/// # Errors
/// Where nothing has that name, its file does not read, it has no such mode, or its program is not here.
pub fn choose(
    name: &str,
    mode: Option<&str>,
    program: Option<&Path>,
    subject: Option<&Subject>,
) -> Result<(ForTarget, Lacks, Vec<String>), NoTarget> {
    let (mut description, warnings) = builtin::find(name)?;
    let mode = mode.or_else(|| subject?.mode.as_deref());
    let mut chosen = description.mode(mode).cloned().ok_or_else(|| {
        let modes: Vec<&str> = description
            .modes
            .iter()
            .map(|mode| mode.name.as_str())
            .collect();
        let (mode, modes) = (mode.unwrap_or_default(), modes.join(", "));
        NoTarget::NoSuch(format!("--mode {mode}: {name} has {modes}"))
    })?;
    let is_asked = match description.spec {
        DataType::Register => true,
        DataType::ListAppend => false,
        DataType::Other(of) => workload::asks_for(of),
    };
    if !is_asked {
        return Err(NoTarget::NoSuch(format!(
            "{name}: no run asks for operations of its spec, {}, yet",
            description.spec.name()
        )));
    }
    if let Some(subject) = subject {
        fits(&mut description, &mut chosen, subject)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NoTarget::Io)?;
    let found = runtime.block_on(description.find.find(program))?;
    let expect = match &chosen.expect {
        Expect::Holds => Vec::new(),
        Expect::Found(anomalies) => anomalies.clone(),
    };
    let resolved = description.resolved();
    let (nodes, terms) = (description.nodes, numbers_terms(&description));
    let spec = description.spec.other().map(|of| of.name().to_owned());
    let system = System::new(
        description,
        chosen,
        found.program.clone(),
        Vec::new(),
        Shortages::default(),
    );
    let mode = system.mode().expect("a described system is in a mode");
    let fits = ForTarget {
        nodes,
        terms,
        subject: subject.cloned(),
        tested: Tested {
            target: name.to_owned(),
            promises: mode.promised(),
            mode: mode.name,
            version: found.version,
            program: found.program,
            named: program.is_some(),
            expect,
            spec,
            description: resolved,
        },
    };
    Ok((fits, system.lacks(), warnings))
}

/// Whether its nodes number their leaders' terms.
fn numbers_terms(description: &Description) -> bool {
    let leader = description.leader.as_ref();
    leader.is_some_and(|leader| leader.term.is_some())
}

/// Somebody's system that is shipped, or was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its name, or its file.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// Its modes, the usual one first.
    pub modes: Vec<String>,
    /// Where its program is, or the command that installs it.
    pub program: Result<PathBuf, String>,
}

/// The systems that are shipped, in the order in which people meet them, and `named` where it is a file. Whether their
/// programs are of a version that is meant is not asked.
#[must_use]
pub fn offered(named: Option<&str>) -> Vec<Offered> {
    let mut all: Vec<Offered> = builtin::all()
        .iter()
        .map(|description| offer(&description.name, description))
        .collect();
    let known = |name: &&str| !all.iter().any(|offered| offered.name == *name);
    if let Some(name) = named.filter(known)
        && let Ok((description, _)) = builtin::find(name)
    {
        all.push(offer(name, &description));
    }
    all
}

fn offer(name: &str, description: &Description) -> Offered {
    let modes = description.modes.iter();
    let program = description.find.locate(None);
    Offered {
        name: name.to_owned(),
        about: description.about.clone(),
        modes: modes.map(|mode| mode.name.clone()).collect(),
        program: program.map_err(|missing| missing.install),
    }
}

/// What a scenario says of the system that it is about: its versions, and what the words of its file mean.
fn fits(
    description: &mut Description,
    mode: &mut described::Mode,
    subject: &Subject,
) -> Result<(), NoTarget> {
    let (about, _) = builtin::find(&subject.target)?;
    let name = &description.name;
    if about.name != *name {
        let why = format!("--target {name}: the scenario is about {}", about.name);
        return Err(NoTarget::NoSuch(why));
    }
    for (word, meaning) in &subject.set {
        if mode.set.insert(word.clone(), meaning.clone()).is_none() {
            let why = format!("set: the file of {name} has no word {word:?} of its own");
            return Err(NoTarget::NoSuch(why));
        }
    }
    let named = mode.name.clone();
    let kept = description.modes.iter_mut().find(|mode| mode.name == named);
    kept.into_iter().for_each(|kept| *kept = mode.clone());
    let range = |versions: &Versions| find::Range {
        at_least: versions.at_least.clone(),
        below: versions.below.clone(),
    };
    description.find.only = subject.versions.iter().map(range).collect();
    if let Some(install) = &subject.install {
        description.find.install.clone_from(install);
    }
    Ok(())
}

/// Why a target cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NoTarget {
    /// There is none, or none that a run can test.
    #[error("{0}")]
    NoSuch(String),
    /// Its file does not read.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Its program is not here.
    #[error("{0}")]
    Missing(#[from] Missing),
    /// The bench has no threads.
    #[error("could not ask the target's program for its version: {0}")]
    Io(std::io::Error),
}

impl From<builtin::NoSuch> for NoTarget {
    fn from(none: builtin::NoSuch) -> NoTarget {
        match none {
            builtin::NoSuch::Named(why) | builtin::NoSuch::Unreadable(why) => NoTarget::NoSuch(why),
            builtin::NoSuch::Malformed(wrong) => NoTarget::Malformed(wrong),
        }
    }
}

/// What hosts of the nodes' own have to be able to do in this run: what its plan has, and what a person at the screen may do at
/// any time. Other programs read so often that it is watched for a plan only; our own node has other calls for what it
/// reads of sockets.
pub(super) fn equipment(setup: &Setup) -> Equipment {
    let plan = &setup.resolved.plan;
    let kinds = plan.kinds();
    let needs = |need| kinds.iter().any(|kind| kind.need() == need);
    let waits = |episode: &Episode| episode.when == Some(When::SyncPending);
    let reads = |fault: &Fault<Role>| match fault {
        Fault::Disk { harm, .. } => matches!(harm, DiskHarm::ReadFails | DiskHarm::FlippedBits),
        _ => false,
    };
    let by_hand = setup.hold;
    let disk = by_hand
        || needs(Need::UnsyncedDisk)
        || needs(Need::Disk)
        || plan.episodes.iter().any(waits);
    let clock = by_hand || needs(Need::Clock);
    let own = setup.resolved.tested.is_none();
    // Our own nodes run also where there is no machine for them.
    let lacks = if own { lacking() } else { Vec::new() };
    let here = |need| !lacks.iter().any(|(lacking, _)| *lacking == need);
    Equipment {
        disk: disk && here(Need::Disk),
        reads: plan.faults().any(reads) || (by_hand && own),
        clock: clock && here(Need::Clock),
        seed: setup.resolved.seed,
    }
}

/// What the scenario asks of our own nodes.
fn as_asked(setup: &Setup, mut config: KiwiConfig) -> KiwiConfig {
    let scenario = &setup.resolved.scenario;
    scenario.reads().clone_into(&mut config.reads);
    if let Some(guard) = scenario.vote_guard {
        config.more_flags = vec![
            "--vote-guard".into(),
            if guard { "on" } else { "off" }.into(),
        ];
    }
    let set = |timing: &mut Duration, ms: Option<u64>| {
        if let Some(ms) = ms {
            *timing = Duration::from_millis(ms);
        }
    };
    set(&mut config.timings.heartbeat, scenario.timings.heartbeat_ms);
    set(
        &mut config.timings.election_min,
        scenario.timings.election_min_ms,
    );
    set(
        &mut config.timings.election_max,
        scenario.timings.election_max_ms,
    );
    let timings = &scenario.timings;
    let count = |own: &mut u64, other: Option<u64>| *own = other.unwrap_or(*own);
    count(&mut config.timings.snapshot_every, timings.snapshot_every);
    count(&mut config.timings.keep_logs, timings.keep_logs);
    count(&mut config.timings.lag, timings.lag);
    if let Some(bytes) = timings.snapshot_chunk {
        let flags = ["--snapshot-chunk".into(), bytes.to_string().into()];
        config.more_flags.extend(flags);
    }
    scenario.append().clone_into(&mut config.append);
    match planted(&setup.resolved) {
        Some(Place::Node) => config.defect.clone_from(&setup.resolved.defect),
        Some(Place::Flags) => {
            config.timings.snapshot_every = 20;
            config.timings.keep_logs = 5;
            config.timings.lag = 10;
        }
        _ => {}
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{ELECTION_MAX_MS, ELECTION_MIN_MS, HEARTBEAT_MS};

    #[test]
    fn a_scenario_is_checked_against_the_timings_that_nodes_have_without_it() {
        let timings = crate::target::kiwi::Timings::default();
        let known = [HEARTBEAT_MS, ELECTION_MIN_MS, ELECTION_MAX_MS].map(Duration::from_millis);
        let own = [
            timings.heartbeat,
            timings.election_min,
            timings.election_max,
        ];
        assert_eq!(own, known);
    }
}
