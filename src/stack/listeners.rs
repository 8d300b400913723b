//! Where connections are accepted.

use std::net::IpAddr;

/// Ports, each at an address or at all of them (`None`). In order: every SYN is looked up here, and a table would hash it once more.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<(u16, Option<IpAddr>)>);

impl Listeners {
    /// Adds one, unless it is there already.
    pub fn insert(&mut self, port: u16, address: Option<IpAddr>) {
        if let Err(place) = self.0.binary_search(&(port, address)) {
            self.0.insert(place, (port, address));
        }
    }

    /// Whether anybody listens on `port`, at whatever address.
    pub fn have(&self, port: u16) -> bool {
        !self.at(port).is_empty()
    }

    /// Whether somebody listens on `port` at `address`.
    pub fn accept(&self, port: u16, address: IpAddr) -> bool {
        self.at(port).iter().any(|(_, listened)| listened.is_none_or(|listened| listened == address))
    }

    /// Removes all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn at(&self, port: u16) -> &[(u16, Option<IpAddr>)] {
        let begin = self.0.partition_point(|(other, _)| *other < port);
        let length = self.0[begin..].partition_point(|(other, _)| *other == port);
        &self.0[begin..begin + length]
    }
}
