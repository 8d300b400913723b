//! Every illegal value of every header field, with the reason it is refused for.

use super::*;
use crate::wire::InterfaceId;
use DropReason::{
    BadDataOffset, BadExtensionHeaders, BadIpChecksum, BadIpHeaderLength, BadIpLength, BadTcpChecksum, Fragment,
    GroupSourceMac, InvalidSource, PartialTcpChecksum, PortZero, TooManyVlanTags, TruncatedEthernet, TruncatedIp,
    TruncatedTcp, UnknownEtherType, UnknownIpOption, UnknownProtocol, WrongIpVersion,
};

/// What is wrong, how it got that way, and what is to be said about it.
type Case = (&'static str, fn(&mut Vec<u8>), DropReason);

fn good(ip: &IpHeader) -> Vec<u8> {
    tcp_frame(&link(), ip, &tcp_header(TcpOptions::default()), b"data")
}

#[test]
fn an_illegal_ethernet_header_is_refused() {
    const CASES: &[Case] = &[
        ("no octets", |frame| frame.clear(), TruncatedEthernet),
        ("addresses only", |frame| frame.truncate(12), TruncatedEthernet),
        ("half an EtherType", |frame| frame.truncate(13), TruncatedEthernet),
        ("a tag without a frame", |frame| frame.splice(12.., [0x81, 0, 0, 1]).for_each(drop), TruncatedEthernet),
        ("half a tag", |frame| frame.splice(12.., [0x81, 0, 0]).for_each(drop), TruncatedEthernet),
        ("a group as source", |frame| frame[6] |= 1, GroupSourceMac),
        ("broadcast as source", |frame| frame[6..12].fill(0xff), GroupSourceMac),
        ("another EtherType", |frame| frame[12..14].copy_from_slice(&[0x88, 0xcc]), UnknownEtherType),
        ("an 802.3 length", |frame| frame[12..14].copy_from_slice(&[0, 46]), UnknownEtherType),
        ("three tags", |frame| add_tags(frame, 3), TooManyVlanTags),
        ("four tags", |frame| add_tags(frame, 4), TooManyVlanTags),
    ];
    for ip in both_for_tcp() {
        for (name, change, reason) in CASES {
            let mut frame = good(&ip);
            change(&mut frame);
            assert_eq!(refusal_of(&frame), Err(*reason), "{name}");
        }
    }
}

fn add_tags(frame: &mut Vec<u8>, count: usize) {
    for _ in 0..count {
        frame.splice(12..12, [0x81, 0, 0, 1]).for_each(drop);
    }
}

#[test]
fn two_tags_are_not_too_many() {
    let mut frame = good(&ip_v4(Protocol::Tcp));
    add_tags(&mut frame, 2);
    assert_eq!(segment_of(&frame).0.vlan.as_slice().len(), 2);
}

#[test]
fn an_ether_type_and_a_version_that_disagree_are_refused() {
    let mut frame = good(&ip_v4(Protocol::Tcp));
    frame[12..14].copy_from_slice(&ETHER_TYPE_IPV6.to_be_bytes());
    assert_eq!(refusal_of(&frame), Err(WrongIpVersion));
    let mut frame = good(&ip_v6(Protocol::Tcp));
    frame[12..14].copy_from_slice(&ETHER_TYPE_IPV4.to_be_bytes());
    assert_eq!(refusal_of(&frame), Err(WrongIpVersion));
}

/// These get a right header checksum after the change, so that it cannot be what is complained of.
#[test]
fn an_illegal_ipv4_header_is_refused() {
    const CASES: &[Case] = &[
        ("version 5", |packet| packet[0] = 0x55, WrongIpVersion),
        ("version 0", |packet| packet[0] = 0x05, WrongIpVersion),
        ("header length 0", |packet| packet[0] = 0x40, BadIpHeaderLength),
        ("header length 16", |packet| packet[0] = 0x44, BadIpHeaderLength),
        (
            "a header beyond the packet",
            |packet| {
                packet.truncate(56);
                packet[0] = 0x4f
            },
            BadIpHeaderLength,
        ),
        ("19 octets", |packet| packet.truncate(19), TruncatedIp),
        ("total length 0", |packet| packet[2..4].fill(0), BadIpLength),
        ("total length below the header", |packet| packet[3] = 19, BadIpLength),
        ("total length beyond the packet", |packet| packet[3] += 1, BadIpLength),
        ("total length at its most", |packet| packet[2..4].fill(0xff), BadIpLength),
        ("a first fragment", |packet| packet[6] = 0x20, Fragment),
        ("a last fragment", |packet| packet[7] = 1, Fragment),
        ("a fragment far out", |packet| packet[6] = 0x1f, Fragment),
        ("from a group", |packet| packet[12] = 224, InvalidSource),
        ("from the last group", |packet| packet[12] = 239, InvalidSource),
        ("from broadcast", |packet| packet[12..16].fill(255), InvalidSource),
        ("from loopback", |packet| packet[12] = 127, InvalidSource),
        ("from nowhere", |packet| packet[12..16].fill(0), InvalidSource),
        ("from this network", |packet| packet[12] = 0, InvalidSource),
        ("SCTP", |packet| packet[9] = 132, UnknownProtocol),
        ("ICMPv6", |packet| packet[9] = 58, UnknownProtocol),
    ];
    for (name, change, reason) in CASES {
        let mut packet = good(&ip_v4(Protocol::Tcp)).split_off(IP);
        packet.extend([0; 12]); // padding, so that a longer header would still fit
        packet[3] += 12;
        change(&mut packet);
        if packet.len() >= 20 {
            seal_ipv4(&mut packet);
        }
        let frame = [&good(&ip_v4(Protocol::Tcp))[..IP], &packet].concat();
        assert_eq!(refusal_of(&frame), Err(*reason), "{name}");
    }
}

#[test]
fn an_ipv4_checksum_that_does_not_add_up_is_refused_whichever_octet_is_wrong() {
    for octet in 1..20 {
        let mut frame = good(&ip_v4(Protocol::Tcp));
        frame[IP + octet] ^= 0x10;
        assert_eq!(refusal_of(&frame), Err(BadIpChecksum), "octet {octet}");
    }
}

#[test]
fn must_50_ipv4_options_are_skipped() {
    for words in 1..=10 {
        let mut frame = good(&ip_v4(Protocol::Tcp));
        frame.splice(IP + 20..IP + 20, vec![1; 4 * words]).for_each(drop);
        frame[IP] += words as u8;
        frame[IP + 3] += 4 * words as u8;
        seal_ipv4(&mut frame[IP..]);
        assert_eq!(segment_of(&frame).2.payload, b"data", "{words} words of options");
    }
}

#[test]
fn dont_fragment_and_the_reserved_bit_are_no_fragment() {
    for bits in [0x00, 0x40, 0x80, 0xc0] {
        let mut frame = good(&ip_v4(Protocol::Tcp));
        frame[IP + 6] = bits;
        seal_ipv4(&mut frame[IP..]);
        assert_eq!(refusal_of(&frame), Ok(()), "{bits:#04x}");
    }
}

#[test]
fn an_illegal_ipv6_header_is_refused() {
    const CASES: &[Case] = &[
        ("version 5", |packet| packet[0] = 0x50, WrongIpVersion),
        ("39 octets", |packet| packet.truncate(39), TruncatedIp),
        ("a payload beyond the packet", |packet| packet[5] += 1, BadIpLength),
        ("a payload at its most", |packet| packet[4..6].fill(0xff), BadIpLength),
        ("no payload", |packet| packet[4..6].fill(0), TruncatedTcp),
        ("from a group", |packet| packet[8] = 0xff, InvalidSource),
        ("from loopback", |packet| packet[8..24].copy_from_slice(&1u128.to_be_bytes()), InvalidSource),
        (
            "from a mapped address",
            |packet| {
                packet[8..24].copy_from_slice(&0xffff_c612_0002u128.to_be_bytes());
            },
            InvalidSource,
        ),
        ("no next header", |packet| packet[6] = 59, UnknownProtocol),
        ("SCTP", |packet| packet[6] = 132, UnknownProtocol),
        ("ICMPv4", |packet| packet[6] = 1, UnknownProtocol),
        ("an authentication header", |packet| packet[6] = 51, UnknownProtocol),
        ("an encrypted payload", |packet| packet[6] = 50, UnknownProtocol),
        ("a fragment", |packet| packet[6] = 44, Fragment),
    ];
    for (name, change, reason) in CASES {
        let mut packet = good(&ip_v6(Protocol::Tcp)).split_off(IP);
        change(&mut packet);
        let frame = [&good(&ip_v6(Protocol::Tcp))[..IP], &packet].concat();
        assert_eq!(refusal_of(&frame), Err(*reason), "{name}");
    }
}

/// A good frame with `chain` between its IPv6 header and its segment.
fn extended(first: u8, chain: &[u8]) -> Vec<u8> {
    let mut frame = good(&ip_v6(Protocol::Tcp));
    frame.splice(IP + 40..IP + 40, chain.iter().copied()).for_each(drop);
    let length = (frame.len() - IP - 40) as u16;
    frame[IP + 4..IP + 6].copy_from_slice(&length.to_be_bytes());
    frame[IP + 6] = first;
    frame
}

/// That many empty destination options headers, and TCP behind them.
fn chain_of(count: usize) -> Vec<u8> {
    let header = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    (0..count).flat_map(|index| header(if index + 1 == count { 6 } else { 60 })).collect()
}

#[test]
fn extension_headers_are_skipped() {
    let longer = [&[6, 2][..], &[0; 22]].concat();
    for (name, first, chain) in [
        ("hop-by-hop options", 0, vec![6, 0, 1, 4, 0, 0, 0, 0]),
        ("an option that may be skipped", 0, vec![6, 0, 0x3e, 4, 1, 2, 3, 4]),
        ("destination options", 60, vec![6, 0, 1, 4, 0, 0, 0, 0]),
        ("a routing header that has arrived", 43, vec![6, 0, 4, 0, 0, 0, 0, 0]),
        ("one of 24 octets", 60, longer),
        ("two of them", 0, vec![60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
        ("seven of them", 60, chain_of(7)),
    ] {
        let frame = extended(first, &chain);
        assert_eq!(segment_of(&frame).2.payload, b"data", "{name}");
    }
}

#[test]
fn a_bad_extension_header_chain_is_refused() {
    let cut = |octets: &[u8]| {
        let mut frame = good(&ip_v6(Protocol::Tcp));
        frame.splice(IP + 40.., octets.iter().copied()).for_each(drop);
        frame[IP + 4..IP + 6].copy_from_slice(&(octets.len() as u16).to_be_bytes());
        frame[IP + 6] = 60;
        frame
    };
    // A jumbogram (RFC 2675) says payload length zero and the true length in an option that then lies outside.
    let mut jumbo = extended(0, &[6, 0, 0xc2, 4, 0, 1, 0, 0]);
    jumbo[IP + 4..IP + 6].fill(0);
    for (name, frame, reason) in [
        ("nothing where a header was announced", cut(&[]), BadExtensionHeaders),
        ("one octet of a header", cut(&[6]), BadExtensionHeaders),
        ("seven octets of a header", cut(&[6, 0, 1, 4, 0, 0, 0]), BadExtensionHeaders),
        ("a length beyond the payload", cut(&[6, 1, 1, 4, 0, 0, 0, 0]), BadExtensionHeaders),
        ("the greatest length", extended(60, &[6, 255, 1, 4, 0, 0, 0, 0]), BadExtensionHeaders),
        ("nine headers", extended(60, &chain_of(9)), BadExtensionHeaders),
        ("a hundred headers", extended(60, &chain_of(100)), BadExtensionHeaders),
        ("a routing header under way", extended(43, &[6, 0, 0, 1, 0, 0, 0, 0]), BadExtensionHeaders),
        ("a fragment behind options", extended(60, &[44, 0, 1, 4, 0, 0, 0, 0]), Fragment),
        ("SCTP behind options", extended(60, &[132, 0, 1, 4, 0, 0, 0, 0]), UnknownProtocol),
        ("hop-by-hop options behind others", extended(60, &[0, 0, 1, 4, 0, 0, 0, 0]), BadExtensionHeaders),
        ("an option beyond its header", extended(60, &[6, 0, 1, 5, 0, 0, 0, 0]), BadExtensionHeaders),
        ("half an option", extended(60, &[6, 0, 1, 3, 0, 0, 0, 1]), BadExtensionHeaders),
        ("an option to be discarded for", extended(60, &[6, 0, 0x41, 4, 0, 0, 0, 0]), UnknownIpOption),
        ("an option to be complained of", extended(0, &[6, 0, 0x81, 4, 0, 0, 0, 0]), UnknownIpOption),
        ("one behind padding", extended(0, &[6, 0, 0, 1, 0, 0xc1, 0, 0]), UnknownIpOption),
        ("options up to the very end", cut(&[6, 0, 1, 4, 0, 0, 0, 0]), TruncatedTcp),
        ("a jumbogram", jumbo, BadExtensionHeaders),
    ] {
        assert_eq!(refusal_of(&frame), Err(reason), "{name}");
    }
}

/// These get a right TCP checksum after the change.
#[test]
fn an_illegal_tcp_header_is_refused() {
    const CASES: &[Case] = &[
        ("19 octets", |segment| segment.truncate(19), TruncatedTcp),
        ("no octets", |segment| segment.clear(), TruncatedTcp),
        ("data offset 0", |segment| segment[12] = 0x00, BadDataOffset),
        ("data offset 4", |segment| segment[12] = 0x40, BadDataOffset),
        ("a data offset beyond the segment", |segment| segment[12] = 0x60, TruncatedTcp),
        ("the greatest data offset", |segment| segment[12] = 0xf0, TruncatedTcp),
        ("source port zero", |segment| segment[0..2].fill(0), PortZero),
        ("destination port zero", |segment| segment[2..4].fill(0), PortZero),
    ];
    for ip in both_for_tcp() {
        for (name, change, reason) in CASES {
            assert_eq!(refusal_of(&spoilt_segment(&ip, change)), Err(*reason), "{name}, {}", ip.source);
        }
    }
}

#[test]
fn must_3_a_tcp_checksum_that_does_not_add_up_is_refused_whichever_octet_is_wrong() {
    for ip in both_for_tcp() {
        let start = IP + ip.len();
        for octet in (start..good(&ip).len()).filter(|&octet| octet != start + 12) {
            let mut frame = good(&ip);
            frame[octet] ^= 0x04;
            assert_eq!(refusal_of(&frame), Err(BadTcpChecksum), "octet {octet}");
        }
    }
}

#[test]
fn a_tcp_checksum_covers_the_addresses() {
    let mut frame = good(&ip_v6(Protocol::Tcp));
    frame[IP + 30] ^= 1;
    assert_eq!(refusal_of(&frame), Err(BadTcpChecksum));
    let mut frame = good(&ip_v4(Protocol::Tcp));
    frame[IP + 15] ^= 4;
    seal_ipv4(&mut frame[IP..]);
    assert_eq!(refusal_of(&frame), Err(BadTcpChecksum));
}

#[test]
fn a_partial_checksum_is_known_for_what_it_is() {
    for ip in both_for_tcp() {
        let mut frame = good(&ip);
        let start = IP + ip.len();
        // What a kernel leaves to hardware: the pseudo-header's sum, not complemented.
        let covered = with_pseudo_header(&ip, &frame[start..]);
        let sum = !reference_checksum(&covered[..covered.len() - (frame.len() - start)]);
        frame[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(refusal_of(&frame), Err(PartialTcpChecksum));
        assert!(parse(&frame, ChecksumPolicy::AcceptPartial).is_ok());
        frame[start + 17] ^= 1;
        assert_eq!(parse(&frame, ChecksumPolicy::AcceptPartial), Err(BadTcpChecksum));
    }
}

#[test]
fn contradictory_flags_are_left_for_the_connection_to_judge() {
    for ip in both_for_tcp() {
        for flags in [TcpFlags::SYN | TcpFlags::FIN, TcpFlags::SYN | TcpFlags::RST, TcpFlags::empty(), TcpFlags::all()]
        {
            let frame = spoilt_segment(&ip, |segment| segment[13] = flags.bits());
            assert_eq!(segment_of(&frame).2.header.flags, flags);
        }
    }
}

#[test]
fn a_syn_with_a_fin_gets_no_answer_from_a_listener() {
    use crate::{
        config::StackConfig,
        stack::{LocalAddress, Ownership, Secrets, Stack},
        time::Instant,
    };
    let cidr = "198.18.0.1/24".parse().unwrap();
    let local = LocalAddress { cidr, ownership: Ownership::Own };
    let mut stack = Stack::new(StackConfig::default(), OURS, vec![local], Secrets::from_seed(1));
    stack.listen(None, 80).unwrap();
    let flags = TcpFlags::SYN | TcpFlags::FIN;
    let frame = spoilt_segment(&ip_v4(Protocol::Tcp), |segment| segment[13] = flags.bits());
    stack.handle_frame(Instant::ZERO, InterfaceId::FIRST, &frame);
    assert_eq!(stack.drops().iter().collect::<Vec<_>>(), [(DropReason::ContradictoryFlags, 1)]);
    assert_eq!(stack.poll_transmit(Instant::ZERO, InterfaceId::FIRST, &mut [0; 2_048]), None);
}
