//! A log: entries are appended, and those of numbers that are known, or come next, are read.

use checkers::types::{Asked, Datum, Outcome};
use rand::RngExt;

use super::{Drawing, Draws};

/// Reads are of the newest so many numbers, where a lost entry shows.
const NEWEST: i64 = 20;
/// One operation in so many is a read.
const READ_ONE_IN: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Log {
    /// The largest number that this client knows of.
    largest: i64,
}

impl Draws for Log {
    fn next(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        if drawing.one_in(READ_ONE_IN) {
            let from = (self.largest - NEWEST).max(0);
            let number = drawing.rng.random_range(from..=self.largest + 1);
            return ("read", Datum::Int(number));
        }
        ("append", drawing.fresh())
    }

    fn saw(&mut self, _: &Asked, outcome: &Outcome) {
        if let Outcome::Ok(answer) = outcome
            && let Some((number, value)) = answer.pair()
            && !value.is_nil()
        {
            self.largest = self.largest.max(number.int().unwrap_or_default());
        }
    }

    fn probe(&mut self, drawing: &mut Drawing<'_>) -> (&'static str, Datum) {
        ("append", drawing.fresh())
    }

    fn last(&self) -> Vec<(&'static str, Datum)> {
        let from = (self.largest - NEWEST).max(0);
        (from..=self.largest)
            .map(|number| ("read", Datum::Int(number)))
            .collect()
    }
}
