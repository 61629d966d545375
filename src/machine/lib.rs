//! An unmodified Linux program on a host of its own, without root: an address, a disk and a clock that can break.
//!
//! A program is started with a seccomp filter that hands chosen system calls to the bench (user notification). The
//! supervisor answers each of them, or lets the kernel go on with it. This crate knows processes and system calls, and
//! no protocol.

pub mod call;
pub mod disk;
