//! etcd: every operation, and what its silence and its errors prove, which is nothing. The cluster is started as its
//! description says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use checkers::history::Call;
use tempfile::TempDir;
use whitewater::target::described::{Description, Place, Wiring, builtin};
use whitewater::target::protocol::dial::Dial;
use whitewater::target::protocol::etcd::{Etcd, EtcdReads};

use super::server::{Server, address, until};
use super::{PATIENCE, ask, ask_within, cas, every_operation, ok};

/// Members as the description starts them.
struct Cluster {
    _dir: TempDir,
    members: Vec<Server>,
}

impl Cluster {
    async fn start(nodes: u64) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let etcd = described();
        let found = etcd.find.find(None).await.unwrap();
        let place = |id: u64| {
            let (ip, dir) = (address(), dir.path().join(format!("n{id}")));
            std::fs::create_dir(&dir).unwrap();
            Place { id, ip, dir }
        };
        let members = (1..=nodes).map(place).collect();
        let program = found.program;
        let wiring = Wiring { members, program };
        let mode = etcd.mode(None).unwrap();
        let start = |place: &Place| {
            let launch = etcd.launches(mode, place.id, &wiring).remove(0);
            let at = SocketAddr::new(place.ip, 2379);
            Server::spawn(&launch.program, &launch.args, &launch.cwd, at)
        };
        let members: Vec<Server> = wiring.members.iter().map(start).collect();
        for member in &members {
            member.ready().await;
        }
        Cluster { _dir: dir, members }
    }

    fn client(&self, reads: EtcdReads) -> Etcd {
        let at = self.members.iter().map(|member| member.at);
        let nodes: BTreeMap<u64, SocketAddr> = (1..).zip(at).collect();
        // A test is not in a hurry: these members start up beside one another.
        Etcd::new(Dial::new(nodes).within(Duration::from_secs(2)), reads)
    }
}

fn described() -> Description {
    builtin::all()
        .into_iter()
        .find(|one| one.name == "etcd")
        .unwrap()
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
    let cluster = Cluster::start(1).await;
    for reads in EtcdReads::ALL {
        let mut client = cluster.client(reads);
        led(&mut client, 1, 1).await;
        every_operation(&mut client, 1, reads.name(), true).await;
    }
}

#[tokio::test]
async fn without_a_majority_a_write_is_unknown_and_only_serializable_reads_are_answered() {
    let mut cluster = Cluster::start(3).await;
    let mut client = cluster.client(EtcdReads::Linearizable);
    for node in 1..=3 {
        led(&mut client, node, 17).await;
    }
    assert_eq!(ask(&mut client, 2, "led", Call::Read).await, ok(Some(17)));
    for member in &mut cluster.members[1..] {
        member.kill();
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
    let mut weak = cluster.client(EtcdReads::Serializable);
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
    let mut cluster = Cluster::start(1).await;
    let mut client = cluster.client(EtcdReads::Linearizable);
    led(&mut client, 1, 17).await;
    let member = &mut cluster.members[0];
    let short = Duration::from_millis(700);
    member.pause();
    ask_within(&mut client, 1, "led", Call::Write(18), short)
        .await
        .assert_unknown();
    ask_within(&mut client, 1, "led", Call::Write(19), short)
        .await
        .assert_not_applied("in time");
    member.resume();
    let read = ask(&mut client, 1, "led", Call::Read).await;
    assert!([ok(Some(17)), ok(Some(18))].contains(&read), "{read:?}");
    member.pause();
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
    let cluster = Cluster::start(3).await;
    let mut client = cluster.client(EtcdReads::Linearizable);
    for node in 1..=3 {
        led(&mut client, node, 17).await;
    }
    let etcd = described();
    let (leader, state) = (etcd.leader.unwrap(), etcd.state.unwrap());
    let statuses = async || {
        let mut statuses: Vec<serde_json::Value> = Vec::new();
        for member in &cluster.members {
            let status = super::http::post(member.at, "/v3/maintenance/status", "{}").await;
            statuses.push(serde_json::from_str(&status).ok()?);
        }
        Some(statuses)
    };
    // A follower may be behind for a moment, and so may what one of them says first be behind what it says next.
    let index = |status: &serde_json::Value| state.index.text_of(status).unwrap();
    let at_rest = until(PATIENCE, async || {
        let (once, twice) = (statuses().await?, statuses().await?);
        let first = index(&once[0]);
        let rests = once
            .iter()
            .chain(&twice)
            .all(|status| index(status) == first);
        rests.then_some(twice)
    });
    let at_rest = at_rest.await.expect("the members come to rest");
    let revisions: Vec<_> = at_rest
        .iter()
        .map(|status| state.hash.text_of(status))
        .collect();
    assert!(revisions[0].is_some(), "{at_rest:?}");
    assert!(
        revisions.iter().all(|one| *one == revisions[0]),
        "{at_rest:?}"
    );
    let leads = at_rest.iter().filter(|status| leader.leader.holds(status));
    assert_eq!(leads.count(), 1, "{at_rest:?}");
    let term = leader.term.expect("the file says where the term is");
    let terms: Vec<_> = at_rest.iter().map(|status| term.text_of(status)).collect();
    assert!(
        terms.iter().all(|term| term.as_deref() > Some("0")),
        "{at_rest:?}"
    );
}
