//! The oracles other than the history's: each proves something against the system under test, or is silent.
//!
//! ```text
//!   while the run goes on      state_hash (two states at one log id), exit
//!   when everything is healed  convergence, service, state_hash
//!   when no child is left      what a node has left behind: trace, and its log
//!   when the verdict is made   certificate
//! ```
//!
//! A property is a file: what it looks at, when it accuses, and its evidence, with the sentence that a person reads. This
//! file has their names, and what of a machine may explain what they see ([`Explained`]). Whether what was seen
//! accuses anybody is decided in one place, [`blame`]. An oracle finds, and never acts.

pub mod assertion;
pub mod blame;
pub mod certificate;
pub mod convergence;
pub mod exit;
pub mod panic;
pub mod service;
pub mod state_hash;
pub mod trace;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::NodeId;

/// The names of the oracles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// A healed cluster agrees on one leader, and applies one log.
    Convergence,
    /// It answers.
    Service,
    /// States at one applied log id are equal.
    StateHash,
    /// No node panics.
    Panic,
    /// No assertion of a node breaks, and no sanitizer and no runtime reports one.
    Assertion,
    /// No node that was ready ends by itself, and each comes back on the disk that it has left.
    Exit,
    /// What the nodes' storages did is a behaviour of the model's rules.
    Trace,
    /// The log ids of the answers agree with the verdict.
    Certificate,
}

/// What was not given by the machine and may be why an oracle speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explained {
    /// Anything that is missing, a bench that stood still, nodes that had no processor: whoever was not heard may have
    /// spoken.
    ByAnything,
    /// Space, memory, and descriptors and threads of the whole host; of its own a node says itself what it lacked.
    ByTheHost,
    /// A disk without space: a line of what is read may be missing.
    ByTheDisk,
    /// Nothing: it holds on the poorest machine, too.
    ByNothing,
}

impl Oracle {
    /// All of them.
    pub const ALL: &'static [Oracle] = &[
        Oracle::Convergence,
        Oracle::Service,
        Oracle::StateHash,
        Oracle::Panic,
        Oracle::Assertion,
        Oracle::Exit,
        Oracle::Trace,
        Oracle::Certificate,
    ];

    /// As in JSON, in a journal and on the screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Oracle::Convergence => "convergence",
            Oracle::Service => "service",
            Oracle::StateHash => "state-hash",
            Oracle::Panic => "panic",
            Oracle::Assertion => "assertion",
            Oracle::Exit => "exit",
            Oracle::Trace => "trace",
            Oracle::Certificate => "certificate",
        }
    }

    /// What of the machine explains what it sees.
    #[must_use]
    pub fn explained(self) -> Explained {
        match self {
            Oracle::Convergence | Oracle::Service => Explained::ByAnything,
            Oracle::Exit | Oracle::Panic | Oracle::Assertion => Explained::ByTheHost,
            Oracle::Trace => Explained::ByTheDisk,
            // Two states at one log id are equal, and a log id says the same, on the poorest machine, too.
            Oracle::StateHash | Oracle::Certificate => Explained::ByNothing,
        }
    }

    /// Whether it waits for something good to happen. It accuses nobody while something is not healed.
    #[must_use]
    pub fn is_of_liveness(self) -> bool {
        matches!(self, Oracle::Convergence | Oracle::Service)
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an oracle saw, as data. Its `Display` is the sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "oracle", content = "facts", rename_all = "kebab-case")]
pub enum Evidence {
    /// See [`convergence`].
    Convergence(convergence::Apart),
    /// See [`service`].
    Service(service::Silent),
    /// See [`state_hash`].
    StateHash(state_hash::Differ),
    /// See [`panic`].
    Panic(panic::Panicked),
    /// See [`assertion`].
    Assertion(assertion::Broken),
    /// See [`exit`].
    Exit(exit::Ended),
    /// See [`trace`].
    Trace(trace::Unexplained),
    /// See [`certificate`].
    Certificate(certificate::Disagreement),
}

impl Evidence {
    /// Whose it is.
    #[must_use]
    pub fn oracle(&self) -> Oracle {
        match self {
            Evidence::Convergence(_) => Oracle::Convergence,
            Evidence::Service(_) => Oracle::Service,
            Evidence::StateHash(_) => Oracle::StateHash,
            Evidence::Panic(_) => Oracle::Panic,
            Evidence::Assertion(_) => Oracle::Assertion,
            Evidence::Exit(_) => Oracle::Exit,
            Evidence::Trace(_) => Oracle::Trace,
            Evidence::Certificate(_) => Oracle::Certificate,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Convergence(seen) => seen.fmt(f),
            Evidence::Service(seen) => seen.fmt(f),
            Evidence::StateHash(seen) => seen.fmt(f),
            Evidence::Panic(seen) => seen.fmt(f),
            Evidence::Assertion(seen) => seen.fmt(f),
            Evidence::Exit(seen) => seen.fmt(f),
            Evidence::Trace(seen) => seen.fmt(f),
            Evidence::Certificate(seen) => seen.fmt(f),
        }
    }
}

/// What an oracle other than the history's proves against the system under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it saw.
    pub evidence: Evidence,
}

impl Finding {
    /// Which oracle's.
    #[must_use]
    pub fn oracle(&self) -> Oracle {
        self.evidence.oracle()
    }

    /// Whether the other one says the same again. That states of nodes differ is one finding, however often and between
    /// whomever it is seen.
    #[must_use]
    pub fn is_same(&self, other: &Finding) -> bool {
        match (&self.evidence, &other.evidence) {
            (Evidence::StateHash(_), Evidence::StateHash(_)) => true,
            (one, other) => one == other,
        }
    }
}

impl From<Evidence> for Finding {
    fn from(evidence: Evidence) -> Finding {
        Finding { evidence }
    }
}

/// `{"oracle", "evidence": the sentence, "facts": what it is made of}`.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            evidence: String,
            #[serde(flatten)]
            seen: &'a Evidence,
        }
        let written = Written {
            evidence: self.evidence.to_string(),
            seen: &self.evidence,
        };
        written.serialize(serializer)
    }
}

/// The sentence follows from the facts, and is not read.
impl<'de> Deserialize<'de> for Finding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Finding, D::Error> {
        Evidence::deserialize(deserializer).map(Finding::from)
    }
}

/// What a node's log proves, by oracles that look for nothing else.
const IN_LOGS: &[fn(NodeId, &str) -> Option<Evidence>] = &[panic::in_log, assertion::in_log];

/// What these nodes have left in their logs, of a run in this folder whose children have all ended.
#[must_use]
pub fn in_logs(dir: &Path, nodes: &[NodeId]) -> Vec<Finding> {
    let mut found = Vec::new();
    for &node in nodes {
        let log = dir.join("nodes").join(node.to_string()).join("log");
        // A node that never began has none.
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        found.extend(IN_LOGS.iter().filter_map(|look| look(node, &text)));
    }
    found.into_iter().map(Finding::from).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A finding of each oracle, with some evidence.
    pub(crate) fn some(oracle: Oracle) -> Finding {
        let text = || "what it saw".to_owned();
        let evidence = match oracle {
            Oracle::Convergence => Evidence::Convergence(convergence::tests::nobody_answers()),
            Oracle::Service => Evidence::Service(service::Silent::Read {
                key: "k1".to_owned(),
                within_s: 20,
            }),
            Oracle::StateHash => Evidence::StateHash(state_hash::tests::differ(7)),
            Oracle::Panic => panicked(1, "a hole in the log"),
            Oracle::Assertion => Evidence::Assertion(assertion::Broken {
                node: 1,
                of: assertion::Of::Assertion,
                line: text(),
            }),
            Oracle::Exit => Evidence::Exit(exit::Ended::NotBack {
                node: 1,
                why: text(),
            }),
            Oracle::Trace => Evidence::Trace(trace::tests::unexplained()),
            Oracle::Certificate => Evidence::Certificate(certificate::Disagreement {
                why: text(),
                contradiction: None,
            }),
        };
        evidence.into()
    }

    pub(crate) fn panicked(node: NodeId, why: &str) -> Evidence {
        Evidence::Panic(panic::Panicked {
            node,
            place: "thread 'main' panicked at x:".to_owned(),
            why: why.to_owned(),
        })
    }

    #[test]
    fn a_finding_is_read_back_with_its_facts_and_says_the_same() {
        for &oracle in Oracle::ALL {
            let finding = some(oracle);
            assert_eq!(finding.oracle(), oracle);
            let written = serde_json::to_value(&finding).unwrap();
            assert_eq!(written["oracle"], oracle.name());
            assert_eq!(written["evidence"], finding.evidence.to_string());
            assert!(written["facts"].is_object(), "{written}");
            let read: Finding = serde_json::from_value(written).unwrap();
            assert_eq!(read, finding);
        }
    }

    #[test]
    fn what_nodes_leave_in_their_logs_is_found_of_each_and_a_clean_log_accuses_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let log = |node: NodeId, text: &str| {
            let place = dir.path().join("nodes").join(node.to_string());
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("log"), text).unwrap();
        };
        log(1, "INFO it is up\nINFO it leads\n");
        log(2, "raft.c:7: f: Assertion `index > 0' failed.\n");
        log(3, "thread 'raft' panicked at x.rs:1:2:\na hole\n");
        let found = in_logs(dir.path(), &[1, 2, 3, 4]);
        let oracles: Vec<Oracle> = found.iter().map(Finding::oracle).collect();
        assert_eq!(oracles, [Oracle::Assertion, Oracle::Panic]);
        assert!(in_logs(dir.path(), &[1, 4]).is_empty());
    }
}
