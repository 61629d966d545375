//! What a run is to break: a target, as its scenario asks for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Setup;
use super::decoy::planted;
use crate::cluster::Equipment;
use crate::fault::defects::Place;
use crate::fault::plan::{Episode, When};
use crate::fault::{DiskHarm, Fault, Lacks, Need, NodeId, Role};
use crate::host::Shortages;
use crate::scenario::{ForTarget, Tested};
use crate::target::Target;
use crate::target::described::{
    DataType, Description, Expect, Malformed, Missing, System, builtin,
};
use crate::target::kiwi::{Kiwi, KiwiConfig};
use crate::workload;

/// What a run's target lacks, before there is one: plans are drawn by it.
#[must_use]
pub fn lacks() -> Lacks {
    Kiwi::new(KiwiConfig::default()).lacks()
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
) -> Result<(ForTarget, Lacks, Vec<String>), NoTarget> {
    let (description, warnings) = builtin::find(name)?;
    let chosen = description.mode(mode).cloned().ok_or_else(|| {
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NoTarget::Io)?;
    let found = runtime.block_on(description.find.find(program))?;
    let expect = match &chosen.expect {
        Expect::Holds => Vec::new(),
        Expect::Found(anomalies) => anomalies.clone(),
    };
    let fits = ForTarget {
        nodes: description.nodes,
        terms: description
            .leader
            .as_ref()
            .is_some_and(|leader| leader.term.is_some()),
        tested: Tested {
            target: name.to_owned(),
            mode: chosen.name.clone(),
            version: found.version,
            program: found.program.clone(),
            named: program.is_some(),
            expect,
            spec: description.spec.other().map(|of| of.name().to_owned()),
            description: description.resolved(),
        },
    };
    let system = System::new(
        description,
        chosen,
        found.program,
        Vec::new(),
        Shortages::default(),
    );
    Ok((fits, system.lacks(), warnings))
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

/// What hosts of the nodes' own have to be able to do in this run: what its plan has. A person at the screen may cut a power
/// or harm a disk at any time; reads and clocks are asked for so often that they are watched for a plan only.
pub(super) fn equipment(setup: &Setup) -> Equipment {
    let plan = &setup.resolved.plan;
    let kinds = plan.kinds();
    let needs = |need| kinds.iter().any(|kind| kind.need() == need);
    let waits = |episode: &Episode| episode.when == Some(When::SyncPending);
    let fails = |fault: &Fault<Role>| {
        let harm = DiskHarm::ReadFails;
        matches!(fault, Fault::Disk { harm: it, .. } if *it == harm)
    };
    Equipment {
        disk: setup.hold
            || needs(Need::UnsyncedDisk)
            || needs(Need::Disk)
            || plan.episodes.iter().any(waits),
        reads: plan.faults().any(fails),
        clock: needs(Need::Clock),
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
    // A person at the screen may cut a power at any time.
    let mut planned = setup.resolved.plan.kinds().into_iter();
    config.power_loss = setup.hold || planned.any(|kind| kind.need() == Need::UnsyncedDisk);
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
