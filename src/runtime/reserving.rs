//! Ports of a shared address to open connections from: the kernel must not use them meanwhile, and the XDP program has to know whose
//! they are.

use super::{
    Running,
    listening::{Listening, Wanted},
};
use crate::{
    stack::{LocalAddress, Ownership},
    xdp::ServeError,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Ports of a shared address that are this server's to open connections from ([`Stack::connect_via`](crate::stack::Stack::connect_via)),
/// on any worker. When this is dropped they are the kernel's again, and connections from there with them: it resets those.
pub struct ReservedPorts {
    address: IpAddr,
    ports: Arc<[u16]>,
    listening: Arc<Listening>,
    /// Bound, and nothing else: who has a port keeps it from others.
    sockets: Vec<Socket>,
}

impl fmt::Debug for ReservedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReservedPorts")
            .field("address", &self.address)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// Why ports cannot be reserved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// It is not served as a shared one.
    #[error(
        "{0} is no shared address of this server: add it as one first, or connect from an address of the stack's own"
    )]
    NotShared(IpAddr),
    /// The kernel does not give them away.
    #[error("the kernel gives no port of {address} away: {source}")]
    Kernel {
        /// The address.
        address: IpAddr,
        /// Its reason.
        source: io::Error,
    },
    /// The XDP program cannot know of them.
    #[error(transparent)]
    Program(#[from] ServeError),
}

impl ReservedPorts {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The ports, as the kernel has picked them.
    pub fn ports(&self) -> &Arc<[u16]> {
        &self.ports
    }

    fn ends(&self) -> impl Iterator<Item = Wanted> {
        self.ports.iter().map(|&port| Wanted::own_end(SocketAddr::new(self.address, port)))
    }
}

impl Drop for ReservedPorts {
    fn drop(&mut self) {
        // The program first, or a port that the kernel gives to another would be ours for a moment.
        self.ends().for_each(|end| {
            self.listening.unsteer(end);
        });
        self.sockets.clear();
    }
}

impl Running {
    /// Reserves so many TCP ports of a [shared address](Running::add_shared_address) to open connections from. The kernel picks them from
    /// its own range, as for a connection, and gives them to nobody else; each takes a descriptor. To be called in the network
    /// namespace that the interfaces are in.
    ///
    /// # Errors
    /// [`ReserveError`] says what to do. Nothing is reserved then.
    pub fn reserve_ports(&self, address: IpAddr, count: usize) -> Result<ReservedPorts, ReserveError> {
        let listening = self.listening.clone();
        match listening.place_of(address) {
            Some((_, LocalAddress { ownership: Ownership::Shared, .. })) => {}
            _ => return Err(ReserveError::NotShared(address)),
        }
        let failed = |source| ReserveError::Kernel { address, source };
        let (mut sockets, mut ports, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        while ports.len() < count {
            let (socket, port) = bind(address).map_err(failed)?;
            // The kernel does not know where we listen. It is kept until all are found, or the kernel might pick it again.
            if listening.is_served(SocketAddr::new(address, port)) {
                taken.push(socket);
                continue;
            }
            sockets.push(socket);
            ports.push(port);
        }
        // Where one of them cannot be steered, those that are come back with the value.
        let reserved = ReservedPorts { address, ports: ports.into(), listening, sockets };
        reserved.ends().try_for_each(|end| reserved.listening.steer(end))?;
        Ok(reserved)
    }
}

/// A socket at a port that the kernel picks.
fn bind(address: IpAddr) -> io::Result<(Socket, u16)> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(address, 0)), Type::STREAM, None)?;
    socket.bind(&SockAddr::from(SocketAddr::new(address, 0)))?;
    let port = socket.local_addr()?.as_socket().map(|local| local.port());
    Ok((socket, port.ok_or(io::ErrorKind::AddrNotAvailable)?))
}
