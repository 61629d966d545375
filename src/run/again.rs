//! How to run a run again: its command line, complete but for where its folder goes.

use std::path::Path;

use super::{Defect, NoTarget, Scenario, ScenarioError, Setup};
use crate::fault::defects;
use crate::scenario::Changes;

impl Setup {
    /// Whether nothing would ever happen or end without a person: no plan, and no end.
    #[must_use]
    pub fn needs_somebody(&self) -> bool {
        self.resolved.scenario.seconds == 0 && self.resolved.plan.episodes.is_empty()
    }

    /// The same for another scenario, as picked on the screen: what the command line changed it changes in this, too, but for
    /// whose system it is. A program that the command line names is that of the system that it names.
    ///
    /// # Errors
    /// Where there is no such scenario, or it does not take the changes; or where there is no such system here.
    pub fn picked(&self, scenario: &str, pick: Picked) -> Result<Setup, NotPicked> {
        let Picked {
            seed,
            defect,
            target,
            clients,
            keys,
        } = pick;
        let mut changes = self.changes.clone();
        changes.clients = clients.or(changes.clients);
        changes.keys = keys.or(changes.keys);
        (changes.target, changes.lacks) = match target {
            None => (None, super::lacks()),
            Some((name, mode)) => {
                let tested = changes.target.iter().map(|target| &target.tested);
                let mut named = tested.filter(|tested| tested.named && tested.target == name);
                let program = named.next().map(|tested| tested.program.clone());
                let subject = Scenario::find(scenario)?.system;
                let chosen =
                    super::choose(&name, Some(&mode), program.as_deref(), subject.as_ref());
                let (target, lacks, _) = chosen?;
                (Some(target), lacks)
            }
        };
        let resolved = Scenario::find(scenario)?.resolve(&changes, seed, defect)?;
        Ok(Setup {
            given: scenario.to_owned(),
            resolved,
            changes,
            ..self.clone()
        })
    }

    /// The command line of this run with its seed: it has the same plan, the same load and the same nodes. A run that
    /// needs somebody is one of the screen.
    #[must_use]
    pub fn again(&self) -> String {
        let words = self.arguments();
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("whitewater {}", words.join(" "))
    }

    /// The command line of this run where somebody had a hand in its faults: what its folder keeps, as it went.
    #[must_use]
    pub fn again_as_it_went(&self, dir: &Path) -> String {
        let kept = dir.join("scenario.toml");
        let kept = kept.to_string_lossy();
        // What begins like a flag is none.
        let kept = match kept.starts_with('-') {
            true => format!("./{kept}"),
            false => kept.into_owned(),
        };
        let direct = if self.direct { " --direct" } else { "" };
        format!("whitewater run {}{direct}", quoted(&kept))
    }

    /// The same, as the arguments that the program takes.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let resolved = &self.resolved;
        let planted = resolved.defect.as_deref().and_then(defects::find);
        let plant = match planted.is_some_and(Defect::is_decoy) {
            true => "--decoy",
            false => "--defect",
        };
        let own = [
            ("--nodes", Some(resolved.scenario.nodes.to_string())),
            ("--time", Some(resolved.scenario.seconds.to_string())),
            ("--seed", Some(resolved.seed.to_string())),
            (plant, resolved.defect.clone()),
        ];
        let said = |flag: &str| own.iter().any(|(known, _)| *known == flag);
        let changed = flags(&self.changes);
        let changed = changed.into_iter().filter(|(flag, _)| !said(flag));
        let own = own.iter().cloned();
        let own = own.filter_map(|(flag, value)| Some((flag, value?)));
        let door = (!self.needs_somebody()).then(|| "run".to_owned());
        let mut words: Vec<String> = door.into_iter().collect();
        // What begins like a flag is none.
        words.push(match self.given.starts_with('-') {
            true => format!("./{}", self.given),
            false => self.given.clone(),
        });
        for (flag, value) in own.chain(changed) {
            words.extend([flag.to_owned(), value]);
        }
        if self.direct {
            words.push("--direct".to_owned());
        }
        words
    }
}

/// The flags with which the command line makes these changes.
#[must_use]
pub fn flags(changes: &Changes) -> Vec<(&'static str, String)> {
    let faults = changes.faults.as_ref().map(|kinds| match kinds.len() {
        0 => "none".to_owned(),
        _ => kinds
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(","),
    });
    let tested = changes.target.as_ref().map(|target| &target.tested);
    let program = tested
        .filter(|tested| tested.named)
        .map(|tested| &tested.program);
    let guard = changes.vote_guard.map(|on| if on { "on" } else { "off" });
    let all = [
        ("--nodes", changes.nodes.map(|count| count.to_string())),
        ("--time", changes.seconds.map(|seconds| seconds.to_string())),
        ("--rate", changes.rate.map(|rate| rate.to_string())),
        ("--clients", changes.clients.map(|count| count.to_string())),
        ("--keys", changes.keys.map(|count| count.to_string())),
        ("--faults", faults),
        ("--reads", changes.reads.clone()),
        ("--vote-guard", guard.map(str::to_owned)),
        ("--append", changes.append.clone()),
        ("--target", tested.map(|tested| tested.target.clone())),
        ("--mode", tested.map(|tested| tested.mode.clone())),
        ("--program", program.map(|path| path.display().to_string())),
    ];
    let given = all.into_iter();
    given
        .filter_map(|(flag, value)| Some((flag, value?)))
        .collect()
}

/// What is picked on the screen beside a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// The seed.
    pub seed: u64,
    /// The planted defect.
    pub defect: Option<String>,
    /// Whose system, in which of its modes; `None`: the program's own node.
    pub target: Option<(String, String)>,
    /// How many clients, where it is not as many as the command line or the scenario says.
    pub clients: Option<u32>,
    /// How many contended keys, likewise.
    pub keys: Option<u32>,
}

/// Why what was picked cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NotPicked {
    /// The scenario cannot.
    #[error("{0}")]
    Scenario(#[from] ScenarioError),
    /// There is no such system here.
    #[error("{0}")]
    Target(#[from] NoTarget),
}

/// A word as a POSIX shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::fault::Kind;
    use crate::run::Found;

    fn again(given: &str, changes: Changes, defect: Option<&str>) -> String {
        let scenario = Scenario::find("calm").unwrap();
        let defect = defect.map(str::to_owned);
        let setup = Setup {
            given: given.to_owned(),
            resolved: scenario.resolve(&changes, 7, defect).unwrap(),
            changes,
            out: PathBuf::new(),
            hold: false,
            drill: None,
            found: Found::default(),
            direct: false,
        };
        setup.again()
    }

    #[test]
    fn the_command_line_names_whatever_the_scenario_leaves_open_or_somebody_changed() {
        let plain = Changes {
            nodes: Some(5),
            seconds: Some(9),
            ..Changes::default()
        };
        assert_eq!(
            again("calm", plain, Some("stale-read")),
            "whitewater run calm --nodes 5 --time 9 --seed 7 --defect stale-read"
        );
        let all = Changes {
            nodes: Some(3),
            seconds: Some(20),
            rate: Some(10),
            clients: Some(2),
            keys: Some(4),
            faults: Some(vec![Kind::Kill, Kind::Slow]),
            reads: Some("read-index".to_owned()),
            append: Some("unary".to_owned()),
            vote_guard: Some(false),
            ..Changes::default()
        };
        let flags = "--rate 10 --clients 2 --keys 4 --faults kill,slow --reads read-index \
                     --vote-guard off --append unary";
        assert_eq!(
            again("my runs/it's.toml", all, None),
            format!("whitewater run 'my runs/it'\\''s.toml' --nodes 3 --time 20 --seed 7 {flags}")
        );
        let none = Changes {
            faults: Some(Vec::new()),
            ..Changes::default()
        };
        assert!(again("./a.toml", none, None).ends_with("--seed 7 --faults none"));
        let decoy = again("-x.toml", Changes::default(), Some("doubled-messages"));
        assert_eq!(
            decoy,
            "whitewater run ./-x.toml --nodes 3 --time 20 --seed 7 --decoy doubled-messages"
        );
    }
}
