//! Where connections are accepted.

use crate::tcp::MaxSegment;
use std::net::IpAddr;

/// A port, at an address or at all of them (`None`).
#[derive(Clone, Copy, Debug)]
struct Listener {
    place: (u16, Option<IpAddr>),
    max_segment: MaxSegment,
}

/// All of them, in order: every SYN is looked up here, and a table would hash it once more.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Listener>);

impl Listeners {
    /// Adds one. Where it is there already, it takes the new limit.
    pub fn insert(&mut self, port: u16, address: Option<IpAddr>, max_segment: MaxSegment) {
        let listener = Listener { place: (port, address), max_segment };
        match self.0.binary_search_by_key(&listener.place, |other| other.place) {
            Ok(place) => self.0[place] = listener,
            Err(place) => self.0.insert(place, listener),
        }
    }

    /// Whether anybody listens on `port`, at whatever address.
    pub fn have(&self, port: u16) -> bool {
        !self.at(port).is_empty()
    }

    /// The limit of whoever listens on `port` at `address`: there alone rather than everywhere.
    pub fn find(&self, port: u16, address: IpAddr) -> Option<MaxSegment> {
        let is_there = |listener: &&Listener| listener.place.1.is_none_or(|listened| listened == address);
        // Whoever listens everywhere comes first in order.
        let behind = self.0.partition_point(|other| other.place.0 <= port);
        let mut backwards = self.0[..behind].iter().rev().take_while(|listener| listener.place.0 == port);
        backwards.find(is_there).map(|listener| listener.max_segment)
    }

    /// Removes all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn at(&self, port: u16) -> &[Listener] {
        let begin = self.0.partition_point(|other| other.place.0 < port);
        let length = self.0[begin..].partition_point(|other| other.place.0 == port);
        &self.0[begin..begin + length]
    }
}
