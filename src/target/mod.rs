//! What is tested: its command line, its protocol and its status, one file for each target.
//!
//! A [`protocol::Protocol`] asks one node for one operation and says what came of it; who is asked, and who next, is the
//! same for all of them. [`described`] is a target by a TOML file: whatever a command line can start.

pub mod described;
pub mod protocol;
pub mod template;
