//! Linearizability by its definition: try every order of every choice of the operations that may have happened.
//!
//! It shares no code with the algorithms: it takes plain operations, and knows nothing of positions, keys or values
//! by number. Factorial; for histories of about eight operations.

use checkers::history::{Call, Names, Operation, Outcome};

/// Whether any order explains `operations`, which are all on one register. A cas that failed with a log id says that the
/// value was another one.
pub(crate) fn linearizable(operations: &[Operation]) -> bool {
    linearizable_from(None, operations)
}

/// The same, of one that held this at first.
pub(crate) fn linearizable_from(start: Option<i64>, operations: &[Operation]) -> bool {
    with_failed_cas(start, operations, |op| op.at.is_some())
}

/// As [`linearizable`], where every failed cas says that the value was another one.
pub(crate) fn linearizable_strictly(operations: &[Operation]) -> bool {
    linearizable_strictly_from(None, operations)
}

/// The same, of one that held this at first.
pub(crate) fn linearizable_strictly_from(start: Option<i64>, operations: &[Operation]) -> bool {
    with_failed_cas(start, operations, |_| true)
}

fn with_failed_cas(
    start: Option<i64>,
    operations: &[Operation],
    counts: impl Fn(&Operation) -> bool,
) -> bool {
    let failed: Vec<u64> = operations
        .iter()
        .filter(|op| op.outcome == Outcome::Failed && matches!(op.call, Call::Cas { .. }))
        .filter(|op| counts(op))
        .map(|op| op.id)
        .collect();
    let mut operations = operations.to_vec();
    for op in operations.iter_mut().filter(|op| failed.contains(&op.id)) {
        op.outcome = Outcome::Ok(None);
    }
    let step = |op: &Operation, cell: &Option<i64>| match op.call {
        Call::Cas { old, .. } if failed.contains(&op.id) => (*cell != Some(old)).then_some(*cell),
        _ => register(op, cell),
    };
    some_order(&operations, start, &step, &in_real_time)
}

/// Whether any order explains `operations`, which are all on one list.
pub(crate) fn linearizable_list(operations: &[Operation], names: &Names) -> bool {
    linearizable_list_from(Vec::new(), operations, names)
}

/// The same, of one that was this at first.
pub(crate) fn linearizable_list_from(
    start: Vec<i64>,
    operations: &[Operation],
    names: &Names,
) -> bool {
    let step = |op: &Operation, list: &Vec<i64>| list_step(op, list, names);
    some_order(operations, start, &step, &in_real_time)
}

/// Whether any order that keeps each client's own explains `operations`, which are all on one register.
pub(crate) fn sequentially_consistent(operations: &[Operation]) -> bool {
    let own = |a: &Operation, b: &Operation| a.client == b.client && a.invoked < b.invoked;
    some_order(operations, None, &register, &own)
}

/// Whether `a` had ended when `b` began.
pub(crate) fn in_real_time(a: &Operation, b: &Operation) -> bool {
    a.outcome != Outcome::Unknown && a.completed.unwrap() < b.invoked
}

/// Whether any order explains `operations`, in which `a` never comes after `b` where it must be `before` it.
pub(crate) fn some_order<S>(
    operations: &[Operation],
    start: S,
    step: &dyn Fn(&Operation, &S) -> Option<S>,
    before: &dyn Fn(&Operation, &Operation) -> bool,
) -> bool {
    let happened: Vec<&Operation> = operations
        .iter()
        .filter(|op| op.outcome != Outcome::Failed)
        .filter(|op| op.call != Call::Read || op.outcome != Outcome::Unknown)
        .collect();
    place(
        &happened,
        &mut vec![false; happened.len()],
        &start,
        step,
        before,
    )
}

/// Whether what is left can follow this state.
fn place<S>(
    ops: &[&Operation],
    done: &mut Vec<bool>,
    state: &S,
    step: &dyn Fn(&Operation, &S) -> Option<S>,
    before: &dyn Fn(&Operation, &Operation) -> bool,
) -> bool {
    let finished = |i: usize| done[i] || ops[i].outcome == Outcome::Unknown;
    if (0..ops.len()).all(finished) {
        return true;
    }
    for i in 0..ops.len() {
        if done[i] {
            continue;
        }
        // Nothing that is left, and must be there, may have to come before this one.
        let overtakes = (0..ops.len()).any(|j| {
            j != i && !done[j] && ops[j].outcome != Outcome::Unknown && before(ops[j], ops[i])
        });
        if overtakes {
            continue;
        }
        let Some(next) = step(ops[i], state) else {
            continue;
        };
        done[i] = true;
        if place(ops, done, &next, step, before) {
            return true;
        }
        done[i] = false;
    }
    false
}

/// The register after `op`, or nothing when its answer is impossible.
pub(crate) fn register(op: &Operation, cell: &Option<i64>) -> Option<Option<i64>> {
    match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(found)) => (found == *cell).then_some(*cell),
        (Call::Write(value), _) => Some(Some(value)),
        (Call::Cas { old, .. }, Outcome::Differed(found)) => {
            (found == *cell && found != Some(old)).then_some(*cell)
        }
        (Call::Cas { old, new }, _) => (*cell == Some(old)).then_some(Some(new)),
        (Call::Delete, _) => Some(None),
        other => panic!("no such operation on a register: {other:?}"),
    }
}

/// The list after `op`, or nothing when its answer is impossible.
fn list_step(op: &Operation, list: &[i64], names: &Names) -> Option<Vec<i64>> {
    let elements = |value: i64| match names.list(value) {
        Some(elements) => elements.to_vec(),
        None => vec![value],
    };
    match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(found)) => {
            let found = found.map(elements).unwrap_or_default();
            (found == list).then_some(found)
        }
        (Call::Append(value), _) => Some([list, &elements(value)].concat()),
        (Call::Write(value), _) => Some(elements(value)),
        (Call::Delete, _) => Some(Vec::new()),
        (Call::Cas { old, new }, _) => (elements(old) == list).then(|| elements(new)),
        other => panic!("no such operation on a list: {other:?}"),
    }
}

/// Whether `order`, the ids of operations, is a linearization of `operations`, which may be on several keys.
pub(crate) fn explains(order: &[u64], operations: &[Operation]) -> Result<(), String> {
    explains_from(None, order, operations)
}

/// The same, where each key held this at first.
pub(crate) fn explains_from(
    start: Option<i64>,
    order: &[u64],
    operations: &[Operation],
) -> Result<(), String> {
    let mut cells = std::collections::BTreeMap::new();
    let mut left: Vec<&Operation> = operations.iter().collect();
    for id in order {
        let at = left.iter().position(|op| op.id == *id);
        let op = left.remove(at.ok_or(format!("#{id} is not there, or twice"))?);
        if let Some(late) = left.iter().find(|late| {
            !matches!(late.outcome, Outcome::Failed | Outcome::Unknown) && in_real_time(late, op)
        }) {
            return Err(format!("#{} had ended before #{id} began", late.id));
        }
        let cell = cells.entry(op.key.clone()).or_insert(start);
        *cell = register(op, cell).ok_or(format!("#{id} can't be answered so"))?;
    }
    match left.iter().find(|op| matches!(op.outcome, Outcome::Ok(_))) {
        Some(missing) => Err(format!("#{} is missing", missing.id)),
        None => Ok(()),
    }
}

/// Whether a client, after it had found (or written) a value, found one that had been there before anybody began to
/// write the other. By definition, pair by pair; a delete writes a value of its own, and absent is its reader's only
/// where one delete is there and nothing else explains it, so histories with deletes are not asked.
pub(crate) fn goes_back(operations: &[Operation], newer_is_read: bool) -> bool {
    let left = |op: &Operation| match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(found)) | (_, Outcome::Differed(found)) => found,
        (Call::Write(value) | Call::Cas { new: value, .. }, _) => Some(value),
        _ => None,
    };
    let is_read = |op: &Operation| op.call == Call::Read || op.outcome.is_failed();
    let ok: Vec<&Operation> = operations
        .iter()
        .filter(|op| match (op.call, op.outcome) {
            // Who fails on what it expected contradicts itself: that is no value at all.
            (Call::Cas { old, .. }, Outcome::Differed(found)) => found != Some(old),
            (_, outcome) => matches!(outcome, Outcome::Ok(_)),
        })
        .collect();
    // When the write of a value began.
    let begun = |value: Option<i64>| {
        let mut writers = operations
            .iter()
            .filter(|op| op.call != Call::Read && !op.outcome.is_failed());
        writers.find(|op| left(op) == value).map(|op| op.invoked)
    };
    ok.iter().any(|newer| {
        ok.iter().any(|read| {
            let pair = newer.client == read.client
                && newer.invoked < read.invoked
                && is_read(newer) == newer_is_read
                && is_read(read)
                && left(newer) != left(read);
            pair && begun(left(newer)).is_some_and(|begun| {
                left(read).is_none()
                    || ok
                        .iter()
                        .any(|op| left(op) == left(read) && op.completed.unwrap() < begun)
            })
        })
    })
}
