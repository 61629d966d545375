//! One cell: read, write, compare-and-set, delete.

use super::{Spec, Timed};
use crate::history::{ABSENT, End, Kind, Op, Start};

/// A register, absent at first unless it is [begun](Self::from) otherwise. A cas that found another value fails, and failed operations never took effect: the
/// machine sees only those that may have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register {
    start: u32,
}

/// What is asked of a [`Register`], values numbered densely and absent being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOp {
    /// It found this.
    Read(u32),
    /// It set this; a delete sets absent.
    Write(u32),
    /// It found `old` and set `new`.
    Cas {
        /// What was there.
        old: u32,
        /// What is there now.
        new: u32,
    },
    /// It found something else than this: a failed cas, where that is an answer ([`linear::strict`](crate::linear::strict)).
    Differs(u32),
}

impl Spec for Register {
    type State = u32;
    type Op = RegisterOp;

    fn initial(&self) -> u32 {
        self.start
    }

    fn step(&self, state: &u32, op: &RegisterOp) -> Option<u32> {
        match *op {
            RegisterOp::Read(value) => (value == *state).then_some(value),
            RegisterOp::Write(value) => Some(value),
            RegisterOp::Cas { old, new } => (old == *state).then_some(new),
            RegisterOp::Differs(value) => (value != *state).then_some(*state),
        }
    }
}

impl Register {
    /// One that holds this number of its values at first.
    #[must_use]
    pub fn from(start: u32) -> Self {
        Self { start }
    }

    /// One that begins as this says; absent where nobody knows.
    #[must_use]
    pub(crate) fn starting(start: Start) -> Self {
        match start {
            Start::Value(number) => Self::from(number),
            Start::Absent | Start::Any => Self::from(ABSENT),
        }
    }

    /// The operations that may have taken effect, for [`linear::dfs`](crate::linear::dfs), with their rows.
    #[must_use]
    pub fn timed(ops: &[Op]) -> Vec<Timed<RegisterOp>> {
        ops.iter()
            .filter(|op| op.end != End::Failed && (op.end == End::Ok || op.kind != Kind::Read))
            .map(|op| Timed {
                call: op.call,
                ret: op.ret,
                op: match op.kind {
                    Kind::Read => RegisterOp::Read(op.value),
                    Kind::Write | Kind::Append => RegisterOp::Write(op.value),
                    Kind::Delete => RegisterOp::Write(ABSENT),
                    Kind::Cas => RegisterOp::Cas {
                        old: op.old,
                        new: op.value,
                    },
                },
            })
            .collect()
    }
}
