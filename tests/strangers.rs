//! Who does not belong to a run: another user of the machine, who may dial every port that a run has, and a node at
//! a port that was another's. Neither takes effect, and the store is not accused.

mod support;

#[path = "support/stage.rs"]
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use stage::{MS, Stage};
use support::{Running, assert_nothing_left, machine, nodes_below, only_folder, said};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use whitewater::fault::Fault;
use whitewater::proxy::Route;
use whitewater::wire::chaos::StateDumpRequest;
use whitewater::wire::chaos::chaos_service_client::ChaosServiceClient;
use whitewater::wire::kiwi::raft_admin_service_client::RaftAdminServiceClient;
use whitewater::wire::kiwi::raft_client_service_client::RaftClientServiceClient;
use whitewater::wire::kiwi::raft_core_service_client::RaftCoreServiceClient;
use whitewater::wire::kiwi::raft_metrics_service_client::RaftMetricsServiceClient;
use whitewater::wire::kiwi::{
    AppendEntriesRequest, Binlog, BinlogEntry, InstallSnapshotRequest, LeaderId, MetricsRequest,
    NodeId, ReadRequest, RemoveNodeRequest, TransferLeaderRequest, TransferLeadershipRequest, Vote,
    VoteRequest, WriteRequest,
};

/// Set for a process that is the stranger, and no test: the ports of the run that it may dial. (A real one takes any
/// port that it finds; this machine may have other runs, which are nobody's to break.)
const PORTS: &str = "WHITEWATER_TEST_STRANGER";
/// The token of another run.
const THEIRS: &str = "0123456789abcdef0123456789abcdef";
/// Nobody.
const NOBODY: u32 = 65_534;
/// A value that no client of the run writes.
const STRANGE: &str = "424242";
const SOON: Duration = Duration::from_secs(20);

/// Not a test where [`PORTS`] is set: then this process is another user, who calls whatever it can.
#[tokio::test]
async fn the_stranger() {
    let Ok(ports) = std::env::var(PORTS) else {
        return;
    };
    let mine: BTreeSet<u16> = ports.split(',').filter_map(|p| p.parse().ok()).collect();
    // Every user of the machine can read it.
    let listening: BTreeSet<u16> = listening().into_keys().collect();
    assert!(
        !mine.is_empty() && mine.is_subset(&listening),
        "{listening:?}"
    );
    // All at the same time: the run is over soon.
    let calls = mine.into_iter().map(|port| async move {
        let redis = tokio::task::spawn_blocking(move || try_redis(port));
        let doors = match redis.await.unwrap() {
            Some(answer) => vec![("RESP SET".to_owned(), answer)],
            None => try_grpc(port).await,
        };
        for (door, answer) in doors {
            println!("@{port} {door}: {answer}");
        }
    });
    join_all(calls).await;
}

/// What the stranger says of itself: nothing, or which node it means and the token of another run.
const GUESSES: [&[(&str, &str)]; 4] = [
    &[],
    &[("kiwi-receiver-id", "1"), ("kiwi-token", THEIRS)],
    &[("kiwi-receiver-id", "2"), ("kiwi-token", THEIRS)],
    &[("kiwi-receiver-id", "3"), ("kiwi-token", THEIRS)],
];

/// The ports that are listened on at 127.0.0.1, with the number of their socket.
fn listening() -> BTreeMap<u16, u64> {
    const LISTEN: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).filter_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let port = words[1].strip_prefix("0100007F:")?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (words[3] == LISTEN).then(|| (port, words[9].parse().unwrap()))
    });
    rows.collect()
}

/// What a SET is answered with, where the port speaks that protocol.
fn try_redis(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(2 * SOON)).unwrap();
    let command = format!("SET k1 {STRANGE}\r\n");
    stream.write_all(command.as_bytes()).ok()?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    // A server of HTTP/2 begins with its settings, or with nothing.
    answer
        .starts_with(['+', '-'])
        .then(|| answer.trim().to_owned())
}

/// What every method that could do harm is answered with; whatever the stranger says of itself.
async fn try_grpc(port: u16) -> Vec<(String, String)> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut all = Vec::new();
    let channel = match endpoint.timeout(SOON).connect().await {
        Ok(channel) => channel,
        Err(error) => return vec![("gRPC".to_owned(), format!("no connection: {error}"))],
    };
    for guess in GUESSES {
        let guessed = move |mut request: Request<()>| {
            for (name, value) in guess {
                request.metadata_mut().insert(*name, value.parse().unwrap());
            }
            Ok(request)
        };
        let channel = InterceptedService::new(channel.clone(), guessed);
        for (door, answer) in attack(channel).await {
            let answer = answer.map_or_else(|status| code(&status), |()| "OK".to_owned());
            all.push((door.to_owned(), answer));
        }
    }
    all
}

fn code(status: &Status) -> String {
    let outcome = status.metadata().get("kiwi-outcome");
    let outcome = outcome.and_then(|outcome| outcome.to_str().ok());
    format!("{:?}, {}", status.code(), outcome.unwrap_or("nothing said"))
}

/// Calls every door once, and gives what each said.
async fn attack<I>(
    channel: InterceptedService<Channel, I>,
) -> Vec<(&'static str, Result<(), Status>)>
where
    I: tonic::service::Interceptor + Clone + Send + 'static,
{
    let leader = LeaderId {
        term: 1_000_000,
        node_id: Some(NodeId { id: 2 }),
    };
    let vote = |committed| {
        Some(Vote {
            leader_id: Some(leader),
            committed,
        })
    };
    let append = AppendEntriesRequest {
        vote: vote(true),
        ..AppendEntriesRequest::default()
    };
    let campaign = VoteRequest {
        vote: vote(false),
        ..VoteRequest::default()
    };
    let chunk = InstallSnapshotRequest {
        vote: vote(true),
        snapshot_id: "s".to_owned(),
        done: true,
        ..InstallSnapshotRequest::default()
    };
    let transfer = TransferLeaderRequest {
        from_leader: vote(true),
        to_node_id: 1,
        last_log_id: None,
    };
    let mut core = RaftCoreServiceClient::new(channel.clone());
    let mut admin = RaftAdminServiceClient::new(channel.clone());
    let mut client = RaftClientServiceClient::new(channel.clone());
    let mut chaos = ChaosServiceClient::new(channel.clone());
    let mut metrics = RaftMetricsServiceClient::new(channel);
    let read = ReadRequest { key: "k1".into() };
    let gone = |node_id| RemoveNodeRequest { node_id };
    let heir = |to_node_id| TransferLeadershipRequest { to_node_id };
    let mut said = vec![
        ("Read", client.read(read).await.map(drop)),
        ("Write", client.write(strange_write()).await.map(drop)),
        ("RemoveNode", admin.remove_node(gone(3)).await.map(drop)),
        (
            "TransferLeadership",
            admin.transfer_leadership(heir(2)).await.map(drop),
        ),
        (
            "Metrics",
            metrics.metrics(MetricsRequest {}).await.map(drop),
        ),
        (
            "TransferLeader",
            core.transfer_leader(transfer).await.map(drop),
        ),
        ("Vote", core.vote(campaign).await.map(drop)),
        (
            "AppendEntries",
            core.append_entries(append.clone()).await.map(drop),
        ),
        (
            "InstallSnapshot",
            core.install_snapshot(tokio_stream::iter([chunk]))
                .await
                .map(drop),
        ),
    ];
    let streamed = async {
        let mut answers = core
            .stream_append(tokio_stream::iter([append]))
            .await?
            .into_inner();
        answers.message().await.map(drop)
    };
    said.push(("StreamAppend", streamed.await));
    let dumped = async {
        let rows = chaos.state_dump(StateDumpRequest {}).await?.into_inner();
        rows.take(1)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .try_for_each(|row| row.map(drop))
    };
    said.push(("StateDump", dumped.await));
    said
}

fn strange_write() -> WriteRequest {
    let entry = BinlogEntry {
        cf_idx: 0,
        op_type: "Put".into(),
        key: "k1".into(),
        value: STRANGE.into(),
    };
    WriteRequest {
        binlog: Some(Binlog {
            entries: vec![entry],
            ..Binlog::default()
        }),
        ..WriteRequest::default()
    }
}

/// The ports on which these processes listen: their sockets are among those of the table.
fn ports_of(pids: &[u32]) -> BTreeSet<u16> {
    let mut sockets = BTreeSet::new();
    for pid in pids {
        for open in std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .flatten()
        {
            let link = std::fs::read_link(open.path()).unwrap_or_default();
            let link = link.to_string_lossy().into_owned();
            let number = link
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            sockets.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
    }
    let of = listening().into_iter();
    let of = of.filter(|(_, socket)| sockets.contains(socket));
    of.map(|(port, _)| port).collect()
}

/// Lets another user (where this one may) call at these ports; gives what each door answered, and how often.
fn let_a_stranger_call(ports: &BTreeSet<u16>) -> BTreeMap<String, usize> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    // Its path may be closed to others; an open file is not.
    let mut stranger = Command::new("/proc/self/exe");
    stranger
        .args(["--exact", "the_stranger", "--nocapture", "--test-threads=1"])
        .env(PORTS, ports.join(","))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        stranger.uid(NOBODY).gid(NOBODY);
    } else {
        eprintln!("this is not root: the stranger is the same user, without the token");
    }
    let mut stranger = stranger.spawn().unwrap();
    let mut answers = BTreeMap::new();
    for line in BufReader::new(stranger.stdout.take().unwrap()).lines() {
        // The harness may have begun the line.
        if let Some((_, said)) = line.unwrap().split_once('@') {
            let (_, answer) = said.split_once(' ').unwrap();
            *answers.entry(answer.to_owned()).or_insert(0) += 1;
        }
    }
    assert!(stranger.wait().unwrap().success());
    answers
}

/// The doors that are refused before anything else is looked at.
const DOORS: [&str; 11] = [
    "AppendEntries",
    "InstallSnapshot",
    "Metrics",
    "Read",
    "RemoveNode",
    "StateDump",
    "StreamAppend",
    "TransferLeader",
    "TransferLeadership",
    "Vote",
    "Write",
];

#[test]
fn another_user_of_the_machine_changes_nothing_in_a_run_by_any_door() {
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let args = ["run", "calm", "--time", "20", "--seed", "1", "--out", out];
    let mut running = Running::start(&args);
    running.wait_for("the workload begins", Duration::from_secs(30));
    let nodes = nodes_below(dir.path());
    assert_eq!(nodes.len(), 3);
    let of_nodes = ports_of(&nodes);
    assert_eq!(of_nodes.len(), 9, "Raft, chaos and Redis of each");
    // Of the proxy those doors are open that lead to one of the three: from two peers, and from four groups of clients.
    let of_proxy = ports_of(&[running.child.id()]);
    assert_eq!(of_proxy.len(), 3 * (8 + 4), "{of_proxy:?}");
    let ports: BTreeSet<u16> = of_nodes.union(&of_proxy).copied().collect();
    let answers = let_a_stranger_call(&ports);

    // Three listeners speak Redis.
    let calls = (ports.len() - 3) * GUESSES.len();
    let mut expected =
        BTreeMap::from([("RESP SET: -NOAUTH Authentication required.".to_owned(), 3)]);
    for door in DOORS {
        let refused = format!("{door}: Unauthenticated, not-applied");
        expected.insert(refused, calls);
    }
    assert_eq!(answers, expected);
    let status = running.end(Duration::from_secs(90));
    assert_eq!(status.code(), Some(0), "the store is not accused");
    assert_nothing_left(dir.path(), Duration::ZERO);
    nothing_strange_is_in(&only_folder(dir.path()));
}

/// The run's folder has no word of the stranger, and the history is judged the same afterwards.
fn nothing_strange_is_in(folder: &Path) {
    let history = folder.join("history.jsonl");
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(!text.contains(&format!("\"value\":{STRANGE}")));
    let (code, out, err) = said(&["check", history.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(!folder.join("token").exists(), "it has gone with its nodes");
}

#[test]
fn the_token_of_a_run_is_in_a_file_of_its_owner_and_on_no_command_line() {
    use std::os::unix::fs::MetadataExt;
    let _machine = machine();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let args = ["run", "calm", "--time", "60", "--seed", "2", "--out", out];
    let mut running = Running::start(&args);
    running.wait_for("the workload begins", Duration::from_secs(30));
    let folder = only_folder(dir.path());
    let path = folder.join("token");
    let token = std::fs::read_to_string(&path).unwrap();
    let token = token.trim();
    let kept = std::fs::metadata(&path).unwrap();
    assert_eq!((token.len(), kept.mode() & 0o777), (32, 0o600));
    let mut pids = nodes_below(dir.path());
    pids.push(running.child.id());
    for pid in &pids {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains(token));
    }
    // Nor in anything else that the run keeps, which is there for everybody.
    let bench = running.child.id().to_string();
    let kill = Command::new("kill").args(["-INT", &bench]).status();
    assert!(kill.unwrap().success());
    running.end(SOON);
    for file in files_below(&folder) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes
            .windows(token.len())
            .any(|part| part == token.as_bytes());
        assert!(!found, "{}", file.display());
    }
    assert!(!path.exists());
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_at_a_port_that_was_anothers_neither_votes_nor_acknowledges_for_it() {
    let _machine = machine();
    let mut stage = Stage::of(5).await;
    stage.serves("before").await;
    let leader = stage.leader().await;
    let others: Vec<u64> = stage
        .nodes
        .iter()
        .copied()
        .filter(|&id| id != leader)
        .collect();
    let [follower, gone @ ..] = &others[..] else {
        unreachable!("there are five");
    };
    let nodes = gone.to_vec();
    let id = stage.inject(Fault::KillSeveral { who: nodes }).await;
    // The follower has got the port of one that is gone: with two voices it would be a majority of five.
    let ready = stage.view(*follower).ready.unwrap();
    let taken = gone[0];
    stage.network.set_upstream(taken, Some(ready.at.peers));
    let sent = |stage: &Stage| {
        let messages = stage.network.snapshot().messages;
        let routes = [leader, *follower].map(|from| Route::nodes(from, taken));
        routes
            .iter()
            .map(|route| messages[route].requests)
            .sum::<u64>()
    };
    let before = sent(&stage);
    let began = Instant::now();
    // Several elections, and as many calls that reach the wrong node.
    while began.elapsed() < Duration::from_secs(4) || sent(&stage) < before + 20 {
        assert!(began.elapsed() < 2 * SOON, "{} calls came", sent(&stage));
        for to in [leader, *follower] {
            let written = stage.write(to, "during", 300 * MS).await;
            assert!(written.is_err(), "n{to} has two voices of five");
        }
    }
    stage.network.set_upstream(taken, None);
    stage.heal(id).await;
    stage.serves("after").await;
}

#[test]
fn the_table_of_the_kernel_shows_every_listener() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    assert!(listening().contains_key(&address.port()));
    assert!(ports_of(&[std::process::id()]).contains(&address.port()));
}
