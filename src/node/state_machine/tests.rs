//! openraft's own suite, and what sessions promise: once, and a part of the state that nodes compare.

use openraft::{
    StorageError,
    storage::RaftSnapshotBuilder,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::*;
use crate::node::{
    log_store::LogStore,
    types::{Binlog, BinlogEntry, Condition, LeaderId},
};

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("temporary directory");
        let log = LogStore::open(
            &folder.path().join("log"),
            Trace::default(),
            &Planted::default(),
            &Disk::default(),
        )
        .expect("log");
        let state = open(&folder, None);
        Ok((folder, log, state))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_own_storage_suite_passes() {
    Suite::test_all(Builder).await.expect("the suite");
}

fn open(folder: &TempDir, defect: Option<Defect>) -> StateMachine {
    let opened = StateMachine::open(
        &folder.path().join("state"),
        &folder.path().join("snapshots"),
        Trace::default(),
        &Planted::new(defect),
        &Disk::default(),
    );
    opened.expect("state")
}

/// An entry that sets `k`, in a session or outside of one, where it holds `expected`.
fn put(index: u64, session: (u64, u64), value: &str, expected: Option<&str>) -> Entry {
    let leader_id = LeaderId {
        term: 1,
        node_id: 1,
    };
    let entry = BinlogEntry {
        cf_idx: 0,
        op: Operation::Put,
        key: b"k".to_vec(),
        value: Some(value.into()),
    };
    let (client_id, sequence) = session;
    Entry {
        log_id: LogId { leader_id, index },
        payload: EntryPayload::Normal(Command {
            binlog: Binlog {
                entries: vec![entry],
                ..Binlog::default()
            },
            client_id,
            sequence,
            condition: expected.map(|value| Condition::Value(value.into())),
        }),
    }
}

/// The hash of a state that has applied these.
fn hash_of(entries: &[Entry]) -> StateHash {
    let folder = tempfile::tempdir().expect("temporary directory");
    let state = open(&folder, None);
    state.store.apply(entries).expect("applied");
    state.hash().expect("hash")
}

#[test]
fn states_that_would_answer_a_repetition_otherwise_have_other_hashes() {
    let none = hash_of(&[put(1, (0, 0), "a", None)]);
    let in_session = hash_of(&[put(1, (7, 1), "a", None)]);
    assert_eq!((none.keys, none.applied), (1, in_session.applied));
    assert_ne!(
        none.hash, in_session.hash,
        "one of them would apply it again"
    );
    assert_eq!(in_session, hash_of(&[put(1, (7, 1), "a", None)]));
    for other in [(7, 2), (8, 1)] {
        let other = hash_of(&[put(1, other, "a", None)]);
        assert_ne!(in_session.hash, other.hash);
    }
}

/// What `k` holds, and what was answered, where a compare-and-set comes twice and another write between.
fn after_a_repetition(defect: Option<Defect>) -> (Option<Vec<u8>>, Vec<Applied>) {
    let folder = tempfile::tempdir().expect("temporary directory");
    let state = open(&folder, defect);
    let answers = state.store.apply(&[
        put(1, (0, 0), "a", None),
        put(2, (7, 1), "b", Some("a")),
        put(3, (0, 0), "a", None),
        put(4, (7, 1), "b", Some("a")),
    ]);
    let found = state.read(b"k").expect("read");
    (found.value, answers.expect("applied"))
}

#[test]
fn a_repetition_is_answered_and_not_applied_but_with_the_defect() {
    let (held, answers) = after_a_repetition(None);
    assert_eq!(held.as_deref(), Some(b"a".as_slice()));
    assert_eq!(answers[3], answers[1], "as the first one was");
    let (held, answers) = after_a_repetition(Some(Defect::RepeatedRequest));
    assert_eq!(held.as_deref(), Some(b"b".as_slice()), "applied twice");
    assert_ne!(answers[3], answers[1]);
}

/// Whether a state that was installed from a snapshot has the hash of the one that built it.
async fn a_snapshot_keeps_the_hash(defect: Option<Defect>) -> bool {
    let [built_in, installed_in] = [(), ()].map(|()| tempfile::tempdir().expect("folder"));
    let mut builder = open(&built_in, defect);
    let entries = [put(1, (7, 1), "a", None), put(2, (9, 4), "b", None)];
    builder.store.apply(&entries).expect("applied");
    let built = builder.get_snapshot_builder().await.build_snapshot().await;
    let built = built.expect("built");
    let mut installer = open(&installed_in, defect);
    let kept = builder.get_current_snapshot().await.expect("read");
    let kept = kept.expect("it has just been built");
    let installed = installer.install_snapshot(&built.meta, kept.snapshot).await;
    installed.expect("installed");
    let (from, to) = (
        builder.hash().expect("hash"),
        installer.hash().expect("hash"),
    );
    assert_eq!((from.applied, from.keys), (to.applied, to.keys));
    from.hash == to.hash
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_in_snapshots_and_it_shows_where_they_are_not() {
    assert!(a_snapshot_keeps_the_hash(None).await);
    assert!(!a_snapshot_keeps_the_hash(Some(Defect::ForgottenSessions)).await);
}
