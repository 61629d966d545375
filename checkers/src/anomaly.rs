//! What a violation is called: the counterexample's kind, in the field's words.
//!
//! In: a [`Counterexample`], and the history that it was found in, where there still is one. Out: an [`Anomaly`]. Two
//! counterexamples of one bug differ in values, times and numbers; their anomaly is what they have in common, so that a
//! campaign can count them together. A name is a reading of the evidence, never a part of the verdict.
//!
//! # Definitions
//!
//! The *finder* is the operation that fits nowhere: a read, or a compare-and-set (cas) that succeeded, which found what
//! it compared with. What it found *had been replaced* if another change came after it and before the finder began, in
//! every order of the others.
//!
//! | name | definition | known as |
//! | --- | --- | --- |
//! | `stale-read` | a read found what had been replaced | Herlihy & Wing 1990 (the order of real time broken); Gibbons & Korach 1997 (two values, each before the other) |
//! | `lost-write` | a read found what was there before a write that certainly took effect, and not for being late: the node that answered knew the log up to that write, or a later term; without log ids: nobody ever found the write, and two reads or more missed it | "acknowledged writes lost" of the Jepsen analyses (MongoDB 2.4.3, Redis) |
//! | `resurrected-delete` | a read found what had been deleted, and the node that answered knew the log up to the delete; without log ids: any such read | the "zombies" of Cassandra's tombstones |
//! | `aborted-read` | a finder found what only failed operations would have left | G1a of Adya, Liskov & O'Neil 2000 |
//! | `future-read` | a finder found what nobody had begun to write yet, and somebody wrote later | Gibbons & Korach 1997 (a read that ends before its write begins) |
//! | `value-from-nowhere` | a finder found what nobody ever wrote, or what only it made possible itself | "garbage read" of Elle (Kingsbury & Alvaro 2020) |
//! | `double-cas` | of the cas that took one value away more succeeded than it was written | P4, lost update, of Berenson et al. 1995 |
//! | `stale-cas` | a cas compared with what had been replaced, in real time or by the log, and succeeded | P4 of Berenson et al. 1995, with a blind write between |
//! | `refused-cas` | a cas said that something else was there, and nothing else was | only where failed cas are taken at their word ([`linear::strict`](crate::linear::strict)) |
//! | `lost-append` | a list lacks an element that certainly was appended, though it went on without it or nobody ever found it | lost update on Elle's list-append |
//! | `duplicate-append` | a list holds an element oftener than it was appended | "duplicate elements" of Elle |
//! | `wrong-order` | two lists have two elements in opposite orders, or one has them against the order of real time | "incompatible order" of Elle |
//! | `unclassified` | none of these | |
//!
//! One read that missed a write looks the same from outside whether the write is lost or the read is late. Log ids tell
//! them apart where there are any; where not, a single read is called stale.

mod list;
mod register;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::history::{
    At, Call, End, History, KeyHistory, Kind, Op, Operation, Outcome, Start, Value,
};
use crate::verdict::Counterexample;

/// What a violation is called. The [module](self) defines each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// A read found what had been replaced.
    StaleRead,
    /// A write that took effect is not there later.
    LostWrite,
    /// What had been deleted came back.
    ResurrectedDelete,
    /// What only failed operations would have left was found.
    AbortedRead,
    /// It was found before anybody began to write it.
    FutureRead,
    /// It was found, and nobody wrote it.
    ValueFromNowhere,
    /// One value was taken away twice.
    DoubleCas,
    /// A cas compared with what had been replaced.
    StaleCas,
    /// A cas failed that could only succeed.
    RefusedCas,
    /// An element is missing from a list.
    LostAppend,
    /// An element is in a list too often.
    DuplicateAppend,
    /// Elements are in an order that cannot be.
    WrongOrder,
    /// Of other data types: what can be there once was given or found twice.
    Duplicate,
    /// Of other data types: an id is not larger than one that had come before it was asked for.
    NotRising,
    /// Of other data types: what had been added, put in or appended is not there later.
    Lost,
    /// Of other data types: a read does not find what was there before it began.
    Stale,
    /// Of other data types: what was found was put there by nobody.
    FromNowhere,
    /// Of other data types: it was found before anybody began to put it there.
    FromTheFuture,
    /// Of other data types: each of two reads found what the other did not.
    NeitherHoldsTheOther,
    /// Of other data types: two hold at once what one can hold.
    TwoHolders,
    /// Of other data types: what nobody held was released.
    ReleasedFree,
    /// Of other data types: who did not hold it released it.
    ReleasedByAnother,
    /// Of other data types: two entries of a log were given one number.
    TwoInOnePlace,
    /// Of other data types: an entry of a log is another one than before.
    Changed,
    /// Of other data types: what was put in once is there, or came out, more than once.
    Duplicated,
    /// Of other data types: an entry of a log has a smaller number than one that was there before it.
    OutOfOrder,
    /// Of other data types: a counter is lower than what had certainly been added.
    TooLow,
    /// Of other data types: a counter is higher than what may have been added.
    TooHigh,
    /// Of other data types: no order explains the answers.
    NoOrder,
    /// Of other data types: what came out had not been put in.
    Unexpected,
    /// None of these.
    #[default]
    Unclassified,
}

impl Anomaly {
    /// Every name of a register's and a list's.
    pub const ALL: [Self; 13] = [
        Self::StaleRead,
        Self::LostWrite,
        Self::ResurrectedDelete,
        Self::AbortedRead,
        Self::FutureRead,
        Self::ValueFromNowhere,
        Self::DoubleCas,
        Self::StaleCas,
        Self::RefusedCas,
        Self::LostAppend,
        Self::DuplicateAppend,
        Self::WrongOrder,
        Self::Unclassified,
    ];

    /// Every name of the other data types' that is none of those: what their judges call it
    /// ([`DataType::kinds`](crate::types::DataType::kinds)).
    pub const OF_OTHER_TYPES: [Self; 18] = [
        Self::Duplicate,
        Self::NotRising,
        Self::Lost,
        Self::Stale,
        Self::FromNowhere,
        Self::FromTheFuture,
        Self::NeitherHoldsTheOther,
        Self::TwoHolders,
        Self::ReleasedFree,
        Self::ReleasedByAnother,
        Self::TwoInOnePlace,
        Self::Changed,
        Self::Duplicated,
        Self::OutOfOrder,
        Self::TooLow,
        Self::TooHigh,
        Self::NoOrder,
        Self::Unexpected,
    ];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain(Self::OF_OTHER_TYPES);
        all.find(|anomaly| anomaly.name() == name)
    }

    /// Its name, as files and screens print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleRead => "stale-read",
            Self::LostWrite => "lost-write",
            Self::ResurrectedDelete => "resurrected-delete",
            Self::AbortedRead => "aborted-read",
            Self::FutureRead => "future-read",
            Self::ValueFromNowhere => "value-from-nowhere",
            Self::DoubleCas => "double-cas",
            Self::StaleCas => "stale-cas",
            Self::RefusedCas => "refused-cas",
            Self::LostAppend => "lost-append",
            Self::DuplicateAppend => "duplicate-append",
            Self::WrongOrder => "wrong-order",
            Self::Duplicate => "duplicate",
            Self::NotRising => "not-rising",
            Self::Lost => "lost",
            Self::Stale => "stale",
            Self::FromNowhere => "from-nowhere",
            Self::FromTheFuture => "from-the-future",
            Self::NeitherHoldsTheOther => "neither-holds-the-other",
            Self::TwoHolders => "two-holders",
            Self::ReleasedFree => "released-free",
            Self::ReleasedByAnother => "released-by-another",
            Self::TwoInOnePlace => "two-in-one-place",
            Self::Changed => "changed",
            Self::Duplicated => "duplicated",
            Self::OutOfOrder => "out-of-order",
            Self::TooLow => "too-low",
            Self::TooHigh => "too-high",
            Self::NoOrder => "no-order",
            Self::Unexpected => "unexpected",
            Self::Unclassified => "unclassified",
        }
    }

    /// What it means, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::StaleRead => "a read found what had been replaced before it began",
            Self::LostWrite => "a write that took effect is not there later",
            Self::ResurrectedDelete => "a value that had been deleted came back",
            Self::AbortedRead => "what was found would have been left by a failed operation only",
            Self::FutureRead => "what was found had not been written yet",
            Self::ValueFromNowhere => "what was found was written by nobody",
            Self::DoubleCas => "more compare-and-sets took a value away than it was written",
            Self::StaleCas => "a compare-and-set succeeded against a value that had been replaced",
            Self::RefusedCas => "a compare-and-set failed though the value was there all the time",
            Self::LostAppend => "an element that was appended is missing from the list",
            Self::DuplicateAppend => "an element is in the list oftener than it was appended",
            Self::WrongOrder => "elements are in the list in an order that cannot be",
            Self::Duplicate => "what can be there once was given or found twice",
            Self::NotRising => "an id is not larger than one that had come before it was asked for",
            Self::Lost => "what had been added, put in or appended is not there later",
            Self::Stale => "a read does not find what was there before it began",
            Self::FromNowhere => "what was found was put there by nobody",
            Self::FromTheFuture => "it was found before anybody began to put it there",
            Self::NeitherHoldsTheOther => "each of two reads found what the other did not",
            Self::TwoHolders => "two hold at once what one can hold",
            Self::ReleasedFree => "what nobody held was released",
            Self::ReleasedByAnother => "who did not hold it released it",
            Self::TwoInOnePlace => "two entries of a log were given one number",
            Self::Changed => "an entry of a log is another one than before",
            Self::Duplicated => "what was put in once is there, or came out, more than once",
            Self::OutOfOrder => {
                "an entry of a log has a smaller number than one that was there before it"
            }
            Self::TooLow => "a counter is lower than what had certainly been added",
            Self::TooHigh => "a counter is higher than what may have been added",
            Self::NoOrder => "no order explains the answers",
            Self::Unexpected => "what came out had not been put in",
            Self::Unclassified => "a violation of none of the known kinds",
        }
    }
}

impl std::fmt::Display for Anomaly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What to call what `found` proves. `history` is the one that it was found in, or a longer one of the same run; where
/// it was not kept, the counterexample alone has to do, and an answer whose writer is not in it stays unclassified:
/// whether a failed write, a later one or none left it cannot be told.
#[must_use]
pub fn of(found: &Counterexample, history: Option<&History>) -> Anomaly {
    let case = Case::new(found, history);
    if found.culprit().is_some_and(refused) {
        return Anomaly::RefusedCas;
    }
    let lacks_events = case.whole.is_some_and(|(_, key)| !key.gaps.is_empty());
    match case.whole.map(|(_, key)| (key.lists.as_ref(), &key.values)) {
        Some((Some(lists), values)) => list::name(&case, lists, values),
        _ => match register::name(&case) {
            // Who wrote it may be among what is lost.
            Anomaly::ValueFromNowhere | Anomaly::FutureRead if lacks_events => {
                Anomaly::Unclassified
            }
            name => name,
        },
    }
}

/// Whether it is a cas that failed though what it compared with was there, as far as its answer goes.
fn refused(culprit: &Operation) -> bool {
    match (culprit.call, culprit.outcome) {
        (Call::Cas { old, .. }, Outcome::Differed(found)) => found == Some(old),
        (_, outcome) => outcome == Outcome::Failed,
    }
}

/// An operation as the names see it: as it stood when the violation came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Act {
    /// Its invocation's event index, which names it.
    id: u64,
    kind: Kind,
    /// What a read found or a change leaves; `None`: absent, or a read without an answer.
    value: Option<Value>,
    /// What a cas compared with.
    old: Option<Value>,
    /// The event index of its end; [`Act::OPEN`] where it has none, or none that says what became of it.
    ended: u64,
    end: End,
    at: Option<At>,
}

impl Act {
    const OPEN: u64 = u64::MAX;

    /// `until`: what ended after this event had not ended yet.
    fn new(op: &Operation, until: u64) -> Self {
        let (kind, value, old) = match (op.call, op.outcome) {
            (Call::Read, Outcome::Ok(value)) => (Kind::Read, value, None),
            (Call::Read, _) => (Kind::Read, None, None),
            // What it found instead of what it compared with is as good as a read.
            (Call::Cas { .. }, Outcome::Differed(found)) => (Kind::Read, found, None),
            (Call::Write(value), _) => (Kind::Write, Some(value), None),
            (Call::Cas { old, new }, _) => (Kind::Cas, Some(new), Some(old)),
            (Call::Delete, _) => (Kind::Delete, None, None),
            (Call::Append(value), _) => (Kind::Append, Some(value), None),
        };
        let end = match op.outcome {
            Outcome::Ok(_) | Outcome::Differed(_) => End::Ok,
            Outcome::Failed => End::Failed,
            Outcome::Unknown => End::Unknown,
        };
        Self {
            id: op.id,
            kind,
            value,
            old,
            ended: op.completed.unwrap_or(Self::OPEN),
            end,
            at: op.at,
        }
        .as_of(until)
    }

    /// The same from a history's row.
    fn of_row(history: &History, key: &KeyHistory, op: &Op, until: u64) -> Self {
        Self {
            id: history.invoked(op.row),
            kind: op.kind,
            value: key.values.value(op.value),
            old: match op.kind {
                Kind::Cas => key.values.value(op.old),
                _ => None,
            },
            ended: history.completed(op.row).unwrap_or(Self::OPEN),
            end: op.end,
            at: history.log_id(op.row),
        }
        .as_of(until)
    }

    fn as_of(mut self, until: u64) -> Self {
        if self.ended > until {
            self.end = End::Unknown;
        }
        if self.end == End::Unknown {
            self.ended = Self::OPEN;
        }
        self
    }

    fn changes(&self) -> bool {
        self.kind != Kind::Read
    }

    fn may_have_happened(&self) -> bool {
        self.changes() && self.end != End::Failed
    }

    /// Whether it says what was there: a read, or a cas that succeeded.
    fn finds(&self) -> bool {
        self.end == End::Ok && matches!(self.kind, Kind::Read | Kind::Cas)
    }

    /// What it found, where it [finds](Self::finds).
    fn found(&self) -> Option<Value> {
        match self.kind {
            Kind::Cas => self.old,
            _ => self.value,
        }
    }
}

/// What a key held at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    With(Option<Value>),
    /// Nobody knows.
    Somehow,
}

/// A counterexample with whatever is known around it.
struct Case<'a> {
    /// Its operations, by begin.
    acts: Vec<Act>,
    /// The operation that fits nowhere, by its id.
    culprit: u64,
    /// An order of the others.
    order: &'a [u64],
    /// The event since which nothing fits.
    until: u64,
    /// The history, and the key in it.
    whole: Option<(&'a History, &'a KeyHistory)>,
}

impl<'a> Case<'a> {
    fn new(found: &'a Counterexample, history: Option<&'a History>) -> Self {
        let until = found.event;
        Self {
            acts: found
                .operations
                .iter()
                .map(|op| Act::new(op, until))
                .collect(),
            culprit: found.culprit,
            order: &found.order,
            until,
            whole: history.and_then(|history| {
                let key = history.keys.iter().find(|key| key.name == found.key)?;
                Some((history, key))
            }),
        }
    }

    /// What the key held before the first event.
    fn began(&self) -> Began {
        let Some((_, key)) = self.whole else {
            return Began::Somehow;
        };
        match key.start {
            Start::Absent => Began::With(None),
            Start::Value(number) => Began::With(key.values.known(number)),
            Start::Any => Began::Somehow,
        }
    }

    /// The operation that fits nowhere, or the last that says what it found.
    fn finder(&self) -> Option<Act> {
        let finders = || self.acts.iter().filter(|act| act.finds());
        let named = finders().find(|act| act.id == self.culprit);
        named.or(finders().max_by_key(|act| act.ended)).copied()
    }

    fn act(&self, id: u64) -> Option<&Act> {
        self.acts.iter().find(|act| act.id == id)
    }

    /// Every operation of the key as it stood when the violation came to light, as far as it is known.
    fn before(&self) -> Box<dyn Iterator<Item = Act> + '_> {
        match self.whole {
            None => Box::new(self.acts.iter().copied()),
            Some((history, key)) => Box::new(
                key.ops
                    .iter()
                    .map(move |op| Act::of_row(history, key, op, self.until))
                    .take_while(|act| act.id <= self.until),
            ),
        }
    }

    /// Every operation of the key as it ended in the end.
    fn ever(&self) -> Box<dyn Iterator<Item = Act> + '_> {
        match self.whole {
            None => Box::new(self.acts.iter().copied()),
            Some((history, key)) => Box::new(
                key.ops
                    .iter()
                    .map(move |op| Act::of_row(history, key, op, u64::MAX - 1)),
            ),
        }
    }
}

/// What log ids say of a finder that missed a change: that it was late, or that it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Who answered did not know the log as far as the change.
    Late,
    /// Who answered knew the log up to the change and further, or a later term, and the change was not in it.
    Gone,
}

/// The state behind a finder's log id holds all that stands in the log up to there.
fn claim(finder: Option<At>, change: Option<At>) -> Option<Claim> {
    let (finder, change) = (finder?, change?);
    Some(if finder >= change {
        Claim::Gone
    } else {
        Claim::Late
    })
}
