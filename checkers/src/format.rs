//! One file per format: text to [`History`](crate::history::History) and back.
//!
//! Readers take any [`BufRead`](std::io::BufRead) and the name that their messages shall use; opening files is the
//! caller's business. A reader never panics, whatever it is fed.

pub mod jsonl;

use crate::history::History;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that can't be understood, or that can't follow the lines before it.
    #[error("{name}:{line}: {reason}")]
    Malformed {
        /// The file, as the caller called it.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, in words.
        reason: String,
    },
    /// The bytes could not be read.
    #[error("{name}: {source}")]
    Io {
        /// The file, as the caller called it.
        name: String,
        /// What the reader said.
        source: std::io::Error,
    },
}

/// A history that was read, and what its reader has to say about it.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The history.
    pub history: History,
    /// What was tolerated or assumed, as sentences: shown beside the verdict.
    pub notes: Vec<String>,
}
