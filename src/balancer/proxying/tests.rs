//! Where connections go, without any: tables, names, prefixes and headers.

use super::{
    counts::{BackendCounts, Fate, ServiceCounts},
    places::{Member, Place, Places, Pool, Route, Sources, Terms},
    *,
};
use crate::{
    lb::RowCount,
    proxy::{Decision, Ended, Ends, Failure, From, Review, Router, Said, Towards},
    rng::SipKey,
    stack::ConnectError,
    time::Instant,
};
use std::{net::SocketAddr, time::Duration};

const ROWS: u32 = 101;

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(number: u16) -> Ends {
    let client = SocketAddr::new([198, 18, 1, 1].into(), 40_000 + number);
    Ends { client, service: end("198.18.0.80:443") }
}

fn via(station: u8) -> Via {
    Via { interface: InterfaceId::FIRST, next_hop: MacAddress([2, 0, 0, 0, 0, station]), mtu: 1_500, tunnel: None }
}

fn sources() -> Vec<(IpAddr, Arc<[u16]>)> {
    [6, 7, 8].map(|host| ([198, 18, 0, host].into(), [4_711].into())).to_vec()
}

fn member(number: u8, is_reached: bool) -> Arc<Member> {
    let route = Route { sources: Sources::Balancer(sources()), via: via(number) };
    Arc::new(Member {
        address: SocketAddr::new([198, 18, 0, number].into(), 8_443),
        route: is_reached.then_some(route),
        resets: false,
        counts: Arc::new(BackendCounts::new(1)),
    })
}

/// A service whose rows lead to its backends in turn.
fn pool(members: &[Arc<Member>], header: Option<Version>) -> Arc<Pool> {
    let terms = Terms { patience: Patience::default(), header, splice: false, counts: Arc::new(ServiceCounts::new(1)) };
    let count = members.len() as u16;
    Arc::new(Pool {
        terms: Arc::new(terms),
        key: RowKey::new(SipKey::from_seed(1)),
        count: RowCount::new(ROWS).unwrap(),
        rows: (0..ROWS as u16).map(|row| 1 + row % count).collect(),
        members: std::iter::once(None).chain(members.iter().cloned().map(Some)).collect(),
    })
}

fn alone(pool: Arc<Pool>) -> Place {
    Place {
        pools: vec![pool],
        names: HashMap::new(),
        wildcards: HashMap::new(),
        default: Some(0),
        trusted: Vec::new(),
        patience: Patience::default(),
    }
}

/// A worker's router that knows this.
fn router(place: Place) -> (Tables, Arc<Shared>) {
    let shared = Arc::new(Shared::default());
    shared.publish(Places::new([((IpAddr::from([198, 18, 0, 80]), 443), place)]));
    let mut router = Tables::new(Arc::clone(&shared), 0);
    assert!(router.turn(Instant::ZERO), "there is news");
    assert!(!router.turn(Instant::ZERO), "and no more");
    (router, shared)
}

fn said(text: &[u8]) -> Said<'_> {
    Said { pieces: [text, b""], is_all: false }
}

#[track_caller]
fn to(decision: Decision) -> crate::proxy::Target {
    match decision {
        Decision::To(target) => target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_of_some_backends_is_tried_once_and_the_order_is_the_flows() {
    let members: Vec<_> = (11..=14).map(|number| member(number, true)).collect();
    let (mut router, _) = router(alone(pool(&members, None)));
    let mut tries = |number| {
        let mut session = router.open(&client(number));
        let mut asked = vec![to(router.look(&mut session, said(b""))).remote];
        while let Decision::To(target) = router.failed(&mut session, Failure::TimedOut) {
            asked.push(target.remote);
        }
        router.ended(session, Ended::Unreached);
        asked
    };
    let all: Vec<_> = (0..50).map(&mut tries).collect();
    for asked in &all {
        let different: HashSet<_> = asked.iter().collect();
        assert_eq!((asked.len(), different.len()), (3, 3));
    }
    assert_eq!(all, (0..50).map(&mut tries).collect::<Vec<_>>(), "another balancer, or this one again");
    let firsts: HashSet<_> = all.iter().map(|asked| asked[0]).collect();
    assert_eq!(firsts.len(), 4);
    let counts = router_counts(&members);
    assert_eq!(counts.iter().map(|it| it.failed).sum::<u64>(), 300);
}

fn router_counts(members: &[Arc<Member>]) -> Vec<Proxied> {
    members.iter().map(|member| member.counts.read()).collect()
}

#[test]
fn who_cannot_be_reached_is_left_out_and_counted() {
    let members = [member(11, false), member(12, true)];
    let (mut router, _) = router(alone(pool(&members, None)));
    for number in 0..40 {
        let mut session = router.open(&client(number));
        assert_eq!(to(router.look(&mut session, said(b""))).remote, end("198.18.0.12:8443"));
        router.connected(&mut session);
        router.carried(&mut session, Towards::Backend, 100);
        router.carried(&mut session, Towards::Client, 1_000);
        router.ended(session, Ended::Finished);
    }
    let [none, all] = &router_counts(&members)[..] else { panic!("two") };
    assert!(none.failed > 0 && none.connected == 0);
    let expected = Proxied { open: 0, connected: 40, spliced: 0, failed: 0, to_backend: 4_000, to_clients: 40_000 };
    assert_eq!(*all, expected);
}

#[test]
fn names_are_found_as_they_are_then_below_others_then_the_rest() {
    let pools: Vec<_> = (11..=13).map(|number| pool(&[member(number, true)], None)).collect();
    let mut place = alone(Arc::clone(&pools[0]));
    place.pools = pools;
    place.names.insert("www.example.org".to_owned(), 1);
    place.wildcards.insert("example.org".to_owned(), 2);
    let find = |place: &Place, name: Option<&str>| {
        let pool = place.choose(name)?;
        place.pools.iter().position(|it| Arc::ptr_eq(it, pool))
    };
    for (name, whose) in [
        (Some("www.example.org"), Some(1)),
        (Some("a.www.example.org"), Some(2)),
        (Some("shop.example.org"), Some(2)),
        (Some("example.org"), Some(0)),
        (Some("example.com"), Some(0)),
        (None, Some(0)),
    ] {
        assert_eq!(find(&place, name), whose, "{name:?}");
    }
    place.default = None;
    assert_eq!((find(&place, None), find(&place, Some("example.com"))), (None, None));
    assert_eq!(find(&place, Some("www.example.org")), Some(1));
}

#[test]
fn prefixes_are_of_one_version_and_of_any_length() {
    let mut place = alone(pool(&[member(11, true)], None));
    let mut trusts = |prefix: &str, length, address: &str| {
        place.trusted = vec![Cidr { address: prefix.parse().unwrap(), prefix: length }];
        place.trusts(address.parse().unwrap())
    };
    assert!(trusts("198.18.0.0", 24, "198.18.0.255") && !trusts("198.18.0.0", 24, "198.18.1.0"));
    assert!(trusts("198.18.0.7", 32, "198.18.0.7") && !trusts("198.18.0.7", 32, "198.18.0.6"));
    assert!(trusts("0.0.0.0", 0, "203.0.113.1") && !trusts("0.0.0.0", 0, "2001:2::1"));
    assert!(trusts("2001:2::", 64, "2001:2::ffff:1") && !trusts("2001:2::", 64, "2001:2:0:1::1"));
    assert!(trusts("::", 0, "2001:2::1") && trusts("2001:2::9", 128, "2001:2::9"));
}

#[test]
fn a_header_from_in_front_is_read_once_and_skipped_and_said_again_where_it_shall_be() {
    let mut place = alone(pool(&[member(11, true)], Some(Version::V1)));
    place.trusted = vec![Cidr { address: "198.18.1.0".parse().unwrap(), prefix: 24 }];
    let (mut router, _) = router(place);
    let header = b"PROXY TCP4 203.0.113.9 203.0.113.80 4711 443\r\n";
    for length in 0..header.len() {
        let mut session = router.open(&client(1));
        let Decision::Wait { octets } = router.look(&mut session, said(&header[..length])) else {
            panic!("{length} octets decide nothing")
        };
        assert!((length + 1..=header.len()).contains(&octets), "{octets} after {length}");
    }
    let mut session = router.open(&client(1));
    let target = to(router.look(&mut session, said(&[header, &b"hello"[..]].concat())));
    assert_eq!((target.skip, &target.preface[..]), (header.len(), &header[..]));
    // Who is believed must begin so.
    let mut session = router.open(&client(1));
    assert!(matches!(router.look(&mut session, said(b"GET / HTTP/1.1\r\n")), Decision::Reset));
    router.ended(session, Ended::Refused);
    let fates = router_fates(&router);
    assert_eq!(fates, [("header_missing", 1)]);
}

fn router_fates(router: &Tables) -> Vec<(&'static str, u64)> {
    let places = router.known();
    let pool = &places.at(end("198.18.0.80:443")).unwrap().pools[0];
    let counts = pool.terms.counts.read().into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(fate, count): (Fate, u64)| (fate.name(), count)).collect()
}

#[test]
fn connections_stay_with_a_backend_that_stays_follow_its_way_and_end_with_it() {
    let before = member(11, true);
    let (mut router, shared) = router(alone(pool(&[Arc::clone(&before)], None)));
    let mut session = router.open(&client(1));
    to(router.look(&mut session, said(b"")));
    router.connected(&mut session);
    let publish = |members: &[Arc<Member>]| {
        shared.publish(Places::new([((IpAddr::from([198, 18, 0, 80]), 443), alone(pool(members, None)))]));
    };
    let again = |station: u8, resets| {
        let route = Route { sources: Sources::Balancer(sources()), via: via(station) };
        Arc::new(Member { address: before.address, route: Some(route), resets, counts: Arc::clone(&before.counts) })
    };
    publish(&[again(11, false), member(12, true)]);
    assert!(router.turn(Instant::ZERO));
    assert_eq!(router.review(&mut session), Review::Keep);
    publish(&[again(99, false)]);
    assert!(router.turn(Instant::ZERO));
    assert_eq!(router.review(&mut session), Review::Move(via(99)));
    assert_eq!(router.review(&mut session), Review::Keep, "it has moved");
    publish(&[again(99, true)]);
    assert!(router.turn(Instant::ZERO));
    assert_eq!(router.review(&mut session), Review::Reset, "it is down, and its connections are not to stay");
    publish(&[member(11, true)]);
    assert!(router.turn(Instant::ZERO));
    assert_eq!(router.review(&mut session), Review::Reset, "that is another one of the same address");
    let mut moved = again(99, false);
    Arc::get_mut(&mut moved).unwrap().address = end("198.18.0.12:8443");
    publish(&[moved]);
    assert!(router.turn(Instant::ZERO));
    assert_eq!(router.review(&mut session), Review::Reset, "the same one at another address knows nothing of it");
}

#[test]
fn patience_is_the_services_once_it_is_known() {
    let members = [member(11, true)];
    let mut its = pool(&members, None);
    let patience = Patience { idle: Duration::from_secs(7), ..Patience::default() };
    Arc::get_mut(&mut its).unwrap().terms =
        Arc::new(Terms { patience, header: None, splice: false, counts: Arc::new(ServiceCounts::new(1)) });
    let (mut router, _) = router(alone(its));
    let mut session = router.open(&client(1));
    assert_eq!(router.patience(&session), Patience::default());
    to(router.look(&mut session, said(b"")));
    assert_eq!(router.patience(&session), patience);
}

#[test]
fn who_looks_on_while_tables_change_goes_by_the_new_ones() {
    let (gone, new) = (member(11, true), member(12, true));
    let (mut router, shared) = router(alone(pool(&[Arc::clone(&gone)], None)));
    let mut session = router.open(&client(1));
    shared.publish(Places::new([((IpAddr::from([198, 18, 0, 80]), 443), alone(pool(&[new], None)))]));
    assert!(router.turn(Instant::ZERO));
    assert_eq!(to(router.look(&mut session, said(b""))).remote, end("198.18.0.12:8443"));
    // And one whose service has gone has nowhere to go.
    let mut session = router.open(&client(2));
    shared.publish(Places::default());
    assert!(router.turn(Instant::ZERO));
    assert!(matches!(router.look(&mut session, said(b"")), Decision::Reset));
}

#[test]
fn clients_are_spread_over_the_sources_and_who_finds_no_port_gets_another_one() {
    let members: Vec<_> = (11..=13).map(|number| member(number, true)).collect();
    let (mut router, _) = router(alone(pool(&members, None)));
    let source = |decision| match to(decision).from {
        From::Via { source, .. } => source,
        other => panic!("{other:?}"),
    };
    let mut firsts = HashSet::new();
    for number in 0..30 {
        let mut session = router.open(&client(number));
        let first = source(router.look(&mut session, said(b"")));
        let none = Failure::NotBegun(ConnectError::NoPortLeft(end("198.18.0.11:8443").into()));
        assert_ne!(source(router.failed(&mut session, none)), first);
        firsts.insert(first);
        router.failed(&mut session, none);
        assert!(matches!(router.failed(&mut session, none), Decision::Reset));
        router.ended(session, Ended::Unreached);
    }
    assert_eq!(firsts.len(), 3);
    assert_eq!(router_fates(&router), [("no_port", 30)]);
    assert!(router_counts(&members).iter().all(|it| it.failed == 0), "no backend is to blame");
    // Where the balancer has no room, no other backend has it either.
    let mut session = router.open(&client(99));
    to(router.look(&mut session, said(b"")));
    let full = Failure::NotBegun(ConnectError::Limit(9));
    assert!(matches!(router.failed(&mut session, full), Decision::Reset));
}

#[test]
fn a_backend_may_see_the_client_and_whomever_a_balancer_in_front_names() {
    let mut its = member(11, true);
    Arc::get_mut(&mut its).unwrap().route = Some(Route { sources: Sources::Client([9].into()), via: via(11) });
    let mut place = alone(pool(&[its], None));
    place.trusted = vec![Cidr { address: "198.18.1.9".parse().unwrap(), prefix: 32 }];
    let (mut router, _) = router(place);
    let mut seen = |from: SocketAddr, words: &[u8]| {
        let mut session = router.open(&Ends { client: from, service: end("198.18.0.80:443") });
        match to(router.look(&mut session, said(words))).from {
            From::Client { client, ports, via: way } => {
                assert_eq!((&ports[..], way), (&[9][..], via(11)));
                client
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(seen(end("198.18.1.1:4711"), b"GET / HTTP/1.1\r\n"), end("198.18.1.1:4711"));
    let header = b"PROXY TCP4 203.0.113.9 203.0.113.80 4712 443\r\n";
    assert_eq!(seen(end("198.18.1.9:1"), header), end("203.0.113.9:4712"));
}
