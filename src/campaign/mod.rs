//! Many runs for one answer: how often does it break, how, and what is the shortest way to see it.
//!
//! ```text
//!   Asked ──▶ Runs ──▶ child: whitewater run ... --json ──▶ Came ──▶ Line ──▶ campaign.jsonl
//!            (by counting)   (a process group each)               (class, signature)   │
//!                                                                       Table ◀── fold ─┘
//! ```
//!
//! [`hunt()`] starts runs as children of this program, a few at a time, writes a [`Line`] for each that ended, and
//! reduces its folder to what is worth keeping. The [`Table`] and the exit code are a pure fold over these lines: a
//! campaign that was killed goes on where it was, and ends with the table that it would have had.
//!
//! A campaign's folder:
//!
//! ```text
//! runs/hunt-20261123-141503-7141/
//!   campaign.jsonl     what was asked for, and a line for each run: see `ledger`
//!   runs/N/            run N, where it is worth keeping
//!     20261123-141507-rapids-7141/   its folder
//!     said.json progress.txt         what it said
//! ```

mod asked;
mod child;
mod field;
mod hunt;
mod jobs;
mod keep;
mod ledger;
mod line;
mod ratio;
mod reduce;
mod show;
mod shrink;
mod table;
#[cfg(test)]
mod tests;
mod timers;

pub use asked::{Asked, Role, Runs, content, words};
pub use hunt::{Hunt, HuntError, Over, Standing, Told, hunt};
pub use jobs::{How, Jobs};
pub use ledger::{Ledger, LedgerError, NAME, Seed};
pub use line::{Class, Line, Met, Ops, Signature, signature};
pub use ratio::Rate;
pub use reduce::Candidate;
pub use show::{json, line_json, name, sentence, standing, text};
pub use shrink::{Left, Shrink, Shrunk, Step, Stopped, Wanted, shrink};
pub use table::{Control, Ended, Power, Row, Table, bearable_ms};
