//! Ways to direct flows that are compared: rows of two generations, the hash alone, and a list of the flows used last.

use super::Method;
use crate::{
    lb::{Balancer, Flow, Health, Kind, Number, Service, time_window::Tick},
    time::Instant,
};
use std::collections::{HashMap, VecDeque};

/// A balancer that directs by one of the methods. All of them have the same table and know the same of health.
pub(super) struct Director {
    method: Method,
    pub balancer: Balancer,
    lru: Lru,
}

impl Director {
    pub fn new(method: Method, balancer: Balancer, memory: usize) -> Self {
        Self { method, balancer, lru: Lru { memory, ..Lru::default() } }
    }

    pub fn configure(&mut self, services: Vec<Service>, now: Instant) {
        let plan = self.balancer.plan(services, now).expect("a good configuration");
        self.balancer.apply(&plan, now).expect("a plan that fits");
    }

    pub fn tell(&mut self, service: &str, name: &str, health: Health, now: Instant) {
        let service = self.balancer.service(service).expect("a service");
        if let Some(backend) = self.balancer.backend(service, name) {
            self.balancer.set_health(backend, health, now);
        }
    }

    /// The name of the backend that a packet goes to.
    pub fn decide(&mut self, flow: &Flow, kind: Kind, now: Instant) -> Option<String> {
        if self.method == Method::Rows {
            let backend = self.balancer.decide(flow, kind, now).backend()?;
            return self.balancer.name(backend).map(str::to_owned);
        }
        let place = self.balancer.locate(flow, Tick::of(now))?;
        let remembered = if self.method == Method::Lru { self.lru.get(place.hash.get()) } else { None };
        let remembered = remembered.filter(|&number| place.service.slot(number).is_live);
        let number = remembered.or_else(|| Some(place.choose().ok()?.0))?;
        let (id, hash) = (place.id, place.hash.get());
        if self.method == Method::Lru {
            self.lru.put(hash, number);
        }
        self.balancer.name(crate::lb::BackendId { service: id, number }).map(str::to_owned)
    }

    /// How many flows are remembered.
    pub fn remembered(&self) -> usize {
        if self.method == Method::Lru { self.lru.flows.len() } else { self.balancer.exceptions().0 }
    }

    /// Where all flows of the row go, if they do, and none of this name is remembered.
    pub fn settled(&self, flow: &Flow, now: Instant) -> Option<String> {
        let place = self.balancer.locate(flow, Tick::of(now))?;
        let number = place.home.filter(|_| place.row.before.is_none() && place.entry.is_none())?;
        self.balancer.name(crate::lb::BackendId { service: place.id, number }).map(str::to_owned)
    }
}

/// The flows used last.
#[derive(Default)]
struct Lru {
    memory: usize,
    flows: HashMap<u64, (Number, u64)>,
    /// In the order of use, with the number of the use; only a flow's last use counts.
    used: VecDeque<(u64, u64)>,
    uses: u64,
}

impl Lru {
    fn get(&self, hash: u64) -> Option<Number> {
        self.flows.get(&hash).map(|it| it.0)
    }

    fn put(&mut self, hash: u64, number: Number) {
        self.uses += 1;
        self.flows.insert(hash, (number, self.uses));
        self.used.push_back((hash, self.uses));
        while self.flows.len() > self.memory {
            let (hash, use_number) = self.used.pop_front().expect("a use of every flow");
            if self.flows.get(&hash).is_some_and(|it| it.1 == use_number) {
                self.flows.remove(&hash);
            }
        }
    }
}
