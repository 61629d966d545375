//! A fault over time: when it was in, and what may be left of it.

use serde::{Deserialize, Serialize};

use super::{By, Fault, FaultId};

/// What a fault that is out may have left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remains {
    /// Nothing: all is as if it had never been in, also for what happened while it was.
    Nothing,
    /// Something, or nobody can say.
    #[default]
    Perhaps,
}

/// A fault and when it was in, on the recorder's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpan {
    /// Its number.
    pub id: FaultId,
    /// What.
    pub fault: Fault,
    /// Whose doing.
    pub by: By,
    /// From here.
    pub in_ns: u64,
    /// To here; `None`: to the end.
    pub out_ns: Option<u64>,
    /// What may be left of it since.
    pub remains: Remains,
}

impl FaultSpan {
    /// Whether it was in at that instant.
    #[must_use]
    pub fn is_active_at(&self, time_ns: u64) -> bool {
        self.in_ns <= time_ns && self.out_ns.is_none_or(|out| time_ns < out)
    }
}
