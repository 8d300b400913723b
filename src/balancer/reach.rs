//! How each backend is reached, as far as its mode can go that way.

use crate::{
    host::{
        HostError,
        way::{self, NoWay, Ways},
    },
    lb::{BackendId, Balancer, Mode, Way},
    wire::{Encapsulation, MacAddress},
};
use std::{collections::HashSet, fmt, net::IpAddr, os::fd::BorrowedFd, time::Instant};

/// IANA's numbers of what an outer packet carries.
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const UDP: u8 = 17;

/// Why nothing gets to a backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NoReach {
    /// The kernel has no way there, or its neighbour is silent.
    NoWay(NoWay),
    /// It is behind a router, and frames to it cannot be: a packet to the service's address would come back.
    Routed {
        /// The router.
        router: IpAddr,
    },
    /// No connection can be opened to it, in words for people: it is one of a service in mode `proxy`.
    Unconnectable(String),
    /// It has not been looked for yet.
    Unknown,
}

impl fmt::Display for NoReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWay(no_way) => no_way.fmt(f),
            Self::Routed { router } => write!(
                f,
                "it is behind the router {router}, where mode dsr does not reach: use ipip or gue, or a backend on the link"
            ),
            Self::Unconnectable(why) => f.write_str(why),
            Self::Unknown => f.write_str("it has not been looked for yet"),
        }
    }
}

/// The ways to all backends.
pub(super) struct Reach {
    ways: Ways,
}

impl Reach {
    pub fn open() -> Result<Self, HostError> {
        Ok(Self { ways: Ways::open()? })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.ways)
    }

    /// Looks for the ways to all backends that have flows, or may have.
    pub fn watch(&mut self, balancer: &Balancer) {
        self.hear_of_tunnels(balancer);
        let services = balancer.services().map(|(id, _)| id);
        let addresses: HashSet<IpAddr> =
            services.flat_map(|id| balancer.slots(id).map(|(_, slot)| slot.address.address)).collect();
        self.ways.watch(&addresses.into_iter().collect::<Vec<_>>());
    }

    /// Routers between here and a backend speak of the tunnel's packets.
    fn hear_of_tunnels(&mut self, balancer: &Balancer) {
        let modes: HashSet<Mode> = balancer.services().map(|(_, service)| service.mode).collect();
        let protocols =
            modes.iter().filter_map(|mode| mode.encapsulation()).flat_map(|encapsulation| match encapsulation {
                Encapsulation::Ip => &[IPV4_IN_IP, IPV6_IN_IP][..],
                Encapsulation::Gue => &[UDP][..],
            });
        if let Err(error) = self.ways.hear_of(protocols.copied()) {
            tracing::warn!("what routers say of packets that are too big is not heard: {error}");
        }
    }

    /// Follows what has changed; whether anything has.
    pub fn poll(&mut self, now: Instant) -> Result<bool, HostError> {
        let news = self.ways.poll(now)?;
        for (address, way) in &news {
            match way {
                Ok(way) => {
                    tracing::info!(%address, interface = %way.interface, next_hop = %way.next_hop, "backend reached");
                }
                Err(no_way) => tracing::warn!(%address, "no way to a backend: {no_way}"),
            }
        }
        Ok(!news.is_empty())
    }

    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.ways.deadline()
    }

    /// How frames get to a backend.
    pub fn way(&self, balancer: &Balancer, id: BackendId) -> Result<Way, NoReach> {
        let (Some(service), Some(end)) = (balancer.get(id.service), balancer.address(id)) else {
            return Err(NoReach::Unknown);
        };
        let way = match self.ways.way(end.address) {
            Some(Ok(way)) => way,
            // Who is silent for a moment may come back: until then frames go where they went.
            Some(Err(no_way)) => no_way.last().ok_or_else(|| NoReach::NoWay(no_way.clone()))?,
            None => return Err(NoReach::Unknown),
        };
        if service.mode == Mode::Dsr && way.next_hop != end.address {
            return Err(NoReach::Routed { router: way.next_hop });
        }
        Ok(forwarding(way))
    }

    /// What the kernel says of a way, whether or not it is used.
    pub fn trouble(&self, balancer: &Balancer, id: BackendId) -> Option<NoReach> {
        let end = balancer.address(id)?;
        match self.ways.way(end.address) {
            Some(Err(no_way)) => Some(NoReach::NoWay(no_way.clone())),
            _ => self.way(balancer, id).err(),
        }
    }
}

fn forwarding(way: &way::Way) -> Way {
    Way {
        interface: way.ifindex,
        next_hop: MacAddress(way.next_mac),
        ours: MacAddress(way.our_mac),
        mtu: u16::try_from(way.mtu).unwrap_or(u16::MAX),
        source: way.source,
    }
}
