//! What a system promises, used in one way.

use checkers::anomaly::Anomaly;
use serde::{Serialize, Serializer};

use crate::fault::Kind;

/// A way to use a system, and what must come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Its name, as in `--mode`.
    pub name: String,
    /// What must come out.
    pub expect: Expect,
    /// The faults that it promises to survive. `None`: all that are within the fault model.
    pub survives: Option<Vec<Kind>>,
    /// The faults that are drawn to show what must come out. `None`: those that it promises to survive.
    pub expose: Option<Vec<Kind>>,
}

impl Mode {
    /// The faults that are drawn; `None`: all that are within the fault model.
    #[must_use]
    pub fn drawn(&self) -> Option<&[Kind]> {
        self.expose.as_deref().or(self.survives.as_deref())
    }

    /// The faults that excuse nothing that is found after them: it promises to survive them, or shows by them what it is
    /// documented to show. `None`: all that are within the fault model.
    #[must_use]
    pub fn promised(&self) -> Option<Vec<Kind>> {
        let mut promised = self.survives.clone()?;
        promised.extend(self.expose.iter().flatten());
        promised.sort_unstable();
        promised.dedup();
        Some(promised)
    }
}

/// What must come out of a run in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: a violation is the system's bug.
    Holds,
    /// One of these must be found, and nothing else may be.
    Found(Vec<Anomaly>),
}

impl Serialize for Expect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Expect::Holds => serializer.serialize_str("holds"),
            Expect::Found(anomalies) => anomalies.serialize(serializer),
        }
    }
}
