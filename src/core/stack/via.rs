//! Connections whose way the caller knows: by which interface, to which station, and in which tunnel. Nobody is asked for it, and
//! what comes back by another way moves nothing.

use super::{ConnectError, ConnectionId, Stack, connect::MOST_TRIED, connections::Entry};
use crate::{
    time::Instant,
    wire::{Endpoint, FourTuple, InterfaceId, MacAddress, Tunnel, check_host},
};
use std::net::IpAddr;

/// The way that a connection's segments take, all of them: that of a balancer's frames to one of its backends, for instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// The interface that they leave by.
    pub interface: InterfaceId,
    /// The link address that they go to.
    pub next_hop: MacAddress,
    /// The largest IP packet that fits, outer headers included, octets. What the interface takes limits it, too.
    pub mtu: usize,
    /// The tunnel that they are put into.
    pub tunnel: Option<Tunnel>,
}

/// What is kept of it beside the link header: that this is to stay, and what is wrapped around packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub tunnel: Option<Tunnel>,
}

impl Entry {
    /// The tunnel that its segments are put into.
    pub fn tunnel(&self) -> Option<Tunnel> {
        self.via.as_ref()?.tunnel
    }

    /// What is left of an MTU for its packets.
    pub fn room_within(&self, mtu: usize) -> usize {
        mtu.saturating_sub(self.tunnel().map_or(0, |tunnel| tunnel.overhead()))
    }

    /// Puts a segment of its own into the tunnel, where there is one; returns the length of the frame.
    #[inline]
    pub fn wrap(&self, length: usize, buffer: &mut [u8]) -> usize {
        if self.via.is_none() { length } else { self.wrap_in_tunnel(length, buffer) }
    }

    #[cold]
    fn wrap_in_tunnel(&self, length: usize, buffer: &mut [u8]) -> usize {
        let link_len = self.connection.link().len();
        self.tunnel().map_or(length, |tunnel| tunnel.wrap(link_len, length, buffer))
    }
}

impl Stack {
    /// Opens a connection to `remote` by way of `via`, from one of these ports of an address of ours, which may be a shared one: ports
    /// that frames are handed to this stack for.
    ///
    /// `remote` may be an address of ours as well: others may have it, too, and `via` leads to one of them.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect_via(
        &mut self,
        now: Instant,
        remote: Endpoint,
        local: IpAddr,
        ports: &[u16],
        via: Via,
    ) -> Result<ConnectionId, ConnectError> {
        let Endpoint { address, port } = remote;
        if check_host(address).is_err() || self.addresses.is_broadcast(address) {
            return Err(ConnectError::NotUnicast(address));
        }
        if port == 0 {
            return Err(ConnectError::PortZero);
        }
        if !self.addresses.contains(local) || local.is_ipv4() != address.is_ipv4() {
            return Err(ConnectError::NotOurs(local));
        }
        let interface = self.interfaces.get(via.interface).ok_or(ConnectError::NoRoute(address))?;
        let (mtu, overhead) = (interface.mtu.min(via.mtu), via.tunnel.map_or(0, |tunnel| tunnel.overhead()));
        let link = self.header_to(via.interface, via.next_hop);
        let count = ports.len() as u32;
        for _ in 0..count.min(MOST_TRIED) {
            let port = ports[self.ephemeral_ports.next(local, &remote, count) as usize];
            let tuple = FourTuple { local: Endpoint { address: local, port }, remote };
            let hash = self.secrets.identify(&tuple);
            if self.owns(&tuple, hash) && self.is_free(now, &tuple, hash) {
                let id = self.open(now, tuple, hash, (via.interface, mtu.saturating_sub(overhead)))?;
                if let Some(entry) = self.entry_mut(id) {
                    entry.via = Some(Box::new(Kept { tunnel: via.tunnel }));
                }
                self.touch_id(now, id, |connection, _| connection.set_link(now, link));
                return Ok(id);
            }
        }
        Err(ConnectError::NoPortLeft(remote))
    }

    /// Has what a connection sends go by another way from now on, as the one that it was opened for leads nowhere any more. Whether there
    /// is such a connection.
    pub fn set_via(&mut self, now: Instant, id: ConnectionId, via: Via) -> bool {
        let Some(interface) = self.interfaces.get(via.interface) else { return false };
        let (mtu, overhead) = (interface.mtu.min(via.mtu), via.tunnel.map_or(0, |tunnel| tunnel.overhead()));
        let link = self.header_to(via.interface, via.next_hop);
        let Some(entry) = self.entry_mut(id) else { return false };
        entry.via = Some(Box::new(Kept { tunnel: via.tunnel }));
        let moved = self.touch_id(now, id, |connection, cx| {
            connection.fit_link(mtu.saturating_sub(overhead), cx.config);
            connection.set_link(now, link);
        });
        moved.is_some()
    }
}
