//! Active open: whereto, from where, and how it ends.

use super::*;
use crate::{
    stack::{ConnectError, SoftError},
    wire::{ArpPacket, IcmpMessage, arp::Operation, ethernet, icmp},
};

const REMOTE_PORT: u16 = 7;

impl Bench {
    fn remote(&self) -> Endpoint {
        Endpoint { address: self.theirs, port: REMOTE_PORT }
    }

    /// Begins to open a connection; the neighbour's address is not known yet.
    pub(super) fn begin(&mut self) -> ConnectionId {
        self.stack.connect(self.now, self.remote(), None).expect("there is a way")
    }

    /// The neighbour that the stack asks for; nothing else may be sent.
    #[track_caller]
    pub(super) fn asked(&mut self) -> IpAddr {
        let frames = self.frames();
        let [frame] = &frames[..] else { panic!("one question was expected: {frames:?}") };
        let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
        match parsed.packet {
            Packet::Arp(packet) => {
                assert_eq!((packet.operation, packet.sender_mac), (Operation::Request, OURS));
                assert_eq!(parsed.link.destination, MacAddress::BROADCAST);
                packet.target_ip.into()
            }
            Packet::Icmp(ip, IcmpMessage::NeighbourSolicitation { target }) => {
                assert!(ip.destination.is_multicast() && parsed.link.destination.is_group());
                target.into()
            }
            other => panic!("a question was expected: {other:?}"),
        }
    }

    /// The neighbour answers for `address`.
    pub(super) fn answer(&mut self, address: IpAddr) {
        self.answer_as(address, THEIRS);
    }

    /// Somebody says that `address` is at `station`.
    pub(super) fn answer_as(&mut self, address: IpAddr, station: MacAddress) {
        let mut frame = vec![0; 200];
        let length = match (address, self.ours) {
            (IpAddr::V4(address), IpAddr::V4(ours)) => {
                let operation = Operation::Reply;
                let (sender_mac, target_mac) = (station, OURS);
                let reply = ArpPacket { operation, sender_mac, sender_ip: address, target_mac, target_ip: ours };
                reply.write(self.link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
                self.link.len() + 28
            }
            (IpAddr::V6(target), ours) => {
                let mut ip = IpHeader::new(address, ours, Protocol::Icmpv6);
                ip.hop_limit = 255;
                let rest = self.link.write(ip.ether_type(), &mut frame);
                let message = ip.write(icmp::ADVERTISEMENT_LEN, rest);
                icmp::write_advertisement(&ip, target, true, station, message);
                self.link.len() + ip.len() + icmp::ADVERTISEMENT_LEN
            }
            _ => panic!("both addresses are of one family"),
        };
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame[..length]);
    }

    /// Begins to open a connection, as far as the SYN.
    #[track_caller]
    pub(super) fn begin_with_syn(&mut self) -> (ConnectionId, Sent) {
        let id = self.begin();
        let neighbour = self.asked();
        self.answer(neighbour);
        let syn = self.sent_one();
        assert!(syn.has(SYN), "{syn:?}");
        (id, syn)
    }

    /// The peer of `syn` sends a segment.
    pub(super) fn reply(&mut self, syn: &Sent, seq: SeqNumber, ack: SeqNumber, flags: TcpFlags, data: &[u8]) {
        self.reply_with(syn, seq, ack, flags, TcpOptions::default(), data);
    }

    pub(super) fn reply_with(
        &mut self,
        syn: &Sent,
        seq: SeqNumber,
        ack: SeqNumber,
        flags: TcpFlags,
        options: TcpOptions,
        data: &[u8],
    ) {
        let header = TcpHeader {
            source_port: syn.tuple.remote.port,
            destination_port: syn.tuple.local.port,
            options,
            ..self.header(seq, ack, flags)
        };
        self.send(header, data);
    }

    #[track_caller]
    pub(super) fn open(&mut self) -> (ConnectionId, Sent) {
        let (id, syn) = self.begin_with_syn();
        self.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, b"");
        assert_eq!(self.events(), [Event::Connected(id)]);
        let ack = self.sent_one();
        assert!(ack.has(ACK) && ack.header.seq == syn.header.seq.advance(1), "{ack:?}");
        (id, syn)
    }

    pub(super) fn state_of(&self, syn: &Sent) -> State {
        self.stack.state_of(&syn.tuple)
    }
}

#[test]
fn a_connection_is_opened_over_either_ip_version() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let id = bench.begin();
        let asked = bench.asked();
        assert_eq!(asked, bench.theirs);
        bench.answer(asked);
        let syn = bench.sent_one();
        assert_eq!(syn.link.destination, THEIRS);
        assert_eq!((syn.tuple.local.address, syn.tuple.remote), (bench.ours, bench.remote()));
        assert_eq!(bench.state_of(&syn), State::SynSent);
        bench.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, b"");
        assert_eq!(bench.state_of(&syn), State::Established);
        assert_eq!(bench.events(), [Event::Connected(id)]);
        let ack = bench.sent_one();
        assert!(ack.has(ACK) && ack.header.ack == IRS.advance(1), "{ack:?}");
        bench.with_stream(id, |stream| assert_eq!(stream.write(b"hello"), 5));
        assert_eq!(bench.sent_one().data, b"hello");
    }
}

#[test]
fn x_ss_2_data_written_early_follow_the_handshake() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.with_stream(id, |stream| {
        assert_eq!(stream.write(b"early"), 5);
        stream.shutdown_write();
    });
    assert_eq!(bench.sent(), []);
    bench.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, b"");
    let first = bench.sent_one();
    assert_eq!(first.data, b"early");
    assert!(first.has(TcpFlags::PSH | ACK | FIN), "{first:?}");
}

#[test]
fn data_and_fin_on_the_syn_ack_count() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, b"welcome");
    assert_eq!(bench.events(), [Event::Connected(id), Event::Ready(id)]);
    assert_eq!(bench.sent_one().header.ack, IRS.advance(8));
    bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"welcome"));
}

#[test]
fn must_10_both_ends_may_open_at_once() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.reply(&syn, IRS, SeqNumber::default(), SYN, b"");
    assert_eq!(bench.state_of(&syn), State::SynReceived);
    let syn_ack = bench.sent_one();
    assert!(syn_ack.has(SYN | ACK), "{syn_ack:?}");
    assert_eq!((syn_ack.header.seq, syn_ack.header.ack), (syn.header.seq, IRS.advance(1)));
    // Figure 8: the peer's SYN-ACK ends it. So would its bare acknowledgment.
    bench.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, b"");
    assert_eq!(bench.state_of(&syn), State::Established);
    assert_eq!(bench.events(), [Event::Connected(id)]);
    assert!(bench.sent_one().has(ACK));
}

#[test]
fn must_10_a_simultaneous_open_also_ends_with_a_bare_acknowledgment() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.reply(&syn, IRS, SeqNumber::default(), SYN, b"");
    bench.sent_one();
    bench.reply(&syn, IRS.advance(1), syn.header.seq.advance(1), ACK, b"data");
    assert_eq!(bench.events(), [Event::Connected(id), Event::Ready(id)]);
    bench.with_stream(id, |stream| assert_eq!(stream.readable(), b"data"));
}

#[test]
fn must_10_two_stacks_open_at_once() {
    let (mut one, mut two) = (Bench::new(), Bench::new());
    let cidr = "198.18.0.2/24".parse().unwrap();
    let theirs = vec![LocalAddress { cidr, ownership: Ownership::Own }];
    two.stack = Stack::new(StackConfig::default(), THEIRS, theirs, Secrets::from_seed(2));
    let ends = [one.ours, one.theirs].map(|address| Endpoint { address, port: 5_000 });
    let first = one.stack.connect_from(one.now, ends[1], ends[0]).unwrap();
    let second = two.stack.connect_from(two.now, ends[0], ends[1]).unwrap();
    for _ in 0..10 {
        let (from_one, from_two) = (one.frames(), two.frames());
        from_one.iter().for_each(|frame| two.stack.handle_frame(two.now, InterfaceId::FIRST, frame));
        from_two.iter().for_each(|frame| one.stack.handle_frame(one.now, InterfaceId::FIRST, frame));
    }
    assert_eq!(one.events(), [Event::Connected(first)]);
    assert_eq!(two.events(), [Event::Connected(second)]);
    one.with_stream(first, |stream| stream.write(b"both"));
    one.frames().iter().for_each(|frame| two.stack.handle_frame(two.now, InterfaceId::FIRST, frame));
    two.with_stream(second, |stream| assert_eq!(stream.readable(), b"both"));
}

#[test]
fn must_11_a_reset_after_a_simultaneous_syn_is_a_refusal() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.reply(&syn, IRS, SeqNumber::default(), SYN, b"");
    bench.sent_one();
    bench.reply(&syn, IRS.advance(1), SeqNumber::default(), RST, b"");
    closed(&bench.events(), id, CloseReason::Refused);
    assert_eq!(bench.state_of(&syn), State::Closed);
}

#[test]
fn x_ss_1_a_reset_counts_in_syn_sent_only_with_our_number() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.reply(&syn, IRS, SeqNumber::default(), RST, b"");
    bench.reply(&syn, IRS, syn.header.seq, RST | ACK, b"");
    bench.reply(&syn, IRS, syn.header.seq.advance(2), RST | ACK, b"");
    assert_eq!((bench.state_of(&syn), bench.sent()), (State::SynSent, vec![]));
    bench.reply(&syn, IRS, syn.header.seq.advance(1), RST | ACK, b"");
    closed(&bench.events(), id, CloseReason::Refused);
    assert_eq!(bench.stack.stats().connections_refused, 1);
}

#[test]
fn a_wrong_acknowledgment_in_syn_sent_draws_a_reset() {
    let mut bench = Bench::new();
    let (_, syn) = bench.begin_with_syn();
    // An old connection of the other end's, half open (RFC 9293 §3.5.1): with SYN and without.
    for flags in [ACK, SYN | ACK] {
        bench.reply(&syn, IRS, syn.header.seq.advance(100), flags, b"");
        let reset = bench.sent_one();
        assert!(reset.has(RST) && reset.header.seq == syn.header.seq.advance(100), "{reset:?}");
        assert_eq!(bench.state_of(&syn), State::SynSent);
    }
    bench.reply(&syn, IRS, SeqNumber::default(), FIN, b"x");
    assert_eq!(bench.drops(DropReason::NoSyn), 1);
}

#[test]
fn must_23_a_syn_is_sent_again_for_three_minutes() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    let begun = bench.now;
    let mut sent = Vec::new();
    while !bench.events().iter().any(|event| matches!(event, Event::Closed(..))) {
        bench.now = bench.now.max(bench.stack.poll_timeout().expect("a timer runs"));
        bench.stack.handle_timeout(bench.now);
        let again = bench.sent_segments();
        again.iter().for_each(|again| assert_eq!((again.header.seq, again.header.flags), (syn.header.seq, SYN)));
        sent.extend(again.iter().map(|_| (bench.now - begun).as_secs()));
    }
    assert_eq!(sent, [1, 3, 7, 15, 31, 63, 123], "doubling (MUST-22), up to the longest timeout");
    assert_eq!((bench.now - begun).as_secs(), 180);
    assert_eq!(bench.stack.stats().connections_timed_out, 1);
    assert!(bench.stack.stream(bench.now, id).is_none());
}

impl Bench {
    /// The segments the stack has to send, without questions for neighbours.
    pub(super) fn sent_segments(&mut self) -> Vec<Sent> {
        let mut frames = self.frames();
        let is_tcp =
            |frame: &[u8]| matches!(wire::parse(frame, ChecksumPolicy::Verify).unwrap().packet, Packet::Tcp(..));
        frames.retain(|frame| is_tcp(frame));
        let understand = |frame: &Vec<u8>| {
            let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Tcp(ip, segment) = parsed.packet else { panic!("TCP was expected: {parsed:?}") };
            let tuple = FourTuple::of_received(&ip, &segment.header).reversed();
            Sent { link: parsed.link, tuple, header: segment.header, data: segment.payload.to_vec() }
        };
        frames.iter().map(understand).collect()
    }
}

#[test]
fn a_neighbour_that_is_not_there_is_asked_three_times() {
    let mut bench = Bench::new();
    let id = bench.begin();
    for _ in 0..3 {
        bench.asked();
        assert_eq!(bench.events(), []);
        bench.pass(Duration::from_secs(1));
    }
    closed(&bench.events(), id, CloseReason::Unreachable);
    assert_eq!(bench.frames(), Vec::<Vec<u8>>::new());
    assert_eq!(bench.stack.poll_timeout(), None);
}

#[test]
fn a_known_neighbour_is_not_asked_again_for_a_while() {
    let mut bench = Bench::new();
    bench.open();
    bench.begin();
    assert!(bench.sent_one().has(SYN));
    bench.stack.abort_all(bench.now);
    bench.pass(Duration::from_secs(40));
    bench.sent_segments();
    bench.begin();
    let neighbour = bench.asked_besides_segments();
    assert_eq!(neighbour, bench.theirs);
}

impl Bench {
    fn asked_besides_segments(&mut self) -> IpAddr {
        let frames = self.frames();
        let question = frames.iter().find(|frame| frame[12..14] == [8, 6]).expect("a question");
        match wire::parse(question, ChecksumPolicy::Verify).unwrap().packet {
            Packet::Arp(packet) => packet.target_ip.into(),
            other => panic!("ARP was expected: {other:?}"),
        }
    }
}

#[test]
fn a_neighbour_who_was_not_asked_is_not_believed() {
    let mut bench = Bench::new();
    bench.answer(bench.theirs);
    assert_eq!(bench.drops(DropReason::UnaskedNeighbour), 1);
    bench.begin();
    bench.asked();
}

#[test]
fn a_neighbour_beyond_the_limit_is_refused_at_once() {
    let mut bench = Bench::with(StackConfig { max_neighbours: 1, ..StackConfig::default() });
    let elsewhere = Endpoint { address: "198.18.0.3".parse().unwrap(), port: REMOTE_PORT };
    bench.begin();
    assert_eq!(bench.stack.connect(bench.now, elsewhere, None), Err(ConnectError::Neighbours(1)));
    assert_eq!(bench.stack.flow_counts().0, 1, "nothing waits for an answer to what was never asked");
    // Once the first one has answered, it makes room.
    let neighbour = bench.asked();
    bench.answer(neighbour);
    bench.sent_segments();
    bench.stack.connect(bench.now, elsewhere, None).unwrap();
    assert_eq!(bench.asked(), elsewhere.address);
}

#[test]
fn who_is_asked_anew_has_as_long_to_answer_as_at_first() {
    let mut bench = Bench::new();
    let id = bench.begin();
    let neighbour = bench.asked();
    bench.answer(neighbour);
    bench.sent_segments();
    bench.pass(Duration::from_millis(900));
    bench.stack.reprobe_neighbour(bench.now, id, bench.theirs);
    let begun = bench.now;
    let mut asked = Vec::new();
    while bench.now - begun < Duration::from_secs(5) {
        let questions = bench.frames().iter().filter(|frame| frame[12..14] == [8, 6]).count();
        asked.extend(std::iter::repeat_n((bench.now - begun).as_millis(), questions));
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!(
        asked,
        [0, 300, 1_300, 2_300],
        "at its station, then everybody; the question before this one is answered, and its time says nothing"
    );
}

#[test]
fn must_20_and_x_rep_1_another_way_is_looked_for_and_the_application_told_when_segments_draw_no_answer() {
    let mut bench = Bench::new();
    let (id, syn) = bench.open();
    bench.with_stream(id, |stream| stream.write(b"hello"));
    assert_eq!(bench.sent_one().link.destination, THEIRS);
    let mut asked_everybody = false;
    let mut events = Vec::new();
    while events.is_empty() || !asked_everybody {
        bench.now = bench.now.max(bench.stack.poll_timeout().expect("a timer runs"));
        bench.stack.handle_timeout(bench.now);
        events.extend(bench.events());
        asked_everybody = bench.frames().iter().any(|frame| frame[..6] == [0xff; 6]);
    }
    let trouble = Event::SoftError(id, SoftError::ExcessiveRetransmission);
    assert_eq!(events, [trouble]);
    let elsewhere = MacAddress([2, 0, 0, 0, 0, 3]);
    let reply = ArpPacket {
        operation: Operation::Reply,
        sender_mac: elsewhere,
        sender_ip: "198.18.0.2".parse().unwrap(),
        target_mac: OURS,
        target_ip: "198.18.0.1".parse().unwrap(),
    };
    let mut frame = vec![0; 60];
    reply.write(bench.link.write(ethernet::ETHER_TYPE_ARP, &mut frame));
    bench.stack.handle_frame(bench.now, InterfaceId::FIRST, &frame);
    let mut sent = Vec::new();
    while sent.is_empty() {
        bench.now = bench.now.max(bench.stack.poll_timeout().expect("a timer runs"));
        bench.stack.handle_timeout(bench.now);
        sent = bench.sent();
    }
    assert_eq!(sent[0].link.destination, elsewhere);
    assert_eq!(bench.state_of(&syn), State::Established);
}

#[test]
fn must_44_the_source_is_the_address_that_faces_the_destination() {
    let own = |text: &str| LocalAddress { cidr: text.parse::<Cidr>().unwrap(), ownership: Ownership::Own };
    let gateways = vec!["10.1.2.254".parse().unwrap(), "fd00::fe".parse().unwrap()];
    let config = StackConfig { gateways, ..StackConfig::default() };
    let addresses = ["10.0.0.1/8", "10.1.2.3/24", "192.0.2.1/24", "fd00::1/64"].map(own).to_vec();
    let mut bench = Bench::new();
    bench.stack = Stack::new(config, OURS, addresses, Secrets::from_seed(3));
    for (remote, hop, source) in [
        ("10.9.9.9", "10.9.9.9", "10.0.0.1"),
        ("10.1.2.9", "10.1.2.9", "10.1.2.3"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.1"),
        ("203.0.113.7", "10.1.2.254", "10.1.2.3"),
        ("2001:db8::7", "fd00::fe", "fd00::1"),
    ] {
        let remote = Endpoint { address: remote.parse().unwrap(), port: REMOTE_PORT };
        bench.ours = source.parse().unwrap();
        bench.stack.connect(bench.now, remote, None).unwrap();
        let frames = bench.frames();
        let first = wire::parse(&frames[0], ChecksumPolicy::Verify).unwrap();
        if !matches!(first.packet, Packet::Tcp(..)) {
            frames.iter().for_each(|_| bench.answer(hop.parse().unwrap()));
        }
        let frames = if matches!(first.packet, Packet::Tcp(..)) { frames } else { bench.frames() };
        let Packet::Tcp(ip, _) = wire::parse(&frames[0], ChecksumPolicy::Verify).unwrap().packet else {
            panic!("a SYN to {remote} was expected");
        };
        assert_eq!((ip.source, ip.destination), (bench.ours, remote.address));
    }
}

#[test]
fn must_43_the_source_may_be_chosen_and_must_46_only_hosts_are_connected_to() {
    let mut bench = Bench::new();
    let connect = |bench: &mut Bench, remote: &str, local: Option<&str>| {
        let remote: std::net::SocketAddr = remote.parse().unwrap();
        let remote = Endpoint { address: remote.ip(), port: remote.port() };
        bench.stack.connect(bench.now, remote, local.map(|local| local.parse().unwrap()))
    };
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let cases = [
        ("224.0.0.1:80", None, ConnectError::NotUnicast(address("224.0.0.1"))),
        ("255.255.255.255:80", None, ConnectError::NotUnicast(address("255.255.255.255"))),
        ("198.18.0.255:80", None, ConnectError::NotUnicast(address("198.18.0.255"))),
        ("0.0.0.0:80", None, ConnectError::NotUnicast(address("0.0.0.0"))),
        ("127.0.0.1:80", None, ConnectError::NotUnicast(address("127.0.0.1"))),
        ("[ff02::1]:80", None, ConnectError::NotUnicast(address("ff02::1"))),
        ("[::1]:80", None, ConnectError::NotUnicast(address("::1"))),
        ("[::ffff:198.18.0.2]:80", None, ConnectError::NotUnicast(address("::ffff:198.18.0.2"))),
        ("198.18.0.1:80", None, ConnectError::OwnAddress(address("198.18.0.1"))),
        ("198.18.0.2:0", None, ConnectError::PortZero),
        ("203.0.113.1:80", None, ConnectError::NoRoute(address("203.0.113.1"))),
        ("198.18.0.2:80", Some("198.18.0.9"), ConnectError::NotOurs(address("198.18.0.9"))),
        ("198.18.0.2:80", Some("2001:2::1"), ConnectError::NotOurs(address("2001:2::1"))),
    ];
    for (remote, local, error) in cases {
        assert_eq!(connect(&mut bench, remote, local), Err(error), "{remote}");
    }
    assert_eq!(bench.frames(), Vec::<Vec<u8>>::new());
    assert!(connect(&mut bench, "198.18.0.2:80", Some("198.18.0.1")).is_ok());
}

#[test]
fn ports_follow_each_other_and_differ_by_destination() {
    let mut bench = Bench::new();
    bench.begin();
    let mut ports = Vec::new();
    for _ in 0..100 {
        bench.begin();
    }
    bench.asked();
    bench.answer(bench.theirs);
    ports.extend(bench.sent().iter().map(|syn| syn.tuple.local.port));
    assert!(ports.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count() > 95, "{ports:?}");
    let elsewhere = Endpoint { address: bench.theirs, port: 8 };
    bench.stack.connect(bench.now, elsewhere, None).unwrap();
    let port = bench.sent_one().tuple.local.port;
    assert!(!(ports[0]..ports[0].saturating_add(200)).contains(&port), "{port} tells nothing of {}", ports[0]);
}

#[test]
fn ports_run_out_and_come_back() {
    let config = StackConfig { ephemeral_ports: 79..=81, ..StackConfig::default() };
    let mut bench = Bench::with(config);
    let first = bench.begin();
    bench.begin();
    // 80 has a listener.
    let none = bench.stack.connect(bench.now, bench.remote(), None);
    assert_eq!(none, Err(ConnectError::NoPortLeft(bench.remote())));
    bench.with_stream(first, |stream| stream.close());
    assert!(bench.events().contains(&Event::Closed(first, CloseReason::Aborted)));
    bench.begin();
}

#[test]
fn a_tuple_in_use_is_refused() {
    let mut bench = Bench::new();
    let local = Endpoint { address: bench.ours, port: 5_000 };
    bench.stack.connect_from(bench.now, bench.remote(), local).unwrap();
    let tuple = FourTuple { local, remote: bench.remote() };
    assert_eq!(bench.stack.connect_from(bench.now, bench.remote(), local), Err(ConnectError::InUse(tuple)));
    let limited = StackConfig { max_connections: 0, ..StackConfig::default() };
    let mut bench = Bench::with(limited);
    assert_eq!(bench.stack.connect(bench.now, bench.remote(), None), Err(ConnectError::Limit(0)));
}

#[test]
fn closing_in_syn_sent_says_nothing_to_anyone() {
    let mut bench = Bench::new();
    let (id, syn) = bench.begin_with_syn();
    bench.with_stream(id, |stream| stream.close());
    closed(&bench.events(), id, CloseReason::Aborted);
    assert_eq!((bench.sent(), bench.state_of(&syn)), (vec![], State::Closed));
    // The answer that comes nevertheless belongs to nobody.
    bench.reply(&syn, IRS, syn.header.seq.advance(1), SYN | ACK, b"");
    assert!(bench.sent_one().has(RST));
}

#[test]
fn must_8_numbers_follow_the_clock_and_shld_1_the_key() {
    let number = |seed, millis, port| {
        let mut bench = Bench::new();
        bench.stack = Stack::new(
            StackConfig::default(),
            OURS,
            vec![LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Own }],
            Secrets::from_seed(seed),
        );
        bench.now = Instant::from_millis(millis);
        let local = Endpoint { address: bench.ours, port };
        bench.stack.connect_from(bench.now, bench.remote(), local).unwrap();
        let neighbour = bench.asked();
        bench.answer(neighbour);
        bench.sent_one().header.seq
    };
    assert_eq!(number(1, 2_000, 5_000).since(number(1, 1_000, 5_000)), 250_000, "a tick is 4 microseconds");
    assert_ne!(number(1, 1_000, 5_000), number(2, 1_000, 5_000), "must_9: another key, another number");
    let (one, next) = (number(1, 1_000, 5_000), number(1, 1_000, 5_001));
    assert!(next.since(one).min(one.since(next)) > 1_000, "one port's number tells nothing of the next one's");
}

#[test]
fn the_backlog_is_bounded() {
    let mut bench = Bench::with(StackConfig { max_backlog: 1, ..StackConfig::default() });
    let shake = |bench: &mut Bench| {
        bench.send_syn(TcpOptions::default());
        let iss = bench.sent_one().header.seq;
        bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
        iss
    };
    shake(&mut bench);
    bench.port += 1;
    let iss = shake(&mut bench);
    assert_eq!((bench.drops(DropReason::BacklogFull), bench.state()), (1, State::SynReceived));
    assert_eq!(bench.events().len(), 1);
    bench.send(bench.header(IRS.advance(1), iss.advance(1), ACK), b"");
    assert_eq!(bench.state(), State::Established);
}
