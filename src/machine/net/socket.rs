//! How the bench comes by a program's socket: a copy of its descriptor (`pidfd_getfd`), or, where a container forbids
//! that, a new socket of the same kind that takes its place (`SECCOMP_IOCTL_NOTIF_ADDFD`).
//!
//! A new socket has the options that the program has set, because they were written down; it lacks what nobody can see:
//! a place in an epoll set (Java's) that the old one had, and other descriptors of the old one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use rustix::fs::{OFlags, fcntl_setfl, fstat, getxattr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::caller::Caller;
use crate::supervisor::lock;
use crate::sys;

/// `TCP_CLOSE` of the kernel's states: neither connected, nor connecting, nor listening.
const CLOSED: u8 = 7;
/// `TCP_SYN_SENT`: connecting.
const CONNECTING: u8 = 2;

/// So many sockets are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 4096;
/// A socket has a few dozen options at most.
const OPTIONS: usize = 64;

/// By which way the bench comes by a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a copy of its descriptor.
    Copy,
    /// By putting another one in its place.
    Replace,
}

impl Way {
    /// The better one of those that work here: tried on a descriptor of this process's own.
    #[must_use]
    pub fn here() -> Self {
        let copied = pidfd_open(getpid(), PidfdFlags::empty()).and_then(|this| {
            let number = std::os::fd::AsRawFd::as_raw_fd(&this);
            pidfd_getfd(&this, number, PidfdGetfdFlags::empty())
        });
        match copied {
            Ok(_) => Way::Copy,
            Err(_) => Way::Replace,
        }
    }
}

/// A program's sockets.
pub(super) struct Sockets {
    way: Way,
    /// By inode, what can be known of sockets that may have to be made anew.
    known: Mutex<BTreeMap<u64, Known>>,
}

#[derive(Clone, Default)]
struct Known {
    options: Vec<Setting>,
    /// What its connection was meant for.
    asked: Option<SocketAddr>,
    /// Whether that connection is known to have come about.
    stands: bool,
}

/// Level, name, and value of a socket option.
type Setting = (i32, i32, Vec<u8>);

/// A socket of the program, in the bench's hands for one call.
pub(super) struct Taken {
    pub(super) socket: OwnedFd,
    /// Whether it is connected, connecting or listening already.
    pub(super) busy: bool,
    /// Where it belongs, if it is a new one.
    place: Option<Place>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connected {
    /// It stands.
    Already,
    /// It is in progress.
    Soon,
}

/// Where a new socket belongs, and what it has inherited.
pub(super) struct Place {
    fd: i32,
    flags: i32,
    known: Known,
}

impl Sockets {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            known: Mutex::default(),
        }
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// The caller's socket `fd`, or one like it.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK` (also: no internet socket), and what socket(2) says.
    pub(super) fn take(&self, caller: &Caller, fd: i32) -> io::Result<Taken> {
        if self.way == Way::Copy {
            let socket = caller.take(fd)?;
            return Ok(Taken {
                busy: sys::tcp_state(socket.as_fd()).is_ok_and(|state| state != CLOSED),
                socket,
                place: None,
            });
        }
        let inode = inode(caller, fd)?;
        let open = caller.open_file(fd)?;
        let (family, kind) = kind(caller, fd)?;
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if open.flags & libc::O_NONBLOCK != 0 {
            fcntl_setfl(&socket, OFlags::NONBLOCK)?;
        }
        let known = lock(&self.known).get(&inode).cloned().unwrap_or_default();
        for (level, name, value) in &known.options {
            // What cannot be set twice (a bound device, a filter) is as the kernel has it.
            let _ = sys::set_option(socket.as_fd(), *level, *name, value);
        }
        Ok(Taken {
            socket,
            // Only one that was connected before can be; the kernel's table of all sockets takes long to read.
            busy: known.asked.is_some()
                && state(caller, inode).is_some_and(|state| state != CLOSED),
            place: Some(Place {
                fd,
                flags: open.flags,
                known,
            }),
        })
    }

    /// What has been made of a socket is the program's: a new one goes to its place.
    ///
    /// # Errors
    /// `ENOENT` where the call is gone.
    pub(super) fn settle(
        &self,
        caller: &Caller,
        socket: &OwnedFd,
        place: &Place,
        connected: Option<(SocketAddr, Connected)>,
    ) -> io::Result<()> {
        let known = Known {
            asked: connected.map(|(asked, _)| asked).or(place.known.asked),
            stands: connected.is_some_and(|(_, how)| how == Connected::Already),
            ..place.known.clone()
        };
        self.remember(fstat(socket)?.st_ino, known);
        caller.put(socket, place.fd, place.flags)
    }

    /// `setsockopt(fd, level, name, value, length)`: written down, in case the socket must be made anew.
    pub(super) fn note(&self, caller: &Caller) -> io::Result<()> {
        let [_, _, _, at, length, _] = caller.call().args;
        let setting = (
            caller.int(1),
            caller.int(2),
            caller.bytes(at, (length as usize).min(256))?,
        );
        let inode = inode(caller, caller.int(0))?;
        let mut known = lock(&self.known).get(&inode).cloned().unwrap_or_default();
        known
            .options
            .retain(|(level, name, _)| (*level, *name) != (setting.0, setting.1));
        if known.options.len() < OPTIONS {
            known.options.push(setting);
        }
        self.remember(inode, known);
        Ok(())
    }

    /// What the connection of a socket that was put in place was meant for, once it stands.
    pub(super) fn asked(&self, caller: &Caller, fd: i32) -> io::Result<Option<SocketAddr>> {
        let inode = inode(caller, fd)?;
        let Some(known) = lock(&self.known).get(&inode).cloned() else {
            return Ok(None);
        };
        let up = |state| ![CLOSED, CONNECTING].contains(&state);
        if known.asked.is_none() || known.stands {
            return Ok(known.asked);
        }
        if !state(caller, inode).is_some_and(up) {
            return Ok(None);
        }
        let asked = known.asked;
        let stands = true;
        self.remember(inode, Known { stands, ..known });
        Ok(asked)
    }

    fn remember(&self, inode: u64, what: Known) {
        let mut known = lock(&self.known);
        known.insert(inode, what);
        // Inodes are given out in order.
        while known.len() > REMEMBERED {
            known.pop_first();
        }
    }
}

impl Taken {
    /// The socket, and its place if it is new.
    pub(super) fn split(self) -> (OwnedFd, Option<Place>) {
        (self.socket, self.place)
    }
}

fn not_a_socket() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOTSOCK)
}

fn inode(caller: &Caller, fd: i32) -> io::Result<u64> {
    let target = caller.target(fd)?;
    target
        .to_str()
        .and_then(|text| {
            text.strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
        .ok_or_else(not_a_socket)
}

/// Family and type of a socket that cannot be asked: the kernel names its protocol.
fn kind(caller: &Caller, fd: i32) -> io::Result<(AddressFamily, SocketType)> {
    let mut name = [0; 32];
    let path = caller.proc(&format!("fd/{fd}"));
    let length = getxattr(path, "system.sockprotoname", &mut name[..])?;
    let name = String::from_utf8_lossy(&name[..length]);
    Ok(match name.trim_end_matches('\0') {
        "TCP" | "MPTCP" => (AddressFamily::INET, SocketType::STREAM),
        "TCPv6" | "MPTCPv6" => (AddressFamily::INET6, SocketType::STREAM),
        "UDP" => (AddressFamily::INET, SocketType::DGRAM),
        "UDPv6" => (AddressFamily::INET6, SocketType::DGRAM),
        _ => return Err(not_a_socket()),
    })
}

/// The state of a TCP socket by its inode; `None` where the kernel's tables have none, which hold no closed ones.
fn state(caller: &Caller, inode: u64) -> Option<u8> {
    let inode = inode.to_string();
    ["net/tcp", "net/tcp6"].into_iter().find_map(|table| {
        let table = std::fs::read_to_string(caller.proc(table)).ok()?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (*fields.get(9)? == inode).then(|| u8::from_str_radix(fields[3], 16).ok())?
        })
    })
}
