//! A register whose values have a version that the system gives them.

use rand::RngExt;
use rustc_hash::FxHashMap;

use super::generate::{Asking, Machine, Planted, Step};
use super::{DataType, Datum, Judged, Operation, search};
use crate::linear::Options;
use crate::spec::Spec;

/// A register with versions.
pub(super) struct VersionedRegister;

impl DataType for VersionedRegister {
    fn name(&self) -> &'static str {
        "versioned-register"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["versioned"]
    }

    fn about(&self) -> &'static str {
        "linearizability of a register whose version rises with every change, by how much is not asked (jepsen.etcd's versioned register asks for 1); a read of nil says nothing of the value"
    }

    fn operations(&self) -> &'static [&'static [&'static str]] {
        &[
            &["read", "r", "get"],
            &["write", "w", "put", "set"],
            &["cas", "compareandset", "compareandswap"],
        ]
    }

    /// Their names are those of a register, as which a file is read where nobody says more.
    fn is_sniffed(&self) -> bool {
        false
    }

    /// Nobody knows the version before the answer, so `[nil v]` is a value, and `[k [nil v]]` a key and a value.
    fn is_keyed(&self, asked: &Datum) -> bool {
        let inner = asked
            .pair()
            .and_then(|(key, inner)| Some((key, inner.pair()?)));
        inner.is_some_and(|(key, (version, _))| !key.is_nil() && version.is_nil())
    }

    fn misfit(&self, op: &Operation) -> Option<String> {
        let version = |datum: &Datum| datum.is_nil() || datum.int().is_some();
        let answered = |answer: &Datum| {
            answer.is_nil() || answer.pair().is_some_and(|(given, _)| version(given))
        };
        if let Some(answer) = op.answer().filter(|answer| !answered(answer)) {
            return Some(format!(
                "an answer must be [version value], and not {answer}"
            ));
        }
        if op.act == "read" {
            return None;
        }
        let Some((condition, value)) = op.asked.pair() else {
            return Some(format!(
                "a {} must be of [nil value], and not of {}",
                op.f, op.asked
            ));
        };
        if !condition.is_nil() {
            return Some(format!(
                "a {} that names version {condition}: no condition on a version is judged",
                op.f
            ));
        }
        let again = op.answer().and_then(Datum::pair).map(|(_, again)| again);
        if again.is_some_and(|again| !again.is_nil() && again != value) {
            return Some(format!("the completion says another value than {value}"));
        }
        (op.act == "cas" && value.pair().is_none())
            .then(|| format!("the value of a cas must be [old new], and not {value}"))
    }

    fn judge(&self, ops: &[&Operation], options: &Options, _: bool) -> Judged {
        let mut numbers: FxHashMap<&Datum, u32> = FxHashMap::default();
        let mut number = |value| {
            let next = numbers.len() as u32 + 1;
            *numbers.entry(value).or_insert(next)
        };
        let machine: Vec<Option<Op>> = ops
            .iter()
            .map(|op| {
                let answer = op.answer().and_then(Datum::pair);
                let version = answer.and_then(|(version, _)| version.int());
                let deed = match op.act {
                    "read" => {
                        let found = answer
                            .map(|(_, found)| found)
                            .filter(|found| !found.is_nil());
                        if op.answer().is_none() || (found.is_none() && version.is_none()) {
                            return None;
                        }
                        Deed::Read(found.map(&mut number))
                    }
                    "write" => Deed::Write(number(op.asked.pair()?.1)),
                    _ => {
                        let (old, new) = op.asked.pair()?.1.pair()?;
                        Deed::Cas(number(old), number(new))
                    }
                };
                Some(Op { version, deed })
            })
            .collect();
        search::judge(&Versions, ops, options, |at, _| machine[at])
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[search::NO_ORDER]
    }

    fn violations(&self) -> &'static [&'static str] {
        &["stale-read", "version-falls"]
    }

    fn machine(&self) -> Box<dyn Machine> {
        Box::new(Versioned::default())
    }
}

/// What is done, with numbers for values, and the version that was answered.
#[derive(Clone, Copy)]
struct Op {
    version: Option<i64>,
    deed: Deed,
}

#[derive(Clone, Copy)]
enum Deed {
    Read(Option<u32>),
    Write(u32),
    Cas(u32, u32),
}

/// What is known of a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Version {
    Is(i64),
    /// It is larger than this.
    Above(i64),
}

impl Version {
    /// The version of the next change, of which this was answered.
    fn next(self, answered: Option<i64>) -> Option<Self> {
        let above = match self {
            Self::Is(version) => version,
            Self::Above(version) => version.saturating_add(1),
        };
        match answered {
            Some(next) => (next > above).then_some(Self::Is(next)),
            None => Some(Self::Above(above)),
        }
    }

    /// The version once this was found.
    fn found(self, version: Option<i64>) -> Option<Self> {
        match (self, version) {
            (_, None) => Some(self),
            (Self::Is(is), Some(found)) => (is == found).then_some(self),
            (Self::Above(above), Some(found)) => (found > above).then_some(Self::Is(found)),
        }
    }
}

/// The register as a machine: a version and a value, 0 where it is absent.
struct Versions;

impl Spec for Versions {
    type State = (Version, u32);
    type Op = Op;

    fn initial(&self) -> (Version, u32) {
        (Version::Above(i64::MIN), 0)
    }

    fn step(&self, (version, value): &(Version, u32), op: &Op) -> Option<(Version, u32)> {
        match op.deed {
            Deed::Read(found) if found.is_none_or(|found| found == *value) => {
                Some((version.found(op.version)?, *value))
            }
            Deed::Write(new) => Some((version.next(op.version)?, new)),
            Deed::Cas(old, new) if old == *value => Some((version.next(op.version)?, new)),
            Deed::Read(_) | Deed::Cas(..) => None,
        }
    }
}

/// What is in it.
#[derive(Default)]
struct Versioned {
    version: i64,
    value: Option<i64>,
    next: i64,
}

fn with(version: Option<i64>, value: Datum) -> Datum {
    Datum::List(vec![version.map_or(Datum::Nil, Datum::Int), value])
}

impl Machine for Versioned {
    fn ask(&mut self, asking: &mut Asking<'_>) -> (&'static str, Datum) {
        let dice = asking.rng.random_range(0..10);
        if dice < 5 {
            return ("read", with(None, Datum::Nil));
        }
        self.next += 1;
        let new = Datum::Int(self.next);
        match self.value.filter(|_| dice > 7) {
            Some(old) => ("cas", with(None, Datum::List(vec![Datum::Int(old), new]))),
            None => ("write", with(None, new)),
        }
    }

    fn apply(&mut self, step: &Step<'_>) -> Option<Datum> {
        let (_, asked) = step.asked.pair()?;
        if step.act == "read" {
            let found = self.value.map_or(Datum::Nil, Datum::Int);
            return Some(with(Some(self.version), found));
        }
        let (old, new) = match asked.pair() {
            Some((old, new)) => (old.int(), new.int()),
            None => (self.value, asked.int()),
        };
        if old != self.value {
            return None;
        }
        self.version += 1;
        self.value = new;
        Some(with(Some(self.version), asked.clone()))
    }

    fn plant(&mut self, kind: &str, asking: &mut Asking<'_>) -> Vec<Planted> {
        let (version, value) = (self.version, self.next);
        let write = |n, version| {
            let value = Datum::Int(value + n);
            let asked = with(None, value.clone());
            (asking.client, "write", asked, with(Some(version), value))
        };
        let read = |n, version| {
            let found = with(Some(version), Datum::Int(value + n));
            (asking.client, "read", with(None, Datum::Nil), found)
        };
        match kind {
            "stale-read" => vec![
                write(1, version + 1),
                write(2, version + 2),
                read(1, version + 1),
            ],
            _ => vec![write(1, version + 2), write(2, version + 1)],
        }
    }
}
