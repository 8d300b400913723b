//! Handshakes that backends take over: in whose names SYNs are answered, with what promise, and why not.

use super::{check::Ability, checking::Checking, reach::Reach};
use crate::{
    lb::{Backend, BackendId, Balancer, Health, Mode, Promise, Service, ServiceId, State, SynProxy},
    runtime::Running,
    wire::{Endpoint, Tunnel},
    xdp,
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// How large a packet is taken to get through where no way is known yet: Ethernet's.
const MTU: u16 = 1_500;
/// IP and TCP headers without options.
const HEADERS_V4: usize = 40;
const HEADERS_V6: usize = 60;

/// Whether SYNs of a service are answered in its backends' names, and what is promised; in words, why not.
pub(super) type Decided = Result<Promise, String>;

/// The services that want it.
#[derive(Debug, Default)]
pub(super) struct HandOver {
    /// By name: what was said last.
    decided: HashMap<String, Decided>,
}

impl HandOver {
    /// What was decided for a service; `None` for one whose backends answer SYNs themselves.
    pub fn decided(&self, service: &str) -> Option<&Decided> {
        self.decided.get(service)
    }

    /// Has the programs answer what they should, by what is known of ways and backends.
    pub fn update(&mut self, running: &Running, balancer: &mut Balancer, reach: &Reach, checking: &Checking) {
        let wanted: Vec<(ServiceId, Decided)> = balancer
            .services()
            .filter(|(_, service)| service.syn_proxy != SynProxy::Off)
            .map(|(id, service)| (id, decide(running, balancer, (reach, checking), (id, service))))
            .collect();
        let stays = |name: &String| wanted.iter().any(|(id, _)| balancer.get(*id).is_some_and(|it| it.name == *name));
        for name in self.decided.keys().filter(|name| !stays(name)) {
            let service = balancer.service(name).and_then(|id| balancer.get(id));
            service.into_iter().for_each(|service| promise(running, service, None));
        }
        self.decided.retain(|name, _| stays(name));
        for (id, decided) in wanted {
            balancer.set_promise(id, decided.as_ref().ok().copied());
            let Some(service) = balancer.get(id) else { continue };
            promise(running, service, decided.as_ref().ok().copied());
            let before = self.decided.insert(service.name.clone(), decided.clone());
            if before.as_ref() != Some(&decided) {
                tell(&service.name, before.as_ref(), &decided);
            }
        }
    }
}

/// Has the programs promise this in a service's backends' names, where they do not yet.
fn promise(running: &Running, service: &Service, promise: Option<Promise>) {
    let frames = xdp::Service::tcp(SocketAddr::new(service.address, service.port));
    for programs in running.steering() {
        let is_said = |it| matches!(it, xdp::Action::Balance { promise: said, .. } if said == promise);
        if !programs.get(frames).is_some_and(is_said) {
            programs.promise(frames, promise);
        }
    }
}

/// Says what is another than before.
fn tell(service: &str, before: Option<&Decided>, now: &Decided) {
    match (before, now) {
        (Some(Ok(before)), Ok(now)) if before.meet(*now) != *before => {
            tracing::warn!("service {service}: its backends can keep less than was promised, and get {now}");
        }
        (_, Ok(promise)) => {
            tracing::info!("service {service}: SYNs are answered in its backends' names, with {promise}")
        }
        (_, Err(why)) => tracing::warn!("service {service}: its backends answer SYNs themselves, as {why}"),
    }
}

/// Whether SYNs of a service are to be answered now, and with what promise.
fn decide(
    running: &Running,
    balancer: &Balancer,
    (reach, checking): (&Reach, &Checking),
    (id, service): (ServiceId, &Service),
) -> Decided {
    if let Some(interface) = running.mute_interfaces().next() {
        return Err(format!(
            "what the XDP program sends on {interface} would be lost: run `ethtool -K PEER gro on` at its peer, or an XDP program there"
        ));
    }
    let mut promise = Promise::all(mss_of(service, MTU, None));
    for (number, backend) in balancer.backends(id).filter(|(_, backend)| backend.state != State::Off) {
        promise.mss = promise.mss.min(mss_towards(balancer, reach, service, number));
        if balancer.health(number) == Some(Health::Down) {
            continue;
        }
        let ability = checking.ability(&service.name, &backend.name);
        // Those that drain as well: older handshakes may be theirs.
        if service.syn_proxy == SynProxy::Auto {
            require(service, backend, ability, checking)?;
        }
        promise = ability.and_then(|ability| ability.promise).map_or(promise, |its| promise.meet(its));
    }
    promise.mss = promise.mss.max(least_mss(service.address));
    Ok(promise)
}

/// That a backend takes handshakes over; in words, what is known instead.
fn require(service: &Service, backend: &Backend, ability: Option<&Ability>, checking: &Checking) -> Result<(), String> {
    let name = &backend.name;
    match ability.map(|ability| &ability.takes_over) {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(format!("{name} does not take handshakes over: {why}")),
        None if checking.checks(&service.name) => {
            Err(format!("it is not known yet whether {name} takes handshakes over"))
        }
        None => Err(format!(
            "nobody checks its backends, and finds out whether {name} takes handshakes over: have them checked, or write \"always\""
        )),
    }
}

/// The smallest segments that a backend's kernel takes a handshake over with.
const fn least_mss(vip: IpAddr) -> u16 {
    if vip.is_ipv4() { 536 } else { 1_220 }
}

/// How large segments may be that go to a backend.
fn mss_towards(balancer: &Balancer, reach: &Reach, service: &Service, id: BackendId) -> u16 {
    let mtu = reach.way(balancer, id).map_or(MTU, |way| way.mtu);
    mss_of(service, mtu, balancer.address(id))
}

fn mss_of(service: &Service, mtu: u16, backend: Option<Endpoint>) -> u16 {
    let overhead = backend.zip(service.mode.encapsulation()).map_or(0, |(backend, encapsulation)| {
        let (source, end) = (backend.address, backend.address);
        Tunnel { encapsulation, source, end, flow: 0 }.overhead()
    });
    debug_assert!(service.mode != Mode::Nat);
    let headers = if service.address.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
    u16::try_from(usize::from(mtu).saturating_sub(overhead + headers)).unwrap_or(u16::MAX)
}
