//! Every algorithm against the definition of linearizability, on as many random small histories as you like:
//! `cargo run --release -p checkers --example agree -- --cases 1000000 --seed 1`.

#[path = "../tests/support/mod.rs"]
mod support;

use rayon::prelude::*;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        match at.and_then(|at| arguments.get(at + 1)) {
            Some(text) => text.parse().expect("a whole number"),
            None => default,
        }
    };
    let (cases, seed, ops) = (
        number("--cases", 100_000),
        number("--seed", 1),
        number("--ops", 8),
    );
    let first = seed.wrapping_mul(1 << 32);
    let violations = (first..first + cases)
        .into_par_iter()
        .filter(|seed| support::agree::check_one(*seed, ops as usize))
        .count();
    let long = cases / 20;
    let long_violations = (first..first + long)
        .into_par_iter()
        .filter(|seed| support::agree::check_long(*seed))
        .count();
    println!("{long} longer ones agree with each other ({long_violations} violations)");
    println!("{cases} histories from seed {seed}: no disagreement ({violations} violations)");
}
