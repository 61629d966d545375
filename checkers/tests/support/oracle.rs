//! Linearizability by its definition: try every order of every choice of the operations that may have happened.
//!
//! It shares no code with the algorithms: it takes plain operations, and knows nothing of positions, keys or values
//! by number. Factorial; for histories of about eight operations.

use checkers::history::{Call, Operation, Outcome};

/// Whether any order explains `operations`, which are all on one key.
pub(crate) fn linearizable(operations: &[Operation]) -> bool {
    let happened: Vec<&Operation> = operations
        .iter()
        .filter(|op| op.outcome != Outcome::Failed)
        .filter(|op| op.call != Call::Read || op.outcome != Outcome::Unknown)
        .collect();
    place(&happened, &mut vec![false; happened.len()], None)
}

/// Whether what is left can follow a state in which the cell holds `cell`.
fn place(ops: &[&Operation], done: &mut Vec<bool>, cell: Option<i64>) -> bool {
    let finished = |i: usize| done[i] || ops[i].outcome == Outcome::Unknown;
    if (0..ops.len()).all(finished) {
        return true;
    }
    for i in 0..ops.len() {
        if done[i] {
            continue;
        }
        // Nothing that is left may have ended before this one began.
        let overtakes = (0..ops.len()).any(|j| {
            !done[j]
                && ops[j].outcome != Outcome::Unknown
                && ops[j].completed.unwrap() < ops[i].invoked
        });
        if overtakes {
            continue;
        }
        let Some(next) = apply(ops[i], cell) else {
            continue;
        };
        done[i] = true;
        if place(ops, done, next) {
            return true;
        }
        done[i] = false;
    }
    false
}

/// The cell after `op`, or nothing when its answer is impossible.
fn apply(op: &Operation, cell: Option<i64>) -> Option<Option<i64>> {
    match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(found)) => (found == cell).then_some(cell),
        (Call::Write(value), _) => Some(Some(value)),
        (Call::Cas { old, new }, _) => (cell == Some(old)).then_some(Some(new)),
        (Call::Delete, _) => Some(None),
        other => panic!("no such operation on a register: {other:?}"),
    }
}
