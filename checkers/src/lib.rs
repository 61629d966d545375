//! A history in, a verdict out; a model in, a proof or a counterexample out.

pub mod history;
