//! What is written is read back; what is cut short is refused.

use super::*;
use crate::wire::{
    ArpPacket, Endpoint, FourTuple, IcmpMessage,
    arp::{self, Operation},
    ethernet::ETHER_TYPE_ARP,
    icmp::{self, ADVERTISEMENT_LEN, ECHO_HEADER_LEN},
    tcp_options::Timestamps,
};
use std::net::{Ipv4Addr, Ipv6Addr};

const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);

fn arp_request() -> ArpPacket {
    ArpPacket {
        operation: Operation::Request,
        sender_mac: THEIRS,
        sender_ip: Ipv4Addr::new(198, 18, 0, 2),
        target_mac: MacAddress::default(),
        target_ip: Ipv4Addr::new(198, 18, 0, 1),
    }
}

fn arp_frame(link: &LinkHeader, packet: &ArpPacket) -> Vec<u8> {
    let mut frame = vec![0xee; link.len() + arp::PACKET_LEN];
    packet.write(link.write(ETHER_TYPE_ARP, &mut frame));
    frame
}

pub(super) fn icmp_frame(ip: &IpHeader, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    seal_message(ip, &mut message, 2);
    ip_frame(&link(), ip, &message)
}

/// An echo request with identifier and sequence number 1, 2, 3, 4.
fn echo_frame(ip: &IpHeader, data: &[u8]) -> Vec<u8> {
    let kind = if ip.protocol == Protocol::Icmpv6 { 128 } else { 8 };
    icmp_frame(ip, kind, 0, &[&[1, 2, 3, 4], data].concat())
}

fn solicitation(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    [&[0; 4], &target.octets()[..], options].concat()
}

fn solicitor() -> IpHeader {
    IpHeader { hop_limit: 255, ..ip_v6(Protocol::Icmpv6) }
}

fn all_options() -> TcpOptions {
    TcpOptions {
        mss: Some(1_460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 0x0102_0304, echo: 0xf0f1_f2f3 }),
        ..TcpOptions::default()
    }
}

#[test]
fn arp_is_read_back_under_any_tags() {
    for count in 0..=2 {
        for packet in [arp_request(), arp_request().answered_by(OURS)] {
            let link = tagged(count);
            let frame = arp_frame(&link, &packet);
            assert_eq!(parse(&frame, ChecksumPolicy::Verify), Ok(ParsedFrame { link, packet: Packet::Arp(packet) }));
        }
    }
}

#[test]
fn an_arp_answer_turns_the_question_around() {
    let answer = arp_request().answered_by(OURS);
    assert_eq!(answer.operation, Operation::Reply);
    assert_eq!((answer.sender_mac, answer.sender_ip), (OURS, Ipv4Addr::new(198, 18, 0, 1)));
    assert_eq!((answer.target_mac, answer.target_ip), (THEIRS, Ipv4Addr::new(198, 18, 0, 2)));
}

#[test]
fn arp_with_ethernet_padding_is_read() {
    let mut frame = arp_frame(&link(), &arp_request());
    frame.resize(60, 0);
    assert_eq!(refusal_of(&frame), Ok(()));
}

#[test]
fn tcp_is_read_back_under_any_tags_with_any_payload() {
    for count in 0..=2 {
        for ip in both_for_tcp() {
            for options in [TcpOptions::default(), all_options()] {
                for payload in [&b""[..], b"x", b"even", &[0xa5; 1_000]] {
                    let (link, tcp) = (tagged(count), tcp_header(options));
                    let frame = tcp_frame(&link, &ip, &tcp, payload);
                    assert_eq!(
                        segment_of(&frame),
                        (link, ip, Segment { header: tcp, payload, traffic_class: ip.traffic_class })
                    );
                }
            }
        }
    }
}

#[test]
fn every_header_field_of_tcp_survives() {
    let ip = IpHeader { traffic_class: 0xb9, hop_limit: 1, ..ip_v6(Protocol::Tcp) };
    let tcp = TcpHeader {
        source_port: 1,
        destination_port: u16::MAX,
        seq: SeqNumber::new(u32::MAX),
        ack: SeqNumber::new(0),
        flags: TcpFlags::all(),
        window: u16::MAX,
        urgent: 0x1234,
        options: TcpOptions::default(),
    };
    let frame = tcp_frame(&link(), &ip, &tcp, b"");
    assert_eq!(
        segment_of(&frame),
        (link(), ip, Segment { header: tcp, payload: &[], traffic_class: ip.traffic_class })
    );
}

#[test]
fn a_payload_in_two_parts_is_one_payload() {
    let (ip, tcp) = (ip_v4(Protocol::Tcp), tcp_header(TcpOptions::default()));
    let whole = tcp_frame(&link(), &ip, &tcp, b"a ring that wraps");
    for at in 0..=17 {
        let mut frame = vec![0; whole.len()];
        let parts = b"a ring that wraps".split_at(at);
        assert_eq!(write_tcp(&link(), &ip, &tcp, parts, &mut frame), whole.len());
        assert_eq!(frame, whole, "split at {at}");
    }
}

#[test]
fn sequence_space_counts_syn_fin_and_data() {
    let (ip, bare) = (ip_v4(Protocol::Tcp), tcp_header(TcpOptions::default()));
    for (flags, payload, length) in [
        (TcpFlags::ACK, &b""[..], 0),
        (TcpFlags::SYN, b"", 1),
        (TcpFlags::FIN | TcpFlags::ACK, b"ab", 3),
        (TcpFlags::SYN | TcpFlags::FIN, b"abc", 5),
    ] {
        let frame = tcp_frame(&link(), &ip, &TcpHeader { flags, ..bare }, payload);
        let (_, _, segment) = segment_of(&frame);
        assert_eq!((segment.len(), segment.is_empty()), (length, length == 0), "{flags}");
    }
}

#[test]
fn the_four_tuple_of_a_segment_is_seen_from_our_side() {
    let (ip, tcp) = (ip_v4(Protocol::Tcp), tcp_header(TcpOptions::default()));
    let tuple = FourTuple::of_received(&ip, &tcp);
    assert_eq!(tuple.local, Endpoint { address: ip.destination, port: 80 });
    assert_eq!(tuple.to_string(), "198.18.0.1:80 <-> 198.18.0.2:49152");
    assert_eq!(tuple.reversed().to_string(), "198.18.0.2:49152 <-> 198.18.0.1:80");
}

#[test]
fn an_echo_request_is_read_and_its_reply_adds_up() {
    for ip in [ip_v4(Protocol::Icmpv4), ip_v6(Protocol::Icmpv6)] {
        for data in [&b""[..], b"odd", b"even"] {
            let expected = Packet::Icmp(ip, IcmpMessage::EchoRequest { identifier: [1, 2, 3, 4], data });
            let frame = echo_frame(&ip, data);
            assert_eq!(parse(&frame, ChecksumPolicy::Verify), Ok(ParsedFrame { link: link(), packet: expected }));

            let mut reply = vec![0xee; ECHO_HEADER_LEN + data.len()];
            reply[ECHO_HEADER_LEN..].copy_from_slice(data);
            icmp::write_echo_reply(&ip, [1, 2, 3, 4], &mut reply);
            let kind = if ip.protocol == Protocol::Icmpv6 { 129 } else { 0 };
            assert_eq!(reply[..2], [kind, 0]);
            assert_eq!(reply[4..], [&[1, 2, 3, 4], data].concat());
            let covered = if ip.protocol == Protocol::Icmpv6 { with_pseudo_header(&ip, &reply) } else { reply.clone() };
            assert_eq!(reference_checksum(&covered), 0);
        }
    }
}

#[test]
fn a_solicitation_is_read_with_or_without_options() {
    for options in [&[][..], &[1, 1, 2, 0, 0, 0, 0, 2], &[14, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let frame = icmp_frame(&solicitor(), 135, 0, &solicitation(TARGET, options));
        let expected = Packet::Icmp(solicitor(), IcmpMessage::NeighbourSolicitation { target: TARGET });
        assert_eq!(parse(&frame, ChecksumPolicy::Verify), Ok(ParsedFrame { link: link(), packet: expected }));
    }
}

#[test]
fn an_advertisement_is_written_as_rfc_4861_draws_it() {
    for (solicited, flags) in [(true, 0x60), (false, 0x20)] {
        let mut message = [0xee; ADVERTISEMENT_LEN];
        icmp::write_advertisement(&solicitor(), TARGET, solicited, OURS, &mut message);
        assert_eq!(message[..2], [136, 0]);
        assert_eq!(message[4..8], [flags, 0, 0, 0]);
        assert_eq!(message[8..24], TARGET.octets());
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(reference_checksum(&with_pseudo_header(&solicitor(), &message)), 0);
        let read = Packet::Icmp(solicitor(), IcmpMessage::NeighbourAdvertisement { target: TARGET, mac: Some(OURS) });
        let frame = ip_frame(&link(), &solicitor(), &message);
        assert_eq!(parse(&frame, ChecksumPolicy::Verify), Ok(ParsedFrame { link: link(), packet: read }));
    }
}

#[test]
fn bad_icmp_is_refused_by_reason() {
    use DropReason::{BadIcmpChecksum, IgnoredIcmp, MalformedNeighbour, MalformedQuote, TruncatedIcmp};
    let (v4, v6, near) = (ip_v4(Protocol::Icmpv4), ip_v6(Protocol::Icmpv6), solicitor());
    let far = IpHeader { hop_limit: 254, ..near };
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    let mut damaged = echo_frame(&v4, b"data");
    *damaged.last_mut().unwrap() ^= 1;
    let cases = [
        ("one octet changed", damaged, BadIcmpChecksum),
        ("IPv4, seven octets", ip_frame(&link(), &v4, &[8, 0, 0, 0, 0, 0, 0]), TruncatedIcmp),
        ("IPv6, seven octets", ip_frame(&link(), &v6, &[128, 0, 0, 0, 0, 0, 0]), TruncatedIcmp),
        ("an echo with a code", icmp_frame(&v4, 8, 1, &[0; 4]), IgnoredIcmp),
        ("an echo reply", icmp_frame(&v4, 0, 0, &[0; 4]), IgnoredIcmp),
        ("ICMPv4's echo over IPv6", icmp_frame(&v6, 8, 0, &[0; 4]), IgnoredIcmp),
        ("ICMPv6's echo over IPv4", icmp_frame(&v4, 128, 0, &[0; 4]), IgnoredIcmp),
        ("unreachable for a reason unheard of", icmp_frame(&v4, 3, 16, &[0; 32]), IgnoredIcmp),
        ("unreachable, quoting nonsense", icmp_frame(&v4, 3, 1, &[0; 32]), MalformedQuote),
        ("a solicitation through a router", icmp_frame(&far, 135, 0, &solicitation(TARGET, &[])), MalformedNeighbour),
        ("a solicitation with a code", icmp_frame(&near, 135, 1, &solicitation(TARGET, &[])), MalformedNeighbour),
        ("a solicitation of a group", icmp_frame(&near, 135, 0, &solicitation(group, &[])), MalformedNeighbour),
        ("a target cut short", icmp_frame(&near, 135, 0, &[0; 19]), MalformedNeighbour),
        ("an option of no length", icmp_frame(&near, 135, 0, &solicitation(TARGET, &[1, 0])), MalformedNeighbour),
        ("an option beyond the end", icmp_frame(&near, 135, 0, &solicitation(TARGET, &[1, 1])), MalformedNeighbour),
        ("half an option", icmp_frame(&near, 135, 0, &solicitation(TARGET, &[1])), MalformedNeighbour),
    ];
    for (name, frame, reason) in cases {
        assert_eq!(refusal_of(&frame), Err(reason), "{name}");
    }
}

#[test]
fn malformed_arp_is_refused() {
    let at = link().len();
    for (name, octet, value) in [
        ("hardware other than Ethernet", at + 1, 6),
        ("a protocol other than IPv4", at + 2, 0x86),
        ("a hardware address of eight octets", at + 4, 8),
        ("a protocol address of sixteen octets", at + 5, 16),
        ("operation zero", at + 7, 0),
        ("a reverse request", at + 7, 3),
        ("an operation beyond an octet", at + 6, 1),
    ] {
        let mut frame = arp_frame(&link(), &arp_request());
        frame[octet] = value;
        assert_eq!(refusal_of(&frame), Err(DropReason::MalformedArp), "{name}");
    }
}

/// The reason for which the first `length` octets of a good frame are refused.
fn truncation(link: &LinkHeader, is_arp: bool, ip_len: usize, length: usize) -> DropReason {
    if length < link.len() {
        DropReason::TruncatedEthernet
    } else if is_arp {
        DropReason::MalformedArp
    } else if length < link.len() + ip_len {
        DropReason::TruncatedIp
    } else {
        DropReason::BadIpLength
    }
}

#[test]
fn a_frame_cut_short_anywhere_is_refused() {
    for count in 0..=2 {
        let link = tagged(count);
        let mut good = vec![(arp_frame(&link, &arp_request()), true, 0)];
        for ip in both_for_tcp() {
            good.push((tcp_frame(&link, &ip, &tcp_header(all_options()), b"payload"), false, ip.len()));
        }
        for (frame, is_arp, ip_len) in good {
            assert_eq!(refusal_of(&frame), Ok(()));
            for length in 0..frame.len() {
                let reason = truncation(&link, is_arp, ip_len, length);
                assert_eq!(refusal_of(&frame[..length]), Err(reason), "{length} of {} octets", frame.len());
            }
        }
    }
}

#[test]
fn an_icmp_frame_cut_short_anywhere_is_refused() {
    let frames = [
        echo_frame(&ip_v4(Protocol::Icmpv4), b"data"),
        echo_frame(&ip_v6(Protocol::Icmpv6), b"data"),
        icmp_frame(&solicitor(), 135, 0, &solicitation(TARGET, &[1, 1, 2, 0, 0, 0, 0, 2])),
    ];
    for frame in frames {
        let ip_len = if frame[IP] >> 4 == 4 { 20 } else { 40 };
        for length in 0..frame.len() {
            let reason = truncation(&link(), false, ip_len, length);
            assert_eq!(refusal_of(&frame[..length]), Err(reason), "{length} of {} octets", frame.len());
        }
    }
}

#[test]
fn a_tcp_header_cut_short_inside_an_honest_packet_is_refused() {
    for ip in both_for_tcp() {
        let mut segment = vec![0; tcp_header(all_options()).len()];
        tcp_header(all_options()).write(&ip, &mut segment);
        for length in 0..segment.len() {
            let frame = ip_frame(&link(), &ip, &segment[..length]);
            assert_eq!(refusal_of(&frame), Err(DropReason::TruncatedTcp), "{length} octets");
        }
        assert_eq!(refusal_of(&ip_frame(&link(), &ip, &segment)), Ok(()));
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    for ip in both_for_tcp() {
        let mut frame = tcp_frame(&link(), &ip, &tcp_header(TcpOptions::default()), b"x");
        frame.resize(frame.len() + 20, 0xff);
        let (_, _, segment) = segment_of(&frame);
        assert_eq!(segment.payload, b"x");
    }
}

#[test]
fn x_rsv_1_reserved_bits_are_ignored_when_received_and_zero_when_sent() {
    for ip in both_for_tcp() {
        let plain = spoilt_segment(&ip, |_| ());
        let reserved = link().len() + ip.len() + 12;
        assert_eq!(plain[reserved] & 0xf, 0);
        for bits in 1..16 {
            let frame = spoilt_segment(&ip, |segment| segment[12] |= bits);
            assert_eq!(segment_of(&frame), segment_of(&plain));
        }
    }
}

#[test]
fn a_solicited_node_group_takes_the_last_three_octets() {
    // RFC 4291's own example (§2.7.1), and its station by RFC 2464 §7.
    let (group, station) = icmp::solicited_node("4037::1:800:200e:8c6c".parse().unwrap());
    assert_eq!(
        (group.to_string(), station.to_string()),
        ("ff02::1:ff0e:8c6c".to_owned(), "33:33:ff:0e:8c:6c".to_owned())
    );
}
