//! Mode `nat` between real clients and real backends, which know nothing of it. Needs root.

#[path = "common/library.rs"]
mod common;
#[path = "balancer/net.rs"]
mod net;

use common::is_root;
use net::{Net, Talk, VIPS, address};
use nix::sys::socket::{setsockopt, sockopt::Linger};
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};
use xskip::{
    Balancing, LoadBalancer,
    balancer::{Nat, check::Check},
    lb::{Backend, Flow, Health, Maglev, Mode, NatWindows, RowKey, Service, State},
    rng::SipKey,
    time::Instant,
    transport::Transport,
    wire::FourTuple,
    xdp::Outcomes,
};

const PORT: u16 = 7_000;
/// That of the backends.
const THEIRS: u16 = 8_000;

fn key() -> RowKey {
    RowKey::new(SipKey::from_seed(9))
}

fn nat(windows: NatWindows) -> Nat {
    Nat { sources: ["198.18.0.5", "2001:2::5"].map(|it| it.parse().unwrap()).to_vec(), flows: 4_096, windows }
}

/// Services at both VIPs, by TCP and UDP, with backends in these states.
fn services(states: &[State]) -> Vec<Service> {
    let placement = Arc::new(Maglev::new(key().of_placement()));
    let service = |(name, number, transport): (&str, usize, Transport)| {
        let ipv6 = number == 1;
        let at = SocketAddr::new(VIPS[number].parse().unwrap(), PORT);
        let backends = (1..).zip(states).map(|(number, &state)| Backend {
            state,
            ..Backend::new(format!("b{number}"), SocketAddr::new(address(10 + number, ipv6), THEIRS))
        });
        let service = Service::tcp(name, at, Arc::clone(&placement) as _);
        Service { transport, mode: Mode::Nat, ..service }.with(backends)
    };
    let (tcp, udp) = (Transport::Tcp, Transport::Udp);
    [("four", 0, tcp), ("six", 1, tcp), ("four-udp", 0, udp), ("six-udp", 1, udp)].map(service).to_vec()
}

struct Scene {
    net: Net,
    balancing: Balancing,
}

impl Scene {
    fn new(backends: u16, windows: NatWindows) -> Self {
        let net = Net::new(backends);
        for number in 1..=backends {
            let own: [IpAddr; 2] = [false, true].map(|ipv6| address(10 + number, ipv6));
            own.iter().for_each(|&own| net.serve_at(&format!("b{number}"), SocketAddr::new(own, THEIRS)));
        }
        let balancer = LoadBalancer::on("eth0", key()).nat(nat(windows));
        let services = services(&vec![State::Serve; backends.into()]);
        let balancing = net.on("balancer", || balancer.start(services)).unwrap_or_else(|error| panic!("{error}"));
        let scene = Self { net, balancing };
        scene.net.wait("the backends are reached", || {
            let status = scene.balancing.status().unwrap();
            status.services.iter().all(|service| service.backends.iter().all(|it| it.trouble.is_none()))
        });
        scene
    }

    fn outcomes(&self) -> Outcomes {
        self.balancing.status().unwrap().outcomes
    }

    fn open(&self, number: usize) -> (Talk, String) {
        let mut talk = self.net.connect(VIPS[number % 2], PORT);
        let who = talk.ask(50_000).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        (talk, who)
    }

    /// What is said of that connection.
    fn explain(&self, port: u16) -> String {
        let local = SocketAddr::new(VIPS[0].parse().unwrap(), PORT);
        let remote = SocketAddr::new(address(2, false), port);
        let tuple = FourTuple { local: local.into(), remote: remote.into() };
        self.balancing.explain(&Flow { transport: Transport::Tcp, tuple }).unwrap()
    }

    /// A connection of the client's from a port of its choice.
    fn connect_from(&self, port: u16) -> std::io::Result<TcpStream> {
        let at = SocketAddr::new(VIPS[0].parse().unwrap(), PORT);
        self.net.on("client", || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(address(2, false), port).into())?;
            socket.connect_timeout(&at.into(), Duration::from_secs(30))?;
            Ok(socket.into())
        })
    }
}

/// Ends a connection by a RST.
fn abort(stream: TcpStream) {
    setsockopt(&stream, Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

#[test]
fn connections_get_to_backends_that_know_nothing_of_it_and_stay_there_through_a_drain() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(3, NatWindows::default());
    let mut talks: Vec<(Talk, String)> = (0..40).map(|number| scene.open(number)).collect();
    let names: BTreeSet<&str> = talks.iter().map(|(_, who)| who.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["b1", "b2", "b3"]));

    let drained = [State::Drain { until: Instant::NEVER }, State::Serve, State::Serve];
    scene.net.on("balancer", || scene.balancing.configure(services(&drained)).unwrap());
    for (number, (talk, who)) in talks.iter_mut().enumerate() {
        let now = talk.ask(2_000).unwrap_or_else(|error| panic!("connection {number}, of {who}: {error}"));
        assert_eq!(now, *who, "connection {number}");
    }
    assert!((0..20).all(|number| scene.open(number).1 != "b1"));
    scene.net.wait("the flows are counted", || {
        let status = scene.balancing.status().unwrap();
        status.rewritten.is_some_and(|(flows, ..)| flows >= 40) && status.services[0].rewritten >= Some(20)
    });

    // One that is off has no flows: a segment of one draws a RST at once.
    let off = [State::Off, State::Serve, State::Serve];
    scene.net.on("balancer", || scene.balancing.configure(services(&off)).unwrap());
    let (talk, _) = talks.iter_mut().find(|(_, who)| who == "b1").expect("it had some");
    assert_eq!(talk.ask(1).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(scene.outcomes().reset_unknown() > 0);
}

#[test]
fn clients_and_backends_may_be_on_different_links() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    net.sh(
        "balancer",
        "b1=$(ip netns identify $$ | sed 's/-balancer$/-b1/')
         ip link add back0 type veth peer name back0 netns $b1
         for side in 'ip netns exec '$b1 env; do $side ethtool -K back0 tx off gro on >/dev/null; $side ip link set back0 up; done
         ip address add 198.18.9.1/24 dev back0; ip -n $b1 address add 198.18.9.11/24 dev back0",
    );
    let backend = SocketAddr::new("198.18.9.11".parse().unwrap(), THEIRS);
    net.serve_at("b1", SocketAddr::new(backend.ip(), THEIRS));
    let placement = Arc::new(Maglev::new(key().of_placement()));
    let service = Service::tcp("four", SocketAddr::new(VIPS[0].parse().unwrap(), PORT), placement as _);
    let service = Service { mode: Mode::Nat, ..service }.with([Backend::new("b1", backend)]);
    let sources = vec!["198.18.9.5".parse().unwrap()];
    let balancer = LoadBalancer::on("eth0", key()).and_on("back0").nat(Nat { sources, ..Nat::default() });
    let balancing = net.on("balancer", || balancer.start([service])).unwrap_or_else(|error| panic!("{error}"));
    net.wait("the backend is reached", || balancing.status().unwrap().services[0].backends[0].trouble.is_none());
    let mut talks: Vec<Talk> = (0..5).map(|_| net.connect(VIPS[0], PORT)).collect();
    for talk in &mut talks {
        assert_eq!(talk.ask(40_000).unwrap(), "b1");
    }
    assert!(balancing.status().unwrap().outcomes.answers() > 10);
}

#[test]
fn explain_says_where_a_flow_goes_and_as_whom_the_backend_knows_it() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2, NatWindows::default());
    let mut stream = Talk::from(scene.connect_from(40_001).unwrap());
    let who = stream.ask(3).unwrap();
    let told = scene.explain(40_001);
    let backend = if who == "b1" { "198.18.0.11:8000" } else { "198.18.0.12:8000" };
    assert!(told.contains(&format!("the flow goes to {backend} as 198.18.0.5:")) && told.contains("open"), "{told}");
    // The backend's kernel says the same.
    let source = told.split("as ").last().unwrap().split(": ").next().unwrap();
    assert!(scene.net.sh(&who, "ss -Htn state established").contains(source), "{told}");
}

#[test]
fn a_port_that_is_used_again_reaches_a_backend_whoever_ended_what_was_there() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2, NatWindows::default());
    for round in 0..6 {
        let stream = scene.connect_from(40_002).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let mut talk = Talk::from(stream);
        talk.ask(100).unwrap_or_else(|error| panic!("round {round}: {error}"));
        abort(talk.into_stream());
    }
}

#[test]
fn datagrams_are_answered_by_one_backend_from_the_address_that_was_asked() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2, NatWindows::default());
    let answered: BTreeSet<String> = (0..20).map(|number| scene.net.ask_by_datagrams(VIPS[number % 2], PORT)).collect();
    assert_eq!(answered.len(), 2, "{answered:?}");
}

#[test]
fn refusals_and_errors_of_backends_come_from_the_address_that_was_asked() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    let balancer = LoadBalancer::on("eth0", key()).nat(nat(NatWindows::default()));
    let balancing = net.on("balancer", || balancer.start(services(&[State::Serve]))).unwrap();
    net.wait("the backend is reached", || {
        balancing.status().unwrap().services.iter().all(|service| service.backends[0].trouble.is_none())
    });
    for vip in VIPS {
        // Nobody listens.
        let refused = net.try_connect(vip, PORT).err().expect("it is refused");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        let at = SocketAddr::new(vip.parse().unwrap(), PORT);
        let any: SocketAddr = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = net.on("client", || UdpSocket::bind(any)).unwrap();
        socket.connect(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // An ICMP error about a datagram, and what it quotes is the client's own.
        net.wait("the error comes", || {
            socket.send(b"hello").ok();
            matches!(socket.recv(&mut [0; 10]), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
        });
    }
    assert!(balancing.status().unwrap().outcomes.answers() >= 4);
}

#[test]
fn flows_end_when_they_have_been_silent_and_their_backends_are_checked_where_they_are() {
    if !is_root() {
        return;
    }
    let short = Duration::from_secs(2);
    let windows = NatWindows { opening: short, established: short, closing: short, datagrams: short };
    let scene = Scene::new(2, windows);
    let check = Check { interval: Duration::from_millis(100), ..Check::default() };
    scene.balancing.set_checks(["four", "six"].map(|name| (name.to_owned(), check.clone(), None)));
    scene.net.wait("they are known to be well", || {
        let status = scene.balancing.status().unwrap();
        let checked = status.services.iter().filter(|service| !service.name.ends_with("udp"));
        checked.flat_map(|service| &service.backends).all(|it| it.health == Health::Up)
    });
    let mut talk = Talk::from(scene.connect_from(40_003).unwrap());
    talk.ask(1).unwrap();
    let is_there = || scene.explain(40_003).contains("the flow goes to");
    assert!(is_there());
    scene.net.wait("it has ended", || !is_there());
    assert_eq!(talk.ask(1).unwrap_err().kind(), ErrorKind::ConnectionReset, "of no flow, it is reset at once");
}

#[test]
fn a_service_without_an_address_to_come_from_is_refused() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    let start = |nat: Nat| {
        let balancer = LoadBalancer::on("eth0", key()).nat(nat);
        net.on("balancer", || balancer.start(services(&[State::Serve]))).err().expect("it is refused").to_string()
    };
    assert!(start(Nat::default()).contains("service `four` is of mode nat, and there is no IPv4 address"));
    let only_v4 = Nat { sources: vec!["198.18.0.5".parse().unwrap()], ..Nat::default() };
    assert!(start(only_v4).contains("service `six` is of mode nat, and there is no IPv6 address"));
    let sources = ["198.18.0.11", "2001:2::5"].map(|it| it.parse().unwrap()).to_vec();
    let told = start(Nat { sources, ..Nat::default() });
    assert!(told.contains("198.18.0.11 of `four/b1`"), "{told}");
}
