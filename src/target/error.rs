//! What can go wrong in asking a node.

/// Why a node did not answer what it was asked. Each is the bench's error, not a verdict on the node.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It did not answer, or answered with an error.
    #[error("ask n{id} for {what}: {seen}")]
    Ask {
        /// Which node; 0: there was nobody to be asked.
        id: u64,
        /// What was asked.
        what: &'static str,
        /// What came back.
        seen: String,
    },
    /// The system has nobody who could be asked for that.
    #[error("ask {target} for {what}: it does not offer that")]
    NotOffered {
        /// The system's name.
        target: String,
        /// What was asked.
        what: &'static str,
    },
}

impl TargetError {
    /// Whether nobody was there to be asked: then nothing can come of it later, either.
    #[must_use]
    pub fn is_unasked(&self) -> bool {
        match self {
            TargetError::Ask { id, .. } => *id == 0,
            TargetError::NotOffered { .. } => true,
        }
    }
}
