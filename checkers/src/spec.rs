//! The sequential machines: what one copy of the data would answer, if one operation ran after the other.
//!
//! | machine | operations | judged by |
//! | --- | --- | --- |
//! | [`Register`] | read, write, cas, delete | zones, frontier, depth first |
//! | [`List`] | read, append; set, delete and cas of the whole | depth first |
//! | yours | whatever [`Spec::Op`] says | depth first |
//!
//! To write one: choose the state, say what it is at first, and say for each operation *with its answer* whether that
//! answer is possible in a state and what the state is then. Then give [`linear::dfs`](crate::linear::dfs) the
//! operations of one object, each with its begin and its end. What makes it fast: a state that is cheap to clone and to
//! hash, and that tells no more apart than the answers can ([`List`] keeps a number instead of a list).

mod list;
mod register;

pub use list::{List, ListOp};
pub use register::{Register, RegisterOp};

/// A sequential machine. A few lines make a new one:
///
/// ```
/// use checkers::history::NEVER;
/// use checkers::linear::{Budget, Options, dfs::{self, Found}};
/// use checkers::spec::{Spec, Timed};
///
/// struct Counter;
/// enum Op { Add(i64), Get(i64) }
///
/// impl Spec for Counter {
///     type State = i64;
///     type Op = Op;
///     fn initial(&self) -> i64 { 0 }
///     fn step(&self, state: &i64, op: &Op) -> Option<i64> {
///         match op {
///             Op::Add(n) => Some(state + n),
///             Op::Get(found) => (found == state).then_some(*state),
///         }
///     }
/// }
///
/// // An add that nobody answered, and two reads, one after the other.
/// let ops = [
///     Timed { call: 0, ret: NEVER, op: Op::Add(2) },
///     Timed { call: 1, ret: 2, op: Op::Get(2) },
///     Timed { call: 3, ret: 4, op: Op::Get(0) },
/// ];
/// let mut budget = Budget::new(&Options::default());
/// assert_eq!(dfs::search(&Counter, &ops, &mut budget), Found::Nothing);
/// assert_eq!(dfs::search(&Counter, &ops[..2], &mut budget), Found::Order(vec![0, 1]));
/// ```
///
/// [`linear::dfs`](crate::linear::dfs) checks any of them, one key at a time.
pub trait Spec {
    /// Everything that an answer may depend on.
    type State: Clone + Eq + std::hash::Hash;
    /// What is asked, together with the answer where there is one.
    type Op;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `op`, or `None` when no such answer is possible in `state`. For an operation whose answer
    /// nobody knows, the state after any answer that it could have given.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// An operation with its interval, as [`linear::dfs`](crate::linear::dfs) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed<O> {
    /// Position of the invocation.
    pub call: u32,
    /// Position of the completion; [`NEVER`](crate::history::NEVER) where it may take effect at any time, or never.
    pub ret: u32,
    /// What was asked and answered.
    pub op: O,
}
