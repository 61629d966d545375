//! Maelstrom's bodies, against the lin-kv node that is shipped: its strong mode is linearizable while nodes are cut off
//! and stopped, its weak one is not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checkers::anomaly;
use checkers::history::{Answer, Builder, Call, Header, History, Outcome};
use checkers::linear::{self, Options};
use checkers::verdict::Verdict;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use whitewater::target::described::{Description, Expect, Place, Wiring, builtin};
use whitewater::target::protocol::maelstrom::{self, Message};

use super::PATIENCE;
use super::server::until;

type Body = Map<String, Value>;

/// The network between nodes and clients: it passes lines on, or drops them.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    inputs: BTreeMap<String, mpsc::UnboundedSender<String>>,
    waiting: BTreeMap<(String, u64), oneshot::Sender<Body>>,
    /// Nodes that no other node hears, and that hear none; clients still reach them.
    isolated: BTreeSet<String>,
}

impl Network {
    fn with<T>(&self, act: impl FnOnce(&mut Wires) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    fn deliver(&self, message: Message) {
        self.with(|wires| {
            let apart =
                wires.isolated.contains(&message.src) || wires.isolated.contains(&message.dest);
            match wires.inputs.get(&message.dest) {
                Some(_) if apart && message.src.starts_with('n') => {}
                // A node that has ended hears nothing.
                Some(input) => drop(input.send(message.line())),
                None => {
                    let id = message.in_reply_to().unwrap_or_default();
                    if let Some(waiting) = wires.waiting.remove(&(message.dest, id)) {
                        // Whoever asked may have given up.
                        let _ = waiting.send(message.body);
                    }
                }
            }
        });
    }

    async fn ask(&self, src: &str, dest: &str, body: Body, within: Duration) -> Option<Body> {
        let id = body["msg_id"].as_u64().unwrap();
        let (tell, answer) = oneshot::channel();
        self.with(|wires| wires.waiting.insert((src.to_owned(), id), tell));
        let (src, dest, addr) = (src.to_owned(), dest.to_owned(), None);
        self.deliver(Message {
            src,
            dest,
            addr,
            body,
        });
        timeout(within, answer).await.ok()?.ok()
    }
}

struct Cluster {
    _dir: TempDir,
    network: Network,
    nodes: BTreeMap<String, Child>,
}

impl Cluster {
    async fn start(mode: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let target = described();
        let found = target.find.find(None).await.unwrap();
        let place = |id: u8| Place {
            id: id.into(),
            ip: [127, 0, 0, id].into(),
            dir: dir.path().join(format!("n{id}")),
        };
        let wiring = Wiring {
            members: (1..=3).map(place).collect(),
            program: found.program,
        };
        let mode = target.mode(Some(mode)).unwrap();
        let network = Network::default();
        let mut nodes = BTreeMap::new();
        for member in &wiring.members {
            let launch = target.launches(mode, member.id, &wiring).remove(0);
            std::fs::create_dir(&launch.cwd).unwrap();
            for (file, text) in &launch.files {
                std::fs::write(file, text).unwrap();
            }
            let child = Command::new(&launch.program)
                .args(&launch.args)
                .current_dir(&launch.cwd)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn();
            let mut child = child.unwrap();
            let name = format!("n{}", member.id);
            let (input, mut lines) = mpsc::unbounded_channel::<String>();
            network.with(|wires| wires.inputs.insert(name.clone(), input));
            let mut stdin = child.stdin.take().unwrap();
            tokio::spawn(async move {
                while let Some(line) = lines.recv().await {
                    if stdin.write_all(line.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(hear(child.stdout.take().unwrap(), network.clone()));
            nodes.insert(name, child);
        }
        let names: Vec<String> = nodes.keys().cloned().collect();
        for name in &names {
            let answer = network
                .ask("c0", name, maelstrom::init(1, name, &names), PATIENCE)
                .await;
            assert_eq!(answer.unwrap()["type"], "init_ok");
        }
        Cluster {
            _dir: dir,
            network,
            nodes,
        }
    }

    fn signal(&self, node: &str, signal: Signal) {
        let pid = self.nodes[node].id().expect("it lives");
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn end(mut self) {
        for child in self.nodes.values_mut() {
            child.kill().await.unwrap();
        }
    }
}

fn described() -> Description {
    let mut all = builtin::all().into_iter();
    all.find(|one| one.name == "maelstrom-lin-kv").unwrap()
}

async fn hear(stdout: ChildStdout, network: Network) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        network.deliver(Message::parse(&line).unwrap_or_else(|error| panic!("{error}")));
    }
}

/// What the clients saw, in one order.
struct Record {
    builder: Builder,
    begun: Instant,
    next: u64,
    clients: u64,
    values: i64,
    /// Operations that were done, by the node that was asked.
    done: BTreeMap<u64, u64>,
    over: bool,
}

impl Record {
    fn stamp(&mut self) -> (u64, u64) {
        self.next += 1;
        (
            self.next - 1,
            u64::try_from(self.begun.elapsed().as_nanos()).unwrap(),
        )
    }
}

/// One client after the other at one node, until it is over.
async fn load(network: Network, record: Arc<Mutex<Record>>, node: u64) {
    let new = || {
        let mut record = record.lock().unwrap();
        record.clients += 1;
        record.clients
    };
    let (mut client, mut turn, mut last) = (new(), node, [0; 2]);
    while !record.lock().unwrap().over {
        turn += 1;
        let key = format!("k{}", turn % 2);
        let (id, call) = {
            let mut record = record.lock().unwrap();
            record.values += 1;
            let value = record.values;
            let call = match turn % 5 {
                0 | 2 => Call::Write(value),
                1 => Call::Cas {
                    old: last[usize::from(turn % 2 == 1)],
                    new: value,
                },
                _ => Call::Read,
            };
            let (index, time) = record.stamp();
            record
                .builder
                .invoke(index, time, client, Some(node), &key, call)
                .unwrap();
            (index + 10, call)
        };
        let (src, dest) = (format!("c{client}"), format!("n{node}"));
        let body = maelstrom::request(id, &key, call).ok().unwrap();
        let answer = network
            .ask(&src, &dest, body, Duration::from_millis(400))
            .await;
        let outcome = match answer.map(|answer| maelstrom::answer(node, call, &answer)) {
            Some(Ok(reply)) => reply.outcome,
            Some(Err(whitewater::target::protocol::Refusal::NotApplied { .. })) => Outcome::Failed,
            Some(Err(_)) | None if call == Call::Read => Outcome::Failed,
            Some(Err(_)) | None => Outcome::Unknown,
        };
        {
            let mut record = record.lock().unwrap();
            let (index, time) = record.stamp();
            let answer = Answer {
                outcome,
                at: None,
                node: Some(node),
            };
            record
                .builder
                .complete(index, time, client, answer, None)
                .unwrap();
            *record.done.entry(node).or_default() += u64::from(matches!(outcome, Outcome::Ok(_)));
        }
        if let (Call::Read, Outcome::Ok(Some(found))) = (call, outcome) {
            last[usize::from(turn % 2 == 1)] = found;
        }
        if outcome == Outcome::Unknown {
            client = new();
        }
        sleep(Duration::from_millis(3)).await;
    }
}

/// Waits until so many more operations were done at each of these nodes.
async fn go_on(record: &Arc<Mutex<Record>>, nodes: &[u64], more: u64) {
    let done = || {
        let record = record.lock().unwrap();
        let done = nodes
            .iter()
            .map(|node| record.done.get(node).copied().unwrap_or_default());
        done.collect::<Vec<u64>>()
    };
    let before = done();
    let enough = until(Duration::from_secs(60), async || {
        let mut both = before.iter().zip(done());
        both.all(|(before, now)| now >= before + more).then_some(())
    });
    let enough = enough.await.is_some();
    assert!(enough, "n{nodes:?} go on from {before:?} to {:?}", done());
}

/// Isolates one node after the other, and stops one after the other, under load; gives the history. Reads of a node that
/// is isolated are waited for where it `answers` them.
async fn broken(mode: &str, answers: bool) -> History {
    let cluster = Cluster::start(mode).await;
    let record = Arc::new(Mutex::new(Record {
        builder: Builder::new(Header::register(0).with_unique_values()),
        begun: Instant::now(),
        next: 0,
        clients: 0,
        values: 0,
        done: BTreeMap::new(),
        over: false,
    }));
    let clients: Vec<_> = [1, 1, 2, 2, 3, 3]
        .map(|node| tokio::spawn(load(cluster.network.clone(), record.clone(), node)))
        .into();
    go_on(&record, &[1, 2, 3], 20).await;
    for node in 1..=3_u64 {
        let others: Vec<u64> = (1..=3).filter(|other| *other != node).collect();
        let name = format!("n{node}");
        cluster
            .network
            .with(|wires| wires.isolated.insert(name.clone()));
        go_on(&record, &others, 20).await;
        if answers {
            go_on(&record, &[node], 10).await;
        }
        cluster.network.with(|wires| wires.isolated.clear());
        go_on(&record, &[node], 5).await;
        cluster.signal(&name, Signal::STOP);
        go_on(&record, &others, 20).await;
        cluster.signal(&name, Signal::CONT);
        go_on(&record, &[node], 5).await;
    }
    record.lock().unwrap().over = true;
    for client in clients {
        client.await.unwrap();
    }
    cluster.end().await;
    let record = Arc::into_inner(record).expect("the clients are done");
    record.into_inner().unwrap().builder.finish()
}

#[tokio::test]
async fn the_lin_kv_node_that_is_shipped_is_linearizable_where_it_promises_to_be() {
    if !crate::installed::here(&["python3"]) {
        return;
    }
    let history = broken("strong", false).await;
    let verdict = linear::check(&history, &Options::default()).verdict;
    assert!(verdict.holds(), "{verdict:?}");
}

#[tokio::test]
async fn its_weak_mode_is_caught() {
    if !crate::installed::here(&["python3"]) {
        return;
    }
    let history = broken("weak", true).await;
    let Verdict::Violation(found) = linear::check(&history, &Options::default()).verdict else {
        panic!("nothing was found");
    };
    let found = anomaly::of(&found, Some(&history));
    let target = described();
    let Expect::Found(expected) = &target.mode(Some("weak")).unwrap().expect else {
        panic!("the weak mode expects nothing");
    };
    assert!(
        expected.contains(&found),
        "{found}, and not one of {expected:?}"
    );
}
