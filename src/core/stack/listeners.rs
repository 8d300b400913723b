//! Where connections are accepted.

use crate::tcp::MaxSegment;
use std::net::IpAddr;

/// Names one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u32);

impl ListenerId {
    /// That of a listener that was removed while a handshake with it was under way.
    pub const GONE: Self = Self(u32::MAX);
}

/// A port, at an address or at all of them (`None`).
#[derive(Clone, Copy, Debug)]
struct Listener {
    place: (u16, Option<IpAddr>),
    max_segment: MaxSegment,
    id: ListenerId,
}

/// All of them, in order: every SYN is looked up here, and a table would hash it once more.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    list: Vec<Listener>,
    next: u32,
}

impl Listeners {
    /// Adds one. Where it is there already, it takes the new limit.
    pub fn insert(&mut self, port: u16, address: Option<IpAddr>, max_segment: MaxSegment) -> ListenerId {
        let listener = Listener { place: (port, address), max_segment, id: ListenerId(self.next) };
        match self.list.binary_search_by_key(&listener.place, |other| other.place) {
            Ok(place) => {
                self.list[place].max_segment = max_segment;
                self.list[place].id
            }
            Err(place) => {
                self.next += 1;
                self.list.insert(place, listener);
                listener.id
            }
        }
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, id: ListenerId) -> bool {
        let before = self.list.len();
        self.list.retain(|listener| listener.id != id);
        self.list.len() < before
    }

    /// Who listens on `port` at `address`.
    pub fn id_of(&self, port: u16, address: IpAddr) -> Option<ListenerId> {
        self.look_up(port, address).map(|listener| listener.id)
    }

    /// Whether anybody listens on `port`, at whatever address.
    pub fn have(&self, port: u16) -> bool {
        !self.at(port).is_empty()
    }

    /// The limit of whoever listens on `port` at `address`: there alone rather than everywhere.
    pub fn find(&self, port: u16, address: IpAddr) -> Option<MaxSegment> {
        self.look_up(port, address).map(|listener| listener.max_segment)
    }

    fn look_up(&self, port: u16, address: IpAddr) -> Option<&Listener> {
        let is_there = |listener: &&Listener| listener.place.1.is_none_or(|listened| listened == address);
        // Whoever listens everywhere comes first in order.
        let behind = self.list.partition_point(|other| other.place.0 <= port);
        let mut backwards = self.list[..behind].iter().rev().take_while(|listener| listener.place.0 == port);
        backwards.find(is_there)
    }

    /// Removes all of them.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    fn at(&self, port: u16) -> &[Listener] {
        let begin = self.list.partition_point(|other| other.place.0 < port);
        let length = self.list[begin..].partition_point(|other| other.place.0 == port);
        &self.list[begin..begin + length]
    }
}
