//! One child: how it is spawned, signalled, looked at and reaped, and the one list of all of them.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};

use super::deeds::SIGNAL_DEADLINE;
use super::upstream::Published;
use super::{ClusterConfig, ClusterError};
use crate::wire::metadata::TOKEN_VARIABLE;

/// The process groups of all living children of this program: the one global list, so that a panic hook or a
/// signal can end them without asking anybody.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// How much of a log's end is shown, in lines and in bytes.
const TAIL: (usize, u64) = (20, 8 << 10);

/// Kills every child of every cluster at once, paused ones too, without reaping them: for a panic hook or a signal.
/// Gives how many groups there were.
pub fn end_all_children() -> usize {
    // Whoever panicked while holding the lock left the set whole: inserts and removals do not stop half way.
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for &group in groups.iter() {
        signal_group(group, Signal::CONT);
        signal_group(group, Signal::KILL);
    }
    groups.len()
}

fn signal_group(group: u32, signal: Signal) {
    let pid = i32::try_from(group).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It fails only where the group is already gone.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// One life of one node.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: u32,
    /// Names the process even after its id is used again.
    fd: OwnedFd,
    ended: watch::Receiver<Option<ExitStatus>>,
    expected: AtomicBool,
    /// Withdrawn before anything ends this child: no signal is sent but through the functions below.
    published: Arc<Published>,
    /// Held open: its end tells the node that the bench is gone.
    _stdin: Option<ChildStdin>,
}

impl Child {
    /// SIGSTOP.
    pub(super) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGKILL. Its end is nobody's finding.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.expect_end();
        self.published.withdraw();
        self.signal(Signal::KILL)
    }

    /// SIGTERM. Its end is nobody's finding.
    pub(super) fn terminate(&self) -> io::Result<()> {
        self.expect_end();
        self.published.withdraw();
        self.signal(Signal::TERM)
    }

    /// SIGKILL for all of its group, if it still lives. Its end is nobody's finding.
    pub(super) fn kill_group(&self) {
        self.expect_end();
        self.published.withdraw();
        if self.ended().is_none() {
            signal_group(self.pid, Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.fd, signal)?)
    }

    /// It is ready, and listens here.
    pub(super) fn publish(&self, address: SocketAddr) {
        self.published.publish(address);
    }

    /// From now on its end is nobody's finding.
    pub(super) fn expect_end(&self) {
        self.expected.store(true, Ordering::SeqCst);
    }

    pub(super) fn end_is_expected(&self) -> bool {
        self.expected.load(Ordering::SeqCst)
    }

    pub(super) fn ended(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits until it is reaped.
    pub(super) async fn wait(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.map(|status| *status);
        match status {
            Ok(status) => status.unwrap_or_default(),
            // Its reaper only goes away with the cluster's thread, and then nobody is left to be told.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the kernel's state of every thread group leader is as wished: `T` is stopped.
    pub(super) async fn reaches(
        &self,
        deed: &'static str,
        id: u64,
        wished: impl Fn(char) -> bool,
    ) -> Result<(), ClusterError> {
        let began = tokio::time::Instant::now();
        loop {
            let state = kernel_state(self.pid);
            if state.is_some_and(&wished) && self.ended().is_none() {
                return Ok(());
            }
            if state.is_none() || self.ended().is_some() || began.elapsed() > SIGNAL_DEADLINE {
                let seen = match (self.ended(), state) {
                    (Some(status), _) => format!("it has ended ({status})"),
                    (None, Some(state)) => {
                        format!("the kernel says {state} after {:?}", began.elapsed())
                    }
                    (None, None) => "the kernel does not know it".into(),
                };
                return Err(ClusterError::Signal { deed, id, seen });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The state letter of `/proc/PID/stat`.
pub(super) fn kernel_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Where a child says that it listens: Raft, chaos and, where it serves it, the Redis protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) raft: SocketAddr,
    pub(super) chaos: SocketAddr,
    pub(super) resp: Option<SocketAddr>,
}

/// Where a child listens, once it says so.
pub(super) type Heard = oneshot::Receiver<Listening>;

/// Spawns a node's child from the calling thread, with its log, its pipes, its group, and a task that reaps it.
pub(super) fn spawn(
    config: &ClusterConfig,
    id: u64,
    folder: &Path,
) -> Result<(Child, Heard), ClusterError> {
    let made = |path: &Path, result: io::Result<()>| {
        result.map_err(|source| ClusterError::File {
            path: path.into(),
            source,
        })
    };
    let (data, traces) = (folder.join("data"), config.dir.join("trace"));
    made(&data, std::fs::create_dir_all(&data))?;
    made(&traces, std::fs::create_dir_all(&traces))?;
    let path = folder.join("log");
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|source| ClusterError::File { path, source })?;
    let also_log = log.try_clone();

    let failed = |source| ClusterError::Spawn { id, source };
    let also_log = also_log.map_err(failed)?;
    let Some((program, first)) = config.command.split_first() else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    let mut command = Command::new(program);
    command
        .args(first)
        .args(flags(config, id, &data, &traces))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    // Not what the bench itself may have been given.
    command.env_remove(TOKEN_VARIABLE);
    if let Some(token) = &config.token {
        command.env(TOKEN_VARIABLE, token.reveal());
    }
    let mut child = command.spawn().map_err(failed)?;
    let pid = child.id().unwrap_or_default();
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
    GROUPS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(pid);

    let stdin = child.stdin.take();
    let (tell, heard) = oneshot::channel();
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(listen(stdout, also_log, tell));
    }
    let (end, ended) = watch::channel(None);
    let published = Arc::new(Published::new(id, config.upstream.clone()));
    let withdrawn = published.clone();
    tokio::spawn(async move {
        let status = child.wait().await.unwrap_or_default();
        // Before anybody can know that it has ended, and start another.
        withdrawn.withdraw();
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        groups.remove(&pid);
        drop(groups);
        end.send_replace(Some(status));
    });
    let child = Child {
        pid,
        fd,
        ended,
        expected: AtomicBool::new(false),
        published,
        _stdin: stdin,
    };
    Ok((child, heard))
}

/// The node's flags, as in DESIGN.md's command line.
fn flags(config: &ClusterConfig, id: u64, data: &Path, traces: &Path) -> Vec<std::ffi::OsString> {
    let timings = &config.timings;
    let mut flags: Vec<std::ffi::OsString> = Vec::new();
    let mut flag = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        flags.push(name.into());
        flags.push(value.as_ref().into());
    };
    flag("--id", &id.to_string());
    flag("--listen", &"127.0.0.1:0");
    if let Some(address) = config.advertise.get(&id) {
        flag("--advertise", &address.to_string());
    }
    for (peer, address) in config.peers.get(&id).into_iter().flatten() {
        flag("--peer", &format!("{peer}={address}"));
    }
    flag("--data", &data);
    flag("--reads", &config.reads);
    flag("--append", &config.append);
    flag("--chaos-listen", &"127.0.0.1:0");
    // For whoever wants to look at the cluster with `redis-cli`: it asks for the token, too.
    flag("--resp", &"127.0.0.1:0");
    flag("--trace", &traces.join(format!("{id}.jsonl")));
    if let Some(defect) = &config.defect {
        flag("--defect", defect);
    }
    for (name, value) in [
        ("--heartbeat-ms", timings.heartbeat.as_millis()),
        ("--election-min-ms", timings.election_min.as_millis()),
        ("--election-max-ms", timings.election_max.as_millis()),
        ("--snapshot-every", timings.snapshot_every.into()),
        ("--keep-logs", timings.keep_logs.into()),
        ("--lag", timings.lag.into()),
    ] {
        flag(name, &value.to_string());
    }
    if config.power_loss {
        flags.push("--power-loss".into());
    }
    flags.push("--parent-watch".into());
    flags.extend(config.more_flags.iter().cloned());
    flags
}

/// Reads a child's stdout to its end: the ready line is told, every other line goes to the log.
async fn listen(stdout: ChildStdout, log: File, tell: oneshot::Sender<Listening>) {
    let mut log = tokio::fs::File::from_std(log);
    let mut tell = Some(tell);
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match (ready(&line), tell.take()) {
            (Some(listening), Some(first)) => {
                // Nobody waits for it any more when the start was given up.
                let _ = first.send(listening);
            }
            (_, untold) => {
                tell = untold;
                // A log that cannot be written (a full disk) must not stop the child at its next line.
                let _ = log.write_all(format!("{line}\n").as_bytes()).await;
                let _ = log.flush().await;
            }
        }
    }
}

/// `READY raft=ADDR chaos=ADDR`, and `resp=ADDR` after that or nothing.
fn ready(line: &str) -> Option<Listening> {
    let mut words = line.strip_prefix("READY ")?.split_whitespace();
    let raft = words.next()?.strip_prefix("raft=")?.parse().ok()?;
    let chaos = words.next()?.strip_prefix("chaos=")?.parse().ok()?;
    let resp = match words.next() {
        Some(word) => Some(word.strip_prefix("resp=")?.parse().ok()?),
        None => None,
    };
    Some(Listening { raft, chaos, resp })
}

/// The last lines of a log; empty where there is none.
pub(super) fn log_tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL.1)))?;
        let mut bytes = Vec::new();
        file.take(TAIL.1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL.0)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_ready_line_is_one() {
        let good = "READY raft=127.0.0.1:41001 chaos=127.0.0.1:41002";
        for (more, resp) in [("", None), (" resp=127.0.0.1:41003", Some(41003))] {
            let listening = ready(&format!("{good}{more}")).expect("a ready line");
            let ports = (listening.raft.port(), listening.chaos.port());
            assert_eq!(ports, (41001, 41002));
            assert_eq!(listening.resp.map(|address| address.port()), resp);
        }
        for bad in [
            "",
            "READY",
            "READY raft=127.0.0.1:41001",
            "READY chaos=127.0.0.1:1 raft=127.0.0.1:2",
            "READY raft=localhost chaos=127.0.0.1:2",
            "READY raft=127.0.0.1:1 chaos=127.0.0.1:2 resp=",
            "ready raft=127.0.0.1:1 chaos=127.0.0.1:2",
        ] {
            assert_eq!(ready(bad), None, "{bad}");
        }
    }
}
