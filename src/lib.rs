//! whitewater: an interactive chaos bench for replicated systems.

pub mod cluster;
pub mod proxy;
pub mod wire;
