//! ICMP errors: what they say, and about which segment, however they have been cut.

use super::{frames::icmp_frame, *};
use crate::wire::{ErrorKind, FourTuple, IcmpError, IcmpMessage, Unreachable};

/// A segment of ours as it was sent: from the address that the errors go to.
fn our_packet(ip: &IpHeader) -> Vec<u8> {
    let ours = IpHeader { source: ip.destination, destination: ip.source, protocol: Protocol::Tcp, ..*ip };
    tcp_frame(&link(), &ours, &tcp_header(TcpOptions::default()), &[7; 1_000]).split_off(IP)
}

fn error_frame(ip: &IpHeader, kind: u8, code: u8, field: u32, quoted: &[u8]) -> Vec<u8> {
    icmp_frame(ip, kind, code, &[&field.to_be_bytes(), quoted].concat())
}

#[track_caller]
fn error_of(frame: &[u8]) -> IcmpError {
    match parse(frame, ChecksumPolicy::Verify) {
        Ok(ParsedFrame { packet: Packet::Icmp(_, IcmpMessage::Error(error)), .. }) => error,
        other => panic!("an ICMP error was expected: {other:?}"),
    }
}

fn headers() -> [IpHeader; 2] {
    [ip_v4(Protocol::Icmpv4), ip_v6(Protocol::Icmpv6)]
}

#[test]
fn each_error_is_known_by_its_type_and_code() {
    use ErrorKind::{ParameterProblem, TimeExceeded, TooBig, Unreachable as Lost};
    use Unreachable::{Host, Network, Port, Prohibited, Protocol as NoTcp, SourceRoute};
    let [v4, v6] = headers();
    for (ip, kind, code, expected) in [
        (v4, 3, 0, Lost(Network)),
        (v4, 3, 1, Lost(Host)),
        (v4, 3, 2, Lost(NoTcp)),
        (v4, 3, 3, Lost(Port)),
        (v4, 3, 4, TooBig { mtu: 1_234 }),
        (v4, 3, 5, Lost(SourceRoute)),
        (v4, 3, 6, Lost(Network)),
        (v4, 3, 7, Lost(Host)),
        (v4, 3, 13, Lost(Prohibited)),
        (v4, 11, 0, TimeExceeded),
        (v4, 11, 1, TimeExceeded),
        (v4, 12, 0, ParameterProblem),
        (v6, 1, 0, Lost(Network)),
        (v6, 1, 1, Lost(Prohibited)),
        (v6, 1, 3, Lost(Host)),
        (v6, 1, 4, Lost(Port)),
        (v6, 2, 0, TooBig { mtu: 0x0001_04d2 }),
        (v6, 3, 0, TimeExceeded),
        (v6, 4, 1, ParameterProblem),
    ] {
        // In IPv4 only the lower half of the field is the MTU.
        let error = error_of(&error_frame(&ip, kind, code, 0x0001_04d2, &our_packet(&ip)));
        assert_eq!(error.kind, expected, "type {kind}, code {code}, {}", ip.source);
        let ours = tcp_header(TcpOptions::default());
        assert_eq!(error.quote.seq, ours.seq);
        let sent = IpHeader { source: ip.destination, destination: ip.source, ..ip };
        assert_eq!(error.quote.tuple, FourTuple::of_received(&sent, &ours).reversed());
        assert_eq!(error.quote.packet_len, sent.len() + 20 + 1_000);
    }
    assert_eq!(refusal_of(&error_frame(&v4, 3, 99, 0, &our_packet(&v4))), Err(DropReason::IgnoredIcmp));
    assert_eq!(refusal_of(&error_frame(&v6, 1, 99, 0, &our_packet(&v6))), Err(DropReason::IgnoredIcmp));
}

#[test]
fn a_quote_may_be_cut_anywhere_behind_the_sequence_number_and_nowhere_before() {
    for ip in headers() {
        let (kind, quoted) = (if ip.source.is_ipv4() { 11 } else { 3 }, our_packet(&ip));
        let whole = error_of(&error_frame(&ip, kind, 0, 0, &quoted));
        for length in 0..200 {
            let frame = error_frame(&ip, kind, 0, 0, &quoted[..length]);
            if length < ip.len() + 8 {
                assert_eq!(refusal_of(&frame), Err(DropReason::MalformedQuote), "{length} octets");
            } else {
                assert_eq!(error_of(&frame), whole, "{length} octets");
            }
        }
    }
}

#[test]
fn a_quoted_header_may_have_changed_on_the_way() {
    let [v4, v6] = headers();
    let mut quoted = our_packet(&v4);
    quoted[8] = 1; // the time to live, with a checksum that nobody has updated
    quoted.splice(20..20, [7, 4, 0, 0]).for_each(drop); // an option, recorded by a router
    quoted[0] = 0x46;
    assert_eq!(error_of(&error_frame(&v4, 11, 0, 0, &quoted)).quote.seq, tcp_header(TcpOptions::default()).seq);

    for (name, first, chain) in [
        ("hop-by-hop options", 0, vec![6, 0, 1, 4, 0, 0, 0, 0]),
        ("a routing header under way", 43, vec![6, 0, 0, 1, 0, 0, 0, 0]),
        ("a first fragment", 44, vec![6, 0, 0, 1, 0, 0, 0, 0]),
        ("two of them", 0, vec![60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
    ] {
        let mut quoted = our_packet(&v6);
        quoted[6] = first;
        quoted.splice(40..40, chain).for_each(drop);
        let error = error_of(&error_frame(&v6, 3, 0, 0, &quoted));
        assert_eq!(error.quote.seq, tcp_header(TcpOptions::default()).seq, "{name}");
    }
}

#[test]
fn a_quote_without_tcp_is_nobodys() {
    let [v4, v6] = headers();
    let with = |ip: &IpHeader, at: usize, value: u8| {
        let mut quoted = our_packet(ip);
        quoted[at] = value;
        quoted
    };
    for (name, ip, quoted, reason) in [
        ("UDP", v4, with(&v4, 9, 17), DropReason::UnmatchedIcmp),
        ("UDP over IPv6", v6, with(&v6, 6, 17), DropReason::UnmatchedIcmp),
        ("a later fragment", v4, with(&v4, 7, 3), DropReason::MalformedQuote),
        ("another version", v4, with(&v4, 0, 0x65), DropReason::MalformedQuote),
        ("another version over IPv6", v6, with(&v6, 0, 0x45), DropReason::MalformedQuote),
        ("a header of four words", v4, with(&v4, 0, 0x44), DropReason::MalformedQuote),
        ("options that are not there", v4, with(&v4, 0, 0x4f)[..50].to_vec(), DropReason::MalformedQuote),
        ("an extension header that is not there", v6, with(&v6, 6, 60)[..41].to_vec(), DropReason::MalformedQuote),
    ] {
        let kind = if ip.source.is_ipv4() { 11 } else { 3 };
        assert_eq!(refusal_of(&error_frame(&ip, kind, 0, 0, &quoted)), Err(reason), "{name}");
    }
    // As many extension headers as there is room for: the walk has an end.
    let mut quoted = our_packet(&v6);
    quoted[6] = 60;
    quoted.splice(40..40, [60, 0, 1, 4, 0, 0, 0, 0].repeat(100)).for_each(drop);
    assert_eq!(refusal_of(&error_frame(&v6, 3, 0, 0, &quoted)), Err(DropReason::UnmatchedIcmp));
}

#[test]
fn must_55_source_quench_is_discarded_whatever_it_quotes() {
    let [v4, _] = headers();
    for quoted in [&our_packet(&v4)[..], &[0xff; 28], &[]] {
        assert_eq!(refusal_of(&error_frame(&v4, 4, 0, 0, quoted)), Err(DropReason::SourceQuench));
    }
}
