//! `whitewater node`: one node process, from its flags to its exit code.
//!
//! Says `READY raft=ADDR chaos=ADDR`, with `resp=ADDR` where Redis is served, on standard output once it serves; everything else goes to standard error. Ends on
//! SIGTERM or SIGINT (0), with its parent if told to (0), and when Raft stops by itself (70). Where the host had no more of
//! something, before or after that line, the code says of what (80 to 86: [`Shortage`]'s table). Its token comes from the
//! environment.

use std::io::{Read, Write};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;

pub(crate) use crate::node::NodeArgs;
use crate::node::{Node, TOKEN_VARIABLE, Token};
use crate::shortage::Shortage;

/// A bench error, or a node that failed.
const FAILED: u8 = 70;
/// A panic, as Rust's own runtime has it.
const PANICKED: u8 = 101;

/// Runs the node until it is told to end.
///
/// # Errors
/// When it does not start; the reason is in the error.
pub(crate) fn run(args: NodeArgs) -> anyhow::Result<u8> {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,openraft=error,whitewater=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        // What cannot be logged is not logged: it would be told on stderr again, and end the node there.
        .log_internal_errors(false)
        .init();
    end_on_panic();
    start(args).or_else(|error| match Shortage::behind(error.as_ref()) {
        Some(shortage) => {
            tracing::error!("the node does not start: {error:#}");
            Ok(shortage.row().exit)
        }
        None => Err(error),
    })
}

fn start(args: NodeArgs) -> anyhow::Result<u8> {
    if args.parent_watch {
        die_with_parent().context("watching the parent")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let code = runtime.block_on(serve(args));
    // The log's writer and idle streams need not be waited for: what was answered is on disk.
    runtime.shutdown_background();
    code
}

async fn serve(args: NodeArgs) -> anyhow::Result<u8> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // By default a file that may not grow ends the process; so the write fails, as on any other bad disk.
    let _fails_instead = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let parent_gone = watch_stdin(args.parent_watch);
    let token = Token::from_environment().context(TOKEN_VARIABLE)?;
    let mut node = Node::start(args, token).await?;
    announce(&node)?;
    let code = tokio::select! {
        _ = terminated.recv() => 0,
        _ = interrupted.recv() => 0,
        () = parent_gone => 0,
        failure = node.failed() => {
            tracing::error!("the node ends: {}", failure.reason);
            failure.shortage.map_or(FAILED, |shortage| shortage.row().exit)
        }
    };
    node.shutdown().await;
    Ok(code)
}

fn announce(node: &Node) -> anyhow::Result<()> {
    let chaos = node
        .chaos_addr
        .map_or_else(|| "-".to_owned(), |address| address.to_string());
    let mut out = std::io::stdout().lock();
    let resp = node.resp_addr.map(|address| format!(" resp={address}"));
    let resp = resp.unwrap_or_default();
    writeln!(out, "READY raft={} chaos={chaos}{resp}", node.raft_addr)?;
    Ok(out.flush()?)
}

/// A panic in any task ends the process: half a node would look like a slow one. Libraries panic where the system has
/// no thread left, too; then the code says that.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let shortage = Shortage::in_text(&panic.to_string());
        let code = shortage.map_or(PANICKED, |shortage| shortage.row().exit);
        std::process::exit(i32::from(code));
    }));
}

/// The kernel kills this process when the thread that started it ends; it may have ended already.
pub(super) fn die_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let before = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    anyhow::ensure!(getppid() == before, "the parent has ended already");
    Ok(())
}

/// Resolves when standard input is closed; never if it is not to be watched.
async fn watch_stdin(watch: bool) {
    if !watch {
        return std::future::pending().await;
    }
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        // The node may have ended first.
        let _ = closed.send(());
    });
    // A thread that is gone without a word has ended, too.
    let _ = wait.await;
}
