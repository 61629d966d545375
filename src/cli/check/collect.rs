//! Which files a command line of `check` stands for, each with the verdict that its folder promises. What is there and
//! cannot be a history is named with its reason: nothing that somebody may take for evidence is passed over in silence.

use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::gather::{self, Gathered};
use super::super::{BENCH_ERROR, MALFORMED, USAGE};
use crate::journal;

/// A file to check.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    /// Several files that are one history, and what is to be said of that.
    pub(super) gathered: Option<Gathered>,
    /// The verdict that its folder promises.
    pub(super) expected: Option<&'static str>,
    /// Why it is not even opened.
    pub(super) refused: Option<Refusal>,
    /// What is to be said of where it lies.
    pub(super) note: Option<&'static str>,
}

/// Why a path has no verdict, and the exit code of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u8,
    pub(super) why: String,
}

/// What the paths of a command line stand for.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) items: Vec<Item>,
    /// Hidden files and folders, which are no evidence: editors and tools keep their own there.
    pub(super) hidden: Vec<PathBuf>,
}

/// The folders of a corpus, and the verdicts that they promise.
const FOLDERS: [(&str, &str); 4] = [
    ("linearizable", "linearizable"),
    ("violating", "violation"),
    ("unknown", "unknown"),
    ("malformed", "malformed"),
];

/// Where a file lies beside a corpus' folders.
const BESIDE: &str = "it lies beside the folders of a corpus, so nothing is promised of it";

impl Collected {
    /// Adds what a path of the command line stands for. With `no_expect` a corpus is a folder like any other.
    pub(super) fn add(&mut self, path: &Path, no_expect: bool) {
        if path.as_os_str() == "-" {
            return self.push(path, None, None, None);
        }
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => {
                return self.refuse(path, USAGE, "no such file or folder");
            }
            Err(error) => return self.unreadable(path, &error),
        };
        if !kind.is_dir() {
            return match gather::file(path) {
                Some(gathered) => self.gathered(gathered, None, None),
                None => self.file(path, None, None, kind.file_type()),
            };
        }
        let (before, hidden) = (self.items.len(), self.hidden.len());
        // A run's folder: what is beside its history is none.
        match (journal::history_in(path), gather::folder(path)) {
            (Some(history), _) => self.push(&history, None, None, None),
            (None, Some(gathered)) => self.gathered(gathered, None, None),
            (None, None) => self.folder(path, no_expect, &kind),
        }
        if self.items.len() == before {
            let why = match self.hidden.len() - hidden {
                0 => "no file to check in it",
                _ => "no file to check in it but hidden ones",
            };
            self.refuse(path, USAGE, why);
        }
    }

    /// A folder of the command line: a corpus where a folder in it bears the name of a verdict.
    fn folder(&mut self, path: &Path, no_expect: bool, kind: &Metadata) {
        let Some(children) = self.children(path) else {
            return;
        };
        let mut above = vec![(kind.dev(), kind.ino())];
        let promises = |child: &PathBuf| promise(child).is_some();
        let corpus = !no_expect && children.iter().any(promises);
        for child in &children {
            let expected = promise(child).filter(|_| corpus);
            if corpus && expected.is_none() && child.is_dir() {
                self.refuse(
                    child,
                    USAGE,
                    "it is beside the folders of a corpus and bears the name of no verdict: move it, or take --no-expect",
                );
            }
            let note = (corpus && expected.is_none()).then_some(BESIDE);
            self.all_below(child, expected, note, &mut above);
        }
    }

    /// All files below a path. Whatever a folder in a promising one is called, it promises the same.
    fn all_below(
        &mut self,
        path: &Path,
        expected: Option<&'static str>,
        note: Option<&'static str>,
        above: &mut Vec<(u64, u64)>,
    ) {
        let kind = match fs::metadata(path) {
            Ok(kind) => kind,
            Err(error) => return self.unreadable(path, &error),
        };
        if !kind.is_dir() {
            return self.file(path, expected, note, kind.file_type());
        }
        if let Some(gathered) = gather::folder(path) {
            return self.gathered(gathered, expected, note);
        }
        let this = (kind.dev(), kind.ino());
        if above.contains(&this) {
            return self.refuse(path, MALFORMED, "a link back to a folder that it is in");
        }
        above.push(this);
        for child in self.children(path).unwrap_or_default() {
            self.all_below(&child, expected, note, above);
        }
        above.pop();
    }

    fn file(
        &mut self,
        path: &Path,
        expected: Option<&'static str>,
        note: Option<&'static str>,
        kind: FileType,
    ) {
        let refusal = if kind.is_file() || is_without_a_name(path, kind) {
            None
        } else if kind.is_fifo() {
            Some("a named pipe: reading it would wait for a writer; - reads standard input")
        } else if kind.is_socket() {
            Some("a socket, not a file")
        } else {
            Some("a device, not a file")
        };
        let refusal = refusal.map(|why| Refusal {
            code: MALFORMED,
            why: why.to_owned(),
        });
        self.push(path, expected, note, refusal);
    }

    /// What a folder holds, in order, without what is no evidence; the folder is named where that cannot be seen.
    fn children(&mut self, folder: &Path) -> Option<Vec<PathBuf>> {
        let listed = fs::read_dir(folder).and_then(|entries| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.collect::<io::Result<Vec<PathBuf>>>()
        });
        let mut children = match listed {
            Ok(children) => children,
            Err(error) => {
                self.unreadable(folder, &error);
                return None;
            }
        };
        children.sort();
        let is_hidden = |path: &PathBuf| name(path).starts_with('.');
        self.hidden
            .extend(children.iter().filter(|&path| is_hidden(path)).cloned());
        let is_evidence =
            |path: &PathBuf| !is_hidden(path) && !is_documentation(path) && !gather::is_alias(path);
        children.retain(is_evidence);
        Some(children)
    }

    fn push(
        &mut self,
        path: &Path,
        expected: Option<&'static str>,
        note: Option<&'static str>,
        refused: Option<Refusal>,
    ) {
        let path = path.to_owned();
        self.items.push(Item {
            path,
            gathered: None,
            expected,
            refused,
            note,
        });
    }

    /// Adds a history that is in several files, once.
    fn gathered(
        &mut self,
        gathered: Gathered,
        expected: Option<&'static str>,
        note: Option<&'static str>,
    ) {
        if !self.items.iter().any(|item| item.path == gathered.path) {
            self.items.push(Item {
                path: gathered.path.clone(),
                gathered: Some(gathered),
                expected,
                refused: None,
                note,
            });
        }
    }

    fn refuse(&mut self, path: &Path, code: u8, why: &str) {
        let why = why.to_owned();
        self.push(path, None, None, Some(Refusal { code, why }));
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.push(path, None, None, Some(Refusal::of(error)));
    }
}

impl Refusal {
    /// Why the kernel gives us nothing of a path. What the path is, is malformed input: a link to nothing, or to itself.
    /// What this machine does not let us have is an error of the bench.
    pub(super) fn of(error: &io::Error) -> Refusal {
        let in_a_circle = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        let (code, why) = if is_missing(error) {
            (
                MALFORMED,
                "nothing is there: a link to nothing, or a file that is gone".to_owned(),
            )
        } else if in_a_circle {
            (MALFORMED, "a link to itself".to_owned())
        } else {
            (BENCH_ERROR, format!("could not be read: {error}"))
        };
        Refusal { code, why }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A pipe that a shell made for `<(command)`: somebody writes it already, and no folder has it.
fn is_without_a_name(path: &Path, kind: FileType) -> bool {
    kind.is_fifo() && fs::canonicalize(path).is_err()
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The verdict that a folder promises by its name.
fn promise(path: &Path) -> Option<&'static str> {
    let name = name(path);
    let known = FOLDERS.iter().find(|(known, _)| *known == name);
    known.filter(|_| path.is_dir()).map(|(_, verdict)| *verdict)
}

/// A text about histories, which is none: README and the like, and Markdown.
fn is_documentation(path: &Path) -> bool {
    let name = name(path).to_lowercase();
    let (stem, extension) = name.split_once('.').unwrap_or((&name, ""));
    let about = ["readme", "license", "licence", "copying", "notice"];
    let text = ["", "txt", "rst", "adoc", "org", "html"];
    let is_about = name.ends_with(".md") || (about.contains(&stem) && text.contains(&extension));
    is_about && !path.is_dir()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What is found below a folder with these files: what is asked for, then what is hidden.
    fn found(files: &[&str], no_expect: bool) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        told(folder.path(), folder.path(), no_expect)
    }

    fn told(folder: &Path, path: &Path, no_expect: bool) -> Vec<String> {
        let mut collected = Collected::default();
        collected.add(path, no_expect);
        let short = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        let items = collected.items.iter().map(|item| {
            let more = match (&item.refused, item.expected, item.note) {
                (Some(Refusal { code, .. }), _, _) => format!(" {code}"),
                (None, Some(expected), None) => format!(" {expected}"),
                (None, None, Some(_)) => " beside".to_owned(),
                (None, None, None) => String::new(),
                other => panic!("{other:?}"),
            };
            format!("{}{more}", short(&item.path))
        });
        let hidden = collected.hidden.iter();
        items
            .chain(hidden.map(|path| format!("hidden {}", short(path))))
            .collect()
    }

    #[test]
    fn every_file_of_a_corpus_has_a_promise_or_is_named_as_lying_beside_it() {
        let corpus = [
            "README.md",
            "beside.jsonl",
            "linearizable/a.jsonl",
            "linearizable/deep/er/b.jsonl",
            "linearizable/violating/c.jsonl",
            "linearizable/.gitkeep",
            "other/d.jsonl",
            "violating/README.txt",
            "violating/readme.jsonl",
        ];
        let expected = [
            "beside.jsonl beside",
            "linearizable/a.jsonl linearizable",
            "linearizable/deep/er/b.jsonl linearizable",
            "linearizable/violating/c.jsonl linearizable",
            "other 64",
            "other/d.jsonl beside",
            "violating/readme.jsonl violation",
            "hidden linearizable/.gitkeep",
        ];
        assert_eq!(found(&corpus, false), expected);
        let plain = [
            "beside.jsonl",
            "linearizable/a.jsonl",
            "linearizable/deep/er/b.jsonl",
            "linearizable/violating/c.jsonl",
            "other/d.jsonl",
            "violating/readme.jsonl",
            "hidden linearizable/.gitkeep",
        ];
        assert_eq!(found(&corpus, true), plain);
    }

    #[test]
    fn a_folder_without_a_verdicts_name_in_it_is_no_corpus_whatever_lies_deeper() {
        let files = ["a/violating/b.jsonl", "violating"];
        assert_eq!(found(&files, false), files);
    }

    #[test]
    fn a_folder_with_nothing_to_check_is_wrong_usage() {
        assert_eq!(found(&["README"], false), [" 64"]);
        assert_eq!(found(&[".hidden"], false), [" 64", "hidden .hidden"]);
    }

    #[test]
    fn what_cannot_be_a_history_is_named_and_hides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("good"), "").unwrap();
        fs::create_dir(at("in")).unwrap();
        symlink("..", at("in/loop")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        symlink("itself", at("itself")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let all = [
            "dangling 65",
            "device 65",
            "good",
            "in/loop 65",
            "itself 65",
            "pipe 65",
            "socket 65",
        ];
        assert_eq!(told(folder.path(), folder.path(), false), all);
        for (name, code) in [("nothing", 64), ("good/below", 64), ("pipe", 65)] {
            let expected = format!("{name} {code}");
            assert_eq!(told(folder.path(), &at(name), false), [expected]);
        }
    }
}
