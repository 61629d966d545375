//! What the nemesis is asked to do, for whom, and whom it tells what came of it.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::plan::{Episode, Plan};
use crate::fault::step::Ask;
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

/// Asks the system for the operations of steps, each by a client of its own. It must not block.
pub trait Asks: Send + Sync {
    /// Begins what the step at this place asks for, at these nodes.
    fn ask(&self, step: usize, ask: &Ask, nodes: &[NodeId]) -> Arc<dyn Asked>;

    /// How many writes this node has acknowledged so far.
    fn acknowledged(&self, node: NodeId) -> u64;
}

/// An operation that was asked for.
pub trait Asked: Send + Sync {
    /// Whether it has been done.
    fn is_ok(&self) -> bool;

    /// Whether it has ended, however.
    fn has_ended(&self) -> bool;

    /// Whether every byte of it has been given to its node.
    fn is_sent(&self) -> bool;
}

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
