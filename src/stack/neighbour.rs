//! What a host owes its neighbours: ARP replies (RFC 826), neighbour advertisements (RFC 4861 §7.2.4), echo replies
//! (RFC 1122 §3.2.2.6, RFC 4443 §4.2).
//!
//! Every frame is answered along the way it came; what answers none finds its way by `next_hop`.

use super::{Stack, next_hop::NEIGHBOUR_HOP_LIMIT};
use crate::{
    drops::DropReason,
    time::Instant,
    wire::{
        ArpPacket, IcmpMessage, IpHeader, LinkHeader, MacAddress, Protocol,
        arp::{self, Operation},
        ethernet, icmp,
    },
};
use std::net::{IpAddr, Ipv6Addr};

/// Where unsolicited advertisements go: every node on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

impl Stack {
    pub(super) fn handle_arp(&mut self, now: Instant, link: &LinkHeader, packet: &ArpPacket) -> Result<(), DropReason> {
        // Whoever names a group would have every station hear our answer.
        if packet.sender_mac.is_group() {
            return Err(DropReason::GroupSourceMac);
        }
        if packet.operation == Operation::Reply && self.addresses.owns(packet.target_ip.into()) {
            let way = LinkHeader { destination: packet.sender_mac, ..link.answered_by(self.mac) };
            return self.neighbour_answered(now, packet.sender_ip.into(), way);
        }
        let asks_for_us = packet.operation == Operation::Request && self.addresses.owns(packet.target_ip.into());
        if !asks_for_us {
            return Err(DropReason::ArpNotForUs);
        }
        let reply = packet.answered_by(self.mac);
        let mut link = link.answered_by(self.mac);
        link.destination = packet.sender_mac;
        self.replies.push(link.len() + arp::PACKET_LEN, |buffer| {
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
            IcmpMessage::NeighbourSolicitation { target } => self.answer_solicitation(link, ip, target),
            IcmpMessage::NeighbourAdvertisement { target, mac } => {
                let back = link.answered_by(self.mac);
                let destination = mac.unwrap_or(back.destination);
                self.neighbour_answered(now, target.into(), LinkHeader { destination, ..back })
            }
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
        let link = link.answered_by(self.mac);
        let mut answer = IpHeader::new(ip.destination, ip.source, ip.protocol);
        answer.hop_limit = self.config.tcp.hop_limit;
        let message_len = icmp::ECHO_HEADER_LEN + data.len();
        if answer.len() + message_len > self.config.tcp.mtu {
            return Err(DropReason::BeyondMtu);
        }
        self.replies.push(link.len() + answer.len() + message_len, |buffer| {
            let message = answer.write(message_len, link.write(answer.ether_type(), buffer));
            message[icmp::ECHO_HEADER_LEN..].copy_from_slice(data);
            icmp::write_echo_reply(&answer, identifier, message);
        })?;
        self.stats.echo_replies += 1;
        Ok(())
    }

    fn answer_solicitation(&mut self, link: &LinkHeader, ip: &IpHeader, target: Ipv6Addr) -> Result<(), DropReason> {
        if !self.addresses.owns(target.into()) {
            return Err(DropReason::OtherDestination);
        }
        let mut link = link.answered_by(self.mac);
        // Duplicate address detection asks without a source address: everyone hears the answer (RFC 4861 §7.2.4).
        let solicited = !ip.source.is_unspecified();
        let destination = if solicited { ip.source } else { IpAddr::V6(ALL_NODES) };
        if !solicited {
            link.destination = ALL_NODES_MAC;
        }
        let mut answer = IpHeader::new(target.into(), destination, Protocol::Icmpv6);
        answer.hop_limit = NEIGHBOUR_HOP_LIMIT;
        let mac = self.mac;
        self.replies.push(link.len() + answer.len() + icmp::ADVERTISEMENT_LEN, |buffer| {
            let message = answer.write(icmp::ADVERTISEMENT_LEN, link.write(answer.ether_type(), buffer));
            icmp::write_advertisement(&answer, target, solicited, mac, message);
        })?;
        self.stats.neighbour_replies += 1;
        Ok(())
    }
}
