//! The thread whose call waits for an answer, and what can be had of it meanwhile: its memory, its descriptors.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::call::{Call, Reply};
use crate::sys::{self, Interrupts, Listener};

/// A call that a signal interrupts is made again as soon as the handler is done; one that is not is given up.
const REPEATED: Duration = Duration::from_secs(1);

/// A thread of a watched program in a system call that waits. Cheap to clone; a worker takes one along.
#[derive(Clone)]
pub struct Caller {
    call: Call,
    listener: Arc<Listener>,
    /// Where signals can interrupt a call that waits: how that is known when it is made again.
    latest: Option<Arc<Latest>>,
}

/// A call that may be made again.
#[derive(Debug)]
pub(crate) struct Latest {
    /// The kernel's number of its latest repetition.
    pub(crate) id: AtomicU64,
    /// The kernel was let carry it out: what comes after is another call, though it may look the same.
    pub(crate) over: AtomicBool,
}

impl Latest {
    pub(crate) fn of(call: &Call) -> Arc<Self> {
        Arc::new(Self {
            id: AtomicU64::new(call.id),
            over: AtomicBool::new(false),
        })
    }
}

/// What the kernel shows of an open file (`/proc/TID/fdinfo/FD`, proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// The offset that the next `read` or `write` begins at, in bytes.
    pub position: u64,
    /// `O_*` as it was opened and set since, `O_CLOEXEC` included.
    pub flags: i32,
}

impl Caller {
    pub(crate) fn new(call: Call, listener: Arc<Listener>, interrupts: Interrupts) -> Self {
        let latest = match interrupts {
            Interrupts::Withheld => None,
            Interrupts::Let => Some(Latest::of(&call)),
        };
        Self {
            call,
            listener,
            latest,
        }
    }

    /// Where a repetition is to be written down; `None` where there are none.
    pub(crate) fn latest(&self) -> Option<&Arc<Latest>> {
        self.latest.as_ref()
    }

    /// Whether a signal can interrupt the call while it waits.
    pub(crate) fn is_interruptible(&self) -> bool {
        self.latest.is_some()
    }

    /// The number that the kernel knows the call by now.
    fn id(&self) -> u64 {
        match &self.latest {
            Some(latest) => latest.id.load(Ordering::Acquire),
            None => self.call.id,
        }
    }

    /// The call that waits.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Argument `index` (from 0) as a descriptor, a flag set, any `int`: its low half.
    #[must_use]
    pub fn int(&self, index: usize) -> i32 {
        (self.call.args[index] as u32).cast_signed()
    }

    /// Whether the call still waits. What was read of the thread is only its own if this holds *afterwards*: else the
    /// thread has ended, and its number may be another's. The methods here that read have asked it already.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.listener.waits(self.id())
    }

    /// Whether the call still waits, or does so soon: a signal may have come first, whose handler runs before it is made
    /// again.
    #[must_use]
    pub fn waits_again(&self) -> bool {
        let end = Instant::now() + REPEATED;
        while !self.waits() {
            if self.latest.is_none() || Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    /// Whether nobody will ever hear an answer. Unlike [`Caller::waits`], this does not take a call for gone whose thread
    /// runs a signal's handler and then makes it again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        !self.waits() && (self.latest.is_none() || !self.proc("").exists())
    }

    /// Lets the kernel carry the call out now, while the work of an [`Answer::Later`](crate::watcher::Answer::Later) goes
    /// on, which is to give [`Reply::Gone`].
    pub fn go_on(&self) {
        if let Some(latest) = &self.latest {
            latest.over.store(true, Ordering::Release);
        }
        // A call that is gone needs no answer.
        let _ = self.listener.send(self.id(), Reply::Continue);
    }

    /// Reads memory at `at`, up to the end of `into` or of what is mapped; gives the bytes read, at least one.
    ///
    /// # Errors
    /// `EFAULT` where nothing is mapped, `EPERM` where the kernel forbids a look, `ESRCH` where the call is gone.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let read = sys::read_memory(self.call.tid, at, into);
        self.still(read)
    }

    /// Reads `length` bytes at `at`, all of them.
    ///
    /// # Errors
    /// As [`Caller::read`]; `EFAULT` where only a part is mapped.
    pub fn bytes(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        if self.read(at, &mut bytes)? < length {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        Ok(bytes)
    }

    /// Reads a string that ends with a zero, of at most `PATH_MAX` bytes with it.
    ///
    /// # Errors
    /// As [`Caller::read`]; `ENAMETOOLONG` where no zero comes.
    pub fn string(&self, at: u64) -> io::Result<CString> {
        const PAGE: usize = 4096;
        let mut text = Vec::new();
        while text.len() < PAGE {
            // Never past the end of a page at once: the next one may not be there, and need not be.
            let from = at.wrapping_add(text.len() as u64);
            let mut part = [0; PAGE];
            let rest = (PAGE - from as usize % PAGE).min(PAGE - text.len());
            let read = self.read(from, &mut part[..rest])?;
            if let Some(end) = part[..read].iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&part[..end]);
                return Ok(CString::new(text).expect("it was cut at its first zero"));
            }
            text.extend_from_slice(&part[..read]);
        }
        Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
    }

    /// Writes `from` at `at`, all of it.
    ///
    /// # Errors
    /// `EFAULT` where that may not be written, `ESRCH` where the call is gone.
    pub fn write(&self, at: u64, from: &[u8]) -> io::Result<()> {
        self.still(Ok(()))?;
        if sys::write_memory(self.call.tid, at, from)? < from.len() {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        Ok(())
    }

    /// A copy of the thread's descriptor `fd`: the same open file, so its position and flags are shared.
    ///
    /// # Errors
    /// `EBADF` where it has none, `EPERM` or `ENOSYS` where the kernel or a container forbids it, `ESRCH`.
    pub fn take(&self, fd: i32) -> io::Result<OwnedFd> {
        let of = match sys::pidfd_of_thread(self.call.tid) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                pidfd_open(pid(self.process()?)?, PidfdFlags::empty()).map_err(io::Error::from)
            }
            other => other,
        };
        let taken = pidfd_getfd(of?, fd, PidfdGetfdFlags::empty()).map_err(io::Error::from);
        self.still(taken)
    }

    /// Puts `file` under the number `fd` into the process, in the place of what is there; `O_CLOEXEC` if asked for.
    ///
    /// # Errors
    /// `EINVAL` before Linux 5.9, `ENOENT` where the call is gone.
    pub fn put(&self, file: impl AsFd, fd: i32, flags: i32) -> io::Result<()> {
        let at = u32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        let flags = (flags & libc::O_CLOEXEC).cast_unsigned();
        let end = Instant::now() + REPEATED;
        loop {
            match self.listener.put(self.id(), file.as_fd(), at, flags) {
                // A signal came first, and its handler runs: the call will be made again.
                Err(error)
                    if error.raw_os_error() == Some(libc::ENOENT)
                        && self.latest.is_some()
                        && Instant::now() < end =>
                {
                    std::thread::sleep(Duration::from_micros(200));
                }
                other => return other,
            }
        }
    }

    /// Gives the process one more descriptor of `file`, as an open would; `O_CLOEXEC` if asked for. Returns its number
    /// there.
    ///
    /// # Errors
    /// `EMFILE` where the process may not have more, `EINVAL` before Linux 5.9, `ENOENT` where the call is gone.
    pub fn add(&self, file: impl AsFd, flags: i32) -> io::Result<i32> {
        let flags = (flags & libc::O_CLOEXEC).cast_unsigned();
        self.listener.add(self.call.id, file.as_fd(), flags)
    }

    /// How large the process may make a file (`RLIMIT_FSIZE`, bytes); what a bench writes on its behalf is not limited.
    ///
    /// # Errors
    /// `ESRCH` where the call is gone, `EPERM` where the process is another user's.
    pub fn file_size_limit(&self) -> io::Result<u64> {
        let limit = sys::file_size_limit(self.call.tid);
        self.still(limit)
    }

    /// The number of the process (the thread group) that this thread is of.
    ///
    /// # Errors
    /// `ESRCH` where the call is gone.
    pub fn process(&self) -> io::Result<u32> {
        let status = std::fs::read_to_string(self.proc("status"));
        let status = self.still(status)?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("Tgid:"))
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }

    /// What descriptor `fd` is open on: a path, or `socket:[INODE]`, `pipe:[INODE]`, ` (deleted)` at the end.
    ///
    /// # Errors
    /// `EBADF` where it has none, `ESRCH` where the call is gone.
    pub fn target(&self, fd: i32) -> io::Result<PathBuf> {
        let link = std::fs::read_link(self.proc(&format!("fd/{fd}"))).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::NotFound => io::Error::from_raw_os_error(libc::EBADF),
            _ => error,
        });
        self.still(link)
    }

    /// Position and flags of descriptor `fd`.
    ///
    /// # Errors
    /// `EBADF` where it has none, `ESRCH` where the call is gone.
    pub fn open_file(&self, fd: i32) -> io::Result<OpenFile> {
        let position = self.field(fd, "pos:")?;
        let flags = self.field(fd, "flags:")?;
        match (position.parse(), i32::from_str_radix(&flags, 8)) {
            (Ok(position), Ok(flags)) => Ok(OpenFile { position, flags }),
            _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    /// What `/proc/TID/fdinfo/FD` says after `name`, its colon included.
    ///
    /// # Errors
    /// `EBADF` where there is no such descriptor or no such line, `ESRCH` where the call is gone.
    pub(crate) fn field(&self, fd: i32, name: &str) -> io::Result<String> {
        let bad = || io::Error::from_raw_os_error(libc::EBADF);
        let info = std::fs::read_to_string(self.proc(&format!("fdinfo/{fd}")));
        let info = self.still(info.map_err(|_| bad()))?;
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.map(|text| text.trim().to_owned()).ok_or_else(bad)
    }

    /// `/proc/TID/NAME`: `cwd` and `root` can be opened as folders, `fd/N` as the file itself.
    #[must_use]
    pub fn proc(&self, name: &str) -> PathBuf {
        let mut path = OsString::from("/proc/");
        path.push(self.call.tid.to_string());
        path.push("/");
        path.push(name);
        PathBuf::from(path)
    }

    /// What was read is only true if the call waited all the while.
    fn still<T>(&self, read: io::Result<T>) -> io::Result<T> {
        if self.waits() {
            read
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    }
}

fn pid(number: u32) -> io::Result<Pid> {
    Pid::from_raw(number.cast_signed()).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}
