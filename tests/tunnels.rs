//! A load balancer whose backends are behind tunnels, with `xskip backend` at each of them. Needs root.

mod common;
#[path = "balancer/net.rs"]
mod net;

use common::is_root;
use net::{Net, VIPS, address};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};
use xskip_cli::{
    LoadBalancer,
    balancer::check::Check,
    lb::{Backend, Health, Maglev, Mode, RowKey, Service},
    rng::SipKey,
};

const PORT: u16 = 7_000;

/// Both services, over both versions of IP, each with two backends behind tunnels over IPv4 or IPv6.
fn services(mode: Mode, over_ipv6: bool) -> Vec<Service> {
    let key = RowKey::new(SipKey::from_seed(9));
    let placement = Arc::new(Maglev::new(key.of_placement()));
    let of_one = |(vip, name): (&str, &str)| {
        let backend = |number: u16| {
            let end = SocketAddr::new(address(10 + number, over_ipv6), PORT);
            Backend::new(format!("b{number}"), end)
        };
        let service = Service::tcp(name, SocketAddr::new(vip.parse().unwrap(), PORT), Arc::clone(&placement) as _);
        Service { mode, ..service }.with([1, 2].map(backend))
    };
    VIPS.into_iter().zip(["four", "six"]).map(of_one).collect()
}

#[test]
fn clients_reach_backends_through_tunnels_of_all_kinds_and_learn_how_much_fits() {
    if !is_root() {
        return;
    }
    let net = Net::new(2);
    for backend in ["b1", "b2"] {
        net.serve(backend, PORT);
        net.sh(backend, &format!("{} backend attach --interface eth0", env!("CARGO_BIN_EXE_xskip")));
    }
    let key = RowKey::new(SipKey::from_seed(9));
    for (mode, over_ipv6) in [(Mode::Ipip, false), (Mode::Ipip, true), (Mode::Gue, false), (Mode::Gue, true)] {
        let what = format!("{mode} over IPv{}", if over_ipv6 { 6 } else { 4 });
        let balancer = LoadBalancer::on("eth0", key).check("four", Check::default()).check("six", Check::default());
        let balancing = net.on("balancer", || balancer.start(services(mode, over_ipv6)));
        let balancing = balancing.unwrap_or_else(|error| panic!("{what}: {error}"));
        // Checks go through the tunnels as well.
        net.wait(&format!("backends are up, {what}"), || {
            let status = balancing.status().unwrap();
            let mut backends = status.services.iter().flat_map(|service| &service.backends);
            backends.all(|it| it.health == Health::Up && it.trouble.is_none())
        });
        net.sh("client", "ip route flush cache; ip -6 route flush cache");
        let mut answered = BTreeSet::new();
        for number in 0..24 {
            let mut talk = net.connect(VIPS[number % 2], PORT);
            // More than fits into the first packets: their sender is told how much does.
            let who = talk.ask(50_000).unwrap_or_else(|error| panic!("{what}, connection {number}: {error}"));
            assert_eq!(talk.ask(10).unwrap(), who, "{what}");
            answered.insert(who);
        }
        assert_eq!(answered.len(), 2, "{what}: {answered:?}");
        let status = balancing.status().unwrap();
        assert!(status.outcomes.told_too_big() > 0, "{what}: {status}");
        balancing.stop().unwrap();
    }
    for backend in ["b1", "b2"] {
        net.sh(backend, &format!("{} backend detach --interface eth0", env!("CARGO_BIN_EXE_xskip")));
    }
}
