//! A run's folder: made before the run, and read back whole when it is over.
//!
//! ```text
//! runs/20261123-141503-rapids-7141/
//!   scenario.toml      resolved: enough to run again
//!   history.jsonl      what the clients saw (the recorder writes it)
//!   journal.jsonl      everything else that happened, one typed event a line
//!   trace/N.jsonl      Raft events of node N
//!   nodes/N/           data and log of node N
//!   token              what calls to the nodes have to carry; only while they live, and only its owner can read it
//!   verdict.json       the object that `--json` prints
//!   counterexample.txt the operations that prove a violation, and why
//! ```
//!
//! The formats are those of `docs/formats.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use checkers::format::{self, Format};
use checkers::history::Event as Seen;
use checkers::types::{self, lines};
use serde::Deserialize;

use super::event::{Entry, Event};
use super::log::{FORMAT, Header, JOURNAL};
use super::result::{ResultFold, RunResult};
use crate::exit::Exit;
use crate::scenario::Resolved;
use crate::wire::metadata::Token;

/// Makes a new folder under `parent`, named by the wall clock (UTC), the scenario and the seed.
///
/// # Errors
/// Where it cannot be made.
pub fn create(parent: &Path, scenario: &str, seed: u64) -> io::Result<PathBuf> {
    let stem = format!("{}-{scenario}-{seed}", utc_stamp(SystemTime::now()));
    fs::create_dir_all(parent)?;
    for n in 0.. {
        let dir = parent.join(if n == 0 {
            stem.clone()
        } else {
            format!("{stem}-{n}")
        });
        match fs::create_dir(&dir) {
            Ok(()) => {
                fs::create_dir(dir.join("trace"))?;
                fs::create_dir(dir.join("nodes"))?;
                return fs::canonicalize(dir);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the numbers do not end")
}

/// What a run does, kept in its folder so that it can be run again.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    last: Mutex<Resolved>,
}

impl Kept {
    /// Keeps this in a run's folder.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn new(dir: &Path, resolved: Resolved) -> io::Result<Kept> {
        let kept = Kept {
            path: dir.join("scenario.toml"),
            last: Mutex::new(resolved.clone()),
        };
        kept.keep(resolved).map(|()| kept)
    }

    /// Keeps this in place of what was kept: whoever reads it finds one or the other, whole.
    ///
    /// # Errors
    /// Where it cannot be written.
    ///
    /// # Panics
    /// If another thread panicked while it kept something.
    pub fn keep(&self, resolved: Resolved) -> io::Result<()> {
        let text = toml::to_string(&resolved).map_err(io::Error::other)?;
        let new = self.path.with_extension("toml.new");
        fs::write(&new, text)?;
        fs::rename(new, &self.path)?;
        *self.last.lock().expect("nobody panics while keeping") = resolved;
        Ok(())
    }

    /// What is kept.
    ///
    /// # Panics
    /// As [`Kept::keep`].
    #[must_use]
    pub fn last(&self) -> Resolved {
        let last = self.last.lock().expect("nobody panics while keeping");
        last.clone()
    }
}

/// The name of the file that holds the token.
pub const TOKEN_FILE: &str = "token";

/// The token in the run's folder, for people who call the nodes. It is gone when this is dropped.
#[derive(Debug)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// Writes a file that nobody but its owner can open.
    ///
    /// # Errors
    /// Where it exists, or cannot be written.
    pub fn write(dir: &Path, token: &Token) -> io::Result<TokenFile> {
        let path = dir.join(TOKEN_FILE);
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // From here on the file goes, also when it cannot be written.
        let kept = TokenFile(path);
        writeln!(file, "{}", token.reveal())?;
        Ok(kept)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // Somebody may have removed the folder; the token opens nothing any more.
        let _ = fs::remove_file(&self.0);
    }
}

/// `YYYYMMDD-HHMMSS`, UTC (days to civil date as in Hinnant, "chrono-Compatible Low-Level Date Algorithms").
#[must_use]
pub fn utc_stamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (
        doy - (153 * mp + 2) / 5 + 1,
        if mp < 10 { mp + 3 } else { mp - 9 },
    );
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}-{:02}{:02}{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// Why a run's folder cannot be shown again.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file of the folder cannot be read.
    #[error("could not read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was written by a program whose journal was another one.
    #[error(
        "{dir} is the folder of a run that another version of whitewater recorded ({what}): this one reads journals of format {FORMAT}; its history can be judged all the same, by: whitewater check {dir}"
    )]
    OtherFormat {
        /// The folder.
        dir: PathBuf,
        /// What is there instead.
        what: String,
    },
    /// A line of a file is none.
    #[error("{path}:{line}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The history is malformed, or the bytes of a file ended early.
    #[error(transparent)]
    History(#[from] checkers::format::Error),
}

impl FolderError {
    /// The exit code: wrong usage where there is no such run, malformed input, or a bench error where this machine does
    /// not let us read it.
    #[must_use]
    pub fn exit(&self) -> u8 {
        use checkers::format::Error::{Begun, Io, Malformed, Unclear};
        let exit = match self {
            FolderError::Unreadable { source, .. } if is_missing(source) => Exit::Usage,
            FolderError::History(Begun { .. } | Unclear { .. }) => Exit::Usage,
            FolderError::OtherFormat { .. }
            | FolderError::Malformed { .. }
            | FolderError::History(Malformed { .. }) => Exit::Malformed,
            FolderError::Unreadable { .. } | FolderError::History(Io { .. }) => Exit::BenchError,
        };
        exit.code()
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A run's folder, read back.
#[derive(Debug)]
pub struct ReadBack {
    /// Everything that happened, in its order.
    pub entries: Vec<Entry>,
    /// Which of its files end before they should (compressed ones that are cut off or damaged), and where.
    pub early: Vec<FolderError>,
}

/// The history of a run's folder; `None` where the folder is none of a run.
#[must_use]
pub fn history_in(dir: &Path) -> Option<PathBuf> {
    let histories = ["history.jsonl", "history.jsonl.gz"].map(|name| dir.join(name));
    let history = histories.into_iter().find(|path| path.is_file())?;
    dir.join("scenario.toml").is_file().then_some(history)
}

/// Opens a file of a run's folder, or what gzip made of it; gives also what it is called.
fn open(dir: &Path, name: &str) -> Result<(io::BufReader<File>, PathBuf), FolderError> {
    let path = dir.join(name);
    let packed = dir.join(format!("{name}.gz"));
    let opened = match File::open(&path) {
        Err(error) if is_missing(&error) && packed.is_file() => (File::open(&packed), packed),
        opened => (opened, path),
    };
    match opened {
        (Ok(file), path) => Ok((io::BufReader::new(file), path)),
        (Err(source), path) => Err(FolderError::Unreadable { path, source }),
    }
}

/// A line of the journal, read back.
#[derive(Debug, PartialEq, Deserialize)]
struct Line {
    time_ns: u64,
    /// How many events of the history there had been.
    seen: u64,
    #[serde(flatten)]
    event: Event,
}

/// Reads back everything that happened in a run, in the order in which it did. A half-written last line is what a killed
/// bench leaves, and is let go. What was compressed meanwhile is unpacked, to its end.
///
/// # Errors
/// Where a file is missing, malformed or of another format; it is named with the line and the reason.
pub fn read_folder(dir: &Path) -> Result<ReadBack, FolderError> {
    let (lines, journal_end) = journal(dir)?;
    let mut entries = Vec::with_capacity(lines.len());
    let mut lines = lines.into_iter().peekable();
    let history_end = history(dir, |event| {
        while let Some(line) = lines.next_if(|line| line.seen <= event.index) {
            entries.push(line.entry(dir));
        }
        entries.push(Entry::from(event));
    })?;
    entries.extend(lines.map(|line| line.entry(dir)));
    let early = journal_end.into_iter().chain(history_end);
    let early = early.map(FolderError::History).collect();
    Ok(ReadBack { entries, early })
}

/// Hands on each event of the run's history; gives why it ends before it should, if it does.
fn history(dir: &Path, mut take: impl FnMut(Seen)) -> Result<Option<format::Error>, FolderError> {
    let (file, path) = open(dir, "history.jsonl")?;
    let name = path.display().to_string();
    if !is_of_another_type(dir) {
        let loaded = format::read_to_its_end(file, &name, Some(Format::Jsonl), None)?;
        loaded.history.replay(take);
        return Ok(loaded.early);
    }
    let (text, early) = format::text(file, &name)?;
    let whole = text.ends_with(b"\n");
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .enumerate()
        .skip(1)
        .peekable();
    while let Some((at, line)) = lines.next() {
        match lines::read_event(line) {
            Ok(event) => take(event),
            Err(_) if lines.peek().is_none() && (line.is_empty() || !whole) => {}
            Err(reason) => {
                let line = at + 1;
                return Err(FolderError::Malformed { path, line, reason });
            }
        }
    }
    Ok(early)
}

/// Whether the run's history is neither of registers nor of lists, as what it tested says.
fn is_of_another_type(dir: &Path) -> bool {
    let text = fs::read_to_string(dir.join("scenario.toml")).unwrap_or_default();
    let scenario: toml::Table = toml::from_str(&text).unwrap_or_default();
    let tested = scenario.get("tested").and_then(|tested| tested.get("spec"));
    let spec = tested.and_then(toml::Value::as_str);
    spec.and_then(types::by_name).is_some()
}

/// The result of a finished run, from its folder.
///
/// # Errors
/// As [`read_folder`], and where its scenario cannot be read.
pub fn read_result(dir: &Path) -> Result<RunResult, FolderError> {
    let path = dir.join("scenario.toml");
    let text = fs::read_to_string(&path).map_err(|source| FolderError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let resolved: Resolved = toml::from_str(&text).map_err(|error| FolderError::Malformed {
        path,
        line: error
            .span()
            .map_or(1, |span| text[..span.start].lines().count()),
        reason: error.message().to_owned(),
    })?;
    let mut fold = ResultFold::of(resolved);
    read_folder(dir)?
        .entries
        .iter()
        .for_each(|entry| fold.take(entry));
    Ok(fold.result())
}

/// What a run has found by its journal, alarms and findings, as far as there are any to be read: also where the run said
/// nothing more, and whatever else of the folder does not read.
#[must_use]
pub fn found_in(dir: &Path) -> Vec<Event> {
    let text = open(dir, JOURNAL).and_then(|(file, path)| {
        let text = format::text(file, &path.display().to_string());
        text.map_err(FolderError::History)
    });
    let text = text.map(|(text, _)| text).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(serde_json::from_str::<Line>);
    let events = lines.filter_map(|line| Some(line.ok()?.event));
    events
        .filter(|event| event.what_was_found().is_some())
        .collect()
}

/// The lines of a folder's journal, and where its bytes end early.
fn journal(dir: &Path) -> Result<(Vec<Line>, Option<checkers::format::Error>), FolderError> {
    let other = |what: &str| FolderError::OtherFormat {
        dir: dir.to_owned(),
        what: what.to_owned(),
    };
    let (file, path) = match open(dir, JOURNAL) {
        Err(FolderError::Unreadable { source, .. })
            if is_missing(&source) && open(dir, "notices.jsonl").is_ok() =>
        {
            return Err(other("notices.jsonl, and no journal"));
        }
        opened => opened?,
    };
    let (text, end) = format::text(file, &path.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    match read_lines(&text) {
        Ok(lines) => Ok((lines, end)),
        Err(Wrong::Format(what)) => Err(other(&what)),
        Err(Wrong::Line(line, reason)) => Err(FolderError::Malformed { path, line, reason }),
    }
}

/// What is wrong with a journal.
#[derive(Debug)]
enum Wrong {
    /// Another format.
    Format(String),
    /// This line.
    Line(usize, String),
}

/// Reads the lines of a journal.
fn read_lines(text: &str) -> Result<Vec<Line>, Wrong> {
    let last = text.lines().count();
    let torn = |number| number == last && !text.ends_with('\n');
    let mut numbered = (1..).zip(text.lines());
    match numbered.next() {
        None => return Ok(Vec::new()),
        Some((number, _)) if torn(number) => return Ok(Vec::new()),
        Some((_, first)) => match serde_json::from_str::<Header>(first) {
            Ok(Header { journal: FORMAT }) => {}
            Ok(Header { journal }) => return Err(Wrong::Format(format!("format {journal}"))),
            Err(_) => return Err(Wrong::Format("a journal without a header".to_owned())),
        },
    }
    let mut lines = Vec::new();
    for (number, line) in numbered.filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(_) if torn(number) => {}
            Err(error) => return Err(Wrong::Line(number, error.to_string())),
        }
    }
    Ok(lines)
}

impl Line {
    /// Of a run whose folder this is: it may have been moved since.
    fn entry(self, dir: &Path) -> Entry {
        let Line {
            time_ns, mut event, ..
        } = self;
        if let Event::Started { dir: was, .. } = &mut event {
            dir.clone_into(was);
        }
        Entry { time_ns, event }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oracle::Oracle;
    use crate::oracle::tests::some;

    #[test]
    fn the_stamp_is_the_utc_calendar() {
        let at = |seconds| utc_stamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101-000000");
        assert_eq!(at(951_782_400), "20000229-000000");
        assert_eq!(at(1_795_437_296), "20261123-123456");
    }

    #[test]
    fn two_runs_of_one_second_have_two_folders() {
        let parent = tempfile::tempdir().unwrap();
        let dirs = [1, 2, 3].map(|_| create(parent.path(), "rapids", 7).unwrap());
        assert!(dirs[0] != dirs[1] && dirs[1] != dirs[2]);
    }

    #[test]
    fn a_token_is_kept_for_its_owner_only_and_goes_with_the_run() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let token = Token::new("secret").unwrap();
        let kept = TokenFile::write(dir.path(), &token).unwrap();
        let path = dir.path().join(TOKEN_FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret\n");
        assert!(
            TokenFile::write(dir.path(), &token).is_err(),
            "none is overwritten"
        );
        drop(kept);
        assert!(!path.exists());
    }

    fn journal_of(text: &str) -> (tempfile::TempDir, Result<ReadBack, FolderError>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(JOURNAL), text).unwrap();
        let history = "{\"whitewater\":1,\"spec\":\"register\"}\n";
        fs::write(dir.path().join("history.jsonl"), history).unwrap();
        let read = read_folder(dir.path());
        (dir, read)
    }

    const HEADER: &str = "{\"journal\":1}\n";
    const LINE: &str = r#"{"time_ns":5,"seen":0,"event":"say","text":"n1 leads term 4"}"#;

    #[test]
    fn a_torn_last_line_is_let_go_and_another_one_that_is_none_is_named() {
        let (_dir, read) = journal_of(&format!("{HEADER}{LINE}\n{LINE}\n{}", &LINE[..30]));
        let text = "n1 leads term 4".to_owned();
        let entry = Entry {
            time_ns: 5,
            event: Event::Say { text },
        };
        assert_eq!(read.unwrap().entries, vec![entry; 2]);
        let (_dir, read) = journal_of(&format!("{HEADER}{LINE}\nnonsense\n{LINE}\n"));
        let error = read.unwrap_err();
        assert!(error.to_string().contains("journal.jsonl:3: "), "{error}");
        assert_eq!(error.exit(), 65);
    }

    #[test]
    fn what_a_run_found_before_it_fell_silent_is_read_from_its_journal() {
        let finding = some(Oracle::Exit);
        let found = serde_json::to_string(&Event::Found { finding }).unwrap();
        let found = found.replacen('{', r#"{"time_ns":2,"seen":0,"#, 1);
        let text = format!("{HEADER}{LINE}\nnonsense\n{found}\n{}", &found[..40]);
        let (dir, _) = journal_of(&text);
        let finding = some(Oracle::Exit);
        assert_eq!(found_in(dir.path()), [Event::Found { finding }]);
    }

    #[test]
    fn a_folder_of_another_version_gets_a_sentence_that_says_what_can_be_done() {
        let of = |text: &str| journal_of(text).1.unwrap_err();
        let older = tempfile::tempdir().unwrap();
        fs::write(older.path().join("notices.jsonl"), "").unwrap();
        let errors = [
            of("{\"journal\":99}\n"),
            of(&format!("{LINE}\n")),
            read_folder(older.path()).unwrap_err(),
        ];
        let whats = ["format 99", "a journal without a header", "notices.jsonl"];
        for (error, what) in errors.iter().zip(whats) {
            let said = error.to_string();
            assert!(
                said.contains(what) && said.contains("whitewater check "),
                "{said}"
            );
            assert_eq!(error.exit(), 65);
        }
        assert!(found_in(older.path()).is_empty());
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(read_folder(nothing.path()).unwrap_err().exit(), 64);
    }
}
