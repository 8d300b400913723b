//! ICMP errors that the stack sends: to whom, about what, and above all when not.

use super::*;
use crate::wire::{IcmpMessage, checksum::Checksum};

impl Bench {
    /// A packet from the client with this protocol number, and anything behind it; IPv6 with `first` as its next header.
    fn packet(&self, protocol: u8, message: &[u8]) -> Vec<u8> {
        let ip = IpHeader::new(self.theirs, self.ours, Protocol::Tcp);
        let mut frame = vec![0; self.link.len() + ip.len() + message.len()];
        ip.write(message.len(), self.link.write(ip.ether_type(), &mut frame)).copy_from_slice(message);
        frame[if self.ours.is_ipv4() { 23 } else { 20 }] = protocol;
        self.seal(frame)
    }

    /// Puts the right checksum into an IPv4 header.
    fn seal(&self, mut frame: Vec<u8>) -> Vec<u8> {
        if self.ours.is_ipv4() {
            frame[24..26].fill(0);
            let field = Checksum::of(&frame[14..34]).field();
            frame[24..26].copy_from_slice(&field);
        }
        frame
    }

    fn udp(&self, port: u16, data: &[u8]) -> Vec<u8> {
        let ip = IpHeader::new(self.theirs, self.ours, Protocol::Udp);
        let mut frame = vec![0; wire::udp::frame_len(&self.link, &ip, data.len())];
        wire::udp::write(&self.link, &ip, (self.port, port), data, &mut frame);
        frame
    }

    /// Hands in a frame; type, code, field and quote of the ICMP error that answers it, if one does.
    fn complaint(&mut self, frame: &[u8]) -> Option<(u8, u8, u32, Vec<u8>)> {
        self.stack.handle_frame(self.now, InterfaceId::FIRST, frame);
        let mut frames = self.frames();
        assert!(frames.len() <= 1, "one error at most");
        let answer = frames.pop()?;
        let (is_ipv4, length) = (answer[12..14] == [8, 0], answer.len());
        let start = if is_ipv4 { 34 } else { 54 };
        assert!(length - 14 <= if is_ipv4 { 576 } else { 1_280 }, "{length}");
        assert_eq!(answer[..6], THEIRS.0);
        // The checksum holds: it is read as an error, about a packet that is none of its reader's.
        match wire::parse(&answer, ChecksumPolicy::Verify) {
            Ok(wire::ParsedFrame { packet: Packet::Icmp(ip, IcmpMessage::Error(_)), .. }) => {
                assert_eq!(ip.destination, self.theirs);
            }
            other => assert!(matches!(other, Err(DropReason::UnmatchedIcmp | DropReason::MalformedQuote)), "{other:?}"),
        }
        let field = u32::from_be_bytes(answer[start + 4..start + 8].try_into().unwrap());
        Some((answer[start], answer[start + 1], field, answer[start + 8..].to_vec()))
    }
}

#[test]
fn a_datagram_for_an_unserved_port_is_told_so() {
    for (mut bench, kind, code) in [(Bench::new(), 3, 3), (Bench::new().over_ipv6(), 1, 4)] {
        let frame = bench.udp(9, b"anybody?");
        assert_eq!(bench.complaint(&frame), Some((kind, code, 0, frame[14..].to_vec())));
        let counted = (bench.drops(DropReason::UnservedPort), bench.stack.stats().icmp_errors_transmitted);
        assert_eq!(counted, (1, 1));
    }
}

#[test]
fn an_error_returns_no_more_than_any_host_takes() {
    for (mut bench, limit) in [(Bench::new(), 576 - 28), (Bench::new().over_ipv6(), 1_280 - 48)] {
        let frame = bench.udp(9, &[7; 1_400]);
        let (.., quote) = bench.complaint(&frame).unwrap();
        assert_eq!(quote, &frame[14..14 + limit]);
        // Ethernet padding is not part of what is returned.
        let mut short = bench.udp(9, b"x");
        let whole = short[14..].to_vec();
        short.extend([0xff; 30]);
        assert_eq!(bench.complaint(&short).unwrap().3, whole);
    }
}

#[test]
fn an_unknown_protocol_is_told_so() {
    let mut bench = Bench::new();
    let frame = bench.packet(132, &[1; 40]);
    assert_eq!(bench.complaint(&frame), Some((3, 2, 0, frame[14..].to_vec())));
    let mut bench = Bench::new().over_ipv6();
    let frame = bench.packet(132, &[1; 40]);
    assert_eq!(bench.complaint(&frame), Some((4, 1, 6, frame[14..].to_vec())), "at its next header field");
    let frame = bench.packet(60, &[[132, 0, 1, 4, 0, 0, 0, 0], [1; 8]].concat());
    assert_eq!(bench.complaint(&frame), Some((4, 1, 40, frame[14..].to_vec())), "at that of the extension header");
    let frame = bench.packet(60, &[[0, 0, 1, 4, 0, 0, 0, 0], [6, 0, 1, 4, 0, 0, 0, 0]].concat());
    assert_eq!(
        bench.complaint(&frame).map(|told| (told.0, told.1, told.2)),
        Some((4, 1, 40)),
        "hop-by-hop comes first"
    );
    let nothing = bench.packet(59, &[1; 40]);
    assert_eq!(bench.complaint(&nothing), None, "nothing is nothing to complain of");
}

#[test]
fn an_unknown_option_is_complained_of_as_its_sender_wants() {
    // RFC 8200 §4.2.
    let mut bench = Bench::new().over_ipv6();
    for (kind, expected) in [(0x41, None), (0x81, Some((4, 2, 42))), (0xc1, Some((4, 2, 42)))] {
        let frame = bench.packet(0, &[6, 0, kind, 4, 0, 0, 0, 0]);
        assert_eq!(bench.complaint(&frame).map(|told| (told.0, told.1, told.2)), expected, "{kind:#x}");
    }
    let frame = bench.packet(60, &[6, 0, 0, 1, 1, 9, 0xc1, 0]);
    assert_eq!(bench.complaint(&frame).map(|told| told.2), Some(46), "behind padding");
    let frame = bench.packet(43, &[6, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(bench.complaint(&frame).map(|told| (told.0, told.1, told.2)), Some((4, 0, 42)), "the routing type");
    // To a group, only the option that asks for it.
    bench.ours = "ff02::1".parse().unwrap();
    bench.link.destination = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
    for (kind, expected) in [(0x81, Some((4, 2, 42))), (0xc1, None)] {
        let frame = bench.packet(0, &[6, 0, kind, 4, 0, 0, 0, 0]);
        assert_eq!(bench.complaint(&frame).map(|told| (told.0, told.1, told.2)), expected, "{kind:#x} to a group");
    }
}

#[test]
fn the_first_fragment_is_told_that_it_leads_nowhere() {
    let mut bench = Bench::new();
    let fragment = |bench: &Bench, field: u16| {
        let mut frame = bench.packet(17, &[1; 40]);
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        bench.seal(frame)
    };
    let first = fragment(&bench, 0x2000);
    assert_eq!(bench.complaint(&first), Some((11, 1, 0, first[14..].to_vec())));
    for later in [0x2001, 0x0001, 0x1fff] {
        let later = fragment(&bench, later);
        assert_eq!(bench.complaint(&later), None);
    }
    let mut bench = Bench::new().over_ipv6();
    let fragment = |bench: &Bench, field: u16| {
        let [high, low] = field.to_be_bytes();
        bench.packet(44, &[[17, 0, high, low, 0, 0, 0, 9], [1; 8]].concat())
    };
    let first = fragment(&bench, 1);
    assert_eq!(bench.complaint(&first), Some((3, 1, 0, first[14..].to_vec())));
    let later = fragment(&bench, 8);
    assert_eq!((bench.complaint(&later), bench.drops(DropReason::Fragment)), (None, 2));
}

#[test]
fn no_error_answers_an_error() {
    let mut bench = Bench::new();
    for kind in [3, 4, 5, 11, 12] {
        let mut frame = bench.packet(1, &[kind, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
        frame[20] = 0x20;
        let frame = bench.seal(frame);
        assert_eq!(bench.complaint(&frame), None, "type {kind} in a fragment");
    }
    let mut bench = Bench::new().over_ipv6();
    for (kind, is_answered) in [(1, false), (4, false), (127, false), (137, false), (128, true)] {
        let frame = bench.packet(60, &[[58, 0, 0xc1, 4, 0, 0, 0, 0], [kind, 0, 0, 0, 0, 0, 0, 0]].concat());
        assert_eq!(bench.complaint(&frame).is_some(), is_answered, "type {kind} behind an option");
    }
    let frame = bench.packet(60, &[58, 0, 0xc1, 4, 0, 0, 0, 0]);
    assert_eq!(bench.complaint(&frame), None, "who can tell what that was");
}

#[test]
fn nothing_to_a_group_or_from_no_host_is_answered() {
    // RFC 1122 §3.2.2, RFC 4443 §2.4 (e).
    let cases: [(&str, &str, &str, MacAddress); 9] = [
        ("to a directed broadcast", "198.18.0.2", "198.18.0.255", OURS),
        ("to everybody", "198.18.0.2", "255.255.255.255", OURS),
        ("to a group", "198.18.0.2", "224.0.0.1", OURS),
        ("to another host", "198.18.0.2", "198.18.0.9", OURS),
        ("to everybody on the link", "198.18.0.2", "198.18.0.1", MacAddress::BROADCAST),
        ("from a directed broadcast", "198.18.0.255", "198.18.0.1", OURS),
        ("from ourselves", "198.18.0.1", "198.18.0.1", OURS),
        ("to a group of IPv6", "2001:2::2", "ff02::1", OURS),
        ("from nowhere", "::", "2001:2::1", OURS),
    ];
    for (name, theirs, ours, station) in cases {
        let mut bench = Bench::new();
        (bench.theirs, bench.ours) = (theirs.parse().unwrap(), ours.parse().unwrap());
        bench.link.destination = station;
        for frame in [bench.udp(9, b"x"), bench.packet(132, &[1; 40])] {
            assert_eq!(bench.complaint(&frame), None, "{name}");
        }
    }
    let mut bench = Bench::new();
    bench.link.destination = MacAddress([2, 0, 0, 0, 0, 9]);
    let frame = bench.packet(132, &[1; 40]);
    assert_eq!(bench.complaint(&frame), None, "to another station");
}

#[test]
fn errors_have_a_rate() {
    let mut bench = Bench::with(StackConfig { icmp_errors_per_second: 100, ..StackConfig::default() });
    let frame = bench.udp(9, b"x");
    let answered = |bench: &mut Bench| (0..1_000).filter(|_| bench.complaint(&frame).is_some()).count();
    assert_eq!(answered(&mut bench), 10);
    bench.pass(Duration::from_millis(50));
    assert_eq!(answered(&mut bench), 5);
    assert_eq!(bench.drops(DropReason::RateLimited), 1_985);
}
