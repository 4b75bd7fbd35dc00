//! Sockets to a server: their source addresses, and how many of them there may be.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use mio::net::TcpStream;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{RESERVED_FILES, SOURCE_ADDRESSES};

/// Opens connections to one server, from several loopback addresses if it is on this machine.
pub(crate) struct Connector {
    server: SocketAddr,
    next: u8,
}

impl Connector {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self { server, next: 0 }
    }

    /// Begins a connection. One that `resets` does not say goodbye when it is closed.
    ///
    /// # Errors
    /// Whatever the system says at once.
    pub(crate) fn connect(&mut self, resets: bool) -> io::Result<TcpStream> {
        let domain = Domain::for_address(self.server);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Requests are written whole and answered at once.
        socket.set_tcp_nodelay(true)?;
        if resets {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if let Some(source) = self.source() {
            // A port whose last connection is long over may be used again.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.server.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                Err(error)
            }
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    fn source(&mut self) -> Option<Ipv4Addr> {
        let IpAddr::V4(server) = self.server.ip() else { return None };
        self.next = (self.next + 1) % SOURCE_ADDRESSES;
        server.is_loopback().then(|| Ipv4Addr::new(127, 0, 0, 2 + self.next))
    }
}

/// Raises the limit on open files as far as it goes.
///
/// # Errors
/// If that is not enough for so many connections.
pub(crate) fn make_room(connections: usize) -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If it cannot be raised, the check below says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = files.saturating_sub(RESERVED_FILES);
    if (connections as u64) > room {
        bail!(
            "{files} open files are allowed, which is enough for {room} clients and not for {connections}: raise the limit (ulimit -n) or ask for fewer"
        );
    }
    Ok(())
}
