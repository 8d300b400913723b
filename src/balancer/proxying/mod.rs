//! Services in mode `proxy`: workers are told whereto their clients' connections lead, and what they did is counted.

mod counts;
mod places;
mod router;
#[cfg(test)]
mod tests;

pub use self::counts::{Fate, Proxied};
pub(super) use self::router::Tables;

use self::{
    counts::{BackendCounts, ServiceCounts},
    places::{Member, Place, Places, Pool, Route, Sources, Terms},
};
use super::reach::Reach;
use crate::{
    host::way::Way,
    lb::{Balancer, Number, RowKey, Service, ServiceId, Slot, Source},
    preface::proxy_protocol::Version,
    proxy::{Patience, Proxy},
    runtime::Running,
    stack::{Cidr, Via},
    transport::Transport,
    wire::{InterfaceId, MacAddress},
    worker::Context,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The lowest port that connections to backends come from.
const FIRST_PORT: u16 = 1_024;

/// What workers look at.
#[derive(Debug, Default)]
pub(super) struct Shared {
    generation: AtomicU64,
    places: Mutex<Arc<Places>>,
}

impl Shared {
    fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, places: Places) {
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(places);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// By service and backend.
type Names = (String, String);

/// All services in this mode.
pub(super) struct Proxying {
    shared: Arc<Shared>,
    key: RowKey,
    /// Addresses that connections to backends come from; none for the service's own.
    sources: Vec<IpAddr>,
    backends: HashMap<Names, Arc<BackendCounts>>,
    services: HashMap<String, Arc<ServiceCounts>>,
    /// What keeps connections from backends.
    obstacles: HashMap<Names, String>,
    /// Ports that services have, by their addresses.
    taken: HashMap<IpAddr, BTreeSet<u16>>,
    /// Ports that connections come from, by addresses, and which they are without.
    ports: HashMap<IpAddr, (BTreeSet<u16>, Arc<[u16]>)>,
    /// Whether tables, health or ways are others than the workers know.
    is_behind: bool,
}

impl Proxying {
    pub fn new(key: RowKey, sources: Vec<IpAddr>) -> Self {
        let shared = Arc::default();
        let (backends, services, obstacles) = Default::default();
        let (taken, ports) = Default::default();
        Self { shared, key, sources, backends, services, obstacles, taken, ports, is_behind: true }
    }

    /// What makes the application of a worker.
    pub fn application(&self) -> impl Fn(&Context<'_>) -> Proxy<Tables> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |cx| Proxy::new(Tables::new(Arc::clone(&shared), cx.worker().number))
    }

    /// Tables, health or ways have changed.
    pub fn outdate(&mut self) {
        self.is_behind = true;
    }

    /// Has the workers know all there is to know.
    pub fn update(&mut self, running: &Running, balancer: &Balancer, reach: &Reach) {
        if !std::mem::take(&mut self.is_behind) {
            return;
        }
        let by_end = balancer.proxied();
        if by_end.is_empty() && self.services.is_empty() {
            return;
        }
        self.obstacles.clear();
        self.find_taken(balancer);
        let workers = running.workers().len();
        let (mut places, mut there) = (Vec::new(), HashSet::new());
        for (end, services) in by_end {
            let pools = services.iter().map(|&id| Arc::new(self.pool(running, balancer, reach, id, workers)));
            let pools: Vec<_> = pools.collect();
            let services: Vec<&Service> = services.iter().filter_map(|&id| balancer.get(id)).collect();
            for service in &services {
                there.extend(service.backends.iter().map(|it| (service.name.clone(), it.name.clone())));
            }
            places.push((end, place(pools, &services)));
        }
        self.backends.retain(|names, _| there.contains(names));
        let services: HashSet<&String> = there.iter().map(|(service, _)| service).collect();
        self.services.retain(|name, _| services.contains(name));
        self.shared.publish(Places::new(places));
        running.workers().iter().for_each(|worker| worker.waker().wake());
    }

    fn pool(&mut self, running: &Running, balancer: &Balancer, reach: &Reach, id: ServiceId, workers: usize) -> Pool {
        let service = balancer.get(id).expect("it is one of the balancer's");
        let counts = self.services.entry(service.name.clone());
        let counts = Arc::clone(counts.or_insert_with(|| Arc::new(ServiceCounts::new(workers))));
        let header = service.proxied.send_header.map(|version| if version == 1 { Version::V1 } else { Version::V2 });
        let splice = service.proxied.splice;
        let terms = Arc::new(Terms { patience: patience(service), header, splice, counts });
        let mut members: Vec<Option<Arc<Member>>> = Vec::new();
        for (number, slot) in balancer.slots(id) {
            let Some(name) = balancer.name(crate::lb::BackendId { service: id, number }) else { continue };
            let names = (service.name.clone(), name.to_owned());
            let route = self.route(running, service, slot, reach);
            let route = route.map_err(|why| self.obstacles.insert(names.clone(), why)).ok();
            let counts = self.backends.entry(names).or_insert_with(|| Arc::new(BackendCounts::new(workers)));
            let (address, counts) = (slot.address.into(), Arc::clone(counts));
            let at = usize::from(number.get());
            members.resize(members.len().max(at + 1), None);
            members[at] = Some(Arc::new(Member { address, route, resets: slot.resets, counts }));
        }
        let rows = balancer.spread(id).into_iter().map(|number| number.map_or(0, Number::get)).collect();
        Pool { terms, key: self.key, count: service.rows, rows, members }
    }

    /// How connections get to a backend, or what is in the way.
    fn route(&mut self, running: &Running, service: &Service, slot: &Slot, reach: &Reach) -> Result<Route, String> {
        let there = slot.address.address;
        let way: &Way = match reach.ways().way(there) {
            Some(Ok(way)) => way,
            Some(Err(why)) => why.last().ok_or_else(|| why.to_string())?,
            None => return Err("it has not been looked for yet".to_owned()),
        };
        let interface = running.setups().iter().position(|setup| setup.interface == way.interface);
        let interface = interface.and_then(InterfaceId::at).ok_or_else(|| {
            format!("its way leaves by {}, which this balancer does not serve: name it in `interfaces`", way.interface)
        })?;
        let via = Via { interface, next_hop: MacAddress(way.next_mac), mtu: way.mtu as usize, tunnel: None };
        if service.proxied.source == Source::Client {
            // No service has a port of a client's.
            let ports = self.ports_of(IpAddr::from(Ipv4Addr::UNSPECIFIED));
            return Ok(Route { sources: Sources::Client(ports), via });
        }
        let of_version = |source: &&IpAddr| source.is_ipv4() == there.is_ipv4();
        let mut sources: Vec<IpAddr> = self.sources.iter().filter(of_version).copied().collect();
        // Where a service has every port of the address, what comes back is for its backends.
        let is_free = self.taken.get(&service.address).is_none_or(|taken| !taken.contains(&0));
        if sources.is_empty() && is_free {
            sources.extend(Some(service.address).filter(|own| of_version(&own)));
        }
        if sources.is_empty() {
            let version = if there.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!(
                "there is no {version} address to connect from: list one in [proxy] sources that nobody has"
            ));
        }
        let sources = sources.into_iter().map(|source| (source, self.ports_of(source))).collect();
        Ok(Route { sources: Sources::Balancer(sources), via })
    }

    /// The ports of an address that connections may come from.
    fn ports_of(&mut self, source: IpAddr) -> Arc<[u16]> {
        let taken = self.taken.get(&source).cloned().unwrap_or_default();
        match self.ports.get(&source) {
            Some((without, ports)) if *without == taken => Arc::clone(ports),
            _ => {
                let ports: Arc<[u16]> = (FIRST_PORT..=u16::MAX).filter(|port| !taken.contains(port)).collect();
                self.ports.insert(source, (taken, Arc::clone(&ports)));
                ports
            }
        }
    }

    /// Which ports services have.
    fn find_taken(&mut self, balancer: &Balancer) {
        self.taken.clear();
        for (_, service) in balancer.services().filter(|(_, service)| service.transport == Transport::Tcp) {
            self.taken.entry(service.address).or_default().insert(service.port);
        }
    }

    /// What a backend got; `None` of a service in another mode.
    pub fn counts(&self, service: &str, backend: &str) -> Option<Proxied> {
        Some(self.backends.get(&(service.to_owned(), backend.to_owned()))?.read())
    }

    /// How connections of a service ended.
    pub fn fates(&self, service: &str) -> Option<Vec<(Fate, u64)>> {
        Some(self.services.get(service)?.read())
    }

    /// What keeps connections from a backend.
    pub fn obstacle(&self, service: &str, backend: &str) -> Option<&str> {
        self.obstacles.get(&(service.to_owned(), backend.to_owned())).map(String::as_str)
    }
}

fn patience(service: &Service) -> Patience {
    let crate::lb::Proxied { first, connect, idle, .. } = service.proxied;
    Patience { first, connect, idle }
}

/// The services at one address and port.
fn place(pools: Vec<Arc<Pool>>, services: &[&Service]) -> Place {
    let (mut names, mut wildcards) = (HashMap::new(), HashMap::new());
    for (index, service) in services.iter().enumerate() {
        for name in &service.proxied.server_names {
            match name.strip_prefix("*.") {
                Some(domain) => wildcards.insert(domain.to_owned(), index),
                None => names.insert(name.clone(), index),
            };
        }
    }
    let default = services.iter().position(|service| service.proxied.server_names.is_empty());
    let trusted = services.iter().flat_map(|service| &service.proxied.trusted);
    let trusted = trusted.map(|&(address, prefix)| Cidr { address, prefix }).collect();
    let first = services.iter().map(|service| service.proxied.first).max().unwrap_or_default();
    Place { pools, names, wildcards, default, trusted, patience: Patience { first, ..Patience::default() } }
}
