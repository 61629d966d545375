//! The network as its owner sees it: routes, faults with their guards, counters, and a probe.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::effect::{ByteFault, ConnectFault, Delay, HeldBack, LetOut};
use super::gate::LegState;
use super::lines::Line;
use super::listener::{Accept, RouteState, Upstreams};
use super::rule::{Decisions, Journal, LineFate, MessageCounters, MessageRule};
use super::{Direction, Endpoint, Half, Leg, Level, MAX_NODE, Route};
use crate::host::Shortages;
use crate::wire::metadata::Token;

/// How long a fault may take to have its effect before [`Network::verify`] says that it has none.
const EFFECT_DEADLINE: Duration = Duration::from_millis(250);

/// For how long nothing may come out of a held leg before the probe believes that it is held.
const FLAT: Duration = Duration::from_millis(3);

/// What could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A listener's port could not be had.
    #[error("bind the listener of {route}: {source}")]
    Bind {
        /// Whose listener.
        route: Route,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The network's own threads could not be started.
    #[error("start the network's threads: {0}")]
    Threads(#[source] std::io::Error),
}

/// What a network is made of.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Nodes 1 to this one have listeners, at most [`MAX_NODE`].
    pub nodes: u64,
    /// Each group of clients has one listener for each node.
    pub client_groups: BTreeSet<u32>,
    /// What the links between nodes are made of.
    pub node_level: Level,
    /// What the links of clients are made of.
    pub client_level: Level,
    /// Seeds every random delay and every message's fate.
    pub seed: u64,
    /// What every call has to carry on links of messages; `None`: whoever dials a listener is heard.
    pub token: Option<Token>,
    /// Where it is noted that the host has no descriptor or port for a listener or a connection.
    pub shortages: Shortages,
}

impl Default for NetworkConfig {
    /// All nodes, messages between them; client groups 0 and 1, bytes for them; seed 0; no token.
    fn default() -> NetworkConfig {
        NetworkConfig {
            nodes: MAX_NODE,
            client_groups: BTreeSet::from([0, 1]),
            node_level: Level::Messages,
            client_level: Level::Bytes,
            seed: 0,
            token: None,
            shortages: Shortages::default(),
        }
    }
}

/// All listeners and links, on threads of their own. Dropping it closes every listener and connection before it
/// returns.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Binds every listener and starts the network's threads. Until [`Network::set_upstream`], every route refuses.
    ///
    /// # Errors
    /// When a port cannot be bound or a thread cannot be started.
    pub fn start(config: NetworkConfig) -> Result<Network, ProxyError> {
        let upstreams = Arc::new(Upstreams::default());
        let journal = Arc::new(Journal::default());
        let mut routes = BTreeMap::new();
        for to in 1..=config.nodes.min(MAX_NODE) {
            let peers = (1..=config.nodes.min(MAX_NODE)).filter(|&from| from != to);
            let peers = peers.map(|from| (Route::nodes(from, to), config.node_level));
            let groups = config.client_groups.iter();
            let groups = groups.map(|&group| (Route::clients(group, to), config.client_level));
            for (route, level) in peers.chain(groups) {
                let state = RouteState::bind(
                    route,
                    level,
                    config.seed,
                    config.token.clone(),
                    upstreams.clone(),
                    journal.clone(),
                    config.shortages.clone(),
                )
                .map_err(|source| ProxyError::Bind { route, source })?;
                routes.insert(route, Arc::new(state));
            }
        }
        let shared = Arc::new(Shared {
            routes,
            upstreams,
            journal,
            placed: Mutex::default(),
            next: AtomicU64::new(1),
            stands: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        let (started, wait) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("proxy".into())
            .spawn({
                let (shared, stop) = (shared.clone(), stop.clone());
                move || own_threads(&shared, &stop, &started)
            })
            .map_err(ProxyError::Threads)?;
        let runtime = match wait.recv() {
            Ok(Ok(runtime)) => runtime,
            Ok(Err(error)) => return Err(ProxyError::Threads(error)),
            Err(_) => return Err(ProxyError::Threads(std::io::ErrorKind::BrokenPipe.into())),
        };
        Ok(Network {
            shared,
            runtime,
            stop,
            thread: Some(thread),
        })
    }

    /// Where a route's dialler dials. It stays the same for the network's life.
    ///
    /// # Panics
    /// When the network was configured without this route.
    #[must_use]
    pub fn address(&self, route: Route) -> SocketAddr {
        self.shared.route(route).address
    }

    /// Tells where a node listens now; `None`: nowhere, its routes refuse new connections as a dead program does.
    /// Connections to an earlier address live on as long as both their ends do; what is being connected to it is reset.
    ///
    /// A node's address is forgotten before its child is ended: its port may be another one's a moment later.
    pub fn set_upstream(&self, node: u64, address: Option<SocketAddr>) {
        self.shared.upstreams.set(node, address);
        for route in self.shared.routes.values() {
            if route.route.to == node {
                route.update(|_| ());
            }
        }
    }

    /// Whether the network was configured with this route.
    #[must_use]
    pub fn has(&self, route: Route) -> bool {
        self.shared.routes.contains_key(&route)
    }

    /// An unmodified program is about to dial its peer on this route: from `source`, which its socket is bound to, to the
    /// peer's own address `to`. Gives where its socket must connect instead, to meet there what the peer and the faults
    /// of the route have for it. Blocks, for as long as the peer takes to answer: two seconds at most.
    ///
    /// # Errors
    /// What the program is to be told at once: the peer refuses, or does not answer.
    ///
    /// # Panics
    /// When the network was configured without this route, or on a thread of an async runtime.
    pub fn lead(&self, route: Route, source: SocketAddr, to: SocketAddr) -> io::Result<SocketAddr> {
        let state = self.shared.route(route).clone();
        let led = self
            .runtime
            .spawn(async move { state.lead(source, to).await });
        // The network that is dropped meanwhile listens nowhere.
        let led = self.runtime.block_on(led);
        led.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionRefused.into()))
    }

    /// The legs that carry a direction, and whose threads wait for what comes late on them; none where the network was
    /// configured without them.
    pub(super) fn carriers(
        &self,
        direction: Direction,
    ) -> (Vec<Arc<LegState>>, &tokio::runtime::Handle) {
        let legs = direction.legs().into_iter();
        let known = legs.filter(|leg| self.has(leg.route));
        let legs = known.map(|leg| self.shared.leg(leg).clone());
        (legs.collect(), &self.runtime)
    }

    /// What the rules have for a line: those of the route from its sender to its receiver, and where it is an answer those for
    /// answers of the route on which it was asked for. Nodes and clients are asked on one route each.
    pub(super) fn fate_of(&self, direction: Direction, line: Line<'_>) -> LineFate {
        let Direction { from, to } = direction;
        let route = |from, to| match to {
            Endpoint::Node(to) => self.shared.routes.get(&Route { from, to }),
            Endpoint::Clients(_) => None,
        };
        let mut fate = LineFate::default();
        if let Some(there) = route(from, to) {
            there.rules.decide_line(line.kind, Half::Request, &mut fate);
        }
        if let Some(back) = route(to, from).filter(|_| line.answers) {
            back.rules.decide_line(line.kind, Half::Response, &mut fate);
        }
        fate
    }

    /// How many holds let everything stand now.
    pub(super) fn stands(&self) -> watch::Receiver<usize> {
        self.shared.stands.subscribe()
    }

    /// What a route's connections are made of, for those accepted from now on.
    pub fn set_level(&self, route: Route, level: Level) {
        self.shared.route(route).set_level(level);
    }

    /// No packet passes this way: bytes wait, and since a handshake needs both ways, new connections between the two
    /// stay unanswered in whichever direction they are dialled. What flows the other way on live connections flows.
    #[must_use = "a cut heals when its guard is dropped"]
    pub fn cut(&self, direction: Direction) -> Guard {
        let legs = direction.legs();
        let connects = legs.iter().map(|leg| (leg.route, ConnectFault::Unanswered));
        let connects = connects.collect();
        let legs = legs.into_iter().map(|leg| (leg, ByteFault::Hold)).collect();
        self.shared.place(Placed {
            stands: false,
            legs,
            connects,
            rules: Vec::new(),
        })
    }

    /// Packets this way come late, in order. Delays from several guards add.
    #[must_use = "the delay ends when its guard is dropped"]
    pub fn slow(&self, direction: Direction, delay: Delay) -> Guard {
        self.put(&direction.legs(), ByteFault::Delay(delay))
    }

    /// A node's machine is gone, not only its program: put in before the kill, it keeps the end and the reset of its
    /// connections from everybody, and dialling it stays unanswered. What it had sent still arrives. When it is taken
    /// out, connections whose node is gone are reset, as by the restarted machine.
    #[must_use = "the machine is back when its guard is dropped"]
    pub fn vanish(&self, node: u64) -> Guard {
        let routes = self.shared.routes.values();
        let legs = routes.clone().flat_map(|route| &route.legs);
        let legs = legs.map(|leg| leg.leg);
        let legs = legs.filter(|&leg| Direction::of(leg).from == Endpoint::Node(node));
        let to_it = routes
            .map(|route| route.route)
            .filter(|route| route.to == node);
        self.shared.place(Placed {
            stands: false,
            legs: legs.map(|leg| (leg, ByteFault::Vanish)).collect(),
            connects: to_it
                .map(|route| (route, ConnectFault::Unanswered))
                .collect(),
            rules: Vec::new(),
        })
    }

    /// Nothing passes anywhere: every byte and every line waits, and new connections stay unanswered. When it is taken out,
    /// everything that waited arrives.
    #[must_use = "the network goes on when its guard is dropped"]
    pub fn hold(&self) -> Guard {
        let routes = self.shared.routes.values();
        let legs = routes.clone().flat_map(|route| &route.legs);
        self.shared.place(Placed {
            stands: true,
            legs: legs.map(|leg| (leg.leg, ByteFault::Hold)).collect(),
            connects: routes
                .map(|route| (route.route, ConnectFault::Unanswered))
                .collect(),
            rules: Vec::new(),
        })
    }

    /// Puts one fault on each of these legs.
    #[must_use = "the fault is taken out when its guard is dropped"]
    pub fn put(&self, legs: &[Leg], fault: ByteFault) -> Guard {
        self.shared.place(Placed {
            stands: false,
            legs: legs.iter().map(|&leg| (leg, fault)).collect(),
            connects: Vec::new(),
            rules: Vec::new(),
        })
    }

    /// Holds back what these legs carry: new connections are made as ever, and what is sent waits as it comes, until
    /// [`Network::let_out`] lets some of it pass or the fault is taken out.
    #[must_use = "everything is let out when its guard is dropped"]
    pub fn hold_back(&self, legs: &[Leg]) -> Guard {
        self.put(legs, ByteFault::HoldBack(HeldBack::default()))
    }

    /// Lets some of what a guard holds back pass, on each of its legs; what comes behind it is held as before.
    pub fn let_out(&self, guard: &Guard, more: LetOut) {
        let placed = self.shared.placed.lock().unwrap();
        for &id in &guard.ids {
            let legs = placed.get(&id).map_or(&[][..], |placed| &placed.legs);
            for &(leg, _) in legs {
                self.shared.leg(leg).let_out(id, more);
            }
        }
    }

    /// Harms new connections of a route; live ones go on. The gravest of several counts: unanswered, refuse, reset.
    #[must_use = "the fault is taken out when its guard is dropped"]
    pub fn on_connect(&self, route: Route, fault: ConnectFault) -> Guard {
        self.shared.place(Placed {
            stands: false,
            legs: Vec::new(),
            connects: vec![(route, fault)],
            rules: Vec::new(),
        })
    }

    /// Puts one rule for messages on each of these routes, where [`Level::Messages`] connections obey it from their
    /// next message on. Routes at the byte level do not know messages.
    #[must_use = "the rule is taken out when its guard is dropped"]
    pub fn put_rule(&self, routes: &[Route], rule: &MessageRule) -> Guard {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        for &route in routes {
            self.shared.route(route).rules.put(id, rule.clone());
        }
        let placed = Placed {
            stands: false,
            legs: Vec::new(),
            connects: Vec::new(),
            rules: routes.to_vec(),
        };
        self.shared.place_as(id, placed)
    }

    /// How many messages a guard's rules have had something to do with so far.
    #[must_use]
    pub fn met(&self, guard: &Guard) -> u64 {
        let placed = self.shared.placed.lock().unwrap();
        let of = |&id: &u64| -> u64 {
            let routes = placed.get(&id).map_or(&[][..], |placed| &placed.rules);
            let met = routes
                .iter()
                .map(|&route| self.shared.route(route).rules.met(id));
            met.sum()
        };
        guard.ids.iter().map(of).sum()
    }

    /// What rules did to single messages since the last time this was asked.
    #[must_use]
    pub fn take_decisions(&self) -> Decisions {
        self.shared.journal.take()
    }

    /// Resets every live connection of a route, towards both ends, whatever is held; gives how many there were. It is
    /// an event, not a state: there is nothing to take out.
    pub fn reset(&self, route: Route) -> usize {
        self.shared.route(route).reset_all()
    }

    /// Takes every fault out; the guards that held them do nothing any more. Gives how many were in.
    pub fn heal_all(&self) -> usize {
        let ids: Vec<u64> = self.shared.placed.lock().unwrap().keys().copied().collect();
        ids.iter().filter(|&&id| self.shared.remove(id)).count()
    }

    /// What every direction is like and what passed, now.
    #[must_use]
    pub fn snapshot(&self) -> NetworkSnapshot {
        let mut links: BTreeMap<Direction, LinkSnapshot> = BTreeMap::new();
        for route in self.shared.routes.values() {
            for leg in &route.legs {
                let direction = Direction::of(leg.leg);
                links.entry(direction).or_default().add(route, leg);
            }
        }
        let routes = self.shared.routes.values();
        let messages = routes.map(|state| (state.route, state.rules.counters()));
        NetworkSnapshot {
            links,
            messages: messages.collect(),
            faults: self.shared.placed.lock().unwrap().len(),
        }
    }

    /// How many request messages of these methods nodes have sent one another so far; those of a stream count each.
    #[must_use]
    pub fn requests_between_nodes(&self, methods: &[super::Method]) -> u64 {
        let routes = self.shared.routes.values();
        let between = routes.filter(|state| matches!(state.route.from, Endpoint::Node(_)));
        let counted = between.flat_map(|state| {
            let rules = &state.rules;
            methods
                .iter()
                .map(|&method| rules.counted(method, super::Half::Request))
        });
        counted.sum()
    }

    /// How many pieces of snapshots were passed on from node to node, each at its time: one that is late counts when it
    /// goes on.
    #[must_use]
    pub fn snapshot_pieces_between_nodes(&self) -> u64 {
        let routes = self.shared.routes.values();
        let between = routes.filter(|state| matches!(state.route.from, Endpoint::Node(_)));
        between
            .map(|state| {
                state
                    .pieces_passed
                    .load(std::sync::atomic::Ordering::Relaxed)
            })
            .sum()
    }

    /// How many snapshots nodes have sent one another to their end, and had them answered.
    #[must_use]
    pub fn snapshots_between_nodes(&self) -> u64 {
        let routes = self.shared.routes.values();
        let between = routes.filter(|state| matches!(state.route.from, Endpoint::Node(_)));
        let method = super::Method::InstallSnapshot;
        between
            .map(|state| state.rules.counted(method, super::Half::Response))
            .sum()
    }

    /// Waits until a guard's fault has its effect on every live connection and listener, and looks whether it has:
    /// a held leg lets nothing out, a listener refuses or stays silent. At most a quarter of a second. A fault whose
    /// probe is not [`Probe::effective`] must be reported as skipped, not as put in.
    pub async fn verify(&self, guard: &Guard) -> Probe {
        let shared = self.shared.clone();
        let ids = guard.ids.clone();
        let task = self.runtime.spawn(async move { shared.probe(&ids).await });
        task.await.unwrap_or_else(|error| Probe {
            effective: false,
            connections: 0,
            waited: Duration::ZERO,
            seen: format!("the probe did not end: {error}"),
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It only fails if that thread panicked, and then its sockets are closed too.
            let _ = thread.join();
        }
    }
}

/// The thread that owns the runtime: it can be joined from anywhere, also from inside of another runtime.
fn own_threads(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    started: &mpsc::SyncSender<std::io::Result<tokio::runtime::Handle>>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("proxy-worker")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    {
        let _inside = runtime.enter();
        for route in shared.routes.values() {
            route.clone().serve();
        }
    }
    if started.send(Ok(runtime.handle().clone())).is_ok() {
        runtime.block_on(stop.cancelled());
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
}

/// What one guard put in.
#[derive(Clone, Debug)]
struct Placed {
    /// Lines wait for it to be taken out, instead of being lost.
    stands: bool,
    legs: Vec<(Leg, ByteFault)>,
    connects: Vec<(Route, ConnectFault)>,
    rules: Vec<Route>,
}

#[derive(Debug)]
struct Shared {
    routes: BTreeMap<Route, Arc<RouteState>>,
    upstreams: Arc<Upstreams>,
    journal: Arc<Journal>,
    placed: Mutex<BTreeMap<u64, Placed>>,
    next: AtomicU64,
    /// How many of what is placed lets everything stand.
    stands: watch::Sender<usize>,
}

impl Shared {
    fn route(&self, route: Route) -> &Arc<RouteState> {
        let found = self.routes.get(&route);
        found.unwrap_or_else(|| panic!("the network has no route {route}"))
    }

    fn leg(&self, leg: Leg) -> &Arc<LegState> {
        self.route(leg.route).leg(leg.half)
    }

    fn place(self: &Arc<Self>, placed: Placed) -> Guard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.place_as(id, placed)
    }

    fn place_as(self: &Arc<Self>, id: u64, placed: Placed) -> Guard {
        let mut all = self.placed.lock().unwrap();
        if placed.stands {
            self.stands.send_modify(|count| *count += 1);
        }
        for &(leg, fault) in &placed.legs {
            self.leg(leg).put(id, fault);
        }
        for &(route, fault) in &placed.connects {
            self.route(route).update(|faults| {
                faults.insert(id, fault);
            });
        }
        all.insert(id, placed);
        Guard {
            shared: Arc::downgrade(self),
            ids: vec![id],
        }
    }

    /// Whether it was still in.
    fn remove(&self, id: u64) -> bool {
        let mut all = self.placed.lock().unwrap();
        let Some(placed) = all.remove(&id) else {
            return false;
        };
        for (leg, _) in placed.legs {
            self.leg(leg).take(id);
        }
        for (route, _) in placed.connects {
            self.route(route).update(|faults| {
                faults.remove(&id);
            });
        }
        for route in placed.rules {
            self.route(route).rules.take(id);
        }
        if placed.stands {
            self.stands.send_modify(|count| *count -= 1);
        }
        true
    }

    async fn probe(&self, ids: &[u64]) -> Probe {
        let began = Instant::now();
        let placed: Vec<Placed> = {
            let all = self.placed.lock().unwrap();
            ids.iter().filter_map(|id| all.get(id).cloned()).collect()
        };
        let mut probe = Probe {
            effective: false,
            connections: 0,
            waited: Duration::ZERO,
            seen: String::new(),
        };
        if placed.len() < ids.len() || ids.is_empty() {
            probe.seen = "it was taken out".into();
            return probe;
        }
        let legs = placed.iter().flat_map(|one| &one.legs);
        let held = legs.clone().filter(|(_, fault)| *fault == ByteFault::Hold);
        let held: Vec<&Arc<LegState>> = held.map(|&(leg, _)| self.leg(leg)).collect();
        let routes: BTreeSet<Route> = legs.clone().map(|(leg, _)| leg.route).collect();
        probe.connections = routes.iter().map(|&r| self.route(r).live()).sum();
        loop {
            let unsettled = legs.clone().find(|&&(leg, _)| !self.leg(leg).settled());
            let connects = placed.iter().flat_map(|one| &one.connects);
            let unreached = connects.clone().find(|&&(route, fault)| {
                let reached = self.route(route).reached();
                reached < Accept::from(fault)
            });
            probe.seen = match (unsettled, unreached) {
                (Some((leg, _)), _) => format!("a connection of {} passes bytes", leg.route),
                (None, Some((route, fault))) => {
                    let reached = self.route(*route).reached();
                    format!("{route} should {fault:?}, its listener does {reached:?}")
                }
                (None, None) => {
                    let passed = |legs: &[&Arc<LegState>]| -> u64 {
                        legs.iter().map(|leg| leg.delivered()).sum()
                    };
                    let before = passed(&held);
                    if !held.is_empty() {
                        tokio::time::sleep(FLAT).await;
                    }
                    let leaked = passed(&held) - before;
                    if leaked == 0 {
                        probe.effective = true;
                        String::new()
                    } else {
                        format!("{leaked} bytes came out of what is held")
                    }
                }
            };
            probe.waited = began.elapsed();
            if probe.effective || probe.waited >= EFFECT_DEADLINE {
                return probe;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
}

/// Takes its faults out when dropped, unless [`Network::heal_all`] was faster.
#[derive(Debug)]
#[must_use = "what it put in is taken out when it is dropped"]
pub struct Guard {
    shared: Weak<Shared>,
    ids: Vec<u64>,
}

impl Guard {
    /// Takes its faults out, now. The same as dropping it, with a name.
    pub fn heal(self) {}

    /// One guard for what several held: a partition is many cuts.
    pub fn join(guards: impl IntoIterator<Item = Guard>) -> Guard {
        let mut joined = Guard {
            shared: Weak::new(),
            ids: Vec::new(),
        };
        for mut guard in guards {
            joined.ids.append(&mut guard.ids);
            joined.shared = std::mem::take(&mut guard.shared);
        }
        joined
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            for &id in &self.ids {
                shared.remove(id);
            }
        }
    }
}

/// What [`Network::verify`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether the fault does what its name says.
    pub effective: bool,
    /// Live connections on the routes that it touches.
    pub connections: usize,
    /// How long the probe took.
    pub waited: Duration,
    /// What was in the way, where it is not effective.
    pub seen: String,
}

/// How the packets of one direction fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// They pass as they come.
    #[default]
    Open,
    /// They come late by this much in the mean, or (zero) are shaped in another way.
    Slow(Duration),
    /// One of the two legs is held, the other is not.
    Partly,
    /// None passes.
    Cut,
}

/// One direction between two parties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSnapshot {
    /// How packets fare now.
    pub state: LinkState,
    /// Live connections that carry packets this way.
    pub connections: usize,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Bytes taken from the sender so far.
    pub bytes_in: u64,
    /// Bytes given to the receiver so far.
    pub bytes_out: u64,
    /// Bytes that were taken and wait for their time.
    pub bytes_waiting: u64,
    legs: usize,
}

impl LinkSnapshot {
    fn add(&mut self, route: &RouteState, leg: &LegState) {
        self.connections += route.live();
        self.accepted += route.accepted();
        self.bytes_in += leg.taken();
        self.bytes_out += leg.delivered();
        self.bytes_waiting += leg.waiting();
        let effect = leg.effect();
        let state = if effect.held || effect.holds_back() {
            LinkState::Cut
        } else if effect.passes_at_once() {
            LinkState::Open
        } else {
            LinkState::Slow(effect.mean_delay())
        };
        self.state = match (self.legs, self.state, state) {
            (0, _, state) => state,
            (_, LinkState::Cut, LinkState::Cut) => LinkState::Cut,
            (_, LinkState::Cut, _) | (_, _, LinkState::Cut) => LinkState::Partly,
            (_, LinkState::Slow(one), LinkState::Slow(two)) => LinkState::Slow(one.max(two)),
            (_, LinkState::Open, state) | (_, state, _) => state,
        };
        self.legs += 1;
    }
}

/// All directions at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSnapshot {
    /// Every direction that has a leg.
    pub links: BTreeMap<Direction, LinkSnapshot>,
    /// The messages of every route; zeros at the byte level.
    pub messages: BTreeMap<Route, MessageCounters>,
    /// How many faults are in.
    pub faults: usize,
}

impl NetworkSnapshot {
    /// The packets from one node to another; an untouched link where there is none.
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> LinkSnapshot {
        let direction = Direction {
            from: Endpoint::Node(from),
            to: Endpoint::Node(to),
        };
        self.links.get(&direction).cloned().unwrap_or_default()
    }
}
