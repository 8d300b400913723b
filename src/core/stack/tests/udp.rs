//! UDP sockets.

use super::*;
use crate::{
    stack::{BindError, SendError, UdpId},
    wire::udp,
};

const ECHO: u16 = 7;

impl Bench {
    /// The client sends a datagram.
    fn send_datagram(&mut self, port: u16, data: &[u8]) {
        let ip = IpHeader::new(self.theirs, self.ours, Protocol::Udp);
        let mut frame = vec![0; udp::frame_len(&self.link, &ip, data.len())];
        udp::write(&self.link, &ip, (self.port, port), data, &mut frame);
        self.stack.handle_frame(self.now, InterfaceId::FIRST, &frame);
    }

    #[track_caller]
    fn bind(&mut self, port: u16) -> UdpId {
        self.stack.bind_udp(None, port).expect("the port is free")
    }

    fn read(&mut self, id: UdpId) -> Option<(Endpoint, Endpoint, Vec<u8>)> {
        let mut data = Vec::new();
        self.stack.receive_udp(id, &mut data).map(|(local, remote)| (local, remote, data))
    }

    fn client(&self) -> Endpoint {
        Endpoint { address: self.theirs, port: self.port }
    }

    /// The ends and data of every datagram the stack has to send, and where it goes on the link.
    fn datagrams(&mut self) -> Vec<(MacAddress, Endpoint, Endpoint, Vec<u8>)> {
        let understand = |frame: &Vec<u8>| {
            let parsed = wire::parse(frame, ChecksumPolicy::Verify).expect("what is sent is well-formed");
            let Packet::Udp(ip, datagram) = parsed.packet else { panic!("UDP was expected: {parsed:?}") };
            let local = Endpoint { address: ip.source, port: datagram.source_port };
            let remote = Endpoint { address: ip.destination, port: datagram.destination_port };
            (parsed.link.destination, local, remote, datagram.payload.to_vec())
        };
        self.frames().iter().map(understand).collect()
    }
}

#[test]
fn a_datagram_comes_and_its_answer_goes_the_way_it_came() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        // From beyond a gateway that nobody has told us of.
        bench.theirs = if bench.ours.is_ipv4() { "203.0.113.9" } else { "2001:db8::9" }.parse().unwrap();
        let id = bench.bind(ECHO);
        bench.send_datagram(ECHO, b"hello");
        assert_eq!(bench.events(), [Event::Datagram(id)]);
        let (ours, theirs) = (Endpoint { address: bench.ours, port: ECHO }, bench.client());
        assert_eq!(bench.read(id), Some((ours, theirs, b"hello".to_vec())));
        assert_eq!(bench.read(id), None);
        assert_eq!(bench.stack.send_udp(bench.now, id, Some(ours.address), theirs, b"hello yourself"), Ok(()));
        assert_eq!(bench.datagrams(), [(THEIRS, ours, theirs, b"hello yourself".to_vec())]);
        let stats = bench.stack.stats();
        assert_eq!((stats.datagrams_received, stats.datagrams_transmitted), (1, 1));
    }
}

#[test]
fn many_datagrams_are_one_event_until_it_has_been_read() {
    let mut bench = Bench::new();
    let id = bench.bind(ECHO);
    for number in 0..3 {
        bench.send_datagram(ECHO, &[number]);
    }
    assert_eq!(bench.events(), [Event::Datagram(id)]);
    bench.send_datagram(ECHO, &[3]);
    assert_eq!(bench.events(), [Event::Datagram(id)]);
    let read: Vec<_> = std::iter::from_fn(|| bench.read(id)).map(|(.., data)| data[0]).collect();
    assert_eq!(read, [0, 1, 2, 3], "in order");
}

#[test]
fn a_queue_has_a_limit_in_datagrams_and_in_bytes() {
    let config = StackConfig { max_datagrams: 3, max_datagram_bytes: 1_000, ..StackConfig::default() };
    let mut bench = Bench::with(config);
    let (id, other) = (bench.bind(ECHO), bench.bind(9));
    for _ in 0..5 {
        bench.send_datagram(ECHO, b"small");
    }
    assert_eq!(bench.drops(DropReason::DatagramQueueFull), 2);
    bench.send_datagram(9, &[1; 600]);
    bench.send_datagram(9, &[2; 600]);
    bench.send_datagram(9, &[3; 400]);
    assert_eq!(bench.drops(DropReason::DatagramQueueFull), 3, "each socket has a queue of its own");
    assert_eq!(std::iter::from_fn(|| bench.read(id)).count(), 3);
    assert_eq!(std::iter::from_fn(|| bench.read(other)).map(|(.., data)| data[0]).collect::<Vec<_>>(), [1, 3]);
    bench.send_datagram(9, &[4; 1_000]);
    assert_eq!(bench.read(other).map(|(.., data)| data.len()), Some(1_000), "what was read makes room");
    assert_eq!(bench.frames().len(), 0, "a full queue is no unreachable port");
}

#[test]
fn a_socket_at_one_address_comes_before_one_at_all_of_them() {
    let mut bench = Bench::new();
    let all = bench.bind(ECHO);
    let one = bench.stack.bind_udp(Some(bench.ours), ECHO).unwrap();
    assert_eq!(bench.stack.udp_socket_at(None, ECHO), Some(all));
    assert_eq!(bench.stack.udp_socket_at(Some(bench.ours), ECHO), Some(one));
    assert_eq!(bench.stack.udp_socket_at(None, 9), None);
    assert_eq!(bench.stack.udp_place(one), Some((Some(bench.ours), ECHO)));
    bench.send_datagram(ECHO, b"for one");
    let mut bench = bench.over_ipv6();
    bench.send_datagram(ECHO, b"for all");
    assert_eq!(bench.read(one).unwrap().2, b"for one");
    assert_eq!(bench.read(all).unwrap().2, b"for all");
    assert_eq!(bench.stack.bind_udp(None, ECHO), Err(BindError::InUse(ECHO)));
    let elsewhere = "198.18.0.9".parse().unwrap();
    assert_eq!(bench.stack.bind_udp(Some(elsewhere), ECHO), Err(BindError::NotOurs(elsewhere)));
    assert_eq!(bench.stack.bind_udp(None, 0), Err(BindError::PortZero));
}

#[test]
fn a_socket_that_is_unbound_is_gone_for_good() {
    let mut bench = Bench::with(StackConfig { max_udp_sockets: 1, ..StackConfig::default() });
    let old = bench.bind(ECHO);
    assert_eq!(bench.stack.bind_udp(None, 9), Err(BindError::Limit(1)));
    bench.send_datagram(ECHO, b"lost");
    bench.stack.unbind_udp(old);
    bench.stack.unbind_udp(old);
    bench.send_datagram(ECHO, b"refused");
    assert_eq!((bench.drops(DropReason::UnservedPort), bench.frames().len()), (1, 1));
    let new = bench.bind(ECHO);
    assert!(new != old);
    assert_eq!((bench.stack.udp_place(old), bench.stack.udp_place(new)), (None, Some((None, ECHO))));
    bench.send_datagram(ECHO, b"new");
    assert_eq!(bench.read(old), None);
    assert_eq!(bench.stack.send_udp(bench.now, old, None, bench.client(), b""), Err(SendError::Unbound));
    assert_eq!(bench.read(new).unwrap().2, b"new");
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_reason() {
    let mut bench = Bench::new();
    let id = bench.bind(ECHO);
    let bound = bench.stack.bind_udp(Some("2001:2::1".parse().unwrap()), 9).unwrap();
    let to = |address: &str| Endpoint { address: address.parse().unwrap(), port: 9 };
    let mut refusal = |id, local: Option<&str>, remote: Endpoint, data: &[u8]| {
        let local = local.map(|local| local.parse().unwrap());
        bench.stack.send_udp(bench.now, id, local, remote, data).unwrap_err()
    };
    for address in [
        "224.0.0.1",
        "198.18.0.255",
        "255.255.255.255",
        "0.0.0.0",
        "127.0.0.1",
        "198.18.0.1",
        "ff02::1",
        "::1",
        "::ffff:198.18.0.2",
    ] {
        assert_eq!(refusal(id, None, to(address), b""), SendError::NotUnicast(address.parse().unwrap()));
    }
    assert_eq!(refusal(id, None, Endpoint { port: 0, ..to("198.18.0.2") }, b""), SendError::PortZero);
    assert_eq!(refusal(id, None, to("203.0.113.9"), b""), SendError::NoRoute("203.0.113.9".parse().unwrap()));
    for (socket, local, remote) in
        [(id, "198.18.0.9", "198.18.0.2"), (id, "2001:2::1", "198.18.0.2"), (bound, "198.18.0.1", "198.18.0.2")]
    {
        assert_eq!(refusal(socket, Some(local), to(remote), b""), SendError::NotOurs(local.parse().unwrap()));
    }
    let long = vec![0; 1_473];
    let most = 1_472;
    assert_eq!(refusal(id, None, to("198.18.0.2"), &long), SendError::TooLong { length: 1_473, most });
    assert_eq!(refusal(id, None, to("2001:2::2"), &long), SendError::TooLong { length: 1_473, most: 1_452 });
    assert_eq!(bench.frames().len(), 0);
}

#[test]
fn a_datagram_waits_for_its_next_hop_to_tell_its_address() {
    for mut bench in [Bench::new(), Bench::new().over_ipv6()] {
        let id = bench.bind(ECHO);
        let theirs = bench.client();
        for data in [&b"first"[..], b"second"] {
            assert_eq!(bench.stack.send_udp(bench.now, id, None, theirs, data), Ok(()));
        }
        let neighbour = bench.asked();
        assert_eq!(neighbour, theirs.address);
        bench.answer(neighbour);
        let ours = Endpoint { address: bench.ours, port: ECHO };
        let expected = [b"first".to_vec(), b"second".to_vec()].map(|data| (THEIRS, ours, theirs, data));
        assert_eq!(bench.datagrams(), expected);
        assert_eq!(bench.stack.send_udp(bench.now, id, None, theirs, b"third"), Ok(()));
        assert_eq!(bench.datagrams(), [(THEIRS, ours, theirs, b"third".to_vec())], "the address is known");
    }
}

#[test]
fn a_datagram_for_a_silent_neighbour_is_given_up_and_few_may_wait() {
    let mut bench = Bench::with(StackConfig { max_waiting_datagrams: 2, ..StackConfig::default() });
    let id = bench.bind(ECHO);
    let theirs = bench.client();
    for expected in [Ok(()), Ok(()), Err(SendError::QueueFull)] {
        assert_eq!(bench.stack.send_udp(bench.now, id, None, theirs, b"hello"), expected);
    }
    for _ in 0..3 {
        bench.asked();
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!((bench.frames().len(), bench.drops(DropReason::SilentNeighbour)), (0, 2));
    assert_eq!(bench.stack.send_udp(bench.now, id, None, theirs, b"again"), Ok(()));
    bench.asked();
}

#[test]
fn the_peers_remembered_have_a_limit() {
    let mut bench = Bench::with(StackConfig { max_udp_peers: 2, ..StackConfig::default() });
    let id = bench.bind(ECHO);
    let peers = [1, 2, 3].map(|last| IpAddr::from([203, 0, 113, last]));
    for peer in peers {
        bench.theirs = peer;
        bench.send_datagram(ECHO, b"x");
    }
    let known = peers.map(|address| {
        let remote = Endpoint { address, port: 9 };
        bench.stack.send_udp(bench.now, id, Some(bench.ours), remote, b"x").is_ok()
    });
    assert_eq!(known, [false, true, true]);
}

#[test]
fn datagrams_to_groups_are_dropped() {
    let mut bench = Bench::new();
    let id = bench.bind(ECHO);
    for group in ["198.18.0.255", "224.0.0.251", "255.255.255.255"] {
        bench.ours = group.parse().unwrap();
        bench.send_datagram(ECHO, b"x");
    }
    bench.ours = "198.18.0.1".parse().unwrap();
    bench.link.destination = MacAddress::BROADCAST;
    bench.send_datagram(ECHO, b"x");
    assert_eq!((bench.read(id), bench.frames().len()), (None, 0));
    assert_eq!(bench.drops(DropReason::GroupDestination), 3);
}

#[test]
fn frames_of_nine_thousand_octets_come_and_go() {
    // Nothing here knows of 1,500.
    let mut config = StackConfig::default();
    config.tcp.mtu = 9_000;
    let mut bench = Bench::with(config);
    let id = bench.bind(ECHO);
    bench.send_datagram(ECHO, &[7; 8_972]);
    assert_eq!(bench.read(id).unwrap().2.len(), 8_972);
    let mut buffer = vec![0; 9_100];
    bench.stack.send_udp(bench.now, id, None, bench.client(), &[8; 8_972]).unwrap();
    assert_eq!(bench.stack.poll_transmit(bench.now, InterfaceId::FIRST, &mut buffer), Some(9_014));
    bench.send_syn(TcpOptions { mss: Some(8_960), ..TcpOptions::default() });
    let length = bench.stack.poll_transmit(bench.now, InterfaceId::FIRST, &mut buffer).unwrap();
    let parsed = wire::parse(&buffer[..length], ChecksumPolicy::Verify).unwrap();
    let Packet::Tcp(_, syn_ack) = parsed.packet else { panic!("{parsed:?}") };
    assert_eq!(syn_ack.header.options.mss, Some(8_960));
    bench.send(bench.header(IRS.advance(1), syn_ack.header.seq.advance(1), ACK), &[9; 8_960]);
    let events = bench.events();
    let Some(&Event::Accepted(id, _)) = events.iter().find(|event| matches!(event, Event::Accepted(_, _))) else {
        panic!("{events:?}")
    };
    bench.with_stream(id, |stream| {
        assert_eq!(stream.readable_len(), 8_960);
        assert_eq!(stream.echo(), 8_960);
    });
    let length = bench.stack.poll_transmit(bench.now, InterfaceId::FIRST, &mut buffer);
    assert_eq!(length, Some(9_014), "sent back in one segment");
}

#[test]
fn a_neighbour_beyond_the_limit_is_refused_at_once() {
    let mut bench = Bench::with(StackConfig { max_neighbours: 1, ..StackConfig::default() });
    let id = bench.bind(7);
    let to = |last| Endpoint { address: IpAddr::from([198, 18, 0, last]), port: 9 };
    bench.stack.send_udp(bench.now, id, None, to(8), b"waits").unwrap();
    assert_eq!(bench.stack.send_udp(bench.now, id, None, to(9), b"never"), Err(SendError::Neighbours(1)));
}
