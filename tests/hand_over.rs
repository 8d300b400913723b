//! A load balancer that answers SYNs in its backends' names: what clients get, and what comes to backends. Needs root.

#[path = "hand_over/arrived.rs"]
mod arrived;
#[path = "common/library.rs"]
mod common;
#[path = "balancer/net.rs"]
mod net;

use arrived::{ACK, RST, SYN, arrived, capture};
use common::is_root;
use net::{Net, VIPS, address};
use std::{
    io::Write,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use xskip::{
    Balancing, LoadBalancer,
    balancer::BalancerError,
    lb::{Backend, Flow, Maglev, Mode, PlanError, Promise, RowKey, Service, SynProxy},
    rng::SipKey,
    tcp::cookie::{CookieJar, MasterKey},
    transport::Transport,
    wire::{self, FourTuple},
};

const PORT: u16 = 7_000;

fn key() -> RowKey {
    RowKey::new(SipKey::from_seed(9))
}

fn master() -> SipKey {
    SipKey::from_seed(31)
}

/// A service at each VIP with one backend, which is on the link.
fn services(mode: Mode, syn_proxy: SynProxy) -> Vec<Service> {
    let placement = Arc::new(Maglev::new(key().of_placement()));
    let of_one = |(vip, name): (&str, &str)| {
        let ipv6 = name == "six";
        let at = SocketAddr::new(vip.parse().unwrap(), PORT);
        let backend = Backend::new("b1", SocketAddr::new(address(11, ipv6), PORT));
        Service { mode, syn_proxy, ..Service::tcp(name, at, Arc::clone(&placement) as _) }.with([backend])
    };
    VIPS.into_iter().zip(["four", "six"]).map(of_one).collect()
}

fn start(net: &Net, mode: Mode, syn_proxy: SynProxy) -> Balancing {
    let balancer = LoadBalancer::on("eth0", key()).cookie_master(master());
    let started = net.on("balancer", || balancer.start(services(mode, syn_proxy)));
    let balancing = started.unwrap_or_else(|error| panic!("{error}"));
    net.wait("backends are reached", || {
        let status = balancing.status().unwrap();
        status.services.iter().all(|service| service.backends.iter().all(|it| it.trouble.is_none()))
    });
    balancing
}

fn jar() -> CookieJar {
    CookieJar::new(MasterKey::new(master()), SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

#[test]
fn a_syn_is_answered_by_a_cookie_and_what_follows_reaches_the_backend_as_it_is() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    // The backend's kernel knows of no such connection, and would reset it.
    net.sh("b1", "ip route add blackhole 198.18.0.2/32; ip -6 route add blackhole 2001:2::2/128");
    for (mode, outer) in [(Mode::Dsr, 0), (Mode::Ipip, 20), (Mode::Gue, 28)] {
        let balancing = start(&net, mode, SynProxy::Always);
        for (service, headers) in [("four", 40), ("six", 60)] {
            // The backend of the second one has an IPv6 address, and so has the outer header.
            let overhead = if service == "six" && outer > 0 { outer + 20 } else { outer };
            let promise = Promise::all(1_500 - headers - overhead);
            let said = format!("syn_proxy always: SYNs are answered here, with {promise}");
            net.wait(&said, || balancing.status().unwrap().to_string().contains(&said));
        }
        for vip in VIPS {
            let mut seen = capture(&net, "b1");
            // Nobody listens there: but for the cookie, there would be no connection.
            let mut client = net.connect(vip, PORT).into_stream();
            client.write_all(b"hello").unwrap();
            let outer = usize::from(if vip.contains(':') && outer > 0 { outer + 20 } else { outer });
            let all = arrived(&mut seen, outer, |all| all.iter().any(|it| it.payload == b"hello"));
            assert!(all.iter().all(|it| it.flags & SYN == 0), "{mode}: {all:?}");
            let local = client.local_addr().unwrap();
            for it in all.iter().filter(|it| it.flags & RST == 0) {
                assert_eq!(it.tuple.remote, local.into());
                let (irs, iss) = (it.seq.back(1), it.ack.back(1));
                let now = xskip::time::Instant::ZERO;
                let offer = jar().check(now, &it.tuple, irs, iss, it.options.timestamps).expect("a cookie");
                assert_eq!(
                    (offer.window_scale.is_some(), offer.sack, offer.timestamps, offer.ecn),
                    (true, true, true, false)
                );
                assert_eq!(offer.mss, if vip.contains(':') { 1_440 } else { 1_460 });
            }
            assert!(all[0].flags & ACK != 0 && all[0].payload.is_empty());
        }
        let status = balancing.status().unwrap();
        assert!(status.outcomes.answered_syns() >= 2, "{status}");
        assert_eq!(status.services.iter().map(|it| it.backends[0].tally.flows).min(), Some(1), "{status}");
        let flow = |vip: &str| Flow {
            transport: Transport::Tcp,
            tuple: FourTuple {
                local: SocketAddr::new(vip.parse().unwrap(), PORT).into(),
                remote: SocketAddr::new(address(2, vip.contains(':')), 40_000).into(),
            },
        };
        let said = balancing.explain(&flow(VIPS[0])).unwrap();
        assert!(said.contains("a SYN is answered here with a cookie, in the name of b1"), "{said}");
        balancing.stop().unwrap();
    }
}

#[test]
fn a_service_that_wants_it_no_more_has_its_syns_forwarded() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    net.serve("b1", PORT);
    let balancing = start(&net, Mode::Dsr, SynProxy::Always);
    net.wait("SYNs are answered", || balancing.status().unwrap().to_string().contains("SYNs are answered here"));
    let said = net.try_connect(VIPS[0], PORT).and_then(|mut talk| talk.ask(10));
    assert!(said.is_err(), "nobody takes the handshake over");
    net.on("balancer", || balancing.configure(services(Mode::Dsr, SynProxy::Off)).unwrap());
    for vip in VIPS {
        let said = || net.try_connect(vip, PORT).and_then(|mut talk| talk.ask(10));
        net.wait("backends answer SYNs", || said().is_ok_and(|name| name == "b1"));
    }
    let answered = balancing.status().unwrap().outcomes.answered_syns();
    assert!(VIPS.iter().all(|vip| net.connect(vip, PORT).ask(10).is_ok()));
    let status = balancing.status().unwrap();
    assert_eq!(status.outcomes.answered_syns(), answered, "{status}");
    assert!(!status.to_string().contains("syn_proxy"));
    balancing.stop().unwrap();
}

#[test]
fn services_whose_syns_nobody_can_answer_are_refused() {
    let wanting = |change: fn(&mut Service)| {
        let mut service = services(Mode::Dsr, SynProxy::Always).remove(0);
        change(&mut service);
        xskip::lb::check(&[service]).into_iter().map(|error| error.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(wanting(|_| {}), Vec::<String>::new());
    let hidden = "in mode nat backends see an address of its own instead of the client's, and cannot check the client's cookie: \
                  write mode = \"proxy\", which answers SYNs itself, or";
    for (change, why) in [
        ((|it| it.transport = Transport::Udp) as fn(&mut Service), "UDP has none: write"),
        (|it| it.mode = Mode::Nat, hidden),
        (|it| it.port = 0, "it has every port, and nobody would know which of them are open: write"),
    ] {
        let expected = format!("the SYNs of `four` cannot be answered by the balancer, as {why} syn_proxy = \"off\"");
        assert_eq!(wanting(change), [expected]);
    }
    let both = |it: &mut Service| (it.mode, it.transport) = (Mode::Nat, Transport::Udp);
    assert!(wanting(both).iter().all(|it| !it.contains("proxy\", which")), "no mode answers the SYNs of UDP");
    let all = xskip::lb::check(&[Service { mode: Mode::Nat, ..services(Mode::Dsr, SynProxy::Auto).remove(0) }]);
    assert!(matches!(&all[..], [PlanError::NoSynProxy { .. }]), "{all:?}");
}

#[test]
fn without_a_secret_that_backends_have_nothing_is_begun() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    let started = net.on("balancer", || LoadBalancer::on("eth0", key()).start(services(Mode::Dsr, SynProxy::Always)));
    let error = started.err().unwrap();
    assert!(matches!(error, BalancerError::NoCookieMaster { .. }), "{error}");
    assert!(error.to_string().starts_with("the SYNs of service `four` are to be answered with cookies"), "{error}");
}
