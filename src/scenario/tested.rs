//! Whose system a run tests, where it is not the program's own node, and what it is documented to do.

use std::path::PathBuf;

use checkers::anomaly::Anomaly;
use serde::{Deserialize, Serialize};

/// A target in one of its modes, as a run's folder keeps it: enough to start it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Its name.
    pub target: String,
    /// Which of its modes.
    pub mode: String,
    /// What the program says of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The program, where somebody named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// The anomalies that this mode is documented to show; none: it promises to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Anomaly>,
    /// The target's file, as it stood.
    pub description: String,
}

impl Tested {
    /// Whether a violation of that name is what this mode is documented to show.
    #[must_use]
    pub fn documents(&self, anomaly: Option<Anomaly>) -> bool {
        anomaly.is_some_and(|anomaly| self.expect.contains(&anomaly))
    }

    /// What has not come to light that should have, in a sentence.
    #[must_use]
    pub fn not_shown(&self) -> Option<String> {
        let names: Vec<&str> = self.expect.iter().map(|anomaly| anomaly.name()).collect();
        let Tested { target, mode, .. } = self;
        (!names.is_empty()).then(|| {
            let names = names.join(" or ");
            format!("{target} in mode {mode} is documented to show {names}, and did not")
        })
    }
}
