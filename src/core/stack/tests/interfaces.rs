//! Two interfaces in one stack: whatever comes in by one is answered there, and what we begin leaves by the one that leads there.

use super::*;
use crate::{
    config::InterfaceConfig,
    tcp::MaxSegment,
    wire::{ArpPacket, Protocol, arp, ethernet, icmp, udp},
};

const OURS_THERE: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
const THEIRS_THERE: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);
const ROUTER: MacAddress = MacAddress([2, 0, 0, 0, 1, 9]);
const NARROW: usize = 1_300;

fn own(text: &str) -> LocalAddress {
    LocalAddress { cidr: text.parse().unwrap(), ownership: Ownership::Own }
}

/// The stack of [`Bench`], and a second interface: narrower, at 192.0.2.1 and 2001:db8::1, with routers behind it.
struct Two {
    bench: Bench,
    second: InterfaceId,
}

impl Two {
    fn with(config: StackConfig) -> Self {
        let mut bench = Bench::with(config);
        let gateways = vec!["192.0.2.254".parse().unwrap(), "2001:db8::fe".parse().unwrap()];
        let interface = InterfaceConfig { mac: OURS_THERE, mtu: NARROW, gateways, ..InterfaceConfig::default() };
        let second = bench.stack.add_interface(interface).unwrap();
        bench.stack.add_address(second, own("192.0.2.1/24")).unwrap();
        bench.stack.add_address(second, own("2001:db8::1/64")).unwrap();
        Self { bench, second }
    }

    /// By IPv4 and by IPv6, with connections that fall asleep when they can and with such that do not.
    fn each() -> impl Iterator<Item = Self> {
        [(0, false), (0, true), (9, false), (9, true)].into_iter().map(|(max_awake, over_ipv6)| {
            let mut two = Self::with(StackConfig { max_awake, ..StackConfig::default() });
            if over_ipv6 {
                two.bench = two.bench.over_ipv6();
            }
            two
        })
    }

    /// Our address on the second interface, and a neighbour's there.
    fn there(&self) -> (IpAddr, IpAddr) {
        let texts = if self.bench.ours.is_ipv4() { ["192.0.2.1", "192.0.2.7"] } else { ["2001:db8::1", "2001:db8::7"] };
        (texts[0].parse().unwrap(), texts[1].parse().unwrap())
    }

    /// From now on the client is one at the second interface.
    fn move_there(&mut self) {
        (self.bench.ours, self.bench.theirs) = self.there();
        self.bench.link = LinkHeader { destination: OURS_THERE, source: THEIRS_THERE, ..LinkHeader::default() };
    }

    fn send(&mut self, interface: InterfaceId, header: TcpHeader, data: &[u8]) {
        let Bench { stack, now, link, ours, theirs, .. } = &mut self.bench;
        let ip = IpHeader::new(*theirs, *ours, Protocol::Tcp);
        let mut frame = vec![0; wire::tcp_frame_len(link, &ip, &header) + data.len()];
        wire::write_tcp(link, &ip, &header, (data, &[]), &mut frame);
        stack.handle_frame(*now, interface, &frame);
    }

    /// What leaves by an interface.
    fn frames(&mut self, interface: InterfaceId) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1_600];
        let Bench { stack, now, .. } = &mut self.bench;
        let frames = std::iter::from_fn(|| {
            let length = stack.poll_transmit(*now, interface, &mut buffer)?;
            Some(buffer[..length].to_vec())
        });
        frames.take(1_000).collect()
    }

    /// The segments among it, whatever is asked of neighbours meanwhile.
    #[track_caller]
    fn segments(&mut self, interface: InterfaceId) -> Vec<Sent> {
        let frames = self.frames(interface);
        let understood = frames.iter().filter(|frame| !is_question(frame)).map(|frame| {
            let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(ip, segment) = parsed.packet else { panic!("TCP was expected: {parsed:?}") };
            let tuple = FourTuple::of_received(&ip, &segment.header).reversed();
            Sent { link: parsed.link, tuple, header: segment.header, data: segment.payload.to_vec() }
        });
        understood.collect()
    }

    /// Shakes hands by an interface, and nothing leaves by `other`.
    #[track_caller]
    fn connect(&mut self, interface: InterfaceId, other: InterfaceId) -> (ConnectionId, SeqNumber, Sent) {
        let syn = self.bench.header(IRS, SeqNumber::default(), SYN);
        let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
        self.send(interface, TcpHeader { options, ..syn }, b"");
        assert_eq!(self.frames(other), [] as [Vec<u8>; 0]);
        let sent = self.segments(interface);
        let [answer] = &sent[..] else { panic!("a SYN-ACK was expected: {sent:?}") };
        let (answer, iss) = (answer.clone(), answer.header.seq);
        self.send(interface, self.bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        let events = self.bench.events();
        let [Event::Accepted(id, _)] = events[..] else { panic!("a connection was expected: {events:?}") };
        (id, iss, answer)
    }

    /// The address that is asked for by an interface, by ARP or neighbour discovery.
    #[track_caller]
    fn asked(&mut self, interface: InterfaceId) -> IpAddr {
        let frames = self.frames(interface);
        let [frame] = &frames[..] else { panic!("one question was expected: {frames:?}") };
        match wire::parse(frame, ChecksumPolicy::Verify).unwrap().packet {
            Packet::Arp(packet) => packet.target_ip.into(),
            Packet::Icmp(_, IcmpMessage::NeighbourSolicitation { target }) => target.into(),
            other => panic!("a question was expected: {other:?}"),
        }
    }

    /// A neighbour says by ARP where it is.
    fn answer(&mut self, interface: InterfaceId, sender_ip: &str, sender_mac: MacAddress, ours: &str) {
        let (target_mac, target_ip) = (MacAddress::default(), ours.parse().unwrap());
        let (operation, sender_ip) = (Operation::Reply, sender_ip.parse().unwrap());
        let destination = if interface == self.second { OURS_THERE } else { OURS };
        let link = LinkHeader { destination, source: sender_mac, ..LinkHeader::default() };
        let mut frame = vec![0; link.len() + arp::PACKET_LEN];
        let packet = ArpPacket { operation, sender_mac, sender_ip, target_mac, target_ip };
        packet.write(link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
        self.bench.stack.handle_frame(self.bench.now, interface, &frame);
    }
}

#[test]
fn a_connection_is_served_by_the_interface_that_its_client_comes_by() {
    for mut two in Two::each() {
        let second = two.second;
        let (first_id, first_iss, _) = two.connect(InterfaceId::FIRST, second);
        two.move_there();
        two.bench.port += 1;
        let (id, iss, answer) = two.connect(second, InterfaceId::FIRST);
        assert_eq!((answer.link.source, answer.link.destination), (OURS_THERE, THEIRS_THERE));
        two.send(second, two.bench.header(IRS.advance(1), iss.advance(1), ACK), b"hello");
        two.bench.with_stream(id, |stream| stream.write(b"there"));
        two.bench.with_stream(first_id, |stream| stream.write(b"here"));
        let (here, there) = (two.segments(InterfaceId::FIRST), two.segments(second));
        assert_eq!(here.iter().map(|sent| &sent.data[..]).collect::<Vec<_>>(), [b"here"]);
        assert_eq!(there.iter().map(|sent| &sent.data[..]).collect::<Vec<_>>(), [b"there"]);
        assert_eq!((here[0].link.source, there[0].link.source), (OURS, OURS_THERE));
        assert_eq!(here[0].header.seq, first_iss.advance(1));
        // What is sent again leaves the same way.
        two.bench.pass(Duration::from_secs(2));
        assert_eq!((two.segments(InterfaceId::FIRST).len(), two.segments(second).len()), (1, 1));
    }
}

#[test]
fn segments_fit_the_interface_that_they_leave_by() {
    for mut two in Two::each() {
        let second = two.second;
        let headers = if two.bench.ours.is_ipv4() { 40 } else { 60 };
        let (wide, _, answer) = two.connect(InterfaceId::FIRST, second);
        assert_eq!(usize::from(answer.header.options.mss.unwrap()), 1_500 - headers);
        two.move_there();
        let (narrow, _, answer) = two.connect(second, InterfaceId::FIRST);
        assert_eq!(usize::from(answer.header.options.mss.unwrap()), NARROW - headers, "what we invite");
        let local = Endpoint { address: two.bench.ours, port: PORT };
        assert_eq!(usize::from(two.bench.stack.syn_ack_profile(local).mss), NARROW - headers, "XDP says the same");
        two.bench.with_stream(wide, |stream| stream.write(&[1; 5_000]));
        two.bench.with_stream(narrow, |stream| stream.write(&[1; 5_000]));
        let longest = |segments: Vec<Sent>| segments.iter().map(|sent| sent.data.len()).max();
        assert_eq!(longest(two.segments(InterfaceId::FIRST)), Some(1_460.min(1_500 - headers)));
        assert_eq!(longest(two.segments(second)), Some(NARROW - headers));
    }
}

#[test]
fn another_mtu_or_mac_concerns_one_interface() {
    for mut two in Two::each() {
        let second = two.second;
        let headers = if two.bench.ours.is_ipv4() { 40 } else { 60 };
        let (here, ..) = two.connect(InterfaceId::FIRST, second);
        two.move_there();
        let (there, ..) = two.connect(second, InterfaceId::FIRST);
        let moved = MacAddress([2, 0, 0, 0, 7, 7]);
        two.bench.stack.set_mtu(two.bench.now, second, 1_290);
        two.bench.stack.set_mac(second, moved);
        for id in [here, there] {
            two.bench.with_stream(id, |stream| stream.write(&[1; 4_000]));
        }
        let (by_first, by_second) = (two.segments(InterfaceId::FIRST), two.segments(second));
        assert_eq!((by_first[0].link.source, by_first[0].data.len()), (OURS, 1_460.min(1_500 - headers)));
        assert_eq!((by_second[0].link.source, by_second[0].data.len()), (moved, 1_290 - headers));
        two.send(second, two.bench.header(IRS, SeqNumber::default(), SYN), b"");
        assert_eq!(two.bench.drops(DropReason::OtherStation), 1, "the old address is another station's");
    }
}

#[test]
fn an_address_may_be_spoken_to_by_way_of_any_interface_and_the_answer_goes_back_there() {
    // RFC 1122 §3.3.4.2, the weak model.
    for mut two in Two::each() {
        let second = two.second;
        let ours = two.bench.ours;
        two.move_there();
        two.bench.ours = ours;
        let (id, _, answer) = two.connect(second, InterfaceId::FIRST);
        assert_eq!((answer.tuple.local.address, answer.link.source), (ours, OURS_THERE));
        two.bench.with_stream(id, |stream| stream.write(b"data"));
        assert_eq!(two.segments(second).len(), 1);
    }
}

#[test]
fn a_client_that_comes_by_another_interface_from_now_on_is_followed_with_segments_that_fit() {
    for mut two in Two::each() {
        let second = two.second;
        let headers = if two.bench.ours.is_ipv4() { 40 } else { 60 };
        let (id, iss, _) = two.connect(InterfaceId::FIRST, second);
        two.bench.with_stream(id, |stream| stream.write(&[1; 1_000]));
        assert_eq!(two.segments(InterfaceId::FIRST).len(), 1);
        two.bench.link = LinkHeader { destination: OURS_THERE, source: THEIRS_THERE, ..LinkHeader::default() };
        two.send(second, two.bench.header(IRS.advance(1), iss.advance(1_001), ACK), b"moved");
        two.bench.with_stream(id, |stream| stream.write(&[2; 5_000]));
        assert_eq!(two.frames(InterfaceId::FIRST), [] as [Vec<u8>; 0]);
        let sent = two.segments(second);
        assert!(sent.iter().all(|sent| sent.link.source == OURS_THERE && sent.link.destination == THEIRS_THERE));
        assert_eq!(sent.iter().map(|sent| sent.data.len()).max(), Some(NARROW - headers));
        assert_eq!(sent.iter().map(|sent| sent.data.len()).sum::<usize>(), 5_000);
    }
}

#[test]
fn a_neighbours_question_is_answered_on_the_interface_of_the_address_only() {
    let mut two = Two::with(StackConfig::default());
    let second = two.second;
    let ask = |two: &mut Two, interface, target: &str| {
        let (sender_mac, sender_ip) = (THEIRS_THERE, "192.0.2.7".parse().unwrap());
        let (operation, target_mac) = (Operation::Request, MacAddress::default());
        let packet = ArpPacket { operation, sender_mac, sender_ip, target_mac, target_ip: target.parse().unwrap() };
        let link = LinkHeader { destination: MacAddress::BROADCAST, source: THEIRS_THERE, ..LinkHeader::default() };
        let mut frame = vec![0; link.len() + arp::PACKET_LEN];
        packet.write(link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
        two.bench.stack.handle_frame(two.bench.now, interface, &frame);
        (two.frames(InterfaceId::FIRST).len(), two.frames(second).len())
    };
    assert_eq!(ask(&mut two, second, "192.0.2.1"), (0, 1));
    assert_eq!(ask(&mut two, second, "198.18.0.1"), (0, 0));
    assert_eq!(ask(&mut two, InterfaceId::FIRST, "192.0.2.1"), (0, 0));
    assert_eq!(ask(&mut two, InterfaceId::FIRST, "198.18.0.1"), (1, 0));
    assert_eq!(two.bench.drops(DropReason::ArpNotForUs), 2);
    // So it is with neighbour discovery.
    let solicit = |two: &mut Two, interface, mac, target: &str| {
        let target: std::net::Ipv6Addr = target.parse().unwrap();
        let ip = IpHeader { hop_limit: 255, ..IpHeader::new(two.bench.theirs, target.into(), Protocol::Icmpv6) };
        let link = LinkHeader { destination: mac, source: THEIRS, ..LinkHeader::default() };
        let mut frame = vec![0; link.len() + ip.len() + icmp::SOLICITATION_LEN];
        let message = ip.write(icmp::SOLICITATION_LEN, link.write(ip.ether_type(), &mut frame));
        icmp::write_solicitation(&ip, target, THEIRS, message);
        two.bench.stack.handle_frame(two.bench.now, interface, &frame);
        (two.frames(InterfaceId::FIRST).len(), two.frames(second).len())
    };
    two.bench.theirs = "2001:db8::7".parse().unwrap();
    assert_eq!(solicit(&mut two, second, OURS_THERE, "2001:db8::1"), (0, 1));
    assert_eq!(solicit(&mut two, second, OURS_THERE, "2001:2::1"), (0, 0));
    assert_eq!(solicit(&mut two, InterfaceId::FIRST, OURS, "2001:db8::1"), (0, 0));
    assert_eq!(solicit(&mut two, InterfaceId::FIRST, OURS, "2001:2::1"), (1, 0));
}

#[test]
fn a_connection_that_we_open_leaves_by_the_interface_that_leads_there() {
    let cases = [
        ("198.18.0.7", InterfaceId::FIRST, "198.18.0.7", "198.18.0.1"),
        ("192.0.2.7", InterfaceId::at(1).unwrap(), "192.0.2.7", "192.0.2.1"),
        ("203.0.113.7", InterfaceId::at(1).unwrap(), "192.0.2.254", "192.0.2.1"),
        ("2001:2::7", InterfaceId::FIRST, "2001:2::7", "2001:2::1"),
        ("2001:db8::7", InterfaceId::at(1).unwrap(), "2001:db8::7", "2001:db8::1"),
        ("2001:db8:9::7", InterfaceId::at(1).unwrap(), "2001:db8::fe", "2001:db8::1"),
    ];
    for (remote, interface, next_hop, source) in cases {
        let mut two = Two::with(StackConfig::default());
        let remote = Endpoint { address: remote.parse().unwrap(), port: 9 };
        two.bench.stack.connect(two.bench.now, remote, None).unwrap();
        let other = if interface == two.second { InterfaceId::FIRST } else { two.second };
        assert_eq!(two.frames(other), [] as [Vec<u8>; 0], "{remote}");
        assert_eq!(two.asked(interface), next_hop.parse::<IpAddr>().unwrap());
        if remote.address.is_ipv6() {
            continue;
        }
        // An answer that comes by the other interface answers nothing.
        two.answer(other, next_hop, ROUTER, source);
        assert_eq!(two.frames(interface).len() + two.frames(other).len(), 0);
        two.answer(interface, next_hop, ROUTER, source);
        let [syn] = &two.segments(interface)[..] else { panic!("a SYN was expected") };
        assert_eq!((syn.tuple.local.address, syn.link.destination), (source.parse().unwrap(), ROUTER));
        let mtu = if interface == two.second { NARROW } else { 1_500 };
        assert_eq!(usize::from(syn.header.options.mss.unwrap()), mtu - 40);
    }
}

#[test]
fn of_two_subnets_the_narrower_one_leads_and_an_address_binds_to_its_interface() {
    let mut two = Two::with(StackConfig::default());
    two.bench.stack.add_address(two.second, own("198.18.0.129/25")).unwrap();
    let remote = Endpoint { address: "198.18.0.200".parse().unwrap(), port: 9 };
    two.bench.stack.connect(two.bench.now, remote, None).unwrap();
    assert_eq!(two.asked(two.second), remote.address);
    // From the other interface's address it leaves there.
    let from = two.bench.ours;
    two.bench.stack.connect(two.bench.now, remote, Some(from)).unwrap();
    assert_eq!(two.asked(InterfaceId::FIRST), remote.address);
    // That one knows no way further.
    let far = Endpoint { address: "203.0.113.7".parse().unwrap(), port: 9 };
    let refused = two.bench.stack.connect(two.bench.now, far, Some(from));
    assert_eq!(refused, Err(crate::stack::ConnectError::NoRoute(far.address)));
}

#[test]
fn what_the_application_wants_of_segments_does_not_make_them_larger_than_the_interface_takes() {
    let mut two = Two::with(StackConfig::default());
    let remote = Endpoint { address: "192.0.2.7".parse().unwrap(), port: 9 };
    let id = two.bench.stack.connect(two.bench.now, remote, None).unwrap();
    two.bench.with_stream(id, |stream| stream.set_max_segment(MaxSegment::new(9_000)));
    two.asked(two.second);
    two.answer(two.second, "192.0.2.7", THEIRS_THERE, "192.0.2.1");
    let [syn] = &two.segments(two.second)[..] else { panic!("a SYN was expected") };
    assert_eq!(syn.header.options.mss, Some(1_260));
    let (syn, second) = (syn.clone(), two.second);
    two.move_there();
    two.bench.port = remote.port;
    let options = TcpOptions { mss: Some(1_460), ..TcpOptions::default() };
    let header = two.bench.header(IRS, syn.header.seq.advance(1), SYN | ACK);
    two.send(second, TcpHeader { destination_port: syn.tuple.local.port, options, ..header }, b"");
    two.bench.with_stream(id, |stream| stream.write(&[1; 3_000]));
    assert_eq!(two.segments(second).iter().map(|sent| sent.data.len()).max(), Some(1_260));
}

#[test]
fn datagrams_are_answered_by_the_interface_they_came_by_and_others_are_routed() {
    let mut two = Two::with(StackConfig::default());
    let second = two.second;
    let id = two.bench.stack.bind_udp(None, 53).unwrap();
    two.move_there();
    let ip = IpHeader::new(two.bench.theirs, two.bench.ours, Protocol::Udp);
    let mut frame = vec![0; udp::frame_len(&two.bench.link, &ip, 4)];
    udp::write(&two.bench.link, &ip, (7, 53), b"ping", &mut frame);
    two.bench.stack.handle_frame(two.bench.now, second, &frame);
    let (local, remote) = two.bench.stack.receive_udp(id, &mut Vec::new()).unwrap();
    let send = |two: &mut Two, remote, data: &[u8]| two.bench.stack.send_udp(two.bench.now, id, None, remote, data);
    two.bench.stack.send_udp(two.bench.now, id, Some(local.address), remote, b"pong").unwrap();
    assert_eq!((two.frames(InterfaceId::FIRST).len(), two.frames(second).len()), (0, 1));
    // What fits one interface need not fit the other.
    let here = Endpoint { address: "198.18.0.9".parse().unwrap(), port: 7 };
    let far = Endpoint { address: "203.0.113.7".parse().unwrap(), port: 7 };
    assert!(matches!(send(&mut two, far, &[0; 1_400]), Err(crate::stack::SendError::TooLong { most: 1_272, .. })));
    send(&mut two, here, &[0; 1_400]).unwrap();
    assert_eq!((two.asked(InterfaceId::FIRST), two.frames(second).len()), (here.address, 0));
    // A neighbour of the same name on the other interface is another one.
    two.answer(second, "198.18.0.9", ROUTER, "192.0.2.1");
    assert_eq!(two.frames(InterfaceId::FIRST).len() + two.frames(second).len(), 0);
    two.answer(InterfaceId::FIRST, "198.18.0.9", THEIRS, "198.18.0.1");
    assert_eq!((two.frames(InterfaceId::FIRST).len(), two.frames(second).len()), (1, 0));
}

#[test]
fn a_director_of_one_interface_gets_no_answers_of_another_ones() {
    for mut two in Two::each() {
        let second = two.second;
        two.bench.stack.set_answers_to(second, ROUTER);
        let (.., answer) = two.connect(InterfaceId::FIRST, second);
        assert_eq!(answer.link.destination, THEIRS);
        two.move_there();
        let (.., answer) = two.connect(second, InterfaceId::FIRST);
        assert_eq!(answer.link.destination, ROUTER);
    }
}

#[test]
fn an_interface_that_there_is_not_takes_nothing_and_gives_nothing() {
    let mut bench = Bench::new();
    let nowhere = InterfaceId::at(3).unwrap();
    let syn = bench.header(IRS, SeqNumber::default(), SYN);
    let ip = IpHeader::new(bench.theirs, bench.ours, Protocol::Tcp);
    let mut frame = vec![0; wire::tcp_frame_len(&bench.link, &ip, &syn)];
    wire::write_tcp(&bench.link, &ip, &syn, (&[], &[]), &mut frame);
    bench.stack.handle_frame(bench.now, nowhere, &frame);
    bench.stack.handle_frames(bench.now, nowhere, [&frame, &frame]);
    bench.stack.overhear(bench.now, nowhere, &frame);
    bench.stack.set_mtu(bench.now, nowhere, 1_400);
    bench.stack.set_mac(nowhere, THEIRS);
    bench.stack.set_answers_to(nowhere, THEIRS);
    assert_eq!(bench.drops(DropReason::NoInterface), 3);
    assert_eq!(bench.stack.poll_transmit(bench.now, nowhere, &mut [0; 1_600]), None);
    assert_eq!(bench.stack.stats().mtu_changes, 0);
}

#[test]
fn interfaces_have_a_limit() {
    let mut bench = Bench::new();
    let added = (0..1_000).take_while(|_| bench.stack.add_interface(InterfaceConfig::default()).is_ok()).count();
    assert_eq!((added + 1, bench.stack.interfaces().count()), (InterfaceId::LIMIT, InterfaceId::LIMIT));
    let error = bench.stack.add_interface(InterfaceConfig::default()).unwrap_err();
    assert_eq!(error.to_string(), "a stack has no more than 256 interfaces; run another stack for this one");
}
