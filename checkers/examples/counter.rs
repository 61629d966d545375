//! A machine of your own in thirty lines: a counter that is added to and read, checked for linearizability.
//! `cargo run -p checkers --example counter`.

use checkers::history::NEVER;
use checkers::linear::dfs::{self, Found};
use checkers::linear::{Budget, Options};
use checkers::spec::{Spec, Timed};

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
