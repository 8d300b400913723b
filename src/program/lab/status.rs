//! What there is of a lab, read from the kernel.

use std::fmt;

use serde::Serialize;

use super::{
    INTERFACE, LabError, LabName, Role, between,
    parts::{AUTOMATIC, is_ours, named_namespace, side_namespace},
};
use crate::{
    host::{
        HostError, Link,
        ethtool::{Ethtool, Features},
        link::Attachment,
        netns::{self, Process},
    },
    impair::Impairment,
};

/// What is found under a lab's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Neither namespace.
    Nothing,
    /// A namespace with an interface that no lab has.
    Foreign { namespace: String, interface: String },
    /// Some of it.
    Half,
    /// Both namespaces, joined by a pair of ours, or by a relay that is alive.
    Whole { queues: u32, mtu: u32, impair: Option<Impairment> },
}

/// What is found on one side.
#[derive(Clone, Debug)]
enum SideFound {
    Absent,
    /// A name at least; a namespace maybe, but no link of ours in it.
    Empty,
    Foreign {
        interface: String,
    },
    Ours(Box<Link>),
}

pub(super) fn inspect(name: &LabName) -> Result<Found, LabError> {
    let server = inspect_side(name, Role::Server)?;
    let client = inspect_side(name, Role::Client)?;
    Ok(judge(name, server, client, between::inspect(name)?))
}

fn judge(name: &LabName, server: SideFound, client: SideFound, relay: between::Found) -> Found {
    use between::Found as Between;
    let whole = |server: &Link, impair| Found::Whole { queues: server.rx_queues, mtu: server.mtu, impair };
    match (server, client, relay) {
        (SideFound::Foreign { interface }, ..) => Found::Foreign { namespace: name.namespace(Role::Server), interface },
        (_, SideFound::Foreign { interface }, _) => {
            Found::Foreign { namespace: name.namespace(Role::Client), interface }
        }
        (.., Between::Foreign { interface }) => Found::Foreign { namespace: name.relay_namespace(), interface },
        (SideFound::Absent, SideFound::Absent, Between::Absent) => Found::Nothing,
        (SideFound::Ours(server), SideFound::Ours(client), Between::Absent) if are_joined(&server, &client) => {
            whole(&server, None)
        }
        (SideFound::Ours(server), SideFound::Ours(client), Between::Ours(ends))
            if are_joined(&server, &ends.right) && are_joined(&client, &ends.left) && ends.are_carried() =>
        {
            ends.impairment().map_or(Found::Half, |impairment| whole(&server, Some(impairment)))
        }
        _ => Found::Half,
    }
}

/// Whether they are the two ends of one pair, with the same settings.
fn are_joined(server: &Link, client: &Link) -> bool {
    let points_to = |link: &Link, other: &Link| link.peer.is_some_and(|peer| peer.index == other.index);
    let settings = |link: &Link| (link.rx_queues, link.tx_queues, link.mtu);
    points_to(server, client) && points_to(client, server) && settings(server) == settings(client)
}

fn inspect_side(name: &LabName, role: Role) -> Result<SideFound, HostError> {
    let Some(namespace) = side_namespace(name, role)? else {
        let is_named = netns::list()?.contains(&name.namespace(role));
        return Ok(if is_named { SideFound::Empty } else { SideFound::Absent });
    };
    let links = namespace.run(Link::list)??;
    Ok(judge_side(links, role))
}

fn judge_side(links: Vec<Link>, role: Role) -> SideFound {
    let mut stranger = None;
    for link in links {
        if is_ours(&link, role) {
            // Interfaces that somebody added to a lab go with it.
            return SideFound::Ours(Box::new(link));
        }
        if !AUTOMATIC.contains(&link.name.as_str()) {
            stranger.get_or_insert(link.name);
        }
    }
    stranger.map_or(SideFound::Empty, |interface| SideFound::Foreign { interface })
}

/// Whether a lab is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabState {
    /// Nothing of it.
    Down,
    /// Leftovers, which the next `up` or `down` removes.
    HalfMade,
    /// All of it.
    Up,
    /// A namespace of that name is somebody else's.
    Foreign,
}

/// What the kernel says about a lab. Its text is for people, its serialized form for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The lab's name.
    pub name: LabName,
    /// Whether it is there.
    pub state: LabState,
    /// The queues of its interfaces, if it is up.
    pub queues: Option<u32>,
    /// The MTU of its interfaces in bytes, if it is up.
    pub mtu: Option<u32>,
    /// The addresses on the server's side that are left to a stack in user space, as `address/prefix`.
    pub stack_addresses: Vec<String>,
    /// The sides there are.
    pub sides: Vec<SideStatus>,
    /// What is between them, if the lab is impaired.
    pub relay: Option<RelayStatus>,
}

/// What is between the sides of an impaired lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayStatus {
    /// The network namespace.
    pub namespace: String,
    /// What it does to frames, as `--impair` takes it, if that is known.
    pub impairment: Option<String>,
    /// Whether a relay carries frames. One that was killed does not.
    pub carries: bool,
    /// The processes that live in the namespace: the relay, or the one whose thread it is.
    pub processes: Vec<Process>,
}

/// One side of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SideStatus {
    /// Which side.
    pub side: Role,
    /// The network namespace.
    pub namespace: String,
    /// The interface, unless it is missing.
    pub interface: Option<InterfaceStatus>,
    /// The processes that live in the namespace.
    pub processes: Vec<Process>,
}

/// The interface on one side of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its receive queues.
    pub rx_queues: u32,
    /// Its transmit queues.
    pub tx_queues: u32,
    /// Whether it is up and has a carrier.
    pub running: bool,
    /// The kernel's addresses on it, as `address/prefix`.
    pub addresses: Vec<String>,
    /// What its kernel leaves to the device.
    pub offloads: Offloads,
    /// The XDP program attached to it.
    pub xdp: Option<Attachment>,
}

/// The offloads that matter to whoever receives what this side's kernel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Offloads {
    /// Checksums are left to the device: on a veth, nobody completes them.
    pub tx_checksums: bool,
    /// Frames may be larger than the MTU.
    pub super_frames: bool,
    /// VLAN tags travel beside the frame.
    pub vlan_tags: bool,
    /// Received segments are merged; on a veth, NAPI runs.
    pub gro: bool,
}

impl From<&Features> for Offloads {
    fn from(features: &Features) -> Self {
        Self {
            tx_checksums: features.offloads_tx_checksums(),
            super_frames: features.sends_super_frames(),
            vlan_tags: features.offloads_vlan_tags(),
            gro: features.has_gro(),
        }
    }
}

pub(super) fn read(name: &LabName) -> Result<Status, LabError> {
    let (state, settings) = match inspect(name)? {
        Found::Nothing => (LabState::Down, None),
        Found::Half => (LabState::HalfMade, None),
        Found::Foreign { .. } => (LabState::Foreign, None),
        Found::Whole { queues, mtu, .. } => (LabState::Up, Some((queues, mtu))),
    };
    let mut sides = Vec::new();
    for role in Role::BOTH {
        if let Some(namespace) = side_namespace(name, role)? {
            let interface = namespace.run(|| read_interface(role))??;
            let processes = namespace.processes()?;
            sides.push(SideStatus { side: role, namespace: namespace.name().to_owned(), interface, processes });
        }
    }
    let stack_addresses = super::stack_addresses().into_iter().map(|(address, prefix)| format!("{address}/{prefix}"));
    Ok(Status {
        name: name.clone(),
        state,
        queues: settings.map(|(queues, _)| queues),
        mtu: settings.map(|(_, mtu)| mtu),
        stack_addresses: stack_addresses.collect(),
        sides,
        relay: read_relay(name)?,
    })
}

fn read_relay(name: &LabName) -> Result<Option<RelayStatus>, HostError> {
    let Some(namespace) = named_namespace(&name.relay_namespace())? else {
        return Ok(None);
    };
    let ends = match between::inspect(name)? {
        between::Found::Ours(ends) => Some(ends),
        _ => None,
    };
    Ok(Some(RelayStatus {
        namespace: namespace.name().to_owned(),
        impairment: ends.as_ref().and_then(|ends| ends.impairment()).map(|impairment| impairment.to_string()),
        carries: ends.is_some_and(|ends| ends.are_carried()),
        processes: namespace.processes()?,
    }))
}

fn read_interface(role: Role) -> Result<Option<InterfaceStatus>, HostError> {
    if !Link::list()?.iter().any(|link| is_ours(link, role)) {
        return Ok(None);
    }
    let link = Link::find(INTERFACE)?;
    let features = Ethtool::open()?.features(&link)?;
    Ok(Some(InterfaceStatus {
        mac: link.mac.map(|byte| format!("{byte:02x}")).join(":"),
        mtu: link.mtu,
        rx_queues: link.rx_queues,
        tx_queues: link.tx_queues,
        running: link.running,
        addresses: link.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect(),
        offloads: Offloads::from(&features),
        xdp: link.xdp,
        name: link.name,
    }))
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.state {
            LabState::Down => return write!(f, "lab {name}: down"),
            LabState::Foreign => return write!(f, "lab {name}: not a lab, but namespaces that xskip did not make"),
            LabState::HalfMade => {
                write!(f, "lab {name}: half made; `xskip lab up {name}` mends it, `xskip lab down {name}` removes it")?;
            }
            LabState::Up => {
                write!(f, "lab {name}: up, free for a stack: {}", self.stack_addresses.join(" "))?;
            }
        }
        self.sides.iter().try_for_each(|side| write!(f, "\n{side}"))?;
        self.relay.iter().try_for_each(|relay| write!(f, "\n{relay}"))
    }
}

impl fmt::Display for SideStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} ({})", self.side, self.namespace)?;
        match &self.interface {
            Some(interface) => write!(f, "\n{interface}")?,
            None => write!(f, "\n    {INTERFACE}: missing")?,
        }
        write_processes(f, &self.processes)
    }
}

impl fmt::Display for RelayStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.carries { "carries" } else { "dead: nothing gets through" };
        let impairment = match self.impairment.as_deref() {
            None => "unknown",
            Some("") => "none",
            Some(impairment) => impairment,
        };
        write!(f, "  relay ({}): {state}\n    impairment: {impairment}", self.namespace)?;
        write_processes(f, &self.processes)
    }
}

fn write_processes(f: &mut fmt::Formatter<'_>, processes: &[Process]) -> fmt::Result {
    if processes.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = processes.iter().map(|p| format!("{} {}", p.pid, p.command)).collect();
    write!(f, "\n    processes: {}", list.join(", "))
}

impl fmt::Display for InterfaceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.running { "running" } else { "not running" };
        writeln!(f, "    {}: {state}, {}, mtu {}, queues {}", self.name, self.mac, self.mtu, self.rx_queues)?;
        writeln!(f, "    addresses: {}", self.addresses.join(" "))?;
        let on = |on: bool| if on { "on" } else { "off" };
        let offloads = &self.offloads;
        write!(
            f,
            "    offloads: tx checksums {}, super-frames {}",
            on(offloads.tx_checksums),
            on(offloads.super_frames)
        )?;
        write!(f, ", vlan tags {}, gro {}", on(offloads.vlan_tags), on(offloads.gro))?;
        match self.xdp {
            Some(attachment) => write!(f, "\n    xdp: program {} ({})", attachment.program, attachment.mode),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
