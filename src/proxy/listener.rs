//! One route's door: a port that stays the same for the network's life, and how new connections are met there.
//!
//! The port is kept by a second socket that is bound and never listens. So a refusal is the kernel's own (nobody
//! listens), and the port cannot go to somebody else meanwhile. A silent door is a full accept queue: the kernel
//! drops further SYNs, as a lost network does.
//!
//! A host that has no descriptor or port left parts nodes as a fault does, and nobody has asked for that. A door that
//! could not open tries again for as long as it is wanted open, a connection that could not be taken or joined waits
//! for its time, and each is noted: what the cluster did meanwhile proves nothing against it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::dialled::{self, Dialled, Expected};
use super::effect::ConnectFault;
use super::gate::{self, LegState, Reader, Side, Writer};
use super::rule::{Journal, Rules};
use super::{Half, Leg, Level, Route, messages};
use crate::host::{Cost, Shortages};
use crate::shortage::Shortage;
use crate::wire::metadata::{Authenticator, Token};

/// Connections that the kernel completes before the listener takes them.
const BACKLOG: i32 = 128;

/// How long an upstream may take to answer a connect; on one machine it answers at once or its queue is full.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// How long a door may take to be as it is wanted before whoever is led to it goes on all the same.
const DOOR_MOVES: Duration = Duration::from_millis(250);

/// Dummies that are tried to fill an accept queue.
const DUMMIES: usize = 8;

/// The loopback answers a connect at once; one that takes longer is not answered.
const UNANSWERED: Duration = Duration::from_millis(2);

/// Between two tries of what the host has no room for: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A connection that waited longer than this to be taken was not there, as far as whoever dialled can tell.
const MISSED: Duration = Duration::from_millis(100);

/// Ports that are tried by number where the kernel has none to choose.
const PORTS_TRIED: usize = 64;

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
    expected: Expected,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    accepted: AtomicU64,
    shortages: Shortages,
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
        shortages: Shortages,
    ) -> io::Result<RouteState> {
        let bound = bind_anywhere()?;
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
            expected: Expected::default(),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            shortages,
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
            let mut stuck = Stuck::default();
            loop {
                let now = *wanted.borrow_and_update();
                match door.turn(now, self.address).await {
                    Ok(next) => {
                        door = next;
                        self.reached.send_replace(now);
                        self.moved(&mut stuck);
                    }
                    Err(error) => {
                        door = Door::Closed;
                        self.reached.send_replace(Accept::Refuse);
                        self.did_not_move(&error);
                        // Something else may be wanted before it is tried again.
                        let changed = tokio::time::timeout(stuck.pause(), wanted.changed());
                        if matches!(changed.await, Ok(Err(_))) {
                            return;
                        }
                        continue;
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

    fn did_not_move(&self, error: &io::Error) {
        tracing::warn!(route = %self.route, %error, "the door did not move");
        let route = || format!("{}, {error}", self.route);
        self.shortages.note(DOOR, Cost::Loss, route, error);
    }

    /// Says that a door which could not move has, after all.
    fn moved(&self, stuck: &mut Stuck) {
        if let Some(since) = std::mem::take(stuck).since {
            let (route, after) = (self.route, since.elapsed().as_secs_f64());
            self.shortages.say(format!(
                "the door of {route} moves again after {after:.1} s"
            ));
        }
    }

    /// Takes new connections until something else is wanted.
    async fn take(
        self: &Arc<Self>,
        listener: &TcpListener,
        dummies: &mut Vec<SocketAddr>,
        now: Accept,
        wanted: &mut watch::Receiver<Accept>,
    ) {
        let mut stuck = Stuck::default();
        loop {
            tokio::select! {
                biased;
                _ = wanted.changed() => return,
                taken = listener.accept() => match taken {
                    Ok((stream, from)) => {
                        stuck = Stuck::default();
                        if let Some(at) = dummies.iter().position(|&dummy| dummy == from) {
                            dummies.swap_remove(at);
                        } else {
                            self.meet(stream, from, now);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(route = %self.route, %error, "accept failed");
                        let pause = stuck.pause();
                        let route = || format!("{}, {error}", self.route);
                        self.shortages.note(TAKING, stuck.cost(), route, &error);
                        tokio::time::sleep(pause).await;
                    }
                },
            }
        }
    }

    /// A program is about to dial this route from `source`, which it is bound to, for its peer at `to`. Gives where it
    /// must connect to meet what the peer, and this route's faults, have for it.
    ///
    /// # Errors
    /// What the peer's own host would answer: it refuses, or does not answer in time.
    pub(crate) async fn lead(&self, source: SocketAddr, to: SocketAddr) -> io::Result<SocketAddr> {
        let answers = *self.wanted.borrow() == Accept::Answer;
        let up = match answers {
            true => Some(self.reach(Some(source.ip()), to).await?),
            // Nobody is reached. If the door opens while the program still tries, the peer is dialled then.
            false => None,
        };
        self.expected.add(source, Dialled { to, up });
        let (mut reached, wanted) = (self.reached.subscribe(), self.wanted.subscribe());
        let moved = reached.wait_for(|reached| *reached == *wanted.borrow());
        // A door that cannot move is noted where it is kept.
        let _ = tokio::time::timeout(DOOR_MOVES, moved).await;
        Ok(self.address)
    }

    fn meet(self: &Arc<Self>, stream: TcpStream, from: SocketAddr, now: Accept) {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        let dialled = self.expected.take(from);
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
            route.join(connection, from.ip(), dialled).await;
            route.connections.lock().unwrap().remove(&number);
        });
    }

    /// One connection from its first byte to its last. `dialled` is where it leads, if it does not lead where the node
    /// listens; whoever dialled from `from`.
    async fn join(
        self: &Arc<Self>,
        connection: Arc<Connection>,
        from: IpAddr,
        dialled: Option<Dialled>,
    ) {
        let joined = async {
            let Some(upstream) = self.upstreams.get(self.route.to) else {
                return Ending::Reset;
            };
            let reached = match dialled {
                Some(Dialled { up: Some(up), .. }) => Ok(up),
                Some(Dialled { to, up: None }) => self.reach(Some(from), to).await,
                None => self.reach(None, upstream.address).await,
            };
            let Ok(up) = reached else {
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

    /// A connection to that address, from that one if it is said; where the host has no port or descriptor for it, a
    /// little later.
    async fn reach(&self, from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
        let mut stuck = Stuck::default();
        let until = tokio::time::Instant::now() + CONNECT_DEADLINE;
        loop {
            let connecting = async {
                match from {
                    Some(from) => dialled::dial(from, to).await,
                    None => TcpStream::connect(to).await,
                }
            };
            let error = match tokio::time::timeout_at(until, connecting).await {
                Ok(Ok(up)) => return Ok(up),
                Ok(Err(error)) => error,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            let pause = stuck.pause();
            let over = tokio::time::Instant::now() + pause >= until;
            let cost = if over { Cost::Loss } else { Cost::Delay };
            let route = || format!("{}, {error}", self.route);
            let short = self.shortages.note(JOINING, cost, route, &error);
            if short.is_none() || over {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// Where it is noted that the host did not give something.
const DOOR: &str = "a door of the proxy";
const TAKING: &str = "taking a connection for the proxy";
const JOINING: &str = "a connection of the proxy to a node";

/// How long something has been tried in vain.
#[derive(Debug, Default)]
struct Stuck {
    since: Option<Instant>,
    pause: Option<Duration>,
}

impl Stuck {
    /// It was in vain again: how long to wait before the next try.
    fn pause(&mut self) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        let (first, most) = AGAIN;
        let pause = self.pause.map_or(first, |before| most.min(before * 2));
        *self.pause.insert(pause)
    }

    /// What it comes to for whoever waits.
    fn cost(&self) -> Cost {
        match self.since.is_some_and(|since| since.elapsed() > MISSED) {
            true => Cost::Loss,
            false => Cost::Delay,
        }
    }
}

/// A bound socket that does not listen. Where the kernel has no port to choose, because connections take up its whole
/// range, others are tried by number: most lie outside of that range.
fn bind_anywhere() -> io::Result<Socket> {
    let bind = |port: u16| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        Ok(socket)
    };
    let mut bound = bind(0);
    for _ in 0..PORTS_TRIED {
        match &bound {
            Err(error) if Shortage::of(error) == Some(Shortage::Ports) => {
                bound = bind(rand::random_range(1_024..=u16::MAX));
            }
            _ => break,
        }
    }
    bound
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
