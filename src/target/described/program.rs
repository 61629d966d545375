//! A client program of the user's own, as the process that it is: its lines go in and come out, and with whoever speaks to
//! it it ends, also where the bench is killed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use machine::launch::{Launch, Program, Stream as Pipes};
use machine::watcher::Watcher;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::target::protocol::lines::{Start, Stream};
use crate::target::template::{Template, Words};

/// A running one. Dropping it ends it, and all that it has started.
struct ClientProgram {
    input: pipe::Sender,
    output: pipe::Receiver,
    program: Option<Program>,
}

impl Drop for ClientProgram {
    fn drop(&mut self) {
        let program = self.program.take();
        // The kernel may take its time; where there is no runtime any more, so may whoever drops this.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(program));
        }
    }
}

/// What all of them have printed as errors, in the run's folder.
pub(super) const LOG: &str = "clients.log";

/// Starts the program of a client, as its file says, whenever it is wanted, on this host if it has one. What it prints as
/// errors is added to this log.
pub(super) fn start(
    run: &[Template],
    env: &BTreeMap<String, Template>,
    words: &Words,
    host: Option<Arc<dyn Watcher>>,
    log: Option<PathBuf>,
) -> Start {
    let run: Vec<String> = run.iter().map(|part| part.fill(words)).collect();
    let env: Vec<(String, String)> = env
        .iter()
        .map(|(name, text)| (name.clone(), text.fill(words)))
        .collect();
    Box::new(move || {
        let (run, env, host) = (run.clone(), env.clone(), host.clone());
        let log = log.clone();
        Box::pin(async move {
            let launched = move || launched(&run, &env, host, log.as_deref());
            let started = tokio::task::spawn_blocking(launched).await;
            let mut program = started.map_err(io::Error::other)??;
            let pipes = (program.stdin.take(), program.stdout.take());
            let (Some(input), Some(output)) = pipes else {
                return Err(io::Error::other("its pipes are not there"));
            };
            let program = ClientProgram {
                input: pipe::Sender::from_file(input)?,
                output: pipe::Receiver::from_file(output)?,
                program: Some(program),
            };
            Ok(Box::new(program) as Box<dyn Stream>)
        })
    })
}

fn launched(
    run: &[String],
    env: &[(String, String)],
    host: Option<Arc<dyn Watcher>>,
    log: Option<&Path>,
) -> io::Result<Program> {
    let (name, args) = run.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut launch = Launch::new(name)
        .args(args)
        .stdin(Pipes::Pipe)
        .stdout(Pipes::Pipe);
    for (name, value) in env {
        launch = launch.env(name, value);
    }
    if let Some(host) = host {
        launch = launch.watch(host);
    }
    if let Some(log) = log {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        launch = launch.stderr(log);
    }
    launch.start().map_err(io::Error::other)
}

impl AsyncRead for ClientProgram {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientProgram {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
