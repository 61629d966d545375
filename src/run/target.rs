//! What a run is to break: a target, as its scenario asks for it.

use std::sync::Arc;
use std::time::Duration;

use super::Setup;
use super::decoy::planted;
use crate::fault::defects::Place;
use crate::fault::{Lacks, Need};
use crate::host::Shortages;
use crate::target::Target;
use crate::target::kiwi::{Kiwi, KiwiConfig};

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
    let guarded = KiwiConfig::guarded().map_err(|error| format!("could not {error}"))?;
    let config = KiwiConfig {
        shortages: shortages.clone(),
        ..guarded
    };
    Ok(Arc::new(Kiwi::new(as_asked(setup, config))))
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
