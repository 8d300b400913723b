//! The neighbour cache: link-layer addresses of next hops, and how they are asked for (ARP, RFC 826; neighbour discovery, RFC 4861
//! §7). What answers a frame goes back to the link address that it came from, and needs none of this unless it draws no answer itself.
//!
//! Only the answer to a request of ours is believed. A neighbour whose station is known is asked there first, by unicast, and by
//! broadcast or multicast only when it keeps silent: so nobody takes over the address of a neighbour that is there and answers.

use super::{ConnectionId, Stack, interface::Interface};
use crate::{
    drops::DropReason,
    tcp::{Cause, CloseReason},
    time::Instant,
    wire::{
        ArpPacket, InterfaceId, IpHeader, LinkHeader, MacAddress, Protocol,
        arp::{self, Operation},
        check_host,
        ethernet::{self, VlanTags},
        icmp,
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// How soon a neighbour is asked again, and how often (RFC 4861 §10).
const RETRANS_TIMER: Duration = Duration::from_secs(1);
const MAX_MULTICAST_SOLICIT: u32 = 3;
/// How long a neighbour may take to answer a unicast request before everybody is asked: a hundred times what it takes on a link, and
/// little beside a retransmission (RFC 1122 §2.3.2.1: a unicast poll).
const UNICAST_TIMEOUT: Duration = Duration::from_millis(250);
/// How long an answer is believed without asking again (RFC 4861 §10).
const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// Connections with a next hop that wait for one answer all the same; others find it at their next timeout.
const MAX_WAITING: usize = 4_096;

/// What is known of one neighbour.
#[derive(Debug, Default)]
struct Known {
    /// The header of frames to it, once it has answered.
    link: Option<LinkHeader>,
    answered: Instant,
    /// Questions asked since the last answer, and when the next one is due.
    asked: u32,
    due: Instant,
    /// The station that was asked by unicast: no other one is believed before everybody was asked.
    alone: Option<MacAddress>,
    /// Connections that wait for the answer.
    waiting: Vec<ConnectionId>,
}

crate::drops::named! {
    /// How sure a stack is of where a neighbour is.
    NeighbourState {
        /// It has answered within half a minute.
        Reachable => "reachable",
        /// It has answered before, and is asked again before anything new is sent by that.
        Stale => "stale",
        /// It is being asked, and has not answered yet.
        Asked => "asked",
        /// It has asked for us: that names its station, and nothing is sent there unless it is a reply.
        Heard => "heard",
    }
}

/// A neighbour, for whoever wants to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// The interface that it is on.
    pub interface: InterfaceId,
    /// Its link address, where that is known.
    pub station: Option<MacAddress>,
    /// How sure that is.
    pub state: NeighbourState,
    /// When it answered last, where it was asked.
    pub answered: Option<Instant>,
    /// Connections that wait for its answer.
    pub waiting: usize,
}

/// The neighbours we have had to do with.
#[derive(Debug)]
pub(super) struct Neighbours {
    known: HashMap<IpAddr, Known>,
    /// Whom to ask again, and when.
    due: BTreeSet<(Instant, IpAddr)>,
    limit: usize,
}

impl Known {
    fn describe(&self, now: Instant, address: IpAddr, interface: InterfaceId) -> Neighbour {
        let &Self { link, answered, asked, ref waiting, .. } = self;
        let state = match link {
            _ if asked > 0 => NeighbourState::Asked,
            Some(_) if now - answered < REACHABLE_TIME => NeighbourState::Reachable,
            _ => NeighbourState::Stale,
        };
        let (station, answered) = (link.map(|link| link.destination), link.map(|_| answered));
        Neighbour { address, interface, station, state, answered, waiting: waiting.len() }
    }
}

impl Neighbours {
    /// Room for at most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), due: BTreeSet::new(), limit }
    }

    /// Our station has another address from now on.
    pub fn set_mac(&mut self, mac: MacAddress) {
        self.known.values_mut().filter_map(|neighbour| neighbour.link.as_mut()).for_each(|link| link.source = mac);
    }

    /// When they should be looked at next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The header of frames to a neighbour that has answered lately.
    pub fn resolved(&self, now: Instant, address: IpAddr) -> Option<LinkHeader> {
        let Known { link, answered, .. } = self.known.get(&address)?;
        link.filter(|_| now - *answered < REACHABLE_TIME)
    }

    /// Whether this one is known, or there is room to get to know it.
    pub fn admit(&mut self, address: IpAddr) -> bool {
        self.known.contains_key(&address) || self.make_room()
    }

    /// Whether there is room for a neighbour that is asked only because of what anybody on the link may claim: half of the cache is
    /// left to those we want something of.
    fn has_room_for_claim(&self, address: IpAddr) -> bool {
        self.known.contains_key(&address) || self.known.len() < self.limit / 2
    }

    /// Makes room for one more: forgets whoever answered longest ago and is not being asked. Whether there is room.
    fn make_room(&mut self) -> bool {
        if self.known.len() >= self.limit {
            let idle = self.known.iter().filter(|(_, neighbour)| neighbour.asked == 0);
            let Some(oldest) = idle.min_by_key(|(_, neighbour)| neighbour.answered).map(|(address, _)| *address) else {
                return false;
            };
            self.known.remove(&oldest);
        }
        true
    }
}

impl Stack {
    /// The header of frames to a neighbour on `interface`, where its address is known. Where it is not, or has not been confirmed for a
    /// while, the neighbour is asked, and `waiting` hears of the answer. None, and no request, for whom [`Neighbours::admit`] has no
    /// room.
    pub(super) fn resolve(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        next_hop: IpAddr,
        waiting: impl Into<Option<ConnectionId>>,
    ) -> Option<LinkHeader> {
        let neighbours = &mut self.interfaces[interface].neighbours;
        let link = neighbours.resolved(now, next_hop);
        if link.is_none() && neighbours.admit(next_hop) {
            let neighbour = neighbours.known.entry(next_hop).or_default();
            neighbour.waiting.extend(waiting.into());
            if neighbour.asked == 0 {
                self.solicit(now, interface, next_hop);
            }
        }
        link
    }

    /// Forgets the next hop's address and asks for it anew, for a connection whose segments have drawn no answer for a while
    /// (MUST-20).
    pub(super) fn reprobe_neighbour(&mut self, now: Instant, id: ConnectionId, remote: IpAddr) {
        if self.goes_to_router(now, id) {
            return;
        }
        let Some((interface, next_hop)) = self.next_hop_of(id, remote) else { return };
        if let Some(neighbour) = self.interfaces[interface].neighbours.known.get_mut(&next_hop) {
            neighbour.link = None;
        }
        self.resolve(now, interface, next_hop, id);
    }

    /// Makes sure of the next hop's address, which may have changed, for a connection that uses the one it has meanwhile. The
    /// neighbour is asked, once a second at most, whoever makes us do so; what it has just said counts.
    pub(super) fn confirm_neighbour(&mut self, now: Instant, id: ConnectionId, remote: IpAddr) {
        if self.goes_to_router(now, id) {
            return;
        }
        let Some((interface, next_hop)) = self.next_hop_of(id, remote) else { return };
        match self.confirm(now, interface, next_hop) {
            Some(link) => {
                if let Some(entry) = self.entry_mut(id) {
                    entry.connection.set_link(now, link);
                }
            }
            // Where it had been asked before, the connection's next segment, or its next timeout, is met by the answer.
            None => {
                let neighbour = self.interfaces[interface].neighbours.known.get_mut(&next_hop);
                if let Some(Known { waiting, .. }) = neighbour
                    && waiting.len() < MAX_WAITING
                    && waiting.last() != Some(&id)
                {
                    waiting.push(id);
                }
            }
        }
    }

    /// Whether a connection's next hop is no question: because it was given one to keep, or because we are behind a director, so that it
    /// is the router, whose address it gets.
    fn goes_to_router(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(entry) = self.entry_mut(id) else { return false };
        let link = *entry.connection.link();
        if entry.via.is_some() {
            return true;
        }
        let Some(destination) = self.interfaces[link.interface].answers_to else { return false };
        self.connections[id.index].connection.set_link(now, LinkHeader { destination, ..link });
        true
    }

    /// The address that a neighbour has named within a second. Otherwise it is asked.
    fn confirm(&mut self, now: Instant, interface: InterfaceId, next_hop: IpAddr) -> Option<LinkHeader> {
        let neighbours = &mut self.interfaces[interface].neighbours;
        if !neighbours.admit(next_hop) {
            return None;
        }
        let neighbour = neighbours.known.entry(next_hop).or_default();
        if neighbour.asked > 0 {
            return None;
        }
        let fresh = neighbour.link.filter(|_| now - neighbour.answered < RETRANS_TIMER);
        if fresh.is_none() {
            self.solicit(now, interface, next_hop);
        }
        fresh
    }

    /// The neighbour that takes the segments of a connection: its peer, who its frames go to now, or the gateway; and the interface
    /// that they leave by.
    fn next_hop_of(&mut self, id: ConnectionId, remote: IpAddr) -> Option<(InterfaceId, IpAddr)> {
        let LinkHeader { interface, destination, .. } = *self.entry_mut(id)?.connection.link();
        if self.addresses.is_on_link(interface, remote) {
            return Some((interface, remote));
        }
        let Interface { stations, gateways, .. } = &self.interfaces[interface];
        let router = stations.name(destination, remote.is_ipv4());
        let next_hop = router.or_else(|| self.addresses.next_hop(interface, remote, gateways))?;
        Some((interface, next_hop))
    }

    /// Somebody who wants something of us, or announces himself, says where he is. Where that is news of a neighbour of ours, it is
    /// asked: the word alone moves nothing.
    pub(super) fn hear_claim(&mut self, now: Instant, link: &LinkHeader, address: IpAddr, asks_for_us: bool) {
        let Interface { stations, neighbours, .. } = &mut self.interfaces[link.interface];
        match stations.place(address) {
            Some(station) if station != link.source && neighbours.has_room_for_claim(address) => {
                self.confirm(now, link.interface, address);
            }
            // Whoever asks for us is on the link, though no subnet of ours may say so, and is known by the station it asks from.
            None if asks_for_us && check_host(address).is_ok() => stations.introduce(address, link.source),
            _ => {}
        }
    }

    fn solicit(&mut self, now: Instant, interface: InterfaceId, next_hop: IpAddr) {
        let Interface { mac, neighbours, stations, .. } = &mut self.interfaces[interface];
        let Some(neighbour) = neighbours.known.get_mut(&next_hop) else { return };
        let station = stations.place(next_hop).filter(|_| neighbour.asked == 0);
        // The first question to everybody comes after the one to the station alone, if there was any.
        neighbour.asked = if neighbour.alone.is_some() { 1 } else { neighbour.asked + 1 };
        neighbour.alone = station;
        neighbour.due = now + if station.is_some() { UNICAST_TIMEOUT } else { RETRANS_TIMER };
        neighbours.due.insert((neighbour.due, next_hop));
        let Some(source) = self.addresses.asker(interface, next_hop) else { return };
        let sent = match (source, next_hop) {
            (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) => {
                let (operation, sender_mac, target_mac) = (Operation::Request, *mac, MacAddress::default());
                let packet = ArpPacket { operation, sender_mac, sender_ip, target_mac, target_ip };
                self.send_arp(interface, &packet, station.unwrap_or(MacAddress::BROADCAST))
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => self.send_solicitation(interface, source, target, station),
            _ => return,
        };
        match sent {
            Ok(()) => self.stats.neighbour_questions += 1,
            Err(reason) => self.drops.count(reason),
        }
    }

    /// The header of a frame that answers none.
    pub(super) fn header_to(&self, interface: InterfaceId, destination: MacAddress) -> LinkHeader {
        let &Interface { mac, vlan, .. } = &self.interfaces[interface];
        LinkHeader { source: mac, destination, vlan: VlanTags::of(vlan), interface }
    }

    pub(super) fn send_arp(
        &mut self,
        interface: InterfaceId,
        packet: &ArpPacket,
        destination: MacAddress,
    ) -> Result<(), DropReason> {
        let link = self.header_to(interface, destination);
        self.interfaces[interface].replies.push(link.len() + arp::PACKET_LEN, |buffer| {
            packet.write(link.write(ethernet::ETHER_TYPE_ARP, buffer));
        })
    }

    /// Asks a neighbour at its station, or everybody who may have its address (RFC 4861 §7.2.2, §7.3.3).
    fn send_solicitation(
        &mut self,
        interface: InterfaceId,
        source: Ipv6Addr,
        target: Ipv6Addr,
        at: Option<MacAddress>,
    ) -> Result<(), DropReason> {
        let (group, group_mac) = icmp::solicited_node(target);
        let link = self.header_to(interface, at.unwrap_or(group_mac));
        let destination = if at.is_some() { target } else { group };
        let mut ip = IpHeader::new(source.into(), destination.into(), Protocol::Icmpv6);
        ip.hop_limit = icmp::NEIGHBOUR_HOP_LIMIT;
        self.interfaces[interface].replies.push(link.len() + ip.len() + icmp::SOLICITATION_LEN, |buffer| {
            let message = ip.write(icmp::SOLICITATION_LEN, link.write(ip.ether_type(), buffer));
            icmp::write_solicitation(&ip, target, link.source, message);
        })
    }

    /// A neighbour has answered: frames to it have this header. One that was not asked is not believed.
    pub(super) fn neighbour_answered(
        &mut self,
        now: Instant,
        address: IpAddr,
        link: LinkHeader,
    ) -> Result<(), DropReason> {
        let Interface { neighbours, stations, .. } = &mut self.interfaces[link.interface];
        let neighbour = neighbours.known.get_mut(&address).filter(|neighbour| neighbour.asked > 0);
        let station = link.destination;
        let neighbour = neighbour.filter(|_| !station.is_group()).ok_or(DropReason::UnaskedNeighbour)?;
        if neighbour.alone.is_some_and(|asked| asked != station) {
            return Err(DropReason::UnaskedNeighbour);
        }
        (neighbour.link, neighbour.answered, neighbour.asked, neighbour.alone) = (Some(link), now, 0, None);
        neighbours.due.remove(&(neighbour.due, address));
        if let Some(left) = stations.place(address).filter(|&place| place != station) {
            let (addresses, udp) = (&self.addresses, &mut self.udp);
            udp.follow(left, link, |peer| peer == address || !addresses.is_on_link(link.interface, peer));
        }
        stations.record(address, station);
        for id in std::mem::take(&mut neighbour.waiting) {
            self.touch_id(now, id, |connection, _| connection.set_link(now, link));
        }
        self.flush_awaiting(address, &link);
        Ok(())
    }

    /// The neighbours on an interface that come behind `after` in the order of their addresses, `limit` of them at most: those that were
    /// asked, and those that have asked. Looks at all of them, [`StackConfig::max_neighbours`] of either kind.
    ///
    /// [`StackConfig::max_neighbours`]: crate::config::StackConfig::max_neighbours
    pub fn neighbours_from(
        &self,
        now: Instant,
        interface: InterfaceId,
        after: Option<IpAddr>,
        limit: usize,
    ) -> Vec<Neighbour> {
        let Some(Interface { neighbours, stations, .. }) = self.interfaces.get(interface) else { return Vec::new() };
        let is_behind = |address: &IpAddr| after.is_none_or(|after| *address > after);
        let asked = neighbours.known.keys().copied();
        let mut addresses: BTreeSet<IpAddr> = asked.chain(stations.addresses()).filter(is_behind).collect();
        if let Some(&end) = addresses.iter().nth(limit) {
            addresses.split_off(&end);
        }
        let describe = |address: IpAddr| match neighbours.known.get(&address) {
            Some(known) => known.describe(now, address, interface),
            None => Neighbour {
                address,
                interface,
                station: stations.place(address),
                state: NeighbourState::Heard,
                answered: None,
                waiting: 0,
            },
        };
        addresses.into_iter().map(describe).collect()
    }

    /// When [`Stack::expire_neighbours`] should be called next.
    pub(super) fn neighbours_deadline(&self) -> Option<Instant> {
        self.interfaces.iter().filter_map(|interface| interface.neighbours.next_deadline()).min()
    }

    /// Asks again, or gives up whoever waits for a neighbour that is not there.
    pub(super) fn expire_neighbours(&mut self, now: Instant) {
        for interface in self.interfaces.ids() {
            self.expire_neighbours_on(now, interface);
        }
    }

    fn expire_neighbours_on(&mut self, now: Instant, interface: InterfaceId) {
        loop {
            let neighbours = &mut self.interfaces[interface].neighbours;
            let Some(&(due, address)) = neighbours.due.first().filter(|(due, _)| *due <= now) else { return };
            neighbours.due.pop_first();
            // What was answered, and asked anew since, is due another time.
            match neighbours.known.get(&address).filter(|neighbour| neighbour.due == due) {
                Some(neighbour)
                    if neighbour.alone.is_some() || (1..MAX_MULTICAST_SOLICIT).contains(&neighbour.asked) =>
                {
                    self.solicit(now, interface, address);
                }
                Some(neighbour) if neighbour.asked > 0 => self.give_up_neighbour(now, interface, address),
                _ => {}
            }
        }
    }

    fn give_up_neighbour(&mut self, now: Instant, interface: InterfaceId, address: IpAddr) {
        self.drop_awaiting(interface, address);
        let Interface { neighbours, stations, .. } = &mut self.interfaces[interface];
        stations.forget(address);
        let Some(neighbour) = neighbours.known.remove(&address) else { return };
        for id in neighbour.waiting {
            // One that had an address lives on by that.
            if self.entry_mut(id).is_some_and(|entry| !entry.connection.is_resolved()) {
                self.touch_id(now, id, |connection, _| {
                    connection.fail(CloseReason::Unreachable, Cause::NeighbourSilent)
                });
            }
        }
    }
}
