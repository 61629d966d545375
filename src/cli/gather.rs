//! Files that belong together: a run in Jepsen's store has its history several times, and a report of etcd's robustness
//! tests has it in pieces, one a client.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// One history, and what lies beside it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// The file or the folder that it is called by.
    pub(crate) path: PathBuf,
    /// Its files, in order.
    pub(crate) parts: Vec<PathBuf>,
    /// What was gathered, and what was not judged.
    pub(crate) note: String,
}

/// The files of a run in Jepsen's store that hold its history, the best one first.
const OF_A_RUN: [&str; 3] = ["history.edn", "history.txt", "jepsen.log"];

/// Others that are in such a folder.
const BESIDE: [&str; 6] = [
    "results.edn",
    "test.jepsen",
    "test.fressian",
    "timeline.html",
    "latency-raw.png",
    "rate.png",
];

/// The file of each client in a report of etcd's robustness tests.
const OF_A_CLIENT: &str = "operations.json";

/// The one history that a folder is, if it is one.
pub(crate) fn folder(path: &Path) -> Option<Gathered> {
    report(path).or_else(|| run_of_jepsen(path))
}

/// The one history that a file is a piece of, if it is one.
pub(crate) fn file(path: &Path) -> Option<Gathered> {
    let client = path.parent()?;
    let is_piece = path.file_name()? == OF_A_CLIENT && is_client(client);
    // `client-1/operations.json` lies in a folder, too.
    let folder = match client.parent()? {
        empty if empty.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    if is_piece { report(folder) } else { None }
}

/// Whether a path is another name of a run in Jepsen's store.
pub(crate) fn is_alias(path: &Path) -> bool {
    let named = path
        .file_name()
        .is_some_and(|name| name == "latest" || name == "current");
    named && path.is_symlink()
}

fn is_client(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.strip_prefix("client-");
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// What is directly in a folder.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut children: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    children.sort();
    children
}

fn report(folder: &Path) -> Option<Gathered> {
    let (clients, others): (Vec<_>, Vec<_>) = children(folder)
        .into_iter()
        .partition(|path| is_client(path));
    let (mut parts, mut rest) = (Vec::new(), names(&others));
    for client in &clients {
        for file in children(client) {
            if file.file_name().is_some_and(|name| name == OF_A_CLIENT) {
                parts.push(file);
            } else {
                let within = file.strip_prefix(folder).unwrap_or(&file);
                rest.push(within.display().to_string());
            }
        }
    }
    if parts.is_empty() {
        return None;
    }
    let note = format!(
        "the operations of {} clients are one history{}",
        parts.len(),
        not_judged(&rest)
    );
    Some(Gathered {
        path: folder.to_owned(),
        parts,
        note,
    })
}

fn run_of_jepsen(folder: &Path) -> Option<Gathered> {
    let has = |name: &&&str| folder.join(name).is_file();
    let histories: Vec<_> = OF_A_RUN.iter().filter(has).collect();
    if histories.is_empty() || histories.len() == 1 && !BESIDE.iter().any(|name| has(&name)) {
        return None;
    }
    // A run that was killed may leave an empty one.
    let written = |name: &&&&str| {
        folder
            .join(name)
            .metadata()
            .is_ok_and(|file| file.len() > 0)
    };
    let best = histories.iter().find(written).or(histories.first())?;
    let path = folder.join(best);
    let mut others = children(folder);
    others.retain(|other| *other != path);
    Some(Gathered {
        note: format!(
            "a run in Jepsen's store is one history{}",
            not_judged(&names(&others))
        ),
        parts: vec![path.clone()],
        path,
    })
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    let names = paths.iter().filter_map(|path| path.file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

fn not_judged(rest: &[String]) -> String {
    match rest {
        [] => String::new(),
        rest => format!("; not judged: {}", rest.join(", ")),
    }
}

/// The bytes of all parts, each beginning a line.
///
/// # Errors
/// When one can't be opened.
pub(crate) fn open(parts: &[PathBuf]) -> io::Result<Box<dyn Read>> {
    let mut all: Box<dyn Read> = Box::new(io::empty());
    for (i, part) in parts.iter().enumerate() {
        let between: &[u8] = if i == 0 { b"" } else { b"\n" };
        all = Box::new(all.chain(between).chain(File::open(part)?));
    }
    Ok(all)
}

/// The part in which a line of all of them stands, and its number there.
pub(crate) fn part_of(parts: &[PathBuf], line: u64) -> Option<(&Path, u64)> {
    let mut before = 0;
    for part in parts {
        let file = BufReader::new(File::open(part).ok()?);
        let newlines = file.split(b'\n').count() as u64;
        // The newline between two parts follows the one that ends the first of them, if it has one.
        let ends = std::fs::read(part).ok()?.ends_with(b"\n");
        let lines = newlines + u64::from(ends);
        if line <= before + lines {
            return Some((part, line - before));
        }
        before += lines;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_run_in_a_store_is_its_best_history() {
        for (files, expected) in [
            (
                &["history.edn", "history.txt", "jepsen.log"][..],
                Some("history.edn"),
            ),
            (
                &["history.txt", "jepsen.log", "results.edn"],
                Some("history.txt"),
            ),
            (&["jepsen.log", "test.jepsen"], Some("jepsen.log")),
            (&["history.edn", "other.edn"], None),
            (&["results.edn"], None),
        ] {
            let files: Vec<_> = files.iter().map(|file| (*file, "x")).collect();
            let store = with(&files);
            let found = folder(store.path()).map(|found| found.parts);
            assert_eq!(found, expected.map(|name| vec![store.path().join(name)]));
        }
        let killed = with(&[("history.edn", ""), ("history.txt", "x")]);
        let found = folder(killed.path()).unwrap();
        assert_eq!(found.path, killed.path().join("history.txt"));
        assert!(
            found.note.ends_with("not judged: history.edn"),
            "{}",
            found.note
        );
    }

    #[test]
    fn the_clients_of_a_report_are_one_history_whichever_of_them_is_named() {
        let report = with(&[
            ("client-1/operations.json", "a\nb"),
            ("client-2/operations.json", "c\n"),
            ("client-10/watch.json", ""),
            ("client-10/operations.json", "d"),
            ("server-1/wal", ""),
        ]);
        let found = folder(report.path()).unwrap();
        assert_eq!(found.parts.len(), 3);
        assert!(
            found.note.contains("server-1, client-10/watch.json"),
            "{}",
            found.note
        );
        assert_eq!(
            file(&report.path().join("client-2/operations.json")),
            Some(found)
        );
        assert_eq!(file(&report.path().join("client-10/watch.json")), None);
        let parts = folder(report.path()).unwrap().parts;
        let mut text = String::new();
        open(&parts).unwrap().read_to_string(&mut text).unwrap();
        // Each line is found again in its own file.
        for (i, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
        {
            let (part, number) = part_of(&parts, i as u64 + 1).unwrap();
            let there = fs::read_to_string(part).unwrap();
            assert_eq!(there.lines().nth(number as usize - 1), Some(line));
        }
    }
}
