//! What an application hears, and in which order.

use super::{ListenerId, SoftError, Stack, TimerId, UdpId};
use crate::tcp::CloseReason;

/// Names one connection for as long as it lasts, and never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionId {
    /// A small number, for whoever keeps things of connections in a table. No other connection has it before [`Event::Closed`] of this
    /// one was taken from the stack.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Something the application should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This listener has a new connection.
    Accepted(ConnectionId, ListenerId),
    /// A connection that we began is open.
    Connected(ConnectionId),
    /// Data or their end can be read, or there is room to write again. The end is always told in this way, and the connection is still
    /// there then, unless the application has closed it or it was reset.
    Ready(ConnectionId),
    /// The connection is no more: what was accepted or begun ends with this, once. Its id means nothing from now on, and its index
    /// may be used again.
    Closed(ConnectionId, CloseReason),
    /// Something is wrong, though the connection goes on (RFC 9293 §3.9.1.8). Never where
    /// [`StackConfig::soft_error_events`](crate::config::StackConfig::soft_error_events) is off.
    SoftError(ConnectionId, SoftError),
    /// A timer has expired; with it comes the token that it was set with.
    Timer(TimerId, u64),
    /// Datagrams wait at a UDP socket. Comes once for any number, and again for what comes after it was read.
    Datagram(UdpId),
}

impl Stack {
    /// What the application should know next. To be called until it returns `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(id) = self.last_words.take() {
            self.close_if_read(id);
        }
        loop {
            let event = self.events.pop_front()?;
            match event {
                Event::Accepted(..) | Event::Connected(_) => self.backlog = self.backlog.saturating_sub(1),
                Event::Ready(id) | Event::SoftError(id, _) => self.note_notified(id, event),
                Event::Datagram(id) => self.udp.notified(id),
                Event::Closed(id, _) => self.connections.release(id.index),
                Event::Timer(id, _) if self.app_timers.take(id).is_none() => continue, // cancelled meanwhile
                Event::Timer(..) => {}
            }
            return Some(event);
        }
    }
}
