//! Multicast groups that the NIC must let in.

use super::HostError;
use socket2::{Domain, Socket, Type};
use std::{collections::BTreeSet, net::Ipv6Addr};

/// Membership in the solicited-node groups of addresses that the kernel does not have (RFC 4291 §2.7.1): the kernel tells the
/// NIC's filter, and switches that snoop by MLD (RFC 3810), so that neighbour solicitations arrive. It lasts until this value is
/// dropped, and survives the loss of all privileges.
#[derive(Debug)]
pub struct SolicitedNodes {
    _socket: Option<Socket>,
}

impl SolicitedNodes {
    /// Joins these groups on the interface with this index. Without any it does nothing.
    ///
    /// # Errors
    /// [`HostError::Refused`], as where the interface has IPv6 switched off, or where these are more than the kernel keeps for a
    /// socket (`net.core.optmem_max`).
    pub fn join(index: u32, groups: impl IntoIterator<Item = Ipv6Addr>) -> Result<Self, HostError> {
        let groups: BTreeSet<_> = groups.into_iter().collect(); // addresses may have one in common
        if groups.is_empty() {
            return Ok(Self { _socket: None });
        }
        let refused = |error| HostError::refused("join the multicast groups of our IPv6 addresses".to_owned(), error);
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).map_err(refused)?;
        for group in &groups {
            socket.join_multicast_v6(group, index).map_err(refused)?;
        }
        Ok(Self { _socket: Some(socket) })
    }
}
