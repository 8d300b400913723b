//! Neighbours: the Ethernet address behind an IP address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
};

use super::{HostError, Link, rtnl::Rtnl};

/// How long a neighbour may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// RFC 863: whoever listens there wants nothing of what it gets.
const DISCARD: u16 = 9;

/// The Ethernet address of a neighbour on a link; none where nobody answers for `address`. Where the kernel does not know it
/// yet, it is made to ask, by a datagram to the discard port.
///
/// # Errors
/// That of a failed netlink request.
pub fn resolve(link: &Link, address: IpAddr) -> Result<Option<[u8; 6]>, HostError> {
    let (rtnl, deadline) = (Rtnl::open()?, Instant::now() + PATIENCE);
    loop {
        let found = find(&rtnl, link, address)?;
        if found.is_some() || Instant::now() > deadline {
            return Ok(found);
        }
        // Whatever comes of it, the kernel has been made to look.
        let unspecified: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        if let Ok(socket) = UdpSocket::bind(SocketAddr::new(unspecified, 0)) {
            socket.send_to(&[0], SocketAddr::new(address, DISCARD)).ok();
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The Ethernet address of a neighbour on a link, as far as the kernel knows it now.
///
/// # Errors
/// That of a failed netlink request.
pub fn known(link: &Link, address: IpAddr) -> Result<Option<[u8; 6]>, HostError> {
    find(&Rtnl::open()?, link, address)
}

fn find(rtnl: &Rtnl, link: &Link, address: IpAddr) -> Result<Option<[u8; 6]>, HostError> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let dump = rtnl.handle().neighbours().get().set_address_family(family).execute();
    let neighbours = rtnl.collect(|| "list the neighbours".to_owned(), dump)?;
    let here = neighbours.iter().filter(|neighbour| neighbour.header.ifindex == link.index);
    Ok(here.filter(|neighbour| is_of(neighbour, address)).find_map(link_address))
}

fn is_of(neighbour: &NeighbourMessage, address: IpAddr) -> bool {
    neighbour.attributes.iter().any(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address == IpAddr::V4(*found),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => address == IpAddr::V6(*found),
        _ => false,
    })
}

fn link_address(neighbour: &NeighbourMessage) -> Option<[u8; 6]> {
    neighbour.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    })
}
