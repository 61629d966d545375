//! The log and the vote: one redb file, written by one thread, durable before anything is answered.
//!
//! ```text
//!   append, save_vote, ...            the writer's thread
//!   state (memory) ─► queue ─► [w w w w w] ─► one transaction ─► fsync ─► callbacks
//! ```
//!
//! A write is readable as soon as it is accepted (openraft requires it), and answered only after the transaction that
//! holds it is on disk. Whatever has queued up meanwhile goes into the next transaction: that is the group commit.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use openraft::{
    LogState, OptionalSend,
    storage::{IOFlushed, RaftLogReader, RaftLogStorage},
};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::{
    codec,
    defect::{Defect, Planted, hooks},
    disk::Disk,
    trace::{Begun, Stored, Trace},
    types::{Entry, LogId, Types, Vote},
};

/// Index to encoded entry.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Name to encoded value.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const VOTE: &str = "vote";
pub(super) const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// Writes that may wait for the disk; when it is full, the caller waits for room.
const QUEUE: usize = 4096;
/// Writes that one transaction takes at most.
const GROUP: usize = 1024;
/// Entries kept in memory; older ones are read from the file.
const CACHE_BYTES: usize = 64 << 20;
/// Entries of one AppendEntries: after the first, no more than this.
const BATCH_BYTES: usize = 1 << 20;

/// A handle on the log; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Queued>,
}

/// A write, and the effect of it that the trace has begun.
struct Queued {
    write: Write,
    begun: Begun,
}

#[derive(Debug)]
struct Shared {
    db: Database,
    state: Mutex<State>,
    trace: Trace,
    planted: Planted,
    /// Writes that one transaction takes at most.
    group: AtomicUsize,
}

/// What readers see: everything accepted, durable or not.
#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The newest entries, always with all that are not durable yet.
    cache: BTreeMap<u64, Cached>,
    cache_bytes: usize,
    /// Entries below this index are in the file.
    durable_below: u64,
    /// Where the truncations begin that are not in the file yet, in their order: whatever the writer finishes before
    /// them, the file's entries from there on are not those of the cache.
    cuts: VecDeque<u64>,
}

#[derive(Debug)]
struct Cached {
    entry: Entry,
    bytes: usize,
}

type Done = oneshot::Sender<io::Result<()>>;

/// What the writer's thread is asked to do, in this order.
enum Write {
    Append {
        entries: Vec<(u64, Vec<u8>)>,
        /// Who waits for it to be durable.
        flushed: Option<IOFlushed<Types>>,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    /// Remove this index and all after it.
    Truncate {
        from: u64,
        done: Done,
    },
    Purge {
        upto: LogId,
        done: Done,
    },
}

impl LogStore {
    /// Opens or makes the log at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened, is open in another process, or holds what this version cannot read.
    pub(crate) fn open(
        path: &Path,
        trace: Trace,
        planted: &Planted,
        disk: &Disk,
    ) -> io::Result<LogStore> {
        let db = disk.database(path)?;
        make_tables(&db).map_err(io::Error::other)?;
        if planted.is(Defect::DroppedTail) {
            hooks::dropped_tail(planted, &db)?;
        }
        let state = State::load(&db)?;
        let stored = InFile {
            end: state.durable_below,
            committed: state.committed,
        };
        let shared = Arc::new(Shared {
            db,
            state: Mutex::new(state),
            trace,
            planted: planted.clone(),
            group: AtomicUsize::new(GROUP),
        });
        let (queue, writes) = mpsc::channel(QUEUE);
        let writer = shared.clone();
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.write_all(writes, stored))?;
        Ok(LogStore { shared, queue })
    }

    /// From now on every write has a transaction, and a sync, of its own.
    pub(crate) fn without_group_commit(self) -> LogStore {
        self.shared.group.store(1, Ordering::Relaxed);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder panics")
    }

    /// Whether this node has voted for, or followed, anybody.
    pub(crate) fn has_voted(&self) -> bool {
        self.state().vote.is_some()
    }

    /// What the file holds, for the trace's first line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn stored(&self) -> io::Result<Stored> {
        let entries = self.shared.read_file(0..u64::MAX)?;
        let state = self.state();
        Ok(Stored {
            vote: state.vote,
            purged: state.purged,
            log: entries.iter().map(|entry| entry.log_id).collect(),
            ..Stored::default()
        })
    }

    async fn enqueue(&self, write: Write, begun: Begun) -> io::Result<()> {
        let gone = |_| io::Error::other("the log's writer has ended");
        self.queue.send(Queued { write, begun }).await.map_err(gone)
    }

    /// Enqueues a write and waits until it is on disk.
    async fn write(&self, begun: Begun, write: impl FnOnce(Done) -> Write) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.enqueue(write(done), begun).await?;
        let gone = |_| io::Error::other("the log's writer has ended");
        result.await.map_err(gone)?
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.state();
        Ok(LogState {
            last_purged_log_id: state.purged,
            last_log_id: state.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        let begun = self.shared.trace.vote(vote)?;
        if self.shared.planted.is(Defect::ForgetfulVote) {
            hooks::forgetful_vote(&self.shared.planted);
            self.state().vote = Some(vote);
            return self.shared.trace.done(begun);
        }
        self.write(begun, |done| Write::Vote { vote, done }).await?;
        self.state().vote = Some(vote);
        Ok(())
    }

    /// Rides with the next write: an older one after a crash only means that more is applied again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.state().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.state().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        // Before anybody can read the entries: they may be on their way to a follower at once.
        let begun = self.shared.trace.append(&entries)?;
        let entries = {
            let mut state = self.state();
            entries
                .into_iter()
                .map(|entry| state.accept(entry))
                .collect()
        };
        let mut flushed = Some(flushed);
        if self.shared.planted.is(Defect::EarlyLogAck)
            && let Some(flushed) = flushed.take()
        {
            hooks::early_log_ack(&self.shared.planted, flushed);
        }
        self.enqueue(Write::Append { entries, flushed }, begun)
            .await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        let begun = self.shared.trace.truncate(last)?;
        self.state().truncate(from, last);
        self.write(begun, |done| Write::Truncate { from, done })
            .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let begun = self.shared.trace.purge(upto)?;
        self.state().purge(upto);
        self.write(begun, |done| Write::Purge { upto, done }).await
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (range, cached) = self.state().select(&range);
        let end = cached.first().map_or(range.end, |entry| entry.log_id.index);
        if range.start >= end {
            return Ok(cached);
        }
        let shared = self.shared.clone();
        let read = tokio::task::spawn_blocking(move || shared.read_file(range.start..end));
        let mut entries = read.await.map_err(io::Error::other)??;
        entries.extend(cached);
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state().vote)
    }

    /// Bounds the bytes of one message: openraft has no error for "too large", and would send it again for ever.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let bounded = self.state().bounded_end(start, end);
        self.try_get_log_entries(start..bounded).await
    }
}

impl State {
    fn load(db: &Database) -> io::Result<State> {
        let read = db.begin_read().map_err(io::Error::other)?;
        let meta = read.open_table(META).map_err(io::Error::other)?;
        let log = read.open_table(LOG).map_err(io::Error::other)?;
        fn get<T: serde::de::DeserializeOwned>(
            meta: &impl ReadableTable<&'static str, &'static [u8]>,
            name: &str,
        ) -> io::Result<Option<T>> {
            let found = meta.get(name).map_err(io::Error::other)?;
            found.map(|bytes| codec::decode(bytes.value())).transpose()
        }
        let purged: Option<LogId> = get(&meta, PURGED)?;
        let committed: Option<Option<LogId>> = get(&meta, COMMITTED)?;
        let last = match log.last().map_err(io::Error::other)? {
            Some((_, bytes)) => Some(codec::decode::<Entry>(bytes.value())?.log_id),
            None => purged,
        };
        Ok(State {
            vote: get(&meta, VOTE)?,
            committed: committed.flatten(),
            purged,
            last,
            durable_below: last.map_or(0, |last| last.index + 1),
            ..State::default()
        })
    }

    /// Makes the entry readable; gives what the writer stores.
    fn accept(&mut self, entry: Entry) -> (u64, Vec<u8>) {
        let encoded = codec::encode(&entry);
        let index = entry.log_id.index;
        let bytes = encoded.len();
        self.last = Some(entry.log_id);
        self.cache_bytes += bytes;
        if let Some(old) = self.cache.insert(index, Cached { entry, bytes }) {
            self.cache_bytes -= old.bytes;
        }
        (index, encoded)
    }

    fn truncate(&mut self, from: u64, last: Option<LogId>) {
        self.cuts.push_back(from);
        if self.last.is_none_or(|end| end.index < from) {
            return;
        }
        let removed = self.cache.split_off(&from);
        self.cache_bytes -= removed.values().map(|cached| cached.bytes).sum::<usize>();
        self.last = last.max(self.purged);
        self.durable_below = self.durable_below.min(from);
    }

    fn purge(&mut self, upto: LogId) {
        let kept = self.cache.split_off(&(upto.index + 1));
        let removed = std::mem::replace(&mut self.cache, kept);
        self.cache_bytes -= removed.values().map(|cached| cached.bytes).sum::<usize>();
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
    }

    /// The file holds the entries up to this index, as far as no truncation that follows takes them away again.
    fn appended(&mut self, last: u64) {
        let kept = self.cuts.iter().copied().min().unwrap_or(u64::MAX);
        self.durable_below = self.durable_below.max(kept.min(last + 1));
        self.evict();
    }

    /// The first truncation of those that were under way is in the file.
    fn truncated(&mut self) {
        self.cuts.pop_front();
    }

    /// Lets go of the oldest entries that are in the file, until the cache is small enough.
    fn evict(&mut self) {
        while self.cache_bytes > CACHE_BYTES {
            match self.cache.first_key_value() {
                Some((index, _)) if *index < self.durable_below => {}
                _ => break,
            }
            let (_, oldest) = self.cache.pop_first().expect("just seen");
            self.cache_bytes -= oldest.bytes;
        }
    }

    /// The part of `range` that the log holds, and its entries that are in memory: always a suffix of it.
    fn select(&self, range: &impl RangeBounds<u64>) -> (std::ops::Range<u64>, Vec<Entry>) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        let next = self.last.map_or(0, |last| last.index + 1);
        let (start, end) = (start.max(first), end.min(next));
        if start >= end {
            return (start..start, Vec::new());
        }
        let cached = self.cache.range(start..end);
        (
            start..end,
            cached.map(|(_, cached)| cached.entry.clone()).collect(),
        )
    }

    /// Where a batch from `start` has to end so that its entries are small enough together; at least one entry.
    fn bounded_end(&self, start: u64, end: u64) -> u64 {
        let mut bytes = 0;
        for (index, cached) in self.cache.range(start..end) {
            bytes += cached.bytes;
            if bytes > BATCH_BYTES && *index > start {
                return *index;
            }
        }
        let first_cached = self.cache.first_key_value().map(|(index, _)| *index);
        match first_cached {
            // Sizes of entries that are only in the file are not known here: one at a time.
            Some(first) if first <= start => end,
            _ => end.min(start + 1),
        }
    }
}

impl Shared {
    fn read_file(&self, range: std::ops::Range<u64>) -> io::Result<Vec<Entry>> {
        let read = self.db.begin_read().map_err(io::Error::other)?;
        let log = read.open_table(LOG).map_err(io::Error::other)?;
        let mut entries = Vec::new();
        for found in log.range(range).map_err(io::Error::other)? {
            let (_, bytes) = found.map_err(io::Error::other)?;
            entries.push(codec::decode(bytes.value())?);
        }
        Ok(entries)
    }

    /// The writer's thread: ends when the last handle is gone.
    fn write_all(&self, mut writes: mpsc::Receiver<Queued>, mut stored: InFile) {
        while let Some(first) = writes.blocking_recv() {
            let mut group = vec![first];
            while group.len() < self.group.load(Ordering::Relaxed)
                && let Ok(next) = writes.try_recv()
            {
                group.push(next);
            }
            let result = self
                .commit(&group, &mut stored)
                .and_then(|()| self.trace_done(&group));
            if let Err(error) = &result {
                tracing::error!("the log cannot be written: {error}");
            }
            self.answer(group, result);
        }
    }

    /// Writes the group in one transaction, and with it how far the log is committed: all of it is on disk, or none.
    fn commit(&self, group: &[Queued], stored: &mut InFile) -> io::Result<()> {
        let end = group
            .iter()
            .fold(stored.end, |end, queued| queued.write.end_after(end));
        let committed = self.state.lock().expect("no holder panics").committed;
        // What the file calls committed has to be in the file.
        let committed = committed.filter(|at| at.index < end && committed != stored.committed);
        let durable = group.iter().any(|queued| queued.write.must_be_durable());
        let store = || -> Result<(), redb::Error> {
            let mut transaction = self.db.begin_write()?;
            if !durable {
                transaction.set_durability(Durability::None)?;
            }
            {
                let mut log = transaction.open_table(LOG)?;
                let mut meta = transaction.open_table(META)?;
                for queued in group {
                    queued.write.store(&mut log, &mut meta)?;
                }
                if committed.is_some() {
                    meta.insert(COMMITTED, codec::encode(&committed).as_slice())?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        store().map_err(io::Error::other)?;
        stored.end = end;
        stored.committed = committed.or(stored.committed);
        Ok(())
    }

    fn trace_done(&self, group: &[Queued]) -> io::Result<()> {
        group
            .iter()
            .try_for_each(|queued| self.trace.done(queued.begun))
    }

    fn answer(&self, group: Vec<Queued>, result: io::Result<()>) {
        let outcome = || match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        let state = || self.state.lock().expect("no holder panics");
        for queued in group {
            if result.is_ok() && matches!(queued.write, Write::Truncate { .. }) {
                state().truncated();
            }
            match queued.write {
                Write::Append { entries, flushed } => {
                    if let (Ok(()), Some((index, _))) = (&result, entries.last()) {
                        state().appended(*index);
                    }
                    if let Some(flushed) = flushed {
                        flushed.io_completed(outcome());
                    }
                }
                Write::Vote { done, .. }
                | Write::Truncate { done, .. }
                | Write::Purge { done, .. } => {
                    // The asker may have been cancelled; the write happened all the same.
                    let _ = done.send(outcome());
                }
            }
        }
    }
}

/// What the writer knows of the file, as of its last transaction.
struct InFile {
    /// The index after the last entry.
    end: u64,
    committed: Option<LogId>,
}

impl Write {
    /// Everything, but what a planted defect has acknowledged before.
    fn must_be_durable(&self) -> bool {
        !matches!(self, Write::Append { flushed: None, .. })
    }

    /// The index after the file's last entry, when this has been written where it was `end`.
    fn end_after(&self, end: u64) -> u64 {
        match self {
            Write::Append { entries, .. } => entries.last().map_or(end, |(last, _)| last + 1),
            Write::Vote { .. } => end,
            Write::Truncate { from, .. } => end.min(*from),
            Write::Purge { upto, .. } => end.max(upto.index + 1),
        }
    }

    fn store(
        &self,
        log: &mut redb::Table<'_, u64, &'static [u8]>,
        meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
    ) -> Result<(), redb::Error> {
        match self {
            Write::Append { entries, .. } => {
                for (index, bytes) in entries {
                    log.insert(index, bytes.as_slice())?;
                }
            }
            Write::Vote { vote, .. } => {
                meta.insert(VOTE, codec::encode(vote).as_slice())?;
            }
            Write::Truncate { from, .. } => log.retain_in(*from.., |_, _| false)?,
            Write::Purge { upto, .. } => {
                log.retain_in(..=upto.index, |_, _| false)?;
                meta.insert(PURGED, codec::encode(upto).as_slice())?;
            }
        }
        Ok(())
    }
}

fn make_tables(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(LOG)?;
    transaction.open_table(META)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
