//! An unmodified Linux program on a host of its own, without root: an address, a disk and a clock that can break.
//!
//! A program is started with a seccomp filter that hands chosen system calls to the bench (user notification). The
//! supervisor answers each of them, or lets the kernel go on with it. This crate knows processes and system calls, and
//! no protocol.
//!
//! In reading order: [`launch`] starts and holds a program; [`watcher`] says who may answer its calls, [`caller`] and
//! [`call`] what they see of them; [`net`], [`disk`] and [`clock`] are watchers, the [`doctor`] tries what this host
//! allows. Within: the `keeper` between bench and program and its guard, the `starter` that becomes the
//! program, the `filter` that it carries, the `supervisor` that hears its calls, and `sys`, the only unsafe file.

pub mod call;
pub mod caller;
pub mod clock;
pub mod disk;
pub mod doctor;
mod filter;
mod keeper;
pub mod launch;
pub mod net;
mod orders;
mod processes;
mod program;
mod starter;
mod supervisor;
mod sys;
pub mod watcher;

use std::ffi::OsString;
use std::process::ExitCode;

/// What a program that uses this crate does first in its `main`: it may have been started as a part of a machine, and
/// then this is its whole life.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(ended) = machine::main(std::env::args_os()) {
///         return ended;
///     }
///     ExitCode::SUCCESS
/// }
/// ```
///
/// `None` where the arguments (the program's own name first) are not a machine's.
#[must_use]
pub fn main(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    match args.nth(1)?.to_str()? {
        keeper::GUARD => Some(keeper::guard()),
        keeper::KEEPER => Some(keeper::keep(args.next())),
        keeper::STARTER => Some(starter::start()),
        doctor::PATIENT => Some(doctor::be_patient()),
        _ => None,
    }
}
