//! A disk that can lose power, be slow, full, failing or lying, under any unmodified program.
//!
//! ```text
//!  a call of the program ─▶ watch ─┬─ data    writes, truncates, fallocate     ─╮
//!                                  ├─ copies  copy_file_range, sendfile, splice ├─▶ undo log, then carried out here
//!                                  ├─ names   open, rename, unlink, mkdir, ...  ─╯
//!                                  ├─ sync    fsync, fdatasync, sync, syncfs: harms, then the log forgets
//!                                  ╰─ maps    what no log can undo is noticed and said
//! ```
//!
//! In reading order: [`undo`], which knows no program; [`harm`], the data; this page, what a bench does to a disk; then
//! `watch` and what it hands its calls to.
//!
//! # Two calls at once
//! The log is right only if what it records is what was there when the call was carried out. A supervisor that looks and
//! then lets the kernel go on ([`Reply::Continue`](crate::call::Reply::Continue)) cannot know when the kernel does: in
//! between, another thread's sync may drop the record, and a third write be recorded over bytes that are about to go. An
//! `open` with `O_TRUNC` in flight shows it: its record is dropped by a sync, ten bytes are written and recorded as grown
//! from size 100, then the truncation lands; undoing the write would make a file of 100 bytes that were never on any disk.
//!
//! So what can destroy anything is carried out here, between its before step and its after step, under the log's lock:
//! writes, truncates, copies, renames, removals and every `open` that truncates or makes a file (the descriptor is put into
//! the program). The order of records is then the order of effects, and a sync that begins finds all older effects done.
//! A removal or a truncation that finds nothing is answered here too: let on, it could land when something is there.
//! Let on after a before step are only calls that make a name where there is none (`mkdir`, `symlink`, `link`, `mknod`):
//! - such a call fails where the name has come to be meanwhile, so it destroys nothing, whenever it lands;
//! - its record says what the name was before (nothing), so undoing it is right whether or not the call took place;
//! - if a sync drops the record before the call lands, the name survives a power loss although it was not synced: the
//!   program could not know which of its two concurrent calls came first, and a disk may have written either.
//!
//! Where the program has become another user than the bench, the kernel has to check its permissions, so names and opens
//! are let on as well, after their before step, with the same argument but for the truncation in flight.

mod copies;
mod data;
pub mod harm;
mod maps;
mod names;
mod paths;
mod reads;
mod sync;
pub mod undo;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use glob::Pattern;
use thiserror::Error;

use harm::{Full, Harms, Limit, Met, State, SyncHarm};
use undo::{Log, Lost, PowerLoss};

/// So many files outside of the folder are named, the others only counted together.
const OUTSIDE_NAMED: usize = 64;

/// What a sync really does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// Nothing but to take this long: the log alone decides what survives. Faster, and the same on every machine.
    Virtual(Duration),
    /// What the machine's own disk does.
    Real,
}

impl Default for Syncs {
    /// A millisecond, as a good disk.
    fn default() -> Self {
        Self::Virtual(Duration::from_millis(1))
    }
}

/// What a disk is made of.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The folder that is watched: all that the program keeps is in it.
    pub folder: PathBuf,
    /// A folder of the disk's own, outside of it and on the same file system. Made, emptied, and removed at the end.
    pub store: PathBuf,
    /// Files that the program makes anew after a crash, by name, with `*` for anything: not undone, removed at a power
    /// loss.
    pub volatile: Vec<String>,
    /// What a sync does.
    pub syncs: Syncs,
    /// Whether reads may come to fail, or to give wrong bits. They are watched only then, because it costs a notification
    /// each.
    pub reads: bool,
}

/// Why the power cannot be lost.
#[derive(Debug, Error)]
pub enum PowerError {
    /// Something was done that cannot be undone.
    #[error("this node offers no power loss: {}", .0.join("; "))]
    NotOffered(Vec<String>),
    /// Undoing failed: the folder is not what a disk would hold, and the node must not be started on it.
    #[error("the folder could not be set back to what was synced: {0}")]
    NotUndone(#[from] io::Error),
}

/// The disk of one node. Hears its calls as a [`Watcher`](crate::watcher::Watcher).
pub struct Disk {
    /// For what goes on after the call was heard.
    me: Weak<Self>,
    folder: PathBuf,
    volatile: Vec<Pattern>,
    syncs: Syncs,
    reads: bool,
    /// Held while a call is carried out: the order of records is the order of effects.
    log: Mutex<Log>,
    /// Never taken before `log` by who needs both.
    now: Mutex<Now>,
    /// A sync that waits looks up when this is called.
    changed: Condvar,
    maps: maps::Maps,
}

/// What changes while a node runs.
#[derive(Default)]
struct Now {
    harms: Harms,
    /// How often held syncs were let go.
    let_go: u64,
    writes: u64,
    syncs: u64,
    met: Met,
    outside: BTreeMap<PathBuf, u64>,
    limits: Vec<String>,
}

impl Disk {
    /// A disk under `settings.folder`, whose content is taken as synced.
    ///
    /// # Errors
    /// Where the folder or the store cannot be had, or are on different file systems; where a name is no pattern.
    pub fn new(settings: Settings) -> io::Result<Arc<Self>> {
        let log = Log::open(&settings.folder, &settings.store)?;
        let pattern = |text: &String| Pattern::new(text).map_err(io::Error::other);
        let volatile = settings
            .volatile
            .iter()
            .map(pattern)
            .collect::<Result<_, _>>()?;
        Ok(Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            folder: log.folder().to_owned(),
            volatile,
            syncs: settings.syncs,
            reads: settings.reads,
            log: Mutex::new(log),
            now: Mutex::default(),
            changed: Condvar::new(),
            maps: maps::Maps::default(),
        }))
    }

    /// Makes this wrong with the disk, and nothing else. Syncs that are held when holding ends are let go.
    pub fn harm(&self, harms: Harms) {
        let mut now = self.now();
        if harms.sync != SyncHarm::Held {
            now.let_go += 1;
        }
        now.harms = harms;
        self.changed.notify_all();
    }

    /// Makes true what lying syncs have said: all that is written now is synced.
    ///
    /// # Errors
    /// Where a file cannot be looked at.
    pub fn write_out(&self) -> io::Result<()> {
        let mut log = self.log();
        let sync = log.begin_sync(undo::What::Everything)?;
        log.end_sync(sync, undo::Synced::Durable);
        Ok(())
    }

    /// Lets go the syncs that are held now. Those that come are held again.
    pub fn let_go(&self) {
        self.now().let_go += 1;
        self.changed.notify_all();
    }

    /// What is wrong with it now.
    #[must_use]
    pub fn harms(&self) -> Harms {
        self.now().harms
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        let (unsynced_bytes, unsynced_names, syncs_under_way) = {
            let log = self.log();
            (
                log.unsynced_bytes(),
                log.unsynced_names(),
                log.syncs_under_way(),
            )
        };
        let now = self.now();
        State {
            unsynced_bytes,
            unsynced_names,
            syncs: now.syncs,
            syncs_under_way,
            met: now.met,
            outside: now.outside.clone(),
            limits: now.limits.clone(),
        }
    }

    /// The power fails. Every process of the node must be gone: killed and reaped.
    ///
    /// # Errors
    /// [`PowerError`]; only after `NotUndone` is the folder other than before.
    pub fn power_loss(&self, how: PowerLoss) -> Result<Lost, PowerError> {
        let limits = self.now().limits.clone();
        if !limits.is_empty() {
            return Err(PowerError::NotOffered(limits));
        }
        let mut log = self.log();
        let lost = log.power_loss(how)?;
        self.remove_volatile(&self.folder)?;
        Ok(lost)
    }

    /// Flips bits at rest: those of `mask`, of the byte at `at` that the disk holds of the file at `path` (relative to the
    /// folder). The node may be up or down.
    ///
    /// # Errors
    /// Where there is no such file, or the disk has no such byte (it was not synced).
    pub fn flip(&self, path: &Path, at: u64, mask: u8) -> io::Result<()> {
        self.log().flip(&self.folder.join(path), at, mask)
    }

    /// Whether a path in the folder is of a file that is not undone.
    fn is_volatile(&self, path: &Path) -> bool {
        if self.volatile.is_empty() {
            return false;
        }
        // What the kernel says of a file without a name (proc_pid_fd(5)).
        let bytes = path.as_os_str().as_bytes();
        let path = Path::new(OsStr::from_bytes(
            bytes.strip_suffix(b" (deleted)").unwrap_or(bytes),
        ));
        let inside = path.strip_prefix(&self.folder).unwrap_or(path);
        let name = path.file_name().map(Path::new);
        self.volatile.iter().any(|pattern| {
            pattern.matches_path(inside) || name.is_some_and(|name| pattern.matches_path(name))
        })
    }

    fn remove_volatile(&self, folder: &Path) -> io::Result<()> {
        if self.volatile.is_empty() {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.remove_volatile(&path)?;
            } else if self.is_volatile(&path) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why a power loss is not offered from now on.
    fn limit(&self, why: String) {
        let mut now = self.now();
        if !now.limits.contains(&why) {
            now.limits.push(why);
        }
    }

    /// How many of `wanted` bytes a file may grow by, and what is said where that is less.
    fn room(&self, wanted: u64) -> Result<u64, i32> {
        let mut now = self.now();
        let Some(Full { left, limit }) = &mut now.harms.full else {
            return Ok(wanted);
        };
        let (granted, limit) = (wanted.min(*left), *limit);
        *left -= granted;
        if granted == wanted {
            return Ok(granted);
        }
        now.met.full += 1;
        match limit {
            _ if granted > 0 => Ok(granted),
            Limit::Space => Err(libc::ENOSPC),
            Limit::Quota => Err(libc::EDQUOT),
        }
    }
}
