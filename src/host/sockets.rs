//! Who listens on this machine, by the kernel's own tables.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that hears whoever speaks to it: a listener, or one of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where. An address of the older protocol that stands for one is that one.
    pub at: SocketAddr,
    inode: u64,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Listeners, for connections.
    Streams,
    /// Sockets of datagrams that are connected to nobody.
    Datagrams,
}

/// All that listen in this network namespace now; none where the kernel does not say.
#[must_use]
pub fn listening(which: Sockets) -> Vec<Listening> {
    let (tables, state) = match which {
        Sockets::Streams => (["tcp", "tcp6"], "0A"),
        Sockets::Datagrams => (["udp", "udp6"], "07"),
    };
    let read = |table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let tables = tables.map(read);
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines.filter_map(|line| row(line, state)).collect()
}

impl Listening {
    /// A process that has it open, and its name, where this user may see that.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, String)> {
        let wanted = format!("socket:[{}]", self.inode);
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut having = numbers.filter(|pid: &u32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            let open = open.into_iter().flatten().flatten();
            let mut names = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            names.any(|name| name.to_str() == Some(&wanted))
        });
        let pid = having.next()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some((pid, name.trim().to_owned()))
    }
}

/// A line of `/proc/net/tcp` and the like, if the socket is in that state: the second word is its own address, the fourth
/// the state, the tenth its inode.
fn row(line: &str, state: &str) -> Option<Listening> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if *words.get(3)? != state {
        return None;
    }
    Some(Listening {
        at: address(words.get(1)?)?,
        inode: words.get(9)?.parse().ok()?,
    })
}

/// `0100007F:1F90`: the address in words of four bytes as this machine has them in memory, and the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.copy_from_slice(words.as_flattened());
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn whoever_listens_is_found_with_its_process() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else {
                continue; // Not every machine has both protocols.
            };
            let at = listener.local_addr().unwrap();
            let found = listening(Sockets::Streams);
            let found = found.iter().find(|one| one.at == at).expect("it listens");
            let (pid, name) = found.owner().expect("it is ours");
            assert_eq!(pid, std::process::id());
            assert!(!name.is_empty());
        }
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = datagrams.local_addr().unwrap();
        let found = listening(Sockets::Datagrams);
        assert!(found.iter().any(|one| one.at == at), "{at}: {found:?}");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn an_address_is_read_as_the_kernel_writes_it() {
        let read = |text| address(text).map(|at| at.to_string());
        assert_eq!(read("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(read(mapped).as_deref(), Some("127.0.0.1:80"));
        let any = "00000000000000000000000000000000:0050";
        assert_eq!(read(any).as_deref(), Some("[::]:80"));
        assert_eq!(read("0100007F"), None);
        assert_eq!(read("01:0050"), None);
    }
}
