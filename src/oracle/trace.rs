//! *Trace*: what every node's storage did must be a behaviour of the model's rules.
//!
//! The traces are read after the children have ended, so that each is complete up to what the node did last. A trace
//! that the rules do not explain is a finding; a file that cannot be read or is malformed is our own failure.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use model::conform::{Conformance, Rejected, conform};
use model::trace;
use serde::{Deserialize, Serialize};

use super::{Evidence, Finding};
use crate::fault::NodeId;

/// What no behaviour of the rules explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unexplained {
    /// What is to blame for it.
    pub root: Step,
    /// The node's last events before it, oldest first.
    pub before: Vec<String>,
    /// Other roots, independent of this one or in a circle with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Step>,
}

/// An event without an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose.
    pub node: NodeId,
    /// The event, as its line, or in words where it left none.
    pub event: String,
    /// The missing fact, in words.
    pub missing: String,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step {
            node,
            event,
            missing,
        } = &self.root;
        let before = self.before.join(" | ");
        write!(
            f,
            "n{node} did what no behaviour of the rules explains: {event}; {missing}; before it: {before}"
        )?;
        self.also.iter().try_for_each(|other| {
            write!(
                f,
                "; nor what n{} did: {}; {}",
                other.node, other.event, other.missing
            )
        })
    }
}

/// What the traces prove.
pub enum Replayed {
    /// Every event is explained.
    Explained {
        /// How many there were.
        events: u64,
        /// How long the rules took for all of them.
        took: Duration,
    },
    /// One is not.
    Found(Finding),
    /// They could not be read.
    Failed(String),
}

/// Replays the traces of these nodes against the rules.
#[must_use]
pub fn replay(dir: &Path, nodes: &[NodeId]) -> Replayed {
    let mut files = Vec::new();
    for node in nodes {
        let path = dir.join("trace").join(format!("{node}.jsonl"));
        let lines = match fs::read_to_string(&path) {
            Ok(text) => trace::read(&text).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match lines {
            Ok(lines) => files.push(lines),
            Err(why) => return Replayed::Failed(format!("the trace {}: {why}", path.display())),
        }
    }
    let begun = Instant::now();
    match conform(files, None) {
        Conformance::Accepted(accepted) => Replayed::Explained {
            events: accepted.events,
            took: begun.elapsed(),
        },
        Conformance::Rejected(rejected) => {
            Replayed::Found(Evidence::Trace(unexplained(rejected)).into())
        }
    }
}

fn unexplained(rejected: Rejected) -> Unexplained {
    let others = rejected.also.into_iter();
    Unexplained {
        root: Step {
            node: rejected.node,
            event: rejected.event,
            missing: rejected.missing,
        },
        before: rejected.before,
        also: others
            .map(|other| Step {
                node: other.node,
                event: other.event,
                missing: other.missing,
            })
            .collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn step(node: NodeId) -> Step {
        Step {
            node,
            event: "an event".to_owned(),
            missing: "nobody sent it".to_owned(),
        }
    }

    pub(crate) fn unexplained() -> Unexplained {
        Unexplained {
            root: step(1),
            before: vec!["one".to_owned(), "two".to_owned()],
            also: vec![step(2)],
        }
    }

    #[test]
    fn the_root_is_told_first_with_what_came_before_it_and_then_the_others() {
        assert_eq!(
            unexplained().to_string(),
            "n1 did what no behaviour of the rules explains: an event; nobody sent it; before it: one | two; \
             nor what n2 did: an event; nobody sent it"
        );
    }
}
