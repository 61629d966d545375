//! What will be found of a value, and who will begin to write it: known beforehand, as the whole history is.
//!
//! A world in which nobody is left to write what somebody must find is lost, however well it looks now:
//!
//! ```text
//!   write 1 ├─────────────────┤ used up here, and overwritten
//!   read 1                        ├───┤ ends before the next write of 1 begins
//!   write 1                               ├───┤
//! ```
//!
//! Dropping it at once keeps it from taking the place of a better one.

use super::{matters, produces};
use crate::history::{End, Kind, NEVER, Op};

/// Who will write and find one value.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Begins of the operations that may write it, ascending.
    writers: Vec<u32>,
    /// Begins of those that find it and end, ascending, and the first end among each and all later ones.
    finders: Vec<(u32, u32)>,
}

impl Demand {
    /// Of every value.
    pub(super) fn of_each(ops: &[Op], values: usize) -> Vec<Self> {
        let mut demands = vec![Self::default(); values];
        for op in ops.iter().filter(|op| matters(op)) {
            if let Some(value) = produces(op) {
                demands[value as usize].writers.push(op.call);
            }
            let found = match op.kind {
                Kind::Read => op.value,
                Kind::Cas => op.old,
                Kind::Write | Kind::Delete | Kind::Append => continue,
            };
            if op.end == End::Ok {
                demands[found as usize].finders.push((op.call, op.ret));
            }
        }
        for demand in &mut demands {
            demand.writers.sort_unstable();
            demand.finders.sort_unstable();
            let mut first = NEVER;
            for (_, end) in demand.finders.iter_mut().rev() {
                first = first.min(*end);
                *end = first;
            }
        }
        demands
    }

    /// Whether, right after position `now`, somebody has not begun who will end before anybody else begins to write.
    pub(super) fn after(&self, now: u32) -> bool {
        self.demanded(
            self.writers.partition_point(|call| *call <= now),
            self.finders.partition_point(|(call, _)| *call <= now),
        )
    }

    /// The same, behind as many writers and finders.
    pub(super) fn demanded(&self, writer: usize, finder: usize) -> bool {
        let next = self.writers.get(writer).copied().unwrap_or(NEVER);
        let first = self.finders.get(finder);
        first.is_some_and(|(_, end)| *end < next)
    }

    /// The begin of a writer, by number; [`NEVER`] behind the last.
    pub(super) fn writer(&self, number: usize) -> u32 {
        self.writers.get(number).copied().unwrap_or(NEVER)
    }

    /// Whether somebody begins to write it after `now` and before `end`.
    pub(super) fn written(&self, now: u32, end: u32) -> bool {
        let at = self.writers.partition_point(|call| *call <= now);
        self.writers.get(at).is_some_and(|call| *call < end)
    }
}

/// Values that are demanded before the first event.
pub(super) fn at_first(demands: &[Demand]) -> Vec<u32> {
    let demanded = |value: &u32| demands[*value as usize].demanded(0, 0);
    (0..demands.len() as u32).filter(demanded).collect()
}
