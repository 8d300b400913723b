//! ARP, neighbour discovery and echo, byte by byte.

use super::*;
use crate::wire::{ArpPacket, arp, ethernet, icmp};

const REQUEST: ArpPacket = ArpPacket {
    operation: arp::Operation::Request,
    sender_mac: THEIRS,
    sender_ip: std::net::Ipv4Addr::new(198, 18, 0, 2),
    target_mac: MacAddress([0; 6]),
    target_ip: std::net::Ipv4Addr::new(198, 18, 0, 1),
};

impl Bench {
    fn send_arp(&mut self, packet: &ArpPacket) {
        let link = LinkHeader { destination: MacAddress::BROADCAST, ..self.link };
        let mut frame = vec![0; link.len() + arp::PACKET_LEN];
        packet.write(link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    /// The client sends an ICMP message, its checksum filled in here.
    pub(super) fn send_icmp(&mut self, hop_limit: u8, message: &[u8]) {
        let protocol = if self.ours.is_ipv4() { Protocol::Icmpv4 } else { Protocol::Icmpv6 };
        let mut ip = IpHeader::new(self.theirs, self.ours, protocol);
        ip.hop_limit = hop_limit;
        let mut message = message.to_vec();
        let sum = match protocol {
            Protocol::Icmpv6 => wire::checksum::Checksum::pseudo_header(ip.source, ip.destination, 58, message.len()),
            _ => wire::checksum::Checksum::default(),
        };
        let field = sum.with(&message).field();
        message[2..4].copy_from_slice(&field);
        let mut frame = vec![0; self.link.len() + ip.len() + message.len()];
        ip.write(message.len(), self.link.write(ip.ether_type(), &mut frame)).copy_from_slice(&message);
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }
}

#[test]
fn arp_is_answered_for_our_own_address_only() {
    let mut bench = Bench::new();
    bench.send_arp(&REQUEST);
    let frames = bench.frames();
    let parsed = wire::parse(&frames[0], ChecksumPolicy::Verify).unwrap();
    assert_eq!(parsed.link.destination, THEIRS);
    let Packet::Arp(reply) = parsed.packet else { panic!("{parsed:?}") };
    assert_eq!(reply.operation, arp::Operation::Reply);
    assert_eq!((reply.sender_mac, reply.sender_ip), (OURS, REQUEST.target_ip));
    assert_eq!((reply.target_mac, reply.target_ip), (THEIRS, REQUEST.sender_ip));

    bench.send_arp(&ArpPacket { target_ip: [198, 18, 0, 9].into(), ..REQUEST });
    bench.send_arp(&ArpPacket { operation: arp::Operation::Reply, ..REQUEST });
    assert_eq!((bench.frames().len(), bench.drops(DropReason::ArpNotForUs)), (0, 1));
    assert_eq!(bench.drops(DropReason::UnaskedNeighbour), 1);
}

#[test]
fn a_question_from_a_group_is_not_answered_to_it() {
    let mut bench = Bench::new();
    for group in [MacAddress::BROADCAST, MacAddress([1, 0, 0x5e, 0, 0, 1])] {
        bench.send_arp(&ArpPacket { sender_mac: group, ..REQUEST });
        bench.send_arp(&ArpPacket { sender_mac: group, operation: arp::Operation::Reply, ..REQUEST });
    }
    assert_eq!((bench.frames().len(), bench.drops(DropReason::GroupSourceMac)), (0, 4));
}

#[test]
fn an_echo_that_every_station_was_asked_for_is_not_answered() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        bench.link.destination = MacAddress::BROADCAST;
        bench.send_icmp(64, &[if bench.ours.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!((bench.frames().len(), bench.drops(DropReason::GroupDestination)), (0, 1));
    }
}

#[test]
fn a_shared_address_is_the_kernels_to_answer_for() {
    let address = LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Shared };
    let mut bench = Bench::new();
    bench.stack = Stack::new(StackConfig::default(), OURS, vec![address], Secrets::from_seed(1));
    bench.stack.listen(None, PORT).unwrap();
    bench.send_arp(&REQUEST);
    bench.send_icmp(64, &[8, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(bench.frames().len(), 0);
    bench.send_syn(TcpOptions::default());
    assert!(bench.sent_one().has(SYN | ACK), "but its ports are ours");
}

#[test]
fn echoes_come_back_with_their_data() {
    for (mut bench, request, reply) in [(Bench::new(), 8, 0), (Bench::new().over_ipv6(), 128, 129)] {
        let data: Vec<u8> = (0..999).map(|number| number as u8).collect();
        let message: Vec<u8> = [request, 0, 0, 0, 1, 2, 3, 4].into_iter().chain(data.clone()).collect();
        bench.send_icmp(1, &message);
        let frame = bench.frames().remove(0);
        let start = frame.len() - message.len();
        assert_eq!((frame[start], frame[start + 1]), (reply, 0));
        assert_eq!(frame[start + 4..], message[4..]);
        assert_eq!(bench.stack.stats().echo_replies, 1);
        // Its checksum holds: a parser that knows only requests refuses it for its type and nothing else.
        assert_eq!(wire::parse(&frame, ChecksumPolicy::Verify).unwrap_err(), DropReason::IgnoredIcmp);
    }
}

#[test]
fn an_echo_that_would_not_fit_the_mtu_is_dropped() {
    let mut bench = Bench::new();
    let mut message = vec![0; icmp::ECHO_HEADER_LEN + 1_473];
    message[0] = 8;
    bench.send_icmp(64, &message);
    assert_eq!((bench.frames().len(), bench.drops(DropReason::BeyondMtu)), (0, 1));
    message.pop();
    bench.send_icmp(64, &message);
    assert_eq!(bench.frames()[0].len(), 1_514);
}

#[test]
fn other_icmp_is_counted_and_not_answered() {
    let mut bench = Bench::new();
    for kind in [0, 5, 9, 10, 13, 17] {
        bench.send_icmp(64, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    }
    bench.send_icmp(64, &[8, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!((bench.frames().len(), bench.drops(DropReason::IgnoredIcmp)), (0, 7));
}

fn solicitation(target: &str, options: &[u8]) -> Vec<u8> {
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    message.extend_from_slice(options);
    message
}

#[test]
fn a_neighbour_solicitation_draws_an_advertisement() {
    let mut bench = Bench::new().over_ipv6();
    let ours = bench.ours;
    bench.ours = "ff02::1:ff00:1".parse().unwrap();
    bench.link.destination = MacAddress([0x33, 0x33, 0xff, 0, 0, 1]);
    bench.send_icmp(255, &solicitation("2001:2::1", &[1, 1, 2, 0, 0, 0, 0, 2]));
    let frame = bench.frames().remove(0);
    let (_, message) = frame.split_at(frame.len() - icmp::ADVERTISEMENT_LEN);
    assert_eq!(frame[..6], THEIRS.0);
    assert_eq!(frame[21], 255, "hop limit, RFC 4861 §7.1.2");
    let source: [u8; 16] = frame[22..38].try_into().unwrap();
    assert_eq!(IpAddr::from(source), ours);
    assert_eq!((message[0], message[4]), (136, 0x60), "solicited, override");
    assert_eq!(message[24..26], [2, 1]);
    assert_eq!(message[26..32], OURS.0);
}

#[test]
fn duplicate_address_detection_is_answered_to_everybody() {
    let mut bench = Bench::new().over_ipv6();
    (bench.ours, bench.theirs) = ("ff02::1:ff00:1".parse().unwrap(), "::".parse().unwrap());
    bench.link.destination = MacAddress([0x33, 0x33, 0xff, 0, 0, 1]);
    bench.send_icmp(255, &solicitation("2001:2::1", &[]));
    let frame = bench.frames().remove(0);
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let destination: [u8; 16] = frame[38..54].try_into().unwrap();
    assert_eq!(IpAddr::from(destination), "ff02::1".parse::<IpAddr>().unwrap());
    assert_eq!(frame[58], 0x20, "override, not solicited");
}

#[test]
fn a_solicitation_must_be_as_rfc_4861_says() {
    let cases: [(&str, u8, Vec<u8>); 4] = [
        ("from beyond a router", 254, solicitation("2001:2::1", &[])),
        ("about a group", 255, solicitation("ff02::1", &[])),
        ("with an option of no length", 255, solicitation("2001:2::1", &[1, 0, 0, 0, 0, 0, 0, 0])),
        ("too short", 255, solicitation("2001:2::1", &[])[..23].to_vec()),
    ];
    for (name, hop_limit, message) in cases {
        let mut bench = Bench::new().over_ipv6();
        bench.send_icmp(hop_limit, &message);
        assert_eq!((bench.frames().len(), bench.drops(DropReason::MalformedNeighbour)), (0, 1), "{name}");
    }
    let mut bench = Bench::new().over_ipv6();
    bench.send_icmp(255, &solicitation("2001:2::9", &[]));
    assert_eq!((bench.frames().len(), bench.drops(DropReason::OtherDestination)), (0, 1));
}
