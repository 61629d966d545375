//! The disks and limits of real nodes: what is not synced is lost and nothing else, a disk that fails or lies is noticed or
//! acknowledges nothing, and what is healed is whole.

#[path = "support/stage.rs"]
mod stage;
mod support;

use std::time::Instant;

use futures::future::join_all;
use stage::Stage;
use support::bench::{Bench, MS, NODES, SOON, other_than};
use whitewater::cluster::{Equipment, Limit};
use whitewater::fault::{DiskHarm, Fault, Remains};
use whitewater::journal::{Event, NodeStatus};
use whitewater::nemesis::Order;
use whitewater::proxy::Level;
use whitewater::target::kiwi::KiwiConfig;
use whitewater::target::{DiskProof, DiskSwitches};

/// Three nodes whose disks can lose power and go wrong.
async fn with_disks(change: impl FnOnce(&mut KiwiConfig)) -> Bench {
    let equipment = Equipment {
        disk: true,
        reads: true,
        ..Equipment::default()
    };
    Bench::start_on(equipment, Level::Messages, change).await
}

/// Harms these nodes' disks while the key "work" is written again and again: a harm is believed once a call has met it.
async fn harm_at_work(bench: &Bench, nodes: &[u64], wrong: DiskSwitches) -> Vec<DiskProof> {
    bench.write_somewhere("work").await;
    let set = join_all(nodes.iter().map(|&id| bench.cluster.set_disk(id, wrong)));
    let work = async {
        loop {
            let leads = bench.cluster.wait_for_leader(&NODES, 20 * MS).await;
            if let Ok(seen) = leads {
                // Who is harmed may refuse it.
                let _ = bench.write(seen.leader, "work").await;
            }
        }
    };
    tokio::select! {
        seen = set => seen.into_iter().map(Result::unwrap).collect(),
        () = work => unreachable!("it goes on for ever"),
    }
}

/// Writes one key after the other and cuts everybody's power; gives how many of them are left.
async fn left_after_power_losses(change: impl FnOnce(&mut KiwiConfig)) -> (u64, u64) {
    let bench = with_disks(change).await;
    let mut written = 0;
    for _ in 0..2 {
        for _ in 0..10 {
            bench.write_somewhere(&format!("k{written}")).await;
            written += 1;
        }
        bench.power_loss(&NODES).await;
    }
    bench.write_somewhere("after").await;
    (bench.agree().await.keys - 1, written)
}

#[tokio::test]
async fn a_power_loss_of_all_loses_nothing_that_was_acknowledged() {
    let (left, written) = left_after_power_losses(|_| ()).await;
    assert_eq!(left, written);
}

#[tokio::test]
async fn a_power_loss_with_writes_half_written_back_loses_nothing_that_was_acknowledged() {
    let bench = with_disks(|_| ()).await;
    let mut written = 0;
    for _ in 0..4 {
        for id in NODES {
            let some = DiskSwitches {
                write_back_per_mille: 600,
                ..DiskSwitches::default()
            };
            bench.cluster.set_disk(id, some).await.unwrap();
        }
        for _ in 0..10 {
            bench.write_somewhere(&format!("k{written}")).await;
            written += 1;
        }
        bench.power_loss(&NODES).await;
    }
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys - 1, written);
}

#[tokio::test]
async fn a_power_loss_of_all_loses_what_was_acknowledged_before_it_was_synced() {
    let early = |config: &mut KiwiConfig| config.defect = Some("early-log-ack".to_owned());
    let (left, written) = left_after_power_losses(early).await;
    assert!(left < written, "{left} of {written} keys are left");
}

/// Cuts everybody's power as soon as somebody leads, again and again; gives how often nobody remembered in which term that
/// was.
async fn terms_led_twice(change: impl FnOnce(&mut KiwiConfig)) -> u64 {
    let bench = with_disks(change).await;
    let mut twice = 0;
    let mut last = bench.leader().await.term;
    for _ in 0..4 {
        bench.power_loss(&NODES).await;
        let term = bench.leader().await.term;
        twice += u64::from(term <= last);
        last = term;
    }
    twice
}

#[tokio::test]
async fn a_vote_outlasts_a_power_loss_once_it_is_answered() {
    assert_eq!(terms_led_twice(|_| ()).await, 0);
    let forgets = |config: &mut KiwiConfig| config.defect = Some("forgetful-vote".to_owned());
    assert!(terms_led_twice(forgets).await > 0);
}

#[tokio::test]
async fn a_disk_whose_syncs_fail_acknowledges_nothing_and_is_whole_after_a_new_start() {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    let failing = DiskSwitches {
        sync_fails: true,
        ..DiskSwitches::default()
    };
    for id in NODES {
        bench.cluster.excuse(id);
    }
    harm_at_work(&bench, &NODES, failing).await;
    for id in NODES {
        let refused = bench.write(id, "during").await;
        assert!(refused.is_err(), "n{id} acknowledged what no disk holds");
    }
    for id in NODES {
        // Whoever stopped by itself is gone already.
        let _ = bench.cluster.kill(id).await;
        // What failed to be synced is on no disk.
        bench.cluster.power_fails(id).await.unwrap();
    }
    bench.cluster.start_all(&NODES).await.unwrap();
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 3);
    bench.nobody_ended_by_itself();
}

#[tokio::test]
async fn slow_syncs_make_writes_slow_until_they_are_taken_out() {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("one").await;
    let slow = DiskSwitches {
        slow_sync: 60 * MS,
        ..DiskSwitches::default()
    };
    for seen in harm_at_work(&bench, &NODES, slow).await {
        assert!(seen.is_seen() && seen.wrong == slow, "{seen:?}");
    }
    let timed = async |key: &str| {
        let began = Instant::now();
        bench.write_somewhere(key).await;
        began.elapsed()
    };
    assert!(timed("two").await >= 60 * MS);
    for id in NODES {
        let whole = DiskSwitches::default();
        bench.cluster.set_disk(id, whole).await.unwrap();
    }
    let began = Instant::now();
    let mut n = 0;
    while timed(&format!("after {n}")).await >= 60 * MS {
        n += 1;
        assert!(began.elapsed() < SOON, "every write still takes 60 ms");
    }
}

fn only(set: impl FnOnce(&mut DiskSwitches)) -> DiskSwitches {
    let mut switches = DiskSwitches::default();
    set(&mut switches);
    switches
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_that_it_cannot_hold() {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    for id in NODES {
        bench.cluster.excuse(id);
        let full = only(|disk| disk.full = true);
        let seen = bench.cluster.set_disk(id, full).await.unwrap();
        assert_eq!(seen.wrong, full);
    }
    // What fits into the files as they are is acknowledged, and rightly so; what does not fit is not.
    let leader = bench.leader().await.leader;
    let mut acknowledged = 0;
    let refused = loop {
        let key = format!("big {acknowledged}");
        let value = vec![7; 256 << 10].into();
        match bench.write_value(leader, &key, value).await {
            Ok(()) => acknowledged += 1,
            Err(status) => break status,
        }
        assert!(acknowledged < 1_000, "250 MB fit onto full disks");
    };
    for id in NODES {
        assert!(bench.write(id, "during").await.is_err(), "after {refused}");
    }
    for id in NODES {
        // Whoever stopped by itself is gone already.
        let _ = bench.cluster.kill(id).await;
    }
    for id in NODES {
        bench.start_again(id).await;
    }
    bench.write_somewhere("after").await;
    let left = bench.agree().await.keys;
    // Of the one that was refused, and of "during", nobody knows.
    assert!(
        left >= acknowledged + 2 && left <= acknowledged + 4,
        "{left}, {acknowledged}"
    );
    bench.nobody_ended_by_itself();
}

/// Harms a follower's disk so that it must notice: it ends, the others go on, and it comes back whole.
async fn a_follower_ends_under(harm: DiskSwitches, says: &str) {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    let follower = other_than(bench.leader().await.leader);
    bench.cluster.excuse(follower);
    // It may have ended before it has answered.
    let _ = bench.cluster.set_disk(follower, harm).await;
    bench.ended(follower).await;
    let log = bench.cluster.log_tail(follower);
    assert!(log.contains(says), "{log}");
    bench.write_somewhere("during").await;
    bench.start_again(follower).await;
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 3);
    bench.nobody_ended_by_itself();
}

#[tokio::test]
async fn a_node_whose_reads_fail_ends_and_comes_back_whole() {
    a_follower_ends_under(only(|disk| disk.read_fails = true), "os error 5").await;
}

#[tokio::test]
async fn a_node_that_reads_a_flipped_bit_notices_and_comes_back_whole() {
    let says = "is not what was written there";
    a_follower_ends_under(only(|disk| disk.flip_reads = true), says).await;
}

/// Lets a follower's syncs lie while it acknowledges ten writes, cuts its power after `meanwhile`, and gives how far its log
/// reached before and reaches then.
async fn log_after_lies(meanwhile: impl AsyncFnOnce(&Bench, u64)) -> (u64, u64) {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    let follower = other_than(bench.leader().await.leader);
    let lying = only(|disk| disk.lying_sync = true);
    for seen in harm_at_work(&bench, &[follower], lying).await {
        assert!(seen.is_seen() && seen.wrong == lying, "{seen:?}");
    }
    for n in 0..10 {
        bench.write_somewhere(&format!("k{n}")).await;
    }
    bench.agree().await;
    let promised = bench.cluster.status(follower).await.unwrap();
    let seen = bench.cluster.disk(follower).await.unwrap();
    assert!(seen.unsynced_bytes > 0 && seen.harmed > 0, "{seen:?}");
    meanwhile(&bench, follower).await;
    bench.cluster.kill(follower).await.unwrap();
    bench.cluster.power_fails(follower).await.unwrap();
    // Whom it hears would tell it again what it has lost.
    let _alone = bench.isolate(follower).await;
    bench.start_again(follower).await;
    let left = bench.cluster.status(follower).await.unwrap();
    let reaches = |says: NodeStatus| says.last.expect("it says");
    (reaches(promised), reaches(left))
}

#[tokio::test]
async fn a_sync_that_lies_loses_at_a_power_loss_what_was_acknowledged() {
    let (promised, left) = log_after_lies(async |_, _| ()).await;
    assert!(left < promised, "{left} of {promised} entries are left");
}

#[tokio::test]
async fn a_sync_that_lied_has_kept_its_word_once_it_is_healed() {
    let heal = async |bench: &Bench, follower| {
        let whole = DiskSwitches::default();
        bench.cluster.set_disk(follower, whole).await.unwrap();
        let seen = bench.cluster.disk(follower).await.unwrap();
        assert_eq!(seen.unsynced_bytes, 0, "{seen:?}");
    };
    let (promised, left) = log_after_lies(heal).await;
    assert!(left >= promised, "{left} of {promised} entries are left");
}

/// Lets a follower's disk lie, does something to its child meanwhile, takes the lie out, and gives what is left of it.
async fn left_of_a_lie(meanwhile: impl AsyncFnOnce(&mut Stage, u64)) -> Remains {
    let mut stage = Stage::on_hosts(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let lie = Fault::Disk {
        who: node,
        harm: DiskHarm::LyingSync,
        ms: 0,
    };
    let id = stage.inject_at_work(lie).await;
    stage.serves("during").await;
    meanwhile(&mut stage, node).await;
    stage.order(Order::Heal(id)).await;
    match stage.deed().await {
        Event::FaultOut {
            id: out, remains, ..
        } if out == id => remains,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_lie_that_nobody_died_under() {
    let slowed = async |stage: &mut Stage, node| {
        // Followers say nothing to each other: a link that bytes meet leads to the leader.
        let (leader, _) = stage.roles().await;
        let fault = Fault::Slow {
            from: node,
            to: leader,
            delay_ms: 20,
            jitter_ms: 0,
        };
        let id = stage.inject(fault).await;
        // Bytes must have met it, or it is told of as one that perhaps was none.
        stage.serves("meanwhile").await;
        stage.heal(id).await;
    };
    assert_eq!(left_of_a_lie(slowed).await, Remains::Nothing);
}

#[tokio::test]
async fn something_may_be_left_of_a_lie_that_a_child_died_under() {
    let killed = async |stage: &mut Stage, node| {
        let id = stage.inject(Fault::Kill { who: node }).await;
        stage.heal(id).await;
    };
    assert_eq!(left_of_a_lie(killed).await, Remains::Perhaps);
    let dead = async |stage: &mut Stage, node| {
        stage.inject(Fault::Kill { who: node }).await;
    };
    assert_eq!(left_of_a_lie(dead).await, Remains::Perhaps);
}

#[tokio::test]
async fn while_syncs_are_held_nothing_is_acknowledged_and_then_it_is() {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    let leader = bench.leader().await.leader;
    let held = only(|disk| disk.hold_sync = true);
    for seen in harm_at_work(&bench, &NODES, held).await {
        assert!(seen.is_seen() && seen.wrong == held, "{seen:?}");
    }
    assert!(
        bench.write(leader, "during").await.is_err(),
        "no disk holds it"
    );
    let seen = bench.cluster.disk(leader).await.unwrap();
    assert!(seen.syncing > 0, "{seen:?}");
    for id in NODES {
        let whole = DiskSwitches::default();
        bench.cluster.set_disk(id, whole).await.unwrap();
    }
    bench.write_somewhere("after").await;
    assert_eq!(
        bench.agree().await.keys,
        4,
        "what was held was written after all"
    );
    let seen = bench.cluster.disk(leader).await.unwrap();
    assert_eq!(seen.syncing, 0, "{seen:?}");
}

#[tokio::test]
async fn a_node_that_may_write_no_file_acknowledges_nothing_and_comes_back_whole() {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    for id in NODES {
        bench.cluster.excuse(id);
        bench.cluster.limit(id, Limit::FileSize).await.unwrap();
    }
    for id in NODES {
        assert!(
            bench.write(id, "during").await.is_err(),
            "n{id} has no file"
        );
    }
    for id in NODES {
        let _ = bench.cluster.kill(id).await;
    }
    for id in NODES {
        bench.start_again(id).await;
    }
    bench.write_somewhere("after").await;
    bench.agree().await;
    bench.nobody_ended_by_itself();
}

#[tokio::test]
async fn a_node_that_may_open_no_file_takes_no_connection_and_comes_back_whole() {
    let bench = with_disks(|_| ()).await;
    bench.write_somewhere("before").await;
    let follower = other_than(bench.leader().await.leader);
    bench.cluster.excuse(follower);
    bench
        .cluster
        .limit(follower, Limit::OpenFiles)
        .await
        .unwrap();
    // A question of its own has a connection of its own.
    let began = Instant::now();
    while bench.cluster.state_hash(follower).await.is_ok() {
        assert!(began.elapsed() < SOON, "n{follower} takes connections");
    }
    bench.write_somewhere("during").await;
    let _ = bench.cluster.kill(follower).await;
    bench.start_again(follower).await;
    bench.write_somewhere("after").await;
    assert_eq!(bench.agree().await.keys, 3);
    bench.nobody_ended_by_itself();
}
