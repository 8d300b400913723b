//! What is wrong with a file on this machine, and would be right on another.

use super::{Faults, File, fault::quoted};
use crate::host::{HostError, Link, bpf_fs, link::all_addresses, sysctl};
use std::{collections::HashMap, fmt::Display, net::IpAddr};

/// What a file is held against: the interfaces of a machine and their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The names of its interfaces.
    pub interfaces: Vec<String>,
    /// Its kernel's addresses, each with its prefix length and the interface that has it.
    pub addresses: Vec<(IpAddr, u8, String)>,
    /// The first port that takes no right to listen at (`net.ipv4.ip_unprivileged_port_start`).
    pub first_free_port: u16,
}

impl Host {
    /// This machine, in the calling thread's network namespace. Takes no rights.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn read() -> Result<Self, HostError> {
        let names: HashMap<u32, String> = Link::list()?.into_iter().map(|link| (link.index, link.name)).collect();
        let named = |(index, address, prefix)| Some((address, prefix, names.get(&index)?.clone()));
        let addresses = all_addresses()?.into_iter().filter_map(named).collect();
        let mut interfaces: Vec<String> = names.into_values().collect();
        interfaces.sort_unstable();
        let first = sysctl::read("net/ipv4/ip_unprivileged_port_start")?.and_then(|port| port.parse().ok());
        Ok(Self { interfaces, addresses, first_free_port: first.unwrap_or(1_024) })
    }

    /// The addresses, to be looked up.
    fn find(&self) -> HashMap<IpAddr, &(IpAddr, u8, String)> {
        self.addresses.iter().map(|entry| (entry.0, entry)).collect()
    }
}

impl File {
    /// Holds the file against this machine, as [`File::check_host`] does; where that does not tell what it has, `note` is told.
    ///
    /// # Errors
    /// As [`File::check_host`], and `survive` without a BPF file system.
    pub fn check_this_host(&self, note: impl FnOnce(&dyn Display)) -> Result<(), Faults> {
        self.check_pins()?;
        match Host::read() {
            Ok(host) => self.check_host(&host),
            Err(error) => {
                note(&format_args!("whether this machine has what {} names is not known: {error}", self.name()));
                Ok(())
            }
        }
    }

    /// What survives needs a place.
    fn check_pins(&self) -> Result<(), Faults> {
        let mut wrong = Vec::new();
        if let Some(at) = self.places.survive.clone().filter(|_| !bpf_fs::holds(&self.pins)) {
            let what = format!("`survive` needs a BPF file system, and {} is in none", self.pins.display());
            wrong.push((
                at,
                format!("{what}: `mount -t bpf bpf /sys/fs/bpf`, or name a folder of another one by `pins`"),
            ));
        }
        self.source.faults(wrong).or(())
    }

    /// Holds the file against a machine.
    ///
    /// # Errors
    /// An interface that it does not have; an address of a service, or a source of the modes `nat` and `proxy`, that its kernel has, which would
    /// answer for it; a
    /// backend that is the machine itself, to which packets would come back; an address for metrics that it does not
    /// have, or a port that takes a right.
    pub fn check_host(&self, host: &Host) -> Result<(), Faults> {
        let mut wrong = Vec::new();
        let addresses = host.find();
        for (name, at) in self.interfaces.iter().zip(&self.places.interfaces) {
            if !host.interfaces.contains(name) {
                let known = host.interfaces.join(", ");
                let what = format!("there is no interface {} here, only {known}: name one of these", quoted(name));
                wrong.push((at.clone(), what));
            }
        }
        if let (Some(metrics), Some(at)) = (self.metrics, &self.places.metrics) {
            let address = metrics.ip();
            if !address.is_unspecified() && !address.is_loopback() && !addresses.contains_key(&address) {
                let what = "which `metrics` needs to be the kernel's: give one of its own, such as 127.0.0.1";
                wrong.push((at.clone(), format!("this host has no address {address}, {what}")));
            }
            let (port, first) = (metrics.port(), host.first_free_port);
            if port < first {
                let what = "would take CAP_NET_BIND_SERVICE, which a balancer does not keep";
                wrong.push((at.clone(), format!("`metrics` at port {port} {what}: give a port from {first} on")));
            }
        }
        let of_nat = self.nat.sources.iter().zip(&self.places.sources);
        let of_proxies = self.proxy_sources.iter().zip(&self.places.proxy_sources);
        for (address, at) in of_nat.chain(of_proxies) {
            if let Some((_, prefix, interface)) = addresses.get(address) {
                let remedy =
                    format!("list one that nobody has, or run `ip address del {address}/{prefix} dev {interface}`");
                wrong.push((at.clone(), format!("the kernel has {address}, and would answer for it: {remedy}")));
            }
        }
        for service in &self.services {
            let address = service.address.address;
            if let Some((_, prefix, interface)) = addresses.get(&address) {
                let remedy = format!("run `ip address del {address}/{prefix} dev {interface}`, or give another");
                let what = format!("the kernel has {address} and would answer for the service: {remedy}");
                wrong.push((service.places.address.clone(), what));
            }
            for (backend, places) in service.backends.iter().zip(&service.places.backends) {
                let address = backend.address.address;
                if let Some((.., interface)) = addresses.get(&address) {
                    let what = format!("{address} is this host's own, on {interface}, and packets would come back");
                    wrong.push((places.address.clone(), format!("{what}: let the backend run elsewhere")));
                }
            }
        }
        self.source.faults(wrong).or(())
    }
}
