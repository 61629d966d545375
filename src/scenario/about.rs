//! Whose system a scenario is about, in which versions, and its twin: the same without what it shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Scenario;

/// A system that a scenario is about: it runs with that, unless the command line says with what else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The target, by its name or its file.
    pub target: String,
    /// In which of its modes; absent: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The public report of what it shows, as `owner/repository#number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// The versions that it is for; none: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Versions>,
    /// What installs one of them, where the target's own command installs another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
    /// Other meanings of the words that the target's file has of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
}

/// Some versions, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// None before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// Nor this one or a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// What differs between a scenario and its twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin {
    /// What it is, in a line.
    pub about: String,
    /// Its steps are those of the scenario but for these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The versions that it is for; none: those of the scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Versions>,
    /// What installs one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
}

/// What the name of a twin ends in.
const TWIN: &str = "-twin";

impl Scenario {
    /// The scenario, and behind it its twin where it has one: that must stay clean, and is about no report.
    pub(super) fn with_its_twin(mut self) -> Vec<Scenario> {
        let Some(twin) = self.twin.take() else {
            return vec![self];
        };
        let mut other = self.clone();
        other.name += TWIN;
        other.about = twin.about;
        let left_out = |name: &Option<String>| {
            let name = name.as_ref();
            name.is_some_and(|name| twin.without.contains(name))
        };
        other.steps.retain(|step| !left_out(&step.name));
        if let Some(system) = &mut other.system {
            system.issue = None;
            if !twin.versions.is_empty() {
                system.versions = twin.versions;
            }
            system.install = twin.install.or(system.install.take());
        }
        vec![self, other]
    }
}
