//! A UDP socket in its application's hands.

use super::{SendError, Stack, UdpId};
use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};

/// A bound UDP socket: a view of the stack, as [`Stream`](super::Stream) is for a connection.
#[derive(Debug)]
pub struct Udp<'a> {
    stack: &'a mut Stack,
    id: UdpId,
    now: Instant,
}

impl Udp<'_> {
    /// The socket's name.
    pub fn id(&self) -> UdpId {
        self.id
    }

    /// Reads the oldest datagram that waits into `data`, replacing what is there; the memory is used again for datagrams to come.
    /// Returns our address, to answer from, and the sender's, whose port is zero where it wants no answer.
    pub fn receive(&mut self, data: &mut Vec<u8>) -> Option<(SocketAddr, SocketAddr)> {
        let (local, remote) = self.stack.receive_udp(self.id, data)?;
        Some((local.into(), remote.into()))
    }

    /// Sends a datagram, from the address the socket is bound to or that faces the destination.
    ///
    /// # Errors
    /// [`SendError`] says what to do.
    pub fn send_to(&mut self, data: &[u8], remote: SocketAddr) -> Result<(), SendError> {
        self.stack.send_udp(self.now, self.id, None, remote.into(), data)
    }

    /// Sends a datagram from this address of the stack's: an answer comes from where the question went.
    ///
    /// # Errors
    /// [`SendError`] says what to do.
    pub fn send_from(&mut self, local: IpAddr, data: &[u8], remote: SocketAddr) -> Result<(), SendError> {
        self.stack.send_udp(self.now, self.id, Some(local), remote.into(), data)
    }
}

impl Stack {
    /// The port that a UDP socket is bound to; `None` where it is no more.
    pub fn udp_port(&self, id: UdpId) -> Option<u16> {
        self.udp.port_of(id)
    }

    /// A UDP socket, for its application. One that is no longer bound receives nothing, and says so where something is sent.
    pub fn udp(&mut self, now: Instant, id: UdpId) -> Udp<'_> {
        Udp { stack: self, id, now }
    }
}
