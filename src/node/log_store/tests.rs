//! What is answered is in the file, batches are bounded, and a commit position never points past the file.

use std::time::{Duration, Instant};

use openraft::EntryPayload;

use super::*;
use crate::node::types::{Binlog, BinlogEntry, Command, LeaderId, Operation};

fn put(size: usize) -> Command {
    let entry = BinlogEntry {
        cf_idx: 0,
        op: Operation::Put,
        key: b"k".to_vec(),
        value: Some(vec![b'v'; size]),
    };
    Command {
        binlog: Binlog {
            entries: vec![entry],
            ..Binlog::default()
        },
        client_id: 0,
        sequence: 0,
        condition: None,
    }
}

fn log_id(index: u64) -> LogId {
    let leader_id = LeaderId {
        term: 1,
        node_id: 1,
    };
    LogId { leader_id, index }
}

/// Opens the log; an earlier one's writer may still be on its way out.
fn open(path: &Path) -> LogStore {
    let began = Instant::now();
    loop {
        match LogStore::open(
            path,
            Trace::default(),
            &Planted::default(),
            &Disk::default(),
        ) {
            Ok(log) => return log,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_by_its_bytes_and_has_one_entry_at_least() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut log = open(&folder.path().join("log"));
    let sizes = [
        10,
        BATCH_BYTES / 3,
        BATCH_BYTES / 3,
        BATCH_BYTES / 2,
        10,
        2 * BATCH_BYTES,
        10,
    ];
    let entry = |(index, size): (u64, usize)| Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(put(size)),
    };
    let entries = (0..).zip(sizes).map(entry);
    let appended = log.append(entries, IOFlushed::noop()).await;
    appended.expect("appended");
    let end = sizes.len() as u64;
    let mut batches = Vec::new();
    let mut start = 0;
    while start < end {
        let batch = log.limited_get_log_entries(start, end).await;
        let batch = batch.expect("read");
        assert_eq!(batch[0].log_id.index, start, "{batches:?}");
        let bytes: usize = batch.iter().map(|entry| codec::encode(entry).len()).sum();
        assert!(bytes <= BATCH_BYTES || batch.len() == 1, "{bytes}");
        start += batch.len() as u64;
        batches.push(batch.len());
    }
    assert_eq!(batches, [3, 2, 1, 1]);
    sync(&mut log).await;
    // What is only in the file has a size that is not known: one at a time.
    log.state().cache.clear();
    let batch = log.limited_get_log_entries(0, end).await;
    assert_eq!(batch.expect("read").len(), 1);
}

async fn append(log: &mut LogStore, indices: std::ops::Range<u64>) {
    let entry = |index| Entry {
        log_id: log_id(index),
        payload: EntryPayload::Blank,
    };
    let appended = log.append(indices.map(entry), IOFlushed::noop()).await;
    appended.expect("appended");
}

/// Returns when everything before it is in the file.
async fn sync(log: &mut LogStore) {
    let vote = Vote {
        leader_id: log_id(0).leader_id,
        committed: true,
    };
    log.save_vote(&vote).await.expect("saved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_position_rides_with_the_next_write_and_never_points_past_the_file() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("log");
    let mut log = open(&path);
    append(&mut log, 0..3).await;
    sync(&mut log).await;
    log.save_committed(Some(log_id(1))).await.expect("saved");
    let now = log.read_committed().await.expect("read");
    assert_eq!(now, Some(log_id(1)));
    drop(log);
    let mut log = open(&path);
    let found = log.read_committed().await.expect("read");
    assert_eq!(found, None, "nothing was written after it");

    log.save_committed(Some(log_id(2))).await.expect("saved");
    append(&mut log, 3..4).await;
    sync(&mut log).await;
    // A quorum without this node has committed what is still on its way to this disk.
    log.save_committed(Some(log_id(9))).await.expect("saved");
    sync(&mut log).await;
    drop(log);
    let mut log = open(&path);
    let found = log.read_committed().await.expect("read");
    assert_eq!(found, Some(log_id(2)));
    let state = log.get_log_state().await.expect("read");
    assert_eq!(state.last_log_id, Some(log_id(3)));
}

/// A state with these entries, each of which takes a third of the cache and more.
fn with_large_entries(state: &mut State, indexes: std::ops::Range<u64>, term: u64) {
    for index in indexes {
        let leader_id = LeaderId { term, node_id: 1 };
        state.accept(Entry {
            log_id: LogId { leader_id, index },
            payload: EntryPayload::Normal(put(1)),
        });
        let cached = state.cache.get_mut(&index).expect("just accepted");
        let more = CACHE_BYTES / 3 + 1 - cached.bytes;
        cached.bytes += more;
        state.cache_bytes += more;
    }
}

#[test]
fn an_append_that_ends_after_a_truncation_lets_go_of_nothing_that_came_after_it() {
    let mut state = State::default();
    // The writer is at work on entries 0 to 9 when all but two are cut away, and others take their place.
    with_large_entries(&mut state, 0..2, 1);
    for index in 2..10 {
        state.accept(Entry {
            log_id: log_id(index),
            payload: EntryPayload::Blank,
        });
    }
    state.truncate(2, Some(log_id(1)));
    with_large_entries(&mut state, 2..5, 2);
    state.appended(9);
    let cached: Vec<u64> = state.cache.keys().copied().collect();
    assert_eq!(
        cached,
        [2, 3, 4],
        "the file has only the first two, and old ones"
    );
    // The file has the cut, and then what came after it.
    state.truncated();
    assert_eq!(state.durable_below, 2);
    with_large_entries(&mut state, 5..6, 2);
    state.appended(4);
    let cached: Vec<u64> = state.cache.keys().copied().collect();
    assert_eq!(cached, [4, 5]);
}

#[test]
fn of_two_truncations_under_way_the_lower_one_counts_until_it_is_in_the_file() {
    let mut state = State::default();
    with_large_entries(&mut state, 0..1, 1);
    state.truncate(0, None);
    with_large_entries(&mut state, 0..4, 2);
    state.truncate(3, Some(log_id(2)));
    state.appended(0);
    assert_eq!(state.durable_below, 0);
    state.truncated();
    state.appended(3);
    assert_eq!(state.durable_below, 3);
    // One that has nothing to cut is in the file like any other.
    state.truncate(7, None);
    assert_eq!(state.cuts, [3, 7]);
    state.truncated();
    state.truncated();
    assert!(state.cuts.is_empty());
}
