//! What is known of the kernel's routes, links and neighbours, and what follows from it for each destination. It is
//! shown what the kernel says, and says what the kernel is to be asked: no socket here, and no clock.

use super::{
    News, NoWay, Silence, Way,
    neighbours::{Entry, Key, Neighbours, Share, State, Told},
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long the last way stays one: well below the five minutes for which bridges remember a station by default (IEEE
/// 802.1Q §8.8.3).
const LAST_FOR: Duration = Duration::from_secs(120);
/// How often routes are asked for at most, however much changes: a routing daemon that begins changes all of them, one
/// by one.
const PACE: Duration = Duration::from_millis(100);
/// How often they are asked for anyway: what the kernel learns of a path's MTU, and forgets, it does not say.
const ANYWAY: Duration = Duration::from_secs(60);

/// What the kernel routes a destination by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub ifindex: u32,
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    pub mtu: Option<u32>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub name: String,
    /// None where it is no Ethernet.
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    /// Whether it is up, and has a carrier.
    pub is_ready: bool,
}

#[derive(Debug, Default)]
struct Destination {
    route: Option<Result<Route, NoWay>>,
    /// What was told of it.
    told: Option<Result<Way, NoWay>>,
    last: Option<Way>,
    /// When the last way is one no longer.
    last_until: Option<Instant>,
}

impl Destination {
    fn next_hop(&self, address: IpAddr) -> Option<Key> {
        let route = self.route.as_ref()?.as_ref().ok()?;
        Some(Key { ifindex: route.ifindex, address: route.gateway.unwrap_or(address) })
    }
}

/// What is known. Everything is shown to it in the order in which the kernel says it.
#[derive(Debug)]
pub(super) struct Picture {
    destinations: BTreeMap<IpAddr, Destination>,
    neighbours: Neighbours,
    ports: BTreeMap<u32, Port>,
    /// Whether the list of interfaces has to be asked for.
    wants_ports: bool,
    /// Those whose route may be another.
    unrouted: BTreeSet<IpAddr>,
    /// A moment that is over.
    begun: Instant,
    /// When routes may be asked for, and when all of them are.
    route_at: Instant,
    reroute_at: Instant,
    /// Those of which something else may have to be told.
    touched: BTreeSet<IpAddr>,
}

impl Picture {
    pub fn new(now: Instant) -> Self {
        Self {
            destinations: BTreeMap::new(),
            neighbours: Neighbours::default(),
            ports: BTreeMap::new(),
            wants_ports: true,
            unrouted: BTreeSet::new(),
            begun: now,
            route_at: now,
            reroute_at: now + ANYWAY,
            touched: BTreeSet::new(),
        }
    }

    /// From now on these are the destinations.
    pub fn watch(&mut self, addresses: &[IpAddr]) {
        let wanted: BTreeSet<_> = addresses.iter().copied().collect();
        let gone: Vec<_> = self.destinations.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in gone {
            let next_hop = self.destinations.remove(&address).and_then(|gone| gone.next_hop(address));
            next_hop.iter().for_each(|&key| self.neighbours.leave(key, address));
            self.unrouted.remove(&address);
            self.touched.remove(&address);
        }
        for address in wanted {
            if let btree_map::Entry::Vacant(place) = self.destinations.entry(address) {
                place.insert(Destination::default());
                self.unrouted.insert(address);
                self.route_at = self.begun;
            }
        }
    }

    /// Something that the kernel said was lost: everything may be different.
    pub fn doubt_everything(&mut self, now: Instant) {
        self.wants_ports = true;
        self.routes_changed(|_| true);
        self.neighbours.doubt(now, |_| true);
    }

    /// Routes of these destinations may be others.
    pub fn routes_changed(&mut self, of: impl Fn(IpAddr) -> bool) {
        self.unrouted.extend(self.destinations.keys().copied().filter(|&address| of(address)));
    }

    /// Those whose routes are to be asked for now.
    pub fn unrouted(&mut self, now: Instant) -> Vec<IpAddr> {
        if now >= self.reroute_at {
            self.reroute_at = now + ANYWAY;
            self.routes_changed(|_| true);
        }
        if self.unrouted.is_empty() || now < self.route_at {
            return Vec::new();
        }
        self.route_at = now + PACE;
        self.unrouted.iter().copied().collect()
    }

    /// What the kernel says of a route.
    pub fn routed(&mut self, address: IpAddr, route: Result<Route, NoWay>, now: Instant) {
        self.unrouted.remove(&address);
        let Some(destination) = self.destinations.get_mut(&address) else { return };
        if destination.route.as_ref() == Some(&route) {
            return;
        }
        let before = destination.next_hop(address);
        destination.route = Some(route);
        let next_hop = destination.next_hop(address);
        if next_hop != before {
            next_hop.iter().for_each(|&key| self.neighbours.join(key, address, now));
            before.iter().for_each(|&key| self.neighbours.leave(key, address));
        }
        self.wants_ports |= next_hop.is_some_and(|key| !self.ports.contains_key(&key.ifindex));
        self.touched.insert(address);
    }

    pub fn wants_ports(&self) -> bool {
        self.wants_ports
    }

    /// All interfaces there are.
    pub fn see_ports(&mut self, ports: Vec<(u32, Port)>, now: Instant) {
        self.wants_ports = false;
        let there: BTreeSet<_> = ports.iter().map(|&(ifindex, _)| ifindex).collect();
        let gone: Vec<_> = self.ports.keys().filter(|ifindex| !there.contains(ifindex)).copied().collect();
        gone.into_iter().for_each(|ifindex| self.lose_port(ifindex));
        ports.into_iter().for_each(|(ifindex, port)| self.see_port(ifindex, port, now));
    }

    /// An interface as it is now.
    pub fn see_port(&mut self, ifindex: u32, port: Port, now: Instant) {
        let before = self.ports.insert(ifindex, port.clone());
        if before.as_ref() == Some(&port) {
            return;
        }
        let is_same = |of: fn(&Port) -> (bool, Option<[u8; 6]>)| before.as_ref().map(of) == Some(of(&port));
        // The kernel takes IPv4 routes of one that goes down away without saying so; and any that comes up may be the
        // better way. A way that was no way before has its neighbours forgotten.
        if !is_same(|port| (port.is_ready, port.mac)) {
            self.routes_changed(|_| true);
            self.neighbours.begin_again(ifindex, now);
        }
        self.touch_port(ifindex);
    }

    /// An interface that is no longer there.
    pub fn lose_port(&mut self, ifindex: u32) {
        if self.ports.remove(&ifindex).is_some() {
            self.routes_changed(|_| true);
            self.touch_port(ifindex);
        }
    }

    fn touch_port(&mut self, ifindex: u32) {
        let by = |destination: &Destination| matches!(&destination.route, Some(Ok(route)) if route.ifindex == ifindex);
        let touched = self.destinations.iter().filter(|(_, destination)| by(destination));
        self.touched.extend(touched.map(|(&address, _)| address));
    }

    /// What the kernel has of a neighbour now, or that it has nothing.
    pub fn see_neighbour(&mut self, key: Key, entry: Option<Entry>, now: Instant) {
        self.touched.extend(self.neighbours.see(key, entry, now).into_iter().flatten());
    }

    /// Neighbours to be looked at now.
    pub fn neighbours_due(&self, now: Instant) -> Vec<Key> {
        self.neighbours.due(now, |ifindex| self.is_usable(ifindex))
    }

    /// Of those, which were looked at, those that nobody keeps; each with a destination behind it, and whether the
    /// kernel has no such entry.
    pub fn neighbours_unkept(&self, keys: &[Key], now: Instant) -> Vec<(Key, IpAddr, bool)> {
        self.neighbours.unkept(keys, now)
    }

    /// What came of telling the kernel to keep one.
    pub fn told_neighbour(&mut self, key: Key, told: Told, now: Instant) {
        self.touched.extend(self.neighbours.told(key, told, now).into_iter().flatten());
    }

    /// Neighbours that are to be given back.
    pub fn take_left(&mut self) -> Vec<(Key, Share)> {
        self.neighbours.take_left()
    }

    fn is_usable(&self, ifindex: u32) -> bool {
        self.ports.get(&ifindex).is_some_and(|port| port.is_ready && port.mac.is_some())
    }

    /// What is to be told of this destination, but for its last way; none where the kernel has not been asked yet.
    fn assess(&self, address: IpAddr, destination: &Destination) -> Option<Result<Way, NoWay>> {
        let route = match destination.route.as_ref()? {
            Ok(route) => route,
            Err(why) => return Some(Err(why.clone())),
        };
        let Some(port) = self.ports.get(&route.ifindex) else {
            return Some(Err(NoWay::LinkDown { interface: format!("interface {}", route.ifindex) }));
        };
        let interface = port.name.clone();
        if !port.is_ready {
            return Some(Err(NoWay::LinkDown { interface }));
        }
        let Some(our_mac) = port.mac else { return Some(Err(NoWay::NotEthernet { interface })) };
        let Some(source) = route.source else { return Some(Err(NoWay::NoSource { interface })) };
        let key = destination.next_hop(address)?;
        let next_hop = key.address;
        let silence = |since| Silence { interface: interface.clone(), next_hop, since, last: None };
        Some(match self.neighbours.state(key)? {
            State::At(next_mac) => {
                let mtu = route.mtu.map_or(port.mtu, |mtu| mtu.min(port.mtu));
                Ok(Way { ifindex: route.ifindex, interface, next_hop, next_mac, our_mac, mtu, source })
            }
            State::Refused { errno } => Err(NoWay::Refused { interface, next_hop, errno }),
            State::Unresolved { since } => Err(NoWay::Unresolved(silence(since))),
            State::Failed { since } => Err(NoWay::Failed(silence(since))),
        })
    }

    /// The last way, as far as it is still one: its interface is there, though perhaps not as it was.
    fn last(&self, destination: &Destination) -> Option<Box<Way>> {
        let last = destination.last.as_ref()?;
        let port = self.ports.get(&last.ifindex).filter(|port| port.is_ready)?;
        let mtu = last.mtu.min(port.mtu);
        Some(Box::new(Way { interface: port.name.clone(), our_mac: port.mac?, mtu, ..last.clone() }))
    }

    /// What is different, in the order of addresses.
    pub fn news(&mut self, now: Instant) -> News {
        let over = self.destinations.iter().filter(|(_, it)| it.last_until.is_some_and(|until| until <= now));
        let over: Vec<_> = over.map(|(&address, _)| address).collect();
        let mut news = Vec::new();
        let mut touched = std::mem::take(&mut self.touched);
        touched.extend(over);
        for address in touched {
            let Some(mut destination) = self.destinations.remove(&address) else { continue };
            let mut way = self.assess(address, &destination);
            destination.remember(way.as_ref(), now);
            if let Some(Err(NoWay::Unresolved(silence) | NoWay::Failed(silence))) = &mut way {
                silence.last = self.last(&destination);
            }
            if let Some(way) = way
                && destination.told.as_ref() != Some(&way)
            {
                destination.told = Some(way.clone());
                news.push((address, way));
            }
            self.destinations.insert(address, destination);
        }
        news
    }

    /// What was told of a destination last.
    pub fn told(&self, address: IpAddr) -> Option<&Result<Way, NoWay>> {
        self.destinations.get(&address)?.told.as_ref()
    }

    /// When there is something to do, whatever the kernel says until then.
    pub fn deadline(&self) -> Option<Instant> {
        if self.destinations.is_empty() {
            return None;
        }
        let routes = if self.unrouted.is_empty() { self.reroute_at } else { self.route_at };
        let neighbours = self.neighbours.deadline(|ifindex| self.is_usable(ifindex));
        let lasts = self.destinations.values().filter_map(|destination| destination.last_until).min();
        [Some(routes), neighbours, lasts].into_iter().flatten().min()
    }
}

impl Destination {
    /// Keeps the last way for a while, unless the kernel has none now.
    fn remember(&mut self, way: Option<&Result<Way, NoWay>>, now: Instant) {
        match way {
            Some(Ok(way)) => (self.last, self.last_until) = (Some(way.clone()), None),
            Some(Err(NoWay::Unresolved(_) | NoWay::Failed(_) | NoWay::LinkDown { .. } | NoWay::Refused { .. })) => {
                let until = self.last_until.unwrap_or(now + LAST_FOR);
                self.last_until = self.last.is_some().then_some(until);
            }
            Some(Err(_)) => (self.last, self.last_until) = (None, None),
            None => {}
        }
        if self.last_until.is_some_and(|until| until <= now) {
            (self.last, self.last_until) = (None, None);
        }
    }
}
