//! The wire room against itself and against a second opinion: checksums here are computed by [`reference_checksum`], never by
//! the code under test.

mod frames;
mod golden;
mod icmp_errors;
mod numbers;
mod options;
mod peek;
mod random;
mod refusals;
mod toeplitz;
mod udp;

use super::{
    ChecksumPolicy, IpHeader, LinkHeader, MacAddress, Packet, ParsedFrame, Protocol, Segment, SeqNumber, TcpFlags,
    TcpHeader, TcpOptions,
    ethernet::{ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, VlanTag, VlanTags},
    parse, tcp_frame_len, write_tcp,
};
use crate::drops::DropReason;
use std::net::IpAddr;

pub(super) const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(super) const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// Where the IP header begins in a frame without tags.
pub(super) const IP: usize = 14;

/// RFC 1071 word for word: 16 bits at a time, with the carry taken around at once.
pub(super) fn reference_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The pseudo-header's octets as RFC 9293 and RFC 8200 draw them, with the message behind.
pub(super) fn with_pseudo_header(ip: &IpHeader, message: &[u8]) -> Vec<u8> {
    let length = message.len() as u32;
    let mut octets = Vec::new();
    match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            octets.extend(source.octets());
            octets.extend(destination.octets());
            octets.extend([0, ip.protocol.number()]);
            octets.extend((length as u16).to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            octets.extend(source.octets());
            octets.extend(destination.octets());
            octets.extend(length.to_be_bytes());
            octets.extend([0, 0, 0, ip.protocol.number()]);
        }
        mixed => panic!("two families: {mixed:?}"),
    }
    octets.extend(message);
    octets
}

pub(super) fn link() -> LinkHeader {
    LinkHeader { destination: OURS, source: THEIRS, ..LinkHeader::default() }
}

/// A link header with that many tags.
pub(super) fn tagged(count: usize) -> LinkHeader {
    let tags = [VlanTag { protocol: 0x88a8, control: 0xa064 }, VlanTag { protocol: 0x8100, control: 0x00c8 }];
    // A single tag is a customer's, as on most links.
    let tags = &tags[2 - count..];
    let vlan = tags.iter().fold(VlanTags::default(), |vlan, &tag| vlan.with(tag).expect("at most two"));
    LinkHeader { vlan, ..link() }
}

pub(super) fn ip_v4(protocol: Protocol) -> IpHeader {
    IpHeader::new(IpAddr::from([198, 18, 0, 2]), IpAddr::from([198, 18, 0, 1]), protocol)
}

pub(super) fn ip_v6(protocol: Protocol) -> IpHeader {
    let address = |last| IpAddr::from([0x2001, 2, 0, 0, 0, 0, 0, last]);
    IpHeader::new(address(2), address(1), protocol)
}

/// Both families' headers for a protocol each has.
pub(super) fn both_for_tcp() -> [IpHeader; 2] {
    [ip_v4(Protocol::Tcp), ip_v6(Protocol::Tcp)]
}

pub(super) fn tcp_header(options: TcpOptions) -> TcpHeader {
    TcpHeader {
        source_port: 49_152,
        destination_port: 80,
        seq: SeqNumber::new(0x0102_0304),
        ack: SeqNumber::new(0xffff_fffe),
        flags: TcpFlags::ACK | TcpFlags::PSH,
        window: 64_240,
        urgent: 0,
        options,
    }
}

/// A frame as the crate writes it.
pub(super) fn tcp_frame(link: &LinkHeader, ip: &IpHeader, tcp: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; tcp_frame_len(link, ip, tcp) + payload.len()];
    let length = write_tcp(link, ip, tcp, (payload, &[]), &mut frame);
    assert_eq!(length, frame.len());
    frame
}

/// A frame with any message behind the IP header.
pub(super) fn ip_frame(link: &LinkHeader, ip: &IpHeader, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; link.len() + ip.len() + message.len()];
    let rest = link.write(ip.ether_type(), &mut frame);
    ip.write(message.len(), rest).copy_from_slice(message);
    frame
}

/// Puts the right checksum into an IPv4 header at the front of `packet`, whatever it says.
pub(super) fn seal_ipv4(packet: &mut [u8]) {
    let length = (usize::from(packet[0] & 0xf) * 4).max(20).min(packet.len());
    packet[10..12].fill(0);
    let field = reference_checksum(&packet[..length]);
    packet[10..12].copy_from_slice(&field.to_be_bytes());
}

/// Puts the right checksum at `at` into a message that a pseudo-header goes with.
pub(super) fn seal_message(ip: &IpHeader, message: &mut [u8], at: usize) {
    message[at..at + 2].fill(0);
    let covered = if ip.protocol == Protocol::Icmpv4 { message.to_vec() } else { with_pseudo_header(ip, message) };
    message[at..at + 2].copy_from_slice(&reference_checksum(&covered).to_be_bytes());
}

/// A TCP frame without tags whose segment `change` has spoilt and whose checksum is right nevertheless.
pub(super) fn spoilt_segment(ip: &IpHeader, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut segment = vec![0; 20];
    tcp_header(TcpOptions::default()).write(ip, &mut segment);
    change(&mut segment);
    if segment.len() >= 18 {
        seal_message(ip, &mut segment, 16);
    }
    ip_frame(&link(), ip, &segment)
}

/// A TCP frame with these octets for options, which must fill whole words.
pub(super) fn frame_with_options(ip: &IpHeader, list: &[u8]) -> Vec<u8> {
    spoilt_segment(ip, |segment| {
        segment[12] = ((20 + list.len()) as u8 / 4) << 4;
        segment.extend(list);
    })
}

pub(super) fn refusal_of(frame: &[u8]) -> Result<(), DropReason> {
    parse(frame, ChecksumPolicy::Verify).map(|_| ())
}

/// The segment of a frame that must be good.
pub(super) fn segment_of(frame: &[u8]) -> (LinkHeader, IpHeader, Segment<'_>) {
    match parse(frame, ChecksumPolicy::Verify) {
        Ok(ParsedFrame { link, packet: Packet::Tcp(ip, segment) }) => (link, ip, segment),
        other => panic!("no TCP segment: {other:?}"),
    }
}
