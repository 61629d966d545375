//! Snapshots: files that hold the whole store as of one applied log id.
//!
//! Built from one read transaction, or received in chunks from the leader. Either way the file is written under a
//! temporary name, synced and renamed, and only then becomes current; installing replaces the store in one durable
//! transaction. A kill at any point leaves the old state or the new one: a renamed file that is newer than the store is
//! installed at the next start.
//!
//! ```text
//! "KIWISNAP" | version u32 | length u32, meta | records ... | 0, count u64 | CRC-32 of all before
//! record:  1, key length u32, value length u32, key, value   |   2, client u64, length u32, session
//! ```

pub(crate) mod transfer;

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use openraft::storage::{RaftSnapshotBuilder, Snapshot};
use redb::{ReadTransaction, ReadableTable};

use super::{
    codec,
    defect::{Defect, Planted, hooks},
    state_machine::{DATA, Session, Store, Tables, all_sessions, applied_state},
    trace::Begun,
    types::{Address, LeaderId, LogId, SnapshotMeta, Types},
};

/// Bytes of one chunk on the wire, at most.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
const MAGIC: &[u8; 8] = b"KIWISNAP";
const VERSION: u32 = 1;
const TEMPORARY: &str = "tmp";
const FINISHED: &str = "snapshot";
/// A field of a snapshot that claims more than this is damaged.
const MAX_FIELD: u32 = 64 << 20;

pub(super) type NodeSnapshot = Snapshot<LeaderId, u64, Address, SnapshotFile>;

/// An open snapshot: it can be read to its end even after a newer one has taken its place.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    file: File,
    path: PathBuf,
    length: u64,
    /// Unique among all snapshots of all nodes.
    id: String,
}

/// Removes its file unless that has become a snapshot.
impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if self.path.extension().is_some_and(|end| end == TEMPORARY) {
            // It may have been renamed: then there is nothing to remove.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SnapshotFile {
    fn create(folder: &Path) -> io::Result<SnapshotFile> {
        let id = unique_id();
        let path = folder.join(format!("{id}.{TEMPORARY}"));
        let mut options = fs::OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(SnapshotFile {
            file,
            path,
            length: 0,
            id,
        })
    }

    fn open(path: &Path) -> io::Result<SnapshotFile> {
        let file = File::open(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(SnapshotFile {
            length: file.metadata()?.len(),
            file,
            path: path.to_owned(),
            id: stem.into_owned(),
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Reads the chunk of at most so many bytes at `offset`; empty at the end.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn chunk(&self, offset: u64, most: u64) -> io::Result<Vec<u8>> {
        let length = self.length.saturating_sub(offset).min(most);
        let mut chunk = vec![0; usize::try_from(length).expect("a chunk is small")];
        self.file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    }

    fn reader(&self) -> io::Result<Checked<BufReader<File>>> {
        Ok(Checked::new(BufReader::new(File::open(&self.path)?)))
    }
}

/// A snapshot that is coming in.
#[derive(Debug)]
pub(crate) struct Incoming {
    target: SnapshotFile,
}

impl Incoming {
    /// Begins to receive.
    ///
    /// # Errors
    /// When the temporary file cannot be made.
    pub(crate) fn begin(folder: &Path) -> io::Result<Incoming> {
        Ok(Incoming {
            target: SnapshotFile::create(folder)?,
        })
    }

    /// Bytes received so far: where the next chunk has to start.
    pub(crate) fn length(&self) -> u64 {
        self.target.length
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.target.file.write_all_at(chunk, self.target.length)?;
        self.target.length += chunk.len() as u64;
        Ok(())
    }

    /// Syncs what came and checks that it is the whole snapshot that `meta` announced.
    ///
    /// # Errors
    /// When the disk fails, the file is damaged, or it is another snapshot.
    pub(crate) fn finish(self, meta: &SnapshotMeta) -> io::Result<SnapshotFile> {
        self.target.file.sync_all()?;
        let found = read_records(&mut self.target.reader()?, |_| Ok(()))?;
        if found != *meta {
            return Err(damaged("it is not the snapshot that was announced"));
        }
        Ok(self.target)
    }
}

/// The newest whole snapshot in the folder.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    meta: SnapshotMeta,
    path: PathBuf,
}

impl Current {
    pub(super) fn last(&self) -> Option<LogId> {
        self.meta.last_log_id
    }
}

/// Makes the folder if needed, throws away what an earlier life left half-done, finds the current snapshot.
pub(super) fn open_folder(folder: &Path) -> io::Result<Option<Current>> {
    fs::create_dir_all(folder)?;
    let mut current: Option<Current> = None;
    for found in fs::read_dir(folder)? {
        let path = found?.path();
        if path.extension().is_none_or(|end| end != FINISHED) {
            fs::remove_file(&path)?;
            continue;
        }
        let meta = read_records(&mut SnapshotFile::open(&path)?.reader()?, |_| Ok(()))?;
        let newer = current
            .as_ref()
            .is_none_or(|old| meta.last_log_id > old.meta.last_log_id);
        let stale = if newer {
            current.replace(Current { meta, path }).map(|old| old.path)
        } else {
            Some(path)
        };
        if let Some(stale) = stale {
            fs::remove_file(stale)?;
        }
    }
    Ok(current)
}

impl Store {
    pub(super) fn current_snapshot(&self) -> io::Result<Option<NodeSnapshot>> {
        // The lock keeps the file from being replaced between looking it up and opening it.
        let current = self.current.lock().expect("no holder panics");
        let Some(current) = current.as_ref() else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            meta: current.meta.clone(),
            snapshot: SnapshotFile::open(&current.path)?,
        }))
    }

    /// Gives a synced file its final name, if it is newer than the current snapshot, and removes the older one. Says
    /// whether it is now current.
    fn keep(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> io::Result<bool> {
        let mut current = self.current.lock().expect("no holder panics");
        let newest = current
            .as_ref()
            .and_then(|current| current.meta.last_log_id);
        if current.is_some() && meta.last_log_id <= newest {
            return Ok(false);
        }
        let path = self.folder.join(format!("{}.{FINISHED}", file.id));
        fs::rename(&file.path, &path)?;
        File::open(&self.folder)?.sync_all()?;
        let new = Current {
            meta: meta.clone(),
            path,
        };
        if let Some(old) = current.replace(new) {
            fs::remove_file(old.path)?;
        }
        Ok(true)
    }

    /// Replaces the whole store by the snapshot, durably, in one transaction.
    pub(super) fn install(&self, meta: &SnapshotMeta, data: SnapshotFile) -> io::Result<()> {
        let ours = data.path.parent() == Some(self.folder.as_path());
        let data = if ours { data } else { self.copy_in(&data)? };
        // Opened before the rename: the path of `data` may be gone after it.
        let mut records = data.reader()?;
        let begun = self
            .trace
            .install(meta.last_log_id, &meta.last_membership)?;
        self.keep(meta, &data)?;
        let transaction = self.db.begin_write().map_err(io::Error::other)?;
        {
            let mut tables = Tables::open(&transaction).map_err(io::Error::other)?;
            tables.clear().map_err(io::Error::other)?;
            let found = read_records(&mut records, |record| {
                let stored = match record {
                    Record::Row { key, value } => tables
                        .data
                        .insert(key, value)
                        .map(drop)
                        .map_err(redb::Error::from),
                    Record::Session { client, session } => tables.put_session(client, &session),
                };
                stored.map_err(io::Error::other)
            })?;
            if found != *meta {
                return Err(damaged("it is not the snapshot that was announced"));
            }
            if let Some(applied) = meta.last_log_id {
                tables.set_applied(applied).map_err(io::Error::other)?;
            }
            tables
                .set_membership(&meta.last_membership)
                .map_err(io::Error::other)?;
        }
        transaction.commit().map_err(io::Error::other)?;
        self.trace.done(begun)
    }

    fn copy_in(&self, data: &SnapshotFile) -> io::Result<SnapshotFile> {
        let mut copy = SnapshotFile::create(&self.folder)?;
        copy.length = io::copy(&mut File::open(&data.path)?, &mut copy.file)?;
        copy.file.sync_all()?;
        Ok(copy)
    }
}

/// Builds a snapshot of the moment at which it was made.
pub(crate) struct SnapshotBuilder {
    store: Arc<Store>,
    /// The moment, and the trace's begin of it.
    read: io::Result<(ReadTransaction, Begun)>,
}

impl SnapshotBuilder {
    pub(super) fn new(store: Arc<Store>) -> SnapshotBuilder {
        let begin = || {
            let read = store.begin_read()?;
            let begun = store.trace.snapshot(applied_state(&read)?.0)?;
            Ok((read, begun))
        };
        let read = begin();
        SnapshotBuilder { store, read }
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<NodeSnapshot> {
        let used = Err(io::Error::other("a builder builds once"));
        let (read, begun) = std::mem::replace(&mut self.read, used)?;
        let store = self.store.clone();
        let built = tokio::task::spawn_blocking(move || build(&store, &read, begun));
        built.await.map_err(io::Error::other)?
    }
}

fn build(store: &Store, read: &ReadTransaction, begun: Begun) -> io::Result<NodeSnapshot> {
    let (last_log_id, last_membership) = applied_state(read)?;
    let meta = SnapshotMeta {
        last_log_id,
        last_membership,
    };
    let mut target = SnapshotFile::create(&store.folder)?;
    let mut writer = Checked::new(BufWriter::new(target.file.try_clone()?));
    write_records(&mut writer, &meta, read, &store.planted)?;
    writer.inner.flush()?;
    target.file.sync_all()?;
    target.length = target.file.metadata()?.len();
    // What the snapshot covers may be purged from the log: from here on the store must not need it.
    store.sync()?;
    if store.keep(&meta, &target)? {
        store.trace.done(begun)?;
    }
    Ok(Snapshot {
        meta,
        snapshot: target,
    })
}

fn write_records<W: Write>(
    writer: &mut Checked<W>,
    meta: &SnapshotMeta,
    read: &ReadTransaction,
    planted: &Planted,
) -> io::Result<()> {
    writer.write_all(MAGIC)?;
    writer.write_all(&VERSION.to_le_bytes())?;
    writer.write_field(&codec::encode(meta))?;
    let mut count: u64 = 0;
    let data = read.open_table(DATA).map_err(io::Error::other)?;
    for row in data.iter().map_err(io::Error::other)? {
        let (key, value) = row.map_err(io::Error::other)?;
        let (key, value) = (key.value(), value.value());
        if planted.is(Defect::HoleySnapshot) && hooks::holey_snapshot(planted, key) {
            continue;
        }
        writer.write_all(&[1])?;
        writer.write_all(&length(key)?.to_le_bytes())?;
        writer.write_all(&length(value)?.to_le_bytes())?;
        writer.write_all(key)?;
        writer.write_all(value)?;
        count += 1;
    }
    for (client, session) in all_sessions(read)? {
        if planted.is(Defect::ForgottenSessions) {
            hooks::forgotten_sessions(planted);
            continue;
        }
        writer.write_all(&[2])?;
        writer.write_all(&client.to_le_bytes())?;
        writer.write_field(&codec::encode(&session))?;
        count += 1;
    }
    writer.write_all(&[0])?;
    writer.write_all(&count.to_le_bytes())?;
    let crc = writer.crc.clone().finalize();
    writer.write_all(&crc.to_le_bytes())
}

enum Record<'a> {
    Row { key: &'a [u8], value: &'a [u8] },
    Session { client: u64, session: Session },
}

/// Reads a whole snapshot and gives its meta; fails if a single bit is wrong, then or at the end.
fn read_records<R: Read>(
    reader: &mut Checked<R>,
    mut each: impl FnMut(Record<'_>) -> io::Result<()>,
) -> io::Result<SnapshotMeta> {
    if &reader.read_array::<8>()? != MAGIC {
        return Err(damaged("it is no snapshot"));
    }
    let version = u32::from_le_bytes(reader.read_array()?);
    if version != VERSION {
        return Err(damaged(&format!("its format {version} is not known")));
    }
    let length = u32::from_le_bytes(reader.read_array()?);
    let meta = codec::decode(&reader.read_bytes(length)?)?;
    let mut count: u64 = 0;
    loop {
        match reader.read_array::<1>()? {
            [1] => {
                let key = u32::from_le_bytes(reader.read_array()?);
                let value = u32::from_le_bytes(reader.read_array()?);
                let key = reader.read_bytes(key)?;
                let value = reader.read_bytes(value)?;
                each(Record::Row {
                    key: &key,
                    value: &value,
                })?;
            }
            [2] => {
                let client = u64::from_le_bytes(reader.read_array()?);
                let length = u32::from_le_bytes(reader.read_array()?);
                let session = codec::decode(&reader.read_bytes(length)?)?;
                each(Record::Session { client, session })?;
            }
            [0] => break,
            [tag] => return Err(damaged(&format!("no record has tag {tag}"))),
        }
        count += 1;
    }
    if u64::from_le_bytes(reader.read_array()?) != count {
        return Err(damaged("records are missing"));
    }
    let expected = reader.crc.clone().finalize();
    if u32::from_le_bytes(reader.read_array()?) != expected {
        return Err(damaged("its checksum is wrong"));
    }
    if reader.inner.read(&mut [0])? != 0 {
        return Err(damaged("bytes follow its end"));
    }
    Ok(meta)
}

/// A reader or writer that keeps the CRC-32 of what went through it.
struct Checked<T> {
    inner: T,
    crc: crc32fast::Hasher,
}

impl<T> Checked<T> {
    fn new(inner: T) -> Checked<T> {
        Checked {
            inner,
            crc: crc32fast::Hasher::new(),
        }
    }
}

impl<W: Write> Checked<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }

    fn write_field(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(&length(bytes)?.to_le_bytes())?;
        self.write_all(bytes)
    }
}

impl<R: Read> Checked<R> {
    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn read_bytes(&mut self, length: u32) -> io::Result<Vec<u8>> {
        if length > MAX_FIELD {
            return Err(damaged("a field claims too many bytes"));
        }
        let mut bytes = vec![0; length as usize];
        self.inner.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(io::Error::other)
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the snapshot is damaged: {reason}"),
    )
}

/// A name that no other snapshot has: the clock, the child's number, and a counter.
fn unique_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{number:x}", since.as_nanos(), std::process::id())
}
