//! ICMP errors that we send: when, to whom, and how many (RFC 1122 §3.2.2, RFC 4443 §2.4).

use super::{Ownership, Stack, intake::answered_to, interface::Interface};
use crate::{
    drops::DropReason,
    time::Instant,
    wire::{IcmpErrorOut, InterfaceId, IpHeader, OffendingPacket, Protocol},
};
use std::net::IpAddr;

impl Stack {
    /// Answers a frame that was refused by an ICMP error, where its reason calls for one and its sender may be sent one.
    ///
    /// A first fragment is answered at once, as if the time to put it together had passed: RFC 792 leaves that open, and its
    /// sender learns in no other way that fragments lead nowhere here. Of later fragments it hears nothing.
    pub(super) fn answer_by_icmp_error(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        frame: &[u8],
        reason: DropReason,
    ) {
        use DropReason::{BadExtensionHeaders, Fragment, UnknownIpOption, UnknownProtocol, UnservedPort};
        if !matches!(reason, BadExtensionHeaders | Fragment | UnknownIpOption | UnknownProtocol | UnservedPort) {
            return;
        }
        if let Some(refused) = OffendingPacket::examine(frame, reason) {
            self.answer_refused(now, interface, refused);
        }
    }

    /// Says that a frame of a pair does not fit the way on, which takes packets of `mtu` octets.
    pub(super) fn tell_too_big(&mut self, now: Instant, interface: InterfaceId, frame: &[u8], mtu: u32) {
        if let Some(refused) = OffendingPacket::too_big(frame, mtu) {
            self.answer_refused(now, interface, refused);
        }
    }

    fn answer_refused(&mut self, now: Instant, interface: InterfaceId, mut refused: OffendingPacket<'_>) {
        refused.link.interface = interface;
        let Some(source) = self.error_source(&refused) else { return };
        let destination = self.secrets.hash_destination(refused.source);
        let sent = if !self.icmp_errors.is_used_up(now) && self.icmp_errors.allow(now, destination) {
            self.send_icmp_error(&refused, source)
        } else {
            Err(DropReason::RateLimited)
        };
        match sent {
            Ok(()) => self.stats.icmp_errors_transmitted += 1,
            Err(reason) => self.drops.count(reason),
        }
    }

    /// The source address of the error; `None` where none may be sent. What went to a group is answered only where its sender has
    /// asked for that, and what came from no single host never.
    fn error_source(&self, refused: &OffendingPacket<'_>) -> Option<IpAddr> {
        let OffendingPacket { link, source, destination, error, .. } = refused;
        let even_to_group = matches!(error, IcmpErrorOut::UnknownOption { even_to_group: true, .. });
        let interface = &self.interfaces[link.interface];
        let is_to_station = link.destination == interface.mac || (even_to_group && link.destination.is_group());
        let is_ours = is_to_station && link.vlan.are_of(interface.vlan);
        if !is_ours || source.is_unspecified() || source.is_multicast() || self.check_source(*source).is_err() {
            return None;
        }
        // A connection of ours had this address, whoever else has it.
        let is_of_a_pair = matches!(error, IcmpErrorOut::PacketTooBig { .. }) && self.addresses.contains(*destination);
        if is_of_a_pair || self.addresses.owns(*destination) {
            return Some(*destination);
        }
        let mut own = self.addresses.on(link.interface).filter(|local| local.ownership == Ownership::Own);
        let same_family = own.find(|local| local.cidr.address.is_ipv6())?;
        (even_to_group && destination.is_multicast()).then_some(same_family.cidr.address)
    }

    fn send_icmp_error(&mut self, refused: &OffendingPacket<'_>, source: IpAddr) -> Result<(), DropReason> {
        let &Interface { mac, answers_to, .. } = &self.interfaces[refused.link.interface];
        let link = answered_to(&refused.link, answers_to).unwrap_or(refused.link).answered_by(mac);
        let protocol = if source.is_ipv4() { Protocol::Icmpv4 } else { Protocol::Icmpv6 };
        let mut ip = IpHeader::new(source, refused.source, protocol);
        ip.hop_limit = self.config.tcp.hop_limit;
        let length = refused.message_len(&ip);
        self.interfaces[link.interface].replies.push(link.len() + ip.len() + length, |buffer| {
            let message = ip.write(length, link.write(ip.ether_type(), buffer));
            refused.write(&ip, message);
        })
    }
}
