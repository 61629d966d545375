//! A node's whole state, in one number or key by key, and where in the log it was taken.

use std::collections::BTreeMap;

use super::{Asked, Ready};

/// Whom to ask for a node's state.
pub trait States: Send + Sync {
    /// The state's hash.
    fn hash<'a>(&'a self, node: &'a Ready) -> Asked<'a, StateHash>;

    /// All of it.
    fn dump<'a>(&'a self, node: &'a Ready) -> Asked<'a, StateDump>;

    /// Whether a hash and its log id are of one instant, also while the node is written to. Where not, they are compared
    /// only when everything is over and nothing changes any more.
    fn is_exact(&self) -> bool {
        true
    }
}

/// A node's whole state in one number, and where in the log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// Term and index of the last log entry that was applied; `None`: nothing was.
    pub applied: Option<(u64, u64)>,
    /// Lower-case hexadecimal.
    pub hash: String,
    /// How many keys it covers.
    pub keys: u64,
}

/// Everything that a node holds, and where in the log it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDump {
    /// Term and index of the last log entry that was applied; `None`: nothing was.
    pub applied: Option<(u64, u64)>,
    /// Keys with their values; what is no plain text is escaped.
    pub rows: BTreeMap<String, String>,
}
