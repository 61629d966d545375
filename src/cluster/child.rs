//! One child: how it is spawned, signalled, looked at and reaped, and the one list of all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{oneshot, watch};

use super::deeds::SIGNAL_DEADLINE;
use super::spawn::{Pids, SignalAll, Spawned};
use super::upstream::Published;
use super::{ClusterConfig, ClusterError};
use crate::target::{AskReady, Launch, Listening, Readiness, SaysReady};

/// The process groups of all living children of this program: the one global list, so that a panic hook or a
/// signal can end them without asking anybody.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// How much of a log's end is shown, in lines and in bytes.
const TAIL: (usize, u64) = (20, 8 << 10);

/// How often a child that does not speak for itself is asked whether it is ready.
const ASK_READY_EVERY: Duration = Duration::from_millis(20);

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
pub(super) struct Child {
    pub(super) pid: u32,
    /// Everything that it has started is in it, too, but where `all` knows more.
    group: u32,
    all: Option<Arc<SignalAll>>,
    pids: Option<Arc<Pids>>,
    /// Names the process even after its id is used again.
    fd: OwnedFd,
    ended: watch::Receiver<Option<ExitStatus>>,
    expected: AtomicBool,
    /// Withdrawn before anything ends this child: no signal is sent but through the functions below.
    published: Arc<Published>,
    /// Held open: its end tells the node that the bench is gone.
    _stdin: Option<Box<dyn Send + Sync>>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({})", self.pid)
    }
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

    /// SIGTERM, or what else asks its programs to end. Its end is nobody's finding.
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
            if let Some(all) = &self.all {
                // What cannot be sent to one of them has reached the group of the first.
                let _ = all(Signal::KILL);
            }
            signal_group(self.group, Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.all {
            Some(all) => all(signal),
            None => Ok(pidfd_send_signal(&self.fd, signal)?),
        }
    }

    /// The numbers of its processes, its own first.
    pub(super) fn pids(&self) -> Vec<u32> {
        let all = self.pids.as_ref().map(|pids| pids());
        all.unwrap_or_else(|| vec![self.pid])
    }

    /// It is ready, and listens here.
    pub(super) fn publish(&self, address: SocketAddr) {
        self.published.publish(address);
    }

    /// From now on its end is nobody's finding.
    pub(super) fn expect_end(&self) {
        self.expected.store(true, Ordering::SeqCst);
    }

    /// Its end would be its own doing again. One that has ended meanwhile is excused.
    pub(super) fn expect_life(&self) {
        if self.ended().is_none() {
            self.expected.store(false, Ordering::SeqCst);
        }
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

/// Where a child listens, once it says so.
pub(super) type Heard = oneshot::Receiver<Listening>;

/// Starts a node's child from the calling thread, with its log, its pipes, its group, and a task that reaps it.
pub(super) fn spawn(
    config: &ClusterConfig,
    id: u64,
    launches: &[Launch],
) -> Result<(Child, Heard), ClusterError> {
    let made = |path: &Path, result: io::Result<()>| {
        result.map_err(|source| ClusterError::File {
            path: path.into(),
            source,
        })
    };
    let folder = config.wiring.folder(id);
    made(&folder, std::fs::create_dir_all(&folder))?;
    for path in launches.iter().flat_map(|launch| &launch.folders) {
        made(path, std::fs::create_dir_all(path))?;
    }
    for (path, text) in launches.iter().flat_map(|launch| &launch.files) {
        made(path, std::fs::write(path, text))?;
    }
    let path = folder.join("log");
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|source| ClusterError::File { path, source })?;

    let failed = |source| ClusterError::Spawn { id, source };
    let also_log = log.try_clone().map_err(failed)?;
    let first = launches.first();
    let first = first.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let spawned = config.spawner.spawn(id, launches, log).map_err(failed)?;
    let Spawned {
        pid,
        group,
        all,
        pids,
        stdin,
        stdout,
        ended: reaped,
    } = spawned;
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let fd = pidfd_open(raw, PidfdFlags::empty()).map_err(|error| failed(error.into()))?;
    GROUPS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(group);

    let (end, ended) = watch::channel(None);
    let (tell, heard) = oneshot::channel();
    match &first.readiness {
        Readiness::Says(says) => {
            let first = (says.clone(), tell);
            stdout.map(|stdout| tokio::spawn(listen(stdout, also_log, Some(first))));
        }
        Readiness::Asked(ask) => {
            tokio::spawn(ask_until_ready(ask.clone(), ended.clone(), tell));
            stdout.map(|stdout| tokio::spawn(listen(stdout, also_log, None)));
        }
    }
    let published = Arc::new(Published::new(id, config.upstream.clone()));
    if let Some(address) = first.host {
        published.publish(address);
    }
    let withdrawn = published.clone();
    tokio::spawn(async move {
        let status = reaped.await;
        // Before anybody can know that it has ended, and start another.
        withdrawn.withdraw();
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        groups.remove(&group);
        drop(groups);
        end.send_replace(Some(status));
    });
    let child = Child {
        pid,
        group,
        all,
        pids,
        fd,
        ended,
        expected: AtomicBool::new(false),
        published,
        _stdin: stdin,
    };
    Ok((child, heard))
}

/// Reads a child's stdout to its end: a line that says that it is ready is told, every other line goes to the log.
async fn listen(
    stdout: Box<dyn AsyncRead + Send + Unpin>,
    log: File,
    mut first: Option<(Arc<SaysReady>, oneshot::Sender<Listening>)>,
) {
    let mut log = tokio::fs::File::from_std(log);
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let listening = first.as_ref().and_then(|(ready, _)| ready(&line));
        match (listening, first.take()) {
            (Some(listening), Some((_, tell))) => {
                // Nobody waits for it any more when the start was given up.
                let _ = tell.send(listening);
            }
            (_, untold) => {
                first = untold;
                // A log that cannot be written (a full disk) must not stop the child at its next line.
                let _ = log.write_all(format!("{line}\n").as_bytes()).await;
                let _ = log.flush().await;
            }
        }
    }
}

/// Asks a child again and again whether it is ready, as long as it lives and somebody waits for it. Who answers when it
/// has ended is somebody else.
async fn ask_until_ready(
    ready: Arc<AskReady>,
    mut ended: watch::Receiver<Option<ExitStatus>>,
    mut tell: oneshot::Sender<Listening>,
) {
    loop {
        let asked = tokio::select! {
            biased;
            _ = ended.wait_for(Option::is_some) => return,
            () = tell.closed() => return,
            asked = ready() => asked,
        };
        if let Some(listening) = asked {
            // Nobody waits for it any more when the start was given up.
            let _ = tell.send(listening);
            return;
        }
        tokio::time::sleep(ASK_READY_EVERY).await;
    }
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
