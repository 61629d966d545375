//! Internet addresses as system calls carry them: `sockaddr_in` and `sockaddr_in6` in a program's memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::caller::Caller;

/// The shortest `sockaddr_in6` that the kernel takes: without its scope.
const V6_SHORTEST: usize = 24;
const V4: usize = 16;
const V6: usize = 28;

/// The address at `at`, `length` bytes; `None` where it is of another family, or so short that the kernel refuses it.
///
/// # Errors
/// `EFAULT`, `EPERM`, `ESRCH`: the memory cannot be read.
pub(super) fn read(caller: &Caller, at: u64, length: usize) -> io::Result<Option<SocketAddr>> {
    let length = length.min(V6);
    if at == 0 || length < V4 {
        return Ok(None);
    }
    Ok(decode(&caller.bytes(at, length)?))
}

fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            (bytes.len() >= V4).then(|| SocketAddr::from((ip, port)))
        }
        libc::AF_INET6 if bytes.len() >= V6_SHORTEST => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let flow = u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?);
            let scope = match bytes.get(24..28) {
                Some(scope) => u32::from_ne_bytes(scope.try_into().ok()?),
                None => 0,
            };
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

/// The bytes of an address, as `getpeername` gives them.
pub(super) fn encode(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(V6);
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    bytes.extend_from_slice(&(family as u16).to_ne_bytes());
    bytes.extend_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend_from_slice(&v4.ip().octets());
            bytes.extend_from_slice(&[0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend_from_slice(&v6.flowinfo().to_ne_bytes());
            bytes.extend_from_slice(&v6.ip().octets());
            bytes.extend_from_slice(&v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// What an address comes to in IPv4: itself, what is mapped in it, `::` and `::1` for their likes. `None` for all else.
pub(super) fn as_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) if v6.is_unspecified() => Some(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(v6) if v6.is_loopback() => Some(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    }
}

/// An IPv4 address for a socket of the same family as `like`: mapped, where that is IPv6.
pub(super) fn alike(ip: Ipv4Addr, port: u16, like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (ip, port).into(),
        SocketAddr::V6(_) => (ip.to_ipv6_mapped(), port).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for text in ["127.0.0.1:80", "[::1]:65535", "[fe80::1%3]:9", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(decode(&encode(address)), Some(address));
        }
        let v6 = encode("[::1]:80".parse().expect("an address"));
        assert_eq!(decode(&v6[..24]), "[::1]:80".parse().ok());
        assert_eq!(decode(&v6[..23]), None);
        assert_eq!(
            decode(&[1, 0, b'/', b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
    }
}
