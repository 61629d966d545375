//! A private folder beside the watched one, on the same file system: what was unlinked or renamed over waits here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::Key;

/// Makes and empties the store.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    std::fs::create_dir_all(path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let store = rustix::fs::open(path, flags, Mode::empty())?;
    empty(&store)?;
    Ok(store)
}

/// The hard link that change `seq` keeps.
pub(super) fn kept(seq: u64) -> String {
    format!("kept-{seq}")
}

/// Where a file or a folder waits while names are set back.
pub(super) fn aside(key: Key) -> String {
    format!("aside-{}-{}", key.device, key.inode)
}

/// Removes everything in a folder.
pub(super) fn empty(folder: &OwnedFd) -> io::Result<()> {
    let entries: Vec<_> = Dir::read_from(folder)?.collect::<Result<_, _>>()?;
    for entry in entries
        .iter()
        .filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
    {
        let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            empty(&rustix::fs::openat(
                folder.as_fd(),
                entry.file_name(),
                flags,
                Mode::empty(),
            )?)?;
            rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::REMOVEDIR)?;
        } else {
            rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}
