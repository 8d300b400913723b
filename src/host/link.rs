//! Links: what the kernel says about an interface, and the few settings the lab needs.

use std::{
    fs,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage as Request,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use serde::Serialize;

use super::{
    HostError,
    ethtool::Ethtool,
    netns::{self, Namespace},
    rtnl::Rtnl,
};

/// An interface, as the kernel described it when asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; zeros where it has none.
    pub mac: [u8; 6],
    /// What somebody noted about it (`IFLA_IFALIAS`).
    pub alias: Option<String>,
    /// The largest payload of a frame, in bytes.
    pub mtu: u32,
    /// Whether it was set up by its administrator (`IFF_UP`).
    pub up: bool,
    /// Whether it is up and has a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// The kind of a virtual interface, such as `veth` (`IFLA_INFO_KIND`).
    pub kind: Option<String>,
    /// The driver of the device below it, such as `virtio_net`; the kind of a virtual interface.
    pub driver: Option<String>,
    /// The NUMA node its device is attached to, where the machine has more than one.
    pub numa_node: Option<u32>,
    /// The XDP program that is attached to it.
    pub xdp: Option<Attachment>,
    /// Its addresses and their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether a default route leaves by it: taking its traffic may cut the machine off.
    pub has_default_route: bool,
    /// The index of the bridge, bond or the like that it belongs to.
    pub controller: Option<u32>,
    /// The other end, if it is one of a veth pair.
    pub peer: Option<Peer>,
    /// Its receive queues: those in use, or from [`Link::list`] or a driver that does not tell, those it was made with
    /// (`IFLA_NUM_RX_QUEUES`).
    pub rx_queues: u32,
    /// Its transmit queues, in the same way.
    pub tx_queues: u32,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// The program's id, as `bpftool prog show id` takes it.
    pub program: u32,
    /// Where in the kernel it runs.
    pub mode: AttachMode,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the kernel's general receive path, on socket buffers.
    Generic,
    /// On the device.
    Offloaded,
    /// In several of these places at once.
    Multiple,
}

impl std::fmt::Display for AttachMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
            Self::Multiple => "several modes",
        })
    }
}

/// The other end of a veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's index, in the network namespace it lives in.
    pub index: u32,
    /// If that is another namespace than the link's own: the number by which the link's own knows it.
    pub namespace_id: Option<i32>,
}

impl Link {
    /// Finds the interface `name` in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`HostError::NoSuchInterface`], with the names there are; or that of a failed netlink request.
    pub fn find(name: &str) -> Result<Self, HostError> {
        let mut rtnl = Rtnl::open()?;
        let links = links(&mut rtnl)?;
        let mut found = match links.iter().find(|link| link.name == name) {
            Some(link) => link.clone(),
            None => {
                let known: Vec<_> = links.into_iter().map(|link| link.name).collect();
                return Err(HostError::NoSuchInterface { name: name.to_owned(), known: known.join(", ") });
            }
        };
        found.addresses = addresses(&mut rtnl, found.index)?;
        found.has_default_route = has_default_route(&mut rtnl, found.index)?;
        if let Some(channels) = Ethtool::open()?.channels(&found)? {
            (found.rx_queues, found.tx_queues) = (channels.rx, channels.tx);
        }
        Ok(found)
    }

    /// Every interface of the calling thread's network namespace: without addresses and routes, and with the number of
    /// queues they were made with.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn list() -> Result<Vec<Self>, HostError> {
        links(&mut Rtnl::open()?)
    }

    /// Whether this is one end of a veth pair.
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }

    /// The name of the network namespace its peer lives in, if it is another than the calling thread's and has a name.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn peer_namespace(&self) -> Result<Option<String>, HostError> {
        let Some(id) = self.peer.and_then(|peer| peer.namespace_id) else {
            return Ok(None);
        };
        let mut rtnl = Rtnl::open()?;
        // A name without a namespace has no number either.
        let has_id = |name: &String| namespace_id(&mut rtnl, name).is_ok_and(|found| found == Some(id));
        Ok(netns::list()?.into_iter().find(has_id))
    }

    /// Sets the interface up.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn set_up(&self) -> Result<(), HostError> {
        let mut message = self.message();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        Rtnl::open()?.change(&format!("set {} up", self.name), Request::SetLink(message), 0)
    }

    /// Notes something about the interface, for whoever lists it: at most 255 bytes.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn set_alias(&self, alias: &str) -> Result<(), HostError> {
        let mut message = self.message();
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        Rtnl::open()?.change(&format!("note an alias of {}", self.name), Request::SetLink(message), 0)
    }

    /// Gives the interface an address, or keeps the one it has. An IPv6 address is usable at once: without duplicate
    /// address detection (RFC 4862 §5.4).
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn add_address(&self, address: IpAddr, prefix: u8) -> Result<(), HostError> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = self.index;
        message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
        match address {
            IpAddr::V4(address) if prefix < 31 => {
                let broadcast = u32::from(address) | u32::MAX >> prefix;
                message.attributes.push(AddressAttribute::Broadcast(broadcast.into()));
            }
            IpAddr::V4(_) => {}
            IpAddr::V6(_) => message.header.flags |= AddressHeaderFlags::Nodad,
        }
        let what = format!("add the address {address}/{prefix} to {}", self.name);
        Rtnl::open()?.change(&what, Request::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends what is for `prefix` to a neighbour on this link, `gateway`, or keeps that route.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn add_route(&self, prefix: (IpAddr, u8), gateway: IpAddr) -> Result<(), HostError> {
        let (network, length) = prefix;
        let what = format!("route {network}/{length} to {gateway} by {}", self.name);
        if family(network) != family(gateway) {
            return Err(HostError::refused(what, std::io::ErrorKind::InvalidInput));
        }
        let mut message = RouteMessage::default();
        message.header.address_family = family(network);
        message.header.destination_prefix_length = length;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Oif(self.index),
            RouteAttribute::Destination(RouteAddress::from(network)),
            RouteAttribute::Gateway(RouteAddress::from(gateway)),
        ];
        Rtnl::open()?.change(&what, Request::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes the interface, and with it the peer of a veth.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn delete(&self) -> Result<(), HostError> {
        Rtnl::open()?.change(&format!("delete {}", self.name), Request::DelLink(self.message()), 0)
    }

    /// A message about this link, for a change to be added.
    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = self.index;
        message
    }
}

/// One end of a veth pair to be made.
#[derive(Clone, Copy, Debug)]
pub struct VethEnd<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its index, which must be free in its namespace. Two ends with the same one would wait up to a second for their
    /// carrier: the kernel takes neither for an interface on top of another, whose state it looks at first.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

/// Makes a veth pair: `near` in the calling thread's network namespace, `far` in the one that `namespace` is open on.
/// Both ends have `queues` queues each way and the same `mtu` in bytes.
///
/// # Errors
/// That of a failed netlink request.
pub fn create_veth(
    near: VethEnd<'_>,
    far: VethEnd<'_>,
    namespace: BorrowedFd<'_>,
    queues: u32,
    mtu: u32,
) -> Result<(), HostError> {
    let mut far_message = end_message(far, queues, mtu);
    far_message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    let mut message = end_message(near, queues, mtu);
    let peer = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far_message)));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), peer]));
    let what = format!("make the veth pair {} and {} with {queues} queues and MTU {mtu}", near.name, far.name);
    Rtnl::open()?.change(&what, Request::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

fn end_message(end: VethEnd<'_>, queues: u32, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = end.index;
    message.attributes = vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::Address(end.mac.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NumTxQueues(queues),
        LinkAttribute::NumRxQueues(queues),
    ];
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The number by which the calling thread's network namespace knows the one of this name, if it does.
fn namespace_id(rtnl: &mut Rtnl, name: &str) -> Result<Option<i32>, HostError> {
    let namespace = Namespace::open(name)?;
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(namespace.as_fd().as_raw_fd() as u32));
    let answer = rtnl.ask(&format!("identify the namespace {name}"), Request::GetNsId(message))?;
    let ids = answer.into_iter().filter_map(|reply| match reply {
        Request::NewNsId(message) => Some(message.attributes),
        _ => None,
    });
    Ok(ids.flatten().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if id >= 0 => Some(id), // -1: it has none
        _ => None,
    }))
}

fn links(rtnl: &mut Rtnl) -> Result<Vec<Link>, HostError> {
    rtnl.list("list the interfaces", Request::GetLink(LinkMessage::default()), |message| match message {
        Request::NewLink(link) => Some(describe(&link)),
        _ => None,
    })
}

fn describe(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    let (mut lower, mut namespace_id) = (None, None);
    let (mut bus, mut device) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::NumRxQueues(queues) => link.rx_queues = *queues,
            LinkAttribute::NumTxQueues(queues) => link.tx_queues = *queues,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkNetNsId(id) => namespace_id = Some(*id),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name.as_str()),
            LinkAttribute::ParentDevName(name) => device = Some(name.as_str()),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
            LinkAttribute::Xdp(attributes) => link.xdp = attachment(attributes),
            _ => {}
        }
    }
    if link.is_veth() {
        link.peer = lower.map(|index| Peer { index, namespace_id });
    }
    let device = bus.zip(device).and_then(|(bus, device)| Device::find(bus, device));
    link.driver = device.as_ref().and_then(Device::driver).or_else(|| link.kind.clone());
    link.numa_node = device.as_ref().and_then(Device::numa_node);
    link
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn attachment(attributes: &[LinkXdp]) -> Option<Attachment> {
    let (mut mode, mut program) = (None, 0);
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(AttachMode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(AttachMode::Generic),
            LinkXdp::Attached(XdpAttached::Hardware) => mode = Some(AttachMode::Offloaded),
            LinkXdp::Attached(XdpAttached::Multiple) => mode = Some(AttachMode::Multiple),
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
                program = *id;
            }
            _ => {}
        }
    }
    mode.map(|mode| Attachment { program, mode })
}

/// The addresses of all interfaces of the calling thread's network namespace: for each the interface's index, and the
/// prefix length.
///
/// # Errors
/// That of a failed netlink request.
pub fn all_addresses() -> Result<Vec<(u32, IpAddr, u8)>, HostError> {
    let messages = address_messages(&mut Rtnl::open()?)?;
    let of =
        |message: &AddressMessage| address(message).map(|(address, prefix)| (message.header.index, address, prefix));
    Ok(messages.iter().filter_map(of).collect())
}

impl Link {
    /// Adds those of `wanted` that the kernel has on other interfaces of the calling thread's network namespace, such as on the
    /// loopback, to the link's own addresses: they are the machine's, by whichever interface packets come for them.
    ///
    /// # Errors
    /// That of a failed netlink request.
    pub fn add_addresses_from_elsewhere(&mut self, wanted: &[IpAddr]) -> Result<(), HostError> {
        let has = |link: &Self, address| link.addresses.iter().any(|&(known, _)| known == address);
        if wanted.iter().all(|&address| has(self, address)) {
            return Ok(());
        }
        for (address, prefix) in address_messages(&mut Rtnl::open()?)?.iter().filter_map(address) {
            if wanted.contains(&address) && !has(self, address) {
                self.addresses.push((address, prefix));
            }
        }
        Ok(())
    }
}

fn addresses(rtnl: &mut Rtnl, index: u32) -> Result<Vec<(IpAddr, u8)>, HostError> {
    let messages = address_messages(rtnl)?;
    Ok(messages.iter().filter(|message| message.header.index == index).filter_map(address).collect())
}

/// The addresses of all interfaces: without `NETLINK_GET_STRICT_CHK` the kernel lists no fewer.
fn address_messages(rtnl: &mut Rtnl) -> Result<Vec<AddressMessage>, HostError> {
    rtnl.list("list the addresses", Request::GetAddress(AddressMessage::default()), |message| match message {
        Request::NewAddress(address) => Some(address),
        _ => None,
    })
}

/// The interface's own address: of a point-to-point link, `Address` is the other end's and `Local` ours.
fn address(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some((local.or(address)?, message.header.prefix_len))
}

fn has_default_route(rtnl: &mut Rtnl, index: u32) -> Result<bool, HostError> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let defaults = rtnl.list("list the routes", Request::GetRoute(request), |message| match message {
            Request::NewRoute(route) => is_default_by(&route, index).then_some(()),
            _ => None,
        })?;
        if !defaults.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_default_by(route: &RouteMessage, index: u32) -> bool {
    let leaves_by = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(oif) => *oif == index,
        RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == index),
        _ => false,
    };
    route.header.destination_prefix_length == 0
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.attributes.iter().any(leaves_by)
}

/// A device on a bus. Its directory is the same in every network namespace, unlike those in `/sys/class/net`.
struct Device(PathBuf);

impl Device {
    fn find(bus: &str, name: &str) -> Option<Self> {
        fs::canonicalize(Path::new("/sys/bus").join(bus).join("devices").join(name)).ok().map(Self)
    }

    fn driver(&self) -> Option<String> {
        let driver = fs::canonicalize(self.0.join("driver")).ok()?;
        Some(driver.file_name()?.to_string_lossy().into_owned())
    }

    /// The node of the nearest device up the tree that has one: a virtio device itself does not, its PCI function does.
    fn numa_node(&self) -> Option<u32> {
        let text = self.0.ancestors().find_map(|directory| fs::read_to_string(directory.join("numa_node")).ok())?;
        // The kernel writes -1 where the machine has no nodes.
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests;
