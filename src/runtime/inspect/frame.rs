//! A frame that was refused, in words: as much as its first octets tell, without believing any of it.

use crate::wire::{MacAddress, Protocol, TcpFlags, ethernet};
use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Octets in hexadecimal.
pub(super) fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(2 * octets.len());
    octets.iter().for_each(|octet| _ = write!(text, "{octet:02x}"));
    text
}

fn at<const N: usize>(octets: &[u8], offset: usize) -> Option<[u8; N]> {
    octets.get(offset..)?.first_chunk().copied()
}

fn word(octets: &[u8], offset: usize) -> Option<u16> {
    at(octets, offset).map(u16::from_be_bytes)
}

/// What a frame of so many octets is, of which these are the first.
pub(super) fn describe(octets: &[u8], length: usize) -> String {
    let from = at::<6>(octets, 6).map(|station| format!(" from {}", MacAddress(station))).unwrap_or_default();
    let what = packet(octets).unwrap_or_else(|| "cut off before it says what it is".to_owned());
    format!("{length} octets{from}: {what}")
}

fn packet(octets: &[u8]) -> Option<String> {
    let (mut kind, mut begin, mut said) = (word(octets, 12)?, ethernet::HEADER_LEN, String::new());
    for _ in 0..ethernet::MAX_TAGS {
        // IEEE 802.1Q and 802.1ad.
        if ![0x8100, 0x88a8].contains(&kind) {
            break;
        }
        let (tag, next) = (word(octets, begin)?, word(octets, begin + 2)?);
        let _ = write!(said, "VLAN {}, ", tag & 0xfff);
        (kind, begin) = (next, begin + ethernet::TAG_LEN);
    }
    let rest = octets.get(begin..)?;
    said += &match kind {
        ethernet::ETHER_TYPE_ARP => "ARP".to_owned(),
        ethernet::ETHER_TYPE_IPV4 => ipv4(rest)?,
        ethernet::ETHER_TYPE_IPV6 => ipv6(rest)?,
        other => format!("EtherType {other:#06x}"),
    };
    Some(said)
}

fn ipv4(packet: &[u8]) -> Option<String> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let ends = (at::<4>(packet, 12).map(IpAddr::from)?, at::<4>(packet, 16).map(IpAddr::from)?);
    let offset = (word(packet, 6)? & 0x1fff) * 8;
    let is_piece = word(packet, 6)? & 0x3fff != 0;
    let said = match is_piece {
        true => format!("IPv4 {} > {}, a fragment at octet {offset}", ends.0, ends.1),
        false => transport(ends, *packet.get(9)?, packet.get(header..).unwrap_or_default()),
    };
    Some(said)
}

fn ipv6(packet: &[u8]) -> Option<String> {
    let address = |offset| at::<16>(packet, offset).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
    let ends = (address(8)?, address(24)?);
    Some(transport(ends, *packet.get(6)?, packet.get(40..).unwrap_or_default()))
}

fn transport((source, destination): (IpAddr, IpAddr), protocol: u8, segment: &[u8]) -> String {
    let ports = word(segment, 0).zip(word(segment, 2));
    let ends = |name: &str| match ports {
        Some((from, to)) => {
            format!("{name} {} > {}", SocketAddr::new(source, from), SocketAddr::new(destination, to))
        }
        None => format!("{name} {source} > {destination}, cut off"),
    };
    let is = |of: Protocol| protocol == of.number();
    if is(Protocol::Tcp) {
        ends("TCP") + &tcp(segment).unwrap_or_default()
    } else if is(Protocol::Udp) {
        ends("UDP")
    } else if is(Protocol::Icmpv4) || is(Protocol::Icmpv6) {
        let kind = segment.first().zip(segment.get(1));
        let kind = kind.map(|(kind, code)| format!(", type {kind}, code {code}")).unwrap_or_default();
        format!("ICMP {source} > {destination}{kind}")
    } else {
        format!("IP protocol {protocol} {source} > {destination}")
    }
}

/// Behind the ports.
fn tcp(segment: &[u8]) -> Option<String> {
    let number = |offset| at(segment, offset).map(u32::from_be_bytes);
    let (seq, ack, flags, window) = (number(4)?, number(8)?, *segment.get(13)?, word(segment, 14)?);
    let flags = TcpFlags::from_bits_retain(flags);
    let ack = if flags.contains(TcpFlags::ACK) { format!(" ack {ack}") } else { String::new() };
    let flags = if flags.is_empty() { "no flags".to_owned() } else { flags.to_string() };
    Some(format!(", {flags} seq {seq}{ack} window {window}"))
}
