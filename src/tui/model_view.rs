//! The Model screen's state: what can be checked, what is being checked, and what was found.
//!
//! A check takes a core for seconds, so none starts by itself: a live run beside it would be slowed. The event loop runs
//! one at a time on a thread of its own.

use std::collections::BTreeMap;

use checkers::model::check::{self, Row};
use checkers::model::mutants::{self, Pinned};
use checkers::model::search::Outcome;

/// Something to be checked.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// The rules, in one configuration: every invariant must hold in every state.
    Rules(&'static Row),
    /// The rules with one of them broken: an invariant must be violated.
    Mutant(&'static Pinned),
}

/// Everything that can be checked, in the order of the screen.
#[must_use]
pub fn subjects() -> Vec<Subject> {
    check::rows(false)
        .map(Subject::Rules)
        .chain(mutants::all().iter().map(Subject::Mutant))
        .collect()
}

impl Subject {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Subject::Rules(row) => row.configuration.name.to_owned(),
            Subject::Mutant(pinned) => pinned.mutant.name(),
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Subject::Rules(row) => row.configuration.about,
            Subject::Mutant(pinned) => pinned.sentence,
        }
    }

    /// Checks it: it takes seconds, and says after each depth how far it is. The duration is filled in by the caller,
    /// who has a clock.
    #[must_use]
    pub fn check(self, tell: &mut dyn FnMut(SoFar)) -> Checked {
        let mut tell = |found: &Outcome| {
            tell(SoFar {
                states: found.unique,
                steps: found.generated,
                depth: found.depth,
            });
        };
        match self {
            Subject::Rules(row) => {
                let report = check::run_row_telling(row, &mut tell);
                let met = |(name, depth): (&str, Option<u32>)| {
                    depth.map(|depth| format!("{name}, first at depth {depth}"))
                };
                Checked {
                    as_it_should: report.failures.is_empty(),
                    states: report.unique,
                    seconds: 0.0,
                    said: match report.failures.is_empty() {
                        true => format!(
                            "every invariant holds, {} steps, depth {}",
                            report.generated, report.depth
                        ),
                        false => report.failures.join("; "),
                    },
                    steps: report.seen.into_iter().filter_map(met).collect(),
                }
            }
            Subject::Mutant(pinned) => {
                let report = mutants::run_telling(pinned.mutant, &mut tell);
                let said = match (&report.surprise, report.killer) {
                    (Some(surprise), _) => surprise.clone(),
                    (None, Some((invariant, depth))) => {
                        format!("killed by {invariant} at depth {depth}")
                    }
                    (None, None) => match pinned.spared {
                        Some(why) => format!("survives, as it should: {why}"),
                        None => "survives".to_owned(),
                    },
                };
                let told = checkers::model::explain(pinned.mutant);
                let steps = told.steps.into_iter().map(|step| step.sentence);
                Checked {
                    as_it_should: report.surprise.is_none(),
                    states: report.states,
                    seconds: 0.0,
                    said,
                    steps: steps.chain([told.conclusion]).collect(),
                }
            }
        }
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Different states.
    pub states: u64,
    /// Steps taken.
    pub steps: u64,
    /// The depth that is searched now.
    pub depth: u32,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The rules hold, or the mutant is killed as pinned.
    pub as_it_should: bool,
    /// Different states.
    pub states: u64,
    /// How long it took.
    pub seconds: f64,
    /// In a sentence.
    pub said: String,
    /// For the rules: what the search met. For a mutant: its shortest counterexample, a sentence a step.
    pub steps: Vec<String>,
}

/// The Model screen's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelView {
    /// The selected subject.
    pub row: usize,
    /// How many lines of what is said of it are scrolled past.
    pub scroll: usize,
    /// What is being checked, and since when on the session's clock.
    pub running: Option<(usize, u64)>,
    /// How far that is.
    pub so_far: SoFar,
    /// What was found.
    pub results: BTreeMap<usize, Checked>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_killed_and_its_counterexample_is_told() {
        let subject = subjects()
            .into_iter()
            .find(|subject| subject.name() == "GrantTwice")
            .unwrap();
        let mut told = Vec::new();
        let checked = subject.check(&mut |so_far| told.push((so_far.depth, so_far.states)));
        assert!(told.len() > 2 && told.is_sorted(), "{told:?}");
        assert!(
            checked.as_it_should && checked.said.starts_with("killed by "),
            "{checked:?}"
        );
        assert!(checked.steps.len() > 2, "{:?}", checked.steps);
    }

    #[test]
    fn a_survivor_says_why_it_survives() {
        let survivor = |name: &str| {
            let named = |subject: &Subject| subject.name() == name;
            subjects()
                .into_iter()
                .find(named)
                .unwrap()
                .check(&mut |_| {})
        };
        let equivalent = survivor("NoPrevTruncate");
        let needs_five = survivor("MissingVoteAsDefault");
        assert!(equivalent.as_it_should && needs_five.as_it_should);
        assert!(equivalent.said.contains("equivalent to the rule"));
        assert!(needs_five.said.contains("with five") && !needs_five.said.contains("equivalent"));
    }
}
