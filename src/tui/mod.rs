//! Eyes and hands: shows a run while it happens, or a finished one, and lets a person break it.
//!
//! What comes in is what happens in a run ([`Entry`](crate::journal::Entry)), keys and a clock; what goes out are `run`'s
//! [`Command`](crate::run::Command)s. [`update`](update::update) is the only function that changes the [`App`], and
//! [`draw`](draw::draw) the only one that looks at it; both are plain functions. The screen never awaits the cluster.

pub mod app;
mod breaking;
pub mod draw;
#[cfg(test)]
mod fixtures;
pub mod history_view;
mod input;
pub mod keys;
pub mod menu;
mod mouse;
mod over;
pub mod picker;
mod print;
pub mod replay;
mod scale;
mod session;
mod signals;
mod terminal;
pub mod theme;
mod tour;
#[cfg(test)]
mod truth_tests;
pub mod update;
#[cfg(test)]
mod update_tests;

pub use app::{Action, App, Input};
pub use draw::draw;
pub use print::{Print, print};
pub use session::{Options, replay, run};
pub use terminal::is_possible;
pub use update::update;
