//! The planted lines themselves: one function for each defect, none of them called without `--defect`.

use std::{io, time::Duration};

use openraft::{
    ReadPolicy, ServerState,
    async_runtime::WatchReceiver,
    errors::RPCError,
    raft::{ClientWriteResponse, StreamAppendResult},
    storage::IOFlushed,
};
use redb::{Database, ReadableTable};

use super::{Defect, Planted};
use crate::node::{
    client::{Client, Fate, Refusal},
    codec,
    convert::Span,
    log_store::{COMMITTED, LOG, META},
    options::ReadMode,
    state_machine::{Found, Store},
    types::{Applied, Command, Entry, LeaderId, LogId, Types},
};

/// How long a write may take before [`optimistic_timeout`] and [`false_failure`] lose their patience: shorter than the
/// bench's own deadline, longer than a write without a fault.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long replication may bring no answer before [`phantom_stream_ack`] makes one up: an RPC's time limit.
pub(in crate::node) const PHANTOM_STALL: Duration = Duration::from_millis(150);
/// How long [`slow_read`] waits.
const DAWDLE: Duration = Duration::from_millis(50);
/// How many entries [`dropped_tail`] drops.
const TAIL: usize = 3;
/// [`holey_snapshot`] leaves out one key in so many.
const HOLE_ONE_IN: u32 = 16;

type Written = Result<ClientWriteResponse<Types>, Refusal>;

/// A write on a node that carries a defect.
pub(in crate::node) async fn write(client: &Client, defect: Defect, command: Command) -> Written {
    match defect {
        Defect::EarlyAck if is_blind(&command) => early_ack(client, command).await,
        Defect::OptimisticTimeout if is_blind(&command) => {
            optimistic_timeout(client, command).await
        }
        Defect::FalseFailure => false_failure(client, command).await,
        Defect::StaleCompare if command.condition.is_some() => stale_compare(client, command).await,
        _ => client.propose(command).await,
    }
}

/// A read on a node that carries a defect.
pub(in crate::node) async fn read(
    client: &Client,
    defect: Defect,
    key: &[u8],
) -> Result<Found, Refusal> {
    match defect {
        Defect::StaleRead => stale_read(client, key),
        Defect::FollowerRead => follower_read(client, key),
        Defect::SlowRead if client.reads == ReadMode::ReadIndex => slow_read(client, key).await,
        _ => client.read_by_mode(key).await,
    }
}

/// Whether a write's answer does not depend on what it meets: a session's does where it was asked for before, which a
/// node that answers too early does not look at either.
fn is_blind(command: &Command) -> bool {
    command.condition.is_none()
}

/// R1, etcd #741: whoever believes to lead answers from its own state: after others may have replaced it, or before it
/// has applied what its predecessor had acknowledged.
fn stale_read(client: &Client, key: &[u8]) -> Result<Found, Refusal> {
    client.planted.reach();
    client.check_leader()?;
    if !client.lease_is_live() || !has_applied_of_its_term(client) {
        client.planted.trigger();
    }
    client.read_own(key)
}

/// R2, etcd's serializable reads: any node answers from its own state.
fn follower_read(client: &Client, key: &[u8]) -> Result<Found, Refusal> {
    client.planted.reach();
    if !leads(client) {
        client.planted.trigger();
    }
    client.read_own(key)
}

/// W1, MongoDB's w:1: the answer goes out when the entry is proposed.
async fn early_ack(client: &Client, command: Command) -> Written {
    client.planted.reach();
    client.check_leader()?;
    let raft = client.raft.clone();
    let answer = next_answer(client);
    // Acknowledged by then, whatever becomes of it.
    tokio::spawn(async move { raft.client_write(command).await });
    client.planted.trigger();
    Ok(answer)
}

/// W2: a write that has not been committed in time is answered as done.
async fn optimistic_timeout(client: &Client, command: Command) -> Written {
    client.planted.reach();
    let answer = next_answer(client);
    match tokio::time::timeout(PATIENCE, client.propose(command)).await {
        Ok(written) => written,
        Err(_) => {
            client.planted.trigger();
            Ok(answer)
        }
    }
}

/// W3, RedisRaft #23: a write whose fate is not known is answered as one that was not applied.
async fn false_failure(client: &Client, command: Command) -> Written {
    client.planted.reach();
    let raft = client.clone();
    let pending = tokio::spawn(async move { raft.propose(command).await });
    match tokio::time::timeout(PATIENCE, pending).await {
        Ok(Ok(written)) => written.map_err(|refusal| {
            if refusal.fate == Fate::Unknown {
                client.planted.trigger();
            }
            Refusal {
                fate: Fate::NotApplied,
                ..refusal
            }
        }),
        // The proposal panicked: that is told by the log.
        Ok(Err(_)) => Err(too_late()),
        // It goes on without us, here or on another leader: nobody here knows, and it is said that it will not.
        Err(_) => {
            client.planted.trigger();
            Err(too_late())
        }
    }
}

fn too_late() -> Refusal {
    let code = tonic::Code::Unavailable;
    Refusal::new(code, Fate::NotApplied, "it was not carried out in time")
}

/// W5, TiDB 2.1.7: the condition is checked against what this node holds when the write is proposed.
async fn stale_compare(client: &Client, mut command: Command) -> Written {
    client.planted.reach();
    client.check_leader()?;
    let key = command
        .binlog
        .entries
        .first()
        .map(|entry| entry.key.clone());
    let found = client.read_own(&key.unwrap_or_default())?;
    let at = found.applied.unwrap_or_else(|| next_id(client));
    let condition = command.condition.take();
    if !condition.is_none_or(|condition| condition.holds(found.value.as_deref())) {
        let prior = found.value;
        return Ok(answer(at, Applied::ConditionFailed { log_id: at, prior }));
    }
    let written = client.propose(command).await?;
    if written.log_id.index != at.index + 1 {
        client.planted.trigger();
    }
    Ok(written)
}

/// Decoy: a correct read that dawdles after its leader was confirmed. What it then reads is newer, never older.
async fn slow_read(client: &Client, key: &[u8]) -> Result<Found, Refusal> {
    client.planted.reach();
    client.wait_linearizable(ReadPolicy::ReadIndex).await?;
    tokio::time::sleep(DAWDLE).await;
    client.read_own(key)
}

/// D1, NATS 2.12.1 and etcd #14370: openraft hears that the entries are on disk before they are.
pub(in crate::node) fn early_log_ack(planted: &Planted, flushed: IOFlushed<Types>) {
    planted.reach();
    planted.trigger();
    flushed.io_completed(Ok(()));
}

/// D2, hashicorp/raft #661: the vote lives in memory only; at a start it is gone.
pub(in crate::node) fn forgetful_vote(planted: &Planted) {
    planted.reach();
    planted.trigger();
}

/// D4, NATS' truncated blocks: a start takes the log's last entries for damage, and drops them.
///
/// # Errors
/// When the file cannot be written.
pub(in crate::node) fn dropped_tail(planted: &Planted, db: &Database) -> io::Result<()> {
    planted.reach();
    let drop_tail = || -> Result<(), redb::Error> {
        let transaction = db.begin_write()?;
        {
            let mut log = transaction.open_table(LOG)?;
            for _ in 0..TAIL {
                // The first entry makes the cluster; without it there is no node.
                if log.last()?.is_some_and(|(index, _)| index.value() > 1) {
                    log.pop_last()?;
                    planted.trigger();
                }
            }
            let last = log.last()?.map(|(_, bytes)| bytes.value().to_vec());
            let last = last.and_then(|bytes| codec::decode::<Entry>(&bytes).ok());
            let last = last.map(|entry| entry.log_id);
            let mut meta = transaction.open_table(META)?;
            let committed = meta.get(COMMITTED)?.map(|bytes| bytes.value().to_vec());
            let committed = committed.and_then(|b| codec::decode::<Option<LogId>>(&b).ok());
            if let (Some(last), Some(committed)) = (last, committed.flatten()) {
                let committed = Some(committed.min(last));
                meta.insert(COMMITTED, codec::encode(&committed).as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    };
    drop_tail().map_err(io::Error::other)
}

/// D6b, etcd #13766: the applied index is durable before the data of its entries.
///
/// # Errors
/// When the file cannot be written.
pub(in crate::node) fn early_applied(store: &Store, entries: &[Entry]) -> io::Result<()> {
    store.planted.reach();
    let Some(last) = entries.last() else {
        return Ok(());
    };
    if entries
        .iter()
        .any(|entry| matches!(entry.payload, openraft::EntryPayload::Normal(_)))
    {
        store.planted.trigger();
    }
    store.set_applied_alone(last.log_id)
}

/// S1, ArcadeDB #6760: whether the snapshot leaves this key out.
pub(in crate::node) fn holey_snapshot(planted: &Planted, key: &[u8]) -> bool {
    planted.reach();
    let hash = key.iter().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let left_out = hash % HOLE_ONE_IN == 0;
    if left_out {
        planted.trigger();
    }
    left_out
}

/// W4, jetcd 0.8.2: a request that comes again in its session is carried out again.
pub(in crate::node) fn repeated_request(planted: &Planted) {
    planted.reach();
    planted.trigger();
}

/// W6, RedisRaft PR #568: the snapshot leaves a session out.
pub(in crate::node) fn forgotten_sessions(planted: &Planted) {
    planted.reach();
    planted.trigger();
}

/// N2: a peer whose answer does not come is taken for one that said yes.
pub(in crate::node) fn phantom_ack<T>(planted: &Planted, error: &RPCError<Types>, yes: T) -> T {
    planted.reach();
    planted.trigger();
    tracing::warn!("taken for a yes: {error}");
    yes
}

/// N2 on a stream: what is in flight has been replicated.
pub(in crate::node) fn phantom_stream_ack(
    planted: &Planted,
    span: Span,
) -> StreamAppendResult<Types> {
    planted.reach();
    planted.trigger();
    openraft::raft::AppendEntriesResponse::Success.into_stream_result(span.prev, span.last)
}

fn leads(client: &Client) -> bool {
    let metrics = client.raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.state == ServerState::Leader
}

/// Whether what this node has applied holds an entry of the term in which it leads, and so all that was committed before.
fn has_applied_of_its_term(client: &Client) -> bool {
    let metrics = client.raft.metrics();
    let metrics = metrics.borrow_watched();
    let applied = metrics.last_applied.as_ref();
    applied.is_some_and(|at| at.leader_id.term == metrics.current_term)
}

/// The log id that the next entry gets if this node leads: what an answer names that does not wait for it.
fn next_id(client: &Client) -> LogId {
    let metrics = client.raft.metrics();
    let metrics = metrics.borrow_watched();
    let index = metrics.last_log_index.map_or(0, |index| index + 1);
    let leader_id = LeaderId {
        term: metrics.current_term,
        node_id: client.me,
    };
    LogId { leader_id, index }
}

fn next_answer(client: &Client) -> ClientWriteResponse<Types> {
    let log_id = next_id(client);
    let prior = None;
    answer(log_id, Applied::Done { log_id, prior })
}

fn answer(log_id: LogId, data: Applied) -> ClientWriteResponse<Types> {
    ClientWriteResponse {
        log_id,
        data,
        membership: None,
    }
}
