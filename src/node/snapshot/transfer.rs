//! A snapshot over the wire: out in checked chunks, in to a file.
//!
//! The first chunk announces the snapshot; each has its offset and CRC-32; the last says `done`. The receiver answers
//! with its vote: at once if the sender has been deposed, else after the snapshot has been installed.

use std::{sync::Arc, time::Duration};

use openraft::storage::Snapshot;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{CHUNK_BYTES, Incoming, NodeSnapshot, SnapshotFile};
use crate::{
    node::{
        convert,
        network::Client,
        types::{LogId, Raft, SnapshotMeta, Vote},
    },
    wire::kiwi,
};

/// Installing takes as long as this many chunks, at least.
const INSTALL_CHUNKS: u32 = 25;

/// Sends the snapshot in chunks of so many bytes; each may take `ttl`.
///
/// # Errors
/// The peer's refusal, or DEADLINE_EXCEEDED when it stops taking chunks or does not answer after the last.
pub(crate) async fn send(
    mut client: Client,
    vote: Vote,
    snapshot: NodeSnapshot,
    chunk_bytes: u64,
    ttl: Duration,
) -> Result<kiwi::InstallSnapshotResponse, Status> {
    let chunks = u32::try_from(snapshot.snapshot.length() / chunk_bytes + 1).unwrap_or(u32::MAX);
    let install_time = ttl.saturating_mul(chunks.max(INSTALL_CHUNKS));
    let (queue, chunks) = mpsc::channel(2);
    let late = || Status::deadline_exceeded("the peer is too slow for the snapshot");
    let feed = async move {
        feed(queue, vote, snapshot, chunk_bytes, ttl).await?;
        tokio::time::sleep(install_time).await;
        Err(late())
    };
    tokio::select! {
        // An early answer ends the feeding.
        answer = client.install_snapshot(ReceiverStream::new(chunks)) => Ok(answer?.into_inner()),
        failed = feed => failed,
    }
}

/// Puts the chunks into the queue; a closed queue means that the call has its answer, which the caller sees.
async fn feed(
    queue: mpsc::Sender<kiwi::InstallSnapshotRequest>,
    vote: Vote,
    snapshot: NodeSnapshot,
    chunk_bytes: u64,
    ttl: Duration,
) -> Result<(), Status> {
    let file = Arc::new(snapshot.snapshot);
    let mut chunk = convert::snapshot_meta_out(vote, &snapshot.meta, file.id());
    let mut offset = 0;
    loop {
        let reader = file.clone();
        let read = tokio::task::spawn_blocking(move || reader.chunk(offset, chunk_bytes));
        let data = read
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        chunk.offset = offset;
        chunk.crc = crc32fast::hash(&data);
        offset += data.len() as u64;
        chunk.done = offset >= file.length();
        chunk.data = data.into();
        let done = chunk.done;
        match tokio::time::timeout(ttl, queue.send(chunk)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Ok(()),
            Err(_) => return Err(Status::deadline_exceeded("the peer takes no chunk")),
        }
        if done {
            return Ok(());
        }
        chunk = kiwi::InstallSnapshotRequest {
            term: vote.leader_id.term,
            leader_id: vote.leader_id.node_id,
            snapshot_id: file.id().to_owned(),
            ..Default::default()
        };
    }
}

/// Receives a snapshot and installs it; gives the answer: this node's vote, and whether the sender's was good enough.
///
/// # Errors
/// When a chunk is malformed, out of place or damaged, the snapshot contradicts what is committed here, the stream ends
/// early, or Raft has stopped.
pub(crate) async fn receive(
    raft: &Raft,
    folder: &std::path::Path,
    mut chunks: Streaming<kiwi::InstallSnapshotRequest>,
) -> Result<kiwi::InstallSnapshotResponse, Status> {
    let first = chunks
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("no chunk came"))?;
    let (vote, meta) = convert::snapshot_meta(&first)?;
    if let Some(newer) = deposed(raft, vote, &meta).await? {
        return Ok(answer(vote, newer));
    }
    let id = first.snapshot_id.clone();
    let mut incoming = Incoming::begin(folder)?;
    let mut chunk = first;
    loop {
        check(&chunk, &id, incoming.length())?;
        let (data, done) = (chunk.data, chunk.done);
        incoming = tokio::task::spawn_blocking(move || incoming.write(&data).map(|()| incoming))
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        if done {
            break;
        }
        let next = chunks.message().await?;
        chunk = next.ok_or_else(|| Status::invalid_argument("the snapshot ends early"))?;
    }
    let file = finish(incoming, meta.clone()).await?;
    // More may have been committed while the chunks came.
    if let Some(newer) = deposed(raft, vote, &meta).await? {
        return Ok(answer(vote, newer));
    }
    let snapshot = Snapshot {
        meta,
        snapshot: file,
    };
    let installed = raft.install_full_snapshot(vote, snapshot).await;
    let installed = installed.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
    Ok(answer(vote, installed.vote))
}

/// This node's vote, if it is newer than the sender's.
///
/// # Errors
/// INVALID_ARGUMENT for what no leader sends: openraft holds it for a damaged store, and ends the node.
async fn deposed(raft: &Raft, vote: Vote, meta: &SnapshotMeta) -> Result<Option<Vote>, Status> {
    let state = raft.with_raft_state(|state| (*state.vote_ref(), state.local_committed().copied()));
    let state = state.await;
    let (mine, committed) = state.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
    if mine > vote {
        return Ok(Some(mine));
    }
    if contradicts(meta.last_log_id, committed) {
        return Err(Status::invalid_argument(
            "the snapshot contradicts what is committed here",
        ));
    }
    Ok(None)
}

/// Whether the snapshot's last entry is newer than the last that is committed, and not behind it in the log.
fn contradicts(last: Option<LogId>, committed: Option<LogId>) -> bool {
    let (Some(last), Some(committed)) = (last, committed) else {
        return false;
    };
    last > committed && last.index <= committed.index
}

/// A newer vote than the sender's means that the snapshot was not taken.
fn answer(asked: Vote, mine: Vote) -> kiwi::InstallSnapshotResponse {
    kiwi::InstallSnapshotResponse {
        success: mine <= asked,
        vote: Some(mine.into()),
    }
}

async fn finish(incoming: Incoming, meta: SnapshotMeta) -> Result<SnapshotFile, Status> {
    let finished = tokio::task::spawn_blocking(move || incoming.finish(&meta)).await;
    let finished = finished.map_err(|error| Status::internal(error.to_string()))?;
    finished.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            Status::invalid_argument(error.to_string())
        }
        _ => error.into(),
    })
}

fn check(chunk: &kiwi::InstallSnapshotRequest, id: &str, expected: u64) -> Result<(), Status> {
    if chunk.snapshot_id != id {
        return Err(Status::invalid_argument("a chunk of another snapshot"));
    }
    if chunk.offset != expected {
        let found = chunk.offset;
        return Err(Status::invalid_argument(format!(
            "the chunk belongs at {found}, but {expected} bytes have come"
        )));
    }
    if chunk.data.len() > CHUNK_BYTES {
        return Err(Status::invalid_argument("the chunk is too large"));
    }
    if crc32fast::hash(&chunk.data) != chunk.crc {
        return Err(Status::data_loss("the chunk's checksum is wrong"));
    }
    Ok(())
}
