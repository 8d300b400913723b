//! Connections whose way the caller has chosen: to an address that is ours as well, by a station that never answers from there, and
//! in tunnels.

use super::*;
use crate::{
    config::KeepAlive,
    rng::SipKey,
    splice::{self, Carrier, PairId, Refusal, Side, Table},
    stack::{Answered, ConnectError, SynMode, Via},
    tcp::cookie::MasterKey,
    wire::{Encapsulation, Tunnel, ethernet, ip::Codepoint},
};
use std::sync::{Arc, Mutex, MutexGuard};

const ROUTER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const MTU: usize = 1_500;

/// A balancer, which has the service's address, and a backend that has it, too. What the balancer sends arrives by way of a router,
/// and what the backend answers comes from itself.
struct Pair {
    balancer: Stack,
    backend: Stack,
    now: Instant,
    vip: IpAddr,
    source: IpAddr,
    tunnel: Option<Tunnel>,
    /// Frames that the balancer has sent, as they were.
    sent: Vec<Vec<u8>>,
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn local(text: &str, ownership: Ownership) -> LocalAddress {
    LocalAddress { cidr: text.parse().unwrap(), ownership }
}

impl Pair {
    fn new(is_ipv4: bool, tunnel: Option<Tunnel>) -> Self {
        let [vip, source, behind] = match is_ipv4 {
            true => ["198.18.0.80/32", "198.18.0.1/24", "198.18.0.254"],
            false => ["2001:2::80/128", "2001:2::1/64", "2001:2::fe"],
        };
        let stack = |mac, addresses, gateway: Option<&str>, seed| {
            let gateways = gateway.map(address).into_iter().collect();
            // Asleep whenever they can.
            let config = StackConfig { gateways, max_awake: 0, ..StackConfig::default() };
            Stack::new(config, mac, addresses, Secrets::from_seed(seed))
        };
        let ours = vec![local(vip, Ownership::Own), local(source, Ownership::Shared)];
        let balancer = stack(OURS, ours, None, 1);
        let mut backend = stack(THEIRS, vec![local(vip, Ownership::Own)], Some(behind), 2);
        backend.listen(None, PORT).unwrap();
        let host = |text: &str| text.parse::<Cidr>().unwrap().address;
        let (vip, source) = (host(vip), host(source));
        Self { balancer, backend, now: Instant::from_millis(1), vip, source, tunnel, sent: Vec::new() }
    }

    /// By IPv4 and IPv6, in no tunnel and in each kind of one.
    fn each() -> impl Iterator<Item = Self> {
        let tunnels = [Encapsulation::Ip, Encapsulation::Gue].into_iter().flat_map(|encapsulation| {
            [("10.9.0.1", "10.9.0.2"), ("2001:db8::1", "2001:db8::2")].map(|(source, end)| {
                Some(Tunnel { encapsulation, source: address(source), end: address(end), flow: 0x1234_5678 })
            })
        });
        let tunnels: Vec<_> = [None].into_iter().chain(tunnels).collect();
        [true, false]
            .into_iter()
            .flat_map(move |is_ipv4| tunnels.clone().into_iter().map(move |it| Self::new(is_ipv4, it)))
    }

    fn remote(&self) -> Endpoint {
        Endpoint { address: self.vip, port: PORT }
    }

    fn via(&self) -> Via {
        Via { interface: InterfaceId::FIRST, next_hop: ROUTER, mtu: MTU, tunnel: self.tunnel }
    }

    fn connect(&mut self, ports: &[u16]) -> Result<ConnectionId, ConnectError> {
        self.balancer.connect_via(self.now, self.remote(), self.source, ports, self.via())
    }

    /// The frame as the backend sees it: sent on by the router, and out of its tunnel.
    #[track_caller]
    fn deliver(&self, frame: &[u8]) -> Vec<u8> {
        let (link, ether_type, packet) = LinkHeader::parse(frame).unwrap();
        assert_eq!((link.destination, link.source), (ROUTER, OURS), "it leaves by the way that was chosen");
        assert!(packet.len() <= MTU, "{} octets", packet.len());
        let inner = match self.tunnel {
            None => packet,
            Some(tunnel) => unwrapped(&tunnel, ether_type, packet),
        };
        let ether_type = if self.vip.is_ipv4() { ethernet::ETHER_TYPE_IPV4 } else { ethernet::ETHER_TYPE_IPV6 };
        let mut delivered = vec![0; 14];
        LinkHeader { destination: THEIRS, source: ROUTER, ..LinkHeader::default() }.write(ether_type, &mut delivered);
        delivered.extend(inner);
        delivered
    }

    /// Carries frames until there are no more. The backend's go by another way, as from its own station.
    fn exchange(&mut self) {
        let mut buffer = [0; 1_600];
        loop {
            let mut count = 0;
            while let Some(length) = self.balancer.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                self.sent.push(buffer[..length].to_vec());
                let frame = self.deliver(&buffer[..length]);
                self.backend.handle_frame(self.now, InterfaceId::FIRST, &frame[..]);
                count += 1;
            }
            while let Some(length) = self.backend.poll_transmit(self.now, InterfaceId::FIRST, &mut buffer) {
                let (mut link, ether_type, _) = LinkHeader::parse(&buffer[..length]).unwrap();
                (link.destination, link.source) = (OURS, THEIRS);
                link.write(ether_type, &mut buffer);
                self.balancer.handle_frame(self.now, InterfaceId::FIRST, &buffer[..length]);
                count += 1;
            }
            if count == 0 {
                return;
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.balancer.handle_timeout(self.now);
        self.backend.handle_timeout(self.now);
        self.exchange();
    }

    fn events(stack: &mut Stack) -> Vec<Event> {
        std::iter::from_fn(|| stack.poll_event()).collect()
    }

    #[track_caller]
    fn opened(&mut self) -> (ConnectionId, ConnectionId) {
        let ours = self.connect(&[40_000]).unwrap();
        self.exchange();
        assert_eq!(Self::events(&mut self.balancer), [Event::Connected(ours)]);
        let [Event::Accepted(theirs, _)] = Self::events(&mut self.backend)[..] else { panic!("it is accepted") };
        (ours, theirs)
    }
}

/// What is in an outer packet, whose every field is what it should be.
#[track_caller]
fn unwrapped<'a>(tunnel: &Tunnel, ether_type: u16, packet: &'a [u8]) -> &'a [u8] {
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (length, protocol, behind) = match (tunnel.source, tunnel.end) {
        (IpAddr::V4(source), IpAddr::V4(end)) => {
            assert_eq!((ether_type, packet[0]), (ethernet::ETHER_TYPE_IPV4, 0x45));
            assert_eq!((&packet[12..16], &packet[16..20]), (&source.octets()[..], &end.octets()[..]));
            assert_eq!((word(6), packet[8]), (0x4000, 64), "nobody may fragment it");
            let sum: u32 = (0..20).step_by(2).map(|at| u32::from(word(at))).sum();
            assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
            (usize::from(word(2)), packet[9], &packet[20..])
        }
        (IpAddr::V6(source), IpAddr::V6(end)) => {
            assert_eq!((ether_type, packet[0] >> 4), (ethernet::ETHER_TYPE_IPV6, 6));
            assert_eq!((&packet[8..24], &packet[24..40]), (&source.octets()[..], &end.octets()[..]));
            assert_eq!((packet[7], word(2), packet[1] & 0xf), (64, 0x5678, 4), "hops, and the flow's label");
            (usize::from(word(4)) + 40, packet[6], &packet[40..])
        }
        _ => panic!("both ends are of one IP version"),
    };
    assert_eq!(length, packet.len());
    if tunnel.encapsulation == Encapsulation::Gue {
        let udp = |at: usize| u16::from_be_bytes([behind[at], behind[at + 1]]);
        assert_eq!((protocol, udp(0), udp(2), udp(6)), (17, 0xc000 | 0x1678, 6_080, 0));
        assert_eq!(usize::from(udp(4)), behind.len());
        return &behind[8..];
    }
    assert_eq!(protocol, if behind[0] >> 4 == 4 { 4 } else { 41 });
    behind
}

#[test]
fn segments_go_where_the_caller_says_and_answers_may_come_from_anywhere() {
    for mut pair in Pair::each() {
        let (ours, theirs) = pair.opened();
        let text: Vec<u8> = (0..20_000u32).map(|number| number as u8).collect();
        pair.balancer.stream(pair.now, ours).unwrap().write(&text);
        pair.backend.stream(pair.now, theirs).unwrap().write(&text);
        for (what, id) in [(true, ours), (false, theirs)] {
            let mut read: Vec<u8> = Vec::new();
            for _ in 0..200 {
                pair.pass(Duration::from_millis(50));
                let stack = if what { &mut pair.balancer } else { &mut pair.backend };
                let mut stream = stack.stream(pair.now, id).unwrap();
                let mut octets = [0; 4_096];
                let length = stream.read(&mut octets);
                read.extend(&octets[..length]);
            }
            assert!(read == text, "{} octets", read.len());
        }
        assert_eq!(pair.balancer.drops().iter().map(|(_, count)| count).sum::<u64>(), 0, "{:?}", pair.balancer.drops());
        assert_eq!(pair.balancer.stats().neighbour_questions, 0, "the way was known");
        assert!(pair.sent.iter().any(|frame| frame.len() > 14 + MTU - 8), "and full segments fill it");
        assert_eq!(pair.balancer.connections_asleep(), 0, "who sleeps keeps no way");
    }
}

#[test]
fn resets_go_there_as_well() {
    for mut pair in Pair::each() {
        let (ours, theirs) = pair.opened();
        pair.balancer.stream(pair.now, ours).unwrap().abort();
        pair.exchange();
        let events = Pair::events(&mut pair.backend);
        assert!(events.contains(&Event::Closed(theirs, CloseReason::ResetByPeer)), "{events:?}");
    }
}

/// A backend that still has a connection of these ports, from before we have forgotten it: it is asked, and reset.
#[test]
fn what_a_backend_has_left_over_is_cleared_and_opened_anew() {
    for mut pair in Pair::each() {
        let (_, theirs) = pair.opened();
        let fresh = Pair::new(pair.vip.is_ipv4(), pair.tunnel);
        pair.balancer = fresh.balancer;
        pair.now += Duration::from_secs(30);
        let ours = pair.connect(&[40_000]).unwrap();
        for _ in 0..8 {
            pair.pass(Duration::from_secs(1));
        }
        assert!(Pair::events(&mut pair.balancer).contains(&Event::Connected(ours)));
        assert!(Pair::events(&mut pair.backend).contains(&Event::Closed(theirs, CloseReason::ResetByPeer)));
    }
}

#[test]
fn closing_in_either_order_is_heard_of() {
    for (mut pair, we_begin) in Pair::each().flat_map(|pair| {
        let again = Pair::new(pair.vip.is_ipv4(), pair.tunnel);
        [(pair, true), (again, false)]
    }) {
        let (ours, theirs) = pair.opened();
        for is_ours in [we_begin, !we_begin] {
            let (stack, id) = if is_ours { (&mut pair.balancer, ours) } else { (&mut pair.backend, theirs) };
            stack.stream(pair.now, id).unwrap().close();
            pair.exchange();
        }
        let finished = |id| Event::Closed(id, CloseReason::Finished);
        assert!(Pair::events(&mut pair.balancer).contains(&finished(ours)));
        assert!(Pair::events(&mut pair.backend).contains(&finished(theirs)));
        assert_eq!(pair.balancer.flow_counts().2, u32::from(we_begin), "who closes first waits");
    }
}

/// Our interface has another address, and what is under way goes on from there.
#[test]
fn the_station_that_segments_come_from_is_the_interfaces() {
    let mut pair = Pair::new(true, None);
    pair.connect(&[40_000]).unwrap();
    let moved = MacAddress([2, 0, 0, 0, 0, 77]);
    pair.balancer.set_mac(InterfaceId::FIRST, moved);
    let mut buffer = [0; 1_600];
    let length = pair.balancer.poll_transmit(pair.now, InterfaceId::FIRST, &mut buffer).unwrap();
    let (link, ..) = LinkHeader::parse(&buffer[..length]).unwrap();
    assert_eq!((link.source, link.destination), (moved, ROUTER));
}

/// An interface that takes less from now on takes that of outer packets.
#[test]
fn packets_in_tunnels_fit_an_interface_that_has_become_narrower() {
    for mut pair in Pair::each() {
        let (ours, _) = pair.opened();
        pair.sent.clear();
        pair.balancer.set_mtu(pair.now, InterfaceId::FIRST, 1_300);
        pair.balancer.stream(pair.now, ours).unwrap().write(&[7; 20_000]);
        pair.exchange();
        let longest = pair.sent.iter().map(|frame| frame.len() - 14).max();
        assert_eq!(longest, Some(1_300));
    }
}

#[test]
fn only_the_ports_that_were_given_are_used_and_each_once() {
    let mut pair = Pair::new(true, None);
    let ports = [40_007, 40_011, 50_000];
    let mut used = Vec::new();
    for _ in ports {
        let id = pair.connect(&ports).unwrap();
        used.push(pair.balancer.stream(pair.now, id).unwrap().local_addr().port());
    }
    used.sort_unstable();
    assert_eq!(used, ports);
    assert_eq!(pair.connect(&ports), Err(ConnectError::NoPortLeft(pair.remote())));
    assert_eq!(pair.connect(&[]), Err(ConnectError::NoPortLeft(pair.remote())));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut pair = Pair::new(true, None);
    let (now, via, source, remote) = (pair.now, pair.via(), pair.source, pair.remote());
    let mut connect = |remote, local, via| pair.balancer.connect_via(now, remote, local, &[40_000], via);
    let foreign = address("198.18.0.99");
    assert_eq!(connect(remote, foreign, via), Err(ConnectError::NotOurs(foreign)));
    let of_ipv6 = Endpoint { address: address("2001:2::80"), port: PORT };
    assert_eq!(connect(of_ipv6, source, via), Err(ConnectError::NotOurs(source)));
    let group = address("224.0.0.1");
    assert_eq!(connect(Endpoint { address: group, port: PORT }, source, via), Err(ConnectError::NotUnicast(group)));
    assert_eq!(connect(Endpoint { port: 0, ..remote }, source, via), Err(ConnectError::PortZero));
    let elsewhere = Via { interface: InterfaceId::at(3).unwrap(), ..via };
    assert_eq!(connect(remote, source, elsewhere), Err(ConnectError::NoRoute(remote.address)));
}

/// The outer header has the inner one's traffic class, congestion marks included (RFC 6040 §4.1, compatible with all).
#[test]
fn tunnels_show_the_traffic_class_of_what_is_in_them() {
    for is_ipv4 in [true, false] {
        let (source, end) = (address("10.9.0.1"), address("10.9.0.2"));
        let tunnel = Tunnel { encapsulation: Encapsulation::Ip, source, end, flow: 7 };
        let mut pair = Pair::new(is_ipv4, Some(tunnel));
        let id = pair.connect(&[40_000]).unwrap();
        pair.balancer.stream(pair.now, id).unwrap().set_dscp(wire::ip::Dscp::new(46).unwrap());
        pair.exchange();
        assert_eq!(pair.sent[0][15], 46 << 2 | Codepoint::NotCapable as u8);
    }
}

/// A router that takes the place of another has its own link address.
#[test]
fn a_connection_may_get_another_way() {
    for mut pair in Pair::each() {
        let id = pair.connect(&[40_000]).unwrap();
        pair.exchange();
        let elsewhere = Via { next_hop: STRANGER, tunnel: None, ..pair.via() };
        assert!(pair.balancer.set_via(pair.now, id, elsewhere));
        pair.balancer.stream(pair.now, id).unwrap().write(b"by another way");
        let mut frame = [0; 1_600];
        let length = pair.balancer.poll_transmit(pair.now, InterfaceId::FIRST, &mut frame).unwrap();
        let parsed = wire::parse(&frame[..length], ChecksumPolicy::Verify).unwrap();
        assert_eq!(parsed.link.destination, STRANGER);
        let Packet::Tcp(_, segment) = parsed.packet else { panic!("in no tunnel any more") };
        assert_eq!(segment.payload, b"by another way");
        assert!(!pair.balancer.set_via(pair.now, id, Via { interface: InterfaceId::at(3).unwrap(), ..elsewhere }));
    }
}

const STRANGER: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
#[test]
fn a_connection_that_a_cookie_has_answered_is_taken_over_by_whoever_knows_it_again() {
    let offers = [(true, true, Some(7)), (true, false, None), (false, true, Some(7)), (false, false, None)];
    for (timestamps, sack, window_scale) in offers {
        for mut pair in Pair::each() {
            let master = MasterKey::new(SipKey::from_seed(77));
            [&mut pair.balancer, &mut pair.backend].into_iter().for_each(|it| it.set_cookie_master(master.clone()));
            pair.backend.set_syn_mode(SynMode::Cookie);
            let answered = Answered { mss: 1_220, window: 64_240, window_scale, sack, timestamps };
            let (remote, via, now) = (pair.remote(), pair.via(), pair.now);
            let connected = pair.balancer.connect_answered(now, remote, pair.source, &[40_000], via, answered);
            let ours = connected.unwrap();
            assert_eq!(Pair::events(&mut pair.balancer), [Event::Connected(ours)]);
            pair.balancer.stream(now, ours).unwrap().set_keep_alive(Some(KeepAlive {
                idle: Duration::from_millis(10),
                interval: Duration::from_millis(50),
                probes: 3,
            }));
            pair.exchange();
            let [Event::Accepted(theirs, _)] = Pair::events(&mut pair.backend)[..] else { panic!("it is accepted") };
            let is_syn = |frame: &Vec<u8>| pair.deliver(frame)[if pair.vip.is_ipv4() { 47 } else { 67 }] & 2 != 0;
            assert!(!pair.sent.is_empty() && !pair.sent.iter().any(is_syn));
            let info = |stack: &mut Stack, now, id| stack.stream(now, id).unwrap().info();
            for (stack, id) in [(&mut pair.balancer, ours), (&mut pair.backend, theirs)] {
                let info = info(stack, now, id);
                assert_eq!(
                    (info.timestamps, info.sack, info.window_scaling),
                    (timestamps, sack, window_scale.is_some())
                );
            }
            assert_eq!(info(&mut pair.balancer, pair.now, ours).heard, now, "nothing has come back yet");
            pair.pass(Duration::from_millis(20));
            assert!(info(&mut pair.balancer, pair.now, ours).heard > now, "the keep-alive is answered");
        }
    }
}

#[test]
fn who_does_not_know_the_cookie_resets_what_it_has_never_heard_of() {
    for mut pair in Pair::each() {
        let answered = Answered { mss: 1_220, window: 64_240, window_scale: Some(7), sack: true, timestamps: true };
        let (remote, via) = (pair.remote(), pair.via());
        let connected = pair.balancer.connect_answered(pair.now, remote, pair.source, &[40_000], via, answered);
        let ours = connected.unwrap();
        pair.exchange();
        let closed = Event::Closed(ours, CloseReason::ResetByPeer);
        assert_eq!(Pair::events(&mut pair.balancer), [Event::Connected(ours), closed]);
        assert_eq!(Pair::events(&mut pair.backend), []);
    }
}

/// A table of pairs that says which flows are the stack's at addresses that are not.
#[derive(Clone)]
struct Claims(Arc<Mutex<(Table, Vec<FourTuple>)>>);

impl Claims {
    fn new(room: u32) -> Self {
        Self(Arc::new(Mutex::new((Table::new(room), Vec::new()))))
    }

    fn both(&self) -> MutexGuard<'_, (Table, Vec<FourTuple>)> {
        self.0.lock().unwrap()
    }

    fn ports(&self) -> Vec<u16> {
        self.both().1.iter().map(|tuple| tuple.local.port).collect()
    }
}

impl Carrier for Claims {
    fn take(&mut self, pair: &splice::Pair) -> Option<PairId> {
        self.both().0.take(pair)
    }

    fn look(&self, id: PairId) -> Option<splice::Pair> {
        self.both().0.look(id)
    }

    fn translate(&mut self, now: Instant, id: PairId, frame: &mut [u8]) -> Result<Side, Refusal> {
        self.both().0.translate(now, id, frame)
    }

    fn point(&mut self, id: PairId, side: Side, link: LinkHeader, mtu: u16) {
        self.both().0.point(id, side, link, mtu);
    }

    fn forget(&mut self, id: PairId) -> Option<splice::Pair> {
        self.both().0.forget(id)
    }

    fn claim(&mut self, tuple: &FourTuple) -> Option<PairId> {
        let mut both = self.both();
        let id = both.0.claim(tuple)?;
        both.1.push(*tuple);
        Some(id)
    }

    fn capacity(&self) -> usize {
        self.both().0.capacity()
    }

    fn release(&mut self, id: PairId, tuple: &FourTuple) {
        let mut both = self.both();
        both.0.release(id, tuple);
        let before = both.1.len();
        both.1.retain(|it| it != tuple);
        assert_eq!(both.1.len(), before - 1, "{tuple} was claimed");
    }
}

impl Pair {
    /// A balancer that may speak for clients, and one of these.
    fn speaking(is_ipv4: bool, room: u32) -> (Self, Claims, Endpoint) {
        let (mut pair, claims) = (Self::new(is_ipv4, None), Claims::new(room));
        pair.balancer.set_carrier(Box::new(claims.clone()));
        let client = address(if is_ipv4 { "203.0.113.9" } else { "2001:db8::9" });
        (pair, claims, Endpoint { address: client, port: 4_711 })
    }

    fn connect_as(&mut self, client: Endpoint, ports: &[u16]) -> Result<ConnectionId, ConnectError> {
        self.balancer.connect_as(self.now, self.remote(), client, ports, self.via())
    }
}

#[test]
fn a_connection_in_a_clients_name_is_the_clients_to_the_backend() {
    for is_ipv4 in [true, false] {
        let (mut pair, claims, client) = Pair::speaking(is_ipv4, 9);
        // A port of ours is no obstacle at another's address.
        pair.balancer.listen(None, client.port).unwrap();
        let ours = pair.connect_as(client, &[5_000]).unwrap();
        pair.exchange();
        let [Event::Accepted(theirs, _)] = Pair::events(&mut pair.backend)[..] else { panic!("it is accepted") };
        assert_eq!(pair.backend.stream(pair.now, theirs).unwrap().peer_addr(), client.into());
        assert_eq!(claims.ports(), [4_711]);
        pair.balancer.stream(pair.now, ours).unwrap().write(b"hello");
        pair.exchange();
        assert_eq!(pair.backend.stream(pair.now, theirs).unwrap().readable(), b"hello");

        // Its port is taken now, and that one as well.
        let second = pair.connect_as(client, &[5_000]).unwrap();
        assert_eq!(claims.ports(), [4_711, 5_000]);
        assert!(matches!(pair.connect_as(client, &[5_000]), Err(ConnectError::NoPortLeft(_))));
        pair.balancer.stream(pair.now, second).unwrap().abort();
        assert_eq!(claims.ports(), [4_711], "one that has ended is claimed no more");

        // TIME-WAIT is the stack's as well: the last acknowledgment may have been lost.
        pair.balancer.stream(pair.now, ours).unwrap().close();
        pair.exchange();
        pair.backend.stream(pair.now, theirs).unwrap().consume(5);
        pair.backend.stream(pair.now, theirs).unwrap().close();
        pair.exchange();
        assert_eq!((claims.ports(), pair.balancer.flow_counts().2), (vec![4_711], 1));
        // And is succeeded without a gap in which nobody has the flow.
        pair.pass(Duration::from_secs(2));
        pair.connect_as(client, &[]).unwrap();
        assert_eq!((claims.ports(), pair.balancer.flow_counts().2), (vec![4_711], 0));
        pair.balancer.abort_all(pair.now);
        assert_eq!((claims.ports(), claims.both().0.len()), (vec![], 0));
    }
}

#[test]
fn what_waits_in_a_clients_name_is_let_go_when_its_time_is_over() {
    let (mut pair, claims, client) = Pair::speaking(true, 9);
    let ours = pair.connect_as(client, &[]).unwrap();
    pair.exchange();
    pair.balancer.stream(pair.now, ours).unwrap().close();
    pair.exchange();
    let [Event::Accepted(theirs, _), ..] = Pair::events(&mut pair.backend)[..] else { panic!("it is accepted") };
    pair.backend.stream(pair.now, theirs).unwrap().close();
    pair.exchange();
    assert_eq!(claims.ports(), [4_711]);
    (0..20).for_each(|_| pair.pass(Duration::from_secs(20)));
    assert_eq!((claims.ports(), claims.both().0.len()), (vec![], 0));
}

#[test]
fn nobody_is_spoken_for_who_cannot_be() {
    let (mut pair, claims, client) = Pair::speaking(true, 1);
    let at = |text: &str| Endpoint { address: address(text), port: 4_711 };
    for (name, why) in [
        ("198.18.0.80", ConnectError::NotAClient(address("198.18.0.80"))),
        ("2001:db8::9", ConnectError::NotAClient(address("2001:db8::9"))),
        ("224.0.0.1", ConnectError::NotUnicast(address("224.0.0.1"))),
        ("198.18.0.255", ConnectError::NotUnicast(address("198.18.0.255"))),
    ] {
        assert_eq!(pair.connect_as(at(name), &[1]), Err(why));
    }
    pair.connect_as(client, &[1]).unwrap();
    // There is room for one.
    let why = ConnectError::NotCarried(client.address);
    assert_eq!(pair.connect_as(Endpoint { port: 4_712, ..client }, &[1]), Err(why));
    assert_eq!((claims.ports(), pair.balancer.flow_counts().0), (vec![4_711], 1));
    // And nobody at all who would bring the answers.
    let mut pair = Pair::new(true, None);
    assert_eq!(pair.connect_as(client, &[1]), Err(why));
}

/// Places are for those who begin: of flows that wait no more than an eighth of them is kept.
#[test]
fn claims_in_time_wait_leave_room_for_new_ones() {
    let (mut pair, claims, client) = Pair::speaking(true, 16);
    for number in 0..40 {
        let client = Endpoint { port: 5_000 + number, ..client };
        let ours = pair.connect_as(client, &[]).expect("there is room");
        pair.exchange();
        pair.balancer.stream(pair.now, ours).unwrap().close();
        pair.exchange();
        for event in Pair::events(&mut pair.backend) {
            if let Event::Accepted(theirs, _) = event {
                pair.backend.stream(pair.now, theirs).unwrap().close();
            }
        }
        pair.exchange();
    }
    assert_eq!((claims.ports(), pair.balancer.flow_counts().2), (vec![5_038, 5_039], 2));
}
