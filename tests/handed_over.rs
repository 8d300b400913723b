//! Handshakes that a balancer has answered and real backends take over, with `xskip backend` at each of them. Needs root.

#[path = "hand_over/arrived.rs"]
mod arrived;
mod common;
#[path = "balancer/net.rs"]
mod net;

use arrived::{Arrived, SYN, capture};
use common::is_root;
use net::{Net, VIPS, address};
use std::{
    collections::BTreeSet, fs, io::Read, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc,
    time::Duration,
};
use xskip_cli::{
    Balancing, LoadBalancer,
    balancer::check::Check,
    lb::{Backend, Health, Maglev, Mode, RowKey, Service, SynProxy},
    rng::SipKey,
    wire,
};

const PORT: u16 = 7_000;
const XSKIP: &str = env!("CARGO_BIN_EXE_xskip");
const MASTER: &str = "101112131415161718191a1b1c1d1e1f";
const CLIENT: [&str; 2] = ["198.18.0.2", "2001:2::2"];

/// Sets of options that a client has, by what it leaves out.
const WITHOUT: [&[&str]; 6] = [
    &[],
    &["timestamps"],
    &["sack"],
    &["window_scaling"],
    &["timestamps", "window_scaling"],
    &["timestamps", "sack", "window_scaling"],
];

/// Both services, each with two backends that serve.
struct Scene {
    net: Net,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (net, folder) = (Net::new(2), tempfile::tempdir().unwrap());
        ["b1", "b2"].iter().for_each(|backend| net.serve(backend, PORT));
        let scene = Self { net, folder };
        fs::write(scene.master(), format!("{MASTER}\n")).unwrap();
        fs::set_permissions(scene.master(), fs::Permissions::from_mode(0o600)).unwrap();
        scene
    }

    fn master(&self) -> PathBuf {
        self.folder.path().join("cookie.key")
    }

    fn attach(&self, backend: &str) {
        let master = self.master();
        let attach = format!("{XSKIP} backend attach --interface eth0 --cookie-master {}", master.display());
        self.net.sh(backend, &attach);
    }

    fn detach(&self, backend: &str) {
        self.net.sh(backend, &format!("{XSKIP} backend detach --interface eth0"));
    }

    fn start(&self, mode: Mode, over_ipv6: bool, syn_proxy: SynProxy) -> Balancing {
        let key = RowKey::new(SipKey::from_seed(9));
        let placement = Arc::new(Maglev::new(key.of_placement()));
        let of_one = |(vip, name): (&str, &str)| {
            let backend = |number: u16| {
                let ipv6 = if mode == Mode::Dsr { name == "six" } else { over_ipv6 };
                Backend::new(format!("b{number}"), SocketAddr::new(address(10 + number, ipv6), PORT))
            };
            let at = SocketAddr::new(vip.parse().unwrap(), PORT);
            let service = Service::tcp(name, at, Arc::clone(&placement) as _);
            Service { mode, syn_proxy, ..service }.with([1, 2].map(backend))
        };
        let services: Vec<Service> = VIPS.into_iter().zip(["four", "six"]).map(of_one).collect();
        let check = || Check { interval: Duration::from_millis(300), fall: 2, ..Check::default() };
        let balancer = LoadBalancer::on("eth0", key).cookie_master_file(self.master());
        let balancer = ["four", "six"].into_iter().fold(balancer, |it, name| it.check(name, check()));
        self.net.on("balancer", || balancer.start(services)).unwrap_or_else(|error| panic!("{mode}: {error}"))
    }

    /// Waits until all services say this.
    #[track_caller]
    fn wait_for(&self, balancing: &Balancing, what: &str) {
        self.net.wait(what, || {
            let status = balancing.status().unwrap();
            let is_up = |health| health == Health::Up;
            let backends = status.services.iter().flat_map(|service| &service.backends);
            let are_known = backends.filter(|it| !is_up(it.health)).all(|it| it.health == Health::Down);
            are_known && status.services.iter().all(|service| service.to_string().contains(what))
        });
    }

    /// Has the client's kernel leave out these options.
    fn leave_out(&self, options: &[&str]) {
        for option in ["timestamps", "sack", "window_scaling"] {
            let is_on = u8::from(!options.contains(&option));
            self.net.sh("client", &format!("sysctl -qw net.ipv4.tcp_{option}={is_on}"));
        }
    }
}

#[test]
fn backends_go_on_with_handshakes_that_the_balancer_has_answered_whatever_the_client_has() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    ["b1", "b2"].iter().for_each(|backend| scene.attach(backend));
    let modes = [(Mode::Dsr, false), (Mode::Ipip, false), (Mode::Ipip, true), (Mode::Gue, false), (Mode::Gue, true)];
    for (mode, over_ipv6) in modes {
        let balancing = scene.start(mode, over_ipv6, SynProxy::Auto);
        scene.wait_for(&balancing, "SYNs are answered here");
        let before = balancing.status().unwrap().outcomes.answered_syns();
        let mut seen = ["b1", "b2"].map(|backend| capture(&scene.net, backend));
        let mut answered = BTreeSet::new();
        let mut opened = 0;
        for options in WITHOUT {
            scene.leave_out(options);
            for number in 0..8 {
                let what = format!("{mode}, over IPv6: {over_ipv6}, without {options:?}, connection {number}");
                let mut talk = scene.net.connect(VIPS[number % 2], PORT);
                let who = talk.ask(20_000).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(talk.ask(10).unwrap(), who, "{what}");
                answered.insert(who);
                opened += 1;
            }
        }
        assert_eq!(answered.len(), 2, "{mode}: {answered:?}");
        let status = balancing.status().unwrap();
        assert_eq!(status.outcomes.answered_syns() - before, opened, "{status}");
        // None of the client's SYNs has come to a backend.
        let mut frame = [0; 2_048];
        for socket in &mut seen {
            let mut others = 0;
            while let Ok(length) = socket.read(&mut frame) {
                let outer = [0, 20, 28, 40, 48];
                let arrived = outer.into_iter().find_map(|outer| Arrived::read(&frame[..length], outer));
                let is_clients = |it: &Arrived| CLIENT.contains(&&*it.tuple.remote.address.to_string());
                let Some(arrived) = arrived.filter(is_clients) else { continue };
                assert!(arrived.flags & SYN == 0, "{arrived:?}");
                others += 1;
            }
            assert!(others > 0);
        }
        balancing.stop().unwrap();
    }
    ["b1", "b2"].iter().for_each(|backend| scene.detach(backend));
}

#[test]
fn with_auto_backends_answer_syns_as_long_as_one_of_them_takes_no_handshakes_over() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    scene.attach("b1");
    let balancing = scene.start(Mode::Dsr, false, SynProxy::Auto);
    scene.wait_for(&balancing, "syn_proxy auto: off now, because b2 does not take handshakes over: it resets them");
    for number in 0..8 {
        assert!(scene.net.connect(VIPS[number % 2], PORT).ask(10).is_ok());
    }
    assert_eq!(balancing.status().unwrap().outcomes.answered_syns(), 0);
    scene.attach("b2");
    scene.wait_for(&balancing, "SYNs are answered here");
    let who: BTreeSet<_> = (0..16).map(|number| scene.net.connect(VIPS[number % 2], PORT).ask(10).unwrap()).collect();
    assert_eq!(who.len(), 2);
    assert!(balancing.status().unwrap().outcomes.answered_syns() >= 16);
    // A backend whose options shrink.
    scene.net.sh("b1", "sysctl -qw net.ipv4.tcp_sack=0");
    scene.wait_for(&balancing, "no SACK");
    assert!((0..16).all(|number| scene.net.connect(VIPS[number % 2], PORT).ask(10).is_ok()));
    scene.detach("b1");
    scene.wait_for(&balancing, "off now, because b1 does not take handshakes over");
    assert!((0..8).all(|number| scene.net.connect(VIPS[number % 2], PORT).ask(10).is_ok()));
    balancing.stop().unwrap();
    scene.detach("b2");
}

#[test]
fn with_always_who_takes_no_handshakes_over_gets_no_flows() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    scene.attach("b1");
    let balancing = scene.start(Mode::Dsr, false, SynProxy::Always);
    scene.wait_for(&balancing, "down: it does not take handshakes over: it resets them");
    for number in 0..16 {
        assert_eq!(scene.net.connect(VIPS[number % 2], PORT).ask(10).unwrap(), "b1");
    }
    scene.attach("b2");
    scene.net.wait("b2 is up again", || {
        let status = balancing.status().unwrap();
        status.services.iter().flat_map(|service| &service.backends).all(|it| it.health == Health::Up)
    });
    let who: BTreeSet<_> = (0..16).map(|number| scene.net.connect(VIPS[number % 2], PORT).ask(10).unwrap()).collect();
    assert_eq!(who.len(), 2);
    balancing.stop().unwrap();
    ["b1", "b2"].iter().for_each(|backend| scene.detach(backend));
}
