//! How a process comes to be: the one place that a child is started from, whatever kind of machine it runs on.

use std::fmt;
use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::AsyncRead;
use tokio::process::Command;

use crate::target::Launch;

/// Starts processes.
pub trait Spawner: fmt::Debug + Send + Sync {
    /// Starts one from the calling thread, with its stderr in this log. Its folders and files are there.
    ///
    /// # Errors
    /// When the kernel starts none.
    fn spawn(&self, launch: &Launch, log: File) -> io::Result<Spawned>;
}

/// A process that was started. Whoever drops `ended` before it is over kills it.
pub struct Spawned {
    /// Its id.
    pub pid: u32,
    /// Its group, which everything that it starts is in, too.
    pub group: u32,
    /// Held as long as the process is: its end tells it that the bench is gone.
    pub stdin: Option<Box<dyn Send + Sync>>,
    /// What it says.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its end, once it is reaped.
    pub ended: BoxFuture<'static, ExitStatus>,
}

/// A child of the bench itself, on the bench's own machine, in a group of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectChild;

impl Spawner for DirectChild {
    fn spawn(&self, launch: &Launch, log: File) -> io::Result<Spawned> {
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
            stdin,
            stdout,
            ended: ended.boxed(),
        })
    }
}
