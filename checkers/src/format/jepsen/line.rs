//! One event as it was written: a map, or `[process type f value]`; and what its words mean.

use super::shorten;
use crate::format::members::{Member, Members, plain};
use crate::format::tree::Tree;
use crate::history::Kind;

/// One event as it was written.
pub(super) struct Line {
    /// Nil where nobody did it.
    pub(super) process: Tree,
    /// `invoke`, `ok`, `fail` or `info`.
    pub(super) kind: &'static str,
    /// Empty where it is not said.
    pub(super) f: String,
    pub(super) value: Tree,
    pub(super) key: Option<Tree>,
    pub(super) time_ns: u64,
    /// Its number among the events, where it has one.
    pub(super) index: Option<u64>,
    pub(super) error: Option<String>,
}

impl Line {
    /// The event that a datum says; `None` where the datum says nothing of an operation at all.
    pub(super) fn of(tree: &Tree) -> Result<Option<Self>, String> {
        let mut line = match tree {
            Tree::Map(entries) => {
                let members = Members::of(entries)?;
                match Self::of_members(&members)? {
                    Some(line) => line,
                    None => return Ok(None),
                }
            }
            // A record of a type of its own is a map all the same.
            Tree::Tagged(_, inner) if matches!(**inner, Tree::Map(_)) => return Self::of(inner),
            Tree::List(items) => Self::of_items(items).ok_or_else(|| {
                let text = shorten(&tree.text());
                format!("an event must be a map or [process type f value], not {text}")
            })?,
            other => {
                let text = shorten(&other.text());
                return Err(format!("an event must be a map, not {text}"));
            }
        };
        line.unwrap_transaction()?;
        Ok(Some(line))
    }

    fn of_members(members: &Members<'_>) -> Result<Option<Self>, String> {
        let process = members.get(Member::Process).cloned().unwrap_or(Tree::Nil);
        let error = members
            .get(Member::Error)
            .filter(|error| **error != Tree::Nil);
        let Some(kind) = event_type(members, error.is_some())? else {
            let said = [Member::Process, Member::F, Member::Value, Member::Key];
            return match said.iter().any(|member| members.get(*member).is_some()) {
                true => Err("an event without :type".to_owned()),
                false => Ok(None),
            };
        };
        let f = asked(members);
        let (value, output) = (Member::Value, Member::Output);
        let is_cas = fits(&f, Kind::Cas);
        let given = |member| members.get(member).filter(|tree| **tree != Tree::Nil);
        let value = match kind {
            "ok" if f.is_empty() || fits(&f, Kind::Read) => {
                let found: Vec<&Tree> = members.all(value).chain(members.all(output)).collect();
                let mut found = found.into_iter().filter(|tree| **tree != Tree::Nil);
                let first = found.next();
                if let (Some(one), Some(other)) = (first, found.find(|other| Some(*other) != first))
                {
                    let (one, other) = (shorten(&one.text()), shorten(&other.text()));
                    return Err(format!("two members say what was found: {one} and {other}"));
                }
                // `"value": null, "result": "ok"` may have found nothing, or the text ok.
                let doubtful = members.get(value).is_some()
                    && first.and_then(Tree::word).and_then(type_of).is_some();
                if doubtful && members.get(value) == Some(&Tree::Nil) {
                    let word = first.map(Tree::text).unwrap_or_default();
                    return Err(format!(
                        "an answer of nil whose result is {word}: nobody can tell whether that was found"
                    ));
                }
                first
            }
            _ => given(value).or_else(|| given(Member::Input)),
        };
        let value = match (value, given(Member::Old), given(Member::New)) {
            (None, Some(old), Some(new)) if is_cas => Tree::List(vec![old.clone(), new.clone()]),
            (value, ..) => value.cloned().unwrap_or(Tree::Nil),
        };
        Ok(Some(Self {
            process,
            kind,
            f,
            value,
            key: given(Member::Key).cloned(),
            time_ns: time_ns(members),
            index: match members.get(Member::Index) {
                Some(Tree::Int(index)) => u64::try_from(*index).ok(),
                _ => None,
            },
            error: error.map(Tree::text),
        }))
    }

    /// `[process type f value]`, and perhaps an error.
    fn of_items(items: &[Tree]) -> Option<Self> {
        let [process, kind, f, rest @ ..] = items else {
            return None;
        };
        if rest.len() > 2 {
            return None;
        }
        Some(Self {
            process: process.clone(),
            kind: type_of(kind.word()?)?,
            f: f.word().unwrap_or_default().to_owned(),
            value: rest.first().cloned().unwrap_or(Tree::Nil),
            key: None,
            time_ns: 0,
            index: None,
            error: rest.get(1).map(Tree::text),
        })
    }

    /// Jepsen's and Elle's transactions are lists of micro-operations, `[[:append k v] [:r k nil]]`, whatever the f says
    /// or whether there is one: a transaction of one is that operation, and one of more is not judged.
    pub(super) fn unwrap_transaction(&mut self) -> Result<(), String> {
        let is_transaction = matches!(&*plain(&self.f), "txn" | "transaction" | "transact");
        let parts = match &self.value {
            Tree::List(parts) => parts.as_slice(),
            // A completion need not say again what was asked.
            Tree::Nil if is_transaction && self.kind != "invoke" => {
                self.f.clear();
                return Ok(());
            }
            _ if is_transaction && self.kind == "invoke" => {
                return Err("a transaction that is no list of operations".to_owned());
            }
            _ => &[],
        };
        let micro: Vec<_> = parts.iter().map_while(micro_operation).collect();
        let all_are = !parts.is_empty() && micro.len() == parts.len();
        let text = || shorten(&self.value.text());
        match micro.as_slice() {
            _ if !all_are && !is_transaction => Ok(()),
            // What failed or is unknown may say anything.
            _ if !all_are && matches!(self.kind, "fail" | "info") => {
                self.f.clear();
                self.value = Tree::Nil;
                Ok(())
            }
            _ if !all_are && parts.is_empty() => Err("a transaction of no operation".to_owned()),
            _ if !all_are => Err(format!(
                "an operation of a transaction must be [f key value]: {}",
                text()
            )),
            [(f, key, value)] => {
                let said = kind(&self.f);
                if let (Some(said), Some(asked)) = (said, kind(f))
                    && said != asked
                {
                    let f = &self.f;
                    return Err(format!("a {f} that holds the micro-operation {}", text()));
                }
                let (f, key, value) = ((*f).to_owned(), (*key).clone(), (*value).clone());
                (self.f, self.key, self.value) = (f, Some(key), value);
                Ok(())
            }
            several => Err(format!(
                "a transaction of {} micro-operations: only single operations are judged here",
                several.len()
            )),
        }
    }
}

/// `[f key value]`, or where nothing is written `[f key]`.
fn micro_operation(tree: &Tree) -> Option<(&str, &Tree, &Tree)> {
    let Tree::List(items) = tree else {
        return None;
    };
    let (f, key, value) = match items.as_slice() {
        [f, key] => (f, key, &Tree::Nil),
        [f, key, value] => (f, key, value),
        _ => return None,
    };
    let f = f.word()?;
    kind(f).map(|_| (f, key, value))
}

/// Whether an event began or how it ended, as the first member says it that can be understood; `None` where there is no
/// such member.
fn event_type(members: &Members<'_>, failed: bool) -> Result<Option<&'static str>, String> {
    let words: Vec<&str> = members.all(Member::Type).filter_map(Tree::word).collect();
    let mut known = words.iter().filter_map(|word| type_of(word));
    let Some(first) = known.next() else {
        let said = words.iter().find(|word| kind(word).is_none());
        let operates = [Member::Process, Member::Value, Member::Key];
        let operates = operates.iter().any(|member| members.get(*member).is_some());
        return match said {
            Some(word) if operates => Err(unknown_type(word)),
            _ => Ok(None),
        };
    };
    let returns = |word: &&&str| matches!(&*plain(word), "return" | "returned" | "response");
    if failed
        && first == "ok"
        && words
            .iter()
            .find(|word| type_of(word).is_some())
            .as_ref()
            .is_some_and(returns)
    {
        return Err(
            "a return with an error may have failed or may not: say fail or info".to_owned(),
        );
    }
    let exactly = words
        .first()
        .is_some_and(|word| type_of(word) == Some(first));
    let says_type = members
        .which(Member::Type)
        .is_some_and(|(name, _)| name == "type");
    match known.find(|other| *other != first) {
        Some(other) if !(exactly && says_type) => Err(format!(
            "one member says that it is {first}, and another that it is {other}"
        )),
        _ => Ok(Some(first)),
    }
}

/// The word for what is asked that can be understood, or else the first one there is.
fn asked(members: &Members<'_>) -> String {
    let words = || members.all(Member::F).filter_map(Tree::word);
    let known = |word: &&str| kind(word).is_some() || matches!(&**word, "txn" | "transaction");
    let first = || words().find(|word| type_of(word).is_none());
    words()
        .find(known)
        .or_else(first)
        .unwrap_or_default()
        .to_owned()
}

fn time_ns(members: &Members<'_>) -> u64 {
    let Some((name, Tree::Int(time))) = members.which(Member::Time) else {
        return 0;
    };
    let unit = match name {
        "timeus" => 1_000,
        "timems" => 1_000_000,
        _ => 1,
    };
    u64::try_from(*time).unwrap_or(0).saturating_mul(unit)
}

/// What the word for an event's type means.
pub(in crate::format) fn type_of(word: &str) -> Option<&'static str> {
    Some(match &*plain(word) {
        "invoke" | "invoked" | "invocation" | "call" => "invoke",
        "ok" | "success" | "succeeded" | "return" | "returned" | "response" => "ok",
        "fail" | "failed" | "failure" => "fail",
        "info" | "unknown" | "timeout" | "timedout" | "indeterminate" => "info",
        _ => return None,
    })
}

/// What an `f` asks.
pub(in crate::format) fn kind(f: &str) -> Option<Kind> {
    Some(match &*plain(f) {
        "read" | "r" | "get" | "load" => Kind::Read,
        "write" | "w" | "put" | "set" | "store" => Kind::Write,
        "append" => Kind::Append,
        "delete" | "del" | "remove" => Kind::Delete,
        "cas" | "compareandset" | "compareandswap" => Kind::Cas,
        _ => return None,
    })
}

fn fits(f: &str, wanted: Kind) -> bool {
    kind(f) == Some(wanted)
}

fn unknown_type(word: &str) -> String {
    format!("the type {word:?} is not known; invoke, ok, fail and info are")
}

pub(in crate::format) fn unknown_f(f: &str) -> String {
    format!("the f {f:?} is not known; read, write, cas, delete and append are")
}
