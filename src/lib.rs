//! whitewater: an interactive chaos bench for replicated systems.
#![allow(missing_docs)]
pub mod cli;
pub mod client;
pub mod cluster;
pub mod fault;
pub mod judge;
pub mod nemesis;
pub mod proxy;
pub mod recorder;
pub mod report;
pub mod run;
pub mod scenario;
pub mod wire;
pub mod workload;
