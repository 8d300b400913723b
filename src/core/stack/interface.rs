//! What a stack has for each of its interfaces: its own link address, who its neighbours are, and what waits to be sent there.

use super::{
    Stack, neighbour_cache::Neighbours, path_mtu::PathMtus, replies::Replies, stations::Stations, transmit::Turns,
};
use crate::{
    config::{InterfaceConfig, StackConfig},
    tcp::{MaxSegment, handshake::mss_for},
    time::Instant,
    wire::{ChecksumPolicy, InterfaceId, MacAddress},
};
use std::{
    net::IpAddr,
    ops::{Index, IndexMut},
};

/// Why a stack takes no more interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stack has no more than {limit} interfaces; run another stack for this one", limit = InterfaceId::LIMIT)]
pub struct TooManyInterfaces;

/// One interface. Its addresses are in a list with those of the others, because each may be spoken to by way of any.
#[derive(Debug)]
pub(super) struct Interface {
    pub mac: MacAddress,
    pub mtu: usize,
    pub checksums: ChecksumPolicy,
    pub vlan: Option<u16>,
    pub answers_to: Option<MacAddress>,
    pub gateways: Vec<IpAddr>,
    pub neighbours: Neighbours,
    pub stations: Stations,
    pub path_mtus: PathMtus,
    pub replies: Replies,
    pub turns: Turns,
}

impl Interface {
    fn new(own: InterfaceConfig, config: &StackConfig) -> Self {
        let InterfaceConfig { mac, mtu, checksums, vlan, answers_to, gateways } = own;
        Self {
            mac,
            mtu,
            checksums,
            vlan,
            answers_to,
            gateways,
            neighbours: Neighbours::new(config.max_neighbours),
            stations: Stations::new(config.max_neighbours),
            path_mtus: PathMtus::new(config.max_path_mtus),
            replies: Replies::new(config.max_replies),
            turns: Turns::default(),
        }
    }
}

/// All of a stack's, in the order in which they were added. There is always one.
#[derive(Debug)]
pub(super) struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// The first one, as the stack's configuration has it.
    pub fn new(mac: MacAddress, config: &StackConfig) -> Self {
        let first = InterfaceConfig {
            mac,
            mtu: config.tcp.mtu,
            checksums: config.checksums,
            vlan: config.vlan,
            answers_to: config.answers_to,
            gateways: config.gateways.clone(),
        };
        Self(vec![Interface::new(first, config)])
    }

    #[inline]
    pub fn get(&self, id: InterfaceId) -> Option<&Interface> {
        self.0.get(id.index())
    }

    #[inline]
    pub fn get_mut(&mut self, id: InterfaceId) -> Option<&mut Interface> {
        self.0.get_mut(id.index())
    }

    /// Their names.
    pub fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        (0..self.0.len()).map_while(InterfaceId::at)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.0.iter()
    }

    /// Each with the routers behind it.
    pub fn gateways(&self) -> impl Iterator<Item = (InterfaceId, &[IpAddr])> + Clone {
        self.0.iter().enumerate().filter_map(|(index, one)| Some((InterfaceId::at(index)?, &one.gateways[..])))
    }

    fn largest_mtu(&self) -> usize {
        self.iter().map(|interface| interface.mtu).max().unwrap_or_default()
    }
}

/// Of an interface that there is: frames and questions of others were turned away at the door.
impl Index<InterfaceId> for Interfaces {
    type Output = Interface;

    #[inline]
    fn index(&self, id: InterfaceId) -> &Interface {
        &self.0[id.index()]
    }
}

impl IndexMut<InterfaceId> for Interfaces {
    #[inline]
    fn index_mut(&mut self, id: InterfaceId) -> &mut Interface {
        &mut self.0[id.index()]
    }
}

impl Stack {
    /// Gives the stack another interface, which has no addresses yet: see [`Stack::add_address`]. Its frames come in and go out
    /// under the name that is returned.
    ///
    /// # Errors
    /// [`TooManyInterfaces`] beyond [`InterfaceId::LIMIT`].
    pub fn add_interface(&mut self, interface: InterfaceConfig) -> Result<InterfaceId, TooManyInterfaces> {
        let id = InterfaceId::at(self.interfaces.0.len()).ok_or(TooManyInterfaces)?;
        self.connections.add_link(interface.mac, interface.mtu);
        self.interfaces.0.push(Interface::new(interface, &self.config));
        self.config.tcp.mtu = self.interfaces.largest_mtu();
        Ok(id)
    }

    /// The stack's interfaces, in the order in which they were added.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        self.interfaces.ids()
    }

    /// Takes note that our station has another address on `interface`: everything is sent from there, and what is for the one before
    /// is another station's. Neighbours learn it from whoever announces our addresses, or when they ask.
    pub fn set_mac(&mut self, interface: InterfaceId, mac: MacAddress) {
        let Some(known) = self.interfaces.get_mut(interface).filter(|known| known.mac != mac) else { return };
        known.mac = mac;
        known.neighbours.set_mac(mac);
        self.connections.set_mac(interface, mac);
        self.half_open.set_mac(interface, mac);
        self.set_mac_of_pairs(interface, mac);
        self.udp.set_mac(interface, mac);
    }

    /// Sends answers on `interface` to another station from now on ([`InterfaceConfig::answers_to`]).
    pub fn set_answers_to(&mut self, interface: InterfaceId, station: MacAddress) {
        if let Some(interface) = self.interfaces.get_mut(interface) {
            interface.answers_to = Some(station);
        }
    }

    /// Takes note that `interface` takes packets of `mtu` bytes from now on, which must fit the buffers of
    /// [`Stack::poll_transmit`]. Connections to come make use of it. Those there make their segments smaller where they must, and
    /// leave it at that; those that sleep, when they wake.
    pub fn set_mtu(&mut self, now: Instant, interface: InterfaceId, mtu: usize) {
        let Some(known) = self.interfaces.get_mut(interface).filter(|known| known.mtu != mtu) else { return };
        known.mtu = mtu;
        self.config.tcp.mtu = self.interfaces.largest_mtu();
        self.stats.mtu_changes += 1;
        for index in self.connections.set_mtu(interface, mtu, &self.config.tcp) {
            self.stats.path_mtus_lowered += 1;
            self.apply_effects(now, index);
        }
        self.set_mtu_of_pairs(interface, mtu);
    }

    /// The largest segments of a connection from `local` by way of `interface`, where `limit` was asked for. The configuration of
    /// TCP has the largest MTU of all interfaces, so this is where that of a smaller one counts.
    #[inline]
    pub(super) fn fitted(&self, interface: InterfaceId, local: IpAddr, limit: MaxSegment) -> MaxSegment {
        let mtu = self.interfaces[interface].mtu;
        if mtu == self.config.tcp.mtu { limit } else { MaxSegment::new(limit.of(mss_for(local, mtu))) }
    }
}
