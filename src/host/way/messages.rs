//! Netlink's messages, and what of them matters here.

use super::{
    NoWay, ORIGINATOR,
    neighbours::{Entry, Keeper, Key, Station},
    picture::{Port, Route},
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia},
};
use std::net::IpAddr;

/// What the kernel says unasked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Port(u32, Port),
    PortGone(u32),
    /// `None` for one that is gone.
    Neighbour(Key, Option<Entry>),
    /// Routes of destinations with this prefix may be others.
    Routes(IpAddr, u8),
    /// Any route of this IP version may be another.
    RoutesOf(AddressFamily),
    /// Any route.
    AllRoutes,
}

impl Event {
    /// What a message means here; `None` for nothing.
    pub fn read(message: Option<&RouteNetlinkMessage>) -> Option<Self> {
        match message {
            Some(RouteNetlinkMessage::NewLink(link)) => port(link).map(|(ifindex, port)| Self::Port(ifindex, port)),
            Some(RouteNetlinkMessage::DelLink(link)) => is_whole(link).then_some(Self::PortGone(link.header.index)),
            Some(RouteNetlinkMessage::NewNeighbour(it)) => {
                neighbour(it).map(|(key, entry)| Self::Neighbour(key, Some(entry)))
            }
            Some(RouteNetlinkMessage::DelNeighbour(it)) => neighbour(it).map(|(key, _)| Self::Neighbour(key, None)),
            Some(RouteNetlinkMessage::NewRoute(it) | RouteNetlinkMessage::DelRoute(it)) => Some(prefix(it)),
            Some(RouteNetlinkMessage::NewAddress(it) | RouteNetlinkMessage::DelAddress(it)) => {
                Some(Self::RoutesOf(it.header.family))
            }
            // Rules, groups of next hops, and what is younger than this program.
            _ => Some(Self::AllRoutes),
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Whether a message is about the interface, and not about its being a bridge's port.
fn is_whole(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Unspec
}

pub(super) fn port(link: &LinkMessage) -> Option<(u32, Port)> {
    let mut port = Port {
        name: String::new(),
        mac: None,
        mtu: 0,
        is_ready: link.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => port.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => port.mtu = *mtu,
            LinkAttribute::Address(bytes) if link.header.link_layer_type == LinkLayerType::Ether => {
                port.mac = bytes.as_slice().try_into().ok();
            }
            _ => {}
        }
    }
    is_whole(link).then_some((link.header.index, port))
}

/// An entry of ARP's or neighbour discovery's; not of a bridge's table of stations, and none that we answer for in
/// another's name.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Key, Entry)> {
    let header = &message.header;
    let (mut address, mut mac, mut ext, mut originator) = (None, None, NeighbourExtFlags::empty(), None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(IpAddr::V4(*found)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => address = Some(IpAddr::V6(*found)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            NeighbourAttribute::ExtFlags(flags) => ext = *flags,
            NeighbourAttribute::Protocol(found) => originator = Some(u8::from(*found)),
            _ => {}
        }
    }
    let is_of_ip = matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6);
    let key = Key { ifindex: header.ifindex, address: address.filter(|_| is_of_ip)? };
    if header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let station = match (header.state, mac) {
        (NeighbourState::Failed, _) => Station::Failed,
        (NeighbourState::Incomplete | NeighbourState::None, _) | (_, None) => Station::Unknown,
        (_, Some(mac)) => Station::At(mac),
    };
    let is_fixed = matches!(header.state, NeighbourState::Permanent | NeighbourState::Noarp)
        || header.flags.contains(NeighbourFlags::ExtLearned);
    let keeper = if is_fixed {
        Keeper::Somebody
    } else if ext.contains(NeighbourExtFlags::Managed) {
        Keeper::Kernel { ours: originator == Some(ORIGINATOR) }
    } else {
        Keeper::Nobody
    };
    Some((key, Entry { station, keeper }))
}

/// Which destinations a route is for.
fn prefix(route: &RouteMessage) -> Event {
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    let family = route.header.address_family;
    destination.map_or(Event::RoutesOf(family), |it| Event::Routes(it, route.header.destination_prefix_length))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// The question how a destination is routed.
pub(super) fn route_request(destination: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
    RouteNetlinkMessage::GetRoute(message)
}

/// The least that a router is believed about a path, as anybody can forge the error that says less (RFC 5927 §7): an IPv6 packet of
/// 1,280 octets (RFC 8200 §5) in the largest tunnel.
const LEAST_PATH: u32 = 1_328;

/// The answer. Of several next hops the kernel has chosen one.
pub(super) fn route(message: &RouteMessage) -> Result<Route, NoWay> {
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Err(NoWay::Local),
        RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => return Err(NoWay::NotUnicast),
        RouteType::BlackHole => return Err(NoWay::NoRoute { errno: libc::EINVAL }),
        RouteType::Prohibit => return Err(NoWay::NoRoute { errno: libc::EACCES }),
        _ => return Err(NoWay::NoRoute { errno: libc::EHOSTUNREACH }),
    }
    let mut route = Route { ifindex: 0, gateway: None, source: None, mtu: None };
    let mut is_learnt = false;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => route.ifindex = *ifindex,
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => route.gateway = Some(IpAddr::V4(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => route.gateway = Some(IpAddr::V6(*address)),
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            // What the kernel was told by a router, and not by whoever runs this host, ends some day.
            RouteAttribute::CacheInfo(info) => is_learnt = info.expires != 0,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if is_learnt {
        route.mtu = route.mtu.map(|mtu| mtu.max(LEAST_PATH));
    }
    Ok(route)
}

fn neighbour_message(key: Key) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(key.address);
    message.header.ifindex = key.ifindex;
    let destination = match key.address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

/// The question what the kernel has of a neighbour.
pub(super) fn neighbour_request(key: Key) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetNeighbour(neighbour_message(key))
}

/// Has a neighbour managed, and used at once, which is all that a kernel does that knows no managed ones. It bears our
/// number where it is `new`.
pub(super) fn keep(key: Key, new: bool) -> RouteNetlinkMessage {
    let mut message = neighbour_message(key);
    message.header.flags = NeighbourFlags::Use;
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    if new {
        message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(ORIGINATOR)));
    }
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Has it managed no longer, and checked when it is used next. An error (EINVAL) where the kernel does not know where
/// it is.
pub(super) fn release(key: Key) -> RouteNetlinkMessage {
    let mut message = neighbour_message(key);
    message.header.state = NeighbourState::Stale;
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Forgets it.
pub(super) fn forget(key: Key) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelNeighbour(neighbour_message(key))
}
