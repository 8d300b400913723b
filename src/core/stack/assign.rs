//! Addresses come and go while the stack runs.

use super::{Cidr, CidrError, LocalAddress, Stack};
use crate::{tcp::Cause, time::Instant, wire::InterfaceId};
use std::net::IpAddr;

/// Why a stack does not take an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddAddressError {
    /// The interface is none of the stack's.
    #[error("the stack has no {0}; add it first, or name one that it has")]
    NoInterface(InterfaceId),
    /// No host can have it, or not with this prefix.
    #[error(transparent)]
    Invalid(#[from] CidrError),
    /// It is the stack's already.
    #[error("{address} is an address of this stack already, on {interface}; remove it there first")]
    Taken {
        /// The address.
        address: IpAddr,
        /// The interface that it belongs to.
        interface: InterfaceId,
    },
    /// It is the broadcast address of a subnet, this one's or another one's.
    #[error(
        "{address} is the broadcast address of the subnet of {subnet}, and no host's; choose another address or prefix"
    )]
    Broadcast {
        /// The address.
        address: IpAddr,
        /// An address in the subnet, with its prefix.
        subnet: Cidr,
    },
    /// As many as are configured.
    #[error("the stack has {0} addresses, which is the limit; remove one, or raise `max_addresses`")]
    Limit(usize),
}

/// Why a stack keeps an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveAddressError {
    /// It is none of the stack's.
    #[error("{0} is no address of this stack; remove one that it has")]
    NotOurs(IpAddr),
    /// Somebody needs it.
    #[error(
        "{address} is in use by {connections} connections and {sockets} UDP sockets; close them first, or have them reset"
    )]
    InUse {
        /// The address.
        address: IpAddr,
        /// Connections from or to it, those that are being opened by us or closed among them.
        connections: usize,
        /// UDP sockets that are bound to it and no other.
        sockets: usize,
    },
}

/// What becomes of those that use an address which is to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InUse {
    /// They go on, and the address stays.
    #[default]
    Refuse,
    /// Connections are reset, and UDP sockets unbound.
    Reset,
}

impl Stack {
    /// Gives `interface` another address. From now on packets to it are taken, by whichever interface they come, and ARP and
    /// neighbour discovery are answered for it there, where it is ours alone. Whether another host has it is not asked, and
    /// nobody is told (RFC 5227, RFC 4862 §5.4): that is for whoever knows the link.
    ///
    /// # Errors
    /// [`AddAddressError`] says what to do. Nothing has changed then.
    pub fn add_address(&mut self, interface: InterfaceId, local: LocalAddress) -> Result<(), AddAddressError> {
        let LocalAddress { cidr, .. } = local;
        let address = cidr.address;
        if self.interfaces.get(interface).is_none() {
            return Err(AddAddressError::NoInterface(interface));
        }
        cidr.check()?;
        if let Some(interface) = self.addresses.interface_of(address) {
            return Err(AddAddressError::Taken { address, interface });
        }
        let clash = self.addresses.iter().map(|other| other.cidr).find_map(|other| match other {
            _ if other.is_broadcast(address) => Some((address, other)),
            _ if cidr.is_broadcast(other.address) => Some((other.address, cidr)),
            _ => None,
        });
        if let Some((address, subnet)) = clash {
            return Err(AddAddressError::Broadcast { address, subnet });
        }
        if self.addresses.len() >= self.config.max_addresses {
            return Err(AddAddressError::Limit(self.config.max_addresses));
        }
        self.addresses.insert(interface, local);
        Ok(())
    }

    /// Connections from or to an address of ours, and UDP sockets that are bound to it and no other: those whom its removal would hit.
    pub fn users_of(&self, address: IpAddr) -> (usize, usize) {
        (self.connections.at(address).len(), self.udp.at(address).len())
    }

    /// Takes an address away; returns how many connections were reset. Packets to it are another host's from now on.
    ///
    /// Handshakes under way there are forgotten. Of connections in TIME-WAIT nothing is kept that names an address: they are out of
    /// reach, and their time passes. Listeners at the address stay, and accept again where it comes back. Bounded by the number of
    /// connections and handshakes.
    ///
    /// # Errors
    /// [`RemoveAddressError`] says who is in the way. Nothing has changed then.
    pub fn remove_address(
        &mut self,
        now: Instant,
        address: IpAddr,
        in_use: InUse,
    ) -> Result<usize, RemoveAddressError> {
        if !self.addresses.contains(address) {
            return Err(RemoveAddressError::NotOurs(address));
        }
        let (connections, sockets) = (self.connections.at(address), self.udp.at(address));
        if in_use == InUse::Refuse && !(connections.is_empty() && sockets.is_empty()) {
            let (connections, sockets) = (connections.len(), sockets.len());
            return Err(RemoveAddressError::InUse { address, connections, sockets });
        }
        for &index in &connections {
            self.touch(now, index, |connection, _| connection.abort_for(Cause::AddressRemoved));
        }
        for index in self.half_open.at(address) {
            self.forget_half_open(index, self.half_open.get(index).hash);
        }
        sockets.into_iter().for_each(|id| self.unbind_udp(id));
        self.addresses.remove(address);
        Ok(connections.len())
    }
}
