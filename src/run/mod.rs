//! The conductor: owns cluster, proxy, workload, clients, recorder, judge and nemesis. [`Command`] in, [`Told`] out.

mod notice;

pub use notice::{
    By, ChildState, Command, FaultId, Finding, LinkState, NodeView, Notice, Phase, Progress, Role, Told, VerdictWord,
};
