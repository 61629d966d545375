//! The network of a run's nodes: each has a loopback address of its own, `127.A.B.ID`, and its own localhost.
//!
//! A program's `bind` and `connect` come in; what goes out is the same call with another address, made by the bench on
//! the program's socket. Nothing is configured, neither in the program nor on the host: all of 127/8 is local on Linux.
//!
//! ```text
//!  node 1 (127.A.B.1)                          bench                             node 2 (127.A.B.2)
//!  bind    0.0.0.0:2380      ──▶  127.A.B.1:2380
//!  connect 127.A.B.2:2380    ──▶  Links::connect(1, source, 2, 2380)
//!                                 = where to connect instead  ──▶ (a proxy) ──▶  127.A.B.2:2380
//!  getpeername               ──▶  127.A.B.2:2380
//! ```

mod address;
mod host;
mod silence;
mod socket;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

pub use host::{Host, Noticed};
pub use silence::Silence;
pub use socket::Way;

/// A node's number, which is the last part of its address: 1 to 254.
pub type NodeId = u8;

/// Where a connection between two nodes goes: the bench's proxy.
pub trait Links: Send + Sync {
    /// Node `from` connects to port `port` of node `to`, with a socket whose own address is `source` already. Gives the
    /// address to connect it to instead, or the error number (positive) that the program's `connect` fails with.
    ///
    /// A proxy dials `to` here, before it gives an address: a refusal is then the program's refusal. It may wait, and is
    /// called on a thread of its own. A program whose socket does not block waits as well, as its `connect` should not;
    /// so what would be a lost SYN, a link that is cut, is better answered with the address of a [`Silence`]: the kernel
    /// then tries again by itself, as it would on a real network.
    ///
    /// # Errors
    /// The error number, `ECONNREFUSED` and the like.
    fn connect(
        &self,
        from: NodeId,
        source: SocketAddr,
        to: NodeId,
        port: u16,
    ) -> Result<SocketAddr, i32>;
}

/// The addresses `127.A.B.*`, which no other bench of this host has while this is held.
#[derive(Debug)]
pub struct Network {
    first: u8,
    second: u8,
    _claim: UdpSocket,
}

impl Network {
    /// The port on `127.A.B.255` whose owner owns `127.A.B.*`. Not one that the kernel gives out by itself.
    const CLAIM: u16 = 7771;
    /// `A` is from here on, 63 of them: below live localhost and what distributions put next to it.
    const FIRST: u8 = 64;
    const FIRSTS: u32 = 63;

    /// Takes the first free block of addresses, beginning at one that depends on this process.
    ///
    /// # Errors
    /// What bind(2) said last, where none is free.
    pub fn claim() -> io::Result<Arc<Self>> {
        let blocks = Self::FIRSTS * 256;
        let mut error = io::Error::from(io::ErrorKind::AddrInUse);
        // Neighbouring process numbers begin far apart.
        let start = std::process::id().wrapping_mul(0x9E37_79B1) % blocks;
        for block in (0..blocks).map(|step| (start + step) % blocks) {
            let (high, second) = ((block / 256) as u8, (block % 256) as u8);
            let first = Self::FIRST + high;
            match UdpSocket::bind((Ipv4Addr::new(127, first, second, 255), Self::CLAIM)) {
                Ok(claim) => {
                    return Ok(Arc::new(Self {
                        first,
                        second,
                        _claim: claim,
                    }));
                }
                Err(taken) => error = taken,
            }
        }
        Err(error)
    }

    /// A node's address.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Ipv4Addr {
        Ipv4Addr::new(127, self.first, self.second, node)
    }

    /// Which node an address is; `None` for all that is no node of this network.
    #[must_use]
    pub fn node(&self, address: Ipv4Addr) -> Option<NodeId> {
        let [_, _, _, node] = address.octets();
        (address == self.address(node) && (1..=254).contains(&node)).then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_networks_of_one_host_have_no_address_in_common() {
        let one = Network::claim().expect("an address is free");
        let other = Network::claim().expect("another one is, too");
        assert_ne!(one.address(1), other.address(1));
        assert_eq!(one.node(one.address(7)), Some(7));
        assert_eq!(one.node(other.address(7)), None);
        assert_eq!(one.node(one.address(255)), None);
        assert_eq!(one.node(one.address(0)), None);
    }
}
