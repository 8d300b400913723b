//! What an application hears, and of which connection.

use super::{Trouble, UdpId};
use crate::tcp::CloseReason;

/// Names one connection for as long as it lasts, and never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionId {
    /// A small number that no other connection has at the same time: an index for whoever keeps things beside connections.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Something the application should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A listener has a new connection, or one that we opened is open.
    Opened(ConnectionId),
    /// Data or their end can be read, or there is room to write again.
    Ready(ConnectionId),
    /// The connection is no more. Its id means nothing from now on.
    Closed(ConnectionId, CloseReason),
    /// Something is wrong, though the connection goes on (RFC 9293 §3.9.1.8). Never where
    /// [`StackConfig::reports`](crate::config::StackConfig::reports) is off.
    Trouble(ConnectionId, Trouble),
    /// Datagrams wait at a UDP socket. Comes once for any number, and again for what comes after it was read.
    Datagram(UdpId),
}
