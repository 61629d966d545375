//! What whoever watches a run may ask of it.

use crate::fault::FaultId;
use crate::fault::plan::Episode;
use crate::journal::{Load, Part};

/// What a person or a script may ask of a live run. The answer is an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin these episodes now: their instants count from here on.
    Inject(Vec<Episode>),
    /// Take one fault out.
    Heal(FaultId),
    /// Take every fault out, start what is dead, resume what is paused.
    HealAll,
    /// Let the plan go on, or hold it. Faults that are in stay in.
    Nemesis(bool),
    /// Hold the workload: no new operation begins.
    HoldWorkload(bool),
    /// Ask for so much from now on.
    Load(Load),
    /// Let the network, the workload and the plan go on after a violation held them.
    GoOn,
    /// End the run in order: heal, converge, final reads, verdict.
    Finish,
    /// End the run at once: stop the workload, heal, reap, verdict of what was recorded.
    Stop,
}

impl Command {
    /// In what a person has a part by it, if in anything.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        match self {
            Command::Inject(_) | Command::Heal(_) | Command::HealAll | Command::Nemesis(_) => {
                Some(Part::Faults)
            }
            Command::HoldWorkload(_) | Command::Load(_) => Some(Part::Load),
            Command::GoOn | Command::Finish | Command::Stop => None,
        }
    }
}
