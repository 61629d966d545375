//! Several faults on one node at a time, on a real cluster: each takes effect, and each is taken out, in whatever order.

#[path = "support/stage.rs"]
mod stage;

use std::time::Duration;

use stage::{MS, Stage};
use whitewater::cluster::ChildState;
use whitewater::fault::{DiskHarm, Fault};
use whitewater::journal::Event;
use whitewater::nemesis::Order;

fn slow(node: u64) -> Fault {
    Fault::Disk {
        who: node,
        harm: DiskHarm::SlowSync,
        ms: 50,
    }
}

fn fast(node: u64) -> Fault {
    Fault::Clock {
        who: node,
        rate_percent: 300,
        step_ms: 0,
    }
}

/// Whether a node's clock runs as it should, and its disk is whole.
async fn is_whole(stage: &Stage, node: u64) -> bool {
    let clock = |rate| stage.cluster.set_clock(node, rate, Duration::ZERO);
    let one = clock(1.0).await.unwrap();
    tokio::time::sleep(100 * MS).await;
    let two = clock(1.0).await.unwrap();
    let before = stage.cluster.disk(node).await.unwrap();
    stage.serves("looking").await;
    let after = stage
        .until("another sync", async || {
            let seen = stage.cluster.disk(node).await.unwrap();
            (seen.syncs > before.syncs)
                .then_some(seen)
                .ok_or(format!("{seen:?}"))
        })
        .await;
    one.leads_to(&two, 1.0, Duration::ZERO) && after.harmed == before.harmed
}

#[tokio::test]
async fn a_node_with_a_slow_disk_and_a_wrong_clock_is_paused_and_everything_is_taken_out() {
    let mut stage = Stage::on_hosts(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let disk = stage.inject_at_work(slow(node)).await;
    let clock = stage.inject(fast(node)).await;
    let pause = stage.inject(Fault::Pause { who: node }).await;
    assert_eq!(stage.view(node).state, ChildState::Paused);

    // Who stands cannot be told: that waits until it goes on.
    stage.order(Order::Heal(disk)).await;
    match stage.deed().await {
        Event::Say { text: said } => assert!(said.contains("when"), "{said}"),
        other => panic!("{other:?}"),
    }
    stage.order(Order::Heal(pause)).await;
    for expected in [pause, disk] {
        match stage.deed().await {
            Event::FaultOut { id, .. } => assert_eq!(id, expected),
            other => panic!("{other:?}"),
        }
    }
    stage.heal(clock).await;
    assert_eq!(stage.view(node).state, ChildState::Up);
    assert!(is_whole(&stage, node).await);
    stage.serves("after").await;
    stage.agree().await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_node_is_healed_at_once() {
    let mut stage = Stage::on_hosts(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    stage.inject_at_work(slow(node)).await;
    for fault in [fast(node), Fault::Pause { who: node }] {
        stage.inject(fault).await;
    }
    stage.order(Order::HealAll).await;
    let mut out = 0;
    while out < 3 {
        match stage.deed().await {
            Event::FaultOut { .. } => out += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stage.view(node).state, ChildState::Up);
    assert!(is_whole(&stage, node).await);
    stage.serves("after").await;
}

#[tokio::test]
async fn a_paused_node_is_killed_as_it_stands_and_its_next_child_does_not_stand() {
    let mut stage = Stage::on_hosts(3).await;
    let (_, followers) = stage.roles().await;
    let node = followers[0];
    let pause = stage.inject(Fault::Pause { who: node }).await;
    let clock_why = stage.is_refused(fast(node)).await;
    assert!(clock_why.contains("pause"), "{clock_why}");
    let kill = stage.inject(Fault::Kill { who: node }).await;
    assert_eq!(stage.view(node).state, ChildState::Dead);
    stage.heal(kill).await;
    stage.heal(pause).await;
    assert_eq!(stage.view(node).state, ChildState::Up);
    stage.serves("after").await;
    stage.agree().await;
}

#[tokio::test]
async fn the_leadership_is_not_handed_to_who_has_it() {
    let mut stage = Stage::of(3).await;
    let to = stage.leader().await;
    stage.status(to).await;
    let why = stage.is_refused(Fault::Transfer { to }).await;
    assert_eq!(why, format!("n{to} leads already"));
}
