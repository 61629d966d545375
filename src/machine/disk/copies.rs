//! Bytes that the kernel would move from file to file, or from a pipe into one.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, SeekFrom};

use super::Disk;
use super::data::{Open, error_reply, limit_of};
use super::paths::is_regular;
use crate::call::Reply;
use crate::caller::Caller;
use crate::watcher::Answer;

/// One call copies at most so much (bytes): all three may copy less than they are asked for.
const MOST: u64 = 1 << 24;
/// What a pipe usually holds (bytes, pipe(7)).
const PIPE: u64 = 65_536;
/// How often a wait for a pipe looks whether its program still lives (nanoseconds).
const LOOK_NS: i64 = 50_000_000;
/// `SPLICE_F_NONBLOCK` (splice(2)).
const SPLICE_NONBLOCK: u64 = 2;

/// An offset that a call reads and moves on: the open file's position, or a number in the program's memory.
#[derive(Clone, Copy)]
struct Offset {
    /// Where the number is, 0 for the position.
    pointer: u64,
    /// What it is now (bytes).
    at: u64,
}

impl Offset {
    fn read(caller: &Caller, pointer: u64, file: &OwnedFd) -> io::Result<Self> {
        let at = match pointer {
            0 => rustix::fs::tell(file)?,
            _ => u64::from_ne_bytes(caller.bytes(pointer, 8)?.try_into().expect("eight bytes")),
        };
        if at.cast_signed() < 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Self { pointer, at })
    }

    fn advance(self, caller: &Caller, file: &OwnedFd, by: u64) -> io::Result<()> {
        match self.pointer {
            0 => Ok(rustix::fs::seek(file, SeekFrom::Start(self.at + by)).map(drop)?),
            pointer => caller.write(pointer, &(self.at + by).to_ne_bytes()),
        }
    }
}

impl Disk {
    pub(super) fn copy_range(&self, caller: &Caller) -> Answer {
        let args = caller.call().args;
        let Some(to) = self.open_for_writing(caller, caller.int(2)) else {
            return Answer::Pass;
        };
        if is_synchronous(&to) {
            return Reply::Errno(libc::EXDEV).into();
        }
        // Then the kernel says what is wrong with it.
        if args[5] != 0 || to.flags.contains(OFlags::APPEND) {
            return Answer::Pass;
        }
        self.copy(caller, (caller.int(0), args[1]), &to, args[3], args[4])
    }

    pub(super) fn send_file(&self, caller: &Caller) -> Answer {
        let args = caller.call().args;
        let Some(to) = self.open_for_writing(caller, caller.int(0)) else {
            return Answer::Pass;
        };
        if is_synchronous(&to) {
            return Reply::Errno(libc::EINVAL).into();
        }
        if to.flags.contains(OFlags::APPEND) {
            return Answer::Pass;
        }
        self.copy(caller, (caller.int(1), args[2]), &to, 0, args[3])
    }

    /// From a file to a file. Offsets by where their numbers are.
    fn copy(
        &self,
        caller: &Caller,
        (from, from_offset): (i32, u64),
        to: &Open,
        to_offset: u64,
        len: u64,
    ) -> Answer {
        let Ok(from) = caller.take(from) else {
            return Answer::Pass;
        };
        if !is_regular(&from) {
            // Neither call is for this, and programs then read and write.
            return Reply::Errno(libc::EINVAL).into();
        }
        let offsets = Offset::read(caller, from_offset, &from)
            .and_then(|from_at| Ok((from_at, Offset::read(caller, to_offset, &to.file)?)));
        let (from_at, to_at) = match offsets {
            Ok(offsets) => offsets,
            Err(error) => return error_reply(&error).into(),
        };
        let Some(limit) = limit_of(caller).filter(|limit| to_at.at < *limit) else {
            return Answer::Pass;
        };
        let len = len.min(MOST).min(limit - to_at.at);
        let mut bytes = vec![0; len as usize];
        let source = std::fs::File::from(from);
        let read = match source.read_at(&mut bytes, from_at.at) {
            Ok(read) => read,
            Err(error) => return error_reply(&error).into(),
        };
        let from = OwnedFd::from(source);
        let done = self.put(caller, to, to_at.at, &bytes[..read]);
        let moved = done.and_then(|done| {
            from_at.advance(caller, &from, done)?;
            to_at.advance(caller, &to.file, done)?;
            Ok(done)
        });
        moved.map_or_else(
            |error| error_reply(&error).into(),
            |done| Reply::Value(done.cast_signed()).into(),
        )
    }

    pub(super) fn splice(&self, caller: &Caller) -> Answer {
        let args = caller.call().args;
        let Some(to) = self.open_for_writing(caller, caller.int(2)) else {
            return Answer::Pass;
        };
        if is_synchronous(&to) {
            return Reply::Errno(libc::EINVAL).into();
        }
        if args[1] != 0 || args[4] == 0 || to.flags.contains(OFlags::APPEND) {
            return Answer::Pass;
        }
        let Ok(pipe) = caller.take(caller.int(0)) else {
            return Answer::Pass;
        };
        let waits =
            rustix::fs::fcntl_getfl(&pipe).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK));
        let waits = waits && args[5] & SPLICE_NONBLOCK == 0;
        let Some(disk) = self.me.upgrade() else {
            return Answer::Pass;
        };
        let caller = caller.clone();
        Answer::later(move || {
            let done = disk.splice_now(&caller, &pipe, waits, &to, args[3], args[4]);
            done.map_or_else(
                |error| error_reply(&error),
                |done| Reply::Value(done.cast_signed()),
            )
        })
    }

    fn splice_now(
        &self,
        caller: &Caller,
        pipe: &OwnedFd,
        waits: bool,
        to: &Open,
        to_offset: u64,
        len: u64,
    ) -> io::Result<u64> {
        let look = Timespec {
            tv_sec: 0,
            tv_nsec: if waits { LOOK_NS } else { 0 },
        };
        loop {
            let mut ready = [PollFd::new(pipe, PollFlags::IN)];
            if poll(&mut ready, Some(&look))? > 0 {
                break;
            }
            if !waits {
                return Err(io::Error::from_raw_os_error(libc::EAGAIN));
            }
            if caller.is_gone() {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        let to_at = Offset::read(caller, to_offset, &to.file)?;
        // What is read from the pipe is gone from it, so room comes first.
        let limit = limit_of(caller).unwrap_or(0);
        if to_at.at >= limit {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let room = self
            .fitting(to, to_at.at, len.min(PIPE).min(limit - to_at.at))
            .map_err(io::Error::from_raw_os_error)?;
        let mut bytes = vec![0; room as usize];
        let read = rustix::io::read(pipe, &mut bytes)?;
        let done = self.put_fitting(caller, to, to_at.at, &bytes[..read])?;
        to_at.advance(caller, &to.file, done)?;
        Ok(done)
    }

    fn put(&self, caller: &Caller, to: &Open, at: u64, bytes: &[u8]) -> io::Result<u64> {
        let room = self
            .fitting(to, at, bytes.len() as u64)
            .map_err(io::Error::from_raw_os_error)?;
        self.put_fitting(caller, to, at, &bytes[..room as usize])
    }

    /// Writes what there is room for.
    fn put_fitting(&self, caller: &Caller, to: &Open, at: u64, bytes: &[u8]) -> io::Result<u64> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let len = bytes.len() as u64;
        let mut log = self.log();
        if !caller.waits() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        let before = log.before_write(&to.file, at, len);
        let step = before.inspect_err(|error| {
            self.limit(format!("what a copy destroyed could not be kept ({error})"));
        })?;
        let written = log
            .own_file(step)
            .expect("a step on a file")
            .write_all_at(bytes, at);
        log.wrote(step, len, if written.is_ok() { len } else { 0 });
        written.map(|()| len)
    }
}

/// Whether each write to it is durable at once: such a program is made to write, where that is seen to.
fn is_synchronous(file: &Open) -> bool {
    file.flags.intersects(OFlags::DSYNC)
}
