//! Calls that make, move and remove names, and opens that truncate or make a file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use super::Disk;
use super::data::{error_reply, may_write, open_again};
use super::paths::{Found, Spot, is_regular, unresolved};
use super::undo::Key;
use crate::call::Reply;
use crate::caller::Caller;
use crate::watcher::Answer;

/// What `umask`, `open` and `mkdir` know of a mode.
const MODE: u32 = 0o7777;
/// `struct open_how`: flags, mode, resolve (openat2(2)).
const OPEN_HOW: usize = 24;

/// So often a name may come and go while it is opened.
const TRIES: usize = 16;

/// A path in the caller's memory, and what it is relative to.
pub(super) struct Name {
    /// A descriptor or `AT_FDCWD`.
    pub(super) folder: i32,
    /// The address of the path.
    pub(super) path: u64,
}

/// An open that a program asks for.
pub(super) struct Open {
    pub(super) name: Name,
    /// `O_*`.
    pub(super) flags: i32,
    pub(super) mode: u32,
}

impl Disk {
    pub(super) fn open_by_structure(&self, caller: &Caller) -> Answer {
        let args = caller.call().args;
        let Ok(how) = caller.bytes(args[2], OPEN_HOW) else {
            return Answer::Pass;
        };
        let number =
            |at: usize| u64::from_ne_bytes(how[at..at + 8].try_into().expect("eight bytes"));
        let name = Name {
            folder: caller.int(0),
            path: args[1],
        };
        self.open(
            caller,
            &Open {
                name,
                flags: number(0) as i32,
                mode: number(8) as u32,
            },
        )
    }

    pub(super) fn open(&self, caller: &Caller, open: &Open) -> Answer {
        let changes = open.flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
        let other = libc::O_TMPFILE & !libc::O_DIRECTORY | libc::O_PATH;
        if !changes || open.flags & other != 0 {
            return Answer::Pass;
        }
        for _ in 0..TRIES {
            let found = self.find(caller, open.name.folder, open.name.path, open.flags);
            return match found {
                Ok(Some(Found::There(fd, path))) => {
                    let truncates = open.flags & (libc::O_TRUNC | libc::O_EXCL) == libc::O_TRUNC;
                    match truncates && self.keeps(&path) && is_regular(&fd) {
                        true => self.open_truncating(caller, open, &fd),
                        false => Answer::Pass,
                    }
                }
                Ok(Some(Found::Nothing(spot))) if self.keeps(&spot.path) => {
                    if open.flags & libc::O_CREAT == 0 {
                        return Reply::Errno(libc::ENOENT).into();
                    }
                    match self.open_making(caller, open, &spot) {
                        Some(answer) => answer,
                        None => continue,
                    }
                }
                Ok(_) => Answer::Pass,
                Err(error) => unresolved(caller, &error),
            };
        }
        Reply::Errno(libc::EAGAIN).into()
    }

    fn open_truncating(&self, caller: &Caller, open: &Open, found: &OwnedFd) -> Answer {
        let mut log = self.log();
        if !caller.waits() {
            return Answer::Pass;
        }
        let without = libc::O_TRUNC | libc::O_CREAT | libc::O_NOFOLLOW;
        let opened =
            may_write(found).and_then(|()| open_again(found, flags(open.flags & !without)));
        let file = match opened {
            Ok(file) => file,
            Err(error) => return error_reply(&error).into(),
        };
        let Some(step) = self.noted(log.before_resize(found, 0)) else {
            return Answer::Pass;
        };
        if !is_same_user(caller) {
            return Answer::Pass;
        }
        if let Err(error) = log.own_file(step).expect("a step on a file").set_len(0) {
            log.failed(step);
            return error_reply(&error).into();
        }
        give(caller, &file, open.flags).into()
    }

    /// `None` where something is there by now.
    fn open_making(&self, caller: &Caller, open: &Open, spot: &Spot) -> Option<Answer> {
        let mut log = self.log();
        if !caller.waits() || spot.slash {
            return Some(Answer::Pass);
        }
        let before = log.before_create(&spot.folder, &spot.name);
        let Some(step) = self.noted(before).filter(|_| is_same_user(caller)) else {
            return Some(Answer::Pass);
        };
        let mode = open.mode & MODE & !umask(caller);
        let flags_here = flags(open.flags) | OFlags::EXCL | OFlags::CLOEXEC;
        let made = rustix::fs::openat(
            &spot.folder,
            &spot.name,
            flags_here,
            Mode::from_raw_mode(mode),
        );
        let made = made.and_then(|file| {
            let stat = rustix::fs::fstat(&file)?;
            // The bench's own umask is not the program's.
            if stat.st_mode & MODE != mode {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            }
            Ok((file, Key::of(&stat)))
        });
        match made {
            Ok((file, key)) => {
                log.created(step, key);
                let reply = give(caller, &file, open.flags);
                if !matches!(reply, Reply::Value(_)) {
                    // Nobody got it, so nothing was made.
                    let _ = rustix::fs::unlinkat(&spot.folder, &spot.name, AtFlags::empty());
                    log.failed(step);
                }
                Some(reply.into())
            }
            Err(error) => {
                log.failed(step);
                let again = error == rustix::io::Errno::EXIST && open.flags & libc::O_EXCL == 0;
                (!again).then(|| Reply::Errno(error.raw_os_error()).into())
            }
        }
    }

    /// `mkdir`, `mknod`, `symlink`: the kernel makes it.
    pub(super) fn make(&self, caller: &Caller, name: &Name) -> Answer {
        if let Ok(Some(spot)) = self.spot(caller, name.folder, name.path)
            && self.keeps(&spot.path)
        {
            let mut log = self.log();
            if spot.is_free() {
                self.noted(log.before_create(&spot.folder, &spot.name));
            }
        }
        Answer::Pass
    }

    /// `link`, by its new name: the kernel makes it.
    pub(super) fn link(&self, caller: &Caller, name: &Name) -> Answer {
        if let Ok(Some(spot)) = self.spot(caller, name.folder, name.path)
            && self.keeps(&spot.path)
        {
            let mut log = self.log();
            if spot.is_free() {
                self.noted(log.before_link(&spot.folder, &spot.name));
            }
        }
        Answer::Pass
    }

    pub(super) fn remove(&self, caller: &Caller, name: &Name, flags: i32) -> Answer {
        let spot = match self.spot(caller, name.folder, name.path) {
            Ok(Some(spot)) => spot,
            Ok(None) => return Answer::Pass,
            Err(error) => return unresolved(caller, &error),
        };
        if !self.keeps(&spot.path) {
            return Answer::Pass;
        }
        let mut log = self.log();
        if !caller.waits() {
            return Answer::Pass;
        }
        let before = log.before_remove(&spot.folder, &spot.name);
        let Some(step) = self.noted(before).filter(|_| is_same_user(caller)) else {
            return Answer::Pass;
        };
        let flags = AtFlags::from_bits_retain(flags.cast_unsigned());
        let done = rustix::fs::unlinkat(&spot.folder, spot.full_name(), flags);
        self.replied(&mut log, step, done.map_err(io::Error::from))
    }

    pub(super) fn rename(&self, caller: &Caller, from: &Name, to: &Name, flags: u32) -> Answer {
        let spots = (
            self.spot(caller, from.folder, from.path),
            self.spot(caller, to.folder, to.path),
        );
        let (from, to) = match spots {
            (Ok(Some(from)), Ok(Some(to))) => (from, to),
            (Err(error), _) | (_, Err(error)) => return unresolved(caller, &error),
            _ => return Answer::Pass,
        };
        if !self.keeps(&from.path) && !self.keeps(&to.path) {
            return Answer::Pass;
        }
        let flags = RenameFlags::from_bits_retain(flags);
        let mut log = self.log();
        if !caller.waits() {
            return Answer::Pass;
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let before = log.before_rename(
            (from.folder.as_fd(), &from.name),
            (to.folder.as_fd(), &to.name),
            exchange,
        );
        let Some(step) = self.noted(before).filter(|_| is_same_user(caller)) else {
            return Answer::Pass;
        };
        let done = rustix::fs::renameat_with(
            &from.folder,
            from.full_name(),
            &to.folder,
            to.full_name(),
            flags,
        );
        self.replied(&mut log, step, done.map_err(io::Error::from))
    }
}

/// Puts a file that was opened here into the program.
fn give(caller: &Caller, file: &OwnedFd, flags: i32) -> Reply {
    match caller.add(file, flags) {
        Ok(fd) => Reply::Value(fd.into()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Reply::Continue,
        Err(error) => error_reply(&error),
    }
}

fn flags(flags: i32) -> OFlags {
    OFlags::from_bits_retain(flags.cast_unsigned())
}

/// Whether the program has the bench's rights, so that what the bench may do it may too.
fn is_same_user(caller: &Caller) -> bool {
    let ours = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    std::fs::metadata(caller.proc("")).is_ok_and(|of| (of.uid(), of.gid()) == ours)
}

/// The program's mask of modes.
fn umask(caller: &Caller) -> u32 {
    let status = std::fs::read_to_string(caller.proc("status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o022)
}
