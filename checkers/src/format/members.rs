//! The members of a record by what they mean, whatever its writer called them: `process`, `client`, `clientId` and
//! `worker` all say who did it.
//!
//! The first of the names that a record has counts, in the order of the table below; the name that Jepsen uses stands
//! first. Capital letters, `_` and `-` make no difference. Two members of one name that say different things are
//! refused: nobody could tell which is true.

use std::borrow::Cow;

use super::tree::Tree;

/// What a member says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// Who did it.
    Process,
    /// Whether it began or how it ended.
    Type,
    /// What is asked.
    F,
    /// What is written, or what was found.
    Value,
    /// What is written, where what was found has a name of its own.
    Input,
    /// What was found.
    Output,
    Key,
    Time,
    Index,
    Error,
    /// What a cas compares with.
    Old,
    /// What a cas writes.
    New,
    /// When an operation began.
    Begin,
    /// When it ended.
    End,
}

/// The names of each member, the preferred one first.
const NAMES: [(Member, &[&str]); 14] = [
    (
        Member::Process,
        &[
            "process", "client", "clientid", "proc", "thread", "threadid", "worker", "workerid",
            "actor", "session",
        ],
    ),
    (
        Member::Type,
        &[
            "type", "phase", "event", "status", "state", "kind", "outcome",
        ],
    ),
    (
        Member::F,
        &[
            "f",
            "op",
            "operation",
            "func",
            "function",
            "method",
            "action",
            "command",
            "optype",
            "kind",
            "type",
        ],
    ),
    (Member::Value, &["value", "val"]),
    (
        Member::Input,
        &["input", "arg", "args", "argument", "param"],
    ),
    (
        Member::Output,
        &["output", "result", "ret", "returned", "response", "found"],
    ),
    (Member::Key, &["key", "k", "register", "object"]),
    (
        Member::Time,
        &["time", "timens", "tns", "nanos", "timeus", "timems"],
    ),
    (Member::Index, &["index", "idx"]),
    (Member::Error, &["error", "err", "exception", "reason"]),
    (Member::Old, &["old", "expected", "from", "oldvalue"]),
    (Member::New, &["new", "to", "newvalue", "desired"]),
    (
        Member::Begin,
        &[
            "call",
            "callns",
            "callus",
            "callms",
            "start",
            "startns",
            "startus",
            "startms",
            "starttime",
            "begin",
            "beginns",
            "invoke",
            "invoked",
            "invokedns",
            "invokens",
            "invocation",
            "callts",
            "startts",
            "calltime",
        ],
    ),
    (
        Member::End,
        &[
            "return",
            "returnns",
            "returnus",
            "returnms",
            "end",
            "endns",
            "endus",
            "endms",
            "endtime",
            "finish",
            "finished",
            "ret",
            "complete",
            "completed",
            "completedns",
            "completens",
            "response",
            "returnts",
            "endts",
            "returntime",
            "stop",
        ],
    ),
];

/// The name without capital letters, `_`, `-` and spaces.
pub(super) fn plain(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Cow::Borrowed(name);
    }
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    Cow::Owned(letters.flat_map(char::to_lowercase).collect())
}

/// A record's members, to be asked for by what they mean.
pub(super) struct Members<'t> {
    /// By plain name.
    entries: Vec<(Cow<'t, str>, &'t Tree)>,
}

impl<'t> Members<'t> {
    /// The members of a map. What a member `op` or `operation` holds that is a map itself counts, too.
    ///
    /// # Errors
    /// When two members of one name say different things.
    pub(super) fn of(entries: &'t [(Tree, Tree)]) -> Result<Self, String> {
        let mut members = Self {
            entries: Vec::with_capacity(entries.len()),
        };
        members.add(entries)?;
        Ok(members)
    }

    fn add(&mut self, entries: &'t [(Tree, Tree)]) -> Result<(), String> {
        for (key, value) in entries {
            let Some(name) = key.word() else {
                continue;
            };
            let name = plain(name);
            if let (Tree::Map(inner), "op" | "operation") = (value, &*name) {
                self.add(inner)?;
                continue;
            }
            match self.entries.iter().find(|entry| entry.0 == name) {
                Some((_, same)) if *same == value => {}
                Some((_, other)) => {
                    let (one, other) = (other.text(), value.text());
                    return Err(format!(
                        "the member {name} stands twice, as {one} and as {other}"
                    ));
                }
                None => self.entries.push((name, value)),
            }
        }
        Ok(())
    }

    /// What was said, under each name that there is for it, the preferred one first.
    pub(super) fn all(&self, member: Member) -> impl Iterator<Item = &'t Tree> {
        let names = NAMES.iter().find(|(of, _)| *of == member);
        let names = names.map_or(&[][..], |(_, names)| names);
        names.iter().filter_map(|name| self.named(name))
    }

    /// The name under which something was said, and what.
    pub(super) fn which(&self, member: Member) -> Option<(&str, &'t Tree)> {
        let names = NAMES.iter().find(|(of, _)| *of == member)?.1;
        names.iter().find_map(|name| {
            let entry = self.entries.iter().find(|entry| entry.0 == *name)?;
            Some((&*entry.0, entry.1))
        })
    }

    /// What was said, nil included.
    pub(super) fn get(&self, member: Member) -> Option<&'t Tree> {
        self.all(member).next()
    }

    /// What stands under a plain name.
    pub(super) fn named(&self, name: &str) -> Option<&'t Tree> {
        let entry = self.entries.iter().find(|entry| entry.0 == name)?;
        Some(entry.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tree::{Reader, Syntax};

    fn with(text: &str, check: impl FnOnce(Result<Members<'_>, String>)) {
        let tree = Reader::new(text.as_bytes(), Syntax::Json).next(false);
        let Ok(Some(Tree::Map(entries))) = tree else {
            panic!("{text}");
        };
        check(Members::of(&entries));
    }

    #[test]
    fn a_member_is_found_under_whatever_name_it_has() {
        for text in [
            r#"{"process": 3}"#,
            r#"{"Process": 3}"#,
            r#"{"client_id": 3}"#,
            r#"{"clientId": 3, "worker": 9}"#,
            r#"{"worker-id": 3}"#,
            r#"{"op": {"process": 3}}"#,
        ] {
            with(text, |members| {
                let members = members.expect(text);
                assert_eq!(members.get(Member::Process), Some(&Tree::Int(3)), "{text}");
                assert_eq!(members.get(Member::Key), None, "{text}");
            });
        }
    }

    #[test]
    fn a_member_that_says_two_things_is_refused() {
        with(r#"{"value": 1, "value": 2}"#, |members| {
            let error = members.err().expect("two values");
            assert_eq!(error, "the member value stands twice, as 1 and as 2");
        });
        with(r#"{"Value": 1, "value": 1}"#, |members| {
            assert!(members.is_ok());
        });
    }
}
