//! Ids: they are asked for, and that is all.

use checkers::types::Datum;

use super::{Drawing, Draws};

#[derive(Debug)]
pub(super) struct Ids;

impl Draws for Ids {
    fn next(&mut self, _: &mut Drawing<'_>) -> (&'static str, Datum) {
        ("generate", Datum::Nil)
    }
}
