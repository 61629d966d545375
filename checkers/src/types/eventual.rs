//! A set that only grows, whose reads may be late: but a last read finds all that had been added before it began.

use rand::RngExt;
use rustc_hash::FxHashMap;

use super::generate::{Asking, Machine, Planted, Step};
use super::online::{Follow, Followed};
use super::set::from_nowhere;
use super::{DataType, Datum, Fault, Judged, Operation, Outcome};
use crate::linear::Options;

/// A set that only grows, and that everybody has in the end.
pub(super) struct EventualSet;

impl DataType for EventualSet {
    fn name(&self) -> &'static str {
        "eventual-set"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["broadcast", "gossip-set"]
    }

    fn about(&self) -> &'static str {
        "a set that only grows (Jepsen's set-full without :linearizable?, as Maelstrom judges broadcast and g-set): a final read finds all that had been added before it began, other reads may be late, and none finds what nobody added, or anything twice"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[
            &["add", "insert", "broadcast"],
            &["read", "r", "get", "members"],
            &["final", "finalread", "lastread"],
        ]
    }

    fn is_sniffed(&self) -> bool {
        false
    }

    fn finds(&self, act: &str, found: &Datum) -> bool {
        act == "add" || found.is_nil() || found.items().is_some()
    }

    fn is_pure(&self, act: &str) -> bool {
        act != "add"
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        let found = op.answer().filter(|found| !self.finds(op.act, found))?;
        Some(format!(
            "a read of a set finds its elements, and not {found}"
        ))
    }

    fn judge(&self, ops: &[&Operation], _: &Options, _: bool) -> Judged {
        let mut adds: FxHashMap<&Datum, usize> = FxHashMap::default();
        // What was certainly added, in the order in which it was known.
        let mut added: Vec<usize> = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            if op.act == "add" && !op.is_failed() {
                adds.entry(&op.asked).or_insert(at);
                added.extend(op.answer().map(|_| at));
            }
        }
        added.sort_unstable_by_key(|at| ops[*at].end());
        let looks = |op: &Operation| op.act != "add" && op.answer().is_some();
        let mut reads: Vec<usize> = (0..ops.len()).filter(|at| looks(ops[*at])).collect();
        reads.sort_unstable_by_key(|at| ops[*at].end());
        let faults = reads.into_iter();
        let mut faults = faults.filter_map(|read| wrong(ops, &adds, &added, read));
        faults.next().unwrap_or(Judged::Holds)
    }

    fn follow(&self) -> Option<Box<dyn Follow>> {
        Some(Box::new(Spread::default()))
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[
            "lost",
            "from-nowhere",
            "aborted-read",
            "from-the-future",
            "duplicate",
        ]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["lost", "from-nowhere", "duplicate"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Copies::default())
    }
}

/// So many of what is lost are shown.
const SHOWN: usize = 5;

/// What is wrong with a read.
fn wrong(
    ops: &[&Operation],
    adds: &FxHashMap<&Datum, usize>,
    added: &[usize],
    read: usize,
) -> Option<Judged> {
    let op = ops[read];
    let items = op.answer().and_then(Datum::items).unwrap_or_default();
    let mut found: FxHashMap<&Datum, ()> = FxHashMap::default();
    for item in items {
        let Some(add) = adds.get(item).copied() else {
            return Some(from_nowhere(ops, read, item));
        };
        if found.insert(item, ()).is_some() {
            let id = op.id;
            let why = format!("#{id} found {item} twice, and a set has each element once.");
            return Some(Fault::found("duplicate", &[add, read], read, why));
        }
        if ops[add].id > op.end() {
            let (id, end, begun) = (op.id, op.end(), ops[add].id);
            let why = format!(
                "#{id} found {item} and had ended (#{end}) before its add (#{begun}) began."
            );
            return Some(Fault::found("from-the-future", &[add, read], read, why));
        }
    }
    if op.act != "final" {
        return None;
    }
    let before = added.partition_point(|add| ops[*add].end() < op.id);
    let missing = added[..before].iter().copied();
    let missing = missing.filter(|add| !found.contains_key(&ops[*add].asked));
    let mut missing: Vec<usize> = missing.collect();
    let (many, first) = (missing.len(), *missing.first()?);
    let (id, value, add, end) = (op.id, &ops[first].asked, ops[first].id, ops[first].end());
    let more = match many {
        1 => String::new(),
        n => format!(" It lacks {n} that had been added, of which this is the first."),
    };
    let why = format!(
        "{value} had been added (#{add}) when #{end} came, and the final read #{id}, which began after that, did not find it.{more}"
    );
    missing.truncate(SHOWN);
    missing.push(read);
    Some(Fault::found("lost", &missing, read, why))
}

/// What was added, while operations come and each element is added once.
#[derive(Default)]
struct Spread {
    /// Whether a read has found it.
    begun: FxHashMap<Datum, bool>,
    added: Vec<(Datum, u64)>,
    lost: bool,
}

impl Follow for Spread {
    fn begins(&mut self, ops: &[Operation], at: usize) {
        let op = &ops[at];
        if op.act == "add" {
            self.lost |= self.begun.insert(op.asked.clone(), false).is_some();
        }
    }

    fn ends(&mut self, ops: &[Operation], at: usize) -> Followed {
        let op = &ops[at];
        if self.lost {
            return Followed::Lost;
        }
        let holds = match (&op.outcome, op.act) {
            (Outcome::Unknown, _) => true,
            (Outcome::Ok(_), "add") => {
                self.added.push((op.asked.clone(), op.end()));
                true
            }
            (Outcome::Failed, "add") => self.begun.remove(&op.asked) != Some(true),
            (Outcome::Failed, _) => true,
            (Outcome::Ok(answer), _) => self.read(op, answer.items().unwrap_or_default()),
        };
        if holds {
            Followed::Holds
        } else {
            Followed::Violated
        }
    }
}

impl Spread {
    fn read(&mut self, op: &Operation, items: &[Datum]) -> bool {
        let mut found: FxHashMap<&Datum, ()> = FxHashMap::default();
        for item in items {
            let Some(was_found) = self.begun.get_mut(item) else {
                return false;
            };
            *was_found = true;
            if found.insert(item, ()).is_some() {
                return false;
            }
        }
        let before = self.added.partition_point(|(_, end)| *end < op.id);
        let mut added = self.added[..before].iter();
        op.act != "final" || added.all(|(item, _)| found.contains_key(item))
    }
}

/// Copies of it: what is everywhere, and what some reads do not find yet.
#[derive(Default)]
struct Copies {
    has: Vec<Datum>,
    next: i64,
}

impl Machine for Copies {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        match asking.rng.random_range(0..20) {
            0 => ("final", Datum::Nil),
            1..6 => ("read", Datum::Nil),
            _ => {
                self.next += 1;
                ("add", Datum::Int(self.next))
            }
        }
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        match step.act {
            "add" => self.has.push(step.asked.clone()),
            "final" => return Some(Datum::List(self.has.clone())),
            // It is late by one.
            _ => {
                let known = self.has.len().saturating_sub(1);
                return Some(Datum::List(self.has[..known].to_vec()));
            }
        }
        Some(Datum::Nil)
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        self.next += 1;
        let new = Datum::Int(self.next);
        let with = |more: &[&Datum]| {
            let more = more.iter().map(|item| (*item).clone());
            Datum::List(self.has.iter().cloned().chain(more).collect())
        };
        let looks = |act, found| (asking.client, act, Datum::Nil, found);
        let add = (asking.client, "add", new.clone(), Datum::Nil);
        match kind {
            "lost" => vec![add, looks("final", with(&[]))],
            "duplicate" => vec![add, looks("read", with(&[&new, &new]))],
            _ => vec![looks("read", with(&[&new]))],
        }
    }
}
