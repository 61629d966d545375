//! A history in, a verdict out.
//!
//! # What is judged
//!
//! Clients ask a replicated store, each one thing at a time, and write down when they asked and when they were
//! answered. The store is *linearizable* (Herlihy & Wing, 1990) if every operation can be given one moment between its
//! begin and its end, such that one single copy of the data, asked in the order of these moments, would have given the
//! same answers:
//!
//! ```text
//!  client 1   ├──*── write 1 ────┤
//!  client 2          ├── write 2 ──*──┤               *  a moment for each
//!  client 3     ├───────*── read 1 ─────┤                write 1, read 1, write 2, read 2: it holds
//!  client 4                              ├─*─ read 2 ┤
//! ```
//!
//! Had client 4 found 1, no choice of moments would do: 2 had certainly replaced it. An outcome that nobody knows is
//! an operation without an end: it may take effect at any time, or never. A failed one never did.
//!
//! ```text
//!  client 1   ├── write 1 ──┤
//!  client 2                   ├── write 2 ──┤
//!  client 4                                   ├─ read 1 ┤      a stale read: 1 before 2 before the read,
//!                                                              and nobody wrote 1 again
//! ```
//!
//! Three of these bars are already the whole proof, and that is what a [counterexample](verdict::Counterexample) is: a
//! few operations that no order explains, even when nothing else is looked at. Sequential consistency (Lamport, 1979)
//! would ask less: only each client's own order would have to be kept, and the read of 1 would do
//! ([`linear::weaker`]).
//!
//! # How it is judged
//!
//! A history is linearizable exactly when its operations on each key are (Herlihy & Wing's locality), so
//! [`linear::check`] judges keys one by one, in parallel, each by the cheapest algorithm that is exact for it. Let n be
//! the operations of a key:
//!
//! | algorithm | from | precondition | cost |
//! | --- | --- | --- | --- |
//! | [zones and chains](linear::zones) | Gibbons & Korach 1997 | a register whose values are written once each | O(n) time and memory; unknown outcomes cost nothing |
//! | [tombstones](linear::rename), then zones | the same | each read of absent can mean one delete only | O(n log n) |
//! | [frontier](linear::frontier) | Lowe 2016, with dominance and hiding | a register | O(n) times the configurations alive; exponential at worst |
//! | [depth first](linear::dfs) | Wing & Gong 1993, Lowe 2016 | any [`spec::Spec`] | exponential in the operations open at once, at worst |
//! | [certificate](mod@linear::certificate) | the log's own order | a register, and a log id with each answer | O(n log n), over all keys together |
//! | [online](linear::online) | zones, then frontier, event by event | a register | memory: what is open, and the values that may still be found |
//!
//! Deciding is hard in general (Gibbons & Korach: NP-complete), so the two searches have a budget, and a
//! [verdict](verdict::Verdict) may be *unknown*: then it says how far the history is proven, and what was open there.
//! Budgets count configurations, never time, so that an unknown can be had again.
//!
//! Why values that are written once make it easy: their writer and their readers stand together in every order, so
//! only *which value came first* is left to ask, and that only pairs of values can make impossible. Where values
//! repeat, a read may mean one of several writes, and there is something to search. A workload that wants a verdict
//! for certain writes each value once.
//!
//! The certificate is another matter. It asks whether the order that the nodes themselves claim is right, not whether
//! some order is. The black-box verdict stays the verdict; where the two disagree, that is a finding in itself.
//!
//! # How it is explained
//!
//! A prefix of a linearizable history is linearizable, so there is one event with which a history stops being so, and
//! bisection finds it. What of the operations up to there may be left out is a question of who can have written what
//! was found: leave a write out only together with all who may have found it. The rest is dropping pieces while what
//! remains still fails.
//!
//! [`linear::explanation`] adds what a person asks next: which real-time edge breaks it, what the read could have
//! answered instead, how old the oldest answer was, and what was kept all the same; for a history that holds, an order
//! to check by hand ([`linear::witness`]). [`history::Lint`] names what is odd about the record itself, such as a
//! failed write that was read.
//!
//! # A machine of your own
//!
//! Whatever has a state and answers is a [`spec::Spec`] of some thirty lines: `examples/counter.rs` is one. [`spec`]
//! has the register and the list that is appended to.
//!
//! # The rooms, in reading order
//!
//! [`history`] pairs events into operations; [`mod@format`] reads and writes them; [`linear`] judges, also while the
//! history grows ([`linear::online`]); [`verdict`] is what comes out, [`anomaly`] names its kind, [`explain`] says it in
//! sentences; [`generate`] makes histories to judge.
//!
//! ```
//! use checkers::generate::{Generator, Recipe, Violation};
//! use checkers::history::History;
//! use checkers::linear::{Options, check};
//! use checkers::verdict::Verdict;
//!
//! let recipe = Recipe { violate: Some(Violation::StaleRead), ..Recipe::default() };
//! let events: Vec<_> = Generator::new(recipe.clone()).collect();
//! let history = History::from_events(recipe.header(), &events).unwrap();
//! let Verdict::Violation(found) = check(&history, &Options::default()).verdict else { panic!() };
//! assert!(found.operations.len() <= 6);
//! println!("{}", checkers::explain::text(&found, None));
//! ```

pub mod anomaly;
pub mod explain;
pub mod format;
pub mod generate;
pub mod history;
pub mod linear;
pub mod spec;
pub mod types;
pub mod verdict;
