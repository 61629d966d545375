//! Every algorithm against the definition of linearizability, on as many random small histories as you like:
//! `cargo run --release -p checkers --example agree -- --cases 1000000 --seed 1`. A disagreement panics and names its
//! seed. `--ops N` sets how many operations a small history has at most (8).

#[path = "../tests/support/mod.rs"]
mod support;

use support::agree;
use support::flags::{Flags, each_seed};
use support::starts;

fn main() {
    let flags = Flags::of(&["--cases", "--seed", "--ops"]);
    let (cases, seed) = (flags.number("--cases", 100_000), flags.number("--seed", 1));
    let ops = flags.number("--ops", 8) as usize;
    each_seed(seed, cases, "registers, violations", |seed| {
        agree::check_one(seed, ops)
    });
    each_seed(seed, cases / 4, "lists, violations", |seed| {
        agree::check_list(seed, ops)
    });
    each_seed(seed, cases / 2, "begun registers, violations", |seed| {
        starts::check_started(seed, ops.min(7))
    });
    each_seed(seed, cases / 4, "begun lists, violations", |seed| {
        starts::check_started_list(seed, ops)
    });
    each_seed(seed, cases / 4, "certificates, that hold", |seed| {
        agree::check_certificate(seed, ops)
    });
    each_seed(seed, cases / 4, "explanations, that tell apart", |seed| {
        agree::check_explanation(seed, ops)
    });
    each_seed(
        seed,
        cases / 20,
        "longer registers, violations",
        agree::check_long,
    );
    println!("no disagreement from seed {seed}");
}
