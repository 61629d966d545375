//! From "it fails" to the few operations that prove it.
//!
//! First the event with which the history stopped being linearizable: a prefix of a linearizable history is
//! linearizable, so bisection finds it. Then the operations of the values that clash, then fewer and fewer of them,
//! while a violation remains. Dropping is safe where it can't make a legal history illegal: a write only together with
//! everybody who may have found its value ([`super::sources`]).
//!
//! The verdict stands before any of this begins, and nobody shall wait for it: both have budgets of their own, in states,
//! and what was reached when they are spent is what is shown, and said ([`Counterexample::at_the_latest`],
//! [`Counterexample::unshrunk`]).

use std::cell::Cell;

use rustc_hash::FxHashSet;

use super::sources::{Closed, Sources, written};
use super::{Judgement, Options, dfs, frontier, judge, judge_key, prefix, starts, strict, zones};
use crate::explain::Began;
use crate::history::{
    ABSENT, End, History, KeyHistory, Kind, NEVER, Names, Op, Operation, Start, Value, Values,
};
use crate::spec::Register;
use crate::verdict::{Counterexample, Exhausted, Reason, Staleness};

/// Where a key stops being linearizable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// The position with which it certainly fails.
    pub(super) position: u32,
    /// Whether everything before it has an order; else it may have failed earlier.
    pub(super) exact: bool,
}

/// The evidence that `key` fails, at its earliest event: the one that [`first_bad`] gave.
pub(super) fn explain(
    history: &History,
    key: &KeyHistory,
    first: First,
    options: &Options,
) -> Counterexample {
    let event = event_at(history, key, first.position);
    let mut found = if key.gaps.is_empty() {
        explain_part(history, key, first, options)
    } else {
        let parts = super::gaps::parts(key).into_iter();
        let within = |part: super::gaps::Part| {
            let position = part.own(first.position)?;
            let first = First { position, ..first };
            let mut found = explain_part(history, &part.key, first, options);
            part.say(history, &mut found);
            Some(found)
        };
        parts.filter_map(within).next().unwrap_or_default()
    };
    let before_gaps = key.gaps.first().is_none_or(|gap| first.position < gap.at);
    if before_gaps {
        let text = |value: Value| history.names.text(value).into_owned();
        let said = starts::said(key, first.position, options, &text);
        found.why.extend(said);
    }
    found.since(event, first.exact)
}

/// The same of a key out of which nothing is lost; the event is the caller's business.
fn explain_part(
    history: &History,
    key: &KeyHistory,
    first: First,
    options: &Options,
) -> Counterexample {
    if let Some(of_key) = &key.lists {
        return super::lists::explain(history, key, of_key, first.position, options);
    }
    let ops = prefix(&key.ops, first.position);
    let describe = |row| history.operation(row);
    let names = Some(&history.names);
    let word = strict::Word::Compared;
    let without = || judge(&ops, key.start, &key.values, key.events, options).0;
    if word.given(key) && without() != Judgement::Fails {
        let teller = strict::Teller {
            describe: &describe,
            names,
        };
        return strict::explain(key, first.position, word, options, &teller);
    }
    let ground = Ground {
        start: key.start,
        values: &key.values,
    };
    prove_named(ops, &ground, 0, options, &describe, names)
}

/// The evidence that `ops` fail, of which the last event is `event`.
pub(super) fn prove(
    all: Vec<Op>,
    ground: &Ground<'_>,
    event: u64,
    options: &Options,
    describe: &dyn Fn(u32) -> Operation,
) -> Counterexample {
    prove_named(all, ground, event, options, describe, None)
}

/// As [`prove`], where values may have names.
fn prove_named(
    all: Vec<Op>,
    ground: &Ground<'_>,
    event: u64,
    options: &Options,
    describe: &dyn Fn(u32) -> Operation,
    names: Option<&Names>,
) -> Counterexample {
    let events = all.last().map_or(0, |op| op.call + 1);
    let events = all
        .iter()
        .filter(|op| op.ret != NEVER)
        .map(|op| op.ret + 1)
        .fold(events, u32::max);
    let case = Case {
        ground,
        events,
        effort: Effort::new(options),
    };
    let matter: Vec<Op> = all
        .iter()
        .copied()
        .filter(super::frontier::matters)
        .collect();
    let sources = Sources::of(&matter);
    let mut ops = case.few(&matter, &sources);
    case.shrink(&mut ops, &sources);
    let unshrunk = case.effort.is_spent();
    let culprit = ops
        .iter()
        .filter(|op| op.end == End::Ok)
        .max_by_key(|op| op.ret)
        .or(ops.last())
        .copied();
    let row = culprit.map_or(0, |op| op.row);
    let mut order = order_without(&ops, row, ground);
    // What nobody has on record proves nothing by itself, and is not shown.
    ops.retain(|op| !super::gaps::is_nobody(op.row));
    order.retain(|row| !super::gaps::is_nobody(*row));
    let operations: Vec<Operation> = ops.iter().map(|op| describe(op.row)).collect();
    let culprit = culprit.map(|op| (op, describe(row)));
    let began = ground.began();
    let mut why = crate::explain::why(
        &operations,
        culprit.as_ref().map(|(_, op)| op),
        began,
        names,
    );
    why.extend(unshrunk.then(said_unshrunk));
    Counterexample {
        key: operations
            .first()
            .map(|op| op.key.clone())
            .unwrap_or_default(),
        why,
        order: order.into_iter().map(|row| describe(row).id).collect(),
        staleness: culprit
            .as_ref()
            .and_then(|(op, _)| staleness(&all, op, describe)),
        culprit: culprit.map_or(0, |(_, op)| op.id),
        operations,
        event,
        at_the_latest: false,
        unshrunk,
        typed: None,
    }
}

/// What the operations of a key stand on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    /// What it held at first.
    pub(super) start: Start,
    pub(super) values: &'a Values,
}

impl Ground<'_> {
    /// What it held at first, in the words of a sentence about it.
    pub(super) fn began(&self) -> Began {
        match self.start {
            Start::Absent => Began::Absent,
            Start::Value(number) => self.values.known(number).map_or(Began::Absent, Began::With),
            Start::Any => Began::Somehow,
        }
    }
}

/// What is said of evidence that is not shrunk to the end.
pub(super) fn said_unshrunk() -> String {
    "These operations prove it, and fewer of them may: they were not shrunk to the end.".to_owned()
}

/// Options for what is only an ornament of a verdict.
pub(super) fn brief(options: &Options) -> Options {
    Options {
        budget: options.budget.min(10_000),
        ..*options
    }
}

/// What shrinking may spend, in states: one for each operation that is looked at and each configuration that is visited.
pub(super) struct Effort<'a> {
    options: &'a Options,
    left: Cell<u64>,
    spent: Cell<bool>,
}

/// States that shrinking one counterexample may cost: about a second of work.
const EFFORT: u64 = 2_000_000;

/// So many writers are glanced at in the time of one state.
const GLANCES: u64 = 16;

/// One question may take no more than this part of what is left, so that a hard one leaves something to the others.
const SHARE: u64 = 8;

impl<'a> Effort<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            left: Cell::new(EFFORT),
            spent: Cell::new(false),
        }
    }

    /// Whether something was left undone.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.left.get() == 0
    }

    /// Spends so many states; false where there are not so many left.
    pub(super) fn charge(&self, states: u64) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(states));
        if states > left {
            self.spent.set(true);
        }
        states <= left
    }

    /// Asks whether so many operations fail; without an answer they count as if they did not.
    pub(super) fn ask(&self, ops: usize, judge: impl FnOnce(&Options) -> (Judgement, u64)) -> bool {
        if !self.charge(ops as u64) {
            return false;
        }
        let options = Options {
            budget: self.options.budget.min(self.left.get() / SHARE),
            ..*self.options
        };
        let (judgement, spent) = judge(&options);
        let paid = self.charge(spent);
        if matches!(judgement, Judgement::Unknown { .. }) {
            self.spent.set(true);
        }
        paid && judgement == Judgement::Fails
    }
}

/// The reason for an unknown, with what was open where the search stopped.
pub(super) fn reason(
    history: &History,
    key: &KeyHistory,
    proven_to: u32,
    exhausted: Exhausted,
) -> Reason {
    let blocking = key
        .ops
        .iter()
        .filter(|op| op.call <= proven_to && op.ret >= proven_to && op.ret != NEVER)
        .take(20)
        .map(|op| history.operation(op.row))
        .collect();
    let proven = proven_to.checked_sub(1);
    Reason {
        exhausted,
        key: key.name.clone(),
        proven_to: proven.map(|position| event_at(history, key, position)),
        blocking,
    }
}

/// The position with which the key's prefix stops being linearizable.
pub(super) fn first_bad(key: &KeyHistory, options: &Options) -> First {
    if !key.gaps.is_empty() {
        let parts = super::gaps::parts(key).into_iter();
        let fails = |part: super::gaps::Part| {
            let proves =
                part.worth.fails && judge_key(&part.key, options).judgement == Judgement::Fails;
            proves.then(|| {
                let first = first_bad(&part.key, options);
                First {
                    position: part.whole(first.position),
                    ..first
                }
            })
        };
        // A part that was undecided may have failed before.
        let last = First {
            position: key.events - 1,
            exact: false,
        };
        return parts.filter_map(fails).next().unwrap_or(last);
    }
    if let Some(of_key) = &key.lists {
        return super::lists::first_bad(key, of_key, options);
    }
    if strict::Word::Compared.given(key) {
        return strict::first_bad(key, strict::Word::Compared, options);
    }
    // A search that dies at a position knows that everything before it has an order; it mostly shows right there.
    let judged =
        |ops: &[Op], options: &Options| judge(ops, key.start, &key.values, key.events, options);
    let (_, _, _, first) = judged(&key.ops, options);
    let (mut good, mut bad) = (first, key.events - 1);
    if first == 0
        && key.start == Start::Absent
        && let Some(at) = frontier::plainly_fails_at(&key.ops, key.values.len(), key.events)
    {
        // Rarely anything is wrong before it shows so plainly: then one search says so instead of many.
        bad = at;
        if at > 0 {
            let ops = prefix(&key.ops, at - 1);
            match judged(&ops, options).0 {
                Judgement::Fails => (good, bad) = (0, at - 1),
                before => {
                    return First {
                        position: at,
                        exact: before == Judgement::Holds,
                    };
                }
            }
        }
    }
    let step = if first > 0 { 1 } else { key.events };
    first_bad_by((good, bad), step, options, |last, options| {
        let ops = prefix(&key.ops, last);
        let (judgement, _, spent, _) = judged(&ops, options);
        (judgement, spent)
    })
}

/// The first position up to which a key fails, from `good` to `bad`, of which the last fails; looked for in steps that
/// double. What is before `good` has an order. All questions together may cost as much as one verdict, and something.
pub(super) fn first_bad_by(
    (mut good, mut bad): (u32, u32),
    mut step: u32,
    options: &Options,
    judge: impl Fn(u32, &Options) -> (Judgement, u64),
) -> First {
    let mut left = options.budget.saturating_add(EFFORT);
    let mut exact = true;
    while good < bad {
        let middle = (good + (bad - good) / 2).min(good + step - 1);
        step = step.saturating_mul(2);
        let budget = options.budget.min(left);
        let (judgement, spent) = judge(middle, &Options { budget, ..*options });
        left = left.saturating_sub(spent);
        if judgement == Judgement::Fails {
            bad = middle;
        } else {
            good = middle + 1;
            exact = judgement == Judgement::Holds;
        }
    }
    First {
        position: bad,
        exact,
    }
}

/// The event index of a position of this key.
pub(super) fn event_at(history: &History, key: &KeyHistory, position: u32) -> u64 {
    let found = key.ops.iter().find_map(|op| {
        if op.call == position {
            Some(history.invoked(op.row))
        } else if op.ret == position {
            history.completed(op.row)
        } else {
            None
        }
    });
    found.unwrap_or_default()
}

/// How to ask whether operations fail.
struct Case<'a> {
    ground: &'a Ground<'a>,
    events: u32,
    effort: Effort<'a>,
}

impl Case<'_> {
    fn fails(&self, ops: &[Op]) -> bool {
        self.effort.ask(ops.len(), |options| {
            let Ground { start, values } = *self.ground;
            let (judgement, _, spent, _) = judge(ops, start, values, self.events, options);
            (judgement, spent)
        })
    }

    /// Some operations that fail by themselves: the clashing ones, or else the last ones with all their sources.
    fn few(&self, ops: &[Op], sources: &Sources<'_>) -> Vec<Op> {
        if let Some(few) = self.clashing(ops) {
            return few;
        }
        let mut last = 8;
        while last < ops.len() {
            let few = sources.close(ops.len() - last..ops.len());
            if !self.effort.charge(sources.looked() / GLANCES) {
                break;
            }
            if self.fails(&few) {
                return few;
            }
            last *= 4;
        }
        ops.to_vec()
    }

    /// Where zones know which values clash: their extreme operations, if these fail by themselves.
    fn clashing(&self, ops: &[Op]) -> Option<Vec<Op>> {
        if self.ground.start != Start::Absent {
            return None;
        }
        let zones::Zones::Fails(values) = zones::check(ops, self.ground.values.len(), self.events)
        else {
            return None;
        };
        let mut wanted: FxHashSet<u32> = values.into_iter().collect();
        loop {
            let before = wanted.len();
            for op in ops.iter().filter(|op| op.kind == Kind::Cas) {
                if wanted.contains(&op.old) || wanted.contains(&op.value) {
                    wanted.extend([op.old, op.value]);
                }
            }
            if wanted.len() == before {
                break;
            }
        }
        let mut keep: FxHashSet<u32> = FxHashSet::default();
        for value in wanted {
            let reads = || {
                ops.iter()
                    .filter(move |op| op.kind == Kind::Read && op.value == value)
            };
            keep.extend(reads().min_by_key(|op| op.ret).map(|op| op.row));
            keep.extend(reads().max_by_key(|op| op.call).map(|op| op.row));
            let writers = ops
                .iter()
                .filter(|op| op.kind != Kind::Read && op.value == value);
            keep.extend(writers.map(|op| op.row));
        }
        let few: Vec<Op> = ops
            .iter()
            .copied()
            .filter(|op| keep.contains(&op.row))
            .collect();
        self.fails(&few).then_some(few)
    }

    /// Drops operations, in ever smaller pieces, while what remains is a violation.
    fn shrink(&self, ops: &mut Vec<Op>, sources: &Sources<'_>) {
        let charge = |glances| self.effort.charge(glances / GLANCES);
        let Some(closed) = Closed::of(ops, sources, &charge) else {
            return;
        };
        let mut values: Vec<u32> = ops.iter().filter_map(written).collect();
        values.sort_unstable();
        values.dedup();
        if values.len() <= 64 {
            for value in values {
                self.try_without(ops, &closed, |op| written(op) == Some(value));
            }
        }
        let mut piece = ops.len().div_ceil(2).max(1);
        loop {
            let before = ops.len();
            let mut end = ops.len();
            while end > 0 {
                let start = end.saturating_sub(piece);
                let rows: FxHashSet<u32> = ops[start..end].iter().map(|op| op.row).collect();
                if !self.try_without(ops, &closed, |op| rows.contains(&op.row)) {
                    return;
                }
                end = start.min(ops.len());
            }
            if piece > 1 {
                piece = piece.div_ceil(2);
            } else if ops.len() == before {
                break;
            }
        }
    }

    /// Drops what `drop` says: with everybody who needs it, or else without those whom somebody needs. False where there
    /// is no effort left to try.
    fn try_without(&self, ops: &mut Vec<Op>, closed: &Closed, drop: impl Fn(&Op) -> bool) -> bool {
        let kept: Vec<Op> = ops.iter().filter(|op| !drop(op)).copied().collect();
        if kept.len() == ops.len() {
            return true;
        }
        if !self.effort.charge(closed.size() / GLANCES) {
            return false;
        }
        for rest in [
            closed.with_needed(ops, &kept),
            closed.without_needy(kept.clone()),
        ] {
            if rest.len() < ops.len() && self.fails(&rest) {
                *ops = rest;
                return true;
            }
        }
        true
    }
}

/// The most operations of which an order is shown.
const ORDERED: usize = 400;

/// An order of all but the culprit, as rows; of too many none is looked for.
fn order_without(ops: &[Op], culprit: u32, ground: &Ground<'_>) -> Vec<u32> {
    if ops.len() > ORDERED {
        return Vec::new();
    }
    let rest: Vec<Op> = ops
        .iter()
        .filter(|op| op.row != culprit || op.kind != Kind::Read)
        .map(|op| {
            if op.row != culprit {
                return *op;
            }
            // A write that fits nowhere may still have been seen: it is left open.
            Op {
                ret: NEVER,
                end: End::Unknown,
                ..*op
            }
        })
        .collect();
    let mut budget = super::Budget::new(&Options {
        budget: 10_000,
        ..Options::default()
    });
    let starts = match ground.start {
        Start::Absent => Some(vec![ABSENT]),
        Start::Value(start) => Some(vec![start]),
        Start::Any => starts::candidates(&rest, ground.values),
    };
    for start in starts.unwrap_or_default() {
        let register = Register::from(start);
        let found = dfs::search(&register, &Register::timed(&rest), &mut budget);
        if let dfs::Found::Order(order) = found {
            return order.into_iter().map(|i| rest[i].row).collect();
        }
    }
    Vec::new()
}

/// How old the value was that a read found: how many values had certainly followed it before the read began, and how
/// long ago the first of them. `None` where that is not certain.
fn staleness(all: &[Op], read: &Op, describe: &dyn Fn(u32) -> Operation) -> Option<Staleness> {
    if read.kind != Kind::Read {
        return None;
    }
    let of_value = |op: &&Op| op.value == read.value && op.end == End::Ok;
    let mut writers = all
        .iter()
        .filter(|op| op.kind != Kind::Read && op.value == read.value && op.end != End::Failed);
    let (writer, another) = (writers.next()?, writers.next());
    if another.is_some() {
        return None;
    }
    let seen = all
        .iter()
        .filter(of_value)
        .filter(|op| op.row != read.row)
        .map(|op| op.ret)
        .min()?;
    let newer = all.iter().filter(|op| {
        matches!(op.kind, Kind::Write | Kind::Delete | Kind::Cas)
            && op.end == End::Ok
            && op.row != writer.row
            && op.call > seen
            && op.ret < read.call
    });
    let first = newer.clone().min_by_key(|op| op.ret)?;
    let replaced_ns = describe(first.row).completed_ns?;
    Some(Staleness {
        nanoseconds: describe(read.row).invoked_ns.saturating_sub(replaced_ns),
        versions: newer.count() as u64,
    })
}
