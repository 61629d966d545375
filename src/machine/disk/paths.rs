//! Which folder and which name a program means by a path.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::Disk;
use crate::call::Reply;
use crate::caller::Caller;
use crate::watcher::Answer;

/// So many symbolic links are followed one after the other (path_resolution(7) allows 40).
const MOST_LINKS: usize = 40;

/// A name in a folder, whether something is there or not.
pub(super) struct Spot {
    /// The folder, opened for its path.
    pub(super) folder: OwnedFd,
    /// The last part of the path, without slashes.
    pub(super) name: OsString,
    /// Whether slashes came after it: then it has to be a folder.
    pub(super) slash: bool,
    /// The whole path, as the bench sees it.
    pub(super) path: PathBuf,
}

impl Spot {
    /// The name as the kernel has to see it.
    pub(super) fn full_name(&self) -> OsString {
        let mut name = self.name.clone();
        if self.slash {
            name.push("/");
        }
        name
    }

    /// Whether anything is there, a dangling link too.
    pub(super) fn is_free(&self) -> bool {
        rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW).is_err()
    }
}

/// What an `open` would find.
pub(super) enum Found {
    /// Something, opened for its path, and what it is called.
    There(OwnedFd, PathBuf),
    /// Nothing; it would be made here.
    Nothing(Spot),
}

impl Disk {
    /// Whether this is a place that the log looks after.
    pub(super) fn keeps(&self, path: &Path) -> bool {
        path.starts_with(&self.folder) && path != self.folder && !self.is_volatile(path)
    }

    /// Where the path at `at` of the caller's memory leads, relative to its descriptor `folder`. `None` for what has no
    /// last part (`/`, `..`), which no call that changes names accepts.
    ///
    /// # Errors
    /// Where the program would meet an error too.
    pub(super) fn spot(&self, caller: &Caller, folder: i32, at: u64) -> io::Result<Option<Spot>> {
        let path = its_own(caller, caller.string(at)?.to_bytes());
        spot(&base(caller, folder), &caller.proc("root"), &path)
    }

    /// What opening that path would find.
    ///
    /// # Errors
    /// Where the program would meet an error too.
    pub(super) fn find(
        &self,
        caller: &Caller,
        folder: i32,
        at: u64,
        flags: i32,
    ) -> io::Result<Option<Found>> {
        let follow = flags & libc::O_NOFOLLOW == 0
            && flags & (libc::O_CREAT | libc::O_EXCL) != libc::O_CREAT | libc::O_EXCL;
        let path = its_own(caller, caller.string(at)?.to_bytes());
        let root = caller.proc("root");
        let Some(mut spot_now) = spot(&base(caller, folder), &root, &path)? else {
            return Ok(None);
        };
        for _ in 0..MOST_LINKS {
            let no_follow = if follow {
                OFlags::empty()
            } else {
                OFlags::NOFOLLOW
            };
            let open = OFlags::PATH | OFlags::CLOEXEC | no_follow;
            match rustix::fs::openat(&spot_now.folder, spot_now.full_name(), open, Mode::empty()) {
                Ok(fd) => {
                    let path = path_of(&fd)?;
                    return Ok(Some(Found::There(fd, path)));
                }
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            // Nothing there, or a link that leads to nothing: the file would be made where it leads.
            let Ok(link) = rustix::fs::readlinkat(&spot_now.folder, &spot_now.name, Vec::new())
            else {
                return Ok(Some(Found::Nothing(spot_now)));
            };
            let from = PathBuf::from(format!("/proc/self/fd/{}", spot_now.folder.as_raw_fd()));
            match spot(&from, &root, link.to_bytes())? {
                Some(next) => spot_now = next,
                None => return Ok(None),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }
}

/// A path that means the process which looks: for the bench it would be the bench.
fn its_own(caller: &Caller, path: &[u8]) -> Vec<u8> {
    let of = |rest: &[u8]| {
        let mut own = caller.proc("").into_os_string().into_vec();
        own.extend_from_slice(rest);
        own
    };
    let fds = |rest: &[u8]| of(&[b"fd/", rest].concat());
    let after = |prefix: &[u8]| path.strip_prefix(prefix);
    match path {
        b"/dev/stdin" => fds(b"0"),
        b"/dev/stdout" => fds(b"1"),
        b"/dev/stderr" => fds(b"2"),
        _ => after(b"/proc/self/")
            .or_else(|| after(b"/proc/thread-self/"))
            .map(of)
            .or_else(|| after(b"/dev/fd/").map(fds))
            .unwrap_or_else(|| path.to_vec()),
    }
}

/// Where the caller's relative paths begin.
fn base(caller: &Caller, folder: i32) -> PathBuf {
    match folder {
        libc::AT_FDCWD => caller.proc("cwd"),
        fd => caller.proc(&format!("fd/{fd}")),
    }
}

fn spot(base: &Path, root: &Path, path: &[u8]) -> io::Result<Option<Spot>> {
    let end = path
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(0, |last| last + 1);
    let begin = path[..end]
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (before, name) = (&path[..begin], OsStr::from_bytes(&path[begin..end]));
    if name.is_empty() || name == "." || name == ".." {
        return Ok(None);
    }
    let mut folder = if path[0] == b'/' { root } else { base }
        .as_os_str()
        .as_bytes()
        .to_vec();
    folder.push(b'/');
    folder.extend_from_slice(before);
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(OsString::from_vec(folder), open, Mode::empty())?;
    let path_of_it = path_of(&folder)?.join(name);
    Ok(Some(Spot {
        folder,
        name: name.to_owned(),
        slash: end < path.len(),
        path: path_of_it,
    }))
}

/// The answer where a path leads nowhere. That is said here: let on, the call might find something that another thread has
/// made meanwhile, and destroy it unseen.
///
/// In a root of its own a program's links lead elsewhere than the bench's, so there the kernel has to say it.
pub(super) fn unresolved(caller: &Caller, error: &io::Error) -> Answer {
    let same_root =
        std::fs::read_link(caller.proc("root")).is_ok_and(|root| root == Path::new("/"));
    match error.raw_os_error() {
        Some(errno @ (libc::ENOENT | libc::ENOTDIR)) if same_root => Reply::Errno(errno).into(),
        _ => Answer::Pass,
    }
}

/// What the kernel calls an open file now.
pub(super) fn path_of(fd: impl AsFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Whether it is a plain file.
pub(super) fn is_regular(fd: impl AsFd) -> bool {
    let kind = |stat: rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode);
    rustix::fs::fstat(fd).is_ok_and(|stat| kind(stat) == rustix::fs::FileType::RegularFile)
}
