//! Data types beside the register and the list: what their operations are called, and how a history of them is judged.
//!
//! A data type is one file and one line of [`ALL`]. Its events are untyped (an f, a key, a value as written) whatever
//! the format; [`operation`] pairs them, [`check()`](check::check) judges each key by itself, [`generate`] makes
//! histories. Registers and lists do not come through here: they have packed histories and algorithms of their own.
//!
//! | type | what is judged | cost |
//! | --- | --- | --- |
//! | [`mutex`] | linearizability of Knossos' `mutex`: whoever releases | O(n log n) |
//! | [`lock`] | the same where only its holder can release | O(n log n) |
//! | [`set`] | linearizability of a set that only grows | O(n log n), and what is read |
//! | [`eventual-set`](eventual) | that a last read finds all that was added, however late others are | O(n log n), and what is read |
//! | [`ids`] | that no id is given out twice; `increasing-ids`, also that they rise | O(n log n) |
//! | [`counter`] | linearizability | O(n log n) where all amounts are equal, else bounds and a search |
//! | [`queue`] | Jepsen's `total-queue`, and that nothing comes out twice; `fifo-queue`, linearizability | O(n log n); a search |
//! | [`log`] | linearizability of a log that numbers what is appended | O(n log n) |
//! | [`versioned`] | linearizability of a register whose versions rise | a search |
//!
//! Unknown outcomes are open to the end; failed ones never happened.

pub mod check;
mod counter;
pub mod datum;
mod eventual;
pub mod generate;
mod ids;
pub mod lines;
mod lock;
mod log;
mod mutex;
pub mod online;
pub mod operation;
mod queue;
mod search;
mod set;
mod versioned;

#[cfg(test)]
mod tests;

pub use check::{Counterexample, Report, check};
pub use datum::Datum;
pub use online::Online;
pub use operation::{Asked, Loaded, Operation, Outcome};

use crate::linear::Options;
use crate::verdict::Exhausted;
use generate::Machine;
use online::Follow;

/// A data type.
pub trait DataType: Sync {
    /// Its name on the command line and in headers.
    fn name(&self) -> &'static str;

    /// Other names by which people know it.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Which property a verdict is about, in a sentence, with its source.
    fn about(&self) -> &'static str;

    /// Its operations: each one's own name first, then other words for it, without capital letters, `_` and `-`.
    fn operations(&self) -> &'static [&'static [&'static str]];

    /// Whether what an operation asks with may be a key and a value, `[k v]`.
    fn is_keyed(&self, asked: &Datum) -> bool {
        asked
            .pair()
            .is_some_and(|(key, _)| key.items().is_none() && !key.is_nil())
    }

    /// Whether a file is taken for this type though nobody says so. Of two types with the same operations one may be.
    fn is_sniffed(&self) -> bool {
        true
    }

    /// Whether a value that was found can be one of this type. Where two types have the same operations, this tells.
    fn finds(&self, _act: &str, _found: &Datum) -> bool {
        true
    }

    /// Why an operation is none of this type; `None` where it is one.
    fn misfit(&self, _op: &Operation) -> Option<String> {
        None
    }

    /// Whether an operation changes nothing, so that without its answer it says nothing.
    fn is_pure(&self, act: &str) -> bool {
        act == "read"
    }

    /// Judges the operations of one key, in order of invocation. With `complete` no more will come.
    fn judge(&self, ops: &[&Operation], options: &Options, complete: bool) -> Judged;

    /// Follows the operations of one key while they come; `None` where nothing is known that takes linear time: what
    /// there is is judged again and again then.
    fn follow(&self) -> Option<Box<dyn Follow>> {
        None
    }

    /// What its violations are called.
    fn kinds(&self) -> &'static [&'static str];

    /// What [`Machine::plant`] can put in.
    fn violations(&self) -> &'static [&'static str];

    /// One copy of it, for making histories.
    fn machine(&self) -> Box<dyn Machine>;
}

/// What comes of one key's operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It holds.
    Holds,
    /// It does not.
    Violated(Fault),
    /// A budget ran out: everything that ended before this event is proven.
    Unknown {
        /// What ran out.
        exhausted: Exhausted,
        /// The event.
        proven_to: u64,
    },
}

/// Why a history is a violation. Operations are indices into those that were judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is called.
    pub kind: &'static str,
    /// The operations that prove it; none where a search has found that no order explains all.
    pub ops: Vec<usize>,
    /// The one whose answer is wrong.
    pub culprit: usize,
    /// Why, in sentences.
    pub why: Vec<String>,
}

impl Fault {
    /// A fault as a verdict.
    pub(crate) fn found(kind: &'static str, ops: &[usize], culprit: usize, why: String) -> Judged {
        let mut ops = ops.to_vec();
        ops.sort_unstable();
        ops.dedup();
        Judged::Violated(Self {
            kind,
            ops,
            culprit,
            why: vec![why],
        })
    }
}

/// Every data type. To add one: a file, and a line here.
pub static ALL: [&dyn DataType; 11] = [
    &mutex::Mutex,
    &lock::Lock,
    &set::Set,
    &eventual::EventualSet,
    &ids::Ids { rising: false },
    &ids::Ids { rising: true },
    &counter::Counter,
    &queue::Queue,
    &queue::Fifo,
    &log::Log,
    &versioned::VersionedRegister,
];

/// The data type of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn DataType> {
    let called = |of: &&&dyn DataType| of.name() == name || of.aliases().contains(&name);
    ALL.iter().find(called).copied()
}

/// The operation of a type that a word means.
#[must_use]
pub fn act_of(of: &dyn DataType, f: &str) -> Option<operation::Act> {
    let letters = f.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    let mut all = of.operations().iter();
    all.find(|words| words.contains(&plain.as_str()))
        .map(|words| words[0])
}
