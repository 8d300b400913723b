//! What is asked for, checked before anything is touched.

use super::{
    Direction, Load, LoadError, Mode,
    error::MAX_PATH,
    task::{Task, Workload},
};
use crate::{
    runtime::RuntimeError,
    stack::{Cidr, ConnectError},
    wire::{Endpoint, check_remote},
};
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    time::Duration,
};

/// Ports that connections are opened from: those of [`StackConfig`](crate::config::StackConfig).
pub(super) const PORTS: RangeInclusive<u16> = 1_024..=65_535;
/// Addresses of its own that the XDP program has room for.
const MAX_ADDRESSES: u32 = 1_024;
/// How long a load warms up, unless told otherwise.
const WARM_UP: Duration = Duration::from_secs(1);

impl Load {
    /// Everything that the workers need to know, or what is wrong with it.
    pub(super) fn task(&self) -> Result<Task, LoadError> {
        self.check_numbers()?;
        self.check_mode()?;
        let addresses = self.local_addresses()?;
        self.check_ends(&addresses)?;
        self.check_ports(addresses.len())?;
        let is_idle = self.mode == Mode::Idle;
        Ok(Task {
            mode: self.mode,
            target: Endpoint { address: self.target.ip(), port: self.target.port() },
            sources: addresses.iter().map(|cidr| cidr.address).collect(),
            connections: self.connections,
            half_open: self.half_open,
            duration: self.duration,
            warm_up: if is_idle { Duration::ZERO } else { self.warm_up.unwrap_or(WARM_UP) },
            ramp: self.ramp,
            rate: self.rate,
            timeout: self.timeout,
            max_segment: self.max_segment,
            workload: self.workload()?,
        })
    }

    fn check_numbers(&self) -> Result<(), LoadError> {
        if self.connections == 0 {
            return Err(LoadError::NoConnections);
        }
        if self.half_open == 0 {
            return Err(LoadError::NoHalfOpen);
        }
        if self.duration.is_zero() {
            return Err(LoadError::NoDuration);
        }
        if self.rate == Some(0) {
            return Err(LoadError::NoRate);
        }
        if self.timeout.is_zero() {
            return Err(LoadError::NoTimeout);
        }
        Ok(())
    }

    fn check_mode(&self) -> Result<(), LoadError> {
        use Mode::{Bulk, Connect, Idle, Latency};
        let refuse = |option, remedy| Err(LoadError::Meaningless { option, mode: self.mode, remedy });
        if self.rate.is_some() && self.mode == Bulk {
            return refuse("a rate", "it goes as fast as it can, so leave the rate out");
        }
        if self.rate.is_some() && self.mode == Idle {
            return refuse("a rate", "give the time in which the connections are opened instead, such as --ramp 10");
        }
        if self.rate.is_some() && self.mode == Connect && !self.ramp.is_zero() {
            return refuse("a ramp beside a rate", "connections begin when they are due, so leave one of them out");
        }
        if self.warm_up.is_some() && self.mode == Idle {
            return refuse("a warm-up", "the duration begins when every connection has been opened, so leave it out");
        }
        if self.request.is_some() && matches!(self.mode, Idle | Latency) {
            return refuse("a request", "no HTTP is spoken in it, so leave the request out");
        }
        if self.direction.is_some() && self.mode != Bulk {
            return refuse("a direction", "only bulk has one, so leave it out or choose --mode bulk");
        }
        if self.request.is_some() && self.direction.unwrap_or_default() != Direction::Download {
            return refuse("a request beside an upload", "ask an echo or discard service, without --request");
        }
        Ok(())
    }

    /// The addresses we have: those that were given, or so many from the first.
    pub(super) fn local_addresses(&self) -> Result<Vec<Cidr>, LoadError> {
        let given = &self.addresses;
        let Some((&first, others)) = given.split_first() else {
            return Err(RuntimeError::NoAddress.into());
        };
        let count = self.consecutive.unwrap_or(1);
        if self.consecutive.is_some() && !others.is_empty() {
            return Err(LoadError::AddressesTwice(given.len()));
        }
        let asked = count.max(given.len() as u32);
        if asked > MAX_ADDRESSES {
            return Err(LoadError::TooManyAddresses { asked, most: MAX_ADDRESSES });
        }
        let too_small = || LoadError::SubnetTooSmall { subnet: first.to_string(), first: first.address, asked: count };
        let further = (1..count).map(|step| further(first, step).ok_or_else(too_small));
        let addresses: Vec<Cidr> = given.iter().copied().map(Ok).chain(further).collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        match addresses.iter().find(|cidr| !seen.insert(cidr.address)) {
            Some(twice) => Err(LoadError::AddressTwice(twice.address)),
            None => Ok(addresses),
        }
    }

    /// What a stack would refuse each time, refused once.
    fn check_ends(&self, addresses: &[Cidr]) -> Result<(), LoadError> {
        let target = self.target.ip();
        check_remote(self.target).map_err(RuntimeError::from)?;
        addresses.iter().try_for_each(Cidr::check).map_err(RuntimeError::from)?;
        if self.target.port() == 0 {
            return Err(ConnectError::PortZero.into());
        }
        for &Cidr { address, .. } in addresses {
            if address == target {
                return Err(ConnectError::OwnAddress(target).into());
            }
            if address.is_ipv4() != target.is_ipv4() {
                return Err(LoadError::OtherVersion { address, target });
            }
        }
        addresses.iter().try_for_each(|cidr| cidr.check_neighbour(target)).map_err(RuntimeError::from)?;
        let is_near = |neighbour: &IpAddr| addresses.iter().any(|cidr| cidr.contains(*neighbour));
        let leads_there = |gateway: &IpAddr| gateway.is_ipv4() == target.is_ipv4();
        match is_near(&target) || self.gateways.iter().any(leads_there) {
            true => Ok(()),
            false => Err(ConnectError::NoRoute(target).into()),
        }
    }

    fn check_ports(&self, addresses: usize) -> Result<(), LoadError> {
        let ports = u32::from(*PORTS.end() - *PORTS.start()) + 1;
        let most = addresses as u64 * u64::from(ports);
        if u64::from(self.connections) <= most {
            return Ok(());
        }
        let (asked, needed) = (self.connections, u64::from(self.connections).div_ceil(ports.into()));
        Err(LoadError::TooManyConnections { asked, addresses, ports, most, needed })
    }

    /// What is said on a connection.
    fn workload(&self) -> Result<Workload, LoadError> {
        let direction = self.direction.unwrap_or_default();
        Ok(match (self.mode, &self.request) {
            (Mode::Idle, _) => Workload::Silence,
            (Mode::Latency, _) => Workload::Pings,
            (Mode::Bulk, None) => Workload::Bytes { writes: direction != Direction::Download },
            (_, path) => Workload::Http { request: self.http_request(path.as_deref().unwrap_or("/"))? },
        })
    }

    fn http_request(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let is_path =
            path.starts_with('/') && path.len() <= MAX_PATH && path.bytes().all(|octet| octet.is_ascii_graphic());
        if !is_path {
            return Err(LoadError::Path(path.to_owned()));
        }
        let close = if self.mode == Mode::Connect { "Connection: close\r\n" } else { "" };
        Ok(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: xskip\r\n{close}\r\n", self.target).into_bytes())
    }
}

/// The address so many behind the first, where its subnet has it for a host.
fn further(first: Cidr, steps: u32) -> Option<Cidr> {
    let address = match first.address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(steps)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(steps.into())?).into(),
    };
    (first.contains(address) && !first.is_broadcast(address)).then_some(Cidr { address, ..first })
}
