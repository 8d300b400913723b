//! Octets that nobody meant.

use super::*;
use crate::wire::{parse_any, parse_some, tcp_options::Timestamps};
use proptest::prelude::*;

/// Whether the octet at `at` of a frame without tags may change without anyone noticing: the addresses of Ethernet, and of
/// IPv6 the traffic class, the flow label and the hop limit, which no checksum covers.
fn is_unprotected(ip: &IpHeader, at: usize, bit: u8) -> bool {
    let is_ipv6 = ip.source.is_ipv6();
    match at {
        6 => bit != 0, // the lowest bit would make a group of the sender
        0..12 => true,
        14 => is_ipv6 && bit < 4,
        15..=17 | 21 => is_ipv6,
        _ => false,
    }
}

/// Flips one bit: where nothing protects it the frame is read with the same segment, and elsewhere it is refused.
fn flip(frame: &[u8], at: usize, bit: u8) -> Result<(), TestCaseError> {
    let (_, ip, segment) = segment_of(frame);
    let mut flipped = frame.to_vec();
    flipped[at] ^= 1 << bit;
    match parse(&flipped, ChecksumPolicy::Verify) {
        Ok(ParsedFrame { packet: Packet::Tcp(_, read), .. }) => {
            prop_assert!(is_unprotected(&ip, at, bit), "bit {} of octet {} went unnoticed", bit, at);
            // A router may change the traffic class, so nothing protects that.
            prop_assert_eq!(read, Segment { traffic_class: read.traffic_class, ..segment });
        }
        Ok(other) => prop_assert!(false, "bit {} of octet {} made another packet: {:?}", bit, at, other),
        Err(reason) => {
            prop_assert!(!is_unprotected(&ip, at, bit), "bit {} of octet {} is harmless: {:?}", bit, at, reason);
        }
    }
    Ok(())
}

#[test]
fn each_flipped_bit_of_a_frame_is_noticed_or_harmless() {
    for ip in both_for_tcp() {
        let options = TcpOptions { mss: Some(1_460), window_scale: Some(7), ..TcpOptions::default() };
        let frame = tcp_frame(&link(), &ip, &tcp_header(options), b"GET / HTTP/1.1");
        for at in 0..frame.len() {
            for bit in 0..8 {
                flip(&frame, at, bit).unwrap();
            }
        }
    }
}

/// A header that leads on into the parser, with anything behind it.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let v4 = [Protocol::Tcp, Protocol::Udp, Protocol::Icmpv4].map(ip_v4);
    let headers = [v4, [Protocol::Tcp, Protocol::Udp, Protocol::Icmpv6].map(ip_v6)].concat();
    let message = prop::collection::vec(any::<u8>(), 0..=120);
    (prop::sample::select(headers), message, any::<bool>(), 0usize..=2).prop_map(|(ip, mut message, seal, tags)| {
        let at = match ip.protocol {
            Protocol::Tcp => 16,
            Protocol::Udp => 6,
            Protocol::Icmpv4 | Protocol::Icmpv6 => 2,
        };
        if seal && message.len() >= at + 2 {
            seal_message(&ip, &mut message, at);
        }
        ip_frame(&tagged(tags), &ip, &message)
    })
}

proptest! {
    #![proptest_config(crate::rng::cases(256))]

    #[test]
    fn any_octets_are_read_or_refused(frame in prop::collection::vec(any::<u8>(), 0..=9_000)) {
        // Returning at all is what is tested; and random octets make no packet with a valid checksum.
        prop_assert!(parse(&frame, ChecksumPolicy::Verify).is_err());
        prop_assert!(parse(&frame, ChecksumPolicy::AcceptPartial).is_err());
    }

    #[test]
    fn any_octets_behind_a_good_header_are_read_or_refused(frame in plausible()) {
        if let Ok(ParsedFrame { link, packet: Packet::Tcp(ip, segment) }) = parse(&frame, ChecksumPolicy::Verify) {
            let message = &frame[link.len() + ip.len()..];
            prop_assert_eq!(reference_checksum(&with_pseudo_header(&ip, message)), 0);
            prop_assert!(message[20..].ends_with(segment.payload));
            prop_assert!(segment.header.source_port != 0 && segment.header.destination_port != 0);
        }
    }

    #[test]
    fn what_the_usual_way_reads_any_way_does(
        options in prop::sample::select(vec![
            TcpOptions::default(),
            TcpOptions { timestamps: Some(Timestamps { value: 7, echo: 9 }), ..TcpOptions::default() },
            TcpOptions { sack_permitted: true, ..TcpOptions::default() },
        ]),
        payload in prop::collection::vec(any::<u8>(), 0..=200),
        is_ipv6 in any::<bool>(),
        tags in 0usize..=1,
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let ip = both_for_tcp()[usize::from(is_ipv6)];
        let mut frame = tcp_frame(&tagged(tags), &ip, &tcp_header(options), &payload);
        if let Some((at, octet)) = change {
            let headers = frame.len().min(60);
            frame[at.index(headers)] = octet;
        }
        for policy in [ChecksumPolicy::Verify, ChecksumPolicy::AcceptPartial] {
            let any = parse_any(&frame, policy);
            let usual = parse_some::<true>(&frame, policy).ok();
            prop_assert!(usual.is_none() || usual == any.ok(), "{:?} is not {:?}", usual, any);
            let is_usual = tags == 0 && !options.sack_permitted && any.is_ok();
            prop_assert!(change.is_some() || usual.is_some() == is_usual);
            prop_assert_eq!(parse(&frame, policy), any);
        }
    }

    #[test]
    fn any_octets_behind_an_ether_type_are_read_or_refused(
        kind in prop::sample::select(vec![0x0806u16, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6]),
        version in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60]),
        mut packet in prop::collection::vec(any::<u8>(), 1..=200),
    ) {
        packet[0] = version;
        if version < 0x50 && packet.len() >= 20 {
            seal_ipv4(&mut packet);
        }
        let mut frame = vec![0; link().len() + packet.len()];
        link().write(kind, &mut frame).copy_from_slice(&packet);
        // An ARP packet begins otherwise, and the two versions are told apart.
        let wrong = kind == 0x0806 || (kind == ETHER_TYPE_IPV4) != (version < 0x50);
        prop_assert!(!wrong || refusal_of(&frame).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed_or_harmless_in_any_frame(
        payload in prop::collection::vec(any::<u8>(), 0..=200),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        is_ipv6 in any::<bool>(),
    ) {
        let ip = both_for_tcp()[usize::from(is_ipv6)];
        let frame = tcp_frame(&link(), &ip, &tcp_header(TcpOptions::default()), &payload);
        flip(&frame, at.index(frame.len()), bit)?;
    }
}
