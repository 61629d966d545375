//! The starter: what a program is before it is that program. It takes its orders from the bench, puts the filter on
//! itself, hands over the listener, and execs.
//!
//! The listener cannot be sent by the thread that carries the filter: `sendmsg` may itself be a call that waits for the
//! bench. So a second thread, without the filter, talks to the bench; the exec ends it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Rlimit, Signal, set_parent_process_death_signal, setrlimit, setsid};
use rustix::thread::set_no_new_privs;

use crate::filter;
use crate::orders::Orders;
use crate::sys::{self, Interrupts};

/// How far a starter came, as its first byte to the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The filter is on; the listener comes with this word, and the second byte says how it takes interrupts.
    Listening = b'L' as isize,
    /// The session, the folder or a limit could not be had; an error number follows.
    Unprepared = b'U' as isize,
    /// The filter was refused; an error number follows.
    Refused = b'R' as isize,
    /// The exec failed; an error number follows.
    NotRun = b'X' as isize,
}

impl Stage {
    pub(crate) fn of(byte: u8) -> Option<Self> {
        use Stage::{Listening, NotRun, Refused, Unprepared};
        [Listening, Unprepared, Refused, NotRun]
            .into_iter()
            .find(|stage| *stage as u8 == byte)
    }
}

/// A word to the bench, with the listener where there is one.
struct Word(Stage, i32, Option<OwnedFd>);

/// Where the two threads meet. They look instead of waiting: waiting is a system call that may be watched.
struct Post {
    letter: Mutex<Option<Word>>,
    sent: AtomicBool,
}

/// A starter's life. Comes back only where the program did not run.
pub(crate) fn start() -> ExitCode {
    let stdin = io::stdin();
    let Ok(bench) = fcntl_dupfd_cloexec(stdin.as_fd(), 3) else {
        return ExitCode::FAILURE;
    };
    let post = Post {
        letter: Mutex::new(None),
        sent: AtomicBool::new(false),
    };
    std::thread::scope(|threads| {
        threads.spawn(|| deliver(bench.as_fd(), &post));
        let (stage, error) = match prepared(bench.as_fd()) {
            Err(error) => (Stage::Unprepared, error),
            Ok((mut command, orders)) => match watched(&orders, &post) {
                Err(error) => (Stage::Refused, error),
                // Only an exec that failed comes back.
                Ok(()) => (Stage::NotRun, command.exec()),
            },
        };
        let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
        send(&post, Word(stage, errno, None));
    });
    ExitCode::FAILURE
}

fn prepared(bench: BorrowedFd<'_>) -> io::Result<(Command, Orders)> {
    let (orders, streams) = receive(bench)?;
    setsid()?;
    sys::default_signals();
    // Should the keeper be killed, its program must not outlive it. (It covers the program, not what that forks.)
    set_parent_process_death_signal(Some(Signal::KILL))?;
    for limit in &orders.limits {
        let (resource, amount) = limit.resource();
        setrlimit(
            resource,
            Rlimit {
                current: Some(amount),
                maximum: Some(amount),
            },
        )?;
    }
    if let Some(folder) = &orders.folder {
        std::env::set_current_dir(folder)?;
    }
    let mut command = Command::new(&orders.program);
    command
        .args(&orders.args)
        .env_clear()
        .envs(orders.env.iter().map(|(name, value)| (name, value)));
    let [stdin, stdout, stderr] = streams;
    command
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    Ok((command, orders))
}

/// Puts the filter on this thread, and hands the listener over.
fn watched(orders: &Orders, post: &Post) -> io::Result<()> {
    set_no_new_privs(true)?;
    let filter = filter::build(&orders.wants);
    let (listener, interrupts) = listen(&filter, orders.interrupts)?;
    let withheld = i32::from(interrupts == Interrupts::Withheld);
    send(post, Word(Stage::Listening, withheld, Some(listener)));
    Ok(())
}

fn listen(filter: &[sys::Instruction], wanted: Interrupts) -> io::Result<(OwnedFd, Interrupts)> {
    match sys::install(filter, wanted) {
        Err(error)
            if wanted == Interrupts::Withheld && error.raw_os_error() == Some(libc::EINVAL) =>
        {
            Ok((sys::install(filter, Interrupts::Let)?, Interrupts::Let))
        }
        other => Ok((other?, wanted)),
    }
}

/// Leaves a word to be sent, and comes back when it is. From here to there nothing may be a call that could be watched;
/// the lock is never contended for long enough to wait in the kernel: the other side looks only every now and then.
fn send(post: &Post, word: Word) {
    post.sent.store(false, Ordering::Release);
    loop {
        if let Ok(mut letter) = post.letter.try_lock() {
            *letter = Some(word);
            break;
        }
        std::thread::yield_now();
    }
    while !post.sent.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// The thread without a filter: sends each word, until one says that it is over.
fn deliver(bench: BorrowedFd<'_>, post: &Post) {
    loop {
        let letter = post
            .letter
            .try_lock()
            .ok()
            .and_then(|mut letter| letter.take());
        let Some(Word(stage, number, listener)) = letter else {
            std::thread::sleep(Duration::from_micros(50));
            continue;
        };
        let mut text = vec![stage as u8];
        text.extend_from_slice(&number.to_le_bytes());
        let fds: Vec<BorrowedFd<'_>> = listener.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        // A bench that is gone needs no word, and the keeper is about to end this process.
        let _ = sendmsg(
            bench,
            &[IoSlice::new(&text)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
        drop(fds);
        drop(listener);
        post.sent.store(true, Ordering::Release);
        if stage != Stage::Listening {
            return;
        }
    }
}

/// The orders, and the program's three streams.
fn receive(bench: BorrowedFd<'_>) -> io::Result<(Orders, [OwnedFd; 3])> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        bench,
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )?;
    let mut streams = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            streams.extend(fds);
        }
    }
    if got.bytes < length.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut text = vec![0; u32::from_le_bytes(length) as usize];
    let mut filled = 0;
    while filled < text.len() {
        match rustix::io::read(bench, &mut text[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let orders = Orders::decode(&text).ok_or(io::ErrorKind::InvalidData)?;
    let streams = <[OwnedFd; 3]>::try_from(streams).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((orders, streams))
}
