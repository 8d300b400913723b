//! UDP sockets.

use super::{
    BindAddr, current, error,
    listener::Waiters,
    reactor::{Later, Reactor},
};
use crate::{
    stack::{BindError, UdpId},
    worker::{BindRefused, Context},
};
use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    task::{Context as TaskContext, Poll},
};

/// A socket as the executor knows it.
#[derive(Default)]
pub(super) struct Socket {
    receivers: Waiters,
}

impl Socket {
    pub fn wake(&self) {
        self.receivers.wake();
    }
}

/// A UDP socket. Any worker may be the one that a datagram comes to, so all take them once one does, and each should have a socket of its
/// own. Dropped, it takes no more datagrams, and those that come to its worker are refused; with the last worker's, the server's programs
/// serve the port no longer. A port that was given to [`Server::udp_port`](crate::Server::udp_port) is bound from the start, and binding
/// to it takes over what has come.
///
/// Where a worker binds a port anew, all workers' stacks have a socket there again, those that had dropped theirs as well. What comes to one
/// whose tasks have not bound it waits for that, as many datagrams as the socket's queue takes; those beyond are dropped and counted
/// ([`DropReason::DatagramQueueFull`](crate::drops::DropReason::DatagramQueueFull)), and nobody is told.
pub struct UdpSocket {
    id: UdpId,
    place: BindAddr,
    socket: Rc<Socket>,
    /// The last datagram, kept for its memory.
    data: RefCell<Vec<u8>>,
    reactor: Weak<Reactor>,
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UdpSocket").field(&self.place).finish()
    }
}

impl UdpSocket {
    /// Takes datagrams there: for a port, at one address or at all of the stack's.
    ///
    /// # Errors
    /// [`BindRefused`], wrapped, says what to do; [`io::ErrorKind::AddrInUse`] where this worker has a socket there.
    ///
    /// # Panics
    /// Outside of tasks.
    pub fn bind(place: impl Into<BindAddr>) -> io::Result<Self> {
        let (reactor, place) = (current::reactor(), place.into());
        let bind = |cx: &mut Context<'_>| match cx.bind_udp(place.address, place.port) {
            // Since the start, or left over from another worker's that is about to be forgotten.
            Err(BindRefused::Stack(BindError::InUse(port))) => {
                let there = cx.stack().udp_socket_at(place.address, place.port);
                let id = there.filter(|id| !reactor.sockets.borrow().contains_key(id)).ok_or(BindError::InUse(port))?;
                cx.share_udp(place.address, place.port).map(|()| id)
            }
            bound => bound,
        };
        let id = current::context(bind).map_err(error::bind)?;
        let socket = Rc::<Socket>::default();
        reactor.sockets.borrow_mut().insert(id, socket.clone());
        Ok(Self { id, place, socket, data: RefCell::default(), reactor: Rc::downgrade(&reactor) })
    }

    /// Waits for a datagram and copies it into `buffer`; its length, and who sent it. What finds no room in the buffer is lost.
    ///
    /// # Errors
    /// None, as of now.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut data = self.data.take();
        let received = poll_fn(|task| {
            let (_, peer) = std::task::ready!(self.poll_receive(task, &mut data));
            let length = data.len().min(buffer.len());
            buffer[..length].copy_from_slice(&data[..length]);
            Poll::Ready((length, peer))
        })
        .await;
        self.data.replace(data);
        Ok(received)
    }

    /// Waits for a datagram, which replaces what is in `data` without being copied: the memory that was there is used for datagrams to
    /// come. Our address that it came to, to answer from, and who sent it.
    ///
    /// # Errors
    /// None, as of now.
    pub async fn recv(&self, data: &mut Vec<u8>) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok(poll_fn(|task| self.poll_receive(task, data)).await)
    }

    fn poll_receive(&self, task: &TaskContext<'_>, data: &mut Vec<u8>) -> Poll<(SocketAddr, SocketAddr)> {
        match current::context(|cx| cx.udp(self.id).receive(data)) {
            Some(ends) => Poll::Ready(ends),
            None => {
                self.socket.receivers.wait(task);
                Poll::Pending
            }
        }
    }

    /// Sends a datagram, from the address the socket is bound to or that faces the destination. Where too much waits to be sent, by
    /// whichever socket, it waits until there is room; dropped by then, nothing is sent.
    ///
    /// # Errors
    /// [`SendError`](crate::stack::SendError), wrapped, says what to do.
    pub async fn send_to(&self, data: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.send(None, data, remote).await
    }

    /// Sends a datagram as [`UdpSocket::send_to`] does, from this address of the stack's: an answer comes from where the question went.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`].
    pub async fn send_from(&self, local: IpAddr, data: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.send(Some(local), data, remote).await
    }

    /// Sends a datagram as [`UdpSocket::send_to`] does, now or not at all.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`], and [`io::ErrorKind::WouldBlock`] where too much waits to be sent.
    pub fn try_send_to(&self, data: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.try_send(None, data, remote)
    }

    /// Sends a datagram as [`UdpSocket::send_from`] does, now or not at all.
    ///
    /// # Errors
    /// As [`UdpSocket::try_send_to`].
    pub fn try_send_from(&self, local: IpAddr, data: &[u8], remote: SocketAddr) -> io::Result<()> {
        self.try_send(Some(local), data, remote)
    }

    async fn send(&self, local: Option<IpAddr>, data: &[u8], remote: SocketAddr) -> io::Result<()> {
        poll_fn(|task| match self.try_send(local, data, remote) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                current::reactor().senders.wait(task);
                Poll::Pending
            }
            done => Poll::Ready(done),
        })
        .await
    }

    fn try_send(&self, local: Option<IpAddr>, data: &[u8], remote: SocketAddr) -> io::Result<()> {
        let sent = current::context(|cx| match (local, cx.udp(self.id)) {
            (Some(local), mut socket) => socket.send_from(local, data, remote),
            (None, mut socket) => socket.send_to(data, remote),
        });
        sent.map_err(error::send)?;
        current::reactor().senders.sent();
        Ok(())
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> BindAddr {
        self.place
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let Some(reactor) = self.reactor.upgrade() else { return };
        if current::try_context(|cx| reactor.unbind(self.id, cx)).is_none() {
            reactor.put_off(Later::Unbind(self.id));
        }
    }
}
