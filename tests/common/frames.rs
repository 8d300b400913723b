//! Frames for the XDP program to judge and the stack to answer: made by hand where the stack would never write such a thing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xskip::wire::{
    ArpPacket, IpHeader, LinkHeader, MacAddress, Protocol, SeqNumber, TcpFlags, TcpHeader, TcpOptions, arp,
    checksum::Checksum,
    ethernet::{ETHER_TYPE_ARP, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, VlanTag, VlanTags},
    icmp, write_tcp,
};

pub const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x2, 0, 0, 0, 0, 0, 0x1);
pub const SHARED_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
pub const SHARED_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x2, 0, 0, 0, 0, 0, 0xfe);
pub const FOREIGN_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 77);
pub const FOREIGN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x2, 0, 0, 0, 0, 0, 0x77);
pub const PEER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub const PEER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x2, 0, 0, 0, 0, 0, 0x2);
pub const PORT: u16 = 80;

pub const OURS: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x01]);
pub const PEER: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x02]);

pub const ICMPV4: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const IPV6_FRAGMENT: u8 = 44;
pub const DESTINATION: u8 = 60;

pub fn ethernet(tags: &[u16], ether_type: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = [OURS.0, PEER.0].concat();
    for (number, tag) in (1u16..).zip(tags) {
        frame.extend(tag.to_be_bytes());
        frame.extend((number * 10).to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A frame with these tags put in: what kind each is, and what it says.
pub fn with_tags(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|&(kind, control)| [kind.to_be_bytes(), control.to_be_bytes()].concat());
    [&frame[..12], &tags.collect::<Vec<_>>(), &frame[12..]].concat()
}

pub fn ipv4(destination: Ipv4Addr, protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0; header_len];
    packet[0] = 0x40 | (header_len / 4) as u8;
    packet[2..4].copy_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[8..10].copy_from_slice(&[64, protocol]);
    packet[12..16].copy_from_slice(&PEER_V4.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    packet[20..].copy_from_slice(options);
    let checksum = Checksum::of(&packet).field();
    packet[10..12].copy_from_slice(&checksum);
    packet.extend(payload);
    ethernet(&[], ETHER_TYPE_IPV4, &packet)
}

pub fn ipv6(destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 255]);
    packet.extend(PEER_V6.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    ethernet(&[], ETHER_TYPE_IPV6, &packet)
}

/// What stands behind the IP header: enough of TCP or UDP, which begin alike.
pub fn ports(destination: u16) -> Vec<u8> {
    let mut segment = vec![0; 20];
    segment[..2].copy_from_slice(&40_000u16.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.to_be_bytes());
    segment[12] = 0x50;
    segment
}

/// A SYN as the stack itself would write one.
pub fn syn(destination: IpAddr, port: u16, tags: &[u16]) -> Vec<u8> {
    let vlan = tags.iter().fold(VlanTags::default(), |tags, &protocol| {
        tags.with(VlanTag { protocol, control: 10 }).expect("a frame has at most two tags")
    });
    let link = LinkHeader { destination: OURS, source: PEER, vlan, ..LinkHeader::default() };
    let source: IpAddr = if destination.is_ipv4() { PEER_V4.into() } else { PEER_V6.into() };
    let tcp = TcpHeader {
        source_port: 40_000,
        destination_port: port,
        seq: SeqNumber::new(1),
        flags: TcpFlags::SYN,
        window: 64_240,
        options: TcpOptions { mss: Some(1_460), ..TcpOptions::default() },
        ..TcpHeader::default()
    };
    let mut buffer = vec![0; 200];
    let length = write_tcp(&link, &IpHeader::new(source, destination, Protocol::Tcp), &tcp, (&[], &[]), &mut buffer);
    buffer.truncate(length);
    buffer
}

pub fn arp_packet(operation: arp::Operation, target_ip: Ipv4Addr) -> Vec<u8> {
    let packet =
        ArpPacket { operation, sender_mac: PEER, sender_ip: PEER_V4, target_mac: MacAddress::default(), target_ip };
    let mut bytes = vec![0; arp::PACKET_LEN];
    packet.write(&mut bytes);
    bytes
}

pub fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    ethernet(&[], ETHER_TYPE_ARP, &arp_packet(arp::Operation::Request, target))
}

/// The multicast group where neighbours ask for an address (RFC 4291 §2.7.1).
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., high, middle, low] = target.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(high), u16::from_be_bytes([middle, low]))
}

/// A neighbour solicitation with its sender's link-layer address.
pub fn solicitation(destination: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(PEER.0);
    let sum = Checksum::pseudo_header(PEER_V6.into(), destination.into(), ICMPV6, message.len());
    let field = sum.with(&message).field();
    message[2..4].copy_from_slice(&field);
    ipv6(destination, ICMPV6, &message)
}

pub fn advertisement(destination: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let ip = IpHeader::new(PEER_V6.into(), destination.into(), Protocol::Icmpv6);
    let mut message = vec![0; icmp::ADVERTISEMENT_LEN];
    icmp::write_advertisement(&ip, target, true, PEER, &mut message);
    ipv6(destination, ICMPV6, &message)
}
