//! Mode `nat` as a balancer has it: where its packets come from, and flows that are over.

use super::BalancerError;
use crate::{
    host::cores::Cores,
    lb::{Census, Mode, NatSettings, NatTable, NatTicks, NatWindows, RowKey, Service, Tick},
    time::Instant,
};
use std::{net::IpAddr, time::Duration};

/// Mode `nat`: what its flows come from, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// Addresses that packets to backends come from, the balancer's alone: it answers for them on the last interface that was named.
    /// One at least of the IP version of each service in this mode; eight of each count.
    pub sources: Vec<IpAddr>,
    /// Flows at most, rounded up to a power of two, of 104 octets each. Default 262,144.
    pub flows: u32,
    /// How long they may be silent.
    pub windows: NatWindows,
}

impl Default for Nat {
    fn default() -> Self {
        Self { sources: Vec::new(), flows: 1 << 18, windows: NatWindows::default() }
    }
}

impl Nat {
    /// What the table is made with; `None` where nothing could be in it.
    pub(super) fn settings(&self, key: &RowKey) -> Result<Option<NatSettings>, BalancerError> {
        if self.sources.is_empty() {
            return Ok(None);
        }
        // Each has its share of the ports, so those count that are there, and not all that there may be.
        Ok(Some(NatSettings::new(key.of_flows(), self.flows, Cores::read()?.end() as u32, &self.sources)))
    }

    /// Whether these services can be had.
    pub(super) fn check<'a>(&self, services: impl Iterator<Item = &'a Service>) -> Result<(), BalancerError> {
        for service in services {
            let is_there = self.sources.iter().any(|source| source.is_ipv4() == service.address.is_ipv4());
            if service.mode == Mode::Nat && !is_there {
                let version = if service.address.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(BalancerError::NoSource { service: service.name.clone(), version });
            }
            let of_backend = |it: &crate::lb::Backend| (it.address.address, format!("{}/{}", service.name, it.name));
            let ends = service.backends.iter().map(of_backend).chain([(service.address, service.name.clone())]);
            if let Some((address, whose)) = ends.into_iter().find(|(address, _)| self.sources.contains(address)) {
                return Err(BalancerError::IsSource { address, whose });
            }
        }
        Ok(())
    }
}

/// The table is looked through in so many pieces,
const PIECES: usize = 8;
/// one after another of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends flows that are over, a piece of the table at a time.
pub(super) struct Sweeping {
    ticks: NatTicks,
    piece: usize,
    next: Instant,
    under_way: Census,
    /// What was found when all of it was last looked through.
    pub census: Census,
}

impl Sweeping {
    pub fn new(windows: &NatWindows) -> Self {
        let (under_way, census) = Default::default();
        Self { ticks: windows.in_ticks(), piece: 0, next: Instant::ZERO, under_way, census }
    }

    /// Looks through the next piece, if it is time.
    pub fn turn(&mut self, table: NatTable<'_>, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + PAUSE;
        let share = table.sets().div_ceil(PIECES);
        let sets = self.piece * share..((self.piece + 1) * share).min(table.sets());
        table.sweep(sets, Tick::of(now), &self.ticks, &mut self.under_way);
        self.piece = (self.piece + 1) % PIECES;
        if self.piece == 0 {
            self.census = std::mem::take(&mut self.under_way);
        }
    }
}
