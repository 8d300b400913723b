//! How a check gets to its backend: by the way that the kernel knows, from an address that the kernel keeps there, and from ports of
//! it that are reserved for this.

use super::{Check, Obstacle, Route, Target};
use crate::{
    balancer::NoReach,
    host::{
        Link,
        way::{NoWay, Way, Ways},
    },
    lb::{Balancer, Mode, Service, State, SynProxy},
    runtime::{ReservedPorts, Running},
    stack::Via,
    wire::{Endpoint, InterfaceId, MacAddress, Tunnel},
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The addresses and ports that checks come from. Ports are reserved when they are first needed, and as long as this lives.
#[derive(Debug)]
pub struct Sources {
    /// For each address.
    count: usize,
    reserved: HashMap<IpAddr, ReservedPorts>,
}

impl Sources {
    /// From so many ports of each address, of which each takes a descriptor. A port serves one check of each service at a time, and
    /// of several workers each has its part of them: a service with many backends, none of which answers, is checked by so many at
    /// a time.
    pub fn new(ports: usize) -> Self {
        Self { count: ports, reserved: HashMap::new() }
    }

    /// How checks get to a backend at `backend` of a service at `service`, by what was found of the way to it. To be called in the
    /// network namespace that the interfaces are in, by a thread that is no worker.
    ///
    /// # Errors
    /// An [`Obstacle`], in words for people. What stands in the way here may be gone later, so it is worth asking again whenever the
    /// way is another.
    pub fn route(
        &mut self,
        running: &Running,
        service: IpAddr,
        mode: Mode,
        backend: IpAddr,
        way: &Result<Way, NoWay>,
    ) -> Result<Route, Obstacle> {
        // Of one that has fallen silent checks find out more than the kernel knows.
        let way = match way {
            Ok(way) => way,
            Err(why) => why.last().ok_or_else(|| Obstacle::Unreachable(why.to_string()))?,
        };
        if mode == Mode::Dsr && way.next_hop != backend {
            return Err(Obstacle::Unreachable(NoReach::Routed { router: way.next_hop }.to_string()));
        }
        let interface = &way.interface;
        let served = running.setups().iter().position(|setup| setup.interface == *interface);
        let Some(id) = served.and_then(InterfaceId::at) else {
            return Err(Obstacle::Uncheckable(format!(
                "no check can be made: its way leaves by {interface}, which this balancer does not serve"
            )));
        };
        let source = source(service, way).map_err(Obstacle::Uncheckable)?;
        let ports = match self.reserved.get(&source) {
            Some(reserved) => reserved.ports().clone(),
            None => {
                let reserved = reserve(running, interface, source, self.count).map_err(Obstacle::Uncheckable)?;
                self.reserved.entry(source).or_insert(reserved).ports().clone()
            }
        };
        let tunnel = mode.encapsulation();
        let tunnel = tunnel.map(|encapsulation| Tunnel { encapsulation, source: way.source, end: backend, flow: 0 });
        let (next_hop, mtu) = (MacAddress(way.next_mac), way.mtu as usize);
        Ok(Route { source, ports, via: Via { interface: id, next_hop, mtu, tunnel } })
    }
}

impl Sources {
    /// What is to be checked of a balancer: the backends that are not off of each service that `check_of` has a check and a port for.
    /// Those that were not looked for yet are not among them. Each is counted anew, unless it is given the counts that it had. To be
    /// called like [`Sources::route`], and whenever `ways` have news.
    pub fn targets(
        &mut self,
        running: &Running,
        balancer: &Balancer,
        ways: &Ways,
        check_of: impl Fn(&Service) -> Option<(Check, u16)>,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for (id, service) in balancer.services() {
            let Some((check, port)) = check_of(service) else { continue };
            for (number, backend) in balancer.backends(id).filter(|(_, backend)| backend.state != State::Off) {
                let there = backend.address.address;
                let Some(way) = ways.way(there) else { continue };
                let address = checked(service, backend.address, port);
                targets.push(Target {
                    service: service.name.clone(),
                    backend: backend.name.clone(),
                    check: check.clone(),
                    address,
                    route: self.route(running, address.ip(), service.mode, there, way),
                    known: balancer.health(number).unwrap_or_default(),
                    counts: Arc::default(),
                    hand_over: handed_over(service),
                });
            }
        }
        targets
    }
}

/// Where backends of a service are to take handshakes over, if they are.
fn handed_over(service: &Service) -> Option<SocketAddr> {
    (service.syn_proxy != SynProxy::Off).then(|| SocketAddr::new(service.address, service.port))
}

/// Where a backend is checked: at the service's address, which it has, but in the modes `nat` and `proxy` at its own. There the service's port stands
/// for its own as well.
fn checked(service: &Service, backend: Endpoint, port: u16) -> SocketAddr {
    match service.mode {
        Mode::Nat | Mode::Proxy if port == service.port => SocketAddr::new(backend.address, backend.port),
        Mode::Nat | Mode::Proxy => SocketAddr::new(backend.address, port),
        _ => SocketAddr::new(service.address, port),
    }
}

/// The address that checks of a service come from: the one that the kernel would take for the backend, if it is of the service's IP
/// version.
fn source(service: IpAddr, way: &Way) -> Result<IpAddr, String> {
    if way.source.is_ipv4() == service.is_ipv4() {
        return Ok(way.source);
    }
    let (interface, version) = (&way.interface, if service.is_ipv4() { "IPv4" } else { "IPv6" });
    let link = Link::find(interface).map_err(|error| format!("no check can be made: {error}"))?;
    let is_link_local = |address: &IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let mut addresses = link.addresses.iter().map(|(address, _)| *address);
    addresses.find(|address| address.is_ipv4() == service.is_ipv4() && !is_link_local(address)).ok_or_else(|| {
        format!(
            "no check can be made: {interface} has no {version} address that {service} could be asked from; give it one \
             with `ip address add`"
        )
    })
}

/// Reserves ports of an address, which becomes one that the balancer shares with the kernel.
fn reserve(running: &Running, interface: &str, source: IpAddr, count: usize) -> Result<ReservedPorts, String> {
    if !running.addresses().iter().any(|(_, local)| local.cidr.address == source) {
        running.add_shared_address(interface, source).map_err(|error| format!("no check can be made: {error}"))?;
    }
    running.reserve_ports(source, count).map_err(|error| format!("no check can be made: {error}"))
}
