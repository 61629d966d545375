//! Targets as their files describe them: started, ready, led, and made a cluster, by nothing but the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use checkers::history::Call;
use tempfile::TempDir;
use whitewater::target::described::{ClientOptions, Description, Launch, Place, Wiring, builtin};
use whitewater::target::protocol::dial::Dial;
use whitewater::target::protocol::resp::Resp;
use whitewater::target::template::Words;

use super::server::{Server, address, until};
use super::{CONNECT_WITHIN, PATIENCE, ask, ok};

/// How long one question has.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// How long a cluster has to be ready, or to have another leader.
const LED_WITHIN: Duration = Duration::from_secs(60);

/// Nodes as their description starts them.
pub(crate) struct Cluster {
    pub(crate) target: Description,
    mode: String,
    wiring: Wiring,
    /// By node and process.
    pub(crate) processes: BTreeMap<(u64, String), Server>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts a target that is shipped, and waits until every node is ready.
    pub(crate) async fn start(name: &str, mode: &str, nodes: u64) -> Cluster {
        let target = builtin::all().into_iter().find(|one| one.name == name);
        Cluster::of(target.unwrap(), mode, nodes).await
    }

    /// The same for any.
    pub(crate) async fn of(target: Description, mode: &str, nodes: u64) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let found = target.find.find(None).await.unwrap();
        let place = |id: u64| Place {
            id,
            ip: address(),
            dir: dir.path().join(format!("n{id}")),
        };
        let wiring = Wiring {
            members: (1..=nodes).map(place).collect(),
            program: found.program,
        };
        let mut cluster = Cluster {
            target,
            mode: mode.to_owned(),
            wiring,
            processes: BTreeMap::new(),
            _dir: dir,
        };
        for node in 1..=nodes {
            for launch in cluster.launches(node) {
                cluster.spawn(node, &launch);
            }
        }
        for node in 1..=nodes {
            cluster.ready(node).await;
        }
        let mode = cluster.target.mode(Some(mode)).unwrap();
        let formed = cluster.target.form(mode, &cluster.wiring, LED_WITHIN).await;
        formed.unwrap_or_else(|why| panic!("{why}"));
        cluster
    }

    pub(crate) fn launches(&self, node: u64) -> Vec<Launch> {
        let mode = self.target.mode(Some(&self.mode)).unwrap();
        self.target.launches(mode, node, &self.wiring)
    }

    /// Starts one process, its files before it where there are none yet.
    pub(crate) fn spawn(&mut self, node: u64, launch: &Launch) {
        std::fs::create_dir_all(&launch.cwd).unwrap();
        for (file, text) in &launch.files {
            let file: &PathBuf = file;
            if !file.exists() {
                std::fs::write(file, text).unwrap();
            }
        }
        let at = self.at(node, 0);
        let server = Server::spawn(&launch.program, &launch.args, &launch.cwd, at);
        self.processes.insert((node, launch.name.clone()), server);
    }

    pub(crate) fn at(&self, node: u64, port: u16) -> SocketAddr {
        let mut members = self.wiring.members.iter();
        let member = members.find(|member| member.id == node).unwrap();
        SocketAddr::new(member.ip, port)
    }

    pub(crate) fn dial(&self, port: u16) -> Dial {
        let nodes = self.wiring.members.iter();
        let nodes = nodes.map(|member| (member.id, SocketAddr::new(member.ip, port)));
        Dial::new(nodes.collect()).within(CONNECT_WITHIN)
    }

    pub(crate) fn words(&self, node: u64) -> Words {
        let mode = self.target.mode(Some(&self.mode)).unwrap();
        let mut members = self.wiring.members.iter();
        let place = members.position(|member| member.id == node).unwrap();
        self.target.words(mode, place, &self.wiring)
    }

    pub(crate) async fn ready(&self, node: u64) {
        let words = self.words(node);
        let mut last = String::new();
        let ready = until(LED_WITHIN, async || {
            let ready = self.target.ready.is(&words, "", ASK_WITHIN).await;
            ready.map_err(|why| last = why.to_string()).ok()
        });
        assert!(ready.await.is_some(), "n{node} is not ready: {last}");
    }

    /// The nodes that say that they lead.
    pub(crate) async fn leaders(&self) -> Vec<u64> {
        let mut leaders = Vec::new();
        for member in &self.wiring.members {
            let leads = self.target.leads(&self.words(member.id), ASK_WITHIN).await;
            if leads.is_ok_and(|leads| leads.expect("the file says who leads").leads) {
                leaders.push(member.id);
            }
        }
        leaders
    }

    pub(crate) fn kill(&mut self, node: u64, process: &str) {
        let process = (node, process.to_owned());
        self.processes
            .get_mut(&process)
            .expect("it was started")
            .kill();
    }
}

/// A client as the file describes it.
fn redis_client(cluster: &Cluster) -> Resp {
    let mode = cluster.target.mode(None).unwrap();
    let ClientOptions::Resp { port, read, .. } = &mode.client else {
        panic!("{:?}", mode.client);
    };
    Resp::new(cluster.dial(*port), *read)
}

/// Writes at a node until it is acknowledged.
async fn written(client: &mut Resp, node: u64, value: i64) {
    let done = until(LED_WITHIN, async || {
        (ask(client, node, "k", Call::Write(value)).await == ok(None)).then_some(())
    });
    assert!(done.await.is_some(), "n{node} acknowledges nothing");
}

/// A file whose nodes are ready when this port answers.
fn answers(port: u16) -> Description {
    let text = format!(
        r#"
        name = "closes"
        [find]
        program = ["sh"]
        install = "apt install dash"
        [[process]]
        run = ["{{program}}"]
        [ready]
        http = {{ get = "http://{{ip}}:{port}/", match = "it is here" }}
        [client]
        protocol = "resp"
        [modes.strong]
        expect = "holds"
        survives = []
        "#
    );
    let read = Description::read(&text, "closes.toml", std::path::Path::new("."));
    read.unwrap_or_else(|wrong| panic!("{wrong}")).0
}

#[tokio::test]
async fn a_server_that_closes_the_connection_behind_its_answer_has_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let answer = b"HTTP/1.0 200 OK\r\n\r\nit is here";
            let _ = stream.write_all(answer).await;
        }
    });
    let target = answers(port);
    let words = Words::default().with("ip", "127.0.0.1");
    for _ in 0..50 {
        let ready = target.ready.is(&words, "", ASK_WITHIN).await;
        ready.unwrap_or_else(|why| panic!("{why}"));
    }
}

#[tokio::test]
async fn a_primary_that_is_killed_is_replaced_by_sentinel_in_the_mode_with_failover() {
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let mut cluster = Cluster::start("redis", "failover", 3).await;
    let mut client = redis_client(&cluster);
    assert_eq!(cluster.leaders().await, [1]);
    written(&mut client, 1, 17).await;
    ask(&mut client, 2, "k", Call::Read)
        .await
        .assert_not_applied("READONLY");
    cluster.kill(1, "redis");
    // On a starved machine Sentinel may replace the next one, too: whoever leads acknowledges.
    let mut seen = Vec::new();
    let replaced = until(LED_WITHIN, async || {
        seen = cluster.leaders().await;
        let leader = *seen.first().filter(|_| seen.len() == 1)?;
        assert_ne!(leader, 1, "it was killed");
        let written = ask(&mut client, leader, "k", Call::Write(18)).await;
        (written == ok(None)).then_some(())
    });
    assert!(replaced.await.is_some(), "{seen:?} lead");
    // The old one comes back with what its file says now, or is told so: it follows.
    let launch = cluster.launches(1).remove(0);
    cluster.spawn(1, &launch);
    let mut seen = String::new();
    let follows = until(LED_WITHIN, async || {
        let proven = ask(&mut client, 1, "k", Call::Write(99)).await;
        seen = format!("{proven:?}");
        let up = seen.contains("READONLY");
        let leaders = cluster.leaders().await;
        (up && leaders.len() == 1 && leaders != [1]).then_some(())
    });
    let follows = follows.await.is_some();
    let log = cluster.processes[&(1, "redis".to_owned())].log();
    assert!(follows, "n1 says {seen}: {log}");
}

#[tokio::test]
async fn a_primary_that_is_killed_comes_back_with_what_it_acknowledged_where_there_is_no_failover()
{
    if !crate::installed::here(&["redis-server"]) {
        return;
    }
    let mut cluster = Cluster::start("redis", "strong", 3).await;
    let mut client = redis_client(&cluster);
    for value in 1..=50 {
        written(&mut client, 1, value).await;
        if value % 10 == 0 {
            cluster.kill(1, "redis");
            let launch = cluster.launches(1).remove(0);
            cluster.spawn(1, &launch);
            cluster.ready(1).await;
            let read = until(PATIENCE, async || {
                match ask(&mut client, 1, "k", Call::Read).await {
                    super::Proven::Ended(outcome) => Some(outcome),
                    _ => None,
                }
            });
            let expected = checkers::history::Outcome::Ok(Some(value));
            assert_eq!(read.await, Some(expected));
        }
    }
    assert_eq!(cluster.leaders().await, [1]);
}
