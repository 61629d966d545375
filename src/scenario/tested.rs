//! Whose system a run tests, where it is not the program's own node, and what it is documented to do.

use std::path::PathBuf;

use checkers::anomaly::Anomaly;
use checkers::types::{self, DataType};
use serde::{Deserialize, Serialize};

use super::{Changes, Error, Resolved, Scenario, Subject};
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
    /// The faults that it is to survive in this mode: those that it promises to, and those that are drawn to show what is
    /// documented. Absent in what an older version kept: all that are within the fault model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises: Option<Vec<Kind>>,
    /// The data type that its history is judged by; absent: a register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    /// The target's file, with everything in it that was left unsaid.
    pub description: String,
}

impl Resolved {
    /// Whether what is tested promises to survive a fault of this kind. Nobody promises that outside of the fault model; the
    /// program's own node does within it, and somebody's system where its mode says so.
    #[must_use]
    pub fn promises(&self, kind: Kind) -> bool {
        let tested = self
            .tested
            .as_ref()
            .and_then(|tested| tested.promises.as_ref());
        !kind.is_outside_the_model() && tested.is_none_or(|promised| promised.contains(&kind))
    }

    /// The kinds that it promises to survive.
    #[must_use]
    pub fn promised(&self) -> Vec<Kind> {
        let all = Kind::ALL.iter().copied();
        all.filter(|&kind| self.promises(kind)).collect()
    }
}

impl Tested {
    /// The data type that its history is judged by, where it is no register.
    #[must_use]
    pub fn of(&self) -> Option<&'static dyn DataType> {
        self.spec.as_deref().and_then(types::by_name)
    }

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

#[cfg(test)]
impl Changes {
    /// As if the system that a scenario is about were here.
    pub(crate) fn with_its_system(mut self, scenario: &Scenario) -> Changes {
        let target = scenario.system.clone().map(|subject| ForTarget {
            nodes: scenario.nodes,
            terms: true,
            tested: Tested {
                target: subject.target.clone(),
                mode: "strong".to_owned(),
                version: None,
                program: PathBuf::from("its-program"),
                named: false,
                expect: Vec::new(),
                promises: None,
                spec: None,
                description: String::new(),
            },
            subject: Some(subject),
        });
        self.target = target.or(self.target);
        self
    }
}

/// What a scenario is made to fit: somebody's system, in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForTarget {
    /// Which.
    pub tested: Tested,
    /// How many nodes it has, unless somebody says otherwise.
    pub nodes: u64,
    /// Whether its nodes number their leaders' terms: only then can elections be counted.
    pub terms: bool,
    /// For which scenario's subject it was chosen: its version fits that.
    pub subject: Option<Subject>,
}

impl Scenario {
    /// Fits the scenario to somebody's system. Gives what is no goal for it, and why, a sentence each.
    ///
    /// # Errors
    /// Where somebody asks for what only the program's own node has.
    pub(super) fn fit(
        &mut self,
        target: &ForTarget,
        changes: &Changes,
    ) -> Result<Option<String>, Error> {
        let name = &target.tested.target;
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
        let uncounted = !target.terms && std::mem::take(&mut self.promises.elections) > 0;
        Ok(
            uncounted
                .then(|| format!("elections are no goal: the nodes of {name} number no terms")),
        )
    }
}
