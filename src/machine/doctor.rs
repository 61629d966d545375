//! What this kernel and container allow of a machine, found out by doing it: a program of our own is put under watch, and
//! everything that watchers need is tried on its one call.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::call::Reply;
use crate::caller::Caller;
use crate::launch::{Exit, Launch};
use crate::net::Network;
use crate::supervisor::lock;
use crate::sys;
use crate::watcher::{Answer, Want, Watcher};

/// The first argument that makes the patient of this program.
pub(crate) const PATIENT: &str = "machine-patient";

/// The patient makes one call, and ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// One thing that a machine needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it is called.
    pub name: &'static str,
    /// Why it does not work, in the kernel's words; `None` where it does.
    pub fails: Option<String>,
    /// What is not offered without it: a plain sentence.
    pub without: &'static str,
}

impl Probe {
    /// Whether it works.
    #[must_use]
    pub fn works(&self) -> bool {
        self.fails.is_none()
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fails {
            None => write!(to, "{}: works", self.name),
            Some(why) => write!(to, "{}: does not work ({why}): {}", self.name, self.without),
        }
    }
}

/// What those are called that a disk or a clock needs.
pub mod called {
    /// Calls can be heard.
    pub const NOTIFICATION: &str = "user notification";
    /// What they point at can be read.
    pub const MEMORY: &str = "memory of a program";
    /// What a program has open can be had.
    pub const COPIES: &str = "copies of descriptors";
    /// And be given.
    pub const PLACES: &str = "descriptors put in place";
    /// What a program is told of itself as it begins can be changed.
    pub const PTRACE: &str = "ptrace";
}

const NOTIFICATION: (&str, &str) = (
    called::NOTIFICATION,
    "no program can be given a host of its own; it can be killed and paused, and no more",
);
const INTERRUPTS: (&str, &str) = (
    "withheld interrupts",
    "a call that a signal interrupts is made again, and known by its arguments (Linux 5.19 forbids the interrupt)",
);
const MEMORY: (&str, &str) = (
    called::MEMORY,
    "no program can be given a host of its own: the addresses and paths that it names cannot be read",
);
const COPIES: (&str, &str) = (
    called::COPIES,
    "sockets are replaced instead, which a program does not survive that waits for them before they are connected (Java)",
);
const PLACES: (&str, &str) = (
    called::PLACES,
    "where descriptors cannot be copied either, a program cannot be given a network of its own",
);
const PTRACE: (&str, &str) = (called::PTRACE, "no program's clock can run wrong");
const ADDRESSES: (&str, &str) = (
    "addresses of 127/8",
    "nodes cannot have addresses of their own, so they cannot use the same port side by side",
);

/// Tries everything. `by` is an executable whose `main` calls [`crate::main`]; `/proc/self/exe` where that is this
/// program's. Takes some milliseconds; leaves nothing behind.
#[must_use]
pub fn examine(by: impl Into<PathBuf>) -> Vec<Probe> {
    let by = by.into();
    let found = Arc::new(Found::default());
    let launched = Launch::new(&by)
        .by(&by)
        .args([PATIENT])
        .watch(found.clone())
        .start();
    let (heard, withheld) = match launched {
        Err(error) => (Err(error.to_string()), Err(error.to_string())),
        Ok(patient) => {
            let withheld = match patient.signals_interrupt() {
                true => Err("this kernel does not know it".to_owned()),
                false => Ok(()),
            };
            let heard = match patient.wait(PATIENCE) {
                Some(Exit::Code(0)) => Ok(()),
                Some(exit) => Err(format!("a watched program ended with {exit:?}")),
                None => Err("a watched program did not end".to_owned()),
            };
            (heard, withheld)
        }
    };
    let tried = lock(&found.0).clone();
    let unheard = || Err("no call of a watched program was heard".to_owned());
    let [memory, copy, place, trace] = tried.unwrap_or_else(|| [(); 4].map(|()| unheard()));
    [
        (NOTIFICATION, heard),
        (INTERRUPTS, withheld),
        (MEMORY, memory),
        (COPIES, copy),
        (PLACES, place),
        (PTRACE, trace),
        (ADDRESSES, addresses().map_err(|error| error.to_string())),
    ]
    .into_iter()
    .map(|((name, without), outcome)| Probe {
        name,
        fails: outcome.err(),
        without,
    })
    .collect()
}

/// The patient's life: a socket, bound to an address that the bench reads.
pub(crate) fn be_patient() -> ExitCode {
    match UdpSocket::bind("127.0.0.1:0") {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

type Outcome = Result<(), String>;

/// Memory, copy, place and trace, as they were found.
#[derive(Default)]
struct Found(Mutex<Option<[Outcome; 4]>>);

impl Watcher for Found {
    fn wants(&self) -> Vec<Want> {
        vec![Want::Always(libc::SYS_bind)]
    }

    fn answer(&self, caller: &Caller) -> Answer {
        let tried = [
            read(caller),
            caller.take(caller.int(0)).map(drop),
            UdpSocket::bind("127.0.0.1:0").and_then(|new| caller.put(new, caller.int(0), 0)),
            trace(caller),
        ];
        *lock(&self.0) = Some(tried.map(|outcome| outcome.map_err(|error| error.to_string())));
        Reply::Value(0).into()
    }
}

fn read(caller: &Caller) -> io::Result<()> {
    let bytes = caller.bytes(caller.call().args[1], 8)?;
    let localhost = bytes[4..] == [127, 0, 0, 1];
    // Were it another address, the number of the thread would be another's.
    localhost.then_some(()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "its memory reads as something else",
        )
    })
}

/// Whoever traces has to be waited for by the tracer before its parent hears of its end: so the tracing thread ends at
/// once, and with it the tracing.
fn trace(caller: &Caller) -> io::Result<()> {
    let tid = caller.call().tid;
    std::thread::scope(|threads| {
        threads
            .spawn(|| sys::seize(tid, 0))
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the attempt panicked")))
    })
}

/// One node listens, another connects from its own address.
fn addresses() -> io::Result<()> {
    let network = Network::claim()?;
    let listener = TcpListener::bind((network.address(1), 0))?;
    let stream = SocketFlags::CLOEXEC;
    let other = socket_with(AddressFamily::INET, SocketType::STREAM, stream, None)?;
    bind(&other, &SocketAddr::from((network.address(2), 0)))?;
    connect(&other, &listener.local_addr()?)?;
    let (_, from) = listener.accept()?;
    let true_source = from.ip() == network.address(2);
    true_source
        .then_some(())
        .ok_or_else(|| io::Error::other(format!("a connection came from {from}")))
}
