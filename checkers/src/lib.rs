//! A history in, a verdict out; a model in, a proof or a counterexample out.
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
//! A history is linearizable exactly when its operations on each key are ([`linear::check`]), so keys are judged one
//! by one, in parallel, each by the cheapest algorithm that is exact for it:
//!
//! | algorithm | from | precondition | cost |
//! | --- | --- | --- | --- |
//! | [zones and chains](linear::zones) | Gibbons & Korach 1997 | each value is written once, no delete | linear |
//! | [frontier](linear::frontier) | Lowe 2016, with dominance and hiding | none | linear times the worlds alive |
//! | [depth first](linear::dfs) | Wing & Gong 1993, Lowe 2016 | any [`spec::Spec`] | exponential at worst |
//!
//! Deciding is hard in general (Gibbons & Korach: NP-complete), so the last two have a budget, and a
//! [verdict](verdict::Verdict) may be *unknown*: then it says how far the history is proven. Budgets count
//! configurations, never time, so that an unknown can be had again.
//!
//! # The rooms, in reading order
//!
//! [`history`] pairs events into operations; [`mod@format`] reads and writes them; [`linear`] judges, also while the
//! history grows ([`linear::online`]); [`verdict`] is what comes out, [`explain`] says it in sentences;
//! [`generate`] makes histories to judge.
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

pub mod explain;
pub mod format;
pub mod generate;
pub mod history;
pub mod linear;
pub mod model;
pub mod spec;
pub mod verdict;
