//! What the paths to some destinations take, for connections to come (RFC 1191 §6.3, RFC 8201 §5.2).

use super::Stack;
use crate::time::Instant;
use std::{collections::HashMap, net::IpAddr};

/// Path MTUs that are below our own, with a limit. Only what was believed of a connection's path gets here, so whoever wants to
/// fill it must have as many connections.
#[derive(Debug)]
pub struct PathMtus {
    /// By destination, the path MTU and when it is forgotten.
    known: HashMap<IpAddr, (usize, Instant)>,
    limit: usize,
}

impl PathMtus {
    /// Room for at most `limit` destinations.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), limit }
    }

    /// What is known of the path to `destination`: its MTU, and how long that counts.
    pub fn get(&self, now: Instant, destination: IpAddr) -> Option<(usize, Instant)> {
        self.known.get(&destination).copied().filter(|&(_, until)| now < until)
    }

    /// Notes the path to `destination`. Where there is no room, the one that is to be forgotten first goes.
    pub fn insert(&mut self, destination: IpAddr, mtu: usize, until: Instant) {
        if self.known.len() >= self.limit && !self.known.contains_key(&destination) {
            let oldest = self.known.iter().min_by_key(|&(_, &(_, until))| until).map(|(&oldest, _)| oldest);
            let Some(oldest) = oldest else { return };
            self.known.remove(&oldest);
        }
        self.known.insert(destination, (mtu, until));
    }

    /// Destinations known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

impl Stack {
    /// Lets a connection that has just been opened begin with what is known of its path.
    pub(super) fn apply_path_mtu(&mut self, now: Instant, index: u32) {
        let connection = &mut self.connections[index].connection;
        let path_mtus = &self.interfaces[connection.link().interface].path_mtus;
        if let Some((mtu, until)) = path_mtus.get(now, connection.tuple().remote.address) {
            // The peer may want even smaller segments than the path does.
            let _ = connection.limit_path(self.config.tcp.at(now), mtu, until);
        }
    }
}
