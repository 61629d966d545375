//! What a run is started from: a scenario, whose plan the seed draws, or the `scenario.toml` of a run, which has its plan.

use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::check::check_episodes;
use super::{Changes, Error, Resolved, Scenario, Subject, fit};
use crate::fault::{Kind, defects};

/// What somebody gave a run to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A scenario: seed, defect and plan are open.
    Scenario(Box<Scenario>),
    /// What a run's folder keeps: nothing is open.
    Resolved(Box<Resolved>),
}

/// Scenarios have no plan, and runs have one.
#[derive(Default, Deserialize)]
struct Shape {
    plan: Option<IgnoredAny>,
}

impl Given {
    /// The embedded scenario of that name, or what is in that file where the name has a `/` or ends in `.toml`.
    ///
    /// # Errors
    /// Where there is none, or it is malformed; the file, its line and the reason are named.
    pub fn find(name: &str) -> Result<Given, Error> {
        let path = Path::new(name);
        let is_file = name.contains('/') || path.extension().is_some_and(|e| e == "toml");
        if !is_file {
            return Ok(Given::Scenario(Box::new(Scenario::find(name)?)));
        }
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let given = Given::parse(&text);
        given.map_err(|reason| Error::Malformed {
            path: path.to_owned(),
            reason,
        })
    }

    pub(super) fn parse(text: &str) -> Result<Given, String> {
        fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
            toml::from_str(text).map_err(|e| e.to_string())
        }
        // What is no TOML at all is named by its line below. (A `toml::Table` holds no seed above `i64::MAX`.)
        let shape: Shape = toml::from_str(text).unwrap_or_default();
        if shape.plan.is_none() {
            let scenario: Scenario = parsed(text)?;
            let checked = scenario.check().and_then(|()| scenario.check_as_written());
            checked.map_err(|wrong| wrong.on_its_line(text))?;
            return Ok(Given::Scenario(Box::new(scenario)));
        }
        let mut resolved: Resolved = parsed(text)?;
        resolved.plan.steps.clone_from(&resolved.scenario.steps);
        let checked = resolved.scenario.check();
        let checked = checked.map_err(|wrong| wrong.within(&["scenario".into()]));
        let plan = || {
            let checked = check_episodes(&resolved.plan.episodes, "episodes", "the plan");
            checked.map_err(|wrong| wrong.within(&["plan".into()]))
        };
        let checked = checked.and_then(|()| plan());
        checked.map_err(|wrong| wrong.on_its_line(text))?;
        match &resolved.defect {
            Some(name) if defects::find(name).is_none() => Err(format!(
                "there is no defect {name:?}: see whitewater list defects"
            )),
            _ => Ok(Given::Resolved(Box::new(resolved))),
        }
    }

    /// The seed that stands in it.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        match self {
            Given::Scenario(_) => None,
            Given::Resolved(resolved) => Some(resolved.seed),
        }
    }

    /// Whose system it is about, where that is not open.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Given::Scenario(scenario) => scenario.system.as_ref(),
            // It keeps its target, with everything that was said of it.
            Given::Resolved(_) => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Given::Scenario(scenario) => &scenario.name,
            Given::Resolved(resolved) => &resolved.scenario.name,
        }
    }

    /// Applies the command line's changes, and draws what is open.
    ///
    /// # Errors
    /// Where a number or a name makes no sense, or where a plan that stands would be another one.
    pub fn resolve(
        self,
        changes: &Changes,
        seed: u64,
        defect: Option<String>,
    ) -> Result<Resolved, Error> {
        match self {
            Given::Scenario(scenario) => scenario.resolve(changes, seed, defect),
            Given::Resolved(resolved) => as_it_stands(*resolved, changes, seed, defect),
        }
    }
}

/// Another load, other reads: the plan stays as it is. What would make another plan of it is refused, and not ignored.
fn as_it_stands(
    mut resolved: Resolved,
    changes: &Changes,
    seed: u64,
    defect: Option<String>,
) -> Result<Resolved, Error> {
    let scenario = &resolved.scenario;
    let tested = changes.target.clone().map(|target| target.tested);
    let other = |given: Option<u64>, own: u64| given.is_some_and(|given| given != own);
    let refused = [
        ("--nodes", other(changes.nodes, scenario.nodes)),
        ("--time", other(changes.seconds, scenario.seconds)),
        ("--faults", changes.faults.is_some()),
        ("--seed", seed != resolved.seed),
        ("--defect", defect.is_some() && defect != resolved.defect),
        (
            "--target",
            changes.target.is_some() && tested != resolved.tested,
        ),
    ];
    if let Some((flag, _)) = refused.iter().find(|(_, refused)| *refused) {
        return Err(Error::Senseless(format!(
            "{flag}: the file holds a run whose plan is drawn already; change it there"
        )));
    }
    fit::refuse(changes, resolved.defect.as_deref())?;
    fit::refuse_plan(&resolved.plan, &changes.lacks)?;
    let trusts_clocks = changes.reads.as_deref() == Some("lease") && scenario.reads() != "lease";
    if trusts_clocks && resolved.plan.kinds().contains(&Kind::Clock) {
        return Err(Error::Senseless(
            "--reads lease: the plan that is drawn already has wrong clocks, which break leases"
                .to_owned(),
        ));
    }
    resolved.scenario.change_beside_the_plan(changes);
    resolved.scenario.check()?;
    // Somebody may have changed the plan in the file.
    Ok(resolved.labelled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, NodeSelector, WireHarm};

    fn resolved() -> Resolved {
        let mut given = Given::find("lease-restart").unwrap();
        let Given::Scenario(scenario) = &mut given else {
            unreachable!("it is built in")
        };
        // Drawn again it would lose its clocks, and have its opening once more.
        scenario.random.kinds = vec![Kind::Clock, Kind::Kill];
        let faults = Some(vec![Kind::Clock, Kind::Kill]);
        let changes = Changes {
            faults,
            rate: Some(77),
            append: Some("unary".to_owned()),
            ..Changes::default()
        };
        given
            .resolve(&changes, u64::MAX, Some("stale-read".to_owned()))
            .unwrap()
    }

    #[test]
    fn what_a_runs_folder_keeps_runs_as_it_stands() {
        let first = resolved();
        assert!(first.plan.kinds().contains(&Kind::Clock));
        let again = Given::parse(&toml::to_string(&first).unwrap()).unwrap();
        let seed = again.seed().unwrap();
        let again = again.resolve(&Changes::default(), seed, None).unwrap();
        assert_eq!(again, first);
    }

    #[test]
    fn another_load_leaves_the_plan_alone_and_what_would_draw_it_anew_is_refused() {
        let first = resolved();
        let with = |changes: &Changes| {
            let given = Given::Resolved(Box::new(first.clone()));
            given.resolve(changes, first.seed, None)
        };
        let faster = Changes {
            rate: Some(9),
            nodes: Some(first.scenario.nodes),
            ..Changes::default()
        };
        let faster = with(&faster).unwrap();
        assert_eq!((faster.scenario.rate, &faster.plan), (9, &first.plan));
        let refused = |changes| with(&changes).unwrap_err().to_string();
        let nodes = Some(first.scenario.nodes + 2);
        let larger = Changes {
            nodes,
            ..Changes::default()
        };
        assert!(refused(larger).starts_with("--nodes"));
        let calm = Changes {
            faults: Some(Vec::new()),
            ..Changes::default()
        };
        assert!(refused(calm).starts_with("--faults"));
        let lease = Changes {
            reads: Some("lease".to_owned()),
            ..Changes::default()
        };
        let mut asked = first.clone();
        asked.scenario.reads = None;
        let given = Given::Resolved(Box::new(asked));
        let why = given.resolve(&lease, first.seed, None).unwrap_err();
        assert!(why.to_string().starts_with("--reads lease"), "{why}");
        let given = Given::Resolved(Box::new(first.clone()));
        let other = given.resolve(&Changes::default(), first.seed - 1, None);
        assert!(other.unwrap_err().to_string().starts_with("--seed"));
    }

    #[test]
    fn a_recipe_that_is_malformed_is_refused_with_its_line() {
        // A word that is misspelt would be another fault than the one that was meant.
        let scenario = toml::to_string(&Scenario::find("sweep").unwrap()).unwrap();
        for (right, wrong, word) in [
            ("at_ms = 500\n", "at_ms = 500\nwihtin_ms = 9\n", "wihtin_ms"),
            ("of = \"writes\"", "of = \"writes\"\nwibble = 3", "wibble"),
            (
                "at_ms = 500\n",
                "at_ms = 500\nwhen = { mesage = \"append\", count = 1 }\n",
                "When",
            ),
            (
                "of = \"writes\"",
                "of = \"writes\"\nwho = \"follower 5\"",
                "follower 5",
            ),
            ("per_mille = 1000", "per_mille = 3330", "3330"),
            ("at_ms = 28500", "at_ms = 90000", "the run ends at 33000 ms"),
            ("act = \"delay-request\"", "act = \"delay-response\"", ""),
        ] {
            assert!(scenario.contains(right), "{right}: {scenario}");
            let given = Given::parse(&scenario.replacen(right, wrong, 1));
            if word.is_empty() {
                given.unwrap();
            } else {
                let why = given.unwrap_err();
                assert!(why.contains(word), "{wrong}: {why}");
            }
        }
        for (text, word) in [
            ("name = \n", "line 1"),
            ("seed = 1\nplan = 3\n", "line"),
            ("name = \"x\"\nnodes = \"many\"\n", "line 2"),
        ] {
            let why = Given::parse(text).unwrap_err();
            assert!(why.contains(word), "{text:?}: {why}");
        }
        let mut reversed = resolved();
        reversed.plan.episodes[0].faults = vec![Fault::Wire {
            from: NodeSelector::Leader,
            to: NodeSelector::Follower(0),
            harm: WireHarm::Bandwidth,
            amount: 0,
        }];
        let why = Given::parse(&toml::to_string(&reversed).unwrap()).unwrap_err();
        assert!(why.contains("bandwidth of 0"), "{why}");
        let mut unknown = resolved();
        unknown.defect = Some("no-such".to_owned());
        let why = Given::parse(&toml::to_string(&unknown).unwrap()).unwrap_err();
        assert!(why.contains("no-such"), "{why}");
    }
}
