//! Damaged files for every reader, as many as you like:
//! `cargo run --release -p checkers --example fuzz -- --cases 1000000 --seed 1`. A panic names its seed.

#[path = "../tests/support/mod.rs"]
mod support;

use support::flags::{Flags, each_seed};
use support::mutate;

fn main() {
    let flags = Flags::of(&["--cases", "--seed"]);
    let (cases, seed) = (flags.number("--cases", 100_000), flags.number("--seed", 1));
    each_seed(
        seed,
        cases,
        "damaged files survived, readable",
        mutate::survives,
    );
}
