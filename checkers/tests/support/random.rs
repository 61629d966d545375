//! Random small histories on one key: half of the answers come from a real register, half are made up.

use checkers::history::{At, Call, Event, EventKind, Names, Outcome};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the histories look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Operations.
    pub(crate) ops: usize,
    /// Clients.
    pub(crate) clients: u64,
    /// Whether every write has a value of its own.
    pub(crate) unique: bool,
    /// Whether there are compare-and-sets.
    pub(crate) cas: bool,
    /// Whether there are deletes.
    pub(crate) delete: bool,
    /// The chance that an answer is made up.
    pub(crate) lies: f64,
    /// The chance that an outcome is unknown.
    pub(crate) unknown: f64,
    /// The chance that an operation fails.
    pub(crate) failed: f64,
}

impl Shape {
    /// A shape drawn from `seed`, of at most `ops` operations.
    pub(crate) fn draw(rng: &mut impl Rng, ops: usize) -> Self {
        Self {
            ops: rng.random_range(ops.min(3)..=ops),
            clients: rng.random_range(1..=5),
            unique: rng.random_bool(0.5),
            cas: rng.random_bool(0.6),
            delete: rng.random_bool(0.3),
            lies: [0.05, 0.3, 0.7][rng.random_range(0..3)],
            unknown: [0.0, 0.1, 0.4][rng.random_range(0..3)],
            failed: [0.0, 0.1][rng.random_range(0..2)],
        }
    }
}

/// An operation under way.
struct Open {
    client: u64,
    call: Call,
    /// What it found when it was applied, and the log id of that.
    applied: Option<(Option<i64>, At)>,
}

/// A cell and the log that leads to it.
#[derive(Default)]
struct Cell {
    value: Option<i64>,
    log: u64,
}

/// A history of a shape drawn from `seed`.
pub(crate) fn history(seed: u64, most_ops: usize) -> Vec<Event> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape::draw(&mut rng, most_ops);
    shaped(&mut rng, shape)
}

/// A history of a shape drawn from `seed`, of a cell that held something at first; and what that was.
pub(crate) fn started(seed: u64, most_ops: usize) -> (Vec<Event>, Option<i64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape::draw(&mut rng, most_ops);
    let value = [None, Some(0), Some(1), Some(2), Some(3)][rng.random_range(0..5)];
    let cell = Cell { value, log: 0 };
    (from(&mut rng, shape, cell), value)
}

/// A longer history drawn from `seed`: dozens of operations, few lies.
pub(crate) fn long(seed: u64) -> Vec<Event> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape {
        ops: rng.random_range(20..200),
        clients: rng.random_range(2..10),
        lies: [0.0, 0.005, 0.02][rng.random_range(0..3)],
        unknown: [0.0, 0.02, 0.1][rng.random_range(0..3)],
        ..Shape::draw(&mut rng, 1)
    };
    shaped(&mut rng, shape)
}

/// A history of this shape.
pub(crate) fn shaped(rng: &mut impl Rng, shape: Shape) -> Vec<Event> {
    from(rng, shape, Cell::default())
}

/// The same, of this cell.
fn from(rng: &mut impl Rng, shape: Shape, mut cell: Cell) -> Vec<Event> {
    let mut events = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut left = shape.ops;
    let mut next_value = 0;
    let mut next_client = shape.clients;
    let mut idle: Vec<u64> = (0..shape.clients).collect();
    while left > 0 || !open.is_empty() {
        let begin = left > 0 && !idle.is_empty() && (open.is_empty() || rng.random_bool(0.5));
        if begin {
            left -= 1;
            let client = idle.swap_remove(rng.random_range(0..idle.len()));
            let call = draw_call(rng, shape, &mut next_value);
            push(
                &mut events,
                client,
                EventKind::Invoke {
                    key: "k".into(),
                    call,
                },
            );
            open.push(Open {
                client,
                call,
                applied: None,
            });
            continue;
        }
        let i = rng.random_range(0..open.len());
        if open[i].applied.is_none() && rng.random_bool(0.6) {
            open[i].applied = Some(apply(&open[i].call, &mut cell));
            continue;
        }
        let mut op = open.swap_remove(i);
        if rng.random_bool(shape.unknown) {
            // Its client is gone; half of the time without a word.
            if rng.random_bool(0.5) {
                complete(&mut events, op.client, Outcome::Unknown);
            }
            idle.push(next_client);
            next_client += 1;
            continue;
        }
        idle.push(op.client);
        if op.applied.is_none() && rng.random_bool(shape.failed) {
            complete(&mut events, op.client, Outcome::Failed);
            continue;
        }
        let (mut found, at) = op
            .applied
            .take()
            .unwrap_or_else(|| apply(&op.call, &mut cell));
        let lie = rng.random_bool(shape.lies);
        let outcome = match op.call {
            Call::Read => {
                if lie {
                    let value = rng.random_range(0..=next_value.max(3));
                    found = (value > 0).then_some(value);
                }
                Outcome::Ok(found)
            }
            Call::Cas { old, .. } if (found != Some(old)) != lie => {
                let lied = Some(rng.random_range(0..=next_value.max(3))).filter(|_| lie);
                failed_cas(
                    rng,
                    lied.map_or(found, |value| Some(value).filter(|v| *v > 0)),
                )
            }
            _ => Outcome::Ok(None),
        };
        // Half of the failed cas that don't say what they found don't say either that they compared.
        let silent = outcome == Outcome::Failed && rng.random_bool(0.5);
        complete_at(
            &mut events,
            op.client,
            outcome,
            Some(at).filter(|_| !silent),
        );
    }
    events
}

/// Whether each operation took effect as its client was told: a history with log ids that are all true.
pub(crate) fn honest(seed: u64, ops: usize) -> Vec<Event> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape {
        lies: 0.0,
        ..Shape::draw(&mut rng, ops)
    };
    shaped(&mut rng, shape)
}

/// A history of a list, and the names of what is read.
pub(crate) fn list(seed: u64, most_ops: usize) -> (Vec<Event>, Names) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut names = Names::default();
    let grows = rng.random_bool(0.6);
    let shape = Shape {
        cas: false,
        delete: false,
        ..Shape::draw(&mut rng, most_ops)
    };
    let events = shaped(&mut rng, shape);
    // The shape of a register's history; what is asked and found is made anew.
    let mut list: Vec<i64> = Vec::new();
    let mut next = 0;
    let mut asked = std::collections::BTreeMap::new();
    let events = events.into_iter().map(|mut event| {
        match &mut event.kind {
            EventKind::Invoke { call, .. } => {
                next += 1;
                let element = if shape.unique { next } else { next % 2 };
                if *call != Call::Read {
                    *call = match rng.random_range(0..10) {
                        0 if !grows => Call::Delete,
                        1 if !grows => Call::Write(names.intern_list(&[element])),
                        2 => Call::Append(names.intern_list(&[element, 9])),
                        _ => Call::Append(element),
                    };
                }
                asked.insert(event.client, *call);
            }
            EventKind::Complete { outcome, .. } => {
                let call = asked[&event.client];
                let elements = |value| names.list(value).map_or(vec![value], <[i64]>::to_vec);
                match call {
                    _ if outcome.is_failed() => {}
                    Call::Append(value) => list.extend(elements(value)),
                    Call::Write(value) => list = elements(value),
                    Call::Delete => list.clear(),
                    Call::Cas { .. } | Call::Read => {}
                }
                if call == Call::Read && matches!(outcome, Outcome::Ok(_)) {
                    let mut found = list.clone();
                    if rng.random_bool(shape.lies.sqrt()) && !found.is_empty() {
                        let at = rng.random_range(0..found.len());
                        match rng.random_range(0..3) {
                            0 => found.truncate(at),
                            1 => drop(found.remove(at)),
                            _ => found.swap(0, at),
                        }
                    }
                    *outcome = Outcome::Ok(Some(names.intern_list(&found)));
                }
            }
            EventKind::Mark(_) | EventKind::Gap { .. } | EventKind::Typed(_) => {}
        }
        event
    });
    (events.collect(), names)
}

fn draw_call(rng: &mut impl Rng, shape: Shape, next_value: &mut i64) -> Call {
    let mut value = |rng: &mut _| {
        if shape.unique {
            *next_value += 1;
            *next_value
        } else {
            RngExt::random_range::<i64, _>(rng, 1..=3)
        }
    };
    match rng.random_range(0..10) {
        0..4 => Call::Read,
        4..6 if shape.cas => {
            let new = value(rng);
            let old = rng.random_range(1..=new.max(2));
            Call::Cas { old, new }
        }
        6 if shape.delete => Call::Delete,
        _ => Call::Write(value(rng)),
    }
}

/// Applies a call to the cell; gives what it found, and where that stands in the log.
fn apply(call: &Call, cell: &mut Cell) -> (Option<i64>, At) {
    let found = cell.value;
    let changed = match *call {
        Call::Read | Call::Append(_) => None,
        Call::Write(value) => Some(Some(value)),
        Call::Delete => Some(None),
        Call::Cas { old, new } => (found == Some(old)).then_some(Some(new)),
    };
    if let Some(value) = changed {
        cell.value = value;
    }
    // A cas has an entry of its own also where it fails.
    if changed.is_some() || matches!(call, Call::Cas { .. }) {
        cell.log += 1;
    }
    let at = At {
        term: 1,
        index: cell.log,
    };
    (found, at)
}

/// How a cas failed: it says what it found, or it does not.
fn failed_cas(rng: &mut impl Rng, found: Option<i64>) -> Outcome {
    match rng.random_bool(0.5) {
        true => Outcome::Differed(found),
        false => Outcome::Failed,
    }
}

fn complete(events: &mut Vec<Event>, client: u64, outcome: Outcome) {
    complete_at(events, client, outcome, None);
}

fn complete_at(events: &mut Vec<Event>, client: u64, outcome: Outcome, at: Option<At>) {
    push(
        events,
        client,
        EventKind::Complete {
            outcome,
            at,
            error: None,
        },
    );
}

fn push(events: &mut Vec<Event>, client: u64, kind: EventKind) {
    let index = events.len() as u64;
    events.push(Event {
        index,
        time_ns: index * 1_000,
        client: Some(client),
        node: None,
        kind,
    });
}
