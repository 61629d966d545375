//! Whose system a run tests, where it is not the program's own node, and what it is documented to do.

use std::path::PathBuf;

use checkers::anomaly::Anomaly;
use serde::{Deserialize, Serialize};

use super::{Changes, Error, Scenario};
use crate::fault::Kind;

/// A target in one of its modes, as a run's folder keeps it: enough to start it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tested {
    /// Its name, or its file as it was given.
    pub target: String,
    /// Which of its modes.
    pub mode: String,
    /// What the program says of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The program.
    pub program: PathBuf,
    /// Whether somebody named that program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// The anomalies that this mode is documented to show; none: it promises to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Anomaly>,
    /// The target's file, with everything in it that was left unsaid.
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

/// What a scenario is made to fit: somebody's system, in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForTarget {
    /// Which.
    pub tested: Tested,
    /// How many nodes it has, unless somebody says otherwise.
    pub nodes: u64,
    /// The kinds of fault that are drawn: what its mode promises to survive, or what exposes it.
    pub kinds: Vec<Kind>,
    /// The operations that its clients cannot do, by name.
    pub operations: Vec<String>,
}

impl Scenario {
    /// Fits the scenario to somebody's system. Gives what was left out for it, and why, a sentence each.
    pub(super) fn fit(
        &mut self,
        target: &ForTarget,
        changes: &Changes,
    ) -> Result<Vec<String>, Error> {
        let Tested {
            target: name, mode, ..
        } = &target.tested;
        for (flag, given) in [
            ("--reads", changes.reads.is_some()),
            ("--append", changes.append.is_some()),
            ("--vote-guard", changes.vote_guard.is_some()),
        ] {
            if given {
                let why =
                    format!("{flag} is how the program's own node runs, and {name} is tested");
                return Err(Error::Senseless(why));
            }
        }
        // How the program's own nodes run is no matter of anybody else's.
        (self.reads, self.append, self.vote_guard) = (None, None, None);
        self.voters = None;
        self.nodes = target.nodes;
        let mut said = Vec::new();
        for mix in std::iter::once(&mut self.mix).chain(self.phases.iter_mut().map(|p| &mut p.mix))
        {
            for (operation, weight) in [("cas", &mut mix.cas), ("delete", &mut mix.delete)] {
                if target.operations.iter().any(|lacking| lacking == operation) && *weight > 0 {
                    *weight = 0;
                    said.push(format!(
                        "no {operation}: the clients of {name} have no request for it"
                    ));
                }
            }
        }
        said.dedup();
        if changes.faults.is_none() {
            let promised = |kind: Kind| target.kinds.contains(&kind);
            let mut left_out: Vec<&str> = Vec::new();
            let mut leaves = |kind: Kind| {
                let stays = promised(kind);
                if !stays && !left_out.contains(&kind.name()) {
                    left_out.push(kind.name());
                }
                stays
            };
            self.random.kinds.retain(|&kind| leaves(kind));
            for episode in &mut self.opening {
                episode.faults.retain(|fault| leaves(fault.kind()));
            }
            self.opening.retain(|episode| !episode.faults.is_empty());
            if !left_out.is_empty() {
                let all = left_out.join(", ");
                said.push(format!(
                    "not drawn, since {name} in mode {mode} promises nothing about them: {all}"
                ));
            }
            if self.random.kinds.is_empty() && self.opening.is_empty() {
                self.random.kinds.clone_from(&target.kinds);
            }
        }
        Ok(said)
    }
}
