//! What a disk loses, delays, refuses and gets wrong, and that a database on it keeps what was synced.

use super::*;

fn opened(harm: Harm) -> (tempfile::TempDir, Disk, DiskFile) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = Disk::default();
    disk.set(harm).unwrap();
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
    })
    .unwrap();
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
    disk.set(losing()).unwrap();
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
    disk.set(Harm::default()).unwrap();
    file.set_len(4).unwrap();
    file.write(0, b"here").unwrap();
    assert_eq!(on_disk(&folder), b"here");
}

#[test]
fn taking_the_loss_out_writes_down_what_was_kept() {
    let (folder, disk, file) = opened(losing());
    file.set_len(8).unwrap();
    file.write(0, b"kept").unwrap();
    disk.set(Harm::default()).unwrap();
    file.write(4, b"more").unwrap();
    assert_eq!(on_disk(&folder), b"keptmore");
}

#[test]
fn a_database_keeps_its_commits_and_loses_the_rest_at_a_power_loss() {
    const TABLE: redb::TableDefinition<u64, u64> = redb::TableDefinition::new("t");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let survivor = folder.path().join("after");
    let disk = Disk::new(true, Default::default());
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
    let after = Disk::new(true, Default::default())
        .database(&survivor)
        .unwrap();
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
    })
    .unwrap();
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

#[test]
fn a_lying_sync_keeps_everything_in_memory_until_it_is_healed() {
    let (folder, disk, file) = opened(Harm::default());
    file.set_len(8).unwrap();
    file.write(0, b"true").unwrap();
    file.sync_data().unwrap();
    disk.set(Harm {
        lying_sync: true,
        ..Harm::default()
    })
    .unwrap();
    file.write(4, b"lied").unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&file, 0, 8), b"truelied");
    assert_eq!(on_disk(&folder), b"true\0\0\0\0");
    // Of an open database the disk itself knows; this file was opened past it.
    file.settle().unwrap();
    assert_eq!(on_disk(&folder), b"truelied");
}

#[test]
fn a_database_under_a_lying_sync_is_written_down_when_the_lie_ends_and_not_before() {
    const TABLE: redb::TableDefinition<u64, u64> = redb::TableDefinition::new("t");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let disk = Disk::default();
    let db = disk.database(&path).unwrap();
    let rows_in_the_file = || {
        let copy = folder.path().join("copy");
        std::fs::copy(&path, &copy).unwrap();
        let db = Disk::default().database(&copy).unwrap();
        let read = redb::ReadableDatabase::begin_read(&db).unwrap();
        let table = read.open_table(TABLE).unwrap();
        redb::ReadableTableMetadata::len(&table).unwrap()
    };
    let put = |n: u64| {
        let write = db.begin_write().unwrap();
        write.open_table(TABLE).unwrap().insert(n, n).unwrap();
        write.commit().unwrap();
    };
    put(1);
    disk.set(Harm {
        lying_sync: true,
        ..Harm::default()
    })
    .unwrap();
    put(2);
    put(3);
    assert_eq!(rows_in_the_file(), 1);
    disk.set(Harm::default()).unwrap();
    assert_eq!(rows_in_the_file(), 3);
}

#[test]
fn a_read_that_fails_is_an_error_and_one_that_flips_gives_one_wrong_bit() {
    let (_folder, disk, file) = opened(Harm::default());
    file.set_len(600).unwrap();
    file.write(0, &[0; 600]).unwrap();
    disk.set(Harm {
        read_fails: true,
        ..Harm::default()
    })
    .unwrap();
    let failed = file.read(0, &mut [0; 10]).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(EIO));
    disk.set(Harm {
        flip_reads: true,
        ..Harm::default()
    })
    .unwrap();
    for _ in 0..50 {
        let wrong: u32 = read(&file, 0, 600)
            .iter()
            .map(|byte| byte.count_ones())
            .sum();
        assert_eq!(wrong, 1);
    }
    disk.set(Harm::default()).unwrap();
    assert_eq!(read(&file, 0, 600), [0; 600]);
}

#[test]
fn a_torn_write_ends_between_two_sectors() {
    let (folder, disk, file) = opened(Harm {
        write_back_per_mille: 1_000,
        torn: true,
        ..losing()
    });
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        file.set_len(0).unwrap();
        file.sync_data().unwrap();
        file.set_len(PAGE).unwrap();
        file.write(0, &[7; PAGE as usize]).unwrap();
        let there = on_disk(&folder).iter().filter(|byte| **byte == 7).count();
        assert!(
            there < PAGE as usize && there.is_multiple_of(SECTOR),
            "{there}"
        );
        seen.insert(there);
    }
    assert_eq!(seen.len(), PAGE as usize / SECTOR, "{seen:?}");
    file.sync_data().unwrap();
    assert_eq!(
        on_disk(&folder),
        [7; PAGE as usize],
        "what is synced is whole"
    );
    assert!(disk.seen().harmed > 0);
}

#[test]
fn a_held_sync_is_pending_until_it_is_let_go() {
    let (folder, disk, file) = opened(Harm {
        hold_sync: true,
        ..losing()
    });
    file.set_len(4).unwrap();
    file.write(0, b"held").unwrap();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync_data());
        let began = std::time::Instant::now();
        while disk.seen().syncing == 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "no sync begins");
            std::thread::yield_now();
        }
        assert!(on_disk(&folder).is_empty() && !sync.is_finished());
        disk.set(losing()).unwrap();
        sync.join().expect("it does not panic").unwrap();
    });
    assert_eq!((disk.seen().syncing, disk.seen().syncs), (0, 1));
    assert_eq!(on_disk(&folder), b"held");
}
