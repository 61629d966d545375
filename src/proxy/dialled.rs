//! A connection of an unmodified program, which dials its peer's own address and is led through a route.
//!
//! The program must meet what it would meet without a proxy: a peer that listens, refuses, or does not answer. So the
//! peer is dialled first, from the program's own address, and only then is the program let in. Which of a route's
//! connections is whose is told by where it comes from: its source is bound before it dials.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};

/// A source that was led to a door and has not come in for so long does not come any more: the kernel gives a connect up
/// sooner (tcp(7), `tcp_syn_retries`).
const COMES_WITHIN: Duration = Duration::from_secs(300);

/// Where a connection that is about to come in leads.
#[derive(Debug)]
pub(super) struct Dialled {
    /// The peer's address.
    pub(super) to: SocketAddr,
    /// The connection to it; `None` where the door was silent when it was asked for.
    pub(super) up: Option<TcpStream>,
}

/// Who is about to come in at a route's door, by source.
#[derive(Debug, Default)]
pub(super) struct Expected(Mutex<BTreeMap<SocketAddr, (Instant, Dialled)>>);

impl Expected {
    pub(super) fn add(&self, source: SocketAddr, dialled: Dialled) {
        let mut all = self.0.lock().unwrap();
        all.retain(|_, (since, _)| since.elapsed() < COMES_WITHIN);
        all.insert(source, (Instant::now(), dialled));
    }

    pub(super) fn take(&self, source: SocketAddr) -> Option<Dialled> {
        let taken = self.0.lock().unwrap().remove(&source);
        taken.map(|(_, dialled)| dialled)
    }
}

/// Dials from this address, whatever port.
pub(super) async fn dial(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}
