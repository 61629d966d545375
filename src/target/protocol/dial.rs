//! Where a client reaches the nodes, and how it gets a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Refusal;
use crate::host::{Cost, Shortages};

/// A connection that is not made, and has not answered its first question, in this time is given up: less than an
/// election.
const CONNECT_WITHIN: Duration = Duration::from_millis(250);
/// Between two tries of a connection that the host has no port or descriptor for.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// Where a client reaches each node.
#[derive(Clone, Debug)]
pub struct Dial {
    nodes: BTreeMap<u64, SocketAddr>,
    /// What the nodes call one another, to understand a redirect.
    names: BTreeMap<String, u64>,
    within: Duration,
    aimed: bool,
    shortages: Shortages,
}

impl Dial {
    /// Node `id` is reached at `nodes[id]`.
    #[must_use]
    pub fn new(nodes: BTreeMap<u64, SocketAddr>) -> Dial {
        let names = nodes.iter().map(|(id, at)| (at.to_string(), *id));
        Dial {
            names: names.collect(),
            nodes,
            within: CONNECT_WITHIN,
            aimed: false,
            shortages: Shortages::default(),
        }
    }

    /// The nodes call `node` by this address: a redirect to it means that node, which is still reached where it was.
    #[must_use]
    pub fn knowing(mut self, address: impl Into<String>, node: u64) -> Dial {
        self.names.insert(address.into(), node);
        self
    }

    /// Where it is noted that the host has no descriptor or port for a connection.
    #[must_use]
    pub fn noting(mut self, shortages: Shortages) -> Dial {
        self.shortages = shortages;
        self
    }

    /// A connection has this long: on a starved machine one is slow to come about, and its node is there all the same.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Dial {
        self.within = within;
        self
    }

    /// A new connection is not asked first whether anybody answers on it: its node may stand.
    #[must_use]
    pub fn aimed(mut self, aimed: bool) -> Dial {
        self.aimed = aimed;
        self
    }

    /// Whether a new connection is asked first whether anybody answers on it.
    #[must_use]
    pub fn asks_first(&self) -> bool {
        !self.aimed
    }

    /// The node that is called by this address.
    #[must_use]
    pub fn node_at(&self, address: &str) -> Option<u64> {
        self.names.get(address).copied()
    }

    /// When a connection that is begun now must have come about.
    #[must_use]
    pub fn due(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.within)
    }

    /// A connection to the node; what the host has no room for is tried again, as long as there is time.
    ///
    /// # Errors
    /// If there is none by `due`. Nothing was sent then.
    pub async fn connect(&self, node: u64, due: Instant) -> Result<TcpStream, Refusal> {
        let Some(address) = self.nodes.get(&node) else {
            return Err(Refusal::not_applied(format!("n{node} cannot be dialled")));
        };
        loop {
            let error = match timeout_at(due, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // It only makes small messages late; a socket that is already gone says so at the first use.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(unanswered(node)),
            };
            let over = Instant::now() + CONNECT_AGAIN >= due;
            let cost = if over { Cost::Loss } else { Cost::Delay };
            let which = || format!("to n{node}");
            let place = "a client's connection";
            let short = self.shortages.note(place, cost, which, &error);
            match short {
                Some(shortage) if over => {
                    let why = format!("no connection to n{node}: the host has {shortage}");
                    return Err(Refusal::not_applied(why));
                }
                Some(_) => tokio::time::sleep(CONNECT_AGAIN).await,
                None => {
                    let why = format!("no connection to n{node}: {error}");
                    return Err(Refusal::not_applied(why));
                }
            }
        }
    }
}

/// A connection, or the first answer on it, did not come in time: the operation never left.
pub(super) fn unanswered(node: u64) -> Refusal {
    Refusal::not_applied(format!("no connection to n{node} in time"))
}

/// Whether the other side has ended a connection that nobody uses, or sent what nobody asked for: then it cannot be used
/// again, and nothing was sent on it yet.
pub(super) fn is_spent(stream: &TcpStream) -> bool {
    let mut byte = [0];
    match stream.try_read(&mut byte) {
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        Ok(_) => true,
    }
}
