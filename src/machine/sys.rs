//! What only the kernel can say, and no safe library wraps: seccomp's filters and notifications, another process's
//! memory, signals as a descriptor. The one file of this program that may be unsafe; what leaves it is safe to call.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::call::{Call, Reply};

/// One instruction of a filter, as seccomp(2) takes it.
pub(crate) use libc::sock_filter as Instruction;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6): the answering thread's processor runs the program next.
const SYNC_WAKE_UP: u64 = 1;

/// Looks up a thread, not only a thread group (`PIDFD_THREAD`, Linux 6.9).
const PIDFD_THREAD: libc::c_uint = libc::O_EXCL as libc::c_uint;

/// Room for a notification and for an answer: a newer kernel's are larger than the ones known here (80 and 24 bytes).
type Room = [u64; 64];

/// How a filter asks for its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// A call that was received can only be interrupted by a deadly signal (Linux 5.19).
    Withheld,
    /// Any signal interrupts a call that waits, and it may begin again.
    Let,
}

/// Puts a filter on the calling thread, for good, and gives the descriptor on which its calls are heard.
///
/// # Errors
/// The kernel's: `EINVAL` where it does not know this way, `EACCES` without `no_new_privs`, `EBUSY` where a listener is
/// there already.
pub(crate) fn install(filter: &[Instruction], interrupts: Interrupts) -> io::Result<OwnedFd> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let mut flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    if interrupts == Interrupts::Withheld {
        flags |= libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    // SAFETY: `program` points at `filter`, which outlives the call; the kernel copies it and writes to neither.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it. Descriptors are small.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The descriptor on which a filter's calls are heard and answered.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Takes over what [`install`] made, in whichever process.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        // SAFETY: this command takes a number and touches no memory. Refused by older kernels, which is well: it only
        // saves a switch between processors.
        unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            );
        }
        Self(fd)
    }

    /// The next call, or `None` where it is gone again (its thread was interrupted or has ended).
    ///
    /// # Errors
    /// What ioctl(2) says beyond that.
    pub(crate) fn receive(&self) -> io::Result<Option<Call>> {
        let mut room: Room = [0; 64];
        // SAFETY: `room` is zeroed as the kernel asks, aligned as `seccomp_notif` is, and larger than it.
        let done = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                room.as_mut_ptr(),
            )
        };
        if done < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINTR) => Ok(None),
                _ => Err(error),
            };
        }
        // SAFETY: the kernel has filled in a `seccomp_notif`, which is plain numbers.
        let heard = unsafe { &*room.as_ptr().cast::<libc::seccomp_notif>() };
        Ok(Some(Call {
            id: heard.id,
            tid: heard.pid,
            nr: i64::from(heard.data.nr),
            args: heard.data.args,
        }))
    }

    /// Answers a call.
    ///
    /// # Errors
    /// `ENOENT` where the call is gone: its thread was interrupted or has ended.
    pub(crate) fn send(&self, id: u64, reply: Reply) -> io::Result<()> {
        let mut room: Room = [0; 64];
        let (val, error, flags) = match reply {
            Reply::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Reply::Value(value) => (value, 0, 0),
            Reply::Errno(errno) => (0, -errno.abs(), 0),
            Reply::Gone => return Ok(()),
        };
        // SAFETY: `room` is aligned as `seccomp_notif_resp` is, and larger; the kernel reads it.
        unsafe {
            room.as_mut_ptr()
                .cast::<libc::seccomp_notif_resp>()
                .write(libc::seccomp_notif_resp {
                    id,
                    val,
                    error,
                    flags,
                });
            check(libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                room.as_mut_ptr(),
            ))
        }
    }

    /// Whether the call still waits. Asked after its memory or descriptors were read: only then was it its thread, and
    /// not another one with the same number, that they were read from.
    pub(crate) fn waits(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one u64.
        unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const id,
            ) == 0
        }
    }

    /// Puts `fd` into the calling process under the number `at`, in the place of what is there.
    ///
    /// # Errors
    /// `ENOENT` where the call is gone, `EINVAL` where the kernel does not know this (before 5.9).
    pub(crate) fn put(&self, id: u64, fd: BorrowedFd<'_>, at: u32, flags: u32) -> io::Result<()> {
        let add = libc::seccomp_notif_addfd {
            id,
            flags: libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
            srcfd: u32::try_from(fd.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?,
            newfd: at,
            newfd_flags: flags,
        };
        // SAFETY: the kernel reads `add`, whose size is in the command's number. It answers a descriptor's number.
        unsafe {
            check(
                libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                    &raw const add,
                )
                .min(0),
            )
        }
    }

    /// Puts `fd` into the calling process under the lowest number that is free, and gives that number.
    ///
    /// # Errors
    /// `ENOENT` where the call is gone, `EMFILE` where the process may not have more, `EINVAL` before Linux 5.9.
    pub(crate) fn add(&self, id: u64, fd: BorrowedFd<'_>, flags: u32) -> io::Result<RawFd> {
        let add = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: u32::try_from(fd.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?,
            newfd: 0,
            newfd_flags: flags,
        };
        // SAFETY: the kernel reads `add`, whose size is in the command's number. It answers a descriptor's number.
        unsafe {
            let fd = libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                &raw const add,
            );
            check(fd.min(0))?;
            Ok(fd)
        }
    }
}

/// Reads another process's memory, as far as it goes: fewer bytes than asked for where the next page is not there.
///
/// # Errors
/// `EFAULT` where nothing is there, `EPERM` where this process may not look, `ESRCH`.
pub(crate) fn read_memory(tid: u32, at: u64, into: &mut [u8]) -> io::Result<usize> {
    if into.is_empty() {
        return Ok(0);
    }
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: at as *mut libc::c_void,
        iov_len: into.len(),
    };
    // SAFETY: `local` is `into`, which is ours alone for the call; `remote` is never looked at in this process.
    let read = unsafe {
        libc::process_vm_readv(
            tid.cast_signed(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes another process's memory, as far as it goes.
///
/// # Errors
/// As [`read_memory`], and `EFAULT` where it may not be written.
pub(crate) fn write_memory(tid: u32, at: u64, from: &[u8]) -> io::Result<usize> {
    if from.is_empty() {
        return Ok(0);
    }
    let local = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    let remote = libc::iovec {
        iov_base: at as *mut libc::c_void,
        iov_len: from.len(),
    };
    // SAFETY: the kernel only reads `from`; `remote` is memory of the other process, which waits for our answer.
    let written = unsafe {
        libc::process_vm_writev(
            tid.cast_signed(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// How large a thread's process may make a file (`RLIMIT_FSIZE`, bytes).
///
/// # Errors
/// `ESRCH`, and `EPERM` where it is another user's.
pub(crate) fn file_size_limit(tid: u32) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: nothing is set; the kernel writes to `limit`, which is ours.
    unsafe {
        check(libc::prlimit(
            tid.cast_signed(),
            libc::RLIMIT_FSIZE,
            std::ptr::null(),
            &raw mut limit,
        ))?;
    }
    Ok(limit.rlim_cur)
}

/// A descriptor of a thread of another process.
///
/// # Errors
/// `EINVAL` before Linux 6.9, which only knows thread groups.
pub(crate) fn pidfd_of_thread(tid: u32) -> io::Result<OwnedFd> {
    // SAFETY: two numbers; the kernel answers a new descriptor, which nobody else knows.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, tid, PIDFD_THREAD);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Withholds these signals from the calling thread; they are then read from the descriptor, which is non-blocking.
///
/// # Errors
/// What sigprocmask(2) and signalfd(2) say.
pub(crate) fn signals(which: &[libc::c_int]) -> io::Result<OwnedFd> {
    // SAFETY: `set` is plain bits, made by the functions that are for it; the descriptor is new and ours.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in which {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd.min(0))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Withholds no signal from the calling thread, and ignores none in this process: what the bench was started with is
/// not the program's.
pub(crate) fn default_signals() {
    // SAFETY: an empty set is plain bits; the default action runs no code of ours. Numbers that may not be set are
    // refused, which is well.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Withholds every signal from the calling thread: one for the bench must not interrupt what it does for a program.
pub(crate) fn withhold_signals() {
    // SAFETY: a full set is plain bits.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// The kernel's state of a TCP socket (`tcpi_state` of `TCP_INFO`, tcp(7)).
///
/// # Errors
/// `EOPNOTSUPP` for other sockets.
pub(crate) fn tcp_state(socket: BorrowedFd<'_>) -> io::Result<u8> {
    let mut state = 0_u8;
    let mut length: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `length` bytes, and the state is the first one.
    unsafe {
        check(libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        ))?;
    }
    Ok(state)
}

/// For [`seize`]: a stop at each exec that succeeds.
pub(crate) const EXECS: libc::c_int = libc::PTRACE_O_TRACEEXEC;

/// Traces a thread of another process, without stopping it, until it is let go or the calling thread ends.
///
/// # Errors
/// `EPERM` where that is forbidden.
pub(crate) fn seize(tid: u32, options: libc::c_int) -> io::Result<()> {
    trace(libc::PTRACE_SEIZE, tid, options)
}

/// Stops a thread that this one traces, as soon as it would come back from the kernel. Nothing where it is gone.
pub(crate) fn interrupt(tid: u32) {
    let _ = trace(libc::PTRACE_INTERRUPT, tid, 0);
}

/// Lets go a thread that this one traces and that has stopped; it meets `signal` then, if that is none of zero.
pub(crate) fn detach(tid: u32, signal: libc::c_int) {
    let _ = trace(libc::PTRACE_DETACH, tid, signal);
}

#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

fn trace(request: Request, tid: u32, data: libc::c_int) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the three requests above take a number and flags or a signal, and touch no memory of this process.
    let done = unsafe {
        libc::ptrace(
            request,
            tid.cast_signed(),
            none,
            data as usize as *mut libc::c_void,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How a thread that this one traces has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A new program is about to begin, in the process of this number.
    Exec(u32),
    /// Anything else, with the signal that it is to meet when it is let go.
    Other {
        /// Its number.
        tid: u32,
        /// 0 for none.
        signal: libc::c_int,
    },
    /// It has ended.
    Ended,
}

/// Waits for the thread that this one traces to stop. This thread has no other tracee, and no child of its own.
///
/// # Errors
/// `ECHILD` where it traces nothing.
pub(crate) fn stop() -> io::Result<Stop> {
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    if tid < 0 {
        return Err(io::Error::last_os_error());
    }
    let tid = tid.unsigned_abs();
    if !libc::WIFSTOPPED(status) {
        return Ok(Stop::Ended);
    }
    Ok(match status >> 16 {
        libc::PTRACE_EVENT_EXEC => Stop::Exec(tid),
        0 => Stop::Other {
            tid,
            signal: libc::WSTOPSIG(status),
        },
        _ => Stop::Other { tid, signal: 0 },
    })
}

/// Sets a socket option whose value is bytes: what goes from one socket to another is not looked at.
///
/// # Errors
/// `ENOPROTOOPT` and whatever else setsockopt(2) says.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `length` bytes of `value`.
    unsafe {
        check(libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        ))
    }
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
