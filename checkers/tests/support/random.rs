//! Random small histories on one key: half of the answers come from a real register, half are made up.

use checkers::history::{Call, Event, EventKind, Outcome};
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
    /// Whether it was applied, and what it found.
    applied: Option<Option<i64>>,
}

/// A history of a shape drawn from `seed`.
pub(crate) fn history(seed: u64, most_ops: usize) -> Vec<Event> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape::draw(&mut rng, most_ops);
    shaped(&mut rng, shape)
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
    let mut events = Vec::new();
    let mut cell = None;
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
        let mut found = op
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
            Call::Cas { old, .. } if found != Some(old) && !lie => Outcome::Failed,
            _ => Outcome::Ok(None),
        };
        complete(&mut events, op.client, outcome);
    }
    events
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

/// Applies a call to the cell; gives what it found.
fn apply(call: &Call, cell: &mut Option<i64>) -> Option<i64> {
    let found = *cell;
    match *call {
        Call::Read | Call::Append(_) => {}
        Call::Write(value) => *cell = Some(value),
        Call::Delete => *cell = None,
        Call::Cas { old, new } => {
            if found == Some(old) {
                *cell = Some(new);
            }
        }
    }
    found
}

fn complete(events: &mut Vec<Event>, client: u64, outcome: Outcome) {
    push(
        events,
        client,
        EventKind::Complete {
            outcome,
            at: None,
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
