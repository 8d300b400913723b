//! The glance agrees with the parser on whatever it claims to have seen.

use crate::wire::{
    ChecksumPolicy, Endpoint, FourTuple, IpHeader, LinkHeader, MacAddress, Packet, Protocol, SeqNumber, TcpFlags,
    TcpHeader, TcpOptions,
    ethernet::{VlanTag, VlanTags},
    parse, peek_flow, write_tcp,
};
use proptest::prelude::*;
use std::net::IpAddr;

fn segment(vlan: VlanTags, tuple: &FourTuple) -> Vec<u8> {
    let (source, destination) = (MacAddress([2, 0, 0, 0, 0, 2]), MacAddress([2, 0, 0, 0, 0, 1]));
    let ip = IpHeader::new(tuple.remote.address, tuple.local.address, Protocol::Tcp);
    let tcp = TcpHeader {
        source_port: tuple.remote.port,
        destination_port: tuple.local.port,
        seq: SeqNumber::new(1),
        ack: SeqNumber::new(2),
        flags: TcpFlags::ACK,
        window: 3,
        urgent: 0,
        options: TcpOptions::default(),
    };
    let mut frame = vec![0; 128];
    let length = write_tcp(
        &LinkHeader { source, destination, vlan, ..LinkHeader::default() },
        &ip,
        &tcp,
        (&[], &[]),
        &mut frame,
    );
    frame.truncate(length);
    frame
}

fn tuple(local: &str, remote: &str) -> FourTuple {
    let end = |text: &str| {
        let socket: std::net::SocketAddr = text.parse().unwrap();
        Endpoint { address: socket.ip(), port: socket.port() }
    };
    FourTuple { local: end(local), remote: end(remote) }
}

fn tuples() -> [FourTuple; 2] {
    [tuple("198.18.0.1:80", "198.18.0.2:40001"), tuple("[2001:2::1]:80", "[2001:2::2]:40001")]
}

#[test]
fn plain_segments_are_seen() {
    for tuple in tuples() {
        assert_eq!(peek_flow(&segment(VlanTags::default(), &tuple)), Some(tuple));
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_parser() {
    let tag = VlanTags::default().with(VlanTag { protocol: 0x8100, control: 10 }).unwrap();
    for tuple in tuples() {
        assert_eq!(peek_flow(&segment(tag, &tuple)), None, "a tag");
        let whole = segment(VlanTags::default(), &tuple);
        let ports_end = whole.len() - 16;
        for length in 0..ports_end {
            assert_eq!(peek_flow(&whole[..length]), None, "cut off at {length}");
        }
        let protocol_at = if tuple.local.address.is_ipv4() { 23 } else { 20 };
        let mut other = whole.clone();
        other[protocol_at] = Protocol::Udp.number();
        assert_eq!(peek_flow(&other), None, "not TCP");
        let mut version = whole;
        version[14] ^= 0x10;
        assert_eq!(peek_flow(&version), None, "the wrong version");
    }
    for (offset, bits, what) in [(14, 0x03, "options"), (20, 0x20, "a first fragment"), (21, 0x01, "a later fragment")]
    {
        let mut frame = segment(VlanTags::default(), &tuples()[0]);
        frame[offset] |= bits;
        assert_eq!(peek_flow(&frame), None, "{what}");
    }
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn the_glance_never_contradicts_the_parser(
        v6: bool, local: [u8; 16], remote: [u8; 16], ports: (u16, u16), at in 0usize..80, flip: u8,
    ) {
        let address = |octets: [u8; 16]| match v6 {
            true => IpAddr::from(octets),
            false => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
        };
        let tuple = FourTuple {
            local: Endpoint { address: address(local), port: ports.0 },
            remote: Endpoint { address: address(remote), port: ports.1 },
        };
        let mut frame = segment(VlanTags::default(), &tuple);
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= flip;
        }
        if let Ok(parsed) = parse(&frame, ChecksumPolicy::AcceptPartial)
            && let Some(seen) = peek_flow(&frame)
        {
            let Packet::Tcp(ip, segment) = parsed.packet else { panic!("a segment was seen in {frame:02x?}") };
            prop_assert_eq!(seen, FourTuple::of_received(&ip, &segment.header));
        }
    }
}
