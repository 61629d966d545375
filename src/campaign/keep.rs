//! What is kept of the folders of runs that are over.
//!
//! A run that held is its line. Of each signature the first five are kept whole, and the one whose alarm came first;
//! of the others the scenario, the verdict and the counterexample. So it is with unknowns and bench errors, which
//! somebody may want to look into.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::line::{Class, Line};
use super::table::shortest;

/// What was killed is gone by then.
const DIES_WITHIN: Duration = Duration::from_secs(10);

/// So many of each kind are kept whole.
const WHOLE: usize = 5;

/// What stays of a failure that others stand for.
const EVIDENCE: &[&str] = &["scenario.toml", "verdict.json", "counterexample.txt"];

/// What is kept of a run's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// All of it.
    Whole,
    /// Enough to run it again and to see what was wrong.
    Evidence,
    /// Nothing: its line says it all.
    Line,
}

/// What to keep of each run, by its number. Lines are in the order in which the runs ended.
#[must_use]
pub(super) fn keep(lines: &[Line]) -> BTreeMap<u64, Keep> {
    let mut groups: BTreeMap<_, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        let alike = (line.class, line.planted.as_deref(), &line.signature);
        groups.entry(alike).or_default().push(line);
    }
    let mut kept = BTreeMap::new();
    for ((class, ..), group) in groups {
        let mut whole: BTreeSet<u64> = group.iter().take(WHOLE).map(|line| line.run).collect();
        whole.extend(shortest(&group).map(|line| line.run));
        for line in group {
            let keep = match class {
                Class::Held | Class::Vacuous => Keep::Line,
                _ if whole.contains(&line.run) => Keep::Whole,
                _ => Keep::Evidence,
            };
            kept.insert(line.run, keep);
        }
    }
    kept
}

/// The place of a run within the campaign's folder.
#[must_use]
pub(super) fn place(campaign: &Path, run: u64) -> PathBuf {
    campaign.join("runs").join(run.to_string())
}

/// Makes the folders of a campaign as they shall be. Runs that are not over are not touched, but for those that nobody
/// works on any more: what a killed hunt left of them goes. `known`: what is as it shall be already.
///
/// # Errors
/// Where something cannot be taken away.
pub(super) fn tidy(
    campaign: &Path,
    lines: &[Line],
    known: &mut BTreeMap<u64, Keep>,
) -> io::Result<()> {
    for (run, keep) in keep(lines) {
        if known.get(&run) == Some(&keep) {
            continue;
        }
        let place = place(campaign, run);
        match keep {
            Keep::Whole => {}
            Keep::Evidence => reduce(&place)?,
            Keep::Line => remove(&place)?,
        }
        known.insert(run, keep);
    }
    Ok(())
}

/// Takes away what runs that never ended have left.
///
/// # Errors
/// Where something cannot be taken away.
pub(super) fn forget_unfinished(campaign: &Path, lines: &[Line]) -> io::Result<()> {
    let over: BTreeSet<u64> = lines.iter().map(|line| line.run).collect();
    let entries = match fs::read_dir(campaign.join("runs")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let run = name.to_str().and_then(|name| name.parse().ok());
        if let Some(run) = run.filter(|run| !over.contains(run)) {
            remove_while_it_dies(&place(campaign, run))?;
        }
    }
    Ok(())
}

/// A run whose hunt was killed is killed with it, and may still be about to die.
fn remove_while_it_dies(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + DIES_WITHIN;
    loop {
        match remove(path) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty
                    && Instant::now() < deadline =>
            {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            removed => return removed,
        }
    }
}

/// The folder that a run made at its place; `None` where it made none.
#[must_use]
pub(super) fn made_by_the_run(place: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(place).ok()?.flatten();
    let mut dirs = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    dirs.next()
}

fn reduce(place: &Path) -> io::Result<()> {
    let Some(dir) = made_by_the_run(place) else {
        return Ok(());
    };
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !EVIDENCE.contains(&name.as_ref()) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Takes a file or a folder away; one that is gone already is as wished.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.is_dir() && !path.is_symlink() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
