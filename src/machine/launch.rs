//! Starts an unmodified program under watch, and holds it: what it is told, how it ended, pause and end for all of it.
//!
//! ```text
//!  bench ──┬── keeper ── program ── its children
//!          │              ╰ what daemonised falls to the keeper
//!          ├── keeper ── program
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recv, recvmsg, sendmsg,
    shutdown, socketpair,
};
use rustix::process::Signal;
use thiserror::Error;

use crate::keeper::{KEEPER, Word};
pub use crate::orders::Limit;
use crate::orders::Orders;
use crate::processes::{Process, descendants};
use crate::starter::Stage;
use crate::supervisor::{Supervisor, lock};
use crate::sys::Interrupts;
use crate::watcher::{Want, Watcher};

/// A start, an end, a pause takes milliseconds; after so long something else is wrong, and that is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a program's own process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Why a program was not started, or not held.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The bench could not make the processes and sockets that it needs.
    #[error("the keeper of {} could not be started: {error}", program.display())]
    Keeper {
        /// The program that was to be kept.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The filter was refused: no program can be watched here.
    #[error(
        "this kernel or container refuses to let system calls be watched (seccomp user notification): {0}"
    )]
    Filter(io::Error),
    /// A limit, the folder or the session could not be had.
    #[error("the surroundings of {} could not be made: {error}", program.display())]
    Surroundings {
        /// The program.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no such program.
    #[error("there is no program {}", .0.display())]
    NotFound(PathBuf),
    /// It is there, and the kernel will not run it.
    #[error("{} cannot be run: {error}", program.display())]
    NotRun {
        /// The program.
        program: PathBuf,
        /// Why: `EACCES` not executable, `ENOEXEC` no program at all.
        error: io::Error,
    },
    /// Something took longer than it ever should.
    #[error("{} did not {what} within {} s", program.display(), PATIENCE.as_secs())]
    Late {
        /// The program.
        program: PathBuf,
        /// What it should have done.
        what: &'static str,
    },
}

/// Where a program's stream comes from or goes to.
#[derive(Debug, Default)]
pub enum Stream {
    /// `/dev/null`.
    #[default]
    Null,
    /// This file, or anything else with a descriptor.
    File(OwnedFd),
    /// A pipe, whose other end [`Program`] gives.
    Pipe,
}

impl From<File> for Stream {
    fn from(file: File) -> Self {
        Stream::File(file.into())
    }
}

/// A program to be started.
pub struct Launch {
    program: PathBuf,
    by: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    streams: [Stream; 3],
    limits: Vec<Limit>,
    watchers: Vec<Arc<dyn Watcher>>,
    interrupts: Interrupts,
}

impl Launch {
    /// A path, or a name to be looked for in `PATH`. It gets the bench's environment, no arguments, no streams, no
    /// watchers; relative paths are relative to its folder.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            by: PathBuf::from("/proc/self/exe"),
            args: Vec::new(),
            env: std::env::vars_os().collect(),
            folder: None,
            streams: [Stream::Null, Stream::Null, Stream::Null],
            limits: Vec::new(),
            watchers: Vec::new(),
            interrupts: Interrupts::Withheld,
        }
    }

    /// The executable that is keeper and starter, if not this process's own: its `main` calls [`crate::main`] first. A
    /// test's executable cannot.
    #[must_use]
    pub fn by(mut self, executable: impl Into<PathBuf>) -> Self {
        self.by = executable.into();
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// None of the bench's environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self
    }

    /// The folder that it starts in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Where its input comes from.
    #[must_use]
    pub fn stdin(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[0] = stream.into();
        self
    }

    /// Where its output goes.
    #[must_use]
    pub fn stdout(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[1] = stream.into();
        self
    }

    /// Where its errors go.
    #[must_use]
    pub fn stderr(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[2] = stream.into();
        self
    }

    /// What it may use at most.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Who hears its system calls; asked in the order of these calls.
    #[must_use]
    pub fn watch(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watchers.push(watcher);
        self
    }

    /// Goes without what Linux 5.19 brought, as on older kernels: any signal interrupts a call that waits.
    #[must_use]
    pub fn let_signals_interrupt(mut self) -> Self {
        self.interrupts = Interrupts::Let;
        self
    }

    /// Starts it. Comes back when the program itself runs, or has been refused.
    ///
    /// # Errors
    /// [`LaunchError`], with nothing left of the program.
    pub fn start(mut self) -> Result<Program, LaunchError> {
        let program = self.program.clone();
        let keeper = |error: io::Error| LaunchError::Keeper {
            program: program.clone(),
            error,
        };
        let streams = std::mem::take(&mut self.streams);
        let (given, kept) = open(streams).map_err(keeper)?;
        let (child, control, starter) = self.keeper().map_err(keeper)?;
        let watchers = std::mem::take(&mut self.watchers);
        let held = Arc::new(Held::default());
        let mut thread = KeeperThread::new(child, control, &held);
        let pid = thread.started(&program)?;
        self.send(&starter, &given, &watchers).map_err(keeper)?;
        drop(given);
        let (listener, interrupts) = listener(&starter, &program)?;
        let supervisor = Supervisor::new(listener, interrupts, &watchers, held.broken());
        let (control, thread) = thread.supervised(supervisor, watchers).map_err(keeper)?;
        let [stdin, stdout, stderr] = kept;
        let mut started = Program {
            pid,
            keeper: thread.1,
            program,
            held,
            control,
            thread: Some(thread.0),
            interrupts,
            stdin,
            stdout,
            stderr,
        };
        match execed(&starter, &started.program) {
            Ok(()) => Ok(started),
            Err(error) => {
                let _ = started.end();
                Err(error)
            }
        }
    }

    fn keeper(&self) -> io::Result<(Child, OwnedFd, UnixStream)> {
        let (control, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let (starter, for_starter) = UnixStream::pair()?;
        let child = Command::new(&self.by)
            .arg0(KEEPER)
            .arg(KEEPER)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(OwnedFd::from(for_starter)))
            .stderr(Stdio::null())
            .spawn()?;
        Ok((child, control, starter))
    }

    fn send(
        &self,
        mut starter: &UnixStream,
        streams: &[OwnedFd; 3],
        watchers: &[Arc<dyn Watcher>],
    ) -> io::Result<()> {
        let mut wants: Vec<Want> = watchers.iter().flat_map(|one| one.wants()).collect();
        wants.sort_unstable();
        wants.dedup();
        let orders = Orders {
            program: self.program.clone().into_os_string(),
            args: self.args.clone(),
            env: self.env.clone(),
            folder: self.folder.clone().map(PathBuf::into_os_string),
            limits: self.limits.clone(),
            wants,
            interrupts: self.interrupts,
        }
        .encode();
        let length = u32::try_from(orders.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let fds: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(
            starter,
            &[IoSlice::new(&length.to_le_bytes())],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        starter.write_all(&orders)
    }
}

/// The three streams as the program gets them, and what is kept of them.
type Streams = ([OwnedFd; 3], [Option<File>; 3]);

fn open(streams: [Stream; 3]) -> io::Result<Streams> {
    let mut given = Vec::with_capacity(3);
    let mut kept = [None, None, None];
    for (index, stream) in streams.into_iter().enumerate() {
        given.push(match stream {
            Stream::Null => File::options()
                .read(true)
                .write(true)
                .open("/dev/null")?
                .into(),
            Stream::File(file) => file,
            Stream::Pipe => {
                let (read, write) = io::pipe()?;
                let (theirs, ours): (OwnedFd, OwnedFd) = if index == 0 {
                    (read.into(), write.into())
                } else {
                    (write.into(), read.into())
                };
                kept[index] = Some(ours.into());
                theirs
            }
        });
    }
    let given = <[OwnedFd; 3]>::try_from(given).expect("three streams were opened");
    Ok((given, kept))
}

/// A keeper with nobody in its care yet, or not any more: ended when this is dropped.
struct KeeperThread {
    child: Option<Child>,
    control: Arc<OwnedFd>,
    held: Arc<Held>,
}

impl KeeperThread {
    fn new(child: Child, control: OwnedFd, held: &Arc<Held>) -> Self {
        Self {
            child: Some(child),
            control: Arc::new(control),
            held: Arc::clone(held),
        }
    }

    /// Waits for the starter's process number.
    fn started(&self, program: &Path) -> Result<u32, LaunchError> {
        let error = |error: io::Error| LaunchError::Keeper {
            program: program.to_owned(),
            error,
        };
        if !readable(&*self.control) {
            return Err(late(program, "begin"));
        }
        let mut text = [0; 64];
        let (read, _) = recv(&*self.control, &mut text, RecvFlags::empty())
            .map_err(|errno| error(errno.into()))?;
        match Word::decode(&text[..read]) {
            Some(Word::Started(pid)) => Ok(pid),
            Some(Word::Failed(errno)) => Err(error(io::Error::from_raw_os_error(errno))),
            _ => Err(error(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Starts the thread that hears the keeper and the program, until both are gone.
    #[allow(clippy::type_complexity)]
    fn supervised(
        &mut self,
        supervisor: Supervisor,
        watchers: Vec<Arc<dyn Watcher>>,
    ) -> io::Result<(Arc<OwnedFd>, (JoinHandle<()>, u32))> {
        let (control, held) = (Arc::clone(&self.control), Arc::clone(&self.held));
        let mut child = self.child.take().expect("a keeper is supervised once");
        let keeper = child.id();
        let thread = thread::Builder::new()
            .name("machine".to_owned())
            .spawn(move || {
                supervisor.run(&control, |word| held.hear(&word));
                let _ = child.wait();
                for watcher in watchers {
                    watcher.gone();
                }
                held.end();
            })?;
        Ok((Arc::clone(&self.control), (thread, keeper)))
    }
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = shutdown(&*self.control, Shutdown::Write);
            let _ = child.wait();
        }
    }
}

fn late(program: &Path, what: &'static str) -> LaunchError {
    LaunchError::Late {
        program: program.to_owned(),
        what,
    }
}

/// Waits until something can be read, or the other side has closed. False after [`PATIENCE`].
fn readable(fd: impl AsFd) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(_) => {}
        }
    }
}

/// Waits for the starter's next word. `None` where its socket has closed.
fn word(
    starter: &UnixStream,
    program: &Path,
) -> Result<Option<(Stage, i32, Option<OwnedFd>)>, LaunchError> {
    let error = |error: io::Error| LaunchError::Keeper {
        program: program.to_owned(),
        error,
    };
    if !readable(starter) {
        return Err(late(program, "start"));
    }
    let mut text = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        starter,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )
    .map_err(|errno| error(errno.into()))?;
    let listener = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if got.bytes < text.len() {
        return Ok(None);
    }
    let number = i32::from_le_bytes([text[1], text[2], text[3], text[4]]);
    let stage = Stage::of(text[0]).ok_or_else(|| error(io::ErrorKind::InvalidData.into()))?;
    Ok(Some((stage, number, listener)))
}

fn listener(starter: &UnixStream, program: &Path) -> Result<(OwnedFd, Interrupts), LaunchError> {
    match word(starter, program)? {
        Some((Stage::Listening, withheld, Some(listener))) => {
            let interrupts = match withheld {
                0 => Interrupts::Let,
                _ => Interrupts::Withheld,
            };
            Ok((listener, interrupts))
        }
        Some((Stage::Refused, errno, _)) => {
            Err(LaunchError::Filter(io::Error::from_raw_os_error(errno)))
        }
        Some((_, errno, _)) => Err(LaunchError::Surroundings {
            program: program.to_owned(),
            error: io::Error::from_raw_os_error(errno),
        }),
        None => Err(LaunchError::Keeper {
            program: program.to_owned(),
            error: io::ErrorKind::UnexpectedEof.into(),
        }),
    }
}

/// Waits for the starter's socket to close, which an exec does.
fn execed(starter: &UnixStream, program: &Path) -> Result<(), LaunchError> {
    let Some((_, errno, _)) = word(starter, program)? else {
        return Ok(());
    };
    let error = io::Error::from_raw_os_error(errno);
    Err(match error.kind() {
        // A script whose interpreter is missing is there, all the same.
        io::ErrorKind::NotFound if !program.exists() => LaunchError::NotFound(program.to_owned()),
        _ => LaunchError::NotRun {
            program: program.to_owned(),
            error,
        },
    })
}

/// What is known of a program.
#[derive(Default)]
struct Held {
    state: Mutex<State>,
    changed: Condvar,
    broken: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Default)]
struct State {
    exit: Option<Exit>,
    gone: bool,
}

impl Held {
    fn hear(&self, word: &Word) {
        if let Word::Ended(exit) = word {
            lock(&self.state).exit = Some(*exit);
            self.changed.notify_all();
        }
    }

    fn end(&self) {
        lock(&self.state).gone = true;
        self.changed.notify_all();
    }

    fn broken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.broken)
    }

    fn wait(&self, patience: Duration, until: impl Fn(&State) -> bool) -> State {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| !until(state) && !state.gone)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *state
    }
}

/// A program that runs under watch, with everything that it has forked. Ended when this is dropped.
pub struct Program {
    pid: u32,
    keeper: u32,
    program: PathBuf,
    held: Arc<Held>,
    control: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    interrupts: Interrupts,
    /// The end of its input that the bench writes to, if a pipe was asked for.
    pub stdin: Option<File>,
    /// The end of its output that the bench reads.
    pub stdout: Option<File>,
    /// The end of its errors that the bench reads.
    pub stderr: Option<File>,
}

impl Program {
    /// The number of its own process (and process group, and session), as it was when it started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The numbers of all its processes, its own first, daemons included. Those that are dead and not yet reaped are
    /// not among them.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.family().iter().map(|process| process.pid).collect()
    }

    /// How its own process ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        lock(&self.held.state).exit
    }

    /// Waits for its own process to end. `None` where it has not within `patience`, or nobody can say how.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<Exit> {
        self.held.wait(patience, |state| state.exit.is_some()).exit
    }

    /// Whether no process of it is left.
    #[must_use]
    pub fn gone(&self) -> bool {
        lock(&self.held.state).gone
    }

    /// Waits until no process of it is left; whether that came about within `patience`.
    #[must_use]
    pub fn wait_gone(&self, patience: Duration) -> bool {
        self.held.wait(patience, |state| state.gone).gone
    }

    /// Whether a signal can interrupt a call that the bench has begun to answer (before Linux 5.19).
    #[must_use]
    pub fn signals_interrupt(&self) -> bool {
        self.interrupts == Interrupts::Let
    }

    /// How many answers panicked: each is a fault of the bench's, and a call that the kernel carried out as it stood.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.held.broken.load(Ordering::Relaxed)
    }

    /// Sends a signal to its own process; nothing where that has ended.
    ///
    /// # Errors
    /// What kill(2) says.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let family = self.family();
        let own = family.iter().find(|process| process.pid == self.pid);
        own.map_or(Ok(()), |process| process.signal(signal))
    }

    /// Stops all of it, and comes back when no thread of it can run.
    ///
    /// # Errors
    /// [`LaunchError::Late`] where something would not stop; what did is let go on again.
    pub fn pause(&self) -> Result<(), LaunchError> {
        let end = Instant::now() + PATIENCE;
        let mut told: Vec<Process> = Vec::new();
        let mut before: Vec<u32> = Vec::new();
        loop {
            let family = self.family();
            let now: Vec<u32> = family.iter().map(|process| process.pid).collect();
            let mut stopped = true;
            for process in &family {
                if !told.iter().any(|known| known.is(process)) {
                    let _ = process.signal(Signal::STOP);
                    told.push(*process);
                    stopped = false;
                }
                stopped &= process.stopped();
            }
            // Twice the same: what is stopped neither forks nor loses a parent between two looks.
            if stopped && before == now {
                return Ok(());
            }
            before = now;
            if Instant::now() > end {
                self.resume();
                return Err(late(&self.program, "stop"));
            }
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// Lets all of it go on.
    pub fn resume(&self) {
        // Children first: a parent that asks is not to find them stopped.
        for process in self.family().iter().rev() {
            let _ = process.signal(Signal::CONT);
        }
    }

    /// Kills all of it, daemons included, and comes back when nothing is left.
    ///
    /// # Errors
    /// [`LaunchError::Late`] where the kernel does not let go of it.
    pub fn kill(&mut self) -> Result<Option<Exit>, LaunchError> {
        self.end()
    }

    fn end(&mut self) -> Result<Option<Exit>, LaunchError> {
        // That its bench is gone is all that a keeper needs to hear.
        let _ = shutdown(&*self.control, Shutdown::Write);
        let state = self.held.wait(PATIENCE, |state| state.gone);
        if !state.gone {
            return Err(late(&self.program, "end"));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        Ok(state.exit)
    }

    fn family(&self) -> Vec<Process> {
        let mut family = descendants(self.keeper);
        family.retain(|process| !process.dead());
        family
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
