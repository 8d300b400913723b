//! A load balancer between real clients and real backends. Needs root.

#[path = "balancer/bpf_fs.rs"]
mod bpf_fs;
#[path = "common/library.rs"]
mod common;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../examples/balancer.rs"]
mod example;
#[path = "balancer/net.rs"]
mod net;

use bpf_fs::BpfFs;
use common::is_root;
use net::{Net, Talk, VIPS, address};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use xskip::{
    Balancing, LoadBalancer,
    balancer::{Origin, Orphaned, check::Check},
    lb::{Backend, Flow, Health, Maglev, Mode, RowKey, Service, State},
    rng::SipKey,
    time::Instant,
    transport::Transport,
    wire::FourTuple,
};

const PORT: u16 = 7_000;

fn key() -> RowKey {
    RowKey::new(SipKey::from_seed(9))
}

/// Services at both VIPs with so many backends, each in this state.
fn services(placement: &Arc<Maglev>, states: &[State]) -> Vec<Service> {
    let of_one = |(number, ipv6): (usize, bool)| {
        let at = SocketAddr::new(VIPS[number % 2].parse().unwrap(), PORT);
        let backends = (1..).zip(states).map(|(number, &state)| {
            let backend = Backend::new(format!("b{number}"), SocketAddr::new(address(10 + number, ipv6), PORT));
            Backend { state, ..backend }
        });
        let name = format!("{}{}", if ipv6 { "six" } else { "four" }, if number < 2 { "" } else { "-udp" });
        let service = if number < 2 {
            Service::tcp(name, at, Arc::clone(placement) as _)
        } else {
            Service::udp(name, at, Arc::clone(placement) as _)
        };
        service.with(backends)
    };
    [(0, false), (1, true), (2, false), (3, true)].map(of_one).to_vec()
}

struct Scene {
    net: Net,
    placement: Arc<Maglev>,
    balancing: Balancing,
}

impl Scene {
    fn new(backends: u16) -> Self {
        let net = Net::new(backends);
        (1..=backends).for_each(|number| net.serve(&format!("b{number}"), PORT));
        let placement = Arc::new(Maglev::new(key().of_placement()));
        let services = services(&placement, &vec![State::Serve; backends.into()]);
        let start = || LoadBalancer::on("eth0", key()).start(services);
        let balancing = net.on("balancer", start).unwrap_or_else(|error| panic!("{error}"));
        let scene = Self { net, placement, balancing };
        scene.wait_until_reached();
        scene
    }

    fn wait_until_reached(&self) {
        self.net.wait("the backends are reached", || {
            let status = self.balancing.status().unwrap();
            status.services.iter().all(|service| service.backends.iter().all(|it| it.trouble.is_none()))
        });
    }

    fn configure(&self, states: &[State]) {
        self.net.on("balancer", || self.balancing.configure(services(&self.placement, states)).unwrap());
    }

    /// Opens so many connections to each VIP, and asks each who answers.
    #[track_caller]
    fn connections(&self, count: usize) -> Vec<(Talk, String)> {
        let open = |number: usize| {
            let mut talk = self.net.connect(VIPS[number % 2], PORT);
            let who = talk.ask(3_000).unwrap_or_else(|error| panic!("connection {number}: {error}"));
            (talk, who)
        };
        (0..2 * count).map(open).collect()
    }
}

fn names(talks: &[(Talk, String)]) -> BTreeSet<&str> {
    talks.iter().map(|(_, who)| who.as_str()).collect()
}

/// Each connection is answered by whom it was answered before.
#[track_caller]
fn check(talks: &mut [(Talk, String)]) {
    for (number, (talk, who)) in talks.iter_mut().enumerate() {
        let now = talk.ask(10).unwrap_or_else(|error| panic!("connection {number}, of {who}: {error}"));
        assert_eq!(now, *who, "connection {number}");
    }
}

#[test]
fn connections_are_spread_over_backends_that_answer_themselves_and_stay_where_they_are_through_changes() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(3);
    let mut talks = scene.connections(30);
    assert_eq!(names(&talks), BTreeSet::from(["b1", "b2", "b3"]));

    // One is drained: it keeps what it has, and gets nothing new.
    scene.configure(&[State::Drain { until: Instant::NEVER }, State::Serve, State::Serve]);
    check(&mut talks);
    let later = scene.connections(30);
    assert_eq!(names(&later), BTreeSet::from(["b2", "b3"]));
    talks.extend(later);

    // Another is down, and keeps what it has.
    for service in ["four", "six"] {
        assert!(scene.net.on("balancer", || scene.balancing.set_health(service, "b2", Health::Down)).unwrap());
    }
    let later = scene.connections(10);
    assert_eq!(names(&later), BTreeSet::from(["b3"]));
    talks.extend(later);
    check(&mut talks);

    // And all is as before.
    for service in ["four", "six"] {
        assert!(scene.net.on("balancer", || scene.balancing.set_health(service, "b2", Health::Up)).unwrap());
    }
    scene.configure(&[State::Serve; 3]);
    check(&mut talks);
    let status = scene.balancing.status().unwrap();
    let flows: u64 = status.services.iter().flat_map(|service| &service.backends).map(|it| it.tally.flows).sum();
    // One whose SYN was sent again counts twice.
    assert!(flows >= 140, "{status}");
    assert!(status.remembered.0 > 0, "{status}");

    // Nothing was dropped.
    let report = scene.balancing.stop().unwrap();
    assert_eq!(report.verdicts.dropped_balanced, 0, "{:?}", report.verdicts);
}

#[test]
fn explain_names_the_backend_that_really_answers() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2);
    for number in 0..10 {
        let vip = VIPS[number % 2];
        let at = SocketAddr::new(vip.parse().unwrap(), PORT);
        let stream = scene.net.on("client", || std::net::TcpStream::connect(at)).unwrap();
        let remote = stream.local_addr().unwrap();
        let mut talk = Talk::from(stream);
        let who = talk.ask(1).unwrap();
        let tuple = FourTuple { local: at.into(), remote: remote.into() };
        let told = scene.balancing.explain(&Flow { transport: Transport::Tcp, tuple }).unwrap();
        assert!(told.contains(&format!("a SYN goes to {who},")), "{who}: {told}");
    }
}

#[test]
fn datagrams_of_a_client_go_to_one_backend_and_echo_requests_for_the_address_are_answered() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(2);
    let answered: BTreeSet<String> = (0..40).map(|number| scene.net.ask_by_datagrams(VIPS[number % 2], PORT)).collect();
    assert_eq!(answered.len(), 2, "{answered:?}");
    scene.net.sh("client", "ping -q -c 3 -i 0.1 -W 2 198.18.0.80; ping -q -c 3 -i 0.1 -W 2 2001:2::80");
}

#[test]
fn a_backend_that_moves_is_found_again_and_one_that_nobody_finds_is_said_to_be_missing() {
    if !is_root() {
        return;
    }
    let scene = Scene::new(1);
    assert_eq!(scene.connections(2).len(), 4);
    let move_it = "ip link set eth0 down; ip link set eth0 address 02:00:00:00:01:11; ip link set eth0 up
                   ip -6 address add 2001:2::11/64 dev eth0 nodad || true; ping -q -c 1 -W 1 198.18.0.1 || true; ping -q -c 1 -W 1 2001:2::1 || true";
    scene.net.sh("b1", move_it);
    scene.net.wait("it is found", || VIPS.iter().all(|vip| scene.net.try_connect(vip, PORT).is_ok()));
    assert_eq!(scene.connections(2).len(), 4);
    // Two that do not exist: nobody answers for them.
    scene.configure(&[State::Serve; 3]);
    scene.net.wait("they are said to be missing", || {
        let status = scene.balancing.status().unwrap();
        let backends = status.services.iter().flat_map(|service| &service.backends);
        backends.filter(|it| it.name != "b1").all(|it| it.trouble.is_some())
    });
    assert!(scene.balancing.status().unwrap().to_string().contains("198.18.0.12"));
}

#[test]
fn what_cannot_be_balanced_is_refused_with_the_remedy_and_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    let placement = Arc::new(Maglev::new(key().of_placement()));
    let start = |vip: &str, backend: &str| {
        let end = |text: &str| SocketAddr::new(text.parse().unwrap(), PORT);
        let service =
            Service::tcp("web", end(vip), Arc::clone(&placement) as _).with([Backend::new("b1", end(backend))]);
        net.on("balancer", || LoadBalancer::on("eth0", key()).start([service])).err().map(|error| error.to_string())
    };
    let told = start("198.18.0.1", "198.18.0.11").unwrap();
    assert!(told.contains("198.18.0.1"), "{told}");
    let told = start("198.18.0.2", "198.18.0.11").unwrap();
    assert!(told.contains("198.18.0.2") && told.contains("02:00:00:00:00:02"), "somebody else has it: {told}");
    let told = start("198.18.0.80", "198.18.0.80").unwrap();
    assert!(told.contains("b1") && told.contains("web"), "{told}");
    let none = net.on("balancer", || LoadBalancer::on("eth0", key()).start([])).err().unwrap().to_string();
    assert_eq!(none, "no service to balance: configure one at least");
    assert!(!net.sh("balancer", "ip link show eth0").contains("xdp"), "a program is left behind");
}

#[test]
fn nobody_is_refused_at_an_address_that_is_just_being_taken() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new(1);
    // Two addresses: the first one is there already while the link is asked for the second.
    let vips = ["198.18.0.81", "198.18.0.82"];
    for vip in vips {
        scene.net.sh("b1", &format!("ip address add {vip}/32 dev lo"));
        // As where another balancer had them until now: clients send before anybody announces them.
        scene.net.sh("client", &format!("ip neighbour add {vip} lladdr 02:00:00:00:00:01 dev eth0"));
        scene.net.serve_at("b1", SocketAddr::new(vip.parse().unwrap(), PORT));
    }
    let mut more = services(&scene.placement, &[State::Serve]);
    for (number, vip) in vips.iter().enumerate() {
        let service = Service { name: format!("more-{number}"), address: vip.parse().unwrap(), ..more[0].clone() };
        more.push(service);
    }
    let is_over = AtomicBool::new(false);
    let (net, balancing) = (&scene.net, &mut scene.balancing);
    thread::scope(|scope| {
        let asking = vips.map(|vip| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut served = 0;
                while !is_over.load(Ordering::Relaxed) || served == 0 {
                    match net.try_connect_within(vip, PORT, Duration::from_millis(100)) {
                        Ok(_) => served += 1,
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Err(error),
                        Err(_) => {}
                    }
                }
                Ok(())
            })
        });
        net.on("balancer", || balancing.configure(more)).unwrap_or_else(|error| panic!("{error}"));
        is_over.store(true, Ordering::Relaxed);
        asking.into_iter().for_each(|it| it.join().unwrap().unwrap());
    });
}

#[test]
fn a_tunnel_is_refused_where_the_kernel_merges_packets_before_the_program_sees_them() {
    if !is_root() {
        return;
    }
    let net = Net::new(1);
    net.serve("b1", PORT);
    // A veth's driver runs no XDP where its other end sends frames larger than a page.
    net.sh("switch", "ip link set p1 mtu 9000");
    let placement = Arc::new(Maglev::new(key().of_placement()));
    let services = |mode: Mode| {
        let services = services(&placement, &[State::Serve]).into_iter().take(2);
        services.map(move |service| Service { mode, ..service })
    };
    let refused = |error: String| {
        let told = "service four: tunnels and mode nat need native XDP, and eth0 runs it in generic mode";
        assert!(error.starts_with(told) && error.contains("use mode dsr"), "{error}");
    };
    let start = |mode| net.on("balancer", || LoadBalancer::on("eth0", key()).start(services(mode)));
    refused(start(Mode::Ipip).err().unwrap().to_string());
    assert!(!net.sh("balancer", "ip link show eth0").contains("xdp"), "a program is left behind");
    let balancing = start(Mode::Dsr).unwrap_or_else(|error| panic!("{error}"));
    refused(balancing.configure(services(Mode::Gue)).unwrap_err().to_string());
    net.wait("the backend is reached", || {
        balancing.status().unwrap().services.iter().all(|service| service.backends[0].trouble.is_none())
    });
    for vip in VIPS {
        assert_eq!(net.connect(vip, PORT).ask(3_000).unwrap(), "b1");
    }
}

#[test]
fn the_example_balances_and_hears_of_health_from_its_own_source() {
    if !is_root() {
        return;
    }
    let net = Net::new(2);
    ["b1", "b2"].iter().for_each(|backend| net.serve(backend, PORT));
    // Where its own checks go, beside the address of the service: b2 has nobody there.
    let own = net.on("b1", || std::net::TcpListener::bind((address(11, false), PORT)).unwrap());
    let ends =
        [VIPS[0].parse().unwrap(), address(11, false), address(12, false)].map(|host| SocketAddr::new(host, PORT));
    let start = || example::start("eth0", &ends, SipKey::from_seed(9)).map_err(|error| error.to_string());
    // Its threads are in the namespace of whoever starts it.
    let balancing = net.on("balancer", start).unwrap();
    net.wait("it is known who is down", || {
        let status = balancing.status().unwrap();
        let health: Vec<Health> = status.services[0].backends.iter().map(|it| it.health).collect();
        health == [Health::Up, Health::Down] && status.services[0].backends[0].trouble.is_none()
    });
    let talks: Vec<String> = (0..10).map(|_| net.connect(VIPS[0], PORT).ask(5).unwrap()).collect();
    assert!(talks.iter().all(|who| who == "b1"), "{talks:?}");
    drop(own);
    balancing.stop().unwrap();
}

#[test]
fn one_that_does_not_listen_gets_nothing_until_it_does() {
    if !is_root() {
        return;
    }
    let net = Net::new(2);
    net.serve("b1", PORT);
    let placement = Arc::new(Maglev::new(key().of_placement()));
    let services = services(&placement, &[State::Serve; 2]);
    let check = Check { interval: Duration::from_millis(100), ..Check::default() };
    let balancer = services
        .iter()
        .take(2)
        .fold(LoadBalancer::on("eth0", key()), |balancer, service| balancer.check(&service.name, check.clone()));
    let balancing = net.on("balancer", || balancer.start(services)).unwrap_or_else(|error| panic!("{error}"));
    let health = |backend: &str| {
        let status = balancing.status().unwrap();
        let checked = status.services.iter().filter(|service| !service.name.ends_with("udp"));
        let its = checked.flat_map(|service| &service.backends).filter(|it| it.name == backend);
        its.map(|it| (it.health, it.why.clone())).collect::<Vec<_>>()
    };
    let refused = || vec![(Health::Down, Some("refused".to_owned())); 2];
    net.wait("it is known who serves", || {
        health("b1") == [(Health::Up, None), (Health::Up, None)] && health("b2") == refused()
    });
    for number in 0..40 {
        assert_eq!(net.connect(VIPS[number % 2], PORT).ask(5).unwrap(), "b1");
    }
    net.serve("b2", PORT);
    net.wait("it is known that both serve", || health("b2") == [(Health::Up, None), (Health::Up, None)]);
    let answered: BTreeSet<String> =
        (0..40).map(|number| net.connect(VIPS[number % 2], PORT).ask(5).unwrap()).collect();
    assert_eq!(answered, BTreeSet::from(["b1".to_owned(), "b2".to_owned()]));
}

#[test]
fn connections_go_on_when_another_balancer_with_the_key_takes_over() {
    if !is_root() {
        return;
    }
    let Scene { net, placement, mut balancing } = Scene::new(3);
    let open = |number: usize| {
        let mut talk = net.connect(VIPS[number % 2], PORT);
        let who = talk.ask(10).unwrap();
        (talk, who)
    };
    let mut talks: Vec<(Talk, String)> = (0..30).map(open).collect();
    let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // They talk all the while: what meets no balancer, or one that has just begun, is lost and comes again.
        let talking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                check(&mut talks);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..2 {
            balancing.stop().unwrap();
            let services = services(&placement, &[State::Serve; 3]);
            balancing = net.on("balancer", || LoadBalancer::on("eth0", key()).start(services)).unwrap();
            let seen = rounds.load(Ordering::Relaxed);
            net.wait("all have talked by way of it", || {
                talking.is_finished() || rounds.load(Ordering::Relaxed) > seen + 1
            });
        }
        is_over.store(true, Ordering::Relaxed);
        talking.join().unwrap();
    });
}

#[test]
fn who_is_outlived_is_followed_by_another_one_of_the_same_process() {
    if !is_root() {
        return;
    }
    let Scene { net, placement, balancing } = Scene::new(3);
    balancing.stop().unwrap();
    let bpf = BpfFs::new();
    let outlived = LoadBalancer::on("eth0", key()).survive(Duration::from_secs(600)).pins(bpf.pins());
    let start = || net.on("balancer", || outlived.start(services(&placement, &[State::Serve; 3])));
    let first = start().unwrap();
    assert_eq!(first.origin(), Origin::Fresh);
    let open = |number: usize| {
        let mut talk = net.connect(VIPS[number % 2], PORT);
        let who = talk.ask(10).unwrap();
        (talk, who)
    };
    let mut talks: Vec<(Talk, String)> = (0..12).map(open).collect();
    assert!(start().is_err_and(|error| error.to_string().contains("a process that lives has ")));
    first.leave().unwrap();
    check(&mut talks);
    assert!(net.on("balancer", || Orphaned::find(&bpf.pins(), "eth0")).unwrap().is_some());
    let second = start().unwrap();
    assert_eq!(second.origin(), Origin::Resumed { remembered: 0 });
    check(&mut talks);
    drop(second);
    check(&mut talks);
    let third = start().unwrap();
    check(&mut talks);
    third.stop().unwrap();
    assert!(!net.sh("balancer", "ip link show dev eth0").contains("xdp"));
    assert!(bpf.is_empty());
}
