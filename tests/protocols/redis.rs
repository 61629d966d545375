//! Redis: every operation, and every definite failure that a server can be brought to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use checkers::history::Call;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use whitewater::target::protocol::dial::Dial;
use whitewater::target::protocol::resp::{Resp, RespReads};

use super::server::{Server, address, until};
use super::{CONNECT_WITHIN, PATIENCE, Proven, ask, ask_within, cas, every_operation, ok};

const PORT: u16 = 6379;

/// A server with these settings beside those that every test wants.
async fn server(dir: &TempDir, settings: &[&str]) -> Server {
    server_at(address(), dir, settings).await
}

async fn server_at(ip: IpAddr, dir: &TempDir, settings: &[&str]) -> Server {
    let (ip_text, port) = (ip.to_string(), PORT.to_string());
    let ours = [
        "--bind",
        &ip_text,
        "--port",
        &port,
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let args = [&ours[..], settings].concat();
    Server::start("redis-server", &args, dir, SocketAddr::new(ip, PORT)).await
}

/// A member of a cluster to be. It says where it is: what it dials comes from another address.
async fn clustered(dir: &TempDir) -> Server {
    let ip = address();
    let announced = ip.to_string();
    let cluster = [
        "--cluster-enabled",
        "yes",
        "--cluster-announce-ip",
        &announced,
    ];
    server_at(ip, dir, &cluster).await
}

fn client(servers: &[&Server]) -> Resp {
    client_that_reads(servers, RespReads::Any)
}

fn client_that_reads(servers: &[&Server], reads: RespReads) -> Resp {
    let nodes: BTreeMap<u64, SocketAddr> =
        (1..).zip(servers.iter().map(|server| server.at)).collect();
    Resp::new(Dial::new(nodes).within(CONNECT_WITHIN), reads)
}

/// A command by hand, as a plain line; gives the first line of the answer.
async fn by_hand(server: &Server, command: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(server.at).await.unwrap());
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .await
        .unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line.trim_end().to_owned()
}

/// The same, and it is done.
async fn done_by_hand(server: &Server, command: &str) {
    assert_eq!(by_hand(server, command).await, "+OK", "{command}");
}

/// Every operation that changes something is proven not to have been applied, for this reason.
async fn refused(client: &mut Resp, node: u64, key: &str, because: &str) {
    for call in [Call::Write(1), cas(17, 2), Call::Delete] {
        let proven = ask(client, node, key, call).await;
        assert!(
            matches!(proven, Proven::NotApplied(..)),
            "{call:?}: {proven:?}"
        );
        proven.assert_not_applied(because);
    }
}

#[tokio::test]
async fn redis_answers_every_operation_as_it_was_done() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = server(&dir, &[]).await;
    for reads in RespReads::ALL {
        let mut client = client_that_reads(&[&redis], reads);
        every_operation(&mut client, 1, reads.name(), true).await;
    }
}

#[tokio::test]
async fn what_is_no_number_is_said_and_never_guessed() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = server(&dir, &[]).await;
    let mut client = client(&[&redis]);
    done_by_hand(&redis, "SET k seventeen").await;
    for call in [Call::Read, cas(17, 2)] {
        let Proven::Unusable(error) = ask(&mut client, 1, "k", call).await else {
            panic!("{call:?} was understood");
        };
        assert!(error.contains("\"seventeen\" is no number"), "{error}");
    }
    // A key of another kind: the read had no effect, and neither had the cas, but no answer in the table says so.
    assert_eq!(by_hand(&redis, "LPUSH list 1").await, ":1");
    ask(&mut client, 1, "list", Call::Read)
        .await
        .assert_unknown();
    ask(&mut client, 1, "list", cas(1, 2))
        .await
        .assert_unknown();
}

#[tokio::test]
async fn nobody_is_heard_without_the_password() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = server(&dir, &["--requirepass", "secret"]).await;
    refused(&mut client(&[&redis]), 1, "k", "NOAUTH").await;
    let mut wrong = client(&[&redis]).with_password(None, "guess".to_owned());
    refused(&mut wrong, 1, "k", "WRONGPASS").await;
    for user in [None, Some("default".to_owned())] {
        let mut right = client(&[&redis]).with_password(user, "secret".to_owned());
        every_operation(&mut right, 1, "k", true).await;
    }
}

#[tokio::test]
async fn a_replica_refuses_what_writes_and_what_reads_where_the_primary_is_asked_for() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (primary, replica) = (server(&dir, &[]).await, server(&dir, &[]).await);
    let mut client = client(&[&primary, &replica]);
    assert_eq!(ask(&mut client, 1, "k", Call::Write(17)).await, ok(None));
    done_by_hand(&replica, &format!("REPLICAOF {} {PORT}", primary.at.ip())).await;
    let arrived = until(PATIENCE, async || {
        (ask(&mut client, 2, "k", Call::Read).await == ok(Some(17))).then_some(())
    });
    assert!(arrived.await.is_some(), "{}", replica.log());
    refused(&mut client, 2, "k", "READONLY").await;
    // A cas that does not hold writes nothing: a replica answers it as it would a read.
    assert_eq!(
        ask(&mut client, 2, "k", cas(1, 2)).await,
        super::differed(Some(17))
    );
    let mut strict = client_that_reads(&[&primary, &replica], RespReads::Primary);
    ask(&mut strict, 2, "k", Call::Read)
        .await
        .assert_not_applied("READONLY");
    // Where reads ask for the primary, what a cas compares with is not a replica's either: it may be of long ago.
    for call in [cas(1, 2), cas(17, 2)] {
        ask(&mut strict, 2, "k", call)
            .await
            .assert_not_applied("READONLY");
    }
    assert_eq!(ask(&mut strict, 1, "k", Call::Read).await, ok(Some(17)));
    assert_eq!(
        ask(&mut strict, 1, "k", cas(1, 2)).await,
        super::differed(Some(17))
    );
}

#[tokio::test]
async fn a_primary_without_replicas_refuses_where_it_must_have_some() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = server(&dir, &[]).await;
    let mut client = client(&[&redis]);
    assert_eq!(ask(&mut client, 1, "k", Call::Write(17)).await, ok(None));
    done_by_hand(&redis, "CONFIG SET min-replicas-to-write 1").await;
    refused(&mut client, 1, "k", "NOREPLICAS").await;
    assert_eq!(ask(&mut client, 1, "k", Call::Read).await, ok(Some(17)));
}

#[tokio::test]
async fn a_replica_that_has_lost_its_primary_says_so() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let nobody = address().to_string();
    let replica = [
        "--replica-serve-stale-data",
        "no",
        "--replicaof",
        &nobody,
        "6379",
    ];
    let replica = server(&dir, &replica).await;
    let mut client = client(&[&replica]);
    refused(&mut client, 1, "k", "MASTERDOWN").await;
    ask(&mut client, 1, "k", Call::Read)
        .await
        .assert_not_applied("MASTERDOWN");
}

#[tokio::test]
async fn a_cluster_names_who_has_the_key_or_is_down() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = (clustered(&dirs[0]).await, clustered(&dirs[1]).await);
    let mut client = client(&[&one, &two]);
    refused(&mut client, 1, "k", "CLUSTERDOWN").await;
    done_by_hand(&one, "CLUSTER ADDSLOTSRANGE 0 16383").await;
    done_by_hand(&two, &format!("CLUSTER MEET {} {PORT}", one.at.ip())).await;
    let serves = until(PATIENCE, async || {
        (ask(&mut client, 1, "k", Call::Write(17)).await == ok(None)).then_some(())
    });
    assert!(serves.await.is_some(), "{}", one.log());
    let moved = until(PATIENCE, async || {
        match ask(&mut client, 2, "k", Call::Write(1)).await {
            Proven::NotApplied(leader, why) if why.contains("MOVED") => Some(leader),
            _ => None,
        }
    });
    // The node that it names is one that the client dials.
    assert_eq!(moved.await, Some(Some(1)), "{}", two.log());
    refused(&mut client, 2, "k", "MOVED").await;
    // "other" is on its way to the second one, and not here any more.
    let slot = by_hand(&one, "CLUSTER KEYSLOT other").await;
    let id = BufReader::new(TcpStream::connect(two.at).await.unwrap());
    let id = myself(id).await;
    let migrate = format!(
        "CLUSTER SETSLOT {} MIGRATING {id}",
        slot.trim_start_matches(':')
    );
    // The first one hears of the second one a little later.
    let migrates = until(PATIENCE, async || {
        (by_hand(&one, &migrate).await == "+OK").then_some(())
    });
    assert!(
        migrates.await.is_some(),
        "{}",
        by_hand(&one, &migrate).await
    );
    refused(&mut client, 1, "other", "ASK").await;
    assert_eq!(ask(&mut client, 1, "k", Call::Read).await, ok(Some(17)));
}

/// What a member of a cluster calls itself.
async fn myself(mut stream: BufReader<TcpStream>) -> String {
    stream.write_all(b"CLUSTER MYID\r\n").await.unwrap();
    let mut lines = stream.lines();
    lines.next_line().await.unwrap().expect("the length");
    lines.next_line().await.unwrap().expect("the id")
}

#[tokio::test]
async fn a_server_that_loads_its_data_says_so() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut first = server(&dir, &["--enable-debug-command", "yes"]).await;
    done_by_hand(&first, "DEBUG POPULATE 20000").await;
    done_by_hand(&first, "SAVE").await;
    first.kill();
    // Half a millisecond a key, and it listens meanwhile.
    let slowly = [
        "--key-load-delay",
        "500",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let second = server(&dir, &slowly).await;
    let mut client = client(&[&second]);
    refused(&mut client, 1, "k", "LOADING").await;
    ask(&mut client, 1, "k", Call::Read)
        .await
        .assert_not_applied("LOADING");
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown_and_what_never_left_is_not() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut redis = server(&dir, &[]).await;
    let mut client = client(&[&redis]);
    assert_eq!(ask(&mut client, 1, "k", Call::Write(17)).await, ok(None));
    let short = Duration::from_millis(700);
    redis.pause().await;
    // On the connection that is there.
    let sent = ask_within(&mut client, 1, "k", Call::Write(18), short).await;
    sent.assert_unknown();
    // On a new one, which the kernel accepts for it: its first question is not answered.
    let never = ask_within(&mut client, 1, "k", Call::Write(19), short).await;
    never.assert_not_applied("in time");
    redis.resume();
    assert_eq!(ask(&mut client, 1, "k", Call::Read).await, ok(Some(18)));
    // Its end comes while an answer is owed.
    redis.pause().await;
    let owed = async {
        tokio::join!(ask(&mut client, 1, "k", Call::Write(20)), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            redis.kill();
        })
    };
    owed.await.0.assert_unknown();
    ask(&mut client, 1, "k", Call::Write(21))
        .await
        .assert_not_applied("refused");
}

#[tokio::test]
async fn a_connection_that_the_server_has_ended_is_made_anew() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = server(&dir, &[]).await;
    let mut client = client(&[&redis]);
    assert_eq!(ask(&mut client, 1, "k", Call::Write(17)).await, ok(None));
    let killed = by_hand(&redis, "CLIENT KILL TYPE normal").await;
    assert_eq!(killed, ":1", "the client's connection");
    assert_eq!(ask(&mut client, 1, "k", Call::Write(18)).await, ok(None));
    assert_eq!(ask(&mut client, 1, "k", Call::Read).await, ok(Some(18)));
}
