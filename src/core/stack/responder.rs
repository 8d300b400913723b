//! What a host owes its neighbours: ARP replies (RFC 826), neighbour advertisements (RFC 4861 §7.2.4), echo replies
//! (RFC 1122 §3.2.2.6, RFC 4443 §4.2).
//!
//! Every frame is answered at the link address it came from. What we ask neighbours ourselves is in `neighbour_cache`.

use super::{Stack, interface::Interface};
use crate::{
    drops::DropReason,
    time::Instant,
    wire::{
        self, ArpPacket, IcmpMessage, InterfaceId, IpHeader, LinkHeader, MacAddress, Packet, Protocol,
        arp::{self, Operation},
        ethernet, icmp,
    },
};
use std::net::{IpAddr, Ipv6Addr};

/// Where unsolicited advertisements go: every node on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

impl Stack {
    /// Takes in what a neighbour has said to everybody, to the kernel or to another worker. It is not answered: somebody else
    /// does, or nobody needs to. Only ARP and neighbour discovery are listened to.
    pub fn overhear(&mut self, now: Instant, interface: InterfaceId, frame: &[u8]) {
        let Some(&Interface { checksums, vlan, .. }) = self.interfaces.get(interface) else { return };
        let Ok(mut frame) = wire::parse(frame, checksums) else { return };
        frame.link.interface = interface;
        if !frame.link.vlan.are_of(vlan) || frame.link.source.is_group() {
            return;
        }
        // What nobody asked for is nothing unusual here.
        let _ = match &frame.packet {
            Packet::Arp(packet) if !packet.sender_mac.is_group() => self.hear_arp(now, &frame.link, packet),
            Packet::Icmp(ip, message) => self.hear_discovery(now, &frame.link, ip, message),
            _ => Ok(()),
        };
    }

    /// What an ARP packet says of its sender.
    fn hear_arp(&mut self, now: Instant, link: &LinkHeader, packet: &ArpPacket) -> Result<(), DropReason> {
        let sender = packet.sender_ip.into();
        let is_for_us = self.addresses.is_on(link.interface, packet.target_ip.into());
        if packet.operation == Operation::Reply && is_for_us {
            let to =
                LinkHeader { destination: packet.sender_mac, ..link.answered_by(self.interfaces[link.interface].mac) };
            let answered = self.neighbour_answered(now, sender, to);
            return answered.inspect_err(|_| self.hear_claim(now, link, sender, false));
        }
        // RFC 5227 §1.1: who sends a probe does not have his address yet.
        if packet.sender_mac == link.source && !packet.sender_ip.is_unspecified() && !self.addresses.contains(sender) {
            self.hear_claim(now, link, sender, is_for_us);
        }
        Ok(())
    }

    /// What a neighbour discovery message says of its sender.
    fn hear_discovery(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        ip: &IpHeader,
        message: &IcmpMessage<'_>,
    ) -> Result<(), DropReason> {
        let (address, asks_for_us) = match *message {
            IcmpMessage::NeighbourAdvertisement { target, mac } => {
                let back = link.answered_by(self.interfaces[link.interface].mac);
                let to = LinkHeader { destination: mac.unwrap_or(back.destination), ..back };
                if self.addresses.contains(ip.destination) {
                    let answered = self.neighbour_answered(now, target.into(), to);
                    return answered.inspect_err(|_| self.hear_claim(now, link, target.into(), false));
                }
                (target.into(), false)
            }
            IcmpMessage::NeighbourSolicitation { target } => {
                (ip.source, self.addresses.is_on(link.interface, target.into()))
            }
            _ => return Ok(()),
        };
        if !address.is_unspecified() && !self.addresses.contains(address) {
            self.hear_claim(now, link, address, asks_for_us);
        }
        Ok(())
    }

    pub(super) fn handle_arp(&mut self, now: Instant, link: &LinkHeader, packet: &ArpPacket) -> Result<(), DropReason> {
        // Whoever names a group would have every station hear our answer.
        if packet.sender_mac.is_group() {
            return Err(DropReason::GroupSourceMac);
        }
        self.hear_arp(now, link, packet)?;
        let is_for_us = self.addresses.owns_on(link.interface, packet.target_ip.into());
        match packet.operation {
            Operation::Reply if is_for_us => return Ok(()),
            Operation::Request if is_for_us => {}
            _ => return Err(DropReason::ArpNotForUs),
        }
        let Interface { mac, replies, .. } = &mut self.interfaces[link.interface];
        let reply = packet.answered_by(*mac);
        let mut link = link.answered_by(*mac);
        link.destination = packet.sender_mac;
        replies.push(link.len() + arp::PACKET_LEN, |buffer| {
            reply.write(link.write(ethernet::ETHER_TYPE_ARP, buffer));
        })?;
        self.stats.neighbour_replies += 1;
        Ok(())
    }

    pub(super) fn handle_icmp(
        &mut self,
        now: Instant,
        link: &LinkHeader,
        ip: &IpHeader,
        message: &IcmpMessage<'_>,
    ) -> Result<(), DropReason> {
        match *message {
            IcmpMessage::EchoRequest { identifier, data } => self.answer_echo(link, ip, identifier, data),
            IcmpMessage::NeighbourSolicitation { target } => {
                self.hear_discovery(now, link, ip, message)?;
                self.answer_solicitation(link, ip, target)
            }
            IcmpMessage::NeighbourAdvertisement { .. } => self.hear_discovery(now, link, ip, message),
            IcmpMessage::Error(error) => self.handle_icmp_error(now, link, ip, &error),
        }
    }

    fn answer_echo(
        &mut self,
        link: &LinkHeader,
        ip: &IpHeader,
        identifier: [u8; 4],
        data: &[u8],
    ) -> Result<(), DropReason> {
        // RFC 1122 §3.2.2.6 lets a host ignore echoes to groups, and not to be an amplifier, ours does.
        if !self.addresses.owns(ip.destination) {
            return Err(DropReason::OtherDestination);
        }
        if ip.source.is_unspecified() {
            return Err(DropReason::InvalidSource);
        }
        // RFC 1122 §3.3.6: what every station of the link was asked, each of them would answer.
        if link.destination.is_group() {
            return Err(DropReason::GroupDestination);
        }
        let Interface { mac, mtu, replies, .. } = &mut self.interfaces[link.interface];
        let link = link.answered_by(*mac);
        let mut answer = IpHeader::new(ip.destination, ip.source, ip.protocol);
        answer.hop_limit = self.config.tcp.hop_limit;
        let message_len = icmp::ECHO_HEADER_LEN + data.len();
        if answer.len() + message_len > *mtu {
            return Err(DropReason::BeyondMtu);
        }
        replies.push(link.len() + answer.len() + message_len, |buffer| {
            let message = answer.write(message_len, link.write(answer.ether_type(), buffer));
            message[icmp::ECHO_HEADER_LEN..].copy_from_slice(data);
            icmp::write_echo_reply(&answer, identifier, message);
        })?;
        self.stats.echo_replies += 1;
        Ok(())
    }

    fn answer_solicitation(&mut self, link: &LinkHeader, ip: &IpHeader, target: Ipv6Addr) -> Result<(), DropReason> {
        if !self.addresses.owns_on(link.interface, target.into()) {
            return Err(DropReason::OtherDestination);
        }
        let Interface { mac, replies, .. } = &mut self.interfaces[link.interface];
        let mac = *mac;
        let mut link = link.answered_by(mac);
        // Duplicate address detection asks without a source address: everyone hears the answer (RFC 4861 §7.2.4).
        let solicited = !ip.source.is_unspecified();
        let destination = if solicited { ip.source } else { IpAddr::V6(ALL_NODES) };
        if !solicited {
            link.destination = ALL_NODES_MAC;
        }
        let mut answer = IpHeader::new(target.into(), destination, Protocol::Icmpv6);
        answer.hop_limit = icmp::NEIGHBOUR_HOP_LIMIT;
        replies.push(link.len() + answer.len() + icmp::ADVERTISEMENT_LEN, |buffer| {
            let message = answer.write(icmp::ADVERTISEMENT_LEN, link.write(answer.ether_type(), buffer));
            icmp::write_advertisement(&answer, target, solicited, mac, message);
        })?;
        self.stats.neighbour_replies += 1;
        Ok(())
    }
}
