//! How to run a run again: its command line, complete but for where its folder goes.

use super::Setup;

impl Setup {
    /// The command line of this run with its seed: it has the same plan, the same load and the same nodes.
    #[must_use]
    pub fn again(&self) -> String {
        let (resolved, changes) = (&self.resolved, &self.changes);
        let scenario = &resolved.scenario;
        let mut command = format!(
            "whitewater run {} --nodes {} --time {} --seed {}",
            quoted(&self.given),
            scenario.nodes,
            scenario.seconds,
            resolved.seed
        );
        let faults = changes.faults.as_ref().map(|kinds| match kinds.len() {
            0 => "none".to_owned(),
            _ => kinds.join(","),
        });
        let guard = changes.vote_guard.map(|on| if on { "on" } else { "off" });
        for (flag, value) in [
            ("--defect", resolved.defect.clone()),
            ("--rate", changes.rate.map(|rate| rate.to_string())),
            ("--clients", changes.clients.map(|count| count.to_string())),
            ("--keys", changes.keys.map(|count| count.to_string())),
            ("--faults", faults),
            ("--reads", changes.reads.clone()),
            ("--vote-guard", guard.map(str::to_owned)),
            ("--append", changes.append.clone()),
        ] {
            if let Some(value) = value {
                command += &format!(" {flag} {value}");
            }
        }
        if self.direct {
            command += " --direct";
        }
        command
    }
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
    use crate::run::Found;
    use crate::scenario::{Changes, Scenario};

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
            faults: Some(vec!["kill".to_owned(), "slow".to_owned()]),
            reads: Some("read-index".to_owned()),
            append: Some("unary".to_owned()),
            vote_guard: Some(false),
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
    }
}
