//! Operations as flat records, of a CSV file or as JSON objects, whatever their members are called.
//!
//! ```text
//! call_ns,return_ns,client_id,op,key,value,output
//! {"start": 1.25, "end": 1.5, "client": "c1", "op": "read", "key": "x", "result": 5}
//! ```
//!
//! One that has no end, or an error, may have taken effect. A read of nothing says nothing, unless a word such as
//! `NotFound` says that there was nothing.

use super::{Gathered, Interval, each_record, time};
use crate::format::jepsen::{kind, shorten, type_of, unknown_f};
use crate::format::members::{Member, Members, plain};
use crate::format::text::Text;
use crate::format::tree::Tree;
use crate::format::{Error, Loaded};
use crate::history::{
    Builder, Call, Header, Kind, Names, Nil, Outcome, Value, is_datum, is_kept, kept,
};

/// Words for a key that is not there.
const ABSENT: [&str; 9] = [
    "notfound",
    "nil",
    "null",
    "none",
    "absent",
    "missing",
    "<nil>",
    "errnokey",
    "keynotfound",
];

/// Reads JSON objects, each an operation.
///
/// # Errors
/// When one can't be understood; its place is named.
pub(in crate::format) fn read(text: &Text<'_>, nil: Option<Nil>) -> Result<Loaded, Error> {
    let mut gathered = Gathered::new(text, Builder::new(Header::default()));
    let mut rows = Rows::new(nil);
    let names = gathered.builder.names();
    gathered.intervals = each_record(text, |entries| Ok(vec![rows.take(entries, names)?]))?;
    rows.finish(gathered)
}

/// Takes rows into operations.
pub(super) struct Rows {
    nil: Option<Nil>,
    unit_ns: Option<u64>,
    /// A word for absent that was written as a value, and one that was read as absent.
    written: Option<String>,
    absent: Option<String>,
}

impl Rows {
    pub(super) fn new(nil: Option<Nil>) -> Self {
        Self {
            nil,
            unit_ns: None,
            written: None,
            absent: None,
        }
    }

    pub(super) fn finish(self, mut gathered: Gathered<'_>) -> Result<Loaded, Error> {
        if let (Some(written), Some(_)) = (&self.written, &self.absent) {
            let reason = format!(
                "{written:?} is written as a value here, and read where there may be none: nobody can tell them apart"
            );
            return Err(gathered.text.malformed(0, reason));
        }
        gathered.unit_ns = self.unit_ns;
        gathered.finish()
    }

    /// One row.
    pub(super) fn take(
        &mut self,
        entries: &[(Tree, Tree)],
        names: &mut Names,
    ) -> Result<Interval, String> {
        let members = Members::of(entries)?;
        let f = members
            .all(Member::F)
            .filter_map(Tree::word)
            .find(|word| kind(word).is_some())
            .or_else(|| members.get(Member::F)?.word());
        let f = f.ok_or("an operation that does not say what it is")?;
        let kind = kind(f).ok_or_else(|| unknown_f(f))?;
        let (begin, called) = members
            .which(Member::Begin)
            .ok_or("an operation without the time of its call")?;
        let (end, returned) = members
            .which(Member::End)
            .ok_or("an operation without the time of its return")?;
        self.unit_ns = unit_ns(begin).filter(|unit| unit_ns(end) == Some(*unit));
        let called = time(called)?;
        let returned = match returned {
            Tree::Nil => None,
            returned => Some(time(returned)?),
        };
        let given = |member| {
            members
                .get(member)
                .filter(|tree: &&Tree| **tree != Tree::Nil)
        };
        let value = given(Member::Value).or_else(|| given(Member::Input));
        let call = match kind {
            Kind::Read => Call::Read,
            Kind::Delete => Call::Delete,
            Kind::Write => {
                let value = value.ok_or_else(|| format!("a {f} of nothing"))?;
                if let Tree::Text(text) = value
                    && ABSENT.contains(&&*plain(text))
                {
                    self.written.get_or_insert_with(|| text.clone());
                }
                Call::Write(number_of(names, value)?)
            }
            Kind::Cas => {
                let old = given(Member::Old).ok_or("a cas without an old value")?;
                let new = given(Member::New)
                    .or(value)
                    .ok_or("a cas without a new value")?;
                Call::Cas {
                    old: number_of(names, old)?,
                    new: number_of(names, new)?,
                }
            }
            Kind::Append => {
                return Err("appends are not read from records of operations".to_owned());
            }
        };
        let (outcome, nil) = match returned {
            None => (Outcome::Unknown, Nil::Any),
            Some(_) => self.ended(&members, kind, value, names)?,
        };
        Ok(Interval {
            client: members.get(Member::Process).cloned().unwrap_or(Tree::Nil),
            key: given(Member::Key).map_or_else(|| "register".to_owned(), Tree::name),
            call,
            called,
            returned,
            outcome,
            nil,
            at: 0,
        })
    }

    /// How an operation ended, and what it means if it found nothing.
    fn ended(
        &mut self,
        members: &Members<'_>,
        kind: Kind,
        value: Option<&Tree>,
        names: &mut Names,
    ) -> Result<(Outcome, Nil), String> {
        let outputs = ["output", "result", "found", "returned", "outvalue"];
        let output = outputs.iter().find_map(|name| members.named(name));
        let mut said = status(members);
        let empty = |tree: &&Tree| {
            matches!(tree, Tree::Nil) || matches!(tree, Tree::Text(text) if text.is_empty())
        };
        if kind != Kind::Read
            && let Some(output) = output.filter(|output| !empty(output))
        {
            let echo = Some(output) == value;
            said = match (of_word(output), said) {
                (Some(one), None) => Some(one),
                (_, Some(other)) => Some(other),
                (None, None) if echo => Some("ok"),
                (None, None) => {
                    let shown = shorten(&output.text());
                    return Err(format!(
                        "what the output {shown} of a {} means is not known",
                        kind.name()
                    ));
                }
            };
        }
        let error = members.get(Member::Error).filter(|error| !empty(error));
        let outcome = match (said, kind) {
            (Some("fail" | "false"), Kind::Cas) | (Some("fail"), _) => Outcome::Failed,
            (Some("info" | "false"), _) => Outcome::Unknown,
            _ if error.is_some() => Outcome::Unknown,
            (None, Kind::Cas) => {
                return Err("a cas that does not say whether it took place".to_owned());
            }
            (_, Kind::Read) => {
                let found = output.or(value).unwrap_or(&Tree::Nil);
                return self.found(found, names);
            }
            _ => Outcome::Ok(None),
        };
        Ok((outcome, Nil::Any))
    }

    /// What a read found.
    fn found(&mut self, found: &Tree, names: &mut Names) -> Result<(Outcome, Nil), String> {
        match found {
            Tree::Nil => Ok((Outcome::Ok(None), self.nil.unwrap_or(Nil::Any))),
            Tree::Text(text) if text.is_empty() => {
                Ok((Outcome::Ok(None), self.nil.unwrap_or(Nil::Any)))
            }
            Tree::Text(text) if ABSENT.contains(&&*plain(text)) => {
                self.absent.get_or_insert_with(|| text.clone());
                Ok((Outcome::Ok(None), Nil::Absent))
            }
            value => Ok((Outcome::Ok(Some(number_of(names, value)?)), Nil::Any)),
        }
    }
}

/// What a word or a boolean says of how an operation ended.
fn of_word(tree: &Tree) -> Option<&'static str> {
    match tree {
        Tree::Bool(true) => Some("ok"),
        Tree::Bool(false) => Some("false"),
        other => match &*plain(other.word()?) {
            "true" => Some("ok"),
            "false" => Some("false"),
            "error" | "err" => Some("info"),
            word => type_of(word).filter(|kind| *kind != "invoke"),
        },
    }
}

/// How an operation ended, where a member of its own says so.
fn status(members: &Members<'_>) -> Option<&'static str> {
    let ok = ["ok", "success", "succeeded"]
        .iter()
        .find_map(|name| members.named(name));
    members.all(Member::Type).chain(ok).find_map(of_word)
}

/// How many nanoseconds a time's unit is, where its name says so.
fn unit_ns(name: &str) -> Option<u64> {
    [("ns", 1), ("us", 1_000), ("ms", 1_000_000)]
        .into_iter()
        .find_map(|(unit, ns)| name.ends_with(unit).then_some(ns))
}

fn number_of(names: &mut Names, value: &Tree) -> Result<Value, String> {
    match value {
        Tree::Int(value) if is_kept(*value) => Err(kept(*value)),
        Tree::Int(value) => Ok(*value),
        Tree::Text(text) => Ok(names.intern(text)),
        other if is_datum(&other.name()) => Ok(names.intern_datum(&other.name())),
        other => Err(format!(
            "the value {} can't be judged",
            shorten(&other.text())
        )),
    }
}
