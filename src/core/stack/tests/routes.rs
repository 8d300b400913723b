//! Whereto packets are handed on, and where they come from.

use super::*;
use crate::stack::{Addresses, route::Route};

fn own(texts: &[&str]) -> Addresses {
    let own = |text: &&str| LocalAddress { cidr: text.parse().unwrap(), ownership: Ownership::Own };
    Addresses::new(texts.iter().map(own).collect())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The way by the first interface.
fn route(addresses: &Addresses, remote: &str, gateways: &[IpAddr]) -> Option<Route> {
    addresses.route(address(remote), None, std::iter::once((InterfaceId::FIRST, gateways)))
}

#[track_caller]
fn leads(addresses: &Addresses, remote: &str, gateways: &[&str], expected: (&str, &str)) {
    let gateways: Vec<_> = gateways.iter().map(|gateway| address(gateway)).collect();
    let route = route(addresses, remote, &gateways).expect("there is a way");
    assert_eq!((route.next_hop, route.source), (address(expected.0), address(expected.1)), "{remote}");
}

#[test]
fn a_gateway_is_on_the_link_whatever_our_subnets_are() {
    leads(&own(&["203.0.113.5/32"]), "192.0.2.1", &["169.254.1.1"], ("169.254.1.1", "203.0.113.5"));
    leads(&own(&["203.0.113.5/32"]), "192.0.2.1", &["10.0.0.1"], ("10.0.0.1", "203.0.113.5"));
    leads(&own(&["2001:db8::5/128"]), "2001:db8::6", &["10.0.0.1", "2001:db8:1::1"], ("2001:db8:1::1", "2001:db8::5"));
}

#[test]
fn a_link_local_gateway_is_asked_from_a_link_local_address_where_there_is_one() {
    let remote = "2001:db8::7";
    leads(&own(&["2001:2::1/64"]), remote, &["fe80::1"], ("fe80::1", "2001:2::1"));
    leads(&own(&["fe80::5/64", "2001:2::1/64"]), remote, &["fe80::1"], ("fe80::1", "2001:2::1"));
    assert_eq!(own(&["2001:2::1/64"]).asker(InterfaceId::FIRST, address("fe80::1")), Some(address("2001:2::1")));
    assert_eq!(
        own(&["2001:2::1/64", "fe80::5/64"]).asker(InterfaceId::FIRST, address("fe80::1")),
        Some(address("fe80::5"))
    );
}

/// The examples of RFC 6724 §10.1 that ask about addresses that are neither mobile, deprecated nor temporary.
#[test]
fn the_source_is_the_one_that_rfc_6724_selects() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("2001:db8:1::1", &["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
        ("fe80::1", &["2001:db8:3::1/64", "fe80::2/64"], "fe80::2"),
        ("2001:db8:1::1", &["2001:db8:1::2/64", "2001:db8:3::2/64"], "2001:db8:1::2"),
        ("2002:c633:6401::d5e3:7953:13eb:22e8", &["2001:db8:1::2/64", "2002:c633:6401::2/64"], "2002:c633:6401::2"),
        // Rule 6: a unique local address talks to its like.
        ("fd00:9::1", &["2001:2::1/64", "fd00:1::1/64"], "fd00:1::1"),
        ("2001:db8::1", &["fd00:1::1/64", "2001:2::1/64"], "2001:2::1"),
        // Rule 8, and no further than the subnet's prefix.
        ("198.18.7.9", &["10.0.0.1/8", "198.18.0.1/24"], "198.18.0.1"),
        ("203.0.113.1", &["169.254.0.5/16", "10.0.0.1/8"], "10.0.0.1"),
        ("2001:db8::7", &["2001:db8:0:1::1/64", "2001:db8::1:0:0:1/48"], "2001:db8::1:0:0:1"),
    ];
    for &(remote, addresses, source) in cases {
        let gateway = if address(remote).is_ipv4() { "192.0.2.254" } else { "2001:db8:ffff::1" };
        let route = route(&own(addresses), remote, &[address(gateway)]).unwrap();
        assert_eq!(route.source, address(source), "{remote}");
    }
}

#[test]
fn without_a_gateway_nothing_leads_off_the_link() {
    assert_eq!(route(&own(&["198.18.0.1/24"]), "10.0.0.1", &[address("fe80::1")]), None);
    assert_eq!(route(&own(&["198.18.0.1/24"]), "2001:db8::1", &[address("fe80::1")]), None);
    let shared = LocalAddress { cidr: "198.18.0.1/24".parse().unwrap(), ownership: Ownership::Shared };
    assert_eq!(route(&Addresses::new(vec![shared]), "198.18.0.2", &[]), None, "the kernel's is not to come from");
}

#[test]
fn a_connection_by_a_gateway_outside_of_our_subnets_asks_it_from_our_address() {
    for (ours, gateway, remote) in
        [("203.0.113.5/32", "169.254.1.1", "192.0.2.7"), ("2001:db8::5/128", "fe80::1", "2001:db8:7::7")]
    {
        let config = StackConfig { gateways: vec![address(gateway)], ..StackConfig::default() };
        let mut bench = Bench::new();
        let local = LocalAddress { cidr: ours.parse().unwrap(), ownership: Ownership::Own };
        bench.stack = Stack::new(config, OURS, vec![local], Secrets::from_seed(1));
        (bench.ours, bench.theirs) = (local.cidr.address, address(remote));
        bench.begin();
        assert_eq!(bench.asked(), address(gateway));
        bench.answer(address(gateway));
        let syn = bench.sent_one();
        assert_eq!((syn.link.destination, syn.tuple.local.address), (THEIRS, local.cidr.address));
        assert_eq!(syn.tuple.remote.address, address(remote));
    }
}
