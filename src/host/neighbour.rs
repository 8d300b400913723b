//! Neighbours: the Ethernet address behind an IP address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
};

use super::{HostError, Link, rtnl::Rtnl};

/// How long a neighbour may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// RFC 863: whoever listens there wants nothing of what it gets.
const DISCARD: u16 = 9;

/// What makes the kernel look where a neighbour is: datagrams to its discard port. It lasts without any rights.
#[derive(Debug)]
pub struct Inquiry(UdpSocket);

impl Inquiry {
    /// After `address`, on this link.
    ///
    /// # Errors
    /// The kernel's, such as where it has no route there.
    pub fn new(link: &Link, address: IpAddr) -> io::Result<Self> {
        let (ours, theirs): (IpAddr, SocketAddr) = match address {
            IpAddr::V4(address) => (Ipv4Addr::UNSPECIFIED.into(), (address, DISCARD).into()),
            // A link-local address says nothing without the link (RFC 4007 §6).
            IpAddr::V6(address) => {
                (Ipv6Addr::UNSPECIFIED.into(), SocketAddrV6::new(address, DISCARD, 0, link.index).into())
            }
        };
        let socket = UdpSocket::bind(SocketAddr::new(ours, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(theirs)?;
        Ok(Self(socket))
    }

    /// Asks once more.
    pub fn repeat(&self) {
        // Whatever comes of it: an error is the last datagram's, and the kernel has been made to look.
        self.0.send(&[0]).ok();
    }
}

/// The Ethernet address of a neighbour on a link; none where nobody answers for `address`. Where the kernel does not know it
/// yet, it is made to ask, by a datagram to the discard port.
///
/// # Errors
/// That of a failed netlink request.
pub fn resolve(link: &Link, address: IpAddr) -> Result<Option<[u8; 6]>, HostError> {
    let (mut rtnl, deadline) = (Rtnl::open()?, Instant::now() + PATIENCE);
    loop {
        let found = find(&mut rtnl, link, address)?;
        if found.is_some() || Instant::now() > deadline {
            return Ok(found);
        }
        if let Ok(inquiry) = Inquiry::new(link, address) {
            inquiry.repeat();
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The Ethernet address of a neighbour on a link, as far as the kernel knows it now.
///
/// # Errors
/// That of a failed netlink request.
pub fn known(link: &Link, address: IpAddr) -> Result<Option<[u8; 6]>, HostError> {
    find(&mut Rtnl::open()?, link, address)
}

fn find(rtnl: &mut Rtnl, link: &Link, address: IpAddr) -> Result<Option<[u8; 6]>, HostError> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let mut request = NeighbourMessage::default();
    request.header.family = family;
    let request = RouteNetlinkMessage::GetNeighbour(request);
    let neighbours = rtnl.list("list the neighbours", request, |message| match message {
        RouteNetlinkMessage::NewNeighbour(neighbour) => Some(neighbour),
        _ => None,
    })?;
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
