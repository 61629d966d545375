//! A lock: who does not hold it asks for it, who holds it gives it back.
//!
//! A client of which nobody knows whether it holds the lock does nothing any more: another one takes over.

use checkers::types::{Asked, Datum, Outcome};

use super::{Drawing, Draws};

#[derive(Debug, Default)]
pub(super) struct Lock {
    holds: bool,
}

impl Draws for Lock {
    fn next(&mut self, _: &mut Drawing<'_>) -> (&'static str, Datum) {
        let act = if self.holds { "release" } else { "acquire" };
        (act, Datum::Nil)
    }

    fn saw(&mut self, asked: &Asked, outcome: &Outcome) {
        if matches!(outcome, Outcome::Ok(_)) {
            self.holds = asked.act == "acquire";
        }
    }
}
