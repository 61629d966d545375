//! Which program a target needs, whether it is here, and which version it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;

use super::question::Pattern;
use crate::target::template::{Template, Words};

/// How a program is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Find {
    /// The names to look for on PATH; the first that exists is taken.
    pub program: Vec<String>,
    /// The one command that installs it.
    pub install: String,
    /// How it tells its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Only these versions, where a scenario is about some; none: any that the file means.
    #[serde(skip)]
    pub only: Vec<Range>,
}

/// Versions, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// None before this one.
    pub at_least: Option<String>,
    /// Nor this one or a later one.
    pub below: Option<String>,
}

impl Range {
    fn holds(&self, version: &str) -> bool {
        let (at_least, below) = (self.at_least.as_deref(), self.below.as_deref());
        !at_least.is_some_and(|least| precedes(version, least))
            && below.is_none_or(|below| precedes(version, below))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.at_least, &self.below) {
            (Some(least), Some(below)) => write!(f, "{least} to before {below}"),
            (Some(least), None) => write!(f, "{least} or newer"),
            (None, Some(below)) => write!(f, "before {below}"),
            (None, None) => write!(f, "any"),
        }
    }
}

/// How a program tells its version, and which ones are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The program and its arguments.
    pub run: Vec<Template>,
    /// Where the version is in what it prints: the first group. The first line if unsaid.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// No version before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// Nor this one or a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// A program that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub program: PathBuf,
    /// Its version, where the file says how to ask.
    pub version: Option<String>,
}

/// A program that is not here, or not in a version that is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; to install it: {install}")]
pub struct Missing {
    /// In words.
    pub why: String,
    /// The one command that installs it.
    pub install: String,
}

/// A program that has not told its version by then tells none.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

impl Find {
    /// Where the program is: `given` if somebody named one, else the first of the names that exists on PATH.
    ///
    /// # Errors
    /// If there is none.
    pub fn locate(&self, given: Option<&Path>) -> Result<PathBuf, Missing> {
        Ok(self.candidates(given)?.swap_remove(0))
    }

    /// Each that there is, in the order of the names and of PATH.
    fn candidates(&self, given: Option<&Path>) -> Result<Vec<PathBuf>, Missing> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        self.locate_in(given, &dirs)
    }

    /// At least one.
    fn locate_in(&self, given: Option<&Path>, dirs: &[PathBuf]) -> Result<Vec<PathBuf>, Missing> {
        let names: Vec<&Path> = match given {
            Some(given) => vec![given],
            None => self.program.iter().map(Path::new).collect(),
        };
        let places = names
            .iter()
            .flat_map(|name| match name.components().count() {
                // A name with a slash is a path, as for a shell.
                2.. => Vec::from_iter(std::path::absolute(name).ok()),
                _ => dirs.iter().map(|dir| dir.join(name)).collect(),
            });
        let mut seen = std::collections::BTreeSet::new();
        // A folder may be on PATH by two names.
        let first = |path: &PathBuf| {
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
            seen.insert((folder, path.file_name().map(ToOwned::to_owned)))
        };
        let places = places.filter(|path| executable(path));
        let found: Vec<PathBuf> = places.filter(first).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names = names.iter().map(|name| name.display().to_string());
        let names: Vec<String> = names.collect();
        let names = names.join(" or ");
        Err(self.missing(format!("there is no program {names} here")))
    }

    fn missing(&self, why: String) -> Missing {
        Missing {
            why,
            install: self.install.clone(),
        }
    }

    /// Finds the program and asks it for its version: of several the first one whose version is meant.
    ///
    /// # Errors
    /// If it is not here, does not tell its version where the file says that it does, or is of one that is not meant.
    pub async fn find(&self, given: Option<&Path>) -> Result<Found, Missing> {
        let mut refused = Vec::new();
        for program in self.candidates(given)? {
            match self.fits(program).await {
                Ok(found) => return Ok(found),
                Err(why) => refused.push(why),
            }
        }
        Err(self.missing(refused.join("; ")))
    }

    /// Whether a program is of a version that is meant.
    async fn fits(&self, program: PathBuf) -> Result<Found, String> {
        let name = program.display();
        let only = || {
            let ranges: Vec<String> = self.only.iter().map(ToString::to_string).collect();
            ranges.join(", or ")
        };
        let Some(version) = &self.version else {
            if !self.only.is_empty() {
                let why = format!("{name} does not tell its version, and it takes {}", only());
                return Err(why);
            }
            let version = None;
            return Ok(Found { program, version });
        };
        let said = version.ask(&program).await?;
        // A scenario may be about others than those that keep the target's promises.
        let own = self.only.is_empty();
        let at_least = version.at_least.as_deref().filter(|_| own);
        let below = version.below.as_deref().filter(|_| own);
        if at_least.is_some_and(|least| precedes(&said, least)) {
            let least = at_least.unwrap_or_default();
            return Err(format!("{name} is {said}, and {least} or newer is needed"));
        }
        if below.is_some_and(|below| !precedes(&said, below)) {
            let below = below.unwrap_or_default();
            return Err(format!(
                "{name} is {said}, and one before {below} is needed"
            ));
        }
        if !self.only.is_empty() && !self.only.iter().any(|range| range.holds(&said)) {
            let only = only();
            return Err(format!(
                "{name} is {said}, which cannot show it; these versions can: {only}"
            ));
        }
        Ok(Found {
            program,
            version: Some(said),
        })
    }
}

impl Version {
    async fn ask(&self, program: &Path) -> Result<String, String> {
        let words = Words::default().with("program", program.display().to_string());
        let mut run = self.run.iter().map(|part| part.fill(&words));
        let name = run.next().expect("the file names a program");
        let args: Vec<String> = run.collect();
        let asked: Vec<&str> = std::iter::once(&name)
            .chain(&args)
            .map(String::as_str)
            .collect();
        let asked = asked.join(" ");
        let output = Command::new(&name)
            .args(&args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(VERSION_WITHIN, output).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("`{asked}` could not be run: {error}")),
            Err(_) => {
                let seconds = VERSION_WITHIN.as_secs();
                return Err(format!("`{asked}` was not done within {seconds} s"));
            }
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let version = match &self.pattern {
            Some(pattern) => pattern.first_group(&text),
            None => text.lines().next(),
        };
        let version = version.map(str::trim).filter(|version| !version.is_empty());
        match version {
            Some(version) if output.status.success() => Ok(version.to_owned()),
            _ => {
                let first = text.lines().next_back().unwrap_or("nothing");
                Err(format!("`{asked}` does not tell a version, but {first:?}"))
            }
        }
    }
}

fn executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Whether a version is earlier than another: by the numbers in them, one after the other.
fn precedes(one: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let numbers = version.split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|number| number.parse().ok()).collect()
    };
    numbers(one) < numbers(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(program: &[&str], version: Option<Version>) -> Find {
        Find {
            program: program.iter().map(|name| (*name).to_owned()).collect(),
            install: "apt install it".to_owned(),
            version,
            only: Vec::new(),
        }
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        for (one, other, expected) in [
            ("3.4.23", "3.5", true),
            ("3.10", "3.9", false),
            ("3.5.1", "3.5.1", false),
            ("0.3.15", "0.3.16", true),
            ("v7.0.15", "7.0.2", false),
        ] {
            assert_eq!(precedes(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn the_first_name_that_exists_is_taken_and_none_names_what_installs_it() {
        let dirs = [PathBuf::from("/nonexistent"), PathBuf::from("/bin")];
        let found = find(&["no-such-program", "sh"], None).locate_in(None, &dirs);
        assert_eq!(found, Ok(vec![PathBuf::from("/bin/sh")]));
        let none = find(&["no-such-program", "nor-this"], None).locate_in(None, &dirs);
        assert_eq!(
            none.unwrap_err().to_string(),
            "there is no program no-such-program or nor-this here; to install it: apt install it"
        );
        // What somebody names is taken instead, and nothing else.
        let given = Path::new("/bin/no-such-program");
        assert!(find(&["sh"], None).locate_in(Some(given), &dirs).is_err());
    }

    #[tokio::test]
    async fn a_version_is_what_the_program_says_and_may_be_too_old() {
        let version = |at_least: Option<&str>, below: Option<&str>, says: &str| Version {
            run: ["{program}", "-c", says]
                .map(|part| Template::parse(part, &["program"]).unwrap())
                .to_vec(),
            pattern: Some(Pattern::new(r"Version: (\S+)").unwrap()),
            at_least: at_least.map(str::to_owned),
            below: below.map(str::to_owned),
        };
        let ask = async |version| find(&["sh"], Some(version)).find(None).await;
        let says = "echo Version: 3.4.23";
        let found = ask(version(Some("3.4"), Some("3.5"), says)).await.unwrap();
        assert_eq!(found.version.as_deref(), Some("3.4.23"));
        let old = ask(version(Some("3.5"), None, says)).await.unwrap_err();
        assert!(
            old.why.ends_with("is 3.4.23, and 3.5 or newer is needed"),
            "{old}"
        );
        let new = ask(version(None, Some("3.4.23"), says)).await.unwrap_err();
        assert!(
            new.why
                .ends_with("is 3.4.23, and one before 3.4.23 is needed"),
            "{new}"
        );
        let range = |at_least: &str, below: &str| Range {
            at_least: Some(at_least.to_owned()),
            below: Some(below.to_owned()),
        };
        let mut several = find(&["sh"], Some(version(None, None, says)));
        several.only = vec![range("3.3", "3.4"), range("3.4.5", "3.5")];
        let found = several.find(None).await.unwrap();
        assert_eq!(found.version.as_deref(), Some("3.4.23"));
        several.only.pop();
        let refused = several.find(None).await.unwrap_err();
        assert!(
            refused.why.ends_with(
                "is 3.4.23, which cannot show it; these versions can: 3.3 to before 3.4"
            ),
            "{refused}"
        );
        let mute = ask(version(None, None, "exit 0")).await.unwrap_err();
        assert!(mute.why.contains("does not tell a version"), "{mute}");
    }
}
