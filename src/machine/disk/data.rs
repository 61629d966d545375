//! Writes, truncates and fallocate on the files of the folder, carried out here between the log's steps.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::MutexGuard;

use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, SeekFrom};

use super::paths::{Found, is_regular, path_of, unresolved};
use super::sync::Real;
use super::undo::{Key, Log, Step, What};
use super::{Disk, OUTSIDE_NAMED};
use crate::call::Reply;
use crate::caller::Caller;
use crate::watcher::Answer;

/// At most so many bytes are moved at once (bytes).
const CHUNK: usize = 1 << 20;
/// What one call of Linux writes at most (bytes, write(2)).
const MOST: u64 = 0x7fff_f000;
/// As many pieces a vector may have (`UIO_MAXIOV`).
const MOST_PIECES: usize = 1024;
/// `FALLOC_FL_KEEP_SIZE`, `FALLOC_FL_PUNCH_HOLE`, `FALLOC_FL_ZERO_RANGE` (fallocate(2)).
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// Where a write goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// To the open file's position, which moves on.
    Position,
    /// To this offset (bytes); the position stays.
    At(u64),
}

/// A write that a program asks for.
pub(super) struct Write {
    pub(super) fd: i32,
    /// Where the bytes are in its memory: (address, length).
    pub(super) pieces: Vec<(u64, u64)>,
    pub(super) place: Place,
    /// `RWF_*`.
    pub(super) flags: i32,
}

impl Write {
    /// `write` and `pwrite64`: a descriptor, an address, a length.
    pub(super) fn of(caller: &Caller, place: Place) -> Self {
        let args = caller.call().args;
        Self {
            fd: caller.int(0),
            pieces: vec![(args[1], args[2])],
            place,
            flags: 0,
        }
    }

    fn bytes(&self) -> u64 {
        self.pieces
            .iter()
            .fold(0u64, |sum, piece| sum.saturating_add(piece.1))
            .min(MOST)
    }
}

/// A file of the folder, as a program has it open.
pub(super) struct Open {
    pub(super) file: OwnedFd,
    pub(super) flags: OFlags,
}

impl Disk {
    pub(super) fn write_vector(&self, caller: &Caller, place: Place, flags: i32) -> Answer {
        if !self.is_inside(caller, caller.int(0)) {
            return Answer::Pass;
        }
        let Some(pieces) = vector(caller) else {
            return Answer::Pass;
        };
        let write = Write {
            fd: caller.int(0),
            pieces,
            place,
            flags,
        };
        self.write(caller, &write)
    }

    pub(super) fn write(&self, caller: &Caller, write: &Write) -> Answer {
        let Some(open) = self.open_for_writing(caller, write.fd) else {
            return Answer::Pass;
        };
        let asked = write.bytes();
        if asked == 0 || matches!(write.place, Place::At(at) if at.cast_signed() < 0) {
            return Answer::Pass;
        }
        let append = open.flags.contains(OFlags::APPEND) || write.flags & libc::RWF_APPEND != 0;
        // `O_SYNC` is a bit more than `O_DSYNC`, `RWF_SYNC` another bit than `RWF_DSYNC`.
        let synced = open.flags.intersects(OFlags::DSYNC)
            || write.flags & (libc::RWF_DSYNC | libc::RWF_SYNC) != 0;
        let asked = self.shortened(asked);
        let mut log = self.log();
        let (Ok(at), Some(limit)) = (position(&open, append, write.place), limit_of(caller)) else {
            return Answer::Pass;
        };
        // Beyond it the kernel has a signal for the program, and nothing is written.
        if at >= limit {
            return Answer::Pass;
        }
        let asked = match self.fitting(&open, at, asked.min(limit - at)) {
            Ok(asked) => asked,
            Err(errno) => return Reply::Errno(errno).into(),
        };
        let before = match synced {
            true => log.before_synced_write(&open.file, at, asked),
            false => log.before_write(&open.file, at, asked),
        };
        let Some(step) = self.noted(before) else {
            return Answer::Pass;
        };
        let done = carry_out(caller, &log, step, &write.pieces, at, asked);
        let written = *done.as_ref().unwrap_or(&0);
        log.wrote(step, asked, written);
        if write.place == Place::Position && written > 0 {
            let _ = rustix::fs::seek(&open.file, SeekFrom::Start(at + written));
        }
        match done {
            Err(error) => error_reply(&error).into(),
            Ok(written) if synced && written > 0 => {
                self.sync_write(caller, log, step, open.file, written)
            }
            Ok(written) => Reply::Value(written.cast_signed()).into(),
        }
    }

    fn sync_write(
        &self,
        caller: &Caller,
        mut log: MutexGuard<'_, Log>,
        step: Step,
        file: OwnedFd,
        written: u64,
    ) -> Answer {
        let sync = log.begin_sync(What::Write(step));
        drop(log);
        let done = Reply::Value(written.cast_signed());
        sync.map_or(Answer::Now(done), |sync| {
            self.sync_later(caller, sync, Real::Data(file), done)
        })
    }

    pub(super) fn truncate(&self, caller: &Caller, fd: i32, size: u64) -> Answer {
        let Some(open) = self.open_for_writing(caller, fd) else {
            return Answer::Pass;
        };
        self.resize(caller, &open.file, size)
    }

    pub(super) fn truncate_path(&self, caller: &Caller, path: u64, size: u64) -> Answer {
        let file = match self.find(caller, libc::AT_FDCWD, path, 0) {
            Ok(Some(Found::There(file, path))) if self.keeps(&path) && is_regular(&file) => file,
            Ok(Some(Found::Nothing(spot))) if self.keeps(&spot.path) => {
                return Reply::Errno(libc::ENOENT).into();
            }
            Ok(_) => return Answer::Pass,
            Err(error) => return unresolved(caller, &error),
        };
        if let Err(error) = may_write(&file) {
            return error_reply(&error).into();
        }
        self.resize(caller, &file, size)
    }

    fn resize(&self, caller: &Caller, file: &OwnedFd, size: u64) -> Answer {
        let mut log = self.log();
        if size.cast_signed() < 0 || limit_of(caller).is_none_or(|limit| size > limit) {
            return Answer::Pass;
        }
        // A hole takes no room before it is written to; here it does, so that it need not be known where there are some.
        let Ok(now) = log.size(file) else {
            return Answer::Pass;
        };
        let growth = size.saturating_sub(now);
        match self.room(growth) {
            Ok(room) if room == growth => {}
            Ok(_) => return Reply::Errno(libc::ENOSPC).into(),
            Err(errno) => return Reply::Errno(errno).into(),
        }
        let Some(step) = self.noted(log.before_resize(file, size)) else {
            return Answer::Pass;
        };
        let done = log.own_file(step).expect("a step on a file").set_len(size);
        self.replied(&mut log, step, done)
    }

    pub(super) fn allocate(&self, caller: &Caller) -> Answer {
        let (mode, args) = (caller.int(1), caller.call().args);
        let (at, len) = (args[2], args[3]);
        let Some(open) = self.open_for_writing(caller, caller.int(0)) else {
            return Answer::Pass;
        };
        let end = at.saturating_add(len);
        if len == 0 || (at | len | end).cast_signed() < 0 {
            return Answer::Pass;
        }
        let mut log = self.log();
        let Ok(size) = log.size(&open.file) else {
            return Answer::Pass;
        };
        if limit_of(caller).is_none_or(|limit| end > limit) {
            return Answer::Pass;
        }
        if mode & KEEP_SIZE == 0 && end > size {
            match self.room(end - size) {
                Ok(room) if room == end - size => {}
                Ok(_) => return Reply::Errno(libc::ENOSPC).into(),
                Err(errno) => return Reply::Errno(errno).into(),
            }
        }
        let before = match mode {
            // Room alone, with no byte changed.
            KEEP_SIZE => return Answer::Pass,
            0 => log.before_resize(&open.file, end.max(size)),
            m if m == ZERO_RANGE || m == ZERO_RANGE | KEEP_SIZE || m == PUNCH_HOLE | KEEP_SIZE => {
                log.before_erase(&open.file, at, len)
            }
            // Moving bytes to other offsets: file systems without it say this, and programs do without.
            _ => return Reply::Errno(libc::EOPNOTSUPP).into(),
        };
        let Some(step) = self.noted(before) else {
            return Answer::Pass;
        };
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let own = log.own_file(step).expect("a step on a file");
        let done = rustix::fs::fallocate(own, flags, at, len);
        self.replied(&mut log, step, done.map_err(io::Error::from))
    }

    pub(super) fn refuse_clone(&self, caller: &Caller) -> Answer {
        match self.is_inside(caller, caller.int(0)) {
            true => Reply::Errno(libc::EOPNOTSUPP).into(),
            false => Answer::Pass,
        }
    }

    /// The reply for a call that was carried out, or failed and changed nothing.
    pub(super) fn replied(&self, log: &mut Log, step: Step, done: io::Result<()>) -> Answer {
        match done {
            Ok(()) => Reply::Value(0).into(),
            Err(error) => {
                log.failed(step);
                error_reply(&error).into()
            }
        }
    }

    /// A before step; where it failed, that is said, and the kernel carries the call out.
    pub(super) fn noted(&self, before: io::Result<Step>) -> Option<Step> {
        before
            .map_err(|error| {
                self.limit(format!("what a call destroyed could not be kept ({error})"))
            })
            .ok()
    }

    /// Whether the descriptor is open on a file of the folder that is not volatile.
    pub(super) fn is_inside(&self, caller: &Caller, fd: i32) -> bool {
        caller
            .target(fd)
            .is_ok_and(|path| path.starts_with(&self.folder) && !self.is_volatile(&path))
    }

    /// The program's descriptor, where a write to it would change a file of the folder. Writes elsewhere are counted.
    pub(super) fn open_for_writing(&self, caller: &Caller, fd: i32) -> Option<Open> {
        let path = caller.target(fd).ok()?;
        if !path.starts_with(&self.folder) {
            let elsewhere = path.is_absolute()
                && !["/dev", "/proc", "/sys", "/memfd:"]
                    .iter()
                    .any(|no| path.starts_with(no));
            if elsewhere {
                self.count_outside(path);
            }
            return None;
        }
        let file = match caller.take(fd) {
            Ok(file) => file,
            Err(error) => {
                if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) {
                    self.limit(format!(
                        "a descriptor of the program could not be had ({error})"
                    ));
                }
                return None;
            }
        };
        let stat = rustix::fs::fstat(&file).ok()?;
        // Another thread may have put another file under that number since.
        if !self.log().knows(Key::of(&stat)) {
            let path = path_of(&file).ok()?;
            if !path.starts_with(&self.folder) || self.is_volatile(&path) {
                return None;
            }
        }
        let flags = rustix::fs::fcntl_getfl(&file).ok()?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let writable = flags & OFlags::ACCMODE != OFlags::RDONLY && !flags.contains(OFlags::PATH);
        (regular && writable).then_some(Open { file, flags })
    }

    fn count_outside(&self, path: std::path::PathBuf) {
        let mut now = self.now();
        if now.outside.contains_key(&path) || now.outside.len() < OUTSIDE_NAMED {
            *now.outside.entry(path).or_default() += 1;
        }
    }

    /// Half of what is asked for, where a write is to be short.
    fn shortened(&self, asked: u64) -> u64 {
        let mut now = self.now();
        now.writes += 1;
        if now.harms.short_writes == 0
            || !now.writes.is_multiple_of(now.harms.short_writes)
            || asked < 2
        {
            return asked;
        }
        now.met.short += 1;
        asked / 2
    }

    /// How much of a write fits on the disk: what does not grow the file always does.
    pub(super) fn fitting(&self, open: &Open, at: u64, asked: u64) -> Result<u64, i32> {
        if self.harms().full.is_none() {
            return Ok(asked);
        }
        let size = rustix::fs::fstat(&open.file).map_or(0, |stat| stat.st_size.unsigned_abs());
        let growth = (at + asked).saturating_sub(size.max(at));
        if growth == 0 {
            return Ok(asked);
        }
        match self.room(growth) {
            Ok(room) => Ok(asked - growth + room),
            Err(_) if growth < asked => Ok(asked - growth),
            Err(errno) => Err(errno),
        }
    }
}

/// The pieces of memory that the second and the third argument of a call name: (address, length).
pub(super) fn vector(caller: &Caller) -> Option<Vec<(u64, u64)>> {
    let args = caller.call().args;
    let count = usize::try_from(args[2]).ok()?;
    if count > MOST_PIECES {
        return None;
    }
    let vector = caller.bytes(args[1], count * 16).ok()?;
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let pieces = vector.chunks_exact(16);
    Some(
        pieces
            .map(|piece| (number(&piece[..8]), number(&piece[8..])))
            .collect(),
    )
}

/// Where the write goes.
fn position(open: &Open, append: bool, place: Place) -> io::Result<u64> {
    match place {
        // With `O_APPEND` Linux appends whatever offset is given (pwrite(2), "Bugs").
        _ if append => Ok(rustix::fs::fstat(&open.file)?.st_size.unsigned_abs()),
        Place::At(at) => Ok(at),
        Place::Position => Ok(rustix::fs::tell(&open.file)?),
    }
}

/// How large the program may make the file, if the call still waits (bytes).
pub(super) fn limit_of(caller: &Caller) -> Option<u64> {
    match caller.file_size_limit() {
        Ok(limit) => Some(limit),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
        // Another user's limits are not shown.
        Err(_) => Some(u64::MAX),
    }
}

/// Moves bytes from the program's memory to the file; gives how many, fewer where its memory ends.
fn carry_out(
    caller: &Caller,
    log: &Log,
    step: Step,
    pieces: &[(u64, u64)],
    at: u64,
    asked: u64,
) -> io::Result<u64> {
    let file = log.own_file(step).expect("a step on a file");
    let mut done = 0;
    for (mut from, length) in pieces.iter().copied() {
        let mut left = length.min(asked - done);
        while left > 0 {
            let mut bytes = vec![0; (left as usize).min(CHUNK)];
            let moved = caller.read(from, &mut bytes).and_then(|read| {
                file.write_all_at(&bytes[..read], at + done)?;
                Ok(read as u64)
            });
            match moved {
                Ok(moved) if moved > 0 => {
                    (done, from, left) = (done + moved, from + moved, left - moved);
                }
                Ok(_) => return Ok(done),
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }
    Ok(done)
}

/// The program's error for one that was met on its behalf. A call that is gone was not carried out: where a signal
/// interrupted it, it will be made again.
pub(super) fn error_reply(error: &io::Error) -> Reply {
    match error.raw_os_error() {
        Some(libc::ESRCH) => Reply::Continue,
        errno => Reply::Errno(errno.unwrap_or(libc::EIO)),
    }
}

/// Opens what `fd` is open on once more.
pub(super) fn open_again(fd: impl AsFd, flags: OFlags) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    Ok(rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Whether whoever opens files here may write to it; the log itself does not ask.
///
/// # Errors
/// The kernel's: `EACCES`, `ETXTBSY`, `EROFS`.
pub(super) fn may_write(fd: impl AsFd) -> io::Result<()> {
    open_again(fd, OFlags::WRONLY).map(drop)
}
