//! The disk under log and state: a redb backend that can lose, delay and fail, switched live.
//!
//! With [`Harm::lose_unsynced`] every write goes into memory, and reaches the file when redb syncs. So a SIGKILL is a
//! power loss, with no help from the dying process: the file holds what was synced and nothing else. Without any harm
//! everything goes straight to redb's own file backend, which also keeps the locks.
//!
//! ```text
//!   redb ─ write ─► overlay (memory) ─ sync ─► file ─ fdatasync ─► disk
//!                   lost by a kill             kept by a kill
//! ```
//!
//! Snapshots are files of their own that are synced before they are named; they and the trace do not pass here.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    ops::Bound,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redb::{BackendError, Database, StorageBackend, backends::FileBackend};

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
}

/// The switches of all files of one node; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    harm: Mutex<Harm>,
    /// Which writes are written back, and how far; drawn from [`WRITE_BACK_SEED`], or a test's own.
    chance: Mutex<Option<ChaCha8Rng>>,
    unsynced: AtomicU64,
    syncs: AtomicU64,
    harmed: AtomicU64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) unsynced_bytes: u64,
    pub(crate) syncs: u64,
    /// Operations that met a harm.
    pub(crate) harmed: u64,
}

impl Disk {
    /// A whole disk, which loses what is unsynced at a kill if `power_loss`.
    pub(crate) fn new(power_loss: bool) -> Disk {
        let disk = Disk::default();
        disk.harm().lose_unsynced = power_loss;
        disk
    }

    /// Holds from each file's next operation on.
    pub(crate) fn set(&self, harm: Harm) {
        *self.harm() = harm;
    }

    pub(crate) fn seen(&self) -> Seen {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Seen {
            unsynced_bytes: read(&self.0.unsynced),
            syncs: read(&self.0.syncs),
            harmed: read(&self.0.harmed),
        }
    }

    /// Opens or makes a database on this disk.
    ///
    /// # Errors
    /// When the file cannot be opened, is open in another process, or is no database.
    pub(crate) fn database(&self, path: &Path) -> io::Result<Database> {
        let builder = Database::builder();
        let database = builder.create_with_backend(self.open(path)?);
        database.map_err(io::Error::other)
    }

    fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = FileBackend::new(options.open(path)?).map_err(io::Error::other)?;
        Ok(DiskFile {
            file,
            disk: self.clone(),
            overlay: RwLock::default(),
        })
    }

    fn harm(&self) -> MutexGuard<'_, Harm> {
        self.0.harm.lock().expect("no holder panics")
    }

    /// How many bytes of a write of so many reach the file before it is synced: none, some sectors, or all.
    fn written_back(&self, per_mille: u32, bytes: usize) -> usize {
        let mut chance = self.0.chance.lock().expect("no holder panics");
        let chance = chance.get_or_insert_with(|| ChaCha8Rng::seed_from_u64(WRITE_BACK_SEED));
        if chance.random_range(0..1_000) >= per_mille {
            0
        } else if chance.random_bool(0.5) {
            bytes
        } else {
            chance.random_range(0..=bytes / SECTOR) * SECTOR
        }
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
                self.file.set_len(least)?;
            }
            self.file.set_len(length)?;
        }
        let end = self.file.len()?;
        for (number, page) in &overlay.pages {
            let offset = number * PAGE;
            let count = end.saturating_sub(offset).min(PAGE) as usize;
            self.file.write(offset, &page[..count])?;
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
            self.file.set_len(end)?;
        }
        self.file.write(offset, data)
    }

    fn forget(&self, overlay: &mut Overlay) {
        let bytes = overlay.pages.len() as u64 * PAGE;
        self.disk.0.unsynced.fetch_sub(bytes, Ordering::Relaxed);
        *overlay = Overlay::default();
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.length(&self.overlay.read().expect("no holder panics"))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.disk.harm().read_fails {
            return Err(self.disk.eio());
        }
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

    fn set_len(&self, length: u64) -> io::Result<()> {
        let harm = *self.disk.harm();
        let mut overlay = self.overlay.write().expect("no holder panics");
        let now = self.length(&overlay)?;
        if harm.full && length > now {
            self.disk.meet();
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !harm.lose_unsynced {
            self.write_down(&mut overlay)?;
            return self.file.set_len(length);
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
        let harm = *self.disk.harm();
        self.disk.0.syncs.fetch_add(1, Ordering::Relaxed);
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
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let harm = *self.disk.harm();
        let mut overlay = self.overlay.write().expect("no holder panics");
        if harm.full && offset + data.len() as u64 > self.length(&overlay)? {
            self.disk.meet();
            return Err(io::ErrorKind::StorageFull.into());
        }
        if harm.lose_unsynced || harm.lying_sync || harm.sync_fails {
            // The overlay stays what is read, and what a sync writes; the file only gets some of it early.
            self.keep(&mut overlay, offset, data)?;
            let early = self
                .disk
                .written_back(harm.write_back_per_mille, data.len());
            return self.write_early(offset, &data[..early]);
        }
        if !overlay.is_empty() {
            self.write_down(&mut overlay)?;
        }
        self.file.write(offset, data)
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
mod tests {
    use super::*;

    fn opened(harm: Harm) -> (tempfile::TempDir, Disk, DiskFile) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::default();
        disk.set(harm);
        let file = disk.open(&folder.path().join("f")).expect("a new file");
        (folder, disk, file)
    }

    fn losing() -> Harm {
        Harm {
            lose_unsynced: true,
            ..Harm::default()
        }
    }

    fn on_disk(folder: &tempfile::TempDir) -> Vec<u8> {
        std::fs::read(folder.path().join("f")).expect("the file is there")
    }

    fn read(file: &DiskFile, offset: u64, count: usize) -> Vec<u8> {
        let mut out = vec![7; count];
        file.read(offset, &mut out).expect("it is within the file");
        out
    }

    #[test]
    fn what_is_not_synced_can_be_read_and_is_not_in_the_file() {
        let (folder, disk, file) = opened(losing());
        file.set_len(10_000).unwrap();
        file.write(4_090, b"across two pages").unwrap();
        assert_eq!(read(&file, 4_090, 16), b"across two pages");
        assert!(on_disk(&folder).is_empty());
        assert_eq!(disk.seen().unsynced_bytes, 2 * PAGE);
        file.sync_data().unwrap();
        assert_eq!(on_disk(&folder)[4_090..4_106], *b"across two pages");
        assert_eq!(on_disk(&folder).len(), 10_000);
        assert_eq!(disk.seen().unsynced_bytes, 0);
        file.write(0, b"later").unwrap();
        assert_eq!(on_disk(&folder)[..5], [0; 5]);
    }

    #[test]
    fn a_file_that_was_cut_and_grew_again_has_zeros_there() {
        let (folder, _, file) = opened(losing());
        file.set_len(9_000).unwrap();
        file.write(0, &[9; 9_000]).unwrap();
        file.sync_data().unwrap();
        file.set_len(100).unwrap();
        file.set_len(9_000).unwrap();
        assert_eq!(read(&file, 50, 100), [[9; 50], [0; 50]].concat());
        file.sync_data().unwrap();
        let bytes = on_disk(&folder);
        assert!(bytes.len() == 9_000 && bytes[100..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_sync_that_fails_drops_what_it_was_for() {
        let (folder, disk, file) = opened(losing());
        file.set_len(10).unwrap();
        file.sync_data().unwrap();
        file.write(0, b"0123456789").unwrap();
        disk.set(Harm {
            sync_fails: true,
            ..losing()
        });
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
        disk.set(losing());
        file.sync_data().unwrap();
        assert_eq!(on_disk(&folder), [0; 10]);
        assert_eq!(disk.seen().harmed, 1);
    }

    #[test]
    fn a_full_disk_does_not_grow_and_a_whole_one_writes_at_once() {
        let (folder, disk, file) = opened(Harm {
            full: true,
            ..Harm::default()
        });
        let refused = file.set_len(10).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        disk.set(Harm::default());
        file.set_len(4).unwrap();
        file.write(0, b"here").unwrap();
        assert_eq!(on_disk(&folder), b"here");
    }

    #[test]
    fn taking_the_loss_out_writes_down_what_was_kept() {
        let (folder, disk, file) = opened(losing());
        file.set_len(8).unwrap();
        file.write(0, b"kept").unwrap();
        disk.set(Harm::default());
        file.write(4, b"more").unwrap();
        assert_eq!(on_disk(&folder), b"keptmore");
    }

    #[test]
    fn a_database_keeps_its_commits_and_loses_the_rest_at_a_power_loss() {
        const TABLE: redb::TableDefinition<u64, u64> = redb::TableDefinition::new("t");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let survivor = folder.path().join("after");
        let disk = Disk::new(true);
        let db = disk.database(&path).unwrap();
        let put = |n: u64, durable: bool| {
            let mut write = db.begin_write().unwrap();
            if !durable {
                write.set_durability(redb::Durability::None).unwrap();
            }
            write.open_table(TABLE).unwrap().insert(n, n).unwrap();
            write.commit().unwrap();
        };
        for n in 0..50 {
            put(n, true);
        }
        for n in 50..60 {
            put(n, false);
        }
        // What a restart would find: the file as it lies there, without this process's memory.
        std::fs::copy(&path, &survivor).unwrap();
        let after = Disk::new(true).database(&survivor).unwrap();
        let read = redb::ReadableDatabase::begin_read(&after).unwrap();
        let table = read.open_table(TABLE).unwrap();
        assert_eq!(redb::ReadableTableMetadata::len(&table).unwrap(), 50);
    }

    /// A machine that dies at its n-th operation on the disk: what is in the file then is all that is left.
    #[derive(Debug)]
    struct Dying {
        file: DiskFile,
        path: std::path::PathBuf,
        left: AtomicU64,
    }

    impl Dying {
        fn lives(&self) -> io::Result<()> {
            let left = self.left.load(Ordering::Relaxed);
            if left == 1 {
                std::fs::copy(&self.path, self.path.with_extension("left"))?;
            }
            self.left.store(left.saturating_sub(1), Ordering::Relaxed);
            if left <= 1 {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Ok(())
        }
    }

    /// The same machine, for the database and for whoever decides when it dies.
    #[derive(Debug)]
    struct Handle(Arc<Dying>);

    impl StorageBackend for Handle {
        fn len(&self) -> io::Result<u64> {
            self.0.file.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.file.read(offset, out)
        }
        fn set_len(&self, length: u64) -> io::Result<()> {
            self.0.lives()?;
            self.0.file.set_len(length)
        }
        fn sync_data(&self) -> io::Result<()> {
            self.0.lives()?;
            self.0.file.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.lives()?;
            self.0.file.write(offset, data)
        }
    }

    const ROWS: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("rows");

    /// Opens what the last crash left, counts its rows, and commits more until the machine dies; gives what was there,
    /// and how many rows were acknowledged as synced.
    fn live_and_die(path: &Path, chance: &mut ChaCha8Rng, rows: u64) -> (u64, u64) {
        let disk = Disk::default();
        disk.set(Harm {
            write_back_per_mille: [0, 300, 700, 1_000][chance.random_range(0..4)],
            ..losing()
        });
        *disk.0.chance.lock().expect("no holder panics") =
            Some(ChaCha8Rng::seed_from_u64(chance.random()));
        let backend = Dying {
            file: disk.open(path).expect("the file opens"),
            path: path.to_owned(),
            left: AtomicU64::new(u64::MAX),
        };
        let machine = Arc::new(backend);
        let db = Database::builder().create_with_backend(Handle(machine.clone()));
        let db = db.unwrap_or_else(|error| panic!("after {rows} rows: {error}"));
        let there = count(&db);
        machine
            .left
            .store(chance.random_range(1..400), Ordering::Relaxed);
        let mut acknowledged = there;
        loop {
            let payload = vec![acknowledged as u8; chance.random_range(1..3_000)];
            let put = || -> Result<(), redb::Error> {
                let write = db.begin_write()?;
                write
                    .open_table(ROWS)?
                    .insert(acknowledged, payload.as_slice())?;
                Ok(write.commit()?)
            };
            if put().is_err() {
                return (there, acknowledged);
            }
            acknowledged += 1;
        }
    }

    /// Counts rows, which must be numbered without a gap and hold what was written.
    fn count(db: &Database) -> u64 {
        let read = redb::ReadableDatabase::begin_read(db).expect("it reads");
        let table = match read.open_table(ROWS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return 0,
            Err(error) => panic!("{error}"),
        };
        let rows = redb::ReadableTable::iter(&table).expect("it reads");
        let mut next = 0;
        for row in rows {
            let (key, value) = row.expect("no row is torn");
            assert_eq!(key.value(), next);
            assert!(value.value().iter().all(|&byte| byte == next as u8));
            next += 1;
        }
        next
    }

    #[test]
    fn a_hundred_machines_die_with_writes_half_written_back_and_lose_nothing_that_was_synced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut chance = ChaCha8Rng::seed_from_u64(20_261_123);
        let mut acknowledged = 0;
        for crash in 0..120 {
            let (there, then) = live_and_die(&path, &mut chance, acknowledged);
            // The one that was not acknowledged may be there.
            assert!(
                there == acknowledged || there == acknowledged + 1,
                "crash {crash}: {there} rows are left of {acknowledged} that were synced"
            );
            acknowledged = then;
            std::fs::rename(path.with_extension("left"), &path).unwrap();
        }
        assert!(acknowledged > 1_000, "{acknowledged} rows");
    }
}
