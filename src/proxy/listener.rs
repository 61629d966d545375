//! One route's door: a port that stays the same for the network's life, and how new connections are met there.
//!
//! The port is kept by a second socket that is bound and never listens. So a refusal is the kernel's own (nobody
//! listens), and the port cannot go to somebody else meanwhile. A silent door is a full accept queue: the kernel
//! drops further SYNs, as a lost network does.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::effect::ConnectFault;
use super::gate::{self, LegState, Reader, Side, Writer};
use super::rule::{Journal, Rules};
use super::{Half, Leg, Level, Route, messages};
use crate::wire::metadata::{Authenticator, Token};

/// Connections that the kernel completes before the listener takes them.
const BACKLOG: i32 = 128;

/// How long an upstream may take to answer a connect; on one machine it answers at once or its queue is full.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Dummies that are tried to fill an accept queue.
const DUMMIES: usize = 8;

/// The loopback answers a connect at once; one that takes longer is not answered.
const UNANSWERED: Duration = Duration::from_millis(2);

/// How a door meets new connections; the graver is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Accept {
    /// They are taken and joined with the upstream.
    Answer,
    /// They are taken and reset.
    Reset,
    /// Nobody listens.
    Refuse,
    /// Their SYNs are dropped.
    Silence,
}

impl From<ConnectFault> for Accept {
    fn from(fault: ConnectFault) -> Accept {
        match fault {
            ConnectFault::Reset => Accept::Reset,
            ConnectFault::Refuse => Accept::Refuse,
            ConnectFault::Unanswered => Accept::Silence,
        }
    }
}

/// Where each node listens now.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    told: AtomicU64,
    now: Mutex<BTreeMap<u64, Upstream>>,
}

/// Where a node listened when that was told last. Two that were told at different times differ, also where a node has
/// got the same port again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    address: SocketAddr,
    told: u64,
}

impl Upstreams {
    pub(crate) fn set(&self, node: u64, address: Option<SocketAddr>) {
        let told = self.told.fetch_add(1, Ordering::Relaxed);
        let mut now = self.now.lock().unwrap();
        match address {
            Some(address) => now.insert(node, Upstream { address, told }),
            None => now.remove(&node),
        };
    }

    pub(crate) fn get(&self, node: u64) -> Option<Upstream> {
        self.now.lock().unwrap().get(&node).copied()
    }
}

/// One route: its port, its legs, its live connections.
#[derive(Debug)]
pub(crate) struct RouteState {
    pub(crate) route: Route,
    pub(crate) address: SocketAddr,
    pub(crate) legs: [Arc<LegState>; 2],
    /// Keeps the port.
    _bound: Socket,
    upstreams: Arc<Upstreams>,
    messages: AtomicBool,
    /// Refuses messages of strangers. Links of bytes know no messages: behind them the node refuses.
    pub(crate) authenticator: Option<Authenticator>,
    pub(crate) rules: Rules,
    faults: Mutex<BTreeMap<u64, ConnectFault>>,
    wanted: watch::Sender<Accept>,
    reached: watch::Sender<Accept>,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    accepted: AtomicU64,
    /// Pieces of snapshots that were given to the receiver, at their time.
    pub(crate) pieces_passed: AtomicU64,
}

impl RouteState {
    pub(crate) fn bind(
        route: Route,
        level: Level,
        seed: u64,
        token: Option<Token>,
        upstreams: Arc<Upstreams>,
        journal: Arc<Journal>,
    ) -> io::Result<RouteState> {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bound.set_reuse_address(true)?;
        bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = bound.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let leg = |half| Arc::new(LegState::new(Leg { route, half }, seed));
        Ok(RouteState {
            route,
            address,
            legs: [leg(Half::Request), leg(Half::Response)],
            _bound: bound,
            upstreams,
            messages: AtomicBool::new(level == Level::Messages),
            authenticator: token.map(|token| Authenticator::new(Some(token), route.to)),
            rules: Rules::new(route, seed, journal),
            faults: Mutex::default(),
            wanted: watch::Sender::new(Accept::Refuse),
            reached: watch::Sender::new(Accept::Refuse),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            pieces_passed: AtomicU64::new(0),
        })
    }

    pub(crate) fn leg(&self, half: Half) -> &Arc<LegState> {
        match half {
            Half::Request => &self.legs[0],
            Half::Response => &self.legs[1],
        }
    }

    pub(crate) fn set_level(&self, level: Level) {
        self.messages
            .store(level == Level::Messages, Ordering::Relaxed);
    }

    /// Changes the faults of the door and tells the listener what they come to.
    pub(crate) fn update(&self, change: impl FnOnce(&mut BTreeMap<u64, ConnectFault>)) {
        let mut faults = self.faults.lock().unwrap();
        change(&mut faults);
        let upstream = self.upstreams.get(self.route.to);
        let base = upstream.map_or(Accept::Refuse, |_| Accept::Answer);
        let worst = faults.values().map(|&fault| Accept::from(fault)).max();
        let wanted = worst.unwrap_or(base).max(base);
        self.wanted.send_if_modified(|now| {
            let changed = *now != wanted;
            *now = wanted;
            changed
        });
    }

    /// What the listener does now.
    pub(crate) fn reached(&self) -> Accept {
        *self.reached.borrow()
    }

    pub(crate) fn live(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn reset_all(&self) -> usize {
        let live: Vec<Arc<Connection>> =
            self.connections.lock().unwrap().values().cloned().collect();
        for connection in &live {
            connection.reset();
        }
        live.len()
    }

    /// Starts the task that keeps this door as it is wanted.
    pub(crate) fn serve(self: Arc<Self>) {
        tokio::spawn(async move {
            let mut wanted = self.wanted.subscribe();
            let mut door = Door::Closed;
            loop {
                let now = *wanted.borrow_and_update();
                match door.turn(now, self.address).await {
                    Ok(next) => {
                        door = next;
                        self.reached.send_replace(now);
                    }
                    Err(error) => {
                        // The port is ours, so this is memory or file descriptors; the next change tries again.
                        tracing::warn!(route = %self.route, %error, "the door did not move");
                        door = Door::Closed;
                        self.reached.send_replace(Accept::Refuse);
                    }
                }
                if let Door::Open { listener, dummies } = &mut door {
                    self.take(listener, dummies, now, &mut wanted).await;
                } else if wanted.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Takes new connections until something else is wanted.
    async fn take(
        self: &Arc<Self>,
        listener: &TcpListener,
        dummies: &mut Vec<SocketAddr>,
        now: Accept,
        wanted: &mut watch::Receiver<Accept>,
    ) {
        loop {
            tokio::select! {
                biased;
                _ = wanted.changed() => return,
                taken = listener.accept() => match taken {
                    Ok((stream, from)) => {
                        if let Some(at) = dummies.iter().position(|&dummy| dummy == from) {
                            dummies.swap_remove(at);
                        } else {
                            self.meet(stream, now);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(route = %self.route, %error, "accept failed");
                        // Out of file descriptors is the likely cause: give them time to come back.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
            }
        }
    }

    fn meet(self: &Arc<Self>, stream: TcpStream, now: Accept) {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        if now == Accept::Reset {
            gate::reset(&stream);
            return;
        }
        let connection = Arc::new(Connection {
            down: Side::new(stream),
            up: OnceLock::new(),
            over: CancellationToken::new(),
        });
        let mut live = self.connections.lock().unwrap();
        live.insert(number, connection.clone());
        drop(live);
        let route = self.clone();
        tokio::spawn(async move {
            route.join(connection).await;
            route.connections.lock().unwrap().remove(&number);
        });
    }

    /// One connection from its first byte to its last.
    async fn join(self: &Arc<Self>, connection: Arc<Connection>) {
        let joined = async {
            let Some(upstream) = self.upstreams.get(self.route.to) else {
                return Ending::Reset;
            };
            let connecting = TcpStream::connect(upstream.address);
            let connecting = tokio::time::timeout(CONNECT_DEADLINE, connecting);
            let Ok(Ok(up)) = connecting.await else {
                return Ending::Reset;
            };
            // Meanwhile the node may have been ended, and its port may be another one's. What was connected before its
            // address was forgotten is connected to itself, and ends with it.
            if self.upstreams.get(self.route.to) != Some(upstream) {
                let _ = connection.up.set(Side::new(up));
                return Ending::Reset;
            }
            let up = connection.up.get_or_init(|| Side::new(up));
            let down = &connection.down;
            if self.messages.load(Ordering::Relaxed) {
                return messages::join(self.clone(), down.clone(), up.clone()).await;
            }
            let [request, response] = &self.legs;
            let there = pump(
                Reader::new(down.clone(), request),
                Writer::new(up.clone(), request),
            );
            let back = pump(
                Reader::new(up.clone(), response),
                Writer::new(down.clone(), response),
            );
            both(there, back).await
        };
        let ending = tokio::select! {
            biased;
            () = connection.over.cancelled() => Ending::Reset,
            ending = joined => ending,
        };
        if ending == Ending::Reset {
            connection.reset();
        }
    }
}

/// One accepted connection and the one that was made for it.
#[derive(Debug)]
struct Connection {
    down: Arc<Side>,
    up: OnceLock<Arc<Side>>,
    over: CancellationToken,
}

impl Connection {
    /// Both ends get a reset, at once.
    fn reset(&self) {
        self.over.cancel();
        self.down.reset();
        if let Some(up) = self.up.get() {
            up.reset();
        }
    }
}

/// How one half, or a whole connection, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The end of the stream was delivered.
    Finished,
    /// The receiver does not take any more; its own half says how it ended.
    Unheard,
    /// A reset is to be delivered.
    Reset,
}

/// Both halves. One that is unheard waits for the other: the receiver's reset must pass its own leg to be known.
async fn both(there: impl Future<Output = Ending>, back: impl Future<Output = Ending>) -> Ending {
    let (mut there, mut back) = (std::pin::pin!(there), std::pin::pin!(back));
    let (first, second) = tokio::select! {
        ending = &mut there => (ending, match ending {
            Ending::Reset => Ending::Reset,
            _ => back.await,
        }),
        ending = &mut back => (ending, match ending {
            Ending::Reset => Ending::Reset,
            _ => there.await,
        }),
    };
    match (first, second) {
        (Ending::Finished, Ending::Finished) => Ending::Finished,
        _ => Ending::Reset,
    }
}

/// Carries one half.
async fn pump(mut reader: Reader, mut writer: Writer) -> Ending {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => match writer.shutdown().await {
                Ok(()) => return Ending::Finished,
                Err(_) => return Ending::Unheard,
            },
            Ok(n) => {
                if writer.write_all(&buffer[..n]).await.is_err() {
                    return Ending::Unheard;
                }
            }
            Err(_) => return Ending::Reset,
        }
    }
}

/// The listening socket as it is.
enum Door {
    /// None: the kernel refuses.
    Closed,
    /// It takes connections; of these dummies some may still be in its queue.
    Open {
        listener: TcpListener,
        dummies: Vec<SocketAddr>,
    },
    /// Its queue is full.
    Full {
        listener: TcpListener,
        dummies: Vec<TcpStream>,
    },
}

impl Door {
    async fn turn(self, wanted: Accept, address: SocketAddr) -> io::Result<Door> {
        match (wanted, self) {
            (Accept::Refuse, _) => Ok(Door::Closed),
            (Accept::Answer | Accept::Reset, Door::Closed) => Ok(Door::Open {
                listener: listen(address)?,
                dummies: Vec::new(),
            }),
            (Accept::Answer | Accept::Reset, Door::Full { listener, dummies }) => {
                rustix::net::listen(&listener, BACKLOG)?;
                let addresses = dummies.iter().map(TcpStream::local_addr);
                let dummies = addresses.collect::<io::Result<_>>()?;
                Ok(Door::Open { listener, dummies })
            }
            (Accept::Silence, Door::Closed) => fill(listen(address)?, address).await,
            (Accept::Silence, Door::Open { listener, .. }) => fill(listener, address).await,
            (Accept::Silence, full @ Door::Full { .. }) => Ok(full),
            (Accept::Answer | Accept::Reset, open @ Door::Open { .. }) => Ok(open),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Fills the accept queue with dummies until one is not answered, which proves that nobody is.
async fn fill(listener: TcpListener, address: SocketAddr) -> io::Result<Door> {
    rustix::net::listen(&listener, 0)?;
    let mut dummies = Vec::new();
    for _ in 0..DUMMIES {
        match tokio::time::timeout(UNANSWERED, TcpStream::connect(address)).await {
            Ok(answered) => dummies.push(answered?),
            Err(_) => return Ok(Door::Full { listener, dummies }),
        }
    }
    Err(io::Error::other("the accept queue does not fill"))
}
