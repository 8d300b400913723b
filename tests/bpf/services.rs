//! What is served changes while the program runs.

use super::{
    Case, Judge, UDP_PORT,
    common::{frames::*, is_root},
    foreign, icmp_error, taken,
};
use std::net::SocketAddr;
use xskip::xdp::{Action, Service, Services, Steering};

impl Judge {
    /// Changes what both programs serve.
    fn change(&self, change: impl Fn(&Services)) {
        change(self.connected.services());
        change(self.alone.services());
    }
}

/// Frames for a TCP port of the shared addresses, where it is served: whole, in pieces that have not been seen before, and quoted.
fn served_port(port: u16, id: u8) -> Vec<Case> {
    let first = [&[TCP, 0, 0, 1, 0, 0, 9, id][..], &ports(port)].concat();
    let mut first_v4 = ipv4(SHARED_V4, TCP, 0x2000, &[], &ports(port));
    let mut later_v4 = ipv4(SHARED_V4, TCP, 0x0001, &[], &ports(port + 9));
    (first_v4[18], first_v4[19], later_v4[18], later_v4[19]) = (9, id, 9, id);
    vec![
        taken("TCP over IPv4", syn(SHARED_V4.into(), port, &[]), "redirected_shared", 38),
        taken("TCP over IPv6", syn(SHARED_V6.into(), port, &[]), "redirected_shared", 58),
        taken("a first fragment", first_v4, "redirected_shared", 38),
        taken("its later one", later_v4, "redirected_shared", 34),
        taken("a first fragment of IPv6", ipv6(SHARED_V6, IPV6_FRAGMENT, &first), "redirected_shared", 66),
        taken("an ICMP error", icmp_error(false, 3, TCP, port), "redirected_shared", 66),
        taken("an ICMPv6 error", icmp_error(true, 1, TCP, port), "redirected_shared", 106),
    ]
}

fn unserved(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(|case| foreign(case.what, case.frame)).collect()
}

#[test]
fn a_port_of_a_shared_address_is_the_stacks_from_the_moment_it_is_served_until_it_is_forgotten() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    let at = |port| [SocketAddr::new(SHARED_V4.into(), port), SocketAddr::new(SHARED_V6.into(), port)];
    for (round, port) in (0..).zip([8_080, 443, 8_080]) {
        judge.check(&unserved(served_port(port, 3 * round)));
        judge.change(|services| {
            for local in at(port) {
                services.serve(Service::tcp(local), Action::Stack).unwrap();
            }
        });
        judge.check(&served_port(port, 3 * round + 1));
        judge.change(|services| {
            assert!(at(port).map(Service::tcp).into_iter().all(|service| services.forget(service)));
            assert!(!services.forget(Service::tcp(at(port)[0])), "it is forgotten already");
        });
        judge.check(&unserved(served_port(port, 3 * round + 2)));
    }
    // Of UDP, TCP's number says nothing.
    let datagram = |port| ipv4(SHARED_V4, UDP, 0, &[], &ports(port));
    judge.change(|services| services.serve(Service::udp(at(8_080)[0]), Action::Stack).unwrap());
    judge.check(&unserved(served_port(8_080, 99)));
    judge.check(&[taken("UDP", datagram(8_080), "redirected_shared", 38)]);
    judge.change(|services| assert!(services.forget(Service::udp(at(8_080)[0]))));
    judge.check(&[foreign("UDP", datagram(8_080)), taken("old UDP", datagram(UDP_PORT), "redirected_shared", 38)]);
}

#[test]
fn an_address_is_the_stacks_own_from_the_moment_it_is_served_until_it_is_forgotten() {
    if !is_root() {
        return;
    }
    let judge = Judge::new();
    let cases = || {
        vec![
            taken("a SYN", syn(FOREIGN_V4.into(), PORT, &[]), "redirected_own", 34),
            taken("a SYN over IPv6", syn(FOREIGN_V6.into(), PORT, &[]), "redirected_own", 54),
            taken("ARP", arp_request(FOREIGN_V4), "redirected_arp", 42),
            taken("a later fragment", ipv4(FOREIGN_V4, TCP, 0x1fff, &[], &ports(PORT)), "redirected_own", 34),
            taken("a solicitation", solicitation(solicited_node(FOREIGN_V6), FOREIGN_V6), "redirected_neighbour", 78),
        ]
    };
    let port = |local: std::net::Ipv4Addr| Service::tcp(SocketAddr::new(local.into(), PORT));
    for _ in 0..2 {
        judge.check(&unserved(cases()));
        judge.change(|services| {
            services.serve(port(FOREIGN_V4), Action::Stack).unwrap();
            services.serve_address(FOREIGN_V4.into()).unwrap();
            services.serve_address(FOREIGN_V6.into()).unwrap();
            services.serve_address(FOREIGN_V6.into()).unwrap();
        });
        judge.check(&cases());
        judge.change(|services| assert!(services.forget(port(FOREIGN_V4))));
        judge.check(&cases());
        // What was served at the address goes with it.
        judge.change(|services| {
            services.serve(port(FOREIGN_V4), Action::Stack).unwrap();
            assert!(services.forget_address(FOREIGN_V4.into()) && services.forget_address(FOREIGN_V6.into()));
            assert!(!services.forget_address(FOREIGN_V4.into()));
            assert!(!services.forget(port(FOREIGN_V4)));
        });
    }
}

#[test]
fn a_port_of_an_own_address_may_be_the_kernels() {
    if !is_root() {
        return;
    }
    let judge = Judge::of(&Steering { own: vec![OWN_V4.into()], ..Steering::default() });
    let service = Service::tcp(SocketAddr::new(OWN_V4.into(), PORT));
    judge.change(|services| services.serve(service, Action::Kernel).unwrap());
    judge.check(&[
        foreign("the port", syn(OWN_V4.into(), PORT, &[])),
        taken("another one", syn(OWN_V4.into(), PORT + 1, &[]), "redirected_own", 34),
        taken("UDP", ipv4(OWN_V4, UDP, 0, &[], &ports(PORT)), "redirected_own", 34),
    ]);
    judge.change(|services| assert!(services.forget(service)));
    judge.check(&[taken("the port", syn(OWN_V4.into(), PORT, &[]), "redirected_own", 34)]);
}
