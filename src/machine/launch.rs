//! Starts an unmodified program under watch: what it is told, what it may use, who hears its calls.
//!
//! ```text
//!  bench ──┬── guard ── keeper ── program ── its children
//!          │                       ╰ what daemonised falls to the keeper
//!          ├── guard ── keeper ── program
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use thiserror::Error;

use crate::keeper::GUARD;
pub use crate::orders::Limit;
use crate::orders::Orders;
pub use crate::program::{Exit, Program, Waiter};
use crate::program::{Keeper, late, readable};
use crate::starter::Stage;
use crate::supervisor::Supervisor;
use crate::sys::Interrupts;
use crate::watcher::{Want, Watcher};

/// A start, an end, a pause takes milliseconds; after so long something else is wrong, and that is said.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

    /// Without this variable of the bench's environment.
    #[must_use]
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name.as_ref());
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
        let keeping = Keeper::new(child, control, &program);
        let pids = keeping.started()?;
        self.send(&starter, &given, &watchers).map_err(keeper)?;
        drop(given);
        let (listener, interrupts) = listener(&starter, &program)?;
        let supervisor = Supervisor::new(listener, interrupts, &watchers, keeping.broken());
        let started = keeping.supervise(pids, supervisor, watchers, kept);
        let mut started = started.map_err(keeper)?;
        let Some(error) = not_run(&starter, &program)? else {
            return Ok(started);
        };
        let _ = started.kill();
        Err(match self.is_there() {
            true => LaunchError::NotRun { program, error },
            false => LaunchError::NotFound(program),
        })
    }

    /// Whether there is such a program at all: a script whose interpreter is missing is there, and a name is not, even if
    /// a folder of its `PATH` may not be looked into.
    fn is_there(&self) -> bool {
        let folder = self.folder.as_deref().unwrap_or(Path::new(""));
        if self.program.as_os_str().as_bytes().contains(&b'/') {
            return folder.join(&self.program).exists();
        }
        let path = self.env.iter().find(|(name, _)| name == "PATH");
        path.is_some_and(|(_, folders)| {
            std::env::split_paths(folders).any(|at| folder.join(at).join(&self.program).exists())
        })
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
            .arg0(GUARD)
            .arg(GUARD)
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

/// Waits for the starter's socket to close, which an exec does: `None` then, else why it failed.
fn not_run(starter: &UnixStream, program: &Path) -> Result<Option<io::Error>, LaunchError> {
    let word = word(starter, program)?;
    Ok(word.map(|(_, errno, _)| io::Error::from_raw_os_error(errno)))
}
