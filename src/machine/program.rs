//! A program that runs under watch, and the keeper that holds it: how it ended, pause and end for all of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use rustix::process::Signal;

use crate::keeper::Word;
use crate::launch::{LaunchError, PATIENCE};
use crate::processes::{Process, descendants};
use crate::supervisor::{Supervisor, lock};
use crate::sys::Interrupts;
use crate::watcher::Watcher;

/// How a program's own process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
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

    /// Somebody who can wait for it on a thread of its own, also after this is dropped.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        Waiter(Arc::clone(&self.held))
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

    /// Sends all of it a signal, and does not wait for what that does.
    ///
    /// # Errors
    /// What kill(2) says of the first that could not be sent it.
    pub fn signal_all(&self, signal: Signal) -> io::Result<()> {
        let mut sent = Ok(());
        for process in self.family() {
            sent = sent.and(process.signal(signal));
        }
        sent
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
        let _ = self.kill();
    }
}

/// Waits for a program's own process.
pub struct Waiter(Arc<Held>);

impl Waiter {
    /// Blocks until it has ended. `None` where nobody can say how: its keeper was killed.
    #[must_use]
    pub fn wait(&self) -> Option<Exit> {
        // The patience is nobody's: the thread of the program's keeper ends it in any case.
        loop {
            let state = self.0.wait(PATIENCE, |state| state.exit.is_some());
            if state.exit.is_some() || state.gone {
                return state.exit;
            }
        }
    }
}

/// What is known of a program.
#[derive(Default)]
pub(crate) struct Held {
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

    fn wait(&self, patience: Duration, until: impl Fn(&State) -> bool) -> State {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| !until(state) && !state.gone)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *state
    }
}

/// A keeper whose program is not under watch yet: ended when this is dropped.
pub(crate) struct Keeper {
    child: Option<Child>,
    control: Arc<OwnedFd>,
    program: PathBuf,
    held: Arc<Held>,
}

impl Keeper {
    /// Takes over a keeper that was just started, and the bench's end of its socket.
    pub(crate) fn new(child: Child, control: OwnedFd, program: &Path) -> Self {
        Self {
            child: Some(child),
            control: Arc::new(control),
            program: program.to_owned(),
            held: Arc::default(),
        }
    }

    /// Where the faults of the bench's own are counted.
    pub(crate) fn broken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.held.broken)
    }

    /// Waits for the starter, and gives the numbers of keeper and starter.
    ///
    /// # Errors
    /// [`LaunchError::Keeper`], [`LaunchError::Late`].
    pub(crate) fn started(&self) -> Result<(u32, u32), LaunchError> {
        let error = |error: io::Error| LaunchError::Keeper {
            program: self.program.clone(),
            error,
        };
        if !readable(&*self.control) {
            return Err(late(&self.program, "begin"));
        }
        let mut text = [0; 64];
        let (read, _) = recv(&*self.control, &mut text, RecvFlags::empty())
            .map_err(|errno| error(errno.into()))?;
        match Word::decode(&text[..read]) {
            Some(Word::Started { keeper, program }) => Ok((keeper, program)),
            Some(Word::Failed(errno)) => Err(error(io::Error::from_raw_os_error(errno))),
            _ => Err(error(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Starts the thread that hears keeper and program, which have these numbers, until both are gone.
    ///
    /// # Errors
    /// No thread can be made.
    pub(crate) fn supervise(
        mut self,
        (keeper, pid): (u32, u32),
        supervisor: Supervisor,
        watchers: Vec<Arc<dyn Watcher>>,
        [stdin, stdout, stderr]: [Option<File>; 3],
    ) -> io::Result<Program> {
        let (control, held) = (Arc::clone(&self.control), Arc::clone(&self.held));
        let interrupts = supervisor.interrupts();
        let mut child = self.child.take().expect("it is taken here alone");
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
        Ok(Program {
            pid,
            keeper,
            program: self.program.clone(),
            held: Arc::clone(&self.held),
            control: Arc::clone(&self.control),
            thread: Some(thread),
            interrupts,
            stdin,
            stdout,
            stderr,
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = shutdown(&*self.control, Shutdown::Write);
            let _ = child.wait();
        }
    }
}

pub(crate) fn late(program: &Path, what: &'static str) -> LaunchError {
    LaunchError::Late {
        program: program.to_owned(),
        what,
    }
}

/// Waits until something can be read, or the other side has closed. False after [`PATIENCE`].
pub(crate) fn readable(fd: impl AsFd) -> bool {
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
