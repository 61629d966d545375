//! The links of a test: every connection is dialled first, then forwarded byte by byte, and written down.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use machine::net::{Links, Network, NodeId, Silence};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// From, to, port.
pub(crate) type Pair = (NodeId, NodeId, u16);

/// Forwards, counts, and refuses what it is told to.
pub(crate) struct Forward {
    network: Arc<Network>,
    seen: Mutex<BTreeMap<Pair, u64>>,
    /// While this is set, a connection waits.
    held: Mutex<bool>,
    changed: Condvar,
    /// While there is one, nobody is answered.
    silence: Mutex<Option<Silence>>,
}

impl Forward {
    pub(crate) fn new(network: &Arc<Network>) -> Arc<Self> {
        Arc::new(Self {
            network: Arc::clone(network),
            seen: Mutex::default(),
            held: Mutex::new(false),
            changed: Condvar::new(),
            silence: Mutex::default(),
        })
    }

    /// How many connections went by each pair and port, refused ones included.
    pub(crate) fn seen(&self) -> BTreeMap<Pair, u64> {
        self.seen.lock().expect("nobody panicked").clone()
    }

    /// Makes every connection wait, or lets them go on.
    pub(crate) fn hold(&self, held: bool) {
        *self.held.lock().expect("nobody panicked") = held;
        self.changed.notify_all();
    }

    /// Answers nobody any more.
    pub(crate) fn cut(&self) {
        let silence = Silence::new().expect("a port is free");
        *self.silence.lock().expect("nobody panicked") = Some(silence);
    }

    /// Lets the next one who still tries through, to that address.
    pub(crate) fn heal(&self, from: NodeId, to: SocketAddr) {
        let silence = self.silence.lock().expect("nobody panicked").take();
        let listener = silence.expect("it was cut").end().expect("it can end");
        let (downstream, _) = listener.accept().expect("somebody still tries");
        let upstream = dial(self.network.address(from), to).expect("somebody listens");
        join(downstream, upstream);
    }
}

impl Links for Forward {
    fn connect(
        &self,
        from: NodeId,
        source: SocketAddr,
        to: NodeId,
        port: u16,
    ) -> Result<SocketAddr, i32> {
        let pair = (from, to, port);
        *self
            .seen
            .lock()
            .expect("nobody panicked")
            .entry(pair)
            .or_default() += 1;
        let held = self.held.lock().expect("nobody panicked");
        drop(
            self.changed
                .wait_while(held, |held| *held)
                .expect("nobody panicked"),
        );
        if let Some(silence) = &*self.silence.lock().expect("nobody panicked") {
            return silence.address().map_err(number);
        }
        let (ours, theirs) = (self.network.address(from), self.network.address(to));
        let upstream = dial(ours, (theirs, port).into()).map_err(number)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(number)?;
        let address = listener.local_addr().map_err(number)?;
        thread::spawn(move || {
            // The socket was given the node's own address before.
            let Ok((downstream, peer)) = listener.accept() else {
                return;
            };
            assert_eq!(peer, SocketAddr::from((ours, source.port())));
            join(downstream, upstream);
        });
        Ok(address)
    }
}

/// Forwards between the two until both are done.
fn join(downstream: TcpStream, upstream: TcpStream) {
    let (Ok(down), Ok(up)) = (downstream.try_clone(), upstream.try_clone()) else {
        return;
    };
    thread::spawn(move || pour(&up, &down));
    thread::spawn(move || pour(&downstream, &upstream));
}

fn number(error: io::Error) -> i32 {
    error.raw_os_error().expect("the kernel has refused it")
}

/// Copies until one side ends, and then ends the other's writing.
fn pour(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// A connection from an address of ours.
fn dial(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}
