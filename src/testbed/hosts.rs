//! Hosts of their own for nodes' programs: a disk that can lose power and go wrong, clocks, and for who cannot be told whom
//! to dial an address, from which whatever is dialled is led through the proxy.
//!
//! ```text
//!  a node's programs ─┬─ write, sync, read a clock ──▶ its hardware
//!                     └─ bind, connect ──▶ its address ── Links::connect ──▶ the proxy's route of that ordered pair
//! ```
//!
//! The crate `machine` starts the programs and hears what they ask the kernel for; here its network meets the proxy, and
//! its disk and clocks ([`hardware`](super::hardware)) meet who turns them wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use machine::clock::Clock;
use machine::launch::{Exit, LaunchError, Program, Stream, Waiter};
use machine::net;
use machine::watcher::Watcher;
use rustix::process::Signal;
use tokio::net::unix::pipe;

use super::hardware::Hardware;
use crate::cluster::{ClusterConfig, Spawned, Spawner};
use crate::proxy::{Endpoint, Network, Route};
use crate::target::{
    Asked, ClientHosts, ClockSeen, DiskProof, DiskSeen, DiskSwitches, Launch, Machines, Readiness,
    Ready, Switches, TargetError,
};

/// A node's programs meet what is wrong with their disk within this, or it is not believed: they have nothing to do.
const MEET_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The number of the host of the first group of clients; those of nodes come before it.
const CLIENTS: u8 = 100;

/// A host for each node, and where they have addresses one for the client programs of each group.
pub(super) struct Hosts {
    hosts: BTreeMap<u64, Host>,
    clients: BTreeMap<u32, Arc<net::Host>>,
    /// Keeper and starter of what runs on them.
    keeper: PathBuf,
}

/// The host of one node.
struct Host {
    /// Its address, where it has one.
    net: Option<Arc<net::Host>>,
    hardware: Arc<Hardware>,
    /// What runs on it now, if anything does.
    life: Mutex<Weak<Life>>,
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.addresses()).finish()
    }
}

impl Hosts {
    /// Hosts for these nodes of the cluster's target, where it wants some; what is watched on them is the cluster's
    /// equipment. Where they have addresses, so have these groups of clients, and connections go through the proxy's routes.
    ///
    /// Our own nodes have no addresses of their own: they are told whom to dial, by the addresses of the proxy's links,
    /// which tells single messages apart there. An address would lead what they dial on the bench's own localhost back to
    /// themselves, and cost a notification for each connection.
    ///
    /// # Errors
    /// When no addresses of 127.0.0.0/8 are free.
    pub(super) fn of(
        cluster: &ClusterConfig,
        nodes: impl Iterator<Item = u64>,
        groups: impl Iterator<Item = u32>,
        links: Weak<Network>,
    ) -> io::Result<Option<Arc<Hosts>>> {
        let ClusterConfig {
            equipment, wiring, ..
        } = cluster;
        let addresses = match cluster.target.machines() {
            Machines::None => return Ok(None),
            Machines::Hardware if !equipment.disk && !equipment.clock => return Ok(None),
            Machines::Hardware => None,
            Machines::Whole => Some(net::Network::claim()?),
        };
        let routes = addresses.map(|addresses| {
            let links: Arc<dyn net::Links> = Arc::new(Routes {
                addresses: addresses.clone(),
                links,
            });
            (addresses, links)
        });
        let at = |number| {
            let (addresses, links) = routes.as_ref()?;
            Some(net::Host::new(addresses, number, links.clone()))
        };
        let host = |node| {
            let number = u8::try_from(node).expect("a node's number is at most 9");
            let (data, beside) = (wiring.data(node), wiring.folder(node));
            let hardware = Arc::new(Hardware::new(node, data, beside, *equipment));
            let net = at(number);
            let life = Mutex::default();
            (
                node,
                Host {
                    net,
                    hardware,
                    life,
                },
            )
        };
        let hosts = nodes.map(host).collect();
        let clients = groups.filter_map(|group| {
            let number = u8::try_from(group).ok()?.checked_add(CLIENTS)?;
            (number < u8::MAX).then_some((group, at(number)?))
        });
        Ok(Some(Arc::new(Hosts {
            hosts,
            clients: clients.collect(),
            keeper: cluster.keeper.clone(),
        })))
    }

    /// Each node's own address, where it has one.
    pub(super) fn addresses(&self) -> BTreeMap<u64, Ipv4Addr> {
        let hosts = self.hosts.iter();
        let address = |(&node, host): (&u64, &Host)| Some((node, host.net.as_ref()?.address()));
        hosts.filter_map(address).collect()
    }

    fn node(&self, node: u64) -> io::Result<&Host> {
        Ok(self.hosts.get(&node).ok_or(io::ErrorKind::NotFound)?)
    }

    /// What this node runs on.
    fn hardware(&self, node: u64) -> io::Result<&Arc<Hardware>> {
        Ok(&self.node(node)?.hardware)
    }

    /// What runs on it.
    fn life(&self, node: u64) -> io::Result<Arc<Life>> {
        let life = &self.node(node)?.life;
        let life = life.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(life.upgrade().ok_or(io::ErrorKind::NotFound)?)
    }

    /// Waits until a node's programs have met what is wrong with their disk; where that takes too long, it is not wrong any
    /// more.
    async fn met(&self, hardware: &Hardware) -> DiskProof {
        let until = tokio::time::Instant::now() + MEET_WITHIN;
        loop {
            let proof = hardware.proof();
            if proof.is_seen() {
                return proof;
            }
            if tokio::time::Instant::now() >= until {
                return hardware.whole_unless_met();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where the programs of nodes and clients connect to that is no node, and how often: no link harms that.
    pub(super) fn foreign(&self) -> BTreeMap<SocketAddr, u64> {
        let mut all = BTreeMap::new();
        let nodes = self.hosts.values().filter_map(|host| host.net.as_ref());
        for host in nodes.chain(self.clients.values()) {
            for (address, times) in host.noticed().foreign {
                *all.entry(address).or_default() += times;
            }
        }
        all
    }

    /// The nodes that send datagrams to nodes: no link harms those.
    pub(super) fn datagrams(&self) -> Vec<u64> {
        let hosts = self.hosts.iter();
        let net = |host: &Host| host.net.as_ref().map(|net| net.noticed().datagrams);
        let sends = hosts.filter(|(_, host)| net(host).is_some_and(|sent| !sent.is_empty()));
        sends.map(|(&node, _)| node).collect()
    }
}

impl ClientHosts for Hosts {
    fn host(&self, group: u32) -> Option<Arc<dyn Watcher>> {
        let host = self.clients.get(&group)?.clone();
        Some(Arc::new(host))
    }
}

/// Whose host has this number.
fn party(number: net::NodeId) -> Endpoint {
    match number.checked_sub(CLIENTS) {
        Some(group) => Endpoint::Clients(group.into()),
        None => Endpoint::Node(number.into()),
    }
}

/// The routes of the proxy, as a host's network asks for them.
struct Routes {
    addresses: Arc<net::Network>,
    links: Weak<Network>,
}

impl net::Links for Routes {
    fn connect(
        &self,
        from: net::NodeId,
        source: SocketAddr,
        to: net::NodeId,
        port: u16,
    ) -> Result<SocketAddr, i32> {
        // A run that is over listens nowhere, and a node that there is not, either.
        let links = self.links.upgrade().ok_or(libc_errno::REFUSED)?;
        let route = Route {
            from: party(from),
            to: to.into(),
        };
        if !links.has(route) {
            return Err(libc_errno::REFUSED);
        }
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let there = SocketAddr::new(IpAddr::V4(self.addresses.address(to)), port);
        let led = links.lead(route, source, there);
        led.map_err(|error| match (error.raw_os_error(), error.kind()) {
            (Some(errno), _) => errno,
            (None, io::ErrorKind::TimedOut) => libc_errno::TIMED_OUT,
            (None, _) => libc_errno::REFUSED,
        })
    }
}

/// The error numbers of connect(2) that are made up here.
mod libc_errno {
    use rustix::io::Errno;

    pub(super) const REFUSED: i32 = Errno::CONNREFUSED.raw_os_error();
    pub(super) const TIMED_OUT: i32 = Errno::TIMEDOUT.raw_os_error();
}

/// The processes of one life of a node, each with what asks it to end.
pub(super) struct Life(Mutex<Vec<(Program, Signal)>>);

impl Life {
    pub(super) fn of(programs: Vec<(Program, Signal)>) -> Life {
        Life(Mutex::new(programs))
    }

    /// Sends each of them, and all that they have started, a signal.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (program, stop) in programs.iter() {
            match signal {
                Signal::STOP => program.pause().map_err(io::Error::other)?,
                Signal::CONT => program.resume(),
                Signal::KILL => program.signal_all(signal)?,
                // A launcher is asked, and not what it has launched.
                Signal::TERM => program.signal(*stop)?,
                other => program.signal(other)?,
            }
        }
        Ok(())
    }

    /// Sees to it that each of them is heard when it reads this clock.
    fn reach(&self, clock: &Clock) -> io::Result<()> {
        let programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        programs
            .iter()
            .try_for_each(|(program, _)| clock.reach(program))
    }

    /// The numbers of all that they consist of.
    pub(super) fn pids(&self) -> Vec<u32> {
        let programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let programs = programs.iter();
        programs
            .flat_map(|(program, _)| program.processes())
            .collect()
    }

    /// Ends what is left of them, and comes back when nothing is.
    fn end(&self) {
        let programs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(programs);
    }
}

/// Ends a life when it is dropped: its first process has ended, or nobody wants it any more.
struct Over(Arc<Life>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Waits on a thread of its own for the first process of a life, and then for the end of all of it.
pub(super) async fn ended(life: Arc<Life>, waiter: Waiter) -> ExitStatus {
    // Dropped with this future, whatever the thread does.
    let over = Over(life);
    let waited = tokio::task::spawn_blocking(move || waiter.wait()).await;
    let exit = waited.ok().flatten();
    // Not on the runtime's thread: the kernel may take its time.
    let _ = tokio::task::spawn_blocking(move || drop(over)).await;
    ExitStatus::from_raw(match exit {
        Some(Exit::Code(code)) => (code & 0xff) << 8,
        Some(Exit::Signal(signal)) => signal & 0x7f,
        // A keeper that was killed took the program with it.
        None => Signal::KILL.as_raw(),
    })
}

/// What the kernel said of a start, where it was the kernel.
pub(super) fn refused(error: LaunchError) -> io::Error {
    match error {
        LaunchError::NotFound(program) => {
            let why = format!("there is no program {}", program.display());
            io::Error::new(io::ErrorKind::NotFound, why)
        }
        LaunchError::Keeper { error, .. } | LaunchError::Surroundings { error, .. } => error,
        error => io::Error::other(error),
    }
}

impl Spawner for Hosts {
    fn spawn(&self, node: u64, launches: &[Launch], log: File) -> io::Result<Spawned> {
        let host = self.node(node)?;
        let volatile = launches.iter().flat_map(|launch| launch.volatile.clone());
        let hardware = host.hardware.begin(volatile.collect())?;
        let mut programs = Vec::new();
        for launch in launches {
            let mut start = machine::launch::Launch::new(&launch.program)
                .by(&self.keeper)
                .args(&launch.arguments)
                .stderr(log.try_clone()?);
            // Who says himself that he is ready may also want to hear that the bench is gone.
            start = match launch.readiness {
                Readiness::Says(_) => start.stdin(Stream::Pipe).stdout(Stream::Pipe),
                Readiness::Asked(_) => start.stdout(log.try_clone()?),
            };
            if let Some(net) = &host.net {
                start = start.watch(Arc::new(net.clone()));
            }
            for watcher in &hardware {
                start = start.watch(watcher.clone());
            }
            if let Some(folder) = &launch.folder {
                start = start.folder(folder);
            }
            for (name, value) in &launch.environment {
                start = match value {
                    Some(value) => start.env(name, value),
                    None => start.without(name),
                };
            }
            // What was started before is ended when it is dropped.
            programs.push((start.start().map_err(refused)?, launch.stop_signal));
        }
        let (first, _) = programs.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        let (pid, waiter) = (first.pid(), first.waiter());
        let stdin = first.stdin.take().map(|pipe| Box::new(pipe) as _);
        let stdout = first.stdout.take().map(pipe::Receiver::from_file);
        let stdout = stdout.transpose()?.map(|pipe| Box::new(pipe) as _);
        let life = Arc::new(Life::of(programs));
        *host.life.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&life);
        let (all, pids) = (life.clone(), life.clone());
        Ok(Spawned {
            pid,
            group: pid,
            all: Some(Arc::new(move |signal| all.signal(signal))),
            pids: Some(Arc::new(move || pids.pids())),
            stdin,
            stdout,
            ended: ended(life, waiter).boxed(),
        })
    }

    fn switches(&self) -> Option<&dyn Switches> {
        Some(self)
    }

    fn keeps_power(&self, node: u64) -> Option<String> {
        match self.hardware(node) {
            Ok(hardware) => hardware.keeps_power(),
            Err(error) => Some(error.to_string()),
        }
    }

    fn power_fails(&self, node: u64) -> io::Result<()> {
        self.hardware(node)?.power_fails()
    }

    fn wiped(&self, node: u64) {
        if let Ok(hardware) = self.hardware(node) {
            hardware.wiped();
        }
    }
}

/// What came of asking a node's host.
fn asked<T>(node: &Ready, what: &'static str, got: io::Result<T>) -> Result<T, TargetError> {
    got.map_err(|error| TargetError::Ask {
        id: node.id,
        what,
        seen: error.to_string(),
    })
}

impl Switches for Hosts {
    fn set_disk<'a>(&'a self, node: &'a Ready, switches: DiskSwitches) -> Asked<'a, DiskProof> {
        Box::pin(async move {
            let what = "another disk";
            let hardware = asked(node, what, self.hardware(node.id))?;
            // A bit is looked for in the files.
            let there = hardware.clone();
            let set = tokio::task::spawn_blocking(move || there.set_disk(switches)).await;
            asked(
                node,
                what,
                set.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
            )?;
            Ok(self.met(hardware).await)
        })
    }

    fn disk<'a>(&'a self, node: &'a Ready) -> Asked<'a, DiskSeen> {
        let seen = self
            .hardware(node.id)
            .and_then(|hardware| hardware.look_at_disk());
        Box::pin(async move { asked(node, "its disk", seen) })
    }

    fn set_clock<'a>(&'a self, node: &'a Ready, rate: f64, step: Duration) -> Asked<'a, ClockSeen> {
        let there = self.hardware(node.id).cloned();
        let there = there.and_then(|hardware| Ok((hardware, self.life(node.id)?)));
        Box::pin(async move {
            let what = "another clock";
            let (hardware, life) = asked(node, what, there)?;
            // Programs are stopped for a moment.
            let set = move || hardware.set_clock(rate, step, |clock| life.reach(clock));
            let set = tokio::task::spawn_blocking(set).await;
            let set = set.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
            asked(node, what, set)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use machine::net::Links;

    use super::*;
    use crate::proxy::{Level, NetworkConfig};

    #[test]
    fn what_a_client_program_dials_goes_by_the_links_of_its_group() {
        let network = Network::start(NetworkConfig {
            nodes: 2,
            client_groups: BTreeSet::from([0, 2]),
            node_level: Level::Bytes,
            ..NetworkConfig::default()
        });
        let network = Arc::new(network.expect("ports are free"));
        let addresses = net::Network::claim().expect("an address is free");
        let node = TcpListener::bind((addresses.address(1), 0)).expect("it is free");
        let listens = node.local_addr().expect("it is bound");
        network.set_upstream(1, Some(listens));
        let routes = Routes {
            addresses: addresses.clone(),
            links: Arc::downgrade(&network),
        };
        let dial = |from: net::NodeId, to| {
            let source = SocketAddr::new(addresses.address(from).into(), 1);
            routes.connect(from, source, to, listens.port())
        };
        for (from, route) in [
            (2, Route::nodes(2, 1)),
            (CLIENTS, Route::clients(0, 1)),
            (CLIENTS + 2, Route::clients(2, 1)),
        ] {
            assert_eq!(dial(from, 1), Ok(network.address(route)), "{route}");
        }
        // Neither is there a link of that group, nor does anybody dial a client.
        assert_eq!(dial(CLIENTS + 1, 1), Err(libc_errno::REFUSED));
        assert_eq!(dial(1, CLIENTS), Err(libc_errno::REFUSED));
    }
}
