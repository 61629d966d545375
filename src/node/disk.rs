//! The files under log and state: redb's own file backend, and above it the node's distrust of what it reads there.
//!
//! ```text
//!   redb ─► seal ─► file ─► disk
//! ```
//!
//! [`seal`] remembers a checksum of every page that was written, and a page that comes back otherwise is an error, never
//! an answer. What the disk refuses because there is no more of something is noted: it is what ends the node.
//!
//! Snapshots are files of their own that are synced before they are named; they and the trace do not pass here.

mod seal;

use std::{
    fs::OpenOptions,
    io,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, Weak},
};

use redb::{BackendError, Database, StorageBackend, backends::FileBackend};

use super::shortages::Shortages;

/// Bytes of a page of redb.
const PAGE: u64 = 4096;

/// The files of one node; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Every file that is open: to be read by the scrub.
    files: Mutex<Vec<Weak<seal::Sealed>>>,
    /// What the disk does not give.
    shortages: Shortages,
}

impl Disk {
    /// Tells what the disk does not give.
    pub(crate) fn new(shortages: Shortages) -> Disk {
        Disk(Arc::new(Shared {
            shortages,
            ..Shared::default()
        }))
    }

    /// Reads on where the last call left off, about a mebibyte of every file, and compares it with what was written.
    ///
    /// # Errors
    /// When something cannot be read, or is not what was written: the node must not go on with it.
    pub(crate) fn scrub(&self) -> io::Result<()> {
        let files: Vec<Arc<seal::Sealed>> = {
            let mut files = self.0.files.lock().expect("no holder panics");
            files.retain(|file| file.strong_count() > 0);
            files.iter().filter_map(Weak::upgrade).collect()
        };
        files.iter().try_for_each(|file| file.scrub())
    }

    /// Opens or makes a database on this disk. All of it is read and checked, also after an end in order.
    ///
    /// # Errors
    /// When the file cannot be opened, is open in another process, is no database, or holds what redb did not write.
    pub(crate) fn database(&self, path: &Path) -> io::Result<Database> {
        let file = Arc::new(seal::Sealed::over(self.open(path)?));
        let weak = Arc::downgrade(&file);
        self.0.files.lock().expect("no holder panics").push(weak);
        let mut builder = Database::builder();
        builder.set_check_integrity_on_open(true);
        let database = builder.create_with_backend(seal::Handle(file));
        database.map_err(io::Error::other)
    }

    fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = FileBackend::new(options.open(path)?).map_err(io::Error::other)?;
        Ok(DiskFile {
            file,
            disk: self.clone(),
        })
    }
}

/// One file, whose disk's word is noted where it has no more of something: it may say so only at a sync.
#[derive(Debug)]
struct DiskFile {
    file: FileBackend,
    disk: Disk,
}

impl DiskFile {
    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.disk.0.shortages.note_on_disk(error))
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.told(self.file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.told(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.told(self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
