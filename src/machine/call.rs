//! One system call of a watched program, and what the bench answers.

/// A system call that waits for an answer, as the kernel's notification tells it (seccomp_unotify(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The kernel's number of this notification; an answer names it.
    pub id: u64,
    /// The thread that called, as the bench's process numbers see it. Not the thread group's id.
    pub tid: u32,
    /// The system call's number on this architecture.
    pub nr: i64,
    /// Its six arguments, as they stood in the registers.
    pub args: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The kernel carries it out as it stands.
    Continue,
    /// It returns this value, and the kernel does nothing.
    Value(i64),
    /// It fails with this error number (positive, as in errno(3)).
    Errno(i32),
    /// Nothing more: the work of an [`Answer::Later`](crate::watcher::Answer::Later) has let it go on already
    /// ([`Caller::go_on`](crate::caller::Caller::go_on)).
    Gone,
}
