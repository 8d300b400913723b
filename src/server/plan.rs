//! What is to be done, checked against what the machine has, before anything is touched.

use super::{Server, ServerError};
use crate::{
    host::{
        Link,
        cores::Cores,
        rights::{AfXdp, Rights, probe_af_xdp},
    },
    stack::{Cidr, LocalAddress, Ownership},
    wire::{ChecksumPolicy, MacAddress},
    worker::Placement,
    xdp::{FRAME_SIZES, MTU_MAX, ProgramOptions, Steering, packet_room},
};
use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

/// Everything that was decided.
#[derive(Debug)]
pub(super) struct Plan {
    pub link: Link,
    pub queues: Vec<u32>,
    /// One for each queue.
    pub cores: Vec<usize>,
    pub frame_size: u32,
    pub addresses: Vec<LocalAddress>,
    pub steering: Steering,
    pub placement: Placement,
    pub checksums: ChecksumPolicy,
}

impl Plan {
    /// The sizes of the XDP program's tables: every flow of every worker is in its filter, which is asked on behalf of listeners.
    pub fn program_options(&self, server: &Server) -> ProgramOptions {
        let queues = self.queues.iter().max().map_or(1, |highest| highest + 1);
        if server.ports.is_empty() {
            return ProgramOptions { queues, ..ProgramOptions::default() };
        }
        let flows = server.config.max_connections.saturating_add(server.config.max_time_wait);
        ProgramOptions { queues, flows: flows.saturating_mul(self.queues.len() as u32) }
    }

    pub fn mac(&self) -> MacAddress {
        MacAddress(self.link.mac)
    }
}

impl Server {
    /// Decides everything, or says what stands in the way.
    pub(super) fn plan(&self) -> Result<Plan, ServerError> {
        self.check_addresses()?;
        check_machine()?;
        let link = Link::find(&self.interface)?;
        self.check_link(&link)?;
        let queues = self.choose_queues(&link)?;
        let cores = self.choose_cores(queues.len())?;
        let addresses = self.choose_addresses(&link)?;
        // Between two ends of a veth pair there is no wire to damage a segment, no hardware to complete a checksum, and no
        // receive-side scaling to keep a flow on its queue.
        let (placement, checksums) = match link.is_veth() {
            true => (Placement::ByHash, ChecksumPolicy::AcceptPartial),
            false => (Placement::ByQueue, ChecksumPolicy::Verify),
        };
        let shared = |ports: &[u16]| {
            let services = self.shared.iter().flat_map(|&ip| ports.iter().map(move |&port| SocketAddr::new(ip, port)));
            services.collect()
        };
        let own = self.own.iter().map(|cidr| cidr.address).collect();
        let steering = Steering { own, shared: shared(&self.ports), shared_udp: shared(&self.udp_ports) };
        let frame_size = choose_frame_size(&link)?;
        Ok(Plan { link, queues, cores, frame_size, addresses, steering, placement, checksums })
    }

    /// What a service needs, to begin with.
    pub(super) fn check_service(&self) -> Result<(), ServerError> {
        self.check_addresses()?;
        if self.ports.is_empty() && self.udp_ports.is_empty() && self.remotes.is_empty() {
            return Err(ServerError::NoPort);
        }
        if self.ports.contains(&0) || self.udp_ports.contains(&0) {
            return Err(ServerError::PortZero);
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ServerError> {
        match self.own.is_empty() && self.shared.is_empty() {
            true => Err(ServerError::NoAddress),
            false => Ok(()),
        }
    }

    fn check_link(&self, link: &Link) -> Result<(), ServerError> {
        let interface = self.interface.clone();
        if !link.up {
            return Err(ServerError::InterfaceDown { interface });
        }
        if let Some(attachment) = link.xdp {
            return Err(ServerError::Occupied { interface, program: attachment.program });
        }
        Ok(())
    }

    fn choose_queues(&self, link: &Link) -> Result<Vec<u32>, ServerError> {
        let available = link.rx_queues.min(link.tx_queues);
        if self.queues.is_empty() {
            return Ok((0..available).collect());
        }
        let mut seen = HashSet::new();
        for &queue in &self.queues {
            if queue >= available {
                return Err(ServerError::NoSuchQueue { interface: self.interface.clone(), available, asked: queue });
            }
            if !seen.insert(queue) {
                return Err(ServerError::QueueTwice { queue });
            }
        }
        Ok(self.queues.clone())
    }

    fn choose_cores(&self, workers: usize) -> Result<Vec<usize>, ServerError> {
        let online = Cores::read()?;
        for &core in &self.cores {
            online.require(core)?;
        }
        let candidates = if self.cores.is_empty() { online.iter().collect() } else { self.cores.clone() };
        Ok(candidates.into_iter().cycle().take(workers).collect())
    }

    fn choose_addresses(&self, link: &Link) -> Result<Vec<LocalAddress>, ServerError> {
        let interface = || self.interface.clone();
        let kernels = |address: IpAddr| link.addresses.iter().find(|&&(known, _)| known == address);
        let mut addresses = Vec::new();
        for &cidr in &self.own {
            if let Some(&(address, prefix)) = kernels(cidr.address) {
                return Err(ServerError::AddressInUse { interface: interface(), address, prefix });
            }
            addresses.push(LocalAddress { cidr, ownership: Ownership::Own });
        }
        for &address in &self.shared {
            let Some(&(_, prefix)) = kernels(address) else {
                return Err(ServerError::AddressNotShared { interface: interface(), address });
            };
            addresses.push(LocalAddress { cidr: Cidr { address, prefix }, ownership: Ownership::Shared });
        }
        Ok(addresses)
    }
}

fn check_machine() -> Result<(), ServerError> {
    let missing = Rights::read()?.missing_for_serving();
    if !missing.is_empty() {
        return Err(ServerError::Rights { missing: missing.join(", ") });
    }
    match probe_af_xdp() {
        AfXdp::Missing => Err(ServerError::NoAfXdp),
        _ => Ok(()),
    }
}

/// The smallest frame that holds a packet of the link's MTU with two VLAN tags.
fn choose_frame_size(link: &Link) -> Result<u32, ServerError> {
    FRAME_SIZES.into_iter().find(|&frame| link.mtu <= packet_room(frame)).ok_or_else(|| ServerError::MtuTooLarge {
        interface: link.name.clone(),
        mtu: link.mtu,
        most: MTU_MAX,
    })
}
