//! The undo log: what a folder would lose if the power failed now.
//!
//! Before a call changes the watched folder, its *before* step keeps what the change destroys. A sync that succeeds
//! forgets what it made durable. At a power loss, with every process dead, what is left is undone, newest first, and the
//! folder is what the disk would hold.
//!
//! Rules, each as ext4, XFS and Btrfs have it where POSIX says nothing:
//! - `fsync` of a file makes its bytes and its size durable, and its name where the file is new;
//! - `fsync` of a folder makes the names in it durable, and its own where it is new;
//! - a rename is one change: it is durable when either of its folders was synced;
//! - a name is durable only with everything older that it stands on: older changes of the same name, the making of its
//!   folder, where a folder was removed, what was removed in it, and where one was moved, older moves of folders;
//! - modes, owners, times and extended attributes are not undone.
//!
//! Steps of one log never overlap: whoever holds it (the supervisor, under a lock) carries the call out between its before
//! step and its after step, or lets the kernel do it and accepts what `watch` says about calls in flight.

mod file;
mod names;
mod power;
mod store;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use file::FileLog;
pub use file::{PAGE, SECTOR};
use names::{Names, Reach};
pub use power::PowerLoss;

/// So many files without a change stay open, to be at hand when they change again.
const CLEAN_FILES_KEPT: usize = 64;

/// So many old bytes are kept in memory at most (bytes): a bench has several nodes.
const KEPT_AT_MOST: u64 = 1 << 28;

/// A file or folder, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The device of its file system.
    pub device: u64,
    /// Its inode number there.
    pub inode: u64,
}

impl Key {
    /// The key of what was looked at.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// A change whose before step was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    seq: u64,
    file: Option<Key>,
}

/// What a sync is asked to make durable.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// `fsync`, `fdatasync` of this file or folder.
    Of(BorrowedFd<'a>),
    /// `sync`, `syncfs`.
    Everything,
    /// A write through an `O_SYNC` or `O_DSYNC` descriptor, or with `RWF_SYNC` or `RWF_DSYNC`.
    Write(Step),
}

/// A sync that is under way: what was recorded before it began.
#[derive(Debug)]
#[must_use = "a sync that began has to end"]
pub struct Sync {
    era: u64,
    upto: u64,
    write: Option<Step>,
    names: Option<Reach>,
    /// The files that it reaches, with their sizes when it began (bytes).
    files: Vec<(Key, u64)>,
}

/// How a sync ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// All that was recorded before it began is durable.
    Durable,
    /// It failed. What it was to write is never written by another sync, only by a newer write of the same page: the
    /// kernel marks the pages clean (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
    Failed,
    /// It said that it succeeded, and did nothing.
    Lied,
}

/// What a power loss undid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files that were not synced.
    pub files: usize,
    /// Bytes written to them since (each as often as it was written).
    pub bytes: u64,
    /// Names made, moved or removed and not synced.
    pub names: usize,
}

/// The undo log of one folder.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    store: PathBuf,
    files: BTreeMap<Key, FileLog>,
    names: Names,
    seq: u64,
    /// Bytes of memory taken since they were counted last, and what there were then.
    kept: u64,
    /// Syncs that began and have not ended.
    syncing: usize,
    /// Power losses so far: a sync of an earlier era ends without an effect.
    era: u64,
}

impl Log {
    /// A log of `folder`, which is taken as synced. `store` is a folder of the log's own outside of it, on the same file
    /// system; it is made, and emptied.
    ///
    /// # Errors
    /// Where one of them cannot be opened, or they are on different file systems.
    pub fn open(folder: &Path, store: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let fd = store::open(store)?;
        let store = store.canonicalize()?;
        if store.starts_with(&folder) {
            return Err(io::Error::other(
                "the store of an undo log must lie outside of the watched folder",
            ));
        }
        if rustix::fs::fstat(&fd)?.st_dev != rustix::fs::stat(&folder)?.st_dev {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        Ok(Self {
            folder,
            store,
            files: BTreeMap::new(),
            names: Names::new(fd),
            seq: 0,
            kept: 0,
            syncing: 0,
            era: 0,
        })
    }

    /// Whether this file is being logged: then it is one of the folder's, whatever it is called now.
    #[must_use]
    pub fn knows(&self, key: Key) -> bool {
        self.files.contains_key(&key)
    }

    /// The watched folder, as an absolute path without symbolic links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Before `len` bytes are written at `at` of `fd`'s file.
    ///
    /// # Errors
    /// Here and below: where what the call destroys could not be kept. A power loss is then no longer exact.
    pub fn before_write(&mut self, fd: impl AsFd, at: u64, len: u64) -> io::Result<Step> {
        let join = self.syncing == 0;
        self.of_file(fd.as_fd(), |file, seq| {
            file.before_write(seq, at, len, join)
        })
    }

    /// Before `len` bytes are written that are durable when the call returns: [`What::Write`] then takes the step.
    pub fn before_synced_write(&mut self, fd: impl AsFd, at: u64, len: u64) -> io::Result<Step> {
        self.of_file(fd.as_fd(), |file, seq| {
            file.before_write(seq, at, len, false)
        })
    }

    /// Before the size of `fd`'s file becomes `size`.
    pub fn before_resize(&mut self, fd: impl AsFd, size: u64) -> io::Result<Step> {
        self.of_file(fd.as_fd(), |file, seq| file.before_resize(seq, size))
    }

    /// Before `[at, at + len)` of `fd`'s file becomes zeros (a punched hole, a zeroed range).
    pub fn before_erase(&mut self, fd: impl AsFd, at: u64, len: u64) -> io::Result<Step> {
        self.of_file(fd.as_fd(), |file, seq| file.before_erase(seq, at, len))
    }

    /// After a write that was asked for `asked` bytes and wrote `done`, 0 where it failed.
    pub fn wrote(&mut self, step: Step, asked: u64, done: u64) {
        if let Some(file) = step.file.and_then(|key| self.files.get_mut(&key)) {
            file.wrote(step.seq, asked, done);
        }
    }

    /// After a call of another kind that failed, so that nothing changed.
    pub fn failed(&mut self, step: Step) {
        match step.file.and_then(|key| self.files.get_mut(&key)) {
            Some(file) => file.failed(step.seq),
            None => self.names.failed(step.seq),
        }
    }

    /// Before a call makes `name` in `folder`, where it does not stand for anything yet.
    pub fn before_create(&mut self, folder: impl AsFd, name: &OsStr) -> io::Result<Step> {
        self.of_names(|names, seq| names.before_create(seq, folder.as_fd(), name))
    }

    /// After the call made `key`. Not needed: where it is not said, the log looks.
    pub fn created(&mut self, step: Step, key: Key) {
        self.names.created(step.seq, key);
    }

    /// Before a call makes `name` in `folder` one more name of a file.
    pub fn before_link(&mut self, folder: impl AsFd, name: &OsStr) -> io::Result<Step> {
        self.of_names(|names, seq| names.before_link(seq, folder.as_fd(), name))
    }

    /// Before `name` is removed from `folder`, whether it is a folder or a file.
    pub fn before_remove(&mut self, folder: impl AsFd, name: &OsStr) -> io::Result<Step> {
        self.of_names(|names, seq| names.before_remove(seq, folder.as_fd(), name))
    }

    /// Before one name becomes another; with `exchange`, each the other.
    pub fn before_rename(
        &mut self,
        from: (BorrowedFd, &OsStr),
        to: (BorrowedFd, &OsStr),
        exchange: bool,
    ) -> io::Result<Step> {
        self.of_names(|names, seq| names.before_rename(seq, from, to, exchange))
    }

    fn of_names(
        &mut self,
        before: impl FnOnce(&mut Names, u64) -> io::Result<()>,
    ) -> io::Result<Step> {
        self.seq += 1;
        before(&mut self.names, self.seq)?;
        Ok(Step {
            seq: self.seq,
            file: None,
        })
    }

    fn of_file(
        &mut self,
        fd: BorrowedFd,
        before: impl FnOnce(&mut FileLog, u64) -> io::Result<()>,
    ) -> io::Result<Step> {
        let key = self.file(fd)?;
        self.seq += 1;
        let file = self.files.get_mut(&key).expect("it was put there");
        before(file, self.seq)?;
        self.kept += file.kept_by_last();
        if self.kept > KEPT_AT_MOST {
            self.kept = self.kept_bytes();
        }
        if self.kept > KEPT_AT_MOST {
            return Err(io::Error::other(
                "more than 256 MiB was overwritten and not synced",
            ));
        }
        Ok(Step {
            seq: self.seq,
            file: Some(key),
        })
    }

    /// The log of `fd`'s file, opened once more for ourselves: the program's own descriptor may be write-only, and a
    /// positioned write through one with `O_APPEND` would append.
    fn file(&mut self, fd: BorrowedFd) -> io::Result<Key> {
        let key = Key::of(&rustix::fs::fstat(fd)?);
        if !self.files.contains_key(&key) {
            if self.files.len() >= CLEAN_FILES_KEPT {
                self.files.retain(|_, file| !file.is_clean());
            }
            self.files.insert(key, FileLog::new(open_again(fd)?));
        }
        Ok(key)
    }

    /// The size of `fd`'s file (bytes).
    ///
    /// # Errors
    /// Where the file cannot be looked at.
    pub fn size(&self, fd: impl AsFd) -> io::Result<u64> {
        Ok(rustix::fs::fstat(fd)?.st_size.unsigned_abs())
    }

    /// A descriptor of our own of the file that `step` changed, open for reading and writing, without `O_APPEND`.
    #[must_use]
    pub fn own_file(&self, step: Step) -> Option<&File> {
        Some(self.files.get(&step.file?)?.file())
    }

    /// A sync begins.
    ///
    /// # Errors
    /// Where the file cannot be looked at.
    pub fn begin_sync(&mut self, what: What) -> io::Result<Sync> {
        let (names, keys) = match what {
            What::Of(fd) => {
                let stat = rustix::fs::fstat(fd)?;
                let key = Key::of(&stat);
                let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                (
                    Some(if folder {
                        Reach::Folder(key)
                    } else {
                        Reach::File(key)
                    }),
                    vec![key],
                )
            }
            What::Everything => (Some(Reach::All), self.files.keys().copied().collect()),
            What::Write(_) => (None, Vec::new()),
        };
        let write = if let What::Write(step) = what {
            Some(step)
        } else {
            None
        };
        let mut files = Vec::new();
        for key in keys {
            if let Some(file) = self.files.get(&key) {
                files.push((key, file.size()?));
            }
        }
        self.syncing += 1;
        Ok(Sync {
            era: self.era,
            upto: self.seq,
            write,
            names,
            files,
        })
    }

    /// A sync ends.
    pub fn end_sync(&mut self, sync: Sync, how: Synced) {
        if sync.era != self.era {
            return;
        }
        self.syncing -= 1;
        if how == Synced::Lied {
            return;
        }
        if let Some(step) = sync.write
            && let Some(file) = step.file.and_then(|key| self.files.get_mut(&key))
        {
            match how {
                Synced::Durable => file.write_synced(step.seq),
                _ => file.write_failed(step.seq),
            }
        }
        for (key, size) in sync.files {
            match self.files.get_mut(&key) {
                Some(file) if how == Synced::Durable => file.synced(sync.upto, size),
                Some(file) => file.sync_failed(sync.upto),
                None => {}
            }
        }
        match sync.names {
            Some(reach) if how == Synced::Durable => {
                let gone = self.names.synced(reach, sync.upto);
                gone.into_iter().for_each(|key| self.forget_nameless(key));
            }
            Some(reach) => self.names.sync_failed(reach, sync.upto),
            None => {}
        }
    }

    /// A file that has lost its last name for good cannot come back: nothing of it needs to be kept.
    fn forget_nameless(&mut self, key: Key) {
        let nameless =
            |file: &FileLog| rustix::fs::fstat(file.file()).is_ok_and(|stat| stat.st_nlink == 0);
        if self.files.get(&key).is_some_and(nameless) {
            self.files.remove(&key);
        }
    }

    /// Syncs that began and have not ended.
    #[must_use]
    pub fn syncs_under_way(&self) -> usize {
        self.syncing
    }

    /// Bytes written and not synced (each as often as it was written).
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        self.files.values().map(FileLog::unsynced).sum()
    }

    /// Names made, moved or removed and not synced.
    #[must_use]
    pub fn unsynced_names(&self) -> usize {
        self.names.len()
    }

    /// Memory that the old contents take (bytes).
    fn kept_bytes(&self) -> u64 {
        self.files.values().map(FileLog::kept).sum()
    }

    /// Flips `mask`'s bits of a byte that the disk holds, at `at` of the file at `path`.
    ///
    /// # Errors
    /// Where there is no such file, or the disk has no such byte.
    pub fn flip(&mut self, path: &Path, at: u64, mask: u8) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(path)?;
        let key = self.file(file.as_fd())?;
        self.files
            .get_mut(&key)
            .expect("it was put there")
            .flip(at, mask)
    }

    /// The power fails. Every process that had the folder open must be dead. Afterwards nothing is unsynced.
    ///
    /// # Errors
    /// Where something could not be set back: the folder is then not what a disk would hold.
    pub fn power_loss(&mut self, how: PowerLoss) -> io::Result<Lost> {
        let dirty: Vec<&FileLog> = self
            .files
            .values()
            .filter(|file| !file.is_clean())
            .collect();
        let lost = Lost {
            files: dirty.len(),
            bytes: self.unsynced_bytes(),
            names: self.names.len(),
        };
        self.era += 1;
        self.syncing = 0;
        let mut draw = power::Draw::new(how);
        let stay = draw.names(self.names.len());
        // In the order of their first changes: inode numbers differ from run to run, and a seed must not.
        let mut files: Vec<FileLog> = std::mem::take(&mut self.files).into_values().collect();
        files.sort_by_key(FileLog::oldest);
        for file in files.iter_mut().filter(|file| !file.is_clean()) {
            let choice = draw.file(file);
            file.undo(&choice)?;
        }
        self.names.undo(stay)?;
        Ok(lost)
    }
}

impl Drop for Log {
    /// The store is the log's own.
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.store).ok();
    }
}

/// Opens `fd`'s file for reading and writing, also where its owner is not allowed to.
fn open_again(fd: BorrowedFd) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path.as_str(), flags, Mode::empty());
    let mode = Mode::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    let opened = open().or_else(|error| {
        if error != rustix::io::Errno::ACCESS {
            return Err(error);
        }
        rustix::fs::chmod(path.as_str(), mode | Mode::RUSR | Mode::WUSR)?;
        let opened = open();
        rustix::fs::chmod(path.as_str(), mode)?;
        opened
    });
    Ok(opened?.into())
}
