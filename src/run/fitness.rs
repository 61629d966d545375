//! Whether the machine is fit for a run before it begins, and its upkeep while it goes on. Whether what it did not give
//! excuses anybody is decided in [`blame`](crate::oracle::blame).

use std::sync::Arc;
use std::time::Duration;

use super::Setup;
use super::context::RunContext;
use crate::host::{self, Host, Need, NeedError};
use crate::journal::EventLog;
use crate::recorder::{Missing, Recorder};

/// How often the files are written that could not be, and what was noted is told.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// In so many of these looks the processors are looked at once.
const PROCESSORS_EVERY: u64 = 20;

/// Raises what may be raised, and holds what the run needs against what there is: what should be told all the same.
///
/// # Errors
/// What the run cannot do without.
pub(super) fn before(setup: &Setup) -> Result<Vec<String>, NeedError> {
    let scenario = &setup.resolved.scenario;
    let need = Need {
        nodes: scenario.node_ids().len() as u64,
        clients: scenario.clients.into(),
        rate: scenario.rate.into(),
        seconds: scenario.seconds,
    };
    need.check(host::raise_descriptors(), &setup.out)
}

/// Writes what waits and logs what was noted, again and again, until the task is dropped.
pub(super) async fn upkeep(of: Upkeep) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    for look in 0_u64.. {
        tick.tick().await;
        before = of.look(before);
        if look % PROCESSORS_EVERY == 0 {
            of.host.look_at_processors();
        }
    }
}

/// What the upkeep needs of a run.
pub(super) struct Upkeep {
    recorder: Arc<Recorder>,
    log: EventLog,
    host: Arc<Host>,
}

impl Upkeep {
    pub(super) fn of(context: &RunContext) -> Upkeep {
        Upkeep {
            recorder: context.recorder.clone(),
            log: context.log.clone(),
            host: context.host.clone(),
        }
    }

    /// Once; gives what is missing in the history now.
    fn look(&self, before: Option<Missing>) -> Option<Missing> {
        self.recorder.flush();
        self.log.flush();
        for text in self.host.shortages().take_said() {
            self.log.say(text);
        }
        let now = self.recorder.missing();
        if let Some(text) = changed(before.as_ref(), now.as_ref()) {
            // Behind the gap itself, and told.
            self.recorder.mark(text.clone());
            self.log.say(text);
        }
        now
    }
}

/// What has become of the history since it was looked at before, where that is worth a sentence.
fn changed(before: Option<&Missing>, now: Option<&Missing>) -> Option<String> {
    let lost = |missing: Option<&Missing>| missing.map_or(0, |missing| missing.lost);
    let waits = |missing: Option<&Missing>| missing.is_some_and(|missing| missing.waiting > 0);
    match (waits(before), waits(now)) {
        (false, true) => {
            let why = now.map_or("", |missing| &missing.why);
            Some(format!(
                "the history cannot be written: {why}; its events wait"
            ))
        }
        (true, false) => Some(match lost(now) {
            0 => "the history is written again, and nothing of it is lost".to_owned(),
            lost => format!("the history is written again, and {lost} events of it are lost"),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_the_history_is_said_once() {
        let missing = |waiting, lost| {
            let why = "the disk is full".to_owned();
            Some(Missing { waiting, lost, why })
        };
        let said = |before: Option<Missing>, now: Option<Missing>| {
            changed(before.as_ref(), now.as_ref()).unwrap_or_default()
        };
        assert_eq!(said(None, None), "");
        assert!(said(None, missing(9, 0)).contains("the disk is full"));
        assert_eq!(said(missing(9, 0), missing(20, 0)), "");
        assert!(said(missing(9, 0), None).contains("nothing of it is lost"));
        assert!(said(missing(9, 5), missing(0, 7)).contains("7 events of it are lost"));
        assert_eq!(said(missing(0, 7), missing(0, 7)), "");
    }
}
