//! A packet that was refused: which ICMP error its sender is owed, and what of the packet that quotes (RFC 792, RFC 4443 §3).

use super::{
    ethernet::{self, LinkHeader},
    icmp::{self, ECHO_HEADER_LEN},
    icmp_error_out::IcmpErrorOut,
    ip::{IpHeader, Protocol},
    ipv4, ipv6,
};
use crate::drops::DropReason;
use std::net::IpAddr;

/// The largest error: who sent the packet can take this much for certain (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)).
const MAX_LEN_V4: usize = 576;
const MAX_LEN_V6: usize = 1_280;

/// A packet whose sender may be told why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffendingPacket<'a> {
    /// Where it comes from on the link.
    pub link: LinkHeader,
    /// Its sender.
    pub source: IpAddr,
    /// Its receiver.
    pub destination: IpAddr,
    /// What is wrong with it.
    pub error: IcmpErrorOut,
    packet: &'a [u8],
}

impl<'a> OffendingPacket<'a> {
    /// What there is to say about a frame that was refused for this reason; `None` where nothing may be said, as about ICMP
    /// errors. Whether it was for us, and from whom, is not asked here.
    pub fn examine(frame: &'a [u8], reason: DropReason) -> Option<Self> {
        Self::with(frame, |packet, is_ipv4| if is_ipv4 { error_v4(reason) } else { ipv6::error_for(packet, reason) })
    }

    /// What there is to say about a frame that does not fit a way which takes packets of `mtu` octets.
    pub fn too_big(frame: &'a [u8], mtu: u32) -> Option<Self> {
        Self::with(frame, |_, _| Some(IcmpErrorOut::PacketTooBig { mtu }))
    }

    fn with(frame: &'a [u8], error: impl FnOnce(&[u8], bool) -> Option<IcmpErrorOut>) -> Option<Self> {
        let (link, ether_type, packet) = LinkHeader::parse(frame).ok()?;
        let (quoted, error) = match ether_type {
            ethernet::ETHER_TYPE_IPV4 => (ipv4::parse_quoted(packet)?, error(packet, true)?),
            ethernet::ETHER_TYPE_IPV6 => (ipv6::parse_quoted(packet)?, error(packet, false)?),
            _ => return None,
        };
        if is_icmp_error(&quoted) {
            return None;
        }
        let packet = packet.get(..quoted.packet_len)?;
        Some(Self { link, source: quoted.source, destination: quoted.destination, error, packet })
    }

    /// As much of the packet as an error behind this IP header returns.
    fn quote(&self, ip: &IpHeader) -> &'a [u8] {
        let limit = if ip.source.is_ipv4() { MAX_LEN_V4 } else { MAX_LEN_V6 };
        &self.packet[..self.packet.len().min(limit - ip.len() - ECHO_HEADER_LEN)]
    }

    /// Bytes of the error behind this IP header.
    pub fn message_len(&self, ip: &IpHeader) -> usize {
        ECHO_HEADER_LEN + self.quote(ip).len()
    }

    /// Writes the error.
    ///
    /// # Panics
    /// Where `message` is not as long as [`OffendingPacket::message_len`] says.
    pub fn write(&self, ip: &IpHeader, message: &mut [u8]) {
        let (kind, code, field) = self.error.fields(ip.source.is_ipv6());
        message[..4].copy_from_slice(&[kind, code, 0, 0]);
        message[4..8].copy_from_slice(&field.to_be_bytes());
        message[8..].copy_from_slice(self.quote(ip));
        icmp::fill_checksum(ip, message);
    }
}

/// Of a later fragment, [`ipv4::parse_quoted`] wants to know nothing: only the first one is answered (RFC 792, RFC 1122 §3.2.2).
const fn error_v4(reason: DropReason) -> Option<IcmpErrorOut> {
    match reason {
        DropReason::UnservedPort => Some(IcmpErrorOut::PortUnreachable),
        DropReason::UnknownProtocol => Some(IcmpErrorOut::ProtocolUnreachable),
        DropReason::Fragment => Some(IcmpErrorOut::ReassemblyRefused),
        _ => None,
    }
}

/// Errors are not answered, lest two hosts answer each other's errors for ever (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)), nor are
/// redirects. What is too short to tell counts as one.
fn is_icmp_error(quoted: &ipv4::Quoted<'_>) -> bool {
    match (quoted.source, quoted.rest.first()) {
        (IpAddr::V4(_), kind) if quoted.protocol == Protocol::Icmpv4.number() => {
            kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12))
        }
        (IpAddr::V6(_), kind) if quoted.protocol == Protocol::Icmpv6.number() => {
            kind.is_none_or(|&kind| kind < 128 || kind == 137)
        }
        _ => false,
    }
}
