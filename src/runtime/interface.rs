//! One interface: what is asked of it, what it takes to serve it, and the threads that watch it meanwhile.

use super::{
    Balanced, InterfaceChange, Notice, Runtime, RuntimeError, Setup, Station,
    defence::Guarded,
    link_watch::{Followers, LinkWatch, Watched},
    neighbourhood::{Ears, Neighbourhood},
    notice::Notices,
    plan::InterfacePlan,
    running::End,
    sharing,
    station::Followed,
    way_out::Way,
};
use crate::{
    host::groups::SolicitedNodes,
    rng::SipKey,
    stack::{Cidr, LocalAddress, Ownership},
    wire::{ChecksumPolicy, InterfaceId, icmp},
    worker::{Placement, Workers},
    xdp::{Guard, LeftLink, Program, Queue, QueueOptions, Require, SpliceTable, Tables, Unfinished, XdpError, XdpMode},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, PoisonError},
};

/// What is asked of an interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub name: String,
    pub own: Vec<Cidr>,
    pub shared: Vec<IpAddr>,
    pub vlan: Option<u16>,
    pub gateways: Vec<IpAddr>,
    pub answers_to: Option<Station>,
    pub queues: Vec<u32>,
}

impl Interface {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            own: Vec::new(),
            shared: Vec::new(),
            vlan: None,
            gateways: Vec::new(),
            answers_to: None,
            queues: Vec::new(),
        }
    }
}

/// What all interfaces have in common.
pub(super) struct Shared {
    pub placement: Placement,
    /// All programs hash by the same key, so that a flow has one name in all of their filters.
    pub key: SipKey,
    /// Pairs of connections whose segments the programs translate.
    pub splices: Option<Arc<SpliceTable>>,
}

/// An interface with everything open that takes a right.
pub(super) struct Opened {
    pub program: Program,
    pub setup: Setup,
    pub queues: Vec<Queue>,
    pub mode: XdpMode,
    ears: Ears,
    way: Way,
    router: Option<Followed>,
    groups: SolicitedNodes,
}

impl Opened {
    /// Attaches the program and opens the queues. `ears` have heard of nobody who has an address of ours.
    pub fn open(
        runtime: &Runtime,
        plan: &InterfacePlan,
        shared: &Shared,
        ears: Ears,
        notices: &Notices,
    ) -> Result<Self, RuntimeError> {
        let (mut program, mode, left) = attach_program(runtime, plan, shared)?;
        let mut queues = Vec::new();
        for &id in &plan.queues {
            let queue = open_queue(runtime, plan, id, mode, notices)?;
            program.connect(&queue)?;
            queues.push(queue);
        }
        for conflict in sharing::conflicts(&plan.shared(), &runtime.ports, &runtime.udp_ports) {
            notices.tell(Notice::Sharing(conflict));
        }
        let way = Way::find(runtime, plan, mode, program.guard().clone(), notices.clone());
        let groups = join_groups(plan, notices);
        // Last, as the other one is at work until then, and this one knows everything now.
        if let Some(left) = left {
            program.replace(left)?;
        } else if let Some(pins) = runtime.balance.as_ref().and_then(|balance| balance.pins.as_ref()) {
            program.pin(pins, &plan.link.name)?;
        }
        // Which worker is on which core is known when they have begun.
        let summary = queues.iter().map(|queue| (queue.id(), None, queue.copy_mode())).collect();
        let (interface, require) = (plan.link.name.clone(), runtime.require);
        let setup = Setup { interface, require, mode, queues: summary, placement: shared.placement };
        let router = follow(plan, program.guard())?;
        Ok(Self { program, setup, queues, mode, ears, way, router, groups })
    }

    /// The program, to be defended.
    pub fn guarded(&self) -> Guarded {
        Guarded { guard: self.program.guard().clone(), services: self.program.services().clone() }
    }

    /// Begins to watch it, and says which of its queues nobody serves already. `end` is dropped when it is gone.
    pub fn serve(
        self,
        id: InterfaceId,
        plan: &InterfacePlan,
        workers: &Workers,
        notices: &Notices,
        end: End,
    ) -> Result<Served, RuntimeError> {
        let Self { program, setup, ears, way, router, groups, .. } = self;
        let neighbourhood =
            Neighbourhood::start(ears, (id, setup.interface.clone()), workers.clone(), notices.clone())?;
        let followers = Followers {
            interface: id,
            workers: workers.clone(),
            guard: Some(program.guard().clone()),
            announcer: Some(neighbourhood.announcer()),
        };
        let InterfacePlan { link, queues, addresses, .. } = plan;
        let (link, queues, addresses, mtu_max) = (link.clone(), queues.clone(), addresses.clone(), plan.mtu_max());
        let watched = Watched { link, queues, addresses, mtu_max, followers, notices: notices.clone(), router };
        let count = watched.link.rx_queues;
        let unserved = watched.unserved(count);
        if !unserved.is_empty() {
            let (interface, change) = (setup.interface.clone(), InterfaceChange::Queues { count, unserved });
            notices.tell(Notice::Interface { interface, change });
        }
        let link_watch = LinkWatch::start(watched, way, end)?;
        Ok(Served { id, setup, link_watch, neighbourhood, groups, program })
    }
}

/// An interface that is served. Its threads end, and its program is detached, when it is dropped.
pub(super) struct Served {
    pub id: InterfaceId,
    pub setup: Setup,
    pub link_watch: LinkWatch,
    pub neighbourhood: Neighbourhood,
    pub groups: SolicitedNodes,
    /// Last, so that it goes last.
    pub program: Program,
}

/// Listens to the neighbours, and asks them whether somebody has an address of ours.
pub(super) fn listen(runtime: &Runtime, plan: &InterfacePlan) -> Result<Ears, RuntimeError> {
    let ears = Ears::open(plan)?;
    if runtime.probes() {
        let interface = plan.link.name.clone();
        ears.probe().map_err(|(address, station)| RuntimeError::AddressTaken { interface, address, station })?;
    }
    Ok(ears)
}

/// Where another process has left one
/// attached, this one is not yet.
fn attach_program(
    runtime: &Runtime,
    plan: &InterfacePlan,
    shared: &Shared,
) -> Result<(Program, XdpMode, Option<LeftLink>), XdpError> {
    let (steering, options) = (&plan.steering, plan.program_options(runtime));
    let splices = shared.splices.as_deref();
    let mut program = match &runtime.balance {
        None => Program::load_with(steering, &options, shared.key, &Tables { balance: None, splices })?,
        Some(Balanced { tables, services, addresses, sources, .. }) => {
            let tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
            let tables = Tables { balance: Some(&tables), splices };
            let program = Program::load_with(steering, &options, shared.key, &tables)?;
            // Before a frame comes: the stack knows no flow of a balancer that was here before, and would reset them.
            addresses.iter().try_for_each(|&address| program.services().serve_address(address))?;
            for &(service, number, steered) in services {
                program.services().steer(service, number, steered)?;
            }
            for &(source, number) in sources {
                program.services().serve_address(source)?;
                program.services().answer_clients(source, number)?;
            }
            program
        }
    };
    let (mode, left) = match runtime.balance.as_ref().and_then(|balance| Some((balance, balance.left(&plan.link)?))) {
        Some((_, (left, mode))) if mode == XdpMode::Native || runtime.require == Require::Nothing => (mode, Some(left)),
        found => {
            if let Some((balance, left)) = found {
                // Nobody else holds it then, and the interface is free.
                drop(left);
                balance.detach(&plan.link);
            }
            (program.attach(&plan.link.name, plan.link.index, runtime.require)?, None)
        }
    };
    program.guard().set_unfinished(match (mode, plan.checksums(mode)) {
        (_, ChecksumPolicy::Verify) => Unfinished::Refused,
        (XdpMode::Native, ChecksumPolicy::AcceptPartial) => Unfinished::Taken,
        (XdpMode::Generic, ChecksumPolicy::AcceptPartial) => Unfinished::Kept,
    });
    Ok((program, mode, left))
}

/// In generic mode the kernel may merge segments into packets of several frames: those are lost where it cannot hand them over
/// (before Linux 6.6), and all others are not.
fn open_queue(
    runtime: &Runtime,
    plan: &InterfacePlan,
    id: u32,
    mode: XdpMode,
    notices: &Notices,
) -> Result<Queue, XdpError> {
    let (interface, options) = (&plan.link.name, plan.queue_options(runtime, mode));
    match Queue::open(interface, id, mode, runtime.require, &options) {
        Err(XdpError::NoMultiBuffer { .. }) if !plan.fragments => {
            notices.tell(Notice::MergedPacketsLost { interface: interface.clone(), queue: id });
            let options = QueueOptions { longest: None, ..options };
            Queue::open(interface, id, mode, runtime.require, &options)
        }
        opened => opened,
    }
}

/// Lets the NIC, and switches that look who listens, pass on questions for our own addresses, as far as they are IPv6.
fn join_groups(plan: &InterfacePlan, notices: &Notices) -> SolicitedNodes {
    let groups = SolicitedNodes::new(plan.link.index);
    join(&groups, &plan.addresses, &plan.link.name, notices);
    groups
}

/// Joins the groups of these addresses. What does not work is said once, however many there are.
pub(super) fn join(groups: &SolicitedNodes, addresses: &[LocalAddress], interface: &str, notices: &Notices) {
    let joined: Vec<_> = addresses.iter().filter_map(group_of).map(|group| groups.join(group)).collect();
    if let Some(error) = joined.into_iter().find_map(Result::err) {
        notices.tell(Notice::Unsolicited { interface: interface.to_owned(), reason: error.to_string() });
    }
}

/// The group that is asked for an address, where it is for us to answer.
pub(super) fn group_of(local: &LocalAddress) -> Option<Ipv6Addr> {
    match local.cidr.address {
        IpAddr::V6(address) if local.ownership == Ownership::Own => Some(icmp::solicited_node(address).0),
        _ => None,
    }
}

/// Tells the program whom answers go to. Where that is a neighbour, it is to be followed.
fn follow(plan: &InterfacePlan, guard: &Arc<Guard>) -> Result<Option<Followed>, RuntimeError> {
    let Some(mac) = plan.answers_to else { return Ok(None) };
    guard.set_answers_to(mac.0);
    match plan.router {
        Some(Station::Neighbour(address)) => Followed::new(&plan.link, address, mac, guard.clone()).map(Some),
        _ => Ok(None),
    }
}
