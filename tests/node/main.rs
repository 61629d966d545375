//! The node as the bench and an operator meet it: real processes, real sockets.

mod documented;
mod malformed;
mod membership;
mod nodes;
mod redis;
mod relay;
mod services;
mod serving;
mod snapshots;
mod token;
mod trace;
