//! A balancer in mode `proxy`, and backends behind it that know nothing of it.

#![allow(dead_code)] // each test uses some of it

use super::net::{Net, Talk, VIPS, address};
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use xskip::{
    Balancing, LoadBalancer,
    lb::{Backend, Maglev, Mode, RowKey, Service, State},
    rng::SipKey,
};

pub const PORT: u16 = 7_000;
/// That of the backends.
pub const THEIRS: u16 = 8_000;
/// How long what must come may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn key() -> RowKey {
    RowKey::new(SipKey::from_seed(9))
}

/// A service at one of the VIPs with backends of one IP version, in these states.
pub fn service(name: &str, vip: usize, is_ipv6: bool, states: &[State]) -> Service {
    let at = SocketAddr::new(VIPS[vip].parse().unwrap(), PORT);
    let backends = (1..).zip(states).map(|(number, &state)| Backend {
        state,
        ..Backend::new(format!("b{number}"), SocketAddr::new(address(10 + number, is_ipv6), THEIRS))
    });
    let service = Service::tcp(name, at, Arc::new(Maglev::new(key().of_placement())));
    Service { mode: Mode::Proxy, ..service }.with(backends)
}

/// Services at both VIPs: clients of one IP version are served by backends of the other.
pub fn services(states: &[State]) -> Vec<Service> {
    vec![service("four", 0, true, states), service("six", 1, false, states)]
}

/// The other end resets a connection: workers hear a moment later what has changed, and until then it goes on.
#[track_caller]
pub fn assert_reset(talk: &mut Talk) {
    let patience = Instant::now() + PATIENCE;
    let error = loop {
        match talk.ask(1) {
            Err(error) => break error,
            Ok(who) => assert!(Instant::now() < patience, "{who} goes on"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

/// A balancer with services, and backends that say who they are.
pub struct Scene {
    pub net: Net,
    pub balancing: Balancing,
}

impl Scene {
    pub fn new(backends: u16, services: Vec<Service>) -> Self {
        Self::with(backends, services, |it| it)
    }

    pub fn with(backends: u16, services: Vec<Service>, adapt: impl FnOnce(LoadBalancer) -> LoadBalancer) -> Self {
        Self::on(Net::new(backends), backends, services, adapt)
    }

    pub fn on(
        net: Net,
        backends: u16,
        services: Vec<Service>,
        adapt: impl FnOnce(LoadBalancer) -> LoadBalancer,
    ) -> Self {
        for number in 1..=backends {
            let own: [IpAddr; 2] = [false, true].map(|ipv6| address(10 + number, ipv6));
            own.iter().for_each(|&own| net.serve_at(&format!("b{number}"), SocketAddr::new(own, THEIRS)));
        }
        let sources = ["198.18.0.5", "2001:2::5"].map(|it| it.parse::<IpAddr>().unwrap());
        let balancer = adapt(LoadBalancer::on("eth0", key()).proxy_sources(sources));
        let balancing = net.on("balancer", || balancer.start(services)).unwrap_or_else(|error| panic!("{error}"));
        let scene = Self { net, balancing };
        scene.net.wait("the backends are reached", || {
            let status = scene.balancing.status().unwrap();
            status.services.iter().all(|service| service.backends.iter().all(|it| it.trouble.is_none()))
        });
        scene
    }

    pub fn configure(&self, services: Vec<Service>) {
        self.net.on("balancer", || self.balancing.configure(services)).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn open(&self, number: usize) -> (Talk, String) {
        let mut talk = self.net.connect(VIPS[number % 2], PORT);
        let who = talk.ask(50_000).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        (talk, who)
    }

    /// How many connections ended like this.
    pub fn ended(&self, service: &str, how: &str) -> u64 {
        let status = self.balancing.status().unwrap();
        let service = status.services.iter().find(|it| it.name == service).unwrap();
        service
            .proxied
            .as_ref()
            .unwrap()
            .ended
            .iter()
            .find(|(fate, _)| fate.name() == how)
            .map_or(0, |(_, count)| *count)
    }

    pub fn open_connections(&self) -> u64 {
        let status = self.balancing.status().unwrap();
        let backends = status.services.iter().flat_map(|service| &service.backends);
        backends.filter_map(|it| it.proxied.as_ref()).map(|it| it.open).sum()
    }

    /// Connections that XDP went on with, of all.
    pub fn spliced(&self) -> (u64, u64) {
        let status = self.balancing.status().unwrap();
        let backends = status.services.iter().flat_map(|service| &service.backends);
        let counts = backends.filter_map(|it| it.proxied.as_ref()).map(|it| (it.spliced, it.connected));
        counts.fold((0, 0), |sum, its| (sum.0 + its.0, sum.1 + its.1))
    }

    /// Octets that went to backends, and that came back.
    pub fn octets(&self) -> (u64, u64) {
        let status = self.balancing.status().unwrap();
        let backends = status.services.iter().flat_map(|service| &service.backends);
        let counts = backends.filter_map(|it| it.proxied.as_ref()).map(|it| (it.to_backend, it.to_clients));
        counts.fold((0, 0), |sum, its| (sum.0 + its.0, sum.1 + its.1))
    }
}
