//! Who stands behind a link-layer address. It tells whom to ask whether he has moved, and never where anything is sent.

use crate::wire::MacAddress;
use std::{collections::HashMap, net::IpAddr};

/// Neighbours by their stations, and stations by their neighbours: those who have asked for us, as every neighbour does that sends
/// us anything, and those who have answered us. So the router behind which a client lives is known without being configured.
#[derive(Debug)]
pub(super) struct Stations {
    /// For each IP version, who a station is.
    names: HashMap<(MacAddress, bool), IpAddr>,
    /// Where somebody was last.
    places: HashMap<IpAddr, MacAddress>,
    limit: usize,
}

impl Stations {
    /// Room for at most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { names: HashMap::new(), places: HashMap::new(), limit }
    }

    /// Who is at `station`, of IPv4 or IPv6.
    pub fn name(&self, station: MacAddress, is_ipv4: bool) -> Option<IpAddr> {
        self.names.get(&(station, is_ipv4)).copied()
    }

    /// Where `address` was last.
    pub fn place(&self, address: IpAddr) -> Option<MacAddress> {
        self.places.get(&address).copied()
    }

    /// Everybody's address whose station is known.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.places.keys().copied()
    }

    /// Somebody says that he is `address`, at `station`. That moves nobody, and takes no station over from who is there: or else a
    /// stranger could have himself asked where its own router's way leads.
    pub fn introduce(&mut self, address: IpAddr, station: MacAddress) {
        if self.places.contains_key(&address) {
            return;
        }
        let key = (station, address.is_ipv4());
        let is_taken = self.names.get(&key).is_some_and(|name| self.places.get(name) == Some(&station));
        if !is_taken {
            self.record(address, station);
        }
    }

    /// `address` has answered from `station`. Who asks where the one before went still gets its name.
    pub fn record(&mut self, address: IpAddr, station: MacAddress) {
        // Strangers may fill it; whoever matters introduces himself again before long, and in the meantime answers to gateways and
        // to on-link neighbours find their way without it.
        if self.names.len() >= self.limit || self.places.len() >= self.limit {
            self.names.clear();
            self.places.clear();
        }
        self.names.insert((station, address.is_ipv4()), address);
        self.places.insert(address, station);
    }

    /// Nobody has answered for `address`.
    pub fn forget(&mut self, address: IpAddr) {
        if let Some(station) = self.places.remove(&address) {
            self.names.remove(&(station, address.is_ipv4()));
        }
    }
}
