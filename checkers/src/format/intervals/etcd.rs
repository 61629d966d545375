//! The operations of etcd's robustness tests, `client-*/operations.json`: one JSON object a request and its response.
//! The files of all clients of a report are one history.
//!
//! Each key is a register, absent at first. What a request does to several keys is judged key by key. A response with an
//! error, or one of which only part is known, may have taken effect. Nothing that writes is left out:
//!
//! | request | what is judged |
//! | --- | --- |
//! | range of one key | a read |
//! | range of several | a read of each key that it shows, and of each known one that it would have shown |
//! | range at an old revision, or serializable | nothing: it says what was, and not what is |
//! | txn | what its branch did; a comparison with a revision whose value is known is a cas, and no other is checked |
//! | put under a lease | a write, and a delete of which nobody knows whether and when |
//! | lease grant and revoke | what the puts under it say |
//! | compact, defragment | nothing: they change no key |

use std::collections::{BTreeMap, BTreeSet};

use super::{Gathered, Interval, Time, each_record, time};
use crate::format::jepsen::shorten;
use crate::format::text::Text;
use crate::format::tree::Tree;
use crate::format::{Error, Loaded};
use crate::history::{Builder, Call, Header, Names, Nil, Outcome, Value};

/// Reads the operations of a report.
///
/// # Errors
/// When a request can't be understood; its place is named.
pub(in crate::format) fn read(text: &Text<'_>) -> Result<Loaded, Error> {
    let mut gathered = Gathered::new(text, Builder::new(Header::default()));
    let mut known = Known::default();
    let names = gathered.builder.names();
    each_record(text, |entries| {
        known.learn(&Tree::Map(entries.to_vec()), names)?;
        Ok(Vec::new())
    })?;
    let mut notes = BTreeSet::new();
    let mut intervals = each_record(text, |entries| {
        let record = Tree::Map(entries.to_vec());
        let taking = Taking {
            asked: Request::of(&record)?,
            known: &known,
        };
        taking.all(names, &mut notes)
    })?;
    for ((_, key), (called, at)) in &known.leased {
        notes.insert("a key under a lease may go away at any time after it was put");
        intervals.push(Interval {
            client: Tree::Symbol("lease".to_owned()),
            key: key.clone(),
            call: Call::Delete,
            called: *called,
            returned: None,
            outcome: Outcome::Unknown,
            nil: Nil::Absent,
            at: *at,
        });
    }
    gathered.intervals = intervals;
    gathered.unit_ns = Some(1);
    for note in notes {
        gathered.note(note);
    }
    gathered.finish()
}

/// One request with its response.
struct Request<'t> {
    client: Tree,
    called: Time,
    returned: Option<Time>,
    kind: &'t str,
    input: &'t Tree,
    /// What came back, where all of it is known and it is no error.
    output: Option<&'t Tree>,
}

/// A member that is there and not null.
fn some<'t>(tree: &'t Tree, name: &str) -> Option<&'t Tree> {
    tree.get(name).filter(|tree| **tree != Tree::Nil)
}

fn text_of<'t>(tree: &'t Tree, name: &str) -> &'t str {
    match tree.get(name) {
        Some(Tree::Text(text)) => text,
        _ => "",
    }
}

fn number_of(tree: &Tree, name: &str) -> i64 {
    match tree.get(name) {
        Some(Tree::Int(number)) => *number,
        _ => 0,
    }
}

fn list_of<'t>(tree: &'t Tree, name: &str) -> &'t [Tree] {
    match tree.get(name) {
        Some(Tree::List(items)) => items,
        _ => &[],
    }
}

impl<'t> Request<'t> {
    fn of(record: &'t Tree) -> Result<Self, String> {
        let input = some(record, "Input").ok_or("a request without an Input")?;
        let client = some(record, "ClientId").or_else(|| some(record, "ClientID"));
        let output = some(record, "Output").filter(|output| {
            let failed = ["Error", "ClientError"]
                .iter()
                .any(|name| !text_of(output, name).is_empty());
            let partial = ["PartialResponse", "Persisted"]
                .iter()
                .any(|name| output.get(name) == Some(&Tree::Bool(true)));
            !failed && !partial
        });
        let returned = some(record, "Return").map(time).transpose()?;
        Ok(Self {
            client: client.cloned().ok_or("a request without a ClientId")?,
            called: time(some(record, "Call").ok_or("a request without a Call")?)?,
            returned,
            kind: text_of(input, "Type"),
            input,
            output: output.filter(|_| returned.is_some()),
        })
    }

    /// The operations of a transaction, and their results where they are known: those of the branch that was taken, or
    /// of both where nobody knows which.
    fn branches(&self) -> Vec<(&'t Tree, Option<&'t Tree>)> {
        let Some(txn) = some(self.input, "Txn") else {
            return Vec::new();
        };
        let (success, failure) = (
            list_of(txn, "OperationsOnSuccess"),
            list_of(txn, "OperationsOnFailure"),
        );
        match self.output.and_then(|output| some(output, "Txn")) {
            None => success.iter().chain(failure).map(|op| (op, None)).collect(),
            Some(came) => {
                let taken = if came.get("Failure") == Some(&Tree::Bool(true)) {
                    failure
                } else {
                    success
                };
                let results = list_of(came, "Results");
                taken
                    .iter()
                    .enumerate()
                    .map(|(i, op)| (op, results.get(i)))
                    .collect()
            }
        }
    }
}

/// What the whole report tells.
#[derive(Default)]
struct Known {
    keys: BTreeSet<String>,
    /// The value of a key at the revision that changed it.
    values: BTreeMap<(String, i64), Value>,
    /// Since when a key is under a lease, and where that stands.
    leased: BTreeMap<(i64, String), (Time, usize)>,
}

impl Known {
    fn learn(&mut self, record: &Tree, names: &mut Names) -> Result<(), String> {
        let asked = Request::of(record)?;
        let revision = asked
            .output
            .map_or(0, |output| number_of(output, "Revision"));
        for (op, result) in asked.branches() {
            if let (Some(put), "put-operation") = (some(op, "Put"), text_of(op, "Type")) {
                let key = text_of(put, "Key").to_owned();
                self.keys.insert(key.clone());
                let lease = number_of(put, "LeaseID");
                if lease != 0 {
                    let since = self
                        .leased
                        .entry((lease, key.clone()))
                        .or_insert((asked.called, 0));
                    since.0 = since.0.min(asked.called);
                }
                if asked.output.is_some() && revision > 0 {
                    self.values.insert((key, revision), value(put, names)?);
                }
            }
            for shown in result.map_or(&[][..], |result| list_of(result, "KVs")) {
                self.shown(shown, names)?;
            }
        }
        let range = asked.output.and_then(|output| some(output, "Range"));
        for shown in range.map_or(&[][..], |range| list_of(range, "KVs")) {
            self.shown(shown, names)?;
        }
        Ok(())
    }

    fn shown(&mut self, shown: &Tree, names: &mut Names) -> Result<(), String> {
        let key = text_of(shown, "Key").to_owned();
        self.keys.insert(key.clone());
        let revision = number_of(shown, "ModRevision");
        if revision > 0 {
            self.values.insert((key, revision), value(shown, names)?);
        }
        Ok(())
    }
}

/// The value of a put or of what was shown: the text, or of a long one its hash.
fn value(tree: &Tree, names: &mut Names) -> Result<Value, String> {
    match tree.get("Value") {
        Some(Tree::Text(text)) => Ok(names.intern(text)),
        Some(inner @ Tree::Map(_)) => match number_of(inner, "Hash") {
            0 => Ok(names.intern(text_of(inner, "Value"))),
            hash => Ok(names.intern_datum(&format!("#hash \"{hash}\""))),
        },
        _ => Err("a value that is neither a text nor a hash".to_owned()),
    }
}

/// One request on its way to the operations that are judged.
struct Taking<'t, 'k> {
    asked: Request<'t>,
    known: &'k Known,
}

impl Taking<'_, '_> {
    fn all(
        &self,
        names: &mut Names,
        notes: &mut BTreeSet<&'static str>,
    ) -> Result<Vec<Interval>, String> {
        let asked = &self.asked;
        let mut intervals = Vec::new();
        match asked.kind {
            "range" => {
                let range = some(asked.input, "Range").ok_or("a range request without a Range")?;
                let output = asked.output.map(|output| {
                    some(output, "Range").ok_or("a response to a range without a Range")
                });
                if number_of(range, "Revision") > 0 {
                    notes.insert("ranges at an old revision say what was, and are not judged");
                } else if range.get("Serializable") == Some(&Tree::Bool(true)) {
                    notes.insert("serializable ranges may say what was, and are not judged");
                } else {
                    self.reads(range, output.transpose()?, names, notes, &mut intervals)?;
                }
            }
            "txn" => {
                some(asked.input, "Txn").ok_or("a txn request without a Txn")?;
                if let Some(output) = asked.output {
                    some(output, "Txn").ok_or("a response to a txn without a Txn")?;
                }
                self.transaction(names, notes, &mut intervals)?;
            }
            "leaseGrant" | "leaseRevoke" | "defragment" | "compact" | "compaction" => {}
            other => {
                let known = "range, txn, leaseGrant, leaseRevoke, compact and defragment are";
                return Err(format!("the request {other:?} is not known; {known}"));
            }
        }
        Ok(intervals)
    }

    fn interval(&self, key: &str, call: Call, outcome: Outcome) -> Interval {
        Interval {
            client: self.asked.client.clone(),
            key: key.to_owned(),
            call,
            called: self.asked.called,
            returned: self.asked.returned,
            outcome,
            nil: Nil::Absent,
            at: 0,
        }
    }

    /// The reads of one range; a range without an answer had no effect.
    fn reads(
        &self,
        range: &Tree,
        found: Option<&Tree>,
        names: &mut Names,
        notes: &mut BTreeSet<&'static str>,
        intervals: &mut Vec<Interval>,
    ) -> Result<(), String> {
        let (start, end) = (text_of(range, "Start"), text_of(range, "End"));
        let Some(found) = found else {
            intervals.push(self.interval(start, Call::Read, Outcome::Failed));
            return Ok(());
        };
        let shown = list_of(found, "KVs");
        for one in shown {
            let found = Outcome::Ok(Some(value(one, names)?));
            intervals.push(self.interval(text_of(one, "Key"), Call::Read, found));
        }
        if end.is_empty() {
            if shown.is_empty() {
                intervals.push(self.interval(start, Call::Read, Outcome::Ok(None)));
            }
            return Ok(());
        }
        notes.insert("ranges and transactions of several keys are judged key by key");
        let limit = number_of(range, "Limit");
        if limit > 0 && shown.len() as i64 >= limit {
            return Ok(());
        }
        let within = |key: &&String| key.as_str() >= start && (end == "\0" || key.as_str() < end);
        for key in self.known.keys.iter().filter(within) {
            if !shown.iter().any(|one| text_of(one, "Key") == key) {
                intervals.push(self.interval(key, Call::Read, Outcome::Ok(None)));
            }
        }
        Ok(())
    }

    fn transaction(
        &self,
        names: &mut Names,
        notes: &mut BTreeSet<&'static str>,
        intervals: &mut Vec<Interval>,
    ) -> Result<(), String> {
        let asked = &self.asked;
        let txn = some(asked.input, "Txn").unwrap_or(&Tree::Nil);
        let failed = asked.output.and_then(|output| some(output, "Txn"));
        let failed = failed.is_some_and(|txn| txn.get("Failure") == Some(&Tree::Bool(true)));
        let conditions = list_of(txn, "Conditions");
        let outcome = match asked.output {
            Some(_) => Outcome::Ok(None),
            None => Outcome::Unknown,
        };
        let branches = asked.branches();
        if branches.len() > 1 {
            notes.insert("ranges and transactions of several keys are judged key by key");
        }
        let mut checked = 0;
        let mut written = BTreeSet::new();
        for (op, result) in branches {
            let key = match text_of(op, "Type") {
                "put-operation" => {
                    let put = some(op, "Put").ok_or("a put-operation without a Put")?;
                    let (key, new) = (text_of(put, "Key"), value(put, names)?);
                    let expected = conditions
                        .iter()
                        .find(|condition| !failed && text_of(condition, "Key") == key);
                    let old = expected.and_then(|condition| {
                        let revision = number_of(condition, "ExpectedRevision");
                        self.known.values.get(&(key.to_owned(), revision)).copied()
                    });
                    let call = match old {
                        Some(old) => {
                            checked += 1;
                            Call::Cas { old, new }
                        }
                        None => Call::Write(new),
                    };
                    intervals.push(self.interval(key, call, outcome));
                    key
                }
                "delete-operation" => {
                    let delete = some(op, "Delete").ok_or("a delete-operation without a Delete")?;
                    let key = text_of(delete, "Key");
                    intervals.push(self.interval(key, Call::Delete, outcome));
                    key
                }
                "range-operation" => {
                    let range = some(op, "Range").ok_or("a range-operation without a Range")?;
                    self.reads(range, result, names, notes, intervals)?;
                    continue;
                }
                other => {
                    let other = shorten(other);
                    let known = "put-operation, delete-operation and range-operation are";
                    return Err(format!(
                        "the operation {other:?} of a txn is not known; {known}"
                    ));
                }
            };
            if asked.output.is_some() && !written.insert(key) {
                return Err(format!("a txn that writes {key} twice"));
            }
        }
        if checked < conditions.len() {
            notes.insert("conditions of transactions whose revision is not known to have a value are not checked");
        }
        Ok(())
    }
}
