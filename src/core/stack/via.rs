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

/// Whose address a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Client,
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
        if !self.addresses.contains(local) || local.is_ipv4() != remote.address.is_ipv4() {
            return Err(ConnectError::NotOurs(local));
        }
        self.open_from(now, remote, (local, ports), &via, Whose::Ours)
    }

    /// Opens a connection to `remote` by way of `via` in the name of a client: from its address and, if that can be, its port, or else one
    /// of these. What comes back is the stack's, although the address is none of its own: the [`Carrier`](crate::splice::Carrier) sees to
    /// that, so there has to be one, and `remote` has to send what is for the client to this host.
    ///
    /// # Errors
    /// [`ConnectError`] says what to do.
    pub fn connect_as(
        &mut self,
        now: Instant,
        remote: Endpoint,
        client: Endpoint,
        ports: &[u16],
        via: Via,
    ) -> Result<ConnectionId, ConnectError> {
        let Endpoint { address, port } = client;
        if check_host(address).is_err() || self.addresses.is_broadcast(address) {
            return Err(ConnectError::NotUnicast(address));
        }
        if self.addresses.contains(address) || address.is_ipv4() != remote.address.is_ipv4() {
            return Err(ConnectError::NotAClient(address));
        }
        if port != 0
            && let Some(id) = self.open_via(now, remote, client, &via, Whose::Client)?
        {
            return Ok(id);
        }
        self.open_from(now, remote, (address, ports), &via, Whose::Client)
    }

    /// Opens a connection from one of these ports of an address.
    fn open_from(
        &mut self,
        now: Instant,
        remote: Endpoint,
        (address, ports): (IpAddr, &[u16]),
        via: &Via,
        whose: Whose,
    ) -> Result<ConnectionId, ConnectError> {
        let count = ports.len() as u32;
        for _ in 0..count.min(MOST_TRIED) {
            let port = ports[self.ephemeral_ports.next(address, &remote, count) as usize];
            if let Some(id) = self.open_via(now, remote, Endpoint { address, port }, via, whose)? {
                return Ok(id);
            }
        }
        Err(ConnectError::NoPortLeft(remote))
    }

    /// Opens a connection between two ends; `None` where that of ours is taken.
    fn open_via(
        &mut self,
        now: Instant,
        remote: Endpoint,
        local: Endpoint,
        via: &Via,
        whose: Whose,
    ) -> Result<Option<ConnectionId>, ConnectError> {
        let address = remote.address;
        if check_host(address).is_err() || self.addresses.is_broadcast(address) {
            return Err(ConnectError::NotUnicast(address));
        }
        if remote.port == 0 {
            return Err(ConnectError::PortZero);
        }
        let interface = self.interfaces.get(via.interface).ok_or(ConnectError::NoRoute(address))?;
        let (mtu, overhead) = (interface.mtu.min(via.mtu), via.tunnel.map_or(0, |tunnel| tunnel.overhead()));
        let tuple = FourTuple { local, remote };
        let hash = self.secrets.identify(&tuple);
        let is_free = match whose {
            Whose::Ours => self.is_free(now, &tuple, hash),
            Whose::Client => self.is_no_flow(now, &tuple, hash),
        };
        if !is_free || !self.owns(&tuple, hash) {
            return Ok(None);
        }
        if whose == Whose::Client && !self.parted.claim(&tuple, hash) {
            return Err(ConnectError::NotCarried(local.address));
        }
        let link = self.header_to(via.interface, via.next_hop);
        let opened = self.open(now, tuple, hash, (via.interface, mtu.saturating_sub(overhead)));
        if opened.is_err() && whose == Whose::Client {
            self.parted.release(hash);
        }
        let id = opened?;
        if let Some(entry) = self.entry_mut(id) {
            entry.via = Some(Box::new(Kept { tunnel: via.tunnel }));
        }
        self.touch_id(now, id, |connection, _| connection.set_link(now, link));
        Ok(Some(id))
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
