//! Connections that we open: whereto, from which address and which port.

use super::{ConnectionId, FlowHash, Stack, flow_table::Flow, interface::Interface, route::Route};
use crate::{
    rng::SipKey,
    tcp::{Connection, Cx, Happening, isn},
    time::Instant,
    wire::{Endpoint, FourTuple, InterfaceId, ReceiveScaling, check_host},
};
use std::{hash::Hasher, net::IpAddr};

/// Why a connection cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Multicast, broadcast, loopback or unspecified (MUST-46), or an IPv4 address in disguise.
    #[error("{0} is no host's address; connect to a unicast address")]
    NotUnicast(IpAddr),
    /// An address of this stack.
    #[error("{0} is an address of this very stack, which does not talk to itself; connect to another host")]
    OwnAddress(IpAddr),
    /// Port zero.
    #[error("port 0 means no port; connect to a port from 1 to 65535")]
    PortZero,
    /// The local address is not the stack's alone.
    #[error("{0} is no address that this stack has to itself; choose one that was given to it with its prefix")]
    NotOurs(IpAddr),
    /// A connection is to be opened in the name of whoever has this address, and that is this stack, or the address is of the other IP
    /// version.
    #[error(
        "nobody can be spoken for as {0}: it is an address of this stack's, or of the other IP version than where the connection leads"
    )]
    NotAClient(IpAddr),
    /// Nobody brings what is for a client to this stack: there is no [`Carrier`](crate::splice::Carrier), or it has no room.
    #[error("what is sent to {0} would not come here: raise `splices`, or connect from an address of the stack's")]
    NotCarried(IpAddr),
    /// No subnet of ours contains the destination, and there is no gateway.
    #[error("no way leads to {0}: give the stack an address in its subnet, or a gateway")]
    NoRoute(IpAddr),
    /// A connection of this 4-tuple exists, or waits in TIME-WAIT, or the port has a listener.
    #[error("{0} is in use; leave the choice of a port to the stack")]
    InUse(FourTuple),
    /// All ephemeral ports are in use towards this destination.
    #[error("every ephemeral port is in use towards {0}; connect from another address as well")]
    NoPortLeft(Endpoint),
    /// As many neighbours are being asked for their addresses as are configured.
    #[error(
        "{0} neighbours are being asked for their addresses, which is the limit; wait for them, or raise `max_neighbours`"
    )]
    Neighbours(usize),
    /// As many connections as are configured.
    #[error("{0} connections are open, which is the limit; raise `max_connections`")]
    Limit(u32),
}

/// The choice of ephemeral ports: double hash, algorithm 4 of RFC 6056 §3.3.4. Ports towards one destination follow each other,
/// so that each is used again as late as can be; where they begin, and how they go on towards others, nobody can tell.
#[derive(Debug)]
pub(super) struct EphemeralPorts {
    key: SipKey,
    counters: [u16; COUNTERS],
}

const COUNTERS: usize = 64;

/// Ports that are tried for a connection at most: where so many in a row are in use, nearly all are, and to find the last ones would
/// take a worker longer than the connection is worth. The next one goes on from there.
pub(super) const MOST_TRIED: u32 = 4_096;

impl EphemeralPorts {
    pub fn new(key: SipKey) -> Self {
        Self { key, counters: [0; COUNTERS] }
    }

    /// The next place in a range of `count` ports to try between these two.
    pub fn next(&mut self, local: IpAddr, remote: &Endpoint, count: u32) -> u32 {
        let ends = FourTuple { local: Endpoint { address: local, port: 0 }, remote: *remote };
        // F and G of the algorithm: either half of a keyed hash tells nothing of the other.
        let hash = ends.with_octets(|octets| self.key.hash(|hasher| hasher.write(octets)));
        let (offset, counter) = (hash as u32, (hash >> 32) as usize % COUNTERS);
        let counter = &mut self.counters[counter];
        *counter = counter.wrapping_add(1);
        ((u64::from(offset) + u64::from(*counter)) % u64::from(count)) as u32
    }
}

impl Stack {
    /// Says that this stack is number `ours` of so many `workers` that share a link by the hash of flows: connections it opens
    /// are such that their segments come back to it.
    pub fn set_share(&mut self, ours: usize, workers: usize) {
        self.ownership = FlowOwnership::ByHash { ours, workers };
    }

    /// Says that this stack is behind queue `ours` of a NIC that spreads flows over its queues in this way: connections it opens are such
    /// that their segments come back to that queue.
    pub fn set_receive_scaling(&mut self, ours: u32, scaling: ReceiveScaling) {
        self.ownership = FlowOwnership::ByQueue { ours, scaling };
    }

    /// Opens a connection to `remote`, from `local` or, where that is left open, from the address that faces it (MUST-43, MUST-44).
    ///
    /// [`Event::Connected`](super::Event::Connected) tells when it is open, [`Event::Closed`](super::Event::Closed) when it could not be.
    /// What is written before goes out as soon as it can.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect(
        &mut self,
        now: Instant,
        remote: Endpoint,
        local: Option<IpAddr>,
    ) -> Result<ConnectionId, ConnectError> {
        let route = self.route_out(&remote, local)?;
        let source = route.source;
        let range = self.config.ephemeral_ports.clone();
        let count = u32::from(*range.end()).saturating_sub((*range.start()).into()) + 1;
        for _ in 0..count.min(MOST_TRIED) {
            let place = self.ephemeral_ports.next(source, &remote, count);
            let port = *range.start() + place as u16;
            let tuple = FourTuple { local: Endpoint { address: source, port }, remote };
            let hash = self.secrets.identify(&tuple);
            if self.owns(&tuple, hash) && self.is_free(now, &tuple, hash) {
                return self.open_by(now, tuple, hash, route);
            }
        }
        Err(ConnectError::NoPortLeft(remote))
    }

    /// Opens a connection to `remote` from a port of the caller's choice: for protocols that demand one, and for simultaneous
    /// open, where both ends do this. With several workers, what comes back may be another one's: see [`Stack::connect`].
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect_from(
        &mut self,
        now: Instant,
        remote: Endpoint,
        local: Endpoint,
    ) -> Result<ConnectionId, ConnectError> {
        let route = self.route_out(&remote, Some(local.address))?;
        let tuple = FourTuple { local, remote };
        let hash = self.secrets.identify(&tuple);
        if local.port == 0 {
            return Err(ConnectError::PortZero);
        }
        if !self.is_free(now, &tuple, hash) {
            return Err(ConnectError::InUse(tuple));
        }
        self.open_by(now, tuple, hash, route)
    }

    /// The next hop to `remote`, and the address to come from: `local`, where that is given.
    fn route_out(&self, remote: &Endpoint, local: Option<IpAddr>) -> Result<Route, ConnectError> {
        let Endpoint { address, port } = *remote;
        if check_host(address).is_err() || self.addresses.is_broadcast(address) {
            return Err(ConnectError::NotUnicast(address));
        }
        if self.addresses.contains(address) {
            return Err(ConnectError::OwnAddress(address));
        }
        if port == 0 {
            return Err(ConnectError::PortZero);
        }
        let route = self.route(address, local).ok_or(ConnectError::NoRoute(address))?;
        let source = local.unwrap_or(route.source);
        if !self.addresses.owns(source) || source.is_ipv4() != address.is_ipv4() {
            return Err(ConnectError::NotOurs(source));
        }
        Ok(Route { source, ..route })
    }

    /// Whether the neighbour that takes packets for this destination has answered lately.
    pub fn is_within_reach(&self, now: Instant, remote: IpAddr) -> bool {
        let route = self.route(remote, None);
        route.is_some_and(|route| self.interfaces[route.interface].neighbours.resolved(now, route.next_hop).is_some())
    }

    /// The route to `remote`: where `local` is given, by the interface that has this address.
    pub(super) fn route(&self, remote: IpAddr, local: Option<IpAddr>) -> Option<Route> {
        self.addresses.route(remote, local, self.interfaces.gateways())
    }

    /// Whether what comes back of such a connection comes to this stack.
    pub(super) fn owns(&self, tuple: &FourTuple, hash: FlowHash) -> bool {
        self.ownership.owns(tuple, hash.slot)
    }

    /// Whether a connection may have this 4-tuple: nobody has it, or it waits and may be used again.
    pub(super) fn is_free(&self, now: Instant, tuple: &FourTuple, hash: FlowHash) -> bool {
        !self.listeners.have(tuple.local.port) && self.is_no_flow(now, tuple, hash)
    }

    /// Whether there is no connection of this 4-tuple, or one that waits and may be used again.
    pub(super) fn is_no_flow(&self, now: Instant, tuple: &FourTuple, hash: FlowHash) -> bool {
        let is_free = |flow| match flow {
            Flow::TimeWait(index) => self.time_wait.may_be_succeeded(index, now),
            _ => false,
        };
        self.find(tuple, hash).is_none_or(is_free) && !self.parted.contains(tuple)
    }

    fn open_by(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        hash: FlowHash,
        Route { interface, next_hop, .. }: Route,
    ) -> Result<ConnectionId, ConnectError> {
        let Interface { mtu, neighbours, .. } = &mut self.interfaces[interface];
        let (mtu, link) = (*mtu, neighbours.resolved(now, next_hop));
        // It would wait for an answer to a question that is never asked.
        if link.is_none() && !neighbours.admit(next_hop) {
            return Err(ConnectError::Neighbours(self.config.max_neighbours));
        }
        let id = self.open(now, tuple, hash, (interface, mtu))?;
        let link = link.or_else(|| self.resolve(now, interface, next_hop, id));
        self.touch_id(now, id, |connection, _| match link {
            Some(link) => connection.set_link(now, link),
            None => connection.note(now, Happening::NeighbourUnknown),
        });
        Ok(id)
    }

    /// A connection that does not know yet where to send its SYN, but by which interface, and how large packets may be there.
    pub(super) fn open(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        hash: FlowHash,
        (interface, mtu): (InterfaceId, usize),
    ) -> Result<ConnectionId, ConnectError> {
        let key = self.secrets.numbers();
        let since_epoch = now + self.calendar;
        let (mut iss, timestamp) = isn::initial_numbers(since_epoch, key, &tuple);
        let waiting = match self.find(&tuple, hash) {
            Some(Flow::TimeWait(index)) => Some((index, *self.time_wait.get(index))),
            _ => None,
        };
        if let Some((_, before)) = &waiting {
            iss = before.successor(iss);
        }
        let open = |cx: Cx<'_>| {
            let mut connection = Connection::opening(cx, tuple, iss, timestamp);
            connection.leaves_by(interface, mtu);
            connection
        };
        let id = self.insert(now, tuple, hash.slot, open).ok_or(ConnectError::Limit(self.config.max_connections))?;
        if let Some((index, before)) = waiting {
            self.time_wait.remove(index);
            self.forget_time_wait(index, &before);
        }
        self.flows.insert(hash.slot, Flow::Connection(id.index));
        self.stats.connections_begun += 1;
        Ok(id)
    }
}

/// Which flows are this stack's, where several share the work.
#[derive(Clone, Debug)]
pub(super) enum FlowOwnership {
    /// All of them.
    Whole,
    /// Those whose hash names this one of so many workers.
    ByHash { ours: usize, workers: usize },
    /// Those that the NIC puts on this queue.
    ByQueue { ours: u32, scaling: ReceiveScaling },
}

impl FlowOwnership {
    fn owns(&self, tuple: &FourTuple, hash: u32) -> bool {
        match self {
            Self::Whole => true,
            Self::ByHash { ours, workers } => super::Secrets::worker_of(hash, *workers) == *ours,
            Self::ByQueue { ours, scaling } => scaling.queue_of(tuple) == *ours,
        }
    }
}
