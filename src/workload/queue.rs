//! A queue: what is put in is new each time, and something is taken out about as often.

use checkers::types::Datum;

use super::{Drawing, Draws};

/// One operation in so many takes something out.
const TAKE_ONE_IN: u32 = 2;

#[derive(Debug)]
pub(super) struct Queue;

impl Draws for Queue {
    fn next(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        match drawing.one_in(TAKE_ONE_IN) {
            true => ("dequeue", Datum::Nil),
            false => ("enqueue", drawing.fresh()),
        }
    }

    fn probe(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        ("enqueue", drawing.fresh())
    }
}
