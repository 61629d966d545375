//! An address that does not answer: what a link that is cut gives to those who connect.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

/// How many connections may wait once it answers.
const QUEUE: i32 = 1024;

/// A listener whose queue is full. A SYN to it is lost, as on a network that is cut: `connect` waits, or is in progress
/// where the socket does not block, and the kernel sends the SYN again after 1, 3, 7, ... seconds, by itself.
#[derive(Debug)]
pub struct Silence {
    listener: TcpListener,
    /// It is in the queue, and fills it.
    _filler: TcpStream,
}

impl Silence {
    /// A new one, on 127.0.0.1 and a port that was free.
    ///
    /// # Errors
    /// No socket, no port.
    pub fn new() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // A queue of "none" has room for one.
        listen(&socket, 0)?;
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        let filler = TcpStream::connect(address)?;
        Ok(Self {
            listener: socket.into(),
            _filler: filler,
        })
    }

    /// Where nobody answers.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ends the silence: those who still try get through with their next SYN, and come out of this listener.
    ///
    /// # Errors
    /// What accept(2) and listen(2) say.
    pub fn end(self) -> io::Result<TcpListener> {
        drop(self.listener.accept()?);
        listen(&self.listener, QUEUE)?;
        Ok(self.listener)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_gets_through_before_it_ends_and_everybody_after() {
        let silence = Silence::new().expect("a port is free");
        let address = silence.address().expect("it is bound");
        let tries: Vec<_> = (0..3)
            .map(|_| std::thread::spawn(move || TcpStream::connect(address)))
            .collect();
        let short = TcpStream::connect_timeout(&address, Duration::from_millis(300));
        assert_eq!(
            short.expect_err("nobody answers").kind(),
            io::ErrorKind::TimedOut
        );
        assert!(tries.iter().all(|one| !one.is_finished()));

        let listener = silence.end().expect("it can end");
        for one in tries {
            let (_, from) = listener.accept().expect("somebody still tries");
            assert!(from.ip().is_loopback());
            one.join().expect("it ended").expect("it got through");
        }
    }
}
