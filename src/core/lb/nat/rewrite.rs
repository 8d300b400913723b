//! Other ends for packets, octet by octet: the model of `bpf/rewrite.h`.

use super::super::{
    flow::Kind,
    sight::{IPV4_LEN, IPV6_LEN, Sight},
};
use crate::{transport::Transport, wire::Endpoint};
use std::net::IpAddr;

/// Where the transport header is, behind an IP header of its own protocol and as much as is rewritten of it.
pub(super) fn transport_at(frame: &[u8], sight: &Sight) -> Option<usize> {
    let protocol = sight.flow.transport.number();
    let at = if sight.source.is_ipv4() {
        sight.ip_offset + usize::from(frame[sight.ip_offset] & 0xf) * 4
    } else if frame[sight.ip_offset + 6] == protocol {
        sight.ip_offset + IPV6_LEN
    } else {
        return None;
    };
    let length = if sight.flow.transport == Transport::Udp { 8 } else { 20 };
    (frame.len() >= at + length).then_some(at)
}

/// Gives a packet other ends; what an ICMP error quotes went the other way, and gets them the other way round.
pub(super) fn rewrite(frame: &mut [u8], sight: &Sight, from: Endpoint, to: Endpoint) {
    let is_ipv4 = from.address.is_ipv4();
    let end = sight.ip_offset + length_of(&frame[sight.ip_offset..], is_ipv4);
    let outer = rewrite_addresses(frame, sight.ip_offset, from.address, to.address);
    if sight.kind != Kind::Error {
        if is_ipv4 {
            amend(frame, sight.ip_offset + 10, outer);
        }
        let Some(at) = transport_at(frame, sight) else { return };
        let ports = rewrite_ports(frame, at, from.port, to.port);
        amend_transport(frame, at, sight.flow.transport, outer + ports);
        return;
    }
    let quote = sight.quote;
    let mut all = 0;
    let addresses = rewrite_addresses(frame, quote, to.address, from.address);
    if is_ipv4 {
        amend(frame, sight.ip_offset + 10, outer);
        all += amend(frame, quote + 10, addresses);
    } else {
        all += outer;
    }
    let at = quote + if is_ipv4 { IPV4_LEN } else { IPV6_LEN };
    let ends = addresses + rewrite_ports(frame, at, to.port, from.port);
    all += ends;
    let checksum = at + checksum_at(sight.flow.transport);
    if checksum + 2 <= end.min(frame.len()) {
        all += amend_transport(frame, at, sight.flow.transport, ends);
    }
    // An error's own checksum stands six octets before what it quotes.
    amend(frame, quote - 6, all);
}

fn length_of(packet: &[u8], is_ipv4: bool) -> usize {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if is_ipv4 { word(2) } else { word(4) + IPV6_LEN }
}

fn checksum_at(transport: Transport) -> usize {
    if transport == Transport::Udp { 6 } else { 16 }
}

fn rewrite_addresses(frame: &mut [u8], header: usize, source: IpAddr, destination: IpAddr) -> u64 {
    let at = header + if source.is_ipv4() { 12 } else { 8 };
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    replace(frame, at, &[octets(source), octets(destination)].concat())
}

fn rewrite_ports(frame: &mut [u8], at: usize, source: u16, destination: u16) -> u64 {
    replace(frame, at, &[source.to_be_bytes(), destination.to_be_bytes()].concat())
}

/// Writes words, and returns by how much a sum of words has grown by that (RFC 1624 equation 3).
fn replace(frame: &mut [u8], at: usize, with: &[u8]) -> u64 {
    let mut difference = 0;
    for (old, new) in frame[at..at + with.len()].chunks_exact_mut(2).zip(with.chunks_exact(2)) {
        let word = |octets: &[u8]| u16::from_ne_bytes([octets[0], octets[1]]);
        difference += u64::from(!word(old)) + u64::from(word(new));
        old.copy_from_slice(new);
    }
    difference
}

/// Makes up for a difference in a checksum, and returns the one that this makes.
fn amend(frame: &mut [u8], at: usize, difference: u64) -> u64 {
    let before = !u16::from_ne_bytes([frame[at], frame[at + 1]]);
    let mut sum = u64::from(before) + difference;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let after = !(sum as u16);
    frame[at..at + 2].copy_from_slice(&after.to_ne_bytes());
    u64::from(before) + u64::from(after)
}

/// Likewise for a transport's; in UDP 0 stands for none (RFC 768).
fn amend_transport(frame: &mut [u8], header: usize, transport: Transport, difference: u64) -> u64 {
    let at = header + checksum_at(transport);
    let is_zero = |frame: &[u8]| frame[at..at + 2] == [0, 0];
    if transport == Transport::Tcp {
        return amend(frame, at, difference);
    }
    if is_zero(frame) {
        return 0;
    }
    let before = !u16::from_ne_bytes([frame[at], frame[at + 1]]);
    amend(frame, at, difference);
    if is_zero(frame) {
        frame[at..at + 2].fill(0xff);
    }
    u64::from(before) + u64::from(u16::from_ne_bytes([frame[at], frame[at + 1]]))
}
