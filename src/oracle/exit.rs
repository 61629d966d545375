//! *Exit*: a node that was ready does not end by itself, and one that is started again on the disk that it has left comes
//! back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Evidence, Finding};
use crate::cluster::ExitByItself;
use crate::fault::NodeId;
use crate::last_words::last_words;

/// So many of the last lines of its log are told.
const LINES: usize = 3;

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "when", rename_all = "kebab-case")]
pub enum Ended {
    /// By itself, after it had been ready.
    ByItself {
        /// Which node.
        node: NodeId,
        /// Its exit status, in the system's words.
        status: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// When it was started on the disk that it had left.
    NotBack {
        /// Which node.
        node: NodeId,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::ByItself { node, status, log } => {
                write!(f, "n{node} ended by itself ({status}): {}", log.join(" | "))
            }
            Ended::NotBack { node, why } => write!(f, "n{node} did not come back: {why}"),
        }
    }
}

/// A child that ended though nobody ended it.
#[must_use]
pub fn by_itself(exit: &ExitByItself) -> Finding {
    let last = last_words(&exit.log, LINES).into_iter();
    let ended = Ended::ByItself {
        node: exit.id,
        status: exit.status.to_string(),
        log: last.map(str::to_owned).collect(),
    };
    Evidence::Exit(ended).into()
}

/// A node that ended when it was started on the disk that it had left.
#[must_use]
pub fn not_back(node: NodeId, why: String) -> Finding {
    Evidence::Exit(Ended::NotBack { node, why }).into()
}
