//! What is odd in a history without making it malformed: said by name, beside the verdict.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{End, History, KeyHistory, Kind, Mark, NEVER, Op, Start, Value};

/// An oddity: usually a bug of whoever wrote the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "lint", rename_all = "kebab-case")]
pub enum Lint {
    /// A client acted again after an outcome that nobody knows: its id must not be used again, since the old
    /// operation may still be under way.
    ClientAfterUnknown {
        /// The client.
        client: u64,
        /// The event index of the invocation.
        event: u64,
    },
    /// A completion came for an operation that was already unknown. It is ignored: unknown is the weaker claim.
    LateCompletion {
        /// The client.
        client: u64,
        /// The event index of the completion.
        event: u64,
    },
    /// An operation was completed a second time, with the same outcome. It is ignored.
    CompletedTwice {
        /// The client.
        client: u64,
        /// The event index of the operation's invocation.
        operation: u64,
        /// The event index of the second completion.
        event: u64,
    },
    /// A read of a list was completed both with nil, which is the empty list, and as failed. It is left out.
    ReadInDoubt {
        /// The client.
        client: u64,
        /// The event index of the operation's invocation.
        operation: u64,
    },
    /// Events that happened could not be written. What is judged is what is there: see [`Gap`](super::Gap).
    EventsLost {
        /// The event index of the first of them.
        event: u64,
        /// How many.
        lost: u64,
    },
    /// A value that only failed writes wrote was read: a client probably took a timeout for a failure.
    FailedWriteWasRead {
        /// The failed operation.
        write: u64,
        /// The read that found its value.
        read: u64,
        /// The key.
        key: String,
    },
    /// A fault was put in and never taken out.
    FaultNeverTakenOut {
        /// The event index of the mark.
        event: u64,
        /// What the mark says.
        text: String,
    },
    /// Reads that found nothing were taken as saying nothing (Knossos' rule), not as "absent".
    NilReadsIgnored {
        /// How many.
        reads: u64,
    },
}

impl std::fmt::Display for Lint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientAfterUnknown { client, event } => write!(
                f,
                "client {client} acts again at #{event} after an unknown outcome: its id should not be used again"
            ),
            Self::LateCompletion { client, event } => write!(
                f,
                "client {client} completes at #{event} an operation that was already unknown: ignored"
            ),
            Self::CompletedTwice {
                client,
                operation,
                event,
            } => write!(
                f,
                "client {client} completes #{operation} a second time at #{event}: ignored"
            ),
            Self::ReadInDoubt { client, operation } => write!(
                f,
                "client {client} completes its read #{operation} both with nil, the empty list, and as failed: it is left out"
            ),
            Self::EventsLost { event, lost } => write!(
                f,
                "{lost} events are lost from #{event} on: before them all is judged, and behind them each key from any value on"
            ),
            Self::FailedWriteWasRead { write, read, key } => write!(
                f,
                "#{read} read from {key} what only the failed write #{write} wrote: a client probably took a timeout for a failure"
            ),
            Self::FaultNeverTakenOut { event, text } => {
                write!(
                    f,
                    "the fault put in at #{event} was never taken out: {text}"
                )
            }
            Self::NilReadsIgnored { reads } => write!(
                f,
                "{reads} ok reads of nil were ignored (Knossos' rule); --nil absent checks them"
            ),
        }
    }
}

impl History {
    /// What is odd: what its builder noticed, and what only the whole shows.
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        let mut lints = self.lints.clone();
        for key in &self.keys {
            lints.extend(self.failed_writes_that_were_read(key));
        }
        lints.extend(self.faults_never_taken_out());
        lints.extend(self.gaps.iter().map(|gap| Lint::EventsLost {
            event: gap.index,
            lost: gap.lost,
        }));
        lints
    }

    /// Marks `in #N fault` without their `out #N fault`, as the nemesis writes them.
    fn faults_never_taken_out(&self) -> Vec<Lint> {
        let mut open: BTreeMap<&str, &Mark> = BTreeMap::new();
        for mark in &self.marks {
            let mut words = mark.text.splitn(3, ' ');
            match (words.next(), words.next()) {
                (Some("in"), Some(number)) if number.starts_with('#') => {
                    open.insert(number, mark);
                }
                (Some("out"), Some(number)) => {
                    open.remove(number);
                }
                _ => {}
            }
        }
        let mut left: Vec<&Mark> = open.into_values().collect();
        left.sort_by_key(|mark| mark.index);
        left.into_iter()
            .map(|mark| Lint::FaultNeverTakenOut {
                event: mark.index,
                text: mark.text.clone(),
            })
            .collect()
    }

    /// What an operation adds to its key or reads from it: one value, or the elements of a list.
    fn added<'a>(&self, key: &'a KeyHistory, value: u32) -> Cow<'a, [Value]> {
        match key.lists.as_ref().and_then(|lists| lists.get(&value)) {
            Some(list) => Cow::Borrowed(list),
            None => Cow::Owned(key.values.known(value).into_iter().collect()),
        }
    }

    /// Values that were read although every write of them that had begun by then failed: one lint a value.
    fn failed_writes_that_were_read(&self, key: &KeyHistory) -> Vec<Lint> {
        // What is lost may have written it, too.
        if !key.gaps.is_empty() || key.start == Start::Any {
            return Vec::new();
        }
        let is_write = |op: &&Op| matches!(op.kind, Kind::Write | Kind::Cas | Kind::Append);
        // By value, the first failed write, and since when there is another one.
        let mut failed: FxHashMap<Value, (&Op, u32)> = FxHashMap::default();
        for op in key
            .ops
            .iter()
            .filter(is_write)
            .filter(|op| op.end == End::Failed)
        {
            for value in self.added(key, op.value).iter() {
                failed.entry(*value).or_insert((op, NEVER));
            }
        }
        if let Start::Value(start) = key.start {
            for value in self.added(key, start).iter() {
                failed.remove(value);
            }
        }
        if failed.is_empty() {
            return Vec::new();
        }
        for op in key
            .ops
            .iter()
            .filter(is_write)
            .filter(|op| op.end != End::Failed)
        {
            for value in self.added(key, op.value).iter() {
                if let Some((_, other)) = failed.get_mut(value) {
                    *other = op.call.min(*other);
                }
            }
        }
        let is_answered = |op: &&Op| op.kind == Kind::Read && op.end == End::Ok;
        let mut lints = Vec::new();
        for read in key.ops.iter().filter(is_answered) {
            for value in self.added(key, read.value).iter() {
                let Some((write, other)) = failed.get(value).copied() else {
                    continue;
                };
                if write.call > read.ret || other < read.ret {
                    continue;
                }
                // One append of several elements is named once.
                failed.retain(|_, (one, _)| one.row != write.row);
                lints.push(Lint::FailedWriteWasRead {
                    write: self.invoked(write.row),
                    read: self.invoked(read.row),
                    key: key.name.clone(),
                });
            }
        }
        lints
    }
}

#[cfg(test)]
mod tests {
    use crate::history::Nil;

    fn check(lines: &str, expected: &[&str]) {
        let text = format!("{{\"whitewater\":1,\"spec\":\"SPEC\"}}\n{lines}\n");
        let spec = if lines.contains("append") {
            "list-append"
        } else {
            "register"
        };
        let text = text.replace("SPEC", spec).replace('\'', "\"");
        let loaded = crate::format::jsonl::read(text.as_bytes(), "h", Nil::Absent);
        let lints = loaded.expect("well formed").history.lint();
        let said: Vec<String> = lints.iter().map(ToString::to_string).collect();
        assert_eq!(said, expected, "{lines}");
    }

    #[test]
    fn a_failed_write_that_was_read_is_named() {
        check(
            "{'index':0,'client':1,'type':'invoke','f':'write','key':'x','value':1}
             {'index':1,'client':1,'type':'fail'}
             {'index':2,'client':2,'type':'invoke','f':'read','key':'x'}
             {'index':3,'client':2,'type':'ok','value':1}",
            &[
                "#2 read from x what only the failed write #0 wrote: a client probably took a timeout for a failure",
            ],
        );
    }

    #[test]
    fn a_failed_write_that_begins_after_the_read_has_ended_is_not() {
        let read = "{'index':0,'client':2,'type':'invoke','f':'read','key':'x'}
             {'index':1,'client':2,'type':'ok','value':1}";
        let failed = "{'index':2,'client':1,'type':'invoke','f':'write','key':'x','value':1}
             {'index':3,'client':1,'type':'fail'}";
        check(&format!("{read}\n{failed}"), &[]);
        // Nor does a write after the read take the blame off one before it.
        check(
            "{'index':0,'client':1,'type':'invoke','f':'write','key':'x','value':1}
             {'index':1,'client':1,'type':'fail'}
             {'index':2,'client':2,'type':'invoke','f':'read','key':'x'}
             {'index':3,'client':2,'type':'ok','value':1}
             {'index':4,'client':1,'type':'invoke','f':'write','key':'x','value':1}
             {'index':5,'client':1,'type':'ok'}",
            &[
                "#2 read from x what only the failed write #0 wrote: a client probably took a timeout for a failure",
            ],
        );
    }

    #[test]
    fn a_failed_append_that_was_read_is_named() {
        check(
            "{'index':0,'client':1,'type':'invoke','f':'append','key':'x','value':1}
             {'index':1,'client':1,'type':'fail'}
             {'index':2,'client':2,'type':'invoke','f':'read','key':'x'}
             {'index':3,'client':2,'type':'ok','value':[1]}",
            &[
                "#2 read from x what only the failed write #0 wrote: a client probably took a timeout for a failure",
            ],
        );
    }

    #[test]
    fn a_failed_write_whose_value_another_wrote_is_not() {
        check(
            "{'index':0,'client':1,'type':'invoke','f':'write','key':'x','value':1}
             {'index':1,'client':1,'type':'fail'}
             {'index':2,'client':2,'type':'invoke','f':'write','key':'x','value':1}
             {'index':3,'client':2,'type':'info'}
             {'index':4,'client':3,'type':'invoke','f':'read','key':'x'}
             {'index':5,'client':3,'type':'ok','value':1}",
            &[],
        );
    }

    #[test]
    fn a_second_completion_and_a_client_after_unknown_are_named() {
        check(
            "{'index':0,'client':1,'type':'invoke','f':'write','key':'x','value':1}
             {'index':1,'client':1,'type':'ok'}
             {'index':2,'client':1,'type':'ok'}
             {'index':3,'client':2,'type':'invoke','f':'write','key':'x','value':2}
             {'index':4,'client':2,'type':'info'}
             {'index':5,'client':2,'type':'ok'}
             {'index':6,'client':2,'type':'invoke','f':'read','key':'x'}",
            &[
                "client 1 completes #0 a second time at #2: ignored",
                "client 2 completes at #5 an operation that was already unknown: ignored",
                "client 2 acts again at #6 after an unknown outcome: its id should not be used again",
            ],
        );
    }

    #[test]
    fn a_fault_that_stays_is_named_and_one_that_is_healed_is_not() {
        check(
            "{'index':0,'type':'mark','value':'in #1 isolate n1'}
             {'index':1,'type':'mark','value':'in #2 pause n2'}
             {'index':2,'type':'mark','value':'out #1 isolate n1'}
             {'index':3,'type':'mark','value':'phase judging'}",
            &["the fault put in at #1 was never taken out: in #2 pause n2"],
        );
    }
}
