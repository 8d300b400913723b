//! The keys of a stack: for cookies, for the flow table, for sequence numbers and for ports.

use crate::{rng::SipKey, tcp::cookie::MasterKey, wire::FourTuple};
use std::net::IpAddr;

/// The secrets a stack needs.
#[derive(Clone, Debug)]
pub struct Secrets {
    cookies: SipKey,
    flows: SipKey,
    numbers: SipKey,
    pub(super) ports: SipKey,
}

impl Secrets {
    /// Secrets that nobody outside this process can know.
    ///
    /// # Errors
    /// Where the operating system has no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let [cookies, flows, numbers, ports] =
            [SipKey::random()?, SipKey::random()?, SipKey::random()?, SipKey::random()?];
        Ok(Self { cookies, flows, numbers, ports })
    }

    /// Secrets from a seed, for tests and simulations that must repeat.
    pub fn from_seed(seed: u64) -> Self {
        Self {
            cookies: SipKey::from_seed(seed),
            flows: SipKey::from_seed(!seed),
            numbers: SipKey::from_seed(seed.rotate_left(32)),
            ports: SipKey::from_seed(seed.rotate_left(32)),
        }
    }

    /// The secret from which the keys of cookies come.
    pub fn cookie_master(&self) -> MasterKey {
        MasterKey::new(self.cookies)
    }

    /// These secrets, but with another one for cookies: that of a fleet, for example.
    #[must_use]
    pub fn with_cookie_master(self, master: SipKey) -> Self {
        Self { cookies: master, ..self }
    }

    /// These secrets, but with another one for initial sequence numbers and timestamps. With that of a process before, and the right
    /// [calendar](super::Stack::set_calendar), they go on where that one stopped.
    #[must_use]
    pub fn with_numbers(self, numbers: SipKey) -> Self {
        Self { numbers, ..self }
    }

    /// The hash by which flows are found, and spread over workers.
    #[inline]
    pub fn hash_flow(&self, tuple: &FourTuple) -> u32 {
        self.identify(tuple).slot
    }

    /// SipHash-1-3, as of Rust's own hash maps: who does not know the key cannot choose addresses and ports that collide.
    #[inline]
    pub(super) fn identify(&self, tuple: &FourTuple) -> FlowHash {
        let hash = tuple.with_octets(|octets| self.flows.hash_short(octets));
        FlowHash { slot: hash as u32, check: (hash >> 32) as u16 }
    }

    /// A hash of where an answer goes: to an IPv4 address, or to the /64 of an IPv6 one, all of which one host may have.
    pub(super) fn hash_destination(&self, address: IpAddr) -> u32 {
        let hash = match address {
            IpAddr::V4(address) => self.flows.hash_short(&address.octets()),
            IpAddr::V6(address) => self.flows.hash_short(&address.octets()[..8]),
        };
        hash as u32
    }

    /// Which of several workers a flow with this hash belongs to. The flow table uses the low bits, so the high ones choose.
    pub fn worker_of(hash: u32, workers: usize) -> usize {
        (hash >> 16) as usize % workers
    }

    /// The key of initial sequence numbers.
    pub(super) fn numbers(&self) -> &SipKey {
        &self.numbers
    }
}

/// A keyed hash of a 4-tuple: by one part it is found, and both together tell it from others where nothing else is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowHash {
    pub slot: u32,
    pub check: u16,
}
