//! ICMP errors that we send: what is wrong with a packet that was refused, and how its sender is told (RFC 792, RFC 4443 §3).

use super::{
    ethernet::{self, LinkHeader},
    icmp::{self, ECHO_HEADER_LEN},
    ip::{IpHeader, Protocol},
    ipv4, ipv6,
};
use crate::drops::DropReason;
use std::net::IpAddr;

/// The largest error: who sent the packet can take this much for certain (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)).
const MAX_LEN_V4: usize = 576;
const MAX_LEN_V6: usize = 1_280;

/// What is wrong. Offsets are of the IPv6 packet's octet that is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Nobody listens on the port.
    PortUnreachable,
    /// Nobody speaks the protocol.
    ProtocolUnreachable,
    /// The first of several fragments: they will not become a packet here.
    ReassemblyRefused,
    /// A header field makes no sense.
    ErroneousHeader {
        /// Where it is.
        at: u32,
    },
    /// A next header that nobody knows.
    UnknownHeader {
        /// Where it is named.
        at: u32,
    },
    /// An option that nobody knows, and that must not be skipped.
    UnknownOption {
        /// Where it is.
        at: u32,
        /// Whether the sender wants to hear of it even where it wrote to a group (RFC 8200 §4.2).
        even_to_group: bool,
    },
}

impl Complaint {
    /// Type, code, and the four octets behind the checksum.
    const fn fields(self, is_ipv6: bool) -> (u8, u8, u32) {
        match (self, is_ipv6) {
            (Self::ProtocolUnreachable, _) => (3, 2, 0),
            (Self::PortUnreachable, false) => (3, 3, 0),
            (Self::ReassemblyRefused, false) => (11, 1, 0),
            (Self::PortUnreachable, true) => (1, 4, 0),
            (Self::ReassemblyRefused, true) => (3, 1, 0),
            (Self::ErroneousHeader { at }, _) => (4, 0, at),
            (Self::UnknownHeader { at }, _) => (4, 1, at),
            (Self::UnknownOption { at, .. }, _) => (4, 2, at),
        }
    }
}

/// A packet whose sender may be told why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Where it comes from on the link.
    pub link: LinkHeader,
    /// Its sender.
    pub source: IpAddr,
    /// Its receiver.
    pub destination: IpAddr,
    /// What is wrong with it.
    pub complaint: Complaint,
    packet: &'a [u8],
}

impl<'a> Refused<'a> {
    /// What there is to say about a frame that was refused for this reason; `None` where nothing may be said, as about ICMP
    /// errors. Whether it was for us, and from whom, is not asked here.
    pub fn examine(frame: &'a [u8], reason: DropReason) -> Option<Self> {
        let (link, ether_type, packet) = LinkHeader::parse(frame).ok()?;
        let (quoted, complaint) = match ether_type {
            ethernet::ETHER_TYPE_IPV4 => (ipv4::parse_quoted(packet)?, complaint_v4(reason)?),
            ethernet::ETHER_TYPE_IPV6 => (ipv6::parse_quoted(packet)?, ipv6::complaint(packet, reason)?),
            _ => return None,
        };
        if is_icmp_error(&quoted) {
            return None;
        }
        let packet = packet.get(..quoted.packet_len)?;
        Some(Self { link, source: quoted.source, destination: quoted.destination, complaint, packet })
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
    /// Where `message` is not as long as [`Refused::message_len`] says.
    pub fn write(&self, ip: &IpHeader, message: &mut [u8]) {
        let (kind, code, field) = self.complaint.fields(ip.source.is_ipv6());
        message[..4].copy_from_slice(&[kind, code, 0, 0]);
        message[4..8].copy_from_slice(&field.to_be_bytes());
        message[8..].copy_from_slice(self.quote(ip));
        icmp::fill_checksum(ip, message);
    }
}

/// Of a later fragment, [`ipv4::parse_quoted`] wants to know nothing: only the first one is answered (RFC 792, RFC 1122 §3.2.2).
const fn complaint_v4(reason: DropReason) -> Option<Complaint> {
    match reason {
        DropReason::UnservedPort => Some(Complaint::PortUnreachable),
        DropReason::UnknownProtocol => Some(Complaint::ProtocolUnreachable),
        DropReason::Fragment => Some(Complaint::ReassemblyRefused),
        _ => None,
    }
}

/// Errors are not answered, lest two hosts complain about each other for ever (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)), nor are
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
