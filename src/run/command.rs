//! What whoever watches a run may ask of it.

use crate::fault::{Fault, FaultId};
use crate::journal::Load;

/// What a person or a script may ask of a live run. The answer is an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put a fault in, now, until it is healed.
    Inject(Fault),
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
    /// Whether it has a part in what happens, so that the run's command line alone does not repeat it.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        !matches!(self, Command::GoOn | Command::Finish | Command::Stop)
    }
}
