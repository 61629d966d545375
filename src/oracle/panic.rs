//! *Panic*: what a node's log says of one. A node that lives on after it has lost a task says so nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Evidence;
use crate::fault::NodeId;

/// A panic, by the lines of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panicked {
    /// Which node.
    pub node: NodeId,
    /// The thread, and where.
    pub place: String,
    /// The panic's own words.
    pub why: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Panicked { node, place, why } = self;
        write!(f, "n{node}: {place} {why}")
    }
}

/// The first panic of a log.
#[must_use]
pub fn in_log(node: NodeId, text: &str) -> Option<Evidence> {
    let mut lines = text
        .lines()
        .skip_while(|line| !(line.contains("panicked at") && line.contains("thread '")));
    let place = lines.next()?.trim().to_owned();
    let why = lines.next().unwrap_or("").trim().to_owned();
    Some(Evidence::Panic(Panicked { node, place, why }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_log_is_found_and_the_word_alone_is_not() {
        assert_eq!(in_log(1, "INFO nobody panicked at all\n"), None);
        let log = "INFO up\nthread 'raft' panicked at src/x.rs:1:2:\nlog hole\n";
        let found = in_log(2, log).unwrap();
        assert_eq!(
            found.to_string(),
            "n2: thread 'raft' panicked at src/x.rs:1:2: log hole"
        );
    }
}
