//! `campaign.jsonl`: what a campaign was asked for and what came of each run, one object a line, only ever appended.
//!
//! ```text
//! {"campaign":{"form":1,"version":"0.1.0","asked":{"scenarios":["rapids"],"seed":7141,"runs":40,...}}}
//! {"begun":{"jobs":2,"how":"calibrated",...}}             each time that it begins or goes on
//! {"run":{"run":0,"seed":7141,"class":"held",...}}        each run that is over: see `Line`
//! ```
//!
//! The table is a fold over these lines, so whoever has the file has the campaign. It is on disk before a run's folder
//! is touched. A half last line is what a killed hunt leaves: it is let go when the file is read, and cut off before
//! anything is appended, or the next line would be lost with it. A lock on the file keeps a second hunt out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::jobs::Jobs;
use super::line::Line;

/// The file's name in a campaign's folder.
pub const NAME: &str = "campaign.jsonl";
/// The version of its form.
const FORM: u32 = 1;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Campaign(Head),
    Begun(Jobs),
    Run(Box<Line>),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    form: u32,
    version: String,
    asked: Asked,
}

/// Why a campaign's file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A folder that holds something else.
    #[error("{path} holds no campaign, and is not empty: name another folder")]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("another hunt works in {path}")]
    Busy {
        /// Which folder.
        path: PathBuf,
    },
    /// It was begun with something else.
    #[error("{path} holds another campaign; {}", differences.join("; "))]
    Differs {
        /// Which folder.
        path: PathBuf,
        /// What differs, a sentence each.
        differences: Vec<String>,
    },
    /// It was begun by another version, or is no such file.
    #[error("{path}:{line}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read or written.
    #[error("could not use {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A campaign's file, open and locked.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// The runs that are over.
    lines: Vec<Line>,
    /// How it was worked on the last time.
    jobs: Option<Jobs>,
}

/// What stands in a campaign's file.
#[derive(Debug, Default)]
struct Content {
    head: Option<Head>,
    jobs: Option<Jobs>,
    lines: Vec<Line>,
    /// Bytes up to the end of the last whole line.
    whole: u64,
}

impl Ledger {
    /// Begins a campaign in `dir`, or goes on with the one that is there. What is asked for must be the same, but for
    /// a seed that was drawn: that is taken over.
    ///
    /// # Errors
    /// Where the folder holds something else, is in use, or cannot be read or written.
    pub fn open(dir: &Path, asked: &mut Asked, drawn: Seed) -> Result<Ledger, LedgerError> {
        let path = dir.join(NAME);
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |source| LedgerError::Io { path, source }
        };
        fs::create_dir_all(dir).map_err(wrong(dir))?;
        let mut entries = fs::read_dir(dir).map_err(wrong(dir))?;
        if !path.exists() && entries.next().is_some() {
            let path = dir.to_owned();
            return Err(LedgerError::Foreign { path });
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(wrong(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = dir.to_owned();
                return Err(LedgerError::Busy { path });
            }
            Err(TryLockError::Error(source)) => return Err(LedgerError::Io { path, source }),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(wrong(&path))?;
        let content = read(&text).map_err(|(line, reason)| LedgerError::Malformed {
            path: path.clone(),
            line,
            reason,
        })?;
        file.set_len(content.whole).map_err(wrong(&path))?;
        file.seek(SeekFrom::End(0)).map_err(wrong(&path))?;
        let mut ledger = Ledger {
            path,
            file,
            lines: content.lines,
            jobs: content.jobs,
        };
        match content.head {
            Some(head) => {
                if drawn == Seed::Drawn {
                    asked.seed = head.asked.seed;
                }
                let differences = asked.differences(&head.asked);
                if !differences.is_empty() {
                    let path = dir.to_owned();
                    return Err(LedgerError::Differs { path, differences });
                }
            }
            None => ledger.append(&Entry::Campaign(Head {
                form: FORM,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                asked: asked.clone(),
            }))?,
        }
        Ok(ledger)
    }

    /// The runs that are over, in the order in which they ended.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// How it was worked on the last time.
    #[must_use]
    pub fn jobs(&self) -> Option<&Jobs> {
        self.jobs.as_ref()
    }

    /// It is worked on from now on.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn begin(&mut self, jobs: &Jobs) -> Result<(), LedgerError> {
        self.jobs = Some(jobs.clone());
        self.append(&Entry::Begun(jobs.clone()))
    }

    /// A run is over: it counts, also where it cannot be written down.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, line: Line) -> Result<(), LedgerError> {
        self.lines.push(line.clone());
        self.append(&Entry::Run(Box::new(line)))
    }

    fn append(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let mut line = serde_json::to_vec(entry).expect("an entry is plain data");
        line.push(b'\n');
        let written = self.file.write_all(&line);
        let written = written.and_then(|()| self.file.sync_data());
        written.map_err(|source| LedgerError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

/// Where a seed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// Somebody gave it.
    Given,
    /// It was drawn, for want of one.
    Drawn,
}

/// Reads the file; an error is a line's number and what is wrong with it.
fn read(text: &[u8]) -> Result<Content, (usize, String)> {
    let mut content = Content::default();
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        if !line.ends_with(b"\n") {
            break;
        }
        content.whole += line.len() as u64;
        let entry = serde_json::from_slice(line).map_err(|error| (number, error.to_string()))?;
        match entry {
            Entry::Campaign(head) => {
                let version = env!("CARGO_PKG_VERSION");
                if head.form != FORM || head.version != version {
                    let Head { form, version, .. } = head;
                    return Err((
                        number,
                        format!(
                            "it was begun by version {version} (form {form}), and this is another"
                        ),
                    ));
                }
                content.head = Some(head);
            }
            _ if content.head.is_none() => {
                return Err((
                    number,
                    "a campaign begins with what was asked for".to_owned(),
                ));
            }
            Entry::Begun(jobs) => content.jobs = Some(jobs),
            Entry::Run(line) => content.lines.push(*line),
        }
    }
    Ok(content)
}
