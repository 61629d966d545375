//! For a type that only a search can judge: its operations as [`dfs`](crate::linear::dfs) takes them.

use super::operation::OPEN;
use super::{Fault, Judged, Operation};
use crate::history::NEVER;
use crate::linear::dfs::{self, Found};
use crate::linear::{Budget, Options};
use crate::spec::{Spec, Timed};

/// Looks for an order. `op_of` gives what an operation is to the machine; `None` where it says nothing.
pub(super) fn judge<S: Spec>(
    spec: &S,
    ops: &[&Operation],
    options: &Options,
    op_of: impl Fn(usize, &Operation) -> Option<S::Op>,
) -> Judged {
    let mut positions: Vec<u64> = ops.iter().flat_map(|op| [op.id, op.end()]).collect();
    positions.sort_unstable();
    let place = |event: u64| match event {
        OPEN => NEVER,
        event => positions.partition_point(|other| *other < event) as u32,
    };
    let timed: Vec<Timed<S::Op>> = ops
        .iter()
        .enumerate()
        .filter(|(_, op)| !op.is_failed())
        .filter_map(|(at, op)| {
            Some(Timed {
                call: place(op.id),
                ret: place(op.end()),
                op: op_of(at, op)?,
            })
        })
        .collect();
    let mut budget = Budget::new(options);
    match dfs::search(spec, &timed, &mut budget) {
        Found::Order(_) => Judged::Holds,
        Found::Nothing => {
            let last = (0..ops.len()).max_by_key(|at| match ops[*at].end() {
                OPEN => 0,
                end => end,
            });
            Judged::Violated(Fault {
                kind: NO_ORDER,
                ops: Vec::new(),
                culprit: last.unwrap_or_default(),
                why: Vec::new(),
            })
        }
        Found::Exhausted { proven_to } => Judged::Unknown {
            exhausted: budget.reason(),
            proven_to: positions[proven_to as usize],
        },
    }
}

/// What a violation is called that only a search has found.
pub(super) const NO_ORDER: &str = "no-order";
