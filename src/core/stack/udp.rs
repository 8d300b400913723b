//! UDP sockets (RFC 768, RFC 1122 §4.1): datagrams in, as many as there is room for, and datagrams out.
//!
//! A datagram is never fragmented. Nothing in UDP tells a path's MTU from a forger's claim, so ICMP does not change what may be
//! sent either: applications stay below 1,200 octets or so (RFC 8085 §3.2).

use super::{Event, Slab, Stack, route::Route};
use crate::{
    drops::DropReason,
    time::Instant,
    wire::{Datagram, Endpoint, InterfaceId, IpHeader, LinkHeader, MacAddress, Protocol, check_host, udp},
};
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

/// Names one UDP socket for as long as it is bound, and never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpId {
    index: u32,
    generation: u32,
}

impl UdpId {
    /// A small number that no other socket has while this one is bound.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Why a UDP socket cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Port zero.
    #[error("port 0 means no port; bind to a port from 1 to 65535")]
    PortZero,
    /// Not an address of this stack.
    #[error("{0} is no address of this stack; bind to one of its own, or to all of them")]
    NotOurs(IpAddr),
    /// Another socket is bound there.
    #[error("UDP port {0} is in use at this address; unbind the other socket first, or choose another port")]
    InUse(u16),
    /// As many sockets as are configured.
    #[error("{0} UDP sockets are bound, which is the limit; raise `max_udp_sockets`")]
    Limit(u32),
}

/// Why a datagram cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The socket is no more.
    #[error("the UDP socket is not bound any more")]
    Unbound,
    /// Port zero.
    #[error("port 0 means no port; send to a port from 1 to 65535")]
    PortZero,
    /// Multicast, broadcast or unspecified, or an address of this stack.
    #[error("{0} is no other host's address; send to a unicast address that is not the stack's own")]
    NotUnicast(IpAddr),
    /// Not an address that the socket may send from.
    #[error("{0} is no address that this socket is bound to")]
    NotOurs(IpAddr),
    /// More than fits a packet.
    #[error("{length} octets do not fit a packet, which takes {most}; send less at a time")]
    TooLong {
        /// Octets of data.
        length: usize,
        /// The most there is room for.
        most: usize,
    },
    /// As many neighbours are being asked for their addresses as are configured.
    #[error(
        "{0} neighbours are being asked for their addresses, which is the limit; send again later, or raise `max_neighbours`"
    )]
    Neighbours(usize),
    /// No subnet of ours contains the destination, and there is no gateway.
    #[error("no way leads to {0}: give the stack an address in its subnet, or a gateway")]
    NoRoute(IpAddr),
    /// Too much waits to be sent.
    #[error("too much waits to be sent; send it again later")]
    QueueFull,
}

/// A datagram that nobody has read yet.
#[derive(Debug)]
struct Waiting {
    local: Endpoint,
    remote: Endpoint,
    data: Vec<u8>,
}

/// An IP packet that waits for the link-layer address of its next hop.
#[derive(Debug)]
struct AwaitingNeighbour {
    interface: InterfaceId,
    next_hop: IpAddr,
    ether_type: u16,
    packet: Vec<u8>,
}

impl AwaitingNeighbour {
    fn waits_for(&self, interface: InterfaceId, neighbour: IpAddr) -> bool {
        self.interface == interface && self.next_hop == neighbour
    }
}

#[derive(Debug)]
struct Socket {
    generation: u32,
    /// `None` for all of the stack's.
    address: Option<IpAddr>,
    port: u16,
    queue: VecDeque<Waiting>,
    /// Bytes in `queue`.
    bytes: usize,
    /// Whether an [`Event::Datagram`] is under way.
    notified: bool,
}

/// All UDP sockets, and what they need besides.
#[derive(Debug)]
pub(super) struct Sockets {
    sockets: Slab<Socket>,
    generation: u32,
    /// The sockets of each port.
    ports: HashMap<u16, Vec<u32>>,
    /// Memory for datagrams to come.
    spare: Vec<Vec<u8>>,
    /// How to answer peers, and in which order they came.
    peers: HashMap<IpAddr, LinkHeader>,
    order: VecDeque<IpAddr>,
    max_peers: usize,
    /// IP packets that wait for the link-layer address of their next hop.
    awaiting: VecDeque<AwaitingNeighbour>,
}

impl Sockets {
    pub fn new(limit: u32, max_peers: usize) -> Self {
        Self {
            sockets: Slab::new(limit),
            generation: 0,
            ports: HashMap::new(),
            spare: Vec::new(),
            peers: HashMap::new(),
            order: VecDeque::new(),
            max_peers,
            awaiting: VecDeque::new(),
        }
    }

    fn get(&self, id: UdpId) -> Option<&Socket> {
        self.sockets.get(id.index).filter(|socket| socket.generation == id.generation)
    }

    fn get_mut(&mut self, id: UdpId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.index).filter(|socket| socket.generation == id.generation)
    }

    /// The port that a socket is bound to.
    pub fn port_of(&self, id: UdpId) -> Option<u16> {
        self.get(id).map(|socket| socket.port)
    }

    /// The socket that is bound to `port` at this address, or at all of them.
    fn bound_at(&self, address: Option<IpAddr>, port: u16) -> Option<UdpId> {
        let mut there = self.ports.get(&port)?.iter().copied();
        let index = there.find(|&index| self.sockets[index].address == address)?;
        Some(UdpId { index, generation: self.sockets[index].generation })
    }

    /// Those that are bound to this address and no other.
    pub fn at(&self, address: IpAddr) -> Vec<UdpId> {
        let bound = |index| self.sockets.get(index).filter(|socket| socket.address == Some(address));
        let id = |index| bound(index).map(|&Socket { generation, .. }| UdpId { index, generation });
        self.sockets.indices().filter_map(id).collect()
    }

    /// The socket a datagram for `local` is for: one bound to this very address before one bound to all of them.
    fn find(&self, local: &Endpoint) -> Option<u32> {
        let sockets = self.ports.get(&local.port)?;
        let bound_to =
            |wanted: Option<IpAddr>| sockets.iter().copied().find(|&index| self.sockets[index].address == wanted);
        bound_to(Some(local.address)).or_else(|| bound_to(None))
    }

    /// Peers that were answered at the station `left`, and that `moves` says have moved, are answered with `to` from now on. Bounded by
    /// the number of peers.
    pub fn follow(&mut self, left: MacAddress, to: LinkHeader, moves: impl Fn(IpAddr) -> bool) {
        let is_there = |link: &LinkHeader| link.destination == left && link.interface == to.interface;
        let there = self.peers.iter_mut().filter(|(peer, link)| is_there(link) && moves(**peer));
        there.for_each(|(_, link)| *link = to);
    }

    /// Our station has another address on `interface` from now on.
    pub fn set_mac(&mut self, interface: InterfaceId, mac: MacAddress) {
        let there = self.peers.values_mut().filter(|link| link.interface == interface);
        there.for_each(|link| link.source = mac);
    }

    /// The application has heard of what waits.
    pub fn notified(&mut self, id: UdpId) {
        if let Some(socket) = self.get_mut(id) {
            socket.notified = false;
        }
    }

    fn remember(&mut self, peer: IpAddr, link: LinkHeader) {
        if let Some(known) = self.peers.get_mut(&peer) {
            *known = link;
            return;
        }
        if self.order.len() >= self.max_peers {
            let Some(first) = self.order.pop_front() else { return };
            self.peers.remove(&first);
        }
        self.order.push_back(peer);
        self.peers.insert(peer, link);
    }

    fn recycle(&mut self, data: Vec<u8>, limit: usize) {
        if self.spare.len() < limit {
            self.spare.push(data);
        }
    }
}

impl Stack {
    /// Takes datagrams for `port`, at one address or at all of the stack's.
    ///
    /// # Errors
    /// [`BindError`] says what to do.
    pub fn bind_udp(&mut self, address: Option<IpAddr>, port: u16) -> Result<UdpId, BindError> {
        if port == 0 {
            return Err(BindError::PortZero);
        }
        if let Some(address) = address.filter(|&address| !self.addresses.contains(address)) {
            return Err(BindError::NotOurs(address));
        }
        let Sockets { sockets, generation, ports, .. } = &mut self.udp;
        let there = ports.entry(port).or_default();
        if there.iter().any(|&index| sockets[index].address == address) {
            return Err(BindError::InUse(port));
        }
        *generation = generation.wrapping_add(1);
        let socket =
            Socket { generation: *generation, address, port, queue: VecDeque::new(), bytes: 0, notified: false };
        let index = sockets.insert(socket).map_err(|_| BindError::Limit(self.config.max_udp_sockets))?;
        there.push(index);
        Ok(UdpId { index, generation: *generation })
    }

    /// The socket that is bound to `port` at this address, or, where that is `None`, at all of them.
    pub fn udp_socket_at(&self, address: Option<IpAddr>, port: u16) -> Option<UdpId> {
        self.udp.bound_at(address, port)
    }

    /// Where a socket is bound: its address, `None` for all of the stack's, and its port.
    pub fn udp_place(&self, id: UdpId) -> Option<(Option<IpAddr>, u16)> {
        self.udp.get(id).map(|socket| (socket.address, socket.port))
    }

    /// Takes no more datagrams at a socket; those that wait are lost.
    pub fn unbind_udp(&mut self, id: UdpId) {
        let Some(port) = self.udp.get(id).map(|socket| socket.port) else { return };
        self.udp.sockets.remove(id.index);
        if let Some(there) = self.udp.ports.get_mut(&port) {
            there.retain(|&index| index != id.index);
        }
    }

    pub(super) fn handle_datagram(
        &mut self,
        link: &LinkHeader,
        ip: &IpHeader,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        self.check_ends(link, ip)?;
        let local = Endpoint { address: ip.destination, port: datagram.destination_port };
        let remote = Endpoint { address: ip.source, port: datagram.source_port };
        let index = self.udp.find(&local).ok_or(DropReason::UnservedPort)?;
        let socket = &mut self.udp.sockets[index];
        let bytes = socket.bytes + datagram.payload.len();
        if socket.queue.len() >= self.config.max_datagrams || bytes > self.config.max_datagram_bytes {
            return Err(DropReason::DatagramQueueFull);
        }
        let mut data = self.udp.spare.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(datagram.payload);
        socket.queue.push_back(Waiting { local, remote, data });
        socket.bytes = bytes;
        if !std::mem::replace(&mut socket.notified, true) {
            self.events.push_back(Event::Datagram(UdpId { index, generation: socket.generation }));
        }
        self.udp.remember(remote.address, link.answered_by(self.interfaces[link.interface].mac));
        self.stats.datagrams_received += 1;
        Ok(())
    }

    /// Reads the oldest datagram that waits into `data`, whose memory is used again for datagrams to come. Returns its ends: ours,
    /// to answer from, and the sender's, whose port is zero where it wants no answer.
    pub fn receive_udp(&mut self, id: UdpId, data: &mut Vec<u8>) -> Option<(Endpoint, Endpoint)> {
        let limit = self.config.max_datagrams;
        let socket = self.udp.get_mut(id)?;
        let Waiting { local, remote, data: read } = socket.queue.pop_front()?;
        socket.bytes -= read.len();
        let spare = std::mem::replace(data, read);
        self.udp.recycle(spare, limit);
        Some((local, remote))
    }

    /// Sends a datagram to `remote`: from `local`, or where that is left open, from the address the socket is bound to or that
    /// faces the destination. It leaves with the next frames, or when its next hop has told its address.
    ///
    /// # Errors
    /// [`SendError`] says what to do.
    pub fn send_udp(
        &mut self,
        now: Instant,
        id: UdpId,
        local: Option<IpAddr>,
        remote: Endpoint,
        data: &[u8],
    ) -> Result<(), SendError> {
        let Endpoint { address, port } = remote;
        let socket = self.udp.get(id).ok_or(SendError::Unbound)?;
        let (bound, source_port) = (socket.address, socket.port);
        let is_nobodys = check_host(address).is_err() || self.addresses.is_broadcast(address);
        if is_nobodys || self.addresses.contains(address) {
            return Err(SendError::NotUnicast(address));
        }
        if port == 0 {
            return Err(SendError::PortZero);
        }
        let route = self.route(address, local.or(bound));
        let source = local.or(bound).or(route.map(|route| route.source)).ok_or(SendError::NoRoute(address))?;
        let is_bound = bound.is_none_or(|bound| bound == source) && self.addresses.contains(source);
        if !is_bound || source.is_ipv4() != address.is_ipv4() {
            return Err(SendError::NotOurs(source));
        }
        let mut ip = IpHeader::new(source, address, Protocol::Udp);
        ip.hop_limit = self.config.tcp.hop_limit;
        let known = self.udp.peers.get(&address).copied();
        let interface = known.map(|link| link.interface).or(route.map(|route| route.interface));
        let mtu = self.interfaces[interface.ok_or(SendError::NoRoute(address))?].mtu;
        let most = mtu.min(usize::from(u16::MAX)).saturating_sub(ip.len() + udp::HEADER_LEN);
        if data.len() > most {
            return Err(SendError::TooLong { length: data.len(), most });
        }
        let ports = (source_port, port);
        let sent = match self.next_hop_for(now, address, known, route)? {
            NextHop::Resolved(link) => {
                let replies = &mut self.interfaces[link.interface].replies;
                replies.push(udp::frame_len(&link, &ip, data.len()), |buffer| {
                    udp::write(&link, &ip, ports, data, buffer);
                })
            }
            NextHop::Awaited(route) => self.queue_until_resolved(route, &ip, ports, data),
        };
        sent.map_err(|_| SendError::QueueFull)?;
        self.stats.datagrams_transmitted += 1;
        Ok(())
    }

    /// The next hop of a datagram to `remote`: where its last one came from, if that is `known`, or else what routes and the neighbour
    /// cache say.
    fn next_hop_for(
        &mut self,
        now: Instant,
        remote: IpAddr,
        known: Option<LinkHeader>,
        route: Option<Route>,
    ) -> Result<NextHop, SendError> {
        if let Some(link) = known {
            return Ok(NextHop::Resolved(link));
        }
        let route = route.ok_or(SendError::NoRoute(remote))?;
        let Route { interface, next_hop, .. } = route;
        if !self.interfaces[interface].neighbours.admit(next_hop) {
            return Err(SendError::Neighbours(self.config.max_neighbours));
        }
        Ok(match self.resolve(now, interface, next_hop, None) {
            Some(link) => NextHop::Resolved(link),
            None => NextHop::Awaited(route),
        })
    }

    /// Keeps a datagram until its next hop has told its address (RFC 1122 §2.3.2.2).
    fn queue_until_resolved(
        &mut self,
        Route { interface, next_hop, .. }: Route,
        ip: &IpHeader,
        ports: (u16, u16),
        data: &[u8],
    ) -> Result<(), DropReason> {
        if self.udp.awaiting.len() >= self.config.max_waiting_datagrams {
            return Err(DropReason::ReplyQueueFull);
        }
        let nowhere = LinkHeader::default();
        let mut packet = vec![0; udp::frame_len(&nowhere, ip, data.len())];
        udp::write(&nowhere, ip, ports, data, &mut packet);
        packet.drain(..nowhere.len());
        self.udp.awaiting.push_back(AwaitingNeighbour { interface, next_hop, ether_type: ip.ether_type(), packet });
        Ok(())
    }

    /// A neighbour's address is known: what waited for it goes out.
    pub(super) fn flush_awaiting(&mut self, neighbour: IpAddr, link: &LinkHeader) {
        let Self { udp, interfaces, drops, .. } = self;
        let replies = &mut interfaces[link.interface].replies;
        udp.awaiting.retain(|waiting| {
            if !waiting.waits_for(link.interface, neighbour) {
                return true;
            }
            let AwaitingNeighbour { ether_type, packet, .. } = waiting;
            let pushed = replies.push(link.len() + packet.len(), |buffer| {
                link.write(*ether_type, buffer).copy_from_slice(packet);
            });
            if let Err(reason) = pushed {
                drops.count(reason);
            }
            false
        });
    }

    /// A neighbour does not answer: what waited for it is lost.
    pub(super) fn drop_awaiting(&mut self, interface: InterfaceId, neighbour: IpAddr) {
        let Self { udp, drops, .. } = self;
        udp.awaiting.retain(|waiting| {
            let waits = waiting.waits_for(interface, neighbour);
            if waits {
                drops.count(DropReason::SilentNeighbour);
            }
            !waits
        });
    }
}

/// What is known of the next hop to a destination.
enum NextHop {
    /// Its link-layer address, in the header of a frame to it.
    Resolved(LinkHeader),
    /// It has been asked for its address.
    Awaited(Route),
}
