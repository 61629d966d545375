//! A counter: 1 is added, and it is read. All amounts are equal, so that it is judged in linear time.

use checkers::types::Datum;

use super::{Drawing, Draws};

/// One operation in so many is a read.
const READ_ONE_IN: u32 = 2;

#[derive(Debug)]
pub(super) struct Counter;

impl Draws for Counter {
    fn next(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        match drawing.one_in(READ_ONE_IN) {
            true => ("read", Datum::Nil),
            false => ("add", Datum::Int(1)),
        }
    }

    fn probe(&mut self, _: &mut Drawing<'_>) -> (&'static str, Datum) {
        ("add", Datum::Int(1))
    }

    fn last(&self) -> Vec<(&'static str, Datum)> {
        vec![("read", Datum::Nil)]
    }
}
