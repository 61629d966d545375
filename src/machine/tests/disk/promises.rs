//! Databases that lose power: what they promised is there afterwards, exactly where their syncs were honest.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use machine::disk::harm::{Harms, SyncHarm};
use machine::disk::undo::PowerLoss;

use crate::databases::etcd::{self, Etcd};
use crate::databases::wire::base64;
use crate::databases::zookeeper;
use crate::databases::{cluster, redis, sqlite};
use crate::node::Node;
use crate::support::{PATIENCE, until};

#[test]
fn redis_keeps_what_it_acknowledged_exactly_where_it_synced_and_the_sync_was_true() {
    if !crate::support::installed::here(&["redis-server"]) {
        return;
    }
    assert_eq!(redis::keeps("always", SyncHarm::None), ":50");
    assert_eq!(redis::keeps("no", SyncHarm::None), ":0");
    assert_eq!(redis::keeps("always", SyncHarm::Lie), ":0");
}

#[test]
fn redis_that_syncs_every_second_keeps_all_but_what_came_after_that() {
    if !crate::support::installed::here(&["redis-server", "python3"]) {
        return;
    }
    assert_eq!(redis::keeps_what_a_second_has_synced(), ":50");
}

#[test]
fn sqlite_with_full_syncs_loses_nothing_that_it_committed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    assert_eq!(sqlite::loses("full", 6, |_| PowerLoss::Strict), 0);
    assert_eq!(sqlite::loses("full", 6, PowerLoss::Subset), 0);
    assert_eq!(sqlite::loses("full", 6, PowerLoss::Torn), 0);
}

#[test]
fn sqlite_without_syncs_loses_what_it_committed() {
    if !crate::support::installed::here(&["python3"]) {
        return;
    }
    assert!(sqlite::loses("off", 6, |_| PowerLoss::Strict) > 0);
}

/// Go interrupts its own threads with a signal every 10 ms; a call that waits must not begin again because of it.
#[test]
fn etcd_bears_a_held_sync_and_loses_nothing_that_it_acknowledged() {
    if !crate::support::installed::here(&["etcd", "python3"]) {
        return;
    }
    let node = Node::new();
    let mut etcd = Etcd::start(&node);
    let mut acknowledged = BTreeSet::from(["start".to_owned()]);
    for key in 0..20 {
        assert!(etcd.put(&format!("key{key}"), PATIENCE));
        acknowledged.insert(format!("key{key}"));
    }
    node.disk.harm(Harms {
        sync: SyncHarm::Held,
        ..Harms::default()
    });
    let answered = AtomicBool::new(false);
    thread::scope(|scope| {
        let etcd = &etcd;
        let put = scope.spawn(|| {
            let done = etcd.put("held", PATIENCE);
            answered.store(true, Ordering::Relaxed);
            done
        });
        until("a sync that is under way", || {
            node.disk.state().syncs_under_way > 0
        });
        let begun = node.disk.state();
        // A while under signals: nothing ends, nothing begins twice.
        thread::sleep(Duration::from_millis(500));
        assert!(
            !answered.load(Ordering::Relaxed),
            "it was acknowledged without its sync"
        );
        assert_eq!(node.disk.state().syncs, begun.syncs);
        node.disk.harm(Harms::default());
        assert!(
            put.join().expect("it asks"),
            "it goes on when the sync ends"
        );
    });
    acknowledged.insert("held".to_owned());
    // Now one that is never acknowledged: the power goes while its sync is held.
    node.disk.harm(Harms {
        sync: SyncHarm::Held,
        ..Harms::default()
    });
    assert!(!etcd.put("lost", Duration::from_millis(300)));
    etcd.program.kill().expect("it can be killed");
    node.lose_power();
    node.disk.harm(Harms::default());

    let mut etcd = Etcd::start(&node);
    let expected: BTreeSet<String> = acknowledged.iter().map(|key| base64(key)).collect();
    assert_eq!(etcd.keys(), expected);
    assert_eq!(node.disk.state().limits, Vec::<String>::new());
    etcd.program.kill().expect("it can be killed");
}

#[test]
fn etcd_loses_nothing_that_it_acknowledged_while_its_syncs_are_true() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    assert_eq!(etcd::loses(4, SyncHarm::None), 0);
}

#[test]
fn etcd_loses_what_it_acknowledged_where_its_syncs_lied() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    assert!(etcd::loses(1, SyncHarm::Lie) > 0);
}

#[test]
fn three_etcd_lose_nothing_that_they_acknowledged_whichever_of_them_lose_power() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let seen = cluster::lose_power(6, SyncHarm::None);
    assert!(seen.losses >= 6 && seen.acknowledged > 100, "{seen:?}");
    assert_eq!((seen.lost, seen.dead), (0, 0), "{seen:?}");
}

#[test]
fn three_etcd_whose_syncs_lie_are_found_out() {
    if !crate::support::installed::here(&["etcd"]) {
        return;
    }
    let seen = cluster::lose_power(3, SyncHarm::Lie);
    assert!(seen.lost > 0 || seen.dead > 0, "{seen:?}");
}

#[test]
fn zookeeper_keeps_what_it_acknowledged_where_its_syncs_are_true() {
    if !crate::support::installed::here(&["java", zookeeper::JAR]) {
        return;
    }
    let (acknowledged, lost) = zookeeper::loses(2, SyncHarm::None);
    assert!(acknowledged >= 60, "{acknowledged}");
    assert_eq!(lost, 0);
    let (_, lost) = zookeeper::loses(1, SyncHarm::Lie);
    assert!(lost > 0);
}
