//! One node's host: its `bind` and `connect` as a watcher hears them, and what of its traffic does not go by the links.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketType, bind, connect, getpeername, getsockname,
    sendto, shutdown, sockopt,
};

use super::address::{alike, as_v4, encode, read};
use super::socket::{Connected, Place, Sockets, Way};
use super::{Links, Network, NodeId};
use crate::call::Reply;
use crate::caller::Caller;
use crate::supervisor::lock;
use crate::watcher::{Answer, Want, Watcher};

/// So many foreign addresses are told apart; what comes after is counted with the last.
const FOREIGN: usize = 256;

/// The port of a resolver of names.
const DOMAIN: u16 = 53;

/// The kernel refuses a larger datagram by itself.
const DATAGRAM: u64 = 1 << 16;

/// The network of one node, as its programs meet it: several may share it, as a server and its sentinel do.
pub struct Host {
    node: NodeId,
    network: Arc<Network>,
    links: Arc<dyn Links>,
    sockets: Sockets,
    /// By its own address, what each connection was meant for: the address that it really goes to, and the asked one.
    names: Mutex<HashMap<SocketAddr, Vec<(SocketAddr, SocketAddr)>>>,
    /// Sockets on whose connection a worker waits, by the call's number.
    waiting: Mutex<HashMap<u64, Waiting>>,
    noticed: Mutex<Noticed>,
}

/// What of a node's traffic the links never see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Addresses outside the network that it connected to, or sent to, and how often.
    pub foreign: BTreeMap<SocketAddr, u64>,
    /// Peers that it sent datagrams to: those are not harmed.
    pub datagrams: BTreeSet<NodeId>,
}

/// Whose an address is, as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Peer(NodeId),
    Foreign,
}

impl Host {
    /// The host of `node`, whose connections to its peers `links` decides.
    #[must_use]
    pub fn new(network: &Arc<Network>, node: NodeId, links: Arc<dyn Links>) -> Arc<Self> {
        Self::by(Way::here(), network, node, links)
    }

    /// The same, by a given way.
    #[must_use]
    pub fn by(way: Way, network: &Arc<Network>, node: NodeId, links: Arc<dyn Links>) -> Arc<Self> {
        Arc::new(Self {
            node,
            network: Arc::clone(network),
            links,
            sockets: Sockets::new(way),
            names: Mutex::default(),
            waiting: Mutex::default(),
            noticed: Mutex::default(),
        })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.network.address(self.node)
    }

    /// What the links have not seen of it so far.
    #[must_use]
    pub fn noticed(&self) -> Noticed {
        lock(&self.noticed).clone()
    }

    fn whose(&self, address: SocketAddr) -> Whose {
        let Some(ip) = as_v4(address.ip()) else {
            return Whose::Foreign;
        };
        if is_localhost(ip) {
            // Names are the host's to resolve, and some hosts' resolver is at home.
            return match address.port() {
                DOMAIN => Whose::Foreign,
                _ => Whose::Own,
            };
        }
        match self.network.node(ip) {
            Some(node) if node == self.node => Whose::Own,
            Some(node) => Whose::Peer(node),
            None => Whose::Foreign,
        }
    }

    /// `bind(fd, address, length)`.
    fn bind(&self, caller: &Caller) -> io::Result<Answer> {
        let [_, at, length, ..] = caller.call().args;
        let Some(asked) = read(caller, at, length as usize)? else {
            return Ok(Answer::Pass);
        };
        match self.whose(asked) {
            Whose::Foreign => return Ok(Answer::Pass),
            // On a host of its own, this address is not its own.
            Whose::Peer(_) => return Ok(Reply::Errno(libc::EADDRNOTAVAIL).into()),
            Whose::Own => {}
        }
        let (socket, place) = self.sockets.take(caller, caller.int(0))?.split();
        if !same_family(&socket, asked) {
            return Ok(Answer::Pass);
        }
        // Datagrams from just any port are as often for the world, which an address of 127/8 does not reach.
        let any = as_v4(asked.ip()).is_some_and(|ip| ip.is_unspecified());
        let datagrams = sockopt::socket_type(&socket)? != SocketType::STREAM;
        if datagrams && any && asked.port() == 0 {
            return Ok(Answer::Pass);
        }
        if only_v6(&socket, asked) {
            return Ok(Reply::Errno(libc::EADDRNOTAVAIL).into());
        }
        bind(&socket, &self.own(asked))?;
        if let Some(place) = place {
            self.sockets.settle(caller, &socket, &place, None)?;
        }
        Ok(Reply::Value(0).into())
    }

    /// `connect(fd, address, length)`.
    fn connect(self: &Arc<Self>, caller: &Caller) -> io::Result<Answer> {
        let [_, at, length, ..] = caller.call().args;
        let Some(asked) = read(caller, at, length as usize)? else {
            return Ok(Answer::Pass);
        };
        let whose = self.whose(asked);
        if whose == Whose::Foreign {
            self.notice_foreign(asked);
            return Ok(Answer::Pass);
        }
        let taken = self.sockets.take(caller, caller.int(0))?;
        // One that is under way already is asked how it stands: the kernel answers, and heeds no address.
        if taken.busy || !same_family(&taken.socket, asked) {
            return Ok(Answer::Pass);
        }
        let (socket, place) = taken.split();
        if only_v6(&socket, asked) {
            return Ok(Reply::Errno(libc::EADDRNOTAVAIL).into());
        }
        if sockopt::socket_type(&socket)? != SocketType::STREAM {
            if let Whose::Peer(peer) = whose {
                lock(&self.noticed).datagrams.insert(peer);
                return Ok(Answer::Pass);
            }
            connect(&socket, &self.own(asked))?;
            if let Some(place) = place {
                let connected = Some((asked, Connected::Already));
                self.sockets.settle(caller, &socket, &place, connected)?;
            }
            return Ok(Reply::Value(0).into());
        }
        let source = self.source(&socket, asked)?;
        let attempt = Attempt {
            socket: Arc::new(socket),
            place,
            source,
            asked,
            caller: caller.clone(),
        };
        let nonblocking = fcntl_getfl(&*attempt.socket)?.contains(OFlags::NONBLOCK);
        let this = Arc::clone(self);
        Ok(match whose {
            Whose::Peer(peer) => {
                self.wait_for(&attempt);
                Answer::later(move || this.connect_peer(&attempt, peer))
            }
            _ if nonblocking => self.connect_to(&attempt, self.own(asked)).into(),
            _ => {
                self.wait_for(&attempt);
                Answer::later(move || this.connect_waiting(&attempt, Ok(this.own(attempt.asked))))
            }
        })
    }

    fn connect_peer(&self, attempt: &Attempt, peer: NodeId) -> Reply {
        let port = attempt.asked.port();
        let to = self.links.connect(self.node, attempt.source, peer, port);
        // An error of number 0 would be a success that never was.
        let to = to.map_err(|errno| {
            if errno == 0 {
                libc::ECONNREFUSED
            } else {
                errno
            }
        });
        self.connect_waiting(attempt, to)
    }

    /// Connects on a worker's thread, unless the program is gone by now.
    fn connect_waiting(&self, attempt: &Attempt, to: Result<SocketAddr, i32>) -> Reply {
        let wanted = lock(&self.waiting)
            .get_mut(&attempt.call())
            .map(|waiting| waiting.connecting = true);
        let reply = match (wanted, to) {
            (None, _) => Reply::Errno(libc::ECONNABORTED),
            (_, Ok(to)) => self.connect_to(attempt, to),
            (_, Err(errno)) => Reply::Errno(errno),
        };
        lock(&self.waiting).remove(&attempt.call());
        reply
    }

    fn connect_to(&self, attempt: &Attempt, to: SocketAddr) -> Reply {
        let Some(ip) = as_v4(to.ip()) else {
            return Reply::Errno(libc::EHOSTUNREACH);
        };
        let to = alike(ip, to.port(), attempt.asked);
        self.name(attempt, to);
        let reply = match connect(&*attempt.socket, &to) {
            Ok(()) => Reply::Value(0),
            Err(errno) => Reply::Errno(errno.raw_os_error()),
        };
        let how = match reply {
            Reply::Value(0) => Connected::Already,
            Reply::Errno(libc::EINPROGRESS) => Connected::Soon,
            _ => return reply,
        };
        let Some(place) = &attempt.place else {
            return reply;
        };
        let (caller, connected) = (&attempt.caller, Some((attempt.asked, how)));
        match self
            .sockets
            .settle(caller, &attempt.socket, place, connected)
        {
            Ok(()) => reply,
            Err(error) => Reply::Errno(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    /// `getpeername(fd, address, length)`: the address that the program has asked for.
    fn getpeername(&self, caller: &Caller) -> io::Result<Answer> {
        let [_, at, length_at, ..] = caller.call().args;
        let Some(asked) = self.asked(caller)? else {
            return Ok(Answer::Pass);
        };
        let room = caller.bytes(length_at, 4)?;
        let room = i32::from_ne_bytes(room.try_into().expect("four bytes were read"));
        let Ok(room) = usize::try_from(room) else {
            return Ok(Reply::Errno(libc::EINVAL).into());
        };
        let name = encode(asked);
        caller.write(at, &name[..room.min(name.len())])?;
        caller.write(length_at, &(name.len() as u32).to_ne_bytes())?;
        Ok(Reply::Value(0).into())
    }

    /// What the caller's socket was connected for; `None` where that is where it goes.
    fn asked(&self, caller: &Caller) -> io::Result<Option<SocketAddr>> {
        if self.sockets.way() == Way::Replace {
            return self.sockets.asked(caller, caller.int(0));
        }
        let socket = caller.take(caller.int(0))?;
        let (Ok(local), Ok(Some(remote))) = (getsockname(&socket), getpeername(&socket)) else {
            return Ok(None);
        };
        let (Ok(local), Ok(remote)) = (SocketAddr::try_from(local), SocketAddr::try_from(remote))
        else {
            return Ok(None);
        };
        let names = lock(&self.names);
        let mut meant = names.get(&local).into_iter().flatten();
        let found = meant.find(|(to, _)| *to == remote);
        Ok(found.map(|(_, asked)| *asked))
    }

    /// `sendto(fd, data, length, flags, address, length)`, with an address.
    fn sendto(&self, caller: &Caller) -> io::Result<Answer> {
        let [_, data, size, flags, at, length] = caller.call().args;
        let to = read(caller, at, length as usize)?;
        let home = to.filter(|to| self.whose(*to) == Whose::Own && to.ip() != self.own(*to).ip());
        // A datagram to localhost is one to the node's own address, which its listeners have.
        if let (Some(to), Way::Copy) = (home, self.sockets.way()) {
            let socket = caller.take(caller.int(0))?;
            if sockopt::socket_type(&socket)? == SocketType::DGRAM && size <= DATAGRAM {
                let data = caller.bytes(data, size as usize)?;
                let (to, flags) = (self.own(to), SendFlags::from_bits_retain(flags as u32));
                return Ok(Answer::later(move || {
                    match sendto(&socket, &data, flags | SendFlags::NOSIGNAL, &to) {
                        Ok(sent) => Reply::Value(sent as i64),
                        Err(errno) => Reply::Errno(errno.raw_os_error()),
                    }
                }));
            }
        }
        self.send(caller, flags, at, length)
    }

    /// `sendmsg(fd, message, flags)`: a `msghdr` begins with its address and that one's length.
    fn sendmsg(&self, caller: &Caller) -> io::Result<Answer> {
        let [_, message, flags, ..] = caller.call().args;
        let head = caller.bytes(message, 12)?;
        let at = u64::from_ne_bytes(head[..8].try_into().expect("eight bytes"));
        let length = u32::from_ne_bytes(head[8..].try_into().expect("four bytes"));
        self.send(caller, flags, at, length.into())
    }

    fn send(&self, caller: &Caller, flags: u64, at: u64, length: u64) -> io::Result<Answer> {
        let Some(to) = read(caller, at, length as usize)? else {
            return Ok(Answer::Pass);
        };
        // A connection that begins with its first bytes would go by no link. Programs then connect first.
        if flags as i32 & libc::MSG_FASTOPEN != 0 {
            return Ok(Reply::Errno(libc::EOPNOTSUPP).into());
        }
        match self.whose(to) {
            Whose::Peer(peer) => {
                lock(&self.noticed).datagrams.insert(peer);
            }
            Whose::Foreign => self.notice_foreign(to),
            Whose::Own => {}
        }
        Ok(Answer::Pass)
    }

    fn notice_foreign(&self, address: SocketAddr) {
        // What resolves names connects to port 0, and sends nothing.
        if address.port() == 0 {
            return;
        }
        let foreign = &mut lock(&self.noticed).foreign;
        if foreign.len() < FOREIGN || foreign.contains_key(&address) {
            *foreign.entry(address).or_default() += 1;
        } else if let Some(mut last) = foreign.last_entry() {
            *last.get_mut() += 1;
        }
    }

    /// The node's own address for a socket of that family, with the asked port.
    fn own(&self, asked: SocketAddr) -> SocketAddr {
        alike(self.address(), asked.port(), asked)
    }

    /// Gives the socket the node's address, if it has none: peers see the true source. Its address then.
    fn source(&self, socket: &OwnedFd, like: SocketAddr) -> io::Result<SocketAddr> {
        if local(socket)?.port() == 0 {
            bind(socket, &alike(self.address(), 0, like)).map_err(|errno| match errno {
                // No port is left: to a `connect` the kernel says it so.
                Errno::ADDRINUSE => Errno::ADDRNOTAVAIL,
                errno => errno,
            })?;
        }
        local(socket)
    }

    /// Remembers what a connection was meant for. What had the same address before is over: the kernel gives a port out
    /// again only then, and the program must have shared it on purpose else.
    fn name(&self, attempt: &Attempt, to: SocketAddr) {
        let mut names = lock(&self.names);
        let meant = names.entry(attempt.source).or_default();
        meant.retain(|(known, _)| *known != to);
        if meant.len() >= FOREIGN {
            meant.remove(0);
        }
        meant.push((to, attempt.asked));
    }

    fn wait_for(&self, attempt: &Attempt) {
        let waiting = Waiting {
            socket: Arc::clone(&attempt.socket),
            tid: attempt.caller.call().tid,
            connecting: false,
        };
        lock(&self.waiting).insert(attempt.call(), waiting);
    }

    /// Ends the wait of every worker whose program is gone; others may share this host. One that is about to connect is not to be missed: its socket can be shut down only
    /// once it has begun, which is a matter of microseconds.
    fn wait_no_more(&self) {
        let gone =
            |waiting: &Waiting| !std::fs::exists(format!("/proc/{}", waiting.tid)).unwrap_or(true);
        lock(&self.waiting).retain(|_, waiting| waiting.connecting || !gone(waiting));
        for _ in 0..1000 {
            let left: Vec<_> = lock(&self.waiting)
                .values()
                .filter(|waiting| gone(waiting))
                .map(|waiting| Arc::clone(&waiting.socket))
                .collect();
            if left.is_empty() {
                return;
            }
            for socket in left {
                let _ = shutdown(&*socket, Shutdown::Both);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// A socket that a worker has.
struct Waiting {
    socket: Arc<OwnedFd>,
    /// For this thread.
    tid: u32,
    /// Whether it knows where to, and connects.
    connecting: bool,
}

/// One `connect` under way.
struct Attempt {
    socket: Arc<OwnedFd>,
    /// Where the socket belongs, if it is not the program's already.
    place: Option<Place>,
    /// The socket's own address.
    source: SocketAddr,
    /// What the program wants to reach.
    asked: SocketAddr,
    caller: Caller,
}

impl Attempt {
    fn call(&self) -> u64 {
        self.caller.call().id
    }
}

/// The watcher of a [`Host`].
impl Watcher for Arc<Host> {
    fn wants(&self) -> Vec<Want> {
        let mut wants = vec![
            Want::Always(libc::SYS_bind),
            Want::Always(libc::SYS_connect),
            Want::Always(libc::SYS_getpeername),
            // Only with an address: `send` is a `sendto` without.
            Want::Bits {
                nr: libc::SYS_sendto,
                arg: 4,
                mask: u32::MAX,
            },
            Want::Always(libc::SYS_sendmsg),
            // Its calls would pass by here unseen. Programs do without it.
            Want::Never {
                nr: libc::SYS_io_uring_setup,
                errno: libc::ENOSYS,
            },
        ];
        if self.sockets.way() == Way::Replace {
            wants.push(Want::Always(libc::SYS_setsockopt));
        }
        wants
    }

    fn answer(&self, caller: &Caller) -> Answer {
        let answer = match caller.call().nr {
            libc::SYS_bind => self.bind(caller),
            libc::SYS_connect => self.connect(caller),
            libc::SYS_getpeername => self.getpeername(caller),
            libc::SYS_sendto => self.sendto(caller),
            libc::SYS_sendmsg => self.sendmsg(caller),
            libc::SYS_setsockopt => self.sockets.note(caller).map(|()| Answer::Pass),
            _ => Ok(Answer::Pass),
        };
        match answer {
            Ok(answer) => answer,
            // No descriptor, no socket, no memory: the kernel says so better.
            Err(error) => match error.raw_os_error() {
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::ESRCH) => Answer::Pass,
                Some(errno) => Reply::Errno(errno).into(),
                None => Reply::Errno(libc::EIO).into(),
            },
        }
    }

    fn gone(&self) {
        self.wait_no_more();
    }
}

/// What a host calls itself: any address, localhost, and what Debian calls the host's name.
fn is_localhost(ip: Ipv4Addr) -> bool {
    ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST || ip == Ipv4Addr::new(127, 0, 1, 1)
}

fn local(socket: &OwnedFd) -> io::Result<SocketAddr> {
    SocketAddr::try_from(getsockname(socket)?)
        .map_err(|_| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

/// Whether the kernel would take such an address for this socket at all.
fn same_family(socket: &OwnedFd, address: SocketAddr) -> bool {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    sockopt::socket_domain(socket) == Ok(family)
}

/// Whether the socket is for IPv6 alone, which this host does not have.
fn only_v6(socket: &OwnedFd, address: SocketAddr) -> bool {
    address.is_ipv6()
        && !matches!(
            sockopt::ipv6_v6only(socket),
            Ok(false) | Err(Errno::NOPROTOOPT)
        )
}
