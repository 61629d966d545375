//! A run's folder: everything that is kept of it, written as it happens.
//!
//! ```text
//! runs/20261123-141503-rapids-7141/
//!   scenario.toml      resolved: enough to run again
//!   history.jsonl      what the clients saw (the recorder writes it)
//!   notices.jsonl      what the screen was told
//!   faults.jsonl       the notices about faults alone, and the fate of every single message that met one
//!   trace/N.jsonl      Raft events of node N
//!   nodes/N/           data and log of node N
//!   token              what calls to the nodes have to carry; only while they live, and only its owner can read it
//!   verdict.json       the object that `--json` prints
//!   counterexample.txt the operations that prove a violation, and why
//! ```
//!
//! What cannot be written for a moment waits in memory and is written later, in its order: no line follows half of
//! another one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use checkers::format::{self, Format};
use serde::Serialize;
use tokio::sync::mpsc;

use super::coverage::Coverage;
use super::found::Found;
use super::notice::{Notice, Told};
use crate::proxy::{Decision, Decisions, Half};
use crate::recorder::Recorder;
use crate::recorder::lines::Lines;
use crate::scenario::Resolved;
use crate::wire::metadata::Token;

/// Makes a new folder under `parent`, named by the wall clock (UTC), the scenario and the seed.
///
/// # Errors
/// Where it cannot be made.
pub(super) fn create(parent: &Path, scenario: &str, seed: u64) -> io::Result<PathBuf> {
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
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Nothing is kept yet.
    pub(super) fn new(dir: &Path) -> Kept {
        Kept(dir.join("scenario.toml"))
    }

    /// Keeps this in place of what was kept: whoever reads it finds one or the other, whole.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn keep(&self, resolved: &Resolved) -> io::Result<()> {
        let text = toml::to_string(resolved).map_err(io::Error::other)?;
        let new = self.0.with_extension("toml.new");
        fs::write(&new, text)?;
        fs::rename(new, &self.0)
    }
}

/// The name of the file that holds the token.
pub const TOKEN_FILE: &str = "token";

/// The token in the run's folder, for people who call the nodes. It is gone when this is dropped.
#[derive(Debug)]
pub(super) struct TokenFile(PathBuf);

impl TokenFile {
    /// Writes a file that nobody but its owner can open.
    pub(super) fn write(dir: &Path, token: &Token) -> io::Result<TokenFile> {
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

/// Tells a fact to the run's folder, to the run's own count, and to the screen. It never waits.
#[derive(Clone)]
pub(crate) struct Teller {
    recorder: Arc<Recorder>,
    files: Arc<Mutex<Files>>,
    coverage: Arc<Mutex<Coverage>>,
    found: Found,
    screen: mpsc::Sender<Told>,
    behind: Arc<AtomicU64>,
}

struct Files {
    notices: Lines<u64>,
    faults: Lines<u64>,
    line: Vec<u8>,
}

/// Bytes of either file that wait while it cannot be written.
const MOST_WAITING: usize = 4 << 20;

#[derive(Serialize)]
struct Line<'a> {
    time_ns: u64,
    #[serde(flatten)]
    notice: &'a Notice,
}

impl Teller {
    pub(super) fn new(
        dir: &Path,
        recorder: Arc<Recorder>,
        coverage: Arc<Mutex<Coverage>>,
        found: Found,
        screen: mpsc::Sender<Told>,
        behind: Arc<AtomicU64>,
    ) -> io::Result<Teller> {
        let new = |name: &str| {
            let file = File::create_new(dir.join(name))?;
            io::Result::Ok(Lines::new(file, MOST_WAITING, say_lost))
        };
        let files = Files {
            notices: new("notices.jsonl")?,
            faults: new("faults.jsonl")?,
            line: Vec::new(),
        };
        Ok(Teller {
            recorder,
            files: Arc::new(Mutex::new(files)),
            coverage,
            found,
            screen,
            behind,
        })
    }

    /// Tells it, stamped now.
    pub(crate) fn tell(&self, notice: Notice) {
        let time_ns = self.recorder.now_ns();
        if let Some(what) = notice.what_was_found() {
            self.found.note(|| what);
        }
        self.coverage
            .lock()
            .expect("nobody panics while counting")
            .notice(time_ns, &notice);
        self.files
            .lock()
            .expect("nobody panics while writing")
            .append(time_ns, &notice);
        if self
            .screen
            .try_send(Told::Notice { time_ns, notice })
            .is_err()
        {
            self.behind.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes down what became of single messages, and counts it.
    pub(super) fn decided(&self, decisions: &Decisions) {
        if decisions.made.is_empty() && decisions.forgotten == 0 {
            return;
        }
        self.coverage
            .lock()
            .expect("nobody panics while counting")
            .messages(decisions);
        let now_ns = self.recorder.now_ns();
        let mut files = self.files.lock().expect("nobody panics while writing");
        for decision in &decisions.made {
            files.decision(now_ns, decision);
        }
    }

    /// Tells a sentence.
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.tell(Notice::Say { text: text.into() });
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn flush(&self) {
        let mut files = self.files.lock().expect("nobody panics while writing");
        files.notices.flush();
        files.faults.flush();
    }

    /// What of the folder's files is not in them, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        let files = self.files.lock().expect("nobody panics while writing");
        let named = [
            ("notices.jsonl", &files.notices),
            ("faults.jsonl", &files.faults),
        ];
        let troubled = named.into_iter().filter_map(|(name, lines)| {
            let why = lines.trouble()?;
            let (lost, waits) = (lines.lost(), lines.waits());
            Some(format!(
                "{name} lacks {lost} lines and {waits} bytes more: {why}"
            ))
        });
        troubled.collect()
    }
}

/// The line that stands for so many lost ones.
fn say_lost(first_ns: &u64, lost: u64, line: &mut Vec<u8>) {
    let notice = Notice::Say {
        text: format!("{lost} lines that were told here could not be written"),
    };
    let time_ns = *first_ns;
    write_line(
        line,
        &Line {
            time_ns,
            notice: &notice,
        },
    );
}

fn write_line(line: &mut Vec<u8>, of: &impl Serialize) {
    serde_json::to_writer(&mut *line, of).expect("it is plain data");
    line.push(b'\n');
}

/// One message's fate, as a line of `faults.jsonl`.
#[derive(Serialize)]
struct FateLine<'a> {
    time_ns: u64,
    message: &'a str,
    link: String,
    method: &'a str,
    half: &'a str,
    ordinal: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    index: u64,
    late_us: u64,
}

impl Files {
    fn decision(&mut self, now_ns: u64, decision: &Decision) {
        let ago = u64::try_from(decision.at.elapsed().as_nanos()).unwrap_or(now_ns);
        let line = FateLine {
            time_ns: now_ns.saturating_sub(ago),
            message: decision.action.name(),
            link: decision.route.to_string(),
            method: decision.method.name(),
            half: match decision.half {
                Half::Request => "request",
                Half::Response => "response",
            },
            ordinal: decision.ordinal,
            term: decision.summary.term,
            entries: decision.summary.entries,
            index: decision.summary.index,
            late_us: u64::try_from(decision.late.as_micros()).unwrap_or(u64::MAX),
        };
        self.line.clear();
        write_line(&mut self.line, &line);
        self.faults.push(now_ns, &self.line);
    }

    fn append(&mut self, time_ns: u64, notice: &Notice) {
        self.line.clear();
        write_line(&mut self.line, &Line { time_ns, notice });
        self.notices.push(time_ns, &self.line);
        if matches!(
            notice,
            Notice::FaultIn { .. }
                | Notice::FaultOut { .. }
                | Notice::FaultSkipped { .. }
                | Notice::FaultUnresolved { .. }
                | Notice::FaultIndeterminate { .. }
                | Notice::Anchor { .. }
        ) {
            self.faults.push(time_ns, &self.line);
        }
    }
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
    /// A line of the notices is none.
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
    /// The exit code of DESIGN's table: wrong usage where there is no such run, malformed input, or a bench error where
    /// this machine does not let us read it.
    #[must_use]
    pub fn exit(&self) -> u8 {
        use checkers::format::Error::{Io, Malformed};
        match self {
            FolderError::Unreadable { source, .. } if is_missing(source) => 64,
            FolderError::Malformed { .. } | FolderError::History(Malformed { .. }) => 65,
            FolderError::Unreadable { .. } | FolderError::History(Io { .. }) => 70,
        }
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
    /// Everything that the run told, in its order.
    pub told: Vec<Told>,
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

/// Reads back everything that a run told, in its order: its notices and its history's events. A half-written last line
/// is what a killed bench leaves, and is let go. What was compressed meanwhile is unpacked, to its end.
///
/// # Errors
/// Where a file is missing or malformed; it is named with the line and the reason.
pub fn read_folder(dir: &Path) -> Result<ReadBack, FolderError> {
    let (file, path) = open(dir, "notices.jsonl")?;
    let (text, notices_end) = format::text(file, &path.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    let mut told = read_notices(&text).map_err(|(line, reason)| FolderError::Malformed {
        path,
        line,
        reason,
    })?;
    let (file, path) = open(dir, "history.jsonl")?;
    let name = path.display().to_string();
    let loaded = format::read_to_its_end(file, &name, Some(Format::Jsonl), None)?;
    let early = notices_end.into_iter().chain(loaded.early);
    let early = early.map(FolderError::History).collect();
    // The folder may have been moved since.
    for told in &mut told {
        if let Told::Notice {
            notice: Notice::Started { dir: was, .. },
            ..
        } = told
        {
            dir.clone_into(was);
        }
    }
    told.extend(loaded.history.to_events().into_iter().map(Told::Event));
    told.sort_by_key(|told| match told {
        Told::Notice { time_ns, .. } => *time_ns,
        Told::Event(event) => event.time_ns,
    });
    Ok(ReadBack { told, early })
}

/// Reads the lines of `notices.jsonl`; an error is a line's number and what is wrong with it.
fn read_notices(text: &str) -> Result<Vec<Told>, (usize, String)> {
    #[derive(serde::Deserialize)]
    struct Read {
        time_ns: u64,
        #[serde(flatten)]
        notice: Notice,
    }
    let mut told = Vec::new();
    let last = text.lines().count();
    for (number, line) in (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match serde_json::from_str::<Read>(line) {
            Ok(Read { time_ns, notice }) => told.push(Told::Notice { time_ns, notice }),
            Err(_) if number == last && !text.ends_with('\n') => {}
            Err(error) => return Err((number, error.to_string())),
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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

    #[test]
    fn notices_are_read_as_they_were_written_and_a_torn_last_line_is_let_go() {
        let notice = Notice::Say {
            text: "n1 leads term 4".to_owned(),
        };
        let line = serde_json::to_string(&Line {
            time_ns: 5,
            notice: &notice,
        })
        .unwrap();
        let text = format!("{line}\n{line}\n{}", &line[..line.len() / 2]);
        assert_eq!(
            read_notices(&text).unwrap(),
            vec![Told::Notice { time_ns: 5, notice }; 2]
        );
        let error = read_notices(&format!("{line}\nnonsense\n{line}\n")).unwrap_err();
        assert_eq!(error.0, 2, "{error:?}");
    }
}
