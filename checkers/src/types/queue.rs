//! Queues: what goes in comes out, once, and perhaps in order.

use rand::RngExt;
use rustc_hash::FxHashMap;

use super::generate::{Asking, Machine, Planted, Step};
use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation, search};
use crate::linear::Options;
use crate::spec::Spec;

/// A queue whose order is not judged.
pub(super) struct Queue;

/// A queue that keeps its order.
pub(super) struct Fifo;

const ENQUEUE: &[&str] = &["enqueue", "enq", "push", "put", "send", "offer"];
const DEQUEUE: &[&str] = &["dequeue", "deq", "pop", "take", "poll", "receive"];

impl DataType for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["total-queue", "unordered-queue"]
    }

    fn about(&self) -> &'static str {
        "what goes in comes out, once: Jepsen's total-queue, where what comes out twice is a violation, too; the order is not judged (--spec fifo-queue does), and what is lost is known only where a drain has ended"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[ENQUEUE, DEQUEUE, &["drain"]]
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        let answer = op.answer().filter(|_| op.act == "drain")?;
        let list = answer.is_nil() || answer.items().is_some();
        (!list).then(|| format!("a drain finds a list, and not {answer}"))
    }

    fn is_pure(&self, _: &str) -> bool {
        false
    }

    fn judge(&self, ops: &[&Operation], _: &Options, complete: bool) -> Judged {
        let elements = passages(ops);
        let mut faults = elements
            .iter()
            .filter_map(|(value, passage)| passage.fault(ops, value));
        if let Some(first) = faults.next() {
            return Judged::Violated(faults.fold(first, |first, other| {
                let end = |fault: &Fault| ops[fault.culprit].end();
                if end(&other) < end(&first) {
                    other
                } else {
                    first
                }
            }));
        }
        if complete {
            lost(ops, &elements)
        } else {
            Judged::Holds
        }
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["lost", "duplicated", "unexpected", "from-the-future"]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["lost", "duplicated", "unexpected"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Waiting {
            drains: true,
            ..Waiting::default()
        })
    }
}

/// How one value went in and came out: operations, by what may be the first time, and by the last.
#[derive(Default)]
struct Passage {
    entered: Vec<usize>,
    left: Vec<usize>,
}

/// By value, what went in and came out.
fn passages<'a>(ops: &[&'a Operation]) -> Vec<(&'a Datum, Passage)> {
    let mut numbers: FxHashMap<&Datum, usize> = FxHashMap::default();
    let mut passages: Vec<(&Datum, Passage)> = Vec::new();
    let mut of = |value: &'a Datum, at: usize, enters: bool| {
        let number = *numbers.entry(value).or_insert(passages.len());
        if number == passages.len() {
            passages.push((value, Passage::default()));
        }
        let passage = &mut passages[number].1;
        let list = if enters {
            &mut passage.entered
        } else {
            &mut passage.left
        };
        list.push(at);
    };
    for (at, op) in ops.iter().enumerate() {
        match (op.act, op.answer()) {
            ("enqueue", _) if !op.is_failed() => of(&op.asked, at, true),
            ("dequeue", Some(value)) if !value.is_nil() => of(value, at, false),
            ("drain", Some(found)) => {
                for value in found.items().unwrap_or_default() {
                    of(value, at, false);
                }
            }
            _ => {}
        }
    }
    for (_, passage) in &mut passages {
        passage.left.sort_by_key(|at| ops[*at].end());
    }
    passages
}

impl Passage {
    /// Whether it came out more often than it can have gone in by then: the one that left nth needs n that had begun to
    /// enter.
    fn fault(&self, ops: &[&Operation], value: &Datum) -> Option<Fault> {
        let judged = self.left.iter().enumerate().find_map(|(n, at)| {
            let (id, end) = (ops[*at].id, ops[*at].end());
            match self.entered.get(n) {
                Some(enter) if ops[*enter].id < end => None,
                Some(enter) => {
                    let why = format!(
                        "#{id} took {value} out and had ended (#{end}) before it began to go in (#{}).",
                        ops[*enter].id
                    );
                    Some(Fault::found("from-the-future", &[*enter, *at], *at, why))
                }
                None if n == 0 => {
                    let failed = ops.iter().position(|op| op.act == "enqueue" && op.asked == *value);
                    let how = match failed {
                        Some(failed) => format!("whose enqueue (#{}) failed", ops[failed].id),
                        None => "which nobody put in".to_owned(),
                    };
                    let why = format!("#{id} took {value} out, {how}.");
                    let both: Vec<usize> = failed.into_iter().chain([*at]).collect();
                    Some(Fault::found("unexpected", &both, *at, why))
                }
                None => {
                    let why = format!(
                        "{value} came out {} times and can have gone in {} times: #{id} took it out once more.",
                        n + 1,
                        self.entered.len()
                    );
                    let all = [&self.entered[..], &self.left[..=n]].concat();
                    Some(Fault::found("duplicated", &all, *at, why))
                }
            }
        });
        match judged {
            Some(Judged::Violated(fault)) => Some(fault),
            _ => None,
        }
    }
}

/// So many of what is lost are shown.
const SHOWN: usize = 5;

/// What had been put in before the last drain began, and nobody took out, whom nobody knows of included.
fn lost(ops: &[&Operation], passages: &[(&Datum, Passage)]) -> Judged {
    let drains = (0..ops.len()).filter(|at| ops[*at].act == "drain" && ops[*at].end() != OPEN);
    let Some(drain) = drains.max_by_key(|at| ops[*at].id) else {
        return Judged::Holds;
    };
    let unclear = ops
        .iter()
        .filter(|op| op.outcome == super::Outcome::Unknown);
    let mut may_have_taken = 0;
    for op in unclear {
        match op.act {
            "dequeue" => may_have_taken += 1,
            // Nobody knows how many.
            "drain" => return Judged::Holds,
            _ => {}
        }
    }
    let mut missing = Vec::new();
    for (_, passage) in passages {
        let entered = passage
            .entered
            .iter()
            .filter(|at| ops[**at].end() < ops[drain].id);
        let entered: Vec<usize> = entered.copied().collect();
        // What may have gone in, and is not known to, may be what came out.
        missing.extend(entered.into_iter().skip(passage.left.len()));
    }
    if missing.len() <= may_have_taken {
        return Judged::Holds;
    }
    missing.sort_unstable();
    let (many, first) = (missing.len(), missing[0]);
    let but = match may_have_taken {
        0 => String::new(),
        n => format!(" ({n} dequeues of which nobody knows may have taken one each)"),
    };
    let why = format!(
        "{many} that had been put in when the drain #{} began never came out{but}: {} was the first.",
        ops[drain].id, ops[first].asked
    );
    missing.truncate(SHOWN);
    missing.push(drain);
    Fault::found("lost", &missing, drain, why)
}

impl DataType for Fifo {
    fn name(&self) -> &'static str {
        "fifo-queue"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["fifo"]
    }

    fn about(&self) -> &'static str {
        "linearizability of a queue that keeps its order (Knossos' fifo-queue); a dequeue of nil found it empty"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[ENQUEUE, DEQUEUE]
    }

    fn is_sniffed(&self) -> bool {
        false
    }

    fn is_pure(&self, _: &str) -> bool {
        false
    }

    fn judge(&self, ops: &[&Operation], options: &Options, _: bool) -> Judged {
        let mut numbers: FxHashMap<&Datum, u32> = FxHashMap::default();
        let mut number = |value| {
            let next = numbers.len() as u32;
            *numbers.entry(value).or_insert(next)
        };
        let machine: Vec<Op> = ops
            .iter()
            .map(|op| match (op.act, op.answer()) {
                ("enqueue", _) => Op::Enqueue(number(&op.asked)),
                (_, Some(Datum::Nil)) => Op::Dequeue(None),
                (_, Some(value)) => Op::Dequeue(Some(number(value))),
                (_, None) => Op::Any,
            })
            .collect();
        search::judge(&Order, ops, options, |at, _| Some(machine[at]))
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[search::NO_ORDER]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["reordered", "duplicated", "unexpected"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Waiting::default())
    }
}

/// The queue as a machine.
struct Order;

#[derive(Clone, Copy)]
enum Op {
    Enqueue(u32),
    /// What it took; `None`: it was empty.
    Dequeue(Option<u32>),
    /// Whatever it took.
    Any,
}

impl Spec for Order {
    type State = Vec<u32>;
    type Op = Op;

    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, queue: &Vec<u32>, op: &Op) -> Option<Vec<u32>> {
        match op {
            Op::Enqueue(value) => Some([queue.as_slice(), &[*value]].concat()),
            Op::Dequeue(Some(value)) if queue.first() == Some(value) => Some(queue[1..].to_vec()),
            Op::Dequeue(None) if queue.is_empty() => Some(Vec::new()),
            Op::Dequeue(_) => None,
            Op::Any => Some(queue.get(1..).unwrap_or_default().to_vec()),
        }
    }
}

/// What is in it.
#[derive(Default)]
struct Waiting {
    queue: Vec<Datum>,
    next: i64,
    drains: bool,
}

impl Machine for Waiting {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        if asking.rng.random_bool(0.5) {
            self.next += 1;
            return ("enqueue", Datum::Int(self.next));
        }
        let drains = self.drains && asking.rng.random_bool(0.02);
        (if drains { "drain" } else { "dequeue" }, Datum::Nil)
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        match step.act {
            "enqueue" => self.queue.push(step.asked.clone()),
            "drain" => return Some(Datum::List(std::mem::take(&mut self.queue))),
            _ if self.queue.is_empty() => return None,
            _ => return Some(self.queue.remove(0)),
        }
        Some(Datum::Nil)
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        let first = self.next + 1;
        let put = |more| {
            (
                asking.client,
                "enqueue",
                Datum::Int(first + more),
                Datum::Nil,
            )
        };
        let take = |more| {
            (
                asking.client,
                "dequeue",
                Datum::Nil,
                Datum::Int(first + more),
            )
        };
        match kind {
            // More than those of which nobody knows can have taken.
            "lost" => {
                let many = 1 + asking.unknown as i64;
                let drain = (
                    asking.client,
                    "drain",
                    Datum::Nil,
                    Datum::List(self.queue.clone()),
                );
                (0..many).map(put).chain([drain]).collect()
            }
            "duplicated" => vec![put(0), take(0), take(0)],
            "reordered" => vec![put(0), put(1), take(1), take(0)],
            _ => vec![take(0)],
        }
    }
}
