//! The sequential machines: what one copy of the data would answer, if one operation ran after the other.

mod register;

pub use register::{Register, RegisterOp};

/// A sequential machine. Thirty lines make a new one: see `examples/spec.rs`.
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
