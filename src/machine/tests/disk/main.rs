//! A disk under real programs: each call that it hears, each harm, and databases that lose power.

mod calls;
mod databases;
mod harms;
mod limits;
mod node;
#[path = "../support/mod.rs"]
mod support;
