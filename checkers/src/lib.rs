//! A history in, a verdict out; a model in, a proof or a counterexample out.

pub mod explain;
pub mod format;
pub mod generate;
pub mod history;
pub mod linear;
pub mod model;
pub mod spec;
pub mod verdict;
