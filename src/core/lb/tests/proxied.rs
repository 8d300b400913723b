//! Services in mode `proxy`: what is refused, who has which address, and where rows lead.

use super::fixture::{Fixture, backends};
use crate::{
    lb::{
        Balancer, Change, Fragments, Health, Limits, Mode, Number, PlanError, Proxied, RowCount, Service, WhenAllDown,
        is_server_name,
    },
    time::Instant,
    transport::Transport,
};
use std::net::IpAddr;

fn service(name: &str, names: &[&str]) -> Service {
    let proxied = Proxied { server_names: names.iter().map(|&name| name.to_owned()).collect(), ..Proxied::default() };
    let service = Service::tcp(name, Fixture::VIP, Fixture::maglev());
    Service { mode: Mode::Proxy, rows: RowCount::new(1_021).unwrap(), proxied, ..service }.with(backends(3))
}

fn serving(services: Vec<Service>) -> Balancer {
    let mut balancer = Balancer::new(Fixture::key(), Limits::default());
    let plan = balancer.plan(services, Instant::ZERO).unwrap_or_else(|errors| panic!("{errors:?}"));
    balancer.apply(&plan, Instant::ZERO).unwrap();
    balancer
}

#[test]
fn what_cannot_be_proxied_is_refused_with_the_remedy() {
    let ours = || service("shop", &["shop.example.org"]);
    let cases = [
        (vec![Service { transport: Transport::Udp, ..ours() }], "datagrams have none: use another mode"),
        (vec![Service { port: 0, ..ours() }], "listens at one port: name it"),
        (vec![Service { fragments: Fragments::ByAddress, ..ours() }], "no fragment is looked at: leave out"),
        (vec![Service { mode: Mode::Dsr, ..ours() }], "has server names, which mode proxy alone looks at"),
        (vec![service("shop", &["shop example.org"])], "has a server name that no client sends"),
        (vec![ours(), service("other", &["a.example.org", "shop.example.org"])], "both have the server name \"shop."),
        (vec![service("one", &[]), service("other", &[])], "have the same address, port and transport"),
        (vec![ours(), Service { mode: Mode::Dsr, ..service("web", &[]) }], "have the same address, port and"),
    ];
    for (services, expected) in cases {
        let errors = Balancer::new(Fixture::key(), Limits::default()).plan(services, Instant::ZERO).unwrap_err();
        let said: Vec<String> = errors.iter().map(PlanError::to_string).collect();
        assert!(said.len() == 1 && said[0].contains(expected), "{expected}: {said:?}");
    }
}

#[test]
fn names_of_hosts_and_what_stands_for_those_below_them() {
    for name in ["a", "www.example.org", "*.example.org", "xn--bcher-kva.example", "_dns.example.org"] {
        assert!(is_server_name(name), "{name}");
    }
    let long = "a.".repeat(127) + "a";
    for name in [
        "1.2.3.4",
        "-a.example",
        "",
        "*",
        "*.",
        "a..b",
        ".a",
        "a.",
        "A.example",
        "a b",
        "*.*.a",
        "a.*.b",
        "ä.example",
        &long,
    ] {
        assert!(!is_server_name(name), "{name}");
    }
    assert!(!is_server_name(&"a".repeat(64)) && is_server_name(&"a".repeat(63)));
}

#[test]
fn services_share_an_address_and_the_one_without_names_stands_for_it() {
    let balancer =
        serving(vec![service("shop", &["a.example"]), service("rest", &[]), service("blog", &["b.example"])]);
    let places = balancer.proxied();
    let (end, ids) = places.iter().next().unwrap();
    assert_eq!((places.len(), *end, ids.len()), (1, (Fixture::VIP.address, Fixture::VIP.port), 3));
    let mut fixture = Fixture::tcp(3);
    let flow = fixture.stranger();
    let said = balancer.explain(&flow, Instant::ZERO);
    assert!(said.contains("service rest") && said.contains("a new flow goes to"), "{said}");
    let other: IpAddr = "198.18.0.81".parse().unwrap();
    let elsewhere = Service { address: other, ..service("else", &[]) };
    assert_eq!(serving(vec![service("rest", &[]), elsewhere]).proxied().len(), 2);
}

#[test]
fn rows_lead_to_who_is_well_as_those_of_packets_do() {
    let mut balancer = serving(vec![service("shop", &[])]);
    let id = balancer.service("shop").unwrap();
    let number = |balancer: &Balancer, name: &str| balancer.backend(id, name).unwrap();
    let count = |balancer: &Balancer, name: &str| {
        let its = number(balancer, name).number;
        balancer.spread(id).into_iter().filter(|&it| it == Some(its)).count()
    };
    let all = |balancer: &Balancer| ["web-1", "web-2", "web-3"].map(|name| count(balancer, name));
    assert_eq!(all(&balancer).iter().sum::<usize>(), 1_021);
    assert!(all(&balancer).iter().all(|count| count.abs_diff(340) <= 1));
    let before = balancer.spread(id);
    let first = number(&balancer, "web-1");
    assert!(balancer.set_health(first, Health::Down, Instant::ZERO));
    assert_eq!((all(&balancer)[0], all(&balancer).iter().sum::<usize>()), (0, 1_021));
    let moved = |(was, is): (&Option<Number>, &Option<Number>)| was != is && *was != Some(first.number);
    assert!(!before.iter().zip(&balancer.spread(id)).any(moved), "nobody else's rows move");
    for name in ["web-2", "web-3"] {
        balancer.set_health(number(&balancer, name), Health::Down, Instant::ZERO);
    }
    assert!(balancer.spread(id).iter().all(Option::is_none), "closed when all are down");
    let open = Service { when_all_down: WhenAllDown::Open, ..service("shop", &[]) };
    let plan = balancer.plan([open], Instant::ZERO).unwrap();
    balancer.apply(&plan, Instant::ZERO).unwrap();
    assert_eq!(balancer.spread(id), before);
}

#[test]
fn other_terms_are_a_change() {
    let balancer = serving(vec![service("shop", &[])]);
    let other = Service { proxied: Proxied { send_header: Some(2), ..Proxied::default() }, ..service("shop", &[]) };
    let plan = balancer.plan([other], Instant::ZERO).unwrap();
    assert_eq!(plan.changes[0].what, Change::Changed);
    assert!(balancer.plan([service("shop", &[])], Instant::ZERO).unwrap().is_empty());
}
