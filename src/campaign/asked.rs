//! What a campaign is asked for, as data, and the runs that follow from it: by counting, so that each run can be named
//! and run again.
//!
//! ```text
//!   run 0          run 1          run 2          run 3          run 4  ...
//!   arm 0, seed S  arm 1, seed S  arm 2, seed S  arm 0, seed S+1        an arm: a scenario with what is planted
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::line::{Line, Named};
use crate::fault::defects;
use crate::run::{Found, Setup, flags};
use crate::scenario::{Changes, Error as ScenarioError, Given};

/// Everything that says which runs a campaign has: kept in its first line, and compared when it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The scenarios, as they were named.
    pub scenarios: Vec<String>,
    /// The check sum of each: a file may have changed meanwhile.
    pub contents: Vec<u32>,
    /// Seeds are counted from here.
    pub seed: u64,
    /// So many runs of each scenario, with each defect or decoy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// No run begins after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// Enough is found: so many failures of all, or with defects, of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_found: Option<u64>,
    /// The defects whose detection is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<String>,
    /// Whether decoys, and plain nodes beside them, must stay silent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decoys: bool,
    /// What the command line changes in each scenario, flag by flag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, String>,
    /// Timers that are later than this are too late for what is tested, in milliseconds.
    pub bearable_ms: f64,
}

/// What the runs of an arm are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing is planted: whatever is found is real, or a false alarm.
    Plain,
    /// It must be found.
    Defect(String),
    /// It must not.
    Decoy(String),
}

impl Role {
    /// What is planted.
    #[must_use]
    pub fn planted(&self) -> Option<&str> {
        match self {
            Role::Plain => None,
            Role::Defect(name) | Role::Decoy(name) => Some(name),
        }
    }

    /// Whether an alarm is a false one.
    #[must_use]
    pub fn is_control(&self) -> bool {
        !matches!(self, Role::Defect(_))
    }
}

/// How hard a defect is to find, in a word.
pub(super) fn tier(defect: &str) -> &'static str {
    defects::find(defect).map_or("-", |defect| defect.tier.name())
}

impl Asked {
    /// What is planted, run after run.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let defects = self.defects.iter().cloned().map(Role::Defect);
        let mut roles: Vec<Role> = defects.collect();
        if self.decoys {
            let decoys = defects::DEFECTS.iter().filter(|defect| defect.is_decoy());
            roles.extend(decoys.map(|decoy| Role::Decoy(decoy.name.to_owned())));
        }
        if roles.is_empty() || self.decoys {
            roles.push(Role::Plain);
        }
        roles
    }

    /// Whether this run makes the campaign a failure: it found something, and not a bug that it was to find.
    #[must_use]
    pub fn is_failure(&self, line: &Line) -> bool {
        let wanted = |planted: &String| self.defects.contains(planted);
        line.class.failed() && !line.planted.as_ref().is_some_and(wanted)
    }

    /// What differs between this and what a campaign was begun with: a sentence each, empty where nothing does.
    #[must_use]
    pub fn differences(&self, begun: &Asked) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, was: String, is: String| {
            if was != is {
                differences.push(format!("{what}: it was {was}, and is {is}"));
            }
        };
        let or_none = |value: Option<u64>| value.map_or("not given".to_owned(), |n| n.to_string());
        let words = |words: &[String]| match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(", "),
        };
        let changes = |asked: &Asked| {
            let flags = asked.changes.iter();
            words(
                &flags
                    .map(|(flag, value)| format!("{flag} {value}"))
                    .collect::<Vec<_>>(),
            )
        };
        compare("scenarios", words(&begun.scenarios), words(&self.scenarios));
        compare("--seed", begun.seed.to_string(), self.seed.to_string());
        compare("--runs", or_none(begun.runs), or_none(self.runs));
        let seconds = |asked: &Asked| or_none(asked.for_seconds);
        compare("--for, in seconds", seconds(begun), seconds(self));
        compare(
            "--until-found",
            or_none(begun.until_found),
            or_none(self.until_found),
        );
        compare("--defects", words(&begun.defects), words(&self.defects));
        compare(
            "--decoys",
            begun.decoys.to_string(),
            self.decoys.to_string(),
        );
        compare("other flags", changes(begun), changes(self));
        if differences.is_empty() && begun.contents != self.contents {
            let names = self
                .scenarios
                .iter()
                .zip(self.contents.iter().zip(&begun.contents));
            let changed = names.filter(|(_, (is, was))| is != was);
            let changed: Vec<String> = changed.map(|(name, _)| name.clone()).collect();
            differences.push(format!("what is in {} has changed", words(&changed)));
        }
        differences
    }
}

/// A scenario, with what is planted in its nodes.
#[derive(Clone, Debug)]
struct Arm {
    name: String,
    given: Given,
    role: Role,
}

/// The runs of a campaign.
#[derive(Clone, Debug)]
pub struct Runs {
    arms: Vec<Arm>,
    asked: Asked,
    changes: Changes,
}

impl Runs {
    /// The runs that follow from what is asked for; `givens` are the scenarios, in their order.
    ///
    /// # Errors
    /// Where a scenario cannot be had with these changes, or would run for ever.
    pub fn new(asked: Asked, givens: &[Given], changes: &Changes) -> Result<Runs, ScenarioError> {
        let mut arms = Vec::new();
        for (name, given) in asked.scenarios.iter().zip(givens) {
            arms.extend(asked.roles().into_iter().map(|role| Arm {
                name: name.clone(),
                given: given.clone(),
                role,
            }));
        }
        let runs = Runs {
            arms,
            asked,
            changes: changes.clone(),
        };
        for arm in 0..runs.arms.len() as u64 {
            let setup = runs.setup(arm)?;
            if setup.resolved.scenario.seconds == 0 {
                let name = &setup.given;
                let why = format!("{name} has no end of its own: give it --time");
                return Err(ScenarioError::Senseless(why));
            }
        }
        Ok(runs)
    }

    /// What was asked for.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// How many runs there are, where they are counted.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let runs = self.asked.runs?;
        Some(runs.saturating_mul(self.arms.len() as u64))
    }

    /// Everything that a run needs but a place for its folder.
    ///
    /// # Errors
    /// Where its scenario cannot be had: what could be wrong is wrong for each seed, and was looked at before.
    pub fn setup(&self, run: u64) -> Result<Setup, ScenarioError> {
        let arms = self.arms.len() as u64;
        let arm = &self.arms[(run % arms) as usize];
        let counted = self.asked.seed.wrapping_add(run / arms);
        // A run that is run again has its seed, however often.
        let seed = arm.given.seed().unwrap_or(counted);
        let planted = arm.role.planted().map(str::to_owned);
        let resolved = arm.given.clone().resolve(&self.changes, seed, planted)?;
        Ok(Setup {
            given: arm.name.clone(),
            resolved,
            changes: self.changes.clone(),
            out: std::path::PathBuf::new(),
            hold: false,
            drill: None,
            direct: false,
            found: Found::default(),
        })
    }

    /// The least run from `from` on that is still worth running; `None` where no other is.
    #[must_use]
    pub fn next(&self, from: u64, lines: &[Line]) -> Option<u64> {
        let arms = self.arms.len() as u64;
        let end = self
            .total()
            .unwrap_or(u64::MAX)
            .min(from.saturating_add(arms));
        (from..end).find(|run| !self.enough(*run, lines))
    }

    /// Whether enough was found of everything: then also what is under way is of no more use.
    #[must_use]
    pub fn is_enough(&self, lines: &[Line]) -> bool {
        (0..self.arms.len() as u64).all(|arm| self.enough(arm, lines))
    }

    /// Whether nothing is left to run, whatever the time.
    #[must_use]
    pub fn is_complete(&self, lines: &[Line]) -> bool {
        let Some(total) = self.total() else {
            return self.is_enough(lines);
        };
        let done: BTreeSet<u64> = lines.iter().map(|line| line.run).collect();
        (0..total).all(|run| done.contains(&run) || self.enough(run, lines))
    }

    /// Whether enough of what a run is for was found.
    fn enough(&self, run: u64, lines: &[Line]) -> bool {
        let Some(wanted) = self.asked.until_found else {
            return false;
        };
        let arms = self.arms.len() as u64;
        let of = |line: &&Line| self.asked.defects.is_empty() || line.run % arms == run % arms;
        let alarmed = lines.iter().filter(of).filter(|line| line.class.alarmed());
        alarmed.count() as u64 >= wanted
    }

    /// How a run is named.
    #[must_use]
    pub fn named(&self, run: u64, setup: &Setup) -> Named {
        Named {
            run,
            scenario: setup.given.clone(),
            seed: setup.resolved.seed,
            planted: setup.resolved.defect.clone(),
            again: setup.again(),
        }
    }
}

/// The check sum of a scenario, as it would be written into a run's folder.
#[must_use]
pub fn content(given: &Given) -> u32 {
    let text = match given {
        Given::Scenario(scenario) => toml::to_string(scenario),
        Given::Resolved(resolved) => toml::to_string(resolved),
    };
    crc32fast::hash(text.expect("a scenario is plain data").as_bytes())
}

/// The changes, flag by flag.
#[must_use]
pub fn words(changes: &Changes) -> BTreeMap<String, String> {
    let flags = flags(changes).into_iter();
    flags
        .map(|(flag, value)| (flag.to_owned(), value))
        .collect()
}
