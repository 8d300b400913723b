//! What is to be done, checked against what the machine has, before anything is touched.

use super::{Server, ServerError};
use crate::{
    host::{
        Link,
        cores::Cores,
        ethtool::Ethtool,
        rights::{AfXdp, Rights, probe_af_xdp},
    },
    stack::{Addresses, Cidr, LocalAddress, Ownership},
    wire::{ChecksumPolicy, MacAddress, ReceiveScaling, check_host, check_remote, ethernet::VLAN_IDS},
    worker::Placement,
    xdp::{
        FRAME_SIZES, MAX_LISTENERS, MTU_MAX, ProgramOptions, QueueOptions, Steering, WHOLE_MTU_MAX, XdpMode, frame_len,
        packet_room,
    },
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
    /// Whether packets of the link's MTU take more than the driver or a frame can give in one piece.
    pub fragments: bool,
    /// How the NIC spreads flows over its queues, where it matters and is known.
    pub scaling: Option<ReceiveScaling>,
    pub addresses: Vec<LocalAddress>,
    pub steering: Steering,
    pub placement: Placement,
    /// Whom answers go to, where that is not whom a packet came from.
    pub answers_to: Option<MacAddress>,
}

impl Plan {
    /// The sizes of the XDP program's tables: every flow of every worker is in its filter, which is asked on behalf of listeners.
    pub fn program_options(&self, server: &Server) -> ProgramOptions {
        let queues = self.queues.iter().max().map_or(1, |highest| highest + 1);
        if server.ports.is_empty() {
            return ProgramOptions { queues, fragments: self.fragments, ..ProgramOptions::default() };
        }
        let flows = server.config.max_connections.saturating_add(server.config.max_time_wait);
        let flows = flows.saturating_mul(self.queues.len() as u32);
        ProgramOptions { queues, fragments: self.fragments, flows }
    }

    pub fn mac(&self) -> MacAddress {
        MacAddress(self.link.mac)
    }

    /// The sizes of each queue's memory. In generic mode, what the kernel has merged arrives in one piece and takes several frames.
    pub fn queue_options(&self, server: &Server, mode: XdpMode) -> QueueOptions {
        let longest = (self.fragments || mode == XdpMode::Generic).then(|| frame_len(self.link.mtu));
        let default = QueueOptions::default();
        QueueOptions {
            frames: server.frames.unwrap_or(default.frames),
            frame_size: self.frame_size,
            huge_pages: server.huge_pages,
            longest,
            busy_poll: server.busy_poll,
            ..default
        }
    }

    /// How much a checksum is to be believed. Between two ends of a veth pair there is no wire to damage a segment, and no hardware
    /// to complete a sum. In generic mode a frame has been a packet of the kernel's before: what it has merged, or what this
    /// machine sends itself, over a bridge or between macvlans, has none but the pseudo-header's.
    pub fn checksums(&self, mode: XdpMode) -> ChecksumPolicy {
        match mode {
            XdpMode::Native if !self.link.is_veth() => ChecksumPolicy::Verify,
            _ => ChecksumPolicy::AcceptPartial,
        }
    }

    /// The largest MTU that such queues can do.
    pub fn mtu_max(&self) -> u32 {
        if self.fragments { self.link.mtu } else { packet_room(self.frame_size) }
    }
}

impl Server {
    /// Decides everything, or says what stands in the way. `connects` says whether connections may be opened.
    pub(super) fn plan(&self, connects: bool) -> Result<Plan, ServerError> {
        self.check_addresses()?;
        check_machine()?;
        let mut link = Link::find(&self.interface)?;
        link.add_addresses_from_elsewhere(&self.shared)?;
        self.check_link(&link)?;
        let queues = self.choose_queues(&link)?;
        let cores = self.choose_cores(queues.len())?;
        let addresses = self.choose_addresses(&link)?;
        let (placement, scaling) = self.choose_placement(&link, &queues, connects)?;
        let shared = |ports: &[u16]| {
            let services = self.shared.iter().flat_map(|&ip| ports.iter().map(move |&port| SocketAddr::new(ip, port)));
            services.collect()
        };
        let own = self.own.iter().map(|cidr| cidr.address).collect();
        let steering = Steering {
            station: link.mac,
            vlan: self.vlan_id(),
            own,
            shared: shared(&self.ports),
            shared_udp: shared(&self.udp_ports),
            impossible_sources: Addresses::new(addresses.clone()).impossible_sources(),
        };
        let frame_size = choose_frame_size(&link)?;
        let fragments = link.mtu > WHOLE_MTU_MAX;
        let answers_to = match self.answers_to {
            Some(station) => Some(station.resolve(&link)?),
            None => self.config.answers_to,
        };
        Ok(Plan { link, queues, cores, frame_size, fragments, scaling, addresses, steering, placement, answers_to })
    }

    /// The VLAN that is served, whichever way it was given.
    pub(super) fn vlan_id(&self) -> Option<u16> {
        self.vlan.or(self.config.vlan)
    }

    /// Who has which flow. A NIC keeps those that others open on the queue it has picked; for those that we open, the port is
    /// picked such that the NIC picks our queue, where it says how. Where it does not, a hash of ours decides, and workers pass on
    /// what is another's.
    fn choose_placement(
        &self,
        link: &Link,
        queues: &[u32],
        connects: bool,
    ) -> Result<(Placement, Option<ReceiveScaling>), ServerError> {
        if link.is_veth() {
            // Nothing keeps a flow on its queue.
            return Ok((Placement::ByHash, None));
        }
        if link.rx_queues == 1 || !connects {
            return Ok((Placement::ByQueue, None));
        }
        let rss = Ethtool::open()?.rss(link)?.filter(|rss| rss.is_toeplitz);
        let scaling = rss.and_then(|rss| ReceiveScaling::new(rss.key, rss.indirection));
        // Queues that are fed by rules or by another context are not in this table.
        let scaling = scaling.filter(|scaling| queues.iter().all(|&queue| scaling.reaches(queue)));
        let placement = if scaling.is_some() { Placement::ByQueue } else { Placement::ByHash };
        Ok((placement, scaling))
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
        if let Some(asked) = self.vlan_id().filter(|id| !VLAN_IDS.contains(id)) {
            return Err(ServerError::Vlan { asked });
        }
        let addresses = self.own.iter().map(|cidr| cidr.address).chain(self.shared.iter().copied());
        let mut seen = HashSet::new();
        if let Some(address) = addresses.clone().find(|&address| !seen.insert(address)) {
            return Err(ServerError::AddressTwice { address });
        }
        self.check_forms(&seen)?;
        let listeners = seen.len() * self.ports.len();
        match seen.len() {
            0 => Err(ServerError::NoAddress),
            _ if listeners > MAX_LISTENERS => Err(ServerError::TooManyListeners { count: listeners }),
            _ => Ok(()),
        }
    }

    /// Addresses must be hosts', in their own form, and routers others than ourselves.
    fn check_forms(&self, ours: &HashSet<IpAddr>) -> Result<(), ServerError> {
        self.own.iter().try_for_each(Cidr::check)?;
        self.shared.iter().try_for_each(|&address| check_host(address))?;
        self.remotes.iter().try_for_each(|&remote| check_remote(remote))?;
        for &gateway in self.gateways.iter().chain(&self.config.gateways) {
            check_host(gateway)?;
            self.own.iter().try_for_each(|cidr| cidr.check_neighbour(gateway))?;
            if ours.contains(&gateway) {
                return Err(ServerError::OwnGateway(gateway));
            }
        }
        Ok(())
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
        let usable = Cores::read()?;
        for &core in &self.cores {
            usable.require(core)?;
        }
        let candidates = if self.cores.is_empty() { usable.iter().collect() } else { self.cores.clone() };
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
        for &LocalAddress { cidr: subnet, .. } in &addresses {
            if let Some(address) =
                addresses.iter().map(|local| local.cidr.address).find(|&one| subnet.is_broadcast(one))
            {
                return Err(ServerError::Broadcast { address, subnet });
            }
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

/// The smallest frame that holds a packet of the link's MTU with two VLAN tags, or the largest, of which it then takes several.
fn choose_frame_size(link: &Link) -> Result<u32, ServerError> {
    if link.mtu > MTU_MAX {
        return Err(ServerError::MtuTooLarge { interface: link.name.clone(), mtu: link.mtu, most: MTU_MAX });
    }
    let [_, largest] = FRAME_SIZES;
    Ok(FRAME_SIZES.into_iter().find(|&frame| link.mtu <= packet_room(frame)).unwrap_or(largest))
}
