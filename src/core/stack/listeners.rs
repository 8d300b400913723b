//! Where connections are accepted.

use super::Stack;
use crate::{tcp::MaxSegment, wire::Endpoint};
use std::{mem, net::IpAddr, num::NonZeroU32};

/// Names one listener. Another one has the same name only after four thousand million others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(NonZeroU32);

/// Why nobody listens there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Port zero.
    #[error("port 0 means no port; listen on a port from 1 to 65535")]
    PortZero,
    /// Somebody listens there already, and goes on.
    #[error("port {port} has a listener at this address; stop that one first, to have another")]
    Twice {
        /// The port.
        port: u16,
        /// The listener that is there.
        listener: ListenerId,
    },
    /// As many listeners as are configured.
    #[error("there are {0} listeners, which is the limit; stop one, or raise `max_listeners`")]
    Limit(usize),
}

/// A port, at an address or at all of them (`None`).
type Place = (u16, Option<IpAddr>);

#[derive(Clone, Copy, Debug)]
struct Listener {
    place: Place,
    id: ListenerId,
    max_segment: MaxSegment,
    accepted: u64,
}

/// Somebody who listens, for whoever wants to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listening {
    /// Its name.
    pub id: ListenerId,
    /// At which address; `None` for all of them.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Connections that it has accepted here.
    pub accepted: u64,
}

/// What a handshake knows of the listener it began at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub listener: ListenerId,
    pub max_segment: MaxSegment,
    /// Listeners that had been removed by then.
    removals: u32,
}

/// All of them, in order of their places: every SYN is looked up here, and a table would hash it once more.
#[derive(Debug)]
pub(super) struct Listeners {
    listening: Vec<Listener>,
    /// Those at which no handshake begins any more, but those that had begun may end.
    stopped: Vec<Listener>,
    removals: u32,
    last: ListenerId,
    limit: usize,
}

impl Listeners {
    /// None yet, and at most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { listening: Vec::new(), stopped: Vec::new(), removals: 0, last: ListenerId(NonZeroU32::MAX), limit }
    }

    fn insert(&mut self, place: Place, max_segment: MaxSegment) -> Result<ListenerId, ListenError> {
        let behind = match self.listening.binary_search_by_key(&place, |other| other.place) {
            Ok(there) => {
                return Err(ListenError::Twice { port: place.0, listener: self.listening[there].id });
            }
            Err(behind) => behind,
        };
        if self.listening.len() >= self.limit {
            return Err(ListenError::Limit(self.limit));
        }
        let id = ListenerId(self.last.0.checked_add(1).unwrap_or(NonZeroU32::MIN));
        self.last = id;
        self.listening.insert(behind, Listener { place, id, max_segment, accepted: 0 });
        Ok(id)
    }

    fn remove(&mut self, place: Place) -> bool {
        let found = self.listening.binary_search_by_key(&place, |other| other.place);
        if let Ok(there) = found {
            self.listening.remove(there);
            self.removals = self.removals.wrapping_add(1);
        }
        found.is_ok()
    }

    fn place_of(&self, id: ListenerId) -> Option<Place> {
        self.listening.iter().find(|listener| listener.id == id).map(|listener| listener.place)
    }

    /// A connection to here was accepted by way of this listener.
    pub fn count(&mut self, local: Endpoint, id: ListenerId) {
        let begin = self.listening.partition_point(|other| other.place.0 < local.port);
        let end = self.listening[begin..].partition_point(|other| other.place.0 == local.port);
        // The one that listens everywhere comes first, and is most often the only one.
        if let Some(listener) = self.listening[begin..begin + end].iter_mut().find(|listener| listener.id == id) {
            listener.accepted += 1;
        }
    }

    /// Whether anybody listens on `port`, at whatever address.
    pub fn have(&self, port: u16) -> bool {
        let begin = self.listening.partition_point(|other| other.place.0 < port);
        self.listening.get(begin).is_some_and(|listener| listener.place.0 == port)
    }

    /// Whoever listens on `port` at `address`: there alone rather than everywhere.
    pub fn find(&self, port: u16, address: IpAddr) -> Option<Begun> {
        let begin = self.listening.partition_point(|other| other.place.0 < port);
        let first = self.listening.get(begin).filter(|listener| listener.place.0 == port)?;
        // The one that listens everywhere comes first in order, and is most often the only one.
        let is_alone = self.listening.get(begin + 1).is_none_or(|next| next.place.0 != port);
        let is_meant = |listener: &&Listener| listener.place.1.is_none_or(|listened| listened == address);
        let found = if is_alone { Some(first).filter(is_meant) } else { self.at(port, address) };
        let &Listener { id, max_segment, .. } =
            found.or_else(|| Some(first).filter(|first| first.place.1.is_none()))?;
        Some(Begun { listener: id, max_segment, removals: self.removals })
    }

    /// Whoever listens on `port` at this very address.
    fn at(&self, port: u16, address: IpAddr) -> Option<&Listener> {
        let place = (port, Some(address));
        let found = self.listening.binary_search_by_key(&place, |other| other.place);
        found.ok().map(|found| &self.listening[found])
    }

    fn id_at(&self, place: Place) -> Option<ListenerId> {
        let found = self.listening.binary_search_by_key(&place, |other| other.place);
        found.ok().map(|found| self.listening[found].id)
    }

    /// Whether a handshake that began there may still end: its listener has not been removed.
    #[inline]
    pub fn may_end(&self, begun: &Begun) -> bool {
        begun.removals == self.removals || self.is_there(begun.listener)
    }

    #[cold]
    fn is_there(&self, id: ListenerId) -> bool {
        self.listening.iter().chain(&self.stopped).any(|listener| listener.id == id)
    }

    fn stop(&mut self) {
        self.stopped = mem::take(&mut self.listening);
    }
}

impl Stack {
    /// Accepts connections to `port`, at one address or at all of the stack's. Connections there are stay untouched
    /// (MUST-41); listeners at several addresses share a port in peace (MUST-42).
    ///
    /// # Errors
    /// [`ListenError`] says what to do. Who listens there already goes on as before.
    pub fn listen(&mut self, address: Option<IpAddr>, port: u16) -> Result<ListenerId, ListenError> {
        self.listen_with(address, port, MaxSegment::default())
    }

    /// As [`Stack::listen`], for connections whose segments are no larger than that: their clients are asked for no larger ones,
    /// either.
    ///
    /// # Errors
    /// As those of [`Stack::listen`].
    pub fn listen_with(
        &mut self,
        address: Option<IpAddr>,
        port: u16,
        max_segment: MaxSegment,
    ) -> Result<ListenerId, ListenError> {
        if port == 0 {
            return Err(ListenError::PortZero);
        }
        self.listeners.insert((port, address), max_segment)
    }

    /// Accepts no more connections to `port` at this address, or, where that is `None`, by the listener at all of them. Whether there
    /// was such a listener. Its connections go on. Handshakes under way end as they would where nobody listens: the client's next
    /// segment draws an RST.
    pub fn unlisten_at(&mut self, address: Option<IpAddr>, port: u16) -> bool {
        self.listeners.remove((port, address))
    }

    /// Accepts no more connections by way of this listener, as [`Stack::unlisten_at`] does by its place. Whether it was there.
    pub fn unlisten(&mut self, listener: ListenerId) -> bool {
        self.listeners.place_of(listener).is_some_and(|place| self.listeners.remove(place))
    }

    /// Who listens at this port, at this address alone, or, where that is `None`, at all of them.
    pub fn listener_at(&self, address: Option<IpAddr>, port: u16) -> Option<ListenerId> {
        self.listeners.id_at((port, address))
    }

    /// Where a listener listens, as [`Stack::listener_at`] has it; `None` where it does no more.
    pub fn place_of_listener(&self, listener: ListenerId) -> Option<(Option<IpAddr>, u16)> {
        self.listeners.place_of(listener).map(|(port, address)| (address, port))
    }

    /// Those who listen, in order of their ports.
    pub fn listeners(&self) -> impl Iterator<Item = Listening> {
        self.listeners.listening.iter().map(|&Listener { place: (port, address), id, accepted, .. }| Listening {
            id,
            address,
            port,
            accepted,
        })
    }

    /// Stops accepting new connections anywhere. Connections there are go on, and handshakes under way end in connections still: for
    /// a server that is drained.
    pub fn stop_listening(&mut self) {
        self.listeners.stop();
    }
}
