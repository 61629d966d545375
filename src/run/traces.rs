//! The consensus oracle: what every node's storage did must be a behaviour of the model's rules.
//!
//! The traces are read after the children have ended, so that each is complete up to what the node did last. A trace
//! that the rules do not explain is a finding; a file that cannot be read or is malformed is our own failure.

use std::fs;
use std::path::Path;
use std::time::Instant;

use checkers::model::conform::{Conformance, conform};
use checkers::model::trace;

use super::after::finding;
use super::notice::Finding;
use crate::fault::NodeId;

/// What the traces prove.
pub(super) enum Said {
    /// Every event is explained: how many there were, and how long the rules took for one, in microseconds.
    Explained(u64, f64),
    /// One is not.
    Found(Finding),
    /// They could not be read.
    Failed(String),
}

/// Replays the traces of these nodes against the rules.
pub(super) fn replay(dir: &Path, nodes: &[NodeId]) -> Said {
    let mut files = Vec::new();
    for node in nodes {
        let path = dir.join("trace").join(format!("{node}.jsonl"));
        let lines = match fs::read_to_string(&path) {
            Ok(text) => trace::read(&text).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match lines {
            Ok(lines) => files.push(lines),
            Err(why) => return Said::Failed(format!("the trace {}: {why}", path.display())),
        }
    }
    let begun = Instant::now();
    match conform(files, None) {
        Conformance::Accepted(accepted) => {
            let us = begun.elapsed().as_secs_f64() * 1e6 / (accepted.events.max(1) as f64);
            Said::Explained(accepted.events, us)
        }
        Conformance::Rejected(rejected) => {
            let before = rejected.before.join(" | ");
            let mut evidence = format!(
                "n{} did what no behaviour of the rules explains: {}; {}; before it: {before}",
                rejected.node, rejected.event, rejected.missing
            );
            for other in &rejected.also {
                evidence += &format!(
                    "; nor what n{} did: {}; {}",
                    other.node, other.event, other.missing
                );
            }
            Said::Found(finding("trace", evidence))
        }
    }
}
