//! A balancer with one service, and flows with the rows one would like.

use crate::{
    lb::{
        Backend, Balancer, Decision, Flow, Health, Kind, Limits, Maglev, Placement, RowCount, RowKey, Service,
        ServiceId, Why, Windows,
    },
    rng::SipKey,
    time::Instant,
    wire::{Endpoint, FourTuple},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// So many: `web-1`, `web-2` and so on, with weight 100 each.
pub fn backends(count: u8) -> Vec<Backend> {
    (1..=count).map(Fixture::backend).collect()
}

pub struct Fixture {
    pub balancer: Balancer,
    pub now: Instant,
    service: Service,
    clients: u32,
}

impl Fixture {
    pub const SILENCE: Duration = Duration::from_secs(120);
    pub const VIP: Endpoint = Endpoint { address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 80)), port: 443 };

    pub fn key() -> RowKey {
        RowKey::new(SipKey::from_seed(7))
    }

    /// One for all services, so that they can share tables.
    pub fn maglev() -> Arc<dyn Placement> {
        static MAGLEV: OnceLock<Arc<Maglev>> = OnceLock::new();
        Arc::clone(MAGLEV.get_or_init(|| Arc::new(Maglev::new(Self::key().of_placement())))) as Arc<dyn Placement>
    }

    pub fn address(host: u8) -> Endpoint {
        Endpoint { address: IpAddr::V4(Ipv4Addr::new(198, 18, 1, host)), port: 443 }
    }

    pub fn backend(number: u8) -> Backend {
        Backend::new(format!("web-{number}"), Self::address(number))
    }

    pub fn tcp(count: u8) -> Self {
        Self::new(Service::tcp("web", Self::VIP, Self::maglev()), backends(count), 1_000)
    }

    pub fn new(service: Service, backends: Vec<Backend>, exceptions: usize) -> Self {
        let windows = Windows { silence: Self::SILENCE, ..Windows::default() };
        let balancer = Balancer::new(Self::key(), Limits { exceptions, windows });
        let service = Service { rows: RowCount::new(1_021).unwrap(), ..service };
        let mut fixture = Self { balancer, now: Instant::from_millis(1_000_000), service, clients: 0 };
        fixture.configure(backends);
        fixture
    }

    pub fn limits(&self) -> &Limits {
        &self.balancer.limits
    }

    pub fn service(&self) -> ServiceId {
        self.balancer.service("web").expect("a service")
    }

    pub fn service_with(&self, backends: Vec<Backend>) -> Service {
        self.service.clone().with(backends)
    }

    pub fn configure(&mut self, backends: Vec<Backend>) {
        let plan = self.balancer.plan([self.service_with(backends)], self.now).expect("a good configuration");
        self.balancer.apply(&plan, self.now).expect("a plan that fits");
    }

    pub fn tell(&mut self, name: &str, health: Health) {
        let backend = self.balancer.backend(self.service(), name).expect("a backend");
        assert!(self.balancer.set_health(backend, health, self.now));
    }

    /// Lets time pass, with all that is due.
    pub fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.balancer.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.balancer.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub fn decide(&mut self, flow: &Flow, kind: Kind) -> Decision {
        self.balancer.decide(flow, kind, self.now)
    }

    /// Who gets a packet, and why.
    pub fn send(&mut self, flow: &Flow, kind: Kind) -> (String, Why) {
        match self.decide(flow, kind) {
            Decision::Forward(backend, why) => (self.balancer.name(backend).expect("a name").to_owned(), why),
            other => panic!("{kind:?} of {flow}: {other:?}\n{}", self.balancer.explain(flow, self.now)),
        }
    }

    /// A client's flow that no other call has returned, in whatever row.
    pub fn stranger(&mut self) -> Flow {
        self.clients += 1;
        let address = Ipv4Addr::from_bits(0xcb00_7100 + (self.clients >> 8)).into();
        let remote = Endpoint { address, port: 1_024 + (self.clients & 255) as u16 };
        Flow { transport: self.service.transport, tuple: FourTuple { local: Self::VIP, remote } }
    }

    fn find(&mut self, mut wanted: impl FnMut(&Self, &Flow) -> bool) -> Flow {
        for _ in 0..100_000 {
            let flow = self.stranger();
            if wanted(self, &flow) {
                return flow;
            }
        }
        panic!("there is no such flow");
    }

    fn row(&self, flow: &Flow) -> u32 {
        let by_address = self.service.fragments == crate::lb::Fragments::ByAddress;
        self.balancer.key.hash(flow, by_address).row(self.service.rows)
    }

    /// Whose a row would be under another configuration.
    fn first(&self, backends: &[Backend], row: u32) -> String {
        let mut sorted: Vec<_> = backends.iter().collect();
        sorted.sort_by(|one, other| one.name.cmp(&other.name));
        let candidates: Vec<_> =
            sorted.iter().map(|it| crate::lb::Candidate { name: &it.name, weight: it.weight }).collect();
        let mut rows = vec![0; self.service.rows.get() as usize];
        self.service.placement.place(&candidates, &mut rows);
        sorted[usize::from(rows[row as usize])].name.clone()
    }

    /// Whose new flows of a row are now.
    fn leads_to(&self, row: u32) -> Option<&str> {
        let row = crate::lb::Row::from_bits(self.balancer.rows(self.service())?[row as usize]);
        self.balancer.name(crate::lb::BackendId { service: self.service(), number: row.now? })
    }

    pub fn flow_to(&mut self, name: &str) -> Flow {
        self.find(|it, flow| it.leads_to(it.row(flow)) == Some(name))
    }

    /// One whose row another configuration gives to the last of its backends.
    pub fn flow_that_will_move(&mut self, next: &[Backend]) -> Flow {
        let last = &next.last().expect("a backend").name;
        let rows: Vec<bool> = (0..self.service.rows.get()).map(|row| self.first(next, row) == *last).collect();
        self.find(|it, flow| rows[it.row(flow) as usize] && it.leads_to(it.row(flow)) != Some(last))
    }

    /// Two in one such row.
    pub fn two_flows_that_will_move(&mut self, next: &[Backend]) -> (Flow, Flow) {
        let flow = self.flow_that_will_move(next);
        (flow, self.another_in_the_row_of(&flow))
    }

    /// Two in a row that moves to the last of one configuration, and then to the last of another.
    pub fn two_flows_that_will_move_twice(&mut self, next: &[Backend], then: &[Backend]) -> (Flow, Flow) {
        let moves = |it: &Self, to: &[Backend]| -> Vec<bool> {
            let last = &to.last().expect("a backend").name;
            (0..it.service.rows.get()).map(|row| it.first(to, row) == *last).collect()
        };
        let (once, twice) = (moves(self, next), moves(self, then));
        let flow = self.find(|it, flow| once[it.row(flow) as usize] && twice[it.row(flow) as usize]);
        (flow, self.another_in_the_row_of(&flow))
    }

    pub fn another_in_the_row_of(&mut self, flow: &Flow) -> Flow {
        let row = self.row(flow);
        self.find(|it, other| it.row(other) == row)
    }

    /// One whose row is in transition.
    pub fn another_that_moved(&mut self) -> Flow {
        self.find(|it, flow| {
            let bits = it.balancer.rows(it.service()).expect("a table")[it.row(flow) as usize];
            crate::lb::Row::from_bits(bits).before.is_some()
        })
    }
}
