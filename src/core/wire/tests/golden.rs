//! One frame of each IP version, octet by octet, computed by other means than this crate.

use super::*;
use crate::wire::tcp_options::Timestamps;

/// A SYN with DSCP 10.
const SYN_OVER_IPV4: [u8; 58] = [
    // Ethernet
    0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x08, 0x00, //
    // IPv4
    0x45, 0x28, 0x00, 0x2c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x06, 0xae, 0x7c, //
    0xc6, 0x12, 0x00, 0x02, 0xc6, 0x12, 0x00, 0x01, //
    // TCP: ports, sequence, acknowledgment, offset and flags, window, checksum, urgent pointer, MSS
    0xc0, 0x00, 0x00, 0x50, 0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x00, 0x60, 0x02, 0xfa, 0xf0, //
    0x4c, 0xb7, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4,
];

/// Data with timestamps, and the same DSCP, which IPv6 keeps across an octet's boundary.
const DATA_OVER_IPV6: [u8; 91] = [
    // Ethernet
    0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 0x86, 0xdd, //
    // IPv6
    0x62, 0x80, 0x00, 0x00, 0x00, 0x25, 0x06, 0x40, //
    0x20, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, //
    0x20, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, //
    // TCP
    0xc0, 0x00, 0x00, 0x50, 0x01, 0x02, 0x03, 0x05, 0xff, 0xff, 0xff, 0xfe, 0x80, 0x18, 0x04, 0x00, //
    0x2a, 0x6f, 0x00, 0x00, 0x01, 0x01, 0x08, 0x0a, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x09, //
    // "hello"
    0x68, 0x65, 0x6c, 0x6c, 0x6f,
];

fn syn() -> (IpHeader, TcpHeader) {
    let ip = IpHeader { traffic_class: 0x28, ..ip_v4(Protocol::Tcp) };
    let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    (ip, TcpHeader { ack: SeqNumber::default(), flags: TcpFlags::SYN, ..tcp_header(options) })
}

fn data() -> (IpHeader, TcpHeader) {
    let ip = IpHeader { traffic_class: 0x28, ..ip_v6(Protocol::Tcp) };
    let options = TcpOptions { timestamps: Some(Timestamps { value: 7, echo: 9 }), ..TcpOptions::default() };
    let seq = SeqNumber::new(0x0102_0305);
    (ip, TcpHeader { seq, window: 1_024, ..tcp_header(options) })
}

#[test]
fn the_golden_checksums_satisfy_the_reference() {
    assert_eq!(reference_checksum(&SYN_OVER_IPV4[14..34]), 0);
    assert_eq!(reference_checksum(&with_pseudo_header(&syn().0, &SYN_OVER_IPV4[34..])), 0);
    assert_eq!(reference_checksum(&with_pseudo_header(&data().0, &DATA_OVER_IPV6[54..])), 0);
}

#[test]
fn the_golden_ipv4_frame_is_understood() {
    let (ip, tcp) = syn();
    assert_eq!(
        segment_of(&SYN_OVER_IPV4),
        (link(), ip, Segment { header: tcp, payload: &[], traffic_class: ip.traffic_class })
    );
}

#[test]
fn the_golden_ipv6_frame_is_understood() {
    let (ip, tcp) = data();
    assert_eq!(
        segment_of(&DATA_OVER_IPV6),
        (link(), ip, Segment { header: tcp, payload: b"hello", traffic_class: ip.traffic_class })
    );
}

#[test]
fn must_2_the_golden_frames_are_what_is_written() {
    let (ip, tcp) = syn();
    assert_eq!(tcp_frame(&link(), &ip, &tcp, b""), SYN_OVER_IPV4);
    let (ip, tcp) = data();
    assert_eq!(tcp_frame(&link(), &ip, &tcp, b"hello"), DATA_OVER_IPV6);
}
