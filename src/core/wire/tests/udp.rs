//! UDP: written, read back, and refused.

use super::*;
use crate::wire::{Datagram, udp};

fn both() -> [IpHeader; 2] {
    [ip_v4(Protocol::Udp), ip_v6(Protocol::Udp)]
}

fn frame(ip: &IpHeader, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; udp::frame_len(&link(), ip, payload.len())];
    udp::write(&link(), ip, (5_353, 7), payload, &mut frame);
    frame
}

#[track_caller]
fn datagram_of(frame: &[u8], policy: ChecksumPolicy) -> Datagram<'_> {
    match parse(frame, policy) {
        Ok(ParsedFrame { packet: Packet::Udp(_, datagram), .. }) => datagram,
        other => panic!("a datagram was expected: {other:?}"),
    }
}

/// A frame whose datagram `change` has spoilt, with a right checksum nevertheless.
fn spoilt(ip: &IpHeader, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut datagram = frame(ip, b"data").split_off(IP + ip.len());
    change(&mut datagram);
    if datagram.len() >= 8 {
        seal_message(ip, &mut datagram, 6);
    }
    ip_frame(&link(), ip, &datagram)
}

#[test]
fn udp_is_read_back_with_a_checksum_that_adds_up() {
    for ip in both() {
        for payload in [&b""[..], b"x", b"even", &[0xa5; 1_001]] {
            let frame = frame(&ip, payload);
            let expected = Datagram { source_port: 5_353, destination_port: 7, payload };
            assert_eq!(datagram_of(&frame, ChecksumPolicy::Verify), expected);
            assert_eq!(reference_checksum(&with_pseudo_header(&ip, &frame[IP + ip.len()..])), 0);
        }
    }
}

#[test]
fn a_checksum_of_zero_is_sent_as_ones() {
    for ip in both() {
        // Data that bring the sum to its most, found by trying; the field would then be zero.
        let found = (0..=u16::MAX).find(|number| {
            let frame = frame(&ip, &number.to_be_bytes());
            frame[IP + ip.len() + 6..][..2] == [0xff; 2]
        });
        let frame = frame(&ip, &found.expect("there is one in 65,536").to_be_bytes());
        datagram_of(&frame, ChecksumPolicy::Verify);
    }
}

#[test]
fn no_checksum_is_a_right_of_ipv4_only() {
    let [v4, v6] = both();
    let without = |ip: &IpHeader| {
        let mut frame = frame(ip, b"data");
        frame[IP + ip.len() + 6..][..2].fill(0);
        frame
    };
    assert_eq!(datagram_of(&without(&v4), ChecksumPolicy::Verify).payload, b"data");
    assert_eq!(refusal_of(&without(&v6)), Err(DropReason::BadUdpChecksum));
}

#[test]
fn a_udp_checksum_that_does_not_add_up_is_refused_whichever_octet_is_wrong() {
    for ip in both() {
        let start = IP + ip.len();
        // The length is judged first.
        for octet in (start..frame(&ip, b"data").len()).filter(|octet| !(start + 4..start + 6).contains(octet)) {
            let mut frame = frame(&ip, b"data");
            frame[octet] ^= 0x04;
            assert_eq!(refusal_of(&frame), Err(DropReason::BadUdpChecksum), "octet {octet}");
        }
    }
}

#[test]
fn a_partial_udp_checksum_is_good_on_veth_only() {
    for ip in both() {
        let mut frame = frame(&ip, b"data");
        let start = IP + ip.len();
        let covered = with_pseudo_header(&ip, &frame[start..]);
        let sum = !reference_checksum(&covered[..covered.len() - (frame.len() - start)]);
        frame[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(refusal_of(&frame), Err(DropReason::BadUdpChecksum));
        assert_eq!(datagram_of(&frame, ChecksumPolicy::AcceptPartial).payload, b"data");
        frame[start + 7] ^= 1;
        assert_eq!(parse(&frame, ChecksumPolicy::AcceptPartial), Err(DropReason::BadUdpChecksum));
    }
}

#[test]
fn an_illegal_udp_header_is_refused() {
    use DropReason::{BadUdpLength, PortZero, TruncatedUdp};
    type Case = (&'static str, fn(&mut Vec<u8>), DropReason);
    const CASES: &[Case] = &[
        ("no octets", |datagram| datagram.clear(), TruncatedUdp),
        ("seven octets", |datagram| datagram.truncate(7), TruncatedUdp),
        ("length 0", |datagram| datagram[4..6].fill(0), BadUdpLength),
        ("length 7", |datagram| datagram[4..6].copy_from_slice(&[0, 7]), BadUdpLength),
        ("a length beyond the packet", |datagram| datagram[5] += 1, BadUdpLength),
        ("the greatest length", |datagram| datagram[4..6].fill(0xff), BadUdpLength),
        ("to port zero", |datagram| datagram[2..4].fill(0), PortZero),
    ];
    for ip in both() {
        for (name, change, reason) in CASES {
            assert_eq!(refusal_of(&spoilt(&ip, change)), Err(*reason), "{name}");
        }
        let silent = spoilt(&ip, |datagram| datagram[0..2].fill(0));
        assert_eq!(datagram_of(&silent, ChecksumPolicy::Verify).source_port, 0, "it wants no answer");
    }
}

#[test]
fn what_follows_a_datagram_in_its_packet_is_no_data() {
    for ip in both() {
        let mut datagram = frame(&ip, b"data").split_off(IP + ip.len());
        datagram.extend([0xff; 9]);
        assert_eq!(datagram_of(&ip_frame(&link(), &ip, &datagram), ChecksumPolicy::Verify).payload, b"data");
    }
}
