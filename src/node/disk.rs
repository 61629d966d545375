//! The disk under log and state: a redb backend that can lose, delay and fail, switched live.
//!
//! With [`Harm::lose_unsynced`] every write goes into memory, and reaches the file when redb syncs. So a SIGKILL is a
//! power loss, with no help from the dying process: the file holds what was synced and nothing else. Without any harm
//! everything goes straight to redb's own file backend, which also keeps the locks.
//!
//! ```text
//!   redb ─► seal ─ write ─► overlay (memory) ─ sync ─► file ─ fdatasync ─► disk
//!           the node's own  lost by a kill             kept by a kill
//! ```
//!
//! What is above the overlay is the node's: [`seal`] remembers a checksum of every page that was written, and a page
//! that comes back otherwise is an error, never an answer. What is below is the machine's, and may lie.
//!
//! Snapshots are files of their own that are synced before they are named; they and the trace do not pass here.

mod probe;
mod seal;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    ops::Bound,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use self::probe::Probe;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redb::{BackendError, Database, StorageBackend, backends::FileBackend};

use super::shortages::Shortages;

/// Bytes of a page of the overlay.
const PAGE: u64 = 4096;
/// Bytes that a disk writes whole: a torn write ends at a multiple of it.
const SECTOR: usize = 512;
/// The seed of what is written back.
const WRITE_BACK_SEED: u64 = 0x6469_736b;
/// EIO of errno(3).
const EIO: i32 = 5;

/// What is wrong with the disk; everything absent: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Harm {
    /// What is not synced stays in memory.
    pub(crate) lose_unsynced: bool,
    /// Every sync takes so much longer.
    pub(crate) slow_sync: Duration,
    /// A sync says that it is done, and does nothing.
    pub(crate) lying_sync: bool,
    /// Every sync fails with EIO, and what was to be synced is lost.
    pub(crate) sync_fails: bool,
    /// No file grows.
    pub(crate) full: bool,
    /// Every read fails with EIO.
    pub(crate) read_fails: bool,
    /// With `lose_unsynced`: of so many in a thousand unsynced writes the file gets all or a part at once, as from a
    /// page cache that is written back when it likes. What is synced is whole all the same.
    pub(crate) write_back_per_mille: u32,
    /// What is written back is never whole: it ends between two sectors.
    pub(crate) torn: bool,
    /// A sync that begins does not end before this is taken out.
    pub(crate) hold_sync: bool,
    /// Every read gives one bit that is not the one that was written.
    pub(crate) flip_reads: bool,
}

impl Harm {
    /// Whether what is not synced stays in memory.
    fn keeps_unsynced(&self) -> bool {
        self.lose_unsynced || self.lying_sync || self.sync_fails
    }
}

/// The switches of all files of one node; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    harm: Mutex<Harm>,
    /// Told whenever the harm changes: a held sync waits for it.
    changed: Condvar,
    /// Every file that is open: to be written down when a lie ends, and to be read by the scrub.
    files: Mutex<Vec<Weak<seal::Sealed>>>,
    /// Which writes are written back, and how far; drawn from [`WRITE_BACK_SEED`], or a test's own.
    chance: Mutex<Option<ChaCha8Rng>>,
    unsynced: AtomicU64,
    syncs: AtomicU64,
    /// Syncs that have begun and not ended.
    syncing: AtomicU64,
    harmed: AtomicU64,
    /// What the machine's own disk does not give.
    shortages: Shortages,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) unsynced_bytes: u64,
    pub(crate) syncs: u64,
    /// Syncs that have begun and not ended.
    pub(crate) syncing: u64,
    /// Operations that met a harm.
    pub(crate) harmed: u64,
}

impl Disk {
    /// A whole disk, which loses what is unsynced at a kill if `power_loss`, and tells what the machine's own disk does
    /// not give.
    pub(crate) fn new(power_loss: bool, shortages: Shortages) -> Disk {
        let disk = Disk(Arc::new(Shared {
            shortages,
            ..Shared::default()
        }));
        disk.harm().lose_unsynced = power_loss;
        disk
    }

    /// Holds from each file's next operation on. Where syncs have lied until now, everything is on the disk, as they
    /// said, when this returns.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn set(&self, harm: Harm) -> io::Result<()> {
        let before = std::mem::replace(&mut *self.harm(), harm);
        self.0.changed.notify_all();
        if before.lying_sync && !harm.lying_sync {
            self.files().iter().try_for_each(|file| file.settle())?;
        }
        Ok(())
    }

    /// The files that are open.
    fn files(&self) -> Vec<Arc<seal::Sealed>> {
        let mut files = self.0.files.lock().expect("no holder panics");
        files.retain(|file| file.strong_count() > 0);
        files.iter().filter_map(Weak::upgrade).collect()
    }

    /// Reads on where the last call left off, about a mebibyte of every file, and compares it with what was written.
    ///
    /// # Errors
    /// When something cannot be read, or is not what was written: the node must not go on with it.
    pub(crate) fn scrub(&self) -> io::Result<()> {
        self.files().iter().try_for_each(|file| file.scrub())
    }

    pub(crate) fn seen(&self) -> Seen {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Seen {
            unsynced_bytes: read(&self.0.unsynced),
            syncs: read(&self.0.syncs),
            syncing: read(&self.0.syncing),
            harmed: read(&self.0.harmed),
        }
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
            is_probe: false,
            overlay: RwLock::default(),
        })
    }

    fn harm(&self) -> MutexGuard<'_, Harm> {
        self.0.harm.lock().expect("no holder panics")
    }

    /// Waits until no sync is held any more; gives what is wrong then.
    fn wait_while_held(&self) -> Harm {
        let mut harm = self.harm();
        if harm.hold_sync {
            self.meet();
        }
        while harm.hold_sync {
            harm = self.0.changed.wait(harm).expect("no holder panics");
        }
        *harm
    }

    /// Draws from what is this disk's own chance.
    fn chance<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut chance = self.0.chance.lock().expect("no holder panics");
        draw(chance.get_or_insert_with(|| ChaCha8Rng::seed_from_u64(WRITE_BACK_SEED)))
    }

    /// How many bytes of a write of so many reach the file before it is synced: none, some sectors, or all.
    fn written_back(&self, harm: &Harm, bytes: usize) -> usize {
        self.chance(|chance| {
            if chance.random_range(0..1_000) >= harm.write_back_per_mille {
                0
            } else if harm.torn {
                chance.random_range(0..bytes.div_ceil(SECTOR)) * SECTOR
            } else if chance.random_bool(0.5) {
                bytes
            } else {
                chance.random_range(0..=bytes / SECTOR) * SECTOR
            }
        })
    }

    /// Counts that an operation met a harm.
    fn meet(&self) {
        self.0.harmed.fetch_add(1, Ordering::Relaxed);
    }

    fn eio(&self) -> io::Error {
        self.meet();
        io::Error::from_raw_os_error(EIO)
    }
}

/// One file, and what of it is only in memory.
#[derive(Debug)]
struct DiskFile {
    file: FileBackend,
    disk: Disk,
    /// Whether nobody counts its syncs.
    is_probe: bool,
    overlay: RwLock<Overlay>,
}

/// What was written and not synced.
#[derive(Debug, Default)]
struct Overlay {
    /// Whole pages, by their number.
    pages: BTreeMap<u64, Vec<u8>>,
    /// The length that was set, and the least since the last sync: beyond that the file's own bytes are gone.
    length: Option<(u64, u64)>,
}

impl Overlay {
    fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.length.is_none()
    }
}

impl DiskFile {
    fn length(&self, overlay: &Overlay) -> io::Result<u64> {
        match overlay.length {
            Some((length, _)) => Ok(length),
            None => self.file.len(),
        }
    }

    /// The file's own bytes as the overlay leaves them: zeros where it has none.
    fn read_base(&self, overlay: &Overlay, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let least = overlay.length.map_or(u64::MAX, |(_, least)| least);
        let end = self.file.len()?.min(least);
        let there = end.saturating_sub(offset).min(out.len() as u64);
        let there = usize::try_from(there).expect("no more than the buffer");
        if there > 0 {
            self.file.read(offset, &mut out[..there])?;
        }
        Ok(())
    }

    /// Takes the bytes into the overlay.
    fn keep(&self, overlay: &mut Overlay, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut at = 0;
        while at < data.len() {
            let position = offset + at as u64;
            let (number, within) = (position / PAGE, (position % PAGE) as usize);
            let count = (PAGE as usize - within).min(data.len() - at);
            if !overlay.pages.contains_key(&number) {
                let mut page = vec![0; PAGE as usize];
                self.read_base(overlay, number * PAGE, &mut page)?;
                overlay.pages.insert(number, page);
                self.disk.0.unsynced.fetch_add(PAGE, Ordering::Relaxed);
            }
            let page = overlay.pages.get_mut(&number).expect("just put there");
            page[within..within + count].copy_from_slice(&data[at..at + count]);
            at += count;
        }
        Ok(())
    }

    /// Writes the overlay into the file.
    fn write_down(&self, overlay: &mut Overlay) -> io::Result<()> {
        if let Some((length, least)) = overlay.length {
            if least < self.file.len()? {
                self.grow(least)?;
            }
            self.grow(length)?;
        }
        let end = self.file.len()?;
        for (number, page) in &overlay.pages {
            let offset = number * PAGE;
            let count = end.saturating_sub(offset).min(PAGE) as usize;
            self.put(offset, &page[..count])?;
        }
        self.forget(overlay);
        Ok(())
    }

    /// Writes into the file what is not synced; a file that is too short grows.
    fn write_early(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.disk.meet();
        let end = offset + data.len() as u64;
        if end > self.file.len()? {
            self.grow(end)?;
        }
        self.put(offset, data)
    }

    /// Makes true what syncs have said.
    fn settle(&self) -> io::Result<()> {
        self.write_down(&mut self.overlay.write().expect("no holder panics"))?;
        self.sync()
    }

    /// The file itself ends there.
    fn grow(&self, length: u64) -> io::Result<()> {
        self.told(self.file.set_len(length))
    }

    /// Writes into the file itself.
    fn put(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.told(self.file.write(offset, data))
    }

    /// Syncs the file itself: a disk that is full may say so only here.
    fn sync(&self) -> io::Result<()> {
        self.told(self.file.sync_data())
    }

    /// What the machine's own disk says is noted; a harm of this file's disk does not pass here.
    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let shortages = &self.disk.0.shortages;
        result.inspect_err(|error| match self.is_probe {
            true => drop(shortages.note("trying the disk", error)),
            false => shortages.note_on_disk(error),
        })
    }

    /// One bit comes back as the other one.
    fn flip(&self, out: &mut [u8]) {
        if !out.is_empty() {
            self.disk.meet();
            let bit = self
                .disk
                .chance(|chance| chance.random_range(0..out.len() * 8));
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// What is read where nothing is wrong.
    fn read_right(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let overlay = self.overlay.read().expect("no holder panics");
        if overlay.is_empty() {
            return self.file.read(offset, out);
        }
        let end = offset + out.len() as u64;
        if end > self.length(&overlay)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_base(&overlay, offset, out)?;
        for (number, page) in overlay.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let page_start = number * PAGE;
            let (from, to) = (offset.max(page_start), end.min(page_start + PAGE));
            let target = (from - offset) as usize..(to - offset) as usize;
            let source = (from - page_start) as usize..(to - page_start) as usize;
            out[target].copy_from_slice(&page[source]);
        }
        Ok(())
    }

    fn forget(&self, overlay: &mut Overlay) {
        let bytes = overlay.pages.len() as u64 * PAGE;
        self.disk.0.unsynced.fetch_sub(bytes, Ordering::Relaxed);
        *overlay = Overlay::default();
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        self.forget(&mut self.overlay.write().expect("no holder panics"));
    }
}

/// A sync that has begun, for as long as it has not ended.
struct Pending<'a>(&'a Disk);

impl Pending<'_> {
    fn begin(disk: &Disk) -> Pending<'_> {
        disk.0.syncing.fetch_add(1, Ordering::Relaxed);
        Pending(disk)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.0.syncing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.length(&self.overlay.read().expect("no holder panics"))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let harm = *self.disk.harm();
        if harm.read_fails {
            return Err(self.disk.eio());
        }
        self.read_right(offset, out)?;
        if harm.flip_reads {
            self.flip(out);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let harm = *self.disk.harm();
        let mut overlay = self.overlay.write().expect("no holder panics");
        let now = self.length(&overlay)?;
        if harm.full && length > now {
            self.disk.meet();
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !harm.keeps_unsynced() {
            self.write_down(&mut overlay)?;
            return self.grow(length);
        }
        if length < now {
            // What is beyond the end is gone, also when the file grows again.
            let kept = overlay.pages.split_off(&length.div_ceil(PAGE));
            let bytes = kept.len() as u64 * PAGE;
            self.disk.0.unsynced.fetch_sub(bytes, Ordering::Relaxed);
            if let Some(page) = overlay.pages.get_mut(&(length / PAGE)) {
                page[(length % PAGE) as usize..].fill(0);
            }
        }
        let least = overlay.length.map_or(now, |(_, least)| least).min(length);
        overlay.length = Some((length, least));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let _pending = (!self.is_probe).then(|| Pending::begin(&self.disk));
        let harm = self.disk.wait_while_held();
        if !self.is_probe {
            self.disk.0.syncs.fetch_add(1, Ordering::Relaxed);
        }
        if !harm.slow_sync.is_zero() {
            self.disk.meet();
            std::thread::sleep(harm.slow_sync);
        }
        if harm.sync_fails {
            // As Linux does it: the pages are dropped, a second sync would say that all is well.
            self.forget(&mut self.overlay.write().expect("no holder panics"));
            return Err(self.disk.eio());
        }
        if harm.lying_sync {
            self.disk.meet();
            return Ok(());
        }
        self.write_down(&mut self.overlay.write().expect("no holder panics"))?;
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let harm = *self.disk.harm();
        let mut overlay = self.overlay.write().expect("no holder panics");
        if harm.full && offset + data.len() as u64 > self.length(&overlay)? {
            self.disk.meet();
            return Err(io::ErrorKind::StorageFull.into());
        }
        if harm.keeps_unsynced() {
            // The overlay stays what is read, and what a sync writes; the file only gets some of it early.
            self.keep(&mut overlay, offset, data)?;
            let early = self.disk.written_back(&harm, data.len());
            return self.write_early(offset, &data[..early]);
        }
        if !overlay.is_empty() {
            self.write_down(&mut overlay)?;
        }
        self.put(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        let harm = *self.disk.harm();
        if !harm.lying_sync && !harm.sync_fails {
            self.write_down(&mut self.overlay.write().expect("no holder panics"))?;
        }
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

#[cfg(test)]
mod tests;
