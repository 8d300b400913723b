//! Multicast groups that the NIC must let in.

use super::HostError;
use socket2::{Domain, Socket, Type};
use std::{
    io,
    net::Ipv6Addr,
    sync::{Mutex, PoisonError},
};

/// Membership in the solicited-node groups of addresses that the kernel does not have (RFC 4291 §2.7.1): the kernel tells the
/// NIC's filter, and switches that snoop by MLD (RFC 3810), so that neighbour solicitations arrive. It lasts until this value is
/// dropped, and survives the loss of all privileges: groups may be joined and left after that.
#[derive(Debug)]
pub struct SolicitedNodes {
    index: u32,
    /// Without IPv6 in the kernel there is none, and nobody may ever ask for it.
    socket: io::Result<Socket>,
    /// One for each address, so that a group that several have in common is left with the last of them.
    joined: Mutex<Vec<Ipv6Addr>>,
}

impl SolicitedNodes {
    /// None yet, on the interface with this index.
    pub fn new(index: u32) -> Self {
        Self { index, socket: Socket::new(Domain::IPV6, Type::DGRAM, None), joined: Mutex::default() }
    }

    /// Joins the group of another address.
    ///
    /// # Errors
    /// [`HostError::Refused`], as where the interface has IPv6 switched off, or where these are more than the kernel keeps for a
    /// socket (`net.core.optmem_max`).
    pub fn join(&self, group: Ipv6Addr) -> Result<(), HostError> {
        let refused =
            |error: io::Error| HostError::refused("join the multicast groups of our IPv6 addresses".to_owned(), error);
        let again =
            |error: &io::Error| error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        let socket = self.socket.as_ref().map_err(|error| refused(again(error)))?;
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if !joined.contains(&group) {
            socket.join_multicast_v6(&group, self.index).map_err(refused)?;
        }
        joined.push(group);
        Ok(())
    }

    /// One address fewer needs this group. It is left with the last one.
    pub fn leave(&self, group: Ipv6Addr) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = joined.iter().position(|&other| other == group) else { return };
        joined.swap_remove(one);
        if let Ok(socket) = &self.socket
            && !joined.contains(&group)
        {
            // An interface that is gone has no members any more.
            socket.leave_multicast_v6(&group, self.index).ok();
        }
    }
}
