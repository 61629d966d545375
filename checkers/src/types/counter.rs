//! A counter that is added to and read.

use std::collections::BTreeSet;

use rand::RngExt;

use super::generate::{Asking, Machine, Planted, Step};
use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation, search};
use crate::linear::Options;
use crate::spec::Spec;

/// A counter that begins at 0.
pub(super) struct Counter;

impl DataType for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["pn-counter", "g-counter"]
    }

    fn about(&self) -> &'static str {
        "linearizability of a counter that begins at 0; the bounds of Jepsen's counter checker are the first thing that is looked at"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[
            &["add", "inc", "incr", "increment"],
            &["subtract", "dec", "decr", "decrement"],
            &["read", "r", "get"],
        ]
    }

    fn finds(&self, act: &str, found: &Datum) -> bool {
        act != "read" || found.is_nil() || found.int().is_some()
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        if op.act != "read" && !op.asked.is_nil() && op.asked.int().is_none() {
            return Some(format!("the amount {} is no integer", op.asked));
        }
        let found = op.answer().filter(|found| !self.finds(op.act, found))?;
        Some(format!(
            "a read of a counter finds an integer, and not {found}"
        ))
    }

    fn judge(&self, ops: &[&Operation], options: &Options, _: bool) -> Judged {
        let amounts: Vec<i128> = ops.iter().map(|op| amount(op)).collect();
        if let Some(fault) = out_of_bounds(ops, &amounts) {
            return fault;
        }
        let mut different = amounts.iter().copied().filter(|amount| *amount != 0);
        let Some(step) = different.next() else {
            return Judged::Holds;
        };
        if different.all(|amount| amount == step) {
            return in_steps(ops, &amounts, step);
        }
        search::judge(&Sum, ops, options, |at, op| match (op.act, found(op)) {
            ("read", Some(found)) => Some(Op::Read(found)),
            ("read", None) => None,
            _ => Some(Op::Add(amounts[at])),
        })
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["too-high", "too-low", search::NO_ORDER]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["too-high", "too-low"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Total::default())
    }
}

/// What an operation adds; 0 where it reads, or never happened.
fn amount(op: &Operation) -> i128 {
    let amount = i128::from(op.asked.int().unwrap_or(1));
    match op.act {
        _ if op.is_failed() => 0,
        "add" => amount,
        "subtract" => -amount,
        _ => 0,
    }
}

/// What a read found, where it says so.
fn found(op: &Operation) -> Option<i128> {
    let answer = op.answer().filter(|_| op.act == "read")?;
    answer.int().map(i128::from)
}

/// Amounts by when they may have been there, summed up.
struct Sums(Vec<(u64, i128)>);

impl Sums {
    fn new(mut amounts: Vec<(u64, i128)>) -> Self {
        amounts.sort_unstable();
        let mut sum = 0;
        for (_, amount) in &mut amounts {
            sum += *amount;
            *amount = sum;
        }
        Self(amounts)
    }

    fn before(&self, event: u64) -> i128 {
        let behind = self.0.partition_point(|(at, _)| *at < event);
        behind.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// A read of less than what had certainly been added, or of more than what may have been: Jepsen's bounds.
fn out_of_bounds(ops: &[&Operation], amounts: &[i128]) -> Option<Judged> {
    let sums = |sign: i128, when: fn(&Operation) -> u64| {
        let adds = ops.iter().zip(amounts);
        let adds = adds.filter(|(_, amount)| amount.signum() == sign);
        Sums::new(adds.map(|(op, amount)| (when(op), *amount)).collect())
    };
    let (added, may_add) = (sums(1, Operation::end), sums(1, |op| op.id));
    let (taken, may_take) = (sums(-1, Operation::end), sums(-1, |op| op.id));
    let mut reads: Vec<usize> = (0..ops.len())
        .filter(|at| found(ops[*at]).is_some())
        .collect();
    reads.sort_unstable_by_key(|at| ops[*at].end());
    for at in reads {
        let (op, found) = (ops[at], found(ops[at])?);
        let least = added.before(op.id) + may_take.before(op.end());
        let most = may_add.before(op.end()) + taken.before(op.id);
        let kind = match found {
            _ if found < least => "too-low",
            _ if found > most => "too-high",
            _ => continue,
        };
        let why = format!(
            "#{} found {found}, and the counter was between {least} (all that had certainly been added before it began) and {most} (all that may have been before it ended).",
            op.id
        );
        return Some(Fault::found(kind, &[at], at, why));
    }
    None
}

/// Where all adds are of one amount they are alike but for their ends, and nothing has to be searched: an add is made
/// when its end comes up, or when a read that ends needs it, then the one that ends first. So the counter is never
/// further than it must be, and passes every number on its way: a read is explained when it does.
fn in_steps(ops: &[&Operation], amounts: &[i128], step: i128) -> Judged {
    let mut calls = (0..ops.len()).peekable();
    let mut ends: Vec<usize> = (0..ops.len()).filter(|at| ops[*at].end() != OPEN).collect();
    ends.sort_unstable_by_key(|at| ops[*at].end());
    let mut adds: BTreeSet<(u64, usize)> = BTreeSet::new();
    // Reads that are open and not explained, by what they found.
    let mut reads: BTreeSet<(i128, usize)> = BTreeSet::new();
    let mut steps: i128 = 0;
    let pass = |reads: &mut BTreeSet<(i128, usize)>, steps: i128| {
        let here: Vec<_> = reads
            .range((steps * step, 0)..=(steps * step, usize::MAX))
            .copied()
            .collect();
        for read in here {
            reads.remove(&read);
        }
    };
    for at in ends {
        while let Some(call) = calls.next_if(|call| ops[*call].id < ops[at].end()) {
            if amounts[call] != 0 {
                adds.insert((ops[call].end(), call));
            } else if let Some(found) = found(ops[call])
                && found != steps * step
            {
                reads.insert((found, call));
            }
        }
        if adds.remove(&(ops[at].end(), at)) {
            steps += 1;
            pass(&mut reads, steps);
            continue;
        }
        let Some(found) = found(ops[at]).filter(|found| reads.contains(&(*found, at))) else {
            continue;
        };
        while steps * step != found {
            let further = if step > 0 {
                found > steps * step
            } else {
                found < steps * step
            };
            if !further || adds.pop_first().is_none() {
                return Judged::Violated(Fault {
                    kind: search::NO_ORDER,
                    ops: Vec::new(),
                    culprit: at,
                    why: Vec::new(),
                });
            }
            steps += 1;
            pass(&mut reads, steps);
        }
    }
    Judged::Holds
}

/// The counter as a machine.
struct Sum;

enum Op {
    Add(i128),
    Read(i128),
}

impl Spec for Sum {
    type State = i128;
    type Op = Op;

    fn initial(&self) -> i128 {
        0
    }

    fn step(&self, sum: &i128, op: &Op) -> Option<i128> {
        match op {
            Op::Add(amount) => Some(sum + amount),
            Op::Read(found) => (found == sum).then_some(*sum),
        }
    }
}

/// How much it is, and how much that may at most be wrong by what nobody knows.
#[derive(Default)]
struct Total {
    sum: i64,
    asked: i64,
}

impl Machine for Total {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        if asking.rng.random_bool(0.5) {
            return ("read", Datum::Nil);
        }
        let amount = asking.rng.random_range(1..=3);
        self.asked += amount;
        ("add", Datum::Int(amount))
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        if step.act == "read" {
            return Some(Datum::Int(self.sum));
        }
        self.sum += step.asked.int().unwrap_or_default();
        Some(Datum::Nil)
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        let read = |found| (asking.client, "read", Datum::Nil, Datum::Int(found));
        match kind {
            "too-high" => vec![read(self.asked + 1)],
            _ => vec![(asking.client, "add", Datum::Int(3), Datum::Nil), read(0)],
        }
    }
}
