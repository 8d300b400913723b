//! What is said on the link of our own addresses: by us, and by stations that have them, too (RFC 5227; RFC 4862 §5.4).

use crate::{
    stack::Ownership,
    wire::{
        self, ArpPacket, ChecksumPolicy, IcmpMessage, IpHeader, LinkHeader, MacAddress, Packet, Protocol,
        arp::{self, Operation},
        ethernet::{self, VlanTags},
        icmp,
    },
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every node on the link, and its address on Ethernet.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

/// Our own addresses, and the station that we have them at.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    pub addresses: Vec<IpAddr>,
    /// Those of the kernel's that are served as well.
    pub shared: Vec<IpAddr>,
    pub station: MacAddress,
    pub vlan: Option<u16>,
}

/// Somebody has an address of ours: which, and at which station.
pub(super) type Conflict = (IpAddr, MacAddress);

impl Claims {
    /// The question whether anybody has the address, from somebody who has none yet (RFC 5227 §2.1.1, RFC 4862 §5.4.2).
    pub fn probe(&self, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => self.arp(Ipv4Addr::UNSPECIFIED, address),
            IpAddr::V6(address) => {
                let (group, group_mac) = icmp::solicited_node(address);
                let ends = (Ipv6Addr::UNSPECIFIED, group, group_mac);
                self.discovery(ends, icmp::PROBE_LEN, |ip, message| icmp::write_probe(ip, address, message))
            }
        }
    }

    /// The word that we have the address (RFC 5227 §2.3, RFC 4861 §7.2.6).
    pub fn announcement(&self, address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => self.arp(address, address),
            IpAddr::V6(address) => {
                let ends = (address, ALL_NODES, ALL_NODES_MAC);
                self.discovery(ends, icmp::ADVERTISEMENT_LEN, |ip, message| {
                    icmp::write_advertisement(ip, address, false, self.station, message);
                })
            }
        }
    }

    /// Those of one address alone.
    pub fn of(&self, address: IpAddr) -> Self {
        Self { addresses: vec![address], shared: Vec::new(), ..*self }
    }

    /// Takes up another address.
    pub fn add(&mut self, address: IpAddr, ownership: Ownership) {
        match ownership {
            Ownership::Own => self.addresses.push(address),
            Ownership::Shared => self.shared.push(address),
        }
    }

    /// Gives up an address.
    pub fn remove(&mut self, address: IpAddr) {
        self.addresses.retain(|&other| other != address);
        self.shared.retain(|&other| other != address);
    }

    fn arp(&self, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
        let (operation, sender_mac, target_mac) = (Operation::Request, self.station, MacAddress::default());
        let packet = ArpPacket { operation, sender_mac, sender_ip, target_mac, target_ip };
        let link = self.header_to(MacAddress::BROADCAST);
        let mut frame = vec![0; link.len() + arp::PACKET_LEN];
        packet.write(link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
        frame
    }

    fn discovery(
        &self,
        (source, destination, mac): (Ipv6Addr, Ipv6Addr, MacAddress),
        length: usize,
        write: impl FnOnce(&IpHeader, &mut [u8]),
    ) -> Vec<u8> {
        let link = self.header_to(mac);
        let mut ip = IpHeader::new(source.into(), destination.into(), Protocol::Icmpv6);
        ip.hop_limit = icmp::NEIGHBOUR_HOP_LIMIT;
        let mut frame = vec![0; link.len() + ip.len() + length];
        write(&ip, ip.write(length, link.write(ip.ether_type(), &mut frame)));
        frame
    }

    fn header_to(&self, destination: MacAddress) -> LinkHeader {
        LinkHeader { source: self.station, destination, vlan: VlanTags::of(self.vlan), ..LinkHeader::default() }
    }

    /// Whether a frame says anything that workers want to hear: an answer, an announcement, or who asks for us. Most that is heard on a
    /// link are questions for somebody else.
    pub fn concerns(&self, frame: &[u8]) -> bool {
        let mut served = self.addresses.iter().chain(&self.shared);
        let is_served = |address: IpAddr| self.addresses.contains(&address) || self.shared.contains(&address);
        match wire::parse(frame, ChecksumPolicy::AcceptPartial).map(|frame| frame.packet) {
            Ok(Packet::Arp(ArpPacket { operation, sender_ip, target_ip, .. })) => {
                let is_said_to_all = operation == Operation::Reply || sender_ip == target_ip;
                is_said_to_all && served.any(IpAddr::is_ipv4) || is_served(target_ip.into())
            }
            Ok(Packet::Icmp(_, IcmpMessage::NeighbourSolicitation { target })) => is_served(target.into()),
            Ok(Packet::Icmp(_, IcmpMessage::NeighbourAdvertisement { .. })) => served.any(IpAddr::is_ipv6),
            _ => false,
        }
    }

    /// Whether a frame, heard without its tag, says that another station has one of our addresses; while we ask for it, also whether
    /// another one asks as well (RFC 5227 §2.1.1, RFC 4862 §5.4.3).
    pub fn conflict(&self, frame: &[u8], is_probing: bool) -> Option<Conflict> {
        let frame = wire::parse(frame, ChecksumPolicy::AcceptPartial).ok()?;
        let (address, station) = match frame.packet {
            Packet::Arp(ArpPacket { sender_ip, sender_mac, target_ip, operation, .. }) => {
                let is_probe = sender_ip.is_unspecified() && operation == Operation::Request;
                let named = if is_probe && is_probing { target_ip } else { sender_ip };
                (named.into(), sender_mac)
            }
            Packet::Icmp(_, IcmpMessage::NeighbourAdvertisement { target, mac }) => {
                (target.into(), mac.unwrap_or(frame.link.source))
            }
            Packet::Icmp(ip, IcmpMessage::NeighbourSolicitation { target }) => {
                let is_probe = ip.source.is_unspecified() && is_probing;
                (if is_probe { target.into() } else { ip.source }, frame.link.source)
            }
            _ => return None,
        };
        (station != self.station && self.addresses.contains(&address)).then_some((address, station))
    }
}

#[cfg(test)]
mod tests;
