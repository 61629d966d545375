//! Porcupine's operations of its key-value model, as Go writes them: an array of objects.
//!
//! ```text
//! {"ClientId": 0, "Input": {"Op": 1, "Key": "a", "Value": "x"}, "Call": 10, "Output": {"Value": ""}, "Return": 20}
//! ```
//!
//! `Op` is 0, 1 or 2 for get, put and append, or the word. A key that was never put holds the empty text, and this is
//! checked. Where anything is appended, values are texts whose elements are characters (spec `list-append`).

use super::{Gathered, Interval, each_record, time};
use crate::format::jepsen::{kind, shorten, unknown_f};
use crate::format::members::{Member, Members};
use crate::format::text::Text;
use crate::format::tree::Tree;
use crate::format::{Error, Loaded};
use crate::history::{
    Builder, Call, Header, Kind, LIST_APPEND, Names, Nil, Outcome, Value, is_datum, is_kept, kept,
};

/// Reads such operations.
///
/// # Errors
/// When one can't be understood; its place is named.
pub(in crate::format) fn read(text: &Text<'_>) -> Result<Loaded, Error> {
    let mut lists = false;
    each_record(text, |entries| {
        let members = Members::of(entries)?;
        lists |= matches!(input(&members)?.1, Kind::Append);
        Ok(Vec::new())
    })?;
    let spec = if lists {
        LIST_APPEND.to_owned()
    } else {
        Header::default().spec
    };
    let builder = Builder::new(Header {
        spec,
        ..Header::default()
    });
    let mut gathered = Gathered::new(text, builder);
    let mut numbered = false;
    let mut versions = false;
    let names = gathered.builder.names();
    let intervals = each_record(text, |entries| {
        let members = Members::of(entries)?;
        let (asked, kind) = input(&members)?;
        numbered |= matches!(asked.get(Member::F), Some(Tree::Int(_)));
        versions |= asked
            .named("version")
            .is_some_and(|version| *version != Tree::Nil);
        let mut values = Values { names, lists };
        operation(&members, &asked, kind, &mut values).map(|one| vec![one])
    })?;
    gathered.intervals = intervals;
    // Go's clock: its unit is the nanosecond.
    gathered.unit_ns = Some(1);
    if numbered {
        gathered.note("Op 0, 1 and 2 are taken as get, put and append, as Porcupine's key-value model has them");
    }
    if versions {
        gathered.note("versions are not judged, only values");
    }
    gathered.finish()
}

/// What was asked, and which kind of operation it is.
fn input<'t>(members: &Members<'t>) -> Result<(Members<'t>, Kind), String> {
    let Some(Tree::Map(entries)) = members.named("input") else {
        return Err("an operation without an Input that is an object".to_owned());
    };
    let asked = Members::of(entries)?;
    let of_model = |op: i64| match op {
        0 => Some(Kind::Read),
        1 => Some(Kind::Write),
        2 => Some(Kind::Append),
        _ => None,
    };
    let found = match asked.get(Member::F) {
        // Another model numbers its operations otherwise, and has other arguments.
        Some(Tree::Int(op)) if asked.get(Member::Key).is_some() && asked.get(Member::Value).is_some() => {
            of_model(*op).ok_or_else(|| format!("the Op {op} is not known; 0 (get), 1 (put) and 2 (append) are"))
        }
        Some(Tree::Int(_)) => {
            Err("an Input whose Op is a number must have a Key and a Value, as in Porcupine's key-value model".to_owned())
        }
        Some(op) => {
            let op = op.word().unwrap_or_default();
            kind(op).ok_or_else(|| unknown_f(op))
        }
        None => Err("an Input without an Op".to_owned()),
    };
    found.map(|kind| (asked, kind))
}

/// Values by number.
struct Values<'n> {
    names: &'n mut Names,
    /// Whether they are texts whose elements are characters.
    lists: bool,
}

impl Values<'_> {
    /// A value; `None` for what a key holds that was never put.
    fn of(&mut self, tree: &Tree) -> Result<Option<Value>, String> {
        match tree {
            Tree::Text(text) if self.lists => Ok(Some(self.names.intern_characters(text))),
            Tree::Nil if self.lists => Ok(Some(self.names.intern_characters(""))),
            Tree::Nil => Ok(None),
            Tree::Text(text) if text.is_empty() => Ok(None),
            Tree::Text(text) => Ok(Some(self.names.intern(text))),
            Tree::Int(value) if is_kept(*value) => Err(kept(*value)),
            Tree::Int(value) if !self.lists => Ok(Some(*value)),
            other if !self.lists && is_datum(&other.name()) => {
                Ok(Some(self.names.intern_datum(&other.name())))
            }
            other => Err(format!(
                "the value {} can't be judged",
                shorten(&other.text())
            )),
        }
    }
}

fn operation(
    members: &Members<'_>,
    asked: &Members<'_>,
    kind: Kind,
    values: &mut Values<'_>,
) -> Result<Interval, String> {
    let nil = &Tree::Nil;
    let client = members
        .get(Member::Process)
        .ok_or("an operation without a ClientId")?;
    let called = time(members.named("call").ok_or("an operation without a Call")?)?;
    let returned = match members.named("return") {
        None | Some(Tree::Nil) => None,
        Some(returned) => Some(time(returned)?),
    };
    let given = asked
        .get(Member::Value)
        .or_else(|| asked.get(Member::Input))
        .unwrap_or(nil);
    let call = match kind {
        Kind::Read => Call::Read,
        Kind::Delete => Call::Delete,
        // The empty text is what a key holds that was never put.
        Kind::Write => values.of(given)?.map_or(Call::Delete, Call::Write),
        Kind::Append => Call::Append(values.of(given)?.ok_or("an append of nothing")?),
        Kind::Cas => {
            let old = asked.get(Member::Old).ok_or("a cas without an old value")?;
            let new = asked.get(Member::New).unwrap_or(given);
            let both = values.of(old)?.zip(values.of(new)?);
            let (old, new) = both.ok_or("a cas of the empty text")?;
            Call::Cas { old, new }
        }
    };
    let outcome = match (returned, members.named("output")) {
        (None, _) | (_, None | Some(Tree::Nil)) => Outcome::Unknown,
        (Some(_), Some(output)) => ended(output, kind, values)?,
    };
    Ok(Interval {
        client: client.clone(),
        key: asked
            .get(Member::Key)
            .map_or_else(|| "register".to_owned(), Tree::name),
        call,
        called,
        returned,
        outcome,
        nil: Nil::Absent,
        at: 0,
    })
}

/// How an operation ended, as its output says.
fn ended(output: &Tree, kind: Kind, values: &mut Values<'_>) -> Result<Outcome, String> {
    let Tree::Map(entries) = output else {
        return match kind {
            Kind::Read => Ok(Outcome::Ok(values.of(output)?)),
            Kind::Cas => cas_ended(Some(output)),
            _ => Ok(Outcome::Ok(None)),
        };
    };
    let said = Members::of(entries)?;
    let error = said
        .get(Member::Error)
        .and_then(Tree::word)
        .unwrap_or_default();
    let is_true = |name: &str| said.named(name) == Some(&Tree::Bool(true));
    let is_false = |name: &str| said.named(name) == Some(&Tree::Bool(false));
    match (error, kind) {
        ("" | "OK" | "ok", _) => {}
        ("ErrNoKey" | "ErrNotFound" | "ErrKeyNotFound", Kind::Read) => {
            return Ok(Outcome::Ok(values.of(&Tree::Text(String::new()))?));
        }
        ("ErrVersion" | "ErrNoKey", _) => return Ok(Outcome::Failed),
        _ => return Ok(Outcome::Unknown),
    }
    if is_true("unknown") || is_true("timeout") {
        return Ok(Outcome::Unknown);
    }
    match kind {
        Kind::Cas => cas_ended(
            said.named("ok")
                .or_else(|| said.named("success"))
                .or_else(|| said.named("swapped")),
        ),
        _ if is_false("ok") || is_false("success") => Ok(Outcome::Unknown),
        Kind::Read => {
            let found = said.get(Member::Value).or_else(|| said.get(Member::Output));
            Ok(Outcome::Ok(
                values.of(found.ok_or("a get whose Output has no Value")?)?,
            ))
        }
        _ => Ok(Outcome::Ok(None)),
    }
}

/// How a cas ended, which must say whether it took place.
fn cas_ended(said: Option<&Tree>) -> Result<Outcome, String> {
    match said {
        Some(Tree::Bool(true)) => Ok(Outcome::Ok(None)),
        Some(Tree::Bool(false)) => Ok(Outcome::Failed),
        _ => Err("a cas that does not say whether it took place".to_owned()),
    }
}
