//! By which interface a packet leaves and to whom it is handed on, and which of our addresses it comes from (RFC 6724 §5).

use super::{Ownership, address::Addresses};
use crate::wire::InterfaceId;
use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv6Addr},
};

/// The route to a destination: the interface that packets for it leave by, the neighbour there that takes them, and the address of
/// ours that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub interface: InterfaceId,
    pub next_hop: IpAddr,
    pub source: IpAddr,
}

impl Addresses {
    /// The route to `remote` (MUST-44), from an address that is ours alone: by the narrowest subnet that contains it, or else by the
    /// first gateway of its family. Where packets come from a given address of ours, they leave by its interface.
    pub(super) fn route<'a>(
        &self,
        remote: IpAddr,
        from: Option<IpAddr>,
        gateways: impl Iterator<Item = (InterfaceId, &'a [IpAddr])>,
    ) -> Option<Route> {
        let only = from.and_then(|address| self.interface_of(address));
        let may_leave_by = |interface| only.is_none_or(|only| only == interface);
        let to = |interface, next_hop| {
            Some(Route { interface, next_hop, source: self.source(interface, Ownership::Own, remote, next_hop)? })
        };
        let near = self.placed().filter(|placed| may_leave_by(placed.interface) && placed.local.cidr.contains(remote));
        // Backwards, because the last of equals is the largest.
        if let Some(narrowest) = near.rev().max_by_key(|placed| placed.local.cidr.prefix) {
            return to(narrowest.interface, remote);
        }
        let mut gateways = gateways.filter(|&(interface, _)| may_leave_by(interface));
        if is_link_local(remote) {
            return gateways.find_map(|(interface, _)| to(interface, remote));
        }
        gateways.find_map(|(interface, gateways)| to(interface, gateway_to(remote, gateways)?))
    }

    /// The neighbour on `interface` that takes packets for `remote`: itself where it is on the link, or else the gateway of its
    /// family. A gateway is on the link because it was named as one, whatever our subnets are: clouds give a host a /32 or /128.
    pub(super) fn next_hop(&self, interface: InterfaceId, remote: IpAddr, gateways: &[IpAddr]) -> Option<IpAddr> {
        if self.is_on_link(interface, remote) { Some(remote) } else { gateway_to(remote, gateways) }
    }

    /// Whether packets for `remote` that leave by `interface` go to itself: a subnet of ours contains it, or it can be nowhere else
    /// (RFC 4291 §2.5.6).
    pub(super) fn is_on_link(&self, interface: InterfaceId, remote: IpAddr) -> bool {
        is_link_local(remote) || self.on(interface).any(|local| local.cidr.contains(remote))
    }

    /// The address that a neighbour on `interface` is asked from: one that is ours alone, if there is any.
    pub(super) fn asker(&self, interface: InterfaceId, neighbour: IpAddr) -> Option<IpAddr> {
        let of = |ownership| self.source(interface, ownership, neighbour, neighbour);
        of(Ownership::Own).or_else(|| of(Ownership::Shared))
    }

    /// Source address selection as far as it applies to addresses that are neither deprecated, mobile nor temporary: by scope
    /// (rule 2), by the next hop's subnet, the narrowest first (rule 5.5), by label (rule 6) and by the longest common prefix
    /// (rule 8); and where all is equal, the one that was given first.
    fn source(&self, interface: InterfaceId, ownership: Ownership, remote: IpAddr, next_hop: IpAddr) -> Option<IpAddr> {
        let candidates = self.on(interface).filter(|local| local.ownership == ownership).map(|local| &local.cidr);
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

/// The gateway that takes packets for `remote`: the first of its family.
fn gateway_to(remote: IpAddr, gateways: &[IpAddr]) -> Option<IpAddr> {
    gateways.iter().find(|gateway| gateway.is_ipv4() == remote.is_ipv4()).copied()
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
