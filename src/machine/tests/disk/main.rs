//! A disk under real programs: each call that it hears, each harm, and databases that lose power.

mod calls;
#[path = "../databases/mod.rs"]
mod databases;
mod harms;
mod limits;
mod node;
mod promises;
#[path = "../support/mod.rs"]
mod support;
