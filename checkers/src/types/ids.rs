//! Ids that are given out: each once, and perhaps in a rising order.

use rustc_hash::{FxHashMap, FxHashSet};

use super::generate::{Asking, Machine, Planted, Step};
use super::online::{Follow, Followed};
use super::{DataType, Datum, Fault, Judged, Operation};
use crate::linear::Options;

/// Ids that are given out.
pub(super) struct Ids {
    /// Whether one that was asked for after another had come must be larger.
    pub(super) rising: bool,
}

impl DataType for Ids {
    fn name(&self) -> &'static str {
        if self.rising { "increasing-ids" } else { "ids" }
    }

    fn aliases(&self) -> &'static [&'static str] {
        match self.rising {
            true => &["timestamps", "lin-tso"],
            false => &["unique-ids"],
        }
    }

    fn about(&self) -> &'static str {
        match self.rising {
            true => {
                "linearizability of a source of rising ids (Maelstrom's lin-tso): no id twice, and an id that is asked for after another has come is larger"
            }
            false => "no id is given out twice (Jepsen's unique-ids)",
        }
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[&["generate", "gen", "newid", "nextid", "ts", "timestamp"]]
    }

    fn is_sniffed(&self) -> bool {
        !self.rising
    }

    fn is_pure(&self, _: &str) -> bool {
        true
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        let id = op.answer()?;
        (self.rising && id.int().is_none() && !id.is_nil())
            .then(|| format!("the id {id} is no integer, so nobody can say whether they rise"))
    }

    fn judge(&self, ops: &[&Operation], _: &Options, _: bool) -> Judged {
        let mut ended: Vec<usize> = (0..ops.len())
            .filter(|at| ops[*at].answer().is_some_and(|id| !id.is_nil()))
            .collect();
        ended.sort_unstable_by_key(|at| ops[*at].end());
        let mut seen: FxHashMap<&Datum, usize> = FxHashMap::default();
        // The largest id so far, and so on: each stands behind all that had ended before it.
        let mut highest: Vec<usize> = Vec::new();
        for at in ended {
            let Some(id) = ops[at].answer() else {
                continue;
            };
            if let Some(first) = seen.insert(id, at) {
                let why = format!(
                    "#{} and #{} were both given {id}.",
                    ops[first].id, ops[at].id
                );
                return Fault::found("duplicate", &[first, at], at, why);
            }
            if !self.rising {
                continue;
            }
            let before = highest.partition_point(|other| ops[*other].end() < ops[at].id);
            if let Some(largest) = before.checked_sub(1).map(|last| highest[last])
                && ops[largest].answer() > Some(id)
            {
                let larger = ops[largest].answer().unwrap_or(&Datum::Nil);
                let why = format!(
                    "#{} was given {larger} and had ended (#{}) before #{} began, which was given {id}: smaller.",
                    ops[largest].id,
                    ops[largest].end(),
                    ops[at].id
                );
                return Fault::found("not-rising", &[largest, at], at, why);
            }
            if highest
                .last()
                .is_none_or(|last| ops[*last].answer() < Some(id))
            {
                highest.push(at);
            }
        }
        Judged::Holds
    }

    fn follow(&self) -> Option<Box<dyn Follow>> {
        Some(Box::new(Given {
            rising: self.rising,
            ..Given::default()
        }))
    }

    fn kinds(&self) -> &'static [&'static str] {
        self.violations()
    }

    fn violations(&self) -> &'static [&'static str] {
        match self.rising {
            true => &["duplicate", "not-rising"],
            false => &["duplicate"],
        }
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Source { last: 0 })
    }
}

/// The ids that were given out so far.
#[derive(Default)]
struct Given {
    rising: bool,
    all: FxHashSet<Datum>,
    largest: Option<Datum>,
    /// For each that is open, the largest that had come before it began.
    before: FxHashMap<usize, Option<Datum>>,
}

impl Follow for Given {
    fn begins(&mut self, _: &[Operation], at: usize) {
        if self.rising {
            self.before.insert(at, self.largest.clone());
        }
    }

    fn ends(&mut self, ops: &[Operation], at: usize) -> Followed {
        let before = self.before.remove(&at).flatten();
        let Some(id) = ops[at].answer().filter(|id| !id.is_nil()) else {
            return Followed::Holds;
        };
        if !self.all.insert(id.clone()) || before.as_ref() > Some(id) {
            return Followed::Violated;
        }
        if self.rising && self.largest.as_ref() < Some(id) {
            self.largest = Some(id.clone());
        }
        Followed::Holds
    }
}

/// The last id that was given out.
struct Source {
    last: i64,
}

impl Machine for Source {
    fn ask(&mut self, _: &mut Asking<'_>) -> (&'static str, Datum) {
        ("generate", Datum::Nil)
    }

    fn apply(&mut self, _: &Step<'_>) -> Option<Datum> {
        self.last += 2;
        Some(Datum::Int(self.last))
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        let step = |id| (asking.client, "generate", Datum::Nil, Datum::Int(id));
        let top = self.last + 2;
        match kind {
            "duplicate" => vec![step(top), step(top)],
            _ => vec![step(top), step(top - 1)],
        }
    }
}
