//! A set: elements are added, and all of it is read now and then, and at the end.

use checkers::types::Datum;

use super::{Drawing, Draws};

/// A read takes as long as the set is large: one operation in so many is one.
const READ_ONE_IN: u32 = 12;

#[derive(Debug)]
pub(super) struct Set {
    /// What the last read is called.
    pub(super) last: &'static str,
}

impl Draws for Set {
    fn next(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        match drawing.one_in(READ_ONE_IN) {
            true => ("read", Datum::Nil),
            false => ("add", drawing.fresh()),
        }
    }

    fn probe(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        ("add", drawing.fresh())
    }

    fn last(&self) -> Vec<(&'static str, Datum)> {
        vec![(self.last, Datum::Nil)]
    }
}
