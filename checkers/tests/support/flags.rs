//! The flags that the examples `agree` and `fuzz` share: `--cases N --seed S`, and what comes of a seed at a time.

use std::time::Instant;

use rayon::prelude::*;

/// Whole numbers by name, from the command line.
pub(crate) struct Flags {
    arguments: Vec<String>,
}

impl Flags {
    /// The command line's, all of which must be `known`.
    ///
    /// # Panics
    /// When another is given, or one without a number.
    pub(crate) fn of(known: &[&str]) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        for pair in arguments.chunks(2) {
            assert!(
                known.contains(&pair[0].as_str()) && pair.len() == 2,
                "{}: the flags are {} with a number each",
                pair[0],
                known.join(" ")
            );
        }
        Self { arguments }
    }

    /// The number of one of them.
    ///
    /// # Panics
    /// When it is no whole number.
    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        let at = self.arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| {
            self.arguments[at + 1].parse().expect("a whole number")
        })
    }
}

/// Runs `case` for `cases` seeds that begin at one of `seed`'s own, on all cores, and says how many it was true for
/// and how fast that went.
pub(crate) fn each_seed(seed: u64, cases: u64, what: &str, case: impl Fn(u64) -> bool + Sync) {
    let first = seed.wrapping_mul(1 << 32);
    let started = Instant::now();
    let hits = (first..first.wrapping_add(cases))
        .into_par_iter()
        .filter(|seed| case(*seed))
        .count();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{cases:>9} {what}: {hits}; {:.0} cases/s on {} threads",
        cases as f64 / seconds,
        rayon::current_num_threads()
    );
}
