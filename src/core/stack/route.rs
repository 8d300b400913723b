//! Whereto a packet is handed on, and which of our addresses it comes from (RFC 6724 §5).

use super::{Ownership, address::Addresses};
use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv6Addr},
};

/// The way to a destination: the neighbour that takes packets for it, and the address of ours that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub next_hop: IpAddr,
    pub source: IpAddr,
}

impl Addresses {
    /// The way to `remote` (MUST-44), from an address that is ours alone.
    pub(super) fn route(&self, remote: IpAddr, gateways: &[IpAddr]) -> Option<Route> {
        let next_hop = self.next_hop(remote, gateways)?;
        Some(Route { next_hop, source: self.source(Ownership::Own, remote, next_hop)? })
    }

    /// The neighbour that takes packets for `remote`: itself where it is on the link, or else the gateway of its family. A gateway
    /// is on the link because it was named as one, whatever our subnets are: clouds give a host a /32 or /128.
    pub(super) fn next_hop(&self, remote: IpAddr, gateways: &[IpAddr]) -> Option<IpAddr> {
        let gateway = gateways.iter().find(|gateway| gateway.is_ipv4() == remote.is_ipv4());
        if self.is_on_link(remote) { Some(remote) } else { gateway.copied() }
    }

    /// Whether packets for `remote` go to itself: a subnet of ours contains it, or it can be nowhere else (RFC 4291 §2.5.6).
    pub(super) fn is_on_link(&self, remote: IpAddr) -> bool {
        is_link_local(remote) || self.iter().any(|local| local.cidr.contains(remote))
    }

    /// The address that a neighbour is asked from: one that is ours alone, if there is any.
    pub(super) fn asker(&self, neighbour: IpAddr) -> Option<IpAddr> {
        let of = |ownership| self.source(ownership, neighbour, neighbour);
        of(Ownership::Own).or_else(|| of(Ownership::Shared))
    }

    /// Source address selection as far as it applies to addresses that are neither deprecated, mobile nor temporary: by scope
    /// (rule 2), by the next hop's subnet, the narrowest first (rule 5.5), by label (rule 6) and by the longest common prefix
    /// (rule 8); and where all is equal, the one that was given first.
    fn source(&self, ownership: Ownership, remote: IpAddr, next_hop: IpAddr) -> Option<IpAddr> {
        let candidates = self.iter().filter(|local| local.ownership == ownership).map(|local| &local.cidr);
        let candidates = candidates.filter(|cidr| cidr.address.is_ipv4() == remote.is_ipv4());
        let best = candidates.min_by_key(|cidr| {
            let (ours, wanted) = (scope(cidr.address), scope(remote));
            let by_scope = if ours < wanted { (Reverse(false), !ours) } else { (Reverse(true), ours) };
            let near = cidr.contains(next_hop).then_some(cidr.prefix);
            let is_alike = label(cidr.address) == label(remote);
            let common = common_prefix(cidr.address, remote).min(cidr.prefix.into());
            (by_scope, Reverse(near), Reverse(is_alike), Reverse(common))
        })?;
        Some(best.address)
    }
}

/// Scopes as RFC 6724 §3.1 and §3.2 count them: of IPv4, only link-local addresses are not global.
fn scope(address: IpAddr) -> u8 {
    const LINK: u8 = 0x2;
    const SITE: u8 = 0x5;
    const GLOBAL: u8 = 0xe;
    match address {
        IpAddr::V4(address) if address.is_link_local() => LINK,
        IpAddr::V6(address) if address.is_unicast_link_local() => LINK,
        IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfec0 => SITE,
        _ => GLOBAL,
    }
}

/// The labels of RFC 6724 §2.1's default policy, of addresses that a host can have.
fn label(address: IpAddr) -> u8 {
    let IpAddr::V6(address) = address else { return 4 };
    match address.segments() {
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 5,
        [0x3ffe, ..] => 12,
        [first, ..] if first & 0xfe00 == 0xfc00 => 13,
        [first, ..] if first & 0xffc0 == 0xfec0 => 11,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        _ => 1,
    }
}

/// Leading bits that two addresses of one family have in common.
fn common_prefix(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address))
}
