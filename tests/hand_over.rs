//! A load balancer that answers SYNs in its backends' names: what clients get, and what comes to backends. Needs root.

#[path = "common/library.rs"]
mod common;
#[path = "balancer/net.rs"]
mod net;

use common::is_root;
use net::{Net, VIPS, address};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use xskip::{
    Balancing, LoadBalancer,
    balancer::BalancerError,
    lb::{Backend, Flow, Maglev, Mode, PlanError, Promise, RowKey, Service, SynProxy},
    rng::SipKey,
    tcp::cookie::{CookieJar, MasterKey},
    transport::Transport,
    wire::{FourTuple, SeqNumber, tcp_options::TcpOptions},
};

const PORT: u16 = 7_000;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

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

/// A TCP segment for a VIP, as it came to a backend.
#[derive(Debug)]
struct Arrived {
    tuple: FourTuple,
    seq: SeqNumber,
    ack: SeqNumber,
    flags: u8,
    options: TcpOptions,
    payload: Vec<u8>,
}

impl Arrived {
    /// Reads a frame, behind the outer headers that there may be.
    fn read(frame: &[u8], outer: usize) -> Option<Self> {
        let packet = frame.get(14 + outer..)?;
        let end = |at: usize, length: usize| -> Option<IpAddr> {
            let octets = packet.get(at..at + length)?;
            Some(match length {
                4 => <[u8; 4]>::try_from(octets).ok()?.into(),
                _ => <[u8; 16]>::try_from(octets).ok()?.into(),
            })
        };
        let (source, destination, tcp, length) = match packet.first()? >> 4 {
            4 if packet.get(9) == Some(&6) => {
                let length = usize::from(u16::from_be_bytes([packet[2], packet[3]])) - 20;
                (end(12, 4)?, end(16, 4)?, packet.get(20..)?, length)
            }
            6 if packet.get(6) == Some(&6) => {
                let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                (end(8, 16)?, end(24, 16)?, packet.get(40..)?, length)
            }
            _ => return None,
        };
        let tcp = tcp.get(..length)?;
        let word = |at: usize| SeqNumber::new(u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]));
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let behind = usize::from(tcp[12] >> 4) * 4;
        let (remote, local) = (SocketAddr::new(source, port(0)), SocketAddr::new(destination, port(2)));
        let is_for_vip = VIPS.iter().any(|vip| vip.parse() == Ok(destination)) && local.port() == PORT;
        is_for_vip.then(|| Self {
            tuple: FourTuple { local: local.into(), remote: remote.into() },
            seq: word(4),
            ack: word(8),
            flags: tcp[13],
            options: TcpOptions::parse(&tcp[20..behind]).unwrap(),
            payload: tcp[behind..].to_vec(),
        })
    }
}

/// All frames that come to a backend from now on.
fn capture(net: &Net) -> Socket {
    let every = Protocol::from(i32::from(0x0003u16.to_be()));
    let socket = net.on("b1", || Socket::new(Domain::PACKET, Type::RAW, Some(every))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// What has come for the VIPs once `is_all` says so.
fn arrived(capture: &mut Socket, outer: usize, is_all: impl Fn(&[Arrived]) -> bool) -> Vec<Arrived> {
    let (mut all, patience) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    let mut frame = [0; 2_048];
    while !is_all(&all) {
        assert!(Instant::now() < patience, "in vain: {all:?}");
        if let Ok(length) = capture.read(&mut frame) {
            all.extend(Arrived::read(&frame[..length], outer));
        }
    }
    all
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
        let status = balancing.status().unwrap().to_string();
        let overhead = outer as u16;
        for (service, headers) in [("four", 40), ("six", 60)] {
            let outer = if service == "six" && overhead > 0 { overhead + 20 } else { overhead };
            let promise = Promise::all(1_500 - headers - outer);
            assert!(status.contains(&format!("syn_proxy always: SYNs are answered here, with {promise}")), "{status}");
        }
        for vip in VIPS {
            let mut seen = capture(&net);
            // Nobody listens there: but for the cookie, there would be no connection.
            let mut client = net.connect(vip, PORT).into_stream();
            client.write_all(b"hello").unwrap();
            let outer = if vip.contains(':') && outer > 0 { outer + 20 } else { outer };
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
    for (change, why) in [
        ((|it| it.transport = Transport::Udp) as fn(&mut Service), "UDP has none"),
        (|it| it.mode = Mode::Nat, "mode nat does not hand handshakes over yet"),
        (|it| it.port = 0, "it has every port, and nobody would know which of them are open"),
    ] {
        let expected =
            format!("the SYNs of `four` cannot be answered by the balancer, as {why}: write syn_proxy = \"off\"");
        assert_eq!(wanting(change), [expected]);
    }
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
