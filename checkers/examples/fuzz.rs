//! Damaged files for every reader, as many as you like:
//! `cargo run --release -p checkers --example fuzz -- --cases 1000000 --seed 1`.

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
    let (cases, seed) = (number("--cases", 100_000), number("--seed", 1));
    let first = seed.wrapping_mul(1 << 32);
    let readable = (first..first + cases)
        .into_par_iter()
        .filter(|seed| support::mutate::survives(*seed))
        .count();
    println!("{cases} damaged files from seed {seed} survived; {readable} could still be read");
}
