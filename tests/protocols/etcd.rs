//! etcd: every operation, and what its silence and its errors prove, which is nothing. The cluster is started as its
//! description says.

use std::time::Duration;

use checkers::history::Call;
use whitewater::target::described::asking::StateSeen;
use whitewater::target::protocol::etcd::{Etcd, EtcdReads};

use super::described::Cluster;
use super::server::until;
use super::{PATIENCE, ask, ask_within, cas, every_operation, ok};

fn client_of(cluster: &Cluster, reads: EtcdReads) -> Etcd {
    Etcd::new(cluster.dial(2379), reads)
}

/// Writes until it is acknowledged: a leader is there.
async fn led(client: &mut Etcd, node: u64, value: i64) {
    let written = until(Duration::from_secs(30), async || {
        (ask(client, node, "led", Call::Write(value)).await == ok(None)).then_some(())
    });
    assert!(written.await.is_some(), "n{node} acknowledges nothing");
}

#[tokio::test]
async fn etcd_answers_every_operation_as_it_was_done() {
    if !crate::installed::here(&["etcd"]) {
        return;
    }
    let cluster = Cluster::start("etcd", "strong", 1).await;
    for reads in EtcdReads::ALL {
        let mut client = client_of(&cluster, reads);
        led(&mut client, 1, 1).await;
        every_operation(&mut client, 1, reads.name(), true).await;
    }
}

#[tokio::test]
async fn without_a_majority_a_write_is_unknown_and_only_serializable_reads_are_answered() {
    if !crate::installed::here(&["etcd"]) {
        return;
    }
    let mut cluster = Cluster::start("etcd", "strong", 3).await;
    let mut client = client_of(&cluster, EtcdReads::Linearizable);
    for node in 1..=3 {
        led(&mut client, node, 17).await;
    }
    assert_eq!(ask(&mut client, 2, "led", Call::Read).await, ok(Some(17)));
    for node in [2, 3] {
        cluster.kill(node, "etcd");
    }
    let short = Duration::from_millis(1500);
    for call in [Call::Write(18), cas(17, 18), Call::Delete] {
        ask_within(&mut client, 1, "led", call, short)
            .await
            .assert_unknown();
    }
    ask_within(&mut client, 1, "led", Call::Read, short)
        .await
        .assert_unknown();
    let mut weak = client_of(&cluster, EtcdReads::Serializable);
    assert_eq!(ask(&mut weak, 1, "led", Call::Read).await, ok(Some(17)));
    // Its own word for it, some seconds later, proves as little: it has proposed what it gives up.
    let said = ask_within(
        &mut client,
        1,
        "led",
        Call::Write(19),
        Duration::from_secs(20),
    )
    .await;
    said.assert_unknown();
    assert!(!format!("{said:?}").contains("in time"), "{said:?}");
    ask(&mut client, 2, "led", Call::Write(20))
        .await
        .assert_not_applied("refused");
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown_and_what_never_left_is_not() {
    if !crate::installed::here(&["etcd"]) {
        return;
    }
    let mut cluster = Cluster::start("etcd", "strong", 1).await;
    let mut client = client_of(&cluster, EtcdReads::Linearizable);
    led(&mut client, 1, 17).await;
    let mut members = cluster.processes.values_mut();
    let member = members.next().expect("there is one");
    let short = Duration::from_millis(700);
    member.pause().await;
    ask_within(&mut client, 1, "led", Call::Write(18), short)
        .await
        .assert_unknown();
    ask_within(&mut client, 1, "led", Call::Write(19), short)
        .await
        .assert_not_applied("in time");
    member.resume();
    let read = ask(&mut client, 1, "led", Call::Read).await;
    assert!([ok(Some(17)), ok(Some(18))].contains(&read), "{read:?}");
    member.pause().await;
    let owed = async {
        tokio::join!(ask(&mut client, 1, "led", Call::Write(20)), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            member.kill();
        })
    };
    owed.await.0.assert_unknown();
    ask(&mut client, 1, "led", Call::Write(21))
        .await
        .assert_not_applied("refused");
}

#[tokio::test]
async fn members_say_who_leads_and_what_their_state_is_as_the_file_expects_it() {
    if !crate::installed::here(&["etcd"]) {
        return;
    }
    let cluster = Cluster::start("etcd", "strong", 3).await;
    let mut client = client_of(&cluster, EtcdReads::Linearizable);
    for node in 1..=3 {
        led(&mut client, node, 17).await;
    }
    let within = Duration::from_secs(2);
    let states = async || {
        let mut states = Vec::new();
        for node in 1..=3 {
            let state = cluster.target.state_of(&cluster.words(node), within).await;
            states.push(state.ok()?.expect("the file says what the state is"));
        }
        Some(states)
    };
    // A follower may be behind for a moment, and so may what one of them says first be behind what it says next.
    let at_rest = until(PATIENCE, async || {
        let (once, twice) = (states().await?, states().await?);
        let rests = |state: &StateSeen| state.index == once[0].index;
        let rest = once.iter().chain(&twice).all(rests);
        rest.then_some(twice)
    });
    let at_rest = at_rest.await.expect("the members come to rest");
    assert!(
        at_rest.iter().all(|state| *state == at_rest[0]),
        "{at_rest:?}"
    );
    assert!(
        at_rest[0].index > 3 && at_rest[0].hash.parse::<u64>().is_ok(),
        "{at_rest:?}"
    );
    assert_eq!(cluster.leaders().await.len(), 1);
    for node in 1..=3 {
        let leads = cluster.target.leads(&cluster.words(node), within).await;
        let term = leads.unwrap().and_then(|leads| leads.term);
        assert!(term.is_some_and(|term| term > 0), "n{node}: {term:?}");
    }
}
