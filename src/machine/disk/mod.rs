//! A disk that can lose power, under any unmodified program.
//!
//! [`undo`] keeps what is not synced, and takes it back at a power loss.

pub mod undo;
