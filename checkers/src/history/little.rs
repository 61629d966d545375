//! What a history shows too little of for its verdict to mean much.

use super::{End, History, KeyHistory, Kind, Op};

/// What a history may lack, so that its verdict means little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Little {
    /// It has no operation.
    NoOperation,
    /// Of so many operations none succeeded or found anything.
    NoSuccess(usize),
    /// No answer depends on anything that was written.
    NoReadAfterWrite,
    /// No two operations on one key are concurrent.
    NoOverlap,
}

impl std::fmt::Display for Little {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoOperation => f.write_str("no operation is in it: it proves nothing"),
            Self::NoSuccess(many) => write!(
                f,
                "none of its {many} operations succeeded or found anything: nothing succeeded, so it proves nothing"
            ),
            Self::NoReadAfterWrite => f.write_str(
                "no read found a key that anything had been written to: what was written was never looked at",
            ),
            Self::NoOverlap => f.write_str(
                "no two operations on one key overlap: it shows nothing of what happens at once",
            ),
        }
    }
}

impl History {
    /// Why a history that holds shows little or nothing; empty where it shows something.
    #[must_use]
    pub fn shows_little(&self) -> Vec<Little> {
        if self.is_empty() {
            return vec![Little::NoOperation];
        }
        let ops = || self.keys.iter().flat_map(|key| &key.ops);
        if !ops().any(|op| op.end == End::Ok) {
            return vec![Little::NoSuccess(self.len())];
        }
        let mut little = Vec::new();
        if !self.keys.iter().any(reads_after_a_write) {
            little.push(Little::NoReadAfterWrite);
        }
        if !self.keys.iter().any(overlaps) {
            little.push(Little::NoOverlap);
        }
        little
    }
}

/// Whether an answer depends on what was written before or at the same time.
fn reads_after_a_write(key: &KeyHistory) -> bool {
    let writes = key
        .ops
        .iter()
        .filter(|op| op.kind != Kind::Read && op.end != End::Failed);
    let Some(first) = writes.map(|op| op.call).min() else {
        return false;
    };
    let looks = |op: &&Op| matches!(op.kind, Kind::Read | Kind::Cas) && op.end == End::Ok;
    key.ops
        .iter()
        .filter(looks)
        .any(|op| op.ret > first && op.call != first)
}

/// Whether any two operations on a key are concurrent.
fn overlaps(key: &KeyHistory) -> bool {
    let mut open_until = 0;
    let mut overlaps = false;
    for op in key.ops.iter().filter(|op| op.end != End::Failed) {
        overlaps |= op.call < open_until;
        open_until = open_until.max(op.ret);
    }
    overlaps
}

#[cfg(test)]
mod tests {
    use crate::format;

    fn check(text: &str, expected: &[&str]) {
        let loaded = format::read(text.as_bytes(), "h", None, None).expect("a history");
        let said = loaded.history.shows_little();
        assert_eq!(said.len(), expected.len(), "{text}: {said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.to_string().contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn a_history_that_shows_little_is_said_to() {
        check("[]", &["no operation"]);
        check(
            "{:process :nemesis, :type :info, :f :cut}",
            &["no operation"],
        );
        check(
            "0 :invoke :write 4\n0 :fail :write 4\n1 :invoke :read nil\n1 :info :read nil\n",
            &["nothing succeeded"],
        );
        check(
            "0 :invoke :write 4\n0 :info :write 4\n",
            &["nothing succeeded"],
        );
        check(
            "0 :invoke :write 4\n1 :invoke :write 5\n0 :ok :write 4\n1 :ok :write 5\n",
            &["never looked at"],
        );
        check(
            "0 :invoke :write 4\n0 :ok :write 4\n1 :invoke :read nil\n1 :ok :read 4\n",
            &["overlap"],
        );
        check(
            "0 :invoke :write 4\n1 :invoke :read nil\n0 :ok :write 4\n1 :ok :read 4\n",
            &[],
        );
        check(
            "0 :invoke :write 4\n0 :info :write 4\n1 :invoke :read nil\n1 :ok :read 4\n",
            &[],
        );
    }
}
