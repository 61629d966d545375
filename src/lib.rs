//! whitewater: an interactive chaos bench for replicated systems.

pub mod wire;
