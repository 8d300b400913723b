//! Where to send what answers no frame: routes, and the neighbours' link-layer addresses (ARP, RFC 826; neighbour discovery,
//! RFC 4861 §7). What answers a frame goes back the way that came, and asks nothing of this.

use super::{ConnectionId, Ownership, Stack, address::Addresses};
use crate::{
    drops::DropReason,
    tcp::CloseReason,
    time::Instant,
    wire::{
        ArpPacket, IpHeader, LinkHeader, MacAddress, Protocol,
        arp::{self, Operation},
        ethernet::{self, VlanTags},
        icmp,
    },
};
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// How soon a neighbour is asked again, and how often: RFC 4861 §10, RETRANS_TIMER and MAX_MULTICAST_SOLICIT.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const QUESTIONS: u32 = 3;
/// How long an answer is believed without asking again (RFC 4861 §10, REACHABLE_TIME).
const BELIEVED: Duration = Duration::from_secs(30);
/// What RFC 4861 §7.1 demands of every neighbour discovery message: it has crossed no router.
pub(super) const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// The way to a destination: the neighbour that takes packets for it, and our address on that subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub next_hop: IpAddr,
    pub source: IpAddr,
}

impl Addresses {
    /// The way to `remote` (MUST-44): straight where a subnet of ours contains it, the longest prefix first, and otherwise over
    /// the gateway of its family. Only addresses that are ours alone can be the source.
    pub(super) fn route(&self, remote: IpAddr, gateways: &[IpAddr]) -> Option<Route> {
        let on_link = |neighbour: IpAddr| {
            let own = self.iter().filter(|local| local.ownership == Ownership::Own);
            let nearest = own.filter(|local| local.cidr.contains(neighbour)).max_by_key(|local| local.cidr.prefix)?;
            Some(Route { next_hop: neighbour, source: nearest.cidr.address })
        };
        let mut gateways = gateways.iter().filter(|gateway| gateway.is_ipv4() == remote.is_ipv4());
        on_link(remote).or_else(|| gateways.find_map(|&gateway| on_link(gateway)))
    }
}

/// What is known of one neighbour.
#[derive(Debug, Default)]
struct Neighbour {
    way: Option<LinkHeader>,
    answered: Instant,
    /// Questions asked since the last answer, and when the next one is due.
    asked: u32,
    due: Instant,
    /// Connections that wait for the answer.
    waiting: Vec<ConnectionId>,
}

/// The neighbours we have had to do with.
#[derive(Debug)]
pub(super) struct Neighbours {
    known: HashMap<IpAddr, Neighbour>,
    /// Whom to ask again, and when: in order, because the wait is always the same.
    due: VecDeque<(Instant, IpAddr)>,
    limit: usize,
}

impl Neighbours {
    /// Room for at most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), due: VecDeque::new(), limit }
    }

    /// When [`Stack::expire_neighbours`] should be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
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
    /// The way to a neighbour, where it is known. Where it is not, or has not been confirmed for a while, the neighbour is asked,
    /// and `waiting` hears of the answer. None, and no question, for whom [`Neighbours::admit`] has no room.
    pub(super) fn way_to(
        &mut self,
        now: Instant,
        next_hop: IpAddr,
        waiting: impl Into<Option<ConnectionId>>,
    ) -> Option<LinkHeader> {
        let way = self.neighbours.way(now, next_hop);
        if way.is_none() && self.neighbours.admit(next_hop) {
            let neighbour = self.neighbours.known.entry(next_hop).or_default();
            neighbour.waiting.extend(waiting.into());
            if neighbour.asked == 0 {
                self.ask(now, next_hop);
            }
        }
        way
    }

    /// Looks for the way to a peer anew, for a connection whose segments have drawn no answer for a while (MUST-20).
    pub(super) fn look_for_another_way(&mut self, now: Instant, id: ConnectionId, remote: IpAddr) {
        let Some(route) = self.addresses.route(remote, &self.config.gateways) else { return };
        if let Some(neighbour) = self.neighbours.known.get_mut(&route.next_hop) {
            neighbour.way = None;
        }
        self.way_to(now, route.next_hop, id);
    }

    /// Makes sure of the way to a peer that may have another one now, for a connection that goes on by its own meanwhile. The
    /// neighbour is asked, once a second at most, whoever makes us do so; what it has just said counts.
    pub(super) fn confirm_way(&mut self, now: Instant, id: ConnectionId, remote: IpAddr) {
        let Some(Route { next_hop, .. }) = self.addresses.route(remote, &self.config.gateways) else { return };
        if !self.neighbours.admit(next_hop) {
            return;
        }
        let neighbour = self.neighbours.known.entry(next_hop).or_default();
        if neighbour.asked > 0 {
            return; // another segment of the peer's will be met by the answer
        }
        match neighbour.way.filter(|_| now - neighbour.answered < ASK_AGAIN) {
            Some(way) => {
                if let Some(entry) = self.entry_mut(id) {
                    entry.connection.set_way(way);
                }
            }
            None => {
                neighbour.waiting.push(id);
                self.ask(now, next_hop);
            }
        }
    }

    fn ask(&mut self, now: Instant, next_hop: IpAddr) {
        let Some(neighbour) = self.neighbours.known.get_mut(&next_hop) else { return };
        neighbour.asked += 1;
        neighbour.due = now + ASK_AGAIN;
        self.neighbours.due.push_back((neighbour.due, next_hop));
        let Some(Route { source, .. }) = self.addresses.route(next_hop, &[]) else { return };
        let sent = match (source, next_hop) {
            (IpAddr::V4(source), IpAddr::V4(target)) => self.ask_by_arp(&ArpPacket {
                operation: Operation::Request,
                sender_mac: self.mac,
                sender_ip: source,
                target_mac: MacAddress::default(),
                target_ip: target,
            }),
            (IpAddr::V6(source), IpAddr::V6(target)) => self.solicit(source, target),
            _ => return,
        };
        match sent {
            Ok(()) => self.stats.neighbour_questions += 1,
            Err(reason) => self.drops.count(reason),
        }
    }

    /// The header of a frame that answers none.
    fn header_to(&self, destination: MacAddress) -> LinkHeader {
        LinkHeader { source: self.mac, destination, vlan: VlanTags::of(self.config.vlan) }
    }

    fn ask_by_arp(&mut self, packet: &ArpPacket) -> Result<(), DropReason> {
        let link = self.header_to(MacAddress::BROADCAST);
        self.replies.push(link.len() + arp::PACKET_LEN, |buffer| {
            packet.write(link.write(ethernet::ETHER_TYPE_ARP, buffer));
        })
    }

    fn solicit(&mut self, source: Ipv6Addr, target: Ipv6Addr) -> Result<(), DropReason> {
        let [.., a, b, c] = target.octets();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
        let destination = MacAddress([0x33, 0x33, 0xff, a, b, c]);
        let link = self.header_to(destination);
        let mut ip = IpHeader::new(source.into(), group.into(), Protocol::Icmpv6);
        ip.hop_limit = NEIGHBOUR_HOP_LIMIT;
        let mac = self.mac;
        self.replies.push(link.len() + ip.len() + icmp::SOLICITATION_LEN, |buffer| {
            let message = ip.write(icmp::SOLICITATION_LEN, link.write(ip.ether_type(), buffer));
            icmp::write_solicitation(&ip, target, mac, message);
        })
    }

    /// A neighbour has answered along `way`. Who was not asked is not believed.
    pub(super) fn neighbour_answered(
        &mut self,
        now: Instant,
        address: IpAddr,
        way: LinkHeader,
    ) -> Result<(), DropReason> {
        let neighbour = self.neighbours.known.get_mut(&address).filter(|neighbour| neighbour.asked > 0);
        let neighbour = neighbour.filter(|_| !way.destination.is_group()).ok_or(DropReason::UnaskedNeighbour)?;
        (neighbour.way, neighbour.answered, neighbour.asked) = (Some(way), now, 0);
        for id in std::mem::take(&mut neighbour.waiting) {
            if let Some(entry) = self.entry_mut(id) {
                entry.connection.set_way(way);
                self.settle(now, id.index);
            }
        }
        self.send_homeless(address, &way);
        Ok(())
    }

    /// Asks again, or gives up whoever waits for a neighbour that is not there.
    pub(super) fn expire_neighbours(&mut self, now: Instant) {
        while let Some(&(due, address)) = self.neighbours.due.front().filter(|(due, _)| *due <= now) {
            self.neighbours.due.pop_front();
            // What was answered, and asked anew since, is due another time.
            match self.neighbours.known.get(&address).filter(|neighbour| neighbour.due == due) {
                Some(neighbour) if (1..QUESTIONS).contains(&neighbour.asked) => self.ask(now, address),
                Some(neighbour) if neighbour.asked > 0 => self.give_up_neighbour(now, address),
                _ => {}
            }
        }
    }

    fn give_up_neighbour(&mut self, now: Instant, address: IpAddr) {
        self.drop_homeless(address);
        let Some(neighbour) = self.neighbours.known.remove(&address) else { return };
        for id in neighbour.waiting {
            // One that had a way lives on by that.
            if let Some(entry) = self.entry_mut(id).filter(|entry| !entry.connection.has_way()) {
                entry.connection.fail(CloseReason::Unreachable);
                self.settle(now, id.index);
            }
        }
    }
}
