//! What the nemesis is asked to do, for whom, and whom it tells what came of it.

use std::time::Duration;

use crate::fault::plan::{Episode, Plan};
use crate::fault::{FaultId, NodeId};
use crate::journal::Event;

/// What the nemesis is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Begin these episodes now: their instants count from here on.
    Inject(Vec<Episode>),
    /// Take one out.
    Heal(FaultId),
    /// Take every fault out.
    HealAll,
    /// Let the plan go on, or hold it.
    Plan(bool),
    /// Hold everything that is still to come, the plan or whatever was asked for; or let it go on.
    Hold(bool),
    /// The workload has begun: the plan's clock starts.
    Begin,
    /// Take every fault out and end.
    End,
}

/// Called with each event, in order. It must not block.
pub type Listener = Box<dyn Fn(Event) + Send + Sync>;

/// The plan as it has gone so far, where somebody had a part in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Went {
    /// What went in, and, while it is not over, what is still to come.
    pub plan: Plan,
    /// How long the run has lasted.
    pub lasted: Duration,
    /// Whether nothing more will come.
    pub over: bool,
}

/// Called whenever somebody had a part in the plan, and at the end. It must not block.
pub type Keeper = Box<dyn Fn(Went) + Send + Sync>;

/// Who there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The nodes that run.
    pub nodes: Vec<NodeId>,
    /// Those of them that have a vote at the start; at the end all have one.
    pub voters: Vec<NodeId>,
    /// The groups of clients.
    pub groups: Vec<u32>,
}
