//! What a system promises, used in one way.

use checkers::anomaly::Anomaly;

use crate::fault::Kind;

/// A way to use a system, and what must come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Its name, as in `--mode`.
    pub name: String,
    /// What must come out.
    pub expect: Expect,
    /// The faults that it promises to survive; others are not drawn. `None`: all that are within the fault model.
    pub survives: Option<Vec<Kind>>,
}

/// What must come out of a run in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: a violation is the system's bug.
    Holds,
    /// One of these must be found, and nothing else may be.
    Found(Vec<Anomaly>),
}
