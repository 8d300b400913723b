//! What is to be done, checked against what the machine has, before anything is touched.

use super::{Interface, Runtime, RuntimeError, Station};
use crate::{
    config::{InterfaceConfig, StackConfig},
    host::{
        Link,
        cores::Cores,
        ethtool::Ethtool,
        rights::{AfXdp, Rights, probe_af_xdp},
    },
    stack::{Addresses, Cidr, LocalAddress, Ownership},
    wire::{ChecksumPolicy, MacAddress, ReceiveScaling, check_host, check_remote, ethernet::VLAN_IDS},
    worker::{MAX_PORTS, Placement},
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
    /// At least one.
    pub interfaces: Vec<InterfacePlan>,
    /// One for each worker.
    pub cores: Vec<usize>,
    pub placement: Placement,
}

impl Plan {
    /// How many workers there are: every one has a queue of each interface, so as many as the interface with the fewest has.
    pub fn workers(&self) -> usize {
        self.cores.len()
    }
}

/// What was decided about one interface.
#[derive(Debug)]
pub(super) struct InterfacePlan {
    pub link: Link,
    pub queues: Vec<u32>,
    pub vlan: Option<u16>,
    pub gateways: Vec<IpAddr>,
    pub frame_size: u32,
    /// Whether packets of the link's MTU take more than the driver or a frame can give in one piece.
    pub fragments: bool,
    /// How the NIC spreads flows over its queues, where it matters and is known.
    pub scaling: Option<ReceiveScaling>,
    pub addresses: Vec<LocalAddress>,
    pub steering: Steering,
    /// Whom answers go to, where that is not whom a packet came from; and as whom that was named.
    pub answers_to: Option<MacAddress>,
    pub router: Option<Station>,
}

impl InterfacePlan {
    /// The sizes of the XDP program's tables: every flow of every worker is in its filter, which is asked on behalf of listeners.
    pub fn program_options(&self, runtime: &Runtime) -> ProgramOptions {
        let queues = self.queues.iter().max().map_or(1, |highest| highest + 1);
        if !runtime.listens() {
            return ProgramOptions { queues, fragments: self.fragments, ..ProgramOptions::default() };
        }
        let StackConfig { max_connections, max_time_wait, max_half_open, .. } = runtime.config;
        let flows = max_connections.saturating_add(max_time_wait).saturating_add(max_half_open);
        let flows = flows.saturating_mul(self.queues.len() as u32);
        // Those of pairs stay in it.
        let flows = flows.saturating_add(runtime.splices.saturating_mul(2));
        ProgramOptions { queues, fragments: self.fragments, flows }
    }

    pub fn mac(&self) -> MacAddress {
        MacAddress(self.link.mac)
    }

    /// The addresses that stay the kernel's.
    pub fn shared(&self) -> Vec<IpAddr> {
        let shared = self.addresses.iter().filter(|local| local.ownership == Ownership::Shared);
        shared.map(|local| local.cidr.address).collect()
    }

    /// The sizes of each queue's memory. In generic mode, what the kernel has merged arrives in one piece and takes several frames.
    pub fn queue_options(&self, runtime: &Runtime, mode: XdpMode) -> QueueOptions {
        let longest = (self.fragments || mode == XdpMode::Generic).then(|| frame_len(self.link.mtu));
        let default = QueueOptions::default();
        QueueOptions {
            frames: runtime.frames.unwrap_or(default.frames),
            frame_size: self.frame_size,
            huge_pages: runtime.huge_pages,
            longest,
            busy_poll: runtime.busy_poll,
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

    /// The interface as a stack sees it.
    pub fn config(&self, mode: XdpMode) -> InterfaceConfig {
        InterfaceConfig {
            mac: self.mac(),
            mtu: self.link.mtu as usize,
            checksums: self.checksums(mode),
            vlan: self.vlan,
            answers_to: self.answers_to,
            gateways: self.gateways.clone(),
        }
    }

    /// The largest MTU that such queues can do.
    pub fn mtu_max(&self) -> u32 {
        if self.fragments { self.link.mtu } else { packet_room(self.frame_size) }
    }
}

impl Runtime {
    /// Decides everything, or says what stands in the way. `connects` says whether connections may be opened.
    pub(super) fn plan(&self, connects: bool) -> Result<Plan, RuntimeError> {
        self.check_addresses()?;
        check_machine()?;
        let mut interfaces = Vec::new();
        for interface in &self.interfaces {
            interfaces.push(self.plan_interface(interface)?);
        }
        let workers = interfaces.iter().map(|plan| plan.queues.len()).min().unwrap_or_default();
        if let Some(many) = interfaces.iter().find(|plan| plan.queues.len() > workers) {
            let (interface, queues) = (many.link.name.clone(), many.queues.len());
            return Err(RuntimeError::UnevenQueues { interface, queues, workers });
        }
        let cores = self.choose_cores(workers)?;
        let placement = self.choose_placement(&mut interfaces, connects)?;
        Ok(Plan { interfaces, cores, placement })
    }

    fn plan_interface(&self, interface: &Interface) -> Result<InterfacePlan, RuntimeError> {
        let mut link = Link::find(&interface.name)?;
        link.add_addresses_from_elsewhere(&interface.shared)?;
        let is_left = self.balance.as_ref().is_some_and(|balance| balance.left(&link).is_some());
        check_link(&link, is_left)?;
        let queues = choose_queues(interface, &link)?;
        let addresses = choose_addresses(interface, &link)?;
        let vlan = self.vlan_of(interface);
        let shared = |ports: &[u16]| {
            let places = interface.shared.iter();
            let services = places.flat_map(|&ip| ports.iter().map(move |&port| SocketAddr::new(ip, port)));
            services.collect()
        };
        let steering = Steering {
            station: link.mac,
            vlan,
            own: interface.own.iter().map(|cidr| cidr.address).collect(),
            shared: shared(&self.ports),
            shared_udp: shared(&self.udp_ports),
            impossible_sources: Addresses::new(addresses.clone()).impossible_sources(),
        };
        let frame_size = choose_frame_size(&link)?;
        let fragments = link.mtu > WHOLE_MTU_MAX;
        let router = interface.answers_to;
        let answers_to = match router {
            Some(station) => Some(station.resolve(&link)?),
            None => self.config.answers_to,
        };
        let gateways = interface.gateways.clone();
        Ok(InterfacePlan {
            link,
            queues,
            vlan,
            gateways,
            frame_size,
            fragments,
            scaling: None,
            addresses,
            steering,
            answers_to,
            router,
        })
    }

    /// The VLAN that is served, whichever way it was given.
    fn vlan_of(&self, interface: &Interface) -> Option<u16> {
        interface.vlan.or(self.config.vlan)
    }

    /// Who has which flow. A NIC keeps those that others open on the queue it has picked; for those that we open, the port is
    /// picked such that the NIC picks our queue, where it says how. Where it does not, a hash of ours decides, and workers pass on
    /// what is another's. So it does where a flow may come by either of two interfaces.
    fn choose_placement(&self, interfaces: &mut [InterfacePlan], connects: bool) -> Result<Placement, RuntimeError> {
        let [plan] = interfaces else { return Ok(Placement::ByHash) };
        if plan.link.is_veth() {
            // Nothing keeps a flow on its queue.
            return Ok(Placement::ByHash);
        }
        if plan.link.rx_queues == 1 || !connects {
            return Ok(Placement::ByQueue);
        }
        let rss = Ethtool::open()?.rss(&plan.link)?.filter(|rss| rss.is_toeplitz);
        let scaling = rss.and_then(|rss| ReceiveScaling::new(rss.key, rss.indirection));
        // Queues that are fed by rules or by another context are not in this table.
        plan.scaling = scaling.filter(|scaling| plan.queues.iter().all(|&queue| scaling.reaches(queue)));
        Ok(if plan.scaling.is_some() { Placement::ByQueue } else { Placement::ByHash })
    }

    /// What a service needs, to begin with.
    pub(crate) fn check_service(&self) -> Result<(), RuntimeError> {
        self.check_addresses()?;
        if self.ports.is_empty() && self.udp_ports.is_empty() && self.remotes.is_empty() {
            return Err(RuntimeError::NoPort);
        }
        if self.ports.contains(&0) || self.udp_ports.contains(&0) {
            return Err(RuntimeError::PortZero);
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), RuntimeError> {
        let mut names = HashSet::new();
        for interface in &self.interfaces {
            if let Some(asked) = self.vlan_of(interface).filter(|id| !VLAN_IDS.contains(id)) {
                return Err(RuntimeError::Vlan { asked });
            }
            if !names.insert(&interface.name) {
                return Err(RuntimeError::InterfaceTwice { interface: interface.name.clone() });
            }
        }
        if self.interfaces.len() > MAX_PORTS {
            return Err(RuntimeError::TooManyInterfaces { count: self.interfaces.len() });
        }
        let empty = |interface: &&Interface| interface.own.is_empty() && interface.shared.is_empty();
        if let Some(Interface { name, .. }) = self.interfaces.iter().find(empty)
            && self.interfaces.len() > 1
            && self.balance.is_none()
        {
            return Err(RuntimeError::NoAddressOn { interface: name.clone() });
        }
        let own = self.own().map(|cidr| cidr.address);
        let addresses = own.chain(self.interfaces.iter().flat_map(|interface| interface.shared.iter().copied()));
        let mut seen = HashSet::new();
        if let Some(address) = addresses.clone().find(|&address| !seen.insert(address)) {
            return Err(RuntimeError::AddressTwice { address });
        }
        self.check_forms(&seen)?;
        let listeners = seen.len() * self.ports.len();
        match seen.len() {
            0 => Err(RuntimeError::NoAddress),
            _ if listeners > MAX_LISTENERS => Err(RuntimeError::TooManyListeners { count: listeners }),
            _ => Ok(()),
        }
    }

    /// Addresses must be hosts', in their own form, and routers others than ourselves.
    fn check_forms(&self, ours: &HashSet<IpAddr>) -> Result<(), RuntimeError> {
        self.own().try_for_each(Cidr::check)?;
        let mut shared = self.interfaces.iter().flat_map(|interface| &interface.shared);
        shared.try_for_each(|&address| check_host(address))?;
        self.remotes.iter().try_for_each(|&remote| check_remote(remote))?;
        let gateways = self.interfaces.iter().flat_map(|interface| &interface.gateways);
        for &gateway in gateways.chain(&self.config.gateways) {
            check_host(gateway)?;
            self.own().try_for_each(|cidr| cidr.check_neighbour(gateway))?;
            if ours.contains(&gateway) {
                return Err(RuntimeError::OwnGateway(gateway));
            }
        }
        Ok(())
    }

    /// All addresses of the stack's own.
    fn own(&self) -> impl Iterator<Item = &Cidr> + Clone {
        self.interfaces.iter().flat_map(|interface| &interface.own)
    }

    fn choose_cores(&self, workers: usize) -> Result<Vec<usize>, RuntimeError> {
        let usable = Cores::read()?;
        for &core in &self.cores {
            usable.require(core)?;
        }
        let candidates = if self.cores.is_empty() { usable.iter().collect() } else { self.cores.clone() };
        Ok(candidates.into_iter().cycle().take(workers).collect())
    }
}

/// Whether an interface can be served as it is, or where the program there is one to take over from.
fn check_link(link: &Link, is_left: bool) -> Result<(), RuntimeError> {
    let interface = link.name.clone();
    if !link.up {
        return Err(RuntimeError::InterfaceDown { interface });
    }
    if let Some(attachment) = link.xdp.filter(|_| !is_left) {
        return Err(RuntimeError::Occupied { interface, program: attachment.program });
    }
    Ok(())
}

/// The queues asked for, or all there are.
fn choose_queues(asked: &Interface, link: &Link) -> Result<Vec<u32>, RuntimeError> {
    let available = link.rx_queues.min(link.tx_queues);
    if asked.queues.is_empty() {
        return Ok((0..available).collect());
    }
    let mut seen = HashSet::new();
    for &queue in &asked.queues {
        if queue >= available {
            return Err(RuntimeError::NoSuchQueue { interface: link.name.clone(), available, asked: queue });
        }
        if !seen.insert(queue) {
            return Err(RuntimeError::QueueTwice { queue });
        }
    }
    Ok(asked.queues.clone())
}

/// An address as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// The stack's own.
    Own(Cidr),
    /// The kernel's, with the prefix that it has there.
    Shared(IpAddr),
}

impl Asked {
    pub fn address(self) -> IpAddr {
        match self {
            Self::Own(cidr) => cidr.address,
            Self::Shared(address) => address,
        }
    }

    /// What is served then, where the kernel does not stand in the way.
    pub fn choose(self, link: &Link) -> Result<LocalAddress, RuntimeError> {
        let (interface, address) = (link.name.clone(), self.address());
        let kernels = link.addresses.iter().find(|&&(known, _)| known == address);
        match (self, kernels) {
            (Self::Own(_), Some(&(_, prefix))) => Err(RuntimeError::AddressInUse { interface, address, prefix }),
            (Self::Own(cidr), None) => Ok(LocalAddress { cidr, ownership: Ownership::Own }),
            (Self::Shared(_), None) => Err(RuntimeError::AddressNotShared { interface, address }),
            (Self::Shared(_), Some(&(address, prefix))) => {
                Ok(LocalAddress { cidr: Cidr { address, prefix }, ownership: Ownership::Shared })
            }
        }
    }
}

fn choose_addresses(asked: &Interface, link: &Link) -> Result<Vec<LocalAddress>, RuntimeError> {
    let own = asked.own.iter().copied().map(Asked::Own);
    let all = own.chain(asked.shared.iter().copied().map(Asked::Shared));
    let addresses = all.map(|asked| asked.choose(link)).collect::<Result<Vec<_>, _>>()?;
    check_broadcasts(&addresses)?;
    Ok(addresses)
}

/// None of these addresses may be the broadcast address of another one's subnet.
pub(super) fn check_broadcasts(addresses: &[LocalAddress]) -> Result<(), RuntimeError> {
    for &LocalAddress { cidr: subnet, .. } in addresses {
        if let Some(address) = addresses.iter().map(|local| local.cidr.address).find(|&one| subnet.is_broadcast(one)) {
            return Err(RuntimeError::Broadcast { address, subnet });
        }
    }
    Ok(())
}

fn check_machine() -> Result<(), RuntimeError> {
    let missing = Rights::read()?.missing_for_serving();
    if !missing.is_empty() {
        return Err(RuntimeError::Rights { missing: missing.join(", ") });
    }
    match probe_af_xdp() {
        AfXdp::Missing => Err(RuntimeError::NoAfXdp),
        _ => Ok(()),
    }
}

/// The smallest frame that holds a packet of the link's MTU with two VLAN tags, or the largest, of which it then takes several.
fn choose_frame_size(link: &Link) -> Result<u32, RuntimeError> {
    if link.mtu > MTU_MAX {
        return Err(RuntimeError::MtuTooLarge { interface: link.name.clone(), mtu: link.mtu, most: MTU_MAX });
    }
    let [_, largest] = FRAME_SIZES;
    Ok(FRAME_SIZES.into_iter().find(|&frame| link.mtu <= packet_room(frame)).unwrap_or(largest))
}
