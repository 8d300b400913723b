//! What a table of flows is made with: said once, the same for programs and this process.

use crate::{rng::SipKey, wire::Endpoint};
use std::{
    hash::Hasher,
    net::{IpAddr, Ipv6Addr},
};

/// Flows at most: an index has 24 bits for the number of one.
pub const MAX_FLOWS: u32 = 1 << 24;

/// Addresses of each IP version that packets to backends come from, at most.
pub const MAX_SOURCES: usize = 8;

/// Ports that they come from: all that need no privileges (RFC 7605 section 4). The addresses are the balancer's alone, and
/// nobody connects from them otherwise.
const FIRST_PORT: u32 = 1_024;
const PORTS: u32 = 65_536 - FIRST_PORT;

/// Flows of a set.
pub(super) const WAYS: usize = 8;
/// Numbers of a bucket of the index.
pub(super) const BUCKET: usize = 16;

const KEYS: usize = 4;

/// How many flows there may be, what is hashed by, and where packets to backends come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatSettings {
    /// Secrets of the hash that answers are found by.
    pub keys: [u64; KEYS],
    /// Flows, a power of two.
    flows: u32,
    /// CPUs that open flows: each has its share of the ports.
    cpus: u32,
    /// Sources by their numbers: those of IPv4, then, from [`MAX_SOURCES`] on, those of IPv6.
    sources: [Vec<IpAddr>; 2],
}

impl NatSettings {
    /// A table of so many flows, rounded up to a power of two, on a machine with so many CPUs. Of the sources the first
    /// [`MAX_SOURCES`] of each IP version count.
    pub fn new(secret: SipKey, flows: u32, cpus: u32, sources: &[IpAddr]) -> Self {
        let key = |number: usize| {
            secret.hash(|hasher| {
                hasher.write(b"xskip nat");
                hasher.write_usize(number);
            }) | 1
        };
        let of = |ipv4: bool| {
            let its = sources.iter().filter(|source| source.is_ipv4() == ipv4);
            its.copied().take(MAX_SOURCES).collect()
        };
        Self {
            keys: std::array::from_fn(key),
            flows: flows.clamp(64, MAX_FLOWS).next_power_of_two(),
            cpus: cpus.clamp(1, PORTS),
            sources: [of(true), of(false)],
        }
    }

    /// Flows at most.
    pub const fn flows(&self) -> u32 {
        self.flows
    }

    /// CPUs that share the ports.
    pub const fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Ports of each source that a CPU opens flows with to one port of a backend.
    pub const fn ports_of_cpu(&self) -> u32 {
        PORTS / self.cpus
    }

    /// Sets of flows.
    pub const fn sets(&self) -> u32 {
        self.flows / WAYS as u32
    }

    /// Buckets of the index: room for twice as many numbers as there are flows.
    pub const fn buckets(&self) -> u32 {
        2 * self.flows / BUCKET as u32
    }

    /// Sources of an IP version.
    pub fn sources(&self, ipv4: bool) -> &[IpAddr] {
        &self.sources[usize::from(!ipv4)]
    }

    /// The number of a source.
    pub fn number_of(&self, source: IpAddr) -> Option<u8> {
        let place = self.sources(source.is_ipv4()).iter().position(|&its| its == source)?;
        Some((place + if source.is_ipv4() { 0 } else { MAX_SOURCES }) as u8)
    }

    /// The source with this number.
    pub fn source(&self, number: u8) -> Option<IpAddr> {
        let number = usize::from(number);
        self.sources[number / MAX_SOURCES % 2].get(number % MAX_SOURCES).copied()
    }

    /// The port that a CPU tries for a draw of its 32 bits.
    pub(super) const fn port(&self, draw: u32, cpu: u32) -> u16 {
        let place = (draw as u64 * self.ports_of_cpu() as u64) >> 32;
        (FIRST_PORT + place as u32 * self.cpus + cpu) as u16
    }

    /// Multilinear hashing (Lemire and Kaser 2014), and then well mixed: nobody ever sees a hash.
    pub(super) fn hash(&self, backend: Endpoint, source: u8, port: u16, is_udp: bool) -> u64 {
        let [low, high] = halves(backend.address);
        let rest = u64::from(backend.port.to_be()) | u64::from(port) << 16 | u64::from(source) << 32;
        let rest = rest | u64::from(is_udp) << 40;
        let [of_low, of_high, of_rest, start] = self.keys;
        let hash = start.wrapping_add(of_low.wrapping_mul(low)).wrapping_add(of_high.wrapping_mul(high));
        let hash = hash.wrapping_add(of_rest.wrapping_mul(rest));
        let hash = (hash ^ hash >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^ hash >> 32
    }
}

/// An address as programs keep it: an IPv4 address is mapped into `::ffff:0:0/96`.
pub(super) fn halves(address: IpAddr) -> [u64; 2] {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let bits = u128::from_le_bytes(octets);
    [bits as u64, (bits >> 64) as u64]
}

pub(super) fn address([low, high]: [u64; 2]) -> IpAddr {
    let bits = u128::from(low) | u128::from(high) << 64;
    IpAddr::V6(Ipv6Addr::from(bits.to_le_bytes())).to_canonical()
}
