//! What happened in a run: one typed event, one log of it, and folds over it.
//!
//! ```text
//!   whoever acts ──▶ EventLog ──▶ journal.jsonl ─┐
//!   clients ──▶ recorder ──▶ history.jsonl ──────┤
//!                  │                             ▼
//!                  └─ entries, live     or  read_folder, when it is over
//!                                 │
//!                                 ├─▶ RunView      what a screen shows
//!                                 ├─▶ Operations   what clients did, over time
//!                                 ├─▶ RunResult    what a report says: verdict, findings, faults, coverage
//!                                 └─▶ what was found, for a campaign
//! ```
//!
//! A fold never asks whether a run goes on: it takes one [`Entry`] after the other, and a finished folder gives the same
//! result as the run that wrote it. Nothing here parses a sentence: what is said to a person is made of what is data.

mod beliefs;
mod coverage;
mod event;
mod folder;
mod links;
mod log;
mod node;
mod operations;
mod result;
mod unexplained;
mod view;

pub use coverage::{Counts, Outcomes, Sessions, Share};
pub use event::{
    DefectCounts, Entry, Event, Load, MessageFate, Part, Phase, Progress, VerdictWord,
    not_linearizable,
};
pub use folder::{
    FolderError, Kept, ReadBack, TOKEN_FILE, TokenFile, create, found_in, history_in, read_folder,
    read_result, utc_stamp,
};
pub use links::Links;
pub use log::{EventLog, FORMAT, JOURNAL, Listener, Opened};
pub use node::{ChildState, LinkState, Membership, NodeStatus, NodeView, Role, RpcView, Vote};
#[cfg(test)]
pub(crate) use operations::tests as operations_tests;
pub use operations::{Asked, Op, Operations, TALLY_NS, Tally};
pub use result::{ResultFold, RunResult, again_in_words};
pub use unexplained::Unexplained;
pub use view::{Election, End, Line, RunView, Told, Tone, UNPROMISED, not_done};
