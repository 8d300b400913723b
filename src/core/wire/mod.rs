//! Bytes to values and values to bytes. No state; nothing is allocated for a frame.
//!
//! A frame is parsed once, by [`parse`], into a value that cannot be wrong; a frame that cannot be trusted becomes a
//! [`DropReason`].
//!
//! ```
//! use xskip_core::{drops::DropReason, wire};
//!
//! let too_short = wire::parse(&[0; 13], wire::ChecksumPolicy::Verify);
//! assert_eq!(too_short.unwrap_err(), DropReason::TruncatedEthernet);
//! ```

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod host_address;
pub mod icmp;
pub mod icmp_error;
pub mod icmp_error_out;
mod interface;
pub mod ip;
mod ip_header;
pub mod ipv4;
pub mod ipv6;
pub mod offending_packet;
mod peek;
mod quoted_flow;
pub mod seq;
pub mod tcp;
pub mod tcp_options;
pub mod toeplitz;
pub mod tunnel;
pub mod udp;

#[cfg(test)]
mod tests;

pub use self::{
    arp::ArpPacket,
    ethernet::{LinkHeader, MacAddress},
    host_address::{AddressError, check_host, check_remote},
    icmp::IcmpMessage,
    icmp_error::{ErrorKind, IcmpError, Quote, Unreachable},
    icmp_error_out::IcmpErrorOut,
    interface::InterfaceId,
    ip::{IpHeader, Protocol},
    offending_packet::OffendingPacket,
    peek::peek_flow,
    quoted_flow::QuotedFlow,
    seq::SeqNumber,
    tcp::{ChecksumPolicy, Segment, TcpFlags, TcpHeader},
    tcp_options::TcpOptions,
    toeplitz::ReceiveScaling,
    tunnel::{Encapsulation, Tunnel},
    udp::Datagram,
};

use self::checksum::Checksum;
use crate::drops::DropReason;
use std::{fmt, net::IpAddr};

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The IP address.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

impl From<std::net::SocketAddr> for Endpoint {
    /// An IPv6 address loses its scope and flow label, for which a stack on one link has no use.
    fn from(address: std::net::SocketAddr) -> Self {
        Self { address: address.ip(), port: address.port() }
    }
}

impl From<Endpoint> for std::net::SocketAddr {
    fn from(end: Endpoint) -> Self {
        Self::new(end.address, end.port)
    }
}

/// The two ends of a connection, seen from our side: what RFC 9293 calls the socket pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourTuple {
    /// Our end.
    pub local: Endpoint,
    /// The peer's end.
    pub remote: Endpoint,
}

impl FourTuple {
    /// The tuple of a segment that was received: its destination is our end.
    pub fn of_received(ip: &IpHeader, tcp: &TcpHeader) -> Self {
        Self {
            local: Endpoint { address: ip.destination, port: tcp.destination_port },
            remote: Endpoint { address: ip.source, port: tcp.source_port },
        }
    }

    /// Hands over the two ends as octets, for hashes: addresses, ours first, then ports. No two tuples have the same. Every segment is
    /// hashed, and a call would take as long as the rest.
    #[inline(always)]
    pub(crate) fn with_octets<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
        let ports = u32::from(self.local.port) << 16 | u32::from(self.remote.port);
        match (self.local.address, self.remote.address) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let mut octets = [0; 12];
                put_words([local.to_bits(), remote.to_bits(), ports], &mut octets);
                take(&octets)
            }
            (local, remote) => {
                let mut octets = [0; 36];
                octets[..16].copy_from_slice(&mapped(local));
                octets[16..32].copy_from_slice(&mapped(remote));
                put_words([ports], &mut octets[32..]);
                take(&octets)
            }
        }
    }

    /// The tuple as the peer sees it.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }
}

/// An address of either family as one of IPv6 (RFC 4291 §2.5.5.2).
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl fmt::Display for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local, self.remote)
    }
}

/// A frame, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedFrame<'a> {
    /// Where it comes from on the link.
    pub link: LinkHeader,
    /// What it carries.
    pub packet: Packet<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Address resolution.
    Arp(ArpPacket),
    /// ICMP of either IP version.
    Icmp(IpHeader, IcmpMessage<'a>),
    /// A TCP segment.
    Tcp(IpHeader, Segment<'a>),
    /// A UDP datagram.
    Udp(IpHeader, Datagram<'a>),
}

/// Understands a frame.
///
/// # Errors
/// The [`DropReason`] that applies. Whether the frame is *for us* is not asked here.
pub fn parse(frame: &[u8], policy: ChecksumPolicy) -> Result<ParsedFrame<'_>, DropReason> {
    match parse_some::<true>(frame, policy).ok() {
        Some(usual) => Ok(usual),
        None => parse_any(frame, policy),
    }
}

#[inline(never)]
fn parse_any(frame: &[u8], policy: ChecksumPolicy) -> Result<ParsedFrame<'_>, DropReason> {
    parse_some::<false>(frame, policy)
}

/// Understands any frame, or only what is `USUAL`: TCP, with no options but timestamps, in IP without options or extension
/// headers, without VLAN tags.
///
/// Nearly every frame is usual. That case, compiled separately, knows all offsets and stores each field of the result once. Whatever it
/// refuses, malformed frames among it, is parsed a second time by the general case, which names the reason.
#[inline(always)]
fn parse_some<const USUAL: bool>(frame: &[u8], policy: ChecksumPolicy) -> Result<ParsedFrame<'_>, DropReason> {
    let (link, ether_type, payload) = LinkHeader::parse_some::<USUAL>(frame)?;
    match ether_type {
        ethernet::ETHER_TYPE_IPV4 => parse_transport::<USUAL>(link, ipv4::parse::<USUAL>(payload)?, policy),
        ethernet::ETHER_TYPE_IPV6 => parse_transport::<USUAL>(link, ipv6::parse::<USUAL>(payload)?, policy),
        ethernet::ETHER_TYPE_ARP if !USUAL => Ok(ParsedFrame { link, packet: Packet::Arp(ArpPacket::parse(payload)?) }),
        _ => Err(DropReason::UnknownEtherType),
    }
}

#[inline(always)]
fn parse_transport<const USUAL: bool>(
    link: LinkHeader,
    (ip, payload): (IpHeader, &[u8]),
    policy: ChecksumPolicy,
) -> Result<ParsedFrame<'_>, DropReason> {
    let packet = match ip.protocol {
        Protocol::Tcp => Packet::Tcp(ip, Segment::parse::<USUAL>(&ip, payload, policy)?),
        _ if USUAL => return Err(DropReason::UnknownProtocol),
        Protocol::Udp => Packet::Udp(ip, Datagram::parse(&ip, payload, policy)?),
        Protocol::Icmpv4 | Protocol::Icmpv6 => Packet::Icmp(ip, IcmpMessage::parse(&ip, payload)?),
    };
    Ok(ParsedFrame { link, packet })
}

/// Whether a frame may carry ARP or ICMP, at a glance: where there are extension headers in between, it is not seen.
pub fn is_control(frame: &[u8]) -> bool {
    let Ok((_, ether_type, packet)) = LinkHeader::parse(frame) else { return false };
    match ether_type {
        ethernet::ETHER_TYPE_ARP => true,
        ethernet::ETHER_TYPE_IPV4 => packet.get(9) == Some(&Protocol::Icmpv4.number()),
        ethernet::ETHER_TYPE_IPV6 => packet.get(6) == Some(&Protocol::Icmpv6.number()),
        _ => false,
    }
}

/// Whether a frame seems to be ARP or neighbour discovery: what a neighbour says of itself.
pub fn is_of_a_neighbour(frame: &[u8]) -> bool {
    let Ok((_, ether_type, packet)) = LinkHeader::parse(frame) else { return false };
    match ether_type {
        ethernet::ETHER_TYPE_ARP => true,
        ethernet::ETHER_TYPE_IPV6 => {
            let is_icmp = packet.get(6) == Some(&Protocol::Icmpv6.number());
            is_icmp && packet.get(ipv6::HEADER_LEN).is_some_and(|&kind| icmp::is_discovery(kind))
        }
        _ => false,
    }
}

/// Writes a TCP frame whose data are `payload`'s two parts, in place, and returns its length.
///
/// Two parts, because a ring buffer's content is two slices where it wraps around.
///
/// # Panics
/// Where `buffer` is too short: see [`tcp_frame_len`].
#[inline]
pub fn write_tcp(
    link: &LinkHeader,
    ip: &IpHeader,
    tcp: &TcpHeader,
    payload: (&[u8], &[u8]),
    buffer: &mut [u8],
) -> usize {
    let header_len = tcp.len();
    let payload_len = payload.0.len() + payload.1.len();
    let rest = link.write(ip.ether_type(), buffer);
    let rest = ip.write(header_len + payload_len, rest);
    let (header, rest) = rest.split_at_mut(header_len);
    let (first, rest) = rest.split_at_mut(payload.0.len());
    let mut sum = Checksum::of_copied(payload.0, first);
    if !payload.1.is_empty() {
        sum = sum.plus(Checksum::of_copied(payload.1, &mut rest[..payload.1.len()]).behind(payload.0.len()));
    }
    tcp.write_before(ip, payload_len, sum, header);
    link.len() + ip.len() + header_len + payload_len
}

/// Writes words in network byte order to the front of `buffer` and returns the room behind them.
#[inline]
fn put_words<const COUNT: usize>(words: [u32; COUNT], buffer: &mut [u8]) -> &mut [u8] {
    let (front, rest) = buffer.split_at_mut(4 * COUNT);
    for (place, word) in front.as_chunks_mut().0.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
    rest
}

/// Bytes of headers in front of a segment's data.
pub fn tcp_frame_len(link: &LinkHeader, ip: &IpHeader, tcp: &TcpHeader) -> usize {
    link.len() + ip.len() + tcp.len()
}
