//! A machine of your own in thirty lines: a counter that is added to and read, checked for linearizability.
//! `cargo run -p checkers --example counter`; with a file, that history of a counter is judged: `-- history.edn`.

use std::io::BufReader;

use checkers::history::NEVER;
use checkers::linear::dfs::{self, Found};
use checkers::linear::stream::{self, Read, Reading};
use checkers::linear::{Budget, Options};
use checkers::spec::{Spec, Timed};
use checkers::types::Outcome;

/// What one copy of the data would answer, if one operation ran after the other.
struct Counter;

/// What is asked, together with the answer.
enum Op {
    Add(i64),
    Get(i64),
}

impl Spec for Counter {
    type State = i64;
    type Op = Op;

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, sum: &i64, op: &Op) -> Option<i64> {
        match op {
            Op::Add(n) => Some(sum + n),
            Op::Get(found) => (found == sum).then_some(*sum),
        }
    }
}

pub(crate) fn main() {
    match std::env::args()
        .nth(1)
        .filter(|path| std::path::Path::new(path).is_file())
    {
        Some(path) => {
            let judged = judge_file(&path);
            println!("{}", judged.unwrap_or_else(|why| why));
        }
        None => by_hand(),
    }
}

/// What comes of a file in any format that has events: an add that nobody answered may count or not, a get says nothing.
pub(crate) fn judge_file(path: &str) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let reading = Reading {
        spec: Some("counter".to_owned()),
        ..Reading::default()
    };
    let read = stream::read(BufReader::new(file), path, &reading, &Options::default());
    let Read::Typed(loaded) = read.map_err(|error| error.to_string())? else {
        return Err(format!("{path} is no history of a counter"));
    };
    let mut ops = Vec::new();
    for op in &loaded.ops {
        let what = match (op.act, &op.outcome) {
            (_, Outcome::Failed) => continue,
            ("read", Outcome::Ok(found)) => found.int().map(Op::Get),
            ("read", Outcome::Unknown) => continue,
            ("subtract", _) => op.asked.int().or(Some(1)).map(|n| Op::Add(-n)),
            _ => op.asked.int().or(Some(1)).map(Op::Add),
        };
        let ret = match op.outcome {
            Outcome::Ok(_) => op.completed.map_or(NEVER, |event| event as u32),
            _ => NEVER,
        };
        let call = op.id as u32;
        ops.extend(what.map(|op| Timed { call, ret, op }));
    }
    Ok(
        match dfs::search(&Counter, &ops, &mut Budget::new(&Options::default())) {
            Found::Order(_) => "linearizable".to_owned(),
            Found::Nothing => "violation".to_owned(),
            Found::Exhausted { .. } => "unknown".to_owned(),
        },
    )
}

fn by_hand() {
    let op = |call, ret, op| Timed { call, ret, op };
    // client 1   ├── add 5 ──┤
    // client 2       ├── add 2 ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄  nobody answered: it may count at any time, or never
    // client 3                   ├─ get 5 ─┤ ├─ get 7 ─┤
    let mut ops = vec![
        op(0, 2, Op::Add(5)),
        op(1, NEVER, Op::Add(2)),
        op(3, 4, Op::Get(5)),
        op(5, 6, Op::Get(7)),
    ];
    let check =
        |ops: &[Timed<Op>]| dfs::search(&Counter, ops, &mut Budget::new(&Options::default()));
    println!("an order by index: {:?}", check(&ops));
    assert_eq!(check(&ops), Found::Order(vec![0, 2, 1, 3]));

    // A later read of 5 would have lost the 2 again.
    ops.push(op(7, 8, Op::Get(5)));
    println!("with a get of 5 at the end: {:?}", check(&ops));
    assert_eq!(check(&ops), Found::Nothing);
}
