//! *Certificate*: the log ids that nodes answered with are a second opinion on the history. Where it and the verdict
//! cannot both be right, a node has said something that is not so (or a checker of ours is wrong).

use std::fmt;

use checkers::linear::certificate::{Certificate, Contradiction};
use checkers::verdict::Verdict;
use serde::{Deserialize, Serialize};

use super::{Evidence, Finding};

/// Why certificate and verdict cannot both be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// In a sentence.
    pub why: String,
    /// The rule that the log ids break, and the operations that show it; `None` where they break none, and the verdict is
    /// a violation all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradiction: Option<Contradiction>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Where certificate and verdict cannot both be right.
#[must_use]
pub fn disagreement(certificate: &Certificate, verdict: &Verdict) -> Option<Finding> {
    let why = certificate.disagreement(verdict)?;
    let contradiction = match certificate {
        Certificate::Contradiction(found) => Some(found.clone()),
        Certificate::Holds { .. } | Certificate::Silent { .. } => None,
    };
    let disagreement = Disagreement { why, contradiction };
    Some(Evidence::Certificate(disagreement).into())
}
