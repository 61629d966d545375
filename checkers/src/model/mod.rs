//! The model of election and replication as openraft does them.

pub mod action;
pub mod check;
pub mod conform;
mod enabled;
pub mod explain;
pub mod explore;
pub mod invariant;
pub mod mutants;
pub mod project;
pub mod raft;
pub mod rules;
pub mod search;
pub mod state;
mod tell;
pub mod trace;

#[cfg(test)]
mod conform_tests;
#[cfg(test)]
mod tests;

pub use explain::{Explanation, explain};
