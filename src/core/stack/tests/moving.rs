//! Neighbours that get another link-layer address, and our own station when it does.

use super::*;
use crate::wire::{ArpPacket, arp, ethernet, icmp};
use std::net::Ipv6Addr;

/// Where a neighbour moves to, and a stranger.
const THERE: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
const STRANGER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

/// The station that somebody was asked at, or a group.
fn asked_at(frame: &[u8]) -> Option<MacAddress> {
    is_question(frame).then(|| wire::parse(frame, ChecksumPolicy::Verify).expect("it is whole").link.destination)
}

impl Bench {
    /// Clients behind a router that is no gateway of ours; the router is given back.
    fn behind_router(mut self) -> (Self, IpAddr) {
        let (client, router) =
            if self.ours.is_ipv4() { ("10.7.0.2", "198.18.0.254") } else { ("2001:db8::7", "fe80::fe") };
        self.theirs = client.parse().unwrap();
        (self, router.parse().unwrap())
    }

    /// A stack that shares its addresses with a kernel.
    fn shared(mut self) -> Self {
        let shared = |text: &str| LocalAddress { cidr: text.parse().unwrap(), ownership: Ownership::Shared };
        let addresses = vec![shared("198.18.0.1/24"), shared("2001:2::1/64")];
        self.stack = Stack::new(StackConfig::default(), OURS, addresses, Secrets::from_seed(1));
        self.stack.listen(None, PORT).unwrap();
        self
    }

    /// A frame about neighbours, as `station` sends it: a question for our address, an announcement, or an answer to us.
    fn said(&self, station: MacAddress, who: IpAddr, kind: Kind) -> Vec<u8> {
        let link = LinkHeader { source: station, destination: OURS, ..LinkHeader::default() };
        let mut frame = vec![0; 200];
        let length = match (who, self.ours) {
            (IpAddr::V4(sender_ip), IpAddr::V4(ours)) => {
                let operation = if kind == Kind::Answer { Operation::Reply } else { Operation::Request };
                let target_ip = if kind == Kind::Announcement { sender_ip } else { ours };
                let target_mac = MacAddress::default();
                let packet = ArpPacket { operation, sender_mac: station, sender_ip, target_mac, target_ip };
                packet.write(link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
                link.len() + arp::PACKET_LEN
            }
            (IpAddr::V6(who), IpAddr::V6(ours)) => {
                let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                let destination = if kind == Kind::Announcement { all } else { ours };
                let mut ip = IpHeader::new(who.into(), destination.into(), Protocol::Icmpv6);
                ip.hop_limit = 255;
                let message = ip.write(icmp::ADVERTISEMENT_LEN, link.write(ip.ether_type(), &mut frame));
                match kind {
                    Kind::Question => icmp::write_solicitation(&ip, ours, station, message),
                    _ => icmp::write_advertisement(&ip, who, kind == Kind::Answer, station, message),
                }
                link.len() + ip.len() + icmp::ADVERTISEMENT_LEN
            }
            _ => panic!("both are of one version"),
        };
        frame.truncate(length);
        frame
    }

    fn hear(&mut self, station: MacAddress, who: IpAddr, kind: Kind) {
        let frame = self.said(station, who, kind);
        self.stack.overhear(self.now, InterfaceId::FIRST, &frame);
    }

    /// The stations of questions, and of segments, that are sent now.
    fn questions_and_ways(&mut self) -> (Vec<MacAddress>, Vec<MacAddress>) {
        let frames = self.frames();
        let questions = frames.iter().filter_map(|frame| asked_at(frame)).collect();
        let segments = frames.iter().filter(|frame| !is_question(frame));
        (questions, segments.map(|frame| MacAddress(frame[..6].try_into().unwrap())).collect())
    }

    /// Until the next timer that makes the stack send something.
    fn pass_to_next(&mut self) -> (Vec<MacAddress>, Vec<MacAddress>) {
        for _ in 0..100 {
            self.now = self.now.max(self.stack.poll_timeout().expect("a timer runs"));
            self.stack.handle_timeout(self.now);
            let sent = self.questions_and_ways();
            self.events();
            if sent != Default::default() {
                return sent;
            }
        }
        panic!("nothing is sent any more");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Question,
    Announcement,
    Answer,
}

/// On the link and behind a router, over both IP versions, at our own addresses and at shared ones: with the neighbour.
fn everywhere() -> Vec<(Bench, IpAddr)> {
    let benches = || [Bench::new(), Bench::new().over_ipv6(), Bench::new().shared(), Bench::new().over_ipv6().shared()];
    let near = benches().map(|bench| {
        let neighbour = bench.theirs;
        (bench, neighbour)
    });
    near.into_iter().chain(benches().map(Bench::behind_router)).collect()
}

fn is_group(stations: &[MacAddress]) -> bool {
    !stations.is_empty() && stations.iter().all(|station| station.is_group())
}

#[test]
fn a_neighbour_that_says_nothing_of_its_move_is_followed_with_one_retransmission() {
    for (mut bench, neighbour) in everywhere() {
        bench.hear(THEIRS, neighbour, Kind::Question);
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.write(b"hello"));
        assert_eq!(bench.questions_and_ways(), (vec![], vec![THEIRS]));
        let begun = bench.now;
        let mut asked = Vec::new();
        // Its station is asked, and keeps silent.
        while !is_group(&asked) {
            let (questions, ways) = bench.pass_to_next();
            assert!(ways.iter().all(|&way| way == THEIRS), "{neighbour}");
            asked = questions;
        }
        assert!(bench.now - begun < Duration::from_secs(2), "{:?}", bench.now - begun);
        bench.hear(THERE, neighbour, Kind::Answer);
        let (_, ways) = bench.pass_to_next();
        assert_eq!(ways, [THERE], "{neighbour}: what was lost, at once");
    }
}

#[test]
fn an_announced_move_is_confirmed_and_then_the_first_retransmission_goes_there() {
    for (mut bench, neighbour) in everywhere() {
        bench.hear(THEIRS, neighbour, Kind::Question);
        let (id, _) = bench.connect();
        for _ in 0..10 {
            bench.hear(THERE, neighbour, Kind::Announcement);
        }
        assert_eq!(bench.questions_and_ways(), (vec![THEIRS], vec![]), "{neighbour}: asked once, at its station");
        assert!(is_group(&bench.pass_to_next().0), "{neighbour}: then everybody");
        bench.hear(THERE, neighbour, Kind::Answer);
        bench.with_stream(id, |stream| stream.write(b"hello"));
        assert_eq!(bench.questions_and_ways(), (vec![], vec![THEIRS]), "{neighbour}");
        assert_eq!(bench.pass_to_next(), (vec![], vec![THERE]), "{neighbour}");
    }
}

#[test]
fn a_stranger_does_not_take_over_from_a_neighbour_that_answers() {
    for (mut bench, neighbour) in everywhere() {
        bench.hear(THEIRS, neighbour, Kind::Question);
        let (id, _) = bench.connect();
        for round in 0..5 {
            bench.hear(STRANGER, neighbour, Kind::Announcement);
            bench.hear(STRANGER, neighbour, Kind::Question);
            bench.hear(STRANGER, neighbour, Kind::Answer);
            assert_eq!(bench.questions_and_ways(), (vec![THEIRS], vec![]), "{neighbour}, {round}");
            // However many answers he gives.
            bench.hear(STRANGER, neighbour, Kind::Answer);
            bench.hear(THEIRS, neighbour, Kind::Answer);
            bench.hear(STRANGER, neighbour, Kind::Answer);
            bench.pass(Duration::from_secs(1));
        }
        bench.with_stream(id, |stream| stream.write(b"hello"));
        bench.pass(Duration::from_millis(250));
        let (questions, ways) = bench.questions_and_ways();
        assert!(ways.iter().all(|&way| way == THEIRS) && !is_group(&questions), "{neighbour}: {questions:?} {ways:?}");
    }
}

#[test]
fn a_stranger_has_nobody_asked_in_a_routers_place() {
    for bench in [Bench::new(), Bench::new().over_ipv6()] {
        let stranger: IpAddr = if bench.ours.is_ipv4() { "198.18.0.66" } else { "fe80::66" }.parse().unwrap();
        let (mut bench, router) = bench.behind_router();
        bench.hear(THEIRS, router, Kind::Question);
        // As if he were at the router's station: by the packet, and by the frame as well.
        let mut frame = bench.said(THEIRS, stranger, Kind::Question);
        bench.stack.overhear(bench.now, InterfaceId::FIRST, &frame);
        frame[6..12].copy_from_slice(&STRANGER.0);
        bench.stack.overhear(bench.now, InterfaceId::FIRST, &frame);
        let (id, _) = bench.connect();
        bench.with_stream(id, |stream| stream.write(b"hello"));
        bench.frames();
        bench.pass(Duration::from_secs(2));
        let frames = bench.frames();
        let question = frames.iter().find(|frame| is_question(frame)).expect("it drew no answer");
        let target: IpAddr = match wire::parse(question, ChecksumPolicy::Verify).unwrap().packet {
            Packet::Arp(packet) => packet.target_ip.into(),
            Packet::Icmp(_, IcmpMessage::NeighbourSolicitation { target }) => target.into(),
            other => panic!("{other:?}"),
        };
        assert_eq!(target, router);
    }
}

#[test]
fn what_is_overheard_is_never_answered_and_remembers_a_bounded_number() {
    let mut bench = Bench::with(StackConfig { max_neighbours: 8, ..StackConfig::default() });
    for number in 0..1_000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let who = IpAddr::from([198, 18, 0, 2 + low % 250]);
        // Each is in two places.
        bench.hear(MacAddress([2, 0, 0, 1, high, low]), who, Kind::Question);
        bench.hear(MacAddress([2, 0, 0, 2, high, low]), who, Kind::Question);
    }
    let questions = bench.frames();
    assert!(questions.iter().all(|frame| is_question(frame)));
    assert_eq!(questions.len(), 4, "half of the places");
    // Whoever we want something of has one.
    bench.theirs = "198.18.0.254".parse().unwrap();
    bench.begin();
}

#[test]
fn a_peer_that_is_asked_whether_it_lives_is_followed() {
    for (mut bench, neighbour) in everywhere() {
        bench.hear(THEIRS, neighbour, Kind::Question);
        let (id, _) = bench.connect();
        let keep_alive =
            crate::config::KeepAlive { idle: Duration::from_secs(10), interval: Duration::from_secs(5), probes: 9 };
        bench.with_stream(id, |stream| stream.set_keep_alive(Some(keep_alive)));
        bench.frames();
        let mut asked = Vec::new();
        while !is_group(&asked) {
            asked = bench.pass_to_next().0;
        }
        bench.hear(THERE, neighbour, Kind::Answer);
        assert_eq!(bench.questions_and_ways().1, [THERE], "{neighbour}");
    }
}

#[test]
fn our_station_may_get_another_address() {
    for max_awake in [0, 4_096] {
        let bench = || Bench::with(StackConfig { max_awake, ..StackConfig::default() });
        for mut bench in [bench(), bench().over_ipv6()] {
            let (id, iss) = bench.connect();
            bench.port += 1;
            bench.send_syn(TcpOptions::default());
            assert_eq!(bench.sent_one().link.source, OURS);
            bench.stack.set_mac(InterfaceId::FIRST, THERE);
            bench.with_stream(id, |stream| stream.write(b"hello"));
            assert_eq!(bench.sent_one().link.source, THERE);
            bench.pass(Duration::from_secs(1));
            assert!(bench.sent().iter().all(|sent| sent.link.source == THERE), "the SYN-ACK, too");
            // What is for the address before is another station's.
            bench.port -= 1;
            let ack = bench.header(IRS.advance(1), iss.advance(6), ACK);
            bench.send(ack, b"");
            assert_eq!(bench.drops(DropReason::OtherStation), 1);
            bench.link.destination = THERE;
            bench.send(ack, b"");
            assert_eq!(bench.drops(DropReason::OtherStation), 1);
        }
    }
}
