//! Who watches a program's system calls: the network, the disk, the clock. Each says which calls it wants to hear, and
//! answers them.
//!
//! ```text
//!  the program's thread          the supervisor's thread              a worker
//!  connect(...) ── waits ──▶ watcher.answer(&caller)
//!       ▲                      ├─ Pass: the next watcher, at last the kernel
//!       ├──────────────────────┼─ Now(reply)
//!       └──────────────────────┼──────────────────────────────── Later(work): reply = work()
//! ```
//!
//! `answer` is called on the one thread that hears *all* calls of that program: it must not wait for anything but the
//! program's memory. What waits (a connection, a held sync) is given back as [`Answer::Later`] and runs on a thread of
//! its own, for as long as it likes; the program's thread waits, its other threads go on.
//!
//! Only what the watcher has done itself is safe from a second thread of the program: between a look at its memory and
//! [`Reply::Continue`] that memory can change.

use crate::call::Reply;
use crate::caller::Caller;

/// A system call that a watcher wants to hear, or have refused unheard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Every call of this number.
    Always(i64),
    /// Calls of this number where the low half of argument `arg` (from 0) has any bit of `mask` set: an `openat` that
    /// creates or truncates, an `mmap` that is shared. A filter sees numbers, not what they point at.
    Bits {
        /// The system call's number.
        nr: i64,
        /// Which argument, 0 to 5.
        arg: u8,
        /// One of these bits must be set.
        mask: u32,
    },
    /// The same with two arguments, both of which must have one of their bits set.
    BothBits {
        /// The system call's number.
        nr: i64,
        /// Which argument, and which bits.
        bits: [(u8, u32); 2],
    },
    /// Calls of this number fail with this error number, and nobody hears them.
    Never {
        /// The system call's number.
        nr: i64,
        /// The error number (positive, as in errno(3)).
        errno: i32,
    },
}

impl Want {
    /// The system call's number.
    #[must_use]
    pub fn nr(&self) -> i64 {
        match *self {
            Want::Always(nr)
            | Want::Bits { nr, .. }
            | Want::BothBits { nr, .. }
            | Want::Never { nr, .. } => nr,
        }
    }
}

/// What a watcher makes of a call.
pub enum Answer {
    /// It is no matter of this watcher's: the next one is asked, and at last the kernel carries it out.
    Pass,
    /// This, at once.
    Now(Reply),
    /// What this gives, when it is done: it runs on a thread of its own.
    Later(Box<dyn FnOnce() -> Reply + Send>),
}

impl Answer {
    /// An answer that takes its time.
    #[must_use]
    pub fn later(work: impl FnOnce() -> Reply + Send + 'static) -> Self {
        Answer::Later(Box::new(work))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Answer::Now(reply)
    }
}

/// Somebody who hears chosen system calls of a program, of all its threads and children.
///
/// One watcher serves one node: several programs may share it, and one that is started again meets the same.
pub trait Watcher: Send + Sync {
    /// The calls to be heard. Asked once, before the program starts. Where two watchers want the same call, each is
    /// asked in turn; a watcher may therefore hear calls of a wanted number that its own bits exclude.
    fn wants(&self) -> Vec<Want>;

    /// Answers a call. Must not wait (see the module's page) and should not panic: a panic is caught, counted
    /// ([`Program::broken`](crate::launch::Program::broken)), and the kernel carries the call out.
    ///
    /// It may be asked twice for one call of the program on kernels before 5.19, where a signal came before the call
    /// was heard; never once it has answered.
    fn answer(&self, caller: &Caller) -> Answer;

    /// A program that it watched is gone, all its children included: whatever still waits on its behalf may stop waiting.
    /// Called on that program's thread, before [`Program::gone`](crate::launch::Program::gone) says so.
    fn gone(&self) {}
}
