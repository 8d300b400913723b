//! Where to send what answers no frame: the neighbours' link-layer addresses (ARP, RFC 826; neighbour discovery, RFC 4861 §7). What
//! answers a frame goes back the way that came, and asks nothing of this, unless it draws no answer.
//!
//! Only an answer to our question is believed. Who is known to be somewhere is asked there, alone, and everybody only when he keeps
//! silent: so nobody takes over from a neighbour that is there and answers.

use super::{ConnectionId, Stack, interface::Interface};
use crate::{
    drops::DropReason,
    tcp::CloseReason,
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

/// How soon a neighbour is asked again, and how often: RFC 4861 §10, RETRANS_TIMER and MAX_MULTICAST_SOLICIT.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const QUESTIONS: u32 = 3;
/// How long a neighbour may take to answer alone, where it is known to be, before everybody is asked: a hundred times what it takes
/// on a link, and little beside a retransmission (RFC 1122 §2.3.2.1: a unicast poll).
const ANSWERS_WITHIN: Duration = Duration::from_millis(250);
/// How long an answer is believed without asking again (RFC 4861 §10, REACHABLE_TIME).
const BELIEVED: Duration = Duration::from_secs(30);
/// Connections that wait for one answer though they have a way; others find it at their next timeout.
const MAX_WAITING: usize = 4_096;

/// What is known of one neighbour.
#[derive(Debug, Default)]
struct Neighbour {
    way: Option<LinkHeader>,
    answered: Instant,
    /// Questions asked since the last answer, and when the next one is due.
    asked: u32,
    due: Instant,
    /// The station that was asked alone: nobody else is believed before everybody was.
    alone: Option<MacAddress>,
    /// Connections that wait for the answer.
    waiting: Vec<ConnectionId>,
}

/// The neighbours we have had to do with.
#[derive(Debug)]
pub(super) struct Neighbours {
    known: HashMap<IpAddr, Neighbour>,
    /// Whom to ask again, and when.
    due: BTreeSet<(Instant, IpAddr)>,
    limit: usize,
}

impl Neighbours {
    /// Room for at most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), due: BTreeSet::new(), limit }
    }

    /// Our station has another address from now on.
    pub fn set_mac(&mut self, mac: MacAddress) {
        self.known.values_mut().filter_map(|neighbour| neighbour.way.as_mut()).for_each(|way| way.source = mac);
    }

    /// When they should be looked at next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The way to a neighbour that has answered lately.
    pub fn way(&self, now: Instant, address: IpAddr) -> Option<LinkHeader> {
        let Neighbour { way, answered, .. } = self.known.get(&address)?;
        way.filter(|_| now - *answered < BELIEVED)
    }

    /// Whether this one is known, or there is room to get to know it.
    pub fn admit(&mut self, address: IpAddr) -> bool {
        self.known.contains_key(&address) || self.make_room()
    }

    /// Whether this one is asked because of what anybody on the link may say: that leaves half of the room to those we want something
    /// of.
    fn heeds(&self, address: IpAddr) -> bool {
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
    /// The way to a neighbour on `interface`, where it is known. Where it is not, or has not been confirmed for a while, the neighbour is asked,
    /// and `waiting` hears of the answer. None, and no question, for whom [`Neighbours::admit`] has no room.
    pub(super) fn way_to(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        next_hop: IpAddr,
        waiting: impl Into<Option<ConnectionId>>,
    ) -> Option<LinkHeader> {
        let neighbours = &mut self.interfaces[interface].neighbours;
        let way = neighbours.way(now, next_hop);
        if way.is_none() && neighbours.admit(next_hop) {
            let neighbour = neighbours.known.entry(next_hop).or_default();
            neighbour.waiting.extend(waiting.into());
            if neighbour.asked == 0 {
                self.ask(now, interface, next_hop);
            }
        }
        way
    }

    /// Looks for the way to a peer anew, for a connection whose segments have drawn no answer for a while (MUST-20).
    pub(super) fn look_for_another_way(&mut self, now: Instant, id: ConnectionId, remote: IpAddr) {
        if self.goes_to_the_router(now, id) {
            return;
        }
        let Some((interface, next_hop)) = self.next_hop_of(id, remote) else { return };
        if let Some(neighbour) = self.interfaces[interface].neighbours.known.get_mut(&next_hop) {
            neighbour.way = None;
        }
        self.way_to(now, interface, next_hop, id);
    }

    /// Makes sure of the way to a peer that may have another one now, for a connection that goes on by its own meanwhile. The
    /// neighbour is asked, once a second at most, whoever makes us do so; what it has just said counts.
    pub(super) fn confirm_way(&mut self, now: Instant, id: ConnectionId, remote: IpAddr) {
        if self.goes_to_the_router(now, id) {
            return;
        }
        let Some((interface, next_hop)) = self.next_hop_of(id, remote) else { return };
        match self.confirm(now, interface, next_hop) {
            Some(way) => {
                if let Some(entry) = self.entry_mut(id) {
                    entry.connection.set_link(now, way);
                }
            }
            // Where it had been asked before, the connection's next segment, or its next timeout, is met by the answer.
            None => {
                let neighbour = self.interfaces[interface].neighbours.known.get_mut(&next_hop);
                if let Some(Neighbour { waiting, .. }) = neighbour
                    && waiting.len() < MAX_WAITING
                    && waiting.last() != Some(&id)
                {
                    waiting.push(id);
                }
            }
        }
    }

    /// Whether the way of a connection is no question, because we are behind a director: it leads to the router, wherever that is now.
    fn goes_to_the_router(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(entry) = self.connections.find_mut(id) else { return false };
        let link = *entry.connection.link();
        let Some(destination) = self.interfaces[link.interface].answers_to else { return false };
        entry.connection.set_link(now, LinkHeader { destination, ..link });
        true
    }

    /// The way that a neighbour has named within a second. Otherwise it is asked.
    fn confirm(&mut self, now: Instant, interface: InterfaceId, next_hop: IpAddr) -> Option<LinkHeader> {
        let neighbours = &mut self.interfaces[interface].neighbours;
        if !neighbours.admit(next_hop) {
            return None;
        }
        let neighbour = neighbours.known.entry(next_hop).or_default();
        if neighbour.asked > 0 {
            return None;
        }
        let fresh = neighbour.way.filter(|_| now - neighbour.answered < ASK_AGAIN);
        if fresh.is_none() {
            self.ask(now, interface, next_hop);
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
            Some(station) if station != link.source && neighbours.heeds(address) => {
                self.confirm(now, link.interface, address);
            }
            // Whoever asks for us is on the link, though no subnet of ours may say so, and is known by the station it asks from.
            None if asks_for_us && check_host(address).is_ok() => stations.introduce(address, link.source),
            _ => {}
        }
    }

    fn ask(&mut self, now: Instant, interface: InterfaceId, next_hop: IpAddr) {
        let Interface { mac, neighbours, stations, .. } = &mut self.interfaces[interface];
        let Some(neighbour) = neighbours.known.get_mut(&next_hop) else { return };
        let station = stations.place(next_hop).filter(|_| neighbour.asked == 0);
        // The first question to everybody comes after the one to the station alone, if there was any.
        neighbour.asked = if neighbour.alone.is_some() { 1 } else { neighbour.asked + 1 };
        neighbour.alone = station;
        neighbour.due = now + if station.is_some() { ANSWERS_WITHIN } else { ASK_AGAIN };
        neighbours.due.insert((neighbour.due, next_hop));
        let Some(source) = self.addresses.asker(interface, next_hop) else { return };
        let sent = match (source, next_hop) {
            (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) => {
                let (operation, sender_mac, target_mac) = (Operation::Request, *mac, MacAddress::default());
                let packet = ArpPacket { operation, sender_mac, sender_ip, target_mac, target_ip };
                self.send_arp(interface, &packet, station.unwrap_or(MacAddress::BROADCAST))
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => self.solicit(interface, (source, target), station),
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
    fn solicit(
        &mut self,
        interface: InterfaceId,
        (source, target): (Ipv6Addr, Ipv6Addr),
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

    /// A neighbour has answered along `way`. Who was not asked is not believed.
    pub(super) fn neighbour_answered(
        &mut self,
        now: Instant,
        address: IpAddr,
        way: LinkHeader,
    ) -> Result<(), DropReason> {
        let Interface { neighbours, stations, .. } = &mut self.interfaces[way.interface];
        let neighbour = neighbours.known.get_mut(&address).filter(|neighbour| neighbour.asked > 0);
        let station = way.destination;
        let neighbour = neighbour.filter(|_| !station.is_group()).ok_or(DropReason::UnaskedNeighbour)?;
        if neighbour.alone.is_some_and(|asked| asked != station) {
            return Err(DropReason::UnaskedNeighbour);
        }
        (neighbour.way, neighbour.answered, neighbour.asked, neighbour.alone) = (Some(way), now, 0, None);
        neighbours.due.remove(&(neighbour.due, address));
        if let Some(left) = stations.place(address).filter(|&place| place != station) {
            let (addresses, udp) = (&self.addresses, &mut self.udp);
            udp.follow(left, way, |peer| peer == address || !addresses.is_on_link(way.interface, peer));
        }
        stations.settle(address, station);
        for id in std::mem::take(&mut neighbour.waiting) {
            self.touch_id(now, id, |connection, _| connection.set_link(now, way));
        }
        self.flush_awaiting(address, &way);
        Ok(())
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
                Some(neighbour) if neighbour.alone.is_some() || (1..QUESTIONS).contains(&neighbour.asked) => {
                    self.ask(now, interface, address);
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
            // One that had a way lives on by that.
            if self.entry_mut(id).is_some_and(|entry| !entry.connection.is_resolved()) {
                self.touch_id(now, id, |connection, _| connection.fail(CloseReason::Unreachable));
            }
        }
    }
}
