//! What a router says where a packet does not fit: fragmentation needed (RFC 792, RFC 1191), packet too big (RFC 4443 §3.2).

use std::net::IpAddr;
use xskip_core::wire::{IpHeader, LinkHeader, Protocol, checksum::Checksum, ethernet, ip};

/// The most an error about an IPv6 packet may be long (RFC 4443 §2.4).
const MOST_IPV6: usize = 1_280;
const HEADER_LEN: usize = 8;

/// The error that the sender of `frame` hears about it, from a router next to it whose next link takes `mtu` bytes.
pub fn too_big(frame: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let (link, ether_type, packet) = LinkHeader::parse(frame).ok()?;
    let is_ipv6 = ether_type == ethernet::ETHER_TYPE_IPV6;
    let sender = if is_ipv6 {
        IpAddr::from(*packet.get(8..)?.first_chunk::<16>()?)
    } else {
        IpAddr::from(*packet.get(12..)?.first_chunk::<4>()?)
    };
    let (router, protocol, quoted) = match sender {
        IpAddr::V4(_) => (IpAddr::from([198, 18, 0, 254]), Protocol::Icmpv4, 20 + 8),
        IpAddr::V6(_) => {
            let router = IpAddr::from([0x2001, 2, 0, 0, 0, 0, 0, 0xfe]);
            (router, Protocol::Icmpv6, MOST_IPV6 - ip::header_len(sender) - HEADER_LEN)
        }
    };
    let quote = &packet[..packet.len().min(quoted)];
    let header = IpHeader::new(router, sender, protocol);
    let link = LinkHeader { destination: link.source, source: link.destination, ..link };
    let length = HEADER_LEN + quote.len();
    let mut error = vec![0; link.len() + header.len() + length];
    let message = header.write(length, link.write(header.ether_type(), &mut error));
    message[..2].copy_from_slice(if is_ipv6 { &[2, 0] } else { &[3, 4] });
    // Both have the MTU at the end of their header; there the upper two bytes are zero for IPv4.
    message[4..HEADER_LEN].copy_from_slice(&(mtu as u32).to_be_bytes());
    message[HEADER_LEN..length].copy_from_slice(quote);
    let start = match protocol {
        Protocol::Icmpv6 => Checksum::pseudo_header(router, sender, protocol.number(), length),
        _ => Checksum::default(),
    };
    let field = start.with(&message[..length]).field();
    message[2..4].copy_from_slice(&field);
    Some(error)
}
