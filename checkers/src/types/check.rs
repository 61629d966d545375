//! From operations to a verdict with its evidence, offline and while a history grows.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::operation::OPEN;
use super::{DataType, Datum, Fault, Judged, Operation, Outcome};
use crate::linear::Options;
use crate::verdict::Exhausted;

/// What a history proves.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The property holds.
    Linearizable,
    /// It does not.
    Violation(Box<Counterexample>),
    /// A budget ran out first.
    Unknown {
        /// What ran out.
        exhausted: Exhausted,
        /// The object on which it did.
        key: Option<Datum>,
        /// Everything that had ended before this event is proven.
        proven_to: u64,
    },
}

impl Verdict {
    /// The verdict's name, as for registers.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Violation(_) => "violation",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// A few operations whose answers cannot all be right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counterexample {
    /// Of which type it is.
    pub of: String,
    /// What it is called.
    pub kind: String,
    /// The object on which it happened.
    pub key: Option<Datum>,
    /// The operations, in order of invocation.
    pub operations: Vec<Operation>,
    /// The one whose answer is wrong, by its id.
    pub culprit: u64,
    /// Why, in sentences.
    pub why: Vec<String>,
    /// The event with which the history became a violation.
    pub event: u64,
    /// Whether it did so at the latest then: of some beginnings a budget did not suffice to say.
    pub at_the_latest: bool,
    /// Whether fewer operations may prove it: a budget did not suffice to say.
    pub unshrunk: bool,
}

impl Counterexample {
    /// The object on which it happened, by its key, or by the type where there is but one.
    #[must_use]
    pub fn object(&self) -> String {
        match &self.key {
            Some(key) => key.to_string(),
            None => self.of.clone(),
        }
    }

    /// The members that the JSON of a violation has, in the shape of a register's.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let operations: Vec<_> = self.operations.iter().map(Operation::json).collect();
        json!({
            "anomaly": self.kind,
            "counterexample": operations,
            "key": self.key.as_ref().map(Datum::json),
            "order": [],
            "culprit": self.culprit,
            "why": self.why,
            "event": self.event,
            "at_the_latest": self.at_the_latest,
            "unshrunk": self.unshrunk,
            "staleness": null,
        })
    }

    /// As lines for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = match &self.key {
            Some(key) => format!("{}, key {key}\n", self.kind),
            None => format!("{}\n", self.kind),
        };
        for op in &self.operations {
            let mark = if op.id == self.culprit { '>' } else { ' ' };
            let ended = match op.completed {
                Some(event) => format!("#{event}"),
                None => "open".to_owned(),
            };
            let client = op.client;
            let what = op.describe();
            let line = format!(
                "{mark} #{:<6} to {ended:<7} client {client:<4} {what}\n",
                op.id
            );
            text.push_str(&line);
        }
        for why in &self.why {
            text.push_str(why);
            text.push('\n');
        }
        text
    }
}

/// A verdict and what it is about.
#[derive(Clone, Debug)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// Operations.
    pub ops: u64,
    /// Objects.
    pub keys: u64,
}

impl Report {
    /// The same where events are lost from this one on: what is before it may be a violation, and nothing holds.
    pub fn behind_a_gap(&mut self, first: u64) {
        if matches!(self.verdict, Verdict::Linearizable) {
            self.verdict = Verdict::Unknown {
                exhausted: Exhausted::Lost,
                key: None,
                proven_to: first,
            };
        }
    }
}

/// Judges the operations of a history, each object by itself. Of several violations the earliest is reported.
#[must_use]
pub fn check(of: &dyn DataType, ops: &[Operation], options: &Options) -> Report {
    let mut keys: BTreeMap<&Option<Datum>, Vec<&Operation>> = BTreeMap::new();
    for op in ops {
        keys.entry(&op.key).or_default().push(op);
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let judged: Vec<Verdict> = keys
        .par_iter()
        .map(|(key, ops)| verdict(of, key.as_ref(), ops, options))
        .collect();
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Violation(found) => (0, found.event),
        Verdict::Unknown { proven_to, .. } => (1, *proven_to),
        Verdict::Linearizable => (2, 0),
    };
    let first = judged.into_iter().min_by_key(rank);
    Report {
        verdict: first.unwrap_or(Verdict::Linearizable),
        ops: ops.len() as u64,
        keys: keys.len() as u64,
    }
}

fn verdict(
    of: &dyn DataType,
    key: Option<&Datum>,
    ops: &[&Operation],
    options: &Options,
) -> Verdict {
    let options = options.for_length(ops.len());
    match of.judge(ops, &options, true) {
        Judged::Holds => Verdict::Linearizable,
        Judged::Unknown {
            exhausted,
            proven_to,
        } => Verdict::Unknown {
            exhausted,
            key: key.cloned(),
            proven_to,
        },
        Judged::Violated(fault) => {
            let found = evidence(of, ops, fault, &options);
            Verdict::Violation(Box::new(Counterexample {
                key: key.cloned(),
                ..found
            }))
        }
    }
}

/// The operations as they were known after this event.
fn beginning(ops: &[&Operation], event: u64) -> Vec<Operation> {
    ops.iter().filter_map(|op| op.as_of(event)).collect()
}

/// What is wrong with these operations, if anything is.
fn fault_of(of: &dyn DataType, ops: &[Operation], options: &Options) -> Result<Option<Fault>, ()> {
    let all: Vec<&Operation> = ops.iter().collect();
    match of.judge(&all, options, false) {
        Judged::Holds => Ok(None),
        Judged::Violated(fault) => Ok(Some(fault)),
        Judged::Unknown { .. } => Err(()),
    }
}

/// Configurations that one question may take of the many that it takes to explain a violation.
const TO_EXPLAIN: u64 = 50_000;

/// The same while a violation is made smaller, and how many questions that may take.
const TO_SHRINK: u64 = 5_000;
const QUESTIONS: u32 = 400;

/// The evidence in the shortest beginning that is a violation: a beginning of what holds holds, so bisection finds it.
pub(super) fn evidence(
    of: &dyn DataType,
    ops: &[&Operation],
    fault: Fault,
    options: &Options,
) -> Counterexample {
    let options = &Options {
        budget: options.budget.min(TO_EXPLAIN),
        ..*options
    };
    let mut events: Vec<u64> = ops.iter().filter_map(|op| op.completed).collect();
    events.sort_unstable();
    let last = events.last().copied().unwrap_or_default();
    let whole = beginning(ops, OPEN);
    let Ok(Some(_)) = fault_of(of, &whole, options) else {
        // Only the end of the history shows it: something never came.
        return counterexample(of, &whole, fault, last, options);
    };
    let (mut holds, mut fails) = (0, events.len());
    let mut exact = true;
    while holds < fails {
        let middle = holds.midpoint(fails);
        match fault_of(of, &beginning(ops, events[middle]), options) {
            Ok(Some(_)) => fails = middle,
            Ok(None) => holds = middle + 1,
            Err(()) => (holds, exact) = (middle + 1, false),
        }
    }
    let event = events.get(fails).copied().unwrap_or(last);
    let begun = beginning(ops, event);
    let found = match fault_of(of, &begun, options) {
        Ok(Some(fault)) => counterexample(of, &begun, fault, event, options),
        Ok(None) | Err(()) => counterexample(of, &whole, fault, last, options),
    };
    Counterexample {
        at_the_latest: !exact,
        ..found
    }
}

pub(super) fn counterexample(
    of: &dyn DataType,
    ops: &[Operation],
    fault: Fault,
    event: u64,
    options: &Options,
) -> Counterexample {
    let (fault, unshrunk) = match fault.ops.is_empty() {
        true => smallest(of, ops, &fault, options),
        false => (fault, false),
    };
    Counterexample {
        of: of.name().to_owned(),
        kind: fault.kind.to_owned(),
        key: None,
        operations: fault.ops.iter().map(|at| ops[*at].clone()).collect(),
        culprit: ops[fault.culprit].id,
        why: fault.why,
        event,
        at_the_latest: false,
        unshrunk,
    }
}

/// The operations whose answers are needed for a violation that a search has found, and whether fewer may do: whether and when the others took
/// effect is left open, in ever smaller portions, and it stays one.
fn smallest(
    of: &dyn DataType,
    ops: &[Operation],
    fault: &Fault,
    options: &Options,
) -> (Fault, bool) {
    let options = &Options {
        budget: TO_SHRINK,
        ..*options
    };
    let mut needed: Vec<bool> = ops.iter().map(|op| op.end() != OPEN).collect();
    let (mut undecided, mut asked) = (false, 0);
    let mut fails = |needed: &[bool]| {
        asked += 1;
        if asked > QUESTIONS {
            undecided = true;
            return false;
        }
        let known = ops
            .iter()
            .zip(needed)
            .filter_map(|(op, needed)| match needed {
                true => Some(op.clone()),
                false if op.is_failed() || of.is_pure(op.act) => None,
                false => Some(Operation {
                    outcome: Outcome::Unknown,
                    completed: None,
                    ..op.clone()
                }),
            });
        let known: Vec<Operation> = known.collect();
        let judged = fault_of(of, &known, options);
        undecided |= judged.is_err();
        matches!(judged, Ok(Some(_)))
    };
    let mut portion = ops.len().div_ceil(2).max(1);
    loop {
        for from in (0..ops.len()).step_by(portion) {
            let part = from..(from + portion).min(ops.len());
            if !needed[part.clone()].contains(&true) {
                continue;
            }
            let mut fewer = needed.clone();
            fewer[part].fill(false);
            if fails(&fewer) {
                needed = fewer;
            }
        }
        if portion == 1 {
            break;
        }
        portion = portion.div_ceil(2);
    }
    let kept: Vec<usize> = (0..ops.len()).filter(|at| needed[*at]).collect();
    let culprit = kept.iter().copied().max_by_key(|at| ops[*at].end());
    let but = match ops.len() - kept.len() {
        0 => String::new(),
        1 => ", whether and whenever the other operation took effect".to_owned(),
        n => format!(", whether and whenever the {n} other operations took effect"),
    };
    let fault = Fault {
        kind: fault.kind,
        ops: kept,
        culprit: culprit.unwrap_or(fault.culprit),
        why: vec![format!(
            "No order of these explains all their answers{but}."
        )],
    };
    (fault, undecided)
}
