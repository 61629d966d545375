//! How a process comes to be: the one place that a child is started from, whatever kind of machine it runs on.

use std::fmt;
use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::process::Signal;
use tokio::io::AsyncRead;
use tokio::process::Command;

use crate::target::{Launch, Switches};

/// Starts processes.
pub trait Spawner: fmt::Debug + Send + Sync {
    /// Starts a node's processes from the calling thread, with what they say on stderr in this log. Their folders and
    /// files are there.
    ///
    /// # Errors
    /// When one is not started; then none is left.
    fn spawn(&self, node: u64, launches: &[Launch], log: File) -> io::Result<Spawned>;

    /// Who turns the nodes' disks and clocks wrong, where what they run on does that for whoever runs on it.
    fn switches(&self) -> Option<&dyn Switches> {
        None
    }

    /// Why the power of a node cannot be lost; `None`: it can.
    fn keeps_power(&self, node: u64) -> Option<String> {
        Some(format!("what n{node} has not synced outlives its process"))
    }

    /// Sets a node's disk back to what was synced. All of its processes are gone. Takes as long as the files take.
    ///
    /// # Errors
    /// When that failed: the node must not be started on what there is now.
    fn power_fails(&self, node: u64) -> io::Result<()> {
        let why = self.keeps_power(node).unwrap_or_default();
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// A node whose processes are gone has lost its data folder: another one is made at its next start.
    fn wiped(&self, _node: u64) {}
}

/// A node's processes, which were started. Whoever drops `ended` before it is over kills them.
pub struct Spawned {
    /// The id of the first of them: its end is the node's.
    pub pid: u32,
    /// Its group.
    pub group: u32,
    /// Sends all of the node's processes a signal, where they are not all in that group.
    pub all: Option<Arc<SignalAll>>,
    /// The numbers of all of the node's processes, where there are more than that.
    pub pids: Option<Arc<Pids>>,
    /// Held as long as the process is: its end tells it that the bench is gone.
    pub stdin: Option<Box<dyn Send + Sync>>,
    /// What it says.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its end, once it is reaped.
    pub ended: BoxFuture<'static, ExitStatus>,
}

/// Sends all processes of a node a signal; for SIGTERM each gets what asks it to end.
pub type SignalAll = dyn Fn(Signal) -> io::Result<()> + Send + Sync;

/// Says of which processes a node consists now.
pub type Pids = dyn Fn() -> Vec<u32> + Send + Sync;

/// A child of the bench itself, on the bench's own machine, in a group of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectChild;

impl Spawner for DirectChild {
    fn spawn(&self, _node: u64, launches: &[Launch], log: File) -> io::Result<Spawned> {
        let [launch] = launches else {
            let why = "a node of several processes needs a host of its own";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        };
        if launch.program.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &launch.folder {
            command.current_dir(folder);
        }
        for (name, value) in &launch.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let stdin = child.stdin.take().map(|pipe| Box::new(pipe) as _);
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as _);
        let ended = async move { child.wait().await.unwrap_or_default() };
        Ok(Spawned {
            pid,
            group: pid,
            all: None,
            pids: None,
            stdin,
            stdout,
            ended: ended.boxed(),
        })
    }
}
