//! A server of a test's own: on an address of its own, with a folder of its own, and gone with the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// An address that no other server of these tests has, of this run or of one beside it.
pub(crate) fn address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 63), low, next))
}

/// A running program.
pub(crate) struct Server {
    child: Child,
    log: std::path::PathBuf,
    pub(crate) at: SocketAddr,
}

impl Server {
    /// Starts a program that listens there, and works in `dir`.
    pub(crate) fn spawn(program: &Path, args: &[String], dir: &Path, at: SocketAddr) -> Server {
        let name = program
            .file_name()
            .expect("a program has a name")
            .to_string_lossy();
        let log = dir.join(format!("{name}.log"));
        let to = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log);
        let to = to.expect("the log can be written");
        // With this thread its children end, however it ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(to.try_clone().expect("a descriptor can be doubled"))
            .stderr(to)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("setpriv and {name}: {error}"));
        Server { child, log, at }
    }

    /// The same, once it accepts connections.
    pub(crate) async fn start(
        program: &str,
        args: &[&str],
        dir: &TempDir,
        at: SocketAddr,
    ) -> Server {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let server = Server::spawn(Path::new(program), &args, dir.path(), at);
        server.ready().await;
        server
    }

    /// Waits until it accepts connections.
    pub(crate) async fn ready(&self) {
        let at = self.at;
        let accepts = until(READY_WITHIN, async || TcpStream::connect(at).await.ok()).await;
        assert!(accepts.is_some(), "nobody listens on {at}: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal).expect("it lives");
    }

    /// SIGSTOP, and every thread of it stands.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands = until(READY_WITHIN, async || {
            let mut tasks = std::fs::read_dir(&tasks).expect("it lives").flatten();
            let stands = tasks.all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // The state stands behind the name, which is in brackets.
                stat.rsplit_once(") ")
                    .is_some_and(|(_, state)| state.starts_with('T'))
            });
            stands.then_some(())
        });
        assert!(stands.await.is_some(), "it does not stand");
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and it is gone.
    pub(crate) fn kill(&mut self) {
        // It fails only where the child has ended already.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks until there is something to see, at most so long.
pub(crate) async fn until<T>(
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look().await {
            return Some(seen);
        }
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
