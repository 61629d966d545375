//! A log that numbers what is appended: one number an entry, in the order in which they came.

use std::collections::BTreeMap;

use rand::RngExt;
use rustc_hash::FxHashMap;

use super::generate::{Asking, Machine, Planted, Step};
use super::online::{Follow, Followed};
use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation, Outcome};
use crate::linear::Options;

/// A log.
pub(super) struct Log;

impl DataType for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["numbered-log", "stream"]
    }

    fn about(&self) -> &'static str {
        "linearizability of a log: an acknowledged append has a number, a number has one entry for ever, and what is appended after another append ended has a larger one (numbers may be left out)"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[
            &["append", "publish", "send"],
            &["read", "fetch", "r", "get"],
        ]
    }

    /// An append of a list is called the same.
    fn is_sniffed(&self) -> bool {
        false
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        let answer = op.answer()?;
        let numbered = answer.pair().filter(|(number, _)| number.int().is_some());
        match (op.act, numbered) {
            ("append", Some((_, again))) if *again == op.asked => None,
            ("append", _) => Some(format!(
                "an append that is ok must say [number value], with the value that was appended, and not {answer}"
            )),
            (_, Some((number, _))) if op.asked.is_nil() || op.asked == *number => None,
            (_, None) if answer.is_nil() && op.asked.int().is_some() => None,
            _ => Some(format!(
                "a read of number {} must find [number value] or nil, and not {answer}",
                op.asked
            )),
        }
    }

    /// The numbers are the order. Each entry is placed as early as it can be after those with smaller numbers: when its
    /// append has begun and every read has that found nothing there; at the latest when its append or a read that found
    /// it ends.
    fn judge(&self, ops: &[&Operation], _: &Options, _: bool) -> Judged {
        match places(ops).and_then(|places| in_order(ops, &places)) {
            Ok(()) => Judged::Holds,
            Err(fault) => fault,
        }
    }

    fn follow(&self) -> Option<Box<dyn Follow>> {
        Some(Box::new(Written::default()))
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[
            "lost",
            "two-in-one-place",
            "out-of-order",
            "changed",
            "from-nowhere",
            "aborted-read",
            "from-the-future",
            "duplicated",
        ]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["lost", "two-in-one-place", "out-of-order", "from-nowhere"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Entries::default())
    }
}

/// What is known of a number.
#[derive(Default)]
struct Place<'a> {
    /// What is there, and the append that put it there.
    entry: Option<&'a Datum>,
    append: Option<usize>,
    found: Vec<usize>,
    found_nothing: Vec<usize>,
}

/// What a read found at which number.
fn read_of(op: &Operation) -> Option<(i64, Option<&Datum>)> {
    let answer = op.answer()?;
    match answer.pair() {
        Some((number, value)) => Some((number.int()?, Some(value).filter(|value| !value.is_nil()))),
        None => Some((op.asked.int()?, None)),
    }
}

/// What is known of each number, or where two operations say different things of one.
fn places<'a>(ops: &[&'a Operation]) -> Result<BTreeMap<i64, Place<'a>>, Judged> {
    let mut places: BTreeMap<i64, Place<'a>> = BTreeMap::new();
    // Appends that may have taken any number, the first to begin last.
    let mut unclear: FxHashMap<&Datum, Vec<usize>> = FxHashMap::default();
    for (at, op) in ops.iter().enumerate().filter(|(_, op)| op.act == "append") {
        if op.outcome == Outcome::Unknown {
            unclear.entry(&op.asked).or_default().insert(0, at);
            continue;
        }
        let Some(number) = op
            .answer()
            .and_then(Datum::pair)
            .and_then(|(number, _)| number.int())
        else {
            continue;
        };
        let place = places.entry(number).or_default();
        if let Some(first) = place.append.replace(at) {
            let (one, other) = (ops[first].id, op.id);
            let why = format!(
                "#{one} and #{other} were both given number {number}, for {} and for {}.",
                ops[first].asked, op.asked
            );
            let culprit = if ops[first].end() > op.end() {
                first
            } else {
                at
            };
            return Err(Fault::found("two-in-one-place", &[first, at], culprit, why));
        }
        place.entry = Some(&op.asked);
    }
    for (at, op) in ops.iter().enumerate().filter(|(_, op)| op.act == "read") {
        let Some((number, found)) = read_of(op) else {
            continue;
        };
        let place = places.entry(number).or_default();
        let Some(found) = found else {
            place.found_nothing.push(at);
            continue;
        };
        match place.entry {
            Some(entry) if entry != found => {
                let other = place.append.unwrap_or_else(|| place.found[0]);
                let how = if place.append.is_some() {
                    "put"
                } else {
                    "found"
                };
                let why = format!(
                    "#{} found {found} at number {number}, where #{} {how} {entry}.",
                    op.id, ops[other].id
                );
                return Err(Fault::found("changed", &[other, at], at, why));
            }
            _ => place.entry = Some(found),
        }
        place.found.push(at);
    }
    for (number, place) in &mut places {
        if let (Some(entry), None) = (place.entry, place.append) {
            place.append = unclear.get_mut(entry).and_then(Vec::pop);
            if place.append.is_none() {
                return Err(from_nowhere(ops, *number, entry, place.found[0]));
            }
        }
    }
    Ok(places)
}

fn from_nowhere(ops: &[&Operation], number: i64, entry: &Datum, read: usize) -> Judged {
    let id = ops[read].id;
    let appended = ops
        .iter()
        .position(|op| op.act == "append" && op.asked == *entry);
    let Some(append) = appended else {
        let why = format!("#{id} found {entry} at number {number}, and nobody had appended it.");
        return Fault::found("from-nowhere", &[read], read, why);
    };
    let (kind, but) = match ops[append].is_failed() {
        true => ("aborted-read", "failed".to_owned()),
        false => (
            "duplicated",
            "is at another number, and no other append of it may be there".to_owned(),
        ),
    };
    let why = format!(
        "#{id} found {entry} at number {number}, but its append (#{}) {but}.",
        ops[append].id
    );
    let all = ops.iter().enumerate();
    // Whoever else found it took an append of which nobody knows the number.
    let all = all.filter(|(_, op)| match op.act {
        "append" => op.asked == *entry,
        _ => read_of(op).is_some_and(|(_, found)| found == Some(entry)),
    });
    let all: Vec<usize> = all.map(|(at, _)| at).collect();
    Fault::found(kind, &all, read, why)
}

fn in_order(ops: &[&Operation], places: &BTreeMap<i64, Place<'_>>) -> Result<(), Judged> {
    // How far the order has come, by whom, and at which number.
    let mut now = (0, 0, 0);
    for (number, place) in places {
        let Some(append) = place.append else {
            continue;
        };
        let begun = place.found_nothing.iter().chain([&append]);
        for at in begun {
            now = now.max((ops[*at].id, *at, *number));
        }
        let ended = place.found.iter().chain([&append]);
        let Some(by) = ended.copied().min_by_key(|at| ops[*at].end()) else {
            continue;
        };
        let end = ops[by].end();
        if end != OPEN && end < now.0 {
            return Err(too_late(ops, places, *number, by, (now.1, now.2)));
        }
    }
    Ok(())
}

/// `by` had ended, so that `number` was taken, before `late` began: what is at `smaller` came after that, or a read did
/// not find it after that.
fn too_late(
    ops: &[&Operation],
    places: &BTreeMap<i64, Place<'_>>,
    number: i64,
    by: usize,
    (late, smaller): (usize, i64),
) -> Judged {
    // Where nobody knows the number of an append, a read that found it tells.
    let shown = |number| {
        let place: Option<&Place<'_>> = places.get(&number);
        let append = place.and_then(|place| place.append);
        let told = append.is_some_and(|append| ops[append].end() != OPEN);
        let found = place.and_then(|place| place.found.first().copied());
        append.into_iter().chain(found.filter(|_| !told))
    };
    let (end, id) = (ops[by].end(), ops[late].id);
    let taken = format!(
        "number {number} was taken when #{end} came (#{})",
        ops[by].id
    );
    let all: Vec<usize> = shown(number)
        .chain(shown(smaller))
        .chain([by, late])
        .collect();
    if ops[late].act == "read" {
        let what = match smaller == number {
            true => "found nothing there".to_owned(),
            false => {
                format!("found nothing at the smaller number {smaller}, at which something is")
            }
        };
        let why = format!("{taken}; #{id}, which began after that, {what}.");
        return Fault::found("lost", &all, late, why);
    }
    if smaller == number {
        let why = format!(
            "#{} found {} and had ended (#{end}) before its append (#{id}) began.",
            ops[by].id, ops[late].asked
        );
        return Fault::found("from-the-future", &all, by, why);
    }
    let why = format!("{taken}; #{id}, which began after that, has the smaller number {smaller}.");
    Fault::found("out-of-order", &all, late, why)
}

/// The log while operations come, where each value is appended once.
#[derive(Default)]
struct Written {
    /// By value, its append, and the number at which it was found.
    appends: FxHashMap<Datum, (usize, Option<i64>)>,
    /// By number, what is there, and the last event at which a read that found nothing there began.
    places: BTreeMap<i64, (Option<Datum>, u64)>,
    /// Of what is taken, the number and when that was known: both rise, and what is behind and was known earlier
    /// suffices.
    taken: Vec<(i64, u64)>,
    lost: bool,
}

impl Follow for Written {
    fn begins(&mut self, ops: &[Operation], at: usize) {
        let op = &ops[at];
        if op.act == "append" {
            let before = self.appends.insert(op.asked.clone(), (at, None));
            self.lost |= before.is_some();
        }
    }

    fn ends(&mut self, ops: &[Operation], at: usize) -> Followed {
        let op = &ops[at];
        if self.lost {
            return Followed::Lost;
        }
        let holds = match (&op.outcome, op.act) {
            (Outcome::Unknown, _) => true,
            (Outcome::Failed, "read") => true,
            (Outcome::Failed, _) => {
                let append = self.appends.remove(&op.asked);
                append.is_none_or(|(_, found)| found.is_none())
            }
            (Outcome::Ok(_), "read") => match read_of(op) {
                Some((number, Some(found))) => self.there(ops, op, number, found),
                Some((number, None)) => self.nothing(op, number),
                None => true,
            },
            (Outcome::Ok(answer), _) => {
                let number = answer.pair().and_then(|(number, _)| number.int());
                number.is_none_or(|number| self.there(ops, op, number, &op.asked))
            }
        };
        if holds {
            Followed::Holds
        } else {
            Followed::Violated
        }
    }
}

impl Written {
    /// An operation that has ended says that this is at this number.
    fn there(&mut self, ops: &[Operation], op: &Operation, number: i64, value: &Datum) -> bool {
        let Some((append, found)) = self.appends.get_mut(value) else {
            return false;
        };
        if found.is_some_and(|other| other != number) {
            return false;
        }
        let begun = ops[*append].id;
        *found = Some(number);
        let (entry, nothing) = self.places.entry(number).or_default();
        if entry.as_ref().is_some_and(|entry| entry != value) {
            return false;
        }
        let fresh = entry.is_none();
        *entry = Some(value.clone());
        let latest = begun.max(*nothing);
        let holds = !fresh || self.is_before(number, latest);
        if self.taken.last().is_none_or(|(last, _)| *last < number) {
            self.taken.push((number, op.end()));
        }
        holds
    }

    /// A read that has ended found nothing at this number.
    fn nothing(&mut self, op: &Operation, number: i64) -> bool {
        let (entry, nothing) = self.places.entry(number).or_default();
        *nothing = op.id.max(*nothing);
        entry.is_none() || self.is_before(number, op.id)
    }

    /// Whether nothing at this number or behind it was known to be taken before this event.
    fn is_before(&self, number: i64, event: u64) -> bool {
        let behind = self.taken.partition_point(|(other, _)| *other < number);
        self.taken.get(behind).is_none_or(|(_, end)| *end > event)
    }
}

/// What is in it.
#[derive(Default)]
struct Entries {
    entries: Vec<Datum>,
    next: i64,
}

fn numbered(number: usize, value: Datum) -> Datum {
    Datum::List(vec![Datum::Int(number as i64), value])
}

impl Machine for Entries {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        if asking.rng.random_bool(0.5) {
            self.next += 1;
            return ("append", Datum::Text(format!("e{}", self.next)));
        }
        let number = asking.rng.random_range(0..=self.entries.len());
        ("read", Datum::Int(number as i64))
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        if step.act == "append" {
            self.entries.push(step.asked.clone());
            return Some(numbered(self.entries.len() - 1, step.asked.clone()));
        }
        let number = usize::try_from(step.asked.int()?).ok()?;
        let found = self.entries.get(number).cloned().unwrap_or(Datum::Nil);
        Some(numbered(number, found))
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        let top = self.entries.len();
        let value = |n: i64| Datum::Text(format!("e{}", self.next + n));
        let append = |number, n| {
            (
                asking.client,
                "append",
                value(n),
                numbered(number, value(n)),
            )
        };
        let read = |number: usize, found| {
            let asked = Datum::Int(number as i64);
            (asking.client, "read", asked, numbered(number, found))
        };
        match kind {
            "lost" => vec![append(top, 1), read(top, Datum::Nil)],
            "two-in-one-place" => vec![append(top, 1), append(top, 2)],
            "out-of-order" => vec![append(top + 1, 1), append(top, 2)],
            _ => vec![read(top, value(1))],
        }
    }
}
