//! The replicated store: committed entries in, answers out; one redb file.
//!
//! Data, sessions, membership and the last applied log id change in one transaction. It is not synced for each entry
//! (the log is durable, and `committed` is saved with it), but always before the log may be purged: building and
//! installing a snapshot do it. After a crash openraft applies again what is missing.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftStateMachine, Snapshot},
};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    Table, TableDefinition, WriteTransaction,
};

use super::{
    codec,
    defect::{Defect, Planted, hooks},
    disk::Disk,
    snapshot::{Current, SnapshotBuilder, SnapshotFile},
    trace::Trace,
    types::{Applied, Command, Entry, LogId, Operation, SnapshotMeta, StoredMembership, Types},
};

/// Key to value.
pub(super) const DATA: TableDefinition<&[u8], &[u8]> = TableDefinition::new("data");
/// Client id to its encoded [`Session`].
pub(super) const SESSIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("sessions");
/// Log index of a session's last use to its client id: the order in which sessions are forgotten.
pub(super) const SESSION_AGES: TableDefinition<u64, u64> = TableDefinition::new("session_ages");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";

/// Sessions that are remembered; the one unused for longest is forgotten first, on every node at the same entry.
const MAX_SESSIONS: u64 = 65_536;
/// Entries after which the file is synced though no snapshot asked for it: unsynced pages are held in memory.
const SYNC_EVERY: u64 = 4096;

/// What a client asked for last, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Session {
    pub(super) sequence: u64,
    pub(super) used_at: u64,
    pub(super) answer: Applied,
}

/// A handle on the store; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct StateMachine {
    pub(super) store: Arc<Store>,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) db: Database,
    /// Where snapshots are kept, and which one is current.
    pub(super) folder: PathBuf,
    pub(super) current: Mutex<Option<Current>>,
    unsynced: AtomicU64,
    pub(super) trace: Trace,
    pub(super) planted: Planted,
}

/// A key's value as of one applied log id.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) applied: Option<LogId>,
}

/// A hash over the whole store as of one applied log id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StateHash {
    pub(crate) applied: Option<LogId>,
    pub(crate) hash: u128,
    pub(crate) keys: u64,
}

/// Every key and value as of one applied log id.
#[derive(Debug)]
pub(crate) struct StateDump {
    pub(crate) applied: Option<LogId>,
    pub(crate) rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl StateMachine {
    /// Opens or makes the store at `file`, with its snapshots in `folder`.
    ///
    /// # Errors
    /// When either cannot be opened or read.
    pub(crate) fn open(
        file: &Path,
        folder: &Path,
        trace: Trace,
        planted: &Planted,
        disk: &Disk,
    ) -> io::Result<StateMachine> {
        let db = disk.database(file)?;
        let make = || -> Result<(), redb::Error> {
            let transaction = db.begin_write()?;
            transaction.open_table(DATA)?;
            transaction.open_table(SESSIONS)?;
            transaction.open_table(SESSION_AGES)?;
            transaction.open_table(META)?;
            transaction.commit()?;
            Ok(())
        };
        make().map_err(io::Error::other)?;
        let current = super::snapshot::open_folder(folder)?;
        let store = Store {
            db,
            folder: folder.to_owned(),
            current: Mutex::new(current),
            unsynced: AtomicU64::new(0),
            trace,
            planted: planted.clone(),
        };
        Ok(StateMachine {
            store: Arc::new(store),
        })
    }

    /// The last applied log id, and that of the current snapshot: for the trace's first line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn stored(&self) -> io::Result<(Option<LogId>, Option<LogId>)> {
        let applied = applied_state(&self.store.begin_read()?)?.0;
        let current = self.store.current.lock().expect("no holder panics");
        Ok((applied, current.as_ref().and_then(Current::last)))
    }

    /// Reads one key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(&self, key: &[u8]) -> io::Result<Found> {
        let read = self.store.begin_read()?;
        let data = read.open_table(DATA).map_err(io::Error::other)?;
        let value = data.get(key).map_err(io::Error::other)?;
        Ok(Found {
            value: value.map(|guard| guard.value().to_vec()),
            applied: applied_state(&read)?.0,
        })
    }

    /// Hashes all keys and values, in the order of the keys, and then all sessions, in the order of their clients: what
    /// a repeated request will be answered is a part of the state (FNV-1a, 128 bits, lengths included).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn hash(&self) -> io::Result<StateHash> {
        let read = self.store.begin_read()?;
        let data = read.open_table(DATA).map_err(io::Error::other)?;
        let mut hash = Fnv::default();
        let mut keys: u64 = 0;
        for row in data.iter().map_err(io::Error::other)? {
            let (key, value) = row.map_err(io::Error::other)?;
            for bytes in [key.value(), value.value()] {
                hash.update(&(bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
            keys += 1;
        }
        hash.update(&keys.to_le_bytes());
        let sessions = read.open_table(SESSIONS).map_err(io::Error::other)?;
        for row in sessions.iter().map_err(io::Error::other)? {
            let (client, session) = row.map_err(io::Error::other)?;
            hash.update(&client.value().to_le_bytes());
            hash.update(&(session.value().len() as u64).to_le_bytes());
            hash.update(session.value());
        }
        Ok(StateHash {
            applied: applied_state(&read)?.0,
            hash: hash.0,
            keys,
        })
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn dump(&self) -> io::Result<StateDump> {
        let read = self.store.begin_read()?;
        let data = read.open_table(DATA).map_err(io::Error::other)?;
        let mut rows = Vec::new();
        for row in data.iter().map_err(io::Error::other)? {
            let (key, value) = row.map_err(io::Error::other)?;
            rows.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(StateDump {
            applied: applied_state(&read)?.0,
            rows,
        })
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        applied_state(&self.store.begin_read()?)
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        while let Some(next) = entries.next().await {
            batch.push(next?);
        }
        let store = self.store.clone();
        let applied = tokio::task::spawn_blocking(move || {
            let (entries, responders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let answers = store.apply(&entries)?;
            for (answer, responder) in answers.into_iter().zip(responders) {
                if let Some(responder) = responder {
                    responder.send(answer);
                }
            }
            Ok(())
        });
        applied.await.map_err(io::Error::other)?
    }

    /// The builder holds a read transaction: data, sessions and applied id of one moment, whatever is applied after it.
    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(self.store.clone())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotFile,
    ) -> io::Result<()> {
        let (store, meta) = (self.store.clone(), meta.clone());
        let installed = tokio::task::spawn_blocking(move || store.install(&meta, data));
        installed.await.map_err(io::Error::other)?
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<
        Option<Snapshot<super::types::LeaderId, u64, super::types::Address, SnapshotFile>>,
    > {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.current_snapshot());
        read.await.map_err(io::Error::other)?
    }
}

impl Store {
    pub(super) fn begin_read(&self) -> io::Result<ReadTransaction> {
        self.db.begin_read().map_err(io::Error::other)
    }

    /// Applies a batch in one transaction; gives one answer for each entry.
    fn apply(&self, entries: &[Entry]) -> io::Result<Vec<Applied>> {
        let begun = self.trace.apply(entries)?;
        if self.planted.is(Defect::EarlyApplied) {
            hooks::early_applied(self, entries)?;
        }
        let count = entries.len() as u64;
        let sync = self.unsynced.fetch_add(count, Ordering::Relaxed) + count >= SYNC_EVERY;
        let run = || -> Result<Vec<Applied>, redb::Error> {
            let mut transaction = self.db.begin_write()?;
            if !sync {
                transaction.set_durability(Durability::None)?;
            }
            let answers = Tables::open(&transaction)?.apply_all(entries, &self.planted)?;
            transaction.commit()?;
            Ok(answers)
        };
        let answers = run().map_err(io::Error::other)?;
        self.trace.done(begun)?;
        if sync {
            self.unsynced.store(0, Ordering::Relaxed);
        }
        Ok(answers)
    }

    /// Makes an applied log id durable, and with it all that was applied before. Only a defect does it alone.
    pub(super) fn set_applied_alone(&self, applied: LogId) -> io::Result<()> {
        let run = || -> Result<(), redb::Error> {
            let transaction = self.db.begin_write()?;
            Tables::open(&transaction)?.set_applied(applied)?;
            transaction.commit()?;
            Ok(())
        };
        run().map_err(io::Error::other)
    }

    /// Makes durable all that has been applied.
    pub(super) fn sync(&self) -> io::Result<()> {
        let run = || -> Result<(), redb::Error> {
            let transaction = self.db.begin_write()?;
            {
                // A transaction that changes nothing might be skipped; this one rewrites what it finds.
                let mut meta = transaction.open_table(META)?;
                let applied = meta.get(APPLIED)?.map(|bytes| bytes.value().to_vec());
                if let Some(applied) = applied {
                    meta.insert(APPLIED, applied.as_slice())?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        run().map_err(io::Error::other)?;
        self.unsynced.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// The last applied log id and membership, as one transaction sees them.
pub(super) fn applied_state(
    read: &ReadTransaction,
) -> io::Result<(Option<LogId>, StoredMembership)> {
    let meta = read.open_table(META).map_err(io::Error::other)?;
    let applied = match meta.get(APPLIED).map_err(io::Error::other)? {
        Some(bytes) => Some(codec::decode(bytes.value())?),
        None => None,
    };
    let membership = match meta.get(MEMBERSHIP).map_err(io::Error::other)? {
        Some(bytes) => codec::decode(bytes.value())?,
        None => StoredMembership::default(),
    };
    Ok((applied, membership))
}

/// The open tables of one write transaction.
pub(super) struct Tables<'t> {
    pub(super) data: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) sessions: Table<'t, u64, &'static [u8]>,
    pub(super) ages: Table<'t, u64, u64>,
    meta: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            data: transaction.open_table(DATA)?,
            sessions: transaction.open_table(SESSIONS)?,
            ages: transaction.open_table(SESSION_AGES)?,
            meta: transaction.open_table(META)?,
        })
    }

    pub(super) fn set_applied(&mut self, applied: LogId) -> Result<(), redb::Error> {
        self.meta
            .insert(APPLIED, codec::encode(&applied).as_slice())?;
        Ok(())
    }

    pub(super) fn set_membership(
        &mut self,
        membership: &StoredMembership,
    ) -> Result<(), redb::Error> {
        self.meta
            .insert(MEMBERSHIP, codec::encode(membership).as_slice())?;
        Ok(())
    }

    fn apply_all(
        &mut self,
        entries: &[Entry],
        planted: &Planted,
    ) -> Result<Vec<Applied>, redb::Error> {
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let answer = match &entry.payload {
                EntryPayload::Blank => Applied::Nothing,
                EntryPayload::Normal(command) => {
                    self.apply_command(entry.log_id, command, planted)?
                }
                EntryPayload::Membership(membership) => {
                    let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
                    self.set_membership(&stored)?;
                    Applied::Nothing
                }
            };
            answers.push(answer);
        }
        if let Some(last) = entries.last() {
            self.set_applied(last.log_id)?;
        }
        Ok(answers)
    }

    /// Carries a command out once: a repeated (client, sequence) is answered as the first one was.
    fn apply_command(
        &mut self,
        log_id: LogId,
        command: &Command,
        planted: &Planted,
    ) -> Result<Applied, redb::Error> {
        if command.client_id == 0 {
            return self.execute(log_id, command);
        }
        let session = self.session(command.client_id)?;
        match &session {
            Some(session) if session.sequence == command.sequence => {
                if planted.is(Defect::RepeatedRequest) {
                    hooks::repeated_request(planted);
                } else {
                    return Ok(session.answer.clone());
                }
            }
            Some(session) if session.sequence > command.sequence => {
                return Ok(Applied::Superseded {
                    last: session.sequence,
                });
            }
            _ => {}
        }
        let answer = self.execute(log_id, command)?;
        let new = Session {
            sequence: command.sequence,
            used_at: log_id.index,
            answer: answer.clone(),
        };
        if let Some(old) = session {
            self.ages.remove(old.used_at)?;
        }
        self.put_session(command.client_id, &new)?;
        self.forget_old_sessions()?;
        Ok(answer)
    }

    fn session(&self, client: u64) -> Result<Option<Session>, redb::Error> {
        let found = self.sessions.get(client)?;
        let decoded = found.map(|bytes| codec::decode(bytes.value())).transpose();
        decoded.map_err(redb::Error::Io)
    }

    pub(super) fn put_session(
        &mut self,
        client: u64,
        session: &Session,
    ) -> Result<(), redb::Error> {
        self.sessions
            .insert(client, codec::encode(session).as_slice())?;
        self.ages.insert(session.used_at, client)?;
        Ok(())
    }

    fn forget_old_sessions(&mut self) -> Result<(), redb::Error> {
        while self.sessions.len()? > MAX_SESSIONS {
            let oldest = self.ages.pop_first()?.map(|(_, client)| client.value());
            let Some(client) = oldest else { break };
            self.sessions.remove(client)?;
        }
        Ok(())
    }

    fn execute(&mut self, log_id: LogId, command: &Command) -> Result<Applied, redb::Error> {
        let mut prior = None;
        if let (Some(condition), Some(first)) = (&command.condition, command.binlog.entries.first())
        {
            prior = self
                .data
                .get(first.key.as_slice())?
                .map(|guard| guard.value().to_vec());
            if !condition.holds(prior.as_deref()) {
                return Ok(Applied::ConditionFailed { log_id, prior });
            }
        }
        for entry in &command.binlog.entries {
            match (entry.op, &entry.value) {
                (Operation::Put, value) => {
                    let value = value.as_deref().unwrap_or_default();
                    self.data.insert(entry.key.as_slice(), value)?;
                }
                (Operation::Delete, _) => {
                    self.data.remove(entry.key.as_slice())?;
                }
                (Operation::NoOp, _) => {}
            }
        }
        Ok(Applied::Done { log_id, prior })
    }

    /// Empties the store, before a snapshot takes its place.
    pub(super) fn clear(&mut self) -> Result<(), redb::Error> {
        self.data.retain(|_, _| false)?;
        self.sessions.retain(|_, _| false)?;
        self.ages.retain(|_, _| false)?;
        self.meta.retain(|_, _| false)?;
        Ok(())
    }
}

/// FNV-1a of 128 bits. It tells states apart that differ by accident; it is no defence against malice.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u128::from(*byte);
            self.0 = self
                .0
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

/// The sessions of a read transaction, for a snapshot.
pub(super) fn all_sessions(read: &ReadTransaction) -> io::Result<BTreeMap<u64, Session>> {
    let sessions = read.open_table(SESSIONS).map_err(io::Error::other)?;
    let mut all = BTreeMap::new();
    for row in sessions.iter().map_err(io::Error::other)? {
        let (client, bytes) = row.map_err(io::Error::other)?;
        all.insert(client.value(), codec::decode(bytes.value())?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
