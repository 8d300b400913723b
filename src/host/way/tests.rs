use super::{
    messages::{self, Event},
    neighbours::{Entry, Keeper, Key, Share, Station, Told},
    picture::{Picture, Port, Route},
    *,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Message,
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia},
    rule::RuleMessage,
};
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 9];
const UNKNOWN: Entry = Entry { station: Station::Unknown, keeper: Keeper::Kernel { ours: true } };
const FAILED: Entry = Entry { station: Station::Failed, ..UNKNOWN };
const LAST_FOR: Duration = Duration::from_secs(120);

fn at(mac: [u8; 6]) -> Entry {
    Entry { station: Station::At(mac), ..UNKNOWN }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port() -> Port {
    Port { name: "eth0".to_owned(), mac: Some(OURS), mtu: 1_500, is_ready: true }
}

fn direct() -> Route {
    Route { ifindex: 2, gateway: None, source: Some(address("198.18.0.1")), mtu: None }
}

fn via(gateway: &str) -> Route {
    Route { gateway: Some(address(gateway)), ..direct() }
}

fn key(of: &str) -> Key {
    Key { ifindex: 2, address: address(of) }
}

/// A picture, and a kernel that keeps what it is told to.
struct World {
    picture: Picture,
    begun: Instant,
    now: Instant,
    /// What it was told to keep, and to give back.
    kept: Vec<Key>,
    left: Vec<(Key, Share)>,
    routes: fn(IpAddr) -> Result<Route, NoWay>,
}

impl World {
    fn new(routes: fn(IpAddr) -> Result<Route, NoWay>) -> Self {
        let begun = Instant::now();
        let mut picture = Picture::new(begun);
        assert!(picture.wants_ports());
        picture.see_ports(vec![(2, port())], begun);
        Self { picture, begun, now: begun, kept: Vec::new(), left: Vec::new(), routes }
    }

    fn watching(routes: fn(IpAddr) -> Result<Route, NoWay>, of: &[&str]) -> (Self, News) {
        let mut world = Self::new(routes);
        let news = world.watch(of);
        (world, news)
    }

    fn watch(&mut self, of: &[&str]) -> News {
        self.picture.watch(&of.iter().map(|of| address(of)).collect::<Vec<_>>());
        self.turn()
    }

    /// What `Ways::poll` does, with a kernel that has no neighbours but those it has been told of.
    fn turn(&mut self) -> News {
        for destination in self.picture.unrouted(self.now) {
            self.picture.routed(destination, (self.routes)(destination), self.now);
        }
        self.left.extend(self.picture.take_left());
        let due = self.picture.neighbours_due(self.now);
        for (key, ..) in self.picture.neighbours_unkept(&due, self.now) {
            self.kept.push(key);
            self.picture.told_neighbour(key, Told::Kept, self.now);
            self.picture.see_neighbour(key, Some(UNKNOWN), self.now);
        }
        self.picture.news(self.now)
    }

    fn see(&mut self, of: &str, entry: impl Into<Option<Entry>>) -> News {
        self.picture.see_neighbour(key(of), entry.into(), self.now);
        self.turn()
    }

    fn see_port(&mut self, port: Port) -> News {
        self.picture.see_port(2, port, self.now);
        self.turn()
    }

    /// A second later, there are other routes.
    fn reroute(&mut self, routes: fn(IpAddr) -> Result<Route, NoWay>) -> News {
        self.now += Duration::from_secs(1);
        self.routes = routes;
        self.picture.routes_changed(|_| true);
        self.turn()
    }

    /// Some time later.
    fn after(&mut self, time: Duration) -> News {
        self.now += time;
        self.turn()
    }

    fn silence(&self, of: &str, since: Instant, last: Option<&Way>) -> Silence {
        Silence { interface: "eth0".to_owned(), next_hop: address(of), since, last: last.cloned().map(Box::new) }
    }
}

fn way(next_hop: &str) -> Way {
    Way {
        ifindex: 2,
        interface: "eth0".to_owned(),
        next_hop: address(next_hop),
        next_mac: MAC,
        our_mac: OURS,
        mtu: 1_500,
        source: address("198.18.0.1"),
    }
}

fn ok(of: &str, way: &Way) -> News {
    vec![(address(of), Ok(way.clone()))]
}

fn no(of: &str, why: NoWay) -> News {
    vec![(address(of), Err(why))]
}

const A: &str = "198.18.0.11";
const B: &str = "198.18.0.12";

#[test]
fn a_neighbour_is_told_when_it_is_found_and_whenever_it_is_another() {
    let (mut world, news) = World::watching(|_| Ok(direct()), &[A]);
    assert_eq!(news, no(A, NoWay::Unresolved(world.silence(A, world.begun, None))));
    assert_eq!(world.kept, [key(A)]);
    assert_eq!(world.see(A, at(MAC)), ok(A, &way(A)));
    // Known is known: stale or reachable, it is said again and again.
    assert_eq!(world.see(A, at(MAC)), []);
    let moved = Way { next_mac: [2, 0, 0, 0, 0, 5], ..way(A) };
    assert_eq!(world.see(A, at(moved.next_mac)), ok(A, &moved));
    assert_eq!(world.picture.told(address(A)), Some(&Ok(moved)));
    assert_eq!((world.kept.len(), world.picture.told(address(B))), (1, None));
}

#[test]
fn who_falls_silent_is_told_with_his_last_way_and_later_without() {
    let (mut world, _) = World::watching(|_| Ok(direct()), &[A]);
    world.see(A, at(MAC));
    world.after(Duration::from_secs(10));
    let since = world.now;
    assert_eq!(world.see(A, FAILED), no(A, NoWay::Failed(world.silence(A, since, Some(&way(A))))));
    // It is asked for again, and again in vain: no news.
    world.after(Duration::from_secs(5));
    for entry in [Some(UNKNOWN), Some(FAILED), None, Some(UNKNOWN)] {
        assert_eq!(world.see(A, entry), []);
    }
    let due = world.picture.deadline().unwrap();
    assert!(due <= since + LAST_FOR);
    assert_eq!(world.after(LAST_FOR - Duration::from_secs(6)), []);
    assert_eq!(world.after(Duration::from_secs(1)), no(A, NoWay::Failed(world.silence(A, since, None))));
    assert_eq!(world.after(LAST_FOR), []);
    // It comes back.
    assert_eq!(world.see(A, at(MAC)), ok(A, &way(A)));
    // And the two minutes begin anew.
    world.see(A, FAILED);
    assert_eq!(world.after(LAST_FOR - Duration::from_secs(1)), []);
    assert_eq!(world.after(Duration::from_secs(1)).len(), 1);
}

#[test]
fn the_last_way_outlives_a_flush_a_lost_carrier_and_a_change_of_routes() {
    let (mut world, _) = World::watching(|_| Ok(direct()), &[A]);
    world.see(A, at(MAC));
    let forgotten = world.see(A, None);
    let now = world.now;
    assert_eq!(forgotten, no(A, NoWay::Unresolved(world.silence(A, now, Some(&way(A))))));
    world.see(A, at(MAC));
    // While there is no carrier, it is none.
    world.see(A, None);
    let down = NoWay::LinkDown { interface: "eth0".to_owned() };
    assert_eq!(world.see_port(Port { is_ready: false, ..port() }), no(A, down));
    world.after(Duration::from_secs(1));
    let up = world.see_port(Port { mac: Some(MAC), ..port() });
    let last = Way { our_mac: MAC, ..way(A) };
    let now = world.now;
    assert_eq!(up, no(A, NoWay::Unresolved(world.silence(A, now, Some(&last)))));
    world.see(A, at(MAC));
    let news = world.reroute(|_| Ok(via(B)));
    assert_eq!(news, no(A, NoWay::Unresolved(world.silence(B, world.now, Some(&last)))));
    assert_eq!(world.left, [(key(A), Share::All)]);
    // Where the kernel says that there is none, there is none.
    let none = NoWay::NoRoute { errno: libc::EINVAL };
    assert_eq!(world.reroute(|_| Err(NoWay::NoRoute { errno: libc::EINVAL })), no(A, none));
    let news = world.reroute(|_| Ok(direct()));
    assert_eq!(news, no(A, NoWay::Unresolved(world.silence(A, world.now, None))));
}

#[test]
fn those_behind_one_gateway_share_it_and_the_last_gives_it_back() {
    let (mut world, news) = World::watching(|_| Ok(via("198.18.0.254")), &["203.0.113.1", "203.0.113.2"]);
    assert_eq!((news.len(), &world.kept[..]), (2, &[key("198.18.0.254")][..]));
    let way = way("198.18.0.254");
    let both = [ok("203.0.113.1", &way), ok("203.0.113.2", &way)].concat();
    assert_eq!(world.see("198.18.0.254", at(MAC)), both);
    assert_eq!(world.watch(&["203.0.113.2"]), []);
    assert_eq!(world.left, []);
    world.watch(&[]);
    assert_eq!(world.left, [(key("198.18.0.254"), Share::All)]);
    assert_eq!(world.picture.deadline(), None);
    // Nobody is concerned any more.
    assert_eq!(world.see("198.18.0.254", FAILED), []);
}

#[test]
fn only_what_is_ours_is_given_back() {
    let entry = |keeper| Entry { station: Station::At(MAC), keeper };
    let (nobody, theirs, ours) = (Keeper::Nobody, Keeper::Kernel { ours: false }, Keeper::Kernel { ours: true });
    // What was there, what it became after it was told of (if it had to be), what somebody made of it, and what is
    // given back.
    let cases = [
        (None, Some(ours), ours, Share::All),
        (Some(nobody), Some(theirs), theirs, Share::Flag),
        (Some(theirs), None, theirs, Share::Nothing),
        (Some(Keeper::Somebody), None, Keeper::Somebody, Share::Nothing),
        // Left by one that was killed.
        (Some(ours), None, ours, Share::All),
        // Made permanent, or managed no longer, by somebody else.
        (None, Some(ours), Keeper::Somebody, Share::Nothing),
        (Some(nobody), Some(theirs), nobody, Share::Nothing),
        // A kernel that manages none.
        (None, Some(nobody), nobody, Share::All),
        (Some(nobody), Some(nobody), nobody, Share::Nothing),
    ];
    for (before, after, then, share) in cases {
        let mut world = World::new(|_| Ok(direct()));
        let (picture, now) = (&mut world.picture, world.now);
        picture.watch(&[address(A)]);
        picture.routed(address(A), Ok(direct()), now);
        assert_eq!(picture.neighbours_due(now), [key(A)]);
        picture.see_neighbour(key(A), before.map(entry), now);
        let unkept = picture.neighbours_unkept(&[key(A)], now);
        assert_eq!(!unkept.is_empty(), after.is_some(), "{before:?}");
        if let Some(after) = after {
            assert_eq!(unkept, [(key(A), address(A), before.is_none())]);
            picture.told_neighbour(key(A), Told::Kept, now);
            picture.see_neighbour(key(A), Some(entry(after)), now);
        }
        picture.see_neighbour(key(A), Some(entry(then)), now);
        picture.watch(&[]);
        let expected = if share == Share::Nothing { vec![] } else { vec![(key(A), share)] };
        assert_eq!(picture.take_left(), expected, "{before:?}, then {then:?}");
    }
}

#[test]
fn one_that_nobody_keeps_is_used_now_and_then_and_asked_for_sooner() {
    let (mut world, _) = World::watching(|_| Ok(direct()), &[A]);
    let known = Entry { station: Station::At(MAC), keeper: Keeper::Nobody };
    world.see(A, known);
    assert_eq!(world.picture.deadline(), Some(world.now + Duration::from_secs(5)));
    world.after(Duration::from_secs(4));
    assert_eq!(world.kept.len(), 1);
    world.after(Duration::from_secs(1));
    assert_eq!(world.kept.len(), 2);
    world.see(A, Entry { station: Station::Unknown, ..known });
    assert_eq!(world.picture.deadline(), Some(world.now + Duration::from_secs(1)));
    // One that is kept needs nothing but to be heard of.
    world.see(A, at(MAC));
    assert!(world.picture.neighbours_due(world.now + Duration::from_secs(3_600)).is_empty());
    // It is told again that is deleted.
    world.after(Duration::from_secs(10));
    world.see(A, None);
    assert_eq!(world.kept.len(), 3);
}

#[test]
fn a_refusal_is_told_and_tried_again() {
    let (mut world, _) = World::watching(|_| Ok(direct()), &[A]);
    world.see(A, None);
    world.picture.told_neighbour(key(A), Told::Refused { errno: libc::ENOBUFS }, world.now);
    let refused = NoWay::Refused { interface: "eth0".to_owned(), next_hop: address(A), errno: libc::ENOBUFS };
    assert!(refused.to_string().contains("net.ipv4.neigh.default.gc_thresh3"), "{refused}");
    assert_eq!(world.turn(), no(A, refused));
    let since = world.begun;
    assert_eq!(world.after(Duration::from_secs(1)), no(A, NoWay::Unresolved(world.silence(A, since, None))));
}

#[test]
fn nobody_is_asked_for_where_nobody_can_answer() {
    for port in [Port { is_ready: false, ..port() }, Port { mac: None, ..port() }] {
        let mut world = World::new(|_| Ok(direct()));
        world.see_port(port.clone());
        let news = world.watch(&[A]);
        let interface = "eth0".to_owned();
        let why = if port.is_ready { NoWay::NotEthernet { interface } } else { NoWay::LinkDown { interface } };
        assert_eq!(news, no(A, why));
        assert_eq!((world.kept.len(), world.picture.deadline() > Some(world.now)), (0, true));
    }
    let (mut world, news) = World::watching(|_| Ok(Route { source: None, ..direct() }), &[A]);
    assert_eq!(news, no(A, NoWay::NoSource { interface: "eth0".to_owned() }));
    // An interface that nobody has heard of yet.
    world.routes = |_| Ok(Route { ifindex: 7, ..direct() });
    world.after(Duration::from_secs(60));
    assert!(world.picture.wants_ports());
    world.picture.see_ports(vec![(2, port()), (7, Port { name: "eth7".to_owned(), ..port() })], world.now);
    assert!(!world.picture.wants_ports());
    let news = world.after(Duration::from_secs(1));
    assert!(matches!(&news[..], [(_, Err(NoWay::Unresolved(silence)))] if silence.interface == "eth7"), "{news:?}");
    // And one that goes.
    world.picture.lose_port(7);
    assert!(matches!(&world.turn()[..], [(_, Err(NoWay::LinkDown { .. }))]));
}

#[test]
fn the_smaller_mtu_counts() {
    let (mut world, _) = World::watching(|_| Ok(Route { mtu: Some(1_400), ..direct() }), &[A]);
    let mtu = |news: News| news[0].1.as_ref().unwrap().mtu;
    assert_eq!(mtu(world.see(A, at(MAC))), 1_400);
    assert_eq!(mtu(world.see_port(Port { mtu: 1_300, ..port() })), 1_300);
    assert_eq!(world.see_port(Port { mtu: 1_300, ..port() }), []);
    world.routes = |_| Ok(direct());
    assert_eq!(world.after(Duration::from_secs(60)), []);
    assert_eq!(mtu(world.see_port(Port { mtu: 9_000, ..port() })), 9_000);
}

#[test]
fn routes_are_asked_for_at_once_and_then_not_too_often() {
    let (mut world, _) = World::watching(|_| Ok(direct()), &[A, B]);
    assert!(world.picture.unrouted(world.now).is_empty());
    world.picture.routes_changed(|it| it == address(A));
    // Ten times a second.
    assert!(world.picture.unrouted(world.now).is_empty());
    assert_eq!(world.picture.deadline(), Some(world.begun + Duration::from_millis(100)));
    let later = world.now + Duration::from_millis(100);
    assert_eq!(world.picture.unrouted(later), [address(A)]);
    world.picture.routed(address(A), Ok(direct()), later);
    // A new destination waits for nobody.
    world.picture.watch(&[address(A), address(B), address("198.18.0.13")]);
    assert!(world.picture.deadline().unwrap() <= world.begun);
    assert_eq!(world.picture.unrouted(later), [address("198.18.0.13")]);
    world.picture.routed(address("198.18.0.13"), Ok(direct()), later);
    // All of them once a minute.
    assert!(world.picture.unrouted(world.begun + Duration::from_secs(59)).is_empty());
    assert_eq!(world.picture.unrouted(world.begun + Duration::from_secs(60)).len(), 3);
}

#[test]
fn after_a_loss_everything_is_asked_for_again() {
    let (mut world, _) = World::watching(|_| Ok(direct()), &[A, B]);
    world.see(A, at(MAC));
    world.see(B, at(MAC));
    world.now += Duration::from_secs(1);
    world.picture.doubt_everything(world.now);
    assert!(world.picture.wants_ports());
    assert_eq!(world.picture.unrouted(world.now).len(), 2);
    assert_eq!(world.picture.neighbours_due(world.now), [key(A), key(B)]);
    // What is found to be as it was is no news, and what was kept still is.
    world.picture.see_neighbour(key(A), Some(at(MAC)), world.now);
    assert_eq!(world.picture.neighbours_unkept(&[key(A)], world.now), []);
    assert_eq!(world.picture.neighbours_due(world.now), [key(B)]);
}

fn neighbour(state: NeighbourState, attributes: Vec<NeighbourAttribute>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 2;
    message.header.state = state;
    message.attributes = attributes;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet([198, 18, 0, 11].into())));
    message
}

#[test]
fn neighbours_are_read_by_their_state_and_flags() {
    let mac = || NeighbourAttribute::LinkLayerAddress(MAC.to_vec());
    let managed = || NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
    let entry = |state, attributes| messages::neighbour(&neighbour(state, attributes)).map(|(_, entry)| entry).unwrap();
    for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay, NeighbourState::Probe] {
        let expected = Entry { station: Station::At(MAC), keeper: Keeper::Nobody };
        assert_eq!(entry(state, vec![mac()]), expected);
        let expected = Entry { keeper: Keeper::Kernel { ours: false }, ..expected };
        assert_eq!(entry(state, vec![mac(), managed()]), expected);
    }
    for state in [NeighbourState::Permanent, NeighbourState::Noarp] {
        assert_eq!(entry(state, vec![mac()]), Entry { station: Station::At(MAC), keeper: Keeper::Somebody });
    }
    let proto = NeighbourAttribute::Protocol(RouteProtocol::Other(ORIGINATOR));
    assert_eq!(entry(NeighbourState::Incomplete, vec![managed(), proto]), UNKNOWN);
    assert_eq!(entry(NeighbourState::Failed, vec![mac()]), Entry { station: Station::Failed, keeper: Keeper::Nobody });
    assert_eq!(entry(NeighbourState::None, vec![]).station, Station::Unknown);
    // Of InfiniBand, say.
    let long = NeighbourAttribute::LinkLayerAddress(vec![1; 20]);
    assert_eq!(entry(NeighbourState::Reachable, vec![long]).station, Station::Unknown);
    let mut learnt = neighbour(NeighbourState::Stale, vec![mac()]);
    learnt.header.flags = NeighbourFlags::ExtLearned;
    assert_eq!(messages::neighbour(&learnt).unwrap().1.keeper, Keeper::Somebody);
    // What is no entry of ARP's.
    learnt.header.flags = NeighbourFlags::Proxy;
    assert_eq!(messages::neighbour(&learnt), None);
    learnt.header.flags = NeighbourFlags::empty();
    learnt.header.family = AddressFamily::Bridge;
    assert_eq!(messages::neighbour(&learnt), None);
}

#[test]
fn routes_are_read_with_gateways_of_either_version() {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Oif(2),
        RouteAttribute::PrefSource(RouteAddress::Inet([198, 18, 0, 1].into())),
        RouteAttribute::Metrics(vec![RouteMetric::Hoplimit(3), RouteMetric::Mtu(1_400)]),
    ];
    let expected = Route { mtu: Some(1_400), ..direct() };
    assert_eq!(messages::route(&message), Ok(expected.clone()));
    for (attribute, gateway) in [
        (RouteAttribute::Gateway(RouteAddress::Inet([198, 18, 0, 11].into())), A),
        (RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap())), "fe80::1"),
    ] {
        let mut message = message.clone();
        message.attributes.push(attribute);
        assert_eq!(messages::route(&message), Ok(Route { gateway: Some(address(gateway)), ..expected.clone() }));
    }
    for (kind, why) in [
        (RouteType::Local, NoWay::Local),
        (RouteType::Multicast, NoWay::NotUnicast),
        (RouteType::Broadcast, NoWay::NotUnicast),
        (RouteType::BlackHole, NoWay::NoRoute { errno: libc::EINVAL }),
        (RouteType::Prohibit, NoWay::NoRoute { errno: libc::EACCES }),
        (RouteType::Unreachable, NoWay::NoRoute { errno: libc::EHOSTUNREACH }),
    ] {
        message.header.kind = kind;
        assert_eq!(messages::route(&message), Err(why));
    }
}

#[test]
fn events_are_read_and_what_is_not_known_may_concern_any_route() {
    let read = |message| Event::read(Some(&message));
    let mut link = LinkMessage::default();
    link.header.index = 2;
    link.header.link_layer_type = LinkLayerType::Ether;
    link.header.flags = LinkFlags::Up | LinkFlags::Running;
    link.attributes = vec![
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(OURS.to_vec()),
        LinkAttribute::Mtu(1_500),
    ];
    assert_eq!(read(Message::NewLink(link.clone())), Some(Event::Port(2, port())));
    link.header.flags = LinkFlags::Up;
    assert_eq!(read(Message::NewLink(link.clone())), Some(Event::Port(2, Port { is_ready: false, ..port() })));
    assert_eq!(read(Message::DelLink(link.clone())), Some(Event::PortGone(2)));
    // It leaves a bridge, which is all that goes.
    link.header.interface_family = AddressFamily::Bridge;
    assert_eq!(read(Message::DelLink(link.clone())), None);
    assert_eq!(read(Message::NewLink(link.clone())), None);
    link.header.interface_family = AddressFamily::Unspec;
    link.header.link_layer_type = LinkLayerType::None;
    assert_eq!(messages::port(&link).unwrap().1.mac, None);

    let stale = neighbour(NeighbourState::Stale, vec![NeighbourAttribute::LinkLayerAddress(MAC.to_vec())]);
    let entry = Entry { station: Station::At(MAC), keeper: Keeper::Nobody };
    assert_eq!(read(Message::NewNeighbour(stale.clone())), Some(Event::Neighbour(key(A), Some(entry))));
    assert_eq!(read(Message::DelNeighbour(stale)), Some(Event::Neighbour(key(A), None)));

    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    assert_eq!(read(Message::DelRoute(route.clone())), Some(Event::RoutesOf(AddressFamily::Inet)));
    route.header.destination_prefix_length = 24;
    route.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet([203, 0, 113, 0].into()))];
    assert_eq!(read(Message::NewRoute(route)), Some(Event::Routes(address("203.0.113.0"), 24)));
    assert_eq!(read(Message::NewRule(RuleMessage::default())), Some(Event::AllRoutes));
    assert_eq!(Event::read(None), Some(Event::AllRoutes));
}

#[test]
fn prefixes_hold_what_is_within() {
    for (network, length, inside, outside) in [
        ("203.0.113.0", 24, "203.0.113.255", "203.0.112.255"),
        ("203.0.113.7", 32, "203.0.113.7", "203.0.113.6"),
        ("128.0.0.0", 1, "203.0.113.7", "2001:db8::1"),
        ("2001:db8::", 32, "2001:db8:ffff::1", "2001:db9::1"),
        ("2001:db8::1", 128, "2001:db8::1", "2001:db8::2"),
    ] {
        assert!(ways::is_within(address(inside), address(network), length), "{inside} in {network}/{length}");
        assert!(!ways::is_within(address(outside), address(network), length), "{outside} in {network}/{length}");
    }
    assert!(ways::is_within(address(A), address("0.0.0.0"), 0) && !ways::is_within(address(A), address("::"), 0));
}
