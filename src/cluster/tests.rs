//! The life of children, with shell scripts in the place of nodes; `tests/` has the real ones.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::target::kiwi::{Kiwi, KiwiConfig};
use crate::target::testing::Plain;
use crate::target::{
    Asked, Client, ClientConfig, Launch, Listening, Member, Mode, Readiness, Wiring,
};

const READY: &str = "echo READY 127.0.0.1:1; exec cat >/dev/null";
const SOON: Duration = Duration::from_secs(10);

/// Nodes that are this script.
fn plain(script: &str) -> Plain {
    Plain {
        script: script.to_owned(),
        ..Plain::default()
    }
}

fn config(dir: &Path, script: &str) -> ClusterConfig {
    config_of(dir, plain(script))
}

fn config_of(dir: &Path, target: impl Target + 'static) -> ClusterConfig {
    ClusterConfig {
        ready_deadline: Duration::from_secs(5),
        grace: Duration::from_millis(300),
        poll_every: Duration::from_millis(10),
        ..ClusterConfig::new(dir.into(), Arc::new(target))
    }
}

fn cluster(dir: &tempfile::TempDir, script: &str) -> Cluster {
    Cluster::new(config(dir.path(), script)).unwrap()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Whether the kernel still knows the process; a zombie counts.
fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn until(cluster: &Cluster, what: impl Fn(&Cluster) -> bool) {
    let mut changes = cluster.changes();
    let wait = async {
        while !what(cluster) {
            changes.changed().await.unwrap();
        }
    };
    let done = tokio::time::timeout(SOON, wait).await;
    assert!(done.is_ok(), "{:?} {:?}", cluster.views(), cluster.exits());
}

#[tokio::test]
async fn a_child_is_started_seen_and_killed() {
    let dir = folder();
    let cluster = cluster(&dir, READY);
    assert!(cluster.view(1).is_none());
    let ready = cluster.start(1).await.unwrap();
    assert_eq!(ready.at.peers.port(), 1);
    let view = cluster.view(1).unwrap();
    assert_eq!(view.state, ChildState::Up);
    assert_eq!((view.pid, view.ready), (Some(ready.pid), Some(ready)));
    let status = cluster.kill(1).await.unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(!lives(ready.pid), "it is reaped");
    let view = cluster.view(1).unwrap();
    assert_eq!(
        (view.state, view.pid, view.ready),
        (ChildState::Dead, None, None)
    );
    assert!(cluster.exits().is_empty(), "it was killed, it did not exit");
    let error = cluster.kill(1).await.unwrap_err();
    assert!(matches!(error, ClusterError::State { .. }), "{error}");
}

#[tokio::test]
async fn a_node_is_started_as_its_target_says() {
    let dir = folder();
    let target = Plain {
        environment: vec![("SET", Some("to this".into())), ("HOME", None)],
        ..plain(&format!(
            r#"echo "n$1 $SET ${{HOME-nowhere}}" >&2; {READY}"#
        ))
    };
    let cluster = Cluster::new(config_of(dir.path(), target)).unwrap();
    cluster.start(2).await.unwrap();
    assert_eq!(cluster.log_tail(2), "n2 to this nowhere");
    let file = dir.path().join("nodes/2/data/born");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "2");
}

/// A target whose nodes are asked whether they are ready, and are when they were asked so often before.
#[derive(Debug)]
struct Silent(Plain, u64, Arc<AtomicU64>);

impl Target for Silent {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn launches(&self, node: u64, wiring: &Wiring) -> Vec<Launch> {
        let mut launches = self.0.launches(node, wiring);
        let (before, asked) = (self.1, self.2.clone());
        launches[0].readiness = Readiness::Asked(Arc::new(move || {
            let there = asked.fetch_add(1, Ordering::SeqCst) >= before;
            let address = SocketAddr::from(([127, 0, 0, 1], 5));
            let listening = Listening {
                peers: address,
                clients: address,
                chaos: None,
                redis: None,
            };
            Box::pin(async move { there.then_some(listening) })
        }));
        launches
    }

    fn bootstrap<'a>(&'a self, members: &'a [Member]) -> Asked<'a, ()> {
        self.0.bootstrap(members)
    }

    fn client(&self, config: ClientConfig) -> Box<dyn Client> {
        self.0.client(config)
    }

    fn modes(&self) -> Vec<Mode> {
        self.0.modes()
    }
}

#[tokio::test]
async fn a_child_that_does_not_speak_for_itself_is_asked_until_it_is_ready() {
    let dir = folder();
    let asked = Arc::new(AtomicU64::new(0));
    let script = "echo READY or not; exec cat >/dev/null";
    let target = Silent(plain(script), 2, asked.clone());
    let cluster = Cluster::new(config_of(dir.path(), target)).unwrap();
    let ready = cluster.start(1).await.unwrap();
    assert_eq!(ready.at.clients.port(), 5);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    until(&cluster, |cluster| cluster.log_tail(1) == "READY or not").await;
    cluster.kill(1).await.unwrap();

    let dir = folder();
    let target = Silent(plain("exit 3"), u64::MAX, Arc::default());
    let cluster = Cluster::new(config_of(dir.path(), target)).unwrap();
    let error = cluster.start(1).await.unwrap_err();
    let died = matches!(error, ClusterError::DiedAtStart { .. });
    assert!(died, "nobody waits for one that has ended: {error}");
}

/// An address, and what the kernel said of the child when it was told.
type Told = (Option<SocketAddr>, Option<char>);

/// What was told of n1.
#[derive(Clone, Default)]
struct Heard {
    pid: Arc<AtomicU64>,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Heard {
    fn hook(&self) -> UpstreamHook {
        let heard = self.clone();
        UpstreamHook::new(move |node, address| {
            assert_eq!(node, 1);
            let pid = heard.pid.load(Ordering::SeqCst);
            let state = child::kernel_state(u32::try_from(pid).unwrap());
            heard.told.lock().unwrap().push((address, state));
        })
    }

    /// Starts n1, which must be told then.
    async fn start(&self, cluster: &Cluster) {
        let ready = cluster.start(1).await.unwrap();
        assert_eq!(self.take().first().unwrap().0, Some(ready.at.peers));
        self.pid.store(ready.pid.into(), Ordering::SeqCst);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// That it is to be forgotten was told once, while the child still lived and had its port.
    #[track_caller]
    fn was_told_before(&self, how: &str) {
        let told = self.take();
        let lives = |state: Option<char>| state.is_some_and(|state| state != 'Z');
        let first = told.first();
        assert!(
            first.is_some_and(|(address, state)| address.is_none() && lives(*state)),
            "{how}: {told:?}"
        );
    }
}

#[tokio::test]
async fn whoever_leads_to_a_node_hears_that_it_is_to_be_ended_before_it_is() {
    let dir = folder();
    let heard = Heard::default();
    let script = format!(
        "[ -e {0}/stubborn ] && trap '' TERM; {READY}",
        dir.path().display()
    );
    let cluster = Cluster::new(ClusterConfig {
        upstream: heard.hook(),
        ..config(dir.path(), &script)
    });
    let cluster = cluster.unwrap();
    heard.start(&cluster).await;
    cluster.kill(1).await.unwrap();
    heard.was_told_before("kill");

    heard.start(&cluster).await;
    cluster.pause(1).await.unwrap();
    assert_eq!(heard.take(), [], "a paused child keeps its port");
    cluster.stop(1).await.unwrap();
    heard.was_told_before("stop");

    heard.start(&cluster).await;
    let again = cluster.restart(1).await.unwrap();
    let told = heard.told.lock().unwrap().clone();
    assert_eq!(told.last().unwrap().0, Some(again.at.peers), "{told:?}");
    heard.was_told_before("restart");
    cluster.kill(1).await.unwrap();
    heard.take();

    std::fs::write(dir.path().join("stubborn"), "").unwrap();
    heard.start(&cluster).await;
    assert!(!cluster.stop(1).await.unwrap().graceful);
    heard.was_told_before("a stop that ends in a kill");

    heard.start(&cluster).await;
    drop(cluster);
    heard.was_told_before("the cluster's end");
}

#[tokio::test]
async fn a_child_that_ended_by_itself_is_forgotten_before_anybody_knows() {
    let dir = folder();
    let heard = Heard::default();
    let script = "echo READY 127.0.0.1:1; read line; exit 7";
    let cluster = Cluster::new(ClusterConfig {
        upstream: heard.hook(),
        ..config(dir.path(), script)
    });
    let cluster = cluster.unwrap();
    heard.start(&cluster).await;
    let pid = heard.pid.load(Ordering::SeqCst).to_string();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid])
        .status();
    assert!(killed.unwrap().success());
    until(&cluster, |cluster| !cluster.exits().is_empty()).await;
    let told: Vec<_> = heard
        .take()
        .into_iter()
        .map(|(address, _)| address)
        .collect();
    assert_eq!(told, [None]);
    heard.start(&cluster).await;
}

#[tokio::test]
async fn a_child_that_dies_before_it_is_ready_is_an_error_with_the_end_of_its_log() {
    let dir = folder();
    let cluster = cluster(&dir, "echo 'the disk is on fire' >&2; exit 3");
    let error = cluster.start(1).await.unwrap_err();
    let ClusterError::DiedAtStart { id: 1, status, log } = &error else {
        panic!("{error}");
    };
    assert_eq!(status.code(), Some(3));
    assert_eq!(log, "the disk is on fire");
    assert!(
        cluster.exits().is_empty(),
        "no finding: {:?}",
        cluster.exits()
    );
    assert_eq!(cluster.view(1).unwrap().state, ChildState::Dead);
}

#[tokio::test]
async fn a_child_that_never_is_ready_is_an_error_and_does_not_live_on() {
    let dir = folder();
    let cluster = Cluster::new(ClusterConfig {
        ready_deadline: Duration::from_millis(100),
        ..config(
            dir.path(),
            "echo warming up; echo $$ >&2; exec cat >/dev/null",
        )
    })
    .unwrap();
    let error = cluster.start(1).await.unwrap_err();
    let ClusterError::NotReady { log, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        log.contains("warming up"),
        "stdout goes to the log too: {log}"
    );
    let pid = log.lines().find_map(|line| line.parse().ok()).unwrap();
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error() {
    let dir = folder();
    let kiwi = Kiwi::new(KiwiConfig {
        command: vec!["/no/such/program".into()],
        ..KiwiConfig::default()
    });
    let cluster = Cluster::new(config_of(dir.path(), kiwi)).unwrap();
    let error = cluster.start(1).await.unwrap_err();
    assert!(
        matches!(error, ClusterError::Spawn { id: 1, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_ready_child_that_ends_by_itself_is_reported_with_its_log() {
    let dir = folder();
    let script = "echo READY 127.0.0.1:1; echo 'log is corrupt' >&2; exit 7";
    let cluster = cluster(&dir, script);
    let ready = cluster.start(1).await.unwrap();
    until(&cluster, |cluster| !cluster.exits().is_empty()).await;
    let exits = cluster.exits();
    assert_eq!((exits.len(), exits[0].id, exits[0].pid), (1, 1, ready.pid));
    assert_eq!(exits[0].status.code(), Some(7));
    assert_eq!(exits[0].log, "log is corrupt");
    assert_eq!(cluster.view(1).unwrap().state, ChildState::Dead);
}

#[tokio::test]
async fn a_paused_child_is_stopped_says_the_kernel_and_goes_on_when_resumed() {
    let dir = folder();
    let cluster = cluster(&dir, READY);
    let ready = cluster.start(1).await.unwrap();
    cluster.pause(1).await.unwrap();
    assert_eq!(child::kernel_state(ready.pid), Some('T'));
    assert_eq!(cluster.view(1).unwrap().state, ChildState::Paused);
    let error = cluster.pause(1).await.unwrap_err();
    assert_eq!(error.to_string(), "pause n1: it is Paused");
    cluster.resume(1).await.unwrap();
    assert_ne!(child::kernel_state(ready.pid), Some('T'));
    assert_eq!(cluster.view(1).unwrap().state, ChildState::Up);
    assert!(
        cluster.resume(1).await.is_err(),
        "it is not paused any more"
    );
    cluster.pause(1).await.unwrap();
    cluster.kill(1).await.unwrap();
    assert!(!lives(ready.pid), "a paused child can be killed");
}

#[tokio::test]
async fn a_restart_ends_gracefully_and_starts_on_the_same_disk() {
    let dir = folder();
    let script = format!(
        r#"trap 'echo bye >&2; exit 0' TERM; {}"#,
        "echo READY 127.0.0.1:1; while :; do sleep 0.02; done"
    );
    let cluster = cluster(&dir, &script);
    let first = cluster.start(1).await.unwrap();
    cluster.pause(1).await.unwrap();
    let ended = cluster.stop(1).await.unwrap();
    assert!(
        ended.graceful && ended.status.success(),
        "also when paused: {ended:?}"
    );
    cluster.start(1).await.unwrap();
    let third = cluster.restart(1).await.unwrap();
    assert_ne!(first.pid, third.pid);
    assert_eq!(cluster.view(1).unwrap().restarts, 2);
    assert_eq!(cluster.log_tail(1), "bye\nbye");
    assert!(cluster.exits().is_empty(), "{:?}", cluster.exits());
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed_after_the_grace() {
    let dir = folder();
    let cluster = cluster(&dir, &format!("trap '' TERM; {READY}"));
    let ready = cluster.start(1).await.unwrap();
    let ended = cluster.stop(1).await.unwrap();
    assert!(!ended.graceful);
    assert_eq!(ended.status.signal(), Some(9));
    assert!(!lives(ready.pid));
}

#[tokio::test]
async fn only_a_dead_node_is_wiped() {
    let dir = folder();
    let cluster = cluster(&dir, READY);
    cluster.start(1).await.unwrap();
    let data = dir.path().join("nodes/1/data");
    std::fs::write(data.join("log.redb"), "entries").unwrap();
    let error = cluster.wipe(1).await.unwrap_err();
    assert_eq!(error.to_string(), "wipe n1: it is Up");
    assert!(data.join("log.redb").exists());
    cluster.kill(1).await.unwrap();
    cluster.wipe(1).await.unwrap();
    assert!(!data.exists());
    cluster.start(1).await.unwrap();
    assert!(data.exists(), "it starts on an empty disk");
}

#[tokio::test]
async fn all_end_at_once_and_a_dropped_cluster_leaves_nobody() {
    let dir = folder();
    let cluster = cluster(&dir, READY);
    let ids = [1, 2, 3];
    let ready = cluster.start_all(&ids).await.unwrap();
    assert_eq!(ready.iter().map(|ready| ready.id).collect::<Vec<_>>(), ids);
    let ends = cluster.end().await;
    assert_eq!(ends.len(), 3);
    assert!(
        ends.values().all(|end| end.as_ref().unwrap().graceful),
        "{ends:?}"
    );

    let ready = cluster.start_all(&ids).await.unwrap();
    cluster.pause(2).await.unwrap();
    drop(cluster);
    for one in ready {
        assert!(!lives(one.pid), "n{}", one.id);
    }
}

#[tokio::test]
async fn children_outlive_the_thread_that_asked_for_them() {
    let dir = folder();
    let cluster = cluster(&dir, READY);
    let cluster = &cluster;
    let pid = std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(cluster.start(1)).unwrap().pid
        });
        asker.join().unwrap()
    });
    // The kernel's parent of a process is a process; the thread is known by what it has spawned.
    let mut spawners = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let children = std::fs::read_to_string(task.join("children")).unwrap_or_default();
        if children
            .split_whitespace()
            .any(|child| child == pid.to_string())
        {
            spawners.push(std::fs::read_to_string(task.join("comm")).unwrap());
        }
    }
    assert_eq!(spawners, ["cluster\n"]);
}

#[tokio::test]
async fn the_latest_status_is_kept_without_asking_and_not_of_a_paused_node() {
    let asked = Arc::new(AtomicU64::new(0));
    let dir = folder();
    let target = Plain {
        asked: Some(asked.clone()),
        ..plain(READY)
    };
    let cluster = Cluster::new(config_of(dir.path(), target)).unwrap();
    cluster.start(1).await.unwrap();
    let term = |cluster: &Cluster| {
        let view = cluster.view(1).unwrap();
        let term = view.status.and_then(|status| status.says.term);
        term.unwrap_or_default()
    };
    until(&cluster, |cluster| term(cluster) >= 3).await;
    let seen = cluster.wait_for_leader(&[1], SOON).await.unwrap();
    assert_eq!(seen.leader, 1);

    cluster.pause(1).await.unwrap();
    // One question may have been on its way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asked.load(Ordering::SeqCst), before);
    cluster.resume(1).await.unwrap();
    until(&cluster, |cluster| term(cluster) > before).await;
}

#[tokio::test]
async fn a_missing_leader_is_an_error_that_shows_what_was_last_seen() {
    let dir = folder();
    let script = "echo 'n1 is alone' >&2; echo READY raft=127.0.0.1:1 chaos=127.0.0.1:2; exec cat >/dev/null";
    let kiwi = Kiwi::new(KiwiConfig {
        command: ["sh", "-c", script].map(OsString::from).to_vec(),
        ..KiwiConfig::default()
    });
    let cluster = Cluster::new(config_of(dir.path(), kiwi)).unwrap();
    cluster.start(1).await.unwrap();
    let deadline = Duration::from_millis(50);
    let error = cluster
        .wait_for_leader(&[1, 2], deadline)
        .await
        .unwrap_err();
    let text = error.to_string();
    for part in [
        "none within 50ms",
        "ask n1 for its status",
        "n1 is alone",
        "ask n2: it is Dead",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
