//! A set that only grows: what was added is there from then on, and every read finds all of it.

use std::collections::BTreeMap;

use rand::RngExt;
use rustc_hash::FxHashMap;

use super::generate::{Asking, Machine, Planted, Step};
use super::online::{Follow, Followed};
use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation, Outcome};
use crate::linear::Options;

/// A set that only grows.
pub(super) struct Set;

impl DataType for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["set-full", "g-set", "grow-only-set"]
    }

    fn about(&self) -> &'static str {
        "linearizability of a set that only grows (Jepsen's set-full with :linearizable? true): nothing lost, stale, twice or from nowhere, and of two reads one finds all that the other does"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[
            &["add", "insert", "broadcast"],
            &["read", "r", "get", "members"],
        ]
    }

    fn finds(&self, act: &str, found: &Datum) -> bool {
        act != "read" || found.is_nil() || found.items().is_some()
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        let found = op.answer().filter(|found| !self.finds(op.act, found))?;
        Some(format!(
            "a read of a set finds its elements, and not {found}"
        ))
    }

    /// In any order the reads find more and more: those that found the same are a group, and the groups stand by size.
    /// Then everything is placed as early as it can be, group after group: the adds of what is new in it, then its
    /// reads.
    fn judge(&self, ops: &[&Operation], _: &Options, _: bool) -> Judged {
        let elements = Elements::of(ops);
        let reads = match elements.reads(ops) {
            Ok(reads) => reads,
            Err(fault) => return fault,
        };
        match elements.place(ops, &reads) {
            Ok(()) => Judged::Holds,
            Err(fault) => fault,
        }
    }

    fn follow(&self) -> Option<Box<dyn Follow>> {
        Some(Box::new(Grown::default()))
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[
            "lost",
            "stale",
            "neither-holds-the-other",
            "from-nowhere",
            "aborted-read",
            "from-the-future",
            "duplicate",
        ]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["lost", "stale", "from-nowhere", "duplicate"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Growing::default())
    }
}

/// The adds of one element.
struct Element {
    /// The first that began, and the first that ended.
    call: usize,
    ret: Option<usize>,
}

/// What was added, by number.
struct Elements<'a> {
    numbers: FxHashMap<&'a Datum, u32>,
    all: Vec<Element>,
}

/// Reads that found the same elements, by number, in order of size.
struct Group {
    found: Vec<u32>,
    reads: Vec<usize>,
}

impl<'a> Elements<'a> {
    fn of(ops: &[&'a Operation]) -> Self {
        let mut elements = Self {
            numbers: FxHashMap::default(),
            all: Vec::new(),
        };
        let adds = ops.iter().enumerate();
        for (at, op) in adds.filter(|(_, op)| op.act == "add" && !op.is_failed()) {
            let next = elements.all.len() as u32;
            let number = *elements.numbers.entry(&op.asked).or_insert(next);
            if number == next {
                elements.all.push(Element {
                    call: at,
                    ret: None,
                });
            }
            let element = &mut elements.all[number as usize];
            if element.ret.map_or(OPEN, |first| ops[first].end()) > op.end() {
                element.ret = Some(at);
            }
        }
        elements
    }

    fn end(&self, ops: &[&Operation], element: u32) -> u64 {
        self.all[element as usize]
            .ret
            .map_or(OPEN, |at| ops[at].end())
    }

    /// The reads by what they found, in order of size.
    fn reads(&self, ops: &[&Operation]) -> Result<Vec<Group>, Judged> {
        let mut groups: FxHashMap<Vec<u32>, Vec<usize>> = FxHashMap::default();
        let reads = ops.iter().enumerate().filter(|(_, op)| op.act == "read");
        for (at, op) in reads {
            let Some(items) = op.answer().and_then(Datum::items) else {
                continue;
            };
            let mut found = Vec::with_capacity(items.len());
            for item in items {
                match self.numbers.get(item) {
                    Some(number) => found.push(*number),
                    None => return Err(from_nowhere(ops, at, item)),
                }
            }
            found.sort_unstable();
            if let Some(twice) = found.windows(2).find(|two| two[0] == two[1]) {
                let add = self.all[twice[0] as usize].call;
                let (id, element) = (op.id, &ops[add].asked);
                let why = format!("#{id} found {element} twice, and a set has each element once.");
                return Err(Fault::found("duplicate", &[add, at], at, why));
            }
            groups.entry(found).or_default().push(at);
        }
        let mut groups: Vec<Group> = groups
            .into_iter()
            .map(|(found, reads)| Group { found, reads })
            .collect();
        groups.sort_unstable_by(|a, b| (a.found.len(), &a.found).cmp(&(b.found.len(), &b.found)));
        Ok(groups)
    }

    fn place(&self, ops: &[&Operation], groups: &[Group]) -> Result<(), Judged> {
        // How far the order has come, and by whom.
        let mut now: (u64, Option<usize>) = (0, None);
        let mut before: Option<&Group> = None;
        for group in groups {
            let old = before.map_or(&[][..], |before| &before.found);
            let fresh = minus(&group.found, old);
            if let Some(missing) = minus(old, &group.found).first() {
                let [one, other] = [before.map_or(0, |before| before.reads[0]), group.reads[0]];
                return Err(self.neither(ops, one, *missing, other, fresh[0]));
            }
            let reached = now;
            for element in &fresh {
                let call = self.all[*element as usize].call;
                if self.end(ops, *element) < reached.0 {
                    let witness = before.map_or(group.reads[0], |before| before.reads[0]);
                    return Err(self.missed(ops, *element, reached.1, witness, Some(group)));
                }
                now = now.max((ops[call].id, Some(call)));
            }
            for read in &group.reads {
                if ops[*read].end() < now.0 {
                    return Err(self.too_early(ops, *read, now.1));
                }
            }
            let latest = group.reads.iter().map(|at| (ops[*at].id, Some(*at))).max();
            now = now.max(latest.unwrap_or_default());
            before = Some(group);
        }
        let found = before.map_or(&[][..], |before| &before.found);
        let never =
            (0..self.all.len() as u32).filter(|element| found.binary_search(element).is_err());
        for element in never {
            if self.end(ops, element) < now.0 {
                let witness = before.map_or(0, |before| before.reads[0]);
                return Err(self.missed(ops, element, now.1, witness, None));
            }
        }
        Ok(())
    }

    /// An element that was there before what the order had come to, and that a read did not find: `by` is that read,
    /// or the add of another element that this read, `witness`, found.
    fn missed(
        &self,
        ops: &[&Operation],
        element: u32,
        by: Option<usize>,
        witness: usize,
        found_in: Option<&Group>,
    ) -> Judged {
        let add = self.all[element as usize].ret.unwrap_or_default();
        let (value, end) = (&ops[add].asked, ops[add].end());
        let by = by.unwrap_or(witness);
        let kind = if found_in.is_some() { "stale" } else { "lost" };
        if ops[by].act == "read" {
            let why = format!(
                "{value} had been added (#{}) when #{end} came, and #{}, which began after that, did not find it.",
                ops[add].id, ops[by].id
            );
            return Fault::found(kind, &[add, by], by, why);
        }
        let why = format!(
            "{value} had been added (#{}) when #{end} came; {} was added after that (#{}), and #{} found it, but not {value}.",
            ops[add].id, ops[by].asked, ops[by].id, ops[witness].id
        );
        Fault::found(kind, &[add, by, witness], witness, why)
    }

    /// A read that had ended before `by` began, which must stand before it: an add of what it found, or of what one
    /// found that found less than it; or such a read.
    fn too_early(&self, ops: &[&Operation], read: usize, by: Option<usize>) -> Judged {
        let by = by.unwrap_or(read);
        let (id, end, other) = (ops[read].id, ops[read].end(), ops[by].id);
        if ops[by].act == "add" {
            let value = &ops[by].asked;
            let why = format!(
                "#{id} found {value} and had ended (#{end}) before its add (#{other}) began."
            );
            return Fault::found("from-the-future", &[by, read], read, why);
        }
        let lacks = ops[read].answer().and_then(Datum::items).and_then(|found| {
            let less = ops[by].answer()?.items()?;
            found.iter().find(|item| !less.contains(item))
        });
        let lacks = lacks.map_or_else(String::new, Datum::to_string);
        let add = self
            .numbers
            .iter()
            .find(|(value, _)| value.to_string() == lacks);
        let add = add.map(|(_, number)| self.all[*number as usize].call);
        let why = format!(
            "#{id} found {lacks} and had ended (#{end}) before #{other} began, which did not find it."
        );
        let ops: Vec<usize> = add.into_iter().chain([read, by]).collect();
        Fault::found("stale", &ops, by, why)
    }

    /// Two reads, each of which found what the other did not.
    fn neither(&self, ops: &[&Operation], one: usize, x: u32, other: usize, y: u32) -> Judged {
        let adds = [x, y].map(|element| self.all[element as usize].call);
        let [x, y] = adds.map(|add| &ops[add].asked);
        let why = format!(
            "#{} found {x} and not {y}, #{} found {y} and not {x}: whichever was added first, one of them missed it.",
            ops[one].id, ops[other].id
        );
        let culprit = if ops[one].end() > ops[other].end() {
            one
        } else {
            other
        };
        Fault::found(
            "neither-holds-the-other",
            &[adds[0], adds[1], one, other],
            culprit,
            why,
        )
    }
}

/// What is in one sorted list and not in another.
fn minus(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut behind = other.iter().peekable();
    let missing = one.iter().filter(|item| {
        while behind.next_if(|other| other < item).is_some() {}
        behind.peek() != Some(item)
    });
    missing.copied().collect()
}

pub(super) fn from_nowhere(ops: &[&Operation], read: usize, item: &Datum) -> Judged {
    let id = ops[read].id;
    let failed = ops
        .iter()
        .position(|op| op.act == "add" && op.asked == *item);
    match failed {
        Some(add) => {
            let why = format!("#{id} found {item}, whose add (#{}) failed.", ops[add].id);
            Fault::found("aborted-read", &[add, read], read, why)
        }
        None => {
            let why = format!("#{id} found {item}, which nobody had added.");
            Fault::found("from-nowhere", &[read], read, why)
        }
    }
}

/// The set while operations come, where each element is added once. In every order reads stand by the number of what
/// they found ([`Set::judge`]); a read that ends can only break the order with what is behind it, and with what is there
/// by then.
#[derive(Default)]
struct Grown {
    numbers: FxHashMap<Datum, u32>,
    /// For each element, the event with which its add began, and whether a read has found it.
    elements: Vec<(u64, bool)>,
    /// Those whose add has ended, in the order in which they did, and when.
    added: Vec<(u32, u64)>,
    /// What reads found, by how much that is, and when the first of those that found it ended.
    reads: BTreeMap<usize, (Vec<u32>, u64)>,
    lost: bool,
}

impl Follow for Grown {
    fn begins(&mut self, ops: &[Operation], at: usize) {
        let op = &ops[at];
        if op.act == "add" {
            let number = self.elements.len() as u32;
            self.elements.push((op.id, false));
            let before = self.numbers.insert(op.asked.clone(), number);
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
            (Outcome::Ok(found), "read") => found.items().is_none_or(|found| self.read(op, found)),
            (Outcome::Failed, "read") => true,
            (Outcome::Ok(_), _) => {
                let number = self.numbers.get(&op.asked);
                self.added.extend(number.map(|number| (*number, op.end())));
                true
            }
            (Outcome::Failed, _) => {
                let number = self.numbers.remove(&op.asked);
                number.is_none_or(|number| !self.elements[number as usize].1)
            }
        };
        if holds {
            Followed::Holds
        } else {
            Followed::Violated
        }
    }
}

impl Grown {
    /// A read has found this: whether there is still an order.
    fn read(&mut self, op: &Operation, items: &[Datum]) -> bool {
        let numbers = items.iter().map(|item| self.numbers.get(item).copied());
        let Some(mut found) = numbers.collect::<Option<Vec<u32>>>() else {
            return false;
        };
        found.sort_unstable();
        if found.windows(2).any(|two| two[0] == two[1]) {
            return false;
        }
        let size = found.len();
        if let Some((_, (less, _))) = self.reads.range(..=size).next_back()
            && !minus(less, &found).is_empty()
        {
            return false;
        }
        let more = self.reads.range(size + 1..).next();
        if more.is_some_and(|(_, (more, _))| !minus(&found, more).is_empty()) {
            return false;
        }
        // It stands behind its own begin, and that of each add of what it found.
        let mut latest = op.id;
        for number in &found {
            let (begun, was_found) = &mut self.elements[*number as usize];
            latest = latest.max(*begun);
            *was_found = true;
        }
        let mut added = self.added.iter();
        let missing = added.find(|(number, _)| found.binary_search(number).is_err());
        let behind = self.reads.range(size + 1..).map(|(_, (_, ended))| *ended);
        let first_end = behind.chain(missing.map(|(_, end)| *end)).min();
        self.reads.entry(size).or_insert((found, op.end()));
        first_end.is_none_or(|end| end > latest)
    }
}

/// What is in it.
#[derive(Default)]
struct Growing {
    has: Vec<Datum>,
    next: i64,
}

impl Machine for Growing {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        if asking.rng.random_bool(0.7) {
            self.next += 1;
            return ("add", Datum::Int(self.next));
        }
        ("read", Datum::Nil)
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        if step.act == "read" {
            return Some(Datum::List(self.has.clone()));
        }
        if !self.has.contains(step.asked) {
            self.has.push(step.asked.clone());
        }
        Some(Datum::Nil)
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        self.next += 1;
        let new = Datum::Int(self.next);
        let with = |more: &[&Datum]| {
            let mut all = self.has.clone();
            all.extend(more.iter().map(|item| (*item).clone()));
            Datum::List(all)
        };
        let read = |found| (asking.client, "read", Datum::Nil, found);
        let add = (asking.client, "add", new.clone(), Datum::Nil);
        match kind {
            "lost" => vec![add, read(with(&[]))],
            "stale" => vec![
                add,
                read(with(&[&new])),
                read(with(&[])),
                read(with(&[&new])),
            ],
            "duplicate" => vec![add, read(with(&[&new, &new]))],
            _ => vec![read(with(&[&new]))],
        }
    }
}
